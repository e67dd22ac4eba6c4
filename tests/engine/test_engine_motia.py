"""The real, unmodified Motia worker on the embedded engine: logs, console, large answers.

What it does on every engine is in conformance/test_conformance_restart.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

from engine_harness import (
    NewWorker,
    Target,
    console,
    eventually,
    motia_worker,
    request,
    topic_stats,
    worker_ready,
)


async def scope(target: Target, name: str) -> list[Any]:
    """Return the values of a state scope."""
    answer = await console(target, "POST", "states/group", {"scope": name})
    values: list[Any] = answer["items"]
    return values


async def test_http_step_queue_step_state_logs_and_trace(target: Target) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)
        for _ in range(20):
            reply = await request(
                target, "POST", "/sample/hello/K%C3%B6ln?a=1", json_body={"x": "ü"}
            )
            assert (
                reply.status,
                reply.headers["x-sample"],
                reply.headers["Content-Type"],
            ) == (
                201,
                "yes",
                "application/json",
            )
            assert reply.json == {"hello": "K%C3%B6ln", "query": {"a": "1"}}
        [greeted] = await eventually(lambda: scope(target, "sample.greeted"), bool)
        assert greeted["id"] == "K%C3%B6ln"
        logs = await eventually(
            lambda: console(
                target, "POST", "otel/logs", {"trace_id": greeted["trace_id"]}
            ),
            lambda found: found["total"],
        )
        assert logs["logs"][0]["attributes"]["log.data"] == {
            "name": "K%C3%B6ln",
            "tags": ["a", "b"],
        }
        workers = (await console(target, "GET", "workers"))["workers"]
        assert {worker["name"].count(":") for worker in workers if worker["name"]} == {
            1
        }
        metadata = [
            trigger["config"]["metadata"]
            for trigger in (await console(target, "GET", "triggers"))["triggers"]
        ]
        assert {"Sample Hello", "Sample Greet"} <= {entry["name"] for entry in metadata}


async def test_large_and_textual_answers_of_a_motia_step_arrive_whole(
    target: Target,
) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)
        text = await request(target, "POST", "/sample/answers?kind=text")
        assert (text.status, text.json, text.headers["Content-Type"]) == (
            200,
            "hello",
            "application/json",
        )
        large = await request(target, "POST", "/sample/answers?kind=large")
        assert (large.status, len(large.json["data"])) == (200, 3_000_000)


async def test_cron_step_runs_when_an_operator_asks(target: Target) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)
        triggers = (await console(target, "GET", "triggers"))["triggers"]
        [cron] = [trigger for trigger in triggers if trigger["trigger_type"] == "cron"]
        answer = await console(
            target, "POST", "cron/trigger", {"trigger_id": cron["id"]}
        )
        assert answer == {"success": True, "result": None}
        assert await scope(target, "sample.cron") == [{"id": "tick"}]


async def test_a_failing_queue_step_is_retried_and_its_state_survives(
    target: Target, new_worker: NewWorker
) -> None:
    sender = await new_worker(target).start()
    async with motia_worker(target.ws):
        await worker_ready(target, count=2)
        await sender.enqueue("sample.flaky", {"key": "a", "failures": 1})
        values = await eventually(
            lambda: scope(target, "sample.flaky"), lambda found: found == [{"runs": 2}]
        )
        assert values == [{"runs": 2}]
        await eventually(
            lambda: topic_stats(target, "sample.flaky"),
            lambda stats: stats["active"] == 0,
        )


async def test_no_text_of_an_exception_gets_into_dead_letters_or_answers(
    target: Target, new_worker: NewWorker
) -> None:
    """An exception's text may quote a record; what it was, and where, remains."""
    sender = await new_worker(target).start()
    async with motia_worker(target.ws):
        await worker_ready(target, count=2)
        await sender.enqueue("sample.flaky", {"key": "Kanarienvogel", "failures": 9})
        answer = await request(target, "POST", "/sample/answers?kind=error")
        found = await eventually(
            lambda: console(target, "GET", "queues/dead-letters"),
            lambda answer: answer["dead_letters"],
        )
    (letter,) = found["dead_letters"]
    assert re.fullmatch(
        r"invocation_failed: RuntimeError \(flaky_step\.py:\d+\)", letter["error"]
    )
    assert answer.status == 500
    assert "a secret" not in json.dumps(answer.json)
