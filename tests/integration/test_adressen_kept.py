"""What people wrote into Advoware by hand stays: printed blocks, copies; and what an older version has remembered."""

from __future__ import annotations

from typing import Any

import pytest
from office import BETEILIGTE_ID, Office, office, strike

from services.adressen_sync import AdressenSync
from services.core.database import MIGRATIONS
from services.core.resources import Resources
from services.vmh_sync.result import PartResult
from services.vmh_sync.store import SyncState

__all__ = ["office"]

STREET = {
    "adresseStreet": "Lange Straße 5",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}
HAND = "Stadtwerke\nAbt. Einkauf, Frau Öz\nLange Straße 5\n30159 Hannover"


@pytest.fixture
def sync(office: Office, resources: Resources) -> Any:
    async def run() -> PartResult:
        office.forget_calls()
        return await AdressenSync(resources=resources).sync_part(
            office.espo, office.beteiligter(), office.store
        )

    return run


async def linked(office: Office, sync: Any, **attributes: Any) -> str:
    record = await office.enter(
        "CAdressen",
        **{**STREET, "istStandard": True, "beteiligteId": BETEILIGTE_ID, **attributes},
    )
    assert (await sync()).errors == ()
    return str(record["id"])


def row(office: Office, entity_id: str) -> dict[str, Any]:
    return next(
        record for record in office.records("CAdressen") if record["id"] == entity_id
    )


def adressen(office: Office) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.beteiligter()["adressen"]
    return found


def change(office: Office, **changes: Any) -> None:
    office.edit_beteiligter(adressen=[{"id": adressen(office)[0]["id"], **changes}])


def reasons(result: PartResult) -> list[Any]:
    return sorted(
        problem.details.reason or problem.action_type for problem in result.problems
    )


async def assert_settled(office: Office, sync: Any) -> PartResult:
    result: PartResult = await sync()
    assert (result.errors, result.changes, office.write_requests()) == ((), (), [])
    return result


# -- the printed block ----------------------------------------------------------------------------------------------


