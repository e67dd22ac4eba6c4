"""A calendar system in memory, as small as the calendar sync allows: the second implementation of its seam."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from services.calendar_sync.provider import SYSTEM
from services.core.errors import Conflict, NotFound, SyncTokenExpired

Json = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """What a list of events answers."""

    events: list[Json]
    next_sync_token: str
    is_full: bool


@dataclass
class _Calendar:
    entry: Json
    events: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, Json] = field(default_factory=dict)


class MemoryCalendar:
    """Calendars that one account owns; see `services.calendar_sync.provider.CalendarProvider`."""

    def __init__(self) -> None:
        self.calendars: dict[str, _Calendar] = {}
        self._versions = count(1)

    # -- calendars ------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> list[Json]:
        return [dict(calendar.entry) for calendar in self.calendars.values()]

    async def get_calendar(self, calendar_id: str) -> Json:
        if calendar_id == "primary":
            return {"id": "account@memory.test"}
        return dict(self._calendar(calendar_id).entry)

    async def insert_calendar(self, summary: str, description: str = "") -> Json:
        calendar_id = f"calendar-{len(self.calendars)}"
        entry = {"id": calendar_id, "summary": summary, "accessRole": "owner"}
        self.calendars[calendar_id] = _Calendar({**entry, "description": description})
        return dict(entry)

    async def patch_calendar(self, calendar_id: str, changes: Json) -> Json:
        self._calendar(calendar_id).entry.update(changes)
        return await self.get_calendar(calendar_id)

    # -- sharing --------------------------------------------------------------------------------------------------

    async def list_acl(self, calendar_id: str) -> list[Json]:
        return list(self._calendar(calendar_id).rules.values())

    async def insert_acl(
        self, calendar_id: str, role: str, email: str, *, notify: bool = False
    ) -> Json:
        scope = {"type": "user", "value": email}
        rule = {"id": f"user:{email}", "role": role, "scope": scope}
        self._calendar(calendar_id).rules[rule["id"]] = rule
        return rule

    async def patch_acl(self, calendar_id: str, rule_id: str, role: str) -> Json:
        rule = self._known(self._calendar(calendar_id).rules, rule_id)
        rule["role"] = role
        return rule

    async def delete_acl(self, calendar_id: str, rule_id: str) -> None:
        self._known(self._calendar(calendar_id).rules, rule_id)
        del self._calendar(calendar_id).rules[rule_id]

    # -- events ---------------------------------------------------------------------------------------------------

    async def list_events(
        self, calendar_id: str, sync_token: str | None = None
    ) -> Listing:
        events = list(self._calendar(calendar_id).events.values())
        now = str(next(self._versions))
        if sync_token is None:
            live = [event for event in events if event["status"] != "cancelled"]
            return Listing(live, now, is_full=True)
        if not sync_token.isdecimal():
            raise SyncTokenExpired(SYSTEM, "unknown token")
        changed = [event for event in events if int(event["etag"]) > int(sync_token)]
        return Listing(changed, now, is_full=False)

    async def get_event(self, calendar_id: str, event_id: str) -> Json:
        return self._known(self._calendar(calendar_id).events, event_id)

    async def insert_event(self, calendar_id: str, body: Json) -> Json:
        if body["id"] in self._calendar(calendar_id).events:
            raise Conflict(SYSTEM, "the id is taken", status=409)
        return self._store(calendar_id, {**body, "status": "confirmed"})

    async def patch_event(
        self,
        calendar_id: str,
        event_id: str,
        changes: Json,
        *,
        if_match: str | None = None,
    ) -> Json:
        event = self._of_version(calendar_id, event_id, if_match)
        return self._store(calendar_id, _patched(event, changes))

    async def delete_event(
        self, calendar_id: str, event_id: str, *, if_match: str | None = None
    ) -> None:
        event = self._of_version(calendar_id, event_id, if_match)
        if event["status"] == "cancelled":
            raise NotFound(SYSTEM, "deleted already", status=410)
        self._store(calendar_id, {**event, "status": "cancelled"})

    def _calendar(self, calendar_id: str) -> _Calendar:
        found: _Calendar = self._known(self.calendars, calendar_id)
        return found

    def _known(self, records: dict[str, Any], key: str) -> Any:
        if key not in records:
            raise NotFound(SYSTEM, "there is none", status=404)
        return records[key]

    def _of_version(self, calendar_id: str, event_id: str, etag: str | None) -> Json:
        event: Json = self._known(self._calendar(calendar_id).events, event_id)
        if etag not in (None, event["etag"]):
            raise Conflict(SYSTEM, "another version", status=412)
        return event

    def _store(self, calendar_id: str, event: Json) -> Json:
        updated = datetime.now(UTC).isoformat()
        stored = {**event, "etag": str(next(self._versions)), "updated": updated}
        self._calendar(calendar_id).events[event["id"]] = stored
        return stored


def _patched(record: Json, changes: Json) -> Json:
    """The record with the changes, those within a member that is an object as well; null removes one."""
    result = dict(record)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = _patched(result[name], value)
        else:
            result[name] = value
    return result
