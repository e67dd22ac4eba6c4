"""Undoing what a sync has overwritten: the old values come back on the side that was written.

Only a value that is still the one the sync has written is restored. Afterwards the two sides differ in it, and that is
what they are settled on (`sync_state`): the next sync neither overwrites it again nor copies it to the other side, and
whoever changes the field later, on either side, changes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from services.adressen_mapper import AdressenMapper, adressen_of, block_of
from services.advoware_service import AdvowareService
from services.calendar_sync.audit.decisions import CalendarDecisions
from services.calendar_sync.audit.report import Report
from services.core.database import database_errors
from services.core.errors import InvalidInput, NotFound
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.operation.pause import part_of
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import BeteiligteMapper
from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    advoware_entries,
    entries_by_id,
    key_of,
    kommunikation_hash,
)
from services.kommunikation_sync_utils import ENTITY_TYPE as KOMMUNIKATION
from services.undo.plan import (
    Line,
    Part,
    Sides,
    brought_back,
    judged,
    of_part,
    rows_with,
)
from services.values import espocrm_query
from services.values.address_block import BLOCK
from services.values.kind import kind_of_espocrm
from services.values.merge import (
    Pair,
    base_from_json,
    base_to_json,
    pair_to_json,
)
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSE
from services.vmh_sync.adressen.match import shown_values as shown_addresses
from services.vmh_sync.beteiligte.master_data import MasterDataWriter
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE, Observation, shown_values
from services.vmh_sync.kommunikation.memory import read_memory
from services.vmh_sync.kommunikation.memory import shown_values as shown_numbers
from services.vmh_sync.store import AuditEntry, SyncState, SyncStore

#: A text is kept right before it is overwritten, and the line follows.
_PAUSE = timedelta(minutes=10)

Record = dict[str, Any]


@dataclass(frozen=True)
class Undone:
    """A row of the audit, and what became of its lines, or would."""

    entity_id: str
    betnr: str
    at: datetime
    lines: Sequence[Line]
    applied: bool


class Undo:
    """Undoes rows of the audit."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._espocrm = EspoCRMAPI(resources=resources)
        self._advoware = AdvowareService(resources=resources)
        self._mapper = BeteiligteMapper()
        self._adresse = AdressenMapper()

    # -- a Beteiligter --------------------------------------------------------------------------------------------

    async def beteiligter(self, audit_id: int, *, apply: bool) -> Undone:
        """What a sync of a Beteiligter has overwritten; with ``apply`` it is restored, as far as it can be.

        Raises:
            NotFound: there is no such row, or the record or its Beteiligter is gone.
            InvalidInput: the row is not about a CBeteiligte or a CAdressen.
            EntityBusy, NotBefore: a sync of the record is running.
            ForeignSystemError: a system does not answer.
        """
        row = await self._row(audit_id)
        entity_id = await self._owner(row)
        async with AsyncExitStack() as lock:
            if apply:
                key = beteiligte_lock_key(entity_id)
                seconds = self._resources.settings.vmh.lock_seconds
                await lock.enter_async_context(
                    record_lock(self._resources, key, seconds)
                )
            store = SyncStore(await self._resources.database())
            state = await store.load(ENTITY_TYPE, entity_id)
            if state is None or state.advoware_id is None or state.deleted_at:
                raise NotFound("BitByLaw", "the record is not linked any more")
            betnr = state.advoware_id
            sides = await self._sides(entity_id, betnr)
            blocks = await self._blocks(row)
            lines = judged([*row["changes"], *blocks], sides)
            restored = [line for line in lines if line.is_restorable]
            is_applied = apply and bool(restored)
            if is_applied:
                with part_of("vmh"):
                    await self._restore(sides, restored, state, store)
                await self._record(row, entity_id, betnr, restored, store)
        return Undone(entity_id, betnr, row["at"], lines, is_applied)

    async def _row(self, audit_id: int) -> Any:
        pool = await self._resources.database()
        async with database_errors():
            row = await pool.fetchrow(
                "SELECT * FROM sync_audit WHERE audit_id = $1", audit_id
            )
        if row is None:
            raise NotFound("BitByLaw", f"the audit has no row {audit_id}")
        if row["entity_type"] not in {ENTITY_TYPE, ADRESSE}:
            raise InvalidInput(
                f"row {audit_id} is about {row['entity_type']}, which no sync overwrites"
            )
        return row

    async def _owner(self, row: Any) -> str:
        """The CBeteiligte that a row is about, or that its CAdressen belongs to."""
        if row["entity_type"] == ENTITY_TYPE:
            return str(row["entity_id"])
        betnr = str(row["advoware_id"] or "").partition("/")[0]
        store = SyncStore(await self._resources.database())
        owner = await store.linked_entity(ENTITY_TYPE, betnr)
        if owner is None:
            raise NotFound("BitByLaw", "the record is not linked any more")
        return owner

    async def _blocks(self, row: Any) -> list[Record]:
        """The printed blocks that were kept when the same sync has written the Adressen of a row."""
        records = _records_in_advoware(row["changes"])
        if row["entity_type"] != ENTITY_TYPE or not records:
            return []
        pool = await self._resources.database()
        async with database_errors():
            rows = await pool.fetch(
                """
                SELECT DISTINCT ON (entity_id) changes FROM sync_audit
                WHERE entity_type = $1 AND entity_id = ANY($2) AND result IN ('overwritten', 'conflict_found')
                    AND audit_id < $3 AND at >= $4 ORDER BY entity_id, audit_id DESC
                """,
                ADRESSE,
                list(records),
                row["audit_id"],
                row["at"] - _PAUSE,
            )
        lines = [line for kept in rows for line in kept["changes"]]
        return [line for line in lines if line.get("field") == BLOCK]

    async def _sides(self, entity_id: str, betnr: str) -> Sides:
        espo = await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
        where = [espocrm_query.equals("beteiligteId", entity_id)]
        rows = {
            str(row["id"]): row
            async for row in self._espocrm.search_entities(ADRESSE, where)
        }
        advo = await self._advoware.get_beteiligter(betnr)
        store = SyncStore(await self._resources.database())
        states = await store.load_parts(ADRESSE, betnr)
        return Sides(espo, advo, rows, _linked_adressen(advo, betnr, states))

    async def _restore(
        self, sides: Sides, lines: list[Line], state: SyncState, store: SyncStore
    ) -> None:
        """Write each side, then settle what came back, also if something fails in between.

        What the other side has shown before the write is what it agreed to: a later edit there is still to be synced.
        """
        entity_id = str(sides.espo["id"])
        try:
            await self._restore_advoware(sides, lines, state)
            await self._restore_espocrm(sides, lines)
        finally:
            betnr = str(sides.advo["betNr"])
            now = await self._sides(entity_id, betnr)
            back = brought_back(lines, now)
            for side in ("espocrm", "advoware"):
                state = await store.load(ENTITY_TYPE, entity_id) or state
                settled = _settled_sides(sides, now, side)
                await self._settle(settled, of_side(back, side), state, store)

    async def _restore_advoware(
        self, sides: Sides, lines: list[Line], state: SyncState
    ) -> None:
        values = _old_values(of_part(lines, "master", "advoware"))
        if values:
            writer = MasterDataWriter(self._advoware, self._mapper)
            observed = Observation(sides.espo, sides.advo, state)
            await writer.write(observed, values, self._resources.now())
        await self._restore_numbers(
            sides.advo, of_part(lines, "kommunikation", "advoware")
        )
        adressen = _by_record(of_part(lines, "adresse", "advoware"))
        for record_id, values in adressen.items():
            record = dict(sides.adressen[record_id])
            for name, old in values.items():
                record[name] = old or ""
            betnr = sides.advo["betNr"]
            await self._advoware.update_adresse(betnr, record["id"], record)

    async def _restore_numbers(self, advo: Record, lines: list[Line]) -> None:
        rows = {row.get("id"): row for row in advo.get("kommunikation") or ()}
        for line in lines:
            record = {**rows[line.entry_id], "tlf": line.old}
            await self._advoware.update_kommunikation(
                advo["betNr"], record["id"], record
            )

    async def _restore_espocrm(self, sides: Sides, lines: list[Line]) -> None:
        adressen = _by_record(of_part(lines, "adresse", "espocrm"))
        for record_id, values in adressen.items():
            shown = self._adresse.comparable_from_espocrm(dict(sides.rows[record_id]))
            attributes = self._adresse.to_espocrm(values, {**shown, **values})
            await self._espocrm.update_entity(ADRESSE, record_id, attributes)
        attributes = await self._attributes(sides, lines)
        if attributes:
            await self._espocrm.update_entity(
                ENTITY_TYPE,
                sides.espo["id"],
                attributes,
                version_number=sides.espo.get("versionNumber"),
            )

    async def _attributes(self, sides: Sides, lines: list[Line]) -> Record:
        """What changes at the CBeteiligte itself."""
        values = _old_values(of_part(lines, "master", "espocrm"))
        kind = kind_of_espocrm({**sides.espo, **_rechtsform(values)})
        attributes = self._mapper.to_espocrm(values, kind=kind, espo=sides.espo)
        arrays = rows_with(sides.espo, of_part(lines, "kommunikation", "espocrm"))
        for family, rows in arrays.items():
            attributes[DATA_ATTRIBUTE[family]] = rows
        if of_part(lines, "kommunikation", "advoware"):
            advo = await self._advoware.get_beteiligter(sides.advo["betNr"])
            entries = advoware_entries(advo)
            attributes["kommunikationHash"] = kommunikation_hash(entries)
        return attributes

    # -- what both sides are settled on ---------------------------------------------------------------------------

    async def _settle(
        self, sides: Sides, lines: list[Line], state: SyncState, store: SyncStore
    ) -> None:
        by_part: dict[Part, list[Line]] = {}
        for line in lines:
            by_part.setdefault(line.part, []).append(line)
        if "master" in by_part:
            await self._settle_master(sides, by_part["master"], state, store)
        if "kommunikation" in by_part:
            await self._settle_numbers(sides, by_part["kommunikation"], store)
        for record_id, values in _by_record(by_part.get("adresse", [])).items():
            await self._settle_adresse(sides, record_id, set(values), store)

    async def _settle_master(
        self, sides: Sides, lines: list[Line], state: SyncState, store: SyncStore
    ) -> None:
        state = await store.opened(
            state, *shown_values(sides.espo, sides.advo, self._mapper)
        )
        espocrm = self._mapper.comparable_from_espocrm(sides.espo)
        advoware = self._mapper.comparable_from_advoware(sides.advo)
        base = base_from_json(state.base)
        for line in lines:
            name = line.field
            base[name] = Pair(espocrm.get(name), advoware.get(name))
        await store.save(replace(state, base=base_to_json(base)))

    async def _settle_numbers(
        self, sides: Sides, lines: list[Line], store: SyncStore
    ) -> None:
        stored = await store.load(KOMMUNIKATION, str(sides.espo["id"]))
        if stored is None:
            return
        stored = await store.opened(stored, *shown_numbers(sides.espo, sides.advo))
        memory = read_memory(stored, sides.espo, sides.advo)
        links = dict(memory.links)
        entries = entries_by_id(sides.advo)
        for line in lines:
            entry = entries.get(line.entry_id or 0)
            link = links.get(line.entry_id or 0)
            if entry is None or link is None:
                continue
            link = replace(link, advoware=entry.key)
            if line.side == "espocrm":
                key = key_of(entry.key.family, str(line.old))
                link = replace(link, espocrm=key)
            links[entry.id] = link
        base = replace(memory, links=links).as_json()
        await store.save(replace(stored, base=base))

    async def _settle_adresse(
        self, sides: Sides, record_id: str, names: set[str], store: SyncStore
    ) -> None:
        stored = await store.load(ADRESSE, record_id)
        adresse = sides.adressen.get(record_id)
        if stored is None or adresse is None:
            return
        row = dict(sides.rows[record_id])
        stored = await store.opened(stored, *shown_addresses([row], [dict(adresse)]))
        espocrm = self._adresse.comparable_from_espocrm(row)
        advoware = self._adresse.comparable_from_advoware(dict(adresse))
        base = dict(stored.base)
        for name in names - {BLOCK}:
            base[name] = pair_to_json(Pair(espocrm.get(name), advoware.get(name)))
        if BLOCK in names:
            base[BLOCK] = block_of(adresse)
        await store.save(
            replace(stored, base=base, advoware_row_id=adresse.get("rowId"))
        )

    async def _record(
        self,
        row: Any,
        entity_id: str,
        betnr: str,
        lines: list[Line],
        store: SyncStore,
    ) -> None:
        changes = [
            {"field": line.field, "side": line.side, "old": line.new, "new": line.old}
            for line in lines
        ]
        entry = AuditEntry(
            *(ENTITY_TYPE, entity_id, "undo", "hand", "undone", 0.0, betnr),
            changes=changes,
            undoes=row["audit_id"],
        )
        await store.append_audit(entry, self._resources.now())

    # -- the calendar ---------------------------------------------------------------------------------------------

    async def calendar(self, audit_id: int, *, apply: bool) -> Report:
        """What the calendar sync has overwritten in Google with this row of its audit, in the last 30 days.

        It comes back as a user's event beside that of Advoware (`CalendarDecisions.restore_overwritten`).

        Raises:
            NotFound: there is no such row, or nothing is kept of what it has overwritten.
        """
        pool = await self._resources.database()
        async with database_errors():
            row = await pool.fetchrow(
                "SELECT * FROM calendar_sync_audit WHERE audit_id = $1", audit_id
            )
            kept = row and await pool.fetchval(
                """
                SELECT overwritten_id FROM calendar_sync_overwritten
                WHERE sync_id = $1 AND at BETWEEN $2 AND $3 ORDER BY overwritten_id DESC LIMIT 1
                """,
                row["sync_id"],
                row["at"] - _PAUSE,
                row["at"],
            )
        if not kept:
            raise NotFound(
                "BitByLaw",
                f"nothing is kept of what row {audit_id} of the calendar's audit has overwritten",
            )
        decisions = CalendarDecisions(self._resources)
        with part_of("calendar"):
            return await decisions.restore_overwritten(kept, apply=apply)


