"""Reads both sides of one employee's calendar, as the input of a plan.

`SideReader.prepare` writes what has to be in place before anything is planned: the calendar with its sharing, and the
pairs that interrupted runs have left. `SideReader.list_both` and `SideReader.read` only read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from services.advoware_service import TermineAnswer
from services.calendar_sync.apply import (
    Applier,
    Clients,
    may_be_created_by,
)
from services.calendar_sync.calendars import CalendarKeeper, ensure_calendar
from services.calendar_sync.mapping import (
    is_inserted_by_sync,
    read_google_events,
    read_termine,
)
from services.calendar_sync.model import GoogleEvent, Pair, Termin, is_anonymised_hash
from services.calendar_sync.store import CalendarStore, Cursor, Hold, Intent
from services.calendar_sync.view import (
    GoogleListing,
    Past,
    PlanSettings,
)
from services.calendar_sync.work import RunSummary
from services.core.errors import NotFound, SyncTokenExpired
from services.core.log import log
from services.values.advoware_protocol import BERLIN

#: The whole calendar is listed once a day: an incremental list does not show everything (exceptions of a series that
#: was repaired, events that the window has reached by now).
FULL_RUN_HOURS = 24
#: The version of the ``sync_id`` of pairs; see `CalendarView.row_of_marked` for the others.
RANDOM = 4


@dataclass(frozen=True)
class GoogleSide:
    """The employee's calendar as it is listed, and where the next listing starts."""

    cursor: Cursor
    listing: GoogleListing
    next_sync_token: str

    @property
    def is_unchanged(self) -> bool:
        """Whether Google says that nothing has changed since the last run."""
        return not self.listing.full and not self.listing.events


@dataclass(frozen=True)
class Listed:
    """What both sides list; ``digest`` is equal for equal inputs of a plan, if Google has listed no change.

    ``pairs`` None: not loaded yet. ``interrupted``: creates of which it is not known what they have left.
    """

    google: GoogleSide
    settings: PlanSettings
    answer: TermineAnswer
    pairs: Sequence[Pair] | None
    hold: Hold | None
    interrupted: Sequence[Intent]
    digest: str

    @property
    def is_quiet(self) -> bool:
        """Whether both sides are as they were when there was nothing to do."""
        is_same = self.digest == self.google.cursor.quiet_digest
        return is_same and self.hold is None and self.google.is_unchanged


@dataclass(frozen=True)
class Observed:
    """Both sides as one run plans with them."""

    google: GoogleSide
    settings: PlanSettings
    termine: Sequence[Termin]
    pairs: Sequence[Pair]
    past: Past
    hold: Hold | None
    digest: str


