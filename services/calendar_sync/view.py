"""What one run of the calendar sync has observed, and may do: the input of its plan. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal
from uuid import NAMESPACE_OID, UUID, uuid5

from services.calendar_sync.mapping import (
    generation_of,
    is_inserted_by_sync,
    original_start,
    termine_by_event_id,
)
from services.calendar_sync.model import (
    HAS_EXCEPTIONS,
    MOVED_AWAY,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    SyncStrategy,
    Termin,
    day_of,
    has_exceptions,
    is_anonymised_hash,
    without_times,
)
from services.calendar_sync.recurrence import has_occurrence_at

MAX_DELETIONS = 5

#: What is known about one side of a pair. ``unchanged``: not in an incremental listing. ``unlisted``: outside of the
#: days that were listed, so that its absence says nothing. ``missing``: not confirmed yet. ``elsewhere``: the Termin
#: belongs to another employee now.
Presence = Literal["present", "unchanged", "unlisted", "missing", "gone", "elsewhere"]

#: What an event with our marks is that is no pair's event. ``adoptable``: its Termin has no event. ``unknown``: whether
#: its Termin exists was not asked yet. ``leftover``: our own copy, of which a run did not get to store the row.
#: ``persons``: a person has copied, split, moved or restored it, and our marks came along.
MarkedAs = Literal["adoptable", "unknown", "leftover", "persons"]


@dataclass(frozen=True)
class PlanSettings:
    """What one run may do.

    Attributes:
        kuerzel: the employee.
        calendar_id: the employee's calendar.
        first_day: of the window; ``last_day`` likewise, both inclusive.
        listed_from: the first day of which Advoware's Termine were listed, if that is before the window;
            ``listed_until`` likewise.
        strategy: of new pairs; ``advoware_write_allowed`` likewise.
        write_protection: forbids every write to Advoware, whatever a row says.
        full_content: whether this run shows texts in Google.
        anonymise: whether no run ever does.
        max_deletions: more deletions than this, and than a fifth of the pairs, are not believed.
        released: the pairs of the deletions that an operator has looked at, and has released for this run.
    """

    kuerzel: str
    calendar_id: str
    first_day: date
    last_day: date
    listed_from: date | None = None
    listed_until: date | None = None
    strategy: SyncStrategy = "source_system_wins"
    advoware_write_allowed: bool = False
    write_protection: bool = True
    full_content: bool = True
    anonymise: bool = False
    max_deletions: int = MAX_DELETIONS
    released: frozenset[UUID] = frozenset()

    @property
    def hides_all(self) -> bool:
        """Whether Google may show no text of any appointment."""
        return self.anonymise or not self.full_content

    def shown(
        self,
        event: NormalisedEvent,
        *,
        persons_private: bool = False,
    ) -> NormalisedEvent:
        """The event as Google may show it; one that a person keeps private there keeps its text."""
        is_hidden = self.hides_all or (event.privat and not persons_private)
        if is_hidden:
            return event.anonymise()
        return event

    def covers(self, first_day: date, last_day: date) -> bool:
        """Whether any of these days lies in the window."""
        return first_day <= self.last_day and last_day >= self.first_day

    def lists(self, first_day: date, last_day: date) -> bool:
        """Whether Advoware's list covers any of these days."""
        listed_from = self.listed_from or self.first_day
        listed_until = self.listed_until or self.last_day
        return first_day <= listed_until and last_day >= listed_from


@dataclass(frozen=True)
class GoogleListing:
    """A complete answer of Google, all pages.

    Attributes:
        events: including tombstones and changed occurrences of series.
        full: whether it is a full listing; else only changes since the last one.
    """

    events: Sequence[GoogleEvent]
    full: bool


