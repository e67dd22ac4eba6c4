"""The daily cleaning: what is too old goes, a bounded piece at a time, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from local_engine.database import Database
from local_engine.queues.store import QueueStore
from local_engine.worker_port.invocations import Trace
from services.core.resources import Resources
from services.privacy import cleaning
from services.privacy.cleaning import Cleaning

DAYS = {"AUDIT_DAYS": "100", "LOG_DAYS": "10", "QUEUE_DAYS": "5"}
_LINE = """
INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms)
SELECT $1, 'CBeteiligte', 'id' || n, 'topic', 'cron', 'merged', 1 FROM generate_series(1, $2::int) AS n
"""
_CALENDAR_LINE = """
INSERT INTO calendar_sync_audit (at, employee_kuerzel, side, action, reason)
VALUES ($1, 'SB', 'google', 'updated', 'changed')
"""
_ACTION = """
INSERT INTO operator_action (at, who, action, target, result) VALUES ($1, 'cli:anna', 'retry', 'failed', 'done')
"""
_TEXT = """
INSERT INTO calendar_sync_overwritten (at, employee_kuerzel, sync_id, google_event_id, resource)
VALUES ($1, 'SB', gen_random_uuid(), 'e1', '{}')
"""
_GONE = """
INSERT INTO sync_state (entity_type, entity_id, advoware_id, base, deleted_at)
VALUES ('CBeteiligte', $1, $1, '{"name": "Muster"}', $2)
"""


@pytest.fixture
async def kept(make_settings: Any, clock: Any) -> Any:
    """Resources with short times."""
    async with Resources(make_settings(**DAYS), clock=clock) as opened:
        yield opened


async def count(resources: Resources, table: str) -> int:
    pool = await resources.database()
    return int(await pool.fetchval("SELECT count(*) FROM {}".format(table)))  # noqa: S608, UP032


async def test_lines_of_the_audits_go_when_they_are_too_old(kept: Resources) -> None:
    pool, now = await kept.database(), kept.clock()
    old, young = now - timedelta(days=101), now - timedelta(days=99)
    for moment in (old, young):
        await pool.execute(_LINE, moment, 2)
        await pool.execute(_CALENDAR_LINE, moment)
        await pool.execute(_ACTION, moment)
        await pool.execute(_GONE, str(moment.day), moment)
    for days in (31, 29):
        await pool.execute(_TEXT, now - timedelta(days=days))

    counts = await Cleaning(resources=kept).run()

    assert (counts["sync_audit"], counts["calendar_sync_audit"]) == (2, 1)
    assert (counts["sync_state"], counts["operator_action"]) == (1, 1)
    assert counts["calendar_sync_overwritten"] == 1
    assert await count(kept, "sync_audit") == 2
    assert await count(kept, "calendar_sync_audit") == 1
    assert await count(kept, "sync_state WHERE base = '{}'") == 1
    assert not any((await Cleaning(resources=kept).run()).values())
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await pool.execute("DELETE FROM calendar_sync_audit")


async def test_a_run_takes_no_more_than_its_share(
    kept: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "BATCH", 10)
    monkeypatch.setattr(cleaning, "MAX_BATCHES", 3)
    await (await kept.database()).execute(_LINE, kept.clock() - timedelta(days=200), 45)

    taken = [(await Cleaning(resources=kept).run())["sync_audit"] for _ in range(3)]

    assert taken == [30, 15, 0]


async def test_a_line_that_is_locked_keeps_no_sync_waiting(kept: Resources) -> None:
    """The cleaning takes rows that no sync touches, and holds no lock on a table."""
    pool = await kept.database()
    await pool.execute(_LINE, kept.clock() - timedelta(days=200), 5)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL bitbylaw.cleaning = 'on'")
        await connection.execute("DELETE FROM sync_audit")
        await pool.execute(_LINE, kept.clock(), 1, timeout=60)


async def test_rows_that_others_have_locked_are_left_for_the_next_day(
    kept: Resources,
) -> None:
    pool = await kept.database()
    old = kept.clock() - timedelta(days=200)
    await pool.execute(_LINE, old, 5)
    await pool.execute(_GONE, "1061", old)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM sync_audit LIMIT 1 FOR UPDATE")
        await connection.execute("SELECT FROM sync_state FOR UPDATE")
        async with asyncio.timeout(60):
            counts = await Cleaning(resources=kept).run()
    assert (counts["sync_audit"], counts["sync_state"]) == (4, 0)
    counts = await Cleaning(resources=kept).run()
    assert (counts["sync_audit"], counts["sync_state"]) == (1, 1)


async def test_a_table_that_is_locked_is_not_waited_for(
    kept: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "PATIENCE", "SET LOCAL lock_timeout = '50ms'")
    pool = await kept.database()
    old = kept.clock() - timedelta(days=200)
    await pool.execute(_LINE, old, 5)
    await pool.execute(_CALENDAR_LINE, old)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE sync_audit")
        async with asyncio.timeout(60):
            counts = await Cleaning(resources=kept).run()
    assert (counts["sync_audit"], counts["calendar_sync_audit"]) == (0, 1)


async def test_jobs_go_that_were_given_up_long_ago(kept: Resources) -> None:
    given = kept.settings.postgres
    database = Database(f"host={given.host} user={given.user} dbname={given.db_name}")
    await database.open()
    try:
        store = QueueStore(database)
        for topic in ("old", "young", "waiting"):
            await store.add(topic, {"entity_id": topic}, Trace())
        for topic in ("old", "young"):
            (job,) = await store.take(topic, 1)
            await store.bury(job, "x")
        pool = await kept.database()
        await pool.execute(
            """
            UPDATE procrastinate_events SET at = now() - interval '6 days'
            WHERE job_id IN (SELECT id FROM procrastinate_jobs WHERE task_name IN ('old', 'waiting'))
            """
        )

        assert (await Cleaning(resources=kept).run())["queue"] == 1

        rows = await pool.fetch("SELECT task_name FROM procrastinate_jobs ORDER BY 1")
        assert [row["task_name"] for row in rows] == ["waiting", "young"]
    finally:
        await database.close()


async def test_logs_go_after_their_days_at_the_latest(
    make_settings: Any, clock: Any, tmp_path: Path
) -> None:
    def line(days: int) -> str:
        moment = clock.now - timedelta(days=days)
        return json.dumps({"time": moment.isoformat(), "event": f"of {days}"}) + "\n"

    worker, engine = tmp_path / "worker.log", tmp_path / "engine.log"
    worker.write_text(line(6) + line(1))
    engine.write_text(line(4))
    settings = make_settings(**DAYS, LOG_DIRECTORY=str(tmp_path))
    async with Resources(settings, clock=clock) as resources:
        assert (await Cleaning(resources=resources).run())["logs"] == 1
        kept_aside = tmp_path / "worker.log.1"
        assert (worker.read_text(), kept_aside.read_text()) == ("", line(6) + line(1))
        assert engine.read_text() == line(4)

        aged = clock.now.timestamp() - 6 * 86400
        os.utime(kept_aside, (aged, aged))
        await Cleaning(resources=resources).run()

    assert not kept_aside.exists()


async def test_what_cannot_be_cleaned_keeps_nothing_else_back(kept: Resources) -> None:
    pool = await kept.database()
    await pool.execute(_LINE, kept.clock() - timedelta(days=200), 1)
    await pool.execute("DROP TABLE calendar_sync_overwritten")

    counts = await Cleaning(resources=kept).run()

    assert (counts["sync_audit"], counts["calendar_sync_overwritten"]) == (1, 0)
