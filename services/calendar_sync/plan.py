"""What the calendar sync of one employee has to do: pure functions from what was observed to a list of actions.

The four phases of specification 09 follow each other in the list. What seems to be gone is first read directly: the
plan asks for that with `ConfirmAdvoware` and `ConfirmGoogle`, and is made again with the answers.

What is decided first, for each pair: a text that must not be seen is hidden; then a deletion or a reassignment is
followed; then the source's content holds; and only what then remains, because it came from Google and Advoware cannot
hold it, is left alone. Of that, the part that Advoware can hold is synced all the same.

A Termin that is everybody's belongs to Advoware under either strategy: what one employee does to the copy in his
calendar is undone there and never reaches Advoware, and thereby the others.

A full listing of Google means that what it lacks is deleted, an incremental one that it is unchanged. A Termin outside
the days that were listed is not listed by Advoware, which says nothing about it.

An event with our marks is a pair's event only if the pair says so. People copy, split, move and restore events, and our
marks come along: then it is a person's event, and new in Google.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    ANONYMISED_TITLE,
    TERMIN_PREFIX,
    TEXT_UNKNOWN,
    TEXTS,
    TIMES,
    WAITS_FOR_PERMISSION,
    Action,
    AdoptGoogle,
    ConfirmAdvoware,
    ConfirmGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    FollowCopy,
    GoogleEvent,
    HideGoogle,
    HoldDeletions,
    InsertGoogle,
    LetGo,
    ListGoogle,
    MarkUntranslatable,
    NormalisedEvent,
    NotPlanned,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    ReplaceGoogle,
    ShowGoogle,
    SoftDelete,
    SourceSystem,
    TakeMarksOff,
    Termin,
    Untranslatable,
    UpdateAdvoware,
    UpdateGoogle,
    content_hash,
    has_exceptions,
    is_anonymised_hash,
    is_earlier_reading,
    is_partial_hash,
    is_same_content,
    is_uncompared,
    overlay,
    without_texts,
)
from services.calendar_sync.observation import (
    Confirmations,
    GoogleListing,
    Past,
    Picture,
    PlanSettings,
    is_placeholder,
)
from services.core.errors import failure_code

#: More deletions in one run than this share of the pairs, and than the settings say, are not believed.
MAX_DELETED_SHARE = 0.2
#: Of so many held deletions at the most each Termin is read, again in every run; of more an operator has to decide.
MAX_ASKED = 100

#: What follows from something being gone. What is made anew because a list lacks it is counted like what is deleted:
#: a partial list does as much harm with the one as with the other.
Verdict = Literal[
    "soft_delete",
    "delete_google",
    "delete_advoware",
    "recreate_google",
    "recreate_advoware",
    "pend",
]
Verdicts = list[tuple[Pair, Verdict]]


def make_plan(
    settings: PlanSettings,
    termine: Sequence[Termin],
    google: GoogleListing,
    pairs: Iterable[Pair],
    confirmations: Confirmations | None = None,
    past: Past | None = None,
) -> list[Action]:
    """The actions, in their order.

    ``termine`` is Advoware's answer for the employee and the listed days; a failed request is an error of the caller's,
    never an empty list. ``pairs`` are the employee's live rows; ``past`` is what other rows know of the listed events.
    """
    pairs = list(pairs)
    seen = Picture(settings, termine, google, pairs, Confirmations(), past)
    verdicts, copies, held = _judge(seen)
    if confirmations is not None and (confirmations.termine or confirmations.events):
        seen = Picture(settings, termine, google, pairs, confirmations, past)
        verdicts, copies, held_as_read = _judge(seen)
        # What the lists alone look like stays suspicious, whatever single reads say.
        held = held or held_as_read
    claimed = {copy.id for copy in copies.values()}
    return [
        *_new_in_advoware(seen, claimed),
        *_new_in_google(seen, claimed),
        *_deletions(seen, verdicts, copies, held),
        *_deleted_when_over(seen),
        *_updates(seen),
    ]


def _each(
    items: Iterable[Pair], plan_one: Callable[[Pair], Iterator[Action]]
) -> Iterator[Action]:
    """The actions for each; one with which planning fails does not stop the others."""
    for item in items:
        try:
            actions = list(plan_one(item))
        except Exception as error:  # noqa: BLE001 - whatever one appointment is like, the others are planned
            actions = [NotPlanned(failure_code(error), item)]
        yield from actions


# -- phase 1 --------------------------------------------------------------------------------------------------------


def _new_in_advoware(seen: Picture, claimed: set[str]) -> Iterator[Action]:
    """Termine without an event. The ids of the events that they get are added to ``claimed``."""
    unpaired = {
        fr_nr: termin
        for fr_nr, termin in seen.termine.items()
        if not _has_event(seen.by_fr_nr.get(fr_nr))
    }
    if not unpaired:
        return
    by_fr_nr, by_content = _unpaired_events(seen, unpaired, claimed)
    for fr_nr, termin in sorted(unpaired.items()):
        if fr_nr in seen.past.undecided:
            continue  # a person's event may be its original, and a copy of ours would be the second one
        pair = seen.by_fr_nr.get(fr_nr)
        event = _known_part(termin)
        if event is None:
            yield from _mark(TERMIN_PREFIX + _reason(termin), pair, termin=termin)
            continue
        if fr_nr not in by_fr_nr and not seen.in_window(event):
            continue
        same = by_content.get(content_hash(termin.event))
        google = by_fr_nr.get(fr_nr) or (same.pop(0) if same else None)
        if google is None:
            event_id = google_event_id(fr_nr, seen.settings.calendar_id)
            yield InsertGoogle(termin, event_id, seen.settings.shown(event), pair)
            continue
        claimed.add(google.id)
        yield from _adopt(seen, termin, event, google, pair)


def _known_part(termin: Termin) -> NormalisedEvent | None:
    """What a copy can show of a Termin: all of it, or all but a text that is unknown; None without its times."""
    event = termin.event
    if isinstance(event, NormalisedEvent):
        return event
    return None if TIMES in event.unknown else event.part


def _reason(termin: Termin) -> str:
    return termin.event.reason if isinstance(termin.event, Untranslatable) else ""


def _has_event(pair: Pair | None) -> bool:
    return pair is not None and pair.google_event_id is not None


def _unpaired_events(
    seen: Picture, unpaired: dict[int, Termin], claimed: set[str]
) -> tuple[dict[int, GoogleEvent], dict[str, list[GoogleEvent]]]:
    """Events for these Termine: ours that an earlier run did not get to remember, and people's, by content."""
    ours: dict[int, GoogleEvent] = {}
    by_content: dict[str, list[GoogleEvent]] = {}
    # Its id tells whose copy an event is, even if some program has dropped our properties.
    by_id = {
        google_event_id(fr_nr, seen.settings.calendar_id): fr_nr for fr_nr in unpaired
    }
    for event in sorted(seen.events.values(), key=lambda event: event.id):
        pair = seen.by_event.get(event.id)
        if event.id in claimed or (pair is not None and pair.advoware_frnr is not None):
            continue
        if event.id in by_id:
            ours[by_id[event.id]] = event
        elif event.fr_nr in unpaired and pair is None:
            if event.fr_nr not in ours or _waits_for(seen, event):
                ours[event.fr_nr] = event
        elif isinstance(event.event, NormalisedEvent) and not event.event.anonymised:
            by_content.setdefault(content_hash(event.event), []).append(event)
    return ours, by_content


