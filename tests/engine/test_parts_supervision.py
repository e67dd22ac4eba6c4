"""The parts of `bitbylaw up`: one that hangs is started again, logs are private and small, any engine can be read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from engine_harness import eventually
from ports import unused_port

from cli import supervisor
from cli.engines import Link, look
from cli.supervisor import (
    Patience,
    Program,
    Supervised,
    keep_answering,
    keep_small,
    says_anything,
)

HEALTHY = b'{"dependencies": {}}'
#: A server that answers every line with one, and a program that fills its log.
ECHO = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CHATTER = """
import time
for number in range(10**6):
    print("line", number, "x" * 80, flush=True)
    time.sleep(0.001)
"""


def program(name: str, code: str, *arguments: str) -> Program:
    """A Python program that does not say when it is ready."""
    return Program(
        name, [sys.executable, "-c", code, *arguments], os.environ, says_ready=False
    )


async def test_a_part_that_hangs_is_ended_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {
        "LOOK_SECONDS": 0.1,
        "ANSWER_SECONDS": 0.3,
        "RESTART_SECONDS": 0.3,
        "READY_SECONDS": 0.5,
    }
    for name, seconds in limits.items():
        monkeypatch.setattr(supervisor, name, seconds)
    events: list[str] = []
    port = unused_port()
    answers = partial(says_anything, "127.0.0.1", port, b"hello\n")
    part = Supervised(
        program("echo", ECHO, str(port)), tmp_path, on_event=events.append
    )
    await part.start()
    await eventually(answers, bool)
    watch = asyncio.create_task(keep_answering(part, answers, patience=0.5))
    first = part.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)

    async def another() -> bool:
        return part.pid != first and await answers()

    await eventually(another, bool)
    watch.cancel()
    await part.stop()
    assert [event.partition(" (log: ")[0] for event in events] == [
        "echo does not answer; ending it",
        "echo ended with status -9; starting it again",
    ]


def test_a_look_that_took_a_pause_of_our_own_says_nothing_about_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: now)
    patience = Patience(20)
    now += 600  # this process was suspended, or its loop was held
    assert not patience.is_over()
    for _ in range(10):
        now += 2
        assert not patience.is_over()
    now += 2
    assert patience.is_over()
    patience.renew()
    assert not patience.is_over()


async def test_a_part_that_takes_long_to_start_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.02)
    port = unused_port()
    part = Supervised(
        program("late", f"import time; time.sleep(1)\n{ECHO}", str(port)), tmp_path
    )
    await part.start()
    first = part.pid
    answers = partial(says_anything, "127.0.0.1", port, b"hello\n")
    watch = asyncio.create_task(keep_answering(part, answers, patience=0.1))
    await eventually(answers, bool)
    assert part.pid == first
    watch.cancel()
    await part.stop()


async def test_a_log_is_private_and_stays_small_while_its_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "LOG_BYTES", 20_000)
    log = tmp_path / "log" / "chatter.log"
    log.parent.mkdir()
    log.write_text("open to all users\n")
    log.chmod(0o644)
    part = Supervised(program("chatter", CHATTER), log.parent)
    await part.start()
    older = log.with_name("chatter.log.1")

    async def rotated() -> bool:
        return older.exists() and b"line 600 " in older.read_bytes()

    await eventually(rotated, bool)
    await part.stop()
    assert log.stat().st_size < 60_000
    assert b"\0" not in log.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (log, older)} == {0o600}


async def test_what_a_part_writes_is_closed_to_others(tmp_path: Path) -> None:
    code = "import os, sys; os.makedirs(sys.argv[1]); open(sys.argv[1] + '/file', 'w').close(); input()"
    part = Supervised(program("writer", code, str(tmp_path / "made")), tmp_path / "log")
    await part.start()
    file = tmp_path / "made" / "file"

    async def made() -> bool:
        return file.exists()

    await eventually(made, bool)
    await part.stop()
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


async def test_a_log_that_cannot_be_rotated_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "LOG_BYTES", 10)
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 100)
    (tmp_path / "a.log.1").mkdir()
    watch = asyncio.create_task(keep_small(log))
    await asyncio.sleep(0.1)
    (tmp_path / "a.log.1").rmdir()

    async def size() -> int:
        return log.stat().st_size

    await eventually(size, lambda found: found == 0)
    watch.cancel()


@asynccontextmanager
async def answering(
    head: str, body: bytes, other: str = "HTTP/1.1 404 Not Found"
) -> AsyncIterator[str]:
    """An engine that answers GET /health with these bytes, and every other path with 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readuntil(b"\r\n\r\n")
        if line.startswith(b"GET /health "):
            writer.write(
                f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
        else:
            writer.write(
                f"{other}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("head", "body", "link"),
    [
        ("HTTP/1.1 200 OK", HEALTHY, Link.CONNECTED),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json", HEALTHY, Link.CONNECTED),
        ("HTTP/1.1 200 OK\r\nCONTENT-TYPE: Application/JSON", HEALTHY, Link.CONNECTED),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain", HEALTHY, Link.CONNECTED),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream",
            HEALTHY,
            Link.CONNECTED,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: nonsense; charset=nowhere",
            HEALTHY,
            Link.CONNECTED,
        ),
        ("HTTP/1.1 503 Service Unavailable", HEALTHY, Link.CONNECTED),
        ("HTTP/1.1 404 Not Found", b"", Link.LOST),
        ("HTTP/1.1 404 Not Found", b"Not Found", Link.LOST),
        (
            "HTTP/1.1 500 x",
            b'{"error": "internal server error", "error_id": "1"}',
            Link.LOST,
        ),
        ("HTTP/1.1 503 x", b'{"error": "no worker connected"}', Link.LOST),
        ("HTTP/1.1 504 x", b"", Link.LOST),
        ("HTTP/1.1 200 OK", b"17", Link.LOST),
        ("HTTP/1.1 200 OK", b'["dependencies"]', Link.LOST),
        ("HTTP/1.1 200 OK", b'"dependencies"', Link.LOST),
        ("HTTP/1.1 200 OK", b"null", Link.LOST),
        ("HTTP/1.1 200 OK", b"\xff\xfe{", Link.LOST),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip", HEALTHY, Link.LOST),
        ("no HTTP at all", HEALTHY, Link.LOST),
    ],
)
async def test_an_answer_of_the_engine_is_read_whatever_its_head_says(
    head: str, body: bytes, link: Link
) -> None:
    async with answering(head, body) as url:
        assert await look(url) is link


async def test_an_engine_that_is_away_or_hangs_is_no_fault_of_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await look(f"http://127.0.0.1:{unused_port()}") is Link.ENGINE_AWAY
    monkeypatch.setattr("cli.engines.HEALTH_SECONDS", 0.2)
    monkeypatch.setattr("cli.engines.ANSWER_SECONDS", 0.2)

    async def hang(
        _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.Event().wait()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    assert (
        await look(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        is Link.ENGINE_AWAY
    )
    server.close()
