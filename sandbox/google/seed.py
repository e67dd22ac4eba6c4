"""Sample data: what a firm's people have in Google before the product comes."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from sandbox.google.api import World
from sandbox.google.event import Resource

BERLIN: Final = "Europe/Berlin"


def load_sample(world: World, owner: str, *, reader: str) -> None:
    """A person's calendar that the service account may read, with some events around today.

    Args:
        world: where to put it.
        owner: address of the person.
        reader: address of the service account.
    """
    world.calendars.add_account(owner)
    calendar = world.calendars.insert(owner, {"summary": "Kanzlei", "timeZone": BERLIN})
    world.calendars.share(
        owner,
        calendar,
        {"role": "reader", "scope": {"type": "user", "value": reader}},
    )
    today = world.now().date()
    monday = today - timedelta(days=today.weekday())
    for event in (
        {
            "summary": "Anwaltsrunde",
            "location": "Bibliothek",
            **_hours(monday, "08:30:00", "09:15:00"),
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=MO"],
        },
        {"summary": "Betriebsausflug", **_days(monday + timedelta(days=31), 1)},
        {
            "summary": "Kanzlei geschlossen",
            "transparency": "opaque",
            **_days(monday + timedelta(days=60), 4),
        },
        {
            "summary": "Zahnarzt",
            "visibility": "private",
            **_hours(monday + timedelta(days=3), "16:00:00", "16:45:00"),
        },
    ):
        world.events.insert(owner, calendar, event)


def _hours(day: date, start: str, end: str) -> Resource:
    times = {"start": start, "end": end}
    return {
        which: {"dateTime": f"{day}T{time}", "timeZone": BERLIN}
        for which, time in times.items()
    }


def _days(first: date, count: int) -> Resource:
    return {
        "start": {"date": str(first)},
        "end": {"date": str(first + timedelta(days=count))},
    }
