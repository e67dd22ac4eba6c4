"""Of part e: the calendars of a large firm under Google's quota; what would be waited for is skipped."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from benchmarks import firm, stack
from benchmarks.bench import START_SECONDS, Bench, column, folder, process
from benchmarks.stack import Stack
from cli import embedded
from cli.supervisor import wait_until_listening
from config import PROJECT_ROOT
from services.core.rate_limit import DEFAULT_RATE

EMPLOYEES = 50
APPOINTMENTS = 500
#: As many as a worker handles at once, see iii-config.yaml.
AT_ONCE = 10
#: What Google allows one account in a minute; we stay below.
GOOGLES_QUOTA = 600
SUBJECT = "calendar sync"
RUN_SECONDS = 500.0
ENTERED_AT_ONCE = 20


async def measure(bench: Bench) -> None:
    """Fill the calendars, then a sweep without changes."""
    employees = 3 if bench.small else EMPLOYEES
    size = bench.count(APPOINTMENTS)
    kuerzel = [f"M{number:02d}" for number in range(employees)]
    bench.say(f"{employees} employees with {size} appointments each")
    async with stack.running() as system, _advoware(kuerzel) as url:
        google = system.system.twins["google"]
        await system.twin("google", "POST", "/__sandbox__/reset", json={"empty": True})
        quota = {"per_minute": GOOGLES_QUOTA}
        await system.twin("google", "POST", "/__sandbox__/quota", json=quota)
        await _enter(url, kuerzel, size)
        environment = {
            **system.system.settings.environment(),
            "ADVOWARE_API_BASE_URL": url,
            "ADVOWARE_AUTH_URL": url,
            "ADVOWARE_CONFIGURATOR_URL": f"{url}/AdvonetConfigurator/api/Url",
        }
        order = {
            "environment": environment,
            "kuerzel": kuerzel,
            "at_once": AT_ONCE,
            "sweeps": 1 + bench.repeats,
            "google": google,
        }
        found = await stack.helper(
            "benchmarks.quota_run", json.dumps(order), RUN_SECONDS
        )
        refused = await _refused(system)
    what = f"{employees} employees x {size}, under Google's quota"
    for name, sweeps in (("first run", found[:1]), ("unchanged", found[1:])):
        _show(bench, f"{what}, {name}", sweeps)
    bench.add(f"{what}: calls that Google refused", SUBJECT, "", [refused])


def _show(bench: Bench, what: str, sweeps: list[dict[str, float]]) -> None:
    simulated = [seconds / 60 for seconds in column(sweeps, "simulated")]
    bench.add(f"{what}: simulated time", SUBJECT, "min", simulated)
    calls = column(sweeps, "calls")
    least = [
        max(0.0, number - DEFAULT_RATE.burst) / DEFAULT_RATE.per_second / 60
        for number in calls
    ]
    if max(least):
        bench.add(f"{what}: at least, by the quota", SUBJECT, "min", least)
    bench.add(f"{what}: calls to Google", SUBJECT, "", calls)
    bench.add(f"{what}: CPU", SUBJECT, "s", column(sweeps, "cpu"))


@asynccontextmanager
async def _advoware(kuerzel: list[str]) -> AsyncIterator[str]:
    """A twin with these employees; its URL."""
    port = embedded.free_port()
    arguments = ("--kuerzel", ",".join(kuerzel), "--port", str(port))
    async with (
        folder() as data,
        process(
            *(sys.executable, "-m", "benchmarks.quota_twin", *arguments),
            cwd=PROJECT_ROOT,
            environment={},
            log=data / "advoware.log",
        ),
    ):
        await wait_until_listening(port, START_SECONDS)
        yield f"http://127.0.0.1:{port}"


async def _enter(url: str, kuerzel: list[str], size: int) -> None:
    slots = asyncio.Semaphore(ENTERED_AT_ONCE)
    async with aiohttp.ClientSession(url) as session:

        async def one(employee: str, number: int) -> None:
            body = firm.termin(number, employee)
            async with (
                slots,
                session.post("/__sandbox__/termine", json=body) as answer,
            ):
                answer.raise_for_status()

        for employee in kuerzel:
            await asyncio.gather(*(one(employee, number) for number in range(size)))


async def _refused(system: Stack) -> int:
    """How often Google's twin has answered 403 or 429."""
    journal = await system.twin("google", "GET", "/__sandbox__/journal")
    return sum(entry["status"] in {403, 429} for entry in journal)
