"""Pauses: an operator stops everything, a flow, a topic, a cron or an employee's calendar, and lets it go on later.

What a pause means: webhooks are taken and queued, nothing of what is paused writes to a foreign system, and what was
waiting is worked off afterwards. Three places make it so.

* **Before the work** (`run_job`, `run_cron`): a job that comes out of the queue while it is paused is kept in
  PostgreSQL and counts as done for the queue, so that it neither burns its tries nor blocks others. A cron's run is
  left out.
* **Before the wire** (`require_writable`): each write to a foreign system is refused while the work it belongs to is
  paused. So a run that began before stops between two writes. The refusal, `Paused`, uses up no try of the record, and
  the job is kept like the others, whatever the code above made of the refusal.
* **Afterwards** (`release_jobs`, once a minute): jobs that are not paused any more go back into the queue. A job leaves
  the table only when the queue has confirmed it: a crash may bring one twice, which finds all done, and loses none.

While PostgreSQL is away, what was last known of the pauses holds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, get_args

import asyncpg

from services.core.database import database_errors
from services.core.errors import (
    DatabaseUnusable,
    InvalidInput,
    Paused,
    Unavailable,
)
from services.core.jobs.queue import Enqueue, enqueue_all
from services.core.log import log
from services.core.metrics import GUARDS, observe_wait
from services.core.operation.cron_runs import note_cron_run
from services.core.operation.operator_actions import (
    SYSTEM,
    ActionResult,
    OperatorAction,
    record_action,
)
from services.core.resources import Resources, current_resources

PauseKind = Literal["all", "flow", "topic", "cron", "employee"]

#: What can be paused by name. Topics and crons with their flow; those of the steps (a test compares them).
FLOWS = ("vmh", "calendar")
TOPICS: Mapping[str, str] = {
    "vmh.beteiligte.create": "vmh",
    "vmh.beteiligte.update": "vmh",
    "vmh.beteiligte.delete": "vmh",
    "vmh.beteiligte.sync_check": "vmh",
    "vmh.beteiligte.sync_now": "vmh",
    "vmh.bankverbindungen.create": "vmh",
    "vmh.bankverbindungen.update": "vmh",
    "vmh.bankverbindungen.delete": "vmh",
    "calendar_sync_all": "calendar",
    "calendar_sync_employee": "calendar",
}
CRONS: Mapping[str, str] = {"beteiligte_sync": "vmh", "calendar_sync": "calendar"}

#: The cron that ends pauses; it cannot be paused.
RESUME_CRON = "resume"

LONGEST_REASON = 200
LONGEST_EMPLOYEE = 40
#: Jobs that go back into the queue in one transaction.
BATCH = 100
ENQUEUE_SECONDS = 20.0
#: A write waits no longer than this for PostgreSQL to say whether it is paused.
LOOK_SECONDS = 2.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Scope:
    """What a pause stops. ``target`` is empty for ``all``, else the name of the flow, topic, cron, or the Kürzel."""

    kind: PauseKind
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" if self.target else self.kind


@dataclass(frozen=True)
class Pause:
    """A pause that holds. ``since`` and ``until`` are aware; ``until`` None: until it is resumed."""

    scope: Scope
    reason: str
    who: str
    since: datetime
    until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and self.until <= now


@dataclass
class Work:
    """What is being done, by the names under which it can be paused; ``is_refused``: a write of it was refused."""

    flow: str
    topic: str = ""
    cron: str = ""
    employee: str = ""
    is_refused: bool = field(default=False, compare=False)


#: The work that this task does; None for what no flow does, such as a request of a tool or of an operator.
_work: ContextVar[Work | None] = ContextVar("work", default=None)
_NO_FLOW = Work("")


@dataclass
class _Known:
    """The pauses as they were last read."""

    pauses: list[Pause] = field(default_factory=list)


# -- for operators ------------------------------------------------------------------------------------------------


async def active_pauses(resources: Resources) -> list[Pause]:
    """The pauses that hold now, the oldest first.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch(
            """
            SELECT kind, target, reason, who, since, until FROM pause
            WHERE until IS NULL OR until > $1 ORDER BY since, kind, target
            """,
            resources.clock(),
        )
    return [_pause(row) for row in rows]


