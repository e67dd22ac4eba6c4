"""The sync of a Beteiligter with Advoware's twin and a real EspoCRM."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from espocrm_rest import Calls, Espo, Events

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.resources import Resources
from services.vmh_sync.job import SyncEvent

KEPT = ("modifiedAt", "modifiedById", "modifiedByName")
ADDRESS = {
    "adresseStreet": "Lange Straße 5",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}
#: How many records the import brings; a measured run takes 500.
IMPORTED = int(os.environ.get("ESPOCRM_TEST_IMPORTED", "5"))


@dataclass
class Connected:
    """The sync, between the EspoCRM and Advoware's twin."""

    resources: Resources
    calls: Calls
    advoware: AdvowareTwin
    control: aiohttp.ClientSession
    clock: Any

    async def sync(self, entity_id: str, action: Any = "update") -> str:
        self.clock.advance(seconds=5)
        self.calls.forget()
        event = SyncEvent(entity_id=entity_id, action=action, source="webhook")
        return (await BeteiligteSync(resources=self.resources).handle(event)).result

    async def edit_advoware(self, betnr: int, **changes: Any) -> None:
        self.clock.advance(seconds=5)
        url = f"{self.advoware.url}/__sandbox__/beteiligte/{betnr}"
        async with self.control.put(
            url, json=changes, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 200, await answer.text()


@pytest.fixture
async def connected(
    espo: Espo,
    make_settings: Callable[..., Settings],
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> AsyncIterator[Connected]:
    # A real EspoCRM remembers earlier runs, and a betNr is unique there.
    advoware.beteiligte._next_betnr = random.randrange(10**6, 10**8)  # noqa: S311 - no secret
    async with Calls.to(espo.sync.base_url) as calls:
        settings = make_settings(
            ESPOCRM_API_BASE_URL=calls.url,
            ESPOCRM_MARVIN_API_KEY=espo.sync_key,
            ESPOCRM_API_TIMEOUT_SECONDS=20,
            VMH_TASK_ASSIGNED_USER_ID=(await espo.person.get("App/user"))["user"]["id"],
        )
        async with Resources(settings, clock=clock) as opened:
            await opened.redis.flushall()
            yield Connected(opened, calls, advoware, control, clock)


async def test_a_sync_leaves_no_echo_and_no_trace_of_the_sync(
    espo: Espo, events: Events, connected: Connected
) -> None:
    by_hand = {
        "firstName": "Anna",
        "lastName": f"Muster {uuid4().hex[:8]}",
        "salutationName": "Frau",
    }
    entity_id = (await espo.person.post("CBeteiligte", by_hand))["id"]
    before = await espo.person.put(
        f"CBeteiligte/{entity_id}", {"description": "von Hand"}
    )
    assert await events.of(entity_id)

    assert await connected.sync(entity_id, "create") == "created"
    linked = await espo.person.get(f"CBeteiligte/{entity_id}")
    assert (linked["syncStatus"], linked["versionNumber"]) == (
        "clean",
        before["versionNumber"],
    )
    number = random.randrange(10**6, 10**7)  # noqa: S311 - no secret
    await connected.edit_advoware(
        linked["betnr"],
        vorname="Berta",
        kommunikation=[{"kommKz": 1, "tlf": f"0511 {number}"}],
    )
    await connected.sync(entity_id)

    shown = await espo.person.get(f"CBeteiligte/{entity_id}")
    assert (shown["firstName"], shown["syncStatus"]) == ("Berta", "clean")
    assert [row["phoneNumber"] for row in shown["phoneNumberData"]] == [
        f"+49511{number}"
    ]
    assert {name: shown[name] for name in KEPT} == {name: before[name] for name in KEPT}
    assert shown["versionNumber"] == before["versionNumber"] + 1, (
        "the values, and no status"
    )
    assert await events.of(entity_id) == []


async def test_a_changed_record_with_all_that_belongs_to_it_takes_two_calls(
    espo: Espo, events: Events, connected: Connected
) -> None:
    """Changed: the name, a phone number, an address and an account; new: the tasks that follow."""
    number = random.randrange(10**6, 10**7)  # noqa: S311 - no secret
    by_hand = {
        "firstName": "Anna",
        "lastName": f"Muster {uuid4().hex[:8]}",
        "salutationName": "Frau",
        "phoneNumberData": [
            {"phoneNumber": f"+49511{number}", "type": "Office", "primary": True}
        ],
    }
    owner = (await espo.person.post("CBeteiligte", by_hand))["id"]
    address = (await espo.person.post("CAdressen", {**ADDRESS, "beteiligteId": owner}))[
        "id"
    ]
    iban = {"iban": "DE89370400440532013000", "kontoinhaber": "Anna"}
    account = (
        await espo.person.post("CBankverbindungen", {**iban, "beteiligteId": owner})
    )["id"]
    assert await connected.sync(owner, "create") == "created"
    assert len(connected.calls.writing) <= 2

    betnr = (await espo.person.get(f"CBeteiligte/{owner}"))["betnr"]
    entry = next(
        row for row in connected.advoware.state()["beteiligte"] if row["betNr"] == betnr
    )["kommunikation"][0]
    await espo.person.put(
        f"CBeteiligte/{owner}", {"lastName": f"Anders {uuid4().hex[:8]}"}
    )
    await espo.person.put(
        f"CAdressen/{address}", {"adresseCity": "Celle", "gueltigBis": "2027-01-01"}
    )
    await espo.person.put(
        f"CBankverbindungen/{account}", {"kontoinhaber": "Anna Anders"}
    )
    await connected.edit_advoware(
        betnr, vorname="Berta", kommunikation=[{**entry, "tlf": f"0511 {number + 1}"}]
    )
    await events.of(owner, address, account)

    assert await connected.sync(owner) == "merged"

    assert connected.calls.writing in (
        ["POST BitByLaw/write"] * 2,
        [f"PUT CBeteiligte/{owner}", "POST BitByLaw/write"],
    )
    shown = await espo.person.get(f"CBeteiligte/{owner}")
    assert (shown["firstName"], shown["syncStatus"]) == ("Berta", "conflict")
    assert [row["phoneNumber"] for row in shown["phoneNumberData"]] == [
        f"+49511{number + 1}"
    ]
    assert (await espo.person.get(f"CAdressen/{address}"))["syncStatus"] == "conflict"
    assert (await espo.person.get(f"CBankverbindungen/{account}"))[
        "syncStatus"
    ] == "unclean"
    assert await events.of(owner, address, account) == []
    for parent in (address, account):
        where = f"where[0][type]=equals&where[0][attribute]=parentId&where[0][value]={parent}"
        assert (await espo.person.get(f"Task?{where}"))["total"] == 1


async def test_an_import_leaves_no_echo_in_the_queue(
    espo: Espo, events: Events, connected: Connected
) -> None:
    mark = uuid4().hex[:8]
    names = [("Anna", f"Import{mark} {place}") for place in range(IMPORTED)]
    if espo.is_twin:  # it has no import
        for first, last in names:
            await espo.person.post(
                "CBeteiligte", {"firstName": first, "lastName": last}
            )
    else:
        await espo.person.import_people(names)
    ids = [
        row["id"]
        for row in await espo.person.all_of("CBeteiligte", lastName=f"Import{mark}%")
    ]
    assert len(await events.of(*ids)) == len(ids) == IMPORTED, "the person's own"

    for entity_id in ids:
        assert await connected.sync(entity_id, "create") == "created"
        assert len(connected.calls.writing) <= 2

    assert await events.of(*ids) == []
