"""Events of the sync that are over for long, as findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from services.calendar_sync.audit.findings import EmployeeAudit, Finding, Remedy
from services.calendar_sync.mapping import google_to_event
from services.calendar_sync.model import GoogleEvent, Pair, Untranslatable


def old_events(audit: EmployeeAudit, before: date) -> Iterator[Finding]:
    """Events that the sync has made from Termine, and that ended before that day; never those that people have made,
    be it that a pair has adopted them.

    Of an event that is gone already its row is one. A series that repeats for ever, or whose end is not known, is
    never old.
    """
    for pair in audit.view.pairs:
        if pair.source_system == "advoware":
            yield from _old_event_of(audit, pair, before)


def _old_event_of(audit: EmployeeAudit, pair: Pair, before: date) -> Iterator[Finding]:
    if pair.advoware_frnr is None or pair.google_event_id is None:
        return
    event = audit.view.events.get(pair.google_event_id)
    last = pair.last_day
    if event is not None:
        last = _last_day(audit, pair, event)
    if last is None or last >= before:
        return
    reason = f"ended on {last.isoformat()}"
    if event is None:
        yield from _old_row_of(audit, pair, reason)
    elif audit.was_inserted(event.id, pair.advoware_frnr):
        yield _old(pair, reason, "delete_event")


def _old_row_of(audit: EmployeeAudit, pair: Pair, reason: str) -> Iterator[Finding]:
    """The row of an event that is gone already."""
    if audit.view.in_google(pair) == "gone":
        yield _old(pair, f"{reason}, its event is gone already", "delete_pair")


def _last_day(audit: EmployeeAudit, pair: Pair, event: GoogleEvent) -> date | None:
    """The latest day that is known: the row's, the event's, those of moved occurrences. None: unknown."""
    days: list[date] = []
    if pair.last_day is not None:
        days.append(pair.last_day)
    for each in (event, *_single_occurrences(audit, event)):
        content = google_to_event(each.record)
        if not isinstance(content, Untranslatable):
            days.append(content.last_day)
        elif each.record.get("recurrence") or pair.last_day is None:
            return None
    return max(days, default=None)


def _single_occurrences(
    audit: EmployeeAudit,
    series: GoogleEvent,
) -> Iterator[GoogleEvent]:
    for event in audit.view.google.events:
        if event.recurring_event_id == series.id and not event.cancelled:
            yield event


def _old(pair: Pair, reason: str, remedy: Remedy) -> Finding:
    return Finding(
        kind="old_event",
        reason=reason,
        remedy=remedy,
        employee_kuerzel=pair.employee_kuerzel,
        advoware_frnr=pair.advoware_frnr,
        google_event_id=pair.google_event_id,
        sync_id=pair.sync_id,
    )
