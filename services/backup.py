"""Backup and restore of what cannot be rebuilt: all tables but the queue's (docs/data-protection.md).

A backup is a folder: `manifest-v1.json` (versions, migrations, rows and checksums) and one CSV per table, compressed.
It is one snapshot, taken while the system runs. It is restored into an empty database, or over one of the same
migrations; newer migrations are applied afterwards.

What both systems have done since a backup was made is not in it. So the calendars are listed as at the first time,
deletions pass their guards, and Tasks are looked for before they are created (table ``restored``).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg

from config import PostgresSettings, Settings
from services.core.database import MIGRATIONS, database_errors, open_database
from services.core.errors import BitByLawError
from services.core.resources import Resources

FORMAT = 1
MANIFEST = "manifest-v1.json"
#: Rebuilt by the program. Nor are there the queue (``procrastinate_...``) and what was moved aside (``..._v0``).
LEFT_OUT = frozenset({"schema_migration"})
_TRANSFER_SECONDS = 3600.0
_PIECE = 2**20

_TABLES = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public'
    AND NOT starts_with(tablename, 'procrastinate_') AND tablename !~ '_v[0-9]+$' ORDER BY 1
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (application_name = 'bitbylaw' OR starts_with(application_name, 'local_engine'))
"""
#: What was recorded last, and how much of it after a moment.
_NEWER = """
SELECT 'sync_audit' AS name, count(*) AS lines FROM sync_audit WHERE at > $1
UNION ALL SELECT 'calendar_sync_audit', count(*) FROM calendar_sync_audit WHERE at > $1
UNION ALL SELECT 'sync_state', count(*) FROM sync_state WHERE synced_at > $1
UNION ALL SELECT 'calendar_sync', count(*) FROM calendar_sync WHERE updated_at > $1
"""
_ERASED = """
SELECT DISTINCT entity_id FROM sync_audit WHERE topic = 'erasure' AND at > $1 ORDER BY 1
"""
#: So that the next run asks for everything: tokens and digests know of what came after the backup, or do not.
_START_AGAIN = """
UPDATE calendar_sync_cursor SET sync_token = NULL, last_full_run = NULL, quiet_digest = NULL
"""


class BackupRefused(BitByLawError):
    """The backup or the restore would do harm, or the folder is no whole backup; the message says what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a backup is. ``tables``: ``{name: {"rows", "sha256"}}``; ``made_at`` is aware."""

    made_at: datetime
    migrations: list[str]
    tables: Mapping[str, Mapping[str, Any]]
    program: str
    postgresql: str

    def as_json(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "format": FORMAT,
            "made_at": self.made_at.isoformat(),
            "program": self.program,
            "postgresql": self.postgresql,
            "migrations": self.migrations,
            "tables": self.tables,
        }


@dataclass(frozen=True)
class Restore:
    """What a restore does, or would do.

    Attributes:
        newer: lines of the database that are younger than the backup, by table; they are lost.
        erase_again: whose data were erased since the backup was made; the backup brings them back.
        applied: whether it was done.
    """

    manifest: Manifest
    is_empty: bool
    newer: Mapping[str, int] = field(default_factory=dict)
    erase_again: tuple[str, ...] = ()
    applied: bool = False


# -- backup ---------------------------------------------------------------------------------------------------------


async def make_backup(resources: Resources, folder: Path) -> Manifest:
    """Write a backup into a new folder, which only its owner may read. The system may run meanwhile.

    One that fails leaves nothing behind.

    Raises:
        BackupRefused: the folder exists, or cannot be written.
        Unavailable: PostgreSQL does not answer.
    """
    unfinished = await asyncio.to_thread(_new_folder, folder)
    try:
        manifest = await _write_snapshot(resources, unfinished)
        await asyncio.to_thread(_finish, unfinished, folder, manifest)
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
        raise
    return manifest


