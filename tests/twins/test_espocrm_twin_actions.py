"""What people do in EspoCRM's browser, versions that differ, and what the subscribers hear of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from espocrm_calls import ADMIN_KEY, Caller, espocrm

NUMBER, OTHER = "+4951112345", "+4951199999"
HOOK = "http://hook.example.de/"


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        for event in ("create", "update", "delete"):
            for entity in ("CBeteiligte", "CAdressen"):
                await caller.good(
                    "POST",
                    "Webhook",
                    {"event": f"{entity}.{event}", "url": HOOK},
                    key=ADMIN_KEY,
                )
        yield caller


async def person(crm: Caller, **attributes: Any) -> str:
    """The id of a new Beteiligter."""
    return str(
        (await crm.good("POST", "CBeteiligte", {"lastName": "Grün", **attributes}))[
            "id"
        ]
    )


async def act(crm: Caller, action: str, **body: Any) -> Any:
    return await crm.control(
        "POST", "actions", {"action": action, "entity": "CBeteiligte", **body}
    )


async def reported(crm: Caller) -> list[tuple[str, str]]:
    """Every event so far: its name and the id it is about."""
    return [
        (item["event"], item["target_id"])
        for item in (await crm.control("GET", "webhooks"))["queue"]
    ]


async def reported_by(crm: Caller, doing: Any) -> list[tuple[str, str]]:
    before = len(await reported(crm))
    await doing
    return (await reported(crm))[before:]


async def test_erased_numbers_and_addresses_stay_linked_under_an_id_at_all_owners(
    crm: Caller,
) -> None:
    contacts = {
        "phoneNumber": NUMBER,
        "emailAddress": "a@example.de",
        "firstName": "Änne",
    }
    one, two = await person(crm, **contacts), await person(crm, **contacts)
    fields = ["phoneNumber", "emailAddress", "firstName"]
    events = await reported_by(crm, act(crm, "erase", id=one, fields=fields))
    # The second update is the extension's, which notes the first name.
    assert events == [("CBeteiligte.update", one)] * 2
    shown, shared = [
        await crm.good("GET", f"CBeteiligte/{record_id}") for record_id in (one, two)
    ]
    assert shown["phoneNumber"] == shared["phoneNumber"]
    assert shown["phoneNumber"].startswith("ERASED:")
    assert shown["emailAddressData"][0]["emailAddress"].startswith("ERASED:")
    assert shown["emailAddressData"][0]["optOut"] is True
    assert (shown["firstName"], shared["firstName"]) == (None, "Änne")
    again = {"lastName": "Rot", "phoneNumberData": shown["phoneNumberData"]}
    assert (await crm.call("PUT", f"CBeteiligte/{two}", again)).status == 400
    assert (
        await crm.call("PUT", f"CBeteiligte/{two}", {"emailAddressData": []})
    ).status == 400
    fresh = await person(crm, phoneNumber=NUMBER)  # the number itself is free again
    assert (await crm.good("GET", f"CBeteiligte/{fresh}"))["phoneNumber"] == NUMBER


async def test_merge_moves_everything_to_the_survivor_and_deletes_the_sources(
    crm: Caller,
) -> None:
    survivor = await person(
        crm,
        betnr=1,
        phoneNumberData=[{"phoneNumber": NUMBER, "type": "Office", "optOut": True}],
    )
    source = await person(
        crm,
        betnr=2,
        phoneNumberData=[
            {"phoneNumber": OTHER, "type": "Fax"},
            {"phoneNumber": NUMBER},
        ],
    )
    await crm.good("PUT", f"CBeteiligte/{survivor}", {"phoneNumberIsOptedOut": True})
    address = await crm.good(
        "POST", "CAdressen", {"name": "Büro", "beteiligteId": source}
    )
    post = await crm.good(
        "POST",
        "Note",
        {"post": "Hallo", "parentType": "CBeteiligte", "parentId": source},
    )
    crm.clock.advance(seconds=5)
    values = {"lastName": "Rot", "betnr": 2, "phoneNumber": OTHER}
    events = await reported_by(
        crm, act(crm, "merge", id=survivor, sources=[source], values=values)
    )
    # The second update is the extension's, which notes the source.
    assert events == [
        ("CBeteiligte.delete", source),
        *[("CBeteiligte.update", survivor)] * 2,
    ]
    merged = await crm.good("GET", f"CBeteiligte/{survivor}")
    assert (merged["lastName"], merged["betnr"], merged["phoneNumber"]) == (
        "Rot",
        2,
        OTHER,
    )
    assert [
        (number["phoneNumber"], number["type"]) for number in merged["phoneNumberData"]
    ] == [
        (OTHER, "Fax"),
        (NUMBER, "Mobile"),
    ]
    assert (await crm.call("GET", f"CBeteiligte/{source}")).status == 404
    moved = await crm.good("GET", f"CAdressen/{address['id']}")
    assert (moved["beteiligteId"], moved["modifiedAt"]) == (
        survivor,
        address["modifiedAt"],
    )
    assert (await crm.good("GET", f"Note/{post['id']}"))["parentId"] == survivor


async def test_a_restored_record_is_there_as_it_was_and_waits_for_the_sync(
    crm: Caller,
) -> None:
    record_id = await person(crm, betnr=7, phoneNumber=NUMBER)
    await crm.control("DELETE", f"records/CBeteiligte/{record_id}")
    assert (await crm.call("GET", f"CBeteiligte/{record_id}")).status == 404
    assert await reported_by(crm, act(crm, "restore", id=record_id)) == [
        ("CBeteiligte.update", record_id)
    ]
    restored = await crm.good("GET", f"CBeteiligte/{record_id}")
    assert (restored["betnr"], restored["phoneNumber"], restored["deleted"]) == (
        7,
        NUMBER,
        False,
    )
    assert restored["syncStatus"] == "dirty"


async def test_a_reverted_import_is_gone_for_good_without_a_word(crm: Caller) -> None:
    ids = [await person(crm) for _ in range(2)]
    assert await reported_by(crm, act(crm, "revert_import", ids=ids)) == []
    assert (await crm.good("GET", "CBeteiligte"))["total"] == 0
    body = {"action": "restore", "entity": "CBeteiligte", "id": ids[0]}
    async with crm.session.post(f"{crm.url}/__sandbox__/actions", json=body) as answer:
        assert answer.status == 404


async def test_mass_delete_reports_each_deletion(crm: Caller) -> None:
    ids = [await person(crm) for _ in range(3)]
    assert await reported_by(crm, act(crm, "mass_delete", ids=ids)) == [
        ("CBeteiligte.delete", one) for one in ids
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"action": "dance", "entity": "CBeteiligte"}, 400),
        ({"action": "merge", "entity": "CBeteiligte", "id": "x", "sources": []}, 400),
        ({"action": "erase", "entity": "CBeteiligte", "id": "x"}, 400),
        ({"action": "share", "entry": {"fax": "1"}}, 400),
        ({"action": "restore", "entity": "CBeteiligte", "id": "x"}, 404),
        ({"action": "restore", "entity": "CNothing", "id": "x"}, 404),
    ],
)
async def test_actions_that_make_no_sense_are_refused(
    crm: Caller, body: dict[str, Any], status: int
) -> None:
    async with crm.session.post(f"{crm.url}/__sandbox__/actions", json=body) as answer:
        assert answer.status == status


async def test_a_body_that_is_no_json_is_no_action(crm: Caller) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{crm.url}/__sandbox__/actions", data=b"{") as answer,
    ):
        assert answer.status == 400


# -- versions ---------------------------------------------------------------------------------------------------------


async def test_an_identical_put_fires_a_webhook_on_8_4_and_none_on_9_3(
    crm: Caller,
) -> None:
    path = f"CBeteiligte/{await person(crm)}"
    change = {"lastName": "Grün"}
    assert await reported_by(crm, crm.good("PUT", path, change)) == [
        ("CBeteiligte.update", path.split("/")[1])
    ]  # modifier
    crm.clock.advance(seconds=5)
    assert await reported_by(crm, crm.good("PUT", path, change)) == []
    await crm.control("POST", "settings", {"version": "8.4"})
    assert len(await reported_by(crm, crm.good("PUT", path, change))) == 1
    item = (await crm.control("GET", "webhooks"))["queue"][-1]
    assert item["data"] == {
        "followersIds": [],
        "followersNames": {},
        "id": path.split("/")[1],
    }
    assert (await crm.good("GET", path))["modifiedAt"] == "2026-11-23 17:12:27"


async def test_9_3_does_not_notify_the_followers(crm: Caller) -> None:
    path = f"CBeteiligte/{await person(crm)}"
    await crm.good("PUT", path, {"lastName": "Rot"})
    assert (
        not {"followersIds", "followersNames"}
        & (await crm.control("GET", "webhooks"))["queue"][-1]["data"].keys()
    )


async def test_a_run_of_the_webhook_job_takes_up_only_so_many_events(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"webhook_event_portion": 20})
    for _ in range(25):
        await person(crm)
    assert await reported(crm) == []
    await crm.control("POST", "webhooks/process")
    assert len(await reported(crm)) == 20
    await crm.control("POST", "webhooks/process")
    assert len(await reported(crm)) == 25
