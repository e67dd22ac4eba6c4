"""A Beteiligter is kept consistent, whoever edits what, in whatever order, with everything failing now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beteiligte_office import MAILS, PHONES, WRITES, Office, office
from waiting import held, until

from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_check import BeteiligteCheck
from services.core.errors import (
    ForeignSystemError,
    RateLimited,
    Unavailable,
    UnexpectedAnswer,
)
from services.core.locks import beteiligte_lock_key
from services.values.sealed import seal
from services.vmh_sync.job import SyncEvent
from services.vmh_sync.store import SyncStore

__all__ = ["office"]


async def test_an_unchanged_record_costs_three_reads_there_one_here_and_no_write(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person(
        phoneNumberData=PHONES, emailAddressData=MAILS
    )

    for action, source in (("update", "webhook"), ("sync_check", "cron")):
        outcome = await office.sync(entity_id, action, source)
        assert outcome.result == "no_change"
        assert office.writes() == []
        assert len(office.calls(office.espocrm, frozenset({"GET"}))) <= 3
        assert len(office.calls(office.advoware, frozenset({"GET"}))) == 1


async def test_edits_of_different_fields_on_both_sides_both_survive(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.edit_advoware(betnr, vorname="Ricarda", geburtsdatum="1980-05-06")

    outcome = await office.sync(entity_id)

    assert outcome.result == "merged"
    espo, advo = await office.in_espocrm(entity_id), office.in_advoware(betnr)
    assert (espo["firstName"], espo["lastName"], espo["dateOfBirth"]) == (
        "Ricarda",
        "Neu",
        "1980-05-06",
    )
    assert (advo["vorname"], advo["name"], espo["syncStatus"]) == (
        "Ricarda",
        "Neu",
        "clean",
    )
    assert (await office.sync(entity_id)).result == "no_change"
    assert office.writes() == []


async def test_edits_of_the_same_field_espocrm_wins_and_the_other_value_is_kept(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Espo")
    await office.edit_advoware(betnr, name="Advo")

    outcome = await office.sync(entity_id)

    assert outcome.result == "conflict"
    assert (
        office.in_advoware(betnr)["name"],
        (await office.in_espocrm(entity_id))["lastName"],
    ) == ("Espo", "Espo")
    changes = (await office.audit(entity_id))[-1]["changes"]
    assert {
        "field": "name",
        "side": "advoware",
        "old": "Advo",
        "new": "Espo",
        "conflict": True,
    } in changes
    (task,) = await office.tasks()
    assert "Advo" in task["description"]
    assert "Espo" in task["description"]
    assert (await office.sync(entity_id)).result == "no_change"
    assert len(await office.tasks()) == 1


async def test_a_number_edited_on_both_sides_espocrm_wins_and_a_person_is_notified_of_the_other(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(phoneNumberData=PHONES)
    (entry,) = office.in_advoware(betnr)["kommunikation"]
    await office.edit_espocrm(
        entity_id,
        phoneNumberData=[
            {"phoneNumber": "+4951122222", "type": "Office", "primary": True}
        ],
    )
    await office.edit_advoware(betnr, kommunikation=[{**entry, "tlf": "0511 33333"}])

    assert (await office.sync(entity_id)).result == "conflict"

    assert [row["tlf"] for row in office.in_advoware(betnr)["kommunikation"]] == [
        "+4951122222"
    ]
    assert (await office.in_espocrm(entity_id))["phoneNumber"] == "+4951122222"
    (task,) = await office.tasks()
    assert "0511 33333" in task["description"]
    assert (await office.sync(entity_id)).result == "no_change"
    assert (office.writes(), len(await office.tasks())) == ([], 1)


async def test_the_same_edit_on_both_sides_is_no_conflict(office: Office) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Gleich")
    await office.edit_advoware(betnr, name="Gleich")

    assert (await office.sync(entity_id)).result == "no_change"
    assert office.calls(office.advoware) == []
    assert await office.tasks() == []
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_a_change_in_one_system_costs_at_most_two_more_calls_there_and_one_put_here(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.sync(entity_id)
    assert office.calls(office.advoware, WRITES | {"GET"}) == [
        f"GET /api/v1/advonet/Beteiligte/{betnr}",
        f"PUT /api/v1/advonet/Beteiligte/{betnr}",
        f"GET /api/v1/advonet/Beteiligte/{betnr}",
    ]
    assert len(office.calls(office.espocrm)) <= 2

    await office.edit_advoware(betnr, vorname="Neu")
    await office.sync(entity_id)
    assert office.calls(office.advoware) == []
    assert office.calls(office.espocrm) == [f"PUT /api/v1/CBeteiligte/{entity_id}"]


async def test_our_own_writes_coming_back_as_webhooks_cause_no_further_write(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(phoneNumberData=PHONES)
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.edit_advoware(
        betnr, vorname="Neu", kommunikation=[{"kommKz": 4, "tlf": "neu@example.de"}]
    )
    await office.sync(entity_id)

    for _ in range(3):  # each of our writes is echoed as an update webhook
        outcome = await office.sync(entity_id)
        assert (outcome.result, office.writes()) == ("no_change", [])


@pytest.mark.parametrize(
    "moment", ["while Advoware is written", "while EspoCRM is written"]
)
async def test_an_edit_made_while_a_sync_is_running_is_synced_afterwards(
    office: Office, moment: str
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Erst")
    work = office.sync(entity_id)
    if moment == "while Advoware is written":
        waiting = held(office.advoware, work, method="PUT")
    else:
        waiting = held(office.espocrm, work, method="PUT", path="CBeteiligte", skip=1)
    async with waiting as running:
        await office.edit_espocrm(entity_id, firstName="Dazwischen")

    await running

    assert office.in_advoware(betnr)["vorname"] == "Dazwischen"
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_two_workers_never_work_on_the_same_record_at_once(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    work = office.sync(entity_id, "create")
    async with held(office.espocrm, work, method="GET", path="CBeteiligte") as working:
        assert await office.resources.redis.exists(beteiligte_lock_key(entity_id))
        assert (await office.sync(entity_id, "update")).result == "busy"
        assert (await office.sync(entity_id, "sync_check", "cron")).result == "busy"

    assert (await working).result == "created"
    assert len(office.advoware.state()["beteiligte"]) == 1


async def test_a_value_that_espocrm_refuses_does_not_stop_the_others(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    entries = [
        {"kommKz": 1, "tlf": "0511/1234 (Büro)"},
        {"kommKz": 3, "tlf": "0171 / 39 200 12"},
    ]
    await office.edit_advoware(betnr, vorname="Neu", kommunikation=entries)

    outcome = await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert [entry["phoneNumber"] for entry in espo["phoneNumberData"]] == [
        "+491713920012"
    ]
    assert (espo["firstName"], espo["syncStatus"], outcome.error) == (
        "Neu",
        "clean",
        None,
    )
    (task,) = await office.tasks()
    assert "0511/1234 (Büro)" in task["description"]
    await office.sync(entity_id)
    assert len(await office.tasks()) == 1


async def test_a_field_that_advoware_ignores_is_reported_once_and_not_tried_for_ever(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Ignoriert")
    await office.fault(
        office.advoware,
        method="PUT",
        path=f"Beteiligte/{betnr}",
        status=200,
        body={"betNr": betnr},
    )

    await office.sync(entity_id)
    await office.no_faults()

    (task,) = await office.tasks()
    assert "Ignoriert" in task["description"]
    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["syncStatus"]) == ("Ignoriert", "conflict")
    assert (await office.sync(entity_id)).result == "no_change"
    assert office.writes() == []
    await office.edit_espocrm(entity_id, lastName="Nochmal")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["name"] == "Nochmal"
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_a_record_deleted_in_advoware_is_kept_shown_and_reported_and_waits_for_a_person(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.delete_in_advoware(betnr)

    assert (
        await office.sync(entity_id, "sync_check", "cron")
    ).result == "deleted_in_advoware"
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "deleted_in_advoware"
    assert len(await office.tasks()) == 1
    assert (await office.sync(entity_id, "sync_check", "cron")).result == "skipped"
    assert office.writes() == []
    assert office.calls(office.advoware, frozenset({"GET"})) == []


async def test_a_deletion_that_cannot_be_remembered_is_not_shown_before_it_is_reported(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.delete_in_advoware(betnr)
    pool = await office.resources.database()
    await pool.execute(
        """
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON notification EXECUTE FUNCTION full_disk();
        """
    )

    with pytest.raises(Unavailable):
        await office.sync(entity_id, "sync_check", "cron")

    shown = (await office.in_espocrm(entity_id))["syncStatus"]
    assert shown != "deleted_in_advoware"
    await pool.execute("DROP TRIGGER full_disk ON notification")
    await office.edit_espocrm(entity_id, lastName="Nochmal")
    assert (await office.sync(entity_id)).result == "deleted_in_advoware"
    assert len(await office.tasks()) == 1


async def test_a_record_deleted_in_espocrm_is_kept_in_advoware_and_reported(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.delete_in_espocrm(entity_id)

    assert (await office.sync(entity_id, "delete")).result == "deleted"

    assert office.in_advoware(betnr)["name"] == "Muster"
    (task,) = await office.tasks()
    assert str(betnr) in task["name"]
    await office.sync(entity_id, "delete")
    assert len(await office.tasks()) == 1


async def test_the_audit_names_all_that_was_created_although_espocrm_takes_no_answer(
    office: Office,
) -> None:
    entity_id = await office.new_person(phoneNumberData=PHONES)
    await office.enter(
        "CBankverbindungen", beteiligteId=entity_id, iban="DE89370400440532013000"
    )
    await office.fault(
        office.espocrm, method="POST|PUT", path="/api/v1/", status=429, skip=1, count=9
    )
    with pytest.raises(RateLimited):
        await office.sync(entity_id, "create")

    (line,) = await office.audit(entity_id)
    created = max(row["betNr"] for row in office.advoware.state()["beteiligte"])
    assert (line["result"], line["advoware_id"]) == ("failed", str(created))
    fields = {change["field"] for change in line["changes"]}
    assert fields == {"kommunikation.phone", "bankverbindung"}


@pytest.mark.parametrize("answer", [{"reset": True}, {"status": 502}, {"status": 403}])
async def test_a_failure_that_a_record_shows_is_in_the_audit_although_its_write_was_not_answered(
    office: Office, answer: dict[str, Any]
) -> None:
    entity_id, _ = await office.linked_person()
    await office.edit_espocrm(entity_id, firstName="Eva")
    await office.fault(office.advoware, method="PUT", status=500, count=9)
    answer = {**answer, "when": "after", "count": 9, "skip": 1}
    await office.fault(office.espocrm, method="PUT", path="/CBeteiligte/", **answer)

    with pytest.raises(ForeignSystemError):
        await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert espo["syncStatus"] == "failed"
    assert [line["result"] for line in await office.audit(entity_id)][-1] == "failed"


#: What may become of the answer to a POST that Advoware has executed.
LOST_ANSWERS = [{"reset": True}, {"status": 502}, {"truncate_json": True}]


@pytest.mark.parametrize("answer", LOST_ANSWERS)
async def test_a_record_deleted_before_its_create_was_known_to_have_succeeded_is_reported(
    office: Office, answer: dict[str, Any]
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware, method="POST", path="Beteiligte$", when="after", **answer
    )
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=2)

    assert (await office.sync(entity_id, "delete")).result == "deleted"

    (task,) = await office.tasks()
    created = max(row["betNr"] for row in office.advoware.state()["beteiligte"])
    assert office.in_advoware(created)["name"] == "Muster"
    assert str(created) in task["name"]
    await office.sync(entity_id, "delete")
    assert len(await office.tasks()) == 1


async def lose_create(office: Office, path: str, **rule: Any) -> None:
    """Advoware creates it, and its answer is lost."""
    await office.fault(
        office.advoware, method="POST", path=path, when="after", reset=True, **rule
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [({"status": 500}, Unavailable), ({"text": ""}, UnexpectedAnswer)],
)
async def test_a_record_deleted_before_its_create_was_known_waits_for_advoware(
    office: Office, answer: dict[str, Any], error: type[Exception]
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=2)
    await office.fault(office.advoware, method="GET", path="Beteiligte", **answer)
    with pytest.raises(error):
        await office.sync(entity_id, "delete")
    assert await office.tasks() == []
    await office.no_faults()

    await office.sync(entity_id, "delete")

    (task,) = await office.tasks()
    assert "gelöscht" in task["name"]


async def test_what_a_deleted_records_create_has_left_and_cannot_be_distinguished_from_others_is_a_task(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=2)
    undated = {"field": "[].angelegtAm", "how": "missing"}
    await office.fault(office.advoware, path="Beteiligte$", answer=[undated])

    for _ in range(2):
        assert (await office.sync(entity_id, "delete")).result == "deleted"

    (task,) = await office.tasks()
    assert "übrig" in task["name"]
    store = SyncStore(await office.resources.database())
    assert await store.live_entities("CBeteiligte", "", 9) == []


async def test_a_record_merged_before_its_create_was_known_is_reported_as_merged(
    office: Office,
) -> None:
    survivor, _ = await office.linked_person(lastName="Rest")
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    await office.act(
        office.espocrm,
        action="merge",
        entity="CBeteiligte",
        id=survivor,
        sources=[entity_id],
    )
    office.clock.advance(minutes=2)

    await office.sync(entity_id, "delete")

    (task,) = await office.tasks()
    assert "zusammengeführt" in task["name"]


async def merge_another_into(office: Office, entity_id: str) -> None:
    """A person merges a record that is linked into this one, which takes its number."""
    other, _ = await office.linked_person(lastName="Rest")
    await office.act(
        office.espocrm,
        action="merge",
        entity="CBeteiligte",
        id=entity_id,
        sources=[other],
    )


async def type_a_number(office: Office, entity_id: str) -> None:
    """A person finds him in Advoware, where he has been for long, and enters his number."""
    oldest = min(row["betNr"] for row in office.advoware.state()["beteiligte"])
    await office.edit_espocrm(entity_id, betnr=oldest)


def created_number(office: Office) -> int:
    """The Beteiligter that the last POST has created."""
    return int(max(row["betNr"] for row in office.advoware.state()["beteiligte"]))


@pytest.mark.parametrize("link", [merge_another_into, type_a_number])
@pytest.mark.parametrize("answer", LOST_ANSWERS)
async def test_what_a_create_has_left_of_a_record_that_has_another_number_then_is_a_task(
    office: Office,
    link: Callable[[Office, str], Awaitable[None]],
    answer: dict[str, Any],
) -> None:
    entity_id = await office.new_person()
    office.advoware.beteiligte.create({"vorname": "Erika", "name": "Muster"}, "SB")
    office.clock.advance(days=1)
    await office.fault(
        office.advoware,
        method="POST",
        path="Beteiligte$",
        when="after",
        count=1,
        **answer,
    )
    await office.sync(entity_id)
    left = created_number(office)
    await link(office, entity_id)
    office.clock.advance(minutes=2)

    for _ in range(2):
        await office.sync(entity_id)

    found = [task["name"] for task in await office.tasks() if str(left) in task["name"]]
    assert len(found) == 1
    assert "noch gebraucht" in found[0]
    assert (await office.in_espocrm(entity_id))["betnr"] != left


async def test_the_number_that_a_create_has_left_is_no_other_one(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, betnr=created_number(office))
    office.clock.advance(minutes=2)

    assert (await office.sync(entity_id)).result != "failed"

    assert await office.tasks() == []
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_a_create_that_may_be_under_way_is_waited_for_before_another_number_counts(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    left = created_number(office)
    await merge_another_into(office, entity_id)
    await office.sync(entity_id)
    assert await office.tasks() == []
    office.clock.advance(minutes=2)

    await office.sync(entity_id)

    (task,) = await office.tasks()
    assert str(left) in task["name"]


async def test_a_create_that_has_left_nothing_leaves_no_task_at_another_number(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware, method="POST", path="Beteiligte$", reset=True, count=1
    )
    await office.sync(entity_id)
    await merge_another_into(office, entity_id)
    office.clock.advance(minutes=2)

    await office.sync(entity_id)

    assert await office.tasks() == []
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_what_a_create_has_left_beside_another_number_and_cannot_be_known_is_a_task(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    await office.sync(entity_id)
    await merge_another_into(office, entity_id)
    office.clock.advance(minutes=2)
    undated = {"field": "[].angelegtAm", "how": "missing"}
    await office.fault(office.advoware, path="Beteiligte$", answer=[undated])

    for _ in range(2):
        await office.sync(entity_id)

    assert ["übrig" in task["name"] for task in await office.tasks()] == [True]


async def replaced_number(office: Office, first_name: str, **fault: Any) -> str:
    """The id of a person whose number was edited on both sides, and EspoCRM's was sent, with that answer."""
    entity_id, betnr = await office.linked_person(
        firstName=first_name, phoneNumberData=PHONES
    )
    number = office.in_advoware(betnr)["kommunikation"][0]["id"]
    kept = {**PHONES[0], "phoneNumber": "+4951166666"}
    await office.edit_espocrm(entity_id, phoneNumberData=[kept])
    contact = {"id": number, "tlf": "0511 77777"}
    await office.edit_advoware(betnr, kommunikation=[contact])
    await office.fault(
        office.advoware, method="PUT", path="Kommunikationen", count=1, **fault
    )
    assert (await office.sync(entity_id)).result == "failed"
    return entity_id


