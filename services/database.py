"""PostgreSQL: bounded pools per event loop, and the migrations of `db/migrations`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from config import PROJECT_ROOT, PostgresSettings
from services.errors import Unavailable
from services.foreign_text import clean_value

MIGRATIONS = PROJECT_ROOT / "db" / "migrations"
POOL_SIZE = 8
#: How many records one worker may work on at the same time; further ones wait.
LOCK_CONNECTIONS = 16
COMMAND_TIMEOUT_SECONDS = 30.0
_MIGRATION_LOCK = 0x42425F6D6967  # "BB_mig": any number that nobody else uses for an advisory lock


#: What asyncpg raises when the connection fails, not the statement.
CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
)


@asynccontextmanager
async def database_errors() -> AsyncIterator[None]:
    """Turn failures of the connection (not of the statement) into `Unavailable`."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise Unavailable("PostgreSQL", f"cannot be reached ({type(error).__name__})") from error


async def open_database(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool on the configured database, with all migrations applied. JSONB columns are Python values.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    pool = await _open_pool(settings, min_size=1, max_size=POOL_SIZE, init=_use_json)
    try:
        async with database_errors():
            await migrate(pool)
    except BaseException:
        await pool.close()
        raise
    return pool


async def open_lock_connections(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool of connections that are only there to hold advisory locks, so that nobody waits for them with a query.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    return await _open_pool(settings, min_size=0, max_size=LOCK_CONNECTIONS)


async def _open_pool(settings: PostgresSettings, **options: Any) -> asyncpg.Pool:
    async with database_errors():
        return await asyncpg.create_pool(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=settings.password.get_secret_value() if settings.password else None,
            database=settings.db_name,
            timeout=settings.timeout_seconds,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            server_settings={"application_name": "bitbylaw"},
            **options,
        )


async def _use_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_to_json, decoder=json.loads)


def _to_json(value: Any) -> str:
    """JSON that PostgreSQL takes: it refuses NUL and unpaired surrogates."""
    return json.dumps(clean_value(value), ensure_ascii=False)


async def migrate(pool: asyncpg.Pool, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that are missing, in order of their names, in one transaction.

    Safe to run from several processes at once. Returns the names applied.
    """
    files = await asyncio.to_thread(lambda: [(path.name, path.read_text("utf-8")) for path in directory.glob("*.sql")])
    applied = []
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        known = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migration")}
        for name, statements in sorted(files):
            if name not in known:
                await connection.execute(statements)
                await connection.execute("INSERT INTO schema_migration (name) VALUES ($1)", name)
                applied.append(name)
    return applied
