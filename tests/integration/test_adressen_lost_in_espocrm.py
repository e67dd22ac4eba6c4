"""A CAdressen whose create in EspoCRM was not answered, and what people do before that is known."""

from __future__ import annotations

import pytest
from adressen_deeds import (
    ADRESSE,
    open_tasks,
    streets,
    streets_of,
)
from beteiligte_office import Office, office

from services.privacy.cleaning import Cleaning

__all__ = ["office"]


async def unanswered(office: Office, *, when: str = "after") -> tuple[str, int]:
    """A person enters an address in Advoware, and EspoCRM's answer to its create is lost, or the request is."""
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, adressen=[ADRESSE])
    await sync_unanswered(office, entity_id, when)
    return entity_id, betnr


async def sync_unanswered(office: Office, entity_id: str, when: str) -> None:
    await office.fault(
        office.espocrm,
        method="POST",
        path="(CAdressen|BitByLaw/write)",
        when=when,
        count=6,
        reset=True,
    )
    await office.sync(entity_id)
    await office.no_faults()
    pool = await office.resources.database()
    assert not await pool.fetch(
        "SELECT * FROM sync_state WHERE entity_type = 'CAdressen'"
    )


async def lost(office: Office) -> tuple[str, int, str]:
    """The CBeteiligte, its number, and the CAdressen that EspoCRM has created."""
    entity_id, betnr = await unanswered(office)
    (row,) = office.records("CAdressen")
    return entity_id, betnr, row["id"]


async def sync_in_turn(office: Office, *entity_ids: str) -> None:
    office.clock.advance(minutes=2)
    for entity_id in entity_ids:
        await office.sync(entity_id)
        await office.sync(entity_id)


async def assert_every_create_has_ended(office: Office) -> None:
    pool = await office.resources.database()
    assert not await pool.fetch("SELECT * FROM create_intent")


@pytest.mark.parametrize("is_edited_there", [False, True])
@pytest.mark.parametrize("is_new_first", [True, False])
async def test_an_address_moved_before_its_create_in_espocrm_was_known_does_not_come_back(
    office: Office, is_new_first: bool, is_edited_there: bool
) -> None:
    new, new_number = await office.linked_person(lastName="Zwei")
    old, betnr, address = await lost(office)
    await office.edit("CAdressen", address, beteiligteId=new)
    if is_edited_there:
        (adresse,) = office.in_advoware(betnr)["adressen"]
        edit = {"id": adresse["id"], "ort": "Celle"}
        await office.edit_advoware(betnr, adressen=[edit])

    await sync_in_turn(office, *((new, old) if is_new_first else (old, new)))

    shown = await office.in_espocrm(address, "CAdressen")
    assert (streets_of(office, new), shown["isActive"]) == (["Lange Straße 5"], True)
    assert streets(office, new_number) == ["Lange Straße 5"]
    assert streets_of(office, old) == []
    assert any("Lange Straße 5" in name for name in await open_tasks(office))
    await assert_every_create_has_ended(office)


