"""Texts that Google must not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.calendar_sync.model import (
    Action,
    GoogleEvent,
    HideGoogle,
    ListGoogle,
    NormalisedEvent,
    Pair,
)
from services.calendar_sync.plan.kept import (
    ask_what_is_lost,
    is_edited,
    may_have_unjudged_edit,
    says_more,
)
from services.calendar_sync.view import CalendarView


def hide_if_needed(view: CalendarView, pair: Pair) -> Iterator[Action]:
    """Hide the texts of a pair's event that shows some and must not."""
    if view.must_hide(pair) and view.shows_text(pair):
        yield hide_or_list(view, pair)


def hide_or_list(view: CalendarView, pair: Pair) -> Action:
    """Hide all texts of the event; its occurrences have to be known for that, and what is lost by it."""
    if view.has_unlisted_occurrences(pair):
        return ListGoogle(pair)
    return next(ask_what_is_lost(view, pair), hide(view, pair))


def hide(view: CalendarView, pair: Pair) -> HideGoogle:
    """Hide the texts of the event, and of those of its occurrences that are listed."""
    event_id = pair.google_event_id or ""
    google = view.events.get(event_id)
    occurrences = occurrences_with_text(view, event_id)
    undone = list(occurrences)
    etag = pair.google.etag
    has_edit = False
    if google is not None:
        etag = google.etag
        has_edit = is_edited(pair, google)
    if google is not None and says_more(pair, google):
        undone.insert(0, google)
    # Once it is hidden, it cannot be known any more that its owner wanted it private.
    pair = replace(pair, persons_private=view.persons_private(pair))
    has_unjudged_edit = has_edit or may_have_unjudged_edit(pair)
    return HideGoogle(
        pair,
        etag,
        tuple(occurrences),
        tuple(undone),
        has_unjudged_edit,
        view.may_show_unlisted(pair),
    )


def hidden_with(
    view: CalendarView,
    google: GoogleEvent,
    shown: NormalisedEvent,
) -> tuple[GoogleEvent, ...]:
    """The occurrences that have to be hidden with a series that shows this."""
    if not shown.anonymised:
        return ()
    return tuple(occurrences_with_text(view, google.id))


def occurrences_with_text(view: CalendarView, event_id: str) -> list[GoogleEvent]:
    """The listed occurrences of a series that show a text."""
    listed = view.occurrences.get(event_id, ())
    return [item for item in listed if item.shows_text]
