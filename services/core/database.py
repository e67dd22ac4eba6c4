"""PostgreSQL: bounded pools per event loop, and the migrations of `db/migrations`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from config import PROJECT_ROOT, PostgresSettings
from services.core.errors import DatabaseUnusable, Unavailable
from services.core.foreign_text import clean_value

MIGRATIONS = PROJECT_ROOT / "db" / "migrations"
POOL_SIZE = 8
#: How many records one worker may work on at the same time; further ones wait.
LOCK_CONNECTIONS = 16
COMMAND_TIMEOUT_SECONDS = 30.0
_MIGRATION_LOCK = (
    0x42425F6D6967  # "BB_mig": any number that nobody else uses for an advisory lock
)


#: For one use of a pool: waiting for a free connection, and the statements.
USE_SECONDS = 60.0

#: What asyncpg raises when the connection fails, not the statement.
CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
)

#: Conditions of the server that pass or that an operator ends, by the beginning of PostgreSQL's error code.
_PASSING = {
    "08": "cannot be reached",
    "25006": "is read-only: POSTGRES_HOST must name the primary, not a standby",
    "40": "another transaction was in the way",
    "53100": "its disk is full: free space there",
    "53200": "it has no memory left",
    "53300": "it has no connection left: raise its max_connections, or run fewer workers",
    "53": "it lacks resources, see its log",
    "55": "another session was in the way",
    "57014": "the statement was cancelled",
    "57": "it is starting or stopping",
    "58": "its disk or operating system fails, see its log",
    "F0": "its configuration is broken, see its log",
    "XX": "an internal error, see its log",
}
#: Conditions that only a person can end.
_LASTING = {
    "0A000": "PostgreSQL is too old for our statements: version 15 or newer is needed",
    "28": "PostgreSQL refuses the login: POSTGRES_USER, POSTGRES_PASSWORD and its pg_hba.conf",
    "3D": "PostgreSQL has no such database: POSTGRES_DB_NAME",
    "3F": "PostgreSQL lacks our schema: apply the migrations (a restart of the worker does)",
    "42501": "POSTGRES_USER lacks rights on our tables: make it their owner",
    "42703": "PostgreSQL lacks a column: apply the migrations (a restart of the worker does)",
    "42883": "PostgreSQL lacks a function: apply the migrations (a restart of the worker does)",
    "42P01": "PostgreSQL lacks a table: apply the migrations (a restart of the worker does)",
}


@asynccontextmanager
async def database_errors(seconds: float | None = USE_SECONDS) -> AsyncIterator[None]:
    """Turn what is wrong with PostgreSQL into errors with a remedy; the block may take so many seconds.

    What is wrong with a statement or its values stays as asyncpg raises it: a `UniqueViolationError` means something
    to some callers, and the rest are defects of ours.

    Raises:
        Unavailable: unreachable, read-only, disk full, no connection left, deadlock, ...; worth another try.
        DatabaseUnusable: login, database, rights or tables are missing.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        understood = _understood(error)
        if understood is None:
            raise
        raise understood from error


def _understood(error: Exception) -> Unavailable | DatabaseUnusable | None:
    code = str(getattr(error, "sqlstate", None) or "")
    if code:
        if lasting := _meaning(_LASTING, code):
            return DatabaseUnusable(lasting)
        if passing := _meaning(_PASSING, code):
            return Unavailable("PostgreSQL", f"{passing} ({type(error).__name__})")
    if isinstance(error, CONNECTION_ERRORS):
        return Unavailable("PostgreSQL", f"cannot be reached ({type(error).__name__})")
    return None


def _meaning(meanings: Mapping[str, str], code: str) -> str | None:
    """The entry of the code itself, or of its class."""
    return meanings.get(code) or meanings.get(code[:2])


async def open_database(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool on the configured database, with all migrations applied. JSONB columns are Python values.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    pool = await _open_pool(settings, min_size=1, max_size=POOL_SIZE, init=_use_json)
    try:
        async with database_errors(
            None
        ):  # another process may be at it, and that may take its time
            await migrate(pool)
    except BaseException:
        await pool.close()
        raise
    return pool


async def open_lock_connections(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool of connections that are only there to hold advisory locks, so that nobody waits for them with a query.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    return await _open_pool(settings, min_size=0, max_size=LOCK_CONNECTIONS)


async def _open_pool(settings: PostgresSettings, **options: Any) -> asyncpg.Pool:
    async with database_errors():
        return await asyncpg.create_pool(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password.get_secret_value()
            if settings.password
            else None,
            database=settings.db_name,
            timeout=settings.timeout_seconds,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            server_settings={"application_name": "bitbylaw"},
            **options,
        )


async def _use_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_to_json, decoder=json.loads
    )


def _to_json(value: Any) -> str:
    """JSON that PostgreSQL takes: it refuses NUL and unpaired surrogates."""
    return json.dumps(clean_value(value), ensure_ascii=False)


async def migrate(pool: asyncpg.Pool, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that are missing, in order of their names, in one transaction.

    Safe to run from several processes at once. Returns the names applied.
    """
    files = await asyncio.to_thread(
        lambda: [
            (path.name, path.read_text("utf-8")) for path in directory.glob("*.sql")
        ]
    )
    applied = []
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        known = {
            row["name"]
            for row in await connection.fetch("SELECT name FROM schema_migration")
        }
        for name, statements in sorted(files):
            if name not in known:
                await connection.execute(statements)
                await connection.execute(
                    "INSERT INTO schema_migration (name) VALUES ($1)", name
                )
                applied.append(name)
    return applied
