"""The whole firm: three twins over HTTP, real PostgreSQL and Redis, two workers that can die, an engine, and people.

`Firm.perform` performs an operation of a story (`firm_story`); `Firm.settle` ends what goes wrong and lets the
syncs come to rest. People, ledgers and checks are those of `beteiligte_world` and `calendar_world`, which share one
Advoware, one clock and one database here.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis
from beteiligte_world import LATE_MS, WRITES, BeteiligteWorld, Ledger, _guarded
from calendar_scenario import KUERZEL, Configure
from calendar_world import CalendarWorld
from calendar_world import Ledger as CalendarLedger
from firm_deletions import Brake, wrong_deletion, wrong_holds
from firm_engine import Context, Job, Queue, steps
from firm_loop import FirmLoop
from firm_operations import (
    Cron,
    Death,
    GiveNumberAgain,
    InCalendar,
    InOffice,
    Mail,
    Meanwhile,
    Misbehave,
    Operation,
    Pass,
    Release,
    Store,
    Work,
)
from firm_story import Story
from firm_strangers import give_last_number_again
from firm_workers import WORKER, Mortal, MortalResources, Worker, workers_by_task
from hasty_loop import HASTE
from motia import ApiRequest
from psycopg.rows import dict_row
from servers import (
    Stores,
    advoware_variables,
    espocrm_variables,
    google_variables,
    hasty_variables,
)
from watched_journal import WatchedJournal

from config import RedisSettings, Settings, load_settings
from sandbox.advoware.records import BERLIN
from sandbox.control import ActiveFault, Fault, Twin
from sandbox.control import running as served
from sandbox.espocrm.access import Settings as EspoCRMSettings
from sandbox.espocrm.store import Change
from sandbox.google.app import DEFAULT_ACCOUNT
from sandbox.google.protocol.tokens import make_service_account
from sandbox.google.readings import Readings
from services.calendar_sync.audit.decisions import CalendarDecisions
from services.calendar_sync.waiting import TOPIC_EMPLOYEE
from services.core.errors import BitByLawError
from services.core.resources import Resources

TOKEN = "token-of-the-simulation-of-the-firm"  # noqa: S105 - invented
HEARD = {"CBeteiligte": "beteiligte", "CBankverbindungen": "bankverbindungen"}
CRONS = {
    "beteiligte": "beteiligte_sync_cron_step",
    "calendar": "calendar_sync_cron_step",
}
#: EspoCRM puts so many records into one request.
BATCH = 10
#: Until a dead worker was noticed, and another one has started; its locks in Redis are over by then.
RESTART = timedelta(seconds=70)
#: A queue that still grows after so many deliveries is a ping-pong.
MOST_DELIVERIES = 400
ROUNDS = 3
#: Of the key to Google's twin, which each new worker reads several times: a usual one would take a sixth of all time.
KEY_BITS = 1024
_FULL_DISK = """
    CREATE TABLE simulated_disk (is_full boolean NOT NULL);
    INSERT INTO simulated_disk VALUES (false);
    CREATE FUNCTION simulated_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT is_full FROM simulated_disk) THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
        END IF;
        RETURN NEW;
    END $$;
"""
_AGE = """
    for place = 2, #ARGV do
        redis.call('SELECT', ARGV[place])
        for _, name in ipairs(redis.call('KEYS', '*')) do
            local left = redis.call('PTTL', name) - ARGV[1]
            if left > 0 then
                redis.call('PEXPIRE', name, string.format('%d', left))
            elseif left > -1 - ARGV[1] then
                redis.call('DEL', name)
            end
        end
    end
"""
_OTHERS = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    " AND tablename NOT IN ('schema_migration', 'simulated_disk')"
)


@dataclass
class Clock:
    """The one clock of the firm."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Webhook:
    """A record of which EspoCRM is to send a webhook."""

    entity: str
    action: str
    entity_id: str


class _Office(BeteiligteWorld):
    """The people and checks of the Beteiligte, on the firm's twins."""

    def __init__(self, firm: Firm, stores: Stores) -> None:
        self._firm = firm
        super().__init__(stores)

    @property
    def now(self) -> datetime:
        return self._firm.clock.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self._firm.clock.now = moment

    @property
    def workers(self) -> list[Resources]:
        return [worker.resources for worker in self._firm.workers]

    @workers.setter
    def workers(self, _: list[Resources]) -> None:
        pass  # the firm has them

    def _on_change(self, change: Change) -> None:
        self._firm.reported(change)

    async def _quiet(self) -> None:
        await self._firm.quiet()


