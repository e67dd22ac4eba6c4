"""A write that a system refuses: reported, tried again later, ever less often, and at once when a side changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from calendar_deeds import SERIES, everything
from calendar_office import DAY, CalendarOffice, in_haste, office, timed

from services.calendar_sync.store import REFUSED_DAYS, CalendarStore, Refused

__all__ = ["office"]

LAST_CHANGE_WINS = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}
CRON = timedelta(minutes=15)


async def a_pair(office: CalendarOffice) -> int:
    """A Termin with its event."""
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Besprechung")
    await office.sync()
    return fr_nr


async def an_edit_in_google(office: CalendarOffice) -> None:
    fr_nr = await a_pair(office)
    office.change_event(office.copy(fr_nr)["id"], summary="Besprechung neu")


async def a_new_event(office: CalendarOffice) -> None:
    await a_pair(office)
    office.enter("Besprechung neu")


async def an_edit_in_advoware(office: CalendarOffice) -> None:
    fr_nr = await a_pair(office)
    office.change_termin(fr_nr, text="Besprechung neu")


async def a_new_termin(office: CalendarOffice) -> None:
    await a_pair(office)
    office.termin("Besprechung neu")


async def a_deletion_in_google(office: CalendarOffice) -> None:
    fr_nr = await a_pair(office)
    office.delete_event(office.copy(fr_nr)["id"])


async def a_lost_copy(office: CalendarOffice) -> None:
    """The Termin of a person's event is deleted, and comes back."""
    await office.configure(CALENDAR_SYNC_STRATEGY="source_system_wins")
    await office.sync()
    office.enter("Besprechung neu")
    await office.sync()
    (record,) = office.records()
    office.delete_termin(record["frNr"])


async def the_same_on_both_sides(office: CalendarOffice) -> None:
    """Our marks are to be written into a person's event that says what a Termin says."""
    await office.configure(**LAST_CHANGE_WINS)
    await office.sync()
    office.termin("Besprechung", notiz="", ort="")
    office.enter("Besprechung", **timed(DAY, "10:00", "11:00"))


#: What people do, and the write that it leads to.
REFUSED: dict[str, tuple[Any, str, str]] = {
    "PUT Termin": (an_edit_in_google, "advoware", "PUT"),
    "POST Termin": (a_new_event, "advoware", "POST"),
    "DELETE Termin": (a_deletion_in_google, "advoware", "DELETE"),
    "POST Termin again": (a_lost_copy, "advoware", "POST"),
    "PATCH event": (an_edit_in_advoware, "google", "PATCH"),
    "POST event": (a_new_termin, "google", "POST"),
    "PATCH marks": (the_same_on_both_sides, "google", "PATCH"),
}


async def runs(office: CalendarOffice, number: int, pause: timedelta = CRON) -> int:
    """So many runs, which all fail; returns how many of them have sent a write."""
    sent = 0
    for _ in range(number):
        office.now += pause
        summary = await office.sync()
        assert summary.result == "failed", summary
        sent += bool(office.writes())
    return sent


@in_haste
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("write", REFUSED)
async def test_what_is_refused_is_not_sent_in_each_run(
    office: CalendarOffice, write: str, status: int
) -> None:
    happening, system, method = REFUSED[write]
    await happening(office)
    office.strike(system, method=method, status=status)

    # Twice in a row, then after 30 minutes, an hour, two, and so on.
    assert await runs(office, 2) == 2
    assert await runs(office, 1) == 0
    assert 2 <= await runs(office, 16) <= 3
    assert await runs(office, 30) <= 3

    office.recover()
    office.now += timedelta(days=1)
    await office.sync_until_calm()
    assert [pair.sync_status for pair in await office.pairs()].count("failed") == 0


@in_haste
@pytest.mark.parametrize("side", ["advoware", "google"])
async def test_what_is_refused_is_sent_again_when_a_side_changes(
    office: CalendarOffice, side: str
) -> None:
    await an_edit_in_google(office)
    (pair,) = await office.pairs()
    office.strike("advoware", method="PUT", status=400)
    await runs(office, 2)
    assert await runs(office, 1) == 0

    office.recover()
    if side == "google":
        office.change_event(str(pair.google_event_id), location="Zimmer 2")
    else:
        office.change_termin(int(pair.advoware_frnr or 0), ort="Zimmer 2")
        office.change_event(str(pair.google_event_id), colorId="4")
    await office.sync_until_calm()

    (record,) = office.records()
    assert record["text"] == "Besprechung neu"


