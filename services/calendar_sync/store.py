"""What the calendar sync remembers in PostgreSQL: pairs, cursors, intents, and the append-only audit.

All times are aware. All methods raise `Unavailable` if PostgreSQL does not answer. No text of an appointment is stored:
contents are hashes, errors are reason codes or our own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg

from services.calendar_sync.model import Fingerprint, Pair
from services.core.database import database_errors
from services.core.errors import Conflict

Side = Literal["advoware", "google", "none"]
RunResult = Literal["no_change", "changed", "held", "failed"]
HoldReason = Literal["too_many", "advoware_empty"]

#: So many rows are read in a thread, so that others get their turn meanwhile.
MANY_ROWS = 500

#: The cron starts a run of all employees every 15 minutes: who had none for longer than this is overdue.
OVERDUE_MINUTES = 45
#: How long an overwritten event is kept.
OVERWRITTEN_DAYS = 30
#: How long a refused request is remembered that was not sent again: longer than it waits.
REFUSED_DAYS = 2


@dataclass(frozen=True)
class StoredPair:
    """A pair with what the store knows about it."""

    pair: Pair
    created_at: datetime
    updated_at: datetime
    last_sync: datetime | None  #: when it was last saved as synced
    deleted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Where the sync of an employee stands. Without ``sync_token`` the whole calendar is listed."""

    employee_kuerzel: str
    calendar_id: str | None = None
    sync_token: str | None = None
    last_full_run: datetime | None = None
    quiet_digest: str | None = (
        None  #: of all that a run has read in which nothing was to be done
    )
    updated_at: datetime | None = None  #: set by the store


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A create in Advoware that was begun. With ``advoware_frnr`` its result is known; without, it may have succeeded.

    What it may have created lies on ``first_day``, is younger than ``started_at``, and has the ``content_hash``.
    """

    employee_kuerzel: str
    google_event_id: str
    sync_id: UUID
    content_hash: str
    first_day: date
    started_at: datetime
    attempts: int = 1
    advoware_frnr: int | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier attempt may have created the Termin already."""
        return self.attempts > 1


@dataclass(frozen=True)
class Refused:
    """A request that a system has refused ``times`` times, ``at`` the latest of them with ``error``, our own words."""

    times: int
    at: datetime
    error: str


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """One thing that was done (or refused) and why. ``side`` is the one that was written to."""

    employee_kuerzel: str
    side: Side
    action: str
    reason: str
    sync_id: UUID | None = None
    advoware_frnr: int | None = None
    google_event_id: str | None = None
    before_hash: str | None = None
    after_hash: str | None = None
    error: str | None = None
    trace_id: str | None = None
    at: datetime | None = None  #: set by the store, like `audit_id`
    audit_id: int | None = None


