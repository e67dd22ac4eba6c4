"""Queue calendar_sync_employee: sync one employee's calendar between Advoware and Google."""

from typing import Any

from motia import FlowContext, queue

from services.core.errors import Paused
from services.core.operation.pause import run_job
from steps.advoware_cal_sync.calendar_sync_utils import (
    TOPIC_EMPLOYEE,
    EmployeeEvent,
    fail,
    parse_employee_event,
    take_up,
)

config = {
    "name": "Calendar Sync Event",
    "description": "Syncs the calendar of one employee",
    "flows": ["advoware_cal_sync"],
    "triggers": [queue(TOPIC_EMPLOYEE)],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Sync the employee; a calendar that is being synced is looked at again by the run that is at work.

    A failure of any kind is logged and remembered, not raised: the cron comes again in 15 minutes, and no one else's
    calendar waits for it. Only if it cannot be remembered that the texts are to be hidden does the queue try again.
    """
    event = parse_employee_event(input_data)
    await run_job(
        TOPIC_EMPLOYEE,
        input_data,
        lambda: _sync(event, ctx),
        ctx,
        employee=event.kuerzel,
    )


async def _sync(event: EmployeeEvent, ctx: FlowContext) -> None:
    try:
        await take_up(event, ctx)
    except Paused:
        raise
    except Exception as error:  # noqa: BLE001 - no record and no defect ends more than this employee's run
        await fail(event, error, ctx)
