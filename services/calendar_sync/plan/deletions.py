"""Phase 3 of a plan: what follows from a Termin or an event being gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    TEXT_UNKNOWN,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    FollowCopy,
    GoogleEvent,
    HoldDeletions,
    ListGoogle,
    NormalisedEvent,
    Pair,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    SoftDelete,
    Termin,
    Untranslatable,
    is_anonymised_hash,
)
from services.calendar_sync.plan.comparison import Comparison
from services.calendar_sync.plan.hiding import hide_or_list
from services.calendar_sync.plan.kept import ask_what_is_lost, lost_with
from services.calendar_sync.plan.parts import (
    known_part,
    mark_untranslatable,
    plan_each,
    reason_of_termin,
    with_privacy,
)
from services.calendar_sync.plan.updates import plan_update
from services.calendar_sync.view import CalendarView

#: More deletions in one run than this share of the pairs, and than the settings say, are not believed.
MAX_DELETED_SHARE = 0.2
#: Of so many held deletions at the most each Termin is read, again in every run; of more an operator has to decide.
MAX_ASKED = 100

#: What follows from something being gone. What is created again because a list lacks it is counted like what is
#: deleted: a partial list does as much harm with the one as with the other.
Verdict = Literal[
    "soft_delete",
    "delete_google",
    "delete_advoware",
    "recreate_google",
    "recreate_advoware",
    "remember_pending",
]
Verdicts = list[tuple[Pair, Verdict]]


@dataclass(frozen=True)
class Judgement:
    """What phase 3 is to do.

    Attributes:
        verdicts: what follows for each pair of which something is missing.
        copies: events that take the place of their pairs' events, which are gone.
        held: why nothing of it is done; None: it is.
    """

    verdicts: Verdicts
    copies: dict[Pair, GoogleEvent]
    held: HoldDeletions | None

    def held_first_by(self, held: HoldDeletions | None) -> Judgement:
        """The same, held for this reason if there is one."""
        if held is None:
            return self
        return replace(self, held=held)


def judge(view: CalendarView) -> Judgement:
    """What follows from something being gone, and whether it is believed."""
    verdicts = _verdicts(view)
    copies = _followed_copies(view, verdicts)
    concerned = [pair for pair, _ in verdicts if pair not in copies]
    return Judgement(verdicts, copies, _held(view, concerned))


def plan_deletions(view: CalendarView, judgement: Judgement) -> list[Action]:
    """The actions of phase 3."""
    held = judgement.held
    if held is None:
        return list(_plan_verdicts(view, judgement))
    may_ask = held.reason == "too_many" and held.deletions <= MAX_ASKED
    pairs = [pair for pair, _ in judgement.verdicts]
    hidden = plan_each(pairs, lambda pair: _hide_held(view, pair, may_ask=may_ask))
    return [held, *hidden]


def _plan_verdicts(view: CalendarView, judgement: Judgement) -> Iterator[Action]:
    by_pair = dict(judgement.verdicts)

    def plan_one(pair: Pair) -> Iterator[Action]:
        return _plan_verdict(view, pair, by_pair[pair], judgement.copies.get(pair))

    return plan_each(by_pair, plan_one)


# -- verdicts -------------------------------------------------------------------------------------------------------


def _verdicts(view: CalendarView) -> Verdicts:
    """What follows for the pairs of which something is missing, and for copies by the sync that no row knows."""
    leftovers = _leftovers(view)
    decided = {pair.sync_id for pair, _ in leftovers}
    verdicts: Verdicts = []
    for pair in view.pairs:
        if pair.sync_id in decided:
            continue
        verdict = _verdict(view, pair)
        if verdict is not None:
            verdicts.append((pair, verdict))
    return verdicts + leftovers


def _leftovers(view: CalendarView) -> Verdicts:
    """Copies by the sync that no row knows, and of whose Termin nothing is left here."""
    leftovers: Verdicts = []
    for event in view.marked:
        if view.marked_as(event) == "leftover":
            leftovers.append((view.row_of_marked(event), "delete_google"))
    return leftovers


def _verdict(view: CalendarView, pair: Pair) -> Verdict | None:
    """What happens to a pair of which something is missing, if that is confirmed; None: nothing."""
    in_advoware = view.in_advoware(pair)
    lacks_advoware = in_advoware in {"missing", "gone", "elsewhere"}
    lacks_google = view.in_google(pair) in {"missing", "gone"}
    if lacks_advoware and lacks_google:
        return _without_both(view, pair)
    if _waits_for_other_side(pair):
        return None
    if in_advoware == "elsewhere":
        return "delete_google"
    if lacks_advoware:
        return _without_termin(view, pair)
    # A copy outside of the window is not needed.
    if lacks_google and view.is_in_window(pair):
        return _without_event(view, pair)
    return None


def _without_both(view: CalendarView, pair: Pair) -> Verdict | None:
    if view.is_expected(pair):
        return "soft_delete"
    return None


def _waits_for_other_side(pair: Pair) -> bool:
    """Whether a row has only one side: it waits for the other in phase 1 or 2."""
    return pair.advoware_frnr is None or pair.google_event_id is None


def _without_termin(view: CalendarView, pair: Pair) -> Verdict | None:
    source_wins = pair.sync_strategy == "source_system_wins"
    follows_google = source_wins and pair.source_system == "google"
    if not follows_google:
        return "delete_google"
    if not view.is_in_window(pair):
        return None
    if view.may_write(pair):
        return "recreate_advoware"
    return "remember_pending"


def _without_event(view: CalendarView, pair: Pair) -> Verdict:
    last_change_wins = pair.sync_strategy == "last_change_wins"
    follows_google = last_change_wins or pair.source_system == "google"
    may_delete = view.may_write(pair) and not view.is_for_all_employees(pair)
    if follows_google and may_delete:
        return "delete_advoware"
    return "recreate_google"


def _followed_copies(view: CalendarView, verdicts: Verdicts) -> dict[Pair, GoogleEvent]:
    """Events that take the place of their pairs' events, which are gone.

    A person's copy does, so that no Termin is deleted with its original. One that we have made ourselves under another
    id of the Termin is its event as well: a run was interrupted, or a backup of the table was put back.
    """
    own_copies = _own_copies(view)
    copies: dict[Pair, GoogleEvent] = {}
    for pair, verdict in verdicts:
        copy = _copy_of(view, pair, verdict, own_copies)
        if copy is not None:
            copies[pair] = copy
    return copies


def _own_copies(view: CalendarView) -> dict[int | None, GoogleEvent]:
    """The events that we have made and no row knows, by their Termin; of several the first."""
    copies: dict[int | None, GoogleEvent] = {}
    for event in reversed(view.marked):
        if view.may_be_leftover(event):
            copies[event.fr_nr] = event
    return copies


def _copy_of(
    view: CalendarView,
    pair: Pair,
    verdict: Verdict,
    own_copies: Mapping[int | None, GoogleEvent],
) -> GoogleEvent | None:
    """The event that takes the place of the pair's."""
    copy = None
    if verdict in {"delete_advoware", "recreate_google"}:
        copy = own_copies.get(pair.advoware_frnr)
    if copy is None and verdict == "delete_advoware":
        copy = _persons_copy(view, pair)
    return copy


