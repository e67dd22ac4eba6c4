"""Creating a record in Advoware exactly once, although a request or its answer may be lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from services.advoware_service import require_request_over
from services.core.errors import ForeignSystemError
from services.core.resources import Resources
from services.values.sealed import has_sealed
from services.vmh_sync.store import CreateIntent, SyncStore

Made = TypeVar("Made")


async def create_once(
    intents: SyncStore,
    key: tuple[str, str],
    values: Mapping[str, Any],
    find: Callable[[CreateIntent], Awaitable[Made | None]],
    post: Callable[[], Awaitable[Made]],
    *,
    resources: Resources,
) -> Made:
    """Create a record, or find the one that an earlier attempt has created.

    The intent is stored before the request. It ends when the caller stores the link (`SyncStore.save`), once both sides
    have it; it ends here if the request has certainly changed nothing.

    Args:
        intents: where the intent is stored.
        key: EspoCRM's entity type and id of the record.
        values: what identifies the created record later.
        find: looks for what the attempt of an intent has left in Advoware. It is called only when the request of that
            attempt is over.
        post: makes the request.
        resources: clock and Advoware's timeout.

    Raises:
        NotBefore: the request of an earlier attempt may still be under way.
        ForeignSystemError: Advoware refuses the record or cannot be reached; and whatever ``find`` and ``post`` raise.
    """

    intent = await intents.begin_create(*key, values, resources.now())
    if intent.is_repeated:
        # An attempt whose id was noted has been answered.
        if intent.advoware_id is None:
            require_request_over(resources, intent.attempted_at)
        found = await find(intent)
        if found is not None:
            return found
        await intents.repeat_create(*key, values, resources.now())
    try:
        return await post()
    except ForeignSystemError as error:
        if error.changed_nothing:
            await intents.end_create(*key)
        raise


async def left_by_create(
    intents: SyncStore,
    key: tuple[str, str],
    find: Callable[[CreateIntent], Awaitable[Made | None]],
    *,
    resources: Resources,
) -> Made | None:
    """What a create has left in Advoware whose record is gone from EspoCRM before it was known to have succeeded.

    If it has left nothing, it ends here.

    Raises:
        NotBefore: the request may still be under way.
        ForeignSystemError: Advoware cannot be reached; and whatever ``find`` raises.
    """
    intent = await intents.open_create(*key)
    if intent is None:
        return None
    found = None
    if intent.advoware_id is None:
        require_request_over(resources, intent.attempted_at)
    # What was sent is not known any more once it was erased, and a person has looked into Advoware for that.
    if not has_sealed(intent.posted):
        found = await find(intent)
    if found is None:
        await intents.end_create(*key)
    return found
