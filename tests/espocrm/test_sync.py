"""The sync of a Beteiligter with Advoware's twin and a real EspoCRM."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from espocrm_rest import Espo, Events

from config import Settings
from sandbox.advoware import AdvowareTwin
from services.beteiligte_sync_utils import BeteiligteSync
from services.resources import Resources
from services.sync_events import SyncEvent

KEPT = ("modifiedAt", "modifiedById", "modifiedByName")


@pytest.fixture
async def connected(espo: Espo, make_settings: Callable[..., Settings], clock: Any) -> AsyncIterator[Resources]:
    settings = make_settings(
        ESPOCRM_API_BASE_URL=espo.sync.base_url,
        ESPOCRM_MARVIN_API_KEY=espo.sync_key,
        ESPOCRM_API_TIMEOUT_SECONDS=20,
        VMH_TASK_ASSIGNED_USER_ID=(await espo.person.get("App/user"))["user"]["id"],
    )
    async with Resources(settings, clock=clock) as opened:
        await opened.redis.flushall()
        yield opened


async def test_a_sync_leaves_no_echo_and_no_trace_of_ours(
    espo: Espo, events: Events, connected: Resources, advoware: AdvowareTwin, control: aiohttp.ClientSession, clock: Any
) -> None:
    by_hand = {"firstName": "Anna", "lastName": f"Muster {uuid4().hex[:8]}", "salutationName": "Frau"}
    entity_id = (await espo.person.post("CBeteiligte", by_hand))["id"]
    before = await espo.person.put(f"CBeteiligte/{entity_id}", {"description": "von Hand"})
    assert await events.of(entity_id)

    async def sync(action: Any) -> str:
        clock.advance(seconds=5)
        event = SyncEvent(entity_id=entity_id, action=action, source="webhook")
        return (await BeteiligteSync(resources=connected).handle(event)).result

    # A real EspoCRM remembers earlier runs, and a betNr is unique there.
    advoware.beteiligte._next_betnr = random.randrange(10**6, 10**8)
    assert await sync("create") == "created"
    linked = await espo.person.get(f"CBeteiligte/{entity_id}")
    assert (linked["syncStatus"], linked["versionNumber"]) == ("clean", before["versionNumber"])
    number = random.randrange(10**6, 10**7)
    changes = {"vorname": "Berta", "kommunikation": [{"kommKz": 1, "tlf": f"0511 {number}"}]}
    url = f"{advoware.url}/__sandbox__/beteiligte/{linked['betnr']}"
    async with control.put(url, json=changes, headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 200, await answer.text()
    await sync("update")

    shown = await espo.person.get(f"CBeteiligte/{entity_id}")
    assert (shown["firstName"], shown["syncStatus"]) == ("Berta", "clean")
    assert [row["phoneNumber"] for row in shown["phoneNumberData"]] == [f"+49511{number}"]
    assert {name: shown[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert shown["versionNumber"] == before["versionNumber"] + 1, "the values, and no status"
    assert await events.of(entity_id) == []
