"""The Google twin: tokens, calendars, who may see them, quotas, and the errors of all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from google.auth import crypt, jwt
from google.auth.exceptions import RefreshError
from google_calls import (
    BERLIN,
    CALENDAR_SCOPE,
    Google,
    at_nine,
    calendar_service,
    call,
    refused,
    serving,
)

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
COLLEAGUE = "kanzlei@example.org"


@pytest.fixture(name="google")
async def running_google() -> AsyncIterator[Google]:
    async with serving() as google:
        yield google


async def ask_for_token(
    google: Google, *, grant: str = GRANT, key: Any = None, **changes: Any
) -> tuple[int, Any]:
    """Status and JSON answer to a hand-made token request; a claim that is None is left out."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": google.email,
        "aud": google.key_file["token_uri"],
        "iat": now,
        "exp": now + 3600,
        "scope": CALENDAR_SCOPE,
        **changes,
    }
    signer: Any = crypt.RSASigner
    encode: Any = jwt.encode
    kept = {name: value for name, value in claims.items() if value is not None}
    assertion = encode(
        signer.from_service_account_info(key or google.key_file), kept
    ).decode()
    form = {"grant_type": grant, "assertion": assertion}
    async with (
        aiohttp.ClientSession() as session,
        session.post(google.key_file["token_uri"], data=form) as answer,
    ):
        return answer.status, await answer.json()


# -- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_signed_assertion_gets_a_bearer_token(google: Google) -> None:
    status, answer = await ask_for_token(google)

    assert status == 200
    assert answer["token_type"] == "Bearer"  # noqa: S105 - a kind of token
    assert 3000 < answer["expires_in"] <= 3600
    status, _ = await google.raw(
        "GET",
        "/users/me/calendarList",
        headers={"Authorization": f"Bearer {answer['access_token']}"},
    )
    assert status == 200


async def test_the_audience_may_be_googles_own_token_endpoint(google: Google) -> None:
    # google-auth names it whatever token_uri says, since 2.40 or so.
    assert (await ask_for_token(google, aud="https://oauth2.googleapis.com/token"))[
        0
    ] == 200


BAD_CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "audience": ({"aud": "https://elsewhere.example/token"}, "invalid_grant"),
    "no audience": ({"aud": None}, "invalid_grant"),
    "issuer": (
        {"iss": "stranger@bitbylaw-demo.iam.gserviceaccount.com"},
        "invalid_grant",
    ),
    "expired": ({"iat": 1_700_000_000, "exp": 1_700_003_600}, "invalid_grant"),
    "from the future": ({"iat": 4_000_000_000, "exp": 4_000_003_600}, "invalid_grant"),
    "too long": ({"exp": 4_000_003_600}, "invalid_grant"),
    "no expiry": ({"exp": None}, "invalid_grant"),
    "no scope": ({"scope": None}, "invalid_scope"),
    "unknown scope": (
        {"scope": "https://www.googleapis.com/auth/nonsense"},
        "invalid_scope",
    ),
    "delegation": ({"sub": COLLEAGUE}, "unauthorized_client"),
}


@pytest.mark.parametrize(
    ("changes", "error"), BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys()
)
async def test_a_bad_assertion_gets_no_token(
    google: Google, changes: dict[str, Any], error: str
) -> None:
    status, answer = await ask_for_token(google, **changes)

    assert status in {400, 401}
    assert answer["error"] == error


async def test_another_key_gets_no_token(google: Google) -> None:
    stranger = google.twin.service_account("stranger")

    status, answer = await ask_for_token(google, key=stranger, iss=google.email)

    assert (status, answer["error"]) == (400, "invalid_grant")


async def test_other_grants_are_not_supported(google: Google) -> None:
    status, answer = await ask_for_token(google, grant="password")

    assert (status, answer["error"]) == (400, "unsupported_grant_type")


async def test_the_library_reports_a_refused_assertion(google: Google) -> None:
    stranger = {
        **google.key_file,
        "client_email": "stranger@bitbylaw-demo.iam.gserviceaccount.com",
    }

    with pytest.raises(RefreshError, match="invalid_grant"):
        await call(calendar_service(google.url, stranger).calendarList().list())


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic YTpi"])
async def test_requests_without_a_valid_token_are_refused(
    google: Google, header: str | None
) -> None:
    status, body = await google.raw(
        "GET",
        "/users/me/calendarList",
        headers={"Authorization": header} if header else {"Accept": "*/*"},
    )

    assert status == 401
    assert '"Authorization"' in body


