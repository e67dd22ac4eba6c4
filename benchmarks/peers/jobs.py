"""The peer of our queue: procrastinate alone, ``python -m benchmarks.peers.jobs``, an order on standard input.

``{"database", "action": "enqueue" or "drain", "jobs", "at_once"}``; prints ``{"seconds"}``. Jobs are deleted when they
are done, as the embedded engine does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import procrastinate


async def run(order: dict[str, Any]) -> dict[str, float]:
    """Enqueue one job after the other, so many at a time, or handle all that wait."""
    connector = procrastinate.PsycopgConnector(
        conninfo=order["database"], min_size=2, max_size=10
    )
    app = procrastinate.App(connector=connector)

    @app.task(name="job", queue="benchmark")
    async def job(**_data: Any) -> None:
        return None

    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        started = time.perf_counter()
        if order["action"] == "enqueue":
            await enqueue(job, order["jobs"], order["at_once"])
        else:
            await app.run_worker_async(
                wait=False, concurrency=order["at_once"], delete_jobs="always"
            )
        return {"seconds": time.perf_counter() - started}


async def enqueue(job: Any, count: int, at_once: int) -> None:
    """One statement for each job, as callers that do not know of each other send them."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with slots:
            await job.defer_async(
                entity_id=f"{number:017d}", action="update", source="benchmark"
            )

    await asyncio.gather(*(one(number) for number in range(count)))


if __name__ == "__main__":
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
