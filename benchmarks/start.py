"""Part f: how long ``bitbylaw up`` takes to start, and what it costs while nothing happens."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from benchmarks import machine, stack
from benchmarks.bench import Bench, folder, process
from cli import embedded
from config import PROJECT_ROOT

SUBJECT = "whole system"
IDLE_SECONDS = 30.0
LONG_IDLE_SECONDS = 300.0
#: The sample flow is played first.
SETTLE_SECONDS = 20.0
READY_SECONDS = 120.0
PORTS = ("http", "worker", "advoware-twin", "espocrm-twin", "google-twin", "board")
#: By what stands in their command lines.
NAMES = {
    "bitbylaw up": "bitbylaw up",
    "cli.motia_worker": "worker",
    "cli.commands.board": "board",
    "local_engine": "engine",
    "sandbox.": "twins",
    "redis-server": "Redis",
    "postgres": "PostgreSQL",
}


@dataclass(frozen=True)
class Running:
    """A system that ``bitbylaw up`` has started."""

    pid: int
    data: Path
    seconds: float  #: from its start until GET /health was answered

    def processes(self) -> list[psutil.Process]:
        """All that belong to it."""
        file = self.data / "postgres" / "postmaster.pid"
        server = int(file.read_text("ascii").split()[0])  # no child of this process
        return [*machine.family(self.pid), *machine.family(server)]


async def measure(bench: Bench) -> None:
    """Start it a few times; then leave the last one alone for a while."""
    if bench.long:
        async with _up() as system:
            await _idle(bench, system, bench.seconds(LONG_IDLE_SECONDS))
        return
    seconds = []
    for repetition in range(bench.repeats):
        async with _up() as system:
            seconds.append(system.seconds)
            if repetition == bench.repeats - 1:
                await _idle(bench, system, bench.seconds(IDLE_SECONDS))
    bench.add("bitbylaw up until ready, new data", SUBJECT, "s", seconds)


@asynccontextmanager
async def _up() -> AsyncIterator[Running]:
    """The command as a user calls it, on free ports and fresh data."""
    ports = {name: embedded.free_port() for name in PORTS}
    options = [f"--{name}-port={port}" for name, port in ports.items()]
    program = Path(sys.executable).with_name("bitbylaw")
    started = time.monotonic()
    async with (
        folder() as path,
        process(
            *(str(program), "up", f"--data={path / 'data'}", *options),
            cwd=PROJECT_ROOT,
            environment={"BITBYLAW_ENV_FILE": ""},
            log=path / "up.log",
        ) as running,
        aiohttp.ClientSession() as session,
    ):

        async def healthy() -> bool:
            try:
                url = f"http://127.0.0.1:{ports['http']}/health"
                async with session.get(url) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await stack.until(healthy, READY_SECONDS)
        yield Running(running.pid, path / "data", time.monotonic() - started)


async def _idle(bench: Bench, system: Running, seconds: float) -> None:
    """Memory as shares of pages (PSS): what processes have in common counts once."""
    await asyncio.sleep(bench.seconds(SETTLE_SECONDS))
    before = _usage(system.processes())
    started = time.monotonic()
    bench.say(f"idle for {seconds:g} s")
    await asyncio.sleep(seconds)
    took = time.monotonic() - started
    after = _usage(system.processes())
    memory: dict[str, float] = defaultdict(float)
    cpu: dict[str, float] = defaultdict(float)
    for pid, (name, used, own) in after.items():
        earlier = before.get(pid, (name, 0.0, 0.0))[1]  # 0: it was started meanwhile
        memory[name] += own
        cpu[name] += 100 * (used - earlier) / took
    what = f"idle for {seconds:g} s"
    for name in sorted(memory):
        bench.add(f"{what}: memory", name, "MB", [memory[name]])
        bench.add(f"{what}: CPU", name, "% of a core", [cpu[name]])
    bench.add(f"{what}: memory", SUBJECT, "MB", [sum(memory.values())])
    bench.add(f"{what}: CPU", SUBJECT, "% of a core", [sum(cpu.values())])


def _usage(processes: list[psutil.Process]) -> dict[int, tuple[str, float, float]]:
    """Of each process: the part that it is, its CPU time (s) and memory (MB)."""
    found = {}
    for item in processes:
        try:
            own = machine.own_memory(item)
            found[item.pid] = (_name(item), machine.cpu_seconds(item.pid), own)
        except psutil.NoSuchProcess:  # a connection of PostgreSQL that was closed
            continue
    return found


def _name(item: psutil.Process) -> str:
    command = " ".join(item.cmdline())
    names = [name for part, name in NAMES.items() if part in command]
    return names[0] if names else item.name()
