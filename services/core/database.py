"""PostgreSQL: bounded pools per event loop, and the migrations of `db/migrations`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg

from config import PROJECT_ROOT, PostgresSettings
from services.core.errors import DatabaseUnusable
from services.core.foreign_text import clean_value
from services.core.store_errors import database_errors

__all__ = [
    "LOCK_CONNECTIONS",
    "MIGRATIONS",
    "POOL_SIZE",
    "apply_migrations",
    "database_errors",
    "holds_old_system",
    "migrate",
    "open_database",
    "open_lock_connections",
    "require_whole_takeover",
]

MIGRATIONS = PROJECT_ROOT / "db" / "migrations"
POOL_SIZE = 8
#: How many records one worker may work on at the same time; further ones wait.
LOCK_CONNECTIONS = 16
COMMAND_TIMEOUT_SECONDS = 30.0
#: A connection that no one has used for so long is closed: each takes 3 MB of PostgreSQL.
IDLE_SECONDS = 60.0
#: "BB_mig": any number that is used for no other advisory lock.
_MIGRATION_LOCK = 0x42425F6D6967
#: Makes our table of this name, which the system before this one had as well.
_CALENDAR_MIGRATION = "0004_calendar_sync.sql"
OLD_SYSTEM = (
    "PostgreSQL: POSTGRES_DB_NAME holds the old system's table calendar_sync. Nothing was changed. "
    "Look what is there with: bitbylaw takeover check (docs/cutover.md)"
)
UNFINISHED_TAKEOVER = (
    "PostgreSQL: a take-over of the old system's state was begun and has not come to its end. "
    "Run again: bitbylaw takeover run (or go back with: bitbylaw takeover undo)"
)


async def open_database(
    settings: PostgresSettings,
    *,
    as_it_is: bool = False,
) -> asyncpg.Pool:
    """A pool on the configured database, with all migrations applied. JSONB columns are Python values.

    ``as_it_is``: nothing is applied or refused, for the take-over of the old system's database.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`. Also DatabaseUnusable: the database holds the old system's
            state, or one that was taken over in part.
    """
    pool = await _open_pool(
        settings,
        min_size=1,
        max_size=POOL_SIZE,
        init=_use_json,
        reset=_leave_session,
    )
    if as_it_is:
        return pool
    try:
        # Without a limit: another process may be migrating, and that may take its time.
        async with database_errors(None):
            await migrate(pool)
            await require_whole_takeover(pool)
    except BaseException:
        pool.terminate()
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
            max_inactive_connection_lifetime=IDLE_SECONDS,
            server_settings={"application_name": "bitbylaw"},
            **options,
        )


async def _use_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_to_json,
        decoder=json.loads,
    )


async def _leave_session(connection: asyncpg.Connection) -> None:
    """Give a connection back without asking PostgreSQL to reset its session.

    What the services set holds for a transaction only (SET LOCAL), and asyncpg has ended that already.
    """


def _to_json(value: Any) -> str:
    """JSON that PostgreSQL takes: it refuses NUL and unpaired surrogates."""
    return json.dumps(clean_value(value), ensure_ascii=False)


async def migrate(pool: asyncpg.Pool, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the migrations that are missing, in order of their names, in one transaction.

    Safe to run from several processes at once. Returns the names applied.

    Raises:
        DatabaseUnusable: the database holds the old system's table; it is left as it is.
    """
    async with pool.acquire() as connection, connection.transaction():
        return await apply_migrations(connection, directory)


async def apply_migrations(
    connection: asyncpg.Connection,
    directory: Path = MIGRATIONS,
) -> list[str]:
    """As `migrate`, in the caller's transaction."""
    migrations = await asyncio.to_thread(_read_migrations, directory)
    applied = []
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
    if await holds_old_system(connection):
        raise DatabaseUnusable(OLD_SYSTEM)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())",
    )
    rows = await connection.fetch("SELECT name FROM schema_migration")
    known = {row["name"] for row in rows}
    for name, statements in migrations:
        if name in known:
            continue
        await connection.execute(statements)
        await connection.execute(
            "INSERT INTO schema_migration (name) VALUES ($1)",
            name,
        )
        applied.append(name)
    return applied


async def holds_old_system(connection: asyncpg.Connection | asyncpg.Pool) -> bool:
    """Whether there is a table ``calendar_sync`` that no migration of this product has made."""
    table = await connection.fetchval("SELECT to_regclass('calendar_sync')")
    if table is None:
        return False
    migrations = await connection.fetchval("SELECT to_regclass('schema_migration')")
    if migrations is None:
        return True
    is_made_here = await connection.fetchval(
        "SELECT true FROM schema_migration WHERE name = $1",
        _CALENDAR_MIGRATION,
    )
    return not is_made_here


async def require_whole_takeover(pool: asyncpg.Pool) -> None:
    """Refuse a database whose take-over was interrupted, because a sync would not know of the rest.

    Raises:
        DatabaseUnusable: says how to go on.
    """
    table = await pool.fetchval("SELECT to_regclass('takeover')")
    if table is None:  # migrations of a directory of their own
        return
    is_unfinished = await pool.fetchval(
        "SELECT true FROM takeover WHERE finished_at IS NULL",
    )
    if is_unfinished:
        raise DatabaseUnusable(UNFINISHED_TAKEOVER)


def _read_migrations(directory: Path) -> list[tuple[str, str]]:
    """Names and statements, in the order in which they are applied."""
    paths = sorted(directory.glob("*.sql"), key=lambda path: path.name)
    return [(path.name, path.read_text("utf-8")) for path in paths]