@pytest.mark.parametrize("is_done", [True, False])
async def test_what_was_replaced_in_advoware_is_reported_although_the_record_is_deleted_then(
    office: Office, is_done: bool
) -> None:
    when = "after" if is_done else "before"
    entity_id = await replaced_number(office, "Anna", status=500, when=when)
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=2)

    for _ in range(2):
        assert (await office.sync(entity_id, "delete")).result == "deleted"

    reported = [task for task in await office.tasks() if "0511 77777" in str(task)]
    assert len(reported) == is_done
    ended = [
        row for row in await office.audit(entity_id) if row["result"] != "interrupted"
    ]
    assert ("0511 77777" in str(ended)) == is_done


async def test_what_was_replaced_in_advoware_is_reported_although_the_number_is_another_then(
    office: Office,
) -> None:
    entity_id = await replaced_number(office, "Anna", status=500, when="after")
    namesake = {"rechtsform": "Frau", "vorname": "Anna", "name": "Muster"}
    other = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    await office.edit_espocrm(entity_id, betnr=other)
    office.clock.advance(minutes=2)

    await office.sync(entity_id)
    await office.sync(entity_id)

    reported = [task for task in await office.tasks() if "0511 77777" in str(task)]
    assert len(reported) == 1
    assert "0511 77777" in str(await office.audit(entity_id))


