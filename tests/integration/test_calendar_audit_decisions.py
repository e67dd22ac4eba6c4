"""What an operator decides with `bitbylaw audit`: old events go, held work is released, what was undone comes back."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from audit_office import SECRET, AuditOffice, timed
from operator_desk import command

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.google.app import GoogleTwin
from services.calendar_sync.mapping import google_body
from services.calendar_sync.model import Pair
from services.calendar_sync.run import CalendarSync
from services.calendar_sync.store import Hold, Overwritten
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.core.locks import record_lock
from services.core.operation.operator_actions import latest_actions
from services.values.advoware_protocol import BERLIN

TODAY = datetime.now(BERLIN).date()
NOW = datetime.now(UTC)
OLD = -100
Json = dict[str, Any]


@pytest.fixture
async def office(
    advoware: AdvowareTwin, make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[AuditOffice]:
    async with running(google := GoogleTwin(empty=True, quota_per_minute=None)):
        opened = await AuditOffice.open(advoware, google, make_settings, tmp_path)
        yield opened
        await opened.close()


async def purge(office: AuditOffice, *more: str, days: int = 90) -> Any:
    return await office.audit(
        "purge-old", "--older-than", str(days), "--kuerzel", "SB", *more
    )


# -- purge-old --------------------------------------------------------------------------------------------------------


async def test_old_events_of_the_sync_go_and_nothing_else(office: AuditOffice) -> None:
    old = [await office.synced(OLD), await office.synced(OLD - 500, abwesenheit=1)]
    kept = [await office.synced(day) for day in (-90, -30, 1, 800)]
    frnr, sync_id = office.termin(OLD), uuid4()
    own = await office.insert(frnr, "person1", sync_id=sync_id)
    kept.append(
        await office.remember(
            frnr, own, sync_id=sync_id, source_system="google", **office.days(frnr)
        )
    )
    by_person = await office.person_inserts(
        "person2", timed(TODAY + timedelta(days=OLD), "Zahnarzt")
    )
    frnr, sync_id = office.termin(OLD), uuid4()
    body = {
        **timed(TODAY + timedelta(days=OLD), "x"),
        **google_body(office.content(frnr), frnr, sync_id),
    }
    adopted = await office.person_inserts("person3", body)
    kept.append(
        await office.remember(frnr, adopted, sync_id=sync_id, **office.days(frnr))
    )
    termine = office.advoware.termine.all()
    office.forget_calls()

    dry = await purge(office)

    going = {pair.google_event_id for pair in old}
    assert dry.exit_code == 1
    assert dry.findings() == {("old_event", event) for event in going}
    assert {entry["result"] for entry in dry.document["changes"]} == {
        "would be deleted"
    }
    assert office.writes() == []

    applied = await purge(office, "--apply")

    assert (applied.exit_code, applied.removed(), applied.findings()) == (
        0,
        going,
        set(),
    )
    assert await office.events() == {
        *(pair.google_event_id for pair in kept),
        by_person,
    }
    assert office.advoware.termine.all() == termine
    assert {pair.sync_id for pair in await (await office.store()).load_pairs("SB")} == {
        p.sync_id for p in kept
    }
    for pair in old:
        assert await office.actions(pair.sync_id) == [
            ("created", "google"),
            ("deleted", "google"),
            ("deleted", "none"),
        ]

    again = await purge(office, "--apply")
    assert (again.exit_code, again.document["changes"]) == (0, [])
    (action,) = await latest_actions(await office.resources.database())
    assert (action.action, action.target, action.result) == ("purge-old", "SB", "done")
    assert (action.details["count"], set(action.details["ids"])) == (2, going)
    await CalendarSync(resources=office.resources).sync_employee("SB")
    assert going.isdisjoint(await office.events())
    assert office.advoware.termine.all() == termine


async def test_a_series_is_old_when_its_last_occurrence_is(office: AuditOffice) -> None:
    series = {"dauertermin": 1, "turnus": 1, "turnusArt": 2}
    over = await office.synced(
        OLD - 200, datumBis=(TODAY + timedelta(days=OLD)).isoformat(), **series
    )
    await office.synced(
        OLD - 200, datumBis=(TODAY - timedelta(days=10)).isoformat(), **series
    )
    await office.synced(OLD - 200, datumBis="2037-12-31", **series)
    moved = await office.synced(
        OLD - 200, datumBis=(TODAY + timedelta(days=OLD)).isoformat(), **series
    )
    second = datetime.combine(
        TODAY + timedelta(days=OLD - 193), datetime.min.time().replace(hour=10), BERLIN
    )
    occurrence = f"{moved.google_event_id}_{second.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    await office.person_changes(
        occurrence, **timed(TODAY + timedelta(days=20), "verlegt")
    )

    assert (await purge(office)).findings() == {("old_event", over.google_event_id)}


async def test_an_event_that_a_person_has_moved_to_a_later_day_is_not_old(
    office: AuditOffice,
) -> None:
    pair = await office.synced(OLD)
    await office.person_changes(
        pair.google_event_id or "", **timed(TODAY + timedelta(days=3), "verlegt")
    )

    assert (await purge(office)).exit_code == 0


@pytest.mark.parametrize("days", [1, 7])
async def test_what_the_sync_would_make_again_is_not_purged(
    office: AuditOffice, days: int
) -> None:
    await office.synced(-6)

    answer = await purge(office, "--apply", days=days)

    assert (answer.exit_code, answer.document["status"]) == (2, "error")
    assert "CALENDAR_SYNC_DAYS_BACK" in answer.document["errors"][0]["message"]
    assert len(await office.events()) == 1


async def test_more_than_the_guard_believes_goes_only_if_a_user_says_how_many(
    office: AuditOffice,
) -> None:
    for _ in range(6):
        await office.synced(OLD)

    refused = await purge(office, "--apply")
    assert (refused.exit_code, len(await office.events())) == (2, 6)
    assert "--max-deletions 6" in refused.document["errors"][0]["message"]

    allowed = await purge(office, "--apply", "--max-deletions", "6")
    assert (allowed.exit_code, await office.events()) == (0, set())


async def test_a_purge_waits_for_a_running_sync_and_needs_no_termine(
    office: AuditOffice,
) -> None:
    await office.synced(OLD)
    await office.strike(office.advoware, path="/Termine", status=503)
    redis = office.resources.calendar_redis
    async with record_lock(office.resources, "calendar_sync:lock:SB", 30, redis=redis):
        assert (await purge(office, "--apply")).exit_code == 2

    assert (await purge(office, "--apply")).exit_code == 0
    assert await office.events() == set()


@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
async def test_a_purge_that_was_interrupted_is_finished_by_the_next_and_costs_no_termin(
    office: AuditOffice, strategy: Any
) -> None:
    """The event is gone, its row is not yet; a sync comes in between, which may write to Advoware."""
    pair = await office.synced(OLD)
    frnr = pair.advoware_frnr or 0
    await remember_as(office, pair, strategy)
    pool = await office.resources.database()
    await pool.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON calendar_sync
        FOR EACH ROW WHEN (NEW.deleted) EXECUTE FUNCTION refuse();
    """)
    interrupted = await purge(office, "--apply")
    await pool.execute("DROP TRIGGER refuse ON calendar_sync")
    assert (interrupted.exit_code, await office.events()) == (2, set())
    (left,) = await (await office.store()).load_pairs("SB")
    assert left.sync_strategy == "source_system_wins"

    await CalendarSync(resources=office.resources).sync_employee("SB")
    finished = await purge(office, "--apply")

    assert finished.exit_code == 0
    assert await office.events() == set()
    assert [
        pair.google_event_id for pair in await (await office.store()).load_pairs("SB")
    ] == [None]  # unlinked
    assert [record["frNr"] for record in office.advoware.termine.all()] == [frnr]


