"""The audit of the calendar sync: is everything in step, is anything there twice, is anything left over?

Nothing is written unless a cleanup is called with ``apply``. Then only events that the sync itself has made, and rows
of which nothing is left, are deleted: under the employee's lock, each with a line in the append-only audit. Nothing
is ever deleted in Advoware, which keeps the files of the firm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from services.calendar_sync.apply import Clients, Rows
from services.calendar_sync.audit.decisions import CalendarDecisions
from services.calendar_sync.audit.findings import (
    EmployeeAudit,
    Finding,
    deletion_limit,
    differences,
    duplicates,
    orphans,
)
from services.calendar_sync.audit.leaks import guessed_ends, leaks
from services.calendar_sync.audit.old import old_events
from services.calendar_sync.audit.queries import CalendarQuestions
from services.calendar_sync.audit.reader import (
    LARGEST_FRNR,
    AuditReader,
    CalendarMissing,
)
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
from services.calendar_sync.plan.kept import lost_with
from services.calendar_sync.store import AuditLine, Hold
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

#: These concern all employees: there is no use in going on with the next employee.
_STOPS = (Unavailable, RateLimited, AuthenticationFailed)

Progress = Callable[[int, int], None]
Analysis = Callable[[EmployeeAudit], list[Finding]]


class DeletionsRefused(BitByLawError):
    """More would be deleted than is believed; the message says how an operator allows it."""


class CalendarAudit:
    """Commands that look at whole calendars.

    ``wanted`` are Kürzel; without any the audit covers all whom the sync covers. ``progress`` is called with how many
    employees are done, and of how many. What concerns one employee is a problem in the report, and the others go on.

    All methods raise `InvalidInput` for an unknown Kürzel, and the errors of PostgreSQL and Advoware if not even the
    employees are known.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self._resources = resources
        self._progress = progress
        self._reader = AuditReader(resources)
        self.questions = CalendarQuestions(
            resources,
        )  #: commands that answer a question
        self.decisions = CalendarDecisions(
            resources,
        )  #: commands by which an operator decides

    async def verify_sync(self, wanted: Sequence[str] = ()) -> Report:
        """Compare Advoware (within the window), Google and the table; also outside the window, what shows too much."""
        report = self._report("verify-sync", employees=[])

        async def verify(kuerzel: str) -> None:
            await self._verify(report, kuerzel)

        await self._each(report, wanted, verify)
        return report

    async def _verify(self, report: Report, kuerzel: str) -> None:
        was_running = await self._reader.sync.is_running(kuerzel)
        inside = await self._reader.read(kuerzel)
        audit = await self._reader.with_outside(inside)
        store = await self._reader.store()
        holds = await store.holds(kuerzel)
        hold = next(iter(holds), None)
        planned_hold = None
        if hold is None:
            planned_hold = _planned_hold(audit)
        findings = differences(audit, planned_hold)
        if hold is not None and hold.released_at is None:
            findings.append(held_finding(hold))
        report.findings += findings
        report.findings += leaks(audit, findings)
        _add_guessed_ends(report, audit)
        # What was read while a sync was at work may be out of date already.
        is_running = was_running or await self._reader.sync.is_running(kuerzel)
        row = {**_counts(kuerzel, audit, hold), "sync_is_running": is_running}
        report.details["employees"].append(row)

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
            self._report("delete-duplicates"),
            duplicates,
            wanted,
            apply,
            max_deletions,
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
            self._report("cleanup-orphaned"),
            orphans,
            wanted,
            apply,
            max_deletions,
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

        The pairs end with them, so that nothing is created again, and nothing is deleted in Advoware.

        Raises:
            InvalidInput: what is as young as that may lie in the window of the sync, which would create it again.
        """
        days_back = self._resources.settings.calendar_sync.days_back
        if older_than <= days_back:
            raise InvalidInput(
                f"--older-than: must be more than the {days_back} days of CALENDAR_SYNC_DAYS_BACK; what is younger is "
                "in the window of the sync, which would create it again",
            )
        before = self._resources.clock().astimezone(BERLIN).date() - timedelta(
            days=older_than,
        )
        report = self._report("purge-old", before=before)
        look = self._reader.read_google
        return await self._clean(
            report,
            lambda audit: list(old_events(audit, before)),
            wanted,
            apply,
            max_deletions,
            look=look,
        )

    # -- one employee after the other -----------------------------------------------------------------------------

    async def _find(
        self,
        command: str,
        analyse: Analysis,
        wanted: Sequence[str],
    ) -> Report:
        report = self._report(command)

        async def find(kuerzel: str) -> None:
            report.findings += analyse(await self._reader.read(kuerzel))

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
        look: Callable[[str], Awaitable[EmployeeAudit]] | None = None,
    ) -> Report:
        look = look or self._reader.read
        report.details["applied"] = apply

        async def clean(kuerzel: str) -> None:
            async with self._lock(kuerzel, needed=apply):
                await self._clean_one(
                    report,
                    await look(kuerzel),
                    analyse,
                    apply,
                    max_deletions,
                )

        await self._each(report, wanted, clean)
        return report

    async def _clean_one(
        self,
        report: Report,
        audit: EmployeeAudit,
        analyse: Analysis,
        apply: bool,
        max_deletions: int | None,
    ) -> None:
        removable = _take_removable(report, analyse(audit))
        if not removable:
            return
        refusal = _refusal(audit, removable, max_deletions)
        if not apply or refusal:
            _report_only(report, removable, refusal or "would be deleted")
            if apply:
                raise DeletionsRefused(refusal)
            return
        await self._remove_all(report, audit, removable)

    async def _each(
        self,
        report: Report,
        wanted: Sequence[str],
        work: Callable[[str], Awaitable[None]],
    ) -> None:
        employees = await self._reader.employees(wanted)
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
                    _report_left(report, employees[done + 1 :])
                    break
        self._progress(len(employees), len(employees))

    async def _report_missing(
        self,
        report: Report,
        kuerzel: str,
        error: CalendarMissing,
    ) -> None:
        pairs = await (await self._reader.store()).load_pairs(kuerzel)
        if pairs or report.command == "verify-sync":
            reason = f"{error.reason}; {len(pairs)} pairs are live"
            report.findings.append(
                Finding(
                    kind="calendar_missing",
                    reason=reason,
                    remedy="next_sync",
                    employee_kuerzel=kuerzel,
                ),
            )

    @asynccontextmanager
    async def _lock(self, kuerzel: str, *, needed: bool) -> AsyncIterator[None]:
        if not needed:
            yield
            return
        redis = self._resources.calendar_redis
        async with record_lock(
            self._resources,
            lock_key(kuerzel),
            LOCK_SECONDS,
            redis=redis,
        ):
            yield

    def _report(self, command: str, **details: Any) -> Report:
        return Report(command, self._resources.clock(), details=details)

    # -- deletions ------------------------------------------------------------------------------------------------

    async def _remove_all(
        self,
        report: Report,
        audit: EmployeeAudit,
        removable: Sequence[Finding],
    ) -> None:
        """Delete one after the other. What is not deleted remains a finding, also if one fails."""
        left = list(removable)
        try:
            for finding in removable:
                change = await self._remove(audit, finding)
                report.changes.append(change)
                if change.done:
                    left.remove(finding)
        finally:
            report.findings += left

    async def _remove(self, audit: EmployeeAudit, finding: Finding) -> Change:
        if finding.remedy == "delete_pair":
            return await self._delete_pair(audit, finding)
        if finding.kind != "old_event":
            return await self._delete_event(audit, finding)
        await self._require_that_advoware_decides(audit, finding)
        change = await self._delete_event(audit, finding)
        if change.done:
            await self._delete_pair(audit, replace(finding, remedy="delete_pair"))
        return change

    async def _require_that_advoware_decides(
        self,
        audit: EmployeeAudit,
        finding: Finding,
    ) -> None:
        """If it is interrupted before the pair is gone, no sync may take the absence for a person's deletion."""
        pair = audit.view.by_event[finding.google_event_id or ""]
        if pair.sync_strategy == "last_change_wins":
            line = replace(
                _audit_line(audit, finding),
                side="none",
                action="source_wins",
            )
            await (await self._reader.store()).save_pair(
                replace(pair, sync_strategy="source_system_wins"),
                line,
                self._resources.clock(),
            )

    async def _delete_pair(self, audit: EmployeeAudit, finding: Finding) -> Change:
        store = await self._reader.store()
        assert finding.sync_id is not None  # noqa: S101 - a finding about a pair names it
        try:
            await store.delete_pair(
                finding.sync_id,
                _audit_line(audit, finding),
                self._resources.clock(),
            )
        except Conflict:
            return Change(finding, True, "was deleted already")
        return Change(finding, True, "deleted")

    async def _delete_event(self, audit: EmployeeAudit, finding: Finding) -> Change:
        """Delete the event as it was read, and keep what a person has entered; whoever changed it since keeps it."""
        event = audit.view.events[finding.google_event_id or ""]
        if event.etag is None:
            return Change(
                finding,
                False,
                "has no etag, so that a change could not be noticed",
            )
        calendar_id = audit.view.settings.calendar_id
        line = _audit_line(audit, finding)
        await self._keep_what_is_lost(audit, event, line)
        try:
            result = await self._delete_in_google(calendar_id, event)
        except ConfigurationError:
            raise
        except BitByLawError as error:
            failed = replace(
                line,
                action="failed",
                error=without_quotes(shown_text(error)),
            )
            await (await self._reader.store()).append_audit(
                [failed],
                self._resources.clock(),
            )
            raise
        if result is None:
            return Change(finding, False, "was changed in the meantime")
        await (await self._reader.store()).append_audit([line], self._resources.clock())
        return Change(finding, True, result)

    async def _keep_what_is_lost(
        self,
        audit: EmployeeAudit,
        event: GoogleEvent,
        line: AuditLine,
    ) -> None:
        """Keep what of a person's goes with the event; of one without a pair it is not known what is a person's."""
        view = audit.view
        pair = view.by_event.get(event.id) or view.row_of_marked(event)
        undone = lost_with(view, pair, event)
        # As the line of the audit names it: `bitbylaw undo` looks for what was kept by that.
        named = replace(
            pair,
            sync_id=line.sync_id or pair.sync_id,
            advoware_frnr=line.advoware_frnr,
        )
        store = await self._reader.store()
        reader = self._reader
        clients = Clients(reader.google, reader.advoware, store, self._resources)
        await Rows(view.settings, clients).keep_overwritten(named, undone)

    async def _delete_in_google(
        self,
        calendar_id: str,
        event: GoogleEvent,
    ) -> str | None:
        """Returns what happened; None if a person has changed the event."""
        try:
            await self._reader.google.delete_event(
                calendar_id,
                event.id,
                if_match=event.etag,
            )
        except NotFound:
            return "was deleted already"
        except Conflict:
            # Also the answer to a repeated request whose first answer was lost.
            now = await self._reader.read_event(calendar_id, event.id)
            if now is None or now.cancelled:
                return "deleted"
            return None
        return "deleted"


