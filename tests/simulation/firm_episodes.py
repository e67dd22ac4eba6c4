"""Courses of events that are dangerous as a whole: chance alone would hardly ever put their parts together.

Each episode is a way in which a promise could be broken, with its details left to the dice: a create whose answer is
lost and that is then tried again; an edit between our read and our write; a list that lacks an entry once; a system
that stays away until the queue gives up; two workers at the same record.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from beteiligte_scenario import EditAddress, EditBank, EditContact, EditMaster, Enter
from calendar_scenario import (
    EditEvent,
    EditTermin,
    EnterEvent,
    EnterTermin,
    When,
)
from firm_operations import (
    Cron,
    Death,
    InCalendar,
    InOffice,
    Mail,
    Meanwhile,
    Misbehave,
    Operation,
    Pass,
    Work,
)

#: How the answer to a request that was executed can be lost.
LOST_ANSWERS: tuple[dict[str, Any], ...] = (
    {"reset": True},
    {"status": 500},
    {"status": 503},
    {"status": 502},
)
#: Not in Google, which is asked in threads: their sockets wait by the clock on the wall.
HANGS: dict[str, Any] = {"hang": True}
#: Fields of the master data that a person edits, as `beteiligte_world` counts them.
FIELDS = 8


class Create(NamedTuple):
    """A kind of record that the sync creates: what a person does, where that is created, and what starts the sync."""

    deed: InOffice | InCalendar
    system: Any
    path: str
    start: Operation


def random_episode(dice: random.Random) -> list[Operation]:
    """One of the episodes."""
    return dice.choice(EPISODES)(dice)


def short_episode(dice: random.Random) -> list[Operation]:
    """One of them for a story that has little else."""
    return dice.choice([*dict.fromkeys(EPISODES), _lost_event])(dice)


def first_trouble(dice: random.Random) -> list[Operation]:
    """Rarely, the answer to the very first create of a kind is lost: of a calendar, or of a Beteiligter."""
    if dice.random() >= 0.15:
        return []
    system: Any = dice.choice(["google", "google", "advoware"])
    path = "/calendars$" if system == "google" else "/advonet/Beteiligte$"
    lost = {**dice.choice(LOST_ANSWERS), "when": "after", "method": "POST"}
    return [Misbehave(system, {**lost, "path": path, "count": 1})]


def _lost_create(dice: random.Random) -> list[Operation]:
    """A record is created, but the answer is lost or the worker dies; before the next try a user goes on working."""
    create = _create(dice)
    answers = [*LOST_ANSWERS, LOST_ANSWERS[0] if create.system == "google" else HANGS]
    lost = {
        **dice.choice(answers),
        "when": "after",
        "method": "POST",
        "path": create.path,
        "count": 1,
        "skip": dice.choice([0, 0, 0, 1]),
    }
    death = Death(dice.randint(5, 90), dice.choice([0, 0, 1]))
    is_death = dice.random() < 0.25
    trouble: list[Operation] = [] if is_death else [Misbehave(create.system, lost)]
    interlude = dice.choice([[], [], [_later_deed(dice)], [create.deed]])
    return [
        *trouble,
        create.deed,
        Mail(),
        create.start,
        Work(9, death=death if is_death else None),
        *interlude,
        Pass(dice.choice([1, 6, 20])),
        Mail(),
        create.start,
        Work(9, worker=1),
    ]


def _create(dice: random.Random) -> Create:
    number, entry = dice.randint(0, 2), dice.randint(0, 2)
    check = Cron("beteiligte")
    calendar = Cron("calendar")
    parts = "/advonet/Beteiligte/[0-9]+/"
    kind: Any = dice.choice(["Office", "Mobile", "mail"])
    creates = (
        Create(
            InOffice(Enter(dice.random() < 0.5)),
            "advoware",
            "/advonet/Beteiligte$",
            check,
        ),
        Create(
            InOffice(EditContact("espocrm", number, "add", entry, kind)),
            "advoware",
            f"{parts}Kommunikationen$",
            check,
        ),
        Create(
            InOffice(EditAddress("espocrm", number, "add", entry)),
            "advoware",
            f"{parts}Adressen$",
            check,
        ),
        Create(
            InOffice(EditBank("espocrm", number, "add", entry)),
            "advoware",
            f"{parts}Bankverbindungen$",
            check,
        ),
        Create(
            InOffice(EditAddress("advoware", number, "add", entry)),
            "espocrm",
            "/CAdressen$|/BitByLaw",
            check,
        ),
        Create(
            InOffice(EditContact("advoware", number, "odd", entry, kind)),
            "espocrm",
            "/Task$|/BitByLaw",
            check,
        ),
        Create(
            InCalendar(EnterEvent(_employee(dice), _when(dice))),
            "advoware",
            "/advonet/Termine",
            calendar,
        ),
        Create(
            InCalendar(EnterTermin(_employee(dice), _when(dice), privat=False)),
            "google",
            "/events",
            calendar,
        ),
    )
    return dice.choice(creates)


def _lost_event(dice: random.Random) -> list[Operation]:
    """An event is inserted, no answer comes, further tries fail, and its owner makes it his own before the next run."""
    employee, number = _employee(dice), dice.randint(0, 3)
    post = {"method": "POST", "path": "/events"}
    lost = {**post, **dice.choice(LOST_ANSWERS), "when": "after", "count": 1}
    away = {**post, "status": 503, "count": dice.choice([0, 8, 8])}
    deeds = [
        InCalendar(EditEvent(employee, number, what, _when(dice)))
        for what in ("strip", "text", "move")
    ]
    return [
        InCalendar(EnterTermin(employee, _when(dice), privat=False)),
        Misbehave("google", lost),
        Misbehave("google", away),
        Cron("calendar"),
        Work(9),
        *deeds[: dice.choice([1, 2, 2, 3])],
        Pass(6),
        Cron("calendar"),
        Work(9),
    ]


def _later_deed(dice: random.Random) -> Operation:
    """What a person may do with that which was just created."""
    number = dice.randint(0, 7)
    return dice.choice(
        [
            InCalendar(EditEvent(_employee(dice), number, "strip", _when(dice))),
            InCalendar(EditEvent(_employee(dice), number, "text", _when(dice))),
            InCalendar(EditTermin(number, "text", _when(dice), _employee(dice))),
            InOffice(EditContact("advoware", number % 3, "change", number % 2)),
            InOffice(EditMaster("espocrm", number % 3, dice.randrange(FIELDS))),
        ]
    )


def _edit_between(dice: random.Random) -> list[Operation]:
    """Advoware's edit is on its way to EspoCRM when a user edits the same there."""
    number, field = dice.randint(0, 1), dice.randrange(FIELDS)
    entry = dice.randint(0, 1)
    first: list[Any] = [
        EditMaster("advoware", number, field),
        EditContact("advoware", number, dice.choice(["add", "change"]), entry),
        EditAddress("advoware", number, "street", entry),
    ]
    second: list[Any] = [
        EditMaster("espocrm", number, field),
        EditContact("espocrm", number, dice.choice(["add", "change"]), entry),
        EditAddress("espocrm", number, "street", entry),
    ]
    place = dice.choice([0, 0, 1, 1, 2])
    edit = InOffice(second[place])
    meanwhile = Meanwhile(dice.choice([2, 3, 4, 5, 6, 7]), edit)
    return [
        InOffice(first[place]),
        Mail(),
        Work(9),
        Pass(26 * 60),
        Cron("beteiligte"),
        Work(dice.choice([1, 2]), meanwhile=(meanwhile,)),
    ]


