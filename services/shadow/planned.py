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
    }
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
        text = json.dumps(self.new, sort_keys=True, ensure_ascii=False, default=str)
        return hmac.new(key, f"shadow:{text}".encode(), hashlib.sha256).hexdigest()


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
        if operation == "create" and record_id.startswith(_INVENTED):
            made[change.kind] += 1
            record_id = f"{NEW}{made[change.kind]}"
        writes.append(
            PlannedWrite(change.system, change.kind, record_id, operation, fields)
        )
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
    for name in sorted({*before, *change.after} - _IDENTIFIERS):
        if change.after and name not in change.after:
            continue  # not written, so it stays as it is
        old, new = _value(before.get(name)), _value(change.after.get(name))
        if old != new and not _is_list_of_records(old, new):
            yield PlannedField(name, old, new)


def _value(value: Any) -> Any:
    return None if value in ("", [], {}) else value


def _is_list_of_records(*values: Any) -> bool:
    """Whether it is the list of a Beteiligter's parts, each of which is a record of its own here."""
    lists = [value for value in values if isinstance(value, list)]
    return any(
        isinstance(item, dict) and "rowId" in item for row in lists for item in row
    )
