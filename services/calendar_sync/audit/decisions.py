"""What an operator decides about the calendar sync: releasing held work, bringing back what was overwritten."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.calendar_sync.audit.findings import Finding
from services.calendar_sync.audit.reader import AuditReader, Selection
from services.calendar_sync.audit.report import (
    Change,
    Problem,
    Report,
    explain,
    overwritten_row,
)
from services.calendar_sync.audit.runs import held_finding
from services.calendar_sync.employees import LOCK_SECONDS, lock_key
from services.calendar_sync.model import Termin
from services.calendar_sync.store import OVERWRITTEN_DAYS, AuditLine, Hold, Overwritten
from services.core.errors import BitByLawError, ConfigurationError, Conflict
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.core.locks import record_lock
from services.core.resources import Resources

#: What of an overwritten event is brought back: its content, not our marks, and no guests, who would be invited again.
_KEPT = (
    *("summary", "description", "location", "start", "end", "recurrence"),
    *("visibility", "transparency", "colorId", "reminders"),
)


class RestoreRefused(BitByLawError):
    """The overwritten event cannot be brought back; the message says why."""


class CalendarDecisions:
    """Commands that write only with ``apply``. All methods raise the errors of the systems that they ask."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._reader = AuditReader(resources)

    # -- held work ------------------------------------------------------------------------------------------------

    async def release_held(
        self,
        wanted: Sequence[str] = (),
        *,
        apply: bool = False,
        at_most: int | None = None,
    ) -> Report:
        """What the sync holds back; with ``apply`` the next run does it, once.

        ``at_most``: a hold of more appointments than an operator was shown stays.
        """
        selection = await self._reader.select(wanted)
        report = Report(
            "release-held",
            self._resources.clock(),
            details={"applied": apply},
        )
        for hold in await self._holds(selection):
            if hold.released_at is not None:
                continue
            if apply:
                report.changes.append(await self._release(hold, at_most))
                continue
            finding = held_finding(hold)
            report.findings.append(finding)
            report.changes.append(Change(finding, False, "would be released"))
        current = await self._holds(selection)
        report.details["holds"] = [_hold_row(hold) for hold in current]
        return report

    async def _holds(self, selection: Selection) -> list[Hold]:
        holds = await (await self._reader.store()).holds()
        return [hold for hold in holds if selection.includes(hold.employee_kuerzel)]

    async def _release(self, hold: Hold, at_most: int | None) -> Change:
        store = await self._reader.store()
        now = self._resources.clock()
        finding = held_finding(hold)
        limit = hold.number if at_most is None else at_most
        if not await store.release_hold(hold.employee_kuerzel, now, at_most=limit):
            return Change(finding, False, "something else is held by now")
        await store.append_audit([_released(hold)], now)
        result = "released; the next run applies it"
        return Change(finding, True, result, hold.number)

    # -- what was overwritten -------------------------------------------------------------------------------------

    async def overwritten(
        self,
        wanted: Sequence[str] = (),
        *,
        show_text: bool = False,
    ) -> Report:
        """What the sync has overwritten in Google in the last 30 days."""
        selection = await self._reader.select(wanted)
        rows: list[dict[str, Any]] = []
        for event in await self._kept():
            if selection.includes(event.employee_kuerzel):
                rows.append(overwritten_row(event, show_text=show_text))
        return Report(
            "overwritten",
            self._resources.clock(),
            details={"overwritten": rows},
        )

    async def restore_overwritten(
        self,
        overwritten_id: int,
        *,
        apply: bool = False,
    ) -> Report:
        """Bring an overwritten event back as a person's event of its own, beside Advoware's; once."""
        report = Report(
            "restore-overwritten",
            self._resources.clock(),
            details={"applied": apply},
        )
        kept = {event.overwritten_id: event for event in await self._kept()}
        event = kept.get(overwritten_id)
        if event is None:
            reason = f"nothing of this number was overwritten in the last {OVERWRITTEN_DAYS} days"
            report.findings.append(
                Finding(kind="unknown", reason=reason, remedy="person"),
            )
            return report
        report.details["overwritten"] = [overwritten_row(event, show_text=False)]
        try:
            report.changes.append(await self._restore(event, apply=apply))
        except ConfigurationError:
            raise
        except BitByLawError as error:
            report.problems.append(Problem(event.employee_kuerzel, explain(error)))
        return report

    async def _restore(self, event: Overwritten, *, apply: bool) -> Change:
        finding = _of_overwritten(event)
        if event.restored_at is not None:
            return Change(
                finding,
                False,
                f"was brought back already at {event.restored_at.isoformat()}",
            )
        await self._require_that_it_may_be_shown(event)
        body = _body_of(event)
        if not {"start", "end"} <= body.keys():
            raise RestoreRefused(
                "what is kept of it has no time, so there is nothing to bring back",
            )
        if not apply:
            return Change(finding, False, "would be brought back")
        kuerzel = event.employee_kuerzel
        redis = self._resources.calendar_redis
        async with record_lock(
            self._resources,
            lock_key(kuerzel),
            LOCK_SECONDS,
            redis=redis,
        ):
            return await self._insert(event, finding, body)

    async def _insert(
        self,
        event: Overwritten,
        finding: Finding,
        body: dict[str, Any],
    ) -> Change:
        """Insert it under an id that only it has, so that a repeated command does not double it."""
        store = await self._reader.store()
        now = self._resources.clock()
        calendar_id = await self._reader.calendar_id(event.employee_kuerzel)
        event_id = _restored_id(event, calendar_id)
        try:
            await self._reader.google.insert_event(
                calendar_id,
                {**body, "id": event_id},
            )
        except Conflict:
            result = "was brought back already"
        else:
            result = f"brought back as {event_id}"
        await store.append_audit([_restored(event, event_id)], now)
        await store.mark_restored(event.overwritten_id or 0, now)
        return Change(finding, True, result)

    async def _require_that_it_may_be_shown(self, event: Overwritten) -> None:
        """Raises RestoreRefused if the rules hide the texts of its Termin by now."""
        why = await self._why_hidden(event)
        if why is not None:
            raise RestoreRefused(
                f"{why}, so its text must not be shown; see it with: overwritten --show-text",
            )

    async def _why_hidden(self, event: Overwritten) -> str | None:
        kuerzel = event.employee_kuerzel
        settings = self._reader.settings_for(kuerzel, "")
        is_hide_asked = await self._is_hide_asked(kuerzel)
        if settings.anonymise or is_hide_asked:
            return "Google shows blocked time only"
        if not event.advoware_frnr:
            return None
        termin = await self._reader.read_termin(event.advoware_frnr)
        if termin is None:
            return None
        return _why_hidden_by(termin, kuerzel)

    async def _is_hide_asked(self, kuerzel: str) -> bool:
        """Whether a person has asked for blocked time only."""
        notes = Notes(await self._resources.database())
        note = await notes.find(calendar(kuerzel))
        return note is not None and HIDE in note.requested

    async def _kept(self) -> list[Overwritten]:
        since = self._resources.clock() - timedelta(days=OVERWRITTEN_DAYS)
        return await (await self._reader.store()).overwritten(since)


