"""Part a: webhooks, from request to enqueued and until synced."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import stack
from benchmarks.bench import START_SECONDS, Bench, column, folder, process
from benchmarks.firm import people
from benchmarks.load import Order
from benchmarks.stack import SUBJECTS, TOKEN, Cpu, Stack
from cli import embedded
from cli.engines import EngineKind
from cli.supervisor import wait_until_listening
from config import PROJECT_ROOT

PATH = "/vmh/webhook/beteiligte/update"
WEBHOOK_STEPS = "vmh/webhook/beteiligte_update_api_step.py"
PEER = "FastAPI + procrastinate"
BATCHES = (1, 50)
CLIENTS = (1, 16, 64)
RATE = 50.0
UPSTREAM_MS = 50
#: Records whose webhooks come at `RATE`: each comes again before long, as from people who go on editing.
RECORDS = 200
#: Edits a second whose way to Advoware is followed.
EDITS = 5.0


async def measure(bench: Bench) -> None:
    """Ingest alone, for engines and peer; then with syncs beside it; then from the edit to the end of its sync."""
    for engine in bench.engines:
        await _engine(bench, engine)
    if bench.has_peer("fastapi", "uvicorn"):
        async with _peer() as (url, pid):
            await _ingest(bench, PEER, url, {"service": pid})


async def _engine(bench: Bench, engine: EngineKind) -> None:
    subject = SUBJECTS[engine]
    bench.say(f"starting the system with the {subject}")
    async with stack.running(engine) as system:
        url = f"{system.system.http_url}{PATH}?token={TOKEN}"
        await _with_syncs(bench, subject, system, url)
        await _until_synced(bench, subject, system, url)
        async with folder() as steps:
            only = stack.step_folder(steps / "steps", WEBHOOK_STEPS)
            async with system.with_steps(only):
                pids = {name: system.pid(name) for name in ("worker", "engine")}
                await _ingest(bench, subject, url, pids)


async def _ingest(
    bench: Bench, subject: str, url: str, pids: dict[str, int | None]
) -> None:
    """New ids, which no worker takes out of the queue."""
    for batch in BATCHES:
        for clients in CLIENTS[: 1 if bench.small else None]:
            seconds = bench.seconds(1.5)
            order = Order(url=url, batch=batch, clients=clients, seconds=seconds)
            name = f"ingest, batch {batch}, {clients} clients"
            await _repeat(bench, name, subject, order, pids)
    order = Order(url=url, batch=1, rate=RATE, seconds=bench.seconds(5))
    await _repeat(bench, f"ingest, {RATE:g}/s", subject, order, pids)


async def _repeat(
    bench: Bench, name: str, subject: str, order: Order, pids: dict[str, int | None]
) -> None:
    await stack.load(order.model_copy(update={"seconds": bench.seconds(0.5)}))
    found = []
    for _ in range(bench.repeats):
        cpu = Cpu(**pids)
        measured = await stack.load(order)
        used = sum(cpu.seconds().values())
        found.append({**measured, "cpu": 1000 * used / measured["count"]})
    peer = None if subject == PEER else PEER
    for key in ("p50", "p99"):
        bench.add(f"{name}: {key}", subject, "ms", column(found, key), peer)
    if not order.rate:
        rates = [item["count"] / item["seconds"] for item in found]
        bench.add(f"{name}: requests", subject, "/s", rates, peer)
    cpu_name = f"{name}: CPU of service (for us worker and engine) per request"
    bench.add(cpu_name, subject, "ms", column(found, "cpu"), peer)
    errors = sum(column(found, "errors"))
    if errors:
        bench.add(f"{name}: errors", subject, "", [errors])


async def _with_syncs(bench: Bench, subject: str, system: Stack, url: str) -> None:
    """Webhooks at the rate, while the syncs that they ask for go on beside them."""
    unknown = Order(url=url, batch=1, rate=RATE, seconds=bench.seconds(6), warmup=1)
    bench.say("making records, and syncing them once")
    ids = await people(system, bench.count(RECORDS))
    await system.slow_twins(UPSTREAM_MS)
    known = unknown.model_copy(update={"ids": ids})
    for name, order in (("unknown ids", unknown), ("records that are synced", known)):
        found = []
        for _ in range(bench.repeats):
            cpu = Cpu(worker=system.pid("worker"), engine=system.pid("engine"))
            started = time.monotonic()
            measured = await stack.load(order)
            busy = sum(cpu.seconds().values()) / (time.monotonic() - started)
            found.append({**measured, "busy": 100 * busy})
        what = f"{RATE:g}/s of {name}, syncs beside"
        for key in ("p50", "p99"):
            bench.add(f"{what}: {key}", subject, "ms", column(found, key))
        what = f"{what}: CPU of worker and engine"
        bench.add(what, subject, "% of a core", column(found, "busy"))
    await system.slow_twins(0)


async def _until_synced(bench: Bench, subject: str, system: Stack, url: str) -> None:
    """From the webhook of an edit to the line in the audit, with slow foreign systems."""
    ids = await people(system, bench.count(int(EDITS * 10)))
    await system.slow_twins(UPSTREAM_MS)
    sent: dict[str, float] = {}
    for number, entity_id in enumerate(ids):
        path = f"/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
        await system.twin(
            "espocrm", "PUT", path, json={"lastName": f"Geändert{number}"}
        )
        async with system.session.post(url, json=[{"id": entity_id}]) as answer:
            answer.raise_for_status()
        sent[entity_id] = time.time()
        await asyncio.sleep(1 / EDITS)
    seconds = []
    for entity_id, moment in sent.items():
        seconds.append(1000 * (await _synced_at(system, entity_id, moment) - moment))
    await system.slow_twins(0)
    name = f"edit at {EDITS:g}/s until synced, {UPSTREAM_MS} ms upstream"
    bench.add(name, subject, "ms", seconds)


async def _synced_at(system: Stack, entity_id: str, after: float) -> float:
    found: list[float] = []

    async def is_there() -> bool:
        moment = await system.audit.fetchval(
            "SELECT extract(epoch FROM min(at))::float8 FROM sync_audit"
            " WHERE entity_id = $1 AND at > to_timestamp($2)",
            entity_id,
            after,
        )
        found.extend([moment] if moment else [])
        return bool(moment)

    await stack.until(is_there, 60)
    return found[0]


@asynccontextmanager
async def _peer() -> AsyncIterator[tuple[str, int]]:
    """The peer on stores of its own, of the same kind; its address and process."""
    async with (
        folder() as data,
        embedded.postgres(data / "pg") as postgres,
        embedded.redis(data / "redis") as redis,
    ):
        port = embedded.free_port()
        environment = {
            "PEER_DATABASE_URL": postgres.url(embedded.DATABASES[1]),
            "PEER_REDIS_URL": f"redis://:{redis.password}@{redis.host}:{redis.port}/0",
            "PEER_TOKEN": TOKEN,
        }
        arguments = ("benchmarks.peers.ingest:app", "--port", str(port))
        async with process(
            *(sys.executable, "-m", "uvicorn", *arguments, "--no-access-log"),
            cwd=Path(PROJECT_ROOT),
            environment=environment,
            log=data / "peer.log",
        ) as service:
            await wait_until_listening(port, START_SECONDS)
            yield f"http://127.0.0.1:{port}/webhook?token={TOKEN}", service.pid
