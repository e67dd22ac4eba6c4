"""The overview: is anything late, broken or waiting? Each dependency is asked by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from croniter import croniter

from services.api.health import health_of
from services.core.operation.cron_runs import cron_runs
from services.core.operation.engine import WORKER_NAME
from services.core.operation.pause import CRONS, RESUME_CRON, Pause, known_pauses
from services.core.rate_limit import (
    DEFAULT_RATE,
    GOOGLE_CALENDAR,
    calls_of_last_minute,
)
from services.operate.beteiligte import Unsynced, counts_by_status, oldest_unsynced
from services.operate.calendars import counts_by_state
from services.operate.growth import Growing, growing
from services.operate.parts import Part, part
from services.operate.queues import Topic, moment, queues_view
from services.operate.redact import redacted, redacted_or_none
from services.operate.sources import Sources

#: The health check itself waits for up to four seconds.
HEALTH_SECONDS = 6.0
#: A run that has not succeeded so long after it was due was missed.
MISSED_AFTER = timedelta(minutes=3)
#: Under which name each cron step notes that it has succeeded.
CRON_NAMES = {
    "VMH Beteiligte Sync Cron": "beteiligte_sync",
    "Calendar Sync Cron": "calendar_sync",
    "Resume Cron": RESUME_CRON,
}
CHART_HOURS = 24
#: What has grown is asked no more often; the page is refreshed every five seconds.
GROWTH_SECONDS = 60.0


@dataclass(frozen=True)
class Dependency:
    """A store or a foreign system: ``ok``, ``degraded``, ``down`` or ``not_configured``."""

    name: str
    status: str
    latency_ms: float | None
    error: str | None


@dataclass(frozen=True)
class Worker:
    """A program that is connected to the engine."""

    name: str
    status: str
    functions: int
    connected_at: datetime | None


@dataclass(frozen=True)
class Cron:
    """A cron step; ``last_success`` is None if none is known.

    ``is_awaited``: the run that is missing was due before the workers started; the first one since is still to come.
    """

    name: str
    expression: str
    last_success: datetime | None
    next_run: datetime
    is_missed: bool
    is_paused: bool
    is_awaited: bool = False


@dataclass(frozen=True)
class Hour:
    """What was synced in the hour that begins at ``begins``, and what failed."""

    begins: datetime
    done: int
    failed: int


@dataclass(frozen=True)
class Budget:
    """Calls of the last minute under a shared limit."""

    system: str
    used: int
    limit: int


@dataclass(frozen=True)
class Overview:
    """All parts; ``problems`` names what is broken in a word each, empty if all is well."""

    at: datetime
    mode: str
    problems: list[str]
    dependencies: Part[list[Dependency]]
    workers: Part[list[Worker]]
    topics: Part[list[Topic]]
    crons: Part[list[Cron]]
    records: Part[dict[str, int]]
    oldest: Part[Unsynced | None]
    calendars: Part[dict[str, int]]
    budgets: Part[list[Budget]]
    hours: Part[list[Hour]]
    growth: Part[list[Growing]]

    @property
    def dead(self) -> int:
        """How many dead letters there are, as far as the engine says."""
        dead = 0
        for topic in self.topics.value or []:
            dead += topic.dead or 0
        return dead

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        waiting = 0
        for topic in self.topics.value or []:
            waiting += topic.depth or 0
        return waiting

    @property
    def waiting_since(self) -> datetime | None:
        """Since when the oldest job waits; None: none does, or the engine does not say."""
        topics = self.topics.value or []
        return _earliest(topic.oldest_at for topic in topics)


async def overview(sources: Sources) -> Overview:
    """Look at everything at the same time."""
    start = asyncio.create_task
    dependencies = start(part(_dependencies(sources), "health", HEALTH_SECONDS))
    workers = start(part(connected_workers(sources), "engine"))
    queue = start(queues_view(sources))
    crons = start(part(_crons(sources), "PostgreSQL"))
    records = start(part(counts_by_status(sources), "EspoCRM"))
    oldest = start(part(oldest_unsynced(sources), "EspoCRM"))
    calendars = start(part(counts_by_state(sources), "PostgreSQL"))
    budgets = start(part(_budgets(sources), "Redis"))
    hours = start(part(_hours(sources), "PostgreSQL"))
    growth = start(part(_growth(sources), "PostgreSQL"))
    connected = await workers
    queues = await queue
    now = sources.resources.clock()
    view = Overview(
        at=now,
        mode=sources.settings.mode,
        problems=[],
        dependencies=await dependencies,
        workers=connected,
        topics=queues.topics,
        crons=with_awaited(await crons, connected, now),
        records=await records,
        oldest=await oldest,
        calendars=await calendars,
        budgets=await budgets,
        hours=await hours,
        growth=await growth,
    )
    view.problems.extend(_problems(view))
    return view


def _problems(view: Overview) -> list[str]:
    """What is broken or late, the worst first: ``postgres: down``, ``dead letters: 3``."""
    problems = _broken_dependencies(view)
    if view.dependencies.missing:
        problems.append(view.dependencies.missing)
    if view.workers.missing:
        problems.append(view.workers.missing)
    if view.workers.value == []:
        problems.append("worker: none connected")
    if view.dead:
        problems.append(f"dead letters: {view.dead}")
    problems += _late(view)
    problems += _failing(view)
    return problems


def _broken_dependencies(view: Overview) -> list[str]:
    broken = []
    for found in view.dependencies.value or []:
        if found.status in ("down", "degraded"):
            broken.append(f"{found.name}: {found.status}")
    return broken


def _late(view: Overview) -> list[str]:
    late = []
    for cron in view.crons.value or []:
        if cron.is_missed:
            late.append(f"cron missed: {cron.name}")
    return late


def _failing(view: Overview) -> list[str]:
    records = view.records.value or {}
    calendars = view.calendars.value or {}
    failed = records.get("failed", 0)
    failed_for_good = records.get("permanently_failed", 0)
    counts = {
        "records failed": failed + failed_for_good,
        "calendars failing": calendars.get("failing", 0),
        "calendars held": calendars.get("held", 0),
        "calendars overdue": calendars.get("overdue", 0),
    }
    return [f"{name}: {count}" for name, count in counts.items() if count]


async def _dependencies(sources: Sources) -> list[Dependency]:
    _, report = await health_of(sources.resources)
    dependencies = []
    for name, found in report["dependencies"].items():
        dependency = Dependency(
            name=name,
            status=str(found["status"]),
            latency_ms=found.get("latency_ms"),
            error=redacted_or_none(found.get("error")),
        )
        dependencies.append(dependency)
    return dependencies


async def connected_workers(sources: Sources) -> list[Worker]:
    """The programs that carry steps.

    Raises:
        Unavailable: the engine does not answer.
    """
    answer = await sources.engine.call("engine::workers::list")
    if not isinstance(answer, Mapping):
        return []
    rows = answer.get("workers", [])
    return [_worker(row) for row in rows if _is_worker(row)]


def _is_worker(row: Mapping[str, Any]) -> bool:
    """Whether it carries steps: the board itself and operators' commands are connected as well."""
    if row.get("name") == WORKER_NAME:
        return False
    return _functions(row) > 0


