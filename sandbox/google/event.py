"""The event resource: what callers may write into it, and how it is read.

Fields, defaults and limits follow the Event schema of the API's discovery document (revision 20261030).
"""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sandbox.google.errors import ApiError, invalid
from sandbox.google.recurrence import check as check_recurrence
from sandbox.google.times import EventTime, read_range, time_zone

Resource = dict[str, Any]

CANCELLED: Final = "cancelled"
TIMES: Final = "times"  #: stands for start and end among the names of fields
EVENT_TYPES: Final = frozenset(
    {"birthday", "default", "focusTime", "fromGmail", "outOfOffice", "workingLocation"},
)
MAX_REMINDERS: Final = 5
MAX_REMINDER_MINUTES: Final = 40_320
#: Google's guide "Extended properties": longer keys are dropped and longer values cut off, both without a word.
MAX_PROPERTY_KEY: Final = 44
MAX_PROPERTY_VALUE: Final = 1024
MAX_PROPERTIES: Final = 300
MAX_PROPERTIES_BYTES: Final = 32 * 1024

_ID: Final = re.compile("[a-v0-9]{5,1024}")
_TEXTS: Final = ("summary", "description", "location")
_STATUSES: Final = frozenset({"confirmed", "tentative", CANCELLED})
_CHOICES: Final = {
    "visibility": ("default", "public", "private", "confidential"),
    "transparency": ("opaque", "transparent"),
}
_FLAGS: Final = {
    "anyoneCanAddSelf": False,
    "guestsCanInviteOthers": True,
    "guestsCanModify": False,
    "guestsCanSeeOtherGuests": True,
    "privateCopy": False,
}
_DEFAULT_REMINDERS: Final[Resource] = {"useDefault": True}
#: What a caller without sight of the details gets.
_FREE_BUSY_FIELDS: Final = frozenset(
    {
        "kind",
        "etag",
        "id",
        "status",
        "htmlLink",
        "created",
        "updated",
        "start",
        "end",
        "recurrence",
        "recurringEventId",
        "originalStartTime",
        "iCalUID",
        "sequence",
        "eventType",
        "transparency",
        "organizer",
    },
)


@dataclass(frozen=True)
class Content:
    """What a caller wants an event to be, checked."""

    start: EventTime
    end: EventTime
    fields: Resource  #: further writable fields; none that has its default value
    status: str | None  #: None if not given
    sequence: int | None  #: None if not given

    @property
    def recurrence(self) -> list[str]:
        """Lines of RRULE and so on; empty for a single event."""
        return self.fields.get("recurrence") or []


@dataclass
class Event:
    """A stored event, or an instance of a series (then with ``master_id`` and ``original_start``)."""

    id: str
    number: int  #: order of creation
    content: Content
    status: str
    ical_uid: str
    creator: str
    organizer: Resource
    created: datetime
    updated: datetime
    version: int  #: of the last change
    sequence: int = 0
    master_id: str | None = None
    original_start: EventTime | None = None
    #: An exception of a slot that its series no longer has: deleted rather than a hole in the series.
    stray: bool = False
    #: What was changed in an exception itself: names of fields, and `TIMES`.
    own: frozenset[str] = frozenset()
    #: What a move to another calendar has left behind: nothing but its id is shown.
    hollow: bool = False
    #: Instances that a change of the series made disappear: id -> (original start, version of that change).
    retired: dict[str, tuple[EventTime, int]] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return f'"{self.version}"'

    @property
    def start(self) -> EventTime:
        """Inclusive."""
        return self.content.start

    @property
    def end(self) -> EventTime:
        """Exclusive."""
        return self.content.end

    @property
    def recurrence(self) -> list[str]:
        """Lines of RRULE and so on; empty for a single event or an instance."""
        return self.content.recurrence

    @property
    def event_type(self) -> str:
        """One of `EVENT_TYPES`."""
        return str(self.content.fields.get("eventType", "default"))

    def writable(self) -> Resource:
        """The writable fields as a request would carry them; what a patch is merged into."""
        writable = {
            **self.content.fields,
            "start": self.start.render(self.start.zone),
            "end": self.end.render(self.end.zone),
            "status": self.status,
        }
        return copy.deepcopy(writable)


def check_id(value: object) -> str:
    """The id that a caller chose for a new event: 5 to 1024 characters of base32hex.

    Raises:
        ApiError: 400.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise invalid("Invalid resource id value.")
    return value


def merge_patch(target: Resource, patch: Resource) -> Resource:
    """``target`` changed by ``patch``: objects are merged, null removes, everything else (lists too) replaces."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            before = merged.get(name)
            if not isinstance(before, dict):
                before = {}
            merged[name] = merge_patch(before, value)
        else:
            merged[name] = value
    return merged


