"""Command line of the calendar's audit: `python steps/advoware_cal_sync/audit_calendar_sync.py`, also `bitbylaw audit`.

Exit code 0: in order; 1: findings; 2: something could not be looked at or done. With ``--json`` stdout gets exactly one
document, whatever happens. What the work needs is imported when a command runs, so that loading this file is cheap.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from services.calendar_sync.audit.commands import CalendarAudit
    from services.calendar_sync.audit.report import Report

Document = dict[str, Any]
Kuerzel = Annotated[
    list[str] | None,
    typer.Option("--kuerzel", help="only this employee; may be repeated"),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="print one JSON document and nothing else"),
]
Apply = Annotated[
    bool,
    typer.Option(
        "--apply",
        help="really delete; without it: show what would be deleted",
    ),
]
Really = Annotated[
    bool,
    typer.Option("--apply", help="really do it; without it: show what would be done"),
]
OlderThan = Annotated[
    int,
    typer.Option(
        "--older-than",
        min=1,
        metavar="DAYS",
        help="days since the last day; more than the sync looks back",
    ),
]
MaxDeletions = Annotated[
    int | None,
    typer.Option(
        "--max-deletions",
        min=1,
        help="per employee; default max(5, 20 % of the live pairs)",
    ),
]
ShowText = Annotated[
    bool,
    typer.Option("--show-text", help="also show title, note and place"),
]

FAILED = 2
#: Too long for the table of `stats`; the JSON document has them.
_NOT_IN_STATS = frozenset(
    {
        *("calendar_id", "last_full_run", "last_change", "age_seconds", "run_ended_at"),
        *("code", "failing_since", "failures", "held_since", "released_at"),
    },
)
_ANY_WIDTH = 10_000
#: What identifies the appointment of a finding or of a line of the history.
_IDS = {"advoware_frnr": "frNr", "google_event_id": "event", "sync_id": "pair"}
_FRACTIONS = re.compile(r"(?<=T\d\d:\d\d:\d\d)\.\d+")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Audit of the calendar sync. Exit code 0: in order, 1: findings, 2: error.",
)


@app.command("verify-sync")
def verify_sync(kuerzel: Kuerzel = None, as_json: AsJson = False) -> None:
    """Compare Advoware, Google and the table: what is missing, differs, shows too much, has failed or waits.

    What shows too much is found outside the window of the sync as well.
    """
    _run("verify-sync", as_json, lambda audit: audit.verify_sync(kuerzel or ()))


@app.command("query-frnr")
def query_frnr(
    frnr: int,
    kuerzel: Kuerzel = None,
    show_text: ShowText = False,
    as_json: AsJson = False,
) -> None:
    """All that is known about a Termin: its pairs, both sides now, the latest lines of the audit."""
    _run(
        "query-frnr",
        as_json,
        lambda audit: audit.questions.query_frnr(
            frnr,
            kuerzel or (),
            show_text=show_text,
        ),
    )


@app.command("query-event")
def query_event(
    event_id: str,
    kuerzel: Kuerzel = None,
    show_text: ShowText = False,
    as_json: AsJson = False,
) -> None:
    """All that is known about a Google event; likewise."""
    _run(
        "query-event",
        as_json,
        lambda audit: audit.questions.query_event(
            event_id,
            kuerzel or (),
            show_text=show_text,
        ),
    )


@app.command("find-duplicates")
def find_duplicates(kuerzel: Kuerzel = None, as_json: AsJson = False) -> None:
    """Events and Termine that are there twice."""
    _run("find-duplicates", as_json, lambda audit: audit.find_duplicates(kuerzel or ()))


@app.command("delete-duplicates")
def delete_duplicates(
    kuerzel: Kuerzel = None,
    apply: Apply = False,
    max_deletions: MaxDeletions = None,
    as_json: AsJson = False,
) -> None:
    """Delete surplus events that the sync has made; never a person's, never the paired one, never in Advoware."""
    _run(
        "delete-duplicates",
        as_json,
        lambda audit: audit.delete_duplicates(
            kuerzel or (),
            apply=apply,
            max_deletions=max_deletions,
        ),
    )