def _persons_copy(view: CalendarView, pair: Pair) -> GoogleEvent | None:
    """The first of the events that name this pair."""
    named = [event for event in view.marked if event.sync_id == pair.sync_id]
    return min(named, key=lambda event: event.id, default=None)


# -- deletions that are held ----------------------------------------------------------------------------------------


def _held(view: CalendarView, concerned: Sequence[Pair]) -> HoldDeletions | None:
    """Why phase 3 may not go on, None if it may."""
    settings = view.settings
    number = len(concerned)
    live_pairs = len(view.pairs)
    sync_ids = tuple(pair.sync_id for pair in concerned)
    if settings.released.issuperset(sync_ids):
        return None
    if concerned and _lacks_all_termine(view):
        return HoldDeletions("advoware_empty", number, live_pairs, sync_ids)
    if number > max(settings.max_deletions, MAX_DELETED_SHARE * live_pairs):
        return HoldDeletions("too_many", number, live_pairs, sync_ids)
    return None


def _lacks_all_termine(view: CalendarView) -> bool:
    """Whether Advoware lists no Termine at all, and should list more than may be deleted."""
    if not view.advoware_is_empty:
        return False
    expected = sum(_is_expected_termin(view, pair) for pair in view.pairs)
    return expected > view.settings.max_deletions


def _is_expected_termin(view: CalendarView, pair: Pair) -> bool:
    return pair.advoware_frnr is not None and view.is_expected(pair)


def _hide_held(view: CalendarView, pair: Pair, *, may_ask: bool) -> Iterator[Action]:
    """An appointment that may have to go, and waits for an operator: its text does not wait.

    Whether it is private or another employee's by now only a direct read shows. What phase 4 hides as well, because it
    is a pair that is not another employee's, is left to that.
    """
    if not _shows_text_in_google(view, pair):
        return
    if view.in_advoware(pair) == "missing" and may_ask:
        yield ConfirmAdvoware(pair)
    if _must_hide_held(view, pair):
        yield hide_or_list(view, pair)


def _shows_text_in_google(view: CalendarView, pair: Pair) -> bool:
    is_in_google = view.in_google(pair) in {"present", "unchanged"}
    return is_in_google and view.shows_text(pair)


def _must_hide_held(view: CalendarView, pair: Pair) -> bool:
    """Whether it is another employee's by now, or a leftover that may show no text."""
    if view.in_advoware(pair) == "elsewhere":
        return True
    is_leftover = pair.google_event_id not in view.by_event
    return is_leftover and view.must_hide(pair)


