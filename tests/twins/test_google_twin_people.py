"""What people do in the Google twin and no request of the API does; and what is assumed of Google, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_calls import Google, all_day, at_nine, call, serving

MARKS = {"private": {"advoware_frnr": "20001", "sync_id": "abc"}}
#: Mondays at nine: 2, 9, 16 and 23 March.
WEEKLY = ["RRULE:FREQ=WEEKLY;COUNT=4"]

Json = dict[str, Any]


@pytest.fixture(name="google")
async def google_with_one_calendar() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_id(google: Google) -> str:
    return await google.new_calendar()


@pytest.fixture(name="series")
async def weekly_series(google: Google, calendar: str) -> Json:
    body = at_nine(summary="Sprechstunde", recurrence=WEEKLY, extendedProperties=MARKS)
    series: Json = await call(google.events.insert(calendarId=calendar, body=body))
    return series


async def act(google: Google, action: str, **options: Any) -> Json:
    answer: Json = await google.control(
        "POST", "actions", {"action": action, **options}
    )
    return answer


async def instances(
    google: Google, calendar: str, series: Json, **query: Any
) -> list[Json]:
    answer = await call(
        google.events.instances(calendarId=calendar, eventId=series["id"], **query)
    )
    return list(answer["items"])


async def listed(google: Google, calendar: str, **query: Any) -> dict[str, Json]:
    answer = await call(google.events.list(calendarId=calendar, **query))
    return {event["id"]: event for event in answer["items"]}


def days(events: list[Json]) -> list[str]:
    return [
        event["start"].get("dateTime", event["start"].get("date"))[:16]
        for event in events
    ]


# -- this and following -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_split_series_ends_and_its_rest_is_another(
    google: Google, calendar: str, series: Json, keeps: bool
) -> None:
    await google.control("POST", "settings", {"split_keeps_properties": keeps})
    third = (await instances(google, calendar, series))[2]

    rest = await act(
        google,
        "split",
        calendar=calendar,
        event=third["id"],
        changes={"summary": "Sprechstunde neu"},
    )

    whole = await listed(google, calendar)
    assert days(await instances(google, calendar, series)) == [
        "2026-03-02T09:00",
        "2026-03-09T09:00",
    ]
    assert days(await instances(google, calendar, rest)) == [
        "2026-03-16T09:00",
        "2026-03-23T09:00",
    ]
    assert set(whole) == {series["id"], rest["id"]}
    assert rest["id"] == f"{series['id']}_R20260316T080000"
    assert (whole[series["id"]]["summary"], rest["summary"]) == (
        "Sprechstunde",
        "Sprechstunde neu",
    )
    assert "UNTIL=20260316T075959Z" in whole[series["id"]]["recurrence"][0]
    assert rest["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=2"]
    assert rest.get("extendedProperties") == (MARKS if keeps else None)
    assert whole[series["id"]]["extendedProperties"] == MARKS


@pytest.mark.parametrize("reading", ["lost", "kept", "follow"])
async def test_later_exceptions_are_reset_by_a_split_or_belong_to_the_rest(
    google: Google, calendar: str, series: Json, reading: str
) -> None:
    await google.control("POST", "settings", {"exceptions": reading})
    _, second, third, fourth = await instances(google, calendar, series)
    for changed in (second, fourth):
        await google.control(
            "PUT",
            f"calendars/{calendar}/events/{changed['id']}",
            {"summary": "Ausnahme"},
        )

    rest = await act(google, "split", calendar=calendar, event=third["id"])

    whole = await listed(google, calendar)
    exceptions = {
        event_id for event_id, event in whole.items() if event["summary"] == "Ausnahme"
    }
    adopted = fourth["id"].replace(series["id"], rest["id"])
    assert exceptions == (
        {second["id"]} if reading == "lost" else {second["id"], adopted}
    )
    assert set(whole) == {series["id"], rest["id"], *exceptions}
    assert len(await listed(google, calendar, singleEvents=True)) == 4


async def test_the_rest_can_be_split_and_changed_as_any_series(
    google: Google, calendar: str, series: Json
) -> None:
    third = (await instances(google, calendar, series))[2]
    rest = await act(google, "split", calendar=calendar, event=third["id"])
    last = (await instances(google, calendar, rest))[1]

    await google.control("DELETE", f"calendars/{calendar}/events/{last['id']}")
    end = await act(
        google,
        "split",
        calendar=calendar,
        event=(await instances(google, calendar, series))[1]["id"],
    )

    assert days(await instances(google, calendar, rest)) == ["2026-03-16T09:00"]
    assert end["id"] == f"{series['id']}_R20260309T080000"


async def test_splitting_at_the_first_occurrence_changes_the_series(
    google: Google, calendar: str, series: Json
) -> None:
    first = (await instances(google, calendar, series))[0]

    changed = await act(
        google,
        "split",
        calendar=calendar,
        event=first["id"],
        changes={"summary": "Anders"},
    )

    assert (changed["id"], changed["summary"], changed["recurrence"]) == (
        series["id"],
        "Anders",
        WEEKLY,
    )


async def test_all_day_series_are_split_by_days(google: Google, calendar: str) -> None:
    body = all_day(
        "2026-03-02", "2026-03-03", recurrence=["RRULE:FREQ=DAILY;UNTIL=20260305"]
    )
    series = await call(google.events.insert(calendarId=calendar, body=body))

    rest = await act(
        google, "split", calendar=calendar, event=f"{series['id']}_20260304"
    )

    assert days(await instances(google, calendar, series)) == [
        "2026-03-02",
        "2026-03-03",
    ]
    assert days(await instances(google, calendar, rest)) == ["2026-03-04", "2026-03-05"]


# -- exceptions when the series changes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "times"),
    [
        (
            "lost",
            [
                "2026-03-02T14:00",
                "2026-03-09T14:00",
                "2026-03-16T14:00",
                "2026-03-23T14:00",
            ],
        ),
        (
            "kept",
            [
                "2026-03-02T14:00",
                "2026-03-09T14:00",
                "2026-03-16T14:00",
                "2026-03-17T11:00",
                "2026-03-23T14:00",
            ],
        ),
        ("follow", ["2026-03-02T14:00", "2026-03-17T11:00", "2026-03-23T14:00"]),
    ],
)
async def test_what_becomes_of_exceptions_when_the_series_moves(
    google: Google, calendar: str, series: Json, reading: str, times: list[str]
) -> None:
    await google.control("POST", "settings", {"exceptions": reading})
    _, second, third, _ = await instances(google, calendar, series)
    await google.control("DELETE", f"calendars/{calendar}/events/{second['id']}")
    tuesday = {
        "start": {"dateTime": "2026-03-17T11:00:00+01:00"},
        "end": {"dateTime": "2026-03-17T12:00:00+01:00"},
    }
    await google.control("PUT", f"calendars/{calendar}/events/{third['id']}", tuesday)
    moved = {
        "start": {"dateTime": "2026-03-02T14:00:00+01:00"},
        "end": {"dateTime": "2026-03-02T15:00:00+01:00"},
    }

    await call(
        google.events.patch(calendarId=calendar, eventId=series["id"], body=moved)
    )

    shown = await listed(google, calendar, singleEvents=True, orderBy="startTime")
    assert sorted(days(list(shown.values()))) == times


@pytest.mark.parametrize(
    ("reading", "title"), [("own", "Sprechstunde"), ("inherited", "Advoware")]
)
async def test_whether_a_moved_occurrence_gets_a_new_title_of_its_series(
    google: Google, calendar: str, series: Json, reading: str, title: str
) -> None:
    await google.control("POST", "settings", {"exception_texts": reading})
    _, second, third, _ = await instances(google, calendar, series)
    later = {
        "start": {"dateTime": "2026-03-09T11:00:00+01:00"},
        "end": {"dateTime": "2026-03-09T12:00:00+01:00"},
    }
    await google.control("PUT", f"calendars/{calendar}/events/{second['id']}", later)
    await google.control(
        "PUT", f"calendars/{calendar}/events/{third['id']}", {"summary": "Nur heute"}
    )
    token = (await call(google.events.list(calendarId=calendar)))["nextSyncToken"]

    await call(
        google.events.patch(
            calendarId=calendar, eventId=series["id"], body={"summary": "Advoware"}
        )
    )

    shown = await listed(google, calendar)
    changes = await listed(google, calendar, syncToken=token)
    assert shown[second["id"]]["summary"] == title
    assert shown[second["id"]]["start"]["dateTime"] == "2026-03-09T11:00:00+01:00"
    assert shown[third["id"]]["summary"] == "Nur heute"
    assert (second["id"] in changes) == (reading == "inherited")


async def test_exceptions_come_back_with_their_series(
    google: Google, calendar: str, series: Json
) -> None:
    _, second, third, _ = await instances(google, calendar, series)
    await google.control("DELETE", f"calendars/{calendar}/events/{second['id']}")
    await google.control(
        "PUT", f"calendars/{calendar}/events/{third['id']}", {"summary": "Nur heute"}
    )
    await google.control("DELETE", f"calendars/{calendar}/events/{series['id']}")
    assert await listed(google, calendar) == {}

    await act(google, "restore", calendar=calendar, event=series["id"])

    shown = await listed(google, calendar)
    assert shown[second["id"]]["status"] == "cancelled"
    assert shown[third["id"]]["summary"] == "Nur heute"


async def test_a_series_is_as_private_as_its_most_private_occurrence(
    google: Google, calendar: str, series: Json
) -> None:
    second = (await instances(google, calendar, series))[1]
    path = f"calendars/{calendar}/events"

    await google.control("PUT", f"{path}/{second['id']}", {"visibility": "private"})
    assert {
        event["visibility"] for event in await instances(google, calendar, series)
    } == {"private"}
    await google.control("PUT", f"{path}/{second['id']}", {"visibility": "default"})

    assert {
        event["visibility"] for event in await instances(google, calendar, series)
    } == {"private"}


# -- copies, moves, the bin -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_copy_is_an_event_of_its_own(
    google: Google, calendar: str, series: Json, keeps: bool
) -> None:
    await google.control("POST", "settings", {"copy_keeps_properties": keeps})
    other = await google.new_calendar("AW-AI")

    copy = await act(
        google,
        "copy",
        calendar=calendar,
        event=series["id"],
        to=other,
        changes={"colorId": "5"},
    )

    assert (copy["id"] != series["id"], copy["iCalUID"] != series["iCalUID"]) == (
        True,
        True,
    )
    assert (copy["summary"], copy["recurrence"], copy["colorId"]) == (
        "Sprechstunde",
        WEEKLY,
        "5",
    )
    assert copy.get("extendedProperties") == (MARKS if keeps else None)
    assert set(await listed(google, other)) == {copy["id"]}


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_moved_event_leaves_nothing_but_its_id(
    google: Google, calendar: str, keeps: bool
) -> None:
    await google.control("POST", "settings", {"move_keeps_properties": keeps})
    body = at_nine(summary="Gericht", extendedProperties=MARKS)
    event = await call(google.events.insert(calendarId=calendar, body=body))
    other = await google.new_calendar("Privat")

    moved = await act(google, "move", calendar=calendar, event=event["id"], to=other)
    left = await call(google.events.get(calendarId=calendar, eventId=event["id"]))

    assert (moved["id"], moved["iCalUID"], moved["summary"]) == (
        event["id"],
        event["iCalUID"],
        "Gericht",
    )
    assert moved.get("extendedProperties") == (MARKS if keeps else None)
    assert left == {
        "kind": "calendar#event",
        "etag": left["etag"],
        "id": event["id"],
        "status": "cancelled",
    }


async def test_a_series_moves_with_its_exceptions(
    google: Google, calendar: str, series: Json
) -> None:
    second = (await instances(google, calendar, series))[1]
    await google.control("DELETE", f"calendars/{calendar}/events/{second['id']}")
    other = await google.new_calendar("Privat")

    await act(google, "move", calendar=calendar, event=series["id"], to=other)

    assert days(await instances(google, other, series)) == [
        "2026-03-02T09:00",
        "2026-03-16T09:00",
        "2026-03-23T09:00",
    ]


@pytest.mark.parametrize("keeps", [True, False])
async def test_an_event_out_of_the_bin_is_what_it_was(
    google: Google, calendar: str, keeps: bool
) -> None:
    await google.control("POST", "settings", {"restore_keeps_properties": keeps})
    body = at_nine(
        summary="Gericht",
        description="<b>Saal 3</b>",
        colorId="4",
        extendedProperties=MARKS,
    )
    event = await call(google.events.insert(calendarId=calendar, body=body))
    await call(google.events.delete(calendarId=calendar, eventId=event["id"]))
    in_bin = await call(google.events.get(calendarId=calendar, eventId=event["id"]))

    back = await act(google, "restore", calendar=calendar, event=event["id"])

    names = ("summary", "description", "colorId", "start", "end", "iCalUID")
    assert [in_bin[name] for name in names] == [event[name] for name in names]
    assert [back[name] for name in names] == [event[name] for name in names]
    assert back["status"] == "confirmed"
    assert back.get("extendedProperties") == (MARKS if keeps else None)


@pytest.mark.parametrize("method", ["patch", "update"])
async def test_a_revived_event_keeps_what_people_set_unless_it_is_replaced(
    google: Google, calendar: str, method: str
) -> None:
    event = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(extendedProperties=MARKS)
        )
    )
    path = f"calendars/{calendar}/events/{event['id']}"
    set_by_people = {
        "colorId": "4",
        "reminders": {
            "useDefault": False,
            "overrides": [{"method": "popup", "minutes": 10}],
        },
        "attendees": [{"email": "mandant@example.com", "responseStatus": "accepted"}],
    }
    await google.control("PUT", path, set_by_people)
    await google.control("DELETE", path)
    body = {"status": "confirmed"} if method == "patch" else at_nine(status="confirmed")

    revived = await call(
        getattr(google.events, method)(
            calendarId=calendar, eventId=event["id"], body=body
        )
    )

    kept = {name: revived.get(name) for name in set_by_people}
    lost = {"colorId": None, "reminders": {"useDefault": True}, "attendees": None}
    assert kept == (set_by_people if method == "patch" else lost)


# -- files and invitations --------------------------------------------------------------------------------------------


async def test_an_imported_event_has_an_id_that_the_api_refuses(
    google: Google, calendar: str
) -> None:
    imported = await act(
        google,
        "import",
        calendar=calendar,
        file=at_nine(iCalUID="7F3A@kanzlei.example"),
    )

    again = await act(
        google,
        "import",
        calendar=calendar,
        file=at_nine("2026-03-03", iCalUID="7F3A@kanzlei.example"),
    )

    assert imported["id"].startswith("_")
    assert set(imported["id"][1:]) <= set("0123456789abcdefghijklmnopqrstuv")
    assert again["id"] == imported["id"]
    assert days([again]) == ["2026-03-03T09:00"]


async def test_a_file_with_our_own_event_changes_or_revives_it(
    google: Google, calendar: str
) -> None:
    event = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(extendedProperties=MARKS)
        )
    )
    await call(google.events.delete(calendarId=calendar, eventId=event["id"]))

    file = at_nine(summary="Aus der Datei", iCalUID=event["iCalUID"])
    back = await act(google, "import", calendar=calendar, file=file)
    elsewhere = await act(
        google, "import", calendar=await google.new_calendar("AW-AI"), file=file
    )

    assert (back["id"], back["status"], back["summary"]) == (
        event["id"],
        "confirmed",
        "Aus der Datei",
    )
    assert "extendedProperties" not in back
    assert elsewhere["id"] == event["id"]


async def test_an_invitation_is_another_persons_event(
    google: Google, calendar: str
) -> None:
    invitation = at_nine(summary="Güteverhandlung", iCalUID="040000008200E00@outlook")

    options = {
        "calendar": calendar,
        "organizer": "gericht@example.org",
        "invitation": invitation,
    }
    invited = await act(google, "invite", **options)
    twice = await act(google, "invite", **options)

    assert invited["organizer"] == {"email": "gericht@example.org"}
    assert [guest["responseStatus"] for guest in invited["attendees"]] == [
        "needsAction"
    ]
    assert (invited["id"][0], twice["id"]) == ("_", invited["id"])


async def test_actions_that_make_no_sense_are_refused(
    google: Google, calendar: str, series: Json
) -> None:
    for options in (
        {"action": "split", "calendar": calendar, "event": series["id"]},
        {"action": "restore", "calendar": calendar, "event": series["id"]},
        {"action": "copy", "calendar": "nowhere", "event": series["id"]},
        {"action": "fold", "calendar": calendar},
    ):
        with pytest.raises(AssertionError):
            await act(google, **options)
    with pytest.raises(AssertionError):
        await google.control("POST", "settings", {"exceptions": "perhaps"})


# -- lists that lie ---------------------------------------------------------------------------------------------------


async def test_a_rule_hides_the_same_events_whatever_comes_before_them(
    google: Google, calendar: str
) -> None:
    made = [
        await call(google.events.insert(calendarId=calendar, body=at_nine()))
        for _ in range(12)
    ]
    rule = {
        "path": "/events$",
        "probability": 0.5,
        "answer": [{"field": "items[]", "how": "missing"}],
    }
    await google.control("POST", "faults", rule)

    before = set(await listed(google, calendar))
    await google.control("DELETE", f"calendars/{calendar}/events/{made[0]['id']}")
    after = set(await listed(google, calendar))

    assert 0 < len(before) < 12
    assert after == before - {made[0]["id"]}


async def test_items_can_be_junk_and_have_fields_that_no_one_knows(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    added = {"field": "items[].start.neu", "how": "add", "to": {"a": 1}}
    await google.control(
        "POST", "faults", {"path": "/events$", "answer": [added], "name": "neu"}
    )
    with_more = await listed(google, calendar)
    await google.control("DELETE", "faults")
    await google.control(
        "POST",
        "faults",
        {
            "path": "/events$",
            "answer": [{"field": "items[]", "how": "value", "to": 17}],
        },
    )

    junk = await call(google.events.list(calendarId=calendar))

    assert with_more[event["id"]]["start"] == {**event["start"], "neu": {"a": 1}}
    assert junk["items"] == [17]
