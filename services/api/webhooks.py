"""EspoCRM's webhooks: check the sender, find the ids, enqueue each waiting id once, answer fast.

A webhook is only a hint that a record changed. The handler reads the record itself, and the cron finds it again if the
hint is lost. What the statuses make EspoCRM do is in specification 03: 401 and 503 are sent again, 400 is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeGuard

from services.api.access import admit_espocrm
from services.api.errors import AccessDenied, Answer, error_answer
from services.api.replays import Repeated, is_repeated
from services.core.errors import InvalidInput, Unavailable
from services.core.jobs.pending import enqueue_unless_pending
from services.core.jobs.queue import Enqueue
from services.core.log import log
from services.core.resources import current_resources

Action = Literal["create", "update", "delete"]

ENTITY_ID = re.compile(r"[0-9A-Za-z-]{1,36}")
#: A pending key left behind by a crash must be gone when EspoCRM sends the batch again, ten minutes later.
PENDING_SECONDS = 5 * 60
#: EspoCRM waits ten seconds for the answer.
ENQUEUE_SECONDS = 7.0


async def receive_batch(
    request: Any,
    enqueue: Enqueue,
    *,
    topic: str,
    action: Action,
    context: Any,
) -> Answer:
    """Take one delivery: enqueue ``{"entity_id", "action", "source", "timestamp"}`` for each id not yet waiting.

    Returns status and body: 200 with the counts, 400 for a body without a usable id, 401 for a wrong sender, 503 if
    Redis or the queue is down, or if a signed body comes again and again (`services.api.replays`): EspoCRM sends the
    batch once more later.
    """
    resources = current_resources()
    try:
        is_signed = await admit_espocrm(request, resources, context)
        ids = entity_ids(request.body)
        if is_signed and await is_repeated(resources, topic, request.body):
            log(context, "warning", "webhook.repeated", topic=topic, ids=len(ids))
            return error_answer(Repeated())
        events = _events(ids, action, resources.clock().isoformat())
        new_ids = await enqueue_unless_pending(
            resources,
            enqueue,
            topic,
            events,
            pending_seconds=PENDING_SECONDS,
            timeout_seconds=ENQUEUE_SECONDS,
        )
    except AccessDenied as error:
        return error_answer(error)
    except InvalidInput as error:
        log(context, "warning", "webhook.invalid", topic=topic)
        return error_answer(error, title="Invalid webhook body")
    except Unavailable as error:
        log(context, "error", "webhook.unavailable", topic=topic, reason=str(error))
        return error_answer(error)
    log(
        context,
        "info",
        "webhook.received",
        topic=topic,
        new_ids=len(new_ids),
        ids=len(ids),
    )
    return 200, {
        "status": "received",
        "action": action,
        "new_ids_count": len(new_ids),
        "total_ids_in_batch": len(ids),
    }


def _events(
    ids: list[str],
    action: Action,
    timestamp: str,
) -> dict[str, dict[str, Any]]:
    return {
        entity_id: {
            "entity_id": entity_id,
            "action": action,
            "source": "webhook",
            "timestamp": timestamp,
        }
        for entity_id in ids
    }


def entity_ids(body: Any) -> list[str]:
    """The distinct valid ids of a batch (a JSON array of records, or one record), in order.

    Raises:
        InvalidInput: no JSON, or no usable id.
    """
    records = _records_of(body)
    found = [record.get("id") for record in records if isinstance(record, Mapping)]
    ids = [item for item in found if is_entity_id(item)]
    if not ids:
        raise InvalidInput("no record with a usable id")
    return list(dict.fromkeys(ids))


def _records_of(body: Any) -> list[Any]:
    if body is None:
        raise InvalidInput(
            "the body must be a JSON array of records (Content-Type: application/json)",
        )
    records = [body] if isinstance(body, Mapping) else body
    if not isinstance(records, list):
        raise InvalidInput("the body must be a JSON array of records")
    return records


def is_entity_id(value: Any) -> TypeGuard[str]:
    """Whether a value looks like the id of a record in EspoCRM."""
    return isinstance(value, str) and ENTITY_ID.fullmatch(value) is not None
