"""Appointments: Advoware's Termine and Google's events, mapped to one form and back. Pure.

The wall-clock time in Berlin is what counts. Of the hour that exists twice only the clock's reading is kept; a time in
the hour that does not exist is the one an hour later, as Google reads it. What the other side cannot hold comes as
`Untranslatable`: it is never forced.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.advoware_models import BERLIN, parse_date_time
from services.calendar_sync.model import (
    FOR_EVER,
    GoogleEvent,
    NormalisedEvent,
    Termin,
    Untranslatable,
    day_of,
    normalise_text,
    series_end,
)
from services.calendar_sync.recurrence import Series, series_of_google, series_of_termin

Record = Mapping[str, Any]

ZONE = "Europe/Berlin"
#: Title of an event that shows only blocked time.
ANONYMISED_TITLE = "Advoware"
#: What an event says of which only blocked time is shown, and one without any text.
_HIDDEN_TEXTS = {"text": ANONYMISED_TITLE, "notiz": None, "ort": None}
_NO_TEXTS = dict.fromkeys(_HIDDEN_TEXTS)
#: Keys of the private extended properties.
PROPERTY_FRNR = "advoware_frnr"
PROPERTY_SYNC_ID = "sync_id"
PROPERTY_ANONYMISED = "advoware_anonymised"

DEFAULT_START = time(9)
DEFAULT_LENGTH = timedelta(minutes=30)
_LAST_MINUTE = time(23, 59)
_ONE_DAY = timedelta(days=1)

#: What ``anwalt`` says of an entry that belongs to everybody (specification 05).
_EVERYBODY = frozenset({"", "alle", "allgemein"})
#: Longest texts that Advoware takes [A].
_ADVOWARE_LENGTHS = {"text": 1024, "notiz": 8192, "ort": 1024}
#: Time zones whose clocks always show the same as Berlin's; a series of another one would drift.
_SAME_CLOCK = frozenset(
    f"Europe/{city}"
    for city in (
        "Amsterdam", "Berlin", "Brussels", "Budapest", "Copenhagen", "Luxembourg", "Madrid", "Paris", "Prague", "Rome",
        "Stockholm", "Vienna", "Warsaw", "Zurich",
    )
)  # fmt: skip


# -- Advoware -> normalised -----------------------------------------------------------------------------------------


def read_termin(record: Record) -> Termin:
    """A Termin of an answer of Advoware.

    Raises:
        ValueError: it has no ``frNr``.
    """
    anwalt = normalise_text(record.get("anwalt"))
    return Termin(
        fr_nr=int(record.get("frNr") or 0),
        event=termin_to_event(record),
        changed_at=parse_date_time(normalise_text(record.get("zuletztGeaendertAm"))),
        anwalt=None if (anwalt or "").casefold() in _EVERYBODY else anwalt,
        record=record,
        privat=bool(_number(record.get("privat"))),
    )


def read_termine(records: Iterable[Record]) -> list[Termin]:
    """The Termine of a list; one without a readable ``frNr`` cannot be told from others and is left out."""
    termine = []
    for record in records:
        try:
            termine.append(read_termin(record))
        except (TypeError, ValueError):
            continue
    return termine


def termin_to_event(record: Record) -> NormalisedEvent | Untranslatable:
    """The content of a Termin, by the rules of specification 09.

    Without a start time it starts at 09:00; without an end time, or with one that is not after the start, it lasts
    30 minutes.
    """
    begins = _moment(record.get("datum"))
    if begins is None:
        return Untranslatable("appointment without a readable date")
    day, clock = begins
    series: Series | None = None
    ends = _moment(record.get("datumBis"))
    if _number(record.get("dauertermin")):
        last_day = ends[0] if ends else None
        repeated = series_of_termin(_number(record.get("turnusArt")), _number(record.get("turnus")), last_day, day)
        if isinstance(repeated, Untranslatable):
            return repeated
        series = repeated
    start: datetime | date
    end: datetime | date
    if _number(record.get("abwesenheit")):
        last = day if series or ends is None else max(day, ends[0])
        start, end = day, last + _ONE_DAY
    else:
        start = datetime.combine(day, clock or _clock(record.get("uhrzeitVon")) or DEFAULT_START, BERLIN)
        end_clock = _clock(record.get("uhrzeitBis")) or (ends[1] if ends else None)
        end_day = ends[0] if ends and not series else day
        end = start + DEFAULT_LENGTH if end_clock is None else datetime.combine(end_day, end_clock, BERLIN)
    texts = {name: normalise_text(record.get(name)) for name in _ADVOWARE_LENGTHS}
    return _event(start, end, series, texts, privat=bool(_number(record.get("privat"))))


def _moment(value: Any) -> tuple[date, time | None] | None:
    """Day and time of a date-time in Berlin; midnight is how a date alone is written as well [A]."""
    moment = parse_date_time(normalise_text(value))
    if moment is None:
        return None
    local = moment.astimezone(BERLIN) if moment.tzinfo is not BERLIN else moment
    clock = local.time().replace(microsecond=0)
    return local.date(), None if clock == time.min else clock


def _clock(value: Any) -> time | None:
    match = re.match(r"(?:.*[T ])?(\d{1,2}):(\d{2})(?::(\d{2}))?", normalise_text(value) or "")
    if match is None:
        return None
    try:
        return time(int(match[1]), int(match[2]), int(match[3] or 0))
    except ValueError:
        return None


def _number(value: Any) -> int:
    """A number that may come as a text or a boolean; 0 if it is none."""
    try:
        return int(value or 0)
    except (TypeError, ValueError):
        return 0


# -- shared ---------------------------------------------------------------------------------------------------------


def _event(
    start: datetime | date,
    end: datetime | date,
    series: Series | None,
    texts: Mapping[str, str | None],
    *,
    privat: bool,
    anonymised: bool = False,
) -> NormalisedEvent | Untranslatable:
    """The event with usable times, or why it is none. Times are wall clock, aware in Berlin."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        if end <= start:
            end = _default_end(start, within_day=series is not None)
        if series and (problem := _occurrence_problem(start, end)):
            return problem
        start, end = _existing(start), _existing(end)
        # The clocks may have been put forward in between.
        end = end if end > start else _existing(start + DEFAULT_LENGTH)
    elif end <= start:
        end = start + _ONE_DAY
    elif series and end > start + _ONE_DAY:
        return Untranslatable("series whose single occurrence lasts 24 hours or more")
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


