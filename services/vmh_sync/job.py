"""What the event handlers of the sync have in common: the queue's events, how a sync ends, its line in the audit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.errors import InvalidInput, without_quotes
from services.core.log import Level, log
from services.core.metrics import SYNCS
from services.vmh_sync.store import AuditEntry, RunEnd, SyncStore

#: Results of a sync that has neither changed nor failed anything.
NOTHING_DONE = frozenset({"no_change", "skipped"})


class SyncEvent(BaseModel):
    """What the queue delivers. ``source`` is ``webhook`` (a user's edit), ``cron`` or ``hand`` (by a button)."""

    model_config = ConfigDict(frozen=True)

    entity_id: str = Field(pattern=r"^[0-9A-Za-z-]{1,36}$")
    action: Literal["create", "update", "delete", "sync_check", "sync_now"]
    source: str = "webhook"
    timestamp: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """How a sync ended: a word for the audit, the Advoware id if known, what changed, and a short error message."""

    result: str
    advoware_id: str | None = None
    changes: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None


def parse_event(data: Any) -> SyncEvent:
    """The event in a queue's payload.

    Raises:
        InvalidInput: the payload has not the agreed shape; names the fields.
    """
    try:
        return SyncEvent.model_validate(data)
    except ValidationError as error:
        fields = ", ".join(map(_place_of, error.errors()))
        raise InvalidInput(f"unusable queue event: {fields}") from None


def _place_of(error: Mapping[str, Any]) -> str:
    if not error["loc"]:
        return "payload"
    return str(error["loc"][0])


async def record_outcome(
    store: SyncStore,
    context: Any,
    event: SyncEvent,
    outcome: Outcome,
    entity_type: str,
    *,
    topic: str,
    started: float,
    now: datetime,
    owner: str | None = None,
) -> None:
    """Write a sync's line into the audit and into the log (there without values).

    A check that found nothing to do leaves no line in the audit, or its size would grow with time instead of changes;
    nor does an event that another run takes care of.
    ``topic`` is the queue's, such as ``vmh.beteiligte.update``; ``started`` is `time.perf_counter` at the beginning;
    ``owner`` is the CBeteiligte that a part belongs to.
    """
    _, flow, *_ = topic.split(".")
    seconds = time.perf_counter() - started
    duration_ms = round(seconds * 1000, 1)
    level: Level = "info"
    error = None
    error_class = None
    if outcome.error:
        level = "error"
        error = without_quotes(outcome.error)
        # The class alone: foreign words may name people.
        error_class, _, _ = outcome.error.partition(":")
    if _is_news(event, outcome):
        entry = AuditEntry(
            entity_type=entity_type,
            entity_id=event.entity_id,
            topic=topic,
            source=event.source,
            result=outcome.result,
            duration_ms=duration_ms,
            advoware_id=outcome.advoware_id,
            changes=outcome.changes,
            error=error,
            trace_id=getattr(context, "trace_id", None),
        )
        ends = _end_of(outcome)
        await store.append_audit(entry, now, ends=ends, owner=owner)
    SYNCS.labels(flow, outcome.result).inc()
    log(
        context,
        level,
        f"{flow}.synced",
        entity_id=event.entity_id,
        topic=topic,
        result=outcome.result,
        duration_ms=duration_ms,
        error=error_class or None,
    )


def _is_news(event: SyncEvent, outcome: Outcome) -> bool:
    if outcome.result == "busy":
        return False
    return event.source != "cron" or outcome.result not in NOTHING_DONE


def _end_of(outcome: Outcome) -> RunEnd:
    """Whether the run has done all its work."""
    if outcome.error or outcome.result == "waiting":
        return "interrupted"
    return "whole"
