"""Who gets in: with one real system nobody without a key, and whoever guesses is slow and quiet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from outside import KEY, TRIAL, Outside, RealEspoCRM, outside

from sandbox.control import running

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

RESET = "/crm-bbl-vmh-reset-nextcall"
WEBHOOK = "/vmh/webhook/beteiligte/create"
RIGHT = {"X-Api-Key": KEY}
WISH = {"ids": ["6b0473a32660aa001"], "next_call": None}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trial() -> AsyncIterator[Outside]:
    """A system between a real EspoCRM, which is reached at an address of this machine, and Advoware's twin."""
    async with (
        running(RealEspoCRM()) as url,
        outside(**TRIAL, ESPOCRM_API_BASE_URL=f"{url}/api/v1") as system,
    ):
        yield system


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", RESET),
        ("POST", "/advoware/calendar/sync"),
        *(
            (method, "/advoware/proxy?endpoint=x")
            for method in ("GET", "POST", "PUT", "DELETE")
        ),
        *(
            ("POST", f"/vmh/webhook/{entity}/{action}")
            for entity in ("beteiligte", "bankverbindungen")
            for action in ("create", "update", "delete")
        ),
    ],
)
async def test_every_door_is_closed_without_its_key(
    trial: Outside, method: str, path: str
) -> None:
    status, body = await trial.call(method, path, json=WISH)

    assert (status, body["error"]) == (401, "Unauthorized")


async def test_the_keys_open_the_doors(trial: Outside) -> None:
    assert (await trial.call("POST", RESET, json=WISH, headers=RIGHT))[0] == 200
    assert (await trial.call("POST", f"{WEBHOOK}?token={KEY}", json=[{"id": "a1"}]))[
        0
    ] == 200


async def test_health_and_the_greeting_say_that_it_is_a_trial(
    trial: Outside, shared: Outside
) -> None:
    for path in ("/health", "/hello"):
        assert (await trial.call("GET", path))[1]["mode"] == "trial"
        assert (await shared.call("GET", path))[1]["mode"] == "twins"


@pytest.mark.parametrize(
    ("path", "guess"),
    [
        (RESET, {"headers": {"X-Api-Key": "x" * 24}}),
        (f"{WEBHOOK}?token={'x' * 24}", {}),
    ],
)
async def test_guesses_are_slow_and_quiet_and_the_right_key_is_not(
    trial: Outside, path: str, guess: dict[str, Any]
) -> None:
    sender = {"X-Forwarded-For": f"203.0.113.{len(path)}"}
    headers = guess.get("headers", {}) | sender
    refused = 0

    async def keep_guessing(until: float) -> None:
        nonlocal refused
        while time.monotonic() < until:
            status, _ = await trial.call("POST", path, json=WISH, headers=headers)
            assert status == 401
            refused += 1

    logged = len(await lines(trial))
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(keep_guessing(started + 6))
        asked = time.monotonic()
        for _ in range(20):
            assert (await trial.call("POST", RESET, json=WISH, headers=RIGHT | sender))[
                0
            ] == 200
        answered = time.monotonic() - asked
        other = headers | {"X-Forwarded-For": "198.51.100.7"}
        asked = time.monotonic()
        assert (await trial.call("POST", path, json=WISH, headers=other))[0] == 401
        answered_other = time.monotonic() - asked
    seconds = time.monotonic() - started

    assert refused < 60, refused
    assert answered < 4
    assert answered_other < 2
    assert 1 <= len(await lines(trial)) - logged <= seconds + 1


async def lines(system: Outside) -> list[Any]:
    """What the worker has logged about refusals."""
    _, body = await system.call("POST", "/_console/otel/logs", json={})
    return [line for line in body["logs"] if "access.denied" in str(line)]


async def test_no_key_or_token_is_in_a_log(trial: Outside) -> None:
    wrong = "wrong-0123456789abcdef"
    basic = {
        "Authorization": "Basic " + "Zm9vOndyb25nLTAxMjM0NTY3ODlhYmNkZWY="
    }  # foo and the wrong token
    for token in (KEY, wrong):
        for options in (
            {"json": [{"id": "b1"}]},
            {"json": []},
            {"data": b"{"},
            {"json": "text", "headers": basic},
        ):
            await trial.call("POST", f"{WEBHOOK}?token={token}", **options)
        await trial.call("POST", RESET, json=WISH, headers={"X-Api-Key": token})
        await trial.call(
            "GET",
            "/advoware/proxy",
            params={"endpoint": "x"},
            headers={"Authorization": f"Bearer {token}"},
        )

    _, body = await trial.call("POST", "/_console/otel/logs", json={})
    files = {
        path.name: path.read_text(errors="replace")
        for path in (trial.system.data / "log").iterdir()
    }
    _, traces = await trial.call("POST", "/_console/otel/traces", json={})
    texts = {
        "the engine's logs": str(body),
        "the engine's traces": str(traces),
        **files,
    }
    assert "worker.log" in texts
    found = {
        name
        for name, text in texts.items()
        if KEY in text or wrong in text or "Zm9vOndy" in text
    }
    assert found == set()
