"""Reading of HTTP request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from aiohttp import web

from local_engine.errors import BodyTimeoutError, OverloadedError, PayloadTooLargeError
from local_engine.worker_port.protocol import CHUNK_BYTES, MAX_PAYLOAD_BYTES

#: How long a sender may take for a body that has to be complete before work on it begins (seconds).
BODY_SECONDS = 10.0
#: The largest body that is no JSON; it is handed on piece by piece.
MAX_STREAMED_BYTES = 16 * 2**20
#: What all unfinished bodies together may hold in memory.
MAX_UNFINISHED_BYTES = 64 * 2**20


async def _pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
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
        self,
        seconds: float = BODY_SECONDS,
        limit: int = MAX_UNFINISHED_BYTES,
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
        self.check_announced(request, MAX_PAYLOAD_BYTES)
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                aclosing(self.stream(request, MAX_PAYLOAD_BYTES)) as stream,
            ):
                async for piece in stream:
                    body += piece
        except TimeoutError as exc:
            raise BodyTimeoutError(self._seconds) from exc
        return bytes(body)

    async def stream(
        self,
        request: web.BaseRequest,
        most: int = MAX_STREAMED_BYTES,
    ) -> AsyncGenerator[bytes]:
        """Yield the body in pieces; until the generator is closed, what has come counts as unfinished.

        Raises:
            PayloadTooLargeError: it has more than so many bytes.
            OverloadedError: too much arrives at once.
        """
        size = 0
        try:
            async for piece in _pieces(request):
                size += len(piece)
                self.unfinished += len(piece)
                self._check(size, most)
                yield piece
        finally:
            self.unfinished -= size

    @staticmethod
    def check_announced(request: web.BaseRequest, most: int) -> None:
        """Refuse a body by its announced length. Raises PayloadTooLargeError."""
        announced = request.content_length or 0
        if announced > most:
            raise PayloadTooLargeError("request body", announced, most)

    def _check(self, size: int, most: int) -> None:
        if size > most:
            raise PayloadTooLargeError("request body", size, most)
        if self.unfinished > self._limit:
            raise OverloadedError("Too many request bodies arrive at once")
