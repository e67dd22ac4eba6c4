"""Phase 4 of a plan: pairs of which both sides are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from services.calendar_sync.model import (
    OTHER_TIMES,
    SHOWN_OTHERWISE,
    TERMIN_PREFIX,
    WAITS_FOR_PERMISSION,
    Action,
    ConfirmAdvoware,
    ConfirmGoogle,
    Fingerprint,
    GoogleEvent,
    HideGoogle,
    ListGoogle,
    MarkUntranslatable,
    NormalisedEvent,
    Pair,
    RecordFingerprints,
    SourceSystem,
    Termin,
    Unlink,
    Untranslatable,
    UpdateAdvoware,
    UpdateGoogle,
    content_hash,
    has_exceptions,
    is_partial_hash,
    overlay,
)
from services.calendar_sync.plan.comparison import Comparison
from services.calendar_sync.plan.hiding import hidden_with, hide, hide_if_needed
from services.calendar_sync.plan.kept import is_edited
from services.calendar_sync.plan.parts import (
    known_part,
    mark_untranslatable,
    plan_each,
)
from services.calendar_sync.view import CalendarView


def unlink_deleted_when_over(view: CalendarView) -> Iterator[Action]:
    """Events outside the window that are gone: they are not needed again, and there is nothing left to hide."""
    for pair in view.pairs:
        if pair.google_event_id is None or not _is_over(view, pair):
            continue
        in_google = view.in_google(pair)
        if in_google == "missing":
            yield ConfirmGoogle(pair)
        elif in_google == "gone":
            yield Unlink(pair)


def _is_over(view: CalendarView, pair: Pair) -> bool:
    """Whether its Termin is there, and nothing of the pair lies in the window."""
    has_termin = view.in_advoware(pair) in {"present", "unlisted"}
    return has_termin and not view.is_in_window(pair)


def plan_updates(view: CalendarView) -> Iterator[Action]:
    """The actions of phase 4."""
    complete = (
        pair for pair in view.pairs if view.in_google(pair) in {"present", "unchanged"}
    )
    return plan_each(complete, lambda pair: plan_update(view, pair))


def plan_update(view: CalendarView, pair: Pair) -> Iterator[Action]:
    """What one pair needs whose event is there."""
    if pair.advoware_frnr is None:
        yield from _hide_without_termin(view, pair)
        return
    if view.is_moved_away(pair):
        return
    termin = view.termine.get(pair.advoware_frnr)
    if view.has_unseen_series(pair):
        yield ConfirmGoogle(pair)
    elif termin is not None:
        yield from _update_listed(view, pair, termin)
    elif view.in_advoware(pair) != "elsewhere":
        # Not listed: its content is not known, but what the settings hide is to be hidden all the same.
        yield from hide_if_needed(view, pair)


def _hide_without_termin(view: CalendarView, pair: Pair) -> Iterator[Action]:
    """Hide an event that becomes no Termin; with a Termin it would be hidden."""
    is_to_be_posted = view.may_post() and view.is_in_window(pair)
    if pair.untranslatable or not is_to_be_posted:
        yield from hide_if_needed(view, pair)


def _update_listed(view: CalendarView, pair: Pair, termin: Termin) -> Iterator[Action]:
    google = view.events.get(pair.google_event_id or "")
    if isinstance(termin.event, Untranslatable):
        yield from _update_from_part(view, pair, termin, termin.event, google)
        return
    found = Comparison(view, pair, termin, termin.event, google)
    if isinstance(found.google, Untranslatable):
        yield from _update_untranslatable(view, found, found.google)
    else:
        yield from _update_translatable(view, found, found.google)


# -- the Termin is not known as a whole -----------------------------------------------------------------------------


def _update_from_part(
    view: CalendarView,
    pair: Pair,
    termin: Termin,
    event: Untranslatable,
    google: GoogleEvent | None,
) -> Iterator[Action]:
    """A pair whose Termin cannot be read as a whole: where Advoware decides, what is known of it is shown."""
    reason = TERMIN_PREFIX + event.reason
    hidden = list(hide_if_needed(view, pair))
    if hidden or not _may_show_part(pair, termin, event):
        yield from mark_untranslatable(reason, pair)
        yield from hidden
    elif google is None:
        # One call, also if it is the same with all Termine.
        yield ListGoogle(pair)
    else:
        yield _write_part(view, pair, termin, event, google)


def _may_show_part(pair: Pair, termin: Termin, event: Untranslatable) -> bool:
    """Whether Advoware decides, and says something new that a copy can show."""
    is_news = content_hash(event) != pair.advoware.content_hash
    is_advowares = pair.source_system == "advoware" or termin.is_for_all_employees
    return is_news and is_advowares and known_part(termin) is not None


def _write_part(
    view: CalendarView,
    pair: Pair,
    termin: Termin,
    event: Untranslatable,
    google: GoogleEvent,
) -> Action:
    has_edit = is_edited(pair, google)
    reason = TERMIN_PREFIX + event.reason
    marked = MarkUntranslatable(reason, pair, termin, google, has_edit)
    if isinstance(google.event, Untranslatable):
        return marked
    # Unknown is not empty: such a text stays as Google has it.
    shown = overlay(google.event, event)
    if view.must_hide(pair):
        shown = shown.anonymise()
    if content_hash(shown) == content_hash(google.event):
        return marked
    undone = (google,) if has_edit else ()
    return UpdateGoogle(pair, termin, shown, google.etag, google, undone)


# -- both sides can hold it -----------------------------------------------------------------------------------------


def _update_translatable(
    view: CalendarView,
    found: Comparison,
    google: NormalisedEvent | None,
) -> Iterator[Action]:
    pair = found.pair
    if google is None and is_partial_hash(pair.advoware.content_hash):
        # Edits that were made while a text of the Termin was unknown are not listed again.
        yield ListGoogle(pair)
    elif _has_to_be_read(found):
        yield ConfirmGoogle(pair)
    elif found.is_equal or not found.is_changed:
        # Unequal and yet unchanged: a system stores what it gets in its own way. Writing again would not help.
        yield from _keep(view, found)
    else:
        yield from _follow_winner(view, found, google)


def _has_to_be_read(found: Comparison) -> bool:
    """Whether what is remembered of an event that is not listed is not enough."""
    if found.google_hash is None:
        return True
    if found.event is not None:
        return False
    untranslatable = found.pair.untranslatable
    if untranslatable == WAITS_FOR_PERMISSION:
        return True
    if has_exceptions(untranslatable):
        return _may_be_overwritten(found)
    # What Advoware cannot hold of it is written over, and has to be kept.
    return found.advoware_changed and is_partial_hash(found.pair.google.content_hash)


def _may_be_overwritten(found: Comparison) -> bool:
    """Whether the event may have to be written, although Google does not list it as changed."""
    return found.advoware_changed or found.shown.anonymised or found.belongs_to_advoware


def _keep(view: CalendarView, found: Comparison) -> Iterator[Action]:
    """Contents are as they should be; what Google shows of them may not be."""
    if found.event is None and _is_left_alone(found.pair):
        yield from _keep_left_alone(view, found)
    elif found.is_shown_wrongly:
        yield from _put_back(view, found)
    elif _may_stay_shown(view, found):
        yield ListGoogle(found.pair)
    elif found.has_other_times:
        # A person may miss an appointment by it, whatever the cause: so it is reported.
        yield from mark_untranslatable(OTHER_TIMES, found.pair)
    elif _stays_marked(found):
        return  # until both are known to agree, or one is changed
    else:
        yield from _record(found)


def _stays_marked(found: Comparison) -> bool:
    """Whether other times were reported, and the event is not listed."""
    return found.event is None and found.pair.untranslatable == OTHER_TIMES


def _keep_left_alone(view: CalendarView, found: Comparison) -> Iterator[Action]:
    pair = found.pair
    if found.may_be_shown_again and view.has_unlisted_occurrences(pair):
        yield ListGoogle(pair)
    elif found.may_be_shown_again or found.is_claimed_by_advoware:
        yield ConfirmGoogle(pair)
    yield from hide_if_needed(view, pair)


def _follow_winner(
    view: CalendarView,
    found: Comparison,
    google: NormalisedEvent | None,
) -> Iterator[Action]:
    pair = found.pair
    event = found.event
    winner = found.winner(may_write=view.may_write(pair))
    if winner == "advoware":
        yield from _put_back(view, found)
    elif winner is None:
        # The next incremental listing would not show the change again.
        yield from mark_untranslatable(WAITS_FOR_PERMISSION, pair)
        yield from hide_if_needed(view, pair)
    elif event is None or google is None:
        yield ConfirmGoogle(pair)
    else:
        yield from _follow_google(view, found, event, google)


def _follow_google(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
    google: NormalisedEvent,
) -> Iterator[Action]:
    """Copy a person's edit to Advoware; a text of the Termin that it could not show stays."""
    unseen = found.unseen_texts
    if _may_stay_shown(view, found) and _is_compared_last(view, google):
        yield ListGoogle(found.pair)
    elif found.is_cut_short:
        yield from _wait_for_texts(view, found, event)
    elif unseen:
        known = _with_texts_of(found.advoware, google, unseen)
        yield from _update_but_texts(view, found, event, known)
    elif _lacks_title(google, found.advoware):
        known = _with_title(google, found.advoware)
        yield from _update_but_texts(view, found, event, known)
    else:
        yield _update_advoware(view, found, event, google)


