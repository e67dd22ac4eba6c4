"""The flows of the calendar sync that write something, each run by a worker that may die."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from calendar_firm import CalendarFirm
from calendar_office import days, timed
from crash_nursery import Work

SHARED = {"GOOGLE_CALENDAR_ACL": "reader:office@example.de,writer:court@example.de"}
SHARED_OTHERWISE = {"GOOGLE_CALENDAR_ACL": "writer:office@example.de"}
LAST_CHANGE_WINS = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}
PROTECTED = {"ADVOWARE_WRITE_PROTECTION": "true"}
WEEKLY = {
    "dauertermin": 1,
    "turnus": 1,
    "turnusArt": 2,
    "datumBis": "2026-06-01",
}
Begin = Callable[[CalendarFirm], Awaitable[None] | None]


@dataclass(frozen=True)
class CalendarFlow:
    """What is there and at rest (``before``), and what happens then (``begin``); the employee's next run may die."""

    name: str
    begin: Begin
    before: Begin | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    kuerzel: str = "SB"
    then: Begin | None = None

    async def start(self, firm: CalendarFirm) -> Work:
        """Let all of that happen; the run that may die."""
        await firm.open_day(self.variables)
        if self.before is not None:
            await _happen(self.before, firm)
            await firm.come_to_rest()
        await _happen(self.begin, firm)
        return Work("calendar", {"kuerzel": self.kuerzel})


async def _happen(something: Begin, firm: CalendarFirm) -> None:
    waiting = something(firm)
    if waiting is not None:
        await waiting


def _termin(firm: CalendarFirm) -> None:
    firm.termin("Verhandlung")


def _two_termine(firm: CalendarFirm) -> None:
    firm.termin("Verhandlung")
    firm.termin("Besprechung", uhrzeitVon="12:00:00", uhrzeitBis="13:00:00")


def _moved(firm: CalendarFirm) -> None:
    firm.change_termin(_number(firm), uhrzeitVon="11:00:00", uhrzeitBis="12:00:00")


def _deleted(firm: CalendarFirm) -> None:
    firm.delete_termin(_number(firm))


def _made_private(firm: CalendarFirm) -> None:
    firm.change_termin(_number(firm), privat=1)


def _handed_over(firm: CalendarFirm) -> None:
    firm.change_termin(_number(firm), anwalt="AI")


def _number(firm: CalendarFirm) -> int:
    return int(firm.termine()[0]["frNr"])


def _event(firm: CalendarFirm) -> str:
    return str(firm.events("SB")[0]["id"])


def _entered(firm: CalendarFirm) -> None:
    firm.enter("Mandantengespräch")


async def _entered_before(firm: CalendarFirm) -> None:
    await firm.sync()
    firm.enter("Mandantengespräch")


def _two_entered(firm: CalendarFirm) -> None:
    firm.enter("Mandantengespräch")
    firm.enter("Urlaub", **days("2026-02-16", "2026-02-18"))


def _event_moved(firm: CalendarFirm) -> None:
    firm.change_event(_event(firm), **timed("2026-02-13", "09:00", "10:00"))


def _event_deleted(firm: CalendarFirm) -> None:
    firm.delete_event(_event(firm))


def _series(firm: CalendarFirm) -> None:
    firm.termin("Jour fixe", **WEEKLY)


def _occurrence_moved(firm: CalendarFirm) -> None:
    occurrence = f"{_event(firm)}_20260219T090000Z"
    firm.change_event(occurrence, **timed("2026-02-20", "10:00", "11:00"))


def _copied_by_a_person(firm: CalendarFirm) -> None:
    (event,) = firm.events("SB")
    marks = {"extendedProperties": event["extendedProperties"]}
    firm.enter(
        "Verhandlung, zweiter Tag", **timed("2026-02-13", "10:00", "11:00"), **marks
    )


def _renamed(firm: CalendarFirm) -> None:
    calendar = firm.calendar("SB")
    assert calendar is not None
    texts = {**calendar.texts, "description": ""}
    firm.google.world.calendars.change(calendar, texts)
    firm.now += timedelta(hours=25)


async def _shared_otherwise(firm: CalendarFirm) -> None:
    await firm.configure(**SHARED_OTHERWISE)


async def _texts_hidden(firm: CalendarFirm) -> None:
    await firm.configure(CALENDAR_SYNC_ANONYMIZE="true")


async def _series_of_a_person(firm: CalendarFirm) -> None:
    await firm.sync()
    times = timed("2026-02-12", "10:00", "11:00")
    rule = ["RRULE:FREQ=WEEKLY;UNTIL=20260601T215959Z"]
    series = firm.enter("Jour fixe", recurrence=rule, **times)
    await firm.sync()
    moved = timed("2026-02-20", "10:00", "11:00")
    firm.change_event(f"{series}_20260219T090000Z", **moved)


def _shown_until_midnight(firm: CalendarFirm) -> None:
    firm.termin("Verhandlung")
    shown = {
        "field": "uhrzeitBis",
        "how": "value",
        "to": "24:00:00",
        "where": {"uhrzeitBis": "11:00:00"},
    }
    firm.strike("advoware", method="GET", answer=[shown])


def _renamed_event(firm: CalendarFirm) -> None:
    firm.change_event(_event(firm), summary="Verhandlung verlegt")


async def _calendar(firm: CalendarFirm) -> None:
    await firm.sync()


CALENDAR_FLOWS = (
    CalendarFlow("the first Termin of an employee", _termin, None, SHARED),
    CalendarFlow("two Termine are entered in Advoware", _two_termine, _calendar),
    CalendarFlow("a Termin is moved in Advoware", _moved, _termin),
    CalendarFlow("a Termin is deleted in Advoware", _deleted, _termin),
    CalendarFlow("a Termin becomes private", _made_private, _termin),
    CalendarFlow("a Termin is handed to a colleague", _handed_over, _termin),
    CalendarFlow(
        "a Termin arrives at the colleague", _handed_over, _termin, kuerzel="AI"
    ),
    CalendarFlow("a person deletes the copy of a Termin", _event_deleted, _termin),
    CalendarFlow("a person moves the copy of a Termin", _event_moved, _termin),
    CalendarFlow(
        "a person moves an occurrence of a series", _occurrence_moved, _series
    ),
    CalendarFlow("a person copies the copy", _copied_by_a_person, _termin),
    CalendarFlow("two events are entered in Google", _two_entered, _calendar),
    CalendarFlow("an event of a person is moved", _event_moved, _entered_before),
    CalendarFlow("an event of a person is deleted", _event_deleted, _entered_before),
    CalendarFlow(
        "the Termin of a persons event is moved in Advoware", _moved, _entered_before
    ),
    CalendarFlow(
        "the Termin of a persons event is deleted in Advoware",
        _deleted,
        _entered_before,
    ),
    CalendarFlow("all texts are hidden", _texts_hidden, _entered_before),
    CalendarFlow(
        "the texts of a series that Advoware cannot hold are hidden",
        _texts_hidden,
        _series_of_a_person,
    ),
    CalendarFlow(
        "a person copies the copy while Advoware is protected",
        _copied_by_a_person,
        _termin,
        PROTECTED,
    ),
    CalendarFlow("the calendar loses its description", _renamed, _termin),
    CalendarFlow(
        "the calendar is shared with others", _shared_otherwise, _termin, SHARED
    ),
    CalendarFlow(
        "a text is changed while Advoware shows an end that it does not take back",
        _renamed_event,
        _shown_until_midnight,
        LAST_CHANGE_WINS,
    ),
)
