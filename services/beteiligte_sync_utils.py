"""Sync of one CBeteiligte with its Beteiligter in Advoware, and of everything that belongs to it.

Four rooms: observe (read both sides and the base), plan (pure: `compare_entities`), apply, record. Master data come
first, then Kommunikation, Adressen and Bankverbindungen, all under one lock; what concerns the CBeteiligte record
itself is written in one final PUT together with its status.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from services import advoware_models, beteiligte_status, espocrm_models
from services.adressen_sync import AdressenSync
from services.advoware_service import AdvowareService
from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_create import ENTITY_TYPE, BeteiligteCreator
from services.beteiligte_plan import (
    CONTACT_ARRAYS,
    Observation,
    Parts,
    agreed_base,
    betnr_of,
    change_lines,
    contact_entries,
    kept_refusals,
    on_side,
    rejected_fields,
    rejection_lines,
    result_of,
)
from services.errors import (
    BitByLawError,
    ConfigurationError,
    Conflict,
    EntityBusy,
    InvalidInput,
    NotFound,
    ValidationFailed,
    shown_text,
)
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import COMPANY_FIELDS, PERSON_FIELDS, BeteiligteMapper, is_company
from services.kommunikation_sync_utils import KommunikationSyncManager
from services.locks import beteiligte_lock_key, record_lock
from services.logs import log
from services.merge import Merge, Side, merge
from services.notification_utils import NotificationManager
from services.resources import Resources, current_resources
from services.sync_events import Outcome, SyncEvent, record_outcome
from services.sync_parts import PartResult, Problem
from services.sync_state import AuditEntry, SyncState, SyncStore
from services.webhooks import forget_waiting

TOPIC_PREFIX = "vmh.beteiligte"
#: A record edited again and again while we sync it is left to its next event after this many rounds.
MAX_ROUNDS = 3

Record = dict[str, Any]


@dataclass
class _Run:
    """One sync of one record, over all its rounds. ``changes`` are those that were made, for the audit."""

    store: SyncStore
    changes: list[Mapping[str, Any]] = field(default_factory=list)


class BeteiligteSync:
    """Keeps one CBeteiligte and one Beteiligter consistent. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._kommunikation = KommunikationSyncManager(context, resources=self._resources)
        self._adressen = AdressenSync(context, resources=self._resources)
        self._bankverbindungen = BankverbindungenSync(context, resources=self._resources)
        self._notifications = NotificationManager(self._espocrm, context, resources=self._resources)
        self._mapper = BeteiligteMapper()

    # -- entrance -------------------------------------------------------------------------------------------------

    async def handle(self, event: SyncEvent) -> Outcome:
        """Sync the record of an event, and write the result into the record's status and into the audit.

        The result is one of created, adopted, no_change, espocrm_newer, advoware_newer, merged, conflict, deleted,
        deleted_in_advoware, skipped, busy, failed, permanently_failed. A failure that the record's status can show is
        not raised: the cron tries again when it is due.

        Raises:
            EntityBusy: another run works on the record, and this event is somebody's edit that must not be lost.
            ForeignSystemError, ConfigurationError: not even the status could be written; the queue tries again.
        """
        store = SyncStore(await self._resources.database())
        run = _Run(store)
        started = time.perf_counter()
        topic = f"{TOPIC_PREFIX}.{event.action}"

        async def record(outcome: Outcome) -> Outcome:
            outcome = replace(outcome, changes=tuple(run.changes))
            await record_outcome(
                store, self._context, event, outcome, ENTITY_TYPE, topic=topic, started=started, now=self._now()
            )
            return outcome

        try:
            async with self.acquire_sync_lock(event.entity_id):
                outcome = await self._handle_locked(event, topic, run)
        except (BitByLawError, ConfigurationError) as error:
            if isinstance(error, EntityBusy) and event.action == "sync_check":
                return await record(Outcome("busy"))
            if run.changes:  # what was done is done, although the job comes again
                await record(Outcome("failed", error=shown_text(error)))
            raise
        return await record(outcome)

    @asynccontextmanager
    async def acquire_sync_lock(self, entity_id: str) -> AsyncIterator[None]:
        """Hold the lock of a CBeteiligte and all that belongs to it; see `services.locks.record_lock`."""
        lock_seconds = self._resources.settings.vmh.lock_seconds
        async with record_lock(self._resources, beteiligte_lock_key(entity_id), lock_seconds):
            yield

    async def _handle_locked(self, event: SyncEvent, topic: str, run: _Run) -> Outcome:
        # Before the record is read: an edit made from here on gets an event of its own.
        await forget_waiting(self._resources, topic, event.entity_id)
        try:
            espo = await self._espocrm.get_entity(ENTITY_TYPE, event.entity_id)
        except NotFound:
            return await self._handle_deleted(event.entity_id, run.store)
        await self._notifications.remember_responsible(ENTITY_TYPE, espo)
        is_edit = event.source == "webhook"
        rests = beteiligte_status.rests_after_failure if is_edit else beteiligte_status.must_wait
        if rests(espo, self._now()):
            return Outcome("skipped", betnr_of(espo))
        try:
            return await self._sync(espo, run, MAX_ROUNDS)
        except (BitByLawError, ConfigurationError) as error:
            return await self._fail(espo, shown_text(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not leave the record without a trace
            trace = "".join(traceback.format_tb(error.__traceback__)[-3:])
            log(
                self._context,
                "error",
                "beteiligte.defect",
                entity_id=event.entity_id,
                error=type(error).__name__,
                trace=trace,
            )
            return await self._fail(espo, f"{type(error).__name__}: unexpected; see the log")

    async def _handle_deleted(self, entity_id: str, store: SyncStore) -> Outcome:
        """The record is gone from EspoCRM: nothing is deleted in Advoware, a person is told what may be done."""
        state = await store.load(ENTITY_TYPE, entity_id)
        betnr = state.advoware_id if state else None
        if state is not None and state.deleted_at is None and betnr is not None:
            details = {"reason": "deleted", "betnr": betnr}
            key = f"deleted:{ENTITY_TYPE}:{entity_id}"
            await self._notifications.notify(Problem("general_manual_action", ENTITY_TYPE, entity_id, key, details))
            await store.release_parts(betnr, self._now())
        await store.mark_deleted(ENTITY_TYPE, entity_id, self._now())
        return Outcome("deleted", betnr)

    # -- one record -----------------------------------------------------------------------------------------------

    async def _sync(self, espo: Record, run: _Run, rounds: int) -> Outcome:
        """Sync once, and again if the record was edited meanwhile: our status must not cover up the edit."""
        try:
            outcome, was_edited = await self._sync_once(espo, run)
        except Conflict as error:
            if error.system != espocrm_models.SYSTEM or rounds <= 1:
                raise
            outcome, was_edited = Outcome("no_change", betnr_of(espo)), True
        if not was_edited or rounds <= 1:
            return outcome
        log(self._context, "info", "beteiligte.edited_meanwhile", entity_id=espo["id"])
        again = await self._sync(await self._espocrm.get_entity(ENTITY_TYPE, espo["id"]), run, rounds - 1)
        return again if outcome.result == "no_change" or again.error else outcome

    async def _sync_once(self, espo: Record, run: _Run) -> tuple[Outcome, bool]:
        state = await run.store.load(ENTITY_TYPE, espo["id"])
        if espo.get("syncStatus") in beteiligte_status.UNSYNCED:
            # Before Advoware is read: its full object is to go back without delay.
            espo = await self._show_syncing(espo)
        betnr = espo.get("betnr") or (state.advoware_id if state and state.deleted_at is None else None)
        if not betnr:
            return await self._create(espo, run)
        if state is None or state.advoware_id != str(betnr):
            await self._require_free(str(betnr), espo["id"], run.store)
        adressen = None
        with suppress(BitByLawError):  # the part asks again, and says what is wrong
            adressen = await self._adressen.list_rows(espo["id"])
        try:
            advo = await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return await self.handle_advoware_deleted(espo, str(betnr)), False
        return await self._sync_linked(Observation(espo, advo, state, adressen), run)

    async def _require_free(self, betnr: str, entity_id: str, store: SyncStore) -> None:
        """Refuse a Beteiligter that another record is linked with; release him if that record is gone.

        Raises:
            InvalidInput: two CBeteiligte have this betNr.
        """
        owner = await store.linked_entity(ENTITY_TYPE, betnr)
        if owner is None or owner == entity_id:
            return
        try:
            await self._espocrm.get_entity(ENTITY_TYPE, owner)
        except NotFound:  # the event of its deletion was lost
            await self._handle_deleted(owner, store)
        else:
            raise InvalidInput(f"betnr: {betnr} belongs to another record, CBeteiligte/{owner}")

    async def _create(self, espo: Record, run: _Run) -> tuple[Outcome, bool]:
        espo = await self._show_syncing(espo)
        created = await BeteiligteCreator(self._advoware, run.store, self._resources).create(espo)
        advo = await self._advoware.get_beteiligter(created.betnr)
        taken = self._mapper.comparable_from_advoware(advo)
        # Of a record that was found again nobody knows who has changed it since; only a fresh one shows refusals.
        rejected = {} if created.was_found else rejected_fields(created.posted, {}, taken)
        plan = Merge(agreed={name: value for name, value in created.posted.items() if name in taken})
        state = await self._remember(run.store, Observation(espo, advo, None), plan, rejected)
        # The link is stored; what is left (the betNr in EspoCRM, the parts, later edits) is an ordinary sync.
        outcome, was_edited = await self._sync_linked(Observation(espo, advo, state), run, new_rejections=rejected)
        if outcome.error:
            return outcome, was_edited
        return replace(outcome, result="adopted" if created.was_found else "created"), was_edited

    # -- plan -----------------------------------------------------------------------------------------------------

    def compare_entities(self, seen: Observation) -> Merge:
        """The plan for the master data of a linked record. Pure.

        Before the first sync the newer record wins where both have a value; a value wins over none.
        """
        ours = self._mapper.comparable_from_espocrm(seen.espo)
        theirs = self._mapper.comparable_from_advoware(seen.advo)
        state = seen.state if seen.state and seen.state.advoware_id == str(seen.advo.get("betNr")) else None
        known_refusals = state.rejected if state else {}
        for name, pair in known_refusals.items():
            if name in theirs and ours.get(name) == pair.get("espocrm") and theirs[name] == pair.get("advoware"):
                del theirs[name]
        return merge(state.base if state else {}, ours, theirs, first_winner=self._newer_side(seen))

    def _newer_side(self, seen: Observation) -> Side | None:
        ours = self.parse_timestamp(seen.espo.get("modifiedAt"))
        theirs = advoware_models.parse_date_time(seen.advo.get("geaendertAm"))
        if ours is None or theirs is None:
            return "espocrm" if theirs is None else "advoware"
        ours, theirs = ours.replace(microsecond=0), theirs.astimezone(UTC).replace(microsecond=0)
        return None if ours == theirs else "espocrm" if ours > theirs else "advoware"

    @staticmethod
    def parse_timestamp(text: str | None) -> datetime | None:
        """EspoCRM's date-time as an aware time, None if empty or unreadable."""
        return espocrm_models.parse_date_time(text)

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _sync_linked(
        self, seen: Observation, run: _Run, *, new_rejections: Mapping[str, Any] | None = None
    ) -> tuple[Outcome, bool]:
        seen, plan = await self._prepare(seen, run.store)
        rejected = {**kept_refusals(seen, plan), **(new_rejections or {})}
        advo = seen.advo
        unwritten: dict[str, str] = {}
        if plan.to_advoware:
            try:
                advo, refused = await self._write_advoware(seen, plan)
            except (InvalidInput, ValidationFailed) as error:  # one bad value must not stop the parts
                unwritten = dict.fromkeys(plan.to_advoware, f"Stammdaten: {shown_text(error)}")
                refused = {}
            rejected |= refused
            new_rejections = {**(new_rejections or {}), **refused}
        attributes = self._espocrm_attributes(seen, plan, unwritten)
        changes = [line for line in change_lines(seen, plan, self._mapper) if line["field"] not in unwritten]
        run.changes += [*on_side("advoware", changes), *rejection_lines(new_rejections or {})]
        parts = await self._sync_parts(replace(seen, advo=advo), run.store, to_advoware=bool(plan.conflicts))
        parts = replace(parts, master_data=PartResult(errors=tuple(dict.fromkeys(unwritten.values()))))
        # Before EspoCRM is written: what failed there would start the next run as if nothing had been lost.
        run.changes += on_side("advoware", parts.changes)
        await self._tell(seen.espo, advo, new_rejections or {}, parts)
        written: Record | None = None
        changed = bool(attributes or plan.to_advoware or parts.wrote or parts.errors)
        status = "conflict" if rejected else "clean"
        if changed or not beteiligte_status.is_settled(seen.espo, status, self._now()):
            written, parts = await self._write_espocrm(seen.espo, attributes, parts, advo, status)
        run.changes += on_side("espocrm", [*changes, *parts.changes])
        await self._remember_all(replace(seen, advo=advo), plan, rejected, unwritten, parts, run.store)
        result, message = result_of(plan, parts), "; ".join(parts.errors) or None
        if message and written is not None:
            result = str(written.get("syncStatus"))
        outcome = Outcome(result, str(seen.advo["betNr"]), error=message)
        was_edited = written is not None and self._was_edited(seen.espo, {**attributes, **parts.espocrm}, written)
        return outcome, was_edited or any(result.was_edited for result in parts.results)

    async def _prepare(self, seen: Observation, store: SyncStore) -> tuple[Observation, Merge]:
        """The plan, with Advoware as it is right before it is written: telling people about a conflict takes time."""
        plan = self.compare_entities(seen)
        if plan.to_advoware and seen.espo.get("syncStatus") != "syncing":
            espo = await self._show_syncing(seen.espo)
            seen = replace(seen, espo=espo, advo=await self._advoware.get_beteiligter(seen.advo["betNr"]))
            plan = self.compare_entities(seen)
        told = plan.conflicts[:0]
        for _ in range(MAX_ROUNDS):
            if plan.conflicts == told:
                return seen, plan
            await self._keep_what_will_be_lost(seen, plan, store)
            told = plan.conflicts
            seen = replace(seen, advo=await self._advoware.get_beteiligter(seen.advo["betNr"]))
            plan = self.compare_entities(seen)
        if plan.conflicts != told:  # somebody keeps typing there: told at least, although it takes time
            await self._keep_what_will_be_lost(seen, plan, store)
        return seen, plan

    def _espocrm_attributes(self, seen: Observation, plan: Merge, unwritten: dict[str, str]) -> Record:
        """What the plan changes in EspoCRM; values that it cannot hold are added to ``unwritten``."""
        company = is_company(plan.agreed.get("rechtsform", seen.espo.get("rechtsform")))
        # A change of kind writes all fields of the new kind: the old ones may hold anything.
        changes_kind = company != is_company(seen.espo.get("rechtsform"))
        incoming = plan.agreed if changes_kind else plan.to_espocrm
        attributes: Record = {}
        for name, value in incoming.items() if plan.to_espocrm else ():
            try:
                attributes |= self._mapper.to_espocrm({name: value}, company=company)
            except InvalidInput as error:
                unwritten[name] = f"Stammdaten: {error}"
        if not seen.espo.get("betnr"):
            attributes["betnr"] = int(seen.advo["betNr"])
        return attributes

    async def _keep_what_will_be_lost(self, seen: Observation, plan: Merge, store: SyncStore) -> None:
        """Put the values that give way into the audit and tell a person, before they are overwritten."""
        changes = [change for change in change_lines(seen, plan, self._mapper) if change.get("conflict")]
        betnr = str(seen.advo["betNr"])
        entry = AuditEntry(ENTITY_TYPE, seen.espo["id"], TOPIC_PREFIX, "sync", "conflict_found", 0.0, betnr, changes)
        await store.append_audit(entry, self._now())
        fields = [{"field": item.field, "old": item.advoware, "new": item.espocrm} for item in plan.conflicts]
        await self.resolve_conflict_espocrm_wins(seen.espo, seen.advo, fields)

    async def _write_advoware(self, seen: Observation, plan: Merge) -> tuple[Record, dict[str, Any]]:
        """PUT the overlaid full object and read it back; returns it and the fields that did not take."""
        sent = plan.to_advoware
        company = is_company(plan.agreed.get("rechtsform", seen.advo.get("rechtsform")))
        if company != is_company(seen.advo.get("rechtsform")):
            # All fields of the new kind: what was compared as empty may hold values of an earlier time.
            fields = {"rechtsform", *(COMPANY_FIELDS if company else PERSON_FIELDS)}
            sent = {**sent, **{name: value for name, value in plan.agreed.items() if name in fields}}
        changed = {**seen.advo, **self._mapper.to_advoware(sent)}
        await self._advoware.update_beteiligter(seen.advo["betNr"], changed)
        advo = await self._advoware.get_beteiligter(seen.advo["betNr"])
        before, taken = (self._mapper.comparable_from_advoware(record) for record in (seen.advo, advo))
        return advo, rejected_fields(sent, before, taken)

    async def _sync_parts(self, seen: Observation, store: SyncStore, *, to_advoware: bool) -> Parts:
        """Kommunikation, Adressen, Bankverbindungen; a part that fails as a whole does not stop the others."""
        direction: Any = "to_advoware" if to_advoware else "both"
        espo, advo, rows = seen.espo, seen.advo, seen.adressen

        async def run(name: str, part: Callable[[], Awaitable[PartResult]]) -> PartResult:
            try:
                return await part()
            except BitByLawError as error:
                return PartResult(errors=(f"{name}: {shown_text(error)}",))

        kommunikation = await run(
            "Kommunikation", lambda: self._kommunikation.sync_part(espo, advo, store, direction=direction)
        )
        latest = kommunikation.advoware or advo
        adressen = await run(
            "Adressen", lambda: self._adressen.sync_part(espo, latest, store, direction=direction, rows=rows)
        )
        bankverbindungen = await run("Bankverbindungen", lambda: self._bankverbindungen.sync_part(espo, latest, store))
        return Parts(kommunikation, adressen, bankverbindungen)

    async def _write_espocrm(
        self, espo: Record, attributes: Record, parts: Parts, advo: Record, status: str
    ) -> tuple[Record, Parts]:
        """The one final PUT. If EspoCRM refuses it because of the Kommunikation, the rest is written without it.

        Raises:
            Conflict: what the PUT would overwrite was edited since it was read; the sync has to start again.
        """
        if attributes.keys() - {"betnr"} or parts.espocrm.keys() & set(CONTACT_ARRAYS):
            now = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
            if self._was_edited(espo, {}, now):
                raise Conflict(espocrm_models.SYSTEM, "edited while it was synced")
        try:
            return await self._put(espo, {**attributes, **parts.espocrm}, parts.errors, advo, status), parts
        except ValidationFailed as error:
            if not parts.kommunikation.espocrm:
                raise
            refused = PartResult(
                errors=(*parts.kommunikation.errors, f"Kommunikation: {shown_text(error)}"),
                problems=parts.kommunikation.problems,
                wrote_advoware=parts.kommunikation.wrote_advoware,
            )
            parts = replace(parts, kommunikation=refused)
            return await self._put(espo, {**attributes, **parts.espocrm}, parts.errors, advo, status), parts

    async def _put(self, espo: Record, attributes: Record, errors: list[str], advo: Record, status: str) -> Record:
        sync_fields = beteiligte_status.success(status, self._now())
        if errors:
            sync_fields = beteiligte_status.failure(espo, "; ".join(errors), self._now())
            await self._tell_given_up(espo, sync_fields)
        return await self._espocrm.update_entity(
            ENTITY_TYPE,
            espo["id"],
            {**attributes, "advowareRowId": advo.get("rowId"), **sync_fields},
            version_number=espo.get("versionNumber"),
        )

    async def _show_syncing(self, espo: Record) -> Record:
        """Show that we are at work; returns the record as it is now, edits made since it was read included."""
        if espo.get("syncStatus") == "syncing":
            return espo
        shown = await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], {"syncStatus": "syncing"})
        if not self._was_edited(espo, {}, shown):
            shown = {**shown, "modifiedAt": espo.get("modifiedAt")}  # the time of a person's edit, not of ours
        return {**espo, **shown}

    def _was_edited(self, before: Record, sent: Record, written: Record) -> bool:
        """Whether the record that EspoCRM returned to our PUT holds values that we neither read nor wrote."""
        expected, now = {**before, **sent}, {**before, **written}
        if self._mapper.comparable_from_espocrm(expected) != self._mapper.comparable_from_espocrm(now):
            return True
        return any(contact_entries(expected, array) != contact_entries(now, array) for array in CONTACT_ARRAYS)

    # -- record ---------------------------------------------------------------------------------------------------

    async def handle_advoware_deleted(self, espo: Record, betnr: str) -> Outcome:
        """Advoware does not know the betNr: show it, keep the record, tell a person, wait for an edit."""
        if espo.get("syncStatus") != "deleted_in_advoware":
            key = f"missing_in_advoware:{ENTITY_TYPE}:{espo['id']}"
            since = self._now().isoformat(timespec="seconds")
            details = {"betnr": betnr, "name": espo.get("name"), "since": since}
            await self._notifications.notify(Problem("missing_in_advoware", ENTITY_TYPE, espo["id"], key, details))
            shown = beteiligte_status.deleted_in_advoware(betnr)
            await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], shown)
        return Outcome("deleted_in_advoware", betnr)

    async def resolve_conflict_espocrm_wins(self, espo: Record, advo: Record, fields: list[Record]) -> None:
        """Tell a person which values of Advoware give way to EspoCRM's, one task for each set of values."""
        details = {
            "reason": "conflict",
            "betnr": advo.get("betNr"),
            "name": espo.get("name"),
            "fields": fields,
        }
        values = hashlib.sha256(json.dumps(fields, sort_keys=True, default=str).encode()).hexdigest()[:16]
        key = f"conflict:{ENTITY_TYPE}:{espo['id']}:{values}"
        await self._notifications.notify(Problem("general_manual_action", ENTITY_TYPE, espo["id"], key, details))

    async def _tell(self, espo: Record, advo: Record, rejections: Mapping[str, Any], parts: Parts) -> None:
        # The parts tell their conflicts themselves, but for the Kommunikation.
        contact = [change for change in parts.kommunikation.changes if change.get("conflict")]
        if contact:
            fields = [{"field": line.get("field"), "old": line.get("old"), "new": line.get("new")} for line in contact]
            await self.resolve_conflict_espocrm_wins(espo, advo, fields)
        if rejections:
            fields = [{"field": n, "old": p["advoware"], "new": p["espocrm"]} for n, p in sorted(rejections.items())]
            details = {"betnr": advo.get("betNr"), "name": espo.get("name"), "fields": fields}
            details["since"] = self._now().isoformat(timespec="seconds")
            key = f"readonly_field_conflict:{ENTITY_TYPE}:{espo['id']}"
            await self._notifications.notify(Problem("readonly_field_conflict", ENTITY_TYPE, espo["id"], key, details))
        for problem in parts.problems:
            await self._notifications.notify(problem)

    async def _remember(
        self,
        store: SyncStore,
        seen: Observation,
        plan: Merge,
        rejected: Mapping[str, Any],
        unwritten: Mapping[str, str] | None = None,
    ) -> SyncState:
        state = SyncState(
            ENTITY_TYPE,
            seen.espo["id"],
            advoware_id=str(seen.advo["betNr"]),
            base=agreed_base(seen.state, plan, {*rejected, *(unwritten or {})}),
            rejected=dict(rejected),
            advoware_row_id=seen.advo.get("rowId"),
            espocrm_modified_at=self.parse_timestamp(seen.espo.get("modifiedAt")),
            synced_at=self._now(),
        )
        await store.save(state)
        return state

    async def _remember_all(
        self,
        seen: Observation,
        plan: Merge,
        rejected: Mapping[str, Any],
        unwritten: Mapping[str, str],
        parts: Parts,
        store: SyncStore,
    ) -> None:
        await self._remember(store, seen, plan, rejected, unwritten)
        for result in parts.results:
            for state in result.states:
                await store.save(state)
        if not seen.espo.get("betnr"):
            await store.end_create(ENTITY_TYPE, seen.espo["id"])

    async def _fail(self, espo: Record, message: str) -> Outcome:
        """Write a failure into the record's status; after the fifth, tell a person."""
        failure = beteiligte_status.failure(espo, message, self._now())
        await self._tell_given_up(espo, failure)
        written = await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], failure)
        if self._was_edited(espo, {}, written):  # the edit's own event must find it so
            await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], {"syncStatus": "dirty"})
        return Outcome(failure["syncStatus"], betnr_of(espo), error=failure["syncErrorMessage"])

    async def _tell_given_up(self, espo: Record, failure: Record) -> None:
        if failure["syncStatus"] == "permanently_failed":
            key = f"permanently_failed:{ENTITY_TYPE}:{espo['id']}"
            since = self._now().isoformat(timespec="seconds")
            details = {
                "reason": "gave_up",
                "betnr": espo.get("betnr"),
                "name": espo.get("name"),
                "Fehler": failure["syncErrorMessage"],
                "since": since,
            }
            await self._notifications.notify(Problem("general_manual_action", ENTITY_TYPE, espo["id"], key, details))

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)
