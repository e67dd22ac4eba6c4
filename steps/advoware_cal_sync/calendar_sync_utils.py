"""What the calendar's steps share: topics, who is to be synced, and the answers of the manual start."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr, ValidationError

from services.api.access import admit_tool, log_use
from services.api.errors import (
    AccessDenied,
    Answer,
    AnswerWithHeaders,
    answer_headers,
    error_answer,
    gateway_answer,
)
from services.api.models import StartRequest
from services.calendar_sync import waiting
from services.calendar_sync.run import CalendarSync
from services.calendar_sync.store import CalendarStore, RunResult
from services.calendar_sync.waiting import ENQUEUE_SECONDS as ENQUEUE_SECONDS
from services.calendar_sync.waiting import TOPIC_EMPLOYEE as TOPIC_EMPLOYEE
from services.calendar_sync.waiting import pending_name
from services.calendar_sync.work import RunSummary
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    failure_code,
)
from services.core.jobs.look_again import (
    HIDE,
    LEFT_BEHIND_SECONDS,
    Notes,
    calendar,
    in_turn,
)
from services.core.jobs.pending import claim_pending
from services.core.jobs.queue import Enqueue, NotEnqueued, enqueue_all
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.shadow.jobs import note_employee

TOPIC_ALL = "calendar_sync_all"
ALL = "ALL"
#: More employees than any firm has.
MAX_LEFT_BEHIND = 1000


class EmployeeEvent(BaseModel):
    """What the queue delivers. ``full_content`` False: Google shows blocked time only."""

    model_config = ConfigDict(frozen=True)

    kuerzel: StrictStr
    full_content: StrictBool = True


def parse_employee_event(data: Any) -> EmployeeEvent:
    """The employee in a queue's payload.

    Raises:
        InvalidInput: the payload has not the agreed shape.
    """
    try:
        return EmployeeEvent.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(f"unusable queue event: {_fields(error)}") from None


async def enqueue_employees(
    enqueue: Enqueue,
    kuerzel: Iterable[str],
    *,
    full_content: bool,
) -> int:
    """Enqueue a sync for each employee who does not wait for one already; returns how many.

    Raises:
        Unavailable: Redis or the queue is down.
    """
    return await waiting.enqueue_employees(
        current_resources(),
        enqueue,
        kuerzel,
        full_content=full_content,
    )


async def left_behind() -> list[str]:
    """The employees whose calendar a person has asked to be looked at again, and a crash has kept it from happening.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    resources = current_resources()
    before = resources.clock() - timedelta(seconds=LEFT_BEHIND_SECONDS)
    return await Notes(await resources.database()).left_behind(
        "calendar",
        before,
        MAX_LEFT_BEHIND,
    )


async def forget_old_texts(context: Any) -> None:
    """Forget what was overwritten or refused too long ago, if PostgreSQL answers; the next cron comes again."""
    try:
        resources = current_resources()
        store = CalendarStore(await resources.database())
        await store.forget_overwritten(resources.clock())
        await store.forget_old_refused(resources.clock())
    except Exception as error:  # noqa: BLE001 - no employee waits for this
        log(
            context,
            "warning",
            "calendar.old_texts_not_forgotten",
            error=failure_code(error),
        )


async def take_up(event: EmployeeEvent, context: Any) -> None:
    """Sync the employee of an event, and again if others have asked for it meanwhile.

    How each run has ended is remembered for the operator. If another run is at work, it looks again: that is no run.

    Raises:
        ForeignSystemError, ConfigurationError: a system cannot be used at all.
        Exception: a defect of this program, or a record that was not foreseen; see `fail`.
    """
    resources = current_resources()
    await claim_pending(
        resources,
        TOPIC_EMPLOYEE,
        pending_name(event.kuerzel, full_content=event.full_content),
    )
    if resources.settings.service.read_only:
        await note_employee(event.kuerzel, context, full_content=event.full_content)
        return
    sync, subject = CalendarSync(context, resources=resources), calendar(event.kuerzel)

    async def run(asked: frozenset[str]) -> RunSummary:
        summary = await sync.sync_employee(
            event.kuerzel,
            full_content=HIDE not in asked,
        )
        code = _code_of(summary)
        if summary.result == "failed":
            log(context, "error", "calendar.failed", kuerzel=event.kuerzel, error=code)
        await _note_run(event.kuerzel, summary.result, code, context)
        return summary

    if await in_turn(resources, subject, _requested(event), run) is None:
        log(context, "info", "calendar.busy", kuerzel=event.kuerzel)


async def fail(event: EmployeeEvent, error: Exception, context: Any) -> None:
    """Log and remember that an employee's run has failed, whatever the reason: it concerns no one else.

    Raises:
        Unavailable: it cannot be remembered that the texts are to be hidden, so the queue has to try again.
    """
    code, is_defect = (
        failure_code(error),
        not isinstance(error, BitByLawError),
    )
    trace = (
        "".join(traceback.format_tb(error.__traceback__)[-3:]) if is_defect else None
    )
    log(
        context,
        "error",
        "calendar.failed",
        kuerzel=event.kuerzel,
        error=code,
        trace=trace,
    )
    await _note_run(event.kuerzel, "failed", code, context)
    await _keep_request(event)


