"""Repairs by hand: the same functions for the board and the command line.

A repair is planned first (`plan`: what would happen, with count and ids) and then applied (`apply`). What was named in
the plan is what is acted on. Each one may be repeated: the sync finds nothing to do, a message that is gone stays gone.
Each applied repair leaves a row in the audit, whatever became of it. Beside them: the preview of a record's sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from services.calendar_sync.store import CalendarStore
from services.calendar_sync.waiting import enqueue_employees
from services.core.errors import InvalidInput, NotFound, failure_code
from services.core.log import log
from services.core.operation.operator_actions import ActionResult
from services.operate.audit import Operator, write_action
from services.operate.beteiligte import STATUSES, ids_with_status, is_entity_id
from services.operate.calendars import STATES as CALENDAR_STATES
from services.operate.calendars import employees, find_employee, held_appointments
from services.operate.parts import Part, part
from services.operate.queues import dead_letters, topic_stats
from services.operate.sources import Sources

Kind = Literal[
    "sync",
    "retry",
    "sync_calendar",
    "sync_calendars",
    "release",
    "redrive",
    "discard",
]
KINDS: tuple[Kind, ...] = (
    "sync",
    "retry",
    "sync_calendar",
    "sync_calendars",
    "release",
    "redrive",
    "discard",
)
#: So many records are retried at once; EspoCRM shows as many on a page.
MAX_RETRIED = 200
#: So many dead letters are redriven or discarded at once; each is named before. It can be repeated.
MAX_MESSAGES = 200
ENQUEUE_SECONDS = 7.0
PREVIEW_SECONDS = 20.0


@dataclass(frozen=True)
class Repair:
    """What would happen: ``count`` of ``target`` are acted on, and ``ids`` names what that is.

    ``more`` are left for the next time, because no more are named at once.
    """

    kind: Kind
    target: str
    ids: list[str] = field(default_factory=list)
    count: int = 0
    more: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a repair."""

    kind: Kind
    target: str
    result: ActionResult
    count: int
    error: str | None = None


# -- plans ----------------------------------------------------------------------------------------------------------


async def plan(
    sources: Sources,
    kind: str,
    target: str,
    message_id: str | None = None,
) -> Repair:
    """What the repair of this kind would act on; nothing is changed.

    ``target`` is an id (sync), a status (retry), a Kürzel (sync_calendar, release), a calendar's state
    (sync_calendars) or a topic (redrive, discard).

    Raises:
        InvalidInput: kind or target is none. NotFound: there is no such employee or message.
        ForeignSystemError: what has to be asked does not answer.
    """
    planners: dict[str, Callable[[Sources, str], Awaitable[Repair]]] = {
        "sync": _plan_sync,
        "retry": _plan_retry,
        "sync_calendar": _plan_calendar,
        "sync_calendars": _plan_calendars,
        "release": _plan_release,
    }
    if kind in planners:
        return await planners[kind](sources, target)
    if kind == "redrive":
        return await _plan_messages(sources, "redrive", target, message_id)
    if kind == "discard":
        return await _plan_messages(sources, "discard", target, message_id)
    raise InvalidInput("no such repair")


async def _plan_sync(_sources: Sources, target: str) -> Repair:
    if not is_entity_id(target):
        raise InvalidInput("not an id")
    return Repair("sync", target, [target], 1)


async def _plan_retry(sources: Sources, target: str) -> Repair:
    if target not in STATUSES:
        raise InvalidInput("no such status")
    ids, total = await ids_with_status(sources, target, MAX_RETRIED)
    count = min(total, len(ids))
    return Repair("retry", target, ids, count)


async def _plan_calendar(sources: Sources, target: str) -> Repair:
    employee = await find_employee(sources, target)
    if employee is None:
        raise NotFound("PostgreSQL", "no such employee")
    return Repair("sync_calendar", target, [target], 1)


