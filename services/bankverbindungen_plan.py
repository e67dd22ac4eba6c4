"""What is to be done about a Bankverbindung: pure functions from what was observed to what is written and told.

A state's ``base`` holds the values both sides agreed on, besides ``beteiligteId``, ``label`` and ``accepted``:
differences that were there from the start and mean nothing, ``{field: [EspoCRM, Advoware]}``. Its ``rejected`` holds
the differences that wait for a person, ``{field: {"espocrm", "advoware", "since"}}``, besides ``istAktiv`` and
``gone``. They are told again in every run, under the same key, until they are settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.bankverbindungen_mapper import FIELDS, BankverbindungenMapper
from services.sync_parts import Problem
from services.sync_state import SyncState

ENTITY_TYPE = "CBankverbindungen"

Record = dict[str, Any]
_mapper = BankverbindungenMapper()


@dataclass(frozen=True)
class Observation:
    """Both sides of one Beteiligter. ``states`` are by CBankverbindungen id and include deleted ones."""

    beteiligte_id: str
    betnr: str
    konten: list[Record]
    states: dict[str, SyncState]
    now: datetime

    def link_of(self, konto: Mapping[str, Any]) -> str:
        """The ``advoware_id`` of a Bankverbindung: its id is only known to be unique within the Beteiligter [A]."""
        return f"{self.betnr}/{konto['id']}"

    def state_of(self, entity_id: str) -> SyncState | None:
        """The state of a CBankverbindungen that is linked with this Beteiligter."""
        state = self.states.get(entity_id)
        return state if state is not None and state.belongs_to(self.betnr) else None

    def linked_except(self, entity_id: str) -> set[str | None]:
        """The ``advoware_id`` of all other CBankverbindungen."""
        states = self.states.values()
        return {s.advoware_id for s in states if s.belongs_to(self.betnr) and s.entity_id != entity_id}

    def konto_by_link(self, link: str | None) -> Record | None:
        """The Bankverbindung with this ``advoware_id``."""
        return next((konto for konto in self.konten if self.link_of(konto) == link), None)


@dataclass(frozen=True)
class Settle:
    """What to write into a CBankverbindungen, what to remember, and whom to tell."""

    row: Record
    state: SyncState
    attributes: Record
    result: str
    problems: tuple[Problem, ...] = ()
    changes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Found:
    """The Bankverbindung of a CBankverbindungen. ``is_known``: it was linked, so that None means it is gone."""

    konto: Record | None
    is_known: bool
    is_taken: bool = False  #: the IBAN belongs to another CBankverbindungen already


def find_konto(seen: Observation, row: Record) -> Found:
    """The Bankverbindung a row belongs to: by the stored link, by ``advowareKontoId``, else by the same IBAN.

    A person may have replaced a linked one by a new one with the changed IBAN: then that is it.
    """
    state = seen.states.get(row["id"])
    linked = seen.state_of(row["id"])
    link = linked.advoware_id if linked is not None else None
    if (
        link is None
        and row.get("advowareKontoId")
        and (state is None or state.is_released or replace(state, deleted_at=None).belongs_to(seen.betnr))
    ):
        link = f"{seen.betnr}/{row['advowareKontoId']}"
    konto = seen.konto_by_link(link)
    iban = _mapper.comparable_from_espocrm(row)["iban"]
    if konto is not None and _mapper.comparable_from_advoware(konto)["iban"] == iban:
        return Found(konto, is_known=True)
    same = [item for item in seen.konten if iban and _mapper.comparable_from_advoware(item)["iban"] == iban]
    taken = seen.linked_except(row["id"])
    free = [item for item in same if seen.link_of(item) not in taken]
    if free:
        return Found(free[0], is_known=link is not None)
    return Found(konto, is_known=link is not None, is_taken=bool(same))


def is_active(row: Record) -> bool:
    """Whether a CBankverbindungen is in use; one that does not say so is."""
    return row.get("istAktiv") is not False


def settle(seen: Observation, row: Record, konto: Record, *, created: bool = False) -> Settle:
    """What to do about a linked pair; ``created``: Advoware's part was just created from the row."""
    ours, theirs = _mapper.comparable_from_espocrm(row), _mapper.comparable_from_advoware(konto)
    state = seen.state_of(row["id"])
    is_new = state is None or state.advoware_id != seen.link_of(konto)
    if state is None or is_new:
        state = SyncState(ENTITY_TYPE, row["id"], advoware_id=seen.link_of(konto))
    accepted = _harmless(ours, theirs, created=created) if is_new else state.base.get("accepted", {})
    waiting = {
        name: _waiting(seen, state, name, ours[name], theirs[name])
        for name in FIELDS
        if ours[name] != theirs[name] and accepted.get(name) != [ours[name], theirs[name]]
    }
    if not is_active(row):
        waiting = {"istAktiv": _waiting(seen, state, "istAktiv", espocrm=False, advoware=True)}
    base = {
        **{name: value for name, value in ours.items() if theirs[name] == value},
        "accepted": accepted,
        "beteiligteId": seen.beteiligte_id,
        "label": _mapper.label(theirs),
    }
    attributes = {} if row.get("advowareKontoId") == konto["id"] else {"advowareKontoId": konto["id"]}
    status = "unclean" if waiting else "clean"
    linked = "created" if created else "adopted" if attributes else None
    return Settle(
        row,
        replace(state, base=base, rejected=waiting, advoware_row_id=konto.get("rowId")),
        _with_status(row, attributes, status),
        linked or ("no_change" if row.get("syncStatus") == status else status),
        _problems(seen, row, theirs, waiting),
        _changes(row, waiting, state),
    )


