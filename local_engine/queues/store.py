"""The durable queue: one procrastinate job per enqueued message.

procrastinate keeps the jobs, their states and their history; ``task_name`` is the topic, ``queue_name`` the topic or,
if that is too long for a notification channel, a short form of it. The payload is stored as JSON text, so that the
worker gets back exactly what was enqueued (jsonb would reorder keys and refuse NUL characters). A finished job is
deleted; a dead letter is a job in the state ``failed``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from procrastinate import sql
from procrastinate.jobs import Status

from local_engine.database import Connection, Database
from local_engine.errors import EngineError
from local_engine.queues.grouped import Grouped
from local_engine.worker_port.invocations import Trace
from local_engine.worker_port.protocol import MAX_PAYLOAD_BYTES, dumps, loads

MAX_TOPIC_LENGTH = 128
#: PostgreSQL allows 63 bytes for a notification channel; procrastinate puts 23 before the queue's name.
_MAX_QUEUE_NAME = 40


@dataclass(frozen=True)
class QueuedJob:
    """A job taken from the queue. ``failures``: executions so far that ended with an error of the function."""

    id: int
    topic: str
    data: Any
    trace: Trace
    failures: int
    interruptions: int


@dataclass(frozen=True)
class _NewJob:
    """A message as it is stored."""

    queue: str
    topic: str
    args: dict[str, str]


@dataclass(frozen=True)
class Head:
    """The first job of a topic that is waiting; ``delay`` is how long it still has to wait (seconds)."""

    id: int
    delay: float


def queue_name(topic: str) -> str:
    """Return procrastinate's queue name for a topic. Raises EngineError (topic_not_set, invalid_topic)."""
    if not topic:
        raise EngineError("topic_not_set", "Topic is not set")
    if len(topic) > MAX_TOPIC_LENGTH or "\0" in topic:
        raise EngineError(
            "invalid_topic",
            f"A topic has at most {MAX_TOPIC_LENGTH} characters and no NUL",
        )
    try:
        encoded = topic.encode()
    except UnicodeEncodeError as exc:
        raise EngineError("invalid_topic", "The topic is no valid text") from exc
    if len(encoded) <= _MAX_QUEUE_NAME:
        return topic
    return f"long-{hashlib.sha256(encoded).hexdigest()[:32]}"


