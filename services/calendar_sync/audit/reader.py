"""What the audit of the calendar sync reads: both systems and the table, one employee at a time. It writes nothing.

That something is absent from a list is never believed: it is read directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from services.calendar_sync.audit.findings import EmployeeAudit
from services.calendar_sync.audit.leaks import days_outside, unknown_termine
from services.calendar_sync.calendars import calendar_name, find_calendar
from services.calendar_sync.employees import EmployeesAdvoware, active_employees
from services.calendar_sync.mapping import (
    ids_made_by,
    read_google_event,
    read_google_events,
    read_termin,
    read_termine,
)
from services.calendar_sync.model import GoogleEvent, Pair, Termin
from services.calendar_sync.provider import open_provider
from services.calendar_sync.run import CalendarSync
from services.calendar_sync.store import CalendarStore
from services.calendar_sync.view import (
    CalendarView,
    Confirmations,
    GoogleListing,
    PlanSettings,
)
from services.core.errors import InvalidInput, NotFound, UnexpectedAnswer
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.core.log import log
from services.core.resources import Resources
from services.values.advoware_protocol import BERLIN

#: Larger numbers are none of Advoware's.
LARGEST_FRNR = 2**31 - 1
#: Direct reads under way at the same time.
READS_AT_ONCE = 4
#: Direct reads of one employee's Termine outside the window.
MAX_READS = 200

Json = dict[str, Any]
Key = TypeVar("Key")
Value = TypeVar("Value")


class CalendarMissing(NotFound):
    """The employee has no calendar, or it was deleted."""


@dataclass(frozen=True)
class Selection:
    """The employees that a command is about; None: all."""

    employees: frozenset[str] | None = None

    def includes(self, kuerzel: str) -> bool:
        """Whether the command is about this employee."""
        return self.employees is None or kuerzel in self.employees

    def of(self, employees: Iterable[str]) -> list[str]:
        """Those of the employees that the command is about, sorted."""
        return sorted(kuerzel for kuerzel in employees if self.includes(kuerzel))


class AuditReader:
    """Reads for the audit. ``resources`` belong to the running event loop."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.advoware = EmployeesAdvoware(resources=resources)
        self.google = open_provider(None, resources)
        self.sync = CalendarSync(resources=resources)
        self._own_address: str | None = None

    async def store(self) -> CalendarStore:
        """The tables of the sync."""
        return CalendarStore(await self._resources.database())

    # -- employees and calendars ----------------------------------------------------------------------------------

    async def active_employees(self) -> list[str]:
        """The Kürzel of Advoware's active employees, sorted."""
        return sorted(active_employees(await self.advoware.list_mitarbeiter()))

    async def employees(self, wanted: Sequence[str]) -> list[str]:
        """Whom the audit is about: the wanted ones; else those whom the sync covers, and those who have rows.

        Raises:
            InvalidInput: a wanted one is neither an employee nor in the table.
        """
        store = await self.store()
        known = set()
        for numbers in await store.statistics():
            known.add(numbers.employee_kuerzel)
        for cursor in await store.load_cursors():
            known.add(cursor.employee_kuerzel)
        if wanted:
            known.update(await self.active_employees())
            return _named(wanted, known)
        known.update(await self.sync.employees(follow=False))
        return sorted(known)

    async def select(self, wanted: Sequence[str]) -> Selection:
        """Only the wanted employees; without any all.

        Raises:
            InvalidInput: a wanted one is neither an employee nor in the table.
        """
        if not wanted:
            return Selection()
        return Selection(frozenset(await self.employees(wanted)))

    async def calendar_id(self, kuerzel: str) -> str:
        """The employee's calendar: the remembered one, else the one of that name.

        Raises:
            CalendarMissing: there is none.
        """
        cursor = await (await self.store()).load_cursor(kuerzel)
        if cursor.calendar_id:
            return cursor.calendar_id
        found = await find_calendar(self.google, kuerzel)
        if found is None:
            raise CalendarMissing(
                "Google Calendar",
                f"there is no calendar {calendar_name(kuerzel)}",
            )
        return found

    # -- one employee ---------------------------------------------------------------------------------------------

    def settings_for(self, kuerzel: str, calendar_id: str) -> PlanSettings:
        """What the sync may show, and its window as of today."""
        settings = self._resources.settings
        today = self._resources.clock().astimezone(BERLIN).date()
        return PlanSettings(
            kuerzel=kuerzel,
            calendar_id=calendar_id,
            first_day=today - timedelta(days=settings.calendar_sync.days_back),
            last_day=today + timedelta(days=settings.calendar_sync.days_ahead),
            write_protection=settings.advoware.write_protection,
            anonymise=settings.calendar_sync.anonymize,
            max_deletions=settings.calendar_sync.max_deletions,
        )

    async def read(self, kuerzel: str) -> EmployeeAudit:
        """Both sides and the pairs of one employee, absences confirmed.

        Raises:
            CalendarMissing: the employee has no calendar, or the remembered one was deleted.
        """
        calendar_id = await self.calendar_id(kuerzel)
        settings = self.settings_for(kuerzel, calendar_id)
        rows = await self.advoware.list_termine(
            kuerzel,
            settings.first_day,
            settings.last_day,
        )
        termine = read_termine(rows).items
        resources = await self.list_events(calendar_id)
        listing = GoogleListing(read_google_events(resources).items, full=True)
        store = await self.store()
        pairs = await store.load_pairs(kuerzel)
        listed = CalendarView(settings, termine, listing, pairs, Confirmations())
        confirmed = Confirmations(
            await in_parallel(_unlisted_termine(listed), self.read_termin),
            await in_parallel(
                _unlisted_events(listed),
                lambda event_id: self.read_event(calendar_id, event_id),
            ),
        )
        view = CalendarView(settings, termine, listing, pairs, confirmed)
        return EmployeeAudit(
            view,
            termine,
            await store.open_intents(kuerzel),
            await self._made_by_us(resources),
            await in_parallel(
                _orphans_of_others(view),
                lambda frnr: _pairs_of_others(store, frnr, kuerzel),
            ),
        )

    async def read_google(self, kuerzel: str) -> EmployeeAudit:
        """Google's side and the pairs of one employee, absences confirmed; Advoware is not asked.

        Raises:
            CalendarMissing: the employee has no calendar, or the remembered one was deleted.
        """
        calendar_id = await self.calendar_id(kuerzel)
        settings = self.settings_for(kuerzel, calendar_id)
        store = await self.store()
        resources = await self.list_events(calendar_id)
        listing = GoogleListing(read_google_events(resources).items, full=True)
        pairs = await store.load_pairs(kuerzel)
        absent = _unlisted_events(
            CalendarView(settings, [], listing, pairs, Confirmations()),
        )
        read = await in_parallel(
            absent,
            lambda event_id: self.read_event(calendar_id, event_id),
        )
        view = CalendarView(settings, [], listing, pairs, Confirmations(events=read))
        return EmployeeAudit(view, made_by_us=await self._made_by_us(resources))

    async def with_outside(self, audit: EmployeeAudit) -> EmployeeAudit:
        """The audit with the Termine outside the window whose events show texts, and whether texts are to be hidden.

        Costs at most two lists of Advoware and `MAX_READS` direct reads.
        """
        wanted = unknown_termine(audit)
        found = await self._listed_outside(audit, wanted)
        unlisted = [number for number in wanted if number not in found]
        found |= await in_parallel(unlisted[:MAX_READS], self.read_termin)
        notes = Notes(await self._resources.database())
        note = await notes.find(calendar(audit.view.settings.kuerzel))
        hide_asked = note is not None and HIDE in note.requested
        unread = len(wanted) - len(found)
        return replace(audit, outside=found, unread=unread, hide_asked=hide_asked)

    async def _listed_outside(
        self,
        audit: EmployeeAudit,
        wanted: Sequence[int],
    ) -> dict[int, Termin | None]:
        """Those of the wanted Termine that Advoware lists outside the window."""
        kuerzel = audit.view.settings.kuerzel
        found: dict[int, Termin | None] = {}
        for first, last in days_outside(audit, wanted):
            rows = await self.advoware.list_termine(kuerzel, first, last)
            read = read_termine(rows)
            for termin in read.items:
                if termin.fr_nr in wanted:
                    found[termin.fr_nr] = termin
        return found

    async def list_events(self, calendar_id: str) -> list[Json]:
        """The whole calendar.

        Raises:
            CalendarMissing: it was deleted, or is not shared with us any more.
        """
        try:
            return (await self.google.list_events(calendar_id)).events
        except NotFound:
            raise CalendarMissing(
                "Google Calendar",
                "the calendar does not exist any more",
            ) from None

    async def read_termin(self, frnr: int) -> Termin | None:
        """A Termin read directly; None: it is gone."""
        try:
            return read_termin(await self.advoware.get_termin(frnr))
        except NotFound:
            return None

    async def read_event(self, calendar_id: str, event_id: str) -> GoogleEvent | None:
        """An event read directly, perhaps a cancelled one; None: Google knows none of that id."""
        try:
            return read_google_event(await self.google.get_event(calendar_id, event_id))
        except NotFound:
            return None

    async def own_address(self) -> str:
        """The e-mail address of our account, lower case: the id of its primary calendar."""
        if self._own_address is None:
            try:
                primary = await self.google.get_calendar("primary")
                self._own_address = str(primary.get("id") or "unknown").casefold()
            except NotFound:
                self._own_address = "unknown"
        return self._own_address

    async def _made_by_us(self, resources: Iterable[Json]) -> frozenset[str]:
        """The ids of the events that our account created."""
        return ids_made_by(await self.own_address(), resources)