_COLOR_IDS: Final = frozenset(str(number) for number in range(1, 12))


def read_content(
    resource: Resource,
    calendar_zone: str,
    *,
    instance: bool = False,
    empty_days: bool = False,
) -> Content:
    """Check a whole event as a caller sent it, or as a patch makes it.

    Args:
        resource: the event; fields that are unknown or read-only are ignored.
        calendar_zone: for times whose time zone is not given.
        instance: whether it is an instance of a series.
        empty_days: see `read_range`.

    Raises:
        ApiError: 400.
    """
    start, end = read_range(resource, calendar_zone, empty_days=empty_days)
    fields = _plain_fields(resource)
    fields["eventType"] = _event_type(resource)
    fields["reminders"] = _reminders(resource.get("reminders"))
    composed = {
        "attendees": _attendees(resource.get("attendees")),
        "extendedProperties": _extended_properties(resource.get("extendedProperties")),
        "recurrence": _recurrence(resource, start, calendar_zone, instance=instance),
        "source": _source(resource.get("source")),
    }
    for name, value in composed.items():
        if value:
            fields[name] = value
    return Content(
        start=start,
        end=end,
        fields=fields,
        status=_status(resource),
        sequence=_sequence(resource),
    )


def _event_type(resource: Resource) -> str:
    event_type = _text(resource, "eventType") or "default"
    _expect(event_type in EVENT_TYPES, "eventType")
    return event_type


def _status(resource: Resource) -> str | None:
    status = _text(resource, "status")
    _expect(status is None or status in _STATUSES, "status")
    return status


def _sequence(resource: Resource) -> int | None:
    sequence = resource.get("sequence")
    if sequence is None:
        return None
    if isinstance(sequence, bool) or not isinstance(sequence, int):
        raise invalid("Invalid value for: sequence")
    return sequence


def _plain_fields(resource: Resource) -> Resource:
    """Texts, choices and flags; what has its default is left out."""
    fields: Resource = {}
    for name in _TEXTS:
        text = _text(resource, name)
        if text is not None:
            fields[name] = text
    for name, choices in _CHOICES.items():
        choice = _text(resource, name)
        if choice is None:
            continue
        _expect(choice in choices, name)
        if choice != choices[0]:
            fields[name] = choice
    fields |= _flags(resource)
    color = _text(resource, "colorId")
    if color is not None:
        _expect(color in _COLOR_IDS, "colorId")
        fields["colorId"] = color
    return fields


def _flags(resource: Resource) -> Resource:
    flags = {}
    for name, default in _FLAGS.items():
        flag = resource.get(name)
        if flag is None:
            continue
        _expect(isinstance(flag, bool), name)
        if flag != default:
            flags[name] = flag
    return flags


def _expect(condition: bool, name: str) -> None:
    if not condition:
        raise invalid(f"Invalid value for: {name}")


def _text(resource: Resource, name: str) -> str | None:
    """The text; None if it is missing or empty, which are the same to Google."""
    value = resource.get(name)
    if value is None:
        return None
    _expect(isinstance(value, str), name)
    return value or None


def _reminders(value: object) -> Resource:
    if value is None:
        return _DEFAULT_REMINDERS
    if not isinstance(value, dict):
        raise invalid("Invalid value for: reminders")
    use_default = value.get("useDefault", False)
    overrides = value.get("overrides") or []
    _expect(isinstance(use_default, bool) and isinstance(overrides, list), "reminders")
    if use_default and overrides:
        raise ApiError(
            400,
            "cannotUseDefaultRemindersAndSpecifyOverride",
            "Cannot specify both default reminders and overrides at the same time.",
            domain="calendar",
        )
    _expect(len(overrides) <= MAX_REMINDERS, "reminders")
    kept = [_reminder(override) for override in overrides]
    reminders: Resource = {"useDefault": use_default}
    if kept:
        reminders["overrides"] = kept
    return reminders


def _reminder(override: object) -> Resource:
    if not isinstance(override, dict):
        raise invalid("Invalid value for: reminders")
    method = override.get("method")
    minutes = override.get("minutes")
    _expect(method in {"email", "popup"}, "reminders")
    if not isinstance(minutes, int):
        raise invalid("Invalid value for: reminders")
    _expect(0 <= minutes <= MAX_REMINDER_MINUTES, "reminders")
    return {"method": method, "minutes": minutes}


