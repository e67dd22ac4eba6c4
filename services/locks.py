"""Locks in Redis: one run at a time per record, across all workers.

A Redis lock is an efficiency measure: it may be lost. That nothing is created twice even then is the business of the
unique constraints and intents in PostgreSQL (`services.sync_state`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError

from services.errors import EntityBusy, Unavailable


def beteiligte_lock_key(entity_id: str) -> str:
    """The lock that guards a CBeteiligte with everything that belongs to it."""
    return f"sync_lock:cbeteiligte:{entity_id}"


@asynccontextmanager
async def held_lock(redis: Redis, key: str, ttl_seconds: float) -> AsyncIterator[None]:
    """Hold a lock while the block runs; renewed in time, released only if it is still ours.

    If the lock is lost while the block runs (Redis restarted, or we were suspended for longer than the TTL), the block
    is cancelled and `EntityBusy` raised, so that two runs do not go on side by side.

    Raises:
        EntityBusy: somebody else holds the lock, or it was lost.
        Unavailable: Redis does not answer.
    """
    lock = Lock(redis, key, timeout=ttl_seconds, thread_local=False)
    try:
        acquired = await lock.acquire(blocking=False)
    except RedisError as error:
        raise Unavailable("Redis", "the lock cannot be taken") from error
    if not acquired:
        raise EntityBusy("another run is working on this record")
    owner = asyncio.current_task()
    assert owner is not None  # noqa: S101 - a coroutine that runs belongs to a task
    lost = asyncio.Event()
    renewer = asyncio.create_task(_renew(lock, ttl_seconds / 3, owner, lost))
    try:
        yield
    except asyncio.CancelledError:
        if lost.is_set() and owner.uncancel() == 0:
            raise EntityBusy("the lock was lost while working") from None
        raise
    finally:
        renewer.cancel()
        with suppress(LockError, RedisError):
            await asyncio.shield(lock.release())


async def _renew(lock: Lock, interval_seconds: float, owner: asyncio.Task[object], lost: asyncio.Event) -> None:
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await lock.reacquire()
        except (LockError, RedisError):
            lost.set()
            owner.cancel()
            return
