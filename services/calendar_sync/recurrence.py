"""Series: Advoware's ``turnus`` and ``turnusArt``, and Google's recurrence rules. Pure.

Advoware knows daily, weekly (on the weekday of the start), monthly (on its day of month) and yearly (on its date)
series with a last day, and no exceptions (specification 05). Every other rule is untranslatable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from services.calendar_sync.model import (
    FOR_EVER,
    FOR_EVER_YEAR,
    Untranslatable,
    series_end,
)
from services.values.advoware_protocol import BERLIN, FIRST_YEAR

_FREQUENCIES = {1: "DAILY", 2: "WEEKLY", 3: "MONTHLY", 4: "YEARLY"}
_TURNUS_ART = {name: number for number, name in _FREQUENCIES.items()}
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

#: Largest interval that Advoware takes [A].
MAX_TURNUS = 999

_OVER = "series that is over before it starts"
_END_OF_DAY = time(23, 59, 59)
_RULE_PREFIX = "RRULE:"
_A_DAY = timedelta(days=1)
_UNTIL_PART = re.compile(r";UNTIL=[^;]*")
_UNTIL = re.compile(r"(?P<day>\d{8})(?:T(?P<clock>\d{6})(?P<utc>Z?))?", re.ASCII)
#: The parts of a rule that do not say where the occurrences lie. The first day of the week matters only to rules with
#: several weekdays.
_KNOWN_PARTS = frozenset({"FREQ", "INTERVAL", "UNTIL", "COUNT", "WKST"})
#: No series until 2037 has more occurrences.
_COUNT = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Series:
    """How an appointment repeats.

    Attributes:
        turnus_art: 1 daily, 2 weekly, 3 monthly, 4 yearly.
        turnus: every how many of them.
        last_day: the day until which it repeats; None: for ever.
    """

    turnus_art: int
    turnus: int
    last_day: date | None

    def rule(self, start: datetime | date) -> str:
        """The series as a RRULE line; ``start`` is that of its first occurrence."""
        parts: dict[str, Any] = {
            "FREQ": _FREQUENCIES[self.turnus_art],
            "INTERVAL": self.turnus,
            **_position(self.turnus_art, start),
        }
        if self.last_day is not None:
            is_timed = isinstance(start, datetime)
            parts["UNTIL"] = _until(self.last_day, timed=is_timed)
        written = [f"{name}={value}" for name, value in parts.items()]
        return _RULE_PREFIX + ";".join(written)


def series_of_termin(
    turnus_art: int | None,
    turnus: int | None,
    last_day: date | None,
    start: date,
) -> Series | Untranslatable:
    """Advoware's series; a last day in 2037 or later means for ever. None is what cannot be read."""
    if turnus_art not in _FREQUENCIES:
        return Untranslatable("series of an unknown kind (turnusArt)")
    if turnus is None or not 0 <= turnus <= MAX_TURNUS:
        return Untranslatable("series with an unreadable interval (turnus)")
    if last_day is None:
        return Untranslatable("series without a last day")
    if last_day < start:
        return Untranslatable(_OVER)
    is_for_ever = last_day.year >= FOR_EVER_YEAR
    return Series(turnus_art, max(turnus, 1), None if is_for_ever else last_day)


def series_of_google(
    lines: Sequence[str],
    start: datetime | date,
) -> Series | Untranslatable:
    """Google's series, if Advoware can hold it; ``start`` is that of its first occurrence, in Berlin."""
    if not _is_single_rule(lines):
        return Untranslatable("series with exceptions or further dates")
    rule = lines[0].upper().removeprefix(_RULE_PREFIX)
    parts = _parts_of(rule)
    turnus_art = _TURNUS_ART.get(parts.get("FREQ", ""))
    if turnus_art is None:
        return Untranslatable("series of a kind that Advoware does not know")
    problem = _position_problem(parts, turnus_art, start)
    if problem is not None:
        return Untranslatable(problem)
    turnus = _interval(parts)
    if turnus is None:
        return Untranslatable("series with an interval that Advoware does not take")
    endless = Series(turnus_art, turnus, None)
    last_day = _last_day(parts, endless, start)
    if isinstance(last_day, Untranslatable):
        return last_day
    return series_of_termin(turnus_art, turnus, last_day or FOR_EVER, _day(start))


def _is_single_rule(lines: Sequence[str]) -> bool:
    return len(lines) == 1 and lines[0].upper().startswith(_RULE_PREFIX)


def _interval(parts: dict[str, str]) -> int | None:
    """The interval of a rule; None if Advoware does not take it."""
    interval = parts.get("INTERVAL", "1")
    if not _COUNT.fullmatch(interval):
        return None
    turnus = int(interval)
    if 1 <= turnus <= MAX_TURNUS:
        return turnus
    return None


def _parts_of(rule: str) -> dict[str, str]:
    """The parts of a rule; none if one of them is there twice."""
    parts: dict[str, str] = {}
    for part in filter(None, rule.split(";")):
        name, _, value = part.partition("=")
        if name in parts:
            return {}
        parts[name] = value
    return parts


def _position_problem(
    parts: dict[str, str],
    turnus_art: int,
    start: datetime | date,
) -> str | None:
    """Why the occurrences do not lie where Advoware's would."""
    expected = _position(turnus_art, start)
    for name in sorted(parts.keys() - _KNOWN_PARTS):
        if name not in expected or parts[name].lstrip("0") != expected[name]:
            return f"series with a {name} that Advoware cannot hold"
    if _is_in_every_month(parts, turnus_art):
        return "yearly series that takes place every month"
    return None


