"""HTTP steps on the embedded engine: what it does better than the real one, and its console.

The behaviour that it shares with the real engine is in conformance/test_conformance_http.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from engine_harness import (
    Handler,
    NewWorker,
    Target,
    console,
    eventually,
    open_channel,
    request,
)

from local_engine.errors import OverloadedError
from local_engine.http_port.api import MAX_CONCURRENT_REQUESTS
from local_engine.http_port.bodies import Bodies
from local_engine.server import Engine


def answering(result: Any) -> Handler:
    """Return a handler that answers only with a result."""

    async def handler(_data: Any) -> Any:
        return result

    return handler


def as_motia_does(
    target: Target,
    result: dict[str, Any],
    order: str,
    later: asyncio.TaskGroup,
) -> Handler:
    """Return a handler that answers twice, as `motia run` does: on the channel, and with its result.

    ``order``: whether the body's frame goes out before or after the result. ``later``: what goes out after it.
    """

    async def handler(data: Any) -> Any:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(
            json.dumps({"type": "set_status", "status_code": result["status_code"]})
        )
        await channel.send(
            json.dumps({"type": "set_headers", "headers": result["headers"]})
        )

        async def finish() -> None:
            await channel.send(json.dumps(result["body"]).encode())
            await channel.close()

        async def finish_late() -> None:
            await asyncio.sleep(0.02)
            await finish()

        if order == "body first":
            await finish()
        else:
            later.create_task(finish_late())
        return result

    return handler


@pytest.mark.parametrize("order", ["body first", "result first"])
async def test_an_answer_does_not_depend_on_which_copy_of_it_arrives_first(
    target: Target, new_worker: NewWorker, order: str
) -> None:
    result = {
        "status_code": 418,
        "headers": {"x-tea": "pot", "content-length": "7"},
        "body": {"a": "ü"},
    }
    async with asyncio.TaskGroup() as later:
        handler = as_motia_does(target, result, order, later)
        await new_worker(target).http("GET", "f", handler).start()
        for _ in range(5):
            reply = await request(target, "GET", "/f")
            assert (reply.status, reply.json) == (418, {"a": "ü"})
            assert (reply.headers.get("x-tea"), reply.headers.get("content-type")) == (
                "pot",
                "application/json",
            )


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"status_code": 204, "body": None}, 204, None, b""),
        ({"status_code": 99, "body": {}}, 200, "application/json", b"{}"),
        (
            {
                "headers": {"Content-Type": "text/csv", "bad name": "x", "n": 1},
                "body": 1,
            },
            200,
            "text/csv",
            b"1",
        ),
        (
            {"headers": ["X-One: 1", "nothing"], "body": 1},
            200,
            "application/json",
            b"1",
        ),
    ],
)
async def test_the_headers_of_a_result_are_sent(
    target: Target,
    new_worker: NewWorker,
    result: Any,
    status: int,
    content_type: str | None,
    body: bytes,
) -> None:
    await new_worker(target).http("GET", "f", answering(result)).start()
    reply = await request(target, "GET", "/f")
    assert (reply.status, reply.headers.get("Content-Type"), reply.body) == (
        status,
        content_type,
        body,
    )


async def test_while_any_worker_is_connected_an_unknown_path_is_404(
    target: Target, new_worker: NewWorker
) -> None:
    reply = await request(target, "POST", "/vmh/webhook", json_body=[])
    assert (reply.status, reply.json) == (503, {"error": "no worker connected"})
    worker = await new_worker(target).http("POST", "f", answering({"body": 1})).start()
    other = await new_worker(target).start()
    assert (await request(target, "POST", "/vmh/webhook")).status == 404
    await worker.crash()

    async def status() -> int:
        return (await request(target, "POST", "/f")).status

    await eventually(status, lambda observed: observed == 503)
    assert not other.closed.is_set()
    assert (await request(target, "POST", "/unknown")).status == 404


async def test_a_worker_that_is_still_registering_makes_unknown_paths_503(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    assert (await request(target, "GET", "/f")).status == 404
    beginning = new_worker(target)
    await beginning.start()
    late = await new_worker(target).start()
    await late.crash()
    raw = await aiohttp.ClientSession().ws_connect(target.ws)
    await raw.send_json({"type": "registerfunction", "id": "f"})

    async def status() -> int:
        return (await request(target, "GET", "/f")).status

    await eventually(status, lambda observed: observed == 503)
    await raw.close()
    await eventually(status, lambda observed: observed == 404)
    assert await worker.call("state::list_groups", {}) == {"groups": []}


async def test_the_trace_of_a_request_reaches_the_worker(
    target: Target, new_worker: NewWorker
) -> None:
    await new_worker(target).http("GET", "f", answering({"body": 1})).start()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await request(
        target,
        "GET",
        "/f",
        headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"},
    )

    async def spans() -> Any:
        return (await console(target, "POST", "otel/traces", {"trace_id": trace_id}))[
            "spans"
        ]

    found = await eventually(spans, bool)
    assert [
        (span["name"], dict(span["attributes"])["http.status_code"]) for span in found
    ] == [("GET /f", "200")]


async def test_the_console_refuses_other_sites_and_names_unknown_endpoints(
    target: Target,
) -> None:
    foreign = await request(
        target, "GET", "/_console/status", headers={"Origin": "http://evil.example"}
    )
    own = await request(
        target, "GET", "/_console/status", headers={"Origin": "http://localhost:3113"}
    )
    unknown = await request(target, "GET", "/_console/nothing")
    assert (foreign.status, own.status, unknown.status) == (403, 200, 404)
    assert (await request(target, "POST", "/_console/invoke", data=b"[]")).status == 400
    assert (
        await request(target, "GET", "/_console/queues/dead-letters?limit=x")
    ).status == 400


async def test_the_console_invokes_functions(
    target: Target, new_worker: NewWorker
) -> None:
    await new_worker(target).on("double", answering(4)).start()
    result = await console(
        target, "POST", "invoke", {"function_id": "double", "input": 2}
    )
    assert result == {"success": True, "result": 4}
    missing = await request(
        target, "POST", "/_console/invoke", json_body={"function_id": "nothing"}
    )
    assert (missing.status, missing.json["error"]) == (404, "function_not_found")
    assert (await request(target, "GET", "/_console/health")).status == 200


FORWARDED = (
    "X-Forwarded-For",
    "x-forwarded-host",
    "X-Forwarded-Anything",
    "Forwarded",
    "Via",
    "X-Real-IP",
)


@pytest.mark.parametrize(
    "name", [*FORWARDED, "CF-Connecting-IP", "True-Client-IP", "X-Original-URL"]
)
async def test_the_console_refuses_what_a_proxy_marks_as_passed_on(
    target: Target, name: str
) -> None:
    assert (
        await request(target, "GET", "/_console/status", headers={name: "127.0.0.1"})
    ).status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:3111", 200),
        ("127.0.0.1:3111", 200),
        ("127.8.9.10", 200),
        ("[::1]:3111", 200),
        ("evil.example", 403),
        ("evil.example:3111", 403),
        ("localhost.evil.example", 403),
        ("localhost@evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1@evil.example:3111", 403),
        ("192.168.0.5", 403),
        ("0.0.0.0", 403),  # noqa: S104 - a name that is refused
        ("2130706433", 403),
        ("[::ffff:192.168.0.5]", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_the_console_answers_only_for_this_machines_own_names(
    target: Target, host: str, status: int
) -> None:
    answer = await raw(
        target.http,
        f"GET /_console/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    )
    assert answer.split()[1] == str(status).encode()


@pytest.mark.parametrize(
    "head",
    [
        "GET /_console/status HTTP/1.1",  # without a name
        "GET /_console/status HTTP/1.1\r\nHost: localhost\r\nHost: localhost",
        "GET /_console/status HTTP/1.0\r\nHost: localhost",  # as nginx passes on by default
    ],
)
async def test_the_console_refuses_what_no_tool_of_this_machine_sends(
    target: Target, head: str
) -> None:
    answer = await raw(target.http, f"{head}\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] in (b"400", b"403")


async def test_the_console_refuses_other_machines(database_url: str) -> None:
    address = next(
        (
            found[4][0]
            for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        ),
        "",
    )
    async with Engine(database_url, host="0.0.0.0").running() as engine:  # noqa: S104 - is what is tested
        port = engine.http_url.rpartition(":")[2]
        text = "GET /_console/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert (await raw(f"http://127.0.0.1:{port}", text)).split()[1] == b"200"
        if not address.startswith("127."):
            assert (await raw(f"http://{address}:{port}", text)).split()[1] == b"403"


async def raw(http: str, text: str | bytes) -> bytes:
    """Send bytes as they are; all that comes back until the other side closes."""
    host, _, port = http.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text.encode() if isinstance(text, str) else text)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_unfinished_bodies_take_no_slot_and_end_in_time(
    database_url: str, new_worker: NewWorker, content_type: str
) -> None:
    head = f"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: 100\r\n\r\n["
    async with Engine(database_url, body_seconds=3.0).running() as engine:
        target = Target(engine.http_url, engine.ws_url)
        worker = new_worker(target).http("POST", "f", answering({"body": 1}))
        await (
            worker.http("GET", "g", answering({"body": 2}))
            .http("GET", "health", answering({"body": 3}))
            .start()
        )
        port = int(target.http.rpartition(":")[2])
        senders = [
            await asyncio.open_connection("127.0.0.1", port)
            for _ in range(MAX_CONCURRENT_REQUESTS + 50)
        ]
        for _, writer in senders:
            writer.write(head.encode())
        async with asyncio.timeout(20):  # the time limit for handlers is 30 s
            replies = await asyncio.gather(
                *(request(target, "GET", path) for path in ("/g", "/health"))
            )
        assert [reply.json for reply in replies] == [2, 3]
        first = await asyncio.wait_for(senders[0][0].readline(), 20)
        assert first.split()[1] == (
            b"408" if content_type == "application/json" else b"200"
        )
        for _, writer in senders:
            writer.close()


async def test_the_health_is_answered_while_all_other_slots_are_taken(
    database_url: str, new_worker: NewWorker
) -> None:
    go_on = asyncio.Event()

    async def wait(_data: Any) -> Any:
        await go_on.wait()
        return {"body": 1}

    timeout, connector = aiohttp.ClientTimeout(total=120), aiohttp.TCPConnector(limit=0)
    async with (
        Engine(database_url, http_timeout=120.0).running() as engine,
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
    ):
        target = Target(engine.http_url, engine.ws_url)
        worker = (
            new_worker(target)
            .http("GET", "f", wait)
            .http("GET", "health", answering({"body": 3}))
        )
        await worker.start()
        asked = [
            asyncio.create_task(session.get(f"{target.http}/f"))
            for _ in range(MAX_CONCURRENT_REQUESTS)
        ]

        async def received() -> int:
            return len(worker.received)

        await eventually(
            received, lambda count: count == MAX_CONCURRENT_REQUESTS, within=60
        )
        async with asyncio.timeout(20):
            assert (await request(target, "GET", "/health")).json == 3
        go_on.set()
        for response in await asyncio.gather(*asked):
            response.close()


async def test_all_unfinished_bodies_together_have_a_limit() -> None:
    bodies = Bodies(seconds=2.0, limit=100_000)

    async def handle(request: web.BaseRequest) -> web.Response:
        try:
            return web.Response(text=str(len(await bodies.read(request))))
        except OverloadedError:
            return web.Response(status=503)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:

        async def half() -> AsyncIterator[bytes]:
            yield b"x" * 60_000
            await go_on.wait()

        go_on = asyncio.Event()
        first = asyncio.create_task(session.post(site.name, data=half()))
        await eventually(lambda: _unfinished(bodies), lambda size: size == 60_000)
        assert (await session.post(site.name, data=b"y" * 60_000)).status == 503
        go_on.set()
        assert await (await first).text() == "60000"
        assert (await session.post(site.name, data=b"y" * 60_000)).status == 200
    await runner.cleanup()


async def _unfinished(bodies: Bodies) -> int:
    return bodies.unfinished


async def test_a_look_at_the_health_leaves_no_span_and_a_line_only_when_it_changes(
    target: Target, new_worker: NewWorker, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = iter([200, 200, 200, 503, 503, 200])

    async def health(_data: Any) -> Any:
        return {"status_code": next(statuses), "body": {}}

    await (
        new_worker(target)
        .http("GET", "health", health)
        .http("GET", "f", answering({"body": 1}))
        .start()
    )
    caplog.set_level(logging.INFO, "local_engine")
    for _ in range(6):
        await request(target, "GET", "/health")
    await request(target, "GET", "/f")
    observed = [
        vars(record)["fields"]
        for record in caplog.records
        if record.msg == "http.request"
    ]
    lines = [(entry["route"], entry["status"]) for entry in observed]
    assert lines == [
        ("GET /health", 200),
        ("GET /health", 503),
        ("GET /health", 200),
        ("GET /f", 200),
    ]
    spans = (await console(target, "POST", "otel/traces", {}))["spans"]
    assert [span["name"] for span in spans] == ["GET /f"]
