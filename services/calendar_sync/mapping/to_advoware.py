"""Appointments, written as Termine."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from services.calendar_sync import fields
from services.calendar_sync.mapping.from_advoware import (
    read_termin,
    shows_privat,
    termin_to_event,
)
from services.calendar_sync.mapping.shared import (
    ONE_DAY,
    Record,
)
from services.calendar_sync.model import (
    END_GUESSED,
    FOR_EVER,
    NormalisedEvent,
    Untranslatable,
    day_of,
    normalise_text,
    series_end,
)


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
    texts stay in any case. What is set or not is written as Advoware takes it, 0 or 1, however it shows that.
    """
    body = {**current, **_flags(current)}
    before = termin_to_event(current)
    if isinstance(before, Untranslatable) or before.timing != event.timing:
        body.update(_times(event))
    if event.anonymised:
        return body
    for name, text in _texts(event).items():
        if normalise_text(text) != normalise_text(body.get(name)):
            body[name] = text
    return body


def with_our_times(body: Record) -> dict[str, Any] | None:
    """The same Termin with its times as we write them, for one that is not taken back as it was shown.

    None if they are written so already, or if that is not known to mean the same: an end that was guessed stays a
    guess.

    Raises:
        ValueError: it has no readable ``frNr``.
    """
    shown = read_termin(body)
    if isinstance(shown.event, Untranslatable) or END_GUESSED in shown.notes:
        return None
    rewritten = {**body, **_times(shown.event)}
    if rewritten == body or termin_to_event(rewritten) != shown.event:
        return None
    return rewritten


def _flags(current: Record) -> dict[str, int]:
    """What a Termin says of these, as 0 or 1; without those that cannot be read."""
    flags = {}
    for name in current.keys() & {"privat", "abwesenheit", "dauertermin"}:
        is_set = fields.flag(current[name])
        if is_set is not None:
            flags[name] = int(is_set)
    if not shows_privat(current):
        flags.pop("privat", None)
    return flags


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
    return event.end - ONE_DAY