def _functions(row: Mapping[str, Any]) -> int:
    count = row.get("function_count")
    if isinstance(count, int):
        return count
    functions = row.get("functions")
    if isinstance(functions, list):
        return len(functions)
    return 0


def _worker(row: Mapping[str, Any]) -> Worker:
    name = row.get("name") or row.get("id")
    status = row.get("status") or ""
    return Worker(
        name=str(name),
        status=redacted(status),
        functions=_functions(row),
        connected_at=moment(row.get("connected_at_ms")),
    )


async def _crons(sources: Sources) -> list[Cron]:
    now = sources.resources.clock()
    runs = await cron_runs(sources.resources)
    pauses = await known_pauses(sources.resources)
    crons = []
    for step in await sources.steps():
        name = CRON_NAMES.get(step.name, "")
        is_paused = is_cron_paused(name, pauses)
        for expression in step.crons:
            cron = cron_state(
                step.name,
                expression,
                runs.get(name),
                now,
                is_paused=is_paused,
            )
            crons.append(cron)
    return crons


def with_awaited(
    crons: Part[list[Cron]],
    workers: Part[list[Worker]],
    now: datetime,
) -> Part[list[Cron]]:
    """The crons, those awaited whose missing run was due before the oldest connected worker came. Pure."""
    started = _earliest(worker.connected_at for worker in workers.value or [])
    if crons.value is None or started is None:
        return crons
    return Part([_awaited(cron, started, now) for cron in crons.value])


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min(filter(None, moments), default=None)


