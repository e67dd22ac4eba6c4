"""What is not in order between Advoware, Google and the table of the calendar sync: findings as values. Pure.

The sync's plan says what is to be done; this says what is wrong, by comparing the three directly, so that a defect of
the plan is found as well. Findings contain ids, hashes and our own words, never the text of an appointment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from uuid import UUID

from services.calendar_sync.mapping import google_event_id
from services.calendar_sync.model import (
    GoogleEvent,
    HoldDeletions,
    NormalisedEvent,
    Pair,
    Termin,
    Untranslatable,
    content_hash,
)
from services.calendar_sync.plan import MAX_DELETED_SHARE
from services.calendar_sync.store import Intent
from services.calendar_sync.view import CalendarView

Key = TypeVar("Key")

Kind = Literal[
    # a pair, and what it stands for
    "missing_in_google",
    "missing_in_advoware",
    "contents_differ",
    "wrong_anonymisation",
    "wrong_employee",
    "failed",
    "pending",
    "untranslatable",
    "open_intent",
    "deletions_held",
    "shows_too_much",
    "not_checked",
    # a Termin that a person should correct
    "end_guessed",
    # runs
    "run_failed",
    "run_overdue",
    # copies and remains
    "duplicate_event",
    "same_content",
    "duplicate_termin",
    "event_without_pair",
    "pair_without_event",
    "pair_without_termin",
    "pair_without_both",
    # calendars
    "calendar_missing",
    "duplicate_calendar",
    "calendar_not_owned",
    "calendar_without_employee",
    "shared_without_employee",
    "kuerzel_unclear",
    "missing_acl",
    "wrong_role",
    "surplus_acl",
    "acl_without_employee",
    "description_not_true",
    # what an operator has asked for
    "old_event",
    "overwritten",
    "unknown",
]

#: Who mends it: the next sync by itself, a person, or ``--apply`` by deleting the event or the row.
Remedy = Literal["next_sync", "person", "delete_event", "delete_pair"]

#: How often an id that Google refused to revive may have been replaced; see `google_event_id`.
_GENERATIONS = 4

_MADE_BY_A_PERSON = "made by a person"
OF_ANOTHER = "its Termin belongs to another employee"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not in order."""

    kind: Kind
    reason: str
    remedy: Remedy
    employee_kuerzel: str | None = None
    advoware_frnr: int | None = None
    google_event_id: str | None = None
    sync_id: UUID | None = None
    calendar_id: str | None = None


@dataclass(frozen=True)
class EmployeeAudit:
    """One employee's appointments as the audit has read them.

    Attributes:
        view: both sides and the live pairs; what a full listing lacks is confirmed by direct reads.
        listed: what Advoware lists within the window.
        intents: the employee's unfinished creates.
        made_by_us: ids of the events that our account created.
        others: live pairs of other employees, by ``frNr``.
        hide_asked: a person has asked for blocked time only, and the run that does it has not come yet.
        outside: Termine outside the window that were read for the sake of events that show texts; None: gone.
        unread: how many more there are of these that were not, or could not be, read.
    """

    view: CalendarView
    listed: Sequence[Termin] = ()
    intents: Sequence[Intent] = ()
    made_by_us: frozenset[str] = frozenset()
    others: Mapping[int, Sequence[Pair]] = field(default_factory=dict)
    hide_asked: bool = False
    outside: Mapping[int, Termin | None] = field(default_factory=dict)
    unread: int = 0

    def is_own(self, event: GoogleEvent) -> bool:
        """Whether the sync has inserted this event.

        The property alone does not say it: a copy that a person makes in Google keeps it. Nor does the creator alone:
        "this and following" splits a series into events whose id is the old one with a suffix.
        """
        return event.fr_nr is not None and self.was_inserted(event.id, event.fr_nr)

    def was_inserted(self, event_id: str, fr_nr: int) -> bool:
        """Whether the sync has inserted an event of this id for the Termin."""
        calendar_id = self.view.settings.calendar_id
        derived = {
            google_event_id(fr_nr, calendar_id, generation)
            for generation in range(_GENERATIONS)
        }
        return event_id in derived or (
            event_id in self.made_by_us and "_" not in event_id
        )


def deletion_limit(view: CalendarView) -> int:
    """How many deletions in this employee's calendar are believed (specification 09)."""
    return int(max(view.settings.max_deletions, MAX_DELETED_SHARE * len(view.pairs)))


