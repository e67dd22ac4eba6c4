"""Pending events: each record waits in the queue once. Events are enqueued here, and claimed by their handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from redis.exceptions import RedisError

from services.core.jobs.queue import Enqueue, NotEnqueued, enqueue_all
from services.core.log import log
from services.core.resources import Resources
from services.core.store_errors import redis_errors

#: Until the queue has confirmed the event, its pending key lives this much longer than enqueueing may take, and no
#: longer: a Redis that stalls may set it after we have given up, and a worker may die in between.
UNCONFIRMED_SECONDS = 3


def pending_key(topic: str, entity_id: str) -> str:
    """The Redis key that exists while an event of this topic for this record is pending in the queue."""
    return f"{topic}:waiting:{entity_id}"


async def enqueue_unless_pending(
    resources: Resources,
    enqueue: Enqueue,
    topic: str,
    events: Mapping[str, dict[str, Any]],
    *,
    pending_seconds: int,
    timeout_seconds: float,
) -> list[str]:
    """Enqueue the events that are not pending yet, and set their pending keys; returns their ids.

    The handler deletes the key, whatever becomes of the event (`claim_pending`); a lost event's key expires after
    ``pending_seconds``. What was not confirmed has no key, so that a repeated batch is enqueued.

    Raises:
        NotEnqueued, Unavailable: the queue or Redis is down.
    """
    unconfirmed_seconds = round(timeout_seconds) + UNCONFIRMED_SECONDS
    new = await _set_pending(resources, topic, list(events), unconfirmed_seconds)
    payloads = [events[entity_id] for entity_id in new]
    try:
        await enqueue_all(enqueue, topic, payloads, timeout_seconds=timeout_seconds)
    except NotEnqueued as error:
        confirmed = new[: error.confirmed]
        failed = new[error.confirmed :]
        await claim_pending(resources, topic, *failed)
        await _confirm_pending(resources, topic, confirmed, pending_seconds)
        raise
    _in_background(_confirm_pending(resources, topic, new, pending_seconds))
    return new


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    """Do what no one has to wait for: a key that is not confirmed only expires earlier."""
    task = asyncio.create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _set_pending(
    resources: Resources,
    topic: str,
    ids: list[str],
    seconds: int,
) -> list[str]:
    """Set the pending keys of the ids for so many seconds; returns the ids that had none.

    Raises:
        Unavailable: Redis does not answer.
    """
    with redis_errors():
        async with resources.redis.pipeline(transaction=True) as pipeline:
            for entity_id in ids:
                pipeline.set(pending_key(topic, entity_id), "1", nx=True, ex=seconds)
            were_set = await pipeline.execute()
    return [
        entity_id for entity_id, is_new in zip(ids, were_set, strict=True) if is_new
    ]


async def _confirm_pending(
    resources: Resources,
    topic: str,
    ids: list[str],
    seconds: int,
) -> None:
    """Keep the keys of events that are in the queue now; a key that the handler has deleted already stays deleted."""
    try:
        async with resources.redis.pipeline(transaction=True) as pipeline:
            for entity_id in ids:
                pipeline.expire(pending_key(topic, entity_id), seconds)
            await pipeline.execute()
    except RedisError:
        log(
            None,
            "warning",
            "webhook.pending_keys_not_confirmed",
            topic=topic,
            ids=len(ids),
        )


async def claim_pending(resources: Resources, topic: str, *ids: str) -> None:
    """Delete the pending keys of events whose handling begins.

    To be called before anything else is done with an event: however it ends, no key blocks the next event, and an edit
    made from here on gets an event of its own.
    """
    if not ids:
        return
    keys = [pending_key(topic, entity_id) for entity_id in ids]
    try:
        await resources.redis.delete(*keys)
    except RedisError:
        log(
            None,
            "warning",
            "webhook.pending_keys_not_removed",
            topic=topic,
            ids=len(ids),
        )
