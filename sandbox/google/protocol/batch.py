"""Batch requests: many calls of the API in one ``multipart/mixed`` request.

Every part is sent to the twin itself as a request of its own, so it meets the same faults, counts for the quota and
stands in the journal like any other; the batch stands there too. Google's documentation and client library limit a
batch to 1000 calls.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.google.errors import ApiError, not_found

MAX_CALLS: Final = 1000
#: A part that takes longer (a fault that hangs) ends the whole batch.
PART_SECONDS: Final = 120

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
#: Belong to the connection or to the batch as a whole; all other headers of the batch hold for every part.
_OWN_HEADERS: Final = frozenset(
    {"accept-encoding", "connection", "host", "transfer-encoding", "user-agent"},
)


#: The headers of an answer that its part of the batch shows.
_ANSWERED_HEADERS: Final = frozenset(
    {"etag", "retry-after", "www-authenticate", "content-type"},
)


@dataclass(frozen=True)
class _Part:
    content_id: str | None
    method: str
    target: str  #: path and query, encoded
    headers: dict[str, str]
    body: bytes


async def answer_batch(
    request: web.Request,
    url: str,
    prefix: str,
) -> web.StreamResponse:
    """Make the calls one after the other.

    Args:
        request: the batch.
        url: base URL of the twin.
        prefix: path under which the calls must lie.

    Raises:
        ApiError: 400; it is no batch, or too large.
    """
    content_type = request.headers.get("Content-Type", "")
    content = await request.read()
    parts = [_read_part(part) for part in _split(content_type, content)]
    shared = _shared_headers(request)
    boundary = f"batch_{secrets.token_urlsafe(24)}"
    delimiter = f"--{boundary}\r\n".encode()
    chunks = []
    try:
        # A connection for each part: on a used one, aiohttp would repeat a part whose connection a fault cuts.
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=PART_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
        ) as session:
            for part in parts:
                answer = await _carry_out(session, part, shared, url, prefix)
                chunks.append(delimiter + answer)
    except (TimeoutError, aiohttp.ClientError):
        # A fault has cut the connection of a part; the caller has only this one.
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=499)
    chunks.append(f"--{boundary}--\r\n".encode())
    return web.Response(
        body=b"".join(chunks),
        headers={"Content-Type": f"multipart/mixed; boundary={boundary}"},
    )


def _shared_headers(request: web.Request) -> dict[str, str]:
    """The headers of a batch that hold for all its parts."""
    shared = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in _OWN_HEADERS and not lower.startswith("content-"):
            shared[name] = value
    return shared


def _split(content_type: str, body: bytes) -> list[Message]:
    head = f"Content-Type: {content_type}\r\n\r\n"
    message = BytesParser().parsebytes(head.encode() + body)
    if message.get_content_type() != "multipart/mixed":
        raise _unreadable_batch()
    if not message.is_multipart():
        raise _unreadable_batch()
    parts = []
    for part in message.get_payload():
        if isinstance(part, Message):
            parts.append(part)
    if len(parts) > MAX_CALLS:
        raise _bad_batch(f"The batch request exceeds the maximum of {MAX_CALLS} calls.")
    return parts


def _read_part(part: Message) -> _Part:
    content = part.get_payload(decode=True)
    if part.get_content_type() != "application/http":
        raise _unreadable_batch()
    if not isinstance(content, bytes):
        raise _unreadable_batch()
    request_line, _, rest = content.partition(b"\n")
    method, target = _method_and_target(request_line)
    inner = BytesParser().parsebytes(rest)
    body = inner.get_payload(decode=True)
    if not isinstance(body, bytes):
        body = b""
    given = {}
    for name, value in inner.items():
        given[name] = str(value)
    return _Part(
        content_id=part["Content-ID"],
        method=method,
        target=target,
        headers=_without(given, {"content-length", "host"}),
        body=body,
    )


def _method_and_target(request_line: bytes) -> tuple[str, str]:
    words = request_line.decode("latin-1").split()
    if len(words) < 2:
        raise _unreadable_batch()
    method, target = words[:2]
    if method not in _METHODS:
        raise _unreadable_batch()
    return method, target


def _unreadable_batch() -> ApiError:
    return _bad_batch("Failed to parse batch request.")


def _without(headers: dict[str, str], names: set[str]) -> dict[str, str]:
    """Headers without those of these names, which are in lower case."""
    kept = {}
    for name, value in headers.items():
        if name.lower() not in names:
            kept[name] = value
    return kept


async def _carry_out(
    session: aiohttp.ClientSession,
    part: _Part,
    shared: dict[str, str],
    url: str,
    prefix: str,
) -> bytes:
    """The part of the answer that belongs to one part of the request, without the boundary before it."""
    if not part.target.startswith(f"{prefix}/"):
        return _refused_part(part)
    own_names = {name.lower() for name in part.headers}
    headers = _without(shared, own_names) | part.headers
    async with session.request(
        part.method,
        URL(f"{url}{part.target}", encoded=True),
        headers=_without(headers, {"accept-encoding", "mime-version"}),
        data=part.body,
    ) as answer:
        return _write_part(
            part,
            answer.status,
            answer.reason or "",
            answer.headers,
            await answer.read(),
        )


def _refused_part(part: _Part) -> bytes:
    """The answer to a part that asks for something else than this API."""
    refusal = not_found().json_response()
    content = b""
    if isinstance(refusal.body, bytes):
        content = refusal.body
    return _write_part(part, refusal.status, "Not Found", refusal.headers, content)


def _write_part(
    part: _Part,
    status: int,
    reason: str,
    headers: Mapping[str, str],
    body: bytes,
) -> bytes:
    lines = ["Content-Type: application/http"]
    if part.content_id is not None:
        answered = part.content_id.replace("<", "<response-", 1)
        lines.append(f"Content-ID: {answered}")
    lines.append("")
    lines.append(f"HTTP/1.1 {status} {reason}")
    for name, value in headers.items():
        if name.lower() in _ANSWERED_HEADERS:
            lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines)
    return f"{head}\r\n\r\n".encode() + body + b"\r\n"


def _bad_batch(message: str) -> ApiError:
    return ApiError(400, "badRequest", message)
