"""All that is known about one appointment: its rows, both sides as they are now, its history. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.calendar_sync.audit.findings import Finding, pair_findings
from services.calendar_sync.audit.reader import (
    LARGEST_FRNR,
    AuditReader,
    CalendarMissing,
    Selection,
)
from services.calendar_sync.mapping import read_google_events
from services.calendar_sync.model import GoogleEvent, Pair, Termin
from services.calendar_sync.store import AuditLine, CalendarStore, Intent, StoredPair
from services.calendar_sync.view import CalendarView, Confirmations, GoogleListing

#: Latest lines of the audit that are shown with an appointment.
HISTORY_LINES = 20


@dataclass(frozen=True)
class ShownEvent:
    """An event, and in whose calendar it is."""

    kuerzel: str
    calendar_id: str
    event: GoogleEvent


@dataclass
class Appointment:
    """What is known about one appointment.

    Attributes:
        frnr: its Termin's number, if one is known.
        termin: the Termin as it is now; None: it is gone, or not known.
        stored: its rows by ``sync_id``, those of deleted pairs included.
        shown: its events, by calendar and id.
        intents: unfinished creates.
        history: the latest lines of the audit, the oldest first.
    """

    frnr: int | None = None
    termin: Termin | None = None
    stored: dict[UUID, StoredPair] = field(default_factory=dict)
    shown: dict[tuple[str, str], ShownEvent] = field(default_factory=dict)
    intents: list[Intent] = field(default_factory=list)
    history: list[AuditLine] = field(default_factory=list)

    @property
    def is_unknown(self) -> bool:
        """Whether no system knows anything about it."""
        is_present = self.termin is not None or bool(self.shown)
        return not (is_present or self.stored or self.history)

    @property
    def live_pairs(self) -> list[Pair]:
        """Its pairs that are not deleted."""
        live = []
        for found in self.stored.values():
            if not found.pair.deleted:
                live.append(found.pair)
        return live

    @property
    def employees(self) -> set[str]:
        """Who has a pair of it."""
        return {row.pair.employee_kuerzel for row in self.stored.values()}

    def add_rows(self, rows: Iterable[StoredPair]) -> None:
        """Add rows; one that is known already is replaced."""
        for row in rows:
            self.stored[row.pair.sync_id] = row

    def add_events(self, events: Iterable[ShownEvent]) -> None:
        """Add events; one that is known already is replaced."""
        for shown in events:
            self.shown[(shown.calendar_id, shown.event.id)] = shown


class AppointmentReader:
    """Reads one appointment; only rows and calendars of the selected employees are looked at."""

    def __init__(
        self,
        reader: AuditReader,
        store: CalendarStore,
        selection: Selection,
        wanted: Sequence[str],
    ) -> None:
        self._reader = reader
        self._store = store
        self._selection = selection
        self._wanted = wanted

    async def of_termin(self, frnr: int) -> Appointment:
        """What is known about a Termin."""
        found = Appointment(frnr)
        await self._add_all_of_termin(found, frnr)
        await self._add_memory(found)
        return found

    async def of_event(self, event_id: str) -> Appointment:
        """What is known about a Google event, and about the Termin that it shows."""
        found = Appointment()
        found.add_rows(self._selected(await self._store.pairs_of_event(event_id)))
        found.add_events(await self._events_of_id(found, event_id))
        found.frnr = _frnr_of(found)
        if found.frnr is not None:
            await self._add_all_of_termin(found, found.frnr)
        await self._add_memory(found)
        return found

    # -- rows, Termin and events ----------------------------------------------------------------------------------

    async def _events_of_id(
        self,
        found: Appointment,
        event_id: str,
    ) -> list[ShownEvent]:
        employees = found.employees
        if not employees:
            employees.update(await self._reader.employees(self._wanted))
        events: list[ShownEvent] = []
        for kuerzel in sorted(employees):
            calendar_id = await self._calendar(kuerzel)
            if calendar_id is None:
                continue
            event = await self._reader.read_event(calendar_id, event_id)
            if event is not None:
                events.append(ShownEvent(kuerzel, calendar_id, event))
        return events

    async def _add_all_of_termin(self, found: Appointment, frnr: int) -> None:
        found.termin = await self._reader.read_termin(frnr)
        rows = await self._store.pairs_of_termin(frnr)
        found.add_rows(self._selected(rows))
        known = list(found.shown.values())
        found.shown.clear()
        for kuerzel in await self._employees_of(found):
            events = await self._events_of_termin(found, frnr, kuerzel)
            found.add_events(events)
        found.add_events(known)

    def _selected(self, rows: Iterable[StoredPair]) -> list[StoredPair]:
        includes = self._selection.includes
        return [row for row in rows if includes(row.pair.employee_kuerzel)]

    async def _employees_of(self, found: Appointment) -> list[str]:
        """Whose calendars may show the Termin."""
        employees = found.employees
        termin = found.termin
        if termin is not None and termin.anwalt is not None:
            employees.add(termin.anwalt)
        elif termin is not None or not employees:
            employees.update(await self._reader.employees(self._wanted))
        return self._selection.of(employees)

    async def _calendar(self, kuerzel: str) -> str | None:
        try:
            return await self._reader.calendar_id(kuerzel)
        except CalendarMissing:
            return None

    async def _events_of_termin(
        self,
        found: Appointment,
        frnr: int,
        kuerzel: str,
    ) -> list[ShownEvent]:
        """The events of one calendar that show the Termin, and those of its pairs, be they cancelled."""
        calendar_id = await self._calendar(kuerzel)
        if calendar_id is None:
            return []
        try:
            listed = await self._reader.list_events(calendar_id)
        except CalendarMissing:
            return []
        paired = _paired_ids(found, kuerzel)
        read = read_google_events(listed)
        events = _events_about(read.items, frnr, paired)
        for event_id in sorted(paired - events.keys()):
            event = await self._reader.read_event(calendar_id, event_id)
            if event is not None:
                events[event.id] = event
        return _shown_in(kuerzel, calendar_id, events.values())

    # -- what the tables remember ---------------------------------------------------------------------------------

    async def _add_memory(self, found: Appointment) -> None:
        found.intents = await self._intents(found)
        found.history = await self._latest_history(found)

    async def _intents(self, found: Appointment) -> list[Intent]:
        event_ids = {event_id for _, event_id in found.shown}
        intents: list[Intent] = []
        for intent in await self._store.open_intents():
            fr_nr = intent.advoware_frnr
            is_of_termin = fr_nr is not None and fr_nr == found.frnr
            if is_of_termin or intent.google_event_id in event_ids:
                intents.append(intent)
        return intents

    async def _latest_history(self, found: Appointment) -> list[AuditLine]:
        lines: list[AuditLine] = []
        if found.frnr is not None:
            lines += await self._store.history(frnr=found.frnr)
        for sync_id in found.stored:
            lines += await self._store.history(sync_id=sync_id)
        by_id = {line.audit_id or 0: line for line in lines}
        in_order = [line for _, line in sorted(by_id.items())]
        return in_order[-HISTORY_LINES:]


def _frnr_of(found: Appointment) -> int | None:
    """The Termin that an event shows: that of a live pair, or that its marks name, or that of a deleted pair."""
    for number in _known_numbers(found):
        if number is not None and 0 < number <= LARGEST_FRNR:
            return number
    return None


def _known_numbers(found: Appointment) -> Iterator[int | None]:
    for pair in found.live_pairs:
        yield pair.advoware_frnr
    for shown in found.shown.values():
        yield shown.event.fr_nr
    for row in found.stored.values():
        yield row.pair.advoware_frnr


def _paired_ids(found: Appointment, kuerzel: str) -> set[str]:
    """The events of an employee's pairs."""
    ids: set[str] = set()
    for row in found.stored.values():
        event_id = row.pair.google_event_id
        if row.pair.employee_kuerzel == kuerzel and event_id is not None:
            ids.add(event_id)
    return ids


