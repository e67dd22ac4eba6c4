"""What one sync writes in EspoCRM, collected and written in one call.

A sync collects what it has to write about a record (its addresses, accounts, tasks), and writes it together with the
record's status: all in one transaction, so that people never see a half. What follows from a write (remembering what
both sides hold) is done once it has succeeded.

Nothing may be collected that has to be in EspoCRM before the next request to Advoware. What makes each collected write
safe to be late, or to be lost in a crash:

- an address or account that was created in Advoware: its create intent lies in PostgreSQL, an Adresse also carries the
  id of its CAdressen; the next sync finds both;
- a changed one: what both sides hold is remembered after the write, so the next sync compares with the older state and
  finds both sides equal;
- a Task: its row in PostgreSQL is written when it is collected; the cron creates what was not. A value that gives way
  stands in the audit before it is overwritten.

The status ``syncing`` is not collected: it shows that a run has begun, for the case that it does not end.

Where the extension does not offer to write several records (`EspoCRMAPI.write_offer`), nothing is collected: each write
is done at once by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from services.core.errors import (
    Conflict,
    Forbidden,
    ForeignSystemError,
    NotFound,
    ValidationFailed,
    is_no_records_fault,
)
from services.espocrm import EspoCRMAPI, refused_place
from services.values.espocrm_query import Record, RecordWrite

Refusal = (ValidationFailed, Forbidden, Conflict, NotFound)


@dataclass(frozen=True)
class Collected:
    """Writes that belong together.

    Attributes:
        writes: are all done or none.
        then: what follows, with the records as they are stored.
        alone: does the same without the others, with all remedies for a refusal; gets the refusal, if there was one.
            What it raises is ``failed``'s where the writes were collected.
        failed: ``then`` or ``alone`` has raised this.
        still: asked right before the call; False if the writes are not wanted any more.
        key: replaces what was collected under the same key.
    """

    writes: Sequence[RecordWrite]
    then: Callable[[list[Record]], Awaitable[None]]
    alone: Callable[[ForeignSystemError | None], Awaitable[None]]
    failed: Callable[[Exception], Awaitable[None]]
    still: Callable[[], Awaitable[bool]] | None = None
    key: str | None = None


class EspoWrites:
    """Collects the writes of one sync."""

    def __init__(self, espocrm: EspoCRMAPI) -> None:
        self._espocrm = espocrm
        self._waiting: list[Collected] = []

    async def collects(self, *entity_types: str) -> bool:
        """Whether writes of these entities are collected."""
        offer = await self._espocrm.write_offer()
        if offer is None or offer.max_writes <= 1:
            return False
        return offer.entity_types.issuperset(entity_types)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is collected."""
        return not self._waiting

    def holds(self, key: str) -> bool:
        """Whether something is collected under this key."""
        return any(item.key == key for item in self._waiting)

    async def add(self, item: Collected) -> None:
        """Collect writes; where that is not offered, do them at once, and raise what that raises."""
        if not await self.collects(*(write.entity_type for write in item.writes)):
            await item.alone(None)
            return
        if item.key is not None:
            self.discard(item.key)
        self._waiting.append(item)

    def discard(self, key: str) -> None:
        """Leave out what is collected under this key."""
        self._waiting = [item for item in self._waiting if item.key != key]

    def forget(self) -> None:
        """Leave what was collected to the next sync, as after a crash."""
        self._waiting.clear()

    async def write(self, last: Callable[[], Awaitable[RecordWrite]]) -> Record:
        """Write everything, with an update that comes last; returns its record.

        ``last`` is asked again after something else was refused, because that may change what is to be written.

        Raises:
            ForeignSystemError: the last one is refused (the others are written nevertheless); or EspoCRM does not
                answer, and nothing is known to be written.
        """
        while True:
            items = await self._take()
            update = await last()
            if items:
                written = await self._send(items, update)
                if written is not None:
                    return written
                continue
            entity_id = update.entity_id or ""
            attributes = dict(update.attributes)
            return await self._espocrm.update_entity(
                update.entity_type,
                entity_id,
                attributes,
                version_number=update.version,
            )

    async def flush(self) -> None:
        """Write everything.

        Raises:
            ForeignSystemError: EspoCRM does not answer, and nothing is known to be written.
        """
        while items := await self._take():
            await self._send(items, None)

    async def _take(self) -> list[Collected]:
        """What is collected and still wanted; nothing is collected then."""
        items = self._waiting
        self._waiting = []
        wanted = []
        for item in items:
            if item.still is None or await item.still():
                wanted.append(item)
        return wanted

    async def _send(
        self,
        items: list[Collected],
        last: RecordWrite | None,
    ) -> Record | None:
        """Write in one call; the last record, None if the caller has to look at what is left."""
        writes: list[RecordWrite] = []
        for item in items:
            writes += item.writes
        number = len(writes)
        if last is not None:
            writes.append(last)
        try:
            records = await self._espocrm.write_together(writes)
        except Refusal as error:
            place = refused_place(error)
            if place is not None and place >= number:
                await self._send(items, None)
                await self.flush()
                raise
            await self._send_without(items, place, error)
            return None
        if records is None:
            await self._send_alone(items)
            return None
        return await self._follow_up(items, records)

    async def _send_alone(self, items: list[Collected]) -> None:
        for item in items:
            await self._guard(item, item.alone(None))

    async def _follow_up(
        self,
        items: list[Collected],
        records: list[Record],
    ) -> Record | None:
        """Do what follows from the writes; the record that is none of the collected ones, if there is one."""
        rest = iter(records)
        for item in items:
            own = list(islice(rest, len(item.writes)))
            await self._guard(item, item.then(own))
        return next(rest, None)

    async def _send_without(
        self,
        items: list[Collected],
        place: int | None,
        error: ForeignSystemError,
    ) -> None:
        """Write what was refused by itself, and collect the others again.

        ``place`` is that of the refused write among all of them; if EspoCRM does not say it, each is written by itself.
        """
        others = []
        first = 0
        for item in items:
            after = first + len(item.writes)
            if place is None:
                await self._guard(item, item.alone(None))
            elif first <= place < after:
                await self._guard(item, item.alone(error))
            else:
                others.append(item)
            first = after
        self._waiting = [*others, *self._waiting]

    @staticmethod
    async def _guard(item: Collected, work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception as error:
            if is_no_records_fault(error):
                raise
            await item.failed(error)
