"""One way to make an HTTP request: bounded in time and size, with typed errors instead of network exceptions."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any

import aiohttp

from services.core.errors import Unavailable, UnexpectedAnswer, UpstreamTimeout
from services.core.foreign_text import read_json, without_surrogates
from services.core.metrics import TIMEOUT, UNREACHABLE, count_call

MAX_ANSWER_BYTES = 32 * 2**20
MAX_CONNECTIONS_PER_HOST = 8
CONNECT_TIMEOUT_SECONDS = 5.0

#: For a text in neither its declared charset nor UTF-8; the last one can read anything.
_LIKELY_CHARSETS = ("cp1252", "latin-1")

Params = Mapping[str, str] | list[tuple[str, str]]


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer; ``missing`` says why its body is not here, if it is not."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    missing: str = ""

    @property
    def media_type(self) -> str:
        """The content type in lower case, without parameters; empty without one."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def text(self) -> str:
        """The body as text: in the charset of its byte order mark, the declared one, UTF-8, or else Windows-1252."""
        for charset in (*self._charsets(), *_LIKELY_CHARSETS):
            try:
                return without_surrogates(self.body.decode(charset)).removeprefix(
                    "\ufeff",
                )
            except (LookupError, ValueError):
                continue
        raise AssertionError("latin-1 reads everything")

    def json(self, system: str) -> Any:
        """The decoded JSON body, None for an empty one; how it is read: `read_json`.

        Raises:
            UnexpectedAnswer: the body is not here, not JSON, or neither in the declared charset nor in UTF-8.
        """
        if self.missing:
            raise UnexpectedAnswer(system, self.missing, status=self.status)
        if not self.body.strip():
            return None
        for charset in self._charsets():
            try:
                text = self.body.decode(charset).removeprefix("\ufeff")
                if text.strip():
                    return read_json(text)
                return None
            except (LookupError, ValueError):
                continue
        raise UnexpectedAnswer(
            system,
            "the answer is not valid JSON",
            status=self.status,
        )

    def json_of_list(self, system: str) -> Any:
        """The decoded body of a list. Without a body, only "204 No Content" says that it has no items: then None.

        Raises:
            UnexpectedAnswer: there is no body, or as `json`.
        """
        is_silent = not self.missing and not self.body.strip()
        if is_silent and self.status != HTTPStatus.NO_CONTENT:
            raise UnexpectedAnswer(system, "the answer has no body", status=self.status)
        return self.json(system)

    def _charsets(self) -> list[str]:
        if self.body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return ["utf-16"]
        declaration = Message()
        declaration["Content-Type"] = self.headers.get("Content-Type", "")
        declared = declaration.get_content_charset()
        if declared:
            return [declared, "utf-8"]
        return ["utf-8"]


def new_session() -> aiohttp.ClientSession:
    """A client session with a bounded number of connections; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit_per_host=MAX_CONNECTIONS_PER_HOST),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
    )


async def send(
    session: aiohttp.ClientSession,
    system: str,
    method: str,
    url: Any,
    *,
    timeout_seconds: float,
    headers: Mapping[str, str] | None = None,
    params: Params | None = None,
    json_data: Any = None,
    body: bytes | None = None,
) -> HttpAnswer:
    """Send one request and read the whole answer, whatever its status. Redirects are not followed. It is counted.

    ``body`` is the JSON to send as bytes, ``json_data`` the same as a value; without either there is no content type.
    Of an answer larger than `MAX_ANSWER_BYTES` the body is `missing`.

    Raises:
        UpstreamTimeout: no complete answer within ``timeout_seconds`` (waiting for a free connection included).
        Unavailable: the system cannot be reached or cut the connection; see its ``was_sent``. Both have the answer's
            ``status`` if that had arrived.
    """
    content = body if json_data is None else json.dumps(json_data).encode()
    all_headers = dict(headers or {})
    if content is not None:
        all_headers = {"Content-Type": "application/json", **all_headers}
    try:
        answer = await _exchange(
            session,
            system,
            method,
            url,
            timeout_seconds,
            all_headers,
            params,
            content,
        )
    except Unavailable as error:
        is_timeout = isinstance(error, UpstreamTimeout)
        count_call(system, method, TIMEOUT if is_timeout else UNREACHABLE)
        raise
    count_call(system, method, answer.status)
    return answer


async def _exchange(
    session: aiohttp.ClientSession,
    system: str,
    method: str,
    url: Any,
    timeout_seconds: float,
    all_headers: Mapping[str, str],
    params: Params | None,
    content: bytes | None,
) -> HttpAnswer:
    status = None
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            session.request(
                method,
                url,
                headers=all_headers,
                params=params,
                data=content,
                skip_auto_headers=["Content-Type"],
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
            return await _read(response)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unavailable(system, "cannot be reached", was_sent=False) from error
    except TimeoutError as error:
        raise UpstreamTimeout(
            system,
            f"no complete answer within {timeout_seconds:.3g} s",
            status=status,
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(
            system,
            f"connection lost ({type(error).__name__})",
            status=status,
        ) from error


async def _read(response: aiohttp.ClientResponse) -> HttpAnswer:
    body = bytearray()
    async for chunk in response.content.iter_chunked(2**16):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            missing = f"the answer is too large (more than {MAX_ANSWER_BYTES} bytes)"
            return HttpAnswer(response.status, response.headers.copy(), b"", missing)
    return HttpAnswer(response.status, response.headers.copy(), bytes(body))
