"""The answer to one command of the calendar's audit, as values that can be printed or turned into JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from services.calendar_sync.audit.findings import Finding
from services.calendar_sync.model import (
    GoogleEvent,
    NormalisedEvent,
    Termin,
    Untranslatable,
    content_hash,
)
from services.calendar_sync.store import Overwritten, StoredPair
from services.core.errors import EntityBusy, ForeignSystemError, Paused, RateLimited

_WHERE_TO_LOOK = {
    "Advoware": "check the ADVOWARE_ settings and GET /health",
    "Google Calendar": "check the GOOGLE_CALENDAR_ settings and GET /health",
    "PostgreSQL": "check the POSTGRES_ settings and that the server runs",
    "Redis": "check the REDIS_ settings and that the server runs",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why something could not be looked at or done, and what helps. Without Kürzel it concerns the whole command."""

    employee_kuerzel: str | None
    message: str


@dataclass(frozen=True)
class Change:
    """A finding that a cleanup mends, and what became of it. ``count``: how many appointments it concerns."""

    finding: Finding
    done: bool
    result: str
    count: int = 1

    def as_document(self) -> Row:
        """The finding and its result in one row."""
        return {**asdict(self.finding), "done": self.done, "result": self.result}


@dataclass
class Report:
    """The answer to one command.

    Attributes:
        command: its name.
        checked_at: aware.
        findings: what is not in order now; what a cleanup has mended is not among them.
        infos: what is in order and worth a person's look.
        changes: what a cleanup has done or would do.
        problems: what could not be looked at or done.
        details: what the command is about besides: lists of rows, or single ones.
    """

    command: str
    checked_at: datetime
    findings: list[Finding] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    infos: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: in order; 1: there are findings; 2: something could not be looked at or done."""
        if self.problems:
            return 2
        return int(bool(self.findings))

    def as_document(self) -> Row:
        """Everything as JSON values: times as ISO strings, ids as strings."""
        document = {
            "command": self.command,
            "status": ("clean", "findings", "error")[self.exit_code],
            "checked_at": self.checked_at,
            "findings": _documents(self.findings),
            "infos": _documents(self.infos),
            "changes": [change.as_document() for change in self.changes],
            "errors": _documents(self.problems),
            **self.details,
        }
        return {key: _plain(value) for key, value in document.items()}


def _documents(values: Iterable[Finding | Problem]) -> list[Row]:
    return [asdict(value) for value in values]


def explain(error: Exception) -> str:
    """What went wrong and what helps, in one line without secrets."""
    if isinstance(error, Paused):
        return f"{error}; `bitbylaw resume` ends the pause"
    if isinstance(error, EntityBusy):
        return "a sync of this employee is at work; try again in a minute"
    if isinstance(error, RateLimited):
        return f"{error}; try again in a few minutes"
    if isinstance(error, ForeignSystemError) and error.system in _WHERE_TO_LOOK:
        return f"{error}; {_WHERE_TO_LOOK[error.system]}"
    return str(error)


# -- rows -----------------------------------------------------------------------------------------------------------


def pair_row(stored: StoredPair) -> Row:
    """A pair with all that the table knows of it."""
    pair = stored.pair
    return {
        "sync_id": pair.sync_id,
        "employee_kuerzel": pair.employee_kuerzel,
        "advoware_frnr": pair.advoware_frnr,
        "google_event_id": pair.google_event_id,
        "sync_status": pair.sync_status,
        "deleted": pair.deleted,
        "source_system": pair.source_system,
        "sync_strategy": pair.sync_strategy,
        "advoware_write_allowed": pair.advoware_write_allowed,
        "last_sync": stored.last_sync,
        "advoware_hash": pair.advoware.content_hash,
        "google_hash": pair.google.content_hash,
        "attempts": pair.attempts,
        "error": pair.error,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
        "deleted_at": stored.deleted_at,
    }


def termin_row(termin: Termin, *, show_text: bool) -> Row:
    """A Termin as Advoware answers it now; its texts only if asked for."""
    return {
        "advoware_frnr": termin.fr_nr,
        "anwalt": termin.anwalt,
        "changed_at": termin.changed_at,
        **_content(termin.event, show_text=show_text),
    }


def event_row(
    kuerzel: str,
    calendar_id: str,
    google: GoogleEvent,
    *,
    show_text: bool,
) -> Row:
    """An event as Google answers it now; its texts only if asked for."""
    return {
        "employee_kuerzel": kuerzel,
        "calendar_id": calendar_id,
        "google_event_id": google.id,
        "cancelled": google.cancelled,
        "advoware_frnr": google.fr_nr,
        "sync_id": google.sync_id,
        "changed_at": google.updated,
        "has_foreign_text": google.has_foreign_text,
        **_content(google.event, show_text=show_text),
    }


def overwritten_row(overwritten: Overwritten, *, show_text: bool) -> Row:
    """An event as it was before the sync has overwritten it, in Google's words; its texts only if asked for."""
    resource = overwritten.resource
    texts: Row = {}
    if show_text:
        for name in ("summary", "description", "location"):
            texts[name] = resource.get(name)
    return {
        "overwritten_id": overwritten.overwritten_id,
        "at": overwritten.at,
        "employee_kuerzel": overwritten.employee_kuerzel,
        "advoware_frnr": overwritten.advoware_frnr,
        "google_event_id": overwritten.google_event_id,
        "sync_id": overwritten.sync_id,
        "start": _moment(resource.get("start")),
        "end": _moment(resource.get("end")),
        "recurrence": resource.get("recurrence"),
        "restored_at": overwritten.restored_at,
        **texts,
    }


def _moment(value: Any) -> Any:
    """A time of Google's as it came."""
    if not isinstance(value, Mapping):
        return None
    return value.get("dateTime") or value.get("date")


def _content(event: NormalisedEvent | Untranslatable, *, show_text: bool) -> Row:
    if isinstance(event, Untranslatable):
        return {"untranslatable": event.reason}
    texts: Row = {}
    if show_text:
        texts = {"text": event.text, "notiz": event.notiz, "ort": event.ort}
    return {
        "untranslatable": None,
        "start": event.start,
        "end": event.end,
        "all_day": event.all_day,
        "recurrence": event.recurrence,
        "privat": event.privat,
        "anonymised": event.anonymised,
        "content_hash": content_hash(event),
        **texts,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    return value
