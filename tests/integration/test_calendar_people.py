"""What people do in Google that no rule of a sync expects, example by example; `sandbox.google.people` does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from calendar_deeds import (
    LAST_CHANGE_WINS,
    MAY_WRITE,
    SERIES,
    WEEKLY,
    everything,
    sync_all,
)
from calendar_office import DAY, CalendarOffice, in_haste, office, timed
from calendar_people import PERSON
from calendar_scenario import KUERZEL
from calendar_world import property_of

from sandbox.google.readings import Readings

__all__ = ["office"]

BOTH = pytest.mark.parametrize(
    "marks", [True, False], ids=["marks come along", "marks are lost"]
)


def read_google_as(office: CalendarOffice, *, marks: bool) -> None:
    """It is not known whether Google copies private properties."""
    names = ("split", "copy", "move", "restore")
    office.google.world.events.readings = Readings(
        **{f"{name}_keeps_properties": marks for name in names}
    )


@BOTH
@in_haste
async def test_the_second_half_of_a_split_series_is_a_new_appointment(
    office: CalendarOffice, marks: bool
) -> None:
    await office.configure(**MAY_WRITE)
    read_google_as(office, marks=marks)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    calendar, series = office.calendar("SB"), office.copy(fr_nr)["id"]
    assert calendar is not None
    rest = office.google.world.people.split(
        PERSON,
        calendar,
        f"{series}_20260312T090000Z",
        timed("2026-03-12", "14:00", "15:00"),
    )

    await office.sync_until_calm()

    shown = {
        record["frNr"]: (record["datum"][:10], record["uhrzeitVon"][:5])
        for record in office.termine()
    }
    assert shown.pop(fr_nr) == (DAY, "10:00")
    assert list(shown.values()) == [("2026-03-12", "14:00")]
    assert {event["id"] for event in office.events("SB")} >= {series, rest.id}


@BOTH
@pytest.mark.parametrize(
    "configuration",
    [MAY_WRITE, LAST_CHANGE_WINS],
    ids=["source wins", "last change wins"],
)
@in_haste
async def test_a_copy_whose_original_is_deleted_costs_no_termin(
    office: CalendarOffice, configuration: dict[str, str], marks: bool
) -> None:
    await office.configure(**configuration)
    read_google_as(office, marks=marks)
    await office.sync()
    event_id = office.enter("Besprechung")
    await office.sync_until_calm()
    calendar = office.calendar("SB")
    assert calendar is not None
    office.google.world.people.copy(
        PERSON, calendar, event_id, calendar, {"summary": "Besprechung (neu)"}
    )
    office.delete_event(event_id)

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (
        ["Besprechung (neu)"],
        ["Besprechung (neu)"],
    )


@in_haste
async def test_a_copy_of_a_hidden_event_whose_original_is_deleted_keeps_its_termin(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    read_google_as(office, marks=True)
    fr_nr = office.termin("Mandat Weber", privat=1)
    await office.sync()
    original = office.copy(fr_nr)["id"]
    calendar = office.calendar("SB")
    assert calendar is not None
    title = {"summary": "Rückfrage"}
    office.google.world.people.copy(PERSON, calendar, original, calendar, title)
    office.delete_event(original)

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Advoware"], ["Mandat Weber"])
    assert await kept_titles(office) == ["Rückfrage"]


async def kept_titles(office: CalendarOffice) -> list[str]:
    """The titles of events that the sync has written over, as they were before."""
    rows = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    return [row["resource"]["summary"] for row in rows]


TYPED = {"summary": "Rückfrage"}


def _termin_becomes_public(office: CalendarOffice, fr_nr: int) -> None:
    office.change_termin(fr_nr, privat=0)


def _termin_is_moved(office: CalendarOffice, fr_nr: int) -> None:
    office.change_termin(fr_nr, datum="2026-03-21", datumBis="2026-03-21")


def _text_is_changed(office: CalendarOffice, fr_nr: int) -> None:
    office.change_termin(fr_nr, text="Mandat Weber II")


def _move_to_colleague(office: CalendarOffice, fr_nr: int) -> None:
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    event = own.events[office.copy(fr_nr)["id"]]
    office.google.world.events.move(PERSON, own, event, other)


async def move_with_its_termin(
    office: CalendarOffice, fr_nr: int, anwalt: str, first: str
) -> None:
    """Move a Termin's event to the colleague and give him the Termin; there is still no other one."""
    _move_to_colleague(office, fr_nr)
    office.change_termin(fr_nr, anwalt=anwalt)

    await office.try_sync(first)
    await sync_all(office, 3)

    assert [record["frNr"] for record in office.termine()] == [fr_nr]


