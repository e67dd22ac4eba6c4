"""Sync of the Kommunikation (phone, fax, mail) of one CBeteiligte with Advoware.

Observe both records and the base, plan (`services.vmh_sync.kommunikation.plan`), apply, record. A failing value never
stops the others. Nothing is lost or done twice when a run breaks off, because the base never says more than is true:

* before the first request, a value that is about to be lost in Advoware is stored, and reported by every run until one
  comes to its end; and so are the values that are about to be created or written on either side, and those of Advoware
  that are sent along with our marker;
* after the requests to Advoware the base is stored as far as it is true then: EspoCRM's values that Advoware has taken;
* what waits for EspoCRM (values from Advoware) is in `PartResult.states`, which the caller stores after its PUT.

What was sent is compared with what is read back, on both sides: refused and altered values are remembered as a pair,
reported, and neither sent again nor copied back.

A Kommunikation created just before a crash is in no base. It is found by its value, be it EspoCRM's or one that was
about to be created.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.advoware_service import AdvowareService, require_request_over
from services.core.errors import (
    AuthenticationFailed,
    ForeignSystemError,
    NotBefore,
    NotFound,
    RateLimited,
    Unavailable,
    ValidationFailed,
)
from services.core.log import Level, log
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.kommunikation_mapper import (
    DATA_ATTRIBUTE,
    FAMILIES,
    VALUE_ATTRIBUTE,
    AdvowareEntry,
    EspoEntry,
    Key,
    advoware_entries,
    entries_by_id,
    espocrm_entries,
    kind_of,
    kommunikation_hash,
    read_advoware,
    read_espocrm,
)
from services.values.espocrm_query import any_of, equals, parse_date_time
from services.values.kommunikation import Family
from services.values.sealed import has_sealed
from services.vmh_sync.kommunikation.memory import (
    Memory,
    NotTaken,
    distinct,
    fingerprint_after,
    has_altered,
    has_unreported,
    is_sent_along,
    read_memory,
    shown_values,
)
from services.vmh_sync.kommunikation.outcome import (
    Applied,
    marker_change,
    may_be_under_way,
    note_row_id,
    planned_links,
    posts,
    refuse,
    sent_to_advoware,
    sent_to_both,
    unconfirmed_posts,
    verify,
)
from services.vmh_sync.kommunikation.plan import (
    Base,
    Change,
    Link,
    Notice,
    Observation,
    Plan,
    Row,
    Shared,
    Write,
    make_plan,
)
from services.vmh_sync.kommunikation.stored_form import ALTERED_BY_ESPOCRM, resembling
from services.vmh_sync.kommunikation.texts import part_error, problem_of
from services.vmh_sync.notification.texts import problem_sentence
from services.vmh_sync.result import Direction, PartResult, Problem
from services.vmh_sync.sending import may_be_edited
from services.vmh_sync.store import SyncState, SyncStore

ENTITY_TYPE = "CBeteiligte.Kommunikation"
OWNER_TYPE = "CBeteiligte"

#: After so many failures in a row because Advoware is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3
#: Values that a user enters in Advoware while we search are searched for in turn so often.
MAX_ROUNDS = 3

Record = Mapping[str, Any]


@dataclass
class _Run:
    """One sync of one record: what was observed, planned and done so far. ``ahead`` is what was remembered before."""

    espo: Record
    advo: Record
    store: SyncStore
    observed: Observation
    plan: Plan
    options: Mapping[str, bool]
    before: Memory
    ahead: Memory
    complete: bool
    kept: Record | None
    unreported: tuple[Record, ...] = ()
    applied: Applied = field(default_factory=Applied)
    reread: bool = False
    narrowed: set[Family] = field(default_factory=set)
    version: int | None = None

    def plan_again(self, **changes: Any) -> Plan:
        """The plan for another observation of EspoCRM's side; what was done in Advoware is the same in it."""
        return make_plan(replace(self.observed, **changes), **self.options)


@dataclass(frozen=True)
class KommunikationResult(PartResult):
    """A `PartResult` that can be narrowed and confirmed.

    ``version_number`` is the record's version after requests of `KommunikationSyncManager.narrow`, None if it made
    none: the caller's PUT has to use it instead of the one that it has read.
    """

    version_number: int | None = None
    run: _Run | None = field(default=None, repr=False, compare=False)


class _NotShown(Exception):
    """Advoware does not say which entries there are."""


#: The caller's PUT for a result: the attributes of the record with ``result.espocrm`` among them, its status with it.
Put = Callable[[KommunikationResult], Awaitable[Mapping[str, Any]]]