async def test_the_client_replaces_an_expired_or_revoked_token(google: Google) -> None:
    await call(google.calendar_list.list())
    google.clock.advance(hours=2)
    assert (await call(google.calendar_list.list()))["kind"] == "calendar#calendarList"
    await google.control(
        "POST", "faults", {"path": "/calendarList", "revoke_tokens": True, "count": 1}
    )

    assert (await call(google.calendar_list.list()))["kind"] == "calendar#calendarList"
    summary = await google.control("GET", "journal/summary")
    assert summary["POST /token"] == 3


async def test_a_token_opens_only_what_its_scope_covers(google: Google) -> None:
    reader = calendar_service(
        google.url, google.key_file, scope=f"{CALENDAR_SCOPE}.readonly"
    )

    await call(reader.calendarList().list())
    refusal = await refused(reader.calendars().insert(body={"summary": "AW-SB"}))

    assert (refusal.status, refusal.reason) == (403, "insufficientPermissions")


# -- calendars --------------------------------------------------------------------------------------------------------


async def test_a_new_calendar_is_on_its_makers_list(google: Google) -> None:
    made = await call(
        google.calendars.insert(body={"summary": "AW-SB", "timeZone": BERLIN})
    )

    entries = {
        entry["id"]: entry
        for entry in (await call(google.calendar_list.list()))["items"]
    }

    assert made["id"].endswith("@group.calendar.google.com")
    assert (made["summary"], made["timeZone"]) == ("AW-SB", BERLIN)
    assert entries[made["id"]]["accessRole"] == "owner"
    assert entries[made["id"]]["summary"] == "AW-SB"
    assert (await call(google.calendar_list.get(calendarId=made["id"])))["id"] == made[
        "id"
    ]
    assert (await call(google.calendars.get(calendarId=made["id"])))[
        "timeZone"
    ] == BERLIN


async def test_a_calendar_needs_a_title_and_a_real_time_zone(google: Google) -> None:
    nameless = await refused(google.calendars.insert(body={"timeZone": BERLIN}))
    nowhere = await refused(
        google.calendars.insert(body={"summary": "AW-SB", "timeZone": "Mars/Base"})
    )

    assert (nameless.status, nameless.reason) == (400, "required")
    assert (nowhere.status, nowhere.reason) == (400, "invalid")


async def test_patch_keeps_and_update_drops_the_description(google: Google) -> None:
    body = {"summary": "AW-SB", "description": "Termine", "timeZone": BERLIN}
    calendar = (await call(google.calendars.insert(body=body)))["id"]

    patched = await call(
        google.calendars.patch(calendarId=calendar, body={"summary": "AW-AI"})
    )
    updated = await call(
        google.calendars.update(calendarId=calendar, body={"summary": "AW-AI"})
    )

    assert (patched["summary"], patched["description"]) == ("AW-AI", "Termine")
    assert "description" not in updated


async def test_a_deleted_calendar_is_not_found(google: Google) -> None:
    calendar = await google.new_calendar()

    await call(google.calendars.delete(calendarId=calendar))

    for request in (
        google.calendars.get(calendarId=calendar),
        google.calendar_list.get(calendarId=calendar),
        google.events.list(calendarId=calendar),
        google.events.insert(calendarId=calendar, body=at_nine()),
        google.calendars.delete(calendarId=calendar),
    ):
        refusal = await refused(request)
        assert (refusal.status, refusal.reason) == (404, "notFound")
    assert calendar not in [
        entry["id"] for entry in (await call(google.calendar_list.list()))["items"]
    ]


async def test_a_calendar_can_be_taken_off_the_list_and_put_back(
    google: Google,
) -> None:
    calendar = await google.new_calendar()

    await call(google.calendar_list.delete(calendarId=calendar))
    off = [entry["id"] for entry in (await call(google.calendar_list.list()))["items"]]
    await call(google.calendars.get(calendarId=calendar))
    await call(google.calendar_list.insert(body={"id": calendar}))
    on = [entry["id"] for entry in (await call(google.calendar_list.list()))["items"]]

    assert calendar not in off
    assert calendar in on


