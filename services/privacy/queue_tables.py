"""The queue of the embedded engine: a second entrance to its tables, for export, erasure and cleaning.

The engine uses this product's database if the settings name one, else ``engine`` beside it (`make up`). The real engine
keeps its queue elsewhere, where only it can look; the payloads hold ids only.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from config import PostgresSettings
from services.core.database import database_errors

#: What events of the sync hold (`services.vmh_sync.job.SyncEvent`); nothing else of a payload is kept.
_OWN = ("entity_id", "action", "source", "timestamp")
_BESIDE = "engine"

#: In a transaction of the cleaning: it gives way to those at work, and holds no lock for long.
PATIENCE = "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'"

_JOBS = """
SELECT id, task_name AS topic, status::text AS status, args, (
    SELECT error FROM engine.job_notes WHERE job_id = procrastinate_jobs.id) AS error
FROM procrastinate_jobs
WHERE EXISTS (SELECT 1 FROM unnest($1::text[]) AS id WHERE strpos(args->>'data', id) > 0) ORDER BY id
"""
_OLD_JOBS = """
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT job.id FROM procrastinate_jobs AS job
    WHERE job.status IN ('succeeded', 'failed', 'cancelled', 'aborted') AND NOT EXISTS (
        SELECT 1 FROM procrastinate_events AS event
        WHERE event.job_id = job.id AND event.at >= now() - make_interval(days => $1))
    ORDER BY job.id LIMIT $2 FOR UPDATE OF job SKIP LOCKED)
"""


@asynccontextmanager
async def open_queue(settings: PostgresSettings) -> AsyncIterator[QueueTables | None]:
    """The queue's tables; None if this server has none.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    connection = None
    try:
        async with database_errors():
            connection = await _connect(settings)
        yield QueueTables(connection) if connection is not None else None
    finally:
        if connection is not None:
            await connection.close()


async def _connect(settings: PostgresSettings) -> asyncpg.Connection | None:
    for name in (settings.db_name, _BESIDE):
        try:
            connection = await _open(settings, name)
        except asyncpg.InvalidCatalogNameError:
            continue
        if await connection.fetchval("SELECT to_regclass('procrastinate_jobs')"):
            return connection
        await connection.close()
    return None


async def _open(settings: PostgresSettings, name: str) -> asyncpg.Connection:
    password = settings.password.get_secret_value() if settings.password else None
    return await asyncpg.connect(
        host=settings.host,
        port=settings.port,
        user=settings.user,
        password=password,
        database=name,
        timeout=settings.timeout_seconds,
        server_settings={"application_name": "bitbylaw"},
    )


class QueueTables:
    """Jobs of one person, and old jobs. All methods raise `Unavailable` if PostgreSQL does not answer."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def jobs(self, ids: list[str]) -> list[dict[str, Any]]:
        """The jobs whose payload names one of the ids."""
        async with database_errors():
            return [dict(row) for row in await self.connection.fetch(_JOBS, ids)]

    async def erase(self, ids: list[str], *, apply: bool) -> int:
        """Take all but what events of the sync hold from payloads, and the errors' words; how many jobs held such."""
        erased = 0
        for job in await self.jobs(ids):
            args = _without_values(job["args"])
            if args == job["args"] and job["error"] is None:
                continue
            erased += 1
            if apply:
                await self._replace(job["id"], args)
        return erased

    async def _replace(self, job_id: int, args: str) -> None:
        async with database_errors(), self.connection.transaction():
            await self.connection.execute(
                "UPDATE procrastinate_jobs SET args = $2 WHERE id = $1",
                job_id,
                args,
            )
            await self.connection.execute(
                "UPDATE engine.job_notes SET error = NULL WHERE job_id = $1",
                job_id,
            )

    async def remove_old(self, days: int, limit: int) -> int:
        """Remove so many of the jobs that were done or given up so many days ago; how many."""
        async with database_errors(), self.connection.transaction():
            await self.connection.execute(PATIENCE)
            done = await self.connection.execute(_OLD_JOBS, days, limit)
        return int(done.rpartition(" ")[2])


def own_part(payload: dict[str, Any]) -> dict[str, Any]:
    """What events of the sync hold of a payload."""
    return {name: payload[name] for name in _OWN if name in payload}


def _without_values(args: str) -> str:
    """A job's arguments with nothing in the payload but what our events hold."""
    held = json.loads(args)
    payload = json.loads(held["data"])
    if not isinstance(payload, dict):
        return args
    kept = own_part(payload)
    if kept == payload:
        return args
    held["data"] = json.dumps(kept)
    return json.dumps(held)
