"""The peer of our webhooks: FastAPI and procrastinate, with the same token, Redis mark and durable job for each id.

``uvicorn benchmarks.peers.ingest:app`` with ``PEER_DATABASE_URL``, ``PEER_REDIS_URL`` and ``PEER_TOKEN``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import procrastinate
from fastapi import Body, FastAPI, HTTPException
from procrastinate.types import JSONDict
from redis.asyncio import Redis

UNCONFIRMED_SECONDS, PENDING_SECONDS = 10, 300
redis = Redis.from_url(os.environ["PEER_REDIS_URL"])
jobs = procrastinate.App(
    connector=procrastinate.PsycopgConnector(
        conninfo=os.environ["PEER_DATABASE_URL"], min_size=2, max_size=10
    )
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Open the queue, with its tables."""
    async with jobs.open_async():
        if not await jobs.check_connection_async():
            await jobs.schema_manager.apply_schema_async()
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhook")
async def webhook(
    token: str, records: Annotated[list[dict[str, Any]], Body()]
) -> dict[str, Any]:
    """Enqueue each id that does not wait yet."""
    if token != os.environ["PEER_TOKEN"]:
        raise HTTPException(401)
    ids = list({record["id"]: None for record in records})
    new = await mark(ids)
    now = datetime.now(UTC).isoformat()
    task = jobs.configure_task("sync", allow_unknown=True, queue="sync")
    if new:
        events: list[JSONDict] = [{"entity_id": item, "timestamp": now} for item in new]
        await task.batch_defer_async(*events)
        await confirm(new)
    return {"new_ids_count": len(new), "total_ids_in_batch": len(ids)}


async def mark(ids: list[str]) -> list[str]:
    """Set the marks of the ids; those that had none."""
    async with redis.pipeline(transaction=True) as pipeline:
        for item in ids:
            pipeline.set(f"waiting:{item}", "1", nx=True, ex=UNCONFIRMED_SECONDS)
        were_set = await pipeline.execute()
    return [item for item, is_new in zip(ids, were_set, strict=True) if is_new]


async def confirm(ids: list[str]) -> None:
    """Keep the marks for longer."""
    async with redis.pipeline(transaction=True) as pipeline:
        for item in ids:
            pipeline.expire(f"waiting:{item}", PENDING_SECONDS)
        await pipeline.execute()
