"""The four steps of the calendar sync, driven through their handlers: who is enqueued, what callers are answered."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from motia import ApiRequest

from config import Settings, get_settings
from sandbox.advoware import AdvowareTwin
from sandbox.control import ActiveFault, Fault, running
from sandbox.google import GoogleTwin
from services.calendar_sync.run import lock_key
from services.errors import ForeignSystemError, InvalidInput
from services.locks import record_lock
from services.queue import NotEnqueued
from services.resources import Resources, current_resources

STEPS = Path(__file__).parents[2] / "steps" / "advoware_cal_sync"
ALL = "calendar_sync_all"
EMPLOYEE = "calendar_sync_employee"
KEY = "0123456789abcdef01234567"


@dataclass
class _Log:
    lines: list[tuple[str, str, dict[str, Any]]]

    def info(self, event: str, fields: dict[str, Any]) -> None:
        self.lines.append(("info", event, fields))

    def warn(self, event: str, fields: dict[str, Any]) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, fields: dict[str, Any]) -> None:
        self.lines.append(("error", event, fields))


@dataclass
class Engine:
    """What a step sees of the engine: its queue, which may be down, and its log."""

    queue: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    is_down: bool = False
    trace_id: str = "trace-1"

    @property
    def logger(self) -> _Log:
        return _Log(self.lines)

    async def enqueue(self, message: dict[str, Any]) -> None:
        if self.is_down:
            raise ConnectionError("the engine is away")
        self.queue.append((message["topic"], json.loads(json.dumps(message["data"]))))

    def level_of(self, event: str) -> list[str]:
        return [level for level, name, _ in self.lines if name == event]


@dataclass
class Worker:
    """A worker with its environment. ``resources`` are those that the steps use."""

    advoware: AdvowareTwin
    google: GoogleTwin
    environment: Callable[..., None]
    engine: Engine = field(default_factory=Engine)

    @property
    def resources(self) -> Resources:
        return current_resources()

    async def run(self, step: str, data: Any = None) -> Any:
        """Let the engine call a step."""
        return await _load(step).handler(data, self.engine)

    async def post(self, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """The answer of the manual start."""
        answer = await self.run("api", ApiRequest(body=body, headers=headers or {}))
        return answer.status, answer.body

    def calendars(self) -> list[str]:
        """The names of the calendars in Google, without the account's own one."""
        found = self.google.world.calendars.calendars.values()
        return [calendar.texts["summary"] for calendar in found if not calendar.primary]

    def strike(self, twin: AdvowareTwin | GoogleTwin, **fault: Any) -> None:
        """A system misbehaves."""
        twin.faults.append(ActiveFault(Fault(**fault)))


def _load(step: str) -> Any:
    path = STEPS / f"calendar_sync_{step}_step.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
async def worker(
    advoware: AdvowareTwin,
    clock: Any,
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Worker]:
    google = GoogleTwin(empty=True, clock=clock, quota_per_minute=None)

    def set_environment(**overrides: str) -> None:
        account = tmp_path / "account.json"
        account.write_text(json.dumps(google.service_account()))
        addresses = {
            "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": str(account),
            "GOOGLE_CALENDAR_API_ENDPOINT": google.url,
            "CALENDAR_SYNC_DEBUG_KUERZEL": "SB,AI",
        }
        for name, value in make_settings(**{**addresses, **overrides}).environment().items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    async with running(google):
        set_environment()
        opened = Worker(advoware, google, set_environment)
        yield opened
        await current_resources().close()
    get_settings.cache_clear()


@pytest.fixture
async def fresh(worker: Worker) -> Worker:
    """A worker whose Redis remembers nothing."""
    await worker.resources.redis.flushall()
    return worker


# -- cron and all -----------------------------------------------------------------------------------------------------


async def test_the_cron_starts_the_sync_of_all_with_full_content(fresh: Worker) -> None:
    await fresh.run("cron")

    assert fresh.engine.queue == [(ALL, {"full_content": True})]


async def test_a_queue_that_is_down_fails_the_cron_visibly(fresh: Worker) -> None:
    fresh.engine.is_down = True

    with pytest.raises(NotEnqueued):
        await fresh.run("cron")


async def test_all_enqueues_each_employee_once_however_often_it_comes(fresh: Worker) -> None:
    await fresh.run("all", {"full_content": False})
    await fresh.run("all", {"full_content": False})

    expected = [(EMPLOYEE, {"kuerzel": name, "full_content": False}) for name in ("AI", "SB")]
    assert sorted(fresh.engine.queue, key=str) == expected


async def test_a_start_that_hides_the_texts_is_not_taken_for_the_job_that_waits(fresh: Worker) -> None:
    await fresh.run("all", {})
    await fresh.run("all", {"full_content": False})

    assert [event["full_content"] for _, event in fresh.engine.queue] == [True, True, False, False]


async def test_an_employee_whose_job_was_taken_up_is_enqueued_again(fresh: Worker) -> None:
    await fresh.run("all", {})
    for _, event in list(fresh.engine.queue):
        await fresh.run("event", event)
    fresh.engine.queue.clear()

    await fresh.run("all", {})

    assert [event["kuerzel"] for _, event in fresh.engine.queue] == ["AI", "SB"]


async def test_who_was_synced_least_recently_is_enqueued_first(fresh: Worker) -> None:
    await fresh.run("event", {"kuerzel": "AI"})

    await fresh.run("all", {})

    assert [event["kuerzel"] for _, event in fresh.engine.queue] == ["SB", "AI"]


