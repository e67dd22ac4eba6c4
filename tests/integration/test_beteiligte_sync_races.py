"""Edits, faults and crashes at the worst moment: nothing a person has entered is lost without a word."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from beteiligte_office import PHONES, Office, office
from waiting import held

from services.core.errors import BitByLawError
from services.core.locks import beteiligte_lock_key, held_lock
from services.espocrm import EspoCRMAPI
from services.notification_utils import NotificationManager

__all__ = ["office"]

ADDRESS = {
    "adresseStreet": "Weg 1",
    "adresseCity": "Ulm",
    "adressePostalCode": "89073",
    "isActive": True,
}


def text_of(tasks: list[dict[str, Any]]) -> str:
    return "\n".join(task["name"] + task["description"] for task in tasks)


async def recover(office: Office, entity_id: str) -> None:
    await office.no_faults()
    for _ in range(3):
        office.clock.advance(minutes=5)
        await office.sync(entity_id)
    await office.notify_the_rest()


async def conflicting(office: Office) -> tuple[str, int]:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Espo")
    await office.edit_advoware(betnr, name="AdvoWert")
    return entity_id, betnr


@pytest.mark.parametrize(
    ("twin", "rule"),
    [
        (
            "advoware",
            {
                "method": "PUT",
                "path": "Beteiligte/",
                "status": 502,
                "when": "after",
                "count": 1,
            },
        ),
        (
            "advoware",
            {
                "method": "GET",
                "path": "Beteiligte/",
                "status": 500,
                "skip": 1,
                "count": 5,
            },
        ),
        (
            "espocrm",
            {
                "method": "PUT",
                "path": "CBeteiligte",
                "status": 500,
                "skip": 1,
                "count": 5,
            },
        ),
        (
            "espocrm",
            {
                "method": "PUT",
                "path": "CBeteiligte",
                "truncate_json": True,
                "skip": 1,
                "count": 1,
            },
        ),
    ],
)
async def test_the_losing_value_of_a_conflict_survives_a_fault_after_it_was_overwritten(
    office: Office, twin: str, rule: dict[str, Any]
) -> None:
    entity_id, _ = await conflicting(office)
    await office.fault(getattr(office, twin), **rule)
    with suppress(BitByLawError):
        await office.sync(entity_id)

    await recover(office, entity_id)

    assert any(
        "AdvoWert" in str(row["changes"]) for row in await office.audit(entity_id)
    )
    assert "AdvoWert" in text_of(await office.tasks())
    assert len(await office.tasks()) == 1


async def test_the_losing_value_of_a_conflict_survives_a_crash_after_it_was_overwritten(
    office: Office,
) -> None:
    entity_id, betnr = await conflicting(office)
    work = office.sync(entity_id)
    async with held(
        office.advoware, work, method="GET", path="Beteiligte/", skip=2
    ) as running:
        assert office.in_advoware(betnr)["name"] == "Espo"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    await recover(office, entity_id)

    assert "AdvoWert" in text_of(await office.tasks())


@pytest.mark.parametrize("what", ["field", "phone"])
async def test_an_edit_of_the_very_field_that_a_running_sync_brings_over_is_not_overwritten(
    office: Office, what: str
) -> None:
    entity_id, betnr = await office.linked_person(phoneNumberData=PHONES)
    if what == "field":
        await office.edit_advoware(betnr, vorname="AusAdvoware")
    else:
        await office.edit_advoware(
            betnr, kommunikation=[{"kommKz": 3, "tlf": "0171 3920012"}]
        )
    work = office.sync(entity_id)
    async with held(
        office.espocrm, work, method="GET", path="CBankverbindungen"
    ) as running:
        if what == "field":
            await office.edit_espocrm(entity_id, firstName="VonMensch")
        else:
            private = {"phoneNumber": "+4930123456", "type": "Home"}
            await office.edit_espocrm(entity_id, phoneNumberData=[*PHONES, private])

    await running
    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    if what == "field":
        assert espo["firstName"] == "VonMensch"
    else:
        assert "+4930123456" in str(espo["phoneNumberData"])
    # A further round of the same run is no interruption.
    results = [row["result"] for row in await office.audit(entity_id)]
    assert "interrupted" not in results


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "CAdressen"), ("GET", "CBankverbindungen"), ("PUT", "CBeteiligte")],
)
async def test_a_type_of_a_number_that_is_chosen_while_a_run_is_under_way_is_reported(
    office: Office, method: str, path: str
) -> None:
    """Also where EspoCRM compares no versions, so that the run writes its status over the edit's."""
    url = f"{office.espocrm.url}/__sandbox__/settings"
    await office._request("POST", url, json={"optimistic_concurrency": []})
    entity_id, _ = await office.linked_person(phoneNumberData=PHONES)
    await office.edit_espocrm(entity_id, firstName="VonMensch")
    work = office.sync(entity_id)
    async with held(office.espocrm, work, method=method, path=path) as running:
        fax = [{**PHONES[0], "type": "Fax"}]
        await office.edit_espocrm(entity_id, phoneNumberData=fax)

    await running

    assert "Art einer Rufnummer" in text_of(await office.tasks())
    espo = await office.in_espocrm(entity_id)
    assert espo["phoneNumberData"][0]["type"] == "Fax"


