"""What `bitbylaw up` does when its parts die or hang, and what it leaves on the disk."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio
from outside import Outside
from ports import system_ports, unused_port
from typer.testing import CliRunner

from cli.demo import open_audit
from cli.main import app
from cli.supervisor import LOOK_SECONDS, StartFailed, ignore
from cli.system import running_system
from services.api.access import php_json

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

TOKEN = "token-that-no-one-may-quote-0123456789"  # noqa: S105 - invented
WEBHOOK = f"/vmh/webhook/beteiligte/create?token={TOKEN}"
JSON = "Content-Type: application/json"
SECRET = {"id": "650000000000000aa", "key": "the-secret-of-a-webhook-0123"}
#: Requests that an HTTP parser or an engine stumbles over, each with the token somewhere.
MALFORMED = [
    f"GET {WEBHOOK} HTTP/9.9\r\n\r\n",
    f"GET {WEBHOOK}\r\n\r\n",
    f"{TOKEN}\r\n\r\n",
    f"GET {WEBHOOK} HTTP/1.1\r\nHost: a\r\nBad Name: {TOKEN}\r\n\r\n",
    f"GET {WEBHOOK} HTTP/1.1\r\nHost: a\r\nX-Long: {TOKEN * 500}\r\n\r\n",
    f"GET http://[a/{WEBHOOK} HTTP/1.1\r\nHost: a\r\n\r\n",
    f"GET /{'a' * 9000}{WEBHOOK} HTTP/1.1\r\nHost: a\r\n\r\n",
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: a\r\nContent-Length: {TOKEN}\r\n\r\n",
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: a\r\n{JSON}\r\nContent-Length: 99\r\n\r\n[{TOKEN}",
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: a\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\nZ{TOKEN}\r\n",
    f"POST {WEBHOOK} HTTP/1.1\r\nHost: a\r\nContent-Encoding: {TOKEN}\r\nContent-Length: 0\r\n\r\n",
    f"GET /_console/{TOKEN}?token={TOKEN} HTTP/1.1\r\nHost: {TOKEN}\r\n\r\n",
]


class Running(Outside):
    """A system, and what it has printed."""

    events: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running() -> AsyncIterator[Running]:
    """A system of its own that has little patience, and whose webhooks need token and signature."""
    data = Path(tempfile.mkdtemp(prefix="bbl-e2e-"))
    events: list[str] = []
    overrides = {
        "ESPOCRM_WEBHOOK_TOKEN": TOKEN,
        "ESPOCRM_WEBHOOK_SECRETS": f"{SECRET['id']}:{SECRET['key']}",
        "METRICS_PORT": str(unused_port()),
    }
    async with (
        running_system(
            data,
            system_ports(),
            None,
            on_event=events.append,
            overrides=overrides,
            patience=2,
        ) as system,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
        await open_audit(system) as audit,
    ):
        found = Running(system, session, audit)
        found.events = events
        yield found
    shutil.rmtree(data, ignore_errors=True)


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


def logged(running: Running) -> str:
    """All logs but PostgreSQL's own, and what the supervisor has printed."""
    files = [
        path.read_text(errors="replace")
        for path in (running.system.data / "log").iterdir()
    ]
    return "\n".join([*files, *running.events])


def postmaster(running: Running) -> int:
    return int(
        (running.system.data / "postgres" / "postmaster.pid").read_text().split()[0]
    )


async def deliver(running: Running, body: bytes) -> tuple[int, object]:
    """A webhook with token and signature, its bytes as they are."""
    mac = hmac.new(SECRET["key"].encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "Signature": base64.b64encode(f"{SECRET['id']}:{mac}".encode()).decode(),
    }
    return await running.call("POST", WEBHOOK, data=body, headers=headers)


async def test_malformed_requests_are_quoted_nowhere(running: Running) -> None:
    for target in (running.system.http_url, running.system.settings.engine.url):
        for text in MALFORMED:
            _, writer = await asyncio.open_connection("127.0.0.1", port(target))
            writer.write(text.encode())
            await writer.drain()
            writer.close()
    assert (await deliver(running, b"[]"))[0] == 400
    assert (
        await running.call(
            "POST",
            f"/vmh/webhook/beteiligte/create?token=not-{TOKEN}",
            json=[{"id": "a"}],
        )
    )[0] == 401

    async def has_refused_them() -> bool:
        return "access.denied" in logged(running)

    await running.until(has_refused_them)
    assert TOKEN not in logged(running)
    for question in ("otel/logs", "otel/traces"):
        _, found = await running.call(
            "POST", f"/_console/{question}", json={"limit": 10_000}
        )
        assert TOKEN not in json.dumps(found)


