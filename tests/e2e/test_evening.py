"""The evening of the switch (docs/cutover.md), played on twins with the real commands: what is announced is written."""
# ruff: noqa: F811 - fixtures are imported

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from takeover_office import (  # noqa: F401 - fixtures
    FAULT_EVERY,
    KUERZEL,
    REQUESTS,
    TakeoverOffice,
    announced_records,
    by_kind,
    database,
    journalled_records,
    office,
    requests_of,
)

from sandbox.old_firm.calendars import FAULTS
from sandbox.old_firm.load import PERSON

ADMIN = {"X-Api-Key": "espocrm-admin-key"}
TERMINE = len(FAULTS) * FAULT_EVERY
BETEILIGTE = 30
#: The place of the one whom the generated firm has changed in Advoware since the old system's last sync.
CHANGED = 7
#: The generated firm has faults that each of these mends.
OF_THE_FIRST_SYNC = {
    "Advoware Kommunikationen create",
    "EspoCRM CBeteiligte change",
    "EspoCRM Task create",
    "Google Calendar event change",
    "Google Calendar event create",
    "Google Calendar event delete",
}

Numbers = Counter[str]


# -- commands ---------------------------------------------------------------------------------------------------------


async def command(
    office: TakeoverOffice, *arguments: str, expected: Iterable[int] = (0,)
) -> str:
    """``bitbylaw ...``; what it prints."""
    code, printed = await office.command_line(*arguments)
    assert code in set(expected), (arguments, code, printed)
    return printed


async def takeover(office: TakeoverOffice, name: str) -> dict[str, Any]:
    """``bitbylaw takeover ...``, which finds the faults of the generated firm."""
    printed = await command(office, "takeover", name, "--json", expected=(0, 1))
    found: dict[str, Any] = json.loads(printed)
    return found


async def preview(office: TakeoverOffice) -> Numbers:
    """What ``bitbylaw preview`` announces of all Beteiligte and all calendars, record by record."""
    records: Numbers = Counter()
    for flow in ("beteiligte", "calendar"):
        printed = await command(
            office, "preview", flow, "--all", "--json", expected=(0, 1)
        )
        document = json.loads(printed)
        assert document["failed"] == {}
        announced = announced_records(document)
        assert sum(document["writes"].values()) == announced.total()
        records.update(announced)
    return records


def added(before: Numbers, after: Numbers) -> Numbers:
    """What has come on top; nothing may be missing."""
    assert before <= after
    return after - before


def old_environment(path: Path) -> Path:
    """The old system's file: names that are the same, and one that only it reads."""
    path.write_text("ADVOWARE_PRODUCT_ID=64\nMOTIA_LOG_LEVEL=info\n")
    return path


# -- people -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edited:
    """What people have edited while the switch was under way."""

    in_espocrm: str
    in_advoware: str


def people_without_faults(office: TakeoverOffice) -> list[str]:
    """Persons, no companies, on whom both sides agree."""
    agreeing = [
        entity_id for place, entity_id in enumerate(office.ids) if place != CHANGED
    ]
    records = [office.espocrm_record(entity_id) for entity_id in agreeing]
    return [record["id"] for record in records if record.get("firstName")]


async def people_work(office: TakeoverOffice) -> Edited:
    """In EspoCRM a name is edited, in Advoware another, and there is a new appointment on either side."""
    office.clock.advance(minutes=1)
    first, second = people_without_faults(office)[:2]
    url = f"{office.espocrm.url}/__sandbox__/records/CBeteiligte/{first}"
    async with (
        aiohttp.ClientSession(headers=ADMIN) as session,
        session.put(url, json={"lastName": "Abendroth"}) as answer,
    ):
        assert answer.status == 200, await answer.text()
    betnr = int(office.espocrm_record(second)["betnr"])
    office.advoware.beteiligte.edit(betnr, {"vorname": "Erdmute"}, "SB")
    day = office.clock().date() + timedelta(days=30)
    times = {"uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00"}
    termin = {"datum": f"{day}", "datumBis": f"{day}", **times, "anwalt": KUERZEL[0]}
    office.advoware.termine.create({**termin, "text": "Eilsache"})
    event = {
        "summary": "Zahnarzt",
        "start": {"dateTime": f"{day}T14:00:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": f"{day}T15:00:00", "timeZone": "Europe/Berlin"},
    }
    calendar = office.loaded.calendars[KUERZEL[0]]
    office.google.world.events.insert(PERSON, calendar, event)
    return Edited(first, second)


def everything_of_people(office: TakeoverOffice) -> dict[str, Any]:
    """What people see in the three systems, without what the syncs note for themselves."""
    by_number = {str(row["betNr"]): row for row in office.advoware.beteiligte.all()}
    records = office.espocrm.state()["records"]["CBeteiligte"]
    assert len(records) == len(by_number)
    return {
        "beteiligte": {
            row["id"]: names(by_number[str(row["betnr"])], "name", "vorname")
            for row in records
        },
        "espocrm": {row["id"]: names(row, "lastName", "firstName") for row in records},
        "termine": office.termine(),
        "events": Counter(title for name in KUERZEL for title in office.events(name)),
    }


