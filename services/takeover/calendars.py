"""The calendars: what Google and Advoware hold now, compared by the sync's own plan; and the pairs that come of it.

The plan is that of an ordinary run (`services.calendar_sync.plan`). Where it says that both sides agree, the row
remembers that; what it would write is announced and left to the first sync.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from services.advoware_service import AdvowareService
from services.calendar_sync.apply.contents import synced
from services.calendar_sync.calendars import (
    CALENDAR_PREFIX,
    ROLES_OF_OTHERS,
    calendar_description,
    calendar_name,
    is_description,
    is_own_description,
    shown_name,
)
from services.calendar_sync.employees import active_employees
from services.calendar_sync.mapping import (
    ids_made_by,
    read_google_event,
    read_google_events,
    read_termin,
    read_termine,
)
from services.calendar_sync.model import (
    QUESTIONS,
    Action,
    AdoptGoogle,
    ConfirmAdvoware,
    ConfirmGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    GoogleEvent,
    HideGoogle,
    HoldDeletions,
    InsertGoogle,
    NormalisedEvent,
    NotPlanned,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    ReplaceGoogle,
    ShowGoogle,
    SourceSystem,
    TakeMarksOff,
    Termin,
    UpdateAdvoware,
    UpdateGoogle,
)
from services.calendar_sync.plan import make_plan
from services.calendar_sync.provider import open_provider
from services.calendar_sync.sharing import read_rules, sharing_steps
from services.calendar_sync.view import (
    CalendarView,
    Confirmations,
    GoogleListing,
    PlanSettings,
)
from services.core.errors import (
    BitByLawError,
    NotFound,
    UnexpectedAnswer,
    failure_code,
)
from services.core.resources import Resources
from services.takeover.pairs import (
    Found,
    Marks,
    Rows,
    adopt_events,
    is_single,
    missing_pairs,
    new_pair,
)
from services.takeover.report import Announced, Finding
from services.values.advoware_protocol import BERLIN

Json = dict[str, Any]

#: Actions that write to a foreign system.
WRITES = (
    InsertGoogle,
    UpdateGoogle,
    ReplaceGoogle,
    RecreateGoogle,
    HideGoogle,
    ShowGoogle,
    DeleteGoogle,
    TakeMarksOff,
    PostAdvoware,
    UpdateAdvoware,
    RecreateAdvoware,
    DeleteAdvoware,
)
#: Direct reads under way at the same time.
READS_AT_ONCE = 4
#: A plan that still has questions, or finds pairs, after so many rounds is left to the first sync.
MAX_ROUNDS = 20

_NAMELESS = "it shows no name, so it may be an employee's; until it shows one, no calendar is made for who has none"


@dataclass(frozen=True)
class Calendar:
    """One of the account's calendars of an employee, with all its events."""

    kuerzel: str
    calendar_id: str
    entry: Json
    resources: list[Any]

    @property
    def records(self) -> list[Json]:
        """Its events, without what is none."""
        return [item for item in self.resources if isinstance(item, dict)]

    @property
    def event_ids(self) -> frozenset[str]:
        """The ids of its events that are not deleted."""
        ids = set()
        for resource in self.records:
            if resource.get("status") != "cancelled":
                ids.add(str(resource.get("id")))
        return frozenset(ids)


@dataclass
class Taken:
    """What becomes of one employee's calendar.

    Attributes:
        calendar_id: None: there is none yet.
        pairs: all, compared.
        agreed: the ``sync_id`` of those whose sides agree.
        doubling: events that the old system has marked, and that a sync would enter in Advoware once more.
    """

    kuerzel: str
    calendar_id: str | None = None
    pairs: list[Pair] = field(default_factory=list)
    agreed: set[Any] = field(default_factory=set)
    announced: list[Announced] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    doubling: list[str] = field(default_factory=list)
    adopted: int = 0

    def numbers(self) -> dict[str, int]:
        """For the report."""
        writes = Counter(item.action for item in self.announced)
        numbers = {
            "pairs": len(self.pairs),
            "agreed": len(self.agreed),
            "adopted": self.adopted,
        }
        for action in sorted(writes):
            numbers[action] = writes[action]
        return numbers


