"""``bitbylaw takeover check | run | undo``: the evening on which the old system is replaced (docs/cutover.md).

Exit code 0: in order, 1: something is worth a look, 2: something could not be looked at or done. With ``--json`` stdout
gets exactly one document. What the work needs is imported when a command runs, so that loading this file is cheap.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from cli.env_file import EnvFile
from config import (
    PROJECT_ROOT,
    ConfigurationError,
    Settings,
    default_env_file,
    load_settings,
)
from services.core.errors import BitByLawError, shown_text
from services.takeover.report import (
    FAILED,
    Announced,
    Command,
    Difference,
    Finding,
    Report,
)

if TYPE_CHECKING:
    from services.takeover.run import Takeover

#: So many lines of one kind are shown; the JSON document has all.
SHOWN = 20

AsJson = Annotated[
    bool,
    typer.Option("--json", help="print one JSON document and nothing else"),
]
Work = Callable[["Takeover"], Awaitable[Report]]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Take over from the old system. Exit code 0: in order, 1: findings, 2: error.",
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """What the old system has left, and what the first sync will write. Nothing is written."""
    _execute("check", as_json, lambda takeover: takeover.check())


@app.command("run")
def run(as_json: AsJson = False) -> None:
    """Take it over: the old table is moved aside and kept, pairs and bases are stored. Interrupted: run it again.

    Nothing is written to EspoCRM, Advoware or Google.
    """
    _execute("run", as_json, lambda takeover: takeover.run())


@app.command("undo")
def undo(as_json: AsJson = False) -> None:
    """Bring the old table back, as long as no sync has worked with what was taken over."""
    _execute("undo", as_json, lambda takeover: takeover.undo())


def _execute(command: Command, as_json: bool, work: Work) -> None:
    """Do it, print the report, and end with its exit code."""
    try:
        report = asyncio.run(_work_on_env_file(work))
    except (BitByLawError, ConfigurationError) as error:
        report = Report(command, problems=[shown_text(error)])
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    else:
        _show(report)
    raise typer.Exit(report.exit_code)


async def _work_on_env_file(work: Work) -> Report:
    path = default_env_file()
    settings = load_settings(env_file=path)
    if path is None:
        return await _work(settings, {}, work)
    env_file = EnvFile(path, PROJECT_ROOT / ".env.example")
    return await _work(settings, env_file.values(), work)


async def _work(settings: Settings, in_file: Iterable[str], work: Work) -> Report:
    from services.core.resources import Resources
    from services.takeover.run import Takeover

    async with Resources(settings, as_it_is=True) as resources:
        with Progress(console=errors, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total)
                bar.update(tasks[what], completed=done, total=total)

            return await work(Takeover(resources, in_file, show))


# -- the report as text ---------------------------------------------------------------------------------------------


def _show(report: Report) -> None:
    if report.command != "undo":
        _show_numbers(report)
    _show_what_is_left(report)
    _lines("The old system seems to run", report.signs)
    _lines("Settings", report.settings)
    _lines("Done", report.done)
    _lines("Problems", report.problems, limit=len(report.problems))
    if report.exit_code == FAILED:
        console.print("[red]something could not be looked at or done[/red]")


def _show_what_is_left(report: Report) -> None:
    """What the first sync will do, and what a person should look at."""
    announced = [_announced_line(item) for item in report.announced]
    differences = [_difference_line(item) for item in report.differences]
    findings = [_finding_line(item) for item in report.findings]
    _lines("The first calendar sync will write", announced)
    _lines("Left to the first sync of the Beteiligte", differences)
    _lines("Worth a look", findings)


def _show_numbers(report: Report) -> None:
    console.print(f"Old table: {report.generation}", markup=False)
    _numbers("Rows", report.rows)
    for kuerzel, numbers in report.calendars.items():
        _numbers(f"Calendar {kuerzel}", numbers)
    _numbers("Beteiligte", report.beteiligte)


def _announced_line(item: Announced) -> str:
    number = item.advoware_frnr or "-"
    event_id = item.google_event_id or "-"
    return f"{item.action} {item.employee_kuerzel} frNr {number} event {event_id}"


def _difference_line(item: Difference) -> str:
    fields = ", ".join(item.fields)
    return f"CBeteiligte/{item.entity_id} betNr {item.betnr}: {fields}"


def _finding_line(item: Finding) -> str:
    return f"{item.kind}: {item.where}: {item.reason}"


def _numbers(title: str, numbers: Mapping[str, Any]) -> None:
    if not numbers:
        return
    parts = [f"{name} {number}" for name, number in numbers.items()]
    console.print(f"{title}: {', '.join(parts)}", markup=False)


def _lines(title: str, lines: list[str], *, limit: int = SHOWN) -> None:
    if not lines:
        return
    number = len(lines)
    console.print(f"\n{title} ({number}):", markup=False)
    for line in lines[:limit]:
        console.print(f"  {line}", markup=False)
    if number > limit:
        console.print(f"  and {number - limit} more; all of them with --json")