async def remember_as(office: AuditOffice, pair: Pair, strategy: Any) -> None:
    """The row as under another strategy, with the permission to write to Advoware."""
    frnr, more = (
        pair.advoware_frnr or 0,
        {"sync_strategy": strategy, "advoware_write_allowed": True},
    )
    await office.remember(
        frnr, pair.google_event_id, sync_id=pair.sync_id, **office.days(frnr), **more
    )


async def test_an_old_event_that_a_user_changes_in_the_last_moment_stays(
    office: AuditOffice,
) -> None:
    pair = await office.synced(OLD)
    await office.strike(
        office.google, method="DELETE", path="/events/", status=412, count=1
    )

    answer = await purge(office, "--apply")

    assert (answer.exit_code, answer.document["changes"][0]["result"]) == (
        1,
        "was changed in the meantime",
    )
    assert await office.events() == {pair.google_event_id}
    assert len(await (await office.store()).load_pairs("SB")) == 1


# -- release-held -----------------------------------------------------------------------------------------------------


async def held(office: AuditOffice, kuerzel: str = "SB") -> None:
    hold = Hold(
        employee_kuerzel=kuerzel,
        reason="too_many",
        number=12,
        live_pairs=40,
        held_since=NOW,
    )
    await (await office.store()).save_hold(hold)