class _Diary(CalendarWorld):
    """The people and checks of the calendars, on the firm's twins."""

    def __init__(self, firm: Firm, stores: Stores, folder: Path) -> None:
        self._firm = firm
        super().__init__(stores, folder)
        self.advoware = firm.office.advoware

    @property
    def now(self) -> datetime:
        return self._firm.clock.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self._firm.clock.now = moment

    @property
    def resources(self) -> Resources:
        return self._firm.workers[0].resources

    async def _quiet(self) -> None:
        await self._firm.quiet()


class Firm:
    """Everything, and what happens in it."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self._stores, self._folder = stores, folder
        self._stack = AsyncExitStack()
        self.clock = Clock()
        self.workers: list[Worker] = []
        self.office = _Office(self, stores)
        self.diary = _Diary(self, stores, folder)
        self.queue = Queue(lambda: self.clock.now)
        self.mail: list[Webhook] = []
        #: All requests of this story that the twins got, in their order.
        self.requests: list[dict[str, Any]] = []
        self.log: list[tuple[str, dict[str, Any]]] = []
        #: What happened, in a line each.
        self.trace: list[str] = []
        #: What must not happen and was observed on the way.
        self.defects: list[str] = []
        #: How many operations were performed and steps run, since the firm was opened.
        self.operations = self.runs = self.requests_before = self.deaths = 0
        self.is_well = True
        #: Whether in this story PostgreSQL has refused something, or a worker has died: lines of the audit may lack.
        self.was_hit = False
        self._due: list[tuple[int, Meanwhile]] = []
        #: So many requests were sent before two workers became busy; None if one is.
        self._two_since: int | None = None
        self._delivering = 0
        #: Numbers of Beteiligte who are other people now.
        self.strangers: set[str] = set()
        #: Of the latest run of each calendar, by Kürzel.
        self._brakes: dict[str, Brake] = {}
        self._known_settings: dict[Configure, Settings] = {}

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything."""
        self.database = await self._stack.enter_async_context(
            self._stores.new_database()
        )
        account = make_service_account(DEFAULT_ACCOUNT, KEY_BITS)
        self.diary.google.tokens.accounts[account.email] = account
        for twin in self.twins:
            await self._stack.enter_async_context(served(twin))
            twin.journal = WatchedJournal(self._on_request)
        self._stack.enter_context(workers_by_task())
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FirmLoop)
        loop.is_awaited = self._is_in_google
        self._connect()

    def _is_in_google(self) -> bool:
        return any(worker.resources.is_in_google for worker in self.workers)

    def _connect(self) -> None:
        self._admin = self._stack.enter_context(
            psycopg.connect(self._stores.postgres.url("postgres"), autocommit=True)
        )
        self._owner = self._stack.enter_context(
            psycopg.connect(self._stores.postgres.url(self.database), autocommit=True)
        )
        self._owner.execute(_FULL_DISK)
        self._tables = [name for (name,) in self._owner.execute(_OTHERS).fetchall()]
        for name in self._tables:
            self._owner.execute(
                f"CREATE TRIGGER simulated_disk BEFORE INSERT OR UPDATE ON {name}"
                " FOR EACH ROW EXECUTE FUNCTION simulated_disk()"
            )
        server = self._stores.redis
        numbers = {RedisSettings().db_advoware_cache, RedisSettings().db_calendar_sync}
        self._redis_numbers = sorted(numbers)
        self._redis = [
            redis.Redis(server.host, server.port, number, server.password)
            for number in self._redis_numbers
        ]
        self._age = self._redis[0].register_script(_AGE)

    async def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            await worker.bury()
        for client in self._redis:
            client.close()
        self.office.redis.close()
        await self._stack.aclose()

    @property
    def twins(self) -> tuple[Twin, ...]:
        """The three foreign systems."""
        return self.office.advoware, self.office.espocrm, self.diary.google

    def _twin(self, name: str) -> Twin:
        return next(twin for twin in self.twins if twin.name == name)

    async def begin(self, story: Story) -> None:
        """Start over: no one is known, nothing is remembered."""
        self.requests_before += len(self.requests)
        await self.quiet()
        self._make_well()
        self.clock.now = story.start
        self.office.ledger, self.diary.ledger = Ledger(), CalendarLedger()
        self.diary.configuration, self.diary.ended = story.configuration, []
        self.diary._texts = 0
        self.queue = Queue(lambda: self.clock.now)
        self.mail, self.requests, self.log = [], [], []
        self.trace, self.defects, self._due = [], [], []
        self._brakes, self.strangers = {}, set()
        self.was_hit = False
        self.office.espocrm._initial_settings = EspoCRMSettings(
            optimistic_concurrency=frozenset(
                {"CBeteiligte", "CAdressen"} if story.checks_versions else ()
            ),
            version=story.espocrm_version,
        )
        for twin in self.twins:
            twin.faults.clear()
            twin.load_seed()
            twin.journal.clear()
        self.diary.google.world.events.readings = Readings(**story.readings)
        self.office.espocrm._service._publish = self.office._on_change
        await self._new_workers()
        self._empty_tables()
        self._redis[0].flushall()

    def _empty_tables(self) -> None:
        """Remove the few rows of a story, for which that takes a tenth of the time of TRUNCATE."""
        deletes = "; ".join(f"DELETE FROM {name}" for name in self._tables)  # noqa: S608 - our own tables
        with self._owner.transaction():
            # Past the trigger that keeps the audit, and the references between tables.
            self._owner.execute("SET LOCAL session_replication_role = replica")
            self._owner.execute(deletes)

    async def _new_workers(self) -> None:
        for worker in self.workers:
            await worker.bury()
        self.workers[:] = [self._new_worker(number) for number in range(2)]

    async def replace(self, number: int) -> None:
        """A new worker in the place of one that is dead."""
        await self.workers[number].bury()
        self.workers[number] = self._new_worker(number)

    def _new_worker(self, number: int) -> Worker:
        settings = self._settings(self.diary.configuration)
        return Worker(number, MortalResources(settings, clock=lambda: self.clock.now))

    def _settings(self, configuration: Configure) -> Settings:
        if configuration not in self._known_settings:
            self._known_settings[configuration] = self._load_settings(configuration)
        return self._known_settings[configuration]

    def _load_settings(self, configuration: Configure) -> Settings:
        return load_settings(
            {
                **self._stores.variables(self.database),
                **advoware_variables(self.office.advoware),
                **espocrm_variables(self.office.espocrm),
                **google_variables(self.diary.google, self.diary._account),
                **hasty_variables(),
                "ESPOCRM_WEBHOOK_TOKEN": TOKEN,
                "ADVOWARE_API_TIMEOUT_SECONDS": 3 * HASTE,
                "ESPOCRM_API_TIMEOUT_SECONDS": 3 * HASTE,
                "CALENDAR_SYNC_DEBUG_KUERZEL": ",".join(KUERZEL),
                "ADVOWARE_WRITE_PROTECTION": configuration.write_protection,
                "CALENDAR_SYNC_ANONYMIZE": configuration.anonymise,
                "CALENDAR_SYNC_STRATEGY": configuration.strategy,
            }
        )

    # -- operations -------------------------------------------------------------------------------------------------

    async def perform(self, operation: Operation) -> None:
        """Perform one operation; what cannot be done (nothing is there, or the system refuses) is left undone."""
        self.operations += 1
        self._pass(timedelta(seconds=30))
        await self._go_on_with_late_requests(30)
        self.trace.append(str(operation))
        match operation:
            case Mail():
                await self._send(operation)
            case Cron(what, worker, death):
                await self._start_cron(what, worker, death)
            case Work():
                await self._work(operation)
            case Release():
                await self.release()
            case GiveNumberAgain():
                betnr = give_last_number_again(self.office)
                self.strangers |= {betnr} if betnr else set()
            case Pass(minutes, _):
                self._do(operation)
                await self._go_on_with_late_requests(60 * minutes or 600)
            case _:
                self._do(operation)

    async def _go_on_with_late_requests(self, seconds: float) -> None:
        """The loop's clock does not follow the firm's: what a system still works on would stand still."""
        if any(entry["ms"] is None for entry in self.requests[-50:]):
            await asyncio.sleep(min(max(seconds, 0), 600))

    def _do(self, operation: InOffice | InCalendar | Misbehave | Pass | Store) -> None:
        """What needs no waiting, so that it can happen between two requests of a run."""
        match operation:
            case InOffice(step):
                self.office._do(step)
            case InCalendar(step):
                self.diary._do(step)
            case Misbehave(system, rule):
                fault = ActiveFault(Fault.model_validate(rule))
                self._twin(system).faults.append(fault)
            case Pass(minutes, ""):
                self._pass(timedelta(minutes=minutes))
            case Pass(_, to):
                self._pass(_moment(self.clock.now, to) - self.clock.now)
            case Store(what):
                self._happen_to_a_store(what)

    def _pass(self, span: timedelta) -> None:
        """Redis does not see the firm's clock, so what would have expired is removed there."""
        self.clock.now += span
        milliseconds = int(span.total_seconds() * 1000)
        if milliseconds <= 0:
            return
        self._age(args=[milliseconds, *self._redis_numbers])

    def _happen_to_a_store(self, what: str) -> None:
        self.was_hit = True
        match what:
            case "flush":
                self._redis[0].flushall()
            case "terminate":
                self._terminate()
            case "read_only":
                self.is_well = False
                self._admin.execute(
                    f"ALTER DATABASE {self.database} SET default_transaction_read_only = on"
                )
                self._terminate()
            case "disk_full":
                self.is_well = False
                self._owner.execute("UPDATE simulated_disk SET is_full = true")
            case _:
                self._make_well()

    def _terminate(self) -> None:
        self._owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def _make_well(self) -> None:
        if self.is_well:
            return
        self._admin.execute(
            f"ALTER DATABASE {self.database} RESET default_transaction_read_only"
        )
        self._owner.execute("UPDATE simulated_disk SET is_full = false")
        self._terminate()
        self.is_well = True

    # -- webhooks, crons, jobs --------------------------------------------------------------------------------------

    def reported(self, change: Change) -> None:
        """EspoCRM is to report a change, also one of the sync."""
        if change.entity in HEARD:
            self.mail.append(Webhook(change.entity, change.event, change.id))

    async def _send(self, operation: Mail) -> None:
        waiting, self.mail = self.mail, []
        if operation.what == "lose":
            return
        if operation.what == "twice":
            waiting = [*waiting, *waiting]
        if operation.what == "newest first":
            waiting.reverse()
        death = operation.death
        for batch in _batches(waiting):
            status = await self._send_batch(batch, operation.worker, death)
            death = None
            if status >= 500 or status == 401:  # EspoCRM sends it again
                self.mail.extend(batch)

    async def _send_batch(
        self, batch: list[Webhook], worker: int, death: Death | None
    ) -> int:
        """The status that EspoCRM gets; 503 if it gets no answer."""
        first = batch[0]
        request = ApiRequest(
            body=[{"id": webhook.entity_id} for webhook in batch],
            headers={},
            query_params={"token": TOKEN},
        )
        name = f"POST /vmh/webhook/{HEARD[first.entity]}/{first.action}"
        answer = await self._run(name, request, worker, death)
        if isinstance(answer, _Dead | Exception):
            return 503
        return int(answer.status)

    async def _start_cron(self, what: str, worker: int, death: Death | None) -> None:
        answer = await self._run(CRONS[what], None, worker, death)
        if isinstance(answer, Exception):
            self._note_error(CRONS[what], answer)

    async def _work(self, operation: Work) -> None:
        self._due = [(len(self.requests) + m.at, m) for m in operation.meanwhile]
        self._two_since = None
        if operation.lanes > 1:
            self._two_since = len(self.requests)
        other = 1 - operation.worker
        lanes = [self._lane(operation.worker, operation.jobs, operation.death)]
        if operation.lanes > 1:
            lanes.append(self._lane(other, operation.jobs, None))
        await asyncio.gather(*lanes)
        self._due = []

    async def _lane(self, worker: int, jobs: int, death: Death | None) -> None:
        for number in range(jobs):
            job = self.queue.take()
            if job is None:
                return
            is_last = death is not None and death.job == number
            await self._deliver(job, worker, death if is_last else None)

    async def _deliver(self, job: Job, worker: int, death: Death | None) -> None:
        if job.topic == TOPIC_EMPLOYEE:
            self._free_the_rate()
            self._brakes[job.data["kuerzel"]] = Brake(self.rows, job.data["kuerzel"])
        self._delivering += 1
        answer = await self._run(job.topic, job.data, worker, death)
        self._delivering -= 1
        if isinstance(answer, _Dead):
            self.queue.interrupted(job)
        elif isinstance(answer, Exception):
            self._note_error(job.topic, answer)
            self.queue.failed(job, _reason(answer))
        # Not while the other worker is in a request, which has its own clock.
        if self._was_slow() and not self._delivering:
            await self.quiet()  # the next run comes at the earliest after a pause
            self._pass(timedelta(minutes=1))

    def _free_the_rate(self) -> None:
        """The rate limit counts by Redis's own clock, for which no test waits."""
        for client in self._redis:
            for name in client.scan_iter("rate_limit*"):
                client.delete(name)

    def _note_error(self, what: str, error: Exception) -> None:
        if not isinstance(error, BitByLawError):
            places = "".join(traceback.format_tb(error.__traceback__)[-6:])
            self.defects.append(f"{what} ends with {error!r}\n{places}")

    def _was_slow(self) -> bool:
        faults = [active for twin in self.twins for active in twin.faults]
        return any(
            active.struck and (active.rule.latency_ms > LATE_MS or active.rule.hang)
            for active in faults
        )

    async def _run(self, name: str, data: Any, number: int, death: Death | None) -> Any:
        """What a step answers, the exception that it raises, or `_Dead`."""
        self.runs += 1
        worker = self.workers[number]
        context = Context(self.queue, self.log)
        before = len(self.requests)

        async def process() -> Any:
            work = steps()[name].handler(data, context)
            if death is None:
                return await work
            return await Mortal(work, death.after, worker)

        token = WORKER.set(worker)
        task = asyncio.get_running_loop().create_task(process())
        WORKER.reset(token)
        await asyncio.wait([task])
        if worker.is_dead:
            self.deaths += 1
            self.was_hit = True
            if not task.cancelled():
                task.exception()
            await self.replace(number)
            self._pass(RESTART)
            answer: Any = _Dead()
        else:
            answer = task.exception() or task.result()
        sent = len(self.requests) - before
        self.trace.append(f"  {name} -> {_described(answer)}, {sent} requests")
        return answer

    # -- requests ---------------------------------------------------------------------------------------------------

    def _on_request(self, entry: dict[str, Any]) -> None:
        self.requests.append(entry)
        wrong = wrong_deletion(self.diary, self.rows, entry)
        if wrong is not None:
            self.defects.append(wrong)
        self._check_brakes(entry)
        for due in list(self._due):
            at, meanwhile = due
            if len(self.requests) < at or self._is_last_moment(meanwhile, entry):
                continue
            self._due.remove(due)
            self.operations += 1
            self._do(meanwhile.what)

    def _check_brakes(self, entry: dict[str, Any]) -> None:
        for brake in self._brakes.values():
            too_many = brake.too_many(self.diary, entry)
            if too_many is not None:
                self.defects.append(too_many)

    def _is_last_moment(self, meanwhile: Meanwhile, entry: dict[str, Any]) -> bool:
        """Whether an edit would fall between our last look and our write: neither system lets us guard that.

        While two workers are busy, a request of the one falls between the other's look and write: then an edit comes
        before the first look, or with one. Nor do hours pass during a write: it would have been given up. A write that
        was given up may be done all the same, later.
        """
        what = meanwhile.what
        is_write = entry["method"] in WRITES
        if isinstance(what, Pass):
            return what.minutes > 60 and is_write
        guarded = _guarded(what.step) if isinstance(what, InOffice) else None
        if guarded is None:
            return False
        if _is_about(entry, guarded):
            return is_write
        if any(_is_about(write, guarded) for write in self._writes_under_way()):
            return True
        if self._two_since is None:
            return False
        since = self.requests[self._two_since :]
        return any(_is_about(before, guarded) for before in since)

    def _writes_under_way(self) -> list[dict[str, Any]]:
        latest = self.requests[-60:]
        return [e for e in latest if e["ms"] is None and e["method"] in WRITES]

    async def quiet(self) -> None:
        """Wait until the requests of an abandoned run are over."""
        calm = 0
        while calm < 3:
            before = len(self.requests)
            await asyncio.sleep(0.01 * HASTE)
            is_calm = len(self.requests) == before and all(
                entry["ms"] is not None for entry in self.requests[-60:]
            )
            calm = calm + 1 if is_calm else 0

    def faults(self, *, spoiling: bool) -> list[ActiveFault]:
        """The rules that hold now and spoil whole answers, or (False) that alter values."""
        rules = [active for twin in self.twins for active in twin.faults]
        return [active for active in rules if active.rule.alters is not spoiling]

    # -- the end ----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """What goes wrong ends; so many days pass, each with webhooks, checks and the runs that follow from them."""
        for twin in self.twins:
            twin.faults.clear()
        self._make_well()
        await self.quiet()
        await self._new_workers()
        for _ in range(ROUNDS):
            self._pass(timedelta(hours=26))
            await self.release()
            await self._send(Mail())
            for cron in CRONS:
                await self._start_cron(cron, 0, None)
            await self.drain()

    async def release(self) -> None:
        """An operator lets happen what the calendars' guards hold back."""
        if not self.rows("SELECT 1 FROM calendar_sync_hold WHERE released_at IS NULL"):
            return
        wrong = wrong_holds(self.rows, is_audit_whole=not self.was_hit)
        if wrong is not None:
            self.defects.append(wrong)
        resources = self.workers[0].resources
        decisions = CalendarDecisions(resources)
        report = await self.as_worker(lambda: decisions.release_held(apply=True))
        self.trace += [f"  released: {change}" for change in report.changes]

    async def drain(self) -> None:
        """Deliver until nothing waits; time passes as the pauses between tries do."""
        for _ in range(MOST_DELIVERIES):
            if not self.queue.waiting and not self.mail:
                return
            await self._send(Mail())
            due = self.queue.next_due()
            if due is not None and due > self.clock.now:
                self._pass(due - self.clock.now)
            await self._lane(0, 1, None)
        self.defects.append(f"the queue is never empty: {self.queue.waiting[:3]}")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of our database, by a connection that nothing happens to."""
        with self._owner.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, values or None).fetchall()

    async def as_worker(self, work: Callable[[], Any]) -> Any:
        """Await something of the product, or a check that uses it, in the place of the first worker."""
        token = WORKER.set(self.workers[0])
        task = asyncio.get_running_loop().create_task(work())
        WORKER.reset(token)
        return await task


def _is_about(entry: Mapping[str, Any], guarded: str) -> bool:
    """Whether a request is about these records; EspoCRM's action writes several in one request."""
    paths = [entry["path"], *entry.get("writes", ())]
    return any(guarded in path for path in paths)


