"""What the calendar sync of one employee has to do: pure functions from what was observed to a list of actions.

The four phases of specification 09 follow each other in the list. What seems to be gone is first read directly: the
plan asks for that with `ConfirmAdvoware` and `ConfirmGoogle`, and is made again with the answers.

A Termin that is everybody's belongs to Advoware under either strategy: what one employee does to the copy in his
calendar is undone there and never reaches Advoware, and thereby the others.

A full listing of Google means that what it lacks is deleted, an incremental one that it is unchanged. A Termin outside
the window is not listed by Advoware, which says nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    HAS_EXCEPTIONS,
    TEXT_UNKNOWN,
    WAITS_FOR_PERMISSION,
    Action,
    AdoptGoogle,
    ConfirmAdvoware,
    ConfirmGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    GoogleEvent,
    HoldDeletions,
    InsertGoogle,
    MarkUntranslatable,
    NormalisedEvent,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    SoftDelete,
    SourceSystem,
    Termin,
    Untranslatable,
    UpdateAdvoware,
    UpdateGoogle,
    content_hash,
    is_anonymised_hash,
)
from services.calendar_sync.observation import Confirmations, GoogleListing, Picture, PlanSettings

#: More deletions in one run than this share of the pairs, and than the settings say, are not believed.
MAX_DELETED_SHARE = 0.2

#: Begins the reasons that lie in the Termin rather than in the event.
_TERMIN = "Termin: "

Verdict = Literal["soft_delete", "delete_google", "delete_advoware", "recreate_google", "recreate_advoware", "pend"]
_DELETIONS = frozenset({"soft_delete", "delete_google", "delete_advoware"})


def make_plan(
    settings: PlanSettings,
    termine: Sequence[Termin],
    google: GoogleListing,
    pairs: Iterable[Pair],
    confirmations: Confirmations | None = None,
) -> list[Action]:
    """The actions, in their order.

    ``termine`` is Advoware's answer for the employee and the window; a failed request is an error of the caller's,
    never an empty list. ``pairs`` are the employee's rows.
    """
    seen = Picture(settings, termine, google, pairs, confirmations or Confirmations())
    claimed: set[str] = set()
    return [
        *_new_in_advoware(seen, claimed),
        *_new_in_google(seen, claimed),
        *_deletions(seen),
        *_updates(seen),
    ]


# -- phase 1 --------------------------------------------------------------------------------------------------------


def _new_in_advoware(seen: Picture, claimed: set[str]) -> Iterator[Action]:
    """Termine without an event. The ids of the events that they get are added to ``claimed``."""
    by_fr_nr, by_content = _unpaired_events(seen)
    for fr_nr, termin in sorted(seen.termine.items()):
        pair = seen.by_fr_nr.get(fr_nr)
        if pair is not None and pair.google_event_id is not None:
            continue
        if isinstance(termin.event, Untranslatable):
            yield from _mark(_TERMIN + termin.event.reason, pair, termin=termin)
            continue
        if not seen.in_window(termin.event):
            continue
        event_id = google_event_id(fr_nr, seen.settings.calendar_id)
        ours = by_fr_nr.get(fr_nr)
        same = by_content.get(content_hash(termin.event))
        google = ours or (same.pop(0) if same else None)
        if google is None:
            yield InsertGoogle(termin, event_id, seen.settings.shown(termin.event), pair)
            continue
        claimed.add(google.id)
        if isinstance(google.event, Untranslatable):
            yield from _mark(google.event.reason, pair, termin=termin, google=google)
        else:
            yield from _adopt(seen, termin, google, pair)


def _unpaired_events(seen: Picture) -> tuple[dict[int, GoogleEvent], dict[str, list[GoogleEvent]]]:
    """Events without a Termin: ours that an earlier run did not get to remember, and people's, by content."""
    ours: dict[int, GoogleEvent] = {}
    by_content: dict[str, list[GoogleEvent]] = {}
    # Its id tells whose copy an event is, even if some program has dropped our properties.
    by_id = {google_event_id(fr_nr, seen.settings.calendar_id): fr_nr for fr_nr in seen.termine}
    for event in sorted(seen.events.values(), key=lambda event: event.id):
        pair = seen.by_event.get(event.id)
        if pair is not None and pair.advoware_frnr is not None:
            continue
        if event.id in by_id:
            ours[by_id[event.id]] = event
        elif event.fr_nr is not None and pair is None:
            ours.setdefault(event.fr_nr, event)
        elif isinstance(event.event, NormalisedEvent) and not event.event.anonymised:
            by_content.setdefault(content_hash(event.event), []).append(event)
    return ours, by_content


