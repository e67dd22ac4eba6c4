"""A busy record is no failure: who meets a running sync leaves a note in PostgreSQL, and that sync looks again.

A note says that something may have happened to a record after a run had read it. Nothing is lost, whoever dies:

* the note is committed before its event is acknowledged, and the lock is tried once more after that: whoever held it
  before has either still to look for notes, or has released it by then;
* each run looks for notes after it has released the lock, and makes another round for them;
* a round ends the notes that were there before it began, and no others (each has a version of its own);
* what a crash or `MAX_ROUNDS` leaves behind is found by the cron (`Notes.left_behind`).

So `work` must read the record again each time it is called. It takes the lock itself, and raises `EntityBusy` if it
does not get it, or `NotBefore` if what an interrupted run has left (an unanswered request, a dead worker's lock) has to
be waited for: it is then called again at that moment, and meanwhile no lock is held.

Contract for those who do the whole work of a lock (`in_turn`): a Beteiligter's sync, a calendar's run. For those who do
a part of it under the same lock (one Bankverbindung of a Beteiligter): `in_part`. They leave their notes like
all, because the whole sync does their part as well; the notes of others they cannot apply, and call
``hand_over`` for them (`BeteiligteSync.look_again`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import asyncpg

from services.core.database import database_errors
from services.core.errors import EntityBusy, NotBefore, Paused
from services.core.resources import Resources

#: A record that is edited again and again does not keep one job busy for ever; the cron goes on.
MAX_ROUNDS = 10
#: How often, and how long each time, a run waits for what an interrupted one has left before that is left to the cron.
MAX_WAITS = 3
LONGEST_WAIT_SECONDS = 120.0
#: Notes that are older than this belong to no run any more; an additional run would do no harm.
LEFT_BEHIND_SECONDS = 120

#: What may be requested. A person has edited the record: pauses after failures do not hold.
EDIT = "edit"
#: A person has asked for the sync: nothing is waited for.
HAND = "hand"
#: The texts of the calendar are to be hidden.
HIDE = "hide"

Result = TypeVar("Result")
Requests = frozenset[str]
_NONE: Requests = frozenset()


@dataclass(frozen=True)
class Subject:
    """What a lock guards."""

    entity_type: str
    entity_id: str


def beteiligter(entity_id: str) -> Subject:
    """A CBeteiligte with everything that belongs to it."""
    return Subject("CBeteiligte", entity_id)


def calendar(kuerzel: str) -> Subject:
    """An employee's calendar."""
    return Subject("calendar", kuerzel)


@dataclass(frozen=True)
class Note:
    """What all have asked for since the last round."""

    requested: Requests
    version: int