class _Dead:
    """In the place of an answer: the worker died."""


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _described(answer: Any) -> str:
    if isinstance(answer, _Dead):
        return "the worker dies"
    if isinstance(answer, Exception):
        return _reason(answer)[:120]
    return str(getattr(answer, "status", "done"))


def _batches(waiting: list[Webhook]) -> list[list[Webhook]]:
    """What EspoCRM sends together: records of one event, in order."""
    batches: list[list[Webhook]] = []
    for webhook in waiting:
        last = batches[-1] if batches else []
        is_same = bool(last) and (last[0].entity, last[0].action) == (
            webhook.entity,
            webhook.action,
        )
        if is_same and len(last) < BATCH:
            last.append(webhook)
        else:
            batches.append([webhook])
    return batches


def _moment(now: datetime, to: str) -> datetime:
    """Ten minutes before the next change of the clocks in Berlin, or before midnight of New Year's Eve there."""
    if to == "new year":
        eve = datetime(now.astimezone(BERLIN).year + 1, 1, 1, tzinfo=BERLIN)
        moment = eve.astimezone(UTC) - timedelta(minutes=10)
        return moment if moment > now else now
    day = now.replace(hour=1, minute=0, second=0, microsecond=0)
    while True:
        day += timedelta(days=1)
        before, after = (day + timedelta(seconds=s) for s in (-1, 0))
        if (
            before.astimezone(BERLIN).utcoffset()
            != after.astimezone(BERLIN).utcoffset()
        ):
            return day - timedelta(minutes=10)
