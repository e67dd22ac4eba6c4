"""Stories of their own, each of which puts one guard to the test: whatever its details, it meets that guard.

They leave out what else goes on in the firm, so that nothing else can hide that the guard has failed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from beteiligte_scenario import (
    EditAddress,
    EditBank,
    EditContact,
    EditMaster,
    EditOdd,
    Enter,
)
from calendar_scenario import (
    Act,
    DropEvent,
    DropTermin,
    EditEvent,
    EditTermin,
    EnterEvent,
    EnterTermin,
    When,
)
from firm_episodes import FIELDS, HANGS
from firm_operations import (
    Cron,
    GiveNumberAgain,
    InCalendar,
    InOffice,
    Mail,
    Meanwhile,
    Misbehave,
    Operation,
    Pass,
    Release,
    Work,
)

#: From this number on every fifth story is a trial, one kind after the other.
FIRST = 1000
EVERY = 5
#: So slow is Advoware where two workers could meet (milliseconds): less than we wait for, and so long that the clock
#: does not jump over it while the other worker is on its way (`firm_loop.GRACE`).
SLOW_MS = 25_000
#: The number of the appointment that was entered last.
LATEST = -1


def is_trial(seed: int) -> bool:
    """Whether the story of that number is one of these."""
    return seed >= FIRST and seed % EVERY == 0


def trial(seed: int, dice: random.Random) -> list[Operation]:
    """What happens in the trial of that number."""
    return TRIALS[(seed - FIRST) // EVERY % len(TRIALS)](dice)


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


def _two_workers(dice: random.Random) -> list[Operation]:
    """Two workers have jobs of one record, and one is in a create for so long that the other could be in it as well.

    Several times, because which of two is faster is up to the machine.
    """
    kinds: list[Any] = ["Office", "Mobile", "mail"]
    slow = {"method": "POST", "path": "Kommunikationen$", "latency_ms": SLOW_MS}
    rounds: list[Operation] = []
    for _ in range(5):
        rounds += [
            InOffice(EditContact("espocrm", 0, "add", 0, dice.choice(kinds))),
            Misbehave("advoware", {**slow, "count": 2}),
            Mail(),
            Pass(6),
            Cron("beteiligte", worker=1),
            Work(1, lanes=2),
            Pass(20),
            Work(9),
        ]
    return [InOffice(Enter()), *_sync_office(), *_sync_office(), *rounds]


def _lost_events(dice: random.Random) -> list[Operation]:
    """EspoCRM's webhook about an edit is lost, and the check is the first that could hear of it.

    The edit is one of the record itself: its addresses and accounts have categories of their own in the check.
    """
    deeds = [
        InOffice(EditMaster("espocrm", 0, dice.randrange(FIELDS))),
        InOffice(EditContact("espocrm", 0, "add")),
    ]
    return [
        InOffice(Enter(dice.random() < 0.5)),
        *_sync_office(),
        *_sync_office(),
        *dice.sample(deeds, dice.choice([1, 2])),
        Mail("lose"),
        Pass(dice.choice([6, 20, 70])),
        Cron("beteiligte"),
        Work(9),
    ]


def _collected_write(dice: random.Random) -> list[Operation]:
    """Two addresses are edited in Advoware, and while they are written to EspoCRM one of them is edited there as well.

    Once at each moment at which a request of such a run could be the last before the write.
    """
    field: Any = dice.choice(["street", "city"])
    rounds: list[Operation] = []
    for at in range(4, 13):
        edit = InOffice(EditAddress("espocrm", 0, field, 1))
        rounds += [
            InOffice(EditAddress("advoware", 0, field, 0)),
            InOffice(EditAddress("advoware", 0, field, 1)),
            Pass(26 * 60),
            Cron("beteiligte"),
            Work(1, meanwhile=(Meanwhile(at, edit),)),
            *_sync_office(),
        ]
    return [
        InOffice(Enter()),
        InOffice(EditAddress("espocrm", 0, "add")),
        *_sync_office(),
        *_sync_office(),
        *rounds,
    ]


def _private(dice: random.Random) -> list[Operation]:
    """Termine are private, from the beginning or only later."""
    when = When(days=dice.randint(1, 3))
    return [
        InCalendar(EnterTermin("SB", when, privat=True)),
        InCalendar(EnterTermin("SB", replace(when, clock="15:00"))),
        *_sync_calendars(),
        InCalendar(EditTermin(1, "privat", when)),
        *dice.choice([[], [InCalendar(EditTermin(0, "text", when))]]),
        *_sync_calendars(),
    ]


def _lost_tasks(dice: random.Random) -> list[Operation]:
    """Tasks are created whose answer is lost, and later runs have to find them.

    EspoCRM has done what it was asked, which a program that answers with an error has not.
    """
    entry = dice.randint(0, 1)
    deeds = [
        InOffice(EditOdd("espocrm", 0, "land", entry)),
        InOffice(EditContact("advoware", 0, "odd", entry)),
        InOffice(EditAddress("espocrm", 0, "remove", entry)),
        InOffice(EditAddress("advoware", 0, "remove", entry)),
    ]
    lost = {
        **dice.choice([HANGS, {"reset": True}]),
        "when": "after",
        "method": "POST",
        "path": "/Task$|/BitByLaw",
    }
    rounds: list[Operation] = []
    for deed in dice.sample(deeds, 3):
        rounds += [
            deed,
            Misbehave("espocrm", {**lost, "count": 1}),
            *_sync_office(),
            Pass(26 * 60),
            *_sync_office(),
        ]
    return [
        InOffice(Enter()),
        InOffice(EditAddress("espocrm", 0, "add")),
        *_sync_office(),
        *_sync_office(),
        *rounds,
    ]


def _private_events(dice: random.Random) -> list[Operation]:
    """A person keeps an event private, and copies it or takes it to a colleague, perhaps with its Termin."""
    rounds: list[Operation] = []
    for day in range(1, 5):
        when = When(days=day, series=dice.choice(["", "", "weekly"]))
        kept = InCalendar(Act("SB", LATEST, "make private", when))
        acts = ["copy", "copy to colleague", "move to colleague", "split"]
        taken = Act("SB", LATEST, dice.choice(acts), when, dice.randint(0, 5))
        given = EditTermin(LATEST, "anwalt", when, dice.choice(["AI", "AI", ""]))
        rounds += [
            InCalendar(EnterEvent("SB", when)),
            *dice.choice([[kept, *_sync_calendars()], [*_sync_calendars(), kept]]),
            *dice.choice([[], _sync_calendars()]),
            InCalendar(taken),
            *dice.choice([[], [], [InCalendar(given)]]),
            *_sync_calendars(),
            *_sync_calendars(),
        ]
    return rounds


def _handed_on_meanwhile(dice: random.Random) -> list[Operation]:
    """A Termin is given to a colleague or to all while a run is on its way from its lists to what it writes."""
    rounds: list[Operation] = []
    for at in dice.sample(range(2, 10), 6):
        when = When(days=dice.randint(1, 5), series=dice.choice(["", "", "weekly"]))
        entered: list[Any] = [EnterEvent("SB", when), EnterTermin("SB", when)]
        deeds: list[Any] = [
            EditEvent("SB", LATEST, "text", when),
            EditEvent("SB", LATEST, "move", replace(when, clock="15:00")),
            DropEvent("SB", LATEST),
            EditTermin(LATEST, "text", when),
            EditTermin(LATEST, "privat", when),
            EnterEvent("SB", replace(when, clock="16:00")),
        ]
        given = EditTermin(LATEST, "anwalt", when, dice.choice(["AI", "AI", ""]))
        rounds += [
            InCalendar(dice.choice(entered)),
            *_sync_calendars(),
            InCalendar(dice.choice(deeds)),
            Pass(6),
            Cron("calendar"),
            Work(9, meanwhile=(Meanwhile(at, InCalendar(given)),)),
            *_sync_calendars(),
        ]
    return [*_sync_calendars(), *rounds]


TRIALS: tuple[Callable[[random.Random], list[Operation]], ...] = (
    _many_deletions,
    _number_given_again,
    _two_workers,
    _lost_events,
    _collected_write,
    _private,
    _lost_tasks,
    _private_events,
    _handed_on_meanwhile,
)
