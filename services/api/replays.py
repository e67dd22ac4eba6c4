"""Signed webhooks that come again and again.

EspoCRM signs the body only: no time, no number. So a copy that another person has recorded looks like the original, and
an original may look like an earlier one (a value that was changed, changed back, and changed again). A webhook is only
a hint to look at records, so a copy can cause nothing but another look. What is limited here is how many looks; an
original among the copies is not lost, because EspoCRM sends it again.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from services.api.access import php_json
from services.core.errors import Unavailable
from services.core.resources import Resources
from services.core.store_errors import redis_errors

#: EspoCRM repeats what was not taken after ten minutes, so within them it sends the same body for new changes only.
WINDOW_SECONDS = 600
MAX_DELIVERIES = 3


class Repeated(Unavailable):
    """The same signed body has come too often; EspoCRM sends what is no copy once more after ten minutes."""

    def __init__(self) -> None:
        super().__init__("webhook", "the same signed batch came too often; later again")


def received_key(topic: str, mac: str) -> str:
    """The Redis key that counts a body."""
    return f"webhook:received:{topic}:{mac}"


async def is_repeated(resources: Resources, topic: str, body: Any) -> bool:
    """Count a signed body; whether it has come to this topic more often than people cause it.

    The memory is bounded: only bodies whose signature is right are counted, each for ten minutes.

    Raises:
        Unavailable: Redis does not answer.
    """
    key = received_key(topic, _mac(resources, body))
    with redis_errors():
        async with resources.redis.pipeline(transaction=True) as pipeline:
            pipeline.set(key, 0, ex=WINDOW_SECONDS, nx=True)
            pipeline.incr(key)
            _, count = await pipeline.execute()
    return int(count) > MAX_DELIVERIES


def _mac(resources: Resources, body: Any) -> str:
    """A name for the body. With a key, because a body holds values of a person, which a plain hash would let guess."""
    secrets = sorted(resources.settings.espocrm.webhook_keys.values())
    return hmac.new(
        "".join(secrets).encode(),
        php_json(body),
        hashlib.sha256,
    ).hexdigest()
