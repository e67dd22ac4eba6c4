"""The Google twin serves gcsa, a Google Calendar library that knows nothing of this project."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from gcsa.acl import AccessControlRule, ACLRole, ACLScopeType
from gcsa.calendar import Calendar
from gcsa.event import Event
from gcsa.google_calendar import GoogleCalendar
from gcsa.recurrence import WEEKLY, Recurrence
from gcsa.reminders import PopupReminder
from google_calls import BERLIN, Google, serving
from googleapiclient.errors import HttpError

ZONE = ZoneInfo(BERLIN)
NINE = datetime(2026, 3, 16, 9, tzinfo=ZONE)
MARCH = {
    "time_min": datetime(2026, 3, 1, tzinfo=ZONE),
    "time_max": datetime(2026, 5, 1, tzinfo=ZONE),
}


@pytest.fixture(name="google")
async def running_google() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="gcsa")
async def gcsa_on_a_calendar_of_its_own(google: Google) -> GoogleCalendar:
    # The library has no setting for the endpoint, so it is given the client that has one.
    library = GoogleCalendar(credentials=google.service._http.credentials)
    library.service = google.service
    made = await asyncio.to_thread(
        library.add_calendar, Calendar("AW-SB", timezone=BERLIN)
    )
    library.default_calendar = made.calendar_id
    return library


async def events(gcsa: GoogleCalendar, **query: Any) -> list[Event]:
    return await asyncio.to_thread(
        lambda: list(gcsa.get_events(timezone=BERLIN, **{**MARCH, **query}))
    )


async def test_gcsa_sees_the_calendar_it_made(gcsa: GoogleCalendar) -> None:
    entries = await asyncio.to_thread(lambda: list(gcsa.get_calendar_list()))

    secondary = [entry for entry in entries if not entry.primary]
    assert [
        (entry.summary, entry.timezone, entry.access_role) for entry in secondary
    ] == [("AW-SB", BERLIN, "owner")]


async def test_gcsa_writes_reads_changes_and_deletes_an_event(
    gcsa: GoogleCalendar,
) -> None:
    made = await asyncio.to_thread(
        gcsa.add_event,
        Event(
            "Verhandlung",
            start=NINE,
            end=NINE + timedelta(hours=2),
            timezone=BERLIN,
            location="Landgericht Köln",
            reminders=[PopupReminder(minutes_before_start=45)],
        ),
    )
    read = await asyncio.to_thread(gcsa.get_event, made.event_id)
    read.summary = "Verhandlung verlegt"
    read.start, read.end = NINE + timedelta(days=1), NINE + timedelta(days=1, hours=1)
    changed = await asyncio.to_thread(gcsa.update_event, read)

    assert (made.start, made.end, made.location) == (
        NINE,
        NINE + timedelta(hours=2),
        "Landgericht Köln",
    )
    assert [reminder.minutes_before_start for reminder in made.reminders] == [45]
    assert (changed.summary, changed.start, changed.location) == (
        "Verhandlung verlegt",
        read.start,
        made.location,
    )
    assert [event.event_id for event in await events(gcsa)] == [made.event_id]

    await asyncio.to_thread(gcsa.delete_event, made.event_id)
    assert await events(gcsa) == []
    with pytest.raises(HttpError, match="Resource has been deleted"):
        await asyncio.to_thread(gcsa.delete_event, made.event_id)


async def test_gcsa_works_with_all_day_events(gcsa: GoogleCalendar) -> None:
    await asyncio.to_thread(
        gcsa.add_event, Event("Urlaub", start=date(2026, 3, 28), end=date(2026, 3, 31))
    )

    assert [(event.start, event.end) for event in await events(gcsa)] == [
        (date(2026, 3, 28), date(2026, 3, 31))
    ]


async def test_gcsa_expands_a_series(gcsa: GoogleCalendar) -> None:
    rule = Recurrence.rule(freq=WEEKLY, count=4)
    series = await asyncio.to_thread(
        gcsa.add_event,
        Event(
            "Jour fixe",
            start=NINE,
            end=NINE + timedelta(hours=1),
            timezone=BERLIN,
            recurrence=rule,
        ),
    )

    instances = await asyncio.to_thread(
        lambda: list(gcsa.get_instances(series, timezone=BERLIN, **MARCH))
    )
    listed = await events(gcsa, single_events=True, order_by="startTime")

    assert [event.start for event in instances] == [
        NINE + timedelta(weeks=week) for week in range(4)
    ]
    assert [event.event_id for event in listed] == [
        event.event_id for event in instances
    ]
    assert {event.recurring_event_id for event in instances} == {series.event_id}


async def test_gcsa_follows_the_pages(google: Google, gcsa: GoogleCalendar) -> None:
    await google.control("POST", "page-size", {"n": 2})
    for day in range(5):
        start = NINE + timedelta(days=day)
        await asyncio.to_thread(
            gcsa.add_event, Event(f"{day}", start=start, end=start + timedelta(hours=1))
        )

    assert {event.summary for event in await events(gcsa)} == {"0", "1", "2", "3", "4"}


async def test_gcsa_shares_a_calendar(gcsa: GoogleCalendar) -> None:
    rule = AccessControlRule(
        role=ACLRole.READER,
        scope_type=ACLScopeType.USER,
        scope_value="kanzlei@example.org",
    )
    await asyncio.to_thread(gcsa.add_acl_rule, rule, calendar_id=gcsa.default_calendar)

    rules = await asyncio.to_thread(
        lambda: list(gcsa.get_acl_rules(calendar_id=gcsa.default_calendar))
    )

    assert ("kanzlei@example.org", "reader") in {
        (rule.scope_value, rule.role) for rule in rules
    }
