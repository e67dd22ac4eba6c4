"""Webhooks of the EspoCRM twin, measured against requests captured from a real EspoCRM 8.4.2."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from espocrm_calls import ADMIN_KEY, Caller, espocrm
from webhook_receiver import Receiver, receiver, receiving

__all__ = ["receiver"]

FIXTURE = Path(__file__).parents[1] / "fixtures" / "espocrm-webhooks.json"
CAPTURED = json.loads(FIXTURE.read_text("utf-8"))["requests"]
MAX, ZWEI = "6b0473f6031b46ee6", "6b0473f61aa5105f4"


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        yield caller


async def subscribe(crm: Caller, url: str, event: str, **more: Any) -> dict[str, Any]:
    return await crm.good("POST", "Webhook", {"event": event, "url": url, **more})


async def process(crm: Caller) -> list[int]:
    """Run the job; the statuses of the answers."""
    return [
        delivery["status"] for delivery in await crm.control("POST", "webhooks/process")
    ]


async def queued(crm: Caller) -> list[str]:
    return [item["status"] for item in (await crm.control("GET", "webhooks"))["queue"]]


async def test_the_captured_requests_are_reproduced_byte_for_byte(
    crm: Caller, receiver: Receiver
) -> None:
    await crm.control(
        "POST", "settings", {"version": "8.4", "optimistic_concurrency": []}
    )
    for request in CAPTURED[:3]:
        webhook = {
            "id": request["webhookId"],
            "secretKey": request["secretKey"],
            "event": request["event"],
        }
        await crm.control("POST", "records/Webhook", {**webhook, "url": receiver.url})
    number = {"phoneNumber": "+4951112345", "type": "Office", "primary": True}
    person = {
        "salutationName": "Herr",
        "firstName": "Max",
        "lastName": "Mustermann",
        "phoneNumberData": [number],
    }
    await crm.control("POST", "records/CBeteiligte", {"id": MAX, **person})
    await crm.control(
        "POST",
        "records/CBeteiligte",
        {"id": ZWEI, "firstName": "Zwei", "lastName": "Person"},
    )
    await process(crm)
    await crm.control("PUT", f"records/CBeteiligte/{MAX}", {"lastName": "Neumann"})
    number = {"phoneNumber": "+4951199999", "type": "Mobile", "primary": True}
    await crm.control(
        "PUT", f"records/CBeteiligte/{MAX}", {"phoneNumberData": [number]}
    )
    await crm.control("DELETE", f"records/CBeteiligte/{ZWEI}")
    await process(crm)
    mails = [
        {"emailAddress": "A.b@Example.DE", "primary": True},
        {"emailAddress": "c@example.de", "primary": False},
    ]
    for change in (
        {"lastName": "Neumann"},
        {"syncStatus": "clean"},
        {"emailAddressData": mails},
        {"lastName": "Neumann2"},
        {"lastName": "Neumann3"},
    ):
        await crm.good("PUT", f"CBeteiligte/{MAX}", change)
    await process(crm)
    sent = [
        (body.decode(), headers["X-Signature"]) for headers, body in receiver.requests
    ]
    assert sent == [
        (request["body"], request["headers"]["X-Signature"]) for request in CAPTURED
    ]
    assert all(
        headers["Content-Type"] == "application/json"
        for headers, _ in receiver.requests
    )


async def test_both_signatures_cover_the_exact_bytes_with_php_escapes(
    crm: Caller, receiver: Receiver
) -> None:
    webhook = await subscribe(crm, receiver.url, "CBeteiligte.create")
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün/Weiß"})
    await process(crm)
    headers, body = receiver.requests[0]
    assert rb"Gr\u00fcn\/Wei\u00df" in body
    mac = hmac.new(webhook["secretKey"].encode(), body, hashlib.sha256)
    assert (
        base64.b64decode(headers["Signature"])
        == f"{webhook['id']}:{mac.hexdigest()}".encode()
    )
    assert (
        base64.b64decode(headers["X-Signature"])
        == f"{webhook['id']}:".encode() + mac.digest()
    )


async def test_version_8_4_knows_neither_the_new_signature_nor_skip_own(
    crm: Caller, receiver: Receiver
) -> None:
    await crm.control("POST", "settings", {"version": "8.4"})
    webhook = await subscribe(crm, receiver.url, "CBeteiligte.create", skipOwn=True)
    assert webhook["skipOwn"] is False
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    await process(crm)
    assert "Signature" not in receiver.requests[0][0]


async def test_skip_own_leaves_out_what_the_owner_did(
    crm: Caller, receiver: Receiver
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.create", skipOwn=True)
    await crm.good("POST", "CBeteiligte", {"lastName": "Own"})
    await crm.good("POST", "CBeteiligte", {"lastName": "Other"}, key=ADMIN_KEY)
    await process(crm)
    assert [[record["name"] for record in body] for body in receiver.bodies] == [
        ["Other"]
    ]


async def test_batches_hold_fifty_events_in_order(
    crm: Caller, receiver: Receiver
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.update")
    record = await crm.good("POST", "CBeteiligte", {"lastName": "0"})
    for number in range(1, 61):
        await crm.good("PUT", f"CBeteiligte/{record['id']}", {"lastName": str(number)})
    assert await process(crm) == [200]
    assert await process(crm) == [200]
    assert await process(crm) == []
    names = [event["lastName"] for body in receiver.bodies for event in body]
    assert names == [str(number) for number in range(1, 61)]
    assert [len(body) for body in receiver.bodies] == [50, 10]


async def test_field_update_reports_one_field_only(
    crm: Caller, receiver: Receiver
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.fieldUpdate.lastName")
    record = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    await crm.good("PUT", f"CBeteiligte/{record['id']}", {"firstName": "Änne"})
    await crm.good(
        "PUT", f"CBeteiligte/{record['id']}", {"lastName": "Rot", "firstName": "Anna"}
    )
    await process(crm)
    assert receiver.bodies == [[{"id": record["id"], "lastName": "Rot"}]]


async def test_silent_changes_fire_nothing(crm: Caller, receiver: Receiver) -> None:
    for event in ("create", "update", "delete"):
        await subscribe(crm, receiver.url, f"CBeteiligte.{event}")
    await crm.control(
        "POST", "records/CBeteiligte?silent=1", {"id": MAX, "lastName": "Grün"}
    )
    await crm.control("PUT", f"records/CBeteiligte/{MAX}?silent=1", {"lastName": "Rot"})
    await crm.control("DELETE", f"records/CBeteiligte/{MAX}?silent=1")
    assert await queued(crm) == []


@pytest.mark.parametrize("status", [200, 204, 302])
async def test_2xx_and_3xx_count_as_delivered(
    crm: Caller, receiver: Receiver, status: int
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.create")
    receiver.status = status
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    assert await process(crm) == [status]
    assert await queued(crm) == ["Success"]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 408, 500, 503])
async def test_some_errors_are_tried_four_times_ten_minutes_apart(
    crm: Caller, receiver: Receiver, status: int
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.create")
    receiver.status = status
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    for _ in range(3):
        assert await process(crm) == [status]
        assert await queued(crm) == ["Pending"]
        crm.clock.advance(minutes=9, seconds=59)
        assert await process(crm) == []
        crm.clock.advance(seconds=1)
    assert await process(crm) == [status]
    assert await queued(crm) == ["Failed"]


@pytest.mark.parametrize("status", [400, 409, 422, 429, 502, 504])
async def test_other_errors_drop_the_events_at_once(
    crm: Caller, receiver: Receiver, status: int
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.create")
    receiver.status = status
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    assert await process(crm) == [status]
    assert await queued(crm) == ["Failed"]


async def test_410_deletes_the_webhook_and_its_queue(
    crm: Caller, receiver: Receiver
) -> None:
    webhook = await subscribe(crm, receiver.url, "CBeteiligte.create")
    receiver.status = 410
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    assert await process(crm) == [410]
    assert await crm.control("GET", "webhooks") == {"webhooks": [], "queue": []}
    assert (await crm.call("GET", f"Webhook/{webhook['id']}")).status == 404


async def test_a_refused_connection_is_tried_again_and_comes_after_newer_events(
    crm: Caller,
) -> None:
    async with receiving() as gone:
        webhook = await subscribe(crm, gone.url, "CBeteiligte.create")
    await crm.good("POST", "CBeteiligte", {"lastName": "First"})
    assert await process(crm) == [0]
    async with receiving() as back:
        await crm.good("PUT", f"Webhook/{webhook['id']}", {"url": back.url})
        await crm.good("POST", "CBeteiligte", {"lastName": "Second"})
        await process(crm)
        crm.clock.advance(minutes=10)
        await process(crm)
        assert [body[0]["name"] for body in back.bodies] == ["Second", "First"]


async def test_inactive_or_deleted_webhooks_lose_their_events(
    crm: Caller, receiver: Receiver
) -> None:
    sleeping = await subscribe(crm, receiver.url, "CBeteiligte.create")
    deleted = await subscribe(crm, receiver.url, "CBeteiligte.create")
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    await crm.good("PUT", f"Webhook/{sleeping['id']}", {"isActive": False})
    await crm.good("DELETE", f"Webhook/{deleted['id']}")
    assert await process(crm) == []
    assert await queued(crm) == []
    assert receiver.requests == []


async def test_webhooks_belong_to_their_creator(crm: Caller) -> None:
    own = await subscribe(crm, "http://localhost.example.de/", "CBeteiligte.create")
    await crm.good(
        "POST",
        "Webhook",
        {"event": "Task.create", "url": "http://x.example.de/"},
        key=ADMIN_KEY,
    )
    assert [row["id"] for row in (await crm.good("GET", "Webhook"))["list"]] == [
        own["id"]
    ]
    assert own["userName"] == "sync"
    assert (own["entityType"], own["type"], len(own["secretKey"])) == (
        "CBeteiligte",
        "create",
        32,
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"event": "CBeteiligte.created", "url": "http://x.example.de/"}, 403),
        ({"event": "CNothing.create", "url": "http://x.example.de/"}, 403),
        (
            {"event": "CBeteiligte.fieldUpdate.color", "url": "http://x.example.de/"},
            403,
        ),
        ({"event": "CBeteiligte.create", "url": "x.example.de"}, 400),
        ({"event": "CBeteiligte.create"}, 400),
    ],
)
async def test_webhooks_that_make_no_sense_are_refused(
    crm: Caller, body: dict[str, Any], status: int
) -> None:
    assert (await crm.call("POST", "Webhook", body)).status == status


async def test_an_internal_receiver_is_refused_unless_it_is_allowed(
    crm: Caller, receiver: Receiver
) -> None:
    await crm.control("POST", "settings", {"webhook_allowed_addresses": []})
    body = {"event": "CBeteiligte.create", "url": receiver.url}
    for url in (
        receiver.url,
        "http://10.0.0.5/hook",
        "https://bitbylaw/hook",
        "http://[::1]:80/hook",
    ):
        answer = await crm.call("POST", "Webhook", {**body, "url": url})
        assert (answer.status, answer.json["messageTranslation"]["data"]["type"]) == (
            400,
            "notInternal",
        )
    await subscribe(crm, "https://bitbylaw.example.de/hook", "CBeteiligte.create")
    address = receiver.url.removeprefix("http://").removesuffix("/hook")
    await crm.control("POST", "settings", {"webhook_allowed_addresses": [address]})
    webhook = await subscribe(crm, receiver.url, "CBeteiligte.create")
    assert (
        await crm.call(
            "PUT", f"Webhook/{webhook['id']}", {"url": "http://10.0.0.5/hook"}
        )
    ).status == 400


async def test_events_for_an_internal_receiver_that_is_not_allowed_are_dropped(
    crm: Caller, receiver: Receiver
) -> None:
    await subscribe(crm, receiver.url, "CBeteiligte.create")
    await crm.control("POST", "settings", {"webhook_allowed_addresses": []})
    await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    assert await process(crm) == [-1]
    assert (await queued(crm), receiver.requests) == (["Failed"], [])


async def test_the_job_delivers_by_itself() -> None:
    async with espocrm(webhook_interval=0.02) as crm, receiving() as receiver:
        await subscribe(crm, receiver.url, "CBeteiligte.delete")
        record = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
        await crm.good("DELETE", f"CBeteiligte/{record['id']}", key=ADMIN_KEY)
        await asyncio.wait_for(receiver.arrived.wait(), timeout=60)
        assert receiver.bodies == [[{"id": record["id"]}]]
