"""What the sync of Adressen has to do: pure functions from what was observed to a list of actions.

`services.vmh_sync.adressen.match` pairs both sides. What then seems to be gone from one side is confirmed by the caller
with a direct read, and `make_plan` turns what was observed into actions: data that can be printed, tested and audited.
What a state remembers is described in `services.vmh_sync.adressen.fields`. Problems are reported again in every run,
under the same key, until they are settled: a task that could not be created is so created later, and none is created
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.adressen_mapper import FIELDS, LABEL_LENGTH, AdressenMapper, has_content
from services.core.foreign_text import shortened
from services.values.address_block import BLOCK, block_label, lines_of
from services.values.merge import (
    SENDING,
    VERSION,
    Side,
    Value,
    base_to_json,
    without,
)
from services.vmh_sync.adressen.fields import (
    FieldPlan,
    after_create,
    after_put,
    after_update,
    is_field,
    observed_block,
    plan_fields,
    version_of,
)
from services.vmh_sync.adressen.match import (
    ENTITY_TYPE,
    LEFT_BEHIND,
    MAIN,
    MainAddress,
    Match,
    Observation,
    Record,
    adresse_key,
    choose_main,
    is_active,
    is_equal,
    left_behind,
)
from services.vmh_sync.adressen.problems import (
    about,
    activity_problems,
    change_lines,
    conflict_problems,
    field_problems,
    name_of,
    rejection_lines,
    replaced_problems,
)
from services.vmh_sync.result import Problem
from services.vmh_sync.sending import ALTERED
from services.vmh_sync.store import SyncState

#: The status of a CAdressen whose Adresse is gone from Advoware, which only the sync sets.
SHOWN_GONE = "deleted_in_advoware"
#: What waits for a person, as a state remembers it (`services.vmh_sync.adressen.fields`).
Rejected = Mapping[str, Mapping[str, Any]]

_mapper = AdressenMapper()


@dataclass(frozen=True)
class CreateAdresse:
    """Create the CAdressen's Adresse in Advoware, with these fields; ``left_out`` are those that it cannot hold."""

    row: Record
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    is_main: bool


@dataclass(frozen=True)
class CreateCAdressen:
    """Create the Adresse's CAdressen in EspoCRM."""

    adresse: Record
    attributes: Record


@dataclass(frozen=True)
class Settle:
    """Bring a linked pair together: write what differs, remember the state.

    Attributes:
        row: the CAdressen.
        adresse: its Adresse; None if it is gone.
        state: to be remembered once everything is written.
        fields: what is merged and written; None if no fields are.
        attributes: further attributes for EspoCRM, without the sync fields.
        status: the ``syncStatus`` that the CAdressen shall show; empty: by what waits.
        changes: for the audit, besides those of ``fields``.
        left_out: the fields that a receiver has refused.
        lost: what is reported before it is overwritten.
    """

    row: Record
    adresse: Record | None
    state: SyncState
    fields: FieldPlan | None = None
    attributes: Record = field(default_factory=dict)
    status: str = ""
    changes: tuple[Mapping[str, Any], ...] = ()
    left_out: frozenset[str] = frozenset()
    lost: tuple[Problem, ...] = ()

    @property
    def shown_status(self) -> str:
        """The ``syncStatus`` that the CAdressen shall show."""
        if self.status:
            return self.status
        for name, item in self.state.rejected.items():
            is_shown = is_field(name) or name == MAIN
            if is_shown and item.get("reason") != "erased":
                return "conflict"
        return "clean"

    @property
    def espocrm(self) -> Record:
        """The attributes for EspoCRM, without the sync fields."""
        if self.fields is None:
            return self.attributes
        written = _mapper.to_espocrm(self.fields.to_espocrm, self.fields.street)
        return {**written, **self.attributes}


