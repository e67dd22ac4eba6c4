"""Addresses that come back, are there twice, or are the main one on one side only."""

from __future__ import annotations

import pytest
from adressen_deeds import (
    ADRESSE,
    STREET,
    enter_address,
    open_tasks,
    streets,
    streets_of,
    with_two_addresses,
)
from beteiligte_office import Office, office

__all__ = ["office"]


async def test_a_main_address_chosen_with_the_old_one_deactivated_is_reported(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    old = await office.enter(
        "CAdressen", beteiligteId=entity_id, istStandard=True, **STREET
    )
    new = await office.enter(
        "CAdressen",
        beteiligteId=entity_id,
        istStandard=False,
        **{**STREET, "adresseStreet": "Am Wall 1"},
    )
    await office.sync(entity_id)
    await office.sync(entity_id)
    await office.edit("CAdressen", old["id"], isActive=False, istStandard=False)
    await office.edit("CAdressen", new["id"], istStandard=True)
    await office.sync(entity_id)
    await office.sync(entity_id)

    rows = {row["strasse"]: row for row in office.in_advoware(betnr)["adressen"]}
    assert not rows["Am Wall 1"]["standardAnschrift"]
    shown = await office.in_espocrm(new["id"], "CAdressen")
    assert shown["istStandard"]
    tasks = [(task["name"], task["description"]) for task in await office.tasks()]
    assert len(tasks) == 2, (tasks, shown["syncStatus"])


async def test_the_task_about_the_main_address_stays_when_the_old_one_is_not_used_any_more(
    office: Office,
) -> None:
    entity_id, betnr, old, new = await with_two_addresses(office)
    await office.edit("CAdressen", old, istStandard=False)
    await office.edit("CAdressen", new, istStandard=True)
    await office.sync(entity_id)
    assert len(await open_tasks(office)) == 1
    await office.edit("CAdressen", old, isActive=False)
    await office.sync(entity_id)
    await office.sync(entity_id)

    rows = {row["strasse"]: row for row in office.in_advoware(betnr)["adressen"]}
    assert not rows["Am Wall 1"]["standardAnschrift"]
    shown = await office.in_espocrm(new, "CAdressen")
    assert len(await open_tasks(office)) == 2, (
        [(task["name"], task["status"]) for task in await office.tasks()],
        shown["syncStatus"],
    )


async def test_a_main_address_chosen_with_the_old_one_deleted_is_reported(
    office: Office,
) -> None:
    entity_id, betnr, old, new = await with_two_addresses(office)
    await office.delete("CAdressen", old)
    await office.edit("CAdressen", new, istStandard=True)
    await office.sync(entity_id)
    await office.sync(entity_id)
    rows = {row["strasse"]: row for row in office.in_advoware(betnr)["adressen"]}
    assert not rows["Am Wall 1"]["standardAnschrift"]
    assert (await office.in_espocrm(new, "CAdressen"))["istStandard"]
    assert len(await open_tasks(office)) == 2, await open_tasks(office)


async def test_a_new_main_address_that_advoware_does_not_make_the_main_one_is_reported(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.enter("CAdressen", beteiligteId=entity_id, istStandard=True, **STREET)
    await office.sync(entity_id)
    await office.fault(
        office.advoware,
        method="POST",
        path="/Adressen",
        count=None,
        stored=[{"field": "standardAnschrift", "how": "value", "to": False}],
    )
    new = await office.enter(
        "CAdressen",
        beteiligteId=entity_id,
        istStandard=True,
        **{**STREET, "adresseStreet": "Am Wall 1"},
    )
    await office.sync(entity_id)
    await office.sync(entity_id)

    rows = {row["strasse"]: row for row in office.in_advoware(betnr)["adressen"]}
    assert not rows["Am Wall 1"]["standardAnschrift"]
    shown = await office.in_espocrm(new["id"], "CAdressen")
    assert (shown["istStandard"], await open_tasks(office)) != (False, [])


async def test_two_equal_addresses_of_both_sides_stay_two(office: Office) -> None:
    person = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(person, "SB")["betNr"]
    office.advoware.beteiligte.edit(number, {"adressen": [ADRESSE, ADRESSE]}, "SB")
    entity_id = await office.new_person(betnr=number)
    for _ in range(2):
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)

    await office.sync(entity_id, "create")
    await office.sync(entity_id)

    assert len(streets(office, number)) == 2
    assert len(streets_of(office, entity_id)) == 2


async def test_what_is_changed_in_an_equal_copy_that_replaces_its_original_is_reported(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    block = "Frau Erika Muster\nLange Straße 5\nHaus Alt\n30159 Hannover"
    one = {
        "strasse": "Lange Straße 5",
        "plz": "30159",
        "ort": "Hannover",
        "anschrift": block,
    }
    await office.edit_advoware(betnr, adressen=[one])
    await office.sync(entity_id)
    await office.sync(entity_id)
    (first,) = office.in_advoware(betnr)["adressen"]
    copy = {**one, "anschrift": block.replace("Alt", "Neu")}
    await office.edit_advoware(betnr, adressen=[copy])
    await office.edit_advoware(betnr, adressen=[{"id": first["id"], "delete": True}])
    await office.sync(entity_id)
    await office.sync(entity_id)

    rows = office.in_advoware(betnr)["adressen"]
    reported = str([task["description"] for task in await office.tasks()])
    shown = [row["adresseStreet"] for row in office.records("CAdressen")]
    assert "Haus Neu" in str(rows) or "Haus Neu" in reported, (rows, shown, reported)
    assert any("Haus Neu" in street for street in shown) or reported != "[]", (
        rows,
        shown,
    )


async def test_what_is_cleared_at_a_restored_address_is_cleared(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await office.sync(entity_id)
    await office.delete("CAdressen", address["id"])
    await office.sync(entity_id)
    await office.act(
        office.espocrm, action="restore", entity="CAdressen", id=address["id"]
    )
    await office.edit("CAdressen", address["id"], adressePostalCode=None)
    await office.sync(entity_id)
    await office.sync(entity_id)

    shown = await office.in_espocrm(address["id"], "CAdressen")
    (adresse,) = office.in_advoware(betnr)["adressen"]
    assert (shown["adressePostalCode"], adresse["plz"]) in [(None, ""), (None, None)]


async def test_edits_of_both_sides_at_a_restored_address_are_both_kept(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await office.sync(entity_id)
    await office.delete("CAdressen", address["id"])
    await office.sync(entity_id)
    await office.act(
        office.espocrm, action="restore", entity="CAdressen", id=address["id"]
    )
    (adresse,) = office.in_advoware(betnr)["adressen"]
    await office.edit("CAdressen", address["id"], adresseCity="Celle")
    await office.edit_advoware(
        betnr, adressen=[{"id": adresse["id"], "strasse": "Am Wall 1"}]
    )
    await office.sync(entity_id)
    await office.sync(entity_id)

    (adresse,) = office.in_advoware(betnr)["adressen"]
    shown = await office.in_espocrm(address["id"], "CAdressen")
    reported = str([task["description"] for task in await office.tasks()])
    assert (adresse["strasse"], shown["adresseStreet"]) == ("Am Wall 1", "Am Wall 1"), (
        reported
    )
    assert (adresse["ort"], shown["adresseCity"]) == ("Celle", "Celle"), reported


@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
@pytest.mark.parametrize("street", ["Lange Straße 5", "Am Wall 1"])
async def test_a_wrong_number_that_is_corrected_costs_no_address(
    office: Office, origin: str, street: str
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    entity_id, betnr = await office.linked_person()
    await enter_address(office, entity_id, origin)
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, betnr=number)
    await office.sync(entity_id)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    if street != adresse["strasse"]:
        await office.edit_advoware(
            betnr, adressen=[{"id": adresse["id"], "strasse": street}]
        )
    await office.edit_espocrm(entity_id, betnr=betnr)
    await office.sync(entity_id)
    await office.sync(entity_id)

    reported = str([task["description"] for task in await office.tasks()])
    assert (streets(office, betnr), streets_of(office, entity_id)) == (
        [street],
        [street],
    ), reported


@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
@pytest.mark.parametrize("street", ["Lange Straße 5", "Am Wall 1"])
async def test_an_address_that_is_moved_back_costs_no_edit(
    office: Office, origin: str, street: str
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    old, betnr = await office.linked_person()
    await enter_address(office, old, origin)
    await office.sync(old)
    (address,) = office.records("CAdressen")
    await office.edit("CAdressen", address["id"], beteiligteId=new)
    await office.sync(new)
    await office.sync(old)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    if street != adresse["strasse"]:
        await office.edit_advoware(
            betnr, adressen=[{"id": adresse["id"], "strasse": street}]
        )
    await office.edit("CAdressen", address["id"], beteiligteId=old)
    for entity_id in (old, new, old):
        await office.sync(entity_id)

    reported = str([task["description"] for task in await office.tasks()])
    assert (streets(office, betnr), streets_of(office, old)) == (
        [street],
        [street],
    ), reported


@pytest.mark.parametrize("deed", ["deleted", "moved"])
@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
async def test_an_address_that_was_taken_away_does_not_come_back_with_a_restored_record(
    office: Office, deed: str, origin: str
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    entity_id, _ = await office.linked_person()
    await enter_address(office, entity_id, origin)
    await office.sync(entity_id)
    (address,) = office.records("CAdressen")
    if deed == "deleted":
        await office.delete("CAdressen", address["id"])
    else:
        await office.edit("CAdressen", address["id"], beteiligteId=new)
        await office.sync(new)
    await office.sync(entity_id)
    before = await open_tasks(office)
    assert any("Lange" in name for name in before)
    await office.delete_in_espocrm(entity_id)
    await office.sync(entity_id, "delete")
    await office.act(
        office.espocrm, action="restore", entity="CBeteiligte", id=entity_id
    )
    await office.sync(entity_id)
    await office.sync(entity_id)

    assert streets_of(office, entity_id) == [], (before, await open_tasks(office))
    assert any("Lange" in name for name in await open_tasks(office))


@pytest.mark.parametrize("deed", ["deleted", "moved"])
@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
async def test_an_address_that_was_taken_away_is_free_for_another_record_of_its_number(
    office: Office, deed: str, origin: str
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    entity_id, betnr = await office.linked_person()
    await enter_address(office, entity_id, origin)
    await office.sync(entity_id)
    (address,) = office.records("CAdressen")
    if deed == "deleted":
        await office.delete("CAdressen", address["id"])
    else:
        await office.edit("CAdressen", address["id"], beteiligteId=new)
        await office.sync(new)
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    await office.sync(entity_id, "delete")

    other = await office.new_person(betnr=betnr)
    await office.sync(other, "create")
    await office.sync(other)

    assert streets_of(office, other) == ["Lange Straße 5"]
    assert streets(office, betnr) == ["Lange Straße 5"]


async def test_an_address_that_was_deleted_there_while_it_was_elsewhere_is_created_again(
    office: Office,
) -> None:
    new, number = await office.linked_person(lastName="Zwei")
    old, betnr = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=old, **STREET)
    await office.sync(old)
    await office.edit("CAdressen", address["id"], beteiligteId=new)
    await office.sync(new)
    await office.sync(old)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    await office.edit_advoware(betnr, adressen=[{"id": adresse["id"], "delete": True}])
    await office.sync(old)

    await office.edit("CAdressen", address["id"], beteiligteId=old)
    await office.sync(old)
    await office.sync(new)
    await office.sync(old)

    assert (streets(office, betnr), streets_of(office, old)) == (
        ["Lange Straße 5"],
        ["Lange Straße 5"],
    )
    assert any("Lange Straße 5" in name for name in await open_tasks(office))
    assert streets(office, number) == ["Lange Straße 5"]


async def test_three_equal_addresses_of_one_side_and_two_of_the_other_are_three(
    office: Office,
) -> None:
    person = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(person, "SB")["betNr"]
    office.advoware.beteiligte.edit(
        number, {"adressen": [ADRESSE, ADRESSE, ADRESSE]}, "SB"
    )
    entity_id = await office.new_person(betnr=number)
    for _ in range(2):
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)

    await office.sync(entity_id, "create")
    await office.sync(entity_id)

    assert len(streets(office, number)) == 3
    assert len(streets_of(office, entity_id)) == 3


@pytest.mark.parametrize("old_one", ["deactivated", "deleted"])
async def test_the_task_about_the_main_address_ends_when_advoware_shows_the_choice(
    office: Office, old_one: str
) -> None:
    entity_id, betnr, old, new = await with_two_addresses(office)
    (chosen,) = [
        row
        for row in office.in_advoware(betnr)["adressen"]
        if row["strasse"] == "Am Wall 1"
    ]
    if old_one == "deleted":
        await office.delete("CAdressen", old)
    else:
        await office.edit("CAdressen", old, istStandard=False, isActive=False)
    await office.edit("CAdressen", new, istStandard=True)
    await office.sync(entity_id)
    assert any("Am Wall" in name for name in await open_tasks(office))

    await office.edit_advoware(
        betnr, adressen=[{"id": chosen["id"], "standardAnschrift": True}]
    )
    await office.sync(entity_id)
    await office.sync(entity_id)

    assert not any("Am Wall" in name for name in await open_tasks(office))
    assert (await office.in_espocrm(new, "CAdressen"))["syncStatus"] == "clean"
