"""Comparable values of two systems, and the three-way merge that every sync shares. Pure.

A comparable value is a value, None for empty, or `Unknown`: something that the other side cannot hold or that cannot
be read. A field that a mapping does not contain at all is unknown as well, and nothing else is known about it.
Unknown is never copied and never clears anything (specification 13, G1).

The base remembers for each field what *each side* held when the two were last settled. So "who has changed it" is
known also where the values cannot be compared, and a value that the receiver stores differently from what was sent
(altered), or did not take (refused), is not mistaken for a person's edit (G2).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")
Side = Literal["espocrm", "advoware"]

#: The member of a stored base that holds no pair but what a run was about to write (`services.vmh_sync.sending`).
SENDING = "sending"
#: Likewise: the ``rowId`` of Advoware's record, and whether all that it showed stands in the base.
VERSION = "version"


@dataclass(frozen=True)
class Unknown:
    """A value that only its own side understands; ``text`` is what that side shows, to be compared with itself."""

    text: str


Value = Any  #: str, bool, int, None for empty, or Unknown
Values = Mapping[str, Value]


class Pair(NamedTuple):
    """What the two sides held when they were last settled; the two differ where one cannot hold the other's value."""

    espocrm: Value
    advoware: Value


Base = Mapping[str, Pair]
#: Why the receiving side cannot hold a value (a word of the catalogue of problems), or None if it can.
Unfit = Callable[[Side, str, Value], str | None]


@dataclass(frozen=True)
class Conflict:
    """A field that was changed on both sides, to different values. The loser's value is kept for a person to see."""

    field: str
    winner: Side
    espocrm: Value
    advoware: Value


@dataclass(frozen=True)
class Held:
    """A person's value on ``side`` that cannot be brought to the other side, and why.

    The reason is ``unknown`` (only its own side understands it), ``missing`` (the other side does not show the field),
    ``undecided`` (the sides differ at the first sync and neither is newer), ``shown_otherwise`` (Advoware shows another
    value than before and was not edited), or a word of ``unfit``.
    """

    field: str
    side: Side
    espocrm: Value
    advoware: Value
    reason: str


@dataclass(frozen=True)
class Merge:
    """What has to be written where, and what is settled afterwards.

    Attributes:
        to_espocrm, to_advoware: values to be written; never `Unknown`.
        settled: the base after the writes have succeeded; fields that only one side shows keep their old pair.
        conflicts: fields in which EspoCRM has won over an edit in Advoware.
        held: edits that cannot arrive; both sides are left as they are, and their pair is in ``settled``, unless an
            edit still has to be found (``missing``, ``shown_otherwise``, or both sides have changed the field).
    """

    to_espocrm: dict[str, Value] = field(default_factory=dict)
    to_advoware: dict[str, Value] = field(default_factory=dict)
    settled: dict[str, Pair] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def outcome(self) -> str:
        """``no_change | espocrm_newer | advoware_newer | merged | conflict``."""
        if self.conflicts:
            return "conflict"
        if self.to_espocrm and self.to_advoware:
            return "merged"
        if self.to_advoware:
            return "espocrm_newer"
        if self.to_espocrm:
            return "advoware_newer"
        return "no_change"


def is_same(one: Value, other: Value) -> bool:
    """Whether two values mean the same; a value that a side shows is understood, whatever the other's list says."""
    return bool(text_of(one) == text_of(other))


def differing_fields(espocrm: Values, advoware: Values) -> list[str]:
    """The fields that both sides show with different values, sorted."""
    differing = []
    for name in sorted(espocrm.keys() & advoware.keys()):
        if not is_same(espocrm[name], advoware[name]):
            differing.append(name)
    return differing


def may_be_stored_form(sent: Value, shown: Value) -> bool:
    """Whether a system may have made ``shown`` of what was sent: in other letters, cut off, or not stored at all."""
    one = str(text_of(sent) or "").casefold()
    other = str(text_of(shown) or "").casefold()
    return sent != shown and one.startswith(other)


def text_of(value: Value) -> Value:
    """A value as its own side shows it."""
    if isinstance(value, Unknown):
        return value.text
    return value


def held_by_advoware(base: Base) -> dict[str, Value]:
    """What Advoware held when the sides were last settled."""
    return {name: pair.advoware for name, pair in base.items()}


def only(values: Mapping[str, T], names: Iterable[str]) -> dict[str, T]:
    """The values of the fields of these names, as far as there are such."""
    return {name: values[name] for name in names if name in values}


