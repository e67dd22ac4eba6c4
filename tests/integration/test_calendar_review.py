"""What a reviewer tried in order to break the calendar sync, example by example."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from calendar_deeds import everything
from calendar_office import DAY, CalendarOffice, in_haste, office, timed

from sandbox.google.readings import Readings
from services.calendar_sync.mapping import google_to_event, read_termin
from services.calendar_sync.model import content_hash
from services.calendar_sync.store import AuditLine

__all__ = ["office"]

SERIES: dict[str, Any] = {
    "dauertermin": 1,
    "turnus": 1,
    "turnusArt": 2,
    "datumBis": "2026-06-30",
}
MAY_WRITE = {"ADVOWARE_WRITE_PROTECTION": "false"}
LAST_CHANGE_WINS = {**MAY_WRITE, "CALENDAR_SYNC_STRATEGY": "last_change_wins"}
SECOND = "_20260219T090000Z"  # the second occurrence of a series that begins on `DAY` at ten o'clock
THIRD = "_20260226T090000Z"


def all_texts(office: CalendarOffice) -> set[str]:
    """Every text that stands in the calendar, also in single occurrences."""
    return {
        str(event[name])
        for event in office.events("SB")
        for name in ("summary", "description", "location")
        if event.get(name)
    }


# -- appointments that must not be lost -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 400}], ids=["away", "refused"]
)
@in_haste
async def test_a_replacement_that_fails_halfway_deletes_no_termin(
    office: CalendarOffice, fault: dict[str, Any]
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    office.change_event(f"{series}{SECOND}", **timed("2026-02-20", "10:00", "11:00"))
    office.now += timedelta(minutes=5)
    office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    office.strike("google", method="POST", path="/events", **fault)
    await office.try_sync()
    office.recover()

    await office.sync_until_calm(runs=6)

    assert [record["uhrzeitVon"][:5] for record in office.termine()] == ["14:00"]
    assert [event["start"]["dateTime"][11:16] for event in office.events("SB")] == [
        "14:00"
    ]


async def with_interrupted_replacement(office: CalendarOffice, status: int) -> int:
    """A series whose Termin was edited, and whose event could not be replaced; the Termin's number."""
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    office.change_event(f"{series}{SECOND}", colorId="5")
    await office.sync_until_calm()
    office.change_termin(fr_nr, text="Jour fixe, verlegt")
    office.strike("google", method="DELETE", status=status)
    await office.try_sync()
    office.recover()
    return fr_nr


@pytest.mark.parametrize("status", [429, 503])
@in_haste
async def test_an_edit_arrives_after_a_replacement_that_was_interrupted(
    office: CalendarOffice, status: int
) -> None:
    await with_interrupted_replacement(office, status)

    await office.sync_until_calm()

    assert set(office.texts()) == {"Jour fixe, verlegt"}


@pytest.mark.parametrize("goes", ["deleted", "reassigned"])
@in_haste
async def test_a_series_whose_replacement_was_interrupted_goes_with_its_termin(
    office: CalendarOffice, goes: str
) -> None:
    fr_nr = await with_interrupted_replacement(office, 429)
    if goes == "deleted":
        office.delete_termin(fr_nr)
    else:
        office.change_termin(fr_nr, anwalt="AI")

    await office.sync_until_calm()

    assert office.events("SB") == []


@in_haste
async def test_held_deletions_are_not_carried_out_by_the_way(
    office: CalendarOffice,
) -> None:
    numbers = [office.termin(f"Termin {number}") for number in range(10)]
    await office.sync()
    for fr_nr in numbers[:8]:
        office.delete_termin(fr_nr)

    summary = await office.sync(full_content=False)

    assert summary.result == "held"
    assert office.texts() == ["Advoware"] * 10
    assert summary.counts["google_deleted"] == 0
    assert (await office.sync(full_content=False)).result == "held"
    assert office.texts() == ["Advoware"] * 10


@in_haste
async def test_a_change_during_a_run_lets_no_held_deletion_through(
    office: CalendarOffice,
) -> None:
    numbers = [office.termin(f"Termin {number}") for number in range(10)]
    await office.sync()
    for fr_nr in numbers[:8]:
        office.delete_termin(fr_nr)
    ids = [event["id"] for event in office.events("SB")]
    office.full_content = False

    def edit() -> None:
        for event_id in ids:
            office.change_event(event_id, colorId="5")

    await office.meanwhile("GET", "/Termine", edit)

    assert len(office.events("SB")) == 10


