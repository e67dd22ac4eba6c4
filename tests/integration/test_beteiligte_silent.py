"""What the sync writes in EspoCRM is noticed by nobody: no echo, no new name at "changed by", no false conflict."""

from __future__ import annotations

from typing import Any

import pytest
from beteiligte_office import Office, office  # noqa: F401 - fixture

from sandbox.espocrm_access import ADMIN_ID

OURS = [f"{entity}.{action}" for entity in ("CBeteiligte", "CBankverbindungen") for action in ("create", "update")]


@pytest.fixture
async def subscribed(office: Office) -> Office:  # noqa: F811 - fixture
    """All events of ours are queued, none is delivered."""
    for event in OURS:
        body = {"event": event, "url": "https://bitbylaw.example/"}
        await office._request("POST", f"{office.espocrm.url}/__sandbox__/records/Webhook", json=body)
    return office


def echoes(office: Office) -> list[dict[str, Any]]:  # noqa: F811
    return [item for item in office.espocrm.state()["webhook_queue"] if item["event"] in OURS]


async def test_a_new_person_is_created_and_followed_without_an_echo(subscribed: Office) -> None:
    entity_id, betnr = await subscribed.linked_person()
    made = await subscribed.in_espocrm(entity_id)
    assert (made["betnr"], made["syncStatus"]) == (betnr, "clean")
    await subscribed.edit_advoware(betnr, vorname="Berta")
    await subscribed.sync(entity_id)

    shown = await subscribed.in_espocrm(entity_id)
    assert (shown["firstName"], shown["syncStatus"]) == ("Berta", "clean")
    assert echoes(subscribed) == []
    for record in (made, shown):
        assert record["modifiedById"] in {None, ADMIN_ID}
    assert shown["versionNumber"] == made["versionNumber"] + 1, "the new name, and no status"


async def test_a_persons_save_stays_the_last_one(subscribed: Office) -> None:
    entity_id, betnr = await subscribed.linked_person()
    await subscribed.edit_espocrm(entity_id, lastName="Anders")
    by_hand = await subscribed.in_espocrm(entity_id)
    queued = len(echoes(subscribed))
    await subscribed.edit_advoware(betnr, vorname="Berta")
    assert (await subscribed.sync(entity_id)).result not in {"failed", "conflict"}

    shown = await subscribed.in_espocrm(entity_id)
    assert (shown["firstName"], shown["lastName"]) == ("Berta", "Anders")
    assert subscribed.in_advoware(betnr)["name"] == "Anders"
    for name in ("modifiedAt", "modifiedById", "modifiedByName"):
        assert shown[name] == by_hand[name], name
    assert len(echoes(subscribed)) == queued == 1, "the person's"
