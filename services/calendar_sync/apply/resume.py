"""Claims what interrupted creates in Advoware have left, before anything is planned."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.calendar_sync.apply.applier import Applier
from services.calendar_sync.apply.clients import Clients
from services.calendar_sync.store import Intent
from services.core.errors import (
    Conflict,
    CreateUnclear,
    Forbidden,
    UnexpectedAnswer,
    ValidationFailed,
    failure_code,
)
from services.core.log import log

#: After so long an intent that has led to nothing is forgotten.
FORGET_AFTER = timedelta(days=1)

#: With these it stays unknown what a create has left; the others of the employee go on.
_UNKNOWN = (Conflict, CreateUnclear, Forbidden, UnexpectedAnswer, ValidationFailed)


async def resume_creates(
    context: Any, kuerzel: str, applier: Applier, clients: Clients
) -> list[Intent]:
    """Make pairs of what interrupted creates have left; forget those that after a day have led to nothing.

    Returns those of which it is not known yet what they have left.
    """
    store = clients.store
    intents = await store.open_intents(kuerzel)
    if not intents:
        return []
    rows = {pair.google_event_id: pair for pair in await store.load_pairs(kuerzel)}
    unknown: list[Intent] = []
    for intent in intents:
        try:
            await applier.resume(intent, rows.get(intent.google_event_id))
        except _UNKNOWN as error:
            unknown.append(intent)
            log(
                context,
                "error",
                "calendar.create_not_resumed",
                kuerzel=kuerzel,
                error=failure_code(error),
            )
    await _forget_old(kuerzel, clients, unknown)
    return unknown


async def _forget_old(
    kuerzel: str, clients: Clients, unknown: Sequence[Intent]
) -> None:
    store = clients.store
    oldest = clients.resources.clock() - FORGET_AFTER
    for intent in await store.open_intents(kuerzel):
        led_to_nothing = intent.advoware_frnr is None and intent not in unknown
        if led_to_nothing and intent.started_at < oldest:
            await store.end_intent(kuerzel, intent.google_event_id)
