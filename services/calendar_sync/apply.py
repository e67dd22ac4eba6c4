"""Carries out the actions of a plan: one pair at a time, each stored as soon as both systems have it.

What a row remembers is what the systems answered, never what was sent to them. A write whose answer was lost is found
again: an event by its id, which follows from the Termin; a Termin by the intent that was stored before the request.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.advoware_service import AdvowareService
from services.calendar_sync.mapping import (
    PROPERTY_FRNR,
    PROPERTY_SYNC_ID,
    TERMIN_FIELDS,
    changed_termin,
    generation_of,
    google_body,
    google_event_id,
    hide_body,
    new_termin,
    read_google_event,
    read_google_events,
    read_termin,
    read_termine,
    texts_body,
    unmark_body,
)
from services.calendar_sync.model import (
    TERMIN_PREFIX,
    TEXT_ONLY_HERE,
    Action,
    AdoptGoogle,
    DeleteAdvoware,
    DeleteGoogle,
    Fingerprint,
    FollowCopy,
    GoogleEvent,
    HideGoogle,
    InsertGoogle,
    LetGo,
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
    Untranslatable,
    UpdateAdvoware,
    UpdateGoogle,
    content_hash,
    is_anonymised_hash,
    is_partial_hash,
    is_same_content,
    uncompared,
    untranslatable_error,
)
from services.calendar_sync.observation import PlanSettings, is_placeholder
from services.calendar_sync.store import (
    AuditLine,
    CalendarStore,
    Intent,
    Overwritten,
    Side,
)
from services.core.errors import (
    Conflict,
    CreateUnclear,
    Forbidden,
    ForeignSystemError,
    NotBefore,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
)
from services.core.resources import Resources
from services.google_calendar import SYSTEM as GOOGLE
from services.google_calendar import GoogleCalendarAPI

Json = dict[str, Any]
#: A row and its line in the audit.
Saved = tuple[Pair, AuditLine]

#: How far Advoware's clock may be behind ours when we look for what an interrupted create has left.
CLOCK_TOLERANCE = timedelta(minutes=5)

#: Ids under which Google inserts events. Its own may look otherwise: those of imported events begin with ``_``.
INSERTABLE_ID = re.compile(r"[a-v0-9]{5,1024}")

#: How far the further ids are from the first one under which a Termin's event is inserted when Google refuses, or
#: somebody else has, those before. A series has one more used id each time that it is put back.
FURTHER_IDS = (0, 1, 2, 3, *(2**power for power in range(2, 10)))

#: From so many changes on, the Termine are listed once more, and their contents are believed for so long.
MANY_CHANGES = 2
FRESH_SECONDS = 5.0

#: What is written if the content is right already: a text that an answer lacks is not cleared by the way.
BESIDE_CONTENT = frozenset({"extendedProperties", "visibility"})

#: What a person has set for his copy of an appointment, beside its content: an event in its place gets it as well.
KEPT = ("colorId", "reminders", "attendees")

#: An answer with these fields says what was stored.
ANSWERED = frozenset({"frNr", *TERMIN_FIELDS})

#: What the audit says of each action: the side that is written to, and what is done to it.
_AUDIT: Mapping[type, tuple[Side, str]] = {
    InsertGoogle: ("google", "created"),
    AdoptGoogle: ("google", "adopted"),
    PostAdvoware: ("advoware", "created"),
    RememberPending: ("none", "pending"),
    DeleteGoogle: ("google", "deleted"),
    DeleteAdvoware: ("advoware", "deleted"),
    RecreateGoogle: ("google", "recreated"),
    RecreateAdvoware: ("advoware", "recreated"),
    FollowCopy: ("none", "followed"),
    LetGo: ("none", "let_go"),
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

_REASONS: Mapping[type, str] = {
    InsertGoogle: "new in Advoware",
    AdoptGoogle: "both sides have it already",
    PostAdvoware: "new in Google",
    RememberPending: "Advoware may not be written",
    RecreateGoogle: "only the copy was deleted",
    RecreateAdvoware: "only the copy was deleted",
    FollowCopy: "the original was deleted, its copy is there",
    LetGo: "the copy was deleted when it was over",
    SoftDelete: "gone on both sides",
    UpdateGoogle: "Google differs from what it shall show",
    ReplaceGoogle: "single occurrences of the series were changed in Google",
    HideGoogle: "Google must not show the text",
    ShowGoogle: "Google may show the text again",
    UpdateAdvoware: "changed in Google",
    RecordFingerprints: "both sides agree",
    TakeMarksOff: "a person's copy of an event of ours",
}


@dataclass(frozen=True)
class Windows:
    """The clients and the store that actions need. ``trace_id`` is that of the run, for the audit."""

    google: GoogleCalendarAPI
    advoware: AdvowareService
    store: CalendarStore
    resources: Resources
    trace_id: str | None = None

    def now(self) -> datetime:
        """The present, aware."""
        return self.resources.clock().astimezone(UTC)


def one_termin(record: Json, fr_nr: int) -> Termin:
    """The Termin that was asked for.

    Raises:
        UnexpectedAnswer: the answer is another one, or none.
    """
    read = read_termine([record])
    if not read.items or read.items[0].fr_nr != fr_nr:
        raise UnexpectedAnswer("Advoware", "not the Termin that was asked for")
    return read.items[0]


def one_event(record: Json, event_id: str) -> GoogleEvent:
    """The event that was asked for.

    Raises:
        UnexpectedAnswer: the answer is another one, or none.
    """
    read = read_google_events([record])
    if not read.items or read.items[0].id != event_id:
        raise UnexpectedAnswer(GOOGLE, "not the event that was asked for")
    return read.items[0]


def action_name(action: Action) -> str:
    """What a summary counts an action as, such as ``google_created``."""
    side, word = _AUDIT[type(action)]
    return word if side == "none" else f"{side}_{word}"


class Applier:
    """Carries out actions of one employee's plan. The caller holds the employee's lock."""

    def __init__(self, settings: PlanSettings, windows: Windows) -> None:
        self._settings = settings
        self._google = windows.google
        self._advoware = windows.advoware
        self._store = windows.store
        self._resources = windows.resources
        self._windows = windows
        self.expected_changes = 0  #: how many Termine this run is to change or delete
        self._listed: dict[int, Termin] = {}
        self._listed_until = float("-inf")

    async def carry_out(self, action: Action) -> None:
        """Do what the action says, and remember it.

        Raises:
            Conflict: the event or Termin is not any more what the plan was made from.
            ForeignSystemError: a system refused or could not be reached; what was done until then is found again.
        """
        match action:
            case InsertGoogle():
                await self._save(*await self.insert(action))
            case RecreateGoogle(pair, termin, event_id, event):
                # A single event is revived with all that it had, a series is not.
                kept = await self._kept_of(event_id) if event.recurrence else {}
                await self._save(
                    *await self._put_event(action, pair, termin, event_id, event, kept)
                )
            case AdoptGoogle():
                await self._adopt(action)
            case UpdateGoogle(pair, termin, event, etag, google, undone):
                await self._keep_overwritten(pair, undone)
                shown = await self._patch(
                    str(pair.google_event_id), event, termin.fr_nr, pair, etag, google
                )
                await self._remember(action, pair, termin, shown)
            case ReplaceGoogle():
                await self._replace(action)
            case HideGoogle(pair):
                await self._keep_overwritten(pair, action.undone)
                await self._write_texts(
                    action, hide_body(pair.advoware_frnr, pair.sync_id)
                )
            case ShowGoogle(pair, event):
                is_ours = pair.source_system == "advoware"
                body = texts_body(event, pair.advoware_frnr, pair.sync_id, ours=is_ours)
                if pair.persons_private:
                    body["visibility"] = "private"
                await self._write_texts(action, body)
            case TakeMarksOff(google):
                await self._google.patch_event(
                    self._settings.calendar_id,
                    google.id,
                    unmark_body(),
                    if_match=google.etag,
                )
                await self._store.append_audit(
                    [self._line_of_event(action, google)], self._windows.now()
                )
            case PostAdvoware(google, event, shown, pair):
                await self._post(
                    action,
                    pair or self._new_pair(None, google.id, "google"),
                    google,
                    event,
                    shown,
                )
            case RecreateAdvoware(pair, google, event, shown):
                await self._post(action, pair, google, event, shown)
            case UpdateAdvoware():
                await self._update_advoware(action)
            case DeleteGoogle() | DeleteAdvoware() | SoftDelete():
                await self._delete(action)
            case _:
                await self._only_remember(action)

    async def insert(self, action: InsertGoogle) -> Saved:
        """Make the event; returns the row that is to be remembered, and its line in the audit.

        Until it is, another attempt finds the event by its id. Raises as `carry_out`.
        """
        pair = action.pair or self._new_pair(action.termin.fr_nr, None, "advoware")
        return await self._put_event(
            action, pair, action.termin, action.event_id, action.event, {}
        )

    async def remember_all(self, rows: Sequence[Saved]) -> None:
        """Remember these rows in one transaction.

        Raises:
            Conflict: one of them cannot be; then none is.
        """
        await self._store.save_pairs(
            [(pair, _with_ids(pair, line)) for pair, line in rows], self._windows.now()
        )

    async def remember(self, row: Saved) -> None:
        """Remember one row. Raises Conflict if it cannot be."""
        await self._save(*row)

    async def fail(self, action: Action, code: str) -> None:
        """Remember that an action failed; the audit gets a line when the failure is a new one."""
        pair = self._row_of(action)
        stored = await self._store.find_pair(pair.sync_id) if pair else None
        if stored is not None:
            # As it is now: what the action has remembered before it failed must stay.
            pair = None if stored.deleted_at else stored.pair
        # What an untranslatable pair waits for must not be forgotten.
        if pair is None or pair.error == code or pair.untranslatable is not None:
            return
        line = self._line(action, pair, error=code)
        with suppress(Conflict):  # another row has this appointment already
            await self._save(
                replace(
                    pair, sync_status="failed", error=code, attempts=pair.attempts + 1
                ),
                line,
            )

    def _row_of(self, action: Action) -> Pair | None:
        pair = getattr(action, "pair", None)
        if isinstance(pair, Pair):
            return pair
        match action:
            case InsertGoogle(termin):
                return self._new_pair(termin.fr_nr, None, "advoware")
            case PostAdvoware(google):
                return self._new_pair(None, google.id, "google")
            case _:
                return None

    # -- Google ---------------------------------------------------------------------------------------------------

    async def _put_event(
        self,
        action: Action,
        pair: Pair,
        termin: Termin,
        event_id: str,
        event: NormalisedEvent,
        kept: Json,
    ) -> Saved:
        """Make sure that the event exists, be it for the first time, again, or from a lost attempt.

        ``event_id`` is tried first, then the further ids of the Termin. ``kept`` are fields that it gets beside its
        content.
        """
        body = {**self._body(event, termin.fr_nr, pair), **kept}
        for candidate in self._ids_from(event_id, termin.fr_nr):
            written = await self._insert(candidate, body, termin.fr_nr)
            if written is not None:
                pair = replace(pair, google_event_id=candidate)
                return self._row(action, pair, termin, read_google_event(written))
        raise Conflict(GOOGLE, "none of the ids of this Termin can be used")

    def _ids_from(self, event_id: str, fr_nr: int) -> Iterator[str]:
        calendar_id = self._settings.calendar_id
        generation = generation_of(event_id, fr_nr, calendar_id)
        if generation is None:
            generation = 0
            if INSERTABLE_ID.fullmatch(event_id):
                yield event_id
        for further in FURTHER_IDS:
            yield google_event_id(fr_nr, calendar_id, generation + further)

    async def _insert(self, event_id: str, body: Json, fr_nr: int) -> Json | None:
        """The event that now exists under this id; None if the id cannot be used for it."""
        calendar_id = self._settings.calendar_id
        try:
            return await self._google.insert_event(
                calendar_id, {**body, "id": event_id}
            )
        except Conflict:
            pass
        try:
            present = await self._google.get_event(calendar_id, event_id)
            if present.get("status") == "cancelled":
                return await self._revive(event_id, body, present)
        except (Forbidden, NotFound):  # Google does not give back every deleted event
            return None
        if read_google_event(present).fr_nr != fr_nr:
            return None
        return await self._google.patch_event(
            calendar_id, event_id, body, if_match=present.get("etag")
        )

    async def _revive(self, event_id: str, body: Json, present: Json) -> Json | None:
        """Bring a deleted event back with all that a person has set for it; a series would bring its exceptions."""
        if body.get("recurrence") or present.get("recurrence"):
            return None
        revived = {**body, "status": "confirmed"}
        calendar_id, etag = self._settings.calendar_id, present.get("etag")
        return await self._google.patch_event(
            calendar_id, event_id, revived, if_match=etag
        )

    async def _replace(self, action: ReplaceGoogle) -> None:
        """Put an event under a new id in the place of this one.

        First the row lets go of it: whatever is interrupted then is taken up as an event of ours without a row, or as a
        Termin without an event, and never as one that a person has deleted.
        """
        pair, google = action.pair, action.google
        await self._keep_overwritten(pair, action.undone)
        freed = replace(
            pair,
            google_event_id=None,
            google=Fingerprint(),
            sync_status="pending",
            error=None,
        )
        line = replace(self._line(action, pair), side="none", action="let_go")
        await self._store.save_pair(freed, line, self._windows.now())
        await self._delete_replaced(action)
        generation = generation_of(
            google.id, action.termin.fr_nr, self._settings.calendar_id
        )
        next_id = google_event_id(
            action.termin.fr_nr,
            self._settings.calendar_id,
            0 if generation is None else generation + 1,
        )
        kept = _kept(google.record)
        await self._save(
            *await self._put_event(
                action, freed, action.termin, next_id, action.event, kept
            )
        )

    async def _kept_of(self, event_id: str) -> Json:
        """What a person had set for an event that is deleted, as far as Google still tells."""
        try:
            return _kept(
                await self._google.get_event(self._settings.calendar_id, event_id)
            )
        except (Forbidden, NotFound):
            return {}

    async def _delete_replaced(self, action: ReplaceGoogle) -> None:
        """Delete the event that its row has let go of. Raises Conflict if somebody has changed it: then it stays."""
        pair, google = action.pair, action.google
        try:
            await self._google.delete_event(
                self._settings.calendar_id, google.id, if_match=google.etag
            )
        except NotFound:
            pass
        except Conflict:
            # Changed since it was listed. If it is there with its occurrences, it remains the pair's event; if not, an
            # attempt whose answer was lost has deleted it.
            if await self._is_gone(google.id):
                return
            line = replace(self._line(action, pair), side="none", action="kept")
            await self._store.save_pair(pair, line, self._windows.now())
            raise

    async def _is_gone(self, event_id: str) -> bool:
        try:
            return (
                await self._google.get_event(self._settings.calendar_id, event_id)
            ).get("status") == "cancelled"
        except NotFound:
            return True

    async def _write_texts(self, action: HideGoogle | ShowGoogle, body: Json) -> None:
        """Write the texts of an event and of occurrences, and remember only that; the times on both sides stay."""
        calendar_id, pair = self._settings.calendar_id, action.pair
        answer = await self._google.patch_event(
            calendar_id, str(pair.google_event_id), body, if_match=action.etag
        )
        for occurrence in action.occurrences:
            with suppress(NotFound):  # cancelled meanwhile
                await self._google.patch_event(calendar_id, occurrence.id, body)
        shown = _seen_in_google(read_google_event(answer), is_edited=action.is_edited)
        stored = await self._store.find_pair(pair.sync_id)
        if stored is None:
            return  # a copy of ours without a row
        # The row as it is now: what this run has remembered of the Termin stays.
        written = replace(
            stored.pair, google=shown, persons_private=pair.persons_private
        )
        await self._save(
            written, self._line(action, pair, before=pair.google, after=shown)
        )

    async def _keep_overwritten(
        self, pair: Pair, undone: Sequence[GoogleEvent]
    ) -> None:
        """Keep what a person has entered in Google before it is overwritten, so that it can be shown and restored."""
        for google in undone:
            if google.record and not google.cancelled:
                kept = Overwritten(
                    employee_kuerzel=pair.employee_kuerzel,
                    sync_id=pair.sync_id,
                    google_event_id=google.id,
                    advoware_frnr=pair.advoware_frnr,
                    resource=google.record,
                )
                await self._store.keep_overwritten(kept, self._windows.now())

    def _body(
        self,
        event: NormalisedEvent,
        fr_nr: int,
        pair: Pair,
        current: GoogleEvent | None = None,
    ) -> Json:
        body = google_body(
            event,
            fr_nr,
            pair.sync_id,
            current=current,
            ours=pair.source_system == "advoware",
        )
        if pair.persons_private and not event.anonymised:
            body["visibility"] = "private"
        return body

    async def _patch(
        self,
        event_id: str,
        event: NormalisedEvent,
        fr_nr: int,
        pair: Pair,
        etag: str | None,
        current: GoogleEvent | None,
    ) -> GoogleEvent:
        body = self._body(event, fr_nr, pair, current)
        if current is not None and _says(current, event):
            body = {
                name: value for name, value in body.items() if name in BESIDE_CONTENT
            }
        return read_google_event(
            await self._google.patch_event(
                self._settings.calendar_id, event_id, body, if_match=etag
            )
        )

    async def _adopt(self, action: AdoptGoogle) -> None:
        termin, google = action.termin, action.google
        pair = action.pair or self._new_pair(
            termin.fr_nr, google.id, action.source_system
        )
        pair = replace(
            pair,
            advoware_frnr=termin.fr_nr,
            google_event_id=google.id,
            source_system=action.source_system,
        )
        shown = google
        if action.write:
            shown = await self._patch(
                google.id, action.event, termin.fr_nr, pair, google.etag, google
            )
        # An intent without a result is fulfilled by this as well. Ended first: a pair must not outlive its intent.
        await self._store.end_intent(self._settings.kuerzel, google.id)
        await self._remember(action, pair, termin, shown)

    # -- Advoware -------------------------------------------------------------------------------------------------

    async def _post(
        self,
        action: Action,
        pair: Pair,
        google: GoogleEvent,
        event: NormalisedEvent,
        shown: NormalisedEvent,
    ) -> None:
        """Create the Termin, then mark the event as its copy. What an earlier attempt has left is paired by now."""
        fr_nr, answer = await self._create_termin(pair, google, event)
        termin = await self._as_answered(fr_nr, answer)
        is_private = google.is_private and google.shows_text
        pair = replace(
            pair,
            advoware_frnr=fr_nr,
            google_event_id=google.id,
            persons_private=is_private,
        )
        try:
            copy = await self._patch(google.id, shown, fr_nr, pair, google.etag, google)
            if _says(google, shown):
                copy = replace(
                    copy, event=google.event
                )  # if the answer says more than was posted, that is news
        except (Conflict, NotFound):
            copy = google  # edited or deleted since it was listed: the pair exists, the next listing shows the rest
        await self._remember(action, pair, termin, copy)

    async def _as_answered(self, fr_nr: int, answer: Json | None) -> Termin:
        """A Termin as Advoware answered our write: read again, it might be somebody's edit by now.

        Only an answer that does not say what was stored makes us read.
        """
        if (
            answer is not None
            and answer.keys() >= ANSWERED
            and answer.get("frNr") == fr_nr
        ):
            return read_termin(answer)
        return await self.read_termin(fr_nr)

    async def read_termin(self, fr_nr: int) -> Termin:
        """The Termin as Advoware has it now.

        Raises:
            UnexpectedAnswer: Advoware answered something else.
            NotFound: there is none.
        """
        return one_termin(await self._advoware.get_termin(fr_nr), fr_nr)

    async def _current(self, fr_nr: int) -> Termin:
        """The Termin as Advoware has it at the moment of a change.

        Several of them are listed together, and believed for a moment, instead of being read one by one.
        """
        loop = asyncio.get_running_loop()
        if self.expected_changes >= MANY_CHANGES and loop.time() > self._listed_until:
            settings = self._settings
            answer = await self._advoware.ask_termine(
                settings.kuerzel, settings.first_day, settings.last_day
            )
            termine = await asyncio.to_thread(lambda: read_termine(answer.rows()).items)
            self._listed = {termin.fr_nr: termin for termin in termine}
            self._listed_until = loop.time() + FRESH_SECONDS
        return self._listed.pop(fr_nr, None) or await self.read_termin(fr_nr)

    async def _create_termin(
        self, pair: Pair, google: GoogleEvent, event: NormalisedEvent
    ) -> tuple[int, Json | None]:
        kuerzel, now = self._settings.kuerzel, self._windows.now()
        wanted = Intent(
            employee_kuerzel=kuerzel,
            google_event_id=google.id,
            sync_id=pair.sync_id,
            content_hash=content_hash(event),
            first_day=event.first_day,
            started_at=now,
        )
        intent = await self._store.begin_intent(wanted)
        if intent.advoware_frnr is not None:
            return intent.advoware_frnr, None
        if intent.is_repeated:
            # Looking for it before the plan was made may have failed; nothing is created before it has succeeded.
            if await self._find_created(intent) is not None:
                raise Conflict(
                    "Advoware",
                    "what an interrupted attempt has created is taken up first",
                )
            await self._store.repeat_intent(wanted)
        try:
            created = await self._advoware.create_termin(new_termin(event, kuerzel))
        except ForeignSystemError as error:
            refused = error.status is not None and 400 <= error.status < 500
            if refused or (isinstance(error, Unavailable) and not error.was_sent):
                await self._store.end_intent(kuerzel, google.id)
            raise
        fr_nr = int(created["frNr"])
        await self._store.record_created(kuerzel, google.id, fr_nr)
        return fr_nr, created

    async def resume(self, intent: Intent, row: Pair | None) -> None:
        """Make a pair of an event and the Termin that an interrupted create has left, if it has.

        Both count as agreed on what was sent, so that what people have done since is seen as a change, not as another
        appointment. ``row`` is that of the event, if there is one. To be called before anything is planned.
        """
        fr_nr = intent.advoware_frnr or await self._find_created(intent)
        if fr_nr is None:
            return
        await self._store.record_created(
            intent.employee_kuerzel, intent.google_event_id, fr_nr
        )
        agreed = Fingerprint(intent.content_hash)
        pair = row or self._new_pair(fr_nr, intent.google_event_id, "google")
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
            trace_id=self._windows.trace_id,
        )
        await self._save(_synced(pair), line)
        properties = {PROPERTY_FRNR: str(fr_nr), PROPERTY_SYNC_ID: str(pair.sync_id)}
        marks = {"extendedProperties": {"private": properties}}
        with suppress(
            Conflict, Forbidden, NotFound, ValidationFailed
        ):  # the pair is what counts
            await self._google.patch_event(
                self._settings.calendar_id, intent.google_event_id, marks
            )

    async def _find_created(self, intent: Intent) -> int | None:
        """The Termin that an interrupted create has left.

        Raises:
            NotBefore: its request may still be under way.
            CreateUnclear: it may be one that cannot be read at the moment.
        """
        timeout = self._resources.settings.advoware.api_timeout_seconds
        latest = intent.started_at + timedelta(seconds=timeout)
        if latest > self._windows.now():
            raise NotBefore("an interrupted create", latest)
        rows = await self._advoware.list_termine(
            intent.employee_kuerzel, intent.first_day, intent.first_day
        )
        read = read_termine(rows)
        linked = {pair.advoware_frnr for pair in await self._store.load_pairs()}
        new = [
            termin
            for termin in sorted(read.items, key=lambda termin: termin.fr_nr)
            if may_be_created_by(intent, termin) and termin.fr_nr not in linked
        ]
        candidates = [
            termin for termin in new if termin.anwalt == intent.employee_kuerzel
        ]
        for termin in candidates:
            if is_same_content(content_hash(termin.event), intent.content_hash):
                return termin.fr_nr
        altered = await self._find_altered(intent, candidates) if candidates else None
        is_unclear = bool(read.unreadable) or any(
            _is_read_in_part(termin) for termin in new
        )
        if altered is None and is_unclear:
            raise CreateUnclear(
                "a Termin that cannot be read may be what an interrupted attempt has created"
            )
        return altered

    async def _find_altered(
        self, intent: Intent, candidates: Sequence[Termin]
    ) -> int | None:
        """The Termin that Advoware has stored otherwise than it was sent: its texts cut, or written in capitals."""
        try:
            record = await self._google.get_event(
                self._settings.calendar_id, intent.google_event_id
            )
        except (Forbidden, NotFound):
            return None
        sent = one_event(record, intent.google_event_id).event
        if not isinstance(sent, NormalisedEvent):
            return None
        return next(
            (
                termin.fr_nr
                for termin in candidates
                if _is_altered(sent, _content(termin))
            ),
            None,
        )

    async def _update_advoware(self, action: UpdateAdvoware) -> None:
        pair, termin, google = action.pair, action.termin, action.google
        current = await self._current(termin.fr_nr)
        if not _says_the_same(current, termin):
            raise Conflict("Advoware", "the Termin was changed since it was listed")
        answer = await self._advoware.update_termin(
            changed_termin(action.event, current.record)
        )
        written = await self._as_answered(termin.fr_nr, answer)
        shown = google
        if action.shown is not None:
            shown = await self._patch(
                google.id, action.shown, termin.fr_nr, pair, google.etag, google
            )
        await self._remember(action, pair, written, shown)

    # -- deletions ------------------------------------------------------------------------------------------------

    async def _delete(self, action: DeleteGoogle | DeleteAdvoware | SoftDelete) -> None:
        pair = action.pair
        if await self._store.find_pair(pair.sync_id) is None:
            # A copy of ours without a row gets one, so that it is known should somebody bring it back.
            line = replace(self._line(action, pair), side="none", action="taken_up")
            await self._save(pair, line)
        try:
            match action:
                case DeleteGoogle(pair, etag):
                    event_id = str(pair.google_event_id)
                    await self._google.delete_event(
                        self._settings.calendar_id, event_id, if_match=etag
                    )
                case DeleteAdvoware(pair, termin):
                    if not _says_the_same(await self._current(termin.fr_nr), termin):
                        raise Conflict(
                            "Advoware", "the Termin was changed since it was listed"
                        )
                    if await self._knows_the_only_text(pair):
                        if pair.untranslatable != TEXT_ONLY_HERE:
                            await self._only_remember(
                                MarkUntranslatable(TEXT_ONLY_HERE, pair)
                            )
                        return
                    await self._advoware.delete_termin(termin.fr_nr)
                case SoftDelete(pair):
                    pass
        except NotFound:
            pass  # an earlier attempt got that far
        line = self._line(
            action,
            pair,
            before=pair.google if isinstance(action, DeleteGoogle) else pair.advoware,
        )
        await self._store.delete_pair(pair.sync_id, line, self._windows.now())

    async def _knows_the_only_text(self, pair: Pair) -> bool:
        """Whether the Termin is all that knows the text of a hidden event, which is in a colleague's calendar.

        There the sync leaves the event alone, because Advoware cannot hold it.

        Raises:
            Conflict: it is in another calendar of ours, whose sync has not taken it over yet.
        """
        seen = pair.google.content_hash
        if seen is not None and not (is_anonymised_hash(seen) or is_partial_hash(seen)):
            return False  # its text was shown
        event_id = str(pair.google_event_id)
        for calendar_id in [
            cursor.calendar_id
            for cursor in await self._store.load_cursors()
            if cursor.calendar_id
        ]:
            if calendar_id == self._settings.calendar_id:
                continue
            with suppress(NotFound, Forbidden):
                event = one_event(
                    await self._google.get_event(calendar_id, event_id), event_id
                )
                if (
                    event.cancelled
                    or not (is_placeholder(event) or event.has_foreign_text)
                    or event.sync_id not in {None, pair.sync_id}
                ):
                    continue
                if await self._is_left_alone(event_id):
                    return True
                raise Conflict(GOOGLE, "the event was moved to a colleague's calendar")
        return False

    async def _is_left_alone(self, event_id: str) -> bool:
        """Whether a colleague's sync leaves this event alone."""
        rows = [
            row
            for row in await self._store.load_pairs()
            if row.google_event_id == event_id
        ]
        others = [row for row in rows if row.employee_kuerzel != self._settings.kuerzel]
        return any(
            row.untranslatable is not None and row.advoware_frnr is None
            for row in others
        )

    async def let_go(self, pair: Pair) -> None:
        """Forget an event that was lost with its calendar. A Termin without event is new to the next plan."""
        side: Mapping[str, Any] = {
            "employee_kuerzel": pair.employee_kuerzel,
            "side": "none",
            "sync_id": pair.sync_id,
        }
        line = AuditLine(
            **side,
            action="let_go",
            reason="the calendar was lost",
            trace_id=self._windows.trace_id,
        )
        line = replace(
            line, advoware_frnr=pair.advoware_frnr, google_event_id=pair.google_event_id
        )
        if pair.advoware_frnr is None:
            await self._store.delete_pair(pair.sync_id, line, self._windows.now())
        else:
            freed = replace(
                pair,
                google_event_id=None,
                google=Fingerprint(),
                sync_status="pending",
                error=None,
            )
            await self._store.save_pair(freed, line, self._windows.now())

    # -- remembering ----------------------------------------------------------------------------------------------

    async def _only_remember(self, action: Action) -> None:
        match action:
            case RememberPending(google, pair):
                pair = pair or self._new_pair(None, google.id, "google")
                pending = replace(
                    pair,
                    advoware_frnr=None,
                    advoware=Fingerprint(),
                    sync_status="pending",
                    error=None,
                )
                await self._save(
                    replace(pending, google=_seen_in_google(google), **_days(google)),
                    self._line(action, pair),
                )
            case RecordFingerprints(
                pair, advoware, google, first_day, last_day, is_private
            ):
                recorded = replace(
                    pair,
                    advoware=advoware,
                    google=google,
                    first_day=first_day,
                    last_day=last_day,
                )
                recorded = replace(recorded, persons_private=is_private)
                await self._save(
                    _synced(recorded), self._line(action, pair, after=google)
                )
            case LetGo(pair):
                freed = replace(pair, google_event_id=None, google=Fingerprint())
                await self._save(_synced(freed), self._line(action, pair))
            case FollowCopy(pair, google):
                # What both sides have agreed on stays: so the copy's content is seen as the person's change.
                followed = replace(pair, google_event_id=google.id)
                await self._save(followed, self._line(action, pair))
            case MarkUntranslatable(reason, pair, termin, google, is_edited):
                source: SourceSystem = "advoware" if termin else "google"
                fr_nr, event_id = (
                    termin.fr_nr if termin else None,
                    google.id if google else None,
                )
                marked = pair or self._new_pair(fr_nr, event_id, source)
                if pair is not None:
                    marked = _as_seen(marked, termin, google)
                    if google is not None and is_edited:
                        marked = replace(
                            marked, google=_seen_in_google(google, is_edited=True)
                        )
                marked = replace(
                    marked, sync_status="failed", error=untranslatable_error(reason)
                )
                await self._save(marked, self._line(action, marked, reason=reason))
            case _:
                raise TypeError(f"no action to be carried out: {type(action).__name__}")

    async def _remember(
        self, action: Action, pair: Pair, termin: Termin, google: GoogleEvent
    ) -> None:
        """Store the pair as both systems have answered."""
        await self._save(*self._row(action, pair, termin, google))

    def _row(
        self, action: Action, pair: Pair, termin: Termin, google: GoogleEvent
    ) -> Saved:
        """The pair as both systems have answered, and its line in the audit."""
        reason = _why_untranslatable(termin, google)
        before = pair.advoware if _AUDIT[type(action)][0] == "advoware" else pair.google
        pair = _as_seen(pair, termin, google)
        after = pair.advoware if _AUDIT[type(action)][0] == "advoware" else pair.google
        line = self._line(action, pair, before=before, after=after)
        if reason is not None:
            return replace(
                pair, sync_status="failed", error=untranslatable_error(reason)
            ), line
        return _synced(pair), line

    async def _save(self, pair: Pair, line: AuditLine) -> None:
        await self._store.save_pair(pair, _with_ids(pair, line), self._windows.now())

    def _new_pair(
        self, fr_nr: int | None, event_id: str | None, source: SourceSystem
    ) -> Pair:
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

    def _line_of_event(self, action: Action, google: GoogleEvent) -> AuditLine:
        side, word = _AUDIT[type(action)]
        return AuditLine(
            employee_kuerzel=self._settings.kuerzel,
            side=side,
            action=word,
            reason=_REASONS[type(action)],
            google_event_id=google.id,
            trace_id=self._windows.trace_id,
        )

    def _line(
        self,
        action: Action,
        pair: Pair,
        *,
        reason: str | None = None,
        before: Fingerprint | None = None,
        after: Fingerprint | None = None,
        error: str | None = None,
    ) -> AuditLine:
        side, word = _AUDIT[type(action)]
        said = (
            reason or getattr(action, "reason", None) or _REASONS.get(type(action), "")
        )
        return AuditLine(
            employee_kuerzel=self._settings.kuerzel,
            side="none" if error else side,
            action="failed" if error else word,
            reason=f"{word}: {said}" if error else said,
            sync_id=pair.sync_id,
            advoware_frnr=pair.advoware_frnr,
            google_event_id=pair.google_event_id,
            before_hash=before.content_hash if before else None,
            after_hash=after.content_hash if after else None,
            error=error,
            trace_id=self._windows.trace_id,
        )


