"""Sweeps of many calendars under Google's quota, with a simulated clock: ``python -m benchmarks.quota_run``.

The order on standard input: ``{"environment": the settings, "kuerzel": [...], "at_once", "sweeps", "google": URL of the
twin}``. Where a worker would wait for the rate limit, the clock, also the twin's, goes on by as much, so that the twin
counts calls as Google would. Prints for each sweep ``{"simulated", "seconds", "cpu", "calls"}`` (times in seconds).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any

import aiohttp

from config import load_settings
from services import google_calendar
from services.calendar_sync.run import CalendarSync
from services.core.rate_limit import DEFAULT_RATE
from services.core.resources import Resources

#: The twin's clock is at most so far behind (s).
BEHIND = 1.0


class SimulatedLimit:
    """The rule of `rate_limit`, on a clock that skips what would have been waited for.

    While one call skips, others really work, so that the simulated time is no less than that of a worker.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.calls = 0
        self._session = session
        self._skipped = self._known_to_twin = 0.0
        self._full = 0.0
        self._moments: deque[float] = deque(maxlen=DEFAULT_RATE.per_minute)

    def now(self) -> float:
        """The simulated time (s)."""
        return time.monotonic() + self._skipped

    async def acquire(self, _resources: Resources, _name: str, **_options: Any) -> None:
        """Book the next free moment, and be there."""
        self.calls += 1
        self._skipped += max(0.0, self._book() - self.now())
        behind = self._skipped - self._known_to_twin
        if behind >= BEHIND:
            self._known_to_twin = self._skipped
            body = {"advance_seconds": behind}
            async with self._session.post("/__sandbox__/clock", json=body) as answer:
                answer.raise_for_status()

    def _book(self) -> float:
        interval = 1 / DEFAULT_RATE.per_second
        now = self.now()
        full = max(now, self._full)
        moment = max(now, full - (DEFAULT_RATE.burst - 1) * interval)
        if len(self._moments) == DEFAULT_RATE.per_minute:
            moment = max(moment, self._moments[0] + 60)
        self._full = max(full, moment) + interval
        self._moments.append(moment)
        return moment


async def run(order: dict[str, Any]) -> list[dict[str, float]]:
    """Sync all calendars, so many at once, and again."""
    settings = load_settings(order["environment"], env_file=None)
    found = []
    async with (
        Resources(settings) as resources,
        aiohttp.ClientSession(order["google"]) as session,
    ):
        limit = SimulatedLimit(session)
        vars(google_calendar)["acquire"] = limit.acquire
        for _ in range(order["sweeps"]):
            calls, began = limit.calls, limit.now()
            started, used = time.perf_counter(), time.process_time()
            await sweep(resources, order["kuerzel"], order["at_once"])
            found.append(
                {
                    "simulated": limit.now() - began,
                    "seconds": time.perf_counter() - started,
                    "cpu": time.process_time() - used,
                    "calls": limit.calls - calls,
                }
            )
    return found


async def sweep(resources: Resources, kuerzel: list[str], at_once: int) -> None:
    """One run of each calendar. Raises ValueError: one did not end well."""
    slots = asyncio.Semaphore(at_once)

    async def one(employee: str) -> None:
        async with slots:
            summary = await CalendarSync(resources=resources).sync_employee(employee)
        if summary.errors or summary.unreadable:
            raise ValueError(f"{employee} ended {summary.result}: {summary.errors}")

    await asyncio.gather(*(one(employee) for employee in kuerzel))


if __name__ == "__main__":
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