def _waits_for(seen: Picture, event: GoogleEvent) -> bool:
    """Whether a row without event is the one that this event names."""
    pair = seen.by_fr_nr.get(event.fr_nr or 0)
    return pair is not None and pair.sync_id == event.sync_id


def _adopt(
    seen: Picture,
    termin: Termin,
    ours: NormalisedEvent,
    google: GoogleEvent,
    pair: Pair | None,
) -> Iterator[Action]:
    waiting = seen.by_event.get(google.id)
    # A person's event with the Termin's content: either our own POST before a crash, or entered twice by people.
    is_ours = google.fr_nr is not None or google.id == google_event_id(
        termin.fr_nr, seen.settings.calendar_id
    )
    is_theirs = not is_ours and seen.may_post() and not termin.is_everybodys
    source: SourceSystem = "google" if is_theirs else "advoware"
    shown = seen.settings.shown(ours, persons_private=is_theirs and google.is_private)
    equal = google.fr_nr == termin.fr_nr and content_hash(shown) == content_hash(
        google.event
    )
    # Occurrences that were changed cannot be written away: once it is a pair, the event is replaced.
    write = google.id not in seen.occurrences and (not equal or google.has_foreign_text)
    if waiting is not None and pair is not None and waiting.sync_id != pair.sync_id:
        yield SoftDelete(pair)  # first: a Termin has one live row
    yield AdoptGoogle(termin, google, shown, source, write, waiting or pair)


# -- phase 2 --------------------------------------------------------------------------------------------------------


def _new_in_google(seen: Picture, claimed: set[str]) -> Iterator[Action]:
    """People's events without a Termin, those among them that carry our marks by a copy."""
    marked = {event.id: seen.marked_as(event) for event in seen.marked}
    for event_id, google in sorted(seen.events.items()):
        pair = seen.by_event.get(event_id)
        is_paired = pair is not None and pair.advoware_frnr is not None
        if event_id in claimed or is_paired:
            continue
        if marked.get(event_id) == "unknown":
            yield ConfirmAdvoware(seen.row_of_marked(google))
        elif marked.get(event_id, "persons") == "persons":
            yield from _persons_event(seen, google, pair)
    for pair in seen.pairs:
        is_waiting = pair.advoware_frnr is None and not pair.untranslatable
        if is_waiting and seen.may_post() and seen.in_google(pair) == "unchanged":
            yield ConfirmGoogle(pair)


