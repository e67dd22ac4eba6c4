"""What grows per 1,000 events, measured on a whole system with twins: ``make growth`` (EVENTS=1000).

First edits of Beteiligte that EspoCRM's webhooks report, then Termine that appear in Advoware. What is measured is
what the board shows (`services.operate.growth`), before and after. No part of the gate.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]

import aiohttp  # noqa: E402
from outside import Outside  # noqa: E402

from cli.demo import open_audit  # noqa: E402
from cli.system import Ports, running_system  # noqa: E402
from services.core.resources import Resources  # noqa: E402
from services.operate.growth import Growing, growing  # noqa: E402

PEOPLE = 50
AT_ONCE = 20
QUIET = {"CALENDAR_SYNC_DEBUG_KUERZEL": "SB", "CALENDAR_SYNC_DAYS_BACK": "0"}


async def main(events: int) -> None:
    """Start a system, let it work off the events, print what grew."""
    data = Path(tempfile.mkdtemp(prefix="bbl-growth-"))
    try:
        async with (
            running_system(
                data,
                Ports(0, 0, 0, 0, 0, 0),
                None,
                on_event=print,
                overrides=QUIET,
            ) as system,
            aiohttp.ClientSession() as session,
            await open_audit(system) as audit,
            Resources(system.settings) as resources,
        ):
            await _measure(Outside(system, session, audit), resources, events)
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _measure(system: Outside, resources: Resources, events: int) -> None:
    people = [await system.person(lastName=f"Muster{n}") for n in range(PEOPLE)]
    await system.webhook("create", *people)
    await _until_audited(system, PEOPLE)
    for kind, play in (("edits of Beteiligte", _edit), ("new Termine", _appointments)):
        before = await _now(resources)
        began = datetime.now(UTC)
        await play(system, people, events)
        seconds = (datetime.now(UTC) - began).total_seconds()
        print(f"\n{events} {kind} in {seconds:.0f} s; per 1,000:")
        _show(before, await _now(resources), 1000 / events)


async def _edit(system: Outside, people: list[str], events: int) -> None:
    done = await system.audit.fetchval("SELECT count(*) FROM sync_audit")
    for number in range(0, events, AT_ONCE):
        some = [
            people[(number + n) % PEOPLE] for n in range(min(AT_ONCE, events - number))
        ]
        for entity_id in some:
            path = f"/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
            await system.twin("espocrm", "PUT", path, json={"firstName": f"E{number}"})
        await system.webhook("update", *some)
        await _until_audited(system, done + number + len(some))


async def _until_audited(system: Outside, lines: int) -> None:
    await _until_counted(system, "SELECT count(*) FROM sync_audit", lines)


async def _until_counted(system: Outside, question: str, number: int) -> None:
    async def enough() -> bool:
        return int(await system.audit.fetchval(question)) >= number

    while not await enough():  # noqa: ASYNC110 - a database that says nothing by itself
        await asyncio.sleep(0.2)


async def _appointments(system: Outside, _people: list[str], events: int) -> None:
    day = datetime.now(UTC).date()
    for number in range(events):
        when = (day + timedelta(days=1 + number % 300)).isoformat()
        termin = {"text": f"Besprechung {number}", "datum": when, "datumBis": when}
        times = {"uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00", "anwalt": "SB"}
        await system.twin(
            "advoware",
            "POST",
            "/__sandbox__/termine",
            json=termin | times,
        )
    await system.call("POST", "/advoware/calendar/sync", json={"kuerzel": "SB"})
    await _until_counted(system, "SELECT count(*) FROM calendar_sync", events)


async def _now(resources: Resources) -> dict[str, Growing]:
    pool = await resources.database()
    await pool.execute("ANALYZE")
    found = {one.name: one for one in await growing(resources)}
    # Files of the WAL are used again; what was written to it says more.
    written = await pool.fetchval("SELECT pg_current_wal_lsn() - '0/0'")
    return found | {"WAL": Growing("WAL, written", 0, int(written), "max_wal_size")}


def _show(before: dict[str, Growing], after: dict[str, Growing], scale: float) -> None:
    print(f"{'what':28} {'rows':>8} {'kB':>8}  bounded by")
    for name, one in after.items():
        old = before.get(name)
        rows = (one.rows - (old.rows if old else 0)) * scale
        size = (one.bytes - (old.bytes if old else 0)) * scale / 1000
        if rows or size:
            print(f"{one.name:28} {rows:8.0f} {size:8.0f}  {one.bound}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
