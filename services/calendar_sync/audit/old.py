"""Events of ours that are over for long, as findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from services.calendar_sync.audit.findings import EmployeeAudit, Finding, Remedy
from services.calendar_sync.mapping import google_to_event
from services.calendar_sync.model import GoogleEvent, Pair, Untranslatable


def old_events(audit: EmployeeAudit, before: date) -> Iterator[Finding]:
    """Events that the sync has made from Termine, and that ended before that day; never those that people have made,
    be it that a pair has adopted them.

    Of an event that is gone already its row is one. A series that repeats for ever, or whose end cannot be told, is
    never old.
    """
    for pair in audit.view.pairs:
        if (
            pair.source_system != "advoware"
            or pair.advoware_frnr is None
            or pair.google_event_id is None
        ):
            continue
        event = audit.view.events.get(pair.google_event_id)
        last = pair.last_day if event is None else _last_day(audit, pair, event)
        if last is None or last >= before:
            continue
        if event is not None and audit.was_inserted(event.id, pair.advoware_frnr):
            yield _old(pair, f"ended on {last.isoformat()}", "delete_event")
        elif event is None and audit.view.in_google(pair) == "gone":
            yield _old(
                pair,
                f"ended on {last.isoformat()}, its event is gone already",
                "delete_pair",
            )


def _last_day(audit: EmployeeAudit, pair: Pair, event: GoogleEvent) -> date | None:
    """The latest day that anybody knows of: the row's, the event's, those of moved occurrences. None: unknown."""
    single = [
        each
        for each in audit.view.google.events
        if each.recurring_event_id == event.id and not each.cancelled
    ]
    days = [pair.last_day] if pair.last_day is not None else []
    for each in (event, *single):
        content = google_to_event(each.record)
        if not isinstance(content, Untranslatable):
            days.append(content.last_day)
        elif each.record.get("recurrence") or pair.last_day is None:
            return None
    return max(days, default=None)


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
