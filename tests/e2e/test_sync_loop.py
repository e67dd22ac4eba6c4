"""EspoCRM's own webhooks, the cron, and people on both sides: the system comes to rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from outside import Outside, outside

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def echoing() -> AsyncIterator[Outside]:
    """A system whose EspoCRM also sends webhooks for our own writes, as versions before 9.2 do."""
    async with outside() as system:
        for action in ("create", "update", "delete"):
            url = f"{system.system.http_url}/vmh/webhook/beteiligte/{action}"
            subscription = {"event": f"CBeteiligte.{action}", "url": url}
            await system.twin("espocrm", "POST", "/api/v1/Webhook", json=subscription)
        yield system


async def edit(system: Outside, entity_id: str, **attributes: Any) -> None:
    await system.twin(
        "espocrm",
        "PUT",
        f"/__sandbox__/records/CBeteiligte/{entity_id}",
        json=attributes,
    )


async def at_rest(system: Outside) -> None:
    """Wait until EspoCRM has sent all its webhooks and the queue is empty, twice in a row."""
    calm = 0

    async def is_calm() -> bool:
        nonlocal calm
        items = (await system.twin("espocrm", "GET", "/__sandbox__/webhooks"))["queue"]
        _, queues = await system.call("GET", "/_console/queues")
        topics = [
            counts
            for counts in queues["topics"]
            if counts["topic"].startswith("vmh.beteiligte")
        ]
        busy = any(item["status"] == "Pending" for item in items) or any(
            counts[state]
            for counts in topics
            for state in ("waiting", "active", "delayed")
        )
        calm = 0 if busy else calm + 1
        return calm >= 3

    await system.until(is_calm)


async def writes(system: Outside) -> int:
    counts = [
        await system.twin(name, "GET", "/__sandbox__/journal/summary")
        for name in ("espocrm", "advoware")
    ]
    return sum(
        number
        for summary in counts
        for route, number in summary.items()
        if route.split()[0] in {"POST", "PUT", "PATCH"} and "Token" not in route
    )


async def test_our_own_writes_coming_back_as_webhooks_end_in_rest_and_agreement(
    echoing: Outside,
) -> None:
    created = await echoing.twin(
        "espocrm",
        "POST",
        "/__sandbox__/records/CBeteiligte",
        json={
            "firstName": "Echo",
            "lastName": "Nachhall",
            "phoneNumberData": [
                {"phoneNumber": "+4951112345", "type": "Office", "primary": True}
            ],
            "emailAddressData": [{"emailAddress": "echo@example.de", "primary": True}],
        },
    )
    await echoing.synced(created["id"])
    await at_rest(echoing)
    for number in range(3):
        await edit(echoing, created["id"], lastName=f"Nachhall{number}")
    await at_rest(echoing)

    (advo,) = await echoing.advoware_named("Nachhall2")
    espo = await echoing.espocrm_record(created["id"])
    assert (espo["betnr"], espo["syncStatus"]) == (advo["betNr"], "clean")
    assert sorted(entry["tlf"] for entry in advo["kommunikation"]) == [
        "+4951112345",
        "echo@example.de",
    ]
    before = await writes(echoing)
    await echoing.webhook("update", created["id"])
    await at_rest(echoing)
    assert await writes(echoing) == before


async def test_the_cron_finds_what_no_webhook_reported(echoing: Outside) -> None:
    ids = [await echoing.person(lastName=f"Vergessen{number}") for number in range(5)]
    _, triggers = await echoing.call("GET", "/_console/triggers")
    (trigger,) = [
        entry
        for entry in triggers["triggers"]
        if entry["trigger_type"] == "cron"
        and "VMH Beteiligte Sync Cron" in entry["function_id"]
    ]

    status, _ = await echoing.call(
        "POST", "/_console/cron/trigger", json={"trigger_id": trigger["id"]}
    )

    assert status == 200
    for number, entity_id in enumerate(ids):
        await echoing.synced(entity_id)
        assert len(await echoing.advoware_named(f"Vergessen{number}")) == 1


async def test_an_account_of_a_bank_reaches_advoware_through_its_webhook(
    echoing: Outside,
) -> None:
    owner = await echoing.person(lastName="Konto")
    account = await echoing.twin(
        "espocrm",
        "POST",
        "/__sandbox__/records/CBankverbindungen?silent=1",
        json={
            "name": "Giro",
            "iban": "DE89 3704 0044 0532 0130 00",
            "bic": "COBADEFFXXX",
            "beteiligteId": owner,
        },
    )
    await echoing.webhook("create", owner)
    await echoing.webhook("create", account["id"], entity="bankverbindungen")

    async def stored() -> bool:
        record = await echoing.twin(
            "espocrm", "GET", f"/api/v1/CBankverbindungen/{account['id']}"
        )
        return record["syncStatus"] == "clean" and bool(record["advowareKontoId"])

    await echoing.until(stored)
    (advo,) = await echoing.advoware_named("Konto")
    assert [entry["iban"] for entry in advo["bankkverbindungen"]] == [
        "DE89370400440532013000"
    ]
