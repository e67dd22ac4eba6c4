"""What happens to the events of a calendar: insert, import, change, delete, move, and the instances of series."""

from __future__ import annotations

import base64
import copy
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from sandbox.google.calendar_store import Calendar, Versions, is_service_account
from sandbox.google.errors import (
    ApiError,
    already_deleted,
    duplicate,
    invalid,
    not_found,
    required,
)
from sandbox.google.event import (
    CANCELLED,
    TIMES,
    Content,
    Event,
    Resource,
    check_id,
    merge_patch,
    read_content,
)
from sandbox.google.readings import Readings
from sandbox.google.recurrence import occurrences
from sandbox.google.times import EventTime, time_zone

#: So many instances of a series are shown if no end is asked for; Google's number is not published.
MAX_INSTANCES: Final = 730
#: Bound of the work for one series.
MAX_SLOTS: Final = 20_000

_INSTANCE_ID: Final = re.compile(r"(.+)_(\d{8}(?:T\d{6}Z)?)")
_RESTRICTED: Final = frozenset({"private", "confidential"})
_BASE32HEX: Final = "0123456789abcdefghijklmnopqrstuv"


class EventStore:
    """Works on the events of `Calendar` objects; access has been checked before."""

    def __init__(
        self,
        versions: Versions,
        now: Callable[[], datetime],
        seed: int,
    ) -> None:
        self._versions = versions
        self._now = now
        self._ids = random.Random(seed)  # noqa: S311 - seeded
        self._count = 0
        self.readings = Readings()

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, calendar: Calendar, event_id: str) -> Event:
        """The event, also a cancelled one; of a series also an instance that is untouched. Raises ApiError 404."""
        event = calendar.events.get(event_id) or self._untouched_instance(
            calendar,
            event_id,
        )
        if event is None:
            raise not_found()
        return self.as_shown(calendar, event)

    def as_shown(self, calendar: Calendar, event: Event) -> Event:
        """The event itself or, if its series is deleted, a cancelled copy."""
        if event.status == CANCELLED:
            return event
        master = calendar.events.get(event.master_id or "")
        if master is None or master.status != CANCELLED:
            return event
        return replace(event, status=CANCELLED)

    def instances(
        self,
        calendar: Calendar,
        master: Event,
        until: datetime | None,
        *,
        after: datetime | None = None,
    ) -> list[Event]:
        """All instances, also cancelled ones, by original start; of an endless series `MAX_INSTANCES`.

        Args:
            calendar: where the series is.
            master: the series.
            until: aware; leaves out untouched instances that start then or later.
            after: aware; leaves out untouched instances that end then or earlier.
        """
        found = list(self.exceptions(calendar, master))
        touched = {event.id for event in found}
        for slot in _slots_between(calendar, master, until, after):
            if _instance_id(master, slot) not in touched:
                found.append(_instance(master, slot))

        def original_start(event: Event) -> datetime:
            start = event.original_start or event.start
            return start.as_instant(calendar.zone)

        found.sort(key=original_start)
        return [self.as_shown(calendar, instance) for instance in found]

    def retired(self, calendar: Calendar, master: Event) -> Iterator[Event]:
        """Instances that the series once had, as cancelled events."""
        for original_start, version in master.retired.values():
            yield replace(
                _instance(master, original_start),
                status=CANCELLED,
                version=version,
            )

    # -- writing ------------------------------------------------------------------------------------------------

    def insert(self, caller: str, calendar: Calendar, body: Resource) -> Event:
        """A new event.

        Raises:
            ApiError: 400; 403 for attendees invited by a service account; 409 if the id is or was in use.
        """
        event_id = body.get("id")
        uid = body.get("iCalUID")
        _require_unused(calendar, event_id, uid)
        content = self._read(caller, calendar, body)
        if content.status == CANCELLED:
            raise invalid("Invalid value for: status")
        if not event_id:
            event_id = self._new_id()
        return self._add(caller, calendar, event_id, uid, content)

    def import_event(self, caller: str, calendar: Calendar, body: Resource) -> Event:
        """A private copy of an event from elsewhere; if its iCalUID is known, that event is changed.

        Raises:
            ApiError: 400 or 403, see `insert`.
        """
        uid = body.get("iCalUID")
        if not uid:
            raise required("Missing iCalUID.")
        if body.get("id"):
            raise invalid("Only one of id and iCalUID may be given.", "id")
        if body.get("eventType", "default") != "default":
            raise invalid("Invalid value for: eventType")
        known = find_by_uid(calendar, uid)
        if known is not None:
            changes = {"status": "confirmed", **body, "privateCopy": True}
            return self.change(caller, calendar, known, changes)
        content = self._read(caller, calendar, {**body, "privateCopy": True})
        event_id = self.imported_id(calendar, uid)
        event = self._add(caller, calendar, event_id, uid, content)
        event.organizer = _organizer_of(body) or event.organizer
        return event

    def change(
        self,
        caller: str,
        calendar: Calendar,
        event: Event,
        body: Resource,
        *,
        patch: bool = False,
    ) -> Event:
        """Replace all writable fields, or with ``patch`` those that are given. Returns the changed event.

        A deleted event comes back with ``"status": "confirmed"``.

        Raises:
            ApiError: 400 or 403, see `insert`.
        """
        resource = {"eventType": event.event_type, **body}
        if patch:
            resource = merge_patch(event.writable(), body)
        content = self._read(caller, calendar, resource, before=event, sent=body)
        event = self._stored(calendar, event)
        if event.master_id is not None:
            content = self._one_visibility(calendar, event, content)
            event.own |= _changed_names(event.content, content)
        if content.status == CANCELLED and event.status != CANCELLED:
            self._cancel(calendar, event)
            return event
        self._replace_content(calendar, event, content)
        return event

    def _stored(self, calendar: Calendar, event: Event) -> Event:
        """The event as it is stored; an untouched instance is stored now."""
        if event.id not in calendar.events:
            self._store_instance(calendar, event)
        return calendar.events[event.id]

    def _replace_content(
        self,
        calendar: Calendar,
        event: Event,
        content: Content,
    ) -> None:
        """Store a changed content, with what follows for the instances of a series."""
        before = event.content
        slots_before = self._slot_ids(calendar, event)
        is_moved = _is_moved(before, content)
        self._take_over(calendar, event, content, is_moved=is_moved)
        if is_moved:
            self._retire_instances(calendar, event, slots_before)
        if self.readings.exception_texts == "inherited":
            self._pass_on(calendar, event, before)

    def _take_over(
        self,
        calendar: Calendar,
        event: Event,
        content: Content,
        *,
        is_moved: bool,
    ) -> None:
        """Store a changed content, with sequence, version and time of change as Google counts them."""
        before = event.content
        status = content.status or event.status
        is_other_status = status != event.status
        event.sequence = max(event.sequence, content.sequence or 0)
        if is_moved or is_other_status:
            event.sequence += 1
        event.content = content
        event.version = self._versions.next()
        if is_other_status or not _only_reminders_differ(before, content):
            event.updated = self._now()
        if is_other_status:
            event.status = status
            event.hollow = False
            self._touch_exceptions(calendar, event)

    def delete(self, calendar: Calendar, event: Event) -> None:
        """Cancel an event, a series or one instance of it. Raises ApiError 410 if it is cancelled."""
        if event.status == CANCELLED:
            raise already_deleted()
        self._cancel(calendar, self._stored(calendar, event))

    def move(
        self,
        caller: str,
        source: Calendar,
        event: Event,
        destination: Calendar,
    ) -> Event:
        """Make another calendar the event's home; the old one keeps it as cancelled.

        Raises:
            ApiError: 400 for an instance; 403 if it is no ordinary event; 409; 410.
        """
        _check_may_move(event)
        if event.id in destination.events:
            raise duplicate()
        content = copy.deepcopy(event.content)
        if not self.readings.move_keeps_properties:
            content.fields.pop("extendedProperties", None)
        moved = self._add(caller, destination, event.id, event.ical_uid, content)
        moved.creator = event.creator
        moved.created = event.created
        moved.sequence = event.sequence + 1
        for exception in self.exceptions(source, event):
            destination.events[exception.id] = replace(
                exception,
                version=self._versions.next(),
            )
        self._cancel(source, event)
        event.hollow = True
        return moved

    def drop_exceptions(
        self,
        calendar: Calendar,
        master: Event,
        since: EventTime,
    ) -> list[Event]:
        """Reset the exceptions of the slots from that one on; returns what they were."""
        before = []
        for event in self.exceptions(calendar, master):
            if _is_at_or_after(event, since):
                before.append(replace(event))
                self._make_stray(event)
        return before

    def adopt_exceptions(
        self,
        calendar: Calendar,
        master: Event,
        exceptions: list[Event],
    ) -> None:
        """Make exceptions of another series those of this one, as far as it has their slots."""
        slots = set(self._slot_ids(calendar, master).values())
        for event in exceptions:
            slot = event.original_start
            if slot is not None and slot in slots:
                self._put_into_slot(calendar, master, event, slot)

    def exceptions(self, calendar: Calendar, master: Event) -> list[Event]:
        """The exceptions of a series, cancelled ones too."""
        exceptions = []
        for event in calendar.events.values():
            if event.master_id == master.id and not event.stray:
                exceptions.append(event)
        return exceptions

    def slots(self, calendar: Calendar, master: Event) -> Iterator[EventTime]:
        """The original starts of a series' instances, ascending; endless if the series is."""
        return islice(_slots(calendar, master), MAX_SLOTS)

    def add(
        self,
        person: str,
        calendar: Calendar,
        event_id: str | None,
        uid: str | None,
        body: Resource,
    ) -> Event:
        """A new event with an id that Google chooses: this one, or any.

        Raises:
            ApiError: 400.
        """
        if event_id is None or event_id in calendar.events:
            event_id = self._new_id()
        content = self._read(person, calendar, body)
        return self._add(person, calendar, event_id, uid, content)

    def imported_id(self, calendar: Calendar, uid: str) -> str:
        """The id of an event that comes from elsewhere with that iCalUID.

        Google's own come back under their id [A], others get an underscore and their iCalUID in base32hex (such ids
        stand in odoo/odoo pull request 18180 and fullcalendar/fullcalendar issue 1732).
        """
        event_id, _, domain = uid.rpartition("@")
        if domain != "google.com":
            written = base64.b32hexencode(uid.encode()).decode()
            event_id = f"_{written.lower().rstrip('=')}"
        if event_id and event_id not in calendar.events:
            return event_id
        return self._new_id()

    # -- steps --------------------------------------------------------------------------------------------------

    def _read(
        self,
        caller: str,
        calendar: Calendar,
        resource: Resource,
        *,
        before: Event | None = None,
        sent: Resource | None = None,
    ) -> Content:
        """Check what an event is to become; ``sent`` is the request itself if ``resource`` is more."""
        by_program = is_service_account(caller)
        is_instance = before is not None and before.master_id is not None
        content = read_content(
            resource,
            calendar.zone,
            instance=is_instance,
            empty_days=not by_program,
        )
        if before is not None:
            _check_change(before, content)
        if by_program:
            if sent is None:
                sent = resource
            _check_service_account(before, content, sent)
        return content

    def _add(
        self,
        caller: str,
        calendar: Calendar,
        event_id: str,
        uid: str | None,
        content: Content,
    ) -> Event:
        self._count += 1
        now = self._now()
        event = Event(
            id=event_id,
            number=self._count,
            content=content,
            status=content.status or "confirmed",
            ical_uid=uid or f"{event_id}@google.com",
            creator=caller,
            organizer={
                "email": calendar.id,
                "displayName": calendar.texts["summary"],
                "self": True,
            },
            created=now,
            updated=now,
            version=self._versions.next(),
            sequence=content.sequence or 0,
        )
        calendar.events[event_id] = event
        return event

    def _new_id(self) -> str:
        characters = self._ids.choices(_BASE32HEX, k=26)
        return "".join(characters)

    def _store_instance(self, calendar: Calendar, instance: Event) -> Event:
        self._count += 1
        content = copy.deepcopy(instance.content)
        version = self._versions.next()
        stored = replace(
            instance,
            content=content,
            number=self._count,
            updated=self._now(),
            version=version,
        )
        calendar.events[stored.id] = stored
        return stored

    def _cancel(self, calendar: Calendar, event: Event) -> None:
        event.status = CANCELLED
        event.sequence += 1
        event.updated = self._now()
        event.version = self._versions.next()
        self._touch_exceptions(calendar, event)

    def _touch_exceptions(self, calendar: Calendar, master: Event) -> None:
        """What happens to a series happens to its exceptions, so an incremental list shows them too."""
        for event in calendar.events.values():
            if event.master_id == master.id:
                event.version = self._versions.next()

    def _slot_ids(self, calendar: Calendar, event: Event) -> dict[str, EventTime]:
        slots = {}
        for slot in islice(_slots(calendar, event), MAX_INSTANCES):
            slots[_instance_id(event, slot)] = slot
        return slots

    def _retire_instances(
        self,
        calendar: Calendar,
        master: Event,
        before: dict[str, EventTime],
    ) -> None:
        """Remember the instances that the series had before its change and has no longer."""
        after = self._slot_ids(calendar, master)
        for instance_id, slot in before.items():
            if instance_id not in after:
                master.retired[instance_id] = (slot, master.version)
        for instance_id in after:
            master.retired.pop(instance_id, None)
        free: dict[date, EventTime] = {}
        if self.readings.exceptions == "follow":
            for slot in after.values():
                free[slot.moment.date()] = slot
        for event in self.exceptions(calendar, master):
            if event.id in master.retired:
                self._retire_exception(calendar, master, event, free)

    def _retire_exception(
        self,
        calendar: Calendar,
        master: Event,
        event: Event,
        free: dict[date, EventTime],
    ) -> None:
        """What becomes of an exception whose slot the series has no longer."""
        if self.readings.exceptions == "kept":
            del master.retired[event.id]
            return
        self._follow(calendar, master, event, free)
        self._make_stray(event)

    def _follow(
        self,
        calendar: Calendar,
        master: Event,
        exception: Event,
        free: dict[date, EventTime],
    ) -> None:
        """Put an exception into the free slot of its day, if there is one."""
        if exception.original_start is None:
            return
        slot = free.pop(exception.original_start.moment.date(), None)
        if slot is not None:
            self._put_into_slot(calendar, master, exception, slot)

    def _put_into_slot(
        self,
        calendar: Calendar,
        master: Event,
        exception: Event,
        slot: EventTime,
    ) -> None:
        """The same exception, of another slot; its times go along unless they are its own."""
        content = copy.deepcopy(exception.content)
        if TIMES not in exception.own:
            content = replace(
                content,
                start=slot,
                end=slot.plus(master.end - master.start),
            )
        instance_id = _instance_id(master, slot)
        version = self._versions.next()
        moved = replace(
            exception,
            id=instance_id,
            master_id=master.id,
            ical_uid=master.ical_uid,
            original_start=slot,
            content=content,
            version=version,
        )
        calendar.events[instance_id] = moved

    def _make_stray(self, event: Event) -> None:
        event.stray = True
        event.status = CANCELLED
        event.version = self._versions.next()

    def _pass_on(self, calendar: Calendar, master: Event, before: Content) -> None:
        """Let the exceptions have what was changed in the series, unless they have it for themselves."""
        changed = _changed_names(before, master.content) - {TIMES, "recurrence"}
        of_series = master.content.fields
        for event in self.exceptions(calendar, master):
            fields = event.content.fields
            for name in changed - event.own:
                fields.pop(name, None)
                if name in of_series:
                    fields[name] = copy.deepcopy(of_series[name])
                event.version = self._versions.next()

    def _one_visibility(
        self,
        calendar: Calendar,
        instance: Event,
        content: Content,
    ) -> Content:
        """A series is as private as its most private instance, and one instance alone never less (field visibility)."""
        master = calendar.events[instance.master_id or ""]
        wanted = content.fields.get("visibility")
        held = master.content.fields.get("visibility")
        is_restricted = held in _RESTRICTED
        if (wanted in _RESTRICTED) == is_restricted:
            return content
        if is_restricted:
            return replace(content, fields={**content.fields, "visibility": held})
        for event in (master, *self.exceptions(calendar, master)):
            event.content.fields["visibility"] = wanted
            event.version = self._versions.next()
        return content

    def _untouched_instance(self, calendar: Calendar, instance_id: str) -> Event | None:
        match = _INSTANCE_ID.fullmatch(instance_id)
        if match is None:
            return None
        master_id, wanted = match.groups()
        master = calendar.events.get(master_id)
        if master is None:
            return None
        for slot in islice(_slots(calendar, master), MAX_SLOTS):
            stamp = slot.stamp()
            if stamp == wanted:
                return _instance(master, slot)
            if stamp > wanted:
                return None
        return None


