"""Single events in the Google twin: written by the unmodified Google client, refused as Google refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_calls import BERLIN, Google, all_day, at_nine, call, refused, serving, timed


@pytest.fixture(name="google")
async def google_with_one_calendar() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_id(google: Google) -> str:
    return await google.new_calendar()


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


# -- what an event looks like -----------------------------------------------------------------------------------------


async def test_a_new_event_gets_the_fields_that_google_adds(
    google: Google, calendar: str
) -> None:
    event = await call(
        google.events.insert(calendarId=calendar, body=at_nine(location="Saal 7"))
    )

    assert event["kind"] == "calendar#event"
    assert event["status"] == "confirmed"
    assert event["eventType"] == "default"
    assert event["sequence"] == 0
    assert event["reminders"] == {"useDefault": True}
    assert event["iCalUID"] == f"{event['id']}@google.com"
    assert event["etag"].startswith('"')
    assert event["etag"].endswith('"')
    assert event["htmlLink"].startswith("https://")
    assert event["creator"]["email"] == google.email
    assert event["organizer"]["email"] == calendar
    assert event["organizer"]["self"] is True
    assert event["updated"].endswith("Z")
    assert len(event["updated"]) == len("2026-03-02T08:00:00.000Z")
    assert event["start"] == {
        "dateTime": "2026-03-02T09:00:00+01:00",
        "timeZone": BERLIN,
    }
    assert event["location"] == "Saal 7"
    assert (
        await call(google.events.get(calendarId=calendar, eventId=event["id"])) == event
    )


async def test_times_come_in_the_zone_that_the_caller_asks_for(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))

    in_new_york = await call(
        google.events.get(
            calendarId=calendar, eventId=event["id"], timeZone="America/New_York"
        )
    )

    assert in_new_york["start"] == {
        "dateTime": "2026-03-02T03:00:00-05:00",
        "timeZone": BERLIN,
    }


async def test_a_time_in_the_skipped_hour_moves_one_hour_later(
    google: Google, calendar: str
) -> None:
    body = timed("2026-03-29T02:30:00", "2026-03-29T04:30:00")

    event = await call(google.events.insert(calendarId=calendar, body=body))

    assert event["start"]["dateTime"] == "2026-03-29T03:30:00+02:00"


async def test_both_hours_of_the_doubled_hour_are_kept_apart(
    google: Google, calendar: str
) -> None:
    body = timed("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")

    event = await call(google.events.insert(calendarId=calendar, body=body))

    assert event["start"]["dateTime"] == "2026-10-25T02:30:00+02:00"
    assert event["end"]["dateTime"] == "2026-10-25T02:30:00+01:00"


async def test_all_day_events_have_dates_and_an_exclusive_end(
    google: Google, calendar: str
) -> None:
    event = await call(
        google.events.insert(
            calendarId=calendar, body=all_day("2026-07-01", "2026-07-02")
        )
    )

    assert (event["start"], event["end"]) == (
        {"date": "2026-07-01"},
        {"date": "2026-07-02"},
    )


# -- refusals of content ----------------------------------------------------------------------------------------------

UNACCEPTABLE: dict[str, tuple[dict[str, Any], str]] = {
    "no end": (without(at_nine(), "end"), "required"),
    "no start": (without(at_nine(), "start"), "required"),
    "end before start": (
        timed("2026-03-02T09:00:00", "2026-03-02T08:00:00"),
        "timeRangeEmpty",
    ),
    "end at start": (
        timed("2026-03-02T09:00:00", "2026-03-02T09:00:00"),
        "timeRangeEmpty",
    ),
    "all-day end at start": (all_day("2026-03-02", "2026-03-02"), "timeRangeEmpty"),
    "date and time mixed": ({**at_nine(), "end": {"date": "2026-03-03"}}, "invalid"),
    "neither offset nor zone": (
        {
            "start": {"dateTime": "2026-03-02T09:00:00"},
            "end": {"dateTime": "2026-03-02T10:00:00"},
        },
        "required",
    ),
    "unknown zone": (
        {
            **at_nine(),
            "start": {"dateTime": "2026-03-02T09:00:00", "timeZone": "Mars/Base"},
        },
        "invalid",
    ),
    "no such day": (all_day("2026-02-30", "2026-03-02"), "invalid"),
    "unknown status": (at_nine(status="planned"), "invalid"),
    "unknown visibility": (at_nine(visibility="secret"), "invalid"),
    "six reminders": (
        at_nine(
            reminders={
                "useDefault": False,
                "overrides": [{"method": "popup", "minutes": n} for n in range(6)],
            }
        ),
        "invalid",
    ),
    "text that is none": (at_nine(summary=7), "invalid"),
    "id too short": (at_nine(id="abcd"), "invalid"),
    "id beyond base32hex": (at_nine(id="xyz12345"), "invalid"),
    "id in capitals": (at_nine(id="ABCDE123"), "invalid"),
    "id too long": (at_nine(id="a" * 1025), "invalid"),
}


@pytest.mark.parametrize(
    ("body", "reason"), UNACCEPTABLE.values(), ids=UNACCEPTABLE.keys()
)
async def test_google_refuses_impossible_events(
    google: Google, calendar: str, body: dict[str, Any], reason: str
) -> None:
    refusal = await refused(google.events.insert(calendarId=calendar, body=body))

    assert (refusal.status, refusal.reason) == (400, reason)
    assert (await call(google.events.list(calendarId=calendar)))["items"] == []


async def test_service_accounts_can_not_invite(google: Google, calendar: str) -> None:
    body = at_nine(attendees=[{"email": "mandant@example.org"}])

    refusal = await refused(google.events.insert(calendarId=calendar, body=body))

    assert (refusal.status, refusal.reason) == (403, "forbiddenForServiceAccounts")


# -- ids --------------------------------------------------------------------------------------------------------------


async def test_a_used_id_is_refused_even_after_deletion(
    google: Google, calendar: str
) -> None:
    body = at_nine(id="abcde12345")
    await call(google.events.insert(calendarId=calendar, body=body))

    while_live = await refused(google.events.insert(calendarId=calendar, body=body))
    await call(google.events.delete(calendarId=calendar, eventId="abcde12345"))
    after_deletion = await refused(google.events.insert(calendarId=calendar, body=body))

    assert (while_live.status, while_live.reason) == (409, "duplicate")
    assert (after_deletion.status, after_deletion.reason) == (409, "duplicate")


async def test_the_same_id_is_free_in_another_calendar(
    google: Google, calendar: str
) -> None:
    other = await google.new_calendar("AW-AI")
    body = at_nine(id="abcde12345")

    for calendar_id in (calendar, other):
        assert (await call(google.events.insert(calendarId=calendar_id, body=body)))[
            "id"
        ] == "abcde12345"


# -- update and patch -------------------------------------------------------------------------------------------------


async def test_patch_keeps_what_it_does_not_mention(
    google: Google, calendar: str
) -> None:
    body = at_nine(
        description="Akte 12",
        extendedProperties={"private": {"advoware_frnr": "7", "sync_id": "x"}},
    )
    event = await call(google.events.insert(calendarId=calendar, body=body))

    patched = await call(
        google.events.patch(
            calendarId=calendar,
            eventId=event["id"],
            body={
                "summary": "Termin",
                "extendedProperties": {"private": {"sync_id": None, "more": "1"}},
            },
        )
    )

    assert patched["summary"] == "Termin"
    assert patched["description"] == "Akte 12"
    assert patched["extendedProperties"] == {
        "private": {"advoware_frnr": "7", "more": "1"}
    }
    assert patched["start"] == event["start"]
    assert patched["etag"] != event["etag"]


async def test_update_drops_what_it_does_not_mention(
    google: Google, calendar: str
) -> None:
    body = at_nine(
        description="Akte 12", extendedProperties={"private": {"advoware_frnr": "7"}}
    )
    event = await call(google.events.insert(calendarId=calendar, body=body))

    updated = await call(
        google.events.update(
            calendarId=calendar, eventId=event["id"], body=at_nine("2026-03-03")
        )
    )

    assert updated["start"]["dateTime"] == "2026-03-03T09:00:00+01:00"
    assert "description" not in updated
    assert "extendedProperties" not in updated
    assert (updated["created"], updated["iCalUID"]) == (
        event["created"],
        event["iCalUID"],
    )


async def test_an_update_needs_start_and_end(google: Google, calendar: str) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))

    refusal = await refused(
        google.events.update(
            calendarId=calendar, eventId=event["id"], body={"summary": "Nur ein Titel"}
        )
    )

    assert (refusal.status, refusal.reason) == (400, "required")


async def test_a_patch_from_timed_to_all_day_must_take_the_time_away(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    dates_only = {"start": {"date": "2026-03-02"}, "end": {"date": "2026-03-03"}}
    clean = {
        which: {**day, "dateTime": None, "timeZone": None}
        for which, day in dates_only.items()
    }

    refusal = await refused(
        google.events.patch(calendarId=calendar, eventId=event["id"], body=dates_only)
    )
    patched = await call(
        google.events.patch(calendarId=calendar, eventId=event["id"], body=clean)
    )

    assert refusal.status == 400
    assert (patched["start"], patched["end"]) == (
        {"date": "2026-03-02"},
        {"date": "2026-03-03"},
    )


async def test_the_sequence_grows_when_the_time_changes_and_never_goes_back(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    later = without(at_nine("2026-03-03"), "summary")

    renamed = await call(
        google.events.patch(
            calendarId=calendar, eventId=event["id"], body={"summary": "Anders"}
        )
    )
    moved = await call(
        google.events.patch(calendarId=calendar, eventId=event["id"], body=later)
    )
    refusal = await refused(
        google.events.patch(
            calendarId=calendar, eventId=event["id"], body={"sequence": 0}
        )
    )

    assert (renamed["sequence"], moved["sequence"]) == (0, 1)
    assert (refusal.status, refusal.reason) == (400, "invalid")


async def test_reminders_do_not_count_as_a_modification(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    google.clock.advance(minutes=1)
    reminders = {"useDefault": False, "overrides": [{"method": "popup", "minutes": 30}]}

    patched = await call(
        google.events.patch(
            calendarId=calendar, eventId=event["id"], body={"reminders": reminders}
        )
    )

    assert patched["reminders"] == reminders
    assert patched["updated"] == event["updated"]
    assert patched["etag"] != event["etag"]


async def test_properties_with_long_keys_vanish_and_long_values_are_cut(
    google: Google, calendar: str
) -> None:
    properties = {"k" * 44: "kept", "k" * 45: "dropped", "long": "v" * 1025}

    event = await call(
        google.events.insert(
            calendarId=calendar,
            body=at_nine(extendedProperties={"private": properties}),
        )
    )

    assert event["extendedProperties"] == {
        "private": {"k" * 44: "kept", "long": "v" * 1024}
    }


# -- etags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["update", "patch", "delete"])
async def test_a_write_with_an_old_etag_changes_nothing(
    google: Google, calendar: str, method: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    changed = await call(
        google.events.patch(
            calendarId=calendar, eventId=event["id"], body={"summary": "Neu"}
        )
    )
    body = {} if method == "delete" else {"body": at_nine(summary="Überschrieben")}
    request = getattr(google.events, method)(
        calendarId=calendar, eventId=event["id"], **body
    )
    request.headers["If-Match"] = event["etag"]

    refusal = await refused(request)

    assert (refusal.status, refusal.reason) == (412, "conditionNotMet")
    assert (
        await call(google.events.get(calendarId=calendar, eventId=event["id"]))
        == changed
    )


async def test_a_write_with_the_current_etag_succeeds(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    request = google.events.patch(
        calendarId=calendar, eventId=event["id"], body={"summary": "Neu"}
    )
    request.headers["If-Match"] = event["etag"]

    assert (await call(request))["summary"] == "Neu"


async def test_an_unchanged_event_is_not_sent_again(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))

    status, body = await google.raw(
        "GET",
        f"/calendars/{calendar}/events/{event['id']}",
        headers={
            "Authorization": f"Bearer {await google.token()}",
            "If-None-Match": event["etag"],
        },
    )

    assert (status, body) == (304, "")


# -- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_deleted_event_stays_readable_as_cancelled(
    google: Google, calendar: str
) -> None:
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))

    assert (
        await call(google.events.delete(calendarId=calendar, eventId=event["id"])) == ""
    )
    again = await refused(
        google.events.delete(calendarId=calendar, eventId=event["id"])
    )
    gone = await call(google.events.get(calendarId=calendar, eventId=event["id"]))

    assert (again.status, again.reason, again.message) == (
        410,
        "deleted",
        "Resource has been deleted",
    )
    assert gone["status"] == "cancelled"
    assert gone["etag"] != event["etag"]
    assert (await call(google.events.list(calendarId=calendar)))["items"] == []


@pytest.mark.parametrize("method", ["update", "patch"])
async def test_a_deleted_event_is_revived_by_confirming_it(
    google: Google, calendar: str, method: str
) -> None:
    event = await call(
        google.events.insert(calendarId=calendar, body=at_nine(id="abcde12345"))
    )
    await call(google.events.delete(calendarId=calendar, eventId="abcde12345"))
    body = {"status": "confirmed"} if method == "patch" else at_nine(status="confirmed")

    revived = await call(
        getattr(google.events, method)(
            calendarId=calendar, eventId="abcde12345", body=body
        )
    )

    assert (revived["status"], revived["start"]) == ("confirmed", event["start"])
    assert [
        item["id"]
        for item in (await call(google.events.list(calendarId=calendar)))["items"]
    ] == ["abcde12345"]


async def test_unknown_events_are_not_found(google: Google, calendar: str) -> None:
    for request in (
        google.events.get(calendarId=calendar, eventId="unknown1"),
        google.events.delete(calendarId=calendar, eventId="unknown1"),
        google.events.patch(
            calendarId=calendar, eventId="unknown1", body={"summary": "x"}
        ),
        google.events.update(calendarId=calendar, eventId="unknown1", body=at_nine()),
    ):
        refusal = await refused(request)
        assert (refusal.status, refusal.reason) == (404, "notFound")


# -- import -----------------------------------------------------------------------------------------------------------


async def test_import_needs_an_icaluid_and_keeps_it(
    google: Google, calendar: str
) -> None:
    refusal = await refused(google.events.import_(calendarId=calendar, body=at_nine()))
    first = await call(
        google.events.import_(
            calendarId=calendar, body=at_nine(iCalUID="termin-7@kanzlei.example")
        )
    )
    found = await call(
        google.events.list(calendarId=calendar, iCalUID="termin-7@kanzlei.example")
    )

    assert refusal.status == 400
    assert first["iCalUID"] == "termin-7@kanzlei.example"
    assert [event["id"] for event in found["items"]] == [first["id"]]


async def test_id_and_icaluid_are_not_taken_together_unless_they_agree(
    google: Google, calendar: str
) -> None:
    refusal = await refused(
        google.events.insert(
            calendarId=calendar,
            body=at_nine(id="abcde12345", iCalUID="other@example.org"),
        )
    )

    assert refusal.status == 400
