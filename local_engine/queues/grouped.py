"""Group commit: what many callers want written at the same time is written together.

The first caller's item is written at once. What arrives meanwhile waits for that write, and then goes into one of its
own. Under load a transaction serves many callers; without load no one waits for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import psycopg

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items of one write; a payload may have a megabyte.
LARGEST_GROUP = 100


class Grouped(Generic[Item, Result]):
    """A function that writes a list of items, offered to callers who have one item each.

    ``write`` returns a result for each item, in order, or raises if nothing was written.
    """

    def __init__(self, write: Callable[[list[Item]], Awaitable[list[Result]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Write the item; returns its result, or raises what writing it raises."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return await answer

    async def _write_all(self) -> None:
        while self._waiting:
            group = self._waiting[:LARGEST_GROUP]
            del self._waiting[:LARGEST_GROUP]
            await self._write_group(group)

    async def _write_group(
        self,
        group: list[tuple[Item, asyncio.Future[Result]]],
    ) -> None:
        answers = [answer for _, answer in group]
        try:
            results = await self._write([item for item, _ in group])
            _give(answers, results)
        except psycopg.DataError as error:
            if len(group) == 1:
                _fail(answers, error)
                return
            for member in group:  # one of them cannot be stored; the others can
                await self._write_group([member])
        except asyncio.CancelledError:
            for answer in answers:
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for this write have to learn it
            _fail(answers, error)


def _give(answers: list[asyncio.Future[Result]], results: list[Result]) -> None:
    for answer, result in zip(answers, results, strict=True):
        if not answer.done():
            answer.set_result(result)


def _fail(answers: list[asyncio.Future[Result]], error: Exception) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(error)
