"""Applies the actions of one employee's plan, a method for each kind; before, what interrupted creates have left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from services.calendar_sync.apply.advoware_side import AdvowareSide, CurrentTermine
from services.calendar_sync.apply.clients import Clients
from services.calendar_sync.apply.creates import Creates
from services.calendar_sync.apply.deletions import Deletions
from services.calendar_sync.apply.google_side import GoogleSide
from services.calendar_sync.apply.refusals import Refusals
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
from services.core.errors import (
    Conflict,
    CreateUnclear,
    Forbidden,
    UnexpectedAnswer,
    ValidationFailed,
    failure_code,
)
from services.core.log import log

Method = Callable[[Any], Awaitable[None]]

#: After so long an intent that has led to nothing is forgotten.
FORGET_AFTER = timedelta(days=1)

#: With these it stays unknown what a create has left; the others of the employee go on.
_UNKNOWN = (Conflict, CreateUnclear, Forbidden, UnexpectedAnswer, ValidationFailed)


class Applier:
    """Applies actions of one employee's plan. The caller holds the employee's lock."""

    def __init__(self, settings: PlanSettings, clients: Clients) -> None:
        self._kuerzel = settings.kuerzel
        self._store = clients.store
        self._now = clients.resources.clock
        self.rows = Rows(settings, clients)  #: what remembers the outcomes
        self._refusals = Refusals(settings.kuerzel, clients)
        self._creates = Creates(settings, clients, self.rows)
        self._current = CurrentTermine(settings, clients)
        self._google_side = GoogleSide(settings, clients, self.rows)
        advoware_side = AdvowareSide(
            clients,
            self.rows,
            self._google_side,
            self._creates,
            self._current,
        )
        deletions = Deletions(settings, clients, self.rows, self._current)
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
            RememberPending: self.rows.remember_pending,
            RecordFingerprints: self.rows.record,
            Unlink: self.rows.unlink,
            FollowCopy: self.rows.follow_copy,
            MarkUntranslatable: self.rows.mark_untranslatable,
        }

    def expect_changes(self, number: int) -> None:
        """Say how many Termine this run is to change or delete."""
        self._current.expected_changes = number

    async def apply(self, action: Action) -> None:
        """Do what the action says, and remember it.

        Raises:
            Conflict: the event or Termin is not any more what the plan was made from.
            ForeignSystemError: a system refused or could not be reached; what was done until then is found again.
            RefusedBefore: a system has refused the same, and it is too early to try again; nothing was done.
        """
        method = self._methods.get(type(action))
        if method is None:
            raise TypeError(f"no action to be applied: {type(action).__name__}")
        line = self.rows.line_of_begun(action)
        if line is None:
            await method(action)
            return
        await self._refusals.require_worth_sending(action)
        begun_id = await self._store.note_begun(line)
        try:
            await method(action)
        except Exception as error:  # what has failed is remembered with its row
            await self._store.end_begun(begun_id)
            await self._refusals.note(action, error)
            raise
        await self._store.end_begun(begun_id)

    async def _insert(self, action: InsertGoogle) -> None:
        await self.rows.save(*await self.insert(action))

    async def insert(self, action: InsertGoogle) -> Saved:
        """Make the event; returns the row that is to be remembered, and its line in the audit.

        Until it is, another attempt finds the event by its id. Raises as `apply`.
        """
        await self._refusals.require_worth_sending(action)
        try:
            return await self._google_side.insert(action)
        except Exception as error:
            await self._refusals.note(action, error)
            raise

    # -- before anything is planned -------------------------------------------------------------------------------

    async def resume_creates(self, context: Any) -> list[Intent]:
        """Make pairs of what interrupted creates have left; forget those that after a day have led to nothing.

        Returns those of which it is not known yet what they have left.
        """
        intents = await self._store.open_intents(self._kuerzel)
        if not intents:
            return []
        pairs = await self._store.load_pairs(self._kuerzel)
        rows = {pair.google_event_id: pair for pair in pairs}
        unknown: list[Intent] = []
        for intent in intents:
            try:
                await self._creates.resume(intent, rows.get(intent.google_event_id))
            except _UNKNOWN as error:
                unknown.append(intent)
                log(
                    context,
                    "error",
                    "calendar.create_not_resumed",
                    kuerzel=self._kuerzel,
                    error=failure_code(error),
                )
        await self._forget_old(unknown)
        return unknown

    async def _forget_old(self, unknown: Sequence[Intent]) -> None:
        oldest = self._now() - FORGET_AFTER
        for intent in await self._store.open_intents(self._kuerzel):
            led_to_nothing = intent.advoware_frnr is None and intent not in unknown
            if led_to_nothing and intent.started_at < oldest:
                await self._forget(intent)

    async def _forget(self, intent: Intent) -> None:
        """Forget a create that has led to nothing; while that is uncertain it is remembered."""
        with suppress(*_UNKNOWN):
            await self._creates.require_left_nothing(intent)
            await self._store.end_intent(self._kuerzel, intent.google_event_id)
