"""Which Termin and which event belong together, as the old system's rows and marks name them. Pure.

A row follows its event: the employee of a pair is the one in whose calendar the event lies. Each Termin of an employee
and each event gets one pair; what is left over is reported and left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.calendar_sync.model import (
    GoogleEvent,
    Pair,
    SyncStrategy,
    Termin,
    content_hash,
)
from services.takeover.old_rows import LARGEST_FRNR, OldRow, made_up_id
from services.takeover.report import Finding

Json = dict[str, Any]
#: The names under which the old system wrote a Termin's number into its events, without capitals and underscores.
_MARKS = frozenset({"frnr", "advowarefrnr"})


@dataclass(frozen=True)
class Marks:
    """The Termine that events name: by their private properties, or by a row that got no pair."""

    by_event: Mapping[str, int]

    @classmethod
    def read(cls, resources: Iterable[Json]) -> Marks:
        """The marks in a calendar's events."""
        found: dict[str, int] = {}
        for resource in resources:
            number = _mark_of(resource)
            if number is not None:
                found[str(resource.get("id"))] = number
        return cls(found)

    def also(self, rows: Iterable[OldRow]) -> Marks:
        """With what these rows name."""
        named: dict[str, int] = {}
        for row in rows:
            if row.event_id is not None and row.fr_nr is not None:
                named[row.event_id] = row.fr_nr
        return Marks({**named, **self.by_event})


def _mark_of(resource: Json) -> int | None:
    properties = resource.get("extendedProperties")
    if not isinstance(properties, dict):
        return None
    private = properties.get("private")
    if not isinstance(private, dict):
        return None
    for name, value in sorted(private.items()):
        plain_name = str(name).replace("_", "").casefold()
        if plain_name not in _MARKS:
            continue
        fr_nr = _number_in(str(value).strip())
        if fr_nr is not None:
            return fr_nr
    return None


def _number_in(text: str) -> int | None:
    """The number of a Termin, None if the text is none."""
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    if 0 < number <= LARGEST_FRNR:
        return number
    return None


@dataclass
class Rows:
    """The usable live rows, by the employee whose pairs they become.

    ``left_over``: rows whose Termin or event another row has as well.
    """

    chosen: dict[str, list[OldRow]] = field(default_factory=lambda: defaultdict(list))
    left_over: dict[str, list[OldRow]] = field(
        default_factory=lambda: defaultdict(list),
    )
    findings: list[Finding] = field(default_factory=list)


def sort_rows(
    rows: Sequence[OldRow],
    employees: Collection[str],
    events: Mapping[str, Collection[str]],
) -> Rows:
    """Give each row its employee, and each Termin and event at most one row.

    ``events``: by Kürzel, the ids of the events that the employee's calendar holds.
    """
    sorted_rows = Rows()
    homes = _homes(events)
    usable = _usable_rows(rows, employees, homes, sorted_rows.findings)
    usable.sort(key=lambda row: _worth(row, homes), reverse=True)
    taken: set[tuple[str, str]] = set()
    for row in usable:
        _choose(row, taken, sorted_rows)
    return sorted_rows


