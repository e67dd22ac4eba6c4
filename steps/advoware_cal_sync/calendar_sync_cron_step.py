"""Every 15 minutes: start the calendar sync of all employees."""

from typing import Any

from motia import FlowContext, cron

from services.core.jobs.queue import enqueue_all
from services.core.operation.pause import run_cron
from steps.advoware_cal_sync.calendar_sync_utils import ENQUEUE_SECONDS, TOPIC_ALL

config = {
    "name": "Calendar Sync Cron",
    "description": "Starts the calendar sync of all employees",
    "flows": ["advoware_cal_sync"],
    "triggers": [cron("0 */15 * * * *")],
    "enqueues": [TOPIC_ALL],
}


async def handler(input_data: Any, ctx: FlowContext) -> None:
    """Enqueue one event; a queue that is down is raised, and the next cron run comes anyway."""

    async def start() -> None:
        await enqueue_all(
            ctx.enqueue,
            TOPIC_ALL,
            [{"full_content": True}],
            timeout_seconds=ENQUEUE_SECONDS,
        )

    await run_cron("calendar_sync", start, ctx)
