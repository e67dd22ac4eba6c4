"""Whether a deletion that the sync asks for is right at that moment: only what is gone on one side goes on the other.

At the end that cannot be recognised: what was deleted because a list lacked it once is created again by the next run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import unquote

from calendar_world import CalendarWorld

from sandbox.google.event import CANCELLED

#: Of one calendar, in one run that no operator has released, unless a fifth of its pairs is more.
MOST_DELETIONS = 5
MOST_SHARE = 0.2
_EVENT_OF_CALENDAR = re.compile(r"/calendars/([^/]+)/events/[^/?]+")
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
    """What is wrong with a request that was not executed yet; None: nothing, or it deletes no appointment."""
    if request["method"] != "DELETE":
        return None
    event = _EVENT.search(request["path"])
    if event is not None:
        pairs = rows(_ROWS.format(column="google_event_id"), event[1])
        wrong = [
            pair
            for pair in pairs
            if _is_calendar_of(diary, pair["employee_kuerzel"], request["path"])
            and _termin_is_there(diary, pair)
        ]
    else:
        termin = _TERMIN.search(request["path"])
        if termin is None:
            return None
        pairs = rows(_ROWS.format(column="advoware_frnr"), int(termin[1]))
        if _is_anothers(diary, int(termin[1]), pairs):
            return f"{request['path']} is deleted although it was handed on"
        wrong = [
            pair
            for pair in pairs
            if _termin_is_there(diary, pair) and _event_is_there(diary, pair)
        ]
    if not wrong:
        return None
    return f"{request['path']} is deleted although the other side has {wrong}"


def _is_calendar_of(diary: CalendarWorld, kuerzel: str, path: str) -> bool:
    """Whether a path leads to an employee's calendar: an event that was moved has the same id in both."""
    event = _EVENT_OF_CALENDAR.search(path)
    calendar = diary.calendar(kuerzel)
    if event is None or calendar is None:
        return False
    return bool(calendar.id == unquote(event[1]))


def _termin_is_there(diary: CalendarWorld, pair: Mapping[str, Any]) -> bool:
    """Whether Advoware has the Termin of a pair, and it is that employee's still."""
    for termin in diary.termine():
        if termin["frNr"] == pair["advoware_frnr"]:
            return termin["anwalt"] in {"", pair["employee_kuerzel"]}
    return False


def _is_anothers(diary: CalendarWorld, fr_nr: int, pairs: list[dict[str, Any]]) -> bool:
    """Whether a Termin was handed to someone else than those who have a pair of it, or given to all."""
    owners = {pair["employee_kuerzel"] for pair in pairs}
    return any(
        termin["frNr"] == fr_nr and termin["anwalt"] not in owners
        for termin in diary.termine()
    )


def _event_is_there(diary: CalendarWorld, pair: Mapping[str, Any]) -> bool:
    calendar = diary.calendar(pair["employee_kuerzel"])
    if calendar is None:
        return False
    event = calendar.events.get(pair["google_event_id"])
    return event is not None and event.status != CANCELLED


_HELD_AND_GONE = """
    SELECT hold.employee_kuerzel, pair.advoware_frnr FROM calendar_sync_hold AS hold
    JOIN calendar_sync AS pair ON pair.sync_id = ANY (hold.sync_ids)
    WHERE hold.released_at IS NULL AND pair.deleted
"""
_UNTOLD = """
    SELECT employee_kuerzel FROM calendar_sync_hold AS hold
    WHERE released_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM calendar_sync_audit AS line
        WHERE line.employee_kuerzel = hold.employee_kuerzel AND line.action = 'held')
"""


def wrong_holds(rows: Rows, *, is_audit_whole: bool) -> str | None:
    """What is wrong with the deletions that are held now: some were done, or the audit does not report them."""
    gone = rows(_HELD_AND_GONE)
    if gone:
        return f"held, and deleted nevertheless: {gone}"
    untold = rows(_UNTOLD) if is_audit_whole else []
    return f"held, and no audit says so: {untold}" if untold else None


class Brake:
    """What one run of a calendar may delete: nothing that is held, and not more than a guard lets pass at once."""

    def __init__(self, rows: Rows, kuerzel: str) -> None:
        """At the beginning of the run. ``kuerzel``: whose calendar."""
        self._rows, self._kuerzel = rows, kuerzel
        self._deleted: set[str] = set()
        pairs = rows(
            "SELECT count(*) AS number FROM calendar_sync"
            " WHERE NOT deleted AND employee_kuerzel = %s",
            kuerzel,
        )
        released = rows(
            "SELECT number FROM calendar_sync_hold"
            " WHERE employee_kuerzel = %s AND released_at IS NOT NULL",
            kuerzel,
        )
        self._most = max(
            MOST_DELETIONS,
            MOST_SHARE * pairs[0]["number"],
            *(hold["number"] for hold in released),
        )

    def too_many(self, diary: CalendarWorld, request: Mapping[str, Any]) -> str | None:
        """What is wrong with a request that was not executed yet; None: nothing, or it is none of this calendar."""
        if request["method"] != "DELETE" or not self._is_mine(diary, request["path"]):
            return None
        self._deleted.add(request["path"])
        if len(self._deleted) <= self._most:
            return None
        return (
            f"{len(self._deleted)} appointments of {self._kuerzel} are deleted at once,"
            " and no operator has released them"
        )

    def _is_mine(self, diary: CalendarWorld, path: str) -> bool:
        if _EVENT_OF_CALENDAR.search(path) is not None:
            return _is_calendar_of(diary, self._kuerzel, path)
        termin = _TERMIN.search(path)
        if termin is None:
            return False
        pairs = self._rows(_ROWS.format(column="advoware_frnr"), int(termin[1]))
        return self._kuerzel in {pair["employee_kuerzel"] for pair in pairs}
