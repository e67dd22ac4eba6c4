"""The old system's table in PostgreSQL: found, read, moved aside, and brought back.

It is renamed to ``calendar_sync_v0`` and kept. Renaming and making our tables is one transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.core.database import apply_migrations, database_errors, holds_old_system
from services.core.errors import InvalidInput

OLD, ASIDE = "calendar_sync", "calendar_sync_v0"
#: So many rows are read at once.
PORTION = 2000
#: Names of the old table's indexes and sequences that our tables need begin like this, and are not longer.
_PREFIX, _LONGEST = "calendar_sync", 60
_SUFFIX = "_v0"

Row = dict[str, Any]

#: Rows that only our sync can have made.
_TRACES = (
    "SELECT 1 FROM sync_audit",
    "SELECT 1 FROM create_intent",
    "SELECT 1 FROM calendar_sync_intent",
    "SELECT 1 FROM calendar_sync_run",
    "SELECT 1 FROM calendar_sync_audit WHERE action <> 'taken_over'",
)


@dataclass(frozen=True)
class Stage:
    """How far the take-over of this database is.

    Attributes:
        table: the old system's table, be it moved aside already; None: there is none.
        has_begun: our tables are there, and ``takeover run`` has made or found them.
        has_finished: it has come to its end.
        has_synced: our sync has worked with this database.
        has_rows: our tables hold rows.
    """

    table: str | None
    has_begun: bool = False
    has_finished: bool = False
    has_synced: bool = False
    has_rows: bool = False


class OldTable:
    """The old system's table and the record of its take-over. ``pool`` is opened without migrations."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    # -- reading --------------------------------------------------------------------------------------------------

    async def stage(self) -> Stage:
        """How far the take-over is; nothing is written."""
        async with database_errors():
            if await holds_old_system(self._pool):
                return Stage(OLD)
            table = ASIDE if await self._exists(ASIDE) else None
            if not await self._exists("takeover"):
                return Stage(table)
            row = await self._pool.fetchrow("SELECT finished_at FROM takeover")
            return Stage(
                table,
                has_begun=row is not None,
                has_finished=row is not None and row["finished_at"] is not None,
                has_synced=await self._has_synced(),
                has_rows=await self._has_rows(),
            )

    async def _exists(self, table: str) -> bool:
        return bool(
            await self._pool.fetchval("SELECT to_regclass($1) IS NOT NULL", table),
        )

    async def _has_synced(self) -> bool:
        for trace in _TRACES:
            if await self._pool.fetchval(f"{trace} LIMIT 1"):
                return True
        return False

    async def _has_rows(self) -> bool:
        return bool(
            await self._pool.fetchval(
                "SELECT EXISTS (SELECT FROM calendar_sync) OR EXISTS (SELECT FROM sync_state)",
            ),
        )

    async def columns(self, table: str) -> dict[str, str]:
        """The columns of the old table with their types, in their order."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT column_name, data_type FROM information_schema.columns
                WHERE table_name = $1 AND table_schema = current_schema() ORDER BY ordinal_position
                """,
                table,
            )
        return {row["column_name"]: row["data_type"] for row in rows}

    async def rows(self, table: str) -> list[Row]:
        """All rows, in an order that is the same each time."""
        found: list[Row] = []
        async with (
            database_errors(None),
            self._pool.acquire() as connection,
            connection.transaction(readonly=True),
        ):
            cursor = await connection.cursor(
                f"SELECT * FROM {table} AS old ORDER BY old::text",  # noqa: S608 - one of two names
            )
            portion = await cursor.fetch(PORTION)
            while portion:
                found += [dict(row) for row in portion]
                portion = await cursor.fetch(PORTION)
        return found

    # -- moving ---------------------------------------------------------------------------------------------------

    async def begin(self, now: datetime) -> None:
        """Move the old table aside and make our tables, in one transaction; nothing if that was done before.

        Raises:
            InvalidInput: a table of an earlier take-over is in the way.
        """
        async with self._changing() as connection:
            if await connection.fetchval("SELECT to_regclass('takeover')"):
                await _note_begin(connection, now, {}, [], [])
                return
            before = await _relations(connection)
            functions = await _functions(connection)
            moved = await _move_aside(connection)
            await apply_migrations(connection)
            kept = (before - set(moved.values())) | moved.keys()
            tables = sorted(await _relations(connection) - kept)
            made = sorted(await _functions(connection) - functions)
            await _note_begin(connection, now, moved, tables, made)

    async def finish(self, now: datetime) -> None:
        """Note that everything was taken over: workers may start."""
        async with database_errors():
            await self._pool.execute(
                "UPDATE takeover SET finished_at = coalesce(finished_at, $1)",
                now,
            )

    async def undo(self) -> list[str]:
        """Bring the old table back and drop what the take-over has made; returns what was done.

        Raises:
            InvalidInput: there is nothing to undo, our sync has worked with the database, or the old table is gone.
        """
        _require_undoable(await self.stage())
        async with self._changing() as connection:
            row = await connection.fetchrow("SELECT * FROM takeover")
            if not row["made_tables"]:
                await _forget(connection)
                return ["what was taken over is forgotten; there was no old table"]
            await _require_moved(connection, row["moved"])
            await _bring_back(connection, row)
            return _undone(row["moved"])

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[asyncpg.Connection]:
        async with (
            database_errors(None),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute("SET LOCAL lock_timeout = '10s'")
            yield connection


def _require_undoable(stage: Stage) -> None:
    """Refuse to undo what was not taken over, or what our sync has worked with.

    Raises:
        InvalidInput: says why.
    """
    if not stage.has_begun:
        raise InvalidInput("nothing was taken over in this database")
    if stage.has_synced:
        raise InvalidInput(
            "a sync has worked with what was taken over, so it cannot be undone; "
            "docs/cutover.md says how to go back from here",
        )


async def _require_moved(connection: asyncpg.Connection, moved: dict[str, str]) -> None:
    """Refuse to drop our tables if the old one is not here to take their place.

    Raises:
        InvalidInput: it is not; a backup does not hold it.
    """
    for present in moved:
        found = await connection.fetchval(
            "SELECT to_regclass(quote_ident($1))",
            present,
        )
        if found is None:
            raise InvalidInput(
                f"{present}, which the take-over moved aside, is not in this database; nothing was changed. Restore "
                "the dump of the old database (docs/cutover.md)",
            )


async def _bring_back(connection: asyncpg.Connection, row: Any) -> None:
    """Drop what the take-over has made, and rename what it has moved aside."""
    for table in row["made_tables"]:
        await connection.execute(f'DROP TABLE "{table}" CASCADE')
    for function in row["made_functions"]:
        await connection.execute(f'DROP FUNCTION "{function}"')
    for present, former in row["moved"].items():
        await _rename(connection, present, former)


async def _relations(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
    )
    return {row["tablename"] for row in rows}


async def _functions(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace",
    )
    return {row["proname"] for row in rows}


async def _move_aside(connection: asyncpg.Connection) -> dict[str, str]:
    """Rename the old table, and all whose names our tables need; ``{present name: former name}``."""
    if not await holds_old_system(connection):
        return {}
    if await connection.fetchval("SELECT to_regclass($1)", ASIDE):
        raise InvalidInput(
            f"there is a table {ASIDE} already, beside the old system's {OLD}: "
            "rename or drop the one of them that is not needed",
        )
    rows = await connection.fetch(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'i', 'S', 'v')
            AND starts_with(relname, $1) AND length(relname) <= $2 ORDER BY relname
        """,
        _PREFIX,
        _LONGEST,
    )
    moved = {}
    for row in rows:
        former = row["relname"]
        moved[f"{former}{_SUFFIX}"] = former
        await _rename(connection, former, f"{former}{_SUFFIX}")
    return moved


async def _rename(connection: asyncpg.Connection, present: str, wanted: str) -> None:
    # For indexes, sequences and views as well.
    await connection.execute(f'ALTER TABLE "{present}" RENAME TO "{wanted}"')


async def _note_begin(
    connection: asyncpg.Connection,
    now: datetime,
    moved: dict[str, str],
    tables: list[str],
    functions: list[str],
) -> None:
    await connection.execute(
        """
        INSERT INTO takeover (began_at, moved, made_tables, made_functions) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
        """,
        now,
        moved,
        tables,
        functions,
    )


async def _forget(connection: asyncpg.Connection) -> None:
    """Empty our tables of what was taken over; they were there, empty, before."""
    audit = "calendar_sync_audit"
    await connection.execute(f"ALTER TABLE {audit} DISABLE TRIGGER append_only")
    for table in (
        audit,
        "calendar_sync",
        "calendar_sync_cursor",
        "sync_state",
        "takeover",
    ):
        await connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    await connection.execute(f"ALTER TABLE {audit} ENABLE TRIGGER append_only")


def _undone(moved: dict[str, str]) -> list[str]:
    done = ["our tables were dropped"]
    if moved.get(ASIDE) == OLD:
        done.append(f"the old system's table is called {OLD} again")
    return done