def _homes(events: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """By the id of an event, in whose calendars it lies."""
    homes: dict[str, list[str]] = defaultdict(list)
    for kuerzel, ids in events.items():
        for event_id in ids:
            homes[event_id].append(kuerzel)
    return homes


def _usable_rows(
    rows: Iterable[OldRow],
    employees: Iterable[str],
    homes: Mapping[str, list[str]],
    findings: list[Finding],
) -> list[OldRow]:
    """The live rows that can become pairs, each with its employee."""
    names = {name.casefold(): name for name in employees}
    usable: list[OldRow] = []
    for row in rows:
        for why in row.odd:
            findings.append(Finding("odd_row", row.name, why))
        if row.deleted or not row.is_usable:
            continue
        kuerzel = names.get(row.kuerzel.casefold(), row.kuerzel)
        renamed = replace(row, kuerzel=kuerzel)
        usable.append(_at_home(renamed, homes, findings))
    return usable


def _at_home(
    row: OldRow,
    homes: Mapping[str, list[str]],
    findings: list[Finding],
) -> OldRow:
    found = homes.get(row.event_id or "", [])
    if not found or row.kuerzel in found:
        return row
    home = found[0]
    why = f"its event lies in the calendar of {home}, whose pair it becomes"
    findings.append(Finding("event_in_other_calendar", row.name, why))
    return replace(row, kuerzel=home)


def _worth(row: OldRow, homes: Mapping[str, list[str]]) -> tuple[Any, ...]:
    """Of two rows for one Termin or event the one that is whole, whose event is there, and that is newer."""
    is_whole = row.fr_nr is not None and row.event_id is not None
    is_there = row.event_id in homes
    last = ""
    if row.last_sync:
        last = row.last_sync.isoformat()
    return (is_there, is_whole, last, str(row.sync_id))


def _choose(row: OldRow, taken: set[tuple[str, str]], rows: Rows) -> None:
    keys = _keys(row)
    if taken.intersection(keys):
        why = "another row names the same Termin or the same event; that one is taken"
        rows.findings.append(Finding("doubled_row", row.name, why))
        rows.left_over[row.kuerzel].append(row)
        return
    taken.update(keys)
    rows.chosen[row.kuerzel].append(row)


def _keys(row: OldRow) -> list[tuple[str, str]]:
    keys = [("row", str(row.sync_id))]
    if row.fr_nr is not None:
        keys.append((row.kuerzel, f"Termin {row.fr_nr}"))
    if row.event_id is not None:
        keys.append((row.kuerzel, f"event {row.event_id}"))
    return keys


def missing_pairs(
    rows: Iterable[OldRow],
    stored: Collection[Pair],
    strategy: SyncStrategy,
) -> Iterator[Pair]:
    """The pairs of the rows that are not stored yet; ``strategy`` is that of new pairs."""
    stored_ids = {pair.sync_id for pair in stored}
    for row in rows:
        if row.sync_id not in stored_ids:
            yield pair_of_row(row, strategy)


def pair_of_row(row: OldRow, strategy: SyncStrategy) -> Pair:
    """The pair of a row, which is not compared yet; ``strategy`` is that of new pairs."""
    return Pair(
        sync_id=row.sync_id,
        employee_kuerzel=row.kuerzel,
        advoware_frnr=row.fr_nr,
        google_event_id=row.event_id,
        source_system=row.source,
        sync_strategy=row.strategy or strategy,
        advoware_write_allowed=row.write_allowed,
        sync_status="pending",
    )


def new_pair(
    kuerzel: str,
    fr_nr: int,
    event_id: str,
    source: Any,
    strategy: SyncStrategy,
) -> Pair:
    """The pair of a Termin and an event that no row names. It may be written, as a pair that the sync has found."""
    return Pair(
        sync_id=made_up_id(kuerzel, fr_nr, event_id),
        employee_kuerzel=kuerzel,
        advoware_frnr=fr_nr,
        google_event_id=event_id,
        source_system=source,
        sync_strategy=strategy,
        advoware_write_allowed=True,
        sync_status="pending",
    )


@dataclass(frozen=True)
class Adopted:
    """What events without a pair lead to.

    ``pairs``: new ones, and those whose event is gone, with the event that takes its place.
    """

    pairs: list[Pair]
    findings: list[Finding]


@dataclass(frozen=True)
class Found:
    """One employee's calendar and Termine.

    Attributes:
        events: all that the calendar lists.
        termine: by number, those of the employee.
        made_by_us: the ids of the events that our account has made.
    """

    kuerzel: str
    events: Sequence[GoogleEvent]
    termine: Mapping[int, Termin]
    made_by_us: Collection[str]


def adopt_events(
    found: Found,
    pairs: Sequence[Pair],
    marks: Marks,
    strategy: SyncStrategy,
) -> Adopted:
    """Pairs for events of the old system that are no pair's: by their mark, else by what they say.

    A Termin whose event is gone gets such an event back; by what it says only that one, because for a Termin without a
    row the sync's own plan does so.
    """
    live = {event.id: event for event in found.events if is_single(event)}
    adopting = _Adopting(found, marks, strategy)
    adopting.know(pairs, live)
    paired = {pair.google_event_id for pair in pairs}
    unpaired = sorted(live.keys() - paired)
    for event_id in unpaired:
        adopting.by_mark(event_id)
    for event_id in unpaired:
        if event_id not in marks.by_event:
            adopting.by_content(live[event_id])
    return adopting.adopted


def is_single(event: GoogleEvent) -> bool:
    """Whether it is there, and no occurrence of a series that differs from it."""
    return not event.cancelled and event.recurring_event_id is None


class _Adopting:
    """``known``: the pair of each Termin, and whether its event is there."""

    def __init__(self, found: Found, marks: Marks, strategy: SyncStrategy) -> None:
        self.known: dict[int, tuple[Pair, bool]] = {}
        self.adopted = Adopted([], [])
        self._found = found
        self._marks = marks
        self._strategy = strategy

    def know(self, pairs: Sequence[Pair], live: Collection[str]) -> None:
        """The pairs that there are; ``live``: the ids of the events that are there."""
        for pair in pairs:
            if pair.advoware_frnr is not None:
                is_whole = pair.google_event_id in live
                self.known[pair.advoware_frnr] = (pair, is_whole)

    def by_mark(self, event_id: str) -> None:
        fr_nr = self._marks.by_event.get(event_id)
        if fr_nr is None:
            return
        pair, is_whole = self.known.get(fr_nr, (None, False))
        if is_whole:
            self._report("doubled_event", fr_nr, event_id, _DOUBLED)
        elif fr_nr not in self._found.termine:
            self._report("event_without_termin", fr_nr, event_id, _NO_TERMIN)
        elif pair is None:
            self._adopt(fr_nr, self._new_pair(fr_nr, event_id))
        else:
            self._adopt(fr_nr, replace(pair, google_event_id=event_id))

    def _new_pair(self, fr_nr: int, event_id: str) -> Pair:
        return new_pair(
            kuerzel=self._found.kuerzel,
            fr_nr=fr_nr,
            event_id=event_id,
            source="advoware",
            strategy=self._strategy,
        )

    def by_content(self, event: GoogleEvent) -> None:
        if event.id not in self._found.made_by_us:
            return
        event_hash = content_hash(event.event)
        for fr_nr, (pair, is_whole) in sorted(self.known.items()):
            termin = self._found.termine.get(fr_nr)
            if is_whole or termin is None:
                continue
            if content_hash(termin.event) == event_hash:
                self._adopt(fr_nr, replace(pair, google_event_id=event.id))
                return

    def _adopt(self, fr_nr: int, pair: Pair) -> None:
        self.known[fr_nr] = (pair, True)
        self.adopted.pairs.append(pair)

    def _report(self, kind: str, fr_nr: int, event_id: str, why: str) -> None:
        where = f"{self._found.kuerzel} frNr {fr_nr} event {event_id}"
        self.adopted.findings.append(Finding(kind, where, why))


_DOUBLED = (
    "the Termin has another event in this calendar; delete this one in Google before Advoware may be written "
    "(ADVOWARE_WRITE_PROTECTION), or the sync enters it there once more"
)
_NO_TERMIN = (
    "the Termin that the event names is not this employee's, or is gone; the event is left alone. Delete it in Google "
    "before Advoware may be written (ADVOWARE_WRITE_PROTECTION), or the sync enters it there"
)
