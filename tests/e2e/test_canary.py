"""Nothing that is kept, shown or reported holds a secret, and nothing but documented tables holds a value of a person.

Unique values are planted in all three systems and in every secret of the configuration. Then much goes wrong, in ways
that quote what was sent. Then everything the system has produced is searched: logs, answers, console, board, metrics,
dead letters, databases, Redis, and what other users of the machine can see of processes and files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import psutil
import pytest
import pytest_asyncio
from outside import Outside, outside
from ports import unused_port
from pydantic import SecretStr
from redis.asyncio import Redis

from board.pages.table import PAGES
from cli.system import BOARD_KEY
from config import PROJECT_ROOT, Settings

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

#: In each value of a person; no text of the program has it.
MARK = "Kanarienvogel"
PHONE, IBAN = "+4951198765432", "DE02120300000000202051"
MAIL = "kanarie@kanarienvogel.example"
PERSONAL = (MARK.lower(), PHONE[3:], IBAN, "0511 98765432")
PERSON = {
    "firstName": f"{MARK}-vorn",
    "lastName": f"{MARK}-hinten",
    "phoneNumberData": [{"phoneNumber": PHONE, "type": "Office", "primary": True}],
    "emailAddressData": [{"emailAddress": MAIL, "primary": True}],
}
SECRETS = {
    "BITBYLAW_API_KEYS": "canary-api-key-0123456789abcdef",
    "ESPOCRM_WEBHOOK_TOKEN": "canary-webhook-token-0123456789",
    "ESPOCRM_ACTION_SECRET": "canary-action-secret-0123456789",
}
API_KEY = {"X-API-Key": SECRETS["BITBYLAW_API_KEYS"]}
WEBHOOK = "/vmh/webhook/beteiligte/{}?token={}"
#: What the access to Advoware is kept under (docs/data-protection.md); no other key may hold a secret.
TOKEN_KEY = "advoware_access_token"  # noqa: S105 - the name of a Redis key
TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
FAILED_SYNCS = "SELECT 1 FROM sync_audit WHERE result = 'failed'"
ECHO = {"message": f"{MARK} {MAIL}", "stack": f"KeyError: '{MARK}'"}


AWAY = {"count": 12, "headers": {"X-Status-Reason": f"{MARK} {PHONE}"}}
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("advoware", {"method": "POST", "status": 400, "path": "Beteiligte"}),
    ("advoware", {"method": "GET", "text": f'[{{"{MARK}": ', "path": "Beteiligte"}),
    ("advoware", {"method": "GET", "status": 400, "path": "Termine"}),
    ("espocrm", {"method": "PUT", "status": 500}),
    ("espocrm", {"method": "PUT", "status": 400}),
    ("espocrm", {"method": "GET", "status": 403, "path": "CBeteiligte"}),
    # Away for so long that the client gives up and the job fails, with a reason that quotes.
    ("espocrm", {"method": "GET", "status": 500, "path": "CBeteiligte", **AWAY}),
    ("advoware", {"method": "GET", "status": 503, "path": "Beteiligte", "count": 12}),
    ("google", {"status": 400, "path": "events"}),
    ("google", {"status": 500, "path": "events"}),
]


@dataclass
class Found:
    """What was searched: where it stands, and the text."""

    texts: dict[str, str]

    def with_any(self, values: tuple[str, ...]) -> list[str]:
        return [
            f"{place}: …{_around(text, value)}…"
            for place, text in self.texts.items()
            for value in values
            if value.lower() in text.lower()
        ]


def _around(text: str, value: str) -> str:
    place = text.lower().index(value.lower())
    return text[max(0, place - 60) : place + 60]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def spoilt() -> AsyncIterator[tuple[Outside, Found]]:
    """A system in which all of that has happened, and the answers it gave meanwhile."""
    overrides = {**SECRETS, "METRICS_PORT": str(unused_port())}
    async with outside(**overrides, CALENDAR_SYNC_DEBUG_KUERZEL="SB") as system:
        answers = Found({})
        await _live(system, answers)
        await _fail(system, answers)
        yield system, answers


def _secrets_of(settings: Settings) -> dict[str, str]:
    """Every secret of the configuration, by its variable; of a list each entry, and the last part of ``id:secret``."""
    found = {}
    for group in Settings.model_fields:
        for field in type(getattr(settings, group)).model_fields:
            value = getattr(getattr(settings, group), field)
            if not isinstance(value, SecretStr):
                continue
            for entry in re.split(r"[,\s]+", value.get_secret_value()):
                found[f"{group}.{field} {len(found)}"] = entry.rpartition(":")[2]
    return {name: secret for name, secret in found.items() if len(secret) > 7}


def _all_secrets(system: Outside) -> tuple[str, ...]:
    account = json.loads(
        (system.system.data / "twins/google-service-account.json").read_text()
    )
    private_key = account["private_key"].splitlines()[1]
    board_key = (system.system.data / BOARD_KEY).read_text().strip()
    given = _secrets_of(system.system.settings)
    assert set(SECRETS.values()) <= set(given.values())
    # Who may log in is kept as a hash, which opens nothing; the settings page must not show it all the same.
    return (*given.values(), private_key, board_key)


async def _live(system: Outside, answers: Found) -> None:
    """A person and an appointment go their usual ways."""
    entity_id = await system.person(**PERSON)
    account = {"iban": IBAN, "kontoinhaber": MARK, "beteiligteId": entity_id}
    path = "/__sandbox__/records/CBankverbindungen?silent=1"
    await system.twin("espocrm", "POST", path, json=account)
    await _send(system, answers, "create", entity_id)
    await system.synced(entity_id)
    day = (datetime.now(UTC).date() + timedelta(days=3)).isoformat()
    termin = {"text": MARK, "notiz": MARK, "ort": MARK, "anwalt": "SB"}
    when = {
        "datum": day,
        "datumBis": day,
        "uhrzeitVon": "10:00:00",
        "uhrzeitBis": "11:00:00",
    }
    await system.twin("advoware", "POST", "/__sandbox__/termine", json=termin | when)
    await _sync_calendar(system, answers)

    async def arrived() -> bool:
        state = await system.twin("google", "GET", "/__sandbox__/state")
        return MARK in json.dumps(state)

    await system.until(arrived)


async def _send(
    system: Outside,
    answers: Found,
    action: str,
    entity_id: str,
    token: str = SECRETS["ESPOCRM_WEBHOOK_TOKEN"],
) -> None:
    path = WEBHOOK.format(action, token)
    body = [{"id": entity_id, **PERSON}]
    await _ask(system, answers, "POST", path, json=body)


async def _sync_calendar(system: Outside, answers: Found) -> None:
    path = "/advoware/calendar/sync"
    await _ask(system, answers, "POST", path, headers=API_KEY, json={"kuerzel": "SB"})


async def _ask(
    system: Outside, answers: Found, method: str, path: str, **options: Any
) -> int:
    url = f"{system.system.http_url}{path}"
    async with system.session.request(method, url, **options) as response:
        answers.texts[f"answer {len(answers.texts)}"] = await response.text()
        return response.status


async def _fail(system: Outside, answers: Found) -> None:
    """Each system refuses and breaks, quoting what it was sent; callers send nonsense with values in it."""
    ids = [await system.person(**PERSON) for _ in range(4)]
    for name, fault in FAULTS:
        once = {"count": 1, "body": {"error": ECHO}, **fault}
        await system.twin(name, "POST", "/__sandbox__/faults", json=once)
    for entity_id in ids:
        await _send(system, answers, "create", entity_id)

    async def all_struck() -> bool:
        await _sync_calendar(system, answers)
        left = [await _faults_left(system, name) for name in system.system.twins]
        return not any(left)

    await system.until(all_struck)
    await _nonsense(system, answers)
    await _unusable_job(system)

    async def recorded() -> bool:
        return bool(await system.audit.fetch(FAILED_SYNCS))

    await system.until(recorded)


async def _faults_left(system: Outside, name: str) -> int:
    faults = await system.twin(name, "GET", "/__sandbox__/faults")
    return sum(not fault["struck"] for fault in faults)


async def _nonsense(system: Outside, answers: Found) -> None:
    values = f"name={MARK}&iban={IBAN}"
    for method, path, options in (
        ("GET", f"/advoware/proxy?{values}", {"headers": API_KEY}),
        ("GET", f"/advoware/proxy?endpoint=//{MARK}", {"headers": API_KEY}),
        ("GET", f"/advoware/proxy?endpoint=x&{values}", {}),
        ("POST", "/advoware/calendar/sync", {"headers": API_KEY, "json": {"full_content": MARK}}),
        ("POST", "/advoware/calendar/sync", {"headers": API_KEY, "json": {"kuerzel": 7, MARK: MARK}}),
        ("POST", "/crm-bbl-vmh-reset-nextcall", {"headers": API_KEY, "json": {"id": [MARK]}}),
        ("POST", "/vmh/beteiligte/actions/sync", {"data": MARK}),
        ("POST", f"/{MARK}?{values}", {"json": PERSON}),
    ):  # fmt: skip
        status = await _ask(system, answers, method, path, **options)
        assert 400 <= status < 500, (path, status)


async def _unusable_job(system: Outside) -> None:
    """A job that no handler can take fails, and says why."""
    body = {"topic": "vmh.beteiligte.update", "data": {"entity_id": 7}}
    status, _ = await system.call(
        "POST", "/_console/queues/vmh.beteiligte.update/publish", json=body
    )
    assert status == 200


async def _logs(system: Outside) -> Found:
    """What the parts have logged; the twins' own logs hold invented people, and are no product of the system."""
    data = system.system.data
    files = [
        *(data / "log").iterdir(),
        *(data / "postgres").glob("log*"),
        *(data / "redis").glob("*.log"),
    ]
    own = [path for path in files if path.is_file() and "twins" not in path.name]
    assert {path.name for path in own} >= {"worker.log", "engine.log", "board.log"}
    found = Found({path.name: path.read_text(errors="replace") for path in own})
    for event in ("access.denied", "calendar.failed", "proxy.refused", "library"):
        assert f'"event": "{event}"' in found.texts["worker.log"]
    return found


