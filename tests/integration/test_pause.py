"""An operator pauses: nothing is written to foreign systems, nothing is lost or done twice, and the audit names who."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beteiligte_office import Office, office
from motia import ApiRequest
from typer.testing import CliRunner
from waiting import held
from watched_journal import WatchedJournal

from cli.main import app
from config import PROJECT_ROOT, Settings, get_settings
from services.advoware_service import AdvowareService
from services.api.health import report_health
from services.api.proxy import forward
from services.calendar_sync.employees import EmployeeStore
from services.core.errors import InvalidInput, Paused
from services.core.jobs.queue import NotEnqueued
from services.core.operation.operator_actions import latest_actions
from services.core.operation.pause import (
    CRONS,
    TOPICS,
    Scope,
    active_pauses,
    pause,
    require_writable,
    resume,
    waiting_jobs,
)
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI

__all__ = ["office"]

ALL = Scope("all")
STEPS = PROJECT_ROOT / "steps"
EVENT = "vmh/beteiligte_sync_event"
WEBHOOK = "vmh/webhook/beteiligte_update_api"


class Log:
    def info(self, event: str, fields: Any = None) -> None: ...

    warn = error = info


@dataclass
class Worker:
    """A worker and the engine's queue; the office beside it."""

    office: Office
    queue: list[tuple[str, Any]] = field(default_factory=list)
    is_down: bool = False
    trace_id: str = "trace"
    logger: Log = field(default_factory=Log)

    @property
    def resources(self) -> Resources:
        return current_resources()

    async def enqueue(self, message: dict[str, Any]) -> None:
        if self.is_down:
            raise ConnectionError("the engine is away")
        self.queue.append((message["topic"], json.loads(json.dumps(message["data"]))))

    async def step(self, name: str, data: Any = None) -> Any:
        return await load(STEPS / f"{name}_step.py").handler(data, self)

    async def webhook(self, *ids: str) -> int:
        body = [{"id": entity_id} for entity_id in ids]
        answer = await self.step(WEBHOOK, ApiRequest(body=body, headers={}))
        return int(answer.status)

    async def work(self) -> None:
        """The queue delivers what waits."""
        waiting, self.queue = self.queue, []
        for topic, data in waiting:
            assert topic.startswith("vmh.beteiligte.")
            await self.step(EVENT, data)


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def worker(
    office: Office,
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Worker]:
    for name, value in make_settings().environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield Worker(office)
    await current_resources().close()
    get_settings.cache_clear()


async def audited(resources: Resources) -> list[tuple[str, str, str, str]]:
    lines = await latest_actions(await resources.database())
    return [(line.who, line.action, line.target, line.result) for line in lines]


# -- everything ---------------------------------------------------------------------------------------------------


async def test_while_everything_is_paused_webhooks_wait_and_then_each_is_synced_once(
    worker: Worker,
) -> None:
    entity_id, betnr = await worker.office.linked_person()
    await worker.office.edit_espocrm(entity_id, lastName="Neu")
    await pause(worker.resources, ALL, reason="Wartung", who="cli:anna")
    before = worker.office.writes()

    for _ in range(3):
        assert await worker.webhook(entity_id) == 200
        await worker.work()

    assert worker.office.writes() == before
    assert await waiting_jobs(worker.resources) == {"vmh.beteiligte.update": 1}
    assert await worker.step("resume_cron") == {"released": 0, "waiting": 1}

    assert await resume(worker.resources, ALL, who="cli:anna")
    assert await worker.step("resume_cron") == {"released": 1, "waiting": 0}
    await worker.work()

    assert worker.office.in_advoware(betnr)["name"] == "Neu"
    assert worker.queue == []
    assert await worker.step("resume_cron") == {"released": 0, "waiting": 0}


