"""`bitbylaw worker`: a worker that died, or lives on without its engine, is given up so that it is started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from engine_harness import PROJECT, NewWorker, Target
from ports import unused_ports

from local_engine.server import Engine

PATIENCE = 1.5


@asynccontextmanager
async def supervised(http: str, ws: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`bitbylaw worker` for an engine; killed afterwards with its worker."""
    environment = {
        **os.environ,
        "III_URL": ws,
        "BITBYLAW_ENGINE_HTTP_URL": http,
        "BITBYLAW_ENV_FILE": "",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.main",
        "worker",
        "--patience",
        str(PATIENCE),
        cwd=PROJECT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        for pid in [*children(process.pid), process.pid]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


async def printed(process: asyncio.subprocess.Process, text: bytes) -> None:
    """Wait until it has printed that."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while line := await process.stderr.readline():
            if text in line:
                return
    raise AssertionError(f"it ended without saying {text!r}")


async def test_a_worker_that_the_sdk_never_reconnects_is_given_up() -> None:
    """The SDK takes close code 1000 for the end; the process lives on."""
    looks = 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal looks
        if request.headers.get("Upgrade", "").lower() != "websocket":
            looks += 1
            return (
                web.json_response({"dependencies": {}})
                if looks == 1
                else web.Response(status=404)
            )
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close(code=1000)
        return socket

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = site.name.removeprefix("http://")
    async with supervised(f"http://{address}", f"ws://{address}") as process:
        await printed(process, b"without its engine")
        assert await asyncio.wait_for(process.wait(), 60) == 1
    await runner.cleanup()


async def test_a_worker_that_died_is_given_up_at_once(target: Target) -> None:
    async with supervised(target.http, target.ws) as process:
        await printed(process, b"connected\n")
        [worker] = children(process.pid)
        os.kill(worker, signal.SIGKILL)
        assert await asyncio.wait_for(process.wait(), 20) == 1


async def test_while_the_engine_is_away_the_worker_is_left_alone(
    database_url: str,
) -> None:
    http, ws = unused_ports(2)
    async with Engine(database_url, http_port=http, ws_port=ws).running() as engine:
        target = Target(engine.http_url, engine.ws_url)
        running = supervised(target.http, target.ws)
        process = await running.__aenter__()
        await printed(process, b"connected\n")
    [worker] = children(process.pid)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), PATIENCE * 2)
    async with Engine(database_url, http_port=http, ws_port=ws).running():
        await printed(process, b"connected\n")
        assert children(process.pid) == [worker]
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not alive(worker)
    await running.__aexit__(None, None, None)


async def test_the_check_reports_whether_the_worker_is_connected(
    target: Target, new_worker: NewWorker
) -> None:
    async def check() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli.main",
            "worker",
            "--check",
            "--engine-url",
            target.http,
            cwd=PROJECT,
        )
        return await process.wait()

    assert await check() == 1

    async def health(_data: object) -> object:
        return {"status_code": 503, "body": {"status": "down", "dependencies": {}}}

    await new_worker(target).http("GET", "health", health).start()
    assert await check() == 0
