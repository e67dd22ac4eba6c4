"""Getting an answer with headers to the caller, on every engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.exceptions import WebSocketException

from services.core.log import log

DELIVERY_SECONDS = 3.0


async def deliver(request: Any, response: Any) -> Any:
    """What an HTTP step returns so that its answer, an ApiResponse, arrives with its headers.

    The real engine drops the headers of an answer that a step returns; it takes them from the step's response channel
    only. So an answer with headers goes there, and None is returned. The channel costs a connection, and if it fails,
    the answer is returned: its status and body matter more than its headers.
    """
    if not response.headers:
        return response
    writer = request.response.writer
    if writer is None:
        return response
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            await request.response.status(response.status)
            await request.response.headers(
                {"Content-Type": "application/json", **response.headers},
            )
            await writer.write(json.dumps(response.body).encode())
            await writer.close_async()
    except (OSError, TimeoutError, WebSocketException) as error:
        log(None, "warning", "answer.headers_lost", error=type(error).__name__)
        return response
    return None
