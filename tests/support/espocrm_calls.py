"""What the tests of the EspoCRM twin share: a twin that runs, a clock they can move, and a caller with an API key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from sandbox.control import running
from sandbox.espocrm.app import EspoCRMTwin

DEMO_KEY = "espocrm-demo-key"
ADMIN_KEY = "espocrm-admin-key"
LIMITED_KEY = "espocrm-limited-key"


@dataclass
class ManualClock:
    """Time that stands still until a test moves it."""

    moment: datetime = datetime(2026, 11, 23, 17, 12, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        """Move on by a span, in the words of `timedelta`."""
        self.moment += timedelta(**span)


@dataclass(frozen=True)
class Answer:
    """Status, reason, body and headers of an answer."""

    status: int
    reason: str
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body as JSON value."""
        return json.loads(self.text)


@dataclass
class Caller:
    """Speaks to a twin over HTTP."""

    url: str
    session: aiohttp.ClientSession
    clock: ManualClock = field(default_factory=ManualClock)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = DEMO_KEY,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """One request below ``/api/v1/``; ``path`` may hold a query string, encoded or not."""
        sent = {**({"X-Api-Key": key} if key else {}), **(headers or {})}
        async with self.session.request(
            method, f"{self.url}/api/v1/{path}", json=body, data=data, headers=sent
        ) as response:
            reason = response.headers.get("X-Status-Reason", "")
            return Answer(
                response.status, reason, await response.text(), response.headers
            )

    async def good(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> Any:
        """The body of a request that must succeed; only a new webhook is answered 201."""
        answer = await self.call(method, path, body, **options)
        expected = 201 if (method, path) == ("POST", "Webhook") else 200
        assert answer.status == expected, (answer.status, answer.reason, answer.text)
        return answer.json

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """A request to the control API that must succeed."""
        async with self.session.request(
            method, f"{self.url}/__sandbox__/{path}", json=body
        ) as response:
            text = await response.text()
            assert response.status == 200, (response.status, text)
            return json.loads(text)


@asynccontextmanager
async def espocrm(*, empty: bool = True, **options: Any) -> AsyncIterator[Caller]:
    """A running twin with a clock that stands still and a webhook job that runs only on demand."""
    clock = ManualClock()
    twin = EspoCRMTwin(empty=empty, clock=clock, **{"webhook_interval": 0, **options})
    async with running(twin) as url, aiohttp.ClientSession() as session:
        yield Caller(url, session, clock)
