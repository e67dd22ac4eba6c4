"""A CBeteiligte has a wrong number for a while: what people edit on either side meanwhile is an edit."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bankverbindungen_office import IBAN, OTHER_IBAN
from beteiligte_office import Office, office
from operator_desk import command

from services.core.errors import ForeignSystemError
from services.privacy.holdings import export

__all__ = ["office"]

PHONE = {"phoneNumber": "+495111111", "type": "Office", "primary": True}
SECOND = {"phoneNumber": "+495112222", "type": "Office", "primary": False}
MAIL = {"emailAddress": "erika@example.de", "primary": True}


@dataclass
class Case:
    """A linked person, and a Beteiligter of the same name whose number is typed in error."""

    office: Office
    entity_id: str
    betnr: int
    wrong: int

    async def espo(self) -> dict[str, Any]:
        return await self.office.in_espocrm(self.entity_id)

    async def phones(self) -> list[str]:
        return [row["phoneNumber"] for row in (await self.espo())["phoneNumberData"]]

    def advo(self) -> dict[str, Any]:
        return self.office.advoware.beteiligte.get(self.betnr)

    def values(self) -> list[str]:
        return [row["tlf"] for row in self.advo()["kommunikation"]]

    async def mistype(self, number: int | None = None) -> None:
        await self.office.edit_espocrm(self.entity_id, betnr=number or self.wrong)
        await self.office.sync(self.entity_id)

    async def correct(self) -> None:
        await self.office.edit_espocrm(self.entity_id, betnr=self.betnr)
        await self.office.sync(self.entity_id)
        outcome = await self.office.sync(self.entity_id)
        assert outcome.result == "no_change", outcome
        assert not self.office.writes()

    async def in_espocrm(self, **attributes: Any) -> None:
        await self.office.edit_espocrm(self.entity_id, **attributes)
        await self.office.sync(self.entity_id)

    async def in_advoware(self, **attributes: Any) -> None:
        await self.office.edit_advoware(self.betnr, **attributes)

    async def open_tasks(self) -> int:
        statuses = [task["status"] for task in await self.office.tasks()]
        return statuses.count("Not Started")

    async def tasks(self) -> str:
        return str([task["description"] for task in await self.office.tasks()])


def namesake(office: Office) -> int:
    record = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number: int = office.advoware.beteiligte.create(record, "SB")["betNr"]
    return number


@pytest.fixture
async def case(office: Office) -> Case:
    wrong = namesake(office)
    entity_id, betnr = await office.linked_person(
        dateOfBirth="1980-01-01",
        phoneNumberData=[PHONE, SECOND],
        emailAddressData=[MAIL],
    )
    await office.sync(entity_id)
    return Case(office, entity_id, betnr, wrong)


async def test_an_edit_in_advoware_is_an_edit(case: Case) -> None:
    await case.mistype()
    await case.in_espocrm(firstName="Erika Maria")
    await case.in_advoware(geburtsdatum="1981-02-03")

    await case.correct()

    assert (await case.espo())["dateOfBirth"] == "1981-02-03"
    assert case.advo()["vorname"] == "Erika Maria"
    assert await case.office.tasks() == []


async def test_what_is_emptied_in_advoware_is_emptied(case: Case) -> None:
    await case.mistype()
    await case.in_advoware(geburtsdatum=None)

    await case.correct()

    assert (await case.espo())["dateOfBirth"] is None


async def test_what_is_edited_on_both_sides_is_reported(case: Case) -> None:
    await case.mistype()
    await case.in_espocrm(dateOfBirth="1982-02-03")
    await case.in_advoware(geburtsdatum="1981-02-03")

    await case.correct()

    assert case.advo()["geburtsdatum"].startswith("1982-02-03")
    assert "03.02.1981" in await case.tasks()


async def test_a_second_wrong_number_costs_no_edit(case: Case) -> None:
    third = namesake(case.office)
    await case.mistype()
    await case.mistype(third)
    await case.in_advoware(geburtsdatum="1981-02-03")

    await case.correct()

    assert (await case.espo())["dateOfBirth"] == "1981-02-03"
    assert await case.office.tasks() == []


async def test_a_number_that_is_mistyped_twice_costs_no_edit(case: Case) -> None:
    for day in ("1981-02-03", "1982-02-03"):
        await case.mistype()
        await case.in_advoware(geburtsdatum=day)

        await case.correct()

        assert (await case.espo())["dateOfBirth"] == day
    assert await case.office.tasks() == []


async def test_a_run_that_fails_after_the_correction_costs_no_edit(case: Case) -> None:
    await case.mistype()
    await case.in_advoware(geburtsdatum="1981-02-03")
    request = {"method": "PUT", "path": "CBeteiligte", "count": None, "status": 503}
    await case.office.fault(case.office.espocrm, **request)
    await case.office.edit_espocrm(case.entity_id, betnr=case.betnr)
    with suppress(ForeignSystemError):
        await case.office.sync(case.entity_id)
    await case.office.no_faults()
    case.office.clock.advance(minutes=10)

    await case.correct()

    assert (await case.espo())["dateOfBirth"] == "1981-02-03"
    assert await case.office.tasks() == []


@pytest.mark.parametrize("is_mended", [True, False])
async def test_what_advoware_had_altered_is_sent_again(
    case: Case, is_mended: bool
) -> None:
    rule = {"field": "vorname", "how": "cut", "to": 4}
    alters = {"method": "PUT", "path": "/Beteiligte/", "count": None, "stored": [rule]}
    await case.office.fault(case.office.advoware, **alters)
    await case.in_espocrm(firstName="Erika Maria")
    assert (await case.espo())["syncStatus"] == "conflict"
    await case.office.no_faults()
    await case.mistype()
    assert await case.open_tasks() == 0
    if not is_mended:
        await case.office.fault(case.office.advoware, **alters)

    await case.correct()

    espo = await case.espo()
    assert espo["firstName"] == "Erika Maria"
    if is_mended:
        assert (espo["syncStatus"], await case.open_tasks()) == ("clean", 0)
        assert case.advo()["vorname"] == "Erika Maria"
    else:
        assert (espo["syncStatus"], await case.open_tasks()) == ("conflict", 1)


@pytest.mark.parametrize("how", ["another number", "deleted"])
async def test_what_another_record_of_the_number_has_written_is_no_edit(
    case: Case, how: str
) -> None:
    office = case.office
    await case.mistype()
    other = await office.new_person(
        firstName="Hans", salutationName="Herr", betnr=case.betnr
    )
    office.clock.advance(minutes=2)
    await office.sync(other)
    assert case.advo()["vorname"] == "Hans"
    await office.edit_espocrm(other, dateOfBirth="1970-05-05")
    await office.sync(other)
    if how == "deleted":
        await office.delete_in_espocrm(other)
    else:
        await office.edit_espocrm(other, betnr=namesake(office))
    await office.sync(other, "delete" if how == "deleted" else "update")

    await case.correct()

    espo = await case.espo()
    assert (espo["firstName"], espo["dateOfBirth"]) == ("Erika", "1980-01-01")
    assert case.advo()["vorname"] == "Erika"


# -- Kommunikation --------------------------------------------------------------------------------------------------


async def test_a_number_that_is_edited_in_advoware_arrives(case: Case) -> None:
    await case.mistype()
    first = case.advo()["kommunikation"][0]
    await case.in_advoware(kommunikation=[{"id": first["id"], "tlf": "0511 3333"}])

    await case.correct()

    assert await case.phones() == ["+495113333", "+495112222"]
    assert await case.office.tasks() == []


async def test_a_number_that_is_deleted_in_espocrm_does_not_come_back(
    case: Case,
) -> None:
    await case.mistype()
    await case.in_espocrm(phoneNumberData=[PHONE])

    await case.correct()

    assert await case.phones() == ["+495111111"]
    assert "+495112222" not in case.values()


@pytest.mark.parametrize("how", [{"delete": True}, {"tlf": ""}])
async def test_a_number_that_is_deleted_in_advoware_does_not_come_back(
    case: Case, how: dict[str, Any]
) -> None:
    await case.mistype()
    second = case.advo()["kommunikation"][1]
    await case.in_advoware(kommunikation=[{"id": second["id"], **how}])

    await case.correct()

    assert await case.phones() == ["+495111111"]
    assert "+495112222" not in case.values()


async def test_a_mail_address_that_is_edited_on_both_sides_is_reported(
    case: Case,
) -> None:
    await case.mistype()
    mail = case.advo()["kommunikation"][2]
    await case.in_advoware(kommunikation=[{"id": mail["id"], "tlf": "a@example.de"}])
    await case.in_espocrm(emailAddressData=[{**MAIL, "emailAddress": "e@example.de"}])

    await case.correct()

    assert "e@example.de" in case.values()
    assert "a@example.de" in await case.tasks()


async def test_a_type_that_waits_for_a_person_is_reported_again(case: Case) -> None:
    await case.in_espocrm(phoneNumberData=[{**PHONE, "type": "Home"}, SECOND])
    assert (await case.espo())["syncStatus"] == "conflict"
    await case.mistype()

    await case.correct()

    assert (await case.espo())["syncStatus"] == "conflict"
    assert await case.open_tasks() == 1


# -- Bankverbindungen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", [{"iban": OTHER_IBAN}, {"delete": True}, {}])
async def test_an_account_stays_one_account(case: Case, edit: dict[str, Any]) -> None:
    account = {"iban": IBAN, "kontoinhaber": "Erika Muster"}
    await case.office.enter("CBankverbindungen", beteiligteId=case.entity_id, **account)
    await case.office.sync(case.entity_id)
    (konto,) = case.advo()["bankkverbindungen"]
    await case.mistype()
    await case.in_advoware(bankkverbindungen=[{"id": konto["id"], **edit}])

    await case.correct()

    there = [row["iban"] for row in case.advo()["bankkverbindungen"]]
    assert there == ([] if "delete" in edit else [edit.get("iban", IBAN)])
    assert [row["iban"] for row in case.office.records("CBankverbindungen")] == [IBAN]
    assert await case.open_tasks() == bool(edit)


async def next_owner(case: Case) -> str:
    """The number that the record had was wrong, and the right person's record gets it."""
    office = case.office
    await case.mistype()  # which is the right one here
    right = {"vorname": "Hans", "name": "Anders", "anrede": "Herr"}
    await office.edit_advoware(case.betnr, **right, geburtsdatum=None)
    names = {"firstName": "Hans", "lastName": "Anders", "salutationName": "Herr"}
    other = await office.new_person(**names, betnr=case.betnr)
    office.clock.advance(minutes=2)
    assert (await office.sync(other)).error is None
    return other


