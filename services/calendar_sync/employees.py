"""Whose calendar it is: Advoware's employees, and who of them is called otherwise than before.

An employee whose Kürzel is changed in Advoware keeps calendar and pairs. That it is the same person, his name shows:
the old Kürzel has vanished from the list of active employees, and a Kürzel that no one had bears the name. Whatever is
less clear than that (two of one name, two who have swapped) moves nothing, and is reported to an operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
from redis.exceptions import RedisError

from services.advoware_service import AdvowareService, TermineAnswer
from services.calendar_sync.calendars import calendar_name
from services.calendar_sync.model import LAST_SUCCESS, normalise_text
from services.core.database import database_errors
from services.core.errors import EntityBusy, ForeignSystemError
from services.core.locks import record_lock
from services.core.log import log
from services.core.resources import Resources, current_resources
from services.values.advoware_protocol import BERLIN

LOCK_SECONDS = 60.0
#: Longer ones are no Kürzel.
MAX_KUERZEL = 50
#: Who was listed as active in the last days before the latest list may appear there under another Kürzel. Later it is
#: another person of that name. So long an unclear case is reported as well.
RENAME_DAYS = 7

Json = dict[str, Any]
Move = tuple[str, str]


def lock_key(kuerzel: str) -> str:
    """The lock of an employee's calendar, in the calendar's Redis database."""
    return f"calendar_sync:lock:{kuerzel}"


def usable_kuerzel(row: Any) -> str | None:
    """The Kürzel of one of Advoware's rows; None if it has none that can be a calendar's name."""
    if not isinstance(row, dict):
        return None
    value = row.get("kuerzel")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = normalise_text(value)
    if text is None or not _may_be_kuerzel(text):
        return None
    return text


def _may_be_kuerzel(text: str) -> bool:
    return len(text) <= MAX_KUERZEL and text.isprintable()


def active_employees(rows: Iterable[Any]) -> dict[str, str]:
    """``{Kürzel: name}`` of Advoware's rows; the name is empty if there is none, or more than one."""
    found: dict[str, str] = {}
    for row in rows:
        kuerzel = usable_kuerzel(row)
        if kuerzel is None:
            continue
        name = " ".join(str(row.get("name") or "").split())
        if found.setdefault(kuerzel, name) != name:
            found[kuerzel] = ""
    return found


# -- who is called otherwise than before ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """An employee as he was listed when we last saw him among the active ones."""

    kuerzel: str
    name: str
    listed_at: datetime


@dataclass(frozen=True)
class Renames:
    """What the list of active employees says about those whom we know.

    Attributes:
        chains: moves that belong together, such as A to B while B goes to C; the first Kürzel is no one's any more.
        unclear: why nothing moves, by the Kürzel that was known.
        doubtful: all Kürzel that an unclear case is about.
    """

    chains: list[list[Move]] = field(default_factory=list)
    unclear: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)

    def doubt(self, kuerzel: str, reason: str, *others: str) -> None:
        """Note an unclear case."""
        self.unclear[kuerzel] = reason
        self.doubtful.update({kuerzel, *others})


def find_renames(
    known: Sequence[Known],
    active: Mapping[str, str],
    occupied: frozenset[str],
) -> Renames:
    """Who of ``known`` has another Kürzel in ``active``; ``occupied`` are the Kürzel that have pairs or a calendar."""
    renames = Renames()
    names = {row.kuerzel: row.name for row in known}
    moves = _moves(_recent(known), names, active, renames)
    followed: set[str] = set()
    for head in sorted(moves.keys() - active.keys()):
        chain = _chain_from(head, moves)
        formers = {former for former, _ in chain}
        followed |= formers
        _, last = chain[-1]
        if last in occupied or not formers.isdisjoint(renames.unclear):
            reason = f"{last} has a calendar of its own"
            renames.doubt(head, reason, *_kuerzel_of(chain))
        else:
            renames.chains.append(chain)
    _doubt_unfollowed(renames, moves, followed)
    return renames


