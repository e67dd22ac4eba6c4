"""One run of the calendar sync of one employee: observe, plan, apply, record.

Observing costs one call to each system, however many appointments there are: Advoware's list of the window, and what
Google says has changed. A record missing from a list is read directly, then planned again. The cursor moves on only
when every action was applied, because Google shows a change only once in its incremental lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from services.calendar_sync.apply import Clients
from services.calendar_sync.employees import (
    LOCK_SECONDS,
    EmployeeRegister,
    EmployeesAdvoware,
    active_employees,
    lock_key,
    usable_kuerzel,
)
from services.calendar_sync.model import (
    LAST_SUCCESS,
    QUESTIONS,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    HoldDeletions,
    ListGoogle,
)
from services.calendar_sync.observe import Observed, SideReader
from services.calendar_sync.plan import make_plan
from services.calendar_sync.provider import CalendarProvider, open_provider
from services.calendar_sync.store import AuditLine, CalendarStore, Cursor, Hold
from services.calendar_sync.store import RunResult as Result
from services.calendar_sync.view import Confirmations
from services.calendar_sync.work import (
    MAX_UNAVAILABLE,
    RunSummary,
    Work,
    read_event,
    read_termin,
)
from services.core.errors import (
    Forbidden,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
)
from services.core.locks import record_lock
from services.core.log import log
from services.core.metrics import GUARDS, SYNCS
from services.core.resources import Resources, current_resources


class CalendarSync:
    """Syncs employees' calendars.

    ``context`` is the step's FlowContext or None; ``provider`` the calendar system, if not the one that is configured.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
        provider: CalendarProvider | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._google = provider or open_provider(context, self._resources)
        self._advoware = EmployeesAdvoware(context, resources=self._resources)

    # -- entry points ---------------------------------------------------------------------------------------------

    async def employees(self, *, follow: bool = True) -> list[str]:
        """The Kürzel of the active employees, those first whose sync succeeded longest ago or never.

        ``CALENDAR_SYNC_DEBUG_KUERZEL`` limits them. Calendars and pairs follow those who have a new Kürzel, unless
        ``follow`` says that nothing may be written.

        Raises:
            ForeignSystemError: Advoware, PostgreSQL or Redis does not answer.
        """
        settings = self._resources.settings
        active = await self._active_employees()
        found = frozenset(active)
        if follow and not settings.service.read_only:
            register = EmployeeRegister(self._resources, self._advoware, self._context)
            found -= await register.follow(active)
        only = settings.calendar_sync.only_kuerzel
        if only:
            found &= only
        try:
            latest = await self._resources.calendar_redis.hgetall(LAST_SUCCESS)
        except RedisError as error:
            raise Unavailable("Redis", "cannot be reached") from error
        return sorted(found, key=lambda name: (latest.get(name, ""), name))

    async def _active_employees(self) -> dict[str, str]:
        rows = await self._advoware.list_mitarbeiter()
        unreadable = [row for row in rows if usable_kuerzel(row) is None]
        if unreadable:
            log(
                self._context,
                "error",
                "calendar.employees_unreadable",
                employees=len(unreadable),
            )
        return active_employees(rows)

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
        self,
        kuerzel: str,
        *,
        full_content: bool = True,
    ) -> RunSummary:
        """Sync one employee's calendar; ``full_content`` False shows blocked time only.

        A failure of single appointments is in the summary, and is tried again by the next run.

        Raises:
            EntityBusy: another run works on this calendar, or Redis was lost meanwhile.
            ForeignSystemError, ConfigurationError: a system cannot be used at all.
        """
        redis = self._resources.calendar_redis
        async with record_lock(
            self._resources,
            lock_key(kuerzel),
            LOCK_SECONDS,
            redis=redis,
        ):
            summary = await self._sync(kuerzel, full_content=full_content)
            if summary.result != "failed":
                await self._note_success(kuerzel)
        SYNCS.labels("calendar", summary.result).inc()
        needs_attention = summary.result in {"failed", "held"}
        log(
            self._context,
            "error" if needs_attention else "info",
            "calendar.synced",
            kuerzel=kuerzel,
            result=summary.result,
            counts=dict(summary.counts),
            errors=len(summary.errors),
        )
        return summary

    async def rehearse(self, kuerzel: str, *, full_content: bool = True) -> RunSummary:
        """What `sync_employee` does, without lock, log and note of success.

        For resources and a provider that write nothing (`services.preview.rehearsal`).

        Raises:
            ForeignSystemError, ConfigurationError: a system cannot be used at all.
        """
        return await self._sync(kuerzel, full_content=full_content)

    async def _note_success(self, kuerzel: str) -> None:
        try:
            await self._resources.calendar_redis.hset(
                LAST_SUCCESS,
                kuerzel,
                self._resources.now().isoformat(),
            )
        except RedisError:
            log(self._context, "warning", "calendar.success_not_noted", kuerzel=kuerzel)

    # -- one run --------------------------------------------------------------------------------------------------

    async def _sync(self, kuerzel: str, *, full_content: bool) -> RunSummary:
        summary = RunSummary(kuerzel)
        if await self._advoware.is_former(kuerzel):  # asked for before he was renamed
            return summary
        clients = await self._clients()
        await clients.store.record_interrupted(kuerzel, self._resources.now())
        reader = SideReader(self._context, clients, summary, full_content=full_content)
        google, interrupted = await reader.prepare()
        listed = await reader.list_both(google, interrupted)
        if listed.is_quiet:
            await self._record_token(google.cursor, google.next_sync_token, clients)
            return summary
        observed = await reader.read(listed)
        observed, actions = await self._plan(observed, reader, summary)
        work = Work(
            self._context,
            observed.settings,
            clients,
            summary,
            observed.google.listing,
        )
        is_complete = await work.apply_all(actions)
        await self._record(observed, clients, summary, is_complete=is_complete)
        return summary

    async def _clients(self) -> Clients:
        store = CalendarStore(await self._resources.database())
        trace_id = getattr(self._context, "trace_id", None)
        return Clients(self._google, self._advoware, store, self._resources, trace_id)

    # -- plan -----------------------------------------------------------------------------------------------------

    async def _plan(
        self,
        observed: Observed,
        reader: SideReader,
        summary: RunSummary,
    ) -> tuple[Observed, list[Action]]:
        """What was observed and the actions, after everything that seems to be gone was read directly.

        What cannot be read is left as it is, and counts as an error.
        """
        confirmed = Confirmations()
        asked: set[Action] = set()
        while True:
            actions = await _make_plan(observed, confirmed)
            new = _new_questions(actions, asked)
            if not new:
                return observed, _without_questions(actions)
            asked.update(new)
            if any(isinstance(question, ListGoogle) for question in new):
                observed = await reader.list_all(observed)
            confirmed = await self._confirm_all(new, confirmed, observed, summary)

    async def _confirm_all(
        self,
        questions: Sequence[Action],
        known: Confirmations,
        observed: Observed,
        summary: RunSummary,
    ) -> Confirmations:
        """The answers added to those that are known; a question that cannot be answered counts as an error."""
        calendar_id = observed.settings.calendar_id
        for question in questions:
            try:
                known = await self._confirm(question, known, calendar_id)
            except (
                Forbidden,
                Unavailable,
                UnexpectedAnswer,
                ValidationFailed,
            ) as error:
                summary.note_error(self._context, "calendar.not_confirmed", error)
                # A system that fails with one record only stops no others.
                is_away = isinstance(error, Unavailable)
                if is_away and len(summary.errors) >= MAX_UNAVAILABLE:
                    raise
        return known

    async def _confirm(
        self,
        question: Action,
        known: Confirmations,
        calendar_id: str,
    ) -> Confirmations:
        if isinstance(question, ConfirmAdvoware):
            fr_nr = int(question.pair.advoware_frnr or 0)
            termin = await read_termin(self._advoware, fr_nr)
            return replace(known, termine={**known.termine, fr_nr: termin})
        if isinstance(question, ConfirmGoogle):
            event_id = str(question.pair.google_event_id)
            event = await read_event(self._google, calendar_id, event_id)
            return replace(known, events={**known.events, event_id: event})
        return known

    # -- record ---------------------------------------------------------------------------------------------------

    async def _record(
        self,
        observed: Observed,
        clients: Clients,
        summary: RunSummary,
        *,
        is_complete: bool,
    ) -> None:
        """Store what is held, and where the next run starts: after what this one has observed, if all was applied."""
        await self._record_hold(observed.hold, clients, summary)
        summary.result = _result(summary)
        is_complete = is_complete and summary.held is None
        cursor = self._next_cursor(observed, summary, is_complete=is_complete)
        if cursor != await clients.store.load_cursor(cursor.employee_kuerzel):
            await clients.store.save_cursor(cursor, self._resources.now())

    def _next_cursor(
        self,
        observed: Observed,
        summary: RunSummary,
        *,
        is_complete: bool,
    ) -> Cursor:
        google = observed.google
        digest = None
        if is_complete and _was_quiet(observed, summary):
            digest = observed.digest
        cursor = replace(google.cursor, quiet_digest=digest)
        is_full = google.listing.full
        if is_complete:
            cursor = replace(cursor, sync_token=google.next_sync_token)
        elif is_full:
            cursor = replace(cursor, sync_token=None)
        if is_complete and is_full:
            cursor = replace(cursor, last_full_run=self._resources.now())
        return cursor

    async def _record_token(self, cursor: Cursor, token: str, clients: Clients) -> None:
        if token != cursor.sync_token:
            moved = replace(cursor, sync_token=token)
            await clients.store.save_cursor(moved, self._resources.now())

    async def _record_hold(
        self,
        before: Hold | None,
        clients: Clients,
        summary: RunSummary,
    ) -> None:
        """Remember what is held back, for an operator to release; the audit gets a line when it is news."""
        held = summary.held
        store = clients.store
        if held is None:
            if before is not None:
                await store.end_hold(summary.kuerzel)
            return
        GUARDS.labels(f"calendar_{held.reason}").inc()
        if _is_recorded(before, held):
            return
        now = self._resources.now()
        await store.save_hold(_hold_of(summary.kuerzel, held, now))
        if before is None or not _is_same_hold(before, held):
            line = _held_line(summary.kuerzel, held, clients.trace_id)
            await store.append_audit([line], now)


