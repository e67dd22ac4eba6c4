"""What an operator has changed by the calendar's audit, as lines of `operator_action`, beside those of the board."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.calendar_sync.audit.report import Change, Problem, Report, explain
from services.core.errors import BitByLawError
from services.core.operation.operator_actions import (
    ActionResult,
    OperatorAction,
    record_action,
)
from services.core.resources import Resources

#: The board calls it so.
_NAMES = {"release-held": "release"}
#: So many ids of one action are kept.
_MAX_IDS = 200


async def record_changes(resources: Resources, report: Report, who: str) -> None:
    """Append a line for each employee of whom a command with ``--apply`` has changed something, or could not.

    What cannot be recorded is a problem in the report. ``who``: ``cli:<user>``.
    """
    try:
        pool = await resources.database()
        for kuerzel in _concerned(report):
            action = _action_of(report, kuerzel, who, resources.clock())
            await record_action(pool, action)
    except BitByLawError as error:
        why = f"not in the audit of operators: {explain(error)}"
        report.problems.append(Problem(None, why))


def _concerned(report: Report) -> list[str]:
    """The employees whom changes and problems are about."""
    changed = {change.finding.employee_kuerzel for change in report.changes}
    failed = {problem.employee_kuerzel for problem in report.problems}
    return sorted(filter(None, changed | failed))


def _action_of(report: Report, kuerzel: str, who: str, now: datetime) -> OperatorAction:
    done = []
    count = 0
    for change in report.changes:
        if change.done and change.finding.employee_kuerzel == kuerzel:
            done.append(change)
            count += change.count
    failed = {problem.employee_kuerzel for problem in report.problems}
    result = _result(done, has_failed=kuerzel in failed)
    name = _NAMES.get(report.command, report.command)
    details = {"ids": _ids(done), "count": count}
    return OperatorAction(who, name, kuerzel, result, details, now)


def _result(changes: Sequence[Change], *, has_failed: bool) -> ActionResult:
    if has_failed:
        return "failed"
    return "done" if changes else "nothing_to_do"


def _ids(changes: Sequence[Change]) -> list[str]:
    """What was changed: events where there are such, else pairs, else the employee."""
    ids: list[str] = []
    for change in changes[:_MAX_IDS]:
        finding = change.finding
        one = finding.google_event_id or finding.sync_id or finding.employee_kuerzel
        ids.append(str(one))
    return ids