def _check_may_move(event: Event) -> None:
    """Raises ApiError 410 for a deleted event, 400 for an instance, 403 if it is no ordinary event."""
    if event.status == CANCELLED:
        raise already_deleted()
    if event.master_id is not None:
        message = "Cannot change the organizer of an instance."
        raise ApiError(
            400,
            "cannotChangeOrganizerOfInstance",
            message,
            domain="calendar",
        )
    if event.event_type != "default":
        message = "Only ordinary events can be moved."
        raise ApiError(403, "eventTypeRestriction", message, domain="calendar")


def _organizer_of(body: Resource) -> dict[str, Any] | None:
    """Who has invited to an event from elsewhere, if it says so."""
    given = body.get("organizer")
    if not isinstance(given, dict):
        return None
    if not isinstance(given.get("email"), str):
        return None
    organizer = {"email": given["email"]}
    if "displayName" in given:
        organizer["displayName"] = given["displayName"]
    return organizer


def _slots(calendar: Calendar, master: Event) -> Iterator[EventTime]:
    """The start times that the rule gives, ascending."""
    if not master.recurrence:
        return
    first = master.start
    zone = first.zone
    if first.all_day:
        zone = calendar.zone
    starts = occurrences(master.recurrence, first.wall_clock(), time_zone(zone))
    for wall_clock in starts:
        yield first.at(wall_clock)


