"""Sync of Bankverbindungen: from EspoCRM's CBankverbindungen to Advoware, which only ever creates them.

Whatever differs later is reported to a person, who compares and corrects it: changed bank data are how payment fraud
begins. Nothing is brought over from Advoware to EspoCRM.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from services.advoware_service import AdvowareService
from services.bankverbindungen_mapper import (
    OPTIONAL,
    BankverbindungenMapper,
    Konten,
    UnusableAccount,
    konten_of,
    usable_konto,
)
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    EntityBusy,
    ForeignSystemError,
    NotBefore,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
    is_no_records_fault,
    shown_text,
)
from services.core.jobs.look_again import EDIT, beteiligter, in_part
from services.core.jobs.pending import claim_pending
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import ERASED, BeteiligteMapper
from services.notification_utils import NotificationManager
from services.values.espocrm_query import RecordWrite, equals, format_date_time
from services.values.sealed import has_sealed
from services.vmh_sync.bankverbindungen.plan import (
    ENTITY_TYPE,
    HINT,
    Found,
    Observation,
    Record,
    Settle,
    deleted_problem,
    failed_name,
    find_konto,
    home_of,
    is_active,
    is_newly_gone,
    keys_of,
    line_of_create,
    row_problem,
    settle,
    settle_gone,
    settle_moved,
    shown_status,
    shown_values,
    state_of_created,
    unusable_problem,
)
from services.vmh_sync.beteiligte.identity import require_same_person
from services.vmh_sync.beteiligte.plan import shown_values as shown_of_beteiligter
from services.vmh_sync.create_once import create_once, left_by_create
from services.vmh_sync.espocrm_writes import Collected, EspoWrites
from services.vmh_sync.job import Outcome, SyncEvent, record_outcome
from services.vmh_sync.notification.texts import failure_sentence
from services.vmh_sync.problem_texts.bankverbindungen import SETTLED
from services.vmh_sync.problem_texts.failures import refused_field
from services.vmh_sync.result import PartResult, Problem
from services.vmh_sync.store import CreateIntent, SyncState, SyncStore

TOPIC_PREFIX = "vmh.bankverbindungen"
SELECT = (
    "iban",
    "bic",
    "kontoinhaber",
    "bankname",
    "istAktiv",
    "advowareKontoId",
    "syncStatus",
    "beteiligteId",
    "name",
    HINT,
    ERASED,
)

#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3
#: A Bankverbindung that changes its Beteiligter while we wait for the lock is followed so often.
MAX_MOVES = 3


#: Writes the outcome of an event into the audit, of a run about a CBeteiligte with its id.
Recorder = Callable[[Outcome, str | None], Awaitable[None]]


@dataclass
class _Report:
    """What a run has done so far.

    Attributes:
        failure: why an event's record could not be written, as found out when the collected writes were done.
        judged: the CBankverbindungen of which the run has found out all that there is to report.
        is_recorded: the audit has the outcome of the event already.
        homes: the Bankverbindungen of other Beteiligte that were read, by betNr; None if that is gone.
    """

    problems: list[Problem] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failure: Exception | None = None
    is_recorded: bool = False
    judged: set[str] = field(default_factory=set)
    homes: dict[str, Konten | None] = field(default_factory=dict)
    wrote_advoware: bool = False
    was_edited: bool = False
    waits: list[datetime] = field(default_factory=list)

    def result(self) -> PartResult:
        return PartResult(
            changes=tuple(self.changes),
            problems=tuple(self.problems),
            errors=tuple(self.errors),
            wrote_advoware=self.wrote_advoware,
            was_edited=self.was_edited,
            not_before=max(self.waits, default=None),
            latest=self.result,
        )


@dataclass
class _RowWork:
    """An event's record as it was read last, and its Beteiligter's number once that is known."""

    row: Record
    betnr: Any = None


class _RowGone(Exception):
    """The CBankverbindungen does not exist in EspoCRM any more."""


class BankverbindungenSync:
    """Brings Bankverbindungen to Advoware. ``context`` is the step's FlowContext or None.

    ``writes`` collects what a part's sync writes in EspoCRM; without it, everything is written at once.
    ``notifications`` is that of the whole sync, which knows who looks after the Beteiligter.
    ``look_again`` syncs a whole Beteiligter (`BeteiligteSync.look_again`): for what others have asked for while the
    lock was held for a Bankverbindung. Without it that is left to the cron.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
        look_again: Callable[[str], Awaitable[object]] | None = None,
        writes: EspoWrites | None = None,
        notifications: NotificationManager | None = None,
    ) -> None:
        self._context = context
        self._look_again_at = look_again
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._writes = writes
        self._notifications = notifications or NotificationManager(
            self._espocrm,
            context,
            resources=self._resources,
            writes=writes,
        )
        self._mapper = BankverbindungenMapper()

    # -- entrances ------------------------------------------------------------------------------------------------

    async def handle(self, event: SyncEvent) -> Outcome:
        """Sync the record of a queue event, notify people of what they have to do, and write the audit.

        A failure that the record's status can show is not raised: the sync of the Beteiligter tries again. A record
        whose Beteiligter does not exist in Advoware yet waits; his sync takes it along. ``busy``: another run works on
        the Beteiligter, and looks again.

        Raises:
            ForeignSystemError, ConfigurationError: not even the status could be written; the queue tries again.
        """
        if self._writes is None:
            writes = EspoWrites(self._espocrm)
            collecting = BankverbindungenSync(
                self._context,
                resources=self._resources,
                look_again=self._look_again_at,
                writes=writes,
            )
            return await collecting._handle(event, writes)
        return await self._handle(event, self._writes)

    async def _handle(self, event: SyncEvent, writes: EspoWrites) -> Outcome:
        store = SyncStore(await self._resources.database())
        started = time.perf_counter()
        topic = f"{TOPIC_PREFIX}.{event.action}"
        # Before the record is read: an edit made from here on gets an event of its own.
        await claim_pending(self._resources, topic, event.entity_id)
        report = _Report()

        async def record(outcome: Outcome, owner: str | None = None) -> None:
            await record_outcome(
                store,
                self._context,
                event,
                outcome,
                ENTITY_TYPE,
                topic=topic,
                started=started,
                now=self._resources.now(),
                owner=owner,
            )

        outcome = await self._handle_current(event.entity_id, store, report, record)
        await self._notify(report)
        try:
            await writes.flush()
        except (
            BitByLawError,
            ConfigurationError,
        ) as error:  # only people could not be notified; the cron does it
            name = type(error).__name__
            log(
                self._context,
                "error",
                "bankverbindungen.not_notified",
                entity_id=event.entity_id,
                error=name,
            )
        if not report.is_recorded:
            await record(outcome)
        return outcome

    async def sync_part(
        self,
        espo: Mapping[str, Any],
        advo: Mapping[str, Any],
        store: SyncStore,
    ) -> PartResult:
        """Sync the Bankverbindungen of a CBeteiligte and his Beteiligter as just read, inside their lock.

        One list request to EspoCRM; nothing else if nothing has changed. Failures of single ones are in the result's
        ``errors``, and are tried again by the next run.

        Raises:
            ForeignSystemError: EspoCRM's list or PostgreSQL is not available.
        """
        konten = konten_of(advo)
        if konten is None:
            error = UnexpectedAnswer(
                "Advoware",
                "the answer contains no list of Bankverbindungen",
            )
            return PartResult(errors=(f"Bankverbindungen: {failure_sentence(error)}",))
        known = await self._rows_of(espo["id"])
        observed = await self._observe(
            espo["id"],
            str(advo["betNr"]),
            konten,
            store,
            list(known.values()),
        )
        report = _Report()
        unavailable = 0
        for row in known.values():
            try:
                await self._sync_row(observed, row, store, report)
                report.judged.add(row["id"])
                unavailable = 0
            except NotBefore as error:
                report.waits.append(error.moment)
            except Exception as error:
                if is_no_records_fault(error):
                    raise
                await self._row_failed(observed, row, error, report)
                unavailable = unavailable + 1 if isinstance(error, Unavailable) else 0
                if unavailable == MAX_UNAVAILABLE:
                    break
        await self._look_for_deleted(observed, set(known), store, report)
        await self._end_problems(report)
        return report.result()

    async def _rows_of(self, beteiligte_id: str) -> dict[str, Record]:
        """The CBankverbindungen of a CBeteiligte, by id."""
        rows = self._espocrm.search_entities(
            ENTITY_TYPE,
            [equals("beteiligteId", beteiligte_id)],
            SELECT,
        )
        return {row["id"]: row async for row in rows}

    # -- events ---------------------------------------------------------------------------------------------------

    async def _handle_current(
        self,
        entity_id: str,
        store: SyncStore,
        report: _Report,
        record: Recorder,
    ) -> Outcome:
        """Sync the record, inside the lock of the Beteiligter it belongs to."""
        for _ in range(MAX_MOVES):
            try:
                row = await self._row(entity_id)
                if not row.get("beteiligteId"):
                    return await self._handle_ownerless(row, store, report)
                outcome = await self._in_lock(
                    row["beteiligteId"],
                    partial(self._handle_recorded, row, store, report, record),
                )
            except _RowGone:
                return await self._handle_deleted(entity_id, store, report)
            if outcome is not None:
                return outcome
        log(
            self._context,
            "warning",
            "bankverbindungen.keeps_moving",
            entity_id=entity_id,
        )
        return Outcome("busy")

    async def _in_lock(
        self,
        beteiligte_id: str,
        work: Callable[[], Awaitable[Outcome | None]],
    ) -> Outcome | None:
        """Work inside the Beteiligter's lock; ``busy`` if another run holds it, which is asked to look again."""

        async def locked() -> tuple[Outcome | None]:
            async with self._lock(beteiligte_id):
                outcome = await work()
                await self._flush()
                return (outcome,)

        async def hand_over() -> None:
            if self._look_again_at is not None:
                await self._look_again_at(beteiligte_id)

        done = await in_part(
            self._resources,
            beteiligter(beteiligte_id),
            frozenset({EDIT}),
            locked,
            hand_over,
        )
        if done is not None:
            return done[0]
        return Outcome("busy")

    async def _handle_recorded(
        self,
        row: Record,
        store: SyncStore,
        report: _Report,
        record: Recorder,
    ) -> Outcome | None:
        """`_handle_row` with the audit, inside the lock: to the next run, what is not recorded was interrupted."""
        owner = row["beteiligteId"]
        await store.record_interrupted(owner, TOPIC_PREFIX, self._resources.now())
        outcome = await self._handle_row(row, store, report)
        if outcome is not None:
            await self._flush()
            await record(outcome, owner)
            report.is_recorded = True
        return outcome

    async def _handle_ownerless(
        self,
        row: Record,
        store: SyncStore,
        report: _Report,
    ) -> Outcome:
        """It belongs to no one: reported, unless the sync of its earlier Beteiligter reports what to do in Advoware."""
        problem = row_problem(row, "bank_of_nobody")
        state = await store.load(ENTITY_TYPE, row["id"])
        if state is None or state.advoware_id is None:
            report.problems.append(problem)
        await self._show(row, shown_status(row, "unclean", [problem]))
        await self._flush()
        return Outcome(
            "failed",
            error="InvalidInput: beteiligte: the Bankverbindung belongs to no one",
        )

    async def _handle_row(
        self,
        row: Record,
        store: SyncStore,
        report: _Report,
    ) -> Outcome | None:
        """Sync a record inside the lock; any failure is shown on it. None if it belongs to another Beteiligter now.

        The record is read again when everything else is known: it may have been edited while we waited.
        """
        work = _RowWork(row)
        try:
            return await self._sync_single(work, store, report)
        except (_RowGone, EntityBusy):
            raise
        except UnusableAccount as error:
            await self._show_unusable(work.row, error, work.betnr, report)
            return Outcome("failed", error=shown_text(error))
        except Exception as error:
            if is_no_records_fault(error):
                raise
            self._log_row_failure(work.row, error)
            hint = failure_sentence(error)
            await self._show(work.row, shown_status(work.row, "failed", hint=hint))
            return Outcome("failed", error=shown_text(error))

    async def _sync_single(
        self,
        work: _RowWork,
        store: SyncStore,
        report: _Report,
    ) -> Outcome | None:
        row = work.row
        espo = await self._owner(row["beteiligteId"])
        if espo is None:
            return await self._handle_ownerless(row, store, report)
        await self._notifications.remember_responsible("CBeteiligte", espo)
        work.betnr = espo.get("betnr")
        if not work.betnr:
            return await self._wait(row)
        advo = await self._advoware.get_beteiligter(work.betnr)
        await self._require_same_person(espo, advo, store)
        konten = _required_konten(advo)
        observed = await self._observe(
            espo["id"],
            str(work.betnr),
            konten,
            store,
            [row],
        )
        work.row = row = await self._row(row["id"])
        if row.get("beteiligteId") != espo["id"]:
            return None
        result, state = await self._sync_row(observed, row, store, report)
        report.judged.add(row["id"])
        await self._notify(report)
        await self._flush()
        if report.failure is not None:
            return Outcome("failed", error=shown_text(report.failure))
        link = None
        if state is not None:
            link = state.advoware_id
        return Outcome(result, link, tuple(report.changes))

    async def _require_same_person(
        self,
        espo: Record,
        advo: Record,
        store: SyncStore,
    ) -> None:
        """Refuse a number that Advoware has given to another person: the account would be his.

        Raises:
            DifferentPerson: see `require_same_person`.
        """
        mapper = BeteiligteMapper()
        state = await store.load("CBeteiligte", espo["id"])
        if state is not None:
            state = await store.opened(state, *shown_of_beteiligter(espo, advo, mapper))
        require_same_person(espo, advo, state, mapper)

    async def _owner(self, beteiligte_id: str) -> Record | None:
        try:
            return await self._espocrm.get_entity("CBeteiligte", beteiligte_id)
        except NotFound:
            return None

    async def _number_of(self, beteiligte_id: str) -> str | None:
        """The betNr of a CBeteiligte; None if it has none, or is gone."""
        owner = await self._owner(beteiligte_id)
        if owner is None or not owner.get("betnr"):
            return None
        return str(owner["betnr"])

    async def _row(self, entity_id: str) -> Record:
        try:
            return await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
        except NotFound as error:
            raise _RowGone from error

    async def _wait(self, row: Record) -> Outcome:
        """The Beteiligter has no betNr yet: his sync takes the record along as soon as he has."""
        await self._show(row, shown_status(row, None, [row_problem(row, "bank_waits")]))
        return Outcome("skipped")

    async def _handle_deleted(
        self,
        entity_id: str,
        store: SyncStore,
        report: _Report,
    ) -> Outcome:
        """Gone from EspoCRM: Advoware keeps it until a person deletes it there."""
        state = await store.load(ENTITY_TYPE, entity_id)
        if state is None or state.advoware_id is None:
            state = await self._left_by_create(entity_id, store)
        if state is None or state.advoware_id is None:
            await store.mark_deleted(ENTITY_TYPE, entity_id, self._resources.now())
            report.judged.add(entity_id)
            return Outcome("deleted")
        beteiligte_id = str(state.base.get("beteiligteId") or entity_id)
        betnr = state.advoware_id.partition("/")[0]
        link = state.advoware_id

        async def work() -> Outcome:
            await self._remember_deleted_at(
                betnr,
                beteiligte_id,
                entity_id,
                store,
                report,
            )
            return Outcome("deleted", link)

        return await self._in_lock(beteiligte_id, work) or Outcome("deleted", link)

    async def _konten_left_at(self, betnr: str) -> Konten:
        """The Bankverbindungen of a Beteiligter; none if Advoware does not know him or shows no list."""
        try:
            konten = konten_of(await self._advoware.get_beteiligter(betnr))
        except NotFound:
            return Konten([], [])
        return konten or Konten([], [])

    def _lock(self, beteiligte_id: str) -> AbstractAsyncContextManager[None]:
        lock_seconds = self._resources.settings.vmh.lock_seconds
        return record_lock(
            self._resources,
            beteiligte_lock_key(beteiligte_id),
            lock_seconds,
        )

    # -- one row --------------------------------------------------------------------------------------------------

    async def _observe(
        self,
        beteiligte_id: str,
        betnr: str,
        konten: Konten,
        store: SyncStore,
        rows: list[Record],
    ) -> Observation:
        ids = [row["id"] for row in rows]
        states = await store.load_parts(ENTITY_TYPE, betnr, beteiligte_id, ids)
        states = await store.all_opened(states, *shown_values(rows, konten.usable))
        return Observation(
            beteiligte_id,
            betnr,
            list(konten.usable),
            list(konten.odd),
            states,
            self._resources.now(),
        )

    async def _sync_row(
        self,
        observed: Observation,
        row: Record,
        store: SyncStore,
        report: _Report,
    ) -> tuple[str, SyncState | None]:
        """Create, compare, or find it moved or gone; returns the word for the audit and the new state.

        Raises:
            UnusableAccount: only a person can correct the record.
        """
        found = find_konto(observed, row)
        if found.konto is not None:
            action = settle(observed, row, found.konto)
        elif found.is_known and observed.may_hide(row):
            return "no_change", observed.state_of(row["id"])
        elif found.is_known:
            action = await self._gone(observed, row)
        elif (home := await self._find_home(observed, row, store, report)) is not None:
            action = settle_moved(observed, row, home)
        elif is_active(row):
            action = await self._create(
                observed,
                row,
                found,
                store,
                report,
            )
        else:  # not in use and unknown to Advoware: there is nothing to bring over
            await self._show(row, shown_status(row, "clean"))
            return "skipped", None
        await self._finish(observed, action, store, report)
        return action.result, action.state

    async def _gone(self, observed: Observation, row: Record) -> Settle:
        if is_newly_gone(observed, row):
            konto = await self._look_again(observed, row)
            if konto is not None:
                return settle(observed, row, konto)
        return settle_gone(observed, row)

    async def _find_home(
        self,
        observed: Observation,
        row: Record,
        store: SyncStore,
        report: _Report,
    ) -> str | None:
        """The link of a row whose Bankverbindung is still at another Beteiligter, see `home_of`."""
        if row["id"] not in observed.states:
            await self._add_left_elsewhere(observed, row, store)
        home = home_of(observed, row)
        if home is None:
            return None
        owner = await store.linked_entity(ENTITY_TYPE, home)
        if owner not in (None, row["id"]):
            return None
        betnr, _, konto_id = home.partition("/")
        konten = await self._konten_elsewhere(betnr, report)
        if konten is None or not _has_konto(konten, konto_id):
            return None
        return home

    async def _konten_elsewhere(self, betnr: str, report: _Report) -> Konten | None:
        """The Bankverbindungen of another Beteiligter, which a run reads once."""
        if betnr not in report.homes:
            report.homes[betnr] = await self._konten_of_number(betnr)
        return report.homes[betnr]

    async def _add_left_elsewhere(
        self,
        observed: Observation,
        row: Record,
        store: SyncStore,
    ) -> None:
        """Add the state of a row whose create went to another Beteiligter and was not known to have succeeded.

        A person has moved the row here since then, or its CBeteiligte has another number.
        """
        intent = await store.open_create(ENTITY_TYPE, row["id"])
        if intent is None or has_sealed(intent.posted):  # `begin_create` says so
            return
        # Earlier versions did not note the number.
        if intent.posted.get("betnr") in {None, observed.betnr}:
            return
        state = await self._left_by_create(row["id"], store)
        if state is not None:
            observed.states[row["id"]] = state

    async def _konten_of_number(self, betnr: str) -> Konten | None:
        """The Bankverbindungen of a Beteiligter; None if Advoware does not know the number."""
        try:
            return _required_konten(await self._advoware.get_beteiligter(betnr))
        except NotFound:
            return None

    async def _finish(
        self,
        observed: Observation,
        action: Settle,
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Write EspoCRM, then remember; problems and changes count from here on.

        Where the write is collected, they count before: their Tasks go with it.
        """
        row = action.row
        state = action.state
        known = observed.states.get(row["id"])

        async def remember() -> None:
            if state != known:
                await store.save(replace(state, synced_at=observed.now))

        def apply() -> None:
            observed.states[row["id"]] = state
            report.problems += action.problems
            report.changes += action.changes

        async def then(records: list[Record]) -> None:
            is_as_read = self._shown(records[0]) == self._shown(row)
            if not is_as_read and await self._was_edited(row):
                report.was_edited = True
            await remember()

        async def failed(error: Exception) -> None:
            await self._row_failed(observed, row, error, report)

        if not action.attributes:
            await remember()
            apply()
            return
        attributes = {
            **action.attributes,
            "advowareLastSync": format_date_time(observed.now),
        }
        await self._write(row, attributes, then, failed)
        apply()

    async def _write(
        self,
        row: Record,
        attributes: Record,
        then: Callable[[list[Record]], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        """Collect a write; without anything to collect it, do it at once."""

        async def alone(_refusal: ForeignSystemError | None) -> None:
            await then(
                [await self._espocrm.update_entity(ENTITY_TYPE, row["id"], attributes)],
            )

        if self._writes is None:
            await alone(None)
        else:
            await self._writes.add(
                Collected(
                    [RecordWrite(ENTITY_TYPE, row["id"], attributes)],
                    then,
                    alone,
                    failed,
                ),
            )

    async def _was_edited(self, row: Record) -> bool:
        """Whether the record says something else now; an answer to a write may only show it otherwise than a read."""
        now = await self._row(row["id"])
        return self._shown(now) != self._shown(row)

    async def _flush(self) -> None:
        if self._writes is not None:
            await self._writes.flush()

    async def _show(self, row: Record, attributes: Record) -> None:
        async def then(_records: list[Record]) -> None:
            return

        async def failed(error: Exception) -> None:
            self._log_not_shown(row, error)

        if attributes:
            await self._write(row, attributes, then, failed)

    def _shown(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What users can edit of a CBankverbindungen."""
        return self._mapper.comparable_from_espocrm(row), is_active(dict(row))

    async def _look_again(self, observed: Observation, row: Record) -> Record | None:
        """The Bankverbindung in a second read, before it is treated as deleted."""
        konten = _required_konten(await self._advoware.get_beteiligter(observed.betnr))
        observed.konten[:], observed.odd[:] = konten
        return find_konto(observed, row).konto

    # -- create ---------------------------------------------------------------------------------------------------

    async def _create(
        self,
        observed: Observation,
        row: Record,
        found: Found,
        store: SyncStore,
        report: _Report,
    ) -> Settle:
        """Create the Bankverbindung, or find what an earlier attempt has left."""
        if found.is_taken:
            raise UnusableAccount(
                "bank_doubled",
                "iban: another Bankverbindung of this Beteiligter has it",
            )
        record = self._mapper.map_cbankverbindungen_to_advoware(row)
        if observed.hides(row):
            raise UnexpectedAnswer(
                "Advoware",
                "the Bankverbindung with this IBAN has no id",
            )
        key = (ENTITY_TYPE, row["id"])
        line = line_of_create(row, self._mapper.comparable_from_espocrm(row))
        await store.note_begun(observed.beteiligte_id, [line])
        try:
            konto, is_new = await create_once(
                store,
                key,
                {
                    "iban": record["iban"],
                    "beteiligteId": observed.beteiligte_id,
                    "betnr": observed.betnr,
                },
                find=partial(self._find_created, observed, row),
                post=partial(
                    self._post,
                    observed,
                    row,
                    record,
                    report,
                ),
                resources=self._resources,
            )
        except UnusableAccount:
            await store.end_create(*key)
            raise
        if not is_new:
            return settle(observed, row, konto)
        await store.created(*key, observed.link_of(konto))
        konto = await self._complete(observed, konto)
        observed.konten.append(konto)
        return settle(observed, row, konto, created=True)

    async def _post(
        self,
        observed: Observation,
        row: Record,
        record: Record,
        report: _Report,
    ) -> tuple[Record, bool]:
        """Create the Bankverbindung, without what Advoware refuses if it can do without that.

        Returns it, and that it is new.

        Raises:
            UnusableAccount: Advoware refuses even the bare IBAN.
        """
        while True:
            try:
                return await self._send(observed, row, record, report), True
            except ValidationFailed as error:
                rest = _without_refused(record, error)
            if rest is None:
                break
            record = rest
        for smaller in self._mapper.smaller(record):
            with suppress(ValidationFailed):
                return await self._send(observed, row, smaller, report), True
        raise UnusableAccount("bank_refused", "iban: refused by Advoware")

    async def _send(
        self,
        observed: Observation,
        row: Record,
        record: Record,
        report: _Report,
    ) -> Record:
        """One request; an answer that cannot be read is looked up in the Beteiligter.

        Raises:
            UnexpectedAnswer: the Bankverbindung was accepted, but cannot be found (yet).
        """
        try:
            answer = usable_konto(
                await self._advoware.create_bankverbindung(observed.betnr, record),
            )
        except UnexpectedAnswer as error:
            if error.status is not None and error.status >= 300:
                raise
            answer = None
        report.wrote_advoware = True
        answer = answer or await self._look_again(observed, row)
        if answer is None:
            raise UnexpectedAnswer(
                "Advoware",
                "the created Bankverbindung cannot be found",
            )
        return answer

    async def _find_created(
        self,
        observed: Observation,
        row: Record,
        intent: CreateIntent,
    ) -> tuple[Record, bool] | None:
        """What an interrupted create has left in Advoware, and that it is not new."""
        konto = await self._look_again(
            observed,
            {**row, "iban": intent.posted.get("iban")},
        )
        if intent.advoware_id is not None:
            konto = observed.konto_by_link(intent.advoware_id)
        if konto is None:
            return None
        return konto, False

    async def _complete(self, observed: Observation, answer: Record) -> Record:
        """A new Bankverbindung as Advoware has it: the answer, or a new read if that does not say."""
        if answer.keys() >= {"iban", "bic", "kontoinhaber", "bank"}:
            return answer
        konten = konten_of(await self._advoware.get_beteiligter(observed.betnr))
        if konten is None:
            return answer
        for konto in konten.usable:
            if konto["id"] == answer["id"]:
                return konto
        return answer

    # -- deleted in EspoCRM ---------------------------------------------------------------------------------------

    async def _look_for_deleted(
        self,
        observed: Observation,
        known: set[str],
        store: SyncStore,
        report: _Report,
    ) -> None:
        await self._add_left_by_creates(observed, known, store, report)
        for entity_id, state in list(observed.states.items()):
            if entity_id in known:
                continue
            try:
                if state.deleted_at is not None or await self._is_removed(entity_id):
                    await self._remember_deleted(observed, state, store, report)
            except Exception as error:  # noqa: BLE001 - one odd row must not stop its neighbours
                self._log_row_failure({"id": entity_id}, error)
                report.errors.append(_failure_of_deleted(state, error))

    async def _add_left_by_creates(
        self,
        observed: Observation,
        known: set[str],
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Add the states of accounts that were deleted before their create was known to have succeeded."""
        begun = await store.open_creates(
            ENTITY_TYPE,
            "beteiligteId",
            observed.beteiligte_id,
        )
        for entity_id in begun:
            if entity_id in known:
                continue
            try:
                state = await self._left_by_removed(entity_id, store)
            except NotBefore as error:
                report.waits.append(error.moment)
                continue
            except BitByLawError as error:  # it is tried again with every sync
                if is_no_records_fault(error):
                    raise
                self._log_row_failure({"id": entity_id}, error)
                continue
            if state is not None:
                await self._add_left(observed, state, store, report)

    async def _add_left(
        self,
        observed: Observation,
        state: SyncState,
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Add the state of a deleted account; one at another number of the CBeteiligte is not looked for here."""
        betnr = (state.advoware_id or "").partition("/")[0]
        if betnr == observed.betnr:
            observed.states[state.entity_id] = state
            return
        await self._remember_deleted_at(
            betnr,
            observed.beteiligte_id,
            state.entity_id,
            store,
            report,
        )

    async def _left_by_removed(
        self,
        entity_id: str,
        store: SyncStore,
    ) -> SyncState | None:
        """See `_left_by_create`; None for an account that is not gone."""
        if not await self._is_removed(entity_id):
            return None
        return await self._left_by_create(entity_id, store)

    async def _left_by_create(
        self,
        entity_id: str,
        store: SyncStore,
    ) -> SyncState | None:
        """The link of an account that was deleted before its create in Advoware was known to have succeeded."""

        async def find(intent: CreateIntent) -> SyncState | None:
            owner_id = intent.posted.get("beteiligteId")
            if not owner_id:  # begun by a version that did not note it
                return None
            betnr = intent.posted.get("betnr") or await self._number_of(owner_id)
            if betnr is None:
                return None
            row = {"id": entity_id, "iban": intent.posted.get("iban")}
            observed = await self._observe(
                owner_id,
                betnr,
                Konten([], []),
                store,
                [row],
            )
            created = await self._find_created(observed, row, intent)
            if created is None:
                return None
            return state_of_created(observed, row, created[0])

        state = await left_by_create(
            store,
            (ENTITY_TYPE, entity_id),
            find,
            resources=self._resources,
        )
        if state is not None:
            await store.save(state)
        return state

    async def _is_removed(self, entity_id: str) -> bool:
        """Whether a CBankverbindungen is gone or belongs to no one; one that was moved is its new owner's business."""
        try:
            return not (await self._row(entity_id)).get("beteiligteId")
        except _RowGone:
            return True

    async def _remember_deleted_at(
        self,
        betnr: str,
        beteiligte_id: str,
        entity_id: str,
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Remember that an account is deleted which this Beteiligter has in Advoware."""
        observed = await self._observe(
            beteiligte_id,
            betnr,
            await self._konten_left_at(betnr),
            store,
            [{"id": entity_id}],
        )
        state = observed.states[entity_id]
        await self._remember_deleted(observed, state, store, report)

    async def _remember_deleted(
        self,
        observed: Observation,
        state: SyncState,
        store: SyncStore,
        report: _Report,
    ) -> None:
        if state.deleted_at is None:
            await store.mark_deleted(ENTITY_TYPE, state.entity_id, observed.now)
            state = observed.states[state.entity_id] = replace(
                state,
                deleted_at=observed.now,
            )
        is_there = observed.konto_by_link(state.advoware_id) is not None
        if is_there and state.advoware_id not in observed.linked_except(
            state.entity_id,
        ):
            report.problems.append(deleted_problem(observed.beteiligte_id, state))
        if not observed.odd or is_there:
            report.judged.add(state.entity_id)

    # -- problems and failures ------------------------------------------------------------------------------------

    async def _notify(self, report: _Report) -> None:
        """Notify of what stands, and withdraw what does not any more."""
        for problem in report.problems:
            await self._notifications.notify(problem)
        await self._end_problems(report)

    async def _end_problems(self, report: _Report) -> None:
        """Withdraw the problems of the records that were looked at that do not stand any more."""
        standing = {problem.key for problem in report.problems}
        over = [key for key in keys_of(report.judged) if key not in standing]
        if over:
            await self._notifications.withdraw(over, SETTLED)

    async def _row_failed(
        self,
        observed: Observation,
        row: Record,
        error: Exception,
        report: _Report,
    ) -> None:
        """Show why a row was not synced. What only a user can correct is notified, and is no failure to be repeated."""
        report.failure = error
        report.judged.discard(row["id"])
        try:
            if isinstance(error, UnusableAccount):
                await self._show_unusable(row, error, observed.betnr, report)
                return
            self._log_row_failure(row, error)
            report.errors.append(f"{failed_name(row)}: {failure_sentence(error)}")
            await self._show(
                row,
                shown_status(row, "failed", hint=failure_sentence(error)),
            )
        except Exception as further:  # noqa: BLE001 - it is in the report, and the next run tries again
            self._log_not_shown(row, further)

    def _log_not_shown(self, row: Mapping[str, Any], error: Exception) -> None:
        name = type(error).__name__
        log(
            self._context,
            "warning",
            "bankverbindungen.status_not_written",
            entity_id=row["id"],
            error=name,
        )

    async def _show_unusable(
        self,
        row: Record,
        error: UnusableAccount,
        betnr: Any,
        report: _Report,
    ) -> None:
        problem = unusable_problem(row, error, betnr)
        report.problems.append(problem)
        report.judged.add(row["id"])
        await self._show(row, shown_status(row, "unclean", [problem]))

    def _log_row_failure(self, row: Mapping[str, Any], error: Exception) -> None:
        place = None
        if not isinstance(error, BitByLawError):
            place = "".join(traceback.format_tb(error.__traceback__)[-2:])
        log(
            self._context,
            "error",
            "bankverbindungen.failed",
            entity_id=row["id"],
            error=type(error).__name__,
            trace=place,
        )


def _has_konto(konten: Konten, konto_id: str) -> bool:
    return any(str(konto["id"]) == konto_id for konto in konten.usable)


def _without_refused(record: Record, error: ValidationFailed) -> Record | None:
    """A new Bankverbindung without the field that Advoware refuses; None if that is not there, or is needed."""
    name = refused_field(error)
    if name is None or name not in OPTIONAL or not record.get(name):
        return None
    return {**record, name: ""}


def _failure_of_deleted(state: SyncState, error: Exception) -> str:
    label = str(state.base.get("label") or "ohne Angaben")
    return f"Bankverbindung: „{label}“: {failure_sentence(error)}"


def _required_konten(beteiligter: Mapping[str, Any]) -> Konten:
    """The Bankverbindungen of a Beteiligter.

    Raises:
        UnexpectedAnswer: the answer does not say which there are.
    """
    konten = konten_of(beteiligter)
    if konten is None:
        raise UnexpectedAnswer(
            "Advoware",
            "the answer contains no list of Bankverbindungen",
        )
    return konten