class SideReader:
    """Reads both sides of one employee's calendar. ``context`` is the step's FlowContext or None."""

    def __init__(
        self,
        context: Any,
        clients: Clients,
        summary: RunSummary,
        *,
        full_content: bool,
    ) -> None:
        self._context = context
        self._clients = clients
        self._summary = summary
        self._kuerzel = summary.kuerzel
        self._full_content = full_content
        self._google = clients.google
        self._advoware = clients.advoware
        self._store: CalendarStore = clients.store
        self._resources = clients.resources

    # -- prepare --------------------------------------------------------------------------------------------------

    async def prepare(self) -> tuple[GoogleSide, list[Intent]]:
        """The calendar, listed and kept as it is configured, and the creates that could not be resumed."""
        google = await self._list_calendar()
        await self._keep_calendar(google)
        return google, await self._resume_creates(google.cursor)

    async def _list_calendar(self) -> GoogleSide:
        """List the employee's calendar; one that is lost is replaced."""
        cursor = await self._store.load_cursor(self._kuerzel)
        if cursor.calendar_id is None:
            return await self._list_other_calendar(cursor)
        try:
            return await self._list_google(cursor)
        except NotFound:
            log(self._context, "error", "calendar.lost", kuerzel=self._kuerzel)
            return await self._list_other_calendar(cursor)

    async def _list_other_calendar(self, cursor: Cursor) -> GoogleSide:
        """Find or make a calendar. It becomes the employee's once its pairs say what it lacks."""
        calendar_id = await ensure_calendar(
            self._google,
            self._kuerzel,
            self._resources.settings,
        )
        cursor = replace(cursor, calendar_id=calendar_id, sync_token=None)
        google = await self._list_google(cursor)
        await self._unlink_lost_events(google)
        await self._store.save_cursor(cursor, self._resources.now())
        return google

    async def _unlink_lost_events(self, google: GoogleSide) -> None:
        """What another calendar than the one of the last run lacks was not deleted by a person.

        The pairs say so before that calendar becomes the employee's: a run that ends here starts over.
        """
        await self._resume_creates(google.cursor)
        applier = self._applier(google.cursor)
        events = google.listing.events
        present = {event.id for event in events if not event.cancelled}
        for pair in await self._store.load_pairs(self._kuerzel):
            event_id = pair.google_event_id
            if event_id is not None and event_id not in present:
                await applier.rows.unlink_lost(pair)

    async def _keep_calendar(self, google: GoogleSide) -> None:
        pool = await self._resources.database()
        keeper = CalendarKeeper(self._google, pool, self._resources, self._context)
        await keeper.keep(
            str(google.cursor.calendar_id),
            self._kuerzel,
            is_full=google.listing.full,
        )

    async def _resume_creates(self, cursor: Cursor) -> list[Intent]:
        return await self._applier(cursor).resume_creates(self._context)

    def _applier(self, cursor: Cursor) -> Applier:
        return Applier(self._settings(cursor), self._clients)

    # -- list and read --------------------------------------------------------------------------------------------

    async def list_both(
        self,
        google: GoogleSide,
        interrupted: Sequence[Intent],
    ) -> Listed:
        """What Advoware lists as well, unread: one call, however many Termine there are."""
        settings = self._settings(google.cursor)
        hold = await self._first_hold()
        if hold is not None and hold.released_at is not None:
            settings = replace(settings, released=frozenset(hold.sync_ids))
        digest_of_pairs = await self._store.pairs_digest(self._kuerzel)
        pairs: Sequence[Pair] | None = None
        if google.listing.full:
            pairs = await self._store.load_pairs(self._kuerzel)
            settings = _looking_at_all(settings, pairs)
        answer = await self._advoware.ask_termine(
            self._kuerzel,
            settings.listed_from or settings.first_day,
            settings.listed_until or settings.last_day,
        )
        digest = _digest(settings, answer.digest(), digest_of_pairs)
        return Listed(google, settings, answer, pairs, hold, interrupted, digest)

    async def read(self, listed: Listed) -> Observed:
        """What the lists say, and what our rows know of it."""
        pairs = listed.pairs
        if pairs is None:
            pairs = await self._store.load_pairs(self._kuerzel)
        read = await asyncio.to_thread(lambda: read_termine(listed.answer.rows()))
        self._note_unreadable("Termin", read.unreadable)
        past = await self._past(listed.google.listing, pairs)
        undecided = _undecided(read.items, listed.interrupted)
        return Observed(
            listed.google,
            listed.settings,
            read.items,
            pairs,
            replace(past, undecided=undecided),
            listed.hold,
            listed.digest,
        )

    async def list_all(self, observed: Observed) -> Observed:
        """The same with the whole calendar; Advoware's Termine are those that were listed."""
        cursor = replace(observed.google.cursor, sync_token=None)
        google = await self._list_google(cursor)
        past = await self._past(google.listing, observed.pairs)
        past = replace(past, undecided=observed.past.undecided)
        return replace(observed, google=google, past=past)

    async def _list_google(self, cursor: Cursor) -> GoogleSide:
        """Google's changes since the last run, or everything: at first, once a day, and when the token has expired."""
        calendar_id = str(cursor.calendar_id)
        last = cursor.last_full_run
        is_due = last is None or last <= self._resources.now() - timedelta(
            hours=FULL_RUN_HOURS,
        )
        token = None if is_due else cursor.sync_token
        try:
            events = await self._google.list_events(calendar_id, token)
        except SyncTokenExpired:
            events = await self._google.list_events(calendar_id)
        read = await asyncio.to_thread(read_google_events, events.events)
        self._note_unreadable("event", read.unreadable)
        listing = GoogleListing(read.items, events.is_full)
        return GoogleSide(cursor, listing, events.next_sync_token)

    def _settings(self, cursor: Cursor) -> PlanSettings:
        settings = self._resources.settings
        today = self._resources.now().astimezone(BERLIN).date()
        return PlanSettings(
            cursor.employee_kuerzel,
            str(cursor.calendar_id),
            today - timedelta(days=settings.calendar_sync.days_back),
            today + timedelta(days=settings.calendar_sync.days_ahead),
            strategy=settings.calendar_sync.strategy,
            advoware_write_allowed=True,
            write_protection=settings.advoware.write_protection,
            full_content=self._full_content,
            anonymise=settings.calendar_sync.anonymize,
            max_deletions=settings.calendar_sync.max_deletions,
        )

    async def _first_hold(self) -> Hold | None:
        holds = await self._store.holds(self._kuerzel)
        return next(iter(holds), None)

    async def _past(self, listing: GoogleListing, pairs: Sequence[Pair]) -> Past:
        """What other rows know of the listed events without a pair, as far as it matters."""
        marked, moved = _unpaired(listing, pairs)
        sync_ids = {event.id: event.sync_id for event in marked}
        known = await self._store.events_once_paired(self._kuerzel, sync_ids.keys())
        once_paired: set[str] = set()
        for event_id, sync_id in known:
            # A deleted pair has had it as it is, if no later one has written its own marks. That of a copy without a
            # row is made up, and the event names one that was never stored.
            is_as_it_was = sync_ids[event_id] in {sync_id, None}
            if is_as_it_was or sync_id.version != RANDOM:
                once_paired.add(event_id)
        by_id = {event.id: event for event in moved}
        known_elsewhere = await self._store.pairs_elsewhere(self._kuerzel, by_id)
        return Past(
            frozenset(once_paired),
            _hidden_elsewhere(known_elsewhere, by_id),
            moved_here=_moved_here(known_elsewhere, by_id),
        )

    def _note_unreadable(self, what: str, reasons: Sequence[str]) -> None:
        """Report records that have no identity, and with which nothing can be done."""
        if not reasons:
            return
        self._summary.unreadable += [f"{what}: {reason}" for reason in reasons]
        log(
            self._context,
            "error",
            "calendar.unreadable",
            kuerzel=self._kuerzel,
            records=len(reasons),
            error=f"{what}: {reasons[0]}",
        )