async def _plan_calendars(sources: Sources, target: str) -> Repair:
    if target not in CALENDAR_STATES:
        raise InvalidInput("no such state")
    in_state = []
    for employee in await employees(sources):
        if employee.state == target:
            in_state.append(employee.kuerzel)
    chosen = in_state[:MAX_RETRIED]
    return Repair(
        kind="sync_calendars",
        target=target,
        ids=chosen,
        count=len(chosen),
        more=len(in_state) - len(chosen),
    )


async def _plan_release(sources: Sources, target: str) -> Repair:
    store = CalendarStore(await sources.resources.database())
    holds = [hold for hold in await store.holds(target) if hold.released_at is None]
    if not holds:
        return Repair("release", target)
    count = sum(hold.number for hold in holds)
    appointments = await held_appointments(sources, target)
    names = [appointment.name for appointment in appointments]
    # A hold of a version that kept no list has none.
    ids = names[:MAX_MESSAGES] or [target]
    return Repair("release", target, ids, count)


async def _plan_messages(
    sources: Sources,
    kind: Literal["redrive", "discard"],
    topic: str,
    message_id: str | None,
) -> Repair:
    if message_id == "":  # of a script whose variable was not set; it does not mean all
        raise InvalidInput("no message has an empty id")
    if message_id is not None:
        return Repair(kind, topic, [message_id], 1)
    stats = await topic_stats(sources.engine, topic)
    letters = await dead_letters(sources.engine, topic, 0, MAX_MESSAGES)
    ids = [letter.message_id for letter in letters]
    dead = stats.dead or 0
    return Repair(
        kind=kind,
        target=topic,
        ids=ids,
        count=len(ids),
        more=max(0, dead - len(ids)),
    )


# -- applying -------------------------------------------------------------------------------------------------------


async def apply(sources: Sources, repair: Repair, operator: Operator) -> Outcome:
    """Do it, and write it into the audit. What fails, or is cancelled, is in the outcome and the audit as far as it was
    done.
    """
    appliers: dict[Kind, Callable[[Sources, Repair], AsyncIterator[int]]] = {
        "sync": _sync,
        "retry": _sync,
        "sync_calendar": _sync_calendar,
        "sync_calendars": _sync_calendars,
        "release": _release,
        "redrive": _redrive,
        "discard": _discard,
    }
    failed = partial(Outcome, repair.kind, repair.target, "failed")
    count = 0
    try:
        async for number in appliers[repair.kind](sources, repair):
            count += number
    except asyncio.CancelledError:
        await _conclude(sources, repair, failed(count, "interrupted"), operator)
        raise
    except Exception as error:  # noqa: BLE001 - however a repair fails, the operator and the audit learn of it
        outcome = failed(count, failure_code(error))
    else:
        result: ActionResult = "done" if count else "nothing_to_do"
        outcome = Outcome(repair.kind, repair.target, result, count)
    await _conclude(sources, repair, outcome, operator)
    return outcome


async def _conclude(
    sources: Sources,
    repair: Repair,
    outcome: Outcome,
    operator: Operator,
) -> None:
    sources.forget()
    await _audit(sources, repair, outcome, operator)


async def _audit(
    sources: Sources,
    repair: Repair,
    outcome: Outcome,
    operator: Operator,
) -> None:
    """Write the row; with PostgreSQL away the log has it."""
    log(
        None,
        "info",
        "operate.repaired",
        operator=operator.name,
        via=operator.via,
        action=repair.kind,
        target=repair.target,
        count=outcome.count,
        result=outcome.result,
    )
    try:
        await write_action(
            sources.resources,
            operator,
            action=repair.kind,
            target=repair.target,
            ids=repair.ids,
            count=outcome.count,
            result=outcome.result,
            error=outcome.error,
        )
    except Exception as error:  # noqa: BLE001 - the repair was done; the log line above says so
        log(None, "error", "operate.not_audited", error=failure_code(error))


# Each of these yields how many it has done since it yielded last.


