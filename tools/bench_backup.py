"""How long backup and restore take: ``make bench-backup``, with a PostgreSQL of its own and invented records."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from cli import embedded
from config import Settings, load_settings
from services.backup import make_backup, restore_backup
from services.core.resources import Resources

#: Per record: its state with that of its numbers, three lines of the audit, one appointment with two lines.
STATEMENTS = (
    """
    INSERT INTO sync_state (entity_type, entity_id, advoware_id, base, synced_at)
    SELECT kind, md5(n::text), CASE kind WHEN 'CBeteiligte' THEN n::text END, jsonb_build_object(
        'name', jsonb_build_object('espocrm', 'Muster' || n, 'advoware', 'Muster' || n),
        'vorname', jsonb_build_object('espocrm', 'Erika', 'advoware', 'Erika'),
        'geburtsdatum', jsonb_build_object('espocrm', '1970-01-31', 'advoware', '1970-01-31')), now()
    FROM generate_series(1, $1::int) AS n, unnest(ARRAY['CBeteiligte', 'CBeteiligte.Kommunikation']) AS kind
    """,
    """
    INSERT INTO sync_audit (at, entity_type, entity_id, topic, source, result, duration_ms, advoware_id, changes)
    SELECT now(), 'CBeteiligte', md5(n::text), 'vmh.beteiligte.update', 'webhook', 'merged', 12.5, n::text,
        '[{"field": "name", "side": "advoware", "old": "Muster", "new": "Beispiel"}]'
    FROM generate_series(1, $1::int) AS n, generate_series(1, 3)
    """,
    """
    INSERT INTO calendar_sync (sync_id, employee_kuerzel, advoware_frnr, google_event_id, source_system, sync_strategy,
        advoware_write_allowed, sync_status, advoware_hash, google_hash, first_day, last_day, created_at, updated_at)
    SELECT gen_random_uuid(), 'SB', n, md5(n::text), 'advoware', 'source_system_wins', true, 'synced', md5(n::text),
        md5(n::text), current_date, current_date, now(), now() FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO calendar_sync_audit (at, employee_kuerzel, sync_id, side, action, reason, before_hash, after_hash)
    SELECT now(), 'SB', gen_random_uuid(), 'google', 'updated', 'source_system_wins', md5(n::text), md5(n::text)
    FROM generate_series(1, $1::int) AS n, generate_series(1, 2)
    """,
)


async def main(records: int) -> None:
    """Fill, back up, restore into an empty database, restore over it; print the seconds of each."""
    data = Path(tempfile.mkdtemp(prefix="bbl-bench-"))
    try:
        async with embedded.postgres(data / "pg") as server:
            await _measure(server, data / "backup", records)
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _measure(
    server: embedded.EmbeddedPostgres,
    folder: Path,
    records: int,
) -> None:
    full, empty = (_settings(server, name) for name in ("bitbylaw", "empty"))
    admin = await asyncpg.connect(
        host=server.host,
        user=server.user,
        database="postgres",
    )
    await admin.execute("CREATE DATABASE empty")
    await admin.close()
    async with Resources(full) as resources:
        pool = await resources.database()
        started = time.perf_counter()
        for statement in STATEMENTS:
            await pool.execute(statement, records, timeout=3600)
        _report("fill", started)
        started = time.perf_counter()
        manifest = await make_backup(resources, folder)
        _report("backup", started)
    size = _size(folder)
    rows = sum(table["rows"] for table in manifest.tables.values())
    print(f"{records} records: {rows} rows, {size / 2**20:.0f} MB compressed")
    for name, settings in (("restore, empty", empty), ("restore, over", full)):
        started = time.perf_counter()
        await restore_backup(settings, folder, apply=True, over_newer=True)
        _report(name, started)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _settings(server: embedded.EmbeddedPostgres, database: str) -> Settings:
    return load_settings(
        {
            "POSTGRES_HOST": server.host,
            "POSTGRES_USER": server.user,
            "POSTGRES_DB_NAME": database,
        },
    )


def _report(what: str, started: float) -> None:
    print(f"{what}: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
