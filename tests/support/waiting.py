"""Waiting for what happens, however slow the machine is, and letting a twin keep a request waiting meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sandbox.control import ActiveFault, Fault, Twin

#: After this time a test fails; nothing that works takes so long.
PATIENCE_SECONDS = 60.0


async def until(condition: Callable[[], Any]) -> None:
    """Wait until the condition, a function or a coroutine function, answers something true."""
    # Not by the loop's clock, which may run fast (`hasty_loop`).
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def held(
    twin: Twin, work: Coroutine[Any, Any, Any], **rule: Any
) -> AsyncIterator[asyncio.Task[Any]]:
    """Let the work come to a request of this kind and wait there until the end of the block; its task.

    ``rule`` says which request, as `sandbox.control.Fault` does; the first one, unless ``skip`` is given. The work is
    on the way, and no further, when the block begins. The twin answers the request as soon as the block is over.
    """
    active = ActiveFault(Fault.model_validate({"hold": True, "count": 1, **rule}))
    twin.faults.append(active)
    running = asyncio.create_task(work)
    try:
        await until(lambda: active.struck or running.done())
        if not active.struck:
            await running
            raise AssertionError("the work came to its end without such a request")
        yield running
    finally:
        if active in twin.faults:
            twin.faults.remove(active)
