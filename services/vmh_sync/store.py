"""What the sync remembers in PostgreSQL: the merge base, create intents, and the append-only audit.

All times are aware. All functions raise `Unavailable` if PostgreSQL does not answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import asyncpg

from services.core.database import database_errors
from services.core.errors import Conflict, CreateUnclear
from services.values.sealed import has_sealed, opened, texts_in


@dataclass(frozen=True)
class SyncState:
    """The last state of a record that both sides agreed on.

    ``unrecorded``: the audit's lines of what a run has begun to write and that is in no line of the audit yet, of the
    record and its parts; see `SyncStore.note_begun`.
    """

    entity_type: str
    entity_id: str
    advoware_id: str | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    rejected: Mapping[str, Any] = field(default_factory=dict)
    advoware_row_id: str | None = None
    espocrm_modified_at: datetime | None = None
    synced_at: datetime | None = None
    deleted_at: datetime | None = None
    advoware_created_at: datetime | None = None
    advoware_changed_at: datetime | None = None
    erased_at: datetime | None = None
    released_from: str | None = None
    taken_from: str | None = None
    unrecorded: Sequence[Mapping[str, Any]] | None = None

    @property
    def is_released(self) -> bool:
        """Whether this is a part whose CBeteiligte is gone, so that its link is free (`SyncStore.release_parts`)."""
        return self.deleted_at is not None and self.advoware_id is None

    def as_known_to(self, beteiligte_id: str) -> SyncState:
        """The state as it counts for a CBeteiligte: what was taken away from a deleted one is free for any other."""
        if self.taken_from in {None, beteiligte_id}:
            return self
        return replace(self, advoware_id=None)

    def belongs_to(self, betnr: str) -> bool:
        """Whether this is a live part of that Beteiligter: its ``advoware_id`` is ``"<betnr>/<id>"``."""
        return (
            self.deleted_at is None
            and (self.advoware_id or "").partition("/")[0] == betnr
        )


@dataclass(frozen=True)
class CreateIntent:
    """A create that was begun. With ``advoware_id`` its result is known; without, the attempt may have succeeded."""

    started_at: datetime
    attempted_at: datetime
    attempts: int
    posted: Mapping[str, Any]
    advoware_id: str | None
    advoware_created_at: datetime | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether an earlier attempt may have created the record already."""
        return self.attempts > 1


#: How a run has ended: ``whole``, or ``interrupted``, when what it has begun and has no line for may be done or not.
RunEnd = Literal["whole", "interrupted"]


def key_of_link(entity_type: str, link: str) -> tuple[str, str]:
    """The key of a create in EspoCRM: its record has no id yet, so it is known by the part in Advoware."""
    return entity_type, _id_of_link(link)


def _id_of_link(link: str) -> str:
    return f"@{link}"


@dataclass(frozen=True)
class AuditEntry:
    """One sync of one record. ``changes`` may contain values; ``error`` may not."""

    entity_type: str
    entity_id: str
    topic: str
    source: str
    result: str
    duration_ms: float
    advoware_id: str | None = None
    changes: Sequence[Mapping[str, Any]] = ()
    error: str | None = None
    trace_id: str | None = None
    undoes: int | None = None


