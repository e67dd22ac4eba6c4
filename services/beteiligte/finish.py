"""The end of a Beteiligter's sync: notify people, write EspoCRM once, read it back, remember what both sides hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.core.errors import Conflict, ValidationFailed, words_of
from services.core.foreign_text import shortened
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.espocrm_mapper import (
    BeteiligteMapper,
    shown_by_advoware,
    shown_by_espocrm,
    shows_all_of_both_kinds,
)
from services.kommunikation_sync_utils import (
    KommunikationResult,
    KommunikationSyncManager,
)
from services.notification_utils import NotificationManager
from services.values import advoware_protocol, espocrm_query
from services.values.espocrm_query import RecordWrite
from services.values.kind import kind_of_espocrm
from services.values.merge import (
    Merge,
    Pair,
    base_to_json,
    compare_after_write,
    is_same,
    only,
    version_member,
)
from services.vmh_sync.beteiligte import status as beteiligte_status
from services.vmh_sync.beteiligte.master_data import named_field
from services.vmh_sync.beteiligte.plan import (
    CONTACT_ARRAYS,
    ENTITY_TYPE,
    OWN_KINDS,
    SETTLED,
    Observation,
    Parts,
    Standing,
    contact_entries,
    espocrm_after,
    fields_of_other_kind,
    kept_standing,
    kind_problems,
    replaced_problems,
    shown_pair,
    standing_from_json,
    standing_lines,
    standing_of_pairs,
    standing_problems,
    standing_sentences,
    without_fields,
)
from services.vmh_sync.espocrm_writes import EspoWrites
from services.vmh_sync.problem_texts import kommunikation
from services.vmh_sync.result import Details, Direction, Problem
from services.vmh_sync.store import SyncState, SyncStore

Record = dict[str, Any]


@dataclass
class Ending:
    """How one sync ends: what is written, what stands for a person, and what is found out while writing.

    Attributes:
        advo: the Beteiligter as it is after our writes.
        plan: what was really brought over.
        standing: what waits for a person or was notified once.
        attributes: the business attributes for EspoCRM; those it refuses go.
        written: EspoCRM's answer to the final PUT; None if there was nothing to write.
        changes: further lines for the audit.
        version: of EspoCRM's record after our last write, where EspoCRM counts versions.
        shown: what the record was last made to show: the message, and whether something failed.
    """

    observed: Observation
    advo: Record
    plan: Merge
    standing: dict[str, Standing]
    attributes: Record
    parts: Parts
    written: Mapping[str, Any] | None = None
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    version: int | None = None
    was_edited: bool = False
    shows_other_fields: bool = False
    shown: tuple[str | None, int] = (None, 0)

    @property
    def direction(self) -> Direction:
        """Whether the parts were synced both ways; after a conflict only towards Advoware."""
        if self.plan.conflicts:
            return "to_advoware"
        return "both"

    @property
    def status(self) -> str:
        """The status that the record shows if nothing fails."""
        for item in self.standing.values():
            if not item.is_notified_once_only:
                return "conflict"
        if self.parts.standing:
            return "conflict"
        return "clean"

    @property
    def message(self) -> str | None:
        """What the record shows about that which waits for a person."""
        betnr = self.observed.advo.get("betNr")
        standing = self.standing.values()
        sentences = standing_sentences(standing, self.observed.espo, betnr)
        text = " ".join([*sentences, *self.parts.standing])
        return shortened(text, beteiligte_status.ERROR_MESSAGE_LENGTH) or None

    @property
    def business_attributes(self) -> set[str]:
        """The names of what is written besides the link."""
        return self.attributes.keys() - {"betnr"}

    @property
    def writes_values(self) -> bool:
        """Whether something is written that users edit."""
        if self.business_attributes:
            return True
        return not self.parts.espocrm.keys().isdisjoint(CONTACT_ARRAYS)

    @property
    def wants_write(self) -> bool:
        """Whether the record has to be written although it may show everything already."""
        parts = self.parts
        return bool(
            self.attributes
            or self.plan.to_advoware
            or parts.wrote
            or parts.errors
            or parts.not_before,
        )


class BeteiligteFinisher:
    """Ends the sync of a CBeteiligte; see `finish`."""

    def __init__(
        self,
        espocrm: EspoCRMAPI,
        kommunikation: KommunikationSyncManager,
        notifications: NotificationManager,
        writes: EspoWrites,
        resources: Resources,
    ) -> None:
        self._espocrm = espocrm
        self._writes = writes
        self._kommunikation = kommunikation
        self._notifications = notifications
        self._resources = resources
        self._mapper = BeteiligteMapper()

    async def finish(
        self,
        observed: Observation,
        plan: Merge,
        advo: Record,
        new: Mapping[str, Standing],
        parts: Parts,
        store: SyncStore,
    ) -> Ending:
        """Notify of what is new, write what has changed in one PUT with the status, and remember.

        ``new`` are the edits that were found not to arrive. The record is not written if it shows everything already.
        What was collected (`services.vmh_sync.espocrm_writes`) is written with it, also the end of Tasks: what is over
        is known by then, and what is found out while writing is notified of again.

        Raises:
            Conflict: what the PUT would overwrite was edited since it was read; the sync has to start again.
            ForeignSystemError: EspoCRM does not take the PUT, whatever is left out of it.
        """
        standing = {**kept_standing(observed, plan), **new}
        attributes = self._attributes(observed, plan)
        ending = Ending(
            observed,
            advo,
            plan,
            standing,
            attributes,
            parts,
        )
        await self._notify(ending, {**_over(observed, standing), **new})
        replaced = replaced_problems(observed, plan, standing)
        for problem in [*replaced, *self._kind_problems(ending), *parts.problems]:
            await self._notifications.notify(problem)
        await self._write_all(ending)
        await self._remember_all(ending, store)
        if not ending.parts.errors:
            await self._end_problems(ending)
        return ending

    async def _write_all(self, ending: Ending) -> None:
        """Write what was collected and the record, in one call where EspoCRM offers that."""
        if await self._ends_tasks_with_it(ending):
            await self._end_problems(ending)
        if not self._needs_write(ending):
            await self._write_collected(ending)
        if self._needs_write(ending):
            await self._write(ending)

    async def _ends_tasks_with_it(self, ending: Ending) -> bool:
        """Whether Tasks of what is over end in the same call."""
        if ending.parts.errors:
            return False
        if self._writes.is_empty and not self._needs_write(ending):
            return False
        return await self._writes.collects(ENTITY_TYPE, "Task")

    async def _remember_all(self, ending: Ending, store: SyncStore) -> None:
        """Store what both sides hold, also of the parts."""
        observed = replace(ending.observed, advo=ending.advo)
        await self.remember(store, observed, ending.plan, ending.standing)
        for result in ending.parts.results:
            for state in result.states:
                await store.save(state)

    def _needs_write(self, ending: Ending) -> bool:
        is_settled = beteiligte_status.is_settled(
            ending.observed.espo,
            ending.status,
            ending.message,
            self._resources.now(),
        )
        return ending.wants_write or not is_settled

    async def _write_collected(self, ending: Ending) -> None:
        """Write what was collected, without the record itself."""
        notified = {problem.key for problem in ending.parts.problems}
        await self._writes.flush()
        await self._notify_found_late(ending, notified)

    async def _notify_found_late(
        self,
        ending: Ending,
        notified: Collection[str],
    ) -> None:
        """Notify of what was found out while writing."""
        ending.parts = replace(
            ending.parts.latest(),
            kommunikation=ending.parts.kommunikation,
        )
        for problem in ending.parts.problems:
            if problem.key not in notified:
                await self._notifications.notify(problem)

    def _kind_problems(self, ending: Ending) -> list[Problem]:
        """What Advoware has no place for in the record as we write it."""
        espo = {**ending.observed.espo, **ending.attributes}
        return kind_problems(
            replace(ending.observed, espo=espo),
            ending.advo,
            self._mapper,
        )

    async def _end_problems(self, ending: Ending) -> None:
        """Withdraw the tasks of what does not stand any more."""
        espo = ending.observed.espo
        betnr = ending.advo.get("betNr")
        found = standing_problems(ending.standing.values(), espo, betnr)
        found += self._kind_problems(ending)
        kinds = [f"{kind}:{ENTITY_TYPE}:" for kind in OWN_KINDS]
        standing = [problem.key for problem in found]
        if fields_of_other_kind(ending.advo):  # notified when the kind changed
            standing.append(f"kind_changed:{ENTITY_TYPE}:{espo['id']}")
        if not shows_all_of_both_kinds(espo):  # what it does not show may be there
            standing.append(f"firm_and_person:{ENTITY_TYPE}:{espo['id']}")
        await self._notifications.settle(
            ENTITY_TYPE,
            [espo["id"]],
            kinds,
            standing,
            SETTLED,
        )
        await self._end_contact_problems(ending)

    async def _end_contact_problems(self, ending: Ending) -> None:
        """Likewise for the Kommunikation, if this run knows all that stands there."""
        contacts = ending.parts.kommunikation
        if ending.parts.not_before is None and ending.direction == "both":
            notified = [problem.key for problem in contacts.problems]
            kinds = list(kommunikation.STATE_KINDS)
            await self._notifications.settle(
                ENTITY_TYPE,
                [ending.observed.espo["id"]],
                kinds,
                notified,
                kommunikation.SETTLED,
            )

    async def remember(
        self,
        store: SyncStore,
        observed: Observation,
        plan: Merge,
        standing: Mapping[str, Standing],
    ) -> SyncState:
        """Store what both sides hold now, and what stands between them."""
        last: Mapping[str, Any] = {}
        if observed.state is not None:
            last = observed.state.base
        row_id = observed.advo.get("rowId")
        shown = self._mapper.comparable_from_advoware(observed.advo)
        applying = {*shown_by_advoware(observed.advo), "rechtsform"}
        version = version_member(last, only(plan.settled, applying), shown, row_id)
        state = SyncState(
            ENTITY_TYPE,
            observed.espo["id"],
            advoware_id=str(observed.advo["betNr"]),
            base={**base_to_json(plan.settled), **version},
            rejected={name: item.as_json() for name, item in standing.items()},
            advoware_row_id=row_id,
            espocrm_modified_at=espocrm_query.parse_date_time(
                observed.espo.get("modifiedAt"),
            ),
            synced_at=self._resources.now(),
            advoware_created_at=advoware_protocol.parse_change_time(
                observed.advo.get("angelegtAm"),
            ),
            advoware_changed_at=advoware_protocol.parse_change_time(
                observed.advo.get("geaendertAm"),
            ),
        )
        await store.save(state)
        return state

    async def notify_given_up(self, espo: Record, fields: Record) -> None:
        """Notify a person of a record that is not tried any more for a day."""
        if fields["syncStatus"] != "permanently_failed":
            return
        key = f"permanently_failed:{ENTITY_TYPE}:{espo['id']}"
        details = Details(
            "gave_up",
            espo.get("betnr"),
            espo.get("name"),
            since=self._resources.now().isoformat(timespec="seconds"),
            further={"Fehler": fields["syncErrorMessage"]},
        )
        await self._notifications.notify(
            Problem(
                "general_manual_action",
                ENTITY_TYPE,
                espo["id"],
                key,
                details,
            ),
        )

    async def was_edited(self, before: Record, sent: Record, written: Record) -> bool:
        """Whether a user has edited the record since it was read, according to the answer to our PUT.

        The answer may show a value otherwise than a read does, so a read confirms it.
        """
        if not was_edited_since(self._mapper, before, sent, written):
            return False
        now = await self._espocrm.get_entity(ENTITY_TYPE, before["id"])
        return was_edited_since(self._mapper, before, sent, now)

    # -- the PUT --------------------------------------------------------------------------------------------------

    def _attributes(self, observed: Observation, plan: Merge) -> Record:
        """What the plan changes in EspoCRM."""
        kind = kind_of_espocrm(
            espocrm_after(observed.espo, plan.to_espocrm, self._mapper),
        )
        shown_now = observed.espo if kind == kind_of_espocrm(observed.espo) else None
        attributes = self._mapper.to_espocrm(plan.to_espocrm, kind=kind, espo=shown_now)
        if not observed.espo.get("betnr"):
            attributes["betnr"] = int(observed.advo["betNr"])
        return attributes

    async def _write(self, ending: Ending) -> None:
        """The one final PUT, without what EspoCRM refuses of it; then values that were written are read back."""
        await self._require_unedited(ending)
        notified_before = {problem.key for problem in ending.parts.problems}
        await self._put_what_is_accepted(ending)
        await self._look_for_edits(ending)
        await self._read_back(ending)
        await self._notify_found_late(ending, notified_before)
        message, errors = ending.shown
        has_failed = len(ending.parts.errors) > errors
        has_changed = ending.message != message and not ending.parts.errors
        if has_failed or has_changed:
            # What was found out while writing is shown as well.
            await self._put(ending, {})

    async def _put_what_is_accepted(self, ending: Ending) -> None:
        while True:
            try:
                await self._put_with_kommunikation(ending)
                break
            except ValidationFailed as error:
                await self._leave_out_refused(ending, error)

    async def _require_unedited(self, ending: Ending) -> None:
        """Make sure that the PUT overwrites no edit, where EspoCRM does not see to that itself.

        Raises:
            Conflict: a user has edited the record since it was read.
        """
        if not ending.writes_values:
            return
        espo = ending.observed.espo
        if await self._compares_versions(espo):
            return
        now = await self._espocrm.get_entity(ENTITY_TYPE, espo["id"])
        if was_edited_since(self._mapper, espo, {}, now):
            raise Conflict(espocrm_query.SYSTEM, "edited while it was synced")

    async def _look_for_edits(self, ending: Ending) -> None:
        """Note whether a user has edited the record meanwhile, and whether it shows other fields from now on."""
        espo = ending.observed.espo
        sent = {**ending.attributes, **ending.parts.espocrm}
        written = dict(ending.written or {})
        ending.was_edited = await self.was_edited(espo, sent, written)
        shown = shown_by_espocrm({**espo, **ending.attributes})
        ending.shows_other_fields = shown.keys() != shown_by_espocrm(espo).keys()

    async def _compares_versions(self, espo: Record) -> bool:
        """Whether EspoCRM itself notices, while it writes, that the record was edited since it was read."""
        if espo.get("versionNumber") is None:
            return False
        return await self._espocrm.shows_what_is_stored(ENTITY_TYPE)

    async def _put_with_kommunikation(self, ending: Ending) -> None:
        kommunikation = ending.parts.kommunikation
        if not isinstance(kommunikation, KommunikationResult):  # it failed as a whole
            kommunikation = KommunikationResult(errors=kommunikation.errors)

        async def put(kommunikation: KommunikationResult) -> Mapping[str, Any]:
            ending.parts = replace(ending.parts, kommunikation=kommunikation)
            values = {**ending.attributes, **ending.parts.espocrm}
            return await self._put(ending, values, kommunikation.version_number)

        _, kommunikation = await self._kommunikation.write_espocrm(kommunikation, put)
        ending.parts = replace(ending.parts, kommunikation=kommunikation)

    async def _put(
        self,
        ending: Ending,
        values: Record,
        version_number: int | None = None,
    ) -> Mapping[str, Any]:
        async def update() -> RecordWrite:
            ending.parts = replace(
                ending.parts.latest(),
                kommunikation=ending.parts.kommunikation,
            )
            attributes = {
                **values,
                "advowareRowId": ending.advo.get("rowId"),
                **await self._status_fields(ending),
            }
            known = ending.version or ending.observed.espo.get("versionNumber") or 0
            version = max(version_number or 0, known) or None
            return RecordWrite(
                ENTITY_TYPE,
                ending.observed.espo["id"],
                attributes,
                version,
            )

        ending.written = await self._writes.write(update)
        ending.version = ending.written.get("versionNumber")
        return ending.written

    async def _status_fields(self, ending: Ending) -> Record:
        espo = ending.observed.espo
        now = self._resources.now()
        parts = ending.parts
        ending.shown = (ending.message, len(parts.errors))
        if parts.not_before is not None:
            return beteiligte_status.waiting(ending.message)
        if not parts.errors:
            return beteiligte_status.success(ending.status, now, ending.message)
        fields = beteiligte_status.failure(espo, "; ".join(parts.errors), now)
        await self.notify_given_up(espo, fields)
        return fields

    async def _leave_out_refused(self, ending: Ending, error: ValidationFailed) -> None:
        """Take the attributes that EspoCRM refuses out of what is written, and notify of them.

        Raises:
            ValidationFailed: there is nothing that could be left out.
        """
        refused = await self._refused(ending, error)
        if not refused:
            raise error
        found = {}
        espocrm = self._mapper.comparable_from_espocrm(ending.observed.espo)
        advoware = self._mapper.comparable_from_advoware(ending.observed.advo)
        for attribute, refusal in refused.items():
            del ending.attributes[attribute]
            name = self._mapper.field_of(attribute)
            pair = {name: shown_pair(name, espocrm, advoware)}
            item = standing_of_pairs(
                pair,
                "advoware",
                "invalid",
                self._resources.now(),
            )[name]
            found[name] = replace(item, words=words_of(refusal))
        pairs = {name: item.pair for name, item in found.items()}
        await self._note_found(ending, found, pairs)

    async def _refused(
        self,
        ending: Ending,
        error: ValidationFailed,
    ) -> dict[str, ValidationFailed]:
        """The attributes that EspoCRM refuses: the one that it names, else those that it refuses by themselves."""
        candidates = dict(ending.attributes)
        candidates.pop("betnr", None)
        culprit = named_field(error, candidates)
        if culprit is not None:
            return {culprit: error}
        if not candidates or named_field(error, {"betnr": None}) is not None:
            return {}
        return await self._refused_alone(ending, candidates)

    async def _note_found(
        self,
        ending: Ending,
        found: dict[str, Standing],
        pairs: Mapping[str, Pair],
    ) -> None:
        """Take what did not arrive out of the plan, and notify of it."""
        ending.plan = without_fields(ending.plan, found, pairs)
        ending.standing |= found
        ending.changes += standing_lines(found.values())
        await self._notify(ending, found)

    async def _refused_alone(
        self,
        ending: Ending,
        candidates: Record,
    ) -> dict[str, ValidationFailed]:
        """Write the attributes one by one; returns those that EspoCRM refuses."""
        refused = {}
        for attribute, value in candidates.items():
            try:
                version = ending.version or ending.observed.espo.get("versionNumber")
                written = await self._espocrm.update_entity(
                    ENTITY_TYPE,
                    ending.observed.espo["id"],
                    {attribute: value},
                    version_number=version,
                )
                ending.version = written.get("versionNumber")
            except ValidationFailed as error:
                refused[attribute] = error
        return refused

    async def _read_back(self, ending: Ending) -> None:
        """Compare what EspoCRM has stored of the business fields with what was sent.

        The answer to a PUT echoes what was sent; only a read shows what was stored. If another user has saved the
        record since the PUT, a difference is that person's edit.
        """
        if not ending.business_attributes:
            return
        written = dict(ending.written or {})
        now = await self._as_stored(written, ending.observed.espo["id"])
        pairs = self._not_as_sent(ending, now)
        if not pairs:
            return
        if now.get("modifiedById") != written.get("modifiedById"):
            ending.was_edited = True
            return
        found = standing_of_pairs(pairs, "advoware", "altered", self._resources.now())
        await self._note_found(ending, found, pairs)

    async def _as_stored(self, written: Record, entity_id: str) -> Record:
        """The record as EspoCRM stores it; ``written`` is its answer to the PUT."""
        if await self._espocrm.shows_what_is_stored(ENTITY_TYPE):
            return written
        return await self._espocrm.get_entity(ENTITY_TYPE, entity_id)

    def _not_as_sent(self, ending: Ending, now: Record) -> dict[str, Pair]:
        """The fields that EspoCRM holds otherwise than they were sent."""
        espo = ending.observed.espo
        before = self._mapper.comparable_from_espocrm(espo)
        after = self._mapper.comparable_from_espocrm({**espo, **ending.attributes})
        sent = {}
        for name, value in after.items():
            if not is_same(value, before.get(name)):
                sent[name] = value
        stored = self._mapper.comparable_from_espocrm(now)
        refused, altered = compare_after_write(sent, before, stored, side="espocrm")
        return {**refused, **altered}

    async def _notify(self, ending: Ending, found: Mapping[str, Standing]) -> None:
        """Notify of what was found or is over, together with what else stands of the same kind: they share one Task."""
        words = {item.word for item in found.values()}
        items = [item for item in ending.standing.values() if item.word in words]
        espo = ending.observed.espo
        betnr = ending.advo.get("betNr")
        for problem in standing_problems(items, espo, betnr):
            await self._notifications.notify(problem)


def _over(
    observed: Observation,
    standing: Mapping[str, Standing],
) -> dict[str, Standing]:
    """What stood after the last sync, and does not any more."""
    if observed.state is None:
        return {}
    known = standing_from_json(observed.state.rejected)
    return {name: item for name, item in known.items() if name not in standing}


def was_edited_since(
    mapper: BeteiligteMapper,
    before: Record,
    sent: Record,
    written: Record,
) -> bool:
    """Whether a record that EspoCRM returned holds values that we neither read nor wrote. Pure."""
    expected = {**before, **sent}
    now = {**before, **written, **sent}
    if mapper.comparable_from_espocrm(expected) != mapper.comparable_from_espocrm(now):
        return True
    return any(
        contact_entries(expected, array) != contact_entries(now, array)
        for array in CONTACT_ARRAYS
    )