class KommunikationSyncManager:
    """Keeps phone numbers and mail addresses consistent. ``context`` is the step's FlowContext or None."""

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

    async def sync_bidirectional(
        self,
        beteiligte_id: str,
        betnr: int | str,
        direction: Direction = "both",
        force_espo_wins: bool = False,
    ) -> KommunikationResult:
        """Read both records, sync their Kommunikation, write EspoCRM, and remember it. The caller holds the lock.

        Raises:
            ForeignSystemError: a record cannot be read, or EspoCRM not be written (`Conflict` if a user edited the
                record meanwhile and EspoCRM checks that). Running it again continues where it broke off.
        """
        store = SyncStore(await self._resources.database())
        espo = await self._espocrm.get_entity(OWNER_TYPE, beteiligte_id)
        advo = await self._advoware.get_beteiligter(betnr)
        result = await self.sync_part(
            espo,
            advo,
            store,
            direction=direction,
            force_espo_wins=force_espo_wins,
        )

        async def put(result: KommunikationResult) -> Mapping[str, Any]:
            if not result.espocrm:
                return {}
            version = result.version_number or espo.get("versionNumber")
            return await self._espocrm.update_entity(
                OWNER_TYPE,
                beteiligte_id,
                dict(result.espocrm),
                version_number=version,
            )

        _, result = await self.write_espocrm(result, put)
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
    ) -> KommunikationResult:
        """Sync the Kommunikation of a CBeteiligte and his Beteiligter as just read, inside their lock.

        No request if nothing has changed. The caller writes ``espocrm`` by way of `write_espocrm` and then saves
        ``states``.

        Raises:
            ForeignSystemError: Advoware cannot be read again after it was written, or EspoCRM or PostgreSQL do not
                answer. What was written until then is remembered.
        """
        if _shows_nothing(espo, advo):
            return KommunikationResult(errors=(part_error("kom_not_shown"),))
        stored = await store.load(ENTITY_TYPE, espo["id"])
        if stored is not None:
            stored = await store.opened(stored, *shown_values(espo, advo))
        memory = read_memory(stored, espo, advo)
        to_advoware = direction == "to_advoware"
        options = {"to_advoware": to_advoware, "forced": force_espo_wins}
        try:
            advo, observed, plan = await self._plan(espo, advo, memory, options)
        except _NotShown:
            return KommunikationResult(errors=(part_error("kom_not_shown"),))
        except NotBefore as error:
            return KommunikationResult(not_before=error.moment)
        complete = memory.complete or not to_advoware or force_espo_wins
        kept = stored.base if stored else None
        run = _Run(
            espo,
            advo,
            store,
            observed,
            plan,
            options,
            memory,
            memory,
            complete,
            kept,
        )
        return await self._apply(run)

    async def losses_left_at(
        self,
        entity_id: str,
        betnr: str,
        store: SyncStore,
    ) -> list[Record]:
        """The audit's lines of what a record's last sync with a Beteiligter has replaced there, and not reported.

        For one that is not synced with him any more: it is deleted, or has another number.

        Raises:
            NotBefore: a request of that sync may still be under way.
            ForeignSystemError: Advoware or PostgreSQL does not answer.
        """
        stored = await store.load(ENTITY_TYPE, entity_id)
        if stored is None or not has_unreported(stored, betnr):
            return []
        if stored.synced_at is not None:
            require_request_over(self._resources, stored.synced_at)
        try:
            advo = await self._advoware.get_beteiligter(betnr)
        except NotFound:
            return []
        unreported = _unreported(stored.base["lost"], advo)
        return [_as_it_is(line, advo) for line in unreported]

    async def _plan(
        self,
        espo: Record,
        advo: Record,
        memory: Memory,
        options: Mapping[str, bool],
    ) -> tuple[Record, Observation, Plan]:
        """The plan, and the Beteiligter that it was made for: as he is right before he is written.

        Raises:
            _NotShown: a further read of the Beteiligter does not say which entries there are.
            NotBefore: an earlier request may still be under way.
        """
        shared: Shared = {}
        searched: set[Key] = set()
        for _ in range(MAX_ROUNDS):
            advo, observed, plan = await self._plan_once(
                espo,
                advo,
                memory,
                options,
                shared,
            )
            new = [entry for entry in plan.incoming if entry.key not in searched]
            if not new:
                return advo, observed, plan
            searched |= {entry.key for entry in new}
            shared = {**shared, **await self._shared_rows(new, espo["id"])}
            if plan.writes:
                # A request would revert what a user has entered during the search.
                advo = await self._read_again(espo, advo)
        return await self._plan_once(
            espo,
            advo,
            memory,
            options,
            shared,
        )

    async def _plan_once(
        self,
        espo: Record,
        advo: Record,
        memory: Memory,
        options: Mapping[str, bool],
        shared: Shared,
    ) -> tuple[Record, Observation, Plan]:
        """The plan; that an entry is gone, or was never created, is believed only after a second read."""
        observed = replace(_observe(espo, advo, memory), shared=shared)
        plan = make_plan(observed, **options)
        is_unanswered = may_be_under_way(plan, memory, advo)
        if is_unanswered:
            self._require_over(memory)
        if plan.vanished or is_unanswered:
            advo = await self._read_again(espo, advo)
            observed = replace(_observe(espo, advo, memory), shared=shared)
            plan = make_plan(observed, **options)
        return advo, observed, plan

    async def _read_again(self, espo: Record, advo: Record) -> Record:
        advo = await self._advoware.get_beteiligter(advo["betNr"])
        if _shows_nothing(espo, advo):
            raise _NotShown
        return advo

    async def write_espocrm(
        self,
        result: KommunikationResult,
        put: Put,
    ) -> tuple[Mapping[str, Any], KommunikationResult]:
        """Write a result to EspoCRM, and again without what EspoCRM refuses; returns the answer and the final result.

        ``put`` is called with the result that it has to write. It may be called several times, but succeeds once. The
        final result may hold more ``problems`` and ``standing`` than the one that ``put`` was last called with: what
        EspoCRM stores differently from what was sent is known only afterwards.

        Raises:
            ForeignSystemError: EspoCRM cannot be written, for another reason than a phone number or mail address.
        """
        written, result = await self._put(result, put)
        if result.run is not None and result.run.plan.espocrm:
            if not await self._espocrm.shows_what_is_stored(OWNER_TYPE):
                written = await self._espocrm.get_entity(
                    OWNER_TYPE,
                    result.run.espo["id"],
                )
            result = self.confirm(result, dict(written))
        return written, result

    async def _put(
        self,
        result: KommunikationResult,
        put: Put,
    ) -> tuple[Mapping[str, Any], KommunikationResult]:
        """What EspoCRM answers to a result, and what is left of it without what EspoCRM refuses."""
        while True:
            try:
                return await put(result), result
            except ValidationFailed as error:
                narrower = await self.narrow(result, error)
                if narrower is None:
                    raise
                result = narrower

    # -- EspoCRM refuses an array ---------------------------------------------------------------------------------

    async def narrow(
        self,
        result: KommunikationResult,
        error: ValidationFailed,
    ) -> KommunikationResult | None:
        """What can be written after EspoCRM has refused ``result.espocrm``; None if the arrays are not to blame.

        EspoCRM names the field, not the entry, so the entries are tried one by one, each with the arrays as they are
        in EspoCRM. What is left is what EspoCRM has accepted; what was refused is reported with its value.

        Raises:
            ForeignSystemError: EspoCRM does not answer; `Conflict` if the record was edited meanwhile.
        """
        run = result.run
        families = _refused_families(result, error)
        if run is None or run.observed.blocked.issuperset(families):
            return None  # what is refused is left out already
        for family in families:
            if family in run.narrowed:
                # Accepted a moment ago, refused now: leave the array alone.
                blocked = run.observed.blocked | {family}
                run.observed = replace(run.observed, blocked=blocked)
            else:
                await self._narrow_family(run, family)
            run.narrowed.add(family)
        run.plan = run.plan_again()
        run.kept = await self._keep(run, _after_writes(run))
        log(
            self._context,
            "warning",
            "kommunikation.narrowed",
            entity_id=run.espo["id"],
            arrays=sorted(families),
            refused=len(run.observed.refused_by_espocrm),
            blocked=sorted(run.observed.blocked),
        )
        return self._result(run)

    async def _narrow_family(self, run: _Run, family: Family) -> None:
        """Find what EspoCRM accepts of an array; the answer is in ``run.observed`` afterwards."""
        before = run.observed
        suspects = _suspects(run.plan, family)
        refused = before.refused_by_espocrm.union(suspects)
        run.observed = replace(before, refused_by_espocrm=refused)
        if not await self._accepts(run, family):
            await self._modernise(run, family)
            if not await self._is_accepted_change(run, family):
                run.observed = replace(before, blocked=before.blocked | {family})
                return
        for key in suspects:
            smaller = run.observed
            fewer = smaller.refused_by_espocrm - {key}
            run.observed = replace(smaller, refused_by_espocrm=fewer)
            if not await self._is_accepted_change(run, family):
                run.observed = smaller

    async def _modernise(self, run: _Run, family: Family) -> None:
        """Numbers from before EspoCRM's international mode: the same ones in E.164."""
        modern = run.observed.modern | {family}
        run.observed = replace(run.observed, modern=modern)
        incoming = run.plan_again().incoming
        if not incoming:
            return
        rows = await self._shared_rows(incoming, run.espo["id"])
        shared = {**run.observed.shared, **rows}
        run.observed = replace(run.observed, shared=shared)

    async def _is_accepted_change(self, run: _Run, family: Family) -> bool:
        """Whether the plan changes the array, and EspoCRM takes it."""
        is_changed = DATA_ATTRIBUTE[family] in run.plan_again().espocrm
        return is_changed and await self._accepts(run, family)

    async def _accepts(self, run: _Run, family: Family) -> bool:
        """Whether EspoCRM takes the array as it is planned now; if so, it is written."""
        attribute = DATA_ATTRIBUTE[family]
        planned = run.plan_again().espocrm.get(attribute, run.espo[attribute])
        arrays = {attribute: planned}
        arrays |= _plain_values(arrays, run.observed.modern)
        version = run.version or run.espo.get("versionNumber")
        try:
            written = await self._espocrm.update_entity(
                OWNER_TYPE,
                run.espo["id"],
                arrays,
                version_number=version,
            )
        except ValidationFailed:
            return False
        run.version = written.get("versionNumber") or run.version
        return True

    def confirm(
        self,
        result: KommunikationResult,
        record: Record,
    ) -> KommunikationResult:
        """Compare what was sent to EspoCRM with the record as it is now.

        A value of Advoware that EspoCRM stores in another form is remembered with that form.
        """
        run = result.run
        if run is None:
            return result
        final = _final_memory(run)
        links, notices = _confirmed(run, record, final.links)
        if not notices:
            return result
        problems, standing = _problems_of(notices, run.espo, run.ahead.betnr)
        confirmed = replace(final, links=links)
        state = self._state(run.espo, confirmed)
        return replace(
            result,
            problems=(*result.problems, *problems.values()),
            standing=tuple(dict.fromkeys([*result.standing, *standing])),
            states=(state,),
        )

    # -- rows that other records share ----------------------------------------------------------------------------

    async def _shared_rows(self, incoming: Iterable[EspoEntry], own_id: str) -> Shared:
        """The rows of values that come to a record, as other CBeteiligte show them.

        EspoCRM has one row for each value, and our PUT overwrites its flags for all records.
        """
        wanted = {}
        for entry in incoming:
            wanted[_row_key(entry)] = equals(
                VALUE_ATTRIBUTE[entry.key.family],
                entry.written,
            )
        found: dict[tuple[Family, str], Row] = {}
        others = self._espocrm.search_entities(
            OWNER_TYPE,
            [any_of(*wanted.values())],
            ["id"],
        )
        async for other in others:
            if other["id"] == own_id:
                continue
            record = await self._espocrm.get_entity(OWNER_TYPE, other["id"])
            _add_rows_shown_by(record, wanted, found)
            if found.keys() == wanted.keys():
                break
        return found

    # -- apply and record -----------------------------------------------------------------------------------------

    async def _apply(self, run: _Run) -> KommunikationResult:
        plan = run.plan
        self._look_ahead(run)
        self._log_odd_rows(run)
        if plan.writes or plan.espocrm:
            run.kept = await self._keep(run, run.ahead)
            await run.store.note_begun(run.espo["id"], _begun_lines(plan))
        if plan.writes:
            try:
                await self._write(run)
            finally:
                run.kept = await self._keep(run, _after_writes(run))
        if run.applied.done and not await self._read_back(run):
            changes = tuple(map(_line, run.applied.changes))
            errors = (*run.applied.errors, part_error("kom_not_shown"))
            return KommunikationResult(
                changes=changes,
                errors=errors,
                wrote_advoware=run.applied.wrote,
            )
        result = self._result(run)
        self._log(run, result)
        return result

    def _look_ahead(self, run: _Run) -> None:
        """What has to be stored before the first request: what may be lost, created or written."""
        memory = run.before
        run.unreported = _unreported(memory.lost, run.advo)
        lines = map(_line, [*_losses(run.plan), *_sent_along(run.plan)])
        reported = [line for line in memory.lost if line.get("reported")]
        lost = distinct([*run.unreported, *reported, *lines])
        new = posts(run.plan)
        sent = sent_to_advoware(run.plan)
        posted_at = memory.posted_at
        if new or sent:
            posted_at = self._resources.now().isoformat()
        run.ahead = replace(
            memory,
            lost=lost,
            posted=memory.posted | new,
            posted_at=posted_at,
            sending=sent_to_both(run.plan),
        )

    def _log_odd_rows(self, run: _Run) -> None:
        odd = run.observed.advoware.odd
        if not odd:
            return
        log(
            self._context,
            "warning",
            "kommunikation.odd_rows",
            entity_id=run.espo["id"],
            rows=[f"{place}: {what}" for place, what in odd.items()],
        )

    async def _read_back(self, run: _Run) -> bool:
        """Compare what was sent with what Advoware stores; False if Advoware does not show it."""
        betnr = run.before.betnr
        run.advo = await self._advoware.get_beteiligter(betnr)
        if _shows_nothing(run.espo, run.advo):
            return False
        run.reread = True
        repairs = verify(run.applied, run.advo)
        run.kept = await self._keep(run, _after_writes(run))
        for entry_id, record in repairs:
            # A note that lost what a person has written, for our marker.
            try:
                await self._advoware.update_kommunikation(betnr, entry_id, record)
            except ForeignSystemError as error:
                run.applied.errors.append(part_error("kom_write_failed"))
                self._log_failure(run, "note", error)
        if repairs:
            run.advo = await self._advoware.get_beteiligter(betnr)
        return not _shows_nothing(run.espo, run.advo)

    def _result(self, run: _Run) -> KommunikationResult:
        plan = run.plan
        applied = run.applied
        changes = [*plan.changes, *applied.changes]
        unreported = [_as_it_is(line, run.advo) for line in run.unreported]
        lines = distinct([*unreported, *map(_line, changes)])
        final = _final_memory(run)
        notices = [*plan.notices, *applied.notices, *_further_notices(run, lines)]
        problems, standing = _problems_of(notices, run.espo, final.betnr)
        states: tuple[SyncState, ...] = ()
        if run.kept != final.as_json():
            states = (self._state(run.espo, final),)
        advoware = None
        if run.reread:
            advoware = run.advo
        return KommunikationResult(
            espocrm=_attributes(run),
            changes=lines,
            problems=tuple(problems.values()),
            errors=_errors_of(run),
            wrote_advoware=applied.wrote,
            states=states,
            standing=tuple(dict.fromkeys(standing)),
            advoware=advoware,
            version_number=run.version,
            run=run,
        )

    async def _write(self, run: _Run) -> None:
        unavailable = 0
        for write in run.plan.writes:
            try:
                run.applied.done.append(await self._send(write, run))
                unavailable = 0
            except ValidationFailed as error:
                self._log_failure(run, write.case, error)
                refuse(run.applied, write)
            except ForeignSystemError as error:
                self._log_failure(run, write.case, error)
                run.applied.errors.append(part_error("kom_write_failed"))
                unavailable = _count_away(unavailable, error)
                if unavailable == MAX_UNAVAILABLE:
                    return
            except Exception as error:  # noqa: BLE001 - a defect at one value must not stop the others
                self._log_failure(run, write.case, error)
                run.applied.errors.append(part_error("kom_defect"))

    async def _send(self, write: Write, run: _Run) -> tuple[Write, int]:
        """Make one request; if Advoware refuses it, once more without our marker, for which the note may be too short.

        Raises:
            ValidationFailed: it is the value that Advoware refuses, or there is nothing to send but the marker.
        """
        try:
            return write, await self._request(write, run)
        except ValidationFailed:
            bare = write.without_marker
            if write.change is None or bare == write:
                raise
        entry_id = await self._request(bare, run)
        run.applied.unmarked.add(entry_id)
        return write, entry_id

    async def _request(self, write: Write, run: _Run) -> int:
        betnr = run.before.betnr
        entry_id = write.entry_id
        answer: Record | None
        if entry_id is None:
            answer = await self._advoware.create_kommunikation(betnr, write.record)
            entry_id = int(answer["id"])
        else:
            answer = await self._advoware.update_kommunikation(
                betnr,
                entry_id,
                write.record,
            )
        note_row_id(run.applied, entry_id, answer, _row_id_before(run, entry_id))
        return entry_id

    def _require_over(self, memory: Memory) -> None:
        """Make sure that no request of an earlier run can reach Advoware any more.

        Raises:
            NotBefore: it still can until then.
        """
        if not memory.posted_at:
            return  # what is remembered is of a version that did not note when it was sent
        require_request_over(self._resources, datetime.fromisoformat(memory.posted_at))

    async def _keep(self, run: _Run, memory: Memory) -> Record | None:
        """Store what is true by now, unless it is stored already; returns what is stored."""
        wanted = memory.as_json()
        if wanted == run.kept or (run.kept is None and memory.is_empty):
            return run.kept
        await run.store.save(self._state(run.espo, memory))
        return wanted

    def _state(self, espo: Record, memory: Memory) -> SyncState:
        return SyncState(
            ENTITY_TYPE,
            espo["id"],
            base=memory.as_json(),
            espocrm_modified_at=parse_date_time(espo.get("modifiedAt")),
            synced_at=self._resources.now(),
        )

    def _log(self, run: _Run, result: PartResult) -> None:
        if not (run.plan.writes or result.espocrm or result.errors):
            return
        cases = Counter(write.case for write in run.plan.writes)
        level: Level = "info"
        if result.errors:
            level = "warning"
        log(
            self._context,
            level,
            "kommunikation.synced",
            entity_id=run.espo["id"],
            writes=dict(sorted(cases.items())),
            espocrm=sorted(result.espocrm),
            errors=len(result.errors),
            problems=len(result.problems),
        )

    def _log_failure(self, run: _Run, case: str, error: Exception) -> None:
        """What failed and where, without what Advoware says: its words may contain the value."""
        status = None
        if isinstance(error, ForeignSystemError):
            status = error.status
        log(
            self._context,
            "warning",
            "kommunikation.write_failed",
            entity_id=run.espo["id"],
            case=case,
            error=type(error).__name__,
            status=status,
        )


