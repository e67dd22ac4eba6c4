"""What is read of one dependency: the value, or why it is missing; and a page of it.

Nothing here waits for long, and nothing raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.core.errors import BitByLawError, ForeignSystemError
from services.core.log import log

T = TypeVar("T")

#: A page is there after this time, whatever is away.
PART_SECONDS = 4.0
#: Rows of a page.
PAGE_ROWS = 50


@dataclass(frozen=True)
class Part(Generic[T]):
    """One part of a page: ``value``, or in ``missing`` which system is missing and why."""

    value: T | None = None
    missing: str | None = None


def offset_of(page: int) -> int:
    """How many rows lie before a page; pages count from 1."""
    return (page - 1) * PAGE_ROWS


def first_page(found: Part[list[T]]) -> tuple[Part[list[T]], bool]:
    """The rows of a page of which one more was read, and whether there are more."""
    if found.value is None:
        return found, False
    rows = found.value[:PAGE_ROWS]
    has_next = len(found.value) > PAGE_ROWS
    return Part(rows), has_next


def page_of(found: Part[list[T]], page: int) -> tuple[Part[list[T]], bool]:
    """A page of all rows, and whether there are more."""
    if found.value is None:
        return found, False
    offset = offset_of(page)
    from_page_on = found.value[offset:]
    return first_page(Part(from_page_on))


async def part(
    work: Coroutine[Any, Any, T],
    system: str,
    seconds: float = PART_SECONDS,
) -> Part[T]:
    """The value of ``work``, or that it is missing after ``seconds``. A hanging call is left to end by itself.

    A frozen PostgreSQL keeps even a cancelled query, so cancelling is not waited for.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_retrieve)
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        return Part(missing=f"{system}: no answer within {seconds:g} s")
    error = task.exception()
    if error is None:
        return Part(task.result())
    reason = _reason(error)
    return Part(missing=f"{system}: {reason}")


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _reason(error: BaseException) -> str:
    """What is wrong, in words that quote no foreign system."""
    name = type(error).__name__
    if isinstance(error, ForeignSystemError):
        if error.status:
            return f"{name} ({error.status})"
        return name
    if isinstance(error, BitByLawError):
        return str(error)
    log(None, "warning", "operate.part_missing", error=name)
    return name
