"""What every part of the benchmark is given: how thorough to be, and where its numbers go."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.results import LONG, REAL, USUAL, Row, number
from cli.engines import EngineKind

#: Of a peer's process, as of the system's parts.
START_SECONDS = 30.0


@dataclass
class Bench:
    """One part being measured.

    ``small``: only to see that it works; ``long``: instead, what takes many minutes; ``real``: only the real engine,
    beside what an earlier call has measured of the embedded one and of the peers.
    """

    part: str
    small: bool
    long: bool = False
    real: bool = False
    rows: list[Row] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def run(self) -> str:
        """The kind of call."""
        if self.long:
            return LONG
        if self.real:
            return REAL
        return USUAL

    def say(self, line: str) -> None:
        """Show how far the part is."""
        seconds = time.monotonic() - self.started
        sys.stdout.write(f"[{self.part} {seconds:5.0f} s] {line}\n")
        sys.stdout.flush()

    def add(
        self,
        what: str,
        subject: str,
        unit: str,
        values: list[float],
        peer: str | None = None,
    ) -> None:
        """Keep the values of all repetitions; with the other subject that ``peer`` names they are compared."""
        row = Row(self.part, what, subject, unit, values, peer, self.run)
        self.rows.append(row)
        self.say(f"{what}, {subject}: {number(row.median)} {unit}")

    @property
    def repeats(self) -> int:
        """How often each thing is measured."""
        return 1 if self.small else 3

    def seconds(self, usual: float) -> float:
        """How long a measurement takes."""
        return min(usual, 0.5) if self.small else usual

    def count(self, usual: int) -> int:
        """How many records, jobs or appointments are measured."""
        return max(3, usual // 100) if self.small else usual

    @property
    def engines(self) -> list[EngineKind]:
        """The embedded engine, and the real one if ``III_ENGINE_BIN`` names it."""
        if self.real:
            return [EngineKind.III]
        if os.environ.get("III_ENGINE_BIN"):
            return [EngineKind.EMBEDDED, EngineKind.III]
        self.say("III_ENGINE_BIN is not set: nothing of the real engine")
        return [EngineKind.EMBEDDED]

    def has_peer(self, *packages: str) -> bool:
        """Whether a peer is measured: its packages are installed (the group ``bench`` of pyproject.toml)."""
        if self.real:
            return False
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            self.say(f"not installed, so not compared: {', '.join(missing)}")
        return not missing


Part = Callable[[Bench], Awaitable[None]]


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder that is gone afterwards; its path is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="bbl-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def process(
    *arguments: str, cwd: Path, environment: dict[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that runs until the block ends."""
    with log.open("ab") as output:
        running = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await _ended(running)


async def _ended(running: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(10):
            await running.wait()
    except TimeoutError:
        running.kill()
        await running.wait()


def column(found: list[dict[str, Any]], name: str) -> list[float]:
    """One value of each repetition."""
    return [float(item[name]) for item in found]
