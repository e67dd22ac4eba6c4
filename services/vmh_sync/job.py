"""What the event handlers of the sync have in common: the queue's events, how a sync ends, its line in the audit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.errors import InvalidInput, without_quotes
from services.core.log import log
from services.core.metrics import SYNCS
from services.vmh_sync.store import AuditEntry, SyncStore

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
) -> None:
    """Write a sync's line into the audit and into the log (there without values).

    A check that found nothing to do leaves no line in the audit, or its size would grow with time instead of changes;
    nor does an event that another run takes care of.
    ``topic`` is the queue's, such as ``vmh.beteiligte.update``; ``started`` is `time.perf_counter` at the beginning.
    """
    duration_ms = round((time.perf_counter() - started) * 1000, 1)
    trace_id = getattr(context, "trace_id", None)
    entry = AuditEntry(
        entity_type,
        event.entity_id,
        topic,
        event.source,
        outcome.result,
        duration_ms,
        outcome.advoware_id,
        outcome.changes,
        without_quotes(outcome.error) if outcome.error else None,
        trace_id,
    )
    is_news = outcome.result != "busy" and (
        event.source != "cron" or outcome.result not in NOTHING_DONE
    )
    if is_news:
        await store.append_audit(entry, now)
    SYNCS.labels(topic.split(".")[1], outcome.result).inc()
    log(
        context,
        "error" if outcome.error else "info",
        f"{topic.split('.')[1]}.synced",
        entity_id=event.entity_id,
        topic=topic,
        result=outcome.result,
        duration_ms=duration_ms,
        error=(outcome.error or "").partition(":")[0]
        or None,  # the class; foreign words may name people
    )
