"""Markers, values and the plan of the Kommunikation sync."""

from __future__ import annotations

import base64
import copy
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.kommunikation_mapper import (
    FAMILIES,
    PARTICIPATING_KOMM_KZ,
    UNTOUCHED_KOMM_KZ,
    Key,
    Marker,
    advoware_entries,
    build_marker,
    detect_komm_kz,
    espocrm_entries,
    family_of,
    key_of,
    kind_of,
    kommunikation_hash,
    new_espocrm_row,
    parse_marker,
    read_advoware,
    read_espocrm,
)
from services.values.kommunikation import canonical_mail, canonical_phone, espocrm_value
from services.vmh_sync.kommunikation.plan import (
    Base,
    Link,
    Observation,
    Plan,
    make_plan,
)

# -- two sides, simulated -------------------------------------------------------------------------------------------

Row = dict[str, Any]


class Sides:
    """Both systems and the base in memory: what a plan says is done to them, as the real ones would do it."""

    def __init__(
        self, phones: list[Row], mails: list[Row], kommunikation: list[Row]
    ) -> None:
        self.espo: dict[str, list[Row]] = {
            "phoneNumberData": phones,
            "emailAddressData": mails,
        }
        self.advo: dict[str, list[Row]] = {"kommunikation": kommunikation}
        self.base: Base = {}
        self.complete = False

    def plan(self, **options: bool) -> Plan:
        return make_plan(self.observation(), **options)

    def observation(self, **known: Any) -> Observation:
        return Observation(
            read_espocrm(self.espo),
            read_advoware(self.advo),
            self.base,
            first_sync=not self.complete,
            **known,
        )

    def apply(self, plan: Plan) -> None:
        base = dict(plan.base)
        for write in plan.writes:
            body = {**write.record, "rowId": f"R{write.tlf}{write.bemerkung}"}
            if write.entry_id is None:
                new_id = (
                    max((row["id"] for row in self.advo["kommunikation"]), default=0)
                    + 1
                )
                self.advo["kommunikation"].append({"id": new_id, **body})
                if write.link is not None:
                    base[new_id] = write.link
            else:
                row = next(
                    row
                    for row in self.advo["kommunikation"]
                    if row["id"] == write.entry_id
                )
                row.update(
                    {
                        name: body[name]
                        for name in ("tlf", "bemerkung", "online", "rowId")
                        if name in body
                    }
                )
        for attribute, rows in plan.espocrm.items():
            self.espo[attribute] = sorted(
                (dict(row) for row in rows), key=lambda row: not row["primary"]
            )
        self.base, self.complete = base, True

    def sync(self, **options: bool) -> Plan:
        plan = self.plan(**options)
        self.apply(plan)
        return plan

    def numbers(self) -> list[str]:
        return [row["phoneNumber"] for row in self.espo["phoneNumberData"]]

    def mails(self) -> list[str]:
        return [row["emailAddress"] for row in self.espo["emailAddressData"]]

    def values(self) -> list[str]:
        return [row["tlf"] for row in self.advo["kommunikation"]]


def phone(number: str, phone_type: str = "Office", *, primary: bool = False) -> Row:
    return {
        "phoneNumber": number,
        "type": phone_type,
        "primary": primary,
        "optOut": False,
        "invalid": False,
    }


def mail(address: str, *, primary: bool = False) -> Row:
    lower = address.lower()
    return {
        "emailAddress": address,
        "lower": lower,
        "primary": primary,
        "optOut": False,
        "invalid": False,
    }


def entry(
    entry_id: int, tlf: str, komm_kz: int = 1, bemerkung: str | None = None
) -> Row:
    return {
        "id": entry_id,
        "rowId": f"R{entry_id}",
        "tlf": tlf,
        "kommKz": komm_kz,
        "bemerkung": bemerkung,
    }


def cases(plan: Plan) -> list[str]:
    return [write.case for write in plan.writes]


# -- markers --------------------------------------------------------------------------------------------------------

VALUES = st.text(min_size=1).filter(str.strip)


@given(VALUES, st.sampled_from(sorted(PARTICIPATING_KOMM_KZ)), st.text())
def test_a_marker_and_any_text_of_the_user_survive_each_other(
    value: str, komm_kz: int, text: str
) -> None:
    assert parse_marker(build_marker(Marker(value, komm_kz), text)) == (
        Marker(value, komm_kz),
        text,
    )
    assert parse_marker(build_marker(Marker(None, komm_kz), text)) == (
        Marker(None, komm_kz),
        text,
    )


