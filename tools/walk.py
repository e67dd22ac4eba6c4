"""Follow one event of a Beteiligter and one calendar event through ``services/``: ``python tools/walk.py``.

A profiler notes each function that is entered while twins and real stores are at work, and this prints how many files
and functions an event goes through, and how often the next function is in another file. ``--calls`` prints the way
itself. A coroutine that goes on after a wait is not entered again, and functions without a name do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import aiohttp  # noqa: E402
import asyncpg  # noqa: E402
from beteiligte_office import Office  # noqa: E402
from calendar_office import CalendarOffice  # noqa: E402
from hasty_loop import hasty_runner  # noqa: E402
from servers import Stores  # noqa: E402

from cli import embedded  # noqa: E402
from cli.system import ESPOCRM_TWIN_KEY  # noqa: E402
from config import Settings, load_settings  # noqa: E402
from sandbox.advoware.app import AdvowareTwin  # noqa: E402
from sandbox.advoware.credentials import DEFAULT_CREDENTIALS  # noqa: E402
from sandbox.control import running  # noqa: E402
from sandbox.espocrm.access import ADMIN_ID  # noqa: E402
from sandbox.espocrm.app import EspoCRMTwin  # noqa: E402
from services.api import webhooks  # noqa: E402
from services.beteiligte_sync_utils import BeteiligteSync  # noqa: E402
from services.core.resources import Resources  # noqa: E402
from services.vmh_sync.job import parse_event  # noqa: E402

SERVICES = str(ROOT / "services")


@dataclass
class Walk:
    """The functions of ``services/`` that were entered, in order, as (file, function)."""

    steps: list[tuple[str, str]] = field(default_factory=list)
    _frames: dict[int, FrameType] = field(default_factory=dict)
    _is_on: bool = False

    def follow_new_threads(self) -> None:
        """Follow all threads that are started from now on, so that it does not matter which one does the work."""
        threading.setprofile(self.note)

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """What `sys.setprofile` calls."""
        if not self._is_on:
            return
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(SERVICES):
            return
        if code.co_name.startswith("<") or id(frame) in self._frames:
            return
        self._frames[id(frame)] = frame  # kept, so that its id is not given out again
        path = str(Path(code.co_filename).relative_to(ROOT))
        self.steps.append((path, code.co_qualname))

    def __enter__(self) -> Walk:
        self._is_on = True
        sys.setprofile(self.note)
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_on = False
        sys.setprofile(None)
        threading.setprofile(None)
        self._frames.clear()

    @property
    def files(self) -> int:
        """How many files it goes through."""
        return len({path for path, _ in self.steps})

    @property
    def functions(self) -> int:
        """How many functions it goes through."""
        return len(set(self.steps))

    @property
    def switches(self) -> int:
        """How often a reader goes on in another file, who follows a loop only once."""
        return len(set(self._switches()))

    @property
    def all_switches(self) -> int:
        """The same with each round of each loop."""
        return len(self._switches())

    def _switches(self) -> list[tuple[tuple[str, str], tuple[str, str]]]:
        return [pair for pair in pairwise(self.steps) if pair[0][0] != pair[1][0]]


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        """Move it on."""
        self.now += timedelta(**delta)


async def walk_beteiligter(stores: Any) -> Walk:
    """A person changes a last name in EspoCRM; its webhook and its sync, until the change is in Advoware."""
    clock = Clock()
    espocrm = EspoCRMTwin(empty=True, clock=clock, webhook_interval=0)
    advoware = AdvowareTwin(empty=True, clock=clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(espocrm))
        await stack.enter_async_context(running(advoware))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = await _settings(stores, advoware, espocrm)
        resources = await stack.enter_async_context(Resources(settings, clock=clock))
        office = Office(resources, espocrm, advoware, session, clock)
        entity_id, betnr = await office.linked_person()
        await office.edit_espocrm(entity_id, lastName="Neu")
        return await _walk_event(office, entity_id, betnr)


async def _walk_event(office: Office, entity_id: str, betnr: int) -> Walk:
    """The way from the webhook's body to Advoware, without the queue between the two steps."""
    waiting: list[dict[str, Any]] = []

    async def enqueue(event: dict[str, Any]) -> None:
        waiting.append(event["data"])

    request = SimpleNamespace(
        body=[{"id": entity_id}],
        query_params={},
        headers={},
        path_params={},
    )
    here = patch.object(webhooks, "current_resources", lambda: office.resources)
    with here, Walk() as walk:
        status, body = await webhooks.receive_batch(
            request,
            enqueue,
            topic="vmh.beteiligte.update",
            action="update",
            context=None,
        )
        assert status == 200, body  # noqa: S101 - else the walk is not worth printing
        event = parse_event(waiting.pop())
        await BeteiligteSync(resources=office.resources).handle(event)
    assert office.in_advoware(betnr)["name"] == "Neu"  # noqa: S101 - else the walk is not worth printing
    return walk


