"""Health of every dependency, for load balancers and people. No secrets, no foreign error texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from yarl import URL

from config import GOOGLE_API_URL
from services.advoware_service import AdvowareService
from services.api.errors import Answer
from services.calendar_sync.store import OVERDUE_MINUTES, CalendarStore, Operation
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    UnexpectedAnswer,
)
from services.core.http import send
from services.core.operation.pause import Pause, known_pauses
from services.core.resources import Resources, current_resources
from services.core.store_errors import why_no_writes
from services.espocrm import EspoCRMAPI

CHECK_SECONDS = 4.0
SLOW_SECONDS = 2.0
#: Load balancers ask often; the foreign systems should not notice.
CACHE_SECONDS = 10.0
#: EspoCRM keeps a row in its login log for each request with a key, so the key is asked about less often than all else.
KEY_SECONDS = 600.0
#: Without these no webhook can be taken or worked off. A foreign system may be away: its work waits.
NEEDED = frozenset({"redis", "postgres"})

Check = Callable[[Resources], Awaitable[None]]

#: Rows that PostgreSQL lays aside in a temporary file of some 500 kB: so a full disk shows without leaving anything.
SPILLED_ROWS = 20_000


class _TakesNoWrites(Exception):
    """A store answers, but what we must keep cannot be kept."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"takes no writes ({reason})")


class _Cache:
    """The latest report of a process and when it was made (monotonic seconds)."""

    def __init__(self) -> None:
        self.made_at = float("-inf")
        self.answer: Answer = (503, {})
        self.lock = asyncio.Lock()


class _EspoCRMKey:
    """When EspoCRM last accepted our key (monotonic seconds)."""

    def __init__(self) -> None:
        self.accepted_at = float("-inf")


async def report_health() -> Answer:
    """Status and body ``{"status", "mode", "read_only",
    "dependencies": {name: {"status", "latency_ms", "error"?}}, "calendar", "paused"}``.

    A dependency is ``ok``, ``degraded`` (slow), ``down`` or ``not_configured``. Overall: ``ok``, ``degraded`` if
    something is not ok, ``paused`` (status 200) if an operator has paused something, ``down`` with status 503 if a
    needed one (Redis, PostgreSQL) is down or takes no writes. ``paused`` is a list of what is paused since and until
    when, see `services.core.operation.pause`.
    ``calendar`` are numbers about the employees' runs, see `_look_at_calendar`: ``degraded`` if any fails or is held.
    ``mode`` is ``live``, ``trial`` or ``twins``, see `config.Settings.mode`. At most 10 s old.
    """
    return await health_of(current_resources())


async def health_of(resources: Resources) -> Answer:
    """As `report_health`, for these resources."""
    cache = resources.shared(_Cache)
    async with cache.lock:
        if time.monotonic() - cache.made_at > CACHE_SECONDS:
            cache.answer = await _make_report(resources)
            cache.made_at = time.monotonic()
        return cache.answer


async def _make_report(resources: Resources) -> Answer:
    settings = resources.settings
    checks: dict[str, tuple[bool, Check]] = {
        "redis": (True, _check_redis),
        "postgres": (True, _check_postgres),
        "advoware": (settings.advoware.is_configured, _check_advoware),
        "espocrm": (settings.espocrm.is_configured, _check_espocrm),
        "google_calendar": (
            settings.google_calendar.is_configured,
            _check_google_calendar,
        ),
    }
    runs = [_run(resources, *check) for check in checks.values()]
    calendar, pauses, *results = await asyncio.gather(
        _look_at_calendar(resources),
        known_pauses(resources),
        *runs,
    )
    dependencies = dict(zip(checks, results, strict=True))
    body = {
        "mode": settings.mode,
        "read_only": settings.service.read_only,
        "dependencies": dependencies,
        "calendar": calendar,
        "paused": [_shown_pause(item) for item in pauses],
    }
    if _is_down(dependencies):
        return 503, {"status": "down", **body}
    if pauses:
        return 200, {"status": "paused", **body}
    if any(part["status"] != "ok" for part in (*results, calendar)):
        return 200, {"status": "degraded", **body}
    return 200, {"status": "ok", **body}


