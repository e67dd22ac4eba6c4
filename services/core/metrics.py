"""All numbers that this product keeps about itself, for Prometheus. Labels are bounded sets, never ids or names.

Counters and histograms are of this process; gauges are read when Prometheus asks (`operation.metrics_server`), and
all workers show the same. docs/operations.md says what to do when one of them looks wrong.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
)

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"})
#: What became of a call that got no answer.
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WAITS = (0.1, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"bitbylaw_{name}", meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"bitbylaw_{name}", meaning, labels, registry=REGISTRY)


def _histogram(
    name: str,
    meaning: str,
    *labels: str,
    buckets: tuple[float, ...] = _SECONDS,
) -> Histogram:
    return Histogram(
        f"bitbylaw_{name}",
        meaning,
        labels,
        registry=REGISTRY,
        buckets=buckets,
    )


# -- counted where it happens -------------------------------------------------------------------------------------

HANDLER_SECONDS = _histogram(
    "handler_seconds",
    "How long a step ran",
    "step",
    "outcome",
)
QUEUE_WAIT_SECONDS = _histogram(
    "queue_wait_seconds",
    "From the event to the begin of its job",
    "topic",
    buckets=_WAITS,
)
SYNCS = _counter("syncs", "Syncs by how they ended", "entity", "result")
FOREIGN_CALLS = _counter(
    "foreign_calls",
    "Requests to foreign systems; status is 2xx to 5xx, timeout or unreachable",
    "system",
    "method",
    "status",
)
LOCK_SECONDS = _histogram("lock_seconds", "Until a record's lock was taken")
LOCKS_BUSY = _counter("locks_busy", "Locks that another run held")
RATE_LIMIT_SECONDS = _histogram(
    "rate_limit_seconds",
    "Waits for the rate limit",
    "limit",
)
GUARDS = _counter("guards_fired", "Work that a guard has held back", "guard")

# -- read when Prometheus asks --------------------------------------------------------------------------------------

STORE_UP = _gauge("store_up", "1 if PostgreSQL or Redis answers", "store")
QUEUE_READABLE = _gauge("queue_readable", "1 if the engine reports its queue")
QUEUE_DEPTH = _gauge("queue_depth", "Jobs in the queue that are not done", "topic")
DEAD_LETTERS = _gauge("dead_letters", "Jobs that failed for good", "topic")
PAUSES = _gauge("pauses", "Pauses that hold", "kind")
PAUSED_JOBS = _gauge("paused_jobs", "Jobs that wait for the end of a pause", "topic")
CRON_SUCCESS = _gauge(
    "cron_last_success_timestamp_seconds",
    "Last success of a cron",
    "cron",
)
OLDEST_UNSYNCED = _gauge(
    "oldest_unsynced_timestamp_seconds",
    "When the oldest record that waits for its sync was changed; 0: none waits",
)
RATE_LIMIT_TOKENS = _gauge(
    "rate_limit_tokens",
    "Calls that may be made at once",
    "limit",
)


def count_call(system: str, method: str, status: int | str) -> None:
    """Count a request to a foreign system by the status of its answer, or `TIMEOUT` or `UNREACHABLE`."""
    shown = f"{status // 100}xx" if isinstance(status, int) else status
    known = method if method in METHODS else "other"
    FOREIGN_CALLS.labels(system, known, shown).inc()


def observe_wait(topic: str, payload: Any, now: datetime) -> None:
    """Note how long an event has waited for its job, if it says when it was made."""
    with suppress(KeyError, TypeError, ValueError):
        made = datetime.fromisoformat(payload["timestamp"])
        QUEUE_WAIT_SECONDS.labels(topic).observe(max(0.0, (now - made).total_seconds()))


def measured(
    step: str,
    handler: Callable[..., Awaitable[Any]],
) -> Callable[..., Awaitable[Any]]:
    """The handler of a step, with its duration observed."""

    @functools.wraps(handler)
    async def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        outcome = "failed"
        try:
            result = await handler(*arguments)
            outcome = "done"
            return result
        finally:
            seconds = time.perf_counter() - started
            HANDLER_SECONDS.labels(step, outcome).observe(seconds)

    return run
