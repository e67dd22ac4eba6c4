"""Locks: one run at a time per record, across all workers.

The lock in Redis is what others see, and it is renewed; but Redis may forget. A record's lock is therefore held in
PostgreSQL as well, which releases it when the connection ends: both would have to fail for two runs to meet. What a run
does that does not get the lock: `services.core.jobs.look_again`.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from services.core.errors import EntityBusy, NotBefore, Unavailable
from services.core.metrics import LOCK_SECONDS, LOCKS_BUSY
from services.core.resources import Resources
from services.core.store_errors import DATABASE_ERRORS, database_errors, redis_errors

#: For a connection to hold a lock with, when `LOCK_CONNECTIONS` records are being worked on already.
CONNECTION_WAIT_SECONDS = 30.0
#: For giving a connection back; after that it is closed, which releases its locks as well.
RELEASE_SECONDS = 5.0
_NOT_TAKEN = "the lock cannot be taken"


def beteiligte_lock_key(entity_id: str) -> str:
    """The lock that guards a CBeteiligte with everything that belongs to it."""
    return f"sync_lock:cbeteiligte:{entity_id}"


@asynccontextmanager
async def record_lock(
    resources: Resources,
    key: str,
    ttl_seconds: float,
    *,
    redis: Redis | None = None,
) -> AsyncIterator[None]:
    """Hold the lock of a record in PostgreSQL and in Redis while the block runs; see `held_lock`.

    ``redis`` is the database in which others see it, by default that of the locks.

    Not to be nested: it occupies one connection of a bounded pool, for which others wait.

    Raises:
        EntityBusy: another run holds the lock, it was lost, or this worker works on as many records as it may.
        NotBefore: PostgreSQL has released the lock, Redis has not (a worker has died); says when it will.
        Unavailable, DatabaseUnusable: Redis does not answer, or see `database_errors`.
    """
    redis = redis or resources.redis
    started = time.perf_counter()
    pool = await resources.lock_connections()
    connection = await _lock_connection(pool, min(ttl_seconds, CONNECTION_WAIT_SECONDS))
    try:
        async with database_errors():
            acquired = await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtextextended($1, 0))",
                key,
            )
        if not acquired:
            LOCKS_BUSY.inc()
            raise EntityBusy("another run is working on this record")
        await _require_expired(resources, redis, key)
        async with held_lock(redis, key, ttl_seconds):
            LOCK_SECONDS.observe(time.perf_counter() - started)
            yield
    finally:
        # The pool releases all advisory locks of a connection that comes back.
        with suppress(*DATABASE_ERRORS):
            await pool.release(connection, timeout=RELEASE_SECONDS)


async def _require_expired(resources: Resources, redis: Redis, key: str) -> None:
    """Refuse while Redis still holds the lock of another run.

    A dead worker's lock ends by itself; a live one's (PostgreSQL was restarted) is renewed and ends later.
    """
    with redis_errors(_NOT_TAKEN):
        remaining_ms = await redis.pttl(key)
    if remaining_ms > 0:
        expires_at = resources.clock() + timedelta(milliseconds=remaining_ms)
        raise NotBefore("the lock of another run", expires_at)


async def _lock_connection(pool: asyncpg.Pool, seconds: float) -> asyncpg.Connection:
    try:
        async with database_errors():
            return await pool.acquire(timeout=seconds)
    except Unavailable:
        # A pool whose connections are all open and in use says nothing about PostgreSQL.
        is_exhausted = pool.get_size() == pool.get_max_size()
        if is_exhausted and pool.get_idle_size() == 0:
            raise EntityBusy("this worker works on as many records as it may") from None
        raise


@asynccontextmanager
async def held_lock(redis: Redis, key: str, ttl_seconds: float) -> AsyncIterator[None]:
    """Hold a lock while the block runs; renewed in time, released only if this block still holds it.

    If the lock is lost while the block runs (Redis restarted, or we were suspended for longer than the TTL), the block
    is cancelled and `EntityBusy` raised, so that two runs do not go on side by side.

    Raises:
        EntityBusy: another run holds the lock, or it was lost.
        Unavailable: Redis does not answer.
    """
    lock = Lock(redis, key, timeout=ttl_seconds, thread_local=False)
    if not await _is_acquired(lock):
        raise EntityBusy("another run is working on this record")
    owner = asyncio.current_task()
    assert owner is not None  # noqa: S101 - a coroutine that runs belongs to a task
    watch = _Watch()
    renewer = asyncio.create_task(_renew(lock, ttl_seconds, owner, watch))
    try:
        yield
    except asyncio.CancelledError:
        if watch.has_cancelled:
            watch.has_cancelled = False
            if owner.uncancel() == 0:
                raise EntityBusy("the lock was lost while working") from None
        raise
    finally:
        watch.is_over = True  # from here on the watch cancels no task
        renewer.cancel()
        # Cancelled after the last moment at which the block could have noticed.
        if watch.has_cancelled:
            owner.uncancel()
        await _release(lock)


async def _is_acquired(lock: Lock) -> bool:
    """Whether Redis has given the lock to us.

    Raises:
        Unavailable: Redis does not answer.
    """
    token = uuid.uuid4().hex
    try:
        with redis_errors(_NOT_TAKEN):
            return bool(await lock.acquire(blocking=False, token=token))
    except asyncio.CancelledError:
        # Redis may have given us the lock although its answer did not arrive.
        lock.local.token = token.encode()
        await _release(lock)
        raise


async def _release(lock: Lock) -> None:
    with suppress(LockError, RedisError):
        await asyncio.shield(lock.release())


@dataclass
class _Watch:
    """What the block that holds a lock and the task that renews it know of each other."""

    is_over: bool = False
    has_cancelled: bool = False


async def _renew(
    lock: Lock,
    ttl_seconds: float,
    owner: asyncio.Task[object],
    watch: _Watch,
) -> None:
    """Renew the lock; cancel its owner if another run has it, or if Redis is away until the TTL is nearly over."""
    loop = asyncio.get_running_loop()
    valid_until = loop.time() + ttl_seconds
    pause = ttl_seconds / 3
    while True:
        await asyncio.sleep(pause)
        started = loop.time()
        try:
            await lock.reacquire()
        except LockError:
            break
        except RedisError:
            pause = ttl_seconds / 20
            if loop.time() + pause >= valid_until - ttl_seconds / 10:
                break
        else:
            pause = ttl_seconds / 3
            valid_until = started + ttl_seconds
    if not watch.is_over:
        watch.has_cancelled = True
        owner.cancel()