def _is_in_every_month(parts: dict[str, str], turnus_art: int) -> bool:
    """Whether a yearly series names a day, and no month."""
    is_yearly = turnus_art == _TURNUS_ART["YEARLY"]
    return is_yearly and "BYMONTHDAY" in parts and "BYMONTH" not in parts


def _position(turnus_art: int, start: datetime | date) -> dict[str, str]:
    """Where within the week, month or year the occurrences lie."""
    if turnus_art == 2:
        return {"BYDAY": _WEEKDAYS[start.weekday()]}
    if turnus_art == 3:
        return {"BYMONTHDAY": str(start.day)}
    if turnus_art == 4:
        return {"BYMONTH": str(start.month), "BYMONTHDAY": str(start.day)}
    return {}


def _until(last_day: date, *, timed: bool) -> str:
    """The end of that day in Berlin, as UTC; of an all-day series Google takes only the date."""
    if not timed:
        return f"{last_day:%Y%m%d}"
    return f"{datetime.combine(last_day, _END_OF_DAY, BERLIN).astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _last_day(
    parts: dict[str, str],
    endless: Series,
    start: datetime | date,
) -> date | Untranslatable | None:
    if "COUNT" in parts:
        return _last_of(parts["COUNT"], endless, start)
    if "UNTIL" not in parts:
        return None
    return _last_day_until(parts["UNTIL"], start)


def _last_day_until(end: str, start: datetime | date) -> date | Untranslatable:
    """The day of the last occurrence of a series that ends then."""
    match = _UNTIL.fullmatch(end)
    until = _parsed_until(match) if match else None
    if match is None or until is None:
        return Untranslatable("series with an unreadable end")
    # Beyond the years of a calendar the arithmetic of time zones ends.
    if until.year > FOR_EVER_YEAR:
        return FOR_EVER
    if until.year < FIRST_YEAR:
        return Untranslatable(_OVER)
    has_clock = match["clock"] is not None
    return _last_day_before(until.astimezone(BERLIN), start, has_clock=has_clock)


def _parsed_until(match: re.Match[str]) -> datetime | None:
    zone = UTC if match["utc"] else BERLIN
    digits = match["day"] + (match["clock"] or "000000")
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None


def _last_day_before(
    until: datetime,
    start: datetime | date,
    *,
    has_clock: bool,
) -> date:
    """The day of the last occurrence that is not over by then; one that starts later on its day is not one of them."""
    if not has_clock or not isinstance(start, datetime):
        return until.date()
    if until.time() < start.time():
        return until.date() - timedelta(days=1)
    return until.date()


def _last_of(
    count: str,
    endless: Series,
    start: datetime | date,
) -> date | Untranslatable:
    """The day of the occurrence with that number."""
    if not _COUNT.fullmatch(count) or int(count) < 1:
        return Untranslatable("series with an unreadable end")
    first = datetime.combine(_day(start), time.min)
    rule = endless.rule(first).removeprefix(_RULE_PREFIX)
    occurrences = rrulestr(rule, dtstart=first).xafter(first, inc=True)
    last_number = int(count)
    for number, occurrence in enumerate(occurrences, start=1):
        if occurrence.year >= FOR_EVER_YEAR:
            break
        if number == last_number:
            return occurrence.date()
    return Untranslatable("series whose number of occurrences ends in 2037 or later")


def _day(moment: datetime | date) -> date:
    if isinstance(moment, datetime):
        return moment.date()
    return moment


def has_occurrence_at(
    rule: str,
    start: datetime | date,
    moment: datetime | date,
) -> bool:
    """Whether a series (a RRULE line in our spelling, aware start or date) has an occurrence at that time."""
    wanted = _aware(moment)
    occurrences = rrulestr(_aware_rule(rule), dtstart=_aware(start))
    for near in occurrences.between(wanted - _A_DAY, wanted + _A_DAY, inc=True):
        # In UTC, so that what falls into the skipped hour is found where it takes place.
        if near.astimezone(UTC) == wanted.astimezone(UTC):
            return True
    return False


def _aware(moment: datetime | date) -> datetime:
    if isinstance(moment, datetime):
        return moment.astimezone(BERLIN)
    return datetime.combine(moment, time.min, BERLIN)


def _aware_rule(rule: str) -> str:
    """The rule for an aware start, which needs an end in UTC."""
    text = rule.removeprefix(_RULE_PREFIX)
    end = series_end(rule)
    if end is None:
        return text
    return _UNTIL_PART.sub(f";UNTIL={_until(end, timed=True)}", text)


# -- time zones -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def time_zone(name: str) -> ZoneInfo | None:
    """The time zone of that name; None if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None  # unknown; a folder of the database; no name at all


def has_berlins_clock(name: str, first_day: date, last_day: date) -> bool:
    """Whether clocks of that zone show what Berlin's show, in all the years from the first day to the last."""
    zone = time_zone(name)
    last_year = min(last_day.year, FOR_EVER_YEAR)
    return zone is not None and all(
        _is_same_clock(name, year) for year in range(first_day.year, last_year + 1)
    )


@lru_cache(maxsize=4096)
def _is_same_clock(name: str, year: int) -> bool:
    zone = time_zone(name)
    if zone is None:
        return False
    # Looked at once a day: no zone of the database puts its clocks forward on Berlin's days at another hour.
    moment = datetime(year, 1, 1, tzinfo=UTC)
    for _ in range(366):
        if _offset(moment, zone) != _offset(moment, BERLIN):
            return False
        moment += timedelta(days=1)
    return True


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