async def test_held_work_is_shown_and_released_once(office: AuditOffice) -> None:
    await held(office)
    await held(office, "AI")

    shown = await office.audit("release-held")
    assert (shown.exit_code, len(shown.document["findings"])) == (1, 2)
    assert {row["released_at"] for row in shown.document["holds"]} == {None}
    assert {hold.released_at for hold in await (await office.store()).holds()} == {None}

    released = await office.audit("release-held", "--kuerzel", "sb", "--apply")
    assert (released.exit_code, released.findings()) == (0, set())
    assert [
        (entry["done"], entry["result"]) for entry in released.document["changes"]
    ] == [(True, "released; the next run applies it")]
    holds = {
        hold.employee_kuerzel: hold.released_at
        for hold in await (await office.store()).holds()
    }
    assert holds["AI"] is None
    assert holds["SB"] is not None

    again = await office.audit("release-held", "--kuerzel", "SB", "--apply")
    assert (again.exit_code, again.document["changes"]) == (0, [])
    assert again.document["holds"][0]["released_at"] == holds["SB"].isoformat()
    rows = await (await office.resources.database()).fetch(
        "SELECT action, side, reason FROM calendar_sync_audit"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("released", "none", "audit, release-held: too_many: 12 of 40")
    ]
    (action,) = await latest_actions(await office.resources.database())
    assert (action.who, action.action, action.target, action.result) == (
        f"cli:{getpass.getuser()}",
        "release",
        "SB",
        "done",
    )
    assert action.details == {"ids": ["SB"], "count": 12}
    assert action.at >= NOW


async def test_where_nothing_is_held_nothing_is_released(office: AuditOffice) -> None:
    answer = await office.audit("release-held", "--apply")
    assert (answer.exit_code, answer.document["holds"], answer.document["changes"]) == (
        0,
        [],
        [],
    )
    assert (
        await office.audit("release-held", "--kuerzel", "QQ", "--apply")
    ).exit_code == 2


# -- overwritten ------------------------------------------------------------------------------------------------------


async def overwrite(
    office: AuditOffice, *, at: datetime = NOW, frnr: int | None = None, **fields: Any
) -> int:
    """The sync has undone what a person did to a copy; the number under which that is kept."""
    frnr = office.termin() if frnr is None else frnr
    store = await office.store()
    changed = {
        **timed(TODAY + timedelta(days=5), f"{SECRET} verlegt"),
        "description": "mitbringen: Akte",
    }
    marks = {
        "private": {
            "advoware_frnr": str(frnr),
            "sync_id": str(uuid4()),
            "advoware_anonymised": "0",
        }
    }
    resource = {
        "id": "abc01",
        "etag": '"1"',
        "status": "confirmed",
        "extendedProperties": marks,
        **changed,
        **fields,
    }
    event = Overwritten(
        employee_kuerzel="SB",
        sync_id=uuid4(),
        google_event_id="abc01",
        advoware_frnr=frnr,
        resource=resource,
    )
    await store.keep_overwritten(event, at)
    return (await store.overwritten(at))[-1].overwritten_id or 0


async def test_what_was_overwritten_is_listed_without_texts_unless_asked_for(
    office: AuditOffice,
) -> None:
    await overwrite(office, at=NOW - timedelta(days=31))
    number = await overwrite(office)

    answer = await office.audit("overwritten")
    shown = await office.audit("overwritten", "--show-text", "--kuerzel", "SB")

    (row,) = answer.document["overwritten"]
    assert (answer.exit_code, row["overwritten_id"], row["google_event_id"]) == (
        0,
        number,
        "abc01",
    )
    assert row["start"].startswith((TODAY + timedelta(days=5)).isoformat())
    assert SECRET not in answer.stdout
    assert shown.document["overwritten"][0]["summary"] == f"{SECRET} verlegt"
    assert (await office.audit("overwritten", "--kuerzel", "AI")).document[
        "overwritten"
    ] == []
    assert SECRET not in (await office.audit("overwritten", as_json=False)).stdout
    assert (
        SECRET
        in (await office.audit("overwritten", "--show-text", as_json=False)).stdout
    )


