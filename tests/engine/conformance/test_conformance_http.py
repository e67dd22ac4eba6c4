"""HTTP steps on every engine: routing, what the function gets, what the caller gets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from engine_harness import (
    CallError,
    Handler,
    NewWorker,
    eventually,
    open_channel,
    request,
)
from engines_under_test import CONSOLE_ORIGIN, EngineUnderTest

JSON = {"Content-Type": "application/json"}


def answering(result: Any) -> Handler:
    """Return a handler that answers only with a result."""

    async def handler(_data: Any) -> Any:
        return result

    return handler


async def describe(data: dict[str, Any]) -> dict[str, Any]:
    """Answer with the input, without its channels."""
    return {
        "status_code": 200,
        "body": {
            key: data[key] for key in data if key not in ("request_body", "response")
        },
    }


async def test_the_function_gets_the_request(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).http("POST", "orders/:id/items", describe).start()
    reply = await request(
        target,
        "POST",
        "/orders/a%20b/items?x=1&x=2&empty&plus=a+b%C3%BC",
        data='{"ü": [1, null]}'.encode(),
        headers={"Content-Type": "application/json; charset=utf-8", "X-Custom": "Yes"},
    )
    received = reply.json
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert received["query_params"] == {"x": "2", "empty": "", "plus": "a bü"}
    assert received["path_params"] == {"id": "a%20b"}
    assert received["path"] == "orders/:id/items"
    assert received["method"] == "POST"
    assert received["body"] == {"ü": [1, None]}
    assert received["headers"]["x-custom"] == "Yes"
    assert received["trigger"] == {
        "type": "http",
        "path": "orders/:id/items",
        "method": "POST",
    }


async def test_the_target_of_a_request_holds_what_the_parameters_do_not(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).http("GET", "f", describe).start()
    raw = "/f?b=1&a=%C3%A4+b&b=2&c=%ff"

    received = (await request(target, "GET", raw)).json
    forwarded = (
        await request(target, "GET", raw, headers={"X-Forwarded-Uri": raw})
    ).json

    assert received["query_params"] == {"b": "2", "a": "ä b", "c": "\ufffd"}
    assert received["headers"].get("x-forwarded-uri") == (
        None if target.differs("no_request_target") else raw
    )
    assert forwarded["headers"]["x-forwarded-uri"] == raw


async def test_a_body_of_another_json_type_comes_through_the_channel(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def read(data: Any) -> Any:
        channel = await open_channel(target.ws, data["request_body"])
        received = b"".join(
            [piece async for piece in channel if isinstance(piece, bytes)]
        )
        return {"status_code": 200, "body": [data["body"], received.decode()]}

    await new_worker(target).http("POST", "f", read).start()
    for content_type in ("Application/JSON", "application/merge-patch+json"):
        reply = await request(
            target,
            "POST",
            "/f",
            data=b'{"a": 1}',
            headers={"Content-Type": content_type},
        )
        assert reply.json == [None, '{"a": 1}']


async def test_the_order_of_keys_in_a_body(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    received: list[Any] = []

    async def note(data: Any) -> None:
        received.append(list(data["body"]))

    await new_worker(target).http("POST", "f", note).start()
    await request(target, "POST", "/f", data=b'{"b": 1, "a": 2}', headers=JSON)
    assert received == [["a", "b"] if target.differs("keys_sorted") else ["b", "a"]]


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
    target: EngineUnderTest, new_worker: NewWorker, content_type: str, body: bytes
) -> None:
    await new_worker(target).http("POST", "f", describe).start()
    reply = await request(
        target, "POST", "/f", data=body, headers={"Content-Type": content_type}
    )
    assert reply.json["body"] is None


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\ud800", "\udc00\ud800", "\U0001f600\ud83d"]
)
async def test_nul_and_half_characters_in_a_body(
    target: EngineUnderTest, new_worker: NewWorker, text: str
) -> None:
    sent = [{"id": "first"}, {"id": text, text: 1}, {"id": "last"}]
    received: list[Any] = []

    async def note(data: Any) -> dict[str, Any]:
        received.append(data["body"])
        return {"body": {}}

    await new_worker(target).http("POST", "f", note).start()
    assert (
        await request(
            target, "POST", "/f", data=json.dumps(sent).encode(), headers=JSON
        )
    ).status == 200
    unpaired = any("\ud800" <= character <= "\udfff" for character in text)
    assert received == [
        None if unpaired and target.differs("lone_surrogates_are_no_json") else sent
    ]


async def test_static_segments_win_and_trailing_slashes_count(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = new_worker(target)
    for path in ("a/:x", "a/b", "a/:x/c", "a/b/:y", "a/"):
        worker.http("GET", path, describe)
    await worker.start()
    expected = {
        "/a/b": "a/b",
        "/a/z": "a/:x",
        "/a/b/c": "a/b/:y",
        "/a/z/c": "a/:x/c",
        "/a/": "a/",
    }
    assert {
        path: (await request(target, "GET", path)).json["path"] for path in expected
    } == expected
    assert (await request(target, "GET", "/a/z/")).status == 404


async def test_routes_that_differ_only_in_parameter_names(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = (
        new_worker(target)
        .http("GET", "a/:id", describe)
        .http("POST", "a/:name", describe)
    )
    if target.differs("parameter_names_collide"):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(worker.start(), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                new_worker(target).http("GET", "other", describe).start(), 1
            )
        await new_worker(target).on("f", describe).start()
        return
    await worker.start()
    assert (await request(target, "GET", "/a/1")).json["path_params"] == {"id": "1"}
    assert (await request(target, "POST", "/a/1")).json["path_params"] == {"name": "1"}


async def test_unknown_path_other_method_and_preflight(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = new_worker(target).http("GET", "f", describe).http("PUT", "f", describe)
    await worker.http("HEAD", "h", answering({"status_code": 202, "body": {}})).start()
    assert (await request(target, "GET", "/unknown")).status == 404
    wrong = await request(target, "POST", "/f")
    assert (wrong.status, wrong.body) == (405, b"")
    assert set(wrong.headers["Allow"].split(",")) - {"HEAD"} == {"GET", "PUT"}
    assert (await request(target, "HEAD", "/f")).status == 404
    assert (await request(target, "HEAD", "/h")).status == 202


async def test_only_the_console_s_pages_may_read_answers(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).http("GET", "f", describe).start()
    allowed = "Access-Control-Allow-Origin"
    for method in ("OPTIONS", "GET"):
        asks = {"Access-Control-Request-Method": "GET"} if method == "OPTIONS" else {}
        own = await request(
            target, method, "/f", headers={"Origin": CONSOLE_ORIGIN, **asks}
        )
        assert (own.status, own.headers[allowed]) == (200, CONSOLE_ORIGIN)
        for origin in ("http://evil.example", "http://localhost.evil.example", "null"):
            foreign = await request(
                target, method, "/f", headers={"Origin": origin, **asks}
            )
            assert (foreign.status, foreign.headers.get(allowed)) == (200, None)
    assert allowed not in (await request(target, "GET", "/f")).headers


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ({"status_code": 201, "body": {"a": 1}}, 201, b'{"a":1}'),
        ({"body": [1]}, 200, b"[1]"),
        ({"status_code": 204, "body": None}, 204, b""),
        ({"status_code": 503, "body": {}}, 503, b"{}"),
        ({"status_code": 203}, 203, b"{}"),
        ([1, 2], 200, b"{}"),
        ({"headers": {"X-One": "1"}, "body": "text"}, 200, b'"text"'),
    ],
)
async def test_an_answer_can_come_from_the_result_alone(
    target: EngineUnderTest,
    new_worker: NewWorker,
    result: Any,
    status: int,
    body: bytes,
) -> None:
    await new_worker(target).http("GET", "f", answering(result)).start()
    reply = await request(target, "GET", "/f")
    assert (reply.status, reply.body) == (status, body)
    if body:
        assert reply.headers["Content-Type"] == "application/json"


async def test_the_headers_of_a_result(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    result = {"headers": {"Content-Type": "text/csv", "Retry-After": "7"}, "body": {}}
    await new_worker(target).http("GET", "f", answering(result)).start()
    for _ in range(5):
        headers = (await request(target, "GET", "/f")).headers
        arrived = (headers["Content-Type"], headers.get("Retry-After"))
        assert arrived == (
            ("application/json", None)
            if target.differs("result_headers_dropped")
            else ("text/csv", "7")
        )


async def test_the_key_status_of_a_result(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await (
        new_worker(target)
        .http("GET", "f", answering({"status": 202, "body": {}}))
        .start()
    )
    assert (await request(target, "GET", "/f")).status == (
        200 if target.differs("status_key_unknown") else 202
    )


async def test_an_answer_can_be_streamed(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    go_on = asyncio.Event()

    async def stream(data: Any) -> None:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(
            json.dumps(
                {
                    "type": "set_headers",
                    "headers": {"content-type": "text/event-stream"},
                }
            )
        )
        await channel.send(b"first\n")
        await go_on.wait()
        await channel.send(b"second\n")
        await channel.close()

    await new_worker(target).http("GET", "f", stream).start()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{target.http}/f") as response,
    ):
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await response.content.readline() == b"first\n"
        go_on.set()
        assert await response.content.readline() == b"second\n"
        assert await response.content.read() == b""


async def test_a_stream_whose_worker_is_lost(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def stream(data: Any) -> None:
        channel = await open_channel(target.ws, data["response"])
        await channel.send(b"first\n")
        await asyncio.sleep(0.2)
        channel.transport.abort()

    await new_worker(target).http("GET", "f", stream).start()
    if target.differs("lost_stream_looks_complete"):
        assert (await request(target, "GET", "/f")).body == b"first\n"
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await request(target, "GET", "/f")


async def test_large_bodies_in_both_directions_go_through_channels(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def reverse(data: Any) -> None:
        reader = await open_channel(target.ws, data["request_body"])
        received = b"".join(
            [piece async for piece in reader if isinstance(piece, bytes)]
        )
        mirrored = received[::-1]
        writer = await open_channel(target.ws, data["response"])
        for start in range(0, len(mirrored), 65_536):
            await writer.send(mirrored[start : start + 65_536])
        await writer.close()

    await new_worker(target).http("POST", "f", reverse).start()
    upload = bytes(range(256)) * 20_000
    reply = await request(
        target,
        "POST",
        "/f",
        data=upload,
        headers={"Content-Type": "application/octet-stream"},
    )
    assert reply.status == 200
    assert reply.body == upload[::-1]
    assert (await request(target, "POST", "/f")).body == b""


async def test_a_large_result_arrives_whole(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await (
        new_worker(target)
        .http("GET", "f", answering({"body": "x" * 3_000_000}))
        .start()
    )
    assert len((await request(target, "GET", "/f")).json) == 3_000_000


async def test_json_up_to_the_limit_arrives(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def size(data: Any) -> dict[str, Any]:
        return {"body": len(data["body"])}

    await new_worker(target).http("POST", "f", size).start()
    headers = {**JSON, "Expect": "100-continue"}
    reply = await request(
        target, "POST", "/f", data=b'"' + b"x" * 999_998 + b'"', headers=headers
    )
    assert reply.json == 999_998


async def test_json_above_the_limit(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).http("POST", "f", answering({"body": 1})).start()

    async def unannounced() -> Any:
        for _ in range(20):
            yield b" " * 65_536
        yield b"1"

    if target.differs("no_size_limit"):
        reply = await request(
            target, "POST", "/f", data=b'"' + b"x" * 2**20 + b'"', headers=JSON
        )
        assert reply.status == 500
        await asyncio.wait_for(worker.closed.wait(), 60)
        return
    too_large = await request(
        target, "POST", "/f", data=b'"' + b"x" * 999_999 + b'"', headers=JSON
    )
    assert (too_large.status, too_large.json["error"]) == (413, "payload_too_large")
    assert (
        await request(target, "POST", "/f", data=unannounced(), headers=JSON)
    ).status == 413
    assert not worker.closed.is_set()


async def test_a_handlers_error_is_a_500(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def fail(_data: Any) -> None:
        raise CallError("invocation_failed", "secret of a client")

    await new_worker(target).http("GET", "f", fail).start()
    reply = await request(target, "GET", "/f")
    assert reply.status == 500
    assert reply.json["error_id"]
    if target.differs("error_text_in_500"):
        assert "secret of a client" in reply.json["error"]
    else:
        assert reply.json["error"] == "internal server error"


async def test_a_handler_that_takes_too_long_is_a_504_with_empty_body(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def hang(_data: Any) -> None:
        await asyncio.Event().wait()

    await new_worker(target).http("GET", "f", hang).http("GET", "g", describe).start()
    slow = asyncio.create_task(request(target, "GET", "/f"))
    assert (await request(target, "GET", "/g")).status == 200
    assert not slow.done()
    reply = await slow
    assert (reply.status, reply.body) == (504, b"")


async def test_a_handler_that_never_answers_is_a_504(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).http("GET", "f", answering(None)).start()
    assert (await request(target, "GET", "/f")).status == 504


async def test_a_condition_that_is_false_blocks_with_422(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def from_body(data: Any) -> Any:
        assert "response" not in data
        if data["body"] == "error":
            raise CallError("invocation_failed", "no")
        return data["body"]

    worker = new_worker(target).on("condition", from_body)
    await worker.http(
        "POST", "f", answering({"body": "ran"}), _condition_path="condition"
    ).start()
    ignored = target.differs("conditions_ignored")
    for body, status in (
        (b"false", 422),
        (b"true", 200),
        (b"null", 200),
        (b"0", 200),
        (b'"error"', 500),
    ):
        reply = await request(target, "POST", "/f", data=body, headers=JSON)
        assert (body, reply.status) == (body, 200 if ignored else status)
    if not ignored:
        blocked = await request(target, "POST", "/f", data=b"false", headers=JSON)
        assert blocked.json == {"error": "Request condition not met", "skipped": True}


async def test_without_a_worker(target: EngineUnderTest, new_worker: NewWorker) -> None:
    absent = 404 if target.differs("no_worker_is_404") else 503

    async def status() -> int:
        return (await request(target, "POST", "/f")).status

    assert await status() == absent
    worker = await new_worker(target).http("POST", "f", describe).start()
    assert await status() == 200
    await worker.crash()
    await eventually(status, lambda received: received == absent)


async def test_a_worker_lost_during_a_request(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def crash(_data: Any) -> None:
        worker.socket.transport.abort()
        await asyncio.Event().wait()

    worker = new_worker(target)
    await worker.http("POST", "f", crash).start()
    reply = await request(target, "POST", "/f")
    assert reply.status == (500 if target.differs("lost_worker_is_500") else 503)


async def test_many_requests_at_once_get_their_own_answers(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async def number(data: Any) -> dict[str, Any]:
        return {"body": data["query_params"]["n"]}

    await new_worker(target).http("GET", "f", number).start()
    replies = await asyncio.gather(
        *(request(target, "GET", f"/f?n={n}") for n in range(60))
    )
    assert [reply.json for reply in replies] == [str(n) for n in range(60)]


async def test_a_query_with_bytes_that_are_no_text(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).http("GET", "f", describe).start()
    host, _, port = target.http.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /f?x=\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.split()[1] == b"400"
    assert worker.received == []