def _adopt(seen: Picture, termin: Termin, google: GoogleEvent, pair: Pair | None) -> Iterator[Action]:
    ours, theirs = _both(termin, google)
    waiting = seen.by_event.get(google.id)
    # A person's event with the Termin's content: either our own POST before a crash, or entered twice by people.
    is_ours = google.fr_nr is not None or google.id == google_event_id(termin.fr_nr, seen.settings.calendar_id)
    is_theirs = not is_ours and seen.may_post() and not termin.is_everybodys
    source: SourceSystem = "google" if is_theirs else "advoware"
    shown = seen.settings.shown(ours)
    equal = google.fr_nr == termin.fr_nr and content_hash(shown) == content_hash(theirs)
    write = not equal or google.has_foreign_text
    if waiting is not None and pair is not None and waiting.sync_id != pair.sync_id:
        yield SoftDelete(pair)  # first: a Termin has one live row
    yield AdoptGoogle(termin, google, shown, source, write, waiting or pair)


# -- phase 2 --------------------------------------------------------------------------------------------------------


def _new_in_google(seen: Picture, claimed: set[str]) -> Iterator[Action]:
    """People's events without a Termin."""
    for event_id, google in sorted(seen.events.items()):
        pair = seen.by_event.get(event_id)
        is_paired = pair is not None and pair.advoware_frnr is not None
        is_ours = pair is None and google.fr_nr is not None
        if event_id in claimed or is_paired or is_ours:
            continue
        if isinstance(google.event, Untranslatable):
            yield from _mark(google.event.reason, pair, google=google)
        elif google.event.anonymised:
            yield from _mark(TEXT_UNKNOWN, pair, google=google)
        elif not seen.in_window(google.event):
            continue
        elif seen.may_post():
            yield PostAdvoware(google, google.event, seen.settings.shown(google.event), pair)
        elif pair is None or pair.untranslatable:
            yield RememberPending(google, pair)
    for pair in seen.pairs:
        is_waiting = pair.advoware_frnr is None and not pair.untranslatable
        if is_waiting and seen.may_post() and seen.in_google(pair) == "unchanged":
            yield ConfirmGoogle(pair)


# -- phase 3 --------------------------------------------------------------------------------------------------------


def _deletions(seen: Picture) -> list[Action]:
    verdicts = [(pair, verdict) for pair in seen.pairs if (verdict := _verdict(seen, pair)) is not None]
    for orphan in seen.orphans:
        verdict = _verdict(seen, orphan)
        # A person who copies an event copies our mark with it: his copy is not deleted on the strength of that.
        if verdict is not None and (verdict != "delete_google" or orphan.source_system == "advoware"):
            verdicts.append((orphan, verdict))
    deletions = sum(verdict in _DELETIONS for _, verdict in verdicts)
    if verdicts and seen.advoware_is_empty:
        expected = [pair for pair in seen.pairs if pair.advoware_frnr is not None and seen.is_expected(pair)]
        if len(expected) > seen.settings.max_deletions:
            return [HoldDeletions("advoware_empty", deletions, len(seen.pairs))]
    if deletions > max(seen.settings.max_deletions, MAX_DELETED_SHARE * len(seen.pairs)):
        return [HoldDeletions("too_many", deletions, len(seen.pairs))]
    return [action for pair, verdict in verdicts for action in _carry_out(seen, pair, verdict)]


def _verdict(seen: Picture, pair: Pair) -> Verdict | None:
    """What happens to a pair of which something is missing, if that is confirmed; None: nothing."""
    advoware, google = seen.in_advoware(pair), seen.in_google(pair)
    lacks_advoware = advoware in {"missing", "gone", "elsewhere"}
    lacks_google = google in {"missing", "gone"}
    if not (lacks_advoware or lacks_google) or not seen.is_expected(pair):
        return None
    if lacks_advoware and lacks_google:
        return "soft_delete"
    # A row with only one side waits for the other in phase 1 or 2.
    if pair.advoware_frnr is None or pair.google_event_id is None:
        return None
    google_is_source = pair.sync_strategy == "source_system_wins" and pair.source_system == "google"
    if advoware == "elsewhere":
        return "delete_google"
    if lacks_advoware:
        if _left_alone(seen, pair) is not None:
            return None
        if google_is_source:
            return "recreate_advoware" if seen.may_write(pair) else "pend"
        return "delete_google"
    may_delete = seen.may_write(pair) and not seen.is_everybodys(pair)
    if may_delete and (google_is_source or pair.sync_strategy == "last_change_wins"):
        return "delete_advoware"
    return "recreate_google"


