"""The real, unmodified Motia worker on the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from engine_harness import (
    EngineProcess,
    ScriptedWorker,
    Target,
    console,
    eventually,
    motia_worker,
    request,
    topic_stats,
    worker_ready,
)

NewEngine = Callable[..., Awaitable[EngineProcess]]
NewWorker = Callable[[Target], ScriptedWorker]


async def scope(target: Target, name: str) -> list[Any]:
    """Return the values of a state scope."""
    values: list[Any] = await console(target, "POST", "states/group", {"scope": name})
    return values


async def test_http_step_queue_step_state_logs_and_trace(target: Target) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)
        for _ in range(20):
            reply = await request(target, "POST", "/sample/hello/K%C3%B6ln?a=1", json_body={"x": "ü"})
            assert (reply.status, reply.headers["x-sample"], reply.headers["Content-Type"]) == (
                201,
                "yes",
                "application/json",
            )
            assert reply.json == {"hello": "K%C3%B6ln", "query": {"a": "1"}}
        [greeted] = await eventually(lambda: scope(target, "sample.greeted"), bool)
        assert greeted["id"] == "K%C3%B6ln"
        logs = await eventually(
            lambda: console(target, "POST", "otel/logs", {"trace_id": greeted["trace_id"]}),
            lambda found: found["total"],
        )
        assert logs["logs"][0]["attributes"]["log.data"] == {"name": "K%C3%B6ln", "tags": ["a", "b"]}
        workers = (await console(target, "GET", "workers"))["workers"]
        assert {worker["name"].count(":") for worker in workers if worker["name"]} == {1}
        metadata = [trigger["config"]["metadata"] for trigger in (await console(target, "GET", "triggers"))["triggers"]]
        assert {"Sample Hello", "Sample Greet"} <= {entry["name"] for entry in metadata}


async def test_every_kind_of_answer_of_a_motia_step(target: Target) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)

        async def ask(kind: str, **fields: Any) -> Any:
            return await request(target, "POST", f"/sample/answers?kind={kind}", **fields)

        empty = await ask("no_content")
        assert (empty.status, empty.body) == (204, b"")
        text = await ask("text")
        assert (text.status, text.json, text.headers["Content-Type"]) == (200, "hello", "application/json")
        stream = await ask("stream")
        assert (stream.status, stream.headers["Content-Type"], stream.body) == (202, "text/csv", b"a;b\n1;2\n")
        assert (await ask("error")).status == 500
        assert (await ask("not_serializable")).status == 500
        assert (await ask("nothing")).status == 504
        large = await ask("large")
        assert (large.status, len(large.json["data"])) == (200, 3_000_000)
        upload = b"\0\1" * 300_000
        size = await ask("upload", data=upload, headers={"Content-Type": "application/octet-stream"})
        assert size.json == {"size": 600_000}


async def test_cron_step_runs_when_an_operator_asks(target: Target) -> None:
    async with motia_worker(target.ws):
        await worker_ready(target)
        triggers = (await console(target, "GET", "triggers"))["triggers"]
        [cron] = [trigger for trigger in triggers if trigger["trigger_type"] == "cron"]
        answer = await console(target, "POST", "cron/trigger", {"trigger_id": cron["id"]})
        assert answer == {"success": True, "result": None}
        assert await scope(target, "sample.cron") == [{"id": "tick"}]


async def test_a_failing_queue_step_is_retried_and_its_state_survives(target: Target, new_worker: NewWorker) -> None:
    sender = await new_worker(target).start()
    async with motia_worker(target.ws):
        await worker_ready(target, count=2)
        await sender.enqueue("sample.flaky", {"key": "a", "failures": 1})
        values = await eventually(lambda: scope(target, "sample.flaky"), lambda found: found == [{"runs": 2}])
        assert values == [{"runs": 2}]
        await eventually(lambda: topic_stats(target, "sample.flaky"), lambda stats: stats["active"] == 0)


async def test_kill_9_of_the_worker_loses_nothing(target: Target, new_worker: NewWorker) -> None:
    sender = await new_worker(target).start()
    for n in range(30):
        await sender.enqueue("sample.slow", {"key": f"k{n}"})
    async with motia_worker(target.ws) as worker:
        await eventually(lambda: topic_stats(target, "sample.slow"), lambda s: s["active"] == 10, within=30)
        await worker.kill()
    async with motia_worker(target.ws):
        finished = await eventually(lambda: scope(target, "sample.slow"), lambda v: len(v) == 30, within=30)
    assert sorted(entry["id"] for entry in finished) == sorted(f"k{n}" for n in range(30))
    assert (await topic_stats(target, "sample.slow"))["dead"] == 0


async def test_the_worker_reconnects_by_itself_after_the_engine_was_killed(new_engine_process: NewEngine) -> None:
    first = await new_engine_process()
    http_port, ws_port = (int(url.rpartition(":")[2]) for url in (first.target.http, first.target.ws))
    async with motia_worker(first.target.ws):
        await worker_ready(first.target)
        await first.kill()
        second = await new_engine_process(http_port=http_port, ws_port=ws_port)
        statuses: set[int] = set()

        async def status() -> int:
            statuses.add((await request(second.target, "POST", "/sample/hello/x", json_body={})).status)
            return max(statuses) if 201 not in statuses else 201

        await eventually(status, lambda seen: seen == 201, within=30)
        assert statuses <= {201, 503}
        await second.terminate()
        third = await new_engine_process(http_port=http_port, ws_port=ws_port)
        await worker_ready(third.target)
        replies = await asyncio.gather(
            *(request(third.target, "POST", f"/sample/hello/{n}", json_body={}) for n in range(20))
        )
        assert {reply.status for reply in replies} == {201}
