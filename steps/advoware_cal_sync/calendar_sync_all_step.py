"""Queue calendar_sync_all: one calendar_sync_employee for each employee."""

from typing import Any

from motia import FlowContext, queue

from services.calendar_sync.run import CalendarSync
from services.core.log import log
from services.core.operation.pause import run_job
from steps.advoware_cal_sync.calendar_sync_utils import (
    TOPIC_ALL,
    TOPIC_EMPLOYEE,
    enqueue_employees,
    forget_old_texts,
    left_behind,
)

config = {
    "name": "Calendar Sync All",
    "description": "Enqueues the calendar sync of every employee, those first who wait longest",
    "flows": ["advoware_cal_sync"],
    "triggers": [queue(TOPIC_ALL)],
    "enqueues": [TOPIC_EMPLOYEE],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Enqueue the employees; what is unavailable is raised, so that the queue tries again."""
    await run_job(TOPIC_ALL, input_data, lambda: _enqueue(input_data, ctx), ctx)


async def _enqueue(input_data: dict[str, Any], ctx: FlowContext) -> None:
    full_content = input_data.get("full_content", True) is not False
    employees = await CalendarSync(ctx).employees()
    employees = list(dict.fromkeys([*employees, *await left_behind()]))
    enqueued = await enqueue_employees(
        ctx.enqueue,
        employees,
        full_content=full_content,
    )
    await forget_old_texts(ctx)
    log(ctx, "info", "calendar.enqueued", employees=len(employees), enqueued=enqueued)
