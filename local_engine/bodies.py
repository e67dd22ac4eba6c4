"""Reading of HTTP request bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from local_engine.errors import PayloadTooLargeError
from local_engine.protocol import CHUNK_BYTES, MAX_PAYLOAD_BYTES


async def pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """Yield the raw body in pieces of at most 64 KiB.

    Answers ``Expect: 100-continue`` first, which older curl versions send with every larger POST.
    """
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    async for piece in request.content.iter_chunked(CHUNK_BYTES):
        yield piece


async def read_limited(request: web.BaseRequest) -> bytes:
    """Return the whole body. Raises PayloadTooLargeError above 1,000,000 bytes, before reading if that is announced."""
    announced = request.content_length or 0
    if announced > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError("request body", announced, MAX_PAYLOAD_BYTES)
    body = bytearray()
    async for piece in pieces(request):
        body += piece
        if len(body) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLargeError("request body", len(body), MAX_PAYLOAD_BYTES)
    return bytes(body)