async def _console(system: Outside) -> Found:
    found = {}
    for path in ("otel/logs", "otel/traces", "states/groups"):
        found[path] = await _text(
            system, "POST", f"/_console/{path}", json={"limit": 10_000}
        )
    for path in (
        "queues",
        "queues/dead-letters",
        "health",
        "functions",
        "triggers",
        "workers",
    ):
        found[path] = await _text(system, "GET", f"/_console/{path}")
    return Found(found)


async def _text(system: Outside, method: str, path: str, **options: Any) -> str:
    url = path if "://" in path else f"{system.system.http_url}{path}"
    async with system.session.request(method, url, **options) as answer:
        return await answer.text()


async def _board(system: Outside) -> Found:
    row = await system.audit.fetchrow(
        "SELECT entity_id, trace_id FROM sync_audit LIMIT 1"
    )
    values = {
        "topic": "vmh.beteiligte.update",
        "kuerzel": "SB",
        "number": "20001",
        "entity_id": row["entity_id"],
        "trace_id": row["trace_id"] or "0" * 32,
    }
    url = system.system.board_url
    key = (system.system.data / BOARD_KEY).read_text().strip()
    found = {}
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(url, cookie_jar=jar) as browser:
        await browser.post("/login", data={"key": key})
        for page in PAGES:
            for path in (page.path, page.api_path):
                async with browser.get(path.format(**values)) as answer:
                    found[f"board {path}"] = await answer.text()
        async with browser.get("/metrics") as answer:
            found["board /metrics"] = await answer.text()
    port = system.system.settings.metrics.port
    found["worker /metrics"] = await _text(
        system, "GET", f"http://127.0.0.1:{port}/metrics"
    )
    return Found(found)


