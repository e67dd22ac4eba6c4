"""The proxy's contract: Advoware without its login dance, with honest errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from outside import KEY, TRIAL, Outside, outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

BETEILIGTE = "api/v1/advonet/Beteiligte"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared() -> AsyncIterator[Outside]:
    """A system of this file's own: its EspoCRM has no persons, so that Advoware hears from the proxy only.

    Where other tests have left persons, the cron of a quarter of an hour syncs them beside the tests.
    """
    async with outside() as running:
        yield running


async def proxy(
    system: Outside, method: str, endpoint: str | None, **options: Any
) -> tuple[int, Any]:
    params = options.pop("params", {}) | (
        {"endpoint": endpoint} if endpoint is not None else {}
    )
    return await system.call(method, "/advoware/proxy", params=params, **options)


async def test_a_record_is_created_read_changed_and_may_not_be_deleted(
    shared: Outside,
) -> None:
    status, body = await proxy(
        shared, "POST", BETEILIGTE, json={"name": "Proxy", "vorname": "Petra"}
    )
    assert status == 200
    created = body["result"]
    status, body = await proxy(shared, "GET", f"{BETEILIGTE}/{created['betNr']}")
    assert (status, body["result"]["vorname"]) == (200, "Petra")
    status, _ = await proxy(
        shared,
        "PUT",
        f"{BETEILIGTE}/{created['betNr']}",
        json={**body["result"], "vorname": "Paula"},
    )
    assert status == 200
    _, body = await proxy(shared, "GET", f"{BETEILIGTE}/{created['betNr']}")
    assert body["result"]["vorname"] == "Paula"
    status, body = await proxy(shared, "DELETE", f"{BETEILIGTE}/{created['betNr']}")
    assert (status, body["upstream_status"]) == (403, 403)


async def test_all_other_query_parameters_are_passed_on(shared: Outside) -> None:
    await proxy(
        shared, "POST", BETEILIGTE, json={"name": "Größe & Söhne", "vorname": "Ä=?"}
    )

    status, body = await proxy(
        shared, "GET", BETEILIGTE, params={"name": "Größe & Söhne", "vorname": "Ä=?"}
    )

    assert (status, len(body["result"])) == (200, 1)


async def test_a_missing_endpoint_is_400_with_the_agreed_text(shared: Outside) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        status, body = await proxy(shared, method, None)
        assert (status, body) == (400, {"error": "Endpoint required as query param"})


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/",
        "//evil.example",
        "../x",
        "api/%2e%2e/x",
        "api/%252e%252e/x",
        "api\\..\\x",
        "x#y",
        "x\ny",
    ],
)
async def test_an_endpoint_that_leads_elsewhere_is_refused_and_never_sent(
    shared: Outside, endpoint: str
) -> None:
    await shared.twin("advoware", "DELETE", "/__sandbox__/journal")

    status, body = await proxy(shared, "GET", endpoint)

    assert status == 400
    assert "endpoint" in body["details"]
    assert not await shared.asked()


async def test_an_upstream_4xx_is_passed_on_with_its_text(shared: Outside) -> None:
    status, body = await proxy(shared, "GET", f"{BETEILIGTE}/99999999")

    assert (status, body["upstream_status"]) == (404, 404)
    assert set(body) == {"error", "details", "upstream_status"}


async def test_a_body_that_is_not_json_is_refused_and_not_sent_as_an_empty_one(
    shared: Outside,
) -> None:
    await shared.twin("advoware", "DELETE", "/__sandbox__/journal")
    for options in (
        {"data": b"{broken", "headers": {"Content-Type": "application/json"}},
        {"data": b"a=b", "headers": {"Content-Type": "text/plain"}},
    ):
        status, body = await proxy(shared, "POST", BETEILIGTE, **options)
        assert status == 400, body
    assert not await shared.asked()


async def test_a_body_above_the_worker_limit_is_413(shared: Outside) -> None:
    status, body = await proxy(
        shared, "POST", BETEILIGTE, json={"name": "x" * 1_100_000}
    )

    assert status == 413
    assert "error" in body


async def test_a_revoked_token_is_replaced_by_one_login_and_the_call_repeated_once(
    shared: Outside,
) -> None:
    await proxy(shared, "GET", BETEILIGTE)
    await shared.twin("advoware", "POST", "/__sandbox__/revoke-tokens")
    await shared.twin("advoware", "DELETE", "/__sandbox__/journal")

    status, _ = await proxy(shared, "GET", BETEILIGTE)

    assert status == 200
    assert await shared.asked() == {
        "GET /api/v1/advonet/Beteiligte": 2,
        "POST /api/v1/Token": 1,
    }


async def test_a_broken_upstream_is_502_and_a_write_is_not_repeated(
    shared: Outside,
) -> None:
    await shared.twin(
        "advoware",
        "POST",
        "/__sandbox__/faults",
        json={"path": "Beteiligte", "status": 500},
    )
    await shared.twin("advoware", "DELETE", "/__sandbox__/journal")

    status, body = await proxy(shared, "POST", BETEILIGTE, json={"name": "Einmal"})

    assert (status, body["upstream_status"]) == (502, 500)
    assert await shared.asked() == {"POST /api/v1/advonet/Beteiligte": 1}


async def test_a_read_survives_a_passing_fault(shared: Outside) -> None:
    await shared.twin(
        "advoware",
        "POST",
        "/__sandbox__/faults",
        json={"path": "Beteiligte", "reset": True, "count": 1},
    )

    assert (await proxy(shared, "GET", BETEILIGTE))[0] == 200


async def test_a_large_answer_arrives_whole(shared: Outside) -> None:
    rows = [{"betNr": number, "name": "x" * 200} for number in range(40_000)]
    await shared.twin(
        "advoware",
        "POST",
        "/__sandbox__/faults",
        json={"path": "Beteiligte", "status": 200, "body": rows},
    )

    for _ in range(3):
        status, body = await proxy(shared, "GET", BETEILIGTE)
        assert (status, len(body["result"])) == (200, 40_000)


async def test_broken_json_from_upstream_is_502(shared: Outside) -> None:
    await shared.twin(
        "advoware",
        "POST",
        "/__sandbox__/faults",
        json={"path": "Beteiligte", "truncate_json": True},
    )

    assert (await proxy(shared, "GET", BETEILIGTE))[0] == 502


async def test_slow_unreachable_and_refusing_upstreams_are_504_502_and_a_configuration_error() -> (
    None
):
    async with outside(ADVOWARE_API_TIMEOUT_SECONDS="1", BITBYLAW_API_KEYS=KEY) as slow:
        key = {"X-Api-Key": KEY}
        assert (await proxy(slow, "GET", BETEILIGTE))[0] == 401
        assert (
            await slow.call(
                "POST",
                "/crm-bbl-vmh-reset-nextcall",
                json={"ids": ["a"], "next_call": None},
            )
        )[0] == 401
        assert (await proxy(slow, "GET", BETEILIGTE, headers=key))[0] == 200
        await slow.twin(
            "advoware",
            "POST",
            "/__sandbox__/faults",
            json={"path": "Beteiligte", "hang": True},
        )
        status, body = await proxy(slow, "GET", BETEILIGTE, headers=key)
        assert (status, body["error"]) == (504, "Advoware timeout")
    # Who listens at an address that is no twin's is not known, so it is treated as real.
    unknown = {**TRIAL, "ADVOWARE_API_BASE_URL": "http://127.0.0.1:9"}
    async with outside(**unknown, ADVOWARE_PASSWORD="falsch") as refused:  # noqa: S106 - invented
        status, body = await proxy(refused, "GET", BETEILIGTE, headers=key)
        assert (status, body["error"]) == (500, "Configuration error")
        assert "ADVOWARE_PASSWORD" in body["details"]
        assert "falsch" not in str(body)
        for _ in range(5):
            assert (await proxy(refused, "GET", BETEILIGTE, headers=key))[0] == 500
        logins = (
            await refused.twin("advoware", "GET", "/__sandbox__/journal/summary")
        )["POST /api/v1/Token"]
        assert logins == 1
    async with outside(**unknown) as gone:
        status, body = await proxy(gone, "GET", BETEILIGTE, headers=key)
        assert (status, body["error"]) == (502, "Advoware unavailable")
        status, body = await gone.call("GET", "/health")
        assert (status, body["status"], body["dependencies"]["advoware"]["status"]) == (
            200,
            "degraded",
            "down",
        )
