"""What the methods of the API share: a call, the twin's data, scopes, and conditional requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from sandbox.google.calendar_store import Calendar, CalendarStore, Versions
from sandbox.google.errors import condition_not_met, required
from sandbox.google.event import Event, Resource
from sandbox.google.event_store import EventStore
from sandbox.google.listing import Lister, Listing, Query, Select
from sandbox.google.people import People

API_PREFIX: Final = "/calendar/v3"
_AUTH: Final = "https://www.googleapis.com/auth/"
_QUOTED: Final = re.compile(r'"[^"]*"')


class World:
    """The data of the twin."""

    def __init__(self, now: Callable[[], datetime], seed: int) -> None:
        self.now = now
        self.versions = Versions(now)
        self.calendars = CalendarStore(self.versions, now, seed)
        self.events = EventStore(self.versions, now, seed)
        self.people = People(self.calendars, self.events)
        self.lister = Lister(self.versions, now)


@dataclass(frozen=True)
class Call:
    """One call of a method by an account that has shown a valid token."""

    world: World
    request: web.Request
    caller: str  #: e-mail address
    query: Query
    body: Resource  #: empty if there was none

    def path(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def parameter(self, name: str) -> str:
        """A query parameter that must be given. Raises ApiError 400."""
        value = self.query.text(name)
        if value is None:
            raise required(f"Required parameter: {name}")
        return value

    def calendar(self, role: str) -> Calendar:
        """The calendar of the path, if the caller has that role. Raises ApiError 403 or 404."""
        calendar_id = self.path("calendarId")
        return self.calendars.get(self.caller, calendar_id, role)

    def event(self, calendar: Calendar) -> Event:
        """The event of the path. Raises ApiError 404."""
        event_id = self.path("eventId")
        return self.events.get(calendar, event_id)

    def role_in(self, calendar: Calendar) -> str:
        """What the caller is in a calendar."""
        return calendar.role_of(self.caller)

    @property
    def calendars(self) -> CalendarStore:
        """All calendars."""
        return self.world.calendars

    @property
    def events(self) -> EventStore:
        """All events."""
        return self.world.events

    @property
    def list_etag(self) -> str:
        """The etag of a list: that of the last change of anything."""
        return f'"{self.world.versions.last}"'

    def page(self, listing: Listing, select: Select) -> Mapping[str, object]:
        """The requested page of a list, see `Lister.page`."""
        return self.world.lister.page(listing, self.query, select)

    def expect_etag(self, etag: str) -> None:
        """Raises ApiError 412 if ``If-Match`` asks for another one."""
        wanted = self.request.headers.get("If-Match")
        if wanted is None or _matches(wanted, etag):
            return
        raise condition_not_met()

    def stop_if_known(self, etag: str) -> None:
        """Raises HTTPNotModified if ``If-None-Match`` names it."""
        known = self.request.headers.get("If-None-Match")
        if known is None:
            return
        if _matches(known, etag):
            raise web.HTTPNotModified(headers={"ETag": etag})


#: Returns the answer's JSON, or None for 204.
Method = Callable[[Call], Resource | None]


@dataclass(frozen=True)
class Route:
    """A method of the API: HTTP method, path below `API_PREFIX`, what it does, and scopes of which one is needed."""

    verb: str
    path: str
    method: Method
    scopes: frozenset[str]


def scopes(*names: str) -> frozenset[str]:
    """Full names of scopes. Scopes that cover owned or public calendars only are not distinguished here: they open
    nothing.
    """
    return frozenset(_AUTH + name for name in names)


def _matches(header: str, etag: str) -> bool:
    if header.strip() == "*":
        return True
    return etag in _QUOTED.findall(header)
