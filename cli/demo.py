"""The sample flow of `bitbylaw up`: what a real EspoCRM once sent, sent again, and what it must lead to."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg

from cli.system import System
from config import PROJECT_ROOT

CAPTURED = PROJECT_ROOT / "sandbox" / "data" / "espocrm-webhooks.json"
SETTLE_SECONDS = 60.0
EVENTS = [
    "CBeteiligte.create",
    "CBeteiligte.update",
    "CBeteiligte.delete",
    "CBankverbindungen.create",
    "CBankverbindungen.update",
    "CBankverbindungen.delete",
]
PATHS = {"CBeteiligte": "beteiligte", "CBankverbindungen": "bankverbindungen"}


@dataclass(frozen=True)
class Captured:
    """One webhook request as EspoCRM 8.4 sent it."""

    event: str
    headers: dict[str, str]
    body: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The decoded body."""
        records: list[dict[str, Any]] = json.loads(self.body)
        return records

    @property
    def entity(self) -> str:
        """The entity type."""
        return self.event.partition(".")[0]

    @property
    def action(self) -> str:
        """create, update or delete."""
        return self.event.partition(".")[2]


def captured_requests(path: Path = CAPTURED) -> list[Captured]:
    """The captured requests, in the order in which they came."""
    return [
        Captured(entry["event"], entry["headers"], entry["body"])
        for entry in json.loads(path.read_text())["requests"]
    ]


async def open_audit(system: System) -> asyncpg.Pool:
    """A connection to the audit of a running system."""
    postgres = system.settings.postgres
    # Its pool logs each vain try to connect with a traceback; whoever asks is notified anyway.
    logging.getLogger("asyncpg").addHandler(logging.NullHandler())
    return await asyncpg.create_pool(
        host=postgres.host,
        port=postgres.port,
        user=postgres.user,
        password=postgres.password.get_secret_value() if postgres.password else None,
        database=postgres.db_name,
        min_size=1,
        max_size=2,
        timeout=10,
        command_timeout=10,
    )


async def audit_rows(
    pool: asyncpg.Pool,
    *,
    after: int = 0,
    limit: int = 500,
) -> list[asyncpg.Record]:
    """The audit's rows after the one with this number, oldest first."""
    rows: list[asyncpg.Record] = await pool.fetch(
        "SELECT * FROM sync_audit WHERE audit_id > $1 ORDER BY audit_id LIMIT $2",
        after,
        limit,
    )
    return rows


