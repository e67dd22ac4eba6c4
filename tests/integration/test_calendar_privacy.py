"""Whose an appointment is, and who may read it: private events, hidden occurrences, Termine that change hands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from calendar_deeds import (
    LAST_CHANGE_WINS,
    MAY_WRITE,
    SERIES,
    WEEKLY,
    everything,
    persons_series,
    sync_all,
    with_occurrences,
)
from calendar_office import DAY, CalendarOffice, in_haste, office, timed
from calendar_people import PERSON

__all__ = ["office"]

QUOTA = {"error": {"code": 429, "errors": [{"reason": "rateLimitExceeded"}]}}


@in_haste
async def test_a_private_event_is_created_again_as_private(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    await sync_all(office)
    office.enter("Arzt", visibility="private")
    await sync_all(office, 2)
    assert office.record("Arzt")["privat"] == 1
    office.delete_termin(office.record("Arzt")["frNr"])
    await sync_all(office, 3)
    assert office.record("Arzt")["privat"] == 1


@pytest.mark.parametrize("deed", ["move", "copy", "split", "restore"])
@in_haste
async def test_what_a_person_makes_of_a_private_event_is_private(
    office: CalendarOffice, deed: str
) -> None:
    await office.configure(**MAY_WRITE)
    await sync_all(office)
    series = WEEKLY if deed == "split" else {}
    event_id = office.enter("Arzt", visibility="private", **series)
    await sync_all(office, 2)
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    assert other is not None
    people = office.google.world.people
    if deed == "move":
        office.google.world.events.move(PERSON, own, own.events[event_id], other)
    elif deed == "copy":
        people.copy(PERSON, own, event_id, own, {"summary": "Zahnarzt"})
    elif deed == "restore":
        office.delete_event(event_id)
        await sync_all(office, 2)
        people.restore(PERSON, own, event_id)
    else:
        people.split(PERSON, own, f"{event_id}_20260226T130000Z", {})
    await sync_all(office, 3)
    assert {record["privat"] for record in office.termine()} == {1}


@in_haste
async def test_a_first_text_of_a_private_termin_is_not_shown(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("", notiz="", ort="")
    await office.sync()
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].ort", "how": "missing"}]
    )
    office.change_termin(fr_nr, text="Mandat Weber", privat=1)
    await sync_all(office, 1)
    assert "Mandat" not in str(office.events("SB"))


@pytest.mark.parametrize("runs", [1, 3])
@in_haste
async def test_an_occurrence_of_a_new_series_is_hidden_with_it(
    office: CalendarOffice, runs: int
) -> None:
    await office.configure(**MAY_WRITE, CALENDAR_SYNC_ANONYMIZE="true")
    await sync_all(office)
    event_id = office.enter("Mandat Weber", **WEEKLY)
    office.change_event(f"{event_id}_20260226T130000Z", colorId="5")
    await sync_all(office, runs)
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}


@pytest.mark.parametrize("strategy", ["source wins", "last change wins"])
@in_haste
async def test_an_edit_in_advoware_that_google_wins_over_is_kept(
    office: CalendarOffice, strategy: str
) -> None:
    is_source = strategy == "source wins"
    await office.configure(**(MAY_WRITE if is_source else LAST_CHANGE_WINS))
    await sync_all(office)
    event_id = office.enter("Besprechung")
    await sync_all(office, 2)
    office.change_termin(office.record("Besprechung")["frNr"], notiz="Rückfrage")
    if not is_source:
        office.now += timedelta(seconds=5)
        office.change_event(event_id, location="Saal 3")
    await sync_all(office, 3)
    assert "Rückfrage" in await everything(office)


@pytest.mark.parametrize("looked_for", ["SB", "AI"])
@pytest.mark.parametrize("anwalt", ["AI", "ALLE"])
@in_haste
async def test_a_termin_that_is_given_to_others_during_the_run_is_not_deleted(
    office: CalendarOffice, anwalt: str, looked_for: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.delete_event(event_id)
    await office.meanwhile(
        "GET",
        event_path(office, looked_for, event_id),
        lambda: office.change_termin(fr_nr, anwalt=anwalt),
    )
    await sync_all(office, 2)
    assert len(office.records("Mandat Weber")) == 1


def event_path(office: CalendarOffice, kuerzel: str, event_id: str) -> str:
    """The end of the path of an event in an employee's calendar."""
    calendar = office.calendar(kuerzel)
    assert calendar is not None
    return f"{quote(calendar.id)}/events/{event_id}"


