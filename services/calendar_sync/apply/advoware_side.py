"""Writes to Advoware: Termine are created and changed. They are deleted by `deletions`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from services.calendar_sync.apply.clients import Clients, Json, one_termin
from services.calendar_sync.apply.contents import says_the_same, shows
from services.calendar_sync.apply.creates import Creates
from services.calendar_sync.apply.google_side import GoogleSide
from services.calendar_sync.apply.refusals import REFUSING
from services.calendar_sync.apply.rows import Rows
from services.calendar_sync.mapping import (
    TERMIN_FIELDS,
    changed_termin,
    read_termin,
    read_termine,
    shows_privat,
    with_our_times,
)
from services.calendar_sync.model import (
    TEXTS,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    PostAdvoware,
    RecreateAdvoware,
    Termin,
    UpdateAdvoware,
)
from services.calendar_sync.view import PlanSettings
from services.core.errors import (
    Conflict,
    ForeignSystemError,
    NotFound,
    UnexpectedAnswer,
    ValidationFailed,
)

#: From so many changes on, the Termine are listed once more, and their contents are believed for so long.
MANY_CHANGES = 2
FRESH_SECONDS = 5.0

#: With these the same write would not succeed a moment later.
NOT_TAKEN = (*REFUSING, UnexpectedAnswer)

#: An answer with these fields says what was stored.
ANSWERED = frozenset({"frNr", *TERMIN_FIELDS})


class CurrentTermine:
    """Termine as Advoware has them at the moment of a change.

    Several of them are listed together, and believed for a moment, instead of being read one by one.
    """

    def __init__(self, settings: PlanSettings, clients: Clients) -> None:
        self._settings = settings
        self._advoware = clients.advoware
        self.expected_changes = 0  #: how many Termine this run is to change or delete
        self._listed: dict[int, Termin] = {}
        self._listed_until = float("-inf")

    async def unchanged(self, termin: Termin) -> Termin:
        """The Termin as it is now.

        Raises:
            Conflict: it says something else than when it was listed.
            NotFound: there is none any more.
        """
        current = await self._current(termin.fr_nr)
        if not says_the_same(current, termin):
            raise Conflict("Advoware", "the Termin was changed since it was listed")
        return current

    async def read(self, fr_nr: int) -> Termin:
        """The Termin, read directly.

        Raises:
            UnexpectedAnswer: Advoware answered something else.
            NotFound: there is none.
        """
        return one_termin(await self._advoware.get_termin(fr_nr), fr_nr)

    async def _current(self, fr_nr: int) -> Termin:
        now = asyncio.get_running_loop().time()
        if self.expected_changes >= MANY_CHANGES and now > self._listed_until:
            await self._list()
        listed = self._listed.pop(fr_nr, None)
        if listed is not None:
            return listed
        return await self.read(fr_nr)

    async def _list(self) -> None:
        settings = self._settings
        answer = await self._advoware.ask_termine(
            settings.kuerzel,
            settings.first_day,
            settings.last_day,
        )
        read = await asyncio.to_thread(lambda: read_termine(answer.rows()))
        self._listed = {termin.fr_nr: termin for termin in read.items}
        loop = asyncio.get_running_loop()
        self._listed_until = loop.time() + FRESH_SECONDS


class AdvowareSide:
    """Writes one employee's Termine."""

    def __init__(
        self,
        clients: Clients,
        rows: Rows,
        google_side: GoogleSide,
        creates: Creates,
        current: CurrentTermine,
    ) -> None:
        self._advoware = clients.advoware
        self._rows = rows
        self._google_side = google_side
        self._creates = creates
        self._current = current

    async def post(self, action: PostAdvoware) -> None:
        """Create the Termin of a person's event."""
        pair = action.pair or self._rows.new_pair(None, action.google.id, "google")
        await self._post(action, pair, action.hidden)

    async def recreate(self, action: RecreateAdvoware) -> None:
        """Create a Termin that was deleted again."""
        await self._post(action, action.pair)

    async def _post(
        self,
        action: PostAdvoware | RecreateAdvoware,
        pair: Pair,
        hidden: Sequence[GoogleEvent] = (),
    ) -> None:
        """Create the Termin, then mark the event as its copy. What an earlier attempt has left is paired by now."""
        google = action.google
        fr_nr, answer = await self._creates.create(pair, google, action.event)
        termin = await self._as_answered(fr_nr, answer)
        is_private = google.is_private and google.shows_text
        pair = replace(
            pair,
            advoware_frnr=fr_nr,
            google_event_id=google.id,
            persons_private=is_private,
        )
        await self._keep_given_up(pair, google, action.event)
        copy = await self._mark_copy(pair, google, action.shown, fr_nr, hidden)
        await self._rows.remember(action, pair, termin, copy)

    async def _mark_copy(
        self,
        pair: Pair,
        google: GoogleEvent,
        shown: NormalisedEvent,
        fr_nr: int,
        hidden: Sequence[GoogleEvent],
    ) -> GoogleEvent:
        try:
            copy = await self._google_side.patch(
                pair,
                shown,
                fr_nr,
                google.etag,
                google,
            )
        except (Conflict, NotFound):
            # Edited or deleted since it was listed: the pair exists, the next listing shows the rest.
            return google
        await self._google_side.hide_occurrences(pair, hidden)
        if shows(google, shown):
            # If the answer says more than was posted, that is news.
            return replace(copy, event=google.event)
        return copy

    async def update(self, action: UpdateAdvoware) -> None:
        """Write what a person has changed in Google.

        Raises:
            UnexpectedAnswer: the Termin does not say whether it is private, and we do not decide that.
        """
        pair = action.pair
        termin = action.termin
        google = action.google
        await self._rows.keep_termin(pair, action.undone)
        try:
            answer = await self._put_changed(action)
        except Conflict:
            raise
        except ForeignSystemError as error:
            await self._hide(action, error)
            raise
        written = await self._as_answered(termin.fr_nr, answer)
        shown = google
        if action.shown is not None:
            await self._keep_given_up(pair, google, action.event)
            shown = await self._google_side.patch(
                pair,
                action.shown,
                termin.fr_nr,
                google.etag,
                google,
            )
        await self._google_side.hide_occurrences(pair, action.hidden)
        await self._rows.remember(action, pair, written, shown)

    async def _keep_given_up(
        self,
        pair: Pair,
        google: GoogleEvent,
        written: NormalisedEvent,
    ) -> None:
        """Keep an event whose text is about to be written over and does not get to Advoware."""
        if _gives_up_text(google, written):
            await self._rows.keep_overwritten(pair, [google])

    async def _put_changed(self, action: UpdateAdvoware) -> Json | None:
        """Replace the Termin, if it is as it was listed; what Advoware answered."""
        current = await self._current.unchanged(action.termin)
        if not shows_privat(current.record):
            raise UnexpectedAnswer("Advoware", "the Termin shows no value for privat")
        return await self._put(changed_termin(action.event, current.record))

    async def _hide(self, action: UpdateAdvoware, error: ForeignSystemError) -> None:
        """Take texts away that must not be shown, and would be for as long as Advoware does not take the change.

        What a person has typed into a hidden event is not for Advoware, so it goes whatever has failed; an edit of what
        is to be hidden is kept there (`keep_overwritten`) only if it is refused.
        """
        if action.hide is None:
            return
        is_for_advoware = shows(action.google, action.event)
        if not is_for_advoware or isinstance(error, NOT_TAKEN):
            await self._google_side.hide(action.hide)

    async def _put(self, body: Json) -> Json | None:
        """Replace a Termin; what Advoware answered.

        Advoware may show a time in a form that it does not take back (specification 13, G5: 24:00): after a refusal
        the times go once more as we write them.
        """
        try:
            return await self._advoware.update_termin(body)
        except ValidationFailed:
            rewritten = with_our_times(body)
            if rewritten is None:
                raise
        return await self._advoware.update_termin(rewritten)

    async def _as_answered(self, fr_nr: int, answer: Json | None) -> Termin:
        """A Termin as Advoware answered our write: read again, it might be a person's edit by now.

        Only an answer that does not say what was stored makes us read.
        """
        if answer is None or not answer.keys() >= ANSWERED:
            return await self._current.read(fr_nr)
        if answer.get("frNr") != fr_nr:
            return await self._current.read(fr_nr)
        return read_termin(answer)


def _gives_up_text(google: GoogleEvent, written: NormalisedEvent) -> bool:
    """Whether an event shows a text that is not what is written to Advoware, as one typed into a hidden event."""
    if google.has_foreign_text:
        return True
    event = google.event
    if not isinstance(event, NormalisedEvent):
        return False
    for name in TEXTS:
        text = getattr(event, name)
        if text is not None and text != getattr(written, name):
            return True
    return False
