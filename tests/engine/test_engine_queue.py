"""The queue: delivery, competition, retries, dead letters, order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from engine_harness import CallError, ScriptedWorker, Target, console, eventually, request, topic_stats

NewWorker = Callable[[Target], ScriptedWorker]
IDLE = {"waiting": 0, "active": 0, "delayed": 0, "dead": 0}


class Recorder:
    """A queue handler that notes what it gets and fails for the first ``failures`` executions."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.data: list[Any] = []
        self.times: list[float] = []

    async def __call__(self, data: Any) -> None:
        self.data.append(data)
        self.times.append(time.monotonic())
        if len(self.data) <= self.failures:
            raise CallError("invocation_failed", f"failure {len(self.data)}")

    async def wait(self, count: int, within: float = 10.0) -> list[Any]:
        """Wait for this many executions."""

        async def seen() -> list[Any]:
            return self.data

        return await eventually(seen, lambda data: len(data) >= count, within)


async def counts(target: Target, topic: str) -> dict[str, int]:
    """Return the numbers of jobs of a topic."""
    stats = await topic_stats(target, topic)
    return {key: stats.get(key, 0) for key in IDLE}


async def idle(target: Target, topic: str, **expected: int) -> None:
    """Wait until a topic has no jobs except the expected ones."""
    await eventually(lambda: counts(target, topic), lambda seen: seen == {**IDLE, **expected})


