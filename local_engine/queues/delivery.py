"""Delivery of queued jobs to subscribers: the trigger type ``queue``.

One dispatcher per topic with live subscribers takes as many jobs as there are free slots and hands them to the
subscribers in turn (competing consumers: each job goes to exactly one). Jobs of topics without subscriber stay in the
table.

A failed execution is repeated after 1 s and 2 s, then the job becomes a dead letter: three executions, as v0.8.3 does.
``queue_config`` values that differ from motia's defaults are honoured (v0.8.3 ignores them): ``maxRetries`` n means
n + 1 executions (3, the default that is always sent, means three executions), ``backoffDelayMs`` is the first delay,
which doubles with every failure, ``concurrency`` the number of slots of the subscription (default 10), ``type: fifo``
makes the topic strictly sequential: the next job waits until the one before is done or dead.

A job whose worker was lost returns to the queue at once and keeps its attempts, at most 20 times; from the fourth time
on it waits a little longer each time, so that the job that kills workers is separated from those that ran beside it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from local_engine.errors import (
    EngineError,
    InvocationStoppedError,
    StorageUnavailableError,
)
from local_engine.logs import log_event
from local_engine.queues.store import QueuedJob, QueueStore, is_gone, queue_name
from local_engine.tasks import Tasks
from local_engine.worker_port.invocations import Invocations, Trace
from local_engine.worker_port.telemetry import Telemetry
from local_engine.worker_port.triggers import (
    Trigger,
    TriggerRejectedError,
    condition_met,
)

DEFAULT_EXECUTIONS = 3
DEFAULT_MAX_RETRIES = 3
DEFAULT_BACKOFF_MS = 1_000
DEFAULT_CONCURRENCY = 10
MAX_CONCURRENCY = 100
MAX_BACKOFF = 3_600.0
MAX_INTERRUPTIONS = 20
#: Interruptions after which a job is held back a little (2, 4, .. seconds, at most 30).
PROMPT_INTERRUPTIONS = 3
#: Jobs normally announce themselves; this look (seconds) finds the ones that something else put into the table.
POLL_INTERVAL = 2.0
#: Pause between attempts to write an outcome, or to look for jobs, while PostgreSQL is away (seconds).
STORAGE_PAUSE = 1.0


@dataclass(frozen=True)
class Policy:
    """How a subscription's jobs are executed."""

    executions: int = DEFAULT_EXECUTIONS
    backoff: float = DEFAULT_BACKOFF_MS / 1000
    concurrency: int = DEFAULT_CONCURRENCY
    fifo: bool = False

    @classmethod
    def from_config(cls, config: Any) -> Policy:
        """Read motia's ``queue_config``; anything that is no usable value means the default."""
        config = config if isinstance(config, dict) else {}
        retries = _positive(config.get("maxRetries"), DEFAULT_MAX_RETRIES, minimum=0)
        return cls(
            executions=DEFAULT_EXECUTIONS
            if retries == DEFAULT_MAX_RETRIES
            else retries + 1,
            backoff=_positive(
                config.get("backoffDelayMs"),
                DEFAULT_BACKOFF_MS,
                minimum=0,
            )
            / 1000,
            concurrency=min(
                _positive(config.get("concurrency"), DEFAULT_CONCURRENCY, minimum=1),
                MAX_CONCURRENCY,
            ),
            fifo=config.get("type") == "fifo",
        )

    def delay(self, failures: int) -> float:
        """Return the pause (seconds) after the given number of failed executions (1, 2, ..)."""
        return min(self.backoff * 2.0 ** min(failures - 1, 30), MAX_BACKOFF)


def _positive(value: Any, default: int, *, minimum: int) -> int:
    usable = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    return value if usable else default


@dataclass(eq=False)
class Subscription:
    """A queue trigger and its share of the running jobs."""

    trigger: Trigger
    policy: Policy
    running: int = 0

    @property
    def free(self) -> int:
        """Slots left."""
        return self.policy.concurrency - self.running