def _persons_event(
    seen: Picture, google: GoogleEvent, pair: Pair | None
) -> Iterator[Action]:
    event = google.event
    is_readable = isinstance(event, NormalisedEvent) and not event.anonymised
    origin = seen.origin_of(google) if seen.is_hidden_copy(google) else None
    if isinstance(event, NormalisedEvent) and origin is not None:
        yield from _hidden_copy(seen, google, event, origin, pair)
    elif (
        pair is None
        and google.fr_nr is not None
        and origin is None
        and not (is_readable and seen.may_post())
    ):
        if not isinstance(event, NormalisedEvent) or seen.in_window(event):
            yield TakeMarksOff(google)  # then it is listed again, as a person's event
    elif isinstance(event, Untranslatable):
        yield from _mark(event.reason, pair, google=google)
    elif event.anonymised or _looks_hidden(google, event):
        yield from _mark(TEXT_UNKNOWN, pair, google=google)
    elif not seen.in_window(event):
        return
    elif seen.may_post():
        shown = seen.settings.shown(event, persons_private=google.is_private)
        yield PostAdvoware(google, event, shown, pair)
    elif pair is None or pair.untranslatable:
        yield RememberPending(google, pair)


def _looks_hidden(google: GoogleEvent, event: NormalisedEvent) -> bool:
    """Whether it looks like a copy of a hidden event that has lost our marks."""
    return (
        is_placeholder(google) and google.is_private and event.text == ANONYMISED_TITLE
    )


def _hidden_copy(
    seen: Picture,
    google: GoogleEvent,
    event: NormalisedEvent,
    origin: int,
    pair: Pair | None,
) -> Iterator[Action]:
    """A person's copy of an event whose text we hide: what it says, only the Termin of the original knows."""
    if not seen.in_window(event):
        return
    if not seen.is_asked(origin):
        yield ConfirmAdvoware(seen.row_of_marked(google))
        return
    termin = seen.termine.get(origin) or seen.elsewhere.get(origin)
    original = _known_part(termin) if termin else None
    if termin is None or original is None or not seen.may_post():
        yield from _mark(TEXT_UNKNOWN, pair, google=google)
        return
    texts = {name: getattr(original, name) for name in TEXTS}
    whole = replace(event, **texts, anonymised=False, privat=termin.privat)
    yield PostAdvoware(google, whole, seen.settings.shown(whole), pair)


# -- phase 3 --------------------------------------------------------------------------------------------------------


def _verdicts(seen: Picture) -> Verdicts:
    """What follows for the pairs of which something is missing, and for copies of ours that no row knows."""
    leftovers: Verdicts = [
        (seen.row_of_marked(event), "delete_google")
        for event in seen.marked
        if seen.marked_as(event) == "leftover"
    ]
    decided = {pair.sync_id for pair, _ in leftovers}
    verdicts = [
        (pair, _verdict(seen, pair))
        for pair in seen.pairs
        if pair.sync_id not in decided
    ]
    return [
        *((pair, verdict) for pair, verdict in verdicts if verdict is not None),
        *leftovers,
    ]


def _verdict(seen: Picture, pair: Pair) -> Verdict | None:
    """What happens to a pair of which something is missing, if that is confirmed; None: nothing."""
    advoware, google = seen.in_advoware(pair), seen.in_google(pair)
    lacks_advoware = advoware in {"missing", "gone", "elsewhere"}
    lacks_google = google in {"missing", "gone"}
    if lacks_advoware and lacks_google:
        return "soft_delete" if seen.is_expected(pair) else None
    # A row with only one side waits for the other in phase 1 or 2.
    if pair.advoware_frnr is None or pair.google_event_id is None:
        return None
    if advoware == "elsewhere":
        return "delete_google"
    if lacks_advoware:
        return _without_termin(seen, pair)
    # Nobody needs a copy of what is outside of the window.
    if lacks_google and seen.is_in_window(pair):
        return _without_event(seen, pair)
    return None


def _without_termin(seen: Picture, pair: Pair) -> Verdict | None:
    is_googles = (
        pair.sync_strategy == "source_system_wins" and pair.source_system == "google"
    )
    if not is_googles:
        return "delete_google"
    if not seen.is_in_window(pair):
        return None
    return "recreate_advoware" if seen.may_write(pair) else "pend"