def _digest(settings: PlanSettings, termine: str, pairs: str) -> str:
    """Equal for equal inputs of a plan, if Google has listed no change."""
    return hashlib.sha256(f"{settings}\n{termine}\n{pairs}".encode()).hexdigest()


def _looking_at_all(settings: PlanSettings, pairs: Sequence[Pair]) -> PlanSettings:
    """The settings of a run that lists Advoware's Termine of all live pairs, also of those outside the window."""
    listed_from = settings.first_day
    listed_until = settings.last_day
    for pair in pairs:
        if pair.last_day is not None:
            listed_from = min(listed_from, pair.last_day)
        if pair.first_day is not None:
            listed_until = max(listed_until, pair.first_day)
    return replace(
        settings,
        listed_from=listed_from if listed_from < settings.first_day else None,
        listed_until=listed_until if listed_until > settings.last_day else None,
    )


def _undecided(
    termine: Sequence[Termin],
    interrupted: Sequence[Intent],
) -> frozenset[int]:
    """The Termine that interrupted creates may have left."""
    undecided: set[int] = set()
    for intent in interrupted:
        undecided.update(
            termin.fr_nr for termin in termine if may_be_created_by(intent, termin)
        )
    return frozenset(undecided)


def _unpaired(
    listing: GoogleListing,
    pairs: Sequence[Pair],
) -> tuple[list[GoogleEvent], list[GoogleEvent]]:
    """Listed events: those with our marks and no pair, and those without a Termin that may be a colleague's hidden."""
    paired = {pair.google_event_id for pair in pairs}
    open_events = _without_termin(listing, pairs)
    marked = [event for event in open_events if _is_marked(event, paired)]
    moved = [event for event in open_events if _may_be_hidden_elsewhere(event)]
    return marked, moved


def _without_termin(listing: GoogleListing, pairs: Sequence[Pair]) -> list[GoogleEvent]:
    """The listed events that no Termin is paired with; where they come from matters until one is."""
    complete = {pair.google_event_id for pair in pairs if pair.advoware_frnr}
    return [
        event
        for event in listing.events
        if not event.cancelled and event.id not in complete
    ]


def _is_marked(event: GoogleEvent, paired: set[str | None]) -> bool:
    is_advowares = event.fr_nr is not None or is_inserted_by_sync(event.id)
    return is_advowares and event.id not in paired


def _hidden_elsewhere(
    pairs: Iterable[Pair],
    events: Mapping[str, GoogleEvent],
) -> dict[str, int]:
    """The Termine of those of the events whose text is hidden in a colleague's calendar: they were moved here.

    Text that one of them shows was typed into it, even if it has lost our marks.
    """
    found: dict[str, int] = {}
    for pair in pairs:
        event = events[str(pair.google_event_id)]
        shows_own_text = event.shows_text and not event.has_foreign_text
        if shows_own_text and not is_anonymised_hash(pair.google.content_hash):
            continue
        if pair.advoware_frnr is not None and not pair.deleted:
            found[event.id] = pair.advoware_frnr
    return found


def _moved_here(
    pairs: Iterable[Pair],
    events: Mapping[str, GoogleEvent],
) -> dict[str, int]:
    """The Termine whose events those without our marks were in a colleague's calendar."""
    found: dict[str, int] = {}
    for pair in pairs:
        event = events[str(pair.google_event_id)]
        if pair.advoware_frnr is not None and event.fr_nr is None:
            found[event.id] = pair.advoware_frnr
    return found


def _may_be_hidden_elsewhere(event: GoogleEvent) -> bool:
    return event.fr_nr is None or event.has_foreign_text
