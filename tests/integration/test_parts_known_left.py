"""What a review of Adressen and Kommunikation has found and no one has mended yet (docs/reliability.md): each fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from beteiligte_office import Office, office
from kommunikation_firm import ID, KOMMUNIKATIONEN, Firm, fault, firm, linked
from waiting import held, until

from services.kommunikation_sync_utils import KommunikationSyncManager

__all__ = ["firm", "linked", "office"]

_WHY = "known and left: docs/reliability.md"
pytestmark = pytest.mark.xfail(strict=True, reason=_WHY)
#: Some of these inputs are right.
SOME = pytest.mark.xfail(strict=False, reason=_WHY)

STREET = {
    "adresseStreet": "Lange Straße 5",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}


async def lose_adresse(office: Office) -> None:
    await office.fault(
        office.advoware,
        method="POST",
        path="/Adressen",
        when="after",
        count=1,
        reset=True,
    )


def streets(office: Office, betnr: int) -> list[str]:
    return [row["strasse"] for row in office.in_advoware(betnr)["adressen"]]


def streets_of(office: Office, entity_id: str) -> list[str]:
    return [
        row["adresseStreet"]
        for row in office.records("CAdressen")
        if row["beteiligteId"] == entity_id
    ]


# The POST of an Adresse is not answered and its CAdressen moves to another CBeteiligte: it is created there too, and
# the first one comes back as a new CAdressen of the old owner. As when answered it should be a delete task (promise:
# not twice).
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


# Likewise when the CBeteiligte gets another number: whoever gets the old number next gets this person's address,
# unsaid. As when answered (next test) it should be a delete task there (promise: nothing of one person gets to
# another).
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


async def run_once(firm: Firm) -> Any:
    manager = KommunikationSyncManager(resources=firm.resources)
    return await manager.sync_bidirectional(ID, firm.betnr)


# A POST is under way when the user removes or corrects the number: the next run forgets `posted` at once, and the
# late entry comes back to EspoCRM as new. It should wait as for a repeated one and take it back (decision: unknown
# creates).
@pytest.mark.parametrize("corrected", [[], ["+495112222"]])
async def test_a_number_taken_away_while_its_create_is_under_way_does_not_come_back(
    firm: Firm, corrected: list[str]
) -> None:
    await firm.espo_phones("+495111111")
    timeout = firm.resources.settings.advoware.api_timeout_seconds
    clock: Any = firm.resources.clock
    request = {"method": "POST", "path": KOMMUNIKATIONEN}
    async with held(firm.advoware, firm.sync(), **request) as given_up:
        given_up.cancel()
        await asyncio.wait([given_up])
        clock.advance(seconds=timeout + 1)
        await firm.espo_edit(syncStatus="dirty")
        await firm.espo_phones(*corrected)
        await run_once(firm)
    await until(lambda: "+495111111" in firm.values())

    await firm.sync()
    await firm.sync()

    assert await firm.phones() == corrected
    assert [value for value in firm.values() if value] == corrected


# A type chosen before an unanswered POST/PUT is known counts as 'different from the start': never reported, both
# sides differ at `clean`. Should be kom_type as when answered (decision: a person's change of type is reported).
@pytest.mark.parametrize("how", ["post", "put"])
async def test_a_type_chosen_before_an_unanswered_request_is_known_is_told(
    firm: Firm, how: str
) -> None:
    if how == "put":
        await firm.espo_phones("+495113333")
        await firm.sync()
    await firm.espo_phones("+495111111")
    method = how.upper()
    fault(
        firm.advoware,
        method=method,
        path=KOMMUNIKATIONEN,
        when="after",
        reset=True,
        count=None,
    )
    assert (await firm.sync()).errors
    firm.advoware.faults.clear()
    row = {"phoneNumber": "+495111111", "type": "Home", "primary": True}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")

    result = await firm.sync()

    assert [entry["kommKz"] for entry in firm.entries()] == [1]
    assert [problem.details.reason for problem in result.problems] == ["kom_type"]


# The old main address is deactivated and another one chosen at once: Advoware never gets that, no task, `clean`. Spec
# 08: a change of the main address is read-only, hence a task.
async def test_a_main_address_chosen_with_the_old_one_deactivated_is_told(
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


# A CAdressen is deleted, restored and its postcode cleared: the base is not regained, the old value comes back
# unsaid. Should be an edit as after a restored CBeteiligte (find 2000402).
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


# Both sides have the same address twice at the first sync: one pair is made, the others are created again, 3 and 3.
# Equal values should pair one to one (promise: nothing is there twice).
async def test_two_equal_addresses_of_both_sides_stay_two(office: Office) -> None:
    person = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(person, "SB")["betNr"]
    one = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
    office.advoware.beteiligte.edit(number, {"adressen": [one, dict(one)]}, "SB")
    entity_id = await office.new_person(betnr=number)
    for _ in range(2):
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)

    await office.sync(entity_id, "create")
    await office.sync(entity_id)

    assert len(streets(office, number)) == 2
    assert len(streets_of(office, entity_id)) == 2


async def with_two_addresses(office: Office) -> tuple[str, int, str, str]:
    """The first one is the main one."""
    entity_id, betnr = await office.linked_person()
    ids: list[str] = []
    for street in ("Lange Straße 5", "Am Wall 1"):
        row = await office.enter(
            "CAdressen",
            beteiligteId=entity_id,
            istStandard=not ids,
            **{**STREET, "adresseStreet": street},
        )
        ids.append(row["id"])
    await office.sync(entity_id)
    await office.sync(entity_id)
    return entity_id, betnr, *ids


async def open_tasks(office: Office) -> list[str]:
    return [
        task["name"]
        for task in await office.tasks()
        if task["status"] not in ("Completed", "Canceled")
    ]


# The task about the main address ends as settled once the old one is deactivated, though Advoware still has that. It
# should stay until Advoware shows the choice (promise: statuses are true).
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


# The same when the old main address is deleted in EspoCRM: no task about the new choice. Spec 08: a change of the
# main address is a task.
async def test_a_main_address_chosen_with_the_old_one_deleted_is_told(
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


# The create of a CAdressen failed and it is deleted then: its intent stays for ever, with what it holds of a person.
# Decision: what has left nothing ends; crash matrix: no intent may be left.
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


async def unanswered_in_espocrm(office: Office) -> tuple[str, int, str]:
    """A person enters an address in Advoware; EspoCRM creates it, and the answer is lost."""
    entity_id, betnr = await office.linked_person()
    one = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
    await office.edit_advoware(betnr, adressen=[one])
    await office.fault(
        office.espocrm,
        method="POST",
        path="(CAdressen|BitByLaw/write)",
        when="after",
        count=6,
        reset=True,
    )
    await office.sync(entity_id)
    await office.no_faults()
    (row,) = office.records("CAdressen")
    pool = await office.resources.database()
    assert not await pool.fetch(
        "SELECT * FROM sync_state WHERE entity_id = $1", row["id"]
    )
    return entity_id, betnr, row["id"]


# EspoCRM's answer to a new CAdressen is lost and a user moves it: at the new owner it is switched off as gone from
# Advoware, and the original comes back at the old one. As when answered it should be created at the new one, with a
# task.
@pytest.mark.parametrize("is_new_first", [True, False])
async def test_an_address_moved_before_its_create_in_espocrm_was_known_does_not_come_back(
    office: Office, is_new_first: bool
) -> None:
    new, new_number = await office.linked_person(lastName="Zwei")
    old, _, address = await unanswered_in_espocrm(office)
    await office.edit("CAdressen", address, beteiligteId=new)
    office.clock.advance(minutes=2)

    for entity_id in (new, old) if is_new_first else (old, new):
        await office.sync(entity_id)
        await office.sync(entity_id)

    shown = await office.in_espocrm(address, "CAdressen")
    assert (streets_of(office, new), shown["isActive"]) == (["Lange Straße 5"], True)
    assert streets(office, new_number) == ["Lange Straße 5"]
    assert streets_of(office, old) == []


# A wrong number is typed and corrected: an edit made in Advoware meanwhile is overwritten without a task (marked), or
# the Adresse is created twice and the original is to be deleted (unmarked). What was agreed should count again
# (2000402).
@SOME
@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
@pytest.mark.parametrize("street", ["Lange Straße 5", "Am Wall 1"])
async def test_a_wrong_number_that_is_corrected_costs_no_address(
    office: Office, origin: str, street: str
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    entity_id, betnr = await office.linked_person()
    if origin == "espocrm":
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    else:
        one = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
        await office.edit_advoware(betnr, adressen=[one])
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

    said = str([task["description"] for task in await office.tasks()])
    assert (streets(office, betnr), streets_of(office, entity_id)) == (
        [street],
        [street],
    ), said


# The same with a CAdressen that is moved to another CBeteiligte and back. What was agreed about the old link should
# count again.
@SOME
@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
@pytest.mark.parametrize("street", ["Lange Straße 5", "Am Wall 1"])
async def test_an_address_that_is_moved_back_costs_no_edit(
    office: Office, origin: str, street: str
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    old, betnr = await office.linked_person()
    if origin == "espocrm":
        await office.enter("CAdressen", beteiligteId=old, **STREET)
    else:
        one = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
        await office.edit_advoware(betnr, adressen=[one])
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

    said = str([task["description"] for task in await office.tasks()])
    assert (streets(office, betnr), streets_of(office, old)) == (
        [street],
        [street],
    ), said


# Likewise deleted: it comes back, unsaid. It should stay deleted, with a task about the Adresse. (Perhaps among
# 'changed in the other program after a death' in reliability.md.)
async def test_an_address_deleted_before_its_create_in_espocrm_was_known_is_told(
    office: Office,
) -> None:
    entity_id, _betnr, address = await unanswered_in_espocrm(office)
    await office.delete("CAdressen", address)
    office.clock.advance(minutes=2)
    await office.sync(entity_id)
    await office.sync(entity_id)
    assert streets_of(office, entity_id) == []
    assert await open_tasks(office)


# A type is chosen in EspoCRM while the number is changed in Advoware: settled silently, the types differ at `clean`.
# Decision: a person's change of type is reported.
async def test_a_type_chosen_while_the_number_changes_in_advoware_is_told(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 2222"})
    row = {"phoneNumber": "+495111111", "type": "Home", "primary": True}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")

    result = await firm.sync()

    (shown,) = (await firm.espo())["phoneNumberData"]
    assert (shown["phoneNumber"], shown["type"]) == ("+495112222", "Home")
    assert [entry["kommKz"] for entry in firm.entries()] == [1]
    assert [problem.details.reason for problem in result.problems] == ["kom_type"]


# Master data: edited in Advoware while the record had a wrong number: overwritten as at a first sync, no task. Less
# sure: the audit has it as `unsynced`.
@SOME
@pytest.mark.parametrize("attribute", ["master", "phone"])
async def test_an_edit_in_advoware_while_the_record_had_a_wrong_number_is_an_edit(
    office: Office, attribute: str
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    phones = [{"phoneNumber": "+495111111", "type": "Office", "primary": True}]
    entity_id, betnr = await office.linked_person(
        dateOfBirth="1980-01-01", phoneNumberData=phones
    )
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, betnr=number)
    await office.sync(entity_id)
    entry = office.in_advoware(betnr)["kommunikation"][0]
    if attribute == "master":
        await office.edit_advoware(betnr, geburtsdatum="1981-02-03")
    else:
        await office.edit_advoware(
            betnr, kommunikation=[{"id": entry["id"], "tlf": "0511 2222"}]
        )
    await office.edit_espocrm(entity_id, betnr=betnr)
    await office.sync(entity_id)
    await office.sync(entity_id)

    shown = await office.in_espocrm(entity_id)
    there = office.in_advoware(betnr)
    if attribute == "master":
        said = str([task["description"] for task in await office.tasks()])
        is_there = "1981-02-03" in str(there["geburtsdatum"])
        assert is_there or "1981" in said or "03.02" in said, (shown, said)
    else:
        values = [row["phoneNumber"] for row in shown["phoneNumberData"]]
        assert values == ["+495112222"]


# An address was deleted or moved in EspoCRM (open delete task); its CBeteiligte is deleted and restored: the address
# is there again, though it stands at another person now, and the task is cancelled. It should stay away, with its
# task.
@pytest.mark.parametrize("deed", ["deleted", "moved"])
@pytest.mark.parametrize("origin", ["espocrm", "advoware"])
async def test_an_address_that_was_taken_away_does_not_come_back_with_a_restored_record(
    office: Office, deed: str, origin: str
) -> None:
    new, _ = await office.linked_person(lastName="Zwei")
    entity_id, betnr = await office.linked_person()
    if origin == "espocrm":
        await office.enter("CAdressen", beteiligteId=entity_id, **STREET)
    else:
        one = {"strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
        await office.edit_advoware(betnr, adressen=[one])
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


# A person removes the mark of an unanswered create and the CAdressen is edited: both are created twice. The intent
# knows what was sent, as `posted` of numbers does (promise: nothing is created twice).
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


# As above, with a PUT into a slot under way (less sure: late PUTs are partly known as unguardable). `sending` is
# forgotten by the next run; it should be kept until the request is over.
async def test_a_number_taken_away_while_it_is_put_into_a_slot_does_not_come_back(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495113333", "+495114444")
    await firm.sync()
    await firm.espo_phones("+495113333")
    await firm.sync()
    assert firm.values() == ["+495113333", ""]
    await firm.espo_phones("+495113333", "+495111111")
    timeout = firm.resources.settings.advoware.api_timeout_seconds
    clock: Any = firm.resources.clock
    request = {"method": "PUT", "path": KOMMUNIKATIONEN}
    async with held(firm.advoware, firm.sync(), **request) as given_up:
        given_up.cancel()
        await asyncio.wait([given_up])
        clock.advance(seconds=timeout + 1)
        await firm.espo_edit(syncStatus="dirty")
        await firm.espo_phones("+495113333")
        await run_once(firm)
    await until(lambda: "+495111111" in firm.values())

    await firm.sync()
    await firm.sync()

    assert await firm.phones() == ["+495113333"]


# A new CAdressen is the main one, Advoware's POST does not make it that: EspoCRM's choice is taken back, unsaid. Spec
# 08: a task (and so it is if the answer is lost).
async def test_a_new_main_address_that_advoware_does_not_make_the_main_one_is_told(
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


# An unmarked Adresse is replaced by a copy with another line below the street: overwritten with EspoCRM's, no task.
# The base of the gone Adresse is known; as for a marked copy this is an edit (find 1795716037).
async def test_what_is_changed_in_an_equal_copy_that_replaces_its_original_is_told(
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
    said = str([task["description"] for task in await office.tasks()])
    shown = [row["adresseStreet"] for row in office.records("CAdressen")]
    assert "Haus Neu" in str(rows) or "Haus Neu" in said, (rows, shown, said)
    assert any("Haus Neu" in street for street in shown) or said != "[]", (rows, shown)


# EspoCRM's answer to a new CAdressen is lost and the CBeteiligte gets another number: the address is switched off as
# gone. With an answer it is created at the new number (next test).
async def test_an_address_created_in_espocrm_without_an_answer_stays_in_use_at_another_number(
    office: Office,
) -> None:
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    entity_id, _, address = await unanswered_in_espocrm(office)
    await office.edit_espocrm(entity_id, betnr=number)
    office.clock.advance(minutes=2)
    await office.sync(entity_id)
    await office.sync(entity_id)

    shown = await office.in_espocrm(address, "CAdressen")
    assert (shown["isActive"], streets(office, number)) == (True, ["Lange Straße 5"])


# A CAdressen that was linked elsewhere before is created, unanswered, and edited in Advoware: overwritten, no task.
# Find 2003089 holds only for rows without any state (`match.unanswered`).
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

    said = str([task["description"] for task in await office.tasks()])
    assert (streets(office, number), streets_of(office, new)) == (
        ["Am Wall 1"],
        ["Am Wall 1"],
    ), said


# A CAdressen is deleted and restored, then other fields are edited on each side: Advoware's edit gives way, and a
# task says that the same fields were changed, which is untrue. The base should be regained as for a restored
# CBeteiligte.
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
    said = str([task["description"] for task in await office.tasks()])
    assert (adresse["strasse"], shown["adresseStreet"]) == ("Am Wall 1", "Am Wall 1"), (
        said
    )
    assert (adresse["ort"], shown["adresseCity"]) == ("Celle", "Celle"), said