def without(values: Mapping[str, T], names: Container[str]) -> dict[str, T]:
    """The values without the fields of these names."""
    return {name: value for name, value in values.items() if name not in names}


def merge(
    base: Base,
    espocrm: Values,
    advoware: Values,
    *,
    first_winner: Side | None = "espocrm",
    is_edited: bool | None = None,
    shown_otherwise: Values = MappingProxyType({}),
    unfit: Unfit = lambda side, name, value: None,
) -> Merge:
    """Merge two records field by field.

    * Equal values are settled. A difference that is settled already (neither side has changed) is left alone.
    * Changed on one side since the base: brought to the other side if that can hold it, else `Held`.
    * Changed on both sides to different values: EspoCRM wins, a `Conflict` is reported. If Advoware cannot hold
      EspoCRM's value, both are left, the edit is `Held`, and Advoware's is still to be found.
    * What Advoware shows unknown where the two sides differed before is left alone, and the pair stays.
    * Without a base (first sync): `Unknown` is left alone, and EspoCRM's is `Held`; a value wins over none; of two
      values that of ``first_winner`` wins, and with None as winner both are left and the field is `Held`
      (``undecided``). If Advoware's record was edited since EspoCRM's was made of it (``is_edited``), a value that
      gives way there is a `Conflict`.
    * A field that only one side shows is left alone and keeps its pair; an edit of it, and a value of EspoCRM that
      has never arrived, is `Held` (``missing``), again and again until it is shown or taken back.
    * If Advoware's record was not edited since the two were settled (``is_edited`` is False), what it shows otherwise
      (cut, in capitals, empty) is no edit: it is `Held` (``shown_otherwise``). Nor is a value that was held so before
      (``shown_otherwise``), whatever else was edited. A write of another field sends it along, and it is settled as it
      is shown then.

    ``is_edited`` is None where no version shows it (`is_version`). ``unfit(side, field, value)`` says why a side cannot
    hold a value.
    """
    run = _Run(
        base,
        unfit,
        first_winner,
        is_edited,
        shown_otherwise,
        settled=dict(base),
    )
    for name in sorted(espocrm.keys() | advoware.keys()):
        if name in espocrm and name in advoware:
            run.decide(name, espocrm[name], advoware[name])
        else:
            run.hold_one_sided(name, espocrm, advoware)
    run.hold_shown_otherwise()
    return Merge(
        to_espocrm=run.to_espocrm,
        to_advoware=run.to_advoware,
        settled=run.settled,
        conflicts=tuple(run.conflicts),
        held=tuple(run.held),
    )


