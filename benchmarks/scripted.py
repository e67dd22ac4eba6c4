"""A worker without an SDK, in a process of its own: ``python -m benchmarks.scripted``, an order on standard input.

It speaks no more of the worker protocol than it needs, so what is measured is the engine. Prints ``{"seconds"}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from uuid import uuid4

from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection, connect

FUNCTION = "benchmark-job"
PATIENCE_SECONDS = 300.0


class Order(BaseModel):
    """``enqueue``: that many jobs, so many at a time; ``drain``: take that many jobs, and succeed at once."""

    ws: str
    topic: str
    action: str
    jobs: int
    at_once: int = 10


async def enqueue(socket: ClientConnection, order: Order) -> None:
    """Enqueue as the SDK does, each call confirmed by the engine."""
    slots = asyncio.Semaphore(order.at_once)
    answered = asyncio.Event()
    confirmed = 0

    async def read() -> None:
        nonlocal confirmed
        async for text in socket:
            message = json.loads(text)
            if message["type"] != "invocationresult":
                continue
            if message.get("error"):
                raise ValueError(message["error"])
            confirmed += 1
            slots.release()
            if confirmed == order.jobs:
                answered.set()
                return

    reader = asyncio.create_task(read())
    for number in range(order.jobs):
        await slots.acquire()
        data = {"topic": order.topic, "data": job(number)}
        await socket.send(json.dumps(invocation("enqueue", data)))
    await asyncio.wait_for(answered.wait(), PATIENCE_SECONDS)
    await reader


async def drain(socket: ClientConnection, order: Order) -> None:
    """Subscribe, and answer every job until all have come."""
    await socket.send(json.dumps({"type": "registerfunction", "id": FUNCTION}))
    trigger = {
        "type": "registertrigger",
        "id": str(uuid4()),
        "trigger_type": "queue",
        "function_id": FUNCTION,
        "config": {"topic": order.topic},
    }
    await socket.send(json.dumps(trigger))
    done = 0
    async for text in socket:
        message = json.loads(text)
        if message["type"] != "invokefunction":
            continue
        answer = {
            "type": "invocationresult",
            "invocation_id": message["invocation_id"],
            "function_id": FUNCTION,
            "result": {},
        }
        await socket.send(json.dumps(answer))
        done += 1
        if done == order.jobs:
            return


def job(number: int) -> dict[str, Any]:
    """As small as the events of a sync are."""
    return {"entity_id": f"{number:017d}", "action": "update", "source": "benchmark"}


def invocation(function_id: str, data: Any) -> dict[str, Any]:
    """A call that is answered."""
    return {
        "type": "invokefunction",
        "invocation_id": str(uuid4()),
        "function_id": function_id,
        "data": data,
    }


async def run(order: Order) -> dict[str, float]:
    """Do what was ordered; how long it took."""
    work = enqueue if order.action == "enqueue" else drain
    async with connect(order.ws, compression=None, proxy=None) as socket:
        await socket.recv()
        started = time.perf_counter()
        await asyncio.wait_for(work(socket, order), PATIENCE_SECONDS)
        return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    order = Order.model_validate_json(sys.stdin.read())
    json.dump(asyncio.run(run(order)), sys.stdout)
