"""Stories of their own, each of which puts one guard to the test: whatever its details, it meets that guard.

They leave out what else goes on in the firm, so that nothing else can hide that the guard has failed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from beteiligte_scenario import EditAddress, EditBank, EditContact, EditMaster, Enter
from calendar_scenario import DropEvent, DropTermin, EnterEvent, EnterTermin, When
from firm_episodes import FIELDS
from firm_operations import (
    Cron,
    GiveNumberAgain,
    InCalendar,
    InOffice,
    Mail,
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


def _sync_office() -> list[Operation]:
    return [Mail(), Pass(20), Cron("beteiligte"), Work(9)]


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


def _number_given_again(dice: random.Random) -> list[Operation]:
    """Advoware loses its last person, and his number is given to another one; work with his record goes on."""
    deeds = [
        InOffice(EditMaster("espocrm", 1, dice.randrange(FIELDS))),
        InOffice(EditContact("espocrm", 1, "add")),
        InOffice(EditAddress("espocrm", 1, "add")),
        InOffice(EditBank("espocrm", 1, "add")),
    ]
    return [
        InOffice(Enter()),
        *_sync_office(),
        InOffice(Enter()),
        *_sync_office(),
        *_sync_office(),
        GiveNumberAgain(),
        *dice.choice([[], [dice.choice(deeds)], [dice.choice(deeds)]]),
        *_sync_office(),
        Pass(26 * 60),
        *_sync_office(),
    ]


TRIALS: tuple[Callable[[random.Random], list[Operation]], ...] = (
    _many_deletions,
    _number_given_again,
)
