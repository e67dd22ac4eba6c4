"""Batches of the Google twin, made by the unmodified client's batch requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.client import HTTPException
from typing import Any

import pytest
from google_calls import Google, at_nine, call, serving
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError

BATCH = "/batch/calendar/v3"


@pytest.fixture(name="google")
async def google_with_one_calendar() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


@pytest.fixture(name="calendar")
async def calendar_id(google: Google) -> str:
    return await google.new_calendar()


def reasons(answers: dict[str, Any]) -> dict[str, Any]:
    """Status and reason of each refused part, the id of each accepted one."""
    return {
        part: (answer.resp.status, answer.error_details[0]["reason"])
        if isinstance(answer, HttpError)
        else answer["id"]
        for part, answer in answers.items()
    }


async def test_every_part_of_a_batch_has_its_own_answer(
    google: Google, calendar: str
) -> None:
    answers = await google.batch(
        {
            "good": google.events.insert(
                calendarId=calendar,
                body=at_nine(id="abcde1", summary="Anhörung Müller"),
            ),
            "used": google.events.insert(
                calendarId=calendar, body=at_nine(id="abcde1")
            ),
            "bad": google.events.insert(
                calendarId=calendar, body={**at_nine(id="abcde2"), "end": None}
            ),
            "absent": google.events.get(calendarId=calendar, eventId="abcde9"),
            "also good": google.events.insert(
                calendarId=calendar, body=at_nine(id="abcde3")
            ),
        }
    )

    assert reasons(answers) == {
        "good": "abcde1",
        "used": (409, "duplicate"),
        "bad": (400, "required"),
        "absent": (404, "notFound"),
        "also good": "abcde3",
    }
    assert answers["good"]["summary"] == "Anhörung Müller"


async def test_the_clients_own_batch_follows_a_moved_root_url(
    google: Google, calendar: str
) -> None:
    """The client takes the address of batches from the discovery document only, not from ``api_endpoint``."""
    document = json.loads(get_static_doc("calendar", "v3"))
    service = build_from_document(
        {**document, "rootUrl": f"{google.url}/"},
        credentials=google.service._http.credentials,
    )
    answers: list[Any] = []
    batch = service.new_batch_http_request(
        callback=lambda _name, answer, error: answers.append(error or answer)
    )
    batch.add(service.events().insert(calendarId=calendar, body=at_nine(id="abcde1")))

    await asyncio.to_thread(batch.execute)

    assert [answer["id"] for answer in answers] == ["abcde1"]


async def test_a_cut_connection_within_a_batch_cuts_the_batch(
    google: Google, calendar: str
) -> None:
    # Twice, because httplib2 repeats a request whose connection breaks, even a POST.
    await google.control(
        "POST",
        "faults",
        {"path": "/events$", "reset": True, "when": "after", "count": 2},
    )
    request = google.events.insert(calendarId=calendar, body=at_nine(id="abcde1"))

    with pytest.raises((OSError, HTTPException)):
        await google.batch({"part": request})

    assert (await call(google.events.get(calendarId=calendar, eventId="abcde1")))[
        "id"
    ] == "abcde1"


async def test_deletions_and_conditions_work_in_a_batch(
    google: Google, calendar: str
) -> None:
    made = await google.batch(
        {
            name: google.events.insert(calendarId=calendar, body=at_nine(id=name))
            for name in ("abcde1", "abcde2")
        }
    )
    stale = google.events.patch(
        calendarId=calendar, eventId="abcde2", body={"summary": "Neu"}
    )
    stale.headers["If-Match"] = made["abcde1"]["etag"]

    answers = await google.batch(
        {
            "delete": google.events.delete(calendarId=calendar, eventId="abcde1"),
            "patch": stale,
        }
    )

    assert answers["delete"] == ""
    assert reasons({"patch": answers["patch"]}) == {"patch": (412, "conditionNotMet")}


async def test_each_part_is_a_request_in_the_journal(
    google: Google, calendar: str
) -> None:
    await google.control("DELETE", "journal")

    await google.batch(
        {
            f"part{n}": google.events.insert(
                calendarId=calendar, body=at_nine(id=f"abcde{n}")
            )
            for n in range(3)
        }
    )

    summary = await google.control("GET", "journal/summary")
    assert summary["POST /calendar/v3/calendars/{calendarId}/events"] == 3


async def test_faults_strike_single_parts(google: Google, calendar: str) -> None:
    await google.control(
        "POST",
        "faults",
        {"method": "POST", "path": "/events$", "status": 503, "skip": 1, "count": 1},
    )

    answers = await google.batch(
        {
            f"part{n}": google.events.insert(
                calendarId=calendar, body=at_nine(id=f"abcde{n}")
            )
            for n in range(3)
        }
    )

    assert reasons(answers) == {
        "part0": "abcde0",
        "part1": (503, "backendError"),
        "part2": "abcde2",
    }


async def test_parts_count_against_the_quota(google: Google, calendar: str) -> None:
    google.clock.advance(seconds=61)  # so that making the calendar does not count
    await google.control("POST", "quota", {"per_minute": 2})

    answers = await google.batch(
        {
            f"part{n}": google.events.get(calendarId=calendar, eventId="unknown1")
            for n in range(3)
        }
    )

    assert sorted(reasons(answers).values()) == [
        (403, "rateLimitExceeded"),
        (404, "notFound"),
        (404, "notFound"),
    ]


async def test_a_batch_has_at_most_a_thousand_parts(
    google: Google, calendar: str
) -> None:
    part = (
        "--b\r\nContent-Type: application/http\r\nContent-ID: <x + {n}>\r\n\r\n"
        f"GET /calendar/v3/calendars/{calendar}/events/unknown1 HTTP/1.1\r\n\r\n\r\n"
    )

    async def send(count: int) -> int:
        body = "".join(part.replace("{n}", str(n)) for n in range(count)) + "--b--"
        headers = {"Content-Type": "multipart/mixed; boundary=b"}
        status, _ = await google.raw(
            "POST", BATCH, below=google.url, headers=headers, body=body
        )
        return status

    assert await send(1000) == 200
    assert await send(1001) == 400


async def test_a_batch_must_be_multipart(google: Google) -> None:
    status, _ = await google.raw("POST", BATCH, below=google.url, headers={}, body="{}")

    assert status == 400
