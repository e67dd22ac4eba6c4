"""The cron dialect, against a naive evaluator, and the cron trigger with a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from engine_harness import (
    CallError,
    ScriptedWorker,
    Target,
    console,
    eventually,
    request,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from local_engine.cron import CronSyntaxError, Schedule
from local_engine.server import Engine

NewWorker = Callable[[Target], ScriptedWorker]
START = datetime(2024, 2, 28, 23, 59, 50, tzinfo=UTC)


class ManualClock:
    """A clock that moves only when it is moved."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._moved = asyncio.Event()
        #: Who sleeps since the clock was moved last.
        self.sleepers = 0

    def now(self) -> datetime:
        """Return the current time."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has moved."""
        self.sleepers += 1
        await self._moved.wait()

    def advance(self, **delta: float) -> None:
        """Move forward."""
        self._now += timedelta(**delta)
        self.sleepers = 0
        self._moved.set()
        self._moved = asyncio.Event()


@pytest.fixture
def clock() -> ManualClock:
    """A clock at START."""
    return ManualClock(START)


@pytest.fixture
async def target(database_url: str, clock: ManualClock) -> AsyncIterator[Target]:
    """An engine on that clock."""
    async with Engine(database_url, clock=clock).running() as engine:
        yield Target(engine.http_url, engine.ws_url)


def moments(expression: str, start: datetime, count: int) -> list[str]:
    """Return the next times of an expression as text."""
    schedule, found = Schedule.parse(expression), []
    current: datetime | None = start
    for _ in range(count):
        assert current is not None
        current = schedule.next_after(current)
        found.append(current.strftime("%Y-%m-%d %H:%M:%S") if current else "never")
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */15 * * * *", ["2024-02-29 00:00:00", "2024-02-29 00:15:00"]),
        ("*/20 * * * * *", ["2024-02-29 00:00:00", "2024-02-29 00:00:20"]),
        (
            "5/25 0 0 * * *",
            ["2024-02-29 00:00:05", "2024-02-29 00:00:30", "2024-02-29 00:00:55"],
        ),
        (
            "0 0 9-17/4 ? * MON-FRI",
            ["2024-02-29 09:00:00", "2024-02-29 13:00:00", "2024-02-29 17:00:00"],
        ),
        ("0 0 0 * * 1", ["2024-03-03 00:00:00"]),
        ("0 0 0 * * sunday,THURS", ["2024-02-29 00:00:00", "2024-03-03 00:00:00"]),
        ("0 0 0 13 * 6", ["2024-09-13 00:00:00", "2024-12-13 00:00:00"]),
        ("0 0 0 29 feb *", ["2024-02-29 00:00:00", "2028-02-29 00:00:00"]),
        (
            "0 0 0 1 1 * 2026,2030",
            ["2026-01-01 00:00:00", "2030-01-01 00:00:00", "never"],
        ),
        ("@weekly", ["2024-03-03 00:00:00"]),
        ("@hourly", ["2024-02-29 00:00:00", "2024-02-29 01:00:00"]),
        ("@Yearly", ["2025-01-01 00:00:00"]),
    ],
)
def test_expressions_fire_when_they_should(
    expression: str, expected: list[str]
) -> None:
    assert moments(expression, START, len(expected)) == expected


def test_what_never_comes_never_fires() -> None:
    assert Schedule.parse("0 0 0 30 2 *").next_after(START) is None
    assert Schedule.parse("0 0 0 1 1 * 2023").next_after(START) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * * *",
        "* * * * * * * *",
        "60 * * * * *",
        "* 60 * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * 32 * *",
        "* * * * 13 *",
        "* * * * * 0",
        "* * * * * 8",
        "* * * * * * 1969",
        "*/0 * * * * *",
        "*/60 * * * * *",
        "? * * * * *",
        "* * * L * *",
        "* * * * * 2#1",
        "* * * 15W * *",
        "30-10 * * * * *",
        "1,,2 * * * * *",
        "1- * * * * *",
        "-1 * * * * *",
        "1/2/3 * * * * *",
        "* * * * foo *",
        "\u0661 * * * * *",
        "@reboot",
    ],
)
def test_what_is_not_in_the_dialect_is_refused(expression: str) -> None:
    with pytest.raises(CronSyntaxError):
        Schedule.parse(expression)


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """Return texts of a cron field together with the values they stand for, worked out independently."""
    everything = frozenset(range(low, high + 1))
    number = st.integers(low, high)
    single = number.map(lambda n: (str(n), frozenset({n})))
    span = (
        st.tuples(number, number)
        .map(sorted)
        .map(lambda p: (f"{p[0]}-{p[1]}", frozenset(range(p[0], p[1] + 1))))
    )
    star_step = st.integers(1, high).map(
        lambda s: (f"*/{s}", frozenset(v for v in everything if (v - low) % s == 0))
    )
    from_step = st.tuples(number, st.integers(1, high)).map(
        lambda p: (
            f"{p[0]}/{p[1]}",
            frozenset(v for v in everything if v >= p[0] and (v - p[0]) % p[1] == 0),
        )
    )
    item = single | span | star_step | from_step
    items = st.lists(item, min_size=1, max_size=3).map(
        lambda parts: (
            ",".join(text for text, _ in parts),
            frozenset().union(*(values for _, values in parts)),
        )
    )
    return st.just(("*", everything)) | items


FIELDS = st.tuples(
    field(0, 59), field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(1, 7)
)


