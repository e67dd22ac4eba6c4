"""Stores what actions have led to: the row of a pair, with its line in the audit."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from services.calendar_sync.apply.clients import Clients
from services.calendar_sync.apply.contents import (
    as_observed,
    days_of,
    fingerprint_of,
    synced,
    why_untranslatable,
    without_event,
)
from services.calendar_sync.mapping import google_body
from services.calendar_sync.model import (
    Action,
    AdoptGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    FollowCopy,
    GoogleEvent,
    HideGoogle,
    InsertGoogle,
    MarkUntranslatable,
    NormalisedEvent,
    Pair,
    PostAdvoware,
    RecordFingerprints,
    RecreateAdvoware,
    RecreateGoogle,
    RememberPending,
    ReplaceGoogle,
    ShowGoogle,
    SoftDelete,
    SourceSystem,
    TakeMarksOff,
    Termin,
    Unlink,
    UpdateAdvoware,
    UpdateGoogle,
    untranslatable_error,
)
from services.calendar_sync.store import AuditLine, Overwritten, Side
from services.calendar_sync.view import PlanSettings
from services.core.errors import Conflict

#: A row and its line in the audit.
Saved = tuple[Pair, AuditLine]


#: What the audit says of each action: the side that is written to, and what is done to it. These words are stored, and
#: stay as they are.
AUDIT: Mapping[type, tuple[Side, str]] = {
    InsertGoogle: ("google", "created"),
    AdoptGoogle: ("google", "adopted"),
    PostAdvoware: ("advoware", "created"),
    RememberPending: ("none", "pending"),
    DeleteGoogle: ("google", "deleted"),
    DeleteAdvoware: ("advoware", "deleted"),
    RecreateGoogle: ("google", "recreated"),
    RecreateAdvoware: ("advoware", "recreated"),
    FollowCopy: ("none", "followed"),
    Unlink: ("none", "let_go"),
    SoftDelete: ("none", "deleted"),
    UpdateGoogle: ("google", "updated"),
    ReplaceGoogle: ("google", "replaced"),
    HideGoogle: ("google", "hidden"),
    ShowGoogle: ("google", "shown"),
    UpdateAdvoware: ("advoware", "updated"),
    RecordFingerprints: ("none", "recorded"),
    MarkUntranslatable: ("none", "left_alone"),
    TakeMarksOff: ("google", "marks_removed"),
}

REASONS: Mapping[type, str] = {
    InsertGoogle: "new in Advoware",
    AdoptGoogle: "both sides have it already",
    PostAdvoware: "new in Google",
    RememberPending: "Advoware may not be written",
    RecreateGoogle: "only the copy was deleted",
    RecreateAdvoware: "only the copy was deleted",
    FollowCopy: "the original was deleted, its copy is there",
    Unlink: "the copy was deleted when it was over",
    SoftDelete: "gone on both sides",
    UpdateGoogle: "Google differs from what it shall show",
    ReplaceGoogle: "single occurrences of the series were changed in Google",
    HideGoogle: "Google must not show the text",
    ShowGoogle: "Google may show the text again",
    UpdateAdvoware: "changed in Google",
    RecordFingerprints: "both sides agree",
    TakeMarksOff: "a person's copy of an event of the sync",
}


def action_name(action: Action) -> str:
    """What a summary counts an action as, such as ``google_created``."""
    side, word = AUDIT[type(action)]
    if side == "none":
        return word
    return f"{side}_{word}"


class Rows:
    """The rows of one employee's pairs, and the audit."""

    def __init__(self, settings: PlanSettings, clients: Clients) -> None:
        self._settings = settings
        self._clients = clients
        self._store = clients.store

    # -- storing --------------------------------------------------------------------------------------------------

    async def save(self, pair: Pair, line: AuditLine) -> None:
        """Store a row. Raises Conflict if it cannot be."""
        await self._store.save_pair(pair, _with_ids(pair, line), self._clients.now())

    async def save_as_it_was(self, pair: Pair, line: AuditLine) -> None:
        """Store a row; the line keeps the ids that the pair had before."""
        await self._store.save_pair(pair, line, self._clients.now())

    async def save_all(self, rows: Sequence[Saved]) -> None:
        """Store these rows in one transaction.

        Raises:
            Conflict: one of them cannot be stored; then none is.
        """
        lines = [(pair, _with_ids(pair, line)) for pair, line in rows]
        await self._store.save_pairs(lines, self._clients.now())

    async def delete(self, pair: Pair, line: AuditLine) -> None:
        """Mark the row as deleted."""
        await self._store.delete_pair(pair.sync_id, line, self._clients.now())

    async def keep_overwritten(self, pair: Pair, undone: Sequence[GoogleEvent]) -> None:
        """Keep what a person has entered in Google before it is overwritten, so that it can be shown and restored."""
        for google in undone:
            if google.record and not google.cancelled:
                await self._keep(pair, google.id, google.record)

    async def keep_termin(self, pair: Pair, undone: NormalisedEvent | None) -> None:
        """Keep what a person has entered in Advoware before it goes, as the event that would show it."""
        if undone is None or pair.advoware_frnr is None:
            return
        event_id = pair.google_event_id or ""
        resource = google_body(undone, pair.advoware_frnr, pair.sync_id)
        resource["id"] = event_id
        if undone.privat:
            resource["visibility"] = "private"
        await self._keep(pair, event_id, resource)

    async def _keep(
        self,
        pair: Pair,
        event_id: str,
        resource: Mapping[str, Any],
    ) -> None:
        kept = Overwritten(
            employee_kuerzel=pair.employee_kuerzel,
            sync_id=pair.sync_id,
            google_event_id=event_id,
            advoware_frnr=pair.advoware_frnr,
            resource=resource,
        )
        await self._store.keep_overwritten(kept, self._clients.now())

    async def remember(
        self,
        action: Action,
        pair: Pair,
        termin: Termin,
        google: GoogleEvent,
    ) -> None:
        """Store the pair as both systems have answered."""
        await self.save(*self.as_answered(action, pair, termin, google))

    def as_answered(
        self,
        action: Action,
        pair: Pair,
        termin: Termin,
        google: GoogleEvent,
    ) -> Saved:
        """The pair as both systems have answered, and its line in the audit."""
        observed = as_observed(pair, termin, google)
        side = _content_written_to(action)
        if side is not None:
            observed = replace(observed, written=side)
        before = pair.google
        after = observed.google
        if side == "advoware":
            before = pair.advoware
            after = observed.advoware
        line = self.line(action, observed, before=before, after=after)
        reason = why_untranslatable(termin, google)
        if reason is None:
            return synced(observed), line
        return _left_alone(observed, reason), line

    def new_pair(
        self,
        fr_nr: int | None,
        event_id: str | None,
        source: SourceSystem,
    ) -> Pair:
        """A row that is not stored yet."""
        settings = self._settings
        return Pair(
            uuid.uuid4(),
            settings.kuerzel,
            fr_nr,
            event_id,
            source,
            settings.strategy,
            settings.advoware_write_allowed,
        )

    # -- actions that only remember -------------------------------------------------------------------------------

    async def remember_pending(self, action: RememberPending) -> None:
        """A person's event waits until Advoware may be written."""
        google = action.google
        pair = action.pair or self.new_pair(None, google.id, "google")
        pending = replace(
            pair,
            advoware_frnr=None,
            advoware=Fingerprint(),
            google=fingerprint_of(google),
            sync_status="pending",
            error=None,
            **days_of(google),
        )
        await self.save(pending, self.line(action, pair))

    async def record(self, action: RecordFingerprints) -> None:
        """Both sides agree."""
        recorded = replace(
            action.pair,
            advoware=action.advoware,
            google=action.google,
            first_day=action.first_day,
            last_day=action.last_day,
            persons_private=action.persons_private,
        )
        line = self.line(action, action.pair, after=action.google)
        await self.save(synced(recorded), line)

    async def unlink(self, action: Unlink) -> None:
        """The event was deleted when it was over."""
        pair = replace(action.pair, google_event_id=None, google=Fingerprint())
        await self.save(synced(pair), self.line(action, action.pair))

    async def follow_copy(self, action: FollowCopy) -> None:
        """A copy takes the place of the event.

        What both sides have agreed on stays: so the copy's content counts as the person's change.
        """
        followed = replace(action.pair, google_event_id=action.google.id)
        await self.save(followed, self.line(action, action.pair))

    async def mark_untranslatable(self, action: MarkUntranslatable) -> None:
        """The appointment is left alone."""
        pair = self._marked(action)
        line = self.line(action, pair, reason=action.reason)
        await self.save(_left_alone(pair, action.reason), line)

    def _marked(self, action: MarkUntranslatable) -> Pair:
        google = action.google
        if action.pair is None:
            return self._new_pair_of(action)
        pair = as_observed(action.pair, action.termin, google)
        if google is not None and action.is_edited:
            pair = replace(pair, google=fingerprint_of(google, is_edited=True))
        return pair

    def _new_pair_of(self, action: MarkUntranslatable) -> Pair:
        """A row for the side that is given."""
        termin = action.termin
        google = action.google
        fr_nr = termin.fr_nr if termin else None
        event_id = google.id if google else None
        source: SourceSystem = "advoware" if termin else "google"
        return self.new_pair(fr_nr, event_id, source)

    async def unlink_lost(self, pair: Pair) -> None:
        """Forget an event that was lost with its calendar. A Termin without event is new to the next plan."""
        line = AuditLine(
            employee_kuerzel=pair.employee_kuerzel,
            side="none",
            action="let_go",
            reason="the calendar was lost",
            sync_id=pair.sync_id,
            advoware_frnr=pair.advoware_frnr,
            google_event_id=pair.google_event_id,
            trace_id=self._clients.trace_id,
        )
        if pair.advoware_frnr is None:
            await self.delete(pair, line)
        else:
            await self.save_as_it_was(without_event(pair), line)

    # -- failures -------------------------------------------------------------------------------------------------

    async def fail(self, action: Action, code: str) -> None:
        """Remember that an action failed; the audit gets a line when the failure is a new one."""
        pair = await self._row_to_fail(action)
        # What an untranslatable pair waits for must not be forgotten.
        if pair is None or pair.error == code or pair.untranslatable is not None:
            return
        line = self.line(action, pair, error=code)
        attempts = pair.attempts + 1
        failed = replace(pair, sync_status="failed", error=code, attempts=attempts)
        with suppress(Conflict):  # another row has this appointment already
            await self.save(failed, line)

    async def _row_to_fail(self, action: Action) -> Pair | None:
        pair = self._row_of(action)
        if pair is None:
            return None
        stored = await self._store.find_pair(pair.sync_id)
        if stored is None:
            return pair
        # As it is now: what the action has remembered before it failed must stay.
        if stored.deleted_at:
            return None
        return stored.pair

    def _row_of(self, action: Action) -> Pair | None:
        pair = getattr(action, "pair", None)
        if isinstance(pair, Pair):
            return pair
        if isinstance(action, InsertGoogle):
            return self.new_pair(action.termin.fr_nr, None, "advoware")
        if isinstance(action, PostAdvoware):
            return self.new_pair(None, action.google.id, "google")
        return None

    # -- the audit ------------------------------------------------------------------------------------------------

    async def audit_event(self, action: Action, google: GoogleEvent) -> None:
        """A line of an event without a row."""
        await self.audit(self._line_of_event(action, google))

    def line_of_begun(self, action: Action) -> AuditLine | None:
        """What the audit would say of an action that was interrupted; None if it writes to neither side.

        What an interrupted insert has left is found by its id, and recorded then.
        """
        side, _ = AUDIT[type(action)]
        if side == "none" or isinstance(action, InsertGoogle):
            return None
        pair = getattr(action, "pair", None)
        if isinstance(pair, Pair):
            return self.line(action, pair)
        return self._line_of_event(action, getattr(action, "google", None))

    def _line_of_event(self, action: Action, google: GoogleEvent | None) -> AuditLine:
        side, word = AUDIT[type(action)]
        return AuditLine(
            employee_kuerzel=self._settings.kuerzel,
            side=side,
            action=word,
            reason=REASONS[type(action)],
            google_event_id=google.id if google else None,
            trace_id=self._clients.trace_id,
        )

    async def audit(self, line: AuditLine) -> None:
        """A line of what has no row to be saved with."""
        await self._store.append_audit([line], self._clients.now())

    def line(
        self,
        action: Action,
        pair: Pair,
        *,
        reason: str | None = None,
        before: Fingerprint | None = None,
        after: Fingerprint | None = None,
        error: str | None = None,
    ) -> AuditLine:
        """What the audit says of an action; ``error``: it has failed with this code."""
        side, word = AUDIT[type(action)]
        given = reason or getattr(action, "reason", None)
        why = given or REASONS.get(type(action), "")
        line = AuditLine(
            employee_kuerzel=self._settings.kuerzel,
            side=side,
            action=word,
            reason=why,
            sync_id=pair.sync_id,
            advoware_frnr=pair.advoware_frnr,
            google_event_id=pair.google_event_id,
            before_hash=before.content_hash if before else None,
            after_hash=after.content_hash if after else None,
            trace_id=self._clients.trace_id,
        )
        if error is None:
            return line
        failure = f"{word}: {why}"
        return replace(line, side="none", action="failed", reason=failure, error=error)


def _with_ids(pair: Pair, line: AuditLine) -> AuditLine:
    return replace(
        line,
        advoware_frnr=pair.advoware_frnr,
        google_event_id=pair.google_event_id,
    )


def _content_written_to(action: Action) -> SourceSystem | None:
    """The side that an action writes an appointment's content to; None: to neither."""
    if isinstance(action, AdoptGoogle) and not action.write:
        return None
    side, _ = AUDIT[type(action)]
    return None if side == "none" else side


def _left_alone(pair: Pair, reason: str) -> Pair:
    error = untranslatable_error(reason)
    return replace(pair, sync_status="failed", error=error)