async def test_the_list_of_calendars_has_pages(google: Google) -> None:
    made = {await google.new_calendar(f"AW-{n}") for n in range(5)}
    await google.control("POST", "page-size", {"n": 2})
    request, shown = google.calendar_list.list(), set()
    while request is not None:
        answer = await call(request)
        shown |= {entry["id"] for entry in answer["items"]}
        request = google.calendar_list.list_next(request, answer)

    assert made <= shown


# -- sharing ----------------------------------------------------------------------------------------------------------


def rule(role: str, email: str = COLLEAGUE) -> dict[str, Any]:
    return {"role": role, "scope": {"type": "user", "value": email}}


async def test_sharing_twice_leaves_one_rule(google: Google) -> None:
    calendar = await google.new_calendar()

    first = await call(google.acl.insert(calendarId=calendar, body=rule("reader")))
    second = await call(google.acl.insert(calendarId=calendar, body=rule("reader")))
    await call(google.acl.insert(calendarId=calendar, body=rule("writer")))
    rules = {
        entry["id"]: entry["role"]
        for entry in (await call(google.acl.list(calendarId=calendar)))["items"]
    }

    assert first == second
    assert rules == {f"user:{google.email}": "owner", f"user:{COLLEAGUE}": "writer"}


async def test_a_rule_can_be_read_changed_and_removed(google: Google) -> None:
    calendar = await google.new_calendar()
    rule_id = (await call(google.acl.insert(calendarId=calendar, body=rule("reader"))))[
        "id"
    ]

    read = await call(google.acl.get(calendarId=calendar, ruleId=rule_id))
    patched = await call(
        google.acl.patch(calendarId=calendar, ruleId=rule_id, body={"role": "writer"})
    )
    updated = await call(
        google.acl.update(calendarId=calendar, ruleId=rule_id, body=rule("owner"))
    )
    await call(google.acl.delete(calendarId=calendar, ruleId=rule_id))

    assert [entry["role"] for entry in (read, patched, updated)] == [
        "reader",
        "writer",
        "owner",
    ]
    assert [
        entry["id"]
        for entry in (await call(google.acl.list(calendarId=calendar)))["items"]
    ] == [f"user:{google.email}"]


@pytest.mark.parametrize(
    "body",
    [
        {"role": "reader"},
        {"scope": {"type": "user", "value": COLLEAGUE}},
        {"role": "king", "scope": {"type": "user", "value": COLLEAGUE}},
        {"role": "reader", "scope": {"type": "planet", "value": "earth"}},
        {"role": "reader", "scope": {"type": "user"}},
        {"role": "reader", "scope": {"type": "user", "value": "unknown"}},
    ],
    ids=[
        "no scope",
        "no role",
        "unknown role",
        "unknown type",
        "no value",
        "no address",
    ],
)
async def test_incomplete_rules_are_refused(
    google: Google, body: dict[str, Any]
) -> None:
    calendar = await google.new_calendar()

    assert (
        await refused(google.acl.insert(calendarId=calendar, body=body))
    ).status == 400


async def test_no_one_takes_away_their_own_access(google: Google) -> None:
    calendar = await google.new_calendar()

    refusal = await refused(
        google.acl.delete(calendarId=calendar, ruleId=f"user:{google.email}")
    )

    assert (refusal.status, refusal.reason) == (403, "cannotChangeOwnAcl")


async def test_a_service_account_sees_only_what_is_its_own_or_shared_with_it(
    google: Google,
) -> None:
    calendar = await google.new_calendar()
    event = await call(google.events.insert(calendarId=calendar, body=at_nine()))
    second = google.twin.service_account("second")
    other = calendar_service(google.url, second)

    stranger = await refused(other.events().list(calendarId=calendar))
    await call(
        google.acl.insert(
            calendarId=calendar, body=rule("reader", second["client_email"])
        )
    )
    shown = await call(other.events().list(calendarId=calendar))
    write = await refused(other.events().insert(calendarId=calendar, body=at_nine()))
    remove = await refused(other.calendars().delete(calendarId=calendar))
    share = await refused(other.acl().insert(calendarId=calendar, body=rule("reader")))

    assert (stranger.status, stranger.reason) == (404, "notFound")
    assert [item["id"] for item in shown["items"]] == [event["id"]]
    assert (write.status, write.reason, write.domain) == (
        403,
        "requiredAccessLevel",
        "calendar",
    )
    assert (remove.status, share.status) == (403, 403)


