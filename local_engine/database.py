"""PostgreSQL: the connection pool, the schema and the lock that makes this engine the only one on its database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from local_engine.errors import DatabaseStartupError, StorageUnavailableError
from local_engine.logs import log_event

Connection = psycopg.AsyncConnection[tuple[object, ...]]

#: Advisory lock of the engine that owns a database (an arbitrary constant: "iii" and a serial number).
LOCK_KEY = 0x696969_0001
#: How long a starting engine waits for a dying predecessor to release it (seconds).
LOCK_WAIT = 5.0
#: How long a caller waits for a connection before the database counts as unavailable (seconds).
POOL_TIMEOUT = 5.0
POOL_SIZE = 10
#: After so long without work the pool gives up one connection; each takes 3 MB of PostgreSQL (seconds).
IDLE = 30.0

# Tables of our own hold only what procrastinate has no place for. A function's failed executions are procrastinate's
# ``attempts`` minus ``forgiven`` (executions that ended because a worker or the engine was lost, or that happened
# before a redrive). The index lets a topic be read in order beside another topic's backlog: without it one look into
# an empty topic reads every waiting job (30 ms at 100,000 jobs instead of 0.2 ms).
_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS engine;
CREATE TABLE IF NOT EXISTS engine.job_notes (
    job_id bigint PRIMARY KEY REFERENCES procrastinate_jobs (id) ON DELETE CASCADE,
    forgiven integer NOT NULL DEFAULT 0,
    interruptions integer NOT NULL DEFAULT 0,
    error text
);
CREATE TABLE IF NOT EXISTS engine.state (
    namespace text NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    value json NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (namespace, scope, key)
);
CREATE INDEX IF NOT EXISTS engine_jobs_in_order ON procrastinate_jobs (queue_name, priority DESC, id)
    WHERE status = 'todo';
"""


class Database:
    """Opens the database, owns it while it is open, and notices when the ownership is lost."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._lock: Connection | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Yield a connection; the block is one transaction.

        Raises StorageUnavailableError when PostgreSQL is away or refuses to work. Two errors are left to the caller:
        psycopg.DataError (a value that cannot be stored) and RaiseException (a rule of procrastinate's own).
        """
        if self._pool is None:
            raise StorageUnavailableError
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.DataError, psycopg.errors.RaiseException):
            raise
        except (psycopg.Error, PoolTimeout) as exc:
            log_event("database.error", logging.WARNING, error=type(exc).__name__)
            raise StorageUnavailableError from exc

    async def open(self) -> None:
        """Take the lock, apply the schema, open the pool. Raises DatabaseStartupError."""
        try:
            self._lock = await self._take_lock(LOCK_WAIT)
            self._pool = AsyncConnectionPool(
                self._conninfo,
                min_size=2,
                max_size=POOL_SIZE,
                timeout=POOL_TIMEOUT,
                max_idle=IDLE,
                reconnect_timeout=POOL_TIMEOUT,
                check=AsyncConnectionPool.check_connection,
                kwargs={"application_name": "local_engine"},
                open=False,
            )
            await self._pool.open(wait=True, timeout=POOL_TIMEOUT)
            await self._apply_schema(self._pool)
        except (psycopg.Error, PoolTimeout) as exc:
            await self.close()
            raise DatabaseStartupError(
                f"The engine's database cannot be used: {_reason(exc)}",
            ) from exc
        except DatabaseStartupError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections, which also releases the lock."""
        if self._pool is not None:
            await self._pool.close(timeout=1.0)
            self._pool = None
        if self._lock is not None:
            await self._lock.close()
            self._lock = None

    async def _apply_schema(self, pool: AsyncConnectionPool[Connection]) -> None:
        connector = PsycopgConnector()
        await connector.open_async(pool)
        app = App(connector=connector)
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        async with pool.connection() as connection:
            await connection.execute(_SCHEMA)

    async def _take_lock(self, wait: float) -> Connection:
        connection: Connection = await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            application_name="local_engine lock",
        )
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            row = await (
                await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY])
            ).fetchone()
            if row is not None and row[0]:
                return connection
            if asyncio.get_running_loop().time() >= deadline:
                await connection.close()
                raise DatabaseStartupError(
                    "Another engine is running on this database; stop it first.",
                )
            await asyncio.sleep(0.1)

    async def guard_lock(self, on_lost: Callable[[str], None]) -> None:
        """Watch the lock's connection; take the lock again when PostgreSQL was restarted.

        Calls ``on_lost`` with a reason when another engine has taken over: this one must then stop.
        """
        while True:
            await asyncio.sleep(1.0)
            try:
                if self._lock is None:
                    self._lock = await self._take_lock(LOCK_WAIT)
                    log_event("database.lock_regained")
                async with asyncio.timeout(POOL_TIMEOUT):
                    await self._lock.execute("SELECT 1")
            except DatabaseStartupError as exc:
                on_lost(str(exc))
                return
            except (psycopg.Error, TimeoutError):
                if self._lock is not None:
                    log_event("database.lock_lost", logging.ERROR)
                    await self._lock.close()
                    self._lock = None


def _reason(error: Exception) -> str:
    """Say why PostgreSQL cannot be used; texts about the connection string itself would repeat its password."""
    if isinstance(error, psycopg.OperationalError) and str(error):
        return str(error).splitlines()[0]
    return type(error).__name__
