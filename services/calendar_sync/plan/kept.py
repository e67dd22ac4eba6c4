"""What of a person's would be lost with an event that is deleted, hidden or written over."""

from __future__ import annotations

from collections.abc import Iterator

from services.calendar_sync.model import (
    Action,
    ConfirmGoogle,
    GoogleEvent,
    ListGoogle,
    Pair,
    content_hash,
    has_exceptions,
    holds_more,
    is_kept_while_refused,
    is_partial_hash,
    is_same_content,
    is_uncompared,
)
from services.calendar_sync.view import CalendarView


def lost_with(
    view: CalendarView,
    pair: Pair,
    google: GoogleEvent,
) -> tuple[GoogleEvent, ...]:
    """The event and its single occurrences, if they say what Advoware does not have."""
    if not says_more(pair, google):
        return ()
    return (google, *view.occurrences.get(google.id, ()))


def says_more(pair: Pair, google: GoogleEvent) -> bool:
    """Whether the event says what Advoware does not have.

    That is text in a hidden event, an edit that no run has dealt with, and what Advoware cannot hold: whoever deletes
    the Termin, hands it on or makes it private knows of none of these. Without a Termin Advoware has nothing of it.
    """
    if (
        pair.advoware_frnr is None
        or google.has_foreign_text
        or holds_more(google.event)
    ):
        return True
    return is_edited(pair, google)


def is_edited(pair: Pair, google: GoogleEvent) -> bool:
    """Whether a person has changed the event since both sides were compared."""
    return not is_same_content(content_hash(google.event), pair.google.content_hash)


def may_have_unjudged_edit(pair: Pair) -> bool:
    """Whether what could not be read of it may be an edit as well, and be readable in the answer."""
    remembered = pair.google.content_hash
    return is_uncompared(remembered) or is_partial_hash(remembered)


def may_say_more(pair: Pair) -> bool:
    """Whether the event, as it was read last, may hold what Advoware does not have.

    What was changed since then has another etag, so that it is read before it is written.
    """
    if is_kept_while_refused(pair.untranslatable):
        return False
    if pair.advoware_frnr is None or has_exceptions(pair.untranslatable):
        return True
    return may_have_unjudged_edit(pair)


def ask_what_is_lost(view: CalendarView, pair: Pair) -> Iterator[Action]:
    """Read what an incremental list does not show of an event that goes and may say more than Advoware."""
    if not may_say_more(pair):
        return
    if view.has_unlisted_occurrences(pair):
        yield ListGoogle(pair)
    elif view.in_google(pair) == "unchanged":
        yield ConfirmGoogle(pair)
