"""How something reaches the bell of a user of the EspoCRM twin, and every way in which that is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from espocrm_calls import ADMIN_KEY, Caller, espocrm

LAWYER = "61455a02140c22c5a"


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        for user_id, user_name, active in (
            (LAWYER, "r.niessen", True),
            ("61455a02140c22c5b", "gone", False),
        ):
            user = {
                "id": user_id,
                "userName": user_name,
                "name": "R. Nießen",
                "type": "regular",
                "isActive": active,
            }
            await caller.control("POST", "records/User", user)
        yield caller


async def bells(crm: Caller) -> list[tuple[str, str, str]]:
    """Type, user and subject of each notification."""
    records = (await crm.control("GET", "state"))["records"]["Notification"]
    return [
        (record["type"], record["userId"], record["relatedType"]) for record in records
    ]


async def add_user(crm: Caller, **permissions: Any) -> str:
    """An API user who may write tasks; answers his key."""
    rights = {
        "Task": ["create", "read", "edit"],
        "User": ["read"],
        "CBeteiligte": ["read"],
    }
    await crm.control(
        "POST",
        "api-users",
        {"api_key": "k", "user_name": "robot", "rights": rights, **permissions},
    )
    return "k"


@pytest.mark.parametrize("key", ["espocrm-demo-key", ADMIN_KEY])
async def test_notifications_cannot_be_created_through_the_api(
    crm: Caller, key: str
) -> None:
    answer = await crm.call(
        "POST",
        "Notification",
        {"type": "Message", "message": "x", "userId": LAWYER},
        key=key,
    )
    assert (answer.status, answer.reason) == (403, "No create access.")


async def test_a_task_rings_the_bell_of_its_assignee(crm: Caller) -> None:
    party = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    body = {
        "name": "Anrufen",
        "assignedUserId": LAWYER,
        "parentType": "CBeteiligte",
        "parentId": party["id"],
    }
    task = await crm.good("POST", "Task", body)
    assert (task["status"], task["priority"], task["assignedUserName"]) == (
        "Not Started",
        "Normal",
        "R. Nießen",
    )
    assert task["parentName"] == "Grün"
    assert await bells(crm) == [("Note", LAWYER, "Task")]
    assert (await crm.good("GET", f"CBeteiligte/{party['id']}/tasks"))["total"] == 1


async def test_a_post_rings_the_bell_of_active_users_it_mentions(crm: Caller) -> None:
    party = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    body = {"type": "Post", "parentType": "CBeteiligte", "parentId": party["id"]}
    note = await crm.good(
        "POST",
        "Note",
        {**body, "post": "Bitte prüfen, @r.niessen und @gone und @unknown"},
    )
    assert note["data"]["mentions"].keys() == {"@r.niessen"}
    assert await bells(crm) == [("MentionInPost", LAWYER, "Note")]


async def test_a_mention_without_permission_rings_nothing(crm: Caller) -> None:
    key = await add_user(crm)
    note = await crm.good("POST", "Note", {"post": "@r.niessen"}, key=key)
    assert note["data"] is None
    assert await bells(crm) == []


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        (
            {"assignedUserId": None},
            400,
            "Field validation failure; entityType: Task, field: assignedUser, type: required.",
        ),
        (
            {"name": ""},
            400,
            "Field validation failure; entityType: Task, field: name, type: required.",
        ),
        (
            {"status": "Later"},
            400,
            "Field validation failure; entityType: Task, field: status, type: valid.",
        ),
        ({"assignedUserId": "unknown"}, 403, "Can't relate with non-existing record."),
        (
            {"parentType": "CBeteiligte", "parentId": "unknown"},
            403,
            "Can't relate with non-existing record.",
        ),
        (
            {"parentType": "Letter", "parentId": "1"},
            400,
            "Field validation failure; entityType: Task, field: parent, type: valid.",
        ),
    ],
)
async def test_tasks_that_are_refused(
    crm: Caller, change: dict[str, Any], status: int, reason: str
) -> None:
    answer = await crm.call(
        "POST", "Task", {"name": "Anrufen", "assignedUserId": LAWYER, **change}
    )
    assert (answer.status, answer.reason) == (status, reason)
    assert await bells(crm) == []


async def test_custom_entities_are_no_parents_until_the_metadata_says_so(
    crm: Caller,
) -> None:
    await crm.control("POST", "settings", {"task_parents": ["Account"]})
    party = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    body = {
        "name": "x",
        "assignedUserId": LAWYER,
        "parentType": "CBeteiligte",
        "parentId": party["id"],
    }
    answer = await crm.call("POST", "Task", body)
    assert (answer.status, answer.reason) == (
        400,
        "Field validation failure; entityType: Task, field: parent, type: valid.",
    )


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ({}, "Assignment failure: assigned user or team not allowed."),
        (
            {"assignment_permission": "all"},
            "No foreign record access for link operation (Task:assignedUser).",
        ),
        (
            {
                "assignment_permission": "all",
                "user_permission": "all",
                "rights": {"Task": ["create"]},
            },
            "No foreign record access for link operation (Task:assignedUser).",
        ),
        ({"rights": {"User": ["read"]}}, "No create access."),
    ],
)
async def test_a_role_that_lacks_something_cannot_assign_tasks(
    crm: Caller, permissions: dict[str, Any], reason: str
) -> None:
    key = await add_user(crm, **permissions)
    answer = await crm.call(
        "POST", "Task", {"name": "x", "assignedUserId": LAWYER}, key=key
    )
    assert (answer.status, answer.reason) == (403, reason)


async def test_users_can_be_found_by_name_when_the_role_shows_them(crm: Caller) -> None:
    query = "User?where[0][type]=equals&where[0][attribute]=userName&where[0][value]=r.niessen"
    rows = (await crm.good("GET", query))["list"]
    assert [(row["id"], row["isActive"], row["type"]) for row in rows] == [
        (LAWYER, True, "regular")
    ]
    key = await add_user(crm)
    assert (await crm.good("GET", query, key=key))["total"] == 0
    assert (await crm.call("GET", f"User/{LAWYER}", key=key)).status == 403