# What `JobManager.batch_defer_jobs_async` does. An array of its composite type costs the engine more than all else that
# it does for a message, because psycopg escapes each text twice; as JSON PostgreSQL takes it apart.
_ADD = """
SELECT unnest(procrastinate_defer_jobs_v1(array_agg(
    ROW(queue, topic, 0, NULL, NULL, args, NULL)::procrastinate_job_to_defer_v1 ORDER BY position)))
FROM ROWS FROM (jsonb_to_recordset(%s::jsonb) AS (queue text, topic text, args jsonb))
    WITH ORDINALITY AS job (queue, topic, args, position)
"""
_FETCH = """
WITH next AS (
    SELECT id FROM procrastinate_jobs
    WHERE status = 'todo' AND queue_name = %(queue)s AND (scheduled_at IS NULL OR scheduled_at <= now())
    ORDER BY priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE procrastinate_jobs SET status = 'doing' FROM next
    WHERE procrastinate_jobs.id = next.id RETURNING procrastinate_jobs.*
)
SELECT taken.id, taken.task_name, taken.args, taken.attempts - coalesce(note.forgiven, 0),
       coalesce(note.interruptions, 0)
FROM taken LEFT JOIN engine.job_notes note ON note.job_id = taken.id ORDER BY taken.priority DESC, taken.id
"""
_HEAD = """
SELECT id, greatest(extract(epoch FROM scheduled_at - now()), 0)::float8 FROM procrastinate_jobs
WHERE status = 'todo' AND queue_name = %s ORDER BY priority DESC, id LIMIT 1
"""
_NOTE = """
INSERT INTO engine.job_notes AS note (job_id, forgiven, interruptions, error) VALUES (%s, %s, %s, %s)
ON CONFLICT (job_id) DO UPDATE SET forgiven = note.forgiven + excluded.forgiven,
    interruptions = note.interruptions + excluded.interruptions, error = excluded.error
"""
_RECOVER = """
WITH orphan AS (SELECT id FROM procrastinate_jobs WHERE status = 'doing' FOR UPDATE),
note AS (
    INSERT INTO engine.job_notes AS note (job_id, forgiven, interruptions) SELECT id, 1, 1 FROM orphan
    ON CONFLICT (job_id) DO UPDATE SET forgiven = note.forgiven + 1, interruptions = note.interruptions + 1
)
SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL) FROM orphan
"""
_REDRIVE = """
WITH dead AS (
    SELECT id, attempts FROM procrastinate_jobs
    WHERE status = 'failed' AND (%(topic)s::text IS NULL OR task_name = %(topic)s)
      AND (%(job_id)s::bigint IS NULL OR id = %(job_id)s) FOR UPDATE
), note AS (
    INSERT INTO engine.job_notes (job_id, forgiven) SELECT id, attempts + 1 FROM dead
    ON CONFLICT (job_id) DO UPDATE SET forgiven = excluded.forgiven, interruptions = 0
)
SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL) FROM dead
"""
_STATS = """
SELECT task_name,
       count(*) FILTER (WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())),
       count(*) FILTER (WHERE status = 'doing'),
       count(*) FILTER (WHERE status = 'todo' AND scheduled_at > now()),
       count(*) FILTER (WHERE status = 'failed')
FROM procrastinate_jobs GROUP BY task_name
"""
_OLDEST = """
SELECT job.task_name, min(event.at) FROM procrastinate_jobs job
JOIN procrastinate_events event ON event.job_id = job.id AND event.type = 'deferred'
WHERE job.status = 'todo' GROUP BY job.task_name
"""
_DEAD_LETTERS = """
SELECT job.id, job.task_name, job.args ->> 'data', job.attempts, note.error,
       (SELECT max(at) FROM procrastinate_events WHERE job_id = job.id AND type = 'failed'),
       (SELECT min(at) FROM procrastinate_events WHERE job_id = job.id AND type = 'deferred')
FROM procrastinate_jobs job LEFT JOIN engine.job_notes note ON note.job_id = job.id
WHERE job.status = 'failed' AND (%(topic)s::text IS NULL OR job.task_name = %(topic)s)
ORDER BY job.id DESC LIMIT %(limit)s
"""
_DEAD_LETTER_PAGE = """
SELECT job.id, job.args ->> 'data', coalesce(note.error, ''), greatest(job.attempts - coalesce(note.forgiven, 0), 0),
       (SELECT trunc(extract(epoch FROM max(at)))::bigint FROM procrastinate_events
        WHERE job_id = job.id AND type = 'failed')
FROM procrastinate_jobs job LEFT JOIN engine.job_notes note ON note.job_id = job.id
WHERE job.status = 'failed' AND job.task_name = %(topic)s ORDER BY job.id DESC OFFSET %(offset)s LIMIT %(limit)s
"""
_DONE = "DELETE FROM procrastinate_jobs WHERE id = ANY(%s) AND status IN ('todo', 'doing') RETURNING id"
_DISCARD = "DELETE FROM procrastinate_jobs WHERE status = 'failed' AND task_name = %s AND id = %s"


