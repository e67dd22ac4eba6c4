"""Queue calendar_sync_employee: sync one employee's calendar between Advoware and Google."""

from typing import Any

from motia import FlowContext, queue

from services.calendar_sync.run import CalendarSync
from services.errors import BitByLawError, ConfigurationError, EntityBusy, shown_text, without_quotes
from services.logs import log
from steps.advoware_cal_sync.calendar_sync_utils import TOPIC_EMPLOYEE, parse_employee_event, take_up

config = {
    "name": "Calendar Sync Event",
    "description": "Syncs the calendar of one employee",
    "flows": ["advoware_cal_sync"],
    "triggers": [queue(TOPIC_EMPLOYEE)],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Sync the employee. A failure is logged and not raised: the cron comes again in 15 minutes."""
    event = parse_employee_event(input_data)
    await take_up(event)
    try:
        await CalendarSync(ctx).sync_employee(event.kuerzel, full_content=event.full_content)
    except EntityBusy as error:
        log(ctx, "info", "calendar.busy", kuerzel=event.kuerzel, error=str(error))
    except (BitByLawError, ConfigurationError) as error:
        log(ctx, "error", "calendar.failed", kuerzel=event.kuerzel, error=without_quotes(shown_text(error)))
