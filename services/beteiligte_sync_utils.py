"""Sync of one CBeteiligte with its Beteiligter in Advoware.

Four rooms: observe (read both sides and the base), plan (pure: `compare_entities`), apply, record. What is created, is
created once: the intent is stored before the POST, and an attempt of unknown fate is looked for before it is repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services import advoware_models, espocrm
from services.advoware_service import AdvowareService
from services.errors import (
    BitByLawError,
    ConfigurationError,
    Conflict,
    EntityBusy,
    ForeignSystemError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from services.espocrm import EspoCRMAPI, format_date_time
from services.espocrm_mapper import BeteiligteMapper, is_company
from services.locks import beteiligte_lock_key, held_lock
from services.logs import log
from services.merge import Merge, Side, merge
from services.resources import Resources, current_resources
from services.sync_state import AuditEntry, SyncState, SyncStore
from services.webhooks import forget_waiting

ENTITY_TYPE = "CBeteiligte"
TOPIC_PREFIX = "vmh.beteiligte"
BACKOFF_MINUTES = (1, 5, 15, 60, 240)
AUTO_RESET_HOURS = 24
STALE_HOURS = 24
ERROR_MESSAGE_LENGTH = 2000
#: A record edited again and again while we sync it is left to its next event after this many rounds.
MAX_ROUNDS = 3
#: How far Advoware's clock may be behind ours when we look for what an interrupted create has left.
CLOCK_TOLERANCE = timedelta(minutes=5)

Record = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a sync ended.

    ``result`` is one of created, adopted, no_change, espocrm_newer, advoware_newer, merged, conflict, deleted,
    deleted_in_advoware, skipped, busy, failed, permanently_failed.
    """

    result: str
    advoware_id: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Observation:
    """Both sides of a linked record and what they last agreed on; ``state`` is None before the first sync."""

    espo: Record
    advo: Record
    state: SyncState | None


class SyncEvent(BaseModel):
    """What the queue delivers. ``source`` is ``webhook`` (somebody's edit) or ``cron``."""

    model_config = ConfigDict(frozen=True)

    entity_id: str = Field(pattern=r"^[0-9A-Za-z-]{1,36}$")
    action: Literal["create", "update", "delete", "sync_check"]
    source: str = "webhook"
    timestamp: datetime | None = None

    @property
    def topic(self) -> str:
        """The queue topic of the event."""
        return f"{TOPIC_PREFIX}.{self.action}"


def parse_event(data: Any) -> SyncEvent:
    """The event in a queue's payload.

    Raises:
        InvalidInput: the payload has not the agreed shape; names the fields.
    """
    try:
        return SyncEvent.model_validate(data)
    except ValidationError as error:
        fields = ", ".join(str(item["loc"][0]) if item["loc"] else "payload" for item in error.errors())
        raise InvalidInput(f"unusable queue event: {fields}") from None