@pytest.mark.parametrize(
    "value", ["\\ud800", "\\udc00\\ud800", "a\\u0000b", "\\ud83d\\ude00\\ud83d"]
)
@pytest.mark.parametrize("field", ["id", "lastName", "field\\u0000\\udfff"])
async def test_a_record_with_half_characters_or_nul_does_not_hold_up_its_neighbours(
    running: Running, field: str, value: str
) -> None:
    first, second = [await running.person(lastName=name) for name in ("Eins", "Zwei")]
    bad = f'{{"{field}":"{value}"}}'
    body = f'[{{"id":"{first}"}},{bad},{{"id":"{second}"}}]'.encode()

    assert await deliver(running, body) == (
        200,
        {
            "status": "received",
            "action": "create",
            "new_ids_count": 2,
            "total_ids_in_batch": 2,
        },
    )
    for entity_id in (first, second):
        await running.synced(entity_id)


async def test_the_sample_body_is_what_php_would_sign() -> None:
    assert php_json([{"id": "ä\ud800"}]) == b'[{"id":"\\u00e4\\ud800"}]'


async def test_nothing_that_is_kept_is_open_to_others(running: Running) -> None:
    own = [
        path for path in running.system.data.rglob("*") if "postgres" not in path.parts
    ]
    assert {path.name for path in own} >= {
        "environment",
        "up.lock",
        "log",
        "worker.log",
        "engine.log",
        "redis.log",
    }
    assert [str(path) for path in own if path.stat().st_mode & 0o077] == []


async def test_facts_are_lines_of_json_in_the_worker_s_log(running: Running) -> None:
    entity_id = await running.person(lastName="Zeile")
    await deliver(
        running, json.dumps([{"id": entity_id}], separators=(",", ":")).encode()
    )
    await running.synced(entity_id)

    async def facts() -> list[dict[str, object]]:
        lines = (running.system.data / "log" / "worker.log").read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [fact for fact in found if fact["fields"].get("entity_id") == entity_id]

    async def reported() -> bool:
        return any(fact["event"] == "beteiligte.synced" for fact in await facts())

    await running.until(reported)
    fact = (await facts())[-1]
    assert fact.keys() == {"time", "level", "event", "fields", "trace_id"}
    assert (fact["level"], fact["event"]) == ("info", "beteiligte.synced")

    async def is_shown() -> bool:
        _, found = await running.call(
            "POST", "/_console/otel/logs", json={"trace_id": fact["trace_id"]}
        )
        return "beteiligte.synced" in {record["body"] for record in found["logs"]}

    await running.until(is_shown)


async def test_the_worker_shows_its_numbers_and_those_of_the_engine_s_queue(
    running: Running,
) -> None:
    url = f"http://127.0.0.1:{running.system.settings.metrics.port}/metrics"
    await running.call("GET", "/health")

    async def numbers() -> str:
        async with running.session.get(url) as answer:
            return await answer.text()

    async def is_read() -> bool:
        return "\nbitbylaw_queue_readable 1.0\n" in await numbers()

    await running.until(is_read)
    text = await numbers()
    assert 'bitbylaw_queue_depth{topic="vmh.beteiligte.create"}' in text
    assert 'bitbylaw_handler_seconds_count{outcome="done",step="Health"}' in text
    assert TOKEN not in text


async def test_the_log_is_found_by_record_by_trace_and_by_level(
    running: Running,
) -> None:
    entity_id = await running.person(lastName="Logbuch")
    await deliver(
        running, json.dumps([{"id": entity_id}], separators=(",", ":")).encode()
    )
    await running.synced(entity_id)
    log = str(running.system.data / "log" / "worker.log")

    def facts(*options: str) -> list[dict[str, Any]]:
        answer = CliRunner().invoke(app, ["logs", "--file", log, "--json", *options])
        assert answer.exit_code == 0, answer.output
        return [json.loads(line) for line in answer.output.splitlines()]

    async def is_written() -> bool:
        return "beteiligte.synced" in {
            fact["event"] for fact in facts("--entity", entity_id)
        }

    await running.until(is_written)
    synced = facts("--entity", entity_id)[-1]
    assert synced in facts("--trace", synced["trace_id"])
    assert facts("--entity", entity_id, "--level", "error") == []
    assert "Logbuch" not in json.dumps(facts())


