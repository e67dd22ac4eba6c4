"""Sync of Bankverbindungen: from EspoCRM's CBankverbindungen to Advoware, which only ever creates them.

Whatever differs later is told to a person, who compares and corrects it: changed bank data are how payment fraud
begins. Nothing is brought over from Advoware to EspoCRM.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.advoware_service import AdvowareService
from services.bankverbindungen_mapper import BankverbindungenMapper, konten_of
from services.bankverbindungen_plan import (
    ENTITY_TYPE,
    Found,
    Observation,
    Record,
    Settle,
    deleted_problem,
    find_konto,
    invalid_problem,
    is_active,
    is_newly_gone,
    settle,
    settle_gone,
)
from services.errors import (
    BitByLawError,
    ConfigurationError,
    EntityBusy,
    ForeignSystemError,
    InvalidInput,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    shown_text,
)
from services.espocrm import EspoCRMAPI
from services.espocrm_models import equals, format_date_time
from services.locks import beteiligte_lock_key, record_lock
from services.logs import log
from services.notification_utils import NotificationManager
from services.resources import Resources, current_resources
from services.sync_events import Outcome, SyncEvent, record_outcome
from services.sync_parts import PartResult, Problem
from services.sync_state import CreateIntent, SyncState, SyncStore
from services.webhooks import forget_waiting

TOPIC_PREFIX = "vmh.bankverbindungen"
SELECT = ("iban", "bic", "kontoinhaber", "bankname", "istAktiv", "advowareKontoId", "syncStatus", "beteiligteId")

#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3


@dataclass
class _Report:
    """What a run has done so far."""

    problems: list[Problem] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrote_advoware: bool = False
    was_edited: bool = False


class BankverbindungenSync:
    """Brings Bankverbindungen to Advoware. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._notifications = NotificationManager(self._espocrm, context, resources=self._resources)
        self._mapper = BankverbindungenMapper()

    # -- entrances ------------------------------------------------------------------------------------------------

    async def handle(self, event: SyncEvent) -> Outcome:
        """Sync the record of a queue event, tell people what they have to do, and write the audit.

        A failure that the record's status can show is not raised: the sync of the Beteiligter tries again.

        Raises:
            EntityBusy: another run works on the Beteiligter, or it has no betNr yet; the queue tries again.
            ForeignSystemError, ConfigurationError: not even the status could be written; the queue tries again.
        """
        store = SyncStore(await self._resources.database())
        started, topic = time.perf_counter(), f"{TOPIC_PREFIX}.{event.action}"
        # Before the record is read: an edit made from here on gets an event of its own.
        await forget_waiting(self._resources, topic, event.entity_id)
        report = _Report()
        try:
            row = await self._espocrm.get_entity(ENTITY_TYPE, event.entity_id)
        except NotFound:
            outcome = await self._handle_deleted(event.entity_id, store, report)
        else:
            outcome = await self._handle_row(row, store, report)
        for problem in report.problems:
            await self._notifications.notify(problem)
        await record_outcome(
            store,
            self._context,
            event,
            outcome,
            ENTITY_TYPE,
            topic=topic,
            started=started,
            now=self._now(),
        )
        return outcome

    async def sync_part(self, espo: Mapping[str, Any], advo: Mapping[str, Any], store: SyncStore) -> PartResult:
        """Sync the Bankverbindungen of a CBeteiligte and his Beteiligter as just read, inside their lock.

        One list request to EspoCRM; nothing else if nothing has changed. Failures of single ones are in the result's
        ``errors``, and are tried again by the next run.

        Raises:
            ForeignSystemError: EspoCRM's list or PostgreSQL is not available.
        """
        konten = konten_of(advo)
        if konten is None:
            return PartResult(errors=("Bankverbindungen: Advoware's answer contains no list of Bankverbindungen",))
        rows = self._espocrm.search_entities(ENTITY_TYPE, [equals("beteiligteId", espo["id"])], SELECT)
        known = {row["id"]: row async for row in rows}
        seen = await self._observe(espo["id"], str(advo["betNr"]), konten, store, list(known))
        report = _Report()
        unavailable = 0
        for row in known.values():
            try:
                await self._sync_row(seen, row, store, report)
                unavailable = 0
            except InvalidInput as error:
                # Only a person can correct it: it is told, and does not count as a failure to be tried again.
                report.problems.append(invalid_problem(seen, row, str(error)))
                await self._show_failure(row, error)
            except BitByLawError as error:
                report.errors.append(f"{ENTITY_TYPE}/{row['id']}: {shown_text(error)}")
                await self._show_failure(row, error)
                unavailable = unavailable + 1 if isinstance(error, Unavailable) else 0
                if unavailable == MAX_UNAVAILABLE:
                    break
        await self._look_for_deleted(seen, set(known), store, report)
        return PartResult(
            changes=tuple(report.changes),
            problems=tuple(report.problems),
            errors=tuple(report.errors),
            wrote_advoware=report.wrote_advoware,
            was_edited=report.was_edited,
        )

    # -- events ---------------------------------------------------------------------------------------------------

    async def _handle_row(self, row: Record, store: SyncStore, report: _Report) -> Outcome:
        beteiligte_id = row.get("beteiligteId")
        if not beteiligte_id:
            return await self._fail(row, InvalidInput("beteiligte: the Bankverbindung belongs to nobody"))
        async with self._lock(beteiligte_id):
            try:
                espo = await self._espocrm.get_entity("CBeteiligte", beteiligte_id)
            except NotFound as error:
                return await self._fail(row, error)
            if not espo.get("betnr"):
                raise EntityBusy("the Beteiligter does not exist in Advoware yet")
            try:
                return await self._sync_one(row, beteiligte_id, espo["betnr"], store, report)
            except (BitByLawError, ConfigurationError) as error:
                return await self._fail(row, error)

    async def _sync_one(
        self, row: Record, beteiligte_id: str, betnr: int, store: SyncStore, report: _Report
    ) -> Outcome:
        konten = konten_of(await self._advoware.get_beteiligter(betnr))
        if konten is None:
            raise UnexpectedAnswer("Advoware", "the answer contains no list of Bankverbindungen")
        seen = await self._observe(beteiligte_id, str(betnr), konten, store, [row["id"]])
        try:
            result, state = await self._sync_row(seen, row, store, report)
        except InvalidInput as error:
            report.problems.append(invalid_problem(seen, row, str(error)))
            raise
        return Outcome(result, state.advoware_id if state else None, tuple(report.changes))

    async def _fail(self, row: Record, error: Exception) -> Outcome:
        # What only a person can correct is not tried again until somebody does.
        status = "unclean" if isinstance(error, InvalidInput) else "failed"
        if row.get("syncStatus") != status:
            await self._espocrm.update_entity(ENTITY_TYPE, row["id"], {"syncStatus": status})
        return Outcome("failed", error=shown_text(error))

    async def _handle_deleted(self, entity_id: str, store: SyncStore, report: _Report) -> Outcome:
        """Gone from EspoCRM: Advoware keeps it until a person deletes it there."""
        state = await store.load(ENTITY_TYPE, entity_id)
        if state is None or state.advoware_id is None:
            await store.mark_deleted(ENTITY_TYPE, entity_id, self._now())
            return Outcome("deleted")
        beteiligte_id = str(state.base.get("beteiligteId") or entity_id)
        betnr = state.advoware_id.partition("/")[0]
        async with self._lock(beteiligte_id):
            try:
                konten = konten_of(await self._advoware.get_beteiligter(betnr)) or []
            except NotFound:
                konten = []
            seen = await self._observe(beteiligte_id, betnr, konten, store, [entity_id])
            await self._remember_deleted(seen, seen.states[entity_id], store, report)
        return Outcome("deleted", state.advoware_id)

    def _lock(self, beteiligte_id: str) -> AbstractAsyncContextManager[None]:
        lock_seconds = self._resources.settings.vmh.lock_seconds
        return record_lock(self._resources, beteiligte_lock_key(beteiligte_id), lock_seconds)

    # -- one row --------------------------------------------------------------------------------------------------

    async def _observe(
        self, beteiligte_id: str, betnr: str, konten: list[Record], store: SyncStore, ids: list[str]
    ) -> Observation:
        states = await store.load_parts(ENTITY_TYPE, betnr, ids)
        return Observation(beteiligte_id, betnr, list(konten), states, self._now())

    async def _sync_row(
        self, seen: Observation, row: Record, store: SyncStore, report: _Report
    ) -> tuple[str, SyncState | None]:
        """Create, compare, or find it gone; returns the word for the audit and the new state."""
        found = find_konto(seen, row)
        if found.konto is not None:
            action = settle(seen, row, found.konto)
        elif found.is_known:
            if is_newly_gone(seen, row) and (konto := await self._look_again(seen, row)) is not None:
                action = settle(seen, row, konto)
            else:
                action = settle_gone(seen, row)
        elif is_active(row):
            report.wrote_advoware = True
            action = await self._create(seen, row, found, store)
        else:
            if row.get("syncStatus") != "clean":  # not in use and unknown to Advoware: there is nothing to bring over
                await self._espocrm.update_entity(ENTITY_TYPE, row["id"], {"syncStatus": "clean"})
            return "skipped", None
        await self._finish(seen, action, store, report)
        return action.result, action.state

    async def _finish(self, seen: Observation, action: Settle, store: SyncStore, report: _Report) -> None:
        """Write EspoCRM, then remember; problems and changes count from here on."""
        row, state = action.row, action.state
        if action.attributes:
            attributes = {**action.attributes, "advowareLastSync": format_date_time(seen.now)}
            written = await self._espocrm.update_entity(ENTITY_TYPE, row["id"], attributes)
            report.was_edited |= self._said(written) != self._said(row)
        if state != seen.states.get(row["id"]):
            await store.save(replace(state, synced_at=seen.now))
        if seen.state_of(row["id"]) is None:
            await store.end_create(ENTITY_TYPE, row["id"])
        seen.states[row["id"]] = state
        report.problems += action.problems
        report.changes += action.changes

    def _said(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What people can say about a CBankverbindungen."""
        return self._mapper.comparable_from_espocrm(row), is_active(dict(row))

    async def _look_again(self, seen: Observation, row: Record) -> Record | None:
        """The Bankverbindung in a second read: neither system is believed at once that something is gone."""
        konten = konten_of(await self._advoware.get_beteiligter(seen.betnr))
        if konten is None:
            raise UnexpectedAnswer("Advoware", "the answer contains no list of Bankverbindungen")
        seen.konten[:] = konten
        return find_konto(seen, row).konto

    # -- create ---------------------------------------------------------------------------------------------------

    async def _create(self, seen: Observation, row: Record, found: Found, store: SyncStore) -> Settle:
        """Create the Bankverbindung, or find what an earlier attempt has left."""
        if found.is_taken:
            raise InvalidInput("iban: another Bankverbindung of this Beteiligter has it")
        record = self._mapper.map_cbankverbindungen_to_advoware(row)
        posted = self._mapper.comparable_from_espocrm(row)
        intent = await store.begin_create(ENTITY_TYPE, row["id"], posted, self._now())
        if intent.is_repeated:
            konto = await self._find_created(seen, row, intent)
            if konto is not None:
                return settle(seen, row, konto)
            await store.end_create(ENTITY_TYPE, row["id"])
            await store.begin_create(ENTITY_TYPE, row["id"], posted, self._now())
        try:
            answer = await self._advoware.create_bankverbindung(seen.betnr, record)
        except ForeignSystemError as error:
            refused = error.status is not None and 400 <= error.status < 500
            if refused or (isinstance(error, Unavailable) and not error.was_sent):
                await store.end_create(ENTITY_TYPE, row["id"])
            raise
        await store.created(ENTITY_TYPE, row["id"], seen.link_of(answer))
        konto = await self._complete(seen, answer)
        seen.konten.append(konto)
        return settle(seen, row, konto, created=True)

    async def _find_created(self, seen: Observation, row: Record, intent: CreateIntent) -> Record | None:
        """What an interrupted create has left in Advoware, once its request has certainly come to an end."""
        latest = intent.attempted_at + timedelta(seconds=self._resources.settings.advoware.api_timeout_seconds)
        if (remaining := (latest - self._now()).total_seconds()) > 0:
            await asyncio.sleep(remaining)
        konto = await self._look_again(seen, {**row, "iban": intent.posted.get("iban")})
        return konto if intent.advoware_id is None else seen.konto_by_link(intent.advoware_id)

    async def _complete(self, seen: Observation, answer: Record) -> Record:
        """A new Bankverbindung as Advoware has it: the answer, or a new read if that does not say."""
        if answer.keys() >= {"iban", "bic", "kontoinhaber", "bank"}:
            return answer
        konten = konten_of(await self._advoware.get_beteiligter(seen.betnr)) or []
        return next((konto for konto in konten if konto["id"] == answer["id"]), answer)

    # -- deleted in EspoCRM ---------------------------------------------------------------------------------------

    async def _look_for_deleted(self, seen: Observation, known: set[str], store: SyncStore, report: _Report) -> None:
        for entity_id, state in list(seen.states.items()):
            if entity_id in known:
                continue
            if state.deleted_at is not None or not await self._espocrm.has_value(
                ENTITY_TYPE, entity_id, "beteiligteId", seen.beteiligte_id
            ):
                await self._remember_deleted(seen, state, store, report)

    async def _remember_deleted(self, seen: Observation, state: SyncState, store: SyncStore, report: _Report) -> None:
        if state.deleted_at is None:
            await store.mark_deleted(ENTITY_TYPE, state.entity_id, seen.now)
            state = seen.states[state.entity_id] = replace(state, deleted_at=seen.now)
        is_there = seen.konto_by_link(state.advoware_id) is not None
        if is_there and state.advoware_id not in seen.linked_except(state.entity_id):
            report.problems.append(deleted_problem(seen.beteiligte_id, state))

    # -- failures -------------------------------------------------------------------------------------------------

    async def _show_failure(self, row: Record, error: BitByLawError) -> None:
        log(self._context, "error", "bankverbindungen.failed", entity_id=row["id"], error=type(error).__name__)
        try:
            await self._fail(row, error)
        except BitByLawError as further:
            log(
                self._context,
                "warning",
                "bankverbindungen.status_not_written",
                entity_id=row["id"],
                error=type(further).__name__,
            )

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)
