"""Appointments: Advoware's Termine and Google's events, mapped to one form and back. Pure.

The wall-clock time in Berlin is what counts. A time in the hour that does not exist is the one an hour later, as Google
reads it; which of the two equal hours is meant only Google knows, and keeps. What the other side cannot hold comes as
`Untranslatable`: it is never forced. Reading a list never raises, whatever a record is.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from services.calendar_sync import fields
from services.calendar_sync.description import (
    fitting_description,
    is_cut,
    text_of_description,
)
from services.calendar_sync.model import (
    ANONYMISED_TITLE,
    END_GUESSED,
    FOR_EVER,
    TEXTS,
    TIMES,
    GoogleEvent,
    NormalisedEvent,
    Termin,
    Untranslatable,
    day_of,
    normalise_text,
    series_end,
)
from services.calendar_sync.recurrence import (
    Series,
    has_berlins_clock,
    series_of_google,
    series_of_termin,
    time_zone,
)
from services.core.foreign_text import clean_text
from services.values.advoware_protocol import BERLIN

Record = Mapping[str, Any]
Item = TypeVar("Item")

ZONE = "Europe/Berlin"
#: What an event says of which only blocked time is shown, and one without any text.
_HIDDEN_TEXTS = {"text": ANONYMISED_TITLE, "notiz": None, "ort": None}
_NO_TEXTS = dict.fromkeys(_HIDDEN_TEXTS)
#: Keys of the private extended properties.
PROPERTY_FRNR = "advoware_frnr"
PROPERTY_SYNC_ID = "sync_id"
PROPERTY_ANONYMISED = "advoware_anonymised"
_PROPERTIES = (PROPERTY_FRNR, PROPERTY_SYNC_ID, PROPERTY_ANONYMISED)

DEFAULT_START = timedelta(hours=9)
DEFAULT_LENGTH = timedelta(minutes=30)
#: From this time on an end at 00:00 is midnight; before it, no end was given (specification 13) [A].
EVENING = time(17)
#: An end before the start means the next day if the appointment then lasts no longer than this (specification 13) [A].
LONGEST_NIGHT = timedelta(hours=12)
_TOO_LONG = "series whose single occurrence lasts 24 hours or more"
_LAST_MINUTE = time(23, 59)
_ONE_DAY = timedelta(days=1)

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
#: Longest texts that Advoware takes [A].
_ADVOWARE_LENGTHS = {"text": 1024, "notiz": 8192, "ort": 1024}
#: Longest title and place that we send to Google, which documents no limit [A].
_GOOGLE_LENGTH = 1024
_ELLIPSIS = "…"
#: Of the ids that we give events: those of other origin are told apart at once.
_ID_LENGTH = 52
_GOOGLE_NAMES = {"text": "summary", "notiz": "description", "ort": "location"}


class Read(NamedTuple, Generic[Item]):
    """The readable items of a list; of each other one where it stands and why it is unreadable, without texts."""

    items: list[Item]
    unreadable: list[str]


def _read_each(read: Callable[[Any], Item], records: Iterable[Any]) -> Read[Item]:
    result: Read[Item] = Read([], [])
    for number, record in enumerate(records, start=1):
        try:
            result.items.append(read(record))
        except ValueError as error:
            result.unreadable.append(f"item {number}: {error}")
    return result


# -- Advoware -> normalised -----------------------------------------------------------------------------------------


def read_termine(records: Iterable[Any]) -> Read[Termin]:
    """The Termine of a list; one without a readable ``frNr`` cannot be told from others."""
    return _read_each(read_termin, records)


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
    value = record.get("privat")
    return value is None or fields.flag(value) is not False


def _read_content(record: Record) -> tuple[NormalisedEvent | Untranslatable, bool]:
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


def _read_whole(record: Record) -> tuple[NormalisedEvent | Untranslatable, bool]:
    begins = fields.moment(record.get("datum"))
    problem = _unreadable(record, begins)
    if problem is not None or begins is None:
        return Untranslatable(problem or "", raw=_raw_termin(record)), False
    series = _series_of(record, begins)
    if isinstance(series, Untranslatable):
        return Untranslatable(series.reason, raw=_raw_termin(record)), False
    if fields.flag(record.get("abwesenheit")):
        return _read_absence(record, begins, series)
    return _read_timed(record, begins, series)


def _series_of(record: Record, begins: fields.Moment) -> Series | Untranslatable | None:
    if not fields.flag(record.get("dauertermin")):
        return None
    turnus_art = fields.whole_number(record.get("turnusArt"))
    turnus = fields.whole_number(record.get("turnus"))
    last_day = _last_day(record.get("datumBis"))
    return series_of_termin(turnus_art, turnus, last_day, begins.day)


def _read_absence(
    record: Record, begins: fields.Moment, series: Series | None
) -> tuple[NormalisedEvent, bool]:
    own_last_day = _own_last_day(record, series) or begins.day
    last_day = max(begins.day, own_last_day)
    event = _event(
        begins.day,
        last_day + _ONE_DAY,
        series,
        _texts_of(record),
        privat=_is_privat(record),
    )
    is_guessed = _is_end_day_unreadable(record) or own_last_day < begins.day
    return event, is_guessed


def _read_timed(
    record: Record, begins: fields.Moment, series: Series | None
) -> tuple[NormalisedEvent | Untranslatable, bool]:
    last_day = _own_last_day(record, series)
    start, end, is_guessed = _timed(
        record, begins, last_day, within_day=series is not None
    )
    problem = _occurrence_problem(start, end) if series else None
    if problem is not None:
        return Untranslatable(problem, raw=_raw_termin(record)), False
    start, end = _existing(start), _existing(end)
    if end <= start:  # the clocks were put forward in between
        end = _existing(start + DEFAULT_LENGTH)
    event = _event(start, end, series, _texts_of(record), privat=_is_privat(record))
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
    missing = [name for name in _NEEDED_FIELDS if name not in record]
    if missing:
        return f"appointment without the field {missing[0]}"
    if begins is None or not fields.is_year_usable(begins.day):
        return "appointment without a readable date"
    is_series = fields.flag(record["dauertermin"])
    is_absence = fields.flag(record["abwesenheit"])
    if is_series is None or is_absence is None:
        return "appointment of an unreadable kind"
    if not is_absence and not _is_start_readable(record, begins):
        return "appointment without a readable time"
    return _unreadable_rest(record)


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
    return fields.is_year_usable(day) or day.year in (date.min.year, date.max.year)


def _last_day(value: Any) -> date | None:
    """The day of ``datumBis``; None if it is none, `FOR_EVER` if it is without limit."""
    ends = fields.moment(value)
    if ends is None or ends.day.year == date.min.year:
        return None
    return FOR_EVER if ends.day.year == date.max.year else ends.day


def _timed(
    record: Record, begins: fields.Moment, last_day: date | None, *, within_day: bool
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
    return DEFAULT_START if clock is None else clock


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
    end = fields.at(max(last_day, start.date()), until)
    if end > start:
        return end, last_day < start.date()
    if _is_on_next_day(start, end + _ONE_DAY, until):
        return end + _ONE_DAY, True
    return start + DEFAULT_LENGTH, True


def _is_on_next_day(start: datetime, end: datetime, until: timedelta) -> bool:
    """Whether an end before the start is meant on the day after it."""
    is_midnight = until == timedelta()
    if is_midnight:
        return start.time() >= EVENING
    return end - start <= LONGEST_NIGHT


def _raw_termin(record: Record) -> str:
    """What it says, to tell one unreadable Termin from another."""
    return _as_json({name: record.get(name) for name in TERMIN_FIELDS})


# -- shared ---------------------------------------------------------------------------------------------------------


def _event(
    start: datetime | date,
    end: datetime | date,
    series: Series | None,
    texts: Mapping[str, str | None],
    *,
    privat: bool,
    anonymised: bool = False,
) -> NormalisedEvent:
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


def _occurrence_problem(start: datetime | date, end: datetime | date) -> str | None:
    """Why Advoware or Google cannot repeat this occurrence."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return _problem_of_timed(start, end)
    if day_of(end) - day_of(start) > _ONE_DAY:
        return _TOO_LONG
    return None


