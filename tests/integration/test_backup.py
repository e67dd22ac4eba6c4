"""A backup is restored, and whatever both systems have done since, the next runs end in agreement without doubles."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from beteiligte_office import MAILS, PHONES, Office, office
from operator_desk import command, dump, tables
from waiting import until

from services.backup import make_backup
from services.core.resources import Resources
from services.privacy.erase import erase

__all__ = ["office"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


async def back_up(resources: Resources, folder: Path) -> str:
    status, output = await command(resources, "backup", str(folder))
    assert status == 0, output
    return output


async def restore(
    resources: Resources, folder: Path, *options: str, **variables: str
) -> tuple[int, str]:
    """BitByLaw is stopped for it."""
    await resources.close()
    return await command(resources, "restore", str(folder), *options, **variables)


async def test_a_backup_comes_back_whole_into_an_empty_database(
    office: Office, folder: Path, database: str
) -> None:
    await office.linked_person(phoneNumberData=PHONES)
    pool = await office.resources.database()
    before = {
        table: await pool.fetchval("SELECT count(*) FROM {}".format(table))  # noqa: S608, UP032
        for table in await tables(pool)
    }
    output = await back_up(office.resources, folder)
    assert "sync_state: 2" in output
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    given = office.resources.settings.postgres
    admin = await asyncpg.connect(host=given.host, user=given.user, database="postgres")
    empty = f"{database}_empty"
    await admin.execute(f"CREATE DATABASE {empty}")
    try:
        where = {"POSTGRES_DB_NAME": empty}
        other = await asyncpg.connect(host=given.host, user=given.user, database=empty)
        await other.execute("CREATE TABLE calendar_sync (sync_id uuid)")
        status, output = await restore(office.resources, folder, "--apply", **where)
        assert (status, "tables of another program" in output) == (1, True)
        await other.execute("DROP TABLE calendar_sync")
        await other.close()
        status, output = await restore(office.resources, folder, **where)
        assert (status, "would be restored" in output) == (0, True)
        status, output = await restore(office.resources, folder, "--apply", **where)
        assert status == 0, output
        other = await asyncpg.connect(host=given.host, user=given.user, database=empty)
        after = {
            table: await other.fetchval("SELECT count(*) FROM {}".format(table))  # noqa: S608, UP032
            for table in await tables(other)
        }
        last = await other.fetchval(
            "INSERT INTO look_again (entity_type, entity_id, requested, asked_at) "
            "VALUES ('calendar', 'SB', '{}', now()) RETURNING version"
        )
        await other.close()
        assert after == {**before, "public.restored": 1}
        assert last == 1
    finally:
        await admin.execute(f"DROP DATABASE {empty} WITH (FORCE)")
        await admin.close()


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may be longer than so many bytes, as where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("most", [0, 12, 400])
async def test_a_backup_that_cannot_be_written_says_so_and_leaves_nothing_behind(
    office: Office, folder: Path, most: int
) -> None:
    await office.linked_person(phoneNumberData=PHONES)

    with small_files(most):
        status, output = await command(office.resources, "backup", str(folder))

    assert (status, "cannot be written: File too large" in output) == (1, True), output
    assert (str(folder) in output, "PostgreSQL" in output) == (True, False)
    assert list(folder.parent.iterdir()) == []
    await back_up(office.resources, folder)


async def test_a_backup_where_no_folder_can_be_made_says_so(
    office: Office, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")

    folder = tmp_path / "file" / "backup"
    status, output = await command(office.resources, "backup", str(folder))

    assert (status, "Not a directory" in output) == (1, True), output


async def test_a_backup_without_postgresql_leaves_nothing_behind(
    office: Office, folder: Path
) -> None:
    status, _ = await command(
        office.resources, "backup", str(folder), POSTGRES_HOST="/nowhere"
    )

    assert status == 1
    assert list(folder.parent.iterdir()) == []


async def test_a_restore_is_refused_where_it_would_do_harm(
    office: Office, folder: Path, tmp_path: Path
) -> None:
    entity_id, _ = await office.linked_person()
    await back_up(office.resources, folder)
    office.clock.advance(minutes=1)
    await office.edit_espocrm(entity_id, lastName="Neuer")
    await office.sync(entity_id)
    before = await dump(office.resources)

    status, output = await command(
        office.resources, "restore", str(folder), "--apply", "--over-newer"
    )
    assert (status, "BitByLaw is running" in output) == (1, True)
    status, output = await restore(office.resources, folder)
    assert (status, "younger than the backup in sync_audit" in output) == (0, True)
    status, output = await restore(office.resources, folder, "--apply")
    assert (status, "--over-newer" in output) == (1, True)
    status, output = await command(office.resources, "backup", str(folder))
    assert (status, "name a new folder" in output) == (1, True)

    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    (damaged / "sync_state.csv.gz").write_bytes(b"")
    status, output = await restore(office.resources, damaged, "--apply", "--over-newer")
    assert (status, "sync_state.csv.gz is damaged" in output) == (1, True)
    newer = tmp_path / "newer"
    shutil.copytree(folder, newer)
    manifest = json.loads((newer / "manifest-v1.json").read_text())
    manifest["migrations"].append("9999_later.sql")
    (newer / "manifest-v1.json").write_text(json.dumps(manifest))
    status, output = await restore(office.resources, newer, "--apply", "--over-newer")
    assert (status, "newer program" in output) == (1, True)
    assert await dump(office.resources) == before


async def test_beteiligte_end_in_agreement_after_an_older_backup(
    office: Office, folder: Path
) -> None:
    edited, betnr = await office.linked_person(
        phoneNumberData=PHONES, emailAddressData=MAILS
    )
    gone, _ = await office.linked_person(lastName="Fort")
    await back_up(office.resources, folder)
    office.clock.advance(minutes=1)

    await office.edit_espocrm(
        edited,
        lastName="Neuer",
        phoneNumberData=[*PHONES, {"phoneNumber": "+4951177777", "type": "Home"}],
    )
    await office.sync(edited)
    await office.edit_espocrm(edited, firstName="Eva")
    await office.edit_advoware(betnr, vorname="Ida")
    assert (await office.sync(edited)).result == "conflict"
    created, _ = await office.linked_person(lastName="Später", phoneNumberData=PHONES)
    await office.delete_in_espocrm(gone)
    await office.sync(gone, "delete")
    tasks = await office.tasks()
    assert len(tasks) == 2
    advoware = office.advoware.state()["beteiligte"]

    status, output = await restore(office.resources, folder, "--apply", "--over-newer")
    assert status == 0, output
    for entity_id, action in (
        (edited, "sync_check"),
        (created, "sync_check"),
        (gone, "delete"),
    ):
        await office.sync(entity_id, action, "cron")
    await office.notify_the_rest()

    assert await office.tasks() == tasks
    assert office.advoware.state()["beteiligte"] == advoware
    for entity_id in (edited, created, gone):
        await office.sync(entity_id, "sync_check", "cron")
        assert office.writes() == []
    await office.edit_espocrm(edited, lastName="Weiter")
    await office.sync(edited)
    assert office.in_advoware(betnr)["name"] == "Weiter"


async def test_what_was_erased_since_is_named_after_a_restore(
    office: Office, folder: Path
) -> None:
    entity_id, _ = await office.linked_person()
    await back_up(office.resources, folder)
    office.clock.advance(minutes=1)
    await command(office.resources, "privacy", "erase", entity_id, "--apply")

    await restore(office.resources, folder)
    _, output = await restore(office.resources, folder, "--apply", "--over-newer")

    assert f"privacy erase {entity_id} --apply" in output


async def test_what_happens_while_a_backup_is_written_is_younger_than_it(
    office: Office, folder: Path, tmp_path: Path
) -> None:
    """The snapshot has been taken: neither the edit nor the erasure is in the backup, so the restore names both."""
    erased, _ = await office.linked_person()
    edited, _ = await office.linked_person()
    pool = await office.resources.database()
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE restored IN ACCESS EXCLUSIVE MODE")
        backup = asyncio.create_task(make_backup(office.resources, folder))
        await until(lambda: connection.fetchval(waiting))
        office.clock.advance(minutes=1)
        await erase(office.resources, erased, tmp_path, apply=True)
        await office.edit_espocrm(edited, lastName="Neuer")
        await office.sync(edited)
        office.clock.advance(minutes=1)
    await backup

    status, output = await restore(office.resources, folder)

    assert (status, "younger than the backup in sync_audit" in output) == (0, True)
    assert f"privacy erase {erased} --apply" in output
