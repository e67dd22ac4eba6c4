"""The embedded PostgreSQL takes no more processes than it needs (docs/benchmarks.md)."""

from __future__ import annotations

import asyncpg
from servers import Stores


async def test_the_embedded_postgresql_has_no_workers_that_small_data_do_not_need(
    stores: Stores,
) -> None:
    postgres = stores.postgres
    connection = await asyncpg.connect(
        host=postgres.host, user=postgres.user, database="postgres"
    )
    try:
        query = "SELECT DISTINCT backend_type FROM pg_stat_activity"
        kinds = {row["backend_type"] for row in await connection.fetch(query)}
    finally:
        await connection.close()
    assert "client backend" in kinds
    assert {"io worker", "logical replication launcher"}.isdisjoint(kinds)
