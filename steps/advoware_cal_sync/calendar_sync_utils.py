"""What the calendar's steps share: topics, who is to be synced, and the answers of the manual start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictBool, StrictStr, ValidationError

from services.access import AccessDenied, admit_tool
from services.calendar_sync.run import CalendarSync
from services.errors import ConfigurationError, ForeignSystemError, InvalidInput
from services.logs import log
from services.proxy import describe
from services.queue import Enqueue, NotEnqueued, enqueue_all
from services.resources import Resources, current_resources
from services.webhooks import forget_waiting, mark_waiting

TOPIC_ALL = "calendar_sync_all"
TOPIC_EMPLOYEE = "calendar_sync_employee"
ALL = "ALL"
ENQUEUE_SECONDS = 20.0
#: While an employee's job waits the cron enqueues no second one; a lost job is replaced after this time.
WAITING_MARK_SECONDS = 30 * 60

Answer = tuple[int, dict[str, Any]]


class EmployeeEvent(BaseModel):
    """What the queue delivers. ``full_content`` False: Google shows blocked time only."""

    model_config = ConfigDict(frozen=True)

    kuerzel: StrictStr
    full_content: StrictBool = True


class StartRequest(BaseModel):
    """The body of the manual start, both fields optional."""

    model_config = ConfigDict(frozen=True)

    kuerzel: StrictStr = ALL
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


async def enqueue_employees(enqueue: Enqueue, kuerzel: Iterable[str], *, full_content: bool) -> int:
    """Enqueue a sync for each employee who does not wait for one already; returns how many.

    Raises:
        Unavailable: Redis or the queue is down.
    """
    resources = current_resources()
    marks = {_mark(name, full_content=full_content): name for name in kuerzel}
    new = await mark_waiting(resources, TOPIC_EMPLOYEE, list(marks), WAITING_MARK_SECONDS)
    events = ({"kuerzel": marks[mark], "full_content": full_content} for mark in new)
    try:
        await enqueue_all(enqueue, TOPIC_EMPLOYEE, events, timeout_seconds=ENQUEUE_SECONDS)
    except NotEnqueued as error:
        await forget_waiting(resources, TOPIC_EMPLOYEE, *new[error.confirmed :])
        raise
    return len(new)


async def take_up(event: EmployeeEvent) -> None:
    """Note that an employee's job does not wait any more."""
    mark = _mark(event.kuerzel, full_content=event.full_content)
    await forget_waiting(current_resources(), TOPIC_EMPLOYEE, mark)


def _mark(kuerzel: str, *, full_content: bool) -> str:
    """What a waiting job is known by: one that hides the texts is another one."""
    return kuerzel if full_content else f"{kuerzel}:anonymised"


async def start(request: Any, context: Any) -> Answer:
    """Start the sync of one employee or of all by hand. Returns status and body.

    200 ``{"status": "triggered", "kuerzel", "message"}``; 400 for an unusable body; 401 without API key; 404 for an
    unknown Kürzel; 409 ``{"status": "locked", ...}`` if that employee is being synced; 502 or 504 if Advoware does not
    answer; 503 if Redis or the queue is down.
    """
    resources = current_resources()
    try:
        await admit_tool(request, resources, context)
        wish = StartRequest.model_validate({} if request.body is None else request.body)
        return await _start(wish, resources, context)
    except ValidationError as error:
        return 400, {"error": "Invalid request", "details": _fields(error)}
    except NotEnqueued as error:
        return 503, {"error": "Queue unavailable", "details": str(error)}
    except AccessDenied as error:  # logged by the door
        return describe(error)
    except (ConfigurationError, ForeignSystemError) as error:
        status, body = describe(error)
        log(context, "warning", "calendar.start_refused", status=status, error=type(error).__name__)
        if isinstance(error, ForeignSystemError) and error.system == "Redis":
            return 503, {"error": "Redis unavailable", "details": str(error)}
        return status, body


async def _start(wish: StartRequest, resources: Resources, context: Any) -> Answer:
    if wish.kuerzel.strip().upper() == ALL:
        payload: dict[str, Any] = {"full_content": wish.full_content}
        await enqueue_all(context.enqueue, TOPIC_ALL, [payload], timeout_seconds=ENQUEUE_SECONDS)
        message = "The sync of all employees was enqueued."
        return 200, {"status": "triggered", "kuerzel": ALL, "message": message}
    sync = CalendarSync(context, resources=resources)
    kuerzel = _known(wish.kuerzel, await sync.employees())
    if kuerzel is None:
        return 404, {"error": "Not found", "details": "no active employee has this Kürzel"}
    if await sync.is_running(kuerzel):
        message = "This calendar is being synced; try again in a moment."
        return 409, {"status": "locked", "kuerzel": kuerzel, "message": message}
    payload = {"kuerzel": kuerzel, "full_content": wish.full_content}
    await enqueue_all(context.enqueue, TOPIC_EMPLOYEE, [payload], timeout_seconds=ENQUEUE_SECONDS)
    return 200, {"status": "triggered", "kuerzel": kuerzel, "message": f"The sync of {kuerzel} was enqueued."}


def _known(wanted: str, employees: Iterable[str]) -> str | None:
    """The employee as Advoware writes him; upper and lower case are one."""
    return next((name for name in employees if name.casefold() == wanted.strip().casefold()), None)


def _fields(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()]