async def test_an_edit_in_advoware_between_create_and_first_read_is_no_refusal(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware, method="GET", path="Beteiligte/", status=500, count=5
    )
    await office.sync(entity_id, "create")
    await office.no_faults()
    betnr = office.advoware.state()["beteiligte"][0]["betNr"]
    await office.edit_advoware(betnr, vorname="Korrigiert", geburtsdatum="1980-01-01")

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["firstName"], espo["dateOfBirth"], espo["syncStatus"]) == (
        "Korrigiert",
        "1980-01-01",
        "clean",
    )


async def test_an_edit_in_advoware_between_our_write_and_the_read_back_is_no_refusal(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Espo")
    work = office.sync(entity_id)
    async with held(
        office.advoware, work, method="GET", path="Beteiligte/", skip=1
    ) as running:
        assert office.in_advoware(betnr)["name"] == "Espo"
        await office.edit_advoware(betnr, name="Danach")

    await running
    await recover(office, entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == "Danach"


async def test_a_company_that_becomes_a_person_in_advoware_keeps_its_name(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(
        rechtsform="GmbH", firmenname="Muster GmbH", lastName="Altname", firstName="X"
    )
    await office.edit_advoware(betnr, rechtsform="", vorname="Paul")

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert office.in_advoware(betnr)["name"] == "Muster GmbH"
    assert (espo["firstName"], espo["lastName"]) == ("Paul", "Muster GmbH")


@pytest.mark.parametrize("new", ["1982-02-02", None])
async def test_an_edit_after_a_refused_change_is_not_undone(
    office: Office, new: str | None
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1980-01-01")
    await office.edit_espocrm(entity_id, dateOfBirth="1981-01-01")
    await office.fault(
        office.advoware,
        method="PUT",
        path=f"Beteiligte/{betnr}",
        status=200,
        body={"betNr": betnr},
        count=1,
    )
    await office.sync(entity_id)
    await office.no_faults()
    await office.edit_espocrm(entity_id, dateOfBirth=new)
    await office.edit_advoware(betnr, vorname="Später")

    await office.sync(entity_id)

    assert (await office.in_espocrm(entity_id))["dateOfBirth"] == new


@pytest.mark.parametrize("tasks_are_refused", [False, True])
async def test_two_conflicts_one_after_the_other_are_both_reported(
    office: Office, tasks_are_refused: bool
) -> None:
    entity_id, betnr = await office.linked_person()
    if tasks_are_refused:
        await office.fault(office.espocrm, method="POST", path="Task", status=500)
    for field, name, number in (("lastName", "name", 1), ("firstName", "vorname", 2)):
        await office.edit_espocrm(entity_id, **{field: f"E{number}"})
        await office.edit_advoware(betnr, **{name: f"AdvoWert{number}"})
        await office.sync(entity_id)
    await office.no_faults()
    office.clock.advance(minutes=5)
    manager = NotificationManager(
        EspoCRMAPI(resources=office.resources), resources=office.resources
    )
    await manager.retry_unfinished()

    text = text_of(await office.tasks())

    assert "AdvoWert1" in text
    assert "AdvoWert2" in text


async def test_a_part_that_keeps_failing_is_reported_when_the_record_is_given_up(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    url = f"{office.espocrm.url}/__sandbox__/records/CAdressen?silent=1"
    async with office.session.post(
        url, json={"beteiligteId": entity_id, **ADDRESS}
    ) as response:
        response.raise_for_status()
    await office.fault(
        office.advoware,
        method="POST",
        path="Adressen",
        status=400,
        body={"message": "Nein."},
    )

    for _ in range(5):
        office.clock.advance(hours=5)
        outcome = await office.sync(entity_id, "sync_check", "cron")

    assert outcome.result == "permanently_failed"
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "permanently_failed"
    assert len(await office.tasks()) == 1


async def entered_elsewhere(office: Office) -> tuple[str, str, int]:
    """A record whose create was answered and no more, and the one that a user has entered its number at since."""
    creating = await office.new_person()
    work = office.sync(creating, "create")
    async with held(office.advoware, work, method="GET", path="Beteiligte/") as running:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    (betnr,) = office.advoware.state()["beteiligte"]
    other = await office.new_person()
    await office.edit_espocrm(other, betnr=betnr["betNr"])
    assert (await office.sync(other)).error is None
    return creating, other, betnr["betNr"]


async def test_a_create_whose_number_was_entered_at_another_record_needs_a_person(
    office: Office,
) -> None:
    creating, other, betnr = await entered_elsewhere(office)

    await recover(office, creating)

    assert (await office.in_espocrm(creating))["syncStatus"] == "conflict"
    assert len(office.advoware.state()["beteiligte"]) == 1
    (task,) = await office.tasks()
    assert "gehört in EspoCRM schon zu einem anderen Datensatz" in task["name"]
    assert str(betnr) in text_of([task])

    await office.delete_in_espocrm(other)
    await office.sync(other, "delete")
    await recover(office, creating)

    assert (await office.in_espocrm(creating))["betnr"] == betnr
    assert len(office.advoware.state()["beteiligte"]) == 1


@pytest.mark.parametrize("ended", ["deleted", "another number"])
async def test_what_a_create_has_left_to_another_record_is_no_ones_task(
    office: Office, ended: str
) -> None:
    creating, other, betnr = await entered_elsewhere(office)
    if ended == "deleted":
        await office.delete_in_espocrm(creating)
        outcome = await office.sync(creating, "delete")
    else:
        deleted, free = await office.linked_person()
        await office.delete_in_espocrm(deleted)
        await office.sync(deleted, "delete")
        await office.edit_espocrm(creating, betnr=free)
        outcome = await office.sync(creating)

    assert outcome.error is None, outcome
    assert str(betnr) not in text_of(await office.tasks())
    assert (await office.in_espocrm(other))["betnr"] == betnr
    pool = await office.resources.database()
    assert await pool.fetchval("SELECT count(*) FROM create_intent") == 0


async def test_a_run_cancelled_while_it_takes_the_lock_leaves_none_behind(
    office: Office,
) -> None:
    left = []
    for number in range(100):
        key = beteiligte_lock_key(f"x{number}")

        async def work(key: str = key) -> None:
            async with held_lock(office.resources.redis, key, 60):
                pass

        task = asyncio.create_task(work())
        for _ in range(number % 12):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if await office.resources.redis.exists(key):
            left.append(number)
    assert left == []


async def test_a_name_too_long_for_espocrm_does_not_stop_the_rest(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    mobile = [{"kommKz": 3, "tlf": "0171 3920012"}]
    await office.edit_advoware(
        betnr, name="Ü" * 200, vorname="Neu", kommunikation=mobile
    )

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["firstName"], espo["lastName"]) == ("Neu", "Muster")
    assert "+491713920012" in str(espo["phoneNumberData"])
    assert espo["syncErrorMessage"].startswith("In EspoCRM nicht gezeigt: Name „ÜÜÜ")
    assert office.in_advoware(betnr)["name"] == "Ü" * 200


@pytest.mark.parametrize(
    "attributes", [{"lastName": None}, {"rechtsform": "GmbH", "firmenname": "Ü" * 255}]
)
async def test_a_name_that_advoware_refuses_does_not_stop_the_phones(
    office: Office, attributes: dict[str, Any]
) -> None:
    await office.without_form_rules()
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, phoneNumberData=PHONES, **attributes)

    await recover(office, entity_id)

    assert [entry["tlf"] for entry in office.in_advoware(betnr)["kommunikation"]] == [
        "+4951112345"
    ]
    espo = await office.in_espocrm(entity_id)
    assert espo["syncStatus"] == "conflict"
    assert espo["syncErrorMessage"].startswith("In Advoware nicht angekommen: Name")
    await office.edit_espocrm(
        entity_id, rechtsform="", lastName="Besser", firmenname=None
    )
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["name"] == "Besser"