def _list_lacks_some(dice: random.Random) -> list[Operation]:
    """A list lacks some of its entries, once or twice; nothing was deleted."""
    termine = {"answer": [{"field": "[]", "how": "missing"}], "query": "kuerzel="}
    events = {"answer": [{"field": "items[]", "how": "missing"}], "path": "/events$"}
    system: Any = dice.choice(["advoware", "advoware", "google"])
    rule = {
        **(termine if system == "advoware" else events),
        "method": "GET",
        "probability": dice.choice([0.3, 0.5, 1.0]),
        "count": dice.choice([1, 1, 2]),
    }
    entered = [
        InCalendar(EnterTermin(_employee(dice), _when(dice), privat=False)),
        InCalendar(EnterEvent(_employee(dice), _when(dice))),
    ]
    return [
        *entered,
        Cron("calendar"),
        Work(9),
        InCalendar(EnterTermin(_employee(dice), _when(dice), privat=False)),
        Misbehave(system, rule),
        Pass(dice.choice([6, 20, 26 * 60])),
        Cron("calendar"),
        Work(9),
    ]


def _away_until_given_up(dice: random.Random) -> list[Operation]:
    """A system is away for so long that the queue gives the job up, and no webhook comes once more."""
    rule = {"status": dice.choice([500, 503]), "path": "/advonet/Beteiligte"}
    number = dice.randint(0, 2)
    deeds = [
        InOffice(EditMaster("espocrm", number, dice.randrange(FIELDS))),
        InOffice(EditContact("espocrm", number, "add")),
        InOffice(EditBank("espocrm", number, "add")),
    ]
    tries: list[Operation] = []
    for _ in range(8):
        tries += [Pass(6), Work(4)]
    return [
        Misbehave("advoware", rule),
        dice.choice(deeds),
        Mail(),
        *tries,
        Mail("lose"),
        dice.choice([Pass(6), Cron("beteiligte"), Mail("lose")]),
    ]


def _two_at_once(dice: random.Random) -> list[Operation]:
    """Webhook and check have both put a record into the queue, and two workers take them at the same time."""
    number = dice.randint(0, 2)
    kind: Any = dice.choice(["Office", "mail"])
    deed = dice.choice(
        [
            InOffice(Enter(dice.random() < 0.5)),
            InOffice(EditContact("espocrm", number, "add", 0, kind)),
            InOffice(EditAddress("espocrm", number, "add")),
            InOffice(EditBank("espocrm", number, "add")),
        ]
    )
    return [
        deed,
        Mail(),
        Pass(dice.choice([1, 6, 70])),
        Cron("beteiligte", worker=1),
        Cron("calendar"),
        Cron("calendar", worker=1),
        Work(4, lanes=2),
        Work(4),
    ]


def _when(dice: random.Random) -> When:
    return When(
        days=dice.choice([1, 2, 3]),
        clock=dice.choice(["10:00", "01:30", "23:45"]),
        minutes=45,
        all_day=dice.random() < 0.1,
        series="weekly" if dice.random() < 0.1 else "",
    )


def _employee(dice: random.Random) -> str:
    return dice.choice(["SB", "SB", "AI"])


#: What is taken more often stands there several times.
EPISODES = (
    _lost_create,
    _lost_create,
    _lost_create,
    _edit_between,
    _edit_between,
    _list_lacks_some,
    _away_until_given_up,
    _two_at_once,
)
