"""Enqueueing many events: bounded, in time, and without ever cancelling a call of the SDK.

A cancelled call leaves a dead future behind in iii-sdk 0.8.3; when its answer comes, the receive loop ends with an
InvalidStateError and the worker is deaf from then on. So a call that takes too long is left alone to end by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.core.errors import Unavailable

Enqueue = Callable[[dict[str, Any]], Awaitable[Any]]

#: As many as EspoCRM sends at once: the embedded engine stores what comes together in one transaction.
CONCURRENCY = 50


class NotEnqueued(Unavailable):
    """The queue is down or slow. The first ``confirmed`` events are in the queue, of the others some may be."""

    def __init__(self, confirmed: int) -> None:
        super().__init__("queue", "the event could not be enqueued")
        self.confirmed = confirmed


_left_alone: set[asyncio.Future[Any]] = set()


async def enqueue_all(
    enqueue: Enqueue,
    topic: str,
    payloads: Iterable[dict[str, Any]],
    *,
    timeout_seconds: float,
) -> None:
    """Enqueue every payload under the topic with ``ctx.enqueue``, in order, a few at a time.

    Raises:
        NotEnqueued: not all of them were confirmed in time; says how many of the first ones were.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    all_payloads = list(payloads)
    for confirmed in range(0, len(all_payloads), CONCURRENCY):
        batch = all_payloads[confirmed : confirmed + CONCURRENCY]
        calls = [
            _start_call(enqueue, {"topic": topic, "data": payload}) for payload in batch
        ]
        remaining = max(0.0, deadline - loop.time())
        await asyncio.wait(calls, timeout=remaining)
        succeeded = [call.done() and not call.exception() for call in calls]
        if not all(succeeded):
            raise NotEnqueued(confirmed + succeeded.index(False))


def _start_call(enqueue: Enqueue, message: dict[str, Any]) -> asyncio.Future[Any]:
    call = asyncio.ensure_future(enqueue(message))
    _left_alone.add(call)
    call.add_done_callback(_forget)
    return call


def _forget(call: asyncio.Future[Any]) -> None:
    _left_alone.discard(call)
    if not call.cancelled():
        call.exception()  # marks it as retrieved
