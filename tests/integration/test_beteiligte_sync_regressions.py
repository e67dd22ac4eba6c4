"""What once went wrong in the VMH sync when people, faults and restarts met, each with the smallest test."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from beteiligte_office import MAILS, PHONES, Office, office
from waiting import held, until

from services import advoware_service
from services.beteiligte_check import BeteiligteCheck
from services.core.errors import BitByLawError
from services.core.jobs.look_again import Notes, beteiligter
from services.core.resources import Resources

__all__ = ["office"]

ADDRESS = {
    "adresseStreet": "Weg 1",
    "adresseCity": "Ulm",
    "adressePostalCode": "89073",
    "isActive": True,
}


def text_of(tasks: list[dict[str, Any]]) -> str:
    return "\n".join(task["name"] + task["description"] for task in tasks)


async def new_part(office: Office, entity: str, **attributes: Any) -> str:
    url = f"{office.espocrm.url}/__sandbox__/records/{entity}?silent=1"
    async with office.session.post(url, json=attributes) as response:
        response.raise_for_status()
        return str((await response.json())["id"])


async def edit_part(
    office: Office, entity: str, entity_id: str, **attributes: Any
) -> None:
    office.clock.advance(seconds=5)
    url = f"{office.espocrm.url}/__sandbox__/records/{entity}/{entity_id}"
    async with office.session.put(url, json=attributes) as response:
        response.raise_for_status()


async def recover(office: Office, entity_id: str) -> None:
    await office.no_faults()
    for _ in range(3):
        office.clock.advance(minutes=5)
        await office.sync(entity_id)
    await office.notify_the_rest()


async def test_a_redis_that_is_emptied_during_a_run_doubles_nothing(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, phoneNumberData=PHONES, emailAddressData=MAILS)
    work = office.sync(entity_id)
    async with held(
        office.advoware, work, method="POST", path="Kommunikationen"
    ) as running:
        await office.resources.redis.flushall()
        with suppress(BitByLawError):
            await office.sync(entity_id)
    with suppress(BitByLawError):
        await running

    await recover(office, entity_id)

    assert len(office.in_advoware(betnr)["kommunikation"]) == 2


async def test_the_losing_value_of_an_address_conflict_survives_a_fault(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(phoneNumberData=PHONES)
    address = await new_part(office, "CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.sync(entity_id)
    (adresse,) = office.in_advoware(betnr)["adressen"]
    await edit_part(office, "CAdressen", address, adresseStreet="Espoweg 2")
    await office.edit_advoware(
        betnr, adressen=[{"id": adresse["id"], "strasse": "Advoweg 3"}]
    )
    await office.fault(
        office.espocrm, method="PUT", path="CBeteiligte", status=500, count=6
    )
    with suppress(BitByLawError):
        await office.sync(entity_id)

    await recover(office, entity_id)

    assert "Advoweg 3" in text_of(await office.tasks())


async def test_an_edit_in_advoware_between_our_read_and_our_write_is_kept(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Espo")
    work = office.sync(entity_id)
    async with held(office.espocrm, work, method="PUT", path="CBeteiligte") as running:
        await office.edit_advoware(betnr, vorname="Derweil", titel="Dr.")

    await running
    await recover(office, entity_id)

    assert (
        office.in_advoware(betnr)["titel"],
        office.in_advoware(betnr)["vorname"],
    ) == ("Dr.", "Derweil")


async def test_a_number_corrected_after_a_lost_answer_does_not_come_back(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    wrong = [{"phoneNumber": "+4951199999", "type": "Office", "primary": True}]
    await office.edit_espocrm(entity_id, phoneNumberData=wrong)
    await office.fault(
        office.advoware,
        method="POST",
        path="Kommunikationen",
        when="after",
        reset=True,
        count=1,
    )
    await office.sync(entity_id)
    await office.no_faults()
    await office.edit_espocrm(entity_id, phoneNumberData=PHONES)

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert [entry["phoneNumber"] for entry in espo["phoneNumberData"]] == [
        "+4951112345"
    ]


async def test_parts_that_never_settle_do_not_starve_the_daily_check(
    office: Office, make_settings: Any
) -> None:
    ids = [(await office.linked_person())[0] for _ in range(3)]
    for entity_id in ids[:2]:
        inactive = {
            "adresseStreet": "W",
            "isActive": False,
            "syncStatus": "pending_sync",
        }
        await new_part(office, "CAdressen", beteiligteId=entity_id, **inactive)
    office.clock.advance(hours=26)
    for entity_id in ids[:2]:
        await office.sync(entity_id, "sync_check", "cron")
    sent: list[str] = []

    async def enqueue(event: dict[str, Any]) -> None:
        sent.append(event["data"]["entity_id"])

    async with Resources(
        make_settings(VMH_CRON_LIMIT=2), clock=office.clock
    ) as resources:
        for _ in range(4):
            before = len(sent)
            await BeteiligteCheck(resources=resources).run(enqueue)
            for entity_id in sent[before:]:
                await office.sync(entity_id, "sync_check", "cron")
            office.clock.advance(minutes=15)

    assert ids[2] in sent


async def test_a_lost_delete_event_does_not_block_the_next_record_with_this_number(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.delete_in_espocrm(entity_id)
    successor = await office.new_person(betnr=betnr)

    for _ in range(3):
        with suppress(BitByLawError):
            await office.sync(successor)

    assert (await office.in_espocrm(successor))["syncStatus"] == "clean"


async def test_an_address_edited_while_its_sync_runs_is_not_shown_as_clean(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    address = await new_part(office, "CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.sync(entity_id)
    await edit_part(
        office, "CAdressen", address, adresseStreet="Weg 2", syncStatus="dirty"
    )
    work = office.sync(entity_id)
    async with held(office.advoware, work, method="PUT", path="Adressen") as running:
        await edit_part(
            office, "CAdressen", address, adresseCity="Bonn", syncStatus="dirty"
        )

    await running

    shown = (await office.in_espocrm(address, "CAdressen"))["syncStatus"]
    assert office.in_advoware(betnr)["adressen"][0]["ort"] == "Bonn" or shown == "dirty"


async def test_an_error_shows_no_account_number(office: Office) -> None:
    entity_id, _ = await office.linked_person()
    iban = "DE89370400440532013000"
    await new_part(
        office, "CBankverbindungen", beteiligteId=entity_id, iban=iban, istAktiv=True
    )
    refusal = {"message": f"IBAN {iban} von Erika Muster gesperrt"}
    await office.fault(
        office.advoware,
        method="POST",
        path="Bankverbindungen",
        status=400,
        body=refusal,
    )

    await office.sync(entity_id)

    stored = str((await office.in_espocrm(entity_id))["syncErrorMessage"])
    assert "0532013000" not in stored + str(
        (await office.audit(entity_id))[-1]["error"]
    )


async def test_a_successor_takes_over_the_addresses_of_a_deleted_record(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await new_part(office, "CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    successor = await office.new_person(betnr=betnr)

    for _ in range(3):
        await office.sync(successor)

    assert (await office.in_espocrm(successor))["syncStatus"] == "clean"
    assert len(office.in_advoware(betnr)["adressen"]) == 1
    assert await office.tasks() == []  # the number lives on


async def test_the_check_finds_a_record_whose_delete_event_was_lost(
    office: Office,
) -> None:
    ids = [(await office.linked_person())[0] for _ in range(3)]
    await office.delete_in_espocrm(ids[1])
    sent: list[str] = []

    async def enqueue(event: dict[str, Any]) -> None:
        sent.append(event["data"]["entity_id"])

    counts = await BeteiligteCheck(resources=office.resources).run(enqueue)
    for entity_id in sent:
        await office.sync(entity_id, "sync_check", "cron")

    assert (sent, counts["deleted"]) == ([ids[1]], 1)
    assert "gelöscht" in text_of(await office.tasks())
    office.clock.advance(hours=2)
    assert (await BeteiligteCheck(resources=office.resources).run(enqueue))[
        "total"
    ] == 0


async def test_what_was_done_is_in_the_audit_even_if_the_run_fails_later(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.fault(
        office.espocrm, method="PUT", path="CBeteiligte", skip=1, status=500, count=6
    )
    with suppress(BitByLawError):
        await office.sync(entity_id)

    lines = [line for row in await office.audit(entity_id) for line in row["changes"]]
    assert [line["new"] for line in lines if line["field"] == "name"] == ["Neu"]


async def test_a_record_that_is_given_up_twice_is_reported_twice(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware,
        method="POST",
        path="Beteiligte$",
        status=400,
        body={"message": "Nein."},
    )
    for _ in range(2):
        await office.edit_espocrm(
            entity_id, syncStatus="failed", syncRetryCount=0
        )  # what the check does after a day
        for _ in range(5):
            office.clock.advance(hours=2)
            await office.sync(entity_id)
        for task in await office.tasks():
            url = f"{office.espocrm.url}/__sandbox__/records/Task/{task['id']}"
            async with office.session.put(
                url, json={"status": "Completed"}
            ) as response:
                response.raise_for_status()

    assert len(await office.tasks()) == 2


async def test_the_reason_of_a_refusal_stands_in_the_record_but_not_in_the_audit(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware,
        method="POST",
        path="Beteiligte$",
        status=400,
        body={"message": "Muster: Nein."},
    )

    await office.sync(entity_id)

    assert "Muster: Nein." in (await office.in_espocrm(entity_id))["syncErrorMessage"]
    assert "Muster" not in (await office.audit(entity_id))[-1]["error"]


async def test_a_check_that_finds_nothing_leaves_no_line_in_the_audit(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    before = len(await office.audit(entity_id))

    assert (await office.sync(entity_id, "sync_check", "cron")).result == "no_change"

    assert len(await office.audit(entity_id)) == before


async def test_the_echo_of_giving_a_record_up_does_not_start_it_again(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware,
        method="POST",
        path="Beteiligte$",
        status=400,
        body={"message": "Nein."},
    )
    for _ in range(5):
        await office.sync(entity_id)

    assert ((await office.sync(entity_id)).result, office.writes()) == ("skipped", [])

    await office.no_faults()
    await office.edit_espocrm(entity_id, lastName="Besser")
    assert (await office.sync(entity_id)).result == "created"


async def test_an_edit_during_the_last_failing_try_is_not_given_up(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    refusal = {
        "method": "POST",
        "path": "Beteiligte$",
        "status": 400,
        "body": {"message": "Nein."},
    }
    await office.fault(
        office.advoware, **refusal, count=8
    )  # with everything, and with the name alone
    for _ in range(4):
        await office.sync(entity_id)
        office.clock.advance(hours=2)
    work = office.sync(entity_id)
    async with held(office.advoware, work, **refusal) as running:
        await office.fault(office.advoware, **refusal, count=1)
        await office.edit_espocrm(entity_id, lastName="Besser")
    await running

    assert (await office.sync(entity_id)).result == "created"


async def linked_address(office: Office) -> tuple[str, int, str, int]:
    entity_id, betnr = await office.linked_person()
    address = await new_part(office, "CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.sync(entity_id)
    return entity_id, betnr, address, office.in_advoware(betnr)["adressen"][0]["id"]


async def test_an_address_edited_in_advoware_while_its_conflict_is_reported_is_not_reverted(
    office: Office,
) -> None:
    entity_id, betnr, address, number = await linked_address(office)
    await edit_part(office, "CAdressen", address, adresseStreet="Espoweg 2")
    await office.edit_advoware(betnr, adressen=[{"id": number, "strasse": "Advoweg 3"}])
    work = office.sync(entity_id)
    async with held(office.espocrm, work, method="POST", path="Task") as running:
        await office.edit_advoware(betnr, adressen=[{"id": number, "ort": "Bonn"}])

    await running
    await recover(office, entity_id)

    (adresse,) = office.in_advoware(betnr)["adressen"]
    assert (adresse["strasse"], adresse["ort"]) == ("Espoweg 2", "Bonn")
    assert (await office.in_espocrm(address, "CAdressen"))["adresseCity"] == "Bonn"


async def test_an_address_edited_in_espocrm_while_advoware_is_written_is_not_overwritten(
    office: Office,
) -> None:
    entity_id, betnr, address, number = await linked_address(office)
    await edit_part(office, "CAdressen", address, adresseStreet="Espoweg 2")
    await office.edit_advoware(betnr, adressen=[{"id": number, "ort": "Bonn"}])
    work = office.sync(entity_id)
    async with held(office.advoware, work, method="PUT", path="Adressen") as running:
        await edit_part(office, "CAdressen", address, adresseCity="Kiel")

    await running
    await recover(office, entity_id)

    assert office.in_advoware(betnr)["adressen"][0]["ort"] == "Kiel"
    assert "Bonn" in text_of(await office.tasks())


async def test_register_data_deleted_before_a_party_becomes_a_company_again_do_not_come_back(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(
        rechtsform="GmbH", firmenname="A GmbH", registergericht="Ulm"
    )
    await office.edit_advoware(betnr, rechtsform="", vorname="Paul")
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, rechtsform="GmbH", registergericht=None)

    await office.sync(entity_id)

    assert not office.in_advoware(betnr)["registergericht"]
    await recover(office, entity_id)
    assert (await office.in_espocrm(entity_id))["registergericht"] is None


async def test_an_address_edited_in_advoware_between_our_read_and_our_write_is_kept(
    office: Office,
) -> None:
    entity_id, betnr, address, number = await linked_address(office)
    await edit_part(office, "CAdressen", address, adresseStreet="Espoweg 2")
    work = office.sync(entity_id)
    async with held(office.espocrm, work, method="GET", path="CAdressen") as running:
        await office.edit_advoware(betnr, adressen=[{"id": number, "ort": "Bonn"}])

    await running
    await recover(office, entity_id)

    assert office.in_advoware(betnr)["adressen"][0]["ort"] == "Bonn"


async def test_an_address_edited_in_advoware_while_the_one_before_it_is_synced_is_kept(
    office: Office,
) -> None:
    entity_id, betnr, first, _ = await linked_address(office)
    second = await new_part(
        office,
        "CAdressen",
        beteiligteId=entity_id,
        **{**ADDRESS, "adresseStreet": "Weg 7"},
    )
    await office.sync(entity_id)
    number = next(
        row["id"]
        for row in office.in_advoware(betnr)["adressen"]
        if row["strasse"] == "Weg 7"
    )
    for address, street in ((first, "Espoweg 2"), (second, "Espoweg 8")):
        await edit_part(office, "CAdressen", address, adresseStreet=street)
    work = office.sync(entity_id)
    async with held(office.espocrm, work, method="PUT", path="CAdressen") as running:
        await office.edit_advoware(betnr, adressen=[{"id": number, "ort": "Bonn"}])

    await running
    await recover(office, entity_id)

    rows = {row["strasse"]: row["ort"] for row in office.in_advoware(betnr)["adressen"]}
    assert rows == {"Espoweg 2": "Ulm", "Espoweg 8": "Bonn"}
    assert (await office.in_espocrm(second, "CAdressen"))["adresseCity"] == "Bonn"


async def test_a_number_edited_in_advoware_while_others_who_share_it_are_searched_is_kept(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(emailAddressData=MAILS)
    (entry,) = office.in_advoware(betnr)["kommunikation"]
    await office.edit_advoware(
        betnr, kommunikation=[{"id": entry["id"], "tlf": "zweite@example.de"}]
    )
    search = {"method": "GET", "path": "/CBeteiligte$", "query": "emailAddress"}
    async with held(office.espocrm, office.sync(entity_id), **search) as running:
        await office.edit_advoware(
            betnr, kommunikation=[{"id": entry["id"], "tlf": "dritte@example.de"}]
        )

    await running
    await recover(office, entity_id)

    assert [entry["tlf"] for entry in office.in_advoware(betnr)["kommunikation"]] == [
        "dritte@example.de"
    ]
    assert [
        row["emailAddress"]
        for row in (await office.in_espocrm(entity_id))["emailAddressData"]
    ] == ["dritte@example.de"]


@pytest.mark.parametrize(
    ("part", "stored"),
    [("Adressen", "adressen"), ("Kommunikationen", "kommunikation")],
)
async def test_a_request_that_arrives_after_we_have_given_it_up_doubles_nothing(
    office: Office, part: str, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advoware_service, "LATE_SECONDS", 0)
    entity_id, betnr = await office.linked_person()
    if part == "Adressen":
        await new_part(office, "CAdressen", beteiligteId=entity_id, **ADDRESS)
    await office.edit_espocrm(entity_id, phoneNumberData=PHONES)
    notes = Notes(await office.resources.database())
    # Advoware answers late, does the work even later, and a user edits the record meanwhile.
    work = office.sync(entity_id)
    async with held(office.advoware, work, method="POST", path=part) as running:
        assert (await running).result == "failed"
        # The edit and the next sync let 5 s each pass; the request may arrive within 2 s.
        office.clock.advance(seconds=-8.1)
        await office.edit_espocrm(entity_id, lastName="Derweil")
        following = asyncio.create_task(office.sync(entity_id))
        await until(lambda: notes.find(beteiligter(entity_id)))
        assert not office.in_advoware(betnr)[stored]
    await until(lambda: office.in_advoware(betnr)[stored])
    office.clock.advance(seconds=1)
    await following
    await recover(office, entity_id)

    there = office.in_advoware(betnr)
    assert (len(there["kommunikation"]), len(there["adressen"])) == (
        1,
        part == "Adressen",
    )
