"""Pending events: each record waits in the queue once. Events are enqueued here, and claimed by their handlers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from services.core.errors import Unavailable
from services.core.log import log
from services.core.queue import Enqueue, NotEnqueued, enqueue_all
from services.core.resources import Resources

#: Until the queue has confirmed the event, its mark is this much longer than the time for enqueueing and no more: a
#: Redis that stalls may set it after we have given up, and a worker may die in between.
UNCONFIRMED_SECONDS = 3


def waiting_key(topic: str, entity_id: str) -> str:
    """The Redis key that says: an event of this topic for this record is waiting in the queue."""
    return f"{topic}:waiting:{entity_id}"


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
    new = await _mark_waiting(
        resources, topic, list(events), round(timeout_seconds) + UNCONFIRMED_SECONDS
    )
    try:
        await enqueue_all(
            enqueue,
            topic,
            (events[entity_id] for entity_id in new),
            timeout_seconds=timeout_seconds,
        )
    except NotEnqueued as error:
        await forget_waiting(resources, topic, *new[error.confirmed :])
        await _confirm_waiting(resources, topic, new[: error.confirmed], mark_seconds)
        raise
    await _confirm_waiting(resources, topic, new, mark_seconds)
    return new


async def _mark_waiting(
    resources: Resources, topic: str, ids: list[str], seconds: int
) -> list[str]:
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


async def _confirm_waiting(
    resources: Resources, topic: str, ids: list[str], seconds: int
) -> None:
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
        await resources.redis.delete(
            *(waiting_key(topic, entity_id) for entity_id in ids)
        )
    except RedisError:
        log(None, "warning", "webhook.mark_not_removed", topic=topic, ids=len(ids))