class CalendarReader:
    """Reads both sides of the calendars; writes nothing, neither there nor in PostgreSQL."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._settings = resources.settings
        self._google = open_provider(None, resources)
        self._advoware = AdvowareService(resources=resources)

    async def employees(self) -> list[str]:
        """The Kürzel of Advoware's active employees."""
        mitarbeiter = await self._advoware.list_mitarbeiter()
        return sorted(active_employees(mitarbeiter))

    async def calendars(self) -> tuple[list[Calendar], list[Finding]]:
        """All calendars named like an employee's that our account owns, and those that it does not own."""
        found: list[Calendar] = []
        findings: list[Finding] = []
        for entry in await self._google.list_calendars():
            calendar_id = str(entry["id"])
            name = await self._name_of(entry)
            if name is None:
                findings.append(
                    Finding("calendar_without_name", calendar_id, _NAMELESS),
                )
                continue
            if not name.startswith(CALENDAR_PREFIX):
                continue
            if entry.get("accessRole") != "owner":
                why = "our account does not own this calendar: the sync will not use it"
                findings.append(Finding("calendar_not_owned", name, why))
                continue
            listed = await self._google.list_events(calendar_id)
            calendar = Calendar(
                kuerzel=name.removeprefix(CALENDAR_PREFIX),
                calendar_id=calendar_id,
                entry=entry,
                resources=listed.events,
            )
            found.append(calendar)
        return found, findings

    async def _name_of(self, entry: Json) -> str | None:
        """The name of a calendar; None: it may be our account's, and shows none."""
        if entry.get("accessRole") in ROLES_OF_OTHERS:
            return str(entry.get("summary") or "")
        try:
            return await shown_name(self._google, entry)
        except UnexpectedAnswer:
            return None

    async def own_address(self) -> str:
        """The e-mail address of our account, lower case; empty if Google does not say."""
        try:
            primary = await self._google.get_calendar("primary")
        except NotFound:
            return ""
        return str(primary.get("id") or "").casefold()

    async def announced_for_itself(self, calendar: Calendar) -> list[Announced]:
        """What the first sync writes into the calendar itself: its description, and with whom it is shared."""
        kuerzel = calendar.kuerzel
        announced: list[Announced] = []
        present = calendar.entry.get("description")
        wanted = calendar_description(self._settings)
        if is_own_description(present) and not is_description(present, wanted):
            announced.append(_about_calendar("DescribeCalendar", kuerzel))
        announced += await self._announced_sharing(calendar)
        return announced

    async def _announced_sharing(self, calendar: Calendar) -> list[Announced]:
        kuerzel = calendar.kuerzel
        announced: list[Announced] = []
        sharing = self._settings.google_calendar.sharing_of(kuerzel)
        if not sharing:
            return announced
        listed = await self._google.list_acl(calendar.calendar_id)
        for step in sharing_steps(sharing, read_rules(listed), []):
            if step.action in {"grant", "change", "revoke"}:
                announced.append(_about_calendar("ShareCalendar", kuerzel))
        return announced

    async def take(
        self,
        calendar: Calendar,
        rows: Rows,
        stored: Sequence[Pair],
        own_address: str,
    ) -> Taken:
        """Compare one employee's calendar with Advoware.

        ``stored`` are pairs that an interrupted take-over has saved already; they count as they are.
        """
        comparing = _Comparing(self, calendar, rows, own_address)
        return await comparing.compare(stored)

    async def read_termine(self, kuerzel: str, first: date, last: date) -> list[Termin]:
        """Advoware's Termine of these days."""
        answer = await self._advoware.ask_termine(kuerzel, first, last)
        read = await asyncio.to_thread(lambda: read_termine(answer.rows()))
        return list(read.items)

    async def read_termin(self, fr_nr: int) -> Termin | None:
        """A Termin read directly; None: it is gone."""
        try:
            record = await self._advoware.get_termin(fr_nr)
        except NotFound:
            return None
        return read_termin(record)

    async def read_event(self, calendar_id: str, event_id: str) -> GoogleEvent | None:
        """An event read directly; None: Google knows none of that id."""
        try:
            resource = await self._google.get_event(calendar_id, event_id)
        except NotFound:
            return None
        return read_google_event(resource)

    def plan_settings(self, kuerzel: str, calendar_id: str) -> PlanSettings:
        """What the first sync may do, and its window as of today."""
        calendar = self._settings.calendar_sync
        advoware = self._settings.advoware
        today = self._resources.clock().astimezone(BERLIN).date()
        return PlanSettings(
            kuerzel=kuerzel,
            calendar_id=calendar_id,
            first_day=today - timedelta(days=calendar.days_back),
            last_day=today + timedelta(days=calendar.days_ahead),
            strategy=calendar.strategy,
            advoware_write_allowed=True,
            write_protection=advoware.write_protection,
            anonymise=calendar.anonymize,
            max_deletions=calendar.max_deletions,
        )


