"""Bankverbindungen that the field has shown: odd answers, values that do not fit, moves, older extensions, echoes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bankverbindungen_office import (
    HINT,
    IBAN,
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
from waiting import held

from sandbox.espocrm.entities import ENTITIES
from services.bankverbindungen_sync import BankverbindungenSync
from services.core.database import MIGRATIONS
from services.core.resources import Resources
from services.values.merge import base_from_json
from services.vmh_sync.result import PartResult
from services.vmh_sync.store import SyncState

__all__ = ["handle", "office", "sync"]

OTHER_ID = "6b0473a32660ab202"


def tasks(office: Office) -> list[tuple[str, str]]:
    return [(task["name"], task["status"]) for task in office.records("Task")]


def with_konten(office: Office, *items: Any) -> dict[str, Any]:
    """Advoware's answer with other Bankverbindungen."""
    return {**office.beteiligter(), "bankkverbindungen": list(items)}


# -- read inside the lock -------------------------------------------------------------------------------------------


async def test_an_iban_corrected_while_the_event_waits_for_advoware_is_what_is_sent(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office, iban=OTHER_IBAN)
    path = f"/Beteiligte/{office.betnr}"
    async with held(
        office.advoware, handle(entity_id), method="GET", path=path
    ) as running:
        await office.edit("CBankverbindungen", entity_id, iban=IBAN)
    await running
    assert [konto["iban"] for konto in konten(office)] == [IBAN]


async def test_an_account_given_to_another_beteiligter_meanwhile_is_created_there(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office)
    other = office.advoware.beteiligte.create(
        {"rechtsform": "Frau", "name": "Weiß", "vorname": "Bo"}, "SB"
    )["betNr"]
    await office.enter(
        "CBeteiligte", id=OTHER_ID, firstName="Bo", lastName="Weiß", betnr=other
    )
    path = f"/Beteiligte/{office.betnr}"
    async with held(
        office.advoware, handle(entity_id), method="GET", path=path
    ) as running:
        await office.edit("CBankverbindungen", entity_id, beteiligteId=OTHER_ID)
    assert (await running).result == "created"
    assert konten(office) == []
    assert [
        konto["iban"]
        for konto in office.advoware.beteiligte.get(other)["bankkverbindungen"]
    ] == [IBAN]


# -- odd answers of Advoware ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "x",
        {},
        {"id": None, "iban": OTHER_IBAN},
        {"id": 0, "iban": None},
        {"id": 7999},
        {"id": 7999, "iban": None, "bic": None, "kontoinhaber": None, "bank": None},
        {"id": 7999, "iban": 12, "kontoinhaber": {"x": 1}},
        {"ID": 7999, "IBAN": OTHER_IBAN},
    ],
)
async def test_an_odd_row_does_not_stop_its_neighbours(
    office: Office, handle: Any, sync: Any, odd: Any
) -> None:
    first = await linked(office, handle)
    second = await add(office, iban="AT611904300234573201", bic=None)
    result: PartResult = await sync(with_konten(office, odd, *konten(office)))
    assert (result.errors, result.problems) == ((), ())
    assert [row(office, entity_id)["syncStatus"] for entity_id in (first, second)] == [
        "clean",
        "clean",
    ]