class SyncStore:
    """Reads and writes the tables of `db/migrations/0001_sync_state.sql`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    # -- merge base -------------------------------------------------------------------------------------------

    async def load(self, entity_type: str, entity_id: str) -> SyncState | None:
        """The state of a record, None before its first sync; also after its deletion."""
        async with database_errors():
            row = await self._pool.fetchrow(
                "SELECT * FROM sync_state WHERE entity_type = $1 AND entity_id = $2",
                entity_type,
                entity_id,
            )
        if row:
            return SyncState(**row)
        return None

    async def save(self, state: SyncState) -> None:
        """Store the state of a record, in place of an earlier one. With a link, its create is at its end.

        So is the one that was begun for the link, because the record had no id yet (`key_of_link`).

        One statement does both: a crash between two would leave the intent, and what it holds of a person, for ever.

        Raises:
            Conflict: another record is linked with the same Advoware record.
        """
        try:
            async with database_errors():
                await self._pool.execute(
                    """
                    WITH ended AS (
                        DELETE FROM create_intent
                        WHERE entity_type = $1 AND entity_id IN ($2, $13) AND $3::text IS NOT NULL
                    )
                    INSERT INTO sync_state (entity_type, entity_id, advoware_id, base, advoware_row_id,
                                            espocrm_modified_at, synced_at, deleted_at, rejected,
                                            advoware_created_at, advoware_changed_at, erased_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                    ON CONFLICT (entity_type, entity_id) DO UPDATE SET
                        advoware_id = excluded.advoware_id, base = excluded.base,
                        advoware_row_id = excluded.advoware_row_id, synced_at = excluded.synced_at,
                        espocrm_modified_at = excluded.espocrm_modified_at, deleted_at = excluded.deleted_at,
                        rejected = excluded.rejected,
                        advoware_created_at = excluded.advoware_created_at,
                        advoware_changed_at = excluded.advoware_changed_at,
                        erased_at = excluded.erased_at,
                        taken_from = CASE WHEN excluded.deleted_at IS NOT NULL THEN sync_state.taken_from END
                    """,
                    state.entity_type,
                    state.entity_id,
                    state.advoware_id,
                    dict(state.base),
                    state.advoware_row_id,
                    state.espocrm_modified_at,
                    state.synced_at,
                    state.deleted_at,
                    dict(state.rejected),
                    state.advoware_created_at,
                    state.advoware_changed_at,
                    _erased_at(state),
                    _id_of_link(state.advoware_id or ""),
                )
        except asyncpg.UniqueViolationError as error:
            raise Conflict(
                "PostgreSQL",
                "this Advoware record is linked with another EspoCRM record",
            ) from error

    async def note_sending(
        self,
        entity_type: str,
        bases: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Remember what is about to be written to either side, until the states are stored again.

        ``bases`` are what is known of the records by their ids, with what is about to be written
        (`services.vmh_sync.sending`).
        """
        async with database_errors():
            await self._pool.execute(
                """
                UPDATE sync_state SET base = base || noted.value
                FROM jsonb_each($2::jsonb) AS noted
                WHERE entity_type = $1 AND entity_id = noted.key
                """,
                entity_type,
                {entity_id: dict(base) for entity_id, base in bases.items()},
            )

    async def opened(self, state: SyncState, *shown: Any) -> SyncState:
        """The state after an erasure, with the values put back that both sides show still.

        ``shown`` are JSON values of any depth: what both sides show, as they are read and as they are compared.
        """
        if state.erased_at is None:
            return state
        key = await self._erasure_key()
        texts = set(texts_in(*shown))
        return replace(
            state,
            base=opened(state.base, texts, key),
            rejected=opened(state.rejected, texts, key),
        )

    async def all_opened(
        self,
        states: Mapping[str, SyncState],
        *shown: Any,
    ) -> dict[str, SyncState]:
        """The states of several records; see `opened`."""
        return {name: await self.opened(states[name], *shown) for name in states}

    async def _erasure_key(self) -> bytes:
        async with database_errors():
            key = await self._pool.fetchval("SELECT key FROM erasure_key")
        return bytes(key or b"")

    async def mark_deleted(
        self,
        entity_type: str,
        entity_id: str,
        now: datetime,
    ) -> None:
        """Note that the EspoCRM record is gone. An unfinished create is kept: the record might come back."""
        async with database_errors():
            await self._pool.execute(
                "UPDATE sync_state SET deleted_at = coalesce(deleted_at, $3) WHERE entity_type = $1 AND entity_id = $2",
                entity_type,
                entity_id,
                now,
            )

    async def load_parts(
        self,
        entity_type: str,
        betnr: str,
        beteiligte_id: str,
        entity_ids: Sequence[str] = (),
    ) -> dict[str, SyncState]:
        """The states of the records that belong to a Beteiligter, by their ids; also those of deleted ones.

        They are those whose ``advoware_id`` is ``"<betnr>/<id>"``, and those of ``entity_ids``, as they are known to
        the CBeteiligte (`SyncState.as_known_to`).
        """
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT * FROM sync_state
                WHERE entity_type = $1 AND (split_part(advoware_id, '/', 1) = $2 OR entity_id = ANY($3))
                """,
                entity_type,
                betnr,
                list(entity_ids),
            )
        states = [SyncState(**row) for row in rows]
        return {state.entity_id: state.as_known_to(beteiligte_id) for state in states}

    async def linked_advoware_ids(
        self,
        entity_type: str,
        advoware_ids: Sequence[str],
    ) -> set[str]:
        """Those of the Advoware ids that a live record or a finished create is linked with."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT advoware_id FROM sync_state
                WHERE entity_type = $1 AND advoware_id = ANY($2) AND deleted_at IS NULL
                UNION SELECT advoware_id FROM create_intent WHERE entity_type = $1 AND advoware_id = ANY($2)
                """,
                entity_type,
                list(advoware_ids),
            )
        return {row["advoware_id"] for row in rows}

    async def linked_entity(self, entity_type: str, advoware_id: str) -> str | None:
        """The id of the live record that an Advoware record is linked with."""
        async with database_errors():
            entity_id = await self._pool.fetchval(
                """
                SELECT entity_id FROM sync_state
                WHERE entity_type = $1 AND advoware_id = $2 AND deleted_at IS NULL
                """,
                entity_type,
                advoware_id,
            )
        if entity_id:
            return str(entity_id)
        return None

    async def former_entities(self, entity_type: str, advoware_id: str) -> list[str]:
        """The ids of the deleted records that were linked with an Advoware record."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT entity_id FROM sync_state
                WHERE entity_type = $1 AND advoware_id = $2 AND deleted_at IS NOT NULL
                """,
                entity_type,
                advoware_id,
            )
        return [row["entity_id"] for row in rows]

    async def was_linked_since(
        self,
        entity_type: str,
        advoware_id: str,
        kept_type: str,
        kept: SyncState,
    ) -> bool:
        """Whether another record is linked with an Advoware record, or was since ``kept`` has ended.

        ``kept_type`` is the type under which the links with that Advoware record are kept that have ended.
        """
        async with database_errors():
            return bool(
                await self._pool.fetchval(
                    """
                    SELECT EXISTS (SELECT 1 FROM sync_state WHERE entity_id <> $4 AND (
                        (entity_type = $1 AND advoware_id = $2 AND (deleted_at IS NULL OR deleted_at > $5))
                        OR (entity_type = $3 AND deleted_at > $5)))
                    """,
                    entity_type,
                    advoware_id,
                    kept_type,
                    kept.entity_id,
                    kept.deleted_at,
                ),
            )

    async def forget(self, entity_types: Sequence[str], entity_id: str) -> None:
        """Forget what is known of a record under these types."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM sync_state WHERE entity_type = ANY($1) AND entity_id = $2",
                list(entity_types),
                entity_id,
            )

    async def neighbours(self, entity_type: str, number: int, limit: int) -> list[str]:
        """The linked Advoware numbers nearest to ``number``: up to ``limit`` above it, and the one below."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                (SELECT advoware_id::bigint AS number FROM sync_state
                 WHERE entity_type = $1 AND deleted_at IS NULL AND advoware_id ~ '^[0-9]{1,18}$'
                   AND advoware_id::bigint > $2 ORDER BY 1 LIMIT $3)
                UNION ALL
                (SELECT advoware_id::bigint FROM sync_state
                 WHERE entity_type = $1 AND deleted_at IS NULL AND advoware_id ~ '^[0-9]{1,18}$'
                   AND advoware_id::bigint < $2 ORDER BY 1 DESC LIMIT 1)
                """,
                entity_type,
                number,
                limit,
            )
        return [str(row["number"]) for row in rows]

    async def live_entities(
        self,
        entity_type: str,
        after: str,
        limit: int,
    ) -> list[str]:
        """The ids of the next live records in the order of their ids, the first ones if ``after`` is empty.

        They are those that are linked, and those whose create has not ended.
        """
        async with database_errors():
            rows = await self._pool.fetch(
                """
                (SELECT entity_id FROM sync_state
                 WHERE entity_type = $1 AND entity_id > $2 AND deleted_at IS NULL ORDER BY entity_id LIMIT $3)
                UNION
                (SELECT entity_id FROM create_intent
                 WHERE entity_type = $1 AND entity_id > $2 ORDER BY entity_id LIMIT $3)
                ORDER BY entity_id LIMIT $3
                """,
                entity_type,
                after,
                limit,
            )
        return [row["entity_id"] for row in rows]

    async def release_parts(
        self,
        betnr: str,
        beteiligte_id: str,
        now: datetime,
    ) -> None:
        """Unlink all parts of a Beteiligter whose CBeteiligte is gone, so that another record may take them over.

        What was taken away from that before stays so, for the case that it is restored (`SyncState.as_known_to`).
        """
        async with database_errors():
            await self._pool.execute(
                """
                UPDATE sync_state SET released_from = $1,
                    taken_from = CASE WHEN deleted_at IS NULL THEN NULL ELSE coalesce(taken_from, $2) END,
                    advoware_id = CASE WHEN deleted_at IS NULL THEN NULL ELSE advoware_id END,
                    deleted_at = coalesce(deleted_at, $3)
                WHERE split_part(advoware_id, '/', 1) = $1 AND advoware_id LIKE '%/%'
                """,
                betnr,
                beteiligte_id,
                now,
            )

    async def forget_beteiligter(
        self,
        entity_id: str,
        betnr: str,
        entry: AuditEntry,
        now: datetime,
    ) -> None:
        """Unlink a CBeteiligte and all that belongs to it from a Beteiligter that is gone; the audit keeps the number.

        Creates that were begun stay: they are looked for before anything is created again.
        """
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(
                """
                DELETE FROM sync_state
                WHERE (entity_id = $1 AND entity_type LIKE 'CBeteiligte%'
                       AND split_part(entity_type, '@', 2) IN ('', $2))
                   OR (entity_type IN ('CAdressen', 'CBankverbindungen') AND split_part(advoware_id, '/', 1) = $2)
                """,
                entity_id,
                betnr,
            )
            await SyncStore(connection).append_audit(entry, now)

    # -- create intents ---------------------------------------------------------------------------------------

    async def begin_create(
        self,
        entity_type: str,
        entity_id: str,
        posted: Mapping[str, Any],
        now: datetime,
    ) -> CreateIntent:
        """Record, before the request, that a create of the comparable values ``posted`` is attempted.

        An unfinished intent is returned as it is, with one more attempt: its ``posted`` and times are the earlier ones.

        Raises:
            CreateUnclear: what an earlier attempt has sent was erased, and it is not what is sent now.
        """
        async with database_errors():
            row = await self._pool.fetchrow(
                """
                INSERT INTO create_intent AS intent (entity_type, entity_id, started_at, attempted_at, posted)
                VALUES ($1, $2, $3, $3, $4)
                ON CONFLICT (entity_type, entity_id) DO UPDATE SET attempts = intent.attempts + 1
                RETURNING started_at, attempted_at, attempts, posted, advoware_id, advoware_created_at
                """,
                entity_type,
                entity_id,
                now,
                dict(posted),
            )
        intent = CreateIntent(**row)
        if not has_sealed(intent.posted):
            return intent
        known = opened(intent.posted, texts_in(posted), await self._erasure_key())
        if has_sealed(known):
            raise CreateUnclear("what an earlier attempt has sent was erased")
        return replace(intent, posted=known)

    async def open_create(
        self,
        entity_type: str,
        entity_id: str,
    ) -> CreateIntent | None:
        """The create of a record that has not ended, if there is one."""
        async with database_errors():
            row = await self._pool.fetchrow(
                """
                SELECT started_at, attempted_at, attempts, posted, advoware_id, advoware_created_at
                FROM create_intent WHERE entity_type = $1 AND entity_id = $2
                """,
                entity_type,
                entity_id,
            )
        if row is None:
            return None
        return CreateIntent(**row)

    async def open_creates(self, entity_type: str, name: str, value: str) -> list[str]:
        """The ids of the records whose create has not ended, and has sent this value under that name."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT entity_id FROM create_intent
                WHERE entity_type = $1 AND posted ->> $2 = $3 ORDER BY entity_id
                """,
                entity_type,
                name,
                value,
            )
        return [row["entity_id"] for row in rows]

    async def sent_by_creates(
        self,
        entity_type: str,
        entity_ids: Collection[str],
        beteiligte_id: str,
        betnr: str,
    ) -> dict[str, Mapping[str, Any]]:
        """What the creates in Advoware have sent that have not ended, by the ids of their records; not what was erased.

        They are those of these records, and those that were begun for this CBeteiligte or this Beteiligter.
        """
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT entity_id, posted FROM create_intent
                WHERE entity_type = $1
                    AND (entity_id = ANY($2) OR posted ->> 'beteiligteId' = $3 OR posted ->> 'betnr' = $4)
                """,
                entity_type,
                list(entity_ids),
                beteiligte_id,
                betnr,
            )
        return {
            row["entity_id"]: row["posted"]
            for row in rows
            if not has_sealed(row["posted"])
        }

    async def creates_of_parts(
        self,
        entity_type: str,
        part_ids: Collection[int],
    ) -> dict[str, Mapping[str, Any]]:
        """What the creates in EspoCRM have noted that have not ended, by the links (``link``) that they were begun for.

        They are those of the parts in Advoware with these ids, of whatever Beteiligter.
        """
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT posted FROM create_intent
                WHERE entity_type = $1 AND split_part(posted ->> 'link', '/', 2) = ANY($2)
                """,
                entity_type,
                list(map(str, part_ids)),
            )
        return {row["posted"]["link"]: row["posted"] for row in rows}

    async def repeat_create(
        self,
        entity_type: str,
        entity_id: str,
        posted: Mapping[str, Any],
        now: datetime,
    ) -> None:
        """Record, before the request, that the create is attempted again because the earlier one left nothing."""
        async with database_errors():
            await self._pool.execute(
                """
                UPDATE create_intent SET started_at = $3, attempted_at = $3, posted = $4, advoware_id = NULL
                WHERE entity_type = $1 AND entity_id = $2
                """,
                entity_type,
                entity_id,
                now,
                dict(posted),
            )

    async def created(
        self,
        entity_type: str,
        entity_id: str,
        advoware_id: str,
        created_at: datetime | None = None,
    ) -> None:
        """Record what the create has led to; ``created_at`` is Advoware's own time of it, if its answer shows one.

        Raises:
            Conflict: another record's create has taken this Advoware record.
        """
        try:
            async with database_errors():
                await self._pool.execute(
                    "UPDATE create_intent SET advoware_id = $3, advoware_created_at = $4 "
                    "WHERE entity_type = $1 AND entity_id = $2",
                    entity_type,
                    entity_id,
                    advoware_id,
                    created_at,
                )
        except asyncpg.UniqueViolationError as error:
            raise Conflict(
                "PostgreSQL",
                "this Advoware record belongs to another create",
            ) from error

    async def found_created(
        self,
        entity_type: str,
        entity_id: str,
        advoware_id: str,
    ) -> None:
        """Record what was found to be the result of the create.

        Raises:
            Conflict: another record's create has taken it, or that create has ended and its record is linked with it.
        """
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            store = SyncStore(connection)
            await store.created(entity_type, entity_id, advoware_id)
            # Asked only now: a create that took it before has either made that fail, or left its link.
            owner = await store.linked_entity(entity_type, advoware_id)
            if owner not in {None, entity_id}:
                raise Conflict(
                    "PostgreSQL",
                    "another record is linked with this Advoware record",
                )

    async def end_create(self, entity_type: str, entity_id: str) -> None:
        """Forget the intent: the create has certainly led to nothing. One that has led to a link ends with `save`."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM create_intent WHERE entity_type = $1 AND entity_id = $2",
                entity_type,
                entity_id,
            )

    # -- audit ------------------------------------------------------------------------------------------------

    async def note_begun(
        self,
        entity_id: str,
        lines: Sequence[Mapping[str, Any]],
    ) -> None:
        """Remember what is about to be written for a CBeteiligte or a part of it, until the audit has it.

        ``lines`` are the audit's. Before the first sync there is nothing to remember it at: a create has its intent.
        """
        if not lines:
            return
        async with database_errors():
            await self._pool.execute(
                """
                UPDATE sync_state SET unrecorded = coalesce(unrecorded, '[]') || $2::jsonb
                WHERE entity_type = 'CBeteiligte' AND entity_id = $1
                """,
                entity_id,
                [dict(line) for line in lines],
            )

    async def record_interrupted(
        self,
        entity_id: str,
        topic: str,
        now: datetime,
    ) -> None:
        """Put into the audit what an earlier run of a CBeteiligte, or of a part of it, has begun and not recorded.

        Inside the record's lock. Whether it was written is not known: the run may have died before or after that.
        """
        async with database_errors():
            await self._pool.execute(
                """
                WITH found AS (
                    SELECT advoware_id, unrecorded FROM sync_state
                    WHERE entity_type = 'CBeteiligte' AND entity_id = $1 AND unrecorded IS NOT NULL FOR UPDATE
                ), recorded AS (
                    UPDATE sync_state SET unrecorded = NULL
                    WHERE entity_type = 'CBeteiligte' AND entity_id = $1 AND EXISTS (SELECT FROM found)
                )
                INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id,
                                        changes)
                SELECT $3, 'CBeteiligte', $1, $2, 'sync', 'interrupted', 0, advoware_id, unrecorded FROM found
                """,
                entity_id,
                topic,
                now,
            )

    async def append_audit(
        self,
        entry: AuditEntry,
        now: datetime,
        *,
        ends: RunEnd | None = None,
        owner: str | None = None,
    ) -> None:
        """Add one line to the audit; with ``ends`` it is that of a run, and what the run had begun is recorded by it.

        ``owner`` is the CBeteiligte that the run was about, if it was about a part of it. One statement does both: a
        crash between two would record it twice, or never.
        """
        async with database_errors():
            await self._pool.execute(
                """
                WITH recorded AS (
                    UPDATE sync_state SET unrecorded = (
                        SELECT jsonb_agg(line) FROM jsonb_array_elements(unrecorded) AS line
                        WHERE $13 = 'interrupted' AND NOT $9::jsonb @> jsonb_build_array(line)
                    )
                    WHERE $13 <> '' AND entity_type = 'CBeteiligte' AND entity_id = $14 AND unrecorded IS NOT NULL
                )
                INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id,
                                        changes, error, trace_id, undoes)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                """,
                now,
                entry.entity_type,
                entry.entity_id,
                entry.topic,
                entry.source,
                entry.result,
                entry.duration_ms,
                entry.advoware_id,
                [dict(change) for change in entry.changes],
                entry.error,
                entry.trace_id,
                entry.undoes,
                ends or "",
                owner or entry.entity_id,
            )


def _erased_at(state: SyncState) -> datetime | None:
    """Since when a state holds sealed values; None once it holds none any more."""
    if not has_sealed([state.base, state.rejected]):
        return None
    return state.erased_at or state.synced_at
