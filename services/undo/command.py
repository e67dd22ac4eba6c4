"""Undoing what a sync has overwritten: the old values come back on the side that was written.

Only a value that is still the one the sync has written is restored. Afterwards the two sides differ in it, and that is
what they are settled on (`sync_state`): the next sync neither overwrites it again nor copies it to the other side, and
whoever changes the field later, on either side, changes both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    AdvowareEntry,
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
    VERSION,
    Pair,
    Values,
    base_from_json,
    base_to_json,
    only,
    without,
)
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSE
from services.vmh_sync.adressen.match import shown_values as shown_addresses
from services.vmh_sync.beteiligte.master_data import MasterDataWriter
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE, Observation, shown_values
from services.vmh_sync.kommunikation.memory import read_memory
from services.vmh_sync.kommunikation.memory import shown_values as shown_numbers
from services.vmh_sync.kommunikation.plan import Base, Link
from services.vmh_sync.store import AuditEntry, SyncState, SyncStore

#: A text is kept right before it is overwritten, and the line follows.
_PAUSE = timedelta(minutes=10)

Record = dict[str, Any]

_master = BeteiligteMapper()
_adresse = AdressenMapper()


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
        if not apply:
            return await self._undo(row, entity_id, apply=False)
        key = beteiligte_lock_key(entity_id)
        seconds = self._resources.settings.vmh.lock_seconds
        async with record_lock(self._resources, key, seconds):
            return await self._undo(row, entity_id, apply=True)

    async def _undo(self, row: Any, entity_id: str, *, apply: bool) -> Undone:
        store = await self._store()
        state = await store.load(ENTITY_TYPE, entity_id)
        if state is None or state.advoware_id is None or state.deleted_at:
            raise NotFound("BitByLaw", "the record is not linked any more")
        betnr = state.advoware_id
        sides = await self._sides(entity_id, betnr)
        blocks = await self._blocks(row)
        lines = judged([*row["changes"], *blocks], sides)
        restorable = [line for line in lines if line.is_restorable]
        is_applied = apply and bool(restorable)
        if is_applied:
            with part_of("vmh"):
                await self._restore(sides, restorable, state, store)
            await self._record(row, entity_id, betnr, restorable, store)
        return Undone(
            entity_id=entity_id,
            betnr=betnr,
            at=row["at"],
            lines=lines,
            applied=is_applied,
        )

    async def _row(self, audit_id: int) -> Any:
        pool = await self._resources.database()
        async with database_errors():
            row = await pool.fetchrow(
                "SELECT * FROM sync_audit WHERE audit_id = $1",
                audit_id,
            )
        if row is None:
            raise NotFound("BitByLaw", f"the audit has no row {audit_id}")
        entity_type = row["entity_type"]
        if entity_type not in {ENTITY_TYPE, ADRESSE}:
            raise InvalidInput(
                f"row {audit_id} is about {entity_type}, which no sync overwrites",
            )
        return row

    async def _owner(self, row: Any) -> str:
        """The CBeteiligte that a row is about, or that its CAdressen belongs to."""
        if row["entity_type"] == ENTITY_TYPE:
            return str(row["entity_id"])
        advoware_id = str(row["advoware_id"] or "")
        betnr, _, _ = advoware_id.partition("/")
        store = await self._store()
        owner = await store.linked_entity(ENTITY_TYPE, betnr)
        if owner is None:
            raise NotFound("BitByLaw", "the record is not linked any more")
        return owner

    async def _blocks(self, row: Any) -> list[Record]:
        """The printed blocks that were kept when the same sync has written the Adressen of a row."""
        if row["entity_type"] != ENTITY_TYPE:
            return []
        records = _records_in_advoware(row["changes"])
        if not records:
            return []
        pool = await self._resources.database()
        kept_since = row["at"] - _PAUSE
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
                kept_since,
            )
        blocks: list[Record] = []
        for kept in rows:
            changes = kept["changes"]
            blocks += [line for line in changes if line.get("field") == BLOCK]
        return blocks

    async def _sides(self, entity_id: str, betnr: str) -> Sides:
        espo = await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
        rows = await self._adressen_rows(entity_id)
        advo = await self._advoware.get_beteiligter(betnr)
        store = await self._store()
        states = await store.load_parts(ADRESSE, betnr, entity_id)
        return Sides(
            espo=espo,
            advo=advo,
            rows=rows,
            adressen=_linked_adressen(advo, betnr, states),
        )

    async def _adressen_rows(self, entity_id: str) -> dict[str, Record]:
        """The CAdressen of a CBeteiligte, by id."""
        of_beteiligter = [espocrm_query.equals("beteiligteId", entity_id)]
        rows: dict[str, Record] = {}
        async for row in self._espocrm.search_entities(ADRESSE, of_beteiligter):
            rows[str(row["id"])] = row
        return rows

    async def _store(self) -> SyncStore:
        pool = await self._resources.database()
        return SyncStore(pool)

    async def _restore(
        self,
        sides: Sides,
        lines: list[Line],
        state: SyncState,
        store: SyncStore,
    ) -> None:
        """Write each side, then settle what came back, also if something fails in between.

        What the other side has shown before the write is what it agreed to: a later edit there is still to be synced.
        """
        try:
            await self._restore_advoware(sides, lines, state)
            await self._restore_espocrm(sides, lines)
        finally:
            await self._settle_restored(sides, lines, state, store)

    async def _settle_restored(
        self,
        before: Sides,
        lines: list[Line],
        state: SyncState,
        store: SyncStore,
    ) -> None:
        entity_id = str(before.espo["id"])
        betnr = str(before.advo["betNr"])
        now = await self._sides(entity_id, betnr)
        back = brought_back(lines, now)
        for side in ("espocrm", "advoware"):
            state = await store.load(ENTITY_TYPE, entity_id) or state
            settled = _settled_sides(before, now, side)
            back_on_side = of_side(back, side)
            await self._settle(settled, back_on_side, state, store)

    async def _restore_advoware(
        self,
        sides: Sides,
        lines: list[Line],
        state: SyncState,
    ) -> None:
        master = of_part(lines, "master", "advoware")
        if master:
            observed = Observation(sides.espo, sides.advo, state)
            await self._restore_master(observed, master)
        numbers = of_part(lines, "kommunikation", "advoware")
        await self._restore_numbers(sides.advo, numbers)
        betnr = sides.advo["betNr"]
        adressen = _by_record(of_part(lines, "adresse", "advoware"))
        for record_id, old_values in adressen.items():
            adresse = sides.adressen[record_id]
            record = _with_old_values(adresse, old_values)
            await self._advoware.update_adresse(betnr, record["id"], record)

    async def _restore_master(self, observed: Observation, lines: list[Line]) -> None:
        writer = MasterDataWriter(self._advoware, _master)
        old_values = _old_values(lines)
        now = self._resources.now()
        await writer.write(observed, old_values, now)

    async def _restore_numbers(self, advo: Record, lines: list[Line]) -> None:
        betnr = advo["betNr"]
        rows = {row.get("id"): row for row in advo.get("kommunikation") or ()}
        for line in lines:
            row_id = line.entry_id
            record = {**rows[row_id], "tlf": line.old}
            await self._advoware.update_kommunikation(betnr, record["id"], record)

    async def _restore_espocrm(self, sides: Sides, lines: list[Line]) -> None:
        adressen = _by_record(of_part(lines, "adresse", "espocrm"))
        for record_id, old_values in adressen.items():
            row = dict(sides.rows[record_id])
            shown = _adresse.comparable_from_espocrm(row)
            restored = {**shown, **old_values}
            attributes = _adresse.to_espocrm(old_values, restored)
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
        master = of_part(lines, "master", "espocrm")
        old_values = _old_values(master)
        kind = kind_of_espocrm({**sides.espo, **_rechtsform(old_values)})
        attributes = _master.to_espocrm(old_values, kind=kind, espo=sides.espo)
        numbers = of_part(lines, "kommunikation", "espocrm")
        arrays = rows_with(sides.espo, numbers)
        for family, rows in arrays.items():
            attributes[DATA_ATTRIBUTE[family]] = rows
        are_numbers_written = of_part(lines, "kommunikation", "advoware")
        if are_numbers_written:
            advo = await self._advoware.get_beteiligter(sides.advo["betNr"])
            entries = advoware_entries(advo)
            attributes["kommunikationHash"] = kommunikation_hash(entries)
        return attributes

    # -- what both sides are settled on ---------------------------------------------------------------------------

    async def _settle(
        self,
        sides: Sides,
        lines: list[Line],
        state: SyncState,
        store: SyncStore,
    ) -> None:
        by_part: dict[Part, list[Line]] = defaultdict(list)
        for line in lines:
            by_part[line.part].append(line)
        master = by_part["master"]
        if master:
            await self._settle_master(sides, master, state, store)
        numbers = by_part["kommunikation"]
        if numbers:
            await self._settle_numbers(sides, numbers, store)
        adressen = _by_record(by_part["adresse"])
        for record_id, values in adressen.items():
            await self._settle_adresse(sides, record_id, set(values), store)

    async def _settle_master(
        self,
        sides: Sides,
        lines: list[Line],
        state: SyncState,
        store: SyncStore,
    ) -> None:
        shown = shown_values(sides.espo, sides.advo, _master)
        state = await store.opened(state, *shown)
        espocrm = _master.comparable_from_espocrm(sides.espo)
        advoware = _master.comparable_from_advoware(sides.advo)
        names = [line.field for line in lines]
        base = base_from_json(state.base)
        base.update(_pairs(names, espocrm, advoware))
        settled = replace(state, base=base_to_json(base))
        await store.save(settled)

    async def _settle_numbers(
        self,
        sides: Sides,
        lines: list[Line],
        store: SyncStore,
    ) -> None:
        entity_id = str(sides.espo["id"])
        stored = await store.load(KOMMUNIKATION, entity_id)
        if stored is None:
            return
        shown = shown_numbers(sides.espo, sides.advo)
        stored = await store.opened(stored, *shown)
        memory = read_memory(stored, sides.espo, sides.advo)
        entries = entries_by_id(sides.advo)
        links = _settled_links(memory.links, entries, lines)
        settled_memory = replace(memory, links=links)
        settled = replace(stored, base=settled_memory.as_json())
        await store.save(settled)

    async def _settle_adresse(
        self,
        sides: Sides,
        record_id: str,
        names: set[str],
        store: SyncStore,
    ) -> None:
        stored = await store.load(ADRESSE, record_id)
        linked = sides.adressen.get(record_id)
        if stored is None or linked is None:
            return
        row = dict(sides.rows[record_id])
        adresse = dict(linked)
        shown = shown_addresses([row], [adresse])
        stored = await store.opened(stored, *shown)
        base = without(stored.base, {VERSION})
        base |= self._settled_fields(row, adresse, names)
        row_id = adresse.get("rowId")
        settled = replace(stored, base=base, advoware_row_id=row_id)
        await store.save(settled)

    def _settled_fields(self, row: Record, adresse: Record, names: set[str]) -> Record:
        """What the two sides of an Adresse are settled on in these fields."""
        espocrm = _adresse.comparable_from_espocrm(row)
        advoware = _adresse.comparable_from_advoware(adresse)
        pairs = _pairs(names - {BLOCK}, espocrm, advoware)
        settled = base_to_json(pairs)
        if BLOCK in names:
            settled[BLOCK] = block_of(adresse)
        return settled

    async def _record(
        self,
        row: Any,
        entity_id: str,
        betnr: str,
        lines: list[Line],
        store: SyncStore,
    ) -> None:
        entry = AuditEntry(
            entity_type=ENTITY_TYPE,
            entity_id=entity_id,
            topic="undo",
            source="hand",
            result="undone",
            duration_ms=0.0,
            advoware_id=betnr,
            changes=[_undoing(line) for line in lines],
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
        overwritten_id = await self._overwritten_id(audit_id)
        decisions = CalendarDecisions(self._resources)
        with part_of("calendar"):
            return await decisions.restore_overwritten(overwritten_id, apply=apply)

    async def _overwritten_id(self, audit_id: int) -> Any:
        """What was kept right before a row of the calendar's audit was written."""
        pool = await self._resources.database()
        nothing_kept = NotFound(
            "BitByLaw",
            f"nothing is kept of what row {audit_id} of the calendar's audit has overwritten",
        )
        async with database_errors():
            row = await pool.fetchrow(
                "SELECT * FROM calendar_sync_audit WHERE audit_id = $1",
                audit_id,
            )
            if row is None:
                raise nothing_kept
            written_at = row["at"]
            overwritten_id = await pool.fetchval(
                """
                SELECT overwritten_id FROM calendar_sync_overwritten
                WHERE sync_id = $1 AND at BETWEEN $2 AND $3 ORDER BY overwritten_id DESC LIMIT 1
                """,
                row["sync_id"],
                written_at - _PAUSE,
                written_at,
            )
        if overwritten_id is None:
            raise nothing_kept
        return overwritten_id


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
        record = line.get("record")
        if record and line.get("side") == "advoware":
            _, _, record_id = str(record).partition("/")
            ids.add(record_id)
    return ids


