"""What grows is measured, has a bound, and is documented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beteiligte_office import Office, office
from operator_desk import all_tables

from config import PROJECT_ROOT
from services.core.resources import Resources
from services.operate.growth import QUEUE_TABLES, TABLES, growing

__all__ = ["office"]

#: One row for each calendar, employee, erasure, restore, cron, pause or migration.
FEW = {
    *("calendar_sync_cursor", "calendar_sync_run", "calendar_sync_hold", "cron_run"),
    *("calendar_sync_sharing", "calendar_sync_calendar", "calendar_sync_employee"),
    *("calendar_sync_renamed", "erasure_key", "restored", "schema_migration", "takeover"),
    *("pause", "state", "procrastinate_workers", "procrastinate_periodic_defers"),
}  # fmt: skip


async def test_every_table_has_a_bound_or_few_rows(resources: Resources) -> None:
    existing = await all_tables(resources)
    assert existing == FEW | TABLES.keys() | QUEUE_TABLES.keys()


async def test_a_sync_is_observed_to_grow(office: Office, resources: Resources) -> None:
    await office.linked_person()
    await (await resources.database()).execute("ANALYZE")
    found = {one.name: one for one in await growing(resources)}
    assert found["sync_audit"].rows >= 1
    assert found["sync_audit"].bytes > 0
    assert found["sync_audit"].bound == "AUDIT_DAYS"
    assert found["WAL"].bytes > 0
    assert found["Redis"].bytes > 0


async def test_logs_are_measured_where_they_lie(
    make_settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "worker.log").write_text("x" * 100)
    (tmp_path / "worker.log.1").write_text("x" * 50)
    async with Resources(make_settings(LOG_DIRECTORY=str(tmp_path))) as resources:
        found = {one.name: one for one in await growing(resources)}
    assert (found["logs"].rows, found["logs"].bytes) == (2, 150)


def test_what_grows_is_documented() -> None:
    page = (PROJECT_ROOT / "docs" / "operations.md").read_text("utf-8")
    chapter = page.partition("## Growth\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", chapter))
    assert TABLES.keys() | QUEUE_TABLES.keys() <= named