def _kept(record: Mapping[str, Any]) -> Json:
    return {name: record[name] for name in KEPT if record.get(name)}


def _with_ids(pair: Pair, line: AuditLine) -> AuditLine:
    return replace(
        line, advoware_frnr=pair.advoware_frnr, google_event_id=pair.google_event_id
    )


def _synced(pair: Pair) -> Pair:
    return replace(pair, sync_status="synced", error=None, attempts=0)


def _says_the_same(one: Termin, other: Termin) -> bool:
    if isinstance(one.event, Untranslatable) or isinstance(other.event, Untranslatable):
        return one.event == other.event
    return content_hash(one.event) == content_hash(other.event)


def may_be_created_by(intent: Intent, termin: Termin) -> bool:
    """Whether a create may have left this Termin, by its time of change and its day."""
    if termin.fr_nr < 0 or termin.anwalt not in {intent.employee_kuerzel, None}:
        return False
    event = _content(termin)
    is_other_day = event is not None and event.first_day != intent.first_day
    is_new = (
        termin.changed_at is None
        or termin.changed_at >= intent.started_at - CLOCK_TOLERANCE
    )
    return is_new and not is_other_day


def _is_read_in_part(termin: Termin) -> bool:
    """Whether a part of its content is unknown, so that it cannot be told from another; people give titles."""
    return isinstance(termin.event, Untranslatable) or termin.event.text is None


