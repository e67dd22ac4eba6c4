"""Termine of Advoware, read into the one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from services.calendar_sync import fields
from services.calendar_sync.mapping.shared import (
    DEFAULT_LENGTH,
    ONE_DAY,
    Read,
    Record,
    as_json,
    existing,
    new_event,
    occurrence_problem,
    read_each,
)
from services.calendar_sync.model import (
    END_GUESSED,
    FOR_EVER,
    TEXTS,
    NormalisedEvent,
    Termin,
    Untranslatable,
    normalise_text,
)
from services.calendar_sync.recurrence import (
    Series,
    series_of_termin,
)
from services.values.advoware_protocol import BERLIN

DEFAULT_START = timedelta(hours=9)
#: From this time on an end at 00:00 is midnight; before it, no end was given (specification 13) [A].
EVENING = time(17)
#: An end before the start means the next day if the appointment then lasts no longer than this (specification 13) [A].
LONGEST_NIGHT = timedelta(hours=12)
_LAST_MINUTE = time(23, 59)

#: What ``anwalt`` says of an entry that belongs to all employees (specification 05).
_ALL_EMPLOYEES = frozenset({"", "alle", "allgemein"})
#: The fields that say what a Termin is. One that an answer lacks is unknown, not empty (specification 13, G1) [A].
TERMIN_FIELDS = (
    *(
        "datum",
        "uhrzeitVon",
        "uhrzeitBis",
        "datumBis",
        "dauertermin",
        "turnus",
        "turnusArt",
        "abwesenheit",
    ),
    *("anwalt", "privat"),
    *TEXTS,
)
#: Without one of these it is not known when or whose it is.
_NEEDED_FIELDS = (
    "datum",
    "uhrzeitVon",
    "uhrzeitBis",
    "datumBis",
    "dauertermin",
    "abwesenheit",
    "anwalt",
)

#: What a Termin says, and whether its end had to be guessed.
Content = tuple[NormalisedEvent | Untranslatable, bool]


def read_termine(records: Iterable[Any]) -> Read[Termin]:
    """The Termine of a list; one without a readable ``frNr`` cannot be distinguished from others."""
    return read_each(read_termin, records)


def read_termin(record: Any) -> Termin:
    """A Termin of an answer of Advoware. A content that cannot be read is untranslatable.

    Raises:
        ValueError: it is no object, or has no readable ``frNr``. The message contains nothing of it.
    """
    if not isinstance(record, Mapping):
        raise ValueError("not an object")
    fr_nr = fields.record_key(record.get("frNr"))
    if fr_nr is None:
        raise ValueError("no readable frNr")
    event, is_guessed = _read_content(record)
    return Termin(
        fr_nr=fr_nr,
        event=event,
        changed_at=fields.change_time(record.get("zuletztGeaendertAm"), BERLIN),
        anwalt=_anwalt(record),
        record=record,
        privat=_is_privat(record),
        notes=(END_GUESSED,) if is_guessed else (),
    )


def _anwalt(record: Record) -> str | None:
    """Whose it is; None if it is all employees'."""
    anwalt = normalise_text(record.get("anwalt"))
    if anwalt is None or anwalt.casefold() in _ALL_EMPLOYEES:
        return None
    return anwalt


def termin_to_event(record: Record) -> NormalisedEvent | Untranslatable:
    """The content of a Termin, by the rules of specifications 09 and 13.

    Without a start time it starts at 09:00; without an end time it lasts 30 minutes. 24:00 is midnight at the end of
    the day. An end that contradicts the start is guessed. ``datumBis`` 9999-12-31 is an end without limit: the
    appointment, or the series, lasts until `FOR_EVER`. A start or end time that is unreadable is not guessed.
    """
    return _read_content(record)[0]


def _is_privat(record: Record) -> bool:
    """Whether it is private. What is missing, null or cannot be read hides the texts rather than showing them."""
    return not shows_privat(record) or bool(fields.flag(record["privat"]))


