"""What a sync of one Beteiligter would do: which fields go where. The values are for EspoCRM's own preview only."""

from __future__ import annotations

from dataclasses import dataclass

from services.beteiligte_sync_utils import BeteiligteSync
from services.core.errors import InvalidInput, NotFound
from services.operate.beteiligte import is_entity_id
from services.operate.parts import Part, part
from services.operate.sources import Sources
from services.preview.rehearsal import rehearsal
from services.preview.texts import preview_of

PREVIEW_SECONDS = 20.0


@dataclass(frozen=True)
class PlannedRecord:
    """A record that would be written: in which system, of which kind (German), and its fields (German labels)."""

    system: str
    title: str
    is_new: bool
    fields: list[str]


@dataclass(frozen=True)
class Preview:
    """What would happen; nothing was written. ``held`` and ``tasks`` are numbers: their texts may name people."""

    result: str
    records: list[PlannedRecord]
    held: int
    tasks: int


@dataclass(frozen=True)
class PreviewView:
    """The preview of one record."""

    entity_id: str
    preview: Part[Preview]


async def preview_view(sources: Sources, entity_id: str) -> PreviewView:
    """The preview of one record, or why there is none."""
    found = await part(preview(sources, entity_id), "preview", PREVIEW_SECONDS)
    return PreviewView(entity_id, found)


async def preview(sources: Sources, entity_id: str) -> Preview:
    """What the sync of this record would do.

    Raises:
        InvalidInput: it is no id. NotFound: EspoCRM has no such record.
        ForeignSystemError, ConfigurationError: a system does not answer.
    """
    if not is_entity_id(entity_id):
        raise InvalidInput("not an id")
    async with rehearsal(sources.resources) as (resources, rehearsed):
        outcome = await BeteiligteSync(resources=resources).rehearse(entity_id)
    if outcome.result == "deleted":
        raise NotFound("EspoCRM", "no such record")
    shown = preview_of(rehearsed)
    records = [
        PlannedRecord(
            system=change["system"],
            title=change["title"],
            is_new=change["isNew"],
            fields=[line["label"] for line in change["fields"]],
        )
        for change in shown["changes"]
    ]
    return Preview(outcome.result, records, len(shown["held"]), len(shown["tasks"]))
