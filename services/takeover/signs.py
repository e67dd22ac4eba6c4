"""Signs that the old system still runs beside us: both must never work on the same webhooks and calendars.

Our locks and pending keys expire; the old system's have no TTL and are found by that. Whether one is fresh is known
from how long ago Redis last used it. In PostgreSQL a pair that was synced of late without a line in our audit was not
synced by us.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter

import asyncpg
from redis.asyncio import Redis

from config import Settings
from services.calendar_sync.model import LAST_SUCCESS
from services.core.database import (
    OLD_SYSTEM,
    UNFINISHED_TAKEOVER,
    database_errors,
    holds_old_system,
    require_whole_takeover,
)
from services.core.errors import DatabaseUnusable, Unavailable
from services.core.resources import Resources
from services.core.store_errors import redis_errors
from services.espocrm_setup.webhooks import Check
from services.takeover.old_rows import read_row
from services.takeover.old_table import ASIDE, OLD

#: The old system's cron ran every 15 minutes: what is younger than two rounds is fresh.
FRESH = timedelta(minutes=30)
#: Locks and pending keys, as both systems name them.
LOCK_PATTERNS = ("sync_lock:*", "*:waiting:*", "calendar_sync:lock:*")
#: So many names are fetched from Redis at once, and so many signs are named.
PORTION, SHOWN = 500, 20
STOP_IT = "Stop the old system, and see that nothing starts it again; then look again."

_UNEXPLAINED = """
SELECT count(*) FROM calendar_sync AS pair
WHERE last_sync > $1 AND NOT EXISTS (
    SELECT FROM calendar_sync_audit AS line
    WHERE line.sync_id = pair.sync_id AND line.at >= pair.last_sync - interval '1 minute'
)
"""


@dataclass(frozen=True)
class Leftover:
    """A lock or pending key without TTL: nothing removes it, and whoever needs it waits for ever."""

    database: int
    key: str
    is_fresh: bool


async def leftover_keys(resources: Resources) -> list[Leftover]:
    """The old system's locks and pending keys.

    Raises:
        Unavailable: Redis does not answer.
    """
    found: list[Leftover] = []
    with redis_errors("its keys cannot be listed"):
        for number, redis in _databases(resources).items():
            async for key, is_fresh in _without_ttl(redis):
                found.append(Leftover(number, key, is_fresh))
            if await redis.type(LAST_SUCCESS) not in {"hash", "none"}:
                found.append(Leftover(number, LAST_SUCCESS, is_fresh=False))
    return sorted(found, key=attrgetter("database", "key"))


def _databases(resources: Resources) -> dict[int, Redis]:
    """The databases of Redis that both systems use, by their numbers."""
    numbers = resources.settings.redis
    return {
        numbers.db_advoware_cache: resources.redis,
        numbers.db_calendar_sync: resources.calendar_redis,
    }


async def _without_ttl(redis: Redis) -> AsyncIterator[tuple[str, bool]]:
    for pattern in LOCK_PATTERNS:
        async for key in redis.scan_iter(match=pattern, count=PORTION):
            if await redis.ttl(key) != -1:
                continue
            idle_seconds = await redis.object("idletime", key) or 0
            is_fresh = idle_seconds < FRESH.total_seconds()
            yield key, is_fresh


async def remove_leftover_keys(resources: Resources) -> int:
    """Remove them, so that our syncs need not wait for a system that runs no more; returns how many."""
    databases = _databases(resources)
    leftover = await leftover_keys(resources)
    with redis_errors("a key cannot be removed"):
        for item in leftover:
            redis = databases[item.database]
            await redis.delete(item.key)
    return len(leftover)


async def signs_of_old_system(resources: Resources) -> list[str]:
    """What looks as if the old system were at work, one sentence each.

    Raises:
        Unavailable, DatabaseUnusable: Redis or PostgreSQL does not answer.
    """
    signs: list[str] = []
    for item in await leftover_keys(resources):
        if item.is_fresh:
            signs.append(
                f"Redis {item.database}: {item.key} has no TTL and was used of late",
            )
    more = len(signs) - SHOWN
    if more > 0:
        signs[SHOWN:] = [f"and {more} more of these"]
    signs += await _signs_in_postgres(resources)
    return signs


async def _signs_in_postgres(resources: Resources) -> list[str]:
    pool = await resources.database()
    since = resources.clock() - FRESH
    signs: list[str] = []
    async with database_errors():
        is_old = await holds_old_system(pool)
        tables = [OLD, ASIDE] if is_old else [ASIDE]
        signs += await _signs_in_tables(pool, tables, resources)
        if is_old or not await _exists(pool, OLD):
            return signs
        number = await pool.fetchval(_UNEXPLAINED, since)
    if number:
        signs.append(
            f"PostgreSQL: {number} pairs were synced of late, and not by this system",
        )
    return signs


async def _signs_in_tables(
    pool: asyncpg.Pool,
    tables: Iterable[str],
    resources: Resources,
) -> list[str]:
    signs: list[str] = []
    for table in tables:
        number = await _fresh_rows(pool, table, resources)
        if number:
            signs.append(f"PostgreSQL: {number} rows of {table} were synced of late")
    return signs


async def _fresh_rows(pool: asyncpg.Pool, table: str, resources: Resources) -> int:
    """How many rows of the old table were synced of late, whatever zone its times are in."""
    if not await _exists(pool, table):
        return 0
    is_there = await pool.fetchval(
        """
        SELECT true FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = $1 AND column_name = 'last_sync'
        """,
        table,
    )
    if not is_there:
        return 0
    # Text sorts like time, and the newest are enough.
    rows = await pool.fetch(
        f"SELECT last_sync FROM {table} WHERE last_sync IS NOT NULL "  # noqa: S608 - one of two names
        f"ORDER BY last_sync DESC LIMIT {PORTION}",
    )
    now = resources.clock()
    fresh = 0
    for row in rows:
        last_sync = read_row(row).last_sync
        if last_sync is not None and _is_fresh(now - last_sync):
            fresh += 1
    return fresh


def _is_fresh(age: timedelta) -> bool:
    """Whether so long ago is of late; a time without zone may be that of Berlin, up to two hours ahead."""
    for ahead in (0, 1, 2):
        real_age = age + timedelta(hours=ahead)
        if timedelta(minutes=-1) <= real_age < FRESH:
            return True
    return False


async def _exists(pool: asyncpg.Pool, table: str) -> bool:
    return bool(await pool.fetchval("SELECT to_regclass($1) IS NOT NULL", table))


# -- where a system starts, and in the doctor -----------------------------------------------------------------------


async def notices_at_start(settings: Settings) -> list[str]:
    """What whoever starts this system should know about the old one; stores that are away are no matter of this.

    Raises:
        DatabaseUnusable: the database holds the old system's state, or one that was taken over in part.
    """
    async with Resources(settings, as_it_is=True) as resources:
        try:
            await _require_taken_over(resources)
            signs = await signs_of_old_system(resources)
        except DatabaseUnusable as error:
            if str(error) in {OLD_SYSTEM, UNFINISHED_TAKEOVER}:
                raise
            return []
        except Unavailable:
            return []
    return [f"The old system seems to run: {sign}. {STOP_IT}" for sign in signs]


async def _require_taken_over(resources: Resources) -> None:
    pool = await resources.database()
    async with database_errors():
        if await holds_old_system(pool):
            raise DatabaseUnusable(OLD_SYSTEM)
        await require_whole_takeover(pool)


async def diagnose_old_system(settings: Settings) -> list[Check]:
    """What the doctor says about the old system."""
    name = "old system"
    async with Resources(settings, as_it_is=True) as resources:
        try:
            await _require_taken_over(resources)
            signs = await signs_of_old_system(resources)
        except (Unavailable, DatabaseUnusable) as error:
            if str(error) in {OLD_SYSTEM, UNFINISHED_TAKEOVER}:
                fix = "Follow docs/cutover.md."
                return [Check(name, "failed", str(error), fix)]
            message = f"Whether it runs could not be looked at: {error}"
            fix = "See that PostgreSQL and Redis run (POSTGRES_, REDIS_)."
            return [Check(name, "warning", message, fix)]
    if not signs:
        return [Check(name, "ok", "No sign that the old system runs.")]
    checks = []
    for sign in signs:
        message = f"It seems to run: {sign}."
        checks.append(Check(name, "failed", message, STOP_IT))
    return checks
