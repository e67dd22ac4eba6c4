"""Part d: the sync of Beteiligte, unchanged and with one change, with slow foreign systems."""

from __future__ import annotations

import asyncio
import time

from benchmarks import firm, machine, stack
from benchmarks.bench import Bench
from benchmarks.stack import Stack

RECORDS = 600
UPSTREAM_MS = 50
SUBJECT = "one worker"
AT_ONCE = 10


async def measure(bench: Bench) -> None:
    """Records that were synced once; then all again, as they are and with one change each."""
    async with stack.running() as system:
        records = bench.count(RECORDS)
        bench.say(f"making {records:,} records, and syncing them once")
        started = time.monotonic()
        ids = await firm.people(system, records)
        rate = 60 * records / (time.monotonic() - started)
        bench.add("first sync, foreign systems at once", SUBJECT, "records/min", [rate])
        await system.slow_twins(UPSTREAM_MS)
        parts = max(1, bench.repeats)
        unchanged, changed = _parts(ids, parts), _parts(ids, parts)
        await _measure(bench, system, "unchanged", unchanged)
        await system.slow_twins(0)
        await change(system, ids, "Neu")
        await system.slow_twins(UPSTREAM_MS)
        await _measure(bench, system, "one change", changed)
        memory = machine.memory(system.pid("worker"))
        bench.add("memory of the worker afterwards", SUBJECT, "MB", [memory])


def _parts(ids: list[str], number: int) -> list[list[str]]:
    return [ids[start::number] for start in range(number)]


async def _measure(
    bench: Bench, system: Stack, name: str, portions: list[list[str]]
) -> None:
    rates, costs, calls = [], [], []
    for ids in portions:
        await system.forget_calls()
        before = await _last(system)
        used, started = machine.cpu_seconds(system.pid("worker")), time.monotonic()
        await firm.send(system, "update", ids)
        await _synced_after(system, ids, before)
        rates.append(60 * len(ids) / (time.monotonic() - started))
        used = machine.cpu_seconds(system.pid("worker")) - used
        costs.append(1000 * used / len(ids))
        calls.append(await system.calls() / len(ids))
    what = f"{name}, {UPSTREAM_MS} ms upstream"
    bench.add(f"{what}: records", SUBJECT, "records/min", rates)
    bench.add(f"{what}: CPU of the worker", SUBJECT, "ms/record", costs)
    bench.add(f"{what}: calls", SUBJECT, "calls/record", calls)


async def change(system: Stack, ids: list[str], text: str) -> None:
    """Give each record another last name in EspoCRM, without a webhook."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(entity_id: str) -> None:
        path = f"/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
        async with slots:
            await system.twin(
                "espocrm", "PUT", path, json={"lastName": f"{text} {entity_id}"}
            )

    await asyncio.gather(*(one(entity_id) for entity_id in ids))


async def _last(system: Stack) -> int:
    query = "SELECT coalesce(max(audit_id), 0) FROM sync_audit"
    return int(await system.audit.fetchval(query))


async def _synced_after(system: Stack, ids: list[str], audit_id: int) -> None:
    async def all_of_them() -> bool:
        done = await system.audit.fetchval(
            "SELECT count(DISTINCT entity_id) FROM sync_audit"
            " WHERE audit_id > $2 AND entity_id = ANY($1)",
            ids,
            audit_id,
        )
        return bool(done == len(ids))

    await stack.until(all_of_them, 60 + len(ids))
