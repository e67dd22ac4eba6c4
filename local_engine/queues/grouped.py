"""Group commit: what many callers want written at the same time is written together.

The first caller's item is written at once. What arrives meanwhile waits for that write, and then goes into one of its
own. Under load a transaction serves many callers; without load no one waits for others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import psycopg

from local_engine.errors import StorageUnavailableError

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
        self, group: list[tuple[Item, asyncio.Future[Result]]]
    ) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except psycopg.DataError as error:
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for member in group:  # one of them cannot be stored; the others can
                await self._write_group([member])
        except (StorageUnavailableError, psycopg.Error) as error:
            for _, answer in group:
                _fail(answer, error)
        else:
            for (_, answer), result in zip(group, results, strict=True):
                if not answer.done():
                    answer.set_result(result)


def _fail(answer: asyncio.Future[Result], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
