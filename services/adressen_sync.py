"""Sync of the Adressen of one Beteiligter: EspoCRM's CAdressen and Advoware's Adressen.

Advoware never deletes an Adresse for us and changes only its street, place and printed block. The rest of what people
want is told to them as a task (`Problem`). A failing address never stops the others.

Crashes: what we create in Advoware carries the EspoCRM id in ``bemerkung``, what we create in EspoCRM carries the
``advowareId``; both are found again by the next run. A base is stored only after both sides have been written.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
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
from services.advoware_service import AdvowareService, require_request_over
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
from services.values.espocrm_query import RecordWrite, equals, format_date_time
from services.vmh_sync.adressen.fields import (
    FieldPlan,
    observed_block,
    put_body,
    put_names,
)
from services.vmh_sync.adressen.match import (
    ENTITY_TYPE,
    Match,
    Observation,
    Whereabouts,
    left_behind,
    match_addresses,
    shown_values,
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
from services.vmh_sync.espocrm_writes import Collected, EspoWrites
from services.vmh_sync.problem_texts.adressen import DELETE_KINDS, SETTLED, STATE_KINDS
from services.vmh_sync.result import Direction, PartResult, Problem
from services.vmh_sync.store import AuditEntry, SyncState, SyncStore

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
        """Tell what was not told yet: what was planned, and what was found out while writing."""
        known = {problem.key for problem in self.problems}
        self.problems += [problem for problem in problems if problem.key not in known]
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
        self._writes = writes
        self._notifications = notifications or NotificationManager(
            self._espocrm, context, resources=self._resources, writes=writes
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
        if listing.unreadable:
            report.errors.append(
                failure_sentence("address_unreadable", value=str(listing.unreadable))
            )
            log(
                self._context,
                "error",
                "adressen.unreadable",
                betnr=str(advo["betNr"]),
                entries=listing.unreadable,
            )
        known = await self.list_rows(espo["id"]) if rows is None else rows
        observed = await self._observe(espo, advo, listing, known, store, direction)
        found = match_addresses(observed)
        whereabouts = await self._look_for(observed, found, report)
        found = with_whereabouts(observed, found, whereabouts)
        confirmed = {
            entity_id for entity_id, place in whereabouts.items() if place != "here"
        }
        confirmed |= await self._confirm_missing(observed, found, report)
        report.is_fresh = not (whereabouts or unconfirmed(observed, found))
        elsewhere = {
            entity_id
            for entity_id, place in whereabouts.items()
            if place == "elsewhere"
        }
        await self._apply_all(
            observed, make_plan(observed, found, confirmed, elsewhere), store, report
        )
        if direction == "both" and not report.errors and not report.waits:
            await self._end_problems(espo["id"], [row["id"] for row in known], report)
        return report.result()

    async def _end_problems(
        self, beteiligte_id: str, ids: list[str], report: _Report
    ) -> None:
        """Withdraw the tasks of what does not stand any more; each run finds all that stands.

        What is to be deleted in Advoware is told at the CBeteiligte, because the CAdressen is gone.
        """
        standing = [problem.key for problem in report.problems]
        await self._notifications.settle(
            "CBeteiligte", [beteiligte_id], DELETE_KINDS, standing, SETTLED
        )
        await self._notifications.settle(
            ENTITY_TYPE, ids, STATE_KINDS, standing, SETTLED
        )

    async def _apply_all(
        self,
        observed: Observation,
        plan: list[Action],
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Apply the actions one after the other; one that fails is recorded and does not stop the others."""
        unavailable = 0
        for action in plan:
            try:
                await self._apply(observed, action, store, report)
                unavailable = 0
            except NotBefore as error:
                report.waits.append(error.moment)
            except Exception as error:
                if is_no_records_fault(error):
                    raise
                await self._show_failure(action, error, report)
                unavailable = unavailable + 1 if isinstance(error, Unavailable) else 0
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
            ENTITY_TYPE, [equals("beteiligteId", beteiligte_id)], SELECT
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
    ) -> Observation:
        marks = {
            espocrm_id_of(adresse.get("bemerkung")) for adresse in listing.adressen
        } - {None}
        ids = {row["id"] for row in known} | {
            mark for mark in marks if mark is not None
        }
        states = await store.load_parts(ENTITY_TYPE, str(advo["betNr"]), sorted(ids))
        states = await store.all_opened(states, *shown_values(known, listing.adressen))
        owner = {name: espo[name] for name in OWNER if espo.get(name)}
        return Observation(
            espo["id"],
            advo,
            owner,
            known,
            listing.adressen,
            states,
            direction,
            self._now(),
        )

    async def _look_for(
        self, observed: Observation, found: Match, report: _Report
    ) -> dict[str, Whereabouts]:
        """Where the CAdressen are that EspoCRM's list lacks: it is not believed that something is gone at once."""
        wanted = unconfirmed(observed, found) & found.vanished.keys() | {
            mark for mark, _ in found.foreign
        }
        places: dict[str, Whereabouts] = {}
        for entity_id in sorted(wanted):
            try:
                places[entity_id] = await self._whereabouts(
                    entity_id, observed.beteiligte_id
                )
            except ConfigurationError:
                raise
            except BitByLawError as error:
                self._record_failure(f"{ENTITY_TYPE}/{entity_id}", "", error, report)
        return places

    async def _whereabouts(self, entity_id: str, beteiligte_id: str) -> Whereabouts:
        try:
            owner = (await self._espocrm.get_entity(ENTITY_TYPE, entity_id)).get(
                "beteiligteId"
            )
        except NotFound:
            return "gone"
        if owner == beteiligte_id:
            return "here"
        return "elsewhere" if owner else "gone"

    async def _confirm_missing(
        self, observed: Observation, found: Match, report: _Report
    ) -> set[str]:
        """Those whose Adresse a second read of Advoware does not show either."""
        missing = [
            row for row in found.missing if row["id"] in unconfirmed(observed, found)
        ]
        if not missing:
            return set()
        try:
            again = adressen_of(await self._advoware.get_beteiligter(observed.betnr))
        except ConfigurationError:
            raise
        except BitByLawError as error:
            for row in missing:
                self._record_failure(
                    f"{ENTITY_TYPE}/{row['id']}", _label_of(row), error, report
                )
            return set()
        if again is None or again.unreadable:
            return set()
        present = {observed.link_of(adresse) for adresse in again.adressen}
        return {row["id"] for row in missing if _link_of(observed, row) not in present}

    # -- apply ----------------------------------------------------------------------------------------------------

    async def _apply(
        self, observed: Observation, action: Action, store: SyncStore, report: _Report
    ) -> None:
        match action:
            case CreateAdresse():
                await self._create_in_advoware(observed, action, store, report)
            case CreateCAdressen():
                await self._create_in_espocrm(observed, action, store, report)
            case Settle():
                await self._settle(observed, action, store, report)
            case Ignore():
                if action.row.get("syncStatus") in {"pending_sync", "dirty", "failed"}:
                    failed = partial(self._show_failure, action, report=report)
                    await self._set_status(action.row["id"], "clean", failed)
            case RememberDeleted():
                for state in action.states:
                    if state != observed.states.get(state.entity_id):
                        await store.save(state)
                report.notify(action.problems)
            case Broken():
                raise action.error

    async def _create_in_advoware(
        self,
        observed: Observation,
        action: CreateAdresse,
        store: SyncStore,
        report: _Report,
    ) -> None:
        """Create the Adresse, or find it by its mark if an earlier request arrived after we had given it up."""
        row = action.row
        posted = {
            name: value
            for name, value in _mapper.comparable_from_espocrm(row).items()
            if name in action.names
        }
        left_out = {name: (reason, "") for name, reason in action.left_out.items()}
        adresse = await self._find_created(observed, row, posted, store)
        if adresse is None:
            adresse, refused = await self._post(observed, action, store, report)
            left_out |= {
                name: ("value_refused", words) for name, words in refused.items()
            }
        created = link_created(observed, row, adresse, left_out, side="advoware")
        await self._finish(
            observed, created, store, report, was_put=True, is_created=True
        )

    async def _find_created(
        self,
        observed: Observation,
        row: Record,
        posted: Mapping[str, Any],
        store: SyncStore,
    ) -> Record | None:
        """Begin the create; the Adresse that an earlier attempt has left."""
        intent = await store.begin_create(ENTITY_TYPE, row["id"], posted, self._now())
        if not intent.is_repeated:
            return None
        require_request_over(self._resources, intent.attempted_at)
        again = await self._read_adressen(observed)
        found = next(
            (item for item in again if observed.marked_row(item) == row["id"]), None
        )
        if found is None:
            await store.repeat_create(ENTITY_TYPE, row["id"], posted, self._now())
        return found

    async def _post(
        self,
        observed: Observation,
        action: CreateAdresse,
        store: SyncStore,
        report: _Report,
    ) -> tuple[Record, dict[str, str]]:
        """Create the Adresse; returns it as Advoware has stored it, and the fields that had to be left out."""

        async def write(names: Sequence[str]) -> Record:
            body = _mapper.map_cadressen_to_advoware(
                action.row, observed.beteiligter, is_main=action.is_main, names=names
            )
            return await self._advoware.create_adresse(observed.betnr, body)

        try:
            answer, left_out = await create_fitting(write, action.names)
        except ForeignSystemError as error:
            if error.changed_nothing:
                await store.end_create(ENTITY_TYPE, action.row["id"])
            raise
        report.wrote_advoware = True
        answer = canonical_adresse(answer)
        return await self._complete(observed, answer["id"], answer), left_out

    async def _settle(
        self, observed: Observation, action: Settle, store: SyncStore, report: _Report
    ) -> None:
        """Write what differs; what a person edits on either side meanwhile is left to the next round."""
        was_put = False
        fields, adresse = action.fields, action.adresse
        if fields is not None and fields.to_advoware and adresse is not None:
            is_conflict = await self._keep_what_will_be_lost(
                observed, action, fields, adresse, store
            )
            takes_time = is_conflict or not report.is_fresh
            if takes_time and not await self._is_as_observed(observed, action):
                report.was_edited = True
                return
            action = await self._put(observed, action, fields, adresse, report)
            was_put = True
        await self._finish(observed, action, store, report, was_put=was_put)

    async def _put(
        self,
        observed: Observation,
        action: Settle,
        fields: FieldPlan,
        adresse: Record,
        report: _Report,
    ) -> Settle:
        """Change the Adresse; what Advoware refuses is left out, and what it stores differently is settled so."""
        names, answers = put_names(fields), list[Record | None]()

        async def write(included: Sequence[str]) -> list[Record | None]:
            body = put_body(fields, adresse, included)
            answers.append(
                await self._advoware.update_adresse(observed.betnr, adresse["id"], body)
            )
            return answers

        idle = frozenset[str]() if names == [BLOCK] else frozenset({BLOCK})
        try:
            _, left_out = await update_fitting(write, names, idle=idle)
            stored = (
                await self._complete(observed, adresse["id"], answers[-1])
                if answers
                else adresse
            )
        except BitByLawError:
            report.wrote_advoware |= bool(answers)
            raise
        report.wrote_advoware |= any(
            stored.get(name) != adresse.get(name) for name in _WRITABLE
        )
        return settle_put(observed, action, stored, left_out)

    async def _is_as_observed(self, observed: Observation, action: Settle) -> bool:
        """Whether Advoware still has the Adresse as it was read: a PUT reverts what was entered since.

        Telling people about a conflict takes time, and so does the Adresse before this one.
        """
        return any(
            adresse == action.adresse for adresse in await self._read_adressen(observed)
        )

    async def _complete(
        self, observed: Observation, adresse_id: int, answer: Mapping[str, Any] | None
    ) -> Record:
        """An Adresse as Advoware has it after a write: the answer, or a new read if that does not say."""
        known = canonical_adresse(answer or {})
        if known.keys() >= _WRITABLE:
            return {**known, "id": adresse_id}
        found = next(
            (
                adresse
                for adresse in await self._read_adressen(observed)
                if adresse["id"] == adresse_id
            ),
            None,
        )
        if found is None:
            raise NotFound("Advoware", "the Adresse is gone after it was written")
        return found

    async def _read_adressen(self, observed: Observation) -> list[Record]:
        """The Adressen as they are now.

        Raises:
            UnexpectedAnswer: the answer does not contain their list.
        """
        again = adressen_of(await self._advoware.get_beteiligter(observed.betnr))
        if again is None:
            raise UnexpectedAnswer(
                "Advoware", "the answer contains no list of Adressen"
            )
        return again.adressen

    async def _create_in_espocrm(
        self,
        observed: Observation,
        action: CreateCAdressen,
        store: SyncStore,
        report: _Report,
    ) -> None:
        adresse = action.adresse
        fixed = {
            "beteiligteId": observed.beteiligte_id,
            "syncStatus": "clean",
            **_sync_fields(observed, adresse),
        }
        owner = {
            name: action.attributes[name] for name in OWNER if name in action.attributes
        }
        fixed |= {name: action.attributes[name] for name in ("istStandard", "isActive")}
        names = [
            name
            for name in action.attributes
            if name not in fixed and name not in owner
        ]

        everything = {
            **{name: action.attributes[name] for name in names},
            **fixed,
            **owner,
        }

        async def created(row: Record, left_out: Mapping[str, str]) -> None:
            reasons = {**_unfit_for_espocrm(adresse), **_comparable(left_out)}
            done = link_created(
                observed, {**fixed, **row}, adresse, reasons, side="espocrm"
            )
            await self._finish(observed, replace(done, attributes={}), store, report)

        async def then(records: list[Record]) -> None:
            await created(records[0], {})

        async def alone(refusal: ForeignSystemError | None) -> None:
            await created(
                *await self._create_fitting(
                    observed, action, names, fixed, owner, refusal
                )
            )

        creation = RecordWrite(
            ENTITY_TYPE, None, everything, skips_duplicate_check=True
        )
        await self._write(
            creation, then, alone, partial(self._show_failure, action, report=report)
        )

    async def _create_fitting(
        self,
        observed: Observation,
        action: CreateCAdressen,
        names: list[str],
        fixed: Record,
        owner: Record,
        refusal: ForeignSystemError | None,
    ) -> tuple[Record, LeftOut]:
        """Create the CAdressen with what EspoCRM takes of it; ``refusal`` is what it said to the whole."""
        refusals = [] if refusal is None else [refusal]

        async def write(included: Sequence[str]) -> Record:
            if refusals:
                raise refusals.pop()
            chosen = {name: action.attributes[name] for name in included}
            return await self._espocrm.create_entity(
                ENTITY_TYPE, {**chosen, **fixed, **owner}, skip_duplicate_check=True
            )

        try:
            return await create_fitting(write, names)
        except (Forbidden, ValidationFailed):
            if not owner:
                raise
            # EspoCRM may not let us assign records to him: the address is worth more than its assignee.
            log(
                self._context, "warning", "adressen.owner_refused", betnr=observed.betnr
            )
            owner = {}
            return await create_fitting(write, names)

    async def _finish(
        self,
        observed: Observation,
        action: Settle,
        store: SyncStore,
        report: _Report,
        *,
        was_put: bool = False,
        is_created: bool = False,
    ) -> None:
        """Write EspoCRM, then remember; only then problems and changes count, but for those in Advoware.

        Where the write is collected, problems count before: their Tasks go with it.
        """
        if not was_put and not _changes_espocrm(action):
            await self._finish_written(observed, action, store, report)
            return
        row, fixed = (
            action.row,
            {
                **_sync_fields(observed, action.adresse),
                "syncStatus": action.shown_status,
            },
        )
        relies_on_version = (
            bool(action.espocrm)
            and self._writes is not None
            and row.get("versionNumber") is not None
        )

        async def finish(written: Record, left_out: Mapping[str, str]) -> None:
            done = settle_update(
                observed, action, written, dict.fromkeys(_comparable(left_out), "")
            )
            await self._show_status(
                row, {**row, **action.espocrm}, written, done, report
            )
            await self._finish_written(observed, done, store, report)
            if is_created:
                await store.end_create(ENTITY_TYPE, row["id"])

        async def then(records: list[Record]) -> None:
            await finish(records[0], {})

        async def alone(refusal: ForeignSystemError | None) -> None:
            try:
                if action.espocrm and not is_created and await self._was_edited(row):
                    report.was_edited = True
                    report.note(_advoware_side(action))
                    return
                await finish(*await self._update_fitting(action, fixed, refusal))
            except Exception:
                report.note(_advoware_side(action) if was_put else [])
                raise

        version = row["versionNumber"] if relies_on_version else None
        update = RecordWrite(
            ENTITY_TYPE, row["id"], {**action.espocrm, **fixed}, version
        )
        if self._writes is not None and await self._writes.collects(ENTITY_TYPE):
            if (
                action.espocrm
                and not is_created
                and version is None
                and await self._was_edited(row)
            ):
                report.was_edited = True
                report.note(_advoware_side(action))
                return
            report.notify(problems_of(observed, action))
            report.note(_advoware_side(action) if was_put else [])
        await self._write(
            update, then, alone, partial(self._show_failure, action, report=report)
        )

    async def _finish_written(
        self, observed: Observation, action: Settle, store: SyncStore, report: _Report
    ) -> None:
        await self._remember(observed, action.state, store)
        report.notify(problems_of(observed, action))
        report.note(changes_of(action))

    async def _update_fitting(
        self, action: Settle, fixed: Record, refusal: ForeignSystemError | None
    ) -> tuple[Record, LeftOut]:
        """Write the CAdressen without what EspoCRM refuses of it; ``refusal`` is what it said to the whole."""
        refusals = [] if refusal is None or isinstance(refusal, Conflict) else [refusal]

        async def write(included: Sequence[str]) -> Record:
            if refusals:
                raise refusals.pop()
            chosen = {name: action.espocrm[name] for name in included}
            return await self._espocrm.update_entity(
                ENTITY_TYPE, action.row["id"], {**chosen, **fixed}
            )

        return await update_fitting(write, list(action.espocrm))

    async def _write(
        self,
        write: RecordWrite,
        then: Callable[[list[Record]], Awaitable[None]],
        alone: Callable[[ForeignSystemError | None], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        """Collect a write; without anything to collect it, do it at once."""
        if self._writes is None:
            await alone(None)
        else:
            await self._writes.add(Collected([write], then, alone, failed))

    async def _set_status(
        self,
        entity_id: str,
        status: str,
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        async def then(_records: list[Record]) -> None:
            return

        async def alone(_refusal: ForeignSystemError | None) -> None:
            await self._espocrm.update_entity(
                ENTITY_TYPE, entity_id, {"syncStatus": status}
            )

        await self._write(
            RecordWrite(ENTITY_TYPE, entity_id, {"syncStatus": status}),
            then,
            alone,
            failed,
        )

    async def _show_status(
        self,
        row: Record,
        expected: Record,
        written: Record,
        action: Settle,
        report: _Report,
    ) -> None:
        """Correct the status if the answer to our write shows more than we knew: an edit, or what it did not take."""
        sent = {name for name in ESPOCRM_FIELDS if name in action.espocrm}
        if _says_other(written, expected, but=sent) and await self._was_edited(
            expected, but=sent
        ):
            report.was_edited = True
            await self._espocrm.update_entity(
                ENTITY_TYPE, row["id"], {"syncStatus": "dirty"}
            )
        elif written.get("syncStatus", action.shown_status) != action.shown_status:
            await self._espocrm.update_entity(
                ENTITY_TYPE, row["id"], {"syncStatus": action.shown_status}
            )

    async def _was_edited(self, row: Record, but: Collection[str] = ()) -> bool:
        """Whether the CAdressen says something else now than when it was listed, ``but`` some attributes.

        The answer to a write may show a value otherwise than a read does, and is no evidence of an edit.
        """
        return _says_other(
            await self._espocrm.get_entity(ENTITY_TYPE, row["id"]), row, but
        )

    async def _keep_what_will_be_lost(
        self,
        observed: Observation,
        action: Settle,
        fields: FieldPlan,
        adresse: Record,
        store: SyncStore,
    ) -> bool:
        """Put what is overwritten into the audit before that happens, and tell the values that give way to a person.

        Returns whether there are such values.
        """
        lost = [change for change in changes_of(action) if change.get("conflict")]
        lines = [
            *lost,
            *(
                change
                for change in changes_of(action)
                if _was_never_agreed(change, fields)
            ),
        ]
        old, new = (
            observed_block(adresse, action.state),
            str(put_body(fields, adresse, put_names(fields)).get(BLOCK)),
        )
        if old and BLOCK in put_names(fields) and old != new:
            lines.append(block_line(action.row, old, new))
        if lines:
            result = "conflict_found" if lost else "overwritten"
            entry = AuditEntry(
                ENTITY_TYPE,
                action.row["id"],
                TOPIC,
                "sync",
                result,
                0.0,
                observed.betnr,
                lines,
            )
            await store.append_audit(entry, observed.now)
        for problem in action.lost:
            await self._notifications.notify(problem)
        return bool(lost)

    async def _show_failure(
        self, action: Action, error: Exception, report: _Report
    ) -> None:
        """Collect the failure; what a system refused also shows in the record's status."""
        name, label = _name_of(action)
        self._record_failure(name, label, error, report)
        row = (
            action.row if isinstance(action, CreateAdresse | Settle | Ignore) else None
        )
        if isinstance(action, Broken) and "syncStatus" in action.record:
            row = action.record
        if (
            isinstance(error, Unavailable)
            or row is None
            or row.get("syncStatus") == "failed"
        ):
            return

        async def failed(further: Exception) -> None:
            is_understood = isinstance(further, BitByLawError)
            if not is_understood or isinstance(further, ConfigurationError):
                raise further
            log(
                self._context,
                "warning",
                "adressen.status_not_written",
                record=name,
                error=type(further).__name__,
            )

        try:
            await self._set_status(row["id"], "failed", failed)
        except BitByLawError as further:
            await failed(further)

    def _record_failure(
        self, name: str, label: str, error: Exception, report: _Report
    ) -> None:
        report.errors.append(
            failure_sentence("address_failed", adresse=label, value=_cause(error))
        )
        place = (
            ""
            if isinstance(error, BitByLawError)
            else "".join(traceback.format_tb(error.__traceback__)[-3:])
        )
        log(
            self._context,
            "error",
            "adressen.failed",
            record=name,
            error=type(error).__name__,
            place=place,
        )

    async def _remember(
        self, observed: Observation, state: SyncState, store: SyncStore
    ) -> None:
        known = observed.states.get(state.entity_id)
        if state == known:
            return
        if (
            known is not None
            and known.advoware_id is not None
            and not known.advoware_id.startswith(f"{observed.betnr}/")
        ):
            await store.save(left_behind(known, observed.now))
        await store.save(replace(state, synced_at=observed.now))

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)


def _advoware_side(action: Settle) -> list[Mapping[str, Any]]:
    return [change for change in changes_of(action) if change.get("side") == "advoware"]


def _changes_espocrm(action: Settle) -> bool:
    """Whether the CAdressen has to be written for an action that has changed nothing in Advoware."""
    row, adresse = action.row, action.adresse
    is_new_link = adresse is not None and row.get("advowareId") != adresse["id"]
    return (
        bool(action.espocrm)
        or row.get("syncStatus") != action.shown_status
        or is_new_link
    )


def _requests_nothing(action: Action) -> bool:
    """Whether an action is done without any request."""
    if not isinstance(action, Settle):
        return isinstance(action, RememberDeleted)
    is_put = action.fields is not None and bool(action.fields.to_advoware)
    return not is_put and not _changes_espocrm(action)


def _was_never_agreed(change: Mapping[str, Any], fields: FieldPlan) -> bool:
    """Whether a value of Advoware gives way at the first sync, before anybody has compared the two sides."""
    return (
        change["side"] == "advoware"
        and bool(change.get("old"))
        and change["field"] not in fields.base
    )


_WRITABLE = frozenset({"strasse", "plz", "ort", BLOCK})


def _says_other(
    row: Mapping[str, Any], before: Mapping[str, Any], but: Collection[str] = ()
) -> bool:
    """Whether people have said something else about a CAdressen, in what both records show, ``but`` some attributes."""
    common = row.keys() & before.keys() - set(but)
    said, known = ({name: record[name] for name in common} for record in (row, before))
    if _mapper.comparable_from_espocrm(said) != _mapper.comparable_from_espocrm(known):
        return True
    is_other_main = bool(said.get("istStandard")) != bool(known.get("istStandard"))
    return is_other_main or (said.get("isActive") is False) != (
        known.get("isActive") is False
    )


def _unfit_for_espocrm(adresse: Record) -> dict[str, tuple[str, str]]:
    """The fields of an Adresse that a new CAdressen cannot hold, with the reason."""
    values = _mapper.comparable_from_advoware(adresse)
    unfit = {
        name: _mapper.unfit("espocrm", name, value, values)
        for name, value in values.items()
    }
    reasons = {"unknown": "unknown_advoware", "too_long": "too_long_espocrm"}
    return {
        name: (reasons[reason], "")
        for name, reason in unfit.items()
        if reason is not None
    }


def _comparable(left_out: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Attributes that EspoCRM has refused, as the comparable fields that they hold."""
    fields = [field for name in left_out for field in ESPOCRM_FIELDS.get(name, ())]
    return dict.fromkeys(fields, ("value_refused_espocrm", ""))


def _cause(error: Exception) -> str:
    """Why an address failed, for people."""
    if not isinstance(error, ForeignSystemError):
        return "Fehler im Programm"
    if isinstance(error, UnexpectedAnswer):
        return f"{error.system} hat unverständlich geantwortet"
    if isinstance(error, Unavailable):
        return f"{error.system} ist zurzeit nicht erreichbar"
    if isinstance(error, ValidationFailed):
        return f"{error.system} lehnt sie ab" + (
            f" („{error.reason}“)"
            if error.system == "Advoware" and error.reason
            else ""
        )
    if isinstance(error, Forbidden):
        return f"{error.system} erlaubt dem Programm die Änderung nicht"
    return (
        f"in {error.system} nicht gefunden"
        if isinstance(error, NotFound)
        else f"{error.system} meldet einen Fehler"
    )


def _sync_fields(observed: Observation, adresse: Mapping[str, Any] | None) -> Record:
    linked = (
        {"advowareId": adresse["id"], "advowareRowId": adresse.get("rowId")}
        if adresse is not None
        else {}
    )
    return {**linked, "advowareLastSync": format_date_time(observed.now)}


def _link_of(observed: Observation, row: Record) -> str:
    state = observed.state_of(row["id"])
    return (
        str(state.advoware_id)
        if state is not None
        else observed.link_of({"id": row.get("advowareId")})
    )


def _label_of(row: Mapping[str, Any]) -> str:
    return _mapper.label(_mapper.comparable_from_espocrm(row)) or str(
        row.get("bezeichnung") or ""
    )


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
