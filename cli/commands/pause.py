"""``bitbylaw pause`` and ``bitbylaw resume``: stop everything, or a part, for a while; see `core.operation.pause`."""

from __future__ import annotations

import asyncio
import getpass
import json
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from cli.commands import service
from config import ConfigurationError
from services.core.errors import BitByLawError, InvalidInput
from services.core.operation import pause as pauses
from services.core.operation.pause import (
    CRONS,
    FLOWS,
    TOPICS,
    Pause,
    PauseKind,
    Scope,
)
from services.core.resources import Resources

FAILED = 2
#: Where the firm is; times without an offset are meant there.
ZONE = ZoneInfo("Europe/Berlin")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")

Result = TypeVar("Result")
Flow = Annotated[
    str | None,
    typer.Option("--flow", help=f"only this flow: {', '.join(FLOWS)}"),
]
Topic = Annotated[
    str | None,
    typer.Option("--topic", help=f"only this topic: {', '.join(TOPICS)}"),
]
Cron = Annotated[
    str | None,
    typer.Option("--cron", help=f"only this cron: {', '.join(CRONS)}"),
]
Employee = Annotated[
    str | None,
    typer.Option("--employee", help="only the calendar of this Kürzel"),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="print one JSON document and nothing else"),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would happen")]

console = Console(highlight=False, soft_wrap=True)


def pause(
    reason: Annotated[
        str,
        typer.Option("--reason", help="why, for those who wonder; no names"),
    ] = "",
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            help="18:00, or 2026-11-27T06:00; without it, until `bitbylaw resume`",
        ),
    ] = None,
    flow: Flow = None,
    topic: Topic = None,
    cron: Cron = None,
    employee: Employee = None,
    show: Annotated[bool, typer.Option("--list", help="only show what is paused")] = (
        False
    ),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Stop all writes to EspoCRM, Advoware and Google, or those of a part; webhooks are taken and wait.

    Recorded in the audit. Exit status: 0, or 2 if it could not be done.
    """
    if show:
        _print(_run(_state), as_json)
        return

    async def work(resources: Resources) -> Pause:
        scope = _scope(flow, topic, cron, employee)
        end = _moment(until, resources.clock())
        if dry_run:
            await pauses.require_employee(resources, scope)
            return pauses.planned_pause(
                resources,
                scope,
                reason=reason,
                who=_who(),
                until=end,
            )
        return await pauses.pause(
            resources,
            scope,
            reason=reason,
            who=_who(),
            until=end,
        )

    made = _run(work)
    _print({"would_pause" if dry_run else "paused": [_as_json(made)]}, as_json)


def resume(
    flow: Flow = None,
    topic: Topic = None,
    cron: Cron = None,
    employee: Employee = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """End a pause, named as when it was made; what has waited goes on within a minute.

    Recorded in the audit. Exit status: 0, 1 if nothing of that name was paused, 2 if it could not be done.
    """

    async def work(resources: Resources) -> tuple[bool, dict[str, Any]]:
        scope = _scope(flow, topic, cron, employee)
        if dry_run:
            was_paused = await _is_paused(resources, scope)
        else:
            was_paused = await pauses.resume(resources, scope, who=_who())
        state = await _state(resources)
        return was_paused, state

    was_paused, state = _run(work)
    name = "resumed"
    if dry_run:
        name = "would_resume"
    _print({name: was_paused, **state}, as_json)
    if not was_paused:
        raise typer.Exit(1)


async def _is_paused(resources: Resources, scope: Scope) -> bool:
    wanted = pauses.checked_scope(scope)
    active = await pauses.active_pauses(resources)
    return any(item.scope == wanted for item in active)


async def _state(resources: Resources) -> dict[str, Any]:
    """What is paused, and how many jobs of each topic wait."""
    active = await pauses.active_pauses(resources)
    waiting = await pauses.waiting_jobs(resources)
    return {"paused": [_as_json(item) for item in active], "waiting": waiting}


def _scope(
    flow: str | None,
    topic: str | None,
    cron: str | None,
    employee: str | None,
) -> Scope:
    """What is named; everything if nothing is. An empty name is none of them: a script's variable was not set."""
    possible: dict[PauseKind, str | None] = {
        "flow": flow,
        "topic": topic,
        "cron": cron,
        "employee": employee,
    }
    named = [
        Scope(kind, target) for kind, target in possible.items() if target is not None
    ]
    if len(named) > 1:
        raise InvalidInput("name one of --flow, --topic, --cron and --employee")
    if named:
        return named[0]
    return Scope("all")


def _moment(text: str | None, now: datetime) -> datetime | None:
    """``18:00`` (the next one) or an ISO time, in the firm's zone unless it has an offset.

    Raises:
        InvalidInput: it is neither.
    """
    if text is None:
        return None
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return _iso_moment(text)
    hour, minute = map(int, clock.groups())
    here = now.astimezone(ZONE)
    moment = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if moment > here:
        return moment
    return moment + timedelta(days=1)


def _iso_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "--until is a time such as 18:00 or 2026-11-27T06:00",
        ) from None
    if moment.tzinfo:
        return moment
    return moment.replace(tzinfo=ZONE)


def _who() -> str:
    return f"cli:{getpass.getuser()}"


def _as_json(item: Pause) -> dict[str, Any]:
    return {
        "kind": item.scope.kind,
        "target": item.scope.target,
        "reason": item.reason,
        "who": item.who,
        "since": item.since.isoformat(),
        "until": item.until.isoformat() if item.until else None,
    }


def _run(work: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Do the work on resources of its own; what is wrong goes to stderr."""
    try:
        return asyncio.run(service.on_resources(work))
    except (BitByLawError, ConfigurationError) as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red")
        raise typer.Exit(FAILED) from None


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _print_resumed(document, "resumed", "resumed")
    _print_resumed(document, "would_resume", "would be resumed")
    for item in document.get("would_pause", []):
        _print_pause("would be paused", item)
    for item in document.get("paused", []):
        _print_pause("paused", item)
    waiting = document.get("waiting", {})
    for topic, jobs in waiting.items():
        console.print(f"waiting: {jobs} of {topic}")


def _print_resumed(document: dict[str, Any], name: str, word: str) -> None:
    if name not in document:
        return
    if document[name]:
        console.print(word)
    else:
        console.print("nothing was paused there")


def _print_pause(word: str, item: dict[str, Any]) -> None:
    what = f"{item['kind']} {item['target']}".strip()
    since = _local(item["since"])
    end = "it is resumed"
    if item["until"]:
        end = _local(item["until"])
    console.print(
        f"{word}: {what}, since {since} until {end}; {item['reason']} ({item['who']})",
        markup=False,
    )


def _local(text: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(ZONE)
    return f"{moment:%d.%m.%Y %H:%M}"
