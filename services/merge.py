"""Field-level three-way merge, shared by every sync. Pure: three mappings in, a plan out.

Values are normalised before they come here: equal values mean the same, and None means empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Side = Literal["espocrm", "advoware"]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """A field that was changed on both sides, to different values. The loser's value is kept for a person to see."""

    field: str
    winner: Side
    espocrm: Any
    advoware: Any


@dataclass(frozen=True)
class Merge:
    """What has to be written where, and what both sides agree on afterwards."""

    to_espocrm: dict[str, Any] = field(default_factory=dict)
    to_advoware: dict[str, Any] = field(default_factory=dict)
    agreed: dict[str, Any] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()

    @property
    def outcome(self) -> str:
        """``no_change | espocrm_newer | advoware_newer | merged | conflict``."""
        if self.conflicts:
            return "conflict"
        if self.to_espocrm and self.to_advoware:
            return "merged"
        if self.to_advoware:
            return "espocrm_newer"
        return "advoware_newer" if self.to_espocrm else "no_change"


def merge(base: Values, espocrm: Values, advoware: Values, *, first_winner: Side | None = "espocrm") -> Merge:
    """Merge the fields that both sides know.

    A field changed on one side since ``base`` is copied to the other; changed on both to the same value, nothing is
    written; changed on both to different values, EspoCRM wins and a conflict is reported. A field that ``base`` does
    not know (first sync) takes the value of the only side that has one, else that of ``first_winner``; with None as
    winner such a field is left alone on both sides and stays out of ``agreed``.
    """
    result = Merge()
    conflicts = []
    for name in espocrm.keys() & advoware.keys():
        ours, theirs = espocrm[name], advoware[name]
        if ours == theirs:
            result.agreed[name] = ours
            continue
        winner = _winner(name, base, ours, theirs, first_winner)
        if winner is None:
            continue
        result.agreed[name] = ours if winner == "espocrm" else theirs
        (result.to_advoware if winner == "espocrm" else result.to_espocrm)[name] = result.agreed[name]
        if name in base and base[name] not in (ours, theirs):
            conflicts.append(Conflict(name, winner, ours, theirs))
    return Merge(result.to_espocrm, result.to_advoware, result.agreed, tuple(sorted(conflicts, key=lambda c: c.field)))


def _winner(name: str, base: Values, ours: Any, theirs: Any, first_winner: Side | None) -> Side | None:
    if name in base:
        return "advoware" if ours == base[name] else "espocrm"
    if ours is None:
        return "advoware"
    if theirs is None:
        return "espocrm"
    return first_winner