def _is_altered(sent: NormalisedEvent, stored: NormalisedEvent | None) -> bool:
    """Whether it is at the same time, and each text is what is left of the one that was sent."""
    if stored is None or stored.timing != sent.timing:
        return False
    pairs = [
        (sent.text, stored.text),
        (sent.notiz, stored.notiz),
        (sent.ort, stored.ort),
    ]
    whole = [((one or "").casefold(), (rest or "").casefold()) for one, rest in pairs]
    return bool(whole[0][1]) == bool(whole[0][0]) and all(
        one.startswith(rest) for one, rest in whole
    )


def _says(google: GoogleEvent, event: NormalisedEvent) -> bool:
    return not google.has_foreign_text and content_hash(google.event) == content_hash(
        event
    )


def _why_untranslatable(termin: Termin, google: GoogleEvent) -> str | None:
    if isinstance(termin.event, Untranslatable):
        return TERMIN_PREFIX + termin.event.reason
    return google.event.reason if isinstance(google.event, Untranslatable) else None


def _as_seen(pair: Pair, termin: Termin | None, google: GoogleEvent | None) -> Pair:
    """The row with what both sides say, as far as they are given."""
    event = _content(termin)
    if termin is not None and event is not None:
        pair = replace(pair, first_day=event.first_day, last_day=event.last_day)
        # That of a Termin of which a text is unknown tells only whether it says something else by now.
        pair = replace(
            pair, advoware=Fingerprint(content_hash(termin.event), termin.changed_at)
        )
    if google is not None and not google.cancelled:
        pair = replace(pair, google=_seen_in_google(google))
        if (
            pair.source_system == "google"
            and google.shows_text
            and not is_anonymised_hash(pair.google.content_hash)
        ):
            pair = replace(pair, persons_private=google.is_private)
    return pair


def _content(termin: Termin | None) -> NormalisedEvent | None:
    event = termin.event if termin else None
    return event.part if isinstance(event, Untranslatable) else event


def _seen_in_google(google: GoogleEvent, *, is_edited: bool = False) -> Fingerprint:
    seen = content_hash(google.event)
    return Fingerprint(
        uncompared(seen) if is_edited else seen, google.updated, google.etag
    )


def _days(google: GoogleEvent) -> dict[str, Any]:
    if isinstance(google.event, Untranslatable):
        return {}
    return {"first_day": google.event.first_day, "last_day": google.event.last_day}
