"""A recorded webhook that is sent again and again causes a few looks at its record, and no more."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from motia import ApiRequest

from config import PROJECT_ROOT, Settings, get_settings
from local_engine.http_port import api as http_api
from services.api import access, replays
from services.api.access import php_json
from services.core.jobs.pending import claim_pending
from services.core.resources import current_resources

KEY = "0123456789abcdef01234567"
HOOK = "6b0473a32660aa001"
ID = "6b0473a32660aa002"


class Log:
    """The engine's log, which no one reads here."""

    def info(self, event: str, fields: Any = None) -> None: ...

    warn = error = info


@dataclass
class Engine:
    """What a step sees of the engine."""

    queue: list[str] = field(default_factory=list)
    trace_id: str = "trace"
    logger: Log = field(default_factory=Log)

    async def enqueue(self, message: dict[str, Any]) -> None:
        self.queue.append(message["topic"])


@pytest.fixture
async def engine(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engine]:
    settings = make_settings(
        ESPOCRM_WEBHOOK_SECRETS=f"{HOOK}:{KEY}", ESPOCRM_WEBHOOK_TOKEN=KEY
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    await current_resources().redis.flushall()
    yield Engine()
    await current_resources().close()
    get_settings.cache_clear()


def handler(action: str) -> Any:
    path = PROJECT_ROOT / f"steps/vmh/webhook/beteiligte_{action}_api_step.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


async def deliver(engine: Engine, body: Any, action: str = "update") -> tuple[int, int]:
    """Status and number of new ids; the queue's handler then takes what was enqueued."""
    mac = hmac.new(KEY.encode(), php_json(body), hashlib.sha256).hexdigest()
    signature = base64.b64encode(f"{HOOK}:{mac}".encode()).decode()
    headers = {"signature": signature}
    request = ApiRequest(body=body, headers=headers, query_params={"token": KEY})
    answer = await handler(action)(request, engine)
    await claim_pending(current_resources(), f"vmh.beteiligte.{action}", ID)
    return answer.status, answer.body.get("new_ids_count", -1)


async def test_the_same_signed_batch_is_enqueued_three_times_in_ten_minutes(
    engine: Engine,
) -> None:
    body = [{"id": ID, "beruf": "Maler"}, {"id": ID, "beruf": "Lackierer"}]
    counts = [await deliver(engine, body) for _ in range(6)]

    # An original among them is not lost: EspoCRM sends it again when the ten minutes are over.
    assert counts == [(200, 1)] * 3 + [(503, -1)] * 3
    assert len(engine.queue) == 3
    # Others are not affected: another value, another endpoint.
    assert await deliver(engine, [{"id": ID, "beruf": "Koch"}, body[0]]) == (200, 1)
    assert await deliver(engine, body, "delete") == (200, 1)
    redis = current_resources().redis
    keys = await redis.keys("webhook:received:*")
    assert len(keys) == 3
    for key in keys:
        assert 0 < await redis.ttl(key) <= replays.WINDOW_SECONDS


async def test_after_the_window_the_same_batch_counts_as_new(
    engine: Engine,
) -> None:
    body = [{"id": ID}]
    for _ in range(4):
        await deliver(engine, body)
    redis = current_resources().redis
    for key in await redis.keys("webhook:received:*"):
        await redis.delete(key)  # as when its time is over
    assert await deliver(engine, body) == (200, 1)


async def test_a_changed_copy_is_refused_and_counts_for_nothing(engine: Engine) -> None:
    body = [{"id": ID, "beruf": "Maler"}]
    mac = hmac.new(KEY.encode(), php_json(body), hashlib.sha256).hexdigest()
    signature = base64.b64encode(f"{HOOK}:{mac}".encode()).decode()
    forged = [{"id": ID, "beruf": "Koch"}]
    for changed in (forged, [*body, *body], body[0], {"id": ID}, []):
        request = ApiRequest(
            body=changed, headers={"signature": signature}, query_params={"token": KEY}
        )
        answer = await handler("update")(request, engine)
        assert answer.status == 401
    assert engine.queue == []
    assert await current_resources().redis.keys("webhook:received:*") == []


async def test_sorting_the_keys_does_not_get_around_the_signature_where_order_is_kept(
    engine: Engine,
) -> None:
    forged = [{"beruf": "Koch", "id": ID}]  # as if an engine had sorted them
    for headers, status in (({}, 200), ({access.ORDER_HEADER: "kept"}, 401)):
        request = ApiRequest(body=forged, headers=headers, query_params={"token": KEY})
        assert (await handler("update")(request, engine)).status == status


def test_the_embedded_engine_says_that_it_keeps_the_order() -> None:
    assert http_api.ORDER_HEADER == access.ORDER_HEADER
