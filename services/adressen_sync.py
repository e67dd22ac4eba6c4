"""Sync of the Adressen of one Beteiligter: EspoCRM's CAdressen and Advoware's Adressen.

Advoware never deletes an Adresse for us and changes only its street, place and printed block. The rest of what people
want becomes a task (`Problem`). A failing address never stops the others.

Crashes: what we create in Advoware carries the EspoCRM id in ``bemerkung``, what we create in EspoCRM carries the
``advowareId``; both are found again by the next run. A base is stored only after both sides have been written.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from services.adressen_mapper import (
    ESPOCRM_FIELDS,
    AdressenMapper,
    Listing,
    adressen_of,
    canonical_adresse,
    espocrm_id_of,
)
from services.advoware_service import AdvowareService
from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    Conflict,
    Forbidden,
    ForeignSystemError,
    NotBefore,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
    is_no_records_fault,
)
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import ERASED
from services.notification_utils import NotificationManager
from services.values.address_block import BLOCK
from services.values.advoware_protocol import SYSTEM as ADVOWARE
from services.values.advoware_protocol import shows_version
from services.values.espocrm_query import RecordWrite, equals, format_date_time
from services.values.merge import (
    SENDING,
    base_to_json,
    only,
    pair_from_json,
    without,
)
from services.vmh_sync.adressen.espocrm_creates import EspoCRMCreates
from services.vmh_sync.adressen.fields import (
    FieldPlan,
    not_as_sent,
    observed_block,
    put_body,
    put_names,
)
from services.vmh_sync.adressen.lost_creates import LostCreates
from services.vmh_sync.adressen.match import (
    BETNR,
    ENTITY_TYPE,
    OWNER_ID,
    Match,
    Observation,
    Whereabouts,
    is_active,
    left_behind,
    left_by_creates,
    match_addresses,
    regained,
    shown_values,
    state_of_unanswered,
    states_with_sent,
    with_whereabouts,
)
from services.vmh_sync.adressen.plan import (
    Action,
    Broken,
    CreateAdresse,
    CreateCAdressen,
    Ignore,
    RememberDeleted,
    Settle,
    begun_by,
    changes_of,
    link_created,
    make_plan,
    problems_of,
    settle_put,
    settle_update,
    unconfirmed,
)
from services.vmh_sync.adressen.problems import block_line, failure_sentence, sentences
from services.vmh_sync.adressen.write import LeftOut, create_fitting, update_fitting
from services.vmh_sync.create_once import create_once
from services.vmh_sync.espocrm_writes import Collected, EspoWrites
from services.vmh_sync.problem_texts.adressen import DELETE_KINDS, SETTLED, STATE_KINDS
from services.vmh_sync.result import Direction, PartResult, Problem
from services.vmh_sync.sending import altered_in, sending
from services.vmh_sync.store import AuditEntry, CreateIntent, SyncState, SyncStore

TOPIC = "vmh.adressen"

Record = dict[str, Any]

#: After so many failures in a row because a system is away, the rest is left to the next run.
MAX_UNAVAILABLE = 3

SELECT = (
    *(
        "bezeichnung",
        "adresseStreet",
        "adresseCity",
        "adressePostalCode",
        "adresseCountry",
        "postfach",
        "postfachPLZ",
    ),
    *(
        "gueltigVon",
        "gueltigBis",
        "istStandard",
        "isActive",
        "advowareId",
        "advowareRowId",
        "syncStatus",
        "beteiligteId",
        "modifiedAt",
    ),
    "versionNumber",
    ERASED,
)
#: What an address takes over from its Beteiligter, so that whoever may see him sees it.
OWNER = ("assignedUserId", "teamsIds")

_mapper = AdressenMapper()


@dataclass
class _Report:
    """What a run has done so far.

    ``is_fresh``: nothing else was requested since Advoware was read.
    """

    problems: list[Problem] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrote_advoware: bool = False
    was_edited: bool = False
    waits: list[datetime] = field(default_factory=list)
    is_fresh: bool = True

    def notify(self, problems: Sequence[Problem]) -> None:
        """Add the problems that are not there yet: what was planned, and what was found out while writing."""
        known = {problem.key for problem in self.problems}
        for problem in problems:
            if problem.key not in known:
                self.problems.append(problem)
        self.standing += sentences(problems)

    def note(self, changes: Iterable[Mapping[str, Any]]) -> None:
        """Add the lines that are not there yet."""
        self.changes += [change for change in changes if change not in self.changes]

    def result(self) -> PartResult:
        return PartResult(
            changes=tuple(self.changes),
            problems=tuple(self.problems),
            errors=tuple(self.errors),
            standing=tuple(dict.fromkeys(self.standing)),
            wrote_advoware=self.wrote_advoware,
            was_edited=self.was_edited,
            not_before=max(self.waits, default=None),
            latest=self.result,
        )


@dataclass(frozen=True)
class _Run:
    """One sync of the addresses of one Beteiligter."""

    observed: Observation
    store: SyncStore
    report: _Report


@dataclass(frozen=True)
class _Ending:
    """A pair that is to be written to EspoCRM and remembered.

    ``was_put``: the Adresse was written; ``is_created``: it was created.
    """

    run: _Run
    action: Settle
    was_put: bool = False
    is_created: bool = False

    @property
    def attributes(self) -> Record:
        """What the CAdressen gets besides the address itself."""
        fields = _sync_fields(self.run.observed, self.action.adresse)
        return {**fields, "syncStatus": self.action.shown_status}

    @property
    def may_overwrite_edit(self) -> bool:
        """Whether something of the address is written that a user may have changed since it was read."""
        return bool(self.action.espocrm) and not self.is_created

    def note_written(self) -> None:
        """What was written to Advoware belongs into the audit, whatever becomes of the rest."""
        self.run.report.note(_advoware_side(self.action))

    def leave_to_next_round(self) -> None:
        """A user has edited the CAdressen meanwhile."""
        self.run.report.was_edited = True
        self.note_written()


class AdressenSync:
    """Keeps the addresses of a Beteiligter consistent. ``context`` is the step's FlowContext or None."""

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
        writes: EspoWrites | None = None,
        notifications: NotificationManager | None = None,
    ) -> None:
        """``writes`` collects what is written in EspoCRM; without it, everything is written at once.

        ``notifications`` is that of the whole sync, which knows who looks after the Beteiligter.
        """
        self._context = context
        self._resources = resources or current_resources()
        self._espocrm = EspoCRMAPI(context, resources=self._resources)
        self._advoware = AdvowareService(context, resources=self._resources)
        self._lost_creates = LostCreates(self._advoware, self._resources)
        self._espocrm_creates = EspoCRMCreates(self._espocrm, self._resources)
        self._writes = writes
        self._notifications = notifications or NotificationManager(
            self._espocrm,
            context,
            resources=self._resources,
            writes=writes,
        )

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
        the whole Adresse and has no precondition. Nothing else is requested if nothing has changed. Whatever fails at
        a single address is in the result's ``errors``, and is tried again by the next run; the others are synced.

        Raises:
            ForeignSystemError: EspoCRM's list or PostgreSQL is not available.
        """
        listing = adressen_of(advo)
        if listing is None:
            return PartResult(errors=(failure_sentence("address_list_missing"),))
        report = _Report()
        self._report_unreadable(advo, listing, report)
        if rows is None:
            rows = await self.list_rows(espo["id"])
        observed = await self._observe(
            espo,
            advo,
            listing,
            rows,
            store,
            direction,
            report,
        )
        run = _Run(observed, store, report)
        plan = await self._plan(run)
        await self._note_begun(run, plan)
        await self._apply_all(run, plan)
        if direction == "both" and not report.errors and not report.waits:
            await self._end_problems(run)
        return report.result()

    def _report_unreadable(
        self,
        advo: Mapping[str, Any],
        listing: Listing,
        report: _Report,
    ) -> None:
        if not listing.unreadable:
            return
        report.errors.append(
            failure_sentence("address_unreadable", value=str(listing.unreadable)),
        )
        log(
            self._context,
            "error",
            "adressen.unreadable",
            betnr=str(advo["betNr"]),
            entries=listing.unreadable,
        )

    async def _plan(self, run: _Run) -> list[Action]:
        """What to do. A record missing from a list is read directly before it is treated as gone."""
        observed = run.observed
        found = match_addresses(observed)
        places = await self._look_for(run, found)
        found = with_whereabouts(observed, found, places)
        confirmed = await self._confirm_missing(run, found)
        elsewhere = set()
        for entity_id, place in places.items():
            if place != "here":
                confirmed.add(entity_id)
            if place == "elsewhere":
                elsewhere.add(entity_id)
        run.report.is_fresh = not places and not unconfirmed(observed, found)
        plan = make_plan(observed, found, confirmed, elsewhere)
        return [action for action in plan if not _is_unsettled(action, observed)]

    async def _end_problems(self, run: _Run) -> None:
        """Withdraw the tasks of what does not stand any more; each run finds all that stands.

        What is to be deleted in Advoware is reported at the CBeteiligte, because the CAdressen is gone.
        """
        owner = run.observed.beteiligte_id
        ids = [row["id"] for row in run.observed.rows]
        standing = [problem.key for problem in run.report.problems]
        settle = self._notifications.settle
        await settle(
            "CBeteiligte",
            [owner],
            DELETE_KINDS,
            standing,
            SETTLED,
        )
        await settle(
            ENTITY_TYPE,
            ids,
            STATE_KINDS,
            standing,
            SETTLED,
        )

    async def _note_begun(self, run: _Run, plan: list[Action]) -> None:
        """Remember what is about to be written of all addresses, before it is."""
        bases = {}
        lines: list[Mapping[str, Any]] = []
        for action in plan:
            lines += begun_by(action)
            if not isinstance(action, Settle) or action.fields is None:
                continue
            fields = action.fields
            known = run.observed.state_of(action.row["id"])
            if known is None:
                continue
            base = _base_with_sent(known, fields, {})
            if base != known.base:
                bases[known.entity_id] = base
        if bases:
            await run.store.note_sending(ENTITY_TYPE, bases)
        await run.store.note_begun(run.observed.beteiligte_id, lines)

    async def _apply_all(self, run: _Run, plan: list[Action]) -> None:
        """Apply the actions one after the other; one that fails is recorded and does not stop the others."""
        report = run.report
        unavailable = 0
        for action in plan:
            try:
                await self._apply(run, action)
                unavailable = 0
            except NotBefore as error:
                report.waits.append(error.moment)
            except Exception as error:
                if is_no_records_fault(error):
                    raise
                await self._show_failure(report, action, error)
                if not isinstance(error, Unavailable):
                    unavailable = 0
                    continue
                unavailable += 1
                if unavailable == MAX_UNAVAILABLE:
                    return
            finally:
                report.is_fresh &= _requests_nothing(action)

    async def list_rows(self, beteiligte_id: str) -> list[Record]:
        """The CAdressen of a CBeteiligte, for `sync_part`.

        Raises:
            ForeignSystemError: EspoCRM's list is not available.
        """
        rows = self._espocrm.search_entities(
            ENTITY_TYPE,
            [equals("beteiligteId", beteiligte_id)],
            SELECT,
        )
        return [row async for row in rows]

    # -- observe --------------------------------------------------------------------------------------------------

    async def _observe(
        self,
        espo: Mapping[str, Any],
        advo: Mapping[str, Any],
        listing: Listing,
        known: list[Record],
        store: SyncStore,
        direction: Direction,
        report: _Report,
    ) -> Observation:
        ids = {row["id"] for row in known}
        for adresse in listing.adressen:
            mark = espocrm_id_of(adresse.get("bemerkung"))
            if mark is not None:
                ids.add(mark)
        betnr = str(advo["betNr"])
        states = await store.load_parts(ENTITY_TYPE, betnr, espo["id"], sorted(ids))
        states = await store.all_opened(states, *shown_values(known, listing.adressen))
        moved = await self._espocrm_creates.link_moved(known, states, betnr, store)
        states = {**states, **moved}
        back = regained(states, known, listing.adressen, betnr)
        sent = await store.sent_by_creates(ENTITY_TYPE, ids, espo["id"], betnr)
        made = left_by_creates(sent, states, known, listing.adressen, betnr)
        for entity_id, adresse in made.items():
            link = f"{betnr}/{adresse['id']}"
            values = sent[entity_id]
            back[entity_id] = state_of_unanswered(entity_id, link, adresse, values)
        lost = {name: values for name, values in sent.items() if name not in made}
        unsettled = await self._end_lost_creates(
            espo["id"],
            betnr,
            lost,
            known,
            store,
            report,
        )
        return Observation(
            espo["id"],
            advo,
            owner={name: espo[name] for name in OWNER if espo.get(name)},
            rows=known,
            adressen=listing.adressen,
            states=states_with_sent({**states, **back}, known, listing.adressen),
            direction=direction,
            now=self._resources.now(),
            stored=states,
            unsettled=unsettled,
        )

    async def _end_lost_creates(
        self,
        beteiligte_id: str,
        betnr: str,
        sent: Mapping[str, Mapping[str, Any]],
        rows: list[Record],
        store: SyncStore,
        report: _Report,
    ) -> set[str]:
        """End the unanswered creates that were made elsewhere, or whose CAdressen is gone.

        Returns the ids of those of which nothing can be known now; the next run asks again.
        """
        ids = {row["id"] for row in rows}
        unsettled = set()
        for entity_id, values in sent.items():
            is_of_here = values.get(BETNR) in {None, betnr}
            if entity_id in ids and is_of_here:
                continue  # the create itself looks for it
            try:
                if entity_id in ids or await self._is_gone(entity_id, beteiligte_id):
                    await self._lost_creates.end(entity_id, betnr, store)
            except NotBefore as error:
                report.waits.append(error.moment)
                unsettled.add(entity_id)
            except BitByLawError as error:
                if is_no_records_fault(error):
                    raise
                self._record_failure(report, f"{ENTITY_TYPE}/{entity_id}", "", error)
                unsettled.add(entity_id)
        return unsettled

    async def _is_gone(self, entity_id: str, beteiligte_id: str) -> bool:
        """Whether a CAdressen belongs to no one any more; one that was moved is its new owner's business."""
        return await self._whereabouts(entity_id, beteiligte_id) == "gone"

    async def _look_for(self, run: _Run, found: Match) -> dict[str, Whereabouts]:
        """Where the CAdressen are that EspoCRM's list lacks."""
        wanted = unconfirmed(run.observed, found) & found.vanished.keys()
        wanted |= {mark for mark, _ in found.foreign}
        places: dict[str, Whereabouts] = {}
        for entity_id in sorted(wanted):
            try:
                places[entity_id] = await self._whereabouts(
                    entity_id,
                    run.observed.beteiligte_id,
                )
            except ConfigurationError:
                raise
            except BitByLawError as error:
                name = f"{ENTITY_TYPE}/{entity_id}"
                self._record_failure(run.report, name, "", error)
        return places

    async def _whereabouts(self, entity_id: str, beteiligte_id: str) -> Whereabouts:
        try:
            row = await self._espocrm.get_entity(ENTITY_TYPE, entity_id)
        except NotFound:
            return "gone"
        owner = row.get("beteiligteId")
        if not owner:
            return "gone"
        if owner == beteiligte_id:
            return "here"
        return "elsewhere"

    async def _confirm_missing(self, run: _Run, found: Match) -> set[str]:
        """Those whose Adresse a second read of Advoware does not show either."""
        observed = run.observed
        doubtful = unconfirmed(observed, found)
        missing = [row for row in found.missing if row["id"] in doubtful]
        if not missing:
            return set()
        try:
            again = adressen_of(await self._advoware.get_beteiligter(observed.betnr))
        except ConfigurationError:
            raise
        except BitByLawError as error:
            for row in missing:
                name = f"{ENTITY_TYPE}/{row['id']}"
                self._record_failure(run.report, name, _label_of(row), error)
            return set()
        if again is None or again.unreadable:
            return set()
        return _not_among(observed, missing, again.adressen)

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _apply(self, run: _Run, action: Action) -> None:
        match action:
            case CreateAdresse():
                await self._create_in_advoware(run, action)
            case CreateCAdressen():
                await self._create_in_espocrm(run, action)
            case Settle():
                await self._settle(run, action)
            case Ignore():
                await self._show_as_done(run, action)
            case RememberDeleted():
                await self._remember_deleted(run, action)
            case Broken():
                raise action.error

    async def _show_as_done(self, run: _Run, action: Ignore) -> None:
        if action.row.get("syncStatus") not in {"pending_sync", "dirty", "failed"}:
            return
        failed = partial(self._show_failure, run.report, action)
        await self._set_status(action.row["id"], "clean", failed)

    async def _remember_deleted(self, run: _Run, action: RememberDeleted) -> None:
        for state in action.states:
            if state != run.observed.stored.get(state.entity_id):
                await run.store.save(state)
        run.report.notify(action.problems)

    async def _create_in_advoware(self, run: _Run, action: CreateAdresse) -> None:
        """Create the Adresse, or find it by its mark if an earlier request arrived after we had given it up."""
        observed = run.observed
        values = _mapper.comparable_from_espocrm(action.row)
        adresse, refused = await create_once(
            run.store,
            (ENTITY_TYPE, action.row["id"]),
            {
                **only(values, action.names),
                OWNER_ID: observed.beteiligte_id,
                BETNR: observed.betnr,
            },
            find=partial(self._find_created, run, action),
            post=partial(self._post, run, action),
            resources=self._resources,
        )
        adresse = await self._complete(observed, adresse["id"], adresse)
        left_out = {name: (reason, "") for name, reason in action.left_out.items()}
        for name, words in refused.items():
            left_out[name] = ("value_refused", words)
        created = link_created(
            observed,
            action.row,
            adresse,
            left_out,
            side="advoware",
        )
        await self._finish(_Ending(run, created, was_put=True, is_created=True))

    async def _find_created(
        self,
        run: _Run,
        action: CreateAdresse,
        intent: CreateIntent,
    ) -> tuple[Record, LeftOut] | None:
        """The Adresse that an earlier attempt has left."""
        observed = run.observed
        entity_id = action.row["id"]
        found = left_by_creates(
            {entity_id: intent.posted},
            observed.states,
            observed.rows,
            await self._read_adressen(observed),
            observed.betnr,
        )
        if entity_id in found:
            return found[entity_id], {}
        return None

    async def _post(self, run: _Run, action: CreateAdresse) -> tuple[Record, LeftOut]:
        """Create the Adresse; returns Advoware's answer, and the fields that had to be left out."""
        observed = run.observed

        async def write(names: Sequence[str]) -> Record:
            body = _mapper.map_cadressen_to_advoware(
                action.row,
                observed.beteiligter,
                is_main=action.is_main,
                names=names,
            )
            return await self._advoware.create_adresse(observed.betnr, body)

        answer, left_out = await create_fitting(write, action.names)
        run.report.wrote_advoware = True
        return canonical_adresse(answer), left_out

    async def _settle(self, run: _Run, action: Settle) -> None:
        """Write what differs; what a person edits on either side meanwhile is left to the next round."""
        fields = action.fields
        adresse = action.adresse
        if adresse is None or fields is None or not fields.to_advoware:
            await self._notify_all(action.lost)
            await self._finish(_Ending(run, action))
            return
        report = run.report
        is_conflict = await self._keep_what_will_be_lost(run, action, fields, adresse)
        takes_time = is_conflict or not report.is_fresh
        if takes_time and not await self._is_as_observed(run.observed, action):
            report.was_edited = True
            return
        done = await self._put(run, action, fields, adresse)
        await self._note_altered(run, done)
        await self._finish(_Ending(run, done, was_put=True))

    async def _note_altered(self, run: _Run, done: Settle) -> None:
        """Remember what Advoware has not stored as it was sent, before EspoCRM is written, which may fail."""
        known = run.observed.state_of(done.row["id"])
        if known is None or done.fields is None:
            return
        found = {**not_as_sent(done.fields, known), **done.fields.altered_left}
        if found:
            base = _base_with_sent(known, done.fields, found)
            await run.store.note_sending(ENTITY_TYPE, {known.entity_id: base})

    async def _put(
        self,
        run: _Run,
        action: Settle,
        fields: FieldPlan,
        adresse: Record,
    ) -> Settle:
        """Change the Adresse; what Advoware refuses is left out, and what it stores differently is settled so."""
        observed = run.observed
        adresse_id = adresse["id"]
        names = put_names(fields)
        answers: list[Record | None] = []

        async def write(included: Sequence[str]) -> list[Record | None]:
            body = put_body(fields, adresse, included)
            answer = await self._advoware.update_adresse(
                observed.betnr,
                adresse_id,
                body,
            )
            answers.append(answer)
            return answers

        idle = frozenset[str]()
        if names != [BLOCK]:
            idle = frozenset({BLOCK})
        stored = adresse
        try:
            _, left_out = await update_fitting(write, names, idle=idle)
            if answers:
                stored = await self._complete(
                    observed,
                    adresse_id,
                    answers[-1],
                    adresse,
                )
        except BitByLawError:
            run.report.wrote_advoware |= bool(answers)
            raise
        if any(stored.get(name) != adresse.get(name) for name in _WRITABLE):
            run.report.wrote_advoware = True
        return settle_put(observed, action, stored, left_out)

    async def _is_as_observed(self, observed: Observation, action: Settle) -> bool:
        """Whether Advoware still has the Adresse as it was read: a PUT reverts what was entered since.

        Notifying of a conflict takes time, and so does the Adresse before this one.
        """
        return action.adresse in await self._read_adressen(observed)

    async def _complete(
        self,
        observed: Observation,
        adresse_id: int,
        answer: Mapping[str, Any] | None,
        before: Record | None = None,
    ) -> Record:
        """An Adresse as Advoware has it after a write: the answer, or a new read if that does not say.

        An answer that shows the version ``before`` the write says nothing of it.
        """
        known = canonical_adresse(answer or {})
        if known.keys() >= _WRITABLE and not shows_version(known, before):
            return {**known, "id": adresse_id}
        for adresse in await self._read_adressen(observed):
            if adresse["id"] == adresse_id:
                return adresse
        raise NotFound("Advoware", "the Adresse is gone after it was written")

    async def _read_adressen(self, observed: Observation) -> list[Record]:
        """The Adressen as they are now.

        Raises:
            UnexpectedAnswer: the answer does not contain their list.
        """
        again = adressen_of(await self._advoware.get_beteiligter(observed.betnr))
        if again is None:
            raise UnexpectedAnswer(
                "Advoware",
                "the answer contains no list of Adressen",
            )
        return again.adressen

    async def _create_in_espocrm(self, run: _Run, action: CreateCAdressen) -> None:
        adresse = action.adresse
        link = run.observed.link_of(adresse)
        was_left = await self._espocrm_creates.begin(link, adresse, run.store)
        if was_left:
            run.report.was_edited = True  # the next round goes on with it
            return
        parts = self._parts_of(run.observed, action)

        async def created(row: Record, left_out: Mapping[str, str]) -> None:
            reasons = {**_unfit_for_espocrm(action.adresse), **_comparable(left_out)}
            row = {**parts.fixed, **row}
            done = link_created(
                run.observed,
                row,
                action.adresse,
                reasons,
                side="espocrm",
            )
            await self._finish(_Ending(run, replace(done, attributes={})))

        async def then(records: list[Record]) -> None:
            await created(records[0], {})

        async def alone(refusal: ForeignSystemError | None) -> None:
            row, left_out = await self._create_fitting(run, parts, refusal)
            await created(row, left_out)

        creation = RecordWrite(ENTITY_TYPE, None, parts.all, skips_duplicate_check=True)
        failed = partial(self._show_failure, run.report, action)
        await self._write(creation, then, alone, failed)

    def _parts_of(self, observed: Observation, action: CreateCAdressen) -> _NewRow:
        """The attributes of a new CAdressen, by what becomes of them if EspoCRM refuses the record."""
        attributes = action.attributes
        owner = only(attributes, OWNER)
        fixed = {
            "beteiligteId": observed.beteiligte_id,
            "syncStatus": "clean",
            **_sync_fields(observed, action.adresse),
            "istStandard": attributes["istStandard"],
            "isActive": attributes["isActive"],
        }
        optional = without(attributes, {*owner, *fixed})
        return _NewRow(optional, fixed, owner)

    async def _create_fitting(
        self,
        run: _Run,
        parts: _NewRow,
        refusal: ForeignSystemError | None,
    ) -> tuple[Record, LeftOut]:
        """Create the CAdressen with what EspoCRM takes of it; ``refusal`` is its answer to the whole."""
        owner = parts.owner
        refusals = _first_answers(refusal)

        async def write(included: Sequence[str]) -> Record:
            if refusals:
                raise refusals.pop()
            chosen = only(parts.optional, included)
            return await self._espocrm.create_entity(
                ENTITY_TYPE,
                {**chosen, **parts.fixed, **owner},
                skip_duplicate_check=True,
            )

        names = list(parts.optional)
        try:
            return await create_fitting(write, names)
        except (Forbidden, ValidationFailed):
            if not owner:
                raise
        # EspoCRM may not let us assign records to him: the address is worth more than its assignee.
        betnr = run.observed.betnr
        log(self._context, "warning", "adressen.owner_refused", betnr=betnr)
        owner = {}
        return await create_fitting(write, names)

    async def _finish(self, ending: _Ending) -> None:
        """Write EspoCRM, then remember; only then problems and changes count, but for those in Advoware.

        Where the write is collected, problems count before: their Tasks go with it.
        """
        action = ending.action
        run = ending.run
        if not ending.was_put and not _changes_espocrm(action):
            await self._finish_written(run, action)
            return
        version = None
        if action.espocrm and self._writes is not None:
            version = action.row.get("versionNumber")
        still = None
        if version is None and ending.may_overwrite_edit:
            still = partial(self._is_still_unedited, ending)
        if await self._is_collected():
            if still is not None and not await still():
                return
            _note_collected(ending)
        attributes = {**action.espocrm, **ending.attributes}
        await self._write(
            RecordWrite(ENTITY_TYPE, action.row["id"], attributes, version),
            partial(self._end_collected, ending),
            partial(self._end_alone, ending),
            partial(self._show_failure, run.report, action),
            still,
        )

    async def _is_still_unedited(self, ending: _Ending) -> bool:
        """Asked right before a collected write: other requests may have come since it was collected."""
        try:
            was_edited = await self._was_edited(ending.action.row)
        except NotFound:  # its write is refused then, and fails alone
            return True
        if was_edited:
            ending.leave_to_next_round()
        return not was_edited

    async def _is_collected(self) -> bool:
        """Whether the writes of CAdressen are collected."""
        return self._writes is not None and await self._writes.collects(ENTITY_TYPE)

    async def _end_collected(self, ending: _Ending, records: list[Record]) -> None:
        await self._end(ending, records[0], {})

    async def _end_alone(
        self,
        ending: _Ending,
        refusal: ForeignSystemError | None,
    ) -> None:
        action = ending.action
        try:
            if ending.may_overwrite_edit and await self._was_edited(action.row):
                ending.leave_to_next_round()
                return
            written, left_out = await self._update_fitting(ending, refusal)
            await self._end(ending, written, left_out)
        except Exception:
            if ending.was_put:
                ending.note_written()
            raise

    async def _end(
        self,
        ending: _Ending,
        written: Record,
        left_out: Mapping[str, str],
    ) -> None:
        """What follows when the CAdressen is written."""
        run = ending.run
        action = ending.action
        refused = dict.fromkeys(_comparable(left_out), "")
        done = settle_update(run.observed, action, written, refused)
        expected = {**action.row, **action.espocrm}
        await self._show_status(run.report, expected, written, done)
        await self._finish_written(run, done)

    async def _finish_written(self, run: _Run, action: Settle) -> None:
        await self._remember(run, action.state)
        run.report.notify(problems_of(run.observed, action))
        run.report.note(changes_of(action))

    async def _update_fitting(
        self,
        ending: _Ending,
        refusal: ForeignSystemError | None,
    ) -> tuple[Record, LeftOut]:
        """Write the CAdressen without what EspoCRM refuses of it; ``refusal`` is its answer to the whole."""
        action = ending.action
        refusals = _first_answers(refusal)
        if isinstance(refusal, Conflict):
            refusals = []

        async def write(included: Sequence[str]) -> Record:
            if refusals:
                raise refusals.pop()
            attributes = {**only(action.espocrm, included), **ending.attributes}
            return await self._espocrm.update_entity(
                ENTITY_TYPE,
                action.row["id"],
                attributes,
            )

        return await update_fitting(write, list(action.espocrm))

    async def _write(
        self,
        write: RecordWrite,
        then: Callable[[list[Record]], Awaitable[None]],
        alone: Callable[[ForeignSystemError | None], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
        still: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Collect a write, wanted if it is ``still`` when it is sent; without anything to collect it, do it at once."""
        if self._writes is None:
            await alone(None)
        else:
            await self._writes.add(Collected([write], then, alone, failed, still))

    async def _set_status(
        self,
        entity_id: str,
        status: str,
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        attributes = {"syncStatus": status}

        async def then(_records: list[Record]) -> None:
            return

        async def alone(_refusal: ForeignSystemError | None) -> None:
            await self._espocrm.update_entity(ENTITY_TYPE, entity_id, attributes)

        update = RecordWrite(ENTITY_TYPE, entity_id, attributes)
        await self._write(update, then, alone, failed)

    async def _show_status(
        self,
        report: _Report,
        expected: Record,
        written: Record,
        action: Settle,
    ) -> None:
        """Correct the status if the answer to our write shows more than we knew: an edit, or what it did not take."""
        status = action.shown_status
        sent = ESPOCRM_FIELDS.keys() & action.espocrm.keys()
        is_other = _says_other(written, expected, but=sent)
        if is_other and await self._was_edited(expected, but=sent):
            report.was_edited = True
            status = "dirty"
        elif written.get("syncStatus", status) == status:
            return
        await self._espocrm.update_entity(
            ENTITY_TYPE,
            expected["id"],
            {"syncStatus": status},
        )

    async def _was_edited(self, row: Record, but: Collection[str] = ()) -> bool:
        """Whether the CAdressen says something else now than when it was listed, ``but`` some attributes.

        The answer to a write may show a value otherwise than a read does, and is no evidence of an edit.
        """
        now = await self._espocrm.get_entity(ENTITY_TYPE, row["id"])
        return _says_other(now, row, but)

    async def _keep_what_will_be_lost(
        self,
        run: _Run,
        action: Settle,
        fields: FieldPlan,
        adresse: Record,
    ) -> bool:
        """Put what is overwritten into the audit before that happens, and notify of the values that give way.

        Returns whether there are such values.
        """
        changes = changes_of(action)
        lost = [change for change in changes if change.get("conflict")]
        lines = [*lost, *_overwritten_lines(action, changes, fields, adresse)]
        if lines:
            result = "overwritten"
            if lost:
                result = "conflict_found"
            entry = AuditEntry(
                ENTITY_TYPE,
                action.row["id"],
                TOPIC,
                "sync",
                result,
                0.0,
                run.observed.betnr,
                lines,
            )
            await run.store.append_audit(entry, run.observed.now)
        await self._notify_all(action.lost)
        return bool(lost)

    async def _notify_all(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            await self._notifications.notify(problem)

    async def _show_failure(
        self,
        report: _Report,
        action: Action,
        error: Exception,
    ) -> None:
        """Collect the failure; what a system refused also shows in the record's status."""
        name, label = _name_of(action)
        self._record_failure(report, name, label, error)
        row = _row_of(action)
        if row is None or row.get("syncStatus") == "failed":
            return
        if isinstance(error, Unavailable):
            return
        failed = partial(self._log_status_not_written, name)
        try:
            await self._set_status(row["id"], "failed", failed)
        except BitByLawError as further:
            await failed(further)

    async def _log_status_not_written(self, name: str, error: Exception) -> None:
        is_understood = isinstance(error, BitByLawError)
        if not is_understood or isinstance(error, ConfigurationError):
            raise error
        log(
            self._context,
            "warning",
            "adressen.status_not_written",
            record=name,
            error=type(error).__name__,
        )

    def _record_failure(
        self,
        report: _Report,
        name: str,
        label: str,
        error: Exception,
    ) -> None:
        cause = _cause(error)
        report.errors.append(
            failure_sentence("address_failed", adresse=label, value=cause),
        )
        place = ""
        if not isinstance(error, BitByLawError):
            place = "".join(traceback.format_tb(error.__traceback__)[-3:])
        log(
            self._context,
            "error",
            "adressen.failed",
            record=name,
            error=type(error).__name__,
            place=place,
        )

    async def _remember(self, run: _Run, state: SyncState) -> None:
        observed = run.observed
        entity_id = state.entity_id
        stored = observed.stored.get(entity_id)
        if state == stored:
            return
        if stored is not None and _is_linked_elsewhere(stored, observed):
            left = left_behind(stored, observed.now, observed.beteiligte_id)
            await run.store.save(left)
        synced = replace(state, synced_at=observed.now)
        await run.store.save(synced)


def _base_with_sent(
    known: SyncState,
    fields: FieldPlan,
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """What is known of a pair, with what is about to be written, and what was ``found`` not to be stored as sent."""
    altered = {**altered_in(known.base), **found}
    sent = sending(fields.to_espocrm, fields.to_advoware, altered)
    if not sent:
        return dict(known.base)
    held = {name: pair_from_json(item) for name, item in found.items()}
    settled = base_to_json(without(held, fields.plan.to_espocrm))
    return {**known.base, **settled, SENDING: sent}


def _advoware_side(action: Settle) -> list[Mapping[str, Any]]:
    return [change for change in changes_of(action) if change.get("side") == "advoware"]


def _changes_espocrm(action: Settle) -> bool:
    """Whether the CAdressen has to be written for an action that has changed nothing in Advoware."""
    row = action.row
    adresse = action.adresse
    if action.espocrm or row.get("syncStatus") != action.shown_status:
        return True
    return adresse is not None and row.get("advowareId") != adresse["id"]


def _requests_nothing(action: Action) -> bool:
    """Whether an action is done without any request."""
    if not isinstance(action, Settle):
        return isinstance(action, RememberDeleted)
    is_put = action.fields is not None and bool(action.fields.to_advoware)
    return not is_put and not _changes_espocrm(action)


def _overwritten_lines(
    action: Settle,
    changes: Iterable[Mapping[str, Any]],
    fields: FieldPlan,
    adresse: Record,
) -> list[Mapping[str, Any]]:
    """What else a PUT overwrites: values that were never compared, and a printed block."""
    lines = [change for change in changes if _was_never_agreed(change, fields)]
    names = put_names(fields)
    old = observed_block(adresse, action.state)
    if not old or BLOCK not in names:
        return lines
    body = put_body(fields, adresse, names)
    new = str(body.get(BLOCK))
    if old != new:
        lines.append(block_line(action.row, old, new))
    return lines


def _was_never_agreed(change: Mapping[str, Any], fields: FieldPlan) -> bool:
    """Whether a value of Advoware gives way at the first sync, before the two sides were ever compared."""
    if change["side"] != "advoware" or not change.get("old"):
        return False
    return change["field"] not in fields.base


def _is_linked_elsewhere(state: SyncState, observed: Observation) -> bool:
    """Whether a state links a CAdressen with another Beteiligter."""
    link = state.advoware_id
    return link is not None and not link.startswith(f"{observed.betnr}/")


@dataclass(frozen=True)
class _NewRow:
    """The attributes of a new CAdressen.

    ``optional`` can be left out one by one if EspoCRM refuses them, ``owner`` as a whole, ``fixed`` not at all.
    """

    optional: Record
    fixed: Record
    owner: Record

    @property
    def all(self) -> Record:
        return {**self.optional, **self.fixed, **self.owner}


def _first_answers(
    refusal: ForeignSystemError | None,
) -> list[ForeignSystemError]:
    """The answers that are known before the first request is made."""
    if refusal is None:
        return []
    return [refusal]


def _note_collected(ending: _Ending) -> None:
    """What counts before a collected write is sent: its problems, whose Tasks go with it, and what Advoware has got."""
    run = ending.run
    run.report.notify(problems_of(run.observed, ending.action))
    if ending.was_put:
        ending.note_written()


def _row_of(action: Action) -> Record | None:
    """The CAdressen whose status shows that an action has failed."""
    if isinstance(action, CreateAdresse | Settle | Ignore):
        return action.row
    if isinstance(action, Broken) and "syncStatus" in action.record:
        return action.record
    return None


def _is_unsettled(action: Action, observed: Observation) -> bool:
    row = _row_of(action)
    return row is not None and row["id"] in observed.unsettled


_WRITABLE = frozenset({"strasse", "plz", "ort", BLOCK})


def _says_other(
    row: Mapping[str, Any],
    before: Mapping[str, Any],
    but: Collection[str] = (),
) -> bool:
    """Whether users say something else about a CAdressen, in what both records show, ``but`` some attributes."""
    common = (row.keys() & before.keys()) - set(but)
    statement_before = _statement(only(before, common))
    return _statement(only(row, common)) != statement_before


def _statement(row: Record) -> tuple[Any, ...]:
    """What users say with a CAdressen: its values, whether it is the main one, whether it is in use."""
    values = _mapper.comparable_from_espocrm(row)
    return values, bool(row.get("istStandard")), is_active(row)


def _unfit_for_espocrm(adresse: Record) -> dict[str, tuple[str, str]]:
    """The fields of an Adresse that a new CAdressen cannot hold, with the reason."""
    reasons = {"unknown": "unknown_advoware", "too_long": "too_long_espocrm"}
    values = _mapper.comparable_from_advoware(adresse)
    unfit = {}
    for name, value in values.items():
        reason = _mapper.unfit("espocrm", name, value, values)
        if reason is not None:
            unfit[name] = (reasons[reason], "")
    return unfit


def _comparable(left_out: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Attributes that EspoCRM has refused, as the comparable fields that they hold."""
    refused = {}
    for attribute in left_out:
        for name in ESPOCRM_FIELDS.get(attribute, ()):
            refused[name] = ("value_refused_espocrm", "")
    return refused


#: Why an address failed, for people; the first one that fits.
_CAUSES: tuple[tuple[type[ForeignSystemError], str], ...] = (
    (UnexpectedAnswer, "{system} hat unverständlich geantwortet"),
    (Unavailable, "{system} ist zurzeit nicht erreichbar"),
    (ValidationFailed, "{system} lehnt sie ab"),
    (Forbidden, "{system} erlaubt dem Programm die Änderung nicht"),
    (NotFound, "in {system} nicht gefunden"),
    (ForeignSystemError, "{system} meldet einen Fehler"),
)


def _cause(error: Exception) -> str:
    """Why an address failed, for people."""
    if not isinstance(error, ForeignSystemError):
        return "Fehler im Programm"
    text = next(text for kind, text in _CAUSES if isinstance(error, kind))
    cause = text.format(system=error.system)
    # What Advoware says is German.
    is_worded = isinstance(error, ValidationFailed) and error.system == ADVOWARE
    if is_worded and error.reason:
        return f"{cause} („{error.reason}“)"
    return cause


def _sync_fields(observed: Observation, adresse: Mapping[str, Any] | None) -> Record:
    synced = {"advowareLastSync": format_date_time(observed.now)}
    if adresse is None:
        return synced
    row_id = adresse.get("rowId")
    return {"advowareId": adresse["id"], "advowareRowId": row_id, **synced}


def _link_of(observed: Observation, row: Record) -> str:
    state = observed.state_of(row["id"])
    if state is not None:
        return str(state.advoware_id)
    return observed.link_of({"id": row.get("advowareId")})


def _not_among(
    observed: Observation,
    rows: Iterable[Record],
    adressen: Iterable[Record],
) -> set[str]:
    """The ids of the CAdressen whose Adresse is not among these."""
    present = {observed.link_of(adresse) for adresse in adressen}
    return {row["id"] for row in rows if _link_of(observed, row) not in present}


def _label_of(row: Mapping[str, Any]) -> str:
    label = _mapper.label(_mapper.comparable_from_espocrm(row))
    return label or str(row.get("bezeichnung") or "")


def _name_of(action: Action) -> tuple[str, str]:
    """The record of an action as the log names it, and as people know it."""
    match action:
        case CreateCAdressen():
            return f"Adresse {action.adresse['id']}", _mapper.label_of(action.adresse)
        case RememberDeleted():
            return f"{ENTITY_TYPE}/{action.entity_id}", ""
        case Broken():
            return f"{ENTITY_TYPE}/{action.record.get('id')}", ""
        case _:
            return f"{ENTITY_TYPE}/{action.row['id']}", _label_of(action.row)
