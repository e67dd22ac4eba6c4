"""Stories of the whole firm as plain values: what people do on three systems, what goes wrong, and when work is done.

`random_story` makes one up from a number; `reduced` leaves out of a failing one what it does not need to fail. People
and surprises are those of `beteiligte_scenario` and `calendar_scenario`, drawn as the two older searches draw them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import beteiligte_scenario
import calendar_scenario
import hypothesis
from calendar_scenario import Configure
from firm_episodes import first_trouble, random_episode, short_episode
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
    Store,
    Work,
)
from firm_trials import is_trial, trial
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from test_beteiligte_simulation import drops, people
from test_hostile_simulation import browsing, surprises


@dataclass(frozen=True)
class Story:
    """When and with which settings it begins, what the systems are like, and what happens."""

    start: datetime
    configuration: Configure
    operations: tuple[Operation, ...]
    readings: Mapping[str, Any] = field(default_factory=dict)
    espocrm_version: str = "9.3"
    checks_versions: bool = False

    @property
    def office_steps(self) -> list[beteiligte_scenario.Step]:
        """What happens in EspoCRM and on Advoware's Beteiligte, whenever it does."""
        return [what.step for what in self._all() if isinstance(what, InOffice)]

    def _all(self) -> list[Operation]:
        meanwhile = [
            other.what
            for operation in self.operations
            if isinstance(operation, Work)
            for other in operation.meanwhile
        ]
        return [*self.operations, *meanwhile]

    @property
    def size(self) -> int:
        """How many things happen in it, deaths included; the deliveries that follow are not counted."""
        deaths = [o for o in self.operations if getattr(o, "death", None) is not None]
        return len(self._all()) + len(deaths)


# -- what systems do wrong ------------------------------------------------------------------------------------------

#: Faults that the two older searches do not know, and those of the Beteiligte that last longer than our patience.
MORE_TROUBLES: dict[str, dict[str, Any]] = {
    "late": {"latency_ms": 45_000},
    "hang": {"hang": True},
    "revoked": {"revoke_tokens": True},
    "html": {"text": "<html>Wartung</html>", "content_type": "text/html"},
    "no body": {"text": ""},
    "latin": {"charset": "latin-1"},
}
#: Faults of the requests that carry data, by name.
TROUBLES = {**beteiligte_scenario.TROUBLES, **MORE_TROUBLES}
SYSTEMS: tuple[beteiligte_scenario.Side, ...] = ("espocrm", "advoware")

_STARTS = (
    datetime(2026, 3, 26, 8, tzinfo=UTC),  # the clocks go forward on the 29th
    datetime(2026, 10, 22, 8, tzinfo=UTC),  # and back on the 25th
    datetime(2026, 12, 29, 22, 55, tzinfo=UTC),
    datetime(2028, 2, 27, 10, tzinfo=UTC),
)
#: From this number on every third story is a short one: two episodes, and nothing else.
ALL_LONG = 100
_POOL = 60
_PEOPLE = st.one_of(people, people, people, drops)


def random_story(seed: int) -> Story:
    """The story of that number. The same number gives the same story, as long as the generators are the same."""
    if is_trial(seed):
        return _trial_story(seed)
    return _Author(seed).story()


def _trial_story(seed: int) -> Story:
    """A trial, in a firm without surprises: nothing is anonymised or protected, and EspoCRM compares no versions."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    strategies: list[Any] = ["source_system_wins", "last_change_wins"]
    return Story(
        dice.choice(_STARTS),
        Configure(strategy=dice.choice(strategies)),
        tuple(trial(seed, dice)),
        calendar_scenario._readings(dice),
    )


def _drawn(strategy: st.SearchStrategy[Any], seed: int, count: int) -> list[Any]:
    """Examples of a strategy, the same ones for the same seed."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


