"""One run of the calendar sync of one employee: observe, plan, apply, record.

Observing costs one call to each system, however many appointments there are: Advoware's list of the window, and what
Google says has changed. What seems to be gone is read directly, then planned again. The cursor moves on only when every
action was carried out, because Google shows a change only once in its incremental lists.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from services.calendar_sync.apply import Applier, Windows, may_be_created_by
from services.calendar_sync.calendars import CalendarKeeper, ensure_calendar
from services.calendar_sync.employees import (
    LAST_SUCCESS,
    LOCK_SECONDS,
    EmployeeRegister,
    EmployeesAdvoware,
    active_employees,
    lock_key,
    usable_kuerzel,
)
from services.calendar_sync.mapping import read_google_events, read_termine
from services.calendar_sync.model import (
    QUESTIONS,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    ListGoogle,
    Pair,
    Termin,
)
from services.calendar_sync.observation import (
    Confirmations,
    GoogleListing,
    Past,
    PlanSettings,
    is_placeholder,
)
from services.calendar_sync.plan import make_plan
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor, Hold, Intent
from services.calendar_sync.store import RunResult as Result
from services.calendar_sync.work import (
    MAX_UNAVAILABLE,
    RunSummary,
    Work,
    read_event,
    read_termin,
)
from services.core.errors import (
    Conflict,
    CreateUnclear,
    Forbidden,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
    failure_code,
)
from services.core.locks import record_lock
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.google_calendar import SYSTEM as GOOGLE
from services.google_calendar import GoogleCalendarAPI, SyncTokenExpired
from services.values.advoware_protocol import BERLIN

#: The whole calendar is listed once a day: an incremental list does not show everything (exceptions of a series that
#: was repaired, events that the window has reached by now).
FULL_RUN_HOURS = 24
#: The version of the ``sync_id`` of pairs; see `Picture.row_of_marked` for the others.
RANDOM = 4


@dataclass(frozen=True)
class _Observed:
    """Both sides as one run sees them."""

    cursor: Cursor
    settings: PlanSettings
    termine: Sequence[Termin]
    listing: GoogleListing
    next_sync_token: str
    pairs: Sequence[Pair]
    past: Past
    hold: Hold | None
    digest: str


class CalendarSync:
    """Syncs employees' calendars. ``context`` is the step's FlowContext or None."""

    def __init__(
        self, context: Any = None, *, resources: Resources | None = None
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._google = GoogleCalendarAPI(context, resources=self._resources)
        self._advoware = EmployeesAdvoware(context, resources=self._resources)

    # -- entrances ------------------------------------------------------------------------------------------------

    async def employees(self, *, follow: bool = True) -> list[str]:
        """The Kürzel of the active employees, those first whose sync succeeded longest ago or never.

        ``CALENDAR_SYNC_DEBUG_KUERZEL`` limits them. Calendars and pairs follow those who have a new Kürzel, unless
        ``follow`` says that nothing may be written.

        Raises:
            ForeignSystemError: Advoware, PostgreSQL or Redis does not answer.
        """
        rows = await self._advoware.list_mitarbeiter()
        active = active_employees(rows)
        if odd := sum(usable_kuerzel(row) is None for row in rows):
            log(self._context, "error", "calendar.employees_unreadable", employees=odd)
        register = EmployeeRegister(self._resources, self._advoware, self._context)
        postponed = await register.follow(active) if follow else frozenset()
        only = self._resources.settings.calendar_sync.only_kuerzel
        found = active.keys() - postponed
        kuerzel = sorted(found & only if only else found)
        try:
            latest = await self._resources.calendar_redis.hgetall(LAST_SUCCESS)
        except RedisError as error:
            raise Unavailable("Redis", "cannot be reached") from error
        return sorted(kuerzel, key=lambda name: latest.get(name, ""))

    async def is_running(self, kuerzel: str) -> bool:
        """Whether some worker is syncing the employee's calendar.

        Raises:
            Unavailable: Redis does not answer.
        """
        try:
            return bool(await self._resources.calendar_redis.exists(lock_key(kuerzel)))
        except RedisError as error:
            raise Unavailable("Redis", "cannot be reached") from error

    async def sync_employee(
        self, kuerzel: str, *, full_content: bool = True
    ) -> RunSummary:
        """Sync one employee's calendar; ``full_content`` False shows blocked time only.

        A failure of single appointments is in the summary, and is tried again by the next run.

        Raises:
            EntityBusy: another run works on this calendar, or Redis was lost meanwhile.
            ForeignSystemError, ConfigurationError: a system cannot be used at all.
        """
        redis = self._resources.calendar_redis
        async with record_lock(
            self._resources, lock_key(kuerzel), LOCK_SECONDS, redis=redis
        ):
            summary = await self._sync(kuerzel, full_content=full_content)
            if summary.result != "failed":
                await self._note_success(kuerzel)
        log(
            self._context,
            "error" if summary.result in {"failed", "held"} else "info",
            "calendar.synced",
            kuerzel=kuerzel,
            result=summary.result,
            counts=dict(summary.counts),
            errors=len(summary.errors),
        )
        return summary

    async def _note_success(self, kuerzel: str) -> None:
        try:
            await self._resources.calendar_redis.hset(
                LAST_SUCCESS, kuerzel, self._now().isoformat()
            )
        except RedisError:
            log(self._context, "warning", "calendar.success_not_noted", kuerzel=kuerzel)

    # -- one run --------------------------------------------------------------------------------------------------

    async def _sync(self, kuerzel: str, *, full_content: bool) -> RunSummary:
        if await self._advoware.is_former(kuerzel):  # asked for before he was renamed
            return RunSummary(kuerzel)
        store = CalendarStore(await self._resources.database())
        trace_id = getattr(self._context, "trace_id", None)
        windows = Windows(
            self._google, self._advoware, store, self._resources, trace_id
        )
        summary = RunSummary(kuerzel)
        seen = await self._observe(windows, summary, full_content=full_content)
        if seen is None:
            return summary
        seen, actions = await self._plan(seen, windows, summary)
        work = Work(self._context, seen.settings, windows, summary, seen.listing)
        is_complete = await work.carry_out_all(actions)
        await self._note_hold(summary, seen.hold, windows)
        summary.result = _result(summary)
        await self._move_on(
            seen, store, summary, is_complete=is_complete and summary.held is None
        )
        return summary

    async def _move_on(
        self,
        seen: _Observed,
        store: CalendarStore,
        summary: RunSummary,
        *,
        is_complete: bool,
    ) -> None:
        """Store where the next run starts: after what this one has seen, if all of it was carried out."""
        is_quiet = (
            is_complete
            and summary.result == "no_change"
            and not seen.listing.full
            and not seen.listing.events
        )
        cursor = replace(seen.cursor, quiet_digest=seen.digest if is_quiet else None)
        if is_complete:
            cursor = replace(cursor, sync_token=seen.next_sync_token)
            if seen.listing.full:
                cursor = replace(cursor, last_full_run=self._now())
        elif seen.listing.full:
            cursor = replace(cursor, sync_token=None)
        if cursor != await store.load_cursor(cursor.employee_kuerzel):
            await store.save_cursor(cursor, self._now())

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(
        self, windows: Windows, summary: RunSummary, *, full_content: bool
    ) -> _Observed | None:
        """Both sides as they are now; None if they are as they were when there was nothing to do."""
        kuerzel, store = summary.kuerzel, windows.store
        cursor = await store.load_cursor(kuerzel)
        calendar_id = cursor.calendar_id
        try:
            if calendar_id is None:
                raise NotFound(GOOGLE, "no calendar is known")
            listing, token = await self._list_google(calendar_id, cursor, summary)
        except NotFound:
            if calendar_id is not None:
                log(self._context, "error", "calendar.lost", kuerzel=kuerzel)
            calendar_id = await ensure_calendar(
                self._google, kuerzel, self._resources.settings
            )
            cursor = replace(cursor, calendar_id=calendar_id, sync_token=None)
            listing, token = await self._list_google(calendar_id, cursor, summary)
            await self._let_go_of_lost_events(
                listing, self._settings(cursor, full_content=full_content), windows
            )
            await store.save_cursor(cursor, self._now())
        keeper = CalendarKeeper(
            self._google,
            await self._resources.database(),
            self._resources,
            self._context,
        )
        await keeper.keep(calendar_id, kuerzel, is_full=listing.full)
        settings = self._settings(cursor, full_content=full_content)
        interrupted = await self._resume_creates(
            kuerzel, Applier(settings, windows), store
        )
        hold = next(iter(await store.holds(kuerzel)), None)
        if hold is not None and hold.released_at is not None:
            settings = replace(settings, released=hold.number)
        digest_of_pairs = await store.pairs_digest(kuerzel)
        pairs: Sequence[Pair] | None = None
        if listing.full:
            pairs = await store.load_pairs(kuerzel)
            settings = _looking_at_all(settings, pairs)
        first_day, last_day = (
            settings.listed_from or settings.first_day,
            settings.listed_until or settings.last_day,
        )
        answer = await self._advoware.ask_termine(kuerzel, first_day, last_day)
        digest = _digest(settings, answer.digest(), digest_of_pairs)
        if (
            digest == cursor.quiet_digest
            and hold is None
            and not listing.full
            and not listing.events
        ):
            await self._move_token(cursor, token, store)
            return None
        if pairs is None:
            pairs = await store.load_pairs(kuerzel)
        termine = await asyncio.to_thread(lambda: read_termine(answer.rows()))
        self._note_unreadable("Termin", termine.unreadable, summary)
        undecided = {
            termin.fr_nr
            for termin in termine.items
            if any(may_be_created_by(intent, termin) for intent in interrupted)
        }
        past = replace(
            await _past(store, kuerzel, listing, pairs), undecided=frozenset(undecided)
        )
        return _Observed(
            cursor, settings, termine.items, listing, token, pairs, past, hold, digest
        )

    async def _move_token(
        self, cursor: Cursor, token: str, store: CalendarStore
    ) -> None:
        if token != cursor.sync_token:
            await store.save_cursor(replace(cursor, sync_token=token), self._now())

    def _note_unreadable(
        self, what: str, reasons: Sequence[str], summary: RunSummary
    ) -> None:
        """Tell of records that have no identity, and with which nothing can be done."""
        if reasons:
            summary.unreadable += [f"{what}: {reason}" for reason in reasons]
            log(
                self._context,
                "error",
                "calendar.unreadable",
                kuerzel=summary.kuerzel,
                records=len(reasons),
                error=f"{what}: {reasons[0]}",
            )

    async def _let_go_of_lost_events(
        self, listing: GoogleListing, settings: PlanSettings, windows: Windows
    ) -> None:
        """Nobody deleted what another calendar than the one of the last run lacks.

        The pairs say so before that calendar becomes the employee's: a run that ends here starts over.
        """
        applier, present = (
            Applier(settings, windows),
            {event.id for event in listing.events if not event.cancelled},
        )
        await self._resume_creates(settings.kuerzel, applier, windows.store)
        for pair in await windows.store.load_pairs(settings.kuerzel):
            if pair.google_event_id is not None and pair.google_event_id not in present:
                await applier.let_go(pair)

    async def _list_google(
        self, calendar_id: str, cursor: Cursor, summary: RunSummary
    ) -> tuple[GoogleListing, str]:
        """Google's changes since the last run, or everything: at first, once a day, and when the token has expired."""
        last = cursor.last_full_run
        is_due = last is None or last <= self._now() - timedelta(hours=FULL_RUN_HOURS)
        token = None if is_due else cursor.sync_token
        try:
            events = await self._google.list_events(calendar_id, token)
        except SyncTokenExpired:
            events = await self._google.list_events(calendar_id)
        read = await asyncio.to_thread(read_google_events, events.events)
        self._note_unreadable("event", read.unreadable, summary)
        return GoogleListing(read.items, events.is_full), events.next_sync_token

    def _settings(self, cursor: Cursor, *, full_content: bool) -> PlanSettings:
        settings = self._resources.settings
        today = self._now().astimezone(BERLIN).date()
        return PlanSettings(
            cursor.employee_kuerzel,
            str(cursor.calendar_id),
            today - timedelta(days=settings.calendar_sync.days_back),
            today + timedelta(days=settings.calendar_sync.days_ahead),
            strategy=settings.calendar_sync.strategy,
            advoware_write_allowed=True,
            write_protection=settings.advoware.write_protection,
            full_content=full_content,
            anonymise=settings.calendar_sync.anonymize,
            max_deletions=settings.calendar_sync.max_deletions,
        )

    async def _resume_creates(
        self, kuerzel: str, applier: Applier, store: CalendarStore
    ) -> list[Intent]:
        """Take up creates in Advoware that were interrupted; forget those that after a day have led to nothing.

        Returns those of which nobody can tell yet what they have left.
        """
        intents = await store.open_intents(kuerzel)
        if not intents:
            return []
        rows = {pair.google_event_id: pair for pair in await store.load_pairs(kuerzel)}
        unknown: list[Intent] = []
        for intent in intents:
            try:
                await applier.resume(intent, rows.get(intent.google_event_id))
            except (
                Conflict,
                CreateUnclear,
                Forbidden,
                UnexpectedAnswer,
                ValidationFailed,
            ) as error:
                unknown.append(intent)
                code = failure_code(error)
                log(
                    self._context,
                    "error",
                    "calendar.create_not_resumed",
                    kuerzel=kuerzel,
                    error=code,
                )
        for intent in await store.open_intents(kuerzel):
            led_to_nothing = intent.advoware_frnr is None and intent not in unknown
            if led_to_nothing and intent.started_at < self._now() - timedelta(days=1):
                await store.end_intent(kuerzel, intent.google_event_id)
        return unknown

    # -- plan -----------------------------------------------------------------------------------------------------

    async def _plan(
        self, seen: _Observed, windows: Windows, summary: RunSummary
    ) -> tuple[_Observed, list[Action]]:
        """What was seen and the actions, after everything that seems to be gone was read directly.

        What cannot be read is left as it is, and counts as an error.
        """
        confirmed, asked = Confirmations(), set[Action]()
        while True:
            actions = await asyncio.to_thread(
                make_plan,
                seen.settings,
                seen.termine,
                seen.listing,
                seen.pairs,
                confirmed,
                seen.past,
            )
            new = [
                item
                for item in actions
                if isinstance(item, QUESTIONS) and item not in asked
            ]
            if not new:
                break
            asked.update(new)
            if any(isinstance(question, ListGoogle) for question in new):
                seen = await self._list_all(seen, windows.store, summary)
            for question in new:
                if not isinstance(question, ListGoogle):
                    confirmed = await self._confirm(
                        question, confirmed, seen.settings.calendar_id, summary
                    )
        return seen, [item for item in actions if not isinstance(item, QUESTIONS)]

    async def _list_all(
        self, seen: _Observed, store: CalendarStore, summary: RunSummary
    ) -> _Observed:
        """The same with the whole calendar; Advoware's Termine are those that were listed."""
        cursor = replace(seen.cursor, sync_token=None)
        listing, token = await self._list_google(
            seen.settings.calendar_id, cursor, summary
        )
        past = await _past(store, summary.kuerzel, listing, seen.pairs)
        past = replace(past, undecided=seen.past.undecided)
        return replace(
            seen, cursor=cursor, listing=listing, next_sync_token=token, past=past
        )

    async def _confirm(
        self,
        question: ConfirmAdvoware | ConfirmGoogle,
        known: Confirmations,
        calendar_id: str,
        summary: RunSummary,
    ) -> Confirmations:
        """The answer added to those that are known; a question that cannot be answered counts as an error."""
        pair = question.pair
        try:
            if isinstance(question, ConfirmAdvoware):
                fr_nr = int(pair.advoware_frnr or 0)
                return replace(
                    known,
                    termine={
                        **known.termine,
                        fr_nr: await read_termin(self._advoware, fr_nr),
                    },
                )
            event_id = str(pair.google_event_id)
            event = await read_event(self._google, calendar_id, event_id)
            return replace(known, events={**known.events, event_id: event})
        except (Forbidden, Unavailable, UnexpectedAnswer, ValidationFailed) as error:
            summary.note_error(self._context, "calendar.not_confirmed", error)
            # A system that fails with one record only stops no others.
            if (
                isinstance(error, Unavailable)
                and len(summary.errors) >= MAX_UNAVAILABLE
            ):
                raise
            return known

    # -- record ---------------------------------------------------------------------------------------------------

    async def _note_hold(
        self, summary: RunSummary, before: Hold | None, windows: Windows
    ) -> None:
        """Remember what is held back, for an operator to release; the audit gets a line when it is news."""
        held, store, now = summary.held, windows.store, self._now()
        if held is None:
            if before is not None:
                await store.end_hold(summary.kuerzel)
            return
        hold = Hold(
            employee_kuerzel=summary.kuerzel,
            reason=held.reason,
            number=held.deletions,
            live_pairs=held.live_pairs,
            held_since=now,
        )
        is_known = before is not None and (before.reason, before.number) == (
            hold.reason,
            hold.number,
        )
        if is_known and before is not None and before.released_at is None:
            return
        await store.save_hold(hold)
        if not is_known:
            told = f"{held.reason}: {held.deletions} of {held.live_pairs}"
            line = AuditLine(
                employee_kuerzel=summary.kuerzel,
                side="none",
                action="held",
                reason=told,
            )
            await store.append_audit([replace(line, trace_id=windows.trace_id)], now)

    def _now(self) -> datetime:
        return self._resources.clock()