async def test_an_overwritten_event_comes_back_once_as_that_of_a_person(
    office: AuditOffice,
) -> None:
    number = await overwrite(
        office, colorId="5", attendees=[{"email": "mandant@example.de"}]
    )
    office.forget_calls()

    dry = await office.audit("restore-overwritten", str(number))
    assert (dry.exit_code, dry.document["changes"][0]["result"]) == (
        0,
        "would be brought back",
    )
    assert (office.writes(), await office.events()) == ([], set())

    applied = await office.audit("restore-overwritten", str(number), "--apply")

    assert (applied.exit_code, applied.document["changes"][0]["done"]) == (0, True)
    (event_id,) = await office.events()
    event = await office.api.get_event(office.calendars["SB"], event_id)
    assert (event["summary"], event["description"], event["colorId"]) == (
        f"{SECRET} verlegt",
        "mitbringen: Akte",
        "5",
    )
    assert "extendedProperties" not in event
    assert "attendees" not in event
    assert SECRET not in applied.stdout
    (kept,) = (await office.audit("overwritten")).document["overwritten"]
    assert kept["restored_at"] is not None

    again = await office.audit("restore-overwritten", str(number), "--apply")
    assert again.document["changes"][0]["result"].startswith("was brought back already")
    assert await office.events() == {event_id}


async def test_a_row_of_the_audit_is_undone_by_what_it_has_overwritten(
    office: AuditOffice,
) -> None:
    number = await overwrite(office)
    pool = await office.resources.database()
    audit_id = await pool.fetchval(
        """
        INSERT INTO calendar_sync_audit (at, employee_kuerzel, sync_id, side, action, reason)
        SELECT at, employee_kuerzel, sync_id, 'google', 'updated', 'source_system_wins'
        FROM calendar_sync_overwritten WHERE overwritten_id = $1 RETURNING audit_id
        """,
        number,
    )
    arguments = ("undo", str(audit_id), "--calendar")

    dry = await command(office.resources, *arguments, **office.environment())
    assert (dry[0], dry[1].strip()) == (0, "would be brought back")
    assert await office.events() == set()
    done = await command(
        office.resources, *arguments, "--apply", **office.environment()
    )

    assert "brought back as" in done[1]
    assert SECRET not in done[1]
    assert len(await office.events()) == 1
    unknown = await command(
        office.resources, "undo", "4711", "--calendar", **office.environment()
    )
    assert unknown[0] == 1


async def test_a_restore_that_was_interrupted_does_not_double_the_event(
    office: AuditOffice,
) -> None:
    number = await overwrite(office)
    await office.audit("restore-overwritten", str(number), "--apply")
    await (await office.resources.database()).execute(
        "UPDATE calendar_sync_overwritten SET restored_at = NULL"
    )

    again = await office.audit("restore-overwritten", str(number), "--apply")

    assert (again.exit_code, len(await office.events())) == (0, 1)
    assert (await (await office.store()).overwritten(NOW))[0].restored_at is not None


@pytest.mark.parametrize("why", ["private", "elsewhere", "firm", "asked"])
async def test_a_text_that_must_not_be_shown_by_now_does_not_come_back(
    office: AuditOffice, why: str
) -> None:
    frnr = office.termin()
    number = await overwrite(office, frnr=frnr)
    variables = {"CALENDAR_SYNC_ANONYMIZE": "true"} if why == "firm" else {}
    if why == "private":
        office.advoware.termine.edit(frnr, {"privat": 1})
    elif why == "elsewhere":
        office.advoware.termine.edit(frnr, {"anwalt": "AI"})
    elif why == "asked":
        await Notes(await office.resources.database()).leave(
            calendar("SB"), frozenset({HIDE}), NOW
        )

    answer = await office.audit(
        "restore-overwritten", str(number), "--apply", variables=variables
    )

    assert (answer.exit_code, await office.events()) == (2, set())
    assert "must not be shown" in answer.document["errors"][0]["message"]


async def test_what_cannot_be_brought_back_says_why(office: AuditOffice) -> None:
    without_time = await overwrite(office, start=None, end=None)
    outdated = await overwrite(office, at=NOW - timedelta(days=31))

    assert "no time" in str(
        (await office.audit("restore-overwritten", str(without_time))).document[
            "errors"
        ]
    )
    for number in (outdated, 4711):
        answer = await office.audit("restore-overwritten", str(number), "--apply")
        assert (answer.exit_code, answer.findings()) == (1, {("unknown", None)})
    assert await office.events() == set()