@dataclass(frozen=True)
class EmployeeStatistics:
    """The numbers of one employee's pairs; ``failed`` and ``pending`` are among the ``live`` ones."""

    employee_kuerzel: str
    live: int
    pending: int
    failed: int
    deleted: int
    last_sync: datetime | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """The latest run of an employee's calendar; see `db/migrations/0011_calendar_operation.sql`."""

    employee_kuerzel: str
    result: RunResult
    code: str | None
    ended_at: datetime
    succeeded_at: datetime | None
    failing_since: datetime | None
    failures: int


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Work that a guard holds back. ``released_at``: an operator has looked, and the next run shall do it.

    ``sync_ids`` are the pairs concerned; empty if it was held by a version that did not keep them.
    """

    employee_kuerzel: str
    reason: HoldReason
    number: int
    live_pairs: int
    held_since: datetime
    released_at: datetime | None = None
    sync_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True)
class Operation:
    """How the runs of all employees are, as numbers.

    Attributes:
        employees: those who had a run of late.
        failing: those whose latest run failed; ``held``: those of whom work is held back and not released.
        since: of these, when the first one began to fail or to be held.
        last_run: when the latest run of any employee ended.
    """

    employees: int
    failing: int
    held: int
    since: datetime | None
    last_run: datetime | None


@dataclass(frozen=True, kw_only=True)
class Overwritten:
    """An event as it was before the sync wrote over it or deleted it; a Termin as the event that would show it.

    Holds texts: never log it.
    """

    employee_kuerzel: str
    sync_id: UUID
    google_event_id: str
    advoware_frnr: int | None
    resource: Mapping[str, Any] = field(repr=False)
    at: datetime | None = None  #: set by the store, like the next two
    overwritten_id: int | None = None
    restored_at: datetime | None = None


class CalendarStore:
    """Reads and writes the tables of `db/migrations/0004_calendar_sync.sql`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    # -- pairs ------------------------------------------------------------------------------------------------

    async def load_pairs(self, kuerzel: str | None = None) -> list[Pair]:
        """The live pairs of an employee, or of all, oldest first."""
        found = await self._pairs(
            """
            SELECT * FROM calendar_sync WHERE NOT deleted AND ($1::text IS NULL OR employee_kuerzel = $1)
            ORDER BY created_at, sync_id
            """,
            kuerzel,
        )
        return [stored.pair for stored in found]

    async def pairs_digest(self, kuerzel: str) -> str:
        """A text that changes with every change of an employee's live pairs."""
        async with database_errors():
            digest = await self._pool.fetchval(
                """
                SELECT count(*) || ' ' || coalesce(md5(string_agg(md5(pair::text), '' ORDER BY sync_id)), '')
                FROM calendar_sync AS pair WHERE NOT deleted AND employee_kuerzel = $1
                """,
                kuerzel,
            )
        return str(digest)

    async def find_pair(self, sync_id: UUID) -> StoredPair | None:
        """A pair, live or deleted."""
        found = await self._pairs(
            "SELECT * FROM calendar_sync WHERE sync_id = $1",
            sync_id,
        )
        if found:
            return found[0]
        return None

    async def pairs_of_termin(self, frnr: int) -> list[StoredPair]:
        """All pairs that have this Termin, deleted ones included, oldest first."""
        return await self._pairs(
            "SELECT * FROM calendar_sync WHERE advoware_frnr = $1 ORDER BY created_at, sync_id",
            frnr,
        )

    async def pairs_of_event(self, event_id: str) -> list[StoredPair]:
        """All pairs that have this event, deleted ones included, oldest first."""
        return await self._pairs(
            "SELECT * FROM calendar_sync WHERE google_event_id = $1 ORDER BY created_at, sync_id",
            event_id,
        )

    async def events_once_paired(
        self,
        kuerzel: str,
        event_ids: Collection[str],
    ) -> set[tuple[str, UUID]]:
        """Those of the events that an employee's deleted pairs have had, each with the ``sync_id`` of such a pair."""
        if not event_ids:
            return set()
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT google_event_id, sync_id FROM calendar_sync
                WHERE deleted AND employee_kuerzel = $1 AND google_event_id = ANY($2)
                """,
                kuerzel,
                list(event_ids),
            )
        return {(row["google_event_id"], row["sync_id"]) for row in rows}

    async def pairs_elsewhere(
        self,
        kuerzel: str,
        event_ids: Collection[str],
    ) -> list[Pair]:
        """The pairs of other employees that have one of the events, or have had it; live ones last."""
        if not event_ids:
            return []
        rows = await self._pairs(
            """
            SELECT * FROM calendar_sync
            WHERE employee_kuerzel <> $1 AND google_event_id = ANY($2)
            ORDER BY deleted DESC, updated_at, sync_id
            """,
            kuerzel,
            list(event_ids),
        )
        return [row.pair for row in rows]

    async def save_pair(self, pair: Pair, audit: AuditLine, now: datetime) -> None:
        """Insert the pair, or replace the row with its ``sync_id``, together with its line in the audit.

        An intent whose result is this pair's Termin is fulfilled by it and forgotten in the same transaction.

        Raises:
            Conflict: a live pair of the employee has this Termin or event already, or this pair was deleted meanwhile.
        """
        async with self._transaction() as connection:
            stored = await connection.fetchval(_SAVE_PAIR, *_pair_values(pair), now)
            if stored is None:
                raise Conflict("PostgreSQL", "this pair was deleted in the meantime")
            await connection.execute(
                """
                DELETE FROM calendar_sync_intent
                WHERE employee_kuerzel = $1 AND google_event_id = $2 AND advoware_frnr = $3
                """,
                pair.employee_kuerzel,
                pair.google_event_id,
                pair.advoware_frnr,
            )
            await _append(connection, audit, now)

    async def save_pairs(
        self,
        pairs: Sequence[tuple[Pair, AuditLine]],
        now: datetime,
    ) -> None:
        """Insert these pairs, or replace their rows, with their lines in the audit: all of them or none.

        Raises:
            Conflict: as in `save_pair`, for at least one of them.
        """
        async with self._transaction() as connection:
            await connection.executemany(
                _SAVE_PAIR,
                [(*_pair_values(pair), now) for pair, _ in pairs],
            )
            await connection.executemany(
                _APPEND,
                [_audit_values(line, now) for _, line in pairs],
            )

    async def delete_pair(self, sync_id: UUID, audit: AuditLine, now: datetime) -> None:
        """Mark the pair as deleted, together with its line in the audit.

        Raises:
            Conflict: there is no such live pair.
        """
        async with self._transaction() as connection:
            stored = await connection.fetchval(
                """
                UPDATE calendar_sync SET deleted = true, deleted_at = $2, updated_at = $2
                WHERE sync_id = $1 AND NOT deleted RETURNING sync_id
                """,
                sync_id,
                now,
            )
            if stored is None:
                raise Conflict("PostgreSQL", "there is no such live pair")
            await _append(connection, audit, now)

    # -- cursors ----------------------------------------------------------------------------------------------

    async def load_cursor(self, kuerzel: str) -> Cursor:
        """Where the sync of an employee stands; an empty cursor before the first one."""
        async with database_errors():
            row = await self._pool.fetchrow(
                "SELECT * FROM calendar_sync_cursor WHERE employee_kuerzel = $1",
                kuerzel,
            )
        if row:
            return Cursor(**row)
        return Cursor(employee_kuerzel=kuerzel)

    async def load_cursors(self) -> list[Cursor]:
        """The cursors of all employees, by Kürzel."""
        async with database_errors():
            rows = await self._pool.fetch(
                "SELECT * FROM calendar_sync_cursor ORDER BY employee_kuerzel",
            )
        return [Cursor(**row) for row in rows]

    async def save_cursor(self, cursor: Cursor, now: datetime) -> None:
        """Store where the sync of an employee stands.

        Raises:
            Conflict: the calendar belongs to another employee.
        """
        async with self._transaction() as connection:
            await connection.execute(
                """
                INSERT INTO calendar_sync_cursor
                    (employee_kuerzel, calendar_id, sync_token, last_full_run, quiet_digest, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (employee_kuerzel) DO UPDATE SET
                    calendar_id = excluded.calendar_id, sync_token = excluded.sync_token,
                    last_full_run = excluded.last_full_run, quiet_digest = excluded.quiet_digest,
                    updated_at = excluded.updated_at
                """,
                cursor.employee_kuerzel,
                cursor.calendar_id,
                cursor.sync_token,
                cursor.last_full_run,
                cursor.quiet_digest,
                now,
            )

    # -- intents ----------------------------------------------------------------------------------------------

    async def begin_intent(self, intent: Intent) -> Intent:
        """Record, before the request, that a Termin is to be created from an event.

        An unfinished intent of that event is returned as it is, with one more attempt.
        """
        async with database_errors():
            row = await self._pool.fetchrow(
                """
                INSERT INTO calendar_sync_intent AS intent
                    (employee_kuerzel, google_event_id, sync_id, content_hash, first_day, started_at)
                VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (employee_kuerzel, google_event_id) DO UPDATE SET attempts = intent.attempts + 1
                RETURNING *
                """,
                *_intent_values(intent),
            )
        return Intent(**row)

    async def repeat_intent(self, intent: Intent) -> None:
        """Record, before the request, that the create is attempted again because the earlier one left nothing."""
        async with database_errors():
            await self._pool.execute(
                """
                UPDATE calendar_sync_intent
                SET sync_id = $3, content_hash = $4, first_day = $5, started_at = $6, advoware_frnr = NULL
                WHERE employee_kuerzel = $1 AND google_event_id = $2
                """,
                *_intent_values(intent),
            )

    async def record_created(self, kuerzel: str, event_id: str, frnr: int) -> None:
        """Record which Termin the create has led to; `save_pair` with it then ends the intent.

        Raises:
            Conflict: another create has led to this Termin.
        """
        async with self._transaction() as connection:
            await connection.execute(
                """
                UPDATE calendar_sync_intent SET advoware_frnr = $3
                WHERE employee_kuerzel = $1 AND google_event_id = $2
                """,
                kuerzel,
                event_id,
                frnr,
            )

    async def end_intent(self, kuerzel: str, event_id: str) -> None:
        """Forget the intent: nothing was created."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_intent WHERE employee_kuerzel = $1 AND google_event_id = $2",
                kuerzel,
                event_id,
            )

    async def open_intents(self, kuerzel: str | None = None) -> list[Intent]:
        """The unfinished creates of an employee, or of all, oldest first."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT * FROM calendar_sync_intent WHERE $1::text IS NULL OR employee_kuerzel = $1
                ORDER BY started_at, google_event_id
                """,
                kuerzel,
            )
        return [Intent(**row) for row in rows]

    # -- what was refused -------------------------------------------------------------------------------------

    async def load_refused(self, kuerzel: str) -> dict[str, Refused]:
        """What was refused of an employee's appointments, by request."""
        async with database_errors():
            rows = await self._pool.fetch(
                "SELECT * FROM calendar_sync_refused WHERE employee_kuerzel = $1",
                kuerzel,
            )
        return {
            row["request"]: Refused(row["times"], row["refused_at"], row["error"])
            for row in rows
        }

    async def note_refused(
        self,
        kuerzel: str,
        request: str,
        error: str,
        now: datetime,
    ) -> None:
        """Remember that a request was refused, once more if it was before; ``error`` in our own words."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_refused AS known (employee_kuerzel, request, error, refused_at)
                VALUES ($1, $2, $3, $4)
                ON CONFLICT (employee_kuerzel, request) DO UPDATE
                SET times = known.times + 1, error = excluded.error, refused_at = excluded.refused_at
                """,
                kuerzel,
                request,
                error,
                now,
            )

    async def forget_old_refused(self, now: datetime) -> None:
        """Forget what was refused, and was not sent again for `REFUSED_DAYS`."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_refused WHERE refused_at < $1",
                now - timedelta(days=REFUSED_DAYS),
            )

    async def forget_refused(self, employees: Collection[str] | None = None) -> None:
        """Let what was refused of these employees' appointments, or of all, be sent again with the next run."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_refused WHERE $1::text[] IS NULL OR employee_kuerzel = ANY($1)",
                None if employees is None else list(employees),
            )

    # -- audit ------------------------------------------------------------------------------------------------

    async def note_begun(self, line: AuditLine) -> UUID:
        """Remember what is about to be written, until `end_begun` of what this returns."""
        begun_id = uuid4()
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_begun (begun_id, employee_kuerzel, sync_id, advoware_frnr, google_event_id,
                                                 side, action, reason, trace_id)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                """,
                begun_id,
                line.employee_kuerzel,
                line.sync_id,
                line.advoware_frnr,
                line.google_event_id,
                line.side,
                line.action,
                line.reason,
                line.trace_id,
            )
        return begun_id

    async def end_begun(self, begun_id: UUID) -> None:
        """It is written and has its line in the audit, or has failed."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_begun WHERE begun_id = $1",
                begun_id,
            )

    async def record_interrupted(self, kuerzel: str, now: datetime) -> None:
        """Put into the audit what an earlier run of an employee has begun, and has neither recorded nor failed with.

        Inside the employee's lock. Whether it was written is not known: the run may have died before or after that.
        """
        async with database_errors():
            await self._pool.execute(
                """
                WITH begun AS (DELETE FROM calendar_sync_begun WHERE employee_kuerzel = $1 RETURNING *)
                INSERT INTO calendar_sync_audit (at, employee_kuerzel, sync_id, advoware_frnr, google_event_id, side,
                                                 action, reason, trace_id)
                SELECT $2, employee_kuerzel, sync_id, advoware_frnr, google_event_id, side,
                       'interrupted', action || ': ' || reason, trace_id FROM begun
                """,
                kuerzel,
                now,
            )

    async def append_audit(self, lines: Sequence[AuditLine], now: datetime) -> None:
        """Add lines to the audit that belong to no change of a pair."""
        async with self._transaction() as connection:
            for line in lines:
                await _append(connection, line, now)

    async def history(
        self,
        *,
        sync_id: UUID | None = None,
        frnr: int | None = None,
    ) -> list[AuditLine]:
        """The audit of a pair, or of all pairs that ever had a Termin, oldest first."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT * FROM calendar_sync_audit
                WHERE advoware_frnr = $2 OR sync_id = ANY(
                    array_append(ARRAY(SELECT sync_id FROM calendar_sync WHERE advoware_frnr = $2), $1))
                ORDER BY audit_id
                """,
                sync_id,
                frnr,
            )
        return [AuditLine(**row) for row in rows]

    async def employees_with_pairs(self) -> list[str]:
        """The Kürzel of all employees who have pairs, also deleted ones. Reads one row for each employee."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                WITH RECURSIVE employee (kuerzel) AS (
                    (SELECT employee_kuerzel FROM calendar_sync ORDER BY employee_kuerzel LIMIT 1)
                    UNION ALL
                    SELECT (SELECT employee_kuerzel FROM calendar_sync WHERE employee_kuerzel > employee.kuerzel
                            ORDER BY employee_kuerzel LIMIT 1)
                    FROM employee WHERE employee.kuerzel IS NOT NULL
                )
                SELECT kuerzel FROM employee WHERE kuerzel IS NOT NULL
                """,
            )
        return [row["kuerzel"] for row in rows]

    async def statistics(
        self,
        kuerzel: Sequence[str] | None = None,
    ) -> list[EmployeeStatistics]:
        """The numbers of these employees, or of all, by Kürzel. Reads all of their pairs."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT employee_kuerzel,
                    count(*) FILTER (WHERE NOT deleted) AS live,
                    count(*) FILTER (WHERE NOT deleted AND sync_status = 'pending') AS pending,
                    count(*) FILTER (WHERE NOT deleted AND sync_status = 'failed') AS failed,
                    count(*) FILTER (WHERE deleted) AS deleted,
                    max(last_sync) AS last_sync
                FROM calendar_sync WHERE $1::text[] IS NULL OR employee_kuerzel = ANY($1)
                GROUP BY employee_kuerzel ORDER BY employee_kuerzel
                """,
                None if kuerzel is None else list(kuerzel),
            )
        return [EmployeeStatistics(**row) for row in rows]

    # -- runs and holds ---------------------------------------------------------------------------------------

    async def note_run(
        self,
        kuerzel: str,
        result: RunResult,
        code: str | None,
        now: datetime,
    ) -> None:
        """Remember how an employee's run has ended. ``held`` is no failure of the run."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_run AS run
                    (employee_kuerzel, result, code, ended_at, succeeded_at, failing_since, failures)
                VALUES ($1, $2::text, $3, $4::timestamptz, CASE WHEN $2 <> 'failed' THEN $4 END,
                        CASE WHEN $2 = 'failed' THEN $4 END, CASE WHEN $2 = 'failed' THEN 1 ELSE 0 END)
                ON CONFLICT (employee_kuerzel) DO UPDATE SET
                    result = excluded.result, code = excluded.code, ended_at = excluded.ended_at,
                    succeeded_at = coalesce(excluded.succeeded_at, run.succeeded_at),
                    failing_since = CASE WHEN $2 = 'failed' THEN coalesce(run.failing_since, $4) END,
                    failures = CASE WHEN $2 = 'failed' THEN run.failures + 1 ELSE 0 END
                """,
                kuerzel,
                result,
                code,
                now,
            )

    async def runs(self) -> list[Run]:
        """The latest run of every employee, by Kürzel."""
        async with database_errors():
            rows = await self._pool.fetch(
                "SELECT * FROM calendar_sync_run ORDER BY employee_kuerzel",
            )
        return [Run(**row) for row in rows]

    async def operation(self) -> Operation:
        """The numbers of all employees. Who had no run when the others had one has left, and does not count."""
        async with database_errors():
            row = await self._pool.fetchrow(
                """
                SELECT count(*) AS employees,
                    count(*) FILTER (WHERE run.result = 'failed') AS failing,
                    count(*) FILTER (WHERE hold.held_since IS NOT NULL AND hold.released_at IS NULL) AS held,
                    least(min(run.failing_since),
                        min(hold.held_since) FILTER (WHERE hold.released_at IS NULL)) AS since,
                    max(run.ended_at) AS last_run
                FROM calendar_sync_run AS run LEFT JOIN calendar_sync_hold AS hold USING (employee_kuerzel)
                WHERE run.ended_at >= (SELECT max(ended_at) FROM calendar_sync_run) - $1::interval
                """,
                timedelta(minutes=OVERDUE_MINUTES),
            )
        return Operation(**row)

    async def holds(self, kuerzel: str | None = None) -> list[Hold]:
        """What is held back for an employee, or for all, by Kürzel."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT * FROM calendar_sync_hold WHERE $1::text IS NULL OR employee_kuerzel = $1
                ORDER BY employee_kuerzel
                """,
                kuerzel,
            )
        return [Hold(**{**row, "sync_ids": tuple(row["sync_ids"])}) for row in rows]

    async def held_pairs(self, kuerzel: str) -> list[tuple[int | None, str | None]]:
        """Number of the Termin and id of the event of what is held back for an employee, by number."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT pair.advoware_frnr, pair.google_event_id
                FROM calendar_sync_hold AS hold JOIN calendar_sync AS pair ON pair.sync_id = ANY(hold.sync_ids)
                WHERE hold.employee_kuerzel = $1 ORDER BY pair.advoware_frnr, pair.google_event_id
                """,
                kuerzel,
            )
        return [(row["advoware_frnr"], row["google_event_id"]) for row in rows]

    async def save_hold(self, hold: Hold) -> None:
        """Remember what is held back. ``held_since`` of an earlier hold stays; a release of it is gone."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_hold AS hold
                    (employee_kuerzel, reason, number, live_pairs, held_since, sync_ids)
                VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (employee_kuerzel) DO UPDATE SET
                    reason = excluded.reason, number = excluded.number, live_pairs = excluded.live_pairs,
                    sync_ids = excluded.sync_ids, released_at = NULL
                """,
                hold.employee_kuerzel,
                hold.reason,
                hold.number,
                hold.live_pairs,
                hold.held_since,
                list(hold.sync_ids),
            )

    async def release_hold(
        self,
        kuerzel: str,
        now: datetime,
        *,
        at_most: int | None = None,
    ) -> bool:
        """Let the next run do what is held back; returns whether anything is.

        ``at_most``: so many appointments were shown to the operator; if there are more by now, nothing is released.
        """
        async with database_errors():
            released = await self._pool.fetchval(
                """
                UPDATE calendar_sync_hold SET released_at = $2
                WHERE employee_kuerzel = $1 AND number <= coalesce($3, number) RETURNING employee_kuerzel
                """,
                kuerzel,
                now,
                at_most,
            )
        return released is not None

    async def end_hold(self, kuerzel: str) -> None:
        """Nothing is held back any more."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_hold WHERE employee_kuerzel = $1",
                kuerzel,
            )

    # -- what was overwritten ---------------------------------------------------------------------------------

    async def keep_overwritten(self, event: Overwritten, now: datetime) -> None:
        """Keep an event, before it is overwritten; see `forget_overwritten`.

        A write that is refused is tried in each run, and what it would overwrite is kept once, with the latest time.
        """
        async with self._transaction() as connection:
            await connection.execute(
                """
                WITH known AS (
                    UPDATE calendar_sync_overwritten SET at = greatest(at, $1)
                    WHERE resource = $6 AND restored_at IS NULL AND overwritten_id = (
                        SELECT max(overwritten_id) FROM calendar_sync_overwritten
                        WHERE sync_id = $3 AND google_event_id = $5)
                    RETURNING overwritten_id
                )
                INSERT INTO calendar_sync_overwritten
                    (at, employee_kuerzel, sync_id, advoware_frnr, google_event_id, resource)
                SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM known)
                """,
                now,
                event.employee_kuerzel,
                event.sync_id,
                event.advoware_frnr,
                event.google_event_id,
                dict(event.resource),
            )

    async def forget_overwritten(self, now: datetime) -> None:
        """Forget what was overwritten more than `OVERWRITTEN_DAYS` ago."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM calendar_sync_overwritten WHERE at < $1",
                now - timedelta(days=OVERWRITTEN_DAYS),
            )

    async def overwritten(
        self,
        since: datetime,
        kuerzel: str | None = None,
    ) -> list[Overwritten]:
        """What was overwritten since then for an employee, or for all, oldest first."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT * FROM calendar_sync_overwritten
                WHERE at >= $1 AND ($2::text IS NULL OR employee_kuerzel = $2) ORDER BY overwritten_id
                """,
                since,
                kuerzel,
            )
        return [Overwritten(**row) for row in rows]

    async def mark_restored(self, overwritten_id: int, now: datetime) -> None:
        """Remember that an overwritten event was brought back."""
        async with database_errors():
            await self._pool.execute(
                "UPDATE calendar_sync_overwritten SET restored_at = $2 WHERE overwritten_id = $1",
                overwritten_id,
                now,
            )

    # -- inner works ------------------------------------------------------------------------------------------

    async def _pairs(self, query: str, *arguments: Any) -> list[StoredPair]:
        async with database_errors():
            rows = await self._pool.fetch(query, *arguments)
        if len(rows) < MANY_ROWS:
            return [_stored_pair(row) for row in rows]
        return await asyncio.to_thread(lambda: [_stored_pair(row) for row in rows])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with (
                database_errors(),
                self._pool.acquire() as connection,
                connection.transaction(),
            ):
                yield connection
        except asyncpg.UniqueViolationError as error:
            reason = f"linked already ({error.constraint_name})"
        else:
            return
        # Outside of the handler: PostgreSQL's own message names ids, which are no business of a log.
        raise Conflict("PostgreSQL", reason)