def _default_end(start: datetime, *, within_day: bool) -> datetime:
    end = start + DEFAULT_LENGTH
    if within_day and end.date() > start.date():
        return datetime.combine(start.date(), _LAST_MINUTE, BERLIN)
    return end


def _occurrence_problem(start: datetime, end: datetime) -> Untranslatable | None:
    """Why Advoware or Google cannot repeat this occurrence."""
    if end - start >= _ONE_DAY:
        return Untranslatable("series whose single occurrence lasts 24 hours or more")
    if end.date() > start.date() or end <= start:
        return Untranslatable("series whose single occurrence does not end on its own day")
    # Google repeats the elapsed time, Advoware the times on the clock.
    if start.utcoffset() != end.utcoffset() or (_existing(start), _existing(end)) != (start, end):
        return Untranslatable("series whose first occurrence lies across a change of the clocks")
    return None


def _existing(moment: datetime) -> datetime:
    """The wall-clock time itself, or an hour later if the clocks skip it."""
    return moment.replace(fold=0).astimezone(UTC).astimezone(BERLIN).replace(fold=0)


# -- Google -> normalised -------------------------------------------------------------------------------------------


def read_google_event(resource: Record) -> GoogleEvent:
    """An event of an answer of Google; one of which only a tombstone is left has no content."""
    cancelled = resource.get("status") == "cancelled"
    properties = _properties(resource)
    fr_nr = properties.get(PROPERTY_FRNR, "")
    event = Untranslatable("deleted event") if cancelled else google_to_event(resource)
    texts = _google_texts(resource)
    anonymised = isinstance(event, NormalisedEvent) and event.anonymised
    return GoogleEvent(
        id=str(resource["id"]),
        event=event,
        etag=resource.get("etag"),
        updated=parse_date_time(resource.get("updated"), default_zone=UTC),
        cancelled=cancelled,
        recurring_event_id=resource.get("recurringEventId"),
        fr_nr=int(fr_nr) if re.fullmatch(r"-?\d{1,10}", fr_nr) else None,
        sync_id=_uuid(properties.get(PROPERTY_SYNC_ID)),
        has_foreign_text=anonymised and texts != _HIDDEN_TEXTS,
        shows_text=not cancelled and texts not in (_HIDDEN_TEXTS, _NO_TEXTS),
        is_private=resource.get("visibility") in {"private", "confidential"},
        record=resource,
    )


def google_to_event(resource: Record) -> NormalisedEvent | Untranslatable:
    """The content of an event, if Advoware can hold it.

    Of an event that we anonymised the text is unknown, whatever stands in it.
    """
    if resource.get("eventType", "default") != "default":
        return Untranslatable("no appointment (eventType)")
    start, end = (_google_time(resource.get(which)) for which in ("start", "end"))
    if start is None or end is None or isinstance(start, datetime) != isinstance(end, datetime):
        return Untranslatable("event without readable times")
    series = _google_series(resource, start)
    if isinstance(series, Untranslatable):
        return series
    ours = PROPERTY_FRNR in _properties(resource)
    texts = _google_texts(resource)
    anonymised = _is_anonymised(resource, texts)
    if anonymised:
        texts = dict.fromkeys(texts)
    for name, text in texts.items():
        if text is not None and len(text) > _ADVOWARE_LENGTHS[name]:
            return Untranslatable(f"{name} is longer than the {_ADVOWARE_LENGTHS[name]} characters that Advoware takes")
    # Ours are all private towards the viewers of the calendar, which says nothing about the Termin.
    privat = not ours and resource.get("visibility") in {"private", "confidential"}
    return _event(start, end, series, texts, privat=privat, anonymised=anonymised)