def _take_removable(report: Report, findings: Iterable[Finding]) -> list[Finding]:
    """Those that ``apply`` mends by deleting; the report gets the others."""
    removable: list[Finding] = []
    for finding in findings:
        if finding.remedy in {"delete_event", "delete_pair"}:
            removable.append(finding)
        else:
            report.findings.append(finding)
    return removable


def _report_only(report: Report, removable: Sequence[Finding], why: str) -> None:
    """Say what stays, and why."""
    report.findings += removable
    for finding in removable:
        report.changes.append(Change(finding, False, why))


def _report_left(report: Report, employees: Sequence[str]) -> None:
    if employees:
        left = ", ".join(employees)
        report.problems.append(Problem(None, f"not looked at: {left}"))


def _add_guessed_ends(report: Report, audit: EmployeeAudit) -> None:
    """Each once: a Termin of all employees is in several calendars."""
    named = {info.advoware_frnr for info in report.infos}
    for info in guessed_ends(audit):
        if info.advoware_frnr not in named:
            report.infos.append(info)


def _counts(kuerzel: str, audit: EmployeeAudit, hold: Hold | None) -> dict[str, Any]:
    """The numbers of one employee that ``verify-sync`` shows."""
    counts: dict[str, Any] = {
        "employee_kuerzel": kuerzel,
        "termine": len(audit.view.termine),
        "events": len(audit.view.events),
        "pairs": len(audit.view.pairs),
        "held": 0,
        "held_since": None,
        "released_at": None,
    }
    if hold is not None:
        counts["held"] = hold.number
        counts["held_since"] = hold.held_since
        counts["released_at"] = hold.released_at
    return counts


