"""``bitbylaw preview``: what the syncs would write, before anything is written; see `services.shadow`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.commands import service
from config import ConfigurationError
from services.core.errors import BitByLawError

# The syncs are imported when a command runs: they take half a second and 100 MB, also of `bitbylaw up`.
if TYPE_CHECKING:
    from services.core.resources import Resources
    from services.shadow.comparison import Comparison
    from services.shadow.preview import Preview

#: Something is held, or cannot be foreseen.
NEEDS_ATTENTION = 1
FAILED = 2

Result = TypeVar("Result")
Look = Callable[["Resources", str], Awaitable["Preview"]]
All = Annotated[bool, typer.Option("--all", help="all of them")]
ShowText = Annotated[
    bool,
    typer.Option("--show-text", help="show values; they are personal data"),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="print one JSON document and nothing else"),
]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="write the report to this file"),
]
Csv = Annotated[Path | None, typer.Option("--csv", help="write the table to this file")]

app = typer.Typer(
    no_args_is_help=True,
    help="What the syncs would write; nothing is written anywhere.",
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False)


@app.command()
def beteiligte(
    ids: Annotated[list[str] | None, typer.Argument(help="ids of CBeteiligte")] = None,
    every: All = False,
    show_text: ShowText = False,
    html: Html = None,
    csv: Csv = None,
    as_json_document: AsJson = False,
) -> None:
    """What the sync of these Beteiligte would write.

    Exit status: 0, 1 if something is held or cannot be foreseen, 2 if nothing could be looked at.
    """
    from services.shadow.preview import all_beteiligte, preview_beteiligter

    previews = _look_at(ids or [], all_beteiligte, preview_beteiligter, every=every)
    _show(previews, show_text, html, csv, as_json_document)


@app.command()
def calendar(
    kuerzel: Annotated[list[str] | None, typer.Argument(help="Kürzel")] = None,
    every: All = False,
    show_text: ShowText = False,
    html: Html = None,
    csv: Csv = None,
    as_json_document: AsJson = False,
) -> None:
    """What the calendar sync of these employees would write.

    Exit status: 0, 1 if something is held or cannot be foreseen, 2 if nothing could be looked at.
    """
    from services.shadow.preview import (
        all_employees,
        preview_employee,
        preview_named_employee,
    )

    look = preview_employee if every else preview_named_employee
    previews = _look_at(kuerzel or [], all_employees, look, every=every)
    _show(previews, show_text, html, csv, as_json_document)


@app.command()
def shadow(
    days: Annotated[int, typer.Option(min=1, max=60, help="how far back")] = 7,
    as_json_document: AsJson = False,
) -> None:
    """What this system would have done while BITBYLAW_READ_ONLY was on, against what has become of it since.

    Exit status: 0 if there is no difference, 1 if there is one or a record is not known, 2 if it could not be
    found out.
    """
    from services.shadow.comparison import compare_since

    async def work(resources: Resources) -> Comparison:
        start = resources.clock() - timedelta(days=days)
        return await compare_since(resources, start)

    found = _run(work)
    if as_json_document:
        console.print_json(json.dumps(_document(found)))
    else:
        _print_comparison(found)
    if found.differences or found.unknown:
        raise typer.Exit(NEEDS_ATTENTION)


def _document(found: Comparison) -> dict[str, Any]:
    differences = []
    for item in found.differences:
        differences.append({"difference": item.kind, **vars(item.key)})
    gone = []
    for flow, subject in found.gone:
        gone.append({"flow": flow, "subject": subject})
    unknown = []
    for (flow, subject), reason in found.unknown:
        unknown.append({"flow": flow, "subject": subject, "reason": reason})
    return {
        "same": found.same,
        "tasks": found.tasks,
        "differences": differences,
        "gone": gone,
        "unknown": unknown,
    }


def _print_comparison(found: Comparison) -> None:
    console.print(f"{found.same} fields are by now as this system would have made them")
    console.print(
        f"{found.tasks} tasks for people that it would write; these are not compared",
    )
    _print_differences(found)
    for flow, subject in found.gone:
        _print_line(f"gone: {flow} {subject}")
    for (flow, subject), reason in found.unknown:
        _print_line(f"not known: {flow} {subject}: {reason}")


def _print_line(line: str) -> None:
    """Print a line as it is, whatever it holds."""
    console.print(line, markup=False)


def _print_differences(found: Comparison) -> None:
    if not found.differences:
        return
    table = Table("difference", "flow", "subject", "system", "record", "field")
    for item in found.differences:
        key = item.key
        table.add_row(
            item.kind,
            key.flow,
            key.subject,
            key.system,
            f"{key.kind} {key.record_id}",
            key.field or "(gone)",
        )
    console.print(table)


# -- looking ----------------------------------------------------------------------------------------------------------


def _look_at(
    subjects: Sequence[str],
    find_all: Callable[[Resources], Awaitable[list[str]]],
    look: Look,
    *,
    every: bool,
) -> list[Preview]:
    if bool(subjects) == every:
        errors.print("Name them, or say --all.")
        raise typer.Exit(FAILED)

    from services.shadow.preview import in_parallel

    async def work(resources: Resources) -> list[Preview]:
        chosen = list(subjects)
        if every:
            chosen = await find_all(resources)
        found = {}
        with Progress(console=errors, transient=True) as progress:
            task = progress.add_task("looking", total=len(chosen))
            looks = in_parallel(chosen, lambda subject: look(resources, subject))
            async for preview in looks:
                found[preview.subject] = preview
                progress.advance(task)
        return [found[subject] for subject in chosen]

    return _run(work)


def _run(work: Callable[[Resources], Coroutine[Any, Any, Result]]) -> Result:
    try:
        return asyncio.run(service.on_resources(work))
    except (BitByLawError, ConfigurationError) as error:
        errors.print(f"failed: {error}", markup=False)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        errors.print("interrupted; nothing was written")
        raise typer.Exit(FAILED) from None


# -- showing ----------------------------------------------------------------------------------------------------------


def _show(
    previews: Sequence[Preview],
    show_text: bool,
    html: Path | None,
    csv: Path | None,
    as_json_document: bool,
) -> None:
    from services.shadow.report import as_csv, as_html, as_json, summary

    if html is not None:
        _write(html, as_html(previews, show_text=show_text))
    if csv is not None:
        _write(csv, as_csv(previews, show_text=show_text))
    counts = summary(previews)
    if as_json_document:
        items = [as_json(preview, show_text=show_text) for preview in previews]
        console.print_json(json.dumps({**counts, "previews": items}, default=str))
    else:
        _print_summary(counts)
    if counts["failed"] or counts["held"]:
        raise typer.Exit(NEEDS_ATTENTION)


def _write(path: Path, text: str) -> None:
    """Write a report that only its owner may read: it may hold personal data."""
    path.touch(mode=0o600)
    path.chmod(0o600)  # one that was there already keeps its mode otherwise
    path.write_text(text, encoding="utf-8")


def _print_summary(counts: dict[str, Any]) -> None:
    table = Table("would be written", "records")
    for name, number in counts["writes"].items():
        table.add_row(name, str(number))
    console.print(table)
    parts = [
        f"{counts['subjects']} looked at",
        f"{counts['held']} held",
        f"{counts['tasks']} tasks for people; nothing was written",
    ]
    console.print(", ".join(parts))
    for subject, error in counts["failed"].items():
        _print_line(f"cannot be foreseen: {subject}: {error}")
