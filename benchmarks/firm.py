"""The records that are measured, in the twins."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import stack
from benchmarks.stack import TOKEN, Stack

#: Syncing a record for the first time takes a tenth of that at most.
SECONDS_PER_RECORD = 1.0
AT_ONCE = 10
BATCH = 100


def person(number: int) -> dict[str, Any]:
    """An invented person; each has another name."""
    return {
        "firstName": "Erika",
        "lastName": f"Muster{number:06d}",
        "salutationName": "Frau",
        "emailAddress": f"erika{number}@example.org",
    }


def moment(number: int) -> tuple[str, str]:
    """Day and hour of an appointment: ten a day, from tomorrow on, and again from there."""
    day = datetime.now(UTC).date() + timedelta(days=1 + number // 10 % 300)
    return day.isoformat(), f"{8 + number % 10:02d}"


def termin(number: int, kuerzel: str) -> dict[str, Any]:
    """An appointment of an employee."""
    day, hour = moment(number)
    return {
        "text": f"Besprechung {number}",
        "datum": day,
        "uhrzeitVon": f"{hour}:00:00",
        "uhrzeitBis": f"{hour}:30:00",
        "datumBis": day,
        "anwalt": kuerzel,
    }


async def syncs(system: Stack) -> int:
    """How many lines the audit of the syncs has."""
    return int(await system.audit.fetchval("SELECT count(*) FROM sync_audit"))


async def people(system: Stack, count: int) -> list[str]:
    """The ids of so many new CBeteiligte, each synced once, so that nothing is left to do."""
    total = await syncs(system)
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(number: int) -> str:
        path = "/__sandbox__/records/CBeteiligte?silent=1"
        async with slots:
            made = await system.twin("espocrm", "POST", path, json=person(number))
        return str(made["id"])

    ids = await asyncio.gather(*(make(total + n) for n in range(count)))
    await send(system, "create", ids)
    await synced(system, ids)
    return ids


async def send(system: Stack, action: str, ids: list[str]) -> None:
    """The webhooks of these records, a batch at a time."""
    for start in range(0, len(ids), BATCH):
        batch = [{"id": item} for item in ids[start : start + BATCH]]
        url = f"{system.system.http_url}/vmh/webhook/beteiligte/{action}?token={TOKEN}"
        async with system.session.post(url, json=batch) as answer:
            answer.raise_for_status()


async def synced(system: Stack, ids: list[str]) -> None:
    """Wait until each of the records was synced since it was made."""

    async def all_of_them() -> bool:
        done = await system.audit.fetchval(
            "SELECT count(DISTINCT entity_id) FROM sync_audit WHERE entity_id = ANY($1)",
            ids,
        )
        return bool(done == len(ids))

    await stack.until(all_of_them, 30 + SECONDS_PER_RECORD * len(ids))