async def test_what_could_not_be_enqueued_does_not_count_as_waiting(fresh: Worker) -> None:
    fresh.engine.is_down = True
    with pytest.raises(NotEnqueued):
        await fresh.run("all", {})
    fresh.engine.is_down = False

    await fresh.run("all", {})

    assert len(fresh.engine.queue) == 2


async def test_without_advoware_nobody_is_enqueued_and_the_queue_tries_again(fresh: Worker) -> None:
    fresh.strike(fresh.advoware, path="/Mitarbeiter", status=503)

    with pytest.raises(ForeignSystemError):
        await fresh.run("all", {})

    assert fresh.engine.queue == []


# -- one employee -----------------------------------------------------------------------------------------------------


async def test_an_event_syncs_the_employee_and_says_so(fresh: Worker) -> None:
    await fresh.run("event", {"kuerzel": "SB", "full_content": True})

    assert fresh.calendars() == ["AW-SB"]
    assert fresh.engine.level_of("calendar.synced") == ["info"]


async def test_the_job_of_a_busy_employee_is_done_without_error(fresh: Worker) -> None:
    resources = fresh.resources
    async with record_lock(resources, lock_key("SB"), 60, redis=resources.calendar_redis):
        await fresh.run("event", {"kuerzel": "SB"})

    assert fresh.calendars() == []
    assert fresh.engine.level_of("calendar.busy") == ["info"]
    await fresh.run("event", {"kuerzel": "SB"})
    assert fresh.calendars() == ["AW-SB"]


async def test_a_run_that_fails_is_told_and_left_to_the_next_cron(fresh: Worker) -> None:
    fresh.strike(fresh.advoware, path="/Termine", status=400)

    await fresh.run("event", {"kuerzel": "SB"})

    assert fresh.engine.level_of("calendar.failed") == ["error"]
    assert not await fresh.resources.calendar_redis.exists(lock_key("SB"))


async def test_a_missing_service_account_is_told_to_the_operator(worker: Worker) -> None:
    worker.environment(GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH="/nowhere/account.json")

    await worker.run("event", {"kuerzel": "SB"})

    (fields,) = [fields for _, name, fields in worker.engine.lines if name == "calendar.failed"]
    assert "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH" in str(fields)


@pytest.mark.parametrize("event", [None, {}, {"kuerzel": 5}, {"kuerzel": "SB", "full_content": "nein"}])
async def test_an_unusable_event_becomes_a_dead_letter(fresh: Worker, event: Any) -> None:
    with pytest.raises(InvalidInput):
        await fresh.run("event", event)

    assert fresh.calendars() == []


# -- the manual start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, {}, {"kuerzel": "ALL"}, {"kuerzel": "all", "full_content": True}])
async def test_without_a_kuerzel_all_are_started(fresh: Worker, body: Any) -> None:
    status, answer = await fresh.post(body)

    assert (status, answer["status"], answer["kuerzel"]) == (200, "triggered", "ALL")
    assert answer["message"]
    assert fresh.engine.queue == [(ALL, {"full_content": True})]


async def test_one_employee_is_started_with_what_was_asked_for(fresh: Worker) -> None:
    status, answer = await fresh.post({"kuerzel": "SB", "full_content": False})

    assert (status, answer["status"], answer["kuerzel"]) == (200, "triggered", "SB")
    assert fresh.engine.queue == [(EMPLOYEE, {"kuerzel": "SB", "full_content": False})]


async def test_an_employee_who_is_being_synced_is_locked(fresh: Worker) -> None:
    resources = fresh.resources
    async with record_lock(resources, lock_key("SB"), 60, redis=resources.calendar_redis):
        status, answer = await fresh.post({"kuerzel": "SB"})

    assert (status, answer["status"], fresh.engine.queue) == (409, "locked", [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kuerzel": "XX"}, 404),
        ({"kuerzel": ""}, 404),
        ({"kuerzel": None}, 400),
        ({"kuerzel": 5}, 400),
        ({"full_content": "true"}, 400),
        ({"full_content": 1}, 400),
        (["SB"], 400),
        ("SB", 400),
    ],
)
async def test_an_unusable_wish_is_refused_and_starts_nothing(fresh: Worker, body: Any, status: int) -> None:
    answer = await fresh.post(body)

    assert (answer[0], fresh.engine.queue) == (status, [])


async def test_a_caller_needs_a_key_where_keys_are_configured(worker: Worker) -> None:
    worker.environment(BITBYLAW_API_KEYS=KEY)

    assert (await worker.post({}))[0] == 401
    assert (await worker.post({}, {"x-api-key": "wrong"}))[0] == 401
    assert (await worker.post({}, {"x-api-key": KEY}))[0] == 200
    assert len(worker.engine.queue) == 1


async def test_a_queue_that_is_down_is_503(fresh: Worker) -> None:
    fresh.engine.is_down = True

    assert (await fresh.post({}))[0] == 503
    assert (await fresh.post({"kuerzel": "SB"}))[0] == 503


async def test_a_redis_that_is_down_is_503(worker: Worker) -> None:
    worker.environment(REDIS_HOST="127.0.0.1", REDIS_PORT="1")

    assert (await worker.post({"kuerzel": "SB"}))[0] == 503


async def test_an_advoware_that_is_down_is_502(fresh: Worker) -> None:
    fresh.strike(fresh.advoware, path="/Mitarbeiter", status=503)

    assert (await fresh.post({"kuerzel": "SB"}))[0] == 502