def _google_series(resource: Record, start: datetime | date) -> Series | Untranslatable | None:
    if not resource.get("recurrence"):
        return None
    if isinstance(start, datetime) and (resource["start"].get("timeZone") or ZONE) not in _SAME_CLOCK:
        return Untranslatable("series in another time zone")
    return series_of_google(resource["recurrence"], start)


def _google_time(value: Any) -> datetime | date | None:
    """A date, or the wall-clock time in Berlin (aware)."""
    if not isinstance(value, Mapping):
        return None
    try:
        if value.get("date"):
            return date.fromisoformat(value["date"])
        moment = datetime.fromisoformat(value["dateTime"])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(value.get("timeZone") or ZONE))
    except (KeyError, TypeError, ValueError):  # an unknown time zone is a KeyError
        return None
    return moment.astimezone(UTC).astimezone(BERLIN).replace(microsecond=0, fold=0)


def _google_texts(resource: Record) -> dict[str, str | None]:
    names = {"text": "summary", "notiz": "description", "ort": "location"}
    return {name: normalise_text(resource.get(theirs)) for name, theirs in names.items()}


def _is_anonymised(resource: Record, texts: Mapping[str, str | None]) -> bool:
    """Whether we wrote it without its text. An event of ours called "Advoware" is taken for one as well."""
    properties = _properties(resource)
    bare = texts["text"] == ANONYMISED_TITLE and PROPERTY_FRNR in properties
    marker = properties.get(PROPERTY_ANONYMISED)
    return bare if marker is None else marker == "1"


def _properties(resource: Record) -> Mapping[str, str]:
    return (resource.get("extendedProperties") or {}).get("private") or {}


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
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
    return {**_texts(event), **_times(event), "anwalt": kuerzel, "sb": kuerzel, "privat": int(event.privat)}


def changed_termin(event: NormalisedEvent, current: Record) -> dict[str, Any]:
    """The body of a PUT: the full object, of which only what differs is replaced.

    What means the same stays as it is written (a missing time, a time in the skipped hour); ``privat`` and unknown
    texts stay in any case.
    """
    body = dict(current)
    before = termin_to_event(current)
    if isinstance(before, Untranslatable) or before.timing != event.timing:
        body.update(_times(event))
    if not event.anonymised:
        body.update(
            {
                name: text
                for name, text in _texts(event).items()
                if normalise_text(text) != normalise_text(body.get(name))
            }
        )
    return body


def _texts(event: NormalisedEvent) -> dict[str, Any]:
    return {"text": event.text or "", "notiz": event.notiz or "", "ort": event.ort or ""}


def _times(event: NormalisedEvent) -> dict[str, Any]:
    start, end = event.start, event.end
    if event.recurrence is not None:
        last_day = series_end(event.recurrence) or FOR_EVER
    else:
        last_day = day_of(end) if isinstance(end, datetime) else end - _ONE_DAY
    return {
        "datum": day_of(start).isoformat(),
        "uhrzeitVon": start.time().isoformat() if isinstance(start, datetime) else "00:00:00",
        "uhrzeitBis": end.time().isoformat() if isinstance(end, datetime) else "23:59:00",
        "datumBis": last_day.isoformat(),
        "abwesenheit": int(event.all_day),
        "dauertermin": event.dauertermin,
        "turnus": event.turnus,
        "turnusArt": event.turnusArt,
    }


# -- normalised -> Google -------------------------------------------------------------------------------------------


def google_body(event: NormalisedEvent, fr_nr: int, sync_id: UUID) -> dict[str, Any]:
    """The body of an insert or a patch. Nulls clear what a patch finds; reminders stay as they are."""
    return {
        "summary": ANONYMISED_TITLE if event.anonymised else event.text or "",
        "description": event.notiz,
        "location": event.ort,
        "start": _google_moment(event.start),
        "end": _google_moment(event.end),
        "recurrence": [event.recurrence] if event.recurrence else None,
        "visibility": "private",
        "extendedProperties": {
            "private": {
                PROPERTY_FRNR: str(fr_nr),
                PROPERTY_SYNC_ID: str(sync_id),
                PROPERTY_ANONYMISED: str(int(event.anonymised)),
            }
        },
    }


def _google_moment(moment: datetime | date) -> dict[str, Any]:
    if isinstance(moment, datetime):
        return {"dateTime": moment.isoformat(), "timeZone": ZONE, "date": None}
    return {"date": moment.isoformat(), "dateTime": None, "timeZone": None}


def google_event_id(fr_nr: int, calendar_id: str, generation: int = 0) -> str:
    """The id under which a Termin's event is inserted: the same in every attempt, 52 characters of base32hex.

    A further ``generation`` is for an id that Google refuses to revive.
    """
    name = f"advoware:{fr_nr}:{calendar_id}" + (f":{generation}" if generation else "")
    return base64.b32hexencode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=").lower()
