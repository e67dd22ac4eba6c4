"""The whole firm at once: whatever people, systems, stores and dying workers do, what is promised holds."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from firm_checks import play
from firm_loop import firm_runner
from firm_operations import Work
from firm_story import Story, random_story
from firm_world import Firm
from servers import Stores

#: The stories that the gate plays.
SEEDS = range(int(os.environ.get("SIMULATION_STORIES", "4")))
#: The story that is played twice.
REPLAYED = 5


@pytest.fixture(scope="module")
def firm(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, Firm]]:
    """One firm for all stories, and the runner of its loop."""
    with firm_runner(stores.redis.port) as runner:
        opened = Firm(stores, tmp_path_factory.mktemp("firm"))
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_promised_holds(firm: tuple[asyncio.Runner, Firm], seed: int) -> None:
    runner, opened = firm
    runner.run(play(opened, random_story(seed)))


def test_a_seed_gives_the_same_story_and_the_same_outcome(
    firm: tuple[asyncio.Runner, Firm],
) -> None:
    runner, opened = firm
    story = alone(random_story(REPLAYED))
    first, second = (runner.run(play(opened, story)) for _ in range(2))
    assert story == alone(random_story(REPLAYED))
    assert what_happened(first) == what_happened(second)


def what_happened(trace: list[str]) -> list[str]:
    """The trace without the numbers of requests: one that the machine was too slow for is sent once more."""
    return [re.sub(r", \d+ requests$", "", line) for line in trace]


def alone(story: Story) -> Story:
    """The story with one worker at work at a time: which of two is faster is up to the machine."""
    operations = [
        replace(operation, lanes=1) if isinstance(operation, Work) else operation
        for operation in story.operations
    ]
    return replace(story, operations=tuple(operations))
