"""Channels: byte streams between a worker and the engine, or between two workers, over sockets of their own.

A channel has a write end and a read end; each can be taken once. Text frames are control messages, binary frames are
data, a close ends it. At most ``buffer`` items wait in a channel, then the writing side is held back.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from typing import Any, Literal
from uuid import uuid4

from aiohttp import WSMsgType, web

from local_engine.worker_port.protocol import CHUNK_BYTES, MAX_RECEIVE_BYTES

Direction = Literal["read", "write"]
DEFAULT_BUFFER = 64
MAX_BUFFER = 1024
#: A channel with an end that no worker took is dropped after this time (seconds).
STALE_AFTER = 300.0
SWEEP_INTERVAL = 60.0
#: How long a worker may go on using its end of a channel that is needed no more (seconds).
DRAIN_TIME = 30.0
#: How long the engine waits for the other side's closing handshake (seconds).
CLOSE_TIMEOUT = 2.0


class End:
    """Marks the end of a channel; ``clean`` is False when the writer's connection was lost."""

    def __init__(self, *, clean: bool) -> None:
        self.clean = clean


Item = str | bytes | End


class Channel:
    """One channel; items are control texts, pieces of data and finally an End."""

    def __init__(self, owner_id: str | None, buffer: int) -> None:
        self.id = str(uuid4())
        self.access_key = str(uuid4())
        self.owner_id = owner_id
        self.created = time.monotonic()
        self.taken: dict[Direction, asyncio.Event] = {
            "read": asyncio.Event(),
            "write": asyncio.Event(),
        }
        self._items: asyncio.Queue[Item] = asyncio.Queue(buffer)
        self._discarding = False
        self._sockets: set[asyncio.Transport] = set()
        self._cutter: asyncio.TimerHandle | None = None

    @property
    def is_taken(self) -> bool:
        """Whether both ends have been connected."""
        return all(end.is_set() for end in self.taken.values())

    def ref(self, direction: Direction) -> dict[str, str]:
        """Return the reference a worker turns into its reader or writer."""
        return {
            "channel_id": self.id,
            "access_key": self.access_key,
            "direction": direction,
        }

    def take(self, direction: Direction) -> bool:
        """Claim an end; False when it was taken before."""
        if self.taken[direction].is_set():
            return False
        self.taken[direction].set()
        return True

    async def put(self, item: Item) -> None:
        """Add an item, waiting while the buffer is full; data is split into pieces of 64 KiB."""
        if isinstance(item, bytes) and len(item) > CHUNK_BYTES:
            for start in range(0, len(item), CHUNK_BYTES):
                end = start + CHUNK_BYTES
                await self.put(item[start:end])
        elif not self._discarding:
            await self._items.put(item)

    async def get(self) -> Item:
        """Return the next item, waiting for it."""
        return await self._items.get()

    def get_nowait(self) -> Item | None:
        """Return the next item if there is one."""
        return None if self._items.empty() else self._items.get_nowait()

    def discard(self) -> None:
        """There is no reader any more: drop what waits and whatever still comes, so that the writer is not held up."""
        self._discarding = True
        while not self._items.empty():
            self._items.get_nowait()

    def connected(self, transport: asyncio.Transport) -> None:
        """Note the socket of an end."""
        self._sockets.add(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """Forget the socket of an end."""
        self._sockets.discard(transport)
        if not self._sockets and self._cutter is not None:
            self._cutter.cancel()

    def abort(self) -> None:
        """Drop the sockets."""
        for transport in self._sockets:
            transport.abort()

    def abandon(self) -> None:
        """Discard what still comes and drop sockets that are not closed in time (the SDK forgets some)."""
        self.discard()
        if self._sockets and self._cutter is None:
            self._cutter = asyncio.get_running_loop().call_later(DRAIN_TIME, self.abort)


class Channels:
    """All channels, and the sockets on which workers take their ends."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        #: Channels with a connected end, also those that are no longer in use.
        self._connected: dict[asyncio.Transport, Channel] = {}

    def abort(self) -> None:
        """Drop all sockets, at the end of the engine."""
        for channel in list(self._connected.values()):
            channel.abort()

    def create(
        self,
        owner_id: str | None = None,
        buffer: int = DEFAULT_BUFFER,
    ) -> Channel:
        """Create a channel; with ``owner_id`` it ends with that worker's connection."""
        channel = Channel(owner_id, max(1, min(buffer, MAX_BUFFER)))
        self._channels[channel.id] = channel
        return channel

    def remove(self, channel: Channel) -> None:
        """Forget a channel; a worker that still writes to it is not cut off at once."""
        self._channels.pop(channel.id, None)
        channel.abandon()

    def remove_worker(self, worker_id: str) -> None:
        """Forget the channels a lost connection had created."""
        for channel in [
            known for known in self._channels.values() if known.owner_id == worker_id
        ]:
            self.remove(channel)

    async def sweep_forever(self) -> None:
        """Drop stale channels once a minute."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            limit = time.monotonic() - STALE_AFTER
            for channel in list(self._channels.values()):
                if channel.created < limit and not channel.is_taken:
                    self.remove(channel)

    def _find(self, channel_id: str, access_key: str) -> Channel | None:
        channel = self._channels.get(channel_id)
        if channel is None or not hmac.compare_digest(
            channel.access_key.encode(),
            access_key.encode(),
        ):
            return None
        return channel

    async def serve(
        self,
        request: web.BaseRequest,
        channel_id: str,
    ) -> web.StreamResponse:
        """Serve ``/ws/channels/{channel_id}?key=..&dir=..``; unknown or wrong key: 404 ``Channel not found``."""
        channel = self._find(channel_id, request.query.get("key", ""))
        if channel is None:
            return web.Response(status=404, text="Channel not found")
        direction: Direction = (
            "write" if request.query.get("dir") == "write" else "read"
        )
        socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=MAX_RECEIVE_BYTES,
            timeout=CLOSE_TIMEOUT,
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None or not channel.take(direction):
            await socket.close()
            return socket
        self._connected[transport] = channel
        channel.connected(transport)
        try:
            await (self._receive if direction == "write" else self._forward)(
                channel,
                socket,
            )
        finally:
            del self._connected[transport]
            channel.disconnected(transport)
        return socket

    async def _receive(self, channel: Channel, socket: web.WebSocketResponse) -> None:
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await channel.put(message.data)
        finally:
            await channel.put(End(clean=socket.close_code not in (None, 1006)))
            self._finished(channel)

    async def _forward(self, channel: Channel, socket: web.WebSocketResponse) -> None:
        sender = asyncio.create_task(_send_items(channel, socket))
        try:
            async for _ in socket:
                pass  # a reader sends nothing; this loop answers pings and sees the end of the connection
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            channel.discard()
            self._finished(channel)

    def _finished(self, channel: Channel) -> None:
        if channel.is_taken:
            self._channels.pop(channel.id, None)

    def create_for_worker(self, owner_id: str | None, buffer: int) -> dict[str, Any]:
        """Return the answer of ``engine::channels::create``."""
        channel = self.create(owner_id, buffer)
        return {"writer": channel.ref("write"), "reader": channel.ref("read")}


async def _send_items(channel: Channel, socket: web.WebSocketResponse) -> None:
    while True:
        item = await channel.get()
        if isinstance(item, End):
            break
        if isinstance(item, bytes):
            await socket.send_bytes(item)
        else:
            await socket.send_str(item)
    await socket.close()