def _is_compared_last(view: CalendarView, google: NormalisedEvent) -> bool:
    """Whether no later run compares the event by itself: its series is hidden, or Advoware will not list its Termin."""
    return google.anonymised or not view.in_window(google)


def _may_stay_shown(view: CalendarView, found: Comparison) -> bool:
    """Whether occurrences that are not listed have to be hidden with their series."""
    return found.shown.anonymised and view.may_show_unlisted(found.pair)


def _wait_for_texts(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
) -> Iterator[Action]:
    """An edit in Google waits as long as Advoware does not show the texts that the whole record has to be sent with."""
    pair = found.pair
    if pair.advoware_frnr not in view.confirmed.termine:
        yield ConfirmAdvoware(pair)
    elif pair.untranslatable != SHOWN_OTHERWISE:
        yield MarkUntranslatable(SHOWN_OTHERWISE, pair, google=event, is_edited=True)
    yield from hide_if_needed(view, pair)


def _with_texts_of(
    advoware: NormalisedEvent,
    google: NormalisedEvent,
    names: Iterable[str],
) -> NormalisedEvent:
    """What Google says, with these texts as Advoware has them."""
    texts = {name: getattr(advoware, name) for name in names}
    return replace(google, **texts)


def _lacks_title(google: NormalisedEvent, advoware: NormalisedEvent) -> bool:
    return google.text is None and not google.anonymised and advoware.text is not None


