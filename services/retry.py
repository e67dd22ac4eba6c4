"""Repeating what may be repeated. The only module that knows the `backoff` library (no longer maintained)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import backoff

from services.errors import Unavailable, UpstreamTimeout

Result = TypeVar("Result")

ATTEMPTS = 3
LONGEST_PAUSE_SECONDS = 4.0


async def retry_unavailable(
    call: Callable[[], Awaitable[Result]], *, repeatable: bool, max_seconds: float, attempts: int = ATTEMPTS
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
