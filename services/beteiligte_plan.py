"""What the sync of one Beteiligter has observed and decided, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.espocrm_mapper import BeteiligteMapper
from services.merge import Merge
from services.sync_parts import PartResult, Problem
from services.sync_state import SyncState

Record = dict[str, Any]

CONTACT_ARRAYS = ("emailAddressData", "phoneNumberData")


@dataclass(frozen=True)
class Observation:
    """Both sides of a linked record and what they last agreed on.

    ``state`` is None before the first sync; ``adressen`` are the CAdressen, if they were listed before Advoware was
    read.
    """

    espo: Record
    advo: Record
    state: SyncState | None
    adressen: list[Record] | None = None


@dataclass(frozen=True)
class Parts:
    """What Kommunikation, Adressen and Bankverbindungen led to, and what of the master data could not be written."""

    kommunikation: PartResult = field(default_factory=PartResult)
    adressen: PartResult = field(default_factory=PartResult)
    bankverbindungen: PartResult = field(default_factory=PartResult)
    master_data: PartResult = field(default_factory=PartResult)

    @property
    def results(self) -> tuple[PartResult, ...]:
        return (self.master_data, self.kommunikation, self.adressen, self.bankverbindungen)

    @property
    def espocrm(self) -> Record:
        return {name: value for result in self.results for name, value in result.espocrm.items()}

    @property
    def changes(self) -> list[Mapping[str, Any]]:
        return [change for result in self.results for change in result.changes]

    @property
    def problems(self) -> list[Problem]:
        return [problem for result in self.results for problem in result.problems]

    @property
    def errors(self) -> list[str]:
        return [error for result in self.results for error in result.errors]

    @property
    def wrote(self) -> bool:
        return any(result.wrote_advoware or result.espocrm for result in self.results)


def contact_entries(record: Record, array: str) -> list[tuple[str, str, bool]]:
    """What people see of a contact array; computed keys come and go between answers."""
    return [
        (
            str(entry.get("phoneNumber") or entry.get("emailAddress") or "").strip().lower(),
            str(entry.get("type") or ""),
            bool(entry.get("primary")),
        )
        for entry in record.get(array) or ()
    ]


def betnr_of(espo: Record) -> str | None:
    """The betNr that the record shows."""
    return str(espo["betnr"]) if espo.get("betnr") else None


def result_of(plan: Merge, parts: Parts) -> str:
    """The outcome of the master data, or what the parts did if that was nothing."""
    if plan.outcome != "no_change" or not parts.changes:
        return plan.outcome
    sides = {change.get("side") for change in parts.changes}
    if any(change.get("conflict") for change in parts.changes):
        return "conflict"
    if len(sides) > 1:
        return "merged"
    return "espocrm_newer" if sides == {"advoware"} else "advoware_newer"


def agreed_base(state: SyncState | None, plan: Merge, different: set[str]) -> dict[str, Any]:
    """What both sides agree on now; a field that still differs keeps what they agreed on before."""
    known = state.base if state else {}
    agreed = {name: value for name, value in plan.agreed.items() if name not in different}
    return {**{name: known[name] for name in different if name in known}, **agreed}


def rejected_fields(sent: Mapping[str, Any], before: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that Advoware did not take although it accepted the request: they hold the value from before.

    Any third value is an edit that somebody made there in the meantime, which the next merge treats as such.
    """
    return {
        name: {"espocrm": value, "advoware": taken[name]}
        for name, value in sent.items()
        if name in taken and taken[name] != value and taken[name] == before.get(name)
    }


def kept_refusals(seen: Observation, plan: Merge) -> dict[str, Any]:
    """The refusals of earlier syncs that still stand: the plan did not touch the field."""
    known = seen.state.rejected if seen.state else {}
    return {name: pair for name, pair in known.items() if name not in plan.agreed}


def on_side(side: str, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the audit's lines that are about this side, ``advoware`` or ``espocrm``."""
    return [line for line in lines if line.get("side") == side]


def rejection_lines(rejected: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The audit's lines for what Advoware did not take."""
    return [{"field": name, "side": "advoware", "rejected": True, **pair} for name, pair in rejected.items()]


def change_lines(seen: Observation, plan: Merge, mapper: BeteiligteMapper) -> list[dict[str, Any]]:
    """What the plan changes, for the audit: old and new value per field, and whether a person's change lost."""
    ours, theirs = mapper.comparable_from_espocrm(seen.espo), mapper.comparable_from_advoware(seen.advo)
    lost = {conflict.field for conflict in plan.conflicts}
    changes = []
    for side, written, old in (("advoware", plan.to_advoware, theirs), ("espocrm", plan.to_espocrm, ours)):
        for name, new in sorted(written.items()):
            change = {"field": name, "side": side, "old": old.get(name), "new": new}
            changes.append({**change, "conflict": True} if name in lost else change)
    return changes
