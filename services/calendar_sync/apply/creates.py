"""Creates each Termin once, also if an attempt was interrupted and its answer was lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from services.advoware_service import require_request_over
from services.calendar_sync.apply.clients import (
    Clients,
    Colleagues,
    Json,
    one_event,
    one_termin,
)
from services.calendar_sync.apply.contents import (
    content_of,
    is_altered,
    is_changed_since,
    is_on_day_of,
    is_read_in_part,
    is_sent_for,
    resembles,
    synced,
)
from services.calendar_sync.apply.rows import Rows
from services.calendar_sync.employees import active_employees
from services.calendar_sync.mapping import (
    PROPERTY_FRNR,
    PROPERTY_SYNC_ID,
    new_termin,
    read_termine,
)
from services.calendar_sync.model import (
    Fingerprint,
    GoogleEvent,
    NormalisedEvent,
    Pair,
    Termin,
    content_hash,
    is_same_content,
)
from services.calendar_sync.store import AuditLine, Intent
from services.calendar_sync.view import PlanSettings
from services.core.errors import (
    Conflict,
    CreateUnclear,
    Forbidden,
    ForeignSystemError,
    NotFound,
    ValidationFailed,
)

#: Of so many Termine that a list lacks it is asked whether they exist, before a create is repeated.
MAX_ASKED = 10


class Creates:
    """Creates of one employee's Termine. An intent is stored before each request."""

    def __init__(self, settings: PlanSettings, clients: Clients, rows: Rows) -> None:
        self._settings = settings
        self._google = clients.google
        self._advoware = clients.advoware
        self._store = clients.store
        self._resources = clients.resources
        self._clients = clients
        self._colleagues = Colleagues(clients, settings.calendar_id)
        self._rows = rows

    async def create(
        self,
        pair: Pair,
        google: GoogleEvent,
        event: NormalisedEvent,
    ) -> tuple[int, Json | None]:
        """The number of the event's Termin, and Advoware's answer; None if an earlier attempt has created it.

        Raises:
            Conflict: an interrupted attempt has created one, which is claimed first.
            ForeignSystemError: Advoware refused, or its answer was lost.
        """
        kuerzel = self._settings.kuerzel
        requested = Intent(
            employee_kuerzel=kuerzel,
            google_event_id=google.id,
            sync_id=pair.sync_id,
            content_hash=content_hash(event),
            first_day=event.first_day,
            started_at=self._clients.now(),
        )
        intent = await self._store.begin_intent(requested)
        if intent.advoware_frnr is not None:
            return intent.advoware_frnr, None
        if intent.is_repeated:
            # Looking for it before the plan was made may have failed; nothing is created before it has succeeded.
            await self.require_left_nothing(intent)
            await self._store.repeat_intent(requested)
        created = await self._request(new_termin(event, kuerzel), google)
        fr_nr = int(created["frNr"])
        await self._store.record_created(kuerzel, google.id, fr_nr)
        return fr_nr, created

    async def _request(self, body: Json, google: GoogleEvent) -> Json:
        """Send the request; an intent that has certainly led to nothing is forgotten."""
        try:
            return await self._advoware.create_termin(body)
        except ForeignSystemError as error:
            if error.changed_nothing:
                await self._store.end_intent(self._settings.kuerzel, google.id)
            raise

    # -- after an interruption ------------------------------------------------------------------------------------

    async def resume(self, intent: Intent, row: Pair | None) -> None:
        """Make a pair of an event and the Termin that an interrupted create has left, if it has.

        Both count as agreed on what was sent, so that what people have done since is treated as a change, not as
        another appointment. ``row`` is that of the event, if there is one. To be called before anything is planned.
        """
        fr_nr = intent.advoware_frnr or await self._find_created(intent)
        if fr_nr is None:
            return
        await self._store.record_created(
            intent.employee_kuerzel,
            intent.google_event_id,
            fr_nr,
        )
        agreed = Fingerprint(intent.content_hash)
        pair = row or self._rows.new_pair(fr_nr, intent.google_event_id, "google")
        pair = replace(
            pair,
            advoware_frnr=fr_nr,
            advoware=agreed,
            google=agreed,
            first_day=None,
            last_day=None,
        )
        line = AuditLine(
            employee_kuerzel=intent.employee_kuerzel,
            side="advoware",
            action="created",
            reason="by an attempt that was interrupted",
            sync_id=pair.sync_id,
            after_hash=intent.content_hash,
            trace_id=self._clients.trace_id,
        )
        await self._rows.save(synced(pair), line)
        await self._mark_event(intent, pair)

    async def _mark_event(self, intent: Intent, pair: Pair) -> None:
        """Write our marks into the event, if that is possible: the pair is what counts."""
        properties = {
            PROPERTY_FRNR: str(pair.advoware_frnr),
            PROPERTY_SYNC_ID: str(pair.sync_id),
        }
        marks = {"extendedProperties": {"private": properties}}
        with suppress(Conflict, Forbidden, NotFound, ValidationFailed):
            await self._google.patch_event(
                self._settings.calendar_id,
                intent.google_event_id,
                marks,
            )

    async def _find_created(self, intent: Intent) -> int | None:
        """The Termin that an interrupted create has left.

        Raises:
            NotBefore: its request may still be under way.
            CreateUnclear: it may be one that cannot be read at the moment.
        """
        require_request_over(self._resources, intent.started_at)
        day = intent.first_day
        rows = await self._advoware.list_termine(intent.employee_kuerzel, day, day)
        return await self._find_among(rows, intent)

    async def _find_among(self, rows: Sequence[Any], intent: Intent) -> int | None:
        """Which of these it is, or of the colleagues': a person may have handed it to one of them since."""
        read = read_termine(rows)
        is_whole = not read.unreadable
        found = await self._choose(intent, read.items, is_whole=is_whole)
        if found is None:
            found = await self._choose(intent, await self._colleagues_termine(intent))
        return found

    async def _colleagues_termine(self, intent: Intent) -> list[Termin]:
        """The colleagues' Termine of the day, as far as they can be read: an odd one holds up no one else's create."""
        day = intent.first_day
        active = active_employees(await self._advoware.list_mitarbeiter())
        found: dict[int, Termin] = {}
        for colleague in sorted(active.keys() - {intent.employee_kuerzel}):
            rows = await self._advoware.list_termine(colleague, day, day)
            for termin in read_termine(rows).items:
                found[termin.fr_nr] = termin
        return list(found.values())

    async def _choose(
        self,
        intent: Intent,
        termine: Sequence[Termin],
        *,
        is_whole: bool = True,
    ) -> int | None:
        """The number of what was created; ``is_whole``: every record could be read."""
        new = await self._without_pair(intent, termine)
        sent_for = [termin for termin in new if is_sent_for(intent, termin)]
        sent = await self._sent_event(intent) if sent_for else None
        found = _as_it_was_sent(intent, new) or _as_altered(sent, sent_for)
        if found is not None:
            return found.fr_nr
        is_unclear = not is_whole or _are_unclear(intent, new)
        if is_unclear or _that_resemble(sent, sent_for):
            raise CreateUnclear(
                "a Termin that may be what an interrupted attempt has created cannot be read, or is shown differently",
            )
        return None

    async def require_left_nothing(self, intent: Intent) -> None:
        """Before an interrupted create is repeated, or forgotten: one list lacks what it sent, and nothing that exists.

        Raises:
            NotBefore: its request may still be under way.
            CreateUnclear: the list lacks Termine that a direct read shows, or one of them cannot be read.
            Conflict: it has created a Termin, which is claimed first.
        """
        require_request_over(self._resources, intent.started_at)
        settings = self._settings
        rows = await self._advoware.list_termine(
            intent.employee_kuerzel,
            min(settings.first_day, intent.first_day),
            max(settings.last_day, intent.first_day),
        )
        await self._require_whole(rows)
        if await self._find_among(rows, intent) is not None:
            raise Conflict(
                "Advoware",
                "what an interrupted attempt has created is claimed first",
            )

    async def _require_whole(self, rows: Sequence[Any]) -> None:
        lacking = await self._unlisted_termine(rows)
        for fr_nr in lacking[:MAX_ASKED]:
            if await self._is_there(fr_nr):
                raise CreateUnclear(
                    "Advoware's list lacks Termine that exist, so an interrupted attempt may have created one",
                )

    async def _unlisted_termine(self, rows: Sequence[Any]) -> list[int]:
        """The Termine of pairs that Advoware's list of the window should have, and has not."""
        settings = self._settings
        listed = {termin.fr_nr for termin in read_termine(rows).items}
        lacking: list[int] = []
        for pair in await self._store.load_pairs(settings.kuerzel):
            if pair.advoware_frnr is None or pair.advoware_frnr in listed:
                continue
            if _is_expected(settings, pair):
                lacking.append(pair.advoware_frnr)
        return lacking

    async def _is_there(self, fr_nr: int) -> bool:
        """Whether the list had to show this Termin."""
        with suppress(NotFound):
            termin = one_termin(await self._advoware.get_termin(fr_nr), fr_nr)
            event = content_of(termin)
            is_own = termin.belongs_to(self._settings.kuerzel)
            return (
                is_own
                and event is not None
                and self._settings.covers(event.first_day, event.last_day)
            )
        return False

    async def _without_pair(
        self,
        intent: Intent,
        termine: Sequence[Termin],
    ) -> list[Termin]:
        """Those without a pair of the employee's that the create may have left, the oldest first."""
        # A colleague to whom it was handed may have a copy of it by now.
        pairs = await self._store.load_pairs(intent.employee_kuerzel)
        linked = {pair.advoware_frnr for pair in pairs}
        new = []
        for termin in termine:
            if termin.fr_nr not in linked and is_changed_since(intent, termin):
                new.append(termin)
        return sorted(new, key=lambda termin: termin.fr_nr)

    async def _sent_event(self, intent: Intent) -> NormalisedEvent | None:
        """The event from which the Termin was to be created, also where a person has moved it to a colleague.

        None if it is gone or cannot be read.
        """
        event_id = intent.google_event_id
        own = await self._own_event(event_id)
        if own is not None:
            return own
        for event in await self._colleagues.events(event_id):
            if isinstance(event.event, NormalisedEvent):
                return event.event
        return None

    async def _own_event(self, event_id: str) -> NormalisedEvent | None:
        """What the event says in the employee's own calendar."""
        try:
            record = await self._google.get_event(self._settings.calendar_id, event_id)
        except (Forbidden, NotFound):
            return None
        event = one_event(record, event_id).event
        return event if isinstance(event, NormalisedEvent) else None


