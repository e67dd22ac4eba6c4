"""The write action of the extension, against a real EspoCRM."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest
from espocrm_rest import Answer, Espo, Events

PERSON = {"salutationName": "Frau", "firstName": "Anna"}


def unused_number() -> str:
    return f"+49511{random.randrange(10**6, 10**7)}"  # noqa: S311 - no secret


def update(
    entity_type: str, entity_id: str, attributes: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "op": "update",
        "entityType": entity_type,
        "id": entity_id,
        "attributes": attributes,
        **more,
    }


def create(entity_type: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "op": "create",
        "entityType": entity_type,
        "attributes": attributes,
        "skipDuplicateCheck": True,
    }


def real_only(espo: Espo) -> None:
    if espo.is_twin:
        pytest.skip("the twin has no stream and no form for users")


async def new_person(espo: Espo, **attributes: Any) -> dict[str, Any]:
    body = {**PERSON, "lastName": f"Muster {uuid4().hex[:8]}", **attributes}
    added: dict[str, Any] = await espo.person.post("CBeteiligte", body)
    # What a real one shows only after a save by a user, which the sync must not take over.
    return dict(
        await espo.person.put(f"CBeteiligte/{added['id']}", {"description": "von Hand"})
    )


def results(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer
    return list(answer.body["results"])


def phones(record: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {
        row["phoneNumber"]: (row["type"], row["optOut"], row["invalid"], row["primary"])
        for row in record["phoneNumberData"]
    }


async def test_the_action_says_what_it_offers_to_the_sync_alone(espo: Espo) -> None:
    offered = await espo.sync.get("BitByLaw/write")
    assert sorted(offered["entityTypes"]) == [
        "CAdressen",
        "CBankverbindungen",
        "CBeteiligte",
        "Note",
        "Task",
    ]
    assert (await espo.person.request("GET", "BitByLaw/write")).status == 403
    assert (
        await espo.person.write(create("CBeteiligte", {"lastName": "x"}))
    ).status == 403


async def test_what_the_sync_writes_is_no_change_by_a_person(espo: Espo) -> None:
    record = await new_person(espo)
    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"lastName": "Anders"})
        )
    )

    shown = await espo.person.get(f"CBeteiligte/{record['id']}")
    assert shown["lastName"] == "Anders"
    for name in ("modifiedAt", "modifiedById", "modifiedByName", "createdById"):
        assert shown[name] == record[name], name
    assert shown["modifiedById"] not in {None, espo.sync_user_id}
    assert result["changed"] is True
    assert result["attributes"] == await espo.sync.get(f"CBeteiligte/{record['id']}")


async def test_what_the_sync_writes_leaves_no_note_in_the_stream(espo: Espo) -> None:
    real_only(espo)
    record = await new_person(espo)
    before = (await espo.person.get(f"CBeteiligte/{record['id']}/stream"))["total"]
    results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"lastName": "Anders"})
        )
    )
    assert (await espo.person.get(f"CBeteiligte/{record['id']}/stream"))[
        "total"
    ] == before


async def test_what_the_sync_writes_causes_no_event(espo: Espo, events: Events) -> None:
    record = await new_person(espo)
    assert await events.of(record["id"]), "a person's save is delivered"
    numbers = [{"phoneNumber": unused_number(), "type": "Office"}]
    address = create(
        "CAdressen",
        {"bezeichnung": "Büro", "beteiligteId": record["id"], "syncStatus": "clean"},
    )
    written = results(
        await espo.sync.write(
            update(
                "CBeteiligte",
                record["id"],
                {"syncStatus": "clean", "betnr": random.randrange(1, 10**8)},  # noqa: S311 - no secret
            ),
            update(
                "CBeteiligte",
                record["id"],
                {"lastName": "Anders", "phoneNumberData": numbers},
            ),
            address,
            create(
                "CBankverbindungen",
                {"iban": "DE02120300000000202051", "beteiligteId": record["id"]},
            ),
            create("CBeteiligte", {"lastName": "Ganz neu"}),
        )
    )
    assert await events.of(*(result["id"] for result in written)) == []
    # The same by plain requests, to be sure that this would have been found.
    await espo.sync.put(f"CBeteiligte/{record['id']}", {"lastName": "Wieder anders"})
    assert len(await events.of(record["id"])) == 1


async def test_many_records_leave_no_echo(espo: Espo, events: Events) -> None:
    ids: list[str] = []
    for _ in range(5):
        new = [
            create("CBeteiligte", {"lastName": f"Import {uuid4().hex[:8]}"})
            for _ in range(100)
        ]
        ids += [result["id"] for result in results(await espo.sync.write(*new))]
    assert len(set(ids)) == 500
    assert await events.of(*ids) == []


async def test_a_status_does_not_count_as_a_version_and_a_value_does(
    espo: Espo,
) -> None:
    record = await new_person(espo)
    before = record["versionNumber"]
    status = {
        "syncStatus": "clean",
        "advowareLastSync": "2026-11-26 10:00:00",
        "syncErrorMessage": "nichts",
    }

    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], status, statusOnly=True)
        )
    )
    assert (result["changed"], result["attributes"]["versionNumber"]) == (True, before)
    await espo.sync.put(f"CBeteiligte/{record['id']}", {"syncStatus": "failed"})
    shown = await espo.person.get(f"CBeteiligte/{record['id']}")
    assert (shown["syncStatus"], shown["versionNumber"]) == ("failed", before), (
        "also without the action"
    )

    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"lastName": "Anders"})
        )
    )
    assert result["attributes"]["versionNumber"] == before + 1
    numbers = [{"phoneNumber": unused_number(), "type": "Office"}]
    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"phoneNumberData": numbers})
        )
    )
    assert result["attributes"]["versionNumber"] == before + 2
    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"lastName": "Anders"})
        )
    )
    assert (result["changed"], result["attributes"]["versionNumber"]) == (
        False,
        before + 2,
    ), "nothing new"


async def test_status_only_is_refused_for_values(espo: Espo) -> None:
    record = await new_person(espo)
    write = update(
        "CBeteiligte",
        record["id"],
        {"syncStatus": "clean", "lastName": "Anders"},
        statusOnly=True,
    )
    answer = await espo.sync.write(write)
    assert (answer.status, answer.reason) == (400, "statusOnly: not for lastName.")


async def test_a_version_that_is_past_is_a_conflict(espo: Espo) -> None:
    record = await new_person(espo)
    version = record["versionNumber"]
    await espo.person.put(f"CBeteiligte/{record['id']}", {"firstName": "Berta"})

    answer = await espo.sync.write(
        update("CBeteiligte", record["id"], {"firstName": "Clara"}, version=version)
    )
    assert (answer.status, answer.reason) == (409, "modified")
    assert answer.body["index"] == 0
    assert answer.body["values"]["firstName"] == "Berta"
    assert answer.body["versionNumber"] == version + 1
    assert (await espo.person.get(f"CBeteiligte/{record['id']}"))[
        "firstName"
    ] == "Berta"
    results(
        await espo.sync.write(
            update(
                "CBeteiligte", record["id"], {"firstName": "Clara"}, version=version + 1
            )
        )
    )


async def test_an_open_form_meets_a_conflict_with_what_the_sync_has_brought(
    espo: Espo,
) -> None:
    record = await new_person(espo)
    brought = unused_number()
    rows = [{"phoneNumber": brought, "type": "Mobile", "primary": True}]
    results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"phoneNumberData": rows})
        )
    )
    saved = await espo.person.request(
        "PUT",
        f"CBeteiligte/{record['id']}",
        {
            "phoneNumberData": [
                {"phoneNumber": unused_number(), "type": "Office", "primary": True}
            ]
        },
        {"X-Version-Number": str(record["versionNumber"])},
    )
    assert saved.status == 409
    assert list(phones(await espo.person.get(f"CBeteiligte/{record['id']}"))) == [
        brought
    ]


async def test_shared_rows_keep_what_people_have_noted(espo: Espo) -> None:
    number, address = unused_number(), f"A.{uuid4().hex[:8]}@Example.DE"
    noted = await new_person(
        espo,
        phoneNumberData=[
            {
                "phoneNumber": number,
                "type": "Home",
                "optOut": True,
                "invalid": True,
                "primary": True,
            }
        ],
        emailAddressData=[
            {"emailAddress": address, "optOut": True, "invalid": True, "primary": True}
        ],
    )
    other = await new_person(espo)
    second = unused_number()
    brought = {
        "phoneNumberData": [
            {"phoneNumber": second, "type": "Fax", "primary": True},
            {
                "phoneNumber": number,
                "type": "Office",
                "optOut": False,
                "invalid": False,
            },
        ],
        "emailAddressData": [
            {
                "emailAddress": address.lower(),
                "optOut": False,
                "invalid": False,
                "primary": True,
            }
        ],
    }
    [result] = results(
        await espo.sync.write(update("CBeteiligte", other["id"], brought))
    )

    assert phones(result["attributes"]) == {
        second: ("Fax", False, False, True),
        number: ("Home", True, True, False),
    }
    for entity_id in (noted["id"], other["id"]):
        shown = await espo.person.get(f"CBeteiligte/{entity_id}")
        assert phones(shown)[number][:3] == ("Home", True, True)
        [mail] = shown["emailAddressData"]
        assert (mail["emailAddress"], mail["optOut"], mail["invalid"]) == (
            address,
            True,
            True,
        )
    assert result["attributes"]["phoneNumber"] == second


async def test_a_row_of_one_record_alone_takes_a_new_type_and_keeps_its_flags(
    espo: Espo,
) -> None:
    number = unused_number()
    rows = [{"phoneNumber": number, "type": "Home", "optOut": True, "primary": True}]
    record = await new_person(espo, phoneNumberData=rows)
    brought = [{"phoneNumber": number, "type": "Office", "primary": True}]
    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"phoneNumberData": brought})
        )
    )
    assert phones(result["attributes"]) == {number: ("Office", True, False, True)}
    [result] = results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"phoneNumberData": []})
        )
    )
    assert phones(result["attributes"]) == {}


async def test_a_deleted_record_shares_nothing_but_what_was_noted(espo: Espo) -> None:
    number = unused_number()
    rows = [{"phoneNumber": number, "type": "Home", "optOut": True, "primary": True}]
    gone = await new_person(espo, phoneNumberData=rows)
    await espo.person.request("DELETE", f"CBeteiligte/{gone['id']}")
    brought = [{"phoneNumber": number, "type": "Office", "primary": True}]
    [result] = results(
        await espo.sync.write(
            create("CBeteiligte", {"lastName": "Neu", "phoneNumberData": brought})
        )
    )
    assert phones(result["attributes"]) == {number: ("Office", True, False, True)}


async def test_a_repeated_key_gives_the_first_answer_and_writes_nothing(
    espo: Espo,
) -> None:
    key = uuid4().hex
    write = create("CBeteiligte", {"lastName": f"Einmal {key[:8]}"})
    first = await espo.sync.write(write, key=key)
    [result] = results(first)
    await espo.person.put(f"CBeteiligte/{result['id']}", {"firstName": "Von Hand"})

    assert await espo.sync.write(write, key=key) == first
    where = f"where[0][type]=equals&where[0][attribute]=lastName&where[0][value]=Einmal {key[:8]}"
    assert (await espo.person.get(f"CBeteiligte?{where}"))["total"] == 1
    other = await espo.sync.write(
        create("CBeteiligte", {"lastName": "Anders"}), key=key
    )
    assert (other.status, other.reason) == (400, "key: was used for another request.")


async def test_requests_with_one_key_at_the_same_time_write_once(espo: Espo) -> None:
    key = uuid4().hex
    write = create("CBeteiligte", {"lastName": f"Einmal {key[:8]}"})
    answers = await asyncio.gather(*(espo.sync.write(write, key=key) for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.body["results"][0]["id"] for answer in answers}) == 1


async def test_a_refused_request_does_not_use_up_its_key(espo: Espo) -> None:
    key = uuid4().hex
    record = await new_person(espo)
    wrong = update(
        "CBeteiligte",
        record["id"],
        {"phoneNumberData": [{"phoneNumber": "0511 12", "primary": True}]},
    )
    assert (await espo.sync.write(wrong, key=key)).status == 400
    results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"firstName": "Berta"}), key=key
        )
    )


@pytest.mark.parametrize(
    ("attributes", "field", "kind"),
    [
        (
            {"phoneNumberData": [{"phoneNumber": "0511/12345-60", "primary": True}]},
            "phoneNumber",
            "valid",
        ),
        (
            {"emailAddressData": [{"emailAddress": "keine", "primary": True}]},
            "emailAddress",
            "emailAddress",
        ),
        ({"syncStatus": "erledigt"}, "syncStatus", "valid"),
        ({"firmenname": "x" * 256}, "firmenname", "maxLength"),
    ],
)
async def test_an_invalid_value_is_refused_as_always_and_nothing_is_written(
    espo: Espo, attributes: dict[str, Any], field: str, kind: str
) -> None:
    record = await new_person(espo)
    plain = await espo.sync.request("PUT", f"CBeteiligte/{record['id']}", attributes)
    answer = await espo.sync.write(
        update("CBeteiligte", record["id"], {"firstName": "Berta"}),
        create("CAdressen", {"bezeichnung": "Büro", "beteiligteId": record["id"]}),
        update("CBeteiligte", record["id"], attributes),
    )
    assert (answer.status, answer.reason) == (plain.status, plain.reason)
    assert answer.status == 400
    assert answer.body["index"] == 2
    assert answer.body["messageTranslation"]["data"] == {"field": field, "type": kind}
    assert (await espo.person.get(f"CBeteiligte/{record['id']}")) == record
    assert (await espo.person.get(f"CBeteiligte/{record['id']}/adressen"))["total"] == 0


async def test_an_unknown_record_is_not_found(espo: Espo) -> None:
    record = await new_person(espo)
    answer = await espo.sync.write(
        update("CBeteiligte", record["id"], {"firstName": "Berta"}),
        update("CAdressen", "gibtesnicht", {"name": "x"}),
    )
    assert (answer.status, answer.reason, answer.body["index"]) == (
        404,
        "Record gibtesnicht not found.",
        1,
    )
    await espo.person.request("DELETE", f"CBeteiligte/{record['id']}")
    assert (
        await espo.sync.write(update("CBeteiligte", record["id"], {"firstName": "x"}))
    ).status == 404


async def test_a_duplicate_is_a_conflict_unless_the_check_is_skipped(
    espo: Espo,
) -> None:
    record = await new_person(espo)
    same = create("CBeteiligte", {"firstName": "Anna", "lastName": record["lastName"]})
    answer = await espo.sync.write({**same, "skipDuplicateCheck": False})
    assert (answer.status, answer.body["index"]) == (409, 0)
    assert [found["id"] for found in answer.body["duplicates"]] == [record["id"]]
    results(await espo.sync.write(same))


@pytest.mark.parametrize(
    "write",
    [
        "kein Objekt",
        {"op": "delete", "entityType": "CBeteiligte", "id": "x", "attributes": {}},
        {
            "op": "update",
            "entityType": "User",
            "id": "x",
            "attributes": {"type": "admin"},
        },
        {"op": "update", "entityType": "CBeteiligte", "attributes": {}},
        {"op": "create", "entityType": "CBeteiligte", "id": "mine", "attributes": {}},
        {"op": "create", "entityType": "CBeteiligte", "attributes": ["lastName"]},
        {
            "op": "update",
            "entityType": "CBeteiligte",
            "id": "x",
            "attributes": {},
            "version": "1",
        },
    ],
)
async def test_a_malformed_write_is_named(espo: Espo, write: Any) -> None:
    answer = await espo.sync.write(create("CBeteiligte", {"lastName": "Nie"}), write)
    assert (answer.status, answer.body["index"]) == (400, 1)
    assert answer.reason


async def test_a_task_notifies_its_assignee_and_is_written_together_with_the_status(
    espo: Espo,
) -> None:
    real_only(espo)
    record = await new_person(espo)
    name = uuid4().hex[:8]
    person = await espo.person.post(
        "User",
        {
            "type": "regular",
            "userName": f"p{name}",
            "lastName": name,
            "password": f"Aa1-{name}-{name}",
        },
    )
    task = {
        "name": "In Advoware nachtragen",
        "assignedUserId": person["id"],
        "parentType": "CBeteiligte",
        "parentId": record["id"],
    }
    _, added = results(
        await espo.sync.write(
            update(
                "CBeteiligte", record["id"], {"syncStatus": "conflict"}, statusOnly=True
            ),
            create("Task", task),
        )
    )
    assert added["attributes"]["assignedUserId"] == person["id"]
    stream = await espo.person.get(f"Task/{added['id']}/stream")
    assert stream["total"] >= 1, "an ordinary save"
    [closed] = results(
        await espo.sync.write(update("Task", added["id"], {"status": "Canceled"}))
    )
    assert closed["attributes"]["modifiedById"] == espo.sync_user_id


async def test_what_a_person_changes_afterwards_still_waits_for_the_sync(
    espo: Espo,
) -> None:
    record = await new_person(espo)
    results(
        await espo.sync.write(
            update("CBeteiligte", record["id"], {"syncStatus": "clean", "betnr": None})
        )
    )
    await espo.person.put(f"CBeteiligte/{record['id']}", {"lastName": "Von Hand"})
    shown = await espo.person.get(f"CBeteiligte/{record['id']}")
    assert (shown["syncStatus"], shown["modifiedById"]) == (
        "dirty",
        record["modifiedById"],
    )