async def _write_snapshot(resources: Resources, folder: Path) -> Manifest:
    pool = await resources.database()
    # Read before the snapshot is taken: what is written while the tables are copied is younger than the backup.
    made_at = resources.now()
    async with (
        database_errors(None),
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await _write_tables(connection, folder, made_at)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Say which file cannot be written, and why; among PostgreSQL's errors it would count as one of those.

    Raises:
        BackupRefused: the operating system refuses it, as on a full disk.
    """
    try:
        yield
    except OSError as error:
        raise BackupRefused(f"{path} cannot be written: {error.strerror}") from error


def _new_folder(folder: Path) -> Path:
    """Where a backup is written before it is whole."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if folder.exists() or unfinished.exists():
        raise BackupRefused(
            f"{folder} or {unfinished} exists; name a new folder, or remove it",
        )
    with _file_errors(unfinished):
        unfinished.mkdir(parents=True, mode=0o700)
    return unfinished


def _finish(unfinished: Path, folder: Path, manifest: Manifest) -> None:
    document = json.dumps(manifest.as_json(), indent=2)
    with _file_errors(unfinished / MANIFEST):
        with _private(unfinished / MANIFEST) as file:
            file.write(document.encode())
        unfinished.rename(folder)


async def _write_tables(
    connection: Any,
    folder: Path,
    made_at: datetime,
) -> Manifest:
    tables = {}
    for name in await tables_of(connection):
        with _Writer(folder / f"{name}.csv.gz") as writer:
            done = await connection.copy_from_table(
                name,
                output=writer.write,
                format="csv",
                header=True,
                timeout=_TRANSFER_SECONDS,
            )
        rows = int(done.rpartition(" ")[2])
        tables[name] = {"rows": rows, "sha256": writer.digest}
    return Manifest(
        made_at,
        await _migrations(connection),
        tables,
        version("bitbylaw"),
        await connection.fetchval("SHOW server_version"),
    )


async def tables_of(connection: Any) -> list[str]:
    """The tables of the database that belong into a backup."""
    rows = await connection.fetch(_TABLES)
    return [row[0] for row in rows if row[0] not in LEFT_OUT]


class _Writer:
    """Compresses what PostgreSQL sends, and digests it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _file_errors(path):
            self._raw = _private(path)
            self._file = gzip.GzipFile(fileobj=self._raw, mode="wb", compresslevel=1)
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        with _file_errors(self._path):
            await asyncio.to_thread(self._file.write, piece)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with _file_errors(self._path), self._raw:
            self._file.close()


def _private(path: Path) -> Any:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "wb", buffering=0)


# -- restore --------------------------------------------------------------------------------------------------------


async def restore_backup(
    settings: Settings,
    folder: Path,
    *,
    apply: bool,
    over_newer: bool = False,
) -> Restore:
    """Restore a backup; without ``apply`` only look whether and over what.

    All of it is one transaction; newer migrations follow. ``over_newer``: lines that are younger than the backup may
    be lost.

    Raises:
        BackupRefused: the folder is no whole backup, a worker or engine is connected, the database has other
            migrations, or data younger than the backup without ``over_newer``.
        Unavailable, DatabaseUnusable: see `database_errors`.
    """
    manifest = await asyncio.to_thread(_read_whole, folder)
    async with _connection(settings.postgres) as connection:
        found = await _look(connection, manifest)
        if not apply:
            return found
        await _require_at_rest(connection)
        if found.newer and not over_newer:
            raise BackupRefused(
                "the database holds data younger than the backup, which would be lost: "
                f"{_counted(found.newer)}. With --over-newer it is restored all the same",
            )
        async with connection.transaction():
            await _load(connection, folder, found)
    pool = await open_database(settings.postgres)
    await pool.close()
    return Restore(
        manifest,
        found.is_empty,
        found.newer,
        found.erase_again,
        applied=True,
    )


def _counted(newer: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in newer.items())


def _read_whole(folder: Path) -> Manifest:
    """The manifest of a backup, after each table was compared with its checksum."""
    manifest = _read_manifest(folder)
    for name, table in manifest.tables.items():
        if _digest(folder / f"{name}.csv.gz") != table["sha256"]:
            raise BackupRefused(f"{name}.csv.gz is damaged or missing")
    _require_known_migrations(manifest)
    return manifest


def _read_manifest(folder: Path) -> Manifest:
    try:
        stored = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise BackupRefused(f"{folder} is no backup: {MANIFEST} is missing") from None
    if stored.get("format") != FORMAT:
        raise BackupRefused("the backup was made by another version of the program")
    return Manifest(
        datetime.fromisoformat(stored["made_at"]),
        stored["migrations"],
        stored["tables"],
        stored["program"],
        stored["postgresql"],
    )


def _require_known_migrations(manifest: Manifest) -> None:
    unknown = [
        name for name in manifest.migrations if not (MIGRATIONS / name).is_file()
    ]
    if unknown:
        raise BackupRefused(
            f"the backup is of a newer program: this one lacks {', '.join(unknown)}",
        )


def _digest(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as table:
            while piece := table.read(_PIECE):
                digest.update(piece)
    except (OSError, EOFError):
        return None
    return digest.hexdigest()


@asynccontextmanager
async def _connection(settings: PostgresSettings) -> AsyncIterator[Any]:
    """A connection of its own: the pool of the others would apply migrations first."""
    password = settings.password.get_secret_value() if settings.password else None
    async with database_errors(None):
        connection = await asyncpg.connect(
            host=settings.host,
            port=settings.port,
            user=settings.user,
            password=password,
            database=settings.db_name,
            timeout=settings.timeout_seconds,
            server_settings={"application_name": "bitbylaw restore"},
        )
        try:
            yield connection
        finally:
            await connection.close()


async def _look(connection: Any, manifest: Manifest) -> Restore:
    """What the database holds, compared with the backup."""
    migrations = await _migrations(connection)
    if not migrations:
        await _require_empty(connection)
        return Restore(manifest, is_empty=True)
    if migrations != manifest.migrations:
        raise BackupRefused(
            "the database has other migrations than the backup; restore into an empty database (POSTGRES_DB_NAME), "
            "newer migrations are applied there",
        )
    rows = await connection.fetch(_NEWER, manifest.made_at)
    newer = {row["name"]: row["lines"] for row in rows if row["lines"]}
    erased = await connection.fetch(_ERASED, manifest.made_at)
    return Restore(manifest, False, newer, tuple(row["entity_id"] for row in erased))


async def _require_empty(connection: Any) -> None:
    present = await tables_of(connection)
    if present:
        raise BackupRefused(
            f"the database holds tables of another program: {', '.join(present)}. "
            "POSTGRES_DB_NAME must name an empty one",
        )


async def _migrations(connection: Any) -> list[str]:
    """The names of the applied migrations, in order; none if the database is empty."""
    if not await connection.fetchval("SELECT to_regclass('public.schema_migration')"):
        return []
    rows = await connection.fetch("SELECT name FROM schema_migration ORDER BY name")
    return [row["name"] for row in rows]


async def _require_at_rest(connection: Any) -> None:
    others = await connection.fetchval(_OTHERS)
    if others:
        raise BackupRefused(
            f"BitByLaw is running: {others} connections of its worker or engine. Stop it first",
        )


async def _load(connection: Any, folder: Path, found: Restore) -> None:
    """Replace what is in the tables by what is in the backup."""
    if found.is_empty:
        await _create_tables(connection, found.manifest.migrations)
    present = await tables_of(connection)
    missing = found.manifest.tables.keys() - set(present)
    if missing:
        raise BackupRefused(f"the database lacks {', '.join(sorted(missing))}")
    for name in present:
        await connection.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
    await connection.execute(f"TRUNCATE {', '.join(present)}")
    for name in found.manifest.tables:
        await _load_table(connection, name, folder / f"{name}.csv.gz")
    for name in present:
        await connection.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")
    await connection.execute(_START_AGAIN)
    await connection.execute(
        "INSERT INTO restored (at, backup_made_at) VALUES (now(), $1)",
        found.manifest.made_at,
    )


async def _create_tables(connection: Any, migrations: list[str]) -> None:
    """The tables as they were when the backup was made."""
    await connection.execute(
        "CREATE TABLE schema_migration (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())",
    )
    for name in migrations:
        statements = await asyncio.to_thread((MIGRATIONS / name).read_text, "utf-8")
        await connection.execute(statements)
        await connection.execute(
            "INSERT INTO schema_migration (name) VALUES ($1)",
            name,
        )


async def _load_table(connection: Any, name: str, path: Path) -> None:
    with gzip.open(path, "rb") as table:
        columns = table.readline().decode().strip().split(",")
        table.seek(0)
        await connection.copy_to_table(
            name,
            source=table,
            columns=columns,
            format="csv",
            header=True,
            timeout=_TRANSFER_SECONDS,
        )
    identities = await connection.fetch(
        """
        SELECT column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'YES'
        """,
        name,
    )
    for row in identities:
        column = row["column_name"]
        await connection.execute(
            f"SELECT setval(pg_get_serial_sequence($1, $2), max({column})) FROM {name}",  # noqa: S608
            name,
            column,
        )
