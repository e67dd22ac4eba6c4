"""What an operator asks of an engine and repairs with it: topics, dead letters, health, logs, traces, streams."""

from __future__ import annotations

import time
from typing import Any

import pytest
from engine_harness import CallError, NewWorker, Recorder, ScriptedWorker, eventually
from engines_under_test import QUEUE_CONFIG, EngineUnderTest, asking


async def dead(
    target: EngineUnderTest, worker: ScriptedWorker, *payloads: Any
) -> list[dict[str, Any]]:
    """Enqueue payloads to topic t, one after the other, and wait until each is a dead letter."""
    letters: list[dict[str, Any]] = []
    for payload in payloads:
        await worker.enqueue("t", payload)

        async def listed() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = await target.ask(
                "engine::queue::dlq_messages", {"topic": "t"}
            )
            return found

        count = len(letters) + 1
        letters = await eventually(listed, lambda found, n=count: len(found) == n)
    return letters


async def test_topics_are_listed_with_their_subscribers_depth_and_dead_letters(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    failing = Recorder(failures=100)
    worker = new_worker(target).queue("t", failing, queue_config=QUEUE_CONFIG)
    await worker.queue("t", failing, "again", queue_config=QUEUE_CONFIG).start()
    assert await target.ask("engine::queue::list_topics", {}) == [
        {"name": "t", "broker_type": "builtin", "subscriber_count": 2}
    ]
    await dead(target, worker, {"entity_id": "e"})
    assert await target.ask("engine::queue::topic_stats", {"topic": "t"}) == {
        "depth": 0,
        "consumer_count": 2,
        "dlq_depth": 1,
        "config": None,
    }
    assert await target.ask("engine::queue::dlq_topics", {}) == [
        {"topic": "t", "broker_type": "builtin", "message_count": 1}
    ]
    assert await target.ask("engine::queue::topic_stats", {"topic": "other"}) == {
        "depth": 0,
        "consumer_count": 0,
        "dlq_depth": 0,
        "config": None,
    }


async def test_dead_letters_are_shown_newest_first_and_paged(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    failing = Recorder(failures=100)
    worker = (
        await new_worker(target).queue("t", failing, queue_config=QUEUE_CONFIG).start()
    )
    before = int(time.time())
    letters = await dead(target, worker, {"n": 1}, {"n": 2}, {"n": 3})
    assert [letter["payload"] for letter in letters] == [{"n": 3}, {"n": 2}, {"n": 1}]
    newest = letters[0]
    assert set(newest) == {
        "id",
        "payload",
        "error",
        "failed_at",
        "retries",
        "size_bytes",
    }
    assert isinstance(newest["id"], str)
    assert "failure 9" in newest["error"]
    assert before <= newest["failed_at"] <= time.time()
    assert newest["retries"] == 3
    assert newest["size_bytes"] >= len('{"n":3}')
    page = {"topic": "t", "offset": 1, "limit": 1}
    assert await target.ask("engine::queue::dlq_messages", page) == [letters[1]]
    assert await target.ask("engine::queue::dlq_messages", {"topic": "other"}) == []


async def test_one_dead_letter_is_redriven_and_one_is_discarded(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder(failures=9)
    worker = (
        await new_worker(target).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    )
    third, second, first = await dead(target, worker, 1, 2, 3)
    again = {"queue": "t", "message_id": first["id"]}
    gone = {"queue": "t", "message_id": third["id"]}
    assert await target.ask("iii::queue::redrive_message", again) == {
        **again,
        "redriven": 1,
    }
    assert (await handler.wait(10))[9] == 1
    assert await target.ask("iii::queue::discard_message", gone) == {
        **gone,
        "redriven": 1,
    }
    assert await target.ask("engine::queue::dlq_messages", {"topic": "t"}) == [second]
    for message in (again, gone, {"queue": "t", "message_id": "none"}):
        assert await target.ask("iii::queue::redrive_message", message) == {
            **message,
            "redriven": 0,
        }
        assert (await target.ask("iii::queue::discard_message", message))[
            "redriven"
        ] == 0
    assert await target.ask("iii::queue::redrive", {"queue": "t"}) == {
        "queue": "t",
        "redriven": 1,
    }
    assert (await handler.wait(11))[10] == 2


@pytest.mark.parametrize(
    ("function_id", "data", "code"),
    [
        ("engine::queue::topic_stats", {}, "topic_required"),
        ("engine::queue::dlq_messages", {"topic": ""}, "topic_required"),
        ("iii::queue::redrive", {"queue": ""}, "queue_not_set"),
        ("iii::queue::redrive", {}, "deserialization_error"),
        (
            "iii::queue::redrive_message",
            {"queue": "t", "message_id": ""},
            "message_id_not_set",
        ),
        (
            "iii::queue::discard_message",
            {"queue": "", "message_id": "1"},
            "queue_not_set",
        ),
    ],
)
async def test_a_question_without_a_topic_is_refused(
    target: EngineUnderTest, function_id: str, data: Any, code: str
) -> None:
    with pytest.raises(CallError) as failure:
        await target.ask(function_id, data)
    assert failure.value.code == code


async def test_health_names_the_state_of_each_component(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    await new_worker(target).start()
    health = await target.ask("engine::health::check", {})
    assert set(health) == {"status", "components", "timestamp", "version"}
    assert health["status"] == "healthy"
    assert abs(health["timestamp"] - time.time() * 1000) < 10_000
    components = health["components"]
    assert set(components) >= {"otel", "metrics", "logs", "spans"}
    for name in ("otel", "logs", "spans"):
        assert components[name]["status"] == "healthy"
    assert components["logs"]["details"]["stored_logs"] >= 0
    assert components["spans"]["details"]["stored_spans"] >= 0


async def test_logs_and_traces_are_cleared(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    handler = Recorder()
    worker = await new_worker(target).queue("t", handler).start()
    await worker.enqueue("t", 1)
    await handler.wait(1)
    async with asking(target) as operator:
        assert await operator.call("engine::logs::clear", {}) == {"success": True}
        assert await operator.call("engine::traces::clear", {}) == {"success": True}
        logs = await operator.call("engine::logs::list", {})
        assert logs["logs"] == []
        traces = await operator.call("engine::traces::list", {})
        assert traces["spans"] == []


async def test_streams_are_listed_with_their_groups(target: EngineUnderTest) -> None:
    async with asking(target) as worker:
        for stream, group in (("b", "2"), ("b", "1"), ("a", "1"), ("b", "1")):
            place = {"stream_name": stream, "group_id": group, "item_id": "i"}
            await worker.call("stream::set", {**place, "data": 1})
        assert await worker.call("stream::list_all", {}) == {
            "stream": [
                {"id": "a", "groups": ["1"]},
                {"id": "b", "groups": ["1", "2"]},
            ],
            "count": 2,
        }
