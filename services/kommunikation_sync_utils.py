"""Sync of the Kommunikation (phone, fax, mail) of one CBeteiligte with Advoware.

Observe both records and the base, plan (`services.kommunikation_plan`), apply, record. A failing value never stops the
others. Nothing is lost or done twice when a run breaks off, because the base never says more than is true:

* before the first request to Advoware, a value that is about to be lost there is stored, and reported by every run
  until one comes to its end; and so are the values that are about to be created;
* after the requests to Advoware the base is stored as far as it is true then: EspoCRM's values that Advoware has taken;
* what waits for EspoCRM (values from Advoware) is in `PartResult.states`, which the caller stores after its PUT.

A Kommunikation created just before a crash is in no base. It is found by its value, be it EspoCRM's or one that was
about to be created.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from services.advoware_service import AdvowareService
from services.errors import AuthenticationFailed, ForeignSystemError, RateLimited, Unavailable
from services.espocrm import EspoCRMAPI
from services.espocrm_models import parse_date_time
from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    Key,
    Kind,
    advoware_entries,
    espocrm_entries,
    key_of,
    kommunikation_hash,
)
from services.kommunikation_plan import Base, Change, Link, Observation, Plan, Write, make_plan
from services.logs import log
from services.resources import Resources, current_resources
from services.sync_parts import ActionType, Direction, PartResult, Problem
from services.sync_state import SyncState, SyncStore

ENTITY_TYPE = "CBeteiligte.Kommunikation"
OWNER_TYPE = "CBeteiligte"

#: After so many failures in a row because Advoware is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3

Record = Mapping[str, Any]

_KIND_LABELS: Mapping[Kind, str] = {"phone": "Telefon", "fax": "Fax", "mail": "E-Mail"}
_REASONS = {
    "refused": "EspoCRM nimmt diesen Wert nicht an (Rufnummern nur international ohne Durchwahl-Zusatz, "
    "E-Mail-Adressen nur ohne Umlaute). Bitte in Advoware berichtigen; bis dahin steht er nur dort.",
    "full": "In EspoCRM sind schon zehn Einträge dieser Art vorhanden. Bitte dort einen löschen; bis dahin steht der "
    "Wert nur in Advoware.",
    "reverted": "Der Wert wurde nur in Advoware eingetragen, maßgeblich war EspoCRM; der Eintrag in Advoware wurde "
    "geleert. Wird der Wert gebraucht, bitte in EspoCRM eintragen.",
    "not_taken": "Advoware hat die Änderung angenommen, aber nicht übernommen. "
    "Bitte den Wert in Advoware von Hand ändern.",
}


@dataclass(frozen=True)
class _Memory:
    """The base of one CBeteiligte.

    Attributes:
        betnr: the Beteiligter whose entries the links name.
        links: what both sides agreed on, by id of the entry in Advoware.
        complete: whether a sync in both directions has come to its end; until then, what only Advoware has is not new.
        lost: audit lines of values that were, or were about to be, lost in Advoware, and are not reported yet.
        posted: values whose creation in Advoware was begun without our knowing how it ended.
        posted_at: when, as ISO string; empty if there are none.
    """

    betnr: int
    links: Base = field(default_factory=dict)
    complete: bool = False
    lost: tuple[Record, ...] = ()
    posted: frozenset[Key] = frozenset()
    posted_at: str = ""

    def as_json(self) -> dict[str, Any]:
        links = {str(entry_id): [*link.espocrm, *link.advoware] for entry_id, link in sorted(self.links.items())}
        lost = [dict(line) for line in self.lost]
        keys = [list(key) for key in sorted(self.posted)]
        posted: dict[str, Any] = {"posted": keys, "postedAt": self.posted_at} if keys else {}
        return {"betNr": self.betnr, "links": links, "complete": self.complete, "lost": lost, **posted}


@dataclass
class _Applied:
    """What has become of a plan's requests: those that were done, with the id of their entry."""

    done: list[tuple[Write, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Write] = field(default_factory=set)

    @property
    def changes(self) -> list[Change]:
        """The values that were changed in Advoware."""
        return [write.change for write, _ in self.done if write.change]


class KommunikationSyncManager:
    """Keeps phone numbers and mail addresses consistent. ``context`` is the step's FlowContext or None."""

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)

    async def sync_bidirectional(
        self, beteiligte_id: str, betnr: int | str, direction: Direction = "both", force_espo_wins: bool = False
    ) -> PartResult:
        """Read both records, sync their Kommunikation, write EspoCRM, and remember it. The caller holds the lock.

        Raises:
            ForeignSystemError: a record cannot be read, or EspoCRM not be written (`Conflict` if somebody edited the
                record meanwhile and EspoCRM checks that). Running it again continues where it broke off.
        """
        store = SyncStore(await self._resources.database())
        espo = await self._espocrm.get_entity(OWNER_TYPE, beteiligte_id)
        advo = await self._advoware.get_beteiligter(betnr)
        result = await self.sync_part(espo, advo, store, direction=direction, force_espo_wins=force_espo_wins)
        if result.espocrm:
            await self._espocrm.update_entity(
                OWNER_TYPE, beteiligte_id, dict(result.espocrm), version_number=espo.get("versionNumber")
            )
        for state in result.states:
            await store.save(state)
        return result

    async def sync_part(
        self,
        espo: Record,
        advo: Record,
        store: SyncStore,
        *,
        direction: Direction = "both",
        force_espo_wins: bool = False,
    ) -> PartResult:
        """Sync the Kommunikation of a CBeteiligte and his Beteiligter as just read, inside their lock.

        No request if nothing has changed. The caller writes ``espocrm`` in its PUT and then saves ``states``.

        Raises:
            ForeignSystemError: Advoware cannot be read again after it was written, or PostgreSQL does not answer. What
                was written until then is remembered.
        """
        if (missing := _missing_list(espo, advo)) is not None:
            return PartResult(errors=(missing,))
        stored = await store.load(ENTITY_TYPE, espo["id"])
        memory = _read_memory(stored, espo, advo)
        to_advoware = direction == "to_advoware"

        def planned(seen_advo: Record) -> Plan:
            seen = _observe(espo, seen_advo, memory)
            return make_plan(seen, to_advoware=to_advoware, forced=force_espo_wins)

        plan = planned(advo)
        if repeats := bool(_posts(plan) & memory.posted):
            await self._wait_for_unanswered_request(memory)
        if plan.vanished or repeats:  # that an entry is gone, or was never created, is not believed at once
            advo = await self._advoware.get_beteiligter(advo["betNr"])
            if (missing := _missing_list(espo, advo)) is not None:
                return PartResult(errors=(missing,))
            plan = planned(advo)
        complete = memory.complete or not to_advoware or force_espo_wins
        return await self._carry_out(plan, espo, advo, memory, stored, store, complete=complete)

    # -- apply and record -----------------------------------------------------------------------------------------

    async def _carry_out(
        self,
        plan: Plan,
        espo: Record,
        advo: Record,
        memory: _Memory,
        stored: SyncState | None,
        store: SyncStore,
        *,
        complete: bool,
    ) -> PartResult:
        unreported = _unreported(memory, advo)
        losses = [write.change for write in plan.writes if write.change and write.change.lost]
        lost = (*unreported, *map(_line, losses))
        posts = _posts(plan)
        posted_at = self._resources.clock().astimezone(UTC).isoformat() if posts else memory.posted_at
        ahead = replace(memory, lost=lost, posted=memory.posted | posts, posted_at=posted_at)
        kept = stored.base if stored else None
        applied = _Applied()
        if plan.writes:
            kept = await self._keep(store, espo, ahead, kept)
            try:
                await self._write(plan, memory.betnr, applied)
            finally:
                kept = await self._keep(store, espo, _after_writes(plan, ahead, applied), kept)
        if wrote_advoware := bool(applied.done):
            advo = await self._advoware.get_beteiligter(memory.betnr)
            if (missing := _missing_list(espo, advo)) is not None:
                changes = tuple(map(_line, applied.changes))
                return PartResult(changes=changes, errors=(*applied.errors, missing), wrote_advoware=True)
            _verify(applied, advo, espo["id"])
            kept = await self._keep(store, espo, _after_writes(plan, ahead, applied), kept)
        lines = (*unreported, *map(_line, [*plan.changes, *applied.changes]))
        # A request that failed may have been carried out all the same; the next run sees whether its value is lost.
        doubtful = tuple(_line(change) for change in losses if change not in applied.changes)
        posted = _unconfirmed_posts(plan, applied)
        final = _Memory(memory.betnr, _links(plan, memory, applied), complete, doubtful, posted, ahead.posted_at)
        result = PartResult(
            espocrm=_attributes(plan, espo, advo),
            changes=lines,
            problems=(*_problems(plan, lines, memory.betnr, espo["id"]), *applied.problems),
            errors=tuple(applied.errors),
            wrote_advoware=wrote_advoware,
            states=() if kept == final.as_json() else (self._state(espo, final),),
            advoware=advo if wrote_advoware else None,
        )
        self._log(plan, result, espo["id"])
        return result

    async def _write(self, plan: Plan, betnr: int, applied: _Applied) -> None:
        unavailable = 0
        for write in plan.writes:
            try:
                applied.done.append((write, await self._send(write, betnr)))
                unavailable = 0
            except ForeignSystemError as error:
                applied.errors.append(_message(write, error))
                if error.status is not None and 400 <= error.status < 500:
                    applied.refused.add(write)
                is_away = isinstance(error, Unavailable | RateLimited | AuthenticationFailed)
                unavailable = unavailable + 1 if is_away else 0
                if unavailable == MAX_UNAVAILABLE:
                    return

    async def _send(self, write: Write, betnr: int) -> int:
        if write.entry_id is None:
            created = await self._advoware.create_kommunikation(betnr, write.record)
            return int(created["id"])
        await self._advoware.update_kommunikation(betnr, write.entry_id, write.record)
        return write.entry_id

    async def _wait_for_unanswered_request(self, memory: _Memory) -> None:
        """Let the time pass in which a request of an earlier run may still reach Advoware."""
        timeout = self._resources.settings.advoware.api_timeout_seconds
        since = self._resources.clock() - datetime.fromisoformat(memory.posted_at)
        if (remaining := timeout - since.total_seconds()) > 0:
            await asyncio.sleep(min(remaining, timeout))

    async def _keep(self, store: SyncStore, espo: Record, memory: _Memory, kept: Record | None) -> Record | None:
        """Store what is true by now, unless it is stored already; returns what is stored."""
        wanted = memory.as_json()
        if wanted == kept or (kept is None and not (memory.links or memory.lost or memory.posted)):
            return kept
        await store.save(self._state(espo, memory))
        return wanted

    def _state(self, espo: Record, memory: _Memory) -> SyncState:
        return SyncState(
            ENTITY_TYPE,
            espo["id"],
            base=memory.as_json(),
            espocrm_modified_at=parse_date_time(espo.get("modifiedAt")),
            synced_at=self._resources.clock().astimezone(UTC),
        )

    def _log(self, plan: Plan, result: PartResult, entity_id: str) -> None:
        if plan.writes or result.espocrm or result.errors:
            cases = [write.case for write in plan.writes]
            log(
                self._context,
                "warning" if result.errors else "info",
                "kommunikation.synced",
                entity_id=entity_id,
                writes={case: cases.count(case) for case in sorted(set(cases))},
                espocrm=sorted(result.espocrm),
                errors=len(result.errors),
                problems=len(result.problems),
            )