async def test_a_linked_account_whose_id_advoware_does_not_say_is_not_called_gone(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    nameless = {**konten(office)[0], "id": None}
    answer = with_konten(office, nameless)
    strike(
        office.advoware,
        "GET",
        f"/Beteiligte/{office.betnr}",
        status=200,
        body=answer,
        count=None,
    )
    result = await sync(answer)
    assert (result.problems, result.errors, office.write_requests()) == ((), (), [])
    assert row(office, entity_id)["syncStatus"] == "clean"


async def test_an_account_that_advoware_has_without_id_is_not_created_again(
    office: Office, sync: Any
) -> None:
    entity_id = await add(office)
    result = await sync(with_konten(office, {"id": None, "iban": IBAN}))
    assert result.errors == (
        "Bankverbindung: „Coba ****3000“: Advoware hat unverständlich geantwortet; es wird von selbst erneut versucht "
        "(SYS-09).",
    )
    assert konten(office) == []
    assert row(office, entity_id)[HINT].endswith("(SYS-09).")


async def test_an_account_that_advoware_knows_by_kontonummer_and_blz_only_is_adopted(
    office: Office, sync: Any
) -> None:
    office.edit_beteiligter(
        bankkverbindungen=[{"iban": None, "kontoNr": "532013000", "blz": "370 400 44"}]
    )
    entity_id = await add(office)
    assert (await sync()).problems == ()
    assert len(konten(office)) == 1
    assert (row(office, entity_id)["advowareKontoId"], row(office, entity_id)["syncStatus"]) == (
        konten(office)[0]["id"], "clean",
    )  # fmt: skip
    await assert_settled(office, sync)
    await office.edit("CBankverbindungen", entity_id, iban=OTHER_IBAN)
    (problem,) = (await sync()).problems
    assert problem.details.as_json()["fields"] == [
        {"field": "iban", "old": "Konto ****3000, BLZ ****0044", "new": "****2051"}
    ]
    assert row(office, entity_id)["syncStatus"] == "unclean"


@pytest.mark.parametrize("hidden", ["iban", "bic", "kontoinhaber", "bank"])
async def test_a_field_that_advoware_does_not_show_is_no_change(
    office: Office, handle: Any, sync: Any, hidden: str
) -> None:
    entity_id = await linked(office, handle)
    (konto,) = konten(office)
    shown = {
        name: value
        for name, value in konto.items()
        if name not in (hidden, "kontoNr", "blz")
    }
    result = await sync(with_konten(office, shown))
    assert (result.problems, office.write_requests()) == ((), [])
    await office.edit(
        "CBankverbindungen",
        entity_id,
        bankname="Neu",
        kontoinhaber="Neu",
        bic="DEUTDEFF",
        iban=OTHER_IBAN,
    )
    fields = {
        line.field
        for line in (await sync(with_konten(office, shown))).problems[0].details.fields
    }
    assert fields == {
        "iban",
        "bic",
        "kontoinhaber",
        "bank",
    }  # the edit does not arrive, so it is reported


async def test_an_iban_that_advoware_answers_as_null_is_unknown(
    office: Office, handle: Any, sync: Any
) -> None:
    await linked(office, handle)
    (konto,) = konten(office)
    result = await sync(with_konten(office, {**konto, "iban": None}))
    assert (result.problems, office.write_requests()) == ((), [])
    await assert_settled(office, sync)


# -- values that do not fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "field", "why"),
    [
        (
            {"kontoinhaber": "x" * 251},
            "Kontoinhaber",
            "zu lang für das andere Programm",
        ),
        ({"bankname": "B" * 101}, "Bank", "zu lang für das andere Programm"),
    ],
)
async def test_what_advoware_cannot_take_is_left_out_and_reported(
    office: Office,
    handle: Any,
    sync: Any,
    attributes: dict[str, Any],
    field: str,
    why: str,
) -> None:
    await office.change_settings(
        form_rules=False
    )  # as saved before the extension asked for it
    entity_id = await add(office, **attributes)
    assert (await handle(entity_id)).result == "created"
    assert (konten(office)[0]["iban"], len(konten(office))) == (IBAN, 1)
    stored = row(office, entity_id)
    assert (stored["syncStatus"], stored[HINT]) == (
        "unclean", "In Advoware angelegt, aber unvollständig; bitte dort nachtragen, siehe Aufgabe (BAN-08).",
    )  # fmt: skip
    (task,) = office.records("Task")
    assert f"- {field}: alt (leer), neu" in task["description"]
    assert f"({why})" in task["description"]
    await assert_settled(office, sync)
    await office.edit("CBankverbindungen", entity_id, **dict.fromkeys(attributes))
    assert (await handle(entity_id, "update")).result == "clean"
    assert (row(office, entity_id)[HINT], tasks(office)[0][1]) == (None, "Canceled")


