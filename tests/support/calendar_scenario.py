"""Scenarios of the calendar sync as plain values: what people do, what goes wrong, and when the sync runs.

`random_scenario` makes one up; `reduced` leaves out of a failing one what it does not need to fail.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
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

    def on_a_whole_day(self) -> When:
        """The same on the whole day."""
        return replace(self, all_day=True, clock="00:00", minutes=0)


@dataclass(frozen=True)
class EnterTermin:
    """A user enters a Termin in Advoware; ``anwalt`` empty: for all employees."""

    anwalt: str
    when: When
    privat: bool = False


@dataclass(frozen=True)
class EditTermin:
    """A user changes one of the Termine. ``anwalt`` hands it on to ``to``."""

    number: int
    what: Literal["text", "move", "privat", "anwalt"]
    when: When
    to: str = ""


@dataclass(frozen=True)
class DropTermin:
    """A user deletes one of the Termine."""

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
    """The run is cancelled and the worker starts again."""


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
    """The worker starts again with other settings."""

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


@dataclass(frozen=True)
class Act:
    """A user does in Google what is no plain edit; ``what`` is one of `ACTS`, ``variant`` varies it."""

    kuerzel: str
    number: int
    what: str
    when: When
    variant: int = 0


@dataclass(frozen=True)
class LeaveTermin:
    """A Termin from elsewhere with values that nothing has checked; ``odd`` names them in `ODD_TERMINE`."""

    anwalt: str
    odd: str
    when: When


@dataclass(frozen=True)
class Surprise:
    """From now on a system shows or stores something differently; ``name`` is one of `SURPRISES`."""

    system: Literal["advoware", "google"]
    name: str
    probability: float = 1.0


Step = (
    EnterTermin
    | EditTermin
    | DropTermin
    | EnterEvent
    | EditEvent
    | DropEvent
    | Act
    | LeaveTermin
    | Surprise
    | Trouble
    | Cancel
    | Sync
    | SyncAll
    | Configure
    | Forget
    | Jump
)

_QUOTA = {
    "error": {
        "code": 403,
        "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}],
    }
}
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


#: Values that no program checks, by name; None as value: the key stays, empty.
ODD_TERMINE: dict[str, dict[str, Any]] = {
    "closed for ever": {
        "datumBis": "9999-12-31",
        "abwesenheit": 1,
        "uhrzeitVon": None,
        "uhrzeitBis": None,
    },
    "series for ever": {
        "datumBis": "9999-12-31",
        "dauertermin": 1,
        "turnus": 1,
        "turnusArt": 1,
    },
    "24:00": {"uhrzeitBis": "24:00:00"},
    "25:61": {"uhrzeitVon": "25:61:00", "uhrzeitBis": "99:00"},
    "unknown series": {
        "dauertermin": 1,
        "turnus": 0,
        "turnusArt": 9,
        "datumBis": "2027-12-31",
    },
    "no date": {"datum": None, "datumBis": None},
    "year one": {"datum": "0001-01-01", "datumBis": "0001-01-01"},
    "impossible day": {"datum": "2026-02-30", "datumBis": "2026-02-30"},
    "numbers missing": {
        "privat": None,
        "abwesenheit": None,
        "dauertermin": None,
        "turnus": None,
        "turnusArt": None,
    },
    "numbers as texts": {"privat": "0", "abwesenheit": "0", "dauertermin": "nein"},
}
#: Ends that contradict the start. They are no faults: specification 13 says what they mean.
CONTRADICTING_ENDS: dict[str, dict[str, Any]] = {
    "midnight in the evening": {"uhrzeitVon": "18:00:00", "uhrzeitBis": "00:00:00"},
    "midnight in the morning": {"uhrzeitVon": "09:00:00", "uhrzeitBis": "00:00:00"},
    "past midnight": {"uhrzeitVon": "22:00:00", "uhrzeitBis": "01:30:00"},
    "long before": {"uhrzeitVon": "10:00:00", "uhrzeitBis": "09:00:00"},
    "no times": {"uhrzeitVon": None, "uhrzeitBis": None},
    "no end": {"uhrzeitVon": "16:10:00", "uhrzeitBis": None},
}
ODD_TERMINE |= CONTRADICTING_ENDS


def _shows(field_name: str, how: str, to: Any = None) -> dict[str, Any]:
    return {
        "answer": [
            {"field": field_name, "how": how, **({} if to is None else {"to": to})}
        ],
        "method": "GET",
    }


def _stores(field_name: str, how: str, to: Any = None) -> dict[str, Any]:
    return {
        "stored": [
            {"field": field_name, "how": how, **({} if to is None else {"to": to})}
        ]
    }


#: How systems show and store things differently (docs/sandbox.md), by system and name.
SURPRISES: dict[str, dict[str, dict[str, Any]]] = {
    "advoware": {
        "lacks some": {**_shows("[]", "missing"), "query": "kuerzel="},
        "cuts": _shows("[].text", "cut", 8),
        "upper": _shows("[].text", "upper"),
        "blanks": _shows("[].notiz", "blanks"),
        "no text": _shows("[].text", "null"),
        "text missing": _shows("[].text", "missing"),
        "nul": _shows("[].text", "nul"),
        "half emoji": _shows("[].text", "half_emoji"),
        "no end": _shows("[].uhrzeitBis", "null"),
        "24:00": _shows("[].uhrzeitBis", "value", "24:00:00"),
        "time as number": _shows("[].uhrzeitVon", "number"),
        "for ever": _shows("[].datumBis", "date", "net_max"),
        "day one": _shows("[].datum", "date", "net_min"),
        "german date": _shows("[].datum", "date", "german"),
        "privat missing": _shows("[].privat", "missing"),
        "privat null": _shows("[].privat", "null"),
        "privat as text": _shows("[].privat", "value", "ja"),
        "anwalt missing": _shows("[].anwalt", "missing"),
        "other kind": _shows("[].turnusArt", "value", 9),
        "dauertermin as text": _shows("[].dauertermin", "value", "ja"),
        "new field": _shows("[].neuesFeld", "add", {"a": [1, None]}),
        "frNr as text": _shows("[].frNr", "text"),
        "frNr missing": _shows("[].frNr", "missing"),
        "frNr odd": _shows("[].frNr", "value", "A-1"),
        "changed long ago": _shows("[].zuletztGeaendertAm", "date", "net_min"),
        "changed never": _shows("[].zuletztGeaendertAm", "null"),
        "junk rows": _shows("[]", "value", "junk"),
        "stores cut": _stores("text", "cut", 9),
        "stores upper": _stores("text", "upper"),
        "stores no note": _stores("notiz", "ignore"),
    },
    "google": {
        "lacks some": {**_shows("items[]", "missing"), "query": "^(?!.*syncToken)"},
        "cuts": _shows("items[].summary", "cut", 8),
        "upper": _shows("items[].summary", "upper"),
        "no title": _shows("items[].summary", "missing"),
        "nul": _shows("items[].description", "nul"),
        "half emoji": _shows("items[].summary", "half_emoji"),
        "day one": _shows("items[].start.dateTime", "value", "0001-01-01T00:00:00Z"),
        "last day": _shows("items[].end.dateTime", "value", "9999-12-31T23:59:59Z"),
        "no start": _shows("items[].start", "missing"),
        "start as text": _shows("items[].start", "value", "morgen"),
        "unknown zone": _shows("items[].start.timeZone", "value", "Mars/Olympus"),
        "no id": _shows("items[].id", "missing"),
        "no etag": _shows("items[].etag", "missing"),
        "updated odd": _shows("items[].updated", "value", "gestern"),
        "unknown status": _shows("items[].status", "value", "vertagt"),
        "unknown type": _shows("items[].eventType", "value", "seance"),
        "rule as text": _shows("items[].recurrence", "value", "wöchentlich"),
        "no properties": _shows("items[].extendedProperties", "null"),
        "properties as list": _shows("items[].extendedProperties", "value", ["?"]),
        "new field": _shows("items[].neuesFeld", "add", {"a": [1, None]}),
        "junk items": _shows("items[]", "value", 17),
        "empty items": _shows("items[]", "value", {}),
        "stores cut": _stores("summary", "cut", 9),
        "stores upper": _stores("summary", "upper"),
        "stores no place": _stores("location", "ignore"),
    },
}


@dataclass(frozen=True)
class Scenario:
    """A story: when and with which settings it begins, what Google is like, and what happens."""

    start: datetime
    configuration: Configure
    steps: tuple[Step, ...]
    #: Where it is not known what Google does; see `sandbox.google.readings`.
    readings: Mapping[str, Any] = field(default_factory=dict)


# -- kinds ----------------------------------------------------------------------------------------------------------

#: What employees do in Google besides entering, editing and deleting.
ACTS = (
    "cancel occurrence", "move occurrence", "retitle occurrence", "hide occurrence",
    "split", "copy", "copy to colleague", "move away", "move to colleague", "restore",
    "import file", "import own", "invite", "invite twice",
    "colour", "reminders", "guests", "make private", "html", "free day", "other zone", "other rule", "long text",
)  # fmt: skip
#: Kinds of steps that can be switched off one by one: `ACTS`, ``odd termin``, ``contradicting end``, ``readings``, and
#: ``<system> <surprise>`` of `SURPRISES`. Maps each to how often it comes among the others.
KINDS: dict[str, int] = {
    **dict.fromkeys(ACTS, 3),
    "odd termin": 4,
    "contradicting end": 4,
    "readings": 1,
    **{f"{system} {name}": 1 for system, names in SURPRISES.items() for name in names},
}
#: What must hold besides that nothing is lost or doubled, that both sides agree, and that the sync comes to rest:
#: clock times to the minute, computed here again; Advoware's content on copies that a person has made impossible to
#: hold; no hidden text, inside and outside the window; none comes back meanwhile; no odd record ends a run; no Termin
#: is made of an event of which only our placeholder is known.
CHECKS = (
    "times",
    "source first",
    "privacy",
    "hidden stays hidden",
    "no run ended",
    "no placeholder",
)
#: Kinds and checks that the product does not hold yet; see `kinds_to_play` and `checks_to_make`.
NOT_YET: frozenset[str] = frozenset()


def kinds_to_play() -> tuple[str, ...]:
    """The kinds among the steps: those of ``CALENDAR_KINDS`` (joined by commas, or ``all``), else all that hold."""
    wanted = os.environ.get("CALENDAR_KINDS")
    if wanted is None:
        return tuple(kind for kind in KINDS if kind not in NOT_YET)
    if wanted == "all":
        return tuple(KINDS)
    chosen = tuple(name.strip() for name in wanted.split(",") if name.strip())
    assert set(chosen) <= set(KINDS), f"unknown kinds: {set(chosen) - set(KINDS)}"
    return chosen


def checks_to_make() -> frozenset[str]:
    """Those of ``CALENDAR_CHECKS`` (names joined by commas, or ``all``), else all that hold."""
    wanted = os.environ.get("CALENDAR_CHECKS")
    if wanted is None:
        return frozenset(CHECKS) - NOT_YET
    return (
        frozenset(CHECKS)
        if wanted == "all"
        else frozenset(wanted.split(",")) & frozenset(CHECKS)
    )


# -- chance ---------------------------------------------------------------------------------------------------------

_STARTS = (
    datetime(2026, 3, 26, 8, tzinfo=UTC),  # the clocks go forward on the 29th
    datetime(2026, 10, 22, 8, tzinfo=UTC),  # and back on the 25th
    datetime(2026, 12, 29, 22, 55, tzinfo=UTC),
)


def random_scenario(seed: int, kinds: Collection[str] = ()) -> Scenario:
    """The scenario of that number: a few appointments, then rounds of people, trouble and runs.

    ``kinds``: of `KINDS`, what may happen besides plain edits and failing requests.
    """
    dice = random.Random(seed)  # noqa: S311 - seeded
    steps = [_entry(dice) for _ in range(dice.randint(1, 6))]
    if dice.random() < 0.7:
        steps.append(SyncAll())
    for _ in range(dice.randint(1, 5)):
        steps += [_deed(dice) for _ in range(dice.randint(1, 3))]
        steps += [
            _unusual(dice, kinds)
            for _ in range(dice.choice([0, 1, 1, 2]) if kinds else 0)
        ]
        steps += [_surrounding(dice) for _ in range(dice.choice([0, 1, 1, 2]))]
        steps += [_run(dice) for _ in range(dice.choice([1, 1, 2]))]
        if dice.random() < 0.15:
            steps.append(_configuration(dice))
    readings = _readings(dice) if "readings" in kinds else {}
    return Scenario(dice.choice(_STARTS), _configuration(dice), tuple(steps), readings)


def _unusual(dice: random.Random, kinds: Collection[str]) -> Step:
    """One of the kinds; without any that is a step, a plain edit."""
    names = [name for name in KINDS if name in kinds and name != "readings"]
    if not names:
        return _deed(dice)
    kind = dice.choices(names, [KINDS[name] for name in names])[0]
    if kind == "contradicting end":
        return LeaveTermin(
            dice.choice(["SB", "AI", ""]),
            dice.choice(sorted(CONTRADICTING_ENDS)),
            _when(dice),
        )
    if kind == "odd termin":
        odd = sorted(ODD_TERMINE.keys() - CONTRADICTING_ENDS.keys())
        return LeaveTermin(dice.choice(["SB", "AI", ""]), dice.choice(odd), _when(dice))
    if kind in ACTS:
        return Act(
            _employee(dice), dice.randint(0, 7), kind, _when(dice), dice.randint(0, 5)
        )
    system, _, name = kind.partition(" ")
    return Surprise(
        "advoware" if system == "advoware" else "google",
        name,
        dice.choice([1.0, 0.5, 0.3]),
    )


def _readings(dice: random.Random) -> dict[str, Any]:
    flags = ("split", "copy", "move", "restore")
    return {
        "exceptions": dice.choice(["lost", "kept", "follow"]),
        "exception_texts": dice.choice(["own", "inherited"]),
        **{f"{flag}_keeps_properties": dice.random() < 0.7 for flag in flags},
    }


def _when(dice: random.Random) -> When:
    return When(
        days=dice.choice([1, 2, 2, 3, 3, 3, 4, 5, 6, 0, 30, 800, -20]),
        clock=dice.choice(["10:00", "10:00", "01:30", "02:30", "00:00", "23:45"]),
        minutes=dice.choice([45, 45, 45, 15, 90, 1439, 3000]),
        all_day=dice.random() < 0.15,
        series=dice.choice(["daily", "weekly", "monthly", "other"])
        if dice.random() < 0.25
        else "",
    )


def _entry(dice: random.Random) -> Step:
    if dice.random() < 0.5:
        return EnterTermin(
            dice.choice(["SB", "SB", "SB", "AI", ""]),
            _when(dice),
            privat=dice.random() < 0.2,
        )
    return EnterEvent(_employee(dice), _when(dice))


def _employee(dice: random.Random) -> str:
    return dice.choice([KUERZEL[0], *KUERZEL])


def _deed(dice: random.Random) -> Step:
    """Something that a user does in one of the calendars."""
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
    return Sync(
        _employee(dice),
        full_content,
        at=dice.choice([3, 3, 4, 4, 5, 6, 7, 8, 1, 2, 12]),
        meanwhile=meanwhile,
    )


def _configuration(dice: random.Random) -> Configure:
    return Configure(
        write_protection=dice.random() < 0.2,
        anonymise=dice.random() < 0.2,
        strategy=dice.choice(["source_system_wins", "last_change_wins"]),
    )


def reduced(scenario: Scenario, fails: Callable[[Scenario], bool]) -> Scenario:
    """The scenario without the steps that it does not need to fail."""
    if scenario.readings and fails(plain := replace(scenario, readings={})):
        scenario = plain
    number = len(scenario.steps)
    while number > 0:
        number -= 1
        shorter = replace(
            scenario, steps=scenario.steps[:number] + scenario.steps[number + 1 :]
        )
        if fails(shorter):
            scenario, number = shorter, min(number + 1, len(shorter.steps))
    return scenario