class _Comparing:
    """The comparison of one employee's calendar."""

    def __init__(
        self,
        reader: CalendarReader,
        calendar: Calendar,
        rows: Rows,
        own_address: str,
    ) -> None:
        self._reader = reader
        self._calendar = calendar
        self._made_by_us = ids_made_by(own_address, calendar.resources)
        self._settings = reader.plan_settings(calendar.kuerzel, calendar.calendar_id)
        self._chosen = rows.chosen.get(calendar.kuerzel, [])
        left_over = rows.left_over.get(calendar.kuerzel, [])
        self._marks = Marks.read(calendar.records).also(left_over)
        self._taken = Taken(calendar.kuerzel, calendar.calendar_id)
        self._termine: dict[int, Termin | None] = {}
        self._events: dict[str, GoogleEvent | None] = {}
        self._unreadable: set[Action] = set()

    async def compare(self, stored: Sequence[Pair]) -> Taken:
        taken = self._taken
        strategy = self._settings.strategy
        taken.pairs = [*stored, *missing_pairs(self._chosen, stored, strategy)]
        read = await asyncio.to_thread(read_google_events, self._calendar.resources)
        for reason in read.unreadable:
            self._report("event_unreadable", taken.kuerzel, reason)
        listing = GoogleListing(read.items, full=True)
        termine = await self._list_termine(listing)
        view = CalendarView(self._settings, termine, listing, [], Confirmations())
        found = Found(
            kuerzel=taken.kuerzel,
            events=listing.events,
            termine=view.termine,
            made_by_us=self._made_by_us,
        )
        adopted = adopt_events(found, taken.pairs, self._marks, strategy)
        taken.findings += adopted.findings
        self._add(adopted.pairs)
        await self._plan(termine, listing)
        taken.findings += self._without_row(listing)
        return taken

    async def _list_termine(self, listing: GoogleListing) -> list[Termin]:
        """Those of the window and of the days of all paired events, in one call."""
        ids = {pair.google_event_id for pair in self._taken.pairs}
        first = self._settings.first_day
        last = self._settings.last_day
        for event in listing.events:
            content = event.event
            if event.id not in ids or not isinstance(content, NormalisedEvent):
                continue
            first = min(first, content.first_day)
            last = max(last, content.last_day)
        self._settings = replace(self._settings, listed_from=first, listed_until=last)
        return await self._reader.read_termine(self._taken.kuerzel, first, last)

    def _add(self, pairs: Iterable[Pair]) -> None:
        """Pairs of events that no row names; a row that lacked its event is replaced."""
        taken = self._taken
        fresh = {pair.sync_id: pair for pair in pairs}
        kept = [pair for pair in taken.pairs if pair.sync_id not in fresh]
        taken.pairs = [*kept, *fresh.values()]
        taken.adopted += len(fresh)

    async def _plan(self, termine: Sequence[Termin], listing: GoogleListing) -> None:
        """Plan until there is no question and no new pair, and take the result."""
        for _ in range(MAX_ROUNDS):
            confirmed = Confirmations(dict(self._termine), dict(self._events))
            actions = await asyncio.to_thread(
                make_plan,
                self._settings,
                termine,
                listing,
                self._taken.pairs,
                confirmed,
            )
            found = [item for item in actions if isinstance(item, AdoptGoogle)]
            questions = [item for item in actions if self._is_open(item)]
            if found:
                self._add(map(self._pair_of, found))
            elif questions:
                await self._answer(questions)
            else:
                self._take_result(actions)
                return
        why = "could not be compared to the end; the first sync will"
        self._report("not_compared", self._taken.kuerzel, why)

    def _report(self, kind: str, where: str, why: str) -> None:
        self._taken.findings.append(Finding(kind, where, why))

    def _is_open(self, action: Action) -> bool:
        return isinstance(action, QUESTIONS) and action not in self._unreadable

    def _pair_of(self, action: AdoptGoogle) -> Pair:
        """A Termin and an event that say the same: the sync's plan makes them a pair."""
        fr_nr = action.termin.fr_nr
        event_id = action.google.id
        if action.pair is not None:
            return replace(action.pair, advoware_frnr=fr_nr, google_event_id=event_id)
        source: SourceSystem = action.source_system
        if event_id in self._made_by_us:
            source = "advoware"  # the old system has made it
        return new_pair(
            kuerzel=self._taken.kuerzel,
            fr_nr=fr_nr,
            event_id=event_id,
            source=source,
            strategy=self._settings.strategy,
        )

    async def _answer(self, questions: Sequence[Action]) -> None:
        """Read directly what the lists lack; what cannot be read is left to the first sync."""
        gate = asyncio.Semaphore(READS_AT_ONCE)

        async def one(question: Action) -> None:
            async with gate:
                try:
                    await self._confirm(question)
                except BitByLawError as error:
                    self._unreadable.add(question)
                    where = f"{self._taken.kuerzel} {_where(question)}"
                    self._report("not_read", where, failure_code(error))

        await asyncio.gather(*map(one, questions))

    async def _confirm(self, question: Action) -> None:
        if isinstance(question, ConfirmAdvoware):
            fr_nr = int(question.pair.advoware_frnr or 0)
            self._termine[fr_nr] = await self._reader.read_termin(fr_nr)
        elif isinstance(question, ConfirmGoogle):
            event_id = str(question.pair.google_event_id)
            calendar_id = self._calendar.calendar_id
            event = await self._reader.read_event(calendar_id, event_id)
            self._events[event_id] = event
        else:  # the whole calendar is listed already
            self._unreadable.add(question)

    def _take_result(self, actions: Sequence[Action]) -> None:
        taken = self._taken
        agreed: dict[Any, Pair] = {}
        for action in actions:
            if isinstance(action, RecordFingerprints):
                agreed[action.pair.sync_id] = _recorded(action)
            else:
                self._note_left(action)
            self._note_doubling(action)
        taken.pairs = [agreed.get(pair.sync_id, pair) for pair in taken.pairs]
        for pair in taken.pairs:
            if pair.sync_status == "synced":
                taken.agreed.add(pair.sync_id)
        taken.findings += _gone(taken.pairs, actions)

    def _note_left(self, action: Action) -> None:
        """What is left to the first sync, for the report."""
        taken = self._taken
        if isinstance(action, WRITES):
            taken.announced.append(_announced(action, taken.kuerzel))
        elif isinstance(action, HoldDeletions):
            why = f"{action.reason}: {action.deletions} of {action.live_pairs}"
            self._report("held", taken.kuerzel, why)
        elif isinstance(action, NotPlanned):
            self._report("not_compared", taken.kuerzel, action.code)

    def _note_doubling(self, action: Action) -> None:
        """The old system has made the event of a Termin, so it is none that a person wants to have in Advoware."""
        if not isinstance(action, PostAdvoware) or action.pair is not None:
            return
        event_id = action.google.id
        if self._is_of_old_system(event_id):
            self._taken.doubling.append(event_id)

    def _is_of_old_system(self, event_id: str) -> bool:
        return event_id in self._marks.by_event or event_id in self._made_by_us

    def _without_row(self, listing: GoogleListing) -> list[Finding]:
        """Events that the old system has made, bear no mark, and are no pair's."""
        paired = {pair.google_event_id for pair in self._taken.pairs}
        unmarked = self._made_by_us - self._marks.by_event.keys()
        findings: list[Finding] = []
        for event in listing.events:
            if event.id in paired or not is_single(event):
                continue
            if event.id in unmarked:
                where = f"{self._taken.kuerzel} event {event.id}"
                findings.append(Finding("event_without_row", where, _WITHOUT_ROW))
        return findings


