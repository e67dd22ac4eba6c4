"""Locks that end or cancel, and enqueueing that says what it has done."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.core.errors import EntityBusy, Unavailable
from services.core.jobs.pending import enqueue_unless_pending, pending_key
from services.core.jobs.queue import NotEnqueued, enqueue_all
from services.core.locks import held_lock, record_lock
from services.core.resources import Resources

KEY = "sync_lock:test"


async def test_only_one_holds_a_lock_and_it_is_free_afterwards(
    resources: Resources,
) -> None:
    async with held_lock(resources.redis, KEY, 60):
        with pytest.raises(EntityBusy):
            async with held_lock(resources.redis, KEY, 60):
                pytest.fail("the lock was taken twice")
    async with held_lock(resources.redis, KEY, 60):
        assert await resources.redis.exists(KEY)
    assert not await resources.redis.exists(KEY)


async def test_a_lock_outlives_its_ttl_while_it_is_held(resources: Resources) -> None:
    async with held_lock(resources.redis, KEY, 2.0):
        first = await resources.redis.pttl(KEY)
        async with asyncio.timeout(60):
            while await resources.redis.pttl(KEY) <= first:
                first = min(first, await resources.redis.pttl(KEY))
                await asyncio.sleep(0.02)


async def test_a_lock_that_another_worker_has_taken_cancels_the_work_and_is_not_released(
    resources: Resources,
) -> None:
    async with asyncio.timeout(60):
        with pytest.raises(EntityBusy, match="lost"):
            async with held_lock(resources.redis, KEY, 0.6):
                await resources.redis.set(KEY, "another")
                await asyncio.Event().wait()
    assert await resources.redis.get(KEY) == "another"


async def test_a_cancelled_run_releases_its_lock_and_stays_cancelled(
    resources: Resources,
) -> None:
    holding = asyncio.Event()

    async def work() -> None:
        async with held_lock(resources.redis, KEY, 60):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await holding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await resources.redis.exists(KEY)


async def test_a_queue_that_fails_half_way_reports_how_many_events_it_has(
    resources: Resources,
) -> None:
    taken: list[int] = []

    async def enqueue(event: dict[str, Any]) -> None:
        if event["data"]["n"] == 65:
            raise RuntimeError("full")
        taken.append(event["data"]["n"])

    with pytest.raises(NotEnqueued) as caught:
        await enqueue_all(
            enqueue, "t", ({"n": n} for n in range(100)), timeout_seconds=5
        )

    assert caught.value.confirmed == 65
    assert set(range(65)) <= set(taken)


async def test_the_key_of_an_enqueued_event_is_confirmed(resources: Resources) -> None:
    async def enqueue(_: dict[str, Any]) -> None:
        assert await resources.redis.ttl(pending_key("t", "a")) <= 8

    new = await enqueue_unless_pending(
        resources,
        enqueue,
        "t",
        {"a": {"n": 1}},
        pending_seconds=300,
        timeout_seconds=5,
    )

    assert new == ["a"]
    async with asyncio.timeout(60):
        while await resources.redis.ttl(pending_key("t", "a")) <= 8:
            await asyncio.sleep(0.01)


async def test_a_slow_call_is_given_up_but_never_cancelled(
    resources: Resources,
) -> None:
    released = asyncio.Event()
    ended: list[str] = []

    async def enqueue(_: dict[str, Any]) -> None:
        try:
            await released.wait()
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")

    with pytest.raises(NotEnqueued):
        await enqueue_all(enqueue, "t", [{}], timeout_seconds=0.05)
    released.set()
    async with asyncio.timeout(60):
        while not ended:
            await asyncio.sleep(0.01)
    assert ended == ["done"]


async def test_a_record_stays_locked_although_redis_forgets(
    resources: Resources, make_settings: Any
) -> None:
    async with Resources(make_settings()) as other, record_lock(resources, KEY, 60):
        await resources.redis.flushall()
        with pytest.raises(EntityBusy):
            async with record_lock(other, KEY, 60):
                pytest.fail("two workers hold the lock")
    async with record_lock(resources, KEY, 60):
        assert await resources.redis.exists(KEY)
    assert not await resources.redis.exists(KEY)


async def test_a_worker_that_dies_leaves_no_lock_in_postgresql(
    resources: Resources, make_settings: Any
) -> None:
    async with Resources(make_settings()) as dying:
        pool = await dying.lock_connections()
        connection = await pool.acquire()
        assert await connection.fetchval(
            "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", KEY
        )
        pool.terminate()
    async with asyncio.timeout(60):
        while True:
            try:
                async with record_lock(resources, KEY, 60):
                    return
            except EntityBusy:
                await asyncio.sleep(0.01)


async def test_all_who_wait_for_an_unreachable_database_learn_of_it_at_once(
    make_settings: Any,
) -> None:
    async def swallow(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    settings = make_settings(
        POSTGRES_HOST="127.0.0.1",
        POSTGRES_PORT=str(port),
        POSTGRES_TIMEOUT_SECONDS="0.5",
    )
    async with silent, Resources(settings) as resources, asyncio.timeout(8):
        results = await asyncio.gather(
            *(resources.database() for _ in range(20)), return_exceptions=True
        )
    assert all(isinstance(result, Unavailable) for result in results)
