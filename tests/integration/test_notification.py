"""People are notified once, in EspoCRM, of what only they can do; and never at the price of a sync."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from office import BETEILIGTE_ID, LAWYER_ID, Office, office, strike

from config import Settings
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.notification_utils import NotificationManager
from services.vmh_sync.espocrm_writes import EspoWrites
from services.vmh_sync.result import Details, FieldLine, Problem

__all__ = ["office"]

CLERK_ID = "6b0473a32660aa002"
PROBLEM = Problem(
    "address_field_update_required",
    "CBeteiligte",
    BETEILIGTE_ID,
    "address_field_update_required:5001",
    Details(
        betnr="1001",
        adresse="Lange Straße 5, 30159 Hannover",
        fields=(
            FieldLine("land", old="Deutschland", new="Schweiz"),
            FieldLine("gueltigBis", old=None, new="2030-12-31"),
            FieldLine("standardAnschrift", old=False, new=True),
        ),
        since="2026-11-23T17:00:00+00:00",
    ),
)


@pytest.fixture
def manager(office: Office, resources: Resources) -> NotificationManager:
    return NotificationManager(EspoCRMAPI(resources=resources), resources=resources)


async def test_a_problem_becomes_a_task_with_instructions_and_a_note(
    office: Office, manager: NotificationManager
) -> None:
    task_id = await manager.notify(PROBLEM)
    (task,) = office.records("Task")
    assert task["id"] == task_id
    assert (
        task["name"]
        == "Adresse in Advoware von Hand ändern: Lange Straße 5, 30159 Hannover"
    )
    assert (task["parentType"], task["parentId"], task["assignedUserId"]) == (
        "CBeteiligte",
        BETEILIGTE_ID,
        LAWYER_ID,
    )
    assert task["status"] == "Not Started"
    for line in (
        "1. In Advoware den Beteiligten Nr. 1001 öffnen.",
        "2. Dort unter „Adressen“ die Adresse „Lange Straße 5, 30159 Hannover“ auswählen.",
        "- Land: alt „Deutschland“, neu „Schweiz“",
        "- Gültig bis: alt (leer), neu „31.12.2030“",
        "- Standardanschrift: alt nein, neu ja",
        "Festgestellt: 23.11.2026 18:00 Uhr",
    ):
        assert line in task["description"].splitlines()
    (note,) = office.records("Note")
    assert (
        note["parentId"],
        "Adresse in Advoware von Hand ändern" in note["post"],
    ) == (BETEILIGTE_ID, True)
    assert [record["userId"] for record in office.records("Notification")] == [
        LAWYER_ID
    ]


async def test_the_same_problem_is_reported_once_and_then_costs_no_call(
    office: Office, manager: NotificationManager
) -> None:
    task_id = await manager.notify(PROBLEM)
    office.forget_calls()
    assert await manager.notify(PROBLEM) == task_id
    assert office.requests() == []
    await office.edit("Task", str(task_id), status="Completed")
    assert await manager.notify(PROBLEM) == task_id
    assert len(office.records("Task")) == 1


async def test_what_an_earlier_version_has_stored_is_no_new_occurrence(
    office: Office, manager: NotificationManager, resources: Resources
) -> None:
    task_id = await manager.notify(PROBLEM)
    await office.edit("Task", str(task_id), status="Completed")
    details = {**PROBLEM.details.as_json(), "konto": None}
    text = json.dumps([PROBLEM.action_type, details], sort_keys=True)
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
    pool = await resources.database()
    await pool.execute(
        "UPDATE notification SET details = $1, fingerprint = $2", details, fingerprint
    )
    assert await manager.notify(PROBLEM) == task_id
    assert len(office.records("Task")) == 1


async def test_a_new_occurrence_brings_an_open_task_up_to_date(
    office: Office, manager: NotificationManager
) -> None:
    task_id = await manager.notify(PROBLEM)
    changed = PROBLEM.with_details(adresse="Am Wall 1, 28195 Bremen")
    assert await manager.notify(changed) == task_id
    (task,) = office.records("Task")
    assert "Am Wall 1, 28195 Bremen" in task["name"]
    assert "Am Wall 1, 28195 Bremen" in task["description"]
    assert len(office.records("Note")) == 1


@pytest.mark.parametrize("closed_by", ["Completed", "Canceled", "deleted"])
async def test_a_new_occurrence_after_the_task_was_closed_is_a_new_task(
    office: Office, manager: NotificationManager, closed_by: str
) -> None:
    first = str(await manager.notify(PROBLEM))
    if closed_by == "deleted":
        await office.delete("Task", first)
    else:
        await office.edit("Task", first, status=closed_by)
    again = PROBLEM.with_details(since="2026-11-24T17:00:00+00:00")
    second = await manager.notify(again)
    assert second not in (None, first)
    assert await manager.notify(again) == second


async def test_the_task_belongs_to_whoever_looks_after_the_beteiligter_of_an_address(
    office: Office, manager: NotificationManager
) -> None:
    address = await office.enter(
        "CAdressen", beteiligteId=BETEILIGTE_ID, adresseCity="Celle"
    )
    await manager.notify(
        replace(PROBLEM, entity_type="CAdressen", entity_id=address["id"])
    )
    (task,) = office.records("Task")
    assert (task["parentType"], task["assignedUserId"]) == ("CAdressen", LAWYER_ID)


async def test_a_refused_parent_is_replaced_by_a_link_in_the_text(
    office: Office, manager: NotificationManager
) -> None:
    await office.change_settings(task_parents=["Account"])
    await manager.notify(PROBLEM)
    (task,) = office.records("Task")
    assert task["parentId"] is None
    assert (
        f"{office.espocrm.url}/#CBeteiligte/view/{BETEILIGTE_ID}" in task["description"]
    )


async def test_a_record_that_is_gone_leads_to_a_task_for_the_substitute(
    office: Office, make_settings: Any
) -> None:
    await office.enter(
        "User",
        id=CLERK_ID,
        userName="weiß",
        name="Bo Weiß",
        type="regular",
        isActive=True,
    )
    async with Resources(
        make_settings(VMH_TASK_ASSIGNED_USER_ID=CLERK_ID), clock=office.espocrm.now
    ) as resources:
        manager = NotificationManager(
            EspoCRMAPI(resources=resources), resources=resources
        )
        await manager.notify(replace(PROBLEM, entity_id="gone"))
    (task,) = office.records("Task")
    assert (task["assignedUserId"], task["parentId"]) == (CLERK_ID, None)
    assert "/#CBeteiligte/view/gone" in task["description"]


async def test_an_assignment_that_is_not_allowed_goes_to_the_substitute(
    office: Office, make_settings: Any, clock: Any
) -> None:
    user = {
        "api_key": "own-tasks-only",
        "user_name": "own",
        "rights": {"CBeteiligte": ["read"], "Task": ["create", "read"]},
    }
    async with office.session.post(
        f"{office.espocrm.url}/__sandbox__/api-users", json=user
    ) as answer:
        own_id = (await answer.json())["id"]
    settings: Settings = make_settings(
        ESPOCRM_MARVIN_API_KEY="own-tasks-only", VMH_TASK_ASSIGNED_USER_ID=own_id
    )
    async with Resources(settings, clock=clock) as resources:
        manager = NotificationManager(
            EspoCRMAPI(resources=resources), resources=resources
        )
        assert await manager.notify(PROBLEM) is not None
    (task,) = office.records("Task")
    assert task["assignedUserId"] == own_id


async def test_with_no_one_to_notify_the_sync_goes_on_and_it_is_tried_again(
    office: Office, make_settings: Any, clock: Any
) -> None:
    await office.edit("CBeteiligte", BETEILIGTE_ID, assignedUserId=None)
    async with Resources(
        make_settings(VMH_TASK_ASSIGNED_USER_ID=""), clock=clock
    ) as resources:
        manager = NotificationManager(
            EspoCRMAPI(resources=resources), resources=resources
        )
        assert await manager.notify(PROBLEM) is None
        await office.edit("CBeteiligte", BETEILIGTE_ID, assignedUserId=LAWYER_ID)
        clock.advance(minutes=1)
        assert await manager.notify(PROBLEM) is not None


async def test_a_failing_notification_does_not_raise_and_is_made_up_for_later(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    strike(office.espocrm, "POST", "/Task$", status=503, count=None)
    assert await manager.notify(PROBLEM) is None
    office.espocrm.faults.clear()
    assert await manager.retry_unfinished() == 0  # the request might still be under way
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 1
    assert len(office.records("Task")) == 1
    assert await manager.retry_unfinished() == 0


async def test_a_task_whose_answer_was_lost_is_found_again(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    strike(office.espocrm, "POST", "/Task$", when="after", reset=True)
    assert await manager.notify(PROBLEM) is None
    (task,) = office.records("Task")
    clock.advance(minutes=1)
    assert await manager.notify(PROBLEM) == task["id"]
    assert len(office.records("Task")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_closed_task_is_not_mistaken_for_the_lost_one_of_a_new_occurrence(
    office: Office, manager: NotificationManager, clock: Any, when: str
) -> None:
    first = str(await manager.notify(PROBLEM))
    await office.edit("Task", first, status="Completed")
    again = PROBLEM.with_details(since="2026-11-24T17:00:00+00:00")
    strike(office.espocrm, "POST", "/Task$", when=when, reset=True)
    assert await manager.notify(again) is None
    clock.advance(minutes=1)
    assert await manager.notify(again) not in (None, first)
    assert len(office.records("Task")) == 2


async def test_a_task_of_a_lost_answer_is_brought_up_to_date_by_a_new_occurrence(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    strike(office.espocrm, "POST", "/Task$", when="after", reset=True)
    await manager.notify(PROBLEM)
    clock.advance(minutes=1)
    await manager.notify(PROBLEM.with_details(adresse="Am Wall 1, 28195 Bremen"))
    (task,) = office.records("Task")
    assert "Am Wall 1, 28195 Bremen" in task["name"]


async def test_a_refused_note_does_not_cost_the_task(
    office: Office, manager: NotificationManager
) -> None:
    strike(office.espocrm, "POST", "/Note$", status=403)
    task_id = await manager.notify(PROBLEM)
    assert [task["id"] for task in office.records("Task")] == [task_id]


async def test_one_record_and_action_type_is_one_problem(
    office: Office, manager: NotificationManager
) -> None:
    arguments = (
        "CBeteiligte",
        BETEILIGTE_ID,
        "missing_in_advoware",
        {"betnr": "1001", "name": "Max Müller"},
    )
    first = await manager.notify_manual_action_required(*arguments)  # type: ignore[arg-type]
    second = await manager.notify_manual_action_required(*arguments)  # type: ignore[arg-type]
    assert first == second is not None
    assert [task["name"] for task in office.records("Task")] == [
        "In Advoware nicht mehr vorhanden: Max Müller, Nr. 1001"
    ]


# -- problems that are over -----------------------------------------------------------------------------------------

WHY = "Die Adresse steht jetzt richtig in Advoware."


def state(office: Office) -> list[tuple[str, bool]]:
    """Each Task's status, and whether it says that it is over."""
    return [
        (task["status"], f"Erledigt: {WHY}" in task["description"])
        for task in office.records("Task")
    ]


