"""Everything is killed at once under load, again and again: each next start must be clean without a hand.

Usage: ``.venv/bin/python tools/kill_trial.py [--times 100] [--seed 1]``, also ``make kill-trial TIMES=100``.

The whole system runs as ``make up`` starts it (embedded engine, worker, board, its own PostgreSQL and Redis), on a data
folder of its own. EspoCRM, Advoware and Google are the outside world, so their twins run in this process and live on.
In each round people edit in all three while webhooks and calendar runs come in; at a random moment all processes of
the system get SIGKILL, in random order; people go on editing; the system is started again. Once people have stopped,
all must come to rest (`kill_world`): nothing lost, nothing doubled, statuses true, the queue drained.

Exit status 0: no round has found anything. The seed says what happens in which round; the moments are the machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from kill_world import KillWorld

from cli.embedded import free_port
from config import PROJECT_ROOT, load_settings

START_SECONDS = 120.0
REST_SECONDS = 240.0
#: How long people edit before everything is killed.
LOAD_SECONDS = (0.5, 5.0)
#: How long they go on while the system is away and starts again.
AFTER_SECONDS = 2.0
#: Between two of their edits, on average: before everything is killed, and then.
EDIT_SECONDS = 0.1
EDIT_SECONDS_AWAY = 1.0
#: One of so many edits is followed by a calendar run by hand.
CALENDAR_SHARE = 0.1
#: While all wait for rest, the crons are started so often, instead of every quarter of an hour.
CRON_SECONDS = 4.0
LOOK_SECONDS = 0.5
LOG_SHOWN = 1000
WRITE_TABLES = ("create_intent", "calendar_sync_intent", "calendar_sync_begun")


class Found(Exception):
    """A round has found something."""


class Running:
    """The system as ``make up`` runs it, from outside."""

    def __init__(self, data: Path, variables: dict[str, str]) -> None:
        self._data = data
        self._variables = variables
        self._port = free_port()
        self._session: aiohttp.ClientSession
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    async def open(self, stack: AsyncExitStack) -> None:
        """Make ready to start it; ``stack`` ends it for good."""
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=timeout),
        )
        stack.callback(self.kill)

    async def start(self) -> float:
        """Start it; after how many seconds it was healthy.

        Raises:
            Found: it has ended, or is not healthy in time.
        """
        started = time.monotonic()
        with (self._data.parent / "up.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "cli.main", "up"),
                cwd=PROJECT_ROOT,
                env={**os.environ, **self._variables, **self._own_variables()},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.monotonic() < started + START_SECONDS:
            if self._process.returncode is not None:
                raise Found(f"the start has ended with {self._process.returncode}")
            with suppress(aiohttp.ClientError, TimeoutError):
                status, _ = await self.call("GET", "/health")
                if status == 200:
                    return time.monotonic() - started
            await asyncio.sleep(LOOK_SECONDS)
        raise Found(f"not healthy after {START_SECONDS:.0f} s")

    def _own_variables(self) -> dict[str, str]:
        return {
            "BITBYLAW_DATA": str(self._data),
            "BITBYLAW_ENV_FILE": "",
            "BITBYLAW_HTTP_PORT": str(self._port),
            "BITBYLAW_WORKER_PORT": "0",
            "BITBYLAW_BOARD_PORT": "0",
        }

    def kill(self, shuffle: Callable[[list[Any]], object] = list) -> int:
        """SIGKILL to all its processes, in the order that ``shuffle`` gives them; how many there were."""
        processes = self._processes()
        shuffle(processes)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)
        return len(processes)

    def _processes(self) -> list[psutil.Process]:
        """Those that were started here, and the servers that work in the data folder."""
        if self._process is None:
            return []
        found: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._process.pid)
            found = [own, *own.children(recursive=True)]
        known = {process.pid for process in found}
        for process in psutil.process_iter():
            if process.pid not in known and self._works_here(process):
                found.append(process)
        return found

    def _works_here(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return Path(process.cwd()).is_relative_to(self._data)
        return False

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and decoded answer of a request."""
        async with self._session.request(
            method,
            f"{self.url}{path}",
            **options,
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def jobs(self) -> tuple[int, int]:
        """How many jobs are open, and how many are dead."""
        _, queues = await self.call("GET", "/_console/queues")
        topics = queues["topics"]
        open_jobs = sum(
            topic["waiting"] + topic["active"] + topic["delayed"] for topic in topics
        )
        return open_jobs, sum(topic["dead"] for topic in topics)

    async def start_crons(self, kuerzel: str, old: set[str]) -> None:
        """What the clock does every quarter of an hour, and in a day with ``old`` records."""
        records = [{"id": entity_id} for entity_id in sorted(old)]
        if records:
            await self.call("POST", "/vmh/webhook/beteiligte/update", json=records)
        _, listed = await self.call("GET", "/_console/triggers")
        for trigger in listed["triggers"]:
            is_check = "Beteiligte Sync Cron" in trigger["function_id"]
            if is_check and trigger["trigger_type"] == "cron":
                body = {"trigger_id": trigger["id"]}
                await self.call("POST", "/_console/cron/trigger", json=body)
        await self.sync_calendar(kuerzel)

    async def sync_calendar(self, kuerzel: str) -> None:
        """A run of an employee's calendar, started by hand."""
        body = {"kuerzel": kuerzel}
        await self.call("POST", "/advoware/calendar/sync", json=body)

    async def intents(self) -> list[str]:
        """The tables that still hold what a run was about to create."""
        settings = load_settings({}, env_file=self._data / "environment").postgres
        connection = await asyncpg.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            database=settings.db_name,
            timeout=10,
        )
        try:
            counts = {
                name: await connection.fetchval(
                    f"SELECT count(*) FROM {name}",  # noqa: S608 - our own tables
                )
                for name in WRITE_TABLES
            }
        finally:
            await connection.close()
        return [f"{name}: {count} rows" for name, count in counts.items() if count]


