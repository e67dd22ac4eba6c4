"""Shared fixtures: real PostgreSQL and Redis per test process, twins and resources per test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import hypothesis
import psycopg
import pytest

from cli import embedded
from cli.system import ESPOCRM_TWIN_KEY
from config import Settings, load_settings
from sandbox.advoware.app import DEFAULT_CREDENTIALS, AdvowareTwin
from sandbox.control import running
from sandbox.espocrm.access import ADMIN_ID
from sandbox.espocrm.app import EspoCRMTwin
from services.core.resources import Resources


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep the settings of whoever runs the tests out of them, and the gate free of chance.

    ``HYPOTHESIS_PROFILE=search`` looks for new examples; what it finds becomes an ``@example``. Temporary files lie in
    a folder of this run's own: pytest closes the shared one to other users at each start; as root, PostgreSQL is one.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="bbl-tests-")
        config.add_cleanup(
            lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True)
        )
    hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
    hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
    for group in Settings.model_fields.values():
        assert group.annotation is not None
        for field_name in group.annotation.model_fields:
            os.environ.pop(
                f"{group.annotation.model_config['env_prefix']}{field_name}".upper(),
                None,
            )
    os.environ["BITBYLAW_ENV_FILE"] = ""


@dataclass(frozen=True)
class Stores:
    """The servers of this test process."""

    postgres: embedded.EmbeddedPostgres
    redis: embedded.EmbeddedRedis


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """PostgreSQL and Redis, started once per test process, in a short path (unix sockets)."""
    data = Path(tempfile.mkdtemp(prefix="bbl-"))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> Stores:
            postgres = await stack.enter_async_context(embedded.postgres(data / "pg"))
            return Stores(
                postgres,
                await stack.enter_async_context(embedded.redis(data / "redis")),
            )

        started = runner.run(start())
        _without_fsync(started.postgres)
        yield started
        runner.run(stack.aclose())
    shutil.rmtree(data, ignore_errors=True)


def _without_fsync(postgres: embedded.EmbeddedPostgres) -> None:
    """Many databases are created quickly; no test cuts the power of the machine."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
async def database(stores: Stores) -> AsyncIterator[str]:
    """A database of its own, dropped afterwards; the name."""
    name = f"test_{datetime.now(UTC):%H%M%S%f}"
    admin = await asyncpg.connect(
        host=stores.postgres.host, user=stores.postgres.user, database="postgres"
    )
    await admin.execute(f"CREATE DATABASE {name}")
    yield name
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@dataclass
class TestClock:
    """A clock that stands still until it is moved."""

    __test__ = False

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        """Move it on, for example ``advance(minutes=5)``."""
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> TestClock:
    """One clock for the product and the twins, started at the present."""
    return TestClock()


@pytest.fixture
async def advoware(clock: TestClock) -> AsyncIterator[AdvowareTwin]:
    """An Advoware without Beteiligte, running."""
    twin = AdvowareTwin(empty=True, clock=clock)
    async with running(twin):
        yield twin


@pytest.fixture
async def espocrm(clock: TestClock) -> AsyncIterator[EspoCRMTwin]:
    """An EspoCRM without records, running; webhooks are delivered on demand only."""
    twin = EspoCRMTwin(empty=True, clock=clock, webhook_interval=0)
    async with running(twin):
        yield twin


@pytest.fixture
def make_settings(
    stores: Stores, database: str, advoware: AdvowareTwin, espocrm: EspoCRMTwin
) -> Callable[..., Settings]:
    """Settings for the servers and twins of this test, all named as such; keyword arguments override variables."""

    def make(**overrides: Any) -> Settings:
        login = DEFAULT_CREDENTIALS
        settings = load_settings(
            {
                "POSTGRES_HOST": stores.postgres.host,
                "POSTGRES_USER": stores.postgres.user,
                "POSTGRES_DB_NAME": database,
                "REDIS_HOST": stores.redis.host,
                "REDIS_PORT": stores.redis.port,
                "REDIS_PASSWORD": stores.redis.password,
                "ADVOWARE_API_BASE_URL": advoware.url,
                "ADVOWARE_AUTH_URL": advoware.url,
                "ADVOWARE_CONFIGURATOR_URL": f"{advoware.url}/AdvonetConfigurator/api/Url",
                "ADVOWARE_APP_ID": login.app_id,
                "ADVOWARE_API_KEY": login.api_key,
                "ADVOWARE_KANZLEI": login.kanzlei,
                "ADVOWARE_DATABASE": login.database,
                "ADVOWARE_USER": login.user,
                "ADVOWARE_PASSWORD": login.password,
                "ADVOWARE_API_TIMEOUT_SECONDS": 2,
                "ESPOCRM_API_BASE_URL": f"{espocrm.url}/api/v1",
                "ESPOCRM_MARVIN_API_KEY": ESPOCRM_TWIN_KEY,
                "ESPOCRM_API_TIMEOUT_SECONDS": 2,
                "VMH_TASK_ASSIGNED_USER_ID": ADMIN_ID,
                **overrides,
            }
        )
        addresses = [
            url
            for group in settings.foreign_systems.values()
            for url in group.addresses.values()
        ]
        return load_settings(
            {
                **settings.environment(),
                "BITBYLAW_TWINS": ",".join(addresses),
                **overrides,
            }
        )

    return make


@pytest.fixture
async def resources(
    make_settings: Callable[..., Settings], clock: TestClock
) -> AsyncIterator[Resources]:
    """Connections to everything, with an empty Redis."""
    async with Resources(make_settings(), clock=clock) as opened:
        await opened.redis.flushall()
        yield opened


@pytest.fixture
async def control() -> AsyncIterator[aiohttp.ClientSession]:
    """A session for the twins' control APIs."""
    async with aiohttp.ClientSession() as session:
        yield session
