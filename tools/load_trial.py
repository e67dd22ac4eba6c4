"""A burst of events on two workers while foreign systems are slow and failing: what arrives, how fast, at what cost.

Usage: ``.venv/bin/python tools/load_trial.py [--events 10000] [--records 300] [--slow 2] [--failing 0.3]``, also
``make load``. Exit status 0: every record is synced once on both sides, no event was refused, the slowest webhook of a
hundred took less than `WEBHOOK_SECONDS`, and nothing is left in the queue.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "e2e"))

from outside import Outside, outside

from cli.supervisor import Supervised

#: EspoCRM gives up after 10 s; a fifth of that is our limit.
WEBHOOK_SECONDS = 2.0
#: As many requests as EspoCRM's jobs send side by side, and records per request.
CLIENTS = 16
BATCH = 10
SAMPLE_SECONDS = 1.0
DEADLINE_SECONDS = 3600.0
NAME = "Ansturm"
CRON = "Beteiligte"
FAILING = ("advoware", "espocrm")


@dataclass
class Memory:
    """The resident memory of the processes, in MB: at the start and the most that was found."""

    first: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)

    def look(self, processes: dict[str, int]) -> None:
        """Note what each process (by name, with its id) holds now."""
        for name, pid in processes.items():
            held = _resident_mb(pid)
            if held is None:
                continue
            self.first.setdefault(name, held)
            self.most[name] = max(held, self.most.get(name, 0.0))


def _resident_mb(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:  # it has just ended
        return None
    for line in lines:
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return None


class Trial:
    """The burst, step by step; ``failures`` are what must not be."""

    def __init__(
        self,
        system: Outside,
        second: Supervised,
        dice: random.Random,
    ) -> None:
        self.system = system
        self.second = second
        self.dice = dice
        self.memory = Memory()
        self.seconds: list[float] = []
        self.failures: list[str] = []

    async def play(
        self,
        events: int,
        records: int,
        slow: float,
        failing: float,
    ) -> None:
        """Send all events, stop and start both workers meanwhile, wait for rest, compare both sides."""
        people = [
            await self.system.person(lastName=NAME, firstName=f"Nr{number}")
            for number in range(records)
        ]
        await self._trouble(slow, failing)
        watching = asyncio.create_task(self._watch())
        started = time.monotonic()
        burst = asyncio.create_task(self._burst(people, events))
        await asyncio.sleep(SAMPLE_SECONDS)
        await self._stop_and_start()
        await burst
        sent = time.monotonic() - started
        await self._rest(people)
        rested = time.monotonic() - started
        watching.cancel()
        await self._compare(people)
        self._report(events, sent, rested)

    async def _trouble(self, slow: float, failing: float) -> None:
        latency = {"path": "/api/", "latency_ms": round(slow * 1000)}
        failure = {**latency, "status": 503, "probability": failing}
        for name in FAILING:
            await self.system.twin(
                name,
                "POST",
                "/__sandbox__/faults",
                json=[failure, latency],
            )

    async def _burst(self, people: list[str], events: int) -> None:
        batches = [self.dice.choices(people, k=BATCH) for _ in range(events // BATCH)]
        waiting = iter(batches)
        # Each record is named at least once.
        last = [people[start : start + BATCH] for start in range(0, len(people), BATCH)]
        await asyncio.gather(*(self._client(waiting) for _ in range(CLIENTS)))
        await self._client(iter(last))

    async def _client(self, batches: Iterator[list[str]]) -> None:
        for batch in batches:
            action = self.dice.choice(("create", "update", "update"))
            await self._send(action, batch)

    async def _send(self, action: str, batch: list[str]) -> None:
        """One webhook; EspoCRM would send it again after a 503, as its queue does."""
        while True:
            started = time.monotonic()
            status, _ = await self.system.webhook(action, *batch)
            self.seconds.append(time.monotonic() - started)
            if status == 200:
                return
            if status != 503:
                self.failures.append(f"a webhook was answered {status}")
                return
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _stop_and_start(self) -> None:
        """End the workers one after the other in the middle of their work, as a deployment does."""
        first = self.system.system.processes["worker"]
        for worker in (self.second, first):
            started = time.monotonic()
            await worker.stop()
            sys.stdout.write(
                f"{worker.program.name} ended in {time.monotonic() - started:.1f} s\n",
            )
            await worker.start()

    async def _watch(self) -> None:
        while True:
            self.memory.look(self._processes())
            await asyncio.sleep(SAMPLE_SECONDS)

    def _processes(self) -> dict[str, int]:
        supervised = {**self.system.system.processes, "worker-2": self.second}
        return {
            name: one.pid for name, one in supervised.items() if one.pid is not None
        }

    async def _rest(self, people: list[str]) -> None:
        """Wait until nothing is queued; then end the trouble, and let the crons find what has failed."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._until_idle()
            sys.stdout.write(f"failed so far: {await self._unsynced(people)}\n")
            sys.stdout.flush()
            for name in FAILING:
                await self.system.twin(name, "DELETE", "/__sandbox__/faults")
            while await self._unsynced(people):
                await self._trigger_crons()
                await asyncio.sleep(10 * SAMPLE_SECONDS)
                await self._until_idle()

    async def _until_idle(self) -> None:
        while True:
            counts = await self._counts()
            if not (counts["waiting"] or counts["active"] or counts["delayed"]):
                return
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _trigger_crons(self) -> None:
        """Time would; every quarter of an hour."""
        _, listed = await self.system.call("GET", "/_console/triggers")
        for trigger in listed["triggers"]:
            if trigger["trigger_type"] == "cron" and CRON in trigger["function_id"]:
                body = {"trigger_id": trigger["id"]}
                await self.system.call("POST", "/_console/cron/trigger", json=body)

    async def _counts(self) -> Counter[str]:
        _, queues = await self.system.call("GET", "/_console/queues")
        counts: Counter[str] = Counter()
        for entry in queues["topics"]:
            for name in ("waiting", "active", "delayed", "dead"):
                counts[name] += entry[name]
        return counts

    async def _unsynced(self, people: list[str]) -> int:
        state = await self._records(people)
        return sum(record["syncStatus"] != "clean" for record in state)

    async def _records(self, people: list[str]) -> list[dict[str, Any]]:
        """The records as they are in the twin, without its latency."""
        state = await self.system.twin("espocrm", "GET", "/__sandbox__/state")
        wanted = set(people)
        return [one for one in state["records"]["CBeteiligte"] if one["id"] in wanted]

    async def _compare(self, people: list[str]) -> None:
        counts = await self._counts()
        records = await self._records(people)
        numbers = [record["betnr"] for record in records]
        rows = [row["betNr"] for row in await self.system.advoware_named(NAME)]
        self._require(len(set(numbers)) == len(people), "records share a Beteiligter")
        self._require(sorted(rows) == sorted(numbers), "doubled or lost in Advoware")
        self._require(counts["dead"] == 0, f"{counts['dead']} dead letters")
        self._require(
            self._percentile(99) < WEBHOOK_SECONDS,
            "webhooks are answered too late",
        )

    def _percentile(self, percent: int) -> float:
        return statistics.quantiles(self.seconds, n=100)[percent - 1]

    def _require(self, is_well: bool, failure: str) -> None:
        if not is_well:
            self.failures.append(failure)

    def _report(self, events: int, sent: float, rested: float) -> None:
        sys.stdout.write(
            f"{events} events in {len(self.seconds)} requests: taken in {sent:.1f} s, all synced after {rested:.0f} s\n"
            f"webhook: p50 {self._percentile(50) * 1000:.0f} ms, p99 {self._percentile(99) * 1000:.0f} ms,"
            f" slowest {max(self.seconds) * 1000:.0f} ms\n",
        )
        for name, most in sorted(self.memory.most.items()):
            sys.stdout.write(
                f"{name}: {self.memory.first[name]:.0f} MB at the start, at most {most:.0f} MB\n",
            )
        for failure in self.failures:
            sys.stdout.write(f"FAILED: {failure}\n")


@asynccontextmanager
async def _second_worker(system: Outside) -> AsyncIterator[Supervised]:
    first = system.system.processes["worker"].program
    second = Supervised(replace(first, name="worker-2"), system.system.data / "log")
    await second.start()
    try:
        yield second
    finally:
        await second.stop()


async def _main(given: argparse.Namespace) -> int:
    async with outside() as system, _second_worker(system) as second:
        trial = Trial(system, second, random.Random(given.seed))  # noqa: S311 - repeatable
        await trial.play(given.events, given.records, given.slow, given.failing)
    sys.stdout.write("load: " + ("failed\n" if trial.failures else "ok\n"))
    return 1 if trial.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--slow", type=float, default=2.0, help="seconds per answer")
    parser.add_argument("--failing", type=float, default=0.3, help="share of answers")
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(asyncio.run(_main(parser.parse_args())))
