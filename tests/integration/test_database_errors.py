"""What is wrong with PostgreSQL is reported with its remedy, and is no record's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
import pytest
from beteiligte_office import PHONES, Office, office
from servers import Stores

from config import Settings
from services.core.database import POOL_SIZE, database_errors
from services.core.errors import (
    BitByLawError,
    Conflict,
    DatabaseUnusable,
    Unavailable,
    is_no_records_fault,
)
from services.core.resources import Resources
from services.vmh_sync.store import SyncState, SyncStore

__all__ = ["office"]

NOW = datetime(2026, 11, 26, tzinfo=UTC)


async def raising(pool: asyncpg.Pool, code: str) -> None:
    """Let the server raise an error with this code."""
    await pool.execute(
        f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("08006", "cannot be reached"),
        ("25006", "read-only"),
        ("40001", "another transaction"),
        ("40P01", "another transaction"),
        ("53100", "disk is full"),
        ("53200", "memory"),
        ("53300", "max_connections"),
        ("53400", "resources"),
        ("55P03", "another session"),
        ("57014", "cancelled"),
        ("57P01", "starting or stopping"),
        ("57P03", "starting or stopping"),
        ("58030", "disk or operating system"),
        ("XX001", "internal error"),
    ],
)
async def test_conditions_of_the_server_are_worth_another_try(
    resources: Resources, code: str, words: str
) -> None:
    pool = await resources.database()
    with pytest.raises(Unavailable, match=words) as caught:
        async with database_errors():
            await raising(pool, code)
    assert is_no_records_fault(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("28000", "login"),
        ("3D000", "POSTGRES_DB_NAME"),
        ("42501", "rights"),
        ("42P01", "migrations"),
    ],
)
async def test_what_only_a_person_can_mend_is_reported_as_such(
    resources: Resources, code: str, words: str
) -> None:
    pool = await resources.database()
    with pytest.raises(DatabaseUnusable, match=words) as caught:
        async with database_errors():
            await raising(pool, code)
    assert is_no_records_fault(caught.value)


async def test_a_lost_table_asks_for_the_migrations(resources: Resources) -> None:
    pool = await resources.database()
    await pool.execute("DROP TABLE sync_state")
    with pytest.raises(DatabaseUnusable, match="migrations"):
        await SyncStore(pool).load("CBeteiligte", "x")


async def test_a_database_that_does_not_exist_is_named(
    make_settings: Callable[..., Settings],
) -> None:
    async with Resources(make_settings(POSTGRES_DB_NAME="nowhere")) as resources:
        with pytest.raises(DatabaseUnusable, match="POSTGRES_DB_NAME"):
            await resources.database()


async def test_a_standby_refuses_with_a_remedy_also_at_the_first_start(
    resources: Resources, make_settings: Callable[..., Settings], database: str
) -> None:
    pool = await resources.database()
    await pool.execute(
        f"ALTER DATABASE {database} SET default_transaction_read_only = on"
    )
    async with Resources(make_settings()) as later:
        with pytest.raises(Unavailable, match="primary"):
            await later.database()


async def test_two_transactions_that_wait_for_each_other_are_worth_another_try(
    resources: Resources,
) -> None:
    pool = await resources.database()
    await pool.execute("CREATE TABLE pair (n int); INSERT INTO pair VALUES (1), (2)")

    async def update(first: int, second: int) -> None:
        async with (
            database_errors(),
            pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute("SET LOCAL deadlock_timeout = '50ms'")
            await connection.execute("UPDATE pair SET n = n WHERE n = $1", first)
            met.release()
            async with asyncio.timeout(60):
                while met._value < 2:
                    await asyncio.sleep(0.01)
            await connection.execute("UPDATE pair SET n = n WHERE n = $1", second)

    met = asyncio.Semaphore(0)
    results = await asyncio.gather(update(1, 2), update(2, 1), return_exceptions=True)
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, Unavailable)
    assert "DeadlockDetectedError" in str(error)


async def test_values_that_do_not_fit_are_our_defect_and_a_taken_link_is_a_conflict(
    resources: Resources,
) -> None:
    store = SyncStore(await resources.database())
    with pytest.raises(asyncpg.DataError):
        await store.load("CBeteiligte", "a\0b")
    await store.save(SyncState("CBeteiligte", "x", advoware_id="7"))
    with pytest.raises(Conflict) as caught:
        await store.save(SyncState("CBeteiligte", "y", advoware_id="7"))
    assert not is_no_records_fault(caught.value)


async def test_waiting_for_a_free_connection_has_an_end(resources: Resources) -> None:
    pool = await resources.database()
    connections = [await pool.acquire() for _ in range(POOL_SIZE)]
    with pytest.raises(Unavailable, match="PostgreSQL"):
        async with database_errors(0.2):
            await pool.fetchval("SELECT 1")
    for connection in connections:
        await pool.release(connection)
    async with database_errors(5):
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_cancelled_use_stays_cancelled(resources: Resources) -> None:
    pool = await resources.database()

    async def use() -> None:
        async with database_errors():
            await pool.fetchval("SELECT pg_sleep(60)")

    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("code", ["53100", "42501"])
async def test_a_full_disk_while_the_phones_are_synced_uses_up_no_try_either(
    office: Office, code: str
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, phoneNumberData=PHONES)
    pool = await office.resources.database()
    await pool.execute(
        f"""
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON sync_state FOR EACH ROW
            WHEN (NEW.entity_type <> 'CBeteiligte') EXECUTE FUNCTION full_disk()
        """
    )
    for _ in range(6):
        with pytest.raises((BitByLawError, DatabaseUnusable)) as caught:
            await office.sync(entity_id)
        assert is_no_records_fault(caught.value)
    assert not (await office.in_espocrm(entity_id))["syncRetryCount"]

    await pool.execute("DROP TRIGGER full_disk ON sync_state")
    office.clock.advance(minutes=5)
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"
    assert [entry["tlf"] for entry in office.in_advoware(betnr)["kommunikation"]] != []


@pytest.mark.parametrize("code", ["53100", "25006", "42501"])
@pytest.mark.parametrize("table", ["sync_state", "create_intent", "sync_audit"])
async def test_a_full_disk_uses_up_no_try_of_the_record(
    office: Office, code: str, table: str
) -> None:
    entity_id, betnr = await office.linked_person()
    fresh = await office.new_person(lastName="Neu")
    await office.edit_espocrm(entity_id, lastName="Geändert")
    pool = await office.resources.database()
    await pool.execute(
        f"""
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION full_disk()
        """
    )
    for record in (entity_id, fresh):
        for _ in range(6):
            if table == "create_intent" and record == entity_id:
                break
            with pytest.raises((BitByLawError, DatabaseUnusable)) as caught:
                await office.sync(record)
            assert is_no_records_fault(caught.value)
        shown: dict[str, Any] = await office.in_espocrm(record)
        assert not shown["syncRetryCount"]
        assert shown["syncStatus"] not in {"failed", "permanently_failed"}

    await pool.execute(f"DROP TRIGGER full_disk ON {table}")
    office.clock.advance(minutes=5)
    for record in (entity_id, fresh):
        await office.sync(record)
        assert (await office.in_espocrm(record))["syncStatus"] == "clean"
    assert office.in_advoware(betnr)["name"] == "Geändert"
    assert len(office.advoware.state()["beteiligte"]) == 2


def end_connections(stores: Stores, database: str) -> None:
    """Let the server end all connections, without a wait in between: their pools do not know of it yet."""
    with psycopg.connect(stores.postgres.url(database), autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("rounds", range(1, 5))
async def test_a_worker_stops_also_when_the_server_ends_its_connections(
    make_settings: Callable[..., Settings], stores: Stores, database: str, rounds: int
) -> None:
    loop = asyncio.get_running_loop()

    def end_after(more: int) -> None:
        if more:
            loop.call_soon(end_after, more - 1)
        else:
            end_connections(stores, database)

    async with Resources(make_settings()) as resources:
        pools = (await resources.database(), await resources.lock_connections())
        for pool in pools:
            await pool.fetchval("SELECT 1")
        end_after(rounds)

    assert all(pool.is_closing() for pool in pools)


async def test_waiting_connections_that_the_server_has_ended_are_worth_another_try(
    resources: Resources, stores: Stores, database: str
) -> None:
    pool = await resources.database()
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.05)") for _ in range(4)))
    end_connections(stores, database)

    refusals = 0
    for _ in range(2 * POOL_SIZE):
        try:
            async with database_errors():
                await pool.fetchval("SELECT 1")
        except Unavailable:
            refusals += 1

    assert refusals > 1
    async with database_errors():
        assert await pool.fetchval("SELECT 1") == 1
