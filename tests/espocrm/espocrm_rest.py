"""Plain requests to a real EspoCRM, and a receiver of its webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

#: Variables that name a real EspoCRM, see conftest.py.
NAMES = ("ESPOCRM_TEST_URL", "ESPOCRM_TEST_ADMIN_USER", "ESPOCRM_TEST_ADMIN_PASSWORD")
#: EspoCRM sends 20 events a run, others' before those of the test, so one run without its events says nothing yet.
IDLE_RUNS = 2
#: Headers that matter to the client and to EspoCRM.
PASSED_ON = frozenset(
    {"X-Api-Key", "Content-Type", "X-Version-Number", "X-Skip-Duplicate-Check"}
)
PASSED_BACK = frozenset({"Content-Type", "X-Status-Reason", "X-Status-Reason-Code"})


@dataclass(frozen=True)
class Answer:
    """What EspoCRM answered."""

    status: int
    reason: str  #: X-Status-Reason
    body: Any


@dataclass(frozen=True)
class Rest:
    """Requests of one user."""

    session: aiohttp.ClientSession
    base_url: str

    @classmethod
    @asynccontextmanager
    async def as_user(cls, url: str, user: str, password: str) -> AsyncIterator[Rest]:
        async with aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(user, password)}
        ) as session:
            yield cls(session, f"{url.rstrip('/')}/api/v1")

    @classmethod
    @asynccontextmanager
    async def with_key(cls, url: str, key: str) -> AsyncIterator[Rest]:
        async with aiohttp.ClientSession(headers={"X-Api-Key": key}) as session:
            yield cls(session, f"{url.rstrip('/')}/api/v1")

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        async with self.session.request(
            method, f"{self.base_url}/{path}", json=body, headers=headers
        ) as response:
            reason = response.headers.get("X-Status-Reason", "")
            is_json = response.content_type == "application/json"
            return Answer(
                response.status,
                reason,
                await response.json() if is_json else await response.text(),
            )

    async def get(self, path: str) -> Any:
        return _fine(await self.request("GET", path))

    async def post(self, path: str, body: Any) -> Any:
        return _fine(
            await self.request("POST", path, body, {"X-Skip-Duplicate-Check": "true"})
        )

    async def put(self, path: str, body: Any) -> Any:
        return _fine(await self.request("PUT", path, body))

    async def all_of(self, entity: str, **like: str) -> list[dict[str, Any]]:
        """All records with attributes of these patterns."""
        where = [
            f"where[{place}][type]=like&where[{place}][attribute]={name}&where[{place}][value]={quote(pattern)}"
            for place, (name, pattern) in enumerate(like.items())
        ]
        rows: list[dict[str, Any]] = []
        while True:
            page = f"{entity}?{'&'.join(where)}&select=id&orderBy=id&maxSize=200&offset={len(rows)}"
            answer = await self.get(page)
            rows += answer["list"]
            if len(rows) >= answer["total"]:
                return rows

    async def import_people(self, names: Sequence[tuple[str, str]]) -> None:
        """EspoCRM's own import of first and last names, not in its silent mode."""
        lines = "".join(f"{first};{last}\n" for first, last in names)
        url, headers = f"{self.base_url}/Import/file", {"Content-Type": "text/csv"}
        async with self.session.post(
            url, data=lines.encode(), headers=headers
        ) as response:
            attachment = (await response.json())["attachmentId"]
        body = {
            "entityType": "CBeteiligte",
            "attachmentId": attachment,
            "attributeList": ["firstName", "lastName"],
            "action": "create",
            "headerRow": False,
            "delimiter": ";",
            "textQualifier": '"',
            "silentMode": False,
            "skipDuplicateChecking": True,
            "idleMode": False,
            "personNameFormat": "f l",
            "dateFormat": "YYYY-MM-DD",
            "timeFormat": "HH:mm",
            "decimalMark": ".",
            "currency": "EUR",
        }
        assert (await self.post("Import", body))["countCreated"] == len(names)

    async def write(self, *writes: dict[str, Any], key: str | None = None) -> Answer:
        """The write action of our extension."""
        return await self.request(
            "POST",
            "BitByLaw/write",
            {"writes": list(writes), **({"key": key} if key else {})},
        )


def _fine(answer: Answer) -> Any:
    assert answer.status in {200, 201}, answer
    return answer.body


@dataclass(frozen=True)
class Espo:
    """A real EspoCRM, and who uses it."""

    person: Rest
    sync: Rest
    sync_user_id: str
    sync_key: str
    is_twin: bool = False


@dataclass
class Calls:
    """Passes requests on to an EspoCRM, and counts them."""

    url: str
    made: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def to(cls, base_url: str) -> AsyncIterator[Calls]:
        made: list[str] = []

        async def pass_on(request: web.Request) -> web.Response:
            made.append(f"{request.method} {request.match_info['path']}")
            target = URL(f"{base_url}{request.raw_path}", encoded=True)
            headers = {
                name: value
                for name, value in request.headers.items()
                if name in PASSED_ON
            }
            body = await request.read()
            async with session.request(
                request.method, target, data=body, headers=headers
            ) as answer:
                passed_back = {
                    name: value
                    for name, value in answer.headers.items()
                    if name in PASSED_BACK
                }
                return web.Response(
                    status=answer.status, body=await answer.read(), headers=passed_back
                )

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            async with aiohttp.ClientSession() as session:
                yield cls(f"http://127.0.0.1:{runner.addresses[0][1]}", made)
        finally:
            await runner.cleanup()

    @property
    def writing(self) -> list[str]:
        """Those that write."""
        return [call for call in self.made if not call.startswith("GET ")]

    def forget(self) -> None:
        self.made.clear()


@dataclass
class Events:
    """A receiver of webhooks."""

    url: str
    _run_job: Callable[[str], Awaitable[None]]
    _received: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def listening(
        cls, run_job: Callable[[str], Awaitable[None]]
    ) -> AsyncIterator[Events]:
        received: list[dict[str, Any]] = []

        async def take(request: web.Request) -> web.Response:
            received.extend(await request.json())
            return web.Response()

        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield cls(f"http://127.0.0.1:{port}/", run_job, received)
        finally:
            await runner.cleanup()

    async def of(self, *record_ids: str) -> list[dict[str, Any]]:
        """Let EspoCRM deliver what it has queued; the events of these records since the last look."""
        idle = 0
        while idle < IDLE_RUNS:
            before = len(self._received)
            await self._run_job("ProcessWebhookQueue")
            idle = idle + 1 if len(self._received) == before else 0
        found = [event for event in self._received if event["id"] in record_ids]
        self._received.clear()
        return found
