"""What goes with an appointment is kept: edits that no run has read, and texts that were typed into hidden events."""

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
    with_occurrences,
)
from calendar_office import DAY, CalendarOffice, in_haste, office, timed
from calendar_people import PERSON

from sandbox.google.readings import Readings
from services.calendar_sync.audit.commands import CalendarAudit
from services.calendar_sync.audit.decisions import CalendarDecisions
from services.calendar_sync.description import CUT_MARK
from services.calendar_sync.mapping import google_event_id

__all__ = ["office"]

TYPED = {"summary": "Rückfrage"}
Deed = Callable[[CalendarOffice, int, str], None]


def _other(**fields: Any) -> Deed:
    def deed(office: CalendarOffice, fr_nr: int, _: str) -> None:
        office.change_termin(fr_nr, **fields)

    return deed


def _deleted(office: CalendarOffice, fr_nr: int, _: str) -> None:
    office.delete_termin(fr_nr)


def _to_colleague(office: CalendarOffice, _: int, event_id: str) -> None:
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    office.google.world.events.move(PERSON, own, own.events[event_id], other)


@pytest.mark.parametrize(
    "goes", [_deleted, _other(anwalt="AI")], ids=["deleted", "reassigned"]
)
@pytest.mark.parametrize("place", ["summary", "description", "occurrence"])
@in_haste
async def test_what_is_typed_into_a_hidden_event_is_kept_when_its_termin_goes(
    office: CalendarOffice, goes: Deed, place: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin(
        "Mandat Weber", privat=1, **(SERIES if place == "occurrence" else {})
    )
    await sync_all(office)
    event_id = office.copy(fr_nr)["id"]
    if place == "occurrence":
        office.change_event(f"{event_id}_20260226T090000Z", **TYPED)
    else:
        office.change_event(event_id, **{place: "Rückfrage"})
    goes(office, fr_nr, event_id)
    await sync_all(office, 3)
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize(
    ("source", "strategy", "goes"),
    [
        (source, strategy, goes)
        for source in ("advoware", "google")
        for strategy in ("source wins", "last change wins")
        for goes in (_deleted, _other(anwalt="AI"))
        # there the Termin is created again from the event, with the edit
        if (source, strategy, goes) != ("google", "source wins", _deleted)
    ],
)
@in_haste
async def test_an_edit_that_no_run_has_read_is_kept_when_its_termin_goes(
    office: CalendarOffice, goes: Deed, source: str, strategy: str
) -> None:
    await office.configure(
        **(MAY_WRITE if strategy == "source wins" else LAST_CHANGE_WINS)
    )
    await sync_all(office)
    if source == "advoware":
        fr_nr = office.termin("Mandat Weber")
    else:
        office.enter("Mandat Weber", **timed(DAY, "10:00", "11:00"))
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    event_id = office.copy(fr_nr)["id"]
    office.change_event(event_id, description="Rückfrage")
    goes(office, fr_nr, event_id)
    await sync_all(office, 3)
    assert "Rückfrage" in await everything(office)


@in_haste
async def test_an_occurrence_of_a_hidden_series_that_follows_its_termin_to_a_colleague_is_kept(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION="true")
    office.google.world.events.readings = Readings(move_keeps_properties=True)
    fr_nr = office.termin("Mandat Weber", privat=1, **SERIES)
    await sync_all(office)
    event_id = office.copy(fr_nr)["id"]
    office.change_event(f"{event_id}_20260226T090000Z", **TYPED)
    _to_colleague(office, fr_nr, event_id)
    office.change_termin(fr_nr, anwalt="AI")
    await sync_all(office, 3)
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize("place", ["summary", "description"])
@in_haste
async def test_what_is_typed_into_a_hidden_event_that_is_over_is_kept_before_it_is_hidden_again(
    office: CalendarOffice, place: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS, CALENDAR_SYNC_ANONYMIZE="true")
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office)
    event_id = office.copy(fr_nr)["id"]
    office.now += timedelta(days=30)
    await sync_all(office, 2)
    office.change_event(event_id, **{place: "Rückfrage"})
    await sync_all(office, 2)
    office.now += timedelta(days=2)
    await sync_all(office, 2)
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize(
    ("source", "strategy"),
    [
        ("google", "source wins"),
        ("advoware", "last change wins"),
        ("google", "last change wins"),
    ],
)
@in_haste
async def test_an_edit_in_advoware_that_no_run_has_read_is_not_deleted_with_its_event(
    office: CalendarOffice, source: str, strategy: str
) -> None:
    await office.configure(
        **(MAY_WRITE if strategy == "source wins" else LAST_CHANGE_WINS)
    )
    await sync_all(office)
    if source == "advoware":
        office.termin("Mandat Weber")
    else:
        office.enter("Mandat Weber", **timed(DAY, "10:00", "11:00"))
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    event_id = office.copy(fr_nr)["id"]
    office.change_termin(fr_nr, notiz="Rückfrage")
    office.delete_event(event_id)
    await sync_all(office, 3)
    assert office.termine() == []
    assert "Rückfrage" in await everything(office)