class Trial:
    """The rounds, and what they have measured."""

    def __init__(self, world: KillWorld, running: Running, seed: int) -> None:
        self._world = world
        self._running = running
        self._chance = random.Random(seed)  # noqa: S311 - what happens is to be repeated
        self.starts: list[float] = []
        self.rests: list[float] = []
        self.killed_with_jobs = 0
        self._is_away = False

    async def round(self, number: int) -> str:
        """One round in one line.

        Raises:
            Found: something is lost or doubled, or it does not come to rest.
        """
        self._is_away = False
        load = asyncio.create_task(self._load())
        seconds = self._chance.uniform(*LOAD_SECONDS)
        await asyncio.sleep(seconds)
        jobs = await self._jobs_now()
        self._is_away = True
        processes = self._running.kill(self._chance.shuffle)
        took = await self._running.start()
        await asyncio.sleep(AFTER_SECONDS)
        load.cancel()
        await asyncio.wait([load])
        rest = await self._come_to_rest()
        await self._is_calm()
        self.starts.append(took)
        self.rests.append(rest)
        self.killed_with_jobs += jobs > 0
        return (
            f"round {number}: killed {processes} processes after {seconds:.2f} s with {jobs} jobs open; "
            f"healthy after {took:.1f} s, at rest {rest:.1f} s later; {self._world.summary()}"
        )

    async def _jobs_now(self) -> int:
        try:
            return (await self._running.jobs())[0]
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def _load(self) -> None:
        """People edit and start calendar runs, whether the system is there or not."""
        while True:
            self._world.edit(self._chance)
            if self._chance.random() < CALENDAR_SHARE:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await self._running.sync_calendar(self._world.kuerzel)
            pause = EDIT_SECONDS_AWAY if self._is_away else EDIT_SECONDS
            await asyncio.sleep(self._chance.expovariate(1 / pause))

    async def _come_to_rest(self) -> float:
        """Wait for it; after how many seconds.

        Raises:
            Found: what is not in order when the time is over.
        """
        started = time.monotonic()
        next_cron = started
        problems: list[str] = []
        while time.monotonic() < started + REST_SECONDS:
            if time.monotonic() >= next_cron:
                await self._start_crons()
                next_cron = time.monotonic() + CRON_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            problems = await self._problems()
            if not problems:
                return time.monotonic() - started
        raise Found("\n".join(problems))

    async def _start_crons(self) -> None:
        world = self._world
        await self._running.start_crons(world.kuerzel, world.corrected)

    async def _problems(self) -> list[str]:
        waiting, dead = await self._running.jobs()
        problems = self._world.problems()
        if waiting:
            problems.append(f"{waiting} jobs are open")
        if dead:
            problems.append(f"{dead} jobs are dead")
        return problems or await self._running.intents()

    async def _is_calm(self) -> None:
        """Whether further runs write nothing.

        Raises:
            Found: what they have written.
        """
        before = list(self._world.written)
        await self._start_crons()
        await _until(self._is_drained)
        if self._world.written != before:
            more = self._world.written[len(before) :]
            raise Found(f"a further run writes: {more}")

    async def _is_drained(self) -> bool:
        await asyncio.sleep(LOOK_SECONDS)
        waiting, _ = await self._running.jobs()
        return waiting == 0


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(REST_SECONDS):
        while not await condition():
            pass


async def kill_trial(times: int, seed: int, say: Callable[[str], object]) -> list[str]:
    """Play so many rounds; what they have found. ``say`` gets a line for each."""
    found: list[str] = []
    async with AsyncExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bbl-kill-")),
        )
        world = await stack.enter_async_context(KillWorld.opened(folder))
        running = Running(folder / "data", world.variables())
        await running.open(stack)
        world.register_webhooks(running.url)
        trial = Trial(world, running, seed)
        say(f"first start: healthy after {await running.start():.1f} s")
        for number in range(1, times + 1):
            try:
                say(await trial.round(number))
            except Found as problem:
                found.append(f"round {number} (seed {seed}): {problem}")
                say(found[-1])
                say((folder / "up.log").read_text(errors="replace")[-LOG_SHOWN:])
                break  # what is wrong stays wrong
        if trial.rests:
            say(
                f"{len(trial.rests)} rounds, {trial.killed_with_jobs} of them with open jobs; median "
                f"{statistics.median(trial.starts):.1f} s to a healthy system, {statistics.median(trial.rests):.1f} s "
                f"(at most {max(trial.rests):.1f} s) to rest",
            )
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = asyncio.run(kill_trial(arguments.times, arguments.seed, _say))
    return 1 if found else 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
