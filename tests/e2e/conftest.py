"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from outside import ACTION_SECRET, Outside, outside


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[Outside]:
    """One system for all tests that leave it as they found it."""
    async with outside(ESPOCRM_ACTION_SECRET=ACTION_SECRET) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def _no_faults_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    yield
    if "shared" in request.fixturenames:
        running = request.getfixturevalue("shared")
        for name in running.system.twins:
            await running.twin(name, "DELETE", "/__sandbox__/faults")
