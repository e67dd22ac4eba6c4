"""What is measured: the whole system as ``bitbylaw up`` starts it, on fresh data; and helper processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from benchmarks import machine
from benchmarks.load import Order
from cli.demo import open_audit
from cli.engines import EngineKind
from cli.supervisor import Supervised
from cli.system import Ports, System, running_system
from config import PROJECT_ROOT

TOKEN = "benchmark-token-0123456789"  # noqa: S105 - of twins on this machine
SUBJECTS = {EngineKind.EMBEDDED: "embedded engine", EngineKind.III: "real engine"}
ADMIN_KEY = {"X-Api-Key": "espocrm-admin-key"}
SYSTEM_SECONDS = 120.0
HELPER_SECONDS = 120.0


class HelperFailed(Exception):
    """A helper process ended badly or too late; the message has its last words."""


@dataclass
class Stack:
    """A running system, used from outside."""

    system: System
    session: aiohttp.ClientSession
    audit: asyncpg.Pool

    def pid(self, name: str) -> int | None:
        """The process of a part: worker, engine, board, a twin."""
        return self.system.processes[name].pid

    async def twin(self, name: str, method: str, path: str, **options: Any) -> Any:
        """A request to a twin that must succeed; its decoded body."""
        headers = ADMIN_KEY if name == "espocrm" else {}
        url = f"{self.system.twins[name]}{path}"
        async with self.session.request(
            method, url, headers=headers, **options
        ) as answer:
            answer.raise_for_status()
            return await answer.json(content_type=None)

    async def slow_twins(self, milliseconds: int) -> None:
        """Let every request to a foreign system take so much longer; 0: as fast as they are."""
        for name in self.system.twins:
            await self.twin(name, "DELETE", "/__sandbox__/faults")
            if milliseconds:
                rule = {"latency_ms": milliseconds}
                await self.twin(name, "POST", "/__sandbox__/faults", json=rule)

    async def calls(self) -> int:
        """How many requests the twins have had since `forget_calls`."""
        total = 0
        for name in self.system.twins:
            path = "/__sandbox__/journal/summary"
            total += sum((await self.twin(name, "GET", path)).values())
        return total

    async def forget_calls(self) -> None:
        """Count from now on."""
        for name in self.system.twins:
            await self.twin(name, "DELETE", "/__sandbox__/journal")

    @asynccontextmanager
    async def with_steps(self, steps: Path) -> AsyncIterator[Supervised]:
        """Instead of the worker, one with the steps of this folder; GET /health must be among them."""
        ordinary = self.system.processes["worker"]
        await ordinary.stop()
        program = replace(
            ordinary.program, arguments=[*ordinary.program.arguments[:-1], str(steps)]
        )
        special = Supervised(program, self.system.data / "log")
        await special.start()
        self.system.processes["worker"] = special
        try:
            await until(self._healthy, SYSTEM_SECONDS)
            yield special
        finally:
            await special.stop()

    async def _healthy(self) -> bool:
        try:
            async with self.session.get(f"{self.system.http_url}/health") as answer:
                return answer.status < 500
        except aiohttp.ClientError:
            return False


def step_folder(folder: Path, *steps: str) -> Path:
    """A folder with links to these files below steps/, or to files of the benchmarks (absolute paths)."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in ("health_step.py", *steps):
        target = PROJECT_ROOT / "steps" / step
        (folder / target.name).symlink_to(target)
    return folder


async def until(
    condition: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.05
) -> None:
    """Wait until a condition holds, and look every so many seconds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(every)


@asynccontextmanager
async def running(
    engine: EngineKind = EngineKind.EMBEDDED, **overrides: str
) -> AsyncIterator[Stack]:
    """A system of its own, stopped and forgotten afterwards."""
    data = Path(tempfile.mkdtemp(prefix="bbl-bench-"))
    settings = {"ESPOCRM_WEBHOOK_TOKEN": TOKEN, **overrides}
    timeout = aiohttp.ClientTimeout(total=60)
    try:
        async with (
            running_system(
                data,
                Ports(0, 0, 0, 0, 0, 0),
                None,
                on_event=lambda _line: None,
                overrides=settings,
                engine=engine,
            ) as system,
            aiohttp.ClientSession(timeout=timeout) as session,
            await open_audit(system) as audit,
        ):
            yield Stack(system, session, audit)
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def helper(module: str, order: str, seconds: float = HELPER_SECONDS) -> Any:
    """Run ``python -m module`` with an order on its standard input; what it prints as JSON.

    Raises:
        HelperFailed: it failed, or took longer than so many seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        cwd=PROJECT_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(order.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise HelperFailed(f"{module} took longer than {seconds:g} s") from None
    if process.returncode:
        raise HelperFailed(f"{module}: {err.decode()[-500:]}")
    return json.loads(out)


async def load(order: Order) -> dict[str, float]:
    """What the load generator has measured. Raises HelperFailed."""
    seconds = order.seconds + order.warmup + HELPER_SECONDS
    found: dict[str, float] = await helper(
        "benchmarks.load", order.model_dump_json(), seconds
    )
    return found


class Cpu:
    """The CPU time that processes take from now on."""

    def __init__(self, **pids: int | None) -> None:
        self._pids = pids
        self._before = {name: machine.cpu_seconds(pid) for name, pid in pids.items()}

    def seconds(self) -> dict[str, float]:
        """User and system time of each since this was made."""
        return {
            name: machine.cpu_seconds(pid) - self._before[name]
            for name, pid in self._pids.items()
        }
