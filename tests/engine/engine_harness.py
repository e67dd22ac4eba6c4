"""What the engine tests act with: a scripted worker, engine and worker processes, and waiting for conditions.

A ``Target`` is all that the conformance cases know of an engine: its two URLs. The fixture ``target`` provides one;
point it at another engine to run the same cases there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp
from multidict import CIMultiDict
from ports import unused_ports
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from yarl import URL

PROJECT = Path(__file__).parents[2]
SAMPLE_STEPS = "tests/engine/steps_sample"
DEADLINE = 60.0

T = TypeVar("T")
Handler = Callable[[Any], Awaitable[Any]]
NewWorker = Callable[["Target"], "ScriptedWorker"]


@dataclass
class Target:
    """An engine as its users see it."""

    http: str
    ws: str


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def eventually(
    probe: Callable[[], Awaitable[T]],
    wanted: Callable[[T], bool],
    within: float = DEADLINE,
) -> T:
    """Ask again and again until the answer is as wanted; fails with the last answer after ``within`` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while True:
        value = await probe()
        if wanted(value):
            return value
        assert asyncio.get_running_loop().time() < deadline, (
            f"not within {within} s; last observed: {value!r}"
        )
        await asyncio.sleep(0.02)


class CallError(Exception):
    """The engine answered a call with an error; also what a scripted handler raises to answer with one."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(code, message)
        self.code = code


@dataclass
class ScriptedWorker:
    """A worker whose every message is under the test's control."""

    ws: str
    functions: dict[str, Handler] = field(default_factory=dict)
    triggers: list[dict[str, Any]] = field(default_factory=list)
    id: str = ""
    close_code: int | None = None
    #: Messages that are neither calls nor answers.
    other: list[dict[str, Any]] = field(default_factory=list)
    #: Calls received: function id and data.
    received: list[tuple[str, Any]] = field(default_factory=list)
    _socket: ClientConnection | None = None
    _answers: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def socket(self) -> ClientConnection:
        """The connection."""
        assert self._socket is not None
        return self._socket

    async def start(self) -> Self:
        """Connect and send what motia sends: functions, triggers, worker metadata; waits until the engine has it."""
        self._socket = await connect(
            self.ws, compression=None, max_size=2**20, proxy=None
        )
        first = json.loads(await self.socket.recv())
        assert first["type"] == "workerregistered"
        self.id = first["worker_id"]
        self._spawn(self._receive())
        for function_id in self.functions:
            await self.send({"type": "registerfunction", "id": function_id})
        for trigger in self.triggers:
            await self.send(trigger)
        await self.call(
            "engine::workers::register",
            {"runtime": "python", "name": "scripted", "pid": os.getpid()},
        )
        return self

    def on(self, function_id: str, handler: Handler) -> Self:
        """Offer a function."""
        self.functions[function_id] = handler
        return self

    def trigger(
        self,
        trigger_type: str,
        function_id: str,
        config: Any,
        trigger_id: str | None = None,
    ) -> Self:
        """Bind a function to a trigger."""
        message = {
            "type": "registertrigger",
            "id": trigger_id or str(uuid4()),
            "trigger_type": trigger_type,
        }
        self.triggers.append({**message, "function_id": function_id, "config": config})
        return self

    def http(self, method: str, path: str, handler: Handler, **config: Any) -> Self:
        """Offer an HTTP route."""
        function_id = f"http {method} {path}"
        settings = {"api_path": path, "http_method": method, **config}
        return self.on(function_id, handler).trigger("http", function_id, settings)

    def queue(
        self, topic: str, handler: Handler, name: str = "", **config: Any
    ) -> Self:
        """Subscribe to a topic."""
        function_id = f"queue {topic} {name}".strip()
        return self.on(function_id, handler).trigger(
            "queue", function_id, {"topic": topic, **config}
        )

    async def send(self, message: dict[str, Any]) -> None:
        """Send any message."""
        await self.socket.send(json.dumps(message))

    async def call(self, function_id: str, data: Any, **fields: Any) -> Any:
        """Call a function and return its result. Raises CallError."""
        invocation_id = str(uuid4())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[invocation_id] = answer
        message = {
            "type": "invokefunction",
            "invocation_id": invocation_id,
            "function_id": function_id,
            "data": data,
        }
        await self.send({**message, **fields})
        async with asyncio.timeout(DEADLINE):
            return await answer

    async def enqueue(self, topic: str, data: Any) -> None:
        """Enqueue as ``ctx.enqueue`` does."""
        await self.call("enqueue", {"topic": topic, "data": data})

    async def crash(self) -> None:
        """Lose the connection without a word, as a killed process does."""
        self.socket.transport.abort()
        await self.closed.wait()

    async def stop(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        if self._socket is not None:
            self.socket.transport.abort()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self) -> None:
        try:
            async for text in self.socket:
                self._take(json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            self.close_code = self.socket.close_code
            self.closed.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "invokefunction":
            self.received.append((message["function_id"], message["data"]))
            self._spawn(self._handle(message))
        elif message["type"] == "invocationresult":
            answer = self._answers.pop(message["invocation_id"])
            if "error" in message:
                answer.set_exception(
                    CallError(message["error"]["code"], message["error"]["message"])
                )
            else:
                answer.set_result(message.get("result"))
        else:
            self.other.append(message)

    async def _handle(self, message: dict[str, Any]) -> None:
        reply = {"type": "invocationresult"} | {
            key: message[key] for key in ("invocation_id", "function_id")
        }
        try:
            reply["result"] = await self.functions[message["function_id"]](
                message["data"]
            )
        except CallError as exc:
            reply["error"] = {"code": exc.code, "message": str(exc)}
        if not self.closed.is_set():
            await self.send(reply)


class Recorder:
    """A handler that notes what it gets and fails for the first ``failures`` executions."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.data: list[Any] = []
        self.times: list[float] = []

    async def __call__(self, data: Any) -> None:
        self.data.append(data)
        self.times.append(time.monotonic())
        if len(self.data) <= self.failures:
            raise CallError("invocation_failed", f"failure {len(self.data)}")

    async def wait(self, count: int, within: float = DEADLINE) -> list[Any]:
        """Wait for this many executions."""

        async def observed() -> list[Any]:
            return self.data

        return await eventually(observed, lambda data: len(data) >= count, within)


async def open_channel(ws: str, ref: dict[str, str]) -> ClientConnection:
    """Open one end of a channel."""
    url = f"{ws}/ws/channels/{ref['channel_id']}?key={ref['access_key']}&dir={ref['direction']}"
    return await connect(url, compression=None, max_size=2**20, proxy=None)


async def request(
    target: Target,
    method: str,
    path: str,
    *,
    json_body: Any = None,
    data: Any = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send one HTTP request; the path goes out exactly as given."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        url = URL(target.http + path, encoded=True)
        async with session.request(
            method, url, json=json_body, data=data, headers=headers
        ) as response:
            return Reply(
                response.status, response.headers.copy(), await response.read()
            )


async def console(target: Target, method: str, path: str, body: Any = None) -> Any:
    """Ask the console's API."""
    return (await request(target, method, f"/_console/{path}", json_body=body)).json


@dataclass
class Process:
    """A child process of a test."""

    process: asyncio.subprocess.Process

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@dataclass
class EngineProcess(Process):
    """An engine in a process of its own."""

    target: Target
    errors: asyncio.Task[bytes]

    async def log(self) -> str:
        """Return what the engine wrote to stderr, once it has ended."""
        return (await self.errors).decode()


async def start_engine(
    database_url: str, *options: str, http_port: int = 0, ws_port: int = 0
) -> EngineProcess:
    """Start an engine process and wait until it is ready. Raises EngineRefusedError when it exits instead.

    Without ports it gets such that are free for a second start as well.
    """
    free = unused_ports(2)
    arguments = [
        "--database-url",
        database_url,
        "--http-port",
        str(http_port or free[0]),
        "--ws-port",
        str(ws_port or free[1]),
        *options,
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local_engine",
        *arguments,
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(30):
        line = await process.stdout.readline()
        if not line:
            last_words = (await process.stderr.read()).decode()
            raise EngineRefusedError(await process.wait(), last_words)
    ready = json.loads(line)
    assert ready["ready"] == "engine"
    errors = asyncio.create_task(process.stderr.read())
    return EngineProcess(process, Target(ready["http"], ready["ws"]), errors)


class EngineRefusedError(Exception):
    """The engine did not start."""

    def __init__(self, status: int, errors: str) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = errors


@asynccontextmanager
async def motia_worker(ws: str, steps: str = SAMPLE_STEPS) -> AsyncIterator[Process]:
    """Run the real Motia worker, started as the product starts it, on the sample steps."""
    environment = {
        **os.environ,
        "III_URL": ws,
        "III_BRIDGE_URL": ws,
        "NO_PROXY": "localhost,127.0.0.1",
    }
    process = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli.motia_worker",
            "run",
            "--dir",
            steps,
            cwd=PROJECT,
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    )
    try:
        yield process
    finally:
        await process.kill()


@dataclass
class Relay:
    """A port in front of an engine's worker port that notes for what each connection asks."""

    url: str
    paths: list[str] = field(
        default_factory=list
    )  #: the path of each connection's first request, in order
    channels_open: int = 0

    @property
    def channels(self) -> list[str]:
        """The directions of the channels that were opened."""
        return [
            path.rpartition("dir=")[2] for path in self.paths if "/ws/channels/" in path
        ]


@asynccontextmanager
async def relay(ws: str) -> AsyncIterator[Relay]:
    """Pass on everything that comes for an engine's worker port."""
    observed = Relay("")
    _, _, port = ws.rpartition(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        observed.paths.append(line.decode().split()[1])
        is_channel = b"/ws/channels/" in line
        observed.channels_open += is_channel
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(port))
        up_writer.write(line)
        pumps = [
            asyncio.create_task(pump(reader, up_writer)),
            asyncio.create_task(pump(up_reader, writer)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for end in (writer, up_writer):
            end.close()
        observed.channels_open -= is_channel

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, number = server.sockets[0].getsockname()
    try:
        observed.url = f"ws://{host}:{number}"
        yield observed
    finally:
        server.close()


async def worker_ready(target: Target, count: int = 1) -> None:
    """Wait until workers have registered all of their steps."""

    async def ready() -> Any:
        return (await console(target, "GET", "status"))["workers_ready"]

    await eventually(ready, lambda observed: observed >= count, within=30)


async def topic_stats(target: Target, topic: str) -> dict[str, int]:
    """Return waiting, active, delayed, dead and subscribers of a topic."""
    topics = (await console(target, "GET", "queues"))["topics"]
    return next((entry for entry in topics if entry["topic"] == topic), {})
