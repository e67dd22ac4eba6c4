"""The values of the calendar sync: appointments of both sides in one form, pairs, and what a plan may consist of. Pure.

Texts of appointments never appear in a ``repr``: plans are printed and audited, matters of clients are not.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from services.core.foreign_text import clean_text
from services.values.advoware_protocol import BERLIN

SourceSystem = Literal["advoware", "google"]
SyncStrategy = Literal["source_system_wins", "last_change_wins"]
SyncStatus = Literal["pending", "synced", "failed"]

#: Advoware stores "for ever" as a last day in this year (specification 05).
FOR_EVER_YEAR = 2037
FOR_EVER = date(FOR_EVER_YEAR, 12, 31)

#: In Redis: when each employee's sync last succeeded.
LAST_SUCCESS = "calendar_sync:last_success"

#: Reasons that the plan itself knows; others come from the mapping.
TERMIN_PREFIX = (
    "Termin: "  #: begins the reasons that lie in the Termin rather than in the event
)
SHOWN_OTHERWISE = (
    TERMIN_PREFIX
    + "it is not shown as it was, though it was not changed; an edit in Google waits"
)
OTHER_TIMES = (
    TERMIN_PREFIX
    + "the two sides show different times, and neither says that it was changed"
)
HAS_EXCEPTIONS = "single occurrences of the series were moved or cancelled"
#: Ends the reason of a series with such occurrences that has to go, and that Google refuses to delete.
KEPT_WHILE_REFUSED = "Google refuses to delete it, and what a person made of it is kept"
WAITS_FOR_PERMISSION = "a change in Google waits until Advoware may be written"
TEXT_ONLY_HERE = "the hidden event was moved to a colleague's calendar, and Advoware cannot hold it there"
MOVED_OUTSIDE_WINDOW = (
    "the event was moved to a colleague's calendar, where it lies outside of the window"
)
MOVED_UNREADABLE = "the event was moved to a colleague's calendar, and Advoware cannot hold what it says there"
#: Why a Termin stays whose event a person has moved to a colleague's calendar.
MOVED_AWAY = frozenset({TEXT_ONLY_HERE, MOVED_OUTSIDE_WINDOW, MOVED_UNREADABLE})
#: Ends the reason of a text that is longer than Google takes.
CUT_SHORT = (
    "is only the beginning of what stands in Advoware, because Google takes no more"
)
TEXT_UNKNOWN = (
    "the Google event is anonymised, so its text cannot be written to Advoware"
)

#: The names in `Untranslatable.unknown`; the texts are also those of the fields.
TIMES = "times"
TEXTS = ("text", "notiz", "ort")
_TIME_FIELDS = (
    "start",
    "end",
    "dauertermin",
    "turnus",
    "turnusArt",
    "recurrence",
    "all_day",
)

#: Stands in `Termin.notes` if its end contradicts its start, so that the end is a guess.
END_GUESSED = "end_guessed"

#: Title of an event that shows only blocked time.
ANONYMISED_TITLE = "Advoware"

#: Marks the hashes of this way to read contents (HTML, ends at midnight, zones); those of earlier versions have none.
_READING = "2."
_ANONYMISED_HASH = "anonymised:"
_PARTIAL_HASH = "partial:"
#: Ends the remembered hash of an event that holds an edit which was not compared with the Termin yet.
_UNCOMPARED = "?"
_UNTRANSLATABLE = "untranslatable: "
_UNTIL = re.compile(r"UNTIL=(\d{8}(?:T\d{6}Z)?)")


# -- appointments ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalisedEvent:
    """An appointment of either side, in one form.

    Attributes:
        start: aware in Europe/Berlin, whole seconds, never within the hour that the clocks skip; of an all-day event
            the date of its first day. ``fold`` distinguishes the two doubled hours; only Google knows it, so it is not
            compared.
        end: likewise, later than ``start`` by the clock; of an all-day event the date after its last day. Of a
            series: of its first occurrence.
        text: title; None if empty, as ``notiz`` and ``ort``.
        dauertermin: 1 for a series.
        turnus: every how many days, weeks, months or years it repeats; 0 if it does not.
        turnusArt: 1 daily, 2 weekly, 3 monthly, 4 yearly; 0 if it does not repeat.
        recurrence: the series as Google's RRULE line in our one spelling, or None.
        all_day: whether it has dates instead of times.
        privat: whether it is marked as private. Not part of the content: a Google event of the sync does not show it.
        anonymised: text, note and place are unknown (and None here), because only blocked time is shown in Google.
    """

    start: datetime | date
    end: datetime | date
    text: str | None = field(default=None, repr=False)
    notiz: str | None = field(default=None, repr=False)
    ort: str | None = field(default=None, repr=False)
    dauertermin: int = 0
    turnus: int = 0
    turnusArt: int = 0  # noqa: N815 - Advoware's name
    recurrence: str | None = None
    all_day: bool = False
    privat: bool = False
    anonymised: bool = False

    @property
    def timing(self) -> tuple[str, str, bool, str | None]:
        """When it takes place: start and end (ISO, wall clock or date), all-day, series. Comparable."""
        return (
            _wall_clock(self.start),
            _wall_clock(self.end),
            self.all_day,
            self.recurrence,
        )

    @property
    def first_day(self) -> date:
        """The day of its start."""
        return day_of(self.start)

    @property
    def last_day(self) -> date:
        """The last day of which it takes a part; of a series the day until which it repeats."""
        if self.recurrence is not None:
            return series_end(self.recurrence) or FOR_EVER
        if isinstance(self.end, datetime):
            return (self.end - timedelta(microseconds=1)).date()
        return self.end - timedelta(days=1)

    @cached_property
    def hashed(self) -> str:
        """See `content_hash`."""
        return (_ANONYMISED_HASH if self.anonymised else "") + _digest(_content(self))

    def anonymise(self) -> NormalisedEvent:
        """The same blocked time, without text, note and place."""
        return replace(self, text=None, notiz=None, ort=None, anonymised=True)


@dataclass(frozen=True)
class Untranslatable:
    """An appointment that the other side cannot hold as it is.

    Attributes:
        reason: why; several reasons are separated by "; ". Contains no text of the appointment.
        part: what of it can be held; its ``unknown`` fields mean nothing. None: nothing can.
        unknown: what cannot be held: ``times`` (start, end and series together), ``text``, ``notiz``, ``ort``.
        raw: what its own side says beside the part, such as the lines of its rules. Only to notice changes.
    """

    reason: str
    part: NormalisedEvent | None = None
    unknown: frozenset[str] = frozenset()
    raw: str = field(default="", repr=False)

    @cached_property
    def hashed(self) -> str:
        """See `content_hash`."""
        content: list[Any] = []
        prefix = _PARTIAL_HASH
        if self.part is not None:
            content = _content(self.part)
            if self.part.anonymised:
                prefix += _ANONYMISED_HASH
        unknown = sorted(self.unknown)
        return prefix + _digest([*content, self.reason, unknown, self.raw])


def normalise_text(value: Any) -> str | None:
    """A text as it is compared: cleaned, NFC, trimmed, line ends as LF, empty as None. What is no text is None."""
    if not isinstance(value, str):
        value = _written(value)
    if value.isascii() and value.isprintable():
        return value.strip() or None  # the common case; nothing else in it to mend
    text = (
        unicodedata.normalize("NFC", clean_text(value))
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .strip()
    )
    return text or None


def _written(value: Any) -> str:
    try:
        if isinstance(value, int | float):
            return str(value)
        return ""
    except ValueError:  # more digits than Python writes
        return ""


def content_hash(event: NormalisedEvent | Untranslatable) -> str:
    """What an appointment says, as a text that is equal for equal contents in every process.

    Wall-clock time counts, ``privat`` does not; of an anonymised one only the time. That of an untranslatable one
    changes with everything that its side says, and with the reason.
    """
    return event.hashed


def _content(event: NormalisedEvent) -> list[Any]:
    content: list[Any] = list(event.timing)
    if not event.anonymised:
        for text in (event.text, event.notiz, event.ort):
            content.append(normalise_text(text))
    return content


def _digest(content: list[Any]) -> str:
    payload = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return _READING + hashlib.sha256(payload.encode()).hexdigest()


def is_earlier_reading(remembered: str | None) -> bool:
    """Whether a content hash was made by a version that read some contents otherwise."""
    return remembered is not None and _READING not in remembered


def is_same_content(current: str | None, remembered: str | None) -> bool:
    """Whether a content hash says the same as one that was stored, be it by an earlier version."""
    if current is not None and is_earlier_reading(remembered):
        return current.replace(_READING, "") == remembered
    return current == remembered


def overlay(
    base: NormalisedEvent,
    other: NormalisedEvent | Untranslatable,
) -> NormalisedEvent:
    """The appointment with everything of the other that both sides can hold; the rest, and ``privat``, stay."""
    part: NormalisedEvent | None
    if isinstance(other, Untranslatable):
        part = other.part
        unknown = other.unknown
    else:
        part = other
        unknown = frozenset()
    if part is None:
        return base
    names = _known_names(part, unknown)
    return replace(base, **{name: getattr(part, name) for name in names})


def _known_names(part: NormalisedEvent, unknown: frozenset[str]) -> list[str]:
    """The names of what an appointment says, without what of it is unknown."""
    names: list[str] = []
    if TIMES not in unknown:
        names += _TIME_FIELDS
    if not part.anonymised:
        names += [name for name in TEXTS if name not in unknown]
    return names


def without_times(
    event: NormalisedEvent | Untranslatable,
    reason: str,
) -> Untranslatable:
    """The appointment of which the times cannot be held, such as a series with exceptions.

    ``reason`` begins the result's reason; what else could not be held stays unknown.
    """
    if isinstance(event, NormalisedEvent):
        event = Untranslatable("", event, raw=event.recurrence or "")
    reasons = _with_others(reason, event.reason)
    part = event.part
    if part is not None:
        part = replace(part, dauertermin=0, turnus=0, turnusArt=0, recurrence=None)
    return replace(
        event,
        reason="; ".join(reasons),
        part=part,
        unknown=event.unknown | {TIMES},
    )


def _with_others(reason: str, known: str) -> list[str]:
    """The reason, and after it the others that are known."""
    reasons = [reason]
    for other in known.split("; "):
        if other and other != reason:
            reasons.append(other)
    return reasons


def holds_more(event: NormalisedEvent | Untranslatable) -> bool:
    """Whether an event says what Advoware cannot hold; what was cut for Google stands there whole."""
    if isinstance(event, NormalisedEvent):
        return False
    return not all(reason.endswith(CUT_SHORT) for reason in event.reason.split("; "))


def without_texts(
    event: NormalisedEvent | Untranslatable,
) -> NormalisedEvent | Untranslatable:
    """The appointment of which the texts are those of a hidden one, so that they say nothing."""
    if isinstance(event, NormalisedEvent):
        return event.anonymise()
    if event.part is None:
        return event
    return replace(event, part=event.part.anonymise())


def has_exceptions(reason: str | None) -> bool:
    """Whether a series could not be held because of its single occurrences, whatever else is the matter with it."""
    return (reason or "").startswith(HAS_EXCEPTIONS)


def is_kept_while_refused(reason: str | None) -> bool:
    """Whether all that a series says was kept before Google refused to delete it."""
    return (reason or "").endswith(KEPT_WHILE_REFUSED)


def is_anonymised_hash(value: str | None) -> bool:
    """Whether a content hash is that of an anonymised event."""
    return value is not None and value.removeprefix(_PARTIAL_HASH).startswith(
        _ANONYMISED_HASH,
    )


def is_partial_hash(value: str | None) -> bool:
    """Whether a content hash is that of an untranslatable appointment."""
    return value is not None and value.startswith(_PARTIAL_HASH)


def uncompared(value: str) -> str:
    """A content hash to be remembered of an event that we have written to without judging a person's edit of it.

    It is that of no event, so the edit stays a change until both sides are compared.
    """
    if is_uncompared(value):
        return value
    return value + _UNCOMPARED


def is_uncompared(value: str | None) -> bool:
    """Whether a remembered content hash is that of an event with an edit that has not been judged."""
    return value is not None and value.endswith(_UNCOMPARED)


def day_of(moment: datetime | date) -> date:
    """The day of a time, or the day itself."""
    if isinstance(moment, datetime):
        return moment.date()
    return moment


def series_end(recurrence: str) -> date | None:
    """The day (in Berlin) until which a series in our spelling repeats; None: for ever."""
    match = _UNTIL.search(recurrence)
    if match is None:
        return None
    if len(match[1]) == len("20260329"):
        return date.fromisoformat(match[1])
    return (
        datetime.strptime(match[1], "%Y%m%dT%H%M%SZ")
        .replace(tzinfo=UTC)
        .astimezone(BERLIN)
        .date()
    )


def _wall_clock(moment: datetime | date) -> str:
    if isinstance(moment, datetime):
        moment = moment.replace(tzinfo=None)
    return moment.isoformat()


# -- what was observed ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Termin:
    """A Termin as Advoware answered it.

    Attributes:
        fr_nr: its key; negative ones are derived and must not be touched.
        event: its content.
        changed_at: aware; None if Advoware does not say.
        anwalt: whose it is; None if it is all employees'.
        record: the answer, which a change has to send back in full.
        privat: whether it is marked as private; known also if its content is untranslatable.
        notes: what had to be guessed while it was read, such as ``end_guessed``.
    """

    fr_nr: int
    event: NormalisedEvent | Untranslatable
    changed_at: datetime | None
    anwalt: str | None
    record: Mapping[str, Any] = field(repr=False)
    privat: bool = False
    notes: tuple[str, ...] = ()

    @property
    def row_id(self) -> str | None:
        """Its ``rowId``, which changes with every change of it (specification 05); None if it shows none."""
        row_id = self.record.get("rowId")
        if isinstance(row_id, str) and row_id.isascii() and row_id.isprintable():
            return row_id or None
        return None

    @property
    def is_for_all_employees(self) -> bool:
        """Whether it is in the calendars of all employees. Then no single employee's calendar decides about it."""
        return self.anwalt is None

    def belongs_to(self, kuerzel: str) -> bool:
        """Whether it is in the calendar of that employee."""
        return self.is_for_all_employees or self.anwalt == kuerzel


