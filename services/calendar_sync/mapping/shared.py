"""What both directions of the mapping need."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from services.calendar_sync.model import (
    NormalisedEvent,
    day_of,
)
from services.calendar_sync.recurrence import (
    Series,
)
from services.values.advoware_protocol import BERLIN

Record = Mapping[str, Any]
Item = TypeVar("Item")

ZONE = "Europe/Berlin"
#: Keys of the private extended properties.
PROPERTY_FRNR = "advoware_frnr"
PROPERTY_SYNC_ID = "sync_id"
PROPERTY_ANONYMISED = "advoware_anonymised"
PROPERTIES = (PROPERTY_FRNR, PROPERTY_SYNC_ID, PROPERTY_ANONYMISED)

DEFAULT_LENGTH = timedelta(minutes=30)
ONE_DAY = timedelta(days=1)

#: Longest title and place that we send to Google, which documents no limit [A].
GOOGLE_LENGTH = 1024
ELLIPSIS = "…"
GOOGLE_NAMES = {"text": "summary", "notiz": "description", "ort": "location"}

_TOO_LONG = "series whose single occurrence lasts 24 hours or more"


class Read(NamedTuple, Generic[Item]):
    """The readable items of a list; of each other one where it stands and why it is unreadable, without texts."""

    items: list[Item]
    unreadable: list[str]


def read_each(read: Callable[[Any], Item], records: Iterable[Any]) -> Read[Item]:
    """Read each record; one that cannot be read does not stop the others."""
    result: Read[Item] = Read([], [])
    for number, record in enumerate(records, start=1):
        try:
            result.items.append(read(record))
        except ValueError as error:
            result.unreadable.append(f"item {number}: {error}")
    return result


def new_event(
    start: datetime | date,
    end: datetime | date,
    series: Series | None,
    texts: Mapping[str, str | None],
    *,
    privat: bool,
    anonymised: bool = False,
) -> NormalisedEvent:
    """An appointment in the one form; ``texts`` by their names."""
    return NormalisedEvent(
        start,
        end,
        **texts,
        dauertermin=int(series is not None),
        turnus=series.turnus if series else 0,
        turnusArt=series.turnus_art if series else 0,
        recurrence=series.rule(start) if series else None,
        all_day=not isinstance(start, datetime),
        privat=privat,
        anonymised=anonymised,
    )


def occurrence_problem(start: datetime | date, end: datetime | date) -> str | None:
    """Why Advoware or Google cannot repeat this occurrence."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return _problem_of_timed(start, end)
    if day_of(end) - day_of(start) > ONE_DAY:
        return _TOO_LONG
    return None


def _problem_of_timed(start: datetime, end: datetime) -> str | None:
    if end - start >= ONE_DAY:
        return _TOO_LONG
    if end.date() > start.date() or end <= start:
        return "series whose single occurrence does not end on its own day"
    # Google repeats the elapsed time, Advoware the times on the clock.
    is_same_offset = start.utcoffset() == end.utcoffset()
    exist = existing(start) == start and existing(end) == end
    if not is_same_offset or not exist:
        return "series whose first occurrence lies across a change of the clocks"
    return None


def existing(moment: datetime) -> datetime:
    """The wall-clock time itself, or an hour later if the clocks skip it."""
    return moment.replace(fold=0).astimezone(UTC).astimezone(BERLIN).replace(fold=0)


def as_json(value: Any) -> str:
    """A value that came over the wire, to be compared; empty if it did not."""
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except (RecursionError, TypeError, ValueError):  # nothing that came over the wire
        return ""


def by_the_clock(moment: datetime) -> datetime:
    """The time on the clock, without its zone."""
    return moment.replace(tzinfo=None)


def private_properties(resource: Record) -> Mapping[str, Any]:
    """The private extended properties of an event."""
    extended = resource.get("extendedProperties")
    private = extended.get("private") if isinstance(extended, Mapping) else None
    if isinstance(private, Mapping):
        return private
    return {}