async def in_parallel(
    keys: Iterable[Key],
    read: Callable[[Key], Awaitable[Value]],
) -> dict[Key, Value]:
    """What ``read`` returns for each key, a few at a time; without those whose answer cannot be understood.

    One odd record must not end the audit; of such a one nothing is known, so it counts neither as there nor as gone.
    """
    gate = asyncio.Semaphore(READS_AT_ONCE)
    found: dict[Key, Value] = {}

    async def one(key: Key) -> None:
        async with gate:
            try:
                found[key] = await read(key)
            except (UnexpectedAnswer, TypeError, ValueError) as error:
                log(
                    None,
                    "warning",
                    "calendar_audit.unreadable",
                    key=str(key),
                    error=type(error).__name__,
                )

    await asyncio.gather(*(one(key) for key in dict.fromkeys(keys)))
    return found


def _named(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """The known Kürzel that are wanted, upper and lower case being the same."""
    by_name = {kuerzel.casefold(): kuerzel for kuerzel in sorted(known)}
    found: set[str] = set()
    unknown: set[str] = set()
    for kuerzel in wanted:
        name = by_name.get(kuerzel.casefold())
        if name is None:
            unknown.add(kuerzel)
        else:
            found.add(name)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise InvalidInput(f"--kuerzel: neither an employee nor in the table: {names}")
    return sorted(found)


def _unlisted_events(view: CalendarView) -> list[str]:
    """The events of pairs that the full listing lacks."""
    unlisted: list[str] = []
    for pair in view.pairs:
        if pair.google_event_id and view.in_google(pair) == "missing":
            unlisted.append(pair.google_event_id)
    return unlisted


def _unlisted_termine(view: CalendarView) -> list[int]:
    """The Termine of pairs and of events of the sync that Advoware's list lacks, as far as that may mean something."""
    unlisted: list[int] = []
    for pair in view.pairs:
        if pair.advoware_frnr is None or view.in_advoware(pair) != "missing":
            continue
        if view.is_expected(pair) or view.in_google(pair) in {"missing", "gone"}:
            unlisted.append(pair.advoware_frnr)
    return unlisted + _unlisted_unpaired(view)


def _unlisted_unpaired(view: CalendarView) -> list[int]:
    unlisted: list[int] = []
    for fr_nr in _unpaired_numbers(view):
        if fr_nr in view.termine or fr_nr in view.elsewhere:
            continue
        if 0 < fr_nr <= LARGEST_FRNR:
            unlisted.append(fr_nr)
    return unlisted


def _orphans_of_others(view: CalendarView) -> list[int]:
    """The Termine of other employees that unpaired events of the sync show."""
    return [fr_nr for fr_nr in _unpaired_numbers(view) if fr_nr in view.elsewhere]


def _unpaired_numbers(view: CalendarView) -> list[int]:
    """The Termine that events without a pair name."""
    numbers: list[int] = []
    for event in view.events.values():
        if event.fr_nr is not None and event.id not in view.by_event:
            numbers.append(event.fr_nr)
    return numbers


async def _pairs_of_others(store: CalendarStore, frnr: int, kuerzel: str) -> list[Pair]:
    others: list[Pair] = []
    for found in await store.pairs_of_termin(frnr):
        pair = found.pair
        if not pair.deleted and pair.employee_kuerzel != kuerzel:
            others.append(pair)
    return others