@dataclass(frozen=True)
class GoogleEvent:
    """An event as Google answered it.

    Attributes:
        id: its id within the calendar.
        event: its content.
        etag: changes with every change.
        updated: aware; None in tombstones.
        cancelled: whether it is deleted; then nothing but the ids is sure.
        recurring_event_id: the series, if this is one of its occurrences (moved or cancelled).
        fr_nr: the Termin that we wrote into it; None if a person made it.
        sync_id: the pair that we wrote into it.
        has_foreign_text: it is anonymised, yet a person added text to it.
        shows_text: whether its readers see any text of an appointment, whatever our marks say.
        is_private: whether its visibility keeps readers of the calendar from seeing more than "busy".
        record: the answer; what people have set beside the content (colour, reminders, guests) is in it.
    """

    id: str
    event: NormalisedEvent | Untranslatable
    etag: str | None = None
    updated: datetime | None = None
    cancelled: bool = False
    recurring_event_id: str | None = None
    fr_nr: int | None = None
    sync_id: UUID | None = None
    has_foreign_text: bool = False
    shows_text: bool = False
    is_private: bool = False
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Fingerprint:
    """One side of a pair at the last sync.

    Attributes:
        content_hash: see `content_hash`; None: never observed.
        changed_at: Advoware's change time or Google's ``updated``; aware.
        etag: Google's, or Advoware's ``rowId``: both change with every change of the record.
    """

    content_hash: str | None = None
    changed_at: datetime | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Pair:
    """A live row of ``calendar_sync``: a Termin and its Google event.

    ``first_day`` and ``last_day`` are the days that the pair covered at the last sync (None: unknown). They
    distinguish a Termin that left the window from one that was deleted. ``persons_private``: a person has made the
    event, and made it private in Google, so that it keeps its text although its Termin is private as well. ``written``:
    the side that the sync has written its content to last; None: neither, or it is not known.
    """

    sync_id: UUID
    employee_kuerzel: str
    advoware_frnr: int | None
    google_event_id: str | None
    source_system: SourceSystem
    sync_strategy: SyncStrategy = "source_system_wins"
    advoware_write_allowed: bool = False
    sync_status: SyncStatus = "synced"
    deleted: bool = False
    advoware: Fingerprint = Fingerprint()
    google: Fingerprint = Fingerprint()
    first_day: date | None = None
    last_day: date | None = None
    error: str | None = None
    attempts: int = 0
    persons_private: bool = False
    written: SourceSystem | None = None

    @property
    def untranslatable(self) -> str | None:
        """Why the pair is left alone; None if it is not."""
        error = self.error or ""
        if not error.startswith(_UNTRANSLATABLE):
            return None
        return error.removeprefix(_UNTRANSLATABLE)


