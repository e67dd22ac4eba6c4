"""What the board and the operators' commands read from: stores, foreign systems, engine, and the steps' own config."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import asyncpg

from config import Settings
from services.core.database import database_errors
from services.core.operation.engine import EngineClient
from services.core.operation.steps import Step, load_steps
from services.core.resources import Resources

__all__ = ["Sources", "Step"]

T = TypeVar("T")

#: When a value was made that is not in the cache, and the value.
_NEVER_MADE: tuple[float, Any] = (float("-inf"), None)


class Sources:
    """Opened when first used, closed together: ``async with Sources(settings) as sources``."""

    def __init__(
        self,
        settings: Settings,
        *,
        resources: Resources | None = None,
    ) -> None:
        self.settings = settings
        self.resources = resources or Resources(settings)
        self.engine = EngineClient(settings.engine.url)
        self._steps: list[Step] | None = None
        self._cache: dict[str, tuple[float, Any]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def rows(
        self,
        make: Callable[[asyncpg.Record], T],
        query: str,
        *values: Any,
    ) -> list[T]:
        """What ``make`` makes of each row of a query.

        Raises:
            Unavailable, DatabaseUnusable: see `database_errors`.
        """
        pool = await self.resources.database()
        async with database_errors():
            found = await pool.fetch(query, *values)
        return [make(row) for row in found]

    async def steps(self) -> list[Step]:
        """The steps by their names; loaded once, in a thread."""
        if self._steps is None:
            self._steps = await asyncio.to_thread(load_steps)
        return self._steps

    async def cached(
        self,
        key: str,
        seconds: float,
        make: Callable[[], Awaitable[T]],
    ) -> T:
        """A value that is at most so many seconds old; several who ask at once share one making."""
        async with self._locks[key]:
            made_at, value = self._cache.get(key, _NEVER_MADE)
            age = time.monotonic() - made_at
            if age > seconds:
                value = await make()
                self._cache[key] = (time.monotonic(), value)
            return value  # type: ignore[no-any-return]

    def forget(self) -> None:
        """After a repair: what is shown next is read again."""
        self._cache.clear()

    async def close(self) -> None:
        """Close everything that was opened."""
        await self.engine.close()
        await self.resources.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