async def test_in_a_block_written_by_hand_only_the_lines_of_the_old_parts_are_replaced(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    change(office, anschrift=HAND)
    assert (await sync()).problems == ()
    await office.edit(
        "CAdressen", entity_id, adresseStreet="Neue Straße 7", adresseCity="Celle"
    )
    assert (await sync()).problems == ()
    assert (
        adressen(office)[0]["anschrift"]
        == "Stadtwerke\nAbt. Einkauf, Frau Öz\nNeue Straße 7\n30159 Celle"
    )
    rows = await (await resources.database()).fetch(
        "SELECT changes FROM sync_audit WHERE result = 'overwritten'"
    )
    ((line,),) = (entry["changes"] for entry in rows)
    assert (line["field"], line["old"]) == ("anschrift", HAND)
    await assert_settled(office, sync)


async def test_the_old_block_is_in_the_audit_before_it_is_overwritten(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    change(office, anschrift=HAND)
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    strike(office.advoware, "PUT", "/Adressen/", when="after", reset=True, count=None)
    assert len((await sync()).errors) == 1
    rows = await (await resources.database()).fetch(
        "SELECT changes FROM sync_audit WHERE result = 'overwritten'"
    )
    assert [line["old"] for entry in rows for line in entry["changes"]] == [HAND]


@pytest.mark.parametrize(
    "block",
    [
        "Stadtwerke\nLange Str. 5\n30159 Hannover",  # spelled otherwise
        "Stadtwerke\nLange Straße 5, Hinterhaus\n30159 Hannover",
        "Lange Straße 5\nLange Straße 5\n30159 Hannover",  # which of the two?
        "Müller\nPO Box 77\nDubai",
    ],
)
async def test_a_block_that_does_not_hold_the_old_parts_is_left_and_reported(
    office: Office, sync: Any, block: str
) -> None:
    entity_id = await linked(office, sync)
    change(office, anschrift=block)
    assert (await sync()).problems == ()
    await office.edit("CAdressen", entity_id, adresseStreet="Neue Straße 7")
    result = await sync()
    assert reasons(result) == ["address_block"]
    (item,) = (
        item
        for item in result.problems[0].details.as_json()["fields"]
        if item["field"] == "anschrift"
    )
    assert item == {
        "field": "anschrift",
        "old": block,
        "new": "Herrn Max Müller\nNeue Straße 7\n30159 Hannover",
    }
    assert (adressen(office)[0]["strasse"], adressen(office)[0]["anschrift"]) == (
        "Neue Straße 7",
        block,
    )
    assert row(office, entity_id)["syncStatus"] == "conflict"
    assert (await assert_settled(office, sync)).problems == result.problems
    change(office, anschrift="Stadtwerke\nNeue Straße 7\n30159 Hannover")
    assert (await sync()).problems == ()
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(office, sync)


async def test_lines_below_the_street_that_cannot_be_placed_are_reported_and_stay_in_espocrm(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, anschrift="Stadtwerke\nPostfach 12\nDubai")
    await office.edit(
        "CAdressen", entity_id, adresseStreet="Lange Straße 5\nHinterhaus"
    )
    assert reasons(await sync()) == ["address_block"]
    assert [call for call in office.write_requests() if "Advoware" in call] == []
    assert row(office, entity_id)["adresseStreet"] == "Lange Straße 5\nHinterhaus"
    assert reasons(await assert_settled(office, sync)) == ["address_block"]
    change(office, anschrift="Stadtwerke\nLange Straße 5\nHinterhaus\n30159 Hannover")
    assert (await sync()).problems == ()
    await assert_settled(office, sync)


async def test_lines_below_the_street_are_replaced_where_they_stand(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync, adresseStreet="Lange Straße 5\nHinterhaus")
    change(
        office,
        anschrift="Stadtwerke\r\nLange Straße 5\r\nHinterhaus\r\n30159 Hannover\r\nz. Hd. Frau Öz",
    )
    await office.edit(
        "CAdressen", entity_id, adresseStreet="Lange Straße 5\n2. Stock\nlinks"
    )
    assert (await sync()).problems == ()
    assert adressen(office)[0]["anschrift"] == (
        "Stadtwerke\r\nLange Straße 5\r\n2. Stock\r\nlinks\r\n30159 Hannover\r\nz. Hd. Frau Öz"
    )
    await assert_settled(office, sync)


async def test_lines_that_a_block_never_showed_are_brought_there_once_it_shows_its_lines(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        adressen=[
            {
                "strasse": "Lange Straße 5",
                "plz": "30159",
                "ort": "Hannover",
                "anschrift": "Frei",
            }
        ]
    )
    entity_id = await linked(office, sync, adresseStreet="Lange Straße 5\nHinterhaus")
    assert row(office, entity_id)["advowareId"] == adressen(office)[0]["id"]
    change(office, anschrift="Herrn Max Müller\nLange Straße 5\n30159 Hannover")
    assert (await sync()).problems == ()
    assert row(office, entity_id)["adresseStreet"] == "Lange Straße 5\nHinterhaus"
    assert (
        adressen(office)[0]["anschrift"]
        == "Herrn Max Müller\nLange Straße 5\nHinterhaus\n30159 Hannover"
    )
    await assert_settled(office, sync)


async def test_an_address_that_is_only_a_block_is_shown_and_never_destroyed(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(adressen=[{"anschrift": HAND}])
    assert (await sync()).problems == ()
    (record,) = office.records("CAdressen")
    assert (
        record["bezeichnung"]
        == "Stadtwerke, Abt. Einkauf, Frau Öz, Lange Straße 5, 30159 Hannover"
    )
    assert (record["adresseStreet"], record["syncStatus"]) == (None, "clean")
    await assert_settled(office, sync)
    change(office, anschrift="Stadtwerke\nAm Wall 1\n28195 Bremen")
    await sync()
    assert (
        row(office, record["id"])["bezeichnung"]
        == "Stadtwerke, Am Wall 1, 28195 Bremen"
    )
    await office.edit("CAdressen", record["id"], bezeichnung="Zentrale")
    change(office, anschrift=HAND)
    await sync()
    assert row(office, record["id"])["bezeichnung"] == "Zentrale"
    assert adressen(office)[0]["anschrift"] == HAND
    await assert_settled(office, sync)


async def test_parts_entered_for_a_block_that_says_them_leave_it_as_it_is(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(adressen=[{"anschrift": HAND}])
    await sync()
    (record,) = office.records("CAdressen")
    await office.edit("CAdressen", record["id"], **STREET)
    assert (await sync()).problems == ()
    assert (adressen(office)[0]["strasse"], adressen(office)[0]["anschrift"]) == (
        "Lange Straße 5",
        HAND,
    )
    await assert_settled(office, sync)
    await office.edit("CAdressen", record["id"], adresseStreet="Am Wall 1")
    await sync()
    assert adressen(office)[0]["anschrift"] == HAND.replace(
        "Lange Straße 5", "Am Wall 1"
    )


async def test_other_parts_entered_for_a_block_only_address_are_reported(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(adressen=[{"anschrift": HAND}])
    await sync()
    (record,) = office.records("CAdressen")
    await office.edit(
        "CAdressen", record["id"], **{**STREET, "adresseStreet": "Am Wall 1"}
    )
    assert reasons(await sync()) == ["address_block"]
    assert adressen(office)[0]["anschrift"] == HAND


async def test_what_gives_way_at_the_first_sync_is_in_the_audit_before(
    office: Office, sync: Any, resources: Resources
) -> None:
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}]
    )
    record = await office.enter(
        "CAdressen",
        **STREET,
        beteiligteId=BETEILIGTE_ID,
        advowareId=adressen(office)[0]["id"],
    )
    strike(office.advoware, "PUT", "/Adressen/", when="after", reset=True, count=None)
    await sync()
    rows = await (await resources.database()).fetch(
        "SELECT changes FROM sync_audit WHERE entity_id = $1", record["id"]
    )
    kept = {line["field"]: line["old"] for entry in rows for line in entry["changes"]}
    assert kept == {"strasse": "Am Wall 1", "plz": "28195", "ort": "Bremen"}


# -- copies ---------------------------------------------------------------------------------------------------------


async def test_a_mark_that_names_an_address_of_another_beteiligter_is_a_copy_and_a_new_address(
    office: Office, sync: Any
) -> None:
    other = await office.enter("CBeteiligte", lastName="Rot", assignedUserId=None)
    there = await office.enter("CAdressen", **STREET, beteiligteId=other["id"])
    office.edit_beteiligter(
        adressen=[
            {
                "strasse": "Am Wall 1",
                "ort": "Bremen",
                "bemerkung": f"EspoCRM-ID: {there['id']}",
            }
        ]
    )
    result = await sync()
    assert (result.problems, result.errors) == ((), ())
    (record,) = (
        record
        for record in office.records("CAdressen")
        if record["beteiligteId"] == BETEILIGTE_ID
    )
    assert (record["adresseStreet"], record["syncStatus"]) == ("Am Wall 1", "clean")
    await assert_settled(office, sync)


async def test_a_mark_of_an_address_that_is_linked_with_another_beteiligter_is_a_copy(
    office: Office, sync: Any
) -> None:
    other = await office.enter("CBeteiligte", lastName="Rot", assignedUserId=None)
    there = await office.enter("CAdressen", **STREET, beteiligteId=other["id"])
    await office.store.save(SyncState("CAdressen", there["id"], advoware_id="4711/5"))
    office.edit_beteiligter(
        adressen=[
            {
                "strasse": "Am Wall 1",
                "ort": "Bremen",
                "bemerkung": f"EspoCRM-ID: {there['id']}",
            }
        ]
    )
    assert (await sync()).problems == ()
    assert (
        len(
            [
                record
                for record in office.records("CAdressen")
                if record["beteiligteId"] == BETEILIGTE_ID
            ]
        )
        == 1
    )
    state = await office.store.load("CAdressen", there["id"])
    assert state is not None
    assert (state.advoware_id, state.deleted_at) == ("4711/5", None)
    await assert_settled(office, sync)


async def test_a_copy_of_an_address_deleted_in_espocrm_is_new_and_the_deleted_one_stays_a_task(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    office.edit_beteiligter(
        adressen=[
            {"strasse": "Am Wall 1", "bemerkung": adressen(office)[0]["bemerkung"]}
        ]
    )
    await office.delete("CAdressen", entity_id)
    assert reasons(await sync()) == ["address_delete_required"]
    assert [record["adresseStreet"] for record in office.records("CAdressen")] == [
        "Am Wall 1"
    ]
    assert reasons(await assert_settled(office, sync)) == ["address_delete_required"]


async def test_of_two_addresses_with_the_same_mark_one_is_the_pair(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    first = adressen(office)[0]
    office.edit_beteiligter(
        adressen=[{"strasse": "Am Wall 1", "bemerkung": first["bemerkung"]}]
    )
    await (await resources.database()).execute("DELETE FROM sync_state")
    await office.edit("CAdressen", entity_id, advowareId=None)
    assert (await sync()).problems == ()
    assert row(office, entity_id)["advowareId"] == first["id"]
    assert sorted(
        str(record["adresseStreet"]) for record in office.records("CAdressen")
    ) == [
        "Am Wall 1",
        "Lange Straße 5",
    ]
    await assert_settled(office, sync)


@pytest.mark.parametrize(
    "store", [str.upper, lambda text: text[: len("EspoCRM-ID: ") + 10]]
)
async def test_a_mark_that_advoware_stored_in_capitals_or_cut_off_is_still_recognised(
    office: Office, sync: Any, resources: Resources, store: Any
) -> None:
    entity_id = await linked(office, sync)
    change(office, bemerkung=store(adressen(office)[0]["bemerkung"]))
    await (await resources.database()).execute("DELETE FROM sync_state")
    await office.edit("CAdressen", entity_id, advowareId=None, adresseCity="Celle")
    assert (await sync()).problems == ()
    assert len(office.records("CAdressen")) == len(adressen(office)) == 1


@pytest.mark.parametrize("first", ["old", "new"])
async def test_an_address_moved_to_another_beteiligter_does_not_come_back_whoever_is_synced_first(
    office: Office, sync: Any, resources: Resources, first: str
) -> None:
    entity_id = await linked(office, sync)
    other = await office.enter("CBeteiligte", lastName="Rot", assignedUserId=None)
    number = office.advoware.beteiligte.create(
        {"rechtsform": "Herr", "name": "Rot"}, "SB"
    )["betNr"]
    await office.edit("CAdressen", entity_id, beteiligteId=other["id"])

    async def sync_other() -> PartResult:
        part = AdressenSync(resources=resources)
        return await part.sync_part(
            other, office.advoware.beteiligte.get(number), office.store
        )

    if first == "new":
        assert (await sync_other()).errors == ()
    reported = (await sync()).problems
    assert [problem.action_type for problem in reported] == ["address_delete_required"]
    assert (await sync_other()).problems == ()
    assert (await sync()).problems == reported
    assert len(office.records("CAdressen")) == 1
    assert [
        item["ort"] for item in office.advoware.beteiligte.get(number)["adressen"]
    ] == ["Hannover"]


# -- what an older version remembered -------------------------------------------------------------------------------

OLD_BASE = {
    "strasse": "Lange Straße 5",
    "weitereZeilen": None,
    "plz": "30159",
    "ort": "Hannover",
    "land": None,
    "postfach": None,
    "postfachPLZ": None,
    "gueltigVon": None,
    "gueltigBis": None,
    "standardAnschrift": True,
    "isActive": True,
}


async def upgraded(
    office: Office,
    resources: Resources,
    entity_id: str,
    base: Any,
    rejected: Any = None,
) -> None:
    """Remember what the version before the pairs did, and bring it up to date as the migration does."""
    pool = await resources.database()
    await pool.execute("DELETE FROM sync_state")
    link = f"{office.betnr}/{adressen(office)[0]['id']}"
    await office.store.save(
        SyncState(
            "CAdressen",
            entity_id,
            advoware_id=link,
            base=base,
            rejected=rejected or {},
            advoware_row_id="x",
        )
    )
    await pool.execute((MIGRATIONS / "0007_adressen_pairs.sql").read_text("utf-8"))


async def test_the_migration_of_what_was_agreed_invents_no_change(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    await upgraded(office, resources, entity_id, OLD_BASE)
    assert (await assert_settled(office, sync)).problems == ()


async def test_after_the_migration_an_edit_is_an_edit_of_its_side(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    await upgraded(office, resources, entity_id, OLD_BASE)
    await office.edit("CAdressen", entity_id, adresseStreet="Neue Straße 7")
    change(office, ort="Celle", postfach="12")
    result = await sync()
    assert result.problems == ()
    assert adressen(office)[0]["strasse"] == "Neue Straße 7"
    record = row(office, entity_id)
    assert (record["adresseCity"], record["postfach"]) == ("Celle", "12")
    await assert_settled(office, sync)


async def test_after_the_migration_what_was_unreadable_is_reported_and_is_no_edit(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync)
    await upgraded(office, resources, entity_id, OLD_BASE)
    answer = office.beteiligter()
    answer["adressen"][0] |= {
        "gueltigVon": "1492-10-12",
        "gueltigBis": "9999-12-31T00:00:00",
        "anschrift": "Frei",
    }
    office.forget_calls()
    result = await AdressenSync(resources=resources).sync_part(
        office.espo, answer, office.store
    )
    assert reasons(result) == ["address_unknown_advoware"]
    assert result.changes[0]["rejected"]
    assert office.write_requests() == [
        f"EspoCRM PUT /api/v1/CAdressen/{entity_id}"
    ]  # its status
    assert row(office, entity_id)["gueltigVon"] is None


async def test_after_the_migration_what_waited_still_waits_and_nothing_is_sent_again(
    office: Office, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, sync, syncStatus="conflict")
    await office.edit(
        "CAdressen",
        entity_id,
        postfach="77",
        adresseCity="Celle",
        syncStatus="conflict",
    )
    since = "2026-01-01T00:00:00+00:00"
    rejected = {
        "postfach": {"espocrm": "77", "advoware": None, "since": since},
        "ort": {
            "espocrm": "Celle",
            "advoware": "Hannover",
            "since": since,
            "refused": True,
        },
        "isActive": {"espocrm": True, "advoware": True, "since": since},
    }
    await upgraded(office, resources, entity_id, OLD_BASE, rejected)
    await office.edit("CAdressen", entity_id, syncStatus="conflict")
    result = await assert_settled(office, sync)
    assert reasons(result) == [
        "address_field_update_required",
        "address_reactivate_required",
        "address_refused",
    ]
    assert {problem.details.since for problem in result.problems} == {since}
    change(office, postfach="77", ort="Celle")
    assert reasons(await sync()) == ["address_reactivate_required"]
    assert row(office, entity_id)["syncStatus"] == "clean"


async def test_a_task_that_was_refused_its_address_is_found_at_the_beteiligter_once_it_is_about_him(
    office: Office, sync: Any
) -> None:
    await office.change_settings(task_parents=["CBeteiligte"])
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, isActive=False)
    await office.sync(BETEILIGTE_ID)
    (before,) = await office.tasks()
    assert before["parentId"] is None
    office.clock.advance(days=1)
    await office.delete("CAdressen", entity_id)

    await office.sync(BETEILIGTE_ID)

    (task,) = await office.tasks()
    assert task["parentId"] == BETEILIGTE_ID


def replace_by_copies(office: Office, number: int, *streets: str) -> None:
    """A person copies an Adresse in Advoware, remark included, changes the copies, and removes the original."""
    changes: list[dict[str, Any]] = [{"id": number, "delete": True}]
    for street in streets:
        office.advoware.beteiligte.copy_address(office.betnr, number, office.betnr)
        copy = max(adresse["id"] for adresse in adressen(office))
        changes.append({"id": copy, "strasse": street})
    office.edit_beteiligter(adressen=changes)


async def test_of_two_copies_that_replace_their_original_one_is_the_pair_and_one_new(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    replace_by_copies(office, adressen(office)[0]["id"], "Am Wall 1", "Am Wall 2")
    await sync()
    streets = {r["id"]: r["adresseStreet"] for r in office.records("CAdressen")}
    assert streets.pop(entity_id) == "Am Wall 1"
    assert list(streets.values()) == ["Am Wall 2"]
    await assert_settled(office, sync)


async def test_edits_of_both_sides_meet_in_a_copy_that_replaces_its_original(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    replace_by_copies(office, adressen(office)[0]["id"], "Am Wall 1")
    await office.edit("CAdressen", entity_id, adresseCity="Celle")
    await sync()
    shown, (adresse,) = row(office, entity_id), adressen(office)
    assert (shown["adresseStreet"], shown["adresseCity"]) == ("Am Wall 1", "Celle")
    assert (adresse["strasse"], adresse["ort"]) == ("Am Wall 1", "Celle")
    await assert_settled(office, sync)


@pytest.mark.parametrize(
    "edit", [{"adresseCountry": "Niemandsland"}, {"postfach": "77"}]
)
async def test_what_waits_at_an_address_still_waits_at_the_copy_that_replaces_it(
    office: Office, sync: Any, edit: dict[str, str]
) -> None:
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, **edit)
    before = reasons(await sync())
    assert len(before) == 1
    replace_by_copies(office, adressen(office)[0]["id"], "Am Wall 1")

    assert reasons(await sync()) == before

    assert row(office, entity_id)["syncStatus"] == "conflict"
    assert reasons(await assert_settled(office, sync)) == before


async def test_a_copy_that_replaces_what_is_deactivated_meanwhile_waits_for_a_person(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    replace_by_copies(office, adressen(office)[0]["id"], "Am Wall 1")
    await office.edit("CAdressen", entity_id, isActive=False)
    assert reasons(await sync()) == ["address_delete_required"]
    assert adressen(office)[0]["strasse"] == "Am Wall 1"


def put_back_a_copy(office: Office, kept: dict[str, Any], **changes: Any) -> None:
    """A person enters again what was removed in Advoware, remark included."""
    fields = ("strasse", "plz", "ort", "land", "anschrift", "bemerkung")
    again = {name: kept[name] for name in fields} | changes
    office.edit_beteiligter(adressen=[again])


@pytest.mark.parametrize("edited", [None, "espocrm", "advoware"])
async def test_an_address_that_was_gone_and_comes_back_as_a_copy_is_in_use_again(
    office: Office, sync: Any, edited: str | None
) -> None:
    entity_id = await linked(office, sync)
    kept = adressen(office)[0]
    if edited == "espocrm":
        await office.edit("CAdressen", entity_id, adresseCity="Celle")
    office.edit_beteiligter(adressen=[{"id": kept["id"], "delete": True}])
    assert reasons(await sync()) == ["missing_in_advoware"]
    assert row(office, entity_id)["isActive"] is False

    put_back_a_copy(office, kept, **({"ort": "Celle"} if edited == "advoware" else {}))
    await sync()

    city = kept["ort"] if edited is None else "Celle"
    shown, (adresse,) = row(office, entity_id), adressen(office)
    assert (shown["isActive"], shown["syncStatus"]) == (True, "clean")
    assert (shown["adresseCity"], adresse["ort"]) == (city, city)
    assert adresse["id"] != kept["id"]
    assert reasons(await assert_settled(office, sync)) == []


@pytest.mark.parametrize("is_synced_between", [True, False])
async def test_what_a_person_has_deactivated_and_comes_back_as_a_copy_waits_for_a_person(
    office: Office, sync: Any, is_synced_between: bool
) -> None:
    entity_id = await linked(office, sync)
    kept = adressen(office)[0]
    await office.edit("CAdressen", entity_id, isActive=False)
    assert reasons(await sync()) == ["address_delete_required"]
    office.edit_beteiligter(adressen=[{"id": kept["id"], "delete": True}])
    if is_synced_between:
        assert reasons(await sync()) == []

    put_back_a_copy(office, kept)

    assert reasons(await sync()) == ["address_delete_required"]
    shown = row(office, entity_id)
    assert (shown["isActive"], shown["syncStatus"]) == (False, "conflict")
    assert reasons(await assert_settled(office, sync)) == ["address_delete_required"]


@pytest.mark.parametrize("is_edited", [True, False])
async def test_what_a_person_has_changed_in_a_copy_that_replaces_its_original_is_an_edit(
    office: Office, sync: Any, is_edited: bool
) -> None:
    entity_id = await linked(office, sync)
    first = adressen(office)[0]
    replace_by_copies(office, first["id"], "Am Wall 1")
    street = "Am Wall 1"
    if is_edited:
        street = "Neue Straße 7"
        await office.edit("CAdressen", entity_id, adresseStreet=street)

    result = await sync()

    assert row(office, entity_id)["adresseStreet"] == street
    assert [adresse["strasse"] for adresse in adressen(office)] == [street]
    assert ("conflict" in str(result.changes)) == is_edited
    await assert_settled(office, sync)


async def delete_and_restore(office: Office) -> None:
    """A person deletes the CBeteiligte; after a sync has found that, an administrator brings it back."""
    await office.sync(BETEILIGTE_ID)
    await office.delete_in_espocrm(BETEILIGTE_ID)
    assert (await office.sync(BETEILIGTE_ID, "delete")).result == "deleted"
    await office.act(
        office.espocrm, action="restore", entity="CBeteiligte", id=BETEILIGTE_ID
    )


@pytest.mark.parametrize(
    ("in_espocrm", "in_advoware", "settled", "is_conflict"),
    [
        ({}, {"strasse": "Am Wall 1"}, ("Am Wall 1", "Hannover"), False),
        ({"adresseCity": "Celle"}, {}, ("Lange Straße 5", "Celle"), False),
        (
            {"adresseCity": "Celle"},
            {"strasse": "Am Wall 1"},
            ("Am Wall 1", "Celle"),
            False,
        ),
        (
            {"adresseStreet": "Neue Straße 7"},
            {"strasse": "Am Wall 1"},
            ("Neue Straße 7", "Hannover"),
            True,
        ),
    ],
)
async def test_edits_of_a_beteiligter_that_was_deleted_and_restored_are_edits(
    office: Office,
    sync: Any,
    in_espocrm: dict[str, Any],
    in_advoware: dict[str, Any],
    settled: tuple[str, str],
    is_conflict: bool,
) -> None:
    entity_id = await linked(office, sync)
    await delete_and_restore(office)
    if in_espocrm:
        await office.edit("CAdressen", entity_id, **in_espocrm)
    change(office, **in_advoware)

    await office.sync(BETEILIGTE_ID)

    shown, (adresse,) = row(office, entity_id), adressen(office)
    assert (shown["adresseStreet"], shown["adresseCity"]) == settled
    assert (adresse["strasse"], adresse["ort"]) == settled
    found = [task for task in await office.tasks() if "Am Wall 1" in str(task)]
    assert bool(found) == is_conflict


async def test_a_beteiligter_may_be_deleted_and_restored_again_and_again(
    office: Office, sync: Any
) -> None:
    entity_id = await linked(office, sync)
    for street in ("Am Wall 1", "Am Wall 2"):
        await delete_and_restore(office)
        await office.sync(BETEILIGTE_ID)
        assert office.store is not None
        state = await office.store.load("CAdressen", entity_id)
        assert state is not None
        assert state.deleted_at is None
        assert state.advoware_id == f"{office.betnr}/{adressen(office)[0]['id']}"
        change(office, strasse=street)
        await office.sync(BETEILIGTE_ID)
        assert row(office, entity_id)["adresseStreet"] == street
        await assert_settled(office, sync)


async def test_a_restored_beteiligter_keeps_the_main_address_that_advoware_has_chosen(
    office: Office, sync: Any
) -> None:
    first = await linked(office, sync)
    second = await linked(office, sync, adresseStreet="Am Wall 1", istStandard=False)
    await delete_and_restore(office)
    one, other = adressen(office)
    office.edit_beteiligter(
        adressen=[
            {"id": one["id"], "standardAnschrift": False},
            {"id": other["id"], "standardAnschrift": True},
        ]
    )

    await office.sync(BETEILIGTE_ID)

    assert row(office, second)["istStandard"]
    assert not row(office, first)["istStandard"]


@pytest.mark.parametrize("parent", ["CBeteiligte", "CAdressen"])
async def test_the_task_about_an_address_that_is_deleted_then_is_found_at_its_beteiligter(
    office: Office, sync: Any, parent: str
) -> None:
    await office.change_settings(task_parents=["CAdressen", parent])
    entity_id = await linked(office, sync)
    await office.edit("CAdressen", entity_id, isActive=False)
    await office.sync(BETEILIGTE_ID)
    (before,) = await office.tasks()
    assert before["parentId"] == entity_id
    office.clock.advance(days=1)
    await office.delete("CAdressen", entity_id)

    await office.sync(BETEILIGTE_ID)
    await office.sync(BETEILIGTE_ID)

    (task,) = await office.tasks()
    assert task["parentType"] == parent
    assert task["description"] != before["description"]
    assert task["status"] == "Not Started"
    assert "Lange Straße 5" in task["name"]
