"""What a run is about to write, remembered in the base before it is written. Pure.

A run that dies between a write and the storing of its base would make a user's next edit one of two, and give way to
it. So ``base[SENDING]`` holds by side and name what is about to be written; storing the base again ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from services.values.merge import SENDING, Side, Values, value_to_json, values_to_json
from services.vmh_sync.store import SyncState

#: By side the names with their values, as JSON.
Sent = Mapping[Side, Mapping[str, Any]]
#: Whether a side shows a value (JSON) under a name.
Shows = Callable[[Side, str, Any], bool]


def sending(to_espocrm: Values, to_advoware: Values) -> dict[Side, dict[str, Any]]:
    """What is about to be written to each side, as JSON; empty if nothing is."""
    sent: dict[Side, dict[str, Any]] = {}
    if to_espocrm:
        sent["espocrm"] = values_to_json(to_espocrm)
    if to_advoware:
        sent["advoware"] = values_to_json(to_advoware)
    return sent


def with_sent(state: SyncState, espocrm: Values, advoware: Values) -> SyncState:
    """The state after a run that was interrupted before it could store what it had written; see `pairs_with_sent`.

    ``espocrm`` and ``advoware`` are the comparable values that both sides show.
    """
    shown = {"espocrm": espocrm, "advoware": advoware}

    def shows(side: Side, name: str, value: Any) -> bool:
        values = shown[side]
        if name not in values:
            return False
        return bool(value_to_json(values[name]) == value)

    base = dict(state.base)
    sent = base.pop(SENDING, {})
    agreed = pairs_with_sent(base, sent, shows)
    return replace(state, base=agreed)


def pairs_with_sent(
    pairs: Mapping[str, Any],
    sent: Sent,
    shows: Shows,
) -> dict[str, Any]:
    """Pairs (JSON) of which an interrupted run has written some: what a side shows of it counts as agreed."""
    agreed = dict(pairs)
    for side, values in sent.items():
        for name, value in values.items():
            if shows(side, name, value):
                agreed[name] = {"espocrm": value, "advoware": value}
    return agreed