async def _sync(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    for entity_id in repair.ids:
        if not is_entity_id(entity_id):
            raise InvalidInput("not an id")
    # Here, as in the others below: it brings the sync (9 MB), and the board seldom repairs.
    from services.api.record_actions import enqueue_sync_now

    new = await enqueue_sync_now(sources.resources, sources.engine.enqueue, repair.ids)
    yield len(new)


async def _sync_calendar(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    yield await _enqueue_employees(sources, [repair.target])


async def _sync_calendars(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    known = {employee.kuerzel for employee in await employees(sources)}
    still_known = [kuerzel for kuerzel in repair.ids if kuerzel in known]
    yield await _enqueue_employees(sources, still_known)


async def _enqueue_employees(sources: Sources, kuerzel: list[str]) -> int:
    store = CalendarStore(await sources.resources.database())
    await store.forget_refused(kuerzel)
    return await enqueue_employees(
        sources.resources,
        sources.engine.enqueue,
        kuerzel,
        full_content=True,
        timeout_seconds=ENQUEUE_SECONDS,
    )


async def _release(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    from services.calendar_sync.audit.decisions import CalendarDecisions

    held = await _plan_release(sources, repair.target)
    if not _are_shown(held.ids, repair.ids):
        return
    decisions = CalendarDecisions(sources.resources)
    report = await decisions.release_held(
        [repair.target],
        apply=True,
        at_most=repair.count,
    )
    is_released = any(change.done for change in report.changes)
    if is_released:
        yield repair.count


def _are_shown(held: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether the operator was shown exactly these appointments; a browser's ids are cut after 100 characters."""
    if len(held) != len(shown):
        return False
    pairs = zip(held, shown, strict=True)
    return all(name.startswith(beginning) for name, beginning in pairs)


def _redrive(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    return _on_messages(sources, "iii::queue::redrive_message", repair)


def _discard(sources: Sources, repair: Repair) -> AsyncIterator[int]:
    return _on_messages(sources, "iii::queue::discard_message", repair)


async def _on_messages(
    sources: Sources,
    function: str,
    repair: Repair,
) -> AsyncIterator[int]:
    """Act on the named messages only, one after the other; those that are gone count as nothing."""
    for message_id in repair.ids[:MAX_MESSAGES]:
        answer = await sources.engine.call(
            function,
            queue=repair.target,
            message_id=message_id,
        )
        yield _count(answer)


def _count(answer: Any) -> int:
    if not isinstance(answer, dict):
        return 0
    value = answer.get("redriven")
    if isinstance(value, int):
        return int(value)
    return 0


# -- preview --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlannedRecord:
    """A record that would be written: in which system, of which kind (German), and its fields (German labels)."""

    system: str
    title: str
    is_new: bool
    fields: list[str]


@dataclass(frozen=True)
class Preview:
    """What would happen; nothing was written. ``held`` and ``tasks`` are numbers: their texts may name people."""

    result: str
    records: list[PlannedRecord]
    held: int
    tasks: int


@dataclass(frozen=True)
class PreviewView:
    """The preview of one record."""

    entity_id: str
    preview: Part[Preview]


async def preview_view(sources: Sources, entity_id: str) -> PreviewView:
    """The preview of one record, or why there is none."""
    found = await part(preview(sources, entity_id), "preview", PREVIEW_SECONDS)
    return PreviewView(entity_id, found)


async def preview(sources: Sources, entity_id: str) -> Preview:
    """What the sync of this record would do.

    Raises:
        InvalidInput: it is no id. NotFound: EspoCRM has no such record.
        ForeignSystemError, ConfigurationError: a system does not answer.
    """
    if not is_entity_id(entity_id):
        raise InvalidInput("not an id")
    from services.api.record_actions import rehearsed_preview

    shown = await rehearsed_preview(sources.resources, entity_id)
    return Preview(
        result=shown["result"],
        records=[_planned_record(change) for change in shown["changes"]],
        held=len(shown["held"]),
        tasks=len(shown["tasks"]),
    )


def _planned_record(change: Mapping[str, Any]) -> PlannedRecord:
    return PlannedRecord(
        system=change["system"],
        title=change["title"],
        is_new=change["isNew"],
        fields=[line["label"] for line in change["fields"]],
    )