# -- observing ------------------------------------------------------------------------------------------------------


def _missing_list(espo: Record, advo: Record) -> str | None:
    """What is wrong with a record that does not say which entries there are; that never means there are none."""
    if not all(isinstance(espo.get(attribute), list) for attribute in DATA_ATTRIBUTE.values()):
        return "Kommunikation: EspoCRM's record contains no phone numbers and mail addresses"
    rows = advo.get("kommunikation")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
        return "Kommunikation: Advoware's answer contains no list of Kommunikationen"
    return None


def _read_memory(stored: SyncState | None, espo: Record, advo: Record) -> _Memory:
    betnr = int(advo["betNr"])
    if stored is None:
        was_synced = bool(espo.get("kommunikationHash"))
        return _Memory(betnr, _links_by_markers(espo, advo) if was_synced else {}, was_synced)
    base = stored.base
    if base.get("betNr") != betnr or stored.deleted_at is not None:
        return _Memory(betnr)  # linked with another Beteiligter since, whose entries say nothing about this one's
    links = {int(entry_id): Link(Key(*parts[:2]), Key(*parts[2:])) for entry_id, parts in base["links"].items()}
    posted = frozenset(Key(*parts) for parts in base.get("posted", ()))
    return _Memory(betnr, links, base["complete"], tuple(base["lost"]), posted, base.get("postedAt", ""))