def _problem_of_timed(start: datetime, end: datetime) -> str | None:
    if end - start >= _ONE_DAY:
        return _TOO_LONG
    if end.date() > start.date() or end <= start:
        return "series whose single occurrence does not end on its own day"
    # Google repeats the elapsed time, Advoware the times on the clock.
    is_same_offset = start.utcoffset() == end.utcoffset()
    exist = _existing(start) == start and _existing(end) == end
    if not is_same_offset or not exist:
        return "series whose first occurrence lies across a change of the clocks"
    return None


def _existing(moment: datetime) -> datetime:
    """The wall-clock time itself, or an hour later if the clocks skip it."""
    return moment.replace(fold=0).astimezone(UTC).astimezone(BERLIN).replace(fold=0)


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, default=str)
    except (RecursionError, TypeError, ValueError):  # nothing that came over the wire
        return ""


# -- Google -> normalised -------------------------------------------------------------------------------------------


def read_google_events(items: Iterable[Any]) -> Read[GoogleEvent]:
    """The events of a list; one without id cannot be told from others."""
    return _read_each(read_google_event, items)


def read_google_event(resource: Any) -> GoogleEvent:
    """An event of an answer of Google; one of which only a tombstone is left has no content.

    Raises:
        ValueError: it is no object, or has no id. The message contains nothing of it.
    """
    if not isinstance(resource, Mapping):
        raise ValueError("not an object")
    event_id = _key(resource.get("id"))
    if event_id is None:
        raise ValueError("no readable id")
    is_cancelled = resource.get("status") == "cancelled"
    event: NormalisedEvent | Untranslatable = Untranslatable("deleted event")
    if not is_cancelled:
        event = google_to_event(resource)
    properties = _properties(resource)
    return GoogleEvent(
        id=event_id,
        event=event,
        etag=_key(resource.get("etag")),
        updated=fields.change_time(resource.get("updated")),
        cancelled=is_cancelled,
        recurring_event_id=_key(resource.get("recurringEventId")),
        fr_nr=fields.record_key(properties.get(PROPERTY_FRNR)),
        sync_id=_uuid(properties.get(PROPERTY_SYNC_ID)),
        has_foreign_text=not is_cancelled and _has_foreign_text(resource),
        shows_text=not is_cancelled and _shows_text(resource),
        is_private=_is_private(resource),
        record=resource,
    )


