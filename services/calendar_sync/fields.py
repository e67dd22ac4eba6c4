"""Values of foreign records, read so that nothing raises. Pure.

Missing and unreadable are different things (specification 13, G1): a missing time has a documented default, an
unreadable one has not.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from services.calendar_sync.model import normalise_text
from services.values.advoware_protocol import (
    BERLIN,
    FIRST_YEAR,
    LAST_YEAR,
    parse_date_time,
)

#: Keys of both systems fit into PostgreSQL's ``integer``.
MAX_KEY = 2**31 - 1

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_CLOCK = re.compile(
    r"(?:\d{4}-\d{2}-\d{2}[T ])?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_END_OF_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]24:00(?::00(?:\.0+)?)?", re.ASCII)
_FLAGS = {"true": True, "ja": True, "false": False, "nein": False}
#: No spelling of a time is longer.
_LONGEST = 64
_WHOLE_DAY = timedelta(hours=24)


class Moment(NamedTuple):
    """A day (in Berlin) and the time since its midnight; None: no time is given."""

    day: date
    clock: timedelta | None


def is_text(value: Any) -> bool:
    """Whether a value is a text or can be written as one."""
    return value is None or isinstance(value, str | int | float)


def whole_number(value: Any) -> int | None:
    """A whole number of at most 18 digits, also as a text; None if it is none. Nothing and "" are 0."""
    if value is None or value == "":
        return 0
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _whole_number_of_text(value.strip())
    if isinstance(value, int | float):
        return _whole_number_of_number(value)
    return None


def _whole_number_of_text(text: str) -> int | None:
    if _WHOLE.fullmatch(text) is None:
        return None
    return int(text)


def _whole_number_of_number(value: float) -> int | None:
    is_whole = isinstance(value, int) or value.is_integer()
    if not is_whole or abs(value) >= 10**18:
        return None
    return int(value)


def record_key(value: Any) -> int | None:
    """The number of a record, negative ones included; None if it is none."""
    if isinstance(value, bool):
        return None
    number = whole_number(value)
    if not number or abs(number) > MAX_KEY:
        return None
    return number


def flag(value: Any) -> bool | None:
    """Whether something is set; None if that is not to be read. Not given is not set; Advoware writes 0 and 1."""
    if isinstance(value, str) and value.strip().casefold() in _FLAGS:
        return _FLAGS[value.strip().casefold()]
    number = whole_number(value)
    if number is None:
        return None
    return number != 0


def moment(value: Any) -> Moment | None:
    """Day and time of a date or date-time; midnight is how a date alone is written as well [A].

    A day outside the years 1800 to 2200 comes as it is written, in whatever zone: it is no date to reckon with.
    """
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _moment(value)


@lru_cache(maxsize=4096)
def _moment(value: str) -> Moment | None:
    text = normalise_text(value)
    if text is None:
        return None
    match = _END_OF_DAY.fullmatch(text)
    if match is not None:
        return _end_of_day(match[1])
    parsed = parse_date_time(text)
    if parsed is None:
        return None
    return _day_and_time(parsed)


def _end_of_day(day: str) -> Moment | None:
    begins = moment(day)
    if begins:
        return Moment(begins.day, _WHOLE_DAY)
    return None


def _day_and_time(parsed: datetime) -> Moment:
    if parsed.tzinfo is not BERLIN and is_year_usable(parsed):
        parsed = parsed.astimezone(BERLIN)
    since_midnight = timedelta(
        hours=parsed.hour,
        minutes=parsed.minute,
        seconds=parsed.second,
    )
    return Moment(parsed.date(), since_midnight or None)


def clock(value: Any) -> timedelta | None:
    """The time since midnight; 24:00 is the end of the day. None if it is missing or unreadable: see `is_missing`."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    return _clock(value)


@lru_cache(maxsize=4096)
def _clock(value: str) -> timedelta | None:
    match = _CLOCK.fullmatch(normalise_text(value) or "")
    if match is None:
        return None
    hour = int(match[1])
    minute = int(match[2])
    second = int(match[3] or 0)
    if minute >= 60 or second >= 60:
        return None
    since_midnight = timedelta(hours=hour, minutes=minute, seconds=second)
    if since_midnight > _WHOLE_DAY:
        return None
    return since_midnight


def is_missing(value: Any) -> bool:
    """Whether a value is not given at all."""
    return value is None or (isinstance(value, str) and normalise_text(value) is None)


def is_year_usable(day: date) -> bool:
    """Whether a date is one; databases write "no date" as the year 1 or 9999 (specification 13, G5)."""
    return FIRST_YEAR <= day.year <= LAST_YEAR


def change_time(value: Any, zone: Any = UTC) -> datetime | None:
    """When something was changed, aware; None if that is not to be read."""
    if not isinstance(value, str):
        return None
    parsed = parse_date_time(value, default_zone=zone)
    if parsed is None or not is_year_usable(parsed):
        return None
    return parsed


def at(day: date, since_midnight: timedelta) -> datetime:
    """A wall-clock time in Berlin."""
    return datetime.combine(day, time.min, BERLIN) + since_midnight
