"""What the sync writes in EspoCRM is noticed by no one: no echo, no new name at "changed by", no false conflict."""

from __future__ import annotations

from typing import Any

import pytest
from beteiligte_office import Office, office  # noqa: F401 - fixture

from sandbox.espocrm.access import ADMIN_ID
from sandbox.espocrm.entities import ENTITIES

OWN_EVENTS = [
    f"{entity}.{action}"
    for entity in ("CBeteiligte", "CBankverbindungen")
    for action in ("create", "update")
]


@pytest.fixture
async def subscribed(office: Office) -> Office:  # noqa: F811 - fixture
    """All events of the sync are queued, none is delivered."""
    for event in OWN_EVENTS:
        body = {"event": event, "url": "https://bitbylaw.example/"}
        await office._request(
            "POST", f"{office.espocrm.url}/__sandbox__/records/Webhook", json=body
        )
    return office


def echoes(office: Office) -> list[dict[str, Any]]:  # noqa: F811
    return [
        item
        for item in office.espocrm.state()["webhook_queue"]
        if item["event"] in OWN_EVENTS
    ]


async def test_a_new_person_is_created_and_followed_without_an_echo(
    subscribed: Office,
) -> None:
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
    assert shown["versionNumber"] == made["versionNumber"] + 1, (
        "the new name, and no status"
    )


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


class Restless(list[dict[str, Any]]):
    """A journal by whose entries a user saves the record right before each of our writes of it."""

    def __init__(self, office: Office, entity_id: str) -> None:  # noqa: F811
        super().__init__()
        self._twin = office.espocrm
        self._record = self._twin._store.get(ENTITIES["CBeteiligte"], entity_id)

    def append(self, entry: dict[str, Any]) -> None:
        super().append(entry)
        calls = entry.get("writes", [f"{entry['method']} {entry['path']}"])
        if any(call.startswith("PUT") and "CBeteiligte" in call for call in calls):
            self._twin._service.update(
                self._record, {"lastName": f"Ansturm {len(self)}"}, self._twin._admin
            )


async def test_who_edits_a_record_all_the_time_makes_no_failure(office: Office) -> None:  # noqa: F811
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, vorname="Berta")
    office.espocrm.journal = Restless(office, entity_id)

    outcome = await office.sync(entity_id)

    shown = await office.in_espocrm(entity_id)
    assert (outcome.result, outcome.error, shown["syncStatus"]) == (
        "no_change",
        None,
        "dirty",
    )
    assert not shown["syncErrorMessage"]
    assert len([call for call in office.writes() if "CBeteiligte" in call]) <= 7, (
        "three rounds"
    )
    office.espocrm.journal = []
    await office.sync(entity_id)
    shown = await office.in_espocrm(entity_id)
    assert (shown["firstName"], shown["syncStatus"]) == ("Berta", "clean")
    assert office.in_advoware(betnr)["name"] == shown["lastName"]