def _planned_hold(audit: EmployeeAudit) -> HoldDeletions | None:
    """What makes the next sync hold back its deletions; it decides before it confirms single ones."""
    view = audit.view
    actions = make_plan(view.settings, audit.listed, view.google, view.pairs)
    held = [action for action in actions if isinstance(action, HoldDeletions)]
    if held:
        return held[0]
    return None


def _refusal(
    audit: EmployeeAudit,
    removable: Sequence[Finding],
    max_deletions: int | None,
) -> str | None:
    """Why so many deletions are not believed; ``max_deletions`` is how many the operator expects."""
    deletions = len(removable)
    limit = max_deletions
    if limit is None:
        limit = deletion_limit(audit.view)
    if deletions > limit:
        return f"{deletions} deletions are more than {limit}; if they are right: --max-deletions {deletions}"
    # Old events may go whatever Advoware lists.
    if max_deletions is not None or _has_only_old_events(removable):
        return None
    if _is_advoware_empty(audit):
        return f"Advoware lists no Termine at all; if that is right: --max-deletions {deletions}"
    return None


def _has_only_old_events(findings: Iterable[Finding]) -> bool:
    return all(finding.kind == "old_event" for finding in findings)


def _is_advoware_empty(audit: EmployeeAudit) -> bool:
    hold = _planned_hold(audit)
    return hold is not None and hold.reason == "advoware_empty"


def _audit_line(audit: EmployeeAudit, finding: Finding) -> AuditLine:
    frnr = finding.advoware_frnr
    if frnr is not None and frnr > LARGEST_FRNR:
        frnr = None
    return AuditLine(
        employee_kuerzel=audit.view.settings.kuerzel,
        side="google" if finding.remedy == "delete_event" else "none",
        action="deleted",
        reason=f"audit, {finding.kind}: {finding.reason}",
        sync_id=finding.sync_id,
        advoware_frnr=frnr,
        google_event_id=finding.google_event_id,
        before_hash=_hash_of_event(audit, finding),
    )


def _hash_of_event(audit: EmployeeAudit, finding: Finding) -> str | None:
    """What the event of a finding shows now."""
    event = audit.view.events.get(finding.google_event_id or "")
    if event is None or not isinstance(event.event, NormalisedEvent):
        return None
    return content_hash(event.event)
