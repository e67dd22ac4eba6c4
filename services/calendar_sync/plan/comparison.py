"""What both sides of a complete pair say, and whether that is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from services.calendar_sync.model import (
    TEXTS,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    ReplaceGoogle,
    ShowGoogle,
    SourceSystem,
    Termin,
    Untranslatable,
    UpdateGoogle,
    content_hash,
    holds_more,
    is_anonymised_hash,
    is_earlier_reading,
    is_partial_hash,
    is_same_content,
    is_uncompared,
    without_texts,
)
from services.calendar_sync.view import CalendarView


class Comparison:
    """A complete pair: what each side says now, and whether that is new.

    Attributes:
        advoware: what the Termin says.
        google: what the event says; None: it is not listed.
        event: the event as it is listed.
        shown: what Google is to show.
        has_foreign_text: whether Google shows text that has to be written over.
        row: the pair to be written with: of a hidden event it cannot be known any more that its owner keeps it private.
    """

    def __init__(
        self,
        view: CalendarView,
        pair: Pair,
        termin: Termin,
        advoware: NormalisedEvent,
        event: GoogleEvent | None,
    ) -> None:
        self.pair = pair
        self.termin = termin
        self.advoware = advoware
        self.event = event
        self.google = event.event if event else None
        self.persons_private = view.persons_private(pair)
        self.row = replace(pair, persons_private=self.persons_private)
        self.shown = view.settings.shown(advoware, persons_private=self.persons_private)
        occurrences = view.occurrences.get(pair.google_event_id or "", ())
        self.occurrences = tuple(occurrences)
        self._is_touched = event is not None and event.etag != pair.google.etag
        self.has_foreign_text = self._has_foreign_text(view)
        self._ignore_texts_without_marker()
        self.google_hash = self._hash_of_google()
        self.advoware_hash = self._hash_of_advoware()
        self.advoware_changed = not is_same_content(
            self.advoware_hash,
            pair.advoware.content_hash,
        )
        differs = not is_same_content(self.google_hash, pair.google.content_hash)
        self.google_changed = differs and self._is_news()

    # -- what each side says --------------------------------------------------------------------------------------

    def _has_foreign_text(self, view: CalendarView) -> bool:
        if self.event is None or not self.event.has_foreign_text:
            return False
        return not view.is_as_we_hid_it(self.pair, self.event)

    def _ignore_texts_without_marker(self) -> None:
        """Texts of a hidden event that has lost our marker are still not the Termin's."""
        was_anonymised = is_anonymised_hash(self.pair.google.content_hash)
        if self.google is None or not was_anonymised:
            return
        hidden = without_texts(self.google)
        if hidden != self.google:
            self.google = hidden
            self.has_foreign_text = True

    def _hash_of_advoware(self) -> str:
        remembered = self.pair.advoware.content_hash
        if remembered is None:
            return content_hash(self.advoware)
        if self._is_a_text_unknown or self._is_shown_otherwise:
            return remembered
        return content_hash(self.advoware)

    @property
    def _is_a_text_unknown(self) -> bool:
        """Whether a text is null although Advoware says that the Termin was not touched: unknown, not cleared."""
        return _lacks_a_text(self.termin) and not self._is_touched_in_advoware

    @property
    def _is_shown_otherwise(self) -> bool:
        """Whether Advoware shows perhaps another content than it is known to have, and no one has edited it.

        That is what it has answered to our own write; or texts that a hidden event cannot distinguish from others.
        """
        was_known = not is_partial_hash(self.pair.advoware.content_hash)
        if not (was_known and self._is_same_version):
            return False
        is_hidden_equal = content_hash(self.advoware.anonymise()) == self.google_hash
        return self.pair.written == "advoware" or is_hidden_equal

    @property
    def _is_touched_in_advoware(self) -> bool:
        """Whether the Termin may have been changed since it was last compared, by what Advoware says."""
        changed_at = self.termin.changed_at
        return changed_at is None or changed_at != self.pair.advoware.changed_at

    @property
    def _is_same_version(self) -> bool:
        """Whether the Termin is as it was compared last, whatever is shown of it now."""
        row_id = self.termin.row_id
        return row_id is not None and row_id == self.pair.advoware.etag

    @property
    def is_cut_short(self) -> bool:
        """Whether a write of Google's content would send texts back that Advoware does not show as they are known."""
        remembered = self.pair.advoware.content_hash
        is_as_known = is_same_content(content_hash(self.advoware), remembered)
        if remembered is None or is_as_known:
            return False
        if self._is_a_text_unknown:
            return True
        was_known = not is_partial_hash(remembered)
        return was_known and self._is_same_version and self._keeps_a_text

    @property
    def _keeps_a_text(self) -> bool:
        """Whether Google's side does not say all texts, so that a write leaves some of the Termin as they are."""
        google = self.google
        if isinstance(google, Untranslatable):
            if not google.unknown.isdisjoint(TEXTS):
                return True
            google = google.part
        return google is None or google.anonymised or google.text is None

    def _hash_of_google(self) -> str | None:
        if self.google is not None:
            return content_hash(self.google)
        remembered = self.pair.google.content_hash
        if is_uncompared(remembered):
            return None
        return remembered

    def _is_news(self) -> bool:
        """Whether what Google shows may be a person's edit.

        An event that Google has not touched is not changed because an answer lacks a text, because we have learned to
        read it otherwise, or because Google shows something else than it has answered to our own write. It may be shown
        in full again after it was not, and an edit may still have to be compared.
        """
        remembered = self.pair.google.content_hash
        if self._is_touched or is_uncompared(remembered):
            return True
        if is_earlier_reading(remembered):
            return False
        # Whether occurrences of a series were changed, its own version does not say.
        is_whole = isinstance(self.google, NormalisedEvent)
        if is_whole and self.pair.written == "google":
            return False
        return not _lacks_a_text_of(self.google, self.advoware)

    @property
    def unseen_texts(self) -> frozenset[str]:
        """The texts of the Termin that no one could see in its event, because Advoware did not show them until now.

        What a person has typed there meanwhile replaces nothing that he knew.
        """
        was_known = not is_partial_hash(self.pair.advoware.content_hash)
        if was_known and self._is_touched_in_advoware:
            return frozenset()
        known = [name for name in TEXTS if getattr(self.advoware, name) is not None]
        for names in _selections(known):
            if self._was_shown_without(names):
                return frozenset(names)
        return frozenset()

    def _was_shown_without(self, names: Iterable[str]) -> bool:
        """Whether the event, when it was last compared, showed the Termin without these texts."""
        gaps: dict[str, Any] = dict.fromkeys(names)
        without = replace(self.advoware, **gaps)
        return content_hash(without) == self.pair.google.content_hash

    @property
    def is_persons_edit(self) -> bool:
        """Whether a write to Google does away with what a person has entered."""
        return self.google_changed or self.has_foreign_text

    @property
    def undone(self) -> tuple[GoogleEvent, ...]:
        """What a write to Google does away with, and Advoware does not have."""
        if self.event is None:
            return ()
        if self.is_persons_edit or holds_more(self.event.event):
            return (self.event, *self.occurrences)
        return ()

    @property
    def unseen_in_advoware(self) -> NormalisedEvent | None:
        """The Termin, if a person has edited it since both sides were compared."""
        return self.advoware if self.advoware_changed else None

    @property
    def etag(self) -> str | None:
        """The etag to expect in Google."""
        if self.event:
            return self.event.etag
        return self.pair.google.etag

    # -- how they compare -----------------------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        """Whether either side says something new."""
        return self.advoware_changed or self.google_changed

    @property
    def is_equal(self) -> bool:
        """Whether both say the same, as far as Google's side says anything."""
        comparable = self.advoware
        if is_anonymised_hash(self.google_hash):
            comparable = comparable.anonymise()
        return content_hash(comparable) == self.google_hash

    @property
    def has_other_times(self) -> bool:
        """Whether the sides, as they are shown now, do not agree about when it is; False also if that is not known."""
        google = self.google
        if not isinstance(google, NormalisedEvent):
            return False
        return self.advoware.timing != google.timing

    @property
    def is_shown_wrongly(self) -> bool:
        """Whether Google shows texts that it must not, or lacks those that it should show."""
        is_hidden = is_anonymised_hash(self.google_hash)
        if self.has_foreign_text or is_hidden != self.shown.anonymised:
            return True
        return self._is_needlessly_private

    @property
    def _is_needlessly_private(self) -> bool:
        """Whether readers of the calendar do not see what they are to see: only what is hidden is private."""
        is_advowares = self.pair.source_system == "advoware"
        is_private = self.event is not None and self.event.is_private
        return is_advowares and is_private and not self.shown.anonymised

    @property
    def is_series(self) -> bool:
        """Whether either side says that it repeats."""
        if self.advoware.recurrence is not None:
            return True
        google = self.google
        return isinstance(google, NormalisedEvent) and google.recurrence is not None

    @property
    def may_be_shown_again(self) -> bool:
        """Whether Google hides texts that it need not hide any more."""
        return is_anonymised_hash(self.google_hash) and not self.shown.anonymised

    @property
    def belongs_to_advoware(self) -> bool:
        """Whether Advoware decides, whichever side has changed."""
        if self.termin.is_for_all_employees:
            return True
        source_wins = self.pair.sync_strategy == "source_system_wins"
        return source_wins and self.pair.source_system == "advoware"

    @property
    def is_claimed_by_advoware(self) -> bool:
        """Whether a Termin that came from Google may have been made one of all employees, so that Advoware decides."""
        if not self.termin.is_for_all_employees or self.pair.source_system != "google":
            return False
        return self.termin.changed_at != self.pair.advoware.changed_at

    # -- what is to be done ---------------------------------------------------------------------------------------

    def update_google(self) -> UpdateGoogle:
        """Write what Google is to show."""
        return UpdateGoogle(
            self.row,
            self.termin,
            self.shown,
            self.etag,
            self.event,
            self.undone,
        )

    def replace_google(self, event: GoogleEvent) -> ReplaceGoogle:
        """Put a new series in the place of this one; its single occurrences, which go with it, are a person's."""
        undone = self.undone or self.occurrences
        return ReplaceGoogle(self.row, self.termin, self.shown, event, undone)

    def show(self) -> ShowGoogle:
        """Write the texts, and leave the times."""
        hidden = tuple(each for each in self.occurrences if _is_hidden(each))
        return ShowGoogle(self.pair, self.shown, self.etag, hidden, self.google_changed)

    def winner(self, *, may_write: bool) -> SourceSystem | None:
        """Whose content is to be on both sides; None: Google's would be, but Advoware may not be written."""
        winner = self._preferred()
        if winner == "advoware" or may_write:
            return winner
        # Google's content is preferred, and cannot be written: then the source's is put back.
        if self.pair.source_system == "advoware":
            return "advoware"
        return None

    def _preferred(self) -> SourceSystem:
        """Whose content is to be on both sides, if both may be written."""
        if self.termin.is_for_all_employees:
            return "advoware"
        if self.pair.sync_strategy == "source_system_wins":
            return self.pair.source_system
        return self._last_changed()

    def _last_changed(self) -> SourceSystem:
        if self.advoware_changed and self.google_changed:
            return self._later()
        if self.advoware_changed:
            return "advoware"
        return "google"

    def _later(self) -> SourceSystem:
        advoware_changed_at = self.termin.changed_at
        google_changed_at = self.event.updated if self.event else None
        if advoware_changed_at is None or google_changed_at is None:
            return self.pair.source_system
        if google_changed_at > advoware_changed_at:
            return "google"
        return "advoware"


def _selections(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Each name alone, then each two of them, and so on."""
    for number in range(1, len(names) + 1):
        yield from combinations(names, number)


def _lacks_a_text_of(
    google: NormalisedEvent | Untranslatable | None,
    advoware: NormalisedEvent,
) -> bool:
    """Whether a readable event shows no title, note or place where the Termin has one."""
    if not isinstance(google, NormalisedEvent) or google.anonymised:
        return False
    lacking = [name for name in TEXTS if getattr(google, name) is None]
    return any(getattr(advoware, name) is not None for name in lacking)


def _lacks_a_text(termin: Termin) -> bool:
    return any(termin.record.get(name) is None for name in TEXTS)


def _is_hidden(occurrence: GoogleEvent) -> bool:
    return not (occurrence.cancelled or occurrence.shows_text)