@pytest.mark.parametrize("by", ["id", "number"])
async def test_an_export_of_the_next_owner_of_a_number_holds_nothing_of_the_former(
    case: Case, by: str
) -> None:
    other = await next_owner(case)
    given = other if by == "id" else str(case.betnr)

    found = await export(case.office.resources, given, Path("/nonexistent"))

    rows = found["tables"]["sync_state"]
    assert rows
    assert case.entity_id not in {row["entity_id"] for row in rows}
    assert "1980-01-01" not in json.dumps(rows, default=str)


async def test_an_erasure_of_the_next_owner_of_a_number_erases_nothing_of_the_former(
    case: Case, tmp_path: Path
) -> None:
    other = await next_owner(case)
    given = ("privacy", "erase", other, "--apply")

    status, output = await command(
        case.office.resources, *given, LOG_DIRECTORY=str(tmp_path)
    )

    assert status == 0, output
    pool = await case.office.resources.database()
    query = "SELECT entity_type FROM sync_state WHERE entity_id = $1 AND erased_at IS NOT NULL"
    assert await pool.fetch(query, case.entity_id) == []


@pytest.mark.parametrize("was_mistyped_before", [True, False])
async def test_what_was_kept_at_an_earlier_mistake_is_no_base_any_more(
    case: Case, was_mistyped_before: bool
) -> None:
    office = case.office
    if was_mistyped_before:
        await case.mistype()
        await case.correct()
    third = {**PHONE, "phoneNumber": "+495113333"}
    await case.in_espocrm(dateOfBirth="1981-01-01", phoneNumberData=[third, SECOND])
    await office.delete_in_espocrm(case.entity_id)
    await office.sync(case.entity_id, "delete")
    restore = {"action": "restore", "entity": "CBeteiligte", "id": case.entity_id}
    await office.act(office.espocrm, **restore)
    await case.mistype()  # before the restored record was synced
    await case.in_espocrm(dateOfBirth="1980-01-01", phoneNumberData=[PHONE, SECOND])

    await case.correct()

    reported = await case.tasks()
    assert (await case.espo())[
        "dateOfBirth"
    ] == "1980-01-01" or "01.01.1980" in reported
    assert "+495111111" in await case.phones() or "1111" in reported