# -- observing ------------------------------------------------------------------------------------------------------


def _shows_nothing(espo: Record, advo: Record) -> bool:
    """Whether a record does not say which entries there are; that never means there are none."""
    is_hidden = not any(
        read_espocrm(espo).array(family).is_known for family in FAMILIES
    )
    return is_hidden or not isinstance(advo.get("kommunikation"), list)


def _observe(espo: Record, advo: Record, memory: Memory) -> Observation:
    espocrm = read_espocrm(espo)
    advoware = read_advoware(advo)
    entries = []
    for entry in advoware.entries:
        is_erased = espocrm.array(entry.key.family).is_erased
        entries.append(entry if is_erased else memory.as_entered(entry))
    return Observation(
        espocrm,
        replace(advoware, entries=tuple(entries)),
        memory.links,
        first_sync=not memory.complete,
        posted=memory.posted,
        is_edited=may_be_edited(espo),
        refused_by_advoware=memory.refused,
        refused_by_espocrm=memory.refused_by_espocrm(espocrm),
        blocked=memory.blocked(espocrm),
    )


def _row_id_before(run: _Run, entry_id: int) -> str:
    """The version of an entry that was read before the first request; empty if it is new."""
    entry = entries_by_id(run.advo).get(entry_id)
    return entry.row_id if entry else ""


