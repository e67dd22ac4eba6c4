"""The API's collection events."""

from __future__ import annotations

from typing import Final

from sandbox.google.api import Call, Method, Route, scopes
from sandbox.google.calendar_store import Calendar
from sandbox.google.errors import forbidden, invalid
from sandbox.google.event import Event, Resource, render_timestamp
from sandbox.google.event_query import (
    FILTERS,
    REPEATED,
    list_events,
    list_instances,
    may_change,
    read_filter,
    render,
)
from sandbox.google.listing import Listing, SyncState
from sandbox.google.times import time_zone

_EVENTS: Final = "/calendars/{calendarId}/events"
_IMPORT: Final = f"{_EVENTS}/import"
_EVENT: Final = f"{_EVENTS}/{{eventId}}"
_INSTANCES: Final = f"{_EVENT}/instances"
_MOVE: Final = f"{_EVENT}/move"
_PAGE: Final = 250
_MAX_PAGE: Final = 2500
_SEND_UPDATES: Final = frozenset({"all", "externalOnly", "none"})


def routes() -> list[Route]:
    """All methods of this collection that the twin has."""
    write = scopes("calendar", "calendar.events")
    read = write | scopes("calendar.readonly", "calendar.events.readonly")
    return [
        Route("GET", _EVENTS, _list, read),
        Route("POST", _EVENTS, _insert, write),
        Route("POST", _IMPORT, _import, write),
        Route("GET", _EVENT, _get, read),
        Route("PUT", _EVENT, _change(patch=False), write),
        Route("PATCH", _EVENT, _change(patch=True), write),
        Route("DELETE", _EVENT, _delete, write),
        Route("GET", _INSTANCES, _instances, read),
        Route("POST", _MOVE, _move, write),
    ]


def _list(call: Call) -> Resource:
    calendar = call.calendar("freeBusyReader")

    def select(since: SyncState | None) -> list[Resource]:
        requested = read_filter(call.query, call.world.now())
        found = list_events(call.events, calendar, requested, since)
        return _rows(call, calendar, found)

    listing = Listing(
        collection=f"events of {calendar.id}",
        caller=call.caller,
        role=call.role_in(calendar),
        default_size=_PAGE,
        max_size=_MAX_PAGE,
        filters=FILTERS,
        repeated=REPEATED,
    )
    head = _list_head(call, calendar)
    page = call.page(listing, select)
    return {**head, **page}


def _rows(call: Call, calendar: Calendar, events: list[Event]) -> list[Resource]:
    """Events as a list shows them."""
    role = call.role_in(calendar)
    rows = []
    for event in events:
        row = render(event, calendar, role, call.query, in_list=True)
        rows.append(row)
    return rows


def _instances(call: Call) -> Resource:
    calendar = call.calendar("freeBusyReader")
    master = _series(call, calendar)

    def select(_since: SyncState | None) -> list[Resource]:
        found = list_instances(call.events, calendar, master, call.query)
        return _rows(call, calendar, found)

    listing = Listing(
        collection=f"instances of {master.id} in {calendar.id}",
        caller=call.caller,
        role=call.role_in(calendar),
        default_size=_PAGE,
        max_size=_MAX_PAGE,
    )
    page = call.page(listing, select)
    answer = {**_list_head(call, calendar), **page}
    answer.pop("nextSyncToken", None)
    return answer


def _series(call: Call, calendar: Calendar) -> Event:
    """The series that the path names, by itself or by one of its instances."""
    event = call.event(calendar)
    if event.master_id is not None:
        event = call.events.get(calendar, event.master_id)
    if not event.recurrence:
        raise invalid("The event is not recurring.", "eventId")
    return event


def _list_head(call: Call, calendar: Calendar) -> Resource:
    zone = call.query.text("timeZone")
    if zone is not None:
        time_zone(zone)  # refused in an empty list too
    moments = [event.updated for event in calendar.events.values()]
    changed = max(moments, default=call.world.now())
    texts = dict(calendar.texts)
    texts.pop("location", None)
    return {
        "kind": "calendar#events",
        "etag": f'"{call.world.versions.last}"',
        **texts,
        "updated": render_timestamp(changed, "milliseconds"),
        "timeZone": calendar.zone,
        "accessRole": calendar.role_of(call.caller),
        "defaultReminders": [],
    }


def _get(call: Call) -> Resource:
    calendar = call.calendar("freeBusyReader")
    event = call.event(calendar)
    call.stop_if_known(event.etag)
    return _shown(call, calendar, event)


def _insert(call: Call) -> Resource:
    _check_writing_parameters(call)
    calendar = call.calendar("writerWithoutPrivateAccess")
    event = call.events.insert(call.caller, calendar, call.body)
    return _shown(call, calendar, event)


def _import(call: Call) -> Resource:
    calendar = call.calendar("writerWithoutPrivateAccess")
    event = call.events.import_event(call.caller, calendar, call.body)
    return _shown(call, calendar, event)


def _change(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        _check_writing_parameters(call)
        calendar, before = _event_to_change(call)
        event = call.events.change(
            call.caller,
            calendar,
            before,
            call.body,
            patch=patch,
        )
        return _shown(call, calendar, event)

    return change


def _delete(call: Call) -> None:
    _check_writing_parameters(call)
    calendar, event = _event_to_change(call)
    call.events.delete(calendar, event)


def _move(call: Call) -> Resource:
    _check_writing_parameters(call)
    calendar, event = _event_to_change(call)
    destination_id = call.parameter("destination")
    destination = call.calendars.get(call.caller, destination_id, "writer")
    moved = call.events.move(call.caller, calendar, event, destination)
    return _shown(call, destination, moved)


def _event_to_change(call: Call) -> tuple[Calendar, Event]:
    calendar = call.calendar("writerWithoutPrivateAccess")
    event = call.event(calendar)
    if not may_change(event, call.role_in(calendar)):
        raise forbidden()
    call.expect_etag(event.etag)
    return calendar, event


def _shown(call: Call, calendar: Calendar, event: Event) -> Resource:
    role = call.role_in(calendar)
    return render(event, calendar, role, call.query, in_list=False)


def _check_writing_parameters(call: Call) -> None:
    call.query.choice("sendUpdates", _SEND_UPDATES)
    if (
        call.body.get("conferenceData")
        and call.query.text("conferenceDataVersion") == "1"
    ):
        # A service account has no conference solution of its own.
        raise invalid("Invalid conference type value.")
