"""Whatever the two systems do to values, nothing that a person has entered goes without a word, and syncs come to rest.

Both sides are lists in memory. Advoware may cut, refuse or ignore what is sent, and cut notes; EspoCRM may refuse it;
rows may be unreadable; personal data may be erased.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.kommunikation_mapper import (
    Key,
    advoware_entries,
    read_advoware,
    read_espocrm,
)
from services.vmh_sync.kommunikation.memory import Memory
from services.vmh_sync.kommunikation.outcome import (
    Applied,
    planned_links,
    refuse,
    verify,
)
from services.vmh_sync.kommunikation.plan import (
    Base,
    Observation,
    Plan,
    Write,
    make_plan,
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Hostility:
    """What the systems do: the longest value and note that Advoware keeps, and what either refuses or ignores."""

    longest_value: int = 255
    longest_note: int = 1000
    advoware_refuses: frozenset[str] = frozenset()
    advoware_ignores: frozenset[str] = frozenset()
    espocrm_refuses: frozenset[str] = frozenset()


@dataclass
class Sides:
    """Both systems, the base, and what one sync after the other leads to."""

    phones: list[Row]
    entries: list[Row]
    hostility: Hostility = field(default_factory=Hostility)
    base: Base = field(default_factory=dict)
    refused: frozenset[Key] = frozenset()
    not_taken: frozenset[Key] = frozenset()
    synced: bool = False
    writes: int = 0

    def sync(self, **options: bool) -> tuple[Plan, Applied]:
        observed = Observation(
            read_espocrm({"phoneNumberData": self.phones, "emailAddressData": []}),
            read_advoware({"kommunikation": self.entries}),
            self.base,
            first_sync=not self.synced,
            refused_by_advoware=self.refused,
            refused_by_espocrm=self.not_taken,
        )
        plan, applied = make_plan(observed, **options), Applied()
        for write in plan.writes:
            self._send(write, applied)
        for entry_id, record in verify(applied, {"kommunikation": self.entries}):
            self._row(entry_id).update(
                bemerkung=record["bemerkung"][: self.hostility.longest_note]
            )
        refused = {
            e.key for e in plan.incoming if e.written in self.hostility.espocrm_refuses
        }
        if refused:
            self.not_taken |= refused
            plan = make_plan(
                replace(observed, refused_by_espocrm=self.not_taken), **options
            )
        self.phones = [
            dict(row) for row in plan.espocrm.get("phoneNumberData", self.phones)
        ]
        held = {entry.key for entry in observed.espocrm.entries}
        self.base = planned_links(plan, Memory(1, self.base), applied)
        self.refused = (self.refused | applied.refused_values) & held - {
            link.espocrm for link in self.base.values()
        }
        self.synced = True
        self.writes += len(plan.writes) + len(plan.espocrm)
        return plan, applied

    def _send(self, write: Write, applied: Applied) -> None:
        if write.tlf in self.hostility.advoware_refuses:
            refuse(applied, write)
            return
        entry_id = (
            write.entry_id or max((row["id"] for row in self.entries), default=0) + 1
        )
        if write.entry_id is None:
            self.entries.append(
                {
                    "id": entry_id,
                    "rowId": f"N{entry_id}",
                    "tlf": "",
                    "kommKz": write.komm_kz,
                }
            )
        row = self._row(entry_id)
        if write.bemerkung is not None:
            row["bemerkung"] = write.bemerkung[: self.hostility.longest_note]
        if write.tlf not in self.hostility.advoware_ignores:
            row["tlf"] = write.tlf[: self.hostility.longest_value]
        applied.done.append((write, entry_id))

    def _row(self, entry_id: int) -> Row:
        return next(row for row in self.entries if row.get("id") == entry_id)

    def keys(self) -> tuple[set[Key], set[Key]]:
        """The values of EspoCRM and of Advoware."""
        in_espocrm = {
            entry.key
            for entry in read_espocrm({"phoneNumberData": self.phones}).entries
            if not entry.is_erased
        }
        in_advoware = {
            entry.key
            for entry in advoware_entries({"kommunikation": self.entries})
            if entry.key.value
        }
        return in_espocrm, in_advoware


NUMBERS = [
    "+495111111",
    "+495112222",
    "+495113333",
    "0511 4444",
    "0511/5555 (Büro)",
    "0511 1 / 22",
    "49 511 123459",
]
TYPES = ["Office", "Fax", "Mobile"]

hostilities = st.builds(
    Hostility,
    longest_value=st.sampled_from([255, 255, 9]),
    longest_note=st.sampled_from([1000, 1000, 40, 12, 3]),
    advoware_refuses=st.frozensets(st.sampled_from(NUMBERS), max_size=2),
    advoware_ignores=st.frozensets(st.sampled_from([*NUMBERS, ""]), max_size=2),
    espocrm_refuses=st.frozensets(st.sampled_from(NUMBERS), max_size=2),
)
phone_rows = st.lists(
    st.tuples(st.sampled_from(NUMBERS[:4]), st.sampled_from(TYPES)),
    max_size=4,
    unique_by=lambda row: row[0],
).map(
    lambda rows: [
        {"phoneNumber": number, "type": kind, "primary": not at}
        for at, (number, kind) in enumerate(rows)
    ]
)
notes = st.sampled_from([None, "", "nur vormittags", "Frau Özdemir verlangen"])
entry_rows = st.lists(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from([1, 2, 3]), notes), max_size=4
).map(
    lambda rows: [
        {"id": at, "rowId": f"R{at}", "tlf": tlf, "kommKz": kind, "bemerkung": note}
        for at, (tlf, kind, note) in enumerate(rows, start=1)
    ]
)
#: An edit: the side, the place, and the new value; None deletes.
edits = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(0, 4),
        st.sampled_from([*NUMBERS, None]),
        st.sampled_from(TYPES),
    ),
    max_size=3,
)


def edit(sides: Sides, changes: list[tuple[bool, int, str | None, str]]) -> None:
    """People edit; a number that EspoCRM's record holds already is not entered a second time."""
    for in_espocrm, place, value, kind in changes:
        if not in_espocrm:
            _edit_advoware(sides, place, value)
        elif value is None:
            del sides.phones[place : place + 1]
        elif value in NUMBERS[:4] and value not in {
            row["phoneNumber"] for row in sides.phones
        }:
            sides.phones[place : place + 1] = [
                {"phoneNumber": value, "type": kind, "primary": not place}
            ]


