"""Beteiligte as operators see them: ids, numbers, statuses, times and history. No names, no values.

EspoCRM says what their status is; while it is away, what our own database knows is shown instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.core.database import database_errors
from services.espocrm import EspoCRMAPI
from services.operate.parts import PAGE_ROWS, Part, first_page, offset_of, part
from services.operate.redact import redacted, redacted_or_none
from services.operate.sources import Sources
from services.values.espocrm_query import Where, equals, is_in, parse_date_time
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE
from services.vmh_sync.beteiligte.status import UNSYNCED

STATUSES = (
    "pending_sync",
    "dirty",
    "syncing",
    "clean",
    "conflict",
    "failed",
    "permanently_failed",
    "deleted_in_advoware",
)
FAILED_STATUSES = ("failed", "permanently_failed", "conflict", "deleted_in_advoware")
COUNT_SECONDS = 30.0
_FIELDS = (
    *("id", "betnr", "syncStatus", "advowareLastSync", "syncRetryCount"),
    *("syncNextRetry", "syncAutoResetAt", "modifiedAt"),
)
_FIELD = re.compile(r"[a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)?")
_ENTITY_ID = re.compile(r"[0-9A-Za-z]{1,24}")


@dataclass(frozen=True)
class BeteiligteRow:
    """One record. ``status`` is EspoCRM's, or the last result that our audit has if ``is_from_audit``."""

    entity_id: str
    betnr: str | None
    status: str
    last_sync: datetime | None
    retries: int
    next_retry: datetime | None
    modified_at: datetime | None
    is_from_audit: bool = False


@dataclass(frozen=True)
class BeteiligteView:
    """A page of records."""

    status: str
    search: str
    rows: Part[list[BeteiligteRow]]
    total: int | None
    page: int
    has_next: bool
    espocrm_missing: str | None  #: why the rows come from our own database


@dataclass(frozen=True)
class FieldMove:
    """One line of a sync's changes: which field went to which side. Values are not shown."""

    field: str
    side: str
    kind: str


@dataclass(frozen=True)
class SyncLine:
    """One sync of a record, from the audit."""

    audit_id: int
    at: datetime
    entity_type: str
    entity_id: str
    topic: str
    source: str
    result: str
    duration_ms: float
    advoware_id: str | None
    moves: Sequence[FieldMove]
    error: str | None
    trace_id: str | None


@dataclass(frozen=True)
class OpenTask:
    """A task that people have in EspoCRM about this record."""

    action_type: str
    task_id: str | None
    since: datetime


@dataclass(frozen=True)
class StoredState:
    """What we remember of the last sync."""

    advoware_id: str | None
    synced_at: datetime | None
    espocrm_modified_at: datetime | None
    advoware_changed_at: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True)
class BeteiligterView:
    """One record."""

    entity_id: str
    row: Part[BeteiligteRow | None]
    state: Part[StoredState | None]
    history: Part[list[SyncLine]]
    tasks: Part[list[OpenTask]]
    page: int
    has_next: bool


@dataclass(frozen=True)
class RunsView:
    """The latest syncs of one topic, or of the topics of one step."""

    topic: str
    topics: tuple[str, ...]
    runs: Part[list[SyncLine]]
    page: int
    has_next: bool


@dataclass(frozen=True)
class Unsynced:
    """The oldest record with something to be brought to Advoware."""

    entity_id: str
    status: str
    since: datetime | None


def is_entity_id(text: str) -> bool:
    """Whether a text may be the id of a record in EspoCRM."""
    return _ENTITY_ID.fullmatch(text) is not None


async def beteiligte_view(
    sources: Sources,
    status: str,
    search: str,
    page: int,
) -> BeteiligteView:
    """A page of records with this status (empty: all), or those with this number or id."""
    offset = offset_of(page)
    found = await part(_from_espocrm(sources, status, search, offset), "EspoCRM")
    if found.value is None:
        from_audit = _from_audit(sources, status, search, offset)
        known = await part(from_audit, "PostgreSQL")
        records, has_next = first_page(known)
        total = None
    else:
        rows, total = found.value
        records = Part(rows)
        has_next = offset + PAGE_ROWS < total
    return BeteiligteView(
        status=status,
        search=search,
        rows=records,
        total=total,
        page=page,
        has_next=has_next,
        espocrm_missing=found.missing,
    )


async def _from_espocrm(
    sources: Sources,
    status: str,
    search: str,
    offset: int,
) -> tuple[list[BeteiligteRow], int]:
    where: list[Where] = []
    if status:
        where.append(equals("syncStatus", status))
    if search:
        where.append(_search(search))
    espocrm = EspoCRMAPI(resources=sources.resources)
    records, total = await espocrm.list_entities(
        ENTITY_TYPE,
        where,
        select=_FIELDS,
        order_by="modifiedAt",
        order="desc",
        offset=offset,
        max_size=PAGE_ROWS,
    )
    return [_row(record) for record in records], total


