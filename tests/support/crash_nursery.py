"""Workers that die of SIGKILL in the middle of a write to a foreign system.

Run as a program, this process has everything imported and starts a worker for each line of its input (fork takes
milliseconds). The worker does one job of the product with the product's own code, and counts its writes to foreign
systems. At the one that the line names it kills itself:

- ``before``: before the request;
- ``executed``: once the system has carried it out, when its answer arrives but nothing of it was read;
- ``answered``: once the client has read the answer;
- ``commit``: after the answer, right before the next commit in PostgreSQL (or at the end of the job if there is none).

Without a cut the worker only notes its writes, and ends well. Libraries are instrumented for this in the worker alone
(aiohttp, httplib2, asyncpg); the product's code runs as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import aiohttp
import asyncpg
import httplib2
from client_writes import READS, site_name, write_operations

from config import PROJECT_ROOT, load_settings
from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_check import BeteiligteCheck
from services.beteiligte_sync_utils import BeteiligteSync
from services.calendar_sync.run import CalendarSync
from services.core.errors import BitByLawError
from services.core.resources import Resources
from services.core.write_guard import READS as READ_METHODS
from services.vmh_sync.job import SyncEvent

POINTS = ("before", "executed", "answered", "commit")
SECONDS = 60
WRITES_SQL = re.compile(r"\b(INSERT|UPDATE|DELETE|TRUNCATE)\b", re.IGNORECASE)
SQL_METHODS = ("execute", "executemany", "fetch", "fetchrow", "fetchval")


@dataclass(frozen=True)
class Cut:
    """Where a worker dies: at its write of this number (from 1), at one of `POINTS`."""

    number: int
    point: str


@dataclass(frozen=True)
class Work:
    """A job: ``kind`` is an entity with an event, ``check`` (the cron of the Beteiligte), or ``calendar``."""

    kind: str
    event: Mapping[str, Any]


# -- in the worker --------------------------------------------------------------------------------------------------


def die() -> None:
    """End this process at once, as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(SECONDS)


