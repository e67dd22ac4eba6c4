"""Composition of an HTTP answer from a function's result and its response channel.

The worker delivers an ordinary answer twice: as control texts and bytes on the channel and as the invocation's result.
v0.8.3 lets the two race, so that headers, content type and status differ from run to run. Here the outcome does not
depend on timing: status from ``set_status``, else from the result, else 200; headers from both; the body from the
result when it has one, else the channel's bytes; content type ``application/json`` for a body from the result unless
set.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from local_engine.errors import EngineError
from local_engine.worker_port.channels import Channel, End, Item
from local_engine.worker_port.protocol import MAX_RECEIVE_BYTES, dumps, loads

#: The first bytes of an ordinary answer may overtake its result by a moment; a streaming answer waits this long (s).
RESULT_GRACE = 1.0
#: The SDK sends data in pieces of this size, and may close the channel before the last piece of a large answer. So a
#: full piece is not trusted to be followed by the rest: what comes is collected until the result, which is complete,
#: is there, or until it is more than a result can be; then it is a stream.
SDK_PIECE_BYTES = 65536
LARGE_RESULT_GRACE = 10.0
#: A handler that returned nothing may still be opening its channel (seconds).
CHANNEL_GRACE = 1.0

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
#: The engine frames the message itself.
_FRAMING_HEADERS = frozenset(
    {
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "upgrade",
        "trailer",
    },
)


class NoResponseError(Exception):
    """The handler ended without a result and without using its response channel."""


@dataclass
class Answer:
    """An HTTP answer: a complete ``body``, or ``first`` plus whatever follows on the channel."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    first: bytes | None = None
    end: End | None = None  #: set if the channel has ended already

    @property
    def streamed(self) -> bool:
        """True when the rest of the body comes from the channel."""
        return self.first is not None


def _status(value: Any) -> int | None:
    return (
        value
        if isinstance(value, int)
        and not isinstance(value, bool)
        and 200 <= value <= 599
        else None
    )


def _headers(value: Any) -> dict[str, str]:
    """Return valid headers of a dict or of a list of ``"Name: value"``, names in lower case."""
    return {
        name.strip().lower(): text.strip()
        for name, text in _pairs(value)
        if _is_sendable(name.strip(), text.strip())
    }


def _pairs(value: Any) -> list[tuple[str, str]]:
    pairs = []
    if isinstance(value, dict):
        for name, text in value.items():
            if isinstance(text, str):
                pairs.append((name, text))
    if isinstance(value, list):
        for line in value:
            if isinstance(line, str) and ":" in line:
                name, _, text = line.partition(":")
                pairs.append((name, text))
    return pairs


def _is_sendable(name: str, text: str) -> bool:
    return (
        _HEADER_NAME.fullmatch(name) is not None
        and _HEADER_VALUE.fullmatch(text) is not None
        and name.lower() not in _FRAMING_HEADERS
    )


class Composer:
    """Collects one answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._end: End | None = None

    async def compose(self, call: asyncio.Task[Any | EngineError]) -> Answer:
        """Wait until the answer's head is known.

        ``call`` returns the function's result, or an EngineError, which is raised here. Raises NoResponseError.
        """
        item = await self._first_data(call)
        if not call.done():
            item = await self._wait_for_result(call, item)
        if not call.done():
            return self._from_channel(item)
        result = call.result()
        if isinstance(result, EngineError):
            raise result
        return await self._from_result(result, item)

    async def _first_data(self, call: asyncio.Task[Any | EngineError]) -> Item | None:
        """Return the channel's first data or its end; None when the call is done before."""
        item: Item | None = None
        while item is None and not call.done():
            item = await self._next_item(call)
            if isinstance(item, str):
                self._control(item)
                item = None
        return item

    async def _wait_for_result(
        self,
        call: asyncio.Task[Any | EngineError],
        item: Item | None,
    ) -> Item | None:
        """Give a call whose channel has spoken the time to end, and return the data so far."""
        if isinstance(item, bytes) and len(item) >= SDK_PIECE_BYTES:
            return await self._collect(call, item)
        grace = None
        if _is_complete(item):
            grace = RESULT_GRACE
        await asyncio.wait({call}, timeout=grace)
        return item

    async def _collect(
        self,
        call: asyncio.Task[Any | EngineError],
        first: bytes,
    ) -> bytes:
        """Return the data so far, once the call is done, the channel has ended, or there is more than a result is."""
        pieces = [first]
        while not call.done() and sum(map(len, pieces)) < MAX_RECEIVE_BYTES:
            item = await self._next_item(call)
            if isinstance(item, End):
                self._end = item
                await asyncio.wait(
                    {call},
                    timeout=LARGE_RESULT_GRACE if item.clean else None,
                )
                break
            if isinstance(item, bytes):
                pieces.append(item)
        return b"".join(pieces)

    async def _next_item(self, call: asyncio.Task[Any | EngineError]) -> Item | None:
        """Return the next item, or None when the call ends first."""
        getter = asyncio.ensure_future(self._channel.get())
        try:
            await asyncio.wait({call, getter}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getter.done():
                getter.cancel()
        return getter.result() if getter.done() and not getter.cancelled() else None

    def _control(self, text: str) -> None:
        try:
            message = loads(text)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        if message.get("type") == "set_status":
            self._status = _status(message.get("status_code")) or self._status
        elif message.get("type") == "set_headers":
            self._headers |= _headers(message.get("headers"))

    async def _from_result(self, result: Any, item: Item | None) -> Answer:
        if item is None:
            item = self._waiting_data()
        fields = result if isinstance(result, dict) else {}
        for key in ("status_code", "status"):
            self._status = self._status or _status(fields.get(key))
        self._headers |= _headers(fields.get("headers"))
        if "body" in fields:
            return self._with_body(fields["body"])
        if result is not None and not self._channel.taken["write"].is_set():
            return self._with_body({})
        if item is None:
            item = await self._wait_for_data()
        return self._from_channel(item)

    def _waiting_data(self) -> Item | None:
        """Return the first data that is in the channel already, after its control texts; None without."""
        queued = self._channel.get_nowait()
        while isinstance(queued, str):
            self._control(queued)
            queued = self._channel.get_nowait()
        return queued

    def _with_body(self, body: Any) -> Answer:
        if body is None:
            return self._without_body()
        text = dumps(body, "response body", MAX_RECEIVE_BYTES)
        headers = {"content-type": "application/json", **self._headers}
        return Answer(self._status or 200, headers, text.encode())

    def _without_body(self) -> Answer:
        return Answer(self._status or 200, self._headers, b"")

    async def _wait_for_data(self) -> Item:
        try:
            async with asyncio.timeout(CHANNEL_GRACE):
                await self._channel.taken["write"].wait()
        except TimeoutError as exc:
            raise NoResponseError from exc
        item = await self._channel.get()
        while isinstance(item, str):
            self._control(item)
            item = await self._channel.get()
        return item

    def _from_channel(self, item: Item | None) -> Answer:
        if not isinstance(item, bytes):
            return self._without_body()
        return Answer(
            status=self._status or 200,
            headers=self._headers,
            first=item,
            end=self._end,
        )


def _is_complete(item: Item | None) -> bool:
    """Whether nothing more is expected on the channel: it has ended well, or data has come."""
    if isinstance(item, End):
        return item.clean
    return isinstance(item, bytes)
