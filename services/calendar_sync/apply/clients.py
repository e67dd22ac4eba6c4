"""The clients and the store that actions need, and the records that they were asked for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.advoware_service import AdvowareService
from services.calendar_sync.mapping import read_google_events, read_termine
from services.calendar_sync.model import GoogleEvent, Termin
from services.calendar_sync.provider import SYSTEM, CalendarProvider
from services.calendar_sync.store import CalendarStore
from services.core.errors import Forbidden, NotFound, UnexpectedAnswer
from services.core.resources import Resources

Json = dict[str, Any]


@dataclass(frozen=True)
class Clients:
    """The clients and the store that actions need. ``trace_id`` is that of the run, for the audit."""

    google: CalendarProvider
    advoware: AdvowareService
    store: CalendarStore
    resources: Resources
    trace_id: str | None = None

    def now(self) -> datetime:
        """The present, aware."""
        return self.resources.clock().astimezone(UTC)


class Colleagues:
    """The other employees' calendars, to which a person may have moved an event of this one."""

    def __init__(self, clients: Clients, calendar_id: str) -> None:
        self._clients = clients
        self._calendar_id = calendar_id
        self._calendars: list[str] | None = None

    async def events(self, event_id: str) -> list[GoogleEvent]:
        """The events of this id, deleted ones included."""
        found: list[GoogleEvent] = []
        for calendar_id in await self._other_calendars():
            with suppress(Forbidden, NotFound):
                record = await self._clients.google.get_event(calendar_id, event_id)
                found.append(one_event(record, event_id))
        return found

    async def _other_calendars(self) -> list[str]:
        """Read once for all events of a run."""
        if self._calendars is None:
            cursors = await self._clients.store.load_cursors()
            known = {cursor.calendar_id for cursor in cursors if cursor.calendar_id}
            self._calendars = sorted(known - {self._calendar_id})
        return self._calendars


def one_termin(record: Json, fr_nr: int) -> Termin:
    """The Termin that was asked for.

    Raises:
        UnexpectedAnswer: the answer is another one, or none.
    """
    read = read_termine([record])
    if not read.items or read.items[0].fr_nr != fr_nr:
        raise UnexpectedAnswer("Advoware", "not the Termin that was asked for")
    return read.items[0]


def one_event(record: Json, event_id: str) -> GoogleEvent:
    """The event that was asked for.

    Raises:
        UnexpectedAnswer: the answer is another one, or none.
    """
    read = read_google_events([record])
    if not read.items or read.items[0].id != event_id:
        raise UnexpectedAnswer(SYSTEM, "not the event that was asked for")
    return read.items[0]
