"""Calendars after the restore of a backup that is older than Google and Advoware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from calendar_office import CalendarOffice, in_haste, office
from operator_desk import command

__all__ = ["office"]


def texts(office: CalendarOffice) -> Any:
    return office.texts(), office.termin_texts()


async def operate(office: CalendarOffice, *arguments: str) -> tuple[int, str]:
    systems = office.resources.settings.foreign_systems.values()
    addresses = [url for system in systems for url in system.addresses.values()]
    return await command(
        office.resources, *arguments, BITBYLAW_TWINS=",".join(addresses)
    )


@in_haste
async def test_a_calendar_ends_in_agreement_after_an_older_backup(
    office: CalendarOffice, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    changed, removed = office.termin("Bleibt"), office.termin("Geht")
    await office.sync_until_calm()
    entered, dropped = office.enter("Eigener"), office.enter("Weggefallen")
    await office.sync_until_calm()
    status, output = await operate(office, "backup", str(folder))
    assert status == 0, output

    office.change_termin(changed, text="Bleibt, verlegt")
    office.delete_termin(removed)
    office.delete_event(dropped)
    office.change_event(entered, summary="Eigener, neu")
    office.termin("Nach der Sicherung")
    office.enter("Eigener nach der Sicherung")
    await office.sync_until_calm()
    before = texts(office)
    assert len(before[0]) == 4

    await office.resources.close()
    status, output = await operate(
        office, "restore", str(folder), "--apply", "--over-newer"
    )
    assert status == 0, output
    await office.restart()
    assert (
        await office.fetch(
            "SELECT 1 FROM calendar_sync_cursor WHERE sync_token IS NOT NULL"
        )
        == []
    )
    await office.sync_until_calm()

    assert texts(office) == before
    assert (await office.sync()).result == "no_change"
    office.change_termin(changed, text="Bleibt, abgesagt")
    await office.sync_until_calm()
    assert "Bleibt, abgesagt" in office.texts()
    assert len(office.texts()) == 4
