"""The calendar sync between Advoware and Google, example by example: what people see on both sides."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from calendar_office import (
    DAY,
    CalendarOffice,
    clock_times,
    days,
    in_haste,
    office,
    timed,
)
from calendar_world import property_of
from hasty_loop import HASTE

from services.advoware_service import AdvowareService
from services.calendar_sync.apply import advoware_side
from services.calendar_sync.mapping import ANONYMISED_TITLE
from services.calendar_sync.run import CalendarSync
from services.core.errors import EntityBusy, WriteProtected

__all__ = ["office"]

LAST_CHANGE_WINS = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}


def hidden(event: dict[str, Any]) -> bool:
    """Whether an event shows blocked time only."""
    texts = [event.get(name) for name in ("summary", "description", "location")]
    return texts == [ANONYMISED_TITLE, None, None] and event["visibility"] == "private"


# -- phase 1: new in Advoware -----------------------------------------------------------------------------------------


@in_haste
async def test_a_new_termin_appears_in_the_employees_calendar(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Verhandlung", notiz="Akte 12/26", ort="LG Hannover")

    summary = await office.sync()

    assert (summary.result, dict(summary.counts)) == ("changed", {"google_created": 1})
    event = office.copy(fr_nr)
    assert [event[name] for name in ("summary", "description", "location")] == [
        "Verhandlung",
        "Akte 12/26",
        "LG Hannover",
    ]
    assert clock_times(event) == (f"{DAY}T10:00", f"{DAY}T11:00")
    pair = await office.pair()
    assert property_of(event, "sync_id") == str(pair.sync_id)
    assert (pair.advoware_frnr, pair.google_event_id, pair.source_system) == (
        fr_nr,
        event["id"],
        "advoware",
    )
    assert [(line["side"], line["action"]) for line in await office.audit()] == [
        ("google", "created")
    ]


@in_haste
async def test_a_termin_without_times_is_shown_from_nine_for_half_an_hour(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin(uhrzeitVon=None, uhrzeitBis=None)

    await office.sync()

    assert clock_times(office.copy(fr_nr)) == (f"{DAY}T09:00", f"{DAY}T09:30")


@in_haste
async def test_derived_entries_and_other_peoples_termine_stay_out(
    office: CalendarOffice,
) -> None:
    office.termin("von AI", anwalt="AI")
    record = {
        "text": "Fahrtzeit",
        "datum": DAY,
        "uhrzeitVon": "08:00:00",
        "uhrzeitBis": "09:00:00",
        "anwalt": "SB",
    }
    office.advoware.termine.create({**record, "datumBis": DAY}, fr_nr=-17)

    await office.sync()

    assert office.texts() == []


@in_haste
async def test_an_appointment_that_is_there_on_both_sides_is_not_doubled(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter("Verhandlung", description="Akte", location="Celle")
    fr_nr = office.termin(
        "Verhandlung",
        uhrzeitVon="14:00:00",
        uhrzeitBis="15:00:00",
        notiz="Akte",
        ort="Celle",
    )

    await office.sync()

    assert office.copy(fr_nr)["id"] == event_id
    assert (office.texts(), office.termin_texts()) == (["Verhandlung"], ["Verhandlung"])


# -- phase 2: new in Google -------------------------------------------------------------------------------------------


@in_haste
async def test_a_persons_event_becomes_a_termin_of_the_employee(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter(
        "Mandantengespräch", description="Vorbesprechung", location="Raum 2"
    )

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_created": 1}
    record = office.record("Mandantengespräch")
    assert [record[name] for name in ("notiz", "ort", "anwalt", "sb")] == [
        "Vorbesprechung",
        "Raum 2",
        "SB",
        "SB",
    ]
    assert (record["datum"][:10], record["uhrzeitVon"], record["uhrzeitBis"]) == (
        DAY,
        "14:00:00",
        "15:00:00",
    )
    assert office.copy(record["frNr"])["id"] == event_id
    pair = await office.pair()
    assert (pair.advoware_frnr, pair.source_system, pair.sync_status) == (
        record["frNr"],
        "google",
        "synced",
    )


@in_haste
async def test_a_persons_event_waits_untouched_while_advoware_is_write_protected(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    await office.sync()
    event_id = office.enter()
    untouched = office.events("SB")

    await office.sync()

    assert office.writes() == []
    assert (office.events("SB"), office.termine()) == (untouched, [])
    assert (
        (await office.pair()).sync_status,
        (await office.pair()).google_event_id,
    ) == ("pending", event_id)

    await office.configure()
    await office.sync()

    assert office.termin_texts() == ["Mandantengespräch"]
    assert (await office.pair()).sync_status == "synced"


# -- phase 3: deletions -----------------------------------------------------------------------------------------------


@in_haste
async def test_a_termin_deleted_in_advoware_disappears_from_google(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.delete_termin(fr_nr)

    summary = await office.sync()

    assert dict(summary.counts) == {"google_deleted": 1}
    assert (office.texts(), await office.pairs()) == ([], [])


@in_haste
async def test_a_deleted_pair_is_kept_as_a_row(office: CalendarOffice) -> None:
    fr_nr = office.termin()
    await office.sync()
    pair = await office.pair()
    office.delete_termin(fr_nr)
    await office.sync()

    (row,) = await office.fetch("SELECT * FROM calendar_sync")

    assert (row["sync_id"], row["deleted"], row["deleted_at"]) == (
        pair.sync_id,
        True,
        office.now,
    )
    assert [line["action"] for line in await office.audit()] == ["created", "deleted"]


@in_haste
async def test_the_deleted_copy_of_a_termin_comes_back(office: CalendarOffice) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.delete_event(office.copy(fr_nr)["id"])

    summary = await office.sync()

    assert dict(summary.counts) == {"google_recreated": 1}
    assert (office.texts(), office.termin_texts()) == (["Besprechung"], ["Besprechung"])


@in_haste
async def test_a_persons_event_that_he_deletes_disappears_from_advoware(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter()
    await office.sync()
    office.delete_event(event_id)

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_deleted": 1}
    assert (office.texts(), office.termine(), await office.pairs()) == ([], [], [])


@in_haste
async def test_the_deleted_termin_of_a_persons_event_comes_back(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter()
    await office.sync()
    office.delete_termin(office.record("Mandantengespräch")["frNr"])

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_recreated": 1}
    record = office.record("Mandantengespräch")
    assert office.copy(record["frNr"])["id"] == event_id


@in_haste
async def test_with_last_change_wins_a_deletion_counts_on_either_side(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    in_google, in_advoware = (
        office.termin("in Google gelöscht"),
        office.termin("in Advoware gelöscht"),
    )
    await office.sync()
    office.delete_event(office.copy(in_google)["id"])
    office.delete_termin(in_advoware)

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_deleted": 1, "google_deleted": 1}
    assert (office.texts(), office.termine()) == ([], [])


@in_haste
async def test_with_last_change_wins_a_write_protected_advoware_gets_its_copy_back(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS, ADVOWARE_WRITE_PROTECTION=True)
    fr_nr = office.termin()
    await office.sync()
    office.delete_event(office.copy(fr_nr)["id"])

    await office.sync()

    assert (office.texts(), office.termin_texts()) == (["Besprechung"], ["Besprechung"])


@in_haste
async def test_what_is_deleted_on_both_sides_needs_no_write(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.delete_event(office.copy(fr_nr)["id"])
    office.delete_termin(fr_nr)

    await office.sync()

    assert (office.writes(), await office.pairs()) == ([], [])


@in_haste
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
async def test_leaving_the_window_is_no_deletion(
    office: CalendarOffice, strategy: str
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY=strategy)
    office.termin()
    await office.sync()
    office.enter()
    await office.sync()
    office.now += timedelta(days=40)

    for _ in range(2):
        await office.sync()

        assert office.writes() == []
    assert (len(office.texts()), len(office.termine()), len(await office.pairs())) == (
        2,
        2,
        2,
    )


@in_haste
async def test_a_termin_moved_out_of_the_window_is_no_deletion(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.change_termin(fr_nr, datum="2030-01-07", datumBis="2030-01-07")

    await office.sync()

    assert office.copy(fr_nr)
    assert len(await office.pairs()) == 1


@in_haste
async def test_a_termin_handed_to_a_colleague_moves_to_his_calendar(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    await office.sync("AI")
    office.change_termin(fr_nr, anwalt="AI")

    for kuerzel in ("SB", "AI"):
        await office.sync(kuerzel)

    assert (office.texts("SB"), office.texts("AI")) == ([], ["Besprechung"])


# -- phase 4: updates -------------------------------------------------------------------------------------------------


@in_haste
async def test_a_change_in_advoware_reaches_google(office: CalendarOffice) -> None:
    fr_nr = office.termin(notiz="alt")
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.change_termin(
        fr_nr, text="Verlegt", notiz="", uhrzeitVon="12:15:00", uhrzeitBis="12:45:00"
    )

    summary = await office.sync()

    assert dict(summary.counts) == {"google_updated": 1}
    event = office.copy(fr_nr)
    assert (event["id"], event["summary"], event.get("description")) == (
        event_id,
        "Verlegt",
        None,
    )
    assert clock_times(event) == (f"{DAY}T12:15", f"{DAY}T12:45")


@in_haste
async def test_a_change_of_a_persons_event_reaches_advoware(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter()
    await office.sync()
    office.change_event(event_id, summary="Verlegt", **timed(DAY, "16:30", "17:00"))

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_updated": 1}
    record = office.record("Verlegt")
    assert (record["uhrzeitVon"], record["uhrzeitBis"]) == ("16:30:00", "17:00:00")


@in_haste
async def test_what_google_does_not_hold_survives_a_change_from_google(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin(erinnerung=30, vorbereitungsDauer=45, sb="AI")
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], summary="Umbenannt")

    await office.sync()

    record = office.record("Umbenannt")
    assert [record[name] for name in ("erinnerung", "vorbereitungsDauer", "sb")] == [
        30,
        45,
        "AI",
    ]


@in_haste
async def test_where_the_source_wins_a_changed_copy_is_put_back(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], summary="umbenannt")

    await office.sync()

    assert (office.texts(), office.termin_texts()) == (["Besprechung"], ["Besprechung"])


@in_haste
async def test_where_the_source_wins_google_keeps_its_own_event_against_advoware(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.enter()
    await office.sync()
    office.change_termin(office.record("Mandantengespräch")["frNr"], text="umbenannt")

    await office.sync()

    assert (office.texts(), office.termin_texts()) == (
        ["Mandantengespräch"],
        ["Mandantengespräch"],
    )


@in_haste
@pytest.mark.parametrize("last", ["advoware", "google"])
async def test_where_the_last_change_wins_the_later_of_two_wins(
    office: CalendarOffice, last: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin()
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    for side in (
        ["google", "advoware"] if last == "advoware" else ["advoware", "google"]
    ):
        office.now += timedelta(minutes=5)
        if side == "google":
            office.change_event(event_id, summary="aus google")
        else:
            office.change_termin(fr_nr, text="aus advoware")

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == ([f"aus {last}"], [f"aus {last}"])


@in_haste
async def test_the_same_change_on_both_sides_needs_no_write(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()
    await office.sync()
    office.change_termin(fr_nr, text="Umbenannt")
    office.change_event(office.copy(fr_nr)["id"], summary="Umbenannt")

    await office.sync()

    assert office.writes() == []


@in_haste
async def test_a_change_that_may_not_be_written_waits_and_is_not_lost(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter()
    await office.sync()
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    office.change_event(event_id, summary="Verlegt")
    for _ in range(3):
        await office.sync()
        assert (office.writes(), office.termin_texts()) == ([], ["Mandantengespräch"])

    await office.configure()
    await office.sync()

    assert office.termin_texts() == ["Verlegt"]


# -- write protection -------------------------------------------------------------------------------------------------


@in_haste
async def test_write_protection_holds_whatever_the_rows_say(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    changed, deleted = office.termin("geändert"), office.termin("gelöscht")
    await office.sync()
    assert [pair.advoware_write_allowed for pair in await office.pairs()] == [
        True,
        True,
    ]
    await office.configure(**LAST_CHANGE_WINS, ADVOWARE_WRITE_PROTECTION=True)
    before = office.termine()
    office.change_event(office.copy(changed)["id"], summary="anders")
    office.delete_event(office.copy(deleted)["id"])
    office.enter("neu")

    for _ in range(2):
        await office.sync()

        assert office.termine() == before
        assert [
            call for call in office.calls("advoware") if not call.startswith("GET")
        ] == []


@in_haste
async def test_the_client_itself_refuses_to_write_termine(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    fr_nr = office.termin()
    record, advoware = (
        office.record("Besprechung"),
        AdvowareService(resources=office.resources),
    )

    with pytest.raises(WriteProtected):
        await advoware.create_termin(record)
    with pytest.raises(WriteProtected):
        await advoware.update_termin({**record, "text": "anders"})
    with pytest.raises(WriteProtected):
        await advoware.delete_termin(fr_nr)

    assert (office.termin_texts(), office.writes()) == (["Besprechung"], [])


# -- the duty of secrecy ----------------------------------------------------------------------------------------------


@in_haste
async def test_a_run_without_full_content_shows_blocked_time_only(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin()

    await office.sync(full_content=False)

    assert hidden(office.copy(fr_nr))
    assert clock_times(office.copy(fr_nr)) == (f"{DAY}T10:00", f"{DAY}T11:00")


@in_haste
async def test_the_anonymising_setting_overrides_full_content(
    office: CalendarOffice,
) -> None:
    await office.configure(CALENDAR_SYNC_ANONYMIZE=True)
    fr_nr = office.termin()

    await office.sync(full_content=True)

    assert hidden(office.copy(fr_nr))


@in_haste
async def test_a_private_termin_is_hidden_and_the_others_are_not(
    office: CalendarOffice,
) -> None:
    private, other = office.termin("Arzt", privat=1), office.termin("Verhandlung")

    await office.sync()

    assert hidden(office.copy(private))
    assert office.copy(other)["summary"] == "Verhandlung"


@in_haste
async def test_texts_vanish_and_return_when_the_setting_changes(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    await office.configure(CALENDAR_SYNC_ANONYMIZE=True)

    await office.sync()
    assert hidden(office.copy(fr_nr))

    await office.configure()
    await office.sync()
    assert office.copy(fr_nr)["summary"] == "Verhandlung"
    assert office.termin_texts() == ["Verhandlung"]


@in_haste
async def test_a_termin_that_becomes_private_is_hidden(office: CalendarOffice) -> None:
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.change_termin(fr_nr, privat=1)

    await office.sync()

    assert hidden(office.copy(fr_nr))


@in_haste
async def test_anonymised_text_never_returns_to_advoware(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS, CALENDAR_SYNC_ANONYMIZE=True)
    fr_nr = office.termin("Ehescheidung", notiz="vertraulich", ort="Kanzlei")
    await office.sync()
    office.now += timedelta(minutes=5)
    office.change_event(
        office.copy(fr_nr)["id"],
        summary="Advoware (verlegt)",
        **timed(DAY, "15:00", "16:00"),
    )

    await office.sync_until_calm()

    record = office.record("Ehescheidung")
    assert (record["notiz"], record["ort"]) == ("vertraulich", "Kanzlei")
    assert (record["uhrzeitVon"], record["uhrzeitBis"]) == ("15:00:00", "16:00:00")
    assert hidden(office.copy(fr_nr))


@in_haste
async def test_the_lost_termin_of_an_anonymised_event_is_not_made_up(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter("Ehescheidung")
    await office.sync()
    await office.configure(CALENDAR_SYNC_ANONYMIZE=True)
    await office.sync()
    assert hidden(office.events("SB")[0])
    office.delete_termin(office.record("Ehescheidung")["frNr"])

    await office.sync_until_calm()

    assert office.termine() == []
    assert (
        (await office.pair()).google_event_id,
        (await office.pair()).sync_status,
    ) == (event_id, "failed")


@in_haste
async def test_no_text_of_an_appointment_is_stored(office: CalendarOffice) -> None:
    office.termin("Ehescheidung", notiz="vertraulich")
    await office.sync()
    office.enter("Strafsache")
    await office.sync()

    rows = [*await office.fetch("SELECT * FROM calendar_sync"), *await office.audit()]

    for text in ("Ehescheidung", "vertraulich", "Strafsache"):
        assert text not in str(rows)


# -- all shapes of appointments ---------------------------------------------------------------------------------------

SERIES: dict[str, Any] = {"dauertermin": 1, "turnus": 1, "datumBis": "2026-06-30"}
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "several days": (
        {
            "datum": "2026-03-09",
            "datumBis": "2026-03-11",
            "uhrzeitVon": "16:00:00",
            "uhrzeitBis": "09:30:00",
        },
        timed("2026-03-09", "16:00", "09:30", "2026-03-11"),
    ),
    "all day": (
        {"datum": "2026-03-09", "datumBis": "2026-03-09", "abwesenheit": 1},
        days("2026-03-09", "2026-03-09"),
    ),
    "holidays over the change of the clocks": (
        {"datum": "2026-03-27", "datumBis": "2026-04-02", "abwesenheit": 1},
        days("2026-03-27", "2026-04-02"),
    ),
    "across the change of the clocks": (
        {
            "datum": "2026-03-29",
            "datumBis": "2026-03-29",
            "uhrzeitVon": "01:30:00",
            "uhrzeitBis": "03:30:00",
        },
        timed("2026-03-29", "01:30", "03:30"),
    ),
    "in the doubled hour": (
        {
            "datum": "2026-10-25",
            "datumBis": "2026-10-25",
            "uhrzeitVon": "02:15:00",
            "uhrzeitBis": "02:45:00",
        },
        timed("2026-10-25", "02:15", "02:45"),
    ),
    "weekly": (
        {**SERIES, "turnusArt": 2},
        {
            **timed(DAY, "10:00", "11:00"),
            "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TH;UNTIL=20260630T215959Z"],
        },
    ),
    "every other day": (
        {**SERIES, "turnusArt": 1, "turnus": 2},
        {
            **timed(DAY, "10:00", "11:00"),
            "recurrence": ["RRULE:FREQ=DAILY;INTERVAL=2;UNTIL=20260630T215959Z"],
        },
    ),
    "monthly": (
        {**SERIES, "turnusArt": 3},
        {
            **timed(DAY, "10:00", "11:00"),
            "recurrence": ["RRULE:FREQ=MONTHLY;BYMONTHDAY=12;UNTIL=20260630T215959Z"],
        },
    ),
    "yearly for ever": (
        {**SERIES, "turnusArt": 4, "datumBis": "2037-12-31"},
        {
            **timed(DAY, "10:00", "11:00"),
            "recurrence": ["RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=12"],
        },
    ),
    "all day, weekly": (
        {**SERIES, "turnusArt": 2, "abwesenheit": 1},
        {**days(DAY, DAY), "recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TH;UNTIL=20260630"]},
    ),
}


def times_of(event: dict[str, Any]) -> dict[str, Any]:
    """The times of an event in one spelling: clock times in Berlin or days, and the parts of the series' rule."""
    times: dict[str, Any] = {}
    for side in ("start", "end"):
        times[side] = event[side].get("date") or event[side]["dateTime"][:19]
    if event.get("recurrence"):
        (rule,) = event["recurrence"]
        times["rule"] = set(rule.removeprefix("RRULE:").split(";")) - {"INTERVAL=1"}
    return times


