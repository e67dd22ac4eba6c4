"""Erasing what is held about a person (Art. 17 DSGVO).

Facts stay (that, when and how a record was synced), and a keyed hash of each value (`services.values.sealed`): duties
of proof need them, and the next sync must neither copy nor clear anything because of an erasure. What both systems show
is erased there; from then on the next sync holds nothing of it either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg

from services.core.database import database_errors
from services.core.errors import EntityBusy, NotBefore
from services.core.installation_key import installation_key
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.resources import Resources
from services.privacy import logs
from services.privacy.holdings import Row, rows_of
from services.privacy.person import ENTITY_TYPE, Person, find_person
from services.privacy.queue_tables import open_queue, own_part
from services.values.sealed import is_sealed, seal, texts_in
from services.vmh_sync.store import AuditEntry, SyncStore

#: What is kept of a problem that users were notified of.
_KEPT_DETAILS = ("reason", "betnr", "since")
_SHADOW_KEY = (
    *("flow", "subject", "system", "kind", "record_id", "field", "new_hash"),
)
#: A shorter value in a log may be about another person.
_SHORTEST_VALUE = 6

Counts = dict[str, int]


class ErasureRefused(EntityBusy):
    """A sync of the person is running; its values would be written again right after the erasure."""


async def erase(
    resources: Resources,
    given: str,
    log_directory: Path,
    *,
    apply: bool,
) -> Counts:
    """Erase the values of a person; what was erased, or would be without ``apply``: rows by table, ``queue``, and
    ``log lines`` that hold one of the values (they go with `LOG_DAYS`, nothing here writes such).

    A second run finds nothing any more.

    Raises:
        InvalidInput, NotFound: see `find_person`; InvalidInput also: a log cannot be read, and nothing is erased.
        ErasureRefused: a sync of the person is running.
        Unavailable: PostgreSQL or Redis does not answer.
    """
    pool = await resources.database()
    person = await find_person(pool, given)
    async with AsyncExitStack() as locks:
        if apply:
            await _lock(resources, person, locks)
        return await _erase(resources, pool, person, log_directory, apply=apply)


async def _lock(resources: Resources, person: Person, locks: AsyncExitStack) -> None:
    seconds = resources.settings.vmh.lock_seconds
    for entity_id in person.entity_ids:
        key = beteiligte_lock_key(entity_id)
        try:
            await locks.enter_async_context(record_lock(resources, key, seconds))
        except (EntityBusy, NotBefore) as error:
            raise ErasureRefused(
                f"a sync of {entity_id} is running; try again when it is over",
            ) from error


async def _erase(
    resources: Resources,
    pool: asyncpg.Pool,
    person: Person,
    log_directory: Path,
    *,
    apply: bool,
) -> Counts:
    async with database_errors(), pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            counts, values = await _Eraser(connection, person, resources).run()
            if apply and any(counts.values()):
                await _record(connection, person, counts, resources)
            # Before it is final: logs that cannot be read leave all as it is.
            log_lines = len(logs.lines_with(log_directory, values))
        except BaseException:
            await transaction.rollback()
            raise
        if apply:
            await transaction.commit()
        else:
            await transaction.rollback()
    async with open_queue(resources.settings.postgres) as queue:
        if queue is not None:
            counts["queue"] = await queue.erase(person.all_ids, apply=apply)
    counts["log lines"] = log_lines
    return counts


async def _record(
    connection: Any,
    person: Person,
    counts: Counts,
    resources: Resources,
) -> None:
    """The fact of the erasure, in the audit of each record."""
    now = resources.now()
    line = {"field": "erasure", "counts": counts}
    for entity_id in person.entity_ids:
        entry = AuditEntry(
            ENTITY_TYPE,
            entity_id,
            "erasure",
            "hand",
            "erased",
            0.0,
            None,
            [line],
        )
        await SyncStore(connection).append_audit(entry, now)


class _Eraser:
    """Erases within one transaction. Each method returns whether a row held anything."""

    def __init__(self, connection: Any, person: Person, resources: Resources) -> None:
        self._connection = connection
        self._person = person
        self._now = resources.now()
        self._key = b""

    async def run(self) -> tuple[Counts, set[str]]:
        """How many rows held values, by table; and the values, to be looked for elsewhere."""
        self._key = await installation_key(self._connection, self._now)
        work = {
            "sync_state": self._state,
            "create_intent": self._intent,
            "sync_audit": self._audit,
            "notification": self._notification,
            "responsible": self._responsible,
            "calendar_sync_overwritten": self._overwritten,
            "shadow_write": self._shadow_write,
            "paused_job": self._paused_job,
        }
        found = await rows_of(self._connection, self._person)
        counts = {}
        for table, erase_row in work.items():
            erased = [await erase_row(row) for row in found[table]]
            counts[table] = sum(erased)
        return counts, _values_of(found)

    async def _state(self, row: Row) -> bool:
        base = seal(row["base"], self._key)
        rejected = seal(row["rejected"], self._key)
        if row["entity_type"].startswith(f"{ENTITY_TYPE}."):
            base = {**base, "lost": []}
        held = (row["base"], row["rejected"], row["unrecorded"])
        if (base, rejected, None) == held:
            return False
        await self._connection.execute(
            """
            UPDATE sync_state SET base = $3, rejected = $4, erased_at = $5, unrecorded = NULL
            WHERE entity_type = $1 AND entity_id = $2
            """,
            row["entity_type"],
            row["entity_id"],
            base,
            rejected,
            self._now,
        )
        return True

    async def _intent(self, row: Row) -> bool:
        posted = seal(row["posted"], self._key)
        if posted == row["posted"]:
            return False
        await self._connection.execute(
            "UPDATE create_intent SET posted = $3 WHERE entity_type = $1 AND entity_id = $2",
            row["entity_type"],
            row["entity_id"],
            posted,
        )
        return True

    async def _audit(self, row: Row) -> bool:
        changes = seal(row["changes"], self._key)
        error = (row["error"] or "").partition(":")[0] or None
        if (changes, error) == (row["changes"], row["error"]):
            return False
        await self._connection.execute(
            "UPDATE sync_audit SET changes = $2, error = $3 WHERE audit_id = $1",
            row["audit_id"],
            changes,
            error,
        )
        return True

    async def _notification(self, row: Row) -> bool:
        """The fingerprint stays: it shows that users were notified of this already."""
        details = self._details(row["details"])
        if details == row["details"]:
            return False
        await self._connection.execute(
            "UPDATE notification SET details = $2 WHERE problem_key = $1",
            row["problem_key"],
            details,
        )
        return True

    def _details(self, details: Mapping[str, Any]) -> dict[str, Any]:
        if "records" in details:
            records = list(map(self._record, details["records"]))
            return {**details, "records": records}
        return {name: details[name] for name in _KEPT_DETAILS if name in details}

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        """A line of a list: others' stay as they are."""
        if not self._person.is_named_by(record):
            return record
        return {"betnr": record["betnr"]}

    async def _responsible(self, row: Row) -> bool:
        if row["name"] is None:
            return False
        await self._connection.execute(
            "UPDATE responsible SET name = NULL WHERE entity_type = $1 AND entity_id = $2",
            row["entity_type"],
            row["entity_id"],
        )
        return True

    async def _overwritten(self, row: Row) -> bool:
        await self._connection.execute(
            "DELETE FROM calendar_sync_overwritten WHERE overwritten_id = $1",
            row["overwritten_id"],
        )
        return True

    async def _shadow_write(self, row: Row) -> bool:
        """Whoever has the database has the key as well, and could find out a birth date by trying all days."""
        await self._connection.execute(
            """
            DELETE FROM shadow_write WHERE (flow, subject, system, kind, record_id, field, new_hash)
                = ($1, $2, $3, $4, $5, $6, $7)
            """,
            *(row[name] for name in _SHADOW_KEY),
        )
        return True

    async def _paused_job(self, row: Row) -> bool:
        payload = own_part(row["payload"])
        if payload == row["payload"]:
            return False
        await self._connection.execute(
            "UPDATE paused_job SET payload = $3, job_key = $4 WHERE topic = $1 AND job_key = $2",
            row["topic"],
            row["job_key"],
            payload,
            json.dumps(payload, sort_keys=True),
        )
        return True


def _values_of(found: Mapping[str, list[Row]]) -> set[str]:
    """The values that may be looked for in logs: long enough to be no one else's."""
    texts: set[str] = set()
    for row in found["sync_state"]:
        texts.update(texts_in(row["base"]))
        texts.update(texts_in(row["unrecorded"]))
    for row in chain.from_iterable(found.values()):
        if "entity_id" in row:
            texts.discard(row["entity_id"])
    return set(filter(_is_telling, texts))


def _is_telling(text: str) -> bool:
    return len(text) >= _SHORTEST_VALUE and not is_sealed(text)
