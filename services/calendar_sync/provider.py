"""What the calendar sync needs of the system that holds the employees' calendars, and which one that is.

The sync reads and writes records in the field names of Google's API: events in `mapping`, calendars in `calendars`,
rules in `sharing`. Another provider's client translates its own records to these (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from services.core.resources import Resources
from services.google_calendar import SYSTEM, GoogleCalendarAPI

__all__ = ["SYSTEM", "CalendarProvider", "ListedEvents", "open_provider"]

Json = dict[str, Any]


class ListedEvents(Protocol):
    """A complete answer to `CalendarProvider.list_events`."""

    @property
    def events(self) -> list[Json]:
        """The events; in an incremental list also the deleted ones, with ``status`` ``"cancelled"``."""

    @property
    def next_sync_token(self) -> str:
        """Where the next incremental list starts."""

    @property
    def is_full(self) -> bool:
        """Whether an absent event is deleted; in an incremental list it is unchanged."""


@runtime_checkable
class CalendarProvider(Protocol):
    """A client of a calendar system. Methods raise the errors of `services.core.errors` with ``system`` `SYSTEM`.

    All of them: NotFound, Conflict, RateLimited, Forbidden, ValidationFailed, AuthenticationFailed; Unavailable and
    UpstreamTimeout (the fate of a write is unknown); UnexpectedAnswer; ConfigurationError.
    """

    # -- calendars ------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> list[Json]:
        """The calendars that the account sees: ``id``, ``summary``, ``description``, ``accessRole``."""

    async def get_calendar(self, calendar_id: str) -> Json:
        """One calendar; that of the id ``primary`` has the account's e-mail address as its ``id``."""

    async def insert_calendar(self, summary: str, description: str = "") -> Json:
        """Create a calendar; returns it with its ``id``. A request of unknown fate is not repeated."""

    async def patch_calendar(self, calendar_id: str, changes: Json) -> Json:
        """Change ``summary`` or ``description``; returns the calendar."""

    # -- sharing --------------------------------------------------------------------------------------------------

    async def list_acl(self, calendar_id: str) -> Sequence[Json]:
        """The sharing rules: ``id``, ``role`` and ``scope`` (``type`` and ``value``)."""

    async def insert_acl(
        self,
        calendar_id: str,
        role: str,
        email: str,
        *,
        notify: bool = False,
    ) -> Json:
        """Give an account a role instead of the one that it has; returns the rule."""

    async def patch_acl(self, calendar_id: str, rule_id: str, role: str) -> Json:
        """Change the role of a rule without a message to the person; returns the rule."""

    async def delete_acl(self, calendar_id: str, rule_id: str) -> None:
        """Remove a rule. Raises NotFound if there is none."""

    # -- events ---------------------------------------------------------------------------------------------------

    async def list_events(
        self,
        calendar_id: str,
        sync_token: str | None = None,
    ) -> ListedEvents:
        """All events, or with a token those that changed since; series as their masters, and changed occurrences.

        Raises:
            SyncTokenExpired: the token is of no use any more.
        """

    async def get_event(self, calendar_id: str, event_id: str) -> Json:
        """One event; also a deleted one, as long as it is remembered, with ``status`` ``"cancelled"``."""

    async def insert_event(self, calendar_id: str, body: Json) -> Json:
        """Create an event under the ``id`` in the body; returns it. Raises Conflict if the id was ever used."""

    async def patch_event(
        self,
        calendar_id: str,
        event_id: str,
        changes: Json,
        *,
        if_match: str | None = None,
    ) -> Json:
        """Change the given fields; null removes one. Returns the event. Raises Conflict if its etag is another one."""

    async def delete_event(
        self,
        calendar_id: str,
        event_id: str,
        *,
        if_match: str | None = None,
    ) -> None:
        """Delete the event. Raises Conflict if its etag is another one, NotFound if there is none (any more)."""


def open_provider(context: Any, resources: Resources) -> CalendarProvider:
    """The client of the calendar system that is used. ``context`` is a step's, for its log, or None."""
    return GoogleCalendarAPI(context, resources=resources)
