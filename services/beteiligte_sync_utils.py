"""Sync of one CBeteiligte with its Beteiligter in Advoware, and of everything that belongs to it.

Four phases, in this order: observe (read both sides and the base), plan (pure: `compare_entities`), apply, record.
Master data come first, then Kommunikation, Adressen and Bankverbindungen, all under one lock; what concerns the
CBeteiligte record itself is written in one final PUT together with its status.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.adressen_sync import AdressenSync
from services.advoware_service import AdvowareService
from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte.finish import BeteiligteFinisher, Ending, was_edited_since
from services.beteiligte.former_number import set_aside, take_back
from services.beteiligte.gone import GoneBeteiligte, inherit_state, missing_key
from services.core.errors import (
    BitByLawError,
    Conflict,
    EntityBusy,
    NeedsPerson,
    NotBefore,
    NotFound,
    NumberTaken,
    OlderState,
    Paused,
    ValidationFailed,
    is_no_records_fault,
    shown_text,
    words_of,
)
from services.core.jobs.look_again import EDIT, HAND, beteiligter, in_turn
from services.core.jobs.pending import claim_pending
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.log import log
from services.core.metrics import GUARDS
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import BeteiligteMapper, shown_by_advoware
from services.kommunikation_sync_utils import KommunikationSyncManager
from services.notification_utils import NotificationManager
from services.values import advoware_protocol, espocrm_query
from services.values.espocrm_query import RecordWrite
from services.values.merge import (
    SENDING,
    Merge,
    Pair,
    base_from_json,
    base_to_json,
    compare_after_write,
    text_of,
    undecided,
    without,
)
from services.vmh_sync.beteiligte import status as beteiligte_status
from services.vmh_sync.beteiligte.create import (
    ENTITY_TYPE,
    BeteiligteCreator,
    Created,
    stored_by_create,
)
from services.vmh_sync.beteiligte.identity import (
    has_lost_its_last_numbers,
    require_no_older_state,
    require_same_person,
)
from services.vmh_sync.beteiligte.master_data import MasterDataWriter, Written
from services.vmh_sync.beteiligte.plan import (
    Observation,
    Parts,
    Standing,
    base_of,
    beside_pairs,
    betnr_of,
    change_lines,
    on_side,
    plan_master_data,
    problem_of_lines,
    result_of,
    shown_values,
    standing_lines,
    standing_of_held,
    standing_of_interrupted,
    standing_of_pairs,
    without_fields,
)
from services.vmh_sync.espocrm_writes import EspoWrites
from services.vmh_sync.job import Outcome, SyncEvent, record_outcome
from services.vmh_sync.notification.texts import (
    failure_sentence,
    problem_sentence,
    words_for_people,
)
from services.vmh_sync.result import (
    Details,
    FieldLine,
    PartResult,
    Problem,
)
from services.vmh_sync.sending import (
    altered_in,
    may_be_edited,
    sending,
    with_sent,
)
from services.vmh_sync.store import AuditEntry, SyncState, SyncStore

TOPIC_PREFIX = "vmh.beteiligte"
#: A record edited again and again while we sync it is left to its next event after this many rounds.
MAX_ROUNDS = 3
#: What a record shows while it is held because Advoware shows an older state.
OLDER_STATE = failure_sentence(OlderState())
RELEASED = "Der Abgleich der angehaltenen Datensätze läuft wieder."

#: What an event requests, by its source; a check requests nothing.
_REQUESTED = {"webhook": frozenset({EDIT}), "hand": frozenset({EDIT, HAND})}

Record = dict[str, Any]


@dataclass
class _Run:
    """One sync of one record, over all its rounds.

    Attributes:
        changes: those that were made, for the audit.
        created_betnr: the number of the Beteiligter that was created.
        shows_failure: the record may show that it has failed, also if the answer to that write never came.
    """

    store: SyncStore
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    created_betnr: str | None = None
    shows_failure: bool = False


@dataclass(frozen=True)
class _Applied:
    """Master data after their write to Advoware.

    Attributes:
        plan: what was to be brought over.
        changed: what was really brought over.
        written: what became of the write.
        standing: what does not arrive and waits for a user.
    """

    plan: Merge
    changed: Merge
    written: Written
    standing: dict[str, Standing]


class BeteiligteSync:
    """Keeps one CBeteiligte and one Beteiligter consistent. ``context`` is the step's FlowContext or None."""

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._kommunikation = KommunikationSyncManager(
            context,
            resources=self._resources,
        )
        self._writes = writes = EspoWrites(self._espocrm)
        self._notifications = NotificationManager(
            self._espocrm,
            context,
            resources=self._resources,
            writes=writes,
        )
        shared: Any = {
            "resources": self._resources,
            "writes": writes,
            "notifications": self._notifications,
        }
        self._adressen = AdressenSync(context, **shared)
        self._bankverbindungen = BankverbindungenSync(context, **shared)
        self._gone = GoneBeteiligte(self._espocrm, self._advoware, self._notifications)
        self._mapper = BeteiligteMapper()
        self._writer = MasterDataWriter(self._advoware, self._mapper)
        self._finisher = BeteiligteFinisher(
            self._espocrm,
            self._kommunikation,
            self._notifications,
            writes,
            self._resources,
        )

    # -- entry points ---------------------------------------------------------------------------------------------

    async def handle(self, event: SyncEvent) -> Outcome:
        """Sync the record of an event, and write the result into the record's status and into the audit.

        The result is one of created, adopted, no_change, espocrm_newer, advoware_newer, merged, conflict, deleted,
        deleted_in_advoware, skipped, busy, failed, permanently_failed. A failure that the record's status can show is
        not raised: the cron tries again when it is due. ``busy``: another run works on the record, and looks again if
        the event is a user's edit (`core.jobs.look_again`). In the audit also waiting: the rest of the work goes
        on when what an interrupted run has left does not count any more; and interrupted: what that run had begun.

        Raises:
            ForeignSystemError, ConfigurationError: not even the status could be written; the queue tries again.
        """
        topic = f"{TOPIC_PREFIX}.{event.action}"
        await claim_pending(self._resources, topic, event.entity_id)
        store = SyncStore(await self._resources.database())
        requested = _REQUESTED.get(event.source, frozenset())

        async def one_round(requested: frozenset[str]) -> Outcome:
            return await self._handle_round(event, topic, store, requested)

        started = time.perf_counter()
        outcome = await in_turn(
            self._resources,
            beteiligter(event.entity_id),
            requested,
            one_round,
            leaves_note=event.action != "sync_check",
        )
        if outcome is not None:
            return outcome
        busy = Outcome("busy")
        await record_outcome(
            store,
            self._context,
            event,
            busy,
            ENTITY_TYPE,
            topic=topic,
            started=started,
            now=self._resources.now(),
        )
        return busy

    async def look_again(self, entity_id: str) -> Outcome:
        """Do what others have asked for while something else held the record's lock."""
        return await self.handle(
            SyncEvent(
                entity_id=entity_id,
                action="sync_check",
                source="cron",
            ),
        )

    async def rehearse(self, entity_id: str) -> Outcome:
        """What `handle` does when a person asks for it, without lock, pending keys and audit line.

        For resources that write nothing (`services.preview.rehearsal`).

        Raises:
            NotBefore: an earlier request may still be under way.
            ForeignSystemError, ConfigurationError: as `handle`.
        """
        run = _Run(SyncStore(await self._resources.database()))
        event = SyncEvent(
            entity_id=entity_id,
            action="sync_now",
            source="hand",
        )
        outcome = await self._handle_locked(event, run, _REQUESTED["hand"])
        await self._write_the_rest(entity_id)
        return outcome

    async def _handle_round(
        self,
        event: SyncEvent,
        topic: str,
        store: SyncStore,
        requested: frozenset[str],
    ) -> Outcome:
        """Sync the record once, under its lock, and write the audit.

        Raises:
            EntityBusy: another run works on the record.
            NotBefore: an earlier request may still be under way.
        """
        run = _Run(store)
        started = time.perf_counter()
        self._writes.forget()

        async def record(outcome: Outcome) -> Outcome:
            outcome = replace(
                outcome,
                advoware_id=outcome.advoware_id or run.created_betnr,
                changes=tuple(run.changes),
            )
            await record_outcome(
                store,
                self._context,
                event,
                outcome,
                ENTITY_TYPE,
                topic=topic,
                started=started,
                now=self._resources.now(),
            )
            return outcome

        # Inside the lock: to the next run, what is not recorded was interrupted.
        async with self.acquire_sync_lock(event.entity_id):
            try:
                outcome = await self._handle_locked(event, run, requested)
                await self._write_the_rest(event.entity_id)
            except (NotBefore, Paused):
                if run.changes:  # what was done is done, although the rest has to wait
                    await record(Outcome("waiting"))
                raise
            except BitByLawError as error:
                # What was done is done, although the job comes again.
                if run.changes or run.shows_failure:
                    await record(Outcome("failed", error=shown_text(error)))
                raise
            return await record(outcome)

    @asynccontextmanager
    async def acquire_sync_lock(self, entity_id: str) -> AsyncIterator[None]:
        """Hold the lock of a CBeteiligte and all that belongs to it; see `services.core.locks.record_lock`."""
        lock_seconds = self._resources.settings.vmh.lock_seconds
        async with record_lock(
            self._resources,
            beteiligte_lock_key(entity_id),
            lock_seconds,
        ):
            yield

    async def _handle_locked(
        self,
        event: SyncEvent,
        run: _Run,
        requested: frozenset[str],
    ) -> Outcome:
        now = self._resources.now()
        await run.store.record_interrupted(event.entity_id, TOPIC_PREFIX, now)
        try:
            espo = await self._espocrm.get_entity(ENTITY_TYPE, event.entity_id)
        except NotFound:
            return await self._handle_deleted(event.entity_id, run.store)
        await self._notifications.remember_responsible(ENTITY_TYPE, espo)
        if _backs_off(espo, requested, self._resources.now()):
            return Outcome("skipped", betnr_of(espo))
        try:
            outcome = await self._sync(espo, run, MAX_ROUNDS)
            if espo.get("syncErrorMessage") == OLDER_STATE and not outcome.error:
                await self._notifications.withdraw(
                    [OlderState.reason],
                    RELEASED,
                )  # a record that is still held reports it again
            return outcome
        except EntityBusy:
            raise
        except NeedsPerson as error:
            return await self._hold(espo, error)
        except BitByLawError as error:
            if is_no_records_fault(error):
                raise
            return await self._fail(espo, error, run)
        except Exception as error:  # noqa: BLE001 - a defect of the sync must not leave the record without a trace
            self._log_defect("beteiligte.defect", event.entity_id, error)
            return await self._fail(espo, error, run)

    async def _write_the_rest(self, entity_id: str) -> None:
        """Write what was collected and could not go with a status; what fails is left to the next sync, or the cron."""
        try:
            await self._writes.flush()
        except BitByLawError as error:
            if is_no_records_fault(error):
                raise
            log(
                self._context,
                "error",
                "beteiligte.remainder_not_written",
                entity_id=entity_id,
                error=type(error).__name__,
            )

    async def _write_status(self, espo: Record, fields: Record) -> Record:
        """Write the status with everything that was collected."""

        async def update() -> RecordWrite:
            return RecordWrite(ENTITY_TYPE, espo["id"], fields)

        return await self._writes.write(update)

    def _log_defect(self, event: str, entity_id: str, error: Exception) -> None:
        trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
        log(
            self._context,
            "error",
            event,
            entity_id=entity_id,
            error=type(error).__name__,
            trace=trace,
        )

    async def _handle_deleted(self, entity_id: str, store: SyncStore) -> Outcome:
        """The record is gone from EspoCRM: nothing is deleted in Advoware, a person is notified of what may be done."""
        state = await store.load(ENTITY_TYPE, entity_id)
        if state is None or state.advoware_id is None:
            state = await self._left_by_create(entity_id, store)
        betnr = None
        if state is not None:
            betnr = state.advoware_id
            if betnr is not None and state.deleted_at is None:
                await self._notify_deleted(entity_id, betnr, store)
        await store.mark_deleted(ENTITY_TYPE, entity_id, self._resources.now())
        return Outcome("deleted", betnr)

    async def _notify_deleted(
        self,
        entity_id: str,
        betnr: str,
        store: SyncStore,
    ) -> None:
        await self._notify_late_losses(entity_id, betnr, store)
        fate = await self._gone.fate_of(entity_id, betnr)
        await self._gone.notify(entity_id, betnr, fate)
        if not fate.took_parts_of(entity_id):
            await store.release_parts(betnr, entity_id, self._resources.now())

    async def _notify_late_losses(
        self,
        entity_id: str,
        betnr: str,
        store: SyncStore,
    ) -> None:
        """Notify of what its last sync has replaced at a Beteiligter whom no further run of the record will read."""
        lost = await self._kommunikation.losses_left_at(entity_id, betnr, store)
        if not lost:
            return
        entry = AuditEntry(
            ENTITY_TYPE,
            entity_id,
            TOPIC_PREFIX,
            "sync",
            "conflict_found",
            0.0,
            betnr,
            lost,
        )
        await store.append_audit(entry, self._resources.now())
        name = await self._notifications.remembered_name(ENTITY_TYPE, entity_id)
        await self.resolve_conflict_espocrm_wins(
            {"id": entity_id, "name": name},
            {"betNr": betnr},
            _conflict_fields(lost),
        )

    async def _left_by_create(
        self,
        entity_id: str,
        store: SyncStore,
    ) -> SyncState | None:
        """The link of a record that was deleted before its create in Advoware was known to have succeeded."""
        creator = BeteiligteCreator(self._advoware, store, self._resources)
        try:
            betnr = await creator.left_by_create(entity_id)
        except NeedsPerson:
            await self._notify_left(entity_id)
            await store.end_create(ENTITY_TYPE, entity_id)
            return None
        if betnr is None:
            return None
        state = SyncState(ENTITY_TYPE, entity_id, advoware_id=betnr)
        await store.save(state)
        return state

    async def _notify_left(self, entity_id: str) -> None:
        """Notify a person that it cannot be known what the create of a record has left that is gone."""
        name = await self._notifications.remembered_name(ENTITY_TYPE, entity_id)
        await self._notifications.notify(
            Problem(
                "general_manual_action",
                ENTITY_TYPE,
                entity_id,
                f"left_unclear:{ENTITY_TYPE}:{entity_id}",
                Details("left_unclear", name=name),
            ),
        )

    # -- one record -----------------------------------------------------------------------------------------------

    async def _sync(self, espo: Record, run: _Run, rounds: int) -> Outcome:
        """Sync once, and again if the record was edited meanwhile: our status must not cover up the edit."""
        try:
            outcome, was_edited = await self._sync_once(espo, run)
        except Conflict as error:
            if error.system != espocrm_query.SYSTEM:
                raise
            self._writes.forget()  # the next round collects it again
            if rounds <= 1:
                return await self._leave_to_next_event(espo, error)
            outcome = Outcome("no_change", betnr_of(espo))
            was_edited = True
        if not was_edited or rounds <= 1:
            return outcome
        log(self._context, "info", "beteiligte.edited_meanwhile", entity_id=espo["id"])
        latest = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
        if not may_be_edited(latest):
            # The status is this run's own, and says nothing of the edit.
            latest = {**latest, "syncStatus": "syncing"}
        again = await self._sync(latest, run, rounds - 1)
        if outcome.result == "no_change" or again.error:
            return again
        return outcome

    async def _leave_to_next_event(self, espo: Record, conflict: Conflict) -> Outcome:
        """Who edits a record all the time has done nothing wrong: it stays dirty, and is no failure.

        Raises:
            Conflict: no one has edited it.
        """
        now = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
        if not was_edited_since(self._mapper, espo, {}, now):
            raise conflict
        await self._espocrm.update_entity(
            ENTITY_TYPE,
            espo["id"],
            {"syncStatus": "dirty"},
        )
        return Outcome("no_change", betnr_of(espo))

    async def _sync_once(self, espo: Record, run: _Run) -> tuple[Outcome, bool]:
        """Observe both sides, plan, apply and record; also whether the record was edited meanwhile."""
        state = await run.store.load(ENTITY_TYPE, espo["id"])
        if espo.get("syncStatus") in beteiligte_status.UNSYNCED:
            # Before Advoware is read: its full object is to go back without delay.
            espo = await self._show_syncing(espo)
        espo = self._with_known_kind(espo, state)
        betnr = _linked_number(espo, state)
        if betnr is None:
            return await self._create(espo, run)
        if not _is_linked_with(betnr, state):
            state = await self._claim_number(betnr, espo, state, run.store)
        observed = await self._observe(espo, betnr, state, run.store)
        if observed is None:
            outcome = await self.handle_advoware_deleted(espo, betnr, state, run.store)
            return outcome, False
        return await self._sync_linked(observed, run)

    def _with_known_kind(self, espo: Record, state: SyncState | None) -> Record:
        """The record with its last known legal form and name, as far as it does not show what decides them."""
        if state is None:
            return espo
        known = base_from_json(state.base)
        if "rechtsform" not in espo and "rechtsform" in known:
            espo = {**espo, "rechtsform": text_of(known["rechtsform"].espocrm)}
        if "name" not in known:
            return espo
        return self._mapper.without_doubtful_names(espo, known["name"].espocrm)

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(
        self,
        espo: Record,
        betnr: str,
        state: SyncState | None,
        store: SyncStore,
    ) -> Observation | None:
        """Both sides and what they last agreed on; None if Advoware does not know the number.

        Raises:
            DifferentPerson: the number stands for another person by now.
            OlderState: Advoware shows an older state than at the last sync.
        """
        adressen = None
        with suppress(BitByLawError):  # the part asks again, and says what is wrong
            adressen = await self._adressen.list_rows(espo["id"])
        try:
            advo = await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return None
        if state is not None:
            state = await store.opened(state, *shown_values(espo, advo, self._mapper))
            state = with_sent(
                state,
                self._mapper.comparable_from_espocrm(espo),
                self._mapper.comparable_from_advoware(advo),
                is_edited=may_be_edited(espo),
            )
        require_same_person(espo, advo, state, self._mapper)
        if state is not None and self._is_from_before_restore(state):
            state = replace(
                state,
                base={},
                rejected={},
                advoware_changed_at=None,
            )
        elif state is not None:
            require_no_older_state(state, advo)
        return Observation(espo, advo, state, adressen)

    async def _claim_number(
        self,
        betnr: str,
        espo: Record,
        state: SyncState | None,
        store: SyncStore,
    ) -> SyncState | None:
        """Link a record that is restored, was merged, or whose number a user has entered; what is known of it.

        Raises:
            NumberTaken: two CBeteiligte have this betNr.
            NotBefore: its create may still be under way.
        """
        await self._require_free(betnr, espo["id"], store)
        await self._gone.end_tasks(espo["id"], betnr, store)
        await self._end_other_create(espo, betnr, store)
        if state is not None and state.advoware_id == betnr:
            return state
        if state is not None and state.advoware_id and state.deleted_at is None:
            await self._notify_late_losses(espo["id"], state.advoware_id, store)
            await set_aside(state, store, self._resources.now())
        inherited = await inherit_state(espo, betnr, store)
        if inherited is not None:
            return inherited
        taken_back = await take_back(espo["id"], betnr, store)
        if taken_back is not None:
            return taken_back
        return state  # of another number, or none

    async def _end_other_create(
        self,
        espo: Record,
        betnr: str,
        store: SyncStore,
    ) -> None:
        """Notify a person of another Beteiligter that a create of the record has left; no one will find him else.

        Raises:
            NotBefore: the create may still be under way.
        """
        creator = BeteiligteCreator(self._advoware, store, self._resources)
        try:
            left = await creator.left_by_create(espo["id"], betnr)
        except NeedsPerson:
            await self._notify_left(espo["id"])
            return
        if left is not None and left != betnr:
            await self._notify_left_behind(espo, left)

    async def _notify_left_behind(self, espo: Record, left: str) -> None:
        await self._notifications.notify(
            Problem(
                "general_manual_action",
                ENTITY_TYPE,
                espo["id"],
                f"left_behind:{ENTITY_TYPE}:{espo['id']}:{left}",
                Details("left_behind", betnr=left, name=espo.get("name")),
            ),
        )

    async def _require_free(self, betnr: str, entity_id: str, store: SyncStore) -> None:
        """Refuse a Beteiligter that another record is linked with; release him if that record is gone.

        Raises:
            NumberTaken: two CBeteiligte have this betNr.
        """
        owner = await store.linked_entity(ENTITY_TYPE, betnr)
        if owner is None or owner == entity_id:
            return
        try:
            await self._espocrm.get_entity(ENTITY_TYPE, owner)
        except NotFound:  # the event of its deletion was lost
            await self._handle_deleted(owner, store)
        else:
            raise NumberTaken(
                f"betnr: {betnr} belongs to another record, CBeteiligte/{owner}",
                betnr,
            )

    async def _create(self, espo: Record, run: _Run) -> tuple[Outcome, bool]:
        self._mapper.creatable(espo)  # before anything is shown
        if espo.get("syncStatus") != "conflict":
            # What is held may be held again, and writes nothing then.
            espo = await self._show_syncing(espo)
        creator = BeteiligteCreator(self._advoware, run.store, self._resources)
        created = await creator.create(espo)
        await self._require_free(created.betnr, espo["id"], run.store)
        run.created_betnr = created.betnr
        advo = await self._advoware.get_beteiligter(created.betnr)
        agreed, standing = self._compare_created(created, advo)
        state = await self._finisher.remember(
            run.store,
            Observation(espo, advo, None),
            Merge(settled=agreed),
            standing,
        )
        # The link is stored; what is left (the betNr in EspoCRM, the parts, later edits) is an ordinary sync.
        outcome, was_edited = await self._sync_linked(
            Observation(espo, advo, state),
            run,
            standing=standing,
        )
        if outcome.error:
            return outcome, was_edited
        result = "created"
        if created.was_found:
            result = "adopted"
        return replace(outcome, result=result), was_edited

    def _compare_created(
        self,
        created: Created,
        advo: Record,
    ) -> tuple[dict[str, Pair], dict[str, Standing]]:
        """What both sides hold after a create, and what of it did not arrive as sent."""
        shown = self._mapper.comparable_from_advoware(advo)
        agreed = {}
        for name, value in created.posted.items():
            if name in shown:
                agreed[name] = Pair(value, value)
        stored = stored_by_create(created, advo, self._mapper)
        refused, altered = compare_after_write(
            created.posted,
            dict.fromkeys(stored),
            stored,
            side="advoware",
        )
        standing = {
            **standing_of_pairs(refused, "espocrm", "refused", self._resources.now()),
            **standing_of_pairs(altered, "espocrm", "altered", self._resources.now()),
        }
        return {**agreed, **refused, **altered}, standing

    # -- plan -----------------------------------------------------------------------------------------------------

    def compare_entities(self, observed: Observation) -> Merge:
        """The plan for the master data of a linked record; see `beteiligte.plan.plan_master_data`. Pure."""
        return plan_master_data(observed, self._mapper)

    @staticmethod
    def parse_timestamp(text: str | None) -> datetime | None:
        """EspoCRM's date-time as an aware time, None if empty or unreadable."""
        return espocrm_query.parse_date_time(text)

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _sync_linked(
        self,
        observed: Observation,
        run: _Run,
        *,
        standing: Mapping[str, Standing] | None = None,
    ) -> tuple[Outcome, bool]:
        """Plan, apply, record; ``standing`` is what the creation of the record has already found not to arrive."""
        observed, plan = await self._prepare(observed, run.store)
        applied = await self._apply_master_data(observed, plan, standing or {}, run)
        parts = await self._apply_parts(observed, applied, run)
        ending = await self._finisher.finish(
            observed,
            applied.changed,
            applied.written.advo,
            applied.standing,
            parts,
            run.store,
        )
        return self._ended(observed, applied, ending, run)

    async def _apply_master_data(
        self,
        observed: Observation,
        plan: Merge,
        standing: Mapping[str, Standing],
        run: _Run,
    ) -> _Applied:
        """Write the master data to Advoware, and keep the audit's lines about it."""
        now = self._resources.now()
        standing = {
            **without(standing, plan.to_advoware),  # which is written again
            **standing_of_held(observed, plan, now),
            **standing_of_interrupted(observed, plan),
        }
        written = Written(observed.advo)
        await self._note_begun(observed, plan, run.store)
        if plan.to_advoware:
            written = await self._writer.write(observed, plan.to_advoware, now)
            beside = without(
                beside_pairs(observed, plan, written.beside, self._mapper),
                undecided(plan, base_of(observed)),
            )
            written_at = self._resources.now()
            altered = standing_of_pairs(beside, "espocrm", "altered", written_at)
            not_as_sent = {**written.standing, **altered}
            await self._note_altered(observed, plan, not_as_sent, run.store)
            standing |= not_as_sent
            plan = without_fields(plan, (), beside)
        changed = without_fields(plan, written.pairs, written.pairs)
        changes = change_lines(observed, changed, self._mapper)
        found = _new_standing(observed, standing)
        run.changes += on_side("advoware", changes)
        run.changes += standing_lines(found)
        return _Applied(plan, changed, written, standing)

    async def _note_begun(
        self,
        observed: Observation,
        plan: Merge,
        store: SyncStore,
    ) -> None:
        """Remember what is about to be written, before it is."""
        if not sending(plan.to_espocrm, plan.to_advoware) or observed.state is None:
            return
        await self._note_sending(observed, plan, {}, store)
        lines = change_lines(observed, plan, self._mapper)
        await store.note_begun(observed.espo["id"], lines)

    async def _note_altered(
        self,
        observed: Observation,
        plan: Merge,
        standing: Mapping[str, Standing],
        store: SyncStore,
    ) -> None:
        """Remember what did not arrive in Advoware as sent, before EspoCRM is written, which may fail."""
        if standing:
            await self._note_sending(observed, plan, standing, store)

    async def _note_sending(
        self,
        observed: Observation,
        plan: Merge,
        standing: Mapping[str, Standing],
        store: SyncStore,
    ) -> None:
        if observed.state is None:
            return
        found = {name: item.as_json() for name, item in standing.items()}
        altered = {**altered_in(observed.state.base), **found}
        sent = sending(plan.to_espocrm, plan.to_advoware, altered)
        held = {name: item.pair for name, item in standing.items()}
        settled = base_to_json(without(held, plan.to_espocrm))
        base = {**observed.state.base, **settled, SENDING: sent}
        await store.note_sending(ENTITY_TYPE, {observed.espo["id"]: base})

    async def _apply_parts(
        self,
        observed: Observation,
        applied: _Applied,
        run: _Run,
    ) -> Parts:
        """Sync the parts, and keep the audit's lines about Advoware.

        Before EspoCRM is written: what failed there would start the next run as if nothing had been lost.
        """
        written = applied.written
        parts = await self._sync_parts(
            replace(observed, advo=written.advo),
            run.store,
            to_advoware=bool(applied.plan.conflicts),
        )
        parts = replace(parts, master_data=PartResult(wrote_advoware=written.wrote))
        run.changes += on_side("advoware", parts.changes)
        await self._keep_lost_contacts(observed, parts, run.store)
        return parts

    def _ended(
        self,
        observed: Observation,
        applied: _Applied,
        ending: Ending,
        run: _Run,
    ) -> tuple[Outcome, bool]:
        """The outcome, and whether another round is needed.

        Raises:
            NotBefore: a part has to wait for an interrupted request.
        """
        parts = ending.parts
        self._keep_late_lines(observed, ending, run)
        if parts.not_before is not None:
            raise NotBefore("an interrupted request", parts.not_before)
        again = ending.was_edited or any(part.was_edited for part in parts.results)
        if ending.shows_other_fields or _shows_other_fields(observed, applied):
            again = True  # these fields are settled in a further round
        betnr = str(observed.advo["betNr"])
        if not parts.errors:
            return Outcome(result_of(applied.plan, parts), betnr), again
        result = str((ending.written or {}).get("syncStatus"))
        return Outcome(result, betnr, error="; ".join(parts.errors)), again

    def _keep_late_lines(
        self,
        observed: Observation,
        ending: Ending,
        run: _Run,
    ) -> None:
        """Keep the audit's lines about EspoCRM, and those about Advoware that are known only now."""
        changes = ending.parts.changes
        # Complete before anything is added: equal lines of one call all count.
        late = []
        for line in on_side("advoware", changes):
            if line not in run.changes:
                late.append(line)
        run.changes += late
        espocrm_lines = change_lines(observed, ending.plan, self._mapper)
        run.changes += on_side("espocrm", [*espocrm_lines, *changes])
        run.changes += ending.changes

    async def _keep_lost_contacts(
        self,
        observed: Observation,
        parts: Parts,
        store: SyncStore,
    ) -> None:
        """Put what gave way in the Kommunikation into the audit and notify of it; the other parts do so themselves.

        Before it is remembered as reported: the worker may die between that and the audit of the whole sync.
        """
        lines = parts.kommunikation.changes
        lost = [line for line in lines if line.get("conflict")]
        if not lost:
            return
        await self._append_lost(observed, "conflict_found", lost, store)
        await self.resolve_conflict_espocrm_wins(
            observed.espo,
            observed.advo,
            _conflict_fields(lost),
        )

    async def _prepare(
        self,
        observed: Observation,
        store: SyncStore,
    ) -> tuple[Observation, Merge]:
        """The plan, with Advoware as it is right before it is written: telling people about a conflict takes time."""
        plan = self.compare_entities(observed)
        if plan.to_advoware and observed.espo.get("syncStatus") != "syncing":
            espo = await self._show_syncing(observed.espo)
            observed = replace(
                observed,
                espo=espo,
                advo=await self._advoware.get_beteiligter(observed.advo["betNr"]),
            )
            plan = self.compare_entities(observed)
        kept: list[Mapping[str, Any]] = []
        for _ in range(MAX_ROUNDS):
            lost = self._lost_lines(observed, plan)
            if lost == kept:
                return observed, plan
            await self._keep_what_will_be_lost(observed, plan, lost, store)
            kept = lost
            if plan.to_advoware:
                observed = replace(
                    observed,
                    advo=await self._advoware.get_beteiligter(observed.advo["betNr"]),
                )
                plan = self.compare_entities(observed)
        lost = self._lost_lines(observed, plan)
        if lost != kept:  # a user keeps typing there: kept and notified at least
            await self._keep_what_will_be_lost(observed, plan, lost, store)
        return observed, plan

    def _lost_lines(
        self,
        observed: Observation,
        plan: Merge,
    ) -> list[Mapping[str, Any]]:
        """The audit's lines of values that give way to another one."""
        lines = change_lines(observed, plan, self._mapper)
        return [line for line in lines if line.get("conflict") or line.get("unsynced")]

    def _is_from_before_restore(self, state: SyncState) -> bool:
        """Whether an operator has confirmed that Advoware was restored after this record was last synced."""
        restored_at = self._resources.settings.vmh.advoware_restored_at
        return (
            restored_at is not None
            and state.synced_at is not None
            and state.synced_at < restored_at
        )

    async def _append_lost(
        self,
        observed: Observation,
        word: str,
        lost: list[Mapping[str, Any]],
        store: SyncStore,
    ) -> None:
        """Put values that give way into the audit."""
        entry = AuditEntry(
            ENTITY_TYPE,
            observed.espo["id"],
            TOPIC_PREFIX,
            "sync",
            word,
            0.0,
            str(observed.advo["betNr"]),
            lost,
        )
        await store.append_audit(entry, self._resources.now())

    async def _keep_what_will_be_lost(
        self,
        observed: Observation,
        plan: Merge,
        lost: list[Mapping[str, Any]],
        store: SyncStore,
    ) -> None:
        """Put the values that give way into the audit and notify of a conflict, before they are overwritten."""
        word = "unsynced_found"
        if plan.conflicts:
            word = "conflict_found"
        await self._append_lost(observed, word, lost, store)
        if plan.conflicts:
            fields = []
            for item in plan.conflicts:
                old = text_of(item.advoware)
                new = text_of(item.espocrm)
                fields.append(FieldLine(item.field, old, new))
            await self.resolve_conflict_espocrm_wins(
                observed.espo,
                observed.advo,
                fields,
            )

    async def _sync_parts(
        self,
        observed: Observation,
        store: SyncStore,
        *,
        to_advoware: bool,
    ) -> Parts:
        """Kommunikation, Adressen, Bankverbindungen; a part that fails as a whole does not stop the others."""
        direction: Any = "to_advoware" if to_advoware else "both"
        espo = observed.espo
        advo = observed.advo
        rows = observed.adressen

        async def run(
            name: str,
            part: Callable[[], Awaitable[PartResult]],
        ) -> PartResult:
            try:
                return await part()
            except BitByLawError as error:
                if isinstance(error, EntityBusy) or is_no_records_fault(error):
                    raise
                return PartResult(errors=(f"{name}: {failure_sentence(error)}",))
            except Exception as error:  # noqa: BLE001 - a defect in one part must not stop the others
                self._log_defect(f"{name.lower()}.defect", espo["id"], error)
                return PartResult(errors=(f"{name}: {failure_sentence(error)}",))

        kommunikation = await run(
            "Kommunikation",
            lambda: self._kommunikation.sync_part(
                espo,
                advo,
                store,
                direction=direction,
            ),
        )
        latest = kommunikation.advoware or advo
        adressen = await run(
            "Adressen",
            lambda: self._adressen.sync_part(
                espo,
                latest,
                store,
                direction=direction,
                rows=rows,
            ),
        )
        bankverbindungen = await run(
            "Bankverbindungen",
            lambda: self._bankverbindungen.sync_part(espo, latest, store),
        )
        return Parts(kommunikation, adressen, bankverbindungen)

    async def _show_syncing(self, espo: Record) -> Record:
        """Show that a sync has begun; returns the record as it is now, edits made since it was read included."""
        if espo.get("syncStatus") == "syncing":
            return espo
        shown = await self._espocrm.update_entity(
            ENTITY_TYPE,
            espo["id"],
            {"syncStatus": "syncing"},
        )
        if was_edited_since(self._mapper, espo, {}, shown):
            now = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
            if was_edited_since(self._mapper, espo, {}, now):
                return now
        # With the time of a user's edit, not of this write.
        espo = {**espo, "syncStatus": "syncing"}
        if "versionNumber" in shown:
            espo["versionNumber"] = shown["versionNumber"]
        return espo

    # -- record ---------------------------------------------------------------------------------------------------

    async def handle_advoware_deleted(
        self,
        espo: Record,
        betnr: str,
        state: SyncState | None,
        store: SyncStore,
    ) -> Outcome:
        """Advoware does not know the betNr: show it, keep the record, notify a person, wait for an edit.

        Raises:
            OlderState: Advoware has lost its last numbers, as after a restored backup.
        """
        is_confirmed = state is not None and self._is_from_before_restore(state)
        if not is_confirmed and await has_lost_its_last_numbers(
            int(betnr),
            store,
            self._advoware,
        ):
            raise OlderState(f"betnr {betnr} and its neighbours are gone from Advoware")
        if espo.get("syncStatus") != "deleted_in_advoware":
            since = self._resources.now().isoformat(timespec="seconds")
            details = Details(
                betnr=betnr,
                name=espo.get("name"),
                since=since,
            )
            problem = Problem(
                "missing_in_advoware",
                ENTITY_TYPE,
                espo["id"],
                missing_key(espo["id"]),
                details,
            )
            await self._notifications.notify(problem)
            await self._notifications.require_known(problem)
            await self._gone.end_standing(espo["id"], betnr, store)
            shown = beteiligte_status.deleted_in_advoware(betnr)
            await self._write_status(espo, shown)
        return Outcome("deleted_in_advoware", betnr)

    async def _hold(self, espo: Record, error: NeedsPerson) -> Outcome:
        """Leave the record alone, show why, and notify a person once; one task for all if Advoware was restored."""
        betnr = espo.get("betnr") or error.betnr
        details = Details(error.reason, betnr, espo.get("name"))
        key = f"{error.reason}:{ENTITY_TYPE}:{espo['id']}"
        if isinstance(error, OlderState):
            details = Details(error.reason)
            key = error.reason
        problem = Problem(
            "general_manual_action",
            ENTITY_TYPE,
            espo["id"],
            key,
            details,
        )
        await self._notifications.notify(problem)
        message = problem_sentence(problem)
        GUARDS.labels(f"beteiligte_{error.reason}").inc()
        log(
            self._context,
            "warning",
            "beteiligte.held",
            entity_id=espo["id"],
            reason=error.reason,
        )
        if not beteiligte_status.is_settled(
            espo,
            "conflict",
            message,
            self._resources.now(),
        ):
            fields = beteiligte_status.success(
                "conflict",
                self._resources.now(),
                message,
            )
            await self._write_status_beside_edits(espo, fields)
        return Outcome("held", betnr_of(espo), error=f"{type(error).__name__}: {error}")

    async def resolve_conflict_espocrm_wins(
        self,
        espo: Record,
        advo: Record,
        fields: list[FieldLine],
    ) -> None:
        """Notify a person of which values of Advoware give way to EspoCRM's, one task for each set of values."""
        problem = problem_of_lines("conflict", espo, advo.get("betNr"), fields)
        await self._notifications.notify(problem)

    async def _fail(self, espo: Record, error: Exception, run: _Run) -> Outcome:
        """Write a failure into the record's status; after the fifth, notify a person."""
        failure = beteiligte_status.failure(
            espo,
            _failure_message(error),
            self._resources.now(),
        )
        await self._finisher.notify_given_up(espo, failure)
        run.shows_failure = True
        await self._write_status_beside_edits(espo, failure)
        text = f"{type(error).__name__}: unexpected; see the log"
        if isinstance(error, BitByLawError):
            text = shown_text(error)
        return Outcome(failure["syncStatus"], betnr_of(espo), error=text)

    async def _write_status_beside_edits(self, espo: Record, fields: Record) -> None:
        """Write the status; a record that was edited meanwhile stays dirty, as the edit's own event must find it."""
        written = await self._write_status(espo, fields)
        if await self._finisher.was_edited(espo, {}, written):
            await self._espocrm.update_entity(
                ENTITY_TYPE,
                espo["id"],
                {"syncStatus": "dirty"},
            )


