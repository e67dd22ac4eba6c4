"""HTTP steps: routing, payloads, answers, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from engine_harness import CallError, ScriptedWorker, Target, console, eventually, open_channel, request

NewWorker = Callable[[Target], ScriptedWorker]
Handler = Callable[[Any], Awaitable[Any]]


def answering(result: Any) -> Handler:
    """Return a handler that answers only with a result."""

    async def handler(_data: Any) -> Any:
        return result

    return handler


async def describe(data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the input, without its channels."""
    return {"status_code": 200, "body": {key: data[key] for key in data if key not in ("request_body", "response")}}


def as_motia_does(target: Target, result: dict[str, Any], order: str) -> Handler:
    """Return a handler that sends control texts and body on the channel and returns the same as a result.

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


async def test_the_function_gets_the_request(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).http("POST", "orders/:id/items", describe).start()
    reply = await request(
        target,
        "POST",
        "/orders/a%20b/items?x=1&x=2&empty&plus=a+b%C3%BC",
        data='{"ü": [1, null]}'.encode(),
        headers={"Content-Type": "application/json; charset=utf-8", "X-Custom": "Yes"},
    )
    seen = reply.json
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert seen["query_params"] == {"x": "2", "empty": "", "plus": "a bü"}
    assert seen["path_params"] == {"id": "a%20b"}
    assert seen["path"] == "orders/:id/items"
    assert seen["method"] == "POST"
    assert seen["body"] == {"ü": [1, None]}
    assert seen["headers"]["x-custom"] == "Yes"
    assert seen["trigger"] == {"type": "http", "path": "orders/:id/items", "method": "POST"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{broken"),
        ("application/json", b""),
        ("application/json", b"NaN"),
        ("application/json", b"1e999"),
        ("application/json", b"\xff"),
        ("application/vnd.api+json", b"{}"),
        ("text/plain", b"{}"),
        ("application/x-www-form-urlencoded", b"a=1"),
    ],
)
async def test_what_is_no_json_arrives_as_null(
    target: Target, new_worker: NewWorker, content_type: str, body: bytes
) -> None:
    await new_worker(target).http("POST", "f", describe).start()
    reply = await request(target, "POST", "/f", data=body, headers={"Content-Type": content_type})
    assert reply.json["body"] is None


async def test_static_segments_win_and_trailing_slashes_count(target: Target, new_worker: NewWorker) -> None:
    worker = new_worker(target)
    for path in ("a/:x", "a/b", "a/:x/c", "a/b/:y", "a/"):
        worker.http("GET", path, describe)
    await worker.start()
    expected = {"/a/b": "a/b", "/a/z": "a/:x", "/a/b/c": "a/b/:y", "/a/z/c": "a/:x/c", "/a/": "a/"}
    assert {path: (await request(target, "GET", path)).json["path"] for path in expected} == expected
    assert (await request(target, "GET", "/a/z/")).status == 404


async def test_routes_that_differ_only_in_parameter_names_share_a_place(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).http("GET", "a/:id", describe).http("POST", "a/:name", describe).start()
    assert (await request(target, "GET", "/a/1")).json["path_params"] == {"id": "1"}
    assert (await request(target, "POST", "/a/1")).json["path_params"] == {"name": "1"}


async def test_unknown_path_other_method_and_preflight(target: Target, new_worker: NewWorker) -> None:
    worker = new_worker(target).http("GET", "f", describe).http("PUT", "f", describe)
    await worker.http("HEAD", "h", answering({"status_code": 202, "body": {}})).start()
    assert (await request(target, "GET", "/unknown")).status == 404
    wrong = await request(target, "POST", "/f")
    assert (wrong.status, wrong.headers["Allow"], wrong.body) == (405, "GET,PUT", b"")
    assert (await request(target, "HEAD", "/f")).status == 404
    assert (await request(target, "HEAD", "/h")).status == 202
    preflight = await request(target, "OPTIONS", "/f", headers={"Origin": "http://x"})
    assert (preflight.status, preflight.headers["Access-Control-Allow-Methods"]) == (200, "*")
    assert (await request(target, "GET", "/f")).headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("order", ["body first", "result first"])
async def test_the_answer_does_not_depend_on_which_of_its_two_copies_arrives_first(
    target: Target, new_worker: NewWorker, order: str
) -> None:
    result = {"status_code": 418, "headers": {"x-tea": "pot", "content-length": "7"}, "body": {"a": "ü"}}
    await new_worker(target).http("GET", "f", as_motia_does(target, result, order)).start()
    for _ in range(5):
        reply = await request(target, "GET", "/f")
        assert (reply.status, reply.headers["x-tea"], reply.headers["content-type"], reply.json) == (
            418,
            "pot",
            "application/json",
            {"a": "ü"},
        )


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ({"status_code": 201, "body": {"a": 1}}, 201, "application/json", b'{"a":1}'),
        ({"status": 202, "body": "text"}, 202, "application/json", b'"text"'),
        ({"body": [1]}, 200, "application/json", b"[1]"),
        ({"status_code": 204, "body": None}, 204, None, b""),
        ({"status_code": 99, "body": {}}, 200, "application/json", b"{}"),
        ({"status_code": 203}, 203, "application/json", b"{}"),
        ([1, 2], 200, "application/json", b"{}"),
        ({"headers": {"Content-Type": "text/csv", "bad name": "x", "n": 1}, "body": 1}, 200, "text/csv", b"1"),
        ({"headers": ["X-One: 1", "nothing"], "body": 1}, 200, "application/json", b"1"),
    ],
)
async def test_an_answer_can_come_from_the_result_alone(
    target: Target, new_worker: NewWorker, result: Any, status: int, content_type: str | None, body: bytes
) -> None:
    await new_worker(target).http("GET", "f", answering(result)).start()
    reply = await request(target, "GET", "/f")
    assert (reply.status, reply.headers.get("Content-Type"), reply.body) == (status, content_type, body)


async def test_an_answer_can_be_streamed(target: Target, new_worker: NewWorker) -> None:
    go_on = asyncio.Event()

    async def stream(data: Any) -> None:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(json.dumps({"type": "set_headers", "headers": {"content-type": "text/event-stream"}}))
        await channel.send(b"first\n")
        await go_on.wait()
        await channel.send(b"second\n")
        await channel.close()

    await new_worker(target).http("GET", "f", stream).start()
    async with aiohttp.ClientSession() as session, session.get(f"{target.http}/f") as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await response.content.readline() == b"first\n"
        go_on.set()
        assert await response.content.readline() == b"second\n"
        assert await response.content.read() == b""


async def test_a_stream_whose_worker_is_lost_does_not_look_complete(target: Target, new_worker: NewWorker) -> None:
    async def stream(data: Any) -> None:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(b"first\n")
        await asyncio.sleep(0.2)
        channel.transport.abort()

    await new_worker(target).http("GET", "f", stream).start()
    with pytest.raises(aiohttp.ClientPayloadError):
        await request(target, "GET", "/f")


async def test_large_bodies_in_both_directions_go_through_channels(target: Target, new_worker: NewWorker) -> None:
    async def reverse(data: Any) -> None:
        reader = await open_channel(target.ws, data["request_body"])
        received = b"".join([piece async for piece in reader if isinstance(piece, bytes)])
        writer = await open_channel(target.ws, data["response"])
        for start in range(0, len(received), 65_536):
            await writer.send(received[::-1][start : start + 65_536])
        await writer.close()

    await new_worker(target).http("POST", "f", reverse).start()
    upload = bytes(range(256)) * 20_000
    reply = await request(target, "POST", "/f", data=upload, headers={"Content-Type": "application/octet-stream"})
    assert reply.body == upload[::-1]
    assert (await request(target, "POST", "/f")).body == b""


async def test_json_above_the_limit_is_refused_and_just_below_it_is_not(target: Target, new_worker: NewWorker) -> None:
    async def size(data: Any) -> dict[str, Any]:
        return {"body": len(data["body"])}

    await new_worker(target).http("POST", "f", size).start()
    headers = {"Content-Type": "application/json", "Expect": "100-continue"}
    fits = await request(target, "POST", "/f", data=b'"' + b"x" * 999_998 + b'"', headers=headers)
    assert fits.json == 999_998
    too_large = await request(target, "POST", "/f", data=b'"' + b"x" * 999_999 + b'"', headers=headers)
    assert (too_large.status, too_large.json["error"]) == (413, "payload_too_large")

    async def unannounced() -> Any:
        for _ in range(20):
            yield b"[" * 65_536

    streamed = await request(target, "POST", "/f", data=unannounced(), headers={"Content-Type": "application/json"})
    assert streamed.status == 413


async def test_a_handlers_error_is_a_500_that_tells_nothing(target: Target, new_worker: NewWorker) -> None:
    async def fail(_data: Any) -> None:
        raise CallError("invocation_failed", "secret of a client")

    await new_worker(target).http("GET", "f", fail).start()
    reply = await request(target, "GET", "/f")
    assert reply.status == 500
    assert reply.json["error"] == "internal server error"
    assert len(reply.json["error_id"]) == 12
    assert b"secret" not in reply.body


async def test_a_handler_that_takes_too_long_is_a_504_with_empty_body(target: Target, new_worker: NewWorker) -> None:
    async def hang(_data: Any) -> None:
        await asyncio.Event().wait()

    worker = await new_worker(target).http("GET", "f", hang).http("GET", "g", describe).start()
    reply = await request(target, "GET", "/f")
    assert (reply.status, reply.body) == (504, b"")
    assert (await request(target, "GET", "/g")).status == 200
    listed = await worker.call("engine::workers::list", {})
    assert listed["workers"][0]["active_invocations"] == 1


async def test_a_handler_that_never_answers_is_a_504(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).http("GET", "f", answering(None)).start()
    assert (await request(target, "GET", "/f")).status == 504


async def test_a_condition_that_is_false_blocks_with_422(target: Target, new_worker: NewWorker) -> None:
    async def from_body(data: Any) -> Any:
        assert "response" not in data
        if data["body"] == "error":
            raise CallError("invocation_failed", "no")
        return data["body"]

    worker = new_worker(target).on("condition", from_body)
    await worker.http("POST", "f", answering({"body": "ran"}), _condition_path="condition").start()
    for body, status in ((b"false", 422), (b"true", 200), (b"null", 200), (b"0", 200), (b'"error"', 500)):
        reply = await request(target, "POST", "/f", data=body, headers={"Content-Type": "application/json"})
        assert (body, reply.status) == (body, status)
    blocked = await request(target, "POST", "/f", data=b"false", headers={"Content-Type": "application/json"})
    assert blocked.json == {"error": "Request condition not met", "skipped": True}


async def test_without_a_worker_every_path_is_503_so_that_no_event_is_dropped(
    target: Target, new_worker: NewWorker
) -> None:
    reply = await request(target, "POST", "/vmh/webhook", json_body=[])
    assert (reply.status, reply.json) == (503, {"error": "no worker connected"})
    worker = await new_worker(target).http("POST", "f", describe).start()
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


async def test_a_worker_lost_during_a_request_gives_503(target: Target, new_worker: NewWorker) -> None:
    async def crash(_data: Any) -> None:
        worker.socket.transport.abort()
        await asyncio.Event().wait()

    worker = new_worker(target)
    await worker.http("POST", "f", crash).start()
    assert (await request(target, "POST", "/f")).status == 503


async def test_many_requests_at_once_get_their_own_answers(target: Target, new_worker: NewWorker) -> None:
    async def number(data: Any) -> dict[str, Any]:
        return {"body": data["query_params"]["n"]}

    await new_worker(target).http("GET", "f", number).start()
    replies = await asyncio.gather(*(request(target, "GET", f"/f?n={n}") for n in range(60)))
    assert [reply.json for reply in replies] == [str(n) for n in range(60)]


async def test_the_trace_of_a_request_reaches_the_worker(target: Target, new_worker: NewWorker) -> None:
    await new_worker(target).http("GET", "f", describe).start()
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
