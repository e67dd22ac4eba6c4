"""Bankverbindungen are created in Advoware exactly once; everything else about them is reported to a person."""

from __future__ import annotations

from typing import Any

import pytest
from bankverbindungen_office import (
    HINT,
    IBAN,
    KONTO,
    OTHER_IBAN,
    add,
    assert_settled,
    handle,
    konten,
    linked,
    office,
    reasons,
    row,
    sync,
)
from office import BETEILIGTE_ID, Office, strike

from services.bankverbindungen_sync import BankverbindungenSync
from services.core.jobs.look_again import EDIT, Notes, beteiligter
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.resources import Resources

__all__ = ["handle", "office", "sync"]


# -- create ---------------------------------------------------------------------------------------------------------


async def test_a_new_bankverbindung_is_created_in_advoware(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await add(office)
    outcome = await handle(entity_id)
    (konto,) = konten(office)
    assert (konto["iban"], konto["bic"], konto["kontoinhaber"], konto["bank"]) == (
        IBAN, "COBADEFFXXX", "Max Müller", "Coba",
    )  # fmt: skip
    assert (konto["blz"], konto["kontoNr"]) == ("37040044", "0532013000")
    stored = row(office, entity_id)
    assert (stored["advowareKontoId"], stored["syncStatus"]) == (konto["id"], "clean")
    assert stored["advowareLastSync"]
    assert (outcome.result, outcome.advoware_id) == (
        "created",
        f"{office.betnr}/{konto['id']}",
    )
    assert office.records("Task") == []
    await assert_settled(office, sync)


async def test_what_no_event_brought_is_created_by_the_beteiligters_sync(
    office: Office, sync: Any
) -> None:
    entity_id = await add(office)
    result = await sync()
    assert result.wrote_advoware
    assert row(office, entity_id)["advowareKontoId"] == konten(office)[0]["id"]
    assert office.write_requests() == [
        f"EspoCRM PUT /api/v1/CBankverbindungen/{entity_id}",
        f"Advoware POST /api/v1/advonet/Beteiligte/{office.betnr}/Bankverbindungen",
    ]
    await assert_settled(office, sync)


async def test_an_iban_that_advoware_already_has_is_adopted(
    office: Office, handle: Any, sync: Any
) -> None:
    office.edit_beteiligter(
        bankkverbindungen=[
            {"iban": IBAN, "kontoinhaber": "Max Müller", "bank": "Commerzbank AG"}
        ]
    )
    entity_id = await add(office)
    assert (await handle(entity_id)).result == "adopted"
    assert (row(office, entity_id)["advowareKontoId"], row(office, entity_id)["syncStatus"]) == (
        konten(office)[0]["id"], "clean",
    )  # fmt: skip
    assert len(konten(office)) == 1
    assert (await assert_settled(office, sync)).problems == ()


async def test_an_adopted_account_with_another_holder_is_reported(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        bankkverbindungen=[{"iban": IBAN, "kontoinhaber": "Erika Muster"}]
    )
    entity_id = await add(office)
    (problem,) = (await sync()).problems
    assert problem.details.as_json()["fields"] == [
        {"field": "kontoinhaber", "old": "Erika Muster", "new": "Max Müller"}
    ]
    assert row(office, entity_id)["syncStatus"] == "unclean"


async def test_the_same_iban_twice_in_espocrm_is_one_account_in_advoware(
    office: Office, sync: Any
) -> None:
    first, second = await add(office), await add(office)
    result = await sync()
    assert reasons(result) == ["bank_doubled"]
    assert len(konten(office)) == 1
    assert [row(office, entity_id)["syncStatus"] for entity_id in (first, second)] == [
        "clean",
        "unclean",
    ]
    assert result.errors == ()


async def test_without_betnr_the_account_waits_and_the_sync_of_the_beteiligter_takes_it_along(
    office: Office, handle: Any, sync: Any
) -> None:
    await office.edit("CBeteiligte", BETEILIGTE_ID, betnr=None)
    entity_id = await add(office)
    assert (await handle(entity_id)).result == "skipped"
    waiting = row(office, entity_id)
    assert (waiting["syncStatus"], waiting[HINT]) == (
        None, "Wartet, bis der Beteiligte in Advoware angelegt ist (BAN-12).",
    )  # fmt: skip
    await handle(entity_id)
    assert office.write_requests() == []
    await office.edit("CBeteiligte", BETEILIGTE_ID, betnr=office.betnr)
    await sync()
    assert (row(office, entity_id)["syncStatus"], row(office, entity_id)[HINT]) == (
        "clean",
        None,
    )


async def test_an_event_during_the_beteiligters_sync_asks_that_sync_to_look_again(
    office: Office, handle: Any, resources: Resources
) -> None:
    entity_id = await add(office)
    async with record_lock(resources, beteiligte_lock_key(BETEILIGTE_ID), 60):
        assert (await handle(entity_id)).result == "busy"
    note = await Notes(await resources.database()).find(beteiligter(BETEILIGTE_ID))
    assert note is not None
    assert note.requested == {EDIT}
    assert office.write_requests() == []


async def test_an_invalid_iban_fails_is_reported_once_and_leaves_the_others_alone(
    office: Office, handle: Any, sync: Any
) -> None:
    bad, good = await add(office, iban="DE89 3704 0044 0532 0130 01"), await add(office)
    assert (
        await handle(bad)
    ).error == "UnusableAccount: iban: not valid (InvalidChecksumDigits)"
    assert row(office, bad)["syncStatus"] == "unclean"
    assert (
        row(office, bad)[HINT]
        == "Die IBAN ist ungültig; bitte in EspoCRM berichtigen (BAN-03)."
    )
    (task,) = office.records("Task")
    assert task["name"] == "IBAN in EspoCRM berichtigen: Coba ****3001"
    result = await sync()
    assert (result.errors, reasons(result)) == ((), ["bank_iban_invalid"])
    assert result.standing == ()  # the account itself shows why
    assert row(office, good)["syncStatus"] == "clean"
    assert not (await assert_settled(office, sync)).wrote_advoware
    await office.edit("CBankverbindungen", bad, iban=OTHER_IBAN)
    assert (await handle(bad, "update")).result == "created"
    assert (row(office, bad)["syncStatus"], row(office, bad)[HINT]) == ("clean", None)
    (task,) = office.records("Task")
    assert task["status"] == "Canceled"
    assert task["description"].endswith(
        "Erledigt: Bei dieser Bankverbindung ist nichts mehr zu tun."
    )


async def test_an_inactive_bankverbindung_is_not_created(
    office: Office, handle: Any
) -> None:
    assert (await handle(await add(office, istAktiv=False))).result == "skipped"
    assert konten(office) == []


async def test_a_bankverbindung_of_no_one_fails(office: Office, handle: Any) -> None:
    entity_id = await add(office, beteiligteId=None)
    assert (await handle(entity_id)).result == "failed"
    assert row(office, entity_id)["syncStatus"] == "unclean"


# -- crashes --------------------------------------------------------------------------------------------------------


async def test_a_create_whose_answer_was_lost_is_found_again(
    office: Office, handle: Any, sync: Any, clock: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", when="after", reset=True)
    assert (await handle(entity_id)).result == "failed"
    assert row(office, entity_id)["syncStatus"] == "failed"
    clock.advance(minutes=1)
    assert (await sync()).errors == ()
    assert len(konten(office)) == 1
    assert (row(office, entity_id)["advowareKontoId"], row(office, entity_id)["syncStatus"]) == (
        konten(office)[0]["id"], "clean",
    )  # fmt: skip
    await assert_settled(office, sync)


async def test_after_a_lost_answer_an_edited_iban_does_not_create_a_second_account(
    office: Office, handle: Any, sync: Any, clock: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", when="after", reset=True)
    await handle(entity_id)
    await office.edit("CBankverbindungen", entity_id, iban=OTHER_IBAN)
    clock.advance(minutes=1)
    assert reasons(await sync()) == ["bank_changed"]
    assert [konto["iban"] for konto in konten(office)] == [IBAN]
    assert row(office, entity_id)["syncStatus"] == "unclean"


async def test_a_create_that_never_arrived_is_repeated(
    office: Office, handle: Any, clock: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", reset=True)
    assert (await handle(entity_id)).result == "failed"
    clock.advance(minutes=1)
    assert (await handle(entity_id)).result == "created"
    assert len(konten(office)) == 1


async def test_a_crash_between_the_create_and_espocrms_update_creates_no_second(
    office: Office, handle: Any, sync: Any, clock: Any
) -> None:
    entity_id = await add(office)
    strike(
        office.espocrm, "PUT", "/CBankverbindungen/", status=400, count=9
    )  # together with others, and by itself
    assert (await handle(entity_id)).result == "failed"
    office.espocrm.faults.clear()
    clock.advance(minutes=1)
    assert (await handle(entity_id)).result == "adopted"
    assert len(konten(office)) == 1
    await assert_settled(office, sync)


async def test_a_refused_create_may_be_repeated_at_once(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", status=400, count=20)
    assert (await handle(entity_id)).result == "failed"
    assert "BAN-10" in row(office, entity_id)[HINT]
    office.advoware.faults.clear()
    assert (await handle(entity_id, "update")).result == "created"


async def test_without_our_memory_a_linked_account_is_not_created_again(
    office: Office, handle: Any, sync: Any, resources: Resources
) -> None:
    await handle(await add(office))
    await (await resources.database()).execute("DELETE FROM sync_state")
    await sync()
    assert office.write_requests() == []
    assert len(konten(office)) == 1


# -- update and delete ----------------------------------------------------------------------------------------------


async def test_a_changed_account_is_a_task_with_a_masked_iban_until_a_person_has_done_it(
    office: Office, handle: Any, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, handle)
    await office.edit(
        "CBankverbindungen", entity_id, iban=OTHER_IBAN, kontoinhaber="Erika Muster"
    )
    outcome = await handle(entity_id, "update")
    assert outcome.result == "unclean"
    assert konten(office)[0]["iban"] == IBAN
    assert row(office, entity_id)["syncStatus"] == "unclean"
    (task,) = office.records("Task")
    assert "- IBAN: alt „****3000“, neu „****2051“" in task["description"]
    assert "- Kontoinhaber: alt „Max Müller“, neu „Erika Muster“" in task["description"]
    assert "Schutz vor Betrug" in task["description"]
    audit = await (await resources.database()).fetchval(
        "SELECT string_agg(changes::text, '') FROM sync_audit"
    )
    written = task["description"] + task["name"] + str(office.records("Note")) + audit
    for iban in (IBAN, OTHER_IBAN):
        assert iban not in written
    assert (await assert_settled(office, sync)).problems[0].key == f"bank:{entity_id}"
    await handle(entity_id, "update")
    assert len(office.records("Task")) == 1

    konto_id = konten(office)[0]["id"]
    office.edit_beteiligter(
        bankkverbindungen=[
            {"id": konto_id, "iban": OTHER_IBAN, "kontoinhaber": "Erika Muster"}
        ]
    )
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(office, sync)


async def test_a_person_may_also_enter_the_changed_account_as_a_new_one(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.edit("CBankverbindungen", entity_id, iban=OTHER_IBAN)
    await handle(entity_id, "update")
    office.edit_beteiligter(
        bankkverbindungen=[
            {"iban": OTHER_IBAN, "bic": "COBADEFFXXX", "kontoinhaber": "Max Müller"}
        ]
    )
    assert (await sync()).problems == ()
    assert row(office, entity_id)["advowareKontoId"] == konten(office)[-1]["id"]
    assert row(office, entity_id)["syncStatus"] == "clean"


async def test_an_account_changed_in_advoware_alone_is_reported_too(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    office.edit_beteiligter(
        bankkverbindungen=[{"id": konten(office)[0]["id"], "iban": OTHER_IBAN}]
    )
    (problem,) = (await sync()).problems
    assert problem.details.as_json()["fields"] == [
        {"field": "iban", "old": "****2051", "new": "****3000"}
    ]
    assert row(office, entity_id)["iban"] == KONTO["iban"]


async def test_a_changed_default_mark_concerns_espocrm_only(
    office: Office, handle: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.edit("CBankverbindungen", entity_id, istStandard=True)
    assert (await handle(entity_id, "update")).result == "no_change"
    assert office.write_requests() == []


async def test_a_deactivated_account_is_a_task_until_it_is_gone_from_advoware(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.edit("CBankverbindungen", entity_id, istAktiv=False)
    assert reasons(await sync()) == ["bank_inactive"]
    assert row(office, entity_id)["syncStatus"] == "unclean"
    await assert_settled(office, sync)
    office.edit_beteiligter(
        bankkverbindungen=[{"id": konten(office)[0]["id"], "delete": True}]
    )
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(office, sync)


async def test_a_deleted_account_is_a_task_and_stays_in_advoware(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.delete("CBankverbindungen", entity_id)
    assert (await handle(entity_id, "delete")).result == "deleted"
    (task,) = office.records("Task")
    assert task["name"] == "Bankverbindung in Advoware entfernen: Coba ****3000"
    assert (task["parentType"], task["parentId"]) == ("CBeteiligte", BETEILIGTE_ID)
    assert len(konten(office)) == 1
    await handle(entity_id, "delete")
    assert len(office.records("Task")) == 1
    assert reasons(await assert_settled(office, sync)) == ["bank_inactive"]
    office.edit_beteiligter(
        bankkverbindungen=[{"id": konten(office)[0]["id"], "delete": True}]
    )
    assert (await sync()).problems == ()
    assert office.records("Task")[0]["status"] == "Canceled"
    await assert_settled(office, sync)


@pytest.mark.parametrize("is_by_event", [True, False])
async def test_what_is_deleted_before_its_create_is_known_to_have_succeeded_is_reported(
    office: Office, handle: Any, sync: Any, clock: Any, is_by_event: bool
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", when="after", reset=True)
    assert (await handle(entity_id)).result == "failed"
    await office.delete("CBankverbindungen", entity_id)
    clock.advance(minutes=1)
    if is_by_event:
        assert (await handle(entity_id, "delete")).result == "deleted"
        assert len(office.records("Task")) == 1
    assert reasons(await sync()) == ["bank_inactive"]
    assert reasons(await assert_settled(office, sync)) == ["bank_inactive"]


@pytest.mark.parametrize("is_by_event", [True, False])
async def test_what_is_deleted_after_a_create_that_has_left_nothing_is_forgotten(
    office: Office,
    handle: Any,
    sync: Any,
    clock: Any,
    resources: Resources,
    is_by_event: bool,
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", reset=True)
    assert (await handle(entity_id)).result == "failed"
    await office.delete("CBankverbindungen", entity_id)
    clock.advance(minutes=1)
    if is_by_event:
        await handle(entity_id, "delete")
    assert (await sync()).problems == ()
    assert office.records("Task") == konten(office) == []
    pool = await resources.database()
    assert await pool.fetch("SELECT 1 FROM create_intent") == []


async def test_a_deletion_whose_event_was_lost_is_found(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.delete("CBankverbindungen", entity_id)
    assert reasons(await sync()) == ["bank_inactive"]
    assert reasons(await assert_settled(office, sync)) == ["bank_inactive"]


async def test_a_deleted_account_entered_again_is_linked_again(
    office: Office, handle: Any, sync: Any
) -> None:
    await office.delete("CBankverbindungen", await linked(office, handle))
    await sync()
    again = await add(office)
    assert (await sync()).problems == ()
    assert row(office, again)["advowareKontoId"] == konten(office)[0]["id"]
    assert len(konten(office)) == 1


async def test_an_unknown_deleted_record_is_no_ones_business(
    office: Office, handle: Any
) -> None:
    assert (await handle("6b0473a32660abfff", "delete")).result == "deleted"
    assert office.records("Task") == []


async def test_an_account_gone_from_advoware_is_reported_and_not_created_again(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    office.edit_beteiligter(
        bankkverbindungen=[{"id": konten(office)[0]["id"], "delete": True}]
    )
    assert reasons(await sync()) == ["bank_missing"]
    assert (konten(office), row(office, entity_id)["syncStatus"]) == ([], "unclean")
    await assert_settled(office, sync)
    office.edit_beteiligter(
        bankkverbindungen=[
            {"iban": IBAN, "bic": "COBADEFF", "kontoinhaber": "Max Müller"}
        ]
    )
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(office, sync)


@pytest.mark.parametrize("answer", ["no list", "empty"])
async def test_a_list_missing_from_an_answer_does_not_mean_that_accounts_are_gone(
    office: Office, handle: Any, resources: Resources, answer: str
) -> None:
    await linked(office, handle)
    await add(office, iban=OTHER_IBAN, istAktiv=False, syncStatus="clean")
    advo = {
        name: value
        for name, value in office.beteiligter().items()
        if name != "bankkverbindungen"
    }
    if answer == "empty":
        advo["bankkverbindungen"] = []
    office.forget_calls()
    result = await BankverbindungenSync(resources=resources).sync_part(
        office.espo, advo, office.store
    )
    assert len(result.errors) == (1 if answer == "no list" else 0)
    assert result.problems == ()
    assert office.write_requests() == []


# -- audit and failures ---------------------------------------------------------------------------------------------


async def test_every_event_has_its_line_in_the_audit(
    office: Office, handle: Any, resources: Resources
) -> None:
    entity_id = await linked(office, handle)
    await office.delete("CBankverbindungen", entity_id)
    await handle(entity_id, "delete")
    rows = await (await resources.database()).fetch(
        "SELECT * FROM sync_audit ORDER BY audit_id"
    )
    assert [(line["topic"], line["result"], line["entity_id"]) for line in rows] == [
        ("vmh.bankverbindungen.create", "created", entity_id),
        ("vmh.bankverbindungen.delete", "deleted", entity_id),
    ]


async def test_the_mark_of_a_waiting_event_is_taken_back(
    office: Office, handle: Any, resources: Resources
) -> None:
    entity_id = await add(office)
    await resources.redis.set(f"vmh.bankverbindungen.create:waiting:{entity_id}", "1")
    await handle(entity_id)
    assert (
        await resources.redis.exists(f"vmh.bankverbindungen.create:waiting:{entity_id}")
        == 0
    )


async def test_while_advoware_is_away_the_record_fails_and_is_made_up_for(
    office: Office, handle: Any, sync: Any, clock: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "GET", "/Beteiligte/", status=503, count=None)
    outcome = await handle(entity_id)
    assert (outcome.result, row(office, entity_id)["syncStatus"]) == (
        "failed",
        "failed",
    )
    office.advoware.faults.clear()
    clock.advance(minutes=1)
    await sync()
    assert row(office, entity_id)["syncStatus"] == "clean"
