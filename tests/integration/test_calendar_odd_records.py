"""Odd records, and what people can say in Google only: the rest of the calendar is synced all the same."""

from __future__ import annotations

from typing import Any

import pytest
from calendar_office import (
    DAY,
    CalendarOffice,
    clock_times,
    in_haste,
    office,
    timed,
)
from odd_entries import ODD_ENTRIES, is_event, put_into_lists

from services.shadow.preview import preview_employee

__all__ = ["office"]

LAST_CHANGE_WINS = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}


async def assert_settled(office: CalendarOffice) -> None:
    """Further runs write nothing."""
    await office.sync()
    assert office.writes() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("datum", "9999-12-31"), ("datum", "0001-01-01T00:00:00"), ("datum", None), ("datum", {"jahr": 2026}),
        ("datumBis", "2500-01-01"), ("uhrzeitVon", "25:61"), ("frNr", "12a"), ("frNr", None), ("abwesenheit", "x"),
        ("anwalt", {"kuerzel": "SB"}),
    ],
)  # fmt: skip
@in_haste
async def test_one_odd_termin_stops_no_other(
    office: CalendarOffice, field: str, value: Any
) -> None:
    # The second one: those with an odd number carry their times within the dates as well.
    usual, odd = office.termin("Verhandlung"), office.termin("seltsam")
    altered = {
        "field": field,
        "how": "value",
        "to": value,
        "where": {"text": "seltsam"},
    }
    office.strike("advoware", method="GET", answer=[altered])

    await office.sync()

    assert office.texts() == ["Verhandlung"]
    assert clock_times(office.copy(usual)) == (f"{DAY}T10:00", f"{DAY}T11:00")
    assert office.copies(odd) == []
    await assert_settled(office)


