"""What several phases of a plan need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from services.calendar_sync.model import (
    TERMIN_PREFIX,
    TIMES,
    Action,
    GoogleEvent,
    MarkUntranslatable,
    NormalisedEvent,
    NotPlanned,
    Pair,
    Termin,
    Untranslatable,
)
from services.calendar_sync.view import CalendarView
from services.core.errors import failure_code


def plan_each(
    pairs: Iterable[Pair],
    plan_one: Callable[[Pair], Iterator[Action]],
) -> Iterator[Action]:
    """The actions for each pair; one with which planning fails does not stop the others."""
    for pair in pairs:
        try:
            actions = list(plan_one(pair))
        except Exception as error:  # noqa: BLE001 - whatever one appointment is like, the others are planned
            actions = [NotPlanned(failure_code(error), pair)]
        yield from actions


def known_part(termin: Termin) -> NormalisedEvent | None:
    """What a copy can show of a Termin: all of it, or all but a text that is unknown; None without its times."""
    event = termin.event
    if isinstance(event, NormalisedEvent):
        return event
    if TIMES in event.unknown:
        return None
    return event.part


def with_privacy(
    view: CalendarView,
    google: GoogleEvent,
    event: NormalisedEvent,
) -> NormalisedEvent:
    """What becomes a Termin of a readable event: private if a person keeps the event so, or its Termin was."""
    origin = view.origin_of(google) or 0
    termin = view.termine.get(origin) or view.elsewhere.get(origin)
    was_private = termin is not None and termin.privat
    return replace(event, privat=event.privat or google.is_private or was_private)


def reason_of_termin(termin: Termin) -> str:
    """Why a Termin is left alone."""
    if isinstance(termin.event, Untranslatable):
        return TERMIN_PREFIX + termin.event.reason
    return TERMIN_PREFIX


def mark_untranslatable(
    reason: str,
    pair: Pair | None,
    *,
    termin: Termin | None = None,
    google: GoogleEvent | None = None,
) -> Iterator[Action]:
    """Remember the reason, if it is a new one."""
    if pair is None or pair.untranslatable != reason:
        yield MarkUntranslatable(reason, pair, termin, google)
