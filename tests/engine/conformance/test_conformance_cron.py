"""Cron triggers on every engine, by the clock on the wall: six fields, seconds first."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from engine_harness import CallError, NewWorker, Recorder, eventually
from engines_under_test import EngineUnderTest

EVERY_SECOND = {"expression": "* * * * * *"}


async def test_a_trigger_fires_every_second_with_its_payload(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    tick, never = Recorder(), Recorder()
    worker = new_worker(target).on("tick", tick).on("never", never)
    worker.trigger("cron", "tick", EVERY_SECOND, "t").trigger(
        "cron", "never", {"expression": "*/15 * * * *"}
    )
    await worker.trigger("cron", "never", {"expression": "0 0 0 30 2 *"}).start()
    gaps: set[float] = set()
    while 1 not in gaps and len(tick.data) < 20:  # a busy machine may miss a second
        payloads = await tick.wait(len(tick.data) + 2)
        scheduled = [
            datetime.fromisoformat(payload["scheduled_time"]) for payload in payloads
        ]
        gaps = {(later - one).total_seconds() for one, later in pairwise(scheduled)}
    assert {(payload["trigger"], payload["job_id"]) for payload in payloads} == {
        ("cron", "t")
    }
    assert {moment.microsecond for moment in scheduled} == {0}
    assert {moment.utcoffset() for moment in scheduled} == {timedelta(0)}
    assert min(gaps) == 1
    assert never.data == []


async def test_runs_of_one_trigger_do_not_overlap_and_a_failure_does_not_end_the_schedule(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    running: list[int] = []
    runs = 0

    async def slow(_data: Any) -> None:
        nonlocal runs
        runs += 1
        running.append(runs)
        assert len(running) == 1
        await asyncio.sleep(1.2)
        running.clear()
        raise CallError("invocation_failed")

    worker = (
        await new_worker(target)
        .on("slow", slow)
        .trigger("cron", "slow", EVERY_SECOND)
        .start()
    )

    async def finished() -> int:
        return len(worker.received)

    await eventually(finished, lambda count: count >= 2)


async def test_the_schedule_ends_with_its_worker(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    first, second = Recorder(), Recorder()
    worker = (
        await new_worker(target)
        .on("tick", first)
        .trigger("cron", "tick", EVERY_SECOND, "t")
        .start()
    )
    await first.wait(1)
    await worker.crash()
    before = len(first.data)
    await (
        new_worker(target)
        .on("tick", second)
        .trigger("cron", "tick", EVERY_SECOND, "t")
        .start()
    )
    assert len(await second.wait(2)) == 2
    assert len(first.data) == before


async def test_two_workers_with_the_same_cron_step(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    """Each registration fires: the steps have to make sure themselves that one run does the work."""
    tick = Recorder()
    for trigger_id in ("one", "two"):
        await (
            new_worker(target)
            .on("tick", tick)
            .trigger("cron", "tick", EVERY_SECOND, trigger_id)
            .start()
        )
    payloads = await tick.wait(4)
    assert {payload["job_id"] for payload in payloads} == {"one", "two"}