def _add_rows_shown_by(
    record: Record,
    wanted: Container[tuple[Family, str]],
    found: dict[tuple[Family, str], Row],
) -> None:
    for entry in read_espocrm(record).entries:
        if _row_key(entry) in wanted:
            found.setdefault(_row_key(entry), entry.raw)


def _problems_of(
    notices: Iterable[Notice],
    espo: Record,
    betnr: int,
) -> tuple[dict[str, Problem], list[str]]:
    """The problems of notices by their keys, and the sentences of those that stand."""
    problems: dict[str, Problem] = {}
    standing = []
    for notice in notices:
        problem = problem_of(notice, espo, betnr)
        problems[problem.key] = problem
        if notice.is_standing:
            standing.append(problem_sentence(problem))
    return problems, standing


def _errors_of(run: _Run) -> tuple[str, ...]:
    """What has failed, and each array that EspoCRM does not show."""
    errors = list(run.applied.errors)
    for family in FAMILIES:
        if not run.observed.espocrm.array(family).is_known:
            errors.append(part_error("kom_not_shown"))
    return tuple(errors)


def _unreported(lost: Iterable[Record], advo: Record) -> tuple[Record, ...]:
    """Losses of a run that broke off; not those that it did not get to, nor what an erasure has left of them."""
    entries = entries_by_id(advo)
    unreported = []
    for line in lost:
        if _is_unreported(line, entries.get(line["id"])):
            unreported.append(line)
    return tuple(unreported)