@given(st.text(alphabet="[]ESPOCRM-SLOT:=1 9abc\n"))
def test_no_text_breaks_the_parser_and_rewriting_a_marker_keeps_the_text(
    note: str,
) -> None:
    _, text = parse_marker(note)

    assert parse_marker(build_marker(Marker("x", 1), text)) == (Marker("x", 1), text)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64_are_read(encode: Any) -> None:
    value = "ü?>~ÿ@example.de"

    assert parse_marker(f"[ESPOCRM:{encode(value.encode()).decode()}:4] Büro") == (
        Marker(value, 4),
        "Büro",
    )


@pytest.mark.parametrize(
    ("note", "text"),
    [
        (None, ""),
        ("nur vormittags", "nur vormittags"),
        ("[ESPOCRM:%%%:1] Büro", "Büro"),
        ("[ESPOCRM:AAAAA:1] Büro", "Büro"),  # no base64
        ("[ESPOCRM:/w==:1] Büro", "Büro"),  # no UTF-8
        ("[ESPOCRM:MQ==:99] Büro", "Büro"),  # no kommKz
        ("[ESPOCRM:MQ==:5] Büro", "Büro"),  # a kind that is never touched
        ("[ESPOCRM::1] Büro", "Büro"),
        ("[ESPOCRM-SLOT:] Büro", "Büro"),
        ("[ESPOCRM:MQ==", ""),  # cut by a field that was too short
        ("[ESPOCRM-SL", ""),
        ("[ESPOCRM:MQ== Büro", "[ESPOCRM:MQ== Büro"),  # no one can say where it ends
    ],
)
def test_a_damaged_marker_counts_as_none(note: str | None, text: str) -> None:
    assert parse_marker(note) == (None, text)


def test_text_that_a_user_typed_before_the_marker_is_kept() -> None:
    assert parse_marker("Chef [ESPOCRM:MQ==:1] nur vormittags") == (
        Marker("1", 1),
        "Chef nur vormittags",
    )


# -- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "0511/12345-60",
        "+49 (0)511 1234560",
        "0049 511 12345 60",
        "(0511) 12345-60",
        "+495111234560",
        "0511 – 1234560",
    ],
)
def test_spellings_of_one_number_are_equal(written: str) -> None:
    assert canonical_phone(written) == "+495111234560"
    assert espocrm_value("phone", written) == "+495111234560"


def test_extensions_are_kept_apart() -> None:
    spellings = {
        canonical_phone(written)
        for written in ("0511 1234 ext. 5", "0511/1234 DW 5", "+49 511 1234 x5")
    }

    assert spellings == {"+495111234;ext=5"}
    assert canonical_phone("0511 1234") != canonical_phone("0511 1234 ext. 5")
    assert espocrm_value("phone", "0511 1234 ext. 5") is None


@pytest.mark.parametrize(
    "written",
    ["0511/1234 (Büro)", "0511/1234 Buero", "1234", "112", "auf Anfrage", "12", "+49"],
)
def test_text_that_is_no_international_number_is_not_offered_to_espocrm(
    written: str,
) -> None:
    assert espocrm_value("phone", written) is None


@pytest.mark.parametrize(
    ("written", "accepted"),
    [
        ("A.b@Example.DE", True),
        (" a@b.de ", True),
        ("müller@kanzlei.de", False),
        ("a@b", False),
        ("a b@c.de", False),
        (f"{'a' * 64}@b.de", True),
        (f"{'a' * 65}@b.de", False),
        ("a@" + ".".join(["b" * 60] * 5), False),
    ],
)
def test_mail_addresses_as_espocrm_takes_them(written: str, accepted: bool) -> None:
    assert espocrm_value("mail", written) == (written.strip() if accepted else None)


def test_mail_addresses_are_compared_without_case_and_in_one_unicode_form() -> None:
    assert canonical_mail(" Mu\u0308ller@Kanzlei.DE ") == canonical_mail(
        "müller@kanzlei.de"
    )


