"""Texts in Google that the rules hide, inside and outside the window, as findings. Pure.

Looked at is every event of the sync: that of a live pair, one that carries our marks, or one with an id as only we give
it; of a series also the single occurrences that have texts of their own. Whether the sync could express the appointment
does not matter here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from services.calendar_sync.audit.findings import (
    OF_ANOTHER,
    EmployeeAudit,
    Finding,
    Remedy,
)
from services.calendar_sync.mapping import (
    PROPERTY_ANONYMISED,
    is_inserted_by_sync,
    private_properties,
)
from services.calendar_sync.model import (
    END_GUESSED,
    GoogleEvent,
    Pair,
    Termin,
    is_anonymised_hash,
)
from services.calendar_sync.view import CalendarView

#: Findings that say of an event that it must not stay as it is.
_SAY_ENOUGH = frozenset(
    {"wrong_anonymisation", "wrong_employee", "missing_in_advoware"},
)
#: Further away from the window no list is asked for; what lies there is read directly.
MAX_DAYS_OUTSIDE = 3660

Days = tuple[date, date]


def leaks(audit: EmployeeAudit, known: Iterable[Finding] = ()) -> Iterator[Finding]:
    """Events of the sync that show a text although they must not; one finding per event or series.

    Those of which a ``known`` finding says already that they must not stay as they are, are left out.
    """
    reported = _reported(known)
    for event in sorted(_showing(audit), key=_series_first):
        owner = _owner(event)
        if owner in reported:
            continue
        pair = audit.view.by_event.get(owner)
        reason = _why_hidden(audit, event, pair)
        if reason is not None:
            reported.add(owner)
            yield _leak(audit, event, pair, reason)
    if audit.unread:
        yield _not_checked(audit)


def _reported(known: Iterable[Finding]) -> set[str | None]:
    """The events of which it is known already that they must not stay as they are."""
    return {finding.google_event_id for finding in known if finding.kind in _SAY_ENOUGH}


def _series_first(event: GoogleEvent) -> tuple[str, bool, str]:
    """Sorts a series before its occurrences."""
    owner = _owner(event)
    return owner, event.id != owner, event.id


def _not_checked(audit: EmployeeAudit) -> Finding:
    return Finding(
        kind="not_checked",
        reason=f"{audit.unread} Termine outside the window, whose events show texts, could not be read this time",
        remedy="person",
        employee_kuerzel=audit.view.settings.kuerzel,
    )


def guessed_ends(audit: EmployeeAudit) -> Iterator[Finding]:
    """Termine whose end contradicts their start, once each, so that a person can correct them."""
    termine = {**audit.outside, **audit.view.termine}
    for fr_nr, termin in sorted(termine.items()):
        if termin is not None and END_GUESSED in termin.notes:
            yield Finding(
                kind="end_guessed",
                reason="its end contradicts its start, so the end in Google is guessed; correct the Termin in Advoware",
                remedy="person",
                employee_kuerzel=audit.view.settings.kuerzel,
                advoware_frnr=fr_nr,
            )


def unknown_termine(audit: EmployeeAudit) -> list[int]:
    """The Termine of pairs whose events show a text, and of which nothing is known because of the window."""
    numbers: set[int] = set()
    for event in _showing(audit):
        pair = audit.view.by_event.get(_owner(event))
        if pair is None or pair.advoware_frnr is None:
            continue
        if not _is_known(audit, pair.advoware_frnr):
            numbers.add(pair.advoware_frnr)
    return sorted(numbers)


def days_outside(audit: EmployeeAudit, fr_nrs: Sequence[int]) -> list[Days]:
    """For which days Advoware is to be asked for these Termine: at most those before the window and those after it."""
    firsts, lasts = _pairs_outside(audit, fr_nrs)
    window = audit.view.settings
    found: list[Days] = []
    if firsts:
        earliest = window.first_day - timedelta(days=MAX_DAYS_OUTSIDE)
        since = max(min(firsts), earliest)
        found.append((since, window.first_day - timedelta(days=1)))
    if lasts:
        latest = window.last_day + timedelta(days=MAX_DAYS_OUTSIDE)
        until = min(max(lasts), latest)
        found.append((window.last_day + timedelta(days=1), until))
    return [(first, last) for first, last in found if first <= last]


def _pairs_outside(
    audit: EmployeeAudit,
    fr_nrs: Sequence[int],
) -> tuple[list[date], list[date]]:
    """The first days of what lies before the window, and the last days of what lies after it."""
    window = audit.view.settings
    firsts: list[date] = []
    lasts: list[date] = []
    for number in fr_nrs:
        pair = audit.view.by_fr_nr[number]
        if pair.first_day is None or pair.last_day is None:
            continue
        if pair.last_day < window.first_day:
            firsts.append(pair.first_day)
        if pair.first_day > window.last_day:
            lasts.append(pair.last_day)
    return firsts, lasts


def _showing(audit: EmployeeAudit) -> Iterator[GoogleEvent]:
    """All events of the calendar that show a text, occurrences of series included."""
    view = audit.view
    read = filter(None, view.confirmed.events.values())
    # Of what was read directly as well, that counts.
    events = {event.id: event for event in (*view.google.events, *read)}
    for event in events.values():
        if event.shows_text and not event.cancelled:
            yield event


def _owner(event: GoogleEvent) -> str:
    return event.recurring_event_id or event.id


def _why_hidden(
    audit: EmployeeAudit,
    event: GoogleEvent,
    pair: Pair | None,
) -> str | None:
    """Why the event must not show its text; None if it may, or if it is a person's."""
    number = _number(audit, event, pair)
    if number is None and not is_inserted_by_sync(_owner(event)):
        return None
    if audit.view.settings.anonymise or audit.hide_asked:
        return "only blocked time may be shown at present"
    if number is None:
        return None
    if pair is not None and _was_written_as_blocked_time(event, pair):
        return "it was written as blocked time only"
    return _hidden_by_termin(audit, pair, number)


