"""``bitbylaw status | queue | retry | sync | release``: what the board shows and repairs, on the command line.

Exit status 0: all is well, or it was done; 1: something is broken, or it failed; 2: it could not be asked or confirmed.
A repair says what it will act on and asks; ``--yes`` answers. It is in the audit like those of the board.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from config import BitByLawError, ConfigurationError, get_settings

# What the commands need is imported when they run: it takes a second, and other commands do without.
if TYPE_CHECKING:
    from services.operate import overview, queues, repairs
    from services.operate.parts import Part
    from services.operate.sources import Sources

BROKEN = 1
UNASKED = 2
T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)
queue_app = typer.Typer(
    no_args_is_help=True,
    help="Topics and dead letters: see, redrive, discard.",
)
Json = Annotated[bool, typer.Option("--json", help="print one JSON value")]
Yes = Annotated[bool, typer.Option("--yes", help="do it without asking")]
MessageId = Annotated[
    str | None,
    typer.Argument(help="one message; else all, 200 at once"),
]


def _run(work: Callable[[Sources], Awaitable[T]]) -> T:
    """Run it with the settings of this process; unusable ones end the command."""
    from services.operate.sources import Sources

    async def run() -> T:
        async with Sources(get_settings()) as sources:
            return await work(sources)

    try:
        return asyncio.run(run())
    except (BitByLawError, ConfigurationError) as error:
        errors.print(Text(str(error), style="red"))
        raise typer.Exit(UNASKED) from None


def _print_json(value: Any, kind: Any) -> None:
    plain = TypeAdapter(kind).dump_python(value, mode="json")
    text = json.dumps(plain, ensure_ascii=False, indent=2)
    typer.echo(text)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in heads:
        table.add_column(head)
    for row in rows:
        table.add_row(*map(_cell, row))
    console.print(table)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("-")
    return Text(str(value))


def _value(part: Part[T]) -> T | None:
    """The value of a part; what is missing is reported."""
    if part.missing:
        errors.print(Text(f"missing: {part.missing}", style="yellow"))
    return part.value


# -- looking --------------------------------------------------------------------------------------------------------


def status(as_json: Json = False) -> None:
    """Say whether anything is broken, late or waiting: systems, workers, crons, queue, records, calendars."""
    from services.operate import overview

    view = _run(overview.overview)
    if as_json:
        _print_json(view, overview.Overview)
    else:
        _show_overview(view)
    if view.problems:
        raise typer.Exit(BROKEN)


def _show_overview(view: overview.Overview) -> None:
    _show_systems(_value(view.dependencies) or [])
    _show_workers(_value(view.workers) or [])
    _show_crons(_value(view.crons) or [])
    _show_counts("Records", view.records)
    _show_counts("Calendars", view.calendars)
    since = ""
    if view.waiting_since:
        since = f" since {view.waiting_since}"
    console.print(f"Waiting: {view.waiting}{since}  dead letters: {view.dead}")
    for problem in view.problems:
        console.print(Text(problem, style="red"))
    if not view.problems:
        console.print("[green]all is well[/green]")


def _show_systems(systems: list[overview.Dependency]) -> None:
    rows = []
    for one in systems:
        rows.append((one.name, one.status, one.latency_ms, one.error))
    _table("Systems", ["system", "status", "ms", "error"], rows)


def _show_workers(workers: list[overview.Worker]) -> None:
    rows = []
    for one in workers:
        rows.append((one.name, one.status, one.functions))
    _table("Workers", ["name", "status", "functions"], rows)


def _show_crons(crons: list[overview.Cron]) -> None:
    rows = []
    for one in crons:
        rows.append((one.name, one.last_success, one.next_run, _cron_word(one)))
    _table("Crons", ["name", "last success", "next run", "missed"], rows)


def _show_counts(title: str, part: Part[dict[str, int]]) -> None:
    counts = _value(part) or {}
    rows = list(counts.items())
    _table(title, ["state", "number"], rows)


def _cron_word(cron: overview.Cron) -> str:
    if cron.is_awaited:
        return "waiting for its first run since start"
    if cron.is_missed:
        return "missed"
    return ""


@queue_app.command("list")
def list_command(as_json: Json = False) -> None:
    """All topics with waiting jobs, consumers and dead letters."""
    from services.operate import queues

    async def work(sources: Sources) -> list[queues.Topic]:
        return await queues.list_topics(sources.engine)

    topics = _run(work)
    if as_json:
        _print_json(topics, list[queues.Topic])
        return
    rows = []
    for one in topics:
        rows.append((one.name, one.depth, one.consumers, one.dead))
    _table("Queue", ["topic", "waiting", "consumers", "dead letters"], rows)


@queue_app.command("show")
def show_command(
    topic: str,
    page: Annotated[int, typer.Option(min=1, help="50 a page")] = 1,
    as_json: Json = False,
) -> None:
    """A page of a topic's dead letters; payloads are redacted."""
    from services.operate import queues
    from services.operate.parts import PAGE_ROWS, offset_of

    async def work(sources: Sources) -> list[queues.DeadLetter]:
        offset = offset_of(page)
        return await queues.dead_letters(sources.engine, topic, offset, PAGE_ROWS)

    letters = _run(work)
    if as_json:
        return _print_json(letters, list[queues.DeadLetter])
    rows = [
        (one.message_id, one.failed_at, one.error, json.dumps(one.payload))
        for one in letters
    ]
    _table(topic, ["id", "failed at", "error", "payload"], rows)
    return None


