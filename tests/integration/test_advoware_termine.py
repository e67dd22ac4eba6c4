"""The Termine of Advoware, read and written through the service, against the twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date
from typing import Any

import aiohttp
import pytest

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from services.advoware_service import AdvowareService
from services.core.errors import (
    Forbidden,
    InvalidInput,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    WriteProtected,
)
from services.core.resources import Resources

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
#: A body that is not what its header says.
UNREADABLE = {"headers": {"Content-Encoding": "gzip"}}
TERMIN = {
    "text": "Besprechung",
    "datum": "2026-03-02",
    "uhrzeitVon": "10:00:00",
    "uhrzeitBis": "11:00:00",
}


@pytest.fixture
async def writing(
    make_settings: Callable[..., Settings], resources: Resources
) -> AsyncIterator[AdvowareService]:
    """The service, allowed to write."""
    async with Resources(
        make_settings(ADVOWARE_WRITE_PROTECTION="false"), clock=resources.clock
    ) as opened:
        yield AdvowareService(resources=opened)


async def fault(control: aiohttp.ClientSession, twin: Any, **rule: Any) -> None:
    async with control.post(f"{twin.url}/__sandbox__/faults", json=rule) as response:
        response.raise_for_status()


async def test_a_termin_is_created_read_changed_and_deleted(
    writing: AdvowareService,
) -> None:
    frnr = (await writing.create_termin({**TERMIN, "anwalt": "SB"}))["frNr"]

    record = await writing.get_termin(frnr)
    await writing.update_termin({**record, "ort": "Raum 1"})
    changed = await writing.get_termin(frnr)
    await writing.delete_termin(frnr)

    assert (record["text"], record["ort"], changed["text"], changed["ort"]) == (
        "Besprechung",
        "",
        "Besprechung",
        "Raum 1",
    )
    assert record["rowId"] != changed["rowId"]
    with pytest.raises(NotFound):
        await writing.get_termin(frnr)
    with pytest.raises(NotFound):
        await writing.delete_termin(frnr)


async def test_a_termin_is_deleted_whatever_advoware_says_to_it(
    writing: AdvowareService, control: aiohttp.ClientSession, advoware: AdvowareTwin
) -> None:
    record = await writing.create_termin(TERMIN)
    await fault(
        control,
        advoware,
        method="DELETE",
        path="/Termine",
        status=200,
        body="gelöscht",
        when="after",
        **UNREADABLE,
    )

    await writing.delete_termin(record["frNr"])

    with pytest.raises(NotFound):
        await writing.get_termin(record["frNr"])


async def test_a_list_holds_ones_own_and_those_of_all_employees_within_the_window(
    writing: AdvowareService,
) -> None:
    own = await writing.create_termin({**TERMIN, "anwalt": "SB"})
    of_all = await writing.create_termin(TERMIN)
    await writing.create_termin({**TERMIN, "anwalt": "AI"})
    last_day = await writing.create_termin(
        {**TERMIN, "anwalt": "SB", "datum": "2026-03-31"}
    )
    await writing.create_termin({**TERMIN, "anwalt": "SB", "datum": "2026-04-01"})

    rows = await writing.list_termine("SB", FIRST, LAST)

    assert {row["frNr"] for row in rows} == {
        own["frNr"],
        of_all["frNr"],
        last_day["frNr"],
    }
    assert await writing.list_termine("XX", FIRST, LAST) == []


async def test_write_protection_keeps_every_change_from_advoware(
    resources: Resources, writing: AdvowareService, advoware: AdvowareTwin
) -> None:
    protected = AdvowareService(resources=resources)
    record = await writing.create_termin(TERMIN)
    advoware.journal.clear()

    with pytest.raises(WriteProtected):
        await protected.create_termin(TERMIN)
    with pytest.raises(WriteProtected):
        await protected.update_termin({**record, "ort": "Raum 1"})
    with pytest.raises(WriteProtected):
        await protected.delete_termin(record["frNr"])

    assert [
        entry["method"] for entry in advoware.journal if "Termine" in entry["path"]
    ] == []
    assert (await protected.get_termin(record["frNr"]))["ort"] == ""


async def test_an_absence_is_only_believed_when_advoware_works(
    resources: Resources, control: aiohttp.ClientSession, advoware: AdvowareTwin
) -> None:
    service = AdvowareService(resources=resources)
    await fault(control, advoware, path="/api/v1/advonet", status=404)

    with pytest.raises(Unavailable, match="answers 404 to everything"):
        await service.get_termin(1)

    async with control.delete(f"{advoware.url}/__sandbox__/faults") as response:
        response.raise_for_status()
    await fault(control, advoware, path="Termine", status=404)
    with pytest.raises(NotFound):
        await service.get_termin(1)


async def test_an_answer_without_a_body_is_no_absence(
    writing: AdvowareService,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
) -> None:
    frnr = (await writing.create_termin({**TERMIN, "anwalt": "SB"}))["frNr"]
    await fault(control, advoware, method="GET", path="Termine|Mitarbeiter", text="")

    with pytest.raises(UnexpectedAnswer):
        await writing.get_termin(frnr)
    with pytest.raises(UnexpectedAnswer):
        await writing.list_termine("SB", FIRST, LAST)
    with pytest.raises(UnexpectedAnswer):
        await writing.list_mitarbeiter()


async def test_no_content_says_that_there_is_none(
    writing: AdvowareService,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
) -> None:
    await writing.create_termin({**TERMIN, "anwalt": "SB"})
    await fault(control, advoware, method="GET", path="Termine", status=204)

    assert await writing.list_termine("SB", FIRST, LAST) == []


async def test_an_answer_for_another_termin_is_refused(
    writing: AdvowareService, control: aiohttp.ClientSession, advoware: AdvowareTwin
) -> None:
    frnr = (await writing.create_termin(TERMIN))["frNr"]
    await fault(
        control, advoware, path="Termine", status=200, body=[{"frNr": frnr + 1}]
    )

    with pytest.raises(UnexpectedAnswer):
        await writing.get_termin(frnr)


async def test_derived_entries_cannot_be_changed(
    writing: AdvowareService, control: aiohttp.ClientSession, advoware: AdvowareTwin
) -> None:
    async with control.post(
        f"{advoware.url}/__sandbox__/termine", json={**TERMIN, "frNr": -7}
    ) as made:
        made.raise_for_status()

    with pytest.raises(Forbidden):
        await writing.delete_termin(-7)
    with pytest.raises(InvalidInput):
        await writing.update_termin(TERMIN)
