"""The calendar sync as started by hand, through HTTP, queue and worker, against both twins."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from outside import KEY, Outside, outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

PATH = "/advoware/calendar/sync"
RIGHT = {"X-Api-Key": KEY}
DAY = datetime.now(UTC).date() + timedelta(days=3)


async def employees(system: Outside) -> list[str]:
    _, body = await system.call(
        "GET", "/advoware/proxy?endpoint=api/v1/advonet/Mitarbeiter&aktiv=true"
    )
    return [str(found["kuerzel"]) for found in body["result"]]


async def events_of(system: Outside, kuerzel: str) -> list[dict[str, Any]]:
    state = await system.twin("google", "GET", "/__sandbox__/state")
    calendars = [
        item for item in state["calendars"] if item["summary"] == f"AW-{kuerzel}"
    ]
    assert len(calendars) <= 1
    return [
        event
        for item in calendars
        for event in item["events"]
        if event["status"] != "cancelled"
    ]


async def test_an_appointment_from_advoware_arrives_in_the_employees_calendar(
    shared: Outside,
) -> None:
    kuerzel, *_ = await employees(shared)
    termin = {
        "text": "Verhandlung LG Hannover",
        "datum": DAY.isoformat(),
        "uhrzeitVon": "10:00:00",
        "uhrzeitBis": "11:00:00",
        "datumBis": DAY.isoformat(),
        "anwalt": kuerzel,
    }
    await shared.twin("advoware", "POST", "/__sandbox__/termine", json=termin)

    status, body = await shared.call("POST", PATH, json={"kuerzel": kuerzel})

    assert (status, body["status"], body["kuerzel"]) == (200, "triggered", kuerzel)

    async def arrived() -> bool:
        return any(
            event.get("summary") == termin["text"]
            for event in await events_of(shared, kuerzel)
        )

    await shared.until(arrived)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed() -> AsyncIterator[Outside]:
    """A system of two employees and few days, which asks for a key."""
    few = {
        "CALENDAR_SYNC_DEBUG_KUERZEL": "SB, AI",
        "CALENDAR_SYNC_DAYS_AHEAD": "7",
        "CALENDAR_SYNC_DAYS_BACK": "0",
        "BITBYLAW_API_KEYS": KEY,
    }
    async with outside(**few) as system:
        yield system


async def test_all_employees_are_synced_and_none_of_their_appointments_is_doubled(
    closed: Outside,
) -> None:
    for _ in range(2):
        _, body = await closed.call("POST", PATH, headers=RIGHT)
        assert body["kuerzel"] == "ALL"

    async def all_are_complete() -> bool:
        query = "SELECT employee_kuerzel FROM calendar_sync_cursor WHERE sync_token IS NOT NULL"
        return {row[0] for row in await closed.audit.fetch(query)} == {"SB", "AI"}

    await closed.until(all_are_complete)

    for kuerzel in ("SB", "AI"):
        properties = [
            event.get("extendedProperties")
            for event in await events_of(closed, kuerzel)
        ]
        marks = [found["private"]["advoware_frnr"] for found in properties if found]
        assert marks
        assert len(marks) == len(set(marks))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kuerzel": "GIBTSNICHT"}, 404),
        ({"kuerzel": 5}, 400),
        ({"full_content": "ja"}, 400),
        ([], 400),
    ],
)
async def test_an_unusable_request_is_reported_as_such(
    shared: Outside, body: Any, status: int
) -> None:
    assert (await shared.call("POST", PATH, json=body))[0] == status


async def test_a_calendar_that_is_being_synced_is_locked(shared: Outside) -> None:
    # Not the first one, whose run for another test may not be over.
    _, kuerzel, *_ = await employees(shared)
    async with shared.held(
        "advoware", path="Termine", query=f"kuerzel={kuerzel}"
    ) as reading:
        assert (await shared.call("POST", PATH, json={"kuerzel": kuerzel}))[0] == 200
        await reading()
        status, body = await shared.call(
            "POST", PATH, json={"kuerzel": kuerzel.lower()}
        )
    assert (status, body["status"]) == (409, "locked")


async def test_only_callers_with_a_key_may_start_it(closed: Outside) -> None:
    assert (await closed.call("POST", PATH, json={}))[0] == 401
    assert (await closed.call("POST", PATH, json={}, headers=RIGHT))[0] == 200


async def test_the_audit_finds_the_running_system_by_the_file_it_leaves(
    shared: Outside,
) -> None:
    left = shared.system.data / "environment"
    assert left.stat().st_mode & 0o077 == 0
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "audit", "list-calendars", "--json"),
        env={"PATH": os.environ["PATH"], "BITBYLAW_ENV_FILE": str(left)},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()

    assert process.returncode in {0, 1}, errors.decode()
    assert json.loads(output)
