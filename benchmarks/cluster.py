"""Beyond one engine: Beteiligte synced by one, then by two real engines with a worker each, on RabbitMQ and Redis.

``III_ENGINE_BIN=... python -m benchmarks.cluster``; needs RabbitMQ's server (Debian: rabbitmq-server). Stores and twins
are those of `stack`; its own worker is stopped. Prints the rates and their ratio.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from benchmarks import stack
from benchmarks.bench import folder, process
from benchmarks.beteiligte import UPSTREAM_MS
from benchmarks.firm import BATCH, people
from benchmarks.results import number
from benchmarks.stack import TOKEN, Stack
from cli.embedded import free_port
from cli.engines import find_iii
from cli.supervisor import Supervised, wait_until_listening
from config import PROJECT_ROOT

CONFIGURATION = PROJECT_ROOT / "deploy" / "iii-config.cluster.yaml"
RECORDS = 200
REPEATS = 3
START_SECONDS = 60.0
#: Debian's wrapper on PATH wants another user.
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


@dataclass(frozen=True)
class Engine:
    """A real engine with its worker."""

    url: str
    worker: Supervised


@asynccontextmanager
async def rabbitmq(data: Path) -> AsyncIterator[str]:
    """A RabbitMQ of its own; its URL."""
    server = shutil.which(RABBITMQ) or shutil.which("rabbitmq-server")
    if server is None:
        raise SystemExit("rabbitmq-server was not found")
    port = free_port()
    environment = {
        "HOME": str(data),
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_NODENAME": "benchmark@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(data / "mnesia"),
        "RABBITMQ_LOG_BASE": str(data / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(data / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(data / "none"),
    }
    log = data / "rabbitmq.log"
    async with (
        # RabbitMQ would leave one behind that it has started itself.
        process("epmd", cwd=data, environment=environment, log=log),
        process(server, cwd=data, environment=environment, log=log),
    ):
        await wait_until_listening(port, START_SECONDS)
        yield f"amqp://guest:guest@127.0.0.1:{port}"


@asynccontextmanager
async def engine(
    system: Stack, name: str, amqp: str, data: Path
) -> AsyncIterator[Engine]:
    """A real engine with the cluster's configuration on free ports, and a worker with all steps."""
    http, worker_port = free_port(), free_port()
    text = CONFIGURATION.read_text("utf-8")
    text = text.replace("49134", str(worker_port)).replace(
        "port: 3111", f"port: {http}"
    )
    text = text.replace("host: 0.0.0.0", "host: 127.0.0.1")
    file = data / f"{name}.yaml"
    file.write_text(text, "utf-8")
    given = system.system.settings.redis
    password = given.password.get_secret_value() if given.password else ""
    redis = f"redis://:{password}@{given.host}:{given.port}/3"
    environment = {"AMQP_URL": amqp, "ENGINE_REDIS_URL": redis}
    log = data / f"{name}.log"
    async with process(
        find_iii(), "--config", str(file), cwd=data, environment=environment, log=log
    ):
        await wait_until_listening(worker_port, START_SECONDS)
        ordinary = system.system.processes["worker"].program
        settings = {
            **ordinary.environment,
            "III_URL": f"ws://127.0.0.1:{worker_port}",
            "BITBYLAW_ENGINE_HTTP_URL": f"http://127.0.0.1:{http}",
        }
        program = replace(ordinary, name=name, environment=settings)
        worker = Supervised(program, system.system.data / "log")
        await worker.start()
        try:
            yield await _ready(system, Engine(f"http://127.0.0.1:{http}", worker))
        finally:
            await worker.stop()


async def _ready(system: Stack, found: Engine) -> Engine:
    async def healthy() -> bool:
        try:
            async with system.session.get(f"{found.url}/health") as answer:
                return answer.status < 500 and answer.status != 404
        except aiohttp.ClientError:
            return False

    await stack.until(healthy, START_SECONDS)
    return found


async def rate(system: Stack, engines: list[Engine], ids: list[str]) -> float:
    """Unchanged records a minute; the webhooks go to the engines in turn."""
    before = await system.audit.fetchval("SELECT max(audit_id) FROM sync_audit")
    started = time.monotonic()
    for turn, start in enumerate(range(0, len(ids), BATCH // 4)):
        batch = [{"id": item} for item in ids[start : start + BATCH // 4]]
        base = engines[turn % len(engines)].url
        url = f"{base}/vmh/webhook/beteiligte/update?token={TOKEN}"
        async with system.session.post(url, json=batch) as answer:
            answer.raise_for_status()

    async def all_of_them() -> bool:
        done = await system.audit.fetchval(
            "SELECT count(DISTINCT entity_id) FROM sync_audit WHERE audit_id > $1",
            before,
        )
        return bool(done == len(ids))

    await stack.until(all_of_them, START_SECONDS + len(ids))
    return 60 * len(ids) / (time.monotonic() - started)


async def measure() -> None:
    """Print the rate with one engine, with two, and the ratio of the medians."""
    async with folder() as data, stack.running() as system, rabbitmq(data) as amqp:
        ids = await people(system, RECORDS)
        await system.system.processes["worker"].stop()
        await system.slow_twins(UPSTREAM_MS)
        async with (
            engine(system, "one", amqp, data) as first,
            engine(system, "two", amqp, data) as second,
        ):
            sys.stdout.write("two engines\n")
            two = [await rate(system, [first, second], ids) for _ in range(REPEATS)]
            await second.worker.stop()
            sys.stdout.write("one engine\n")
            one = [await rate(system, [first], ids) for _ in range(REPEATS)]
    _show("one engine and worker", one)
    _show("two engines and workers", two)
    sys.stdout.write(f"ratio {number(sorted(two)[1] / sorted(one)[1])}\n")


def _show(name: str, rates: list[float]) -> None:
    shown = ", ".join(number(value) for value in rates)
    sys.stdout.write(f"{name}: {shown} unchanged records a minute\n")


if __name__ == "__main__":
    asyncio.run(measure())
