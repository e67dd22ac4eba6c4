"""The queue of the embedded engine: what it does better than the real one, and its table and console.

The behaviour that it shares with the real engine is in conformance/test_conformance_queue.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from engine_harness import (
    CallError,
    EngineProcess,
    NewWorker,
    Recorder,
    Target,
    console,
    eventually,
    request,
    topic_stats,
)

NewEngine = Callable[..., Awaitable[EngineProcess]]
IDLE = {"waiting": 0, "active": 0, "delayed": 0, "dead": 0}


async def counts(target: Target, topic: str) -> dict[str, int]:
    """Return the numbers of jobs of a topic."""
    stats = await topic_stats(target, topic)
    return {key: stats.get(key, 0) for key in IDLE}


async def idle(target: Target, topic: str, **expected: int) -> None:
    """Wait until a topic has no jobs except the expected ones."""
    await eventually(
        lambda: counts(target, topic), lambda observed: observed == {**IDLE, **expected}
    )


async def test_a_failing_message_is_tried_three_times_with_growing_pauses_and_then_kept_as_dead_letter(
    target: Target, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=3)
    defaults = {
        "type": "standard",
        "maxRetries": 3,
        "visibilityTimeout": 30,
        "delaySeconds": 0,
    }
    worker = await new_worker(target).queue("t", handler, queue_config=defaults).start()
    await worker.enqueue("t", {"entity_id": "e"})
    await handler.wait(3)
    await idle(target, "t", dead=1)
    pauses = [
        later - earlier
        for earlier, later in zip(handler.times, handler.times[1:], strict=False)
    ]
    assert pauses[0] >= 1.0
    assert pauses[1] >= 2.0
    [letter] = (await worker.call("engine::queue::dead_letters", {"topic": "t"}))[
        "dead_letters"
    ]
    assert (letter["topic"], letter["data"], letter["executions"]) == (
        "t",
        {"entity_id": "e"},
        3,
    )
    assert letter["error"].startswith("invocation_failed: ")
    assert "failure 3" in letter["error"]
    assert letter["failed_at"] > letter["enqueued_at"]
    assert (await console(target, "GET", "queues/dead-letters?topic=other"))[
        "dead_letters"
    ] == []


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
    body = {"topic": {"topic": "t"}, "job_id": {"job_id": letter["job_id"]}, "all": {}}[
        selection
    ]
    assert await console(target, "POST", "queues/redrive", {"topic": "other"}) == {
        "redriven": 0
    }
    assert await console(target, "POST", "queues/redrive", body) == {"redriven": 1}
    await handler.wait(4)
    await idle(target, "t")
    assert len(handler.data) == 4


async def test_impossible_topics_and_payloads_are_refused(
    target: Target, new_worker: NewWorker
) -> None:
    worker = await new_worker(target).start()
    for topic, data, code in (
        ("x" * 129, 1, "invalid_topic"),
        ("a\0b", 1, "invalid_topic"),
        ("t", "x" * 1_000_000, "payload_too_large"),
    ):
        with pytest.raises(CallError) as failure:
            await worker.enqueue(topic, data)
        assert failure.value.code == code
    long_topic = "ein.sehr.langes.thema." * 5
    await worker.enqueue(long_topic, 1)
    assert (await request(target, "GET", "/_console/queues")).json["topics"][0][
        "topic"
    ] == long_topic


async def test_keys_keep_their_order_and_zero_its_sign(
    target: Target, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    message = {"b": -0.0, "a": {"\0": "\ud83d"}}
    await worker.enqueue("t", message)
    assert repr(await handler.wait(1)) == repr([message])


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
        await asyncio.wait_for(started.wait(), 60)
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
            "INSERT INTO engine.job_notes (job_id, forgiven, interruptions) "
            "SELECT id, 19, 19 FROM procrastinate_jobs"
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


async def test_a_hundred_thousand_waiting_messages_neither_fill_memory_nor_slow_other_topics(
    new_engine_process: NewEngine, new_worker: NewWorker, database_url: str
) -> None:
    engine = await new_engine_process()
    gate = asyncio.Event()
    handler, other = Recorder(), Recorder()

    async def held(data: Any) -> None:
        await handler(data)
        await gate.wait()

    worker = await new_worker(engine.target).queue("other", other).start()
    await worker.enqueue("other", 0)
    await other.wait(1)
    before = peak_memory(engine)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            """INSERT INTO procrastinate_jobs (queue_name, task_name, args)
               SELECT 'big', 'big', jsonb_build_object('data', to_json(n || repeat('x', 500))::text)
               FROM generate_series(1, 100000) n"""
        )
    await new_worker(engine.target).queue("big", held).start()
    assert await handler.wait(10) == [f"{n}{'x' * 500}" for n in range(1, 11)]
    for n in range(50):
        await worker.enqueue("other", n)
    await other.wait(51)
    assert len(handler.data) == 10
    gate.set()
    await handler.wait(500)
    assert sorted(int(data.rstrip("x")) for data in handler.data[:100]) == list(
        range(1, 101)
    )
    assert peak_memory(engine) - before < 20  # the messages' text alone is 50 MB


def peak_memory(engine: EngineProcess) -> float:
    """The most that a process has had in memory so far, in MB."""
    status = Path(f"/proc/{engine.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


async def test_a_job_that_something_else_put_into_the_table_unreadably_is_a_dead_letter(
    target: Target, new_worker: NewWorker, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        for args in ("{}", '{"data": "{broken"}', '{"data": 1}', '{"data": "1"}'):
            connection.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('t', 't', %s)",
                [args],
            )
    handler = Recorder()
    await new_worker(target).queue("t", handler).start()
    assert await handler.wait(1) == [1]
    await idle(target, "t", dead=3)
    letters = (await console(target, "GET", "queues/dead-letters"))["dead_letters"]
    assert {letter["error"].partition(":")[0] for letter in letters} == {"unreadable"}


async def test_the_trace_of_the_sender_continues_in_the_handler(
    target: Target, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    parent = f"00-{trace_id}-b7ad6b7169203331-01"
    await worker.call("enqueue", {"topic": "t", "data": 1}, traceparent=parent)
    await handler.wait(1)

    async def spans() -> Any:
        return (await console(target, "POST", "otel/traces", {"trace_id": trace_id}))[
            "spans"
        ]

    assert [span["name"] for span in await eventually(spans, bool)] == ["queue t"]
