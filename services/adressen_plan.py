"""What the sync of Adressen has to do: pure functions from what was observed to a list of actions.

`services.adressen_match` pairs both sides. What then seems to be gone from one side is confirmed by the caller with a
direct read, and `make_plan` turns the picture into actions: data that can be printed, tested and audited.

A state's ``base`` holds the comparable values that both sides agreed on, ``standardAnschrift``, and as ``isActive``
what the CAdressen said when we last looked. Its ``rejected`` holds the differences that wait for a person,
``{field: {"espocrm", "advoware", "since", "refused"?}}``; besides fields there are ``isActive`` (deactivated or
reactivated in EspoCRM) and ``gone`` (not in Advoware any more). They are told again in every run, under the same key,
until they are settled: a task that could not be created is so created later, and none is created twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.adressen_mapper import GERMANY, WRITABLE_FIELDS, AdressenMapper, country_text, has_content
from services.adressen_match import MAIN, MainAddress, Match, Observation, Record, adresse_key, choose_main, is_active
from services.merge import Merge, merge
from services.sync_parts import ActionType, Problem
from services.sync_state import SyncState

ENTITY_TYPE = "CAdressen"

_mapper = AdressenMapper()


@dataclass(frozen=True)
class CreateAdresse:
    """Create the CAdressen's Adresse in Advoware."""

    row: Record
    body: Record


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
        put: body for Advoware; empty: nothing is sent. ``sent`` are the comparable values that it sets.
        attributes: for EspoCRM, without the sync fields.
        status: the ``syncStatus`` that the CAdressen shall show.
        problems: for people.
        changes: for the audit.
    """

    row: Record
    adresse: Record | None
    state: SyncState
    put: Record = field(default_factory=dict)
    sent: Mapping[str, Any] = field(default_factory=dict)
    attributes: Record = field(default_factory=dict)
    status: str = "clean"
    problems: tuple[Problem, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RememberDeleted:
    """The CAdressen was deleted in EspoCRM, or belongs to somebody else now."""

    entity_id: str
    state: SyncState
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Ignore:
    """The CAdressen is not in use, or empty, and unknown to Advoware: there is nothing to bring over."""

    row: Record


Action = CreateAdresse | CreateCAdressen | Settle | RememberDeleted | Ignore


def make_plan(seen: Observation, found: Match, confirmed: Iterable[str] = ()) -> list[Action]:
    """The actions, in their order.

    ``confirmed`` are those of `unconfirmed` whose absence a direct read has confirmed; the others are left alone.
    """
    doubtful = unconfirmed(seen, found) - set(confirmed)
    main = choose_main(seen, found)
    actions: list[Action] = [
        _remember_deleted(seen, entity_id, adresse)
        for entity_id, adresse in found.vanished.items()
        if entity_id not in doubtful
    ]
    actions += [_settle_pair(seen, main, row, adresse) for row, adresse in found.pairs]
    for row in found.missing:
        if row["id"] not in doubtful and (seen.direction == "both" or not _is_newly_gone(seen, row)):
            actions.append(_settle_missing(seen, row))
    for row in found.new_rows:
        if is_active(row) and has_content(_mapper.comparable_from_espocrm(row)):
            is_main = main.wanted == row["id"]
            body = _mapper.map_cadressen_to_advoware(row, seen.beteiligter, is_main=is_main)
            actions.append(CreateAdresse(row, body))
        elif row.get("syncStatus") in {"pending_sync", "dirty", "failed"}:
            actions.append(Ignore(row))
    for adresse in found.new_adressen if seen.direction == "both" else ():
        attributes = _mapper.map_advoware_to_cadressen(adresse)
        actions.append(CreateCAdressen(adresse, {**attributes, "istStandard": main.wanted == adresse_key(adresse)}))
    return actions


def unconfirmed(seen: Observation, found: Match) -> set[str]:
    """The ids of CAdressen whose absence on one side would lead to something and has to be confirmed first."""
    doubtful = {row["id"] for row in found.missing if _is_newly_gone(seen, row)}
    for entity_id in found.vanished:
        if entity_id not in seen.states or seen.state_of(entity_id) is not None:
            doubtful.add(entity_id)
    return doubtful


# -- linked pairs ---------------------------------------------------------------------------------------------------


def _settle_pair(seen: Observation, main: MainAddress, row: Record, adresse: Record) -> Settle:
    state = _state(seen, row, adresse)
    active = is_active(row)
    if state.base.get("isActive", active) == active:
        rejected = {name: pair for name, pair in state.rejected.items() if name == "isActive"}
    else:
        rejected = {"isActive": _waiting(seen, state, "isActive", espocrm=active, advoware=True)}
    if active:
        return _settle_fields(seen, main, row, adresse, state, rejected)
    # Deactivated: a person deletes it in Advoware; until then nothing is brought over to either side.
    problems = _activity_problems(seen, row, adresse, rejected)
    state = replace(state, base={**state.base, "isActive": False}, rejected=rejected)
    return Settle(row, adresse, state, status="conflict" if problems else "clean", problems=problems)


@dataclass(frozen=True)
class _Fields:
    """The merged fields of a pair: what goes where, what waits for a person, what is agreed on afterwards."""

    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]
    plan: Merge
    to_advoware: dict[str, Any]
    to_espocrm: dict[str, Any]
    waiting: dict[str, Any]
    agreed: dict[str, Any]


def _merge_fields(seen: Observation, row: Record, adresse: Record, state: SyncState) -> _Fields:
    ours, theirs = _mapper.comparable_from_espocrm(row), _mapper.comparable_from_advoware(adresse)
    # Unreadable in the printed block: as last agreed on.
    theirs.setdefault("weitereZeilen", state.base.get("weitereZeilen", ours["weitereZeilen"]))
    base = {name: value for name, value in state.base.items() if name in ours}
    plan = merge(base, ours, theirs)
    waiting = {name: _waiting(seen, state, name, ours[name], theirs[name]) for name in plan.to_advoware}
    waiting = {name: pair for name, pair in waiting.items() if name not in WRITABLE_FIELDS or pair.get("refused")}
    to_advoware = {name: value for name, value in plan.to_advoware.items() if name not in waiting}
    to_espocrm = plan.to_espocrm if seen.direction == "both" else {}
    undecided = {*waiting, *(plan.to_espocrm.keys() - to_espocrm.keys())}
    agreed = {name: value for name, value in plan.agreed.items() if name not in undecided}
    agreed |= {name: base[name] for name in undecided if name in base}
    return _Fields(ours, theirs, plan, to_advoware, to_espocrm, waiting, agreed)


def _settle_fields(
    seen: Observation, main: MainAddress, row: Record, adresse: Record, state: SyncState, rejected: dict[str, Any]
) -> Settle:
    fields = _merge_fields(seen, row, adresse, state)
    waiting, agreed, sent = fields.waiting, fields.agreed, fields.to_advoware
    attributes = _mapper.to_espocrm(fields.to_espocrm, {**fields.ours, **fields.to_espocrm})
    is_main = main.wanted == row["id"]
    if seen.direction == "both" and main.wanted is not None and bool(row.get("istStandard")) != is_main:
        attributes["istStandard"] = is_main
    if is_main and main.is_task:
        waiting[MAIN] = _waiting(seen, state, MAIN, espocrm=True, advoware=False)
    if main.agreed is not None:
        agreed[MAIN] = main.agreed == row["id"]
    return Settle(
        row,
        adresse,
        replace(state, base={**agreed, "isActive": True}, rejected={**rejected, **waiting}),
        put={**adresse, **_mapper.to_advoware({**fields.theirs, **sent}, seen.beteiligter)} if sent else {},
        sent=sent,
        attributes=attributes,
        status="conflict" if waiting else "clean",
        problems=(
            *_activity_problems(seen, row, adresse, rejected),
            *_field_problems(seen, row, waiting),
            *_conflict_problems(seen, row, fields),
        ),
        changes=(*_changes(row, fields), *_rejections(row, _newly(waiting, state))),
    )


def verify_put(seen: Observation, action: Settle, answer: Record) -> Settle:
    """The action after its PUT: with Advoware's new record, and what Advoware silently did not take as a problem."""
    ours, taken = _mapper.comparable_from_espocrm(action.row), _mapper.comparable_from_advoware(answer)
    refused = {name for name, value in action.sent.items() if taken.get(name, value) != value}
    waiting = {
        name: {**_waiting(seen, action.state, name, ours[name], taken[name]), "refused": True} for name in refused
    }
    before = seen.state_of(action.row["id"])
    base = {name: value for name, value in action.state.base.items() if name not in refused}
    base |= {name: before.base[name] for name in refused if before is not None and name in before.base}
    rejected = {**action.state.rejected, **waiting}
    return replace(
        action,
        adresse=answer,
        status="conflict" if waiting else action.status,
        state=replace(action.state, base=base, rejected=rejected, advoware_row_id=answer.get("rowId")),
        problems=(*action.problems, *_field_problems(seen, action.row, waiting)),
        changes=(*action.changes, *_rejections(action.row, waiting)),
    )