# -- verify-sync ----------------------------------------------------------------------------------------------------


def differences(audit: EmployeeAudit, hold: HoldDeletions | None) -> list[Finding]:
    """Everything in which Advoware, Google and the table do not agree, or that waits. ``hold``: what the plan says."""
    view = audit.view
    findings: list[Finding] = []
    for pair in view.pairs:
        findings += pair_findings(view, pair)
    findings += _termine_without_pair(view)
    findings += _events_without_pair(view)
    findings += map(_open_intent, audit.intents)
    if hold is not None:
        findings.append(_held(view, hold))
    return findings


def pair_findings(view: CalendarView, pair: Pair) -> Iterator[Finding]:
    """What is not in order with one live pair."""
    state = _state_of(pair)
    if state is not None:
        yield state
    if pair.advoware_frnr is None or pair.google_event_id is None:
        if state is None:
            yield _waiting(pair)
        return
    yield from _missing_sides(view, pair)
    termin = view.termine.get(pair.advoware_frnr)
    google = view.events.get(pair.google_event_id)
    if termin is not None and google is not None:
        yield from _compared(view, pair, termin, google, is_marked=state is not None)


def _waiting(pair: Pair) -> Finding:
    side = "Termin" if pair.advoware_frnr is None else "event"
    return _of_pair(pair, "pending", f"waits for its {side}", "next_sync")


def _missing_sides(view: CalendarView, pair: Pair) -> Iterator[Finding]:
    """Which side of a complete pair is gone, or another employee's."""
    in_advoware = view.in_advoware(pair)
    in_google = view.in_google(pair)
    if in_advoware == "elsewhere" and in_google == "present":
        yield _of_pair(pair, "wrong_employee", OF_ANOTHER, "next_sync")
        return
    if not view.is_expected(pair):
        return
    if in_advoware == "gone":
        reason = "its Termin does not exist"
        yield _of_pair(pair, "missing_in_advoware", reason, "next_sync")
    if in_google == "gone":
        reason = "its event does not exist"
        yield _of_pair(pair, "missing_in_google", reason, "next_sync")


def _state_of(pair: Pair) -> Finding | None:
    if pair.untranslatable is not None:
        return _of_pair(pair, "untranslatable", pair.untranslatable, "person")
    if pair.sync_status == "failed":
        reason = f"{pair.error or 'unknown error'}, {pair.attempts} attempts"
        return _of_pair(pair, "failed", reason, "next_sync")
    if pair.sync_status == "pending":
        reason = pair.error or "may not be written to Advoware"
        return _of_pair(pair, "pending", reason, "person")
    return None


def _compared(
    view: CalendarView,
    pair: Pair,
    termin: Termin,
    google: GoogleEvent,
    *,
    is_marked: bool,
) -> Iterator[Finding]:
    """Differences of two sides that are both there. An untranslatable one is reported once."""
    advoware = termin.event
    observed = google.event
    if isinstance(advoware, Untranslatable):
        yield from _untranslatable(pair, advoware, is_marked=is_marked)
        return
    if isinstance(observed, Untranslatable):
        yield from _untranslatable(pair, observed, is_marked=is_marked)
        return
    shown = view.settings.shown(advoware)
    wrong = _wrong_anonymisation(shown, observed, google)
    if wrong is not None:
        yield _of_pair(pair, "wrong_anonymisation", wrong, "next_sync")
    unequal = _unequal_parts(shown, observed)
    if unequal:
        reason = f"different: {', '.join(unequal)}"
        yield _of_pair(pair, "contents_differ", reason, "next_sync")


def _wrong_anonymisation(
    wanted: NormalisedEvent,
    observed: NormalisedEvent,
    google: GoogleEvent,
) -> str | None:
    """Why an event shows too much or too little; None if it does neither."""
    shows_too_much = wanted.anonymised and not observed.anonymised
    if google.has_foreign_text or shows_too_much:
        return "Google shows texts where only blocked time may be shown"
    if observed.anonymised and not wanted.anonymised:
        return "Google shows only blocked time, though it may show texts"
    return None


def _untranslatable(
    pair: Pair,
    side: Untranslatable,
    *,
    is_marked: bool,
) -> Iterator[Finding]:
    if not is_marked:
        yield _of_pair(pair, "untranslatable", side.reason, "next_sync")