class Watch:
    """Counts the writes of this process, and ends it at the cut."""

    def __init__(self, cut: Cut | None, note: Callable[[str], object]) -> None:
        self._cut = cut
        self._note = note
        self._number = 0
        self._inside = ContextVar("inside", default=False)
        self._dies_at_answer = False
        self._dies_at_commit = False

    def install(self) -> None:
        """Watch clients, connections and commits of this process."""
        for client in READS:
            for name, method in write_operations(client):
                setattr(client, name, self._watched(name, method))
        self._watch_http()
        for name in SQL_METHODS:
            method = getattr(asyncpg.Connection, name)
            setattr(asyncpg.Connection, name, self._watched_sql(method))

    def _watched(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def operation(*arguments: Any, **options: Any) -> Any:
            if self._inside.get():  # one operation by way of another
                return await method(*arguments, **options)
            self._number += 1
            self._note(_site(name, sys._getframe(1)))
            is_cut = self._cut is not None and self._cut.number == self._number
            if is_cut:
                self._begin()
            token = self._inside.set(True)
            try:
                return await method(*arguments, **options)
            finally:
                self._inside.reset(token)
                if is_cut:
                    self._end()

        return operation

    def _begin(self) -> None:
        assert self._cut is not None
        if self._cut.point == "before":
            die()
        self._dies_at_answer = self._cut.point == "executed"

    def _end(self) -> None:
        assert self._cut is not None
        if self._cut.point != "commit":
            die()
        self._dies_at_commit = True

    def _watch_http(self) -> None:
        plain = aiohttp.ClientSession._request
        threaded = httplib2.Http.request

        async def request(session: Any, method: str, url: Any, **options: Any) -> Any:
            answer = await plain(session, method, url, **options)
            self._answered(method, str(url))
            return answer

        def threaded_request(
            http: Any, uri: str, method: str = "GET", *rest: Any, **options: Any
        ) -> Any:
            answer = threaded(http, uri, method, *rest, **options)
            self._answered(method, uri)
            return answer

        aiohttp.ClientSession._request = request  # type: ignore[method-assign]
        httplib2.Http.request = threaded_request

    def _answered(self, method: str, url: str) -> None:
        is_login = "oken" in url
        if self._dies_at_answer and method not in READ_METHODS and not is_login:
            die()

    def _watched_sql(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def statement(
            connection: Any, query: str, *rest: Any, **options: Any
        ) -> Any:
            if self._dies_at_commit and _commits(connection, query):
                die()
            return await method(connection, query, *rest, **options)

        return statement


def _commits(connection: Any, query: str) -> bool:
    """Whether this statement makes something durable."""
    if query.upper().startswith("COMMIT"):
        return True
    is_alone = not connection.is_in_transaction()
    return is_alone and WRITES_SQL.search(query) is not None


def _site(operation: str, frame: FrameType | None) -> str:
    """Where the product has called a client."""
    assert frame is not None
    return site_name(frame.f_code.co_filename, frame.f_code.co_name, operation)


async def work(order: Mapping[str, Any]) -> None:
    """Do one job; what the product understands of a failure is part of it."""
    settings = load_settings(order["settings"])
    now = datetime.fromisoformat(order["now"])
    async with Resources(settings, clock=lambda: now) as resources:
        try:
            await _handle(Work(**order["work"]), resources)
        except BitByLawError as error:
            sys.stderr.write(f"{error!r}\n")
        if order["cut"] is not None:
            die()  # at the latest before the engine hears that the job is done


async def _handle(job: Work, resources: Resources) -> None:
    match job.kind:
        case "CBeteiligte":
            event = SyncEvent.model_validate(job.event)
            await BeteiligteSync(resources=resources).handle(event)
        case "CBankverbindungen":
            event = SyncEvent.model_validate(job.event)
            await BankverbindungenSync(resources=resources).handle(event)
        case "check":
            await BeteiligteCheck(resources=resources).run(_enqueue)
        case "calendar":
            sync = CalendarSync(resources=resources)
            await sync.sync_employee(job.event["kuerzel"], full_content=True)
        case _:
            raise ValueError(job.kind)


async def _enqueue(_message: Any) -> None:
    """The engine takes it; what is in the queue the next cron enqueues again."""


def _be_worker(order: Mapping[str, Any]) -> None:
    notes = Path(order["notes"])

    def note(site: str) -> None:
        with notes.open("a") as file:
            file.write(f"{site}\n")

    cut = None if order["cut"] is None else Cut(**order["cut"])
    Watch(cut, note).install()
    signal.alarm(SECONDS)
    asyncio.run(work(order))


def main() -> None:
    """Start a worker for each line, and say how it has ended: 0, or minus the signal."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _be_worker(order)
                code = 0
            finally:
                sys.stderr.flush()
                if code:
                    sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


# -- in the tests ---------------------------------------------------------------------------------------------------


class Nursery:
    """Starts workers. ``folder`` is for what they note and say."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "writes.txt"
        self._errors = folder / "errors.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - this file
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONPATH": _python_path()},
            )

    async def work(
        self,
        job: Work,
        settings: Mapping[str, Any],
        now: datetime,
        cut: Cut | None = None,
    ) -> list[str]:
        """Let a worker do a job and, with a cut, die of it; the sites of its writes.

        Raises:
            AssertionError: it has ended otherwise.
        """
        self._notes.write_text("")
        order = {
            "work": asdict(job),
            "settings": dict(settings),
            "now": now.isoformat(),
            "cut": None if cut is None else asdict(cut),
            "notes": str(self._notes),
        }
        status = await asyncio.to_thread(self._ask, json.dumps(order, default=str))
        expected = 0 if cut is None else -signal.SIGKILL
        assert status == expected, f"{job}: {status}\n{self._errors.read_text()}"
        return self._notes.read_text().splitlines()

    def _ask(self, order: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _python_path() -> str:
    return os.pathsep.join([str(PROJECT_ROOT), str(Path(__file__).parent)])


if __name__ == "__main__":
    main()
