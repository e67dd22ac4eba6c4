"""The look at PostgreSQL leaves nothing behind, however often somebody asks, and needs no special rights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from config import Settings
from services import health
from services.resources import Resources

LOOKS = 30
ROWS = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_all_tables"
SPILLED = "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
async def owner(make_settings: Callable[..., Settings]) -> AsyncIterator[Settings]:
    """The settings of a role that owns the database and may do nothing else."""
    settings = make_settings()
    postgres = settings.postgres
    admin = await asyncpg.connect(host=postgres.host, user=postgres.user, database=postgres.db_name)
    role = f"owner_of_{postgres.db_name}"
    await admin.execute(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {postgres.db_name} OWNER TO {role}")
    await admin.execute(f"ALTER SCHEMA public OWNER TO {role}")
    yield make_settings(POSTGRES_USER=role)
    await admin.execute(f"ALTER DATABASE {postgres.db_name} OWNER TO {postgres.user}")
    await admin.execute(f"REASSIGN OWNED BY {role} TO {postgres.user}; DROP OWNED BY {role}; DROP ROLE {role}")
    await admin.close()


async def test_many_looks_at_postgresql_write_no_row_and_leave_no_file(owner: Settings) -> None:
    async with Resources(owner) as worker:
        pool = await worker.database()
        await health._check_postgres(worker)
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
        rows, spilled = await pool.fetchval(ROWS), await pool.fetchval(SPILLED)

        for _ in range(LOOKS):
            await health._check_postgres(worker)

        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await pool.fetchval(ROWS) == rows
        assert await pool.fetchval(SPILLED) >= spilled + LOOKS - 1  # the look did use the disk
        admin = await asyncpg.connect(host=owner.postgres.host, user="postgres", database=owner.postgres.db_name)
        directory = Path(await admin.fetchval("SHOW data_directory")) / "base" / "pgsql_tmp"
        await admin.close()
        assert list(directory.iterdir()) == []
