"""The databases of tests: used again without rows, never with changed tables or settings."""

from __future__ import annotations

import asyncpg
import pytest
from servers import Stores

NOTE = "INSERT INTO look_again (entity_type, entity_id, requested, asked_at) VALUES ('x', 'y', '{}', now())"
CHANGES = (
    "ALTER TABLE look_again ADD COLUMN further int",
    "DROP TABLE look_again CASCADE",
    "CREATE INDEX further ON look_again (asked_at)",
    "DELETE FROM schema_migration",
    "ALTER DATABASE {name} SET default_transaction_read_only = on",
)


async def _connect(stores: Stores, name: str) -> asyncpg.Connection:
    postgres = stores.postgres
    return await asyncpg.connect(host=postgres.host, user=postgres.user, database=name)


async def test_a_database_is_used_again_without_rows_and_without_its_connections(
    stores: Stores,
) -> None:
    for _ in range(2):
        async with stores.new_database() as name:
            left_open = await _connect(stores, name)
            assert await left_open.fetchval("SELECT count(*) FROM look_again") == 0
            await left_open.execute(NOTE)
        async with stores.new_database() as again:
            assert again == name
        assert left_open.is_closed() or not await _answers(left_open)


async def _answers(connection: asyncpg.Connection) -> bool:
    try:
        await connection.fetchval("SELECT 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False
    return True


@pytest.mark.parametrize("change", CHANGES)
async def test_a_database_that_was_changed_is_not_used_again(
    stores: Stores, change: str
) -> None:
    async with stores.new_database() as name:
        connection = await _connect(stores, name)
        await connection.execute(change.format(name=name))
        await connection.close()

    async with stores.new_database() as other:
        assert other != name