def _conflict_fields(lines: Iterable[Mapping[str, Any]]) -> list[FieldLine]:
    """What gave way, by the audit's lines."""
    return [
        FieldLine(line["field"], line["old"], line["new"])
        for line in lines
        if line.get("conflict")
    ]


def _backs_off(espo: Record, requested: frozenset[str], now: datetime) -> bool:
    """Whether the record is left alone for now, because of an earlier failure."""
    if HAND in requested:
        return False
    if EDIT in requested:
        return beteiligte_status.rests_after_failure(espo, now)
    return beteiligte_status.must_wait(espo, now)


def _linked_number(espo: Record, state: SyncState | None) -> str | None:
    """The number that the record shows, else the one it was linked with."""
    if espo.get("betnr"):
        return str(espo["betnr"])
    if state is None or state.deleted_at is not None:
        return None
    return state.advoware_id or None


def _is_linked_with(betnr: str, state: SyncState | None) -> bool:
    if state is None or state.deleted_at is not None:
        return False
    return state.advoware_id == betnr


def _new_standing(
    observed: Observation,
    standing: Mapping[str, Standing],
) -> list[Standing]:
    """What stands now and is not stored like this yet."""
    known: Mapping[str, Any] = {}
    if observed.state is not None:
        known = observed.state.rejected
    return [
        item for item in standing.values() if item.as_json() != known.get(item.field)
    ]


def _shows_other_fields(observed: Observation, applied: _Applied) -> bool:
    """Whether the Beteiligter has become a company (or a person), and shows other fields now."""
    shown = shown_by_advoware(applied.written.advo)
    return shown.keys() != shown_by_advoware(observed.advo).keys()


def _failure_message(error: Exception) -> str:
    """What the record shows about a failure; of a refusal also Advoware's own words, which say why."""
    message = failure_sentence(error)
    if not isinstance(error, ValidationFailed):
        return message
    words = words_of(error)
    if error.system != advoware_protocol.SYSTEM or not words:
        return message
    return f"{message} Advoware sagt dazu: {words_for_people(words)}"
