"""What records of both sides say, compared with each other and as a row remembers it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.calendar_sync.model import (
    TERMIN_PREFIX,
    Fingerprint,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    Termin,
    Untranslatable,
    content_hash,
    is_anonymised_hash,
    normalise_text,
    uncompared,
)
from services.calendar_sync.store import Intent

#: How far Advoware's clock may be behind this machine's when we look for what an interrupted create has left.
CLOCK_TOLERANCE = timedelta(minutes=5)


def content_of(termin: Termin) -> NormalisedEvent | None:
    """What a Termin says, as far as it can be held."""
    event = termin.event
    if isinstance(event, Untranslatable):
        return event.part
    return event


def says_the_same(one: Termin, other: Termin) -> bool:
    """Whether two answers are the same appointment, unchanged, and of the same employees."""
    if one.anwalt != other.anwalt:
        return False
    first = one.event
    second = other.event
    if isinstance(first, Untranslatable) or isinstance(second, Untranslatable):
        return first == second
    return content_hash(first) == content_hash(second)


def shows(google: GoogleEvent, event: NormalisedEvent) -> bool:
    """Whether an event shows this, and nothing else."""
    if google.has_foreign_text:
        return False
    return content_hash(google.event) == content_hash(event)


def why_untranslatable(termin: Termin, google: GoogleEvent) -> str | None:
    """Why a pair of these two is left alone; None if it is not."""
    if isinstance(termin.event, Untranslatable):
        return TERMIN_PREFIX + termin.event.reason
    if isinstance(google.event, Untranslatable):
        return google.event.reason
    return None


# -- what an interrupted create may have left -----------------------------------------------------------------------


def may_be_created_by(intent: Intent, termin: Termin) -> bool:
    """Whether a create may have left this Termin, by its time of change and its day."""
    return is_changed_since(intent, termin) and is_on_day_of(intent, termin)


def is_on_day_of(intent: Intent, termin: Termin) -> bool:
    """Whether a Termin begins on the day of what was sent, as far as its day is known."""
    event = content_of(termin)
    return event is None or event.first_day == intent.first_day


def is_changed_since(intent: Intent, termin: Termin) -> bool:
    """Whether a Termin sent for this employee, or of no known one, may have been changed since the create began."""
    if termin.fr_nr < 0:
        return False
    if termin.anwalt is not None and not is_sent_for(intent, termin):
        return False
    if termin.changed_at is None:
        return True
    earliest = intent.started_at - CLOCK_TOLERANCE
    return termin.changed_at >= earliest


def is_sent_for(intent: Intent, termin: Termin) -> bool:
    """Whether a Termin is the employee's of the create, or was handed on: ``sb`` still names him then."""
    sb = normalise_text(termin.record.get("sb"))
    return intent.employee_kuerzel in {termin.anwalt, sb}


def is_read_in_part(termin: Termin) -> bool:
    """Whether a part of its content is unknown, so that it cannot be distinguished from another; people give titles."""
    return isinstance(termin.event, Untranslatable) or termin.event.text is None


def resembles(sent: NormalisedEvent, termin: Termin) -> bool:
    """Whether a Termin is at the time of the sent event, or bears its title, however the other is shown."""
    content = content_of(termin)
    if content is None:
        return False
    if content.timing == sent.timing:
        return True
    if content.text is None:
        return sent.text is None and content.timing[0] == sent.timing[0]
    return _is_rest_of(sent.text, content.text)


def is_altered(sent: NormalisedEvent, stored: NormalisedEvent | None) -> bool:
    """Whether it is at the same time, and each text is what is left of the one that was sent."""
    if stored is None or stored.timing != sent.timing:
        return False
    if bool(stored.text) != bool(sent.text):
        return False
    return (
        _is_rest_of(sent.text, stored.text)
        and _is_rest_of(sent.notiz, stored.notiz)
        and _is_rest_of(sent.ort, stored.ort)
    )


def _is_rest_of(sent: str | None, stored: str | None) -> bool:
    """Whether a text was cut, or written in capitals."""
    return (sent or "").casefold().startswith((stored or "").casefold())


# -- as a row remembers it ------------------------------------------------------------------------------------------


def as_observed(pair: Pair, termin: Termin | None, google: GoogleEvent | None) -> Pair:
    """The row with what both sides say, as far as they are given."""
    if termin is not None:
        pair = _with_termin(pair, termin)
    if google is not None and not google.cancelled:
        pair = _with_event(pair, google)
    return pair


def _with_termin(pair: Pair, termin: Termin) -> Pair:
    event = content_of(termin)
    if event is None:
        return pair
    # The hash of a Termin of which a text is unknown shows only whether it says something else by now.
    content = content_hash(termin.event)
    fingerprint = Fingerprint(content, termin.changed_at, termin.row_id)
    first_day = event.first_day
    last_day = event.last_day
    return replace(pair, advoware=fingerprint, first_day=first_day, last_day=last_day)


def _with_event(pair: Pair, google: GoogleEvent) -> Pair:
    fingerprint = fingerprint_of(google)
    pair = replace(pair, google=fingerprint)
    is_readable = google.shows_text and not is_anonymised_hash(fingerprint.content_hash)
    if pair.source_system == "google" and is_readable:
        pair = replace(pair, persons_private=google.is_private)
    return pair


def fingerprint_of(google: GoogleEvent, *, is_edited: bool = False) -> Fingerprint:
    """What a row remembers of an event; ``is_edited``: with an edit that is still to be compared."""
    content = content_hash(google.event)
    if is_edited:
        content = uncompared(content)
    return Fingerprint(content, google.updated, google.etag)


def days_of(google: GoogleEvent) -> dict[str, Any]:
    """The days of an event, as fields of a row; none if they are unknown."""
    if isinstance(google.event, Untranslatable):
        return {}
    return {"first_day": google.event.first_day, "last_day": google.event.last_day}


def synced(pair: Pair) -> Pair:
    """The row of which all is well."""
    return replace(pair, sync_status="synced", error=None, attempts=0)


def without_event(pair: Pair) -> Pair:
    """The row that has to get another event."""
    return replace(
        pair,
        google_event_id=None,
        google=Fingerprint(),
        sync_status="pending",
        error=None,
    )
