"""Deletes what one side lacks on the other side, and then the row."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from services.calendar_sync.apply.advoware_side import CurrentTermine
from services.calendar_sync.apply.clients import Clients, Colleagues
from services.calendar_sync.apply.refusals import REFUSING
from services.calendar_sync.apply.rows import Rows
from services.calendar_sync.model import (
    KEPT_WHILE_REFUSED,
    MOVED_OUTSIDE_WINDOW,
    MOVED_UNREADABLE,
    TEXT_ONLY_HERE,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    GoogleEvent,
    MarkUntranslatable,
    NormalisedEvent,
    Pair,
    SoftDelete,
    Termin,
    has_exceptions,
    is_anonymised_hash,
    is_kept_while_refused,
    is_partial_hash,
)
from services.calendar_sync.provider import SYSTEM
from services.calendar_sync.view import PlanSettings
from services.core.errors import Conflict, NotFound

_Deletion = DeleteGoogle | DeleteAdvoware | SoftDelete


class Deletions:
    """Deletions of one employee's appointments."""

    def __init__(
        self,
        settings: PlanSettings,
        clients: Clients,
        rows: Rows,
        current: CurrentTermine,
    ) -> None:
        self._settings = settings
        self._google = clients.google
        self._advoware = clients.advoware
        self._store = clients.store
        self._rows = rows
        self._current = current
        self._colleagues = Colleagues(clients, settings.calendar_id)

    async def delete_google(self, action: DeleteGoogle) -> None:
        """Delete the event, and the pair."""
        pair = action.pair
        await self._ensure_row(action)
        await self._rows.keep_overwritten(pair, action.undone)
        try:
            await self._google.delete_event(
                self._settings.calendar_id,
                str(pair.google_event_id),
                if_match=action.etag,
            )
        except NotFound:  # an earlier attempt got that far
            pass
        except REFUSING:
            await self._note_kept(pair)
            raise
        await self._delete_row(action, before=pair.google)

    async def _note_kept(self, pair: Pair) -> None:
        """Remember that the occurrences of a series are kept: else each run would list the calendar to look at them."""
        reason = pair.untranslatable or ""
        if has_exceptions(reason) and not is_kept_while_refused(reason):
            reason = f"{reason}; {KEPT_WHILE_REFUSED}"
            await self._rows.mark_untranslatable(MarkUntranslatable(reason, pair))

    async def delete_advoware(self, action: DeleteAdvoware) -> None:
        """Delete the Termin, and the pair; unless the event is in a colleague's calendar and needs the Termin."""
        pair = action.pair
        termin = action.termin
        await self._ensure_row(action)
        with suppress(NotFound):  # an earlier attempt got that far
            reason = await self._reason_to_keep(pair, termin)
            if reason is not None:
                await self._leave_alone(pair, reason)
                return
            # Right before it goes: it may have been given to others while their calendars were read.
            await self._current.unchanged(termin)
            await self._rows.keep_termin(pair, action.undone)
            await self._advoware.delete_termin(termin.fr_nr)
        await self._delete_row(action, before=pair.advoware)

    async def soft_delete(self, action: SoftDelete) -> None:
        """Delete the pair, of which nothing is left."""
        await self._ensure_row(action)
        await self._delete_row(action, before=action.pair.advoware)

    async def _ensure_row(self, action: _Deletion) -> None:
        """A copy by the sync without a row gets one, so that it is known should a person bring it back."""
        pair = action.pair
        if await self._store.find_pair(pair.sync_id) is not None:
            return
        line = replace(self._rows.line(action, pair), side="none", action="taken_up")
        await self._rows.save(pair, line)

    async def _delete_row(self, action: _Deletion, *, before: Fingerprint) -> None:
        line = self._rows.line(action, action.pair, before=before)
        await self._rows.delete(action.pair, line)

    async def _leave_alone(self, pair: Pair, reason: str) -> None:
        if pair.untranslatable != reason:
            await self._rows.mark_untranslatable(MarkUntranslatable(reason, pair))

    # -- events that were moved to a colleague --------------------------------------------------------------------

    async def _reason_to_keep(self, pair: Pair, termin: Termin) -> str | None:
        """Why a Termin must stay although its event is gone from this calendar; None: it need not.

        A person has moved the event to a colleague. That becomes the colleague's Termin, but not outside of the window
        and not if Advoware cannot hold it; if it is hidden or private, only this Termin knows.

        Raises:
            Conflict: it is hidden or private, and the colleague's sync has not claimed it yet.
        """
        event_id = str(pair.google_event_id)
        for event in await self._colleagues.events(event_id):
            if not _is_still_event_of(pair, event):
                continue
            reason = await self._reason_of_moved(pair, termin, event)
            if reason is not None:
                return reason
        return None

    async def _reason_of_moved(
        self,
        pair: Pair,
        termin: Termin,
        event: GoogleEvent,
    ) -> str | None:
        content = event.event
        if not isinstance(content, NormalisedEvent):
            return MOVED_UNREADABLE
        if not self._settings.covers(content.first_day, content.last_day):
            return MOVED_OUTSIDE_WINDOW
        if not (termin.privat or _may_be_hidden(pair, event)):
            return None
        if await self._is_left_alone(event.id):
            return TEXT_ONLY_HERE
        raise Conflict(SYSTEM, "the event was moved to a colleague's calendar")

    async def _is_left_alone(self, event_id: str) -> bool:
        """Whether a colleague's sync leaves this event alone."""
        for row in await self._store.load_pairs():
            is_own = row.employee_kuerzel == self._settings.kuerzel
            if is_own or row.google_event_id != event_id:
                continue
            if row.untranslatable is not None and row.advoware_frnr is None:
                return True
        return False


def _may_be_hidden(pair: Pair, event: GoogleEvent) -> bool:
    """Whether the event may not show the text that its Termin knows."""
    # Of a pair that is left alone the row may not know what Google showed last.
    is_known = pair.untranslatable is None
    if is_known and _was_shown(pair.google):
        return False
    was_hidden = is_known and is_anonymised_hash(pair.google.content_hash)
    return was_hidden or not _has_own_text(event)


def _was_shown(google: Fingerprint) -> bool:
    """Whether the text of the event was shown when both sides were compared."""
    content = google.content_hash
    if content is None:
        return False
    return not (is_anonymised_hash(content) or is_partial_hash(content))


def _is_still_event_of(pair: Pair, event: GoogleEvent) -> bool:
    return not event.cancelled and event.sync_id in {None, pair.sync_id}


def _has_own_text(event: GoogleEvent) -> bool:
    return event.shows_text and not event.has_foreign_text