def _unequal_parts(advoware: NormalisedEvent, google: NormalisedEvent) -> list[str]:
    """In what two contents differ; texts count only if both show them."""
    if advoware.anonymised or google.anonymised:
        advoware = advoware.anonymise()
        google = google.anonymise()
    if content_hash(advoware) == content_hash(google):
        return []
    parts = {
        "time": advoware.timing[:3] != google.timing[:3],
        "series": advoware.recurrence != google.recurrence,
        "text": advoware.text != google.text,
        "notiz": advoware.notiz != google.notiz,
        "ort": advoware.ort != google.ort,
    }
    return [name for name, is_unequal in parts.items() if is_unequal]


def _termine_without_pair(view: CalendarView) -> Iterator[Finding]:
    for fr_nr, termin in sorted(view.termine.items()):
        if fr_nr in view.by_fr_nr:
            continue
        event = termin.event
        if isinstance(event, Untranslatable):
            reason = f"not synced: {event.reason}"
            yield _of_termin(view, fr_nr, "missing_in_google", reason, "next_sync")
        elif view.in_window(event):
            reason = "not synced yet"
            yield _of_termin(view, fr_nr, "missing_in_google", reason, "next_sync")


def _events_without_pair(view: CalendarView) -> Iterator[Finding]:
    for event_id, event in sorted(view.events.items()):
        if event_id in view.by_event:
            continue
        if event.fr_nr is not None:
            reason = "made by the sync; see find-orphaned"
            yield _of_event(view, event, "event_without_pair", reason, "next_sync")
        elif isinstance(event.event, Untranslatable):
            reason = f"{_MADE_BY_A_PERSON}, not synced: {event.event.reason}"
            yield _of_event(view, event, "missing_in_advoware", reason, "next_sync")
        elif view.in_window(event.event):
            reason = f"{_MADE_BY_A_PERSON}, not synced yet"
            yield _of_event(view, event, "missing_in_advoware", reason, "next_sync")


def _open_intent(intent: Intent) -> Finding:
    result = "unknown" if intent.advoware_frnr is None else "known"
    return Finding(
        kind="open_intent",
        reason=f"a create in Advoware was begun ({intent.attempts} attempts), its result is {result}",
        remedy="next_sync",
        employee_kuerzel=intent.employee_kuerzel,
        advoware_frnr=intent.advoware_frnr,
        google_event_id=intent.google_event_id,
        sync_id=intent.sync_id,
    )


def _held(view: CalendarView, hold: HoldDeletions) -> Finding:
    if hold.reason == "advoware_empty":
        reason = f"Advoware lists no Termine, {hold.live_pairs} pairs are live; the sync deletes nothing"
    else:
        reason = f"{hold.deletions} of {hold.live_pairs} pairs would be deleted; the sync deletes nothing"
    return Finding(
        kind="deletions_held",
        reason=reason,
        remedy="person",
        employee_kuerzel=view.settings.kuerzel,
        calendar_id=view.settings.calendar_id,
    )


# -- find-duplicates ------------------------------------------------------------------------------------------------


def duplicates(audit: EmployeeAudit) -> list[Finding]:
    """Appointments that are there twice. Only surplus events of our own making may be deleted."""
    found: dict[str | None, Finding] = {}
    for same, group in _copies(audit.view):
        for finding in _surplus_events(audit, group, same):
            found.setdefault(finding.google_event_id, finding)
    return [
        *found.values(),
        *_same_contents(audit, found.keys()),
        *_duplicate_termine(audit.view),
    ]


def _copies(view: CalendarView) -> Iterator[tuple[str, list[GoogleEvent]]]:
    """What several events have in common, and these events."""
    by_fr_nr: defaultdict[int, list[GoogleEvent]] = defaultdict(list)
    by_sync_id: defaultdict[UUID, list[GoogleEvent]] = defaultdict(list)
    for event in _in_order(view):
        if event.fr_nr is not None:
            by_fr_nr[event.fr_nr].append(event)
        if event.sync_id is not None:
            by_sync_id[event.sync_id].append(event)
    for fr_nr, group in _several(by_fr_nr):
        yield f"frNr {fr_nr}", group
    for _, group in _several(by_sync_id):
        yield "sync_id", group


def _several(
    groups: Mapping[Key, list[GoogleEvent]],
) -> Iterator[tuple[Key, list[GoogleEvent]]]:
    """The groups with more than one event."""
    for key, group in groups.items():
        if len(group) > 1:
            yield key, group


def _in_order(view: CalendarView) -> list[GoogleEvent]:
    return sorted(view.events.values(), key=lambda event: event.id)


