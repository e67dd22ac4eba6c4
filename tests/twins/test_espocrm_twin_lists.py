"""Lists of the EspoCRM twin: rows, pages, order, select and the filters in PHP's bracket notation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from espocrm_calls import Caller, espocrm

PEOPLE = [
    {
        "lastName": "Alt",
        "betnr": 1,
        "syncStatus": "clean",
        "advowareLastSync": "2026-11-20 08:00:00",
    },
    {
        "lastName": "Bär",
        "betnr": 2,
        "syncStatus": "dirty",
        "advowareLastSync": "2026-11-21 08:00:00",
    },
    {
        "lastName": "Cäsar",
        "betnr": 3,
        "syncStatus": "failed",
        "syncNextRetry": "2026-11-22 08:00:00",
    },
    {
        "lastName": "Denker",
        "dateOfBirth": "1980-05-01",
        "emailAddressData": [{"emailAddress": "D@Example.DE"}],
    },
]


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        for person in PEOPLE:
            await caller.good("POST", "CBeteiligte", person)
            caller.clock.advance(seconds=1)
        yield caller


def brackets(value: Any, prefix: str = "where") -> list[str]:
    """A filter in PHP's notation, as ``http_build_query`` writes it."""
    if isinstance(value, dict):
        return [
            part
            for key, child in value.items()
            for part in brackets(child, f"{prefix}[{key}]")
        ]
    if isinstance(value, list):
        simple = not any(isinstance(child, dict | list) for child in value)
        keys = [""] * len(value) if simple else range(len(value))
        return [
            part
            for key, child in zip(keys, value, strict=True)
            for part in brackets(child, f"{prefix}[{key}]")
        ]
    return [f"{quote(prefix)}={quote(str(value))}"]


async def names(crm: Caller, *where: dict[str, Any]) -> list[str]:
    """Last names of the records that pass, in the order of their creation; asked in both notations."""
    plain = await crm.good(
        "GET", "CBeteiligte?orderBy=createdAt&" + "&".join(brackets(list(where)))
    )
    search = json.dumps({"where": where, "orderBy": "createdAt", "order": "ASC"})
    assert await crm.good("GET", f"CBeteiligte?searchParams={quote(search)}") == plain
    assert plain["total"] == len(plain["list"])
    return [row["lastName"] for row in plain["list"]]


@pytest.mark.parametrize(
    ("kind", "attribute", "value", "found"),
    [
        ("in", "syncStatus", ["dirty", "failed"], ["Bär", "Cäsar"]),
        ("notIn", "syncStatus", ["dirty", "failed"], ["Alt", "Denker"]),
        ("equals", "betnr", 2, ["Bär"]),
        ("equals", "lastName", "bar", ["Bär"]),
        ("notEquals", "betnr", 2, ["Alt", "Cäsar"]),
        ("notIn", "betnr", [1, 2], ["Cäsar"]),
        ("greaterThan", "betnr", 1, ["Bär", "Cäsar"]),
        ("greaterThanOrEquals", "betnr", 2, ["Bär", "Cäsar"]),
        ("lessThan", "betnr", 3, ["Alt", "Bär"]),
        ("lessThanOrEquals", "betnr", 1, ["Alt"]),
        ("between", "betnr", [2, 3], ["Bär", "Cäsar"]),
        ("before", "advowareLastSync", "2026-11-21 08:00:00", ["Alt"]),
        ("lessThan", "advowareLastSync", "2026-11-21 08:00:01", ["Alt", "Bär"]),
        ("after", "advowareLastSync", "2026-11-21", ["Bär"]),
        ("after", "createdAt", "2026-11-23 17:12:24", ["Denker"]),
        ("on", "dateOfBirth", "1980-05-01", ["Denker"]),
        ("contains", "lastName", "ä", ["Alt", "Bär", "Cäsar"]),
        ("startsWith", "lastName", "de", ["Denker"]),
        ("like", "name", "_ä%", ["Bär", "Cäsar"]),
        ("notLike", "name", "_ä%", ["Alt", "Denker"]),
        ("equals", "emailAddress", "d@example.de", ["Denker"]),
    ],
)
async def test_filters_find_what_mariadb_would(
    crm: Caller, kind: str, attribute: str, value: Any, found: list[str]
) -> None:
    assert (
        await names(crm, {"type": kind, "attribute": attribute, "value": value})
        == found
    )


@pytest.mark.parametrize(
    ("kind", "attribute", "found"),
    [
        ("isNull", "betnr", ["Denker"]),
        ("isNotNull", "betnr", ["Alt", "Bär", "Cäsar"]),
        ("isNull", "emailAddress", ["Alt", "Bär", "Cäsar"]),
        ("isFalse", "deleted", ["Alt", "Bär", "Cäsar", "Denker"]),
        ("isLinked", "adressen", []),
    ],
)
async def test_filters_without_a_value(
    crm: Caller, kind: str, attribute: str, found: list[str]
) -> None:
    assert await names(crm, {"type": kind, "attribute": attribute}) == found