_SAVE_PAIR = """
INSERT INTO calendar_sync AS pair (
    sync_id, employee_kuerzel, advoware_frnr, google_event_id, source_system, sync_strategy, advoware_write_allowed,
    sync_status, advoware_hash, advoware_changed_at, google_hash, google_updated, google_etag, first_day, last_day,
    error, attempts, persons_private, written, advoware_row_id, created_at, updated_at, last_sync)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
        $21, CASE WHEN $8 = 'synced' THEN $21::timestamptz END)
ON CONFLICT (sync_id) DO UPDATE SET
    advoware_frnr = excluded.advoware_frnr, google_event_id = excluded.google_event_id,
    source_system = excluded.source_system, sync_strategy = excluded.sync_strategy,
    advoware_write_allowed = excluded.advoware_write_allowed, sync_status = excluded.sync_status,
    advoware_hash = excluded.advoware_hash, advoware_changed_at = excluded.advoware_changed_at,
    google_hash = excluded.google_hash, google_updated = excluded.google_updated, google_etag = excluded.google_etag,
    first_day = excluded.first_day, last_day = excluded.last_day, error = excluded.error,
    attempts = excluded.attempts, persons_private = excluded.persons_private, written = excluded.written,
    advoware_row_id = excluded.advoware_row_id,
    updated_at = excluded.updated_at,
    last_sync = coalesce(excluded.last_sync, pair.last_sync)
WHERE NOT pair.deleted
RETURNING sync_id
"""