@pytest.mark.parametrize(
    "scope", [ALL, Scope("flow", "vmh"), Scope("topic", "vmh.beteiligte.update")]
)
async def test_a_run_that_began_before_stops_at_its_next_write_and_loses_no_try(
    worker: Worker, scope: Scope
) -> None:
    entity_id, betnr = await worker.office.linked_person()
    await worker.office.edit_espocrm(entity_id, lastName="Neu")
    assert await worker.webhook(entity_id) == 200
    path = f"Beteiligte/{betnr}$"
    advoware = worker.office.advoware
    async with held(advoware, worker.work(), method="GET", path=path) as run:
        await pause(worker.resources, scope, reason="Wartung", who="cli:anna")
    await run

    shown = await worker.office.in_espocrm(entity_id)
    assert worker.office.in_advoware(betnr)["name"] != "Neu"
    assert not shown.get("syncRetryCount")
    assert not shown.get("syncErrorMessage")
    assert await waiting_jobs(worker.resources) == {"vmh.beteiligte.update": 1}

    await resume(worker.resources, scope, who="cli:anna")
    await worker.step("resume_cron")
    await worker.work()
    assert worker.office.in_advoware(betnr)["name"] == "Neu"
    assert (await worker.office.in_espocrm(entity_id))["syncStatus"] == "clean"


async def test_a_pause_ends_by_itself_and_the_audit_says_so(worker: Worker) -> None:
    entity_id, _ = await worker.office.linked_person()
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=5)
    await pause(worker.resources, ALL, reason="Wartung", who="cli:anna", until=soon)
    await worker.webhook(entity_id)
    await worker.work()
    worker.resources.clock = lambda: soon

    assert await active_pauses(worker.resources) == []
    assert (await worker.step("resume_cron"))["released"] == 1
    assert [topic for topic, _ in worker.queue] == ["vmh.beteiligte.update"]
    assert await audited(worker.resources) == [
        ("system", "resume", "all", "done"),
        ("cli:anna", "pause", "all", "done"),
    ]


async def test_jobs_stay_where_they_are_while_the_queue_is_down(worker: Worker) -> None:
    await pause(worker.resources, ALL, reason="Wartung", who="cli:anna")
    event = {"entity_id": "abc", "action": "update", "source": "webhook"}
    await worker.step(EVENT, event)
    await resume(worker.resources, ALL, who="cli:anna")

    worker.is_down = True
    with pytest.raises(NotEnqueued):
        await worker.step("resume_cron")
    worker.is_down = False
    assert (await worker.step("resume_cron"))["released"] == 1
    assert worker.queue == [("vmh.beteiligte.update", event)]


async def test_tools_are_notified_that_writing_is_paused_and_may_read(
    worker: Worker,
) -> None:
    _, betnr = await worker.office.linked_person()
    await pause(worker.resources, ALL, reason="Wartung", who="cli:anna")
    query = {"endpoint": f"api/v1/advonet/Beteiligte/{betnr}"}

    async def ask(method: str, body: Any = None) -> tuple[int, Any]:
        request = ApiRequest(body=body, headers={}, query_params=query)
        status, answer, _ = await forward(request, method, worker)
        return status, answer

    assert (await ask("GET"))[0] == 200
    status, answer = await ask("PUT", {"vorname": "X"})
    assert (status, answer["error"]) == (503, "Paused")
    assert worker.office.in_advoware(betnr).get("vorname") != "X"


async def test_a_pause_outlasts_postgresql(worker: Worker) -> None:
    """The worker has read the pause; then PostgreSQL goes away."""
    resources = worker.resources
    await pause(resources, ALL, reason="Restore", who="cli:anna")
    await require_paused(resources)
    await (await resources.database()).close()
    await require_paused(resources)


async def require_paused(resources: Resources) -> None:
    with pytest.raises(Paused):
        await require_writable(resources)


# -- parts --------------------------------------------------------------------------------------------------------


async def test_a_paused_topic_stops_no_other(worker: Worker) -> None:
    entity_id, betnr = await worker.office.linked_person()
    await worker.office.edit_espocrm(entity_id, lastName="Neu")
    topic = Scope("topic", "vmh.beteiligte.update")
    await pause(worker.resources, topic, reason="Wartung", who="cli:anna")
    await worker.webhook(entity_id)
    await worker.work()
    assert worker.office.in_advoware(betnr)["name"] != "Neu"

    await worker.step(
        EVENT, {"entity_id": entity_id, "action": "sync_now", "source": "hand"}
    )
    assert worker.office.in_advoware(betnr)["name"] == "Neu"


