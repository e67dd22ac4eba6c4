"""What the sync of Adressen has to do: pure functions from what was observed to a list of actions.

`match_addresses` pairs both sides. What then seems to be gone from one side is confirmed by the caller with a direct
read, and `make_plan` turns the picture into actions, which are data: they can be printed, tested and audited.

A state's ``base`` holds the comparable values that both sides agreed on, ``standardAnschrift``, and as ``isActive``
what the CAdressen said when we last looked. Its ``rejected`` holds the differences that wait for a person,
``{field: {"espocrm", "advoware", "since", "refused"?}}``; besides fields there are ``isActive`` (deactivated or
reactivated in EspoCRM) and ``gone`` (not in Advoware any more).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from services.adressen_mapper import WRITABLE_FIELDS, AdressenMapper, country_text, has_content
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

    ``put`` is the body for Advoware and ``sent`` the comparable values it sets; ``attributes`` go to EspoCRM. Empty
    ones are not sent.
    """

    row: Record
    adresse: Record | None
    state: SyncState
    put: Record = field(default_factory=dict)
    sent: Mapping[str, Any] = field(default_factory=dict)
    attributes: Record = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class RememberDeleted:
    """The CAdressen was deleted in EspoCRM, or belongs to somebody else now."""

    entity_id: str
    state: SyncState
    problems: tuple[Problem, ...] = ()


Action = CreateAdresse | CreateCAdressen | Settle | RememberDeleted


def make_plan(seen: Observation, found: Match, confirmed: Iterable[str] = ()) -> list[Action]:
    """The actions, in their order.

    ``confirmed`` are those of `unconfirmed` whose absence a direct read has confirmed; the others are left alone.
    """
    doubtful = unconfirmed(seen, found) - set(confirmed)
    main = choose_main(seen, found)
    actions: list[Action] = []
    for entity_id, adresse in found.vanished.items():
        if entity_id not in doubtful:
            actions.append(_remember_deleted(seen, entity_id, adresse))
    actions += [_settle_pair(seen, main, row, adresse) for row, adresse in found.pairs]
    for row in found.missing:
        if row["id"] not in doubtful and (seen.direction == "both" or not _is_newly_gone(seen, row)):
            actions.append(_settle_missing(seen, row))
    for row in found.new_rows:
        if is_active(row) and has_content(_mapper.comparable_from_espocrm(row)):
            is_main = main.wanted == row["id"]
            body = _mapper.map_cadressen_to_advoware(row, seen.beteiligter, is_main=is_main)
            actions.append(CreateAdresse(row, body))
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
    attributes = _sync_fields(seen, row, adresse, {}, "conflict" if problems else "clean")
    return Settle(row, adresse, state, attributes=attributes, problems=problems)


def _settle_fields(
    seen: Observation, main: MainAddress, row: Record, adresse: Record, state: SyncState, rejected: dict[str, Any]
) -> Settle:
    ours, theirs = _mapper.comparable_from_espocrm(row), _mapper.comparable_from_advoware(adresse)
    theirs.setdefault("weitereZeilen", state.base.get("weitereZeilen", ours["weitereZeilen"]))
    base = {name: value for name, value in state.base.items() if name in ours}
    plan = merge(base, ours, theirs)
    waiting = {name: _waiting(seen, state, name, ours[name], theirs[name]) for name in plan.to_advoware}
    waiting = {name: pair for name, pair in waiting.items() if name not in WRITABLE_FIELDS or pair.get("refused")}
    sent = {name: value for name, value in plan.to_advoware.items() if name not in waiting}
    taken = plan.to_espocrm if seen.direction == "both" else {}
    undecided = {*waiting, *(plan.to_espocrm.keys() - taken.keys())}
    agreed = {name: value for name, value in plan.agreed.items() if name not in undecided}
    agreed |= {name: base[name] for name in undecided if name in base}

    attributes = _mapper.to_espocrm(taken, {**ours, **taken})
    is_main = main.wanted == row["id"]
    if seen.direction == "both" and main.wanted is not None and bool(row.get("istStandard")) != is_main:
        attributes["istStandard"] = is_main
    if is_main and main.is_task:
        waiting[MAIN] = _waiting(seen, state, MAIN, espocrm=True, advoware=False)
    if main.agreed is not None:
        agreed[MAIN] = main.agreed == row["id"]
    put = {**adresse, **_mapper.to_advoware({**theirs, **sent}, seen.beteiligter)} if sent else {}
    return Settle(
        row,
        adresse,
        replace(state, base={**agreed, "isActive": True}, rejected={**rejected, **waiting}),
        put,
        sent,
        _sync_fields(seen, row, adresse, attributes, "conflict" if waiting else "clean"),
        (
            *_activity_problems(seen, row, adresse, rejected),
            *field_problems(seen, row, adresse, waiting),
            *_conflict_problems(seen, row, adresse, plan, sent),
        ),
        _changes(seen, row, plan, sent, taken, waiting),
    )


def verify_put(seen: Observation, action: Settle, answer: Record) -> Settle:
    """The action after its PUT: with Advoware's new record, and what Advoware silently did not take as a problem."""
    taken = _mapper.comparable_from_advoware(answer)
    ours = _mapper.comparable_from_espocrm(action.row)
    refused = {name for name, value in action.sent.items() if taken.get(name, value) != value}
    waiting = {
        name: {**_waiting(seen, action.state, name, ours[name], taken[name]), "refused": True} for name in refused
    }
    before = seen.state_of(action.row["id"])
    base = {name: value for name, value in action.state.base.items() if name not in refused}
    base |= {name: before.base[name] for name in refused if before is not None and name in before.base}
    rejected = {**action.state.rejected, **waiting}
    attributes = dict(action.attributes)
    if waiting:
        attributes = _sync_fields(seen, action.row, answer, attributes, "conflict")
    return replace(
        action,
        adresse=answer,
        attributes={**attributes, "advowareRowId": answer.get("rowId")},
        state=replace(action.state, base=base, rejected=rejected, advoware_row_id=answer.get("rowId")),
        problems=(*action.problems, *field_problems(seen, action.row, answer, waiting)),
        changes=(*action.changes, *_rejections(action.row["id"], waiting)),
    )


