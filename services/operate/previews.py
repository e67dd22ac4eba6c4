"""What a sync of one Beteiligter would do: which fields go where. The values are for EspoCRM's own preview only."""

from __future__ import annotations

from dataclasses import dataclass

from services.api.record_actions import rehearsed_preview
from services.core.errors import InvalidInput
from services.operate.beteiligte import is_entity_id
from services.operate.parts import Part, part
from services.operate.sources import Sources

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
    shown = await rehearsed_preview(sources.resources, entity_id)
    records = [
        PlannedRecord(
            system=change["system"],
            title=change["title"],
            is_new=change["isNew"],
            fields=[line["label"] for line in change["fields"]],
        )
        for change in shown["changes"]
    ]
    return Preview(shown["result"], records, len(shown["held"]), len(shown["tasks"]))