def shows_privat(record: Record) -> bool:
    """Whether a Termin says if it is private, so that the whole of it can be written back."""
    value = record.get("privat")
    return value is not None and fields.flag(value) is not None


def _read_content(record: Record) -> Content:
    """The content, and whether its end had to be guessed. A text that is missing, or is none, is unknown."""
    event, is_guessed = _read_whole(record)
    unknown = [name for name in TEXTS if not _has_text(record, name)]
    if unknown and isinstance(event, NormalisedEvent):
        reason = f"appointment without a readable {unknown[0]}"
        raw = _raw_termin(record)
        return Untranslatable(reason, event, frozenset(unknown), raw), is_guessed
    return event, is_guessed


def _has_text(record: Record, name: str) -> bool:
    return name in record and fields.is_text(record[name])


def _read_whole(record: Record) -> Content:
    begins = fields.moment(record.get("datum"))
    problem = _unreadable(record, begins)
    if problem is not None or begins is None:
        return _left_unread(record, problem or "")
    series = _series_of(record, begins)
    if isinstance(series, Untranslatable):
        return _left_unread(record, series.reason)
    if fields.flag(record.get("abwesenheit")):
        return _read_absence(record, begins, series)
    return _read_timed(record, begins, series)


def _left_unread(record: Record, reason: str) -> Content:
    """What cannot be read at all."""
    return Untranslatable(reason, raw=_raw_termin(record)), False


def _series_of(record: Record, begins: fields.Moment) -> Series | Untranslatable | None:
    if not fields.flag(record.get("dauertermin")):
        return None
    turnus_art = fields.whole_number(record.get("turnusArt"))
    turnus = fields.whole_number(record.get("turnus"))
    last_day = _last_day(record.get("datumBis"))
    return series_of_termin(turnus_art, turnus, last_day, begins.day)


def _read_absence(
    record: Record,
    begins: fields.Moment,
    series: Series | None,
) -> tuple[NormalisedEvent, bool]:
    own_last_day = _own_last_day(record, series) or begins.day
    last_day = max(begins.day, own_last_day)
    event = new_event(
        begins.day,
        last_day + ONE_DAY,
        series,
        _texts_of(record),
        privat=_is_privat(record),
    )
    is_guessed = _is_end_day_unreadable(record) or own_last_day < begins.day
    return event, is_guessed


def _read_timed(
    record: Record,
    begins: fields.Moment,
    series: Series | None,
) -> Content:
    last_day = _own_last_day(record, series)
    is_series = series is not None
    start, end, is_guessed = _timed(record, begins, last_day, within_day=is_series)
    if is_series:
        problem = occurrence_problem(start, end)
        if problem is not None:
            return _left_unread(record, problem)
    start = existing(start)
    end = existing(end)
    if end <= start:  # the clocks were put forward in between
        end = existing(start + DEFAULT_LENGTH)
    texts = _texts_of(record)
    event = new_event(start, end, series, texts, privat=_is_privat(record))
    return event, is_guessed or _is_end_day_unreadable(record)


def _own_last_day(record: Record, series: Series | None) -> date | None:
    """The last day of the appointment itself; that of a series says when it ends."""
    if series is not None:
        return None
    return _last_day(record.get("datumBis"))


def _texts_of(record: Record) -> dict[str, str | None]:
    texts: dict[str, str | None] = {}
    for name in TEXTS:
        text = record.get(name)
        texts[name] = normalise_text(text) if fields.is_text(text) else None
    return texts


def _is_end_day_unreadable(record: Record) -> bool:
    return (
        not fields.is_missing(record["datumBis"])
        and fields.moment(record["datumBis"]) is None
    )


def _unreadable(record: Record, begins: fields.Moment | None) -> str | None:
    """Why the Termin cannot be read, as far as that does not depend on its kind."""
    for name in _NEEDED_FIELDS:
        if name not in record:
            return f"appointment without the field {name}"
    if begins is None or not fields.is_year_usable(begins.day):
        return "appointment without a readable date"
    return _unreadable_kind(record, begins) or _unreadable_rest(record)