def _advoware_takes_nothing(office: CalendarOffice, fr_nr: int) -> None:
    office.strike("advoware", status=400, method="PUT", count=1)


def _advoware_is_away(office: CalendarOffice, fr_nr: int) -> None:
    office.strike("advoware", status=503, method="PUT", count=1)


MOVED = {**TYPED, **timed("2026-03-20", "12:00", "13:00")}
ON_A_WHOLE_DAY = {
    **TYPED,
    "start": {"date": "2026-03-20", "dateTime": None, "timeZone": None},
    "end": {"date": "2026-03-21", "dateTime": None, "timeZone": None},
}


@pytest.mark.parametrize(
    "configuration",
    [MAY_WRITE, LAST_CHANGE_WINS],
    ids=["source wins", "last change wins"],
)
@pytest.mark.parametrize(
    ("edit", "also"),
    [
        (TYPED, None),
        (MOVED, None),
        (ON_A_WHOLE_DAY, None),
        ({**TYPED, "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=FR"]}, None),
        ({**TYPED, "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]}, None),
        (TYPED, _termin_becomes_public),
        (TYPED, _termin_is_moved),
        (MOVED, _termin_is_moved),
        (MOVED, _text_is_changed),
        (TYPED, _move_to_colleague),
        (MOVED, _move_to_colleague),
        (MOVED, _advoware_takes_nothing),
        (MOVED, _advoware_is_away),
    ],
)
@in_haste
async def test_what_is_typed_into_a_hidden_event_is_kept_before_it_goes(
    office: CalendarOffice,
    configuration: dict[str, str],
    edit: dict[str, Any],
    also: Callable[[CalendarOffice, int], None] | None,
) -> None:
    await office.configure(**configuration)
    read_google_as(office, marks=True)
    fr_nr = office.termin("Mandat Weber", privat=1)
    for kuerzel in KUERZEL:
        await office.sync(kuerzel)
    office.change_event(office.copy(fr_nr)["id"], **edit)
    if also is not None:
        also(office, fr_nr)

    for _ in range(3):
        for kuerzel in KUERZEL:
            await office.sync(kuerzel)

    shown = [*office.texts("SB"), *office.texts("AI")]
    assert "Rückfrage" not in [*shown, *office.termin_texts()]
    assert "Rückfrage" in await kept_titles(office)


def _nothing_else(office: CalendarOffice, fr_nr: int) -> None:
    pass


def _termin_becomes_private(office: CalendarOffice, fr_nr: int) -> None:
    office.change_termin(fr_nr, privat=1)


def _place_is_typed(office: CalendarOffice, fr_nr: int) -> None:
    office.change_event(office.copy(fr_nr)["id"], location="Saal 3")


@pytest.mark.parametrize("first", ["SB", "AI"])
@pytest.mark.parametrize("origin", ["advoware", "google"])
@pytest.mark.parametrize(
    ("fields", "meanwhile"),
    [
        ({}, _nothing_else),
        ({"privat": 1}, _nothing_else),
        ({}, _termin_becomes_private),
        ({}, _place_is_typed),
        (SERIES, _place_is_typed),
    ],
)
@in_haste
async def test_an_event_that_is_moved_with_its_termin_is_one_without_our_marks(
    office: CalendarOffice,
    fields: dict[str, Any],
    meanwhile: Callable[[CalendarOffice, int], None],
    origin: str,
    first: str,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    read_google_as(office, marks=False)
    await sync_all(office)
    if origin == "google":
        office.enter("Mandat Weber", **(WEEKLY if "turnus" in fields else {}))
        await sync_all(office)
        office.change_termin(office.record("Mandat Weber")["frNr"], **fields)
    else:
        office.termin("Mandat Weber", **fields)
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    meanwhile(office, fr_nr)

    await move_with_its_termin(office, fr_nr, "AI", first)

    assert (office.texts("SB"), len(office.events("AI"))) == ([], 1)
    is_private = office.record("Mandat Weber")["privat"]
    assert office.texts("AI") == ["Advoware" if is_private else "Mandat Weber"]
    if meanwhile is _place_is_typed:
        assert "Saal 3" in await everything(office)


@pytest.mark.parametrize("privat", [0, 1])
@pytest.mark.parametrize("first", ["SB", "AI"])
@in_haste
async def test_an_event_that_is_moved_when_its_termin_is_given_to_all_employees_is_one(
    office: CalendarOffice, first: str, privat: int
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    read_google_as(office, marks=False)
    fr_nr = office.termin("Mandat Weber", privat=privat)
    await sync_all(office, 2)
    _place_is_typed(office, fr_nr)

    await move_with_its_termin(office, fr_nr, "ALLE", first)

    assert (len(office.events("SB")), len(office.events("AI"))) == (1, 1)


@in_haste
async def test_an_event_whose_termin_has_another_one_at_the_colleague_is_a_persons(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    read_google_as(office, marks=False)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.change_termin(fr_nr, anwalt="AI")
    await sync_all(office, 2)
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    assert other is not None
    restored = office.google.world.people.restore(PERSON, own, event_id)
    office.google.world.events.move(PERSON, own, restored, other)
    await office.configure(ADVOWARE_WRITE_PROTECTION="true")

    await sync_all(office, 2)

    assert office.texts("AI") == ["Mandat Weber", "Mandat Weber"]
    assert office.writes() == []
    await office.configure(**LAST_CHANGE_WINS)
    await sync_all(office, 2)
    assert office.termin_texts() == ["Mandat Weber", "Mandat Weber"]


@BOTH
@in_haste
async def test_an_event_out_of_the_bin_is_a_persons_event(
    office: CalendarOffice, marks: bool
) -> None:
    await office.configure(**MAY_WRITE)
    read_google_as(office, marks=marks)
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.delete_termin(fr_nr)
    await office.sync_until_calm()
    calendar = office.calendar("SB")
    assert calendar is not None
    assert office.texts() == []
    office.google.world.people.restore(PERSON, calendar, event_id)

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Verhandlung"], ["Verhandlung"])


@BOTH
@in_haste
async def test_a_copy_waits_without_our_marks_while_advoware_may_not_be_written(
    office: CalendarOffice, marks: bool
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION="true")
    read_google_as(office, marks=marks)
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    calendar = office.calendar("SB")
    assert calendar is not None
    copy = office.google.world.people.copy(
        PERSON, calendar, office.copy(fr_nr)["id"], calendar, {"summary": "Kopie"}
    )

    await office.sync_until_calm()

    [shown] = [event for event in office.events("SB") if event["id"] == copy.id]
    assert property_of(shown, "sync_id") is None
    assert office.termin_texts() == ["Verhandlung"]
    await office.configure(**MAY_WRITE)
    await office.sync_until_calm()
    assert office.termin_texts() == ["Kopie", "Verhandlung"]


# -- outside the window -----------------------------------------------------------------------------------------------


@in_haste
async def test_what_is_over_is_hidden_followed_and_left_in_peace(
    office: CalendarOffice,
) -> None:
    kept, private, handed_on, gone = (
        office.termin(text) for text in ("bleibt", "privat", "abgegeben", "weg")
    )
    await office.sync()
    office.now += timedelta(days=40)
    await office.sync_until_calm()
    office.change_termin(private, privat=1)
    office.change_termin(handed_on, anwalt="AI")
    office.delete_termin(gone)
    office.now += timedelta(hours=25)

    await office.sync_until_calm()

    assert office.texts() == ["Advoware", "bleibt"]
    assert office.copy(private)["visibility"] == "private"
    assert office.copy(kept)["summary"] == "bleibt"
    await office.sync(full_content=False)
    assert office.texts() == ["Advoware", "Advoware"]


@pytest.mark.parametrize(
    "configuration",
    [MAY_WRITE, LAST_CHANGE_WINS, {"ADVOWARE_WRITE_PROTECTION": "true"}],
    ids=["source wins", "last change wins", "protected"],
)
@in_haste
async def test_a_persons_event_that_is_over_follows_its_termin_to_a_colleague(
    office: CalendarOffice, configuration: dict[str, str]
) -> None:
    await office.configure(**MAY_WRITE)
    await office.sync()
    for text in ("bleibt", "abgegeben", "weg"):
        office.enter(text)
    await office.sync_until_calm()
    await office.configure(**configuration)
    office.now += timedelta(days=40)
    await office.sync_until_calm()
    office.change_termin(office.record("abgegeben")["frNr"], anwalt="AI")
    office.delete_termin(office.record("weg")["frNr"])
    office.now += timedelta(hours=25)

    await office.sync_until_calm()

    assert "abgegeben" not in office.texts()
    assert "bleibt" in office.texts()
    assert office.termin_texts() == ["abgegeben", "bleibt"]
    for _ in range(2):  # the first run hides what is left
        office.now += timedelta(hours=25)
        await office.sync(full_content=False)
    assert set(office.texts()) == {"Advoware"}
    assert [call for call in office.calls("advoware") if "frnr" in call] == []


@in_haste
async def test_an_event_that_is_over_stays_while_a_list_lacks_its_termin(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    await office.sync()
    office.enter("bleibt")
    await office.sync_until_calm()
    office.now += timedelta(days=40)
    lacks = {"field": "[]", "how": "missing"}
    office.strike("advoware", method="GET", query="kuerzel=", answer=[lacks])

    await office.sync()

    assert (office.texts(), office.termin_texts()) == (["bleibt"], ["bleibt"])


# -- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
@in_haste
async def test_a_series_that_is_put_back_may_be_interrupted_at_any_request(
    office: CalendarOffice, strategy: str, nth: int
) -> None:
    await office.configure(**MAY_WRITE, CALENDAR_SYNC_STRATEGY=strategy)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    office.change_event(
        f"{series}_20260219T090000Z", **timed("2026-02-20", "10:00", "11:00")
    )
    office.now += timedelta(minutes=5)
    office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    office.forget_journals()
    methods = ("DELETE", "POST", "GET", "PATCH")
    await office.sync_interrupted(methods[nth - 1], "/events")

    await office.sync_until_calm(runs=6)

    [event] = office.events("SB")
    assert event["start"]["dateTime"][11:16] == "14:00"
    assert [record["uhrzeitVon"][:5] for record in office.termine()] == ["14:00"]
    assert len(await office.pairs()) == 1


@pytest.mark.parametrize("fields", [{}, {**SERIES, "datumBis": "2026-02-26"}])
@BOTH
@in_haste
async def test_an_event_of_the_sync_that_is_moved_is_hidden_outside_the_window(
    office: CalendarOffice, marks: bool, fields: dict[str, Any]
) -> None:
    await office.configure(**MAY_WRITE)
    read_google_as(office, marks=marks)
    fr_nr = office.termin("Mandat Weber", **fields)
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.now += timedelta(days=45)
    await sync_all(office, 2)
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    assert other is not None
    office.google.world.events.move(PERSON, own, own.events[event_id], other)
    await office.configure(**MAY_WRITE, CALENDAR_SYNC_ANONYMIZE="true")
    await sync_all(office, 3)
    office.now += timedelta(days=1, hours=1)
    await sync_all(office, 2)
    assert "Mandat" not in str(office.events("AI"))
    assert "Mandat Weber" in await everything(office)
    await office.sync_until_calm("AI")
    assert len(office.termine()) == 1