def _surplus_events(
    audit: EmployeeAudit,
    group: Sequence[GoogleEvent],
    same: str,
) -> Iterator[Finding]:
    """All but the event that stays: the paired one, else the one that the next sync would adopt."""
    view = audit.view
    calendar_id = view.settings.calendar_id

    def rank(event: GoogleEvent) -> tuple[bool, bool, bool, str]:
        is_first_choice = event.id == google_event_id(event.fr_nr or 0, calendar_id)
        return (
            event.id not in view.by_event,
            not is_first_choice,
            not audit.is_own(event),
            event.id,
        )

    kept = min(group, key=rank)
    for event in group:
        if event.id == kept.id:
            continue
        reason = f"same {same} as {kept.id}"
        remedy: Remedy = "delete_event"
        if event.id in view.by_event:
            reason = f"{reason}; both have a pair"
            remedy = "person"
        elif not audit.is_own(event):
            reason = f"{reason}; {_MADE_BY_A_PERSON}"
            remedy = "person"
        yield _of_event(view, event, "duplicate_event", reason, remedy)


def _paired_in(view: CalendarView, group: Iterable[GoogleEvent]) -> list[str]:
    """The ids of the events in a group that have a pair with both sides."""
    paired = []
    for event in group:
        if _is_complete(view.by_event.get(event.id)):
            paired.append(event.id)
    return paired


def _same_contents(
    audit: EmployeeAudit,
    known: Iterable[str | None],
) -> Iterator[Finding]:
    """Events that say the same, of which only one is paired. Blocked time without texts is often the same by chance."""
    view = audit.view
    known = frozenset(known)
    for group in _events_by_content(view):
        paired = _paired_in(view, group)
        if len(paired) != 1:
            continue
        original = paired[0]
        for event in group:
            if event.id not in known and event.id != original:
                yield _same_content(view, event, original)


def _events_by_content(view: CalendarView) -> Iterable[list[GoogleEvent]]:
    """The events that show a title, those together that say the same."""
    groups: dict[str, list[GoogleEvent]] = {}
    for event in _in_order(view):
        content = event.event
        if not isinstance(content, NormalisedEvent):
            continue
        if content.text and not content.anonymised:
            groups.setdefault(content_hash(content), []).append(event)
    return groups.values()


def _same_content(view: CalendarView, event: GoogleEvent, original: str) -> Finding:
    reason = f"same content as {original}, which has a pair"
    if event.fr_nr is None:
        reason = f"{reason}; {_MADE_BY_A_PERSON}"
        return _of_event(view, event, "same_content", reason, "person")
    reason = f"{reason}; see find-orphaned"
    return _of_event(view, event, "same_content", reason, "next_sync")


def _duplicate_termine(view: CalendarView) -> Iterator[Finding]:
    """Termine that say the same as one that was created from a person's event: a create whose answer was lost."""
    for group in _termine_by_content(view):
        created = [fr_nr for fr_nr in group if _is_from_google(view, fr_nr)]
        if created:
            yield from _doubles(view, group, created)


def _doubles(
    view: CalendarView,
    group: Iterable[int],
    created: Sequence[int],
) -> Iterator[Finding]:
    """The Termine of a group that the sync has not created."""
    reason = (
        f"same content as {created[0]}, which the sync created; "
        "Advoware keeps it until a person decides"
    )
    for fr_nr in group:
        if fr_nr not in created:
            yield _of_termin(view, fr_nr, "duplicate_termin", reason, "person")