def _unreadable_kind(record: Record, begins: fields.Moment) -> str | None:
    is_series = fields.flag(record["dauertermin"])
    is_absence = fields.flag(record["abwesenheit"])
    if is_series is None or is_absence is None:
        return "appointment of an unreadable kind"
    if not is_absence and not _is_start_readable(record, begins):
        return "appointment without a readable time"
    return None


def _is_start_readable(record: Record, begins: fields.Moment) -> bool:
    start = record["uhrzeitVon"]
    if begins.clock is not None or fields.is_missing(start):
        return True
    return fields.clock(start) is not None


def _unreadable_rest(record: Record) -> str | None:
    ends = fields.moment(record["datumBis"])
    if ends is not None and not _is_end_usable(ends.day):
        return "appointment that ends before 1800 or after 2200"
    if not fields.is_text(record["anwalt"]):
        return "anwalt is not a text"
    return None


def _is_end_usable(day: date) -> bool:
    """Whether it is a date, none at all, or without limit."""
    if day.year in (date.min.year, date.max.year):
        return True
    return fields.is_year_usable(day)


def _last_day(value: Any) -> date | None:
    """The day of ``datumBis``; None if it is none, `FOR_EVER` if it is without limit."""
    ends = fields.moment(value)
    if ends is None or ends.day.year == date.min.year:
        return None
    if ends.day.year == date.max.year:
        return FOR_EVER
    return ends.day


def _timed(
    record: Record,
    begins: fields.Moment,
    last_day: date | None,
    *,
    within_day: bool,
) -> tuple[datetime, datetime, bool]:
    """Start and end by the clock, even if they do not exist, and whether the end had to be guessed."""
    start = fields.at(begins.day, _start_clock(record, begins))
    until = _end_clock(record)
    if until is None:
        end = start + DEFAULT_LENGTH
        is_guessed = not fields.is_missing(record["uhrzeitBis"])
    else:
        end, is_guessed = _end(start, last_day or begins.day, until)
    if within_day and end.date() > start.date():
        # The longest that an occurrence may last in Advoware.
        end = datetime.combine(start.date(), _LAST_MINUTE, BERLIN)
        is_guessed = until is not None
    return start, end, is_guessed


def _start_clock(record: Record, begins: fields.Moment) -> timedelta:
    """The start since midnight."""
    clock = begins.clock or fields.clock(record["uhrzeitVon"])
    if clock is None:
        return DEFAULT_START
    return clock


def _end_clock(record: Record) -> timedelta | None:
    """The end since midnight; None if there is none that can be read."""
    if not fields.is_missing(record["uhrzeitBis"]):
        return fields.clock(record["uhrzeitBis"])
    ends = fields.moment(record["datumBis"])
    if ends is not None:
        return ends.clock
    return fields.clock(record["uhrzeitBis"])


def _end(start: datetime, last_day: date, until: timedelta) -> tuple[datetime, bool]:
    """The end on that day at that time since midnight; and whether it contradicts the start and is guessed."""
    first_day = start.date()
    end = fields.at(max(last_day, first_day), until)
    if end > start:
        return end, last_day < first_day
    next_day = end + ONE_DAY
    if _is_on_next_day(start, next_day, until):
        return next_day, True
    return start + DEFAULT_LENGTH, True


def _is_on_next_day(start: datetime, end: datetime, until: timedelta) -> bool:
    """Whether an end before the start is meant on the day after it."""
    is_midnight = until == timedelta()
    if is_midnight:
        return start.time() >= EVENING
    return end - start <= LONGEST_NIGHT


def _raw_termin(record: Record) -> str:
    """What it says, to distinguish one unreadable Termin from another."""
    return as_json({name: record.get(name) for name in TERMIN_FIELDS})