def untranslatable_error(reason: str) -> str:
    """What stands in ``error`` of a pair that is left alone."""
    return f"{_UNTRANSLATABLE}{reason}"


# -- actions: phase 1, new in Advoware ------------------------------------------------------------------------------


@dataclass(frozen=True)
class InsertGoogle:
    """Insert the Termin's event into Google under ``event_id``, and remember the pair (``source_system`` advoware).

    Google answers 409 if an earlier attempt got that far: then the event is adopted. ``pair`` is the row that waits
    for its event, if there is one.
    """

    termin: Termin
    event_id: str
    event: NormalisedEvent
    pair: Pair | None = None


@dataclass(frozen=True)
class AdoptGoogle:
    """Make a pair of a Termin and an event that are there already.

    Attributes:
        event: what Google shall show.
        write: whether the event has to be written, be it only for its extended properties.
        pair: the row that waits for its Termin, if there is one.
    """

    termin: Termin
    google: GoogleEvent
    event: NormalisedEvent
    source_system: SourceSystem
    write: bool
    pair: Pair | None = None


# -- actions: phase 2, new in Google --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PostAdvoware:
    """Create a person's event in Advoware, remember the pair (source google), and write ``shown`` into the event.

    ``hidden``: single occurrences of it that show texts which ``shown`` does not.
    """

    google: GoogleEvent
    event: NormalisedEvent
    shown: NormalisedEvent
    pair: Pair | None = None
    hidden: tuple[GoogleEvent, ...] = ()


