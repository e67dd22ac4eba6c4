"""Writes to Google: events are made, adopted, changed, replaced, hidden and shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from services.calendar_sync.apply.clients import Clients, Json
from services.calendar_sync.apply.contents import fingerprint_of, shows, without_event
from services.calendar_sync.apply.rows import Rows, Saved
from services.calendar_sync.mapping import (
    generation_of,
    google_body,
    google_event_id,
    hide_body,
    read_google_event,
    texts_body,
    unmark_body,
)
from services.calendar_sync.model import (
    AdoptGoogle,
    Fingerprint,
    GoogleEvent,
    HideGoogle,
    InsertGoogle,
    NormalisedEvent,
    Pair,
    RecreateGoogle,
    ReplaceGoogle,
    ShowGoogle,
    TakeMarksOff,
    UpdateGoogle,
)
from services.calendar_sync.provider import SYSTEM
from services.calendar_sync.view import PlanSettings
from services.core.errors import Conflict, Forbidden, NotFound, ValidationFailed

#: Ids under which Google inserts events. Its own may look otherwise: those of imported events begin with ``_``.
INSERTABLE_ID = re.compile(r"[a-v0-9]{5,1024}")

#: How far the further ids are from the first one under which a Termin's event is inserted when those before it are
#: refused or taken. A series has one more used id each time that it is put back.
FURTHER_IDS = (0, 1, 2, 3, *(2**power for power in range(2, 10)))

#: What is written if the content is right already: a text that an answer lacks is not cleared by the way.
BESIDE_CONTENT = frozenset({"extendedProperties", "visibility"})

#: What a person has set for his copy of an appointment, beside its content: an event in its place gets it as well.
KEPT = ("colorId", "reminders", "attendees")

#: Of that: what a service account may not set (403 ``forbiddenForServiceAccounts``), unless the domain lets it act for
#: its users.
GUESTS = "attendees"

#: Actions that make an event.
_Making = InsertGoogle | RecreateGoogle | ReplaceGoogle


class GoogleSide:
    """Writes to one employee's calendar."""

    def __init__(self, settings: PlanSettings, clients: Clients, rows: Rows) -> None:
        self._calendar_id = settings.calendar_id
        self._settings = settings
        self._google = clients.google
        self._store = clients.store
        self._rows = rows

    # -- new events -----------------------------------------------------------------------------------------------

    async def insert(self, action: InsertGoogle) -> Saved:
        """Make the event; returns the row that is to be remembered, and its line in the audit.

        Until it is, another attempt finds the event by its id.
        """
        pair = action.pair
        if pair is None:
            pair = self._rows.new_pair(action.termin.fr_nr, None, "advoware")
        return await self._put_event(action, pair, action.event_id, {})

    async def recreate(self, action: RecreateGoogle) -> None:
        """Bring a deleted event back. A single event is revived with all that it had, a series is not."""
        kept: Json = {}
        if action.event.recurrence:
            kept = await self._kept_of(action.event_id)
        row = await self._put_event(action, action.pair, action.event_id, kept)
        await self._rows.save(*row)

    async def _put_event(
        self,
        action: _Making,
        pair: Pair,
        event_id: str,
        kept: Json,
    ) -> Saved:
        """Make sure that the event exists, be it for the first time, again, or from a lost attempt.

        ``kept`` are fields that it gets beside its content, as far as Google takes them: an appointment must not be
        missing because of what is set beside it.
        """
        left_out: list[str] = []
        while True:
            try:
                row, line = await self._put_body(action, pair, event_id, kept)
                break
            except (Forbidden, ValidationFailed):
                if not kept:
                    raise
            fewer = _fewer(kept)
            left_out += sorted(kept.keys() - fewer.keys())
            kept = fewer
        if left_out:
            reason = f"{line.reason}; without {', '.join(left_out)}"
            line = replace(line, reason=reason)
        return row, line

    async def _put_body(
        self,
        action: _Making,
        pair: Pair,
        event_id: str,
        kept: Json,
    ) -> Saved:
        """``event_id`` is tried first, then the further ids of the Termin."""
        termin = action.termin
        body = {**self._body(action.event, termin.fr_nr, pair), **kept}
        for candidate in self._ids_from(event_id, termin.fr_nr):
            written = await self._insert_as(candidate, body, action, pair)
            if written is not None:
                pair = replace(pair, google_event_id=candidate)
                event = read_google_event(written)
                return self._rows.as_answered(action, pair, termin, event)
        raise Conflict(SYSTEM, "none of the ids of this Termin can be used")

    def _ids_from(self, event_id: str, fr_nr: int) -> Iterator[str]:
        generation = generation_of(event_id, fr_nr, self._calendar_id)
        if generation is None:
            generation = 0
            if INSERTABLE_ID.fullmatch(event_id):
                yield event_id
        for further in FURTHER_IDS:
            yield google_event_id(fr_nr, self._calendar_id, generation + further)

    async def _insert_as(
        self,
        event_id: str,
        body: Json,
        action: _Making,
        pair: Pair,
    ) -> Json | None:
        """The event that now exists under this id; None if the id cannot be used for it.

        One that is there already is that of the Termin even if it names none: its id says so, and its owner or a
        program may have dropped our properties.
        """
        new = {**body, "id": event_id}
        try:
            return await self._google.insert_event(self._calendar_id, new)
        except Conflict:
            pass
        try:
            present = await self._google.get_event(self._calendar_id, event_id)
            if present.get("status") == "cancelled":
                return await self._revive(event_id, body, present)
        except (Forbidden, NotFound):  # Google does not give back every deleted event
            return None
        found = read_google_event(present)
        if found.fr_nr not in {None, action.termin.fr_nr}:
            return None
        owned = replace(pair, google_event_id=event_id)
        await self._keep_what_differs(owned, found, action.event)
        return await self._google.patch_event(
            self._calendar_id,
            event_id,
            body,
            if_match=present.get("etag"),
        )

    async def _keep_what_differs(
        self,
        pair: Pair,
        google: GoogleEvent,
        event: NormalisedEvent,
    ) -> None:
        """Keep an event that is written over, unless it says the same: who has changed it is not known."""
        if not shows(google, event):
            await self._rows.keep_overwritten(pair, [google])

    async def _revive(self, event_id: str, body: Json, present: Json) -> Json | None:
        """Bring a deleted event back with all that a person has set for it; a series would bring its exceptions."""
        if body.get("recurrence") or present.get("recurrence"):
            return None
        revived = {**body, "status": "confirmed"}
        return await self._google.patch_event(
            self._calendar_id,
            event_id,
            revived,
            if_match=present.get("etag"),
        )

    async def _kept_of(self, event_id: str) -> Json:
        """What a person had set for an event that is deleted, as far as Google still knows."""
        try:
            record = await self._google.get_event(self._calendar_id, event_id)
        except (Forbidden, NotFound):
            return {}
        return _kept(record)

    # -- one event in the place of another ------------------------------------------------------------------------

    async def replace(self, action: ReplaceGoogle) -> None:
        """Put an event under a new id in the place of this one.

        First the row is unlinked: what is interrupted then is claimed as an event of the sync without a row, or as a
        Termin without an event, and never as one that a person has deleted.
        """
        pair = action.pair
        google = action.google
        await self._rows.keep_overwritten(pair, action.undone)
        unlinked = without_event(pair)
        line = replace(self._rows.line(action, pair), side="none", action="let_go")
        await self._rows.save_as_it_was(unlinked, line)
        await self._delete_replaced(action)
        next_id = self._next_id(google.id, action.termin.fr_nr)
        kept = _kept(google.record)
        row = await self._put_event(action, unlinked, next_id, kept)
        await self._rows.save(*row)

    def _next_id(self, event_id: str, fr_nr: int) -> str:
        generation = generation_of(event_id, fr_nr, self._calendar_id)
        following = 0 if generation is None else generation + 1
        return google_event_id(fr_nr, self._calendar_id, following)

    async def _delete_replaced(self, action: ReplaceGoogle) -> None:
        """Delete the event whose row was unlinked. Raises Conflict if a person has changed it: then it stays."""
        pair = action.pair
        google = action.google
        try:
            await self._google.delete_event(
                self._calendar_id,
                google.id,
                if_match=google.etag,
            )
        except NotFound:
            pass
        except Conflict:
            # Changed since it was listed. If it is there with its occurrences, it remains the pair's event; if not, an
            # attempt whose answer was lost has deleted it.
            if await self._is_gone(google.id):
                return
            line = replace(self._rows.line(action, pair), side="none", action="kept")
            await self._rows.save_as_it_was(pair, line)
            raise

    async def _is_gone(self, event_id: str) -> bool:
        try:
            record = await self._google.get_event(self._calendar_id, event_id)
        except NotFound:
            return True
        return record.get("status") == "cancelled"

    # -- events that are there ------------------------------------------------------------------------------------

    async def update(self, action: UpdateGoogle) -> None:
        """Write what the event is to show."""
        pair = action.pair
        termin = action.termin
        await self._rows.keep_overwritten(pair, action.undone)
        shown = await self.patch(
            pair,
            action.event,
            termin.fr_nr,
            action.etag,
            action.google,
        )
        await self._rows.remember(action, pair, termin, shown)

    async def adopt(self, action: AdoptGoogle) -> None:
        """Make a pair of a Termin and an event that is there."""
        termin = action.termin
        google = action.google
        source = action.source_system
        pair = action.pair or self._rows.new_pair(termin.fr_nr, google.id, source)
        pair = replace(
            pair,
            advoware_frnr=termin.fr_nr,
            google_event_id=google.id,
            source_system=source,
        )
        shown = google
        if action.write:
            await self._keep_what_differs(pair, google, action.event)
            shown = await self.patch(
                pair,
                action.event,
                termin.fr_nr,
                google.etag,
                google,
            )
        row, line = self._rows.as_answered(action, pair, termin, shown)
        if not action.write and not _shows_but_for_occurrences(google, action.event):
            row = _as_not_compared(row, google)
        # An intent without a result is fulfilled by this as well. Ended first: a pair must not outlive its intent.
        await self._store.end_intent(self._settings.kuerzel, google.id)
        await self._rows.save(row, line)

    async def patch(
        self,
        pair: Pair,
        event: NormalisedEvent,
        fr_nr: int,
        etag: str | None,
        current: GoogleEvent | None,
    ) -> GoogleEvent:
        """Write into the pair's event; ``current`` is the event as it is known, ``etag`` the one to expect.

        Raises:
            Conflict: the event has another etag by now.
        """
        body = self._body(event, fr_nr, pair, current)
        if current is not None and shows(current, event):
            body = _only_beside_content(body)
        answer = await self._google.patch_event(
            self._calendar_id,
            str(pair.google_event_id),
            body,
            if_match=etag,
        )
        return read_google_event(answer)

    def _body(
        self,
        event: NormalisedEvent,
        fr_nr: int,
        pair: Pair,
        current: GoogleEvent | None = None,
    ) -> Json:
        is_advowares = pair.source_system == "advoware"
        body = google_body(
            event,
            fr_nr,
            pair.sync_id,
            current=current,
            is_own=is_advowares,
        )
        if pair.persons_private and not event.anonymised:
            body["visibility"] = "private"
        return body

    # -- texts and marks ------------------------------------------------------------------------------------------

    async def hide(self, action: HideGoogle) -> None:
        """Take the texts out of an event."""
        pair = action.pair
        await self._rows.keep_overwritten(pair, action.undone)
        await self._write_texts(action, hide_body(pair.advoware_frnr, pair.sync_id))

    async def hide_occurrences(
        self,
        pair: Pair,
        occurrences: Sequence[GoogleEvent],
    ) -> None:
        """Take the texts out of single occurrences of a series, and keep them."""
        await self._rows.keep_overwritten(pair, occurrences)
        body = hide_body(pair.advoware_frnr, pair.sync_id)
        await self._patch_occurrences(occurrences, body)

    async def _patch_occurrences(
        self,
        occurrences: Sequence[GoogleEvent],
        body: Json,
    ) -> None:
        for occurrence in occurrences:
            with suppress(NotFound):  # cancelled meanwhile
                await self._google.patch_event(self._calendar_id, occurrence.id, body)

    async def show(self, action: ShowGoogle) -> None:
        """Write the texts into an event that was hidden."""
        pair = action.pair
        is_advowares = pair.source_system == "advoware"
        body = texts_body(
            action.event,
            pair.advoware_frnr,
            pair.sync_id,
            is_own=is_advowares,
        )
        if pair.persons_private:
            body["visibility"] = "private"
        await self._write_texts(action, body)

    async def _write_texts(self, action: HideGoogle | ShowGoogle, body: Json) -> None:
        """Write the texts of an event and of occurrences, and remember only that; the times on both sides stay."""
        pair = action.pair
        answer = await self._google.patch_event(
            self._calendar_id,
            str(pair.google_event_id),
            body,
            if_match=action.etag,
        )
        await self._patch_occurrences(action.occurrences, body)
        written = read_google_event(answer)
        shown = fingerprint_of(written, is_edited=action.is_edited)
        await self._remember_texts(action, shown)

    async def _remember_texts(
        self,
        action: HideGoogle | ShowGoogle,
        shown: Fingerprint,
    ) -> None:
        pair = action.pair
        line = self._rows.line(action, pair, before=pair.google, after=shown)
        stored = await self._store.find_pair(pair.sync_id)
        if stored is None:  # a copy by the sync without a row
            await self._rows.audit(line)
            return
        if isinstance(action, HideGoogle) and action.is_partial:
            shown = stored.pair.google
        # The row as it is now: what this run has remembered of the Termin stays.
        remembered = replace(
            stored.pair,
            google=shown,
            persons_private=pair.persons_private,
        )
        await self._rows.save(remembered, line)

    async def take_marks_off(self, action: TakeMarksOff) -> None:
        """Remove our marks from a person's event."""
        google = action.google
        await self._google.patch_event(
            self._calendar_id,
            google.id,
            unmark_body(),
            if_match=google.etag,
        )
        await self._rows.audit_event(action, google)


def _shows_but_for_occurrences(google: GoogleEvent, event: NormalisedEvent) -> bool:
    """Whether an event shows this, whatever became of single occurrences of it."""
    return shows(read_google_event(google.record), event)


def _as_not_compared(pair: Pair, google: GoogleEvent) -> Pair:
    """The row of two sides that differ and were not agreed on: each counts as changed, so the next run decides."""
    edited = fingerprint_of(google, is_edited=True)
    return replace(pair, advoware=Fingerprint(), google=edited)


def _kept(record: Mapping[str, Any]) -> Json:
    return {name: record[name] for name in KEPT if record.get(name)}


def _fewer(kept: Json) -> Json:
    """What to try next of these fields: all but the guests, then none."""
    if GUESTS in kept:
        return {name: value for name, value in kept.items() if name != GUESTS}
    return {}


def _only_beside_content(body: Json) -> Json:
    return {name: value for name, value in body.items() if name in BESIDE_CONTENT}