@cache
def _pools(number: int) -> tuple[list[Any], list[Any], list[Any]]:
    """What people do, what they do in the browser, and how systems surprise.

    One pool serves many stories, because drawing takes time.
    """
    return (
        _drawn(_PEOPLE, number, 8 * _POOL),
        _drawn(browsing, number, 2 * _POOL),
        _drawn(surprises, number, 4 * _POOL),
    )


class _Author:
    """Makes up one story."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - repeatable
        self.is_short = seed >= ALL_LONG and seed % 3 == 0
        self.people, self.browsing, self.surprises = _pools(seed // 64)
        #: In most stories both systems show and store what they were given; the strict checks hold only there.
        self.has_surprises = self.dice.random() < 0.3
        self.has_browsing = self.has_surprises or self.dice.random() < 0.4

    def story(self) -> Story:
        """The story."""
        dice = self.dice
        operations: list[Operation] = [
            *first_trouble(dice),
            InOffice(beteiligte_scenario.Enter(dice.random() < 0.5)),
            Mail(),
            InCalendar(calendar_scenario._entry(dice)),
            Cron("calendar"),
            Work(9),
        ]
        if self.is_short:
            operations += [*short_episode(dice), *short_episode(dice)]
        else:
            for _ in range(dice.choice([2, 3, 4, 6, 9, 14])):
                operations += self._round()
        kinds = calendar_scenario.kinds_to_play()
        readings = calendar_scenario._readings(dice) if "readings" in kinds else {}
        return Story(
            dice.choice(_STARTS),
            calendar_scenario._configuration(dice),
            tuple(operations),
            readings,
            dice.choice(["8.4", "9.3"]),
            dice.random() < 0.5,
        )

    def _round(self) -> list[Operation]:
        dice = self.dice
        if dice.random() < 0.35:
            return random_episode(dice)
        deeds = [self._deed() for _ in range(dice.randint(1, 4))]
        troubles = [self._trouble() for _ in range(dice.choice([0, 1, 1, 2]))]
        moves = [self._move() for _ in range(dice.choice([1, 2, 3]))]
        first = [*deeds, *troubles]
        dice.shuffle(first)
        return [*first, *moves, self._work()]

    def _deed(self) -> InOffice | InCalendar:
        dice = self.dice
        if dice.random() < 0.6:
            others = self.has_browsing and dice.random() < 0.3
            return InOffice(dice.choice(self.browsing if others else self.people))
        if dice.random() < 0.75:
            return InCalendar(calendar_scenario._deed(dice))
        return InCalendar(calendar_scenario._unusual(dice, self._unusual_kinds()))

    def _unusual_kinds(self) -> tuple[str, ...]:
        kinds = calendar_scenario.kinds_to_play()
        if self.has_surprises:
            return kinds
        return tuple(kind for kind in kinds if not kind.startswith(_SYSTEM_PREFIXES))

    def _trouble(self) -> Operation:
        dice = self.dice
        kind = dice.random()
        if self.has_surprises and kind < 0.3:
            return InOffice(dice.choice(self.surprises))
        if kind < 0.5:
            return InCalendar(self._calendar_trouble())
        if kind < 0.8:
            return InOffice(self._office_trouble())
        return self._store()

    def _calendar_trouble(self) -> calendar_scenario.Step:
        dice = self.dice
        if dice.random() < 0.15:
            return calendar_scenario.Forget(
                dice.choice(["sync_tokens", "access_tokens"])
            )
        return calendar_scenario.Trouble(
            dice.choice(["advoware", "google"]),
            dice.choice(sorted(calendar_scenario.TROUBLES)),
            dice.choice(["", "POST", "POST|PATCH|PUT", "PATCH|PUT", "DELETE", "GET"]),
            skip=dice.choice([0, 0, 0, 1, 2, 5]),
            count=dice.choice([1, 1, 2, 9]),
        )

    def _office_trouble(self) -> beteiligte_scenario.Surprise:
        dice = self.dice
        system = dice.choice(SYSTEMS)
        rule = {
            **TROUBLES[dice.choice(sorted(TROUBLES))],
            "path": beteiligte_scenario.DATA_PATHS[system],
            "method": dice.choice([None, "GET", "PUT", "POST", "POST|PUT"]),
            "skip": dice.choice([0, 0, 1, 2, 3, 5]),
            "count": dice.choice([1, 1, 2, 9]),
        }
        return beteiligte_scenario.Surprise(system, rule)

    def _store(self) -> Store:
        kinds = ["flush", "flush", "terminate", "read_only", "disk_full", "well"]
        return Store(self.dice.choice(kinds))  # type: ignore[arg-type]

    def _move(self) -> Operation:
        dice, kind = self.dice, self.dice.random()
        worker = dice.randint(0, 1)
        if kind < 0.45:
            what = dice.choice(["send"] * 4 + ["twice", "newest first", "lose"])
            return Mail(what, worker, self._death(0.1))
        if kind < 0.6:
            return Cron("calendar", worker, self._death(0.1))
        if kind < 0.75:
            return Cron("beteiligte", worker, self._death(0.1))
        if kind < 0.9:
            return self._time()
        return self._store()

    def _time(self) -> Pass:
        dice = self.dice
        if dice.random() < 0.2:
            return Pass(0, dice.choice(["clock change", "new year"]))
        return Pass(dice.choice([1, 6, 20, 70, 26 * 60, 8 * 24 * 60, -2]))

    def _death(self, share: float) -> Death | None:
        dice = self.dice
        if dice.random() >= share:
            return None
        return Death(
            dice.randint(1, dice.choice([10, 40, 120])), dice.choice([0, 0, 1])
        )

    def _work(self) -> Work:
        dice = self.dice
        return Work(
            jobs=dice.choice([1, 2, 4, 9]),
            worker=dice.randint(0, 1),
            lanes=2 if dice.random() < 0.25 else 1,
            death=self._death(0.35),
            meanwhile=tuple(
                self._meanwhile() for _ in range(dice.choice([0, 0, 1, 1, 2]))
            ),
        )

    def _meanwhile(self) -> Meanwhile:
        dice, kind = self.dice, self.dice.random()
        what: InOffice | InCalendar | Misbehave | Pass | Store = self._deed()
        if kind < 0.2:
            what = self._store()
        elif kind < 0.3:
            what = Pass(dice.choice([1, 26 * 60]))
        return Meanwhile(dice.choice([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 22]), what)


_SYSTEM_PREFIXES = tuple(f"{system} " for system in calendar_scenario.SURPRISES)


# -- making it shorter ----------------------------------------------------------------------------------------------


def reduced(story: Story, fails: Callable[[Story], bool]) -> Story:
    """The story without what it does not need to fail: operations first, then what happens during them."""
    number = len(story.operations)
    while number > 0:
        number -= 1
        shorter = _without(story, number)
        if fails(shorter):
            story = shorter
    for number in range(len(story.operations)):
        for plain in _plainer(story.operations[number]):
            simpler = _with(story, number, plain)
            if fails(simpler):
                story = simpler
                break
    return story


def _without(story: Story, number: int) -> Story:
    kept = story.operations[:number] + story.operations[number + 1 :]
    return replace(story, operations=kept)


def _with(story: Story, number: int, operation: Operation) -> Story:
    changed = list(story.operations)
    changed[number] = operation
    return replace(story, operations=tuple(changed))


def _plainer(operation: Operation) -> list[Operation]:
    """The same operation with less around it, the plainest first."""
    if isinstance(operation, Work):
        alone = replace(operation, death=None, meanwhile=(), lanes=1)
        options = [
            alone,
            replace(operation, meanwhile=(), lanes=1),
            replace(operation, death=None, lanes=1),
            replace(operation, lanes=1),
        ]
        return [option for option in options if option != operation]
    if isinstance(operation, Mail | Cron) and operation.death is not None:
        return [replace(operation, death=None)]
    return []