@app.command("find-orphaned")
def find_orphaned(kuerzel: Kuerzel = None, as_json: AsJson = False) -> None:
    """Events of the sync without a pair, and pairs without their event or Termin."""
    _run("find-orphaned", as_json, lambda audit: audit.find_orphaned(kuerzel or ()))


@app.command("cleanup-orphaned")
def cleanup_orphaned(
    kuerzel: Kuerzel = None,
    apply: Apply = False,
    max_deletions: MaxDeletions = None,
    as_json: AsJson = False,
) -> None:
    """Delete orphaned events that the sync has made, and mark pairs of which nothing is left as deleted."""
    _run(
        "cleanup-orphaned",
        as_json,
        lambda audit: audit.cleanup_orphaned(
            kuerzel or (),
            apply=apply,
            max_deletions=max_deletions,
        ),
    )


@app.command("purge-old")
def purge_old(
    older_than: OlderThan,
    kuerzel: Kuerzel = None,
    apply: Apply = False,
    max_deletions: MaxDeletions = None,
    as_json: AsJson = False,
) -> None:
    """Remove from Google what the sync has made and is over for long; never a person's event, never in Advoware."""
    _run(
        "purge-old",
        as_json,
        lambda audit: audit.purge_old(
            older_than,
            kuerzel or (),
            apply=apply,
            max_deletions=max_deletions,
        ),
    )


@app.command("release-held")
def release_held(
    kuerzel: Kuerzel = None,
    apply: Really = False,
    as_json: AsJson = False,
) -> None:
    """What the sync holds back because so much seems to be gone; with --apply the next run does it, once."""
    _run(
        "release-held",
        as_json,
        lambda audit: audit.decisions.release_held(kuerzel or (), apply=apply),
    )


@app.command("overwritten")
def overwritten(
    kuerzel: Kuerzel = None,
    show_text: ShowText = False,
    as_json: AsJson = False,
) -> None:
    """What people had changed in Google and the sync has overwritten, in the last 30 days."""
    _run(
        "overwritten",
        as_json,
        lambda audit: audit.decisions.overwritten(kuerzel or (), show_text=show_text),
    )


@app.command("restore-overwritten")
def restore_overwritten(
    overwritten_id: Annotated[int, typer.Argument(metavar="ID")],
    apply: Really = False,
    as_json: AsJson = False,
) -> None:
    """Bring an overwritten event back into Google, as a person's event beside that of Advoware."""
    _run(
        "restore-overwritten",
        as_json,
        lambda audit: audit.decisions.restore_overwritten(overwritten_id, apply=apply),
    )


@app.command("list-calendars")
def list_calendars(kuerzel: Kuerzel = None, as_json: AsJson = False) -> None:
    """The calendars of the sync, whom they are shared with, and what is not in order with them."""
    _run(
        "list-calendars",
        as_json,
        lambda audit: audit.questions.list_calendars(kuerzel or ()),
    )


@app.command("stats")
def stats(kuerzel: Kuerzel = None, as_json: AsJson = False) -> None:
    """Numbers of pairs per employee, how the last run ended, and what failed, is overdue or held back."""
    _run("stats", as_json, lambda audit: audit.questions.stats(kuerzel or ()))


@app.command("history")
def history(
    key: Annotated[str, typer.Argument(metavar="SYNC_ID|FRNR")],
    as_json: AsJson = False,
) -> None:
    """What was done to a pair, or to all pairs of a Termin, when and why."""
    _run("history", as_json, lambda audit: audit.questions.history(key))


# -- running ------------------------------------------------------------------------------------------------------


def _run(
    command: str,
    as_json: bool,
    work: Callable[[CalendarAudit], Awaitable[Report]],
) -> None:
    """Do the work, print its report, and end with its exit code."""
    logging.getLogger("bitbylaw").addHandler(
        logging.NullHandler(),
    )  # what is worth telling is in the report
    try:
        report = asyncio.run(_report(work))
        document, exit_code = report.as_document(), report.exit_code
    except Exception as error:  # noqa: BLE001 - not even a defect may pass for findings, which are exit code 1
        errors = [{"employee_kuerzel": None, "message": _message(error)}]
        document = {"command": command, "status": "error", "checked_at": None}
        document |= {"findings": [], "infos": [], "changes": [], "errors": errors}
        exit_code = FAILED
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(document)
    raise typer.Exit(exit_code)


