"""Telling people what only they can do: a Task in EspoCRM with instructions, and a note in the record's stream.

A problem is told once. The row in ``notification`` is written before the Task is requested, and the Task carries a
mark; so after a crash or a lost answer the Task is looked for before it is requested again. What happens when a
problem that was told comes in again:

- the same occurrence (same details): nothing, whatever became of the Task: people may close it without doing it;
- a new occurrence (other details), the Task still open: its text is brought up to date;
- a new occurrence, the Task completed, cancelled or deleted: a new Task.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.database import database_errors
from services.errors import (
    BitByLawError,
    ConfigurationError,
    Forbidden,
    NotFound,
    ValidationFailed,
    shown_text,
    without_quotes,
)
from services.espocrm import EspoCRMAPI
from services.logs import log
from services.notification_texts import task_description, task_title
from services.resources import Resources, current_resources
from services.sync_parts import ActionType, Problem

CLOSED = frozenset({"Completed", "Canceled"})
RETRIES_PER_RUN = 50

Record = dict[str, Any]


class NotificationManager:
    """Creates Tasks for people. ``context`` is the step's FlowContext or None.

    No method raises because a person could not be told: that is logged, and tried again when the problem comes in the
    next time or by `retry_unfinished`.
    """

    def __init__(self, espocrm_api: EspoCRMAPI, context: Any = None, *, resources: Resources | None = None) -> None:
        self._espocrm = espocrm_api
        self._context = context
        self._resources = resources or current_resources()

    async def notify_manual_action_required(
        self, entity_type: str, entity_id: str, action_type: ActionType, details: Mapping[str, Any]
    ) -> str | None:
        """Tell that a record needs a person, once per record and action type; see `notify`."""
        key = f"{action_type}:{entity_type}:{entity_id}"
        return await self.notify(Problem(action_type, entity_type, entity_id, key, dict(details)))

    async def notify(self, problem: Problem) -> str | None:
        """Tell a problem. Returns the id of its Task, None if there is none yet."""
        try:
            return await self._notify(problem, await self._resources.database())
        except (BitByLawError, ConfigurationError) as error:
            log(
                self._context,
                "error",
                "notification.failed",
                entity_type=problem.entity_type,
                entity_id=problem.entity_id,
                action_type=problem.action_type,
                error=without_quotes(shown_text(error)),
            )
            return None

    async def retry_unfinished(self) -> int:
        """Tell the problems whose Task could not be created; for the cron. Returns how many were told."""
        try:
            pool = await self._resources.database()
            async with database_errors():
                rows = await pool.fetch(
                    "SELECT * FROM notification WHERE task_id IS NULL AND attempted_at < $1 "
                    "ORDER BY attempted_at LIMIT $2",
                    self._settled_before(),
                    RETRIES_PER_RUN,
                )
        except BitByLawError as error:
            log(self._context, "error", "notification.retry_failed", error=type(error).__name__)
            return 0
        told = [
            await self.notify(
                Problem(row["action_type"], row["entity_type"], row["entity_id"], row["problem_key"], row["details"])
            )
            for row in rows
        ]
        return sum(task_id is not None for task_id in told)

    # -- one problem ----------------------------------------------------------------------------------------------

    async def _notify(self, problem: Problem, pool: asyncpg.Pool) -> str | None:
        problem = replace(problem, details=json.loads(json.dumps(problem.details, default=str)))
        fingerprint = _fingerprint(problem)
        row, is_new = await self._begin(pool, problem, fingerprint)
        if row is None:
            return None  # another worker has just begun to tell it
        if row["task_id"] is not None:
            if row["fingerprint"] == fingerprint:
                return str(row["task_id"])
            if await self._update_open_task(row["task_id"], problem, _mark(row)):
                await self._finish(pool, problem, fingerprint, row["task_id"])
                return str(row["task_id"])
            row = await self._begin_again(pool, problem, fingerprint)
        elif not is_new:
            if row["attempted_at"] >= self._settled_before():
                return None  # the earlier request may still be under way
            if (task_id := await self._find(_mark(row))) is not None:
                await self._finish(pool, problem, row["fingerprint"], task_id)
                return await self._notify(problem, pool)
            await self._note_attempt(pool, problem)
        task_id = await self._create(problem, _mark(row))
        await self._finish(pool, problem, fingerprint, task_id)
        await self._write_note(problem)
        return task_id

    def _settled_before(self) -> datetime:
        """Attempts made before this moment have certainly come to an end."""
        return self._now() - timedelta(seconds=self._resources.settings.espocrm.api_timeout_seconds)

    # -- the Task -------------------------------------------------------------------------------------------------

    async def _create(self, problem: Problem, mark: str) -> str:
        """Create the Task; without parent or for the fallback user if EspoCRM refuses the one asked for."""
        fallback = self._resources.settings.vmh.task_assigned_user_id
        body = {
            "name": task_title(problem),
            "description": _with_mark(task_description(problem), mark),
            "status": "Not Started",
            "priority": "High",
            "parentType": problem.entity_type,
            "parentId": problem.entity_id,
            "assignedUserId": await self._responsible(problem.entity_type, problem.entity_id) or fallback,
        }
        if not body["assignedUserId"]:
            raise ConfigurationError(
                "VMH_TASK_ASSIGNED_USER_ID: nobody is assigned to the record, and no substitute set"
            )
        while True:
            try:
                task = await self._espocrm.create_entity("Task", body, skip_duplicate_check=True)
            except (ValidationFailed, Forbidden) as error:
                if "parentId" in body and _is_about_parent(error):
                    del body["parentId"], body["parentType"]
                    text = f"{task_description(problem)}\n\nDatensatz: {self._link(problem)}"
                    body["description"] = _with_mark(text, mark)
                elif fallback not in ("", body["assignedUserId"]) and _is_about_assignment(error):
                    body["assignedUserId"] = fallback
                else:
                    raise
            else:
                return str(task["id"])

    async def _responsible(self, entity_type: str, entity_id: str) -> str | None:
        """Who is assigned to the record, or to the CBeteiligte it belongs to."""
        try:
            record = await self._espocrm.get_entity(entity_type, entity_id)
        except NotFound:
            return None
        if record.get("assignedUserId"):
            return str(record["assignedUserId"])
        owner = record.get("beteiligteId")
        return await self._responsible("CBeteiligte", str(owner)) if owner else None

    async def _update_open_task(self, task_id: str, problem: Problem, mark: str) -> bool:
        """Bring the text of a Task up to date; False if it is closed or gone."""
        try:
            task = await self._espocrm.get_entity("Task", task_id)
            if task.get("status") in CLOSED:
                return False
            text = task_description(problem)
            if not task.get("parentId"):
                text = f"{text}\n\nDatensatz: {self._link(problem)}"
            changes = {"name": task_title(problem), "description": _with_mark(text, mark)}
            await self._espocrm.update_entity("Task", task_id, changes)
        except NotFound:
            return False
        return True

    async def _find(self, mark: str) -> str | None:
        """The Task that an earlier attempt has left."""
        where = {"type": "contains", "attribute": "description", "value": mark}
        rows, _ = await self._espocrm.list_entities("Task", [where], ["status"], max_size=1)
        return str(rows[0]["id"]) if rows else None

    async def _write_note(self, problem: Problem) -> None:
        """Say in the record's stream that there is a Task. The Task is what counts, so this is tried once."""
        post = f"Bitte von Hand erledigen: {task_title(problem)} (siehe Aufgabe)"
        note = {"type": "Post", "parentType": problem.entity_type, "parentId": problem.entity_id, "post": post}
        try:
            await self._espocrm.create_entity("Note", note)
        except BitByLawError as error:
            log(
                self._context,
                "warning",
                "notification.note_refused",
                entity_type=problem.entity_type,
                entity_id=problem.entity_id,
                error=type(error).__name__,
            )

    def _link(self, problem: Problem) -> str:
        site = (self._resources.settings.espocrm.api_base_url or "").removesuffix("/api/v1")
        return f"{site}/#{problem.entity_type}/view/{problem.entity_id}"

    # -- the row --------------------------------------------------------------------------------------------------

    async def _begin(
        self, pool: asyncpg.Pool, problem: Problem, fingerprint: str
    ) -> tuple[asyncpg.Record | None, bool]:
        """The problem's row, and whether it was just added; None if somebody else added it this very moment."""
        async with database_errors():
            known = await pool.fetchrow("SELECT * FROM notification WHERE problem_key = $1", problem.key)
            if known is not None:
                return known, False
            added = await pool.fetchrow(
                """
                INSERT INTO notification (problem_key, entity_type, entity_id, action_type, details, fingerprint,
                                          started_at, attempted_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING RETURNING *
                """,
                problem.key,
                problem.entity_type,
                problem.entity_id,
                problem.action_type,
                problem.details,
                fingerprint,
                self._now(),
            )
        return added, True

    async def _begin_again(self, pool: asyncpg.Pool, problem: Problem, fingerprint: str) -> asyncpg.Record:
        """Leave the closed Task behind; from here on the row waits for a new one, with a mark of its own."""
        async with database_errors():
            return await pool.fetchrow(
                """
                UPDATE notification SET task_id = NULL, generation = generation + 1, fingerprint = $2, details = $3,
                                        attempted_at = $4
                WHERE problem_key = $1 RETURNING *
                """,
                problem.key,
                fingerprint,
                problem.details,
                self._now(),
            )

    async def _note_attempt(self, pool: asyncpg.Pool, problem: Problem) -> None:
        async with database_errors():
            await pool.execute(
                "UPDATE notification SET attempted_at = $2, details = $3 WHERE problem_key = $1",
                problem.key,
                self._now(),
                problem.details,
            )

    async def _finish(self, pool: asyncpg.Pool, problem: Problem, fingerprint: str, task_id: str) -> None:
        async with database_errors():
            await pool.execute(
                "UPDATE notification SET task_id = $2, fingerprint = $3, details = $4 WHERE problem_key = $1",
                problem.key,
                task_id,
                fingerprint,
                problem.details,
            )

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


def _fingerprint(problem: Problem) -> str:
    told = json.dumps([problem.action_type, problem.details], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _mark(row: asyncpg.Record) -> str:
    """What identifies the Task of a row's present occurrence."""
    digest = hashlib.sha256(row["problem_key"].encode()).hexdigest()[:16]
    return f"{digest}-{row['generation']}"


def _with_mark(text: str, mark: str) -> str:
    return f"{text}\n\nVorgang {mark} (bitte stehen lassen)"


def _is_about_parent(error: ValidationFailed | Forbidden) -> bool:
    """Whether EspoCRM refuses the parent: its type is not allowed, it does not exist, or we may not read it."""
    phrases = ("field: parent", "non-existing record", "Task:parent")
    return any(phrase in error.reason for phrase in phrases)


def _is_about_assignment(error: ValidationFailed | Forbidden) -> bool:
    phrases = ("Assignment failure", "Task:assignedUser", "non-existing record", "field: assignedUser")
    return any(phrase in error.reason for phrase in phrases)