_WITHOUT_ROW = (
    "our account has made it, and no Termin says the same; it is left alone. Delete it in Google before Advoware may "
    "be written (ADVOWARE_WRITE_PROTECTION), or the sync enters it there"
)


def _recorded(action: RecordFingerprints) -> Pair:
    recorded = replace(
        action.pair,
        advoware=action.advoware,
        google=action.google,
        first_day=action.first_day,
        last_day=action.last_day,
        persons_private=action.persons_private,
    )
    return synced(recorded)


_GONE: Mapping[type, tuple[str, str]] = {
    RecreateGoogle: ("event_gone", "its event is gone; the first sync makes it again"),
    DeleteAdvoware: ("event_gone", "its event is gone; the first sync deletes it"),
    DeleteGoogle: ("termin_gone", "its Termin is gone; the first sync deletes it"),
    RecreateAdvoware: ("termin_gone", "its Termin is gone; the first sync enters it"),
}


def _gone(pairs: Sequence[Pair], actions: Sequence[Action]) -> list[Finding]:
    findings: list[Finding] = []
    for action in actions:
        known = _GONE.get(type(action))
        if known is not None:
            kind, why = known
            findings.append(Finding(kind, _where(action), why))
    findings += _without_event(pairs)
    return findings


def _without_event(pairs: Iterable[Pair]) -> Iterator[Finding]:
    for pair in pairs:
        if pair.advoware_frnr is not None and pair.google_event_id is None:
            why = "the row names no event, and none was found"
            yield Finding("pair_without_event", _where_of(pair), why)


