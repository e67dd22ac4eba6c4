"""A rate limit that all workers share: a token bucket in Redis, with a ceiling per minute.

The script books the next free moment and says how long to wait for it, so that callers are served in the order they
came, with one round trip each and no polling. A caller that gives up while it waits loses only its own booking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from services.core.errors import RateLimited
from services.core.metrics import RATE_LIMIT_SECONDS
from services.core.resources import Resources
from services.core.store_errors import redis_errors

MAX_WAIT_SECONDS = 30.0
_UNREADABLE = "the rate limit cannot be read"


@dataclass(frozen=True)
class Rate:
    """``burst`` calls at once, then ``per_second``, and in no minute more than ``per_minute``."""

    per_second: float = 7.0
    burst: int = 50
    per_minute: int = 500


DEFAULT_RATE = Rate()  #: below Google's 600 calls a minute
GOOGLE_CALENDAR = "google_calendar"
#: The limits that there are, for those who look at them.
LIMITS: Mapping[str, Rate] = {GOOGLE_CALENDAR: DEFAULT_RATE}

# Times are microseconds of Redis's own clock. The bucket is kept as the moment at which it will be full again (known as
# "generic cell rate algorithm"); the log holds the latest moments booked, the newest first. Returns the microseconds to
# wait; negative: longer than the caller would, nothing is booked.
_BOOK = """
local bucket, log = KEYS[1], KEYS[2]
local interval, burst, per_minute, max_wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local full = math.max(now, tonumber(redis.call('GET', bucket) or '0'))
local moment = math.max(now, full - (burst - 1) * interval)
local oldest = redis.call('LINDEX', log, per_minute - 1)
if oldest then
    moment = math.max(moment, tonumber(oldest) + 60000000)
end
local wait = moment - now
if wait > max_wait then
    return -wait
end
full = math.max(full, moment) + interval
local ttl = math.ceil((full - now) / 1000) + 60000
redis.call('SET', bucket, string.format('%.0f', full), 'PX', ttl)
redis.call('LPUSH', log, string.format('%.0f', moment))
redis.call('LTRIM', log, 0, per_minute - 1)
redis.call('PEXPIRE', log, ttl)
return wait
"""


async def acquire(
    resources: Resources,
    name: str,
    rate: Rate = DEFAULT_RATE,
    *,
    max_wait_seconds: float = MAX_WAIT_SECONDS,
) -> None:
    """Wait until one more call under the limit ``name`` is allowed. All callers of a name use the same rate.

    Raises:
        RateLimited: that would take longer than ``max_wait_seconds``.
        Unavailable: Redis does not answer, so that it is unknown what the other workers do.
    """
    book = resources.calendar_redis.register_script(_BOOK)
    keys = [f"rate_limit:{{{name}}}:bucket", f"rate_limit:{{{name}}}:log"]
    interval = round(1_000_000 / rate.per_second)
    max_wait = round(max_wait_seconds * 1_000_000)
    with redis_errors(_UNREADABLE):
        wait = await book(
            keys=keys,
            args=[interval, rate.burst, rate.per_minute, max_wait],
        )
    if wait < 0:
        raise RateLimited(
            "Redis",
            f"the rate limit {name} is booked for the next {max_wait_seconds:g} s",
            retry_after_seconds=-wait / 1_000_000,
        )
    RATE_LIMIT_SECONDS.labels(name).observe(wait / 1_000_000)
    if wait > 0:
        await asyncio.sleep(wait / 1_000_000)


async def calls_of_last_minute(resources: Resources, name: str) -> int:
    """How many calls under the limit ``name`` were booked for the last 60 seconds, or for later.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = resources.calendar_redis
    with redis_errors(_UNREADABLE):
        seconds, microseconds = await redis.time()
        moments = await redis.lrange(f"rate_limit:{{{name}}}:log", 0, -1)
    a_minute_ago = (seconds - 60) * 1_000_000 + microseconds
    return sum(int(moment) >= a_minute_ago for moment in moments)


async def tokens_left(resources: Resources, name: str, rate: Rate) -> float:
    """How many calls under the limit could be made at once now; negative: so many are booked ahead.

    Raises:
        Unavailable: Redis does not answer.
    """
    redis = resources.calendar_redis
    with redis_errors(_UNREADABLE):
        seconds, microseconds = await redis.time()
        full = float(await redis.get(f"rate_limit:{{{name}}}:bucket") or 0)
    missing = max(0.0, full / 1_000_000 - (seconds + microseconds / 1_000_000))
    return rate.burst - missing * rate.per_second