# -- kinds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "komm_kz"),
    [
        (entry(1, "0511 1", 6, "[ESPOCRM:MQ==:1]"), 1),
        (entry(1, "0511 1", 6, "[ESPOCRM:??:1]"), 6),
        (entry(1, "0511 1", 11, "[ESPOCRM:MQ==:1]"), 11),
        (entry(1, "https://example.de", 0), 5),
        (entry(1, "0511 12345", 0), 7),
        (entry(1, "a@b.de", 0), 4),
        (entry(1, "0171 3920001", 0), 3),
        (entry(1, "+43 664 1234567", 0), 10),
        (entry(1, "0511 99999", 0), 10),
        (entry(1, "", 0), None),
    ],
)
def test_the_kind_of_an_entry(row: Row, komm_kz: int | None) -> None:
    assert (
        detect_komm_kz(
            row, {"internet": "https://example.de", "faxPrivat": "0511 12345"}
        )
        == komm_kz
    )


def test_the_hash_covers_the_entries_that_take_part_whatever_their_order() -> None:
    rows = [
        entry(1, "0511 1"),
        entry(2, "a@b.de", 4),
        entry(3, "https://example.de", 5),
    ]
    value = kommunikation_hash(advoware_entries({"kommunikation": rows}))

    assert value == "d57123d1fb8f11de"  # md5("R1R2")
    assert value == kommunikation_hash(
        advoware_entries({"kommunikation": rows[:2][::-1]})
    )


# -- the plan -------------------------------------------------------------------------------------------------------


def synced(*numbers: str) -> Sides:
    """Both sides agree on these office numbers."""
    sides = Sides(
        [phone(number, primary=not at) for at, number in enumerate(numbers)], [], []
    )
    sides.sync()
    assert sides.values() == list(numbers)
    return sides


def test_first_sync_pairs_equal_values_without_duplicates_and_only_sets_the_marker() -> (
    None
):
    sides = Sides(
        [phone("+495111234", primary=True)],
        [mail("a@b.de")],
        [entry(1, "0511/1234", 6, "privat")],
    )

    plan = sides.sync()

    assert cases(plan) == ["pair", "Var1"]
    assert sides.advo["kommunikation"][0]["tlf"] == "0511/1234"
    assert parse_marker(sides.advo["kommunikation"][0]["bemerkung"]) == (
        Marker("+495111234", 6),
        "privat",
    )
    assert plan.espocrm == {}


def test_a_phone_here_that_is_a_fax_there_is_paired_at_the_first_sync_and_stays() -> (
    None
):
    sides = Sides([phone("+495111234", "Office")], [], [entry(1, "0511/1234", 2)])

    assert cases(sides.sync()) == ["pair"]
    key = key_of("phone", "+495111234")
    assert sides.plan() == Plan(base={1: Link(key, key, "Office")})


def test_a_number_that_is_phone_and_fax_in_advoware_is_held_once_by_espocrm_and_loses_nothing() -> (
    None
):
    sides = Sides([], [], [entry(1, "0511/1234", 1), entry(2, "0511/1234", 2)])

    sides.sync()

    assert sides.numbers() == ["+495111234"]
    assert sides.values() == ["0511/1234", "0511/1234"]
    assert not sides.plan().writes


def test_a_number_that_advoware_holds_twice_is_deleted_as_a_whole_in_espocrm() -> None:
    sides = Sides([], [], [entry(1, "0511/1234", 1), entry(2, "0511 1234", 6)])
    sides.sync()
    sides.espo["phoneNumberData"] = []

    assert cases(sides.sync()) == ["Var2", "Var2"]
    assert sides.numbers() == []


def test_one_of_two_entries_with_one_number_may_change_in_advoware() -> None:
    sides = Sides([], [], [entry(1, "0511/1234", 1), entry(2, "0511 1234", 6)])
    sides.sync()
    sides.advo["kommunikation"][1]["tlf"] = "0511 9999"

    sides.sync()

    assert sides.numbers() == ["+495111234", "+495119999"]


@pytest.mark.parametrize("new_type", ["Fax", "Home"])
def test_a_type_changed_in_espocrm_is_reported_and_moves_nothing(new_type: str) -> None:
    sides = synced("+495111234", "+495115678")
    sides.espo["phoneNumberData"][0]["type"] = new_type

    first, again = sides.sync(), sides.plan()

    assert (first.writes, first.espocrm) == ((), {})
    assert [(n.reason, n.value, n.other, n.is_standing) for n in first.notices] == [
        ("kom_type", "+495111234", new_type, True)
    ]
    assert again.notices == first.notices
    sides.espo["phoneNumberData"][0]["type"] = "Office"
    assert sides.sync().notices == ()


