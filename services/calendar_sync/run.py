"""One run of the calendar sync of one employee: observe, plan, apply, record.

Observing costs one call to each system, however many appointments there are: Advoware's list of the window, and what
Google says has changed. What seems to be gone is read directly, then planned again. The cursor moves on only when every
action was carried out, because Google shows a change only once in its incremental lists.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import RedisError

from services.advoware_models import BERLIN
from services.advoware_service import AdvowareService
from services.calendar_sync.apply import Applier, Windows, action_name, one_event, one_termin
from services.calendar_sync.calendars import ensure_calendar, share_calendar
from services.calendar_sync.mapping import read_google_events, read_termine
from services.calendar_sync.model import (
    QUESTIONS,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    GoogleEvent,
    HoldDeletions,
    ListGoogle,
    NotPlanned,
    Pair,
    Termin,
)
from services.calendar_sync.observation import Confirmations, GoogleListing, PlanSettings
from services.calendar_sync.plan import make_plan
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor, Hold
from services.calendar_sync.store import RunResult as Result
from services.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    EntityBusy,
    Forbidden,
    NotFound,
    RateLimited,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
    failure_code,
)
from services.google_calendar import SYSTEM as GOOGLE
from services.google_calendar import GoogleCalendarAPI, SyncTokenExpired
from services.locks import record_lock
from services.logs import log
from services.resources import Resources, current_resources

LOCK_SECONDS = 60.0
#: The whole calendar is listed once a day: an incremental list does not show everything (exceptions of a series that
#: was repaired, events that the window has reached by now).
FULL_RUN_HOURS = 24
#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3
#: In Redis: when each employee's sync last succeeded.
LAST_SUCCESS = "calendar_sync:last_success"


def lock_key(kuerzel: str) -> str:
    """The lock of an employee's calendar, in the calendar's Redis database."""
    return f"calendar_sync:lock:{kuerzel}"


@dataclass
class RunSummary:
    """What a run has led to.

    Attributes:
        kuerzel: the employee.
        result: ``held``: deletions wait for an operator; ``failed``: at least one action failed, or a record could not
            be read; else as it says.
        counts: how often each action was carried out, such as ``google_created``.
        errors: one code per failed action, without texts of appointments.
        unreadable: why records of either side could not be read at all; nothing is done about them.
        held: why deletions are held.
    """

    kuerzel: str
    result: Result = "no_change"
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    held: HoldDeletions | None = None


@dataclass(frozen=True)
class _Observed:
    """Both sides as one run sees them."""

    cursor: Cursor
    settings: PlanSettings
    termine: Sequence[Termin]
    listing: GoogleListing
    next_sync_token: str
    pairs: Sequence[Pair]
    once_paired: frozenset[str]
    hold: Hold | None


class CalendarSync:
    """Syncs employees' calendars. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._google = GoogleCalendarAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)

    # -- entrances ------------------------------------------------------------------------------------------------

    async def employees(self) -> list[str]:
        """The Kürzel of the active employees, those first whose sync succeeded longest ago or never.

        ``CALENDAR_SYNC_DEBUG_KUERZEL`` limits them.

        Raises:
            ForeignSystemError: Advoware or Redis does not answer.
        """
        rows = await self._advoware.list_mitarbeiter()
        only = self._resources.settings.calendar_sync.only_kuerzel
        found = {str(row.get("kuerzel") or "").strip() for row in rows} - {""}
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

    async def sync_employee(self, kuerzel: str, *, full_content: bool = True) -> RunSummary:
        """Sync one employee's calendar; ``full_content`` False shows blocked time only.

        A failure of single appointments is in the summary, and is tried again by the next run.

        Raises:
            EntityBusy: another run works on this calendar, or Redis was lost meanwhile.
            ForeignSystemError, ConfigurationError: a system cannot be used at all.
        """
        redis = self._resources.calendar_redis
        async with record_lock(self._resources, lock_key(kuerzel), LOCK_SECONDS, redis=redis):
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
            await self._resources.calendar_redis.hset(LAST_SUCCESS, kuerzel, self._now().isoformat())
        except RedisError:
            log(self._context, "warning", "calendar.success_not_noted", kuerzel=kuerzel)

    # -- one run --------------------------------------------------------------------------------------------------

    async def _sync(self, kuerzel: str, *, full_content: bool) -> RunSummary:
        store = CalendarStore(await self._resources.database())
        trace_id = getattr(self._context, "trace_id", None)
        windows = Windows(self._google, self._advoware, store, self._resources, trace_id)
        summary = RunSummary(kuerzel)
        seen = await self._observe(windows, summary, full_content=full_content)
        seen, actions = await self._plan(seen, windows, summary)
        applier = Applier(seen.settings, windows)
        is_complete = await self._apply(actions, applier, seen.settings, windows, summary)
        await self._note_hold(summary, seen.hold, windows)
        summary.result = _result(summary)
        await self._move_on(seen, store, is_complete=is_complete and summary.held is None)
        return summary

    async def _move_on(self, seen: _Observed, store: CalendarStore, *, is_complete: bool) -> None:
        """Store where the next run starts: after what this one has seen, if all of it was carried out."""
        cursor = seen.cursor
        if is_complete:
            cursor = replace(cursor, sync_token=seen.next_sync_token)
            if seen.listing.full:
                cursor = replace(cursor, last_full_run=self._now())
        elif seen.listing.full:
            cursor = replace(cursor, sync_token=None)
        if cursor != await store.load_cursor(cursor.employee_kuerzel):
            await store.save_cursor(cursor, self._now())

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(self, windows: Windows, summary: RunSummary, *, full_content: bool) -> _Observed:
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
            calendar_id = await ensure_calendar(self._google, kuerzel)
            cursor = replace(cursor, calendar_id=calendar_id, sync_token=None)
            listing, token = await self._list_google(calendar_id, cursor, summary)
            await self._let_go_of_lost_events(listing, self._settings(cursor, full_content=full_content), windows)
            await store.save_cursor(cursor, self._now())
        if listing.full:
            await self._share(calendar_id, kuerzel)
        settings = self._settings(cursor, full_content=full_content)
        await self._resume_creates(kuerzel, Applier(settings, windows), store)
        pairs = await store.load_pairs(kuerzel)
        if listing.full:
            settings = _looking_at_all(settings, pairs)
        hold = next(iter(await store.holds(kuerzel)), None)
        if hold is not None and hold.released_at is not None:
            settings = replace(settings, released=hold.number)
        first_day, last_day = settings.listed_from or settings.first_day, settings.listed_until or settings.last_day
        rows = await self._advoware.list_termine(kuerzel, first_day, last_day)
        termine = read_termine(rows)
        self._note_unreadable("Termin", termine.unreadable, summary)
        once_paired = await _once_paired(store, kuerzel, listing, pairs)
        return _Observed(cursor, settings, termine.items, listing, token, pairs, once_paired, hold)

    def _note_unreadable(self, what: str, reasons: Sequence[str], summary: RunSummary) -> None:
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

    async def _let_go_of_lost_events(self, listing: GoogleListing, settings: PlanSettings, windows: Windows) -> None:
        """Nobody deleted what another calendar than the one of the last run lacks.

        The pairs say so before that calendar becomes the employee's: a run that ends here starts over.
        """
        applier, present = Applier(settings, windows), {event.id for event in listing.events if not event.cancelled}
        await self._resume_creates(settings.kuerzel, applier, windows.store)
        for pair in await windows.store.load_pairs(settings.kuerzel):
            if pair.google_event_id is not None and pair.google_event_id not in present:
                await applier.let_go(pair)

    async def _share(self, calendar_id: str, kuerzel: str) -> None:
        """Share the calendar; an account that Google refuses is told to the operator and stops nothing."""
        try:
            await share_calendar(self._google, calendar_id, self._resources.settings.google_calendar.acl_rules)
        except (Forbidden, NotFound, ValidationFailed) as error:
            log(self._context, "error", "calendar.not_shared", kuerzel=kuerzel, error=failure_code(error))

    async def _list_google(self, calendar_id: str, cursor: Cursor, summary: RunSummary) -> tuple[GoogleListing, str]:
        """Google's changes since the last run, or everything: at first, once a day, and when the token has expired."""
        last = cursor.last_full_run
        is_due = last is None or last <= self._now() - timedelta(hours=FULL_RUN_HOURS)
        token = None if is_due else cursor.sync_token
        try:
            events = await self._google.list_events(calendar_id, token)
        except SyncTokenExpired:
            events = await self._google.list_events(calendar_id)
        read = read_google_events(events.events)
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

    async def _resume_creates(self, kuerzel: str, applier: Applier, store: CalendarStore) -> None:
        """Take up creates in Advoware that were interrupted; forget those that have led to nothing for a day."""
        intents = await store.open_intents(kuerzel)
        if not intents:
            return
        rows = {pair.google_event_id: pair for pair in await store.load_pairs(kuerzel)}
        for intent in intents:
            try:
                await applier.resume(intent, rows.get(intent.google_event_id))
            except (Conflict, Forbidden, UnexpectedAnswer, ValidationFailed) as error:
                code = failure_code(error)
                log(self._context, "error", "calendar.create_not_resumed", kuerzel=kuerzel, error=code)
        for intent in await store.open_intents(kuerzel):
            if intent.advoware_frnr is None and intent.started_at < self._now() - timedelta(days=1):
                await store.end_intent(kuerzel, intent.google_event_id)

    # -- plan -----------------------------------------------------------------------------------------------------

    async def _plan(self, seen: _Observed, windows: Windows, summary: RunSummary) -> tuple[_Observed, list[Action]]:
        """What was seen and the actions, after everything that seems to be gone was read directly.

        What cannot be read is left as it is, and counts as an error.
        """
        confirmed, asked = Confirmations(), set[Action]()
        while True:
            actions = await asyncio.to_thread(
                make_plan, seen.settings, seen.termine, seen.listing, seen.pairs, confirmed, seen.once_paired
            )
            new = [item for item in actions if isinstance(item, QUESTIONS) and item not in asked]
            if not new:
                break
            asked.update(new)
            if any(isinstance(question, ListGoogle) for question in new):
                seen = await self._list_all(seen, windows.store, summary)
            for question in new:
                if not isinstance(question, ListGoogle):
                    confirmed = await self._confirm(question, confirmed, seen.settings.calendar_id, summary)
        return seen, [item for item in actions if not isinstance(item, QUESTIONS)]

    async def _list_all(self, seen: _Observed, store: CalendarStore, summary: RunSummary) -> _Observed:
        """The same with the whole calendar; Advoware's Termine are those that were listed."""
        cursor = replace(seen.cursor, sync_token=None)
        listing, token = await self._list_google(seen.settings.calendar_id, cursor, summary)
        once_paired = await _once_paired(store, summary.kuerzel, listing, seen.pairs)
        return replace(seen, cursor=cursor, listing=listing, next_sync_token=token, once_paired=once_paired)

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
                return replace(known, termine={**known.termine, fr_nr: await self._read_termin(fr_nr)})
            event_id = str(pair.google_event_id)
            return replace(known, events={**known.events, event_id: await self._read_event(calendar_id, event_id)})
        except (Forbidden, UnexpectedAnswer, ValidationFailed) as error:
            self._note_error("calendar.not_confirmed", error, summary)
            return known

    def _note_error(self, event: str, error: Exception | str, summary: RunSummary, **fields: str) -> str:
        """Log what concerns one appointment only, and count it; returns its code."""
        code = error if isinstance(error, str) else failure_code(error)
        summary.errors.append(code)
        log(self._context, "error", event, kuerzel=summary.kuerzel, error=code, **fields)
        return code

    async def _read_termin(self, fr_nr: int) -> Termin | None:
        try:
            return one_termin(await self._advoware.get_termin(fr_nr), fr_nr)
        except NotFound:
            return None

    async def _read_event(self, calendar_id: str, event_id: str) -> GoogleEvent | None:
        try:
            return one_event(await self._google.get_event(calendar_id, event_id), event_id)
        except NotFound:
            await self._google.get_calendar(calendar_id)  # with its calendar every event is lost, and nobody deleted it
            return None

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _apply(
        self,
        actions: Sequence[Action],
        applier: Applier,
        settings: PlanSettings,
        windows: Windows,
        summary: RunSummary,
    ) -> bool:
        """Carry out the actions; one that fails does not stop the others. Returns whether all were carried out.

        Raises:
            ForeignSystemError: a system cannot be used at the moment, so that the rest would fail as well.
        """
        unavailable = 0
        for action in actions:
            if isinstance(action, HoldDeletions):
                summary.held = action
                continue
            if isinstance(action, NotPlanned):
                self._note_error("calendar.not_planned", action.code, summary)
                continue
            try:
                await self._carry_out(action, applier, settings, windows)
            except (RateLimited, AuthenticationFailed, EntityBusy, ConfigurationError):
                raise
            except Exception as error:
                code = self._note_error("calendar.action_failed", error, summary, action=action_name(action))
                unavailable = unavailable + 1 if isinstance(error, Unavailable) else 0
                if unavailable == MAX_UNAVAILABLE:
                    raise
                await applier.fail(action, code)
            else:
                summary.counts[action_name(action)] += 1
                unavailable = 0
        return not summary.errors

    async def _carry_out(self, action: Action, applier: Applier, settings: PlanSettings, windows: Windows) -> None:
        """Carry out an action; if its event or Termin has changed meanwhile, read both again and decide anew, once."""
        try:
            await applier.carry_out(action)
        except Conflict as error:
            pair = getattr(action, "pair", None)
            # Of a row that waits for its other side this one alone does not tell enough.
            if not isinstance(pair, Pair) or None in {pair.advoware_frnr, pair.google_event_id}:
                raise
            if error.system not in {GOOGLE, "Advoware"}:
                raise
            decided = await self._plan_pair(pair, settings, windows)
            if any(isinstance(item, HoldDeletions) for item in decided):
                raise  # the next run holds it for all to see
            for anew in decided:
                await applier.carry_out(anew)

    async def _plan_pair(self, pair: Pair, settings: PlanSettings, windows: Windows) -> list[Action]:
        """The actions for one pair as it is now."""
        stored = await windows.store.find_pair(pair.sync_id)
        if stored is None or stored.pair.deleted:
            return []
        pair = stored.pair
        termin = await self._read_termin(pair.advoware_frnr) if pair.advoware_frnr else None
        event_id = pair.google_event_id
        event = await self._read_event(settings.calendar_id, event_id) if event_id else None
        termine = {pair.advoware_frnr: termin} if pair.advoware_frnr else {}
        events = {event_id: event} if event_id else {}
        listing = GoogleListing([event] if event else [], full=False)
        actions = make_plan(settings, [termin] if termin else [], listing, [pair], Confirmations(termine, events))
        return [item for item in actions if not isinstance(item, QUESTIONS)]

    # -- record ---------------------------------------------------------------------------------------------------

    async def _note_hold(self, summary: RunSummary, before: Hold | None, windows: Windows) -> None:
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
        is_known = before is not None and (before.reason, before.number) == (hold.reason, hold.number)
        if is_known and before is not None and before.released_at is None:
            return
        await store.save_hold(hold)
        if not is_known:
            told = f"{held.reason}: {held.deletions} of {held.live_pairs}"
            line = AuditLine(employee_kuerzel=summary.kuerzel, side="none", action="held", reason=told)
            await store.append_audit([replace(line, trace_id=windows.trace_id)], now)

    def _now(self) -> datetime:
        return self._resources.clock()


def _result(summary: RunSummary) -> Result:
    if summary.held is not None:
        return "held"
    if summary.errors or summary.unreadable:
        return "failed"
    return "changed" if summary.counts else "no_change"


def _looking_at_all(settings: PlanSettings, pairs: Sequence[Pair]) -> PlanSettings:
    """The settings of a run that lists Advoware's Termine of all live pairs, also of those outside the window."""
    over = [pair.last_day for pair in pairs if pair.last_day is not None and pair.last_day < settings.first_day]
    to_come = [pair.first_day for pair in pairs if pair.first_day is not None and pair.first_day > settings.last_day]
    return replace(settings, listed_from=min(over, default=None), listed_until=max(to_come, default=None))


async def _once_paired(
    store: CalendarStore, kuerzel: str, listing: GoogleListing, pairs: Sequence[Pair]
) -> frozenset[str]:
    """The listed events with our marks that only a deleted pair has had."""
    paired = {pair.google_event_id for pair in pairs}
    marked = {event.id for event in listing.events if event.fr_nr is not None} - paired
    return frozenset(await store.events_once_paired(kuerzel, marked))
