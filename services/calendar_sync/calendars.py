"""The calendar of an employee: its name, its description, where it is found, how it is made and kept as it must be."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import asyncpg

from config import Settings
from services.calendar_sync.provider import SYSTEM, CalendarProvider
from services.calendar_sync.sharing import (
    Sharing,
    SharingStore,
    is_final,
    read_rules,
    sharing_steps,
)
from services.core.database import database_errors
from services.core.errors import (
    ForeignSystemError,
    UnexpectedAnswer,
    shown_text,
    without_quotes,
)
from services.core.log import log
from services.core.resources import Resources

CALENDAR_PREFIX = "AW-"
#: What an account that does not own a calendar may do there (Google's CalendarList, ``accessRole``).
ROLES_OF_OTHERS = ("none", "freeBusyReader", "reader", "writer")

Json = dict[str, Any]

_UNDONE = (
    "Änderungen, die hier in Google gemacht werden, macht der nächste Abgleich rückgängig: Bitte ändern Sie Termine in "
    "Advoware. "
)
_NOT_LOST = (
    "Was rückgängig gemacht wurde, kann die Administration 30 Tage lang wiederherstellen. Ihre Farben und Erinnerungen "
    "bleiben erhalten."
)

#: For people who open the calendar. Whoever changes a text keeps the former one in `FORMER_DESCRIPTIONS`.
PROTECTED_DESCRIPTION = (
    "Termine aus Advoware. "
    + _UNDONE
    + "Termine, die Sie hier neu anlegen, bleiben stehen, gelangen aber nicht nach Advoware. "
    + _NOT_LOST
)
SOURCE_WINS_DESCRIPTION = (
    "Termine aus Advoware und aus diesem Kalender. Termine, die Sie hier neu anlegen, gelangen nach Advoware, ebenso "
    "Ihre Änderungen daran. Für Termine, die in Advoware angelegt wurden, gilt: "
    + _UNDONE
    + _NOT_LOST
)
LAST_CHANGE_WINS_DESCRIPTION = (
    "Termine aus Advoware und aus diesem Kalender: Neue Termine und Änderungen gelangen in beide Richtungen, die "
    "jüngste Änderung gilt. Termine der ganzen Kanzlei ändern Sie bitte in Advoware."
)
#: Texts that earlier versions wrote; they may be replaced like the present ones.
FORMER_DESCRIPTIONS: tuple[str, ...] = ()
_OWN_DESCRIPTIONS = (
    PROTECTED_DESCRIPTION,
    SOURCE_WINS_DESCRIPTION,
    LAST_CHANGE_WINS_DESCRIPTION,
    *FORMER_DESCRIPTIONS,
)


def calendar_name(kuerzel: str) -> str:
    """The name of an employee's calendar."""
    return f"{CALENDAR_PREFIX}{kuerzel}"


def calendar_description(settings: Settings) -> str:
    """What the calendars say about people's changes, as the settings are now."""
    if settings.advoware.write_protection:
        return PROTECTED_DESCRIPTION
    if settings.calendar_sync.strategy == "last_change_wins":
        return LAST_CHANGE_WINS_DESCRIPTION
    return SOURCE_WINS_DESCRIPTION


def is_own_description(text: object) -> bool:
    """Whether we may replace a calendar's description: it is empty, or the sync has written it."""
    words = _words(text)
    return not words or words in [_words(own) for own in _OWN_DESCRIPTIONS]


def is_description(text: object, wanted: str) -> bool:
    """Whether a description says what it should; blanks and line breaks do not count."""
    return _words(text) == _words(wanted)


def _words(text: object) -> list[str]:
    return str(text or "").split()


async def find_calendar(google: CalendarProvider, kuerzel: str) -> str | None:
    """The id of the employee's calendar, looked up by its name; of several the same one each time.

    Only those that we own count: any user can give a calendar that name and share it with us.

    Raises:
        UnexpectedAnswer: a calendar does not show its name, or not whose it is: it may be the employee's.
    """
    name = calendar_name(kuerzel)
    found: list[str] = []
    for entry in await google.list_calendars():
        role = entry.get("accessRole")
        if role in ROLES_OF_OTHERS:
            continue
        if await shown_name(google, entry) != name:
            continue
        if role != "owner":
            raise UnexpectedAnswer(SYSTEM, "a calendar does not show whose it is")
        found.append(str(entry["id"]))
    return min(found, default=None)


async def shown_name(google: CalendarProvider, entry: Json) -> str:
    """The name of a calendar in the list; one that shows none there is read by itself.

    Raises:
        UnexpectedAnswer: it shows none there either.
    """
    if _is_name(entry.get("summary")):
        return str(entry["summary"])
    calendar = await google.get_calendar(str(entry["id"]))
    if not _is_name(calendar.get("summary")):
        raise UnexpectedAnswer(SYSTEM, "a calendar does not show its name")
    return str(calendar["summary"])


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


async def ensure_calendar(
    google: CalendarProvider,
    kuerzel: str,
    settings: Settings,
) -> str:
    """The id of the employee's calendar, made if there is none. The caller holds the employee's lock.

    Google chooses the id, so a creation of unknown fate is not repeated: the next run finds it by its name.

    Raises:
        UnexpectedAnswer: a calendar may be the employee's, see `find_calendar`; none is made.
    """
    found = await find_calendar(google, kuerzel)
    if found is not None:
        return found
    created = await google.insert_calendar(
        calendar_name(kuerzel),
        calendar_description(settings),
    )
    return str(created["id"])


