"""Previews: the syncs run for real, and nothing is written anywhere (`services.preview.rehearsal`)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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

ENTITY_TYPE = "CBeteiligte"
#: Previews at the same time: each holds a connection to PostgreSQL.
WORKERS = 4


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
    """

    subject: str
    result: str
    writes: tuple[PlannedWrite, ...] = ()
    held: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    error: str | None = None

    @property
    def counts(self) -> Counter[str]:
        """How many records would be written, by ``<system> <kind> <operation>``."""
        return Counter(
            f"{write.system} {write.kind} {write.operation}" for write in self.writes
        )


async def preview_beteiligter(resources: Resources, entity_id: str) -> Preview:
    """What the sync of a CBeteiligte would do. A failure is in the preview, not raised.

    Raises:
        DatabaseUnusable: our own tables are not there, or not as they have to be.
    """

    async def rehearse() -> Preview:
        async with rehearsal(resources) as (rehearsing, rehearsed):
            outcome = await BeteiligteSync(None, resources=rehearsing).rehearse(
                entity_id
            )
        if outcome.result == "deleted":
            raise NotFound("EspoCRM", "no such record")
        shown = preview_of(rehearsed)
        return Preview(
            entity_id,
            outcome.result,
            tuple(planned_writes(rehearsed.changes)),
            held=tuple(shown["held"]),
            tasks=tuple(str(task["name"]) for task in shown["tasks"]),
        )

    return await _foreseen(entity_id, rehearse)


async def preview_employee(
    resources: Resources, kuerzel: str, *, full_content: bool = True
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
        return Preview(
            kuerzel,
            summary.result,
            tuple(planned_writes(rehearsed.changes)),
            held=tuple(held),
            error=errors[0] if errors else None,
        )

    return await _foreseen(kuerzel, rehearse)


async def _foreseen(
    subject: str, rehearse: Callable[[], Awaitable[Preview]]
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
    rows = EspoCRMAPI(resources=resources).search_entities(ENTITY_TYPE, select=["id"])
    return [str(row["id"]) async for row in rows]


async def all_employees(resources: Resources) -> list[str]:
    """The Kürzel of the active employees.

    Raises:
        ForeignSystemError: Advoware, PostgreSQL or Redis does not answer.
    """
    found: Sequence[str] = await CalendarSync(None, resources=resources).employees(
        follow=False
    )
    return sorted(found)


async def in_parallel(
    subjects: Iterable[str], look: Callable[[str], Awaitable[Any]]
) -> AsyncIterator[Any]:
    """The previews of many subjects as they get ready, `WORKERS` at a time."""
    waiting = iter(subjects)
    running: set[asyncio.Task[Any]] = set()
    ready: set[asyncio.Task[Any]] = set()
    try:
        while True:
            while len(running) < WORKERS:
                subject = next(waiting, None)
                if subject is None:
                    break
                running.add(asyncio.ensure_future(look(subject)))
            if not running:
                return
            ready, running = await asyncio.wait(
                running, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ready:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, *ready, return_exceptions=True)