def _code_of(summary: RunSummary) -> str | None:
    """Why a run that came to its end is not well."""
    if summary.held is not None:
        return summary.held.reason
    return next(iter([*summary.errors, *summary.unreadable]), None)


async def _note_run(
    kuerzel: str,
    result: RunResult,
    code: str | None,
    context: Any,
) -> None:
    """Remember how a run has ended, if PostgreSQL takes it: the log has it in any case."""
    try:
        resources = current_resources()
        await CalendarStore(await resources.database()).note_run(
            kuerzel,
            result,
            code,
            resources.clock(),
        )
    except Exception as error:  # noqa: BLE001 - what cannot be remembered must not undo what was done
        log(
            context,
            "warning",
            "calendar.run_not_noted",
            kuerzel=kuerzel,
            result=result,
            error=failure_code(error),
        )


async def _keep_request(event: EmployeeEvent) -> None:
    """After a run that failed: let the next one, which the cron starts, hide the texts if this one was to.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    if event.full_content:
        return
    resources = current_resources()
    await Notes(await resources.database()).leave(
        calendar(event.kuerzel),
        _requested(event),
        resources.clock(),
    )


def _requested(event: EmployeeEvent) -> frozenset[str]:
    if event.full_content:
        return frozenset()
    return frozenset({HIDE})


async def start(request: Any, context: Any) -> AnswerWithHeaders:
    """Start the sync of one employee or of all by hand. Returns status, body and headers.

    200 ``{"status": "triggered", "kuerzel", "message"}``; 400 for an unusable body; 401 without API key, 403 if it has
    no right to this, 429 after many wrong keys; 404 for an unknown Kürzel; 409 ``{"status": "locked", ...}`` if that
    employee is being synced; 502 or 504 if Advoware does not answer; 503 if PostgreSQL, Redis or the queue is
    down. What was refused before is sent again.
    """
    resources = current_resources()
    try:
        caller = await admit_tool(request, resources, context, needs="calendar")
    except AccessDenied as error:  # it was logged where it was raised
        return *error_answer(error), answer_headers(error)
    status, body = await _answer(request.body, resources, context)
    if status == 200:
        log_use(context, caller, "calendar")
    return status, body, {}


async def _answer(body: Any, resources: Resources, context: Any) -> Answer:
    try:
        requested = StartRequest.model_validate({} if body is None else body)
        return await _start(requested, resources, context)
    except ValidationError as error:
        return 400, {"error": "Invalid request", "details": _fields(error)}
    except NotEnqueued as error:
        return 503, {"error": "Queue unavailable", "details": str(error)}
    except (ConfigurationError, ForeignSystemError) as error:
        status, problem = gateway_answer(error)
        log(
            context,
            "warning",
            "calendar.start_refused",
            status=status,
            error=type(error).__name__,
        )
        own = {"Redis", "PostgreSQL"}
        if isinstance(error, ForeignSystemError) and error.system in own:
            return 503, {"error": f"{error.system} unavailable", "details": str(error)}
        return status, problem


async def _start(requested: StartRequest, resources: Resources, context: Any) -> Answer:
    store = CalendarStore(await resources.database())
    if requested.kuerzel.strip().upper() == ALL:
        await store.forget_refused()
        payload: dict[str, Any] = {"full_content": requested.full_content}
        await enqueue_all(
            context.enqueue,
            TOPIC_ALL,
            [payload],
            timeout_seconds=ENQUEUE_SECONDS,
        )
        message = "The sync of all employees was enqueued."
        return 200, {"status": "triggered", "kuerzel": ALL, "message": message}
    sync = CalendarSync(context, resources=resources)
    kuerzel = _known(requested.kuerzel, await sync.employees())
    if kuerzel is None:
        return 404, {
            "error": "Not found",
            "details": "no active employee has this Kürzel",
        }
    if await sync.is_running(kuerzel):
        message = "This calendar is being synced; try again in a moment."
        return 409, {"status": "locked", "kuerzel": kuerzel, "message": message}
    await store.forget_refused([kuerzel])
    payload = {"kuerzel": kuerzel, "full_content": requested.full_content}
    await enqueue_all(
        context.enqueue,
        TOPIC_EMPLOYEE,
        [payload],
        timeout_seconds=ENQUEUE_SECONDS,
    )
    return 200, {
        "status": "triggered",
        "kuerzel": kuerzel,
        "message": f"The sync of {kuerzel} was enqueued.",
    }


def _known(wanted: str, employees: Iterable[str]) -> str | None:
    """The employee as Advoware writes him; upper and lower case are one."""
    return next(
        (name for name in employees if name.casefold() == wanted.strip().casefold()),
        None,
    )


def _fields(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
        for item in error.errors()
    ]
