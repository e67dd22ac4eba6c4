"""Series in the Google twin: rules, instances, exceptions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_calls import BERLIN, Google, all_day, at_nine, call, refused, serving

WEEKLY = ["RRULE:FREQ=WEEKLY;COUNT=4"]


@pytest.fixture(name="google")
async def google_with_one_calendar() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_id(google: Google) -> str:
    return await google.new_calendar()


@pytest.fixture(name="series")
async def weekly_over_the_change_of_clocks(
    google: Google, calendar: str
) -> dict[str, Any]:
    """Mondays at nine: 16 and 23 March, after the change of clocks 30 March and 6 April."""
    created: dict[str, Any] = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine("2026-03-16", recurrence=WEEKLY)
        )
    )
    return created


async def instances(
    google: Google, calendar: str, series: dict[str, Any], **query: Any
) -> list[dict[str, Any]]:
    answer = await call(
        google.events.instances(calendarId=calendar, eventId=series["id"], **query)
    )
    return list(answer["items"])


def starts(events: list[dict[str, Any]]) -> list[str]:
    return [
        event["start"].get("dateTime") or event["start"]["date"] for event in events
    ]


async def items(google: Google, calendar: str, **query: Any) -> list[dict[str, Any]]:
    answer = await call(google.events.list(calendarId=calendar, **query))
    return list(answer["items"])


# -- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "RRULE:FREQ=DAILY;INTERVAL=2;UNTIL=20260401T215959Z",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,WE",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=2",
        "RRULE:FREQ=MONTHLY;BYDAY=-1MO",
        "RRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=2",
    ],
)
async def test_google_accepts_rules_of_the_standard(
    google: Google, calendar: str, rule: str
) -> None:
    event = await call(
        google.events.insert(calendarId=calendar, body=at_nine(recurrence=[rule]))
    )

    assert event["recurrence"] == [rule]


@pytest.mark.parametrize(
    "lines",
    [
        ["FREQ=DAILY"],
        ["RRULE:INTERVAL=2"],
        ["RRULE:FREQ=FORTNIGHTLY"],
        ["RRULE:FREQ=DAILY;COUNT=3;UNTIL=20260401T215959Z"],
        ["RRULE:FREQ=DAILY;COUNT=0"],
        ["RRULE:FREQ=DAILY;INTERVAL=x"],
        ["RRULE:FREQ=WEEKLY;BYDAY=XX"],
        ["RRULE:FREQ=DAILY;UNTIL=20260401"],
        ["RRULE:FREQ=DAILY;UNTIL=20260401T215959"],
        ["RRULE:FREQ=DAILY;FOO=1"],
        ["RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"],
        ["DTSTART:20260302T090000Z", "RRULE:FREQ=DAILY"],
        ["EXDATE:20260302T080000Z"],
        ["RRULE:FREQ=DAILY;UNTIL=20200101T000000Z"],
    ],
    ids=lambda lines: lines[0],
)
async def test_google_refuses_rules_that_make_no_series(
    google: Google, calendar: str, lines: list[str]
) -> None:
    refusal = await refused(
        google.events.insert(calendarId=calendar, body=at_nine(recurrence=lines))
    )

    assert (refusal.status, refusal.reason) == (400, "invalid")


async def test_a_timed_series_needs_a_time_zone(google: Google, calendar: str) -> None:
    body = {
        "start": {"dateTime": "2026-03-02T09:00:00+01:00"},
        "end": {"dateTime": "2026-03-02T10:00:00+01:00"},
        "recurrence": WEEKLY,
    }

    refusal = await refused(google.events.insert(calendarId=calendar, body=body))

    assert (refusal.status, refusal.reason) == (400, "required")
    assert refusal.message == "Missing time zone definition for start time."


# -- instances --------------------------------------------------------------------------------------------------------


async def test_a_series_stays_at_nine_when_the_clocks_change(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    found = await instances(google, calendar, series)

    assert starts(found) == [
        "2026-03-16T09:00:00+01:00",
        "2026-03-23T09:00:00+01:00",
        "2026-03-30T09:00:00+02:00",
        "2026-04-06T09:00:00+02:00",
    ]
    assert found[2]["id"] == f"{series['id']}_20260330T070000Z"
    assert found[2]["recurringEventId"] == series["id"]
    assert found[2]["originalStartTime"] == {
        "dateTime": "2026-03-30T09:00:00+02:00",
        "timeZone": BERLIN,
    }
    assert {event["iCalUID"] for event in found} == {series["iCalUID"]}
    assert all("recurrence" not in event for event in found)


async def test_lists_have_either_the_series_or_its_instances(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    whole = await items(google, calendar)
    expanded = await items(
        google, calendar, singleEvents=True, timeMin="2026-03-20T00:00:00Z"
    )

    assert [event["id"] for event in whole] == [series["id"]]
    assert len(expanded) == 3
    assert series["id"] not in {event["id"] for event in expanded}


async def test_a_series_is_in_the_window_if_one_of_its_instances_is(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    during = await items(google, calendar, timeMin="2026-04-06T00:00:00Z")
    after = await items(google, calendar, timeMin="2026-04-07T00:00:00Z")

    assert [event["id"] for event in during] == [series["id"]]
    assert after == []


async def test_all_day_series_have_dates(google: Google, calendar: str) -> None:
    body = all_day(
        "2026-03-28", "2026-03-29", recurrence=["RRULE:FREQ=DAILY;UNTIL=20260330"]
    )
    series = await call(google.events.insert(calendarId=calendar, body=body))

    found = await instances(google, calendar, series)

    assert starts(found) == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert found[0]["id"] == f"{series['id']}_20260328"


async def test_excluded_and_additional_dates(google: Google, calendar: str) -> None:
    lines = [*WEEKLY, f"EXDATE;TZID={BERLIN}:20260323T090000", "RDATE:20260401T070000Z"]
    series = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine("2026-03-16", recurrence=lines)
        )
    )

    found = await instances(google, calendar, series)

    assert [start[:10] for start in starts(found)] == [
        "2026-03-16",
        "2026-03-30",
        "2026-04-01",
        "2026-04-06",
    ]


async def test_endless_series_end_at_the_window(google: Google, calendar: str) -> None:
    await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(recurrence=["RRULE:FREQ=DAILY"])
        )
    )

    found = await items(
        google,
        calendar,
        singleEvents=True,
        orderBy="startTime",
        timeMax="2026-03-12T00:00:00Z",
    )

    assert [start[:10] for start in starts(found)] == [
        f"2026-03-{day:02}" for day in range(2, 12)
    ]


async def test_an_old_endless_series_reaches_the_present(
    google: Google, calendar: str
) -> None:
    daily = ["RRULE:FREQ=DAILY"]
    series = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine("2020-01-01", recurrence=daily)
        )
    )
    since = {"timeMin": "2026-03-02T00:00:00+01:00"}

    assert [event["id"] for event in await items(google, calendar, **since)] == [
        series["id"]
    ]
    assert (
        starts(await items(google, calendar, singleEvents=True, **since))[0]
        == "2026-03-02T09:00:00+01:00"
    )
    assert (
        starts(await instances(google, calendar, series, **since))[0]
        == "2026-03-02T09:00:00+01:00"
    )


async def test_events_without_rule_have_no_instances(
    google: Google, calendar: str
) -> None:
    single = await call(google.events.insert(calendarId=calendar, body=at_nine()))

    refusal = await refused(
        google.events.instances(calendarId=calendar, eventId=single["id"])
    )

    assert refusal.status == 400


# -- exceptions -------------------------------------------------------------------------------------------------------


async def test_a_moved_instance_keeps_its_slot(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    second = (await instances(google, calendar, series))[1]
    token = (await call(google.events.list(calendarId=calendar)))["nextSyncToken"]
    new_day = at_nine("2026-03-24")

    moved = await call(
        google.events.patch(
            calendarId=calendar,
            eventId=second["id"],
            body={"start": new_day["start"], "end": new_day["end"]},
        )
    )
    found = await instances(google, calendar, series)
    whole = await items(google, calendar)
    changes = await items(google, calendar, syncToken=token)

    assert moved["id"] == second["id"]
    assert moved["originalStartTime"]["dateTime"] == "2026-03-23T09:00:00+01:00"
    assert [start[:10] for start in starts(found)] == [
        "2026-03-16",
        "2026-03-24",
        "2026-03-30",
        "2026-04-06",
    ]
    assert {event["id"] for event in whole} == {series["id"], second["id"]}
    assert [event["id"] for event in changes] == [second["id"]]


async def test_a_cancelled_instance_stays_as_a_hole_in_the_series(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    second = (await instances(google, calendar, series))[1]

    await call(google.events.delete(calendarId=calendar, eventId=second["id"]))
    again = await refused(
        google.events.delete(calendarId=calendar, eventId=second["id"])
    )
    hole = next(
        event for event in await items(google, calendar) if event["id"] == second["id"]
    )

    assert again.status == 410
    assert len(await instances(google, calendar, series)) == 3
    assert len(await instances(google, calendar, series, showDeleted=True)) == 4
    assert len(await items(google, calendar, singleEvents=True)) == 3
    assert hole["status"] == "cancelled"
    assert hole["recurringEventId"] == series["id"]
    assert hole["originalStartTime"]["dateTime"] == "2026-03-23T09:00:00+01:00"
    assert "summary" not in hole


async def test_an_instance_can_not_repeat(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    second = (await instances(google, calendar, series))[1]

    refusal = await refused(
        google.events.patch(
            calendarId=calendar, eventId=second["id"], body={"recurrence": WEEKLY}
        )
    )

    assert refusal.status == 400


async def test_a_day_outside_the_series_is_no_instance(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    refusal = await refused(
        google.events.get(
            calendarId=calendar, eventId=f"{series['id']}_20260317T080000Z"
        )
    )

    assert refusal.status == 404


async def test_a_deleted_series_takes_its_instances_along(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    second = (await instances(google, calendar, series))[1]
    await call(
        google.events.patch(
            calendarId=calendar, eventId=second["id"], body={"summary": "Anders"}
        )
    )
    expanded = await call(google.events.list(calendarId=calendar, singleEvents=True))

    await call(google.events.delete(calendarId=calendar, eventId=series["id"]))
    changes = await items(
        google, calendar, syncToken=expanded["nextSyncToken"], singleEvents=True
    )

    assert await items(google, calendar) == []
    assert await items(google, calendar, singleEvents=True) == []
    assert {event["id"] for event in changes} == {
        event["id"] for event in expanded["items"]
    }
    assert {event["status"] for event in changes} == {"cancelled"}


async def test_a_shortened_series_reports_the_instances_it_lost(
    google: Google, calendar: str, series: dict[str, Any]
) -> None:
    expanded = await call(
        google.events.list(calendarId=calendar, singleEvents=True, maxResults=2500)
    )
    last = (await instances(google, calendar, series))[-1]

    await call(
        google.events.patch(
            calendarId=calendar,
            eventId=series["id"],
            body={"recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"]},
        )
    )
    changes = await items(
        google, calendar, syncToken=expanded["nextSyncToken"], singleEvents=True
    )

    assert len(await instances(google, calendar, series)) == 3
    assert {event["id"]: event["status"] for event in changes}[
        last["id"]
    ] == "cancelled"