def _pair_values(pair: Pair) -> tuple[Any, ...]:
    return (
        pair.sync_id,
        pair.employee_kuerzel,
        pair.advoware_frnr,
        pair.google_event_id,
        pair.source_system,
        pair.sync_strategy,
        pair.advoware_write_allowed,
        pair.sync_status,
        pair.advoware.content_hash,
        pair.advoware.changed_at,
        pair.google.content_hash,
        pair.google.changed_at,
        pair.google.etag,
        pair.first_day,
        pair.last_day,
        pair.error,
        pair.attempts,
        pair.persons_private,
        pair.written,
        pair.advoware.etag,
    )


def _stored_pair(row: asyncpg.Record) -> StoredPair:
    pair = Pair(
        sync_id=row["sync_id"],
        employee_kuerzel=row["employee_kuerzel"],
        advoware_frnr=row["advoware_frnr"],
        google_event_id=row["google_event_id"],
        source_system=row["source_system"],
        sync_strategy=row["sync_strategy"],
        advoware_write_allowed=row["advoware_write_allowed"],
        sync_status=row["sync_status"],
        deleted=row["deleted"],
        advoware=Fingerprint(
            row["advoware_hash"],
            row["advoware_changed_at"],
            row["advoware_row_id"],
        ),
        google=Fingerprint(
            row["google_hash"],
            row["google_updated"],
            row["google_etag"],
        ),
        first_day=row["first_day"],
        last_day=row["last_day"],
        error=row["error"],
        attempts=row["attempts"],
        persons_private=row["persons_private"],
        written=row["written"],
    )
    return StoredPair(
        pair,
        row["created_at"],
        row["updated_at"],
        row["last_sync"],
        row["deleted_at"],
    )


def _intent_values(intent: Intent) -> tuple[Any, ...]:
    return (
        intent.employee_kuerzel,
        intent.google_event_id,
        intent.sync_id,
        intent.content_hash,
        intent.first_day,
        intent.started_at,
    )


_APPEND = """
INSERT INTO calendar_sync_audit (at, employee_kuerzel, sync_id, advoware_frnr, google_event_id, side, action, reason,
                                 before_hash, after_hash, error, trace_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""


async def _append(
    connection: asyncpg.Connection,
    line: AuditLine,
    now: datetime,
) -> None:
    await connection.execute(_APPEND, *_audit_values(line, now))


def _audit_values(line: AuditLine, now: datetime) -> tuple[Any, ...]:
    return (
        now,
        line.employee_kuerzel,
        line.sync_id,
        line.advoware_frnr,
        line.google_event_id,
        line.side,
        line.action,
        line.reason,
        line.before_hash,
        line.after_hash,
        line.error,
        line.trace_id,
    )
