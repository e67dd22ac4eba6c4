"""Queue vmh.beteiligte.*: sync one Beteiligte between EspoCRM and Advoware."""

from typing import Any

from motia import FlowContext, queue

from services.core.operation.pause import run_job
from services.shadow.jobs import handle_beteiligter
from services.vmh_sync.job import parse_event

# For what no status can show, because EspoCRM or one of our stores is away: four minutes, then the cron takes over.
RETRIES = {"max_retries": 7, "backoff_delay_ms": 2000}

config = {
    "name": "VMH Beteiligte Sync",
    "description": "Keeps a Beteiligter consistent between EspoCRM and Advoware",
    "flows": ["vmh"],
    "triggers": [
        queue("vmh.beteiligte.create", config=RETRIES),
        queue("vmh.beteiligte.update", config=RETRIES),
        queue("vmh.beteiligte.delete", config=RETRIES),
        queue("vmh.beteiligte.sync_check"),
        queue("vmh.beteiligte.sync_now", config=RETRIES),
    ],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Sync the record of the event; what fails is visible in its status, or raised so that the queue tries again."""
    event = parse_event(input_data)

    async def sync() -> None:
        await handle_beteiligter(event, ctx)

    await run_job(f"vmh.beteiligte.{event.action}", input_data, sync, ctx)
