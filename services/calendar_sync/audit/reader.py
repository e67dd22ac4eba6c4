"""What the audit of the calendar sync reads: both systems and the table, one employee at a time. It writes nothing.

That something is absent from a list is never believed: it is read directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from services.calendar_sync.audit.findings import View
from services.calendar_sync.audit.leaks import days_outside, unknown_termine
from services.calendar_sync.calendars import calendar_name, find_calendar
from services.calendar_sync.employees import EmployeesAdvoware, active_employees
from services.calendar_sync.mapping import (
    read_google_event,
    read_google_events,
    read_termin,
    read_termine,
)
from services.calendar_sync.model import GoogleEvent, Pair, Termin
from services.calendar_sync.observation import (
    Confirmations,
    GoogleListing,
    Picture,
    PlanSettings,
)
from services.calendar_sync.run import CalendarSync
from services.calendar_sync.store import CalendarStore
from services.core.errors import InvalidInput, NotFound, UnexpectedAnswer
from services.core.log import log
from services.core.look_again import HIDE, Notes, calendar
from services.core.resources import Resources
from services.google_calendar import GoogleCalendarAPI
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


class Observer:
    """Reads for the audit. ``resources`` belong to the running event loop."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.advoware = EmployeesAdvoware(resources=resources)
        self.google = GoogleCalendarAPI(resources=resources)
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
        known = {numbers.employee_kuerzel for numbers in await store.statistics()}
        known |= {cursor.employee_kuerzel for cursor in await store.load_cursors()}
        if not wanted:
            return sorted({*known, *await self.sync.employees(follow=False)})
        by_name = {
            kuerzel.casefold(): kuerzel
            for kuerzel in sorted({*known, *await self.active_employees()})
        }
        unknown = sorted(
            {kuerzel for kuerzel in wanted if kuerzel.casefold() not in by_name}
        )
        if unknown:
            raise InvalidInput(
                f"--kuerzel: neither an employee nor in the table: {', '.join(unknown)}"
            )
        return sorted({by_name[kuerzel.casefold()] for kuerzel in wanted})

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
                "Google Calendar", f"there is no calendar {calendar_name(kuerzel)}"
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

    async def view(self, kuerzel: str) -> View:
        """Both sides and the pairs of one employee, absences confirmed.

        Raises:
            CalendarMissing: the employee has no calendar, or the remembered one was deleted.
        """
        calendar_id = await self.calendar_id(kuerzel)
        settings = self.settings_for(kuerzel, calendar_id)
        rows = await self.advoware.list_termine(
            kuerzel, settings.first_day, settings.last_day
        )
        termine = read_termine(rows).items
        resources = await self.list_events(calendar_id)
        listing = GoogleListing(read_google_events(resources).items, full=True)
        store = await self.store()
        pairs = await store.load_pairs(kuerzel)
        listed = Picture(settings, termine, listing, pairs, Confirmations())
        confirmed = Confirmations(
            await in_parallel(_unlisted_termine(listed), self.read_termin),
            await in_parallel(
                _unlisted_events(listed),
                lambda event_id: self.read_event(calendar_id, event_id),
            ),
        )
        picture = Picture(settings, termine, listing, pairs, confirmed)
        return View(
            picture,
            termine,
            await store.open_intents(kuerzel),
            await self._made_by_us(resources),
            await in_parallel(
                _orphans_of_others(picture),
                lambda frnr: _pairs_of_others(store, frnr, kuerzel),
            ),
        )

    async def google_view(self, kuerzel: str) -> View:
        """Google's side and the pairs of one employee, absences confirmed; Advoware is not asked.

        Raises:
            CalendarMissing: the employee has no calendar, or the remembered one was deleted.
        """
        calendar_id = await self.calendar_id(kuerzel)
        settings, store = self.settings_for(kuerzel, calendar_id), await self.store()
        resources = await self.list_events(calendar_id)
        listing = GoogleListing(read_google_events(resources).items, full=True)
        pairs = await store.load_pairs(kuerzel)
        absent = _unlisted_events(
            Picture(settings, [], listing, pairs, Confirmations())
        )
        read = await in_parallel(
            absent, lambda event_id: self.read_event(calendar_id, event_id)
        )
        picture = Picture(settings, [], listing, pairs, Confirmations(events=read))
        return View(picture, made_by_us=await self._made_by_us(resources))

    async def with_outside(self, view: View) -> View:
        """The view with the Termine outside the window whose events show texts, and whether texts are to be hidden.

        Costs at most two lists of Advoware and `MAX_READS` direct reads.
        """
        kuerzel = view.picture.settings.kuerzel
        wanted = unknown_termine(view)
        found: dict[int, Termin | None] = {}
        for first, last in days_outside(view, wanted):
            listed = read_termine(
                await self.advoware.list_termine(kuerzel, first, last)
            ).items
            found.update(
                {termin.fr_nr: termin for termin in listed if termin.fr_nr in wanted}
            )
        found.update(
            await in_parallel(
                [n for n in wanted if n not in found][:MAX_READS], self.read_termin
            )
        )
        note = await Notes(await self._resources.database()).find(calendar(kuerzel))
        hide_asked = note is not None and HIDE in note.requested
        return replace(
            view, outside=found, unread=len(wanted) - len(found), hide_asked=hide_asked
        )

    async def list_events(self, calendar_id: str) -> list[Json]:
        """The whole calendar.

        Raises:
            CalendarMissing: it was deleted, or is not shared with us any more.
        """
        try:
            return (await self.google.list_events(calendar_id)).events
        except NotFound:
            raise CalendarMissing(
                "Google Calendar", "the calendar does not exist any more"
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
                self._own_address = str(
                    (await self.google.get_calendar("primary"))["id"]
                ).casefold()
            except NotFound:
                self._own_address = "unknown"
        return self._own_address

    async def _made_by_us(self, resources: Iterable[Json]) -> frozenset[str]:
        """The ids of the events that our account created."""
        own_address = await self.own_address()
        return frozenset(
            str(resource["id"])
            for resource in resources
            if str((resource.get("creator") or {}).get("email", "")).casefold()
            == own_address
        )


async def in_parallel(
    keys: Iterable[Key], read: Callable[[Key], Awaitable[Value]]
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


def _unlisted_events(seen: Picture) -> list[str]:
    """The events of pairs that the full listing lacks."""
    return [
        pair.google_event_id
        for pair in seen.pairs
        if pair.google_event_id and seen.in_google(pair) == "missing"
    ]


def _unlisted_termine(seen: Picture) -> list[int]:
    """The Termine of pairs and of events of ours that Advoware's list lacks, as far as that may mean something."""
    of_pairs = [
        pair.advoware_frnr
        for pair in seen.pairs
        if pair.advoware_frnr is not None
        and seen.in_advoware(pair) == "missing"
        and (seen.is_expected(pair) or seen.in_google(pair) in {"missing", "gone"})
    ]
    known = seen.termine.keys() | seen.elsewhere
    of_events = [
        event.fr_nr
        for event in seen.events.values()
        if event.fr_nr is not None
        and 0 < event.fr_nr <= LARGEST_FRNR
        and event.id not in seen.by_event
        and event.fr_nr not in known
    ]
    return [*of_pairs, *of_events]


def _orphans_of_others(seen: Picture) -> list[int]:
    """The Termine of somebody else that unpaired events of ours show."""
    return [
        event.fr_nr
        for event in seen.events.values()
        if event.fr_nr is not None
        and event.fr_nr in seen.elsewhere
        and event.id not in seen.by_event
    ]


async def _pairs_of_others(store: CalendarStore, frnr: int, kuerzel: str) -> list[Pair]:
    stored = [found.pair for found in await store.pairs_of_termin(frnr)]
    return [
        pair for pair in stored if not pair.deleted and pair.employee_kuerzel != kuerzel
    ]