async def _tables(system: Outside) -> Found:
    """Each table of our database and of the engine's."""
    given = system.system.settings.postgres
    found = {}
    for database in (given.db_name, "engine"):
        connection = await asyncpg.connect(
            host=given.host, user=given.user, database=database
        )
        try:
            for table in await connection.fetch(TABLES):
                rows = await connection.fetch(
                    f'SELECT row_to_json(t)::text FROM "{table[0]}"."{table[1]}" t'  # noqa: S608 - a name from the catalogue
                )
                found[f"table {table[1]}"] = "\n".join(row[0] for row in rows)
        finally:
            await connection.close()
    return Found(found)


async def _redis(system: Outside) -> Found:
    given = system.system.settings.redis
    assert given.password is not None
    found = {}
    for number in (given.db_advoware_cache, given.db_calendar_sync):
        async with Redis(
            host=given.host,
            port=given.port,
            db=number,
            password=given.password.get_secret_value(),
        ) as redis:
            async for key in redis.scan_iter():
                found[f"key {key.decode()}"] = key.decode() + str(
                    await _value_of(redis, key)
                )
    return Found(found)


async def _value_of(redis: Redis, key: bytes) -> Any:
    kind = await redis.type(key)
    if kind == b"hash":
        return await redis.hgetall(key)
    if kind == b"zset":
        return await redis.zrange(key, 0, -1)
    if kind == b"list":
        return await redis.lrange(key, 0, -1)
    assert kind in {b"string", b"none"}, kind
    return await redis.get(key)


