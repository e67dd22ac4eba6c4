"""Who gets in: with one real system no one without a key, and whoever guesses is slow and quiet."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio
import schemathesis
from outside import KEY, TRIAL, Outside, RealEspoCRM, outside
from schemathesis.checks import CHECKS

from config import key_digest
from sandbox.control import running
from services.api import access
from services.api.openapi import document

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

RESET = "/crm-bbl-vmh-reset-nextcall"
WEBHOOK = "/vmh/webhook/beteiligte/create"
RIGHT = {"X-Api-Key": KEY}
READER, DIARY = "reader-0123456789abcdef", "diary-0123456789abcdef"
TERMINE = "api/v1/advonet/Termine"
NAMED = (
    f"reader:GET:{key_digest(READER)},"
    f"diary:GET-PUT@{TERMINE}+calendar:{key_digest(DIARY)}"
)
RESET_BODY = {"ids": ["6b0473a32660aa001"], "next_call": None}


#: The last parts of addresses.
NUMBERS = count(1)


def new_sender() -> dict[str, str]:
    """The header of a caller who was never refused before, and so is refused at once."""
    return {"X-Forwarded-For": f"198.18.0.{next(NUMBERS)}"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trial() -> AsyncIterator[Outside]:
    """A system between a real EspoCRM, which is reached at an address of this machine, and Advoware's twin."""
    async with (
        running(RealEspoCRM()) as url,
        outside(
            **TRIAL,
            BITBYLAW_NAMED_KEYS=NAMED,
            ESPOCRM_API_BASE_URL=f"{url}/api/v1",
        ) as system,
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
async def test_every_endpoint_is_closed_without_its_key(
    trial: Outside, method: str, path: str
) -> None:
    status, body = await trial.call(method, path, json=RESET_BODY, headers=new_sender())

    assert (status, body["error"]) == (401, "Unauthorized")


async def test_the_keys_open_the_endpoints(trial: Outside) -> None:
    assert (await trial.call("POST", RESET, json=RESET_BODY, headers=RIGHT))[0] == 200
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
            status, _ = await trial.call("POST", path, json=RESET_BODY, headers=headers)
            assert status == 401
            refused += 1

    logged = len(await lines(trial))
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(keep_guessing(started + 6))
        asked = time.monotonic()
        for _ in range(20):
            assert (
                await trial.call("POST", RESET, json=RESET_BODY, headers=RIGHT | sender)
            )[0] == 200
        answered = time.monotonic() - asked
        other = headers | {"X-Forwarded-For": "198.51.100.7"}
        asked = time.monotonic()
        assert (await trial.call("POST", path, json=RESET_BODY, headers=other))[
            0
        ] == 401
        answered_other = time.monotonic() - asked
    seconds = time.monotonic() - started

    assert refused < 60, refused
    # Had each right key waited for one step, or the other sender as long as the guesser:
    assert answered < 20 * access.STEP_SECONDS
    assert answered_other < access.LONGEST_WAIT_SECONDS
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
        webhooks: list[dict[str, Any]] = [
            {"json": [{"id": "b1"}]},
            {"json": []},
            {"data": b"{"},
            {"json": "text", "headers": basic},
        ]
        for options in webhooks:
            headers = options.pop("headers", {}) | new_sender()
            url = f"{WEBHOOK}?token={token}"
            await trial.call("POST", url, headers=headers, **options)
        key = {"X-Api-Key": token} | new_sender()
        await trial.call("POST", RESET, json=RESET_BODY, headers=key)
        await trial.call(
            "GET",
            "/advoware/proxy",
            params={"endpoint": "x"},
            headers={"Authorization": f"Bearer {token}"} | new_sender(),
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


def asked(
    method: str, endpoint: str, key: str, **headers: str
) -> tuple[str, str, dict[str, Any]]:
    options = {
        "params": {"endpoint": endpoint},
        "headers": {"X-Api-Key": key} | headers,
    }
    body = {"json": {}} if method in ("POST", "PUT") else {}
    return method, "/advoware/proxy", {**options, **body}


async def test_a_read_only_key_reads_everything_and_changes_nothing(
    trial: Outside,
) -> None:
    await trial.twin("advoware", "DELETE", "/__sandbox__/journal")
    overriding = {
        "X-HTTP-Method-Override": "DELETE",
        "X-HTTP-Method": "PUT",
        "X-Method-Override": "POST",
    }
    for headers in ({}, overriding):
        method, path, options = asked("GET", "api/v1/advonet/Beteiligte", READER)
        options["headers"] |= headers
        assert (await trial.call(method, path, **options))[0] == 200
    for method in ("POST", "PUT", "DELETE"):
        _, path, options = asked(method, "api/v1/advonet/Beteiligte", READER)
        status, body = await trial.call(method, path, **options)
        assert (status, body["error"]) == (403, "Not permitted")
    for path in (RESET, "/advoware/calendar/sync"):
        status, body = await trial.call(
            "POST", path, json=RESET_BODY, headers={"X-Api-Key": READER}
        )
        assert (status, body["error"]) == (403, "Not permitted")

    journal = await trial.twin("advoware", "GET", "/__sandbox__/journal/summary")
    assert {name.split()[0] for name in journal if "Token" not in name} == {"GET"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "api/v1/advonet/Beteiligte",
        f"{TERMINE}/../Beteiligte",
        f"{TERMINE}/%2e%2e/Beteiligte",
        f"{TERMINE}/%252e%252e/Beteiligte",
        f"{TERMINE}%2f..%2fBeteiligte",
        f"{TERMINE}/..;/Beteiligte",
        f"{TERMINE}//Beteiligte",
        f"//{TERMINE}",
        f"{TERMINE}X",
        TERMINE.lower(),
    ],
)
async def test_a_key_for_one_path_reaches_no_other(
    trial: Outside, endpoint: str
) -> None:
    await trial.twin("advoware", "DELETE", "/__sandbox__/journal")
    # It goes out as it stands, and once more encoded as a whole: the engine decodes both to the same.
    raw = {
        "Authorization": f"Bearer {DIARY}",
        "X-Forwarded-Uri": f"/?endpoint={TERMINE}",
    }
    for method, path, options in (
        asked("GET", endpoint, DIARY),
        asked("PUT", endpoint, DIARY),
        (
            "GET",
            f"/advoware/proxy?endpoint={TERMINE}&endpoint={endpoint}",
            {"headers": raw},
        ),
        (
            "GET",
            f"/advoware/proxy?endpoint={endpoint}&endpoint={TERMINE}",
            {"headers": raw},
        ),
    ):
        status, _ = await trial.call(method, path, **options)
        assert status in (400, 403)

    assert not await trial.asked()


async def test_a_key_for_one_path_reads_it_and_logs_say_whose_key_it_was(
    trial: Outside,
) -> None:
    method, path, options = asked("GET", TERMINE, DIARY)
    assert (await trial.call(method, path, **options))[0] in (200, 400)
    body = {"json": {"kuerzel": "NONE"}, "headers": {"X-Api-Key": DIARY}}
    assert (await trial.call("POST", "/advoware/calendar/sync", **body))[0] == 404
    method, path, options = asked("GET", "api/v1/advonet/Mitarbeiter/7", READER)
    await trial.call(method, path, **options)
    method, path, options = asked("DELETE", "api/v1/advonet/Mitarbeiter/7", READER)
    await trial.call(method, path, **options)

    log = (trial.system.data / "log" / "worker.log").read_text()
    facts = [json.loads(line)["fields"] for line in log.splitlines() if '"key"' in line]
    by_key = {
        name: [f for f in facts if f["key"] == name] for name in ("reader", "diary")
    }
    assert all(by_key.values())
    assert any(fact.get("error") == "NotPermitted" for fact in by_key["reader"])
    assert READER not in log
    assert DIARY not in log


@pytest.mark.parametrize(
    "head",
    [
        f"X-Api-Key: {'x' * 24}",
        f"X-Api-Key: {KEY}, {KEY}",
        f"X-Api-Key: {KEY}x",
        f"X-Api-Key: {key_digest(READER)}",
        f"X-Api_Key: {KEY}",
        f"X-Api-Key : {KEY}",
        f"X-Api-Key:\r\n {KEY}x",
        f"Authorization: Basic {KEY}",
        f"Authorization: {KEY}",
        f"Authorization: Bearer\t{KEY}",
        f"Authorization: Bearer {KEY}\r\nAuthorization: Bearer wrong",
        f"X-Api-Key: {KEY}\r\nX-Api-Key: wrong",
        f"Proxy-Authorization: Bearer {KEY}",
        f"Cookie: X-Api-Key={KEY}",
        f"X-Api-Key: {'x' * 8000}",
    ],
)
async def test_no_variant_of_the_header_opens_an_endpoint(
    trial: Outside, head: str
) -> None:
    host, _, port = trial.system.http_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = f"GET /advoware/proxy?endpoint=x HTTP/1.1\r\nHost: x\r\n{head}\r\n"
    writer.write(
        f"{lines}X-Forwarded-For: {len(head)}\r\nConnection: close\r\n\r\n".encode()
    )
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"400", b"401")