def _is_unreported(line: Record, entry: AdvowareEntry | None) -> bool:
    value = entry.written if entry else None
    if value == line["old"] or has_sealed(line):
        return False
    if is_sent_along(line) and (entry is None or not has_altered(line, entry)):
        return False
    return not line.get("reported")


def _as_it_is(line: Record, advo: Record) -> Record:
    """A line of the audit; one of a value that was sent along says what is there now."""
    entry = entries_by_id(advo).get(line["id"])
    if entry is None or not is_sent_along(line):
        return line
    return {**line, "new": entry.written or None}


def _sent_along(plan: Plan) -> list[Change]:
    """Values of Advoware that go back there with our marker."""
    return [marker_change(write, write.tlf) for write in _marker_writes(plan)]


def _marker_writes(plan: Plan) -> list[Write]:
    """The requests that set the marker of an entry with a value, and change nothing."""
    return [write for write in plan.writes if write.change is None and write.link]


def _losses(plan: Plan) -> list[Change]:
    losses = []
    for write in plan.writes:
        if write.change is not None and write.change.lost:
            losses.append(write.change)
    return losses


def _suspects(plan: Plan, family: Family) -> dict[Key, None]:
    """The values that the plan brings into an array, each once and in their order."""
    incoming = [entry for entry in plan.incoming if entry.key.family == family]
    return dict.fromkeys(entry.key for entry in incoming)