def link_created(seen: Observation, row: Record, adresse: Record, *, side: str) -> Settle:
    """The action for a pair whose part on ``side`` was just created from the other."""
    ours, theirs = _mapper.comparable_from_espocrm(row), _mapper.comparable_from_advoware(adresse)
    is_main = bool(adresse.get(MAIN))
    base = {name: value for name, value in ours.items() if theirs.get(name, value) == value}
    state = SyncState(
        ENTITY_TYPE,
        row["id"],
        advoware_id=seen.link_of(adresse),
        base={**base, MAIN: is_main, "isActive": True},
        advoware_row_id=adresse.get("rowId"),
    )
    change = {"record": _name_of(row), "field": "adresse", "side": side, "old": None, "new": _mapper.label(ours)}
    # Advoware makes a Beteiligter's first Adresse the main one without being asked.
    attributes = {"istStandard": is_main} if bool(row.get("istStandard")) != is_main else {}
    return Settle(row, adresse, state, attributes=attributes, changes=(change,))


# -- one side gone --------------------------------------------------------------------------------------------------


def _is_newly_gone(seen: Observation, row: Record) -> bool:
    """Whether the Adresse of an active CAdressen is missing without anybody having been told."""
    state = seen.state_of(row["id"])
    if state is None:
        return is_active(row)
    was_reactivated = state.base.get("isActive") is False or "isActive" in state.rejected
    return is_active(row) and not was_reactivated


