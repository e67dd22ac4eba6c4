"""The engines that the conformance cases run against, all alike: the embedded one always, a real iii if there is one.

``III_ENGINE_BIN`` names a real engine's binary; without it, ``iii`` is looked for on PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from engine_differences import DIFFERENCES
from engine_harness import (
    CallError,
    EngineProcess,
    Process,
    ScriptedWorker,
    Target,
    start_engine,
)
from ports import unused_ports

from local_engine.server import Engine

HTTP_TIMEOUT_SECONDS = 2.0
CONSOLE_ORIGIN = "http://localhost:3113"
BACKOFF_MS = 50
#: What every subscription of these cases asks for: three executions, as all engines grant them by themselves.
QUEUE_CONFIG = {"maxRetries": 3, "backoffDelayMs": BACKOFF_MS}


@dataclass(frozen=True)
class Binary:
    """A real engine on this machine."""

    path: str
    version: str

    def __str__(self) -> str:
        return f"iii {self.version}"


@cache
def find_binary() -> Binary | None:
    """The real engine that this run drives; None without one.

    Raises:
        FileNotFoundError: ``III_ENGINE_BIN`` names nothing that can be run.
    """
    named = os.environ.get("III_ENGINE_BIN")
    path = shutil.which(named or "iii")
    if path is None:
        if named:
            raise FileNotFoundError(f"III_ENGINE_BIN: {named} cannot be run")
        return None
    answer = subprocess.run(  # noqa: S603 - the engine that was named
        [path, "--version"], capture_output=True, text=True, timeout=10, check=True
    )
    return Binary(path, answer.stdout.strip())


def names() -> list[str]:
    """The engines of this run."""
    binary = find_binary()
    return ["embedded", *([str(binary)] if binary else [])]


def report() -> str:
    """One line for the head of the test report."""
    binary = find_binary()
    real = (
        f"{binary} ({binary.path})"
        if binary
        else "no real iii (set III_ENGINE_BIN, or put iii on PATH)"
    )
    return f"engine conformance: embedded engine; {real}"


@dataclass
class DeadLetter:
    """A job that has failed for good."""

    id: str
    data: Any
    error: str


class EngineUnderTest(Target, ABC):
    """An engine as the cases see it. Two ports, and what an operator can ask of its queues."""

    version: tuple[int, ...] | None = None

    def differs(self, name: str) -> bool:
        """Whether this engine has a known difference from the embedded one (see `engine_differences`)."""
        difference = next(entry for entry in DIFFERENCES if entry.name == name)
        return self.version is not None and difference.applies_to(self.version)

    @abstractmethod
    async def start(self) -> None:
        """Start on the same ports as before."""

    @abstractmethod
    async def kill(self) -> None:
        """SIGKILL."""

    @abstractmethod
    async def terminate(self) -> int:
        """SIGTERM; the exit status."""

    async def pending(self, topic: str) -> int:
        """Jobs of a topic that wait, run or pause before their next try."""
        return int(
            (await self.ask("engine::queue::topic_stats", {"topic": topic}))["depth"]
        )

    async def dead_letters(self, topic: str) -> list[DeadLetter]:
        """The jobs of a topic that have failed for good."""
        letters = await self.ask("engine::queue::dlq_messages", {"topic": topic})
        return [
            DeadLetter(letter["id"], letter["payload"], letter["error"])
            for letter in letters
        ]

    async def redrive(self, topic: str) -> int:
        """Give a topic's dead letters back to their subscribers; how many."""
        return int(
            (await self.ask("iii::queue::redrive", {"queue": topic}))["redriven"]
        )

    async def ask(self, function_id: str, data: Any) -> Any:
        """Call one of the engine's functions; where it has none for its queues, the case ends as a known difference."""
        async with asking(self) as worker:
            if self.differs("no_queue_tools"):
                with pytest.raises(CallError, match="function_not_found"):
                    await worker.call(function_id, data)
                pytest.xfail(
                    "no_queue_tools: this version cannot be asked about its queues"
                )
            return await worker.call(function_id, data)