@in_haste
async def test_a_series_can_be_put_back_as_often_as_it_is_changed(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    async with office.free_of_limits():
        for _ in range(24):
            office.delete_event(f"{office.copy(fr_nr)['id']}{SECOND}")
            await office.sync_until_calm()
    assert len(office.events("SB")) == 1
    office.change_termin(fr_nr, anwalt="AI")
    await office.sync_until_calm()
    assert office.events("SB") == []
    office.change_termin(fr_nr, anwalt="SB")

    await office.sync_until_calm()

    assert office.texts() == ["Jour fixe"]


@pytest.mark.parametrize(
    "configuration",
    [{}, MAY_WRITE, LAST_CHANGE_WINS],
    ids=["protected", "source", "last change"],
)
@in_haste
async def test_a_database_from_before_a_replacement_doubles_nothing(
    office: CalendarOffice, configuration: dict[str, str]
) -> None:
    await office.configure(**configuration)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    before = await office.pair()
    office.delete_event(f"{office.copy(fr_nr)['id']}{SECOND}")
    office.now += timedelta(minutes=5)
    office.change_termin(fr_nr, ort="Celle")
    await office.sync_until_calm()
    line = AuditLine(
        employee_kuerzel="SB",
        side="none",
        action="restored",
        reason="a backup was put back",
    )
    await (await office.store()).save_pair(before, line, office.now)
    pool = await office.resources.database()
    await pool.execute(
        "UPDATE calendar_sync_cursor SET sync_token = NULL, last_full_run = NULL, quiet_digest = NULL"
    )

    await office.sync_until_calm()

    assert office.texts() == ["Jour fixe"]
    assert office.termin_texts() == ["Jour fixe"]


# -- texts that must not be shown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour_first", [True, False])
@pytest.mark.parametrize(
    "configuration", [{}, LAST_CHANGE_WINS], ids=["source", "last change"]
)
@pytest.mark.parametrize("texts", ["own", "inherited"])
@in_haste
async def test_an_occurrence_of_another_colour_shows_no_text_either(
    office: CalendarOffice,
    configuration: dict[str, str],
    texts: Any,
    colour_first: bool,
) -> None:
    await office.configure(**configuration)
    office.google.world.events.readings = Readings(exception_texts=texts)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    office.change_event(f"{office.copy(fr_nr)['id']}{SECOND}", colorId="5")
    if colour_first:
        await office.sync_until_calm()
    office.change_termin(fr_nr, privat=1)

    await office.sync_until_calm()

    assert all_texts(office) == {"Advoware"}


@pytest.mark.parametrize("exceptions", ["lost", "kept", "follow"])
@in_haste
async def test_an_occurrence_of_another_colour_moves_with_its_series(
    office: CalendarOffice, exceptions: Any
) -> None:
    office.google.world.events.readings = Readings(exceptions=exceptions)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    office.change_event(f"{office.copy(fr_nr)['id']}{SECOND}", colorId="5")
    await office.sync_until_calm()
    office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")

    await office.sync_until_calm()

    assert {event["start"]["dateTime"][11:16] for event in office.events("SB")} == {
        "14:00"
    }


@pytest.mark.parametrize("source", ["advoware", "google"])
@in_haste
async def test_what_changes_during_a_run_hides_no_exceptions_text(
    office: CalendarOffice, source: str
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = await _series_of(office, source)
    series = office.copy(fr_nr)["id"]
    office.change_event(f"{series}{SECOND}", summary="eigener Text")
    office.change_termin(fr_nr, privat=1)

    await office.meanwhile(
        "GET", "/Termine", lambda: office.change_event(series, colorId="5")
    )
    await office.sync_until_calm(runs=6)

    assert all_texts(office) == {"Advoware"}


@pytest.mark.parametrize("what", ["move", "text"])
@in_haste
async def test_what_changes_while_a_series_is_put_back_leaves_no_exception(
    office: CalendarOffice, what: str
) -> None:
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    changes = (
        timed("2026-02-20", "10:00", "11:00")
        if what == "move"
        else {"summary": "eigener Text"}
    )
    office.change_event(f"{series}{SECOND}", **changes)

    await office.meanwhile(
        "GET", "/Termine", lambda: office.change_event(series, colorId="5")
    )
    await office.sync_until_calm(runs=6)

    assert [event["start"]["dateTime"] for event in office.events("SB")] == [
        f"{DAY}T10:00:00+01:00"
    ]
    assert office.texts() == ["Jour fixe"]


async def _series_of(office: CalendarOffice, source: str) -> int:
    if source == "advoware":
        fr_nr = office.termin("Jour fixe", **SERIES)
        await office.sync()
        return fr_nr
    await office.sync()
    rule = ["RRULE:FREQ=WEEKLY;UNTIL=20260630T215959Z"]
    office.enter(
        "Jour fixe", description="Akte", **timed(DAY, "10:00", "11:00"), recurrence=rule
    )
    await office.sync_until_calm()
    return int(office.record("Jour fixe")["frNr"])


@pytest.mark.parametrize(
    "configuration", [MAY_WRITE, LAST_CHANGE_WINS], ids=["source", "last change"]
)
@pytest.mark.parametrize("change", ["cancelled", "moved", "rule"])
@in_haste
async def test_a_persons_series_gets_its_text_back_when_it_need_not_be_hidden_any_more(
    office: CalendarOffice, configuration: dict[str, str], change: str
) -> None:
    await office.configure(**configuration)
    fr_nr = await _series_of(office, "google")
    series = office.copy(fr_nr)["id"]
    match change:
        case "cancelled":
            office.delete_event(f"{series}{SECOND}")
        case "moved":
            office.change_event(
                f"{series}{SECOND}", **timed("2026-02-20", "10:00", "11:00")
            )
        case "rule":
            office.change_event(
                series,
                recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TH,FR;UNTIL=20260630T215959Z"],
            )
    await office.sync_until_calm()
    await office.sync(full_content=False)
    await office.sync(full_content=False)
    assert all_texts(office) == {"Advoware"}
    office.full_content = True

    await office.sync_until_calm()

    texts = {
        event.get("summary")
        for event in office.events("SB")
        if event["status"] != "cancelled"
    }
    assert texts == {"Jour fixe"}
    assert office.termin_texts() == ["Jour fixe"]


@pytest.mark.parametrize(
    "configuration", [MAY_WRITE, LAST_CHANGE_WINS], ids=["source", "last change"]
)
@in_haste
async def test_a_hidden_series_without_our_marks_never_becomes_a_text_in_advoware(
    office: CalendarOffice, configuration: dict[str, str]
) -> None:
    await office.configure(**configuration)
    fr_nr = await _series_of(office, "google")
    series = office.copy(fr_nr)["id"]
    office.delete_event(f"{series}{SECOND}")
    await office.sync_until_calm()
    office.change_termin(fr_nr, privat=1)
    await office.sync_until_calm()
    assert all_texts(office) == {"Advoware"}
    office.change_event(series, extendedProperties=None)

    await office.sync_until_calm()
    office.change_event(
        series, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TH,FR;UNTIL=20260630T215959Z"]
    )
    await office.sync_until_calm()
    office.change_event(series, recurrence=["RRULE:FREQ=WEEKLY;UNTIL=20260630T215959Z"])
    await office.sync_until_calm()

    assert office.termin_texts() == ["Jour fixe"]
    assert all_texts(office) == {"Advoware"}


# -- times ------------------------------------------------------------------------------------------------------------


@in_haste
async def test_a_termin_whose_note_is_missing_moves_all_the_same(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].notiz", "how": "missing"}]
    )
    office.change_termin(fr_nr, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")

    await office.sync()
    await office.sync()

    assert office.copy(fr_nr)["start"]["dateTime"][11:16] == "14:00"
    assert office.copy(fr_nr)["description"] == "Akte zu Verhandlung"


# -- one odd record ---------------------------------------------------------------------------------------------------


@in_haste
async def test_a_termin_that_cannot_be_read_directly_stops_no_others(
    office: CalendarOffice,
) -> None:
    first, second = office.termin("weg"), office.termin("bleibt")
    await office.sync()
    office.delete_termin(first)
    office.change_termin(second, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    office.strike("advoware", method="GET", query="frnr=", status=500)

    await office.try_sync()

    assert office.copy(second)["start"]["dateTime"][11:16] == "14:00"


# -- further inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", ["own", "inherited"])
@in_haste
async def test_outside_the_window_an_occurrence_of_another_colour_shows_no_text(
    office: CalendarOffice, texts: Any
) -> None:
    office.google.world.events.readings = Readings(exception_texts=texts)
    fr_nr = office.termin("Jour fixe", **{**SERIES, "datumBis": "2026-03-12"})
    await office.sync()
    office.change_event(f"{office.copy(fr_nr)['id']}{SECOND}", colorId="5")
    await office.sync_until_calm()
    office.now += timedelta(days=60)
    await office.sync_until_calm()

    await office.sync(full_content=False)
    await office.sync(full_content=False)

    assert all_texts(office) == {"Advoware"}


@pytest.mark.parametrize("field", ["summary", "description", "visibility"])
@in_haste
async def test_what_google_stores_otherwise_is_not_written_again_and_again(
    office: CalendarOffice, field: str
) -> None:
    to = {
        "summary": "ADVOWARE",
        "description": "Hinweis der IT",
        "visibility": "public",
    }[field]
    office.strike(
        "google",
        path="/events",
        method="POST|PUT|PATCH",
        stored=[{"field": field, "how": "value", "to": to}],
    )
    office.termin("geheim", privat=1)
    office.termin("offen")

    for _ in range(4):
        await office.sync()

    assert office.writes() == []


@in_haste
async def test_a_copy_without_row_of_a_deleted_termin_goes_without_a_failure(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("weg")
    await office.sync()
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute(
        "UPDATE calendar_sync_cursor SET sync_token = NULL, last_full_run = NULL, quiet_digest = NULL"
    )
    office.delete_termin(fr_nr)

    summary = await office.sync()

    assert (summary.errors, office.events("SB")) == ([], [])
    assert (await office.sync()).result == "no_change"
    assert await office.pairs() == []


@pytest.mark.parametrize("change", ["gone", "elsewhere"])
@in_haste
async def test_what_an_interrupted_replacement_has_left_goes_with_its_termin(
    office: CalendarOffice, change: str
) -> None:
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    office.delete_event(f"{office.copy(fr_nr)['id']}{SECOND}")
    office.strike("google", method="DELETE", status=500)
    await office.try_sync()
    office.recover()
    if change == "gone":
        office.delete_termin(fr_nr)
    else:
        office.change_termin(fr_nr, anwalt="AI")

    await office.sync_until_calm()

    assert office.events("SB") == []


@in_haste
async def test_a_termin_that_comes_back_and_goes_again_is_not_made_again(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.change_termin(fr_nr, anwalt="AI")
    await office.sync_until_calm()
    office.change_termin(fr_nr, anwalt="SB")
    assert await office.sync_interrupted("PATCH", "/events")
    office.change_termin(fr_nr, anwalt="AI")

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == ([], ["Verhandlung"])


@in_haste
async def test_private_and_reassigned_while_held_is_hidden(
    office: CalendarOffice,
) -> None:
    numbers = [office.termin(f"Termin {number}") for number in range(10)]
    await office.sync()
    for fr_nr in numbers[:8]:
        office.change_termin(fr_nr, anwalt="AI", privat=1)

    assert (await office.sync()).result == "held"
    await office.sync()

    assert office.texts() == ["Advoware"] * 8 + ["Termin 8", "Termin 9"]


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize("status", [500, 412, 403])
@in_haste
async def test_whatever_request_fails_while_a_series_is_hidden_nothing_stays(
    office: CalendarOffice, nth: int, status: int
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = await _series_of(office, "google")
    series = office.copy(fr_nr)["id"]
    office.change_event(f"{series}{SECOND}", summary="eigener Text")
    office.change_event(f"{series}{THIRD}", location="eigener Ort")
    await office.sync_until_calm()
    office.change_event(f"{series}{THIRD}", description="eigene Notiz")
    office.change_termin(fr_nr, privat=1)
    office.strike(
        "google", method="GET|PATCH|POST|DELETE", skip=nth - 1, count=1, status=status
    )
    await office.try_sync()
    office.recover()

    await office.sync_until_calm(runs=6)

    assert all_texts(office) == {"Advoware"}
    assert office.termin_texts() == ["Jour fixe"]
    assert len(await office.pairs()) == 1


@pytest.mark.parametrize("order", ["private first", "anonymous first"])
@pytest.mark.parametrize("source", ["advoware", "google"])
@in_haste
async def test_texts_come_back_only_when_every_reason_to_hide_them_is_over(
    office: CalendarOffice, source: str, order: str
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = await _series_of(office, source)
    office.change_event(
        f"{office.copy(fr_nr)['id']}{SECOND}", **timed("2026-02-20", "10:00", "11:00")
    )
    await office.sync_until_calm()
    anonymous = {**MAY_WRITE, "CALENDAR_SYNC_ANONYMIZE": "true"}
    if order == "private first":
        office.change_termin(fr_nr, privat=1)
        await office.sync_until_calm()
        await office.configure(**anonymous)
        await office.sync_until_calm()
        office.change_termin(fr_nr, privat=0)
    else:
        await office.configure(**anonymous)
        await office.sync_until_calm()
        office.change_termin(fr_nr, privat=1)
        await office.sync_until_calm()
        await office.configure(**MAY_WRITE)
    await office.sync_until_calm()
    assert all_texts(office) == {"Advoware"}
    office.change_termin(fr_nr, privat=0)
    await office.configure(**MAY_WRITE)

    await office.sync_until_calm()

    assert {event.get("summary") for event in office.events("SB")} == {"Jour fixe"}
    assert office.termin_texts() == ["Jour fixe"]


@in_haste
async def test_a_private_event_of_a_person_survives_anonymous_times(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    await office.sync()
    office.enter("Arzt", description="Dr. X", visibility="private")
    await office.sync_until_calm()
    await office.sync(full_content=False)
    await office.sync(full_content=False)
    assert all_texts(office) == {"Advoware"}
    office.full_content = True

    await office.sync_until_calm()

    [event] = office.events("SB")
    assert (event["summary"], event["description"], event["visibility"]) == (
        "Arzt",
        "Dr. X",
        "private",
    )


@pytest.mark.parametrize(
    "configuration", [MAY_WRITE, LAST_CHANGE_WINS], ids=["source", "last change"]
)
@in_haste
async def test_an_event_that_moves_between_two_employees_is_one_appointment(
    office: CalendarOffice, configuration: dict[str, str]
) -> None:
    await office.configure(**configuration)
    await office.sync("SB")
    await office.sync("AI")
    event_id = office.enter("Besprechung")
    await office.sync_until_calm()
    here, there = office.calendar("SB"), office.calendar("AI")
    assert here is not None
    assert there is not None
    events = office.google.world.events
    events.move("person@example.org", here, events.get(here, event_id), there)

    for _ in range(3):
        await office.sync("AI")
        await office.sync("SB")

    assert office.texts("AI") == ["Besprechung"]
    assert [(record["text"], record["anwalt"]) for record in office.termine()] == [
        ("Besprechung", "AI")
    ]
    assert office.texts("SB") == []


@in_haste
async def test_lost_rows_of_the_database_cost_nothing_and_double_nothing(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    office.termin("einzeln")
    office.termin("Jour fixe", **SERIES)
    await office.sync()
    office.enter("von Hand")
    await office.sync_until_calm()
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute("DELETE FROM calendar_sync_cursor")

    await office.sync_until_calm()

    assert (
        office.texts() == office.termin_texts() == ["Jour fixe", "einzeln", "von Hand"]
    )


@pytest.mark.parametrize(
    "settings", [MAY_WRITE, LAST_CHANGE_WINS], ids=["source", "last"]
)
@pytest.mark.parametrize(
    "edit",
    [{"text": "Ortstermin"}, {"uhrzeitVon": "08:00:00"}, {"datumBis": "2026-05-29"}],
    ids=["text", "time", "end"],
)
@pytest.mark.parametrize(
    ("occurrence", "kept"),
    [
        ({"colorId": "5"}, '"colorId": "5"'),
        ({"summary": "Rückfrage"}, "Rückfrage"),
        ({"status": "cancelled"}, ""),
    ],
    ids=["colour", "title", "deleted"],
)
@in_haste
async def test_a_series_without_row_shows_its_termin_whatever_became_of_an_occurrence(
    office: CalendarOffice, settings: Any, edit: Any, occurrence: Any, kept: str
) -> None:
    await office.configure(**settings)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.change_event(f"{event_id}{THIRD}", **occurrence)
    office.change_termin(fr_nr, **edit)
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute("DELETE FROM calendar_sync_cursor")

    await office.sync_until_calm()

    (shown,) = office.events("SB")
    assert content_hash(google_to_event(shown)) == content_hash(
        read_termin(office.termine()[0]).event
    )
    assert kept in await everything(office)
    assert (await office.pair()).error is None


@pytest.mark.parametrize(
    ("settings", "title"),
    [(MAY_WRITE, "Jour fixe"), (LAST_CHANGE_WINS, "Ortstermin")],
    ids=["source", "last"],
)
@in_haste
async def test_what_is_typed_into_a_series_without_row_is_kept_or_arrives(
    office: CalendarOffice, settings: Any, title: str
) -> None:
    await office.configure(**settings)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    office.change_event(event_id, summary="Ortstermin")
    office.change_event(f"{event_id}{THIRD}", colorId="5")
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute("DELETE FROM calendar_sync_cursor")

    await office.sync_until_calm()

    assert office.termin_texts() == [title]
    assert set(office.texts()) == {title}
    assert "Ortstermin" in await everything(office)


@in_haste
async def test_one_odd_record_leaves_the_quiet_run_quiet(
    office: CalendarOffice,
) -> None:
    office.termin("Verhandlung")
    office.termin("Besprechung")
    await office.sync()
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].notiz", "how": "missing"}]
    )
    await office.sync_until_calm()

    await office.sync()

    assert len(office.calls()) == 2


@in_haste
async def test_a_text_that_google_did_not_take_away_is_hidden_within_a_day(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("geheim")
    await office.sync()
    office.strike(
        "google",
        path="/events",
        method="PATCH",
        stored=[{"field": "location", "how": "ignore"}],
    )
    office.change_termin(fr_nr, privat=1)
    await office.sync_until_calm()
    office.recover()
    office.now += timedelta(hours=25)

    await office.sync_until_calm()

    assert all_texts(office) == {"Advoware"}


@in_haste
async def test_held_copies_without_a_row_are_hidden(office: CalendarOffice) -> None:
    numbers = [office.termin(f"Termin {number}") for number in range(8)]
    await office.sync()
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute(
        "UPDATE calendar_sync_cursor SET sync_token = NULL, last_full_run = NULL, quiet_digest = NULL"
    )
    for fr_nr in numbers:
        office.delete_termin(fr_nr)

    assert (await office.sync(full_content=False)).result == "held"

    assert office.texts() == ["Advoware"] * 8
    hidden = {line["google_event_id"] for line in await office.audit("hidden")}
    assert hidden == {office.copy(fr_nr)["id"] for fr_nr in numbers}


@pytest.mark.parametrize("exceptions", ["lost", "kept", "follow"])
@in_haste
async def test_a_series_gets_its_rule_back_and_leaves_no_occurrence_behind(
    office: CalendarOffice, exceptions: Any
) -> None:
    office.google.world.events.readings = Readings(exceptions=exceptions)
    fr_nr = office.termin("Jour fixe", **SERIES)
    await office.sync()
    series = office.copy(fr_nr)["id"]
    office.change_event(
        series, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TH,FR;UNTIL=20260630T215959Z"]
    )
    office.change_event(f"{series}_20260220T090000Z", colorId="5")

    await office.sync_until_calm()

    [event] = office.events("SB")
    assert "BYDAY=TH;" in event["recurrence"][0]


@pytest.mark.parametrize("source", ["advoware", "google"])
@pytest.mark.parametrize(
    "configuration", [MAY_WRITE, LAST_CHANGE_WINS], ids=["source", "last change"]
)
@pytest.mark.parametrize("nth", range(1, 6))
@in_haste
async def test_whatever_request_fails_while_a_series_is_replaced_it_is_there_once(
    office: CalendarOffice, source: str, configuration: dict[str, str], nth: int
) -> None:
    await office.configure(**configuration)
    fr_nr = await _series_of(office, source)
    office.change_event(
        f"{office.copy(fr_nr)['id']}{SECOND}", **timed("2026-02-20", "10:00", "11:00")
    )
    office.now += timedelta(minutes=5)
    office.change_termin(fr_nr, ort="Celle")
    office.strike(
        "google",
        path="/events/?",
        method="PATCH|POST|DELETE",
        skip=nth - 1,
        count=1,
        status=500,
        when="after",
    )
    await office.try_sync()
    office.recover()

    await office.sync_until_calm(runs=6)

    assert office.termin_texts() == ["Jour fixe"]
    assert {event["summary"] for event in office.events("SB")} == {"Jour fixe"}
    assert (
        len([event for event in office.events("SB") if "recurringEventId" not in event])
        == 1
    )


@in_haste
async def test_a_note_that_cannot_be_read_hides_nothing_longer_than_it_must(
    office: CalendarOffice,
) -> None:
    fr_nr = office.termin("Verhandlung", privat=1)
    await office.sync()
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].notiz", "how": "missing"}]
    )
    await office.sync_until_calm()
    assert all_texts(office) == {"Advoware"}
    office.change_termin(fr_nr, privat=0, uhrzeitVon="14:00:00", uhrzeitBis="15:00:00")
    await office.sync_until_calm()
    assert office.copy(fr_nr)["start"]["dateTime"][11:16] == "14:00"
    office.recover()

    await office.sync_until_calm()

    assert all_texts(office) == {"Verhandlung", "Akte zu Verhandlung", "Hannover"}


@in_haste
async def test_an_edit_of_a_person_is_not_lost_while_a_note_cannot_be_read(
    office: CalendarOffice,
) -> None:
    await office.configure(**LAST_CHANGE_WINS)
    fr_nr = office.termin("Verhandlung")
    await office.sync()
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].notiz", "how": "missing"}]
    )
    await office.sync_until_calm()
    office.now += timedelta(minutes=5)
    office.change_event(office.copy(fr_nr)["id"], summary="Verhandlung (Saal 3)")
    await office.sync_until_calm()
    office.recover()

    await office.sync_until_calm()

    assert office.termin_texts() == office.texts() == ["Verhandlung (Saal 3)"]


@pytest.mark.parametrize("visibility", ["default", "private"])
@pytest.mark.parametrize("change", ["colour", "moved"])
@in_haste
async def test_a_persons_series_is_hidden_and_shown_as_a_whole_and_stays_his(
    office: CalendarOffice, change: str, visibility: str
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = await _series_of(office, "google")
    series = office.copy(fr_nr)["id"]
    office.change_event(series, visibility=visibility)
    changes = (
        {"colorId": "5"}
        if change == "colour"
        else timed("2026-02-20", "10:00", "11:00")
    )
    office.change_event(f"{series}{SECOND}", **changes)
    await office.sync_until_calm()
    await office.sync(full_content=False)
    await office.sync(full_content=False)
    assert all_texts(office) == {"Advoware"}
    office.full_content = True

    await office.sync_until_calm()

    shown = office.copies(fr_nr)
    assert {event["summary"] for event in shown} == {"Jour fixe"}
    assert series in {event["id"] for event in shown}
    assert {event.get("visibility", "default") for event in shown} == {visibility}


@in_haste
async def test_a_copy_without_a_row_that_a_user_brings_back_is_his(
    office: CalendarOffice,
) -> None:
    await office.configure(**MAY_WRITE)
    fr_nr = office.termin("weg")
    await office.sync()
    event_id = office.copy(fr_nr)["id"]
    pool = await office.resources.database()
    await pool.execute("DELETE FROM calendar_sync")
    await pool.execute(
        "UPDATE calendar_sync_cursor SET sync_token = NULL, last_full_run = NULL, quiet_digest = NULL"
    )
    office.delete_termin(fr_nr)
    await office.sync_until_calm()
    calendar = office.calendar("SB")
    assert calendar is not None
    office.google.world.people.restore("person@example.org", calendar, event_id)

    await office.sync_until_calm()

    assert office.texts() == office.termin_texts() == ["weg"]