async def test_what_was_replaced_in_advoware_is_in_the_audit_although_the_worker_stops_before_its_end(
    office: Office,
) -> None:
    entity_id = await replaced_number(office, "Anna", status=500, when="before")
    office.clock.advance(minutes=2)
    # Everything is stored but the last line of the audit.
    pool = await office.resources.database()
    await pool.execute("""
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.result <> 'conflict_found' THEN
                RAISE EXCEPTION 'full' USING ERRCODE = '53100';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER stop BEFORE INSERT ON sync_audit FOR EACH ROW EXECUTE FUNCTION stop();
    """)
    with pytest.raises(Unavailable):
        await office.sync(entity_id)
    await pool.execute("DROP FUNCTION stop CASCADE")

    await office.sync(entity_id)

    assert [task for task in await office.tasks() if "0511 77777" in str(task)]
    assert "0511 77777" in str(await office.audit(entity_id))


async def test_what_a_run_has_written_that_stopped_before_its_audit_comes_into_it_with_the_next(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    pool = await office.resources.database()
    await pool.execute("""
        CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'full' USING ERRCODE = '53100';
        END $$;
        CREATE TRIGGER stop BEFORE INSERT ON sync_audit FOR EACH ROW EXECUTE FUNCTION stop();
    """)
    with pytest.raises(Unavailable):
        await office.sync(entity_id)
    await pool.execute("DROP FUNCTION stop CASCADE")
    assert office.in_advoware(betnr)["name"] == "Neu"
    before = len(await office.audit(entity_id))

    await office.sync(entity_id)
    await office.sync(entity_id)

    first, *later = (await office.audit(entity_id))[before:]
    (line,) = first["changes"]
    assert (first["result"], first["advoware_id"]) == ("interrupted", str(betnr))
    assert (line["field"], line["side"], line["old"], line["new"]) == (
        "name",
        "advoware",
        "Muster",
        "Neu",
    )
    assert [row["changes"] for row in later] == [[], []]


async def test_a_write_that_was_not_answered_is_in_the_audit_as_begun(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.fault(
        office.advoware, method="PUT", path=f"/Beteiligte/{betnr}$", reset=True
    )
    assert (await office.sync(entity_id)).result == "failed"
    await office.no_faults()
    office.clock.advance(minutes=2)

    await office.sync(entity_id)

    results = [row["result"] for row in await office.audit(entity_id)]
    assert results[-3:] == ["failed", "interrupted", "espocrm_newer"]


async def test_a_run_that_comes_to_its_end_leaves_nothing_unrecorded(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")

    await office.sync(entity_id)
    await office.sync(entity_id)

    results = [row["result"] for row in await office.audit(entity_id)]
    assert results[-2:] == ["espocrm_newer", "no_change"]


async def test_what_was_replaced_in_advoware_is_reported_when_many_records_are_deleted(
    office: Office,
) -> None:
    entity_id = await replaced_number(office, "Anna", status=500, when="after")
    others = [(await office.linked_person(firstName=name))[0] for name in ("B", "C")]
    for gone in (entity_id, *others):
        await office.delete_in_espocrm(gone)
    office.clock.advance(minutes=2)
    found: list[str] = []

    async def enqueue(message: dict[str, Any]) -> None:
        found.append(message["data"]["entity_id"])

    await BeteiligteCheck(resources=office.resources).run(enqueue)
    for gone in found:
        await office.sync(gone, "sync_check", "cron")

    assert found == [entity_id]
    assert [task for task in await office.tasks() if "0511 77777" in str(task)]


async def test_an_older_namesake_is_not_what_a_deleted_records_create_has_left(
    office: Office,
) -> None:
    await office.linked_person()
    entity_id = await office.new_person()
    await office.fault(office.advoware, method="POST", path="Beteiligte$", reset=True)
    await office.sync(entity_id)
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=10)

    await office.sync(entity_id, "delete")

    assert await office.tasks() == []


async def move_account_of_lost_create(office: Office) -> tuple[str, str]:
    """Advoware creates an account, the answer is lost, and a person moves it; the ids of its two owners."""
    old, _ = await office.linked_person()
    new, _ = await office.linked_person(lastName="Zwei")
    account = await office.enter(
        "CBankverbindungen", beteiligteId=old, iban="DE89370400440532013000"
    )
    await lose_create(office, "Bankverbindungen", count=1)
    await office.sync(old)
    await office.edit("CBankverbindungen", account["id"], beteiligteId=new)
    office.clock.advance(minutes=2)
    return old, new


async def accounts_of(office: Office, *ids: str) -> list[int]:
    """How many accounts each of these has in Advoware."""
    numbers: list[int] = []
    for entity_id in ids:
        betnr = (await office.in_espocrm(entity_id))["betnr"]
        numbers.append(len(office.in_advoware(betnr)["bankkverbindungen"]))
    return numbers


@pytest.mark.parametrize("answer", [{"reset": True}, {"status": 502}])
@pytest.mark.parametrize("is_deleted", [False, True])
async def test_an_account_whose_create_was_not_answered_is_found_where_it_was_sent(
    office: Office, answer: dict[str, Any], is_deleted: bool
) -> None:
    """A user gives its CBeteiligte the number of a namesake meanwhile."""
    namesake = {"vorname": "Erika", "name": "Muster", "anrede": "Frau"}
    number = office.advoware.beteiligte.create(namesake, "SB")["betNr"]
    entity_id, betnr = await office.linked_person()
    account = await office.enter(
        "CBankverbindungen", beteiligteId=entity_id, iban="DE89370400440532013000"
    )
    await office.fault(
        office.advoware,
        method="POST",
        path="Bankverbindungen",
        when="after",
        count=1,
        **answer,
    )
    await office.sync(entity_id)
    await office.edit_espocrm(entity_id, betnr=number)
    if is_deleted:
        await office.delete("CBankverbindungen", account["id"])
    office.clock.advance(minutes=2)

    for _ in range(2):
        await office.sync(entity_id)

    assert len(office.in_advoware(betnr)["bankkverbindungen"]) == 1
    assert office.in_advoware(number)["bankkverbindungen"] == []
    (task,) = [t["name"] for t in await office.tasks() if "Bankverbindung" in t["name"]]
    assert ("entfernen" if is_deleted else "beim richtigen") in task


async def test_an_account_moved_after_what_was_sent_is_erased_is_not_created_again(
    office: Office,
) -> None:
    old, new = await move_account_of_lost_create(office)
    pool = await office.resources.database()
    (row,) = await pool.fetch("SELECT posted FROM create_intent")
    sealed = seal(row["posted"], b"1" * 32)
    await pool.execute("UPDATE create_intent SET posted = $1", sealed)

    await office.sync(new)

    assert await accounts_of(office, old, new) == [1, 0]


async def test_a_deleted_account_of_a_create_without_its_beteiligter_is_forgotten(
    office: Office,
) -> None:
    """A version before this one did not note it."""
    entity_id, _ = await office.linked_person()
    account = await office.enter(
        "CBankverbindungen", beteiligteId=entity_id, iban="DE89370400440532013000"
    )
    await lose_create(office, "Bankverbindungen", count=1)
    await office.sync(entity_id)
    pool = await office.resources.database()
    await pool.execute("UPDATE create_intent SET posted = posted - 'beteiligteId'")
    await office.delete("CBankverbindungen", account["id"])
    office.clock.advance(minutes=2)
    event = SyncEvent(
        entity_id=account["id"],
        action="delete",
        source="webhook",
    )

    handled = await BankverbindungenSync(resources=office.resources).handle(event)

    assert handled.result == "deleted"


@pytest.mark.parametrize("is_new_first", [True, False])
async def test_an_account_moved_before_its_create_was_known_is_not_created_again(
    office: Office, is_new_first: bool
) -> None:
    old, new = await move_account_of_lost_create(office)

    for entity_id in (new, old) if is_new_first else (old, new):
        await office.sync(entity_id)

    assert await accounts_of(office, old, new) == [1, 0]
    (task,) = await office.tasks()
    assert "beim richtigen Beteiligten" in task["name"]


async def test_a_record_deleted_after_a_create_that_has_left_nothing_is_forgotten(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(office.advoware, method="POST", path="Beteiligte$", reset=True)
    await office.sync(entity_id)
    pool = await office.resources.database()
    await office.delete_in_espocrm(entity_id)
    office.clock.advance(minutes=2)

    assert (await office.sync(entity_id, "delete")).result == "deleted"

    assert await office.tasks() == []
    assert await pool.fetch("SELECT 1 FROM create_intent") == []


async def test_failures_are_tried_again_after_growing_pauses_and_given_up_after_the_fifth(
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
    pauses = []
    for _ in range(4):
        assert (await office.sync(entity_id, "sync_check", "cron")).result == "failed"
        record = await office.in_espocrm(entity_id)
        assert "Advoware lehnt die Angaben ab" in record["syncErrorMessage"]
        assert (await office.sync(entity_id, "sync_check", "cron")).result == "skipped"
        for minutes in (1, 5, 15, 60, 240):
            office.clock.advance(minutes=minutes)
            if (await _due(office, entity_id)) is True:
                pauses.append(minutes)
                break
    assert (
        await office.sync(entity_id, "sync_check", "cron")
    ).result == "permanently_failed"
    record = await office.in_espocrm(entity_id)
    assert (record["syncRetryCount"], record["syncNextRetry"]) == (5, None)
    assert record["syncAutoResetAt"]
    assert len(await office.tasks()) == 1
    await office.no_faults()
    await office.edit_espocrm(entity_id, lastName="Besser")
    assert (await office.sync(entity_id)).result == "created"
    record = await office.in_espocrm(entity_id)
    assert (
        record["syncStatus"],
        record["syncRetryCount"],
        record["syncErrorMessage"],
    ) == ("clean", 0, None)


async def _due(office: Office, entity_id: str) -> bool:
    record = await office.in_espocrm(entity_id)
    return bool(record["syncNextRetry"] <= f"{office.clock.now:%Y-%m-%d %H:%M:%S}")


async def test_a_fresh_edit_is_not_made_to_wait_for_the_next_try(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    await office.fault(
        office.advoware, method="POST", path="Beteiligte$", status=400, count=2
    )
    assert (
        await office.sync(entity_id, "create")
    ).result == "failed"  # not even the name alone

    assert (
        await office.sync(entity_id, "update")
    ).result == "skipped"  # EspoCRM reports our own write to us
    await office.edit_espocrm(entity_id, lastName="Neu")
    assert (await office.sync(entity_id, "update")).result == "created"


async def test_advoware_down_is_a_failure_of_the_record_and_nothing_is_lost(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Später")
    await office.fault(office.advoware, path="Beteiligte", status=503)

    assert (await office.sync(entity_id)).result == "failed"
    await office.no_faults()
    office.clock.advance(minutes=2)
    assert (
        await office.sync(entity_id, "sync_check", "cron")
    ).result == "espocrm_newer"

    assert office.in_advoware(betnr)["name"] == "Später"


async def test_without_a_base_a_value_wins_over_none_and_the_newer_record_over_another_value(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(dateOfBirth="1970-01-31")
    await (await office.resources.database()).execute("TRUNCATE sync_state")
    await office.edit_espocrm(entity_id, dateOfBirth=None, lastName="Alt")
    await office.edit_advoware(betnr, name="Neu", geburtsdatum="1970-01-31")

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (
        espo["lastName"],
        espo["dateOfBirth"],
        office.in_advoware(betnr)["name"],
    ) == ("Neu", "1970-01-31", "Neu")


async def test_a_company_becomes_a_person_and_back(office: Office) -> None:
    entity_id, betnr = await office.linked_person(
        rechtsform="GmbH", firmenname="Muster GmbH", lastName=None
    )
    await office.edit_espocrm(
        entity_id, rechtsform="", lastName="Muster", firmenname=None
    )
    await office.sync(entity_id)
    advo = office.in_advoware(betnr)
    assert (advo["name"], advo["vorname"], advo["rechtsform"] or "") == (
        "Muster",
        "Erika",
        "",
    )

    await office.edit_advoware(betnr, rechtsform="AG", name="Muster AG", vorname="")
    await office.sync(entity_id)
    espo = await office.in_espocrm(entity_id)
    assert (espo["rechtsform"], espo["firmenname"]) == ("AG", "Muster AG")
    assert (await office.sync(entity_id)).result == "no_change"


async def test_a_clean_record_that_was_not_checked_for_a_day_is_marked_as_checked_once(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    office.clock.advance(hours=25)

    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == [f"PUT /api/v1/CBeteiligte/{entity_id}"]
    await office.sync(entity_id, "sync_check", "cron")
    assert office.writes() == []


async def test_a_404_that_does_not_speak_of_the_record_deletes_nothing(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    reason = {"X-Status-Reason": "Controller 'CBeteiligte' does not exist."}
    await office.fault(
        office.espocrm, method="GET", path="CBeteiligte", status=404, headers=reason
    )
    with pytest.raises(Unavailable):
        await office.sync(entity_id)
    await office.no_faults()
    await office.fault(
        office.advoware, path="advonet", status=404, body="404: Not Found"
    )
    assert (await office.sync(entity_id)).result == "failed"
    await office.no_faults()
    office.clock.advance(minutes=2)

    assert (await office.sync(entity_id)).result == "no_change"
    assert (await office.in_espocrm(entity_id))["betnr"] == betnr
    assert await office.tasks() == []


@pytest.mark.parametrize("skip", [0, 1])
async def test_an_answer_without_a_body_does_not_say_that_a_create_has_left_nothing(
    office: Office, skip: int
) -> None:
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    assert (await office.sync(entity_id, "create")).result == "failed"
    (created,) = office.advoware.state()["beteiligte"]
    if skip:  # then he is looked for once more, by the first name alone
        await office.edit_advoware(created["betNr"], name="Mus-ter")
    office.clock.advance(minutes=2)
    await office.fault(
        office.advoware, method="GET", path="Beteiligte$", text="", skip=skip, count=1
    )

    assert (await office.sync(entity_id, "create")).result == "failed"
    await office.sync(entity_id, "create")

    assert len(office.advoware.state()["beteiligte"]) == 1


#: Both are half past two in Berlin, before and after the clocks were set back.
HALF_PAST_TWO = [
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", HALF_PAST_TWO)
async def test_a_create_whose_answer_was_lost_is_found_again_in_the_hour_that_comes_twice(
    office: Office, moment: datetime
) -> None:
    office.clock.now = moment
    entity_id = await office.new_person()
    await lose_create(office, "Beteiligte$", count=1)
    assert (await office.sync(entity_id, "create")).result == "failed"
    office.clock.advance(minutes=2)

    assert (await office.sync(entity_id, "create")).result == "adopted"

    assert len(office.advoware.state()["beteiligte"]) == 1


@pytest.mark.parametrize(("minutes", "winner"), [(-90, "Neu"), (0, None), (90, "Alt")])
async def test_what_was_edited_in_the_hour_that_comes_twice_is_newer_only_if_that_is_sure(
    office: Office, minutes: int, winner: str | None
) -> None:
    office.clock.now = HALF_PAST_TWO[1] - timedelta(days=1)
    entity_id, betnr = await office.linked_person()
    await (await office.resources.database()).execute("TRUNCATE sync_state")
    office.clock.now = HALF_PAST_TWO[1] + timedelta(minutes=minutes)
    await office.edit_espocrm(entity_id, lastName="Alt")
    office.clock.now = HALF_PAST_TWO[1]
    await office.edit_advoware(betnr, name="Neu")

    await office.sync(entity_id)

    shown = (
        (await office.in_espocrm(entity_id))["lastName"],
        office.in_advoware(betnr)["name"],
    )
    assert shown == (winner or "Alt", winner or "Neu")


async def equal_records_without_answers(office: Office) -> list[str]:
    """Two equal records that Advoware has created; neither answer has arrived, and both may be tried again."""
    await lose_create(office, "Beteiligte$", count=2)
    ids = [await office.new_person(), await office.new_person()]
    for entity_id in ids:
        assert (await office.sync(entity_id, "create")).result == "failed"
    office.clock.advance(minutes=2)
    return ids


async def test_two_equal_records_whose_creates_lost_their_answers_get_one_each(
    office: Office,
) -> None:
    ids = await equal_records_without_answers(office)

    results = await asyncio.gather(
        *(office.sync(entity_id, "create") for entity_id in ids)
    )

    assert [outcome.result for outcome in results] == ["adopted", "adopted"]
    numbers = [(await office.in_espocrm(entity_id))["betnr"] for entity_id in ids]
    assert sorted(numbers) == sorted(
        row["betNr"] for row in office.advoware.state()["beteiligte"]
    )


async def test_what_another_create_takes_before_it_is_noted_is_left_to_that_create(
    office: Office,
) -> None:
    """It is looked up, then noted: between the two the other record is linked with it, and its create is ended."""
    slow, fast = await equal_records_without_answers(office)
    pool = await office.resources.database()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

    search = held(
        office.advoware,
        office.sync(slow, "create"),
        method="GET",
        path="Beteiligte$",
    )
    async with pool.acquire() as connection, connection.transaction():
        async with search as late:
            await connection.execute(
                "SELECT FROM create_intent WHERE entity_id = $1 FOR SHARE", slow
            )
        await until(lambda: has_row(connection, waiting))
        outcome = await office.sync(fast, "create")

    assert [outcome.result, (await late).result] == ["adopted", "adopted"]
    numbers = [(await office.in_espocrm(entity))["betnr"] for entity in (slow, fast)]
    assert sorted(numbers) == sorted(
        row["betNr"] for row in office.advoware.state()["beteiligte"]
    )


async def has_row(connection: Any, query: str) -> bool:
    return bool(await connection.fetchval(query))


async def test_a_beteiligter_whose_record_was_deleted_is_free_for_the_one_that_is_entered_again(
    office: Office,
) -> None:
    deleted, betnr = await office.linked_person()
    await office.delete_in_espocrm(deleted)
    assert (await office.sync(deleted, "delete")).result == "deleted"
    entered_again = await office.new_person()
    await office.fault(
        office.advoware, method="POST", path="Beteiligte$", reset=True, count=1
    )
    assert (await office.sync(entered_again, "create")).result == "failed"
    office.clock.advance(minutes=2)

    assert (await office.sync(entered_again, "create")).result == "adopted"
    assert (await office.in_espocrm(entered_again))["betnr"] == betnr
    assert len(office.advoware.state()["beteiligte"]) == 1


async def test_a_control_character_in_a_name_does_not_stop_the_sync(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Vor\u0000her\u001f")

    assert office.in_advoware(betnr)["name"] == "Vorher"
    assert (await office.in_espocrm(entity_id))["syncStatus"] == "clean"
    assert (await office.sync(entity_id)).result == "no_change"


async def test_an_answer_of_the_wrong_shape_is_a_failure_of_the_record(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    await office.fault(
        office.advoware, method="GET", path="Beteiligte/", status=200, body={}
    )

    assert (await office.sync(entity_id)).result == "failed"
    assert "unverständlich" in (await office.in_espocrm(entity_id))["syncErrorMessage"]