class BeteiligteSync:
    """Keeps one CBeteiligte and one Beteiligter consistent. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._mapper = BeteiligteMapper()

    # -- entrance -------------------------------------------------------------------------------------------------

    async def handle(self, event: SyncEvent) -> Outcome:
        """Sync the record of an event, and write the result into the record's status and into the audit.

        A failure that the record's status can show is not raised: the cron tries again when it is due.

        Raises:
            EntityBusy: another run works on the record, and this event is somebody's edit that must not be lost.
            ForeignSystemError, ConfigurationError: not even the status could be written; the queue tries again.
        """
        store = SyncStore(await self._resources.database())
        started = time.perf_counter()
        try:
            async with self.acquire_sync_lock(event.entity_id):
                outcome = await self._handle_locked(event, store)
        except EntityBusy:
            if event.action != "sync_check":
                raise
            outcome = Outcome("busy")
        entry = AuditEntry(
            ENTITY_TYPE,
            event.entity_id,
            event.topic,
            event.source,
            outcome.result,
            round((time.perf_counter() - started) * 1000, 1),
            outcome.advoware_id,
            outcome.changes,
            outcome.error,
            getattr(self._context, "trace_id", None),
        )
        await store.append_audit(entry, self._now())
        log(
            self._context,
            "error" if outcome.error else "info",
            "beteiligte.synced",
            entity_id=event.entity_id,
            topic=event.topic,
            result=outcome.result,
            duration_ms=entry.duration_ms,
            error=(outcome.error or "").partition(":")[0] or None,  # the class; foreign words may name people
        )
        return outcome

    @asynccontextmanager
    async def acquire_sync_lock(self, entity_id: str) -> AsyncIterator[None]:
        """Hold the lock of a CBeteiligte and all that belongs to it; see `services.locks.held_lock`."""
        async with held_lock(
            self._resources.redis, beteiligte_lock_key(entity_id), self._resources.settings.vmh.lock_seconds
        ):
            yield

    async def _handle_locked(self, event: SyncEvent, store: SyncStore) -> Outcome:
        # Before the record is read: an edit made from here on gets an event of its own.
        await forget_waiting(self._resources, event.topic, event.entity_id)
        try:
            espo = await self._espocrm.get_entity(ENTITY_TYPE, event.entity_id)
        except NotFound:
            state = await store.load(ENTITY_TYPE, event.entity_id)
            await store.mark_deleted(ENTITY_TYPE, event.entity_id, self._now())
            return Outcome("deleted", state.advoware_id if state else None)
        if event.source != "webhook" and self._must_wait(espo):
            return Outcome("skipped", str(espo["betnr"]) if espo.get("betnr") else None)
        try:
            return await self._sync(espo, store, MAX_ROUNDS)
        except (BitByLawError, ConfigurationError) as error:
            return await self._fail(espo, error)

    def _must_wait(self, espo: Record) -> bool:
        if espo.get("syncStatus") == "deleted_in_advoware":
            return True
        next_retry = espocrm.parse_date_time(espo.get("syncNextRetry"))
        return next_retry is not None and next_retry > self._now()

    # -- one record -----------------------------------------------------------------------------------------------

    async def _sync(self, espo: Record, store: SyncStore, rounds: int) -> Outcome:
        state = await store.load(ENTITY_TYPE, espo["id"])
        betnr = espo.get("betnr") or (state.advoware_id if state and state.deleted_at is None else None)
        if not betnr:
            outcome, written = await self._create(espo, store)
        else:
            try:
                advo = await self._advoware.get_beteiligter(betnr)
            except NotFound:
                return await self.handle_advoware_deleted(espo, str(betnr))
            outcome, written = await self._compare(Observation(espo, advo, state), store)
        if written is not None and rounds > 1 and self._was_edited_meanwhile(espo, written, outcome):
            log(self._context, "info", "beteiligte.edited_meanwhile", entity_id=espo["id"])
            again = await self._sync(await self._espocrm.get_entity(ENTITY_TYPE, espo["id"]), store, rounds - 1)
            return replace(again, result=outcome.result, changes=(*outcome.changes, *again.changes))
        return outcome

    def _was_edited_meanwhile(self, before: Record, written: Record, outcome: Outcome) -> bool:
        """Whether the record that EspoCRM returned to our PUT holds values that neither we read nor we wrote."""
        expected = self._mapper.comparable_from_espocrm(before)
        for change in outcome.changes:
            if change.get("side") == "espocrm":
                expected[str(change["field"])] = change["new"]
        return self._mapper.comparable_from_espocrm({**before, **written}) != expected

    # -- create ---------------------------------------------------------------------------------------------------

    async def _create(self, espo: Record, store: SyncStore) -> tuple[Outcome, Record | None]:
        record = self._mapper.map_cbeteiligte_to_advoware(espo)
        values = self._mapper.comparable_from_espocrm(espo)
        await self._show_syncing(espo)
        intent = await store.begin_create(ENTITY_TYPE, espo["id"], values, self._now())
        betnr = intent.advoware_id
        if betnr is None and intent.is_repeated:
            await self._wait_for_unanswered_request(intent.attempted_at)
            betnr = await self._find_created(store, intent.posted, intent.started_at)
            if betnr is not None:
                await store.created(ENTITY_TYPE, espo["id"], betnr)
            else:
                await store.repeat_create(ENTITY_TYPE, espo["id"], values, self._now())
        result = "created" if betnr is None else "adopted"
        posted = values if betnr is None else intent.posted
        betnr = betnr or await self._post(record, espo["id"], store)
        advo = await self._advoware.get_beteiligter(betnr)
        taken = self._mapper.comparable_from_advoware(advo)
        rejected = _rejected(posted, values, taken)
        plan = Merge(agreed={name: value for name, value in posted.items() if taken.get(name, value) == value})
        state = await self._remember(store, Observation(espo, advo, None), plan, rejected)
        # The link is stored; what is left (the betNr in EspoCRM, edits made since the POST) is an ordinary sync.
        outcome, written = await self._compare(Observation(espo, advo, state), store)
        return replace(outcome, result=result, changes=(*_rejections(rejected), *outcome.changes)), written

    async def _post(self, record: Record, entity_id: str, store: SyncStore) -> str:
        try:
            created = await self._advoware.create_beteiligter(record)
        except ForeignSystemError as error:
            refused = error.status is not None and 400 <= error.status < 500
            if refused or (isinstance(error, Unavailable) and not error.was_sent):
                await store.end_create(ENTITY_TYPE, entity_id)
            raise
        betnr = str(created["betNr"])
        await store.created(ENTITY_TYPE, entity_id, betnr)
        return betnr

    async def _wait_for_unanswered_request(self, attempted_at: datetime) -> None:
        """Let the time pass in which an interrupted request may still reach Advoware."""
        latest = attempted_at + timedelta(seconds=self._resources.settings.advoware.api_timeout_seconds)
        remaining = (latest - self._now()).total_seconds()
        if remaining > 0:
            await asyncio.sleep(remaining)

    async def _find_created(self, store: SyncStore, posted: Mapping[str, Any], since: datetime) -> str | None:
        """The betNr of what an earlier attempt created: same values, created since then, linked with nothing."""
        filters = {name: str(posted[name]) for name in ("name", "vorname") if posted.get(name)}
        found = {}
        for row in await self._advoware.find_beteiligte(**filters):
            created_at = advoware_models.parse_date_time(row.get("angelegtAm"))
            if created_at is None or created_at < since - CLOCK_TOLERANCE:
                continue
            values = self._mapper.comparable_from_advoware(row)
            if all(values.get(name, value) == value for name, value in posted.items()):
                found[int(row["betNr"])] = row
        linked = await store.linked_advoware_ids(ENTITY_TYPE, [str(betnr) for betnr in found])
        free = sorted(betnr for betnr in found if str(betnr) not in linked)
        return str(free[0]) if free else None

    # -- compare --------------------------------------------------------------------------------------------------

    def compare_entities(self, seen: Observation) -> Merge:
        """The plan for a linked record. Pure.

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
        return espocrm.parse_date_time(text)

    async def _compare(self, seen: Observation, store: SyncStore) -> tuple[Outcome, Record | None]:
        plan = self.compare_entities(seen)
        advo, rejected = seen.advo, _kept_refusals(seen, plan)
        if plan.to_advoware:
            await self._show_syncing(seen.espo)
            changed = {**seen.advo, **self._mapper.to_advoware(plan.to_advoware)}
            await self._advoware.update_beteiligter(seen.advo["betNr"], changed)
            advo = await self._advoware.get_beteiligter(seen.advo["betNr"])
            taken = self._mapper.comparable_from_advoware(advo)
            rejected |= _rejected(plan.to_advoware, self._mapper.comparable_from_espocrm(seen.espo), taken)
        company = is_company(plan.agreed.get("rechtsform", seen.espo.get("rechtsform")))
        attributes = self._mapper.to_espocrm(plan.to_espocrm, company=company) if plan.to_espocrm else {}
        if not seen.espo.get("betnr"):
            attributes["betnr"] = int(seen.advo["betNr"])
        written = None
        if attributes or plan.to_advoware or not self._is_settled(seen.espo):
            written = await self._write_status(seen.espo, attributes, advo)
        await self._remember(store, replace(seen, advo=advo), plan, rejected)
        if not seen.espo.get("betnr"):
            await store.end_create(ENTITY_TYPE, seen.espo["id"])
        changes = (*_changes(seen, plan, self._mapper), *_rejections(rejected if plan.to_advoware else {}))
        return Outcome(plan.outcome, str(seen.advo["betNr"]), changes), written

    def _is_settled(self, espo: Record) -> bool:
        """Whether the record's status needs no write: clean, and seen recently enough not to count as stale."""
        last_sync = espocrm.parse_date_time(espo.get("advowareLastSync"))
        fresh = last_sync is not None and last_sync > self._now() - timedelta(hours=STALE_HOURS)
        return espo.get("syncStatus") == "clean" and fresh and not espo.get("syncRetryCount")

    async def handle_advoware_deleted(self, espo: Record, betnr: str) -> Outcome:
        """Advoware does not know the betNr: show it, keep the record, wait for a person."""
        message = f"Beteiligter {betnr} ist in Advoware nicht vorhanden."
        if espo.get("syncStatus") != "deleted_in_advoware":
            attributes = {"syncStatus": "deleted_in_advoware", "syncErrorMessage": message, "syncNextRetry": None}
            await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], attributes)
        return Outcome("deleted_in_advoware", betnr)

    # -- record ---------------------------------------------------------------------------------------------------

    async def _show_syncing(self, espo: Record) -> None:
        if espo.get("syncStatus") != "syncing":
            await self._espocrm.update_entity(ENTITY_TYPE, espo["id"], {"syncStatus": "syncing"})

    async def _write_status(self, espo: Record, attributes: Record, advo: Record) -> Record:
        """The one final PUT: the changed attributes together with the status."""
        return await self._espocrm.update_entity(
            ENTITY_TYPE,
            espo["id"],
            {
                **attributes,
                "syncStatus": "clean",
                "advowareLastSync": format_date_time(self._now()),
                "advowareRowId": advo.get("rowId"),
                "syncRetryCount": 0,
                "syncNextRetry": None,
                "syncAutoResetAt": None,
                "syncErrorMessage": None,
            },
        )

    async def _remember(
        self, store: SyncStore, seen: Observation, plan: Merge, rejected: Mapping[str, Any]
    ) -> SyncState:
        agreed = {name: value for name, value in plan.agreed.items() if name not in rejected}
        state = SyncState(
            ENTITY_TYPE,
            seen.espo["id"],
            advoware_id=str(seen.advo["betNr"]),
            base=agreed,
            rejected=dict(rejected),
            advoware_row_id=seen.advo.get("rowId"),
            espocrm_modified_at=self.parse_timestamp(seen.espo.get("modifiedAt")),
            synced_at=self._now(),
        )
        try:
            await store.save(state)
        except Conflict:
            log(self._context, "error", "beteiligte.linked_twice", entity_id=seen.espo["id"])
            raise
        return state

    async def _fail(self, espo: Record, error: Exception) -> Outcome:
        """Write the failure into the record: the next try after 1, 5, 15, 60, 240 minutes, then none for a day."""
        tries = int(espo.get("syncRetryCount") or 0) + 1
        message = f"{type(error).__name__}: {error}"[:ERROR_MESSAGE_LENGTH]
        betnr = str(espo["betnr"]) if espo.get("betnr") else None
        exhausted = tries >= len(BACKOFF_MINUTES)
        pause = timedelta(minutes=BACKOFF_MINUTES[min(tries, len(BACKOFF_MINUTES)) - 1])
        reset_at = format_date_time(self._now() + timedelta(hours=AUTO_RESET_HOURS)) if exhausted else None
        status = "permanently_failed" if exhausted else "failed"
        await self._espocrm.update_entity(
            ENTITY_TYPE,
            espo["id"],
            {
                "syncStatus": status,
                "syncRetryCount": tries,
                "syncNextRetry": None if exhausted else format_date_time(self._now() + pause),
                "syncAutoResetAt": reset_at,
                "syncErrorMessage": message,
            },
        )
        return Outcome(status, betnr, error=message)

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


def _rejected(sent: Mapping[str, Any], ours: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that Advoware did not take although it accepted the request."""
    return {
        name: {"espocrm": ours.get(name), "advoware": taken[name]}
        for name, value in sent.items()
        if name in taken and taken[name] != value
    }


def _kept_refusals(seen: Observation, plan: Merge) -> dict[str, Any]:
    """The refusals of earlier syncs that still stand: the plan did not touch the field."""
    known = seen.state.rejected if seen.state else {}
    return {name: pair for name, pair in known.items() if name not in plan.agreed}


def _rejections(rejected: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return tuple({"field": name, "side": "advoware", "rejected": True, **pair} for name, pair in rejected.items())


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