def _without_event(seen: Picture, pair: Pair) -> Verdict:
    follows_google = (
        pair.sync_strategy == "last_change_wins" or pair.source_system == "google"
    )
    if follows_google and seen.may_write(pair) and not seen.is_everybodys(pair):
        return "delete_advoware"
    return "recreate_google"


def _followed_copies(seen: Picture, verdicts: Verdicts) -> dict[Pair, GoogleEvent]:
    """Events that take the place of their pairs' events, which are gone.

    A person's copy does, so that no Termin is deleted with its original. One that we have made ourselves under another
    id of the Termin is its event as well: a run was interrupted, or a backup of the table was put back.
    """
    ours = {
        event.fr_nr: event
        for event in reversed(seen.marked)
        if seen.may_be_leftover(event)
    }
    copies: dict[Pair, GoogleEvent] = {}
    for pair, verdict in verdicts:
        copy = (
            ours.get(pair.advoware_frnr)
            if verdict in {"delete_advoware", "recreate_google"}
            else None
        )
        if copy is None and verdict == "delete_advoware":
            named = [event for event in seen.marked if event.sync_id == pair.sync_id]
            copy = min(named, key=lambda event: event.id, default=None)
        if copy is not None:
            copies[pair] = copy
    return copies


def _deletions(
    seen: Picture,
    verdicts: Verdicts,
    copies: dict[Pair, GoogleEvent],
    held: HoldDeletions | None,
) -> list[Action]:
    if held is not None:
        may_ask = held.reason == "too_many" and held.deletions <= MAX_ASKED
        hidden = _each(
            (pair for pair, _ in verdicts),
            lambda pair: _hide_held(seen, pair, may_ask=may_ask),
        )
        return [held, *hidden]
    by_pair = dict(verdicts)
    return list(
        _each(
            by_pair,
            lambda pair: _carry_out(seen, pair, by_pair[pair], copies.get(pair)),
        )
    )


def _judge(
    seen: Picture,
) -> tuple[Verdicts, dict[Pair, GoogleEvent], HoldDeletions | None]:
    """What follows from something being gone, the events that take the place of others, and why all of it is held."""
    verdicts = _verdicts(seen)
    copies = _followed_copies(seen, verdicts)
    return (
        verdicts,
        copies,
        _held(seen, [pair for pair, _ in verdicts if pair not in copies]),
    )


def _held(seen: Picture, concerned: Sequence[Pair]) -> HoldDeletions | None:
    """Why phase 3 may not go on, None if it may."""
    settings, number = seen.settings, len(concerned)
    if number <= settings.released:
        return None
    if concerned and seen.advoware_is_empty:
        expected = [
            pair
            for pair in seen.pairs
            if pair.advoware_frnr is not None and seen.is_expected(pair)
        ]
        if len(expected) > settings.max_deletions:
            return HoldDeletions("advoware_empty", number, len(seen.pairs))
    if number > max(settings.max_deletions, MAX_DELETED_SHARE * len(seen.pairs)):
        return HoldDeletions("too_many", number, len(seen.pairs))
    return None


def _hide_held(seen: Picture, pair: Pair, *, may_ask: bool) -> Iterator[Action]:
    """An appointment that may have to go, and waits for an operator: its text does not wait.

    Whether it is private or somebody else's by now only a direct read tells. What phase 4 hides as well, because it is
    a pair that is not somebody else's, is left to that.
    """
    is_somebody_elses = seen.in_advoware(pair) == "elsewhere"
    is_ours_only = pair.google_event_id not in seen.by_event and seen.must_hide(pair)
    is_seen = seen.in_google(pair) in {"present", "unchanged"}
    if not (is_seen and seen.shows_text(pair)):
        return
    if seen.in_advoware(pair) == "missing" and may_ask:
        yield ConfirmAdvoware(pair)
    if not (is_somebody_elses or is_ours_only):
        return
    if seen.has_unlisted_occurrences(pair):
        yield ListGoogle(pair)
    else:
        yield _hide(seen, pair)


def _carry_out(
    seen: Picture, pair: Pair, verdict: Verdict, copy: GoogleEvent | None
) -> Iterator[Action]:
    unconfirmed = list(_unconfirmed(seen, pair, verdict))
    if unconfirmed:
        yield from unconfirmed
        return
    termin = seen.termine.get(pair.advoware_frnr or 0)
    google = seen.events.get(pair.google_event_id or "")
    if verdict == "soft_delete":
        yield SoftDelete(pair)
    elif verdict == "delete_google":
        reason = (
            "reassigned"
            if seen.in_advoware(pair) == "elsewhere"
            else "deleted in Advoware"
        )
        yield DeleteGoogle(pair, google.etag if google else pair.google.etag, reason)
    elif copy is not None:
        yield FollowCopy(pair, copy)
        yield from _update(seen, replace(pair, google_event_id=copy.id))
    elif termin is not None and verdict == "delete_advoware":
        yield DeleteAdvoware(pair, termin, "deleted in Google")
    elif termin is not None and verdict == "recreate_google":
        yield from _recreate_google(seen, pair, termin)
    elif google is not None:
        yield from _recreate_advoware(seen, pair, google, verdict)


