"""Whether the old system still runs, what a start says about it, and the command line."""
# ruff: noqa: S608, F811 - an administrator's statements; the fixture is imported

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import typer
from takeover_office import (  # noqa: F401 - fixtures
    TakeoverOffice,
    database,
    office,
)

from cli.main import app
from config import load_settings
from services.core.errors import DatabaseUnusable
from services.takeover.signs import diagnose_old_system, notices_at_start
from services.takeover.variables import odd_settings


async def test_without_the_old_system_there_is_no_sign(office: TakeoverOffice) -> None:
    async with office.opened() as resources:
        await resources.database()
        await resources.redis.set("sync_lock:cbeteiligte:1", "own", ex=60)
        await resources.redis.set("vmh.beteiligte.create:waiting:1", "1", ex=60)

    (check,) = await diagnose_old_system(office.settings())

    assert check.status == "ok"
    assert await notices_at_start(office.settings()) == []


async def test_a_fresh_lock_without_ttl_is_a_sign_and_the_takeover_removes_it(
    office: TakeoverOffice,
) -> None:
    keys = (
        "sync_lock:cbeteiligte:1",
        "vmh:beteiligte:waiting:2",
        "calendar_sync:lock:SB",
    )
    async with office.opened() as resources:
        await resources.database()
        await resources.redis.set(keys[0], "1")
        await resources.redis.set(keys[1], "1")
        await resources.calendar_redis.set(keys[2], "1")
        await resources.calendar_redis.set("calendar_sync:last_success", "a text")
        await resources.redis.set("advoware_access_token", "without a TTL as well")

    checks = await diagnose_old_system(office.settings())
    notices = await notices_at_start(office.settings())
    before = await office.takeover("check")
    await office.takeover("run")

    assert [check.status for check in checks] == ["failed"] * 3
    assert all(check.fix for check in checks)
    for key, notice in zip(sorted(keys[:2]), notices, strict=False):
        assert key in notice
    assert len(before.signs) == 3
    async with office.opened() as resources:
        assert await resources.redis.keys("*:waiting:*") == []
        assert await resources.redis.get("advoware_access_token") is not None
        assert await resources.calendar_redis.keys("calendar_sync:l*") == []
    assert await notices_at_start(office.settings()) == []


@pytest.mark.parametrize("generation", ["uuid", "text"])
async def test_a_row_of_the_old_table_that_was_synced_of_late_is_a_sign(
    office: TakeoverOffice, generation: str
) -> None:
    await office.leave(generation, termine=5, with_faults=False)
    quiet = await office.takeover("check")
    late = office.clock() - timedelta(minutes=4)
    if generation == "text":
        late = late.replace(tzinfo=None) + timedelta(hours=1)  # Berlin's clock
    await office.sql(f"UPDATE calendar_sync SET last_sync = '{late.isoformat()}'")

    noisy = await office.takeover("check")

    assert quiet.signs == []
    assert noisy.signs == ["PostgreSQL: 5 rows of calendar_sync were synced of late"]


async def test_a_pair_that_another_system_has_synced_is_a_sign(
    office: TakeoverOffice,
) -> None:
    office.clock.advance(minutes=-5)
    await office.leave("uuid", termine=6, with_faults=False)
    await office.takeover("run")
    await office.sync_calendars()
    own = await diagnose_old_system(office.settings())
    await office.sql(
        "INSERT INTO calendar_sync (sync_id, employee_kuerzel, advoware_frnr, source_system, sync_strategy, "
        "advoware_write_allowed, sync_status, last_sync, created_at, updated_at) "
        "VALUES (gen_random_uuid(), 'SB', 777, 'advoware', 'source_system_wins', true, 'synced', now(), now(), now())"
    )

    others = await diagnose_old_system(office.settings())

    assert [check.status for check in own] == ["ok"]
    assert [check.status for check in others] == ["failed"]
    assert "1 pairs were synced of late, and not by this system" in others[0].message


async def test_a_start_on_the_old_database_ends_with_one_clear_line(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=5)

    with pytest.raises(DatabaseUnusable) as raised:
        await notices_at_start(office.settings())
    (check,) = await diagnose_old_system(office.settings())

    assert "bitbylaw takeover check" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (check.status, check.message) == ("failed", str(raised.value))
    exit_code, _ = await office.command_line("worker")
    assert exit_code == 1
    assert len(await office.fetch("SELECT FROM calendar_sync")) >= 5


async def test_the_command_line_says_the_same_as_one_document_and_by_its_exit_code(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid", termine=50, beteiligte=3)

    exit_code, text = await office.command_line("takeover", "check")
    assert exit_code == 1
    assert "Old table: sync_id uuid" in text
    exit_code, text = await office.command_line("takeover", "check", "--json")
    document = json.loads(text)
    assert (exit_code, document["exit_code"]) == (1, 1)
    assert document["rows"]["live"] == 49

    exit_code, text = await office.command_line("takeover", "run", "--json")
    assert json.loads(text)["done"][-1] == "finished: the worker may start"
    exit_code, text = await office.command_line("takeover", "undo")
    assert exit_code == 0
    assert "the old system's table is called calendar_sync again" in text
    exit_code, text = await office.command_line("takeover", "undo")
    assert exit_code == 2
    assert "nothing was taken over in this database" in text


async def test_settings_that_are_missing_or_unknown_are_named(
    office: TakeoverOffice,
) -> None:
    office.variables = {"BITBYLAW_TWINS": "http://127.0.0.1:9"}

    report = await office.takeover(
        "check", in_file=("ADVOWARE_APP_ID", "MOTIA_PORT", "CALENDAR_SYNC_INTERVAL")
    )

    assert "unknown: MOTIA_PORT (nothing reads it)" in report.settings
    assert "unknown: CALENDAR_SYNC_INTERVAL (nothing reads it)" in report.settings
    missing = [line for line in report.settings if line.startswith("missing: ")]
    assert any("BITBYLAW_API_KEYS" in line for line in missing)
    assert any("ESPOCRM_WEBHOOK_TOKEN" in line for line in missing)
    assert report.exit_code == 1


def test_every_variable_of_the_command_line_is_known() -> None:
    commands = [typer.main.get_command(app)]
    names: set[str] = set()
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            names.update([str(parameter.envvar)] if parameter.envvar else [])
    assert "BITBYLAW_WORKER_LOG" in names

    odd = odd_settings(load_settings({}), names)

    assert [line for line in odd if line.startswith("unknown")] == []
