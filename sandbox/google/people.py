"""What people do in the browser or on the phone, and no single request of the API does.

``POST /__sandbox__/actions`` takes one of these. ``calendar`` and ``event`` are ids, ``as`` names the person:

* ``{"action": "split", "event": "<instance>", "changes": {...}}``: "this and following events". The series ends before
  the instance, the rest is a series of its own with the changes. Its id is that of the old one with ``_R`` and the
  time (odoo/odoo pull request 287171). Later exceptions are reset (guide "Recurring events"), or, unless
  `Readings.exceptions` is ``lost``, they are exceptions of the rest (announcement of December 2013).
* ``{"action": "copy", "event": "...", "to": "<calendar>", "changes": {...}}``: duplicate, perhaps to another calendar.
* ``{"action": "move", "event": "...", "to": "<calendar>"}``: to another calendar, as ``events.move``.
* ``{"action": "restore", "event": "..."}``: out of the bin. Google keeps a deleted event's details for that.
* ``{"action": "import", "file": {...}}``: an event of an ICS file, as ``events.import``: its ``iCalUID`` decides
  whether it is new; a known event loses what the file does not have.
* ``{"action": "invite", "organizer": "...", "invitation": {...}}``: another user invites the calendar's owner.

Everything else that people do is a change or a deletion of an event or of one occurrence (``PUT`` and ``DELETE`` below
``/__sandbox__/calendars``). What becomes of private properties is switched by `Readings`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from sandbox.google.calendar_store import Calendar, CalendarStore
from sandbox.google.errors import invalid, not_found, required
from sandbox.google.event import CANCELLED, Event, Resource, merge_patch
from sandbox.google.event_store import EventStore, find_by_uid
from sandbox.google.recurrence import cut_at
from sandbox.google.times import EventTime


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    calendar: str
    person: str | None = Field(default=None, alias="as")


class _EventRequest(_Request):
    event: str


class Split(_EventRequest):
    """Change an occurrence and all later ones."""

    action: Literal["split"]
    changes: dict[str, Any] = {}


class Copy(_EventRequest):
    """Duplicate an event."""

    action: Literal["copy"]
    to: str | None = None
    changes: dict[str, Any] = {}


class Move(_EventRequest):
    """Put an event into another calendar."""

    action: Literal["move"]
    to: str


class Restore(_EventRequest):
    """Take a deleted event out of the bin."""

    action: Literal["restore"]


class Import(_Request):
    """Import an event from a file."""

    action: Literal["import"]
    file: dict[str, Any]


class Invite(_Request):
    """Get an invitation."""

    action: Literal["invite"]
    organizer: str
    invitation: dict[str, Any]


Action = Annotated[
    Split | Copy | Move | Restore | Import | Invite,
    Field(discriminator="action"),
]
ACTIONS: TypeAdapter[Action] = TypeAdapter(Action)


class People:
    """Does what people want. Everything raises `ApiError` for what Google refuses."""

    def __init__(self, calendars: CalendarStore, events: EventStore) -> None:
        self._calendars = calendars
        self._events = events

    def act(self, action: Action, person: str) -> tuple[Calendar, Event]:
        """Do it; the event that has come of it, and where it is."""
        calendar = self._calendar(action.calendar)
        person = action.person or person
        where = calendar
        match action:
            case Split():
                event = self.split(person, calendar, action.event, action.changes)
            case Copy():
                where = self._calendar(action.to or action.calendar)
                event = self.copy(person, calendar, action.event, where, action.changes)
            case Move():
                where = self._calendar(action.to)
                moved = self._events.get(calendar, action.event)
                event = self._events.move(person, calendar, moved, where)
            case Restore():
                event = self.restore(person, calendar, action.event)
            case Import():
                event = self._events.import_event(person, calendar, action.file)
            case Invite():
                event = self.invite(action.organizer, calendar, action.invitation)
        return where, event

    def split(
        self,
        person: str,
        calendar: Calendar,
        instance_id: str,
        changes: Resource,
    ) -> Event:
        """Change an occurrence and all later ones; the second half, or the whole series if it is the first one."""
        events = self._events
        instance = events.get(calendar, instance_id)
        master = calendar.events.get(instance.master_id or "")
        slot = instance.original_start
        if master is None or slot is None:
            raise invalid("The event is not recurring.", "eventId")
        earlier = self._slots_before(calendar, master, slot)
        if not earlier:
            return events.change(person, calendar, master, changes, patch=True)
        ended, rest = cut_at(
            master.recurrence,
            slot.moment,
            all_day=slot.all_day,
            passed=len(earlier),
        )
        second = merge_patch(self._second_half(master, slot, rest), changes)
        later = events.drop_exceptions(calendar, master, slot)
        end_of_first = {"recurrence": ended}
        events.change(person, calendar, master, end_of_first, patch=True)
        new_id = _id_of_second_half(master, slot)
        second_half = events.add(person, calendar, new_id, None, second)
        if events.readings.exceptions != "lost":
            events.adopt_exceptions(calendar, second_half, later)
        return second_half

    def copy(
        self,
        person: str,
        calendar: Calendar,
        event_id: str,
        destination: Calendar,
        changes: Resource,
    ) -> Event:
        """Duplicate an event, a series or one occurrence."""
        original = self._events.get(calendar, event_id)
        body = original.writable()
        del body["status"]
        if not self._events.readings.copy_keeps_properties:
            body.pop("extendedProperties", None)
        content = merge_patch(body, changes)
        return self._events.add(person, destination, None, None, content)

    def restore(self, person: str, calendar: Calendar, event_id: str) -> Event:
        """Take a deleted event out of the bin."""
        events = self._events
        event = events.get(calendar, event_id)
        if event.hollow or event.status != CANCELLED:
            raise not_found()
        changes: Resource = {"status": "confirmed"}
        if not events.readings.restore_keeps_properties:
            changes["extendedProperties"] = None
        return events.change(person, calendar, event, changes, patch=True)

    def invite(self, organizer: str, calendar: Calendar, invitation: Resource) -> Event:
        """An invitation; one with a known iCalUID changes the event that is there."""
        uid = invitation.get("iCalUID")
        if not isinstance(uid, str) or not uid:
            raise required("Missing iCalUID.")
        guest = {
            "email": calendar.data_owner,
            "self": True,
            "responseStatus": "needsAction",
        }
        body = {**invitation, "attendees": [guest]}
        events = self._events
        known = find_by_uid(calendar, uid)
        if known is not None:
            return events.change(organizer, calendar, known, body, patch=True)
        event_id = events.imported_id(calendar, uid)
        event = events.add(organizer, calendar, event_id, uid, body)
        event.organizer = {"email": organizer}
        return event

    def _calendar(self, calendar_id: str) -> Calendar:
        calendar = self._calendars.calendars.get(calendar_id)
        if calendar is None:
            raise not_found()
        return calendar

    def _slots_before(
        self,
        calendar: Calendar,
        master: Event,
        slot: EventTime,
    ) -> list[EventTime]:
        earlier = []
        for candidate in self._events.slots(calendar, master):
            if candidate.moment >= slot.moment:
                break
            earlier.append(candidate)
        return earlier

    def _second_half(
        self,
        master: Event,
        slot: EventTime,
        recurrence: list[str],
    ) -> Resource:
        end = slot.plus(master.end - master.start)
        body = {
            **master.writable(),
            "start": slot.render(slot.zone),
            "end": end.render(end.zone),
            "recurrence": recurrence,
        }
        del body["status"]
        if not self._events.readings.split_keeps_properties:
            body.pop("extendedProperties", None)
        return body


def _id_of_second_half(master: Event, slot: EventTime) -> str:
    root = master.id.partition("_R")[0]
    stamp = slot.stamp().rstrip("Z")
    return f"{root}_R{stamp}"
