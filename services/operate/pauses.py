"""What is paused, for how long, what waits; pausing and resuming for the board. Commands: cli/commands/pause.py."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import cast, get_args
from zoneinfo import ZoneInfo

from services.core.errors import InvalidInput
from services.core.operation import pause as pauses
from services.core.operation.pause import PauseKind, Scope
from services.operate.audit import Operator
from services.operate.parts import Part, part
from services.operate.sources import Sources

#: Where the firm is; times without an offset are meant there.
ZONE = ZoneInfo("Europe/Berlin")
LOOK_SECONDS = 3.0


@dataclass(frozen=True)
class PauseRow:
    """A pause that holds. ``reason`` is what the operator wrote; ``until`` None: until it is resumed."""

    kind: str
    target: str
    reason: str
    who: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class PauseView:
    """What is paused, how many jobs of each topic wait, and what can be paused."""

    active: Part[list[PauseRow]]
    waiting: Part[dict[str, int]]
    flows: list[str]
    topics: list[str]
    crons: list[str]


@dataclass(frozen=True)
class WantedPause:
    """A pause that is asked for; ``until`` is as the form has it, in the firm's zone."""

    kind: str
    target: str
    reason: str
    until: str


async def pause_view(sources: Sources) -> PauseView:
    """The page."""
    active, waiting = await asyncio.gather(
        part(active_rows(sources), "PostgreSQL"),
        part(pauses.waiting_jobs(sources.resources), "PostgreSQL"),
    )
    return PauseView(
        active=active,
        waiting=waiting,
        flows=list(pauses.FLOWS),
        topics=list(pauses.TOPICS),
        crons=list(pauses.CRONS),
    )


async def active_rows(sources: Sources) -> list[PauseRow]:
    """The pauses that hold now.

    Raises:
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    return [_row(pause) for pause in await pauses.active_pauses(sources.resources)]


async def shown_pauses(sources: Sources) -> list[PauseRow]:
    """The pauses for the head of every page; none while they cannot be read."""

    async def read() -> Part[list[PauseRow]]:
        return await part(active_rows(sources), "PostgreSQL", LOOK_SECONDS)

    found = await sources.cached("pauses", LOOK_SECONDS, read)
    return found.value or []


def checked(wanted: WantedPause) -> Scope:
    """What is to be paused.

    Raises:
        InvalidInput: there is nothing of that name, or the end is no time.
    """
    if wanted.kind not in get_args(PauseKind):
        raise InvalidInput("no such kind of pause")
    _moment(wanted.until)
    kind = cast(PauseKind, wanted.kind)
    target = wanted.target
    if kind == "all":
        target = ""
    return pauses.checked_scope(Scope(kind, target))


async def begin(sources: Sources, wanted: WantedPause, operator: Operator) -> PauseRow:
    """Pause it; the audit has a row.

    Raises:
        InvalidInput: there is nothing of that name, no reason, or an end that is not ahead.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    made = await pauses.pause(
        sources.resources,
        checked(wanted),
        reason=wanted.reason,
        who=operator.who,
        until=_moment(wanted.until),
    )
    sources.forget()
    return _row(made)


async def end(sources: Sources, kind: str, target: str, operator: Operator) -> bool:
    """End a pause; False if there was none. The audit has a row.

    Raises:
        InvalidInput: there is nothing of that name.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    scope = checked(WantedPause(kind, target, "", ""))
    was_paused = await pauses.resume(sources.resources, scope, who=operator.who)
    sources.forget()
    return was_paused


def _row(pause: pauses.Pause) -> PauseRow:
    return PauseRow(
        kind=pause.scope.kind,
        target=pause.scope.target,
        reason=pause.reason,
        who=pause.who,
        since=pause.since,
        until=pause.until,
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("the end must be a time") from None
    if moment.tzinfo:
        return moment
    return moment.replace(tzinfo=ZONE)
