"""Refused callers wait: counted over all workers, also without Redis, within bounds, and never the admitted ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from waiting import until

from config import Settings
from sandbox.espocrm.app import EspoCRMTwin
from services.api import access
from services.api.access import admit_espocrm, admit_tool
from services.api.errors import (
    AccessDenied,
    TooManyAttempts,
    answer_headers,
    error_answer,
)
from services.core.resources import Resources

KEY = "0123456789abcdef01234567"
#: The seconds for which a block of `noting` wants to sleep.
PAUSES: ContextVar[list[float] | None] = ContextVar("PAUSES", default=None)


@dataclass
class Request:
    """What the engine hands over."""

    headers: dict[str, str] = field(default_factory=dict)
    query_params: dict[str, Any] | None = None
    body: Any = None


@pytest.fixture
async def workers(
    make_settings: Callable[..., Settings],
) -> AsyncIterator[list[Resources]]:
    """Two workers behind one reverse proxy."""
    settings = make_settings(BITBYLAW_API_KEYS=KEY, ESPOCRM_WEBHOOK_TOKEN=KEY)
    async with Resources(settings) as first, Resources(settings) as second:
        await first.redis.flushall()
        yield [first, second]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The pauses in `noting` are over as soon as this is set, as it is at first; others last as long as ever."""
    sleep, may_end = asyncio.sleep, asyncio.Event()
    may_end.set()

    async def wait(seconds: float, *result: Any) -> Any:
        noted = PAUSES.get()
        if noted is None:
            return await sleep(seconds, *result)
        noted.append(seconds)
        return await may_end.wait()

    monkeypatch.setattr(asyncio, "sleep", wait)
    monkeypatch.setattr(access, "REDIS_SECONDS", 60.0)  # it is asked, however slow
    return may_end


@contextmanager
def noting() -> Iterator[list[float]]:
    """The seconds for which the block wants to sleep: how long it takes depends on the machine."""
    noted: list[float] = []
    token = PAUSES.set(noted)
    yield noted
    PAUSES.reset(token)


async def refused(worker: Resources, sender: str = "203.0.113.1") -> float:
    """For how many seconds a refusal is kept back."""
    with noting() as seconds, pytest.raises(AccessDenied):
        await admit_tool(sent_by(sender), worker, None)
    return sum(seconds)


async def test_a_sender_is_counted_over_all_workers(workers: list[Resources]) -> None:
    for number in range(access.FREE_ATTEMPTS):
        assert await refused(workers[number % 2]) < access.STEP_SECONDS

    assert await refused(workers[0]) >= access.STEP_SECONDS
    assert await refused(workers[1]) >= 2 * access.STEP_SECONDS
    assert await refused(workers[1], "203.0.113.2") < access.STEP_SECONDS


