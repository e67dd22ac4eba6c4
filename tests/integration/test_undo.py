"""What a sync has overwritten comes back on the side that was written, and stays there."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from beteiligte_office import MAILS, PHONES, Office, office
from operator_desk import command

from services.core.errors import Conflict, Paused
from services.core.operation.pause import Scope, pause
from services.undo.command import Undo

__all__ = ["office"]


@pytest.fixture
async def person(office: Office) -> tuple[str, int]:
    """Linked, with a number, a mail address and a postal address on both sides."""
    entity_id, betnr = await office.linked_person(
        phoneNumberData=PHONES, emailAddressData=MAILS, dateOfBirth="1970-01-31"
    )
    await office._request(
        "POST",
        f"{office.espocrm.url}/__sandbox__/records/CAdressen?silent=1",
        json={
            "beteiligteId": entity_id,
            "adresseStreet": "Alte Gasse 1",
            "adresseCity": "Celle",
            "adressePostalCode": "29221",
        },
    )
    await office.sync(entity_id)
    await office.sync(entity_id)
    assert office.writes() == []
    return entity_id, betnr


async def undo(office: Office, entity_id: str, *options: str) -> tuple[int, str]:
    """Undo what the latest sync has done."""
    lines = [row for row in await office.audit(entity_id) if row["topic"] != "undo"]
    return await command(office.resources, "undo", str(lines[-1]["audit_id"]), *options)


async def espocrm_row(office: Office, entity: str) -> dict[str, Any]:
    (row,) = office.espocrm.state()["records"][entity]
    return await office.in_espocrm(row["id"], entity)


async def test_values_come_back_in_espocrm_and_the_next_sync_leaves_them(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    await office.edit_advoware(betnr, name="Falsch", geburtsdatum="1999-09-09T00:00:00")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["lastName"] == "Falsch"

    status, shown = await undo(office, entity_id, "--show-text")
    assert status == 0, shown
    assert "'Falsch' -> 'Muster': would be restored" in shown
    assert (await office.in_espocrm(entity_id))["lastName"] == "Falsch"
    status, done = await undo(office, entity_id, "--apply")
    assert status == 0, done
    assert "Muster" not in done

    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == []
    espocrm, advoware = await office.in_espocrm(entity_id), office.in_advoware(betnr)
    assert (espocrm["lastName"], advoware["name"]) == ("Muster", "Falsch")
    assert espocrm["dateOfBirth"] == "1970-01-31"
    (line,) = [row for row in await office.audit(entity_id) if row["topic"] == "undo"]
    assert line["result"] == "undone"
    assert {
        "field": "name",
        "side": "espocrm",
        "old": "Falsch",
        "new": "Muster",
    } in line["changes"]

    await office.edit_advoware(betnr, name="Richtig")
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["lastName"] == "Richtig"


async def test_values_come_back_in_advoware_and_the_next_sync_leaves_them(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    await office.edit_espocrm(
        entity_id,
        lastName="Falsch",
        phoneNumberData=[{**PHONES[0], "phoneNumber": "+4951199999"}],
    )
    await office.sync(entity_id)
    before = office.in_advoware(betnr)

    status, done = await undo(office, entity_id, "--apply")
    assert status == 0, done
    assert done.count("restored") == 2, done

    advoware = office.in_advoware(betnr)
    numbers = {entry["tlf"] for entry in advoware["kommunikation"]}
    assert before["name"] == "Falsch"
    assert advoware["name"] == "Muster"
    assert PHONES[0]["phoneNumber"] in numbers
    assert "+4951199999" not in numbers
    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == []
    assert (await office.in_espocrm(entity_id))["lastName"] == "Falsch"

    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.sync(entity_id)
    await office.sync(entity_id)
    assert office.writes() == []
    advoware = office.in_advoware(betnr)
    assert advoware["name"] == "Neu"
    assert len(advoware["kommunikation"]) == len(before["kommunikation"])


async def test_numbers_and_addresses_come_back_in_espocrm(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    known = office.in_advoware(betnr)
    number = next(e for e in known["kommunikation"] if "@" not in e["tlf"])
    (adresse,) = known["adressen"]
    office.advoware.beteiligte.edit(
        betnr,
        {
            "kommunikation": [
                {**e, "tlf": "+4951100000"} if e["id"] == number["id"] else e
                for e in known["kommunikation"]
            ],
            "adressen": [{**adresse, "ort": "Falschstadt", "anschrift": ""}],
        },
        "SB",
    )
    await office.sync(entity_id)
    assert (await espocrm_row(office, "CAdressen"))["adresseCity"] == "Falschstadt"

    status, done = await undo(office, entity_id, "--apply")
    assert status == 0, done

    espocrm = await office.in_espocrm(entity_id)
    assert espocrm["phoneNumberData"][0]["phoneNumber"] == PHONES[0]["phoneNumber"]
    assert len(espocrm["phoneNumberData"]) == 1
    assert (await espocrm_row(office, "CAdressen"))["adresseCity"] == "Celle"
    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == []
    assert len(office.in_advoware(betnr)["kommunikation"]) == len(
        known["kommunikation"]
    )


async def test_what_was_changed_since_is_left_alone(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    await office.edit_advoware(betnr, name="Falsch", vorname="Falscher")
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, lastName="Bewusst")

    status, done = await undo(office, entity_id, "--apply")

    assert status == 0
    assert "name: was changed since" in done
    espocrm = await office.in_espocrm(entity_id)
    assert (espocrm["lastName"], espocrm["firstName"]) == ("Bewusst", "Erika")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["name"] == "Bewusst"
    assert office.in_advoware(betnr)["vorname"] == "Falscher"


async def test_what_was_erased_cannot_be_undone(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    await office.edit_advoware(betnr, name="Falsch")
    await office.sync(entity_id)
    row = (await office.audit(entity_id))[-1]["audit_id"]
    await command(office.resources, "privacy", "erase", entity_id, "--apply")

    status, done = await command(office.resources, "undo", str(row), "--apply")

    assert status == 1
    assert "was erased" in done
    assert (await office.in_espocrm(entity_id))["lastName"] == "Falsch"


async def test_an_address_comes_back_in_advoware_with_its_printed_block(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, betnr = person
    row = await espocrm_row(office, "CAdressen")
    (before,) = office.in_advoware(betnr)["adressen"]
    await office._request(
        "PUT",
        f"{office.espocrm.url}/__sandbox__/records/CAdressen/{row['id']}",
        json={"adresseCity": "Falschstadt"},
    )
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["adressen"][0]["ort"] == "Falschstadt"

    status, output = await undo(office, entity_id, "--apply", "--show-text")
    assert status == 0, output

    (after,) = office.in_advoware(betnr)["adressen"]
    assert (after["ort"], after["anschrift"]) == (before["ort"], before["anschrift"])
    assert "Celle" in after["anschrift"]
    await office.sync(entity_id, "sync_check", "cron")
    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == []
    assert (await espocrm_row(office, "CAdressen"))["adresseCity"] == "Falschstadt"
    await office.edit_advoware(betnr, name="Andere")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["adressen"][0]["ort"] == "Celle"


async def test_a_row_about_an_address_shows_what_it_held(
    office: Office, person: tuple[str, int]
) -> None:
    entity_id, _ = person
    row = await espocrm_row(office, "CAdressen")
    await office._request(
        "PUT",
        f"{office.espocrm.url}/__sandbox__/records/CAdressen/{row['id']}",
        json={"adresseCity": "Falschstadt"},
    )
    await office.sync(entity_id)
    (kept,) = [
        line
        for line in await office.audit(row["id"])
        if line["result"] == "overwritten"
    ]
    number = str(kept["audit_id"])

    arguments = ("undo", number, "--show-text", "--apply")
    status, output = await command(office.resources, *arguments)

    assert (status, "Celle" in output, "by hand" in output) == (1, True, True)


async def test_an_unknown_row_is_an_error(office: Office) -> None:
    status, output = await command(office.resources, "undo", "4711")
    assert status == 1
    assert "no row 4711" in output


async def test_what_a_person_enters_during_an_undo_is_synced(office: Office) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, name="Falsch")
    await office.sync(entity_id)
    (row,) = [line for line in await office.audit(entity_id) if line["changes"]][-1:]
    undoing = Undo(office.resources)
    restore = undoing._restore_espocrm

    async def meanwhile(*arguments: Any) -> None:
        await office.edit_espocrm(entity_id, lastName="VomMenschen")
        await restore(*arguments)

    undoing._restore_espocrm = meanwhile  # type: ignore[method-assign]
    with suppress(Conflict):
        await undoing.beteiligter(row["audit_id"], apply=True)
    await office.sync(entity_id)
    assert (await office.in_espocrm(entity_id))["lastName"] == "VomMenschen"
    assert office.in_advoware(betnr)["name"] == "VomMenschen"


async def test_nothing_is_undone_while_the_flow_is_paused(office: Office) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, name="Falsch")
    await office.sync(entity_id)
    (row,) = [line for line in await office.audit(entity_id) if line["changes"]][-1:]
    scope = Scope("flow", "vmh")
    await pause(office.resources, scope, reason="Wartung", who="cli:anna")
    with pytest.raises(Paused):
        await Undo(office.resources).beteiligter(row["audit_id"], apply=True)
    assert (await office.in_espocrm(entity_id))["lastName"] == "Falsch"