@dataclass(frozen=True)
class RememberDeleted:
    """The CAdressen was deleted in EspoCRM, or belongs to another CBeteiligte now."""

    entity_id: str
    states: tuple[SyncState, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Ignore:
    """The CAdressen is not in use, or empty, and unknown to Advoware: there is nothing to bring over."""

    row: Record


@dataclass(frozen=True)
class Broken:
    """Planning this record has failed, which is a defect of the sync; the others go on."""

    record: Record
    error: Exception


Action = CreateAdresse | CreateCAdressen | Settle | RememberDeleted | Ignore | Broken


def make_plan(
    observed: Observation,
    found: Match,
    confirmed: Iterable[str] = (),
    elsewhere: Iterable[str] = (),
) -> list[Action]:
    """The actions, in their order.

    ``confirmed`` are those of `unconfirmed` whose absence a direct read has confirmed; the others are left alone.
    ``elsewhere`` are those among them that belong to another CBeteiligte now.
    """
    doubtful = unconfirmed(observed, found) - set(confirmed)
    moved = set(elsewhere)
    main = choose_main(observed, found)
    actions: list[Action] = []

    def add(record: Record, plan: Callable[..., Action], *arguments: Any) -> None:
        try:
            actions.append(plan(*arguments))
        except Exception as error:  # noqa: BLE001 - one odd record must not stop the others
            actions.append(Broken(record, error))

    for entity_id, adresse in found.vanished.items():
        if entity_id not in doubtful:
            is_moved = entity_id in moved
            record = {"id": entity_id}
            add(
                record,
                _remember_deleted,
                observed,
                entity_id,
                adresse,
                is_moved,
            )
    for row, adresse in found.pairs:
        add(
            row,
            _settle_pair,
            observed,
            main,
            row,
            adresse,
        )
    for row in _missing_to_settle(observed, found, doubtful):
        add(row, _settle_missing, observed, row)
    for row in found.new_rows:
        add(row, _create_adresse, row, main.wanted == row["id"])
    if observed.direction == "both":
        for adresse in found.new_adressen:
            is_main = main.wanted == adresse_key(adresse)
            add(
                adresse,
                _create_cadressen,
                observed,
                adresse,
                is_main,
            )
    return actions


def _missing_to_settle(
    observed: Observation,
    found: Match,
    doubtful: Collection[str],
) -> list[Record]:
    """The CAdressen without their Adresse; towards Advoware, those that are newly gone wait for another run."""
    rows = [row for row in found.missing if row["id"] not in doubtful]
    if observed.direction == "both":
        return rows
    return [row for row in rows if not _is_newly_gone(observed, row)]


def _create_adresse(row: Record, is_main: bool) -> CreateAdresse | Ignore:
    values = _mapper.comparable_from_espocrm(row)
    if not is_active(row) or not has_content(values):
        return Ignore(row)
    left_out = _left_out_at_create(values)
    sent = without(values, left_out)
    names = tuple(name for name in FIELDS if name in sent)
    return CreateAdresse(row, (*names, BLOCK), left_out, is_main)


def _left_out_at_create(values: Mapping[str, Value]) -> dict[str, str]:
    """The fields that Advoware cannot hold, and why."""
    left_out = {}
    for name, value in values.items():
        reason = _mapper.unfit("advoware", name, value, values)
        if reason:
            left_out[name] = _reason_at_create(reason)
    return left_out


def _reason_at_create(reason: str) -> str:
    if reason == "unknown":
        return "unknown_espocrm"
    return "too_long_advoware"


def _create_cadressen(
    observed: Observation,
    adresse: Record,
    is_main: bool,
) -> CreateCAdressen:
    attributes = _mapper.map_advoware_to_cadressen(adresse)
    attributes = {**attributes, "istStandard": is_main, **observed.owner}
    return CreateCAdressen(adresse, attributes)


def unconfirmed(observed: Observation, found: Match) -> set[str]:
    """The ids of CAdressen whose absence on one side would lead to something and has to be confirmed first."""
    doubtful = {row["id"] for row in found.missing if _is_newly_gone(observed, row)}
    for entity_id in found.vanished:
        if entity_id not in observed.states or observed.state_of(entity_id) is not None:
            doubtful.add(entity_id)
    return doubtful


# -- linked pairs ---------------------------------------------------------------------------------------------------


def _settle_pair(
    observed: Observation,
    main: MainAddress,
    row: Record,
    adresse: Record,
) -> Settle:
    state = _state(observed, row, adresse)
    fields = _of_fields(state.rejected)
    if is_active(row):
        activity = _activity(observed, state, was_active=True, is_active_now=True)
        state = replace(state, rejected={**fields, **activity})
        return _settle_fields(
            observed,
            main,
            row,
            adresse,
            state,
        )
    if "gone" in state.rejected:
        if observed.direction != "both":
            # It is back, and the next run shows so in EspoCRM; no person has deactivated it.
            return Settle(row, adresse, state, status=SHOWN_GONE)
        state = replace(state, rejected=fields)
        return _settle_returned(
            observed,
            main,
            row,
            adresse,
            state,
        )
    # Deactivated: a person deletes it in Advoware; until then nothing is brought over to either side.
    was_active = _was_in_use(observed, row, adresse)
    activity = _activity(observed, state, was_active=was_active, is_active_now=False)
    status = "clean"
    if activity_problems(observed, row, adresse, activity):
        status = "conflict"
    base = {**state.base, "isActive": False}
    state = replace(state, base=base, rejected={**fields, **activity})
    return Settle(row, adresse, state, status=status)


def _was_in_use(observed: Observation, row: Record, adresse: Record) -> bool:
    """Whether a CAdressen of which no state is known was in use: what is created is, on either side.

    The mark is written by a create in Advoware alone. One that the sync has created in EspoCRM is linked from the
    beginning; if the answer was lost it has no state, and a user's edit shows in its status.
    """
    if observed.is_marked_as(adresse, row["id"]):
        return True
    is_linked = row.get("advowareId") == adresse["id"]
    return is_linked and row.get("syncStatus") in {"dirty", "conflict"}


def _of_fields(rejected: Rejected) -> dict[str, Mapping[str, Any]]:
    """What waits about single fields."""
    return {name: item for name, item in rejected.items() if is_field(name)}


def _of_whole(rejected: Rejected) -> dict[str, Mapping[str, Any]]:
    """What waits about an Adresse as a whole."""
    return {name: item for name, item in rejected.items() if not is_field(name)}


def _activity(
    observed: Observation,
    state: SyncState,
    *,
    was_active: bool,
    is_active_now: bool,
) -> dict[str, Mapping[str, Any]]:
    """What waits because EspoCRM does not use an address that Advoware shows, or uses it again.

    ``was_active``: whether it was in use before, if the state does not know it.
    """
    known = state.rejected.get("isActive")
    has_changed = state.base.get("isActive", was_active) != is_active_now
    # What was deactivated while Advoware did not show it has to be reported once it does.
    if has_changed or (known is not None and not is_active_now):
        item = _waiting(
            observed,
            state,
            "isActive",
            espocrm=is_active_now,
            advoware=True,
        )
        return {"isActive": item}
    if known is None:
        return {}
    return {"isActive": known}


def _settle_returned(
    observed: Observation,
    main: MainAddress,
    row: Record,
    adresse: Record,
    state: SyncState,
) -> Settle:
    """Advoware shows the Adresse again because of whose absence the CAdressen was switched off, by us: switch it on."""
    action = _settle_fields(
        observed,
        main,
        {**row, "isActive": True},
        adresse,
        state,
    )
    change = {
        "record": name_of(row),
        "field": "isActive",
        "side": "espocrm",
        "old": False,
        "new": True,
    }
    return replace(
        action,
        row=row,
        attributes={**action.attributes, "isActive": True},
        changes=(*action.changes, change),
    )


def _settle_fields(
    observed: Observation,
    main: MainAddress,
    row: Record,
    adresse: Record,
    state: SyncState,
) -> Settle:
    known = observed.state_of(row["id"])
    before: Rejected = {}
    if known is not None:
        before = known.rejected
    fields = plan_fields(
        row,
        adresse,
        state,
        observed.beteiligter,
        observed.direction,
        observed.now,
    )
    rejected = _of_whole(state.rejected)
    if main.is_task and main.wanted == row["id"]:
        notified = replace(state, rejected=before)
        item = _waiting(
            observed,
            notified,
            MAIN,
            espocrm=True,
            advoware=False,
        )
        rejected[MAIN] = item
    base: Record = {
        "isActive": True,
        BLOCK: _known_block(observed, row, adresse, state),
    }
    if main.agreed is not None:
        base[MAIN] = main.agreed == row["id"]
    state_after = replace(state, base=base, rejected=rejected)
    attributes = _new_attributes(
        observed,
        main,
        row,
        adresse,
        state,
    )
    action = Settle(
        row,
        adresse,
        state_after,
        fields,
        attributes,
    )
    action = _with_fields(action, fields)
    now = observed.now.isoformat(timespec="seconds")
    after = action.state.rejected
    lost = conflict_problems(observed, row, fields, now)
    replaced = replaced_problems(observed, row, fields, before, after)
    return replace(
        action,
        lost=(*lost, *replaced),
        changes=tuple(rejection_lines(row, before, after)),
    )


def _new_attributes(
    observed: Observation,
    main: MainAddress,
    row: Record,
    adresse: Record,
    state: SyncState,
) -> Record:
    """What a CAdressen follows besides its fields: the label of a printed block, and which address is the main one."""
    if observed.direction != "both":
        return {}
    attributes = _new_block_label(row, adresse, state)
    is_main = main.wanted == row["id"]
    if main.wanted is not None and bool(row.get("istStandard")) != is_main:
        attributes["istStandard"] = is_main
    return attributes


def _with_fields(action: Settle, fields: FieldPlan) -> Settle:
    """The action with what it remembers of its fields replaced."""
    state = action.state
    base = base_to_json(fields.settled)
    base.update(without(state.base, {*FIELDS, VERSION, SENDING}))
    if fields.altered_left:
        base[SENDING] = {ALTERED: dict(fields.altered_left)}
    if action.adresse is not None:
        base.update(version_of(fields.stored, fields.settled, action.adresse))
    rejected = {**_of_whole(state.rejected), **fields.waiting}
    settled = replace(state, base=base, rejected=rejected)
    return replace(action, fields=fields, state=settled)


def _known_block(
    observed: Observation,
    row: Record,
    adresse: Record,
    state: SyncState,
) -> str:
    """The printed block as it is remembered: the old one as long as a label that shows it has to follow."""
    if observed.direction != "both" and _new_block_label(row, adresse, state):
        return str(state.base[BLOCK])
    return observed_block(adresse, state)


def _new_block_label(row: Record, adresse: Record, state: SyncState) -> Record:
    """A label that shows a printed block, and was not edited since, follows it."""
    old = state.base.get(BLOCK)
    new = observed_block(adresse, state)
    if not old or lines_of(old) == lines_of(new):
        return {}
    if has_content(_mapper.comparable_from_advoware(adresse)):
        return {}
    if row.get("bezeichnung") != shortened(block_label(old), LABEL_LENGTH):
        return {}
    return {"bezeichnung": _mapper.label_of(adresse)}


def settle_put(
    observed: Observation,
    action: Settle,
    answer: Record,
    left_out: Mapping[str, str],
) -> Settle:
    """The action after its PUT: with Advoware's new record, and what that took differently waiting for a person."""
    if action.fields is None:
        return action
    before = action.state
    fields = after_put(
        action.fields,
        before,
        answer,
        left_out,
        observed.now,
    )
    all_left_out = action.left_out | left_out.keys()
    action = replace(action, adresse=answer, left_out=all_left_out)
    action = _with_fields(action, fields)
    base = {**action.state.base, BLOCK: observed_block(answer, action.state)}
    state = replace(action.state, base=base, advoware_row_id=answer.get("rowId"))
    lines = rejection_lines(action.row, before.rejected, state.rejected)
    return replace(action, state=state, changes=(*action.changes, *lines))


def settle_update(
    observed: Observation,
    action: Settle,
    written: Record,
    left_out: Mapping[str, str],
) -> Settle:
    """The action after EspoCRM's update, likewise."""
    if action.fields is None:
        return action
    before = action.state
    fields = after_update(
        action.fields,
        before,
        written,
        left_out,
        observed.now,
    )
    row = {**action.row, **written}
    all_left_out = action.left_out | left_out.keys()
    action = _with_fields(replace(action, row=row, left_out=all_left_out), fields)
    lines = rejection_lines(row, before.rejected, action.state.rejected)
    return replace(action, changes=(*action.changes, *lines))


def link_created(
    observed: Observation,
    row: Record,
    adresse: Record,
    left_out: Mapping[str, tuple[str, str]],
    *,
    side: Side,
) -> Settle:
    """The action for a pair whose part on ``side`` was just created from the other.

    ``left_out`` says of the fields that were not sent why not: a reason and the receiver's words.
    """
    espocrm = _mapper.comparable_from_espocrm(row)
    advoware = _mapper.comparable_from_advoware(adresse)
    was_main = bool(row.get("istStandard"))
    is_main = was_main
    if isinstance(adresse.get(MAIN), bool):
        is_main = adresse[MAIN]
    state = SyncState(
        ENTITY_TYPE,
        row["id"],
        advoware_id=observed.link_of(adresse),
        advoware_row_id=adresse.get("rowId"),
    )
    settled, waiting = after_create(
        side,
        espocrm,
        advoware,
        left_out,
        state,
        observed.now,
    )
    base = {
        **base_to_json(settled),
        MAIN: is_main,
        "isActive": True,
        BLOCK: observed_block(adresse, state),
        **version_of({}, settled, adresse),
    }
    label = _mapper.label(espocrm) or _mapper.label_of(adresse)
    change = _line_of_create(side, label, name_of(row))
    attributes = {}
    # Advoware makes a Beteiligter's first Adresse the main one without being asked.
    if is_main and not was_main:
        attributes["istStandard"] = True
    if was_main and not is_main:
        waiting[MAIN] = _waiting(observed, state, MAIN, espocrm=True, advoware=False)
    return Settle(
        row,
        adresse,
        replace(state, base=base, rejected=waiting),
        attributes=attributes,
        changes=(change, *rejection_lines(row, {}, waiting)),
    )


def _line_of_create(side: Side, label: str, record: str | None) -> Record:
    return {
        "record": record,
        "field": "adresse",
        "side": side,
        "old": None,
        "new": label,
    }


# -- one side gone --------------------------------------------------------------------------------------------------


def _is_newly_gone(observed: Observation, row: Record) -> bool:
    """Whether the Adresse of an active CAdressen is missing without that having been reported."""
    if not is_active(row):
        return False
    state = observed.state_of(row["id"])
    if state is None:
        return True
    was_off = state.base.get("isActive") is False
    return not was_off and "isActive" not in state.rejected


def _settle_missing(observed: Observation, row: Record) -> Settle:
    state = _state(observed, row, None)
    rejected = _of_fields(state.rejected)
    base = {**state.base, "isActive": is_active(row)}
    attributes: Record = {}
    status = "clean"
    if _is_newly_gone(observed, row):
        rejected["gone"] = _waiting(
            observed,
            state,
            "gone",
            espocrm=True,
            advoware=None,
        )
        base["isActive"] = False
        attributes = {"isActive": False}
        status = SHOWN_GONE
    elif is_active(row):
        rejected["isActive"] = _waiting(
            observed,
            state,
            "isActive",
            espocrm=True,
            advoware=False,
        )
        status = "conflict"
    elif "gone" in state.rejected:
        rejected["gone"] = state.rejected["gone"]
        status = SHOWN_GONE
    elif row.get("syncStatus") == SHOWN_GONE:
        # An interrupted run has shown it, but could not report it any more.
        rejected["gone"] = _waiting(
            observed,
            state,
            "gone",
            espocrm=True,
            advoware=None,
        )
        status = SHOWN_GONE
    elif state.base.get("isActive") or "isActive" in state.rejected:
        # Deactivated by a person: done, unless it returns.
        rejected["isActive"] = _waiting(
            observed,
            state,
            "isActive",
            espocrm=False,
            advoware=None,
        )
    state = replace(state, base=base, rejected=rejected)
    return Settle(
        row,
        None,
        state,
        attributes=attributes,
        status=status,
    )


def _remember_deleted(
    observed: Observation,
    entity_id: str,
    adresse: Record | None,
    is_elsewhere: bool,
) -> RememberDeleted:
    states = _deleted_states(observed, entity_id, adresse, is_elsewhere)
    if adresse is None:
        return RememberDeleted(entity_id, states)
    notified = states[-1]
    since = None
    if notified.deleted_at is not None:
        since = notified.deleted_at.isoformat(timespec="seconds")
    problem = Problem(
        "address_delete_required",
        "CBeteiligte",
        observed.beteiligte_id,
        f"address_delete_required:{notified.entity_id}",
        about(observed, _mapper.label_of(adresse), since=since),
    )
    return RememberDeleted(entity_id, states, (problem,))


def _deleted_states(
    observed: Observation,
    entity_id: str,
    adresse: Record | None,
    is_elsewhere: bool,
) -> tuple[SyncState, ...]:
    """What to remember of a CAdressen that is gone; the link that one has left behind is the last."""
    state = _deleted_state(observed, entity_id, adresse)
    if is_elsewhere and state.advoware_id is not None and LEFT_BEHIND not in entity_id:
        return state, left_behind(state, observed.now)
    return (state,)


def _deleted_state(
    observed: Observation,
    entity_id: str,
    adresse: Record | None,
) -> SyncState:
    """The state of a CAdressen that is gone; one that is linked elsewhere, or deleted already, stays as it was."""
    state = observed.states.get(entity_id)
    if state is None:
        link = None
        if adresse is not None:
            link = observed.link_of(adresse)
        state = SyncState(ENTITY_TYPE, entity_id, advoware_id=link)
        return replace(state, deleted_at=observed.now)
    if observed.state_of(entity_id) is not None:
        return replace(state, deleted_at=observed.now)
    return state


# -- states ---------------------------------------------------------------------------------------------------------


def _state(observed: Observation, row: Record, adresse: Record | None) -> SyncState:
    """The state that a pair starts from; what was agreed on or reported about another Adresse does not count for it.

    Unless it carries the mark, or says the same: then it is a copy that a person has put into the place of the other,
    what differs from that is an edit, and what waited still waits.
    """
    state = observed.state_of(row["id"])
    if adresse is None:
        link = f"{observed.betnr}/{row.get('advowareId')}"
        return state or SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
    link = observed.link_of(adresse)
    if state is None:
        state = SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
    elif state.advoware_id != link:
        known = state
        state = SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
        if observed.is_marked_as(adresse, row["id"]):
            state = replace(state, base=known.base, rejected=known.rejected)
        elif is_equal(row, adresse):
            waiting = _of_fields(known.rejected)
            state = replace(state, base=known.base, rejected=waiting)
    return replace(state, advoware_row_id=adresse.get("rowId"))


def _waiting(
    observed: Observation,
    state: SyncState,
    name: str,
    espocrm: Any,
    advoware: Any,
) -> dict[str, Any]:
    """The entry of a difference that waits for a person; the one already there if it is the same difference."""
    known = state.rejected.get(name)
    if known and known.get("espocrm") == espocrm and known.get("advoware") == advoware:
        return dict(known)
    return {
        "espocrm": espocrm,
        "advoware": advoware,
        "since": observed.now.isoformat(timespec="seconds"),
    }


# -- what is reported ------------------------------------------------------------------------------------------------


def problems_of(observed: Observation, action: Settle) -> tuple[Problem, ...]:
    """Everything about a pair that a person has to know."""
    row = action.row
    adresse = action.adresse
    rejected = action.state.rejected
    activity = activity_problems(observed, row, adresse, rejected)
    if adresse is None or not is_active(row):
        return activity
    return (*activity, *field_problems(observed, row, rejected), *action.lost)


def begun_by(action: Action) -> list[Mapping[str, Any]]:
    """The audit's lines of what an action is about to write of an address to either side."""
    match action:
        case CreateAdresse():
            label = _mapper.label(_mapper.comparable_from_espocrm(action.row))
            return [_line_of_create("advoware", label, name_of(action.row))]
        case CreateCAdressen():
            label = _mapper.label_of(action.adresse)
            return [_line_of_create("espocrm", label, None)]
        case Settle():
            return changes_of(action)
    return []


def changes_of(action: Settle) -> list[Mapping[str, Any]]:
    """The lines of an action for the audit."""
    if action.fields is None:
        return list(action.changes)
    written = change_lines(action.row, action.fields, action.left_out)
    return [*written, *action.changes]
