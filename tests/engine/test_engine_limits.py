"""Clients that send slowly, too much or nothing at all: each costs a connection for a while, and nothing else.

Over real sockets, with short limits where time is what is limited.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engine_harness import PROJECT, NewWorker, Target, eventually, request
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from local_engine.connections import Limits
from local_engine.server import Engine

#: Seconds; how much later than its limit something may end on a busy machine.
LATE = 30.0
SLOW_CLIENTS = 200


async def answer(_data: Any) -> Any:
    return {"body": "here"}


@pytest.fixture
async def short(database_url: str) -> AsyncIterator[Engine]:
    """An engine that waits neither for headers nor for bodies for long."""
    limits = Limits(head_seconds=1.0, idle_seconds=60.0)
    async with Engine(
        database_url, body_seconds=1.0, limits=limits
    ).running() as engine:
        yield engine


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[Engine]:
    """An engine that ends unused connections soon."""
    limits = Limits(head_seconds=60.0, idle_seconds=1.0)
    async with Engine(database_url, limits=limits).running() as engine:
        yield engine


async def offer(engine: Engine, new_worker: NewWorker) -> None:
    """A worker with GET /health and POST /f."""
    worker = new_worker(Target(engine.http_url, engine.ws_url))
    worker.http("GET", "health", answer).http("POST", "f", answer)
    await worker.start()


async def opened(
    engine: Engine, text: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection over which this was sent, and which waits."""
    host, _, port = engine.http_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text)
    return reader, writer


async def received(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What comes until the engine closes, which it must do within so many seconds."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"G",
        b"GET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
    ],
)
async def test_a_client_that_stops_in_its_headers_is_let_go(
    short: Engine, text: bytes
) -> None:
    reader, writer = await opened(short, text)
    assert await received(reader, 1.0 + LATE) == b""
    writer.close()


@pytest.mark.parametrize("length", ["Content-Length: 99", "Transfer-Encoding: chunked"])
async def test_a_client_that_stops_in_its_body_is_let_go(
    short: Engine, new_worker: NewWorker, length: str
) -> None:
    await offer(short, new_worker)
    head = f"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{length}"
    reader, writer = await opened(short, f"{head}\r\n\r\n5\r\n{{".encode())
    async with asyncio.timeout(1.0 + LATE):
        assert (await reader.readline()).split()[1] == b"408"
    writer.close()


async def test_headers_that_drip_do_not_prolong_their_time(short: Engine) -> None:
    reader, writer = await opened(short, b"GET /health HTTP/1.1\r\n")
    started = asyncio.get_running_loop().time()

    async def drip() -> None:
        while not reader.at_eof():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.1)

    dripping = asyncio.create_task(drip())
    assert await received(reader, 1.0 + LATE) == b""
    assert asyncio.get_running_loop().time() - started >= 0.9
    await asyncio.wait_for(dripping, LATE)
    writer.close()


async def test_a_connection_may_be_used_again_and_not_kept_for_ever(
    impatient: Engine, new_worker: NewWorker
) -> None:
    await offer(impatient, new_worker)
    reader, writer = await opened(impatient)
    for _ in range(3):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(LATE):
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len('"here"'))
        assert head.startswith(b"HTTP/1.1 200")
    assert await received(reader, 1.0 + LATE) == b""
    writer.close()


JSON_HEAD = "Host: x\r\nContent-Type: application/json\r\n"
#: Requests that are answered before their bodies have come, and those answers.
EARLY = [
    (f"POST /f HTTP/1.1\r\n{JSON_HEAD}Content-Length: {{}}", 2_000_000, b"413"),
    ("POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: {}", 17_000_000, b"413"),
    ("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}", 70_000, b"404"),
    ("PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: {}", 900_000, b"405"),
    (f"PUT /f HTTP/1.1\r\n{JSON_HEAD}Content-Length: {{}}", 300_000, b"405"),
    ("OPTIONS /f HTTP/1.1\r\nHost: x\r\nContent-Length: {}", 200_000, b"200"),
]


