"""What grows: the rows and bytes that each kind of record takes now, and what bounds it (docs/operations.md)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import asyncpg

from services.core.database import database_errors
from services.core.resources import Resources
from services.privacy.queue_tables import open_queue

#: What bounds each of our tables. Those with a setting or a number of days are cleaned every night
#: (`services.privacy.cleaning`); the others grow with the firm, not with the events.
TABLES = {
    "sync_audit": "AUDIT_DAYS",
    "calendar_sync_audit": "AUDIT_DAYS",
    "operator_action": "AUDIT_DAYS",
    "calendar_sync_overwritten": "30 days",
    "shadow_write": "60 days",
    "notification": "one per record and kind of problem",
    "sync_state": "records",
    "responsible": "records",
    "create_intent": "creates under way",
    "look_again": "syncs under way",
    "paused_job": "pauses",
    "calendar_sync": "appointments",
    "calendar_sync_intent": "creates under way",
    "calendar_sync_begun": "writes under way",
    "calendar_sync_refused": "refused writes of 2 days",
}
#: Of the embedded engine's queue.
QUEUE_TABLES = {
    "procrastinate_jobs": "QUEUE_DAYS",
    "procrastinate_events": "QUEUE_DAYS",
    "job_notes": "QUEUE_DAYS",
}

_SIZES = """
SELECT relname, n_live_tup, pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE relname = ANY($1::text[])
"""
_MAY_SEE_WAL = "SELECT has_function_privilege('pg_ls_waldir()', 'execute')"
_WAL = "SELECT count(*) AS files, coalesce(sum(size), 0)::bigint AS bytes FROM pg_ls_waldir()"


@dataclass(frozen=True)
class Growing:
    """One kind of record: how many (an estimate of PostgreSQL's for tables) and how large with their indexes."""

    name: str
    rows: int
    bytes: int
    bound: str


async def growing(resources: Resources) -> list[Growing]:
    """All that grows, the largest first; what cannot be read from here (logs elsewhere, another's WAL) is left out.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
        RedisError: Redis does not answer.
    """
    log_directory = resources.settings.retention.log_directory
    found = [
        *await _tables(resources),
        *await _queue(resources),
        await _redis(resources),
        *await asyncio.to_thread(_logs, log_directory),
    ]
    return sorted(found, key=attrgetter("bytes"), reverse=True)


async def _tables(resources: Resources) -> list[Growing]:
    """Our own tables and PostgreSQL's log of writes."""
    pool = await resources.database()
    async with database_errors(), pool.acquire() as connection:
        tables = await _sizes(connection, TABLES)
        wal = await _wal(connection)
    return [*tables, *wal]


async def _queue(resources: Resources) -> list[Growing]:
    """The tables of the embedded engine's queue, if there is one."""
    async with open_queue(resources.settings.postgres) as queue:
        if queue is None:
            return []
        async with database_errors():
            return await _sizes(queue.connection, QUEUE_TABLES)


async def _sizes(
    connection: asyncpg.Connection,
    bounds: dict[str, str],
) -> list[Growing]:
    sizes = []
    for row in await connection.fetch(_SIZES, list(bounds)):
        table = row["relname"]
        size = Growing(
            name=table,
            rows=row["n_live_tup"],
            bytes=row["bytes"],
            bound=bounds[table],
        )
        sizes.append(size)
    return sizes


async def _wal(connection: asyncpg.Connection) -> list[Growing]:
    """PostgreSQL's log of writes, if this user may see it."""
    if not await connection.fetchval(_MAY_SEE_WAL):
        return []
    row = await connection.fetchrow(_WAL)
    return [Growing("WAL", row["files"], row["bytes"], "max_wal_size")]


async def _redis(resources: Resources) -> Growing:
    """Both databases' keys; the bytes are those of the whole server."""
    keys = await resources.redis.dbsize()
    keys += await resources.calendar_redis.dbsize()
    memory = await resources.redis.info("memory")
    return Growing(
        name="Redis",
        rows=keys,
        bytes=int(memory["used_memory"]),
        bound="expiry of each key",
    )


def _logs(directory: str) -> list[Growing]:
    if not directory:
        return []
    folder = Path(directory)
    if not folder.is_dir():
        return []
    sizes = [path.stat().st_size for path in folder.glob("*.log*")]
    return [
        Growing(
            name="logs",
            rows=len(sizes),
            bytes=sum(sizes),
            bound="LOG_DAYS, 10 MB each",
        ),
    ]