async def pause(
    resources: Resources,
    scope: Scope,
    *,
    reason: str,
    who: str,
    until: datetime | None = None,
) -> Pause:
    """Pause, and write it into the audit. One that holds already gets the new reason and end, and keeps its ``since``.

    When this returns, no write of what is paused begins any more; one that is on its way may still arrive.

    Raises:
        InvalidInput: there is nothing of that name, no reason, or an end that is not ahead.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    wanted = planned_pause(resources, scope, reason=reason, who=who, until=until)
    scope, reason, now = wanted.scope, wanted.reason, wanted.since
    await require_employee(resources, scope)
    async with database_errors():
        pool = await resources.database()
        async with pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                """
                INSERT INTO pause AS known (kind, target, reason, who, since, until) VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (kind, target) DO UPDATE SET reason = excluded.reason, who = excluded.who,
                    until = excluded.until,
                    since = CASE WHEN known.until <= excluded.since THEN excluded.since ELSE known.since END
                RETURNING kind, target, reason, who, since, until
                """,
                scope.kind,
                scope.target,
                reason,
                who,
                now,
                until,
            )
            details = {"reason": reason, "until": until.isoformat() if until else None}
            await record_action(
                connection,
                OperatorAction(who, "pause", str(scope), "done", details, now),
            )
    return _pause(row)


def planned_pause(
    resources: Resources,
    scope: Scope,
    *,
    reason: str,
    who: str,
    until: datetime | None = None,
) -> Pause:
    """What `pause` would make of this; nothing is changed.

    Raises:
        InvalidInput: there is nothing of that name, no reason, or an end that is not ahead.
    """
    now = resources.clock()
    scope = checked_scope(scope)
    reason = _checked_reason(reason)
    if until is not None and not _is_end(until, now):
        raise InvalidInput("the end of the pause must be ahead, with its time zone")
    return Pause(scope, reason, who, now, until)


def _is_end(until: datetime, now: datetime) -> bool:
    """Whether it has a time zone, is ahead, and is a time in UTC as well: the last day of all may not be."""
    try:
        return until.tzinfo is not None and until.astimezone(UTC) > now
    except OverflowError:
        return False


async def require_employee(resources: Resources, scope: Scope) -> None:
    """Refuse a pause of an employee whom the calendar sync does not know, as soon as it knows any.

    Raises:
        InvalidInput: it would stop nothing; says which Kürzel there are.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    if scope.kind != "employee":
        return
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch("SELECT kuerzel FROM calendar_sync_employee ORDER BY 1")
    known = [row["kuerzel"] for row in rows]
    wanted = scope.target.casefold()
    if known and wanted not in map(str.casefold, known):
        raise InvalidInput(f"an employee is one of {', '.join(known)}")


async def resume(resources: Resources, scope: Scope, *, who: str) -> bool:
    """End a pause, and write it into the audit; False if there was none. Its jobs go on within a minute.

    Raises:
        InvalidInput: there is nothing of that name.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    now = resources.clock()
    scope = checked_scope(scope)
    async with database_errors():
        pool = await resources.database()
        async with pool.acquire() as connection, connection.transaction():
            ended = await connection.fetchrow(
                "DELETE FROM pause WHERE kind = $1 AND target = $2 RETURNING kind",
                scope.kind,
                scope.target,
            )
            result: ActionResult = "done" if ended else "nothing_to_do"
            await record_action(
                connection,
                OperatorAction(who, "resume", str(scope), result, {}, now),
            )
    return ended is not None


async def waiting_jobs(resources: Resources) -> dict[str, int]:
    """How many jobs of each topic wait for the end of a pause.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch(
            "SELECT topic, count(*) AS jobs FROM paused_job GROUP BY topic ORDER BY topic",
        )
    return {row["topic"]: row["jobs"] for row in rows}


def checked_scope(scope: Scope) -> Scope:
    """The scope as it is stored.

    Raises:
        InvalidInput: there is nothing of that name; says which names there are.
    """
    names: Mapping[str, Sequence[str]] = {
        "flow": FLOWS,
        "topic": tuple(TOPICS),
        "cron": tuple(CRONS),
    }
    if scope.kind not in get_args(PauseKind):
        raise InvalidInput(f"what is paused is one of {', '.join(get_args(PauseKind))}")
    target = scope.target.strip()
    if scope.kind == "all" and target:
        raise InvalidInput("a pause of everything has no target")
    if scope.kind == "employee" and not 0 < len(target) <= LONGEST_EMPLOYEE:
        raise InvalidInput("an employee is named by the Kürzel")
    if scope.kind in names and target not in names[scope.kind]:
        raise InvalidInput(f"a {scope.kind} is one of {', '.join(names[scope.kind])}")
    return Scope(scope.kind, target)


