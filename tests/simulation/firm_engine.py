"""The engine of the simulation: the project's own steps, and a queue that keeps the engine contract in one process.

A job whose step raises comes back after growing pauses, and is a dead letter after its last try (``max_retries`` n
means n + 1 executions; 3, which is motia's default, means 3). A job whose worker died comes back at once and keeps its
tries, at most 20 times. What was enqueued is kept whatever dies (`local_engine/queues/delivery.py`).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from local_engine.queues.delivery import MAX_INTERRUPTIONS, Policy

STEPS = Path(__file__).parents[2] / "steps"


@dataclass(frozen=True)
class Step:
    """A step's handler, and what its trigger says of the queue."""

    handler: Callable[[Any, Any], Any]
    policy: Policy = field(default_factory=Policy)


@cache
def steps() -> dict[str, Step]:
    """Every step by what starts it: ``POST /path``, the name of its file for a cron, or a topic."""
    found: dict[str, Step] = {}
    for path in sorted(STEPS.rglob("*_step.py")):
        spec = importlib.util.spec_from_file_location(f"simulated_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for trigger in module.config["triggers"]:
            found[_name(trigger, path)] = Step(module.handler, _policy(trigger))
    return found


def _name(trigger: Any, path: Path) -> str:
    if trigger.type == "http":
        return f"{trigger.method} {trigger.path}"
    if trigger.type == "cron":
        return path.stem
    return str(trigger.topic)


def _policy(trigger: Any) -> Policy:
    config = getattr(trigger, "config", None)
    if trigger.type != "queue" or config is None:
        return Policy()
    return Policy.from_config(
        {"maxRetries": config.max_retries, "backoffDelayMs": config.backoff_delay_ms}
    )


@dataclass(frozen=True)
class Job:
    """A job of the queue."""

    topic: str
    data: dict[str, Any]
    due: datetime
    failures: int = 0
    interruptions: int = 0


@dataclass(frozen=True)
class DeadLetter:
    """A job that is given up, with the reason that an operator reads."""

    job: Job
    reason: str


class Queue:
    """What waits, and what was given up. Jobs that are being worked on are in neither."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.waiting: list[Job] = []
        self.dead: list[DeadLetter] = []

    async def enqueue(self, message: dict[str, Any]) -> None:
        """What ``ctx.enqueue`` does: when it returns, the job is kept."""
        data = json.loads(json.dumps(message["data"]))
        assert message["topic"] in steps(), f"no step listens to {message['topic']}"
        self.waiting.append(Job(message["topic"], data, self._clock()))

    def take(self) -> Job | None:
        """The job that has been due longest; None if none is due."""
        due = [job for job in self.waiting if job.due <= self._clock()]
        if not due:
            return None
        job = min(due, key=lambda job: job.due)
        self.waiting.remove(job)
        return job

    def next_due(self) -> datetime | None:
        """When the next job is due; None if none waits."""
        return min((job.due for job in self.waiting), default=None)

    def failed(self, job: Job, reason: str) -> None:
        """Its step has raised."""
        policy = steps()[job.topic].policy
        failures = job.failures + 1
        if failures >= policy.executions:
            self.dead.append(DeadLetter(job, reason))
            return
        due = self._clock() + timedelta(seconds=policy.delay(failures))
        self.waiting.append(replace(job, failures=failures, due=due))

    def interrupted(self, job: Job) -> None:
        """Its worker was lost."""
        interruptions = job.interruptions + 1
        if interruptions > MAX_INTERRUPTIONS:
            self.dead.append(
                DeadLetter(job, f"the worker was lost {interruptions} times")
            )
            return
        self.waiting.append(
            replace(job, interruptions=interruptions, due=self._clock())
        )


class Context:
    """What a step sees of the engine: queue and log."""

    trace_id = "simulation"

    def __init__(self, queue: Queue, lines: list[tuple[str, dict[str, Any]]]) -> None:
        self.enqueue = queue.enqueue
        self.logger = _Logger(lines)


class _Logger:
    def __init__(self, lines: list[tuple[str, dict[str, Any]]]) -> None:
        self._lines = lines

    def _write(self, event: str, fields: dict[str, Any]) -> None:
        self._lines.append((event, fields))

    debug = info = warn = error = _write