def _awaited(cron: Cron, started: datetime, now: datetime) -> Cron:
    """Missed is only what was due while a worker was there."""
    if not cron.is_missed or _latest_due(cron.expression, now) >= started:
        return cron
    return replace(cron, is_missed=False, is_awaited=True)


def is_cron_paused(cron: str, pauses: list[Pause]) -> bool:
    """Whether one of the pauses leaves out the runs of this cron. Pure."""
    if cron not in CRONS:
        return False
    stopping = {"all", f"cron:{cron}", f"flow:{CRONS[cron]}"}
    return any(str(pause.scope) in stopping for pause in pauses)


def cron_state(
    name: str,
    expression: str,
    last_success: datetime | None,
    now: datetime,
    *,
    is_paused: bool = False,
) -> Cron:
    """When it runs next, and whether the latest run that was due is missing. Pure; ``now`` is aware.

    A cron of which no success is known is not called missed: the system may be new.
    """
    due = _latest_due(expression, now)
    is_late = last_success is not None and last_success < due
    return Cron(
        name=name,
        expression=expression,
        last_success=last_success,
        next_run=_schedule(expression, now).get_next(datetime),
        is_missed=is_late and not is_paused,
        is_paused=is_paused,
    )


def _latest_due(expression: str, now: datetime) -> datetime:
    """When the latest run was due that should have succeeded by now."""
    schedule = _schedule(expression, now - MISSED_AFTER)
    due: datetime = schedule.get_prev(datetime)
    return due


def _schedule(expression: str, moment: datetime) -> croniter:
    return croniter(expression, moment.astimezone(UTC), second_at_beginning=True)


async def _budgets(sources: Sources) -> list[Budget]:
    used = await calls_of_last_minute(sources.resources, GOOGLE_CALENDAR)
    return [Budget("Google Calendar", used, DEFAULT_RATE.per_minute)]


async def _growth(sources: Sources) -> list[Growing]:
    return await sources.cached(
        "growth",
        GROWTH_SECONDS,
        lambda: growing(sources.resources),
    )


_HOURS = """
SELECT date_trunc('hour', at) AS begins, count(*) FILTER (WHERE failed) AS failed,
    count(*) FILTER (WHERE NOT failed) AS done
FROM (
    SELECT at, error IS NOT NULL OR result = 'failed' AS failed FROM sync_audit WHERE at >= $1
    UNION ALL
    SELECT at, error IS NOT NULL OR action = 'failed' FROM calendar_sync_audit WHERE at >= $1
) AS lines GROUP BY 1
"""


async def _hours(sources: Sources) -> list[Hour]:
    """The latest 24 hours, also the empty ones, oldest first."""
    now = sources.resources.now()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    first = this_hour - timedelta(hours=CHART_HOURS - 1)
    synced = {hour.begins: hour for hour in await sources.rows(_hour, _HOURS, first)}
    hours = []
    for number in range(CHART_HOURS):
        begins = first + timedelta(hours=number)
        empty = Hour(begins, done=0, failed=0)
        hours.append(synced.get(begins, empty))
    return hours


def _hour(row: Mapping[str, Any]) -> Hour:
    begins = row["begins"].astimezone(UTC)
    return Hour(begins, row["done"], row["failed"])
