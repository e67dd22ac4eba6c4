"""Phone numbers and mail addresses survive what the two systems do unasked: share, refuse, alter, hide, erase."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from kommunikation_firm import ID, KOMMUNIKATIONEN, Firm, Row, fault, firm, linked
from waiting import until
from watched_journal import WatchedJournal

from sandbox.espocrm import validation
from services.advoware_service import AdvowareService
from services.core.errors import Unavailable, ValidationFailed
from services.espocrm import EspoCRMAPI
from services.kommunikation_sync_utils import (
    ENTITY_TYPE,
    KommunikationResult,
    KommunikationSyncManager,
)
from services.vmh_sync.kommunikation.memory import VERSION
from services.vmh_sync.store import SyncStore

__all__ = ["firm", "linked"]

OTHER_ID = "6b04744e3b3103de2"


def reasons(result: KommunikationResult) -> list[tuple[str, str]]:
    return [
        (problem.details.reason, problem.details.value) for problem in result.problems
    ]


async def other_record(firm: Firm, **attributes: Any) -> None:
    """Another CBeteiligte, who shares values with the first."""
    record = {"id": OTHER_ID, "lastName": "Weber", **attributes}
    async with firm.control.post(
        f"{firm.espocrm.url}/__sandbox__/records/CBeteiligte", json=record
    ) as answer:
        assert answer.status == 200, await answer.text()


async def edit_other(firm: Firm, **attributes: Any) -> None:
    url = f"{firm.espocrm.url}/__sandbox__/records/CBeteiligte/{OTHER_ID}"
    async with firm.control.put(url, json=attributes) as answer:
        assert answer.status == 200, await answer.text()


async def other(firm: Firm) -> Row:
    return await EspoCRMAPI(resources=firm.resources).get_entity(
        "CBeteiligte", OTHER_ID
    )


async def settings(firm: Firm, **switches: Any) -> None:
    async with firm.control.post(
        f"{firm.espocrm.url}/__sandbox__/settings", json=switches
    ) as answer:
        assert answer.status == 200, await answer.text()


async def erase(firm: Firm, *fields: str) -> None:
    body = {
        "action": "erase",
        "entity": "CBeteiligte",
        "id": ID,
        "fields": list(fields),
    }
    async with firm.control.post(
        f"{firm.espocrm.url}/__sandbox__/actions", json=body
    ) as answer:
        assert answer.status == 200, await answer.text()


async def shown_clean(firm: Firm) -> None:
    """The record shows that it was synced and that no one has edited it since."""
    now = firm.resources.clock().strftime("%Y-%m-%d %H:%M:%S")
    await EspoCRMAPI(resources=firm.resources).update_entity(
        "CBeteiligte", ID, {"syncStatus": "clean", "advowareLastSync": now}
    )


# -- rows that records share ----------------------------------------------------------------------------------------


async def test_a_value_that_comes_to_a_second_record_keeps_consent_validity_type_and_spelling(
    firm: Firm,
) -> None:
    phone = {
        "phoneNumber": "+495117777",
        "type": "Fax",
        "primary": True,
        "optOut": True,
        "invalid": True,
    }
    mail = {
        "emailAddress": "Info@Example.de",
        "primary": True,
        "optOut": True,
        "invalid": False,
    }
    await other_record(firm, phoneNumberData=[phone], emailAddressData=[mail])
    await firm.advo_edit(
        {"tlf": "0511 7777", "kommKz": 1}, {"tlf": "info@example.de", "kommKz": 4}
    )

    await firm.sync()

    before = {**mail, "lower": "info@example.de"}
    for record in (await other(firm), await firm.espo()):
        assert (record["phoneNumberData"], record["emailAddressData"]) == (
            [phone],
            [before],
        )
    assert firm.values() == ["0511 7777", "info@example.de"]
    await firm.assert_settled()


async def test_a_value_changed_in_advoware_to_one_of_another_record_keeps_that_ones_flags(
    linked: Firm,
) -> None:
    phone = {
        "phoneNumber": "+495117777",
        "type": "Mobile",
        "primary": True,
        "optOut": True,
        "invalid": True,
    }
    await other_record(linked, phoneNumberData=[phone])
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511 7777"})

    await linked.sync()

    assert (await other(linked))["phoneNumberData"] == [phone]
    assert (await linked.espo())["phoneNumberData"][0] == phone
    await linked.assert_settled()


async def test_a_type_that_another_record_has_changed_is_no_edit_of_this_one(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 7777", "kommKz": 2})
    await firm.sync()
    await shown_clean(firm)
    await other_record(
        firm,
        phoneNumberData=[
            {"phoneNumber": "+495117777", "type": "Office", "primary": True}
        ],
    )
    assert (await firm.espo())["phoneNumberData"][0]["type"] == "Office"

    result = await firm.sync()

    assert (firm.values(), result.problems, result.standing) == (["0511 7777"], (), ())
    await firm.assert_settled()


async def test_a_type_that_a_person_changes_here_is_reported_and_stands_until_it_is_settled(
    linked: Firm,
) -> None:
    await shown_clean(linked)
    (first, second) = (await linked.espo())["phoneNumberData"]
    await linked.espo_edit(phoneNumberData=[{**first, "type": "Fax"}, second])

    result = await linked.sync()

    assert reasons(result) == [("kom_type", "+495111111")]
    assert result.problems[0].details.further["Art in EspoCRM"] == "Fax"
    assert linked.values() == ["+495111111", "+495112222"]
    await linked.assert_settled(standing=result.standing)
    await linked.espo_edit(phoneNumberData=[first, second])
    assert (await linked.sync()).standing == ()


#: Types of a firm's own, which Advoware knows as "Sonstige" only.
OWN_TYPES = ("Kanzlei", "Durchwahl")


@pytest.mark.parametrize("how", ["post", "put"])
@pytest.mark.parametrize(
    ("sent", "chosen"),
    [
        ("Office", "Home"),
        ("Fax", "Office"),
        ("Office", None),
        ("Home", None),
        ("Kanzlei", "Office"),
        ("Office", "Kanzlei"),
        ("Kanzlei", "Durchwahl"),
        ("Kanzlei", None),
    ],
)
async def test_a_type_chosen_before_an_unanswered_request_is_known_is_reported(
    firm: Firm,
    how: str,
    sent: str,
    chosen: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    types = (*validation.PHONE_TYPES, *OWN_TYPES)
    monkeypatch.setattr(validation, "PHONE_TYPES", types)
    row = {"phoneNumber": "+495113333", "type": sent, "primary": True}
    if how == "put":
        await firm.espo_edit(phoneNumberData=[row])
        await firm.sync()
    row = {**row, "phoneNumber": "+495111111"}
    await firm.espo_edit(phoneNumberData=[row])
    request = {"method": how.upper(), "path": KOMMUNIKATIONEN}
    fault(firm.advoware, when="after", reset=True, count=None, **request)
    assert (await firm.sync()).errors
    firm.advoware.faults.clear()
    if chosen is not None:
        row = {**row, "type": chosen}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")

    result = await firm.sync()

    assert firm.values() == ["+495111111"]
    is_other = chosen is not None and not {sent, chosen} <= set(OWN_TYPES)
    expected = [("kom_type", "+495111111")] if is_other else []
    assert reasons(result) == expected
    await firm.assert_settled(standing=result.standing)


@pytest.mark.parametrize("direction", ["both", "to_advoware"])
async def test_a_type_chosen_while_the_number_changes_in_advoware_is_reported(
    firm: Firm, direction: str
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 2222"})
    row = {"phoneNumber": "+495111111", "type": "Home", "primary": True}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")

    result = await firm.sync(direction=direction)

    number = "+495112222" if direction == "both" else "+495111111"
    (shown,) = (await firm.espo())["phoneNumberData"]
    assert (shown["phoneNumber"], shown["type"]) == (number, "Home")
    assert [entry["kommKz"] for entry in firm.entries()] == [1]
    assert ("kom_type", number) in reasons(result)
    await firm.assert_settled(standing=result.standing)


@pytest.mark.parametrize("how", ["new", "changed"])
@pytest.mark.parametrize("chosen", ["Home", None])
@pytest.mark.parametrize("is_shared", [True, False])
async def test_a_type_chosen_before_an_unanswered_write_to_espocrm_is_known_is_reported(
    firm: Firm, how: str, chosen: str | None, is_shared: bool
) -> None:
    entry: Row = {"tlf": "0511 1111", "kommKz": 1}
    if how == "changed":
        await firm.advo_edit({**entry, "tlf": "0511 3333"})
        await firm.sync()
        entry = {**entry, "id": firm.entries()[0]["id"]}
    if is_shared:
        shared = {"phoneNumber": "+495111111", "type": "Mobile", "primary": True}
        await other_record(firm, phoneNumberData=[shared])
    await firm.advo_edit(entry)
    request = {"method": "PUT", "path": "CBeteiligte"}
    fault(firm.espocrm, when="after", reset=True, count=None, **request)
    with pytest.raises(Unavailable):
        await firm.sync()
    firm.espocrm.faults.clear()
    (row,) = (await firm.espo())["phoneNumberData"]
    assert row["phoneNumber"] == "+495111111"
    row = {**row, "type": chosen or row["type"]}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")

    result = await firm.sync()

    assert reasons(result) == ([("kom_type", "+495111111")] if chosen else [])
    assert firm.values() == ["0511 1111"]
    await firm.assert_settled(standing=result.standing)


async def test_a_type_chosen_while_the_number_cannot_be_read_in_advoware_is_reported(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "siehe Notiz"})
    row = {"phoneNumber": "+495111111", "type": "Home", "primary": True}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")
    words = ("kom_phone_words", "siehe Notiz")
    chosen = ("kom_type", "+495111111")
    result = await firm.sync()
    assert sorted(reasons(result)) == [words, chosen]
    await firm.espo_edit(syncStatus="conflict")
    await firm.assert_settled(standing=result.standing)
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 1111"})

    result = await firm.sync()

    assert reasons(result) == [chosen]
    await firm.assert_settled(standing=result.standing)


async def test_a_chosen_type_stands_when_the_request_that_restores_its_number_is_not_answered(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    row = {"phoneNumber": "+495111111", "type": "Home", "primary": True}
    await firm.espo_edit(phoneNumberData=[row], syncStatus="dirty")
    reported = await firm.sync()
    assert reasons(reported) == [("kom_type", "+495111111")]
    await firm.advo_edit({"id": firm.entries()[0]["id"], "tlf": "0511 2222"})
    request = {"method": "PUT", "path": KOMMUNIKATIONEN}
    fault(firm.advoware, when="after", reset=True, count=None, **request)
    assert (await firm.sync(direction="to_advoware")).errors
    firm.advoware.faults.clear()

    result = await firm.sync()

    assert firm.values() == ["+495111111"]
    assert result.standing == reported.standing
    await firm.assert_settled(standing=reported.standing)


async def test_the_type_that_another_record_gives_a_changed_number_is_no_edit_of_this_one(
    linked: Firm,
) -> None:
    phone = {"phoneNumber": "+495117777", "type": "Mobile", "primary": True}
    await other_record(linked, phoneNumberData=[phone])
    await linked.advo_edit({"id": linked.entries()[0]["id"], "tlf": "0511 7777"})
    await linked.espo_edit(syncStatus="dirty")

    result = await linked.sync()

    assert (await linked.espo())["phoneNumberData"][0]["type"] == "Mobile"
    assert (result.problems, result.standing) == ((), ())


# -- EspoCRM refuses an array ---------------------------------------------------------------------------------------


def espocrm_refuses(
    firm: Firm, attribute: str, value: str, naming: str = "nothing"
) -> None:
    refusal = {"field": attribute, "how": "refuse", "to": naming, "match": value}
    fault(firm.espocrm, method="PUT", path=ID, count=None, stored=[refusal])


@pytest.mark.parametrize("naming", ["nothing", "field"])
async def test_one_value_that_espocrm_refuses_is_left_out_and_the_rest_is_written(
    linked: Firm, naming: str
) -> None:
    await linked.advo_edit(
        {"tlf": "0511 6666", "kommKz": 1},
        {"tlf": "0511 7777", "kommKz": 1},
        {"id": linked.entries()[0]["id"], "tlf": "0511 8888"},
        {"id": linked.entries()[1]["id"], "delete": True},
        {"tlf": "a@b.de", "kommKz": 4},
    )
    espocrm_refuses(linked, "phoneNumberData[].phoneNumber", "7777", naming)

    result = await linked.sync()

    assert (await linked.phones(), await linked.mails()) == (
        ["+495118888", "+495116666"],
        ["a@b.de"],
    )
    assert reasons(result) == [("kom_refused_by_espocrm", "0511 7777")]
    assert (result.errors, result.standing) == ((), ())
    assert linked.values() == ["0511 8888", "0511 6666", "0511 7777", "a@b.de"]
    await linked.assert_settled()

    linked.espocrm.faults.clear()
    await linked.espo_phones(
        "+495118888"
    )  # the array has changed: the value gets another chance
    await linked.sync()
    assert await linked.phones() == ["+495118888", "+495117777"]
    await linked.assert_settled()


async def test_a_changed_value_that_espocrm_refuses_leaves_the_old_one_there_and_stands(
    linked: Firm,
) -> None:
    await linked.advo_edit(
        {"id": linked.entries()[0]["id"], "tlf": "0511 7777"},
        {"tlf": "0511 6666", "kommKz": 1},
    )
    espocrm_refuses(linked, "phoneNumberData[].phoneNumber", "7777")

    result = await linked.sync()

    assert await linked.phones() == ["+495111111", "+495112222", "+495116666"]
    assert linked.values() == ["0511 7777", "+495112222", "0511 6666"]
    assert reasons(result) == [("kom_refused_by_espocrm", "0511 7777")]
    assert len(result.standing) == 1
    await linked.assert_settled(standing=result.standing)


async def test_narrowing_works_where_espocrm_checks_versions(linked: Firm) -> None:
    await settings(linked, optimistic_concurrency=["CBeteiligte"])
    await linked.advo_edit(
        *({"tlf": f"0511 {number}", "kommKz": 1} for number in (6666, 7777, 8888)),
        *(
            {"tlf": f"{name}@example.de", "kommKz": 4}
            for name in ("gut", "schlecht", "besser")
        ),
    )
    espocrm_refuses(linked, "phoneNumberData[].phoneNumber", "7777")
    espocrm_refuses(linked, "emailAddressData[].emailAddress", "schlecht")

    result = await linked.sync()

    assert await linked.phones() == [
        "+495111111",
        "+495112222",
        "+495116666",
        "+495118888",
    ]
    assert await linked.mails() == ["gut@example.de", "besser@example.de"]
    assert [value for _, value in reasons(result)] == [
        "0511 7777",
        "schlecht@example.de",
    ]
    await linked.assert_settled()


async def test_an_array_that_is_refused_again_after_it_was_accepted_is_left_alone(
    linked: Firm,
) -> None:
    await linked.advo_edit({"tlf": "0511 7777", "kommKz": 1})
    manager = KommunikationSyncManager(resources=linked.resources)
    advo = await AdvowareService(resources=linked.resources).get_beteiligter(
        linked.betnr
    )
    store = SyncStore(await linked.resources.database())
    asked: list[list[str]] = []

    async def put(result: KommunikationResult) -> Row:
        asked.append(sorted(result.espocrm))
        if "phoneNumberData" in result.espocrm:
            raise ValidationFailed(
                "EspoCRM",
                "Field validation failure; entityType: CBeteiligte, field: phoneNumber",
            )
        return {}

    _, result = await manager.write_espocrm(
        await manager.sync_part(await linked.espo(), advo, store), put
    )

    arrays = ["kommunikationHash", "phoneNumberData"]
    assert asked == [arrays, arrays, ["kommunikationHash"]]
    assert [reason for reason, _ in reasons(result)] == ["kom_array_blocked"]


async def test_a_refusal_that_is_about_something_else_is_raised(linked: Firm) -> None:
    await linked.advo_edit({"tlf": "0511 7777", "kommKz": 1})
    body = {
        "messageTranslation": {
            "label": "validationFailure",
            "data": {"field": "lastName", "type": "required"},
        }
    }
    fault(linked.espocrm, method="PUT", path=ID, status=400, body=body)

    with pytest.raises(ValidationFailed):
        await linked.sync()

    await linked.sync()
    assert await linked.phones() == ["+495111111", "+495112222", "+495117777"]


async def test_old_national_numbers_in_espocrm_are_sent_in_e164_and_keep_their_flags(
    firm: Firm,
) -> None:
    await settings(firm, phone_number_international=False)
    old = {
        "phoneNumber": "0511 1111",
        "type": "Fax",
        "primary": True,
        "optOut": True,
        "invalid": False,
    }
    await firm.espo_edit(phoneNumberData=[old])
    await firm.sync()
    await settings(firm, phone_number_international=True)
    await firm.advo_edit({"tlf": "0511 2222", "kommKz": 1})

    result = await firm.sync()

    assert (await firm.espo())["phoneNumberData"] == [
        {**old, "phoneNumber": "+495111111"},
        {
            "phoneNumber": "+495112222",
            "type": "Office",
            "primary": False,
            "optOut": False,
            "invalid": False,
        },
    ]
    assert (firm.values(), result.problems, result.errors) == (
        ["0511 1111", "0511 2222"],
        (),
        (),
    )
    await firm.assert_settled()


@pytest.mark.parametrize("primary", [True, False])
async def test_an_old_entry_in_espocrm_that_has_no_reading_is_left_and_reported_with_what_it_keeps_out(
    firm: Firm, primary: bool
) -> None:
    await settings(firm, phone_number_international=False)
    rows = [
        {"phoneNumber": "0511 1111 - 12", "type": "Office", "primary": primary},
        {"phoneNumber": "+495113333", "type": "Office", "primary": not primary},
    ]
    await firm.espo_edit(phoneNumberData=rows)
    await firm.sync()
    await settings(firm, phone_number_international=True)
    numbers = await firm.phones()
    await firm.advo_edit(
        {"tlf": "0511 2222", "kommKz": 1}, {"tlf": "a@b.de", "kommKz": 4}
    )

    result = await firm.sync()

    assert (await firm.phones(), await firm.mails()) == (numbers, ["a@b.de"])
    assert reasons(result) == [("kom_array_blocked", "0511 2222")]
    assert result.problems[0].details.further["Eintrag in EspoCRM"] == "0511 1111 - 12"
    assert result.errors == ()
    await firm.assert_settled()

    await firm.espo_edit(
        phoneNumber="+495111111",
        phoneNumberData=[{"phoneNumber": "+495111111", "primary": True}],
    )
    await firm.sync()
    assert "+495112222" in await firm.phones()


# -- Advoware stores something else ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["new", "changed"])
async def test_a_value_that_advoware_alters_is_reported_once_and_neither_sent_again_nor_copied_back(
    linked: Firm, case: str
) -> None:
    kept = ["+495111111"] if case == "new" else []
    await linked.espo_phones(*kept, "+495112222", "+4951188887777")
    linked.stores(field="tlf", how="cut", to=10, match="8888")

    result = await linked.sync()

    assert sorted(filter(None, linked.values())) == sorted(
        [*kept, "+495112222", "+495118888"]
    )
    assert sorted(await linked.phones()) == sorted(
        [*kept, "+495112222", "+4951188887777"]
    )
    assert reasons(result) == [("kom_altered", "+4951188887777")]
    assert result.problems[0].details.further["In Advoware"] == "+495118888"
    assert len(result.standing) == 1
    await linked.assert_settled(standing=result.standing)

    entry = next(row for row in linked.entries() if row["tlf"] == "+495118888")
    await linked.advo_edit(
        {"id": entry["id"], "tlf": "0511 9999"}
    )  # a later change is an edit again
    linked.advoware.faults.clear()
    await linked.sync()
    assert sorted(await linked.phones()) == sorted([*kept, "+495112222", "+495119999"])
    await linked.assert_settled()


@pytest.mark.parametrize("typed", ["0511 9999", "0511 1111", "", "abc"])
@pytest.mark.parametrize("case", ["new", "changed"])
async def test_an_edit_in_advoware_right_after_our_request_is_an_edit(
    linked: Firm, case: str, typed: str
) -> None:
    kept = ["+495111111"] if case == "new" else []
    await linked.espo_phones(*kept, "+495112222", "+4951188887777")

    def edit_before_we_look(entry: dict[str, Any]) -> None:
        rows = [row for row in linked.entries() if row["tlf"] == "+4951188887777"]
        if entry["method"] == "GET" and rows:
            changes = {"kommunikation": [{"id": rows[0]["id"], "tlf": typed}]}
            linked.advoware.beteiligte.edit(linked.betnr, changes, "SB")

    linked.advoware.journal = WatchedJournal(edit_before_we_look)

    result = await linked.sync()

    assert reasons(result) == []
    assert typed in linked.values()
    again = await linked.sync()
    others = {*kept, "+495112222"}
    if typed == "abc":
        assert typed in [problem.details.value for problem in again.problems]
        return
    brought = {"0511 9999": {"+495119999"}, "0511 1111": {"+495111111"}, "": set()}
    assert set(await linked.phones()) == others | brought[typed]
    assert "+4951188887777" not in linked.values()


async def test_an_answer_that_shows_the_version_before_proves_no_edit(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495112222", "+4951188887777")
    linked.stores(field="tlf", how="cut", to=10, match="8888")
    for row in linked.entries():
        of_row = {"id": row["id"]}
        old = [
            {"field": "rowId", "how": "value", "to": row["rowId"], "where": of_row},
            {"field": "tlf", "how": "value", "to": row["tlf"], "where": of_row},
        ]
        fault(linked.advoware, method="PUT", path=KOMMUNIKATIONEN, answer=old)

    result = await linked.sync()

    assert reasons(result) == [("kom_altered", "+4951188887777")]
    await linked.assert_settled(standing=result.standing)


@pytest.mark.parametrize("how", ["upper", "blanks", "trim"])
async def test_another_spelling_of_the_same_value_is_agreed(
    firm: Firm, how: str
) -> None:
    await firm.espo_edit(
        emailAddressData=[{"emailAddress": "Info@Example.de", "primary": True}]
    )
    firm.stores(field="tlf", how=how)

    result = await firm.sync()

    assert (await firm.mails(), result.problems, result.standing) == (
        ["Info@Example.de"],
        (),
        (),
    )
    await firm.assert_settled()


async def test_an_emptied_entry_that_advoware_does_not_empty_is_reported_and_does_not_come_back(
    linked: Firm,
) -> None:
    await linked.espo_phones("+495112222")
    linked.stores(field="tlf", how="ignore", match="^$")

    result = await linked.sync()

    assert (await linked.phones(), linked.values()) == (
        ["+495112222"],
        ["+495111111", "+495112222"],
    )
    assert reasons(result) == [("kom_not_taken", "+495111111")]
    await linked.assert_settled(standing=result.standing)


async def test_a_value_altered_by_advoware_whose_answer_is_lost_is_not_created_twice(
    firm: Firm,
) -> None:
    await firm.espo_phones("+4951188887777")
    firm.stores(field="tlf", how="cut", to=10)
    fault(firm.advoware, method="POST", path=KOMMUNIKATIONEN, when="after", reset=True)
    await firm.sync()

    result = await firm.sync()

    assert (firm.values(), await firm.phones()) == (["+495118888"], ["+4951188887777"])
    assert reasons(result) == [("kom_altered", "+4951188887777")]
    await firm.assert_settled(standing=result.standing)


async def test_a_value_that_advoware_alters_when_its_note_is_written_arrives_whole_in_espocrm(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 12345678", "kommKz": 1})
    firm.stores(field="tlf", how="cut", to=9)

    result = await firm.sync()

    assert (firm.values(), await firm.phones()) == (["0511 1234"], ["+4951112345678"])
    assert reasons(result) == [("kom_altered", "+4951112345678")]
    assert ("0511 12345678", "0511 1234") in [
        (line["old"], line["new"]) for line in result.changes
    ]
    await firm.assert_settled(standing=result.standing)


# -- notes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [5, 12, 30, 45])
async def test_a_note_that_is_too_short_for_our_marker_keeps_what_the_person_wrote(
    firm: Firm, limit: int
) -> None:
    text = "nur vormittags, Frau Özdemir verlangen"[:limit]
    await firm.advo_edit(
        {"tlf": "0511 1111", "kommKz": 1, "bemerkung": text},
        {"tlf": "0511 2222", "kommKz": 1},
    )
    await firm.espo_phones("+495113333")
    firm.stores(field="bemerkung", how="cut", to=limit)

    await firm.sync()

    assert firm.entries()[0]["bemerkung"] == text
    assert sorted(await firm.phones()) == ["+495111111", "+495112222", "+495113333"]
    assert firm.values() == ["0511 1111", "0511 2222", "+495113333"]
    await firm.assert_settled()

    await firm.espo_phones("+495111119", "+495112222", "+495113333")
    await firm.sync()
    assert sorted(firm.values()) == ["+495111119", "+495113333", "0511 2222"]
    assert firm.entries()[0]["bemerkung"] == text
    await firm.assert_settled()


async def test_a_note_that_advoware_refuses_with_our_marker_does_not_keep_the_value_out(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await firm.advo_edit({"tlf": "0511 2222", "kommKz": 1, "bemerkung": "x" * 990})

    result = await firm.sync()

    assert firm.entries()[0]["bemerkung"] == "x" * 990
    assert (result.errors, result.problems) == ((), ())
    await firm.espo_phones("+495111111", "+495112229")
    await firm.sync()
    assert firm.values() == ["+495112229", "+495111111"]
    assert firm.entries()[0]["bemerkung"] == "x" * 990
    await firm.assert_settled()


async def test_a_note_that_cannot_be_read_is_not_written(linked: Firm) -> None:
    first = linked.entries()[0]
    fault(
        linked.advoware,
        method="GET",
        count=None,
        answer=[{"field": "kommunikation[].bemerkung", "how": "missing"}],
    )
    await linked.espo_phones("+495119999", "+495112222")

    await linked.sync()

    assert linked.entries()[0]["tlf"] == "+495119999"
    assert linked.entries()[0]["bemerkung"] == first["bemerkung"]


# -- what cannot be read --------------------------------------------------------------------------------------------

ODD = [
    {"field": "kommunikation[].tlf", "how": "missing"},
    {"field": "kommunikation[].tlf", "how": "null"},
    {"field": "kommunikation[].tlf", "how": "number"},
    {"field": "kommunikation[].tlf", "how": "key_case", "to": "capital"},
    {"field": "kommunikation[].id", "how": "missing"},
    {"field": "kommunikation[].id", "how": "null"},
    {"field": "kommunikation[].id", "how": "value", "to": "x"},
    {"field": "kommunikation[]", "how": "null"},
    {"field": "kommunikation[].kommKz", "how": "empty_list"},
    {"field": "kommunikation[].bemerkung", "how": "empty_list"},
    {"field": "kommunikation[].rowId", "how": "null"},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{odd['field']} {odd['how']}")
@pytest.mark.parametrize("direction", ["both", "to_advoware"])
async def test_what_cannot_be_read_in_advowares_rows_is_no_deletion_and_stops_no_other(
    linked: Firm, odd: Row, direction: Any
) -> None:
    where = (
        {}
        if odd["field"] == "kommunikation[]"
        else {"where": {"id": linked.entries()[0]["id"]}}
    )
    matching = {"match": "95111111"} if odd["field"] == "kommunikation[]" else {}
    fault(
        linked.advoware, method="GET", count=None, answer=[{**odd, **where, **matching}]
    )
    await linked.espo_edit(
        emailAddressData=[{"emailAddress": "a@b.de", "primary": True}]
    )

    await linked.sync(direction=direction)
    await linked.sync(direction=direction)

    assert await linked.phones() == ["+495111111", "+495112222"]
    assert linked.values() == ["+495111111", "+495112222", "a@b.de"]
    linked.advoware.faults.clear()
    await linked.sync()
    assert linked.values() == ["+495111111", "+495112222", "a@b.de"]
    await linked.assert_settled()


async def test_an_edit_of_an_entry_that_cannot_be_read_is_reported_and_arrives_later(
    linked: Firm,
) -> None:
    where = {"where": {"id": linked.entries()[0]["id"]}}
    fault(
        linked.advoware,
        method="GET",
        count=None,
        answer=[{"field": "kommunikation[].tlf", "how": "null", **where}],
    )
    await linked.espo_phones("+495112222")

    result = await linked.sync()

    assert reasons(result) == [("kom_unreadable", "+495111111")]
    assert (linked.values(), len(result.standing)) == (["+495111111", "+495112222"], 1)
    linked.advoware.faults.clear()
    await linked.sync()
    assert linked.values() == ["", "+495112222"]


@pytest.mark.parametrize("how", ["missing", "null", "number"])
async def test_a_row_of_espocrm_that_cannot_be_read_is_no_deletion_and_its_array_is_not_written(
    linked: Firm, how: str
) -> None:
    hidden = {"field": "phoneNumberData[].phoneNumber", "how": how, "match": "1111"}
    fault(linked.espocrm, method="GET", path=ID, count=None, answer=[hidden])
    await linked.advo_edit(
        {"tlf": "0511 7777", "kommKz": 1}, {"tlf": "a@b.de", "kommKz": 4}
    )

    result = await linked.sync()

    assert linked.values() == ["+495111111", "+495112222", "0511 7777", "a@b.de"]
    assert reasons(result) == [("kom_espocrm_unreadable", "0511 7777")]
    assert await linked.mails() == ["a@b.de"]
    linked.espocrm.faults.clear()
    await linked.sync()
    assert await linked.phones() == ["+495111111", "+495112222", "+495117777"]
    await linked.assert_settled()


async def test_a_kind_that_no_one_knows_is_never_touched(linked: Firm) -> None:
    fault(
        linked.advoware,
        method="GET",
        count=None,
        answer=[
            {
                "field": "kommunikation[].kommKz",
                "how": "value",
                "to": 13,
                "where": {"tlf": "0511 7777"},
            }
        ],
    )
    await linked.advo_edit({"tlf": "0511 7777", "kommKz": 1})

    await linked.sync()

    assert await linked.phones() == ["+495111111", "+495112222"]
    assert linked.entries()[2]["bemerkung"] is None


# -- EspoCRM stores something else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["new", "changed"])
async def test_a_value_that_espocrm_alters_is_reported_and_neither_sent_again_nor_copied_back(
    linked: Firm, case: str
) -> None:
    entry = (
        {"id": linked.entries()[0]["id"], "tlf": "0511 7777"}
        if case == "changed"
        else {"tlf": "0511 7777"}
    )
    await linked.advo_edit({**entry, "kommKz": 1})
    cut = {
        "field": "phoneNumberData[].phoneNumber",
        "how": "cut",
        "to": 9,
        "match": "7777",
        "echo": True,
    }
    fault(linked.espocrm, method="PUT", path=ID, count=None, stored=[cut])

    result = await linked.sync()

    kept = [] if case == "changed" else ["+495111111"]
    assert sorted(await linked.phones()) == sorted([*kept, "+495112222", "+49511777"])
    assert "0511 7777" in linked.values()
    assert ("kom_altered_by_espocrm", "0511 7777") in reasons(result)
    await linked.assert_settled(standing=result.standing)


SAME_BEGINNING = "+49511777"


def cut_numbers(firm: Firm) -> None:
    """EspoCRM keeps the beginning of the numbers that begin alike."""
    cut = {
        "field": "phoneNumberData[].phoneNumber",
        "how": "cut",
        "to": 9,
        "match": SAME_BEGINNING[1:],
        "echo": True,
    }
    fault(firm.espocrm, method="PUT", path=ID, count=None, stored=[cut])


async def test_a_value_that_espocrm_alters_when_another_comes_is_not_taken_for_deleted(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495117771")
    await firm.sync()
    cut_numbers(firm)
    await firm.advo_edit({"tlf": "0511 7772", "kommKz": 1})

    result = await firm.sync()

    assert await firm.phones() == [SAME_BEGINNING]  # EspoCRM stores equal values once
    assert firm.values() == ["+495117771", "0511 7772"]
    assert sorted(reasons(result)) == [
        ("kom_altered_by_espocrm", "+495117771"),
        ("kom_altered_by_espocrm", "0511 7772"),
    ]
    await firm.assert_settled(standing=result.standing)
    assert firm.values() == ["+495117771", "0511 7772"]


async def test_a_value_that_espocrm_alters_when_another_goes_is_not_taken_for_edited(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495117771", "+495112222")
    await firm.sync()
    cut_numbers(firm)
    await firm.advo_edit({"id": firm.entries()[1]["id"], "tlf": ""})

    result = await firm.sync()

    assert await firm.phones() == [SAME_BEGINNING]
    assert firm.values()[0] == "+495117771"
    assert reasons(result) == [("kom_altered_by_espocrm", "+495117771")]
    await firm.assert_settled(standing=result.standing)


async def test_a_value_that_espocrm_alone_holds_and_alters_is_named_once(
    firm: Firm,
) -> None:
    refusal = {"method": "POST", "path": KOMMUNIKATIONEN, "status": 400, "count": None}
    fault(firm.advoware, **refusal)
    await firm.espo_phones("+495117771")
    await firm.sync()
    firm.advoware.faults.clear()
    cut_numbers(firm)
    await firm.advo_edit({"tlf": "0511 2222", "kommKz": 1})

    result = await firm.sync()

    assert ("kom_altered_by_espocrm", "+495117771") in reasons(result)
    second = await firm.sync()
    assert "kom_altered_by_espocrm" not in dict(reasons(second))


# -- erased personal data -------------------------------------------------------------------------------------------


async def test_erased_values_never_leave_and_empty_nothing_in_advoware(
    linked: Firm,
) -> None:
    await linked.espo_edit(
        emailAddressData=[{"emailAddress": "a@b.de", "primary": True}]
    )
    await linked.sync()
    await erase(linked, "phoneNumber", "emailAddress")
    numbers, mails = await linked.phones(), await linked.mails()
    assert all(value.startswith("ERASED:") for value in [*numbers, *mails])

    result = await linked.sync()

    assert linked.values() == ["+495111111", "+495112222", "a@b.de"]
    assert reasons(result) == [("kom_erased", None)], (
        "reported once, without the values"
    )
    assert (result.errors, result.changes) == ((), ())
    assert (await linked.phones(), await linked.mails()) == (numbers, mails)
    await linked.assert_settled(standing=result.standing)
    assert len(result.standing) == 1

    await linked.espo_edit(  # the person has decided, and takes the rests away
        phoneNumber=None, phoneNumberData=[], emailAddress=None, emailAddressData=[]
    )
    settled = await linked.sync()
    assert (settled.problems, settled.standing) == ((), ())
    assert linked.values() == ["+495111111", "+495112222", "a@b.de"]
    assert (await linked.phones(), await linked.mails()) == ([], [])
    await linked.assert_settled()


@pytest.mark.parametrize(
    "options", [{"direction": "to_advoware"}, {"force_espo_wins": True}]
)
async def test_erased_values_never_leave_towards_advoware_either(
    linked: Firm, options: Row
) -> None:
    await erase(linked, "phoneNumber")
    await linked.advo_edit({"tlf": "0511 7777", "kommKz": 1})

    await linked.sync(**options)

    assert linked.values() == ["+495111111", "+495112222", "0511 7777"]


async def test_a_record_that_is_erased_before_its_first_sync_sends_nothing(
    firm: Firm,
) -> None:
    await firm.espo_phones("+495111111")
    await erase(firm, "phoneNumber")
    await firm.advo_edit({"tlf": "0511 2222", "kommKz": 1})

    result = await firm.sync()

    assert firm.values() == ["0511 2222"]
    assert reasons(result) == [("kom_erased", None)]
    await firm.assert_settled(standing=result.standing)


async def test_the_rest_of_an_erasure_in_advoware_does_not_leave_it(firm: Firm) -> None:
    await firm.advo_edit(
        {"tlf": "ERASED:6b0473f6031b46ee6", "kommKz": 1},
        {"tlf": "ERASED:6b0473f6", "kommKz": 4},
    )

    result = await firm.sync()

    assert (await firm.phones(), await firm.mails()) == ([], [])
    assert [reason for reason, _ in reasons(result)] == ["kom_erased_value"] * 2


# -- what is reported -----------------------------------------------------------------------------------------------


async def test_a_task_says_reason_value_name_and_invisible_characters(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 1234 \u200bprivat", "kommKz": 1})

    (problem,) = (await firm.sync()).problems

    assert problem.details.name == (await firm.espo())["name"]
    assert problem.details.betnr == firm.betnr
    assert problem.details.reason == "kom_phone_words"
    assert "unsichtbare Zeichen" in problem.details.further["Hinweis"]


async def test_an_encoded_domain_is_paired_with_its_other_form(firm: Firm) -> None:
    await firm.advo_edit({"tlf": "info@kanzlei-müller.de", "kommKz": 4})

    await firm.sync()

    assert await firm.mails() == ["info@xn--kanzlei-mller-4ob.de"]
    assert firm.values() == ["info@kanzlei-müller.de"]
    await firm.assert_settled()


# -- what was stored by the first version ---------------------------------------------------------------------------


async def test_a_base_of_the_first_version_invents_no_change(linked: Firm) -> None:
    await linked.advo_edit(
        {"tlf": "511 123459", "kommKz": 1}, {"tlf": "0511 7777", "kommKz": 2}
    )
    await linked.sync()
    await linked.espo_phones("+495111111", "+495112222", "+495117777", "+49511123459")
    first, second, old, fax = linked.entries()
    links = {
        str(first["id"]): ["phone", "+495111111", "phone", "+495111111"],
        str(second["id"]): ["phone", "+495112222", "phone", "+495112222"],
        str(old["id"]): ["phone", "+49511123459", "phone", "+49511123459"],
        str(fax["id"]): ["phone", "+495117777", "fax", "+495117777"],
    }
    store = SyncStore(await linked.resources.database())
    stored = await store.load(ENTITY_TYPE, ID)
    assert stored is not None
    assert stored.base["version"] == VERSION
    base = {"betNr": linked.betnr, "links": links, "complete": True, "lost": []}
    await store.save(
        type(stored)(ENTITY_TYPE, ID, base=base, synced_at=stored.synced_at)
    )
    before = linked.values(), await linked.phones()

    result = await linked.sync()

    assert (result.problems, result.changes, result.errors) == ((), (), ())
    assert (linked.values(), await linked.phones()) == before
    await linked.assert_settled()


async def test_a_defect_at_one_value_stops_no_other(firm: Firm) -> None:
    await firm.espo_phones("+495111111", "+495112222")
    fault(
        firm.advoware, method="POST", path=KOMMUNIKATIONEN, status=200, body={"id": "?"}
    )

    result = await firm.sync()

    assert len(result.errors) == 1
    assert "KOM-32" in result.errors[0]
    assert firm.values() == ["+495112222"]
    await firm.sync()
    assert sorted(firm.values()) == ["+495111111", "+495112222"]
    await firm.assert_settled()


async def ends(firm: Firm) -> None:
    """A sync comes to an end, however EspoCRM answers."""
    running = asyncio.create_task(firm.sync())
    try:
        await until(lambda: running.done() or len(firm.espocrm.journal) > 200)
        assert running.done(), len(firm.espocrm.journal)
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.mark.parametrize(
    ("kind", "value"), [(4, "neu@example.de"), (8, "neu@example.de")]
)
async def test_a_number_that_becomes_a_mail_address_in_advoware_becomes_one_in_espocrm(
    firm: Firm, kind: int, value: str
) -> None:
    await firm.espo_phones("+495111111")
    await firm.sync()
    edit = {"id": firm.entries()[0]["id"], "tlf": value, "kommKz": kind}
    await firm.advo_edit({**edit, "bemerkung": None})

    await ends(firm)

    assert (await firm.phones(), await firm.mails()) == ([], [value])


async def test_an_espocrm_that_refuses_a_list_whatever_is_in_it_is_asked_to_an_end(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 1111", "kommKz": 1})
    refusal = {
        "messageTranslation": {
            "label": "validationFailure",
            "data": {"field": "phoneNumber", "type": "valid"},
        }
    }
    fault(
        firm.espocrm,
        method="PUT|POST",
        path="CBeteiligte|BitByLaw",
        status=400,
        body=refusal,
        count=None,
    )

    await ends(firm)

    assert await firm.phones() == []


async def test_a_list_that_was_left_out_and_is_refused_again_is_given_up(
    firm: Firm,
) -> None:
    await firm.advo_edit({"tlf": "0511 1111", "kommKz": 1})
    manager = KommunikationSyncManager(resources=firm.resources)
    result = await manager.sync_bidirectional(ID, firm.betnr)
    assert result.run is not None
    assert "phoneNumberData" in result.espocrm
    left_out = frozenset({"phone", "mail"})
    result.run.observed = replace(result.run.observed, blocked=left_out)
    data = {"field": "phoneNumber", "type": "valid"}
    details = {"messageTranslation": {"data": data}}
    refused = ValidationFailed("EspoCRM", "invalid", status=400, details=details)

    assert await manager.narrow(result, refused) is None