# -- EspoCRM's answers ----------------------------------------------------------------------------------------------


def _refused_families(
    result: KommunikationResult,
    error: ValidationFailed,
) -> list[Family]:
    """The arrays that EspoCRM has refused: the one that its answer names, else all that were sent."""
    sent = [family for family in FAMILIES if DATA_ATTRIBUTE[family] in result.espocrm]
    name = _named_field(error)
    if name is None:
        return sent
    return [family for family in sent if name.startswith(VALUE_ATTRIBUTE[family])]


def _named_field(error: ValidationFailed) -> str | None:
    """The field of EspoCRM's "validationFailure", in the body or in the reason."""
    try:
        return str(error.details["messageTranslation"]["data"]["field"])
    except (KeyError, TypeError):
        match = re.search(r"field: (\w+)", error.reason)
    if match is None:
        return None
    return match[1]


def _altered(
    plan: Plan,
    record: Record,
    family: Family,
) -> list[tuple[EspoEntry, EspoEntry | None]]:
    """The values that were sent in an array and are not in it, each with the unexpected one that resembles it most.

    With the array, EspoCRM stores the values once more that it held before, and may alter these as well.
    """
    array = read_espocrm(record).array(family)
    if DATA_ATTRIBUTE[family] not in plan.espocrm or not array.is_complete:
        return []
    sent = espocrm_entries(plan.espocrm, family)
    missing = _lacking(sent, array.entries)
    extra = {entry.key: entry for entry in _lacking(array.entries, sent)}
    stored_as = resembling([entry.key for entry in missing], extra)
    found: list[tuple[EspoEntry, EspoEntry | None]] = []
    for entry in missing:
        key = stored_as[entry.key]
        if key is None:
            found.append((entry, None))
        else:
            found.append((entry, extra[key]))
    return found


