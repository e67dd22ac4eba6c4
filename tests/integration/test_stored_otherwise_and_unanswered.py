"""What EspoCRM has made of a value of Advoware's in a write whose worker died before it knew."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any

import pytest
from adressen_deeds import ADRESSE
from beteiligte_office import Office, office
from watched_journal import WatchedJournal

from services.espocrm import WRITE_ACTION

__all__ = ["office"]

FORMS: tuple[dict[str, Any], ...] = (
    {"how": "cut", "to": 4},
    {"how": "upper"},
    {"how": "ascii"},
    {"how": "value", "to": "Sonstiges"},
)


async def sync_and_die(office: Office, entity_id: str) -> None:
    """A run that ends while EspoCRM stores what it was sent."""
    running = asyncio.create_task(office.sync(entity_id))

    def watch(call: dict[str, Any]) -> None:
        is_write = call["method"] in {"PUT", "POST"}
        if is_write and re.search(f"{WRITE_ACTION}|/CBeteiligte/", call["path"]):
            running.cancel()

    office.espocrm.journal = WatchedJournal(watch)
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()
    office.espocrm.journal = WatchedJournal(lambda call: None)
    office.clock.advance(hours=2)


async def alter(office: Office, path: str, field: str, form: dict[str, Any]) -> None:
    stored = [{"field": field, **form}]
    await office.fault(office.espocrm, path=path, stored=stored)


async def assert_rests(office: Office, entity_id: str) -> None:
    office.forget_calls()
    await office.sync(entity_id)
    assert office.writes() == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["how"])
async def test_a_name_that_espocrm_alters_before_the_worker_dies_stays_whole_in_advoware(
    office: Office, form: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispielfräulein")
    await alter(office, "/CBeteiligte", "lastName", form)
    await sync_and_die(office, entity_id)
    shown = (await office.in_espocrm(entity_id))["lastName"]
    assert shown not in {"Musterfrau", "Beispielfräulein"}

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["name"] == "Beispielfräulein"
    assert (await office.in_espocrm(entity_id))["lastName"] == shown
    (task,) = await office.tasks()
    assert "Beispielfräulein" in task["description"]
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["how"])
async def test_a_street_that_espocrm_alters_before_the_worker_dies_stays_whole_in_advoware(
    office: Office, form: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_advoware(betnr, adressen=[ADRESSE])
    await office.sync(entity_id)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    edit = {"id": adresse["id"], "strasse": "Königsallee 1"}
    await office.edit_advoware(betnr, adressen=[edit])
    await alter(office, "/CAdressen", "adresseStreet", form)
    await sync_and_die(office, entity_id)
    (row,) = office.records("CAdressen")
    assert row["adresseStreet"] not in {"Lange Straße 5", "Königsallee 1"}

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["adressen"][0]["strasse"] == "Königsallee 1"
    assert "Königsallee 1" in str(await office.tasks())
    await assert_rests(office, entity_id)


async def test_an_edit_after_the_worker_died_is_one(office: Office) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispielfrau")
    await sync_and_die(office, entity_id)
    await office.edit_espocrm(entity_id, lastName="Beispiel")

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["name"] == "Beispiel"
    assert (await office.in_espocrm(entity_id))["lastName"] == "Beispiel"
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "changed"])
async def test_a_number_that_espocrm_alters_before_the_worker_dies_stays_whole_in_advoware(
    office: Office, is_new: bool
) -> None:
    phones = [
        {"phoneNumber": number, "type": "Office", "primary": number.endswith("1")}
        for number in ("+495111111", "+495112222")
    ]
    entity_id, betnr = await office.linked_person(phoneNumberData=phones)
    entry: dict[str, Any] = {"tlf": "0511 777788", "kommKz": 1}
    if not is_new:
        entry["id"] = office.in_advoware(betnr)["kommunikation"][0]["id"]
    await office.edit_advoware(betnr, kommunikation=[entry])
    form = {"how": "cut", "to": 9, "match": "7777"}
    await alter(office, "/CBeteiligte", "phoneNumberData[].phoneNumber", form)
    await sync_and_die(office, entity_id)

    await office.sync(entity_id)

    kept = ["+495111111", "+495112222"] if is_new else ["+495112222"]
    shown = [row["tlf"] for row in office.in_advoware(betnr)["kommunikation"]]
    assert sorted(shown) == sorted([*kept, "0511 777788"])
    held = (await office.in_espocrm(entity_id))["phoneNumberData"]
    assert sorted(row["phoneNumber"] for row in held) == sorted([*kept, "+49511777"])
    assert "0511 777788" in str(await office.tasks())
    await assert_rests(office, entity_id)


async def test_a_mail_address_that_a_person_changes_after_the_worker_died_is_an_edit(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    entry = {"tlf": "a@b.de", "kommKz": 4}
    await office.edit_advoware(betnr, kommunikation=[entry])
    await sync_and_die(office, entity_id)
    mails = [{"emailAddress": "a@b.dev", "primary": True}]
    await office.edit_espocrm(entity_id, emailAddressData=mails)

    await office.sync(entity_id)

    shown = [row["tlf"] for row in office.in_advoware(betnr)["kommunikation"]]
    assert "a@b.dev" in shown
    held = (await office.in_espocrm(entity_id))["emailAddressData"]
    assert "a@b.dev" in [row["emailAddress"] for row in held]
    await assert_rests(office, entity_id)


async def test_a_number_that_never_reached_espocrm_is_not_another_one_s_form(
    office: Office,
) -> None:
    phones = [{"phoneNumber": "+495111111", "type": "Office", "primary": True}]
    entity_id, betnr = await office.linked_person(phoneNumberData=phones)
    entry = {"tlf": "0511 1112", "kommKz": 1}
    await office.edit_advoware(betnr, kommunikation=[entry])
    await office.fault(
        office.espocrm, method="PUT|POST", path="CBeteiligte|write", status=503
    )
    await sync_and_die(office, entity_id)
    await office.no_faults()

    await office.sync(entity_id)

    held = (await office.in_espocrm(entity_id))["phoneNumberData"]
    assert [row["phoneNumber"] for row in held] == ["+495111111", "+495111112"]
    assert await office.tasks() == []
    await assert_rests(office, entity_id)