def _unconfirmed(seen: Picture, pair: Pair, verdict: Verdict) -> Iterator[Action]:
    """The direct reads that have to come first."""
    google = seen.in_google(pair)
    # A row without event is nothing that could be lost: its Termin, should it be there after all, is new again.
    if seen.in_advoware(pair) == "missing" and pair.google_event_id is not None:
        yield ConfirmAdvoware(pair)
    # An incremental listing does not have the content that is to be created anew.
    if google == "missing" or (
        google == "unchanged" and verdict in {"recreate_advoware", "pend"}
    ):
        yield ConfirmGoogle(pair)


def _recreate_google(seen: Picture, pair: Pair, termin: Termin) -> Iterator[Action]:
    event = _known_part(termin)
    if event is None:
        yield from _mark(TERMIN_PREFIX + _reason(termin), pair)
        return
    event_id = pair.google_event_id or google_event_id(
        termin.fr_nr, seen.settings.calendar_id
    )
    shown = seen.settings.shown(event, persons_private=pair.persons_private)
    yield RecreateGoogle(pair, termin, event_id, shown)


def _recreate_advoware(
    seen: Picture, pair: Pair, google: GoogleEvent, verdict: Verdict
) -> Iterator[Action]:
    event = google.event
    if isinstance(event, Untranslatable):
        yield from _mark(event.reason, pair)
    elif event.anonymised or is_anonymised_hash(pair.google.content_hash):
        yield from _mark(TEXT_UNKNOWN, pair)
    elif verdict == "recreate_advoware":
        shown = seen.settings.shown(event, persons_private=seen.persons_private(pair))
        yield RecreateAdvoware(pair, google, event, shown)
    else:
        yield RememberPending(google, pair)


# -- phase 4 --------------------------------------------------------------------------------------------------------


def _deleted_when_over(seen: Picture) -> Iterator[Action]:
    """Events outside the window that are gone: nobody needs them again, and there is nothing left to hide."""
    for pair in seen.pairs:
        is_known = pair.google_event_id is not None and seen.in_advoware(pair) in {
            "present",
            "unlisted",
        }
        if not is_known or seen.is_in_window(pair):
            continue
        if seen.in_google(pair) == "missing":
            yield ConfirmGoogle(pair)
        elif seen.in_google(pair) == "gone":
            yield LetGo(pair)


def _updates(seen: Picture) -> Iterator[Action]:
    complete = (
        pair for pair in seen.pairs if seen.in_google(pair) in {"present", "unchanged"}
    )
    return _each(complete, lambda pair: _update(seen, pair))


def _update(seen: Picture, pair: Pair) -> Iterator[Action]:
    termin = seen.termine.get(pair.advoware_frnr or 0)
    google = seen.events.get(pair.google_event_id or "")
    if pair.advoware_frnr is None:
        return
    if seen.has_unseen_series(pair):
        yield ConfirmGoogle(pair)
    elif termin is None:
        # Not listed: its content is not known, but what the settings hide is to be hidden all the same.
        if seen.in_advoware(pair) != "elsewhere":
            yield from _hide_if_needed(seen, pair)
    elif isinstance(termin.event, Untranslatable):
        yield from _update_partly_known(seen, pair, termin, termin.event, google)
    else:
        found = _Comparison(seen, pair, termin, termin.event, google)
        if isinstance(found.theirs, Untranslatable):
            yield from _update_untranslatable(seen, found, found.theirs)
        else:
            yield from _update_translatable(seen, found, found.theirs)


def _update_partly_known(
    seen: Picture,
    pair: Pair,
    termin: Termin,
    event: Untranslatable,
    google: GoogleEvent | None,
) -> Iterator[Action]:
    """A pair whose Termin cannot be read as a whole: where Advoware decides, what is known of it is shown."""
    reason = TERMIN_PREFIX + event.reason
    is_news = content_hash(event) != pair.advoware.content_hash
    is_advowares = pair.source_system == "advoware" or termin.is_everybodys
    hidden = list(_hide_if_needed(seen, pair))
    if hidden or _known_part(termin) is None or not (is_news and is_advowares):
        yield from _mark(reason, pair)
        yield from hidden
        return
    if google is None:
        yield ListGoogle(pair)  # one call, also if it is the same with all Termine
        return
    # Unknown is not empty: such a text stays as Google has it.
    theirs = google.event
    shown = (
        None
        if isinstance(theirs, Untranslatable)
        else seen.settings.shown(overlay(theirs, event))
    )
    is_edited = _is_edited(pair, google)
    if shown is None or content_hash(shown) == content_hash(theirs):
        yield MarkUntranslatable(reason, pair, termin, google, is_edited)
    else:
        yield UpdateGoogle(
            pair, termin, shown, google.etag, google, (google,) if is_edited else ()
        )