def names(record: dict[str, Any], name: str, first_name: str) -> dict[str, str]:
    """A person's names; of a company only that it is one."""
    if not record.get(first_name):
        return {}
    return {"name": record[name], "vorname": record[first_name]}


async def people_work_again(office: TakeoverOffice) -> None:
    """After the backup: a Beteiligter and an appointment are new, another appointment is deleted."""
    office.clock.advance(minutes=1)
    day = office.clock().date() + timedelta(days=31)
    times = {"uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00"}
    termin = {"datum": f"{day}", "datumBis": f"{day}", **times, "anwalt": KUERZEL[1]}
    office.advoware.termine.create({**termin, "text": "Haftprüfung"})
    (cancelled,) = [
        row["frNr"]
        for row in office.advoware.termine.all()
        if row["text"] == "Eilsache"
    ]
    office.advoware.termine.remove(cancelled)
    third = people_without_faults(office)[2]
    betnr = int(office.espocrm_record(third)["betnr"])
    office.advoware.beteiligte.edit(betnr, {"vorname": "Kunigunde"}, "SB")


def expected_after(
    office: TakeoverOffice, before: dict[str, Any], edited: Edited
) -> dict[str, Any]:
    """What people are to see after the first sync: all of before, nothing twice, and their edits of meanwhile."""
    expected = copy.deepcopy(before)
    expected["beteiligte"][edited.in_espocrm]["name"] = "Abendroth"
    expected["beteiligte"][edited.in_advoware]["vorname"] = "Erdmute"
    expected["espocrm"] = expected["beteiligte"]
    expected["termine"] = sorted([*before["termine"], "Eilsache"])
    expected["events"] = office.expected_events("uuid") + Counter(["Zahnarzt"])
    return expected


async def first_sync(office: TakeoverOffice) -> Numbers:
    """The sync of every calendar and every Beteiligter; the records that were written."""
    office.forget_calls()
    await office.sync_calendars()
    await office.sync_beteiligte()
    return journalled_records(office)


@asynccontextmanager
async def copy_of_the_database(office: TakeoverOffice) -> AsyncIterator[None]:
    """Commands work on a copy of the database."""
    name = office.settings().postgres.db_name
    await office.sql(f"CREATE DATABASE {name}_copy TEMPLATE {name} STRATEGY FILE_COPY")
    office.variables["POSTGRES_DB_NAME"] = f"{name}_copy"
    try:
        yield
    finally:
        del office.variables["POSTGRES_DB_NAME"]
        await office.sql(f"DROP DATABASE {name}_copy WITH (FORCE)")


async def old_rows(office: TakeoverOffice) -> list[dict[str, Any]]:
    """The rows of the table that bears the old system's name."""
    return await office.fetch("SELECT t::text FROM calendar_sync AS t ORDER BY 1")


# -- the evening ------------------------------------------------------------------------------------------------------


async def test_the_evening_of_the_switch(
    office: TakeoverOffice, tmp_path: Path
) -> None:
    await office.leave("uuid", termine=TERMINE, beteiligte=BETEILIGTE)
    before = everything_of_people(office)
    rows = await old_rows(office)

    office.env_file = str(old_environment(tmp_path / ".env"))
    check = await takeover(office, "check")
    assert "unknown: MOTIA_LOG_LEVEL (nothing reads it)" in check["settings"]
    await command(office, "preview", "calendar", "--all", expected=[2])
    run = await takeover(office, "run")
    assert run["announced"] == check["announced"]
    announced = await preview(office)
    assert requests_of(by_kind(announced)) == Counter(
        REQUESTS[item["action"]] for item in run["announced"]
    )
    assert by_kind(announced).keys() >= OF_THE_FIRST_SYNC
    early = str(tmp_path / "early")
    await command(office, "backup", early)
    assert office.writes() == []
    assert everything_of_people(office) == before

    edited = await people_work(office)
    announced_with_edits = await preview(office)
    assert by_kind(added(announced, announced_with_edits)) == {
        "Advoware Beteiligte change": 1,
        "Google Calendar event create": 1,
    }
    async with copy_of_the_database(office):
        await command(office, "takeover", "undo")
        assert await old_rows(office) == rows
    assert office.writes() == []

    written = await first_sync(office)
    assert written == announced_with_edits

    assert everything_of_people(office) == expected_after(office, before, edited)
    assert await preview(office) == {}
    assert await first_sync(office) == {}

    later = str(tmp_path / "later")
    await command(office, "backup", later)
    await people_work_again(office)
    announced_again = await preview(office)
    assert await first_sync(office) == announced_again
    for backup in (later, early):
        await restored_and_agreed(office, backup)


async def restored_and_agreed(office: TakeoverOffice, backup: str) -> None:
    """A backup that is older than what the syncs have done ends in agreement, and nothing is there twice."""
    agreed = everything_of_people(office)
    tasks = len(office.espocrm.state()["records"]["Task"])
    await command(office, "restore", backup, "--apply", "--over-newer")
    announced = await preview(office)
    assert await first_sync(office) == announced
    assert not [name for name in announced if name.endswith("create new")]
    assert everything_of_people(office) == agreed
    assert len(office.espocrm.state()["records"]["Task"]) == tasks
    assert await preview(office) == {}