@dataclass(frozen=True)
class RememberPending:
    """Remember a person's event that may not be written to Advoware. ``pair``: its row, which loses its Termin."""

    google: GoogleEvent
    pair: Pair | None = None


# -- actions: phase 3, deletions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfirmAdvoware:
    """Read the pair's Termin directly, and plan again with the answer."""

    pair: Pair


@dataclass(frozen=True)
class ConfirmGoogle:
    """Read the pair's event directly, and plan again with the answer."""

    pair: Pair


@dataclass(frozen=True)
class ListGoogle:
    """List the whole calendar, and plan again: an incremental list does not show all occurrences of a series."""

    pair: Pair


@dataclass(frozen=True)
class DeleteGoogle:
    """Delete the event (``etag``: as last observed) and the pair. ``undone``: what of a person's goes with it."""

    pair: Pair
    etag: str | None
    reason: str
    undone: tuple[GoogleEvent, ...] = ()


@dataclass(frozen=True)
class DeleteAdvoware:
    """Delete the Termin and the pair. ``undone``: its content, if a person has changed it since it was compared."""

    pair: Pair
    termin: Termin
    reason: str
    undone: NormalisedEvent | None = None


@dataclass(frozen=True)
class RecreateGoogle:
    """Bring the deleted event back, under ``event_id`` (a deleted event of that id is revived)."""

    pair: Pair
    termin: Termin
    event_id: str
    event: NormalisedEvent