def _was_quiet(observed: Observed, summary: RunSummary) -> bool:
    return observed.google.is_unchanged and summary.result == "no_change"


def _is_recorded(before: Hold | None, held: HoldDeletions) -> bool:
    """Whether that is what an operator can see already, and has not released."""
    if before is None or before.released_at is not None:
        return False
    return _is_same_hold(before, held) and _is_same_list(before, held)


def _hold_of(kuerzel: str, held: HoldDeletions, now: datetime) -> Hold:
    return Hold(
        employee_kuerzel=kuerzel,
        reason=held.reason,
        number=held.deletions,
        live_pairs=held.live_pairs,
        held_since=now,
        sync_ids=held.sync_ids,
    )


def _held_line(kuerzel: str, held: HoldDeletions, trace_id: str | None) -> AuditLine:
    return AuditLine(
        employee_kuerzel=kuerzel,
        side="none",
        action="held",
        reason=f"{held.reason}: {held.deletions} of {held.live_pairs}",
        trace_id=trace_id,
    )


async def _make_plan(observed: Observed, confirmed: Confirmations) -> list[Action]:
    return await asyncio.to_thread(
        make_plan,
        observed.settings,
        observed.termine,
        observed.google.listing,
        observed.pairs,
        confirmed,
        observed.past,
    )


def _new_questions(actions: Sequence[Action], asked: Set[Action]) -> list[Action]:
    new: list[Action] = []
    for item in actions:
        if isinstance(item, QUESTIONS) and item not in asked:
            new.append(item)
    return new


def _without_questions(actions: Sequence[Action]) -> list[Action]:
    return [item for item in actions if not isinstance(item, QUESTIONS)]


def _is_same_hold(before: Hold, held: HoldDeletions) -> bool:
    return before.reason == held.reason and before.number == held.deletions


def _is_same_list(before: Hold, held: HoldDeletions) -> bool:
    return set(before.sync_ids) == set(held.sync_ids)


def _result(summary: RunSummary) -> Result:
    if summary.held is not None:
        return "held"
    if summary.errors or summary.unreadable:
        return "failed"
    if summary.counts:
        return "changed"
    return "no_change"