def _is_expected(settings: PlanSettings, pair: Pair) -> bool:
    if pair.first_day is None or pair.last_day is None:
        return False
    return settings.covers(pair.first_day, pair.last_day)


def _as_it_was_sent(intent: Intent, termine: Sequence[Termin]) -> Termin | None:
    """The Termin that says what was sent. One of all employees is the employee's as well, whoever is its clerk."""
    for termin in termine:
        if not (termin.is_for_all_employees or is_sent_for(intent, termin)):
            continue
        if is_same_content(content_hash(termin.event), intent.content_hash):
            return termin
    return None


def _as_altered(
    sent: NormalisedEvent | None,
    termine: Sequence[Termin],
) -> Termin | None:
    """The Termin that says what was sent, with altered texts."""
    for termin in _that_resemble(sent, termine):
        if sent is not None and is_altered(sent, content_of(termin)):
            return termin
    return None


def _that_resemble(
    sent: NormalisedEvent | None,
    termine: Sequence[Termin],
) -> list[Termin]:
    if sent is None:
        return []
    return [termin for termin in termine if resembles(sent, termin)]


def _are_unclear(intent: Intent, termine: Sequence[Termin]) -> bool:
    """Whether one of them, on the day of what was sent, can be read in part only."""
    of_that_day = [termin for termin in termine if is_on_day_of(intent, termin)]
    return any(map(is_read_in_part, of_that_day))
