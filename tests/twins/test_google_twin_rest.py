"""The Google twin's less travelled roads: moving, partial answers, event types, usage limits, lists of rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_calls import (
    BERLIN,
    CALENDAR_SCOPE,
    Google,
    all_day,
    at_nine,
    calendar_service,
    call,
    refused,
    serving,
)

from sandbox.control import running
from sandbox.google.app import DEFAULT_PERSON, GoogleTwin


@pytest.fixture(name="google")
async def running_google() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_of_an_employee(google: Google) -> str:
    return await google.new_calendar()


async def insert(google: Google, calendar: str, body: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = await call(
        google.events.insert(calendarId=calendar, body=body)
    )
    return event


async def test_a_moved_event_is_cancelled_where_it_was(
    google: Google, calendar: str
) -> None:
    elsewhere = await google.new_calendar("AW-AI")
    event = await insert(google, calendar, at_nine())

    await call(
        google.events.move(
            calendarId=calendar, eventId=event["id"], destination=elsewhere
        )
    )

    left = await call(google.events.get(calendarId=calendar, eventId=event["id"]))
    there = await call(google.events.get(calendarId=elsewhere, eventId=event["id"]))
    assert (left["status"], there["status"]) == ("cancelled", "confirmed")
    assert there["organizer"]["email"] == elsewhere
    refusal = await refused(
        google.events.move(
            calendarId=calendar, eventId=event["id"], destination=elsewhere
        )
    )
    assert (refusal.status, refusal.reason) == (410, "deleted")


async def test_an_event_moves_only_to_a_calendar_that_may_be_written(
    google: Google, calendar: str
) -> None:
    event = await insert(google, calendar, at_nine())

    refusal = await refused(
        google.events.move(
            calendarId=calendar, eventId=event["id"], destination="foreign"
        )
    )

    assert refusal.status == 404
    assert (await call(google.events.get(calendarId=calendar, eventId=event["id"])))[
        "status"
    ] == "confirmed"


async def test_one_instance_of_a_series_can_not_move(
    google: Google, calendar: str
) -> None:
    elsewhere = await google.new_calendar("AW-AI")
    series = await insert(
        google, calendar, at_nine(recurrence=["RRULE:FREQ=DAILY;COUNT=3"])
    )
    instance = f"{series['id']}_20260303T080000Z"

    refusal = await refused(
        google.events.move(calendarId=calendar, eventId=instance, destination=elsewhere)
    )

    assert (refusal.status, refusal.reason) == (400, "cannotChangeOrganizerOfInstance")


async def test_an_answer_has_only_the_fields_asked_for(
    google: Google, calendar: str
) -> None:
    event = await insert(google, calendar, at_nine(location="Saal 2"))
    wanted = "items(id,start/dateTime),nextSyncToken"

    page = await call(google.events.list(calendarId=calendar, fields=wanted))

    assert page["items"] == [
        {"id": event["id"], "start": {"dateTime": "2026-03-02T09:00:00+01:00"}}
    ]
    assert page.keys() == {"items", "nextSyncToken"}
    assert (
        await refused(google.events.list(calendarId=calendar, fields="items(id"))
    ).status == 400


async def test_only_people_make_special_events_and_types_select_them(
    google: Google, calendar: str
) -> None:
    ordinary = await insert(google, calendar, at_nine())
    absence = at_nine("2026-03-03", eventType="outOfOffice")
    refusal = await refused(google.events.insert(calendarId=calendar, body=absence))
    special = await google.control("POST", f"calendars/{calendar}/events", absence)

    async def listed(*types: str) -> list[str]:
        page = await call(
            google.events.list(calendarId=calendar, eventTypes=list(types))
        )
        return [event["id"] for event in page["items"]]

    assert refusal.status == 400
    assert await listed() == [ordinary["id"], special["id"]]
    assert await listed("default") == [ordinary["id"]]
    assert await listed("default", "outOfOffice") == [ordinary["id"], special["id"]]


async def test_a_calendar_can_hold_an_all_day_event_that_ends_where_it_starts(
    google: Google, calendar: str
) -> None:
    """Google's API refuses to make them here, but calendars hold them, so readers must cope."""
    empty = all_day("2026-03-02", "2026-03-02")

    refusal = await refused(google.events.insert(calendarId=calendar, body=empty))
    made = await google.control("POST", f"calendars/{calendar}/events", empty)

    assert (refusal.status, refusal.reason) == (400, "timeRangeEmpty")
    event = await call(google.events.get(calendarId=calendar, eventId=made["id"]))
    assert event["start"] == event["end"] == {"date": "2026-03-02"}


