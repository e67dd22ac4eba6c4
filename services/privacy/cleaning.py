"""The daily cleaning: what is older than the settings say goes (docs/data-protection.md).

Bounded: each statement takes `BATCH` rows in a transaction of its own, and a run ends after `MAX_BATCHES` of a kind;
the rest is the next day's. Rows that others have locked are left for the next day, and a lock on a table is waited for
for two seconds only. So no sync waits for it, and a run that breaks off has done no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from config import RetentionSettings
from services.calendar_sync.store import OVERWRITTEN_DAYS
from services.core.database import database_errors
from services.core.errors import BitByLawError
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.privacy import logs
from services.privacy.queue_tables import PATIENCE, open_queue
from services.shadow.journal import KEPT as SHADOWS_KEPT

BATCH = 1000
MAX_BATCHES = 100

Counts = dict[str, int]
#: Removes so many rows, or fewer if fewer are left; returns how many.
Batch = Callable[[int], Awaitable[int]]

_OLD_AUDIT = """
DELETE FROM sync_audit WHERE audit_id IN (
    SELECT audit_id FROM sync_audit WHERE at < $1 ORDER BY audit_id LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OLD_CALENDAR_AUDIT = """
DELETE FROM calendar_sync_audit WHERE audit_id IN (
    SELECT audit_id FROM calendar_sync_audit WHERE at < $1 ORDER BY audit_id LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
#: The row stays: its generation distinguishes the Task of the next occurrence from the earlier one.
_OLD_PROBLEMS = """
UPDATE notification SET details = jsonb_build_object('reason', details->'reason') WHERE problem_key IN (
    SELECT problem_key FROM notification WHERE withdrawn_at < $1 AND details - 'reason' <> '{}'
    ORDER BY withdrawn_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OLD_TEXTS = """
DELETE FROM calendar_sync_overwritten WHERE overwritten_id IN (
    SELECT overwritten_id FROM calendar_sync_overwritten WHERE at < $1 ORDER BY overwritten_id LIMIT $2
    FOR UPDATE SKIP LOCKED)
"""
#: Of records that are gone from EspoCRM for so long: the link stays, for a record that is restored.
_OLD_STATES = """
UPDATE sync_state SET base = '{}', rejected = '{}', unrecorded = NULL WHERE (entity_type, entity_id) IN (
    SELECT entity_type, entity_id FROM sync_state
    WHERE deleted_at < $1 AND (base <> '{}' OR rejected <> '{}' OR unrecorded IS NOT NULL)
    LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OLD_NAMES = """
DELETE FROM responsible WHERE (entity_type, entity_id) IN (
    SELECT known.entity_type, known.entity_id FROM responsible AS known
    JOIN sync_state USING (entity_type, entity_id)
    WHERE sync_state.deleted_at < $1 LIMIT $2 FOR UPDATE OF known SKIP LOCKED)
"""
#: Begun for an Adresse that has gone before its CAdressen was made; one that is still tried is not old.
_OLD_CREATES = """
DELETE FROM create_intent WHERE (entity_type, entity_id) IN (
    SELECT entity_type, entity_id FROM create_intent
    WHERE attempted_at < $1 AND posted ? 'link' LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OLD_ACTIONS = """
DELETE FROM operator_action WHERE operator_action_id IN (
    SELECT operator_action_id FROM operator_action WHERE at < $1
    ORDER BY operator_action_id LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_OLD_SHADOWS = """
DELETE FROM shadow_write WHERE ctid IN (SELECT ctid FROM shadow_write WHERE last_noted < $1 LIMIT $2
    FOR UPDATE SKIP LOCKED)
"""


class Cleaning:
    """Removes what is too old. ``context`` is the step's FlowContext or None."""

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()

    async def run(self) -> Counts:
        """Clean up once; how many rows, jobs and files went, by kind. What fails is logged, and done the next day."""
        kept = self._resources.settings.retention
        work: dict[str, Callable[[], Awaitable[int]]] = {
            **await self._work_on_tables(kept),
            "queue": partial(self._clean_queue, kept.queue_days),
            "logs": partial(self._clean_logs, kept),
        }
        counts = {}
        for kind, clean in work.items():
            counts[kind] = await self._count(kind, clean)
        log(self._context, "info", "privacy.cleaned", **counts)
        return counts

    async def _work_on_tables(
        self,
        kept: RetentionSettings,
    ) -> dict[str, Callable[[], Awaitable[int]]]:
        """How each table is cleaned: which rows go, and from before when."""
        now = self._resources.now()
        audit = now - timedelta(days=kept.audit_days)
        texts = now - timedelta(days=OVERWRITTEN_DAYS)
        shadows = now - SHADOWS_KEPT
        old_rows = {
            "sync_audit": (_OLD_AUDIT, audit),
            "calendar_sync_audit": (_OLD_CALENDAR_AUDIT, audit),
            "operator_action": (_OLD_ACTIONS, audit),
            "notification": (_OLD_PROBLEMS, audit),
            "responsible": (_OLD_NAMES, audit),
            "sync_state": (_OLD_STATES, audit),
            "create_intent": (_OLD_CREATES, audit),
            "calendar_sync_overwritten": (_OLD_TEXTS, texts),
            "shadow_write": (_OLD_SHADOWS, shadows),
        }
        pool = await self._resources.database()
        work: dict[str, Callable[[], Awaitable[int]]] = {}
        for table, (statement, before) in old_rows.items():
            remove = _rows(pool, statement, before)
            work[table] = partial(_in_batches, remove)
        return work

    async def _count(self, kind: str, clean: Callable[[], Awaitable[int]]) -> int:
        """What one kind of cleaning has removed; 0 if it failed, so that the others have their turn."""
        try:
            return await clean()
        except (BitByLawError, OSError, asyncpg.PostgresError) as error:
            log(
                self._context,
                "error",
                "privacy.not_cleaned",
                kind=kind,
                error=type(error).__name__,
            )
            return 0

    async def _clean_queue(self, days: int) -> int:
        async with open_queue(self._resources.settings.postgres) as queue:
            if queue is None:
                return 0
            return await _in_batches(lambda limit: queue.remove_old(days, limit))

    async def _clean_logs(self, kept: RetentionSettings) -> int:
        if not kept.log_directory:
            return 0
        return await asyncio.to_thread(
            logs.remove_old,
            Path(kept.log_directory),
            kept.log_days,
            self._resources.now(),
        )


def _rows(pool: asyncpg.Pool, statement: str, before: datetime) -> Batch:
    """Rows from before a moment; the audits let them go for this alone (`db/migrations/0019_privacy.sql`)."""

    async def remove(limit: int) -> int:
        async with (
            database_errors(),
            pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(PATIENCE)
            await connection.execute("SET LOCAL bitbylaw.cleaning = 'on'")
            done = await connection.execute(statement, before, limit)
        return int(done.rpartition(" ")[2])

    return remove


async def _in_batches(remove: Batch) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        removed = await remove(BATCH)
        total += removed
        if removed < BATCH:
            break
    return total
