"""What the clocks in Berlin say of a Termin and of an event, computed independently of the product.

A span is a pair of naive times; an all-day one goes from 00:00 to 23:59.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any

from dateutil.rrule import DAILY, MONTHLY, WEEKLY, YEARLY, rrule

from sandbox.advoware.records import BERLIN
from sandbox.google.calendar_store import Calendar
from sandbox.google.event import CANCELLED, Event
from sandbox.google.event_store import EventStore

Span = tuple[datetime, datetime]

_FREQUENCIES = {1: DAILY, 2: WEEKLY, 3: MONTHLY, 4: YEARLY}
_DEFAULT_LENGTH = timedelta(minutes=30)
_LAST_MINUTE = time(23, 59)
#: So many occurrences are compared.
MOST = 120
#: From this hour on, 00:00 as end of the same day is midnight; before, it means that no end was given.
_EVENING = 17
_LONGEST_PAST_MIDNIGHT = timedelta(hours=12)
#: From this year on, the last day of a series means for ever.
_FOR_EVER = 2037


def spans_of_termin(record: dict[str, Any], last_day: date) -> list[Span]:
    """Its occurrences that start on ``last_day`` at the latest, by specifications 09 and 13."""
    start, end = _first_span(record)
    if not record["dauertermin"]:
        return [(start, end)]
    rule = rrule(
        _FREQUENCIES[record["turnusArt"]],
        dtstart=start,
        interval=max(record["turnus"], 1),
    )
    ends_on = datetime.fromisoformat(record["datumBis"]).date()
    until = last_day if ends_on.year >= _FOR_EVER else min(last_day, ends_on)
    return list(_until(((day, day + (end - start)) for day in rule), until))


def spans_of_event(
    store: EventStore, calendar: Calendar, event: Event, last_day: date
) -> list[Span]:
    """The occurrences of an event that start on ``last_day`` at the latest, exceptions included."""
    if not event.recurrence:
        return [_span(event)]
    until = datetime.combine(last_day + timedelta(days=1), time(), BERLIN)
    shown = [
        _span(one)
        for one in store.instances(calendar, event, until)
        if one.status != CANCELLED
    ]
    return list(_until(iter(sorted(shown)), last_day))


def comparable(spans: list[Span]) -> list[Span]:
    """Without those in the night in which the clocks change: one side repeats elapsed time, the other times of day."""
    return [
        span
        for span in spans
        if len(spans) == 1 or not (span[0].hour < 4 and _clocks_change(span[0].date()))
    ]


def _until(spans: Iterator[Span], last_day: date) -> Iterator[Span]:
    for span in islice(spans, MOST):
        if span[0].date() > last_day:
            return
        yield span


def _first_span(record: dict[str, Any]) -> Span:
    day = datetime.fromisoformat(record["datum"]).date()
    ends_on = datetime.fromisoformat(record["datumBis"]).date()
    if ends_on.year == date.max.year:  # an end without limit
        ends_on = date(_FOR_EVER, 12, 31)
    if record["dauertermin"]:
        ends_on = day
    if record["abwesenheit"]:
        return datetime.combine(day, time()), datetime.combine(
            max(day, ends_on), _LAST_MINUTE
        )
    start = datetime.combine(day, time.fromisoformat(record["uhrzeitVon"] or "09:00"))
    if record["uhrzeitBis"] is None:
        return _on_the_clock(start, start + _DEFAULT_LENGTH)
    end = datetime.combine(ends_on, time.fromisoformat(record["uhrzeitBis"]))
    return _on_the_clock(start, end if end > start else _guessed_end(start, end))


def _guessed_end(start: datetime, end: datetime) -> datetime:
    """What an end means that contradicts the start."""
    same_day = start.date() == end.date()
    next_day = datetime.combine(start.date() + timedelta(days=1), end.time())
    if same_day and end.time() == time():
        return next_day if start.hour >= _EVENING else start + _DEFAULT_LENGTH
    is_past_midnight = same_day and next_day - start <= _LONGEST_PAST_MIDNIGHT
    return next_day if is_past_midnight else start + _DEFAULT_LENGTH


def _on_the_clock(start: datetime, end: datetime) -> Span:
    """As the clocks show it: a time that they skip lies an hour later."""
    start, end = _existing(start), _existing(end)
    return start, _whole_days(
        start, end if end > start else _existing(start + _DEFAULT_LENGTH)
    )


def _existing(moment: datetime) -> datetime:
    return (
        moment.replace(tzinfo=BERLIN)
        .astimezone(UTC)
        .astimezone(BERLIN)
        .replace(tzinfo=None)
    )


def _span(event: Event) -> Span:
    if event.start.all_day:
        return event.start.moment, event.end.moment - timedelta(minutes=1)
    start, end = (
        side.moment.astimezone(BERLIN).replace(tzinfo=None)
        for side in (event.start, event.end)
    )
    return start, _whole_days(start, end)


def _whole_days(start: datetime, end: datetime) -> datetime:
    """The end of a timed event from midnight to midnight as that of an all-day one."""
    return end - timedelta(minutes=1) if start.time() == end.time() == time() else end


def _clocks_change(day: date) -> bool:
    noon = datetime.combine(day, time(12), BERLIN)
    return noon.utcoffset() != (noon - timedelta(days=1)).utcoffset()