def test_a_type_that_changed_while_no_one_touched_the_record_is_no_edit() -> None:
    sides = synced("+495111234")
    sides.espo["phoneNumberData"][0]["type"] = "Fax"

    sides.apply(make_plan(sides.observation(is_edited=False)))

    plan = sides.plan()
    assert (plan.writes, plan.espocrm, plan.notices) == ((), {}, ())
    assert sides.values() == ["+495111234"]


def test_swapped_values_in_advoware_change_nothing_in_espocrm() -> None:
    sides = synced("+495111234", "+495115678")
    first, second = sides.advo["kommunikation"]
    first["tlf"], second["tlf"] = second["tlf"], first["tlf"]

    assert sides.sync().espocrm == {}
    assert not sides.plan().writes


def test_an_entry_changed_to_a_value_that_exists_already_leaves_one_entry_in_espocrm() -> (
    None
):
    sides = synced("+495111234", "+495115678")
    sides.advo["kommunikation"][0]["tlf"] = "0511 5678"

    sides.sync()

    assert sides.numbers() == ["+495115678"]


def test_two_entries_changed_to_one_value_leave_one_entry_in_espocrm() -> None:
    sides = synced("+495111234", "+495115678")
    for row in sides.advo["kommunikation"]:
        row["tlf"] = "0511 9999"

    sides.sync()

    assert sides.numbers() == ["+495119999"]
    assert not sides.plan().writes


def test_a_value_changed_to_one_that_espocrm_refuses_leaves_espocrm_as_it_is() -> None:
    sides = synced("+495111234")
    sides.advo["kommunikation"][0]["tlf"] = "0511/1234 (Büro)"

    plan = sides.sync()

    assert (plan.writes, plan.espocrm, [item.reason for item in plan.notices]) == (
        (),
        {},
        ["kom_phone_words"],
    )
    assert sides.plan() == plan


def test_a_value_changed_on_both_sides_keeps_that_of_espocrm_and_names_the_other() -> (
    None
):
    sides = synced("+495111234")
    sides.espo["phoneNumberData"] = [phone("+495112222", primary=True)]
    sides.advo["kommunikation"][0]["tlf"] = "0511 3333"

    plan = sides.sync()

    changes = [write.change for write in plan.writes]
    assert [(c.case, c.old, c.new, c.lost) for c in changes if c] == [
        ("Var5", "0511 3333", "+495112222", True)
    ]
    assert sides.values() == ["+495112222"]


def test_a_value_that_only_the_marker_knows_is_not_taken_for_deleted_in_espocrm() -> (
    None
):
    note = build_marker(Marker("+495111234", 1))
    sides = Sides([], [], [entry(1, "0511 1234", 1, note)])
    sides.complete = True

    plan = sides.sync()

    assert (plan.writes, sides.numbers()) == ((), ["+495111234"])


def test_the_marker_is_the_base_of_an_entry_that_no_base_knows() -> None:
    note = build_marker(Marker("+495111234", 1))
    sides = Sides(
        [phone("+495111234", primary=True)], [], [entry(1, "0511 9999", 1, note)]
    )

    assert cases(sides.sync()) == ["Var6"]
    assert sides.numbers() == ["+495119999"]


def test_replacing_the_primary_value_keeps_its_place_type_and_consent() -> None:
    sides = synced("+495111234", "+495115678")
    sides.espo["phoneNumberData"][0] |= {
        "optOut": True,
        "invalid": True,
        "type": "Other",
    }
    sides.advo["kommunikation"][0]["tlf"] = "0511 9999"

    sides.sync()

    assert sides.espo["phoneNumberData"][0] == {
        **phone("+495119999", "Other", primary=True),
        "optOut": True,
    }


def test_before_the_first_sync_entries_of_advoware_are_only_emptied_by_force() -> None:
    sides = Sides([], [], [entry(1, "0511 1234")])

    assert sides.plan(to_advoware=True) == Plan()
    assert cases(sides.plan(forced=True)) == ["Var4"]


def test_text_of_the_user_survives_every_case() -> None:
    sides = synced("+495111234")
    sides.advo["kommunikation"][0]["bemerkung"] += " nur vormittags"
    sides.espo["phoneNumberData"] = [phone("+495112222", primary=True)]
    sides.sync()
    sides.espo["phoneNumberData"] = []
    sides.sync()
    assert (
        sides.advo["kommunikation"][0]["bemerkung"] == "[ESPOCRM-SLOT:1] nur vormittags"
    )

    sides.espo["phoneNumberData"] = [phone("+495113333", primary=True)]
    sides.sync()

    assert (
        parse_marker(sides.advo["kommunikation"][0]["bemerkung"])[1] == "nur vormittags"
    )
    assert sides.values() == ["+495113333"]