async def test_a_sync_token_is_void_when_the_access_changes(google: Google) -> None:
    calendar = await google.new_calendar()
    second = google.twin.service_account("second")
    other = calendar_service(google.url, second)
    await call(
        google.acl.insert(
            calendarId=calendar, body=rule("reader", second["client_email"])
        )
    )
    token = (await call(other.events().list(calendarId=calendar)))["nextSyncToken"]

    await call(
        google.acl.insert(
            calendarId=calendar, body=rule("writer", second["client_email"])
        )
    )
    refusal = await refused(other.events().list(calendarId=calendar, syncToken=token))

    assert (refusal.status, refusal.reason) == (410, "fullSyncRequired")


async def test_readers_do_not_see_the_content_of_private_events(google: Google) -> None:
    calendar = await google.new_calendar()
    await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(visibility="private", description="Akte")
        )
    )
    second = google.twin.service_account("second")
    await call(
        google.acl.insert(
            calendarId=calendar, body=rule("reader", second["client_email"])
        )
    )

    (shown,) = (
        await call(
            calendar_service(google.url, second).events().list(calendarId=calendar)
        )
    )["items"]

    assert shown["start"]["dateTime"] == "2026-03-02T09:00:00+01:00"
    assert not {"summary", "description"} & shown.keys()


# -- quotas and faults ------------------------------------------------------------------------------------------------


async def test_a_quota_refuses_and_recovers_within_a_minute(google: Google) -> None:
    await google.control("POST", "quota", {"per_minute": 2})
    for _ in range(2):
        await call(google.calendar_list.list())

    refusal = await refused(google.calendar_list.list())
    google.clock.advance(seconds=61)
    await call(google.calendar_list.list())

    assert (refusal.status, refusal.reason, refusal.domain) == (
        403,
        "rateLimitExceeded",
        "usageLimits",
    )
    assert refusal.body["error"]["code"] == 403


async def test_the_client_itself_waits_for_the_quota(google: Google) -> None:
    await google.control("POST", "quota", {"per_minute": 1})
    await call(google.calendar_list.list())
    request = google.calendar_list.list()
    # The library sleeps between its tries; here the minute passes at once.
    request._sleep = lambda _seconds: google.clock.advance(seconds=61)

    answer = await asyncio.to_thread(request.execute, num_retries=2)

    assert answer["kind"] == "calendar#calendarList"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "backendError"), (429, "rateLimitExceeded"), (404, "notFound")],
)
async def test_faults_have_googles_error_shape(
    google: Google, status: int, reason: str
) -> None:
    await google.control(
        "POST", "faults", {"path": "/calendarList", "status": status, "count": 1}
    )

    refusal = await refused(google.calendar_list.list())

    assert (refusal.status, refusal.reason, refusal.body["error"]["code"]) == (
        status,
        reason,
        status,
    )


async def test_malformed_bodies_are_refused(google: Google) -> None:
    _, token = await ask_for_token(google)
    headers = {
        "Authorization": f"Bearer {token['access_token']}",
        "Content-Type": "application/json",
    }

    for body in ("{", "[]", '"text"'):
        status, text = await google.raw(
            "POST", "/calendars", headers=headers, body=body
        )
        assert status == 400
        assert "parseError" in text or "badRequest" in text or "invalid" in text


async def test_a_reset_forgets_calendars_but_not_the_accounts(google: Google) -> None:
    calendar = await google.new_calendar()

    await google.control("POST", "reset")

    assert (await refused(google.calendars.get(calendarId=calendar))).status == 404
    assert await google.new_calendar()


async def test_a_restarted_twin_still_has_everything(google: Google) -> None:
    calendar = await google.new_calendar()
    event = await call(
        google.events.insert(
            calendarId=calendar, body=at_nine(recurrence=["RRULE:FREQ=DAILY;COUNT=3"])
        )
    )
    token = (await call(google.events.list(calendarId=calendar)))["nextSyncToken"]
    data = google.twin.dump()

    await google.control("POST", "reset")
    google.twin.restore(data)

    changes = await call(google.events.list(calendarId=calendar, syncToken=token))
    assert changes["items"] == []
    assert (
        await call(google.events.get(calendarId=calendar, eventId=event["id"])) == event
    )
