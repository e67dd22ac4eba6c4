"""Between our clients and the foreign systems: who may stop, answer or watch a request before it is sent.

Without a guard, requests are simply sent. A guard decides on each one: it may send it, answer it itself, or refuse it.
So a rehearsal (`services.preview.rehearsal`) lets the whole sync run without writing anything, because the clients are
the only way to the foreign systems. Logins are no requests in this sense.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from services.core.http import HttpAnswer

READS = frozenset({"GET", "HEAD"})

Send = Callable[[], Awaitable[HttpAnswer]]


@dataclass(frozen=True)
class ForeignRequest:
    """A request that a client is about to send; ``path`` is below the system's base URL, ``body`` is decoded JSON."""

    system: str
    method: str
    path: str
    params: Any = None
    body: Any = None

    @property
    def is_write(self) -> bool:
        """Whether the request may change something there."""
        return self.method.upper() not in READS


class WriteGuard(Protocol):
    """Decides on each request to a foreign system; see `Resources.guard`."""

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        """Answer the request: by ``send``, or without it.

        Raises:
            BitByLawError: what ``send`` raises, or a refusal of the guard's own.
        """
        ...


class SentInAnyCase:
    """The guard of an administrator's set-up: it goes on while the sync is paused, and needs none of our stores."""

    async def carry(self, request: ForeignRequest, send: Send) -> HttpAnswer:
        """Send it."""
        return await send()
