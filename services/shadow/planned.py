"""What a sync would write, record by record and field by field, made of what a rehearsal has found. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from services.preview.changes import Change, Record

#: ``note``: only what the sync notes for itself, such as the record's status.
Operation = Literal["create", "change", "delete", "note"]

#: What a sync notes for itself, or what the system counts: no content.
BOOKKEEPING = frozenset(
    {
        "advowareLastSync",
        "advowareRowId",
        "etag",
        "extendedProperties",
        "kommunikationHash",
        "rowId",
        "syncErrorMessage",
        "syncNextRetry",
        "syncRetryCount",
        "syncStatus",
        "updated",
    },
)
#: Identifiers of a record: no field of it.
_IDENTIFIERS = frozenset({"id", "betNr", "frNr"})
#: Invented identifiers of records that would be made begin with one of these.
_INVENTED = ("rehears", "20000000")
#: Their names in a plan begin so.
NEW = "new "


@dataclass(frozen=True)
class PlannedField:
    """One field that would be written; values as the system takes them, None: empty or not there."""

    name: str
    old: Any
    new: Any

    def new_hash(self, key: bytes) -> str:
        """Equal for equal new values, with the same key."""
        value = json.dumps(self.new, sort_keys=True, ensure_ascii=False, default=str)
        message = f"shadow:{value}".encode()
        digest = hmac.new(key, message, hashlib.sha256)
        return digest.hexdigest()


@dataclass(frozen=True)
class PlannedWrite:
    """What would become of one record. ``record_id`` is ``new 1``, ``new 2``, ... if it would be made."""

    system: str
    kind: str
    record_id: str
    operation: Operation
    fields: tuple[PlannedField, ...]

    @property
    def contents(self) -> list[PlannedField]:
        """The fields without what the sync notes for itself."""
        return [field for field in self.fields if field.name not in BOOKKEEPING]


def planned_writes(changes: Iterable[Change]) -> list[PlannedWrite]:
    """The records that would really be written, in their order."""
    writes: list[PlannedWrite] = []
    made: Counter[str] = Counter()
    for change in changes:
        fields = tuple(_fields(change))
        operation = _operation(change, fields)
        if operation is None:
            continue
        record_id = change.record_id
        is_invented = record_id.startswith(_INVENTED)
        if operation == "create" and is_invented:
            made[change.kind] += 1
            number = made[change.kind]
            record_id = f"{NEW}{number}"
        write = PlannedWrite(
            system=change.system,
            kind=change.kind,
            record_id=record_id,
            operation=operation,
            fields=fields,
        )
        writes.append(write)
    return writes


def _operation(change: Change, fields: tuple[PlannedField, ...]) -> Operation | None:
    if change.before is None:
        return "create"
    if not change.after:
        return "delete"
    if not fields:
        return None
    if all(field.name in BOOKKEEPING for field in fields):
        return "note"
    return "change"


def _fields(change: Change) -> Iterator[PlannedField]:
    before: Record = change.before or {}
    # A field that is not written stays as it is; of a record that would be deleted all go.
    named = set(change.after or before)
    for name in sorted(named - _IDENTIFIERS):
        old = _value(before.get(name))
        new = _value(change.after.get(name))
        if old == new:
            continue
        if _holds_records(old) or _holds_records(new):
            continue
        yield PlannedField(name, old, new)


def _value(value: Any) -> Any:
    if value in ("", [], {}):
        return None
    return value


def _holds_records(value: Any) -> bool:
    """Whether it is the list of a Beteiligter's parts, each of which is a record of its own here."""
    if not isinstance(value, list):
        return False
    return any(map(_is_record, value))


def _is_record(item: Any) -> bool:
    return isinstance(item, dict) and "rowId" in item
