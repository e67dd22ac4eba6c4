"""One way to make an HTTP request: bounded in time and size, with typed errors instead of network exceptions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.errors import Unavailable, UnexpectedAnswer, UpstreamTimeout

MAX_ANSWER_BYTES = 32 * 2**20
MAX_CONNECTIONS_PER_HOST = 8
CONNECT_TIMEOUT_SECONDS = 5.0

Params = Mapping[str, str] | list[tuple[str, str]]


@dataclass(frozen=True)
class HttpAnswer:
    """A complete HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        """The body as text; undecodable bytes are replaced."""
        return self.body.decode("utf-8", errors="replace")

    def json(self, system: str) -> Any:
        """The decoded JSON body, None for an empty one.

        Raises:
            UnexpectedAnswer: the body is not JSON.
        """
        if not self.body.strip():
            return None
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise UnexpectedAnswer(system, "the answer is not valid JSON", status=self.status) from error


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
) -> HttpAnswer:
    """Send one request and read the whole answer, whatever its status. Redirects are not followed.

    Raises:
        UpstreamTimeout: no complete answer within ``timeout_seconds`` (waiting for a free connection included).
        Unavailable: the system cannot be reached or cut the connection; see its ``was_sent``.
        UnexpectedAnswer: the answer is larger than `MAX_ANSWER_BYTES`.
    """
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            session.request(
                method, url, headers=headers, params=params, json=json_data, allow_redirects=False
            ) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_chunked(2**16):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise UnexpectedAnswer(system, "the answer is too large", status=response.status)
            return HttpAnswer(response.status, response.headers.copy(), bytes(body))
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        unreachable = Unavailable(system, "cannot be reached")
        unreachable.was_sent = False
        raise unreachable from error
    except TimeoutError as error:
        raise UpstreamTimeout(system, f"no answer within {timeout_seconds:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(system, f"connection lost ({type(error).__name__})") from error