def _left_alone(seen: Picture, pair: Pair) -> str | None:
    """Why the pair's event must not be touched, as far as Google's side tells."""
    if pair.google_event_id in seen.excepted:
        return HAS_EXCEPTIONS
    google = seen.events.get(pair.google_event_id or "")
    if google is None:
        reason = pair.untranslatable
        return None if reason and (reason.startswith(_TERMIN) or reason == WAITS_FOR_PERMISSION) else reason
    return google.event.reason if isinstance(google.event, Untranslatable) else None


def _carry_out(seen: Picture, pair: Pair, verdict: Verdict) -> Iterator[Action]:
    unconfirmed = list(_unconfirmed(seen, pair, verdict))
    if unconfirmed:
        yield from unconfirmed
        return
    termin = seen.termine.get(pair.advoware_frnr or 0)
    google = seen.events.get(pair.google_event_id or "")
    if verdict == "soft_delete":
        yield SoftDelete(pair)
    elif verdict == "delete_google":
        reason = "reassigned" if seen.in_advoware(pair) == "elsewhere" else "deleted in Advoware"
        yield DeleteGoogle(pair, google.etag if google else pair.google.etag, reason)
    elif termin is not None and verdict == "delete_advoware":
        yield DeleteAdvoware(pair, termin, "deleted in Google")
    elif termin is not None and verdict == "recreate_google":
        yield from _recreate_google(seen, pair, termin)
    elif google is not None and isinstance(google.event, NormalisedEvent):
        if google.event.anonymised or is_anonymised_hash(pair.google.content_hash):
            yield from _mark(TEXT_UNKNOWN, pair)
        elif verdict == "recreate_advoware":
            yield RecreateAdvoware(pair, google, google.event, seen.settings.shown(google.event))
        else:
            yield RememberPending(google, pair)


def _unconfirmed(seen: Picture, pair: Pair, verdict: Verdict) -> Iterator[Action]:
    """The direct reads that have to come first."""
    google = seen.in_google(pair)
    # A row without event is nothing that could be lost: its Termin, should it be there after all, is new again.
    if seen.in_advoware(pair) == "missing" and pair.google_event_id is not None:
        yield ConfirmAdvoware(pair)
    # An incremental listing does not have the content that is to be created anew.
    if google == "missing" or (google == "unchanged" and verdict in {"recreate_advoware", "pend"}):
        yield ConfirmGoogle(pair)


def _recreate_google(seen: Picture, pair: Pair, termin: Termin) -> Iterator[Action]:
    if isinstance(termin.event, Untranslatable):
        yield from _mark(_TERMIN + termin.event.reason, pair)
        return
    event_id = pair.google_event_id or google_event_id(termin.fr_nr, seen.settings.calendar_id)
    yield RecreateGoogle(pair, termin, event_id, seen.settings.shown(termin.event))


# -- phase 4 --------------------------------------------------------------------------------------------------------


def _updates(seen: Picture) -> Iterator[Action]:
    for pair in seen.pairs:
        termin = seen.termine.get(pair.advoware_frnr or 0)
        if seen.in_google(pair) not in {"present", "unchanged"}:
            continue
        of_termin = _TERMIN + termin.event.reason if termin and isinstance(termin.event, Untranslatable) else None
        reason = of_termin or _left_alone(seen, pair)
        if reason is not None:
            # Also if its Termin is gone: phase 3 leaves such an event alone.
            if termin is not None or _has_lost_its_termin(seen, pair):
                yield from _mark(reason, pair)
        elif termin is not None:
            yield from _update(seen, _Comparison(seen, pair, termin, seen.events.get(pair.google_event_id or "")))


def _has_lost_its_termin(seen: Picture, pair: Pair) -> bool:
    is_missing = pair.advoware_frnr is not None and seen.in_advoware(pair) in {"missing", "gone"}
    return is_missing and seen.is_expected(pair)


