"""A started system answers, end to end."""

from __future__ import annotations

import pytest
from outside import Outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]


async def test_a_greeting_travels_through_engine_worker_and_queue(
    shared: Outside,
) -> None:
    status, body = await shared.call("GET", "/hello")
    assert status == 200

    async def arrived() -> bool:
        return (await shared.call("GET", f"/hello?id={body['id']}"))[0] == 200

    await shared.until(arrived)
    assert (await shared.call("GET", "/hello?id=another"))[0] == 404


async def test_the_first_page_says_where_the_board_is(shared: Outside) -> None:
    status, body = await shared.call("GET", "/")
    assert (status, body["board"]) == (200, "http://127.0.0.1:3113/")


async def test_health_names_every_dependency_with_its_latency_and_no_secret(
    shared: Outside,
) -> None:
    status, body = await shared.call("GET", "/health")

    assert (status, body["status"]) == (200, "ok")
    assert set(body["dependencies"]) == {
        "redis",
        "postgres",
        "advoware",
        "espocrm",
        "google_calendar",
    }
    assert all(
        entry["status"] == "ok" and entry["latency_ms"] >= 0
        for entry in body["dependencies"].values()
    )
    settings = shared.system.settings
    for secret in (
        settings.advoware.password,
        settings.espocrm.marvin_api_key,
        settings.redis.password,
    ):
        assert secret is not None
        assert secret.get_secret_value() not in str(body)


async def test_an_unknown_path_is_404_and_a_wrong_method_405(shared: Outside) -> None:
    assert (await shared.call("GET", "/nothing"))[0] == 404
    assert (await shared.call("DELETE", "/hello"))[0] == 405