@dataclass(frozen=True)
class RecreateAdvoware:
    """Create the deleted Termin again; the pair gets its new number."""

    pair: Pair
    google: GoogleEvent
    event: NormalisedEvent
    shown: NormalisedEvent


@dataclass(frozen=True)
class FollowCopy:
    """A person has copied the pair's event, marks included, and deleted the original: the copy becomes its event."""

    pair: Pair
    google: GoogleEvent


@dataclass(frozen=True)
class Unlink:
    """Forget the event of a pair that is over: a person has deleted it, and it is not needed again."""

    pair: Pair


@dataclass(frozen=True)
class SoftDelete:
    """Mark the pair as deleted: nothing of it is left."""

    pair: Pair


@dataclass(frozen=True)
class HoldDeletions:
    """So much seems to be gone that phase 3 changes nothing; an operator has to look.

    Attributes:
        reason: ``too_many`` or ``advoware_empty``.
        deletions: how many appointments would have been deleted, or created again because one side lacks them.
        live_pairs: how many pairs there are.
        sync_ids: the pairs of those appointments.
    """

    reason: Literal["too_many", "advoware_empty"]
    deletions: int
    live_pairs: int
    sync_ids: tuple[UUID, ...] = field(default=(), compare=False)


# -- actions: phase 4, updates --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpdateGoogle:
    """Write ``event`` into Google; ``etag`` is the one to expect there. ``undone``: a person's edit that it undoes."""

    pair: Pair
    termin: Termin
    event: NormalisedEvent
    etag: str | None
    google: GoogleEvent | None = None
    undone: tuple[GoogleEvent, ...] = ()


