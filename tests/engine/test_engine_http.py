"""HTTP steps on the embedded engine: what it does better than the real one, and its console.

The behaviour that it shares with the real engine is in conformance/test_conformance_http.py.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from engine_harness import Handler, NewWorker, Target, console, eventually, open_channel, request


def answering(result: Any) -> Handler:
    """Return a handler that answers only with a result."""

    async def handler(_data: Any) -> Any:
        return result

    return handler


def as_motia_does(target: Target, result: dict[str, Any], order: str) -> Handler:
    """Return a handler that answers twice, as `motia run` does: on the channel, and with its result.

    ``order``: whether the body's frame goes out before or after the result.
    """

    finishing: list[asyncio.Future[None]] = []  # keeps the tasks alive

    async def handler(data: Any) -> Any:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(json.dumps({"type": "set_status", "status_code": result["status_code"]}))
        await channel.send(json.dumps({"type": "set_headers", "headers": result["headers"]}))

        async def finish() -> None:
            await channel.send(json.dumps(result["body"]).encode())
            await channel.close()

        if order == "body first":
            await finish()
        else:
            asyncio.get_running_loop().call_later(0.02, lambda: finishing.append(asyncio.ensure_future(finish())))
        return result

    return handler


@pytest.mark.parametrize("order", ["body first", "result first"])
async def test_an_answer_does_not_depend_on_which_copy_of_it_arrives_first(
    target: Target, new_worker: NewWorker, order: str
) -> None:
    result = {"status_code": 418, "headers": {"x-tea": "pot", "content-length": "7"}, "body": {"a": "ü"}}
    await new_worker(target).http("GET", "f", as_motia_does(target, result, order)).start()
    for _ in range(5):
        reply = await request(target, "GET", "/f")
        assert (reply.status, reply.json) == (418, {"a": "ü"})
        assert (reply.headers.get("x-tea"), reply.headers.get("content-type")) == ("pot", "application/json")


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"status_code": 204, "body": None}, 204, None, b""),
        ({"status_code": 99, "body": {}}, 200, "application/json", b"{}"),
        ({"headers": {"Content-Type": "text/csv", "bad name": "x", "n": 1}, "body": 1}, 200, "text/csv", b"1"),
        ({"headers": ["X-One: 1", "nothing"], "body": 1}, 200, "application/json", b"1"),
    ],
)
async def test_the_headers_of_a_result_are_sent(
    target: Target, new_worker: NewWorker, result: Any, status: int, content_type: str | None, body: bytes
) -> None:
    await new_worker(target).http("GET", "f", answering(result)).start()
    reply = await request(target, "GET", "/f")
    assert (reply.status, reply.headers.get("Content-Type"), reply.body) == (status, content_type, body)


async def test_while_any_worker_is_connected_an_unknown_path_is_404(target: Target, new_worker: NewWorker) -> None:
    reply = await request(target, "POST", "/vmh/webhook", json_body=[])
    assert (reply.status, reply.json) == (503, {"error": "no worker connected"})
    worker = await new_worker(target).http("POST", "f", answering({"body": 1})).start()
    other = await new_worker(target).start()
    assert (await request(target, "POST", "/vmh/webhook")).status == 404
    await worker.crash()

    async def status() -> int:
        return (await request(target, "POST", "/f")).status

    await eventually(status, lambda seen: seen == 503)
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

    await eventually(status, lambda seen: seen == 503)
    await raw.close()
    await eventually(status, lambda seen: seen == 404)
    assert await worker.call("state::list_groups", {}) == {"groups": []}


async def test_the_trace_of_a_request_reaches_the_worker(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).http("GET", "f", answering({"body": 1})).start()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await request(target, "GET", "/f", headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})

    async def spans() -> Any:
        return (await console(target, "POST", "otel/traces", {"trace_id": trace_id}))["spans"]

    found = await eventually(spans, bool)
    assert [(span["name"], span["attributes"]["http.status_code"]) for span in found] == [("GET /f", 200)]


async def test_the_console_refuses_other_sites_and_names_unknown_endpoints(target: Target) -> None:
    foreign = await request(target, "GET", "/_console/status", headers={"Origin": "http://evil.example"})
    own = await request(target, "GET", "/_console/status", headers={"Origin": "http://localhost:3113"})
    unknown = await request(target, "GET", "/_console/nothing")
    assert (foreign.status, own.status, unknown.status) == (403, 200, 404)
    assert (await request(target, "POST", "/_console/invoke", data=b"[]")).status == 400
    assert (await request(target, "GET", "/_console/queues/dead-letters?limit=x")).status == 400


async def test_the_console_invokes_functions(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).on("double", answering(4)).start()
    result = await console(target, "POST", "invoke", {"function_id": "double", "input": 2})
    assert result == {"success": True, "result": 4}
    missing = await request(target, "POST", "/_console/invoke", json_body={"function_id": "nothing"})
    assert (missing.status, missing.json["error"]) == (404, "function_not_found")
    assert (await request(target, "GET", "/_console/health")).status == 200


async def test_the_console_refuses_what_a_reverse_proxy_has_passed_on(target: Target) -> None:
    assert (await request(target, "GET", "/_console/status")).status == 200
    for name in ("X-Forwarded-For", "Forwarded", "Via"):
        assert (await request(target, "GET", "/_console/status", headers={name: "192.0.2.1"})).status == 403
