"""What is remembered about problems that people were notified of, and about who looks after a record.

All functions raise `Unavailable` if PostgreSQL does not answer. Times are aware.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.core.database import database_errors
from services.core.foreign_text import clean_text
from services.vmh_sync.result import Details, Problem


@dataclass(frozen=True)
class Responsible:
    """Who looks after a record, and the name of the person or firm it is about."""

    assigned_user_id: str | None = None
    team_ids: tuple[str, ...] = ()
    name: str | None = None


def responsible_of(record: Mapping[str, Any]) -> Responsible:
    """Who looks after a record of EspoCRM, as its full answer says."""
    shown_name = record.get("name") or record.get("firmenname") or ""
    name = clean_text(str(shown_name))
    user_id = record.get("assignedUserId")
    return Responsible(user_id or None, _team_ids(record), name or None)


def _team_ids(record: Mapping[str, Any]) -> tuple[str, ...]:
    teams = record.get("teamsIds")
    if isinstance(teams, list):
        return tuple(map(str, teams))
    return ()


def fingerprint_of(problem: Problem) -> str:
    """What distinguishes one occurrence of a problem from another."""
    return _fingerprint(problem.action_type, problem.details.as_json())


def _fingerprint(action_type: str, details: Mapping[str, Any]) -> str:
    text = json.dumps([action_type, details], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_same_occurrence(problem: Problem, row: Mapping[str, Any]) -> bool:
    """Whether the Task of a row is about this occurrence of a problem.

    Rows of earlier versions also hold details that are not known, so their fingerprints differ.
    """
    fingerprint = fingerprint_of(problem)
    if row["fingerprint"] == fingerprint:
        return True
    if row["fingerprint"] != _fingerprint(row["action_type"], row["details"]):
        return False
    return fingerprint_of(problem_of(row)) == fingerprint


def problem_of(row: Mapping[str, Any]) -> Problem:
    """The problem as a row remembers it."""
    return Problem(
        row["action_type"],
        row["entity_type"],
        row["entity_id"],
        row["problem_key"],
        Details.from_json(row["details"]),
    )


class NotificationStore:
    """Reads and writes the tables ``notification`` and ``responsible``."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    # -- problems -------------------------------------------------------------------------------------------------

    async def begin(
        self,
        problem: Problem,
        now: datetime,
    ) -> tuple[asyncpg.Record | None, bool]:
        """The problem's row, and whether it was just added; None if another worker added it this very moment."""
        known = await self._fetchrow(
            "SELECT * FROM notification WHERE problem_key = $1",
            problem.key,
        )
        if known is not None:
            return known, False
        return await self._insert(problem, now, None), True

    async def _insert(
        self,
        problem: Problem,
        now: datetime,
        list_key: str | None,
    ) -> asyncpg.Record | None:
        return await self._fetchrow(
            """
            INSERT INTO notification (problem_key, entity_type, entity_id, action_type, details, fingerprint,
                                      started_at, attempted_at, list_key)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT DO NOTHING RETURNING *
            """,
            problem.key,
            problem.entity_type,
            problem.entity_id,
            problem.action_type,
            problem.details.as_json(),
            fingerprint_of(problem),
            now,
            list_key,
        )

    async def begin_again(self, problem: Problem, now: datetime) -> asyncpg.Record:
        """Leave the closed Task behind; from here on the row waits for a new one, with a mark of its own."""
        return await self._fetchrow(
            """
            UPDATE notification SET task_id = NULL, generation = generation + 1, fingerprint = $2, details = $3,
                                    attempted_at = $4, over_since = NULL, over_why = NULL, withdrawn_at = NULL,
                                    list_key = NULL, entity_type = $5, entity_id = $6
            WHERE problem_key = $1 RETURNING *
            """,
            problem.key,
            fingerprint_of(problem),
            problem.details.as_json(),
            now,
            problem.entity_type,
            problem.entity_id,
        )

    async def not_over(self, key: str) -> None:
        """The problem is there again before its Task was cancelled."""
        await self._execute(
            "UPDATE notification SET over_since = NULL, over_why = NULL WHERE problem_key = $1",
            key,
        )

    async def note_attempt(
        self,
        problem: Problem,
        now: datetime,
        known: datetime | None = None,
    ) -> bool:
        """A Task is about to be requested; False if another worker has begun to do that since the attempt ``known``."""
        row = await self._fetchrow(
            """
            UPDATE notification SET attempted_at = $2, details = $3, entity_type = $4, entity_id = $5
            WHERE problem_key = $1 AND ($6::timestamptz IS NULL OR (attempted_at = $6 AND task_id IS NULL))
            RETURNING 1
            """,
            problem.key,
            now,
            problem.details.as_json(),
            problem.entity_type,
            problem.entity_id,
            known,
        )
        return row is not None

    async def finish(self, problem: Problem, fingerprint: str, task_id: str) -> None:
        """The Task says what this occurrence says."""
        await self._execute(
            """
            UPDATE notification SET task_id = $2, fingerprint = $3, details = $4, entity_type = $5, entity_id = $6
            WHERE problem_key = $1
            """,
            problem.key,
            task_id,
            fingerprint,
            problem.details.as_json(),
            problem.entity_type,
            problem.entity_id,
        )

    async def unfinished(self, before: datetime, limit: int) -> list[asyncpg.Record]:
        """The problems without a Task whose latest attempt lies before that moment, but for those of a list."""
        return await self._fetch(
            """
            SELECT * FROM notification
            WHERE task_id IS NULL AND over_since IS NULL AND list_key IS NULL AND attempted_at < $1
            ORDER BY attempted_at LIMIT $2
            """,
            before,
            limit,
        )

    async def has_recent(self, problem: Problem, since: datetime) -> bool:
        """Whether another problem of the same reason was begun since then."""
        row = await self._fetchrow(
            """
            SELECT 1 FROM notification
            WHERE details->>'reason' = $1 AND problem_key <> $2 AND started_at >= $3 LIMIT 1
            """,
            problem.details.reason,
            problem.key,
            since,
        )
        return row is not None

    async def unknown(self, problems: Sequence[Problem]) -> list[Problem]:
        """Those of the problems that have no row."""
        rows = await self._fetch(
            "SELECT problem_key FROM notification WHERE problem_key = ANY($1)",
            [problem.key for problem in problems],
        )
        known = {row["problem_key"] for row in rows}
        return [problem for problem in problems if problem.key not in known]

    async def was_restored(self) -> bool:
        """Whether a backup was restored, so that Tasks may exist of which nothing is known here."""
        return await self._fetchrow("SELECT 1 FROM restored LIMIT 1") is not None

    # -- lists ----------------------------------------------------------------------------------------------------

    async def begin_list(
        self,
        heading: Problem,
        members: Sequence[Problem],
        now: datetime,
    ) -> asyncpg.Record | None:
        """Remember that the one Task of ``heading`` stands for the members; its row, None if it was begun before."""
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            inner = NotificationStore(connection)
            row = await inner._insert(heading, now, None)
            for member in members:
                await inner._insert(member, now, heading.key)
            await inner._execute(
                "UPDATE notification SET list_key = $1 WHERE problem_key = ANY($2) AND task_id IS NULL",
                heading.key,
                [member.key for member in members],
            )
        return row

    async def row(self, key: str) -> asyncpg.Record | None:
        """The row of a problem or of a list."""
        return await self._fetchrow(
            "SELECT * FROM notification WHERE problem_key = $1",
            key,
        )

    async def finish_lists(self) -> None:
        """Give the members of each list that has a Task that Task."""
        await self._execute(
            """
            UPDATE notification AS member SET task_id = list.task_id FROM notification AS list
            WHERE member.list_key = list.problem_key AND member.task_id IS NULL AND list.task_id IS NOT NULL
            """,
        )

    async def members(self, list_key: str) -> list[asyncpg.Record]:
        """The rows of all that a list names, also of those whose problem is over."""
        return await self._fetch(
            "SELECT * FROM notification WHERE list_key = $1",
            list_key,
        )

    # -- problems that are over -----------------------------------------------------------------------------------

    async def end(
        self,
        keys: Collection[str],
        why: str,
        now: datetime,
    ) -> list[asyncpg.Record]:
        """Mark those of the problems as over that stand; returns their rows."""
        return await self._fetch(
            """
            UPDATE notification SET over_since = $2, over_why = $3
            WHERE problem_key = ANY($1) AND over_since IS NULL RETURNING *
            """,
            list(keys),
            now,
            why,
        )

    async def end_others(
        self,
        entity_type: str,
        entity_ids: Collection[str],
        kinds: Collection[str],
        standing: Collection[str],
        why: str,
        now: datetime,
    ) -> list[asyncpg.Record]:
        """Mark the problems of these records and kinds as over that are not among the standing; returns their rows."""
        return await self._fetch(
            """
            UPDATE notification SET over_since = $5, over_why = $6
            WHERE entity_type = $1 AND entity_id = ANY($2) AND problem_key <> ALL($4) AND over_since IS NULL
              AND EXISTS (SELECT 1 FROM unnest($3::text[]) AS kind WHERE starts_with(problem_key, kind))
            RETURNING *
            """,
            entity_type,
            list(entity_ids),
            list(kinds),
            list(standing),
            now,
            why,
        )

    async def to_withdraw(self, limit: int) -> list[asyncpg.Record]:
        """The problems that are over while their Task has not been cancelled yet."""
        return await self._fetch(
            """
            SELECT * FROM notification WHERE over_since IS NOT NULL AND withdrawn_at IS NULL
            ORDER BY over_since LIMIT $1
            """,
            limit,
        )

    async def withdrawn(self, row: asyncpg.Record, now: datetime) -> None:
        """The Task has been cancelled. If the problem has come again meanwhile, its next occurrence is a new one."""
        await self._execute(
            """
            UPDATE notification SET
                withdrawn_at = CASE WHEN over_since IS NULL THEN NULL ELSE $2::timestamptz END,
                fingerprint = CASE WHEN over_since IS NULL THEN '' ELSE fingerprint END
            WHERE problem_key = $1 AND generation = $3
            """,
            row["problem_key"],
            now,
            row["generation"],
        )

    # -- who looks after a record ---------------------------------------------------------------------------------

    async def remember(
        self,
        entity_type: str,
        entity_id: str,
        responsible: Responsible,
    ) -> None:
        """Remember who looks after a record; writes only what is new."""
        await self._execute(
            """
            INSERT INTO responsible AS known (entity_type, entity_id, assigned_user_id, team_ids, name)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (entity_type, entity_id) DO UPDATE SET
                assigned_user_id = excluded.assigned_user_id, team_ids = excluded.team_ids, name = excluded.name
            WHERE (known.assigned_user_id, known.team_ids, known.name)
                IS DISTINCT FROM (excluded.assigned_user_id, excluded.team_ids, excluded.name)
            """,
            entity_type,
            entity_id,
            responsible.assigned_user_id,
            list(responsible.team_ids),
            responsible.name,
        )

    async def responsible(self, entity_type: str, entity_id: str) -> Responsible:
        """Who looked after a record when it was last read; no one if it never was."""
        row = await self._fetchrow(
            "SELECT * FROM responsible WHERE entity_type = $1 AND entity_id = $2",
            entity_type,
            entity_id,
        )
        if row is None:
            return Responsible()
        return Responsible(row["assigned_user_id"], tuple(row["team_ids"]), row["name"])

    # -- PostgreSQL -----------------------------------------------------------------------------------------------

    async def _fetch(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        async with database_errors():
            rows: list[asyncpg.Record] = await self._pool.fetch(statement, *values)
            return rows

    async def _fetchrow(self, statement: str, *values: Any) -> asyncpg.Record | None:
        async with database_errors():
            return await self._pool.fetchrow(statement, *values)

    async def _execute(self, statement: str, *values: Any) -> None:
        async with database_errors():
            await self._pool.execute(statement, *values)
