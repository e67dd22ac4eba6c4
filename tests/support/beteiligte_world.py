"""A law firm for scenarios of the Beteiligte sync: both twins over HTTP, the real stores, two workers, and people.

`BeteiligteWorld.play` performs a step of a scenario (`beteiligte_scenario`); `BeteiligteWorld.settle` ends the
faults and lets the sync come to rest. What people type contains a number that is used once, so that it can be followed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import redis
import schwifty
from beteiligte_routine import ARRAYS, KOMM_KZ, Routine, kind_of_entry
from beteiligte_scenario import (
    DATA_PATHS,
    TROUBLES,
    Browse,
    Cancel,
    CopyAddress,
    Cron,
    Drop,
    EditAddress,
    EditBank,
    EditContact,
    EditMaster,
    EditOdd,
    Enter,
    Flush,
    Jump,
    LoseEvents,
    Person,
    Rearrange,
    Restart,
    Retype,
    ShareContact,
    Side,
    Step,
    Surprise,
    SwitchKind,
    Sync,
    Trouble,
    Work,
)
from hasty_loop import HASTE
from servers import (
    EMPTY,
    Stores,
    advoware_variables,
    espocrm_variables,
    hasty_variables,
    known_settings,
)
from watched_journal import WatchedJournal

from config import RedisSettings, Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.advoware.records import RefusedError
from sandbox.control import ActiveFault, Fault, Twin, running
from sandbox.espocrm.access import Settings as EspoCRMSettings
from sandbox.espocrm.actions import ACTIONS, Browser
from sandbox.espocrm.app import EspoCRMTwin
from sandbox.espocrm.entities import ENTITIES
from sandbox.espocrm.php import ApiError
from sandbox.espocrm.store import Change
from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_check import BeteiligteCheck
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.errors import BitByLawError
from services.core.resources import Resources
from services.espocrm_mapper import COMPANY_FIELDS, PERSON_FIELDS
from services.values.kind import kind_of_advoware, kind_of_espocrm
from services.vmh_sync.job import Outcome, SyncEvent

FIRST_NUMBER = 100_001
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Who is at a firm.
CONTACT = "Kontakt"
#: So many times events may follow from events; more is a ping-pong.
MAX_ROUNDS = 40
#: A job that fails so often is a dead letter.
MAX_ATTEMPTS = 3
#: An answer that takes longer comes too late.
LATE_MS = 1000 * HASTE
#: The entities whose webhooks are registered.
HEARD = frozenset({"CBeteiligte", "CBankverbindungen"})
COMPANY_FORMS = ("GmbH", "AG", "e.V.")
COUNTRIES = {
    "espocrm": ("DE", "AT", "FR"),
    "advoware": ("Deutschland", "Österreich", "Frankreich"),
}
#: What a Beteiligter shows of other fields, and what only the program writes.
DERIVED = frozenset({"anschrift", "kurzname", "bemerkung"})
#: Cleared fields whose value is not entered again: both sides write them in a form of their own.
NOT_REFILLED = frozenset({"anrede", "geburtsdatum"})
#: What people type into a part, under its name on either side; who deletes the part has read all of it.
TYPED = {
    "adressen": (
        *("adresseStreet", "adresseCity", "adresseCountry", "strasse", "ort", "land"),
        *("postfach", "gueltigVon", "gueltigBis"),
    ),
    "bank": ("iban", "kontoinhaber"),
}

Record = dict[str, Any]


@dataclass
class Entry:
    """Something that a user has typed. ``forms`` are the texts in which it may show up."""

    forms: tuple[str, ...]
    side: Side
    owner: str  #: id of the CBeteiligte
    subject: str  #: field of the master data, or the part that it belongs to
    is_given_up: bool = False  #: a user who saw it has changed or deleted it

    def stands_in(self, text: str) -> bool:
        return any(form in text for form in self.forms)


@dataclass
class Ledger:
    """What people have typed, and what they have touched."""

    entries: list[Entry] = field(default_factory=list)
    #: Numbers that were typed by mistake, the CBeteiligte that had them, and the right ones of those that have.
    wrong_numbers: set[str] = field(default_factory=set)
    renumbered: set[str] = field(default_factory=set)
    right_numbers: dict[str, int] = field(default_factory=dict)
    #: Numbers and mail addresses that were removed, with the CBeteiligte and what kind they were; last ones last.
    removed: list[tuple[str, str, str]] = field(default_factory=list)
    #: The last value of each field of the master data that was cleared, by CBeteiligte and name.
    cleared: dict[tuple[str, str], str] = field(default_factory=dict)
    #: The type that a user has chosen in EspoCRM for a number that was there, by CBeteiligte and number.
    types: dict[tuple[str, str], str] = field(default_factory=dict)
    #: The primary number and mail address as a user has last saved them in EspoCRM, by CBeteiligte and array.
    primary: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Numbers that a user has entered twice at one record.
    doubled: set[str] = field(default_factory=set)
    #: Each surprise with how much had been typed before it.
    surprises: list[tuple[Surprise, int]] = field(default_factory=list)
    touched: set[tuple[Side, str, str]] = field(
        default_factory=set
    )  #: (side, id of the CBeteiligte, subject)

    def give_up(self, observed: Any) -> None:
        """A user overwrites or deletes what he sees."""
        text = json.dumps(observed, ensure_ascii=False, default=str)
        for entry in self.entries:
            entry.is_given_up |= entry.stands_in(text)

    def give_up_number(self, owner: str, number: str | None) -> None:
        """A user overwrites or deletes a number or mail address, and with it the type that he has chosen for it."""
        self.types.pop((owner, str(number)), None)
        self.give_up(number)


@dataclass(frozen=True)
class Job:
    """An event in the queue."""

    entity: str
    event: SyncEvent
    attempts: int = 0


class BeteiligteWorld:
    """Twins, stores, two workers and people."""

    def __init__(self, servers: Stores) -> None:
        self._servers = servers
        self._stack = AsyncExitStack()
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.advoware = AdvowareTwin(empty=True, clock=lambda: self.now)
        self.espocrm = EspoCRMTwin(
            empty=True, clock=lambda: self.now, webhook_interval=0
        )
        number = RedisSettings().db_advoware_cache
        store = servers.redis
        self.redis = redis.Redis(
            host=store.host, port=store.port, password=store.password, db=number
        )
        self.workers: list[Resources] = []
        self.ledger = Ledger()
        self.queue: list[Job] = []
        self._requests = 0
        self._due: tuple[int, Callable[[], object], str | None] | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything."""
        self._database = await self._stack.enter_async_context(
            self._servers.new_database()
        )
        for twin in (self.advoware, self.espocrm):
            await self._stack.enter_async_context(running(twin))
            twin.journal = WatchedJournal(self._on_request)
        self.workers = [self._new_worker(), self._new_worker()]
        await self.workers[0].database()

    async def close(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            await worker.close()
        await self._stack.aclose()
        self.redis.close()

    async def begin(self, *, checks_versions: bool, version: str = "9.3") -> None:
        """Start over: no one is known, nothing is remembered."""
        await self._quiet()
        self.now += timedelta(days=1)
        self.ledger, self.queue, self._due = Ledger(), [], None
        self.espocrm._initial_settings = EspoCRMSettings(
            optimistic_concurrency=frozenset(
                {"CBeteiligte", "CAdressen"} if checks_versions else ()
            ),
            version=version,
        )
        for twin in (self.advoware, self.espocrm):
            twin.faults.clear()
            twin.load_seed()
            twin.journal.clear()
        self.espocrm._service._publish = self._on_change
        for number in range(2):
            await self.restart(number)
        pool = await self.workers[0].database()
        await pool.execute(EMPTY)
        self.redis.flushall()

    async def restart(self, number: int) -> None:
        """A new worker in the place of an old one."""
        await self.workers[number].close()
        self.workers[number] = self._new_worker()

    def _new_worker(self) -> Resources:
        return Resources(self._settings(), clock=lambda: self.now)

    def _settings(self) -> Settings:
        return known_settings(
            {
                **self._servers.variables(self._database),
                **advoware_variables(self.advoware),
                **espocrm_variables(self.espocrm),
                **hasty_variables(),
                "ADVOWARE_API_TIMEOUT_SECONDS": HASTE,
                "ESPOCRM_API_TIMEOUT_SECONDS": HASTE,
                "VMH_LOCK_SECONDS": 60 * HASTE,
            }
        )

    # -- what is there ----------------------------------------------------------------------------------------------

    def rows(self, entity: str, **wanted: Any) -> list[Record]:
        """The records of an entity in EspoCRM with these values, oldest first."""
        store = self.espocrm._store
        full = [store.full(record) for record in store.records(entity)]
        return [
            row
            for row in full
            if all(row.get(name) == value for name, value in wanted.items())
        ]

    def beteiligte(self) -> list[Record]:
        """All Beteiligte in Advoware."""
        return self.advoware.beteiligte.all()

    def beteiligter(self, espo: Mapping[str, Any]) -> Record | None:
        """The Beteiligter that a CBeteiligte names."""
        return next(
            (row for row in self.beteiligte() if row["betNr"] == espo.get("betnr")),
            None,
        )

    def writes(self) -> list[str]:
        """The requests since `forget_journals` that may have changed something: no refused ones, no logins."""
        entries = [*self.espocrm.journal, *self.advoware.journal]
        done = [
            entry
            for entry in entries
            if entry["method"] in WRITES and entry["status"] != 400
        ]
        return [
            f"{entry['method']} {entry['path']}"
            for entry in done
            if "Token" not in entry["path"]
        ]

    def forget_journals(self) -> None:
        """Forget the requests so far."""
        self.espocrm.journal.clear()
        self.advoware.journal.clear()

    async def fetch(self, query: str) -> list[Record]:
        """Rows of our own database."""
        return [
            dict(row) for row in await (await self.workers[0].database()).fetch(query)
        ]

    # -- steps ------------------------------------------------------------------------------------------------------

    async def play(self, step: Step) -> None:
        """Perform one step; what cannot be done (nothing is there, or the system refuses) is left undone."""
        self.now += timedelta(seconds=30)
        match step:
            case Sync():
                await self._sync_disturbed(step)
            case Work():
                await self.work()
            case Cron(worker):
                await self.cron(worker)
                await self.work()
            case Restart(worker):
                await self.restart(worker)
            case Cancel():
                pass  # nothing runs
            case _:
                self._do(step)

    def _do(self, step: Step) -> None:
        """What needs no waiting, so that it can happen between two requests of a run."""
        match step:
            case Trouble(system, kind, method, skip, count):
                twin: Twin = self.advoware if system == "advoware" else self.espocrm
                rule = {
                    **TROUBLES[kind],
                    "path": DATA_PATHS[system],
                    "method": method,
                    "skip": skip,
                    "count": count,
                }
                twin.faults.append(ActiveFault(Fault.model_validate(rule)))
            case Surprise(system, rule):
                surprised: Twin = (
                    self.advoware if system == "advoware" else self.espocrm
                )
                surprised.faults.append(ActiveFault(Fault.model_validate(rule)))
                self.ledger.surprises.append((step, len(self.ledger.entries)))
            case Flush():
                self.redis.flushall()
            case LoseEvents(twice):
                self.queue = self.queue * 2 if twice else []
            case Jump(minutes):
                self._let_time_pass(timedelta(minutes=minutes))
            case _:
                typed = len(self.ledger.entries)
                try:
                    _People(self).act(step)  # type: ignore[arg-type]
                except (RefusedError, ApiError):  # people meet refusals, too
                    del self.ledger.entries[typed:]

    def _let_time_pass(self, span: timedelta) -> None:
        """Redis does not see the clock of the scenario, so what would have expired is removed."""
        self.now += span
        if span >= timedelta(minutes=5):
            for name in self.redis.scan_iter("vmh.*:waiting:*"):
                self.redis.delete(name)

    # -- events -----------------------------------------------------------------------------------------------------

    def _on_change(self, change: Change) -> None:
        """EspoCRM reports a change, also the sync's; one that waits is not reported twice (`services.api.webhooks`)."""
        if change.entity not in HEARD:
            return
        job = Job(
            change.entity,
            SyncEvent(entity_id=change.id, action=change.event, source="webhook"),
        )
        if job not in self.queue:
            self.queue.append(job)

    def _on_request(self, entry: dict[str, Any]) -> None:
        self._requests += 1
        if self._due is None or self._requests < self._due[0]:
            return
        _, happening, guarded = self._due
        if (
            guarded is not None
            and entry["method"] in WRITES
            and guarded in entry["path"]
        ):
            return  # neither system lets us guard this last moment
        self._due = None
        happening()

    def _faults(self) -> list[ActiveFault]:
        return [*self.advoware.faults, *self.espocrm.faults]

    async def _quiet(self) -> None:
        """Wait until the requests of an abandoned run are over."""
        calm = 0
        while calm < 3:
            before = self._requests
            await asyncio.sleep(0.005 * HASTE)
            entries = [
                entry
                for twin in (self.advoware, self.espocrm)
                for entry in list(twin.journal)[-50:]
            ]
            is_calm = self._requests == before and all(
                entry["ms"] is not None for entry in entries
            )
            calm = calm + 1 if is_calm else 0

    # -- runs -------------------------------------------------------------------------------------------------------

    async def _sync_disturbed(self, step: Sync) -> None:
        known = self.rows("CBeteiligte")
        if not known:
            return
        action: Any = "sync_check" if step.check else "update"
        source = "cron" if step.check else "webhook"
        event = SyncEvent(
            entity_id=known[step.number % len(known)]["id"],
            action=action,
            source=source,
        )
        job = Job("CBeteiligte", event)
        if not step.check and job in self.queue:
            self.queue.remove(job)
        run = asyncio.ensure_future(self.run(job, step.worker))
        others: list[asyncio.Future[Any]] = []
        meanwhile = step.meanwhile
        if meanwhile is not None:
            self._due = (
                self._requests + step.at,
                self._happening(meanwhile, run, others),
                _guarded(meanwhile),
            )
        await asyncio.wait([run])
        self._due = None
        if run.cancelled():
            await self._quiet()
            if isinstance(meanwhile, Cancel) and not meanwhile.lost:
                self.queue.append(job)
            await self.restart(step.worker)
        else:
            run.result()
        for other in others:
            await other

    def _happening(
        self, step: Step, run: asyncio.Future[Any], others: list[asyncio.Future[Any]]
    ) -> Callable[[], object]:
        match step:
            case Cancel():
                return run.cancel
            case Sync(number, worker):
                known = self.rows("CBeteiligte")
                event = SyncEvent(
                    entity_id=known[number % len(known)]["id"],
                    action="update",
                    source="webhook",
                )
                return lambda: others.append(
                    asyncio.ensure_future(self.run(Job("CBeteiligte", event), worker))
                )
            case _:
                return lambda: self._do(step)

    async def run(self, job: Job, worker: int) -> Outcome | BitByLawError:
        """One run; what the product understands of its failures is part of the scenario, anything else is a defect."""
        try:
            outcome = await self.handle(job.entity, job.event, worker)
            if any(
                active.struck and active.rule.latency_ms > LATE_MS
                for active in self._faults()
            ):
                await self._quiet()  # the next run comes at the earliest after a pause
        except BitByLawError as error:
            if job.event.action != "sync_check" and job.attempts + 1 < MAX_ATTEMPTS:
                self.queue.append(Job(job.entity, job.event, job.attempts + 1))
            return error
        assert "unexpected" not in (outcome.error or ""), outcome.error
        return outcome

    async def handle(self, entity: str, event: SyncEvent, worker: int = 0) -> Outcome:
        """The product's answer to an event."""
        resources = self.workers[worker]
        if entity == "CBeteiligte":
            return await BeteiligteSync(resources=resources).handle(event)
        return await BankverbindungenSync(resources=resources).handle(event)

    async def work(self) -> None:
        """Both workers take the events that wait, until none is left; each event that comes back takes some time."""
        rounds = 0
        while self.queue:
            jobs, self.queue = self.queue, []
            rounds += 1
            assert rounds < MAX_ROUNDS, (
                f"our own writes keep coming back: {self.writes()[-20:]}"
            )
            if any(job.attempts for job in jobs):
                self.now += timedelta(seconds=10)

            async def lane(worker: int, jobs: Iterable[Job]) -> None:
                for job in jobs:
                    await self.run(job, worker)

            await asyncio.gather(lane(0, jobs[::2]), lane(1, jobs[1::2]))

    async def cron(self, worker: int = 0) -> dict[str, int]:
        """The check; what it enqueues waits."""

        async def enqueue(message: dict[str, Any]) -> None:
            self.queue.append(
                Job("CBeteiligte", SyncEvent.model_validate(message["data"]))
            )

        try:
            return await BeteiligteCheck(resources=self.workers[worker]).run(enqueue)
        except BitByLawError:
            return {}

    async def settle(self, rounds: int, *, surprises_end: bool = True) -> None:
        """The faults end (and the surprises); so many days pass, each with a check and the runs that follow from it."""
        for twin in (self.advoware, self.espocrm):
            left = [
                active
                for active in twin.faults
                if active.rule.answer or active.rule.stored
            ]
            twin.faults[:] = [] if surprises_end else left
        await self._quiet()
        for number in range(2):
            await self.restart(number)
        for _ in range(rounds):
            self._let_time_pass(timedelta(hours=26))
            await self.cron()
            await self.work()


def _guarded(step: Step) -> str | None:
    """The path whose writes may overwrite this edit, as nothing can be done between the last look and the write."""
    match step:
        case (
            EditMaster("advoware")
            | SwitchKind("advoware")
            | EditContact("advoware")
            | Retype("advoware")
            | Rearrange("advoware")
            | EditAddress("advoware")
            | EditOdd("advoware")
            | ShareContact("advoware")
            | CopyAddress("advoware")
        ):
            return "/advonet/Beteiligte"
        case (
            EditMaster()
            | SwitchKind()
            | EditContact()
            | Retype()
            | Rearrange()
            | ShareContact()
        ):
            return "/CBeteiligte/"
        case EditAddress() | EditOdd() | CopyAddress():
            return "/CAdressen"
        case _:
            return None


# -- people ---------------------------------------------------------------------------------------------------------


def _typed(part: str, record: Mapping[str, Any]) -> list[Any]:
    """What people have typed into an address or a bank account."""
    return [record[name] for name in TYPED[part] if name in record]


class _People:
    """Those who work with both programs. Whoever changes something has read what was there."""

    def __init__(self, world: BeteiligteWorld) -> None:
        self._world = world
        self._ledger = world.ledger
        self._service = world.espocrm._service
        self._store = world.espocrm._store
        self._admin = world.espocrm._admin

    def act(self, step: Person) -> None:
        if isinstance(step, Enter):
            self._enter(step)
            return
        if isinstance(step, Browse) and step.what.startswith("restore"):
            entity = "CBeteiligte" if step.what == "restore" else "CAdressen"
            self._restore(entity, step.number)
            return
        known = self._world.rows("CBeteiligte")
        if not known:
            return
        espo = known[step.number % len(known)]
        advo = self._world.beteiligter(espo)
        if step.side == "advoware" and advo is None:
            return
        match step:
            case EditMaster():
                self._edit_master(step, espo, advo or {})
            case SwitchKind(side):
                self._switch_kind(side, espo, advo or {})
            case EditContact("espocrm"):
                self._edit_contact_in_espocrm(step, espo)
            case EditContact():
                self._edit_contact_in_advoware(step, espo, advo or {})
            case Retype():
                Routine(self).retype(step, espo, advo or {})
            case Rearrange():
                Routine(self).rearrange(step, espo, advo or {})
            case EditAddress("espocrm"):
                self._edit_address_in_espocrm(step, espo)
            case EditAddress():
                self._edit_address_in_advoware(step, espo, advo or {})
            case EditBank():
                self._edit_bank(step, espo, advo or {})
            case Drop(side):
                self._drop(side, espo, advo or {})
            case EditOdd("advoware", _, "anrede"):
                self._edit_odd_salutation(espo, advo or {})
            case EditOdd():
                self._edit_odd_country(step, espo, advo or {})
            case ShareContact():
                self._share_contact(
                    step, espo, advo or {}, known[step.other % len(known)]
                )
            case CopyAddress():
                self._copy_address(step, advo or {}, known[step.other % len(known)])
            case Browse():
                self._browse(step, espo, known[step.other % len(known)])

    # -- typing -----------------------------------------------------------------------------------------------------

    def _number(self, side: Side, owner: str, subject: str, *forms: str) -> int:
        number = FIRST_NUMBER + len(self._ledger.entries)
        self._ledger.entries.append(
            Entry(forms or (str(number),), side, owner, subject)
        )
        self._touch(side, owner, subject)
        return number

    def _touch(self, side: Side, owner: str, subject: str) -> None:
        self._ledger.touched.add((side, owner, subject))

    def _value(self, side: Side, owner: str, name: str) -> str:
        if name == "geburtsdatum":
            return self._day(side, owner, name)
        return f"Wert {self._number(side, owner, name)}"

    def _day(self, side: Side, owner: str, subject: str) -> str:
        day = date(1930, 1, 1) + timedelta(days=37 * len(self._ledger.entries))
        self._number(side, owner, subject, day.isoformat(), f"{day:%d.%m.%Y}")
        return day.isoformat()

    def _phone(self, side: Side, owner: str, kind: str, spelling: int = 0) -> str:
        number = self._number(side, owner, "kommunikation")
        if kind == "mail":
            return f"{'A' if spelling % 2 else 'a'}{number}@example.de"
        area = "171" if kind == "Mobile" else "511"
        if side == "espocrm":
            return f"+49{area}{number}" + ("1" if kind == "Mobile" else "")
        written = f"0{area} / {number}", f"0{area}-{number}", f"+49 {area} {number}"
        return written[spelling % 3] + ("1" if kind == "Mobile" else "")

    def _iban(self, side: Side, owner: str) -> str:
        return str(
            schwifty.IBAN.generate(
                "DE", "37040044", str(self._number(side, owner, "bank")).zfill(10)
            )
        )

    # -- in EspoCRM -------------------------------------------------------------------------------------------------

    def _enter(self, step: Enter) -> None:
        # The id is known only afterwards; the entries made here belong to it.
        first = len(self._ledger.entries)
        fields = COMPANY_FIELDS if step.company else PERSON_FIELDS
        body: Record = {
            attribute: self._value("espocrm", "", name)
            for name, attribute in fields.items()
            if name != "anrede"
        }
        body |= {"rechtsform": "GmbH"} if step.company else {"salutationName": "Frau"}
        if step.rich:
            if step.company:  # the person at the firm, whose name is not the firm's
                body["lastName"] = CONTACT
            body["phoneNumberData"] = [
                {"phoneNumber": self._phone("espocrm", "", "Office"), "type": "Office"}
            ]
            body["emailAddressData"] = [
                {"emailAddress": self._phone("espocrm", "", "mail")}
            ]
        record = self._service.create(ENTITIES["CBeteiligte"], body, self._admin)
        for entry in self._ledger.entries[first:]:
            entry.owner = record.id
        if step.rich:
            self._edit_address_in_espocrm(
                EditAddress("espocrm", 0, "add"), {"id": record.id}
            )
            self._edit_bank(EditBank("espocrm", 0, "add"), {"id": record.id}, {})

    def _update(self, entity: str, entity_id: str, **changes: Any) -> None:
        self._service.update(
            self._store.get(ENTITIES[entity], entity_id), changes, self._admin
        )
        for array, attribute in ARRAYS.values():
            if array in changes:
                self._ledger.primary.pop((entity_id, array), None)
            for row in changes.get(array, ()):
                if row.get("primary"):
                    self._ledger.primary[entity_id, array] = row[attribute]

    def _edit_master(self, step: EditMaster, espo: Record, advo: Record) -> None:
        observed = espo if step.side == "espocrm" else advo
        kind = (
            kind_of_espocrm(espo) if step.side == "espocrm" else kind_of_advoware(advo)
        )
        fields = COMPANY_FIELDS if kind == "company" else PERSON_FIELDS
        name = sorted(fields)[step.field % len(fields)]
        attribute = fields[name] if step.side == "espocrm" else name
        clear = step.clear and name != "name"
        if name == "anrede":
            value: str | None = (
                None
                if clear
                else ("Herr", "Frau", "Divers")[step.field // len(fields) % 3]
            )
            self._touch(step.side, espo["id"], name)
        else:
            value = None if clear else self._value(step.side, espo["id"], name)
            self._touch(step.side, espo["id"], name)
        old = observed.get(attribute)
        self._touch_kind(step.side, espo["id"], observed, {attribute: value})
        if step.side == "espocrm":
            self._update("CBeteiligte", espo["id"], **{attribute: value})
        else:
            self._in_advoware(advo, **{name: value})
        if clear and old and name not in NOT_REFILLED:
            self._ledger.cleared[espo["id"], name] = old
        self._ledger.give_up(old)

    def _edit_odd_salutation(self, espo: Record, advo: Record) -> None:
        self._ledger.give_up(advo["anrede"])
        number = self._number("advoware", espo["id"], "anrede")
        anrede = f"Frau Dr. {number}"
        self._touch_kind("advoware", espo["id"], advo, {"anrede": anrede})
        self._in_advoware(advo, anrede=anrede)

    def _touch_kind(
        self, side: Side, owner: str, observed: Record, new: Record
    ) -> None:
        """A first name or a salutation makes a person of what has no legal form."""
        kind_of = kind_of_espocrm if side == "espocrm" else kind_of_advoware
        if kind_of({**observed, **new}) != kind_of(observed):
            self._touch(side, owner, "kind")

    def _switch_kind(self, side: Side, espo: Record, advo: Record) -> None:
        observed = espo if side == "espocrm" else advo
        kind = kind_of_espocrm(espo) if side == "espocrm" else kind_of_advoware(advo)
        company = kind == "person"
        fields = COMPANY_FIELDS if company else PERSON_FIELDS
        old = [
            observed.get(name)
            for name in (
                *PERSON_FIELDS,
                *PERSON_FIELDS.values(),
                *COMPANY_FIELDS.values(),
                "art",
            )
        ]
        self._touch(side, espo["id"], "kind")
        name = self._value(side, espo["id"], "name")
        if side == "espocrm":
            self._update(
                "CBeteiligte",
                espo["id"],
                rechtsform="GmbH" if company else "",
                **{fields["name"]: name},
            )
        else:
            self._in_advoware(advo, rechtsform="GmbH" if company else "", name=name)
        self._ledger.give_up(old)

    def _edit_contact_in_espocrm(self, step: EditContact, espo: Record) -> None:
        mail = step.kind == "mail"
        array, attribute = (
            ("emailAddressData", "emailAddress")
            if mail
            else ("phoneNumberData", "phoneNumber")
        )
        rows = [dict(row) for row in espo[array]]
        self._touch("espocrm", espo["id"], "kommunikation")
        if step.what in {"add", "odd"} or not rows:
            row: Record = {
                attribute: self._phone("espocrm", espo["id"], step.kind),
                "primary": not rows,
            }
            rows.append(row if mail else {**row, "type": step.kind})
            old = None
        else:
            place = step.entry % len(rows)
            old = rows[place][attribute]
            if step.what == "remove":
                kind = "mail" if mail else rows[place].get("type") or "Office"
                self._ledger.removed.append((espo["id"], kind, old))
                del rows[place]
            else:
                kind = "mail" if mail else rows[place].get("type") or "Office"
                rows[place] = {
                    **rows[place],
                    attribute: self._phone("espocrm", espo["id"], kind),
                }
        self._update("CBeteiligte", espo["id"], **{array: rows})
        self._ledger.give_up_number(espo["id"], old)

    def _edit_address_in_espocrm(self, step: EditAddress, espo: Record) -> None:
        owner = espo["id"]
        rows = self._world.rows("CAdressen", beteiligteId=owner)
        self._touch("espocrm", owner, "adressen")
        if step.what == "add" or not rows:
            body = {
                "beteiligteId": owner,
                "adresseStreet": f"Weg {self._number('espocrm', owner, 'adressen')}",
                "adresseCity": f"Ort {self._number('espocrm', owner, 'adressen')}",
                "adressePostalCode": "30159",
            }
            self._service.create(ENTITIES["CAdressen"], body, self._admin)
            return
        row = rows[step.entry % len(rows)]
        match step.what:
            case "remove":
                self._service.delete(
                    self._store.get(ENTITIES["CAdressen"], row["id"]), self._admin
                )
                self._ledger.give_up(_typed("adressen", row))
                return
            case "active":
                changes: Record = {"isActive": not row["isActive"]}
            case "main":
                changes = {"istStandard": True}
            case "country":
                changes = {
                    "adresseCountry": COUNTRIES["espocrm"][
                        (step.entry + len(self._ledger.entries)) % 3
                    ]
                }
            case "valid":
                changes = {"gueltigVon": self._day("espocrm", owner, "adressen")}
            case what:
                attribute = {"street": "adresseStreet", "city": "adresseCity"}.get(
                    what, "postfach"
                )
                changes = {
                    attribute: f"Neu {self._number('espocrm', owner, 'adressen')}"
                }
        old = [row.get(name) for name in changes]
        self._update("CAdressen", row["id"], **changes)
        self._ledger.give_up(old)

    def _edit_bank(self, step: EditBank, espo: Record, advo: Record) -> None:
        owner = espo["id"]
        rows = self._world.rows("CBankverbindungen", beteiligteId=owner)
        if step.side == "advoware":
            self._edit_bank_in_advoware(step, owner, advo)
            return
        if step.what == "add" or not rows:
            body = {
                "beteiligteId": owner,
                "iban": self._iban("espocrm", owner),
                "kontoinhaber": f"Inhaber {self._number('espocrm', owner, 'bank')}",
            }
            self._service.create(ENTITIES["CBankverbindungen"], body, self._admin)
            return
        row = rows[step.entry % len(rows)]
        match step.what:
            case "remove":
                self._service.delete(
                    self._store.get(ENTITIES["CBankverbindungen"], row["id"]),
                    self._admin,
                )
                self._ledger.give_up(_typed("bank", row))
                return
            case "active":
                changes: Record = {"istAktiv": not row["istAktiv"]}
            case "iban":
                changes = {"iban": self._iban("espocrm", owner)}
            case _:
                changes = {
                    "kontoinhaber": f"Inhaber {self._number('espocrm', owner, 'bank')}"
                }
        old = [row.get(name) for name in changes]
        self._update("CBankverbindungen", row["id"], **changes)
        self._ledger.give_up(old)

    def _edit_odd_country(self, step: EditOdd, espo: Record, advo: Record) -> None:
        rows = (
            advo["adressen"]
            if step.side == "advoware"
            else self._world.rows("CAdressen", beteiligteId=espo["id"])
        )
        if not rows:
            return
        row = rows[step.entry % len(rows)]
        self._ledger.give_up([row.get("land"), row.get("adresseCountry")])
        country = f"Land {self._number(step.side, espo['id'], 'adressen')}"
        if step.side == "advoware":
            self._in_advoware(advo, adressen=[{"id": row["id"], "land": country}])
        else:
            self._update("CAdressen", row["id"], adresseCountry=country)

    # -- in Advoware ------------------------------------------------------------------------------------------------

    def _in_advoware(self, advo: Record, **changes: Any) -> None:
        self._world.advoware.beteiligte.edit(advo["betNr"], changes, "SB")

    def _edit_contact_in_advoware(
        self, step: EditContact, espo: Record, advo: Record
    ) -> None:
        owner = espo["id"]
        self._touch("advoware", owner, "kommunikation")
        entries = [entry for entry in advo["kommunikation"] if entry["tlf"]]
        if step.what == "odd":
            number = self._number("advoware", owner, "kommunikation")
            odd = (
                f"müller{number}@example.de"
                if step.kind == "mail"
                else f"0511 {number} App. 5"
            )
            self._in_advoware(
                advo, kommunikation=[{"kommKz": KOMM_KZ[step.kind], "tlf": odd}]
            )
            return
        if step.what == "add" or not entries:
            value = self._phone("advoware", owner, step.kind, step.entry)
            self._in_advoware(
                advo, kommunikation=[{"kommKz": KOMM_KZ[step.kind], "tlf": value}]
            )
            return
        entry = entries[step.entry % len(entries)]
        change: Record = {"delete": True} if step.entry % 2 else {"tlf": ""}
        if step.what == "change":
            kind = kind_of_entry(entry)
            change = {"tlf": self._phone("advoware", owner, kind, step.entry)}
        else:
            self._ledger.removed.append((owner, kind_of_entry(entry), entry["tlf"]))
        self._in_advoware(advo, kommunikation=[{"id": entry["id"], **change}])
        self._ledger.give_up(entry["tlf"])

    def _edit_address_in_advoware(
        self, step: EditAddress, espo: Record, advo: Record
    ) -> None:
        owner = espo["id"]
        self._touch("advoware", owner, "adressen")
        entries = advo["adressen"]
        if step.what == "add" or not entries:
            street = f"Gasse {self._number('advoware', owner, 'adressen')}"
            self._in_advoware(
                advo, adressen=[{"strasse": street, "plz": "10115", "ort": "Berlin"}]
            )
            return
        entry = entries[step.entry % len(entries)]
        match step.what:
            case "remove":
                self._in_advoware(advo, adressen=[{"id": entry["id"], "delete": True}])
                self._ledger.give_up(_typed("adressen", entry))
                return
            case "main" | "active":
                changes: Record = {"standardAnschrift": True}
            case "country":
                changes = {
                    "land": COUNTRIES["advoware"][
                        (step.entry + len(self._ledger.entries)) % 3
                    ]
                }
            case "valid":
                changes = {"gueltigVon": self._day("advoware", owner, "adressen")}
            case what:
                name = {"street": "strasse", "city": "ort"}.get(what, "postfach")
                changes = {
                    name: f"Anders {self._number('advoware', owner, 'adressen')}"
                }
        old = [entry.get(name) for name in changes]
        self._in_advoware(advo, adressen=[{"id": entry["id"], **changes}])
        self._ledger.give_up(old)

    def _edit_bank_in_advoware(self, step: EditBank, owner: str, advo: Record) -> None:
        entries = advo["bankkverbindungen"]
        if step.what == "add" or not entries:
            self._in_advoware(
                advo, bankverbindungen=[{"iban": self._iban("advoware", owner)}]
            )
            return
        entry = entries[step.entry % len(entries)]
        changes: Record = {"delete": True}
        if step.what == "iban":
            changes = {"iban": self._iban("advoware", owner)}
        elif step.what in {"holder", "active"}:
            changes = {
                "kontoinhaber": f"Inhaber {self._number('advoware', owner, 'bank')}"
            }
        old = (
            _typed("bank", entry)
            if "delete" in changes
            else [entry.get(name) for name in changes]
        )
        self._in_advoware(advo, bankverbindungen=[{"id": entry["id"], **changes}])
        self._ledger.give_up(old)

    def _copy_address(self, step: CopyAddress, advo: Record, other: Record) -> None:
        target, entries = self._world.beteiligter(other), advo["adressen"]
        if target is None or not entries:
            return
        self._touch("advoware", other["id"], "adressen")
        entry = entries[step.entry % len(entries)]
        self._world.advoware.beteiligte.copy_address(
            advo["betNr"], entry["id"], target["betNr"]
        )

    # -- in the browser ---------------------------------------------------------------------------------------------

    def _browse(self, step: Browse, espo: Record, other: Record) -> None:
        self._touch("espocrm", espo["id"], "kommunikation")
        match step.what:
            case "erase":
                fields = ["phoneNumber", "emailAddress"]
                self._in_browser("erase", id=espo["id"], fields=fields)
                self._ledger.give_up(
                    [espo["phoneNumberData"], espo["emailAddressData"]]
                )
            case "revert_import":
                self._touch("espocrm", espo["id"], "kind")
                self._in_browser("revert_import", ids=[espo["id"]])
                self._ledger.give_up(espo)
            case "wrong_number":
                self._type_wrong_number(espo, is_namesake=step.other % 3 > 0)
            case "right_number":
                self._correct_number(espo)
            case "move_address":
                self._move_address(step, espo, other)
            case _ if other["id"] != espo["id"]:
                self._touch("espocrm", espo["id"], "kind")
                self._touch("espocrm", other["id"], "kind")
                self._in_browser("merge", id=espo["id"], sources=[other["id"]])
                kept = {"phoneNumberData", "emailAddressData"}
                self._ledger.give_up(
                    {name: value for name, value in other.items() if name not in kept}
                )

    def _type_wrong_number(self, espo: Record, *, is_namesake: bool) -> None:
        advo = self._world.beteiligter(espo)
        if advo is None or espo["id"] in self._ledger.right_numbers:
            return
        other = {"name": "Fremd", "vorname": "Toni", "anrede": "Frau"}
        if is_namesake:
            names = ("rechtsform", "anrede", "vorname", "name")
            other = {name: advo[name] for name in names if advo[name]}
        wrong = self._world.advoware.beteiligte.create(other, "SB")["betNr"]
        self._ledger.wrong_numbers.add(str(wrong))
        self._ledger.renumbered.add(espo["id"])
        self._ledger.right_numbers[espo["id"]] = espo["betnr"]
        self._touch("espocrm", espo["id"], "kind")
        self._update("CBeteiligte", espo["id"], betnr=wrong)

    def _correct_number(self, espo: Record) -> None:
        right = self._ledger.right_numbers.pop(espo["id"], None)
        if right is not None:
            self._touch("espocrm", espo["id"], "kind")
            self._update("CBeteiligte", espo["id"], betnr=right)

    def _move_address(self, step: Browse, espo: Record, other: Record) -> None:
        rows = self._world.rows("CAdressen", beteiligteId=espo["id"])
        if not rows:
            return
        row = rows[step.number % len(rows)]
        for owner in (espo["id"], other["id"]):
            self._touch("espocrm", owner, "adressen")
        text = json.dumps(_typed("adressen", row), ensure_ascii=False, default=str)
        for entry in self._ledger.entries:
            if entry.stands_in(text):
                entry.owner = other["id"]
        self._update("CAdressen", row["id"], beteiligteId=other["id"])

    def _restore(self, entity: str, number: int) -> None:
        deleted = [
            record.id
            for record in self._store._records[entity].values()
            if record.deleted
        ]
        if deleted:
            entity_id = deleted[number % len(deleted)]
            self._touch("espocrm", entity_id, "kind")
            self._in_browser("restore", entity=entity, id=entity_id)

    def _in_browser(self, action: str, **options: Any) -> None:
        options = {"action": action, "entity": "CBeteiligte", **options}
        Browser(self._store, self._service, self._world._on_change, self._admin).do(
            ACTIONS.validate_python(options)
        )

    # -- both -------------------------------------------------------------------------------------------------------

    def _share_contact(
        self, step: ShareContact, espo: Record, advo: Record, other: Record
    ) -> None:
        array, attribute = ("phoneNumberData", "phoneNumber")
        if step.kind == "mail":
            array, attribute = ("emailAddressData", "emailAddress")
        shared = next((row[attribute] for row in other[array]), None)
        if shared is None:
            return
        self._touch(step.side, espo["id"], "kommunikation")
        if step.side == "advoware":
            self._in_advoware(
                advo, kommunikation=[{"kommKz": KOMM_KZ[step.kind], "tlf": shared}]
            )
            return
        row = {attribute: shared, "primary": not espo[array]} | (
            {} if step.kind == "mail" else {"type": step.kind}
        )
        rows = [dict(known) for known in espo[array] if known[attribute] != shared]
        self._update("CBeteiligte", espo["id"], **{array: [*rows, row]})

    def _drop(self, side: Side, espo: Record, advo: Record) -> None:
        self._touch(side, espo["id"], "kind")
        if side == "espocrm":
            self._service.delete(
                self._store.get(ENTITIES["CBeteiligte"], espo["id"]), self._admin
            )
            self._ledger.give_up(espo)
        else:
            self._world.advoware.beteiligte.remove(advo["betNr"])
            self._ledger.give_up(advo)
