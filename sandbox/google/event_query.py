"""Which events ``events.list`` and ``events.instances`` return, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sandbox.google.calendar_store import Calendar
from sandbox.google.errors import invalid, time_range_empty, updated_min_too_long_ago
from sandbox.google.event import (
    CANCELLED,
    EVENT_TYPES,
    Event,
    Resource,
    render_event,
    render_tombstone,
    without_details,
)
from sandbox.google.event_store import EventStore
from sandbox.google.listing import MEMORY, Query, SyncState, known_version
from sandbox.google.times import read_timestamp, time_zone

#: Not to be combined with a sync token (discovery document). A list with one of them gives no sync token here; Google
#: may give one for some, but promises nothing.
FILTERS: Final = frozenset(
    {
        "iCalUID",
        "orderBy",
        "privateExtendedProperty",
        "q",
        "sharedExtendedProperty",
        "timeMax",
        "timeMin",
        "updatedMin",
    },
)
REPEATED: Final = frozenset({"eventTypes", "showHiddenInvitations", "singleEvents"})


@dataclass(frozen=True)
class EventFilter:
    """The conditions of a list of events."""

    single_events: bool = False
    show_deleted: bool = False
    order_by: str | None = None
    time_min: datetime | None = None
    time_max: datetime | None = None
    updated_min: datetime | None = None
    words: tuple[str, ...] = ()
    uid: str | None = None
    types: frozenset[str] = frozenset()
    properties: tuple[tuple[str, str, str], ...] = ()  #: kind, name, value

    def matches(self, event: Event) -> bool:
        """Whether the event fulfils everything but what is asked about deleted ones and the time."""
        if self.updated_min is not None and event.updated < self.updated_min:
            return False
        if self.uid is not None and event.ical_uid != self.uid:
            return False
        if self.types and event.event_type not in self.types:
            return False
        if not self._has_properties(event):
            return False
        return self._has_words(event)

    def _has_words(self, event: Event) -> bool:
        text = _searched_text(event)
        return all(word in text for word in self.words)

    def _has_properties(self, event: Event) -> bool:
        given = event.content.fields.get("extendedProperties", {})
        for kind, name, value in self.properties:
            of_kind = given.get(kind, {})
            if of_kind.get(name) != value:
                return False
        return True

    def in_time(self, event: Event, calendar: Calendar) -> bool:
        """Whether it ends after ``timeMin`` and starts before ``timeMax``; both are exclusive."""
        zone = calendar.zone
        if self.time_max is not None and event.start.as_instant(zone) >= self.time_max:
            return False
        if self.time_min is None:
            return True
        return event.end.as_instant(zone) > self.time_min

    def shows(self, event: Event) -> bool:
        """Whether it shows an event that may have been deleted."""
        return event.status != CANCELLED or self.show_deleted

    def instances(
        self,
        store: EventStore,
        calendar: Calendar,
        series: Event,
    ) -> list[Event]:
        """The instances of a series that may lie in the time that is asked for."""
        return store.instances(calendar, series, self.time_max, after=self.time_min)


def read_filter(query: Query, now: datetime) -> EventFilter:
    """The conditions that a query states.

    Raises:
        ApiError: 400; 410 if ``updatedMin`` lies too far back.
    """
    single_events = query.flag("singleEvents") or False
    order_by = query.choice("orderBy", frozenset({"startTime", "updated"}))
    if order_by == "startTime" and not single_events:
        message = "The requested ordering is not available for the particular query."
        raise invalid(message, "orderBy")
    time_min, time_max = _window(query)
    updated_min = _moment(query, "updatedMin")
    if updated_min is not None and now - updated_min > MEMORY:
        raise updated_min_too_long_ago()
    types = _event_types(query)
    is_incremental = query.text("syncToken") or updated_min
    search = query.text("q") or ""
    return EventFilter(
        single_events=single_events,
        show_deleted=bool(query.flag("showDeleted") or is_incremental),
        order_by=order_by,
        time_min=time_min,
        time_max=time_max,
        updated_min=updated_min,
        words=tuple(search.casefold().split()),
        uid=query.text("iCalUID"),
        types=types,
        properties=tuple(_properties(query)),
    )


def _event_types(query: Query) -> frozenset[str]:
    types = frozenset(query.texts("eventTypes"))
    if not types <= EVENT_TYPES:
        raise invalid(
            "Invalid value for: eventTypes",
            "eventTypes",
            reason="invalidParameter",
        )
    return types


def _window(query: Query) -> tuple[datetime | None, datetime | None]:
    """``timeMin`` and ``timeMax``."""
    time_min = _moment(query, "timeMin")
    time_max = _moment(query, "timeMax")
    if time_min is None or time_max is None:
        return time_min, time_max
    if time_max <= time_min:
        raise time_range_empty()
    return time_min, time_max


def list_events(
    store: EventStore,
    calendar: Calendar,
    requested: EventFilter,
    since: SyncState | None,
) -> list[Event]:
    """The events of a list, or those changed since a state, in order."""
    candidates = _stored(store, calendar, requested)
    if requested.single_events:
        candidates = _expanded(store, calendar, requested)
    known = known_version(since)
    found = []
    for event in candidates:
        if event.version > known and requested.matches(event):
            found.append(event)
    if requested.order_by == "startTime":
        found.sort(key=lambda event: event.start.as_instant(calendar.zone))
    elif requested.order_by == "updated":
        found.sort(key=lambda event: event.updated)
    return found


def list_instances(
    store: EventStore,
    calendar: Calendar,
    master: Event,
    query: Query,
) -> list[Event]:
    """The instances of a series.

    Raises:
        ApiError: 400.
    """
    time_min, time_max = _window(query)
    requested = EventFilter(
        show_deleted=query.flag("showDeleted") or False,
        time_min=time_min,
        time_max=time_max,
    )
    found = []
    for instance in requested.instances(store, calendar, master):
        if requested.shows(instance) and requested.in_time(instance, calendar):
            found.append(instance)
    original = query.text("originalStart")
    if original is None:
        return found
    return _with_original_start(found, original)


def _with_original_start(events: list[Event], original: str) -> list[Event]:
    moment = None
    if "T" in original:
        moment = read_timestamp(original, "originalStart")
    matching = []
    for event in events:
        if _starts_originally(event, original, moment):
            matching.append(event)
    return matching


def render(
    event: Event,
    calendar: Calendar,
    role: str,
    query: Query,
    *,
    in_list: bool,
) -> Resource:
    """The event as a caller with that role sees it.

    Raises:
        ApiError: 400; the parameter ``timeZone`` names none.
    """
    zone = query.text("timeZone") or calendar.zone
    time_zone(zone)
    if event.hollow:
        return render_tombstone(event, zone)
    if in_list and event.status == CANCELLED:
        return render_tombstone(event, zone)
    resource = render_event(event, calendar.id, zone)
    if _is_hidden(event, role):
        return without_details(resource)
    return resource


def may_change(event: Event, role: str) -> bool:
    """Whether a caller with that role, who may write into the calendar, may change this event."""
    return not _is_hidden(event, role)


def _is_hidden(event: Event, role: str) -> bool:
    if role == "freeBusyReader":
        return True
    if role not in {"reader", "writerWithoutPrivateAccess"}:
        return False
    visibility = event.content.fields.get("visibility")
    return visibility in {"private", "confidential"}


def _stored(
    store: EventStore,
    calendar: Calendar,
    requested: EventFilter,
) -> Iterator[Event]:
    """Single events, series, and exceptions of series. Holes in living series are always shown."""
    for stored in calendar.events.values():
        event = store.as_shown(calendar, stored)
        is_hole = _is_hole_in_living_series(calendar, stored)
        if not is_hole and not requested.shows(event):
            continue
        if _happens_in_time(store, calendar, event, requested):
            yield event


def _is_hole_in_living_series(calendar: Calendar, event: Event) -> bool:
    if event.master_id is None or event.stray:
        return False
    if event.status != CANCELLED:
        return False
    master = calendar.events.get(event.master_id)
    return master is None or master.status != CANCELLED


def _expanded(
    store: EventStore,
    calendar: Calendar,
    requested: EventFilter,
) -> Iterator[Event]:
    """Single events and the instances of series."""
    for stored in calendar.events.values():
        candidates: list[Event] = []
        if stored.recurrence:
            candidates = requested.instances(store, calendar, stored)
        elif stored.master_id is None or stored.stray:
            candidates = [stored]
        for event in (*candidates, *store.retired(calendar, stored)):
            if requested.shows(event) and requested.in_time(event, calendar):
                yield event


def _happens_in_time(
    store: EventStore,
    calendar: Calendar,
    event: Event,
    requested: EventFilter,
) -> bool:
    if requested.time_min is None and requested.time_max is None:
        return True
    if not event.recurrence:
        return requested.in_time(event, calendar)
    instances = requested.instances(store, calendar, event)
    return any(requested.in_time(instance, calendar) for instance in instances)


def _starts_originally(instance: Event, text: str, moment: datetime | None) -> bool:
    original = instance.original_start
    if original is None:
        return False
    if moment is not None:
        return original.moment == moment
    return original.render("UTC").get("date") == text


def _moment(query: Query, name: str) -> datetime | None:
    text = query.text(name)
    if text is not None:
        return read_timestamp(text, name)
    return None


def _properties(query: Query) -> Iterator[tuple[str, str, str]]:
    """All must match, as the discovery document says; Google's guide says that one suffices."""
    for kind in ("private", "shared"):
        parameter = f"{kind}ExtendedProperty"
        for constraint in query.texts(parameter):
            name, equals, value = constraint.partition("=")
            if not equals or not name:
                raise invalid(f"Invalid value for: {parameter}", parameter)
            yield kind, name, value


def _searched_text(event: Event) -> str:
    fields = event.content.fields
    texts = [
        fields.get("summary", ""),
        fields.get("description", ""),
        fields.get("location", ""),
    ]
    for person in (event.organizer, *fields.get("attendees", [])):
        texts.append(person.get("displayName", ""))
        texts.append(person.get("email", ""))
    return "\n".join(texts).casefold()
