"""What the services share within one event loop: settings, clock, HTTP session, Redis, PostgreSQL.

Opened when first used, closed together. The Motia worker has no shutdown hook, so the first use on its loop also
installs a handler for SIGTERM that ends the running handlers (which release their locks) and closes everything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import aiohttp
import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from config import RedisSettings, Settings, get_settings
from services.core.database import open_database, open_lock_connections
from services.core.http import new_session
from services.core.store_errors import CONNECTION_ERRORS
from services.core.write_guard import WriteGuard

Shared = TypeVar("Shared")
Clock = Callable[[], datetime]

SHUTDOWN_SECONDS = 8.0


def system_clock() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


class Resources:
    """The shared connections of one event loop. ``async with Resources(settings) as resources`` closes them."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = system_clock,
        as_it_is: bool = False,
    ) -> None:
        """``as_it_is``: PostgreSQL is opened without migrations; see `open_database`."""
        self.settings = settings
        self.clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._redis: dict[int, Redis] = {}
        self._database = _Pool(
            lambda: open_database(settings.postgres, as_it_is=as_it_is),
        )
        self._lock_connections = _Pool(lambda: open_lock_connections(settings.postgres))
        self._shared: dict[type[Any], Any] = {}
        #: One Advoware login at a time, also while Redis is down.
        self.login_lock = asyncio.Lock()
        #: Decides on what the clients send; None: all of it is sent.
        self.guard: WriteGuard | None = None

    def now(self) -> datetime:
        """The present, in UTC."""
        return self.clock().astimezone(UTC)

    def shared(self, kind: type[Shared]) -> Shared:
        """The one object of this kind that all clients on these resources share; made when first asked for.

        If it has a method ``close``, that is called (and not awaited) when the resources are closed.
        """
        if kind not in self._shared:
            self._shared[kind] = kind()
        return self._shared[kind]  # type: ignore[no-any-return]

    @property
    def http(self) -> aiohttp.ClientSession:
        """The shared HTTP session."""
        if self._session is None or self._session.closed:
            self._session = new_session()
        return self._session

    @property
    def redis(self) -> Redis:
        """Redis, the database for locks, pending keys and the Advoware token."""
        return self._redis_database(self.settings.redis.db_advoware_cache)

    @property
    def calendar_redis(self) -> Redis:
        """Redis, the database for the calendar sync."""
        return self._redis_database(self.settings.redis.db_calendar_sync)

    def _redis_database(self, number: int) -> Redis:
        if number not in self._redis:
            self._redis[number] = _new_redis(self.settings.redis, number)
        return self._redis[number]

    async def database(self) -> asyncpg.Pool:
        """The PostgreSQL pool; the first call applies missing migrations.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        return await self._database.get()

    async def lock_connections(self) -> asyncpg.Pool:
        """The PostgreSQL connections that hold locks; see `services.core.locks.record_lock`.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        return await self._lock_connections.get()

    async def close(self) -> None:
        """Close everything that was opened."""
        self._close_shared()
        if self._session is not None:
            await self._session.close()
        for client in self._redis.values():
            await client.aclose()
        for pool in (self._lock_connections, self._database):
            await pool.close()

    def _close_shared(self) -> None:
        for shared in self._shared.values():
            if hasattr(shared, "close"):
                shared.close()
        self._shared.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Pool:
    """A pool of connections, opened when first asked for. All who wait for it learn of a failure at the same time."""

    def __init__(self, opener: Callable[[], Coroutine[Any, Any, asyncpg.Pool]]) -> None:
        self._opener = opener
        self._opening: asyncio.Task[asyncpg.Pool] | None = None

    async def get(self) -> asyncpg.Pool:
        if self._opening is None:
            self._opening = asyncio.create_task(self._opener())
            self._opening.add_done_callback(self._forget_failure)
        # One who gives up waiting leaves it to the others.
        return await asyncio.shield(self._opening)

    def _forget_failure(self, opening: asyncio.Task[asyncpg.Pool]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._opening = None

    async def close(self) -> None:
        opening = self._opening
        self._opening = None
        if opening is None:
            return
        if not opening.done():
            opening.cancel()
            await asyncio.wait([opening])
            return
        pool = opening.result()
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS / 2):
                await pool.close()
        except CONNECTION_ERRORS:  # the server has ended some of them, or is busy
            pool.terminate()


def _new_redis(settings: RedisSettings, number: int) -> Redis:
    password = settings.password.get_secret_value() if settings.password else None
    return Redis(
        host=settings.host,
        port=settings.port,
        password=password,
        db=number,
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.timeout_seconds,
        # One more try replaces a connection that a restarted Redis has closed; more would only delay the answer.
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )


_resources: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Resources] = (
    weakref.WeakKeyDictionary()
)


def current_resources() -> Resources:
    """The resources of the running event loop, with the settings of the process.

    Raises:
        ConfigurationError: the settings are unusable.
    """
    loop = asyncio.get_running_loop()
    resources = _resources.get(loop)
    if resources is None:
        resources = _resources[loop] = Resources(get_settings())
        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGTERM, _begin_shutdown, loop, resources)
    return resources


def _begin_shutdown(loop: asyncio.AbstractEventLoop, resources: Resources) -> None:
    # A second SIGTERM ends the process at once.
    loop.remove_signal_handler(signal.SIGTERM)
    running = asyncio.all_tasks(loop)
    loop.create_task(_shut_down(running, resources))


async def _shut_down(running: set[asyncio.Task[object]], resources: Resources) -> None:
    """Cancel the running handlers, give them time to release their locks, close, and end as SIGTERM would.

    A cancelled handler sends no result: the connection ends with the process, and the engine returns the job to its
    queue. The SDK runs each invocation in a task of ``III._handle_invoke``.
    """
    handlers = [task for task in running if _is_handler(task)]
    for task in handlers:
        task.cancel()
    with suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            await asyncio.gather(*handlers, return_exceptions=True)
            await resources.close()
    os._exit(128 + signal.SIGTERM)


def _is_handler(task: asyncio.Task[object]) -> bool:
    return getattr(task.get_coro(), "__name__", "") == "_handle_invoke"