def _termine_by_content(view: CalendarView) -> Iterable[list[int]]:
    """The numbers of an employee's own Termine, those together that say the same."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for fr_nr, termin in sorted(view.termine.items()):
        if termin.anwalt is None:
            continue
        if isinstance(termin.event, NormalisedEvent):
            same = groups[content_hash(termin.event)]
            same.append(fr_nr)
    return groups.values()


def _is_from_google(view: CalendarView, fr_nr: int) -> bool:
    pair = view.by_fr_nr.get(fr_nr)
    return pair is not None and pair.source_system == "google"


def _is_complete(pair: Pair | None) -> bool:
    return (
        pair is not None
        and pair.advoware_frnr is not None
        and pair.google_event_id is not None
    )


# -- find-orphaned --------------------------------------------------------------------------------------------------


def orphans(audit: EmployeeAudit) -> list[Finding]:
    """Events of the sync without a live pair, and live pairs of which a side is gone. Only confirmed absences count."""
    view = audit.view
    findings: list[Finding] = []
    for event in _in_order(view):
        if event.fr_nr is not None and event.id not in view.by_event:
            findings.append(_orphaned_event(audit, event, event.fr_nr))
    for pair in view.pairs:
        findings += _orphaned_pair(view, pair)
    return findings


def _orphaned_event(audit: EmployeeAudit, event: GoogleEvent, fr_nr: int) -> Finding:
    """Whether the event may be deleted: its Termin is gone, or is shown by another event."""
    view = audit.view
    reason, remedy = _why_orphaned(audit, event, fr_nr)
    begun = {intent.google_event_id for intent in audit.intents}
    if event.id in begun:
        reason = "a create in Advoware was begun for it"
        remedy = "next_sync"
    elif remedy == "delete_event" and not audit.is_own(event):
        reason = f"{reason}; {_MADE_BY_A_PERSON}"
        remedy = "person"
    return _of_event(view, event, "event_without_pair", reason, remedy)


def _why_orphaned(
    audit: EmployeeAudit,
    event: GoogleEvent,
    fr_nr: int,
) -> tuple[str, Remedy]:
    view = audit.view
    if fr_nr in view.elsewhere:
        if _is_shown_elsewhere(audit, event, fr_nr):
            return OF_ANOTHER, "delete_event"
        return f"{OF_ANOTHER}, who has no pair yet", "next_sync"
    if fr_nr in view.termine:
        return _why_replaced(view, fr_nr)
    if fr_nr in view.confirmed.termine:
        return "its Termin is gone", "delete_event"
    return "it names no Termin that Advoware could know", "person"


def _is_shown_elsewhere(audit: EmployeeAudit, event: GoogleEvent, fr_nr: int) -> bool:
    """Whether the Termin has another event, in the calendar of the employee to whom it belongs."""
    shown_by = {pair.google_event_id for pair in audit.others.get(fr_nr, ())}
    return not shown_by <= {None, event.id}


def _why_replaced(view: CalendarView, fr_nr: int) -> tuple[str, Remedy]:
    """Whether the Termin has another event here, so that one without a pair may go."""
    successor = view.by_fr_nr.get(fr_nr)
    if successor is None or successor.google_event_id not in view.events:
        return "its Termin exists and has no pair", "next_sync"
    reason = f"its Termin has a pair with {successor.google_event_id}"
    return reason, "delete_event"


def _orphaned_pair(view: CalendarView, pair: Pair) -> Iterator[Finding]:
    in_advoware = view.in_advoware(pair)
    in_google = view.in_google(pair)
    if in_advoware == "gone" and in_google == "gone":
        reason = "Termin and event are gone"
        yield _of_pair(pair, "pair_without_both", reason, "delete_pair")
        return
    # Others wait for their second side, or lie outside of the window, where the sync leaves them alone.
    if not _is_complete(pair) or not view.is_expected(pair):
        return
    if in_advoware == "gone":
        yield _of_pair(pair, "pair_without_termin", "its Termin is gone", "next_sync")
    elif in_google == "gone":
        yield _of_pair(pair, "pair_without_event", "its event is gone", "next_sync")


# -- shared ---------------------------------------------------------------------------------------------------------


def _of_pair(pair: Pair, kind: Kind, reason: str, remedy: Remedy) -> Finding:
    return Finding(
        kind=kind,
        reason=reason,
        remedy=remedy,
        employee_kuerzel=pair.employee_kuerzel,
        advoware_frnr=pair.advoware_frnr,
        google_event_id=pair.google_event_id,
        sync_id=pair.sync_id,
    )


def _of_termin(
    view: CalendarView,
    fr_nr: int,
    kind: Kind,
    reason: str,
    remedy: Remedy,
) -> Finding:
    return Finding(
        kind=kind,
        reason=reason,
        remedy=remedy,
        employee_kuerzel=view.settings.kuerzel,
        advoware_frnr=fr_nr,
    )


def _of_event(
    view: CalendarView,
    event: GoogleEvent,
    kind: Kind,
    reason: str,
    remedy: Remedy,
) -> Finding:
    return Finding(
        kind=kind,
        reason=reason,
        remedy=remedy,
        employee_kuerzel=view.settings.kuerzel,
        advoware_frnr=event.fr_nr,
        google_event_id=event.id,
        sync_id=event.sync_id,
        calendar_id=view.settings.calendar_id,
    )