def _announced(action: Any, kuerzel: str) -> Announced:
    fr_nr, event_id = _ids(action)
    return Announced(
        action=type(action).__name__,
        employee_kuerzel=kuerzel,
        advoware_frnr=fr_nr,
        google_event_id=event_id,
    )


def _ids(action: Any) -> tuple[int | None, str | None]:
    """The Termin and the event that an action is about."""
    fr_nr = None
    event_id = None
    pair = getattr(action, "pair", None)
    if pair is not None:
        fr_nr = pair.advoware_frnr
        event_id = pair.google_event_id
    termin = getattr(action, "termin", None)
    if termin is not None:
        fr_nr = termin.fr_nr
    google = getattr(action, "google", None)
    if google is not None:
        event_id = google.id
    return fr_nr, event_id


def _where(action: Any) -> str:
    fr_nr, event_id = _ids(action)
    return f"frNr {fr_nr or '-'} event {event_id or '-'}"


def _where_of(pair: Pair) -> str:
    return f"{pair.employee_kuerzel} frNr {pair.advoware_frnr}"


def _about_calendar(action: str, kuerzel: str) -> Announced:
    return Announced(action, kuerzel, None, None)


def choose_calendar(found: Sequence[Calendar], row_events: Iterable[str]) -> Calendar:
    """Of several calendars of one name the one that holds most of the rows' events, else that of the sync."""
    wanted = frozenset(row_events)

    def order(calendar: Calendar) -> tuple[int, str]:
        held = len(calendar.event_ids & wanted)
        return -held, calendar.calendar_id

    return min(found, key=order)


def other_calendars(found: Sequence[Calendar], chosen: Calendar) -> list[Finding]:
    """The others of that name."""
    why = "there are several calendars of this name; the sync will not use this one"
    findings = []
    for calendar in found:
        if calendar is not chosen:
            where = f"{calendar_name(calendar.kuerzel)} {calendar.calendar_id}"
            findings.append(Finding("duplicate_calendar", where, why))
    return findings
