"""Queue vmh.bankverbindungen.*: bring one Bankverbindung from EspoCRM to Advoware."""

from typing import Any

from motia import FlowContext, queue

from services.core.operation.pause import run_job
from services.shadow.jobs import handle_bankverbindung
from services.vmh_sync.job import parse_event

# For a foreign system or a store that is away for a moment; a Beteiligter who is being synced is no failure.
RETRIES = {"max_retries": 7, "backoff_delay_ms": 2000}

config = {
    "name": "VMH Bankverbindungen Sync",
    "description": "Creates Bankverbindungen in Advoware and notifies people of what they have to do there",
    "flows": ["vmh"],
    "triggers": [
        queue("vmh.bankverbindungen.create", config=RETRIES),
        queue("vmh.bankverbindungen.update", config=RETRIES),
        queue("vmh.bankverbindungen.delete", config=RETRIES),
    ],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Sync the record of the event; what fails is visible in its status, or raised so that the queue tries again."""
    event = parse_event(input_data)

    async def sync() -> None:
        await handle_bankverbindung(event, ctx)

    await run_job(f"vmh.bankverbindungen.{event.action}", input_data, sync, ctx)