def _why_hidden_by(termin: Termin, kuerzel: str) -> str | None:
    if termin.privat:
        return "its Termin is private"
    if not termin.belongs_to(kuerzel):
        return "its Termin belongs to another employee"
    return None


def _body_of(event: Overwritten) -> dict[str, Any]:
    """What of the overwritten event is brought back."""
    body: dict[str, Any] = {}
    for name in _KEPT:
        value = event.resource.get(name)
        if value is not None:
            body[name] = value
    return body


def _hold_row(hold: Hold) -> dict[str, Any]:
    return {
        "employee_kuerzel": hold.employee_kuerzel,
        "why": hold.reason,
        "number": hold.number,
        "live_pairs": hold.live_pairs,
        "held_since": hold.held_since,
        "released_at": hold.released_at,
    }


def _released(hold: Hold) -> AuditLine:
    reason = f"audit, release-held: {hold.reason}: {hold.number} of {hold.live_pairs}"
    return AuditLine(
        employee_kuerzel=hold.employee_kuerzel,
        side="none",
        action="released",
        reason=reason,
    )


def _of_overwritten(event: Overwritten) -> Finding:
    return Finding(
        kind="overwritten",
        reason=f"number {event.overwritten_id}, overwritten because Advoware is the source",
        remedy="person",
        employee_kuerzel=event.employee_kuerzel,
        advoware_frnr=event.advoware_frnr,
        google_event_id=event.google_event_id,
        sync_id=event.sync_id,
    )


def _restored(event: Overwritten, event_id: str) -> AuditLine:
    return AuditLine(
        employee_kuerzel=event.employee_kuerzel,
        side="google",
        action="restored",
        reason=f"audit, restore-overwritten {event.overwritten_id}: as a person's event",
        sync_id=event.sync_id,
        advoware_frnr=event.advoware_frnr,
        google_event_id=event_id,
    )


def _restored_id(event: Overwritten, calendar_id: str) -> str:
    name = f"restored:{event.overwritten_id}:{calendar_id}"
    digest = hashlib.sha256(name.encode()).digest()
    return base64.b32hexencode(digest).decode().rstrip("=").lower()
