"""Every minute: let the jobs go on whose pause is over."""

from typing import Any

from motia import FlowContext, cron

from services.core.operation.pause import TOPICS, release_jobs

config = {
    "name": "Resume Cron",
    "description": "Puts jobs back into the queue when the pause that kept them is over",
    "flows": ["operations"],
    "triggers": [cron("0 * * * * *")],
    "enqueues": list(TOPICS),
}


async def handler(input_data: Any, ctx: FlowContext) -> dict[str, int]:
    """Release what is not paused any more; the result counts the jobs that were released and those that wait."""
    return await release_jobs(ctx.enqueue, ctx)