# -- properties of any plan -----------------------------------------------------------------------------------------

NUMBERS = [
    "+495111111",
    "+495112222",
    "+4917139200",
    "0511/1111",
    "0511 3333",
    "0511/1 (Büro)",
    "0511 4444 x5",
    "11",
]
MAILS = ["a@b.de", "A@B.de", "c@d.de", "ü@d.de"]
NOTES = [
    None,
    "Text",
    "[ESPOCRM:!:1] Text",
    *(build_marker(Marker(v, 1), "T") for v in ("0511 1111", "0511 3333")),
]
NOTES += [build_marker(Marker(None, komm_kz), "T") for komm_kz in (1, 2)]


def _phones(rows: list[tuple[str, str, bool]]) -> list[Row]:
    distinct = {
        number: phone(number, phone_type, primary=primary)
        for number, phone_type, primary in rows
    }
    return list(distinct.values())


PHONE_ROWS = st.lists(
    st.tuples(
        st.sampled_from(NUMBERS),
        st.sampled_from(["Office", "Fax", "Mobile", "Home"]),
        st.booleans(),
    ),
    max_size=5,
).map(_phones)
MAIL_ROWS = st.lists(
    st.sampled_from(["a@b.de", "c@d.de", "e@f.de"]), max_size=3, unique=True
).map(lambda addresses: [mail(address) for address in addresses])
TLF = st.sampled_from(["", *NUMBERS])
ENTRIES = st.lists(
    st.tuples(TLF, st.sampled_from([0, 1, 2, 3, 6, 10, 5]), st.sampled_from(NOTES))
    | st.tuples(
        st.sampled_from(MAILS), st.sampled_from([4, 8]), st.sampled_from([None, "Text"])
    ),
    max_size=6,
).map(lambda rows: [entry(at + 1, *row) for at, row in enumerate(rows)])


def _edit_advoware(sides: Sides, edits: list[tuple[int, str]]) -> None:
    for at, tlf in edits:
        rows = sides.advo["kommunikation"]
        if rows:
            rows[at % len(rows)]["tlf"] = tlf


def _held(rows: Mapping[str, list[Row]]) -> set[tuple[str, str]]:
    entries = [*espocrm_entries(rows, "phone"), *espocrm_entries(rows, "mail")]
    return {item.key for item in entries}


def _check_settled(sides: Sides, **options: bool) -> None:
    again = sides.plan(**options)
    assert (again.writes, again.espocrm) == ((), {})
    assert dict(again.base) == dict(sides.base)


@given(
    PHONE_ROWS,
    MAIL_ROWS,
    ENTRIES,
    PHONE_ROWS,
    MAIL_ROWS,
    st.lists(st.tuples(st.integers(0, 9), TLF), max_size=3),
)
def test_a_plan_once_applied_leaves_nothing_to_do(
    phones: list[Row],
    mails: list[Row],
    entries: list[Row],
    later_phones: list[Row],
    later_mails: list[Row],
    edits: list[tuple[int, str]],
) -> None:
    sides = Sides(phones, mails, entries)
    sides.sync()
    _check_settled(sides)
    sides.espo = {"phoneNumberData": later_phones, "emailAddressData": later_mails}
    _edit_advoware(sides, edits)
    sides.sync()
    _check_settled(sides)


@given(
    PHONE_ROWS,
    MAIL_ROWS,
    ENTRIES,
    st.lists(st.tuples(st.integers(0, 9), TLF), max_size=3),
)
def test_towards_advoware_espocrm_is_not_changed_and_everything_settles(
    phones: list[Row],
    mails: list[Row],
    entries: list[Row],
    edits: list[tuple[int, str]],
) -> None:
    sides = Sides(phones, mails, entries)
    sides.sync()
    _edit_advoware(sides, edits)
    before = {name: list(rows) for name, rows in sides.espo.items()}

    sides.sync(to_advoware=True)

    assert sides.espo == before
    _check_settled(sides, to_advoware=True)


def _counted(sides: Sides) -> Counter[Key]:
    """How often Advoware holds each value."""
    return Counter(
        item.key for item in advoware_entries(sides.advo) if not item.is_empty
    )


