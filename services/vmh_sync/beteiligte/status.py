"""The status fields of a CBeteiligte: what each outcome writes, and what a status asks of us. Pure; ``now`` is aware.

``pending_sync`` and ``dirty`` are set by EspoCRM. We set ``syncing`` when we start, then ``clean``, ``conflict``
(Advoware accepted a change without making it), ``failed``, ``permanently_failed`` or ``deleted_in_advoware``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.values.espocrm_query import format_date_time, parse_date_time

#: Pauses after the first failures; the fifth failure is the last one for a day.
BACKOFF_MINUTES = (1, 5, 15, 60, 240)
AUTO_RESET_HOURS = 24
STALE_HOURS = 24
ERROR_MESSAGE_LENGTH = 2000
#: Statuses of records with something to be brought to Advoware.
UNSYNCED = frozenset({"pending_sync", "dirty", "failed", "permanently_failed"})

Record = dict[str, Any]
Espo = Mapping[str, Any]


def success(status: str, now: datetime, message: str | None = None) -> Record:
    """After a sync: ``status`` is ``clean``, or ``conflict`` with what waits for a person as ``message``."""
    return {
        "syncStatus": status,
        "advowareLastSync": format_date_time(now),
        "syncRetryCount": 0,
        "syncNextRetry": None,
        "syncAutoResetAt": None,
        "syncErrorMessage": message,
    }


def waiting(message: str | None) -> Record:
    """A part of the work has to wait for a moment; the record is found again should that moment be missed."""
    return {"syncStatus": "dirty", "syncErrorMessage": message}


def failure(espo: Espo, message: str, now: datetime) -> Record:
    """After a failure: the next try after 1, 5, 15, 60 minutes, after the fifth none for a day."""
    tries = int(espo.get("syncRetryCount") or 0) + 1
    exhausted = tries >= len(BACKOFF_MINUTES)
    next_try = now + timedelta(
        minutes=BACKOFF_MINUTES[min(tries, len(BACKOFF_MINUTES)) - 1]
    )
    return {
        "syncStatus": "permanently_failed" if exhausted else "failed",
        "syncRetryCount": tries,
        "syncNextRetry": None if exhausted else format_date_time(next_try),
        "syncAutoResetAt": format_date_time(now + timedelta(hours=AUTO_RESET_HOURS))
        if exhausted
        else None,
        "syncErrorMessage": shortened(message),
    }


def deleted_in_advoware(betnr: str) -> Record:
    """Advoware does not know the betNr any more."""
    return {
        "syncStatus": "deleted_in_advoware",
        "syncErrorMessage": f"Beteiligter {betnr} ist in Advoware nicht vorhanden.",
        "syncNextRetry": None,
    }


def must_wait(espo: Espo, now: datetime) -> bool:
    """Whether a check (not somebody's edit) leaves the record alone for now."""
    if espo.get("syncStatus") == "deleted_in_advoware":
        return True
    next_try = parse_date_time(espo.get("syncNextRetry"))
    return next_try is not None and next_try > now


def rests_after_failure(espo: Espo, now: datetime) -> bool:
    """Whether the record has failed, waits, and nobody has edited it since, which would have made it dirty.

    EspoCRM before 9.2 tells us of our own writes: each failure would otherwise lead to the next try at once.
    """
    until = {"failed": "syncNextRetry", "permanently_failed": "syncAutoResetAt"}.get(
        str(espo.get("syncStatus"))
    )
    rests_until = parse_date_time(espo.get(until)) if until else None
    return rests_until is not None and rests_until > now


def is_settled(espo: Espo, status: str, message: str | None, now: datetime) -> bool:
    """Whether the record shows this status and message already, and was seen recently enough not to count as stale."""
    last_sync = parse_date_time(espo.get("advowareLastSync"))
    fresh = last_sync is not None and last_sync > now - timedelta(hours=STALE_HOURS)
    shows_it = shows_message(espo.get("syncErrorMessage"), message)
    return (
        espo.get("syncStatus") == status
        and shows_it
        and fresh
        and not espo.get("syncRetryCount")
    )


def shows_message(stored: Any, wanted: str | None) -> bool:
    """Whether a record shows our message, even if EspoCRM spells it otherwise or has cut it: it is not written again.

    EspoCRM before 9.2 tells us of our own writes, so that a message that never reads as it was written would be
    written for ever. Our messages are whole sentences, so that a beginning without its end was cut.
    """
    if stored is not None and not isinstance(stored, str):
        return wanted is not None
    text, whole = _letters(stored or ""), _letters(wanted or "")
    was_cut = text != "" and not str(stored).rstrip().endswith(".")
    return text == whole or (was_cut and whole.startswith(text))


def _letters(text: str) -> str:
    """A text by its letters and digits alone."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def shortened(message: str) -> str:
    """A message at the length that ``syncErrorMessage`` takes."""
    return (
        message
        if len(message) <= ERROR_MESSAGE_LENGTH
        else f"{message[: ERROR_MESSAGE_LENGTH - 1]}…"
    )