def settle_gone(seen: Observation, row: Record) -> Settle:
    """What to do about a linked CBankverbindungen whose Bankverbindung is not in Advoware any more."""
    link = f"{seen.betnr}/{row.get('advowareKontoId')}"
    state = seen.state_of(row["id"]) or SyncState(ENTITY_TYPE, row["id"], advoware_id=link)
    waiting = {"gone": _waiting(seen, state, "gone", espocrm=True, advoware=None)} if is_active(row) else {}
    base = {**state.base, "beteiligteId": seen.beteiligte_id}
    return Settle(
        row,
        replace(state, base=base, rejected=waiting),
        _with_status(row, {}, "unclean" if waiting else "clean"),
        "unclean" if waiting else "no_change",
        _problems(seen, row, _mapper.comparable_from_espocrm(row), waiting),
    )


def is_newly_gone(seen: Observation, row: Record) -> bool:
    """Whether a missing Bankverbindung was not told yet, so that its absence needs a second look."""
    state = seen.state_of(row["id"])
    return is_active(row) and (state is None or "gone" not in state.rejected)


def deleted_problem(beteiligte_id: str, state: SyncState) -> Problem:
    """The problem of a CBankverbindungen that was deleted in EspoCRM while Advoware still has it."""
    details = {
        "reason": "bank_inactive",
        "betnr": (state.advoware_id or "").partition("/")[0],
        "konto": state.base.get("label") or "",
        "since": state.deleted_at.isoformat(timespec="seconds") if state.deleted_at else None,
    }
    return Problem("general_manual_action", "CBeteiligte", beteiligte_id, f"bank:{state.entity_id}", details)


def invalid_problem(seen: Observation, row: Record, reason: str) -> Problem:
    """The problem of a CBankverbindungen whose values nobody can use; ``reason`` names the field."""
    details = {
        "reason": "bank_invalid",
        "betnr": seen.betnr,
        "konto": _mapper.label(_mapper.comparable_from_espocrm(row)),
        "error": reason,
    }
    return Problem("general_manual_action", ENTITY_TYPE, row["id"], f"bank_invalid:{row['id']}", details)


# -- helpers --------------------------------------------------------------------------------------------------------


def _harmless(ours: Mapping[str, Any], theirs: Mapping[str, Any], *, created: bool) -> dict[str, list[Any]]:
    """Differences at the time of linking that mean nothing: one side says nothing, or names the bank differently.

    What we have just sent and is not there is another matter.
    """
    return {
        name: [ours[name], theirs[name]]
        for name in FIELDS
        if ours[name] != theirs[name] and (ours[name] is None or (not created and _says_little(name, theirs[name])))
    }


def _says_little(name: str, value: Any) -> bool:
    return name == "bank" or value is None


def _waiting(seen: Observation, state: SyncState, name: str, espocrm: Any, advoware: Any) -> dict[str, Any]:
    known = state.rejected.get(name)
    if known and known.get("espocrm") == espocrm and known.get("advoware") == advoware:
        return dict(known)
    return {"espocrm": espocrm, "advoware": advoware, "since": seen.now.isoformat(timespec="seconds")}


def _with_status(row: Record, attributes: Record, status: str) -> Record:
    return attributes if row.get("syncStatus") == status else {**attributes, "syncStatus": status}


def _problems(
    seen: Observation, row: Record, values: Mapping[str, Any], waiting: Mapping[str, Any]
) -> tuple[Problem, ...]:
    if not waiting:
        return ()
    reason = "bank_inactive" if "istAktiv" in waiting else "bank_missing" if "gone" in waiting else "bank_changed"
    details: dict[str, Any] = {"reason": reason, "betnr": seen.betnr, "konto": _mapper.label(values)}
    if reason == "bank_changed":
        details["fields"] = [
            {"field": name, "old": _mapper.shown(name, pair["advoware"]), "new": _mapper.shown(name, pair["espocrm"])}
            for name, pair in sorted(waiting.items())
        ]
    details["since"] = min(pair["since"] for pair in waiting.values())
    return (Problem("general_manual_action", ENTITY_TYPE, row["id"], f"bank:{row['id']}", details),)


def _changes(row: Record, waiting: Mapping[str, Any], before: SyncState) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "record": f"{ENTITY_TYPE}/{row['id']}",
            "field": name,
            "side": "advoware",
            "rejected": True,
            "old": _mapper.shown(name, pair["advoware"]),
            "new": _mapper.shown(name, pair["espocrm"]),
        }
        for name, pair in sorted(waiting.items())
        if before.rejected.get(name) != pair
    )
