"""What the tests of the Advoware twin share: a login signed by the published rule, and a caller that uses it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running

NOW = datetime(2026, 2, 10, 8, 0, 0, 123456, tzinfo=UTC)  # 09:00 in Berlin
API = "/api/v1/advonet"


def sign(login: dict[str, Any], key: bytes = b"bitbylaw-demo-secret") -> str:
    """The signature by the published rule, written a second time so that the twin is not its own judge."""
    message = f"{login['Product']}:{login['AppID']}:{login['Nonce']}:{login['RequestTimeStamp']}".encode()
    return base64.b64encode(hmac.new(key, message, hashlib.sha512).digest()).decode()


def login_body(**changes: Any) -> dict[str, Any]:
    """A good login at `NOW`, changed before it is signed; a value None leaves the field out."""
    login: dict[str, Any] = {
        "AppID": "bitbylaw-demo",
        "Kanzlei": "demo",
        "Database": "demo",
        "User": "api",
        "Role": 2,
        "Product": 64,
        "Password": "demo-password",
        "Nonce": str(uuid.uuid4()),
        "RequestTimeStamp": "2026-02-10T08:00:00.1234567Z",
    }
    login.update(changes)
    login.setdefault("HMAC512Signature", sign(login))
    return {field: value for field, value in login.items() if value is not None}


class Advoware:
    """A caller of the twin, logged in or not."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self.headers: dict[str, str] = {}

    async def raw(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Status and text of the answer; ``path`` below the server."""
        async with self.session.request(
            method, self.url + path, json=body, headers=self.headers
        ) as answer:
            return answer.status, await answer.text()

    async def refused(
        self, method: str, path: str, body: Any = None
    ) -> tuple[int, str]:
        """Status and text of an answer that must not be a success; ``path`` below the API."""
        status, text = await self.raw(method, API + path, body)
        assert status >= 400, text
        return status, text

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer of a request that must succeed; ``path`` below the API."""
        status, text = await self.raw(method, API + path, body)
        assert status in {200, 201}, (status, text)
        return json.loads(text) if text else None

    async def desktop(self, method: str, path: str, body: Any = None) -> Any:
        """What a person does in the desktop program."""
        status, text = await self.raw(method, f"/__sandbox__/{path}", body)
        assert status == 200, text
        return json.loads(text)

    async def log_in(self) -> None:
        """Get a token and use it from now on."""
        status, text = await self.raw("POST", "/api/v1/Token", login_body())
        assert status == 200, text
        self.headers = {"Authorization": f"Bearer {json.loads(text)['access_token']}"}


@asynccontextmanager
async def serving(twin: AdvowareTwin) -> AsyncIterator[Advoware]:
    async with running(twin) as url, aiohttp.ClientSession() as session:
        yield Advoware(url, session)