def _tables_with_persons() -> set[str]:
    """The tables of docs/data-protection.md that hold values of Beteiligte or of clients, not only ids and hashes."""
    page = (PROJECT_ROOT / "docs" / "data-protection.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE)
    return {
        f"table {name}"
        for name, what, of_whom in rows
        if re.search("Beteiligte|clients", of_whom) and "hashes" not in what
    }


async def test_no_secret_is_anywhere(spoilt: tuple[Outside, Found]) -> None:
    system, answers = spoilt
    secrets = _all_secrets(system)
    for found in (
        *(answers, await _logs(system), await _console(system)),
        *(await _board(system), await _tables(system), await _redis(system)),
    ):
        assert found.with_any(secrets) == []


async def test_no_value_of_a_person_is_where_it_is_not_documented(
    spoilt: tuple[Outside, Found],
) -> None:
    system, answers = spoilt
    for found in (
        *(answers, await _logs(system), await _console(system)),
        *(await _board(system), await _redis(system)),
    ):
        assert found.with_any(PERSONAL) == []
    tables = await _tables(system)
    known = {place: tables.texts.pop(place) for place in _tables_with_persons()}
    assert tables.with_any(PERSONAL) == []
    assert Found(known).with_any(PERSONAL), "nothing was planted"


async def test_other_users_of_the_machine_see_no_secret(
    spoilt: tuple[Outside, Found],
) -> None:
    system, _ = spoilt
    secrets = _all_secrets(system)
    parts = psutil.Process().children(recursive=True)
    assert len(parts) > len(system.system.processes)  # Redis is one, too
    lines = Found({str(part.pid): " ".join(part.cmdline()) for part in parts})
    assert lines.with_any(secrets) == []
    assert lines.with_any(PERSONAL) == []
    for part in parts:
        assert os.stat(f"/proc/{part.pid}/environ").st_mode & 0o077 == 0
    data = system.system.data
    # As root PostgreSQL is another user, who may pass through the directory above his own, and read nothing there.
    assert data.stat().st_mode & 0o066 == 0
    kept = [
        data / "postgres",
        *(path for path in data.rglob("*") if "postgres" not in path.parts),
    ]
    assert [str(path) for path in kept if path.stat().st_mode & 0o077] == []