def _chain_from(head: str, moves: Mapping[str, str]) -> list[Move]:
    """The moves that have to be made together, the first Kürzel first."""
    chain = [(head, moves[head])]
    last = moves[head]
    while last in moves:
        chain.append((last, moves[last]))
        last = moves[last]
    return chain


def _kuerzel_of(chain: Sequence[Move]) -> set[str]:
    """All Kürzel that a chain concerns."""
    concerned = set()
    for former, kuerzel in chain:
        concerned |= {former, kuerzel}
    return concerned


def _doubt_unfollowed(
    renames: Renames,
    moves: Mapping[str, str],
    followed: Set[str],
) -> None:
    """Note the moves away from a Kürzel that another employee has now."""
    for former in sorted(moves.keys() - followed):
        reason = f"the name of {former} is now that of {moves[former]}, and {former} is another employee's"
        renames.doubt(former, reason, moves[former])


def _recent(known: Sequence[Known]) -> dict[str, str]:
    """``{Kürzel: name}`` of those who were active until lately."""
    latest = max((row.listed_at for row in known), default=None)
    if latest is None:
        return {}
    return {
        row.kuerzel: row.name
        for row in known
        if row.listed_at >= latest - timedelta(days=RENAME_DAYS)
    }


def _moves(
    recent: Mapping[str, str],
    known: Mapping[str, str],
    active: Mapping[str, str],
    renames: Renames,
) -> dict[str, str]:
    """Where the name of each known Kürzel has gone, as far as one new place has it."""
    moves: dict[str, str] = {}
    names = Counter(recent.values())
    for kuerzel, name in recent.items():
        if not _may_have_moved(kuerzel, name, active):
            continue
        namesakes = _named(name, active)
        holders = _new_holders(name, namesakes, known)
        if not holders:
            continue
        if len(namesakes) == 1 and names[name] == 1:
            moves[kuerzel] = holders[0]
        elif kuerzel not in active:
            reason = f"more than one bears the name of {kuerzel}"
            renames.doubt(kuerzel, reason, *holders)
    return moves


def _may_have_moved(kuerzel: str, name: str, active: Mapping[str, str]) -> bool:
    return bool(name) and active.get(kuerzel) != name


def _named(name: str, employees: Mapping[str, str]) -> list[str]:
    """The Kürzel of those who bear the name."""
    return [kuerzel for kuerzel, other in employees.items() if other == name]


def _new_holders(
    name: str,
    namesakes: Iterable[str],
    known: Mapping[str, str],
) -> list[str]:
    """Those who bear the name now. Who had this name under this Kürzel before is no successor."""
    return [kuerzel for kuerzel in namesakes if known.get(kuerzel) != name]


# -- what we remember of employees ----------------------------------------------------------------------------------


