"""Mail addresses and telephone numbers in the EspoCRM twin: what PHP lets pass, and rows that records share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from espocrm_calls import ADMIN_KEY, Caller, espocrm

from sandbox.espocrm.mail import is_mail_address

VECTORS = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "php-mail-filter.json").read_text("utf-8")
)["vectors"]
NUMBER, OTHER = "+4951112345", "+4951199999"


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        yield caller


async def person(crm: Caller, **attributes: Any) -> str:
    """The path of a new Beteiligter."""
    return f"CBeteiligte/{(await crm.good('POST', 'CBeteiligte', {'lastName': 'Grün', **attributes}))['id']}"


async def phones(crm: Caller, path: str) -> list[tuple[Any, ...]]:
    """Number, type, primary, opted out, invalid of each entry."""
    names = ("phoneNumber", "type", "primary", "optOut", "invalid")
    return [
        tuple(entry[name] for name in names)
        for entry in (await crm.good("GET", path))["phoneNumberData"]
    ]


def entry(number: str = NUMBER, **more: Any) -> dict[str, Any]:
    return {"phoneNumber": number, **more}


# -- what passes ------------------------------------------------------------------------------------------------------


def test_mail_addresses_pass_exactly_as_with_php() -> None:
    assert [(value, is_mail_address(value)) for value, _ in VECTORS] == [
        (value, passes) for value, passes in VECTORS
    ]


@pytest.mark.parametrize(
    "value",
    [
        "a@" + "b." * 150 + "1",
        "a@" + "b-" * 150 + ".de",
        '"a".' * 60 + "@",
        '""' * 150 + "@x.de",
        "a@[IPv6:" + "a:" * 150 + "]",
        "\\a" * 150,
        "\ud83d@x.de",
    ],
)
def test_no_address_takes_the_filter_long(value: str) -> None:
    assert not is_mail_address(value)


@pytest.mark.parametrize(
    ("address", "passes"),
    [
        ("kanzlei@müller.de", False),
        ("kanzlei@xn--mller-kva.de", True),
        ("a@example.1de", False),
        ("a@example.d1", True),
        ('"a b"@example.de', False),
        ("a@[127.0.0.1]", True),
        ("ERASED:6b0473f6031b46ee6", False),
    ],
)
async def test_an_address_that_php_refuses_sinks_the_whole_request(
    crm: Caller, address: str, passes: bool
) -> None:
    path = await person(crm)
    change = {
        "lastName": "Rot",
        "emailAddressData": [
            {"emailAddress": "gut@example.de"},
            {"emailAddress": address},
        ],
    }
    answer = await crm.call("PUT", path, change)
    assert answer.status == (200 if passes else 400), answer.reason
    assert (await crm.good("GET", path))["lastName"] == ("Rot" if passes else "Grün")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("+49 511 12345", NUMBER),
        ("+49 (0)511 12345", NUMBER),
        ("+49-511/123.45 ", NUMBER),
        (NUMBER, NUMBER),
    ],
)
async def test_a_number_with_plus_is_stored_in_e164_however_it_is_written(
    crm: Caller, sent: str, stored: str
) -> None:
    path = await person(crm, phoneNumberData=[entry(sent)])
    assert (await phones(crm, path))[0][0] == stored
    answer = await crm.good("PUT", path, {"phoneNumberData": [entry(sent, type="Fax")]})
    assert answer["phoneNumberData"] == [entry(stored, type="Fax")]


async def test_an_old_national_number_sinks_the_array_but_not_other_changes(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"phone_number_international": False})
    path = await person(crm, phoneNumberData=[entry("0511 12345")])
    await crm.control("POST", "settings", {"phone_number_international": True})
    stored = (await crm.good("GET", path))["phoneNumberData"]
    assert (
        await crm.call("PUT", path, {"phoneNumberData": [*stored, entry()]})
    ).status == 400
    await crm.good("PUT", path, {"lastName": "Rot"})
    assert (await phones(crm, path))[0][0] == "0511 12345"


async def test_a_stored_value_that_would_not_pass_today_refuses_even_the_array_without_it(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"phone_number_international": False})
    path = await person(crm, phoneNumberData=[entry("0511 12345")])
    await crm.control("POST", "settings", {"phone_number_international": True})
    for array in ([entry()], []):
        assert (await crm.call("PUT", path, {"phoneNumberData": array})).status == 400
    assert (
        await crm.call("PUT", path, {"phoneNumber": NUMBER})
    ).status == 400  # the stored array is checked as well
    await crm.good("PUT", path, {"phoneNumberData": [entry()], "phoneNumber": NUMBER})
    assert [number for number, *_ in await phones(crm, path)] == [NUMBER]


@pytest.mark.parametrize(
    "content",
    [
        rb'{"lastName":"\ud83d"}',
        b'{"betnr":NaN}',
        rb'{"\u0000a":1}',
        b'{"lastName":"\xff"}',
    ],
)
async def test_what_php_cannot_read_as_json_is_500(crm: Caller, content: bytes) -> None:
    path = await person(crm)
    answer = await crm.call(
        "PUT", path, data=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status, answer.text) == (500, "")
    assert (await crm.good("GET", path))["lastName"] == "Grün"


# -- shared rows ------------------------------------------------------------------------------------------------------


async def test_a_number_that_a_second_record_gets_loses_the_flags_that_the_request_does_not_name(
    crm: Caller,
) -> None:
    first = await person(
        crm, phoneNumberData=[entry(type="Fax", optOut=True, invalid=True)]
    )
    second = await person(crm)
    await crm.good("PUT", second, {"phoneNumberData": [entry()]})
    assert await phones(crm, first) == [(NUMBER, "Mobile", True, False, False)]


async def test_type_and_flags_stay_if_the_number_belongs_to_a_record_that_the_caller_may_not_edit(
    crm: Caller,
) -> None:
    kept = entry(type="Fax", optOut=True, invalid=False)
    await crm.control("POST", "actions", {"action": "share", "entry": kept})
    path = await person(crm)
    answer = await crm.good(
        "PUT",
        path,
        {"phoneNumberData": [entry(type="Office"), entry(OTHER, type="Office")]},
    )
    assert [sent["type"] for sent in answer["phoneNumberData"]] == ["Fax", "Office"]
    assert await phones(crm, path) == [
        (NUMBER, "Fax", True, True, False),
        (OTHER, "Office", False, False, False),
    ]
    await crm.good(
        "PUT", path, {"phoneNumberData": [entry(type="Office")]}, key=ADMIN_KEY
    )
    assert await phones(crm, path) == [(NUMBER, "Office", True, False, False)]
    mail = {"emailAddress": "a@example.de", "optOut": True}
    await crm.control("POST", "actions", {"action": "share", "entry": mail})
    await crm.good(
        "PUT", path, {"emailAddressData": [{"emailAddress": "A@Example.de"}]}
    )
    shown = (await crm.good("GET", path))["emailAddressData"][0]
    assert (shown["emailAddress"], shown["optOut"]) == ("a@example.de", True)


async def test_an_identical_array_changes_nothing_at_the_other_records(
    crm: Caller,
) -> None:
    first = await person(crm, phoneNumberData=[entry(type="Fax", optOut=True)])
    stored = (await crm.good("GET", first))["phoneNumberData"]
    second = await person(crm, phoneNumberData=stored)
    await crm.good("PUT", first, {"phoneNumberData": stored})
    assert await phones(crm, second) == [(NUMBER, "Fax", True, True, False)]


async def test_a_mail_address_takes_the_spelling_of_the_last_request_everywhere(
    crm: Caller,
) -> None:
    first = await person(
        crm, emailAddressData=[{"emailAddress": "A.b@Example.DE", "optOut": True}]
    )
    await person(
        crm, emailAddressData=[{"emailAddress": "a.b@example.de", "invalid": True}]
    )
    shown = (await crm.good("GET", first))["emailAddressData"]
    assert shown == [
        {
            "emailAddress": "a.b@example.de",
            "lower": "a.b@example.de",
            "primary": True,
            "optOut": False,
            "invalid": True,
        }
    ]


async def test_a_number_without_owner_keeps_type_and_flags_until_it_is_named_again(
    crm: Caller,
) -> None:
    first = await person(
        crm, phoneNumberData=[entry(type="Fax", optOut=True, invalid=True)]
    )
    await crm.good("PUT", first, {"phoneNumberData": []})
    by_plain_value = await person(crm, phoneNumber=NUMBER)
    assert await phones(crm, by_plain_value) == [
        (NUMBER, "Fax", True, False, False)
    ]  # the type stays, flags do not


async def test_the_plain_value_carries_the_flags_of_the_value_before_it(
    crm: Caller,
) -> None:
    path = await person(
        crm,
        phoneNumberData=[entry(type="Office", optOut=True), entry(OTHER, type="Fax")],
    )
    await crm.good("PUT", path, {"phoneNumber": "+493012345"})
    assert await phones(crm, path) == [
        ("+493012345", "Mobile", True, True, False),
        (OTHER, "Fax", False, False, False),
    ]


async def test_an_empty_plain_value_takes_the_primary_entry_away_and_names_no_other(
    crm: Caller,
) -> None:
    path = await person(crm, phoneNumberData=[entry(), entry(OTHER)])
    await crm.good("PUT", path, {"phoneNumber": None})
    assert await phones(crm, path) == [(OTHER, "Mobile", False, False, False)]
    assert (await crm.good("GET", path))["phoneNumber"] is None


async def test_the_flags_of_the_primary_entry_can_be_set_by_name(crm: Caller) -> None:
    path = await person(crm, phoneNumberData=[entry(type="Fax"), entry(OTHER)])
    await crm.good("PUT", path, {"phoneNumberIsOptedOut": True})
    assert [
        (number, opted_out) for number, _, _, opted_out, _ in await phones(crm, path)
    ] == [
        (NUMBER, True),
        (OTHER, False),
    ]


async def test_a_new_record_with_plain_value_and_array_forgets_the_flags_of_that_entry(
    crm: Caller,
) -> None:
    path = await person(
        crm,
        phoneNumber=NUMBER,
        phoneNumberData=[entry(optOut=True), entry(OTHER, optOut=True)],
    )
    assert [opted_out for _, _, _, opted_out, _ in await phones(crm, path)] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("sent", "primary"),
    [
        ([entry(), entry(OTHER, primary=True)], OTHER),
        ([entry(OTHER, primary=True), entry(primary=True)], NUMBER),
        (
            [entry(primary=True), entry(OTHER, primary=True), entry(primary=True)],
            NUMBER,
        ),
        ([entry(primary=True), entry(OTHER, primary=True)], OTHER),
        ([entry(OTHER), entry()], OTHER),  # no one is flagged: the first
        ([entry(OTHER)], OTHER),
    ],
)
async def test_which_entry_becomes_the_primary_one(
    crm: Caller, sent: list[dict[str, Any]], primary: str
) -> None:
    path = await person(crm, phoneNumberData=[entry(primary=True)])
    await crm.good("PUT", path, {"phoneNumberData": sent})
    assert [
        number for number, _, is_primary, _, _ in await phones(crm, path) if is_primary
    ] == [primary]


@pytest.mark.parametrize("flag", [{"primary": True}, {}])
async def test_of_a_number_that_is_sent_twice_the_last_entry_counts(
    crm: Caller, flag: dict[str, bool]
) -> None:
    path = await person(
        crm, phoneNumberData=[entry(type="Fax", **flag), entry(type="Office")]
    )
    assert await phones(crm, path) == [(NUMBER, "Office", False, False, False)]
    assert (await crm.good("GET", path))["phoneNumber"] is None
