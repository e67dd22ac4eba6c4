"""Starts the processes of the system, restarts those that die, stops them in reverse order."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from config import PROJECT_ROOT

READY_SECONDS = 60.0
LOG_BYTES = 10 * 2**20
#: A process that lives this long is healthy: the pause before its next restart starts small again.
HEALTHY_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 15.0
STOP_SECONDS = 20.0
RESTART_SECONDS = 2.0
LOOK_SECONDS = 2.0
ANSWER_SECONDS = 5.0
#: A part that has not answered for so long hangs.
PATIENCE_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


def ignore(_line: str) -> None:
    """For whoever does not want to be notified."""


class StartFailed(Exception):
    """A process did not start; the message is its own last words."""


async def wait_until_listening(port: int, seconds: float) -> None:
    """Wait until a program listens on a port of this machine.

    Raises:
        TimeoutError: it does not within so many seconds.
    """
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@dataclass(frozen=True)
class Program:
    """One process to keep running. With ``says_ready`` it prints one line of JSON when it can be used."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    says_ready: bool = True


class Supervised:
    """A program, kept running until `stop`: restarted with growing pauses when it dies.

    ``on_event`` is notified, one line at a time.
    """

    def __init__(
        self,
        program: Program,
        log_directory: Path,
        *,
        on_event: Callable[[str], None] = ignore,
    ) -> None:
        self.program = program
        self.ready: dict[str, Any] = {}  #: what the program reported when it was ready
        self._log_path = log_directory / f"{program.name}.log"
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._drain: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process."""
        if self._process:
            return self._process.pid
        return None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> dict[str, Any]:
        """Start it, wait until it is ready, keep it running from then on. Returns what it reported.

        Raises:
            StartFailed: it ended, or was not ready in time.
        """
        await self._start_once()
        self._keepers = [
            asyncio.create_task(self._keep_running()),
            asyncio.create_task(keep_small(self._log_path)),
        ]
        return self.ready

    async def stop(self) -> None:
        """Stop it for good."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._process is not None:
            await stop_process(self._process)

    async def restart(self) -> None:
        """End a process that does not answer; it is started again at once."""
        self._on_event(
            f"{self.program.name} does not answer; ending it (log: {self._log_path})",
        )
        if self._process is not None:
            await stop_process(self._process, seconds=RESTART_SECONDS)

    async def _start_once(self) -> None:
        self._log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rotate(self._log_path)
        with _open_log(self._log_path) as log:
            log_start = self._log_path.stat().st_size
            self._process = await asyncio.create_subprocess_exec(
                *self.program.arguments,
                cwd=PROJECT_ROOT,
                env=dict(self.program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self.program.says_ready else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone; we stop the others in order
                umask=0o077,  # what it keeps and logs is for no other user
                preexec_fn=functools.partial(_end_with, os.getpid()),
            )
        if self.program.says_ready:
            self.ready = await self._wait_until_ready(log_start)

    async def _wait_until_ready(self, log_start: int) -> dict[str, Any]:
        assert self._process is not None  # noqa: S101 - narrows the type
        assert self._process.stdout is not None  # noqa: S101 - narrows the type
        try:
            async with asyncio.timeout(READY_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            await stop_process(self._process)
            raise StartFailed(
                f"{self.program.name}: not ready after {READY_SECONDS:g} s",
            ) from None
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
        lines = (
            self._log_path.read_bytes()[log_start:]
            .decode(errors="replace")
            .strip()
            .splitlines()
        )
        if lines:
            return lines[-1]
        return f"{self.program.name} ended at once; see {self._log_path}"

    async def _keep_running(self) -> None:
        pause = 0.2
        while True:
            started = time.monotonic()
            assert self._process is not None  # noqa: S101 - narrows the type
            status = await self._process.wait()
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = 0.2
            self._on_event(
                f"{self.program.name} ended with status {status}; starting it again (log: {self._log_path})",
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            with suppress(StartFailed, OSError):
                await self._start_once()


async def keep_small(log: Path) -> None:
    """Rotate a log that a running program writes to, whenever it has grown too large."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(OSError):  # a full disk, for example; the next look tries again
            await asyncio.to_thread(rotate, log)


def rotate(log: Path) -> None:
    """Move what is in a log above ``LOG_BYTES`` to ``<name>.1`` and empty it, so that its writers can go on.

    They have opened it for appending, so they go on at its new end. What is written between the two steps is lost.
    """
    if not log.exists():
        return
    if log.stat().st_size <= LOG_BYTES:
        return
    with log.open("rb") as old, open(f"{log}.1", "wb", opener=private) as kept:
        shutil.copyfileobj(old, kept)
    os.truncate(log, 0)


def _open_log(log: Path) -> BinaryIO:
    return open(log, "ab", opener=private)


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read, also one that was not so private before."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


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


async def stop_process(
    process: asyncio.subprocess.Process,
    seconds: float = STOP_SECONDS,
) -> None:
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


class Patience:
    """How long something may go without an answer. While this process itself sleeps no patience runs out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._looked_at = time.monotonic()
        self._give_up_at = self._looked_at + seconds

    def renew(self, seconds: float | None = None) -> None:
        """It has answered; or it was just started, and may take ``seconds``."""
        self._looked_at = time.monotonic()
        self._give_up_at = self._looked_at + (
            self._seconds if seconds is None else seconds
        )

    def is_over(self) -> bool:
        """To be asked after each look without an answer."""
        now = time.monotonic()
        since_last_look = now - self._looked_at
        # A look that took so long says more about this process (suspended, or its loop held) than about the other.
        if since_last_look > 2 * (LOOK_SECONDS + ANSWER_SECONDS):
            self._give_up_at = now + self._seconds
        self._looked_at = now
        return now > self._give_up_at


async def keep_answering(
    part: Supervised,
    answers: Callable[[], Awaitable[bool]],
    patience: float,
) -> None:
    """End a part that lives but has not answered for ``patience`` seconds; it is then started again as if it had died.

    One that was just started may take longer for its first answer.

    So it goes with a process that hangs, and with a worker that the SDK never reconnects after certain close codes.
    """
    pid: int | None = None
    limit = Patience(patience)
    while True:
        if part.pid != pid:  # started again meanwhile
            pid = part.pid
            limit.renew(max(patience, READY_SECONDS))
        await asyncio.sleep(LOOK_SECONDS)
        if await answers():
            limit.renew()
        elif limit.is_over() and part.pid == pid and part.is_running:
            await part.restart()


async def says_anything(host: str, port: int, question: bytes) -> bool:
    """Whether a server answers a question with anything at all; a process that hangs still takes the connection."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(question)
                return bool(await reader.read(1))
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
