"""What employees do in Google besides entering, editing and deleting, on the data of the twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from calendar_scenario import KUERZEL, Act

from sandbox.google.calendar_store import Calendar
from sandbox.google.event import CANCELLED, Event, render_event

if TYPE_CHECKING:
    from calendar_world import CalendarWorld

Resource = dict[str, Any]

PERSON = "sekretariat@example.de"
COURT = "gericht@example.org"
RULES = (
    ["RRULE:FREQ=DAILY;COUNT=3"],
    ["RRULE:FREQ=WEEKLY;BYDAY=MO,WE,FR;COUNT=9"],
    ["RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=5"],
    ["RRULE:FREQ=WEEKLY;INTERVAL=2;UNTIL=20280131T225959Z"],
    ["RRULE:FREQ=DAILY;COUNT=5", "EXDATE;TZID=Europe/Berlin:20260401T100000"],
    ["RRULE:FREQ=YEARLY"],
)
ZONES = (
    "America/New_York",
    "Europe/Rome",
    "Asia/Tokyo",
    "UTC",
    "Europe/London",
    "Africa/Algiers",
)


class People:
    """Employees at work in their calendars; every act names what it is about in the world's ledger."""

    def __init__(self, world: CalendarWorld) -> None:
        self._world = world
        self._acts: dict[str, Callable[[Act, Calendar, Event], None]] = {
            "cancel occurrence": self._cancel_occurrence,
            "move occurrence": self._move_occurrence,
            "retitle occurrence": self._retitle_occurrence,
            "hide occurrence": self._hide_occurrence,
            "split": self._split,
            "copy": self._copy,
            "copy to colleague": self._copy,
            "move away": self._move,
            "move to colleague": self._move,
            "import own": self._import_own,
        }

    def act(self, step: Act) -> None:
        """Do it, if there is anything to do it with."""
        calendar = self._world.calendar(step.kuerzel)
        if calendar is None:
            return
        if step.what in {"import file", "invite", "invite twice"}:
            self._receive(step, calendar)
        elif step.what == "restore":
            self._restore(step, calendar)
        elif (event := self._choose(step, calendar)) is not None:
            self._acts.get(step.what, self._edit)(step, calendar, event)

    def _choose(self, step: Act, calendar: Calendar) -> Event | None:
        """An event that is not deleted; for what is done to occurrences, a series."""
        wants_series = step.what.endswith("occurrence") or step.what == "split"
        found = [
            event
            for event in calendar.events.values()
            if event.master_id is None
            and event.status != CANCELLED
            and (event.recurrence or not wants_series)
        ]
        return found[step.number % len(found)] if found else None

    # -- occurrences ------------------------------------------------------------------------------------------------

    def _instance(
        self, step: Act, calendar: Calendar, series: Event, *, first: int = 0
    ) -> Event | None:
        shown = [
            e
            for e in self._events.instances(calendar, series, None)[:12]
            if e.status != CANCELLED
        ]
        candidates = shown[first:6]
        return candidates[step.variant % len(candidates)] if candidates else None

    def _cancel_occurrence(self, step: Act, calendar: Calendar, series: Event) -> None:
        if (instance := self._instance(step, calendar, series)) is not None:
            self._events.delete(calendar, instance)

    def _move_occurrence(self, step: Act, calendar: Calendar, series: Event) -> None:
        if (instance := self._instance(step, calendar, series)) is not None:
            times = self._world.times_of_event(step.when)
            del times["recurrence"]
            self._events.change(PERSON, calendar, instance, times, patch=True)

    def _retitle_occurrence(self, step: Act, calendar: Calendar, series: Event) -> None:
        if (instance := self._instance(step, calendar, series)) is not None:
            text = self._world.new_title(instance.content.fields.get("summary"))
            changes = {"summary": text, "description": text}
            self._events.change(PERSON, calendar, instance, changes, patch=True)

    def _hide_occurrence(self, step: Act, calendar: Calendar, series: Event) -> None:
        if (instance := self._instance(step, calendar, series)) is not None:
            self._events.change(
                PERSON, calendar, instance, {"visibility": "private"}, patch=True
            )

    def _split(self, step: Act, calendar: Calendar, series: Event) -> None:
        instance = self._instance(step, calendar, series, first=1)
        if instance is None:
            return
        title = self._title_of_copy(step, series)
        rest = self._world.google.world.people.split(
            PERSON, calendar, instance.id, title
        )
        self._note_own(
            step.kuerzel, rest, render_event(series, calendar.id, calendar.zone)
        )

    # -- copies, other calendars, the bin ---------------------------------------------------------------------------

    def _copy(self, step: Act, calendar: Calendar, event: Event) -> None:
        kuerzel = (
            _colleague(step.kuerzel)
            if step.what == "copy to colleague"
            else step.kuerzel
        )
        destination = self._world.calendar(kuerzel)
        if destination is None:
            return
        title = self._title_of_copy(step, event)
        copy = self._world.google.world.people.copy(
            PERSON, calendar, event.id, destination, title
        )
        self._note_own(kuerzel, copy, render_event(event, calendar.id, calendar.zone))

    def _title_of_copy(self, step: Act, event: Event) -> Resource:
        """Most people say what their copy is about; some leave it as it is."""
        if step.variant % 3 == 0:
            return {}
        token = self._world.ledger.next_token
        return {
            "summary": self._world.text(token),
            "description": None,
            "location": None,
        }

    def _note_own(self, kuerzel: str, event: Event, original: Resource) -> None:
        """The event is a person's; with a text that was there before, there are two of that appointment from now on."""
        ledger = self._world.ledger
        token = self._world.token_of(event.content.fields.get("summary"))
        self._note_typed(event)
        if token is None:
            # Made of a hidden event: if anything shows its text, then the Termin of the original.
            hidden = self._world.hidden_token(original)
            ledger.doubles.update({hidden} if hidden else ())
            properties = original.get("extendedProperties") or {}
            mark = properties.get("private", {}).get("advoware_frnr")
            ledger.copies[kuerzel, event.id] = mark
            return
        if token in ledger.origin:
            ledger.doubles.add(token)
        else:
            ledger.origin[token] = kuerzel
            if event.content.fields.get("visibility") == "private":
                ledger.private.add(token)
        ledger.events[kuerzel, event.id] = token

    def _note_typed(self, event: Event) -> None:
        """What stands in a person's event is that person's, also if it was typed while the event was hidden."""
        summary = str(event.content.fields.get("summary") or "")
        if "LEAK" in summary:  # `calendar_world.LEAK`
            self._world.ledger.typed_in_copies.add(summary)

    def _move(self, step: Act, calendar: Calendar, event: Event) -> None:
        if step.what == "move to colleague":
            kuerzel = _colleague(step.kuerzel)
            destination = self._world.calendar(kuerzel)
        else:
            kuerzel, destination = "", self._world.private_calendar()
        if destination is None:
            return
        resource = render_event(event, calendar.id, calendar.zone)
        moved = self._events.move(PERSON, calendar, event, destination)
        if kuerzel:
            self._world.ledger.events.pop((step.kuerzel, event.id), None)
            self._note_own(kuerzel, moved, resource)
        else:
            self._world.note_drop(step.kuerzel, resource)

    def _restore(self, step: Act, calendar: Calendar) -> None:
        in_bin = [
            event
            for event in calendar.events.values()
            if event.master_id is None
            and event.status == CANCELLED
            and not event.hollow
        ]
        if in_bin:
            event = self._world.google.world.people.restore(
                PERSON, calendar, in_bin[step.number % len(in_bin)].id
            )
            properties = event.content.fields.get("extendedProperties") or {}
            termin = properties.get("private", {}).get("advoware_frnr")
            if all(str(row["frNr"]) != termin for row in self._world.termine()):
                self._note_typed(event)
            token = self._world.token_of(event.content.fields.get("summary"))
            if {termin, token} & self._world.ledger.termine_dropped:
                return  # if no run has heard of the absence of the event, it still goes with its Termin
            self._note_back(step.kuerzel, event)

    def _note_back(self, kuerzel: str, event: Event) -> None:
        ledger = self._world.ledger
        token = self._world.token_of(event.content.fields.get("summary"))
        if token is not None:
            ledger.dropped.discard(token)
            ledger.doubles.add(token)
            ledger.origin[token] = kuerzel
            ledger.events[kuerzel, event.id] = token

    # -- files and invitations --------------------------------------------------------------------------------------

    def _import_own(self, step: Act, calendar: Calendar, event: Event) -> None:
        """The event was exported and comes back from the file, without our marks."""
        fields = event.writable()
        names = ("summary", "description", "location", "start", "end", "recurrence")
        file = {name: fields[name] for name in names if name in fields}
        self._events.import_event(PERSON, calendar, {**file, "iCalUID": event.ical_uid})

    def _receive(self, step: Act, calendar: Calendar) -> None:
        token = self._world.ledger.next_token
        body = {
            **self._world.times_of_event(step.when),
            "summary": self._world.text(token),
        }
        body["iCalUID"] = (
            f"{token}@{'google.com' if step.variant == 0 else 'gericht.example'}"
        )
        if step.what == "import file":
            event = self._events.import_event(PERSON, calendar, body)
        else:
            event = self._world.google.world.people.invite(COURT, calendar, body)
        self._world.ledger.origin[token] = step.kuerzel
        self._world.ledger.events[step.kuerzel, event.id] = token
        if step.what == "invite twice":
            self._world.ledger.doubles.add(token)
            again = {**body, "iCalUID": f"zweimal-{token}@gericht.example"}
            twin = self._world.google.world.people.invite(COURT, calendar, again)
            self._world.ledger.events[step.kuerzel, twin.id] = token

    # -- edits ------------------------------------------------------------------------------------------------------

    def _edit(self, step: Act, calendar: Calendar, event: Event) -> None:
        self._events.change(
            PERSON, calendar, event, self._changes(step, event), patch=True
        )

    def _changes(self, step: Act, event: Event) -> Resource:
        title = event.content.fields.get("summary", "")
        match step.what:
            case "colour":
                return {"colorId": str(1 + step.variant)}
            case "reminders":
                return {
                    "reminders": {
                        "useDefault": False,
                        "overrides": [{"method": "popup", "minutes": 5}],
                    }
                }
            case "guests":
                return {"attendees": [{"email": "mandant@example.com"}]}
            case "make private":
                return {"visibility": "private"}
            case "html":
                return {
                    "description": f"<b>Akte</b>&nbsp;{self._world.new_title(title)}<br><ul><li>Müller</li></ul>"
                }
            case "long text":
                return {
                    "description": self._world.new_title(title) + " Sachverhalt" * 900
                }
            case "free day":
                times = self._world.times_of_event(step.when.on_a_whole_day())
                return {**times, "transparency": "transparent"}
            case "other zone":
                return self._in_another_zone(step)
            case "other rule":
                if event.start.all_day:
                    return {"recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]}
                return {"recurrence": RULES[step.variant % len(RULES)]}
            case _:
                raise ValueError(f"{step.what} is no act")

    def _in_another_zone(self, step: Act) -> Resource:
        times = self._world.times_of_event(step.when)
        zone = ZONES[step.variant % len(ZONES)]
        for side in ("start", "end"):
            if times[side].get("dateTime"):
                times[side]["timeZone"] = zone
        return times

    @property
    def _events(self) -> Any:
        return self._world.google.world.events


def _colleague(kuerzel: str) -> str:
    return next(other for other in KUERZEL if other != kuerzel)
