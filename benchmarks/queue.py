"""Part b: the queue. Enqueue and drain small jobs, and what waiting ones take of the memory."""

from __future__ import annotations

import json

import psycopg

from benchmarks import machine, stack
from benchmarks.bench import Bench, folder
from benchmarks.scripted import Order
from benchmarks.stack import SUBJECTS, Cpu, Stack
from cli import embedded
from cli.engines import EngineKind
from config import PROJECT_ROOT

JOBS = 10_000
WAITING = 100_000
PEER = "procrastinate alone"
SCRIPTED, STEP = "benchmark.scripted", "benchmark.step"
WAITING_TOPIC = "benchmark.waiting"
STEP_FILES = [
    str(PROJECT_ROOT / "benchmarks" / "steps" / name)
    for name in ("job_step.py", "handled_step.py")
]
SECONDS = 300.0
FILL = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args)
SELECT %s, %s, jsonb_build_object('data', json_build_object('entity_id', n)::text) FROM generate_series(1, %s) AS n
"""


async def measure(bench: Bench) -> None:
    """Both engines with a scripted subscriber and with the motia worker, and the peer."""
    for engine in bench.engines:
        await _engine(bench, engine)
    if bench.has_peer("procrastinate"):
        await _peer(bench)


async def _engine(bench: Bench, engine: EngineKind) -> None:
    subject = SUBJECTS[engine]
    bench.say(f"starting the system with the {subject}")
    async with stack.running(engine) as system:
        # The real engine is slow enough for a tenth to show it.
        jobs = JOBS if engine is EngineKind.EMBEDDED else JOBS // 10
        jobs = bench.count(jobs) // bench.repeats
        await _scripted(bench, subject, system, jobs)
        await _step(bench, subject, system, jobs)
        await _waiting(bench, subject, system, engine)


async def _scripted(bench: Bench, subject: str, system: Stack, jobs: int) -> None:
    """Enqueue while no worker listens, then drain."""
    order = _order(system, SCRIPTED, jobs)
    rates: dict[str, list[float]] = {"enqueue": [], "drain": []}
    costs: dict[str, list[float]] = {"enqueue": [], "drain": []}
    for _ in range(bench.repeats):
        for action in rates:
            cpu = Cpu(engine=system.pid("engine"))
            took = await _helper(order.model_copy(update={"action": action}))
            rates[action].append(jobs / took)
            costs[action].append(1000 * cpu.seconds()["engine"] / jobs)
    for action, values in rates.items():
        what = f"{action}, scripted worker"
        bench.add(what, subject, "jobs/s", values, PEER)
        bench.add(f"{what}: CPU of the engine", subject, "ms/job", costs[action])


async def _step(bench: Bench, subject: str, system: Stack, jobs: int) -> None:
    """What waits is handled by a step that does nothing, in a motia worker that has just started."""
    rates, costs = [], []
    for _ in range(bench.repeats):
        await _helper(_order(system, STEP, jobs))
        async with (
            folder() as steps,
            system.with_steps(stack.step_folder(steps / "steps", *STEP_FILES)),
        ):
            handled = await _handled(system, jobs)
        rates.append((jobs - 1) / handled["seconds"])
        costs.append(1000 * handled["cpu"] / jobs)
    what = "drain, motia worker"
    bench.add(what, subject, "jobs/s", rates)
    bench.add(f"{what}: CPU of the worker", subject, "ms/job", costs)


async def _handled(system: Stack, jobs: int) -> dict[str, float]:
    """What the step has counted when all jobs were handled."""
    handled: dict[str, float] = {}

    async def all_of_them() -> bool:
        url = f"{system.system.http_url}/benchmark/handled"
        async with system.session.get(url) as answer:
            if answer.status != 200:  # the worker's steps are still coming
                return False
            handled.update(await answer.json(content_type=None))
        return handled["count"] >= jobs

    await stack.until(all_of_them, SECONDS, every=0.25)
    return handled


async def _waiting(
    bench: Bench, subject: str, system: Stack, engine: EngineKind
) -> None:
    """How much more memory the engine has when many jobs wait."""
    jobs = bench.count(WAITING)
    before = machine.memory(system.pid("engine"))
    bench.say(f"{jobs:,} jobs that no worker takes")
    order = _order(system, WAITING_TOPIC, jobs)
    if engine is EngineKind.EMBEDDED:  # they wait in PostgreSQL, however they got there
        _fill(system, jobs)
        order.jobs = 100
    await _helper(order.model_copy(update={"at_once": 50}))
    after = machine.memory(system.pid("engine"))
    bench.add("memory of the engine", subject, "MB", [before])
    bench.add(f"memory, {WAITING:,} waiting", subject, "MB", [after])


def _fill(system: Stack, jobs: int) -> None:
    """Put jobs into the queue as the embedded engine stores them."""
    environment = system.system.processes["engine"].program.environment
    with psycopg.connect(environment["ENGINE_DATABASE_URL"]) as connection:
        connection.execute(FILL, [WAITING_TOPIC, WAITING_TOPIC, jobs])


async def _peer(bench: Bench) -> None:
    rates: dict[str, list[float]] = {"enqueue": [], "drain": []}
    jobs = bench.count(JOBS) // bench.repeats
    async with folder() as data, embedded.postgres(data / "pg") as postgres:
        database = postgres.url(embedded.DATABASES[1])
        for _ in range(bench.repeats):
            for action, values in rates.items():
                order = {"database": database, "action": action, "jobs": jobs}
                text = json.dumps({**order, "at_once": 10})
                found = await stack.helper("benchmarks.peers.jobs", text, SECONDS)
                values.append(jobs / found["seconds"])
    for action, values in rates.items():
        bench.add(f"{action}, scripted worker", PEER, "jobs/s", values)


def _order(system: Stack, topic: str, jobs: int) -> Order:
    url = system.system.settings.engine.url
    return Order(ws=url, topic=topic, action="enqueue", jobs=jobs)


async def _helper(order: Order) -> float:
    found = await stack.helper("benchmarks.scripted", order.model_dump_json(), SECONDS)
    return float(found["seconds"])
