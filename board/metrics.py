"""What the board shows Prometheus: the overview as numbers. Labels are systems, topics, crons and states, never ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from services.operate.overview import Overview
from services.operate.parts import Part


def exposition(view: Overview) -> bytes:
    """The overview in Prometheus's text format. A part that is missing has no numbers, and ``part_up`` 0."""
    registry = CollectorRegistry()

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"bitbylaw_board_{name}", meaning, labels, registry=registry)

    def labelled(
        name: str,
        meaning: str,
        label: str,
        values: Mapping[str, float],
    ) -> None:
        found = gauge(name, meaning, label)
        for key, value in values.items():
            found.labels(key).set(value)

    parts: Mapping[str, Part[Any]] = {
        "health": view.dependencies,
        "workers": view.workers,
        "queue": view.topics,
        "crons": view.crons,
        "records": view.records,
        "calendars": view.calendars,
    }
    up = {name: float(part.missing is None) for name, part in parts.items()}
    labelled("part_up", "1 if this part of the overview could be read", "part", up)
    gauge("problems", "What the overview calls broken or late").set(len(view.problems))
    if view.workers.value is not None:
        gauge("workers", "Connected workers").set(len(view.workers.value))
    systems = view.dependencies.value or []
    states = {one.name: float(one.status == "ok") for one in systems}
    labelled("system_ok", "1 if a system is well", "system", states)
    topics = view.topics.value or []
    depths = {one.name: one.depth for one in topics if one.depth is not None}
    dead = {one.name: one.dead for one in topics if one.dead is not None}
    labelled("queue_depth", "Jobs that are not done", "topic", depths)
    waiting = {one.name: one.oldest_at.timestamp() for one in topics if one.oldest_at}
    labelled(
        "queue_oldest_timestamp_seconds",
        "Since when the oldest job waits, if the engine says so",
        "topic",
        waiting,
    )
    labelled("dead_letters", "Jobs that failed for good", "topic", dead)
    crons = {one.name: float(one.is_missed) for one in view.crons.value or []}
    labelled("cron_missed", "1 if its latest run is missing", "cron", crons)
    labelled("records", "Beteiligte by status", "status", view.records.value or {})
    labelled("calendars", "Calendars by state", "state", view.calendars.value or {})
    return generate_latest(registry)