def of_side(lines: Sequence[Line], side: str) -> list[Line]:
    """The lines of one side."""
    return [line for line in lines if line.side == side]


def _settled_sides(before: Sides, now: Sides, written: str) -> Sides:
    """The written side as it is now, and the other one as it was before."""
    if written == "espocrm":
        return replace(before, espo=now.espo, rows=now.rows)
    return replace(before, advo=now.advo, adressen=now.adressen)


def _records_in_advoware(changes: Sequence[Record]) -> set[str]:
    """The CAdressen whose Adressen in Advoware a row of the audit has changed."""
    ids = set()
    for line in changes:
        if line.get("side") == "advoware" and line.get("record"):
            ids.add(str(line["record"]).partition("/")[2])
    return ids


def _linked_adressen(
    advo: Record, betnr: str, states: Mapping[str, SyncState]
) -> dict[str, Record]:
    """The Adressen of a Beteiligter by the ids of the CAdressen that they are linked with."""
    listing = adressen_of(advo)
    if listing is None:
        return {}
    by_link = {f"{betnr}/{adresse['id']}": adresse for adresse in listing.adressen}
    linked = {}
    for record_id, state in states.items():
        if state.advoware_id in by_link:
            linked[record_id] = by_link[state.advoware_id]
    return linked


def _old_values(lines: Sequence[Line]) -> Record:
    return {line.field: line.old for line in lines}


def _by_record(lines: Sequence[Line]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for line in lines:
        found.setdefault(line.record_id, {})[line.field] = line.old
    return found


def _rechtsform(values: Record) -> Record:
    return {name: values[name] for name in values if name == "rechtsform"}
