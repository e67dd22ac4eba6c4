"""GET /health reports stores that answer and yet cannot keep anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from outside import Outside, outside
from redis.asyncio import Redis

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = {}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system() -> AsyncIterator[Outside]:
    """A system whose stores are troubled."""
    async with outside() as running:
        yield running


@asynccontextmanager
async def redis_of(system: Outside) -> AsyncIterator[Redis]:
    settings = system.system.settings.redis
    assert settings.password is not None
    async with Redis(
        host=settings.host,
        port=settings.port,
        password=settings.password.get_secret_value(),
    ) as client:
        yield client


async def health_says(system: Outside, **errors: str | None) -> None:
    """Wait until /health says these errors of the stores, which make the whole 503; None is well."""
    expected = {
        name: ("down" if error else "ok", error) for name, error in errors.items()
    }

    async def says_so() -> bool:
        status, body = await system.call("GET", "/health")
        found = {
            name: (
                body["dependencies"][name]["status"],
                body["dependencies"][name].get("error"),
            )
            for name in errors
        }
        return found == expected and status == (503 if any(errors.values()) else 200)

    await system.until(says_so)


@asynccontextmanager
async def read_only_postgresql(system: Outside) -> AsyncIterator[None]:
    async with system.audit.acquire() as admin:
        await admin.execute(READ_ONLY.format("on"))
        await admin.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await admin.execute(READ_ONLY.format("off"))
            await admin.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def full_disk(system: Outside) -> AsyncIterator[None]:
    """The files to which PostgreSQL would lay rows aside lead to the kernel's full device."""
    directory = (
        Path(await system.audit.fetchval("SHOW data_directory")) / "base" / "pgsql_tmp"
    )
    assert list(directory.iterdir()) == []
    for row in await system.audit.fetch(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'bitbylaw'"
    ):
        for number in range(100):
            (directory / f"pgsql_tmp{row['pid']}.{number}").symlink_to("/dev/full")
    try:
        yield
    finally:
        for file in directory.iterdir():
            file.unlink()


@asynccontextmanager
async def full_memory(system: Outside) -> AsyncIterator[None]:
    async with redis_of(system) as redis:
        await redis.config_set("maxmemory", "1")
        try:
            yield
        finally:
            await redis.config_set("maxmemory", "0")


@asynccontextmanager
async def replica(system: Outside) -> AsyncIterator[None]:
    async with redis_of(system) as redis:
        await redis.replicaof("127.0.0.1", 9)
        try:
            yield
        finally:
            await redis.replicaof("NO", "ONE")


async def test_stores_that_answer_but_take_no_writes_are_reported(
    system: Outside,
) -> None:
    async with read_only_postgresql(system), full_memory(system):
        await health_says(
            system,
            postgres="takes no writes (read-only)",
            redis="takes no writes (memory full)",
        )
    async with full_disk(system), replica(system):
        await health_says(
            system,
            postgres="takes no writes (disk full)",
            redis="takes no writes (read-only)",
        )
    await health_says(system, postgres=None, redis=None)
