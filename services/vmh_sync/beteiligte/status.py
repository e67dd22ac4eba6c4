"""The status fields of a CBeteiligte: what each outcome writes, and what a status requests. Pure; ``now`` is aware.

``pending_sync`` and ``dirty`` are set by EspoCRM. A sync sets ``syncing`` first, then ``clean``, ``conflict``
(Advoware accepted a change without making it), ``failed``, ``permanently_failed`` or ``deleted_in_advoware``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from services.core.foreign_text import shortened
from services.values.espocrm_query import format_date_time, parse_date_time

#: Pauses after the first failures; the fifth failure is the last one for a day.
BACKOFF_MINUTES = (1, 5, 15, 60, 240)
AUTO_RESET_HOURS = 24
STALE_HOURS = 24
ERROR_MESSAGE_LENGTH = 2000
#: Until when a failed record is left alone, by its status.
_END_OF_BACKOFF = {
    "failed": "syncNextRetry",
    "permanently_failed": "syncAutoResetAt",
}
#: Statuses of records with something to be brought to Advoware.
UNSYNCED = frozenset({"pending_sync", "dirty", "failed", "permanently_failed"})

Record = dict[str, Any]
Espo = Mapping[str, Any]


def success(status: str, now: datetime, message: str | None = None) -> Record:
    """After a sync: ``status`` is ``clean``, or ``conflict`` with what waits for a user as ``message``."""
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
    fields: Record = {
        "syncStatus": "failed",
        "syncRetryCount": tries,
        "syncNextRetry": None,
        "syncAutoResetAt": None,
        "syncErrorMessage": shortened(message, ERROR_MESSAGE_LENGTH),
    }
    if tries < len(BACKOFF_MINUTES):
        next_try = now + timedelta(minutes=BACKOFF_MINUTES[tries - 1])
        fields["syncNextRetry"] = format_date_time(next_try)
    else:
        reset_at = now + timedelta(hours=AUTO_RESET_HOURS)
        fields["syncStatus"] = "permanently_failed"
        fields["syncAutoResetAt"] = format_date_time(reset_at)
    return fields


def deleted_in_advoware(betnr: str) -> Record:
    """Advoware does not know the betNr any more."""
    return {
        "syncStatus": "deleted_in_advoware",
        "syncErrorMessage": f"Beteiligter {betnr} ist in Advoware nicht vorhanden.",
        "syncNextRetry": None,
    }


def must_wait(espo: Espo, now: datetime) -> bool:
    """Whether a check (not a user's edit) leaves the record alone for now."""
    if espo.get("syncStatus") == "deleted_in_advoware":
        return True
    next_try = parse_date_time(espo.get("syncNextRetry"))
    return next_try is not None and next_try > now


def rests_after_failure(espo: Espo, now: datetime) -> bool:
    """Whether the record has failed, backs off, and no user has edited it since, which would have made it dirty.

    EspoCRM before 9.2 sends webhooks for the sync's own writes: each failure would otherwise lead to the next try at
    once.
    """
    attribute = _END_OF_BACKOFF.get(str(espo.get("syncStatus")))
    if attribute is None:
        return False
    until = parse_date_time(espo.get(attribute))
    return until is not None and until > now


def is_settled(espo: Espo, status: str, message: str | None, now: datetime) -> bool:
    """Whether the record shows this status and message already, and was synced recently enough not to be stale."""
    if espo.get("syncStatus") != status or espo.get("syncRetryCount"):
        return False
    last_sync = parse_date_time(espo.get("advowareLastSync"))
    if last_sync is None or last_sync <= now - timedelta(hours=STALE_HOURS):
        return False
    return shows_message(espo.get("syncErrorMessage"), message)


def shows_message(stored: Any, wanted: str | None) -> bool:
    """Whether a record shows this message, even if EspoCRM spells it otherwise or has cut it: it is not written again.

    EspoCRM before 9.2 sends webhooks for the sync's own writes, so that a message that never reads as it was written
    would be written for ever. Messages are whole sentences, so that a beginning without its end was cut.
    """
    if stored is not None and not isinstance(stored, str):
        return wanted is not None
    shown = stored or ""
    text = _letters(shown)
    whole = _letters(wanted or "")
    if text == whole:
        return True
    return _was_cut(shown) and whole.startswith(text)


def _was_cut(shown: str) -> bool:
    """Whether a text is no whole sentence."""
    return _letters(shown) != "" and not shown.rstrip().endswith(".")


def _letters(text: str) -> str:
    """A text by its letters and digits alone."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    return "".join(filter(str.isalnum, folded))
