"""The ids under which Termine's events are inserted."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

#: Of the ids that we give events: those of other origin are distinguished at once.
_ID_LENGTH = 52
#: A Termin's event seldom needs a further id more than a few times.
USUAL_GENERATIONS = 8


def google_event_id(fr_nr: int, calendar_id: str, generation: int = 0) -> str:
    """The id under which a Termin's event is inserted: the same in every attempt, 52 characters of base32hex.

    A further ``generation`` is for an id that Google refuses to revive, or whose series cannot be repaired.
    """
    name = f"advoware:{fr_nr}:{calendar_id}"
    if generation:
        name = f"{name}:{generation}"
    digest = hashlib.sha256(name.encode(errors="replace")).digest()
    return base64.b32hexencode(digest).decode().rstrip("=").lower()


def is_inserted_by_sync(event_id: str) -> bool:
    """Whether the sync has made the event, in whichever calendar it is by now; Google's own ids are shorter."""
    return len(event_id) == _ID_LENGTH


def generation_of(
    event_id: str,
    fr_nr: int,
    calendar_id: str,
    limit: int = 1024,
) -> int | None:
    """Which generation of that Termin's ids it is, of the first ``limit``; None: none of them."""
    if not is_inserted_by_sync(event_id):
        return None
    for generation in range(limit):
        if google_event_id(fr_nr, calendar_id, generation) == event_id:
            return generation
    return None


def termine_by_event_id(fr_nrs: Iterable[int], calendar_id: str) -> dict[str, int]:
    """Which Termin an event's id names, for the ids that the events of these Termine may usually have."""
    named: dict[str, int] = {}
    for fr_nr in fr_nrs:
        for generation in range(USUAL_GENERATIONS):
            named[google_event_id(fr_nr, calendar_id, generation)] = fr_nr
    return named
