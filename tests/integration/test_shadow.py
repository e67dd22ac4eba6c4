"""Weeks beside the old system (``BITBYLAW_READ_ONLY``): steps run and note, the old system works; the comparison."""
# ruff: noqa: S608, F811 - an administrator's statements; the fixture is imported

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from motia import ApiRequest
from shadow_office import ADMIN, BesideTheOldSystem, named
from takeover_office import (  # noqa: F401 - fixtures
    TakeoverOffice,
    database,
    office,
)

from config import PROJECT_ROOT, get_settings
from sandbox.control import ActiveFault, Fault
from services.core.database import MIGRATIONS
from services.core.resources import current_resources

#: The step that takes each topic.
STEPS = {
    "vmh.beteiligte.update": "vmh/beteiligte_sync_event",
    "vmh.beteiligte.delete": "vmh/beteiligte_sync_event",
    "vmh.beteiligte.sync_check": "vmh/beteiligte_sync_event",
    "calendar_sync_all": "advoware_cal_sync/calendar_sync_all",
    "calendar_sync_employee": "advoware_cal_sync/calendar_sync_event",
}


class _Log:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def info(self, event: str, fields: dict[str, Any]) -> None:
        self.lines.append(event)

    warn = error = info


@dataclass
class Engine:
    """The queue and the log, as a step sees them."""

    queue: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    trace_id: str = "trace-1"

    @property
    def logger(self) -> _Log:
        return _Log(self.lines)

    async def enqueue(self, message: dict[str, Any]) -> None:
        self.queue.append(json.loads(json.dumps(message)))


@dataclass
class Shadow(BesideTheOldSystem):
    """This system beside the old one, its steps called by hand."""

    engine: Engine = field(default_factory=Engine)

    async def step(self, name: str, data: Any) -> Any:
        """Let the engine call a step."""
        path = PROJECT_ROOT / "steps" / f"{name}_step.py"
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return await module.handler(data, self.engine)

    async def webhook(self, action: str, *ids: str) -> None:
        """EspoCRM reports edits."""
        request = ApiRequest(body=[{"id": each} for each in ids], headers={})
        answer = await self.step(f"vmh/webhook/beteiligte_{action}_api", request)
        assert answer.status == 200, answer.body

    async def crons(self) -> None:
        """A quarter of an hour is over."""
        await self.step("vmh/beteiligte_sync_cron", None)
        await self.step("advoware_cal_sync/calendar_sync_cron", None)

    async def work(self) -> None:
        """The worker works off the queue."""
        while self.engine.queue:
            message = self.engine.queue.pop(0)
            await self.step(STEPS[message["topic"]], message["data"])


@pytest.fixture
async def shadow(
    office: TakeoverOffice, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shadow]:
    """Both systems agree; this one has taken over a copy of the old one's state, and writes nothing."""
    await office.leave("uuid", termine=6, beteiligte=6, with_faults=False)
    await office.takeover("run")
    await office.sync_calendars()
    await office.sync_beteiligte()
    office.variables["BITBYLAW_READ_ONLY"] = True
    for name, value in office.settings().environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    office.forget_calls()
    async with aiohttp.ClientSession(headers=ADMIN) as session:
        yield Shadow(office, session)
    await current_resources().close()
    get_settings.cache_clear()


async def test_what_the_old_system_has_done_differently_or_not_is_distinguished_from_what_is_the_same(
    shadow: Shadow,
) -> None:
    same, not_done, edited_again = shadow.persons()[:3]
    for entity_id in (same, not_done, edited_again):
        await shadow.edit(entity_id, lastName="Abendroth")
    await shadow.webhook("update", same, not_done, edited_again)
    moved, forgotten = (
        next(row for row in shadow.office.advoware.termine.all() if row["text"] == text)
        for text in ("Besprechung 0", "Besprechung 2")
    )
    shadow.change_termin(moved["frNr"], "Besprechung 0, Saal 2")
    shadow.change_termin(forgotten["frNr"], "Besprechung 2, Saal 3")
    await shadow.crons()
    await shadow.work()

    assert shadow.office.writes() == []
    assert "shadow.noted" in shadow.engine.lines
    before = await shadow.report()
    assert before["same"] == 0
    assert set(named(before).values()) == {"open"}

    shadow.old_writes(same, name="Abendroth")
    await shadow.edit(edited_again, lastName="Morgenroth", firstName="Aurora")
    shadow.old_changes_event("Besprechung 0", "Besprechung 0, Saal 2")
    report = await shadow.report()

    assert named(report) == {
        (not_done, "Beteiligte", "name"): "open",
        (edited_again, "Beteiligte", "name"): "other",
        (edited_again, "Beteiligte", "vorname"): "new",
        ("SB", "event", "summary"): "open",
        ("SB", "event", "visibility"): "open",
    }
    assert report["same"] == 3  # a name; title and visibility of an event
    assert report["unknown"] == report["gone"] == []


async def test_of_records_that_are_created_the_ones_that_are_missing_are_named(
    shadow: Shadow,
) -> None:
    """They have no id yet by which they could be compared."""
    entity_id = shadow.persons()[0]
    phones = shadow.office.espocrm_record(entity_id)["phoneNumberData"]
    for number in (1, 2):
        written = f"+4951155500{number}"
        phones.append({"phoneNumber": written, "type": "Office", "primary": False})
    await shadow.edit(entity_id, phoneNumberData=phones)
    await shadow.webhook("update", entity_id)
    await shadow.work()
    before = await shadow.report()
    assert len(new_numbers(before)) == 2

    shadow.old_creates_number(entity_id, "+49511555001")
    after = await shadow.report()

    assert len(new_numbers(after)) == 1
    assert new_numbers(after) < new_numbers(before)
    assert {item["difference"] for item in after["differences"]} == {"open"}


