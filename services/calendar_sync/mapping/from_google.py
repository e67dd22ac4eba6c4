"""Events of Google, read into the one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from services.calendar_sync import fields
from services.calendar_sync.description import (
    is_cut,
    text_of_description,
)
from services.calendar_sync.mapping.shared import (
    DEFAULT_LENGTH,
    ELLIPSIS,
    GOOGLE_LENGTH,
    GOOGLE_NAMES,
    ONE_DAY,
    PROPERTY_ANONYMISED,
    PROPERTY_FRNR,
    PROPERTY_SYNC_ID,
    ZONE,
    Read,
    Record,
    as_json,
    by_the_clock,
    existing,
    new_event,
    occurrence_problem,
    private_properties,
    read_each,
)
from services.calendar_sync.model import (
    ANONYMISED_TITLE,
    CUT_SHORT,
    FOR_EVER,
    TIMES,
    GoogleEvent,
    NormalisedEvent,
    Untranslatable,
    day_of,
    normalise_text,
)
from services.calendar_sync.recurrence import (
    Series,
    has_berlins_clock,
    series_of_google,
    time_zone,
)
from services.core.foreign_text import clean_text
from services.values.advoware_protocol import BERLIN

#: What an event says of which only blocked time is shown, and one without any text.
_HIDDEN_TEXTS = {"text": ANONYMISED_TITLE, "notiz": None, "ort": None}
_NO_TEXTS = dict.fromkeys(_HIDDEN_TEXTS)
#: Longest texts that Advoware takes [A].
_ADVOWARE_LENGTHS = {"text": 1024, "notiz": 8192, "ort": 1024}


def read_google_events(items: Iterable[Any]) -> Read[GoogleEvent]:
    """The events of a list; one without id cannot be distinguished from others."""
    return read_each(read_google_event, items)


def ids_made_by(address: str, items: Iterable[Any]) -> frozenset[str]:
    """The ids of those events of a list that an account has made; none if its address is not known."""
    made: set[str] = set()
    for item in items:
        if address and _creator_of(item) == address:
            made.add(str(item.get("id")))
    return frozenset(made)


def _creator_of(item: Any) -> str:
    """The address of who has made an event, lower case; empty if it does not show any."""
    creator = item.get("creator") if isinstance(item, Mapping) else None
    if not isinstance(creator, Mapping):
        return ""
    return str(creator.get("email") or "").casefold()


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
    properties = private_properties(resource)
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
    texts = google_texts(resource)
    return _is_anonymised(resource, texts) and texts != _HIDDEN_TEXTS


def _shows_text(resource: Record) -> bool:
    for name in GOOGLE_NAMES.values():
        if not fields.is_text(resource.get(name)):
            return True
    return google_texts(resource) not in (_HIDDEN_TEXTS, _NO_TEXTS)


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
    unknown: set[str] = set()
    if problems:
        unknown.add(TIMES)
        series = None
    texts = google_texts(resource)
    anonymised = _is_anonymised(resource, texts)
    if anonymised:
        texts = dict.fromkeys(texts)
    else:
        too_much = _texts_that_advoware_cannot_hold(resource, texts)
        unknown |= too_much.keys()
        problems += too_much.values()
    privat = _is_persons_private(resource)
    event = new_event(start, end, series, texts, privat=privat, anonymised=anonymised)
    if not problems:
        return event
    reason = "; ".join(problems)
    return Untranslatable(reason, event, frozenset(unknown), _raw_google(resource))


def _is_persons_private(resource: Record) -> bool:
    """Whether a person has made it private.

    Those of the sync were all private towards the viewers of the calendar once, which says nothing about the Termin.
    """
    is_of_sync = PROPERTY_FRNR in private_properties(resource)
    return not is_of_sync and _is_private(resource)


def _google_times(
    resource: Record,
    start: datetime | date,
    end: datetime | date,
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
    start: datetime | date,
    end: datetime | date,
) -> tuple[datetime | date, str | None]:
    """An end after the start, and why Advoware cannot hold the one that there is."""
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        return max(end, start + ONE_DAY), None
    if by_the_clock(end) > by_the_clock(start):
        return end, None
    default = existing(start + DEFAULT_LENGTH)
    if end.astimezone(UTC) <= start.astimezone(UTC):
        return default, None
    return (
        default,
        "event that ends at an earlier time on the clock, because the clocks are put back in between",
    )


def _google_series(
    resource: Record,
    start: datetime | date,
    end: datetime | date,
    problems: list[str],
) -> Series | None:
    """The series, if Advoware can hold it; else ``problems`` gets the reasons."""
    lines = resource.get("recurrence")
    if not lines:
        return None
    if not _is_list_of_texts(lines):
        problems.append("series with unreadable rules")
        return None
    read = series_of_google(lines, start)
    problem = occurrence_problem(start, end)
    if problem:
        problems.append(problem)
    series = None
    last_day = FOR_EVER
    if isinstance(read, Untranslatable):
        problems.append(read.reason)
    else:
        series = read
        last_day = read.last_day or FOR_EVER
    if _is_in_other_zone(resource, start, last_day):
        problems.append("series in another time zone")
    return series


def _is_list_of_texts(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(item, str) for item in value)


def _is_in_other_zone(
    resource: Record,
    start: datetime | date,
    last_day: date,
) -> bool:
    """Whether it has times whose clock is not Berlin's."""
    is_timed = isinstance(start, datetime)
    return is_timed and not _has_berlins_clock(resource, day_of(start), last_day)


