"""The engine's functions, asked through the iii SDK: the same on the embedded and the real engine.

The connection reconnects by itself. A call that takes too long is left alone: cancelling one makes iii-sdk 0.8.3 deaf
(`services.core.jobs.queue`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from iii import III, InitOptions
from iii.iii import ReconnectionConfig

from services.core.errors import Unavailable

CALL_SECONDS = 3.0
WORKER_NAME = "bitbylaw-board"


class EngineError(Unavailable):
    """The engine answered with an error, for example because it has no such function."""


class EngineClient:
    """One connection to the engine, opened when first needed."""

    def __init__(self, url: str, seconds: float = CALL_SECONDS) -> None:
        self._url = url
        self._seconds = seconds
        self._sdk: III | None = None
        self._opening: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[Any]] = set()

    async def call(self, function_id: str, **data: Any) -> Any:
        """What the function answers.

        Raises:
            Unavailable: the engine is away or slow. EngineError: it answered with an error.
        """
        sdk = await self._connected()
        call = asyncio.ensure_future(
            sdk.trigger(function_id, data, timeout=self._seconds),
        )
        self._calls.add(call)
        call.add_done_callback(self._forget)
        done, _ = await asyncio.wait([call], timeout=self._seconds + 1)
        if not done:
            raise Unavailable("engine", "no answer")
        error = call.exception()
        if isinstance(error, TimeoutError):
            raise Unavailable("engine", "no answer")
        if error is not None:
            raise EngineError("engine", f"{function_id} failed")
        return call.result()

    async def enqueue(self, message: dict[str, Any]) -> Any:
        """Enqueue ``{"topic", "data"}``, as a step's context does."""
        return await self.call("enqueue", **message)

    async def close(self) -> None:
        """Close the connection."""
        if self._opening is not None:
            self._opening.cancel()
        if self._sdk is not None:
            await self._sdk.shutdown()

    async def _connected(self) -> III:
        if self._sdk is None:
            logging.getLogger("iii.iii").setLevel(logging.ERROR)
            options = InitOptions(
                worker_name=WORKER_NAME,
                enable_metrics_reporting=False,
                otel={"enabled": False},
                reconnection_config=ReconnectionConfig(500, 3000),
            )
            self._sdk = III(self._url, options)
            self._opening = asyncio.ensure_future(self._sdk.connect())
        if self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening], timeout=self._seconds)
        if self._sdk.get_connection_state() != "connected":
            raise Unavailable("engine", "cannot be reached")
        return self._sdk

    def _forget(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # marks it as retrieved