def _hide_if_needed(seen: Picture, pair: Pair) -> Iterator[Action]:
    if not (seen.must_hide(pair) and seen.shows_text(pair)):
        return
    if seen.has_unlisted_occurrences(pair):
        yield ListGoogle(pair)
    else:
        yield _hide(seen, pair)


def _hide(seen: Picture, pair: Pair) -> HideGoogle:
    google = seen.events.get(pair.google_event_id or "")
    changed = google is not None and _is_edited(pair, google)
    occurrences = [
        item
        for item in seen.occurrences.get(pair.google_event_id or "", ())
        if item.shows_text
    ]
    undone = (*([google] if google and changed else []), *occurrences)
    # Once it is hidden, nobody can see any more that it was a person's own wish.
    pair = replace(pair, persons_private=seen.persons_private(pair))
    etag = google.etag if google else pair.google.etag
    is_edited = changed or is_uncompared(pair.google.content_hash)
    return HideGoogle(pair, etag, tuple(occurrences), undone, is_edited)


def _is_edited(pair: Pair, google: GoogleEvent) -> bool:
    """Whether a person has changed the event since both sides were compared."""
    return not is_same_content(content_hash(google.event), pair.google.content_hash)


class _Comparison:
    """A complete pair: what each side says now, and whether that is new."""

    def __init__(
        self,
        seen: Picture,
        pair: Pair,
        termin: Termin,
        ours: NormalisedEvent,
        google: GoogleEvent | None,
    ) -> None:
        self.pair, self.termin, self.google, self.ours = pair, termin, google, ours
        self.theirs = google.event if google else None
        self.persons_private = seen.persons_private(pair)
        self.shown = seen.settings.shown(ours, persons_private=self.persons_private)
        was_anonymised = is_anonymised_hash(pair.google.content_hash)
        is_touched = google is not None and google.etag != pair.google.etag
        # What Google has made of our own write stays so if it is written again; once a day we try.
        is_worth_a_write = is_touched or not was_anonymised or seen.google.full
        self.has_foreign_text = (
            google is not None and google.has_foreign_text and is_worth_a_write
        )
        if (
            self.theirs is not None
            and was_anonymised
            and without_texts(self.theirs) != self.theirs
        ):
            # Some program dropped our marker. What stands there is still not the Termin's text.
            self.theirs, self.has_foreign_text = without_texts(self.theirs), True
        # A text that is null although Advoware says that nobody has touched the Termin is unknown, not cleared.
        is_cut_short = _lacks_a_text(termin) and not _is_touched(termin, pair)
        self.our_hash = (is_cut_short and pair.advoware.content_hash) or content_hash(
            ours
        )
        remembered = (
            None
            if is_uncompared(pair.google.content_hash)
            else pair.google.content_hash
        )
        self.their_hash = content_hash(self.theirs) if self.theirs else remembered
        self.advoware_changed = not is_same_content(
            self.our_hash, pair.advoware.content_hash
        )
        self.google_changed = self._is_news(is_touched) and not is_same_content(
            self.their_hash, pair.google.content_hash
        )
        #: What a write to Google does away with.
        self.is_persons_edit = self.google_changed or self.has_foreign_text
        occurrences = seen.occurrences.get(pair.google_event_id or "", ())
        self.occurrences = tuple(occurrences)
        self.undone = (google, *occurrences) if google and self.is_persons_edit else ()

    def _is_news(self, is_touched: bool) -> bool:
        """Whether what Google shows may be somebody's edit.

        An event that Google has not touched is not changed because an answer lacks a text, or because we have learned
        to read it otherwise. It may be shown in full again after it was not, and an edit may still have to be compared.
        """
        remembered = self.pair.google.content_hash
        if is_touched or is_uncompared(remembered):
            return True
        return not is_earlier_reading(remembered) and not _lacks_a_text_of(
            self.theirs, self.ours
        )

    @property
    def etag(self) -> str | None:
        """The etag to expect in Google."""
        return self.google.etag if self.google else self.pair.google.etag

    @property
    def is_equal(self) -> bool:
        """Whether both say the same, as far as Google's side says anything."""
        comparable = (
            self.ours.anonymise() if is_anonymised_hash(self.their_hash) else self.ours
        )
        return content_hash(comparable) == self.their_hash

    @property
    def is_shown_wrongly(self) -> bool:
        """Whether Google shows texts that it must not, or lacks those that it should show."""
        if (
            self.has_foreign_text
            or is_anonymised_hash(self.their_hash) != self.shown.anonymised
        ):
            return True
        # Only what is hidden is private: readers of the calendar are to see the rest.
        is_ours = self.pair.source_system == "advoware"
        return (
            is_ours
            and self.google is not None
            and self.google.is_private
            and not self.shown.anonymised
        )

    @property
    def is_series(self) -> bool:
        """Whether either side says that it repeats."""
        sides = (self.ours, self.theirs)
        return any(
            isinstance(side, NormalisedEvent) and side.recurrence is not None
            for side in sides
        )

    @property
    def may_be_shown_again(self) -> bool:
        """Whether Google hides texts that it need not hide any more."""
        return is_anonymised_hash(self.their_hash) and not self.shown.anonymised

    def put_back(self) -> UpdateGoogle:
        """Write what Google is to show."""
        return UpdateGoogle(
            self.pair, self.termin, self.shown, self.etag, self.google, self.undone
        )

    def show(self) -> ShowGoogle:
        """Write the texts, and leave the times."""
        hidden = tuple(each for each in self.occurrences if _is_hidden(each))
        return ShowGoogle(self.pair, self.shown, self.etag, hidden, self.google_changed)

    def winner(self, *, may_write: bool) -> SourceSystem | None:
        """Whose content is to be on both sides; None: Google's would be, but Advoware may not be written."""
        pair = self.pair
        winner: SourceSystem
        if self.termin.is_everybodys:
            return "advoware"
        if pair.sync_strategy == "source_system_wins":
            winner = pair.source_system
        elif self.advoware_changed and self.google_changed:
            winner = self._later()
        else:
            winner = "advoware" if self.advoware_changed else "google"
        if winner == "google" and not may_write:
            return "advoware" if pair.source_system == "advoware" else None
        return winner

    def _later(self) -> SourceSystem:
        ours, theirs = (
            self.termin.changed_at,
            self.google.updated if self.google else None,
        )
        if ours is None or theirs is None:
            return self.pair.source_system
        return "google" if theirs > ours else "advoware"