def new_numbers(report: dict[str, Any]) -> set[str]:
    """By what name the report knows the numbers that are to be created."""
    return {
        item["record_id"]
        for item in report["differences"]
        if item["kind"] == "Kommunikationen"
    }


async def test_who_is_deleted_or_has_left_counts_neither_as_same_nor_as_different(
    shadow: Shadow,
) -> None:
    deleted = shadow.persons()[0]
    await shadow.edit(deleted, lastName="Abendroth")
    await shadow.webhook("update", deleted)
    shadow.enter_termin("Eilsache")
    await shadow.crons()
    await shadow.work()

    await shadow.delete(deleted)
    await shadow.webhook("delete", deleted)
    await shadow.crons()
    await shadow.work()
    assert shadow.office.writes() == []
    shadow.leave_the_firm("SB")
    report = await shadow.report(expected=0)

    assert report["gone"] == [
        {"flow": "vmh", "subject": deleted},
        {"flow": "calendar", "subject": "SB"},
    ]
    assert report["same"] == 0
    assert report["differences"] == report["unknown"] == []


async def test_a_preview_that_fails_says_so_and_makes_nothing_same(
    shadow: Shadow,
) -> None:
    entity_id = shadow.persons()[0]
    await shadow.edit(entity_id, lastName="Abendroth")
    await shadow.webhook("update", entity_id)
    shadow.enter_termin("Eilsache")
    await shadow.crons()
    await shadow.work()
    betnr = shadow.office.espocrm_record(entity_id)["betnr"]
    for twin, path in (
        (shadow.office.advoware, f"Beteiligte/{betnr}"),
        (shadow.office.google, "events"),
    ):
        twin.faults.append(ActiveFault(Fault(method="GET", path=path, status=403)))

    report = await shadow.report()

    assert {item["subject"] for item in report["unknown"]} == {entity_id, "SB"}
    assert report["same"] == 0
    assert report["differences"] == []


async def test_an_erasure_takes_what_was_noted_of_the_person_and_no_one_elses(
    shadow: Shadow,
) -> None:
    erased, other = shadow.persons()[:2]
    for entity_id in (erased, other):
        await shadow.edit(entity_id, lastName="Abendroth")
    await shadow.webhook("update", erased, other)
    await shadow.work()
    office = shadow.office
    await office.sql(
        "INSERT INTO paused_job (topic, job_key, payload, employee, parked_at) VALUES ('vmh.beteiligte.update', 'x', "
        f"""'{{"entity_id": "{erased}", "action": "update", "lastName": "Abendroth"}}', '', now())"""
    )

    code, held = await office.command_line("privacy", "export", erased)
    assert code == 0, held
    assert "Tabelle shadow_write: 1" in held
    assert "Tabelle paused_job: 1" in held
    for _ in range(2):
        code, printed = await office.command_line("privacy", "erase", erased, "--apply")
        assert code == 0, printed

    assert await office.fetch("SELECT DISTINCT subject FROM shadow_write") == [
        {"subject": other}
    ]
    (job,) = await office.fetch(
        "SELECT job_key || payload::text AS text FROM paused_job"
    )
    assert "Abendroth" not in job["text"]
    assert erased in job["text"]


async def test_a_noted_birth_date_is_found_by_no_one_who_lacks_the_key(
    shadow: Shadow,
) -> None:
    """A plain hash is found by trying all days; with the key of another installation it is another one."""
    entity_id = shadow.persons()[0]
    await shadow.edit(entity_id, dateOfBirth="1961-03-04")
    noted = []
    for _ in range(2):
        await shadow.office.sql("DELETE FROM shadow_write", "DELETE FROM erasure_key")
        await shadow.webhook("update", entity_id)
        await shadow.work()
        noted.append(await shadow.office.fetch("SELECT * FROM shadow_write"))

    first, second = [{row["new_hash"] for row in rows} for rows in noted]
    assert [row["field"] for row in noted[0]] == ["geburtsdatum"]
    assert not first & second


async def test_what_was_noted_without_a_key_goes_with_the_migration(
    office: TakeoverOffice,
) -> None:
    await office.leave("uuid")
    await office.takeover("run")
    await office.sql(
        "INSERT INTO shadow_write VALUES"
        " ('vmh', 'x', 'Advoware', 'Beteiligte', '1', 'change', 'name', 'abc', now(), now())"
    )
    migration = MIGRATIONS / "0023_shadow_keyed.sql"
    await office.sql(migration.read_text("utf-8"))
    assert await office.fetch("SELECT * FROM shadow_write") == []


async def test_the_crons_come_to_their_end_although_no_one_may_be_notified(
    shadow: Shadow,
) -> None:
    for entity_id in shadow.persons()[:3]:
        await shadow.delete(entity_id)

    for _ in range(2):
        await shadow.crons()
        await shadow.work()

    assert shadow.office.writes() == []
    assert shadow.engine.lines.count("beteiligte_check.finished") == 2
    assert not [line for line in shadow.engine.lines if "defect" in line]