def _lacking(
    entries: Iterable[EspoEntry],
    others: Iterable[EspoEntry],
) -> list[EspoEntry]:
    """The entries whose value the others lack."""
    keys = {entry.key for entry in others}
    return [entry for entry in entries if entry.key not in keys]


def _confirmed(
    run: _Run,
    record: Record,
    planned: Base,
) -> tuple[dict[int, Link], list[Notice]]:
    """The links as EspoCRM's record confirms them, and what a person has to know of the others."""
    links = dict(planned)
    notices: list[Notice] = []
    entries = entries_by_id(run.advo)
    in_advoware = {entry.key for entry in entries.values()}
    for family in FAMILIES:
        for sent, stored in _altered(run.plan, record, family):
            stored_key = None
            if stored is not None:
                stored_key = stored.key
            for entry_id in _linked_with(links, sent.key):
                links[entry_id] = replace(
                    links[entry_id],
                    espocrm=stored_key,
                    held=ALTERED_BY_ESPOCRM,
                )
                if entry_id in entries:
                    notices.append(_notice_of_entry(entries[entry_id], stored))
            if sent.key not in in_advoware:
                notices.append(_notice_of_espocrm(sent, stored))
    return links, notices


def _linked_with(links: Base, key: Key) -> list[int]:
    """The ids of the entries that are linked with a value of EspoCRM."""
    return [entry_id for entry_id, link in links.items() if link.espocrm == key]


def _row_key(entry: EspoEntry) -> tuple[Family, str]:
    """What makes two entries the same row in EspoCRM."""
    return entry.key.family, entry.written.lower()


def _count_away(before: int, error: ForeignSystemError) -> int:
    """How many requests in a row have failed because Advoware is away."""
    if isinstance(error, Unavailable | RateLimited | AuthenticationFailed):
        return before + 1
    return 0


# -- recording ------------------------------------------------------------------------------------------------------


def _after_writes(run: _Run) -> Memory:
    """What is true after the requests, while EspoCRM is not written."""
    links = planned_links(
        run.plan,
        run.ahead,
        run.applied,
        undone=run.plan.awaiting_espocrm,
    )
    known = [line for line in run.ahead.lost if not is_sent_along(line)]
    lines = map(_line, [*_doubtful(run), *run.applied.altered])
    return replace(
        run.ahead,
        links=links,
        lost=distinct([*run.unreported, *known, *lines]),
        posted=_unconfirmed_posts(run),
        refused=_refused_values(run),
        not_taken=_not_taken(run),
        sending=sent_to_both(run.plan, run.applied.ended),
    )


def _unconfirmed_posts(run: _Run) -> frozenset[Key]:
    espocrm = run.observed.espocrm
    return unconfirmed_posts(run.plan, run.applied, run.before, espocrm)


def _final_memory(run: _Run) -> Memory:
    """What is true once EspoCRM is written.

    A request that failed may have been applied all the same; the next run sees whether its value is lost.
    """
    done = run.applied.changes
    losses = [change for change in _losses(run.plan) if change not in done]
    return replace(
        run.ahead,
        links=planned_links(run.plan, run.before, run.applied),
        complete=run.complete,
        lost=distinct([*_kept_lines(run), *map(_line, [*losses, *_doubtful(run)])]),
        posted=_unconfirmed_posts(run),
        posted_at=run.ahead.posted_at,
        refused=_refused_values(run),
        not_taken=_not_taken(run),
        sending=sent_to_both(run.plan, run.applied.ended, is_in_espocrm=True),
    )


def _doubtful(run: _Run) -> list[Change]:
    """Values that were sent along with our marker, of which it is not known what Advoware has made of them."""
    shown: Mapping[int, AdvowareEntry] = {}
    if run.reread:
        shown = entries_by_id(run.advo)
    doubtful = []
    for write in _marker_writes(run.plan):
        entry = shown.get(write.entry_id or 0)
        is_shown = entry is not None and not entry.is_unknown
        if not is_shown or write not in run.applied.ended:
            doubtful.append(marker_change(write, write.tlf))
    return doubtful


