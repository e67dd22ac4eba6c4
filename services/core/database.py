"""PostgreSQL: bounded pools per event loop, and the migrations of `db/migrations`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg

from config import PROJECT_ROOT, PostgresSettings
from services.core.foreign_text import clean_value
from services.core.store_errors import database_errors

__all__ = [
    "LOCK_CONNECTIONS",
    "MIGRATIONS",
    "POOL_SIZE",
    "database_errors",
    "migrate",
    "open_database",
    "open_lock_connections",
]

MIGRATIONS = PROJECT_ROOT / "db" / "migrations"
POOL_SIZE = 8
#: How many records one worker may work on at the same time; further ones wait.
LOCK_CONNECTIONS = 16
COMMAND_TIMEOUT_SECONDS = 30.0
#: "BB_mig": any number that is used for no other advisory lock.
_MIGRATION_LOCK = 0x42425F6D6967


async def open_database(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool on the configured database, with all migrations applied. JSONB columns are Python values.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    pool = await _open_pool(settings, min_size=1, max_size=POOL_SIZE, init=_use_json)
    try:
        # Without a limit: another process may be migrating, and that may take its time.
        async with database_errors(None):
            await migrate(pool)
    except BaseException:
        await pool.close()
        raise
    return pool


async def open_lock_connections(settings: PostgresSettings) -> asyncpg.Pool:
    """A pool of connections that are only there to hold advisory locks, so that no query waits for them.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    return await _open_pool(settings, min_size=0, max_size=LOCK_CONNECTIONS)


async def _open_pool(settings: PostgresSettings, **options: Any) -> asyncpg.Pool:
    password = settings.password.get_secret_value() if settings.password else None
    async with database_errors():
        return await asyncpg.create_pool(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=password,
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
    migrations = await asyncio.to_thread(_read_migrations, directory)
    applied = []
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        rows = await connection.fetch("SELECT name FROM schema_migration")
        known = {row["name"] for row in rows}
        for name, statements in migrations:
            if name in known:
                continue
            await connection.execute(statements)
            await connection.execute(
                "INSERT INTO schema_migration (name) VALUES ($1)", name
            )
            applied.append(name)
    return applied


def _read_migrations(directory: Path) -> list[tuple[str, str]]:
    """Names and statements, in the order in which they are applied."""
    paths = sorted(directory.glob("*.sql"), key=lambda path: path.name)
    return [(path.name, path.read_text("utf-8")) for path in paths]