async def test_without_redis_each_worker_counts_for_itself(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(
        BITBYLAW_API_KEYS=KEY, REDIS_HOST="127.0.0.1", REDIS_PORT="1"
    )
    async with Resources(settings) as worker:
        for _ in range(access.FREE_ATTEMPTS):
            assert await refused(worker) < access.STEP_SECONDS
        assert await refused(worker) >= access.STEP_SECONDS


async def test_the_right_key_is_never_slowed_down(
    workers: list[Resources], pauses: asyncio.Event
) -> None:
    pauses.clear()
    guesses = [asyncio.create_task(refused(workers[0])) for _ in range(50)]
    with noting() as seconds:
        for _ in range(200):
            await admit_tool(
                Request({"x-forwarded-for": "203.0.113.1", "x-api-key": KEY}),
                workers[0],
                None,
            )
            await admit_espocrm(Request(query_params={"token": KEY}), workers[0], None)

    assert seconds == []
    pauses.set()
    assert max(await asyncio.gather(*guesses)) == access.LONGEST_WAIT_SECONDS


async def test_only_what_the_reverse_proxy_has_observed_counts_as_the_sender(
    workers: list[Resources],
) -> None:
    for number in range(access.FREE_ATTEMPTS):
        await refused(workers[0], f"10.0.0.{number}, 203.0.113.1")

    assert await refused(workers[0], "10.0.0.200, 203.0.113.1") >= access.STEP_SECONDS


async def test_no_number_of_senders_fills_the_memory_or_redis(
    workers: list[Resources],
) -> None:
    await asyncio.gather(
        *(
            refused(workers[0], f"10.0.{number // 250}.{number % 250}")
            for number in range(1000)
        )
    )

    assert len(workers[0].shared(access._Gate).counts) <= access.GROUPS
    keys = await workers[0].redis.keys("access:*")
    assert len(keys) <= access.GROUPS
    for key in keys:
        assert 0 < await workers[0].redis.ttl(key) <= access.COUNT_SECONDS


async def test_no_number_of_guesses_takes_all_places_of_the_engine(
    workers: list[Resources], pauses: asyncio.Event
) -> None:
    for _ in range(access.FREE_ATTEMPTS):
        await refused(workers[0])

    pauses.clear()
    guesses = [
        asyncio.create_task(refused(workers[0])) for _ in range(2 * access.MAX_WAITING)
    ]
    gate = workers[0].shared(access._Gate)
    done = access.MAX_WAITING
    await until(lambda: sum(guess.done() for guess in guesses) == done)

    assert gate.waiting == access.MAX_WAITING
    pauses.set()
    seconds = await asyncio.gather(*guesses)
    assert seconds.count(0) == done
    assert gate.waiting == 0


async def test_after_many_wrong_keys_a_tool_gets_429_and_the_right_key_is_taken(
    workers: list[Resources], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LONGEST_WAIT_SECONDS", 0.0)
    for number in range(1, access.REFUSED_FROM + 5):
        with pytest.raises(AccessDenied) as caught:
            await admit_tool(sent_by("203.0.113.1"), workers[number % 2], None)
        is_429 = isinstance(caught.value, TooManyAttempts)
        assert is_429 is (number >= access.REFUSED_FROM)

    assert error_answer(caught.value)[0] == 429
    assert answer_headers(caught.value) == {"Retry-After": "60"}
    right = Request({"x-forwarded-for": "203.0.113.1", "x-api-key": KEY})
    assert (await admit_tool(right, workers[0], None)).name == "unnamed-1"
    with pytest.raises(AccessDenied) as other:
        await admit_tool(sent_by("203.0.113.2"), workers[0], None)
    assert not isinstance(other.value, TooManyAttempts)


async def test_many_senders_together_get_429_and_espocrm_never(
    workers: list[Resources], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(access, "ALL_REFUSED_FROM", 100)
    for number in range(100):
        with pytest.raises(AccessDenied) as caught:
            await admit_tool(sent_by(f"10.0.0.{number}"), workers[0], None)
    assert isinstance(caught.value, TooManyAttempts)
    for number in range(100):
        with pytest.raises(AccessDenied) as caught:
            await admit_espocrm(sent_by(f"10.0.1.{number}"), workers[0], None)
        # With 429 it would drop its events, with 401 it sends them again.
        assert error_answer(caught.value)[0] == 401
    await admit_espocrm(Request(query_params={"token": KEY}), workers[0], None)


def sent_by(sender: str) -> Request:
    """A request with a wrong key."""
    return Request({"x-forwarded-for": sender, "x-api-key": "wrong"})


async def test_without_keys_the_twins_must_say_that_they_are_twins(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = make_settings()
    monkeypatch.setattr(EspoCRMTwin, "name", "something else")
    async with Resources(settings) as worker:
        for _ in range(2):
            with pytest.raises(
                AccessDenied, match="does not say that it is a twin of EspoCRM"
            ):
                await admit_tool(Request(), worker, None)
            with pytest.raises(
                AccessDenied, match="does not say that it is a twin of EspoCRM"
            ):
                await admit_espocrm(Request(), worker, None)
        monkeypatch.undo()
        await admit_tool(Request(), worker, None)
        await admit_espocrm(Request(body=[{"id": "a"}]), worker, None)
