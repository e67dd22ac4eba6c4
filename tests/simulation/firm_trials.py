"""Stories of their own, each of which puts one guard to the test: whatever its details, it meets that guard.

They leave out what else goes on in the firm, so that nothing else can hide that the guard has failed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from calendar_scenario import DropEvent, DropTermin, EnterEvent, EnterTermin, When
from firm_operations import (
    Cron,
    InCalendar,
    Operation,
    Pass,
    Release,
    Work,
)

#: From this number on every fifth story is a trial, one kind after the other.
FIRST = 1000
EVERY = 5


def is_trial(seed: int) -> bool:
    """Whether the story of that number is one of these."""
    return seed >= FIRST and seed % EVERY == 0


def trial(seed: int, dice: random.Random) -> list[Operation]:
    """What happens in the trial of that number."""
    return TRIALS[seed // EVERY % len(TRIALS)](dice)


def _sync_calendars() -> list[Operation]:
    return [Pass(6), Cron("calendar"), Work(9)]


def _many_deletions(dice: random.Random) -> list[Operation]:
    """Most of one employee's appointments are gone at once, and only after some runs does an operator look at that."""
    entered: list[Operation] = []
    in_advoware = dice.random() < 0.5
    number = dice.randint(7, 9)
    for place in range(number + dice.choice([0, 1, 2])):
        when = When(days=1 + place % 5, clock=f"{8 + place:02}:00")
        deed: Any = EnterTermin("SB", when)
        if not in_advoware:
            deed = EnterEvent("SB", when)
        entered.append(InCalendar(deed))
    gone: Any = DropTermin(2)
    if not in_advoware:
        gone = DropEvent("SB", 1)
    return [
        InCalendar(EnterTermin("AI", When(days=1))),
        InCalendar(EnterTermin("SB", When(days=2))),
        *_sync_calendars(),
        *entered,
        *_sync_calendars(),
        *_sync_calendars(),
        *[InCalendar(gone)] * number,
        *_sync_calendars(),
        *_sync_calendars(),
        *dice.choice([[], [Release(), *_sync_calendars()]]),
    ]


TRIALS: tuple[Callable[[random.Random], list[Operation]], ...] = (_many_deletions,)
