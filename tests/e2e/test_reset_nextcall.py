"""POST /crm-bbl-vmh-reset-nextcall: one field on many records, with an answer for each."""

from __future__ import annotations

from typing import Any

import pytest
from outside import Outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

PATH = "/crm-bbl-vmh-reset-nextcall"
ENTITY = "CVmhErstgespraech"


async def record(system: Outside, **attributes: Any) -> str:
    created = await system.twin(
        "espocrm",
        "POST",
        f"/__sandbox__/records/{ENTITY}",
        json={"name": "Max", **attributes},
    )
    return str(created["id"])


async def test_each_record_gets_the_date_and_each_answer_says_what_happened(
    shared: Outside,
) -> None:
    first, second = (
        await record(shared),
        await record(shared, nextCall="2026-01-01 08:00:00"),
    )

    status, body = await shared.call(
        "POST",
        PATH,
        json={
            "ids": [first, "unknown", second, first],
            "next_call": "2026-12-24 09:30:00",
        },
    )

    assert (status, body["entity_type"]) == (200, ENTITY)
    assert [(item["id"], item["status"]) for item in body["results"]] == [
        (first, "updated"),
        ("unknown", "not_found"),
        (second, "updated"),
    ]
    for entity_id in (first, second):
        stored = await shared.twin("espocrm", "GET", f"/api/v1/{ENTITY}/{entity_id}")
        assert stored["nextCall"] == "2026-12-24 09:30:00"


async def test_null_empties_the_date(shared: Outside) -> None:
    entity_id = await record(shared, nextCall="2026-01-01 08:00:00")

    status, _ = await shared.call(
        "POST",
        PATH,
        json={"entity_type": ENTITY, "ids": [entity_id], "next_call": None},
    )

    assert status == 200
    assert (await shared.twin("espocrm", "GET", f"/api/v1/{ENTITY}/{entity_id}"))[
        "nextCall"
    ] is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"next_call": None}, "ids"),
        ({"ids": [], "next_call": None}, "ids"),
        ({"ids": ["../x"], "next_call": None}, "ids.0"),
        ({"ids": "a", "next_call": None}, "ids"),
        ({"ids": ["a"]}, "next_call"),
        ({"ids": ["a"], "next_call": "24.12.2026"}, "next_call"),
        ({"ids": ["a"], "next_call": "2026-02-30 00:00:00"}, "next_call"),
        ({"ids": ["a"], "next_call": None, "entity_type": "../User"}, "entity_type"),
        ({"ids": ["a"], "next_call": None, "extra": 1}, "extra"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_an_unusable_body_is_400_and_names_the_field(
    shared: Outside, body: Any, named: str
) -> None:
    status, answer = await shared.call("POST", PATH, json=body)

    assert status == 400
    assert any(detail.startswith(named) for detail in answer["details"]), answer
