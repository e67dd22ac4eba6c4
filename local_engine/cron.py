"""The cron dialect of the iii engine and its trigger type.

Six fields, ``sec min hour day-of-month month day-of-week``, or seven with a year (1970-2100), in UTC. ``*``, numbers,
names, lists, ranges ``a-b``, steps ``*/n``, ``a/n`` (from a to the end) and ``a-b/n``; ``?`` in the two day fields;
``@yearly @monthly @weekly @daily @hourly``. Day of week: 1 is Sunday, 7 is Saturday. Both day fields have to match
(Vixie cron, and with it the libraries that follow it, fires when either does). Source: crate ``cron`` 0.15.0.
"""

from __future__ import annotations

import asyncio
import calendar
import logging
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from local_engine.errors import EngineError
from local_engine.logs import log_event
from local_engine.tasks import Tasks
from local_engine.worker_port.invocations import Invocations
from local_engine.worker_port.telemetry import Telemetry
from local_engine.worker_port.triggers import (
    Trigger,
    TriggerRejectedError,
    condition_met,
)

_MONTHS = {
    name.lower(): index for index, name in enumerate(calendar.month_name) if name
}
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_NAMES: dict[str, dict[str, int]] = {
    "month": {**_MONTHS, **{name[:3]: index for name, index in _MONTHS.items()}},
    "day-of-week": {
        **{name: index for index, name in enumerate(_DAYS, 1)},
        **{name[:3]: index for index, name in enumerate(_DAYS, 1)},
        "tues": 3,
        "thurs": 5,
    },
}
_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day-of-month", 1, 31),
    ("month", 1, 12),
    ("day-of-week", 1, 7),
    ("year", 1970, 2100),
)
_SHORTHANDS = {
    "@yearly": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 1",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
#: Longest single sleep (seconds): after a change of the system's clock the schedule is right again within it.
MAX_SLEEP = 30.0


class CronSyntaxError(ValueError):
    """The expression is not valid in this dialect; the text names the field."""


@dataclass(frozen=True)
class Schedule:
    """A parsed expression: the allowed values of each field, sorted."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    years: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Parse an expression. Raises CronSyntaxError."""
        name = expression.strip().lower()
        parts = _SHORTHANDS.get(name, expression).split()
        if len(parts) == 6:
            parts.append("*")
        if len(parts) != 7:
            raise CronSyntaxError(
                "six or seven fields are needed: sec min hour day month weekday [year]",
            )
        fields = []
        for part, field in zip(parts, _FIELDS, strict=True):
            fields.append(_parse_field(part, *field))
        return cls(*fields)

    def _matches(self, day: date) -> bool:
        if not self._matches_month(day):
            return False
        weekday = day.isoweekday() % 7 + 1
        return day.day in self.days and weekday in self.weekdays

    def _matches_month(self, day: date) -> bool:
        return day.year in self.years and day.month in self.months

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time strictly after ``moment`` (aware), in UTC and whole seconds, or None."""
        whole = moment.astimezone(UTC).replace(microsecond=0)
        start = whole + timedelta(seconds=1)
        day = start.date()
        earliest = (start.hour, start.minute, start.second)
        while day.year <= self.years[-1]:
            time = None
            if self._matches(day):
                time = self._time_from(earliest)
            if time is not None:
                return datetime(day.year, day.month, day.day, *time, tzinfo=UTC)
            earliest = (0, 0, 0)
            if self._matches_month(day):
                day += timedelta(days=1)
            else:
                day = _next_month(day)
        return None

    def _time_from(self, earliest: tuple[int, int, int]) -> tuple[int, int, int] | None:
        """Return the first allowed time of day that is not before ``earliest``."""
        hour, minute, second = earliest
        first_minute = self.minutes[0]
        first_second = self.seconds[0]
        for allowed_hour in _not_below(hour, self.hours):
            if allowed_hour > hour:
                return allowed_hour, first_minute, first_second
            for allowed_minute in _not_below(minute, self.minutes):
                if allowed_minute > minute:
                    return hour, allowed_minute, first_second
                for allowed_second in _not_below(second, self.seconds):
                    return hour, minute, allowed_second
        return None


def _next_month(day: date) -> date:
    if day.month == 12:
        return date(day.year + 1, 1, 1)
    return date(day.year, day.month + 1, 1)


def _not_below(limit: int, values: tuple[int, ...]) -> tuple[int, ...]:
    """The values, which ascend, from this one on."""
    place = bisect_left(values, limit)
    return values[place:]


def _parse_field(text: str, name: str, low: int, high: int) -> tuple[int, ...]:
    if text == "?":
        if not name.startswith("day-of-"):
            raise CronSyntaxError(f"{name}: '?' is allowed in the day fields only")
        text = "*"
    values: set[int] = set()
    for item in text.split(","):
        values |= _parse_item(item, name, low, high)
    return tuple(sorted(values))


def _parse_item(item: str, name: str, low: int, high: int) -> set[int]:
    base, slash, step_text = item.partition("/")
    first_text, dash, last_text = base.partition("-")
    if base == "*":
        first = low
        last = high
    else:
        first = _parse_value(first_text, name, low, high)
        last = high if slash else first
        if dash:
            last = _parse_value(last_text, name, low, high)
    if last < first:
        raise CronSyntaxError(f"{name}: a range must not run backwards")
    step = 1
    if slash:
        if not _is_number(step_text) or not 1 <= int(step_text) <= high:
            raise CronSyntaxError(f"{name}: bad step")
        step = int(step_text)
    return set(range(first, last + 1, step))


def _parse_value(text: str, name: str, low: int, high: int) -> int:
    value = _NAMES.get(name, {}).get(text.lower())
    if value is None:
        if not _is_number(text):
            raise CronSyntaxError(f"{name}: bad value")
        value = int(text)
    if not low <= value <= high:
        raise CronSyntaxError(f"{name}: out of range")
    return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


class Clock(Protocol):
    """Where the schedule takes the time from; tests bring their own."""

    def now(self) -> datetime:
        """Return the current time, aware."""

    async def sleep(self, seconds: float) -> None:
        """Return after about this many seconds of this clock, or earlier."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep, at most MAX_SLEEP seconds."""
        await asyncio.sleep(min(seconds, MAX_SLEEP))


class CronTriggers:
    """The trigger type ``cron``: one loop per trigger, so that runs of one trigger never overlap.

    Only future times fire; what was missed while a run took long is skipped. Failures are logged, not repeated.
    """

    def __init__(
        self,
        invocations: Invocations,
        telemetry: Telemetry,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._invocations = invocations
        self._telemetry = telemetry
        self._tasks = tasks
        self._clock = clock
        self._loops: dict[Trigger, asyncio.Task[None]] = {}

    def register(self, trigger: Trigger) -> None:
        """Start the schedule. Raises TriggerRejectedError for an invalid expression."""
        try:
            schedule = Schedule.parse(trigger.text("expression") or "")
        except CronSyntaxError as exc:
            raise TriggerRejectedError(str(exc)) from exc
        self._loops[trigger] = self._tasks.spawn(
            self._run(trigger, schedule),
            f"cron {trigger.id}",
        )

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Stop the schedule."""
        self._loops.pop(trigger).cancel()

    async def _run(self, trigger: Trigger, schedule: Schedule) -> None:
        due = schedule.next_after(self._clock.now())
        while due is not None:
            await self._sleep_until(due)
            await self._fire(trigger, due)
            due = schedule.next_after(self._clock.now())

    async def _sleep_until(self, due: datetime) -> None:
        """Sleep until a time is reached, also when the clock is set back meanwhile."""
        while True:
            remaining = due - self._clock.now()
            if remaining <= timedelta():
                return
            await self._clock.sleep(remaining.total_seconds())

    async def _fire(self, trigger: Trigger, due: datetime) -> None:
        payload = {
            "trigger": "cron",
            "job_id": trigger.id,
            "scheduled_time": due.isoformat(),
            "actual_time": self._clock.now().isoformat(),
        }
        try:
            await self.call(trigger, payload)
        except EngineError as exc:
            log_event(
                "cron.failed",
                logging.ERROR,
                function_id=trigger.function_id,
                code=exc.code,
            )

    async def call(self, trigger: Trigger, payload: Mapping[str, object]) -> object:
        """Run a trigger's function with a payload, if its condition allows it. Raises EngineError."""
        with self._telemetry.span(
            f"cron {trigger.text('expression')}",
            function_id=trigger.function_id,
        ) as span:
            log_event(
                "cron.fired",
                function_id=trigger.function_id,
                trace_id=span.trace_id,
            )
            try:
                if not await condition_met(
                    self._invocations,
                    trigger,
                    "_condition_path",
                    payload,
                ):
                    return None
                return await self._invocations.invoke(
                    trigger.function_id,
                    payload,
                    prefer=trigger.owner,
                    trace=span.trace,
                )
            except EngineError as exc:
                span.error = exc.code
                raise

    async def fire_manually(self, trigger: Trigger) -> object:
        """Run a trigger now, as the console's button does; returns the function's result. Raises EngineError."""
        now = self._clock.now().isoformat()
        payload = {
            "trigger": "cron",
            "job_id": trigger.id,
            "scheduled_time": now,
            "actual_time": now,
            "manual": True,
            "source": "console",
        }
        return await self.call(trigger, payload)