def _observe(espo: Record, advo: Record, memory: _Memory) -> Observation:
    phones, mails = espocrm_entries(espo, "phone"), espocrm_entries(espo, "mail")
    entries = advoware_entries(advo)
    return Observation(phones, mails, entries, memory.links, not memory.complete, memory.posted)


def _links_by_markers(espo: Record, advo: Record) -> Base:
    """The base as far as the markers tell it, for records that were synced before their base was kept in PostgreSQL.

    A value that EspoCRM lacks was deleted there only if somebody changed the record since the last sync.
    """
    modified, synced = (parse_date_time(espo.get(name)) for name in ("modifiedAt", "advowareLastSync"))
    is_modified = modified is not None and synced is not None and modified > synced
    ours = {entry.key.held: entry.key for family in DATA_ATTRIBUTE for entry in espocrm_entries(espo, family)}
    links = {}
    for entry in advoware_entries(advo):
        if entry.synced_value is None:
            continue
        key = key_of(entry.key.kind, entry.synced_value)
        if is_modified or key.held in ours:
            links[entry.id] = Link(ours.get(key.held, key), key)
    return links


def _unreported(memory: _Memory, advo: Record) -> tuple[Record, ...]:
    """Losses of a run that broke off; not those that it did not get to."""
    values = {entry.id: entry.tlf.strip() for entry in advoware_entries(advo)}
    return tuple(line for line in memory.lost if values.get(line["id"]) != line["old"])