async def _settings(
    stores: Any,
    advoware: AdvowareTwin,
    espocrm: EspoCRMTwin,
) -> Settings:
    """Settings for these servers, in a database of their own."""
    postgres, redis, login = stores.postgres, stores.redis, DEFAULT_CREDENTIALS
    admin = await asyncpg.connect(
        host=postgres.host,
        user=postgres.user,
        database="postgres",
    )
    await admin.execute("CREATE DATABASE walk")
    await admin.close()
    return load_settings(
        {
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_USER": postgres.user,
            "POSTGRES_DB_NAME": "walk",
            "REDIS_HOST": redis.host,
            "REDIS_PORT": redis.port,
            "REDIS_PASSWORD": redis.password,
            "ADVOWARE_API_BASE_URL": advoware.url,
            "ADVOWARE_AUTH_URL": advoware.url,
            "ADVOWARE_CONFIGURATOR_URL": f"{advoware.url}/AdvonetConfigurator/api/Url",
            "ADVOWARE_APP_ID": login.app_id,
            "ADVOWARE_API_KEY": login.api_key,
            "ADVOWARE_KANZLEI": login.kanzlei,
            "ADVOWARE_DATABASE": login.database,
            "ADVOWARE_USER": login.user,
            "ADVOWARE_PASSWORD": login.password,
            "ESPOCRM_API_BASE_URL": f"{espocrm.url}/api/v1",
            "ESPOCRM_MARVIN_API_KEY": ESPOCRM_TWIN_KEY,
            "VMH_TASK_ASSIGNED_USER_ID": ADMIN_ID,
            "BITBYLAW_TWINS": f"{advoware.url},{espocrm.url}/api/v1,"
            f"{advoware.url}/AdvonetConfigurator/api/Url",
        },
    )


def walk_calendar(stores: Any, folder: Path) -> Walk:
    """An appointment is changed in Advoware; the run that brings the change to Google."""
    walk = Walk()
    # Clients keep their threads, so it has to be before the first run.
    walk.follow_new_threads()
    with hasty_runner() as runner:
        office = CalendarOffice(stores, folder, runner)
        runner.run(office.open())
        try:
            runner.run(_walk_termin(office, walk))
        finally:
            runner.run(office.close())
    return walk


async def _walk_termin(office: CalendarOffice, walk: Walk) -> None:
    await office.reopen()
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.change_termin(fr_nr, text="Verhandlung, Saal 2")
    with walk:
        await office.sync()
    assert office.copy(fr_nr)["summary"] == "Verhandlung, Saal 2"  # noqa: S101 - else the walk is not worth printing


async def _with_stores(folder: Path, work: Callable[[Any], Awaitable[None]]) -> None:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(embedded.postgres(folder / "pg"))
        redis = await stack.enter_async_context(embedded.redis(folder / "redis"))
        stores = Stores(postgres, redis)
        await stores.prepare()
        await work(stores)


def main() -> None:
    """Print the figures as rows of markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", action="store_true", help="print the way itself")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bbl-walk-"))
    walks: dict[str, Walk] = {}

    async def work(stores: Any) -> None:
        walks["Beteiligter: webhook to Advoware and back"] = await walk_beteiligter(
            stores,
        )
        calendar = asyncio.to_thread(walk_calendar, stores, folder / "calendar")
        walks["calendar: a changed Termin to Google"] = await calendar

    try:
        asyncio.run(_with_stores(folder, work))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| event | files | functions | switches between files | with all loops |")
    print("|---|---|---|---|---|")
    for name, walk in walks.items():
        numbers = (walk.files, walk.functions, walk.switches, walk.all_switches)
        print(f"| {name} | {' | '.join(map(str, numbers))} |")
    print("| goal | <= 20 | <= 150 | <= 220 | - |")
    if arguments.calls:
        for name, walk in walks.items():
            print(f"\n{name}")
            for path, function in walk.steps:
                print(f"  {path:45} {function}")


if __name__ == "__main__":
    main()
