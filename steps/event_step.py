"""Queue hello: receives the greeting of the smoke test."""

from typing import Any

from motia import FlowContext, queue

from services.api.hello import TOPIC, receive_hello

config = {
    "name": "Hello Event",
    "description": "Notes that a greeting has arrived",
    "flows": ["hello"],
    "triggers": [queue(TOPIC)],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: FlowContext) -> None:
    """Keep the arrival in the engine's state, where GET /hello?id=... finds it."""
    await receive_hello(input_data, ctx)
