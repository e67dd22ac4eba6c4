"""EspoCRM's webhooks: check the sender, find the ids, enqueue each waiting id once, answer fast.

A webhook is only a hint that a record changed. The handler reads the record itself, and the cron finds it again if the
hint is lost. What the statuses make EspoCRM do is in specification 03: 401 and 503 are sent again, 400 is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from redis.exceptions import RedisError

from services.api.access import AccessDenied, admit_espocrm
from services.core.errors import InvalidInput, Unavailable
from services.core.log import log
from services.core.queue import Enqueue, NotEnqueued, enqueue_all
from services.core.resources import Resources, current_resources

Action = Literal["create", "update", "delete"]
Answer = tuple[int, dict[str, Any]]

ENTITY_ID = re.compile(r"[0-9A-Za-z-]{1,36}")
#: A mark left behind by a crash must be gone when EspoCRM sends the batch again, ten minutes later.
WAITING_MARK_SECONDS = 5 * 60
#: EspoCRM waits ten seconds for the answer.
ENQUEUE_SECONDS = 7.0
#: Until the queue has confirmed the event, its mark is this much longer than the time for enqueueing and no more: a
#: Redis that stalls may set it after we have given up, and a worker may die in between.
UNCONFIRMED_SECONDS = 3


def waiting_key(topic: str, entity_id: str) -> str:
    """The Redis key that says: an event of this topic for this record is waiting in the queue."""
    return f"{topic}:waiting:{entity_id}"


async def receive_batch(request: Any, enqueue: Enqueue, *, topic: str, action: Action, context: Any) -> Answer:
    """Take one delivery: enqueue ``{"entity_id", "action", "source", "timestamp"}`` for each id not yet waiting.

    Returns status and body: 200 with the counts, 400 for a body without a usable id, 401 for a wrong sender, 503 if
    Redis or the queue is down, so that EspoCRM sends the batch again.
    """
    resources = current_resources()
    try:
        await admit_espocrm(request, resources, context)
        ids = entity_ids(request.body)
        timestamp = resources.clock().isoformat()
        events = {
            entity_id: {"entity_id": entity_id, "action": action, "source": "webhook", "timestamp": timestamp}
            for entity_id in ids
        }
        new_ids = await enqueue_unless_waiting(
            resources, enqueue, topic, events, mark_seconds=WAITING_MARK_SECONDS, timeout_seconds=ENQUEUE_SECONDS
        )
    except AccessDenied as error:
        return 401, {"error": "Unauthorized", "details": str(error)}
    except InvalidInput as error:
        log(context, "warning", "webhook.invalid", topic=topic)
        return 400, {"error": "Invalid webhook body", "details": str(error)}
    except Unavailable as error:
        log(context, "error", "webhook.unavailable", topic=topic, reason=str(error))
        return 503, {"error": "Temporarily unavailable", "details": str(error)}
    log(context, "info", "webhook.received", topic=topic, new_ids=len(new_ids), ids=len(ids))
    return 200, {
        "status": "received",
        "action": action,
        "new_ids_count": len(new_ids),
        "total_ids_in_batch": len(ids),
    }


def entity_ids(body: Any) -> list[str]:
    """The distinct valid ids of a batch (a JSON array of records, or one record), in order.

    Raises:
        InvalidInput: no JSON, or no usable id.
    """
    if body is None:
        raise InvalidInput("the body must be a JSON array of records (Content-Type: application/json)")
    records = [body] if isinstance(body, Mapping) else body
    if not isinstance(records, list):
        raise InvalidInput("the body must be a JSON array of records")
    found = [record.get("id") for record in records if isinstance(record, Mapping)]
    ids = list(dict.fromkeys(item for item in found if isinstance(item, str) and ENTITY_ID.fullmatch(item)))
    if not ids:
        raise InvalidInput("no record with a usable id")
    return ids


async def enqueue_unless_waiting(
    resources: Resources,
    enqueue: Enqueue,
    topic: str,
    events: Mapping[str, dict[str, Any]],
    *,
    mark_seconds: int,
    timeout_seconds: float,
) -> list[str]:
    """Enqueue the events whose ids do not wait in the queue already, and mark them as waiting; returns their ids.

    The handler takes the mark back, whatever becomes of the event (`forget_waiting`); a lost event's mark ends after
    ``mark_seconds``. What was not confirmed is not marked, so that a repeated batch is not mistaken.

    Raises:
        NotEnqueued, Unavailable: the queue or Redis is down.
    """
    new = await _mark_waiting(resources, topic, list(events), round(timeout_seconds) + UNCONFIRMED_SECONDS)
    try:
        await enqueue_all(enqueue, topic, (events[entity_id] for entity_id in new), timeout_seconds=timeout_seconds)
    except NotEnqueued as error:
        await forget_waiting(resources, topic, *new[error.confirmed :])
        await _confirm_waiting(resources, topic, new[: error.confirmed], mark_seconds)
        raise
    await _confirm_waiting(resources, topic, new, mark_seconds)
    return new


async def _mark_waiting(resources: Resources, topic: str, ids: list[str], seconds: int) -> list[str]:
    """Mark the ids as waiting for so many seconds; returns those that were not yet.

    Raises:
        Unavailable: Redis does not answer.
    """
    try:
        async with resources.redis.pipeline(transaction=True) as pipeline:
            for entity_id in ids:
                pipeline.set(waiting_key(topic, entity_id), "1", nx=True, ex=seconds)
            marked = await pipeline.execute()
    except RedisError as error:
        raise Unavailable("Redis", "cannot be reached") from error
    return [entity_id for entity_id, is_new in zip(ids, marked, strict=True) if is_new]


async def _confirm_waiting(resources: Resources, topic: str, ids: list[str], seconds: int) -> None:
    """Keep the marks of events that are in the queue now; a mark that the handler has taken back already stays away."""
    try:
        async with resources.redis.pipeline(transaction=True) as pipeline:
            for entity_id in ids:
                pipeline.expire(waiting_key(topic, entity_id), seconds)
            await pipeline.execute()
    except RedisError:
        log(None, "warning", "webhook.marks_not_confirmed", topic=topic, ids=len(ids))


async def forget_waiting(resources: Resources, topic: str, *ids: str) -> None:
    """Take back the marks of waiting events.

    To be called before anything else is done with an event: however it ends, no mark keeps the next one out, and an
    edit made from here on gets an event of its own.
    """
    if not ids:
        return
    try:
        await resources.redis.delete(*(waiting_key(topic, entity_id) for entity_id in ids))
    except RedisError:
        log(None, "warning", "webhook.mark_not_removed", topic=topic, ids=len(ids))