async def test_what_espocrm_shows_so_that_it_cannot_be_read_is_left_out_and_reported(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office)
    shown = [{"field": "bankname", "how": "value", "to": 4711990}]
    strike(office.espocrm, "GET", "/CBankverbindungen/", count=None, answer=shown)
    assert (await handle(entity_id)).result == "created"
    assert (konten(office)[0]["bank"], konten(office)[0]["kontoinhaber"]) == (
        "",
        "Max Müller",
    )
    (task,) = office.records("Task")
    assert (
        "- Bank: alt (leer), neu „nicht lesbar“ (im anderen Programm nicht darstellbar)"
        in task["description"]
    )


async def test_a_field_that_advoware_refuses_by_name_is_left_out(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await add(office)
    text = {"Message": "Das Feld 'kontoinhaber' enthält ein ungültiges Zeichen."}
    strike(office.advoware, "POST", "/Bankverbindungen", status=400, body=text)
    assert (await handle(entity_id)).result == "created"
    (konto,) = konten(office)
    assert (konto["bank"], konto["kontoinhaber"]) == ("Coba", "")
    line = (
        "- Kontoinhaber: alt (leer), neu „Max Müller“ (vom anderen Programm abgelehnt)"
    )
    assert line in office.records("Task")[0]["description"]
    await assert_settled(office, sync)


async def test_a_field_that_advoware_refuses_without_naming_it_is_found(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", status=400, count=3)
    assert (await handle(entity_id)).result == "created"
    (konto,) = konten(
        office
    )  # the whole, without bank and without kontoinhaber were refused
    assert (konto["bank"], konto["kontoinhaber"], konto["bic"]) == (
        "Coba",
        "Max Müller",
        "",
    )
    assert row(office, entity_id)["syncStatus"] == "unclean"


async def test_what_advoware_stores_differently_is_reported_once_and_never_copied_back(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    del entity_id
    other = await add(
        office,
        iban=OTHER_IBAN,
        kontoinhaber="Rechtsanwaltskanzlei Grün und Weiß Partnerschaft",
    )
    answer = {
        "id": 7555,
        "iban": OTHER_IBAN,
        "bic": "COBADEFF",
        "bank": "Coba",
        "kontoinhaber": "RECHTSANWALTSKANZLEI GRÜN U",
    }
    strike(office.advoware, "POST", "/Bankverbindungen", status=201, body=answer)
    assert (await handle(other)).result == "created"
    assert (
        row(office, other)["kontoinhaber"]
        == "Rechtsanwaltskanzlei Grün und Weiß Partnerschaft"
    )
    (task,) = office.records("Task")
    assert (
        task["name"]
        == "Advoware hat die Bankverbindung anders gespeichert: Coba ****2051"
    )
    assert "(anders gespeichert als eingetragen)" in task["description"]
    observed = with_konten(office, *konten(office), answer)
    result = await sync(observed)
    assert (reasons(result), office.write_requests()) == (["bank_altered"], [])
    await office.edit(
        "CBankverbindungen", other, kontoinhaber="RECHTSANWALTSKANZLEI GRÜN U"
    )
    assert (await sync(observed)).problems == ()
    assert row(office, other)["syncStatus"] == "clean"


@pytest.mark.parametrize(
    "body", ["truncated", "empty", {"id": None}, {"id": "abc"}, [], {"iban": IBAN}]
)
async def test_a_created_account_whose_answer_cannot_be_read_is_not_created_again(
    office: Office, handle: Any, sync: Any, clock: Any, body: Any
) -> None:
    entity_id = await add(office)
    spoil = (
        {"truncate_json": True}
        if body == "truncated"
        else {"status": 200, "body": None if body == "empty" else body}
    )
    strike(office.advoware, "POST", "/Bankverbindungen", when="after", **spoil)
    assert (await handle(entity_id)).result == "created"
    clock.advance(minutes=1)
    assert (await sync()).errors == ()
    assert len(konten(office)) == 1
    assert row(office, entity_id)["syncStatus"] == "clean"
    await assert_settled(office, sync)


async def test_an_unreadable_answer_without_an_account_keeps_the_intent(
    office: Office, handle: Any, resources: Resources
) -> None:
    entity_id = await add(office)
    strike(office.advoware, "POST", "/Bankverbindungen", status=200, body={"ok": True})
    assert (await handle(entity_id)).result == "failed"
    pool = await resources.database()
    assert (
        await pool.fetchval(
            "SELECT count(*) FROM create_intent WHERE entity_id = $1", entity_id
        )
        == 1
    )


# -- isolation ------------------------------------------------------------------------------------------------------


async def test_a_row_that_fails_in_any_way_does_not_stop_its_neighbours(
    office: Office, handle: Any, sync: Any, resources: Resources
) -> None:
    broken, fine = await linked(office, handle), await add(office, iban=OTHER_IBAN)
    pool = await resources.database()
    await pool.execute(
        "UPDATE sync_state SET base = $2, rejected = $2 WHERE entity_id = $1",
        broken,
        {"fields": [1], "gone": 3},
    )
    result = await sync()
    assert len(result.errors) == 1
    assert result.errors[0].endswith("(SYS-99).")
    assert (row(office, broken)["syncStatus"], row(office, fine)["syncStatus"]) == (
        "failed",
        "clean",
    )
    assert row(office, broken)[HINT].endswith("(SYS-99).")


# -- moved accounts -------------------------------------------------------------------------------------------------


async def second_beteiligter(office: Office) -> int:
    values = {"rechtsform": "Herr", "name": "Müller", "vorname": "Max"}
    other: int = office.advoware.beteiligte.create(values, "SB")["betNr"]
    await office.enter(
        "CBeteiligte", id=OTHER_ID, firstName="Max", lastName="Müller", betnr=other
    )
    return other


@pytest.mark.parametrize("order", ["deleted before", "deleted after"])
async def test_after_a_merge_the_moved_account_is_found_at_the_old_beteiligter(
    office: Office, handle: Any, resources: Resources, order: str
) -> None:
    entity_id = await linked(office, handle)
    other = await second_beteiligter(office)
    await office.edit("CBankverbindungen", entity_id, beteiligteId=OTHER_ID)
    if order == "deleted before":
        await office.store.release_parts(
            str(office.betnr), BETEILIGTE_ID, office.espocrm.now()
        )
    outcome = await handle(entity_id, "update")
    if order == "deleted after":
        await office.store.release_parts(
            str(office.betnr), BETEILIGTE_ID, office.espocrm.now()
        )
        outcome = await handle(entity_id, "update")
    assert outcome.advoware_id == f"{office.betnr}/{konten(office)[0]['id']}"
    assert office.advoware.beteiligte.get(other)["bankkverbindungen"] == []
    assert tasks(office) == [
        (
            "Bankverbindung in Advoware beim richtigen Beteiligten eintragen: Coba ****3000",
            "Not Started",
        )
    ]
    assert (
        f"- Beteiligter Nr.: alt „{office.betnr}“, neu „{other}“"
        in office.records("Task")[0]["description"]
    )
    assert row(office, entity_id)["syncStatus"] == "unclean"
    part = BankverbindungenSync(resources=resources)
    owner = {**office.espo, "id": OTHER_ID, "betnr": other}
    office.forget_calls()
    result = await part.sync_part(
        owner, office.advoware.beteiligte.get(other), office.store
    )
    assert (reasons(result), office.write_requests()) == (["bank_moved"], [])

    office.advoware.beteiligte.edit(
        other,
        {"bankkverbindungen": [{"iban": IBAN, "kontoinhaber": "Max Müller"}]},
        "SB",
    )
    assert (await handle(entity_id, "update")).result == "adopted"
    assert [status for _, status in tasks(office)] == ["Canceled"]
    assert row(office, entity_id)["syncStatus"] == "clean"


async def test_the_old_beteiligters_sync_does_not_call_a_moved_account_deleted(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await second_beteiligter(office)
    await office.edit("CBankverbindungen", entity_id, beteiligteId=OTHER_ID)
    assert (await sync()).problems == ()
    await handle(entity_id, "update")
    assert (await sync()).problems == ()
    assert [name for name, _ in tasks(office)] == [
        "Bankverbindung in Advoware beim richtigen Beteiligten eintragen: Coba ****3000"
    ]


async def test_a_moved_account_that_is_gone_from_the_old_beteiligter_too_is_not_taken_for_moved(
    office: Office, handle: Any
) -> None:
    entity_id = await linked(office, handle)
    other = await second_beteiligter(office)
    office.advoware.beteiligte.remove(office.betnr)
    await office.edit("CBankverbindungen", entity_id, beteiligteId=OTHER_ID)
    assert (await handle(entity_id, "update")).result == "created"
    assert len(office.advoware.beteiligte.get(other)["bankkverbindungen"]) == 1


async def test_an_account_taken_from_its_beteiligter_is_reported_as_removed(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await linked(office, handle)
    await office.change_settings(
        form_rules=False
    )  # as saved before the extension asked for it
    await office.edit("CBankverbindungen", entity_id, beteiligteId=None)
    assert reasons(await sync()) == ["bank_inactive"]
    await handle(entity_id, "update")
    assert "(BAN-11)" in row(office, entity_id)[HINT]


async def test_an_account_whose_beteiligter_was_deleted_is_reported_and_not_tried_for_ever(
    office: Office, handle: Any
) -> None:
    entity_id = await add(office)
    await office.delete("CBeteiligte", BETEILIGTE_ID)
    await handle(entity_id)
    assert row(office, entity_id)["syncStatus"] == "unclean"
    assert [name for name, _ in tasks(office)] == [
        "Bankverbindung gehört zu keinem Beteiligten: Coba ****3000"
    ]
    await handle(entity_id)
    assert office.write_requests() == []


# -- the reason on the record ---------------------------------------------------------------------------------------


async def test_without_iban_the_record_says_so(office: Office, handle: Any) -> None:
    entity_id = await add(office, iban=None)
    await handle(entity_id)
    assert (
        row(office, entity_id)[HINT]
        == "Die IBAN fehlt; bitte in EspoCRM eintragen (BAN-05)."
    )
    assert tasks(office) == [("IBAN in EspoCRM eintragen: Coba", "Not Started")]


async def test_an_extension_without_the_field_for_the_reason_costs_no_writes(
    office: Office, handle: Any, sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity = ENTITIES["CBankverbindungen"]
    older = replace(
        entity, fields=tuple(field for field in entity.fields if field.name != HINT)
    )
    monkeypatch.setitem(ENTITIES, entity.name, older)
    entity_id = await add(office, iban=None)
    await handle(entity_id)
    assert HINT not in row(office, entity_id)
    assert row(office, entity_id)["syncStatus"] == "unclean"
    await handle(entity_id)
    assert office.write_requests() == []
    await sync()
    assert office.write_requests() == []


async def test_a_hint_that_espocrm_has_stored_cut_is_not_written_again(
    office: Office, handle: Any, sync: Any
) -> None:
    entity_id = await add(office, iban=None)
    await handle(entity_id)
    await office.edit(
        "CBankverbindungen",
        entity_id,
        **{HINT: row(office, entity_id)[HINT][:25].upper()},
    )
    await sync()
    assert office.write_requests() == []


# -- what earlier versions have stored ------------------------------------------------------------------------------


async def test_the_stored_bases_are_migrated_without_inventing_a_change(
    office: Office, handle: Any, sync: Any, resources: Resources
) -> None:
    entity_id = await linked(office, handle)
    konto_id = konten(office)[0]["id"]
    await office.edit(
        "CBankverbindungen",
        entity_id,
        kontoinhaber="Erika Muster",
        bankname="Commerzbank",
    )
    office.edit_beteiligter(bankkverbindungen=[{"id": konto_id, "bank": "Coba AG"}])
    since = "2026-11-20T10:00:00+00:00"
    waiting = {
        "kontoinhaber": {
            "espocrm": "Erika Muster",
            "advoware": "Max Müller",
            "since": since,
        }
    }
    old = {
        "iban": IBAN,
        "bic": "COBADEFF",
        "accepted": {"bank": ["Commerzbank", "Coba AG"]},
        "beteiligteId": BETEILIGTE_ID,
        "label": "Coba AG ****3000",
    }
    link = f"{office.betnr}/{konto_id}"
    await office.store.save(
        SyncState("CBankverbindungen", entity_id, link, base=old, rejected=waiting)
    )
    pool = await resources.database()
    await pool.execute(
        (MIGRATIONS / "0008_bankverbindungen_pairs.sql").read_text("utf-8")
    )
    state = await office.store.load("CBankverbindungen", entity_id)
    assert state is not None
    assert base_from_json(state.base["fields"]) == {
        "iban": (IBAN, IBAN), "bic": ("COBADEFF", "COBADEFF"), "bank": ("Commerzbank", "Coba AG"),
    }  # fmt: skip
    assert (state.base["betnr"], state.base["label"]) == (
        str(office.betnr),
        "Coba AG ****3000",
    )
    (problem,) = (await sync()).problems
    assert problem.details.since == since
    assert problem.details.as_json()["fields"] == [
        {"field": "kontoinhaber", "old": "Max Müller", "new": "Erika Muster"}
    ]


async def test_an_account_that_reads_show_otherwise_than_answers_to_writes_was_not_edited(
    office: Office, sync: Any, handle: Any
) -> None:
    await linked(office, handle)
    both = [
        {"field": name, "how": "upper"}
        for name in ("kontoinhaber", "list[].kontoinhaber")
    ]
    strike(office.espocrm, "GET", "/CBankverbindungen", count=None, answer=both)
    result = await sync()
    assert (office.write_requests() != [], result.was_edited) == (True, False)


@pytest.mark.parametrize(
    ("in_espocrm", "in_advoware", "is_reported"),
    [
        ({"bankname": "Postbank"}, {}, True),
        ({}, {"kontoinhaber": ""}, True),
        ({}, {}, False),
    ],
)
async def test_edits_of_an_account_whose_beteiligter_was_deleted_and_restored_are_edits(
    office: Office,
    handle: Any,
    in_espocrm: dict[str, Any],
    in_advoware: dict[str, Any],
    is_reported: bool,
) -> None:
    entity_id = await linked(office, handle)
    await office.sync(BETEILIGTE_ID)
    await office.delete_in_espocrm(BETEILIGTE_ID)
    assert (await office.sync(BETEILIGTE_ID, "delete")).result == "deleted"
    await office.act(
        office.espocrm, action="restore", entity="CBeteiligte", id=BETEILIGTE_ID
    )
    if in_espocrm:
        await office.edit("CBankverbindungen", entity_id, **in_espocrm)
    konto = {"id": konten(office)[0]["id"], **in_advoware}
    office.edit_beteiligter(bankkverbindungen=[konto])

    for _ in range(2):
        await office.sync(BETEILIGTE_ID)

    named = [name for name, _ in tasks(office)]
    found = [name for name in named if name.startswith("Bankverbindung stimmt")]
    assert len(found) == is_reported
    assert office.store is not None
    state = await office.store.load("CBankverbindungen", entity_id)
    assert state is not None
    assert state.advoware_id == f"{office.betnr}/{konto['id']}"
    assert state.deleted_at is None
