"""What the take-over remembers of Beteiligte, and what the first sync makes of it."""
# ruff: noqa: S608, F811 - an administrator's statements; the fixture is imported

from __future__ import annotations

from typing import Any

from takeover_office import (  # noqa: F401 - fixtures
    TakeoverOffice,
    database,
    differing,
    office,
)

from services.takeover.report import Report


async def leave_two(office: TakeoverOffice) -> tuple[str, int]:
    """A small firm without calendars; the id and the number of a person whose sides agree."""
    await office.leave("none", beteiligte=8, with_faults=False)
    return office.ids[0], int(office.espocrm_record(office.ids[0])["betnr"])


def set_in_espocrm(office: TakeoverOffice, entity_id: str, **attributes: Any) -> None:
    office.espocrm.set_silently("CBeteiligte", entity_id, attributes)


def found(report: Report) -> set[tuple[str, str]]:
    return {
        (item.kind, item.where.removeprefix("CBeteiligte/")) for item in report.findings
    }


async def test_the_first_sync_writes_what_the_preview_announces(
    office: TakeoverOffice,
) -> None:
    await office.leave("none", beteiligte=12)
    before = len(office.advoware.beteiligte.all())

    report = await office.takeover("run")
    assert office.writes() == []
    announced = await office.preview_beteiligte()
    assert office.writes() == []
    await office.sync_beteiligte()

    assert differing(announced, office.written_records()) == []
    assert announced
    assert len(office.advoware.beteiligte.all()) == before
    assert report.beteiligte["taken over"] == 12


async def test_equal_fields_are_the_base_and_different_ones_are_left_to_the_first_sync(
    office: TakeoverOffice,
) -> None:
    entity_id, betnr = await leave_two(office)
    office.clock.advance(minutes=1)
    office.advoware.beteiligte.edit(betnr, {"vorname": "Anders"}, "SB")

    report = await office.takeover("run")

    (difference,) = [item for item in report.differences if item.entity_id == entity_id]
    assert "vorname" in difference.fields
    (row,) = await office.fetch(
        f"SELECT base, advoware_id FROM sync_state WHERE entity_type = 'CBeteiligte' AND entity_id = '{entity_id}'"
    )
    assert row["advoware_id"] == str(betnr)
    assert '"name"' in row["base"]
    assert '"vorname"' not in row["base"]


async def test_edits_of_different_fields_after_the_takeover_both_survive(
    office: TakeoverOffice,
) -> None:
    entity_id, betnr = await leave_two(office)
    await office.takeover("run")
    office.clock.advance(minutes=1)
    office.advoware.beteiligte.edit(betnr, {"vorname": "Neu in Advoware"}, "SB")
    office.clock.advance(minutes=1)
    set_in_espocrm(office, entity_id, lastName="Neu in EspoCRM")

    await office.sync_beteiligte()

    espo = office.espocrm_record(entity_id)
    advo = office.advoware.beteiligte.get(betnr)
    assert (espo["firstName"], espo["lastName"]) == (
        "Neu in Advoware",
        "Neu in EspoCRM",
    )
    assert (advo["vorname"], advo["name"]) == ("Neu in Advoware", "Neu in EspoCRM")


async def test_odd_records_are_left_alone_and_named_and_the_rest_goes_on(
    office: TakeoverOffice,
) -> None:
    _, betnr = await leave_two(office)
    ids = office.ids
    set_in_espocrm(office, ids[1], betnr=betnr)  # as the first one
    set_in_espocrm(office, ids[2], betnr=999999)
    stranger = {"rechtsform": "Frau", "vorname": "Wilma", "name": "Fremd"}
    other = office.advoware.beteiligte.create(
        {**stranger, "geburtsdatum": "1950-01-01T00:00:00"}, "SB"
    )
    set_in_espocrm(office, ids[3], betnr=other["betNr"])
    number = office.espocrm_record(ids[4])["betnr"]
    entry = office.advoware.beteiligte.get(number)["kommunikation"][0]
    office.advoware.beteiligte.edit(
        number,
        {"kommunikation": [{"id": entry["id"], "bemerkung": "[ESPOCRM:%%%:1] x"}]},
        "SB",
    )
    set_in_espocrm(office, ids[5], betnr=None)
    office.forget_calls()

    report = await office.takeover("run")

    assert found(report) >= {
        ("number_claimed_twice", ids[0]),
        ("number_claimed_twice", ids[1]),
        ("missing", ids[2]),
        ("different_person", ids[3]),
        ("damaged_marker", ids[4]),
    }
    rows = await office.fetch(
        "SELECT entity_id FROM sync_state WHERE entity_type = 'CBeteiligte'"
    )
    assert {row["entity_id"] for row in rows} == {ids[4], *ids[6:]}
    assert report.problems == []
    assert office.writes() == []


async def test_markers_that_the_old_system_wrote_are_the_base_of_contacts(
    office: TakeoverOffice,
) -> None:
    """So a number that is deleted in EspoCRM after the take-over is emptied in Advoware, and does not come back."""
    await leave_two(office)
    entity_id = next(
        each for each in office.ids if office.espocrm_record(each)["emailAddressData"]
    )
    betnr = office.espocrm_record(entity_id)["betnr"]
    mails = [
        entry
        for entry in office.advoware.beteiligte.get(betnr)["kommunikation"]
        if entry["kommKz"] in {4, 8} and entry["tlf"]
    ]
    assert mails
    await office.takeover("run")
    office.clock.advance(minutes=1)
    set_in_espocrm(office, entity_id, emailAddressData=[])

    await office.sync_beteiligte()

    assert office.espocrm_record(entity_id)["emailAddressData"] == []
    after = office.advoware.beteiligte.get(betnr)["kommunikation"]
    emptied = [
        entry for entry in after if "[ESPOCRM-SLOT:" in (entry["bemerkung"] or "")
    ]
    assert emptied


async def test_records_are_counted_by_their_status(
    office: TakeoverOffice,
) -> None:
    await leave_two(office)
    set_in_espocrm(office, office.ids[0], syncStatus="failed")
    set_in_espocrm(office, office.ids[1], syncStatus="syncing")

    report = await office.takeover("check")

    numbers = report.beteiligte
    assert (numbers["status clean"], numbers["status failed"]) == (6, 1)
    assert (numbers["all"], numbers["with a betnr"]) == (8, 8)