def _lacks_a_text_of(
    theirs: NormalisedEvent | Untranslatable | None, ours: NormalisedEvent
) -> bool:
    """Whether a readable event shows no title, note or place where the Termin has one."""
    if not isinstance(theirs, NormalisedEvent) or theirs.anonymised:
        return False
    return any(
        getattr(theirs, name) is None and getattr(ours, name) is not None
        for name in TEXTS
    )


def _lacks_a_text(termin: Termin) -> bool:
    return any(termin.record.get(name) is None for name in TEXTS)


def _is_touched(termin: Termin, pair: Pair) -> bool:
    return termin.changed_at is None or termin.changed_at != pair.advoware.changed_at


def _update_translatable(
    seen: Picture, found: _Comparison, theirs: NormalisedEvent | None
) -> Iterator[Action]:
    pair, google = found.pair, found.google
    is_remembered_only = google is None and pair.untranslatable == WAITS_FOR_PERMISSION
    if google is None and is_partial_hash(pair.advoware.content_hash):
        yield ListGoogle(
            pair
        )  # edits that were made while a text of the Termin was unknown are not listed again
        return
    if found.their_hash is None or is_remembered_only or _has_known_exceptions(found):
        yield ConfirmGoogle(pair)
    elif found.is_equal or not (found.advoware_changed or found.google_changed):
        # Unequal and yet unchanged: a system stores what it gets in its own way. Writing again would not help.
        if google is None and _is_left_alone(pair):
            if found.may_be_shown_again:
                yield (
                    ListGoogle(pair)
                    if seen.has_unlisted_occurrences(pair)
                    else ConfirmGoogle(pair)
                )
            yield from _hide_if_needed(seen, pair)
        elif found.is_shown_wrongly:
            yield from _put_back(seen, found)
        else:
            yield from _record(found)
    else:
        winner = found.winner(may_write=seen.may_write(pair))
        if winner == "advoware":
            yield from _put_back(seen, found)
        elif winner == "google" and (google is None or theirs is None):
            yield ConfirmGoogle(pair)
        elif winner == "google" and google is not None and theirs is not None:
            # An incremental listing would not show the text again.
            shown = theirs if found.has_foreign_text else None
            yield UpdateAdvoware(pair, found.termin, google, theirs, shown)
        else:
            # The next incremental listing would not show the change again.
            yield from _mark(WAITS_FOR_PERMISSION, pair)
            yield from _hide_if_needed(seen, pair)