class QueueStore:
    """All statements about jobs. Every method raises StorageUnavailableError while PostgreSQL is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._add_in_group: Grouped[_NewJob, int] = Grouped(self._add_all)
        self._done_in_group: Grouped[int, bool] = Grouped(self._done_all)

    async def recover(self) -> int:
        """Return jobs that a previous engine had in flight to the queue, and say how many.

        Only for the start, when this engine owns the database and has taken no job yet.
        """
        async with self._database.transaction() as connection:
            return (await connection.execute(_RECOVER)).rowcount

    async def add(self, topic: str, data: Any, trace: Trace) -> int:
        """Store a message durably and return the job's id. Raises EngineError for topics and payloads it refuses."""
        args: dict[str, Any] = {"data": dumps(data, "queue payload", MAX_PAYLOAD_BYTES)}
        for name, value in (
            ("traceparent", trace.traceparent),
            ("baggage", trace.baggage),
        ):
            if value is not None and value.isascii() and value.isprintable():
                args[name] = value
        return await self._add_in_group(_NewJob(queue_name(topic), topic, args))

    async def _add_all(self, jobs: list[_NewJob]) -> list[int]:
        text = json.dumps([vars(job) for job in jobs])
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_ADD, [text])).fetchall()
        return [int(str(row[0])) for row in rows]

    async def take(self, topic: str, limit: int) -> list[QueuedJob]:
        """Take at most ``limit`` due jobs of a topic, in order; they are in flight from now on."""
        arguments = {"queue": queue_name(topic), "limit": limit}
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(_FETCH, arguments)).fetchall()
        jobs = []
        for row in rows:
            try:
                jobs.append(_queued_job(row))
            except (
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
            ):  # not written by this engine
                await self.bury(
                    _unreadable(row),
                    "unreadable: the stored payload is no JSON",
                )
        return jobs

    async def head(self, topic: str) -> Head | None:
        """Return the first waiting job of a topic, due or not."""
        async with self._database.transaction() as connection:
            row: Any = await (
                await connection.execute(_HEAD, [queue_name(topic)])
            ).fetchone()
        return Head(row[0], row[1] or 0.0) if row is not None else None

    async def done(self, job: QueuedJob) -> None:
        """Delete a job that was handled."""
        if await self._done_in_group(job.id):
            return
        # procrastinate's own function says what has become of it.
        async with self._database.transaction() as connection:
            await self._finish(connection, job, Status.SUCCEEDED, delete=True)

    async def _done_all(self, job_ids: list[int]) -> list[bool]:
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_DONE, [job_ids])
            rows: list[Any] = await cursor.fetchall()
        deleted = {row[0] for row in rows}
        return [job_id in deleted for job_id in job_ids]

    async def bury(
        self,
        job: QueuedJob,
        error: str,
        *,
        interrupted: bool = False,
    ) -> None:
        """Make a job a dead letter; ``error`` says why its last execution failed."""
        async with self._database.transaction() as connection:
            count = int(interrupted)
            await connection.execute(_NOTE, [job.id, count, count, _storable(error)])
            await self._finish(connection, job, Status.FAILED, delete=False)

    async def retry(self, job: QueuedJob, delay: float, error: str) -> None:
        """Return a job that failed to the queue, due in ``delay`` seconds."""
        await self._put_back(job, delay, forgiven=0, interruptions=0, error=error)

    async def release(
        self,
        job: QueuedJob,
        *,
        interrupted: bool,
        delay: float = 0.0,
    ) -> None:
        """Return a job to the queue without using up an attempt; ``interrupted``: its worker was lost."""
        await self._put_back(
            job,
            delay,
            forgiven=1,
            interruptions=int(interrupted),
            error=None,
        )

    async def _put_back(
        self,
        job: QueuedJob,
        delay: float,
        *,
        forgiven: int,
        interruptions: int,
        error: str | None,
    ) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                _NOTE,
                [job.id, forgiven, interruptions, _storable(error)],
            )
            now = await (await connection.execute("SELECT now()")).fetchone()
            retry_at: Any = now[0] if now is not None else None
            arguments = {
                "job_id": job.id,
                "retry_at": retry_at + timedelta(seconds=delay),
            }
            nothing = {"new_priority": None, "new_queue_name": None, "new_lock": None}
            await connection.execute(sql.queries["retry_job"], {**arguments, **nothing})

    async def _finish(
        self,
        connection: Connection,
        job: QueuedJob,
        status: Status,
        *,
        delete: bool,
    ) -> None:
        arguments = {"job_id": job.id, "status": status.value, "delete_job": delete}
        await connection.execute(sql.queries["finish_job"], arguments)

    async def stats(self) -> dict[str, dict[str, int]]:
        """Return waiting, active, delayed and dead jobs per topic."""
        async with self._database.transaction() as connection:
            rows: list[Any] = await (await connection.execute(_STATS)).fetchall()
        return {
            row[0]: dict(
                zip(("waiting", "active", "delayed", "dead"), row[1:], strict=True),
            )
            for row in rows
        }

    async def oldest(self) -> dict[str, str]:
        """Return since when (ISO 8601) the oldest job of each topic waits, also before a retry."""
        async with self._database.transaction() as connection:
            rows: list[Any] = await (await connection.execute(_OLDEST)).fetchall()
        return {row[0]: row[1].isoformat() for row in rows}

    async def dead_letters(self, topic: str | None, limit: int) -> list[dict[str, Any]]:
        """Return dead letters, newest first, with payload, error and times (ISO 8601)."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                _DEAD_LETTERS,
                {"topic": topic, "limit": limit},
            )
            rows: list[Any] = await cursor.fetchall()
        return [_dead_letter(row) for row in rows]

    async def dead_letter_page(
        self,
        topic: str,
        offset: int,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Return dead letters of a topic as the real engine 0.10.0 shows them, newest first.

        ``failed_at`` is in seconds since 1970, ``retries`` counts executions, ``size_bytes`` is the payload's JSON.
        """
        arguments = {"topic": topic, "offset": offset, "limit": limit}
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_DEAD_LETTER_PAGE, arguments)
            rows: list[Any] = await cursor.fetchall()
        return [_dead_letter_message(row) for row in rows]

    async def discard(self, topic: str, job_id: int) -> int:
        """Delete one dead letter for good; 0 if the topic has none with this id."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_DISCARD, [topic, job_id])).rowcount

    async def redrive(self, topic: str | None, job_id: int | None) -> int:
        """Return dead letters to the queue with all their attempts; None for both means every one."""
        async with self._database.transaction() as connection:
            return (
                await connection.execute(_REDRIVE, {"topic": topic, "job_id": job_id})
            ).rowcount


def is_gone(error: psycopg.Error) -> bool:
    """Log that a job vanished while it was handled (an operator removed it by hand)."""
    return isinstance(error, psycopg.errors.RaiseException)


def _storable(error: str | None) -> str | None:
    """Return the text without what a PostgreSQL text cannot hold, at most 2,000 characters."""
    if error is None:
        return None
    return error[:2000].replace("\0", "").encode("utf-8", "replace").decode()


def _unreadable(row: Any) -> QueuedJob:
    return QueuedJob(row[0], row[1], None, Trace(), 0, 0)


def _queued_job(row: Any) -> QueuedJob:
    job_id, topic, args, failures, interruptions = row
    trace = Trace(args.get("traceparent"), args.get("baggage"))
    return QueuedJob(
        job_id,
        topic,
        loads(args["data"]),
        trace,
        max(failures, 0),
        interruptions,
    )


def _dead_letter(row: Any) -> dict[str, Any]:
    job_id, topic, data, attempts, error, failed_at, enqueued_at = row
    return {
        "job_id": job_id,
        "topic": topic,
        "data": _readable(data),
        "executions": attempts,
        "error": error,
        "failed_at": _iso(failed_at),
        "enqueued_at": _iso(enqueued_at),
    }


def _dead_letter_message(row: Any) -> dict[str, Any]:
    job_id, data, error, executions, failed_at = row
    return {
        "id": str(job_id),
        "payload": _readable(data),
        "error": error,
        "failed_at": failed_at or 0,
        "retries": executions,
        "size_bytes": len((data or "").encode("utf-8", "surrogatepass")),
    }


def _readable(text: str | None) -> Any:
    try:
        return loads(text or "null")
    except ValueError:
        return None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
