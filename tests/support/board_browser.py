"""A board on real stores, twins and an engine, as a browser sees it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import psycopg
import pytest
from aiohttp.test_utils import TestClient, TestServer

from board.access import Access
from board.app import make_app
from config import Settings, key_digest
from local_engine.server import Engine
from services.core.resources import Resources
from services.operate.sources import Sources

REPAIR_KEY = "key-of-the-operator-who-repairs-0001"
VIEW_KEY = "key-of-the-operator-who-only-looks-01"
OPERATORS = f"ada:repair:{key_digest(REPAIR_KEY)},eva:view:{key_digest(VIEW_KEY)}"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


class BoardClock:
    """Monotonic seconds of the board's sessions."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Browser:
    """One browser at the board, with its cookies."""

    client: TestClient[Any, Any]

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        """Status and body of a page."""
        async with self.client.get(path, allow_redirects=False, **options) as answer:
            return answer.status, await answer.text()

    async def page(self, path: str, **options: Any) -> str:
        """A page that must be there."""
        status, text = await self.get(path, **options)
        assert status == 200, (status, text)
        return text

    async def json(self, path: str) -> Any:
        """The JSON of an API path that must answer."""
        async with self.client.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def post(self, path: str, fields: Any, **options: Any) -> tuple[int, str]:
        """Status and body after sending a form."""
        async with self.client.post(
            path, data=fields, allow_redirects=False, **options
        ) as answer:
            return answer.status, await answer.text()

    async def log_in(self, key: str) -> int:
        """Send the login form; the status."""
        status, _ = await self.post("/login", {"key": key})
        return status

    async def confirm(self, path: str) -> str:
        """Open a repair's confirmation, press its button; the page that says what became of it."""
        html = await self.page(path)
        fields = form_of(html)
        status, text = await self.post(path.partition("?")[0], fields)
        assert status == 200, (status, text)
        return text


def form_of(html: str) -> list[tuple[str, str]]:
    """The hidden fields of the form in a page's main part."""
    main = html[html.index("<main") :]
    return _FIELD.findall(main)


def csrf_of(html: str) -> str:
    """The token that a page's forms carry."""
    match = _CSRF.search(html)
    assert match is not None
    return match.group(1)


@dataclass
class Dead:
    """Puts jobs and dead letters into the engine's own table, where its functions find them."""

    url: str

    def letters(self, topic: str, payloads: list[str], error: str = "boom") -> None:
        """Dead letters with these payloads (JSON texts)."""
        with psycopg.connect(self.url) as connection:
            for payload in payloads:
                self._insert(connection, topic, payload, error, 1)

    def many(self, topic: str, count: int) -> None:
        """So many dead letters at once."""
        with psycopg.connect(self.url) as connection:
            self._insert(connection, topic, '{"entity_id": "6b1"}', "boom", count)

    @staticmethod
    def _insert(
        connection: Any, topic: str, payload: str, error: str, count: int
    ) -> None:
        connection.execute(
            """
            WITH jobs AS (
                INSERT INTO procrastinate_jobs (queue_name, task_name, status, args, attempts)
                SELECT %(queue)s, %(topic)s, 'failed', jsonb_build_object('data', %(payload)s::text), 3
                FROM generate_series(1, %(count)s) RETURNING id)
            INSERT INTO engine.job_notes (job_id, error) SELECT id, %(error)s FROM jobs
            """,
            {
                "queue": f"topic:{topic}",
                "topic": topic,
                "payload": payload,
                "error": error,
                "count": count,
            },
        )


@pytest.fixture
async def engine_url(stores: Any) -> AsyncIterator[str]:
    """A database of its own for the engine; its URL."""
    name = f"engine_board_{id(object())}"
    admin = await asyncpg.connect(
        host=stores.postgres.host, user=stores.postgres.user, database="postgres"
    )
    await admin.execute(f"CREATE DATABASE {name}")
    yield stores.postgres.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    """An engine without workers."""
    async with Engine(engine_url).running() as running:
        yield running


@pytest.fixture
def dead(engine: Engine, engine_url: str) -> Dead:
    """What puts dead letters into the engine."""
    return Dead(engine_url)


@pytest.fixture
def board_clock() -> BoardClock:
    """The clock of the board's sessions."""
    return BoardClock()


@pytest.fixture
def settings(make_settings: Callable[..., Settings], engine: Engine) -> Settings:
    """Of a system of twins, with two operators."""
    return make_settings(III_URL=engine.ws_url, BITBYLAW_BOARD_OPERATORS=OPERATORS)


@pytest.fixture
async def sources(settings: Settings, clock: Any) -> AsyncIterator[Sources]:
    """What the board reads."""
    resources = Resources(settings, clock=clock)
    async with Sources(settings, resources=resources) as opened:
        await opened.resources.redis.flushall()
        yield opened


@pytest.fixture
async def open_browser(
    sources: Sources, board_clock: BoardClock
) -> AsyncIterator[Callable[[], Browser]]:
    """Opens browsers at one board."""
    access = Access(sources.settings, clock=board_clock)
    server = TestServer(make_app(sources, access=access), host="127.0.0.1")
    await server.start_server(shutdown_timeout=1)
    clients: list[TestClient[Any, Any]] = []

    def opened() -> Browser:
        jar = aiohttp.CookieJar(unsafe=True)
        clients.append(TestClient(server, cookie_jar=jar))
        return Browser(clients[-1])

    yield opened
    for client in clients:
        await client.session.close()
    await server.close()


@pytest.fixture
async def visitor(open_browser: Callable[[], Browser]) -> Browser:
    """A browser without login."""
    return open_browser()


@pytest.fixture
async def operator(open_browser: Callable[[], Browser]) -> Browser:
    """The browser of someone who may repair."""
    browser = open_browser()
    assert await browser.log_in(REPAIR_KEY) == 303
    return browser
