"""The EspoCRM twin reads, writes and refuses records as EspoCRM does."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from espocrm_calls import ADMIN_KEY, DEMO_KEY, LIMITED_KEY, Caller, espocrm


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        yield caller


async def new_beteiligte(crm: Caller, **attributes: Any) -> dict[str, Any]:
    return await crm.good("POST", "CBeteiligte", {"lastName": "Grün", **attributes})


# -- login ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["wrong", None])
async def test_wrong_or_missing_key_is_401_with_an_empty_html_body(
    crm: Caller, key: str | None
) -> None:
    answer = await crm.call("GET", "CBeteiligte", key=key)
    assert (answer.status, answer.text) == (401, "")
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_more_than_ten_failed_logins_lock_the_address_for_a_minute(
    crm: Caller,
) -> None:
    for _ in range(10):
        assert (await crm.call("GET", "CBeteiligte", key="wrong")).status == 401
    assert (await crm.call("GET", "CBeteiligte")).status == 200
    assert (await crm.call("GET", "CBeteiligte", key="wrong")).status == 401
    locked = await crm.call("GET", "CBeteiligte")
    assert locked.status == 403
    assert locked.reason.startswith("Max failed login attempts exceeded")
    crm.clock.advance(seconds=61)
    assert (await crm.call("GET", "CBeteiligte")).status == 200


async def test_app_user_reports_who_is_logged_in_and_what_he_may(crm: Caller) -> None:
    answer = await crm.good("GET", "App/user")
    assert (answer["user"]["userName"], answer["user"]["type"]) == ("sync", "api")
    allowed = {
        "create": "yes",
        "read": "all",
        "edit": "all",
        "delete": "no",
        "stream": "all",
    }
    assert answer["acl"]["table"]["CBeteiligte"] == allowed
    assert answer["acl"]["table"]["Webhook"] is True


async def test_metadata_describes_the_custom_entities(crm: Caller) -> None:
    fields = await crm.good("GET", "Metadata?key=entityDefs.CBeteiligte.fields")
    assert fields["kommunikationHash"]["maxLength"] == 16
    assert "permanently_failed" in fields["syncStatus"]["options"]
    parents = await crm.good(
        "GET", "Metadata?key=entityDefs.Task.fields.parent.entityList"
    )
    assert "CBeteiligte" in parents
    assert await crm.good("GET", "Metadata?key=entityDefs.Nothing") is None


# -- create, read, change, delete -----------------------------------------------------------------------------


async def test_create_answers_200_with_the_full_record(crm: Caller) -> None:
    record = await new_beteiligte(
        crm, firstName="Änne", phoneNumberData=[{"phoneNumber": "+4951112345"}]
    )
    assert len(record["id"]) == 17
    assert record["name"] == "Änne Grün"
    assert record["syncStatus"] == "pending_sync"
    assert record["phoneNumberData"] == [
        {
            "phoneNumber": "+4951112345",
            "type": "Mobile",
            "primary": True,
            "optOut": False,
            "invalid": False,
        }
    ]
    assert record["createdAt"] == record["modifiedAt"] == "2026-11-23 17:12:22"
    assert record["createdByName"] == "sync"
    assert await crm.good("GET", f"CBeteiligte/{record['id']}") == record


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_put_and_patch_change_only_what_is_sent(crm: Caller, method: str) -> None:
    record = await new_beteiligte(crm, firstName="Änne")
    changed = await crm.good(method, f"CBeteiligte/{record['id']}", {"lastName": "Rot"})
    assert (changed["firstName"], changed["lastName"], changed["name"]) == (
        "Änne",
        "Rot",
        "Änne Rot",
    )


async def test_unknown_and_system_attributes_in_a_body_are_ignored(crm: Caller) -> None:
    sent = {
        "id": "mine",
        "deleted": True,
        "createdAt": "2001-01-01 00:00:00",
        "modifiedById": "x",
        "versionNumber": 7,
    }
    record = await new_beteiligte(crm, **sent, nonsense=1)
    assert record["id"] != "mine"
    assert record["deleted"] is False
    assert record["createdAt"] == "2026-11-23 17:12:22"
    changed = await crm.good(
        "PUT", f"CBeteiligte/{record['id']}", {**sent, "nonsense": 2}
    )
    assert changed["id"] == record["id"]
    assert changed["modifiedByName"] == "sync"
    assert "nonsense" not in changed
    assert changed["versionNumber"] == 1


async def test_company_without_person_names_is_called_by_its_firm(crm: Caller) -> None:
    record = await crm.good(
        "POST", "CBeteiligte", {"firmenname": "Bäckerei Süß GmbH", "rechtsform": "GmbH"}
    )
    assert record["name"] == "Bäckerei Süß GmbH"


async def test_delete_is_soft_and_hides_the_record(crm: Caller) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    refused = await crm.call("DELETE", path)
    assert (refused.status, refused.reason, refused.text) == (
        403,
        "No delete access.",
        "",
    )
    deleted = await crm.call("DELETE", path, key=ADMIN_KEY)
    assert (deleted.status, deleted.text) == (200, "true")
    assert (await crm.call("GET", path)).status == 404
    assert (await crm.good("GET", "CBeteiligte"))["total"] == 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("CBeteiligte/6b0473f6031b46ee6", "Record 6b0473f6031b46ee6 does not exist."),
        ("CNothing/1", "Controller 'CNothing' does not exist."),
        ("CNothing", "Controller 'CNothing' does not exist."),
    ],
)
async def test_unknown_id_and_unknown_entity_are_404(
    crm: Caller, path: str, reason: str
) -> None:
    answer = await crm.call("GET", path)
    assert (answer.status, answer.reason) == (404, reason)


async def test_broken_json_is_500_with_an_empty_body(crm: Caller) -> None:
    answer = await crm.call(
        "POST",
        "CBeteiligte",
        data=b'{"lastName":',
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status, answer.text) == (500, "")


async def test_limited_key_reads_but_does_not_write(crm: Caller) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    assert (await crm.call("GET", path, key=LIMITED_KEY)).status == 200
    assert (
        await crm.call("PUT", path, {"lastName": "X"}, key=LIMITED_KEY)
    ).reason == "No edit access."
    assert (
        await crm.call("POST", "CBeteiligte", {"lastName": "X"}, key=LIMITED_KEY)
    ).reason == "No create access."
    assert (await crm.call("GET", "User", key=LIMITED_KEY)).reason == "No read access."


async def test_further_api_users_have_the_rights_they_are_given(crm: Caller) -> None:
    await crm.control(
        "POST",
        "api-users",
        {"api_key": "k", "user_name": "robot", "rights": {"CAdressen": ["read"]}},
    )
    assert (await crm.call("GET", "CAdressen", key="k")).status == 200
    assert (await crm.call("GET", "CBeteiligte", key="k")).status == 403


# -- modifiedAt and versions ----------------------------------------------------------------------------------


async def test_identical_put_moves_modified_at_only_for_another_user(
    crm: Caller,
) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    first = await crm.good("PUT", path, {"lastName": "Rot"})
    crm.clock.advance(seconds=90)
    assert (await crm.good("PUT", path, {"lastName": "Rot"}))["modifiedAt"] == first[
        "modifiedAt"
    ]
    other = await crm.good("PUT", path, {"lastName": "Rot"}, key=ADMIN_KEY)
    assert (other["modifiedAt"], other["modifiedByName"]) == (
        "2026-11-23 17:13:52",
        "Admin",
    )


async def test_version_number_is_ignored_unless_switched_on(crm: Caller) -> None:
    await crm.control("POST", "settings", {"optimistic_concurrency": []})
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    assert "versionNumber" not in record
    stale = {"X-Version-Number": "0"}
    assert (
        await crm.call("PUT", path, {"lastName": "Rot"}, headers=stale)
    ).status == 200


async def test_version_number_refuses_whatever_differs_from_the_present_values(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"optimistic_concurrency": ["CBeteiligte"]})
    record = await new_beteiligte(crm, rechtsform="Herr")
    path, headers = (
        f"CBeteiligte/{record['id']}",
        {"X-Version-Number": str(record["versionNumber"])},
    )
    await crm.good("PUT", path, {"lastName": "Rot"})
    conflict = await crm.call(
        "PUT", path, {"lastName": "Blau", "rechtsform": "Herr"}, headers=headers
    )
    assert (conflict.status, conflict.reason) == (409, "modified")
    assert conflict.json == {"values": {"lastName": "Rot"}, "versionNumber": 2}
    # A field that no one else has touched is refused as well: only the versions are compared, and the values.
    assert (await crm.call("PUT", path, {"firstName": "Änne"}, headers=headers)).json[
        "values"
    ] == {"firstName": None}
    assert (await crm.good("PUT", path, {"lastName": "Rot"}, headers=headers))[
        "versionNumber"
    ] == 2


@pytest.mark.parametrize(
    ("extension", "versions"), [("1.0.0", [2, 3, 4]), ("1.1.0", [1, 1, 1])]
)
async def test_whether_the_status_or_nothing_new_counts_as_a_version_depends_on_the_extension(
    crm: Caller, extension: str, versions: list[int]
) -> None:
    await crm.control("POST", "settings", {"extension": extension})
    path = f"CBeteiligte/{(await new_beteiligte(crm))['id']}"
    found = [
        (await crm.good("PUT", path, {"syncStatus": status}))["versionNumber"]
        for status in ("clean",) * 3
    ]
    assert found == versions


async def test_a_conflict_names_the_whole_field_from_9_on_and_may_exempt_some(
    crm: Caller,
) -> None:
    ignored = {
        "optimistic_concurrency": ["CBeteiligte"],
        "concurrency_ignored": ["syncStatus"],
    }
    await crm.control("POST", "settings", ignored)
    record = await new_beteiligte(crm, phoneNumberData=[{"phoneNumber": "+4951112345"}])
    path, stale = f"CBeteiligte/{record['id']}", {"X-Version-Number": "7"}
    await crm.good("PUT", path, {"syncStatus": "clean"}, headers=stale)
    change = {"phoneNumberData": [], "syncStatus": "dirty"}
    values = (await crm.call("PUT", path, change, headers=stale)).json["values"]
    assert values["phoneNumber"] == "+4951112345"
    assert values.keys() == {
        "phoneNumber",
        "phoneNumberIsOptedOut",
        "phoneNumberIsInvalid",
        "phoneNumberData",
    }
    await crm.control("POST", "settings", {"version": "8.4"})
    assert (await crm.call("PUT", path, change, headers=stale)).json[
        "values"
    ].keys() == change.keys()


async def test_duplicate_check_answers_409_when_switched_on(crm: Caller) -> None:
    first = await new_beteiligte(crm, firstName="Änne")
    await crm.control("POST", "settings", {"duplicate_check": ["CBeteiligte"]})
    same = {"lastName": "Grün", "firstName": "Änne"}
    answer = await crm.call("POST", "CBeteiligte", same)
    assert (answer.status, answer.reason) == (409, "duplicate")
    assert [row["id"] for row in answer.json] == [first["id"]]
    await crm.good(
        "POST", "CBeteiligte", same, headers={"X-Skip-Duplicate-Check": "true"}
    )


# -- validation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "value", "field", "kind"),
    [
        ("syncStatus", "sparkling", "syncStatus", "valid"),
        ("salutationName", "Mr.", "salutationName", "valid"),
        ("dateOfBirth", "31.12.1980", "dateOfBirth", "valid"),
        ("dateOfBirth", "1980-02-30", "dateOfBirth", "valid"),
        ("advowareLastSync", "2026-11-23T17:12:22", "advowareLastSync", "valid"),
        ("advowareLastSync", "2026-11-23T17:12:22.500Z", "advowareLastSync", "valid"),
        ("advowareLastSync", "2026-11-23 17:12:22.500000", "advowareLastSync", "valid"),
        ("advowareLastSync", "2026-11-23 17:12:22+00:00", "advowareLastSync", "valid"),
        ("advowareLastSync", "2026-11-23 24:00:00", "advowareLastSync", "valid"),
        ("kommunikationHash", "0123456789abcdef0", "kommunikationHash", "maxLength"),
        ("syncErrorMessage", "x" * 2001, "syncErrorMessage", "maxLength"),
        ("betnr", "many", "betnr", "valid"),
        ("betnr", 2**31, "betnr", "rangeInternal"),
        ("emailAddress", "unknown(at)example.de", "emailAddress", "emailAddress"),
        (
            "emailAddressData",
            [{"emailAddress": "ü@example.de"}],
            "emailAddress",
            "emailAddress",
        ),
        (
            "emailAddressData",
            [{"emailAddress": f"a{n}@example.de"} for n in range(11)],
            "emailAddress",
            "maxCount",
        ),
        ("phoneNumber", "0511 12345", "phoneNumber", "valid"),
        ("phoneNumberData", [{"phoneNumber": "0511/12345-60"}], "phoneNumber", "valid"),
        ("phoneNumberData", [{"phoneNumber": "49 511 12345"}], "phoneNumber", "valid"),
        ("phoneNumberData", [{"phoneNumber": ""}], "phoneNumber", "valid"),
        (
            "phoneNumberData",
            [{"phoneNumber": "ERASED:6b0473f6031b46ee6"}],
            "phoneNumber",
            "valid",
        ),
        (
            "phoneNumberData",
            [{"phoneNumber": "+4951112345", "type": "Pager"}],
            "phoneNumber",
            "valid",
        ),
        (
            "phoneNumberData",
            [{"phoneNumber": f"+49511123{n:03}"} for n in range(11)],
            "phoneNumber",
            "maxCount",
        ),
        ("assignedUserId", "no spaces", "assignedUser", "pattern"),
    ],
)
async def test_a_bad_value_refuses_the_whole_request(
    crm: Caller, attribute: str, value: Any, field: str, kind: str
) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    answer = await crm.call("PUT", path, {"lastName": "Rot", attribute: value})
    assert answer.status == 400
    assert (
        answer.reason
        == f"Field validation failure; entityType: CBeteiligte, field: {field}, type: {kind}."
    )
    assert answer.text == (
        f'{{"messageTranslation":{{"label":"validationFailure","data":{{"field":"{field}","type":"{kind}"}}}}}}'
    )
    assert (await crm.good("GET", path))["lastName"] == "Grün"


@pytest.mark.parametrize(
    ("attribute", "sent", "stored"),
    [
        ("lastName", " \t\x00Rot\n", "Rot"),
        ("lastName", "\u00a0Rot\u2003", "\u00a0Rot\u2003"),
        ("description", " Rot ", " Rot "),
        ("dateOfBirth", "0001-01-01", "0001-01-01"),
        ("dateOfBirth", "9999-12-31", "9999-12-31"),
        ("dateOfBirth", "1970-05-04T23:30:00Z", "1970-05-04"),
        ("advowareLastSync", "2026-11-23T17:12:22+01:00", "2026-11-23 16:12:22"),
        ("advowareLastSync", "2026-11-23 17:12", "2026-11-23 17:12:00"),
    ],
)
async def test_values_are_stored_as_php_sanitises_them(
    crm: Caller, attribute: str, sent: str, stored: str
) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    await crm.good("PUT", path, {attribute: sent})
    assert (await crm.good("GET", path))[attribute] == stored


async def test_lists_cut_long_texts_and_reads_by_id_do_not(crm: Caller) -> None:
    record = await new_beteiligte(crm, description="ä" * 12_000)
    listed = (await crm.good("GET", "CBeteiligte"))["list"][0]["description"]
    assert listed == "ä" * 10_000
    assert (await crm.good("GET", f"CBeteiligte/{record['id']}"))[
        "description"
    ] == "ä" * 12_000


async def test_local_phone_numbers_pass_without_the_international_setting(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"phone_number_international": False})
    record = await new_beteiligte(crm, phoneNumber="0511 12345-60")
    assert record["phoneNumber"] == "0511 12345-60"


async def test_betnr_belongs_to_one_record(crm: Caller) -> None:
    first = await new_beteiligte(crm, betnr=1234)
    answer = await crm.call(
        "POST", "CBeteiligte", {"lastName": "Zwei", "betnr": "1234"}
    )
    assert answer.status == 400
    assert (
        answer.reason
        == "Field validation failure; entityType: CBeteiligte, field: betnr, type: unique."
    )
    assert (await crm.good("PUT", f"CBeteiligte/{first['id']}", {"betnr": 1234}))[
        "betnr"
    ] == 1234


async def test_bank_account_status_has_its_own_values(crm: Caller) -> None:
    owner = await new_beteiligte(crm)
    body = {
        "name": "Konto",
        "iban": "DE89370400440532013000",
        "beteiligteId": owner["id"],
    }
    account = await crm.good("POST", "CBankverbindungen", body)
    assert account["syncStatus"] is None
    path = f"CBankverbindungen/{account['id']}"
    assert (await crm.good("PUT", path, {"syncStatus": "unclean"}))[
        "syncStatus"
    ] == "unclean"
    assert (await crm.call("PUT", path, {"syncStatus": "dirty"})).status == 400


# -- what the extension asks of people ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"firstName": "Max"}, "lastName"),
        ({"firmenname": "Bau"}, "firmenname"),
        ({"lastName": "", "firmenname": "", "rechtsform": "GmbH"}, "lastName"),
    ],
)
async def test_people_name_a_beteiligter_and_the_sync_need_not(
    crm: Caller, body: dict[str, Any], field: str
) -> None:
    refused = await crm.call("POST", "CBeteiligte", body, key=ADMIN_KEY)
    assert (
        refused.reason
        == f"Field validation failure; entityType: CBeteiligte, field: {field}, type: named."
    )
    record = await crm.good("POST", "CBeteiligte", body)
    path = f"CBeteiligte/{record['id']}"
    assert (
        await crm.call("PUT", path, {"description": "x"}, key=ADMIN_KEY)
    ).status == 200
    assert (
        await crm.call("PUT", path, {"rechtsform": None}, key=ADMIN_KEY)
    ).status == 400


@pytest.mark.parametrize("entity", ["CAdressen", "CBankverbindungen"])
async def test_a_part_has_a_beteiligter_who_waits_when_a_person_moves_or_deletes_it(
    crm: Caller, entity: str
) -> None:
    refused = await crm.call("POST", entity, {"name": "x"})
    assert (
        refused.reason
        == f"Field validation failure; entityType: {entity}, field: beteiligte, type: required."
    )
    owners = [(await new_beteiligte(crm, syncStatus="clean"))["id"] for _ in range(2)]
    part = await crm.good("POST", entity, {"beteiligteId": owners[0]})

    async def waiting() -> list[bool]:
        found = [
            (await crm.good("GET", f"CBeteiligte/{owner}"))["syncStatus"] == "dirty"
            for owner in owners
        ]
        for owner in owners:
            await crm.good("PUT", f"CBeteiligte/{owner}", {"syncStatus": "clean"})
        return found

    path = f"{entity}/{part['id']}"
    assert (
        await crm.call("PUT", path, {"beteiligteId": None}, key=ADMIN_KEY)
    ).status == 400
    await crm.call("PUT", path, {"beteiligteId": owners[1]}, key=ADMIN_KEY)
    assert await waiting() == [True, True]
    await crm.good("PUT", path, {"beteiligteId": owners[0]})
    assert await waiting() == [False, False]
    await crm.call("DELETE", path, key=ADMIN_KEY)
    assert await waiting() == [True, False]


async def test_an_address_is_called_by_street_and_place_until_a_user_names_it(
    crm: Caller,
) -> None:
    body = {
        "adresseStreet": "Lange Straße 5\nHof",
        "adressePostalCode": "30159",
        "adresseCity": "Hannover",
    }
    address = await crm.good(
        "POST", "CAdressen", {**body, "beteiligteId": (await new_beteiligte(crm))["id"]}
    )
    path = f"CAdressen/{address['id']}"
    assert address["name"] == address["bezeichnung"] == "Lange Straße 5, 30159 Hannover"
    assert (await crm.good("PUT", path, {"adresseCity": "Celle"}))[
        "name"
    ] == "Lange Straße 5, 30159 Celle"
    assert (await crm.good("PUT", path, {"name": "Kanzlei"}))[
        "bezeichnung"
    ] == "Kanzlei"
    assert (await crm.good("PUT", path, {"adresseCity": "Peine"}))["name"] == "Kanzlei"
    assert (await crm.good("PUT", path, {"name": ""}))[
        "name"
    ] == "Lange Straße 5, 30159 Peine"


# -- addresses and numbers ------------------------------------------------------------------------------------


async def test_put_echoes_the_mail_array_and_the_next_read_shows_the_computed_keys(
    crm: Caller,
) -> None:
    record = await new_beteiligte(crm)
    path = f"CBeteiligte/{record['id']}"
    sent = [
        {"emailAddress": "c@example.de"},
        {"emailAddress": "A.b@Example.DE", "primary": True},
    ]
    assert (await crm.good("PUT", path, {"emailAddressData": sent}))[
        "emailAddressData"
    ] == sent
    read = await crm.good("GET", path)
    flags = {"optOut": False, "invalid": False}
    assert read["emailAddressData"] == [
        {
            "emailAddress": "A.b@Example.DE",
            "lower": "a.b@example.de",
            "primary": True,
            **flags,
        },
        {
            "emailAddress": "c@example.de",
            "lower": "c@example.de",
            "primary": False,
            **flags,
        },
    ]
    assert read["emailAddress"] == "A.b@Example.DE"


async def test_an_array_replaces_the_whole_set_and_the_first_becomes_primary(
    crm: Caller,
) -> None:
    record = await new_beteiligte(
        crm, phoneNumberData=[{"phoneNumber": "+4951112345", "type": "Office"}]
    )
    path = f"CBeteiligte/{record['id']}"
    numbers = ["+4951154321", "+4951154322"]
    await crm.good(
        "PUT",
        path,
        {"phoneNumberData": [{"phoneNumber": n, "type": "Fax"} for n in numbers]},
    )
    read = (await crm.good("GET", path))["phoneNumberData"]
    assert [(entry["phoneNumber"], entry["primary"]) for entry in read] == list(
        zip(numbers, [True, False], strict=True)
    )
    await crm.good("PUT", path, {"phoneNumberData": []})
    emptied = await crm.good("GET", path)
    assert (emptied["phoneNumberData"], emptied["phoneNumber"]) == ([], None)


async def test_type_and_flags_of_a_number_are_shared_by_all_its_records(
    crm: Caller,
) -> None:
    number = {"phoneNumber": "+4951112345", "type": "Office"}
    one, two = [await new_beteiligte(crm, phoneNumberData=[number]) for _ in range(2)]
    crm.clock.advance(seconds=5)
    changed = {"phoneNumberData": [{**number, "type": "Fax", "invalid": True}]}
    await crm.good("PUT", f"CBeteiligte/{one['id']}", changed)
    other = await crm.good("GET", f"CBeteiligte/{two['id']}")
    assert (
        other["phoneNumberData"][0]["type"],
        other["phoneNumberData"][0]["invalid"],
    ) == ("Fax", True)
    assert other["modifiedAt"] == two["modifiedAt"]


async def test_the_plain_attribute_replaces_the_primary_value(crm: Caller) -> None:
    mails = [
        {"emailAddress": "a@example.de", "primary": True},
        {"emailAddress": "b@example.de"},
    ]
    record = await new_beteiligte(crm, emailAddressData=mails)
    path = f"CBeteiligte/{record['id']}"
    await crm.good("PUT", path, {"emailAddress": "new@example.de"})
    read = (await crm.good("GET", path))["emailAddressData"]
    assert [entry["emailAddress"] for entry in read] == [
        "new@example.de",
        "b@example.de",
    ]
    assert [entry["primary"] for entry in read] == [True, False]


# -- what the extension does ----------------------------------------------------------------------------------


async def test_an_edit_by_a_person_makes_a_synced_record_dirty(crm: Caller) -> None:
    record = await new_beteiligte(crm, betnr=1, syncStatus="clean")
    path = f"records/CBeteiligte/{record['id']}"
    assert (await crm.control("PUT", path, {"description": "no synced field"}))[
        "syncStatus"
    ] == "clean"
    assert (await crm.control("PUT", path, {"lastName": "Grün"}))[
        "syncStatus"
    ] == "clean"
    assert (await crm.control("PUT", path, {"lastName": "Rot"}))[
        "syncStatus"
    ] == "dirty"
    assert (
        await crm.control("PUT", path, {"lastName": "Blau", "syncStatus": "clean"})
    )["syncStatus"] == "clean"
    mails = {"emailAddressData": [{"emailAddress": "a@example.de"}]}
    assert (await crm.control("PUT", path, mails))["syncStatus"] == "dirty"


async def test_an_edit_by_the_sync_user_leaves_the_status_alone(crm: Caller) -> None:
    record = await new_beteiligte(crm, betnr=1, syncStatus="clean")
    changed = await crm.good("PUT", f"CBeteiligte/{record['id']}", {"lastName": "Rot"})
    assert changed["syncStatus"] == "clean"


async def test_a_record_that_waits_to_be_created_in_advoware_stays_pending(
    crm: Caller,
) -> None:
    record = await crm.control("POST", "records/CBeteiligte", {"lastName": "Neu"})
    changed = await crm.control(
        "PUT", f"records/CBeteiligte/{record['id']}", {"lastName": "Neuer"}
    )
    assert changed["syncStatus"] == "pending_sync"


async def test_address_shows_its_name_as_bezeichnung_and_its_party_by_name(
    crm: Caller,
) -> None:
    party = await new_beteiligte(crm)
    address = await crm.good(
        "POST", "CAdressen", {"bezeichnung": "Lager", "beteiligteId": party["id"]}
    )
    assert (address["name"], address["bezeichnung"], address["beteiligteName"]) == (
        "Lager",
        "Lager",
        "Grün",
    )
    assert (address["isActive"], address["istStandard"], address["syncStatus"]) == (
        True,
        False,
        "pending_sync",
    )


async def test_control_api_lays_down_a_record_with_id_and_times(crm: Caller) -> None:
    given = {
        "id": "6b0473f6031b46ee6",
        "createdAt": "2026-01-02 03:04:05",
        "lastName": "Mustermann",
    }
    await crm.control("POST", "records/CBeteiligte?silent=1", given)
    await crm.control("POST", "records/CBeteiligte?silent=1", {**given, "betnr": 7})
    record = await crm.good("GET", f"CBeteiligte/{given['id']}")
    assert (record["createdAt"], record["betnr"]) == ("2026-01-02 03:04:05", 7)
    assert await crm.control("DELETE", f"records/CBeteiligte/{given['id']}") is True
    assert (await crm.good("GET", "CBeteiligte"))["total"] == 0


async def test_reset_restores_settings_users_and_records(crm: Caller) -> None:
    await new_beteiligte(crm)
    await crm.control("POST", "settings", {"phone_number_international": False})
    await crm.control("POST", "reset", {"empty": True})
    assert (await crm.control("GET", "settings"))["phone_number_international"] is True
    assert (await crm.good("GET", "CBeteiligte"))["total"] == 0


async def test_sample_firm_is_complete_and_the_same_every_time() -> None:
    async with espocrm(empty=False) as one, espocrm(empty=False) as two:
        state, other = [
            (await caller.control("GET", "state"))["records"] for caller in (one, two)
        ]
    assert state == other
    statuses = {
        record["syncStatus"]: record["betnr"] for record in state["CBeteiligte"]
    }
    assert statuses.keys() == {"clean", "pending_sync"}
    assert statuses["pending_sync"] is None
    assert all(
        record["advowareLastSync"]
        for record in state["CBeteiligte"]
        if record["syncStatus"] == "clean"
    )
    assert len(state["CBeteiligte"]) > 50
    assert any("ü" in record["name"] for record in state["CBeteiligte"])
    parties = {record["id"] for record in state["CBeteiligte"]}
    assert {
        record["beteiligteId"]
        for record in itertools.chain(state["CAdressen"], state["CBankverbindungen"])
    } <= parties
    assert len(state["User"]) > 12


async def test_faults_and_journal_of_the_frame_work_here_too(crm: Caller) -> None:
    await crm.control(
        "POST", "faults", {"path": "CBeteiligte", "status": 503, "count": 1}
    )
    assert (await crm.call("GET", "CBeteiligte", key=DEMO_KEY)).status == 503
    assert (await crm.call("GET", "CBeteiligte", key=DEMO_KEY)).status == 200
    assert await crm.control("GET", "journal/summary") == {"GET /api/v1/{entity}": 2}
