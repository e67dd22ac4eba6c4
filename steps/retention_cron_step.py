"""Every night: remove what was kept long enough."""

from typing import Any

from motia import FlowContext, cron

from services.privacy.cleaning import Cleaning

config = {
    "name": "Retention Cron",
    "description": "Removes old lines of the audits, problems, appointment texts, jobs and logs",
    "flows": ["operations"],
    "triggers": [cron("0 40 3 * * *")],
    "enqueues": [],
}


async def handler(input_data: Any, ctx: FlowContext) -> dict[str, int]:
    """Run the cleaning; the result counts what went, by kind."""
    return await Cleaning(ctx).run()
