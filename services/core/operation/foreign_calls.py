"""The way of every request to a foreign system: no write while everything is read only, or while it is paused."""

from __future__ import annotations

from services.core.errors import ReadOnly
from services.core.http import HttpAnswer
from services.core.operation import pause
from services.core.resources import Resources
from services.core.write_guard import ForeignRequest, Send


async def carried(
    resources: Resources,
    request: ForeignRequest,
    send: Send,
) -> HttpAnswer:
    """The answer to a request, by way of the guard if there is one.

    Raises:
        ReadOnly, Paused: the request is a write, and must not be sent.
        BitByLawError: what ``send`` or the guard raises.
    """

    async def send_unless_read_only() -> HttpAnswer:
        if request.is_write and resources.settings.service.read_only:
            raise _read_only()
        return await send()

    if resources.guard is not None:
        return await resources.guard.carry(request, send_unless_read_only)
    if request.is_write:
        await require_writable(resources)
    return await send()


async def require_still_writable(resources: Resources, request: ForeignRequest) -> None:
    """Before each further try of a request that is carried as a whole: a pause may have begun since.

    Raises:
        ReadOnly, Paused: the request is a write, and must not be sent.
    """
    if resources.guard is None and request.is_write:
        await require_writable(resources)


async def require_writable(resources: Resources) -> None:
    """Refuse a write to a foreign system.

    Raises:
        ReadOnly: nothing is written at all.
        Paused: the work that it belongs to is paused; its job is kept.
    """
    if resources.settings.service.read_only:
        raise _read_only()
    await pause.require_writable(resources)


def _read_only() -> ReadOnly:
    return ReadOnly("BITBYLAW_READ_ONLY is on: nothing is written")