@in_haste
async def test_what_is_deleted_as_both_sides_knew_it_is_not_kept(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    termine = [office.termin(text) for text in ("Besprechung", "Verhandlung")]
    await sync_all(office)
    office.delete_event(office.copy(termine[0])["id"])
    office.delete_termin(termine[1])
    await sync_all(office, 3)
    assert (office.termine(), office.texts()) == ([], [])
    assert await office.fetch("SELECT resource FROM calendar_sync_overwritten") == []


@in_haste
async def test_an_edit_in_advoware_that_was_deleted_with_its_event_comes_back(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office)
    office.change_termin(fr_nr, text="Mandat Weber, verlegt", notiz="Rückfrage")
    office.delete_event(office.copy(fr_nr)["id"])
    await sync_all(office, 2)
    decisions = CalendarDecisions(office.resources)
    kept = await decisions.overwritten(show_text=True)
    (row,) = kept.details["overwritten"]
    assert (row["summary"], row["start"][:10]) == ("Mandat Weber, verlegt", DAY)

    await decisions.restore_overwritten(row["overwritten_id"], apply=True)
    await sync_all(office, 2)

    (record,) = office.termine()
    assert (record["text"], record["notiz"]) == ("Mandat Weber, verlegt", "Rückfrage")
    assert record["frNr"] != fr_nr


@in_haste
async def test_a_private_edit_that_was_deleted_with_its_event_comes_back_private(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber", privat=1)
    await sync_all(office)
    office.change_termin(fr_nr, text="Mandat Weber, verlegt", notiz="Rückfrage")
    office.delete_event(office.copy(fr_nr)["id"])
    await sync_all(office, 2)
    (row,) = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    assert row["resource"]["summary"] == "Mandat Weber, verlegt"
    assert row["resource"]["visibility"] == "private"


@pytest.mark.parametrize("goes", ["deleted", "reassigned"])
@pytest.mark.parametrize("source", ["advoware", "google"])
@in_haste
async def test_what_only_google_could_hold_is_kept_when_its_termin_goes(
    office: CalendarOffice, goes: str, source: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    await sync_all(office)
    if source == "google":
        office.enter("Mandat Weber", **{**WEEKLY, **timed(DAY, "10:00", "11:00")})
    else:
        office.termin("Mandat Weber", **SERIES)
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    event_id = office.copy(fr_nr)["id"]
    office.change_event(f"{event_id}_20260226T090000Z", summary="Rückfrage")
    await sync_all(office, 2)
    assert "Rückfrage" in str(with_occurrences(office))
    if goes == "deleted":
        office.delete_termin(fr_nr)
    else:
        office.change_termin(fr_nr, anwalt="AI")
    await sync_all(office, 3)
    assert office.events("SB") == []
    assert "Rückfrage" in await everything(office)


async def with_what_only_google_holds(office: CalendarOffice) -> int:
    """A Termin whose event has a place that is too long for Advoware; its number."""
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.change_event(event_id, location="Rückfrage " * 110)
    await sync_all(office, 2)
    assert "Rückfrage" in office.copy(fr_nr)["location"]
    return fr_nr


@pytest.mark.parametrize("goes", ["deleted", "reassigned"])
@in_haste
async def test_a_note_that_only_google_could_hold_is_kept_when_its_termin_goes(
    office: CalendarOffice, goes: str
) -> None:
    fr_nr = await with_what_only_google_holds(office)
    if goes == "deleted":
        office.delete_termin(fr_nr)
    else:
        office.change_termin(fr_nr, anwalt="AI")
    await sync_all(office, 3)
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize("why", ["private", "anonymise"])
@in_haste
async def test_a_note_that_only_google_could_hold_is_kept_when_it_is_hidden(
    office: CalendarOffice, why: str
) -> None:
    fr_nr = await with_what_only_google_holds(office)
    if why == "private":
        office.change_termin(fr_nr, privat=1)
    else:
        await office.configure(**LAST_CHANGE_WINS, CALENDAR_SYNC_ANONYMIZE="true")
    await sync_all(office, 3)
    assert "Rückfrage" not in str(office.events("SB"))
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize("source", ["advoware", "google"])
@pytest.mark.parametrize(
    "more",
    [
        {"location": "Rückfrage " * 110},
        {"recurrence": ["RRULE:FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=2"]},
    ],
    ids=["place", "series"],
)
@in_haste
async def test_what_only_google_could_hold_is_kept_when_the_termin_is_edited(
    office: CalendarOffice, source: str, more: dict[str, Any]
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    await sync_all(office)
    if source == "google":
        office.enter("Mandat Weber", **timed(DAY, "10:00", "11:00"))
    else:
        office.termin("Mandat Weber")
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    office.change_event(office.copy(fr_nr)["id"], **more)
    await sync_all(office, 2)
    office.change_termin(fr_nr, text="Mandat Weber, verlegt")
    await sync_all(office, 3)
    event = office.copy(fr_nr)
    assert event["summary"] == "Mandat Weber, verlegt"
    (row,) = await office.fetch("SELECT resource FROM calendar_sync_overwritten")
    for name, value in more.items():
        assert value != event.get(name)
        assert row["resource"][name] == value


@pytest.mark.parametrize(
    "goes", [_deleted, _other(anwalt="AI")], ids=["deleted", "reassigned"]
)
@in_haste
async def test_an_edit_that_waits_for_permission_is_kept_when_its_termin_goes(
    office: CalendarOffice, goes: Deed
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    await sync_all(office)
    event_id = office.enter("Mandat Weber", **timed(DAY, "10:00", "11:00"))
    await sync_all(office, 2)
    protected = {**LAST_CHANGE_WINS, "ADVOWARE_WRITE_PROTECTION": "true"}
    await office.configure(**protected)
    office.change_event(event_id, description="Rückfrage")
    await sync_all(office, 2)
    goes(office, office.record("Mandat Weber")["frNr"], event_id)
    await sync_all(office, 3)
    assert office.events("SB") == []
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize(
    "goes", [_deleted, _other(text="Besprechung")], ids=["deleted", "edited"]
)
@in_haste
async def test_a_note_that_was_cut_for_google_is_not_kept(
    office: CalendarOffice, goes: Deed
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber", notiz="<b>Akte</b> " * 600)
    await sync_all(office, 2)
    assert office.copy(fr_nr)["description"].endswith(CUT_MARK)
    goes(office, fr_nr, "")
    await sync_all(office, 3)
    assert "Mandat Weber" not in office.texts()
    assert await office.fetch("SELECT resource FROM calendar_sync_overwritten") == []


@in_haste
async def test_an_edit_of_a_series_whose_replacement_was_interrupted_is_kept(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Mandat Weber", **SERIES)
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.delete_event(f"{event_id}_20260226T090000Z")
    office.strike("google", method="DELETE", path="/events/", status=503)
    await sync_all(office, 1)
    office.recover()
    office.change_event(event_id, description="Rückfrage")
    await sync_all(office, 4)
    assert "Rückfrage" in await everything(office)


@in_haste
async def test_an_edit_of_an_old_event_is_kept_when_it_is_purged(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    office.now += timedelta(days=60)
    await sync_all(office, 2)
    office.change_event(office.copy(fr_nr)["id"], description="Rückfrage")
    report = await CalendarAudit(office.resources).purge_old(30, ["SB"], apply=True)
    assert office.events("SB") == [], report
    assert "Rückfrage" in await everything(office)
    (line,) = [row for row in await office.audit("deleted") if row["side"] == "google"]
    (kept,) = await office.fetch("SELECT * FROM calendar_sync_overwritten")
    assert kept["sync_id"] == line["sync_id"]  # by which an operator finds it


@in_haste
async def test_an_occurrence_of_an_old_series_is_kept_when_it_is_purged(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber", **{**SERIES, "datumBis": "2026-03-05"})
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.change_event(f"{event_id}_20260226T090000Z", **TYPED)
    await sync_all(office, 2)
    office.now += timedelta(days=90)
    await sync_all(office, 2)
    report = await CalendarAudit(office.resources).purge_old(30, ["SB"], apply=True)
    assert office.events("SB") == [], report
    assert "Rückfrage" in await everything(office)


@in_haste
async def test_an_old_event_is_purged_as_both_sides_knew_it(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    office.termin("Mandat Weber")
    await sync_all(office, 2)
    office.now += timedelta(days=60)
    report = await CalendarAudit(office.resources).purge_old(30, ["SB"], apply=True)
    assert office.events("SB") == [], report
    assert await office.fetch("SELECT resource FROM calendar_sync_overwritten") == []


@in_haste
async def test_what_is_typed_into_a_surplus_copy_is_kept_when_it_is_deleted(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    calendar = office.calendar("SB")
    assert calendar is not None
    own = office.copy(fr_nr)
    other_id = google_event_id(fr_nr, calendar.id, 1)
    body = {name: own[name] for name in ("start", "end", "extendedProperties")}
    office.google.world.events.insert(
        office.account_name,
        calendar,
        {**body, "id": other_id, "summary": "Mandat Weber"},
    )
    office.change_event(other_id, description="Rückfrage")
    report = await CalendarAudit(office.resources).delete_duplicates(["SB"], apply=True)
    assert len(office.events("SB")) == 1, report
    assert "Rückfrage" in await everything(office)
