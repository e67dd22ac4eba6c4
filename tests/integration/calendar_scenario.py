"""Scenarios of the calendar sync as plain values: what people do, what goes wrong, and when the sync runs.

`random_scenario` makes one up; `reduced` leaves out of a failing one what it does not need to fail.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

KUERZEL = ("SB", "AI")

# -- steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class When:
    """When an appointment takes place: days from the scenario's present, a clock time, a length, perhaps a series."""

    days: int
    clock: str = "10:00"
    minutes: int = 45
    all_day: bool = False
    series: Literal["", "daily", "weekly", "monthly", "other"] = ""


@dataclass(frozen=True)
class EnterTermin:
    """Somebody enters a Termin in Advoware; ``anwalt`` empty: for everybody."""

    anwalt: str
    when: When
    privat: bool = False


@dataclass(frozen=True)
class EditTermin:
    """Somebody changes one of the Termine. ``anwalt`` hands it on to ``to``."""

    number: int
    what: Literal["text", "move", "privat", "anwalt"]
    when: When
    to: str = ""


@dataclass(frozen=True)
class DropTermin:
    """Somebody deletes one of the Termine."""

    number: int


@dataclass(frozen=True)
class EnterEvent:
    """An employee enters an event in Google."""

    kuerzel: str
    when: When


@dataclass(frozen=True)
class EditEvent:
    """An employee changes an event; ``strip``: a program drops our properties; ``repeat``: it becomes a series."""

    kuerzel: str
    number: int
    what: Literal["text", "move", "strip", "touch"]
    when: When


@dataclass(frozen=True)
class DropEvent:
    """An employee deletes an event, or one occurrence of a series."""

    kuerzel: str
    number: int
    occurrence: bool = False


@dataclass(frozen=True)
class Trouble:
    """One of the systems misbehaves in the next requests of these methods, after ``skip`` good ones."""

    system: Literal["advoware", "google"]
    kind: str
    methods: str = ""
    skip: int = 0
    count: int = 1


@dataclass(frozen=True)
class Cancel:
    """The run is cancelled and the worker starts anew."""


@dataclass(frozen=True)
class Sync:
    """A run; when the foreign systems get its ``at``-th request, ``meanwhile`` happens."""

    kuerzel: str
    full_content: bool = True
    at: int = 0
    meanwhile: Step | None = None


@dataclass(frozen=True)
class SyncAll:
    """Runs for both employees at the same time."""

    full_content: bool = True


@dataclass(frozen=True)
class Configure:
    """The worker starts anew with other settings."""

    write_protection: bool = False
    anonymise: bool = False
    strategy: Literal["source_system_wins", "last_change_wins"] = "source_system_wins"


@dataclass(frozen=True)
class Forget:
    """Redis is emptied, sync tokens expire, or access tokens are revoked."""

    what: Literal["redis", "sync_tokens", "access_tokens"]


@dataclass(frozen=True)
class Jump:
    """Time passes."""

    hours: int


Step = (
    EnterTermin
    | EditTermin
    | DropTermin
    | EnterEvent
    | EditEvent
    | DropEvent
    | Trouble
    | Cancel
    | Sync
    | SyncAll
    | Configure
    | Forget
    | Jump
)

_QUOTA = {"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}}
#: Faults by name; the data requests of both systems meet them, logins do not.
TROUBLES: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503},
    "error": {"status": 500},
    "throttled": {"status": 429, "headers": {"Retry-After": "1"}},
    "quota": {"status": 403, "body": _QUOTA},
    "slow": {"latency_ms": 200},
    "cut": {"reset": True},
    "cut_after": {"reset": True, "when": "after"},
    "error_after": {"status": 503, "when": "after"},
    "half": {"truncate_json": True},
    "changed": {"status": 412},
    "refused": {"status": 400},
    "empty": {"empty_list": True, "query": "kuerzel="},
}
#: The requests that carry data.
DATA_PATHS = {"advoware": "/advonet/Termine", "google": "/calendar/v3/"}
#: Advoware's ``turnusArt`` and Google's rule; the last rule is one that Advoware cannot hold.
SERIES = {
    "daily": (1, "RRULE:FREQ=DAILY;INTERVAL=2"),
    "weekly": (2, "RRULE:FREQ=WEEKLY"),
    "monthly": (3, "RRULE:FREQ=MONTHLY;COUNT=4"),
    "other": (4, "RRULE:FREQ=WEEKLY;BYDAY=TU,TH"),
}


@dataclass(frozen=True)
class Scenario:
    """A story: when and with which settings it begins, and what happens."""

    start: datetime
    configuration: Configure
    steps: tuple[Step, ...]