async def test_groups_nest(crm: Caller) -> None:
    due = {
        "type": "lessThanOrEquals",
        "attribute": "syncNextRetry",
        "value": "2026-11-23 00:00:00",
    }
    failed = {"type": "equals", "attribute": "syncStatus", "value": "failed"}
    dirty = {"type": "in", "attribute": "syncStatus", "value": ["dirty"]}
    assert await names(
        crm, {"type": "or", "value": [dirty, {"type": "and", "value": [failed, due]}]}
    ) == [
        "Bär",
        "Cäsar",
    ]
    assert await names(crm, dirty, failed) == []


async def test_linked_with_follows_links_in_both_directions(crm: Caller) -> None:
    party = (await crm.good("GET", "CBeteiligte?orderBy=betnr&order=desc"))["list"][0]
    address = await crm.good(
        "POST", "CAdressen", {"name": "Lager", "beteiligteId": party["id"]}
    )
    other = (await crm.good("GET", "CBeteiligte?orderBy=betnr&order=asc"))["list"][0]
    await crm.good("POST", "CAdressen", {"name": "Other", "beteiligteId": other["id"]})
    assert await names(
        crm, {"type": "linkedWith", "attribute": "adressen", "value": [address["id"]]}
    ) == ["Cäsar"]
    where = brackets(
        [{"type": "linkedWith", "attribute": "beteiligte", "value": [party["id"]]}]
    )
    found = await crm.good("GET", "CAdressen?" + "&".join(where))
    assert [row["name"] for row in found["list"]] == ["Lager"]
    assert await crm.good("GET", f"CBeteiligte/{party['id']}/adressen") == found
    assert (await crm.call("GET", f"CBeteiligte/{party['id']}/nothing")).status == 404


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (
            {"type": "equals", "attribute": "color", "value": 1},
            "Not existing attribute 'color' in where.",
        ),
        (
            {"type": "isNull", "attribute": "emailAddressData"},
            "Not existing attribute 'emailAddressData' in where.",
        ),
        (
            {"type": "linkedWith", "attribute": "cars", "value": ["1"]},
            "Not existing relation 'cars' in where.",
        ),
        (
            {"type": "resembles", "attribute": "name", "value": "x"},
            "Unknown where item type 'resembles'.",
        ),
        ({"type": "in", "attribute": "name", "value": "x"}, "Bad where item 'in'."),
        ({"attribute": "name", "value": "x"}, "No 'type' in where item."),
        ({"type": "equals", "value": "x"}, "No 'attribute' in where item."),
    ],
)
async def test_filters_that_make_no_sense_are_400(
    crm: Caller, item: dict[str, Any], reason: str
) -> None:
    answer = await crm.call("GET", "CBeteiligte?" + "&".join(brackets([item])))
    assert (answer.status, answer.reason) == (400, reason)


async def test_rows_hold_the_primary_values_but_not_the_arrays(crm: Caller) -> None:
    row = (await crm.good("GET", "CBeteiligte?maxSize=1"))["list"][0]
    assert row["emailAddress"] == "D@Example.DE"
    assert not {"emailAddressData", "phoneNumberData"} & row.keys()
    assert row["createdByName"] == "sync"


async def test_select_narrows_but_some_attributes_come_along(crm: Caller) -> None:
    rows = (await crm.good("GET", "CBeteiligte?select=betnr,emailAddressData"))["list"]
    assert rows[0].keys() == {"id", "name", "betnr", "createdById", "assignedUserId"}


async def test_order_offset_and_pages(crm: Caller) -> None:
    async def numbers(query: str) -> list[Any]:
        return [
            row["betnr"]
            for row in (await crm.good("GET", f"CBeteiligte?{query}"))["list"]
        ]

    assert await numbers("") == [None, 3, 2, 1]
    assert await numbers("orderBy=betnr") == [None, 1, 2, 3]
    assert await numbers("orderBy=betnr&order=desc&offset=1&maxSize=2") == [2, 1]
    unknown = await crm.call("GET", "CBeteiligte?orderBy=color")
    assert (unknown.status, unknown.reason) == (
        400,
        "Order by non-existing field 'color'.",
    )


async def test_page_is_20_rows_unless_a_size_is_given_and_200_at_most(
    crm: Caller,
) -> None:
    for number in range(201):
        await crm.control("POST", "records/CAdressen?silent=1", {"name": str(number)})
    page = await crm.good("GET", "CAdressen")
    assert (page["total"], len(page["list"])) == (201, 20)
    assert len((await crm.good("GET", "CAdressen?maxSize=200"))["list"]) == 200
    refused = await crm.call("GET", "CAdressen?maxSize=201")
    assert (refused.status, refused.reason) == (
        403,
        "Max size should not exceed 200. Use offset and limit.",
    )


async def test_no_total_says_only_whether_there_is_more(crm: Caller) -> None:
    header = {"X-No-Total": "true"}
    assert (await crm.good("GET", "CBeteiligte?maxSize=3", headers=header))[
        "total"
    ] == -1
    assert (await crm.good("GET", "CBeteiligte?maxSize=4", headers=header))[
        "total"
    ] == -2
