"""Reading of HTTP request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from local_engine.errors import BodyTimeoutError, OverloadedError, PayloadTooLargeError
from local_engine.worker_port.protocol import CHUNK_BYTES, MAX_PAYLOAD_BYTES

#: How long a sender may take for a body that has to be complete before work on it begins (seconds).
BODY_SECONDS = 10.0
#: What all unfinished bodies together may hold in memory.
MAX_UNFINISHED_BYTES = 64 * 2**20


async def pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the raw body in pieces of at most 64 KiB.

    Answers ``Expect: 100-continue`` first, which older curl versions send with every larger POST.
    """
    if (
        request.headers.get("Expect", "").lower() == "100-continue"
        and request.transport is not None
    ):
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for piece in request.content.iter_chunked(CHUNK_BYTES):
        yield piece


class Bodies:
    """Reads bodies whole, within limits for each of them and for all together."""

    def __init__(
        self, seconds: float = BODY_SECONDS, limit: int = MAX_UNFINISHED_BYTES
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self.unfinished = 0  #: bytes of bodies that are not whole yet

    async def read(self, request: web.BaseRequest) -> bytes:
        """Return the whole body.

        Raises:
            PayloadTooLargeError: above 1,000,000 bytes, before reading if that is announced.
            BodyTimeoutError: it did not arrive in time.
            OverloadedError: too much arrives at once.
        """
        announced = request.content_length or 0
        if announced > MAX_PAYLOAD_BYTES:
            raise PayloadTooLargeError("request body", announced, MAX_PAYLOAD_BYTES)
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in pieces(request):
                    self.unfinished += len(piece)
                    body += piece
                    self._check(len(body))
        except TimeoutError as exc:
            raise BodyTimeoutError(self._seconds) from exc
        finally:
            self.unfinished -= len(body)
        return bytes(body)

    def _check(self, size: int) -> None:
        if size > MAX_PAYLOAD_BYTES:
            raise PayloadTooLargeError("request body", size, MAX_PAYLOAD_BYTES)
        if self.unfinished > self._limit:
            raise OverloadedError("Too many request bodies arrive at once")