def _settle_missing(seen: Observation, row: Record) -> Settle:
    state = _state(seen, row, None)
    active, attributes, rejected, status = is_active(row), {}, {}, "clean"
    if _is_newly_gone(seen, row):
        rejected["gone"] = _waiting(seen, state, "gone", espocrm=True, advoware=None)
        attributes, status, active = {"isActive": False}, "deleted_in_advoware", False
    elif active:
        rejected["isActive"] = _waiting(seen, state, "isActive", espocrm=True, advoware=False)
        status = "conflict"
    elif "gone" in state.rejected:
        rejected["gone"] = state.rejected["gone"]
        status = "deleted_in_advoware"
    return Settle(
        row,
        None,
        replace(state, base={**state.base, "isActive": active}, rejected=rejected),
        attributes=attributes,
        status=status,
        problems=_activity_problems(seen, row, None, rejected),
    )


def _remember_deleted(seen: Observation, entity_id: str, adresse: Record | None) -> RememberDeleted:
    state = seen.states.get(entity_id)
    if state is None or seen.state_of(entity_id) is not None:
        link = seen.link_of(adresse) if adresse is not None else None
        state = replace(state or SyncState(ENTITY_TYPE, entity_id, advoware_id=link), deleted_at=seen.now)
    if adresse is None:
        return RememberDeleted(entity_id, state)
    since = state.deleted_at.isoformat(timespec="seconds") if state.deleted_at else None
    problem = Problem(
        "address_delete_required",
        "CBeteiligte",
        seen.beteiligte_id,
        f"address_delete_required:{entity_id}",
        _details(seen, _mapper.comparable_from_advoware(adresse), since=since),
    )
    return RememberDeleted(entity_id, state, (problem,))


# -- states ---------------------------------------------------------------------------------------------------------


def _state(seen: Observation, row: Record, adresse: Record | None) -> SyncState:
    """The state that a pair starts from; what was agreed on or told about another Adresse does not count for it."""
    state = seen.state_of(row["id"])
    if adresse is None:
        return state or SyncState(ENTITY_TYPE, row["id"], advoware_id=f"{seen.betnr}/{row.get('advowareId')}")
    if state is None or state.advoware_id != seen.link_of(adresse):
        state = SyncState(ENTITY_TYPE, row["id"], advoware_id=seen.link_of(adresse))
    return replace(state, advoware_row_id=adresse.get("rowId"))


