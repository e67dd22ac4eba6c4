"""Every 15 minutes: enqueue every Beteiligte that needs a sync, whatever event was lost."""

from typing import Any

from motia import FlowContext, cron

from services.beteiligte_check import TOPIC, BeteiligteCheck
from services.core.operation.pause import run_cron

config = {
    "name": "VMH Beteiligte Sync Cron",
    "description": "Finds new, modified, failed, stuck and stale Beteiligte",
    "flows": ["vmh"],
    "triggers": [cron("0 */15 * * * *")],
    "enqueues": [TOPIC],
}


async def handler(input_data: Any, ctx: FlowContext) -> dict[str, int] | None:
    """Run the check; the result counts the enqueued records per category. None while it is paused."""
    return await run_cron(
        "beteiligte_sync",
        lambda: BeteiligteCheck(ctx).run(ctx.enqueue),
        ctx,
    )
