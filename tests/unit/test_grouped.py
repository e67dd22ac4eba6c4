"""The embedded queue's group commit: who waits for whom, and who fails with whom."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from local_engine.errors import StorageUnavailableError
from local_engine.queues.grouped import LARGEST_GROUP, Grouped


class Store:
    """Keeps each group that is written, once the test lets it."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = asyncio.Event()
        self.is_away = False

    async def write(self, items: list[int]) -> list[int]:
        await self.open.wait()
        if self.is_away:
            raise StorageUnavailableError
        if -1 in items:
            raise psycopg.DataError
        self.groups.append(items)
        return [10 * item for item in items]


async def test_what_comes_during_a_write_is_written_together() -> None:
    store = Store()
    grouped = Grouped(store.write)
    calls = [asyncio.create_task(grouped(item)) for item in range(1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calls += [asyncio.create_task(grouped(item)) for item in range(1, 4)]
    await asyncio.sleep(0)
    store.open.set()

    assert await asyncio.gather(*calls) == [0, 10, 20, 30]
    assert store.groups == [[0], [1, 2, 3]]


async def test_a_group_has_an_end() -> None:
    store = Store()
    grouped = Grouped(store.write)
    store.open.set()

    await asyncio.gather(*(grouped(item) for item in range(2 * LARGEST_GROUP + 1)))

    assert [len(group) for group in store.groups] == [LARGEST_GROUP, LARGEST_GROUP, 1]


async def test_what_cannot_be_stored_fails_alone() -> None:
    store = Store()
    grouped = Grouped(store.write)
    store.open.set()
    items = (1, -1, 2)

    results = await asyncio.gather(
        *(grouped(item) for item in items), return_exceptions=True
    )

    assert (results[0], results[2]) == (10, 20)
    assert isinstance(results[1], psycopg.DataError)


async def test_all_are_notified_of_a_store_that_is_away_and_it_goes_on_afterwards() -> (
    None
):
    store = Store()
    grouped = Grouped(store.write)
    store.open.set()
    store.is_away = True

    results = await asyncio.gather(grouped(1), grouped(2), return_exceptions=True)

    assert [type(result) for result in results] == [StorageUnavailableError] * 2
    store.is_away = False
    assert await grouped(3) == 30


async def test_a_caller_that_has_gone_harms_no_one() -> None:
    store = Store()
    grouped = Grouped(store.write)
    gone, stays = (asyncio.create_task(grouped(item)) for item in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    store.open.set()

    assert await stays == 20
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_no_one_waits_for_ever_for_a_write_that_fails_as_no_one_has_foreseen() -> (
    None
):
    groups: list[list[int]] = []

    async def write(items: list[int]) -> list[int]:
        groups.append(items)
        if len(groups) == 1:
            raise RuntimeError("as no one has foreseen")
        return items

    grouped = Grouped(write)
    async with asyncio.timeout(60):
        results = await asyncio.gather(grouped(1), grouped(2), return_exceptions=True)
        assert [type(result) for result in results] == [RuntimeError] * 2
        assert await grouped(3) == 3


async def test_no_one_waits_for_ever_for_a_write_that_answers_too_little() -> None:
    async def write(items: list[int]) -> list[int]:
        return items[:1]

    grouped = Grouped(write)
    async with asyncio.timeout(60):
        results = await asyncio.gather(
            grouped(1), grouped(2), grouped(3), return_exceptions=True
        )
    assert [type(result) for result in results] == [int, ValueError, ValueError]


async def test_a_writer_that_is_ended_ends_those_who_wait_for_it() -> None:
    store = Store()
    grouped = Grouped(store.write)
    waiting = asyncio.create_task(grouped(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert grouped._writer is not None
    grouped._writer.cancel()

    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await waiting
