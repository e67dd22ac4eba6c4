"""Limits for the clients of both ports: how many connections, and how long each may keep the engine waiting.

A client that sends its head or body slowly, or reads its answer slowly, costs a connection and nothing else. At the
limit a new connection takes the place of the one that has kept the engine waiting longest, so that an honest client is
served while others hold as many connections as they can get. A request whose handler is at work is never given up.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from local_engine.logs import log_event

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
LOG_SECONDS = 1.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Limits:
    """What each client may take.

    Attributes:
        connections: on one port at the same time.
        head_seconds: from the first byte of a request, or from connecting, to the end of its headers.
        idle_seconds: between two requests of a connection, and for taking an answer.
        line_bytes: for the request line, and for each header.
        headers: how many a request may have.
        head_bytes: for all headers together.
    """

    connections: int = 2_048
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    line_bytes: int = 8_190
    headers: int = 128
    head_bytes: int = 65_536


DEFAULT_LIMITS = Limits()
#: Open files that are no connections of clients: the database, logs, the program itself.
OTHER_FILES = 128


def allow_files(limits: Limits) -> Limits:
    """Let this process open as many files as both ports may have connections; if that is too many, allow fewer.

    Otherwise the operating system would refuse new connections before the limit gives up an old one for them.
    """
    needed = 2 * limits.connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return limits
    most = needed
    if hard != resource.RLIM_INFINITY:
        most = min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    if most >= needed:
        return limits
    left = most - OTHER_FILES
    connections = max(1, left // 2)
    log_event("engine.few_files", logging.WARNING, connections=connections)
    return replace(limits, connections=connections)


class LimitedServer(web.Server):
    """An HTTP server that keeps its `Limits`."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        super().__init__(
            self._serve,
            access_log=None,
            auto_decompress=False,
            max_line_size=limits.line_bytes,
            max_field_size=limits.line_bytes,
            max_headers=limits.headers,
            keepalive_timeout=limits.idle_seconds,
        )
        self._handler = handler
        self.limits = limits
        #: Open connections; the one whose latest answer is longest ago comes first.
        self._open: dict[_Connection, None] = {}
        self._dropped = 0  #: so far, for connections that came when there were too many
        self._logged_at = float("-inf")

    def __call__(self) -> RequestHandler:
        """A protocol for one connection."""
        return _Connection(self, loop=self._loop, **self._kwargs)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(_Connection, request.protocol)
        connection.begin(request)
        try:
            return await self._handler(request)
        finally:
            connection.end()
            if connection in self._open:
                self._open[connection] = self._open.pop(connection)

    def opened(self, connection: _Connection) -> None:
        """Take in a new connection, in the place of another one if there are too many."""
        self._open[connection] = None
        if len(self._open) <= self.limits.connections:
            return
        waiting = next(filter(_Connection.is_waiting, self._open))
        del self._open[waiting]
        waiting.drop()
        self._dropped += 1
        now = self._loop.time()
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log_event("http.connections_dropped", logging.WARNING, count=self._dropped)

    def closed(self, connection: _Connection) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)


class _Connection(RequestHandler):
    """One connection, and how long its client may keep the engine waiting."""

    __slots__ = ("_head_bytes", "_in_head", "_request", "_server", "_timer", "_unread")

    def __init__(self, server: LimitedServer, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._request: web.BaseRequest | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._head_bytes = True, 0
        #: The body of a request that had its answer before all of it had come.
        self._unread: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._limit(self._server.limits.head_seconds)
        self._server.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self._limit(None)
        self._server.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what belongs to headers is counted."""
        if self._unread is not None and self._unread.is_eof():
            self._unread = None
            self._await_head()
        if self._in_head and self._head_bytes == 0:
            self._limit(self._server.limits.head_seconds)
        complete = self._request_count
        super().data_received(data)
        if self._request_count != complete:
            self._in_head, self._head_bytes = False, 0
        elif self._in_head:
            self._head_bytes += len(data)
            self._check_head()

    def _check_head(self) -> None:
        if self._head_bytes <= self._server.limits.head_bytes or self.transport is None:
            return
        self.transport.write(_TOO_LARGE)
        self.force_close()

    def begin(self, request: web.BaseRequest) -> None:
        """A request is complete but for its body."""
        self._request = request
        self._in_head = False
        self._limit(None)

    def end(self) -> None:
        """The request has its answer, which the client has to take now."""
        request = self._request
        self._request = None
        if request is not None and not request.content.is_eof():
            self._unread = request.content
        else:
            self._await_head()
        self._limit(self._server.limits.idle_seconds)

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = not self._messages, 0

    def is_waiting(self) -> bool:
        """Whether the engine waits for the client: for a request or the rest of its body."""
        return self._request is None or not self._request.content.is_eof()

    def drop(self) -> None:
        """End the connection at once, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()

    def _limit(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self.drop)