def _linked_adressen(
    advo: Record,
    betnr: str,
    states: Mapping[str, SyncState],
) -> dict[str, Record]:
    """The Adressen of a Beteiligter by the ids of the CAdressen that they are linked with."""
    listing = adressen_of(advo)
    if listing is None:
        return {}
    by_link: dict[str | None, Record] = {}
    for adresse in listing.adressen:
        link = f"{betnr}/{adresse['id']}"
        by_link[link] = adresse
    linked = {}
    for record_id, state in states.items():
        if state.advoware_id in by_link:
            linked[record_id] = by_link[state.advoware_id]
    return linked


def _settled_links(
    links: Base,
    entries: Mapping[int, AdvowareEntry],
    lines: Sequence[Line],
) -> dict[int, Link]:
    """The links of the numbers, those of the lines as the two sides show them now."""
    settled = dict(links)
    for line in lines:
        entry_id = line.entry_id or 0
        entry = entries.get(entry_id)
        link = settled.get(entry_id)
        if entry is None or link is None:
            continue
        settled[entry.id] = _settled_link(link, entry, line)
    return settled


def _settled_link(link: Link, entry: AdvowareEntry, line: Line) -> Link:
    link = replace(link, advoware=entry.key)
    if line.side == "espocrm":
        family = entry.key.family
        restored = key_of(family, str(line.old))
        link = replace(link, espocrm=restored)
    return link


def _undoing(line: Line) -> Record:
    """The line of the audit that says what has come back."""
    return {"field": line.field, "side": line.side, "old": line.new, "new": line.old}


def _old_values(lines: Sequence[Line]) -> Record:
    return {line.field: line.old for line in lines}


def _with_old_values(adresse: Mapping[str, Any], old_values: Record) -> Record:
    """An Adresse of Advoware, which writes what is empty as ""."""
    record = dict(adresse)
    for name, old in old_values.items():
        record[name] = old or ""
    return record


def _pairs(names: Iterable[str], espocrm: Values, advoware: Values) -> dict[str, Pair]:
    """What both sides show of these fields."""
    pairs = {}
    for name in names:
        pairs[name] = Pair(espocrm.get(name), advoware.get(name))
    return pairs


def _by_record(lines: Sequence[Line]) -> dict[str, Record]:
    """The old values of each CAdressen."""
    found: dict[str, Record] = defaultdict(dict)
    for line in lines:
        values = found[line.record_id]
        values[line.field] = line.old
    return found


def _rechtsform(values: Record) -> Record:
    return only(values, ("rechtsform",))