@in_haste
async def test_a_refusal_is_remembered_by_no_other_appointment(
    office: CalendarOffice,
) -> None:
    await an_edit_in_google(office)
    office.strike("advoware", method="PUT", status=400)
    await runs(office, 3)

    office.enter("ganz anderes")
    await runs(office, 1)

    assert office.record("ganz anderes")
    (line,) = await office.audit("failed")
    assert line["error"].endswith("Advoware answered 400")


@in_haste
async def test_what_takes_a_text_away_is_sent_in_each_run_however_often_it_is_refused(
    office: CalendarOffice,
) -> None:
    fr_nr = await a_pair(office)
    office.change_termin(fr_nr, privat=1)
    office.strike("google", method="PATCH", status=400)

    assert await runs(office, 5) == 5

    office.recover()
    await office.sync_until_calm()
    assert office.texts() == ["Advoware"]


@in_haste
async def test_who_asks_for_a_sync_has_it_sent_again(office: CalendarOffice) -> None:
    await an_edit_in_google(office)
    office.strike("advoware", method="PUT", status=400)
    await runs(office, 3)
    office.recover()

    store = CalendarStore(await office.resources.database())
    await store.forget_refused(["SB"])
    await office.sync_until_calm()

    assert office.record("Besprechung neu")


@in_haste
async def test_what_was_refused_long_ago_is_forgotten(office: CalendarOffice) -> None:
    store = CalendarStore(await office.resources.database())
    earlier = office.now - timedelta(days=REFUSED_DAYS, seconds=1)
    await store.note_refused("SB", "one", "Advoware answered 400", earlier)
    await store.note_refused("SB", "other", "Advoware answered 400", earlier)
    await store.note_refused("SB", "other", "Advoware answered 422", office.now)

    await store.forget_old_refused(office.now)

    known = await store.load_refused("SB")
    assert known == {"other": Refused(2, office.now, "Advoware answered 422")}


@in_haste
async def test_a_text_typed_into_a_hidden_event_is_taken_away_though_the_move_is_refused(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS, CALENDAR_SYNC_ANONYMIZE="true")
    fr_nr = office.termin("Besprechung")
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.change_event(
        event_id, summary="Mandant Meier", **timed(DAY, "16:00", "17:00")
    )
    office.strike("advoware", method="PUT", status=400)

    await runs(office, 3)

    assert office.texts() == ["Advoware"]
    (kept,) = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    assert "Mandant Meier" in str(kept["resource"])
    assert office.copy(fr_nr)["start"]["dateTime"].startswith(f"{DAY}T16:00")

    office.recover()
    office.now += timedelta(hours=1)
    await office.sync_until_calm()
    (record,) = office.records()
    assert (record["text"], record["uhrzeitVon"]) == ("Besprechung", "16:00:00")
    assert office.texts() == ["Advoware"]


@in_haste
async def test_a_typed_text_goes_also_if_the_termin_may_not_be_written_as_it_is_shown(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS, CALENDAR_SYNC_ANONYMIZE="true")
    event_id = office.copy(await termin_in_step(office))["id"]
    missing = {"field": "[].privat", "how": "missing"}
    office.strike("advoware", method="GET", answer=[missing])
    moved = timed(DAY, "16:00", "17:00")
    office.change_event(event_id, summary="Mandant Meier", **moved)

    await runs(office, 1)

    assert office.texts() == ["Advoware"]


@in_haste
async def test_what_was_made_private_is_hidden_although_an_edit_of_it_is_refused(
    office: CalendarOffice,
) -> None:
    await made_private_while_it_is_edited(office)
    office.strike("advoware", method="PUT", status=400)

    await runs(office, 1)

    assert office.texts() == ["Advoware"]
    (kept,) = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    assert "Celle" in str(kept["resource"])