def _edit_advoware(sides: Sides, place: int, value: str | None) -> None:
    if place < len(sides.entries) and value is not None:
        sides.entries[place]["tlf"] = value
    elif place < len(sides.entries):
        del sides.entries[place]
    elif value is not None:
        new_id = max((row["id"] for row in sides.entries), default=0) + 100
        sides.entries.append(
            {
                "id": new_id,
                "rowId": f"P{new_id}",
                "tlf": value,
                "kommKz": 1,
                "bemerkung": None,
            }
        )


def reported(plan: Plan, applied: Applied) -> str:
    """What stands in the audit as lost, and in tasks."""
    lost = [
        write.change.old for write in plan.writes if write.change and write.change.lost
    ]
    notices = [
        text
        for notice in [*plan.notices, *applied.notices]
        for text in (notice.value, notice.other)
    ]
    return " ".join(str(text) for text in [*lost, *notices])


def assert_at_rest(sides: Sides, **options: bool) -> None:
    """Another sync writes nothing, and says the same as the one after it."""
    sides.sync(
        **options
    )  # a slot that was used, a value that has just been refused: reported once more
    before = copy.deepcopy((sides.phones, sides.entries, sides.base)), sides.writes
    plan, _ = sides.sync(**options)
    assert (plan.writes, plan.espocrm, plan.changes) == ((), {}, ())
    assert ((sides.phones, sides.entries, sides.base), sides.writes) == before


def assert_nothing_is_lost(
    sides: Sides, agreed: set[Key], changes: Any, **options: bool
) -> None:
    """A value that is gone from both sides was deleted or replaced by a person on one of them, or is reported."""
    in_espocrm, in_advoware = sides.keys()
    written = {
        entry.key: entry.written
        for entry in advoware_entries({"kommunikation": sides.entries})
    }
    plan, applied = sides.sync(**options)
    after = set.union(*sides.keys())
    for key in (in_espocrm | in_advoware) - after:
        taken_away = key in agreed and not (key in in_espocrm and key in in_advoware)
        assert taken_away or written.get(key, key.value) in reported(plan, applied), (
            key,
            changes,
            plan,
        )


@given(phone_rows, entry_rows, hostilities, edits, edits)
@example(  # Advoware cuts a value that it holds itself when the note is written
    [{"phoneNumber": "+495111111", "type": "Office", "primary": True}],
    [{"id": 1, "rowId": "R1", "tlf": "+495112222", "kommKz": 1, "bemerkung": None}],
    Hostility(longest_value=9),
    [],
    [(False, 0, "+495111111", "Office")],
)
def test_hostile_systems_come_to_rest_and_lose_nothing_without_a_word(
    phones: list[Row], entries: list[Row], hostility: Hostility, first: Any, second: Any
) -> None:
    sides = Sides(copy.deepcopy(phones), copy.deepcopy(entries), hostility)
    assert_nothing_is_lost(sides, set(), None)
    assert_at_rest(sides)
    for changes in (first, second):
        agreed = set.union(*sides.keys())
        edit(sides, changes)
        assert_nothing_is_lost(sides, agreed, changes)
        assert_at_rest(sides)


@given(phone_rows, entry_rows, edits, st.booleans())
def test_what_cannot_be_read_or_was_erased_takes_nothing_with_it(
    phones: list[Row], entries: list[Row], changes: Any, erased: bool
) -> None:
    sides = Sides(copy.deepcopy(phones), copy.deepcopy(entries))
    sides.sync()
    edit(sides, changes)
    sides.sync()
    values = {row["id"]: row["tlf"] for row in sides.entries}
    for row in sides.phones[:1]:
        row["phoneNumber"] = "ERASED:6b0473f6031b46ee6" if erased else None

    sides.sync()

    assert not any("ERASED" in str(row["tlf"]) for row in sides.entries)
    if sides.phones:
        assert {row["id"]: row["tlf"] for row in sides.entries} == values
    assert_at_rest(sides)


@given(
    phone_rows,
    entry_rows,
    st.sampled_from(["tlf", "id", "kommKz", "bemerkung", "rowId"]),
    st.integers(0, 3),
)
@example(
    [{"phoneNumber": "+495111111", "type": "Office", "primary": True}], [], "id", 0
)
def test_an_odd_row_in_advoware_changes_no_value_on_either_side(
    phones: list[Row], entries: list[Row], name: str, place: int
) -> None:
    sides = Sides(copy.deepcopy(phones), copy.deepcopy(entries))
    sides.sync()
    sides.sync()
    before = copy.deepcopy(sides.phones), [row["tlf"] for row in sides.entries]
    whole = copy.deepcopy(sides.entries)
    for row in sides.entries[place : place + 1]:
        row.pop(name, None)

    sides.sync()

    missing = [] if name == "tlf" else [row.get("tlf") for row in sides.entries]
    assert sides.phones == before[0]
    assert missing in ([], before[1])
    sides.entries = whole
    assert_at_rest(sides)
    assert (sides.phones, [row["tlf"] for row in sides.entries]) == before