@dataclass(eq=False)
class _Topic:
    name: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    subscriptions: list[Subscription] = field(default_factory=list)
    dispatcher: asyncio.Task[None] | None = None
    #: Jobs in execution, also those of subscriptions that are gone.
    running: int = 0

    @property
    def fifo(self) -> bool:
        return any(subscription.policy.fifo for subscription in self.subscriptions)

    @property
    def free(self) -> int:
        if self.fifo:
            return 1 if self.subscriptions and self.running == 0 else 0
        return sum(max(subscription.free, 0) for subscription in self.subscriptions)

    def next_subscription(self) -> Subscription | None:
        """Return the subscription whose turn it is among those with a free slot."""
        for index, subscription in enumerate(self.subscriptions):
            if subscription.free > 0:
                self.subscriptions.append(self.subscriptions.pop(index))
                return subscription
        return None


class Queues:
    """Enqueueing and delivery."""

    def __init__(
        self,
        store: QueueStore,
        invocations: Invocations,
        telemetry: Telemetry,
        tasks: Tasks,
    ) -> None:
        self._store = store
        self._invocations = invocations
        self._telemetry = telemetry
        self._tasks = tasks
        self._topics: dict[str, _Topic] = {}

    async def enqueue(self, topic: str, data: Any, trace: Trace) -> None:
        """Store a message; when this returns it survives the engine. Raises EngineError when it was not stored."""
        job_id = await self._store.add(topic, data, trace)
        log_event("queue.enqueued", topic=topic, job_id=job_id)
        self.wake(topic)

    def wake(self, topic: str | None = None) -> None:
        """Make the dispatchers (of one topic, or all) look for jobs now."""
        for known in self._topics.values():
            if topic in (None, known.name):
                known.wake.set()

    def register(self, trigger: Trigger) -> None:
        """Subscribe. Raises TriggerRejectedError for a missing or impossible topic."""
        name = trigger.text("topic") or ""
        try:
            queue_name(name)
        except EngineError as exc:
            raise TriggerRejectedError(exc.message) from exc
        topic = self._topics.setdefault(name, _Topic(name))
        topic.subscriptions.append(
            Subscription(
                trigger,
                Policy.from_config(trigger.config.get("queue_config")),
            ),
        )
        topic.wake.set()
        if topic.dispatcher is None or topic.dispatcher.done():
            topic.dispatcher = self._tasks.spawn(
                self._dispatch(topic),
                f"dispatcher of {name}",
            )

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Unsubscribe; running executions are not touched."""
        topic = self._topics[trigger.text("topic") or ""]
        topic.subscriptions = [
            known for known in topic.subscriptions if known.trigger is not trigger
        ]
        topic.wake.set()

    def subscribers(self) -> dict[str, int]:
        """Return the number of live subscriptions per topic."""
        return {topic.name: len(topic.subscriptions) for topic in self._topics.values()}

    async def _dispatch(self, topic: _Topic) -> None:
        while topic.subscriptions:
            topic.wake.clear()
            try:
                taken = await self._take(topic)
            except StorageUnavailableError:
                log_event(
                    "queue.storage_unavailable",
                    logging.WARNING,
                    topic=topic.name,
                )
                await asyncio.sleep(STORAGE_PAUSE)
                continue
            for job in taken:
                self._start(topic, job)
            if not taken:
                await _wait(topic.wake, POLL_INTERVAL)

    async def _take(self, topic: _Topic) -> list[QueuedJob]:
        free = topic.free
        if free <= 0:
            return []
        if topic.fifo:
            head = await self._store.head(topic.name)
            if head is not None and head.delay > 0:
                self._wake_later(topic, head.delay)
                return []
        return await self._store.take(topic.name, free)

    def _wake_later(self, topic: _Topic, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay + 0.01, topic.wake.set)

    def _start(self, topic: _Topic, job: QueuedJob) -> None:
        subscription = topic.next_subscription()
        topic.running += 1
        if subscription is not None:
            subscription.running += 1
            work = self._execute(topic, subscription, job)
        else:  # the subscribers went away while the job was fetched
            work = self._settle(
                topic,
                job,
                lambda: self._store.release(job, interrupted=False),
            )
        task = self._tasks.spawn(work, f"job {job.id}")
        task.add_done_callback(lambda _: self._finished(topic, subscription))

    @staticmethod
    def _finished(topic: _Topic, subscription: Subscription | None) -> None:
        topic.running -= 1
        if subscription is not None:
            subscription.running -= 1
        topic.wake.set()

    async def _execute(
        self,
        topic: _Topic,
        subscription: Subscription,
        job: QueuedJob,
    ) -> None:
        trigger = subscription.trigger
        started = time.monotonic()
        error: EngineError | None = None
        attributes: dict[str, Any] = {
            "topic": topic.name,
            "job_id": job.id,
            "function_id": trigger.function_id,
        }
        with self._telemetry.span(
            f"queue {topic.name}",
            job.trace.traceparent,
            **attributes,
        ) as span:
            trace = Trace(span.trace.traceparent, job.trace.baggage)
            try:
                if await condition_met(
                    self._invocations,
                    trigger,
                    "_condition_path",
                    job.data,
                ):
                    await self._invocations.invoke(
                        trigger.function_id,
                        job.data,
                        prefer=trigger.owner,
                        trace=trace,
                    )
            except EngineError as exc:
                error, span.error = exc, exc.code
        milliseconds = round((time.monotonic() - started) * 1000)
        outcome, action = self._outcome(topic, subscription.policy, job, error)
        log_event(
            "queue.executed",
            outcome=outcome,
            **attributes,
            ms=milliseconds,
            trace_id=span.trace_id,
        )
        await self._settle(topic, job, action)

    def _outcome(
        self,
        topic: _Topic,
        policy: Policy,
        job: QueuedJob,
        error: EngineError | None,
    ) -> tuple[str, Callable[[], Awaitable[None]]]:
        """Decide what becomes of an executed job: a word for the log and the write that makes it so."""
        if error is None:
            return "done", lambda: self._store.done(job)
        text = f"{error.code}: {error.message}"
        if isinstance(error, InvocationStoppedError):
            interruptions = job.interruptions + 1
            if interruptions >= MAX_INTERRUPTIONS:
                text = f"worker_lost: the worker was lost {interruptions} times while it handled this job"
                return "dead", lambda: self._store.bury(job, text, interrupted=True)
            excess = interruptions - PROMPT_INTERRUPTIONS
            pause = min(2.0**excess, 30.0) if excess > 0 else 0.0
            return "interrupted", lambda: self._return(
                topic,
                pause,
                self._store.release(job, interrupted=True, delay=pause),
            )
        failures = job.failures + 1
        if failures >= policy.executions:
            return "dead", lambda: self._store.bury(job, text)
        delay = policy.delay(failures)
        return "retry", lambda: self._return(
            topic,
            delay,
            self._store.retry(job, delay, text),
        )

    async def _return(
        self,
        topic: _Topic,
        delay: float,
        write: Awaitable[None],
    ) -> None:
        await write
        self._wake_later(topic, delay)

    async def _settle(
        self,
        topic: _Topic,
        job: QueuedJob,
        write: Callable[[], Awaitable[None]],
    ) -> None:
        """Write an outcome, for as long as it takes PostgreSQL to come back."""
        while True:
            try:
                await write()
            except StorageUnavailableError:
                log_event(
                    "queue.outcome_waits",
                    logging.WARNING,
                    topic=topic.name,
                    job_id=job.id,
                )
                await asyncio.sleep(STORAGE_PAUSE)
            except psycopg.Error as exc:
                if not is_gone(exc):
                    raise
                log_event(
                    "queue.job_gone",
                    logging.WARNING,
                    topic=topic.name,
                    job_id=job.id,
                )
                return
            else:
                return


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