@example(
    phones=[],
    mails=[],
    entries=[entry(1, ""), entry(2, "a@b.de", 4)],
    later_phones=[],
    edits=[(0, "a@b.de", 1), (1, "+495111111", 1)],
    to_advoware=True,
)
@given(
    PHONE_ROWS,
    MAIL_ROWS,
    ENTRIES,
    PHONE_ROWS,
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from(NUMBERS + MAILS),
            st.sampled_from([1, 2, 3, 4]),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_what_a_user_enters_elsewhere_in_advoware_is_not_written_a_second_time(
    phones: list[Row],
    mails: list[Row],
    entries: list[Row],
    later_phones: list[Row],
    edits: list[tuple[int, str, int]],
    to_advoware: bool,
) -> None:
    """Values change their places, and entries their kinds."""
    sides = Sides(phones, mails, entries)
    sides.sync()
    sides.espo["phoneNumberData"] = later_phones
    rows = sides.advo["kommunikation"]
    for at, tlf, komm_kz in edits[: len(rows)]:
        rows[at % len(rows)] |= {"tlf": tlf, "kommKz": komm_kz}
    before = _counted(sides)

    sides.sync(to_advoware=to_advoware)

    for key, count in _counted(sides).items():
        assert count <= max(before[key], 1), key


AT = st.integers(0, 6)
ALL_KINDS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 11])
NAMES = st.sampled_from(["phoneNumberData", "emailAddressData"])
#: What a person does in Advoware (by the place of an entry), or in EspoCRM.
DEEDS = st.one_of(
    st.tuples(
        st.just("value"), AT, st.sampled_from([*NUMBERS, *MAILS, "", "+49511777", None])
    ),
    st.tuples(st.just("kind"), AT, ALL_KINDS),
    st.tuples(st.sampled_from(["swap", "copy note"]), AT, AT),
    st.tuples(
        st.sampled_from(["copy", "delete", "restore", "empty note", "hide note"]), AT
    ),
    st.tuples(st.just("new"), st.sampled_from([*NUMBERS[:3], *MAILS]), ALL_KINDS),
    st.tuples(st.just("phones"), PHONE_ROWS),
    st.tuples(st.just("mails"), MAIL_ROWS),
    st.tuples(st.sampled_from(["erase", "unreadable"]), NAMES),
)


def _do(sides: Sides, removed: list[Row], kind: str, *arguments: Any) -> None:
    if kind in {"phones", "mails"}:
        name = {"phones": "phoneNumberData", "mails": "emailAddressData"}[kind]
        sides.espo[name] = copy.deepcopy(arguments[0])
    elif kind in {"erase", "unreadable"}:
        _do_to_array(sides.espo[arguments[0]], kind)
    else:
        _do_in_advoware(sides.advo["kommunikation"], removed, kind, *arguments)


def _do_to_array(rows: list[Row], kind: str) -> None:
    if kind == "unreadable":
        rows.append({"phoneNumber": 7, "emailAddress": 7, "primary": False})
        return
    for at, row in enumerate(rows):
        row |= {name: f"ERASED:{at}" for name in row if name.endswith(("er", "ess"))}


def _do_in_advoware(
    rows: list[Row], removed: list[Row], kind: str, at: Any, *further: Any
) -> None:
    free = 1 + max((row["id"] for row in [*rows, *removed]), default=0)
    if kind == "new":
        rows.append(entry(free, at, *further))
    elif kind == "restore":
        rows += [removed.pop()] if removed else []
    elif rows:
        _do_to_entry(rows, removed, free, kind, at % len(rows), *further)


def _do_to_entry(
    rows: list[Row], removed: list[Row], free: int, kind: str, at: int, *further: Any
) -> None:
    row = rows[at]
    match kind:
        case "value":
            row["tlf"] = further[0]
        case "kind":
            row["kommKz"] = further[0]
        case "swap":
            other = rows[further[0] % len(rows)]
            row["tlf"], other["tlf"] = other["tlf"], row["tlf"]
        case "copy note":
            row["bemerkung"] = rows[further[0] % len(rows)].get("bemerkung")
        case "copy":
            rows.append({**row, "id": free})
        case "delete":
            removed.append(rows.pop(at))
        case "empty note":
            row["bemerkung"] = None
        case "hide note":
            row.pop("bemerkung", None)


def _all_keys(sides: Sides) -> set[Key]:
    held = {item.key for item in advoware_entries(sides.advo) if not item.is_empty}
    return held | _held(sides.espo)


