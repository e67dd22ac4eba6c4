"""An event loop whose clock runs fast: pauses and timeouts of the product need not be sat out."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: So much faster than the clock on the wall do pauses and timeouts of the event loop pass.
HASTE = 10.0


class _HastySelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / HASTE if timeout and timeout > 0 else timeout)


class _HastyLoop(asyncio.SelectorEventLoop):
    """Its clock runs `HASTE` times as fast: the product's pauses between attempts need not be sat out."""

    def __init__(self) -> None:
        super().__init__(_HastySelector())

    def time(self) -> float:
        return super().time() * HASTE


@contextmanager
def hasty_runner() -> Iterator[asyncio.Runner]:
    """A runner whose pauses and timeouts pass quickly."""
    with asyncio.Runner(loop_factory=_HastyLoop) as runner:
        yield runner
