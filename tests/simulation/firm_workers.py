"""Workers of the simulation, two in one process, each of which can die at any moment as by ``kill -9``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from services import google_calendar
from services.core import resources as product
from services.core.resources import Resources

#: The worker in whose process the running task is.
WORKER: ContextVar[Worker | None] = ContextVar("WORKER", default=None)


class Worker:
    """A worker process: its connections, and the tasks that run in it."""

    def __init__(self, number: int, resources: MortalResources) -> None:
        self.number = number
        self.resources = resources
        self.tasks: set[asyncio.Task[Any]] = set()
        self.is_dead = False

    def die(self) -> None:
        """As by ``kill -9``: nothing that it does from here on reaches another program, and all its tasks end."""
        self.is_dead = True
        self.resources.tear_down()
        for task in list(self.tasks):
            task.cancel()

    async def bury(self) -> None:
        """Wait until its tasks are over, and forget its connections."""
        left = [task for task in self.tasks if not task.done()]
        if left:
            await asyncio.wait(left, timeout=30)
        if self.is_dead:
            self.resources.forget()
        else:
            await self.resources.close()


class MortalResources(Resources):
    """Connections that can be cut for good, whoever still holds them."""

    is_dead = False

    @property
    def is_in_google(self) -> bool:
        """Whether a thread is busy with a request to Google."""
        threads = self._shared.get(google_calendar._Threads)
        if threads is None:
            return False
        pool = threads._pool
        return len(pool._threads) > pool._idle_semaphore._value

    @property
    def http(self) -> aiohttp.ClientSession:
        """The shared session; a dead worker gets no new one."""
        if self.is_dead:
            raise aiohttp.ClientConnectionError("this worker is dead")
        return super().http

    def _redis_database(self, number: int) -> Redis:
        if self.is_dead:
            raise RedisConnectionError("this worker is dead")
        return super()._redis_database(number)

    def tear_down(self) -> None:
        """Cut every connection at once."""
        self.is_dead = True
        if self._session is not None and self._session.connector is not None:
            self._session.connector._close(abort_ssl=True)
        for client in self._redis.values():
            _cut(client)
        for pool in (self._lock_connections, self._database):
            opening = pool._opening
            if opening is None:
                continue
            if opening.done() and not opening.cancelled() and not opening.exception():
                opening.result().terminate()
            opening.cancel()

    def forget(self) -> None:
        """After `tear_down`: release what can be used no more."""
        self._redis.clear()
        if self._session is not None:
            self._session.detach()


def _cut(client: Redis) -> None:
    pool = client.connection_pool

    async def refuse(*_: Any, **__: Any) -> Any:
        raise RedisConnectionError("this worker is dead")

    pool.get_connection = refuse
    for connection in [*pool._available_connections, *pool._in_use_connections]:
        connection.connect = refuse
        if connection._writer is not None:
            connection._writer.transport.abort()


class Mortal:
    """Awaits a coroutine; when that waits for the ``after``-th time, its worker dies."""

    def __init__(
        self, work: Coroutine[Any, Any, Any], after: int, worker: Worker
    ) -> None:
        self._work, self._after, self._worker = work, after, worker

    def __await__(self) -> Generator[Any, Any, Any]:
        waits, value, error = 0, None, None
        while True:
            try:
                future = self._next(value, error)
            except StopIteration as end:
                return end.value
            waits += 1
            if waits == self._after:
                self._worker.die()
            try:
                value, error = (yield future), None
            except BaseException as thrown:  # noqa: BLE001 - whatever it is, it is the coroutine's
                error = thrown

    def _next(self, value: Any, error: BaseException | None) -> Any:
        if error is not None:
            return self._work.throw(error)
        return self._work.send(value)


class _OfTheRunningWorker:
    """In the place of the product's registry of resources by event loop: both workers share one loop here."""

    def get(self, loop: asyncio.AbstractEventLoop) -> Resources | None:
        """The resources of the worker to which the running task belongs."""
        worker = WORKER.get()
        assert worker is not None, "this is no worker's task"
        return worker.resources


@contextmanager
def workers_by_task() -> Iterator[None]:
    """Let `current_resources` answer with those of the task's own worker, and let workers know their tasks."""
    known = product._resources
    loop = asyncio.get_running_loop()
    product._resources = _OfTheRunningWorker()  # type: ignore[assignment]
    loop.set_task_factory(_new_task)
    try:
        yield
    finally:
        loop.set_task_factory(None)
        product._resources = known


def _new_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    context: Context | None = None,
) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, context=context)
    worker = WORKER.get() if context is None else context.get(WORKER)
    if worker is not None:
        worker.tasks.add(task)
        task.add_done_callback(worker.tasks.discard)
    return task