def _is_down(dependencies: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(dependencies[name]["status"] == "down" for name in NEEDED)


async def _run(
    resources: Resources,
    is_configured: bool,
    check: Check,
) -> dict[str, Any]:
    if not is_configured:
        return {"status": "not_configured"}
    started = time.perf_counter()
    error = None
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check(resources)
    except Exception as failure:  # noqa: BLE001 - whatever is wrong with a dependency, the report shows it
        error = _shown(failure)
    seconds = time.perf_counter() - started
    latency = {"latency_ms": round(seconds * 1000, 1)}
    if error is not None:
        return {"status": "down", **latency, "error": error}
    status = "degraded" if seconds > SLOW_SECONDS else "ok"
    return {"status": status, **latency}


def _shown_pause(pause: Pause) -> dict[str, Any]:
    """What is paused and for how long. Neither who it is about nor why: the report is public."""
    scope = pause.scope
    target = "" if scope.kind == "employee" else scope.target
    since = _iso(pause.since)
    until = _iso(pause.until)
    return {"kind": scope.kind, "target": target, "since": since, "until": until}


def _shown(failure: Exception) -> str:
    """What the report says about a failed check."""
    if isinstance(failure, TimeoutError):
        return f"no answer within {CHECK_SECONDS:g} s"
    reason = why_no_writes(failure)
    if reason is not None:
        return str(_TakesNoWrites(reason))
    if isinstance(failure, ConfigurationError | _TakesNoWrites):
        return str(failure)
    name = type(failure).__name__
    status = failure.status if isinstance(failure, ForeignSystemError) else None
    if status:
        return f"{name} ({status})"
    return name


async def _look_at_calendar(resources: Resources) -> dict[str, Any]:
    """How the employees' runs are: ``employees``, ``failing``, ``held``, ``since`` and ``last_run`` (ISO, or None).

    ``degraded``: an employee's runs fail, work is held back, or no employee had a run of late. Names are in
    `bitbylaw audit stats`. One query.
    """
    found: list[Operation] = []

    async def look(resources: Resources) -> None:
        found.append(await CalendarStore(await resources.database()).operation())

    answer = await _run(
        resources,
        resources.settings.google_calendar.is_configured,
        look,
    )
    if not found:
        return answer
    (operation,) = found
    if operation.failing or operation.held or _is_late(operation, resources.clock()):
        answer["status"] = "degraded"
    return {
        **answer,
        "employees": operation.employees,
        "failing": operation.failing,
        "held": operation.held,
        "since": _iso(operation.since),
        "last_run": _iso(operation.last_run),
    }


def _is_late(operation: Operation, now: datetime) -> bool:
    if operation.last_run is None:
        return False
    return now - operation.last_run > timedelta(minutes=OVERDUE_MINUTES)


def _iso(moment: datetime | None) -> str | None:
    if moment:
        return moment.isoformat()
    return None


async def _check_redis(resources: Resources) -> None:
    """Redis takes writes: one whose disk or memory is full, or that is a replica, still answers a ping."""
    await resources.redis.set("health:probe", "1", ex=60)


async def _check_postgres(resources: Resources) -> None:
    """PostgreSQL takes writes, without leaving a row or an entry in a catalogue.

    A read-only server says so itself. Disk space shows in a temporary file, because a small write may still find space
    in files that are there. Last a message in the log of writes, committed like any other change: it fails or hangs
    where a change would.
    """
    pool = await resources.database()
    async with pool.acquire() as connection, connection.transaction():
        read_only = await connection.fetchval(
            "SELECT current_setting('transaction_read_only')",
        )
        if read_only == "on":
            raise _TakesNoWrites("read-only")
        await connection.execute("SET LOCAL work_mem = '64kB'")
        await connection.fetchval(
            "SELECT count(*) FROM generate_series(1, $1::int)",
            SPILLED_ROWS,
        )
        await connection.execute(
            "SELECT pg_logical_emit_message(true, 'bitbylaw.health', '')",
        )


async def _check_advoware(resources: Resources) -> None:
    await AdvowareService(resources=resources).list_mitarbeiter()


async def _check_espocrm(resources: Resources) -> None:
    """EspoCRM answers; now and then also: it accepts our key. What it shows without a key leaves no row in its log."""
    key = resources.shared(_EspoCRMKey)
    if time.monotonic() - key.accepted_at > KEY_SECONDS:
        await EspoCRMAPI(resources=resources).list_entities(
            "CBeteiligte",
            select=["id"],
            max_size=1,
        )
        key.accepted_at = time.monotonic()
        return
    url = f"{resources.settings.espocrm.api_base_url}/Settings"
    answer = await send(
        resources.http,
        "EspoCRM",
        "GET",
        url,
        timeout_seconds=CHECK_SECONDS,
    )
    if answer.status != 200:
        raise ForeignSystemError("EspoCRM", status=answer.status)
    if not isinstance(answer.json("EspoCRM"), dict):  # a page of whoever answers for it
        raise UnexpectedAnswer("EspoCRM", "no settings", status=answer.status)


async def _check_google_calendar(resources: Resources) -> None:
    endpoint = resources.settings.google_calendar.api_endpoint or GOOGLE_API_URL
    url = URL(endpoint.rstrip("/") + "/calendar/v3/colors")
    answer = await send(
        resources.http,
        "Google Calendar",
        "GET",
        url,
        timeout_seconds=CHECK_SECONDS,
    )
    if answer.status >= 500:
        raise ForeignSystemError("Google Calendar", status=answer.status)
