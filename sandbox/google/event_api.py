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
_EVENT: Final = f"{_EVENTS}/{{eventId}}"
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
        Route("POST", f"{_EVENTS}/import", _import, write),
        Route("GET", _EVENT, _get, read),
        Route("PUT", _EVENT, _change(patch=False), write),
        Route("PATCH", _EVENT, _change(patch=True), write),
        Route("DELETE", _EVENT, _delete, write),
        Route("GET", f"{_EVENT}/instances", _instances, read),
        Route("POST", f"{_EVENT}/move", _move, write),
    ]


def _list(call: Call) -> Resource:
    calendar = call.calendar("freeBusyReader")
    role = calendar.role_of(call.caller)

    def select(since: SyncState | None) -> list[Resource]:
        requested = read_filter(call.query, call.world.now())
        found = list_events(call.world.events, calendar, requested, since)
        return [
            render(event, calendar, role, call.query, in_list=True) for event in found
        ]

    name = f"events of {calendar.id}"
    listing = Listing(
        name, call.caller, role, _PAGE, _MAX_PAGE, filters=FILTERS, repeated=REPEATED
    )
    return {
        **_list_head(call, calendar),
        **call.world.lister.page(listing, call.query, select),
    }


def _instances(call: Call) -> Resource:
    calendar = call.calendar("freeBusyReader")
    role = calendar.role_of(call.caller)
    master = call.world.events.get(calendar, call.path("eventId"))
    if master.master_id is not None:
        master = call.world.events.get(calendar, master.master_id)
    if not master.recurrence:
        raise invalid("The event is not recurring.", "eventId")

    def select(_since: SyncState | None) -> list[Resource]:
        found = list_instances(call.world.events, calendar, master, call.query)
        return [
            render(event, calendar, role, call.query, in_list=True) for event in found
        ]

    name = f"instances of {master.id} in {calendar.id}"
    listing = Listing(name, call.caller, role, _PAGE, _MAX_PAGE)
    page = call.world.lister.page(listing, call.query, select)
    answer = {**_list_head(call, calendar), **page}
    answer.pop("nextSyncToken", None)
    return answer


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
    event = call.world.events.get(calendar, call.path("eventId"))
    call.stop_if_known(event.etag)
    return render(
        event, calendar, calendar.role_of(call.caller), call.query, in_list=False
    )


def _insert(call: Call) -> Resource:
    _check_writing_parameters(call)
    calendar = call.calendar("writerWithoutPrivateAccess")
    return _shown(
        call, calendar, call.world.events.insert(call.caller, calendar, call.body)
    )


def _import(call: Call) -> Resource:
    calendar = call.calendar("writerWithoutPrivateAccess")
    return _shown(
        call, calendar, call.world.events.import_event(call.caller, calendar, call.body)
    )


def _change(*, patch: bool) -> Method:
    def change(call: Call) -> Resource:
        _check_writing_parameters(call)
        calendar, event = _event_to_change(call)
        return _shown(
            call,
            calendar,
            call.world.events.change(
                call.caller, calendar, event, call.body, patch=patch
            ),
        )

    return change


def _delete(call: Call) -> None:
    _check_writing_parameters(call)
    calendar, event = _event_to_change(call)
    call.world.events.delete(calendar, event)


def _move(call: Call) -> Resource:
    _check_writing_parameters(call)
    calendar, event = _event_to_change(call)
    destination = call.world.calendars.get(
        call.caller, call.parameter("destination"), "writer"
    )
    return _shown(
        call,
        destination,
        call.world.events.move(call.caller, calendar, event, destination),
    )


def _event_to_change(call: Call) -> tuple[Calendar, Event]:
    calendar = call.calendar("writerWithoutPrivateAccess")
    event = call.world.events.get(calendar, call.path("eventId"))
    if not may_change(event, calendar.role_of(call.caller)):
        raise forbidden()
    call.expect_etag(event.etag)
    return calendar, event


def _shown(call: Call, calendar: Calendar, event: Event) -> Resource:
    return render(
        event, calendar, calendar.role_of(call.caller), call.query, in_list=False
    )


def _check_writing_parameters(call: Call) -> None:
    call.query.choice("sendUpdates", _SEND_UPDATES)
    if (
        call.body.get("conferenceData")
        and call.query.text("conferenceDataVersion") == "1"
    ):
        # A service account has no conference solution of its own.
        raise invalid("Invalid conference type value.")