async def test_a_paused_cron_leaves_its_runs_out(worker: Worker) -> None:
    await worker.office.new_person(syncStatus="dirty")
    cron = Scope("cron", "beteiligte_sync")
    await pause(worker.resources, cron, reason="Wartung", who="cli:anna")
    assert await worker.step("vmh/beteiligte_sync_cron") is None
    assert worker.queue == []

    await resume(worker.resources, cron, who="cli:anna")
    assert (await worker.step("vmh/beteiligte_sync_cron"))["total"] == 1


async def test_a_paused_employee_waits_and_the_others_do_not(worker: Worker) -> None:
    await pause(
        worker.resources, Scope("employee", "sb"), reason="Urlaub", who="cli:anna"
    )
    step = "advoware_cal_sync/calendar_sync_event"
    for kuerzel in ("SB", "AI"):
        await worker.step(step, {"kuerzel": kuerzel, "full_content": True})
    assert await waiting_jobs(worker.resources) == {"calendar_sync_employee": 1}

    await resume(worker.resources, Scope("employee", "sb"), who="cli:anna")
    await worker.step("resume_cron")
    assert worker.queue == [
        ("calendar_sync_employee", {"kuerzel": "SB", "full_content": True})
    ]


def test_all_topics_and_crons_of_the_steps_can_be_paused() -> None:
    """But for those that write to no foreign system: the greeting, the end of pauses, the nightly cleaning."""
    topics, crons = set(), set()
    for path in STEPS.rglob("*_step.py"):
        config = load(path).config
        for trigger in config["triggers"]:
            if trigger.type == "queue":
                topics.add(trigger.topic)
            if trigger.type == "cron":
                crons.add(path.stem.removesuffix("_cron_step"))
    assert topics - set(TOPICS) == {"hello"}
    assert set(TOPICS) <= topics
    assert crons == set(CRONS) | {"resume", "retention"}


# -- what is reported -------------------------------------------------------------------------------------------------


async def test_health_says_what_is_paused_but_not_whom_it_is_about_nor_why(
    worker: Worker,
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    flow = Scope("flow", "calendar")
    await pause(worker.resources, flow, reason="Grund", who="cli:anna", until=until)
    await pause(
        worker.resources, Scope("employee", "SB"), reason="Grund", who="cli:anna"
    )
    status, body = await report_health()
    assert (status, body["status"]) == (200, "paused")
    found = [(item["kind"], item["target"]) for item in body["paused"]]
    assert found == [("flow", "calendar"), ("employee", "")]
    assert body["paused"][0]["until"] == until.isoformat()
    assert not {"SB", "Grund", "anna"} & set(re.findall(r"\w+", json.dumps(body)))


@pytest.mark.parametrize(
    ("scope", "reason", "minutes"),
    [
        (Scope("flow", "vhm"), "Wartung", None),
        (Scope("topic", "vmh.beteiligte"), "Wartung", None),
        (Scope("cron", ""), "Wartung", None),
        (Scope("employee", " "), "Wartung", None),
        (Scope("all", "vmh"), "Wartung", None),
        (ALL, "  ", None),
        (ALL, "x" * 201, None),
        (ALL, "Wartung", 0),
    ],
)
async def test_a_pause_of_nothing_without_reason_or_over_already_is_refused(
    resources: Resources, scope: Scope, reason: str, minutes: int | None
) -> None:
    until = None
    if minutes is not None:
        until = resources.clock() + timedelta(minutes=minutes)
    with pytest.raises(InvalidInput):
        await pause(resources, scope, reason=reason, who="cli:anna", until=until)
    assert await audited(resources) == []


@pytest.mark.parametrize("kuerzel", ["SBX", "S", "Mu\u0308"])
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
async def test_a_pause_of_an_employee_who_does_not_exist_is_refused(
    command: Callable[..., Any],
    resources: Resources,
    kuerzel: str,
    dry_run: tuple[str, ...],
) -> None:
    employees = EmployeeStore(await resources.database())
    await employees.remember({"SB": "Sabine", "MÜ": "Max"}, resources.clock())

    answer = await command("pause", "--employee", kuerzel, "--reason", "x", *dry_run)

    assert answer.exit_code == 2
    assert "one of MÜ, SB" in answer.output
    assert await active_pauses(resources) == []
    answer = await command("pause", "--employee", "mü", "--reason", "x")
    assert answer.exit_code == 0, answer.output


# -- command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    for name, value in resources.settings.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    yield run
    get_settings.cache_clear()


async def test_the_command_line_pauses_until_a_time_and_resumes(
    command: Callable[..., Any], resources: Resources
) -> None:
    answer = await command(
        "pause", "--flow", "vmh", "--reason", "Advoware-Update", "--until", "18:00"
    )
    assert answer.exit_code == 0, answer.output
    assert "paused: flow vmh" in answer.output
    (made,) = await active_pauses(resources)
    assert made.until is not None
    here = made.until.astimezone(ZoneInfo("Europe/Berlin"))
    assert (here.hour, here.minute) == (18, 0)
    assert timedelta(0) < made.until - datetime.now(UTC) <= timedelta(days=1)

    shown = await command("pause", "--list", "--json")
    assert json.loads(shown.output)["paused"][0]["reason"] == "Advoware-Update"
    assert (await command("resume", "--flow", "vmh")).exit_code == 0
    assert (await command("resume", "--flow", "vmh")).exit_code == 1
    assert [line[1:] for line in await audited(resources)] == [
        ("resume", "flow:vmh", "nothing_to_do"),
        ("resume", "flow:vmh", "done"),
        ("pause", "flow:vmh", "done"),
    ]


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    command: Callable[..., Any], resources: Resources
) -> None:
    wanted = ["pause", "--flow", "vmh", "--reason", "Advoware-Update"]
    answer = await command(*wanted, "--dry-run")
    assert "would be paused: flow vmh" in answer.output
    assert await active_pauses(resources) == []
    assert (await command("resume", "--flow", "vmh", "--dry-run")).exit_code == 1
    await command(*wanted)
    answer = await command("resume", "--flow", "vmh", "--dry-run", "--json")
    assert (answer.exit_code, json.loads(answer.output)["would_resume"]) == (0, True)
    assert len(await active_pauses(resources)) == 1
    assert [line[1] for line in await audited(resources)] == ["pause"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["pause"],
        ["pause", "--reason", "x", "--until", "soon"],
        ["pause", "--reason", "x", "--flow", "vmh", "--employee", "SB"],
        ["resume", "--cron", "nightly"],
        ["pause", "--reason", "x", "--employee", ""],
        ["pause", "--reason", "x", "--flow", " "],
        ["pause", "--reason", "x", "--flow", "vmh", "--until", ""],
        ["resume", "--topic", ""],
        ["pause", "--reason", "x", "--until", "9999-12-31T23:59:00-12:00"],
    ],
)
async def test_what_cannot_be_done_is_exit_status_2(
    command: Callable[..., Any], resources: Resources, arguments: list[str]
) -> None:
    answer = await command(*arguments)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.output
    assert await audited(resources) == []


