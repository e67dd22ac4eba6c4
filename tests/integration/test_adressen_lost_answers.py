"""An Adresse whose create in Advoware was not answered, and what people do before that is known."""

from __future__ import annotations

import pytest
from adressen_deeds import (
    ADRESSE,
    STREET,
    lose_adresse,
    open_tasks,
    streets,
    streets_of,
)
from beteiligte_office import Office, office

from services.core.jobs import look_again

__all__ = ["office"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that has to wait for an interrupted request is left to the next one: the office's clock stands still."""
    monkeypatch.setattr(look_again, "LONGEST_WAIT_SECONDS", 0.0)


@pytest.mark.parametrize("is_new_first", [True, False])
async def test_an_address_moved_before_its_create_was_known_does_not_come_back(
    office: Office, is_new_first: bool
) -> None:
    old, _old_number = await office.linked_person()
    new, _new_number = await office.linked_person(lastName="Zwei")
    address = await office.enter("CAdressen", beteiligteId=old, **STREET)
    await lose_adresse(office)
    await office.sync(old)
    await office.edit("CAdressen", address["id"], beteiligteId=new)
    office.clock.advance(minutes=2)

    for entity_id in (new, old) if is_new_first else (old, new):
        await office.sync(entity_id)
        await office.sync(entity_id)

    assert streets_of(office, new) == ["Lange Straße 5"]
    assert streets_of(office, old) == []
    tasks = [task["name"] for task in await office.tasks()]
    assert tasks


async def test_an_address_whose_create_was_not_answered_does_not_get_to_the_next_of_that_number(
    office: Office,
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    first, betnr = await office.linked_person()
    await office.enter("CAdressen", beteiligteId=first, **STREET)
    await lose_adresse(office)
    await office.sync(first)
    await office.edit_espocrm(first, betnr=number)
    office.clock.advance(minutes=2)
    await office.sync(first)
    await office.sync(first)

    second = await office.new_person(betnr=betnr)
    await office.sync(second, "create")
    await office.sync(second)

    assert streets(office, number) == ["Lange Straße 5"]
    tasks = [task["name"] for task in await office.tasks()]
    assert streets_of(office, second) == [], tasks
    assert tasks


async def test_a_create_of_a_deleted_address_that_has_left_nothing_ends(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await office.fault(
        office.advoware, method="POST", path="/Adressen", count=1, reset=True
    )
    await office.sync(entity_id)
    await office.delete("CAdressen", address["id"])
    office.clock.advance(minutes=2)
    await office.sync(entity_id)
    await office.sync(entity_id)
    pool = await office.resources.database()
    assert await pool.fetch("SELECT entity_type, posted FROM create_intent") == []


async def test_an_address_without_mark_is_known_by_what_its_unanswered_create_has_sent(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await lose_adresse(office)
    await office.sync(entity_id)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    await office.edit_advoware(
        betnr, adressen=[{"id": adresse["id"], "bemerkung": "nur vormittags"}]
    )
    await office.edit("CAdressen", address["id"], adresseStreet="Am Wall 1")
    office.clock.advance(minutes=2)
    await office.sync(entity_id)
    await office.sync(entity_id)

    assert streets_of(office, entity_id) == ["Am Wall 1"]
    assert streets(office, betnr) == ["Am Wall 1"]


@pytest.mark.parametrize("deed", ["moved", "another number"])
async def test_an_edit_in_advoware_of_an_unanswered_create_at_another_beteiligter_is_an_edit(
    office: Office, deed: str
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    new, number = await office.linked_person(lastName="Zwei")
    entity_id, _ = await office.linked_person()
    address = await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await office.sync(entity_id)
    if deed == "moved":
        await office.edit("CAdressen", address["id"], beteiligteId=new)
    else:
        new = entity_id
        number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
        await office.edit_espocrm(entity_id, betnr=number)
    await lose_adresse(office)
    await office.sync(new)
    (adresse,) = office.in_advoware(number)["adressen"]
    await office.edit_advoware(
        number, adressen=[{"id": adresse["id"], "strasse": "Am Wall 1"}]
    )
    office.clock.advance(minutes=2)
    await office.sync(new)
    await office.sync(new)

    reported = str([task["description"] for task in await office.tasks()])
    assert (streets(office, number), streets_of(office, new)) == (
        ["Am Wall 1"],
        ["Am Wall 1"],
    ), reported


async def test_a_moved_address_waits_while_its_create_may_be_under_way(
    office: Office,
) -> None:
    old, _ = await office.linked_person()
    new, number = await office.linked_person(lastName="Zwei")
    address = await office.enter("CAdressen", beteiligteId=old, **STREET)
    other = {**STREET, "adresseStreet": "Am Wall 1"}
    await office.enter("CAdressen", beteiligteId=new, **other)
    await lose_adresse(office)
    await office.sync(old)
    await office.edit("CAdressen", address["id"], beteiligteId=new)

    await office.sync(new)
    assert streets(office, number) == ["Am Wall 1"]
    office.clock.advance(minutes=2)
    await office.sync(new)

    assert sorted(streets(office, number)) == ["Am Wall 1", "Lange Straße 5"]


@pytest.mark.parametrize("deed", ["moved", "another number", "deleted"])
@pytest.mark.parametrize("is_mark_there", [True, False])
async def test_what_a_lost_create_has_left_is_looked_for_until_advoware_answers(
    office: Office, deed: str, is_mark_there: bool
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    old, betnr = await office.linked_person()
    owner, _ = await office.linked_person(lastName="Zwei")
    address = await office.enter("CAdressen", beteiligteId=old, **STREET)
    await lose_adresse(office)
    await office.sync(old)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    if not is_mark_there:
        await office.edit_advoware(
            betnr, adressen=[{"id": adresse["id"], "bemerkung": ""}]
        )
    if deed == "moved":
        await office.edit("CAdressen", address["id"], beteiligteId=owner)
    elif deed == "deleted":
        await office.delete("CAdressen", address["id"])
        owner = old
    else:
        await office.edit_espocrm(old, betnr=number)
        owner = old
    office.clock.advance(minutes=2)
    if deed != "deleted":
        await office.fault(
            office.advoware, path=f"Beteiligte/{betnr}", count=1, status=400
        )
        await office.sync(owner)
        await office.no_faults()
    await office.sync(owner)
    await office.sync(owner)
    if deed == "another number":
        old = await office.new_person(betnr=betnr)
        await office.sync(old, "create")
    await office.sync(old)
    await office.sync(old)

    assert streets_of(office, old) == []
    assert any("Lange Straße 5" in name for name in await open_tasks(office))
    pool = await office.resources.database()
    assert await pool.fetch("SELECT entity_id FROM create_intent") == []


async def test_what_a_moved_address_has_left_is_not_forgotten_where_its_owner_has_it_already(
    office: Office,
) -> None:
    old, _ = await office.linked_person()
    new, number = await office.linked_person(lastName="Zwei")
    address = await office.enter("CAdressen", beteiligteId=old, **STREET)
    await lose_adresse(office)
    await office.sync(old)
    office.advoware.beteiligte.edit(number, {"adressen": [ADRESSE]}, "SB")
    await office.edit("CAdressen", address["id"], beteiligteId=new)
    await office.sync(new)
    office.clock.advance(minutes=2)
    for entity_id in (new, old, old):
        await office.sync(entity_id)

    assert streets(office, number) == ["Lange Straße 5"]
    assert streets_of(office, old) == []
    assert any("Lange Straße 5" in name for name in await open_tasks(office))


async def test_what_is_to_be_deleted_is_not_what_a_lost_create_has_left(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, adressen=[ADRESSE])
    await office.sync(entity_id)
    (address,) = office.records("CAdressen")
    await office.delete("CAdressen", address["id"])
    await office.sync(entity_id)
    await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    await office.fault(
        office.advoware, method="POST", path="/Adressen", count=1, reset=True
    )
    await office.sync(entity_id)
    office.clock.advance(minutes=2)
    await office.sync(entity_id)

    assert streets(office, betnr) == ["Lange Straße 5", "Lange Straße 5"]
    assert any("Lange Straße 5" in name for name in await open_tasks(office))