@in_haste
async def test_an_edit_in_advoware_while_the_colleagues_are_asked_for_its_event_is_kept(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.delete_event(event_id)
    await office.meanwhile(
        "GET",
        event_path(office, "AI", event_id),
        lambda: office.change_termin(fr_nr, notiz="Rückfrage"),
    )
    await sync_all(office, 2)
    assert "Rückfrage" in await everything(office)


@in_haste
async def test_an_edit_of_a_termin_that_becomes_everyones_during_the_run_is_not_written(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    office.change_event(office.copy(fr_nr)["id"], summary="privates")
    await office.meanwhile(
        "GET", f"frnr={fr_nr}", lambda: office.change_termin(fr_nr, anwalt="ALLE")
    )
    await sync_all(office, 2)
    assert office.termin_texts() == ["Mandat Weber"]


@pytest.mark.parametrize("first", ["SB", "AI"])
@in_haste
async def test_a_termin_that_becomes_private_stays_so_when_its_event_moves(
    office: CalendarOffice, first: str
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Mandat Weber")
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.change_termin(fr_nr, privat=1)
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    assert other is not None
    office.google.world.events.move(PERSON, own, own.events[event_id], other)
    await office.try_sync(first)
    await sync_all(office, 3)
    assert [record["privat"] for record in office.termine()] == [1]
    assert "Mandat" not in str(office.events("AI"))


async def split_when_it_becomes_private(office: CalendarOffice) -> str:
    """The id of a person's series that becomes private, and is split before the next run."""
    await office.configure(**LAST_CHANGE_WINS)
    await sync_all(office)
    event_id = office.enter("Mandat Weber", **WEEKLY)
    await sync_all(office, 2)
    office.change_termin(office.record("Mandat Weber")["frNr"], privat=1)
    own = office.calendar("SB")
    assert own is not None
    office.google.world.people.split(PERSON, own, f"{event_id}_20260226T130000Z", {})
    return event_id


@in_haste
async def test_the_rest_of_a_series_that_becomes_private_is_private(
    office: CalendarOffice,
) -> None:
    await split_when_it_becomes_private(office)
    await sync_all(office, 4)
    assert {record["privat"] for record in office.termine()} == {1}
    assert "Mandat" not in str(office.events("SB"))


@in_haste
async def test_the_rest_of_a_private_series_is_hidden_although_it_is_edited_while_it_is_marked(
    office: CalendarOffice,
) -> None:
    event_id = await split_when_it_becomes_private(office)
    rest = f"{event_id}_R20260226T130000"
    office.change_event(f"{rest}_20260305T130000Z", colorId="5")
    await office.meanwhile(
        "PATCH", rest, lambda: office.change_event(rest, colorId="7")
    )
    await sync_all(office, 2)
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}


@pytest.mark.parametrize("why", ["private", "anonymise"])
@pytest.mark.parametrize(
    "changed",
    [{"colorId": "5"}, timed("2026-02-26", "16:00", "17:00")],
    ids=["colour", "moved"],
)
@in_haste
async def test_an_occurrence_is_hidden_by_the_next_run_after_one_that_ended(
    office: CalendarOffice, changed: dict[str, Any], why: str
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_event(f"{event_id}_20260226T130000Z", **changed)
    await sync_all(office, 2)
    if why == "private":
        office.change_termin(fr_nr, privat=1)
    else:
        await office.configure(**MAY_WRITE, CALENDAR_SYNC_ANONYMIZE="true")
    office.strike(
        "google", method="PATCH", path=f"/events/{event_id}_", status=429, body=QUOTA
    )
    await sync_all(office, 1)
    office.recover()
    await office.try_sync("SB")
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}
    await office.sync_until_calm()


@pytest.mark.parametrize("touched", [False, True], ids=["untouched", "touched"])
@pytest.mark.parametrize("status", [429, 503])
@in_haste
async def test_an_occurrence_of_a_series_that_was_to_be_replaced_is_hidden(
    office: CalendarOffice, status: int, touched: bool
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Mandat Weber", **SERIES)
    await sync_all(office, 2)
    event_id = office.copy(fr_nr)["id"]
    office.change_event(f"{event_id}_20260226T090000Z", colorId="5")
    await sync_all(office, 2)
    office.change_termin(fr_nr, privat=1)
    office.strike("google", method="DELETE", path="/events/", status=status, body=QUOTA)
    await sync_all(office, 1)
    office.recover()
    if touched:  # so that an incremental list shows the series, and not the occurrence
        office.change_event(event_id, colorId="7")
    await office.try_sync("SB")
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}
    await office.sync_until_calm()
    assert len(office.copies(fr_nr)) == 1


# Both titles are the same, so that the occurrence differs from its series in nothing else.
@in_haste
async def test_what_is_typed_into_a_series_and_its_occurrence_is_hidden_when_it_moves(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_termin(fr_nr, privat=1)
    await sync_all(office, 2)
    typed = {"summary": "Weber ./. Schulze"}
    occurrence = f"{event_id}_20260226T130000Z"
    moved = timed("2026-02-26", "14:00", "16:00")
    office.change_event(occurrence, **typed, **moved)
    office.change_event(event_id, **typed, **timed(DAY, "14:00", "16:00"))
    await office.try_sync("SB")
    assert "Weber" not in str(with_occurrences(office))
    assert "Weber ./. Schulze" in await everything(office)
    assert office.record("Mandat Weber")["uhrzeitBis"] == "16:00:00"
    await office.sync_until_calm()


@in_haste
async def test_an_occurrence_is_hidden_with_a_series_that_loses_its_title_and_moves(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_termin(fr_nr, privat=1)
    office.change_event(event_id, summary="", **timed(DAY, "14:00", "16:00"))
    await office.try_sync("SB")
    assert "Weber" not in str(with_occurrences(office))
    await office.sync_until_calm()


@in_haste
async def test_a_series_that_becomes_private_while_it_moves_is_hidden_with_its_occurrence(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_termin(fr_nr, privat=1)
    office.change_event(event_id, **timed(DAY, "14:00", "16:00"))
    office.change_event(f"{event_id}_20260305T130000Z", colorId="7")
    for _ in range(2):  # the edit first, then the texts
        await office.try_sync("SB")
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}
    assert office.record("Mandat Weber")["uhrzeitBis"] == "16:00:00"
    await office.sync_until_calm()


@in_haste
async def test_an_occurrence_that_a_run_did_not_get_to_hide_is_hidden_when_its_series_moves(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_termin(fr_nr, privat=1)
    path = f"/events/{event_id}_"
    office.strike("google", method="PATCH", path=path, status=429, body=QUOTA)
    await sync_all(office, 1)
    office.recover()
    typed = {"summary": "Rückfrage", **timed(DAY, "14:00", "16:00")}
    office.change_event(event_id, **typed)
    await office.try_sync("SB")
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}
    assert "Rückfrage" in await everything(office)
    await office.sync_until_calm()


@in_haste
async def test_an_occurrence_is_hidden_although_advoware_refuses_the_move_of_its_series(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr, event_id = await persons_series(office)
    office.change_termin(fr_nr, privat=1)
    moved = timed(DAY, "14:00", "16:00")
    office.change_event(event_id, summary="Weber ./. Schulze", **moved)
    office.strike("advoware", method="PUT", status=400)
    for _ in range(2):  # the series first, then what is listed with it
        await office.try_sync("SB")
    assert {text for _, text in with_occurrences(office)} == {"Advoware"}
    assert "Weber ./. Schulze" in await everything(office)
    for _ in range(2):
        await office.try_sync("SB")
    calls = office.calls("google")
    assert [call for call in calls if call.startswith("PATCH")] == []
    assert [call for call in calls if "/events?" in call and "sync" not in call] == []


@pytest.mark.parametrize("settings", [MAY_WRITE, LAST_CHANGE_WINS])
@pytest.mark.parametrize(
    "beside", [{}, {"visibility": "default"}, timed(DAY, "16:00", "17:00")]
)
@in_haste
async def test_a_private_event_that_gets_the_title_of_hidden_ones_rests(
    office: CalendarOffice, beside: dict[str, Any], settings: Any
) -> None:
    await office.configure(**settings)
    await sync_all(office)
    event_id = office.enter("Arzt", visibility="private")
    await sync_all(office, 2)
    office.change_event(event_id, summary="Advoware", **beside)
    await sync_all(office, 2)
    office.now += timedelta(hours=25)

    await office.sync_until_calm()

    await office.sync_until_calm(runs=1)
    assert [record["text"] for record in office.termine()] == ["Advoware"]


@pytest.mark.parametrize("settings", [MAY_WRITE, LAST_CHANGE_WINS])
@pytest.mark.parametrize("is_full", [False, True])
@in_haste
async def test_a_private_event_hidden_by_a_run_that_ended_is_shown_again_as_private(
    office: CalendarOffice, is_full: bool, settings: Any
) -> None:
    await office.configure(**settings)
    await sync_all(office)
    office.enter("Arzt", visibility="private")
    await sync_all(office, 2)
    await office.configure(**settings, CALENDAR_SYNC_ANONYMIZE="true")
    assert await office.sync_interrupted("PATCH", "/events/")
    if is_full:
        office.now += timedelta(hours=25)
    await sync_all(office, 2)
    assert office.texts() == ["Advoware"]

    await office.configure(**settings)
    await sync_all(office, 3)

    (event,) = office.events("SB")
    assert (event["summary"], event.get("visibility")) == ("Arzt", "private")


@pytest.mark.parametrize("settings", [MAY_WRITE, LAST_CHANGE_WINS])
@pytest.mark.parametrize("series", [{}, WEEKLY], ids=["single", "series"])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("moved", [{}, timed(DAY, "16:00", "17:00")])
@in_haste
async def test_an_event_that_its_owner_makes_private_as_all_are_hidden_stays_private(
    office: CalendarOffice, moved: Any, is_full: bool, series: Any, settings: Any
) -> None:
    await office.configure(**settings)
    await sync_all(office)
    event_id = office.enter("Arzt", **series)
    await sync_all(office, 2)
    await office.configure(**settings, CALENDAR_SYNC_ANONYMIZE="true")
    office.change_event(event_id, visibility="private", **moved)
    await sync_all(office, 3)
    assert office.texts() == ["Advoware"]

    await office.configure(**settings)
    if is_full:
        office.now += timedelta(hours=25)
    await sync_all(office, 3)

    (event,) = office.events("SB")
    assert (event["summary"], event.get("visibility")) == ("Arzt", "private")


FORMS = [{"how": "upper"}, {"how": "cut", "to": 5}, {"how": "value", "to": "Termin"}]


@pytest.mark.parametrize("settings", [MAY_WRITE, LAST_CHANGE_WINS])
@pytest.mark.parametrize("origin", ["advoware", "google"])
@pytest.mark.parametrize("day", ["2028-06-03", "2026-01-03"])
@pytest.mark.parametrize("form", [None, *FORMS])
@in_haste
async def test_an_event_that_leaves_the_window_when_its_termin_becomes_private_is_hidden(
    office: CalendarOffice, form: Any, day: str, origin: str, settings: Any
) -> None:
    await office.configure(**settings)
    await sync_all(office)
    if origin == "advoware":
        office.termin("Mandat Weber")
    else:
        office.enter("Mandat Weber")
    await sync_all(office, 2)
    fr_nr = office.record("Mandat Weber")["frNr"]
    if form is not None:
        change = dict(form, field="summary", match="^Advoware", echo=True)
        office.strike("google", method="PATCH", stored=[change])
    office.change_termin(fr_nr, privat=1)
    office.change_event(office.copy(fr_nr)["id"], **timed(day, "09:00", "10:00"))

    await sync_all(office, 2)

    assert "Mandat" not in str(office.events("SB"))
    assert [record["text"] for record in office.termine()] == ["Mandat Weber"]
    await office.sync_until_calm(runs=1)


@pytest.mark.parametrize("has_occurrence", [False, True])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/Vienna"])
@in_haste
async def test_a_series_that_leaves_the_window_when_its_termin_becomes_private_is_hidden(
    office: CalendarOffice, zone: str, has_occurrence: bool
) -> None:
    await office.configure(**MAY_WRITE)
    if has_occurrence:
        _, event_id = await persons_series(office)
    else:
        await sync_all(office)
        event_id = office.enter("Mandat Weber", **WEEKLY)
        await sync_all(office, 2)
    office.change_termin(office.record("Mandat Weber")["frNr"], privat=1)
    times = timed("2028-06-03", "09:00", "10:00")
    for moment in times.values():
        moment["timeZone"] = zone
    rule = ["RRULE:FREQ=WEEKLY;UNTIL=20280830T215959Z"]
    office.change_event(event_id, recurrence=rule, **times)

    await sync_all(office, 2)

    assert "Mandat" not in str(with_occurrences(office))
    assert office.record("Mandat Weber")["datum"].startswith("2028-06-03")
    await office.sync_until_calm()