def _named(plan: Plan) -> set[str]:
    """The values that a change or a notice of a plan names, in canonical form."""
    written = [write.change for write in plan.writes if write.change]
    texts = [
        text for item in (*plan.changes, *written) for text in (item.old, item.new)
    ]
    texts += [text for item in plan.notices for text in (item.value, item.other)]
    return {key_of(family, text).value for text in texts if text for family in FAMILIES}


def _checked_sync(sides: Sides, **options: bool) -> None:
    """One run that loses nothing, doubles nothing and leaves alone what it does not understand."""
    keys, counted = _all_keys(sides), _counted(sides)
    rows = copy.deepcopy(sides.advo["kommunikation"])

    plan = sides.sync(**options)

    assert {key.value for key in keys - _all_keys(sides)} <= _named(plan)
    for key, count in _counted(sides).items():
        assert count <= max(counted[key], 1), key
    after = {row["id"]: row for row in sides.advo["kommunikation"]}
    for row in rows:
        if row["kommKz"] in UNTOUCHED_KOMM_KZ:
            assert after[row["id"]] == row
        if row["tlf"] is None:
            assert after[row["id"]]["tlf"] is None


@given(
    PHONE_ROWS,
    MAIL_ROWS,
    ENTRIES,
    st.lists(
        st.tuples(
            st.lists(DEEDS, max_size=5),
            st.sampled_from([{}, {}, {"to_advoware": True}, {"forced": True}]),
            st.none() | NAMES,
        ),
        min_size=1,
        max_size=2,
    ),
)
def test_whatever_people_do_on_both_sides_nothing_is_lost_or_there_twice(
    phones: list[Row], mails: list[Row], entries: list[Row], history: list[Any]
) -> None:
    sides = Sides(*copy.deepcopy([phones, mails, entries]))
    removed: list[Row] = []
    _checked_sync(sides)
    for deeds, options, hidden in history:
        for deed in deeds:
            _do(sides, removed, *deed)
        array = {} if hidden is None else {hidden: sides.espo.pop(hidden)}
        _checked_sync(sides, **options)
        sides.espo |= array
    _checked_sync(sides)
    _checked_sync(sides)
    again = sides.plan()
    assert (again.writes, again.espocrm) == ((), {})


@given(PHONE_ROWS, MAIL_ROWS, ENTRIES)
def test_the_first_sync_invents_and_deletes_nothing(
    phones: list[Row], mails: list[Row], entries: list[Row]
) -> None:
    sides = Sides(phones, mails, entries)
    numbers = _held(sides.espo)
    in_advoware = {
        item.key for item in advoware_entries(sides.advo) if not item.is_empty
    }
    written = [row["tlf"] for row in sides.advo["kommunikation"]]

    plan = sides.sync()

    after = {item.key for item in advoware_entries(sides.advo) if not item.is_empty}
    assert after <= in_advoware | numbers
    assert in_advoware <= after
    assert _held(sides.espo) <= in_advoware | numbers
    assert all(
        new == old for old, new in zip(written, sides.values(), strict=False) if old
    )
    if not any(
        write.case == "Var6" for write in plan.writes
    ):  # an edit that the marker proves
        assert numbers <= _held(sides.espo)


@given(PHONE_ROWS, MAIL_ROWS, ENTRIES)
def test_written_arrays_have_one_primary_and_keep_untouched_entries_as_they_were(
    phones: list[Row], mails: list[Row], entries: list[Row]
) -> None:
    plan = Sides(phones, mails, entries).plan()

    for attribute, before in (("phoneNumberData", phones), ("emailAddressData", mails)):
        rows = plan.espocrm.get(attribute)
        if rows is None:
            continue
        assert sum(bool(row["primary"]) for row in rows) == (1 if rows else 0)
        value = "phoneNumber" if attribute == "phoneNumberData" else "emailAddress"
        kept = {row[value]: row for row in before}
        for row in rows:
            if row[value] in kept:
                assert {**row, "primary": None} == {**kept[row[value]], "primary": None}


@given(ENTRIES)
def test_web_epost_and_bea_are_never_touched(entries: list[Row]) -> None:
    untouched = {row["id"] for row in entries if row["kommKz"] in {5, 11, 12}}

    assert not untouched & {
        write.entry_id for write in Sides([], [], entries).plan().writes
    }


