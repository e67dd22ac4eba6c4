"""Part g: about a day's work of a firm for one worker, in a few minutes: does its memory level off?"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from benchmarks import beteiligte, calendar, firm, machine, stack
from benchmarks.bench import Bench
from benchmarks.load import Order
from benchmarks.stack import TOKEN, Stack

ROUNDS = 10
#: Records whose webhooks come again and again; half of them are edited in each round.
RECORDS = 500
WEBHOOK_SECONDS = 6.0
CLIENTS = 8
APPOINTMENTS = 1_000
CALENDAR_RUNS = 10
SECONDS = 120.0
PARTS = ("worker", "engine", "board")
SUBJECT = "one worker"
CONSOLE = "/_console"


async def measure(bench: Bench) -> None:
    """Rounds of webhooks, syncs with and without changes, runs of a calendar and all crons."""
    async with stack.running() as system:
        bench.say("making records and appointments, and syncing them once")
        await calendar.emptied(system)
        ids = await firm.people(system, bench.count(RECORDS))
        numbers = await calendar.enter(system, bench.count(APPOINTMENTS))
        await calendar.runs(system, 1)
        before = await firm.syncs(system)
        memory = Memory(system)
        webhooks = 0
        for number in range(3 if bench.small else ROUNDS):
            webhooks += await _round(bench, system, number, ids, numbers)
            memory.sample()
            megabytes = memory.rounds["worker"][-1]
            bench.say(f"round {number + 1}: worker {megabytes:.1f} MB")
        syncs = await firm.syncs(system) - before
        bench.add("day: webhooks", SUBJECT, "", [webhooks])
        bench.add("day: syncs of Beteiligte", SUBJECT, "", [syncs])
        runs = len(memory.rounds["worker"]) * CALENDAR_RUNS
        bench.add(f"day: runs of a calendar of {len(numbers):,}", SUBJECT, "", [runs])
        memory.show(bench)


class Memory:
    """What the parts have in memory (MB) after each round."""

    def __init__(self, system: Stack) -> None:
        self._system = system
        self.rounds: dict[str, list[float]] = {name: [] for name in PARTS}
        self._start = self._now()

    def sample(self) -> None:
        """A round has ended."""
        for name, megabytes in self._now().items():
            self.rounds[name].append(megabytes)

    def show(self, bench: Bench) -> None:
        """Each part before the first round, after the first, in the middle, at the end, and at most."""
        for name, values in self.rounds.items():
            moments = {
                "before": self._start[name],
                "after the first tenth": values[0],
                "in the middle": values[len(values) // 2],
                "at the end": values[-1],
                "at most": max(values),
            }
            for moment, megabytes in moments.items():
                bench.add(f"day: memory {moment}", name, "MB", [megabytes])

    def _now(self) -> dict[str, float]:
        return {name: machine.memory(self._system.pid(name)) for name in PARTS}


async def _round(
    bench: Bench, system: Stack, number: int, ids: list[str], numbers: list[int]
) -> int:
    """A tenth of the day; returns how many webhooks there were."""
    await beteiligte.change(system, ids[number % 2 :: 2], f"Runde {number}")
    url = f"{system.system.http_url}/vmh/webhook/beteiligte/update?token={TOKEN}"
    seconds = bench.seconds(WEBHOOK_SECONDS)
    order = Order(url=url, batch=1, ids=ids, clients=CLIENTS, seconds=seconds)
    sent = await stack.load(order)
    for repetition in range(CALENDAR_RUNS):
        if repetition == 0:
            await calendar.change(system, numbers, f"Runde {number}")
        await _calendar_run(system)
    await _crons(system)
    await _until_quiet(system)
    return round(sent["count"])


async def _calendar_run(system: Stack) -> None:
    """One run of the employee's calendar in the worker, to its end."""
    query = "SELECT ended_at FROM calendar_sync_run WHERE employee_kuerzel = $1"
    earlier = await system.audit.fetchval(query, calendar.KUERZEL)
    url = f"{system.system.http_url}/advoware/calendar/sync"
    body = {"kuerzel": calendar.KUERZEL}

    async def has_started() -> bool:
        async with system.session.post(url, json=body) as answer:
            return answer.status == 200  # 409: a cron's run is under way

    async def has_ended() -> bool:
        return bool(await system.audit.fetchval(query, calendar.KUERZEL) != earlier)

    await stack.until(has_started, SECONDS)
    await stack.until(has_ended, SECONDS)


async def _crons(system: Stack) -> None:
    """Let every cron run now."""
    base = f"{system.system.http_url}{CONSOLE}"
    async with system.session.get(f"{base}/triggers") as answer:
        answer.raise_for_status()
        triggers = (await answer.json())["triggers"]
    for trigger in triggers:
        if trigger["trigger_type"] != "cron":
            continue
        body = {"function_id": trigger["function_id"]}
        async with system.session.post(f"{base}/cron/trigger", json=body) as answer:
            answer.raise_for_status()


async def _until_quiet(system: Stack) -> None:
    """Wait until nothing has been synced for a second."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            earlier = -1
            while (now := await firm.syncs(system)) != earlier:
                earlier = now
                await asyncio.sleep(1.0)
