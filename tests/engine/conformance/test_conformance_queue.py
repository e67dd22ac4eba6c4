"""The queue on every engine: delivery, competition, retries, dead letters, order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_harness import CallError, NewWorker, Recorder, eventually
from engines_under_test import QUEUE_CONFIG, EngineUnderTest


async def done(target: EngineUnderTest, topic: str, dead: int = 0) -> None:
    """Wait until a topic has no jobs except so many dead letters."""

    async def left() -> tuple[int, int]:
        return await target.pending(topic), len(await target.dead_letters(topic))

    await eventually(left, lambda observed: observed == (0, dead))


async def test_a_message_arrives_unchanged_and_leaves_nothing_behind(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    messages = [{"a": {"\0": "ü😀"}, "b": 1}, None, 0, "text", [1.5, True], {}]
    for count, message in enumerate(messages, 1):
        await worker.enqueue("t", message)
        await handler.wait(count)
    assert repr(handler.data) == repr(messages)
    await done(target, "t")


async def test_messages_wait_for_a_subscriber(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    sender = await new_worker(target).start()
    for n in range(20):
        await sender.enqueue("t", n)
    assert await target.pending("t") == 20
    handler = Recorder()
    await new_worker(target).queue("t", handler).start()
    assert sorted(await handler.wait(20)) == list(range(20))


async def test_each_message_goes_to_one_of_the_competing_subscribers(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    first, second = Recorder(), Recorder()
    worker = await new_worker(target).queue("t", first, "one").start()
    await new_worker(target).queue("t", second, "two").start()
    for n in range(40):
        await worker.enqueue("t", n)

    async def total() -> int:
        return len(first.data) + len(second.data)

    await eventually(total, lambda count: count >= 40)
    assert sorted(first.data + second.data) == list(range(40))
    assert first.data
    assert second.data


async def test_two_workers_with_the_same_steps(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    first, second = Recorder(), Recorder()
    worker = await new_worker(target).queue("t", first).start()
    await new_worker(target).queue("t", second).start()
    for n in range(20):
        await worker.enqueue("t", n)

    async def total() -> int:
        return len(first.data) + len(second.data)

    await eventually(total, lambda count: count >= 20)
    assert sorted(first.data + second.data) == list(range(20))
    shares = (len(first.data), len(second.data))
    assert shares == ((0, 20) if target.differs("last_worker_takes_all") else (10, 10))


async def test_a_failing_message_is_tried_three_times_with_growing_pauses_and_then_kept(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=3)
    worker = (
        await new_worker(target).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    )
    await worker.enqueue("t", {"entity_id": "e"})
    await handler.wait(3)
    await done(target, "t", dead=1)
    pauses = [
        later - earlier
        for earlier, later in zip(handler.times, handler.times[1:], strict=False)
    ]
    assert pauses[0] >= 0.05
    assert pauses[1] >= 0.1
    [letter] = await target.dead_letters("t")
    assert (letter.data, len(handler.data)) == ({"entity_id": "e"}, 3)
    assert "failure 3" in letter.error


async def test_a_dead_letter_can_be_redriven_with_all_its_attempts(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=5)
    worker = (
        await new_worker(target).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    )
    await worker.enqueue("t", 1)
    await done(target, "t", dead=1)
    assert await target.redrive("other") == 0
    assert await target.redrive("t") == 1
    assert await handler.wait(6) == [1] * 6
    await done(target, "t")


@pytest.mark.parametrize(("retries", "executions"), [(0, 1), (1, 2), (5, 6)])
async def test_retry_settings_of_a_subscription(
    target: EngineUnderTest, new_worker: NewWorker, retries: int, executions: int
) -> None:
    handler = Recorder(failures=100)
    config = {"maxRetries": retries, "backoffDelayMs": 1}
    worker = await new_worker(target).queue("t", handler, queue_config=config).start()
    await worker.enqueue("t", 1)
    await done(target, "t", dead=1)
    assert len(handler.data) == (
        3 if target.differs("retry_settings_ignored") else executions
    )


@pytest.mark.parametrize("concurrency", [None, 3])
async def test_no_more_jobs_run_at_once_than_the_subscription_allows(
    target: EngineUnderTest, new_worker: NewWorker, concurrency: int | None
) -> None:
    gate = asyncio.Event()
    running: list[Any] = []

    async def hold(data: Any) -> None:
        running.append(data)
        await gate.wait()

    config = {} if concurrency is None else {"concurrency": concurrency}
    worker = await new_worker(target).queue("t", hold, queue_config=config).start()
    for n in range(15):
        await worker.enqueue("t", n)
    limit = concurrency or 10

    async def now_running() -> int:
        return len(running)

    await eventually(now_running, lambda count: count == limit)
    await asyncio.sleep(
        0.25
    )  # that nothing more starts can only be observed by waiting: two polls of the real engine
    assert len(running) == limit
    gate.set()
    await done(target, "t")
    assert sorted(running) == list(range(15))


async def test_a_fifo_topic_keeps_its_order_also_through_retries(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    order: list[int] = []
    running = 0

    async def step(data: int) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.01)
        running -= 1
        order.append(data)
        if data == 2 and order.count(2) < 3:
            raise CallError("invocation_failed")

    sender = await new_worker(target).start()
    for n in range(6):
        await sender.enqueue("t", n)
    config = {**QUEUE_CONFIG, "type": "fifo", "concurrency": 1}
    await new_worker(target).queue("t", step, queue_config=config).start()
    await done(target, "t")
    assert order == [0, 1, 2, 2, 2, 3, 4, 5]


async def test_a_job_whose_worker_is_lost_is_done_by_the_next(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    started = asyncio.Event()

    async def hang(_data: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    doomed = (
        await new_worker(target).queue("t", hang, queue_config=QUEUE_CONFIG).start()
    )
    await doomed.enqueue("t", 1)
    await asyncio.wait_for(started.wait(), 60)
    await doomed.crash()
    await new_worker(target).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    assert await handler.wait(1) == [1]
    await done(target, "t")


async def test_a_job_that_loses_four_workers(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    sender = await new_worker(target).start()
    await sender.enqueue("t", 1)
    for _ in range(4):
        started = asyncio.Event()

        async def hang(_data: Any, started: asyncio.Event = started) -> None:
            started.set()
            await asyncio.Event().wait()

        doomed = (
            await new_worker(target).queue("t", hang, queue_config=QUEUE_CONFIG).start()
        )
        waiting = asyncio.create_task(started.wait())
        if target.differs("lost_worker_uses_an_attempt"):
            dead = asyncio.create_task(done(target, "t", dead=1))
            await asyncio.wait(
                {waiting, dead}, timeout=10, return_when=asyncio.FIRST_COMPLETED
            )
            if dead.done():
                waiting.cancel()
                return
            dead.cancel()
        await asyncio.wait_for(waiting, 60)
        await doomed.crash()
    assert not target.differs("lost_worker_uses_an_attempt")
    await new_worker(target).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    assert await handler.wait(1) == [1]
    await done(target, "t")


async def test_a_condition_drops_or_fails_a_job(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()

    async def condition(data: Any) -> bool:
        if data == "error":
            raise CallError("invocation_failed", "condition")
        return bool(data)

    worker = new_worker(target).on("condition", condition)
    await worker.queue(
        "t", handler, queue_config=QUEUE_CONFIG, _condition_path="condition"
    ).start()
    ignored = target.differs("conditions_ignored")
    for data in (False, True, "error"):
        await worker.enqueue("t", data)
    await done(target, "t", dead=0 if ignored else 1)
    assert sorted(map(repr, handler.data)) == (
        ["'error'", "False", "True"] if ignored else ["True"]
    )


async def test_unsubscribing_leaves_messages_waiting(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = new_worker(target).on("f", handler)
    await worker.trigger("queue", "f", {"topic": "t"}, "subscription").start()
    await worker.enqueue("t", 1)
    await handler.wait(1)
    await worker.send(
        {"type": "unregistertrigger", "id": "subscription", "trigger_type": "queue"}
    )
    await worker.enqueue("t", 2)
    assert await target.pending("t") == 1
    await new_worker(target).queue("t", handler).start()
    assert await handler.wait(2) == [1, 2]


async def test_an_empty_topic_is_refused_and_a_long_one_is_not(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    long_topic = "ein.sehr.langes.thema." * 5
    worker = await new_worker(target).queue(long_topic, handler).start()
    with pytest.raises(CallError) as failure:
        await worker.enqueue("", 1)
    assert failure.value.code == "topic_not_set"
    await worker.enqueue(long_topic, "x" * 999_998)
    assert len((await handler.wait(1))[0]) == 999_998


async def test_a_payload_above_the_limit(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = (
        await new_worker(target)
        .queue("t", Recorder(), queue_config=QUEUE_CONFIG)
        .start()
    )
    if target.differs("no_size_limit"):
        await worker.enqueue("t", "x" * 2**20)
        await asyncio.wait_for(worker.closed.wait(), 60)
        return
    with pytest.raises(CallError) as failure:
        await worker.enqueue("t", "x" * 1_000_000)
    assert failure.value.code == "payload_too_large"


async def test_a_payload_that_is_no_unicode(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    call = {
        "type": "invokefunction",
        "function_id": "enqueue",
        "data": {"topic": "t", "data": "\ud83d"},
    }
    await worker.send(call)
    await worker.enqueue("t", "next")
    expected = (
        ["next"] if target.differs("lone_surrogates_dropped") else ["\ud83d", "next"]
    )
    assert sorted(await handler.wait(len(expected)), key=repr) == sorted(
        expected, key=repr
    )
