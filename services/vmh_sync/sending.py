"""What a run is about to write, remembered in the base before it is written. Pure.

A run that dies between a write and the storing of its base would make a user's next edit one of two, and give way to
it. So ``base[SENDING]`` holds by side and name what is about to be written; storing the base again ends it.

Advoware may alter what it is sent, also in fields that are only sent along. What it shows then is no edit, and must
not replace the whole value in EspoCRM because EspoCRM could not be written, or did not answer. So
``base[SENDING][ALTERED]`` holds such fields with what was sent and what Advoware has made of it, until the base is
stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from services.values.merge import (
    SENDING,
    Side,
    Value,
    Values,
    base_from_json,
    is_same,
    only,
    pair_from_json,
    value_to_json,
    values_to_json,
)
from services.values.sealed import has_sealed
from services.vmh_sync.store import SyncState

#: The member of what is being sent that holds, as pairs (JSON) by name, what Advoware has made of it.
ALTERED = "altered"
SIDES: tuple[Side, ...] = ("advoware", "espocrm")
#: Statuses of EspoCRM's records that no user has edited since the last sync: that makes one ``dirty``, then
#: ``syncing``.
_UNEDITED = frozenset({"clean", "conflict"})

#: By side the names with their values, as JSON.
Sent = Mapping[str, Mapping[str, Any]]
#: Whether a side shows a value (JSON) under a name.
Shows = Callable[[Side, str, Any], bool]


def may_be_edited(record: Mapping[str, Any]) -> bool:
    """Whether a user may have edited a record of EspoCRM since its last sync.

    A row of a phone number or mail address that is shared changes without that.
    """
    return record.get("syncStatus") not in _UNEDITED


def sending(
    to_espocrm: Values,
    to_advoware: Values,
    altered: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """What is about to be written to each side, and what Advoware has ``altered``, as JSON; empty if nothing is."""
    sent: dict[str, Any] = {}
    if to_espocrm:
        sent["espocrm"] = values_to_json(to_espocrm)
    if to_advoware:
        sent["advoware"] = values_to_json(to_advoware)
    if altered:
        sent[ALTERED] = dict(altered)
    return sent


def altered_in(base: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Advoware had altered when a run ended that could not store its base: pairs (JSON) by name."""
    altered: Mapping[str, Any] = base.get(SENDING, {}).get(ALTERED, {})
    return altered


def as_sent(
    base: Mapping[str, Any],
    espocrm: Values,
    advoware: Values,
) -> dict[str, Value]:
    """Advoware's comparable values, with what was sent in the place of what Advoware has made of it.

    What it shows otherwise by now is an edit, and stays; so does what both sides show.
    """
    values = dict(advoware)
    held = base_from_json(base)
    for name in _still_altered(base, espocrm, advoware):
        pair = pair_from_json(altered_in(base)[name])
        values[name] = pair.espocrm
        if name in held and is_same(held[name].espocrm, pair.espocrm):
            values[name] = held[name].advoware  # the two may have differed before
    return values


def stored_otherwise(sent: Values, advoware: Values) -> dict[str, Value]:
    """What Advoware shows of the fields in which `as_sent` has put something else in its place."""
    stored = {}
    for name, value in advoware.items():
        if not is_same(value, sent[name]):
            stored[name] = value
    return stored


def _still_altered(
    base: Mapping[str, Any],
    espocrm: Values,
    advoware: Values,
) -> list[str]:
    still = []
    for name, item in altered_in(base).items():
        is_compared = name in espocrm and name in advoware
        if not is_compared or has_sealed(item):
            continue
        is_edited = not is_same(advoware[name], pair_from_json(item).advoware)
        if not is_edited and not is_same(advoware[name], espocrm[name]):
            still.append(name)
    return still


def with_sent(
    state: SyncState,
    espocrm: Values,
    advoware: Values,
    *,
    is_edited: bool,
) -> SyncState:
    """The state after a run that was interrupted before it could store what it had written; see `pairs_with_sent`.

    ``espocrm`` and ``advoware`` are the comparable values that both sides show. What Advoware has altered of it and
    shows still is left in ``base[SENDING]``. ``is_edited``: a user may have edited EspoCRM's record since.
    """
    shown = {
        "espocrm": espocrm,
        "advoware": as_sent(state.base, espocrm, advoware),
    }

    def shows(side: Side, name: str, value: Any) -> bool:
        values = shown[side]
        if name not in values:
            return False
        return bool(value_to_json(values[name]) == value)

    base = dict(state.base)
    sent = base.pop(SENDING, {})
    agreed = pairs_with_sent(base, sent, shows)
    if not is_edited:
        agreed.update(_altered_by_espocrm(base, sent, espocrm))
    still = _still_altered(state.base, espocrm, advoware)
    if still:
        agreed[SENDING] = {ALTERED: only(altered_in(state.base), still)}
    return replace(state, base=agreed)


def _altered_by_espocrm(
    base: Mapping[str, Any],
    sent: Sent,
    espocrm: Values,
) -> dict[str, Any]:
    """The pairs (JSON) of what EspoCRM has made of what it was sent: no edit, so that it is sent again and reported."""
    altered = {}
    for name, value in sent.get("espocrm", {}).items():
        if name not in base or name not in espocrm:
            continue
        shown = value_to_json(espocrm[name])
        if shown != value:
            altered[name] = {**base[name], "espocrm": shown}
    return altered


def pairs_with_sent(
    pairs: Mapping[str, Any],
    sent: Sent,
    shows: Shows,
) -> dict[str, Any]:
    """Pairs (JSON) of which an interrupted run has written some: what a side shows of it counts as agreed."""
    agreed = dict(pairs)
    for side in SIDES:
        for name, value in sent.get(side, {}).items():
            if shows(side, name, value):
                agreed[name] = {"espocrm": value, "advoware": value}
    return agreed