@in_haste
async def test_every_shape_of_a_termin_is_shown_and_stays_as_it_is(
    office: CalendarOffice,
) -> None:
    fr_nrs = {
        shape: office.termin(shape, **fields) for shape, (fields, _) in SHAPES.items()
    }
    before = office.termine()

    await office.sync()

    for shape, (_, expected) in SHAPES.items():
        assert times_of(office.copy(fr_nrs[shape])) == times_of(expected), shape
    await office.sync()
    assert (office.writes(), office.termine()) == ([], before)


@in_haste
async def test_every_shape_of_an_event_becomes_a_termin_and_stays_as_it_is(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_ids = {
        shape: office.enter(shape, **body) for shape, (_, body) in SHAPES.items()
    }

    await office.sync()

    for shape, (fields, body) in SHAPES.items():
        record = office.record(shape)
        expected = {
            "datum": DAY,
            "datumBis": DAY,
            "uhrzeitVon": "10:00:00",
            "uhrzeitBis": "11:00:00",
            **fields,
        }
        if expected.get("abwesenheit"):
            expected |= {"uhrzeitVon": "00:00:00", "uhrzeitBis": "23:59:00"}
        observed = {
            name: record[name][:10] if name.startswith("datum") else record[name]
            for name in expected
        }
        assert observed == expected, shape
        event = office.copy(record["frNr"])
        assert (event["id"], times_of(event)) == (event_ids[shape], times_of(body)), (
            shape
        )
    await office.sync()
    assert office.writes() == []


@in_haste
async def test_a_series_keeps_its_time_on_the_clock_in_summer(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin(**SERIES, turnusArt=2)
    await office.sync()
    calendar = office.calendar("SB")
    assert calendar is not None
    events = office.google.world.events

    instances = events.instances(
        calendar, events.get(calendar, office.copy(fr_nr)["id"]), None
    )

    assert {instance.start.wall_clock().hour for instance in instances} == {10}
    assert len(instances) == 20


@in_haste
async def test_a_time_that_the_clocks_skip_is_left_as_it_is_in_advoware(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin(
        datum="2026-03-29",
        datumBis="2026-03-29",
        uhrzeitVon="02:30:00",
        uhrzeitBis="02:45:00",
    )
    before = office.termine()

    await office.sync()
    assert clock_times(office.copy(fr_nr)) == ("2026-03-29T03:30", "2026-03-29T03:45")

    office.change_event(office.copy(fr_nr)["id"], colorId="5")
    await office.sync_until_calm()
    assert office.termine() == before


UNTRANSLATABLE = {
    "two days a week": {"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]},
    "exceptions": {
        "recurrence": [
            "RRULE:FREQ=WEEKLY;BYDAY=TH",
            "EXDATE;TZID=Europe/Berlin:20260219T140000",
        ]
    },
    "last friday of the month": {"recurrence": ["RRULE:FREQ=MONTHLY;BYDAY=-1FR"]},
    "overnight series": {
        **timed(DAY, "22:00", "02:00", "2026-02-13"),
        "recurrence": ["RRULE:FREQ=WEEKLY"],
    },
}


@in_haste
async def test_what_advoware_cannot_hold_is_left_alone_and_reported_once(
    office: CalendarOffice,
) -> None:
    await office.sync()
    for shape, body in UNTRANSLATABLE.items():
        office.enter(shape, **body)
    untouched = office.events("SB")

    for _ in range(3):
        await office.sync()
        assert office.writes() == []
    office.now += timedelta(days=2)
    await office.sync()

    assert (office.events("SB"), office.termine()) == (untouched, [])
    assert [line["action"] for line in await office.audit()] == ["left_alone"] * len(
        UNTRANSLATABLE
    )
    assert {
        (pair.sync_status, bool(pair.untranslatable)) for pair in await office.pairs()
    } == {("failed", True)}


@in_haste
async def test_a_copy_of_a_series_with_changed_occurrences_is_put_back_and_keeps_its_colour(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin(**SERIES, turnusArt=2)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    office.change_event(series, colorId="7")
    office.change_event(
        f"{series}_20260219T090000Z", **timed("2026-02-20", "10:00", "11:00")
    )
    office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")

    await office.sync_until_calm()

    copy = office.copy(fr_nr)
    assert copy["id"] != series
    assert (copy["colorId"], copy["start"]["dateTime"][11:16]) == ("7", "14:00")
    [event] = office.events("SB")
    assert event["id"] == copy["id"]
    assert [line["action"] for line in await office.audit()] == [
        "created",
        "let_go",
        "replaced",
    ]
    kept = await (await office.store()).overwritten(office.now - timedelta(days=1))
    assert {event.resource["id"] for event in kept} >= {f"{series}_20260219T090000Z"}


GUESTS = [{"email": "mandant@example.com"}, {"email": "zeuge@example.com"}]
ONE_REMINDER = {"method": "popup", "minutes": 20}
REMINDERS = {"useDefault": False, "overrides": [ONE_REMINDER]}

#: What a person may have set for a series, and what Google takes of it for the event in its place.
SET_BY_A_PERSON = {
    "guests": ({"attendees": GUESTS}, {}),
    "guests and a colour": (
        {"attendees": GUESTS, "colorId": "7", "reminders": REMINDERS},
        {"colorId": "7", "reminders": REMINDERS},
    ),
    "a colour that is no more": ({"colorId": "24"}, {}),
    "guests and a colour that is no more": (
        {"attendees": GUESTS, "colorId": "24", "reminders": REMINDERS},
        {},
    ),
    "too many reminders": (
        {"reminders": {"useDefault": False, "overrides": [ONE_REMINDER] * 6}},
        {},
    ),
    "nothing that is refused": (
        {"colorId": "7", "reminders": REMINDERS},
        {"colorId": "7", "reminders": REMINDERS},
    ),
}


@pytest.mark.parametrize("happening", ["deleted", "occurrence moved"])
@pytest.mark.parametrize("found", SET_BY_A_PERSON.values(), ids=SET_BY_A_PERSON)
@in_haste
async def test_a_series_is_put_back_without_what_google_refuses_of_its_settings(
    office: CalendarOffice, found: tuple[dict[str, Any], dict[str, Any]], happening: str
) -> None:
    settings, taken = found
    fr_nr = office.termin(**SERIES, turnusArt=2)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    if happening == "occurrence moved":
        office.change_event(
            f"{series}_20260219T090000Z", **timed("2026-02-20", "10:00", "11:00")
        )
        office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    office.set_beside(series, **settings)
    if happening == "deleted":
        office.delete_event(series)

    summary = await office.sync()

    assert (summary.result, summary.errors) == ("changed", [])
    copy = office.copy(fr_nr)
    assert copy["id"] != series
    names = ("attendees", "colorId", "reminders")
    shown = {name: copy[name] for name in names if copy.get(name)}
    assert shown == {"reminders": {"useDefault": True}, **taken}
    *_, line = await office.audit("recreated", "replaced")
    assert ("without" in line["reason"]) is (taken != settings)
    await office.sync()
    assert (office.writes(), len(office.events("SB"))) == ([], 1)


@in_haste
async def test_a_series_born_in_google_keeps_its_changed_occurrences_and_syncs_its_texts(
    office: CalendarOffice,
) -> None:
    await office.sync()
    rule = ["RRULE:FREQ=WEEKLY;UNTIL=20260601T215959Z"]
    event_id = office.enter(
        "Jour fixe", recurrence=rule, **timed("2026-02-12", "10:00", "11:00")
    )
    await office.sync()
    office.change_event(
        f"{event_id}_20260219T090000Z", **timed("2026-02-20", "10:00", "11:00")
    )
    await office.sync()
    occurrences = [
        event for event in office.events("SB") if event.get("recurringEventId")
    ]

    office.change_event(event_id, summary="Jour fixe (neu)")
    await office.sync_until_calm()

    assert office.termin_texts() == ["Jour fixe (neu)"]
    assert [
        event for event in office.events("SB") if event.get("recurringEventId")
    ] == occurrences
    assert (await office.pair()).untranslatable


@in_haste
async def test_an_event_that_becomes_translatable_is_synced(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter("Jour fixe", recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"])
    await office.sync()
    office.change_event(event_id, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TH"])

    await office.sync_until_calm()

    assert office.record("Jour fixe")["turnusArt"] == 2
    assert (await office.pair()).sync_status == "synced"


# -- the firm's Termine -----------------------------------------------------------------------------------------------


@in_haste
async def test_a_termin_of_all_employees_is_in_every_calendar(
    office: CalendarOffice,
) -> None:
    names = {"": "Betriebsausflug", "ALLE": "Kanzleifest", "Allgemein": "Umzug"}
    fr_nrs = [office.termin(text, anwalt=anwalt) for anwalt, text in names.items()]

    for kuerzel in ("SB", "AI"):
        await office.sync(kuerzel)

    assert office.texts("SB") == office.texts("AI") == sorted(names.values())
    for fr_nr in fr_nrs:
        assert office.copy(fr_nr, "SB")["id"] != office.copy(fr_nr, "AI")["id"]


@in_haste
async def test_what_one_employee_does_to_a_termin_of_all_touches_no_one_else(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    deleted, changed = (
        office.termin("Betriebsausflug", anwalt=""),
        office.termin("Weihnachtsfeier", anwalt=""),
    )
    for kuerzel in ("SB", "AI"):
        await office.sync(kuerzel)
    office.now += timedelta(minutes=5)
    office.delete_event(office.copy(deleted)["id"])
    office.change_event(office.copy(changed)["id"], summary="ohne mich")

    for kuerzel in ("SB", "AI"):
        await office.sync(kuerzel)

    of_all = ["Betriebsausflug", "Weihnachtsfeier"]
    assert (office.texts("SB"), office.texts("AI"), office.termin_texts()) == (
        of_all,
        of_all,
        of_all,
    )


# -- who is synced ----------------------------------------------------------------------------------------------------


@in_haste
async def test_who_waits_longest_comes_first(office: CalendarOffice) -> None:
    sync = CalendarSync(resources=office.resources)
    active = sorted(
        row["kuerzel"] for row in office.advoware.state()["mitarbeiter"] if row["aktiv"]
    )
    assert await sync.employees() == active

    await office.sync("AI")
    await office.sync("SB")

    others = [kuerzel for kuerzel in active if kuerzel not in {"AI", "SB"}]
    assert await sync.employees() == [*others, "AI", "SB"]


@in_haste
async def test_a_failed_run_does_not_count_as_the_latest(
    office: CalendarOffice,
) -> None:
    await office.configure(CALENDAR_SYNC_DEBUG_KUERZEL="SB, AI")
    await office.sync("SB")
    await office.sync("AI")
    office.termin()
    office.strike("google", method="POST", status=400)

    assert (await office.sync("SB")).result == "failed"

    assert await CalendarSync(resources=office.resources).employees() == ["SB", "AI"]


@in_haste
async def test_the_debug_filter_limits_the_employees(office: CalendarOffice) -> None:
    await office.configure(CALENDAR_SYNC_DEBUG_KUERZEL=" AI ,SB,NIEMAND")

    assert await CalendarSync(resources=office.resources).employees() == ["AI", "SB"]


# -- the calendar -----------------------------------------------------------------------------------------------------


@in_haste
async def test_the_calendar_is_made_once_in_berlins_time_and_shared(
    office: CalendarOffice,
) -> None:
    await office.configure(
        GOOGLE_CALENDAR_ACL="writer:sb@example.de, reader:sekretariat@example.de"
    )

    await office.sync()

    calendar = office.calendar("SB")
    assert calendar is not None
    assert calendar.zone == "Europe/Berlin"
    shared = {
        rule.scope_value: rule.role
        for rule in calendar.acl.values()
        if rule.scope_value != calendar.data_owner
    }
    assert shared == {"sb@example.de": "writer", "sekretariat@example.de": "reader"}

    office.now += timedelta(days=2)  # the whole calendar is looked at again
    await office.sync()

    assert office.writes() == []
    (cursor,) = await office.fetch("SELECT * FROM calendar_sync_cursor")
    assert (cursor["employee_kuerzel"], cursor["calendar_id"]) == ("SB", calendar.id)


@in_haste
async def test_a_forgotten_calendar_is_found_by_its_name(
    office: CalendarOffice,
) -> None:
    office.termin()
    await office.sync()
    before = office.calendar("SB")
    await office.fetch("DELETE FROM calendar_sync_cursor")

    await office.sync()

    assert office.calendar("SB") is before
    assert office.writes() == []


@in_haste
async def test_two_workers_never_make_two_calendars(office: CalendarOffice) -> None:
    office.termin()

    results = await asyncio.gather(*(office.try_sync() for _ in range(4)))

    assert sorted(type(result) is EntityBusy for result in results) == [
        False,
        True,
        True,
        True,
    ]
    assert (
        len(
            [
                call
                for call in office.calls("google")
                if call.startswith("POST /calendar/v3/calendars?")
            ]
        )
        == 1
    )
    assert office.texts() == ["Besprechung"]


# -- what it costs ----------------------------------------------------------------------------------------------------


@in_haste
async def test_an_unchanged_employee_costs_one_call_to_each_system(
    office: CalendarOffice,
) -> None:
    fr_nrs = [office.termin(f"Termin {number}") for number in range(500)]
    async with office.free_of_limits():
        await office.sync()
    assert len(office.events("SB")) == 500

    for _ in range(2):
        assert (await office.sync()).result == "no_change"
        assert (len(office.calls("advoware")), len(office.calls("google"))) == (1, 1)

    for fr_nr in fr_nrs[:7]:
        office.change_termin(fr_nr, text=f"anders {fr_nr}")
    await office.sync()
    assert (
        len(office.writes()),
        len(office.calls("advoware")),
        len(office.calls("google")),
    ) == (7, 1, 8)


# -- what a run costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [1, 2, 8])
@in_haste
async def test_a_run_with_some_changes_costs_little_more_than_a_call_for_each(
    office: CalendarOffice, changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = advoware_side.FRESH_SECONDS * HASTE  # as long as on the wall
    monkeypatch.setattr(advoware_side, "FRESH_SECONDS", fresh)
    await office.configure(ADVOWARE_WRITE_PROTECTION="false", **LAST_CHANGE_WINS)
    await office.sync()
    edited = [office.enter(f"Besprechung {number}") for number in range(20)][:changes]
    new = [office.termin(f"Termin {number}") for number in range(10)]
    await office.sync_until_calm()
    assert len(await office.pairs()) == 30
    await office.sync()
    for number, event_id in enumerate(edited):
        office.change_event(event_id, summary=f"Besprechung {number} (neu)")
    for fr_nr in new[:changes]:
        office.change_termin(fr_nr, text="umbenannt")

    await office.sync()

    assert len(office.calls("advoware")) <= changes + 2, office.calls()
    assert len(office.calls("google")) <= changes + 2, office.calls()
    await office.sync()
    assert len(office.calls()) == 2


@in_haste
async def test_a_series_that_a_user_has_deleted_comes_back_in_its_colour(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin(**SERIES, turnusArt=2)
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.change_event(event_id, colorId="7")
    await office.sync()
    office.delete_event(event_id)

    await office.sync_until_calm()

    assert (office.copy(fr_nr)["colorId"], office.copy(fr_nr)["id"] != event_id) == (
        "7",
        True,
    )
