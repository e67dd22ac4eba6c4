"""Applies the actions of one employee's plan: a method for each kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from services.calendar_sync.apply.advoware_side import AdvowareSide, CurrentTermine
from services.calendar_sync.apply.clients import Clients
from services.calendar_sync.apply.creates import Creates
from services.calendar_sync.apply.deletions import Deletions
from services.calendar_sync.apply.google_side import GoogleSide
from services.calendar_sync.apply.rows import Rows, Saved
from services.calendar_sync.model import (
    Action,
    AdoptGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    FollowCopy,
    HideGoogle,
    InsertGoogle,
    MarkUntranslatable,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    ReplaceGoogle,
    ShowGoogle,
    SoftDelete,
    TakeMarksOff,
    Unlink,
    UpdateAdvoware,
    UpdateGoogle,
)
from services.calendar_sync.store import Intent
from services.calendar_sync.view import PlanSettings

Method = Callable[[Any], Awaitable[None]]


class Applier:
    """Applies actions of one employee's plan. The caller holds the employee's lock."""

    def __init__(self, settings: PlanSettings, clients: Clients) -> None:
        self._rows = Rows(settings, clients)
        self._creates = Creates(settings, clients, self._rows)
        self._current = CurrentTermine(settings, clients)
        self._google_side = GoogleSide(settings, clients, self._rows)
        advoware_side = AdvowareSide(
            clients, self._rows, self._google_side, self._creates, self._current
        )
        deletions = Deletions(settings, clients, self._rows, self._current)
        self._methods: Mapping[type, Method] = {
            InsertGoogle: self._insert,
            RecreateGoogle: self._google_side.recreate,
            AdoptGoogle: self._google_side.adopt,
            UpdateGoogle: self._google_side.update,
            ReplaceGoogle: self._google_side.replace,
            HideGoogle: self._google_side.hide,
            ShowGoogle: self._google_side.show,
            TakeMarksOff: self._google_side.take_marks_off,
            PostAdvoware: advoware_side.post,
            RecreateAdvoware: advoware_side.recreate,
            UpdateAdvoware: advoware_side.update,
            DeleteGoogle: deletions.delete_google,
            DeleteAdvoware: deletions.delete_advoware,
            SoftDelete: deletions.soft_delete,
            RememberPending: self._rows.remember_pending,
            RecordFingerprints: self._rows.record,
            Unlink: self._rows.unlink,
            FollowCopy: self._rows.follow_copy,
            MarkUntranslatable: self._rows.mark_untranslatable,
        }

    def expect_changes(self, number: int) -> None:
        """Say how many Termine this run is to change or delete."""
        self._current.expected_changes = number

    async def apply(self, action: Action) -> None:
        """Do what the action says, and remember it.

        Raises:
            Conflict: the event or Termin is not any more what the plan was made from.
            ForeignSystemError: a system refused or could not be reached; what was done until then is found again.
        """
        method = self._methods.get(type(action))
        if method is None:
            raise TypeError(f"no action to be applied: {type(action).__name__}")
        await method(action)

    async def _insert(self, action: InsertGoogle) -> None:
        await self._rows.save(*await self.insert(action))

    async def insert(self, action: InsertGoogle) -> Saved:
        """Make the event; returns the row that is to be remembered, and its line in the audit.

        Until it is, another attempt finds the event by its id. Raises as `apply`.
        """
        return await self._google_side.insert(action)

    async def remember_all(self, rows: Sequence[Saved]) -> None:
        """Remember these rows in one transaction.

        Raises:
            Conflict: one of them cannot be; then none is.
        """
        await self._rows.save_all(rows)

    async def remember(self, row: Saved) -> None:
        """Remember one row. Raises Conflict if it cannot be."""
        await self._rows.save(*row)

    async def fail(self, action: Action, code: str) -> None:
        """Remember that an action failed; the audit gets a line when the failure is a new one."""
        await self._rows.fail(action, code)

    async def unlink(self, pair: Pair) -> None:
        """Forget an event that was lost with its calendar. A Termin without event is new to the next plan."""
        await self._rows.unlink_lost(pair)

    async def resume(self, intent: Intent, row: Pair | None) -> None:
        """Make a pair of what an interrupted create has left; see `Creates.resume`."""
        await self._creates.resume(intent, row)