def _kept_lines(run: _Run) -> list[Record]:
    """Lines of altered values that EspoCRM is not given now, so that what a person has entered is not forgotten."""
    kept: list[Record] = []
    for entry in run.observed.advoware.entries:
        if entry.stored is None or _is_brought(entry, run.plan):
            continue
        line = _line_of_entry(entry, run.before.lost)
        if line is not None:
            stored = entry.stored or None
            kept.append({**line, "new": stored, "reported": True})
    return kept


def _is_brought(entry: AdvowareEntry, plan: Plan) -> bool:
    """Whether EspoCRM is given the value of an entry."""
    link = plan.base.get(entry.id)
    return link is not None and link.espocrm == entry.key


def _line_of_entry(entry: AdvowareEntry, lost: Iterable[Record]) -> Record | None:
    """The line of a loss at an entry that still has the value of which it is a loss."""
    for line in lost:
        if line["id"] == entry.id and line["old"] == entry.written:
            return line
    return None


def _refused_values(run: _Run) -> frozenset[Key]:
    """The values that Advoware does not create, as long as EspoCRM holds them and Advoware does not."""
    links = planned_links(run.plan, run.before, run.applied)
    in_advoware = {link.espocrm for link in links.values()}
    held = {entry.key for entry in run.observed.espocrm.entries}
    refused = run.before.refused | run.applied.refused_values
    return frozenset(refused & (held - in_advoware))


def _not_taken(run: _Run) -> dict[Family, NotTaken]:
    """What EspoCRM has refused, with its arrays as they will be."""
    observed = run.observed
    found = {}
    for family in FAMILIES:
        refused = (key for key in observed.refused_by_espocrm if key.family == family)
        keys = frozenset(refused)
        is_blocked = family in observed.blocked
        if keys or is_blocked:
            rows = fingerprint_after(run.plan, observed.espocrm, family)
            found[family] = NotTaken(rows, keys, is_blocked)
    return found


def _further_notices(run: _Run, lines: Iterable[Record]) -> list[Notice]:
    """What is reported of values that were emptied in Advoware, and of rows that cannot be addressed."""
    notices = []
    for line in lines:
        if _is_emptying_in_conflict(line):
            _, _, kind = line["field"].rpartition(".")
            notices.append(Notice("kom_reverted", kind, line["old"], line["id"]))
    for place in run.observed.advoware.odd:
        row = f"Zeile {place}"
        notices.append(Notice("kom_odd_row", "phone", row, is_standing=True))
    return notices


def _is_emptying_in_conflict(line: Record) -> bool:
    """Whether a value was emptied in Advoware while a user had changed it in EspoCRM."""
    is_emptied = line["side"] == "advoware" and line["new"] is None
    return line["case"] == "Var4" and is_emptied and bool(line.get("conflict"))


def _notice_of_entry(entry: AdvowareEntry, stored: EspoEntry | None) -> Notice:
    kind = kind_of(entry.komm_kz)
    return Notice(
        ALTERED_BY_ESPOCRM,
        kind,
        entry.written,
        entry.id,
        _written(stored),
        is_standing=True,
    )


def _notice_of_espocrm(sent: EspoEntry, stored: EspoEntry | None) -> Notice:
    """Of a value that EspoCRM alone holds: nothing reminds of it later."""
    kind = kind_of(sent.komm_kz)
    return Notice(ALTERED_BY_ESPOCRM, kind, sent.written, other=_written(stored))


def _written(entry: EspoEntry | None) -> str | None:
    if entry is None:
        return None
    return entry.written


def _attributes(run: _Run) -> dict[str, Any]:
    arrays = run.plan.espocrm
    attributes = {**arrays, **_plain_values(arrays, run.observed.modern)}
    current_hash = kommunikation_hash(advoware_entries(run.advo))
    if current_hash != run.espo.get("kommunikationHash"):
        attributes["kommunikationHash"] = current_hash
    return attributes


def _plain_values(
    arrays: Mapping[str, list[Row]],
    modern: frozenset[Family],
) -> dict[str, Any]:
    """The primary values by name, for arrays with values that EspoCRM accepted in earlier times.

    EspoCRM checks the primary value that it holds together with the array, unless it is given another one.
    """
    values: dict[str, Any] = {}
    for family in modern:
        name = VALUE_ATTRIBUTE[family]
        for row in arrays.get(DATA_ATTRIBUTE[family], ()):
            if row.get("primary"):
                values.setdefault(name, row[name])
    return values


def _begun_lines(plan: Plan) -> list[dict[str, Any]]:
    """The audit's lines of everything that a plan writes."""
    in_advoware = [write.change for write in plan.writes if write.change]
    return list(map(_line, [*in_advoware, *plan.changes]))


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
    if change.lost:
        line["conflict"] = True
    return line
