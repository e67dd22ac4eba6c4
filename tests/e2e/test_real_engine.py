"""Our own steps on a real iii engine: `bitbylaw up --engine iii`. Needs III_ENGINE_BIN, or iii on PATH."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from outside import Outside
from ports import system_ports

from cli.demo import open_audit
from cli.engines import EngineKind
from cli.system import running_system

TOKEN = "token-that-no-one-may-quote-0123456789"  # noqa: S105 - invented
NAMED = os.environ.get("III_ENGINE_BIN") or "iii"

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(
        shutil.which(NAMED) is None,
        reason="no real engine: set III_ENGINE_BIN, or put iii on PATH",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def real() -> AsyncIterator[Outside]:
    """A system on a real engine, whose processes are killed."""
    data = Path(tempfile.mkdtemp(prefix="bbl-e2e-"))
    overrides = {
        "ADVOWARE_API_TIMEOUT_SECONDS": "3",
        "VMH_LOCK_SECONDS": "3",
        "CALENDAR_SYNC_DEBUG_KUERZEL": "SB, AI",
        "CALENDAR_SYNC_DAYS_AHEAD": "7",
        "CALENDAR_SYNC_DAYS_BACK": "0",
    }
    ports = system_ports()
    async with (
        running_system(
            data,
            ports,
            None,
            on_event=lambda line: None,
            overrides=overrides,
            engine=EngineKind.III,
        ) as system,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        await open_audit(system) as audit,
    ):
        yield Outside(system, session, audit)
    shutil.rmtree(data, ignore_errors=True)


def kill(system: Outside, name: str) -> None:
    pid = system.system.processes[name].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def ask(system: Outside, function_id: str) -> str:
    """What the engine's own tool answers, as JSON."""
    options = ("--function-id", function_id, "--payload", '{"limit": 1000}')
    port = system.system.settings.engine.url.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        *(NAMED, "trigger", "--port", port, *options), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        return (await process.communicate())[0].decode()


async def assert_created_once(system: Outside, entity_id: str, name: str) -> None:
    async def linked() -> bool:
        record = await system.espocrm_record(entity_id)
        return record["syncStatus"] == "clean" and bool(record["betnr"])

    await system.until(linked)
    rows = await system.advoware_named(name)
    assert [row["betNr"] for row in rows] == [
        (await system.espocrm_record(entity_id))["betnr"]
    ]


async def test_a_greeting_goes_through_http_queue_and_state(real: Outside) -> None:
    status, body = await real.call("GET", "/hello")
    assert status == 200

    async def arrived() -> bool:
        return (await real.call("GET", body["arrived"]))[0] == 200

    await real.until(arrived)


async def test_every_endpoint_answers_with_its_status(real: Outside) -> None:
    status, health = await real.call("GET", "/health")
    assert (status, health["dependencies"]["redis"]["status"]) == (200, "ok")
    assert await real.call("GET", "/advoware/proxy") == (
        400,
        {"error": "Endpoint required as query param"},
    )
    status, body = await real.call(
        "GET",
        "/advoware/proxy",
        params={"endpoint": "api/v1/advonet/Beteiligte/99999999"},
    )
    assert (status, body["upstream_status"]) == (404, 404)
    assert (await real.call("POST", "/vmh/webhook/beteiligte/create", json=[]))[
        0
    ] == 400
    assert (await real.call("POST", "/vmh/webhook/beteiligte/create", data=b"no json"))[
        0
    ] == 400


async def test_no_query_gets_into_log_or_traces_and_looks_at_the_health_leave_none(
    real: Outside,
) -> None:
    entity_id = await real.person(lastName="Stille")
    marked = f"/vmh/webhook/beteiligte/create?token={TOKEN}"
    assert (await real.call("POST", marked, json=[{"id": entity_id}]))[0] == 200
    assert (await real.call("POST", f"{marked}&a=%zz", data=b"no json"))[0] == 400
    for _ in range(10):
        assert (await real.call("GET", "/health"))[0] == 200
    await real.synced(entity_id)

    async def steps_are_traced() -> bool:
        return "VMH Webhook Beteiligte Create" in await ask(
            real, "engine::traces::list"
        )

    await real.until(steps_are_traced)
    traces, records = [
        await ask(real, f"engine::{kind}::list") for kind in ("traces", "logs")
    ]
    stored = traces + records + (real.system.data / "log" / "engine.log").read_text()
    assert TOKEN not in stored
    assert "step:Health" not in stored
    bodies = [record["body"] for record in json.loads(records)["logs"]]
    assert "beteiligte.synced" in bodies
    assert len(bodies) < 100


async def test_a_new_person_arrives_in_advoware_and_the_link_in_espocrm(
    real: Outside,
) -> None:
    entity_id = await real.person(lastName="Müller-Lüdenscheidt")
    assert await real.webhook("create", entity_id, entity_id) == (
        200,
        {
            "status": "received",
            "action": "create",
            "new_ids_count": 1,
            "total_ids_in_batch": 1,
        },
    )
    await assert_created_once(real, entity_id, "Müller-Lüdenscheidt")


async def test_a_worker_killed_while_advoware_creates_does_not_create_twice(
    real: Outside,
) -> None:
    entity_id = await real.person(lastName="Abbruch")
    lost = {
        "method": "POST",
        "path": "/Beteiligte$",
        "when": "after",
        "hang": True,
        "count": 1,
    }
    await real.twin("advoware", "POST", "/__sandbox__/faults", json=lost)
    await real.webhook("create", entity_id)

    async def posted() -> bool:
        return bool(await real.advoware_named("Abbruch"))

    await real.until(posted)
    kill(real, "worker")

    await assert_created_once(real, entity_id, "Abbruch")


async def test_a_calendar_sync_of_all_goes_through_both_queues(real: Outside) -> None:
    status, body = await real.call(
        "POST", "/advoware/calendar/sync", json={"kuerzel": "ALL"}
    )
    assert (status, body["status"]) == (200, "triggered")

    async def complete() -> bool:
        query = "SELECT employee_kuerzel FROM calendar_sync_cursor WHERE sync_token IS NOT NULL"
        return {row[0] for row in await real.audit.fetch(query)} == {"SB", "AI"}

    await real.until(complete)


async def test_an_engine_killed_during_a_sync_is_found_again_by_the_worker(
    real: Outside,
) -> None:
    entity_id = await real.person(lastName="Motorschaden")
    path = f"CBeteiligte/{entity_id}"
    async with real.held("espocrm", method="GET", path=path) as reading:
        await real.webhook("create", entity_id)
        await reading()
        kill(real, "engine")

    await assert_created_once(real, entity_id, "Motorschaden")
    other = await real.person(lastName="Weiter")

    async def taken() -> bool:
        try:
            return (await real.webhook("create", other))[0] == 200
        except aiohttp.ClientConnectionError:
            return (
                False  # the sync may come to its end before the engine is started again
            )

    await real.until(taken)
    await assert_created_once(real, other, "Weiter")