def link_created(seen: Observation, row: Record, adresse: Record) -> Settle:
    """The action for a pair of which one side was just created from the other."""
    ours, theirs = _mapper.comparable_from_espocrm(row), _mapper.comparable_from_advoware(adresse)
    base: dict[str, Any] = {name: value for name, value in ours.items() if theirs.get(name, value) == value}
    is_main = bool(adresse.get(MAIN))
    state = SyncState(
        ENTITY_TYPE,
        row["id"],
        advoware_id=seen.link_of(adresse),
        base={**base, MAIN: is_main, "isActive": True},
        advoware_row_id=adresse.get("rowId"),
    )
    attributes = {"istStandard": False} if row.get("istStandard") and not is_main else {}
    return Settle(row, adresse, state, attributes=_sync_fields(seen, row, adresse, attributes, "clean"))


# -- one side gone --------------------------------------------------------------------------------------------------


def _is_newly_gone(seen: Observation, row: Record) -> bool:
    """Whether an Adresse that EspoCRM shows as active is missing without anybody having been told."""
    state = seen.state_of(row["id"])
    if not is_active(row) or state is None:
        return is_active(row)
    reactivated = state.base.get("isActive") is False or "isActive" in state.rejected
    return not reactivated


def _settle_missing(seen: Observation, row: Record) -> Settle:
    state = _state(seen, row, None)
    active, was_active = is_active(row), state.base.get("isActive", True)
    rejected: dict[str, Any] = {}
    attributes: Record = {}
    status = "clean"
    if _is_newly_gone(seen, row):
        rejected["gone"] = _waiting(seen, state, "gone", espocrm=True, advoware=None)
        attributes, status, active = {"isActive": False}, "deleted_in_advoware", False
    elif active:
        rejected["isActive"] = _waiting(seen, state, "isActive", espocrm=True, advoware=False)
        status = "conflict"
    elif "gone" in state.rejected and not was_active:
        rejected["gone"] = state.rejected["gone"]
        status = "deleted_in_advoware"
    problems = _activity_problems(seen, row, None, rejected)
    state = replace(state, base={**state.base, "isActive": active}, rejected=rejected)
    attributes = _sync_fields(seen, row, None, attributes, status)
    return Settle(row, None, state, attributes=attributes, problems=problems)


def _remember_deleted(seen: Observation, entity_id: str, adresse: Record | None) -> RememberDeleted:
    state = seen.states.get(entity_id)
    if state is None and adresse is not None:
        state = SyncState(ENTITY_TYPE, entity_id, advoware_id=seen.link_of(adresse))
    assert state is not None  # noqa: S101 - without a state only its mark in an Adresse names a CAdressen
    if seen.state_of(entity_id) is not None or entity_id not in seen.states:
        state = replace(state, deleted_at=seen.now)
    problems = ()
    if adresse is not None:
        since = state.deleted_at.isoformat(timespec="seconds") if state.deleted_at else None
        details = _details(seen, _mapper.comparable_from_advoware(adresse), since)
        key = f"address_delete_required:{entity_id}"
        problems = (Problem("address_delete_required", "CBeteiligte", seen.beteiligte_id, key, details),)
    return RememberDeleted(entity_id, state, problems)


# -- helpers --------------------------------------------------------------------------------------------------------


def _state(seen: Observation, row: Record, adresse: Record | None) -> SyncState:
    """The state a pair starts from; differences told about another Adresse do not count for this one."""
    link = seen.link_of(adresse) if adresse is not None else None
    state = seen.state_of(row["id"])
    if state is None:
        return SyncState(
            ENTITY_TYPE,
            row["id"],
            advoware_id=link or f"{seen.betnr}/{row.get('advowareId')}",
            advoware_row_id=adresse.get("rowId") if adresse else None,
        )
    if adresse is None:
        return state
    if state.advoware_id != link:
        state = replace(state, advoware_id=link, base={}, rejected={})
    return replace(state, advoware_row_id=adresse.get("rowId"))


def _waiting(seen: Observation, state: SyncState, name: str, espocrm: Any, advoware: Any) -> dict[str, Any]:
    """The entry of a difference that waits for a person; the one already there if it is the same difference."""
    known = state.rejected.get(name)
    if known and known.get("espocrm") == espocrm and known.get("advoware") == advoware:
        return dict(known)
    return {"espocrm": espocrm, "advoware": advoware, "since": seen.now.isoformat(timespec="seconds")}


def _sync_fields(
    seen: Observation, row: Record, adresse: Record | None, attributes: Record, status: str
) -> Record:
    """The attributes together with the sync fields, or nothing if there is nothing to write."""
    changed = dict(attributes)
    if row.get("syncStatus") != status:
        changed["syncStatus"] = status
    if adresse is not None and row.get("advowareId") != adresse["id"]:
        changed["advowareId"] = adresse["id"]
    if not changed:
        return {}
    row_id = {"advowareRowId": adresse.get("rowId")} if adresse is not None else {}
    return {**changed, **row_id, "advowareLastSync": format_date_time(seen.now)}
