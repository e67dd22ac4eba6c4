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
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from services import advoware_models, beteiligte_status, espocrm_models
from services.adressen_sync import AdressenSync
from services.advoware_service import AdvowareService
from services.bankverbindungen_sync import BankverbindungenSync
from services.beteiligte_create import ENTITY_TYPE, BeteiligteCreator
from services.errors import (
    BitByLawError,
    ConfigurationError,
    Conflict,
    EntityBusy,
    InvalidInput,
    NotFound,
    ValidationFailed,
)
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import BeteiligteMapper, is_company
from services.kommunikation_sync_utils import KommunikationSyncManager
from services.locks import beteiligte_lock_key, held_lock
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


@dataclass(frozen=True)
class Observation:
    """Both sides of a linked record and what they last agreed on; ``state`` is None before the first sync."""

    espo: Record
    advo: Record
    state: SyncState | None


@dataclass(frozen=True)
class _Parts:
    """What Kommunikation, Adressen and Bankverbindungen led to, and what of the master data could not be written."""

    kommunikation: PartResult = field(default_factory=PartResult)
    adressen: PartResult = field(default_factory=PartResult)
    bankverbindungen: PartResult = field(default_factory=PartResult)
    master_data: PartResult = field(default_factory=PartResult)

    @property
    def results(self) -> tuple[PartResult, ...]:
        return (self.master_data, self.kommunikation, self.adressen, self.bankverbindungen)

    @property
    def espocrm(self) -> Record:
        return {name: value for result in self.results for name, value in result.espocrm.items()}

    @property
    def changes(self) -> list[Mapping[str, Any]]:
        return [change for result in self.results for change in result.changes]

    @property
    def problems(self) -> list[Problem]:
        return [problem for result in self.results for problem in result.problems]

    @property
    def errors(self) -> list[str]:
        return [error for result in self.results for error in result.errors]

    @property
    def wrote(self) -> bool:
        return any(result.wrote_advoware or result.espocrm for result in self.results)


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
        started = time.perf_counter()
        topic = f"{TOPIC_PREFIX}.{event.action}"
        try:
            async with self.acquire_sync_lock(event.entity_id):
                outcome = await self._handle_locked(event, topic, store)
        except EntityBusy:
            if event.action != "sync_check":
                raise
            outcome = Outcome("busy")
        await record_outcome(
            store, self._context, event, outcome, entity_type=ENTITY_TYPE, topic=topic, started=started, now=self._now()
        )
        return outcome

    @asynccontextmanager
    async def acquire_sync_lock(self, entity_id: str) -> AsyncIterator[None]:
        """Hold the lock of a CBeteiligte and all that belongs to it; see `services.locks.held_lock`."""
        async with held_lock(
            self._resources.redis, beteiligte_lock_key(entity_id), self._resources.settings.vmh.lock_seconds
        ):
            yield

    async def _handle_locked(self, event: SyncEvent, topic: str, store: SyncStore) -> Outcome:
        # Before the record is read: an edit made from here on gets an event of its own.
        await forget_waiting(self._resources, topic, event.entity_id)
        try:
            espo = await self._espocrm.get_entity(ENTITY_TYPE, event.entity_id)
        except NotFound:
            return await self._handle_deleted(event.entity_id, store)
        if event.source != "webhook" and beteiligte_status.must_wait(espo, self._now()):
            return Outcome("skipped", _betnr_of(espo))
        try:
            return await self._sync(espo, store, MAX_ROUNDS)
        except (BitByLawError, ConfigurationError) as error:
            return await self._fail(espo, f"{type(error).__name__}: {error}")
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
            details = {
                "betnr": betnr,
                "title": f"Beteiligter Nr. {betnr} wurde in EspoCRM gelöscht",
                "steps": [
                    f"In Advoware den Beteiligten Nr. {betnr} öffnen. Dort wurde nichts gelöscht.",
                    "Prüfen, ob er noch in einer Akte vorkommt.",
                    "Wenn nicht, und wenn keine Aufbewahrungsfrist entgegensteht: ihn dort löschen.",
                ],
            }
            key = f"deleted:{ENTITY_TYPE}:{entity_id}"
            await self._notifications.notify(Problem("general_manual_action", ENTITY_TYPE, entity_id, key, details))
        await store.mark_deleted(ENTITY_TYPE, entity_id, self._now())
        return Outcome("deleted", betnr)

    # -- one record -----------------------------------------------------------------------------------------------

    async def _sync(self, espo: Record, store: SyncStore, rounds: int) -> Outcome:
        """Sync once, and again if the record was edited meanwhile: our status must not cover up the edit."""
        try:
            outcome, was_edited = await self._sync_once(espo, store)
        except Conflict as error:
            if error.system != espocrm_models.SYSTEM or rounds <= 1:
                raise
            outcome, was_edited = Outcome("no_change", _betnr_of(espo)), True
        if not was_edited or rounds <= 1:
            return outcome
        log(self._context, "info", "beteiligte.edited_meanwhile", entity_id=espo["id"])
        again = await self._sync(await self._espocrm.get_entity(ENTITY_TYPE, espo["id"]), store, rounds - 1)
        if outcome.result == "no_change" or again.error:
            return replace(again, changes=(*outcome.changes, *again.changes))
        return replace(outcome, changes=(*outcome.changes, *again.changes))

    async def _sync_once(self, espo: Record, store: SyncStore) -> tuple[Outcome, bool]:
        state = await store.load(ENTITY_TYPE, espo["id"])
        betnr = espo.get("betnr") or (state.advoware_id if state and state.deleted_at is None else None)
        if not betnr:
            return await self._create(espo, store)
        try:
            advo = await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return await self.handle_advoware_deleted(espo, str(betnr)), False
        return await self._sync_linked(Observation(espo, advo, state), store)

    async def _create(self, espo: Record, store: SyncStore) -> tuple[Outcome, bool]:
        espo = await self._show_syncing(espo)
        created = await BeteiligteCreator(self._advoware, store, self._resources).create(espo)
        advo = await self._advoware.get_beteiligter(created.betnr)
        taken = self._mapper.comparable_from_advoware(advo)
        # Of a record that was found again nobody knows who has changed it since; only a fresh one shows refusals.
        rejected = {} if created.was_found else _rejected(created.posted, {}, taken)
        plan = Merge(agreed={name: value for name, value in created.posted.items() if name in taken})
        state = await self._remember(store, Observation(espo, advo, None), plan, rejected)
        # The link is stored; what is left (the betNr in EspoCRM, the parts, later edits) is an ordinary sync.
        outcome, was_edited = await self._sync_linked(Observation(espo, advo, state), store, new_rejections=rejected)
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
        self, seen: Observation, store: SyncStore, *, new_rejections: Mapping[str, Any] | None = None
    ) -> tuple[Outcome, bool]:
        plan = self.compare_entities(seen)
        if plan.to_advoware:
            seen = replace(seen, espo=await self._show_syncing(seen.espo))
            plan = self.compare_entities(seen)
        rejected = {**_kept_refusals(seen, plan), **(new_rejections or {})}
        advo = seen.advo
        if plan.conflicts:
            await self._keep_what_will_be_lost(seen, plan, store)
        unwritten: dict[str, str] = {}
        if plan.to_advoware:
            try:
                advo, refused = await self._write_advoware(seen, plan)
            except (InvalidInput, ValidationFailed) as error:  # one bad value must not stop the parts
                unwritten = dict.fromkeys(plan.to_advoware, f"Stammdaten: {type(error).__name__}: {error}")
                refused = {}
            rejected |= refused
            new_rejections = {**(new_rejections or {}), **refused}
        parts = await self._sync_parts(seen.espo, advo, store, to_advoware=bool(plan.conflicts))
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
        if unwritten:
            errors = tuple(dict.fromkeys(unwritten.values()))
            parts = replace(parts, master_data=PartResult(errors=errors))
        if not seen.espo.get("betnr"):
            attributes["betnr"] = int(seen.advo["betNr"])
        written: Record | None = None
        changed = bool(attributes or plan.to_advoware or parts.wrote or parts.errors)
        status = "conflict" if rejected else "clean"
        if changed or not beteiligte_status.is_settled(seen.espo, status, self._now()):
            written, parts = await self._write_espocrm(seen.espo, attributes, parts, advo, status)
        done = [change for change in _changes(seen, plan, self._mapper) if change["field"] not in unwritten]
        changes = (*done, *_rejections(new_rejections or {}), *parts.changes)
        await self._tell(seen.espo, advo, new_rejections or {}, parts)
        await self._remember(store, replace(seen, advo=advo), plan, rejected, unwritten)
        for result in parts.results:
            for state in result.states:
                await store.save(state)
        if not seen.espo.get("betnr"):
            await store.end_create(ENTITY_TYPE, seen.espo["id"])
        message = "; ".join(parts.errors) or None
        result_word = _result_of(plan, parts)
        if message and written is not None:
            result_word = str(written.get("syncStatus"))
            await self._tell_given_up(seen.espo, result_word, message)
        outcome = Outcome(result_word, str(seen.advo["betNr"]), changes, message)
        return outcome, written is not None and self._was_edited(seen.espo, {**attributes, **parts.espocrm}, written)

    async def _keep_what_will_be_lost(self, seen: Observation, plan: Merge, store: SyncStore) -> None:
        """Put the values that give way into the audit and tell a person, before they are overwritten."""
        changes = [change for change in _changes(seen, plan, self._mapper) if change.get("conflict")]
        betnr = str(seen.advo["betNr"])
        entry = AuditEntry(ENTITY_TYPE, seen.espo["id"], TOPIC_PREFIX, "sync", "conflict_found", 0.0, betnr, changes)
        await store.append_audit(entry, self._now())
        fields = [{"field": item.field, "old": item.advoware, "new": item.espocrm} for item in plan.conflicts]
        await self.resolve_conflict_espocrm_wins(seen.espo, seen.advo, fields)

    async def _write_advoware(self, seen: Observation, plan: Merge) -> tuple[Record, dict[str, Any]]:
        """PUT the overlaid full object and read it back; returns it and the fields that did not take."""
        changed = {**seen.advo, **self._mapper.to_advoware(plan.to_advoware)}
        await self._advoware.update_beteiligter(seen.advo["betNr"], changed)
        advo = await self._advoware.get_beteiligter(seen.advo["betNr"])
        before, taken = (self._mapper.comparable_from_advoware(record) for record in (seen.advo, advo))
        return advo, _rejected(plan.to_advoware, before, taken)

    async def _sync_parts(self, espo: Record, advo: Record, store: SyncStore, *, to_advoware: bool) -> _Parts:
        """Kommunikation, Adressen, Bankverbindungen; a part that fails as a whole does not stop the others."""
        direction: Any = "to_advoware" if to_advoware else "both"

        async def run(name: str, part: Callable[[], Awaitable[PartResult]]) -> PartResult:
            try:
                return await part()
            except BitByLawError as error:
                return PartResult(errors=(f"{name}: {type(error).__name__}: {error}",))

        return _Parts(
            await run("Kommunikation", lambda: self._kommunikation.sync_part(espo, advo, store, direction=direction)),
            await run("Adressen", lambda: self._adressen.sync_part(espo, advo, store, direction=direction)),
            await run("Bankverbindungen", lambda: self._bankverbindungen.sync_part(espo, advo, store)),
        )

    async def _write_espocrm(
        self, espo: Record, attributes: Record, parts: _Parts, advo: Record, status: str
    ) -> tuple[Record, _Parts]:
        """The one final PUT. If EspoCRM refuses it because of the Kommunikation, the rest is written without it.

        Raises:
            Conflict: what the PUT would overwrite was edited since it was read; the sync has to start again.
        """
        if attributes.keys() - {"betnr"} or parts.espocrm.keys() & set(_CONTACT_ARRAYS):
            now = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
            if self._was_edited(espo, {}, now):
                raise Conflict(espocrm_models.SYSTEM, "edited while it was synced")
        try:
            return await self._put(espo, {**attributes, **parts.espocrm}, parts.errors, advo, status), parts
        except ValidationFailed as error:
            if not parts.kommunikation.espocrm:
                raise
            refused = PartResult(
                errors=(*parts.kommunikation.errors, f"Kommunikation: {type(error).__name__}: {error}"),
                problems=parts.kommunikation.problems,
                wrote_advoware=parts.kommunikation.wrote_advoware,
            )
            parts = replace(parts, kommunikation=refused)
            return await self._put(espo, {**attributes, **parts.espocrm}, parts.errors, advo, status), parts

    async def _put(self, espo: Record, attributes: Record, errors: list[str], advo: Record, status: str) -> Record:
        sync_fields = beteiligte_status.success(status, self._now())
        if errors:
            sync_fields = beteiligte_status.failure(espo, "; ".join(errors), self._now())
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
        return {**espo, **await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], {"syncStatus": "syncing"})}

    def _was_edited(self, before: Record, sent: Record, written: Record) -> bool:
        """Whether the record that EspoCRM returned to our PUT holds values that we neither read nor wrote."""
        expected, now = {**before, **sent}, {**before, **written}
        if self._mapper.comparable_from_espocrm(expected) != self._mapper.comparable_from_espocrm(now):
            return True
        return any(_entries(expected, array) != _entries(now, array) for array in _CONTACT_ARRAYS)

    # -- record ---------------------------------------------------------------------------------------------------

    async def handle_advoware_deleted(self, espo: Record, betnr: str) -> Outcome:
        """Advoware does not know the betNr: show it, keep the record, tell a person, wait for an edit."""
        if espo.get("syncStatus") != "deleted_in_advoware":
            shown = beteiligte_status.deleted_in_advoware(betnr)
            await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], shown)
        key = f"missing_in_advoware:{ENTITY_TYPE}:{espo['id']}"
        details = {"betnr": betnr, "name": espo.get("name")}
        await self._notifications.notify(Problem("missing_in_advoware", ENTITY_TYPE, espo["id"], key, details))
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

    async def _tell(self, espo: Record, advo: Record, rejections: Mapping[str, Any], parts: _Parts) -> None:
        # The parts tell their conflicts themselves, but for the Kommunikation.
        contact = [change for change in parts.kommunikation.changes if change.get("conflict")]
        if contact:
            fields = [{"field": line.get("field"), "old": line.get("old"), "new": line.get("new")} for line in contact]
            await self.resolve_conflict_espocrm_wins(espo, advo, fields)
        if rejections:
            fields = [{"field": n, "old": p["advoware"], "new": p["espocrm"]} for n, p in sorted(rejections.items())]
            details = {"betnr": advo.get("betNr"), "name": espo.get("name"), "fields": fields}
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
            base=_base(seen.state, plan, {*rejected, *(unwritten or {})}),
            rejected=dict(rejected),
            advoware_row_id=seen.advo.get("rowId"),
            espocrm_modified_at=self.parse_timestamp(seen.espo.get("modifiedAt")),
            synced_at=self._now(),
        )
        await store.save(state)
        return state

    async def _fail(self, espo: Record, message: str) -> Outcome:
        """Write a failure into the record's status; after the fifth, tell a person."""
        failure = beteiligte_status.failure(espo, message, self._now())
        await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], failure)
        await self._tell_given_up(espo, failure["syncStatus"], failure["syncErrorMessage"])
        return Outcome(failure["syncStatus"], _betnr_of(espo), error=failure["syncErrorMessage"])

    async def _tell_given_up(self, espo: Record, status: str, message: str) -> None:
        if status == "permanently_failed":
            key = f"permanently_failed:{ENTITY_TYPE}:{espo['id']}"
            details = {"betnr": espo.get("betnr"), "name": espo.get("name"), "Fehler": message}
            await self._notifications.notify(Problem("general_manual_action", ENTITY_TYPE, espo["id"], key, details))

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