def _digest(settings: PlanSettings, termine: str, pairs: str) -> str:
    """Equal for equal inputs of a plan, if Google has listed no change."""
    return hashlib.sha256(f"{settings}\n{termine}\n{pairs}".encode()).hexdigest()


def _result(summary: RunSummary) -> Result:
    if summary.held is not None:
        return "held"
    if summary.errors or summary.unreadable:
        return "failed"
    return "changed" if summary.counts else "no_change"


def _looking_at_all(settings: PlanSettings, pairs: Sequence[Pair]) -> PlanSettings:
    """The settings of a run that lists Advoware's Termine of all live pairs, also of those outside the window."""
    over = [
        pair.last_day
        for pair in pairs
        if pair.last_day is not None and pair.last_day < settings.first_day
    ]
    to_come = [
        pair.first_day
        for pair in pairs
        if pair.first_day is not None and pair.first_day > settings.last_day
    ]
    return replace(
        settings,
        listed_from=min(over, default=None),
        listed_until=max(to_come, default=None),
    )


async def _past(
    store: CalendarStore, kuerzel: str, listing: GoogleListing, pairs: Sequence[Pair]
) -> Past:
    """What other rows know of the listed events without a pair, as far as it matters."""
    paired = {pair.google_event_id for pair in pairs}
    unpaired = [
        event
        for event in listing.events
        if event.id not in paired and not event.cancelled
    ]
    marked = {event.id: event.sync_id for event in unpaired if event.fr_nr is not None}
    hidden = {
        event.id
        for event in unpaired
        if (event.fr_nr is None and is_placeholder(event)) or event.has_foreign_text
    }
    known = await store.events_once_paired(kuerzel, marked.keys())
    # A deleted pair has had it as it is, if no later one has written its own marks. That of a copy without a row is
    # made up, and the event names one that was never stored.
    once_paired = frozenset(
        event_id
        for event_id, sync_id in known
        if marked[event_id] in {sync_id, None} or sync_id.version != RANDOM
    )
    return Past(once_paired, await store.termine_of_events_elsewhere(kuerzel, hidden))
