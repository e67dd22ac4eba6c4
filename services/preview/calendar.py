"""The calendar's part of a rehearsal: Advoware's Termine and the employees' calendars, of which nothing is written.

As in `services.preview.rehearsal`, reads go out, and a write is answered here as the system would have answered it.
What it would refuse, or whether an id was ever used, cannot be known, because it is not asked.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.calendar_sync.provider import SYSTEM as CALENDAR
from services.calendar_sync.provider import CalendarProvider, ListedEvents
from services.core.errors import Conflict, InvalidInput, NotFound
from services.core.http import HttpAnswer
from services.core.write_guard import ForeignRequest, Send
from services.preview.changes import Change, Record
from services.values import advoware_protocol
from services.values.advoware_protocol import record_list

#: The first number of a Termin that would be made: larger than any that Advoware has given.
FIRST_NUMBER = 2_000_000_001
_NEW_CALENDAR = "rehearsed-calendar"
_VERSION = "rehearsed"


# -- Advoware -------------------------------------------------------------------------------------------------------


@dataclass
class RehearsedTermine:
    """The Termine that were read, and as they would be."""

    read: dict[int, Record] = field(default_factory=dict)
    written: dict[int, Record] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    number: int = FIRST_NUMBER

    def changes(self) -> list[Change]:
        """What would be different in the end."""
        written = [self._change(fr_nr) for fr_nr in self.written]
        gone = [self._deletion(fr_nr) for fr_nr in sorted(self.deleted)]
        return [*written, *gone]

    def _change(self, fr_nr: int) -> Change:
        before, after = self.read.get(fr_nr), self.written[fr_nr]
        return Change(advoware_protocol.SYSTEM, "Termine", str(fr_nr), before, after)

    def _deletion(self, fr_nr: int) -> Change:
        before = self.read.get(fr_nr, {})
        return Change(advoware_protocol.SYSTEM, "Termine", str(fr_nr), before, {})

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        """Send a read and answer a write of a Termin.

        Raises:
            InvalidInput: a write that no sync of a calendar makes.
        """
        if request.is_write:
            return _answer(self._write(request))
        number = dict(request.params or {}).get("frnr")
        if number is not None and int(number) in self.written:
            return _answer([self.written[int(number)]])
        answer = await send()
        return self._with_what_would_be(answer)

    def _with_what_would_be(self, answer: HttpAnswer) -> HttpAnswer:
        """The list with the records as they would be; the same answer if it holds none of them."""
        rows = record_list(answer.json(advoware_protocol.SYSTEM))
        shown, is_altered = [], False
        for row in rows:
            fr_nr = row.get("frNr") if isinstance(row, dict) else None
            if not isinstance(fr_nr, int):
                shown.append(row)
                continue
            self.read.setdefault(fr_nr, row)
            is_altered = is_altered or fr_nr in self.written or fr_nr in self.deleted
            if fr_nr not in self.deleted:
                shown.append(self.written.get(fr_nr, row))
        return _answer(shown) if is_altered else answer

    def _write(self, request: ForeignRequest) -> Any:
        if request.method == "POST":
            record = {**request.body, "frNr": self.number}
            self.number += 1
            self.written[record["frNr"]] = record
            return dict(record)
        if request.method == "PUT":
            record = dict(request.body)
            self.written[int(record["frNr"])] = record
            return dict(record)
        if request.method == "DELETE":
            fr_nr = int(dict(request.params or {})["frnr"])
            self.written.pop(fr_nr, None)
            self.deleted.add(fr_nr)
            return None
        raise InvalidInput(
            f"a rehearsal does not know {request.method} {request.path} of {request.system}"
        )


def _answer(value: Any) -> HttpAnswer:
    headers = {"Content-Type": "application/json"}
    return HttpAnswer(200, headers, json.dumps(value).encode())


# -- the calendar system ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Events:
    """An answer to `CalendarProvider.list_events`."""

    events: list[Record]
    next_sync_token: str
    is_full: bool


@dataclass(frozen=True)
class _Key:
    """A record of the calendar system; ``kind`` is ``event``, ``rule`` or ``calendar``."""

    kind: str
    calendar_id: str
    record_id: str


class RehearsedCalendar:
    """A `CalendarProvider` that reads from another one and keeps what would be written to itself."""

    def __init__(self, real: CalendarProvider) -> None:
        self._real = real
        self._read: dict[_Key, Record] = {}
        self._written: dict[_Key, Record | None] = {}  # None: deleted
        self._number = 0

    def changes(self) -> list[Change]:
        """What would be different in the end."""
        found = []
        for key, after in self._written.items():
            before = self._read.get(key)
            if before is None and after is None:
                continue
            found.append(Change(CALENDAR, key.kind, key.record_id, before, after or {}))
        return found

    # -- calendars ------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> list[Record]:
        """See `CalendarProvider`; likewise all that follow."""
        listed = await self._real.list_calendars()
        known = [self._observe(_calendar_key(row), row) for row in listed]
        created = [
            record
            for key, record in self._written.items()
            if record is not None and key.kind == "calendar"
        ]
        listed_ids = {row.get("id") for row in listed}
        new = [record for record in created if record["id"] not in listed_ids]
        return [*known, *new]

    async def get_calendar(self, calendar_id: str) -> Record:
        if _is_new(calendar_id):
            return self._current(_Key("calendar", calendar_id, calendar_id))
        record = await self._real.get_calendar(calendar_id)
        return self._observe(_calendar_key(record), record)

    async def insert_calendar(self, summary: str, description: str = "") -> Record:
        calendar_id = self._next(_NEW_CALENDAR)
        record = {
            "id": calendar_id,
            "summary": summary,
            "description": description,
            "accessRole": "owner",
        }
        return self._write(_Key("calendar", calendar_id, calendar_id), record)

    async def patch_calendar(self, calendar_id: str, changes: Record) -> Record:
        record = await self.get_calendar(calendar_id)
        key = _Key("calendar", calendar_id, calendar_id)
        return self._write(key, {**record, **changes})

    # -- sharing --------------------------------------------------------------------------------------------------

    async def list_acl(self, calendar_id: str) -> Sequence[Record]:
        listed: Sequence[Record] = []
        if not _is_new(calendar_id):
            listed = await self._real.list_acl(calendar_id)
        for row in listed:
            self._read.setdefault(_Key("rule", calendar_id, str(row.get("id"))), row)
        rules = {str(row.get("id")): row for row in listed}
        for key, rule in self._written.items():
            if key.kind != "rule" or key.calendar_id != calendar_id:
                continue
            rules.pop(key.record_id, None)
            if rule is not None:
                rules[key.record_id] = rule
        return list(rules.values())

    async def insert_acl(
        self, calendar_id: str, role: str, email: str, *, notify: bool = False
    ) -> Record:
        rule_id = f"user:{email}"
        scope = {"type": "user", "value": email}
        rule = {"id": rule_id, "role": role, "scope": scope}
        return self._write(_Key("rule", calendar_id, rule_id), rule)

    async def patch_acl(self, calendar_id: str, rule_id: str, role: str) -> Record:
        key = _Key("rule", calendar_id, rule_id)
        return self._write(key, {**self._read.get(key, {"id": rule_id}), "role": role})

    async def delete_acl(self, calendar_id: str, rule_id: str) -> None:
        self._written[_Key("rule", calendar_id, rule_id)] = None

    # -- events ---------------------------------------------------------------------------------------------------

    async def list_events(
        self, calendar_id: str, sync_token: str | None = None
    ) -> ListedEvents:
        if _is_new(calendar_id):
            return _Events([], _VERSION, is_full=True)
        listed = await self._real.list_events(calendar_id, sync_token)
        shown = []
        for record in listed.events:
            key = _Key("event", calendar_id, str(record.get("id")))
            shown.append(self._observe(key, record))
        return _Events(shown, listed.next_sync_token, listed.is_full)

    async def get_event(self, calendar_id: str, event_id: str) -> Record:
        key = _Key("event", calendar_id, event_id)
        if key in self._written:
            return self._current(key)
        if _is_new(calendar_id):
            raise NotFound(CALENDAR, "no such event")
        return self._observe(key, await self._real.get_event(calendar_id, event_id))

    async def insert_event(self, calendar_id: str, body: Record) -> Record:
        if not body.get("id"):
            raise InvalidInput("an event needs an id of our own")
        key = _Key("event", calendar_id, str(body["id"]))
        if key in self._read or key in self._written:
            raise Conflict(CALENDAR, "the id is taken", status=409)
        return self._write(key, {"status": "confirmed", **body})

    async def patch_event(
        self,
        calendar_id: str,
        event_id: str,
        changes: Record,
        *,
        if_match: str | None = None,
    ) -> Record:
        record = await self.get_event(calendar_id, event_id)
        return self._write(
            _Key("event", calendar_id, event_id), _patched(record, changes)
        )

    async def delete_event(
        self, calendar_id: str, event_id: str, *, if_match: str | None = None
    ) -> None:
        record = await self.get_event(calendar_id, event_id)
        if record.get("status") == "cancelled":
            raise NotFound(CALENDAR, "the event is deleted already")
        self._written[_Key("event", calendar_id, event_id)] = None

    # -- what was read and would be written -------------------------------------------------------------------------

    def _observe(self, key: _Key, record: Record) -> Record:
        self._read.setdefault(key, copy.deepcopy(record))
        return self._current(key) if key in self._written else record

    def _current(self, key: _Key) -> Record:
        record = self._written.get(key)
        if record is not None:
            return copy.deepcopy(record)
        if key.kind == "event" and key in self._read:
            return {**self._read[key], "status": "cancelled"}
        raise NotFound(CALENDAR, "no such record")

    def _write(self, key: _Key, record: Record) -> Record:
        stored = {**copy.deepcopy(record), "etag": f'"{self._next(_VERSION)}"'}
        self._written[key] = stored
        return copy.deepcopy(stored)

    def _next(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}-{self._number}"


def _calendar_key(record: Record) -> _Key:
    calendar_id = str(record.get("id"))
    return _Key("calendar", calendar_id, calendar_id)


def _is_new(calendar_id: str) -> bool:
    return calendar_id.startswith(_NEW_CALENDAR)


def _patched(record: Record, changes: Record) -> Record:
    """The record after a PATCH: null removes a field, and what is within a field is changed likewise."""
    result = dict(record)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = _patched(result[name], value)
        else:
            result[name] = value
    return result
