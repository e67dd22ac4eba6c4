"""The way of every request to EspoCRM and Advoware: through the guard if there is one, and no write while paused."""

from __future__ import annotations

from services.core.http import HttpAnswer
from services.core.pause import require_writable
from services.core.resources import Resources
from services.core.write_guard import ForeignRequest, Send


async def carried(
    resources: Resources, request: ForeignRequest, send: Send
) -> HttpAnswer:
    """The answer to a request, by way of the guard if there is one.

    Raises:
        Paused: the request is a write, and the work that it belongs to is paused.
        BitByLawError: what ``send`` or the guard raises.
    """
    if resources.guard is not None:
        return await resources.guard.carry(request, send)
    if request.is_write:
        await require_writable(resources)
    return await send()