def _instance_id(master: Event, slot: EventTime) -> str:
    return f"{master.id}_{slot.stamp()}"


def _instance(master: Event, slot: EventTime) -> Event:
    """The instance at a slot as the series describes it."""
    fields = dict(master.content.fields)
    fields.pop("recurrence", None)
    content = replace(
        master.content,
        start=slot,
        end=slot.plus(master.end - master.start),
        fields=fields,
    )
    return replace(
        master,
        id=_instance_id(master, slot),
        content=content,
        master_id=master.id,
        original_start=slot,
        retired={},
    )


def _is_at_or_after(exception: Event, slot: EventTime) -> bool:
    start = exception.original_start
    if start is None:
        return False
    return start.moment >= slot.moment


def _require_unused(calendar: Calendar, event_id: object, uid: object) -> None:
    """Raises ApiError 400 if both are given, 409 if the one that is given is in use."""
    if event_id and uid:
        raise invalid("Only one of id and iCalUID may be given.", "iCalUID")
    if event_id and check_id(event_id) in calendar.events:
        raise duplicate()
    if uid and find_by_uid(calendar, uid) is not None:
        raise duplicate()


def find_by_uid(calendar: Calendar, uid: object) -> Event | None:
    """The event with this iCalUID, if the calendar has one. Raises ApiError 400 if it is no text."""
    if not isinstance(uid, str):
        raise invalid("Invalid value for: iCalUID")
    for event in calendar.events.values():
        if event.ical_uid == uid and event.master_id is None:
            return event
    return None


