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
        if line.part != "adresse" or not line.is_restorable:
            continue
        if line.field == BLOCK:
            blocks.add(line.record_id)
        else:
            others.add(line.record_id)
    return [_with_block(line, blocks, others, sides) for line in lines]


def _with_block(line: Line, blocks: set[str], others: set[str], sides: Sides) -> Line:
    if line.part != "adresse" or line.side == "espocrm" or not line.is_restorable:
        return line
    if line.field == BLOCK:
        is_whole = line.record_id in others
    else:
        has_block = bool(block_of(sides.adressen[line.record_id]))
        is_whole = line.record_id in blocks or not has_block
    if is_whole:
        return line
    return replace(line, verdict=BY_HAND)


def of_part(lines: Iterable[Line], part: Part, side: str) -> list[Line]:
    """The lines that are to be restored in this part of one side."""
    return [
        line
        for line in lines
        if line.is_restorable and (line.part, line.side) == (part, side)
    ]


def brought_back(lines: Iterable[Line], sides: Sides) -> list[Line]:
    """The lines of which the written side shows the old value by now."""
    return [line for line in lines if _judged(_reversed(line), sides).is_restorable]


def _reversed(line: Line) -> Record:
    record = f"{ADRESSE}/{line.record_id}" if line.record_id else ""
    return {
        "field": line.field,
        "side": line.side,
        "old": line.new,
        "new": line.old,
        "record": record,
        "id": line.entry_id,
    }


def _judged(change: Record, sides: Sides) -> Line:
    name = str(change.get("field"))
    side = str(change.get("side"))
    given = (name, side, change.get("old"), change.get("new"))
    if change.get("rejected") or side not in {"espocrm", "advoware"}:
        return Line(*given, NOTHING_WRITTEN)
    if is_sealed(change.get("old")) or is_sealed(change.get("new")):
        return Line(*given, ERASED)
    if name.startswith("kommunikation."):
        return _judged_kommunikation(change, given, sides)
    entity_type, _, record_id = str(change.get("record") or "").partition("/")
    if entity_type == ADRESSE:
        return _judged_adresse(given, record_id, sides)
    if entity_type in {"", ENTITY_TYPE}:
        return _judged_master(given, sides)
    return Line(*given, BY_HAND)


def _judged_master(given: tuple[str, str, Any, Any], sides: Sides) -> Line:
    name, side, _, new = given
    if name not in {*shown_by_espocrm({}), "rechtsform"}:
        return Line(*given, BY_HAND)
    if side == "espocrm":
        shown = _master.comparable_from_espocrm(sides.espo)
    else:
        shown = _master.comparable_from_advoware(sides.advo)
    if name not in shown or not is_same(shown[name], new):
        return Line(*given, CHANGED)
    return Line(*given, RESTORE)


def _judged_adresse(
    given: tuple[str, str, Any, Any], record_id: str, sides: Sides
) -> Line:
    name, side, _, new = given
    if side == "espocrm":
        record = sides.rows.get(record_id)
        names = frozenset(ADRESSE_FIELDS)
    else:
        record = sides.adressen.get(record_id)
        names = _IN_ADVOWARE
    if record is None:
        return Line(*given, IS_GONE)
    if name not in names:
        return Line(*given, BY_HAND)
    if not is_same(_shown_in_adresse(name, side, record), new):
        return Line(*given, CHANGED)
    return Line(*given, RESTORE, "adresse", record_id)


def _shown_in_adresse(name: str, side: str, record: Record) -> Any:
    if name == BLOCK:
        return block_of(record)
    if side == "espocrm":
        return _adresse.comparable_from_espocrm(dict(record)).get(name)
    return _adresse.comparable_from_advoware(dict(record)).get(name)


def _judged_kommunikation(
    change: Record, given: tuple[str, str, Any, Any], sides: Sides
) -> Line:
    _, side, old, new = given
    entry_id = change.get("id")
    if not old or not new or entry_id is None:
        return Line(*given, BY_HAND)
    is_there = _shows_number(str(new), side, int(entry_id), sides)
    verdict = RESTORE if is_there else CHANGED
    return Line(*given, verdict, "kommunikation", entry_id=int(entry_id))


def _shows_number(value: str, side: str, entry_id: int, sides: Sides) -> bool:
    if side == "espocrm":
        return entry_of(sides.espo, value) is not None
    entries = entries_by_id(sides.advo)
    entry = entries.get(entry_id)
    return entry is not None and entry.key == key_of(entry.key.family, value)


def entry_of(espo: Record, value: str) -> EspoEntry | None:
    """The entry of a CBeteiligte with this number or address."""
    for family in FAMILIES:
        key = key_of(family, value)
        for entry in read_espocrm(espo).array(family).entries:
            if entry.key == key:
                return entry
    return None


def rows_with(
    espo: Record, lines: Iterable[Line]
) -> dict[Family, list[dict[str, Any]]]:
    """The arrays of a CBeteiligte with the old numbers and addresses, as far as they change."""
    arrays: dict[Family, list[dict[str, Any]]] = {}
    for line in lines:
        entry = entry_of(espo, str(line.new))
        if entry is None:
            continue
        family = entry.key.family
        rows = arrays.setdefault(family, _rows_of(espo, family))
        for row in rows:
            if row == dict(entry.raw):
                row.update(_written(family, str(line.old)))
    return arrays


def _rows_of(espo: Record, family: Family) -> list[dict[str, Any]]:
    return [dict(entry.raw) for entry in read_espocrm(espo).array(family).entries]


def _written(family: Family, value: str) -> dict[str, Any]:
    if family == "mail":
        return {"emailAddress": value, "lower": value.lower()}
    return {"phoneNumber": value}
