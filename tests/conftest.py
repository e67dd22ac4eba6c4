"""Shared fixtures: real PostgreSQL and Redis per test process, twins and resources per test."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import hypothesis
import pytest
from patient_loop import PatientLoop
from servers import Stores, advoware_variables, espocrm_variables

from cli import embedded
from config import Settings, load_settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
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


def pytest_collection_finish() -> None:
    """Look for garbage seldom: what was loaded stays, and a test is over soon. It took a sixth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    """The loop of every test that is a coroutine."""
    return {"patient": PatientLoop}


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """PostgreSQL and Redis, started once per test process, in a short path (unix sockets)."""
    data = Path(tempfile.mkdtemp(prefix="bbl-"))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def start() -> Stores:
            postgres = await stack.enter_async_context(embedded.postgres(data / "pg"))
            redis = await stack.enter_async_context(embedded.redis(data / "redis"))
            servers = Stores(postgres, redis)
            await servers.prepare()
            return servers

        yield runner.run(start())
        runner.run(stack.aclose())
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
async def database(stores: Stores) -> AsyncIterator[str]:
    """A database of its own, with all migrations applied and dropped afterwards; the name."""
    async with stores.new_database() as name:
        yield name


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
        variables = {
            **stores.variables(database),
            **advoware_variables(advoware),
            **espocrm_variables(espocrm),
            "ADVOWARE_CONFIGURATOR_URL": f"{advoware.url}/AdvonetConfigurator/api/Url",
            "ADVOWARE_API_TIMEOUT_SECONDS": 2,
            "ESPOCRM_API_TIMEOUT_SECONDS": 2,
            **overrides,
        }
        addresses = [
            str(value) for value in variables.values() if str(value).startswith("http")
        ]
        return load_settings({"BITBYLAW_TWINS": ",".join(addresses), **variables})

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
