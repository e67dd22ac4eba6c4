"""The rate limit that all workers share, on real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from config import Settings
from services.core.errors import RateLimited, Unavailable
from services.core.rate_limit import Rate, acquire
from services.core.resources import Resources

SLOW = Rate(per_second=0.01, burst=5, per_minute=500)


async def served(
    resources: Resources, rate: Rate, calls: int, name: str = "test"
) -> int:
    """How many of the calls are allowed at once."""
    results = await asyncio.gather(
        *(acquire(resources, name, rate, max_wait_seconds=0.001) for _ in range(calls)),
        return_exceptions=True,
    )
    assert {type(result) for result in results} <= {type(None), RateLimited}
    return results.count(None)


async def test_all_workers_draw_from_one_bucket(
    resources: Resources, make_settings: Callable[..., Settings]
) -> None:
    async with Resources(make_settings()) as other_worker:
        first, second = await asyncio.gather(
            served(resources, SLOW, 4), served(other_worker, SLOW, 4)
        )

    assert first + second == SLOW.burst
    assert await served(resources, SLOW, 1, name="another") == 1


async def test_no_minute_sees_more_calls_than_its_ceiling(resources: Resources) -> None:
    assert (
        await served(
            resources, Rate(per_second=1_000_000, burst=100, per_minute=30), 40
        )
        == 30
    )


async def test_who_must_wait_is_served_in_turn_at_the_rate(
    resources: Resources,
) -> None:
    rate = Rate(per_second=50, burst=1, per_minute=500)
    loop = asyncio.get_running_loop()
    moments: list[float] = []

    async def call() -> None:
        await acquire(resources, "test", rate)
        moments.append(loop.time())

    started = loop.time()
    await asyncio.gather(*(call() for _ in range(10)))

    # Never faster than the rate, whatever this machine is busy with: the tenth call waits for nine intervals.
    assert max(moments) - started >= 9 / 50


async def test_a_refusal_says_how_long_to_wait_and_books_nothing(
    resources: Resources,
) -> None:
    await served(resources, SLOW, SLOW.burst)

    waits = []
    for _ in range(3):
        with pytest.raises(RateLimited) as refused:
            await acquire(resources, "test", SLOW, max_wait_seconds=1)
        assert refused.value.retry_after_seconds is not None
        waits.append(refused.value.retry_after_seconds)

    assert 0 < waits[2] <= waits[0] <= 100


async def test_the_marks_in_redis_expire(resources: Resources) -> None:
    await acquire(resources, "test")

    keys = await resources.calendar_redis.keys("rate_limit:*")
    assert len(keys) == 2
    assert all([0 < await resources.calendar_redis.ttl(key) <= 62 for key in keys])


async def test_without_redis_nothing_is_allowed(
    make_settings: Callable[..., Settings],
) -> None:
    async with Resources(make_settings(REDIS_PORT=1)) as without:
        with pytest.raises(Unavailable, match="Redis"):
            await acquire(without, "test")
