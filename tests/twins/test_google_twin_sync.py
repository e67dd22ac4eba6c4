"""Lists of the Google twin: pages, filters, and what changed since a sync token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google_calls import Google, all_day, at_nine, call, refused, serving

DAYS = [f"2026-03-{day:02}" for day in range(2, 9)]


@pytest.fixture(name="google")
async def google_with_one_calendar() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_id(google: Google) -> str:
    return await google.new_calendar()


async def fill(google: Google, calendar: str) -> list[str]:
    """One event a day; their ids."""
    return [
        (
            await call(
                google.events.insert(
                    calendarId=calendar, body=at_nine(day, summary=day)
                )
            )
        )["id"]
        for day in DAYS
    ]


async def pages(google: Google, calendar: str, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list, as Google's client goes through them."""
    request = google.events.list(calendarId=calendar, **query)
    answers = []
    while request is not None:
        answers.append(await call(request))
        request = google.events.list_next(request, answers[-1])
    return answers


async def listed(google: Google, calendar: str, **query: Any) -> list[dict[str, Any]]:
    return [
        event
        for page in await pages(google, calendar, **query)
        for event in page["items"]
    ]


async def sync_token(google: Google, calendar: str, **query: Any) -> str:
    return str((await pages(google, calendar, **query))[-1]["nextSyncToken"])


# -- pages ------------------------------------------------------------------------------------------------------------


async def test_only_the_last_page_has_a_sync_token(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)

    answers = await pages(google, calendar, maxResults=3)

    assert [len(page["items"]) for page in answers] == [3, 3, 1]
    assert {event["id"] for page in answers for event in page["items"]} == set(ids)
    assert ["nextSyncToken" in page for page in answers] == [False, False, True]
    assert ["nextPageToken" in page for page in answers] == [True, True, False]


