"""What tests of several themes do with a calendar office: its settings, its runs, and what stands anywhere."""

from __future__ import annotations

import json
from typing import Any

from calendar_office import CalendarOffice
from calendar_scenario import KUERZEL

MAY_WRITE = {"ADVOWARE_WRITE_PROTECTION": "false"}
LAST_CHANGE_WINS = {**MAY_WRITE, "CALENDAR_SYNC_STRATEGY": "last_change_wins"}
WEEKLY = {"recurrence": ["RRULE:FREQ=WEEKLY;UNTIL=20260630T215959Z"]}
SERIES: dict[str, Any] = {
    "dauertermin": 1,
    "turnus": 1,
    "turnusArt": 2,
    "datumBis": "2026-06-30",
}


async def sync_all(office: CalendarOffice, runs: int = 1) -> None:
    """So many runs of each employee, whether they succeed or not."""
    for _ in range(runs):
        for kuerzel in KUERZEL:
            await office.try_sync(kuerzel)


def with_occurrences(office: CalendarOffice, kuerzel: str = "SB") -> list[Any]:
    """All events with the occurrences that Google lists by themselves; id and title."""
    return [(event["id"], event.get("summary")) for event in office.events(kuerzel)]


async def persons_series(office: CalendarOffice) -> tuple[int, str]:
    """A person's series that is a Termin, with an occurrence of another colour, a while ago; number and id."""
    await sync_all(office)
    event_id = office.enter("Mandat Weber", **WEEKLY)
    await sync_all(office, 2)
    office.change_event(f"{event_id}_20260226T130000Z", colorId="5")
    await sync_all(office, 2)
    return office.record("Mandat Weber")["frNr"], event_id


async def everything(office: CalendarOffice) -> str:
    """All that stands somewhere or was kept."""
    rows = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    kept = [row["resource"] for row in rows]
    shown = [office.events(kuerzel) for kuerzel in KUERZEL]
    return json.dumps([kept, shown, office.termine()], ensure_ascii=False, default=str)
