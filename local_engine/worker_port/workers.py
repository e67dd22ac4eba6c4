"""Connected workers: their socket, their bounded outbound queue and what they reported about themselves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

from local_engine.errors import InvocationStoppedError

#: Messages waiting for one worker; whoever wants to send more waits, other workers are not affected.
OUTBOUND_LIMIT = 64


class WorkerConnection:
    """One WebSocket connection of a worker (the telemetry connection of the SDK is one, too)."""

    def __init__(self, socket: web.WebSocketResponse, request: web.BaseRequest) -> None:
        self.id = str(uuid4())
        self.remote = request.remote
        self.connected_at = datetime.now(UTC)
        #: What the worker sent to ``engine::workers::register``: its last message of the start-up sequence.
        self.metadata: dict[str, Any] | None = None
        #: Calls of this worker that are being answered.
        self.calls_in_progress = 0
        self._socket = socket
        self._transport = request.transport
        self._outbound: deque[str] = deque()
        self._filled = asyncio.Event()
        self._slots = asyncio.Semaphore(OUTBOUND_LIMIT)
        self._closed = False

    @property
    def ready(self) -> bool:
        """True once the worker has sent all of its functions and triggers."""
        return self.metadata is not None

    async def send(self, text: str) -> None:
        """Queue a message; waits while the queue is full. Raises InvocationStoppedError when the worker is gone."""
        await self._slots.acquire()
        if self._closed:
            self._slots.release()  # wakes the next one that waits
            raise InvocationStoppedError
        self._outbound.append(text)
        self._filled.set()

    async def write_messages(self) -> None:
        """Send queued messages until the connection ends."""
        while not self._closed:
            await self._filled.wait()
            self._filled.clear()
            while self._outbound and not self._closed:
                text = self._outbound.popleft()
                self._slots.release()
                try:
                    await self._socket.send_str(text)
                except ConnectionError:
                    self.abort()

    def abort(self) -> None:
        """Drop the connection without a close frame: after a close code 1000 or 1001 the SDK never reconnects."""
        if self._closed:
            return
        self._closed = True
        self._outbound.clear()
        self._filled.set()
        self._slots.release()
        if self._transport is not None:
            self._transport.abort()

    def describe(self) -> dict[str, Any]:
        """Return the part of ``engine::workers::list`` that the worker itself knows."""
        known = self.metadata or {}
        return {
            "id": self.id,
            "name": known.get("name"),
            "runtime": known.get("runtime"),
            "version": known.get("version"),
            "os": known.get("os"),
            "pid": known.get("pid"),
            "ip_address": self.remote,
            "status": "available" if self.ready else "connected",
            "connected_at_ms": int(self.connected_at.timestamp() * 1000),
        }


class Workers:
    """All live connections."""

    def __init__(self) -> None:
        self._by_id: dict[str, WorkerConnection] = {}

    def add(self, worker: WorkerConnection) -> None:
        """Remember a new connection."""
        self._by_id[worker.id] = worker

    def remove(self, worker: WorkerConnection) -> None:
        """Forget a connection."""
        self._by_id.pop(worker.id, None)

    def get(self, worker_id: str) -> WorkerConnection | None:
        """Return the connection with this id, if it is live."""
        return self._by_id.get(worker_id)

    def __iter__(self) -> Iterator[WorkerConnection]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)