async def test_the_control_api_forces_small_pages(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    await google.control("POST", "page-size", {"n": 2})

    answers = await pages(google, calendar, maxResults=2500)

    assert max(len(page["items"]) for page in answers) == 2
    assert {event["id"] for page in answers for event in page["items"]} == set(ids)


async def test_pages_may_be_empty_before_the_last(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    await google.control("POST", "page-size", {"n": 3, "empty_pages": True})

    answers = await pages(google, calendar)

    assert [len(page["items"]) for page in answers] == [0, 3, 0, 3, 0, 1]
    assert {event["id"] for page in answers for event in page["items"]} == set(ids)


async def test_an_event_changed_between_two_pages_comes_with_the_next_sync(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    first = await call(google.events.list(calendarId=calendar, maxResults=3))
    await call(
        google.events.patch(
            calendarId=calendar, eventId=ids[0], body={"summary": "geändert"}
        )
    )
    await call(google.events.delete(calendarId=calendar, eventId=ids[1]))

    rest = await pages(google, calendar, maxResults=3, pageToken=first["nextPageToken"])
    changes = await listed(google, calendar, syncToken=rest[-1]["nextSyncToken"])

    on_pages = {event["id"] for page in [first, *rest] for event in page["items"]}
    assert on_pages | {ids[1]} == set(ids)
    assert {event["id"] for event in changes} >= {ids[0], ids[1]}


@pytest.mark.parametrize("max_results", [0, -1])
async def test_impossible_page_sizes_are_refused(
    google: Google, calendar: str, max_results: int
) -> None:
    refusal = await refused(
        google.events.list(calendarId=calendar, maxResults=max_results)
    )

    assert refusal.status == 400


async def test_a_foreign_page_token_is_refused(google: Google, calendar: str) -> None:
    refusal = await refused(
        google.events.list(calendarId=calendar, pageToken="CigKGjBzbm9uc2Vuc2U")
    )

    assert refusal.status == 400


# -- incremental lists ------------------------------------------------------------------------------------------------


async def test_an_incremental_list_has_only_changes_and_deletions(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    token = await sync_token(google, calendar)
    assert await listed(google, calendar, syncToken=token) == []

    await call(
        google.events.patch(
            calendarId=calendar, eventId=ids[0], body={"summary": "geändert"}
        )
    )
    await call(google.events.delete(calendarId=calendar, eventId=ids[1]))
    new = await call(
        google.events.insert(calendarId=calendar, body=at_nine("2026-04-01"))
    )
    changes = {
        event["id"]: event for event in await listed(google, calendar, syncToken=token)
    }

    assert changes.keys() == {ids[0], ids[1], new["id"]}
    assert changes[ids[0]]["summary"] == "geändert"
    assert changes[ids[1]]["status"] == "cancelled"
    assert "summary" not in changes[ids[1]], (
        "Google guarantees only the id of a deleted event"
    )


async def test_an_incremental_list_can_have_pages_too(
    google: Google, calendar: str
) -> None:
    token = await sync_token(google, calendar)
    ids = await fill(google, calendar)

    answers = await pages(google, calendar, syncToken=token, maxResults=3)

    assert [len(page["items"]) for page in answers] == [3, 3, 1]
    assert {event["id"] for page in answers for event in page["items"]} == set(ids)
    assert await listed(google, calendar, syncToken=answers[-1]["nextSyncToken"]) == []


@pytest.mark.parametrize(
    "query",
    [
        {"timeMin": "2026-03-01T00:00:00Z"},
        {"timeMax": "2026-04-01T00:00:00Z"},
        {"updatedMin": "2026-03-01T00:00:00Z"},
        {"orderBy": "updated"},
        {"q": "Termin"},
        {"iCalUID": "x@google.com"},
        {"privateExtendedProperty": "a=b"},
        {"sharedExtendedProperty": "a=b"},
        {"showDeleted": False},
    ],
    ids=lambda query: next(iter(query)),
)
async def test_a_sync_token_can_not_be_combined(
    google: Google, calendar: str, query: dict[str, Any]
) -> None:
    token = await sync_token(google, calendar)

    refusal = await refused(
        google.events.list(calendarId=calendar, syncToken=token, **query)
    )

    assert refusal.status == 400


async def test_an_invalid_sync_token_demands_a_full_list(
    google: Google, calendar: str
) -> None:
    token = await sync_token(google, calendar)
    other = await google.new_calendar("AW-AI")

    for calendar_id, bad in ((calendar, "1" + token), (other, token)):
        refusal = await refused(
            google.events.list(calendarId=calendar_id, syncToken=bad)
        )
        assert (refusal.status, refusal.reason) == (410, "fullSyncRequired")


async def test_what_never_was_a_sync_token_is_a_bad_request(
    google: Google, calendar: str
) -> None:
    # Thunderbird and others treat this answer like 410.
    refusal = await refused(
        google.events.list(calendarId=calendar, syncToken="nonsense")
    )

    assert (refusal.status, refusal.reason, refusal.message) == (
        400,
        "invalid",
        "Invalid sync token value.",
    )


async def test_expired_sync_tokens_demand_a_full_list(
    google: Google, calendar: str
) -> None:
    token = await sync_token(google, calendar)
    await google.control("POST", "expire-sync-tokens")

    refusal = await refused(google.events.list(calendarId=calendar, syncToken=token))

    assert (refusal.status, refusal.reason) == (410, "fullSyncRequired")
    assert (
        await listed(google, calendar, syncToken=await sync_token(google, calendar))
        == []
    )


# -- filters ----------------------------------------------------------------------------------------------------------


async def test_deleted_events_are_listed_only_on_demand(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    await call(google.events.delete(calendarId=calendar, eventId=ids[0]))

    assert {event["id"] for event in await listed(google, calendar)} == set(ids[1:])
    with_deleted = {
        event["id"]: event["status"]
        for event in await listed(google, calendar, showDeleted=True)
    }
    assert with_deleted == {ids[0]: "cancelled", **dict.fromkeys(ids[1:], "confirmed")}


async def test_the_time_window_is_open_at_both_ends(
    google: Google, calendar: str
) -> None:
    await fill(google, calendar)
    window = {
        "timeMin": "2026-03-03T10:00:00+01:00",
        "timeMax": "2026-03-05T09:00:00+01:00",
    }

    assert [event["summary"] for event in await listed(google, calendar, **window)] == [
        "2026-03-04"
    ]


async def test_an_all_day_event_lies_in_the_calendars_own_days(
    google: Google, calendar: str
) -> None:
    await call(
        google.events.insert(
            calendarId=calendar, body=all_day("2026-07-01", "2026-07-02")
        )
    )

    assert len(await listed(google, calendar, timeMin="2026-07-01T23:00:00+02:00")) == 1
    assert await listed(google, calendar, timeMin="2026-07-02T00:00:00+02:00") == []
    assert await listed(google, calendar, timeMax="2026-07-01T00:00:00+02:00") == []


@pytest.mark.parametrize(
    "query",
    [
        {"timeMin": "2026-03-01"},
        {"timeMin": "2026-03-01T00:00:00"},
        {"timeMin": "2026-03-02T00:00:00Z", "timeMax": "2026-03-01T00:00:00Z"},
        {"updatedMin": "gestern"},
        {"orderBy": "startTime"},
        {"privateExtendedProperty": "withoutvalue"},
        {"timeZone": "Mars/Base"},
    ],
    ids=[
        "date",
        "no offset",
        "empty range",
        "updatedMin",
        "order without singleEvents",
        "property",
        "zone",
    ],
)
async def test_impossible_queries_are_refused(
    google: Google, calendar: str, query: dict[str, Any]
) -> None:
    assert (
        await refused(google.events.list(calendarId=calendar, **query))
    ).status == 400


async def test_private_properties_find_their_event(
    google: Google, calendar: str
) -> None:
    for number in ("7", "8"):
        properties = {"private": {"advoware_frnr": number, "from": "advoware"}}
        await call(
            google.events.insert(
                calendarId=calendar,
                body=at_nine(summary=number, extendedProperties=properties),
            )
        )

    def summaries(events: list[dict[str, Any]]) -> list[str]:
        return sorted(event["summary"] for event in events)

    by_number = await listed(
        google, calendar, privateExtendedProperty="advoware_frnr=7"
    )
    by_origin = await listed(google, calendar, privateExtendedProperty="from=advoware")
    assert summaries(by_number) == ["7"]
    assert summaries(by_origin) == ["7", "8"]
    assert await listed(google, calendar, sharedExtendedProperty="from=advoware") == []


async def test_words_are_looked_for_in_the_texts(google: Google, calendar: str) -> None:
    await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(summary="Anhörung", location="Köln")
        )
    )
    await call(
        google.events.insert(calendarId=calendar, body=at_nine(summary="Besprechung"))
    )

    assert [event["summary"] for event in await listed(google, calendar, q="köln")] == [
        "Anhörung"
    ]
    assert await listed(google, calendar, q="Bonn") == []


async def test_events_are_ordered_by_start_or_by_modification(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    google.clock.advance(minutes=1)
    await call(
        google.events.patch(
            calendarId=calendar, eventId=ids[0], body={"location": "Saal 7"}
        )
    )

    by_start = await listed(
        google, calendar, singleEvents=True, orderBy="startTime", maxResults=2
    )
    by_change = await listed(google, calendar, orderBy="updated", maxResults=2)

    assert [event["id"] for event in by_start] == ids
    assert by_change[-1]["id"] == ids[0]


async def test_updated_min_brings_deletions_unasked(
    google: Google, calendar: str
) -> None:
    ids = await fill(google, calendar)
    google.clock.advance(minutes=1)
    since = google.clock.now.isoformat().replace("+00:00", "Z")
    await call(google.events.delete(calendarId=calendar, eventId=ids[0]))

    assert [
        event["id"] for event in await listed(google, calendar, updatedMin=since)
    ] == [ids[0]]


# -- a person edits ---------------------------------------------------------------------------------------------------


async def test_a_persons_edits_appear_in_the_next_incremental_list(
    google: Google, calendar: str
) -> None:
    token = await sync_token(google, calendar)

    made = await google.control(
        "POST", f"calendars/{calendar}/events", at_nine(summary="Mittagessen")
    )
    event_path = f"calendars/{calendar}/events/{made['id']}"
    await google.control("PUT", event_path, {"summary": "Abendessen"})
    changed = await listed(google, calendar, syncToken=token)
    await google.control("DELETE", event_path)
    deleted = await listed(google, calendar, syncToken=token)

    assert [(event["summary"], event["start"]) for event in changed] == [
        ("Abendessen", made["start"])
    ]
    assert changed[0]["creator"]["email"] != google.email
    assert [(event["id"], event["status"]) for event in deleted] == [
        (made["id"], "cancelled")
    ]
