"""Whatever people, faults and restarts do to the calendar sync: nothing is lost, doubled, or shown to the wrong person.

The scenarios are made up (`calendar_scenario`). In the gate a fixed set of them is played; ``make soak-calendar`` looks
for new ones, and what that finds stays in ``test_calendar_stateful_findings.py``. Each kind of step can be switched:
``CALENDAR_KINDS="split,copy"``, ``CALENDAR_KINDS=all``; each check likewise by ``CALENDAR_CHECKS``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from calendar_checks import play
from calendar_scenario import Scenario, kinds_to_play, random_scenario, reduced
from calendar_world import CalendarWorld
from hasty_loop import hasty_runner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from servers import Stores

#: How many scenarios are played; ``make soak`` sets more.
SCENARIOS = int(os.environ.get("SOAK_SCENARIOS", "24"))


@pytest.fixture(scope="module")
def world(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, CalendarWorld]]:
    """One world for all scenarios, and the runner of its loop."""
    with hasty_runner() as runner:
        opened = CalendarWorld(stores, tmp_path_factory.mktemp("world"))
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


def kind_of(failure: Exception | None) -> str | None:
    """What it says without names and numbers: a shorter scenario has to fail for the same reason."""
    if failure is None:
        return None
    words = str(failure).partition("\n")[0].split()
    message = " ".join(word for word in words if word.islower())
    return f"{type(failure).__name__}: {message}"


def test_nothing_is_lost_doubled_or_shown_whatever_happens(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    runner, opened = world
    profile, kinds = settings.default, kinds_to_play()
    assert profile is not None

    def failure(scenario: Scenario) -> Exception | None:
        try:
            runner.run(play(opened, scenario))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            return error
        return None

    @settings(
        profile,
        deadline=None,
        max_examples=SCENARIOS,
        phases=[
            Phase.explicit,
            Phase.generate,
        ],  # numbers cannot be simplified, scenarios can
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def play_one(number: int) -> None:
        scenario = random_scenario(number, kinds)
        found = failure(scenario)
        if found is None:
            return
        kind = kind_of(found)
        shortest = reduced(scenario, lambda one: kind_of(failure(one)) == kind)
        raise AssertionError(f"{found}\nin {shortest}") from found

    play_one()