def _has_berlins_clock(resource: Record, first_day: date, last_day: date) -> bool:
    zone = resource["start"].get("timeZone") or ZONE
    if zone == ZONE:
        return True
    return isinstance(zone, str) and has_berlins_clock(zone, first_day, last_day)


def _texts_that_advoware_cannot_hold(
    resource: Record,
    texts: Mapping[str, str | None],
) -> dict[str, str]:
    """By name, why not."""
    problems: dict[str, str] = {}
    for name in _ADVOWARE_LENGTHS:
        problem = _text_problem(name, resource.get(GOOGLE_NAMES[name]), texts[name])
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
        return f"{name} {CUT_SHORT}"
    return None


def _is_cut(name: str, text: str | None) -> bool:
    if name == "notiz":
        return is_cut(text)
    return text is not None and len(text) == GOOGLE_LENGTH and text.endswith(ELLIPSIS)


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
        zone = _zone_of(value)
        if zone is None:
            return None
        parsed = parsed.replace(tzinfo=zone)
    in_berlin = parsed.astimezone(UTC).astimezone(BERLIN)
    return in_berlin.replace(microsecond=0)


def _zone_of(value: Record) -> ZoneInfo | None:
    """The time zone of a time without offset; Berlin's if it names none."""
    name = value.get("timeZone") or ZONE
    if not isinstance(name, str):
        return None
    return time_zone(name)


def _parsed_time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if fields.is_year_usable(parsed):
        return parsed
    return None


def _google_day(value: Any) -> date | None:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if day is not None and fields.is_year_usable(day):
        return day
    return None


def google_texts(resource: Record) -> dict[str, str | None]:
    """Title, note and place of an event, by Advoware's names."""
    texts: dict[str, str | None] = {}
    for name, google_name in GOOGLE_NAMES.items():
        texts[name] = normalise_text(resource.get(google_name))
    description = texts["notiz"]
    if description is not None:
        note = text_of_description(description)
        texts["notiz"] = normalise_text(note)
    return texts


def _raw_google(resource: Record) -> str:
    """What it says about its times beside start and end, to distinguish one untranslatable event from another."""
    times = {which: resource.get(which) for which in ("start", "end")}
    return as_json(
        [
            resource.get("recurrence"),
            resource.get("eventType"),
            resource.get("transparency"),
            times,
        ],
    )


def _is_anonymised(resource: Record, texts: Mapping[str, str | None]) -> bool:
    """Whether we wrote it without its text. An event of the sync called "Advoware" is taken for one as well."""
    properties = private_properties(resource)
    bare = texts["text"] == ANONYMISED_TITLE and PROPERTY_FRNR in properties
    marker = properties.get(PROPERTY_ANONYMISED)
    if marker is None:
        return bare
    return bool(marker == "1")


def _is_private(resource: Record) -> bool:
    return resource.get("visibility") in ("private", "confidential")


def _key(value: Any) -> str | None:
    """A text that names something, if it can be stored and sent as it is."""
    if not isinstance(value, str) or not value:
        return None
    if clean_text(value) == value:
        return value
    return None


def _uuid(value: Any) -> UUID | None:
    try:
        if isinstance(value, str):
            return UUID(value)
        return None
    except ValueError:
        return None