# -- recording ------------------------------------------------------------------------------------------------------


def _after_writes(plan: Plan, ahead: _Memory, applied: _Applied) -> _Memory:
    """What is true after the requests, while EspoCRM is not written."""
    links = _links(plan, ahead, applied, undone=plan.awaiting_espocrm)
    return replace(ahead, links=links, posted=_unconfirmed_posts(plan, applied))


def _posts(plan: Plan, ended: Set[Write] = frozenset()) -> frozenset[Key]:
    """The values that the plan creates in Advoware, without those of the requests that have ``ended``."""
    posts = (write for write in plan.writes if write.entry_id is None and write not in ended)
    return frozenset(write.link.advoware for write in posts if write.link is not None)


def _unconfirmed_posts(plan: Plan, applied: _Applied) -> frozenset[Key]:
    """The values that may be in Advoware under an id that we do not know."""
    return _posts(plan, applied.refused | {write for write, _ in applied.done})


def _links(plan: Plan, memory: _Memory, applied: _Applied, undone: frozenset[int] = frozenset()) -> Base:
    """The planned base, with the earlier link of every entry that is ``undone`` or whose request was not done."""
    done = {write for write, _ in applied.done}
    created = {entry_id: write.link for write, entry_id in applied.done if write.entry_id is None and write.link}
    refused = {write.entry_id for write in plan.writes if write.change and write.entry_id and write not in done}
    links = {**plan.base, **created}
    for entry_id in undone | refused:
        links.pop(entry_id, None)
        if entry_id in memory.links:
            links[entry_id] = memory.links[entry_id]
    return links


def _verify(applied: _Applied, advo: Record, entity_id: str) -> None:
    """Take out of ``done`` what Advoware has accepted but not taken over. What a person changed meanwhile stays in."""
    values = {entry.id: entry.tlf.strip() for entry in advoware_entries(advo)}
    for write, entry_id in list(applied.done):
        change = write.change
        if change is None:
            continue
        created_nothing = write.entry_id is None and entry_id not in values
        if created_nothing or values.get(entry_id) == (change.old or ""):
            applied.done.remove((write, entry_id))
            applied.errors.append(f"Kommunikation {entry_id}: {write.case} was not taken over by Advoware")
            told = _problem(int(advo["betNr"]), entity_id, entry_id, change.kind, change.new or "", "not_taken")
            applied.problems.append(told)


def _attributes(plan: Plan, espo: Record, advo: Record) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(plan.espocrm)
    current_hash = kommunikation_hash(advoware_entries(advo))
    if current_hash != espo.get("kommunikationHash"):
        attributes["kommunikationHash"] = current_hash
    return attributes


def _line(change: Change) -> dict[str, Any]:
    """A change as a line of the audit."""
    line = {
        "field": f"kommunikation.{change.kind}",
        "id": change.entry_id,
        "case": change.case,
        "side": change.side,
        "old": change.old,
        "new": change.new,
    }
    return {**line, "conflict": True} if change.lost else line


def _problems(plan: Plan, lines: tuple[Record, ...], betnr: int, entity_id: str) -> list[Problem]:
    problems = [_problem(betnr, entity_id, item.entry_id, item.kind, item.value, item.reason) for item in plan.skipped]
    for line in lines:
        if line["case"] == "Var4" and line["side"] == "advoware":
            kind = line["field"].rpartition(".")[2]
            problems.append(_problem(betnr, entity_id, line["id"], kind, line["old"], "reverted"))
    return problems


def _problem(betnr: int, entity_id: str, entry_id: int, kind: Kind, value: str, reason: str) -> Problem:
    """A task for a person. The key stays the same as long as entry, value and reason do; it does not show the value."""
    details = {
        "betnr": betnr,
        "kommunikationId": entry_id,
        "kind": _KIND_LABELS[kind],
        "value": value,
        "reason": _REASONS[reason],
    }
    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    action: ActionType = "readonly_field_conflict" if reason == "not_taken" else "general_manual_action"
    return Problem(action, OWNER_TYPE, entity_id, f"kommunikation_{reason}:{entry_id}:{digest}", details)


def _message(write: Write, error: ForeignSystemError) -> str:
    """What failed, without what Advoware says: its words may contain the value."""
    entry = f" {write.entry_id}" if write.entry_id is not None else ""
    answer = f"Advoware answered {error.status}" if error.status is not None else "no answer from Advoware"
    return f"Kommunikation{entry}: {write.case} failed: {answer} ({type(error).__name__})"