def _changed_names(before: Content, after: Content) -> frozenset[str]:
    """The fields that differ, start and end as `TIMES`."""
    names = set()
    for name in (*before.fields, *after.fields):
        if before.fields.get(name) != after.fields.get(name):
            names.add(name)
    if before.start != after.start or before.end != after.end:
        names.add(TIMES)
    return frozenset(names)


def _only_reminders_differ(before: Content, after: Content) -> bool:
    """Whether a change touches nothing but reminders, which leaves ``updated`` alone."""
    return _changed_names(before, after) == {"reminders"}


def _slots_between(
    calendar: Calendar,
    master: Event,
    until: datetime | None,
    after: datetime | None,
) -> Iterator[EventTime]:
    """The slots of a series that end after the one and start before the other; without an end, `MAX_INSTANCES`."""
    length = master.end - master.start
    shown = 0
    for slot in islice(_slots(calendar, master), MAX_SLOTS):
        if until is not None and slot.as_instant(calendar.zone) >= until:
            return
        end = slot.plus(length)
        if after is not None and end.as_instant(calendar.zone) <= after:
            continue
        if until is None and shown >= MAX_INSTANCES:
            return
        shown += 1
        yield slot


def _is_moved(before: Content, after: Content) -> bool:
    changed = _changed_names(before, after)
    return not changed.isdisjoint({TIMES, "recurrence"})


def _check_change(before: Event, content: Content) -> None:
    if content.sequence is not None and content.sequence < before.sequence:
        raise invalid(
            "Invalid sequence value. The specified sequence number is below the current sequence number of the "
            "resource. Re-fetch the resource and use its sequence number on the following request.",
            "sequence",
        )
    if content.fields["eventType"] != before.event_type:
        message = "Event type cannot be changed."
        raise ApiError(400, "eventTypeRestriction", message, domain="calendar")


def _check_service_account(
    before: Event | None,
    content: Content,
    sent: Resource,
) -> None:
    """What only people may do."""
    known: set[str] = set()
    if before is not None:
        known = _invited(before.content)
    elif content.fields["eventType"] != "default":
        message = "Event type is not allowed on this calendar."
        raise ApiError(400, "eventTypeRestriction", message, domain="calendar")
    if sent.get("attendees") and not _invited(content) <= known:
        message = "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority."
        raise ApiError(403, "forbiddenForServiceAccounts", message, domain="calendar")


def _invited(content: Content) -> set[str]:
    attendees = content.fields.get("attendees", [])
    return {attendee["email"] for attendee in attendees}