def _number(audit: EmployeeAudit, event: GoogleEvent, pair: Pair | None) -> int | None:
    """The Termin whose text the event may show: the pair's, else the one that its marks name, else its id."""
    if pair is not None and pair.advoware_frnr is not None:
        return pair.advoware_frnr
    if event.fr_nr is not None:
        return event.fr_nr
    for other in audit.view.pairs:
        if other.sync_id == event.sync_id:
            return other.advoware_frnr
    return audit.view.termin_of_id(_owner(event))


def _was_written_as_blocked_time(event: GoogleEvent, pair: Pair) -> bool:
    is_marked = private_properties(event.record).get(PROPERTY_ANONYMISED) == "1"
    return is_marked or is_anonymised_hash(pair.google.content_hash)


def _hidden_by_termin(
    audit: EmployeeAudit,
    pair: Pair | None,
    number: int,
) -> str | None:
    view = audit.view
    if number in view.elsewhere:
        return OF_ANOTHER
    if not _is_known(audit, number):
        return None
    termin = _termin(audit, number)
    if termin is None:
        return _without_termin(pair)
    if not termin.belongs_to(view.settings.kuerzel):
        return OF_ANOTHER
    if _must_hide(view, termin, pair):
        return "its Termin is private"
    return None


def _must_hide(view: CalendarView, termin: Termin, pair: Pair | None) -> bool:
    """Whether it is private. What a person has entered in Google as private keeps its title (specification 13)."""
    keeps_title = pair is not None and view.persons_private(pair)
    return termin.privat and not keeps_title


def _without_termin(pair: Pair | None) -> str | None:
    is_persons = pair is not None and pair.source_system == "google"
    if is_persons:
        return None
    return "its Termin does not exist"


def _is_known(audit: EmployeeAudit, number: int) -> bool:
    view = audit.view
    if number in view.termine or number in view.elsewhere:
        return True
    return number in audit.outside or number in view.confirmed.termine


def _termin(audit: EmployeeAudit, number: int) -> Termin | None:
    view = audit.view
    return (
        view.termine.get(number)
        or audit.outside.get(number)
        or view.confirmed.termine.get(number)
    )


def _leak(
    audit: EmployeeAudit,
    event: GoogleEvent,
    pair: Pair | None,
    reason: str,
) -> Finding:
    shown = "it shows a text"
    if event.id != _owner(event):
        shown = "a single occurrence shows a text"
    reason = f"{shown}, but {reason}"
    remedy: Remedy = "next_sync"
    sync_id = event.sync_id
    if pair is not None:
        sync_id = pair.sync_id
    else:
        reason = f"{reason}; it has no pair"
        remedy = "person"
    return Finding(
        kind="shows_too_much",
        reason=reason,
        remedy=remedy,
        employee_kuerzel=audit.view.settings.kuerzel,
        advoware_frnr=_number(audit, event, pair),
        google_event_id=event.id,
        sync_id=sync_id,
        calendar_id=audit.view.settings.calendar_id,
    )