class EmbeddedHere(EngineUnderTest):
    """The embedded engine in this process: quick, cannot be killed."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._running = AsyncExitStack()

    async def start(self) -> None:
        engine = Engine(self._database_url, http_timeout=HTTP_TIMEOUT_SECONDS)
        await self._running.enter_async_context(engine.running())
        super().__init__(engine.http_url, engine.ws_url)

    async def kill(self) -> None:
        raise NotImplementedError

    async def terminate(self) -> int:
        await self._running.aclose()
        return 0


class EmbeddedProcess(EngineUnderTest):
    """The embedded engine in a process of its own."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._process: EngineProcess | None = None
        super().__init__("", "")

    async def start(self) -> None:
        ports = (
            {"http_port": _port(self.http), "ws_port": _port(self.ws)}
            if self.http
            else {}
        )
        options = ("--http-timeout", str(HTTP_TIMEOUT_SECONDS))
        self._process = await start_engine(self._database_url, *options, **ports)
        self.http, self.ws = self._process.target.http, self._process.target.ws

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()

    async def terminate(self) -> int:
        assert self._process is not None
        return await self._process.terminate()


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


class RealEngine(EngineUnderTest):
    """An iii engine in a process of its own, with its data in a directory of the test's."""

    def __init__(self, binary: Binary, data: Path, *, durable: bool) -> None:
        self._binary = binary
        self._data = data
        self._process: Process | None = None
        self.version = tuple(int(part) for part in binary.version.split("."))
        self._ports = dict(
            zip(("http", "worker", "stream"), unused_ports(3), strict=True)
        )
        (data / "config.yaml").write_text(
            json.dumps(_configuration(data, self._ports, durable=durable))
        )
        super().__init__(
            f"http://127.0.0.1:{self._ports['http']}",
            f"ws://127.0.0.1:{self._ports['worker']}",
        )

    async def start(self) -> None:
        with (self._data / "engine.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                self._binary.path,
                "--config",
                "config.yaml",
                cwd=self._data,
                env={**os.environ, "III_TELEMETRY_ENABLED": "false"},
                stdout=log,
                stderr=log,
            )
        self._process = Process(process)
        async with asyncio.timeout(60):
            for port in self._ports.values():
                while not await _listens(port):
                    assert process.returncode is None, (
                        self._data / "engine.log"
                    ).read_text()[-2000:]
                    await asyncio.sleep(0.01)

    async def kill(self) -> None:
        if self._process is not None:
            await self._process.kill()

    async def terminate(self) -> int:
        assert self._process is not None
        return await self._process.terminate()


@asynccontextmanager
async def asking(target: Target) -> AsyncIterator[ScriptedWorker]:
    """A worker that offers nothing and only calls functions."""
    worker = await ScriptedWorker(target.ws).start()
    try:
        yield worker
    finally:
        await worker.stop()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _configuration(
    data: Path, ports: dict[str, int], *, durable: bool
) -> dict[str, Any]:
    """Everything the steps use; in files when it is to survive a restart, else in memory."""

    def entry(name: str, **config: Any) -> dict[str, Any]:
        return {"class": f"modules::{name}", "config": config}

    def store(name: str) -> dict[str, Any]:
        if not durable:
            return {"store_method": "in_memory"}
        return {
            "store_method": "file_based",
            "file_path": str(data / name),
            "save_interval_ms": 50,
        }

    local = {"host": "127.0.0.1"}
    queue = entry(
        "queue::BuiltinQueueAdapter",
        max_attempts=3,
        backoff_ms=BACKOFF_MS,
        **store("queue"),
    )
    state = entry("state::adapters::KvStore", **store("state"))
    stream = entry("stream::adapters::KvStore", **store("stream"))
    timeout = int(HTTP_TIMEOUT_SECONDS * 1000)
    cors = {
        "allowed_origins": [CONSOLE_ORIGIN],
        "allowed_methods": ["GET", "POST", "PUT", "DELETE"],
    }
    modules = [
        entry(
            "api::RestApiModule",
            **local,
            port=ports["http"],
            default_timeout=timeout,
            cors=cors,
        ),
        entry("queue::QueueModule", adapter=queue),
        entry("cron::CronModule"),
        entry("state::StateModule", adapter=state),
        entry("stream::StreamModule", **local, port=ports["stream"], adapter=stream),
        entry("pubsub::PubSubModule"),
        entry(
            "observability::OtelModule",
            enabled=True,
            exporter="memory",
            logs_console_output=False,
            level="warn",
        ),
    ]
    return {"port": ports["worker"], "modules": modules}