@pytest.mark.parametrize("odd", ODD_ENTRIES, ids=str)
@in_haste
async def test_an_entry_of_a_list_that_is_none_stops_neither_run_nor_preview(
    office: CalendarOffice, odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.configure(GOOGLE_CALENDAR_ACL="reader:firm@example.de")
    await office.sync()
    office.termin("Verhandlung")
    with monkeypatch.context() as patch:
        put_into_lists(patch, odd)
        preview = await preview_employee(office.resources, "SB")
        summary = await office.sync()

    assert (preview.result, office.texts()) == (summary.result, ["Verhandlung"])
    assert len(summary.unreadable) == int(not is_event(odd))
    await office.sync_until_calm()


@pytest.mark.parametrize("name", ["text", "notiz", "ort"])
@in_haste
async def test_a_text_that_is_missing_costs_no_appointment_and_clears_none(
    office: CalendarOffice, name: str
) -> None:
    fields = {"text": "summary", "notiz": "description", "ort": "location"}
    old, new = office.termin("Verhandlung", notiz="Akte", ort="LG"), None
    await office.sync()
    before = office.copy(old)
    new = office.termin("Termin", notiz="Akte", ort="LG")
    office.strike(
        "advoware", method="GET", answer=[{"field": f"[].{name}", "how": "missing"}]
    )

    await office.sync()

    assert office.copy(old) == before
    shown = {key: office.copy(new).get(value) for key, value in fields.items()}
    assert shown == {"text": "Termin", "notiz": "Akte", "ort": "LG"} | {name: None}
    office.recover()
    await office.sync_until_calm()
    assert office.copy(new)[fields[name]] in {"Termin", "Akte", "LG"}


@in_haste
async def test_an_absence_without_end_is_shown_and_stops_no_one(
    office: CalendarOffice,
) -> None:
    closed, usual = (
        office.termin("geschlossen", abwesenheit=1, datumBis="9999-12-31"),
        office.termin("Verhandlung"),
    )

    summary = await office.sync()

    assert summary.result == "changed"
    event = office.copy(closed)
    assert (event["start"]["date"], event["end"]["date"]) == (DAY, "2038-01-01")
    assert clock_times(office.copy(usual)) == (f"{DAY}T10:00", f"{DAY}T11:00")
    await assert_settled(office)


@in_haste
async def test_html_becomes_text_in_advoware_and_stays_html_in_google(
    office: CalendarOffice,
) -> None:
    await office.sync()
    html = '<p>Akte &amp; <b>Vollmacht</b></p><ul><li><a href="https://x.de/?a=1&amp;b=2">Link</a></li></ul>'
    event_id = office.enter("Besprechung", description=html)

    await office.sync()

    assert (
        office.record("Besprechung")["notiz"]
        == "Akte & Vollmacht\n- Link (https://x.de/?a=1&b=2)"
    )
    await assert_settled(office)
    office.change_event(event_id, location="Celle")
    await office.sync()
    (event,) = office.events("SB")
    assert (office.record("Besprechung")["ort"], event["description"]) == (
        "Celle",
        html,
    )
    await assert_settled(office)


@pytest.mark.parametrize(
    "note",
    [
        "<b>eilig</b> & wichtig",
        "a < b",
        "Max <max@example.org>",
        "&amp;",
        "Zeile\n\nZeile",
    ],
)
@in_haste
async def test_a_note_reads_the_same_after_any_number_of_runs(
    office: CalendarOffice, note: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Verhandlung", notiz=note)
    await office.sync()
    await assert_settled(office)
    office.change_event(office.copy(fr_nr)["id"], summary="Verlegt")

    await office.sync()

    assert office.record("Verlegt")["notiz"] == note
    await assert_settled(office)


@in_haste
async def test_an_answer_of_advoware_that_shows_the_version_before_is_looked_behind(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("alt")
    await office.sync()
    old = office.record("alt")
    stale = [
        {"field": name, "how": "value", "to": old[name]} for name in ("rowId", "text")
    ]
    office.strike("advoware", method="PUT", answer=stale)
    office.change_event(office.copy(fr_nr)["id"], summary="neu")
    await office.sync()

    assert office.termin_texts() == ["neu"]
    await assert_settled(office)


@pytest.mark.parametrize("how", ["null", "missing"])
@pytest.mark.parametrize("field", ["text", "notiz", "ort"])
@in_haste
async def test_what_a_person_types_where_advoware_showed_no_text_takes_no_texts_place(
    office: CalendarOffice, field: str, how: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    hidden = [{"field": f"[].{field}", "how": how}]
    office.strike("advoware", method="GET", answer=hidden, count=None)
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.advoware.faults.clear()
    before = office.record("Verhandlung")
    event_id = office.copy(fr_nr)["id"]
    typed = {"text": "summary", "notiz": "description", "ort": "location"}[field]
    changes = {typed: "eigener Text", **timed(DAY, "14:00", "15:00")}
    office.change_event(event_id, **changes)

    await office.sync_until_calm()

    after = office.record("Verhandlung")
    assert (after["text"], after["notiz"]) == (before["text"], before["notiz"])
    assert after["ort"] == before["ort"]
    assert after["uhrzeitVon"] == "14:00:00"
    assert "eigener Text" not in str(office.copy(fr_nr))
    pool = await office.resources.database()
    kept = await pool.fetch("SELECT * FROM calendar_sync_overwritten")
    assert "eigener Text" in str(kept)


@pytest.mark.parametrize("value", ["", "0", False, "nein", 0.0])
@pytest.mark.parametrize("name", ["privat", "abwesenheit", "dauertermin"])
@in_haste
async def test_an_edit_reaches_a_termin_that_shows_what_is_set_in_its_own_way(
    office: CalendarOffice, name: str, value: Any
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    times = {"uhrzeitVon": "10:00:00", "uhrzeitBis": "11:00:00", "datum": DAY}
    odd = {**times, "text": "Verhandlung", "anwalt": "SB", name: value}
    fr_nr = office.advoware.termine.leave_behind(odd)["frNr"]
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], summary="Verlegt")

    await office.sync()

    assert office.record("Verlegt")[name] == 0
    await assert_settled(office)


@pytest.mark.parametrize("privat", [None, "?", [], {}])
@in_haste
async def test_a_termin_that_does_not_say_whether_it_is_private_is_not_written(
    office: CalendarOffice, privat: Any
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    odd = {
        "datum": DAY,
        "datumBis": DAY,
        "uhrzeitVon": "10:00:00",
        "uhrzeitBis": "11:00:00",
        "text": "Verhandlung",
        "anwalt": "SB",
        "privat": privat,
    }
    fr_nr = office.advoware.termine.leave_behind(odd)["frNr"]
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], **timed(DAY, "14:00", "15:00"))

    for _ in range(3):
        summary = await office.sync()

    assert [write for write in office.writes() if "Termine" in write] == []
    assert len(summary.errors) == 1
    assert office.record("Verhandlung")["privat"] == privat
    # A user says it, and the move arrives.
    office.change_termin(fr_nr, privat=0)
    await office.sync_until_calm()
    assert office.record("Verhandlung")["uhrzeitVon"] == "14:00:00"


@in_haste
async def test_the_second_of_two_equal_hours_stays_when_the_termin_is_renamed(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    await office.sync()
    night = {
        "start": {"dateTime": "2026-10-25T02:15:00+01:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2026-10-25T02:45:00+01:00", "timeZone": "Europe/Berlin"},
    }
    office.enter("Nachtschicht", **night)
    await office.sync()
    record = office.record("Nachtschicht")
    assert (record["uhrzeitVon"], record["uhrzeitBis"]) == ("02:15:00", "02:45:00")

    office.change_termin(record["frNr"], text="Bereitschaft")
    await office.sync()

    (event,) = office.events("SB")
    assert (event["summary"], event["start"], event["end"]) == (
        "Bereitschaft",
        night["start"],
        night["end"],
    )
    await assert_settled(office)


@in_haste
async def test_a_free_day_is_no_absence_and_an_evening_until_midnight_is_one(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.enter(
        "Geburtstag",
        start={"date": DAY},
        end={"date": "2026-02-13"},
        transparency="transparent",
    )
    fr_nr = office.termin("Vortrag", uhrzeitVon="19:00:00", uhrzeitBis="00:00:00")

    await office.sync()

    assert office.termin_texts() == ["Vortrag"]
    assert office.texts() == ["Geburtstag", "Vortrag"]
    assert clock_times(office.copy(fr_nr)) == (f"{DAY}T19:00", "2026-02-13T00:00")
    await assert_settled(office)


@in_haste
async def test_only_what_is_hidden_is_private_for_readers_of_the_calendar(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    assert "visibility" not in office.copy(fr_nr)

    office.change_termin(fr_nr, privat=1)
    await office.sync()
    assert (office.copy(fr_nr)["summary"], office.copy(fr_nr)["visibility"]) == (
        "Advoware",
        "private",
    )

    office.change_termin(fr_nr, privat=0)
    await office.sync()
    event = office.copy(fr_nr)
    assert (event["summary"], event.get("visibility", "default")) == (
        "Verhandlung",
        "default",
    )


def shown_as(fr_nr: int, **values: Any) -> dict[str, Any]:
    """Advoware shows these fields of a Termin so, as long as it holds the end at eleven."""
    where = {"frNr": fr_nr, "uhrzeitBis": "11:00:00"}
    return {
        "method": "GET",
        "answer": [
            {"field": name, "how": "value", "to": value, "where": where}
            for name, value in sorted(values.items(), key=_end_last)
        ],
    }


def _end_last(item: tuple[str, Any]) -> bool:
    """The rules apply one after the other, and each asks for the end that is held."""
    return item[0] == "uhrzeitBis"


@pytest.mark.parametrize(
    "shown",
    [
        {"uhrzeitBis": "24:00:00"},
        {"uhrzeitBis": "24:00"},
        {"uhrzeitBis": "11:00"},
        {"uhrzeitVon": "9:00:00"},
        {"uhrzeitVon": "10:00:00.000", "uhrzeitBis": "11:00:00.0000000"},
        {"uhrzeitVon": f"{DAY}T10:00:00", "uhrzeitBis": f"{DAY}T11:00:00Z"},
        {"uhrzeitBis": "", "datumBis": f"{DAY}T24:00:00"},
        {"uhrzeitVon": "10:00", "uhrzeitBis": None, "datumBis": None},
        {"datum": f"{DAY}T10:15:00", "uhrzeitVon": "unbekannt"},
        {"abwesenheit": "ja", "uhrzeitVon": "0:00", "uhrzeitBis": "24:00"},
        {"dauertermin": "ja", "turnus": "1", "turnusArt": "2", "uhrzeitVon": "8:00"},
        {"datum": DAY, "uhrzeitVon": "0:00", "uhrzeitBis": "1:00"},
        {"uhrzeitVon": " 10:00:00 ", "datum": f"{DAY}T09:00:00Z"},
        {"uhrzeitBis": "1:00", "datumBis": "2026-02-13T01:00:00"},
        {"uhrzeitBis": "23:59", "datumBis": "9999-12-31T23:59:59"},
        {"uhrzeitBis": "11:00", "turnus": "1", "turnusArt": "9", "dauertermin": "nein"},
        {
            "dauertermin": 1,
            "turnus": 1,
            "turnusArt": 3,
            "uhrzeitBis": "11:00",
            "datumBis": "9999-12-31",
        },
    ],
    ids=str,
)
@in_haste
async def test_a_text_arrives_although_advoware_does_not_take_its_times_back_as_it_shows_them(
    office: CalendarOffice, shown: dict[str, Any]
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Verhandlung")
    office.strike("advoware", **shown_as(fr_nr, **shown))
    await office.sync()
    before = office.copy(fr_nr)
    office.change_event(before["id"], summary="Verhandlung verlegt")

    summary = await office.sync()

    assert summary.result == "changed"
    assert office.record("Verhandlung verlegt")["frNr"] == fr_nr
    after = office.copy(fr_nr)
    assert (after["start"], after["end"]) == (before["start"], before["end"])
    await assert_settled(office)


@pytest.mark.parametrize(
    "shown",
    [
        {"uhrzeitBis": "25:61"},
        {"uhrzeitVon": "11:00:00", "uhrzeitBis": "10:00"},
        {"datumBis": "übermorgen", "uhrzeitBis": "11:00"},
    ],
    ids=str,
)
@in_haste
async def test_an_end_that_was_guessed_is_not_written_even_if_advoware_refuses_the_change(
    office: CalendarOffice, shown: dict[str, Any]
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Verhandlung")
    usual = office.termin("Besprechung")
    office.strike("advoware", **shown_as(fr_nr, **shown))
    await office.sync()
    before = office.record("Verhandlung")
    office.change_event(office.copy(fr_nr)["id"], summary="Verhandlung verlegt")
    office.change_event(office.copy(usual)["id"], summary="Besprechung verlegt")

    summary = await office.sync()

    assert len(summary.errors) == 1
    assert office.record("Verhandlung") == before
    assert office.record("Besprechung verlegt")["frNr"] == usual
    assert office.copy(fr_nr)["summary"] == "Verhandlung verlegt"
