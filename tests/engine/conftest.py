"""Fixtures of the engine tests: an empty database and an engine per test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest
from engine_harness import EngineProcess, ScriptedWorker, Target, start_engine
from engines_under_test import report
from servers import Stores

from cli.embedded import EmbeddedPostgres
from local_engine.server import Engine


def pytest_report_header() -> str:
    """Which engines the conformance cases drive."""
    return report()


@pytest.fixture(scope="session")
def postgres(stores: Stores) -> EmbeddedPostgres:
    """The server of this test process."""
    return stores.postgres


@pytest.fixture(scope="module")
def module_database(stores: Stores) -> Iterator[str]:
    """A database for the tests of one module."""
    with stores.empty_database() as url:
        yield url


@pytest.fixture
def database_url(module_database: str) -> str:
    """The module's database, emptied."""
    with psycopg.connect(module_database) as connection:
        row = connection.execute("SELECT to_regclass('engine.state')").fetchone()
        if row is not None and row[0] is not None:
            connection.execute(
                "TRUNCATE procrastinate_jobs, engine.state RESTART IDENTITY CASCADE"
            )
    return module_database


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    """An engine in this process, with a time limit for HTTP handlers of two seconds."""
    async with Engine(database_url, http_timeout=2.0).running() as running:
        yield running


@pytest.fixture
async def target(engine: Engine) -> Target:
    """The embedded engine; conformance/conftest.py adds others."""
    return Target(engine.http_url, engine.ws_url)


@pytest.fixture
async def new_worker() -> AsyncIterator[Callable[[Target], ScriptedWorker]]:
    """Make scripted workers that end with the test."""
    workers: list[ScriptedWorker] = []

    def make(target: Target) -> ScriptedWorker:
        workers.append(ScriptedWorker(target.ws))
        return workers[-1]

    yield make
    for worker in workers:
        await worker.stop()


@pytest.fixture
async def new_engine_process(database_url: str) -> AsyncIterator[Callable[..., object]]:
    """Start engine processes on this test's database; they end with the test."""
    started: list[EngineProcess] = []

    async def start(
        *options: str, http_port: int = 0, ws_port: int = 0
    ) -> EngineProcess:
        started.append(
            await start_engine(
                database_url, *options, http_port=http_port, ws_port=ws_port
            )
        )
        return started[-1]

    yield start
    for process in started:
        await process.kill()
