"""Whether a deletion that the sync asks for is right at that moment: only what is gone on one side goes on the other.

At the end nobody could tell: what was deleted because a list lacked it once is created again by the next run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from calendar_world import CalendarWorld

from sandbox.google.event import CANCELLED

_EVENT = re.compile(r"/events/([^/?]+)")
_TERMIN = re.compile(r"/advonet/Termine\?.*frnr=(\d+)", re.IGNORECASE)
_ROWS = (
    "SELECT employee_kuerzel, advoware_frnr, google_event_id FROM calendar_sync"
    " WHERE NOT deleted AND {column} = %s"
)


class Rows(Protocol):
    """Reads our database."""

    def __call__(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query with these parameters."""


def wrong_deletion(
    diary: CalendarWorld, rows: Rows, request: Mapping[str, Any]
) -> str | None:
    """What is wrong with a request that was not carried out yet; None: nothing, or it deletes no appointment."""
    if request["method"] != "DELETE":
        return None
    event = _EVENT.search(request["path"])
    if event is not None:
        pairs = rows(_ROWS.format(column="google_event_id"), event[1])
        wrong = [pair for pair in pairs if _termin_is_there(diary, pair)]
    else:
        termin = _TERMIN.search(request["path"])
        if termin is None:
            return None
        pairs = rows(_ROWS.format(column="advoware_frnr"), int(termin[1]))
        wrong = [pair for pair in pairs if _event_is_there(diary, pair)]
    if not wrong:
        return None
    return f"{request['path']} is deleted although the other side has {wrong}"


def _termin_is_there(diary: CalendarWorld, pair: Mapping[str, Any]) -> bool:
    for termin in diary.termine():
        if termin["frNr"] == pair["advoware_frnr"]:
            return termin["anwalt"] in {"", pair["employee_kuerzel"]}
    return False


def _event_is_there(diary: CalendarWorld, pair: Mapping[str, Any]) -> bool:
    calendar = diary.calendar(pair["employee_kuerzel"])
    if calendar is None:
        return False
    event = calendar.events.get(pair["google_event_id"])
    return event is not None and event.status != CANCELLED