class EmployeeStore:
    """Reads and writes whom we know. All methods raise `Unavailable` if PostgreSQL does not answer."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def known(self) -> list[Known]:
        """All employees that were ever listed, by Kürzel."""
        rows = await self._fetch(
            "SELECT kuerzel, name, listed_at FROM calendar_sync_employee ORDER BY kuerzel",
        )
        return [Known(**row) for row in rows]

    async def occupied(self) -> frozenset[str]:
        """The Kürzel that have a calendar, pairs or unfinished creates."""
        rows = await self._fetch(
            """
            WITH RECURSIVE employee (kuerzel) AS (
                (SELECT employee_kuerzel FROM calendar_sync WHERE NOT deleted ORDER BY employee_kuerzel LIMIT 1)
                UNION ALL
                SELECT (SELECT employee_kuerzel FROM calendar_sync
                        WHERE NOT deleted AND employee_kuerzel > employee.kuerzel ORDER BY employee_kuerzel LIMIT 1)
                FROM employee WHERE employee.kuerzel IS NOT NULL
            )
            SELECT employee_kuerzel FROM calendar_sync_cursor
            UNION SELECT kuerzel FROM employee WHERE kuerzel IS NOT NULL
            UNION SELECT employee_kuerzel FROM calendar_sync_intent
            """,
        )
        return frozenset(str(row["employee_kuerzel"]) for row in rows)

    async def paired_termine(self, kuerzel: str) -> frozenset[int]:
        """The ``frNr`` of an employee's live pairs."""
        async with database_errors():
            rows = await self._pool.fetch(
                """
                SELECT advoware_frnr FROM calendar_sync
                WHERE employee_kuerzel = $1 AND NOT deleted AND advoware_frnr IS NOT NULL
                """,
                kuerzel,
            )
        return frozenset(int(row["advoware_frnr"]) for row in rows)

    async def renamed(self) -> dict[str, str]:
        """``{former Kürzel: the present one}``."""
        rows = await self._fetch(
            "SELECT former, kuerzel FROM calendar_sync_renamed ORDER BY former",
        )
        return {str(row["former"]): str(row["kuerzel"]) for row in rows}

    async def remember(self, active: Mapping[str, str], now: datetime) -> None:
        """Remember who is active. A former Kürzel that an employee has again leads to no one else any more."""
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.executemany(
                """
                INSERT INTO calendar_sync_employee (kuerzel, name, listed_at) VALUES ($1, $2, $3)
                ON CONFLICT (kuerzel) DO UPDATE SET name = excluded.name, listed_at = excluded.listed_at
                """,
                [(kuerzel, name, now) for kuerzel, name in sorted(active.items())],
            )
            await connection.execute(
                "DELETE FROM calendar_sync_renamed WHERE former = ANY($1)",
                list(active),
            )

    async def move(
        self,
        chain: Sequence[Move],
        active: Mapping[str, str],
        now: datetime,
    ) -> None:
        """Give all that belongs to an employee to his new Kürzel: for all moves of the chain, or for none.

        The caller holds the locks of all of them. The last Kürzel is no one's yet.
        """
        async with (
            database_errors(),
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            for former, kuerzel in reversed(chain):
                await _move(connection, former, kuerzel, now)
                await connection.execute(
                    """
                    INSERT INTO calendar_sync_employee (kuerzel, name, listed_at) VALUES ($1, $2, $3)
                    ON CONFLICT (kuerzel) DO UPDATE SET name = excluded.name, listed_at = excluded.listed_at
                    """,
                    kuerzel,
                    active[kuerzel],
                    now,
                )
            head, successor = chain[0]
            await connection.execute(
                "DELETE FROM calendar_sync_employee WHERE kuerzel = $1",
                head,
            )
            await connection.execute(
                """
                INSERT INTO calendar_sync_renamed (former, kuerzel, renamed_at) VALUES ($1, $2, $3)
                ON CONFLICT (former) DO UPDATE SET kuerzel = excluded.kuerzel, renamed_at = excluded.renamed_at
                """,
                head,
                successor,
                now,
            )

    async def _fetch(self, query: str) -> list[asyncpg.Record]:
        async with database_errors():
            return list(await self._pool.fetch(query))


#: Tables in which an employee has rows. The audit is append-only and keeps the Kürzel of its time.
_TABLES_OF_EMPLOYEES = (
    "calendar_sync",
    "calendar_sync_cursor",
    "calendar_sync_intent",
    "calendar_sync_begun",
    "calendar_sync_refused",
    "calendar_sync_run",
    "calendar_sync_hold",
    "calendar_sync_overwritten",
)


async def _move(
    connection: asyncpg.Connection,
    former: str,
    kuerzel: str,
    now: datetime,
) -> None:
    # Without a calendar nothing that a run under the new Kürzel has left is worth keeping.
    for table in ("calendar_sync_refused", "calendar_sync_run", "calendar_sync_hold"):
        await connection.execute(
            f"DELETE FROM {table} WHERE employee_kuerzel = $1",  # noqa: S608 - our own names
            kuerzel,
        )
    for table in _TABLES_OF_EMPLOYEES:
        await connection.execute(
            f"UPDATE {table} SET employee_kuerzel = $2 WHERE employee_kuerzel = $1",  # noqa: S608 - our names
            former,
            kuerzel,
        )
    await connection.execute(
        """
        INSERT INTO calendar_sync_calendar (calendar_id, name)
        SELECT calendar_id, $2 FROM calendar_sync_cursor WHERE employee_kuerzel = $1 AND calendar_id IS NOT NULL
        ON CONFLICT (calendar_id) DO NOTHING
        """,
        kuerzel,
        calendar_name(former),
    )
    await connection.execute(
        "UPDATE calendar_sync_renamed SET kuerzel = $2 WHERE kuerzel = $1",
        former,
        kuerzel,
    )
    await connection.execute(
        """
        INSERT INTO look_again AS note (entity_type, entity_id, requested, asked_at)
        SELECT entity_type, $2, requested, asked_at FROM look_again WHERE entity_type = 'calendar' AND entity_id = $1
        ON CONFLICT (entity_type, entity_id) DO UPDATE SET requested = note.requested || excluded.requested
        """,
        former,
        kuerzel,
    )
    await connection.execute(
        "DELETE FROM look_again WHERE entity_type = 'calendar' AND entity_id = $1",
        former,
    )
    await connection.execute(
        """
        INSERT INTO calendar_sync_audit (at, employee_kuerzel, side, action, reason)
        VALUES ($1, $2, 'none', 'renamed', $3)
        """,
        now,
        kuerzel,
        f"{former} is called {kuerzel} in Advoware now",
    )


# -- entry points -----------------------------------------------------------------------------------------------------


class EmployeeRegister:
    """Follows Advoware's list of active employees. ``context`` is the step's, for its log."""

    def __init__(
        self,
        resources: Resources,
        advoware: AdvowareService,
        context: Any = None,
    ) -> None:
        self._resources = resources
        self._advoware = advoware
        self._context = context

    async def follow(self, active: Mapping[str, str]) -> frozenset[str]:
        """Let calendars and pairs follow those who have a new Kürzel, and remember the list.

        Returns the Kürzel that must not be synced yet: a run is at work on what has to be moved first, or Advoware's
        Termine do not show yet whose they are.

        Raises:
            ForeignSystemError, DatabaseUnusable: Advoware, PostgreSQL or Redis does not answer.
        """
        if not active:  # no one is there: that is no list
            return frozenset()
        store = EmployeeStore(await self._resources.database())
        renames = find_renames(await store.known(), active, await store.occupied())
        postponed: set[str] = set()
        for chain in renames.chains:
            is_followed = await self._is_followed(store, chain)
            is_moved = is_followed and await self._move(store, chain, active)
            if not is_moved:
                postponed |= _kuerzel_of(chain)
        self._report_unclear(renames)
        settled = {}
        for kuerzel in active.keys() - postponed - renames.doubtful:
            settled[kuerzel] = active[kuerzel]
        await store.remember(settled, self._resources.clock())
        return frozenset(postponed)

    def _report_unclear(self, renames: Renames) -> None:
        for kuerzel, reason in sorted(renames.unclear.items()):
            log(
                self._context,
                "error",
                "calendar.kuerzel_unclear",
                kuerzel=kuerzel,
                reason=reason,
            )

    async def _is_followed(self, store: EmployeeStore, chain: Sequence[Move]) -> bool:
        """Whether Advoware's Termine have the new Kürzel, where the old one is another employee's now.

        Before that it is not known whose a Termin is that bears it, and each would be shown to the wrong one.
        """
        for former, kuerzel in chain[1:]:
            paired = await store.paired_termine(former)
            try:
                followed = await self._termine_of(kuerzel)
            except ForeignSystemError as error:  # it concerns this chain only
                self._report_waiting(kuerzel, error=type(error).__name__)
                return False
            if paired and paired.isdisjoint(followed):
                self._report_waiting(kuerzel, former=former)
                return False
        return True

    async def _termine_of(self, kuerzel: str) -> set[Any]:
        """The numbers of the Termine in the window that bear this Kürzel."""
        today = self._resources.clock().astimezone(BERLIN).date()
        window = self._resources.settings.calendar_sync
        first = today - timedelta(days=window.days_back)
        last = today + timedelta(days=window.days_ahead)
        numbers = set()
        for row in await self._advoware.list_termine(kuerzel, first, last):
            if normalise_text(row.get("anwalt")) == kuerzel:
                numbers.add(row.get("frNr"))
        return numbers

    def _report_waiting(self, kuerzel: str, **details: str) -> None:
        log(
            self._context,
            "error",
            "calendar.rename_waits",
            kuerzel=kuerzel,
            **details,
        )

    async def _move(
        self,
        store: EmployeeStore,
        chain: Sequence[Move],
        active: Mapping[str, str],
    ) -> bool:
        """Move what belongs to them; False: one of them is being synced."""
        concerned = sorted(_kuerzel_of(chain))
        redis = self._resources.calendar_redis
        try:
            async with AsyncExitStack() as locks:
                for kuerzel in concerned:
                    lock = record_lock(
                        self._resources,
                        lock_key(kuerzel),
                        LOCK_SECONDS,
                        redis=redis,
                    )
                    await locks.enter_async_context(lock)
                await store.move(chain, active, self._resources.clock())
        except (EntityBusy, asyncpg.UniqueViolationError):
            # A run is at work, or was since we looked.
            log(
                self._context,
                "warning",
                "calendar.rename_postponed",
                kuerzel=",".join(concerned),
            )
            return False
        for former, kuerzel in chain:
            with suppress(RedisError):
                await redis.hdel(LAST_SUCCESS, former)
            log(
                self._context,
                "warning",
                "calendar.renamed",
                kuerzel=kuerzel,
                former=former,
            )
        return True


class EmployeesAdvoware(AdvowareService):
    """Advoware's Termine, in which those who were renamed have their present Kürzel.

    Whether Advoware writes a new Kürzel into the Termine that are there, and how soon, is not documented [A]. As long
    as no one else has the former Kürzel, a Termin that bears it is that of the same person.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        super().__init__(context, resources=resources)
        self._resources = resources or current_resources()
        self._renamed: dict[str, str] | None = None

    async def ask_termine(self, kuerzel: str, first: date, last: date) -> TermineAnswer:
        """Those of the former Kürzel included, with one more call for each; see `AdvowareService.ask_termine`."""
        renamed = await self._names()
        former = [old for old, present in renamed.items() if present == kuerzel]
        answers: list[TermineAnswer] = []
        for name in (kuerzel, *sorted(former)):
            answers.append(await super().ask_termine(name, first, last))
        return _TermineOfEmployees(answers, renamed)

    async def get_termin(self, frnr: int) -> Json:
        """See `AdvowareService.get_termin`."""
        return _with_present_kuerzel(
            await super().get_termin(frnr),
            await self._names(),
        )

    async def is_former(self, kuerzel: str) -> bool:
        """Whether no one has this Kürzel any more because he was renamed; as of now."""
        self._renamed = None
        return kuerzel in await self._names()

    async def _names(self) -> dict[str, str]:
        if self._renamed is None:
            self._renamed = await EmployeeStore(
                await self._resources.database(),
            ).renamed()
        return self._renamed


class _TermineOfEmployees(TermineAnswer):
    """The lists of all Kürzel that an employee has had, as one."""

    def __init__(
        self,
        answers: Sequence[TermineAnswer],
        renamed: Mapping[str, str],
    ) -> None:
        self._answers = answers
        self._renamed = renamed

    def digest(self) -> str:
        """See `TermineAnswer.digest`."""
        digests = [answer.digest() for answer in self._answers]
        renamed = sorted(self._renamed.items())
        return " ".join([*digests, str(renamed)])

    def rows(self) -> list[Any]:
        """See `TermineAnswer.rows`; what the list of the present Kürzel has is not taken from another one."""
        rows: list[Any] = []
        known: set[str] = set()
        for answer in self._answers:
            numbers: set[str] = set()
            for row in answer.rows():
                if not isinstance(row, dict):
                    rows.append(row)
                    continue
                number = str(row.get("frNr"))
                numbers.add(number)
                if number not in known:
                    rows.append(_with_present_kuerzel(row, self._renamed))
            known |= numbers
        return rows


def _with_present_kuerzel(row: Json, renamed: Mapping[str, str]) -> Json:
    present = renamed.get(normalise_text(row.get("anwalt")) or "")
    if present:
        return {**row, "anwalt": present}
    return row
