"""What one run of the calendar sync has observed, and may do: the input of its plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    HAS_EXCEPTIONS,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    SyncStrategy,
    Termin,
    Untranslatable,
)

MAX_DELETIONS = 5

#: What is known about one side of a pair. ``unchanged``: not in an incremental listing. ``missing``: not confirmed yet.
#: ``elsewhere``: the Termin belongs to somebody else now.
Presence = Literal["present", "unchanged", "missing", "gone", "elsewhere"]


@dataclass(frozen=True)
class PlanSettings:
    """What one run may do.

    Attributes:
        kuerzel: the employee.
        calendar_id: the employee's calendar.
        first_day: of the window; ``last_day`` likewise, both inclusive.
        strategy: of new pairs; ``advoware_write_allowed`` likewise.
        write_protection: forbids every write to Advoware, whatever a row says.
        full_content: whether this run shows texts in Google.
        anonymise: whether no run ever does.
        max_deletions: more deletions than this, and than a fifth of the pairs, are not believed.
    """

    kuerzel: str
    calendar_id: str
    first_day: date
    last_day: date
    strategy: SyncStrategy = "source_system_wins"
    advoware_write_allowed: bool = False
    write_protection: bool = True
    full_content: bool = True
    anonymise: bool = False
    max_deletions: int = MAX_DELETIONS

    def shown(self, event: NormalisedEvent) -> NormalisedEvent:
        """The event as Google may show it."""
        return event.anonymise() if self.anonymise or not self.full_content or event.privat else event

    def covers(self, first_day: date, last_day: date) -> bool:
        """Whether any of these days lies in the window."""
        return first_day <= self.last_day and last_day >= self.first_day


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


class Picture:
    """Both sides and the pairs, each to be found by its key."""

    def __init__(
        self,
        settings: PlanSettings,
        termine: Sequence[Termin],
        google: GoogleListing,
        pairs: Iterable[Pair],
        confirmed: Confirmations,
    ) -> None:
        self.settings = settings
        self.google = google
        self.confirmed = confirmed
        self.advoware_is_empty = not termine
        known = [termin for termin in (*termine, *confirmed.termine.values()) if termin and termin.fr_nr > 0]
        self.termine = {termin.fr_nr: termin for termin in known if termin.belongs_to(settings.kuerzel)}
        self.elsewhere = {termin.fr_nr for termin in known} - self.termine.keys()
        live = [pair for pair in pairs if not pair.deleted and pair.employee_kuerzel == settings.kuerzel]
        self.pairs = sorted(live, key=lambda pair: str(pair.sync_id))
        self.by_fr_nr = {pair.advoware_frnr: pair for pair in self.pairs if pair.advoware_frnr is not None}
        self.by_event = {pair.google_event_id: pair for pair in self.pairs if pair.google_event_id is not None}
        read = [event for event in confirmed.events.values() if event]
        listed = {event.id: event for event in (*google.events, *read)}.values()
        self.excepted = {event.recurring_event_id for event in listed if event.recurring_event_id}
        single = [event for event in listed if not event.recurring_event_id]
        self.cancelled = {event.id for event in single if event.cancelled}
        self.events = {event.id: self._with_exceptions(event) for event in single if not event.cancelled}
        self.orphans = [self._orphan(event) for event in self.events.values() if self._is_orphan(event)]

    def _is_orphan(self, event: GoogleEvent) -> bool:
        """Whether it is the copy of a Termin that is not the employee's, and no row knows it."""
        return event.fr_nr is not None and event.fr_nr not in self.termine and event.id not in self.by_event

    def _orphan(self, event: GoogleEvent) -> Pair:
        """The row that a run did not get to store after it had written the event."""
        settings = self.settings
        is_made_by_us = event.id == google_event_id(event.fr_nr or 0, settings.calendar_id)
        return Pair(
            # Another one for each version, because the event may have had a row that is deleted by now.
            uuid5(NAMESPACE_OID, f"{event.id} {event.etag}"),
            settings.kuerzel,
            event.fr_nr,
            event.id,
            "advoware" if is_made_by_us else "google",
            settings.strategy,
            settings.advoware_write_allowed,
        )

    def _with_exceptions(self, event: GoogleEvent) -> GoogleEvent:
        """The event, untranslatable if its series has exceptions; an incremental listing does not repeat those."""
        pair = self.by_event.get(event.id)
        known = not self.google.full and pair is not None and pair.untranslatable == HAS_EXCEPTIONS
        if event.id in self.excepted or known:
            return replace(event, event=Untranslatable(HAS_EXCEPTIONS))
        return event

    def may_post(self) -> bool:
        """Whether new events may be written to Advoware."""
        return self.settings.advoware_write_allowed and not self.settings.write_protection

    def may_write(self, pair: Pair) -> bool:
        """Whether the pair's Termin may be changed."""
        return pair.advoware_write_allowed and not self.settings.write_protection

    def is_everybodys(self, pair: Pair) -> bool:
        """Whether the pair's Termin is in everybody's calendar."""
        termin = self.termine.get(pair.advoware_frnr or 0)
        return termin is not None and termin.is_everybodys

    def in_window(self, event: NormalisedEvent) -> bool:
        """Whether any of its days lies in the window."""
        return self.settings.covers(event.first_day, event.last_day)

    def is_expected(self, pair: Pair) -> bool:
        """Whether the pair lies in the window, as remembered or as seen now; then its absence means something."""
        if pair.first_day is None or pair.last_day is None or self.settings.covers(pair.first_day, pair.last_day):
            return True
        sides = (self.termine.get(pair.advoware_frnr or 0), self.events.get(pair.google_event_id or ""))
        return any(side and isinstance(side.event, NormalisedEvent) and self.in_window(side.event) for side in sides)

    def in_advoware(self, pair: Pair) -> Presence:
        """What is known about the pair's Termin."""
        if pair.advoware_frnr is None:
            return "gone"
        if pair.advoware_frnr in self.termine:
            return "present"
        if pair.advoware_frnr in self.elsewhere:
            return "elsewhere"
        return "gone" if pair.advoware_frnr in self.confirmed.termine else "missing"

    def in_google(self, pair: Pair) -> Presence:
        """What is known about the pair's event."""
        if pair.google_event_id is None:
            return "gone"
        if pair.google_event_id in self.events:
            return "present"
        if pair.google_event_id in self.confirmed.events:
            return "gone"
        return "missing" if self.google.full or pair.google_event_id in self.cancelled else "unchanged"
