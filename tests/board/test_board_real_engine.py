"""The board on a real iii engine 0.10.0: each page, and dead letters from the click to their effect."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from board_browser import OPERATORS, Browser, form_of
from iii import III, InitOptions
from ports import unused_port
from test_pages import paths

from cli.engines import CONFIGURATION, iii_environment, wait_for_ports
from config import Settings
from services.operate import queues
from services.operate.sources import Sources

NAMED = os.environ.get("III_ENGINE_BIN") or "iii"
TOPIC = "board.trial"
pytestmark = pytest.mark.skipif(
    shutil.which(NAMED) is None,
    reason="no real engine: set III_ENGINE_BIN, or put iii on PATH",
)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[str]:
    """Our development configuration, with two quick attempts for a job; the URL for workers."""
    configuration = tmp_path / "config.yaml"
    given = CONFIGURATION.read_text("utf-8")
    quick = given.replace("max_attempts: 8", "max_attempts: 2")
    configuration.write_text(quick.replace("backoff_ms: 2000", "backoff_ms: 50"))
    http, worker = unused_port(), unused_port()
    log = tmp_path / "engine.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(NAMED, "--config", str(configuration)),
            env={**os.environ, **iii_environment(http, worker, tmp_path)},
            stdout=output,
            stderr=output,
        )
    await wait_for_ports(http, worker, log=log)
    yield f"ws://127.0.0.1:{worker}"
    process.kill()
    await process.wait()


@pytest.fixture
def settings(make_settings: Callable[..., Settings], engine: str) -> Settings:
    """Of a system of twins on the real engine, with two operators."""
    return make_settings(III_URL=engine, BITBYLAW_BOARD_OPERATORS=OPERATORS)


@pytest.fixture
async def worker(engine: str) -> AsyncIterator[list[Any]]:
    """A worker whose job fails until it is mended; what it has done when it was."""
    options = InitOptions(
        worker_name="trial", enable_metrics_reporting=False, otel={"enabled": False}
    )
    sdk = III(engine, options)
    done: list[Any] = []

    async def handler(data: Any) -> None:
        if data["entity_id"] not in done:
            raise ValueError("Kanarienvogel")
        done.append("mended")

    sdk.register_function("trial", handler)
    sdk.register_trigger("queue", "trial", {"topic": TOPIC})
    await sdk.connect()
    yield done
    await sdk.shutdown()


async def stats(sources: Sources) -> queues.Topic:
    """The numbers of the topic."""
    return await queues.topic_stats(sources.engine, TOPIC)


async def until(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> None:
    """Look until it is as it should be."""
    async with asyncio.timeout(30):
        while not wanted(await look()):
            await asyncio.sleep(0.05)


async def test_pages_and_repairs_are_the_same_on_the_real_engine(
    operator: Browser, sources: Sources, worker: list[Any]
) -> None:
    async def look() -> queues.Topic:
        return await stats(sources)

    await until(look, lambda topic: topic.consumers == 1)
    for name in ("6b1", "6b2", "6b3"):
        await sources.engine.call("enqueue", topic=TOPIC, data={"entity_id": name})
    await until(look, lambda topic: topic.dead == 3)

    for path in paths():
        html = await operator.page(f"{path}?lang=en")
        assert "engine:" not in html, path
        assert "Kanarienvogel" not in html, path
    view = await operator.json("/api/queue")
    assert view["knows_age"] is False
    assert "not known" in await operator.page("/queue?lang=en")
    letters = (await operator.json(f"/api/queue/{TOPIC}"))["dead_letters"]["value"]
    assert {one["payload"]["entity_id"] for one in letters} == {"6b1", "6b2", "6b3"}
    assert all(one["failed_at"] for one in letters)

    first, second, _ = (one["message_id"] for one in letters)
    await operator.confirm(f"/repair/discard?target={TOPIC}&message={first}")
    await until(look, lambda topic: topic.dead == 2)
    worker += ["6b1", "6b2", "6b3"]
    await operator.confirm(f"/repair/redrive?target={TOPIC}&message={second}")
    await until(look, lambda topic: topic.dead == 1)
    fields = form_of(await operator.page(f"/repair/redrive?target={TOPIC}"))
    status, _ = await operator.post(f"/repair/redrive?target={TOPIC}", fields)
    assert status == 200
    await until(look, lambda topic: (topic.dead, topic.depth) == (0, 0))
    assert worker[3:] == ["mended", "mended"]
