"""Scenarios that once broke the calendar sync (`test_calendar_stateful` has found them), each reduced to its core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from calendar_checks import play
from calendar_scenario import Configure, EditEvent, EditTermin, EnterEvent, Scenario, Step, Sync, SyncAll, When
from calendar_world import CalendarWorld, Servers
from hasty_loop import hasty_runner

WRITING = Configure()
LAST_CHANGE = Configure(strategy="last_change_wins")


@pytest.fixture(scope="module")
def world(stores: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, CalendarWorld]]:
    """One world for all scenarios, and the runner of its loop."""
    with hasty_runner() as runner:
        opened = CalendarWorld(stores, tmp_path_factory.mktemp("world"))
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


def run(world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure, *steps: Step) -> None:
    """Play the steps and check everything."""
    runner, opened = world
    runner.run(play(opened, Scenario(datetime(2026, 3, 2, 8, tzinfo=UTC), configuration, steps)))


@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_a_termin_that_is_edited_right_after_its_creation_is_copied(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    edit = EditTermin(0, "move", When(4))
    run(world, configuration, EnterEvent("SB", When(3)), Sync("SB", at=4, meanwhile=edit))


@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_a_termin_that_is_edited_right_after_the_sync_has_changed_it_is_copied(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterEvent("SB", When(3)), SyncAll()
    edit = EditTermin(0, "text", When(1))
    run(world, configuration, *entered, EditEvent("SB", 0, "move", When(4)), Sync("SB", at=5, meanwhile=edit))
