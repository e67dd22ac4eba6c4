"""What EspoCRM has made of values that it was sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import partial
from typing import Final

from services.kommunikation_mapper import Key

#: Why a link waits whose value EspoCRM stores in another form (a word of the catalogue of problems).
ALTERED_BY_ESPOCRM: Final = "kom_altered_by_espocrm"


def resembling(missing: Iterable[Key], extra: Iterable[Key]) -> dict[Key, Key | None]:
    """Each value that is not there, with the unexpected one of its family that resembles it most; None without one."""
    rest = list(extra)
    found: dict[Key, Key | None] = {}
    for key in missing:
        candidates = [other for other in rest if other.family == key.family]
        nearest = max(candidates, key=partial(_likeness, key), default=None)
        if nearest is not None:
            rest.remove(nearest)
        found[key] = nearest
    return found


def _likeness(one: Key, other: Key) -> float:
    return SequenceMatcher(None, one.value, other.value).ratio()
