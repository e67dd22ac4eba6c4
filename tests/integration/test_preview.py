"""Previews: what the next syncs would write, and that it is what they then write."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from beteiligte_office import Office
from beteiligte_office import office as beteiligte_office
from calendar_office import CalendarOffice, in_haste, office
from typer.testing import CliRunner

from cli.main import app
from config import Settings, get_settings
from sandbox.control import ActiveFault, Fault
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.errors import Unavailable
from services.core.installation_key import installation_key
from services.core.resources import Resources
from services.preview.rehearsal import rehearsal
from services.shadow.comparison import Subject, compare
from services.shadow.journal import note, noted
from services.shadow.planned import PlannedWrite
from services.shadow.preview import Preview, preview_beteiligter, preview_employee
from services.shadow.report import as_csv, as_html, summary

__all__ = ["beteiligte_office", "office"]


async def rows_of(resources: Resources) -> dict[str, list[str]]:
    """Everything that PostgreSQL holds."""
    pool = await resources.database()
    tables = await pool.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    found = {}
    for (table,) in tables:
        rows = await pool.fetch(f'SELECT * FROM "{table}"')  # noqa: S608 - a name from the catalogue
        found[table] = sorted(map(str, rows))
    return found


def named(preview: Preview, kind: str) -> list[PlannedWrite]:
    return [write for write in preview.writes if write.kind == kind]


# -- Beteiligte ---------------------------------------------------------------------------------------------------


async def test_an_edit_is_announced_field_by_field_and_then_written(
    beteiligte_office: Office,
) -> None:
    entity_id, betnr = await beteiligte_office.linked_person()
    await beteiligte_office.edit_espocrm(entity_id, lastName="Neumann")
    before = await rows_of(beteiligte_office.resources)
    sent = beteiligte_office.writes()

    preview = await preview_beteiligter(beteiligte_office.resources, entity_id)

    (write,) = named(preview, "Beteiligte")
    assert (write.operation, write.record_id) == ("change", str(betnr))
    announced = {field.name: (field.old, field.new) for field in write.fields}
    assert announced["name"] == ("Muster", "Neumann")
    assert beteiligte_office.writes() == sent
    assert await rows_of(beteiligte_office.resources) == before

    await beteiligte_office.sync(entity_id)
    stored = beteiligte_office.in_advoware(betnr)
    for field in write.contents:
        assert stored.get(field.name) == field.new, field.name


async def test_a_new_beteiligter_is_announced_with_its_parts(
    beteiligte_office: Office,
) -> None:
    phones = [{"phoneNumber": "+4951112345", "type": "Office", "primary": True}]
    entity_id = await beteiligte_office.new_person(phoneNumberData=phones)
    preview = await preview_beteiligter(beteiligte_office.resources, entity_id)
    (created,) = named(preview, "Beteiligte")
    assert (created.operation, created.record_id) == ("create", "new 1")
    assert [item.operation for item in named(preview, "Kommunikationen")] == ["create"]
    assert not any(
        call.startswith("POST /api/v1/advonet") for call in beteiligte_office.writes()
    )


async def test_nothing_is_announced_where_nothing_changed(
    beteiligte_office: Office,
) -> None:
    entity_id, _ = await beteiligte_office.linked_person()
    await beteiligte_office.sync(entity_id)
    preview = await preview_beteiligter(beteiligte_office.resources, entity_id)
    assert [write for write in preview.writes if write.operation != "note"] == []


async def test_a_record_that_is_not_there_is_reported_and_not_raised(
    beteiligte_office: Office,
) -> None:
    preview = await preview_beteiligter(
        beteiligte_office.resources, "6512f0e1a2b3c4d5e"
    )
    assert preview.result == "failed"
    assert preview.error is not None


# -- calendar -----------------------------------------------------------------------------------------------------


@in_haste
async def test_the_calendars_preview_has_the_numbers_of_the_run(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION="false")
    await office.sync()
    office.termin("Verhandlung")
    moved = office.termin("Besprechung")
    gone = office.termin("Frist")
    await office.sync()
    office.enter("Mandant anrufen")
    office.change_termin(moved, text="Besprechung, Saal 2")
    office.delete_termin(gone)
    before = await rows_of(office.resources)
    office.forget_journals()

    preview = await preview_employee(office.resources, "SB")

    assert all(call.startswith("GET ") for call in office.calls()), office.calls()
    assert await rows_of(office.resources) == before
    announced = Counter(
        (write.kind, write.operation)
        for write in preview.writes
        if write.kind in {"Termine", "event"}
    )
    summary_of_run = await office.sync()
    assert preview.result == summary_of_run.result == "changed"
    counts = summary_of_run.counts
    assert announced["Termine", "create"] == counts["advoware_created"] == 1
    assert announced["event", "delete"] == counts["google_deleted"] == 1
    texts = {
        field.new
        for write in preview.writes
        for field in write.fields
        if field.name == "summary"
    }
    assert "Besprechung, Saal 2" in texts
    assert (await preview_employee(office.resources, "SB")).writes == ()


@in_haste
async def test_a_first_run_is_announced_with_calendar_sharing_and_events(
    office: CalendarOffice,
) -> None:
    await office.configure(GOOGLE_CALENDAR_ACL="SB:reader:sb@example.org")
    for number in range(5):
        office.termin(f"Termin {number}")
    office.forget_journals()
    preview = await preview_employee(office.resources, "SB")
    assert all(call.startswith("GET ") for call in office.calls()), office.calls()
    kinds = Counter((write.kind, write.operation) for write in preview.writes)
    assert kinds["calendar", "create"] == 1
    assert kinds["rule", "create"] == 1
    assert kinds["event", "create"] == 5
    run = await office.sync()
    assert run.counts["google_created"] == 5


async def test_a_sync_waits_a_moment_for_a_preview_that_has_not_ended(
    beteiligte_office: Office,
) -> None:
    """The preview of a new record has stored its intent; the real creation has to store the same."""
    resources = beteiligte_office.resources
    entity_id = await beteiligte_office.new_person()
    started = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="ask again"):
        async with rehearsal(resources) as (rehearsing, _):
            await BeteiligteSync(resources=rehearsing).rehearse(entity_id)
            real = asyncio.create_task(beteiligte_office.sync(entity_id, "create"))
            await asyncio.shield(real)
    assert (await real).result == "created"
    assert asyncio.get_running_loop().time() - started < 5


# -- beside the old system ----------------------------------------------------------------------------------------


async def test_what_was_noted_is_compared_with_what_is_announced_now(
    beteiligte_office: Office,
) -> None:
    resources = beteiligte_office.resources
    since = resources.clock()
    same, _ = await beteiligte_office.linked_person()
    left_open, _ = await beteiligte_office.linked_person()
    other, _ = await beteiligte_office.linked_person()
    for entity_id in (same, left_open, other):
        await beteiligte_office.edit_espocrm(entity_id, lastName="Neumann")
        await note(resources, "vmh", await preview_beteiligter(resources, entity_id))
    before = await noted(resources, since)

    await beteiligte_office.sync(same)
    await beteiligte_office.edit_espocrm(other, lastName="Altmann")
    now: dict[Subject, Preview | None] = {}
    for entity_id in (same, left_open, other):
        now["vmh", entity_id] = await preview_beteiligter(resources, entity_id)
    key = await installation_key(await resources.database(), resources.clock())
    found = compare(before, now, key)

    names = {
        (item.key.subject, item.kind)
        for item in found.differences
        if item.key.kind == "Beteiligte" and item.key.field == "name"
    }
    assert names == {(left_open, "open"), (other, "other")}
    assert found.same > 0


# -- reports ------------------------------------------------------------------------------------------------------


async def test_reports_show_values_only_when_asked_and_are_safe_to_open(
    beteiligte_office: Office,
) -> None:
    entity_id, _ = await beteiligte_office.linked_person()
    await beteiligte_office.edit_espocrm(entity_id, lastName="=1+1<b>")
    preview = await preview_beteiligter(beteiligte_office.resources, entity_id)
    hidden = as_csv([preview], show_text=False) + as_html([preview], show_text=False)
    assert "1+1" not in hidden
    assert "Muster" not in hidden
    table = list(
        csv.reader(io.StringIO(as_csv([preview], show_text=True)), delimiter=";")
    )
    cells = [cell for row in table for cell in row]
    assert "'=1+1<b>" in cells
    assert "<b>" not in as_html([preview], show_text=True)
    assert summary([preview])["writes"]["Advoware Beteiligte change"] == 1


async def test_the_command_writes_reports_that_only_their_owner_reads(
    beteiligte_office: Office,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    entity_id, _ = await beteiligte_office.linked_person()
    await beteiligte_office.edit_espocrm(entity_id, lastName="Neumann")
    for name, value in make_settings().environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    target = tmp_path / "preview.csv"
    arguments = ["preview", "beteiligte", "--all", "--json", "--csv", str(target)]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    get_settings.cache_clear()
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["subjects"] == 1
    assert document["writes"]["Advoware Beteiligte change"] == 1
    assert "Neumann" not in result.stdout
    assert target.stat().st_mode & 0o077 == 0


async def test_an_interrupted_preview_ends_at_once_and_says_that_nothing_was_written(
    beteiligte_office: Office, make_settings: Callable[..., Settings]
) -> None:
    entity_id, _ = await beteiligte_office.linked_person()
    await beteiligte_office.edit_espocrm(entity_id, lastName="Neumann")
    advoware = beteiligte_office.advoware
    advoware.journal.clear()
    hangs = ActiveFault(Fault(method="GET", path="Beteiligte", hang=True))
    advoware.faults.append(hangs)
    settings = make_settings(ADVOWARE_API_TIMEOUT_SECONDS=60)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "preview", "beteiligte", "--all"),
        env={**os.environ, **settings.environment(), "BITBYLAW_ENV_FILE": ""},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):  # a busy machine takes long to start a program
        while not hangs.struck:
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        _, output = await process.communicate()
    assert process.returncode == 2
    assert "interrupted; nothing was written" in output.decode()
    written = beteiligte_office.calls(advoware)
    assert [call for call in written if not call.endswith("/Token")] == []
