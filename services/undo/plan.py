"""Which lines of the audit can be undone: those whose value is still the one that the sync has written. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from services.adressen_mapper import FIELDS as ADRESSE_FIELDS
from services.adressen_mapper import AdressenMapper, block_of
from services.espocrm_mapper import BeteiligteMapper, shown_by_espocrm
from services.kommunikation_mapper import (
    FAMILIES,
    EspoEntry,
    entries_by_id,
    key_of,
    read_espocrm,
)
from services.values.address_block import BLOCK
from services.values.kommunikation import Family
from services.values.merge import is_same
from services.values.sealed import is_sealed
from services.vmh_sync.adressen.match import ENTITY_TYPE as ADRESSE
from services.vmh_sync.beteiligte.plan import ENTITY_TYPE

Record = Mapping[str, Any]
Part = Literal["master", "kommunikation", "adresse"]

RESTORE = "would be restored"
CHANGED = "was changed since: left alone"
ERASED = "the old value was erased"
NOTHING_WRITTEN = "nothing was overwritten"
BY_HAND = "not restored by this command: please do it by hand"
IS_GONE = "the record is gone"

#: What Advoware takes of an Adresse (`AdvowareService.update_adresse`).
_IN_ADVOWARE = frozenset({"strasse", "plz", "ort", BLOCK})

_master = BeteiligteMapper()
_adresse = AdressenMapper()


@dataclass(frozen=True)
class Line:
    """A line of the audit and what becomes of it.

    Attributes:
        verdict: one of the sentences above.
        part: what it belongs to, if it can be restored.
        record_id: of the CAdressen.
        entry_id: of the Kommunikation in Advoware.
    """

    field: str
    side: str
    old: Any
    new: Any
    verdict: str
    part: Part = "master"
    record_id: str = ""
    entry_id: int | None = None

    @property
    def is_restorable(self) -> bool:
        """Whether the old value can be brought back."""
        return self.verdict == RESTORE


@dataclass(frozen=True)
class Sides:
    """A CBeteiligte and what belongs to it, as both sides show it.

    Attributes:
        rows: its CAdressen, by id.
        adressen: the Adressen in Advoware that are linked with them, by the same ids.
    """

    espo: dict[str, Any]
    advo: dict[str, Any]
    rows: Mapping[str, Record] = field(default_factory=dict)
    adressen: Mapping[str, Record] = field(default_factory=dict)


def judged(changes: Iterable[Record], sides: Sides) -> list[Line]:
    """What becomes of each line of an audit row, in its order.

    The fields of an Adresse in Advoware come back only together with its printed block, which repeats them.
    """
    lines = [_judged(change, sides) for change in changes]
    blocks: set[str] = set()
    others: set[str] = set()
    for line in lines:
        if not _is_restorable_adresse(line):
            continue
        if line.field == BLOCK:
            blocks.add(line.record_id)
        else:
            others.add(line.record_id)
    return [_with_block(line, blocks, others, sides) for line in lines]


def _is_restorable_adresse(line: Line) -> bool:
    return line.part == "adresse" and line.is_restorable


def _with_block(line: Line, blocks: set[str], others: set[str], sides: Sides) -> Line:
    if line.side == "espocrm" or not _is_restorable_adresse(line):
        return line
    if _is_whole(line, blocks, others, sides):
        return line
    return replace(line, verdict=BY_HAND)


def _is_whole(line: Line, blocks: set[str], others: set[str], sides: Sides) -> bool:
    """Whether what repeats a line comes back as well; an Adresse may have no block."""
    if line.field == BLOCK:
        return line.record_id in others
    adresse = sides.adressen[line.record_id]
    has_block = bool(block_of(adresse))
    return line.record_id in blocks or not has_block


def of_part(lines: Iterable[Line], part: Part, side: str) -> list[Line]:
    """The lines that are to be restored in this part of one side."""
    chosen = []
    for line in lines:
        is_of_part = line.part == part and line.side == side
        if is_of_part and line.is_restorable:
            chosen.append(line)
    return chosen


def brought_back(lines: Iterable[Line], sides: Sides) -> list[Line]:
    """The lines of which the written side shows the old value by now."""
    found = []
    for line in lines:
        undoing = _reversed(line)
        if _judged(undoing, sides).is_restorable:
            found.append(line)
    return found


def _reversed(line: Line) -> Record:
    record = ""
    if line.record_id:
        record = f"{ADRESSE}/{line.record_id}"
    return {
        "field": line.field,
        "side": line.side,
        "old": line.new,
        "new": line.old,
        "record": record,
        "id": line.entry_id,
    }


def _judged(change: Record, sides: Sides) -> Line:
    line = Line(
        field=str(change.get("field")),
        side=str(change.get("side")),
        old=change.get("old"),
        new=change.get("new"),
        verdict=NOTHING_WRITTEN,
    )
    if change.get("rejected") or line.side not in {"espocrm", "advoware"}:
        return line
    if is_sealed(line.old) or is_sealed(line.new):
        return replace(line, verdict=ERASED)
    if line.field.startswith("kommunikation."):
        return _judged_kommunikation(line, change.get("id"), sides)
    record = str(change.get("record") or "")
    return _judged_record(line, record, sides)


def _judged_record(line: Line, record: str, sides: Sides) -> Line:
    entity_type, _, record_id = record.partition("/")
    if entity_type == ADRESSE:
        return _judged_adresse(line, record_id, sides)
    if entity_type in {"", ENTITY_TYPE}:
        verdict = _verdict_on_master(line, sides)
        return replace(line, verdict=verdict)
    return replace(line, verdict=BY_HAND)


def _verdict_on_master(line: Line, sides: Sides) -> str:
    restorable = {*shown_by_espocrm({}), "rechtsform"}
    if line.field not in restorable:
        return BY_HAND
    if line.side == "espocrm":
        shown = _master.comparable_from_espocrm(sides.espo)
    else:
        shown = _master.comparable_from_advoware(sides.advo)
    if line.field not in shown:
        return CHANGED
    if not is_same(shown[line.field], line.new):
        return CHANGED
    return RESTORE


def _judged_adresse(line: Line, record_id: str, sides: Sides) -> Line:
    if line.side == "espocrm":
        record = sides.rows.get(record_id)
        restorable = frozenset(ADRESSE_FIELDS)
    else:
        record = sides.adressen.get(record_id)
        restorable = _IN_ADVOWARE
    if record is None:
        return replace(line, verdict=IS_GONE)
    if line.field not in restorable:
        return replace(line, verdict=BY_HAND)
    shown = _shown_in_adresse(line.field, line.side, record)
    if not is_same(shown, line.new):
        return replace(line, verdict=CHANGED)
    return replace(line, verdict=RESTORE, part="adresse", record_id=record_id)


def _shown_in_adresse(name: str, side: str, record: Record) -> Any:
    if name == BLOCK:
        return block_of(record)
    if side == "espocrm":
        shown = _adresse.comparable_from_espocrm(dict(record))
    else:
        shown = _adresse.comparable_from_advoware(dict(record))
    return shown.get(name)


def _judged_kommunikation(line: Line, entry_id: Any, sides: Sides) -> Line:
    if entry_id is None:
        return replace(line, verdict=BY_HAND)
    if not line.old or not line.new:
        return replace(line, verdict=BY_HAND)
    number = str(line.new)
    verdict = CHANGED
    if _shows_number(number, line.side, int(entry_id), sides):
        verdict = RESTORE
    return replace(line, verdict=verdict, part="kommunikation", entry_id=int(entry_id))


def _shows_number(value: str, side: str, entry_id: int, sides: Sides) -> bool:
    if side == "espocrm":
        return entry_of(sides.espo, value) is not None
    entry = entries_by_id(sides.advo).get(entry_id)
    if entry is None:
        return False
    family = entry.key.family
    return entry.key == key_of(family, value)


def entry_of(espo: Record, value: str) -> EspoEntry | None:
    """The entry of a CBeteiligte with this number or address."""
    shown = read_espocrm(espo)
    for family in FAMILIES:
        key = key_of(family, value)
        for entry in shown.array(family).entries:
            if entry.key == key:
                return entry
    return None


def rows_with(
    espo: Record,
    lines: Iterable[Line],
) -> dict[Family, list[dict[str, Any]]]:
    """The arrays of a CBeteiligte with the old numbers and addresses, as far as they change."""
    arrays: dict[Family, list[dict[str, Any]]] = {}
    for line in lines:
        number = str(line.new)
        entry = entry_of(espo, number)
        if entry is None:
            continue
        family = entry.key.family
        if family not in arrays:
            arrays[family] = _rows_of(espo, family)
        old_number = _written(family, str(line.old))
        for row in arrays[family]:
            if row == dict(entry.raw):
                row.update(old_number)
    return arrays


def _rows_of(espo: Record, family: Family) -> list[dict[str, Any]]:
    array = read_espocrm(espo).array(family)
    return [dict(entry.raw) for entry in array.entries]


def _written(family: Family, value: str) -> dict[str, Any]:
    if family == "mail":
        return {"emailAddress": value, "lower": value.lower()}
    return {"phoneNumber": value}
