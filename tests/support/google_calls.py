"""What the tests of the Google twin share: the Google client with our login, driven in threads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import BatchHttpRequest

from sandbox.control import running
from sandbox.google.app import GoogleTwin
from services.core.google_login import ServiceAccount

CALENDAR_SCOPE = "https://www.googleapis.com/auth/calendar"
BERLIN = "Europe/Berlin"


def calendar_service(
    url: str, key_file: dict[str, Any], *, scope: str = CALENDAR_SCOPE
) -> Any:
    """Google's client for one service account; not thread-safe, so only one call at a time."""
    account: Any = ServiceAccount
    credentials = account.from_service_account_info(key_file, scopes=[scope])
    return build(
        "calendar",
        "v3",
        credentials=credentials,
        client_options={"api_endpoint": f"{url}/calendar/v3/"},
        static_discovery=True,
        cache_discovery=False,
    )


@dataclass(frozen=True)
class Refusal:
    """What the client makes of an error answer."""

    status: int
    reason: str
    message: str
    domain: str
    body: dict[str, Any]


async def call(request: Any) -> Any:
    """The answer to a request that must succeed."""
    return await asyncio.to_thread(request.execute)


async def refused(request: Any) -> Refusal:
    """The refusal of a request that must fail."""
    try:
        answer = await call(request)
    except HttpError as error:
        body = json.loads(error.content)
        first = body["error"]["errors"][0]
        return Refusal(
            error.resp.status,
            first["reason"],
            body["error"]["message"],
            first["domain"],
            body,
        )
    raise AssertionError(f"accepted: {answer}")


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0)
    )

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        """Move it on, for example ``advance(minutes=5)``."""
        self.now += timedelta(**delta)


class Google:
    """A running twin, and Google's client for its service account."""

    def __init__(
        self, twin: GoogleTwin, clock: Clock, session: aiohttp.ClientSession
    ) -> None:
        self.twin = twin
        self.clock = clock
        self.url = twin.url
        self.key_file = twin.service_account()
        self.email = self.key_file["client_email"]
        self.service = calendar_service(self.url, self.key_file)
        self.calendars = self.service.calendars()
        self.calendar_list = self.service.calendarList()
        self.acl = self.service.acl()
        self.events = self.service.events()
        self._session = session

    async def new_calendar(self, summary: str = "AW-SB") -> str:
        """The id of a new calendar in Berlin's time zone."""
        made = await call(
            self.calendars.insert(body={"summary": summary, "timeZone": BERLIN})
        )
        return str(made["id"])

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of a control request that must succeed."""
        async with self._session.request(
            method, f"{self.url}/__sandbox__/{path}", json=body
        ) as answer:
            text = await answer.text()
            assert answer.status < 300, text
            return json.loads(text or "null")

    async def token(self) -> str:
        """A valid access token, for requests that the client does not make."""
        await call(self.calendar_list.list())
        return str(self.service._http.credentials.token)

    async def raw(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        body: str | None = None,
        below: str | None = None,
    ) -> tuple[int, str]:
        """Status and text of the answer to a hand-made request; ``path`` below the API or another base URL."""
        base = f"{self.url}/calendar/v3" if below is None else below
        async with self._session.request(
            method, base + path, headers=headers, data=body
        ) as answer:
            return answer.status, await answer.text()

    async def batch(self, requests: dict[str, Any]) -> dict[str, Any]:
        """Send the requests as one batch; the answer or the HttpError of each."""
        answers: dict[str, Any] = {}

        def keep(name: str, answer: Any, error: HttpError | None) -> None:
            answers[name] = error or answer

        batch = BatchHttpRequest(
            callback=keep, batch_uri=f"{self.url}/batch/calendar/v3"
        )
        for name, request in requests.items():
            batch.add(request, request_id=name)
        # The requests carry the client's authorised connection along.
        await asyncio.to_thread(batch.execute)
        return answers


@asynccontextmanager
async def serving() -> AsyncIterator[Google]:
    """A twin without calendars or quota, whose clock stands still."""
    clock = Clock()
    twin = GoogleTwin(empty=True, clock=clock, quota_per_minute=None)
    async with running(twin), aiohttp.ClientSession() as session:
        yield Google(twin, clock, session)


def timed(start: str, end: str, **more: Any) -> dict[str, Any]:
    """An event with times in Berlin, such as ``2026-03-02T09:00:00``."""
    return {
        "summary": "Besprechung",
        "start": {"dateTime": start, "timeZone": BERLIN},
        "end": {"dateTime": end, "timeZone": BERLIN},
        **more,
    }


def at_nine(day: str = "2026-03-02", **more: Any) -> dict[str, Any]:
    """An event from nine to ten in Berlin."""
    return timed(f"{day}T09:00:00", f"{day}T10:00:00", **more)


def all_day(start: str, end: str, **more: Any) -> dict[str, Any]:
    """An all-day event with exclusive end."""
    return {"summary": "Urlaub", "start": {"date": start}, "end": {"date": end}, **more}