async def test_a_pause_stops_the_next_try_of_a_write_that_is_repeated(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    await office.fault(office.espocrm, method="POST|PUT", status=503)
    was_tried = asyncio.Event()

    def note(entry: dict[str, Any]) -> None:
        if entry["method"] in {"POST", "PUT"}:
            was_tried.set()

    office.espocrm.journal = WatchedJournal(note)
    espocrm = EspoCRMAPI(resources=office.resources)
    write = asyncio.create_task(
        espocrm.update_entity("CBeteiligte", entity_id, {"lastName": "Neu"})
    )
    await was_tried.wait()
    await pause(office.resources, ALL, reason="Wartung", who="cli:anna")
    with pytest.raises(Paused):
        await write


async def test_a_pause_stops_the_second_try_of_a_write_to_advoware_after_a_login(
    office: Office,
) -> None:
    _, betnr = await office.linked_person()
    record = await AdvowareService(resources=office.resources).get_beteiligter(betnr)
    await office.fault(office.advoware, path="Beteiligte", method="PUT", status=401)
    tries: list[str] = []
    was_tried = asyncio.Event()

    def note(entry: dict[str, Any]) -> None:
        if entry["method"] == "PUT":
            tries.append(entry["path"])
            was_tried.set()

    office.advoware.journal = WatchedJournal(note)
    service = AdvowareService(resources=office.resources)
    async with office.resources.login_lock:  # the new login waits
        write = asyncio.create_task(
            service.update_beteiligter(betnr, {**record, "name": "Neu"})
        )
        await was_tried.wait()
        await pause(office.resources, ALL, reason="Wartung", who="cli:anna")
    with pytest.raises(Paused):
        await write
    assert len(tries) == 1