_CONTACT_ARRAYS = ("emailAddressData", "phoneNumberData")


def _entries(record: Record, array: str) -> list[tuple[str, str, bool]]:
    """What people see of a contact array; computed keys come and go between answers."""
    return [
        (
            str(entry.get("phoneNumber") or entry.get("emailAddress") or "").strip().lower(),
            str(entry.get("type") or ""),
            bool(entry.get("primary")),
        )
        for entry in record.get(array) or ()
    ]


def _betnr_of(espo: Record) -> str | None:
    return str(espo["betnr"]) if espo.get("betnr") else None


def _result_of(plan: Merge, parts: _Parts) -> str:
    """The outcome of the master data, or what the parts did if that was nothing."""
    if plan.outcome != "no_change" or not parts.changes:
        return plan.outcome
    sides = {change.get("side") for change in parts.changes}
    if any(change.get("conflict") for change in parts.changes):
        return "conflict"
    if len(sides) > 1:
        return "merged"
    return "espocrm_newer" if sides == {"advoware"} else "advoware_newer"


def _base(state: SyncState | None, plan: Merge, different: set[str]) -> dict[str, Any]:
    """What both sides agree on now; a field that still differs keeps what they agreed on before."""
    known = state.base if state else {}
    agreed = {name: value for name, value in plan.agreed.items() if name not in different}
    return {**{name: known[name] for name in different if name in known}, **agreed}


