"""Part f: how long the whole system takes to start, and what it costs while nothing happens."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict

import psutil

from benchmarks import machine, stack
from benchmarks.bench import Bench
from cli.engines import EngineKind

SUBJECT = "whole system"
IDLE_SECONDS = 30.0
LONG_IDLE_SECONDS = 300.0
SETTLE_SECONDS = 10.0


async def measure(bench: Bench) -> None:
    """Start it a few times; then leave the last one alone for a while."""
    seconds = []
    for repetition in range(bench.repeats):
        started = time.monotonic()
        async with stack.running(EngineKind.EMBEDDED) as system:
            seconds.append(time.monotonic() - started)
            if repetition == bench.repeats - 1:
                await _idle(bench, system)
    bench.add("start to ready, new data", SUBJECT, "s", seconds)


async def _idle(bench: Bench, system: stack.Stack) -> None:
    """Memory as shares of pages (PSS): what processes have in common counts once."""
    names = {system.pid(name): name for name in system.system.processes}
    usual = LONG_IDLE_SECONDS if bench.long else IDLE_SECONDS
    await asyncio.sleep(bench.seconds(SETTLE_SECONDS))
    postgres = system.system.data / "postgres" / "postmaster.pid"
    server = int(postgres.read_text("ascii").split()[0])  # no child of ours
    processes = [*machine.family(os.getpid())[1:], *machine.family(server)]
    before = _usage(processes, names)
    started = time.monotonic()
    bench.say(f"idle for {bench.seconds(usual):g} s")
    await asyncio.sleep(bench.seconds(usual))
    took = time.monotonic() - started
    after = _usage([item for item in processes if item.is_running()], names)
    memory: dict[str, float] = defaultdict(float)
    cpu: dict[str, float] = defaultdict(float)
    for pid, (name, used, own) in after.items():
        memory[name] += own
        cpu[name] += 100 * (used - before.get(pid, ("", used, 0))[1]) / took
    for name in sorted(memory):
        bench.add("idle: memory", name, "MB", [memory[name]])
        bench.add("idle: CPU", name, "% of a core", [cpu[name]])
    bench.add("idle: memory", SUBJECT, "MB", [sum(memory.values())])
    bench.add("idle: CPU", SUBJECT, "% of a core", [sum(cpu.values())])


def _usage(
    processes: list[psutil.Process], names: dict[int | None, str]
) -> dict[int, tuple[str, float, float]]:
    """Of each process: the part that it is, its CPU time (s) and memory (MB)."""
    found = {}
    for process in processes:
        name = names.get(process.pid) or process.name()
        used = machine.cpu_seconds(process.pid)
        found[process.pid] = (name, used, machine.own_memory(process))
    return found