def _with_title(google: NormalisedEvent, advoware: NormalisedEvent) -> NormalisedEvent:
    """What Google says; an answer that shows no title never clears it in Advoware."""
    if _lacks_title(google, advoware):
        return replace(google, text=advoware.text)
    return google


def _update_but_texts(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
    known: NormalisedEvent,
) -> Iterator[Action]:
    """Copy the edit, but put texts back; ``known`` is what is right on both sides."""
    if content_hash(known) == found.advoware_hash:
        yield from _put_back(view, found)
        return
    if _may_stay_shown(view, found):
        yield ListGoogle(found.pair)
        return
    as_termin = replace(known, privat=found.advoware.privat)
    shown = view.settings.shown(as_termin, persons_private=found.persons_private)
    if_not_taken = _hide_if_not_taken(view, found.pair)
    undone = found.unseen_in_advoware
    yield UpdateAdvoware(
        found.row,
        found.termin,
        event,
        known,
        shown,
        if_not_taken,
        undone,
        hidden_with(view, event, shown),
    )


def _update_advoware(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
    google: NormalisedEvent,
) -> UpdateAdvoware:
    """Copy all that Google says."""
    shown = _shown_with_edit(view, found, google)
    if_not_taken = _hide_if_not_taken(view, found.pair)
    undone = found.unseen_in_advoware
    hidden = hidden_with(view, event, shown or google) if found.shown.anonymised else ()
    return UpdateAdvoware(
        found.row,
        found.termin,
        event,
        google,
        shown,
        if_not_taken,
        undone,
        hidden,
    )


def _shown_with_edit(
    view: CalendarView,
    found: Comparison,
    google: NormalisedEvent,
) -> NormalisedEvent | None:
    """What is written into the event beside its edit, because the next run may not see it; None: nothing.

    An incremental listing would not show a text again, and Advoware lists no Termin that has left the window. A series
    is hidden with its occurrences, which have to be listed for that.
    """
    if found.has_foreign_text:
        return google
    is_text_shown = found.shown.anonymised and not google.anonymised
    if is_text_shown and (view.google.full or not found.is_series):
        return google.anonymise()
    return None


def _hide_if_not_taken(view: CalendarView, pair: Pair) -> HideGoogle | None:
    """What hides the event's texts if Advoware does not take its edit; None: it shows none, or may."""
    if view.must_hide(pair) and view.shows_text(pair):
        return hide(view, pair)
    return None


def _put_back(view: CalendarView, found: Comparison) -> Iterator[Action]:
    """Write what Google is to show, into single occurrences of a series as well.

    Google lists an occurrence by itself even if only its colour is another one. It then has a text of its own, and
    perhaps times of its own, which do not change with those of the series.
    """
    pair = found.pair
    event = found.event
    if found.is_series and not view.google.full:
        yield ListGoogle(pair)
    elif event is None or not _has_single_occurrences(found):
        yield found.update_google()
    else:
        yield _put_back_series(view, found, event)


def _has_single_occurrences(found: Comparison) -> bool:
    return found.is_series and bool(found.occurrences)


def _put_back_series(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
) -> Action:
    pair = found.pair
    if pair.source_system == "advoware" or found.is_changed:
        return found.replace_google(event)
    if found.shown.anonymised:
        return hide(view, pair)
    return found.show()


