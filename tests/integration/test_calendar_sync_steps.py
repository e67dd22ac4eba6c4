"""The four steps of the calendar sync, driven through their handlers: who is enqueued, what callers are answered."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from motia import ApiRequest
from waiting import held

from config import Settings, get_settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import ActiveFault, Fault, running
from sandbox.google.app import GoogleTwin
from services.calendar_sync.run import lock_key
from services.calendar_sync.store import CalendarStore, Hold, Overwritten, Run
from services.core.errors import ForeignSystemError, InvalidInput
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.core.jobs.queue import NotEnqueued
from services.core.locks import record_lock
from services.core.resources import Resources, current_resources
from services.values.advoware_protocol import BERLIN

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

    async def post(
        self, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The answer of the manual start."""
        answer = await self.run("api", ApiRequest(body=body, headers=headers or {}))
        return answer.status, answer.body

    def calendars(self) -> list[str]:
        """The names of the calendars in Google, without the account's own one."""
        found = self.google.world.calendars.calendars.values()
        return [calendar.texts["summary"] for calendar in found if not calendar.primary]

    def termin(self, text: str) -> None:
        """A user enters a Termin of SB's for today."""
        day = f"{datetime.now(BERLIN):%Y-%m-%d}"
        times = {
            "datum": day,
            "uhrzeitVon": "10:00:00",
            "uhrzeitBis": "11:00:00",
            "datumBis": day,
        }
        self.advoware.termine.create({**times, "text": text, "anwalt": "SB"})

    def titles(self) -> set[str]:
        """The titles of all events in the employees' calendars."""
        found = self.google.world.calendars.calendars.values()
        events = [
            event
            for item in found
            if not item.primary
            for event in item.events.values()
        ]
        return {event.content.fields.get("summary", "") for event in events}

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
        for name, value in (
            make_settings(**{**addresses, **overrides}).environment().items()
        ):
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


async def test_all_enqueues_each_employee_once_however_often_it_comes(
    fresh: Worker,
) -> None:
    await fresh.run("all", {"full_content": False})
    await fresh.run("all", {"full_content": False})

    expected = [
        (EMPLOYEE, {"kuerzel": name, "full_content": False}) for name in ("AI", "SB")
    ]
    assert sorted(fresh.engine.queue, key=str) == expected


async def test_a_start_that_hides_the_texts_is_not_taken_for_the_job_that_waits(
    fresh: Worker,
) -> None:
    await fresh.run("all", {})
    await fresh.run("all", {"full_content": False})

    assert [event["full_content"] for _, event in fresh.engine.queue] == [
        True,
        True,
        False,
        False,
    ]


async def test_an_employee_whose_job_was_taken_up_is_enqueued_again(
    fresh: Worker,
) -> None:
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


async def test_what_could_not_be_enqueued_does_not_count_as_waiting(
    fresh: Worker,
) -> None:
    fresh.engine.is_down = True
    with pytest.raises(NotEnqueued):
        await fresh.run("all", {})
    fresh.engine.is_down = False

    await fresh.run("all", {})

    assert len(fresh.engine.queue) == 2


async def test_without_advoware_no_one_is_enqueued_and_the_queue_tries_again(
    fresh: Worker,
) -> None:
    fresh.strike(fresh.advoware, path="/Mitarbeiter", status=503)

    with pytest.raises(ForeignSystemError):
        await fresh.run("all", {})

    assert fresh.engine.queue == []


ODD = [
    {"how": "null"},
    {"how": "missing"},
    {"how": "empty_text"},
    {"how": "blanks"},
    {"how": "value", "to": 17},
    {"how": "value", "to": True},
    {"how": "value", "to": ["AI"]},
    {"how": "value", "to": {"AI": 1}},
    {"how": "value", "to": "X" * 100_000},
    {"how": "value", "to": "A\nI"},
    {"how": "value", "to": "  SB "},
    {"how": "value", "to": "sb"},
    {"how": "nul"},
    {"how": "half_emoji"},
    {"how": "zero_width"},
    {"how": "bidi"},
]