async def _report(work: Callable[[CalendarAudit], Awaitable[Report]]) -> Report:
    from config import get_settings
    from services.calendar_sync.audit.commands import CalendarAudit
    from services.calendar_sync.audit.recorded import record_changes
    from services.core.resources import Resources

    terminal = Console(stderr=True)
    async with Resources(get_settings()) as resources:
        with Progress(
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
        ) as progress:
            task = progress.add_task("employees", total=None)
            audit = CalendarAudit(
                resources,
                progress=lambda done, total: progress.update(
                    task,
                    completed=done,
                    total=total,
                ),
            )
            report = await work(audit)
        if report.details.get("applied"):
            await record_changes(resources, report, f"cli:{getpass.getuser()}")
        return report


def _message(error: Exception) -> str:
    """What went wrong and what helps; of a defect only its kind and place, because its words may quote anything."""
    from asyncpg import PostgresError

    from services.calendar_sync.audit.report import explain
    from services.core.errors import BitByLawError

    if isinstance(error, BitByLawError):
        return explain(error)
    if isinstance(error, PostgresError):
        return (
            f"PostgreSQL refuses ({type(error).__name__}); check the POSTGRES_ settings"
        )
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return f"defect of the audit: {type(error).__name__} in {where}; please report it"


# -- printing -----------------------------------------------------------------------------------------------------


def _print(document: Document) -> None:
    """The document for people: stdout, errors on stderr."""
    console = Console()
    for name, value in document.items():
        if isinstance(value, list | dict) and value and name != "errors":
            console.print(Text(name, style="bold"))
            _print_rows(console, value if isinstance(value, list) else [value])
    for error in document["errors"]:
        who = f"{error['employee_kuerzel']}: " if error["employee_kuerzel"] else ""
        line = Text.assemble(("error: ", "red"), f"{who}{error['message']}")
        Console(stderr=True).print(line, highlight=False, soft_wrap=True)
    if document["status"] != "error":
        count = len(document["findings"])
        console.print(_summary(count), style="yellow" if count else "green")


def _summary(findings: int) -> str:
    if findings == 0:
        return "in order"
    if findings == 1:
        return "1 finding"
    return f"{findings} findings"


def _print_rows(console: Console, rows: Sequence[Document]) -> None:
    """Findings and the like one to a line, others as a table; if that is too wide, one value to a line."""
    if "reason" in rows[0]:
        for row in rows:
            console.print(Text(_line(row)), soft_wrap=True)
        return
    is_statistics = "age_seconds" in rows[0]
    table = _table(rows, _NOT_IN_STATS if is_statistics else frozenset())
    if is_statistics or _fits(console, table):
        console.print(table)
        return
    for row in rows:
        console.print(Text(_one_below_the_other(row)), soft_wrap=True)


def _table(rows: Sequence[Document], left_out: Collection[str]) -> Table:
    names = [name for name in rows[0] if name not in left_out]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in names:
        table.add_column(name.removeprefix("employee_"), overflow="fold")
    for row in rows:
        cells = [_cell(row.get(name)) for name in names]
        table.add_row(*map(Text, cells))  # as text: brackets are no markup
    return table


def _fits(console: Console, table: Table) -> bool:
    options = console.options.update(width=_ANY_WIDTH)
    return Measurement.get(console, options, table).maximum <= console.width


def _one_below_the_other(row: Document) -> str:
    lines: list[str] = []
    for name, value in row.items():
        if value is not None:
            lines.append(f"  {name}: {_cell(value)}\n")
    return "".join(lines)


def _line(row: Document) -> str:
    """A finding, a change or a line of the history."""
    what: list[str] = []
    for name in ("at", "kind", "action", "employee_kuerzel"):
        if row.get(name):
            what.append(_cell(row[name]))
    ids = [f"{label} {row[name]}" for name, label in _IDS.items() if row.get(name)]
    if not ids and row.get("calendar_id"):
        ids = [f"calendar {row['calendar_id']}"]
    line = f"  {' '.join(what)}: {', '.join([*ids, row['reason']])}"
    outcome = row.get("result") or row.get("remedy") or row.get("error")
    if outcome:
        line = f"{line} [{outcome}]"
    return line


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else _FRACTIONS.sub("", str(value))


if __name__ == "__main__":
    app()