def _search(text: str) -> Where:
    if _is_number(text):
        return equals("betnr", int(text))
    return equals("id", text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _row(record: Mapping[str, Any]) -> BeteiligteRow:
    status = str(record.get("syncStatus") or "")
    next_retry = "syncNextRetry"
    if status == "permanently_failed":
        next_retry = "syncAutoResetAt"
    if status not in STATUSES:
        status = "unknown"
    betnr = record.get("betnr")
    return BeteiligteRow(
        entity_id=str(record["id"]),
        betnr=str(betnr) if betnr else None,
        status=status,
        last_sync=parse_date_time(record.get("advowareLastSync")),
        retries=int(record.get("syncRetryCount") or 0),
        next_retry=parse_date_time(record.get(next_retry)),
        modified_at=parse_date_time(record.get("modifiedAt")),
    )


_KNOWN_RECORDS = """
SELECT state.entity_id, state.advoware_id, state.synced_at, state.espocrm_modified_at, latest.result
FROM sync_state AS state LEFT JOIN LATERAL (
    SELECT result FROM sync_audit AS audit
    WHERE audit.entity_type = state.entity_type AND audit.entity_id = state.entity_id
    ORDER BY audit_id DESC LIMIT 1) AS latest ON true
WHERE state.entity_type = $1 AND state.deleted_at IS NULL
    AND ($2 = '' OR state.entity_id = $2 OR state.advoware_id = $2)
    AND ($3 = '' OR latest.result = $3 AND state.entity_id = ANY(ARRAY(
        SELECT entity_id FROM sync_audit WHERE entity_type = $1 AND result = $3)))
ORDER BY state.entity_id LIMIT $4 OFFSET $5
"""


async def _from_audit(
    sources: Sources,
    status: str,
    search: str,
    offset: int,
) -> list[BeteiligteRow]:
    wanted = ""
    if status in FAILED_STATUSES:
        wanted = "failed"
    return await sources.rows(
        _known_row,
        _KNOWN_RECORDS,
        ENTITY_TYPE,
        search,
        wanted,
        PAGE_ROWS + 1,
        offset,
    )


def _known_row(row: Mapping[str, Any]) -> BeteiligteRow:
    return BeteiligteRow(
        entity_id=row["entity_id"],
        betnr=row["advoware_id"],
        status=row["result"] or "unknown",
        last_sync=row["synced_at"],
        retries=0,
        next_retry=None,
        modified_at=row["espocrm_modified_at"],
        is_from_audit=True,
    )


async def beteiligter_view(
    sources: Sources,
    entity_id: str,
    page: int,
) -> BeteiligterView:
    """One record with a page of its history."""
    offset = offset_of(page)
    row, state, history, tasks = await asyncio.gather(
        part(_one(sources, entity_id), "EspoCRM"),
        part(_state(sources, entity_id), "PostgreSQL"),
        part(_history(sources, entity_id, offset), "PostgreSQL"),
        part(_tasks(sources, entity_id), "PostgreSQL"),
    )
    shown, has_next = first_page(history)
    return BeteiligterView(
        entity_id=entity_id,
        row=row,
        state=state,
        history=shown,
        tasks=tasks,
        page=page,
        has_next=has_next,
    )


async def _one(sources: Sources, entity_id: str) -> BeteiligteRow | None:
    espocrm = EspoCRMAPI(resources=sources.resources)
    records, _ = await espocrm.list_entities(
        ENTITY_TYPE,
        [equals("id", entity_id)],
        select=_FIELDS,
        max_size=1,
    )
    if not records:
        return None
    return _row(records[0])


async def _state(sources: Sources, entity_id: str) -> StoredState | None:
    pool = await sources.resources.database()
    async with database_errors():
        row = await pool.fetchrow(
            """
            SELECT advoware_id, synced_at, espocrm_modified_at, advoware_changed_at, deleted_at
            FROM sync_state WHERE entity_type = $1 AND entity_id = $2
            """,
            ENTITY_TYPE,
            entity_id,
        )
    return StoredState(**row) if row else None


async def _history(sources: Sources, entity_id: str, offset: int) -> list[SyncLine]:
    return await sources.rows(
        _line,
        """
        SELECT * FROM sync_audit WHERE entity_type = $1 AND entity_id = $2
        ORDER BY audit_id DESC LIMIT $3 OFFSET $4
        """,
        ENTITY_TYPE,
        entity_id,
        PAGE_ROWS + 1,
        offset,
    )


async def runs_view(sources: Sources, topic: str, page: int) -> RunsView:
    """A page of the latest syncs that came from this topic, or from the topics of the step of this name."""
    topics = await _topics_of(sources, topic)
    offset = offset_of(page)
    runs = await part(_runs(sources, topics, offset), "PostgreSQL")
    shown, has_next = first_page(runs)
    return RunsView(
        topic=topic,
        topics=topics,
        runs=shown,
        page=page,
        has_next=has_next,
    )


async def _topics_of(sources: Sources, topic: str) -> tuple[str, ...]:
    topics: tuple[str, ...] = (topic,)
    for step in await sources.steps():
        if step.name == topic and step.topics:
            topics = step.topics
    return topics


async def _runs(sources: Sources, topics: Sequence[str], offset: int) -> list[SyncLine]:
    return await sources.rows(
        _line,
        "SELECT * FROM sync_audit WHERE topic = ANY($1) ORDER BY audit_id DESC LIMIT $2 OFFSET $3",
        list(topics),
        PAGE_ROWS + 1,
        offset,
    )


def _line(row: Mapping[str, Any]) -> SyncLine:
    moves = [_move(change) for change in row["changes"] if isinstance(change, dict)]
    return SyncLine(
        audit_id=row["audit_id"],
        at=row["at"],
        entity_type=row["entity_type"],
        entity_id=row["entity_id"],
        topic=row["topic"],
        source=row["source"],
        result=row["result"],
        duration_ms=row["duration_ms"],
        advoware_id=row["advoware_id"],
        moves=moves,
        error=redacted_or_none(row["error"]),
        trace_id=row["trace_id"],
    )


def _move(change: Mapping[str, Any]) -> FieldMove:
    side = change.get("side") or change.get("winner") or ""
    kind = change.get("kind") or _first_kind(change)
    return FieldMove(
        field=_field_name(change.get("field")),
        side=redacted(side),
        kind=redacted(kind),
    )


def _first_kind(change: Mapping[str, Any]) -> str:
    """Why a value was not simply copied, of a line that does not say so itself."""
    for kind in ("conflict", "refused", "reason"):
        if change.get(kind):
            return kind
    return ""


def _field_name(value: Any) -> str:
    """An attribute's name; what else may stand there is hidden."""
    text = str(value or "")
    if _FIELD.fullmatch(text):
        return text
    return redacted(text)


async def _tasks(sources: Sources, entity_id: str) -> list[OpenTask]:
    return await sources.rows(
        _task,
        """
        SELECT action_type, task_id, started_at FROM notification
        WHERE entity_type = $1 AND entity_id = $2 AND over_since IS NULL
        ORDER BY started_at DESC LIMIT 50
        """,
        ENTITY_TYPE,
        entity_id,
    )


def _task(row: Mapping[str, Any]) -> OpenTask:
    action_type = redacted(row["action_type"])
    return OpenTask(action_type, row["task_id"], row["started_at"])


async def counts_by_status(sources: Sources) -> dict[str, int]:
    """How many records have each status; asked at most every 30 seconds.

    Raises:
        ForeignSystemError: EspoCRM does not answer.
    """

    async def count() -> dict[str, int]:
        totals = await asyncio.gather(*(_total(sources, name) for name in STATUSES))
        return dict(zip(STATUSES, totals, strict=True))

    return await sources.cached("beteiligte.counts", COUNT_SECONDS, count)


async def _total(sources: Sources, status: str) -> int:
    """How many records have this status."""
    espocrm = EspoCRMAPI(resources=sources.resources)
    _, total = await espocrm.list_entities(
        ENTITY_TYPE,
        [equals("syncStatus", status)],
        select=["id"],
        max_size=1,
    )
    return total


async def oldest_unsynced(sources: Sources) -> Unsynced | None:
    """The record that has waited longest; None: nothing waits.

    Raises:
        ForeignSystemError: EspoCRM does not answer.
    """

    async def find() -> Unsynced | None:
        espocrm = EspoCRMAPI(resources=sources.resources)
        records, _ = await espocrm.list_entities(
            ENTITY_TYPE,
            [is_in("syncStatus", sorted(UNSYNCED))],
            select=_FIELDS,
            order_by="modifiedAt",
            max_size=1,
        )
        if not records:
            return None
        row = _row(records[0])
        return Unsynced(row.entity_id, row.status, row.modified_at)

    return await sources.cached("beteiligte.oldest", COUNT_SECONDS, find)


async def ids_with_status(
    sources: Sources,
    status: str,
    limit: int,
) -> tuple[list[str], int]:
    """The ids of records with this status, those first that have waited longest, and how many there are in all.

    Raises:
        ForeignSystemError: EspoCRM does not answer.
    """
    espocrm = EspoCRMAPI(resources=sources.resources)
    rows, total = await espocrm.list_entities(
        ENTITY_TYPE,
        [equals("syncStatus", status)],
        select=["id"],
        order_by="modifiedAt",
        max_size=limit,
    )
    return [str(row["id"]) for row in rows], total