def check_refusal(url: str, method: str, path: str, headers: dict[str, str]) -> int:
    """Ask an endpoint, and hold its answer against its description; the status."""
    operation = schemathesis.openapi.from_dict(document())[path][method]
    query = {"endpoint": "x"} if path == "/advoware/proxy" else {}
    options: dict[str, Any] = {"headers": headers, "query": query}
    if operation.body:
        options["body"] = RESET_BODY if path == RESET else {}
    case = operation.Case(**options)
    names = ("status_code", "content_type", "response_headers", "response_schema")
    checks = CHECKS.get_by_names([f"{name}_conformance" for name in names])
    answer = case.call_and_validate(base_url=url, checks=checks, timeout=30)
    return int(answer.status_code)


async def test_refusals_are_answered_as_they_are_described(trial: Outside) -> None:
    sender = {"X-Forwarded-For": "192.0.2.77"}
    endpoints = [
        ("POST", RESET),
        ("POST", "/advoware/calendar/sync"),
        *(("DELETE", "/advoware/proxy"), ("PUT", "/advoware/proxy")),
    ]

    async def statuses(key: str) -> set[int]:
        headers = {"X-Api-Key": key, **sender}
        url = trial.system.http_url
        checks = [
            asyncio.to_thread(check_refusal, url, *endpoint, headers)
            for endpoint in endpoints
        ]
        return set(await asyncio.gather(*checks))

    assert await statuses("wrong") == {401}
    assert await statuses(READER) == {403}
    guesses = [
        trial.call(
            "POST", RESET, json=RESET_BODY, headers={"X-Api-Key": "wrong", **sender}
        )
        for _ in range(access.REFUSED_FROM)
    ]
    await asyncio.gather(*guesses)
    assert await statuses("wrong") == {429}
    assert await statuses(READER) == {403}
    right = {**RIGHT, **sender}
    assert (await trial.call("POST", RESET, json=RESET_BODY, headers=right))[0] == 200


