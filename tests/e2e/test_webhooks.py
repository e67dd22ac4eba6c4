"""EspoCRM's webhooks: fast answers with the statuses that EspoCRM understands, each record enqueued once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from outside import KEY, Outside, outside
from redis.asyncio import Redis

from services.core.http import MAX_CONNECTIONS_PER_HOST

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

CAPTURED = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "espocrm-webhooks.json").read_text()
)["requests"]
#: Of one topic's jobs, so many are handled at the same time.
CONCURRENCY = 10
JSON = {"Content-Type": "application/json"}
PATH = "/vmh/webhook/beteiligte/create"


async def test_a_batch_is_answered_with_its_counts_and_each_id_is_enqueued_once(
    shared: Outside,
) -> None:
    first, second = await shared.person(), await shared.person()

    status, body = await shared.webhook("create", first, second, first)

    assert (status, body) == (
        200,
        {
            "status": "received",
            "action": "create",
            "new_ids_count": 2,
            "total_ids_in_batch": 2,
        },
    )
    await shared.synced(first)
    await shared.synced(second)
    assert await shared.results(first) == ["created"]


async def test_one_object_instead_of_an_array_is_accepted(shared: Outside) -> None:
    entity_id = await shared.person()

    status, body = await shared.call("POST", PATH, json={"id": entity_id, "name": "x"})

    assert (status, body["new_ids_count"]) == (200, 1)
    await shared.synced(entity_id)


async def test_an_id_that_is_waiting_already_is_counted_but_not_enqueued_again(
    shared: Outside,
) -> None:
    # All handlers of the topic wait for EspoCRM, so the event of a further record stays in the queue.
    others = [await shared.person() for _ in range(CONCURRENCY)]
    blocked = [{"method": "GET", "path": "CBeteiligte/", "hold": True}]
    await shared.twin("espocrm", "POST", "/__sandbox__/faults", json=blocked)
    assert (await shared.webhook("create", *others))[0] == 200

    async def all_wait() -> bool:
        (rule,) = await shared.twin("espocrm", "GET", "/__sandbox__/faults")
        return bool(rule["struck"] >= MAX_CONNECTIONS_PER_HOST)

    await shared.until(all_wait)
    entity_id = await shared.person()
    answers = [await shared.webhook("create", entity_id) for _ in range(5)]
    await shared.twin("espocrm", "DELETE", "/__sandbox__/faults")

    assert [body["new_ids_count"] for _, body in answers] == [1, 0, 0, 0, 0]
    assert all(body["total_ids_in_batch"] == 1 for _, body in answers)
    await shared.synced(entity_id)
    for other in others:
        await shared.synced(other)
    assert await shared.results(entity_id) == ["created"]


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        (b"{broken", JSON),
        (b"", JSON),
        (b"null", JSON),
        (b'"text"', JSON),
        (b"[]", JSON),
        (b"[1, null, []]", JSON),
        (b'[{"name": "without id"}]', JSON),
        (b'[{"id": ""}, {"id": 5}, {"id": "../etc"}]', JSON),
        (b'[{"id": "%s"}]' % (b"a" * 37), JSON),
        (b'[{"id": "6b0473f6031b46ee6"}]', {"Content-Type": "text/plain"}),
    ],
)
async def test_a_body_without_a_usable_id_is_400(
    shared: Outside, data: bytes, headers: dict[str, str]
) -> None:
    status, body = await shared.call("POST", PATH, data=data, headers=headers)

    assert status == 400
    assert body["error"] == "Invalid webhook body"


async def test_valid_ids_beside_unusable_ones_are_not_lost(shared: Outside) -> None:
    entity_id = await shared.person()

    status, body = await shared.call(
        "POST", PATH, json=[{"id": "../x"}, {"id": entity_id}, None, {}]
    )

    assert (status, body["new_ids_count"], body["total_ids_in_batch"]) == (200, 1, 1)
    await shared.synced(entity_id)


async def test_an_oversized_body_is_413(shared: Outside) -> None:
    status, _ = await shared.call(
        "POST", PATH, json=[{"id": "a1", "text": "x" * 1_100_000}]
    )

    assert status == 413


@pytest.mark.parametrize("entity", ["beteiligte", "bankverbindungen"])
@pytest.mark.parametrize("action", ["create", "update", "delete"])
async def test_all_six_webhooks_answer(
    shared: Outside, entity: str, action: str
) -> None:
    status, body = await shared.webhook(
        action, f"unknown-{entity[:4]}-{action}", entity=entity
    )

    assert (status, body["action"]) == (200, action)


async def test_token_and_signature_are_required_once_configured() -> None:
    secrets = ",".join(
        f"{entry['webhookId']}:{entry['secretKey']}" for entry in CAPTURED
    )
    async with outside(
        ESPOCRM_WEBHOOK_TOKEN=KEY, ESPOCRM_WEBHOOK_SECRETS=secrets
    ) as strict:
        captured = CAPTURED[0]

        async def send(path: str, body: str = captured["body"], **headers: str) -> int:
            return (
                await strict.call(
                    "POST", path, data=body.encode(), headers={**JSON, **headers}
                )
            )[0]

        signed = {"X-Signature": captured["headers"]["X-Signature"]}
        assert await send(PATH, **signed) == 401
        assert await send(f"{PATH}?token=falsch", **signed) == 401
        assert await send(f"{PATH}?token={KEY}") == 401
        assert (
            await send(
                f"{PATH}?token={KEY}", captured["body"].replace("Max", "Min"), **signed
            )
            == 401
        )
        assert await send(f"{PATH}?token={KEY}", **signed) == 200


async def test_without_redis_webhooks_are_503_and_the_proxy_still_works() -> None:
    async with outside() as system:
        entity_id = await system.person()
        redis_pid = await _redis_pid(system)
        os.kill(redis_pid, signal.SIGSTOP)

        status, body = await system.webhook("create", entity_id)
        assert (status, body["error"]) == (503, "Temporarily unavailable")
        status, body = await system.call(
            "GET",
            "/advoware/proxy",
            params={"endpoint": "api/v1/advonet/Mitarbeiter", "aktiv": "true"},
        )
        assert (status, len(body["result"]) > 5) == (200, True)

        async def reported_down() -> bool:
            status, body = await system.call("GET", "/health")
            return status == 503 and body["dependencies"]["redis"]["status"] == "down"

        await system.until(reported_down)
        os.kill(redis_pid, signal.SIGCONT)

        async def taken_again() -> bool:
            # What the stalled Redis did after all must not make us believe that the event is waiting.
            status, body = await system.webhook("create", entity_id)
            return status == 200 and body["new_ids_count"] == 1

        await system.until(taken_again)
        await system.synced(entity_id)


async def test_without_the_queue_webhooks_are_503_and_the_repeated_batch_is_enqueued() -> (
    None
):
    async with outside() as system:
        entity_id = await system.person()
        # The queue's table is locked, as if its database hung; our own database goes on.
        postgres = system.system.settings.postgres
        queue = await asyncpg.connect(
            host=postgres.host, user=postgres.user, database="engine"
        )
        transaction = queue.transaction()
        await transaction.start()
        await queue.execute("LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
        status, _ = await system.webhook("create", entity_id)
        assert status == 503
        await transaction.rollback()
        await queue.close()

        status, body = await system.webhook("create", entity_id)
        assert (status, body["new_ids_count"]) == (200, 1)
        await system.synced(entity_id)
        assert len(await system.advoware_named("Muster")) == 1


async def _redis_pid(system: Outside) -> int:
    settings: Any = system.system.settings.redis
    client = Redis(
        host=settings.host,
        port=settings.port,
        password=settings.password.get_secret_value(),
    )
    try:
        return int((await client.info("server"))["process_id"])
    finally:
        await client.aclose()
