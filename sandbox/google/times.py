"""Start and end of events: all-day (a date) or timed (an instant and a time zone), as the API reads and writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sandbox.google.errors import ApiError, invalid, required, time_range_empty

_RFC3339: Final = re.compile(
    r"(?P<local>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?P<offset>Z|[+-]\d\d:\d\d)?",
)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")


@cache
def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        ApiError: 400; there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(f"Invalid time zone: {name!r}.", "timeZone") from None


@dataclass(frozen=True)
class EventTime:
    """A day (naive midnight) or a moment (aware, UTC, whole seconds)."""

    moment: datetime
    zone: str = "UTC"  #: in which it was entered and a series is expanded; without meaning for a day

    @property
    def all_day(self) -> bool:
        """Whether it is a day."""
        return self.moment.tzinfo is None

    def as_instant(self, calendar_zone: str) -> datetime:
        """Aware, for comparisons: a day begins at midnight of the calendar's time zone."""
        if not self.all_day:
            return self.moment
        midnight = self.moment.replace(tzinfo=time_zone(calendar_zone))
        return midnight.astimezone(UTC)

    def wall_clock(self) -> datetime:
        """Naive time in its own time zone; midnight of a day."""
        if self.all_day:
            return self.moment
        local = self.moment.astimezone(time_zone(self.zone))
        return local.replace(tzinfo=None)

    def at(self, wall_clock: datetime) -> EventTime:
        """The same kind of time at another wall-clock time (naive); one that the clocks skip lies an hour later."""
        if self.all_day:
            return EventTime(wall_clock)
        return EventTime(
            wall_clock.replace(tzinfo=time_zone(self.zone)).astimezone(UTC),
            self.zone,
        )

    def __sub__(self, other: EventTime) -> timedelta:
        """Elapsed time, or whole days; both must be of the same kind."""
        return self.moment - other.moment

    def plus(self, length: timedelta) -> EventTime:
        """So much later: elapsed time, or whole days."""
        later = self.moment + length
        return EventTime(later, self.zone)

    def stamp(self) -> str:
        """The end of an instance's id: ``20260329`` or ``20260329T070000Z``."""
        if self.all_day:
            return f"{self.moment:%Y%m%d}"
        return f"{self.moment:%Y%m%dT%H%M%SZ}"

    def render(self, response_zone: str) -> dict[str, str]:
        """As the API writes it, with the offset of ``response_zone``."""
        if self.all_day:
            day = self.moment.date()
            return {"date": day.isoformat()}
        local = self.moment.astimezone(time_zone(response_zone))
        written = local.isoformat().replace("+00:00", "Z")
        return {"dateTime": written, "timeZone": self.zone}


def read_time(value: object, which: str, calendar_zone: str) -> EventTime:
    """The ``start`` or ``end`` of an event.

    Args:
        value: what the caller sent.
        which: ``"start"`` or ``"end"``.
        calendar_zone: used when the caller names none.

    Raises:
        ApiError: 400; it is missing, malformed, both date and time, or has neither offset nor time zone.
    """
    if value is None:
        raise required(f"Missing {which} time.")
    if not isinstance(value, dict):
        raise invalid(f"Invalid {which} time.")
    day = value.get("date")
    moment = value.get("dateTime")
    zone = value.get("timeZone")
    if zone is not None and not _is_zone(zone):
        raise invalid(f"Invalid time zone definition for {which} time.")
    if day is None and moment is None:
        raise required(f"Missing {which} time.")
    if moment is None:
        midnight = datetime.combine(read_date(day), time())
        return EventTime(midnight)
    if day is not None:
        raise invalid(f"Invalid {which} time.")
    instant = _read_instant(moment, zone, which)
    return EventTime(instant, zone or calendar_zone)


def read_range(
    resource: dict[str, Any],
    calendar_zone: str,
    *,
    empty_days: bool = False,
) -> tuple[EventTime, EventTime]:
    """Start and exclusive end of an event.

    Args:
        resource: the event.
        calendar_zone: for times whose time zone is not given.
        empty_days: whether an all-day event may end on the day it starts. Calendars do hold such events (odoo/odoo
            pull request 87646, allenporter/gcal_sync pull request 225).

    Raises:
        ApiError: 400; see `read_time`, or they are of different kinds, or the end is not after the start. (Google
            answers `timeRangeEmpty` to timed events without duration, see ridafkih/keeper.sh issue 614.)
    """
    start = read_time(resource.get("start"), "start", calendar_zone)
    end = read_time(resource.get("end"), "end", calendar_zone)
    if start.all_day != end.all_day:
        raise invalid(
            "Start and end times must either both be date or both be dateTime.",
        )
    may_be_empty = empty_days and start.all_day
    if end == start and not may_be_empty:
        raise time_range_empty()
    if end - start < timedelta():
        raise time_range_empty()
    return start, end


def read_date(text: object) -> date:
    """A date like ``2026-03-29``.

    Raises:
        ApiError: 400.
    """
    if not isinstance(text, str):
        raise _malformed(text)
    if not _DATE.fullmatch(text):
        raise _malformed(text)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _malformed(text) from None


def read_timestamp(text: str, location: str) -> datetime:
    """An RFC 3339 time with mandatory offset, as in ``timeMin``; aware, UTC, whole seconds.

    Raises:
        ApiError: 400, blaming the parameter ``location``.
    """
    match = _RFC3339.fullmatch(text)
    if match is None or match["offset"] is None:
        raise _bad_request(location)
    try:
        return _moment_of(match).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _bad_request(location) from None


def _moment_of(match: re.Match[str]) -> datetime:
    """What an RFC 3339 time says; naive without offset."""
    offset = match["offset"] or ""
    return datetime.fromisoformat(match["local"] + offset)


def _bad_request(location: str) -> ApiError:
    return ApiError(400, "badRequest", "Bad Request", location=location)


def _read_instant(text: object, zone: str | None, which: str) -> datetime:
    if not isinstance(text, str):
        raise _malformed(text)
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise _malformed(text)
    if match["offset"] is None and zone is None:
        raise required(f"Missing time zone definition for {which} time.")
    try:
        moment = _moment_of(match)
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=time_zone(zone))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _malformed(text) from None


def _is_zone(name: object) -> bool:
    try:
        return isinstance(name, str) and time_zone(name) is not None
    except ApiError:
        return False


def _malformed(text: object) -> ApiError:
    return invalid(f'Invalid value for: Invalid format: "{text}"')
