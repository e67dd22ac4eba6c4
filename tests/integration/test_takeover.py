"""The evening of the switch, on every generation of what the old system leaves."""
# ruff: noqa: S608, F811 - an administrator's statements; the fixture is imported

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from takeover_office import KUERZEL, REQUESTS, TakeoverOffice, office, requested  # noqa: F401 - fixture

from sandbox.old_firm.generations import GENERATIONS
from services.core.errors import DatabaseUnusable, InvalidInput
from services.takeover.report import Report
from services.takeover.run import Takeover

WITH_TABLE = [name for name in GENERATIONS if GENERATIONS[name].table]
#: So many appointments hold each fault once.
ALL_FAULTS = 300


def announced(report: Report) -> Counter[str]:
    """The requests to which the announced writes come."""
    return Counter(REQUESTS[item.action] for item in report.announced)


def kinds(report: Report) -> Counter[str]:
    """How often each kind of finding came."""
    return Counter(finding.kind for finding in report.findings)


async def everything(office: TakeoverOffice) -> dict[str, Any]:
    """All tables with their columns, indexes and rows."""
    found: dict[str, Any] = {}
    for table in await office.fetch(
        "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    ):
        name = table["name"]
        found[name] = {
            "columns": await office.fetch(
                f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{name}' ORDER BY 1"
            ),
            "indexes": await office.fetch(
                f"SELECT indexdef FROM pg_indexes WHERE tablename = '{name}' ORDER BY 1"
            ),
            "rows": await office.fetch(f"SELECT t::text FROM {name} AS t ORDER BY 1"),
        }
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

    await office.sync_calendars()
    assert requested(office) == announced(run)
    assert office.termine() == termine  # Advoware is not written at all
    shown = Counter(title for name in KUERZEL for title in office.events(name))
    shown -= _left_by_the_old_system(office, generation)
    assert shown == Counter(_titles(office)) + Counter(office.born_in_google())

    office.forget_calls()
    summaries = await office.sync_calendars()
    assert office.writes() == []
    assert [summary.errors for summary in summaries] == [[], []]


def _titles(office: TakeoverOffice) -> list[str]:
    """What the calendars are to show of the Termine."""
    titles: list[str] = []
    for record in office.advoware.termine.all():
        titles.append("Advoware" if record["privat"] else record["text"])
    return titles


def _left_by_the_old_system(office: TakeoverOffice, generation: str) -> Counter[str]:
    """Second events that the old system has left: they are reported, and stay."""
    counted = Counter(
        event["summary"] for _, number, event in office.made.events if number
    )
    left = Counter({title: number - 1 for title, number in counted.items()})
    if generation in {"none", "unmarked"}:
        # Without a row nothing says that an event in another's calendar is this Termin's.
        left[office.title_with("event_elsewhere")] += 1
        left[office.title_with("termin_deleted")] += 1
    if generation == "none":
        left[f"{office.title_with('event_changed')} (verlegt)"] += 1
    return +left


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


ODD_ROWS = {
    "an employee in small letters": ("' sb '", "{frnr}", "'{event}'", 1),
    "a number with a decimal point": ("'SB'", "'{frnr}.0'", "'{event}'", 1),
    "a number that is none": ("'SB'", "'siehe Akte'", "'{event}'", 1),
    "a negative number": ("'SB'", "'-5'", "NULL", 0),
    "a number beyond all": ("'SB'", "'99999999999999999999'", "'{event}'", 1),
    "no employee": ("NULL", "'{frnr}'", "'{event}'", 1),
    "an empty employee": ("'  '", "'{frnr}'", "'{event}'", 1),
    "neither Termin nor event": ("'SB'", "NULL", "''", 0),
    "no event": ("'SB'", "'{frnr}'", "NULL", 1),
    "no Termin": ("'SB'", "NULL", "'{event}'", 1),
    "an event that never was": ("'SB'", "'{frnr}'", "'nowhere'", 1),
}


@pytest.mark.parametrize("oddity", ODD_ROWS)
async def test_an_odd_row_neither_doubles_nor_loses_its_appointment(
    office: TakeoverOffice, oddity: str
) -> None:
    kuerzel, number, event, _ = ODD_ROWS[oddity]
    await office.leave("text", termine=4, with_faults=False)
    (odd,) = await office.fetch(
        "SELECT * FROM calendar_sync WHERE employee_kuerzel = 'SB' ORDER BY 3 LIMIT 1"
    )
    values = {"frnr": odd["advoware_frnr"], "event": odd["google_event_id"]}
    await office.sql(
        f"UPDATE calendar_sync SET employee_kuerzel = {kuerzel}, advoware_frnr = {number.format(**values)}, "
        f"google_event_id = {event.format(**values)} WHERE sync_id = '{odd['sync_id']}'"
    )

    report = await office.takeover("run")
    await office.sync_calendars()

    assert report.problems == []
    assert requested(office) == announced(report)
    titles = [title for name in KUERZEL for title in office.events(name)]
    assert sorted(titles) == office.termine()


ODD_VALUES = {
    "no strategy": "sync_strategy = NULL",
    "an unknown strategy": "sync_strategy = 'newest'",
    "an unknown source": "source_system = 'outlook'",
    "no source": "source_system = NULL",
    "an unknown permission": "advoware_write_allowed = 'vielleicht'",
    "an unknown status": "sync_status = 'kaputt'",
    "never synced": "last_sync = NULL",
    "synced at the end of time": "last_sync = 'infinity'",
    "all rows with one id": "sync_id = '00000000-0000-4000-8000-000000000000'",
    "ids that are none": "sync_id = 'row ' || google_event_id",
    "no ids": "sync_id = NULL",
}


@pytest.mark.parametrize("oddity", ODD_VALUES)
async def test_odd_values_of_all_rows_take_nothing_from_the_pairs(
    office: TakeoverOffice, oddity: str
) -> None:
    await office.leave("text", termine=6, with_faults=False)
    await office.sql(f"UPDATE calendar_sync SET {ODD_VALUES[oddity]}")

    report = await office.takeover("run")
    await office.sync_calendars()

    assert report.problems == []
    assert set(requested(office)) <= {"PATCH calendars"}
    assert requested(office) == announced(report)
    rows = await office.fetch(
        "SELECT advoware_frnr, google_event_id FROM calendar_sync"
    )
    assert len(rows) == 6


async def test_two_calendars_of_one_name_the_one_with_the_events_is_used(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=4, with_faults=False)
    account = str(office.google.service_account()["client_email"])
    calendars = office.google.world.calendars
    for _ in range(3):
        calendars.insert(account, {"summary": "AW-SB", "timeZone": "Europe/Berlin"})

    report = await office.takeover("run")
    await office.sync_calendars()

    assert kinds(report) == {"duplicate_calendar": 3}
    assert requested(office) == announced(report)


# -- interrupted, undone, refused -----------------------------------------------------------------------------------


class Interrupted(Exception):
    """Somebody pulls the plug."""


async def test_interrupted_after_each_unit_and_run_again_the_result_is_the_same(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=30, beteiligte=3)
    units = 0

    def count(what: str, done: int, total: int) -> None:
        nonlocal units
        units += 1

    async with office.opened(as_it_is=True) as resources:
        whole = await Takeover(resources, progress=count).run()
    expected = await _remembered(office)
    assert units > 10

    for after in range(1, units + 1):
        await office.takeover("undo")
        seen = 0

        def pull(what: str, done: int, total: int, after: int = after) -> None:
            nonlocal seen
            seen += 1
            if seen == after:
                raise Interrupted

        async with office.opened(as_it_is=True) as resources:
            with pytest.raises((Interrupted, InvalidInput)):
                await Takeover(resources, progress=pull).run()
        again = await office.takeover("run")

        assert await _remembered(office) == expected, after
        assert (again.announced, again.findings) == (whole.announced, whole.findings)
        assert again.differences == whole.differences
    assert office.writes() == []


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
    assert len(await office.fetch("SELECT FROM calendar_sync_v0")) == len(
        before["calendar_sync"]["rows"]
    )
    await office.takeover("undo")

    assert await everything(office) == before


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
    office.variables = {"GOOGLE_CALENDAR_API_ENDPOINT": "http://127.0.0.1:9"}

    report = await office.takeover("run")

    assert report.exit_code == 2
    assert await everything(office) == before


async def test_check_writes_nothing_anywhere(office: TakeoverOffice) -> None:
    await office.leave("serial", termine=50, beteiligte=5)
    before = await everything(office)

    await office.takeover("check")

    assert await everything(office) == before
    assert office.writes() == []


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

    def pull(what: str, done: int, total: int) -> None:
        if what == "table":
            raise Interrupted

    async with office.opened(as_it_is=True) as resources:
        with pytest.raises(Interrupted):
            await Takeover(resources, progress=pull).run()

    with pytest.raises(DatabaseUnusable, match="Run again: bitbylaw takeover run"):
        async with office.opened() as resources:
            await resources.database()
    await office.takeover("run")
    async with office.opened() as resources:
        await resources.database()