def _put_back(seen: Picture, found: _Comparison) -> Iterator[Action]:
    """Write what Google is to show, into single occurrences of a series as well.

    Google lists an occurrence by itself even if only its colour is another one. It then has a text of its own, and
    perhaps times of its own, which do not change with those of the series.
    """
    if found.is_series and not seen.google.full:
        yield ListGoogle(found.pair)
    elif not (found.is_series and found.occurrences and found.google is not None):
        yield found.put_back()
    elif (
        found.pair.source_system == "advoware"
        or found.advoware_changed
        or found.google_changed
    ):
        yield ReplaceGoogle(
            found.pair, found.termin, found.shown, found.google, found.undone
        )
    elif found.shown.anonymised:
        yield _hide(seen, found.pair)
    else:
        yield found.show()


def _is_hidden(occurrence: GoogleEvent) -> bool:
    return not (occurrence.cancelled or occurrence.shows_text)


def _is_left_alone(pair: Pair) -> bool:
    """Whether the pair's event, when it was seen last, was one that Advoware cannot hold."""
    reason = pair.untranslatable or WAITS_FOR_PERMISSION
    return reason != WAITS_FOR_PERMISSION and not reason.startswith(TERMIN_PREFIX)


def _has_known_exceptions(found: _Comparison) -> bool:
    """Whether the event, unlisted this time, is one that was seen with changed occurrences."""
    is_changed = (
        found.advoware_changed or found.shown.anonymised or _belongs_to_advoware(found)
    )
    return (
        found.google is None
        and has_exceptions(found.pair.untranslatable)
        and is_changed
    )


def _belongs_to_advoware(found: _Comparison) -> bool:
    pair = found.pair
    is_source = (
        pair.sync_strategy == "source_system_wins" and pair.source_system == "advoware"
    )
    return is_source or found.termin.is_everybodys


def _update_untranslatable(
    seen: Picture, found: _Comparison, theirs: Untranslatable
) -> Iterator[Action]:
    """A pair whose event Advoware cannot hold as it is."""
    pair, google = found.pair, found.google
    is_excepted = has_exceptions(theirs.reason)
    is_news = (
        found.advoware_changed
        or found.google_changed
        or (is_excepted and _belongs_to_advoware(found))
    )
    winner = found.winner(may_write=seen.may_write(pair)) if is_news else None
    if google is None:
        return
    if winner == "advoware" and is_excepted:
        if seen.has_unlisted_occurrences(pair):
            yield ListGoogle(
                pair
            )  # what is overwritten is kept, and an incremental listing does not show all of it
        else:
            yield ReplaceGoogle(pair, found.termin, found.shown, google, found.undone)
        return
    if winner == "advoware":
        yield from _put_back(seen, found)
        return
    known = overlay(found.ours, theirs)
    if winner == "google" and content_hash(known) != found.our_hash:
        yield UpdateAdvoware(pair, found.termin, google, known)
    elif is_news and winner is None:
        yield from _mark(WAITS_FOR_PERMISSION, pair)
    else:
        yield from _mark_pair(found, theirs.reason)
    if found.may_be_shown_again:
        yield found.show()
    elif found.has_foreign_text and found.shown.anonymised:
        yield _hide(seen, pair)
    else:
        yield from _hide_if_needed(seen, pair)


def _mark_pair(found: _Comparison, reason: str) -> Iterator[Action]:
    """Remember why the pair is left alone, and what both sides say.

    What Advoware says is news as long as nothing is known of Google's side that could hold against it.
    """
    is_known = (
        isinstance(found.theirs, Untranslatable) and found.theirs.part is not None
    )
    is_settled = is_known and found.advoware_changed
    if found.pair.untranslatable != reason or is_settled or found.google_changed:
        yield MarkUntranslatable(
            reason, found.pair, found.termin if is_known else None, found.google
        )


def _record(found: _Comparison) -> Iterator[Action]:
    pair, google = found.pair, found.google
    ours = Fingerprint(found.our_hash, found.termin.changed_at)
    theirs = (
        Fingerprint(found.their_hash, google.updated, google.etag)
        if google
        else pair.google
    )
    days = found.ours.first_day, found.ours.last_day
    known = (
        pair.advoware,
        pair.google,
        (pair.first_day, pair.last_day),
        pair.error,
        pair.sync_status,
    )
    if (*known, pair.persons_private) != (
        ours,
        theirs,
        days,
        None,
        "synced",
        found.persons_private,
    ):
        yield RecordFingerprints(pair, ours, theirs, *days, found.persons_private)


def _mark(
    reason: str,
    pair: Pair | None,
    *,
    termin: Termin | None = None,
    google: GoogleEvent | None = None,
) -> Iterator[Action]:
    if pair is None or pair.untranslatable != reason:
        yield MarkUntranslatable(reason, pair, termin, google)