async def test_a_job_s_span_is_below_that_of_the_step_and_an_enqueue_has_none(
    running: Running,
) -> None:
    entity_id = await running.person(lastName="Spanne")
    await deliver(
        running, json.dumps([{"id": entity_id}], separators=(",", ":")).encode()
    )
    await running.synced(entity_id)

    async def newest_trace() -> list[str]:
        query = {"limit": 1, "name": "POST /vmh/webhook/beteiligte/create"}
        _, found = await running.call("POST", "/_console/otel/traces", json=query)
        names: list[str] = []
        for span in found["spans"]:
            of_trace = {"trace_id": span["trace_id"]}
            _, tree = await running.call(
                "POST", "/_console/otel/traces/tree", json=of_trace
            )
            spans = tree["roots"]
            while spans:
                names.append(spans[0]["name"])
                spans = spans[0]["children"]
        return names

    async def is_whole() -> bool:
        return "step:VMH Beteiligte Sync" in await newest_trace()

    await running.until(is_whole)
    assert await newest_trace() == [
        "POST /vmh/webhook/beteiligte/create",
        "step:VMH Webhook Beteiligte Create",
        "queue vmh.beteiligte.create",
        "step:VMH Beteiligte Sync",
    ]


async def test_looks_at_the_health_leave_no_spans(running: Running) -> None:
    for _ in range(10):
        assert (await running.call("GET", "/health"))[0] == 200
    await running.call("GET", "/hello")

    async def spans() -> set[str]:
        _, found = await running.call(
            "POST", "/_console/otel/traces", json={"limit": 10_000}
        )
        return {span["name"] for span in found["spans"]}

    async def greeted() -> bool:
        return "GET /hello" in await spans()

    await running.until(greeted)
    assert {name for name in await spans() if "health" in name.lower()} == set()


async def test_a_postgresql_that_dies_is_reported_in_one_line_and_started_again(
    running: Running,
) -> None:
    entity_id = await running.person(lastName="Ohne Datenbank")
    os.kill(postmaster(running), signal.SIGKILL)
    body = json.dumps([{"id": entity_id}], separators=(",", ":")).encode()

    async def taken() -> bool:
        return (await deliver(running, body))[0] == 200

    await running.until(taken)

    async def linked() -> bool:
        return bool((await running.espocrm_record(entity_id))["betnr"])

    await running.until(linked)
    reported = [event for event in running.events if event.startswith("PostgreSQL ")]
    assert [line.partition(" (log: ")[0] for line in reported] == [
        "PostgreSQL is away; starting it again"
    ]
    assert "Traceback" not in logged(running)


async def test_parts_that_hang_are_started_again_like_dead_ones(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "supervisor.ANSWER_SECONDS",
        "engines.ANSWER_SECONDS",
        "embedded.ANSWER_SECONDS",
    ):
        monkeypatch.setattr(f"cli.{name}", 1.0)
    monkeypatch.setattr("cli.engines.HEALTH_SECONDS", 3.0)
    [redis] = [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if f":{running.system.settings.redis.port}"
        in " ".join(process.info["cmdline"] or [])
    ]
    parts = running.system.processes
    stopped = {name: parts[name].pid for name in ("engine", "worker", "twins")}

    async def have_answered() -> bool:
        youngest = max(
            psutil.Process(pid).create_time()
            for pid in stopped.values()
            if pid is not None
        )
        return time.time() - youngest > 2 * LOOK_SECONDS

    await running.until(have_answered)  # what has never answered is given more time
    for pid in (redis, postmaster(running), *stopped.values()):
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

    async def well() -> bool:
        try:
            return (await running.call("GET", "/health"))[1]["status"] == "ok"
        except (aiohttp.ClientError, KeyError, TypeError):
            return False

    await running.until(well)
    for name in ("redis", "engine", "worker", "twins"):
        assert any(
            event.startswith(f"{name} does not answer") for event in running.events
        ), name
    assert any(
        event.startswith("PostgreSQL does not answer") for event in running.events
    )
    entity_id = await running.person(lastName="Danach")
    await deliver(
        running, json.dumps([{"id": entity_id}], separators=(",", ":")).encode()
    )
    await running.synced(entity_id)


async def test_what_an_earlier_version_left_open_is_closed_and_other_files_are_left_alone(
    tmp_path: Path,
) -> None:
    older, strange = tmp_path / "log" / "older.log", tmp_path / "mine.sh"
    older.parent.mkdir(mode=0o755)
    for path in (older, strange):
        path.touch()
        path.chmod(0o755)
    taken = {
        "REDIS_PORT": "1",
        "REDIS_HOST": "127.0.0.1",
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": "1",
    }
    ports = system_ports()
    with pytest.raises(StartFailed):  # there is no PostgreSQL at that port
        async with running_system(
            tmp_path, ports, None, on_event=ignore, overrides=taken
        ):
            pytest.fail("it started")
    assert [
        oct(path.stat().st_mode & 0o777) for path in (older.parent, older, strange)
    ] == ["0o700", "0o600", "0o755"]