@dataclass
class _Run:
    base: Base
    unfit: Unfit
    first_winner: Side | None
    is_edited: bool | None
    shown_otherwise: Values
    settled: dict[str, Pair]
    to_espocrm: dict[str, Value] = field(default_factory=dict)
    to_advoware: dict[str, Value] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    odd: dict[str, Pair] = field(default_factory=dict)

    def decide(self, name: str, espocrm: Value, advoware: Value) -> None:
        now = Pair(espocrm, advoware)
        if is_same(espocrm, advoware):
            self.settled[name] = now
            return
        last = self.base.get(name)
        if last is None:
            self._decide_first(name, now)
            return
        self._decide_changed(name, now, last)

    def _decide_changed(self, name: str, now: Pair, last: Pair) -> None:
        """The sides differ, and it is known how they stood last."""
        espocrm_changed, advoware_changed = _changed_sides(now, last)
        if not espocrm_changed and _is_hidden_difference(now, last):
            return
        if advoware_changed and self._is_shown_otherwise(name, now, last):
            self._decide_odd(name, now, last, is_edited=espocrm_changed)
        elif espocrm_changed and advoware_changed:
            self._decide_conflict(name, now)
            if name not in self.to_advoware:
                # Neither edit is settled, or it would be overwritten by the other one's end.
                self.settled[name] = last
        elif espocrm_changed:
            self._bring(name, now, "espocrm")
        elif advoware_changed:
            self._bring(name, now, "advoware")

    def hold_one_sided(self, name: str, espocrm: Values, advoware: Values) -> None:
        """The other side does not show the field: nothing can be compared, and a change of this side cannot arrive."""
        side: Side = "espocrm"
        if name not in espocrm:
            side = "advoware"
        last = self.base.get(name)
        if last is None:
            if side == "advoware":
                return  # nothing of EspoCRM's is kept from arriving
            last = Pair(None, None)
        in_espocrm = espocrm.get(name, last.espocrm)
        in_advoware = advoware.get(name, last.advoware)
        now = Pair(in_espocrm, in_advoware)
        if is_same(in_espocrm, in_advoware):
            # What changed is what the other side showed last.
            self.settled[name] = now
            return
        if any(_changed_sides(now, last)):
            self._hold(name, side, now, "missing")

    def hold_shown_otherwise(self) -> None:
        """Say so, unless the sides have differed before; what goes to Advoware with a write is what it holds then."""
        for name, now in self.odd.items():
            if self.to_advoware:
                self.settled[name] = now
            if self.to_advoware or is_same(*self.base[name]):
                self._hold(name, "advoware", now, "shown_otherwise")

    def _is_shown_otherwise(self, name: str, now: Pair, last: Pair) -> bool:
        """Whether Advoware shows another value that no one has entered there."""
        if isinstance(now.advoware, Unknown) or isinstance(last.advoware, Unknown):
            return False
        if self.is_edited is False:
            return True
        was_held = name in self.shown_otherwise
        return was_held and is_same(now.advoware, self.shown_otherwise[name])

    def _decide_odd(self, name: str, now: Pair, last: Pair, *, is_edited: bool) -> None:
        """An edit in EspoCRM is one all the same; the base keeps what Advoware holds."""
        if not is_edited:
            self.odd[name] = now
            return
        self._bring(name, now, "espocrm")
        if name not in self.to_advoware:
            self.settled[name] = Pair(now.espocrm, last.advoware)

    def _decide_first(self, name: str, now: Pair) -> None:
        if isinstance(now.espocrm, Unknown):
            self._bring(name, now, "espocrm")
        elif isinstance(now.advoware, Unknown):
            self.settled[name] = now
        elif now.advoware is None:
            self._bring(name, now, "espocrm")
        elif now.espocrm is None:
            self._bring(name, now, "advoware")
        elif self.is_edited and self.first_winner == "espocrm":
            self._decide_conflict(name, now)
        elif self.first_winner is not None:
            self._bring(name, now, self.first_winner)
        else:
            self._hold(name, "espocrm", now, "undecided")
            self.settled[name] = now

    def _decide_conflict(self, name: str, now: Pair) -> None:
        self._bring(name, now, "espocrm")
        if name not in self.to_advoware:
            return
        conflict = Conflict(
            field=name,
            winner="espocrm",
            espocrm=now.espocrm,
            advoware=now.advoware,
        )
        self.conflicts.append(conflict)

    def _bring(self, name: str, now: Pair, source: Side) -> None:
        """Bring the value of ``source`` to the other side, or hold it."""
        target: Side
        if source == "espocrm":
            target = "advoware"
            value = now.espocrm
            writes = self.to_advoware
        else:
            target = "espocrm"
            value = now.advoware
            writes = self.to_espocrm
        reason: str | None = "unknown"
        if not isinstance(value, Unknown):
            reason = self.unfit(target, name, value)
        if reason is not None:
            self._hold(name, source, now, reason)
            self.settled[name] = now
            return
        self.settled[name] = Pair(value, value)
        writes[name] = value

    def _hold(
        self,
        name: str,
        side: Side,
        now: Pair,
        reason: str,
    ) -> None:
        held = Held(
            field=name,
            side=side,
            espocrm=now.espocrm,
            advoware=now.advoware,
            reason=reason,
        )
        self.held.append(held)


def _is_hidden_difference(now: Pair, last: Pair) -> bool:
    """Whether Advoware shows something unknown where the two sides differed, which waits for a person already.

    Settled as it is shown, what it shows again later would be an edit and replace EspoCRM's value.
    """
    is_shown = not isinstance(now.advoware, Unknown)
    if is_shown or isinstance(last.advoware, Unknown):
        return False
    return not is_same(*last)


def _changed_sides(now: Pair, last: Pair) -> tuple[bool, bool]:
    """Whether EspoCRM, and whether Advoware, shows something else than when the two were last settled."""
    espocrm_changed = not is_same(now.espocrm, last.espocrm)
    advoware_changed = not is_same(now.advoware, last.advoware)
    return espocrm_changed, advoware_changed


# -- versions -------------------------------------------------------------------------------------------------------