def _is_left_alone(pair: Pair) -> bool:
    """Whether the pair's event, when it was read last, was one that Advoware cannot hold."""
    reason = pair.untranslatable or WAITS_FOR_PERMISSION
    is_of_termin = reason.startswith(TERMIN_PREFIX)
    return reason != WAITS_FOR_PERMISSION and not is_of_termin


# -- Advoware cannot hold the event ---------------------------------------------------------------------------------


def _update_untranslatable(
    view: CalendarView,
    found: Comparison,
    google: Untranslatable,
) -> Iterator[Action]:
    """A pair whose event Advoware cannot hold as it is."""
    event = found.event
    if event is None:
        return
    if not _must_be_decided(found, google):
        yield from _mark_pair(found, google)
        yield from _show_or_hide(view, found)
        return
    winner = found.winner(may_write=view.may_write(found.pair))
    if winner != "advoware":
        yield from _take_known_part(view, found, event, google, winner)
        yield from _show_or_hide(view, found)
    elif has_exceptions(google.reason):
        yield _replace_series(view, found, event)
    else:
        yield from _put_back(view, found)


def _must_be_decided(found: Comparison, google: Untranslatable) -> bool:
    """Whether one side's content has to be written to the other."""
    if found.is_changed or found.is_claimed_by_advoware:
        return True
    return has_exceptions(google.reason) and found.belongs_to_advoware


def _take_known_part(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
    google: Untranslatable,
    winner: SourceSystem | None,
) -> Iterator[Action]:
    """Copy what Advoware can hold of Google's edit; without permission it waits."""
    if winner is None:
        yield from mark_untranslatable(WAITS_FOR_PERMISSION, found.pair)
        return
    if found.is_cut_short:
        yield from _wait_for_texts(view, found, event)
        return
    known = _with_title(overlay(found.advoware, google), found.advoware)
    if content_hash(known) != found.advoware_hash:
        undone = found.unseen_in_advoware
        yield UpdateAdvoware(found.pair, found.termin, event, known, undone=undone)
    else:
        yield from _mark_pair(found, google)


def _replace_series(
    view: CalendarView,
    found: Comparison,
    event: GoogleEvent,
) -> Action:
    if view.has_unlisted_occurrences(found.pair):
        # What is overwritten is kept, and an incremental listing does not show all of it.
        return ListGoogle(found.pair)
    return found.replace_google(event)


def _show_or_hide(view: CalendarView, found: Comparison) -> Iterator[Action]:
    if found.may_be_shown_again:
        yield found.show()
    elif found.has_foreign_text and found.shown.anonymised:
        yield hide(view, found.pair)
    else:
        yield from hide_if_needed(view, found.pair)


def _mark_pair(found: Comparison, google: Untranslatable) -> Iterator[Action]:
    """Remember why the pair is left alone, and what both sides say.

    What Advoware says is news as long as nothing is known of Google's side that could hold against it.
    """
    if _is_mark_new(found, google):
        termin = found.termin if google.part is not None else None
        yield MarkUntranslatable(google.reason, found.pair, termin, found.event)


def _is_mark_new(found: Comparison, google: Untranslatable) -> bool:
    """Whether the reason, or what is to be remembered of either side, is a new one."""
    is_settled = google.part is not None and found.advoware_changed
    is_new_reason = found.pair.untranslatable != google.reason
    return is_new_reason or is_settled or found.google_changed


# -- both sides agree -----------------------------------------------------------------------------------------------


def _record(found: Comparison) -> Iterator[Action]:
    """Remember that both sides agree, if that is new."""
    pair = found.pair
    event = found.event
    termin = found.termin
    version = termin.row_id
    if found.advoware_hash != content_hash(found.advoware):
        version = pair.advoware.etag  # what is remembered is not what is shown
    advoware = Fingerprint(found.advoware_hash, termin.changed_at, version)
    google = pair.google
    if event is not None:
        google = Fingerprint(found.google_hash, event.updated, event.etag)
    recorded = RecordFingerprints(
        pair,
        advoware,
        google,
        found.advoware.first_day,
        found.advoware.last_day,
        found.persons_private,
    )
    if not _is_recorded(recorded):
        yield recorded


def _is_recorded(action: RecordFingerprints) -> bool:
    """Whether the row says so already."""
    pair = action.pair
    is_settled = pair.error is None and pair.sync_status == "synced"
    # A version alone, which older rows lack, is no reason to write.
    remembered = (
        replace(pair.advoware, etag=None),
        pair.google,
        pair.first_day,
        pair.last_day,
        pair.persons_private,
    )
    observed = (
        replace(action.advoware, etag=None),
        action.google,
        action.first_day,
        action.last_day,
        action.persons_private,
    )
    return is_settled and remembered == observed
