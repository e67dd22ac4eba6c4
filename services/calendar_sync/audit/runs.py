"""Whether the runs of the calendar sync are in order: what failed, waits or has not come, as findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from services.calendar_sync.audit.findings import Finding, Kind
from services.calendar_sync.store import OVERDUE_MINUTES, Hold, Run
from services.values.advoware_protocol import BERLIN


def run_findings(
    kuerzel: str,
    run: Run | None,
    hold: Hold | None,
    now: datetime,
) -> Iterator[Finding]:
    """What is not in order with the runs of an employee whose calendar is to be synced."""
    yield from _overdue(kuerzel, run, now)
    if run is not None and run.result == "failed":
        yield _of_runs(
            kuerzel,
            "run_failed",
            f"{run.code or 'unknown error'}; {_how_long(run)}",
        )
    if hold is not None and hold.released_at is None:
        yield held_finding(hold)


def _overdue(kuerzel: str, run: Run | None, now: datetime) -> Iterator[Finding]:
    if run is None:
        yield _of_runs(
            kuerzel,
            "run_overdue",
            "no run is known yet; the cron starts one every 15 minutes",
        )
    elif now - run.ended_at > timedelta(minutes=OVERDUE_MINUTES):
        reason = f"its last run ended at {_shown(run.ended_at)}; look at the queue and the worker's log"
        yield _of_runs(kuerzel, "run_overdue", reason)


def held_finding(hold: Hold) -> Finding:
    """Work that waits until an operator has looked at it."""
    what = f"{hold.number} of {hold.live_pairs} appointments wait since {_shown(hold.held_since)} ({hold.reason})"
    release = f"bitbylaw audit release-held --kuerzel {hold.employee_kuerzel} --apply"
    return _of_runs(
        hold.employee_kuerzel,
        "deletions_held",
        f"{what}; look with verify-sync, and if it is right: {release}",
    )


def _how_long(run: Run) -> str:
    times = "1 run" if run.failures == 1 else f"{run.failures} runs in a row"
    return f"{times} since {_shown(run.failing_since or run.ended_at)}"


def _of_runs(kuerzel: str, kind: Kind, reason: str) -> Finding:
    return Finding(kind=kind, reason=reason, remedy="person", employee_kuerzel=kuerzel)


def _shown(moment: datetime) -> str:
    return moment.astimezone(BERLIN).isoformat(timespec="minutes")
