"""Runs of one calendar's sync in a process of its own: ``python -m benchmarks.calendar_run``.

The order on standard input: ``{"environment": the settings, "kuerzel", "runs"}``. Prints for each run ``{"seconds",
"cpu", "memory"}``, the first being that of a worker that has just started. Waits for Google's quota are left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from functools import partial
from typing import Any

from benchmarks import machine
from config import load_settings
from services import google_calendar
from services.calendar_sync.run import CalendarSync
from services.core.rate_limit import Rate, acquire
from services.core.resources import Resources

UNLIMITED = Rate(per_second=100_000, burst=100_000, per_minute=100_000)


async def run(order: dict[str, Any]) -> list[dict[str, float]]:
    """Sync the calendar so many times."""
    settings = load_settings(order["environment"], env_file=None)
    found = []
    async with Resources(settings) as resources:
        for _ in range(order["runs"]):
            started, used = time.perf_counter(), time.process_time()
            summary = await CalendarSync(resources=resources).sync_employee(
                order["kuerzel"]
            )
            if summary.errors or summary.unreadable:
                raise ValueError(f"the run ended {summary.result}: {summary.errors}")
            seconds = time.perf_counter() - started
            cpu = time.process_time() - used
            memory = machine.memory(os.getpid())
            found.append({"seconds": seconds, "cpu": cpu, "memory": memory})
    return found


if __name__ == "__main__":
    vars(google_calendar)["acquire"] = partial(acquire, rate=UNLIMITED)
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)