async def raw(system: Outside, text: bytes) -> bytes:
    """What comes for these bytes until the engine closes."""
    host, _, port = system.system.http_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text)
    writer.write_eof()
    async with asyncio.timeout(30):
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
    writer.close()
    return answer


PROXY = "/advoware/proxy?endpoint=api/v1/advonet/Beteiligte"
HIDDEN = f"DELETE {PROXY}/1 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "text",
    [
        f"GET {PROXY} HTTP/1.0\r\n\r\n",
        f"GET {PROXY}\r\n",
        f"GET http://127.0.0.1{PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /{PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /x/..{PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /hello/..%2f..{PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /_console{PROXY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        f"get {PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"TRACE {PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"HEAD {PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "CONNECT advoware:443 HTTP/1.1\r\nHost: advoware\r\n\r\n",
        f"OPTIONS {PROXY} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        # A second request inside the first one, for whoever reads lengths in another way.
        f"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
        f"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
        f"POST {RESET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n{HIDDEN}",
        f"POST {RESET} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
        f"GET /hello HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n{HIDDEN}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\x00" * 100,
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode(),
)
async def test_no_way_of_writing_a_request_gets_around_the_key(
    trial: Outside, text: str
) -> None:
    await trial.twin("advoware", "DELETE", "/__sandbox__/journal")

    answer = await raw(trial, text.encode("latin-1"))

    statuses = set(re.findall(rb"^HTTP/1\.[01] (\d+)", answer, flags=re.MULTILINE))
    # 200: of GET /hello, of a preflight; a request that was hidden in another one has no answer, or its own 401.
    assert statuses <= {b"200", b"400", b"401", b"403", b"404", b"405", b"426"}
    assert b"result" not in answer
    assert not await trial.asked()
    assert (await trial.call("GET", "/health"))[0] == 200
