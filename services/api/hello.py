"""The smoke test: a greeting that goes through HTTP, queue and state of the engine."""

from __future__ import annotations

import uuid
from typing import Any

from services.api.errors import Answer
from services.core.log import log
from services.core.resources import current_resources

TOPIC = "hello"
STATE_SCOPE = "hello"
#: One key holds the latest arrival only, so that smoke tests leave nothing behind.
STATE_KEY = "latest"


async def answer_hello(request: Any, context: Any) -> Answer:
    """200 with the id of a new greeting; with ``?id=``, 200 if that greeting was the latest to arrive, else 404."""
    wanted = (request.query_params or {}).get("id")
    if wanted:
        latest = await context.state.get(STATE_SCOPE, STATE_KEY)
        arrived = isinstance(latest, dict) and latest.get("id") == wanted
        return (200 if arrived else 404), {"id": wanted, "arrived": arrived}
    greeting = str(uuid.uuid4())
    mode = current_resources().settings.mode
    await context.enqueue({"topic": TOPIC, "data": {"id": greeting}})
    return 200, {
        "message": "Hello from BitByLaw",
        "mode": mode,
        "id": greeting,
        "arrived": f"/hello?id={greeting}",
    }


async def receive_hello(greeting: dict[str, Any], context: Any) -> None:
    """Note the arrival of a greeting."""
    at = current_resources().clock().isoformat()
    await context.state.set(
        STATE_SCOPE,
        STATE_KEY,
        {"id": greeting.get("id"), "at": at},
    )
    log(context, "info", "hello.arrived", id=greeting.get("id"))