def ask_whose_they_are(view: CalendarView) -> Iterator[Action]:
    """Read the Termine of events that are over and show a text: one may have been handed on.

    Nothing else follows from their absence in the list, which contains them once a day, so nothing else asks for them.
    """
    asked = [pair for pair in view.pairs if _may_be_anothers(view, pair)]
    for pair in asked[:MAX_ASKED]:
        yield ConfirmAdvoware(pair)


def _may_be_anothers(view: CalendarView, pair: Pair) -> bool:
    is_missing = view.in_advoware(pair) == "missing"
    return is_missing and not view.is_in_window(pair) and view.shows_text(pair)


# -- actions --------------------------------------------------------------------------------------------------------


def _plan_verdict(
    view: CalendarView,
    pair: Pair,
    verdict: Verdict,
    copy: GoogleEvent | None,
) -> Iterator[Action]:
    questions = list(_questions(view, pair, verdict))
    if questions:
        yield from questions
        return
    if verdict == "soft_delete":
        yield SoftDelete(pair)
    elif verdict == "delete_google":
        yield _delete_google(view, pair)
    elif copy is not None:
        yield FollowCopy(pair, copy)
        yield from plan_update(view, replace(pair, google_event_id=copy.id))
    elif verdict in {"delete_advoware", "recreate_google"}:
        yield from _follow_termin(view, pair, verdict)
    else:
        yield from _recreate_advoware(view, pair, verdict)


def _questions(view: CalendarView, pair: Pair, verdict: Verdict) -> Iterator[Action]:
    """The direct reads that have to come first."""
    # A row without event is nothing that could be lost: its Termin, should it be there after all, is new again.
    if view.in_advoware(pair) == "missing" and pair.google_event_id is not None:
        yield ConfirmAdvoware(pair)
    if _must_read_event(view, pair, verdict):
        yield ConfirmGoogle(pair)
    elif verdict == "delete_google":
        yield from ask_what_is_lost(view, pair)
    elif verdict == "soft_delete" and view.may_have_left_its_event(pair):
        yield ListGoogle(pair)


def _must_read_event(view: CalendarView, pair: Pair, verdict: Verdict) -> bool:
    in_google = view.in_google(pair)
    # An incremental listing does not have the content that is to be created again.
    needs_content = verdict in {"recreate_advoware", "remember_pending"}
    return in_google == "missing" or (in_google == "unchanged" and needs_content)


def _delete_google(view: CalendarView, pair: Pair) -> DeleteGoogle:
    reason = "deleted in Advoware"
    if view.in_advoware(pair) == "elsewhere":
        reason = "reassigned"
    google = view.events.get(pair.google_event_id or "")
    if google is None:
        return DeleteGoogle(pair, pair.google.etag, reason)
    return DeleteGoogle(pair, google.etag, reason, lost_with(view, pair, google))


def _follow_termin(
    view: CalendarView,
    pair: Pair,
    verdict: Verdict,
) -> Iterator[Action]:
    """The event is gone, and its Termin is there: it goes as well, or gets another event."""
    termin = view.termine.get(pair.advoware_frnr or 0)
    if termin is None:
        return
    if verdict == "delete_advoware":
        undone = _unseen_content(view, pair, termin)
        yield DeleteAdvoware(pair, termin, "deleted in Google", undone)
    else:
        yield from _recreate_google(view, pair, termin)


def _unseen_content(
    view: CalendarView,
    pair: Pair,
    termin: Termin,
) -> NormalisedEvent | None:
    """The Termin, if a person has edited it since it was compared: who deleted its event did not know that."""
    content = known_part(termin)
    if content is None:
        return None
    return Comparison(view, pair, termin, content, None).unseen_in_advoware


def _recreate_google(
    view: CalendarView,
    pair: Pair,
    termin: Termin,
) -> Iterator[Action]:
    event = known_part(termin)
    if event is None:
        yield from mark_untranslatable(reason_of_termin(termin), pair)
        return
    calendar_id = view.settings.calendar_id
    event_id = pair.google_event_id or google_event_id(termin.fr_nr, calendar_id)
    shown = view.settings.shown(event, persons_private=pair.persons_private)
    yield RecreateGoogle(pair, termin, event_id, shown)


def _recreate_advoware(
    view: CalendarView,
    pair: Pair,
    verdict: Verdict,
) -> Iterator[Action]:
    google = view.events.get(pair.google_event_id or "")
    if google is None:
        return
    event = google.event
    if isinstance(event, Untranslatable):
        yield from mark_untranslatable(event.reason, pair)
    elif _is_text_hidden(pair, event):
        yield from mark_untranslatable(TEXT_UNKNOWN, pair)
    elif verdict == "recreate_advoware":
        event = with_privacy(view, google, event)
        shown = view.settings.shown(event, persons_private=view.persons_private(pair))
        yield RecreateAdvoware(pair, google, event, shown)
    else:
        yield RememberPending(google, pair)


def _is_text_hidden(pair: Pair, event: NormalisedEvent) -> bool:
    return event.anonymised or is_anonymised_hash(pair.google.content_hash)