def _has_foreign_text(resource: Record) -> bool:
    texts = _google_texts(resource)
    return _is_anonymised(resource, texts) and texts != _HIDDEN_TEXTS


def _shows_text(resource: Record) -> bool:
    for name in _GOOGLE_NAMES.values():
        if not fields.is_text(resource.get(name)):
            return True
    return _google_texts(resource) not in (_HIDDEN_TEXTS, _NO_TEXTS)


def original_start(occurrence: Record) -> datetime | date | None:
    """When an occurrence of a series would take place if it had not been changed."""
    return _google_time(occurrence.get("originalStartTime"))


def google_to_event(resource: Record) -> NormalisedEvent | Untranslatable:
    """The content of an event; what of it Advoware cannot hold is unknown.

    Of an event that we anonymised the text is unknown as well, whatever stands in it.
    """
    if resource.get("eventType", "default") != "default":
        return Untranslatable("no appointment (eventType)", raw=_raw_google(resource))
    start = _google_time(resource.get("start"))
    end = _google_time(resource.get("end"))
    is_timed = isinstance(start, datetime)
    if start is None or end is None or is_timed != isinstance(end, datetime):
        return Untranslatable("event without readable times", raw=_raw_google(resource))
    end, series, problems = _google_times(resource, start, end)
    unknown = {TIMES} if problems else set()
    if problems:
        series = None
    texts = _google_texts(resource)
    anonymised = _is_anonymised(resource, texts)
    if anonymised:
        texts = dict.fromkeys(texts)
    else:
        too_much = _texts_that_advoware_cannot_hold(resource, texts)
        unknown |= too_much.keys()
        problems += too_much.values()
    # Ours were all private towards the viewers of the calendar once, which says nothing about the Termin.
    privat = PROPERTY_FRNR not in _properties(resource) and _is_private(resource)
    event = _event(start, end, series, texts, privat=privat, anonymised=anonymised)
    if not problems:
        return event
    reason = "; ".join(problems)
    return Untranslatable(reason, event, frozenset(unknown), _raw_google(resource))