def _checked_reason(reason: str) -> str:
    text = " ".join(reason.split())
    if not text:
        raise InvalidInput("a pause needs a reason")
    if len(text) > LONGEST_REASON:
        raise InvalidInput(f"the reason is longer than {LONGEST_REASON} characters")
    return text


def _pause(row: asyncpg.Record) -> Pause:
    scope = Scope(row["kind"], row["target"])
    return Pause(scope, row["reason"], row["who"], row["since"], row["until"])


# -- before the work ----------------------------------------------------------------------------------------------


async def run_job(
    topic: str,
    payload: dict[str, Any],
    job: Callable[[], Awaitable[object]],
    context: Any,
    *,
    employee: str = "",
) -> None:
    """Do a job of the queue, unless it is paused: then it is kept until the pause is over.

    ``topic`` is one of `TOPICS`; ``employee`` is the Kürzel of whom it concerns.

    Raises:
        Whatever ``job`` raises but Paused.
        Unavailable: the job is paused and cannot be kept, so that the queue has to try again.
    """
    resources = current_resources()
    observe_wait(topic, payload, resources.clock())
    work = Work(TOPICS[topic], topic=topic, employee=employee)
    if not await _is_stopped(resources, work, job):
        return
    await _keep(resources, work, payload)
    log(context, "info", "job.paused", topic=topic)


async def run_cron(
    cron: str,
    job: Callable[[], Awaitable[Result]],
    context: Any,
) -> Result | None:
    """Do a cron's work, unless it is paused: then this run is left out, and None returned. ``cron``: one of `CRONS`.

    Raises:
        Whatever ``job`` raises but Paused.
    """
    results: list[Result] = []

    async def kept_result() -> None:
        results.append(await job())

    work = Work(CRONS[cron], cron=cron)
    if await _is_stopped(current_resources(), work, kept_result):
        log(context, "info", "cron.paused", cron=cron)
    else:
        await _note_cron(cron, context)
    return results[0] if results else None


async def _note_cron(cron: str, context: Any) -> None:
    try:
        await note_cron_run(current_resources(), cron)
    except (Unavailable, DatabaseUnusable) as error:
        log(
            context,
            "warning",
            "cron.not_noted",
            cron=cron,
            error=type(error).__name__,
        )


async def _is_stopped(
    resources: Resources,
    work: Work,
    job: Callable[[], Awaitable[object]],
) -> bool:
    """Do the work; whether a pause has kept it, or a part of it, from being done."""
    if _pause_of(work, await known_pauses(resources)) is not None:
        return True
    try:
        with _doing(work):
            await job()
    except Paused:
        return True
    return work.is_refused


@contextmanager
def _doing(work: Work) -> Iterator[None]:
    token = _work.set(work)
    try:
        yield
    finally:
        _work.reset(token)


def part_of(flow: str) -> AbstractContextManager[None]:
    """What is done inside, for a person or a tool, is stopped with the flow (one of `FLOWS`)."""
    return _doing(Work(flow))


async def _keep(resources: Resources, work: Work, payload: dict[str, Any]) -> None:
    known = {name: value for name, value in payload.items() if name != "timestamp"}
    async with database_errors():
        pool = await resources.database()
        await pool.execute(
            """
            INSERT INTO paused_job (topic, job_key, payload, employee, parked_at) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (topic, job_key) DO UPDATE SET payload = excluded.payload
            """,
            work.topic,
            json.dumps(known, sort_keys=True),
            payload,
            work.employee,
            resources.clock(),
        )


# -- before the wire ----------------------------------------------------------------------------------------------


async def require_writable(resources: Resources) -> None:
    """Refuse a write to a foreign system while the work that it belongs to is paused.

    Raises:
        Paused: it is; says until when.
    """
    refusal = await refusal_of_writes(resources)
    if refusal is not None:
        note_refusal()
        raise refusal


async def refusal_of_writes(resources: Resources) -> Paused | None:
    """What a write of the running work is to be refused with; None if it may be sent. Who refuses: `note_refusal`."""
    work = _work.get() or _NO_FLOW
    found = _pause_of(work, await known_pauses(resources))
    return None if found is None else Paused(_shown(found))


