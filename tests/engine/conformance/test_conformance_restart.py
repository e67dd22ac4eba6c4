"""Engines that end and start again, and the Motia worker, started as the product starts it, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine_harness import (
    NewWorker,
    Recorder,
    Relay,
    Reply,
    Target,
    eventually,
    motia_worker,
    relay,
    request,
)
from engines_under_test import QUEUE_CONFIG, EngineUnderTest, asking


async def hang(_data: Any) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def answer(target: Target, path: str, wanted: int, **options: Any) -> Reply:
    """Ask until the status is the wanted one; POST."""
    return await eventually(
        lambda: request(target, "POST", path, **options),
        lambda reply: reply.status == wanted,
        within=30,
    )


async def open_channels(connections: Relay) -> int:
    """How many channels are open."""
    return connections.channels_open


async def scope(target: Target, name: str) -> list[Any]:
    """The values of a state scope."""
    async with asking(target) as worker:
        values: list[Any] = await worker.call("state::list", {"scope": name})
    return values


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_what_waits_and_the_state_survive_the_end_of_the_engine(
    durable: EngineUnderTest, new_worker: NewWorker, how: str
) -> None:
    worker = await new_worker(durable).start()
    for n in range(20):
        await worker.enqueue("t", n)
    await worker.call("state::set", {"scope": "s", "key": "k", "value": {"n": 1}})
    if durable.differs("saves_at_intervals"):
        await asyncio.sleep(
            0.5
        )  # ten times the interval; nothing shows it from outside
    await getattr(durable, how)()
    await asyncio.wait_for(worker.closed.wait(), 60)
    assert worker.close_code == 1006
    await durable.start()

    handler = Recorder()
    survivor = (
        await new_worker(durable).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    )
    assert sorted(await handler.wait(20)) == list(range(20))
    assert await survivor.call("state::get", {"scope": "s", "key": "k"}) == {"n": 1}


async def test_what_was_being_handled_when_the_engine_was_killed(
    durable: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = (
        await new_worker(durable).queue("t", hang, queue_config=QUEUE_CONFIG).start()
    )
    for n in range(3):
        await worker.enqueue("t", n)

    async def started() -> int:
        return len(worker.received)

    await eventually(started, lambda count: count == 3)
    if durable.differs("saves_at_intervals"):
        await asyncio.sleep(0.5)
    await durable.kill()
    await durable.start()
    handler = Recorder()
    await new_worker(durable).queue("t", handler, queue_config=QUEUE_CONFIG).start()
    if durable.differs("in_flight_lost_on_restart"):
        await (await new_worker(durable).start()).enqueue("t", "later")
        assert await handler.wait(1) == ["later"]
        assert await durable.pending("t") == 3
    else:
        assert sorted(await handler.wait(3)) == [0, 1, 2]


async def test_sigterm_ends_the_engine_also_while_a_request_is_open(
    durable: EngineUnderTest, new_worker: NewWorker
) -> None:
    worker = await new_worker(durable).http("POST", "f", hang).start()
    open_request = asyncio.create_task(request(durable, "POST", "/f"))

    async def calls() -> int:
        return len(worker.received)

    await eventually(calls, bool)
    assert await durable.terminate() == 0
    outcome = (await asyncio.gather(open_request, return_exceptions=True))[0]
    assert (
        outcome.status >= 500
        if isinstance(outcome, Reply)
        else isinstance(outcome, Exception)
    )


async def test_the_motia_worker_comes_back_by_itself_when_the_engine_has_ended(
    durable: EngineUnderTest,
) -> None:
    async with motia_worker(durable.ws):
        await answer(durable, "/sample/hello/a", 201, json_body={})
        await durable.kill()
        await durable.start()
        statuses: set[int] = set()

        async def status() -> int:
            statuses.add(
                (await request(durable, "POST", "/sample/hello/b", json_body={})).status
            )
            return 201 if 201 in statuses else 0

        await eventually(status, bool, within=30)
        assert statuses <= {201, 404 if durable.differs("no_worker_is_404") else 503}
        await durable.terminate()
        await durable.start()
        await answer(durable, "/sample/hello/c", 201, json_body={})
        replies = await asyncio.gather(
            *(
                request(durable, "POST", f"/sample/hello/{n}", json_body={})
                for n in range(20)
            )
        )
        assert {reply.status for reply in replies} == {201}


async def test_http_queue_and_state_of_a_motia_step(target: EngineUnderTest) -> None:
    async with motia_worker(target.ws):
        await answer(target, "/sample/hello/first", 201, json_body={})
        for _ in range(20):
            reply = await request(
                target, "POST", "/sample/hello/K%C3%B6ln?a=1", json_body={"x": "ü"}
            )
            assert (reply.status, reply.json) == (
                201,
                {"hello": "K%C3%B6ln", "query": {"a": "1"}},
            )
        found = await eventually(
            lambda: scope(target, "sample.greeted"), lambda found: len(found) == 2
        )
        assert {entry["id"] for entry in found} == {"first", "K%C3%B6ln"}


async def test_every_kind_of_answer_of_a_motia_step(target: EngineUnderTest) -> None:
    async with motia_worker(target.ws):
        await answer(target, "/sample/answers?kind=text", 200)

        async def ask(kind: str, **fields: Any) -> Reply:
            return await request(
                target, "POST", f"/sample/answers?kind={kind}", **fields
            )

        empty = await ask("no_content")
        assert (empty.status, empty.body) == (204, b"")
        assert (await ask("text")).json == "hello"
        stream = await ask("stream")
        assert (stream.status, stream.headers["Content-Type"], stream.body) == (
            202,
            "text/csv",
            b"a;b\n1;2\n",
        )
        limited = await ask("limited")
        assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
        assert limited.json == {"busy": 1}
        assert (await ask("error")).status == 500
        assert (await ask("not_serializable")).status == 500
        assert (await ask("nothing")).status == 504
        upload = b"\0\1" * 300_000
        size = await ask(
            "upload", data=upload, headers={"Content-Type": "application/octet-stream"}
        )
        assert size.json == {"size": 600_000}


async def test_only_a_step_that_streams_opens_a_response_channel(
    target: EngineUnderTest,
) -> None:
    async with relay(target.ws) as connections, motia_worker(connections.url):
        await answer(target, "/sample/answers?kind=text", 200)
        for kind, status in (
            ("text", 200),
            ("no_content", 204),
            ("large", 200),
            ("error", 500),
        ):
            for _ in range(5):
                reply = await request(target, "POST", f"/sample/answers?kind={kind}")
                assert (kind, reply.status) == (kind, status)
                if kind == "text":
                    assert reply.headers["Content-Type"] == "application/json"
        for _ in range(5):
            reply = await request(target, "POST", "/sample/hello/a", json_body={})
            assert (reply.status, reply.headers["Content-Type"]) == (
                201,
                "application/json",
            )
        assert connections.channels == []

        stream = await request(target, "POST", "/sample/answers?kind=stream")
        assert (stream.status, stream.headers["Content-Type"], stream.body) == (
            202,
            "text/csv",
            b"a;b\n1;2\n",
        )
        assert connections.channels == ["write"]


async def test_a_step_that_writes_to_its_channel_and_returns_an_answer_leaves_no_connection_open(
    target: EngineUnderTest,
) -> None:
    async with relay(target.ws) as connections, motia_worker(connections.url):
        await answer(target, "/sample/answers?kind=both", 418)
        assert connections.channels == ["write"]
        assert (
            await eventually(
                lambda: open_channels(connections), lambda count: count == 0
            )
            == 0
        )


async def test_kill_9_of_the_motia_worker_loses_nothing(
    target: EngineUnderTest, new_worker: NewWorker
) -> None:
    async with motia_worker(target.ws) as worker:
        await answer(target, "/sample/hello/a", 201, json_body={})
        sender = await new_worker(target).start()
        for n in range(20):
            await sender.enqueue("sample.slow", {"key": f"k{n}"})
        await eventually(lambda: scope(target, "sample.slow"), bool)
        await worker.kill()
    async with motia_worker(target.ws):
        if target.differs("lost_worker_uses_an_attempt"):

            async def accounted_for() -> int:
                return len(await scope(target, "sample.slow")) + len(
                    await target.dead_letters("sample.slow")
                )

            await eventually(accounted_for, lambda count: count == 20, within=30)
            await target.redrive("sample.slow")
        finished = await eventually(
            lambda: scope(target, "sample.slow"),
            lambda found: len(found) == 20,
            within=30,
        )
    assert sorted(entry["id"] for entry in finished) == sorted(
        f"k{n}" for n in range(20)
    )
