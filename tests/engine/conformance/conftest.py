"""Fixtures of the conformance cases: each runs on the embedded engine, and on a real one if there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engines_under_test import (
    EmbeddedHere,
    EmbeddedProcess,
    EngineUnderTest,
    RealEngine,
    find_binary,
    names,
)


@pytest.fixture(params=names())
async def target(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[EngineUnderTest]:
    """An engine without data."""
    if request.param == "embedded":
        embedded = EmbeddedHere(database_url)
        await embedded.start()
        yield embedded
        await embedded.terminate()
    else:
        binary = find_binary()
        assert binary is not None
        engine = RealEngine(binary, tmp_path, durable=False)
        await engine.start()
        yield engine
        await engine.kill()


@pytest.fixture(params=names())
async def durable(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> AsyncIterator[EngineUnderTest]:
    """An engine that keeps its data on disk and can be killed and started again."""
    engine: EngineUnderTest
    if request.param == "embedded":
        engine = EmbeddedProcess(database_url)
    else:
        binary = find_binary()
        assert binary is not None
        engine = RealEngine(binary, tmp_path, durable=True)
    await engine.start()
    yield engine
    await engine.kill()
