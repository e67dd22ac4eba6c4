"""How two courses of events are compared, and how time passes for Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

Record = dict[str, Any]

IDS = re.compile(r"\b[0-9a-f]{16,17}\b")
MOMENTS = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+\d\d:\d\d)?"
    r"|\d\d\.\d\d\.\d{4} \d\d:\d\d Uhr"
)
EMPTY: tuple[Any, ...] = (None, "", [], {})
#: What says when something was done, by whom or how often, not what is there.
BESIDE = frozenset(
    [
        "rowId",
        "advowareRowId",
        "kommunikationHash",
        "versionNumber",
        "number",
        "iCalUID",
        "htmlLink",
        "organizer",
        "sync_id",
        "etag",
        "sequence",
        "created",
        "updated",
        "zuletztGeaendertAm",
        "modifiedAt",
        "modifiedById",
        "modifiedByName",
    ]
)


def age_keys(redis: Any, span: timedelta) -> None:
    """Let time pass for the keys of a database of Redis (or of all, flushed of what has expired)."""
    passed = int(span.total_seconds() * 1000)
    for name in redis.scan_iter():
        left = redis.pttl(name)
        if left < 0:
            continue
        if left <= passed:
            redis.delete(name)
        else:
            redis.pexpire(name, left - passed)


def plain(rows: list[Record]) -> list[str]:
    """Rows as sorted texts, without empty values and what depends on when something was written."""
    return sorted(
        json.dumps(_without_beside(row), sort_keys=True, ensure_ascii=False)
        for row in rows
    )


def without_moments(texts: list[str]) -> list[str]:
    """The same with all moments alike."""
    return sorted(MOMENTS.sub("<moment>", text) for text in texts)


def _without_beside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _without_beside(part)
            for name, part in value.items()
            if name not in BESIDE and part not in EMPTY
        }
    if isinstance(value, list):
        parts = [_without_beside(part) for part in value]
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(value, str):
        return IDS.sub("<id>", value)
    return value