async def test_the_task_of_a_problem_that_is_over_is_cancelled_with_the_reason(
    office: Office, manager: NotificationManager
) -> None:
    await manager.notify(PROBLEM)
    await manager.withdraw([PROBLEM.key, "unknown"], WHY)
    assert state(office) == [("Canceled", True)]
    office.forget_calls()
    await manager.withdraw([PROBLEM.key], WHY)
    assert await manager.retry_unfinished() == 0
    assert office.requests() == []


@pytest.mark.parametrize("closed_by", ["Completed", "Canceled", "deleted"])
async def test_a_task_that_a_person_has_closed_is_left_alone(
    office: Office, manager: NotificationManager, closed_by: str
) -> None:
    task_id = str(await manager.notify(PROBLEM))
    if closed_by == "deleted":
        await office.delete("Task", task_id)
    else:
        await office.edit("Task", task_id, status=closed_by)
    office.forget_calls()
    await manager.withdraw([PROBLEM.key], WHY)
    assert office.write_requests() == []


@pytest.mark.parametrize("closed_by", ["us", "Completed", "deleted"])
async def test_a_problem_that_comes_again_after_it_was_over_is_a_new_task(
    office: Office, manager: NotificationManager, closed_by: str
) -> None:
    first = str(await manager.notify(PROBLEM))
    if closed_by == "deleted":
        await office.delete("Task", first)
    elif closed_by != "us":
        await office.edit("Task", first, status=closed_by)
    await manager.withdraw([PROBLEM.key], WHY)
    second = await manager.notify(PROBLEM)  # the very same as before
    assert second not in (None, first)
    assert await manager.notify(PROBLEM) == second


