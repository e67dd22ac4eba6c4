"""Part c: a request through the proxy, against the same one straight to the twin of Advoware."""

from __future__ import annotations

from benchmarks import stack
from benchmarks.bench import Bench, column
from benchmarks.load import Order
from benchmarks.stack import SUBJECTS, Cpu
from cli.engines import EngineKind

ENDPOINT = "api/v1/advonet/Mitarbeiter"
DIRECT = "straight to the twin"
CLIENTS = (1, 16)


async def measure(bench: Bench) -> None:
    """GET /health as the shortest way through engine and worker; the proxy; the twin."""
    for engine in bench.engines:
        subject = SUBJECTS[engine]
        bench.say(f"starting the system with the {subject}")
        async with stack.running(engine) as system:
            base = system.system.http_url
            proxy = f"{base}/advoware/proxy?endpoint={ENDPOINT}"
            pids = {name: system.pid(name) for name in ("worker", "engine")}
            for clients in CLIENTS:
                await _get(bench, "proxy", subject, proxy, clients, pids)
                if engine is EngineKind.EMBEDDED:
                    url = f"{system.system.twins['advoware']}/{ENDPOINT}"
                    await _get(bench, "proxy", DIRECT, url, clients, {})
            await _get(bench, "GET /health", subject, f"{base}/health", 1, pids)
            await _get(bench, "no such path", subject, f"{base}/none", 1, pids)


async def _get(
    bench: Bench,
    name: str,
    subject: str,
    url: str,
    clients: int,
    pids: dict[str, int | None],
) -> None:
    """The twin refuses requests without a login, and needs as long for that."""
    order = Order(url=url, method="GET", clients=clients, seconds=bench.seconds(2))
    await stack.load(order.model_copy(update={"seconds": bench.seconds(1)}))
    found = []
    for _ in range(bench.repeats):
        cpu = Cpu(**pids)
        measured = await stack.load(order)
        used = sum(cpu.seconds().values())
        found.append({**measured, "cpu": 1000 * used / measured["count"]})
    what = f"{name}, {clients} clients"
    peer = DIRECT if name == "proxy" and subject != DIRECT else None
    for key in ("p50", "p99"):
        bench.add(f"{what}: {key}", subject, "ms", column(found, key), peer)
    rates = [item["count"] / item["seconds"] for item in found]
    bench.add(f"{what}: requests", subject, "/s", rates, peer)
    if pids:
        what = f"{what}: CPU of worker and engine per request"
        bench.add(what, subject, "ms", column(found, "cpu"))
