"""The load generator, in a process of its own: ``python -m benchmarks.load``, orders as JSON on standard input.

Closed loop: ``clients`` send one request after the other. Open loop: requests begin ``rate`` times a second whether or
not earlier ones were answered, and a latency counts from the moment at which its request was due. Prints
``{"count", "errors", "seconds", "p50", "p99", "highest"}``, latencies in milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
from pydantic import BaseModel

REQUEST_SECONDS = 30.0
PATIENCE_SECONDS = 60.0


class Order(BaseModel):
    """What to send. ``batch`` ids in each body, new ones unless ``ids`` are given; 0: no body. ``rate`` 0: closed."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    batch: int = 0
    ids: list[str] = []
    clients: int = 1
    rate: float = 0.0
    seconds: float
    warmup: float = 0.0


def new_ids() -> Iterator[str]:
    """Ids as EspoCRM makes them, 17 characters, that were never sent before."""
    start = secrets.token_hex(4)
    for number in itertools.count():
        yield f"{start}{number:09d}"


def bodies(order: Order) -> Callable[[], Any]:
    """What gives the next body."""
    if not order.batch:
        return lambda: None
    ids = itertools.cycle(order.ids) if order.ids else new_ids()
    return lambda: [{"id": next(ids)} for _ in range(order.batch)]


class Load:
    """Sends, and keeps the latencies (seconds) of what was sent after the warm-up."""

    def __init__(self, order: Order, session: aiohttp.ClientSession) -> None:
        self.order = order
        self.session = session
        self.latencies: list[float] = []
        self.errors = 0
        self._body = bodies(order)

    async def closed(self, seconds: float) -> float:
        """All clients for so long; returns how long it really was."""
        started = time.perf_counter()
        end = started + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                await self._send(time.perf_counter())

        await asyncio.gather(*(client() for _ in range(self.order.clients)))
        return time.perf_counter() - started

    async def open(self, seconds: float) -> float:
        """The rate for so long; returns when the last answer was there (seconds from the start)."""
        started = time.perf_counter()
        tasks = []
        for number in range(round(seconds * self.order.rate)):
            due = started + number / self.order.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self._send(due)))
        await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        return time.perf_counter() - started

    async def _send(self, due: float) -> None:
        order = self.order
        try:
            async with self.session.request(
                order.method, order.url, json=self._body(), headers=order.headers
            ) as response:
                await response.read()
                self.errors += response.status >= 400
        except (aiohttp.ClientError, TimeoutError):
            self.errors += 1
        self.latencies.append(time.perf_counter() - due)


def summary(latencies: list[float]) -> dict[str, float]:
    """Median, 99th percentile and highest, in milliseconds."""
    ordered = sorted(latencies)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p99": 0.99, "highest": 1.0}
    return {name: 1000 * ordered[round(share * last)] for name, share in shares.items()}


async def run(order: Order) -> dict[str, float]:
    """Warm up, then measure."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        load = Load(order, session)
        send = load.open if order.rate else load.closed
        if order.warmup:
            await send(order.warmup)
        load.latencies, load.errors = [], 0
        seconds = await send(order.seconds)
    counted = {"count": len(load.latencies), "errors": load.errors, "seconds": seconds}
    return {**counted, **summary(load.latencies)}


if __name__ == "__main__":
    json.dump(asyncio.run(run(Order.model_validate_json(sys.stdin.read()))), sys.stdout)
