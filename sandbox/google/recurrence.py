"""Recurrence rules as the Google Calendar API takes them: lines of RRULE, EXRULE, RDATE and EXDATE (RFC 5545).

A series is expanded in wall-clock time of the event's time zone, so that a meeting at nine stays at nine when the
clocks change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from dateutil.rrule import rrule, rruleset, rrulestr

from sandbox.google.errors import ApiError, invalid
from sandbox.google.times import time_zone

_LINE: Final = re.compile(r"(RRULE|EXRULE|RDATE|EXDATE)((?:;[A-Z-]+=[^:;]+)*):(.+)")
#: Google knows no series that repeat within a day.
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_WEEKDAY: Final = "(?:MO|TU|WE|TH|FR|SA|SU)"
_NUMBERED: Final = {"BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DATE: Final = re.compile(r"\d{8}")
_UTC_TIME: Final = re.compile(r"\d{8}T\d{6}Z")
_LOCAL_TIME: Final = re.compile(r"\d{8}T\d{6}")


def check(lines: list[str], start: datetime, zone: tzinfo, *, all_day: bool) -> None:
    """Make sure that the lines are a series with at least one occurrence.

    Args:
        lines: the event's ``recurrence``.
        start: wall-clock time (naive) of the first occurrence.
        zone: the event's time zone.
        all_day: whether the event has dates instead of times.

    Raises:
        ApiError: 400; a line is malformed, no line generates dates, or nothing comes of them.
    """
    kinds = []
    for line in lines:
        kind = _check_line(line, all_day=all_day)
        kinds.append(kind)
    if "RRULE" not in kinds and "RDATE" not in kinds:
        raise _refused()
    try:
        first = next(occurrences(lines, start, zone), None)
    except (ValueError, KeyError):
        raise _refused() from None
    if first is None:
        raise _refused()


def _check_line(line: str, *, all_day: bool) -> str:
    """The kind of a line. Raises ApiError 400 if it is malformed."""
    kind, parameters, value = _parts(line)
    if kind in {"RRULE", "EXRULE"}:
        if parameters:
            raise _refused()
        _check_rule(value, all_day=all_day)
    else:
        _check_dates(parameters, value, all_day=all_day)
    return kind


def occurrences(lines: list[str], start: datetime, zone: tzinfo) -> Iterator[datetime]:
    """Wall-clock start times (naive, ascending) of a series; endless if its rule is.

    All-day series: midnights.
    """
    series = rruleset()
    add: dict[str, Callable[[Any], None]] = {
        "RRULE": series.rrule,
        "EXRULE": series.exrule,
        "RDATE": series.rdate,
        "EXDATE": series.exdate,
    }
    for line in lines:
        kind, parameters, value = _parts(line)
        if kind in {"RRULE", "EXRULE"}:
            rule = rrulestr(_with_local_until(value, zone), dtstart=start)
            if not isinstance(rule, rrule):
                raise _refused()
            add[kind](rule)
            continue
        for day in value.split(","):
            moment = _wall_clock(day, parameters, zone)
            add[kind](moment)
    yield from series


def cut_at(
    lines: list[str],
    moment: datetime,
    *,
    all_day: bool,
    passed: int,
) -> tuple[list[str], list[str]]:
    """The lines of the series that ends before a moment, and of the one that goes on from there.

    Args:
        lines: the event's ``recurrence``.
        moment: start of the first occurrence of the rest; naive midnight of an all-day event.
        all_day: whether the event has dates instead of times.
        passed: how many occurrences lie before it, for COUNT.
    """
    last = moment - timedelta(seconds=1)
    until = f"UNTIL={last:%Y%m%dT%H%M%SZ}"
    if all_day:
        last = moment - timedelta(days=1)
        until = f"UNTIL={last:%Y%m%d}"
    ended = []
    rest = []
    for line in lines:
        if not line.startswith("RRULE"):
            ended.append(line)
            rest.append(line)
            continue
        endless = re.sub(r";?\b(?:COUNT|UNTIL)=[^;]*", "", line)
        ended.append(f"{endless};{until}")
        rest.append(
            re.sub(
                r"\bCOUNT=(\d+)",
                lambda count: f"COUNT={max(int(count[1]) - passed, 1)}",
                line,
            ),
        )
    return ended, rest


def _parts(line: str) -> tuple[str, dict[str, str], str]:
    """Kind, parameters and value of a line. Raises ApiError 400."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise _refused()
    kind, parameters, value = match.groups()
    return (
        kind,
        dict(part.split("=", 1) for part in parameters.split(";") if part),
        value,
    )


