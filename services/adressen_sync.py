"""Sync of the Adressen of one Beteiligter: EspoCRM's CAdressen and Advoware's Adressen.

Advoware never deletes an Adresse for us and changes only its street, place and printed block. The rest of what people
want is told to them as a task (`Problem`). A failing address never stops the others.

Crashes: what we create in Advoware carries the EspoCRM id in ``bemerkung``, what we create in EspoCRM carries the
``advowareId``; both are found again by the next run. A base is stored only after both sides have been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from services.adressen_mapper import AdressenMapper, espocrm_id_of
from services.adressen_match import Match, Observation, match_addresses
from services.adressen_plan import (
    ENTITY_TYPE,
    Action,
    CreateAdresse,
    CreateCAdressen,
    Ignore,
    RememberDeleted,
    Settle,
    link_created,
    make_plan,
    unconfirmed,
    verify_put,
)
from services.advoware_service import AdvowareService
from services.errors import BitByLawError, ForeignSystemError, NotFound, Unavailable, shown_text
from services.espocrm import EspoCRMAPI
from services.espocrm_models import equals, format_date_time
from services.logs import log
from services.notification_utils import NotificationManager
from services.resources import Resources, current_resources
from services.sync_parts import Direction, PartResult, Problem
from services.sync_state import AuditEntry, SyncState, SyncStore

TOPIC = "vmh.adressen"

Record = dict[str, Any]

#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3

SELECT = (
    *("bezeichnung", "adresseStreet", "adresseCity", "adressePostalCode", "adresseCountry", "postfach", "postfachPLZ"),
    *("gueltigVon", "gueltigBis", "istStandard", "isActive", "advowareId", "syncStatus", "beteiligteId", "modifiedAt"),
)


@dataclass
class _Report:
    """What a run has done so far."""

    problems: list[Problem] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrote_advoware: bool = False
    was_edited: bool = False

    def result(self) -> PartResult:
        return PartResult(
            changes=tuple(self.changes),
            problems=tuple(self.problems),
            errors=tuple(self.errors),
            wrote_advoware=self.wrote_advoware,
            was_edited=self.was_edited,
        )


class AdressenSync:
    """Keeps the addresses of a Beteiligter consistent. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._notifications = NotificationManager(self._espocrm, context, resources=self._resources)

    async def sync_part(
        self,
        espo: Mapping[str, Any],
        advo: Mapping[str, Any],
        store: SyncStore,
        *,
        direction: Direction = "both",
        rows: list[Record] | None = None,
    ) -> PartResult:
        """Sync the addresses of a CBeteiligte and his Beteiligter as just read, inside their lock.

        ``rows`` are the CAdressen if they were listed already: best before Advoware was read, because a PUT there sends
        the whole Adresse and has no precondition. Nothing else is requested if nothing has changed. Failures of single
        addresses are in the result's ``errors``, and are tried again by the next run.

        Raises:
            ForeignSystemError: EspoCRM's list or PostgreSQL is not available.
        """
        adressen = advo.get("adressen")
        if not isinstance(adressen, list) or not all(isinstance(item, dict) and item.get("id") for item in adressen):
            # An answer without the list says nothing about the addresses, least of all that there are none.
            return PartResult(errors=("Adressen: Advoware's answer contains no list of Adressen",))
        known = await self.list_rows(espo["id"]) if rows is None else rows
        seen = await self._observe(espo, advo, adressen, known, store, direction)
        found = match_addresses(seen)
        plan = make_plan(seen, found, await self._confirm(seen, found))
        report = _Report()
        unavailable = 0
        for action in plan:
            try:
                await self._apply(seen, action, store, report)
                unavailable = 0
            except BitByLawError as error:
                await self._show_failure(action, error, report)
                unavailable = unavailable + 1 if isinstance(error, Unavailable) else 0
                if unavailable == MAX_UNAVAILABLE:
                    break
        return report.result()

    async def list_rows(self, beteiligte_id: str) -> list[Record]:
        """The CAdressen of a CBeteiligte, for `sync_part`.

        Raises:
            ForeignSystemError: EspoCRM's list is not available.
        """
        rows = self._espocrm.search_entities(ENTITY_TYPE, [equals("beteiligteId", beteiligte_id)], SELECT)
        return [row async for row in rows]

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(
        self,
        espo: Mapping[str, Any],
        advo: Mapping[str, Any],
        adressen: list[Record],
        known: list[Record],
        store: SyncStore,
        direction: Direction,
    ) -> Observation:
        marks = {espocrm_id_of(adresse.get("bemerkung")) for adresse in adressen} - {None}
        ids = {row["id"] for row in known} | {mark for mark in marks if mark is not None}
        states = await store.load_parts(ENTITY_TYPE, str(advo["betNr"]), sorted(ids))
        return Observation(espo["id"], advo, known, adressen, states, direction, self._now())

    async def _confirm(self, seen: Observation, found: Match) -> set[str]:
        """Those whose absence a direct read confirms: neither system is believed that something is gone at once."""
        doubtful = unconfirmed(seen, found)
        confirmed = {
            entity_id
            for entity_id in doubtful & found.vanished.keys()
            if not await self._espocrm.has_value(ENTITY_TYPE, entity_id, "beteiligteId", seen.beteiligte_id)
        }
        missing = [row for row in found.missing if row["id"] in doubtful]
        if missing:
            again = (await self._advoware.get_beteiligter(seen.betnr)).get("adressen")
            if isinstance(again, list):
                present = {seen.link_of(adresse) for adresse in again}
                confirmed |= {row["id"] for row in missing if _link_of(seen, row) not in present}
        return confirmed

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _apply(self, seen: Observation, action: Action, store: SyncStore, report: _Report) -> None:
        match action:
            case CreateAdresse():
                report.wrote_advoware = True
                adresse = await self._create_in_advoware(seen, action, store)
                await self._finish(seen, link_created(seen, action.row, adresse, side="advoware"), store, report)
                await store.end_create(ENTITY_TYPE, action.row["id"])
            case CreateCAdressen():
                await self._create_in_espocrm(seen, action, store, report)
            case Settle():
                await self._settle(seen, action, store, report)
            case Ignore():
                await self._espocrm.update_entity(ENTITY_TYPE, action.row["id"], {"syncStatus": "clean"})
            case RememberDeleted():
                if action.state != seen.states.get(action.entity_id):
                    await store.save(action.state)
                report.problems += action.problems

    async def _create_in_advoware(self, seen: Observation, action: CreateAdresse, store: SyncStore) -> Record:
        """Create the Adresse, or find it by its mark if an earlier request arrived after we had given it up."""
        row = action.row
        posted = AdressenMapper().comparable_from_espocrm(row)
        intent = await store.begin_create(ENTITY_TYPE, row["id"], posted, self._now())
        if intent.is_repeated:
            timeout = self._resources.settings.advoware.api_timeout_seconds
            since = (self._now() - intent.attempted_at).total_seconds()
            if since < timeout:
                await asyncio.sleep(min(timeout - since, timeout))
            again = (await self._advoware.get_beteiligter(seen.betnr)).get("adressen") or []
            found = next((item for item in again if espocrm_id_of(item.get("bemerkung")) == row["id"]), None)
            if found is not None:
                return dict(found)
            await store.repeat_create(ENTITY_TYPE, row["id"], posted, self._now())
        try:
            answer = await self._advoware.create_adresse(seen.betnr, action.body)
        except ForeignSystemError as error:
            refused = error.status is not None and 400 <= error.status < 500
            if refused or (isinstance(error, Unavailable) and not error.was_sent):
                await store.end_create(ENTITY_TYPE, row["id"])
            raise
        return await self._complete(seen, answer["id"], answer)

    async def _settle(self, seen: Observation, action: Settle, store: SyncStore, report: _Report) -> None:
        """Write what differs; what a person edits on either side meanwhile is left to the next round."""
        if action.put:
            if await self._keep_what_will_be_lost(seen, action, store) and not await self._is_as_seen(seen, action):
                report.was_edited = True
                return
            report.wrote_advoware = True
            adresse_id = action.put["id"]
            changed = await self._advoware.update_adresse(seen.betnr, adresse_id, action.put)
            action = verify_put(seen, action, await self._complete(seen, adresse_id, changed))
        if action.attributes and await self._was_edited(action.row):
            report.was_edited = True
            report.changes += [change for change in action.changes if change.get("side") == "advoware"]
            return
        await self._finish(seen, action, store, report)

    async def _is_as_seen(self, seen: Observation, action: Settle) -> bool:
        """Whether Advoware still has the Adresse as it was read: telling people about a conflict takes time."""
        again = (await self._advoware.get_beteiligter(seen.betnr)).get("adressen") or []
        return any(adresse == action.adresse for adresse in again)

    async def _complete(self, seen: Observation, adresse_id: int, answer: Record | None) -> Record:
        """An Adresse as Advoware has it after a write: the answer, or a new read if that does not say."""
        if answer is not None and answer.keys() >= {"strasse", "plz", "ort", "anschrift"}:
            return answer
        again = (await self._advoware.get_beteiligter(seen.betnr)).get("adressen") or []
        found = next((adresse for adresse in again if adresse.get("id") == adresse_id), None)
        if found is None:
            raise NotFound("Advoware", "the Adresse is gone after it was written")
        return dict(found)

    async def _create_in_espocrm(
        self, seen: Observation, action: CreateCAdressen, store: SyncStore, report: _Report
    ) -> None:
        adresse = action.adresse
        attributes = {**action.attributes, "beteiligteId": seen.beteiligte_id, "syncStatus": "clean"}
        row = await self._espocrm.create_entity(
            ENTITY_TYPE, {**attributes, **_sync_fields(seen, adresse)}, skip_duplicate_check=True
        )
        created = link_created(seen, row, adresse, side="espocrm")
        await self._finish(seen, replace(created, attributes={}), store, report)

    async def _finish(self, seen: Observation, action: Settle, store: SyncStore, report: _Report) -> None:
        """Write EspoCRM, then remember; problems and changes count from here on."""
        row, adresse = action.row, action.adresse
        changed = dict(action.attributes)
        if row.get("syncStatus") != action.status:
            changed["syncStatus"] = action.status
        is_new_link = adresse is not None and row.get("advowareId") != adresse["id"]
        if changed or is_new_link or action.put:
            changed |= _sync_fields(seen, adresse)
            written = await self._espocrm.update_entity(ENTITY_TYPE, row["id"], changed)
            if _said(written) != _said({**row, **changed}):
                report.was_edited = True
                await self._espocrm.update_entity(ENTITY_TYPE, row["id"], {"syncStatus": "dirty"})
        await self._remember(seen, action.state, store)
        report.problems += action.problems
        report.changes += action.changes

    async def _was_edited(self, row: Record) -> bool:
        """Whether the CAdressen says something else now than when it was listed."""
        return _said(await self._espocrm.get_entity(ENTITY_TYPE, row["id"])) != _said(row)

    async def _keep_what_will_be_lost(self, seen: Observation, action: Settle, store: SyncStore) -> bool:
        """Put the values that give way into the audit and tell a person, before that happens; whether there are any."""
        lost = [change for change in action.changes if change.get("conflict")]
        if not lost:
            return False
        entry = AuditEntry(ENTITY_TYPE, action.row["id"], TOPIC, "sync", "conflict_found", 0.0, seen.betnr, lost)
        await store.append_audit(entry, seen.now)
        for problem in action.problems:
            if problem.details.get("reason") == "conflict":
                await self._notifications.notify(problem)
        return True

    async def _show_failure(self, action: Action, error: BitByLawError, report: _Report) -> None:
        """Collect the failure; what a system refused also shows in the record's status."""
        name = _name_of(action)
        report.errors.append(f"{name}: {shown_text(error)}")
        log(self._context, "error", "adressen.failed", record=name, error=type(error).__name__)
        if isinstance(error, Unavailable) or not isinstance(action, CreateAdresse | Settle):
            return
        if action.row.get("syncStatus") == "failed":
            return
        try:
            await self._espocrm.update_entity(ENTITY_TYPE, action.row["id"], {"syncStatus": "failed"})
        except BitByLawError as further:
            log(self._context, "warning", "adressen.status_not_written", record=name, error=type(further).__name__)

    async def _remember(self, seen: Observation, state: SyncState, store: SyncStore) -> None:
        if state != seen.states.get(state.entity_id):
            await store.save(replace(state, synced_at=seen.now))

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


def _said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What people can say about a CAdressen."""
    return AdressenMapper().comparable_from_espocrm(row), row.get("isActive") is not False, bool(row.get("istStandard"))


def _sync_fields(seen: Observation, adresse: Mapping[str, Any] | None) -> Record:
    linked = {"advowareId": adresse["id"], "advowareRowId": adresse.get("rowId")} if adresse is not None else {}
    return {**linked, "advowareLastSync": format_date_time(seen.now)}


def _link_of(seen: Observation, row: Record) -> str:
    state = seen.state_of(row["id"])
    return str(state.advoware_id) if state is not None else seen.link_of({"id": row.get("advowareId")})


def _name_of(action: Action) -> str:
    match action:
        case CreateCAdressen():
            return f"Adresse {action.adresse['id']}"
        case RememberDeleted():
            return f"{ENTITY_TYPE}/{action.entity_id}"
        case _:
            return f"{ENTITY_TYPE}/{action.row['id']}"
