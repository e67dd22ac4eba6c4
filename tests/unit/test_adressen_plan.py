"""The plan for a pair of addresses, whatever people and systems do to it: nothing is lost, and it comes to rest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.adressen_mapper import AdressenMapper, adressen_of
from services.values.address_block import BLOCK, changed_block
from services.values.merge import text_of
from services.vmh_sync.adressen.fields import put_body, put_names
from services.vmh_sync.adressen.match import Observation, match_addresses
from services.vmh_sync.adressen.plan import (
    Broken,
    CreateAdresse,
    CreateCAdressen,
    Settle,
    changes_of,
    make_plan,
    problems_of,
    settle_put,
    settle_update,
)
from services.vmh_sync.store import SyncState
from tests.support.adressen_sides import ADRESSE_FIELDS, ROW_FIELDS, AdressenSides

BETEILIGTER = {
    "betNr": 1001,
    "anrede": "Herr",
    "vorname": "Max",
    "name": "Müller",
    "rechtsform": "Herr",
}
ROW = {
    "id": "6b0473a32660ab138", "adresseStreet": "Weg 1\nHinterhaus", "adressePostalCode": "30159",
    "adresseCity": "Ulm", "adresseCountry": "AT", "postfach": None, "postfachPLZ": None, "gueltigVon": "2020-01-01",
    "gueltigBis": None, "istStandard": True, "isActive": True, "advowareId": 5, "syncStatus": "clean",
}  # fmt: skip
ADRESSE = {
    "id": 5, "rowId": "A", "strasse": "Weg 1", "plz": "30159", "ort": "Ulm", "land": "Österreich", "postfach": None,
    "postfachPLZ": None, "gueltigVon": "2020-01-01T00:00:00", "gueltigBis": None, "standardAnschrift": True,
    "anschrift": "Herrn Max Müller\nWeg 1\nHinterhaus\n30159 Ulm\nÖSTERREICH", "bemerkung": None,
}  # fmt: skip
WRITABLE = ("strasse", "plz", "ort", BLOCK)
TEXTS = {
    "adresseStreet": "strasse",
    "adresseCity": "ort",
    "adressePostalCode": "plz",
    "postfach": "postfach",
}
STORES = {
    "as it is": lambda old, new: new,
    "capitals": lambda old, new: new.upper() if isinstance(new, str) else new,
    "cut": lambda old, new: new[:6] if isinstance(new, str) else new,
    "refused": lambda old, new: old,
}
MAPPER = AdressenMapper()


@dataclass
class World:
    """Two systems with one address each, and what the sync remembers and reports."""

    store_espocrm: str = "as it is"
    store_advoware: str = "as it is"
    row: dict[str, Any] = field(default_factory=lambda: dict(ROW))
    adresse: dict[str, Any] = field(default_factory=lambda: dict(ADRESSE))
    state: SyncState | None = None
    reported: list[Any] = field(default_factory=list)
    requests: int = 0

    def sync(self, hidden: dict[str, Any] | None = None) -> Settle:
        """One run; ``hidden`` overlays what Advoware answers (``...``: the key is missing)."""
        shown = {
            key: value
            for key, value in {**self.adresse, **(hidden or {})}.items()
            if value is not ...
        }
        listing = adressen_of({"adressen": [shown]})
        assert listing is not None
        now = datetime(2026, 2, 10, 9, tzinfo=UTC)
        states = {self.state.entity_id: self.state} if self.state else {}
        observed = Observation(
            "b1", BETEILIGTER, {}, [self.row], listing.adressen, states, "both", now
        )
        (action,) = make_plan(observed, match_addresses(observed))
        assert isinstance(action, Settle), action
        assert action.fields is not None
        if action.fields.to_advoware:
            action = settle_put(observed, action, self._put(action), {})
        if attributes := action.espocrm:
            self.requests += 1
            store = STORES[self.store_espocrm]
            self.row = {
                **self.row,
                **{
                    name: store(self.row.get(name), value)
                    for name, value in attributes.items()
                },
            }
            action = settle_update(observed, action, self.row, {})
        self.row["syncStatus"] = action.shown_status
        state = action.state
        self.state = SyncState(
            **{
                **state.__dict__,
                "base": _stored(state.base),
                "rejected": _stored(state.rejected),
            }
        )
        self.reported += [
            *(problem.details.as_json() for problem in problems_of(observed, action)),
            *_stored(changes_of(action)),
        ]
        return action

    def _put(self, action: Settle) -> dict[str, Any]:
        assert action.fields is not None
        assert action.adresse is not None
        self.requests += 1
        self.reported.append(action.adresse.get(BLOCK))  # the audit keeps it
        body = put_body(action.fields, action.adresse, put_names(action.fields))
        store = STORES[self.store_advoware]
        taken = {
            name: store(self.adresse.get(name), body[name])
            for name in WRITABLE
            if name in body
        }
        self.change(taken)
        return dict(self.adresse)

    def change(self, values: dict[str, Any]) -> None:
        """Advoware stores these values; with each change it gives the Adresse a new rowId."""
        changed = {**self.adresse, **values}
        if changed != self.adresse:
            self.adresse = {**changed, "rowId": self.adresse["rowId"] + "A"}


def _stored(value: Any) -> Any:
    return json.loads(json.dumps(value))


edits = st.tuples(
    st.sampled_from(["espocrm", "advoware"]),
    st.sampled_from(sorted(TEXTS)),
    st.booleans(),
)
# What Advoware may answer instead of what it holds; another plausible value cannot be distinguished from an edit.
no_value = st.sampled_from([..., None, 7, []])
no_country = st.sampled_from([..., None, 7, [], "Absurdistan"])
no_date = st.sampled_from([..., None, 7, [], "Absurdistan", "1492-01-01", "31.12.2030"])
hidden = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["strasse", "plz", "ort", "postfach", BLOCK], no_value),
        "land": no_country,
        **dict.fromkeys(["gueltigVon", "gueltigBis"], no_date),
    },
)
stores = st.sampled_from(sorted(STORES))
rounds = st.lists(
    st.tuples(st.lists(edits, max_size=3), hidden | st.just({})), min_size=1, max_size=4
)


@given(rounds, stores, stores)
def test_it_comes_to_rest_and_no_edit_is_gone_without_a_word(
    history: list[Any], store_espocrm: str, store_advoware: str
) -> None:
    world = World(store_espocrm, store_advoware)
    world.sync()
    entered: dict[str, str] = {}
    words: dict[tuple[str, str], set[str]] = {}
    for number, (changes, disguise) in enumerate(history):
        for step, (side, attribute, by_block) in enumerate(changes):
            word = f"Neu{number}{step} am Ende"  # neither capitals nor cutting leave it as it is
            if side == "espocrm":
                world.row |= {attribute: word, "syncStatus": "dirty"}
            else:
                typed = {TEXTS[attribute]: word}
                if by_block:
                    typed[BLOCK] = f"Von Hand {word}"
                world.change(typed)
            entered[attribute] = (
                word  # what stood there before was given up by a person
            )
            words.setdefault((side, attribute), set()).add(word)
        world.sync(disguise)
    world.sync()
    world.sync()
    before = world.requests
    last = world.sync()
    assert world.requests == before
    assert not changes_of(last)
    kept = json.dumps(
        [world.row, world.adresse, world.reported], ensure_ascii=False
    ).casefold()
    for attribute, word in entered.items():
        assert word.casefold() in kept
        in_espocrm, in_advoware = (
            words.get((side, attribute), set()) for side in ("espocrm", "advoware")
        )
        if not in_advoware:  # what the other side made of it never comes back
            assert str(world.row[attribute]).split("\n")[0] == word
        if not in_espocrm and store_advoware == "as it is":
            assert world.adresse[TEXTS[attribute]] == word
    if last.shown_status == "clean":
        assert MAPPER.get_changed_fields(world.row, world.adresse) == []


first_values = {
    "adresseStreet": ("strasse", [None, "Weg 1", "Weg 2\nHof", 7]),
    "adressePostalCode": ("plz", [None, "", "30159", "9" * 30, "8" * 50]),
    "adresseCity": ("ort", [None, "", "Ulm", "Köln"]),
    "adresseCountry": (
        "land",
        [None, "", "DE", "AT", "Schweiz", "Absurdistan", "Phantasien", []],
    ),
    "postfach": ("postfach", [None, "", "12", "77"]),
    "gueltigVon": (
        "gueltigVon",
        [None, "", "2020-01-01", "0001-01-01T00:00:00", "1492-01-01", "1.1.2020", 5],
    ),
}
first_rows = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, (_, values) in first_values.items()}
)
first_adressen = st.fixed_dictionaries(
    {field: st.sampled_from([*values, ...]) for field, values in first_values.values()},
    optional={
        BLOCK: st.sampled_from(
            [None, "", "Von Hand", "Von Hand\nWeg 1\n30159 Ulm", ...]
        )
    },
)


@given(first_rows, first_adressen)
def test_the_first_comparison_of_any_two_addresses_comes_to_rest_and_loses_nothing(
    row: dict[str, Any], adresse: dict[str, Any]
) -> None:
    shown = {
        name: value
        for name, value in {**ADRESSE, **adresse}.items()
        if value is not ...
    }
    world = World(row={**ROW, **row}, adresse=dict(shown))
    world.sync()
    world.sync()
    before = world.requests
    last = world.sync()
    assert (world.requests, changes_of(last)) == (before, [])
    left = json.dumps([world.row, world.adresse, world.reported], ensure_ascii=False)
    for value in (*row.values(), *shown.values()):
        for line in value.split("\n") if isinstance(value, str) else ():
            assert line in left or line in {"0001-01-01T00:00:00", "DE"}
    if last.shown_status == "clean":
        assert MAPPER.get_changed_fields(world.row, world.adresse) == []


@given(hidden)
def test_what_advoware_answers_for_a_moment_changes_nothing_for_good(
    disguise: dict[str, Any],
) -> None:
    world = World()
    world.sync()
    world.sync(disguise)
    world.sync()
    assert world.requests == 0
    assert world.row["syncStatus"] == "clean"
    assert world.adresse == ADRESSE


def test_the_first_comparison_reports_what_cannot_be_compared() -> None:
    world = World(adresse={**ADRESSE, "land": "Absurdistan"})
    assert world.sync().shown_status == "conflict"
    assert world.requests == 0
    assert world.reported[0]["reason"] == "address_unknown_advoware"


@pytest.mark.parametrize(
    "odd",
    [
        {"strasse": {"a": 1}},
        {"plz": True},
        {"bemerkung": 7},
        {"bemerkung": ["x"]},
        {"anschrift": {}},
    ],
)
def test_nothing_in_an_adresse_breaks_the_plan(odd: dict[str, Any]) -> None:
    listing = adressen_of({"adressen": [{**ADRESSE, **odd, "id": 6}]})
    assert listing is not None
    now = datetime(2026, 2, 10, tzinfo=UTC)
    observed = Observation(
        "b1",
        BETEILIGTER,
        {"assignedUserId": "u", "teamsIds": ["t"]},
        [],
        listing.adressen,
        {},
        "both",
        now,
    )
    (action,) = make_plan(observed, match_addresses(observed))
    assert not isinstance(action, Broken)
    assert isinstance(action, CreateCAdressen)
    assert (action.attributes["assignedUserId"], action.attributes["teamsIds"]) == (
        "u",
        ["t"],
    )
    json.dumps(action.attributes)


lines = st.lists(st.text("AB ", max_size=3), max_size=5)
parts = st.fixed_dictionaries(
    {
        name: st.sampled_from([None, "A", "B", "A B"])
        for name in ("strasse", "weitereZeilen", "plz", "ort")
    }
)


@given(lines, parts, parts)
def test_a_block_written_by_hand_keeps_every_line_that_is_not_an_old_part(
    block: list[str], old: dict[str, Any], new: dict[str, Any]
) -> None:
    text = "\n".join(["Von Hand", *block])
    changed = changed_block(text, "Max", [old], new)
    if changed is None:
        return
    gone = [line for line in block if line not in changed.split("\n")]
    place = " ".join(part for part in (old["plz"], old["ort"]) if part)
    assert {line.strip() for line in gone} <= {
        old["strasse"],
        old["weitereZeilen"],
        place,
        "",
    }
    assert changed.startswith("Von Hand")


def _row(street: str | None, **further: Any) -> dict[str, Any]:
    return {"adresseStreet": street, "adresseCity": "Ulm", **further}


NEW_ROWS = st.fixed_dictionaries(
    {
        "adresseStreet": st.sampled_from(
            [None, "Weg 1", "Gasse 2", "WEG 1", "Allee 3\nHof"]
        ),
        "adresseCity": st.sampled_from([None, "Ulm", "Köln"]),
        "adresseCountry": st.sampled_from([None, "DE", "AT"]),
        "postfach": st.sampled_from([None, "12"]),
        "istStandard": st.booleans(),
        "isActive": st.sampled_from([True, True, True, False]),
    }
)
NEW_ADRESSEN = st.fixed_dictionaries(
    {
        "strasse": st.sampled_from([None, "", "Weg 1", "Gasse 2", "Allee 3"]),
        "ort": st.sampled_from([None, "Ulm", "Köln"]),
        "land": st.sampled_from(["", "Österreich", "Absurdistan"]),
        "postfach": st.sampled_from([None, "12"]),
        BLOCK: st.sampled_from(["", "Von Hand", "Herrn Max Müller\nAllee 3\nHof\nUlm"]),
    }
)
AT = st.integers(0, 4)
#: What is entered in a field: a word of its own, a value that other addresses have too, nothing.
ENTERED = st.sampled_from(["word", "common", "", None])
SINGLE = {"land": "Schweiz", "adresseCountry": "CH", "gueltigVon": "2021-05-01"}
COMMON = {
    "adresseStreet": "Weg 1", "strasse": "Weg 1", "adressePostalCode": "30159", "plz": "30159", "adresseCity": "Ulm",
    "ort": "Ulm", "adresseCountry": "AT", "land": "Österreich", "postfach": "12", "gueltigVon": "2020-01-01",
    BLOCK: "Von Hand",
}  # fmt: skip
DEEDS = st.one_of(
    st.tuples(st.just("row"), AT, st.sampled_from(ROW_FIELDS), ENTERED),
    st.tuples(
        st.just("adresse"),
        AT,
        st.sampled_from(ADRESSE_FIELDS),
        ENTERED | st.just(7),
    ),
    st.tuples(
        st.sampled_from(
            ["swap rows", "equal rows", "swap adressen", "copy mark", "copy", "replace"]
        ),
        AT,
        AT,
    ),
    st.tuples(
        st.sampled_from(
            [
                "delete row",
                "move row",
                "restore row",
                "main row",
                "delete adresse",
                "restore adresse",
                "main adresse",
                "remove mark",
            ]
        ),
        AT,
    ),
    st.tuples(st.just("active"), AT, st.booleans()),
    st.tuples(st.just("new row"), NEW_ROWS),
    st.tuples(st.just("new adresse"), NEW_ADRESSEN),
)
#: Null in place of a value that no run has known cannot be distinguished from none.
HIDDEN = st.dictionaries(
    st.integers(0, 2),
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(ADRESSE_FIELDS, st.sampled_from([..., []])),
            "bemerkung": st.just(...),
        },
    ),
    max_size=2,
)


def _do(sides: AdressenSides, deed: Any, word: str) -> None:
    """What a person does on one of the sides, if there is anything to do it with."""
    kind, *arguments = deed
    if kind == "new row":
        sides.new_row(**arguments[0])
    elif kind == "new adresse":
        sides.new_adresse(**arguments[0])
    elif kind.startswith("restore"):
        _restore(sides, kind, *arguments)
    elif kind in {"row", "active"} or kind.endswith((" row", " rows")):
        if sides.rows:
            _do_in_espocrm(sides, kind, word, *arguments)
    elif sides.adressen:
        _do_in_advoware(sides, kind, word, *arguments)


def _restore(sides: AdressenSides, kind: str, at: int) -> None:
    if kind == "restore row" and sides.gone:
        name = list(sides.gone)[at % len(sides.gone)]
        sides.rows[name] = sides.gone.pop(name)
        sides.elsewhere.discard(name)
    elif kind == "restore adresse" and sides.removed:
        sides.adressen.append(sides.removed.pop(at % len(sides.removed)))


def _value(name: str, entered: Any, word: str) -> Any:
    if entered == "word":
        return SINGLE.get(name, word)
    if entered == "common":
        return COMMON[name]
    return entered


def _do_in_espocrm(
    sides: AdressenSides, kind: str, word: str, at: int, *further: Any
) -> None:
    rows = list(sides.rows.values())
    row = rows[at % len(rows)]
    values = {name: row[name] for name in ROW_FIELDS}
    match kind:
        case "row":
            sides.edit_row(row, **{further[0]: _value(*further, word)})
        case "active":
            sides.edit_row(row, isActive=further[0])
        case "main row":
            for item in rows:
                sides.edit_row(item, istStandard=item is row)
        case "delete row" | "move row":
            sides.gone[row["id"]] = sides.rows.pop(row["id"])
            sides.elsewhere |= {row["id"]} if kind == "move row" else set()
        case "swap rows" | "equal rows":
            other = rows[further[0] % len(rows)]
            of_other = {name: other[name] for name in ROW_FIELDS}
            sides.edit_row(row, **of_other)
            if kind == "swap rows":
                sides.edit_row(other, **values)


def _do_in_advoware(
    sides: AdressenSides, kind: str, word: str, at: int, *further: Any
) -> None:
    adressen = sides.adressen
    adresse = adressen[at % len(adressen)]
    values = {name: adresse[name] for name in ADRESSE_FIELDS}
    marked = {"bemerkung": adresse["bemerkung"]}
    match kind:
        case "adresse":
            sides.edit_adresse(adresse, **{further[0]: _value(*further, word)})
        case "main adresse":
            for item in adressen:
                sides.edit_adresse(item, standardAnschrift=item is adresse)
        case "remove mark":
            sides.edit_adresse(adresse, bemerkung=None)
        case "copy":
            sides.new_adresse(**values, **marked)
        case "delete adresse" | "replace":
            if kind == "replace":
                sides.new_adresse(**values, **marked)
            adressen.remove(adresse)
            sides.removed.append(adresse)
        case "swap adressen":
            other = adressen[further[0] % len(adressen)]
            of_other = {name: other[name] for name in ADRESSE_FIELDS}
            sides.edit_adresse(adresse, **of_other)
            sides.edit_adresse(other, **values)
        case "copy mark":
            sides.edit_adresse(adressen[further[0] % len(adressen)], **marked)


def _entered_values(sides: AdressenSides) -> set[str]:
    """All texts that stand on one of the sides, line by line."""
    texts: set[str] = set()
    for record in (*sides.rows.values(), *sides.adressen):
        for name in {*ROW_FIELDS, *ADRESSE_FIELDS} & record.keys():
            if isinstance(record[name], str):
                texts.update(record[name].split("\n"))
    return texts - {"", "DE"}


def _unreadable(sides: AdressenSides) -> list[tuple[int, str]]:
    return [
        (adresse["id"], name)
        for adresse in sides.adressen
        for name in ADRESSE_FIELDS
        if adresse[name] == 7
    ]


def _keys(records: Any, read: Any) -> set[Any]:
    keys = set()
    for record in records:
        values = read(record)
        key = tuple(
            str(text_of(values.get(name)) or "").casefold()
            for name in ("strasse", "plz", "ort", "postfach")
        )
        keys.add(key)
    return keys - {("", "", "", "")}


def _checked_sync(sides: AdressenSides, agreed: set[str], *options: Any) -> None:
    """One run that loses nothing, writes over nothing that it cannot read, and creates nothing twice."""
    before = _entered_values(sides)
    odd = _unreadable(sides)
    sides.sync(*options)
    known = (sides.standing + sides.notices).casefold()
    for text in before:
        assert text.casefold() in known + sides.audited.casefold(), text
        if text.startswith("Wort"):  # entered since the last run: a person knows
            assert text in agreed or text.casefold() in known, text
    assert set(odd) <= set(_unreadable(sides))
    new_rows = [item.row for item in sides.plan if isinstance(item, CreateAdresse)]
    new_there = [
        item.adresse for item in sides.plan if isinstance(item, CreateCAdressen)
    ]
    assert not (
        _keys(new_rows, MAPPER.comparable_from_espocrm)
        & _keys(new_there, MAPPER.comparable_from_advoware)
    )
    agreed |= _entered_values(sides)


DIRECTIONS = st.sampled_from(["both", "both", "to_advoware"])


@example(  # a copy in Advoware has the mark of its original, and the same was entered in EspoCRM
    rows=[_row("Weg 1")],
    adressen=[],
    history=[
        ([("copy", 0, 0), ("new row", _row("Weg 1"))], "both", {}),
    ],
)
@example(  # its CAdressen is another Beteiligter's by now
    rows=[_row("Weg 1")],
    adressen=[],
    history=[
        ([("move row", 0), ("replace", 0, 0), ("new row", _row("Weg 1"))], "both", {}),
    ],
)
@example(  # a printed block that cannot be read
    rows=[],
    adressen=[{"ort": "Ulm", BLOCK: ""}],
    history=[
        (
            [("row", 0, "adresseStreet", "word"), ("adresse", 0, BLOCK, 7)],
            "both",
            {},
        ),
    ],
)
@given(
    st.lists(NEW_ROWS, max_size=3),
    st.lists(NEW_ADRESSEN, max_size=3),
    st.lists(
        st.tuples(st.lists(DEEDS, max_size=5), DIRECTIONS, HIDDEN | st.just({})),
        min_size=1,
        max_size=2,
    ),
)
def test_whatever_people_do_with_several_addresses_nothing_is_lost_or_there_twice(
    rows: list[dict[str, Any]], adressen: list[dict[str, Any]], history: list[Any]
) -> None:
    sides = AdressenSides()
    for row in rows:
        sides.new_row(**row)
    for adresse in adressen:
        sides.new_adresse(**adresse)
    agreed: set[str] = set()
    _checked_sync(sides, agreed)
    for number, (deeds, direction, disguise) in enumerate(history):
        for step, deed in enumerate(deeds):
            _do(sides, deed, f"Wort{number}{step}")
        _checked_sync(sides, agreed, direction, disguise)
    _checked_sync(sides, agreed)
    _checked_sync(sides, agreed)
    before = sides.standing

    _checked_sync(sides, agreed)

    assert (sides.writes, sides.lines, sides.standing) == (0, [], before)