def _google_times(
    resource: Record, start: datetime | date, end: datetime | date
) -> tuple[datetime | date, Series | None, list[str]]:
    """A usable end, the series, and why Advoware cannot hold the times."""
    problems: list[str] = []
    end, problem = _google_end(start, end)
    if problem:
        problems.append(problem)
    is_all_day = not isinstance(start, datetime)
    if is_all_day and resource.get("transparency") == "transparent":
        problems.append("all-day event that blocks no time, which is no Abwesenheit")
    series = _google_series(resource, start, end, problems)
    return end, series, problems


def _google_end(
    start: datetime | date, end: datetime | date
) -> tuple[datetime | date, str | None]:
    """An end after the start, and why Advoware cannot hold the one that there is."""
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        return (end if end > start else start + _ONE_DAY), None
    if _by_the_clock(end) > _by_the_clock(start):
        return end, None
    default = _existing(start + DEFAULT_LENGTH)
    if end.astimezone(UTC) <= start.astimezone(UTC):
        return default, None
    return (
        default,
        "event that ends at an earlier time on the clock, because the clocks are put back in between",
    )


def _by_the_clock(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _google_series(
    resource: Record, start: datetime | date, end: datetime | date, problems: list[str]
) -> Series | None:
    """The series, if Advoware can hold it; else ``problems`` gets the reasons."""
    lines = resource.get("recurrence")
    if not lines:
        return None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        problems.append("series with unreadable rules")
        return None
    read = series_of_google(lines, start)
    problem = _occurrence_problem(start, end)
    if problem:
        problems.append(problem)
    series, last_day = None, FOR_EVER
    if isinstance(read, Untranslatable):
        problems.append(read.reason)
    else:
        series, last_day = read, read.last_day or FOR_EVER
    is_timed = isinstance(start, datetime)
    if is_timed and not _has_berlins_clock(resource, day_of(start), last_day):
        problems.append("series in another time zone")
    return series


def _has_berlins_clock(resource: Record, first_day: date, last_day: date) -> bool:
    zone = resource["start"].get("timeZone") or ZONE
    return zone == ZONE or (
        isinstance(zone, str) and has_berlins_clock(zone, first_day, last_day)
    )


def _texts_that_advoware_cannot_hold(
    resource: Record, texts: Mapping[str, str | None]
) -> dict[str, str]:
    """By name, why not."""
    problems: dict[str, str] = {}
    for name in _ADVOWARE_LENGTHS:
        problem = _text_problem(name, resource.get(_GOOGLE_NAMES[name]), texts[name])
        if problem is not None:
            problems[name] = problem
    return problems


def _text_problem(name: str, written: Any, text: str | None) -> str | None:
    longest = _ADVOWARE_LENGTHS[name]
    if not fields.is_text(written):
        return f"{name} is not a text"
    if text is not None and len(text) > longest:
        return f"{name} is longer than the {longest} characters that Advoware takes"
    if _is_cut(name, text):
        return f"{name} is only the beginning of what stands in Advoware, because Google takes no more"
    return None


def _is_cut(name: str, text: str | None) -> bool:
    if name == "notiz":
        return is_cut(text)
    return text is not None and len(text) == _GOOGLE_LENGTH and text.endswith(_ELLIPSIS)


def _google_time(value: Any) -> datetime | date | None:
    """A date, or the time in Berlin (aware; ``fold`` 1 in the second of two equal hours)."""
    if not isinstance(value, Mapping):
        return None
    if value.get("date"):
        return _google_day(value["date"])
    parsed = _parsed_time(value.get("dateTime"))
    if parsed is None:
        return None
    if parsed.tzinfo is None:
        name = value.get("timeZone") or ZONE
        zone = time_zone(name) if isinstance(name, str) else None
        if zone is None:
            return None
        parsed = parsed.replace(tzinfo=zone)
    return parsed.astimezone(UTC).astimezone(BERLIN).replace(microsecond=0)


def _parsed_time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if fields.is_year_usable(parsed) else None


def _google_day(value: Any) -> date | None:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return day if day is not None and fields.is_year_usable(day) else None


def _google_texts(resource: Record) -> dict[str, str | None]:
    texts = {
        name: normalise_text(resource.get(theirs))
        for name, theirs in _GOOGLE_NAMES.items()
    }
    if texts["notiz"] is not None:
        texts["notiz"] = normalise_text(text_of_description(texts["notiz"]))
    return texts


def _raw_google(resource: Record) -> str:
    """What it says about its times beside start and end, to tell one untranslatable event from another."""
    times = {which: resource.get(which) for which in ("start", "end")}
    return _as_json(
        [
            resource.get("recurrence"),
            resource.get("eventType"),
            resource.get("transparency"),
            times,
        ]
    )


def _is_anonymised(resource: Record, texts: Mapping[str, str | None]) -> bool:
    """Whether we wrote it without its text. An event of ours called "Advoware" is taken for one as well."""
    properties = _properties(resource)
    bare = texts["text"] == ANONYMISED_TITLE and PROPERTY_FRNR in properties
    marker = properties.get(PROPERTY_ANONYMISED)
    return bare if marker is None else marker == "1"


def _is_private(resource: Record) -> bool:
    return resource.get("visibility") in ("private", "confidential")


def _properties(resource: Record) -> Mapping[str, Any]:
    extended = resource.get("extendedProperties")
    private = extended.get("private") if isinstance(extended, Mapping) else None
    return private if isinstance(private, Mapping) else {}


def _key(value: Any) -> str | None:
    """A text that names something, if it can be stored and sent as it is."""
    if not isinstance(value, str) or not value:
        return None
    return value if clean_text(value) == value else None


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


# -- normalised -> Advoware -----------------------------------------------------------------------------------------


def new_termin(event: NormalisedEvent, kuerzel: str) -> dict[str, Any]:
    """The body of a POST: the appointment of that employee.

    Raises:
        ValueError: the text of the event is unknown.
    """
    if event.anonymised:
        raise ValueError("an anonymised event cannot become a Termin")
    return {
        **_texts(event),
        **_times(event),
        "anwalt": kuerzel,
        "sb": kuerzel,
        "privat": int(event.privat),
    }


def changed_termin(event: NormalisedEvent, current: Record) -> dict[str, Any]:
    """The body of a PUT: the full object, of which only what differs is replaced.

    What means the same stays as it is written (a missing time, a time in the skipped hour); ``privat`` and unknown
    texts stay in any case.
    """
    body = dict(current)
    before = termin_to_event(current)
    if isinstance(before, Untranslatable) or before.timing != event.timing:
        body.update(_times(event))
    if event.anonymised:
        return body
    for name, text in _texts(event).items():
        if normalise_text(text) != normalise_text(body.get(name)):
            body[name] = text
    return body


def _texts(event: NormalisedEvent) -> dict[str, Any]:
    return {
        "text": event.text or "",
        "notiz": event.notiz or "",
        "ort": event.ort or "",
    }


def _times(event: NormalisedEvent) -> dict[str, Any]:
    return {
        "datum": day_of(event.start).isoformat(),
        "uhrzeitVon": _clock(event.start, all_day="00:00:00"),
        "uhrzeitBis": _clock(event.end, all_day="23:59:00"),
        "datumBis": _last_day_in_advoware(event).isoformat(),
        "abwesenheit": int(event.all_day),
        "dauertermin": event.dauertermin,
        "turnus": event.turnus,
        "turnusArt": event.turnusArt,
    }


def _clock(moment: datetime | date, *, all_day: str) -> str:
    if isinstance(moment, datetime):
        return moment.time().isoformat()
    return all_day


def _last_day_in_advoware(event: NormalisedEvent) -> date:
    """The day of the end, as Advoware counts it; of a series the last day of its occurrences."""
    if event.recurrence is not None:
        return series_end(event.recurrence) or FOR_EVER
    if isinstance(event.end, datetime):
        return event.end.date()
    return event.end - _ONE_DAY


# -- normalised -> Google -------------------------------------------------------------------------------------------


def google_body(
    event: NormalisedEvent,
    fr_nr: int,
    sync_id: UUID,
    current: GoogleEvent | None = None,
    *,
    ours: bool = False,
) -> dict[str, Any]:
    """The body of an insert or a patch. Nulls clear what a patch finds; colour, reminders and guests stay as they are.

    Texts that are longer than Google takes are cut visibly.

    Args:
        event: what Google shall show.
        fr_nr: the Termin.
        sync_id: the pair.
        current: the event that is patched. Its description stays as it is written if it reads the same, and so do the
            time zones and, of the hour that exists twice, which one is meant.
        ours: whether it is a copy that we made. A person's own event keeps its visibility, unless its text is hidden.
    """
    start, end = _same_hours(event, current)
    title, place = _cut(event.text) or "", _cut(event.ort)
    if event.anonymised:
        title, place = ANONYMISED_TITLE, None
    body: dict[str, Any] = {
        "summary": title,
        "description": _description(event, current),
        "location": place,
        "start": _google_moment(start, _kept_zone(event, current, "start")),
        "end": _google_moment(end, _kept_zone(event, current, "end")),
        "recurrence": [event.recurrence] if event.recurrence else None,
        "extendedProperties": {
            "private": {
                PROPERTY_FRNR: str(fr_nr),
                PROPERTY_SYNC_ID: str(sync_id),
                PROPERTY_ANONYMISED: str(int(event.anonymised)),
            }
        },
    }
    if event.all_day:
        # An absence blocks its days; else it would not be read as one again.
        body["transparency"] = "opaque"
    if event.anonymised:
        body["visibility"] = "private"
    elif ours or _was_anonymised(current):
        body["visibility"] = "default"
    return body


def _was_anonymised(current: GoogleEvent | None) -> bool:
    if current is None:
        return False
    return _properties(current.record).get(PROPERTY_ANONYMISED) == "1"


def hide_body(fr_nr: int | None, sync_id: UUID) -> dict[str, Any]:
    """The body of a patch that leaves only blocked time of an event, whatever else is unknown about it.

    Times stay. So do guests, attachments and conferences, which people add in Google: nothing of them comes from
    Advoware, and ``private`` keeps readers of the calendar from seeing them.
    """
    properties = {PROPERTY_SYNC_ID: str(sync_id), PROPERTY_ANONYMISED: "1"}
    if fr_nr is not None:
        properties[PROPERTY_FRNR] = str(fr_nr)
    return {
        "summary": ANONYMISED_TITLE,
        "description": None,
        "location": None,
        "visibility": "private",
        "extendedProperties": {"private": properties},
    }


def texts_body(
    event: NormalisedEvent, fr_nr: int | None, sync_id: UUID, *, ours: bool
) -> dict[str, Any]:
    """The body of a patch that leaves times and series of an event as they are; arguments as of `google_body`."""
    if event.anonymised or fr_nr is None:
        return hide_body(fr_nr, sync_id)
    body = google_body(event, fr_nr, sync_id, ours=ours)
    visibility = {} if ours else {"visibility": "default"}
    names = (*_GOOGLE_NAMES.values(), "visibility", "extendedProperties")
    return {name: body[name] for name in names if name in body} | visibility


def unmark_body() -> dict[str, Any]:
    """The body of a patch that takes our properties off an event; in a patch null removes a property."""
    return {"extendedProperties": {"private": dict.fromkeys(_PROPERTIES)}}


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= _GOOGLE_LENGTH:
        return text
    return text[: _GOOGLE_LENGTH - len(_ELLIPSIS)] + _ELLIPSIS


def _description(event: NormalisedEvent, current: GoogleEvent | None) -> str | None:
    if event.anonymised or event.notiz is None:
        return None
    wanted = fitting_description(event.notiz)
    if current is not None and not current.cancelled:
        written = current.record.get(_GOOGLE_NAMES["notiz"])
        reads_the_same = _google_texts(current.record)["notiz"] == normalise_text(
            text_of_description(wanted)
        )
        if isinstance(written, str) and reads_the_same:
            return written
    return wanted


def _content_of(current: GoogleEvent | None) -> NormalisedEvent | None:
    event = current.event if current is not None else None
    return event.part if isinstance(event, Untranslatable) else event


def _same_hours(
    event: NormalisedEvent, current: GoogleEvent | None
) -> tuple[datetime | date, datetime | date]:
    """Start and end, in the second of two equal hours if the event lies there already."""
    start, end, present = event.start, event.end, _content_of(current)
    if (
        present is None
        or not isinstance(start, datetime)
        or not isinstance(end, datetime)
    ):
        return start, end
    if isinstance(present.start, datetime) and present.start.date() == start.date():
        start = _existing_fold(start, present.start.fold)
    if isinstance(present.end, datetime) and present.end.date() == end.date():
        end = _existing_fold(end, max(start.fold, present.end.fold))
    return start, end


def _existing_fold(moment: datetime, fold: int) -> datetime:
    """The moment with that fold, if it exists twice."""
    first, wanted = moment.replace(fold=0), moment.replace(fold=fold)
    exists_twice = wanted.utcoffset() != first.utcoffset()
    return wanted if exists_twice else first


def _kept_zone(event: NormalisedEvent, current: GoogleEvent | None, which: str) -> str:
    """The time zone in which a person entered the event; of a series only if its clock is Berlin's."""
    times = current.record.get(which) if current is not None else None
    name = times.get("timeZone") if isinstance(times, Mapping) else None
    if not isinstance(name, str) or time_zone(name) is None:
        return ZONE
    if event.recurrence is not None and not has_berlins_clock(
        name, event.first_day, event.last_day
    ):
        return ZONE
    return name


def _google_moment(moment: datetime | date, zone: str) -> dict[str, Any]:
    if isinstance(moment, datetime):
        # Until 1893 Berlin's clocks differed by seconds, which an offset cannot say; the time zone can.
        has_offset = (moment.utcoffset() or timedelta()).seconds % 60 == 0
        written = moment if has_offset else _by_the_clock(moment)
        return {
            "dateTime": written.isoformat(),
            "timeZone": zone if has_offset else ZONE,
            "date": None,
        }
    return {"date": moment.isoformat(), "dateTime": None, "timeZone": None}


def google_event_id(fr_nr: int, calendar_id: str, generation: int = 0) -> str:
    """The id under which a Termin's event is inserted: the same in every attempt, 52 characters of base32hex.

    A further ``generation`` is for an id that Google refuses to revive, or whose series cannot be repaired.
    """
    name = f"advoware:{fr_nr}:{calendar_id}"
    if generation:
        name = f"{name}:{generation}"
    digest = hashlib.sha256(name.encode()).digest()
    return base64.b32hexencode(digest).decode().rstrip("=").lower()


def generation_of(
    event_id: str, fr_nr: int, calendar_id: str, limit: int = 1024
) -> int | None:
    """Which generation of that Termin's ids it is, of the first ``limit``; None: none of them."""
    if len(event_id) != _ID_LENGTH:
        return None
    for generation in range(limit):
        if google_event_id(fr_nr, calendar_id, generation) == event_id:
            return generation
    return None