@settings(max_examples=150, deadline=None)
@given(
    fields=FIELDS,
    start=st.datetimes(datetime(2023, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 - made aware below
    seconds=st.integers(1, 4_000),
)
def test_no_time_fires_that_a_naive_evaluator_does_not_know_and_none_is_missed(
    fields: Any, start: datetime, seconds: int
) -> None:
    start = start.replace(tzinfo=UTC)
    second, minute, hour, day, month, weekday = (values for _, values in fields)

    def fires(moment: datetime) -> bool:
        return (
            moment.second in second
            and moment.minute in minute
            and moment.hour in hour
            and moment.day in day
            and moment.month in month
            and int(moment.strftime("%w")) + 1 in weekday
        )

    found = Schedule.parse(" ".join(text for text, _ in fields)).next_after(start)
    first = start.replace(microsecond=0) + timedelta(seconds=1)
    naive = next(
        (t for t in (first + timedelta(seconds=n) for n in range(seconds)) if fires(t)),
        None,
    )
    if naive is not None:
        assert found == naive
    else:
        assert found is None or (
            found >= first + timedelta(seconds=seconds) and fires(found)
        )


async def fire_count(worker: ScriptedWorker, function_id: str, count: int) -> list[Any]:
    """Wait until a function was called this often; returns the payloads."""

    async def payloads() -> list[Any]:
        return [data for called, data in worker.received if called == function_id]

    return await eventually(payloads, lambda observed: len(observed) >= count)


async def test_a_trigger_fires_on_time_with_its_payload_and_does_not_catch_up(
    target: Target, new_worker: NewWorker, clock: ManualClock
) -> None:
    async def tick(_data: Any) -> None:
        return None

    worker = (
        await new_worker(target)
        .on("tick", tick)
        .trigger("cron", "tick", {"expression": "0 * * * * *"}, "t")
        .start()
    )

    async def asleep() -> int:
        return clock.sleepers

    await eventually(asleep, bool)
    clock.advance(seconds=9)
    await eventually(asleep, bool)
    assert worker.received == []
    clock.advance(seconds=1)
    payloads = await fire_count(worker, "tick", 1)
    midnight = "2024-02-29T00:00:00+00:00"
    assert payloads[0] == {
        "trigger": "cron",
        "job_id": "t",
        "scheduled_time": midnight,
        "actual_time": midnight,
    }
    await eventually(asleep, bool)
    clock.advance(minutes=5)
    payloads = await fire_count(worker, "tick", 2)
    await eventually(asleep, bool)
    assert [payload["scheduled_time"][11:19] for payload in payloads] == [
        "00:00:00",
        "00:01:00",
    ]
    clock.advance(minutes=1)
    assert (await fire_count(worker, "tick", 3))[2]["scheduled_time"][
        11:19
    ] == "00:06:00"


async def test_runs_of_one_trigger_do_not_overlap_and_a_failure_does_not_end_the_schedule(
    target: Target, new_worker: NewWorker, clock: ManualClock
) -> None:
    gate = asyncio.Event()

    async def slow(_data: Any) -> None:
        await gate.wait()
        raise CallError("invocation_failed")

    worker = (
        await new_worker(target)
        .on("slow", slow)
        .trigger("cron", "slow", {"expression": "* * * * * *"})
        .start()
    )

    async def asleep() -> int:
        return clock.sleepers

    await eventually(asleep, bool)
    clock.advance(seconds=1)
    await fire_count(worker, "slow", 1)
    clock.advance(seconds=10)
    assert await worker.call("state::list_groups", {}) == {"groups": []}
    assert len(worker.received) == 1
    gate.set()
    await eventually(asleep, bool)
    clock.advance(seconds=1)
    await fire_count(worker, "slow", 2)


async def test_a_condition_can_block_a_run(
    target: Target, new_worker: NewWorker, clock: ManualClock
) -> None:
    async def no(_data: Any) -> bool:
        return False

    worker = new_worker(target).on("f", no).on("condition", no)
    await worker.trigger(
        "cron", "f", {"expression": "* * * * * *", "_condition_path": "condition"}
    ).start()

    async def asleep() -> int:
        return clock.sleepers

    for _ in range(2):
        await eventually(asleep, bool)
        clock.advance(seconds=1)
    await fire_count(worker, "condition", 2)
    assert {called for called, _ in worker.received} == {"condition"}


async def test_the_schedule_ends_with_its_worker(
    target: Target, new_worker: NewWorker, clock: ManualClock
) -> None:
    async def tick(_data: Any) -> None:
        return None

    worker = (
        await new_worker(target)
        .on("tick", tick)
        .trigger("cron", "tick", {"expression": "* * * * * *"})
        .start()
    )

    async def asleep() -> int:
        return clock.sleepers

    async def triggers() -> Any:
        return (await console(target, "GET", "triggers"))["triggers"]

    await eventually(asleep, bool)
    await worker.crash()
    await eventually(triggers, lambda found: found == [])


async def test_an_operator_can_fire_a_cron_trigger_by_hand(
    target: Target, new_worker: NewWorker
) -> None:
    async def tick(data: Any) -> Any:
        return data["source"] if data["manual"] else None

    await (
        new_worker(target)
        .on("tick", tick)
        .trigger("cron", "tick", {"expression": "0 0 0 1 1 *"}, "t")
        .start()
    )
    for body in ({"trigger_id": "t"}, {"function_id": "tick"}):
        assert await console(target, "POST", "cron/trigger", body) == {
            "success": True,
            "result": "console",
        }
    assert (
        await request(
            target, "POST", "/_console/cron/trigger", json_body={"trigger_id": "x"}
        )
    ).status == 400