def _statuses(incomplete: str) -> list[str]:
    """The statuses that a shell completes."""
    from services.operate.beteiligte import STATUSES

    return [status for status in STATUSES if status.startswith(incomplete)]


# -- repairing ------------------------------------------------------------------------------------------------------


@queue_app.command("redrive")
def redrive_command(
    topic: str,
    message_id: MessageId = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Deliver dead letters again, one or all."""
    _repair("redrive", [topic], yes=yes, as_json=as_json, message_id=message_id)


@queue_app.command("discard")
def discard_command(
    topic: str,
    message_id: MessageId = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters, one or all. This cannot be undone."""
    _repair("discard", [topic], yes=yes, as_json=as_json, message_id=message_id)


def retry(
    state: Annotated[
        str,
        typer.Argument(
            help="failed, permanently_failed, ...",
            autocompletion=_statuses,
        ),
    ],
    calendars: Annotated[
        bool,
        typer.Option("--calendars", help="calendars: failing, held, overdue, ok"),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sync all Beteiligte of one status now, or all calendars of one state; at most 200 at once."""
    kind = "sync_calendars" if calendars else "retry"
    _repair(kind, [state], yes=yes, as_json=as_json)


def sync(
    targets: Annotated[
        list[str],
        typer.Argument(help="ids of CBeteiligte, or Kürzel with --calendar"),
    ],
    calendar: Annotated[
        bool,
        typer.Option("--calendar", help="the calendars of these employees"),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Sync records, or calendars of employees, now."""
    kind = "sync_calendar" if calendar else "sync"
    _repair(kind, targets, yes=yes, as_json=as_json)


def release(
    targets: Annotated[
        list[str],
        typer.Argument(help="Kürzel of employees", metavar="KÜRZEL..."),
    ],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Let the next run of these calendars do what is held back, once; `bitbylaw audit verify-sync` shows it in full."""
    _repair("release", targets, yes=yes, as_json=as_json)


def _repair(
    kind: str,
    targets: Sequence[str],
    *,
    yes: bool,
    as_json: bool,
    message_id: str | None = None,
) -> None:
    """Plan, name what will happen, ask, do it."""
    from services.operate import repairs
    from services.operate.audit import Operator

    async def work(sources: Sources) -> list[repairs.Outcome]:
        plans = []
        for target in targets:
            plan = await repairs.plan(sources, kind, target, message_id)
            plans.append(plan)
        await asyncio.to_thread(_confirm, plans, yes=yes)
        operator = Operator(getpass.getuser(), "cli")
        done = []
        for plan in plans:
            outcome = await repairs.apply(sources, plan, operator)
            done.append(outcome)
        return done

    outcomes = _run(work)
    if as_json:
        _print_json(outcomes, list[repairs.Outcome])
    else:
        _show_outcomes(kind, outcomes)
    if any(one.result == "failed" for one in outcomes):
        raise typer.Exit(BROKEN)


def _show_outcomes(kind: str, outcomes: Sequence[repairs.Outcome]) -> None:
    rows = []
    for one in outcomes:
        rows.append((one.target, one.result, one.count, one.error))
    _table(kind, ["target", "result", "count", "error"], rows)


def _confirm(plans: Sequence[repairs.Repair], *, yes: bool) -> None:
    """Name what will happen, and ask for it unless ``yes``.

    Raises:
        typer.Exit: no.
    """
    for plan in plans:
        typer.echo(_announcement(plan), err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        typer.echo("Nothing was done: add --yes to do it.", err=True)
        raise typer.Exit(UNASKED)
    if not typer.confirm("Do it?", err=True):
        raise typer.Exit(UNASKED)


def _announcement(plan: repairs.Repair) -> str:
    """What a repair will do, with at most ten ids."""
    ids = list(plan.ids[:10])
    if plan.count > 10:
        ids.append("...")
    line = f"{plan.kind} {plan.target}: {plan.count} ({', '.join(ids)})"
    if plan.more:
        line += f"; {plan.more} more are left"
    return line
