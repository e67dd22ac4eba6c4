"""Applies the actions of one run: what may go on at once together, the rest one after the other.

One appointment that fails does not stop the others. What is written to Google needs no order among different
appointments, so it goes on together, as fast as the rate limit lets it; what is written to Advoware goes one by one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Any, TypeVar

from services.advoware_service import AdvowareService
from services.calendar_sync.apply import (
    REFUSING,
    Applier,
    Clients,
    Saved,
    action_name,
    one_event,
    one_termin,
)
from services.calendar_sync.model import (
    QUESTIONS,
    Action,
    DeleteAdvoware,
    DeleteGoogle,
    GoogleEvent,
    HideGoogle,
    HoldDeletions,
    InsertGoogle,
    NotPlanned,
    Pair,
    Termin,
    UpdateAdvoware,
    UpdateGoogle,
)
from services.calendar_sync.plan import make_plan
from services.calendar_sync.provider import SYSTEM, CalendarProvider
from services.calendar_sync.store import RunResult
from services.calendar_sync.view import (
    Confirmations,
    GoogleListing,
    PlanSettings,
)
from services.core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    EntityBusy,
    NotFound,
    RateLimited,
    RefusedBefore,
    Unavailable,
    failure_code,
)
from services.core.log import log

#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3
#: So many writes go on at once.
PARALLEL = 4
#: So many new pairs are remembered in one transaction.
BATCH = 50

Item = TypeVar("Item")
Result = TypeVar("Result")

#: With these the rest would fail as well: they end the run.
_ENDING = (RateLimited, AuthenticationFailed, EntityBusy, ConfigurationError)
_TOGETHER = (UpdateGoogle, HideGoogle)
_CHANGES = (UpdateAdvoware, DeleteAdvoware)
#: If one pair needs any of these after a conflict, the next run asks, or holds it for all to see.
_LEFT_TO_NEXT_RUN = (HoldDeletions, NotPlanned, *QUESTIONS)


@dataclass
class RunSummary:
    """What a run has led to.

    Attributes:
        kuerzel: the employee.
        result: ``held``: deletions wait for an operator; ``failed``: at least one action failed, or a record could not
            be read; else as it says.
        counts: how often each action was applied, such as ``google_created``.
        errors: one code per failed action, without texts of appointments.
        unreadable: why records of either side could not be read at all; nothing is done about them.
        held: why deletions are held.
    """

    kuerzel: str
    result: RunResult = "no_change"
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    held: HoldDeletions | None = None

    def note_error(
        self,
        context: Any,
        event: str,
        error: Exception | str,
        **fields: str,
    ) -> str:
        """Log and count what concerns one appointment only; returns its code."""
        code = error if isinstance(error, str) else failure_code(error)
        self.errors.append(code)
        log(context, "error", event, kuerzel=self.kuerzel, error=code, **fields)
        return code


async def read_termin(advoware: AdvowareService, fr_nr: int) -> Termin | None:
    """The Termin as it is now; None if Advoware knows none."""
    try:
        return one_termin(await advoware.get_termin(fr_nr), fr_nr)
    except NotFound:
        return None


async def read_event(
    google: CalendarProvider,
    calendar_id: str,
    event_id: str,
) -> GoogleEvent | None:
    """The event as it is now; None if Google knows none.

    Raises:
        NotFound: the whole calendar is lost; its events were not deleted by a person.
    """
    try:
        return one_event(await google.get_event(calendar_id, event_id), event_id)
    except NotFound:
        await google.get_calendar(calendar_id)
        return None


class Work:
    """Applies the actions of one employee's plan, which was made from ``listing``.

    ``context`` is the step's FlowContext or None.
    """

    def __init__(
        self,
        context: Any,
        settings: PlanSettings,
        clients: Clients,
        summary: RunSummary,
        listing: GoogleListing,
    ) -> None:
        self._context = context
        self._listing = listing
        self._settings = settings
        self._clients = clients
        self._summary = summary
        self._applier = Applier(settings, clients)
        self._unavailable = 0
        self._planned_from_rows = 0

    async def apply_all(self, actions: Sequence[Action]) -> bool:
        """Apply the actions. Returns whether all were, but for those that the rows alone bring back in the next run.

        Raises:
            ForeignSystemError, ConfigurationError: a system cannot be used, so that the rest would fail as well.
        """
        changes = [item for item in actions if isinstance(item, _CHANGES)]
        self._applier.expect_changes(len(changes))
        for kind, group in groupby(actions, key=_kind):
            if kind == "insert":
                await self._insert_all(group)
            elif kind == "together":
                await self._apply_together(group)
            else:
                await self._apply_each(group)
        return len(self._summary.errors) == self._planned_from_rows

    # -- one after the other --------------------------------------------------------------------------------------

    async def _apply_each(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, HoldDeletions):
                self._summary.held = action
            elif isinstance(action, NotPlanned):
                self._summary.note_error(
                    self._context,
                    "calendar.not_planned",
                    action.code,
                )
            else:
                await self._settle(action, await self._try(action))

    async def _try(self, action: Action) -> Exception | None:
        """Apply an action; if its event or Termin has changed meanwhile, read both again and decide again, once."""
        try:
            await self._apply_or_decide_again(action)
        except Exception as error:  # noqa: BLE001 - whatever one appointment is like, the others go on
            return error
        return None

    async def _apply_or_decide_again(self, action: Action) -> None:
        try:
            await self._applier.apply(action)
        except Conflict as error:
            await self._decide_again(action, error)

    async def _decide_again(self, action: Action, error: Conflict) -> None:
        pair = getattr(action, "pair", None)
        if not isinstance(pair, Pair) or not _may_be_read_again(pair, error):
            raise error
        decided = await self._plan_pair(pair)
        if self._summary.held is not None:
            decided = _without_holds(decided)
        if _is_left_to_next_run(decided):
            raise error
        for action_again in decided:
            await self._applier.apply(action_again)

    async def _plan_pair(self, pair: Pair) -> list[Action]:
        """The actions for one pair as it is now."""
        stored = await self._clients.store.find_pair(pair.sync_id)
        if stored is None or stored.pair.deleted:
            return []
        read = await self._read_sides(stored.pair)
        occurrences = self._listed_occurrences(stored.pair.google_event_id)
        listed = [*filter(None, read.events.values()), *occurrences]
        return make_plan(
            self._settings_for_one(),
            list(filter(None, read.termine.values())),
            GoogleListing(listed, self._listing.full),
            [stored.pair],
            read,
        )

    async def _read_sides(self, pair: Pair) -> Confirmations:
        """Both sides of a pair, read directly."""
        termine: dict[int, Termin | None] = {}
        events: dict[str, GoogleEvent | None] = {}
        fr_nr = pair.advoware_frnr
        if fr_nr:
            termine[fr_nr] = await read_termin(self._clients.advoware, fr_nr)
        event_id = pair.google_event_id
        if event_id:
            events[event_id] = await read_event(
                self._clients.google,
                self._settings.calendar_id,
                event_id,
            )
        return Confirmations(termine, events)

    def _listed_occurrences(self, event_id: str | None) -> list[GoogleEvent]:
        """Changed occurrences of a series, which reading the series does not show."""
        if not event_id:
            return []
        events = self._listing.events
        return [event for event in events if event.recurring_event_id == event_id]

    def _settings_for_one(self) -> PlanSettings:
        """One pair alone never looks dangerous: while deletions are held, none is decided about again."""
        if self._summary.held is None:
            return self._settings
        return replace(self._settings, max_deletions=0, released=frozenset())

    async def _settle(self, action: Action, error: Exception | None) -> None:
        """Count an action that was tried; what failed is remembered, or ends the run."""
        if error is None:
            self._summary.counts[action_name(action)] += 1
            self._unavailable = 0
            return
        if isinstance(error, _ENDING):
            raise error
        code = self._summary.note_error(
            self._context,
            "calendar.action_failed",
            error,
            action=action_name(action),
        )
        if _is_planned_from_row(action, error):
            self._planned_from_rows += 1
        self._count_unavailable(error)
        if self._unavailable >= MAX_UNAVAILABLE:
            raise error
        if isinstance(error, RefusedBefore):
            return  # its row says what it was refused with
        await self._applier.rows.fail(action, code)

    def _count_unavailable(self, error: Exception) -> None:
        """Count those in a row."""
        if not isinstance(error, Unavailable):
            self._unavailable = 0
        else:
            self._unavailable += 1

    # -- together -------------------------------------------------------------------------------------------------

    async def _apply_together(self, actions: Iterable[Action]) -> None:
        for batch in _batches(actions):
            for action, error in await _in_waves(batch, self._try):
                await self._settle(action, error)

    async def _insert_all(self, actions: Iterable[Action]) -> None:
        inserts = (item for item in actions if isinstance(item, InsertGoogle))
        for batch in _batches(inserts):
            await self._insert(batch)

    async def _insert(self, actions: Sequence[InsertGoogle]) -> None:
        """Make new events, and remember them together. Those of a run that ends here are found by their ids."""
        results = await _in_waves(actions, self._try_insert)
        rows = [row for _, row in results if not isinstance(row, Exception)]
        are_remembered = await self._remember_all(rows)
        for action, row in results:
            if isinstance(row, Exception):
                await self._settle(action, row)
            elif are_remembered:
                await self._settle(action, None)
            else:
                await self._settle(action, await self._remember(row))

    async def _try_insert(self, action: InsertGoogle) -> Saved | Exception:
        try:
            return await self._applier.insert(action)
        except Exception as error:  # noqa: BLE001 - whatever one appointment is like, the others go on
            return error

    async def _remember_all(self, rows: Sequence[Saved]) -> bool:
        """Whether all of them could be remembered at once."""
        try:
            await self._applier.rows.save_all(rows)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one that cannot be remembered does not stop the others
            return False
        return True

    async def _remember(self, row: Saved) -> Exception | None:
        try:
            await self._applier.rows.save(*row)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one appointment is like, the others go on
            return error
        return None


def _is_planned_from_row(action: Action, error: Exception) -> bool:
    """Whether Google refuses again to delete an event: its row knows all that this is planned from."""
    if not isinstance(action, DeleteGoogle) or action.pair.error is None:
        return False
    return isinstance(error, REFUSING)


def _may_be_read_again(pair: Pair, error: Conflict) -> bool:
    return error.system in {SYSTEM, "Advoware"} and _has_both_sides(pair)


def _has_both_sides(pair: Pair) -> bool:
    """Whether the row knows both sides; one that waits for its other side does not show enough by itself."""
    return pair.advoware_frnr is not None and pair.google_event_id is not None


def _is_left_to_next_run(actions: Iterable[Action]) -> bool:
    return any(isinstance(item, _LEFT_TO_NEXT_RUN) for item in actions)


async def _in_waves(
    actions: Sequence[Any],
    attempt: Callable[[Any], Awaitable[Result]],
) -> list[tuple[Any, Result]]:
    """What each attempt has led to. Several go on at once, but one at a time as long as they fail.

    A system that is away is not asked for all of them: after `MAX_UNAVAILABLE` failures the rest is not tried.
    """
    results: list[tuple[Any, Result]] = []
    waiting = list(actions)
    failures = 0
    size = 1
    while waiting and failures < MAX_UNAVAILABLE:
        wave = waiting[:size]
        waiting = waiting[size:]
        outcomes = await asyncio.gather(*map(attempt, wave))
        results += zip(wave, outcomes, strict=True)
        errors = [item for item in outcomes if isinstance(item, Exception)]
        if _must_end_run(errors):
            break
        if _all_unavailable(outcomes):
            failures += len(outcomes)
        else:
            failures = 0
        size = 1 if errors else PARALLEL
    return results


def _must_end_run(errors: Iterable[Exception]) -> bool:
    return any(isinstance(error, _ENDING) for error in errors)


def _all_unavailable(outcomes: Iterable[object]) -> bool:
    return all(isinstance(outcome, Unavailable) for outcome in outcomes)


def _without_holds(actions: Iterable[Action]) -> list[Action]:
    """That deletions are held was reported already."""
    return [item for item in actions if not isinstance(item, HoldDeletions)]


def _kind(action: Action) -> str:
    if isinstance(action, InsertGoogle):
        return "insert"
    if isinstance(action, _TOGETHER):
        return "together"
    return "single"


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    batch = list(islice(iterator, BATCH))
    while batch:
        yield batch
        batch = list(islice(iterator, BATCH))
