"""Repeating what may be repeated. The only module that knows the `backoff` library (no longer maintained)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

import backoff

from services.core.errors import (
    ForeignSystemError,
    RateLimited,
    Unavailable,
    UpstreamTimeout,
)

Result = TypeVar("Result")

ATTEMPTS = 3
LONGEST_PAUSE_SECONDS = 4.0
THROTTLED_ATTEMPTS = 6
LONGEST_THROTTLED_PAUSE_SECONDS = 16.0


async def retry_unavailable(
    call: Callable[[], Awaitable[Result]],
    *,
    repeatable: bool,
    max_seconds: float,
    attempts: int = ATTEMPTS,
) -> Result:
    """Run ``call`` until the system answers, with growing random pauses.

    ``repeatable`` says whether the request may reach the system twice; if not, it is only repeated when it certainly
    never arrived. A timeout is not repeated: the caller's time is spent. No new attempt starts after ``max_seconds``.

    Raises:
        Unavailable: the last failure.
    """

    def is_final(error: Exception) -> bool:
        if isinstance(error, UpstreamTimeout):
            return True
        return isinstance(error, Unavailable) and error.was_sent and not repeatable

    # An inner coroutine function, because backoff looks at the function, not at what it returns.
    @backoff.on_exception(
        backoff.expo,
        Unavailable,
        max_tries=attempts,
        max_time=max_seconds,
        max_value=LONGEST_PAUSE_SECONDS,
        factor=0.25,
        giveup=is_final,
        logger=None,  # its own log lines would contain the text of foreign answers
    )
    async def repeated() -> Result:
        return await call()

    return await repeated()


async def retry_throttled(
    call: Callable[[], Awaitable[Result]],
    *,
    system: str,
    repeatable: bool,
    max_seconds: float,
) -> Result:
    """Run ``call`` until ``system`` answers, however often it asks for patience (429, 403 with a quota reason, 5xx).

    The pauses grow exponentially and at random; where the error has ``retry_after_seconds`` they come on top of it.
    Only errors of ``system`` are repeated, not those of Redis on the way. ``repeatable`` says whether a request of
    unknown fate may reach the system twice. Nothing is repeated that could not start within ``max_seconds``.

    Raises:
        RateLimited, Unavailable: the last failure.
    """
    started = asyncio.get_running_loop().time()

    def is_final(error: Exception) -> bool:
        if not isinstance(error, ForeignSystemError) or error.system != system:
            return True
        if isinstance(error, Unavailable) and error.was_sent and not repeatable:
            return True
        left = max_seconds - (asyncio.get_running_loop().time() - started)
        return _asked_pause(error) >= left

    @backoff.on_exception(
        _throttled_pauses,
        (RateLimited, Unavailable),
        max_tries=THROTTLED_ATTEMPTS,
        max_time=max_seconds,
        jitter=None,  # the pauses are random already
        giveup=is_final,
        logger=None,
    )
    async def repeated() -> Result:
        return await call()

    return await repeated()


def _throttled_pauses() -> Generator[float, Any, None]:
    error = yield 0.0  # backoff drops the first value and sends the error for each further one
    longest = 0.5
    while True:
        error = yield _asked_pause(error) + random.uniform(0.0, longest)  # noqa: S311 - jitter is no secret
        longest = min(2 * longest, LONGEST_THROTTLED_PAUSE_SECONDS)


def _asked_pause(error: Exception) -> float:
    """The seconds of a ``Retry-After``, 0 without one."""
    if not isinstance(error, ForeignSystemError):
        return 0.0
    return error.retry_after_seconds or 0.0