def _check_rule(text: str, *, all_day: bool) -> None:
    parts = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if name in parts:
            raise _refused()
        parts[name] = value
    if parts.get("FREQ") not in _FREQUENCIES:
        raise _refused()
    for name, value in parts.items():
        if not _part_is_valid(name, value, parts["FREQ"], all_day=all_day):
            raise _refused()
    if not _parts_go_together(parts):
        raise _refused()


def _parts_go_together(parts: dict[str, str]) -> bool:
    if {"COUNT", "UNTIL"} <= parts.keys():
        return False
    limits = [name for name in parts if name.startswith("BY")]
    if limits == ["BYSETPOS"]:
        return False
    if {"BYMONTH", "BYMONTHDAY"} <= parts.keys():
        return _some_day_exists(parts["BYMONTH"], parts["BYMONTHDAY"])
    return True


def _part_is_valid(name: str, value: str, frequency: str, *, all_day: bool) -> bool:
    if name in _NUMBERED:
        return _numbers_are_valid(name, value, frequency)
    pattern = _part_pattern(name, frequency, all_day=all_day)
    if pattern is None:
        return False
    return re.fullmatch(pattern, value) is not None


def _part_pattern(name: str, frequency: str, *, all_day: bool) -> str | None:
    """What the value of a part looks like; None if there is no such part."""
    month = r"(?:[1-9]|0[1-9]|1[0-2])"
    ordinal = ""
    if frequency in {"MONTHLY", "YEARLY"}:
        ordinal = r"(?:[+-]?[1-9]\d?)?"
    day = f"{ordinal}{_WEEKDAY}"
    until = _UTC_TIME
    if all_day:
        until = _DATE
    patterns = {
        "FREQ": r"(?s:.*)",
        "INTERVAL": r"[1-9]\d{0,4}",
        "COUNT": r"[1-9]\d{0,4}",
        "UNTIL": until.pattern,
        "WKST": _WEEKDAY,
        "BYDAY": f"{day}(?:,{day})*",
        "BYMONTH": f"{month}(?:,{month})*",
    }
    return patterns.get(name)


def _numbers_are_valid(name: str, value: str, frequency: str) -> bool:
    if name in {"BYYEARDAY", "BYWEEKNO"} and frequency != "YEARLY":
        return False
    if name == "BYMONTHDAY" and frequency == "WEEKLY":
        return False
    for number in value.split(","):
        if not re.fullmatch(r"[+-]?\d{1,3}", number):
            return False
        if not 1 <= abs(int(number)) <= _NUMBERED[name]:
            return False
    return True


def _some_day_exists(months: str, days: str) -> bool:
    """Whether not all dates are like 30 February, which the expansion would look for until the year 9999."""
    longest = 0
    for month in months.split(","):
        length = _LONGEST_MONTHS[int(month) - 1]
        longest = max(longest, length)
    numbers = map(int, days.split(","))
    smallest = min(map(abs, numbers))
    return smallest <= longest


def _check_dates(given: dict[str, str], value: str, *, all_day: bool) -> None:
    if given.keys() - {"VALUE", "TZID"}:
        raise _refused()
    kind = given.get("VALUE", "DATE-TIME")
    if kind != ("DATE" if all_day else "DATE-TIME"):
        raise _refused()
    shape = _UTC_TIME
    if all_day:
        shape = _DATE
    elif "TZID" in given:
        shape = _LOCAL_TIME
    for day in value.split(","):
        if not shape.fullmatch(day):
            raise _refused()


def _with_local_until(rule: str, zone: tzinfo) -> str:
    """The rule with UNTIL as wall-clock time, which is how it is expanded."""

    def local(match: re.Match[str]) -> str:
        until = (
            datetime.strptime(match[1], "%Y%m%dT%H%M%SZ")
            .replace(tzinfo=UTC)
            .astimezone(zone)
        )
        return f"UNTIL={until:%Y%m%dT%H%M%S}"

    return re.sub(r"UNTIL=(\d{8}T\d{6}Z)", local, rule)


def _wall_clock(day: str, parameters: dict[str, str], zone: tzinfo) -> datetime:
    if _DATE.fullmatch(day):
        return datetime.strptime(day, "%Y%m%d")  # noqa: DTZ007 - a wall-clock time
    if day.endswith("Z"):
        return (
            datetime.strptime(day, "%Y%m%dT%H%M%SZ")
            .replace(tzinfo=UTC)
            .astimezone(zone)
            .replace(tzinfo=None)
        )
    written = datetime.strptime(day, "%Y%m%dT%H%M%S").replace(
        tzinfo=time_zone(parameters["TZID"]),
    )
    return written.astimezone(zone).replace(tzinfo=None)


def _refused() -> ApiError:
    return invalid("Invalid recurrence rule.")
