"""An Advoware whose answers are given byte for byte, and whose requests are kept as they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

#: What a running system with the sample firm asks for by itself, at its crons. The tests ask for other paths.
BY_ITSELF = "/api/v1/advonet/"


@dataclass(frozen=True)
class Wired:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]  #: names in lower case
    body: bytes


@dataclass
class Wire:
    """What the next requests are answered with, and which came; logins belong to the twin."""

    url: str = ""
    answer: bytes = b""
    requests: list[Wired] = field(default_factory=list)
    hold: bool = (
        False  #: after the answer keep the connection open and send nothing more
    )

    def will_answer(
        self,
        body: bytes = b"",
        content_type: str | None = None,
        *,
        status: int = 200,
        **headers: str,
    ) -> None:
        """Answer with this body from now on; ``Content_Length`` and the like may be given with other values."""
        lines = {"Content-Length": str(len(body)), "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            lines["Content-Type"] = content_type
        head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.answer = f"{head}\r\n".encode() + body
        self.hold = False
        self.requests.clear()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Read one request, answer it, and end the connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = dict(
                line.lower().split(": ", 1)[:1] + line.split(": ", 1)[1:]
                for line in head[1:]
                if line
            )
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if not target.startswith(BY_ITSELF):
                self.requests.append(Wired(method, target, headers, body))
            writer.write(self.answer)
            await writer.drain()
            if self.hold:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """A wire that listens on a free port."""
    opened = Wire()
    server = await asyncio.start_server(opened.serve, "127.0.0.1", 0)
    opened.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield opened
    finally:
        server.close()