async def test_while_espocrm_is_away_the_end_of_a_problem_is_remembered(
    office: Office, manager: NotificationManager
) -> None:
    await manager.notify(PROBLEM)
    strike(office.espocrm, "GET", "/Task/", status=503, count=None)
    await manager.withdraw([PROBLEM.key], WHY)
    assert state(office) == [("Not Started", False)]
    office.espocrm.faults.clear()
    await manager.retry_unfinished()
    assert state(office) == [("Canceled", True)]


async def test_a_problem_that_comes_again_before_its_task_was_cancelled_keeps_it(
    office: Office, manager: NotificationManager
) -> None:
    first = await manager.notify(PROBLEM)
    strike(office.espocrm, "GET", "/Task/", status=503, count=None)
    await manager.withdraw([PROBLEM.key], WHY)
    office.espocrm.faults.clear()
    assert await manager.notify(PROBLEM.with_details(adresse="Am Wall 1")) == first
    await manager.retry_unfinished()
    assert state(office) == [("Not Started", False)]
    assert "Am Wall 1" in office.records("Task")[0]["name"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_problem_that_is_over_before_it_was_reported_is_never_reported(
    office: Office, manager: NotificationManager, clock: Any, when: str
) -> None:
    strike(office.espocrm, "POST", "/Task$", when=when, reset=True)
    assert await manager.notify(PROBLEM) is None
    await manager.withdraw([PROBLEM.key], WHY)
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 0
    assert state(office) == ([("Canceled", True)] if when == "after" else [])


async def test_a_sync_that_knows_what_stands_ends_the_rest_of_its_own_kinds(
    office: Office, manager: NotificationManager
) -> None:
    other_id = "6b0473a32660ab999"
    problems = [
        replace(PROBLEM, key="address_a:1"),
        replace(PROBLEM, key="address_b:2"),
        replace(PROBLEM, key="bank:3"),
        replace(PROBLEM, key="address_a:4", entity_id=other_id),
    ]
    for problem in problems:
        await manager.notify(problem)
    await manager.settle(
        "CBeteiligte", [BETEILIGTE_ID], ["address_"], ["address_a:1"], WHY
    )
    statuses = [task["status"] for task in office.records("Task")]
    assert statuses == ["Not Started", "Canceled", "Not Started", "Not Started"]


async def test_a_problem_whose_record_is_gone_is_not_reported_any_more(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    address = await office.enter(
        "CAdressen", beteiligteId=BETEILIGTE_ID, adresseCity="Celle"
    )
    strike(office.espocrm, "POST", "/Task$", status=503)
    assert (
        await manager.notify(
            replace(PROBLEM, entity_type="CAdressen", entity_id=address["id"])
        )
        is None
    )
    await office.delete("CAdressen", address["id"])
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 0
    assert office.records("Task") == []


async def test_a_request_that_was_given_up_is_not_repeated_while_espocrm_may_work_on_it(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    strike(office.espocrm, "POST", "/Task$", status=503)
    assert await manager.notify(PROBLEM) is None
    timeout = office.resources.settings.espocrm.api_timeout_seconds
    clock.advance(seconds=timeout + 9)
    assert await manager.notify(PROBLEM) is None
    assert office.records("Task") == []
    clock.advance(seconds=2)
    assert await manager.notify(PROBLEM) is not None


@pytest.mark.parametrize("reason", ["conflict", "value_replaced", "kom_reverted"])
async def test_what_gave_way_is_reported_although_its_record_is_gone(
    office: Office, manager: NotificationManager, clock: Any, reason: str
) -> None:
    address = await office.enter(
        "CAdressen", beteiligteId=BETEILIGTE_ID, adresseCity="Celle"
    )
    lost = FieldLine("ort", "Hannover", "Celle")
    problem = Problem(
        "general_manual_action",
        "CAdressen",
        address["id"],
        f"{reason}:{address['id']}",
        Details(reason, "1001", fields=(lost,)),
    )
    strike(office.espocrm, "POST", "/Task$", status=503)
    assert await manager.notify(problem) is None
    await office.delete("CAdressen", address["id"])
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 1
    (task,) = office.records("Task")
    assert "Hannover" in task["description"]


# -- many at once ---------------------------------------------------------------------------------------------------


def deletions(count: int) -> list[Problem]:
    return [
        Problem(
            "general_manual_action",
            "CBeteiligte",
            f"6b0473a32660ac{number:03}",
            f"deleted:CBeteiligte:6b0473a32660ac{number:03}",
            Details("deleted", str(2000 + number)),
        )
        for number in range(count)
    ]


async def test_many_of_one_kind_are_one_task_with_a_list(
    office: Office, manager: NotificationManager
) -> None:
    for number, problem in enumerate(deletions(5)):
        gone = {
            "id": problem.entity_id,
            "assignedUserId": LAWYER_ID,
            "name": f"Person {number}",
        }
        await manager.remember_responsible("CBeteiligte", gone)
    await manager.notify_many([*deletions(5), PROBLEM])
    listed, single = office.records("Task")
    assert listed["name"] == "5 Beteiligte wurden in EspoCRM gelöscht"
    assert [
        f"- Person {number}, Nr. {2000 + number}" in listed["description"]
        for number in range(5)
    ] == [True] * 5
    assert (listed["assignedUserId"], listed["parentId"]) == (LAWYER_ID, None)
    assert single["name"].startswith("Adresse in Advoware")
    office.forget_calls()
    await manager.notify_many(deletions(5))
    for problem in deletions(5):
        assert await manager.notify(problem) == listed["id"]
    assert office.requests() == []


async def test_one_alone_is_no_list(
    office: Office, manager: NotificationManager
) -> None:
    await manager.notify_many(deletions(1))
    assert [task["name"] for task in office.records("Task")] == [
        "Beteiligter Nr. 2000 wurde in EspoCRM gelöscht"
    ]


async def test_what_comes_in_one_by_one_waits_for_the_list_of_the_cron(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    for problem in deletions(6):
        await manager.notify(problem)
        clock.advance(seconds=1)
    assert len(office.records("Task")) == 1
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 5
    assert [task["name"] for task in office.records("Task")] == [
        "Beteiligter Nr. 2000 wurde in EspoCRM gelöscht",
        "5 Beteiligte wurden in EspoCRM gelöscht",
    ]
    assert await manager.retry_unfinished() == 0


async def test_a_list_is_for_one_person(
    office: Office, manager: NotificationManager
) -> None:
    for number, problem in enumerate(deletions(4)):
        gone = {
            "id": problem.entity_id,
            "assignedUserId": LAWYER_ID if number < 2 else None,
        }
        await manager.remember_responsible("CBeteiligte", gone)
    await manager.notify_many(deletions(4))
    assert [task["name"] for task in office.records("Task")] == [
        "2 Beteiligte wurden in EspoCRM gelöscht"
    ] * 2
    assert len({task["assignedUserId"] for task in office.records("Task")}) == 2


@pytest.mark.parametrize("fault", [{"status": 503}, {"when": "after", "reset": True}])
async def test_a_list_whose_task_failed_is_reported_later_once(
    office: Office, manager: NotificationManager, clock: Any, fault: dict[str, Any]
) -> None:
    strike(office.espocrm, "POST", "/Task$", **fault)
    await manager.notify_many(deletions(3))
    for problem in deletions(3):
        assert await manager.notify(problem) is None
    clock.advance(minutes=1)
    await manager.retry_unfinished()
    await manager.retry_unfinished()
    (task,) = office.records("Task")
    assert await manager.notify(deletions(3)[1]) == task["id"]


async def test_a_list_is_withdrawn_when_nothing_of_it_stands(
    office: Office, manager: NotificationManager
) -> None:
    await manager.notify_many(deletions(3))
    keys = [problem.key for problem in deletions(3)]
    await manager.withdraw(keys[:2], WHY)
    assert state(office) == [("Not Started", False)]
    await manager.withdraw(keys, WHY)
    assert state(office) == [("Canceled", True)]


async def test_whoever_leaves_a_list_in_one_run_is_off_it_with_the_others(
    office: Office, manager: NotificationManager, resources: Resources
) -> None:
    await manager.notify_many(deletions(4))
    writes = EspoWrites(EspoCRMAPI(resources=resources))
    collecting = NotificationManager(
        EspoCRMAPI(resources=resources), resources=resources, writes=writes
    )
    for problem in deletions(4)[:2]:
        await collecting.withdraw([problem.key], WHY)
    await writes.flush()
    assert listed(office) == ["2002", "2003"]
    office.forget_calls()
    await manager.retry_unfinished()
    assert office.requests() == [], "nothing is left to do"


async def test_whoever_leaves_a_list_is_off_it_although_the_run_was_killed(
    office: Office, manager: NotificationManager, resources: Resources
) -> None:
    await manager.notify_many(deletions(3))
    writes = EspoWrites(EspoCRMAPI(resources=resources))
    collecting = NotificationManager(
        EspoCRMAPI(resources=resources), resources=resources, writes=writes
    )
    await collecting.withdraw([deletions(3)[0].key], WHY)
    writes.forget()
    await manager.retry_unfinished()
    assert listed(office) == ["2001", "2002"]


@pytest.mark.parametrize("leaving", [1, 3])
@pytest.mark.parametrize("fault", [{"status": 503}, {"when": "after", "reset": True}])
async def test_whoever_leaves_a_list_before_it_is_reported_is_not_notified(
    office: Office,
    manager: NotificationManager,
    clock: Any,
    fault: dict[str, Any],
    leaving: int,
) -> None:
    strike(office.espocrm, "POST", "/Task$", **fault)
    await manager.notify_many(deletions(3))
    await manager.withdraw([problem.key for problem in deletions(3)[:leaving]], WHY)
    for _ in range(3):
        clock.advance(minutes=1)
        await manager.retry_unfinished()
    tasks = [task for task in office.records("Task") if task["status"] != "Canceled"]
    assert len(tasks) == (0 if leaving == 3 else 1)
    if tasks:
        assert listed(office) == ["2001", "2002"]


async def test_of_two_records_with_one_number_that_were_deleted_one_stays_listed(
    office: Office, manager: NotificationManager
) -> None:
    first, second, third = deletions(3)
    twice = [first, replace(second, details=first.details), third]
    await manager.notify_many(twice)
    await manager.withdraw([first.key], WHY)
    assert "2000" in listed(office)


def listed(office: Office) -> list[str]:
    """The numbers on the open Task with a list."""
    (task,) = [task for task in office.records("Task") if task["status"] != "Canceled"]
    return re.findall(r"Nr\. (\d{4})", task["description"])


async def test_a_new_occurrence_of_a_listed_problem_has_a_task_of_its_own(
    office: Office, manager: NotificationManager
) -> None:
    await manager.notify_many(deletions(3))
    again = deletions(3)[0]
    assert await manager.notify(again.with_details(since="2026-11-24T17:00:00+00:00"))
    assert [task["name"] for task in office.records("Task")] == [
        "3 Beteiligte wurden in EspoCRM gelöscht",
        "Beteiligter Nr. 2000 wurde in EspoCRM gelöscht",
    ]


# -- who is notified ---------------------------------------------------------------------------------------------------


async def test_the_task_carries_assignee_and_teams_and_the_name_of_a_record_that_is_gone(
    office: Office, manager: NotificationManager
) -> None:
    (problem,) = deletions(1)
    record = {
        "id": problem.entity_id,
        "assignedUserId": LAWYER_ID,
        "teamsIds": ["team1", "team2"],
        "name": "Bo Weiß",
    }
    await manager.remember_responsible("CBeteiligte", record)
    await manager.notify(problem)
    (task,) = office.records("Task")
    assert (task["assignedUserId"], task["teamsIds"]) == (LAWYER_ID, ["team1", "team2"])
    assert task["name"] == "Beteiligter Nr. 2000 wurde in EspoCRM gelöscht: Bo Weiß"


async def test_the_teams_of_the_beteiligter_count_for_his_address(
    office: Office, manager: NotificationManager
) -> None:
    address = await office.enter(
        "CAdressen", beteiligteId=BETEILIGTE_ID, adresseCity="Celle"
    )
    owner = {**office.espo, "teamsIds": ["team1"]}
    strike(
        office.espocrm, "GET", f"/CBeteiligte/{BETEILIGTE_ID}", status=200, body=owner
    )
    await manager.notify(
        replace(PROBLEM, entity_type="CAdressen", entity_id=address["id"])
    )
    (task,) = office.records("Task")
    assert (task["teamsIds"], "Name: Max Müller" in task["description"]) == (
        ["team1"],
        True,
    )
    await office.delete("CAdressen", address["id"])
    gone = replace(
        PROBLEM, entity_type="CAdressen", entity_id=address["id"], key="again"
    )
    await manager.notify(gone)
    assert office.records("Task")[1]["teamsIds"] == ["team1"]


async def test_names_and_values_do_not_reach_the_log(
    office: Office, manager: NotificationManager, caplog: pytest.LogCaptureFixture
) -> None:
    strike(
        office.espocrm,
        "POST",
        "/Task$",
        status=400,
        body={"m": "Lange Straße"},
        count=None,
    )
    await manager.notify(PROBLEM)
    await manager.notify_many([*deletions(2), PROBLEM])
    await manager.withdraw([PROBLEM.key], WHY)
    assert "notification.failed" in caplog.text
    for word in ("Müller", "Lange Straße", "Schweiz"):
        assert word not in caplog.text


async def test_what_postgresql_cannot_hold_is_reported_without_it(
    office: Office, manager: NotificationManager
) -> None:
    await manager.remember_responsible(
        "CBeteiligte", {**office.espo, "name": "Max\x00 \ud83d Müller"}
    )
    odd = replace(
        PROBLEM,
        details=Details(
            adresse="Lange\x00 Straße\ud83d",
            fields=(FieldLine("ort", old="a\x00", new=None),),
        ),
    )
    assert await manager.notify(odd) is not None
    assert "Lange Straße" in office.records("Task")[0]["name"]


async def test_a_record_that_may_not_be_read_does_not_keep_the_other_problems_waiting(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    hidden = replace(
        PROBLEM, entity_type="CAdressen", entity_id="6b0473a32660ad001", key="hidden"
    )
    strike(office.espocrm, "POST", "/Task$", status=503, count=2)
    assert [await manager.notify(problem) for problem in (hidden, PROBLEM)] == [
        None,
        None,
    ]
    strike(office.espocrm, "GET", "/CAdressen/", status=403, count=None)
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 1
    assert len(office.records("Task")) == 1


async def test_a_problem_reported_for_another_record_than_before_is_reported_again_for_that(
    office: Office, manager: NotificationManager, clock: Any
) -> None:
    address = await office.enter(
        "CAdressen", beteiligteId=BETEILIGTE_ID, adresseCity="Celle"
    )
    task_id = str(
        await manager.notify(
            replace(PROBLEM, entity_type="CAdressen", entity_id=address["id"])
        )
    )
    await office.edit("Task", task_id, status="Completed")
    await office.delete("CAdressen", address["id"])
    strike(office.espocrm, "POST", "/Task$", status=503)
    changed = PROBLEM.with_details(since="2026-11-24T17:00:00+00:00")
    assert await manager.notify(changed) is None
    clock.advance(minutes=1)
    assert await manager.retry_unfinished() == 1
    assert office.records("Task")[1]["parentId"] == BETEILIGTE_ID
