"""The calendar's part of a rehearsal: Advoware's Termine and the employees' calendars, of which nothing is written.

As in `services.preview.rehearsal`, reads go out, and a write is answered here as the system would have answered it.
What it would refuse, or whether an id was ever used, cannot be known, because it is not asked.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
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
        found = []
        for fr_nr, after in self.written.items():
            before = self.read.get(fr_nr)
            found.append(_termin_change(fr_nr, before, after))
        for fr_nr in sorted(self.deleted):
            before = self.read.get(fr_nr, {})
            found.append(_termin_change(fr_nr, before, after={}))
        return found

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        """Send a read and answer a write of a Termin.

        Raises:
            InvalidInput: a write that no sync of a calendar makes.
        """
        if request.is_write:
            written = self._write(request)
            return json_answer(written)
        fr_nr = _asked_number(request)
        if fr_nr is not None and fr_nr in self.written:
            return json_answer([self.written[fr_nr]])
        answer = await send()
        return self._with_what_would_be(answer)

    def _with_what_would_be(self, answer: HttpAnswer) -> HttpAnswer:
        """The list with the records as they would be; the same answer if it holds none of them."""
        rows = record_list(answer.json_of_list(advoware_protocol.SYSTEM))
        shown = []
        is_altered = False
        for row in rows:
            fr_nr = _number_of(row)
            if fr_nr is None:
                shown.append(row)
                continue
            self.read.setdefault(fr_nr, row)
            if fr_nr in self.deleted:
                is_altered = True
            elif fr_nr in self.written:
                is_altered = True
                shown.append(self.written[fr_nr])
            else:
                shown.append(row)
        if not is_altered:
            return answer
        return json_answer(shown)

    def _write(self, request: ForeignRequest) -> Any:
        match request.method:
            case "POST":
                return self._create(request.body)
            case "PUT":
                return self._replace(request.body)
            case "DELETE":
                return self._delete(request)
        raise InvalidInput(
            f"a rehearsal does not know {request.method} {request.path} of {request.system}",
        )

    def _create(self, body: Record) -> Record:
        fr_nr = self.number
        self.number += 1
        record = {**body, "frNr": fr_nr}
        self.written[fr_nr] = record
        return dict(record)

    def _replace(self, body: Record) -> Record:
        record = dict(body)
        fr_nr = int(record["frNr"])
        self.written[fr_nr] = record
        return dict(record)

    def _delete(self, request: ForeignRequest) -> None:
        params = dict(request.params or {})
        fr_nr = int(params["frnr"])
        self.written.pop(fr_nr, None)
        self.deleted.add(fr_nr)


def _asked_number(request: ForeignRequest) -> int | None:
    """The frNr that a read names, None if it names none."""
    params = dict(request.params or {})
    number = params.get("frnr")
    if number is None:
        return None
    return int(number)


def _number_of(row: Any) -> int | None:
    """The frNr of a row, None if it has none."""
    if not isinstance(row, dict):
        return None
    fr_nr = row.get("frNr")
    if not isinstance(fr_nr, int):
        return None
    return fr_nr


def _termin_change(fr_nr: int, before: Record | None, after: Record) -> Change:
    return Change(
        system=advoware_protocol.SYSTEM,
        kind="Termine",
        record_id=str(fr_nr),
        before=before,
        after=after,
    )


def json_answer(value: Any) -> HttpAnswer:
    """An answer as a foreign system gives it."""
    headers = {"Content-Type": "application/json"}
    body = json.dumps(value).encode()
    return HttpAnswer(200, headers, body)


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
            change = Change(
                system=CALENDAR,
                kind=key.kind,
                record_id=key.record_id,
                before=before,
                after=after or {},
            )
            found.append(change)
        return found

    # -- calendars ------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> list[Record]:
        """See `CalendarProvider`; likewise all that follow."""
        listed = await self._real.list_calendars()
        listed_ids = set()
        shown = []
        for row in listed:
            listed_ids.add(row.get("id"))
            shown.append(self._observe(_calendar_key(row), row))
        shown += self._new_calendars(listed_ids)
        return shown

    def _new_calendars(self, listed_ids: set[Any]) -> Iterator[Record]:
        for key, record in self._written.items():
            if record is None or key.kind != "calendar":
                continue
            if record["id"] not in listed_ids:
                yield record

    async def get_calendar(self, calendar_id: str) -> Record:
        if _is_new(calendar_id):
            key = _Key("calendar", calendar_id, calendar_id)
            return self._current(key)
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
        return self._write(_calendar_key(record), record)

    async def patch_calendar(self, calendar_id: str, changes: Record) -> Record:
        record = await self.get_calendar(calendar_id)
        key = _Key("calendar", calendar_id, calendar_id)
        return self._write(key, {**record, **changes})

    # -- sharing --------------------------------------------------------------------------------------------------

    async def list_acl(self, calendar_id: str) -> Sequence[Record]:
        listed: Sequence[Record] = []
        if not _is_new(calendar_id):
            listed = await self._real.list_acl(calendar_id)
        rules = {}
        for row in filter(_is_record, listed):
            rule_id = str(row.get("id"))
            self._read.setdefault(_Key("rule", calendar_id, rule_id), row)
            rules[rule_id] = row
        self._add_written_rules(rules, calendar_id)
        return list(rules.values())

    def _add_written_rules(self, rules: dict[str, Record], calendar_id: str) -> None:
        """Bring the rules of a calendar to what they would be."""
        for key, rule in self._written.items():
            if key.kind != "rule" or key.calendar_id != calendar_id:
                continue
            rules.pop(key.record_id, None)
            if rule is not None:
                rules[key.record_id] = rule

    async def insert_acl(
        self,
        calendar_id: str,
        role: str,
        email: str,
        *,
        notify: bool = False,
    ) -> Record:
        rule_id = f"user:{email}"
        key = _Key("rule", calendar_id, rule_id)
        rule = {"id": rule_id, "role": role, "scope": {"type": "user", "value": email}}
        return self._write(key, rule)

    async def patch_acl(self, calendar_id: str, rule_id: str, role: str) -> Record:
        key = _Key("rule", calendar_id, rule_id)
        rule = self._read.get(key, {"id": rule_id})
        return self._write(key, {**rule, "role": role})

    async def delete_acl(self, calendar_id: str, rule_id: str) -> None:
        key = _Key("rule", calendar_id, rule_id)
        self._written[key] = None

    # -- events ---------------------------------------------------------------------------------------------------

    async def list_events(
        self,
        calendar_id: str,
        sync_token: str | None = None,
    ) -> ListedEvents:
        if _is_new(calendar_id):
            return _Events([], _VERSION, is_full=True)
        listed = await self._real.list_events(calendar_id, sync_token)
        shown = []
        for record in listed.events:
            shown.append(self._observe_event(calendar_id, record))
        return _Events(
            events=shown,
            next_sync_token=listed.next_sync_token,
            is_full=listed.is_full,
        )

    def _observe_event(self, calendar_id: str, record: Any) -> Any:
        """An event of a list; what is none is shown as it is, because the run reports it."""
        if not _is_record(record):
            return record
        key = _Key("event", calendar_id, str(record.get("id")))
        return self._observe(key, record)

    async def get_event(self, calendar_id: str, event_id: str) -> Record:
        key = _Key("event", calendar_id, event_id)
        if key in self._written:
            return self._current(key)
        if _is_new(calendar_id):
            raise NotFound(CALENDAR, "no such event")
        record = await self._real.get_event(calendar_id, event_id)
        return self._observe(key, record)

    async def insert_event(self, calendar_id: str, body: Record) -> Record:
        event_id = body.get("id")
        if not event_id:
            raise InvalidInput("an event needs an id of our own")
        key = _Key("event", calendar_id, str(event_id))
        if key in self._read or key in self._written:
            raise Conflict(CALENDAR, "the id is taken", status=409)
        record = {"status": "confirmed", **body}
        return self._write(key, record)

    async def patch_event(
        self,
        calendar_id: str,
        event_id: str,
        changes: Record,
        *,
        if_match: str | None = None,
    ) -> Record:
        key = _Key("event", calendar_id, event_id)
        record = await self.get_event(calendar_id, event_id)
        patched = _patched(record, changes)
        return self._write(key, patched)

    async def delete_event(
        self,
        calendar_id: str,
        event_id: str,
        *,
        if_match: str | None = None,
    ) -> None:
        key = _Key("event", calendar_id, event_id)
        record = await self.get_event(calendar_id, event_id)
        if record.get("status") == "cancelled":
            raise NotFound(CALENDAR, "the event is deleted already")
        self._written[key] = None

    # -- what was read and would be written -------------------------------------------------------------------------

    def _observe(self, key: _Key, record: Record) -> Record:
        if key not in self._read:
            self._read[key] = copy.deepcopy(record)
        if key in self._written:
            return self._current(key)
        return record

    def _current(self, key: _Key) -> Record:
        record = self._written.get(key)
        if record is not None:
            return copy.deepcopy(record)
        if key.kind == "event" and key in self._read:
            return {**self._read[key], "status": "cancelled"}
        raise NotFound(CALENDAR, "no such record")

    def _write(self, key: _Key, record: Record) -> Record:
        version = self._next(_VERSION)
        stored = copy.deepcopy(record)
        stored["etag"] = f'"{version}"'
        self._written[key] = stored
        return copy.deepcopy(stored)

    def _next(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}-{self._number}"


def _is_record(item: object) -> bool:
    return isinstance(item, dict)


def _calendar_key(record: Record) -> _Key:
    calendar_id = str(record.get("id"))
    return _Key("calendar", calendar_id, calendar_id)


def _is_new(calendar_id: str) -> bool:
    return calendar_id.startswith(_NEW_CALENDAR)


def _patched(record: Record, changes: Record) -> Record:
    """The record after a PATCH: null removes a field, and what is within a field is changed likewise."""
    result = dict(record)
    for name, value in changes.items():
        current = result.get(name)
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(current, dict):
            result[name] = _patched(current, value)
        else:
            result[name] = value
    return result
