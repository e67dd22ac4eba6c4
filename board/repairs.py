"""Repairs on the board: the page that names what will happen, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from board.access import Visitor
from board.query import Query, usable_text
from services.core.errors import InvalidInput
from services.operate import pauses
from services.operate import repairs as operate
from services.operate.audit import Operator
from services.operate.parts import Part, part
from services.operate.sources import Sources

SECTIONS = {
    "sync": "beteiligte",
    "retry": "beteiligte",
    "sync_calendar": "calendars",
    "sync_calendars": "calendars",
    "release": "calendars",
    "redrive": "queue",
    "discard": "queue",
}
PLAN_SECONDS = 6.0
#: A release asks Advoware who the employees are; many messages take their time.
APPLY_SECONDS = 60.0
MAX_IDS = operate.MAX_RETRIED
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Confirmation:
    """What would happen."""

    section: str
    kind: str
    target: str
    repair: Part[operate.Repair]


@dataclass(frozen=True)
class Done:
    """What became of it."""

    section: str
    kind: str
    target: str
    outcome: Part[operate.Outcome]


async def confirm(sources: Sources, query: Query) -> Confirmation:
    """What the repair of the address would do; nothing is changed.

    Raises:
        InvalidInput: there is no such repair.
    """
    kind, target = _kind(query.text("kind")), query.text("target")
    message = query.text("message") or None
    found = await part(
        operate.plan(sources, kind, target, message),
        "plan",
        PLAN_SECONDS,
    )
    return Confirmation(SECTIONS[kind], kind, target, found)


async def apply(sources: Sources, visitor: Visitor, kind: str, fields: Fields) -> Done:
    """Do what the confirmation named: its ids.

    Raises:
        InvalidInput: the form does not fit.
    """
    repair = _repair(_kind(kind), fields)
    operator = _operator(visitor)
    found = await part(
        operate.apply(sources, repair, operator),
        "repair",
        APPLY_SECONDS,
    )
    return Done(SECTIONS[kind], kind, repair.target, found)


async def preview(sources: Sources, fields: Fields) -> operate.PreviewView:
    """The preview of the form's record."""
    return await operate.preview_view(sources, _first(fields, "target"))


def wanted_pause(query: Query) -> pauses.WantedPause:
    """The pause that an address asks for.

    Raises:
        InvalidInput: there is nothing of that name.
    """
    names = ("kind", "target", "reason", "until")
    wanted = pauses.WantedPause(*map(query.text, names))
    pauses.checked(wanted)
    return wanted


async def begin_pause(sources: Sources, visitor: Visitor, fields: Fields) -> None:
    """Pause what the form names.

    Raises:
        InvalidInput: there is nothing of that name, no reason, or an end that is not ahead.
        Unavailable: PostgreSQL does not answer.
    """
    names = ("kind", "target", "reason", "until")
    wanted = pauses.WantedPause(*(_first(fields, name) for name in names))
    await pauses.begin(sources, wanted, _operator(visitor))


async def end_pause(sources: Sources, visitor: Visitor, fields: Fields) -> None:
    """End the pause that the form names.

    Raises:
        InvalidInput: there is nothing of that name.
        Unavailable: PostgreSQL does not answer.
    """
    kind, target = _first(fields, "kind"), _first(fields, "target")
    await pauses.end(sources, kind, target, _operator(visitor))


def _operator(visitor: Visitor) -> Operator:
    assert visitor.session is not None  # noqa: S101 - who may repair is logged in
    return Operator(visitor.session.name, "board")


def _kind(text: str) -> operate.Kind:
    if text not in SECTIONS:
        raise InvalidInput("no such repair")
    return cast(operate.Kind, text)


def _first(fields: Fields, name: str) -> str:
    values = fields.get(name) or [""]
    return usable_text(values[0])


def _repair(kind: operate.Kind, fields: Fields) -> operate.Repair:
    count = _first(fields, "count")
    ids = list(map(usable_text, fields.get("ids", [])))
    if not (count.isascii() and count.isdigit() and len(count) < 8):
        raise InvalidInput("count must be a number")
    if not ids or len(ids) > MAX_IDS:
        raise InvalidInput(f"expected 1 to {MAX_IDS} ids")
    return operate.Repair(kind, _first(fields, "target"), ids, int(count))