# -- chance ---------------------------------------------------------------------------------------------------------

_STARTS = (
    datetime(2026, 3, 26, 8, tzinfo=UTC),  # the clocks go forward on the 29th
    datetime(2026, 10, 22, 8, tzinfo=UTC),  # and back on the 25th
    datetime(2026, 12, 29, 22, 55, tzinfo=UTC),
)


def random_scenario(seed: int) -> Scenario:
    """The scenario of that number: a few appointments, then rounds of people, trouble and runs."""
    dice = random.Random(seed)
    steps = [_entry(dice) for _ in range(dice.randint(1, 6))]
    if dice.random() < 0.7:
        steps.append(SyncAll())
    for _ in range(dice.randint(1, 5)):
        steps += [_deed(dice) for _ in range(dice.randint(1, 3))]
        steps += [_surrounding(dice) for _ in range(dice.choice([0, 1, 1, 2]))]
        steps += [_run(dice) for _ in range(dice.choice([1, 1, 2]))]
        if dice.random() < 0.15:
            steps.append(_configuration(dice))
    return Scenario(dice.choice(_STARTS), _configuration(dice), tuple(steps))


def _when(dice: random.Random) -> When:
    return When(
        days=dice.choice([1, 2, 2, 3, 3, 3, 4, 5, 6, 0, 30, 800, -20]),
        clock=dice.choice(["10:00", "10:00", "01:30", "02:30", "00:00", "23:45"]),
        minutes=dice.choice([45, 45, 45, 15, 90, 1439, 3000]),
        all_day=dice.random() < 0.15,
        series=dice.choice(["daily", "weekly", "monthly", "other"]) if dice.random() < 0.15 else "",
    )


def _entry(dice: random.Random) -> Step:
    if dice.random() < 0.5:
        return EnterTermin(dice.choice(["SB", "SB", "SB", "AI", ""]), _when(dice), privat=dice.random() < 0.2)
    return EnterEvent(_employee(dice), _when(dice))


def _employee(dice: random.Random) -> str:
    return dice.choice([KUERZEL[0], *KUERZEL])


def _deed(dice: random.Random) -> Step:
    """Something that somebody does in one of the calendars."""
    kind, number = dice.random(), dice.randint(0, 7)
    if kind < 0.2:
        return _entry(dice)
    if kind < 0.5:
        what = dice.choice(["text", "text", "move", "move", "privat", "anwalt"])
        return EditTermin(number, what, _when(dice), dice.choice(["SB", "AI", ""]))
    if kind < 0.8:
        what = dice.choice(["text", "text", "move", "move", "touch", "strip"])
        return EditEvent(_employee(dice), number, what, _when(dice))
    if kind < 0.9:
        return DropTermin(number)
    return DropEvent(_employee(dice), number, occurrence=dice.random() < 0.3)


def _surrounding(dice: random.Random) -> Step:
    kind = dice.random()
    if kind < 0.1:
        return Forget(dice.choice(["redis", "sync_tokens", "access_tokens"]))
    if kind < 0.2:
        return Jump(dice.choice([1, 26, 24 * 8, 24 * 40, 24 * 200]))
    return Trouble(
        dice.choice(["advoware", "google"]),
        dice.choice(sorted(TROUBLES)),
        dice.choice(["", "POST", "POST|PATCH|PUT", "PATCH|PUT", "DELETE", "GET"]),
        skip=dice.choice([0, 0, 0, 1, 2, 5]),
        count=dice.choice([1, 1, 2, 9]),
    )


def _run(dice: random.Random) -> Step:
    full_content = dice.random() < 0.8
    if dice.random() < 0.5:
        return SyncAll(full_content)
    meanwhile = Cancel() if dice.random() < 0.4 else _deed(dice)
    return Sync(_employee(dice), full_content, at=dice.choice([3, 3, 4, 4, 5, 6, 7, 8, 1, 2, 12]), meanwhile=meanwhile)


def _configuration(dice: random.Random) -> Configure:
    return Configure(
        write_protection=dice.random() < 0.2,
        anonymise=dice.random() < 0.2,
        strategy=dice.choice(["source_system_wins", "last_change_wins"]),
    )


def reduced(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """The scenario without the steps that it does not need to fail."""
    number = len(scenario.steps)
    while number > 0:
        number -= 1
        shorter = Scenario(
            scenario.start, scenario.configuration, scenario.steps[:number] + scenario.steps[number + 1 :]
        )
        if fails(shorter):
            scenario, number = shorter, min(number + 1, len(shorter.steps))
    return scenario