class CalendarKeeper:
    """Keeps name, description and sharing of calendars as they are configured. ``context`` is the step's, for its log.

    Nothing that goes wrong here stops the sync of appointments: what Google refuses is logged and tried again with the
    next full run; what it did not answer, with the next run.
    """

    def __init__(
        self,
        google: CalendarProvider,
        pool: asyncpg.Pool,
        resources: Resources,
        context: Any,
    ) -> None:
        self._google = google
        self._pool = pool
        self._store = SharingStore(pool)
        self._resources = resources
        self._context = context

    async def keep(self, calendar_id: str, kuerzel: str, *, is_full: bool) -> None:
        """Look at the calendar on full runs, and when its name or sharing was last left otherwise than configured now.

        The caller holds the employee's lock.

        Raises:
            ConfigurationError: Google refuses our account.
            Unavailable: PostgreSQL does not answer.
        """
        wanted = self._wanted(kuerzel)
        if not is_full and await self._applied(calendar_id) == wanted:
            return
        try:
            is_done = await self._keep_all(calendar_id, kuerzel, is_full=is_full)
        except ForeignSystemError as error:
            self._report("calendar.not_kept", kuerzel, error)
        else:
            await self._note(
                calendar_id,
                calendar_name(kuerzel),
                wanted if is_done else None,
            )

    def _wanted(self, kuerzel: str) -> str:
        """What must not wait for the next full run, as a hash: an access that ends, and whose calendar it is."""
        rules = sorted(
            self._resources.settings.google_calendar.sharing_of(kuerzel).items(),
        )
        state = json.dumps([calendar_name(kuerzel), rules])
        return hashlib.sha256(state.encode()).hexdigest()

    async def _keep_all(
        self,
        calendar_id: str,
        kuerzel: str,
        *,
        is_full: bool,
    ) -> bool:
        """Returns whether nothing is left to be tried again soon."""
        is_done = await self._keep_itself(calendar_id, kuerzel, describe=is_full)
        return await self._keep_sharing(calendar_id, kuerzel) and is_done

    async def _keep_itself(
        self,
        calendar_id: str,
        kuerzel: str,
        *,
        describe: bool,
    ) -> bool:
        """Name and description, in one patch. Returns whether nothing is left to be tried again soon."""
        calendar = await self._google.get_calendar(calendar_id)
        changes = await self._name_to_write(calendar, calendar_id, kuerzel)
        wanted = calendar_description(self._resources.settings)
        if describe and _may_describe(calendar, wanted):
            changes["description"] = wanted
        if not changes:
            return True
        try:
            await self._google.patch_calendar(calendar_id, changes)
        except ForeignSystemError as error:
            self._report("calendar.not_described", kuerzel, error)
            return is_final(error)
        return True

    async def _name_to_write(
        self,
        calendar: Json,
        calendar_id: str,
        kuerzel: str,
    ) -> Json:
        """The name, if the calendar still has the one that the sync has given it; another one is a person's choice."""
        name = calendar_name(kuerzel)
        present = calendar.get("summary")
        if present != name and present == await self._given_name(calendar_id):
            return {"summary": name}
        return {}

    async def _keep_sharing(self, calendar_id: str, kuerzel: str) -> bool:
        """Returns whether nothing is left to be tried again soon."""
        wanted = self._resources.settings.google_calendar.sharing_of(kuerzel)
        own = {rule.email: rule for rule in await self._store.rules(calendar_id)}
        if not wanted and not own:
            return True
        present = read_rules(await self._google.list_acl(calendar_id))
        sharing = Sharing(
            self._google,
            self._store,
            calendar_id,
            self._resources.clock(),
        )
        is_done = True
        for step in sharing_steps(wanted, present, list(own.values())):
            try:
                await sharing.apply(step, own.get(step.email))
            except ForeignSystemError as error:
                self._report("calendar.not_shared", kuerzel, error, action=step.action)
                is_done = is_done and is_final(error)
        return is_done

    def _report(
        self,
        event: str,
        kuerzel: str,
        error: ForeignSystemError,
        **fields: str,
    ) -> None:
        """Log what Google would not do; PostgreSQL's silence ends the run."""
        if error.system != SYSTEM:
            raise error
        log(
            self._context,
            "error",
            event,
            kuerzel=kuerzel,
            error=without_quotes(shown_text(error)),
            **fields,
        )

    async def _applied(self, calendar_id: str) -> str | None:
        async with database_errors():
            applied = await self._pool.fetchval(
                "SELECT applied FROM calendar_sync_calendar WHERE calendar_id = $1",
                calendar_id,
            )
        if applied:
            return str(applied)
        return None

    async def _given_name(self, calendar_id: str) -> str | None:
        async with database_errors():
            name = await self._pool.fetchval(
                "SELECT name FROM calendar_sync_calendar WHERE calendar_id = $1",
                calendar_id,
            )
        if name:
            return str(name)
        return None

    async def _note(self, calendar_id: str, name: str, applied: str | None) -> None:
        """``applied`` None: not everything could be done, the next run looks again."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO calendar_sync_calendar (calendar_id, name, applied) VALUES ($1, $2, $3)
                ON CONFLICT (calendar_id) DO UPDATE SET
                    name = CASE WHEN $3::text IS NULL THEN calendar_sync_calendar.name ELSE $2 END,
                    applied = excluded.applied
                """,
                calendar_id,
                name,
                applied,
            )


def _may_describe(calendar: Json, wanted: str) -> bool:
    """Whether the sync has written the description, and would write another one now."""
    present = calendar.get("description")
    if not is_own_description(present):
        return False
    return not is_description(present, wanted)
