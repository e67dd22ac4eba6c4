"""What the tests of the Google twin share: the unmodified Google client, driven in threads."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

CALENDAR_SCOPE = "https://www.googleapis.com/auth/calendar"
BERLIN = "Europe/Berlin"


def calendar_service(url: str, key_file: dict[str, Any], *, scope: str = CALENDAR_SCOPE) -> Any:
    """Google's client for one service account; not thread-safe, so only one call at a time."""
    credentials = service_account.Credentials.from_service_account_info(key_file, scopes=[scope])
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
        return Refusal(error.resp.status, first["reason"], body["error"]["message"], first["domain"], body)
    raise AssertionError(f"accepted: {answer}")


class Control:
    """The twin's control API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def __call__(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of a control request that must succeed."""
        async with self._session.request(method, f"{self._url}/__sandbox__/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return json.loads(await answer.text() or "null")


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
