"""Background tasks that belong to the engine and end with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from local_engine.logs import log_event


class Tasks:
    """Keeps references to running tasks, logs the ones that crash and cancels the rest at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, Any],
        name: str,
    ) -> asyncio.Task[Any]:
        """Run ``coroutine`` in the background; ``name`` appears in the log if it crashes."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log_event(
                "task.crashed",
                logging.ERROR,
                task=task.get_name(),
                error=type(error).__name__,
            )

    async def cancel(self) -> None:
        """Cancel everything and wait until it is gone."""
        pending = list(self._tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
