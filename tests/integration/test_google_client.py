"""The client of Google Calendar against its twin."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import traceback
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from waiting import held

from config import ConfigurationError, Settings
from sandbox.control import running
from sandbox.google.app import GoogleTwin
from services.core.errors import (
    Conflict,
    Forbidden,
    ForeignSystemError,
    InvalidInput,
    LoginRefused,
    NotFound,
    Paused,
    RateLimited,
    SyncTokenExpired,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    ValidationFailed,
)
from services.core.operation.pause import Scope, pause
from services.core.resources import Resources
from services.google_calendar import THREADS, GoogleCalendarAPI

SECRET = "Ehescheidung Müller"  # noqa: S105 - invented


class Google:
    """A running twin: its journal, its control API and the file of its service account."""

    def __init__(self, twin: GoogleTwin, session: aiohttp.ClientSession) -> None:
        self.twin = twin
        self.key_file = twin.service_account()
        self._session = session

    async def control(self, method: str, path: str, body: Any = None) -> None:
        """A control request, which must succeed."""
        async with self._session.request(
            method, f"{self.twin.url}/__sandbox__/{path}", json=body
        ) as answer:
            assert answer.status == 200, await answer.text()


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    twin = GoogleTwin(empty=True, quota_per_minute=None)
    async with running(twin), aiohttp.ClientSession() as session:
        yield Google(twin, session)


@pytest.fixture
def google_settings(
    make_settings: Callable[..., Settings], google: Google, tmp_path: Path
) -> Callable[..., Settings]:
    """Settings with the twin's service account."""
    path = tmp_path / "account.json"
    path.write_text(json.dumps(google.key_file))

    def make(**overrides: Any) -> Settings:
        twin = {
            "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": str(path),
            "GOOGLE_CALENDAR_API_ENDPOINT": google.twin.url,
        }
        return make_settings(**{**twin, **overrides})

    return make


@pytest.fixture
async def opened(google_settings: Callable[..., Settings]) -> AsyncIterator[Resources]:
    async with Resources(google_settings()) as resources:
        await resources.calendar_redis.flushall()
        yield resources


@pytest.fixture
def api(opened: Resources) -> GoogleCalendarAPI:
    return GoogleCalendarAPI(resources=opened)


@pytest.fixture
async def calendar(api: GoogleCalendarAPI) -> str:
    return str((await api.insert_calendar("AW-SB"))["id"])


def at_nine(day: str = "2026-03-02", **more: Any) -> dict[str, Any]:
    """An event without an id, from nine to ten in Berlin."""
    start, end = (
        {"dateTime": f"{day}T{clock}:00", "timeZone": "Europe/Berlin"}
        for clock in ("09:00", "10:00")
    )
    return {"summary": SECRET, "start": start, "end": end, **more}


def event(event_id: str, **more: Any) -> dict[str, Any]:
    return at_nine(id=event_id, **more)


async def fault(google: Google, **rule: Any) -> None:
    await google.control("POST", "faults", rule)


def journal(
    google: Google, method: str = "", path: str = "/calendar/v3/"
) -> list[dict[str, Any]]:
    """The requests so far by that method whose path contains that text."""
    return [
        entry
        for entry in google.twin.journal
        if method in entry["method"] and path in urllib.parse.unquote(entry["path"])
    ]


# -- whom it asks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def asked_hosts() -> Iterator[set[str]]:
    """The hosts that this process looks up during a test, in whatever thread."""
    hosts: set[str] = set()
    listening = True

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "socket.getaddrinfo":
            hosts.add(str(arguments[0]))

    # An audit hook cannot be removed.
    sys.addaudithook(note)
    yield hosts
    listening = False


async def test_nothing_but_the_configured_endpoint_is_asked(
    api: GoogleCalendarAPI, asked_hosts: set[str]
) -> None:
    before = set(threading.enumerate())

    await api.list_calendars()

    # google-auth may have started a thread of its own, which looks up a host when it likes.
    for thread in set(threading.enumerate()) - before:
        if thread.daemon:
            await asyncio.to_thread(thread.join, 10)
    assert asked_hosts == {"127.0.0.1"}


# -- calendars --------------------------------------------------------------------------------------------------------


