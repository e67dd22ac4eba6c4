"""The database of a rehearsal: one transaction, which is rolled back, and which ends early if a sync waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.core.errors import Unavailable
from services.core.resources import Resources

#: A statement waits no longer for a row that a sync is writing.
LOCK_TIMEOUT = "2s"
#: How often a rehearsal looks whether a sync waits for it. Less than PostgreSQL's ``deadlock_timeout`` of a second, so
#: that in a deadlock the rehearsal gives way, never the sync.
LOOK_SECONDS = 0.5


class Undone:
    """What the stores take for a pool: all statements in one transaction, each in a savepoint of its own."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    async def _run(self, method: str, statement: str, *values: Any) -> Any:
        async with self._lock, self._connection.transaction():
            return await getattr(self._connection, method)(statement, *values)

    async def execute(self, statement: str, *values: Any) -> Any:
        return await self._run("execute", statement, *values)

    async def fetch(self, statement: str, *values: Any) -> Any:
        return await self._run("fetch", statement, *values)

    async def fetchrow(self, statement: str, *values: Any) -> Any:
        return await self._run("fetchrow", statement, *values)

    async def fetchval(self, statement: str, *values: Any) -> Any:
        return await self._run("fetchval", statement, *values)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._lock:
            yield self._connection


@asynccontextmanager
async def undone(resources: Resources) -> AsyncIterator[Undone]:
    """A database that forgets what is written in the block.

    Raises:
        Unavailable: a sync (or another rehearsal) has to write what was written here; the block was ended.
    """
    pool = await resources.database()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            async with _until_awaited(pool, connection.get_server_pid()):
                yield Undone(connection)
        finally:
            await transaction.rollback()


@asynccontextmanager
async def _until_awaited(pool: asyncpg.Pool, session: int) -> AsyncIterator[None]:
    """End the block as soon as a sync waits for what this session has written."""
    try:
        async with asyncio.timeout(None) as limit:
            watch = asyncio.create_task(_end_if_awaited(pool, session, limit))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError as error:
        if not limit.expired():
            raise
        reason = "a sync has to write what is being previewed; ask again"
        raise Unavailable("PostgreSQL", reason) from error


async def _end_if_awaited(
    pool: asyncpg.Pool,
    session: int,
    limit: asyncio.Timeout,
) -> None:
    is_awaited = False
    while not is_awaited:
        await asyncio.sleep(LOOK_SECONDS)
        is_awaited = await pool.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND $1 = ANY (pg_blocking_pids(pid)))",
            session,
        )
    limit.reschedule(asyncio.get_running_loop().time())
