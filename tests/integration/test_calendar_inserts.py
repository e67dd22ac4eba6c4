"""How many new events Google is asked for at the same time, and how many while it is away."""

from __future__ import annotations

from typing import Any

import pytest
from calendar_office import CalendarOffice, clock_times, in_haste, office, timed
from waiting import held, until
from watched_journal import WatchedJournal

__all__ = ["office"]


def _inserts(office: CalendarOffice) -> list[dict[str, Any]]:
    """The requests for a new event, in the journal as it is now."""
    return [
        entry
        for entry in office.google.journal
        if entry["method"] == "POST" and entry["route"].endswith("/events")
    ]


def _watch(office: CalendarOffice) -> list[int]:
    """From now on, how many of these requests wait for their answer whenever one comes."""
    unanswered: list[int] = []

    def count(_entry: dict[str, Any]) -> None:
        waiting = [entry for entry in _inserts(office) if entry["status"] is None]
        unanswered.append(len(waiting))

    office.google.journal = WatchedJournal(count)
    return unanswered


@in_haste
async def test_new_events_are_inserted_four_at_a_time(office: CalendarOffice) -> None:
    await office.sync()  # the calendar is there
    for number in range(9):
        office.termin(f"Termin {number}")
    unanswered = _watch(office)

    async with held(
        office.google,
        office.run("SB"),
        method="POST",
        path="/events$",
        skip=1,  # until the first one has succeeded, it is alone
        count=None,
    ) as running:
        await until(lambda: unanswered[-1] == 4)
    await running

    assert len(office.events("SB")) == 9
    assert max(unanswered) == 4


@in_haste
async def test_while_google_is_away_it_is_asked_for_one_event_at_a_time_and_for_three(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.strike("google", method="POST", path="/events$", status=503)
    office.termin("der erste")
    await office.try_sync()
    tries_of_one = len(_inserts(office))
    for number in range(8):
        office.termin(f"Termin {number}")
    unanswered = _watch(office)

    await office.try_sync()

    assert max(unanswered) == 1
    assert len(_inserts(office)) == 3 * tries_of_one


@in_haste
@pytest.mark.parametrize(
    "edited",
    [
        {"extendedProperties": None},
        {"extendedProperties": None, "summary": "mein Titel"},
        {"extendedProperties": None, **timed("2026-03-12", "07:00", "07:30")},
        {"summary": "mein Titel", "location": "Café"},
        {"extendedProperties": None, "visibility": "private"},
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
async def test_an_event_whose_insert_was_not_answered_is_the_termins_whatever_its_owner_made_of_it(
    office: CalendarOffice, edited: dict[str, Any], is_listed: bool
) -> None:
    await office.sync()
    office.strike("google", method="POST", path="/events$", when="after", reset=True)
    office.strike("google", method="POST", path="/events$", status=503, count=20)
    fr_nr = office.termin("Besprechung")
    await office.try_sync()
    office.recover()
    (inserted,) = office.events("SB")
    office.change_event(inserted["id"], **edited)
    if not is_listed:
        lacks = [{"field": "items[]", "how": "missing"}]
        office.strike("google", method="GET", path="/events$", answer=lacks)

    await office.sync()
    await office.sync_until_calm()

    (event,) = office.events("SB")
    assert (event["id"], event["summary"]) == (inserted["id"], "Besprechung")
    assert clock_times(event) == clock_times(inserted)
    assert (await office.pair()).advoware_frnr == fr_nr
    kept = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    assert bool(kept) == bool({"summary", "start"} & set(edited))


@in_haste
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("properties", ["kept", "dropped"])
async def test_an_event_whose_insert_was_not_answered_is_the_termins_while_a_list_lacks_that(
    office: CalendarOffice, properties: str, times: int
) -> None:
    await office.sync()
    office.strike("google", method="POST", path="/events$", when="after", reset=True)
    office.strike("google", method="POST", path="/events$", status=503, count=20)
    fr_nr = office.termin("Besprechung")
    await office.try_sync()
    office.recover()
    (inserted,) = office.events("SB")
    if properties == "dropped":
        office.change_event(inserted["id"], extendedProperties=None)
    for _ in range(times):
        office.strike(
            "advoware",
            method="GET",
            path="/Termine$",
            query="kuerzel=",
            answer=[{"field": "[]", "how": "missing"}],
        )
        await office.try_sync()

    await office.sync_until_calm()

    (event,) = office.events("SB")
    assert event["id"] == inserted["id"]
    assert [termin["frNr"] for termin in office.termine()] == [fr_nr]
    assert (await office.pair()).advoware_frnr == fr_nr
