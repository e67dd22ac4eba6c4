"""What EspoCRM's interface looks like: filters, query strings, dates. Pure.

Dates are ``YYYY-MM-DD``, date-times ``YYYY-MM-DD HH:MM:SS`` in UTC without a zone, as EspoCRM writes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SYSTEM = "EspoCRM"
PAGE_SIZE = 200  # a larger maxSize is answered with 403
DATE_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

Record = dict[str, Any]
Where = Mapping[str, Any]


@dataclass(frozen=True)
class RecordWrite:
    """One record to be written: changed, or created if it has no id yet.

    Attributes:
        version: what is known to be stored; a newer one is a `Conflict` if an attribute differs from it.
        skips_duplicate_check: create it although it resembles another one.
    """

    entity_type: str
    entity_id: str | None
    attributes: Mapping[str, Any]
    version: int | None = None
    skips_duplicate_check: bool = False


def equals(attribute: str, value: Any) -> Where:
    """Filter: the attribute has this value."""
    return {"type": "equals", "attribute": attribute, "value": value}


def is_in(attribute: str, values: Iterable[Any]) -> Where:
    """Filter: the attribute has one of these values."""
    return {"type": "in", "attribute": attribute, "value": list(values)}


def contains(attribute: str, text: str) -> Where:
    """``attribute`` contains ``text``, whatever stands around it; capital or small letters are the same."""
    return {"type": "contains", "attribute": attribute, "value": text}


def is_null(attribute: str) -> Where:
    """Filter: the attribute has no value."""
    return {"type": "isNull", "attribute": attribute}


def before(attribute: str, moment: datetime) -> Where:
    """Filter: the date-time attribute lies before the aware ``moment``."""
    return {
        "type": "lessThan",
        "attribute": attribute,
        "value": format_date_time(moment),
    }


def linked_with(link: str, entity_id: str) -> Where:
    """Filter: the record is linked with that record."""
    return {"type": "linkedWith", "attribute": link, "value": [entity_id]}


def any_of(*filters: Where) -> Where:
    """Filter: at least one of the filters holds."""
    return {"type": "or", "value": list(filters)}


def all_of(*filters: Where) -> Where:
    """Filter: all filters hold."""
    return {"type": "and", "value": list(filters)}


def halved(where: Sequence[Where]) -> tuple[list[Where], list[Where]] | None:
    """Filters that all hold, twice, each time with one half of the values of the longest `is_in`; None without one.

    Lists inside of `any_of` and `all_of` are left alone.
    """
    longest = _position_of_longest_list(where)
    if longest is None:
        return None
    condition = where[longest]
    values = condition["value"]
    middle = len(values) // 2
    first = list(where)
    second = list(where)
    first[longest] = {**condition, "value": values[:middle]}
    second[longest] = {**condition, "value": values[middle:]}
    return first, second


def _position_of_longest_list(where: Sequence[Where]) -> int | None:
    """The first of the longest lists of more than one value."""
    longest = None
    length = 1
    for position, condition in enumerate(where):
        if condition["type"] != "in":
            continue
        values = condition["value"]
        if len(values) > length:
            longest = position
            length = len(values)
    return longest


def format_date_time(moment: datetime) -> str:
    """An aware time as EspoCRM writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime(DATE_TIME_FORMAT)


def parse_date_time(text: str | None) -> datetime | None:
    """EspoCRM's date-time as an aware time; None for an empty or unreadable text."""
    if not text:
        return None
    try:
        return datetime.strptime(text, DATE_TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def bracket_query(name: str, value: Any) -> list[tuple[str, str]]:
    """A nested value as PHP query parameters: ``where[0][type]=in``, ``where[0][value][]=dirty``."""
    if isinstance(value, Mapping):
        return _bracketed(name, value.items())
    if not isinstance(value, list | tuple):
        return [(name, _query_text(value))]
    if any(map(_is_nested, value)):
        return _bracketed(name, enumerate(value))
    return _bracketed(name, (("", item) for item in value))


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _bracketed(name: str, items: Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    pairs = []
    for key, item in items:
        pairs += bracket_query(f"{name}[{key}]", item)
    return pairs


def _query_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