def _events_about(
    listed: Iterable[GoogleEvent],
    frnr: int,
    paired: set[str],
) -> dict[str, GoogleEvent]:
    """The listed events that name the Termin or are its pairs'."""
    about: dict[str, GoogleEvent] = {}
    for event in listed:
        if event.id in paired or event.fr_nr == frnr:
            about[event.id] = event
    return about


def _shown_in(
    kuerzel: str,
    calendar_id: str,
    events: Iterable[GoogleEvent],
) -> list[ShownEvent]:
    """The events of one calendar, without single occurrences of series."""
    shown = []
    for event in events:
        if not event.recurring_event_id:
            shown.append(ShownEvent(kuerzel, calendar_id, event))
    return shown


# -- what is not in order -------------------------------------------------------------------------------------------


def appointment_findings(reader: AuditReader, found: Appointment) -> list[Finding]:
    """What is not in order with the live pairs, and events of the sync that have none."""
    if found.is_unknown:
        return [
            Finding(
                kind="unknown",
                reason="nothing is known about it",
                remedy="person",
                advoware_frnr=found.frnr,
            ),
        ]
    findings = _unpaired_events(found)
    for pair in found.live_pairs:
        findings += pair_findings(_view_of(reader, found, pair), pair)
    return findings


def _unpaired_events(found: Appointment) -> list[Finding]:
    paired = set()
    for pair in found.live_pairs:
        paired.add((pair.employee_kuerzel, pair.google_event_id))
    findings: list[Finding] = []
    for shown in found.shown.values():
        event = shown.event
        if event.cancelled or event.fr_nr is None:
            continue
        if (shown.kuerzel, event.id) not in paired:
            findings.append(_without_pair(shown))
    return findings


def _without_pair(shown: ShownEvent) -> Finding:
    return Finding(
        kind="event_without_pair",
        reason="see find-duplicates and find-orphaned",
        remedy="next_sync",
        employee_kuerzel=shown.kuerzel,
        advoware_frnr=shown.event.fr_nr,
        google_event_id=shown.event.id,
        sync_id=shown.event.sync_id,
        calendar_id=shown.calendar_id,
    )


def _view_of(reader: AuditReader, found: Appointment, pair: Pair) -> CalendarView:
    """The calendar as far as this pair is concerned: both its sides were read directly."""
    termin = found.termin
    if termin is not None and termin.fr_nr != pair.advoware_frnr:
        termin = None
    event = _event_of(found, pair)
    read = Confirmations(
        {pair.advoware_frnr or 0: termin},
        {pair.google_event_id or "": event},
    )
    settings = reader.settings_for(pair.employee_kuerzel, "")
    listing = GoogleListing([], full=True)
    return CalendarView(settings, [], listing, [pair], read)


def _event_of(found: Appointment, pair: Pair) -> GoogleEvent | None:
    """The pair's event, if it is shown in the employee's calendar."""
    event = None
    for shown in found.shown.values():
        if shown.kuerzel != pair.employee_kuerzel:
            continue
        if shown.event.id == pair.google_event_id:
            event = shown.event
    return event