class _Comparison:
    """A complete pair: what each side says now, and whether that is new."""

    def __init__(self, seen: Picture, pair: Pair, termin: Termin, google: GoogleEvent | None) -> None:
        self.pair, self.termin, self.google = pair, termin, google
        self.ours, self.theirs = _both(termin, google)
        self.shown = seen.settings.shown(self.ours)
        self.has_foreign_text = google is not None and google.has_foreign_text
        if self.theirs and not self.theirs.anonymised and is_anonymised_hash(pair.google.content_hash):
            # Some program dropped our marker. What stands there is still not the Termin's text.
            self.theirs, self.has_foreign_text = self.theirs.anonymise(), True
        self.our_hash = content_hash(self.ours)
        self.their_hash = content_hash(self.theirs) if self.theirs else pair.google.content_hash
        self.advoware_changed = self.our_hash != pair.advoware.content_hash
        self.google_changed = self.their_hash != pair.google.content_hash

    @property
    def is_equal(self) -> bool:
        """Whether both say the same, as far as Google's side says anything."""
        comparable = self.ours.anonymise() if is_anonymised_hash(self.their_hash) else self.ours
        return content_hash(comparable) == self.their_hash

    @property
    def shows_too_much_or_little(self) -> bool:
        """Whether Google shows texts that it must not, or lacks those that it should show."""
        return self.has_foreign_text or is_anonymised_hash(self.their_hash) != self.shown.anonymised

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
        ours, theirs = self.termin.changed_at, self.google.updated if self.google else None
        if ours is None or theirs is None:
            return self.pair.source_system
        return "google" if theirs > ours else "advoware"


def _update(seen: Picture, found: _Comparison) -> Iterator[Action]:
    pair, google = found.pair, found.google
    etag = google.etag if google else pair.google.etag
    write_google = UpdateGoogle(pair, found.termin, found.shown, etag)
    is_remembered_only = google is None and pair.untranslatable == WAITS_FOR_PERMISSION
    if found.their_hash is None or is_remembered_only:
        yield ConfirmGoogle(pair)
    elif found.is_equal or not (found.advoware_changed or found.google_changed):
        # Unequal and yet unchanged: a system stores what it gets in its own way. Writing again would not help.
        if found.shows_too_much_or_little:
            yield write_google
        else:
            yield from _record(found)
    else:
        winner = found.winner(may_write=seen.may_write(pair))
        if winner == "advoware":
            yield write_google
        elif winner == "google" and (google is None or found.theirs is None):
            yield ConfirmGoogle(pair)
        elif winner == "google" and google is not None and found.theirs is not None:
            # An incremental listing would not show the text again.
            shown = found.theirs if found.has_foreign_text else None
            yield UpdateAdvoware(pair, found.termin, google, found.theirs, shown)
        else:
            # The next incremental listing would not show the change again.
            yield from _mark(WAITS_FOR_PERMISSION, pair)


def _record(found: _Comparison) -> Iterator[Action]:
    pair, google = found.pair, found.google
    ours = Fingerprint(found.our_hash, found.termin.changed_at)
    theirs = Fingerprint(found.their_hash, google.updated, google.etag) if google else pair.google
    days = found.ours.first_day, found.ours.last_day
    remembered = (pair.advoware, pair.google, (pair.first_day, pair.last_day), pair.error, pair.sync_status)
    if remembered != (ours, theirs, days, None, "synced"):
        yield RecordFingerprints(pair, ours, theirs, *days)


@overload
def _both(termin: Termin, google: GoogleEvent) -> tuple[NormalisedEvent, NormalisedEvent]: ...


@overload
def _both(termin: Termin, google: GoogleEvent | None) -> tuple[NormalisedEvent, NormalisedEvent | None]: ...


def _both(termin: Termin, google: GoogleEvent | None) -> tuple[NormalisedEvent, NormalisedEvent | None]:
    """Both contents, of which the caller knows that they are translatable."""
    theirs = google.event if google else None
    if isinstance(termin.event, Untranslatable) or isinstance(theirs, Untranslatable):
        raise TypeError("an untranslatable appointment cannot be compared")
    return termin.event, theirs


def _mark(
    reason: str, pair: Pair | None, *, termin: Termin | None = None, google: GoogleEvent | None = None
) -> Iterator[Action]:
    if pair is None or pair.untranslatable != reason:
        yield MarkUntranslatable(reason, pair, termin, google)