@dataclass(frozen=True)
class Confirmations:
    """Answers of direct reads: by ``frNr`` and by event id; None: not there. Unasked ones are no keys."""

    termine: Mapping[int, Termin | None] = field(default_factory=dict)
    events: Mapping[str, GoogleEvent | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Past:
    """What other rows know of listed events and Termine that have no pair.

    Attributes:
        once_paired: those that a deleted pair of this employee has had.
        elsewhere: the Termin of those hidden ones that are a live pair's of another employee: they were moved here.
        undecided: Termine that interrupted creates may have left, of which it is not known yet whose they are.
        moved_here: the Termin of those without our marks that another employee's pair has, or has had.
    """

    once_paired: frozenset[str] = frozenset()
    elsewhere: Mapping[str, int] = field(default_factory=dict)
    undecided: frozenset[int] = frozenset()
    moved_here: Mapping[str, int] = field(default_factory=dict)


def is_placeholder(event: GoogleEvent) -> bool:
    """Whether it shows only what we show of an appointment whose text is hidden."""
    return not event.shows_text


class CalendarView:
    """Both sides and the pairs, each to be found by its key."""

    def __init__(
        self,
        settings: PlanSettings,
        termine: Sequence[Termin],
        google: GoogleListing,
        pairs: Iterable[Pair],
        confirmed: Confirmations,
        past: Past | None = None,
    ) -> None:
        self.settings = settings
        self.google = google
        self.confirmed = confirmed
        self.past = past or Past()
        self.advoware_is_empty = not termine
        self._index_termine([*termine, *confirmed.termine.values()])
        self._index_pairs(pairs)
        read = [event for event in confirmed.events.values() if event is not None]
        self._index_events([*google.events, *read])

    def _index_termine(self, termine: Iterable[Termin | None]) -> None:
        self.termine: dict[int, Termin] = {}
        self.elsewhere: dict[int, Termin] = {}
        for termin in termine:
            if termin is None or termin.fr_nr <= 0:
                continue
            if termin.belongs_to(self.settings.kuerzel):
                self.termine[termin.fr_nr] = termin
            else:
                self.elsewhere[termin.fr_nr] = termin
        for fr_nr in self.termine:
            self.elsewhere.pop(fr_nr, None)

    def _index_pairs(self, pairs: Iterable[Pair]) -> None:
        live = [pair for pair in pairs if self._is_live(pair)]
        self.pairs = sorted(live, key=lambda pair: str(pair.sync_id))
        self.by_fr_nr: dict[int, Pair] = {}
        self.by_event: dict[str, Pair] = {}
        for pair in self.pairs:
            if pair.advoware_frnr is not None:
                self.by_fr_nr[pair.advoware_frnr] = pair
            if pair.google_event_id is not None:
                self.by_event[pair.google_event_id] = pair

    def _is_live(self, pair: Pair) -> bool:
        return not pair.deleted and pair.employee_kuerzel == self.settings.kuerzel

    def _index_events(self, events: Iterable[GoogleEvent]) -> None:
        # Of what was read directly as well, that counts: it comes last.
        latest = {event.id: event for event in events}
        single: list[GoogleEvent] = []
        self.occurrences: dict[str, list[GoogleEvent]] = {}
        for event in latest.values():
            if event.recurring_event_id:
                of_series = self.occurrences.setdefault(event.recurring_event_id, [])
                of_series.append(event)
            else:
                single.append(event)
        self.cancelled: set[str] = set()
        #: Events that only their id gives to a Termin.
        self.unmarked: set[str] = set()
        self.events: dict[str, GoogleEvent] = {}
        for event in single:
            if event.cancelled:
                self.cancelled.add(event.id)
            else:
                self.events[event.id] = self._named(self._with_exceptions(event))
        self._index_marked()

    def _named(self, event: GoogleEvent) -> GoogleEvent:
        """The event, with the Termin that its id gives it to; some program may have dropped our properties."""
        if event.fr_nr is not None or event.id in self.by_event:
            return event
        fr_nr = self.termin_of_id(event.id)
        if fr_nr is None:
            return event
        self.unmarked.add(event.id)
        return replace(event, fr_nr=fr_nr)

    def termin_of_id(self, event_id: str) -> int | None:
        """The employee's Termin for whose event we have made this id, or which had it at a colleague.

        None: it is that of none that is listed or has a row.
        """
        if is_inserted_by_sync(event_id) and event_id in self._by_own_id:
            return self._by_own_id[event_id]
        return self._termin_moved_with(event_id)

    def _termin_moved_with(self, event_id: str) -> int | None:
        """The Termin that was handed to the employee while its event was moved to his calendar."""
        fr_nr = self.past.moved_here.get(event_id)
        if fr_nr not in self.termine:
            return None
        pair = self.by_fr_nr.get(fr_nr)
        has_another = pair is not None and pair.google_event_id not in {None, event_id}
        return None if has_another else fr_nr

    @cached_property
    def _by_own_id(self) -> dict[str, int]:
        # Also of rows: a list may lack a Termin whose event a row waits for.
        known = self.termine.keys() | self.by_fr_nr.keys()
        return termine_by_event_id(known, self.settings.calendar_id)

    def _index_marked(self) -> None:
        self.marked: list[GoogleEvent] = []
        for event in self.events.values():
            if event.fr_nr is not None and event.id not in self.by_event:
                self.marked.append(event)

    # -- events with our marks that are no pair's event --------------------------------------------------------

    def marked_as(self, event: GoogleEvent) -> MarkedAs:
        """What an event of `marked` is."""
        fr_nr = event.fr_nr or 0
        pair = self.by_fr_nr.get(fr_nr)
        if pair is not None and pair.google_event_id is not None:
            return "persons"
        if fr_nr in self.termine:
            return "adoptable"
        if not self.is_asked(fr_nr):
            return "unknown"
        if self.may_be_leftover(event):
            return "leftover"
        return "persons"

    def has_termin(self, event: GoogleEvent) -> bool:
        """Whether the event is that of a pair which has a Termin."""
        pair = self.by_event.get(event.id)
        return pair is not None and pair.advoware_frnr is not None

    def may_be_leftover(self, event: GoogleEvent) -> bool:
        """Whether we have inserted it, and no row has ever known it. What a row knew, a person has brought back."""
        if event.id in self.past.once_paired:
            return False
        return (
            generation_of(event.id, event.fr_nr or 0, self.settings.calendar_id)
            is not None
        )

    def is_asked(self, fr_nr: int) -> bool:
        """Whether it is known what has become of that Termin."""
        return (
            fr_nr in self.termine
            or fr_nr in self.elsewhere
            or fr_nr in self.confirmed.termine
        )

    def is_hidden_copy(self, event: GoogleEvent) -> bool:
        """Whether it was made of an event whose text we hide, and says nothing of its own.

        Text that was typed into a hidden event is not taken; in a copy of one it is what the copy is about.
        """
        was_moved_here = event.id in self.past.elsewhere
        return is_placeholder(event) or was_moved_here

    def origin_of(self, event: GoogleEvent) -> int | None:
        """The Termin whose copy an event without pair was made from, as far as marks, its id or other rows show."""
        if event.fr_nr is not None:
            return event.fr_nr
        # The second half of a split series has the first one's id with a suffix.
        series_id, _, is_rest = event.id.partition("_R")
        series = self.by_event.get(series_id) if is_rest else None
        if series:
            return series.advoware_frnr
        return self.past.elsewhere.get(event.id)

    def row_of_marked(self, event: GoogleEvent) -> Pair:
        """The row that a run did not get to store after it had written the event, or that was unlinked from it."""
        settings = self.settings
        waiting = self.by_fr_nr.get(event.fr_nr or 0)
        if waiting is not None and waiting.sync_id == event.sync_id:
            return replace(waiting, google_event_id=event.id)
        return Pair(
            # Another one for each version, because the event may have had a row that is deleted by now.
            uuid5(NAMESPACE_OID, f"{event.id} {event.etag}"),
            settings.kuerzel,
            self.origin_of(event),
            event.id,
            "advoware",
            settings.strategy,
            settings.advoware_write_allowed,
        )

    # -- series with changed occurrences ------------------------------------------------------------------------

    def _with_exceptions(self, event: GoogleEvent) -> GoogleEvent:
        """The event, with untranslatable times if single occurrences of its series were changed."""
        changed = any(
            _is_exception(item, event) for item in self.occurrences.get(event.id, ())
        )
        if changed or self._is_known_to_have_exceptions(event.id):
            return replace(event, event=without_times(event.event, HAS_EXCEPTIONS))
        return event

    def _is_known_to_have_exceptions(self, event_id: str) -> bool:
        """An incremental listing does not repeat the occurrences that were changed before."""
        pair = self.by_event.get(event_id)
        return (
            not self.google.full
            and pair is not None
            and has_exceptions(pair.untranslatable)
        )

    def has_unseen_series(self, pair: Pair) -> bool:
        """Whether occurrences were changed of a series that is not listed itself."""
        event_id = pair.google_event_id or ""
        return event_id not in self.events and event_id in self.occurrences

    def may_have_left_its_event(self, pair: Pair) -> bool:
        """Whether the row was unlinked from an event that may be there still: an incremental list is silent about it.

        Made again under its old id, a series would keep its single occurrences as they are.
        """
        was_paired = pair.advoware.content_hash is not None
        is_unlinked = was_paired and pair.google_event_id is None
        return is_unlinked and not self.google.full

    def has_unlisted_occurrences(self, pair: Pair) -> bool:
        """Whether there may be occurrences with texts of their own that only a full listing shows.

        Google lists each of which anything was changed, be it its colour, but an incremental listing does not repeat
        it. Of a pair that covers one day there is none.
        """
        if self.google.full:
            return False
        if has_exceptions(pair.untranslatable):
            return True
        return pair.first_day is None or pair.first_day != pair.last_day

    # -- privacy --------------------------------------------------------------------------------------------------

    def persons_private(self, pair: Pair) -> bool:
        """Whether the event is a person's own, who keeps it private in Google."""
        google = self.events.get(pair.google_event_id or "")
        if (
            google is None
            or pair.source_system != "google"
            or is_anonymised_hash(pair.google.content_hash)
            # Hidden by a run that ended before its row, or a person's who gives it the title of a hidden one.
            or google.has_foreign_text
            or not google.shows_text
        ):
            return pair.persons_private
        return google.is_private

    def must_hide(self, pair: Pair) -> bool:
        """Whether the pair's event may show no text."""
        fr_nr = pair.advoware_frnr
        if fr_nr is None:
            # A person's own event, which we have not touched; or one of the sync that has lost our marks.
            is_of_sync = is_inserted_by_sync(pair.google_event_id or "")
            return is_of_sync and self.settings.hides_all
        if self.settings.hides_all:
            return True
        termin = self.termine.get(fr_nr) or self.elsewhere.get(fr_nr)
        if termin is None or not termin.privat:
            return False
        return not self.persons_private(pair)

    def shows_text(self, pair: Pair) -> bool:
        """Whether the pair's event, or an occurrence of it, shows text, as observed or else as remembered."""
        google = self.events.get(pair.google_event_id or "")
        if google is None:
            return not is_anonymised_hash(pair.google.content_hash)
        listed = [google, *self.occurrences.get(google.id, ())]
        if self.is_as_we_hid_it(pair, google):
            listed = [item for item in listed if not _shows_the_same(item, google)]
        return any(item.shows_text for item in listed) or self.may_show_unlisted(pair)

    def is_as_we_hid_it(self, pair: Pair, google: GoogleEvent) -> bool:
        """Whether a text in the pair's event is what Google has made of the title that we gave to a hidden one.

        It stays so if it is written again; once a day we try.
        """
        if self.google.full or google.etag != pair.google.etag:
            return False
        return is_anonymised_hash(pair.google.content_hash)

    def may_show_unlisted(self, pair: Pair) -> bool:
        """Whether occurrences that are not listed may show text, although their series does not.

        A run may have ended between a series and its occurrences, so that the row remembers the text.
        """
        remembered = pair.google.content_hash
        if remembered is None or is_anonymised_hash(remembered):
            return False
        return self.has_unlisted_occurrences(pair)

    def is_moved_away(self, pair: Pair) -> bool:
        """Whether a person has moved the pair's event to a colleague; an incremental list is silent about it."""
        is_here = pair.google_event_id in self.events
        return pair.untranslatable in MOVED_AWAY and not is_here

    # -- what may be done -----------------------------------------------------------------------------------------

    def may_post(self) -> bool:
        """Whether new events may be written to Advoware."""
        return (
            self.settings.advoware_write_allowed and not self.settings.write_protection
        )

    def may_write(self, pair: Pair) -> bool:
        """Whether the pair's Termin may be changed."""
        return pair.advoware_write_allowed and not self.settings.write_protection

    def is_for_all_employees(self, pair: Pair) -> bool:
        """Whether the pair's Termin is in the calendars of all employees."""
        termin = self.termine.get(pair.advoware_frnr or 0)
        return termin is not None and termin.is_for_all_employees

    # -- presence -------------------------------------------------------------------------------------------------

    def in_window(self, event: NormalisedEvent) -> bool:
        """Whether any of its days lies in the window."""
        return self.settings.covers(event.first_day, event.last_day)

    def is_in_window(self, pair: Pair) -> bool:
        """Whether the pair lies in the window, as remembered or as observed now."""
        return self._has_days_in(pair, self.settings.covers)

    def is_expected(self, pair: Pair) -> bool:
        """Whether Advoware's list has to contain the pair's Termin; then its absence means something."""
        return self._has_days_in(pair, self.settings.lists)

    def _has_days_in(self, pair: Pair, covers: Callable[[date, date], bool]) -> bool:
        if pair.first_day is None or pair.last_day is None:
            return True
        if covers(pair.first_day, pair.last_day):
            return True
        termin = self.termine.get(pair.advoware_frnr or 0)
        if _is_covered(termin, covers):
            return True
        google = self.events.get(pair.google_event_id or "")
        return _is_covered(google, covers)

    def in_advoware(self, pair: Pair) -> Presence:
        """What is known about the pair's Termin."""
        if pair.advoware_frnr is None:
            return "gone"
        if pair.advoware_frnr in self.termine:
            return "present"
        if pair.advoware_frnr in self.elsewhere:
            return "elsewhere"
        if pair.advoware_frnr in self.confirmed.termine:
            return "gone"
        if self.is_expected(pair):
            return "missing"
        return "unlisted"

    def in_google(self, pair: Pair) -> Presence:
        """What is known about the pair's event."""
        if pair.google_event_id is None:
            return "gone"
        if pair.google_event_id in self.events:
            return "present"
        if pair.google_event_id in self.confirmed.events:
            return "gone"
        if self.google.full or pair.google_event_id in self.cancelled:
            return "missing"
        return "unchanged"


def _is_covered(
    side: Termin | GoogleEvent | None,
    covers: Callable[[date, date], bool],
) -> bool:
    """Whether the days of a side that is there and readable are covered."""
    event = side.event if side is not None else None
    if not isinstance(event, NormalisedEvent):
        return False
    return covers(event.first_day, event.last_day)


def _is_exception(occurrence: GoogleEvent, series: GoogleEvent) -> bool:
    """Whether an occurrence that Google lists by itself differs from its series in what we care about.

    Google also lists one of which only the colour, a reminder or an answer to an invitation was changed.
    """
    one = occurrence.event
    whole = series.event
    if not isinstance(one, NormalisedEvent) or not isinstance(whole, NormalisedEvent):
        return True
    slot = original_start(occurrence.record)
    if one.start != slot or _length(one) != _length(whole):
        return True
    if not _is_slot(slot, whole):
        return True
    return _has_other_texts(occurrence, series)


def _shows_the_same(item: GoogleEvent, series: GoogleEvent) -> bool:
    """Whether it is that event, or an occurrence with its texts that is marked as hidden as well."""
    is_hidden = item.has_foreign_text == series.has_foreign_text
    return is_hidden and not _has_other_texts(item, series)


def _has_other_texts(occurrence: GoogleEvent, series: GoogleEvent) -> bool:
    for name in ("summary", "description", "location"):
        if occurrence.record.get(name) != series.record.get(name):
            return True
    return False


def _is_slot(slot: datetime | date, series: NormalisedEvent) -> bool:
    """Whether the series still has an occurrence there; it may have been moved away from under a changed one."""
    rule = series.recurrence
    return rule is not None and has_occurrence_at(rule, series.start, slot)


def _length(event: NormalisedEvent) -> timedelta:
    start = event.start
    end = event.end
    if isinstance(start, datetime) and isinstance(end, datetime):
        return end - start
    return day_of(end) - day_of(start)
