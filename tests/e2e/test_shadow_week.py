"""A week beside the old system: engine and worker run read only, all that comes in comes in, and nothing goes out."""
# ruff: noqa: F811 - fixtures are imported

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ports import system_ports
from shadow_office import ADMIN, BesideTheOldSystem
from takeover_office import (  # noqa: F401 - fixtures
    TakeoverOffice,
    database,
    office,
)

from cli.system import System, running_system
from config import load_settings

pytestmark = pytest.mark.xdist_group("processes")

DEADLINE_SECONDS = 60.0
#: What is written of a new event.
EVENT = ("end", "start", "status", "summary", "visibility")


@dataclass
class Week(BesideTheOldSystem):
    """The running system, as EspoCRM, the clock and people call it."""

    system: System

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """A request to the system; status and decoded body."""
        url = f"{self.system.http_url}{path}"
        async with self.session.request(method, url, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def webhook(self, action: str, *ids: str, entity: str = "beteiligte") -> None:
        """EspoCRM reports edits."""
        body = [{"id": each} for each in ids]
        path = f"/vmh/webhook/{entity}/{action}"
        status, answer = await self.call("POST", path, json=body)
        assert status == 200, answer

    async def crons(self) -> None:
        """All crons are due."""
        _, listed = await self.call("GET", "/_console/triggers")
        crons = [each for each in listed["triggers"] if each["trigger_type"] == "cron"]
        assert len(crons) >= 4, crons
        for trigger in crons:
            body = {"trigger_id": trigger["id"]}
            status, answer = await self.call(
                "POST", "/_console/cron/trigger", json=body
            )
            assert status == 200, answer

    async def at_rest(self) -> None:
        """Wait until no job is left; none may have failed."""
        calm = 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while calm < 3:
                _, queues = await self.call("GET", "/_console/queues")
                states = ("waiting", "active", "delayed")
                left = [
                    each["topic"]
                    for each in queues["topics"]
                    if any(each[state] for state in states)
                ]
                calm = 0 if left else calm + 1
                await asyncio.sleep(0.1)
        assert not [each for each in queues["topics"] if each["dead"]]

    async def refused_proxy(self) -> None:
        """An internal tool tries to enter a Termin."""
        status, answer = await self.call(
            "POST",
            "/advoware/proxy",
            params={"endpoint": "advonet/Termine"},
            json={"text": "Eilsache"},
        )
        assert (status, answer["error"]) == (403, "Read only")

    def warnings(self) -> set[str]:
        """What the worker has logged that is more than information."""
        lines = (self.system.data / "log" / "worker.log").read_text().splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return {entry["event"] for entry in logged if entry["level"] != "info"}


@pytest.fixture
async def week(office: TakeoverOffice, tmp_path: Path) -> AsyncIterator[Week]:
    """Both systems agree; this one has taken over a copy of the old one's state, and runs read only."""
    await office.leave("uuid", termine=6, beteiligte=6, with_faults=False)
    await office.takeover("run")
    office.variables["BITBYLAW_READ_ONLY"] = True
    office.forget_calls()
    usual = load_settings({}).environment()
    overrides = {
        name: value
        for name, value in office.settings().environment().items()
        if value != usual[name]
    }
    with tempfile.TemporaryDirectory(prefix="bbl-e2e-") as data:
        async with (
            running_system(
                Path(data),
                system_ports(),
                None,
                on_event=lambda _: None,
                overrides=overrides,
            ) as system,
            aiohttp.ClientSession(headers=ADMIN) as session,
        ):
            yield Week(office, session, system)


Found = set[tuple[str, str, str, str]]


def differences(report: dict[str, Any]) -> Found:
    """Each as its kind, whose record, which kind of record and its field."""
    names = ("difference", "subject", "kind", "field")
    rows = [[item[name] for name in names] for item in report["differences"]]
    return {tuple(row) for row in rows}


async def test_a_week_beside_the_old_system(week: Week) -> None:
    """People work, both systems hear of it, and only the old one writes."""
    same, not_done, edited_again, spoilt, removed = week.persons()[:5]
    numbers = {row["text"]: row["frNr"] for row in week.office.advoware.termine.all()}
    await week.webhook("update", *week.office.ids)
    await week.crons()
    await week.at_rest()
    left_over = differences(await week.report())

    for entity_id in (same, not_done, edited_again, spoilt, removed):
        await week.edit(entity_id, lastName="Abendroth")
    entered = await week.enter_person("Neu")
    left_out = await week.enter_person("Vergessen")
    week.change_termin(numbers["Besprechung 0"], "Besprechung 0, Saal 2")
    week.office.advoware.termine.remove(numbers["Besprechung 2"])
    also_entered = week.enter_termin("Ortstermin")
    week.enter_termin("Eilsache")
    await week.webhook("update", same, not_done, edited_again, spoilt, removed)
    await week.webhook("create", entered, left_out)
    await week.crons()
    await week.at_rest()
    noted = await week.report()
    assert noted["same"] == 0
    assert {found[0] for found in differences(noted)} == {"open"}

    week.old_writes(same, name="Abendroth")
    week.old_creates_beteiligter(entered)
    week.old_changes_event("Besprechung 0", "Besprechung 0, Saal 2")
    week.old_deletes_event("Besprechung 2")
    week.old_creates_event(also_entered)
    week.old_writes(spoilt, name="Abendroth", vorname="Verschrieben")
    await week.edit(edited_again, lastName="Morgenroth")
    await week.delete(removed)
    report = await week.report()
    open_fields = {
        (not_done, "Beteiligte", "name"),
        *((left_out, "Beteiligte", field) for field in ("anrede", "name", "vorname")),
        (left_out, "CBeteiligte", "betnr"),
        *(("SB", "event", field) for field in EVENT),
    }
    assert differences(report) - left_over == {
        *(("open", *found) for found in open_fields),
        ("other", edited_again, "Beteiligte", "name"),
        ("new", spoilt, "CBeteiligte", "firstName"),
    }
    assert report["same"] == 14
    assert report["gone"] == [{"flow": "vmh", "subject": removed}]
    assert report["unknown"] == []
    assert report["tasks"] == 3

    await week.webhook("update", edited_again)
    await week.webhook("delete", removed)
    await week.refused_proxy()
    await week.crons()
    await week.at_rest()
    assert week.office.writes() == []
    assert week.warnings() == {"proxy.refused"}
