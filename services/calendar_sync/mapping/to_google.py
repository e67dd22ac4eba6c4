"""Appointments, written as events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from services.calendar_sync.description import (
    fitting_description,
    text_of_description,
)
from services.calendar_sync.mapping.from_google import google_texts
from services.calendar_sync.mapping.shared import (
    ELLIPSIS,
    GOOGLE_LENGTH,
    GOOGLE_NAMES,
    PROPERTIES,
    PROPERTY_ANONYMISED,
    PROPERTY_FRNR,
    PROPERTY_SYNC_ID,
    ZONE,
    by_the_clock,
    private_properties,
)
from services.calendar_sync.model import (
    ANONYMISED_TITLE,
    GoogleEvent,
    NormalisedEvent,
    Untranslatable,
    normalise_text,
)
from services.calendar_sync.recurrence import (
    has_berlins_clock,
    time_zone,
)
from services.values.merge import only


def google_body(
    event: NormalisedEvent,
    fr_nr: int,
    sync_id: UUID,
    current: GoogleEvent | None = None,
    *,
    is_own: bool = False,
) -> dict[str, Any]:
    """The body of an insert or a patch. Nulls clear what a patch finds; colour, reminders and guests stay as they are.

    Texts that are longer than Google takes are cut visibly.

    Args:
        event: what Google shall show.
        fr_nr: the Termin.
        sync_id: the pair.
        current: the event that is patched. Its description stays as it is written if it reads the same, and so do the
            time zones and, of the hour that exists twice, which one is meant.
        is_own: whether it is a copy that we made. A person's own event keeps its visibility, unless its text is hidden.
    """
    start, end = _same_hours(event, current)
    title = _cut(event.text) or ""
    place = _cut(event.ort)
    if event.anonymised:
        title = ANONYMISED_TITLE
        place = None
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
            },
        },
    }
    if event.all_day:
        # An absence blocks its days; else it would not be read as one again.
        body["transparency"] = "opaque"
    return body | _visibility(event, current, is_own=is_own)


def _visibility(
    event: NormalisedEvent,
    current: GoogleEvent | None,
    *,
    is_own: bool,
) -> dict[str, str]:
    """The visibility to be written; nothing if a person's own event keeps the one that it has."""
    if event.anonymised:
        return {"visibility": "private"}
    if is_own or _was_anonymised(current):
        return {"visibility": "default"}
    return {}


def _was_anonymised(current: GoogleEvent | None) -> bool:
    if current is None:
        return False
    return private_properties(current.record).get(PROPERTY_ANONYMISED) == "1"


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
    event: NormalisedEvent,
    fr_nr: int | None,
    sync_id: UUID,
    *,
    is_own: bool,
) -> dict[str, Any]:
    """The body of a patch that leaves times and series of an event as they are; arguments as of `google_body`."""
    if event.anonymised or fr_nr is None:
        return hide_body(fr_nr, sync_id)
    whole = google_body(event, fr_nr, sync_id, is_own=is_own)
    names = (*GOOGLE_NAMES.values(), "visibility", "extendedProperties")
    body = only(whole, names)
    if not is_own:
        body["visibility"] = "default"
    return body


def unmark_body() -> dict[str, Any]:
    """The body of a patch that takes our properties off an event; in a patch null removes a property."""
    return {"extendedProperties": {"private": dict.fromkeys(PROPERTIES)}}


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= GOOGLE_LENGTH:
        return text
    return text[: GOOGLE_LENGTH - len(ELLIPSIS)] + ELLIPSIS


def _description(event: NormalisedEvent, current: GoogleEvent | None) -> str | None:
    if event.anonymised or event.notiz is None:
        return None
    wanted = fitting_description(event.notiz)
    if current is None or current.cancelled:
        return wanted
    written = current.record.get(GOOGLE_NAMES["notiz"])
    if isinstance(written, str) and _reads_as(current, wanted):
        return written
    return wanted


def _reads_as(current: GoogleEvent, description: str) -> bool:
    """Whether the description that is there says the same."""
    present = google_texts(current.record)
    wanted = text_of_description(description)
    return present["notiz"] == normalise_text(wanted)


def _content_of(current: GoogleEvent | None) -> NormalisedEvent | None:
    event = current.event if current is not None else None
    if isinstance(event, Untranslatable):
        return event.part
    return event


def _same_hours(
    event: NormalisedEvent,
    current: GoogleEvent | None,
) -> tuple[datetime | date, datetime | date]:
    """Start and end, in the second of two equal hours if the event lies there already."""
    start = event.start
    end = event.end
    present = _content_of(current)
    if present is None:
        return start, end
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        return start, end
    start = _in_same_hour(start, present.start)
    end = _in_same_hour(end, present.end, start.fold)
    return start, end


def _in_same_hour(
    moment: datetime,
    present: datetime | date,
    start_fold: int = 0,
) -> datetime:
    """The moment, in the second of two equal hours if the present one of that day, or the start, lies there."""
    if not isinstance(present, datetime) or present.date() != moment.date():
        return moment
    return _existing_fold(moment, max(start_fold, present.fold))


def _existing_fold(moment: datetime, fold: int) -> datetime:
    """The moment with that fold, if it exists twice."""
    first = moment.replace(fold=0)
    wanted = moment.replace(fold=fold)
    exists_twice = wanted.utcoffset() != first.utcoffset()
    if exists_twice:
        return wanted
    return first


def _kept_zone(event: NormalisedEvent, current: GoogleEvent | None, which: str) -> str:
    """The time zone in which a person entered the event; of a series only if its clock is Berlin's."""
    if current is None:
        return ZONE
    times = current.record.get(which)
    if not isinstance(times, Mapping):
        return ZONE
    name = times.get("timeZone")
    if not isinstance(name, str) or time_zone(name) is None:
        return ZONE
    if event.recurrence is None:
        return name
    if has_berlins_clock(name, event.first_day, event.last_day):
        return name
    return ZONE


def _google_moment(moment: datetime | date, zone: str) -> dict[str, Any]:
    if isinstance(moment, datetime):
        # Until 1893 Berlin's clocks differed by seconds, which an offset cannot say; the time zone can.
        has_offset = (moment.utcoffset() or timedelta()).seconds % 60 == 0
        written = moment if has_offset else by_the_clock(moment)
        return {
            "dateTime": written.isoformat(),
            "timeZone": zone if has_offset else ZONE,
            "date": None,
        }
    return {"date": moment.isoformat(), "dateTime": None, "timeZone": None}