@pytest.mark.parametrize(("head", "length", "status"), EARLY)
async def test_the_rest_of_a_body_is_no_head_when_its_request_has_its_answer(
    impatient: Engine, new_worker: NewWorker, head: str, length: int, status: bytes
) -> None:
    await offer(impatient, new_worker)
    reader, writer = await opened(impatient)
    for _ in range(2):
        writer.write(f"{head.format(length)}\r\n\r\n".encode())
        async with asyncio.timeout(LATE):
            early = await _head_and_body(reader)
            writer.write(b"x" * length)
            await writer.drain()
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            after = await _head_and_body(reader)
        assert (early.split()[1], after.split()[1]) == (status, b"200")
    writer.close()


async def _head_and_body(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer; its body is read as well."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    return head


async def test_a_head_after_the_rest_of_a_body_is_limited_again(short: Engine) -> None:
    reader, writer = await opened(short)
    writer.write(b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    async with asyncio.timeout(LATE):
        await _head_and_body(reader)
    writer.write(b"x" * 100_000)
    await writer.drain()
    writer.write(b"GET /health HTTP/1.1\r\n")
    assert await received(reader, 1.0 + LATE) == b""
    writer.close()


async def test_a_second_request_that_stops_is_let_go_as_the_first_one_is(
    short: Engine, new_worker: NewWorker
) -> None:
    await offer(short, new_worker)
    reader, writer = await opened(short, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(LATE):
        await reader.readuntil(b'"here"')
    writer.write(b"GET /")
    assert await received(reader, 1.0 + LATE) == b""
    writer.close()


async def test_an_answer_that_no_one_reads_is_given_up(
    impatient: Engine, new_worker: NewWorker
) -> None:
    async def large(_data: Any) -> Any:
        return {"body": "x" * 14_000_000}

    target = Target(impatient.http_url, impatient.ws_url)
    await new_worker(target).http("GET", "f", large).start()
    _, writer = await opened(impatient, b"GET /f HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.transport.pause_reading()

    async def is_over() -> bool:
        writer.write(b"G")  # nothing else shows that the other side has gone
        return writer.transport.is_closing()

    await eventually(is_over, bool)
    writer.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n\r\nx",
    ],
    ids=["silent", "slow headers", "slow JSON", "slow text"],
)
async def test_the_health_is_answered_while_200_slow_clients_hold_all_100_connections(
    database_url: str, new_worker: NewWorker, text: bytes
) -> None:
    # Nothing ends by time here: that there is a place is the work of the limit alone.
    limits = Limits(connections=100, head_seconds=60.0, idle_seconds=60.0)
    async with Engine(
        database_url, body_seconds=60.0, limits=limits
    ).running() as engine:
        target = Target(engine.http_url, engine.ws_url)
        worker = (
            new_worker(target).http("GET", "health", answer).http("POST", "f", answer)
        )
        await worker.start()
        clients = [await opened(engine, text) for _ in range(SLOW_CLIENTS)]
        for _ in range(5):
            async with asyncio.timeout(LATE):
                assert (await request(target, "GET", "/health")).json == "here"
        for _, writer in clients:
            writer.close()


async def test_no_new_connection_ends_a_request_that_is_being_answered(
    database_url: str, new_worker: NewWorker
) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def wait(_data: Any) -> Any:
        begun.set()
        await go_on.wait()
        return {"body": "whole"}

    async with Engine(database_url, limits=Limits(connections=10)).running() as engine:
        target = Target(engine.http_url, engine.ws_url)
        await new_worker(target).http("GET", "f", wait).start()
        asked = asyncio.create_task(request(target, "GET", "/f"))
        await asyncio.wait_for(begun.wait(), LATE)
        clients = [await opened(engine, b"GET") for _ in range(40)]
        go_on.set()
        assert (await asked).json == "whole"
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize(
    "head",
    [
        "X: " + "y" * 9_000,
        "Cookie: " + "a=b; " * 100_000,
        "\r\n".join(f"X-{number}: y" for number in range(200)),
        "\r\n".join(f"X-{number}: {'y' * 8_000}" for number in range(100)),
        "X" * 70_000,
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: chunked, chunked",
        "X-Api-Key: a\x00b",
        "X: y\n Z: a",
    ],
    ids=lambda head: head[:24],
)
async def test_heads_that_are_too_large_or_contradict_themselves_are_refused(
    target: Target, new_worker: NewWorker, head: str
) -> None:
    worker = new_worker(target).http("POST", "f", answer).http("GET", "health", answer)
    await worker.start()
    host, _, port = target.http.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    text = f"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
    writer.write(text.encode())
    async with asyncio.timeout(LATE):
        try:
            status = (await reader.readline()).split()[1:2]
        except ConnectionResetError:
            status = []
    assert status in ([], [b"400"], [b"413"], [b"431"])
    writer.close()
    assert worker.received == []
    assert (await request(target, "GET", "/health")).json == "here"


async def test_a_request_line_may_not_be_endless(target: Target) -> None:
    reply = await request(target, "GET", "/" + "x" * 9_000)
    assert reply.status in (400, 414)


async def test_a_body_that_is_no_json_has_a_limit_as_well(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).http("POST", "f", answer).start()
    host, _, port = target.http.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /f HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 20000000\r\n\r\n"
    )
    async with asyncio.timeout(LATE):
        assert (await reader.readline()).split()[1] == b"413"
    writer.close()
    assert worker.received == []


async def test_the_worker_port_is_open_on_this_machine_only(
    database_url: str, new_worker: NewWorker
) -> None:
    async with Engine(database_url, host="0.0.0.0").running() as engine:  # noqa: S104 - is what is tested
        assert engine.ws_url.startswith("ws://127.0.0.1:")
        assert (await new_worker(Target("", engine.ws_url)).start()).id
        port = int(engine.ws_url.rpartition(":")[2])
        own = [
            str(found[4][0])
            for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        ]
        for address in own:
            if not address.startswith("127."):
                with pytest.raises(OSError, match=r"refused|Connect call failed"):
                    await asyncio.open_connection(address, port)


async def test_a_message_that_is_too_large_costs_its_sender_the_connection(
    target: Target, new_worker: NewWorker
) -> None:
    honest = await new_worker(target).http("GET", "health", answer).start()
    async with connect(target.ws, compression=None, proxy=None) as socket_:
        await socket_.recv()
        with pytest.raises(ConnectionClosed):
            for _ in range(3):
                await socket_.send(json.dumps({"type": "ping", "x": "y" * 17 * 2**20}))
                await socket_.recv()

    assert not honest.closed.is_set()
    assert (await request(target, "GET", "/health")).json == "here"


async def test_slow_clients_of_the_worker_port_keep_no_worker_out(
    database_url: str, new_worker: NewWorker
) -> None:
    limits = Limits(connections=20, head_seconds=60.0)
    async with Engine(database_url, limits=limits).running() as engine:
        first = await new_worker(Target("", engine.ws_url)).start()
        port = int(engine.ws_url.rpartition(":")[2])
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        second = await new_worker(Target("", engine.ws_url)).start()

        async def both() -> list[Any]:
            return [
                await worker.call("engine::workers::list", {})
                for worker in (first, second)
            ]

        await eventually(both, all)
        for _, writer in clients:
            writer.close()


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1.evil.example:3113",
        "http://localhost.evil.example",
        "http://localhost:3113@evil.example",
        "http://localhostx:3113",
        "http://0.0.0.0:3113",
        "http://[::ffff:10.0.0.1]:3113",
        "http://2130706433",
        "file://",
        "null",
        "*",
        "",
    ],
)
async def test_no_foreign_page_may_read_an_answer(target: Target, origin: str) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    paths = ("/health", "/unknown", "/_console/status")
    for path, (method, headers) in itertools.product(
        paths, [("OPTIONS", asks), ("GET", {}), ("POST", {})]
    ):
        reply = await request(
            target, method, path, headers={"Origin": origin, **headers}
        )
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize("files", ["-Sn 300", "-n 300"])
async def test_a_system_that_allows_few_files_does_not_close_the_port(
    database_url: str, files: str
) -> None:
    command = f"ulimit {files}; exec {sys.executable} -m local_engine --http-port 0 --ws-port 0"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        cwd=PROJECT,
        env={**os.environ, "ENGINE_DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = json.loads(await process.stdout.readline())
        port = int(ready["http"].rpartition(":")[2])
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(400)]
        async with asyncio.timeout(LATE):
            reply = await request(Target(ready["http"], ""), "GET", "/health")
        assert reply.json == {"error": "no worker connected"}
        for _, writer in clients:
            writer.close()
    finally:
        process.kill()
        _, errors = await process.communicate()
    assert b"Too many open files" not in errors
