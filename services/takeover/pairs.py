"""Which Termin and which event belong together, as the old system's rows and marks name them. Pure.

A row follows its event: the employee of a pair is the one in whose calendar the event lies. Each Termin of an employee
and each event gets one pair; what is left over is reported and left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.calendar_sync.model import GoogleEvent, Pair, SyncStrategy, Termin
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
    private = properties.get("private") if isinstance(properties, dict) else None
    if not isinstance(private, dict):
        return None
    for name, value in sorted(private.items()):
        if str(name).replace("_", "").casefold() not in _MARKS:
            continue
        text = str(value).strip()
        if text.isascii() and text.isdigit() and 0 < int(text) <= LARGEST_FRNR:
            return int(text)
    return None


@dataclass
class Rows:
    """The usable live rows, by the employee whose pairs they become.

    ``left_over``: rows whose Termin or event another row has as well.
    """

    chosen: dict[str, list[OldRow]] = field(default_factory=lambda: defaultdict(list))
    left_over: dict[str, list[OldRow]] = field(
        default_factory=lambda: defaultdict(list)
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
    names = {name.casefold(): name for name in employees}
    homes: dict[str, list[str]] = defaultdict(list)
    for kuerzel, ids in events.items():
        for event_id in ids:
            homes[event_id].append(kuerzel)
    usable: list[OldRow] = []
    for row in rows:
        sorted_rows.findings += [Finding("odd_row", row.name, why) for why in row.odd]
        if row.deleted or not row.is_usable:
            continue
        row = replace(row, kuerzel=names.get(row.kuerzel.casefold(), row.kuerzel))
        usable.append(_at_home(row, homes, sorted_rows.findings))
    usable.sort(key=lambda row: _worth(row, homes), reverse=True)
    taken: set[tuple[str, str]] = set()
    for row in usable:
        _choose(row, taken, sorted_rows)
    return sorted_rows


def _at_home(
    row: OldRow, homes: Mapping[str, list[str]], findings: list[Finding]
) -> OldRow:
    found = homes.get(row.event_id or "", [])
    if not found or row.kuerzel in found:
        return row
    why = f"its event lies in the calendar of {found[0]}, whose pair it becomes"
    findings.append(Finding("event_in_other_calendar", row.name, why))
    return replace(row, kuerzel=found[0])


def _worth(row: OldRow, homes: Mapping[str, list[str]]) -> tuple[Any, ...]:
    """Of two rows for one Termin or event the one that is whole, whose event is there, and that is newer."""
    is_whole = row.fr_nr is not None and row.event_id is not None
    is_there = row.event_id in homes
    last = row.last_sync.isoformat() if row.last_sync else ""
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


def pair_of_row(row: OldRow, strategy: SyncStrategy) -> Pair:
    """The pair of a row, which is not compared yet; ``strategy`` is that of new pairs."""
    return Pair(
        row.sync_id,
        row.kuerzel,
        row.fr_nr,
        row.event_id,
        row.source,
        row.strategy or strategy,
        row.write_allowed,
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
    sync_id = made_up_id(kuerzel, fr_nr, event_id)
    return Pair(
        sync_id,
        kuerzel,
        fr_nr,
        event_id,
        source,
        strategy,
        advoware_write_allowed=True,
        sync_status="pending",
    )


@dataclass(frozen=True)
class Adopted:
    """What the marks of events without a pair lead to."""

    pairs: list[Pair]
    findings: list[Finding]


def adopt_marked(
    kuerzel: str,
    events: Iterable[GoogleEvent],
    termine: Mapping[int, Termin],
    pairs: Sequence[Pair],
    marks: Marks,
    strategy: SyncStrategy,
) -> Adopted:
    """Pairs for marked events whose Termin has none."""
    paired_events = {pair.google_event_id for pair in pairs}
    with_event: set[int | None] = set()
    for pair in pairs:
        if pair.google_event_id is not None:
            with_event.add(pair.advoware_frnr)
    waiting = {pair.advoware_frnr: pair for pair in pairs if not pair.google_event_id}
    adopted = Adopted([], [])
    for event in sorted(events, key=lambda event: event.id):
        fr_nr = marks.by_event.get(event.id)
        is_single = not event.cancelled and event.recurring_event_id is None
        if fr_nr is None or not is_single or event.id in paired_events:
            continue
        where = f"{kuerzel} frNr {fr_nr} event {event.id}"
        if fr_nr in with_event:
            why = (
                "the Termin has another event in this calendar; delete this one in Google before Advoware may be "
                "written (ADVOWARE_WRITE_PROTECTION), or the sync enters it there once more"
            )
            adopted.findings.append(Finding("doubled_event", where, why))
        elif fr_nr not in termine:
            why = "the Termin that the event names is not this employee's, or is gone"
            adopted.findings.append(Finding("event_without_termin", where, why))
        else:
            with_event.add(fr_nr)
            known = waiting.get(fr_nr)
            fresh = new_pair(kuerzel, fr_nr, event.id, "advoware", strategy)
            if known is not None:
                fresh = replace(known, google_event_id=event.id)
            adopted.pairs.append(fresh)
    return adopted
