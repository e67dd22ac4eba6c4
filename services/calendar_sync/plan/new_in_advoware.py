"""Phase 1 of a plan: Termine without an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    Action,
    AdoptGoogle,
    GoogleEvent,
    InsertGoogle,
    ListGoogle,
    NormalisedEvent,
    Pair,
    SoftDelete,
    SourceSystem,
    Termin,
    content_hash,
)
from services.calendar_sync.plan.comparison import Comparison
from services.calendar_sync.plan.parts import (
    known_part,
    mark_untranslatable,
    reason_of_termin,
)
from services.calendar_sync.view import CalendarView


@dataclass
class _Candidates:
    """Events without a Termin that may be those of the unpaired Termine.

    Attributes:
        by_fr_nr: events of the sync that an earlier run did not get to remember.
        by_content: people's events, by what they say.
    """

    by_fr_nr: dict[int, GoogleEvent] = field(default_factory=dict)
    by_content: dict[str, list[GoogleEvent]] = field(default_factory=dict)

    def add_persons(self, event: GoogleEvent) -> None:
        """Add a person's event, if it shows what it is about."""
        content = event.event
        if isinstance(content, NormalisedEvent) and not content.anonymised:
            self.by_content.setdefault(content_hash(content), []).append(event)

    def take(self, termin: Termin) -> GoogleEvent | None:
        """The event of a Termin; a person's event is taken once only."""
        if termin.fr_nr in self.by_fr_nr:
            return self.by_fr_nr[termin.fr_nr]
        same_content = self.by_content.get(content_hash(termin.event))
        if not same_content:
            return None
        return same_content.pop(0)


def plan_new_in_advoware(view: CalendarView, claimed: set[str]) -> Iterator[Action]:
    """Termine without an event. The ids of the events that they get are added to ``claimed``."""
    unpaired = _unpaired_termine(view)
    if not unpaired:
        return
    candidates = _candidates(view, unpaired, claimed)
    for fr_nr, termin in unpaired.items():
        # A person's event may be the original of an undecided one; a copy by the sync would be the second event.
        if fr_nr not in view.past.undecided:
            yield from _plan_termin(view, termin, candidates, claimed)


def _unpaired_termine(view: CalendarView) -> dict[int, Termin]:
    unpaired: dict[int, Termin] = {}
    for fr_nr, termin in sorted(view.termine.items()):
        pair = view.by_fr_nr.get(fr_nr)
        if pair is None or pair.google_event_id is None:
            unpaired[fr_nr] = termin
    return unpaired


def _plan_termin(
    view: CalendarView,
    termin: Termin,
    candidates: _Candidates,
    claimed: set[str],
) -> Iterator[Action]:
    pair = view.by_fr_nr.get(termin.fr_nr)
    event = known_part(termin)
    if event is None:
        reason = reason_of_termin(termin)
        yield from mark_untranslatable(reason, pair, termin=termin)
        return
    if termin.fr_nr not in candidates.by_fr_nr and not view.in_window(event):
        return
    if pair is not None and view.may_have_left_its_event(pair):
        yield ListGoogle(pair)
        return
    google = candidates.take(termin)
    if google is None:
        event_id = google_event_id(termin.fr_nr, view.settings.calendar_id)
        yield InsertGoogle(termin, event_id, view.settings.shown(event), pair)
        return
    claimed.add(google.id)
    if pair is not None and _was_to_be_replaced(view, google, pair):
        yield _replace(view, termin, event, google, pair)
    else:
        yield from _adopt(view, termin, event, google, pair)


def _was_to_be_replaced(view: CalendarView, google: GoogleEvent, pair: Pair) -> bool:
    """Whether a run has ended after it had unlinked the row from this series, to put another one in its place."""
    return google.sync_id == pair.sync_id and google.id in view.occurrences


def _replace(
    view: CalendarView,
    termin: Termin,
    event: NormalisedEvent,
    google: GoogleEvent,
    pair: Pair,
) -> Action:
    """Put another series in its place after all; what persons have made of this one since is kept."""
    linked = replace(pair, google_event_id=google.id)
    return Comparison(view, linked, termin, event, google).replace_google(google)


def _candidates(
    view: CalendarView,
    unpaired: dict[int, Termin],
    claimed: set[str],
) -> _Candidates:
    candidates = _Candidates()
    for event in sorted(view.events.values(), key=lambda event: event.id):
        if event.id in claimed or view.has_termin(event):
            continue
        _add_candidate(view, candidates, unpaired, event)
    return candidates


def _add_candidate(
    view: CalendarView,
    candidates: _Candidates,
    unpaired: dict[int, Termin],
    event: GoogleEvent,
) -> None:
    # Its id says whose event it is, also if a row waits with it as with a person's.
    named = view.termin_of_id(event.id)
    if named in unpaired:
        candidates.by_fr_nr[named] = event
    elif event.fr_nr in unpaired and event.id not in view.by_event:
        _add_marked(view, candidates, event.fr_nr, event)
    else:
        candidates.add_persons(event)


def _add_marked(
    view: CalendarView,
    candidates: _Candidates,
    fr_nr: int,
    event: GoogleEvent,
) -> None:
    """An event that names a Termin; of several the one that a row waits for, else the first."""
    if fr_nr not in candidates.by_fr_nr or _is_awaited(view, event):
        candidates.by_fr_nr[fr_nr] = event


def _is_awaited(view: CalendarView, event: GoogleEvent) -> bool:
    """Whether a row without event is the one that this event names."""
    pair = view.by_fr_nr.get(event.fr_nr or 0)
    return pair is not None and pair.sync_id == event.sync_id


def _adopt(
    view: CalendarView,
    termin: Termin,
    event: NormalisedEvent,
    google: GoogleEvent,
    pair: Pair | None,
) -> Iterator[Action]:
    """Make a pair of a Termin and an event that is there already.

    A person's event with the Termin's content is either our own POST before a crash, or was entered twice by people.
    """
    source = _source(view, termin, google)
    is_kept_private = source == "google" and google.is_private
    shown = view.settings.shown(event, persons_private=is_kept_private)
    waiting = view.by_event.get(google.id)
    if waiting is not None and pair is not None and waiting.sync_id != pair.sync_id:
        yield SoftDelete(pair)  # first: a Termin has one live row
    write = _has_to_be_written(view, termin, google, shown)
    yield AdoptGoogle(termin, google, shown, source, write, waiting or pair)


def _source(view: CalendarView, termin: Termin, google: GoogleEvent) -> SourceSystem:
    """Where the event comes from: the sync's own shows the Termin, a person's is the Termin's original."""
    is_own_copy = google.fr_nr is not None or view.termin_of_id(google.id) is not None
    if is_own_copy or termin.is_for_all_employees or not view.may_post():
        return "advoware"
    return "google"


def _has_to_be_written(
    view: CalendarView,
    termin: Termin,
    google: GoogleEvent,
    shown: NormalisedEvent,
) -> bool:
    # Occurrences that were changed cannot be written away: once it is a pair, the event is replaced.
    if google.id in view.occurrences:
        return False
    has_same_content = content_hash(shown) == content_hash(google.event)
    is_marked = google.fr_nr == termin.fr_nr and google.id not in view.unmarked
    is_equal = is_marked and has_same_content
    return not is_equal or google.has_foreign_text