# -- rows of either side --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("komm_kz", "shared", "row"),
    [
        (
            1,
            None,
            {
                "phoneNumber": "+49511 1",
                "type": "Office",
                "primary": False,
                "optOut": False,
                "invalid": False,
            },
        ),
        (
            7,
            {"type": "Home", "optOut": True, "primary": True, "phoneNumberId": "6b"},
            {
                "phoneNumber": "+49511 1",
                "type": "Home",
                "primary": False,
                "optOut": True,
                "invalid": False,
            },
        ),
        (
            9,
            {"type": None, "invalid": True},
            {
                "phoneNumber": "+49511 1",
                "type": "Mobile",
                "primary": False,
                "optOut": False,
                "invalid": True,
            },
        ),
    ],
)
def test_a_number_that_is_new_to_espocrm_keeps_what_other_records_show_of_it(
    komm_kz: int, shared: Any, row: Row
) -> None:
    assert new_espocrm_row(komm_kz, "+49511 1", shared) == row


@pytest.mark.parametrize("komm_kz", [4, 8])
def test_a_mail_address_that_is_new_to_espocrm(komm_kz: int) -> None:
    shared = {"optOut": True, "type": "Office"}
    assert new_espocrm_row(komm_kz, "Max@Example.de", shared) == {
        "emailAddress": "Max@Example.de",
        "lower": "max@example.de",
        "primary": False,
        "optOut": True,
        "invalid": False,
    }


@pytest.mark.parametrize(
    ("komm_kz", "kind", "family"),
    [
        (1, "phone", "phone"),
        (2, "fax", "phone"),
        (3, "phone", "phone"),
        (4, "mail", "mail"),
        (7, "fax", "phone"),
        (8, "mail", "mail"),
        (10, "phone", "phone"),
    ],
)
def test_the_kind_and_the_family_of_a_kommkz(
    komm_kz: int, kind: str, family: str
) -> None:
    assert (kind_of(komm_kz), family_of(komm_kz)) == (kind, family)


def test_an_odd_row_of_advoware_stops_no_other_and_is_named_by_its_place() -> None:
    good = {"rowId": "A", "tlf": "0511 1", "kommKz": 1, "bemerkung": None}
    rows = [
        {**good, "id": 7},
        {**good, "id": "8", "tlf": "0511 2"},
        {**good, "id": 7, "tlf": "0511 3"},
        {**good, "id": 0, "tlf": "0511 4"},
        {**good, "id": True, "tlf": "0511 5"},
        "no row",
        {**good, "id": 9, "tlf": "0511 6", "kommKz": " 3 "},
        {**good, "id": 10, "kommKz": 5},
    ]
    read = read_advoware({"kommunikation": rows})
    assert [(entry.id, entry.tlf, entry.komm_kz) for entry in read.entries] == [
        (7, "0511 1", 1),
        (8, "0511 2", 1),
        (9, "0511 6", 3),
    ]
    assert sorted(read.odd) == [3, 4, 5, 6]
    assert read.odd[3] == read.odd[4] == "no id of its own"
    unaddressed = {key.value for key in read.unaddressed}
    assert unaddressed == {"0511 3", "0511 4", "0511 5"}


@pytest.mark.parametrize(
    ("data", "values", "is_known", "is_complete"),
    [
        ([{"phoneNumber": " 1 "}, {"phoneNumber": "2"}], ["1", "2"], True, True),
        ([{"phoneNumber": " "}, {"phoneNumber": ""}], [], True, True),
        ([{"phoneNumber": None}, {"phoneNumber": "2"}], ["2"], True, False),
        ([{"phoneNumber": 2}], [], True, False),
        ([{}], [], True, False),
        (["x", {"phoneNumber": "2"}], ["2"], True, False),
        ([], [], True, True),
        (None, [], False, False),
        ({"phoneNumber": "2"}, [], False, False),
    ],
)
def test_what_an_array_of_espocrm_shows(
    data: Any, values: list[str], is_known: bool, is_complete: bool
) -> None:
    array = read_espocrm({"phoneNumberData": data}).array("phone")
    assert [entry.written for entry in array.entries] == values
    assert (array.is_known, array.is_complete) == (is_known, is_complete)


@pytest.mark.parametrize(
    ("shown", "komm_kz"),
    [("Office", 1), ("Fax", 2), ("Mobile", 3), ("Home", 6), ("Praxis", 10), (None, 10)],
)
def test_the_kommkz_of_a_row_of_espocrm(shown: Any, komm_kz: int) -> None:
    espo = {"phoneNumberData": [{"phoneNumber": "1", "type": shown}]}
    (entry,) = espocrm_entries(espo, "phone")
    assert entry.komm_kz == komm_kz