def _attendees(value: object) -> list[Resource]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise invalid("Invalid value for: attendees")
    attendees = []
    for attendee in value:
        if not isinstance(attendee, dict) or not _is_mail(attendee.get("email")):
            raise invalid("Invalid attendee email.")
        attendees.append({"responseStatus": "needsAction", **attendee})
    return attendees


def _is_mail(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return "@" in value


def _extended_properties(value: object) -> Resource:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("Invalid value for: extendedProperties")
    kept: Resource = {}
    number = 0
    size = 0
    for kind in ("private", "shared"):
        properties = _kept_properties(value.get(kind) or {})
        if properties:
            kept[kind] = properties
        for key, text in properties.items():
            number += 1
            size += len(key.encode())
            size += len(text.encode())
    _expect(number <= MAX_PROPERTIES, "extendedProperties")
    _expect(size <= MAX_PROPERTIES_BYTES, "extendedProperties")
    return kept


def _kept_properties(given: object) -> dict[str, str]:
    """Properties with names that are too long are dropped, long values are cut."""
    if not isinstance(given, dict):
        raise invalid("Invalid value for: extendedProperties")
    kept = {}
    for key, text in given.items():
        _expect(isinstance(text, str), "extendedProperties")
        if 0 < len(key) <= MAX_PROPERTY_KEY:
            kept[key] = text[:MAX_PROPERTY_VALUE]
    return kept


def _recurrence(
    resource: Resource,
    start: EventTime,
    calendar_zone: str,
    *,
    instance: bool,
) -> list[str]:
    lines = resource.get("recurrence")
    if not lines:
        return []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise invalid("Invalid value for: recurrence")
    if instance:
        raise invalid(
            "Cannot turn an instance of a recurring event into a recurring event itself.",
        )
    if not start.all_day:
        for which in ("start", "end"):
            if not resource[which].get("timeZone"):
                raise ApiError(
                    400,
                    "required",
                    f"Missing time zone definition for {which} time.",
                )
    zone_name = start.zone
    if start.all_day:
        zone_name = calendar_zone
    zone = time_zone(zone_name)
    check_recurrence(lines, start.wall_clock(), zone, all_day=start.all_day)
    return lines


def _source(value: object) -> Resource:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid("Invalid value for: source")
    url = value.get("url")
    if not isinstance(url, str) or not re.match("https?://", url):
        raise invalid("Invalid value for: source.url")
    source = {"url": url}
    if value.get("title"):
        source["title"] = value["title"]
    return source


def render_event(event: Event, calendar_id: str, response_zone: str) -> Resource:
    """The event with all details.

    Args:
        event: the event, of whatever status.
        calendar_id: where it is.
        response_zone: IANA name; offsets of times are those of this zone.
    """
    link = (
        base64.urlsafe_b64encode(f"{event.id} {calendar_id}".encode())
        .rstrip(b"=")
        .decode()
    )
    creator: Resource = {"email": event.creator}
    if event.creator == calendar_id:
        creator["self"] = True
    resource: Resource = {
        "kind": "calendar#event",
        "etag": event.etag,
        "id": event.id,
        "status": event.status,
        "htmlLink": f"https://www.google.com/calendar/event?eid={link}",
        "created": render_timestamp(event.created, "seconds"),
        "updated": render_timestamp(event.updated, "milliseconds"),
        "creator": creator,
        "organizer": event.organizer,
        "start": event.start.render(response_zone),
        "end": event.end.render(response_zone),
        **_instance_of(event, response_zone),
        "iCalUID": event.ical_uid,
        "sequence": event.sequence,
        **event.content.fields,
    }
    return copy.deepcopy(resource)


def render_tombstone(event: Event, response_zone: str) -> Resource:
    """A cancelled event as lists show it: only what Google guarantees about one."""
    return {
        "kind": "calendar#event",
        "etag": event.etag,
        "id": event.id,
        "status": CANCELLED,
        **_instance_of(event, response_zone),
    }


def without_details(resource: Resource) -> Resource:
    """The event for callers who may know only that the time is taken."""
    return {
        **{
            name: value for name, value in resource.items() if name in _FREE_BUSY_FIELDS
        },
        "visibility": "private",
    }


def render_timestamp(moment: datetime, precision: str) -> str:
    """``2026-03-29T01:00:00.000Z``; precision as in `datetime.isoformat`. ``created`` has whole seconds there too."""
    if precision == "seconds":
        moment = moment.replace(microsecond=0)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instance_of(event: Event, response_zone: str) -> Resource:
    if event.master_id is None or event.original_start is None:
        return {}
    return {
        "recurringEventId": event.master_id,
        "originalStartTime": event.original_start.render(response_zone),
    }
