"""The board beside a running system: it shows what happens, repairs it, and may die without the sync's noticing."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import aiohttp
import pytest
from outside import Outside

from cli.system import BOARD_KEY

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


async def overview(shared: Outside) -> Any:
    """The board's overview as JSON; None while the board is away."""
    url = f"{shared.system.board_url}api/overview"
    try:
        async with shared.session.get(url) as answer:
            return await answer.json()
    except aiohttp.ClientConnectionError:
        return None


async def test_a_record_is_synced_from_the_board_by_the_running_system(
    shared: Outside,
) -> None:
    entity_id = await shared.person()
    key = (shared.system.data / BOARD_KEY).read_text().strip()
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        shared.system.board_url, cookie_jar=jar
    ) as browser:
        async with browser.post("/login", data={"key": key}) as answer:
            assert answer.status == 200
        async with browser.get(f"/repair/sync?target={entity_id}") as answer:
            html = await answer.text()
        form = html[html.index("<main") :]
        fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
        async with browser.post("/repair/sync", data=fields) as answer:
            assert answer.status == 200
    await shared.synced(entity_id)
    assert (await shared.espocrm_record(entity_id))["syncStatus"] == "clean"


async def test_a_killed_board_comes_back_and_the_sync_goes_on_meanwhile(
    shared: Outside,
) -> None:
    view = await overview(shared)
    assert [worker["status"] for worker in view["workers"]["value"]] == ["available"]
    pid = shared.system.processes["board"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    entity_id = await shared.person()
    await shared.webhook("create", entity_id)
    await shared.synced(entity_id)

    async def is_back() -> bool:
        return await overview(shared) is not None

    await shared.until(is_back)
