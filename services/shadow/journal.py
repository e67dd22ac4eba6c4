"""What the syncs would have written, while they run beside the old system and write nothing (``BITBYLAW_READ_ONLY``).

Kept are record, field and a keyed hash of the value: enough to see later whether the other system has done the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from services.core.database import database_errors
from services.core.installation_key import installation_key
from services.core.resources import Resources
from services.shadow.planned import NEW, PlannedWrite
from services.shadow.preview import Preview

Flow = Literal["vmh", "calendar"]

#: Rows are forgotten after this time, by the daily cleaning (`services.privacy.cleaning`).
KEPT = timedelta(days=60)


@dataclass(frozen=True)
class ShadowKey:
    """One field of one record that would have been written; ``field`` is empty for a deletion."""

    flow: Flow
    subject: str
    system: str
    kind: str
    record_id: str
    field: str


@dataclass(frozen=True)
class ShadowWrite:
    """A value that would have been written, as its hash."""

    key: ShadowKey
    operation: str
    new_hash: str


def shadow_writes(flow: Flow, preview: Preview, key: bytes) -> Iterator[ShadowWrite]:
    """What is noted of a preview: its content, and nothing of what the sync notes for itself.

    ``key``: of the hashes, see `installation_key`.
    """
    for write in preview.writes:
        if write.operation != "note":
            yield from _of_record(flow, preview.subject, write, key)


def _of_record(
    flow: Flow,
    subject: str,
    write: PlannedWrite,
    hash_key: bytes,
) -> Iterator[ShadowWrite]:
    record = ShadowKey(
        flow=flow,
        subject=subject,
        system=write.system,
        kind=write.kind,
        record_id=_record_id(write, hash_key),
        field="",
    )
    if write.operation == "delete":
        yield ShadowWrite(record, write.operation, "")
        return
    for field in write.contents:
        key = replace(record, field=field.name)
        new_hash = field.new_hash(hash_key)
        yield ShadowWrite(key, write.operation, new_hash)


def _record_id(write: PlannedWrite, hash_key: bytes) -> str:
    """The record's id; of one that would be made a name by its content, since the other system may make it first.

    By its number it would be another one as soon as the other system has made the one before it.
    """
    if not write.record_id.startswith(NEW):
        return write.record_id
    hashes = [[field.name, field.new_hash(hash_key)] for field in write.contents]
    content = json.dumps(hashes).encode()
    digest = hashlib.sha256(content).hexdigest()
    return NEW + digest[:12]


async def note(resources: Resources, flow: Flow, preview: Preview) -> None:
    """Remember what a sync would have written; what is known already is noted again.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    now = resources.clock()
    async with database_errors():
        pool = await resources.database()
        key = await installation_key(pool, now)
        rows = [_row(item, now) for item in shadow_writes(flow, preview, key)]
        async with pool.acquire() as connection, connection.transaction():
            await connection.executemany(
                """
                INSERT INTO shadow_write
                    (flow, subject, system, kind, record_id, field, operation, new_hash, first_noted, last_noted)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
                ON CONFLICT (flow, subject, system, kind, record_id, field, new_hash)
                    DO UPDATE SET last_noted = excluded.last_noted, operation = excluded.operation
                """,
                rows,
            )


def _row(item: ShadowWrite, now: datetime) -> tuple[object, ...]:
    key = item.key
    return (
        key.flow,
        key.subject,
        key.system,
        key.kind,
        key.record_id,
        key.field,
        item.operation,
        item.new_hash,
        now,
    )


async def noted(resources: Resources, since: datetime) -> list[ShadowWrite]:
    """What would have been written since then (aware), in the order in which it was first noted.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    async with database_errors():
        pool = await resources.database()
        rows = await pool.fetch(
            """
            SELECT flow, subject, system, kind, record_id, field, operation, new_hash FROM shadow_write
            WHERE last_noted >= $1 ORDER BY first_noted, subject, system, kind, record_id, field
            """,
            since,
        )
    return [_from_row(row) for row in rows]


def _from_row(row: Mapping[str, Any]) -> ShadowWrite:
    key = ShadowKey(
        flow=row["flow"],
        subject=row["subject"],
        system=row["system"],
        kind=row["kind"],
        record_id=row["record_id"],
        field=row["field"],
    )
    return ShadowWrite(key, row["operation"], row["new_hash"])