def _rejected(sent: Mapping[str, Any], before: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that Advoware did not take although it accepted the request: they hold the value from before.

    Any third value is an edit that somebody made there in the meantime, which the next merge treats as such.
    """
    return {
        name: {"espocrm": value, "advoware": taken[name]}
        for name, value in sent.items()
        if name in taken and taken[name] != value and taken[name] == before.get(name)
    }


def _kept_refusals(seen: Observation, plan: Merge) -> dict[str, Any]:
    """The refusals of earlier syncs that still stand: the plan did not touch the field."""
    known = seen.state.rejected if seen.state else {}
    return {name: pair for name, pair in known.items() if name not in plan.agreed}


def _rejections(rejected: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [{"field": name, "side": "advoware", "rejected": True, **pair} for name, pair in rejected.items()]


def _changes(seen: Observation, plan: Merge, mapper: BeteiligteMapper) -> list[dict[str, Any]]:
    """What the plan changes, for the audit: old and new value per field, and whether a person's change lost."""
    ours, theirs = mapper.comparable_from_espocrm(seen.espo), mapper.comparable_from_advoware(seen.advo)
    lost = {conflict.field for conflict in plan.conflicts}
    changes = []
    for side, written, old in (("advoware", plan.to_advoware, theirs), ("espocrm", plan.to_espocrm, ours)):
        for name, new in sorted(written.items()):
            change = {"field": name, "side": side, "old": old.get(name), "new": new}
            changes.append({**change, "conflict": True} if name in lost else change)
    return changes
