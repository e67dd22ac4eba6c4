"""One run of the calendar sync of one employee: observe, plan, apply, record.

Observing costs one call to each system, however many appointments there are: Advoware's list of the window, and what
Google says has changed. What seems to be gone is read directly, then planned again. The cursor moves on only when every
action was carried out, because Google shows a change only once in its incremental lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from redis.exceptions import RedisError

from services.advoware_models import BERLIN
from services.calendar_sync.apply import Applier, Windows, action_name
from services.calendar_sync.calendars import CalendarKeeper, ensure_calendar
from services.calendar_sync.employees import (
    LAST_SUCCESS,
    LOCK_SECONDS,
    EmployeeRegister,
    EmployeesAdvoware,
    active_employees,
    lock_key,
)
from services.calendar_sync.mapping import read_google_event, read_termin, read_termine
from services.calendar_sync.model import (
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    GoogleEvent,
    HoldDeletions,
    Pair,
    Termin,
)
from services.calendar_sync.observation import Confirmations, GoogleListing, PlanSettings
from services.calendar_sync.plan import make_plan
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor
from services.errors import (
    AuthenticationFailed,
    BitByLawError,
    Conflict,
    EntityBusy,
    Forbidden,
    NotFound,
    RateLimited,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
    shown_text,
    without_quotes,
)
from services.google_calendar import SYSTEM as GOOGLE
from services.google_calendar import GoogleCalendarAPI, SyncTokenExpired
from services.locks import record_lock
from services.logs import log
from services.resources import Resources, current_resources

#: The whole calendar is listed once a day: an incremental list does not show everything (exceptions of a series that
#: was repaired, events that the window has reached by now).
FULL_RUN_HOURS = 24
#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3
#: In Redis: which deletions are being held.
HELD = "calendar_sync:held"

Answer = TypeVar("Answer")
Result = Literal["no_change", "changed", "held", "failed"]


@dataclass
class RunSummary:
    """What a run has led to.

    Attributes:
        kuerzel: the employee.
        result: ``held``: deletions wait for an operator; ``failed``: at least one action failed; else as it says.
        counts: how often each action was carried out, such as ``google_created``.
        errors: one code per failed action, without texts of appointments.
        held: why deletions are held.
    """

    kuerzel: str
    result: Result = "no_change"
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    held: HoldDeletions | None = None


@dataclass(frozen=True)
class _Observed:
    """Both sides as one run sees them."""

    cursor: Cursor
    settings: PlanSettings
    termine: Sequence[Termin]
    listing: GoogleListing
    next_sync_token: str


class CalendarSync:
    """Syncs employees' calendars. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
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
        active = active_employees(await self._advoware.list_mitarbeiter())
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
        if await self._advoware.is_former(kuerzel):  # asked for before he was renamed
            return RunSummary(kuerzel)
        store = CalendarStore(await self._resources.database())
        trace_id = getattr(self._context, "trace_id", None)
        windows = Windows(self._google, self._advoware, store, self._resources, trace_id)
        seen = await self._observe(kuerzel, windows, full_content=full_content)
        applier = Applier(seen.settings, windows)
        await self._resume_creates(kuerzel, applier, store)
        summary = RunSummary(kuerzel)
        actions = await self._plan(seen, await store.load_pairs(kuerzel), summary)
        is_complete = await self._apply(actions, applier, seen.settings, windows, summary)
        await self._note_hold(summary, windows)
        if summary.held is not None:
            summary.result = "held"
        elif summary.errors:
            summary.result = "failed"
        elif summary.counts:
            summary.result = "changed"
        cursor = seen.cursor
        if is_complete and summary.held is None:
            cursor = replace(cursor, sync_token=seen.next_sync_token)
            if seen.listing.full:
                cursor = replace(cursor, last_full_run=self._now())
        elif seen.listing.full:
            cursor = replace(cursor, sync_token=None)
        if cursor != await store.load_cursor(kuerzel):
            await store.save_cursor(cursor, self._now())
        return summary

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(self, kuerzel: str, windows: Windows, *, full_content: bool) -> _Observed:
        cursor = await windows.store.load_cursor(kuerzel)
        calendar_id = cursor.calendar_id
        try:
            if calendar_id is None:
                raise NotFound(GOOGLE, "no calendar is known")
            listing, token = await self._list_google(calendar_id, cursor)
        except NotFound:
            if calendar_id is not None:
                log(self._context, "error", "calendar.lost", kuerzel=kuerzel)
            calendar_id = await ensure_calendar(self._google, kuerzel, self._resources.settings)
            cursor = replace(cursor, calendar_id=calendar_id, sync_token=None)
            listing, token = await self._list_google(calendar_id, cursor)
            await self._let_go_of_lost_events(listing, self._settings(cursor, full_content=full_content), windows)
            await windows.store.save_cursor(cursor, self._now())
        keeper = CalendarKeeper(self._google, await self._resources.database(), self._resources, self._context)
        await keeper.keep(calendar_id, kuerzel, is_full=listing.full)
        settings = self._settings(cursor, full_content=full_content)
        rows = await self._advoware.list_termine(kuerzel, settings.first_day, settings.last_day)
        termine = read_termine(rows)
        if len(termine) < len(rows):
            log(self._context, "error", "calendar.unreadable", kuerzel=kuerzel, termine=len(rows) - len(termine))
        return _Observed(cursor, settings, termine, listing, token)

    async def _let_go_of_lost_events(self, listing: GoogleListing, settings: PlanSettings, windows: Windows) -> None:
        """Nobody deleted what another calendar than the one of the last run lacks.

        The pairs say so before that calendar becomes the employee's: a run that ends here starts over.
        """
        applier, present = Applier(settings, windows), {event.id for event in listing.events if not event.cancelled}
        await self._resume_creates(settings.kuerzel, applier, windows.store)
        for pair in await windows.store.load_pairs(settings.kuerzel):
            if pair.google_event_id is not None and pair.google_event_id not in present:
                await applier.let_go(pair)

    async def _list_google(self, calendar_id: str, cursor: Cursor) -> tuple[GoogleListing, str]:
        """Google's changes since the last run, or everything: at first, once a day, and when the token has expired."""
        last = cursor.last_full_run
        is_due = last is None or last <= self._now() - timedelta(hours=FULL_RUN_HOURS)
        token = None if is_due else cursor.sync_token
        try:
            events = await self._google.list_events(calendar_id, token)
        except SyncTokenExpired:
            events = await self._google.list_events(calendar_id)
        return GoogleListing(
            [read_google_event(item) for item in events.events], events.is_full
        ), events.next_sync_token

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
            except Conflict:
                log(self._context, "error", "calendar.create_not_resumed", kuerzel=kuerzel)
        for intent in await store.open_intents(kuerzel):
            if intent.advoware_frnr is None and intent.started_at < self._now() - timedelta(days=1):
                await store.end_intent(kuerzel, intent.google_event_id)

    # -- plan -----------------------------------------------------------------------------------------------------

    async def _plan(self, seen: _Observed, pairs: Sequence[Pair], summary: RunSummary) -> list[Action]:
        """The actions, after everything that seems to be gone was read directly.

        What cannot be read is left as it is, and counts as an error.
        """
        confirmed, asked = Confirmations(), set[ConfirmAdvoware | ConfirmGoogle]()
        while True:
            actions = make_plan(seen.settings, seen.termine, seen.listing, pairs, confirmed)
            questions = [item for item in actions if isinstance(item, ConfirmAdvoware | ConfirmGoogle)]
            new = [question for question in questions if question not in asked]
            if not new:
                break
            asked.update(new)
            for question in new:
                try:
                    confirmed = await self._confirm(question, confirmed, seen.settings.calendar_id)
                except (Forbidden, UnexpectedAnswer, ValidationFailed) as error:
                    self._note_error("calendar.not_confirmed", error, summary)
        return [item for item in actions if not isinstance(item, ConfirmAdvoware | ConfirmGoogle)]

    async def _confirm(
        self, question: ConfirmAdvoware | ConfirmGoogle, known: Confirmations, calendar_id: str
    ) -> Confirmations:
        pair = question.pair
        if isinstance(question, ConfirmAdvoware):
            fr_nr = int(pair.advoware_frnr or 0)
            return replace(known, termine={**known.termine, fr_nr: await self._read_termin(fr_nr)})
        event_id = str(pair.google_event_id)
        return replace(known, events={**known.events, event_id: await self._read_event(calendar_id, event_id)})

    def _note_error(self, event: str, error: BitByLawError, summary: RunSummary, **fields: str) -> str:
        """Log what concerns one appointment only, and count it; returns its code."""
        code = without_quotes(shown_text(error))
        summary.errors.append(code)
        log(self._context, "error", event, kuerzel=summary.kuerzel, error=code, **fields)
        return code

    async def _read_termin(self, fr_nr: int) -> Termin | None:
        return await _if_there(lambda: self._advoware.get_termin(fr_nr), read_termin)

    async def _read_event(self, calendar_id: str, event_id: str) -> GoogleEvent | None:
        event = await _if_there(lambda: self._google.get_event(calendar_id, event_id), read_google_event)
        if event is None:
            await self._google.get_calendar(calendar_id)  # with its calendar every event is lost, and nobody deleted it
        return event

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
            try:
                await self._carry_out(action, applier, settings, windows)
            except (RateLimited, AuthenticationFailed, EntityBusy):
                raise
            except BitByLawError as error:
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
        return [item for item in actions if not isinstance(item, ConfirmAdvoware | ConfirmGoogle)]

    # -- record ---------------------------------------------------------------------------------------------------

    async def _note_hold(self, summary: RunSummary, windows: Windows) -> None:
        """Alert an operator: each run in the log, and in the audit when it is news."""
        held, redis = summary.held, self._resources.calendar_redis
        news = f"{held.reason}: {held.deletions}" if held else None
        try:
            known = await redis.hget(HELD, summary.kuerzel)
            if held is not None and news != known:
                told = f"{news} of {held.live_pairs}"
                line = AuditLine(employee_kuerzel=summary.kuerzel, side="none", action="held", reason=told)
                await windows.store.append_audit([replace(line, trace_id=windows.trace_id)], self._now())
                await redis.hset(HELD, summary.kuerzel, str(news))
            elif held is None and known is not None:
                await redis.hdel(HELD, summary.kuerzel)
        except RedisError:
            log(self._context, "warning", "calendar.hold_not_noted", kuerzel=summary.kuerzel)

    def _now(self) -> datetime:
        return self._resources.clock()


async def _if_there(ask: Callable[[], Awaitable[Any]], read: Callable[[Any], Answer]) -> Answer | None:
    try:
        return read(await ask())
    except NotFound:
        return None
