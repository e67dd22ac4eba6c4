"""A look at PostgreSQL or EspoCRM leaves nothing behind, however often it is asked, and needs no special rights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from config import Settings
from sandbox.espocrm.app import EspoCRMTwin
from services.api import health
from services.core.errors import (
    AuthenticationFailed,
    ForeignSystemError,
    UnexpectedAnswer,
)
from services.core.resources import Resources

LOOKS = 30
ROWS = (
    "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_all_tables"
)
SPILLED = "SELECT temp_files FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
async def owner(make_settings: Callable[..., Settings]) -> AsyncIterator[Settings]:
    """The settings of a role that owns the database and may do nothing else."""
    settings = make_settings()
    postgres = settings.postgres
    admin = await asyncpg.connect(
        host=postgres.host, user=postgres.user, database=postgres.db_name
    )
    role = f"owner_of_{postgres.db_name}"
    await admin.execute(
        f"CREATE ROLE {role} LOGIN; ALTER DATABASE {postgres.db_name} OWNER TO {role}"
    )
    await admin.execute(
        f"DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION {role}"
    )
    yield make_settings(POSTGRES_USER=role)
    await admin.execute(f"ALTER DATABASE {postgres.db_name} OWNER TO {postgres.user}")
    await admin.execute(
        f"REASSIGN OWNED BY {role} TO {postgres.user}; DROP OWNED BY {role}; DROP ROLE {role}"
    )
    await admin.close()


async def test_many_looks_at_postgresql_write_no_row_and_leave_no_file(
    owner: Settings,
) -> None:
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
        assert (
            await pool.fetchval(SPILLED) >= spilled + LOOKS - 1
        )  # the look did use the disk
        admin = await asyncpg.connect(
            host=owner.postgres.host, user="postgres", database=owner.postgres.db_name
        )
        directory = (
            Path(await admin.fetchval("SHOW data_directory")) / "base" / "pgsql_tmp"
        )
        await admin.close()
        assert list(directory.iterdir()) == []


async def test_many_looks_at_espocrm_use_the_key_once(
    make_settings: Callable[..., Settings], espocrm: EspoCRMTwin
) -> None:
    async with Resources(make_settings()) as worker:
        for _ in range(LOOKS):
            await health._check_espocrm(worker)
    paths = [entry["path"].partition("?")[0] for entry in espocrm.journal]
    assert paths.count("/api/v1/CBeteiligte") == 1
    assert paths.count("/api/v1/Settings") == LOOKS - 1


async def test_a_refused_key_and_an_espocrm_in_trouble_are_reported(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
) -> None:
    async with Resources(make_settings(ESPOCRM_MARVIN_API_KEY="falsch")) as worker:
        for _ in range(2):
            with pytest.raises(AuthenticationFailed):
                await health._check_espocrm(worker)
    async with Resources(make_settings()) as worker:
        await health._check_espocrm(worker)
        async with control.post(
            f"{espocrm.url}/__sandbox__/faults", json={"status": 500}
        ) as answer:
            assert answer.status == 200, await answer.text()
        with pytest.raises(ForeignSystemError):
            await health._check_espocrm(worker)


@pytest.mark.parametrize("page", ["<html>Wartung</html>", "", "[]", '"x"'])
async def test_a_page_in_the_place_of_espocrm_is_not_espocrm(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    page: str,
) -> None:
    async with Resources(make_settings()) as worker:
        await health._check_espocrm(worker)
        async with control.post(
            f"{espocrm.url}/__sandbox__/faults",
            json={"text": page, "content_type": "text/html"},
        ) as answer:
            assert answer.status == 200, await answer.text()

        with pytest.raises(UnexpectedAnswer):
            await health._check_espocrm(worker)
