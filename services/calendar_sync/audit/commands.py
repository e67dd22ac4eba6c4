"""The audit of the calendar sync: is everything in step, is anything there twice, is anything left over?

Nothing is written unless a cleanup is told to apply. Then only events that the sync itself has made, and rows of which
nothing is left, are deleted: under the employee's lock, each with a line in the append-only audit. Nothing is ever
deleted in Advoware, which keeps the files of the firm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.calendar_sync.audit.decisions import CalendarDecisions
from services.calendar_sync.audit.findings import (
    Finding,
    View,
    deletion_limit,
    differences,
    duplicates,
    orphans,
)
from services.calendar_sync.audit.leaks import guessed_ends, leaks
from services.calendar_sync.audit.old import old_events
from services.calendar_sync.audit.queries import CalendarQuestions
from services.calendar_sync.audit.reader import LARGEST_FRNR, CalendarMissing, Observer
from services.calendar_sync.audit.report import Change, Problem, Report, explain
from services.calendar_sync.audit.runs import held_finding
from services.calendar_sync.employees import LOCK_SECONDS, lock_key
from services.calendar_sync.model import (
    GoogleEvent,
    HoldDeletions,
    NormalisedEvent,
    content_hash,
)
from services.calendar_sync.plan import make_plan
from services.calendar_sync.store import AuditLine
from services.core.errors import (
    AuthenticationFailed,
    BitByLawError,
    ConfigurationError,
    Conflict,
    InvalidInput,
    NotFound,
    RateLimited,
    Unavailable,
    shown_text,
    without_quotes,
)
from services.core.locks import record_lock
from services.core.resources import Resources
from services.values.advoware_protocol import BERLIN

#: These concern everybody: there is no use in going on with the next employee.
_STOPS = (Unavailable, RateLimited, AuthenticationFailed)

Progress = Callable[[int, int], None]
Analysis = Callable[[View], list[Finding]]


class DeletionsRefused(BitByLawError):
    """More would be deleted than is believed; the message says how an operator allows it."""


class CalendarAudit:
    """Commands that look at whole calendars.

    ``wanted`` are Kürzel; without any the audit covers everybody whom the sync covers. ``progress`` is told how many
    employees are done, and of how many. What concerns one employee is a problem in the report, and the others go on.

    All methods raise `InvalidInput` for an unknown Kürzel, and the errors of PostgreSQL and Advoware if not even the
    employees are known.
    """

    def __init__(
        self, resources: Resources, *, progress: Progress = lambda done, total: None
    ) -> None:
        self._resources = resources
        self._progress = progress
        self._observer = Observer(resources)
        self.questions = CalendarQuestions(
            resources
        )  #: commands that answer a question
        self.decisions = CalendarDecisions(
            resources
        )  #: commands by which an operator decides

    async def verify_sync(self, wanted: Sequence[str] = ()) -> Report:
        """Compare Advoware (within the window), Google and the table; also outside the window, what shows too much."""
        report = self._report("verify-sync", employees=[])

        async def verify(kuerzel: str) -> None:
            is_running = await self._observer.sync.is_running(kuerzel)
            view = await self._observer.with_outside(await self._observer.view(kuerzel))
            hold = next(iter(await (await self._observer.store()).holds(kuerzel)), None)
            findings = differences(view, _hold(view) if hold is None else None)
            if hold is not None and hold.released_at is None:
                findings.append(held_finding(hold))
            report.findings += [*findings, *leaks(view, findings)]
            named = {
                info.advoware_frnr for info in report.infos
            }  # everybody's Termin is in several calendars
            report.infos += [
                info for info in guessed_ends(view) if info.advoware_frnr not in named
            ]
            numbers = {
                "employee_kuerzel": kuerzel,
                "termine": len(view.picture.termine),
                "events": len(view.picture.events),
                "pairs": len(view.picture.pairs),
                "held": hold.number if hold else 0,
                "held_since": hold.held_since if hold else None,
                "released_at": hold.released_at if hold else None,
                # What was read while a sync was at work may be out of date already.
                "sync_is_running": is_running
                or await self._observer.sync.is_running(kuerzel),
            }
            report.details["employees"].append(numbers)

        await self._each(report, wanted, verify)
        return report

    async def find_duplicates(self, wanted: Sequence[str] = ()) -> Report:
        """Events and Termine that are there twice."""
        return await self._find("find-duplicates", duplicates, wanted)

    async def find_orphaned(self, wanted: Sequence[str] = ()) -> Report:
        """Events of the sync without a pair, and pairs without their event or Termin."""
        return await self._find("find-orphaned", orphans, wanted)

    async def delete_duplicates(
        self,
        wanted: Sequence[str] = (),
        *,
        apply: bool = False,
        max_deletions: int | None = None,
    ) -> Report:
        """Delete surplus events of our own making, or say which. ``max_deletions`` per employee replaces the guard."""
        return await self._clean(
            self._report("delete-duplicates"), duplicates, wanted, apply, max_deletions
        )

    async def cleanup_orphaned(
        self,
        wanted: Sequence[str] = (),
        *,
        apply: bool = False,
        max_deletions: int | None = None,
    ) -> Report:
        """Delete orphaned events of our own making and rows of which nothing is left, or say which."""
        return await self._clean(
            self._report("cleanup-orphaned"), orphans, wanted, apply, max_deletions
        )

    async def purge_old(
        self,
        older_than: int,
        wanted: Sequence[str] = (),
        *,
        apply: bool = False,
        max_deletions: int | None = None,
    ) -> Report:
        """Remove from Google what ended more than so many days ago, or say what; only events made from Termine.

        The pairs end with them, so that nothing is made anew, and nothing is deleted in Advoware.

        Raises:
            InvalidInput: what is as young as that may lie in the window of the sync, which would make it anew.
        """
        days_back = self._resources.settings.calendar_sync.days_back
        if older_than <= days_back:
            raise InvalidInput(
                f"--older-than: must be more than the {days_back} days of CALENDAR_SYNC_DAYS_BACK; what is younger is "
                "in the window of the sync, which would make it anew"
            )
        before = self._resources.clock().astimezone(BERLIN).date() - timedelta(
            days=older_than
        )
        report = self._report("purge-old", before=before)
        look = self._observer.google_view
        return await self._clean(
            report,
            lambda view: list(old_events(view, before)),
            wanted,
            apply,
            max_deletions,
            look=look,
        )

    # -- one employee after the other -----------------------------------------------------------------------------

    async def _find(
        self, command: str, analyse: Analysis, wanted: Sequence[str]
    ) -> Report:
        report = self._report(command)

        async def find(kuerzel: str) -> None:
            report.findings += analyse(await self._observer.view(kuerzel))

        await self._each(report, wanted, find)
        return report

    async def _clean(
        self,
        report: Report,
        analyse: Analysis,
        wanted: Sequence[str],
        apply: bool,
        max_deletions: int | None,
        *,
        look: Callable[[str], Awaitable[View]] | None = None,
    ) -> Report:
        look = look or self._observer.view
        report.details["applied"] = apply

        async def clean(kuerzel: str) -> None:
            async with self._lock(kuerzel, needed=apply):
                view = await look(kuerzel)
                found = analyse(view)
                removable = [
                    finding
                    for finding in found
                    if finding.remedy in {"delete_event", "delete_pair"}
                ]
                report.findings += [
                    finding for finding in found if finding not in removable
                ]
                refusal = (
                    _refusal(view, removable, max_deletions) if removable else None
                )
                if not apply or refusal:
                    report.findings += removable
                    report.changes += [
                        Change(finding, False, refusal or "would be deleted")
                        for finding in removable
                    ]
                if apply and refusal:
                    raise DeletionsRefused(refusal)
                if apply:
                    await self._remove_all(report, view, removable)

        await self._each(report, wanted, clean)
        return report

    async def _each(
        self,
        report: Report,
        wanted: Sequence[str],
        work: Callable[[str], Awaitable[None]],
    ) -> None:
        employees = await self._observer.employees(wanted)
        for done, kuerzel in enumerate(employees):
            self._progress(done, len(employees))
            try:
                await work(kuerzel)
            except CalendarMissing as error:
                await self._report_missing(report, kuerzel, error)
            except ConfigurationError:
                raise
            except BitByLawError as error:
                report.problems.append(Problem(kuerzel, explain(error)))
                if isinstance(error, _STOPS):
                    left = ", ".join(employees[done + 1 :])
                    report.problems += (
                        [Problem(None, f"not looked at: {left}")] if left else []
                    )
                    break
        self._progress(len(employees), len(employees))

    async def _report_missing(
        self, report: Report, kuerzel: str, error: CalendarMissing
    ) -> None:
        pairs = await (await self._observer.store()).load_pairs(kuerzel)
        if pairs or report.command == "verify-sync":
            reason = f"{error.reason}; {len(pairs)} pairs are live"
            report.findings.append(
                Finding(
                    kind="calendar_missing",
                    reason=reason,
                    remedy="next_sync",
                    employee_kuerzel=kuerzel,
                )
            )

    @asynccontextmanager
    async def _lock(self, kuerzel: str, *, needed: bool) -> AsyncIterator[None]:
        if not needed:
            yield
            return
        redis = self._resources.calendar_redis
        async with record_lock(
            self._resources, lock_key(kuerzel), LOCK_SECONDS, redis=redis
        ):
            yield

    def _report(self, command: str, **details: Any) -> Report:
        return Report(command, self._resources.clock(), details=details)

    # -- deletions ------------------------------------------------------------------------------------------------

    async def _remove_all(
        self, report: Report, view: View, removable: Sequence[Finding]
    ) -> None:
        """Delete one after the other. What is not deleted remains a finding, also if one fails."""
        left = list(removable)
        try:
            for finding in removable:
                change = await self._remove(view, finding)
                report.changes.append(change)
                if change.done:
                    left.remove(finding)
        finally:
            report.findings += left

    async def _remove(self, view: View, finding: Finding) -> Change:
        if finding.remedy == "delete_pair":
            return await self._delete_pair(view, finding)
        if finding.kind != "old_event":
            return await self._delete_event(view, finding)
        await self._require_that_advoware_decides(view, finding)
        change = await self._delete_event(view, finding)
        if change.done:
            await self._delete_pair(view, replace(finding, remedy="delete_pair"))
        return change

    async def _require_that_advoware_decides(
        self, view: View, finding: Finding
    ) -> None:
        """If this is interrupted before the pair is gone, no sync may take the event's absence for a person's wish."""
        pair = view.picture.by_event[finding.google_event_id or ""]
        if pair.sync_strategy == "last_change_wins":
            line = replace(
                _audit_line(view, finding), side="none", action="source_wins"
            )
            await (await self._observer.store()).save_pair(
                replace(pair, sync_strategy="source_system_wins"),
                line,
                self._resources.clock(),
            )

    async def _delete_pair(self, view: View, finding: Finding) -> Change:
        store = await self._observer.store()
        assert finding.sync_id is not None  # noqa: S101 - a finding about a pair names it
        try:
            await store.delete_pair(
                finding.sync_id, _audit_line(view, finding), self._resources.clock()
            )
        except Conflict:
            return Change(finding, True, "was deleted already")
        return Change(finding, True, "deleted")

    async def _delete_event(self, view: View, finding: Finding) -> Change:
        """Delete the event as it was read; whoever changed it since then keeps it."""
        event = view.picture.events[finding.google_event_id or ""]
        if event.etag is None:
            return Change(
                finding, False, "has no etag, so that a change could not be noticed"
            )
        calendar_id, line = (
            view.picture.settings.calendar_id,
            _audit_line(view, finding),
        )
        try:
            result = await self._delete_in_google(calendar_id, event)
        except ConfigurationError:
            raise
        except BitByLawError as error:
            failed = replace(
                line, action="failed", error=without_quotes(shown_text(error))
            )
            await (await self._observer.store()).append_audit(
                [failed], self._resources.clock()
            )
            raise
        if result is None:
            return Change(finding, False, "was changed in the meantime")
        await (await self._observer.store()).append_audit(
            [line], self._resources.clock()
        )
        return Change(finding, True, result)

    async def _delete_in_google(
        self, calendar_id: str, event: GoogleEvent
    ) -> str | None:
        """Returns what happened; None if somebody has changed the event."""
        try:
            await self._observer.google.delete_event(
                calendar_id, event.id, if_match=event.etag
            )
        except NotFound:
            return "was deleted already"
        except Conflict:
            # Also the answer to a repeated request whose first answer was lost.
            now = await self._observer.read_event(calendar_id, event.id)
            return "deleted" if now is None or now.cancelled else None
        return "deleted"


def _hold(view: View) -> HoldDeletions | None:
    """What makes the next sync hold back its deletions; it decides before it confirms single ones."""
    seen = view.picture
    actions = make_plan(seen.settings, view.listed, seen.google, seen.pairs)
    return next(
        (action for action in actions if isinstance(action, HoldDeletions)), None
    )


def _refusal(
    view: View, removable: Sequence[Finding], max_deletions: int | None
) -> str | None:
    """Why so many deletions are not believed; ``max_deletions`` is how many the operator expects."""
    deletions = len(removable)
    limit = deletion_limit(view.picture) if max_deletions is None else max_deletions
    if deletions > limit:
        return f"{deletions} deletions are more than {limit}; if they are right: --max-deletions {deletions}"
    hold = (
        _hold(view)
        if any(finding.kind != "old_event" for finding in removable)
        else None
    )
    if max_deletions is None and hold is not None and hold.reason == "advoware_empty":
        return f"Advoware lists no Termine at all; if that is right: --max-deletions {deletions}"
    return None


def _audit_line(view: View, finding: Finding) -> AuditLine:
    event = view.picture.events.get(finding.google_event_id or "")
    content = event.event if event is not None else None
    frnr = finding.advoware_frnr
    return AuditLine(
        employee_kuerzel=view.picture.settings.kuerzel,
        side="google" if finding.remedy == "delete_event" else "none",
        action="deleted",
        reason=f"audit, {finding.kind}: {finding.reason}",
        sync_id=finding.sync_id,
        advoware_frnr=frnr if frnr is not None and frnr <= LARGEST_FRNR else None,
        google_event_id=finding.google_event_id,
        before_hash=content_hash(content)
        if isinstance(content, NormalisedEvent)
        else None,
    )
