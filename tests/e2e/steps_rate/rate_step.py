"""Queue step that takes one call of a rate limit, for the test of two workers."""

from typing import Any

from services.core.errors import RateLimited
from services.core.rate_limit import Rate, acquire
from services.core.resources import current_resources

config = {
    "name": "Rate Probe",
    "flows": ["test"],
    "triggers": [
        {"type": "queue", "topic": "test.rate", "config": {"concurrency": 50}}
    ],
    "enqueues": [],
}


async def handler(input_data: dict[str, Any], ctx: Any) -> None:
    """Note in Redis when the call was allowed, or that it was refused."""
    resources = current_resources()
    try:
        await acquire(
            resources,
            "probe",
            Rate(per_second=20, burst=5, per_minute=30),
            max_wait_seconds=5,
        )
    except RateLimited:
        await resources.calendar_redis.rpush("probe:refused", input_data["n"])
    else:
        seconds, micros = await resources.calendar_redis.time()
        await resources.calendar_redis.rpush(
            f"probe:allowed:{input_data['n']}", seconds * 1_000_000 + micros
        )