def _shown(item: Pause) -> str:
    end = f"{item.until:%Y-%m-%d %H:%M %Z}" if item.until else "it is resumed"
    return f"paused ({item.scope}) until {end}"


def note_refusal() -> None:
    """Remember that a write of the running work was refused, so that its job is kept."""
    GUARDS.labels("pause").inc()
    work = _work.get()
    if work is not None:
        work.is_refused = True


async def known_pauses(resources: Resources) -> list[Pause]:
    """The pauses that hold; while PostgreSQL is away those that were known last."""
    known = resources.shared(_Known)
    try:
        async with database_errors(LOOK_SECONDS):
            known.pauses = await active_pauses(resources)
    except (Unavailable, DatabaseUnusable):
        now = resources.clock()
        return [item for item in known.pauses if not item.is_over(now)]
    return known.pauses


def _pause_of(work: Work, pauses: Sequence[Pause]) -> Pause | None:
    """The first pause that stops the work."""
    return next((item for item in pauses if _stops(item.scope, work)), None)


def _stops(scope: Scope, work: Work) -> bool:
    if scope.kind == "all":
        return True
    if scope.kind == "employee":
        return scope.target.casefold() == work.employee.casefold()
    names = {"flow": work.flow, "topic": work.topic, "cron": work.cron}
    return names[scope.kind] == scope.target


# -- afterwards ---------------------------------------------------------------------------------------------------


async def release_jobs(enqueue: Enqueue, context: Any) -> dict[str, int]:
    """Put the jobs back into the queue that are not paused any more, those first that wait longest.

    Returns how many were ``released`` and how many still wait (``waiting``). Pauses that have ended by themselves are
    removed, with a line in the audit. Several workers may do this at the same time: each takes other jobs.

    Raises:
        NotEnqueued: the queue is down or slow; the jobs stay where they are.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    resources = current_resources()
    await _end_pauses(resources, context)
    released = 0
    for work in await _kept(resources):
        released += await _release(resources, enqueue, work)
    waiting = sum((await waiting_jobs(resources)).values())
    await note_cron_run(resources, RESUME_CRON)
    if released:
        log(context, "info", "jobs.released", released=released, waiting=waiting)
    return {"released": released, "waiting": waiting}


async def _kept(resources: Resources) -> list[Work]:
    """The work of which jobs are kept, without its jobs."""
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch(
            "SELECT topic, employee FROM paused_job GROUP BY topic, employee ORDER BY min(parked_at)",
        )
    return [
        Work(TOPICS.get(row["topic"], ""), topic=row["topic"], employee=row["employee"])
        for row in rows
    ]


async def _release(resources: Resources, enqueue: Enqueue, work: Work) -> int:
    """Put the jobs of this work back, as long as it is not paused (again)."""
    released = 0
    while _pause_of(work, await active_pauses(resources)) is None:
        batch = await _release_batch(resources, enqueue, work)
        released += batch
        if batch < BATCH:
            break
    return released


async def _release_batch(resources: Resources, enqueue: Enqueue, work: Work) -> int:
    """Enqueue the oldest jobs, and forget them; both or, for all that PostgreSQL shows, neither."""
    async with database_errors():
        pool = await resources.database()
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                """
                SELECT job_key, payload FROM paused_job WHERE topic = $1 AND employee = $2
                ORDER BY parked_at LIMIT $3 FOR UPDATE SKIP LOCKED
                """,
                work.topic,
                work.employee,
                BATCH,
            )
            payloads = [row["payload"] for row in rows]
            await enqueue_all(
                enqueue,
                work.topic,
                payloads,
                timeout_seconds=ENQUEUE_SECONDS,
            )
            await connection.execute(
                "DELETE FROM paused_job WHERE topic = $1 AND job_key = ANY($2)",
                work.topic,
                [row["job_key"] for row in rows],
            )
    return len(rows)


async def _end_pauses(resources: Resources, context: Any) -> None:
    now = resources.clock()
    async with database_errors():
        pool = await resources.database()
        async with pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "DELETE FROM pause WHERE until <= $1 RETURNING kind, target",
                now,
            )
            for row in rows:
                scope = str(Scope(row["kind"], row["target"]))
                action = OperatorAction(SYSTEM, "resume", scope, "done", {}, now)
                await record_action(connection, action)
    for row in rows:
        log(context, "info", "pause.over", kind=row["kind"])