class Demo:
    """Plays the captured requests against a system whose EspoCRM is the twin."""

    def __init__(
        self,
        system: System,
        session: aiohttp.ClientSession,
        audit: asyncpg.Pool,
    ) -> None:
        self._http = system.http_url
        self._espocrm = system.twins["espocrm"]
        self._advoware = system.twins["advoware"]
        self._key = {
            "X-Api-Key": system.settings.espocrm.marvin_api_key.get_secret_value(),
        }
        token = system.settings.espocrm.webhook_token
        self._query = (
            f"?token={quote(token.get_secret_value(), safe='')}" if token else ""
        )
        self._session = session
        self._audit = audit

    def webhook_url(self, event: str) -> str:
        """Where EspoCRM sends an event to."""
        entity, _, action = event.partition(".")
        path = PATHS[entity]
        return f"{self._http}/vmh/webhook/{path}/{action}{self._query}"

    async def install_webhooks(self) -> None:
        """Register our six webhooks in the twin; those of an earlier run with other ports are replaced."""
        webhooks = f"{self._espocrm}/api/v1/Webhook"
        key = self._key
        async with self._session.get(
            webhooks,
            params={"maxSize": "200"},
            headers=key,
        ) as response:
            response.raise_for_status()
            present = await response.json()
        kept = set()
        for webhook in present["list"]:
            event = webhook["event"]
            if webhook["url"] == self.webhook_url(event):
                kept.add(event)
            elif event in EVENTS:
                address = f"{webhooks}/{webhook['id']}"
                await _succeed(self._session.delete(address, headers=key))
        for event in EVENTS:
            if event in kept:
                continue
            webhook = {
                "event": event,
                "url": self.webhook_url(event),
                "skipOwn": True,
            }
            await _succeed(self._session.post(webhooks, json=webhook, headers=key))

    async def was_played(self) -> bool:
        """Whether an earlier run on the same data has played the requests already."""
        first = captured_requests()[0].records[0]
        status, _ = await self._beteiligter(first["id"])
        return status == 200

    async def play(self) -> None:
        """Bring the twin's records into the state of each captured request, then send the request.

        Raises:
            TimeoutError: a request's records were not synced in time.
            aiohttp.ClientResponseError: a request was not accepted.
        """
        async with asyncio.timeout(SETTLE_SECONDS):
            for request in captured_requests():
                rows = await audit_rows(self._audit)
                last_audit_id = rows[-1]["audit_id"] if rows else 0
                await self._prepare(request)
                async with self._session.post(
                    self.webhook_url(request.event),
                    data=request.body.encode(),
                    headers=request.headers,
                ) as response:
                    response.raise_for_status()
                await self._wait_until_synced(
                    {record["id"] for record in request.records},
                    last_audit_id,
                )

    async def _prepare(self, request: Captured) -> None:
        session = self._session
        records = f"{self._espocrm}/__sandbox__/records/{request.entity}"
        for record in request.records:
            attributes = dict(record)
            attributes.pop("modifiedById", None)
            attributes.pop("modifiedByName", None)
            address = f"{records}/{record['id']}?silent=1"
            if request.action == "create":
                call = session.post(f"{records}?silent=1", json=attributes)
            elif request.action == "update":
                call = session.put(address, json=attributes)
            else:
                call = session.delete(address)
            await _succeed(call)

    async def _wait_until_synced(self, ids: set[str], last_audit_id: int) -> None:
        while ids - {
            row["entity_id"]
            for row in await audit_rows(self._audit, after=last_audit_id)
        }:
            await asyncio.sleep(0.1)

    async def problems(self) -> list[str]:
        """What is not as it must be after the requests were played; empty if all is well."""
        first, second = captured_requests()[0].records
        _, kept = await self._beteiligter(first["id"])
        found = _problems_of(first["id"], kept)
        status, _ = await self._beteiligter(second["id"])
        if status != 404:
            found.append(f"EspoCRM: {second['id']} should be deleted")
        full_name = f"{kept.get('firstName')} {kept.get('lastName')}"
        found += await self._problems_in_advoware([full_name, "Zwei Person"])
        found += await self._failed_syncs()
        return found

    async def _failed_syncs(self) -> list[str]:
        failed = []
        for row in await audit_rows(self._audit):
            error = row["error"]
            if error:
                failed.append(f"{row['topic']} {row['entity_id']}: {error}")
        return failed

    async def _beteiligter(self, record_id: str) -> tuple[int, dict[str, Any]]:
        """Status of a read in EspoCRM, and the record; empty if there is none."""
        url = f"{self._espocrm}/api/v1/CBeteiligte/{record_id}"
        async with self._session.get(url, headers=self._key) as response:
            if response.status != 200:
                return response.status, {}
            record = await response.json()
            return response.status, record

    async def _problems_in_advoware(self, expected: list[str]) -> list[str]:
        names = await self._names_in_advoware()
        found = []
        for name in expected:
            count = names.count(name)
            if count != 1:
                found.append(f"Advoware: {count} instead of one {name}")
        return found

    async def _names_in_advoware(self) -> list[str]:
        async with self._session.get(f"{self._advoware}/__sandbox__/state") as response:
            state = await response.json()
        names = []
        for row in state["beteiligte"]:
            names.append(f"{row.get('vorname')} {row.get('name')}")
        return names


def _problems_of(record_id: str, record: dict[str, Any]) -> list[str]:
    """What EspoCRM does not show of a synced record; empty if all is well."""
    betnr = record.get("betnr")
    status = record.get("syncStatus")
    if betnr and status == "clean":
        return []
    return [f"EspoCRM: {record_id} has betnr {betnr} and status {status}"]


async def _succeed(call: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
    """Make a call whose answer does not matter. Raises ClientResponseError if it is refused."""
    async with call as response:
        response.raise_for_status()
