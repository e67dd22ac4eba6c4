"""Writes that a system has refused: the same one is not sent again in each run.

It is sent once more with the next run, because a system may refuse what it takes a moment later. Then it waits, each
time twice as long and at most a day; so it never waits longer than it was refused. What is changed on either side is
another request, and is sent at once.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

from services.calendar_sync.apply.clients import Clients
from services.calendar_sync.model import (
    Action,
    DeleteGoogle,
    GoogleEvent,
    HideGoogle,
    NormalisedEvent,
    Pair,
    ReplaceGoogle,
    Termin,
    is_anonymised_hash,
)
from services.calendar_sync.store import Refused
from services.core.errors import (
    Forbidden,
    RefusedBefore,
    ValidationFailed,
    failure_code,
)

#: With these a system has understood the request, and does not want it.
REFUSING = (Forbidden, ValidationFailed)

#: A refusal is believed when it was repeated. The wait after so many, doubled with each further one.
BELIEVED_AFTER = 2
FIRST_WAIT = timedelta(minutes=30)
LONGEST_WAIT = timedelta(days=1)
#: More than enough doublings to reach the longest wait.
_MAX_DOUBLINGS = 8


class Refusals:
    """What was refused of one employee's appointments."""

    def __init__(self, kuerzel: str, clients: Clients) -> None:
        self._kuerzel = kuerzel
        self._store = clients.store
        self._now = clients.now
        self._known: dict[str, Refused] | None = None

    async def require_worth_sending(self, action: Action) -> None:
        """Raises RefusedBefore if the same was refused, and it is too early to send it again."""
        if _takes_text_away(action):
            return  # no text is visible longer than it must be
        refused = (await self._refused()).get(request_of(action))
        if refused is not None and self._now() < refused.at + wait_after(refused.times):
            raise RefusedBefore(f"not sent again yet ({refused.error})")

    async def note(self, action: Action, error: Exception) -> None:
        """Remember that a write was refused, if it was."""
        if isinstance(error, REFUSING):
            await self._store.note_refused(
                self._kuerzel,
                request_of(action),
                failure_code(error),
                self._now(),
            )

    async def _refused(self) -> dict[str, Refused]:
        """By request; read once in a run."""
        if self._known is None:
            self._known = await self._store.load_refused(self._kuerzel)
        return self._known


def wait_after(times: int) -> timedelta:
    """How long a request waits that was refused so many times."""
    if times < BELIEVED_AFTER:
        return timedelta()
    doublings = min(times - BELIEVED_AFTER, _MAX_DOUBLINGS)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def request_of(action: Action) -> str:
    """A text that is equal for equal writes to records that are as they were: a hash, which names no one."""
    event = getattr(action, "event", None)
    content = event.hashed if isinstance(event, NormalisedEvent) else None
    parts = [type(action).__name__, content, *_termin_of(action), *_event_of(action)]
    payload = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(payload.encode()).hexdigest()


def _termin_of(action: Action) -> list[Any]:
    """Which Termin it is about, and as what it was read; an event that is to become one has none."""
    termin = getattr(action, "termin", None)
    if isinstance(termin, Termin):
        return [termin.fr_nr, termin.record]
    pair = getattr(action, "pair", None)
    return [pair.advoware_frnr if isinstance(pair, Pair) else None, None]


def _event_of(action: Action) -> list[Any]:
    """Which event it is about, and which version of it."""
    google = getattr(action, "google", None)
    if isinstance(google, GoogleEvent):
        return [google.id, google.etag or google.event.hashed]
    pair = getattr(action, "pair", None)
    event_id = pair.google_event_id if isinstance(pair, Pair) else None
    return [getattr(action, "event_id", event_id), getattr(action, "etag", None)]


def _takes_text_away(action: Action) -> bool:
    """Whether an event shows a text, and will show none."""
    if isinstance(action, HideGoogle | DeleteGoogle):
        return True
    event = getattr(action, "event", None)
    if not isinstance(event, NormalisedEvent) or not event.anonymised:
        return False
    if isinstance(action, ReplaceGoogle):
        return True  # single occurrences of a series may show one
    return _shows_text_now(action)


def _shows_text_now(action: Action) -> bool:
    """Whether the event of an action shows a text, as it was read, or else as it is remembered."""
    google = getattr(action, "google", None)
    if isinstance(google, GoogleEvent):
        return google.shows_text
    pair = getattr(action, "pair", None)
    remembered = pair.google.content_hash if isinstance(pair, Pair) else None
    return remembered is not None and not is_anonymised_hash(remembered)
