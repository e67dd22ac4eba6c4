"""Starts the processes of the system, restarts those that die, stops them in reverse order."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT

READY_SECONDS = 60.0
LOG_BYTES = 10 * 2**20
#: A process that lives this long is healthy: the pause before its next restart starts small again.
HEALTHY_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 15.0
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A process did not start; the message is its own last words."""


@dataclass(frozen=True)
class Program:
    """One process to keep running. With ``says_ready`` it prints one line of JSON when it can be used."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    says_ready: bool = True


class Supervised:
    """A program, kept running until `stop`: restarted with growing pauses when it dies."""

    def __init__(self, program: Program, log_directory: Path, *, on_restart: Callable[[str, int], None]) -> None:
        self.program = program
        self.ready: dict[str, Any] = {}  #: what the program said when it was ready
        self._log_path = log_directory / f"{program.name}.log"
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process."""
        return self._process.pid if self._process else None

    async def start(self) -> dict[str, Any]:
        """Start it, wait until it is ready, keep it running from then on. Returns what it said.

        Raises:
            StartFailed: it ended, or was not ready in time.
        """
        await self._start_once()
        self._keeper = asyncio.create_task(self._keep_running())
        return self.ready

    async def stop(self) -> None:
        """Stop it for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None:
            await stop_process(self._process)

    async def restart(self) -> None:
        """End the process now; it is started again at once."""
        if self._process is not None:
            await stop_process(self._process, seconds=10)

    async def _start_once(self) -> None:
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        if self._log_path.exists() and self._log_path.stat().st_size > LOG_BYTES:
            self._log_path.replace(self._log_path.with_suffix(".log.1"))
        log_start = self._log_path.stat().st_size if self._log_path.exists() else 0
        with self._log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.arguments,
                cwd=PROJECT_ROOT,
                env=dict(self.program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self.program.says_ready else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
                preexec_fn=functools.partial(_end_with, os.getpid()),
            )
        if self.program.says_ready:
            self.ready = await self._wait_until_ready(log_start)

    async def _wait_until_ready(self, log_start: int) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            await stop_process(self._process)
            raise StartFailed(f"{self.program.name}: not ready after {READY_SECONDS:g} s") from None
        if not line:
            await self._process.wait()
            raise StartFailed(self._last_words(log_start))
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            await stop_process(self._process)
            raise StartFailed(f"{self.program.name}: unexpected first line")
        self._drain = asyncio.create_task(_drain(self._process.stdout))
        return answer

    def _last_words(self, log_start: int) -> str:
        lines = self._log_path.read_bytes()[log_start:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"{self.program.name} ended at once; see {self._log_path}"

    async def _keep_running(self) -> None:
        pause = 0.2
        while True:
            started = time.monotonic()
            assert self._process is not None
            status = await self._process.wait()
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = 0.2
            self._on_restart(self.program.name, status)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            with suppress(StartFailed, OSError):
                await self._start_once()


async def _drain(output: asyncio.StreamReader) -> None:
    """Read what a program prints after it is ready, so that a full pipe never stops it."""
    while await output.read(2**16):
        pass


def _end_with(parent: int) -> None:
    """Ask Linux for a SIGTERM when the supervisor dies, even by kill -9, so that nothing is left behind."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


async def stop_process(process: asyncio.subprocess.Process, seconds: float = STOP_SECONDS) -> None:
    """End a process with SIGTERM, after ``seconds`` with SIGKILL; waits until it is gone."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def keep_connected(worker: Supervised, is_connected: Callable[[], Awaitable[bool]], patience: float) -> None:
    """Restart the worker when it has been alive but disconnected for ``patience`` seconds.

    The SDK never reconnects after certain close codes; the process then lives on, doing nothing.
    """
    lost_at: float | None = None
    while True:
        await asyncio.sleep(2)
        if await is_connected():
            lost_at = None
        elif lost_at is None:
            lost_at = time.monotonic()
        elif time.monotonic() - lost_at > patience:
            await worker.restart()
            lost_at = None
