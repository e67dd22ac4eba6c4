"""What leaves a step as its error: the engine keeps and shows it, in dead letters, traces and 500s."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from services.core.errors import failure_code
from services.core.log import log


class StepFailed(Exception):
    """A step's error without what a foreign record contains; its text is a `failure_code`."""


def with_quotable_errors(
    step: str,
    handler: Callable[..., Awaitable[Any]],
) -> Callable[..., Awaitable[Any]]:
    """The handler of a step, which raises only `StepFailed`; what it was, and where, is logged (``step.failed``)."""

    @functools.wraps(handler)
    async def run(*arguments: Any) -> Any:
        try:
            return await handler(*arguments)
        except Exception as error:  # noqa: BLE001 - each of them, because any text may quote a record
            failure = StepFailed(failure_code(error))
        log(None, "error", "step.failed", step=step, error=str(failure))
        raise failure

    return run