def _waiting(seen: Observation, state: SyncState, name: str, espocrm: Any, advoware: Any) -> dict[str, Any]:
    """The entry of a difference that waits for a person; the one already there if it is the same difference."""
    known = state.rejected.get(name)
    if known and known.get("espocrm") == espocrm and known.get("advoware") == advoware:
        return dict(known)
    return {"espocrm": espocrm, "advoware": advoware, "since": seen.now.isoformat(timespec="seconds")}


# -- problems and changes -------------------------------------------------------------------------------------------


def _name_of(row: Record) -> str:
    return f"{ENTITY_TYPE}/{row['id']}"


def _details(seen: Observation, values: Mapping[str, Any], **further: Any) -> dict[str, Any]:
    return {"betnr": seen.betnr, "adresse": _mapper.label(values), **further}


def _problem(seen: Observation, action_type: ActionType, row: Record, **further: Any) -> Problem:
    details = _details(seen, _mapper.comparable_from_espocrm(row), **further)
    return Problem(action_type, ENTITY_TYPE, row["id"], f"{action_type}:{row['id']}", details)


def _activity_problems(
    seen: Observation, row: Record, adresse: Record | None, rejected: Mapping[str, Any]
) -> tuple[Problem, ...]:
    """The problems of an address that is in use on one side only."""
    problems = []
    if "gone" in rejected:
        problems.append(_problem(seen, "missing_in_advoware", row, since=rejected["gone"]["since"]))
    if (pair := rejected.get("isActive")) is not None:
        if pair["espocrm"]:
            problems.append(_problem(seen, "address_reactivate_required", row, since=pair["since"]))
        elif adresse is not None:
            problems.append(_problem(seen, "address_delete_required", row, since=pair["since"]))
    return tuple(problems)


def _field_problems(seen: Observation, row: Record, waiting: Mapping[str, Any]) -> tuple[Problem, ...]:
    """One problem for the fields that the interface cannot change, one for those that Advoware did not take."""
    problems = []
    kinds: tuple[tuple[ActionType, bool], ...] = (
        ("address_field_update_required", False),
        ("readonly_field_conflict", True),
    )
    for action_type, refused in kinds:
        of_kind = {name: pair for name, pair in waiting.items() if bool(pair.get("refused")) == refused}
        if of_kind:
            fields = [
                {"field": name, "old": _shown(name, pair["advoware"]), "new": _shown(name, pair["espocrm"])}
                for name, pair in sorted(of_kind.items())
            ]
            since = min(pair["since"] for pair in of_kind.values())
            problems.append(_problem(seen, action_type, row, fields=fields, since=since))
    return tuple(problems)


def _conflict_problems(seen: Observation, row: Record, fields: _Fields) -> tuple[Problem, ...]:
    """EspoCRM won over an edit in Advoware: somebody should know what was replaced there."""
    lost = [
        {"field": conflict.field, "old": _shown(conflict.field, conflict.advoware), "new": conflict.espocrm}
        for conflict in fields.plan.conflicts
        if conflict.field in fields.to_advoware
    ]
    if not lost:
        return ()
    since = seen.now.isoformat(timespec="seconds")
    problem = _problem(seen, "general_manual_action", row, reason="conflict", fields=lost, since=since)
    return (replace(problem, key=f"conflict:{row['id']}"),)


def _shown(name: str, value: Any) -> Any:
    """A value as people know it."""
    return country_text(value or GERMANY) if name == "land" else value


def _changes(row: Record, fields: _Fields) -> list[Mapping[str, Any]]:
    lost = {conflict.field for conflict in fields.plan.conflicts}
    changes: list[Mapping[str, Any]] = []
    for side, written, old in (
        ("advoware", fields.to_advoware, fields.theirs),
        ("espocrm", fields.to_espocrm, fields.ours),
    ):
        for name, new in sorted(written.items()):
            change = {"record": _name_of(row), "field": name, "side": side, "old": old.get(name), "new": new}
            changes.append({**change, "conflict": True} if name in lost else change)
    return changes


def _newly(waiting: Mapping[str, Any], state: SyncState) -> dict[str, Any]:
    return {name: pair for name, pair in waiting.items() if state.rejected.get(name) != pair}


def _rejections(row: Record, waiting: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        {"record": _name_of(row), "field": name, "side": "advoware", "rejected": True, **pair}
        for name, pair in sorted(waiting.items())
    ]
