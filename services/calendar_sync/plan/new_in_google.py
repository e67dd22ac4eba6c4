"""Phase 2 of a plan: people's events without a Termin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.calendar_sync.mapping import is_inserted_by_sync
from services.calendar_sync.model import (
    ANONYMISED_TITLE,
    TEXT_UNKNOWN,
    TEXTS,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    PostAdvoware,
    RememberPending,
    TakeMarksOff,
    Termin,
)
from services.calendar_sync.plan.hiding import hidden_with, hide
from services.calendar_sync.plan.parts import (
    known_part,
    mark_untranslatable,
    with_privacy,
)
from services.calendar_sync.view import CalendarView, MarkedAs, is_placeholder


def plan_new_in_google(view: CalendarView, claimed: set[str]) -> Iterator[Action]:
    """People's events without a Termin, those among them that carry our marks by a copy."""
    marked = {event.id: view.marked_as(event) for event in view.marked}
    for event_id, google in sorted(view.events.items()):
        if event_id in claimed or view.has_termin(google):
            continue
        kind = marked.get(event_id, "persons")
        yield from _plan_event(view, google, kind)
    if view.may_post():
        yield from _ask_for_unlisted(view)


def _plan_event(
    view: CalendarView,
    google: GoogleEvent,
    kind: MarkedAs,
) -> Iterator[Action]:
    if kind == "unknown":
        yield ConfirmAdvoware(view.row_of_marked(google))
    elif kind == "persons":
        yield from _plan_persons_event(view, google)


def _ask_for_unlisted(view: CalendarView) -> Iterator[Action]:
    """Events that wait for their Termin, and are not in an incremental listing."""
    for pair in view.pairs:
        is_waiting = pair.advoware_frnr is None and not pair.untranslatable
        if is_waiting and view.in_google(pair) == "unchanged":
            yield ConfirmGoogle(pair)


def _plan_persons_event(view: CalendarView, google: GoogleEvent) -> Iterator[Action]:
    event = google.event
    pair = view.by_event.get(google.id)
    origin = _hidden_origin(view, google)
    if isinstance(event, NormalisedEvent) and origin is not None:
        yield from _plan_hidden_copy(view, google, event, origin, pair)
    elif pair is None and _is_hidden_where_it_is(view, google):
        yield hide(view, view.row_of_marked(google))
    elif pair is None and origin is None and _has_marks_to_remove(view, google):
        yield from _remove_marks(view, google)
    else:
        yield from _plan_persons_own(view, google, pair)


def _plan_persons_own(
    view: CalendarView,
    google: GoogleEvent,
    pair: Pair | None,
) -> Iterator[Action]:
    event = google.event
    if not isinstance(event, NormalisedEvent):
        yield from mark_untranslatable(event.reason, pair, google=google)
    elif event.anonymised or _looks_hidden(google, event):
        yield from mark_untranslatable(TEXT_UNKNOWN, pair, google=google)
    elif view.in_window(event):
        yield from _plan_readable(view, google, event, pair)


def _hidden_origin(view: CalendarView, google: GoogleEvent) -> int | None:
    """The Termin of whose hidden event this one is a copy."""
    if not view.is_hidden_copy(google):
        return None
    return view.origin_of(google)


def _is_hidden_where_it_is(view: CalendarView, google: GoogleEvent) -> bool:
    """Whether an event of the sync that a person has moved here shows what it must not.

    Outside the window it becomes no Termin, whose event would be hidden.
    """
    if not _is_own_outside_window(view, google):
        return False
    row = view.row_of_marked(google)
    return view.must_hide(row) and view.shows_text(row)


def _is_own_outside_window(view: CalendarView, google: GoogleEvent) -> bool:
    event = google.event
    if not is_inserted_by_sync(google.id):
        return False
    return isinstance(event, NormalisedEvent) and not view.in_window(event)


def _remove_marks(view: CalendarView, google: GoogleEvent) -> Iterator[Action]:
    """Without our marks it is listed again, as a person's event."""
    event = google.event
    if not isinstance(event, NormalisedEvent) or view.in_window(event):
        yield TakeMarksOff(google)


def _plan_readable(
    view: CalendarView,
    google: GoogleEvent,
    event: NormalisedEvent,
    pair: Pair | None,
) -> Iterator[Action]:
    if not view.may_post():
        if pair is None or pair.untranslatable:
            yield RememberPending(google, pair)
    elif _may_lack_its_title(view, google, event):
        yield ConfirmGoogle(pair or view.row_of_marked(google))
    else:
        event = with_privacy(view, google, event)
        shown = view.settings.shown(event, persons_private=google.is_private)
        yield PostAdvoware(
            google,
            event,
            shown,
            pair,
            hidden_with(view, google, shown),
        )


def _may_lack_its_title(
    view: CalendarView,
    google: GoogleEvent,
    event: NormalisedEvent,
) -> bool:
    """Whether a list shows no title; a direct read says whether there is one, which else only Google would know."""
    return event.text is None and google.id not in view.confirmed.events


def _has_marks_to_remove(view: CalendarView, google: GoogleEvent) -> bool:
    """Whether it carries our marks, and no POST will write others over them."""
    event = google.event
    is_readable = isinstance(event, NormalisedEvent) and not event.anonymised
    is_posted = is_readable and view.may_post()
    return google.fr_nr is not None and not is_posted


def _looks_hidden(google: GoogleEvent, event: NormalisedEvent) -> bool:
    """Whether it looks like a copy of a hidden event that has lost our marks."""
    has_our_title = event.text == ANONYMISED_TITLE
    return is_placeholder(google) and google.is_private and has_our_title


def _plan_hidden_copy(
    view: CalendarView,
    google: GoogleEvent,
    event: NormalisedEvent,
    origin: int,
    pair: Pair | None,
) -> Iterator[Action]:
    """A person's copy of an event whose text we hide: what it says, only the Termin of the original knows."""
    if not view.in_window(event):
        return
    if not view.is_asked(origin):
        yield ConfirmAdvoware(view.row_of_marked(google))
        return
    whole = _whole_copy(view, event, origin)
    if whole is None:
        yield from mark_untranslatable(TEXT_UNKNOWN, pair, google=google)
        return
    shown = view.settings.shown(whole)
    yield PostAdvoware(google, whole, shown, pair)


def _whole_copy(
    view: CalendarView,
    event: NormalisedEvent,
    origin: int,
) -> NormalisedEvent | None:
    """The copy with the texts of the original; None: they are not known, or must not be written."""
    termin = view.termine.get(origin) or view.elsewhere.get(origin)
    if termin is None or not view.may_post():
        return None
    return _with_texts_of(termin, event)


def _with_texts_of(termin: Termin, event: NormalisedEvent) -> NormalisedEvent | None:
    """The event with the texts of the Termin; None: they are not known."""
    original = known_part(termin)
    if original is None:
        return None
    texts = {name: getattr(original, name) for name in TEXTS}
    return replace(event, **texts, anonymised=False, privat=termin.privat)