def is_version(stored: Mapping[str, Any], version: Any) -> bool:
    """Whether a stored base holds all values of Advoware's record of this ``rowId``: what it shows now is no edit.

    An edit makes another ``rowId`` (specification 05 and 06).
    """
    known = stored.get(VERSION)
    if version is None or not isinstance(known, Mapping):
        return False
    return known == {"rowId": version, "isWhole": True}


def version_member(
    stored: Mapping[str, Any],
    settled: Base,
    shown: Values,
    version: Any,
) -> dict[str, Any]:
    """The member of a base that says which version it holds, and whether all of it.

    If not, an edit may still have to be found by its value. Of the same version it holds all only as long as what it
    says of Advoware stays as it is. ``stored`` is the base that was stored before, ``shown`` what the record shows.
    """
    if version is None:
        return {}
    held = held_by_advoware(settled)
    known = stored.get(VERSION)
    if isinstance(known, Mapping) and known.get("rowId") == version:
        last = held_by_advoware(base_from_json(stored))
        is_whole = is_version(stored, version) and not differing_fields(last, held)
    else:
        is_whole = held.keys() <= shown.keys() and not differing_fields(held, shown)
    return {VERSION: {"rowId": version, "isWhole": is_whole}}


def undecided(plan: Merge, base: Base) -> set[str]:
    """The fields that both sides have changed while EspoCRM's value cannot arrive: their base stays as it was."""
    return {
        item.field
        for item in plan.held
        if item.field in base and plan.settled.get(item.field) == base[item.field]
    }


def settled_as_stored(plan: Merge, stored: Values, base: Base) -> dict[str, Pair]:
    """What a plan settles, with what Advoware has ``stored`` of fields that were planned as they were sent."""
    left = plan.to_advoware.keys() | undecided(plan, base)
    settled = dict(plan.settled)
    for name in stored.keys() & settled.keys() - left:
        settled[name] = settled[name]._replace(advoware=stored[name])
    return settled


# -- after a write --------------------------------------------------------------------------------------------------


def compare_after_write(
    sent: Values,
    before: Values,
    stored: Values,
    *,
    side: Side,
) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """What became of values that were written to ``side``: ``(refused, altered)`` as pairs for the base.

    Refused fields hold what they held before the write, altered ones a third value. Agreed fields, and those that the
    answer does not show, are in neither.
    """
    refused: dict[str, Pair] = {}
    altered: dict[str, Pair] = {}
    for name, wanted in sent.items():
        if name not in stored:
            continue
        found = stored[name]
        if is_same(found, wanted):
            continue
        pair = Pair(found, wanted)
        if side == "advoware":
            pair = Pair(wanted, found)
        if name in before and is_same(found, before[name]):
            refused[name] = pair
        else:
            altered[name] = pair
    return refused, altered


# -- as JSON --------------------------------------------------------------------------------------------------------


def base_to_json(base: Base) -> dict[str, Any]:
    """A base as it is stored: ``{"name": {"espocrm": ..., "advoware": ...}}``."""
    return {name: pair_to_json(pair) for name, pair in base.items()}


def base_from_json(stored: Mapping[str, Any]) -> dict[str, Pair]:
    """The base that `base_to_json` has written; entries of another shape are left out."""
    base = {}
    for name, item in stored.items():
        if name != SENDING and _is_pair(item):
            base[name] = pair_from_json(item)
    return base


def pair_to_json(pair: Pair) -> dict[str, Any]:
    """A pair as JSON; `Unknown` as ``{"unknown": text}``."""
    return {
        "espocrm": value_to_json(pair.espocrm),
        "advoware": value_to_json(pair.advoware),
    }


def pair_from_json(item: Mapping[str, Any]) -> Pair:
    """The pair that `pair_to_json` has written."""
    return Pair(value_from_json(item["espocrm"]), value_from_json(item["advoware"]))


def values_to_json(values: Values) -> dict[str, Any]:
    """Values by field as JSON; see `value_to_json`."""
    return {name: value_to_json(value) for name, value in values.items()}


def value_to_json(value: Value) -> Any:
    """A value as JSON; `Unknown` as ``{"unknown": text}``."""
    if isinstance(value, Unknown):
        return {"unknown": value.text}
    return value


def value_from_json(item: Any) -> Value:
    """The value that `value_to_json` has written."""
    if isinstance(item, Mapping):
        return Unknown(item["unknown"])
    return item


def _is_pair(item: Any) -> bool:
    return isinstance(item, Mapping) and item.keys() >= {"espocrm", "advoware"}