async def test_a_calendar_is_created_found_and_read(
    api: GoogleCalendarAPI, calendar: str
) -> None:
    listed = await api.list_calendars()

    # The account's own calendar, which every account has, is in its list as well.
    assert [entry["summary"] for entry in listed if entry["id"] == calendar] == [
        "AW-SB"
    ]
    assert len(listed) == 2
    assert (await api.get_calendar(calendar))["timeZone"] == "Europe/Berlin"


async def test_a_rule_is_set_changed_and_removed_and_only_the_first_notifies_the_person(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    rule = await api.insert_acl(calendar, "reader", "SB@example.de", notify=True)
    await api.patch_acl(calendar, rule["id"], "writer")

    assert [(each["id"], each["role"]) for each in await api.list_acl(calendar)][
        1:
    ] == [("user:sb@example.de", "writer")]
    shown = [
        urllib.parse.parse_qs(urllib.parse.urlsplit(entry["path"]).query)[
            "sendNotifications"
        ]
        for entry in journal(google, "P", "/acl")
    ]
    assert shown == [["true"], ["false"]]

    await api.delete_acl(calendar, rule["id"])

    assert len(await api.list_acl(calendar)) == 1


# -- events -----------------------------------------------------------------------------------------------------------


async def test_an_event_is_written_read_changed_and_deleted(
    api: GoogleCalendarAPI, calendar: str
) -> None:
    private = {"private": {"sync_id": "1"}}
    created = await api.insert_event(
        calendar, event("abc01", extendedProperties=private)
    )

    patched = await api.patch_event(
        calendar, "abc01", {"location": "Raum 1"}, if_match=created["etag"]
    )
    assert (patched["location"], patched["extendedProperties"]) == ("Raum 1", private)
    updated = await api.update_event(
        calendar, "abc01", at_nine("2026-03-03"), if_match=patched["etag"]
    )
    assert "location" not in updated
    await api.delete_event(calendar, "abc01", if_match=updated["etag"])

    assert (await api.get_event(calendar, "abc01"))["status"] == "cancelled"
    revived = await api.update_event(
        calendar, "abc01", {**event("abc01"), "status": "confirmed"}
    )
    assert revived["status"] == "confirmed"


async def test_no_ones_change_is_overwritten(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    inserted = await api.insert_event(calendar, event("abc01"))
    await google.control(
        "PUT", f"calendars/{calendar}/events/abc01", {"location": "Raum 2"}
    )

    with pytest.raises(Conflict) as patch:
        await api.patch_event(
            calendar, "abc01", {"location": "Raum 1"}, if_match=inserted["etag"]
        )
    with pytest.raises(Conflict):
        await api.update_event(
            calendar, "abc01", event("abc01"), if_match=inserted["etag"]
        )
    with pytest.raises(Conflict):
        await api.delete_event(calendar, "abc01", if_match=inserted["etag"])

    assert patch.value.status == 412
    assert (await api.get_event(calendar, "abc01"))["location"] == "Raum 2"


async def test_an_id_exists_once_and_is_required(
    api: GoogleCalendarAPI, calendar: str
) -> None:
    await api.insert_event(calendar, event("abc01"))

    with pytest.raises(Conflict, match="duplicate"):
        await api.insert_event(calendar, event("abc01"))
    with pytest.raises(InvalidInput):
        await api.insert_event(calendar, at_nine())


async def test_what_is_not_there_is_not_found(
    api: GoogleCalendarAPI, calendar: str
) -> None:
    await api.insert_event(calendar, event("abc01"))
    await api.delete_event(calendar, "abc01")

    for missing in (
        api.get_event(calendar, "abc02"),
        api.delete_event(calendar, "abc01"),
        api.get_calendar("unknown"),
        api.list_events("unknown"),
    ):
        with pytest.raises(NotFound):
            await missing


# -- lists ------------------------------------------------------------------------------------------------------------


async def test_a_full_list_reads_every_page_even_after_empty_ones(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    ids = {f"abc0{n}" for n in range(5)}
    await asyncio.gather(*(api.insert_event(calendar, event(each)) for each in ids))
    await google.control("POST", "page-size", {"n": 2, "empty_pages": True})

    events, token, is_full = await api.list_events(calendar)

    assert {each["id"] for each in events} == ids
    assert len(events) == 5
    assert (bool(token), is_full) == (True, True)


async def test_an_incremental_list_holds_what_changed_and_what_was_deleted(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    for each in ("abc01", "abc02", "abc03"):
        await api.insert_event(calendar, event(each))
    _, token, _ = await api.list_events(calendar)
    await api.patch_event(calendar, "abc01", {"location": "Raum 1"})
    await api.delete_event(calendar, "abc02")
    await google.control("POST", "page-size", {"n": 1})

    changed = await api.list_events(calendar, token)

    assert {each["id"]: each["status"] for each in changed.events} == {
        "abc01": "confirmed",
        "abc02": "cancelled",
    }
    assert not changed.is_full
    assert (await api.list_events(calendar, changed.next_sync_token)).events == []


async def test_a_useless_sync_token_asks_for_a_full_list(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    _, token, _ = await api.list_events(calendar)
    await google.control("POST", "expire-sync-tokens")

    for useless in (token, "1"):
        with pytest.raises(SyncTokenExpired):
            await api.list_events(calendar, useless)

    with pytest.raises(NotFound):  # no calendar is another matter
        await api.list_events("unknown", token)


async def test_a_list_without_its_end_is_not_believed(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    await fault(
        google, method="GET", path="/events$", status=200, body={"items": []}, count=1
    )
    with pytest.raises(UnexpectedAnswer):
        await api.list_events(calendar)

    await fault(google, method="GET", path="/events$", truncate_json=True, count=1)
    with pytest.raises(UnexpectedAnswer):
        await api.list_events(calendar)

    assert (await api.list_events(calendar)).events == []


# -- patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "quota",
    [
        {"status": 403, "reason": "userRateLimitExceeded"},
        {"status": 429},
        {"status": 503},
    ],
)
async def test_patience_is_rewarded(
    api: GoogleCalendarAPI, calendar: str, google: Google, quota: dict[str, Any]
) -> None:
    body = {
        "error": {
            "errors": [
                {
                    "domain": "usageLimits",
                    "reason": quota.get("reason", "rateLimitExceeded"),
                }
            ]
        }
    }
    await fault(
        google,
        method="POST",
        path="/events$",
        status=quota["status"],
        body=body,
        count=2,
    )

    await api.insert_event(calendar, event("abc01"))

    assert [entry["status"] for entry in journal(google, "POST", "/events")] == [
        quota["status"]
    ] * 2 + [200]


@pytest.mark.parametrize("status", [429, 503])
async def test_no_try_comes_before_the_time_that_google_asks_for(
    api: GoogleCalendarAPI, calendar: str, google: Google, status: int
) -> None:
    await fault(
        google,
        path=f"/calendars/{calendar}$",
        status=status,
        headers={"Retry-After": "1"},
        count=1,
    )
    loop = asyncio.get_running_loop()
    started = loop.time()

    await api.get_calendar(calendar)

    assert loop.time() - started >= 1


async def test_a_wait_beyond_the_deadline_is_not_begun(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    await fault(
        google,
        path=f"/calendars/{calendar}$",
        status=429,
        headers={"Retry-After": "3600"},
    )

    with pytest.raises(RateLimited) as limited:
        await api.get_calendar(calendar)

    assert limited.value.retry_after_seconds == 3600
    assert len(journal(google, "GET", f"/calendars/{calendar}")) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(400, ValidationFailed), (403, Forbidden), (404, NotFound)]
)
async def test_a_refusal_is_final_and_reveals_nothing_of_the_event(
    api: GoogleCalendarAPI,
    calendar: str,
    google: Google,
    status: int,
    kind: type[ForeignSystemError],
) -> None:
    message = f"Invalid value: {SECRET}"
    body = {
        "error": {
            "errors": [{"domain": "global", "reason": "invalid", "message": message}],
            "message": message,
        }
    }
    await fault(google, method="POST", path="/events$", status=status, body=body)

    with pytest.raises(kind) as refused:
        await api.insert_event(calendar, event("abc01"))

    assert (refused.value.status, refused.value.reason) == (status, "invalid")
    shown = "".join(traceback.format_exception(refused.value))
    assert not any(text in shown for text in ("Müller", "M\\u00fcller", "M%C3%BCller"))
    assert refused.value.__context__ is None
    assert len(journal(google, "POST", "/events")) == 1


async def test_a_create_that_was_done_unseen_is_a_conflict_and_not_a_second_event(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    await fault(
        google, method="POST", path="/events$", reset=True, when="after", count=1
    )

    with pytest.raises(Conflict):
        await api.insert_event(calendar, event("abc01"))

    assert [each["id"] for each in (await api.list_events(calendar)).events] == [
        "abc01"
    ]


async def test_a_calendar_of_unknown_fate_is_not_created_again(
    api: GoogleCalendarAPI, google: Google
) -> None:
    await fault(google, method="POST", path="/calendars$", status=503, when="after")

    with pytest.raises(Unavailable):
        await api.insert_calendar("AW-SB")

    assert len(journal(google, "POST", "/calendars")) == 1
    assert [entry["summary"] for entry in await api.list_calendars()].count(
        "AW-SB"
    ) == 1


async def test_a_revoked_token_is_replaced_unnoticed(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    await google.control("POST", "revoke-tokens")

    assert (await api.get_calendar(calendar))["id"] == calendar


# -- threads ----------------------------------------------------------------------------------------------------------


def pool_threads() -> set[threading.Thread]:
    """The running threads of the client; earlier tests may have left idle ones."""
    return {
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("google-calendar")
    }


async def test_many_calls_share_few_threads_and_connections(
    api: GoogleCalendarAPI, calendar: str, google: Google
) -> None:
    google.twin.journal.clear()
    others = pool_threads()

    await asyncio.gather(
        *(api.insert_event(calendar, event(f"abc{n:03}")) for n in range(40))
    )

    assert len((await api.list_events(calendar)).events) == 40
    assert (
        len(journal(google, "POST", "/token")) <= THREADS
    )  # a service, and so a token, for each thread
    assert len(pool_threads() - others) <= THREADS


async def test_abandoned_calls_keep_to_their_threads_which_come_free_again(
    opened: Resources, calendar: str, google: Google
) -> None:
    others = pool_threads()
    hasty = GoogleCalendarAPI(resources=opened, call_seconds=0.5)
    google.twin.journal.clear()
    await fault(google, path=f"/calendars/{calendar}$", hold=True)

    results = await asyncio.gather(
        *(hasty.get_calendar(calendar) for _ in range(20)), return_exceptions=True
    )

    assert [
        result for result in results if not isinstance(result, UpstreamTimeout)
    ] == []
    assert len(journal(google, "GET", f"/calendars/{calendar}")) <= THREADS
    assert len(pool_threads() - others) <= THREADS
    await google.control("DELETE", "faults")
    assert (await GoogleCalendarAPI(resources=opened).get_calendar(calendar))[
        "id"
    ] == calendar


async def test_a_cancelled_caller_leaves_at_once(
    opened: Resources, calendar: str, google: Google
) -> None:
    call = GoogleCalendarAPI(resources=opened).get_calendar(calendar)
    async with held(google.twin, call, path=f"/calendars/{calendar}$") as task:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        (request,) = journal(google, "GET", f"/calendars/{calendar}")
        assert request["status"] is None, "the request is still running"
    assert (await GoogleCalendarAPI(resources=opened).get_calendar(calendar))[
        "id"
    ] == calendar


# -- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json",
        "{}",
        "[]",
        "null",
        '"text"',
        {"client_email": None},
        {"private_key": "no key"},
        {"private_key": 7},
        {"private_key": None},
        {"token_uri": None},
        {"token_uri": 7},
        {"token_uri": ""},
        {"token_uri": "x"},
        {"token_uri": "ftp://127.0.0.1/token"},
        {"token_uri": "http://[::1/token"},
        {"universe_domain": 7},
    ],
    ids=str,
)
async def test_a_file_that_is_no_key_of_an_account_is_a_matter_of_configuration(
    google_settings: Callable[..., Settings],
    google: Google,
    tmp_path: Path,
    content: str | dict[str, Any],
) -> None:
    path = tmp_path / "strange.json"
    text = content
    if isinstance(content, dict):
        text = json.dumps({**google.key_file, **content})
    path.write_text(str(text))

    await refused_account(google_settings, str(path), ConfigurationError)

    assert not google.twin.journal


@pytest.mark.parametrize("name", ["private_key_id", "universe_domain"])
async def test_a_key_of_an_older_form_is_one(
    google_settings: Callable[..., Settings],
    google: Google,
    tmp_path: Path,
    name: str,
) -> None:
    path = tmp_path / "older.json"
    key = {key: value for key, value in google.key_file.items() if key != name}
    path.write_text(json.dumps(key))
    settings = google_settings(GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=str(path))

    async with Resources(settings) as resources:
        assert len(await GoogleCalendarAPI(resources=resources).list_calendars()) == 1


async def test_an_account_that_is_missing_or_unknown_to_google_is_one_as_well(
    google_settings: Callable[..., Settings], google: Google, tmp_path: Path
) -> None:
    strange = tmp_path / "strange.json"
    strange.write_text(
        json.dumps({**google.key_file, "client_email": "stranger@example.de"})
    )

    await refused_account(google_settings, "", ConfigurationError)
    await refused_account(google_settings, str(tmp_path), ConfigurationError)
    await refused_account(google_settings, str(tmp_path / "none"), ConfigurationError)
    await refused_account(google_settings, str(strange), LoginRefused)

    assert journal(google) == []


async def test_another_key_in_the_file_is_used_by_the_next_connection(
    google_settings: Callable[..., Settings], google: Google
) -> None:
    settings = google_settings()
    path = Path(str(settings.google_calendar.service_account_path))
    path.write_text(
        json.dumps({**google.key_file, "client_email": "stranger@example.de"})
    )
    async with Resources(settings) as resources:
        api = GoogleCalendarAPI(resources=resources)
        with pytest.raises(LoginRefused):
            await api.list_calendars()

        path.write_text(json.dumps(google.key_file))

        assert len(await api.list_calendars()) == 1


async def refused_account(
    make: Callable[..., Settings], path: str, kind: type[Exception]
) -> None:
    async with Resources(make(GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH=path)) as resources:
        with pytest.raises(kind, match="GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH"):
            await GoogleCalendarAPI(resources=resources).list_calendars()


async def test_an_unreachable_google_is_unavailable(
    google_settings: Callable[..., Settings], opened: Resources
) -> None:
    settings = google_settings(GOOGLE_CALENDAR_API_ENDPOINT="http://127.0.0.1:1")
    async with Resources(settings) as resources:
        with pytest.raises(Unavailable) as unreachable:
            await GoogleCalendarAPI(
                resources=resources, call_seconds=4
            ).list_calendars()

    assert not unreachable.value.was_sent


async def test_without_the_shared_rate_limit_nothing_is_sent(
    google_settings: Callable[..., Settings], google: Google
) -> None:
    async with Resources(google_settings(REDIS_PORT=1)) as resources:
        with pytest.raises(Unavailable, match="Redis"):
            await GoogleCalendarAPI(resources=resources).list_calendars()

    assert journal(google) == []


async def test_while_it_is_paused_calendars_are_read_and_not_written(
    api: GoogleCalendarAPI, opened: Resources, google: Google
) -> None:
    calendar = await api.insert_calendar("AW-SB")
    await pause(opened, Scope("all"), reason="Wartung", who="cli:anna")
    google.twin.journal.clear()
    with pytest.raises(Paused):
        await api.insert_event(calendar["id"], {"id": "abcdef"})
    assert (await api.get_calendar(calendar["id"]))["summary"] == "AW-SB"
    # A further thread of the client logs in by itself, which writes nothing.
    methods = {
        entry["method"] for entry in google.twin.journal if "token" not in entry["path"]
    }
    assert methods == {"GET"}


async def test_reading_asks_postgresql_nothing(
    google_settings: Callable[..., Settings], google: Google
) -> None:
    asked: list[object] = []

    async def refuse(reader: asyncio.StreamReader, writer: Any) -> None:
        asked.append(reader)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = google_settings(POSTGRES_HOST="127.0.0.1", POSTGRES_PORT=port)
    async with server, Resources(settings) as resources:
        await resources.calendar_redis.flushall()
        api = GoogleCalendarAPI(resources=resources)
        calendar_id = str((await api.insert_calendar("AW-SB"))["id"])
        assert asked
        asked.clear()
        await api.get_calendar(calendar_id)
        await api.list_calendars()
        await api.list_acl(calendar_id)
        await api.list_events(calendar_id)
        assert asked == []