@dataclass(frozen=True)
class ReplaceGoogle:
    """Delete the event, and insert ``event`` under the next id of its Termin.

    So a series loses its moved and cancelled occurrences for certain. ``undone``: what persons have made of it.
    """

    pair: Pair
    termin: Termin
    event: NormalisedEvent
    google: GoogleEvent
    undone: tuple[GoogleEvent, ...] = ()


@dataclass(frozen=True)
class HideGoogle:
    """Take the texts out of an event (``etag``: as last observed) and out of these occurrences; its times stay.

    ``is_edited``: a person has changed the event, and that change still has to be compared with the Termin.
    ``is_partial``: occurrences that are not listed may show texts, so that the row goes on remembering one.
    """

    pair: Pair
    etag: str | None
    occurrences: tuple[GoogleEvent, ...] = ()
    undone: tuple[GoogleEvent, ...] = ()
    is_edited: bool = False
    is_partial: bool = False


@dataclass(frozen=True)
class ShowGoogle:
    """Write the texts of ``event`` into an event that was hidden, and into these occurrences; its times stay."""

    pair: Pair
    event: NormalisedEvent
    etag: str | None
    occurrences: tuple[GoogleEvent, ...] = ()
    is_edited: bool = False


@dataclass(frozen=True)
class UpdateAdvoware:
    """Write ``event`` into the Termin; of an anonymised one only the time.

    Then write ``shown`` into the Google event, if it is given: a person typed text into an anonymised event. ``hide``:
    what hides the event's texts if Advoware does not take this, because they must not be shown. ``undone``: the Termin,
    if a person has edited it meanwhile. ``hidden``: as in `PostAdvoware`.
    """

    pair: Pair
    termin: Termin
    google: GoogleEvent
    event: NormalisedEvent
    shown: NormalisedEvent | None = None
    hide: HideGoogle | None = None
    undone: NormalisedEvent | None = None
    hidden: tuple[GoogleEvent, ...] = ()


@dataclass(frozen=True)
class RecordFingerprints:
    """Nothing is to be written to either system; the row shall say what they look like now, and that all is well."""

    pair: Pair
    advoware: Fingerprint
    google: Fingerprint
    first_day: date
    last_day: date
    persons_private: bool = False


# -- actions: any phase ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarkUntranslatable:
    """Remember why an appointment is left alone; without ``pair`` a row is made for the side that is given.

    What both sides of a ``pair`` say is remembered as well, as far as it is given; ``is_edited`` as in `HideGoogle`.
    """

    reason: str
    pair: Pair | None = None
    termin: Termin | None = None
    google: GoogleEvent | None = None
    is_edited: bool = False


@dataclass(frozen=True)
class TakeMarksOff:
    """Remove our marks from a person's event that came to them by a copy."""

    google: GoogleEvent


@dataclass(frozen=True)
class NotPlanned:
    """An appointment with which planning itself has failed; ``code`` says how, in one word."""

    code: str
    pair: Pair | None = None


Action = (
    InsertGoogle
    | AdoptGoogle
    | PostAdvoware
    | RememberPending
    | ConfirmAdvoware
    | ConfirmGoogle
    | ListGoogle
    | DeleteGoogle
    | DeleteAdvoware
    | RecreateGoogle
    | RecreateAdvoware
    | FollowCopy
    | Unlink
    | SoftDelete
    | HoldDeletions
    | UpdateGoogle
    | ReplaceGoogle
    | HideGoogle
    | ShowGoogle
    | UpdateAdvoware
    | RecordFingerprints
    | MarkUntranslatable
    | TakeMarksOff
    | NotPlanned
)

#: Questions: they are answered by reading, and the plan is made again with the answer.
QUESTIONS = (ConfirmAdvoware, ConfirmGoogle, ListGoogle)

#: Actions that write to Advoware.
ADVOWARE_WRITES = (PostAdvoware, RecreateAdvoware, UpdateAdvoware, DeleteAdvoware)