@pytest.mark.parametrize(
    "odd", ODD, ids=lambda odd: f"{odd['how']}-{str(odd.get('to', ''))[:8]}"
)
async def test_one_odd_employee_does_not_keep_the_others_from_being_enqueued(
    worker: Worker, odd: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Advoware's list has one row whose Kürzel is no employee's, or another employee's in another spelling."""
    monkeypatch.setenv("CALENDAR_SYNC_DEBUG_KUERZEL", "")
    get_settings.cache_clear()
    await worker.resources.redis.flushall()
    rule = {"field": "kuerzel", "where": {"kuerzel": "AI"}, **odd}
    worker.strike(worker.advoware, path="/Mitarbeiter", answer=[rule])

    await worker.run("all", {})

    enqueued = [
        event["kuerzel"] for topic, event in worker.engine.queue if topic == EMPLOYEE
    ]
    assert enqueued.count("SB") == 1
    assert len(enqueued) == len(set(enqueued)) > 3
    assert all(
        isinstance(name, str) and 0 < len(name) <= 50 and name == name.strip()
        for name in enqueued
    )


async def test_the_cron_lets_go_of_texts_that_were_overwritten_a_month_ago(
    fresh: Worker,
) -> None:
    store, now = (
        CalendarStore(await fresh.resources.database()),
        fresh.resources.clock(),
    )
    old = Overwritten(
        employee_kuerzel="SB",
        sync_id=uuid4(),
        google_event_id="",
        advoware_frnr=1,
        resource={},
    )
    for days in (29, 31):
        event = replace(old, google_event_id=f"e{days}")
        await store.keep_overwritten(event, now - timedelta(days=days))

    await fresh.run("all", {})

    (kept,) = await store.overwritten(now - timedelta(days=60))
    assert kept.at == now - timedelta(days=29)


# -- one employee -----------------------------------------------------------------------------------------------------


async def test_an_event_syncs_the_employee_and_says_so(fresh: Worker) -> None:
    await fresh.run("event", {"kuerzel": "SB", "full_content": True})

    assert fresh.calendars() == ["AW-SB"]
    assert fresh.engine.level_of("calendar.synced") == ["info"]


async def test_the_job_of_a_busy_employee_is_done_without_error(fresh: Worker) -> None:
    resources = fresh.resources
    async with record_lock(
        resources, lock_key("SB"), 60, redis=resources.calendar_redis
    ):
        await fresh.run("event", {"kuerzel": "SB"})

    assert fresh.calendars() == []
    assert fresh.engine.level_of("calendar.busy") == ["info"]
    await fresh.run("event", {"kuerzel": "SB"})
    assert fresh.calendars() == ["AW-SB"]


def at_work(worker: Worker) -> AbstractAsyncContextManager[asyncio.Task[Any]]:
    """A run of SB that has read Advoware, and waits for the answer to its first event."""
    run = worker.run("event", {"kuerzel": "SB"})
    return held(worker.google, run, method="POST", path="/events")


async def noted(worker: Worker) -> set[str] | None:
    """What is still asked for SB's calendar."""
    note = await Notes(await worker.resources.database()).find(calendar("SB"))
    return set(note.requested) if note else None


async def test_a_request_to_hide_the_texts_that_meets_a_running_sync_is_executed_by_that_sync(
    fresh: Worker,
) -> None:
    fresh.termin("Scheidung Müller")
    async with at_work(fresh) as working:
        await fresh.run("event", {"kuerzel": "SB", "full_content": False})
        assert fresh.engine.level_of("calendar.busy") == ["info"]
        assert await noted(fresh) == {HIDE}
    await working

    assert fresh.titles() == {"Advoware"}
    assert await noted(fresh) is None


async def test_a_termin_entered_while_a_sync_is_running_arrives_by_that_sync(
    fresh: Worker,
) -> None:
    fresh.termin("Erster")
    async with at_work(fresh) as working:
        fresh.termin("Zweiter")
        await fresh.run("event", {"kuerzel": "SB"})
    await working

    assert fresh.titles() == {"Erster", "Zweiter"}
    assert await noted(fresh) is None


async def test_a_request_to_hide_the_texts_outlives_a_run_that_fails(
    fresh: Worker,
) -> None:
    fresh.termin("Scheidung Müller")
    await fresh.run("event", {"kuerzel": "SB"})
    assert fresh.titles() == {"Scheidung Müller"}
    fresh.strike(fresh.advoware, path="/Termine", status=400, count=1)

    await fresh.run("event", {"kuerzel": "SB", "full_content": False})
    assert fresh.engine.level_of("calendar.failed") == ["error"]
    await fresh.run("event", {"kuerzel": "SB"})  # the cron's, which shows the texts

    assert fresh.titles() == {"Advoware"}
    await fresh.run("event", {"kuerzel": "SB"})
    assert fresh.titles() == {"Scheidung Müller"}


async def test_a_failed_run_with_full_content_leaves_no_note(fresh: Worker) -> None:
    fresh.strike(fresh.advoware, path="/Termine", status=400, count=1)
    await fresh.run("event", {"kuerzel": "SB"})
    assert await noted(fresh) is None


async def test_the_cron_takes_up_what_a_crash_has_left_also_of_those_who_have_left_the_firm(
    fresh: Worker, clock: Any
) -> None:
    notes = Notes(await fresh.resources.database())
    await notes.leave(
        calendar("EX"),
        frozenset({HIDE}),
        fresh.resources.clock() - timedelta(minutes=5),
    )
    await notes.leave(calendar("SB"), frozenset(), fresh.resources.clock())

    await fresh.run("all", {})

    assert {event["kuerzel"] for _, event in fresh.engine.queue} == {"SB", "AI", "EX"}


async def test_a_run_that_fails_is_reported_and_left_to_the_next_cron(
    fresh: Worker,
) -> None:
    fresh.strike(fresh.advoware, path="/Termine", status=400)

    await fresh.run("event", {"kuerzel": "SB"})

    assert fresh.engine.level_of("calendar.failed") == ["error"]
    assert not await fresh.resources.calendar_redis.exists(lock_key("SB"))


async def test_a_missing_service_account_is_reported_to_the_operator(
    worker: Worker,
) -> None:
    worker.environment(GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH="/nowhere/account.json")

    await worker.run("event", {"kuerzel": "SB"})

    (fields,) = [
        fields for _, name, fields in worker.engine.lines if name == "calendar.failed"
    ]
    assert "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH" in str(fields)


async def forbid_cursors(worker: Worker, kuerzel: str, words: str) -> None:
    """PostgreSQL refuses to remember where this employee's sync stands, with words of its own."""
    pool = await worker.resources.database()
    await pool.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = 'P0001'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON calendar_sync_cursor
        FOR EACH ROW WHEN (NEW.employee_kuerzel = '{kuerzel}') EXECUTE FUNCTION refuse();
    """)


async def runs(worker: Worker) -> dict[str, Run]:
    """How the latest runs have ended, by Kürzel."""
    store = CalendarStore(await worker.resources.database())
    return {run.employee_kuerzel: run for run in await store.runs()}


async def test_a_failure_that_no_one_has_foreseen_is_reported_without_its_text_and_is_no_one_elses(
    fresh: Worker,
) -> None:
    await forbid_cursors(fresh, "SB", "Scheidung Müller")

    await fresh.run("event", {"kuerzel": "SB"})
    await fresh.run("event", {"kuerzel": "SB"})
    await fresh.run("event", {"kuerzel": "AI"})

    noted = await runs(fresh)
    failed, done = noted["SB"], noted["AI"]
    assert (failed.result, failed.failures, failed.succeeded_at) == ("failed", 2, None)
    assert (failed.code or "").startswith("RaiseError (store.py:")
    assert failed.failing_since is not None
    assert (done.result, done.code, done.failures) == ("no_change", None, 0)
    (reported, _) = [
        fields for _, name, fields in fresh.engine.lines if name == "calendar.failed"
    ]
    assert (reported["kuerzel"], reported["error"]) == ("SB", failed.code)
    assert "Scheidung" not in str(fresh.engine.lines) + str(noted)


async def test_a_run_that_fails_is_remembered_with_its_code_until_one_succeeds(
    fresh: Worker,
) -> None:
    fresh.strike(
        fresh.advoware,
        path="/Termine",
        status=400,
        body={"message": "Scheidung Müller"},
        count=1,
    )

    await fresh.run("event", {"kuerzel": "SB"})
    failed = (await runs(fresh))["SB"]
    await fresh.run("event", {"kuerzel": "SB"})

    assert (failed.result, failed.code) == (
        "failed",
        "ValidationFailed: Advoware answered 400",
    )
    assert failed.ended_at == failed.failing_since
    mended = (await runs(fresh))["SB"]
    assert (mended.result, mended.code, mended.failing_since, mended.failures) == (
        "no_change",
        None,
        None,
        0,
    )


async def test_single_appointments_that_fail_are_a_failed_run_with_the_first_code(
    fresh: Worker,
) -> None:
    fresh.termin("Scheidung Müller")
    fresh.strike(fresh.google, method="POST", path="/events", status=400)

    await fresh.run("event", {"kuerzel": "SB"})

    noted = (await runs(fresh))["SB"]
    assert (noted.result, noted.failures) == ("failed", 1)
    assert "400" in (noted.code or "")
    assert "Scheidung" not in str(noted)


async def test_a_run_that_changes_something_is_remembered_as_such(
    fresh: Worker,
) -> None:
    fresh.termin("Erster")
    await fresh.run("event", {"kuerzel": "SB"})
    assert (await runs(fresh))["SB"].result == "changed"


async def test_a_busy_employee_is_no_run(fresh: Worker) -> None:
    resources = fresh.resources
    async with record_lock(
        resources, lock_key("SB"), 60, redis=resources.calendar_redis
    ):
        await fresh.run("event", {"kuerzel": "SB"})

    assert await runs(fresh) == {}


async def test_without_postgresql_a_run_fails_in_the_log_only(worker: Worker) -> None:
    worker.environment(POSTGRES_HOST="127.0.0.1", POSTGRES_PORT="9")

    await worker.run("event", {"kuerzel": "SB"})

    assert worker.engine.level_of("calendar.failed") == ["error"]
    assert worker.engine.level_of("calendar.run_not_noted") == ["warning"]


async def test_a_job_that_is_ended_is_no_failure(fresh: Worker) -> None:
    """Whoever ends the worker wants it to end."""
    fresh.termin("Erster")
    async with at_work(fresh) as working:
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    assert fresh.engine.level_of("calendar.failed") == []
    assert await runs(fresh) == {}


@pytest.mark.parametrize(
    "event", [None, {}, {"kuerzel": 5}, {"kuerzel": "SB", "full_content": "nein"}]
)
async def test_an_unusable_event_becomes_a_dead_letter(
    fresh: Worker, event: Any
) -> None:
    with pytest.raises(InvalidInput):
        await fresh.run("event", event)

    assert fresh.calendars() == []


# -- what the health says of it ---------------------------------------------------------------------------------------


async def health(worker: Worker) -> dict[str, Any]:
    """What GET /health says of the calendar; as a whole it is as well as that, because all else is well."""
    module = importlib.import_module("steps.health_step")
    answer = await module.handler(ApiRequest(body=None, headers={}), worker.engine)
    part = answer.body["calendar"]
    assert answer.status == 200
    assert {"SB", "AI"}.isdisjoint(str(part).replace("'", " ").split())
    part.pop("latency_ms", None)
    found: dict[str, Any] = part
    return found


async def test_the_health_is_well_before_the_first_run(fresh: Worker) -> None:
    assert await health(fresh) == {
        "status": "ok",
        "employees": 0,
        "failing": 0,
        "held": 0,
        "since": None,
        "last_run": None,
    }


async def test_the_health_is_degraded_while_somebodys_runs_fail(fresh: Worker) -> None:
    fresh.strike(fresh.advoware, path="/Termine", status=400, count=1)
    await fresh.run("event", {"kuerzel": "SB"})
    await fresh.run("event", {"kuerzel": "AI"})

    reported = await health(fresh)

    noted = await runs(fresh)
    assert (
        reported["status"],
        reported["employees"],
        reported["failing"],
        reported["held"],
    ) == (
        "degraded",
        2,
        1,
        0,
    )
    assert reported["since"] == noted["SB"].ended_at.isoformat()
    assert reported["last_run"] == noted["AI"].ended_at.isoformat()


async def test_the_health_is_degraded_while_work_is_held_and_not_released(
    fresh: Worker,
) -> None:
    store, now = (
        CalendarStore(await fresh.resources.database()),
        fresh.resources.clock(),
    )
    for kuerzel in ("SB", "AI", "MK"):
        await store.note_run(kuerzel, "held", "too_many", now)
        hold = Hold(
            employee_kuerzel=kuerzel,
            reason="too_many",
            number=9,
            live_pairs=20,
            held_since=now,
        )
        await store.save_hold(hold)
    await store.release_hold("AI", now)

    reported = await health(fresh)

    assert (
        reported["status"],
        reported["failing"],
        reported["held"],
        reported["since"],
    ) == (
        "degraded",
        0,
        2,
        now.isoformat(),
    )


async def test_the_health_is_degraded_if_no_employee_had_a_run_of_late(
    fresh: Worker,
) -> None:
    store, now = (
        CalendarStore(await fresh.resources.database()),
        fresh.resources.clock(),
    )
    await store.note_run("SB", "changed", None, now - timedelta(minutes=46))

    assert (await health(fresh))["status"] == "degraded"


async def test_who_has_left_the_firm_with_a_failure_does_not_degrade_the_health_for_ever(
    fresh: Worker,
) -> None:
    store, now = (
        CalendarStore(await fresh.resources.database()),
        fresh.resources.clock(),
    )
    await store.note_run("EX", "failed", "Forbidden", now - timedelta(hours=1))
    hold = Hold(
        employee_kuerzel="EX",
        reason="too_many",
        number=9,
        live_pairs=20,
        held_since=now,
    )
    await store.save_hold(hold)
    await store.note_run("SB", "changed", None, now)

    reported = await health(fresh)

    assert (
        reported["status"],
        reported["employees"],
        reported["failing"],
        reported["held"],
    ) == (
        "ok",
        1,
        0,
        0,
    )


async def test_a_firm_without_google_has_no_calendar_to_be_ill(worker: Worker) -> None:
    worker.environment(GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH="")

    assert await health(worker) == {"status": "not_configured"}


# -- the manual start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, {}, {"kuerzel": "ALL"}, {"kuerzel": "all", "full_content": True}]
)
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
    async with record_lock(
        resources, lock_key("SB"), 60, redis=resources.calendar_redis
    ):
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
async def test_an_unusable_request_is_refused_and_starts_nothing(
    fresh: Worker, body: Any, status: int
) -> None:
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
