"""Previews: the syncs run for real, and nothing is written anywhere (`services.preview.rehearsal`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.beteiligte_sync_utils import BeteiligteSync
from services.calendar_sync.provider import open_provider
from services.calendar_sync.run import CalendarSync
from services.core.errors import (
    BitByLawError,
    DatabaseUnusable,
    NotFound,
    failure_code,
)
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.preview.rehearsal import rehearsal
from services.preview.texts import preview_of
from services.shadow.planned import PlannedWrite, planned_writes
from services.vmh_sync.job import Outcome

Subject = TypeVar("Subject")
Result = TypeVar("Result")

ENTITY_TYPE = "CBeteiligte"
#: Previews at the same time: each holds a connection to PostgreSQL.
WORKERS = 4
_NOT_SYNCED = (
    "no active employee has this Kürzel, or CALENDAR_SYNC_DEBUG_KUERZEL leaves it out"
)


@dataclass(frozen=True)
class Preview:
    """What the sync of one subject would do.

    Attributes:
        subject: the id of a CBeteiligte, or an employee's Kürzel.
        result: what the sync would report, ``failed`` if it cannot be foreseen.
        writes: the records that would be written.
        held: sentences (German) that say what is not transferred, and why.
        tasks: titles (German) of the tasks that people would get.
        error: the code of the failure, without personal data.
        is_gone: whether the failure is that EspoCRM has no such record.
    """

    subject: str
    result: str
    writes: tuple[PlannedWrite, ...] = ()
    held: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    error: str | None = None
    is_gone: bool = False

    @property
    def doubt(self) -> str | None:
        """Why the writes may not be all that the sync would do, once it can; None if they are."""
        if self.error:
            return self.error
        if self.result == "held":
            return "held"
        return None

    @property
    def counts(self) -> Counter[str]:
        """How many records would be written, by ``<system> <kind> <operation>``."""
        counts: Counter[str] = Counter()
        for write in self.writes:
            counts[f"{write.system} {write.kind} {write.operation}"] += 1
        return counts


async def preview_beteiligter(resources: Resources, entity_id: str) -> Preview:
    """What the sync of a CBeteiligte would do. A failure is in the preview, not raised.

    Raises:
        DatabaseUnusable: our own tables are not there, or not as they have to be.
    """

    async def rehearse() -> Preview:
        async with rehearsal(resources) as (rehearsing, rehearsed):
            sync = BeteiligteSync(None, resources=rehearsing)
            outcome = await sync.rehearse(entity_id)
        if outcome.result == "deleted":
            code = failure_code(NotFound("EspoCRM", "no such record"))
            return Preview(entity_id, "failed", error=code, is_gone=True)
        shown = preview_of(rehearsed)
        writes = planned_writes(rehearsed.changes)
        return Preview(
            subject=entity_id,
            result=outcome.result,
            writes=tuple(writes),
            held=tuple(shown["held"]),
            tasks=tuple(str(task["name"]) for task in shown["tasks"]),
            error=_failure_of(outcome),
        )

    return await _foreseen(entity_id, rehearse)


def _failure_of(outcome: Outcome) -> str | None:
    """Why the sync itself would fail, as far as it names no values; what is held for a person is no failure."""
    if outcome.error is None or outcome.result == "held":
        return None
    kind, _, _ = outcome.error.partition(":")
    return f"{outcome.result}: {kind}"


async def preview_employee(
    resources: Resources,
    kuerzel: str,
    *,
    full_content: bool = True,
) -> Preview:
    """What the sync of an employee's calendar would do. A failure is in the preview, not raised.

    Raises:
        DatabaseUnusable: see `preview_beteiligter`.
    """

    async def rehearse() -> Preview:
        async with rehearsal(resources) as (rehearsing, rehearsed):
            provider = rehearsed.calendar(open_provider(None, resources))
            sync = CalendarSync(None, resources=rehearsing, provider=provider)
            summary = await sync.rehearse(kuerzel, full_content=full_content)
        held = []
        if summary.held is not None:
            held.append(f"{summary.held.reason}: {summary.held.deletions}")
        errors = [*summary.errors, *summary.unreadable]
        first_error = next(iter(errors), None)
        writes = planned_writes(rehearsed.changes)
        return Preview(
            subject=kuerzel,
            result=summary.result,
            writes=tuple(writes),
            held=tuple(held),
            error=first_error,
        )

    return await _foreseen(kuerzel, rehearse)


async def preview_named_employee(resources: Resources, kuerzel: str) -> Preview:
    """As `preview_employee`, and a failure if no sync looks at the calendar of that name.

    Raises:
        DatabaseUnusable: see `preview_beteiligter`.
        ForeignSystemError: the employees cannot be listed.
    """
    if kuerzel not in await all_employees(resources):
        return Preview(kuerzel, "failed", error=_NOT_SYNCED)
    return await preview_employee(resources, kuerzel)


async def _foreseen(
    subject: str,
    rehearse: Callable[[], Awaitable[Preview]],
) -> Preview:
    try:
        return await rehearse()
    except DatabaseUnusable:  # of no subject can anything be foreseen
        raise
    except BitByLawError as error:
        return Preview(subject, "failed", error=failure_code(error))


async def all_beteiligte(resources: Resources) -> list[str]:
    """The ids of all CBeteiligte.

    Raises:
        ForeignSystemError: EspoCRM does not answer.
    """
    espocrm = EspoCRMAPI(resources=resources)
    rows = espocrm.search_entities(ENTITY_TYPE, select=["id"])
    return [str(row["id"]) async for row in rows]


async def all_employees(resources: Resources) -> list[str]:
    """The Kürzel of the active employees.

    Raises:
        ForeignSystemError: Advoware, PostgreSQL or Redis does not answer.
    """
    sync = CalendarSync(None, resources=resources)
    found: Sequence[str] = await sync.employees(follow=False)
    return sorted(found)


async def in_parallel(
    subjects: Iterable[Subject],
    look: Callable[[Subject], Awaitable[Result]],
) -> AsyncIterator[Result]:
    """The previews of many subjects as they get ready, `WORKERS` at a time."""

    async def one(subject: Subject) -> Result:
        return await look(subject)

    waiting = iter(subjects)
    running: set[asyncio.Task[Result]] = set()
    ready: set[asyncio.Task[Result]] = set()
    try:
        while True:
            while len(running) < WORKERS:
                subject = next(waiting, None)
                if subject is None:
                    break
                running.add(asyncio.create_task(one(subject)))
            if not running:
                return
            ready, running = await asyncio.wait(
                running,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in ready:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *ready, return_exceptions=True)