@in_haste
async def test_what_was_made_private_keeps_an_edit_that_is_not_answered(
    office: CalendarOffice,
) -> None:
    await made_private_while_it_is_edited(office)
    office.strike("advoware", method="PUT", status=503)
    await runs(office, 1)

    office.recover()
    await office.sync_until_calm()

    assert (office.texts(), office.records()[0]["ort"]) == (["Advoware"], "Celle")


async def made_private_while_it_is_edited(office: CalendarOffice) -> None:
    """A user marks the Termin of a person's event as private, and the person adds a place to the event."""
    await office.configure(CALENDAR_SYNC_STRATEGY="source_system_wins")
    await office.sync()
    event_id = office.enter("Besprechung")
    await office.sync()
    (record,) = office.records()
    office.change_termin(record["frNr"], privat=1)
    office.change_event(event_id, location="Celle")


@in_haste
async def test_a_hidden_series_of_which_an_occurrence_shows_a_text_is_replaced_as_soon_as_may_be(
    office: CalendarOffice,
) -> None:
    await office.configure(
        CALENDAR_SYNC_STRATEGY="source_system_wins", CALENDAR_SYNC_ANONYMIZE="true"
    )
    await office.sync()
    series = {"datumBis": "2026-06-01", "dauertermin": 1, "turnus": 1, "turnusArt": 2}
    fr_nr = office.termin("Besprechung", day="2026-02-12", **series)
    await office.sync()
    occurrence = f"{office.copy(fr_nr)['id']}_20260219T090000Z"
    moved = timed("2026-02-20", "10:00", "11:00")
    office.change_event(occurrence, summary="Mandant Meier", **moved)
    office.strike("google", method="DELETE", status=400)
    sent = []
    for _ in range(12):
        office.now += CRON
        await office.sync()
        sent.append(bool(office.writes()))

    assert all(sent)  # no text is visible longer than it must be
    kept = await office.fetch("SELECT * FROM calendar_sync_overwritten")
    assert [row["google_event_id"] for row in kept].count(occurrence) == 1
    assert max(row["at"] for row in kept) > office.now - CRON


async def termin_in_step(office: CalendarOffice) -> int:
    """A Termin with its event, with the settings as they are."""
    fr_nr = office.termin("Besprechung")
    await office.sync()
    return fr_nr


def whole_lists(office: CalendarOffice) -> int:
    """How often the last run has listed the whole calendar."""
    lists = [call for call in office.calls("google") if "/events?" in call]
    return len([call for call in lists if "syncToken" not in call])


@in_haste
@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("goes", [{}, {"anwalt": "AI"}], ids=["deleted", "handed on"])
@pytest.mark.parametrize("occurrence", [None, {"summary": "Rückfrage"}])
async def test_a_series_that_google_does_not_delete_costs_no_whole_list_in_each_run(
    office: CalendarOffice, occurrence: Any, goes: Any, status: int
) -> None:
    await office.configure(**LAST_CHANGE_WINS, ADVOWARE_WRITE_PROTECTION="false")
    fr_nr = office.termin("Jour fixe", **SERIES)
    office.termin("Besprechung")
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    if occurrence is not None:
        office.change_event(f"{event_id}_20260226T090000Z", **occurrence)
        await office.sync_until_calm()
    office.now += timedelta(days=1, hours=1)
    if goes:
        office.change_termin(fr_nr, **goes)
    else:
        office.delete_termin(fr_nr)
    office.strike("google", method="DELETE", path="/events/", status=status)

    await runs(office, 3)
    for _ in range(3):
        assert await runs(office, 1) == 1
        assert whole_lists(office) == 0
    refused = [pair.error for pair in await office.pairs() if pair.error]
    assert len(refused) == 1
    assert "Google" in refused[0]

    office.change_event(f"{event_id}_20260305T090000Z", summary="Nachfrage")
    await runs(office, 2 if status == 403 else 0)
    office.recover()
    await office.sync_until_calm()
    assert office.texts() == ["Besprechung"]
    kept = await everything(office)
    assert "Nachfrage" in kept
    assert occurrence is None or "Rückfrage" in kept