class Notes:
    """The table of notes. All methods raise as `database_errors` says."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def leave(self, subject: Subject, requested: Requests, now: datetime) -> None:
        """Ask whoever works on the subject to look again."""
        async with database_errors():
            await self._pool.execute(
                """
                INSERT INTO look_again AS note (entity_type, entity_id, requested, asked_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT (entity_type, entity_id) DO UPDATE SET
                    requested = ARRAY(SELECT DISTINCT unnest(note.requested || excluded.requested)),
                    version = excluded.version
                """,
                subject.entity_type,
                subject.entity_id,
                sorted(requested),
                now,
            )

    async def find(self, subject: Subject) -> Note | None:
        """What was asked for, None if nothing."""
        async with database_errors():
            row = await self._pool.fetchrow(
                "SELECT requested, version FROM look_again WHERE entity_type = $1 AND entity_id = $2",
                subject.entity_type,
                subject.entity_id,
            )
        if row:
            return Note(frozenset(row["requested"]), row["version"])
        return None

    async def end(self, subject: Subject, note: Note) -> None:
        """Delete a note that was dealt with, unless a user has asked again since it was found."""
        async with database_errors():
            await self._pool.execute(
                "DELETE FROM look_again WHERE entity_type = $1 AND entity_id = $2 AND version = $3",
                subject.entity_type,
                subject.entity_id,
                note.version,
            )

    async def left_behind(
        self,
        entity_type: str,
        before: datetime,
        limit: int,
    ) -> list[str]:
        """The ids of the subjects that were asked for before this moment, those first who wait longest."""
        async with database_errors():
            rows = await self._pool.fetch(
                "SELECT entity_id FROM look_again WHERE entity_type = $1 AND asked_at < $2 ORDER BY asked_at LIMIT $3",
                entity_type,
                before,
                limit,
            )
        return [row["entity_id"] for row in rows]


@dataclass
class _Waiting:
    """For which subjects this process waits already."""

    subjects: set[Subject] = field(default_factory=set)


async def in_turn(
    resources: Resources,
    subject: Subject,
    requested: Requests,
    work: Callable[[Requests], Awaitable[Result]],
    *,
    leaves_note: bool = True,
) -> Result | None:
    """Do the whole work, alone, and again for all who have asked for it meanwhile.

    ``work`` gets what was requested by this caller and by all notes; its result is not None. Returns the result of the
    first round; None if another run is at work (it looks again) or the cron is to go on. With ``leaves_note`` False, a
    run that is at work already is enough, as for a check.

    Raises:
        Whatever ``work`` raises but EntityBusy and NotBefore: the notes stay.
        Paused: an operator has paused the work; whoever has the job keeps it.
        Unavailable: PostgreSQL does not answer.
    """
    notes = Notes(await resources.database())

    async def one_round(asked: Requests) -> Result:
        note = await notes.find(subject)
        if note is None:
            return await work(asked)
        result = await work(asked | note.requested)
        await notes.end(subject, note)
        return result

    first = await _unless_busy(
        resources,
        subject,
        requested,
        lambda: one_round(requested),
        leaves_note=leaves_note,
    )
    if first is None:
        return None
    for _ in range(MAX_ROUNDS - 1):
        if await notes.find(subject) is None:
            break
        further = await _unless_busy(
            resources,
            subject,
            _NONE,
            lambda: one_round(_NONE),
            leaves_note=False,
        )
        if further is None:
            break
    return first


async def in_part(
    resources: Resources,
    subject: Subject,
    requested: Requests,
    work: Callable[[], Awaitable[Result]],
    hand_over: Callable[[], Awaitable[object]],
) -> Result | None:
    """Do a part of the work, alone. Who has asked meanwhile is left to ``hand_over``, which does the whole work.

    ``requested`` is what the whole work gets if another run is at it. Returns and raises as `in_turn`.
    """
    notes = Notes(await resources.database())
    result = await _unless_busy(resources, subject, requested, work, leaves_note=True)
    if result is not None and await notes.find(subject) is not None:
        await hand_over()
    return result


async def _unless_busy(
    resources: Resources,
    subject: Subject,
    requested: Requests,
    work: Callable[[], Awaitable[Result]],
    *,
    leaves_note: bool,
) -> Result | None:
    """Do the work once; None if it is left to others, who find a note if they are to know of it."""
    notes = Notes(await resources.database())
    waits = 0
    while True:
        try:
            return await work()
        except Paused:
            raise
        except NotBefore as error:
            await notes.leave(subject, requested, resources.clock())
            waits += 1
            if waits > MAX_WAITS:
                return None
            if not await _has_waited(resources, subject, error.moment):
                return None
        except EntityBusy:
            if not leaves_note:
                return None
            await notes.leave(subject, requested, resources.clock())
            # Once more: the run that had the lock may have looked for notes before this one.
            leaves_note = False


async def _has_waited(resources: Resources, subject: Subject, moment: datetime) -> bool:
    """Let the time pass; False at once if this process waits for the subject already, and one of its jobs is enough."""
    waiting = resources.shared(_Waiting).subjects
    if subject in waiting:
        return False
    waiting.add(subject)
    seconds = (moment - resources.clock()).total_seconds()
    try:
        await asyncio.sleep(min(seconds, LONGEST_WAIT_SECONDS))
    finally:
        waiting.discard(subject)
    return True