async def test_a_message_arrives_unchanged_and_leaves_nothing_behind(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    messages = [{"b": 1, "a": {"\0": "ü😀\ud83d"}}, None, 0, "text", [1.0, -0.0], {}]
    for message in messages:
        await worker.enqueue("t", message)
        await handler.wait(messages.index(message) + 1)
    assert repr(handler.data) == repr(messages)  # also the order of keys and the sign of zero
    await idle(target, "t")


async def test_messages_wait_for_a_subscriber(target: Target, new_worker: NewWorker) -> None:
    sender = await new_worker(target).start()
    for n in range(20):
        await sender.enqueue("t", n)
    assert await counts(target, "t") == {**IDLE, "waiting": 20}
    handler = Recorder()
    await new_worker(target).queue("t", handler).start()
    assert sorted(await handler.wait(20)) == list(range(20))


async def test_subscribers_of_a_topic_compete_also_under_the_same_function_name(
    target: Target, new_worker: NewWorker
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
    assert len(first.data) == len(second.data) == 10


async def test_a_failing_message_is_tried_three_times_with_growing_pauses_and_then_kept_as_dead_letter(
    target: Target, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=3)
    defaults = {"type": "standard", "maxRetries": 3, "visibilityTimeout": 30, "delaySeconds": 0}
    worker = await new_worker(target).queue("t", handler, queue_config=defaults).start()
    await worker.enqueue("t", {"entity_id": "e"})
    await handler.wait(3)
    await idle(target, "t", dead=1)
    pauses = [later - earlier for earlier, later in zip(handler.times, handler.times[1:], strict=False)]
    assert pauses[0] >= 1.0
    assert pauses[1] >= 2.0
    [letter] = (await worker.call("engine::queue::dead_letters", {"topic": "t"}))["dead_letters"]
    assert (letter["topic"], letter["data"], letter["executions"]) == ("t", {"entity_id": "e"}, 3)
    assert letter["error"].startswith("invocation_failed: ")
    assert "failure 3" in letter["error"]
    assert letter["failed_at"] > letter["enqueued_at"]
    assert (await console(target, "GET", "queues/dead-letters?topic=other"))["dead_letters"] == []


@pytest.mark.parametrize("selection", ["topic", "job_id", "all"])
async def test_a_dead_letter_can_be_redriven_with_all_its_attempts(
    target: Target, new_worker: NewWorker, selection: str
) -> None:
    handler = Recorder(failures=3)
    config = {"maxRetries": 1, "backoffDelayMs": 10}
    worker = await new_worker(target).queue("t", handler, queue_config=config).start()
    await worker.enqueue("t", 1)
    await idle(target, "t", dead=1)
    [letter] = (await console(target, "GET", "queues/dead-letters"))["dead_letters"]
    body = {"topic": {"topic": "t"}, "job_id": {"job_id": letter["job_id"]}, "all": {}}[selection]
    assert await console(target, "POST", "queues/redrive", {"topic": "other"}) == {"redriven": 0}
    assert await console(target, "POST", "queues/redrive", body) == {"redriven": 1}
    await handler.wait(4)
    await idle(target, "t")
    assert len(handler.data) == 4


@pytest.mark.parametrize(("retries", "executions"), [(0, 1), (1, 2), (5, 6)])
async def test_retry_settings_of_a_subscription_are_honoured(
    target: Target, new_worker: NewWorker, retries: int, executions: int
) -> None:
    handler = Recorder(failures=100)
    config = {"maxRetries": retries, "backoffDelayMs": 1}
    worker = await new_worker(target).queue("t", handler, queue_config=config).start()
    await worker.enqueue("t", 1)
    await idle(target, "t", dead=1)
    assert len(handler.data) == executions


@pytest.mark.parametrize("concurrency", [None, 3])
async def test_no_more_jobs_run_at_once_than_the_subscription_allows(
    target: Target, new_worker: NewWorker, concurrency: int | None
) -> None:
    gate = asyncio.Event()
    running = 0

    async def hold(_data: Any) -> None:
        nonlocal running
        running += 1
        await gate.wait()

    config = {} if concurrency is None else {"queue_config": {"concurrency": concurrency}}
    worker = await new_worker(target).queue("t", hold, **config).start()
    for n in range(15):
        await worker.enqueue("t", n)
    limit = concurrency or 10

    async def now_running() -> int:
        return running

    await eventually(now_running, lambda count: count == limit)
    assert await counts(target, "t") == {**IDLE, "active": limit, "waiting": 15 - limit}
    gate.set()
    await idle(target, "t")
    assert running == 15


async def test_a_fifo_topic_keeps_its_order_also_through_retries(target: Target, new_worker: NewWorker) -> None:
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
    config = {"type": "fifo", "backoffDelayMs": 30, "concurrency": 5}
    await new_worker(target).queue("t", step, queue_config=config).start()
    await idle(target, "t")
    assert order == [0, 1, 2, 2, 2, 3, 4, 5]


async def test_a_lost_worker_returns_its_job_at_once_and_uses_up_no_attempt(
    target: Target, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=2)
    sender = await new_worker(target).start()
    await sender.enqueue("t", 1)
    for _ in range(4):
        started = asyncio.Event()

        async def hang(_data: Any, started: asyncio.Event = started) -> None:
            started.set()
            await asyncio.Event().wait()

        doomed = await new_worker(target).queue("t", hang).start()
        await asyncio.wait_for(started.wait(), 5)
        await doomed.crash()
    config = {"maxRetries": 2, "backoffDelayMs": 1}
    await new_worker(target).queue("t", handler, queue_config=config).start()
    await handler.wait(3)
    await idle(target, "t")


async def test_a_job_that_loses_every_worker_becomes_a_dead_letter(
    target: Target, new_worker: NewWorker, database_url: str
) -> None:
    sender = await new_worker(target).start()
    await sender.enqueue("t", 1)
    with psycopg.connect(database_url) as connection:
        note = (
            "INSERT INTO engine.job_notes (job_id, forgiven, interruptions) SELECT id, 19, 19 FROM procrastinate_jobs"
        )
        connection.execute(note)

    async def crash(_data: Any) -> None:
        worker.socket.transport.abort()
        await asyncio.Event().wait()

    worker = new_worker(target)
    await worker.queue("t", crash).start()
    await idle(target, "t", dead=1)
    [letter] = (await console(target, "GET", "queues/dead-letters"))["dead_letters"]
    assert letter["error"].startswith("worker_lost: ")


async def test_a_condition_drops_or_fails_a_job(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder()

    async def condition(data: Any) -> bool:
        if data == "error":
            raise CallError("invocation_failed", "condition")
        return bool(data)

    worker = new_worker(target).on("condition", condition)
    config = {"maxRetries": 0}
    await worker.queue("t", handler, queue_config=config, _condition_path="condition").start()
    for data in (False, True, "error"):
        await worker.enqueue("t", data)
    await idle(target, "t", dead=1)
    assert handler.data == [True]


async def test_unsubscribing_leaves_messages_waiting(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder()
    worker = new_worker(target).on("f", handler)
    await worker.trigger("queue", "f", {"topic": "t"}, "subscription").start()
    await worker.enqueue("t", 1)
    await handler.wait(1)
    await worker.send({"type": "unregistertrigger", "id": "subscription"})
    await worker.enqueue("t", 2)
    assert (await counts(target, "t"))["waiting"] == 1
    await new_worker(target).queue("t", handler).start()
    assert await handler.wait(2) == [1, 2]


async def test_impossible_topics_and_payloads_are_refused(target: Target, new_worker: NewWorker) -> None:
    worker = await new_worker(target).start()
    for topic, data, code in (
        ("", 1, "topic_not_set"),
        ("x" * 129, 1, "invalid_topic"),
        ("a\0b", 1, "invalid_topic"),
        ("t", "x" * 1_000_000, "payload_too_large"),
    ):
        with pytest.raises(CallError) as failure:
            await worker.enqueue(topic, data)
        assert failure.value.code == code
    handler = Recorder()
    long_topic = "ein.sehr.langes.thema." * 5
    await new_worker(target).queue(long_topic, handler).start()
    await worker.enqueue(long_topic, "x" * 999_998)
    assert len((await handler.wait(1))[0]) == 999_998
    assert (await request(target, "GET", "/_console/queues")).json["topics"][0]["topic"] == long_topic


async def test_a_hundred_thousand_waiting_messages_neither_fill_memory_nor_slow_other_topics(
    target: Target, new_worker: NewWorker, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            """INSERT INTO procrastinate_jobs (queue_name, task_name, args)
               SELECT 'big', 'big', jsonb_build_object('data', n::text) FROM generate_series(1, 100000) n"""
        )
    gate = asyncio.Event()
    handler = Recorder()

    async def held(data: Any) -> None:
        await handler(data)
        await gate.wait()

    other = Recorder()
    worker = await new_worker(target).queue("big", held).queue("other", other).start()
    assert await handler.wait(10) == list(range(1, 11))
    for n in range(50):
        await worker.enqueue("other", n)
    await other.wait(50)
    assert len(handler.data) == 10
    gate.set()
    assert sorted(await handler.wait(100))[:100] == list(range(1, 101))


async def test_a_job_that_something_else_put_into_the_table_unreadably_is_a_dead_letter(
    target: Target, new_worker: NewWorker, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        for args in ("{}", '{"data": "{broken"}', '{"data": 1}', '{"data": "1"}'):
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('t', 't', %s)", [args]
            )
    handler = Recorder()
    await new_worker(target).queue("t", handler).start()
    assert await handler.wait(1) == [1]
    await idle(target, "t", dead=3)
    letters = (await console(target, "GET", "queues/dead-letters"))["dead_letters"]
    assert {letter["error"].partition(":")[0] for letter in letters} == {"unreadable"}


async def test_the_trace_of_the_sender_continues_in_the_handler(target: Target, new_worker: NewWorker) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    parent = f"00-{trace_id}-b7ad6b7169203331-01"
    await worker.call("enqueue", {"topic": "t", "data": 1}, traceparent=parent)
    await handler.wait(1)

    async def spans() -> Any:
        return (await console(target, "POST", "otel/traces", {"trace_id": trace_id}))["spans"]

    assert [span["name"] for span in await eventually(spans, bool)] == ["queue t"]