async def test_a_person_is_the_creator_of_what_they_enter(
    google: Google, calendar: str
) -> None:
    invited = [{"email": "mandant@example.de"}]

    entered = await google.control(
        "POST", f"calendars/{calendar}/events", at_nine(attendees=invited)
    )
    patched = await call(
        google.events.patch(
            calendarId=calendar, eventId=entered["id"], body={"summary": "Neu"}
        )
    )

    assert entered["creator"] == {"email": DEFAULT_PERSON}
    assert (
        patched["attendees"][0]["email"] == "mandant@example.de"
    )  # an unchanged guest list is no invitation


async def test_too_many_new_calendars_exceed_the_usage_limit_for_a_while(
    google: Google,
) -> None:
    await google.control("POST", "quota", {"new_calendars": 2})
    await google.new_calendar("AW-1")
    await google.new_calendar("AW-2")

    refusal = await refused(google.calendars.insert(body={"summary": "AW-3"}))
    google.clock.advance(hours=2)
    await google.new_calendar("AW-3")

    assert (refusal.status, refusal.reason, refusal.domain) == (
        403,
        "quotaExceeded",
        "usageLimits",
    )


async def test_rules_are_listed_incrementally_with_removed_ones(
    google: Google, calendar: str
) -> None:
    reader = {"role": "reader", "scope": {"type": "user", "value": "ra@example.de"}}
    rule = await call(google.acl.insert(calendarId=calendar, body=reader))
    full = await call(google.acl.list(calendarId=calendar))
    await call(google.acl.delete(calendarId=calendar, ruleId=rule["id"]))

    changes = await call(
        google.acl.list(calendarId=calendar, syncToken=full["nextSyncToken"])
    )

    assert [(changed["id"], changed["role"]) for changed in changes["items"]] == [
        ("user:ra@example.de", "none")
    ]
    assert len((await call(google.acl.list(calendarId=calendar)))["items"]) == 1


async def test_a_calendar_that_goes_is_reported_to_its_subscribers(
    google: Google, calendar: str
) -> None:
    known = (await call(google.calendar_list.list()))["nextSyncToken"]
    await call(google.calendars.delete(calendarId=calendar))

    changes = await call(google.calendar_list.list(syncToken=known))

    assert [(entry["id"], entry["deleted"]) for entry in changes["items"]] == [
        (calendar, True)
    ]


@pytest.mark.parametrize(
    ("role", "write", "share"),
    [("reader", 403, 403), ("writer", 200, 403), ("owner", 200, 200)],
)
async def test_a_role_allows_what_its_name_says(
    google: Google, calendar: str, role: str, write: int, share: int
) -> None:
    other = calendar_service(
        google.url, await google.control("POST", "service-accounts", {"name": "other"})
    )
    other_mail = f"other@{google.email.split('@')[1]}"
    scope = {"type": "user", "value": other_mail}
    await call(
        google.acl.insert(calendarId=calendar, body={"role": role, "scope": scope})
    )
    guest = {"role": "reader", "scope": {"type": "user", "value": "gast@example.de"}}

    async def status(request: Any, expected: int) -> int:
        if expected != 200:
            return (await refused(request)).status
        await call(request)
        return 200

    assert (
        await status(other.events().insert(calendarId=calendar, body=at_nine()), write)
        == write
    )
    assert (
        await status(other.acl().insert(calendarId=calendar, body=guest), share)
        == share
    )


async def test_free_busy_readers_see_only_that_time_is_taken(
    google: Google, calendar: str
) -> None:
    other = calendar_service(
        google.url, await google.control("POST", "service-accounts", {"name": "other"})
    )
    scope = {"type": "user", "value": f"other@{google.email.split('@')[1]}"}
    await call(
        google.acl.insert(
            calendarId=calendar, body={"role": "freeBusyReader", "scope": scope}
        )
    )
    await insert(google, calendar, at_nine(description="Akte 12/26", location="Saal 2"))

    (shown,) = (await call(other.events().list(calendarId=calendar)))["items"]

    assert shown["start"]["dateTime"] == "2026-03-02T09:00:00+01:00"
    assert not shown.keys() & {
        "summary",
        "description",
        "location",
        "extendedProperties",
    }


async def test_the_sample_data_has_a_shared_calendar_that_is_not_on_the_list() -> None:
    twin = GoogleTwin(seed=7)
    async with running(twin) as url:
        service = calendar_service(url, twin.service_account(), scope=CALENDAR_SCOPE)
        office = next(
            entry
            for entry in twin.state()["calendars"]
            if entry["summary"] == "Kanzlei"
        )

        listed = await call(service.calendarList().list())
        events = await call(service.events().list(calendarId=office["id"]))

    assert office["id"] not in [entry["id"] for entry in listed["items"]]
    assert (events["accessRole"], events["timeZone"]) == ("reader", BERLIN)
    assert "Anwaltsrunde" in [event.get("summary") for event in events["items"]]
    assert "Zahnarzt" not in [
        event.get("summary") for event in events["items"]
    ]  # private