async def test_an_address_moved_after_the_second_create_in_espocrm_is_known_by_what_that_has_sent(
    office: Office,
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    old, betnr = await unanswered(office, when="before")
    (adresse,) = office.in_advoware(betnr)["adressen"]
    await office.edit_advoware(betnr, adressen=[{"id": adresse["id"], "ort": "Celle"}])
    office.clock.advance(minutes=2)
    await sync_unanswered(office, old, "after")
    (row,) = office.records("CAdressen")
    await office.edit("CAdressen", row["id"], beteiligteId=new)

    await sync_in_turn(office, old, new)

    assert (streets_of(office, old), streets_of(office, new)) == (
        [],
        ["Lange Straße 5"],
    )
    await assert_every_create_has_ended(office)


async def test_an_address_moved_and_back_before_its_create_in_espocrm_was_known_is_one(
    office: Office,
) -> None:
    new, new_number = await office.linked_person(lastName="Zwei")
    old, betnr, address = await lost(office)
    await office.edit("CAdressen", address, beteiligteId=new)
    await office.edit("CAdressen", address, beteiligteId=old)

    await sync_in_turn(office, new, old)

    assert (streets_of(office, old), streets_of(office, new)) == (
        ["Lange Straße 5"],
        [],
    )
    assert (streets(office, betnr), streets(office, new_number)) == (
        ["Lange Straße 5"],
        [],
    )
    await assert_every_create_has_ended(office)


async def test_an_address_created_in_espocrm_without_an_answer_stays_in_use_at_another_number(
    office: Office,
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    entity_id, _, address = await lost(office)
    await office.edit_espocrm(entity_id, betnr=number)

    await sync_in_turn(office, entity_id)

    shown = await office.in_espocrm(address, "CAdressen")
    assert (shown["isActive"], streets(office, number)) == (True, ["Lange Straße 5"])
    await assert_every_create_has_ended(office)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_create_in_espocrm_of_unknown_end_is_repeated_only_if_it_has_left_nothing(
    office: Office, when: str
) -> None:
    entity_id, betnr = await unanswered(office, when=when)

    await sync_in_turn(office, entity_id)

    assert streets_of(office, entity_id) == ["Lange Straße 5"]
    assert streets(office, betnr) == ["Lange Straße 5"]
    await assert_every_create_has_ended(office)


async def test_an_address_deleted_before_its_create_in_espocrm_was_known_comes_back_once(
    office: Office,
) -> None:
    entity_id, _, address = await lost(office)
    await office.delete("CAdressen", address)
    await sync_in_turn(office, entity_id)
    (row,) = office.records("CAdressen")

    await office.delete("CAdressen", row["id"])
    await sync_in_turn(office, entity_id)

    assert streets_of(office, entity_id) == []
    assert any("Lange Straße 5" in name for name in await open_tasks(office))


async def test_the_address_of_another_with_the_same_number_is_not_what_a_create_has_left(
    office: Office,
) -> None:
    other, other_number = await office.linked_person(lastName="Zwei")
    entity_id, betnr = await unanswered(office, when="before")
    (adresse,) = office.in_advoware(betnr)["adressen"]
    # An Adresse's number is known to be unique within its Beteiligter only.
    await office.enter(
        "CAdressen",
        beteiligteId=other,
        adresseStreet="Am Wall 1",
        advowareId=adresse["id"],
        advowareRowId="X" * 40,
    )

    await sync_in_turn(office, entity_id, other)

    assert streets_of(office, entity_id) == ["Lange Straße 5"]
    assert streets_of(office, other) == ["Am Wall 1"]
    assert "Lange Straße 5" not in streets(office, other_number)


async def test_a_create_in_espocrm_whose_adresse_has_gone_is_forgotten_in_time(
    office: Office,
) -> None:
    entity_id, betnr = await unanswered(office, when="before")
    (adresse,) = office.in_advoware(betnr)["adressen"]
    deletion = {"id": adresse["id"], "delete": True}
    await office.edit_advoware(betnr, adressen=[deletion])
    await sync_in_turn(office, entity_id)
    clean = Cleaning(resources=office.resources)
    assert (await clean.run())["create_intent"] == 0

    office.clock.advance(days=office.resources.settings.retention.audit_days + 1)

    assert (await clean.run())["create_intent"] == 1
    await assert_every_create_has_ended(office)


async def test_a_copy_of_what_a_create_has_left_does_not_stop_the_sync(
    office: Office,
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    _, _, address = await lost(office)
    await office.edit("CAdressen", address, beteiligteId=new)
    (row,) = office.records("CAdressen")
    names = ("adresseStreet", "adresseCity", "advowareId", "advowareRowId")
    copied = {name: row[name] for name in names}
    await office.enter("CAdressen", beteiligteId=new, **copied)
    office.clock.advance(minutes=2)

    assert (await office.sync(new)).error is None
