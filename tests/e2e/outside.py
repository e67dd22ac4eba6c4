"""The whole system from outside: started as `bitbylaw up` starts it, acted on through HTTP only."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web
from ports import system_ports

from cli.demo import open_audit
from cli.engines import EngineKind
from cli.system import System, running_system
from sandbox.espocrm.app import EspoCRMTwin

DEADLINE_SECONDS = 60.0
ADMIN_KEY = {"X-Api-Key": "espocrm-admin-key"}
#: long enough for a key of this system
KEY = "0123456789abcdef01234567"
#: The key of EspoCRM's buttons in the system that the tests share.
ACTION_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - invented
#: What a system needs that is no longer only twins.
TRIAL = {
    "BITBYLAW_TRIAL": "true",
    "BITBYLAW_API_KEYS": KEY,
    "ESPOCRM_WEBHOOK_TOKEN": KEY,
}
#: What a running system reads in Advoware by itself, at its crons.
BY_ITSELF = (
    "GET /api/v1/advonet/Mitarbeiter",
    "GET /api/v1/advonet/Termine?kuerzel=",
)


class RealEspoCRM(EspoCRMTwin):
    """What a tunnel to a real EspoCRM looks like: it answers as one, and does not say that it is a twin."""

    async def _identity(self, _request: web.Request) -> web.Response:
        return web.json_response({"error": "no such path"}, status=404)


@dataclass
class Outside:
    """What a person or a foreign system sees of a running system."""

    system: System
    session: aiohttp.ClientSession
    audit: asyncpg.Pool

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """A request to the system; status and decoded body (None if it is not JSON)."""
        return await self._request(method, f"{self.system.http_url}{path}", **options)

    async def twin(self, name: str, method: str, path: str, **options: Any) -> Any:
        """A request to a twin that must succeed; its decoded body."""
        headers = ADMIN_KEY if name == "espocrm" else {}
        status, body = await self._request(
            method, f"{self.system.twins[name]}{path}", headers=headers, **options
        )
        assert status < 400, (status, body)
        return body

    async def asked(self) -> Counter[str]:
        """How often Advoware was asked what since its journal was forgotten, but for what crons read by themselves.

        Only for systems without persons to sync: a cron that finds some asks for them at any time.
        """
        journal = await self.twin("advoware", "GET", "/__sandbox__/journal")
        return Counter(
            f"{entry['method']} {entry['route']}"
            for entry in journal
            if not f"{entry['method']} {entry['path']}".startswith(BY_ITSELF)
        )

    async def _request(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, url, **options) as response:
            try:
                return response.status, await response.json(content_type=None)
            except ValueError:
                return response.status, None

    async def person(self, **attributes: Any) -> str:
        """A new CBeteiligte that no webhook reports; its id."""
        record = {
            "firstName": "Erika",
            "lastName": "Muster",
            "salutationName": "Frau",
            **attributes,
        }
        created = await self.twin(
            "espocrm", "POST", "/__sandbox__/records/CBeteiligte?silent=1", json=record
        )
        return str(created["id"])

    async def espocrm_record(self, entity_id: str) -> dict[str, Any]:
        """The CBeteiligte as it is now."""
        record: dict[str, Any] = await self.twin(
            "espocrm", "GET", f"/api/v1/CBeteiligte/{entity_id}"
        )
        return record

    async def advoware_named(self, name: str) -> list[dict[str, Any]]:
        """The Beteiligte in Advoware with this name."""
        state = await self.twin("advoware", "GET", "/__sandbox__/state")
        return [row for row in state["beteiligte"] if row.get("name") == name]

    async def webhook(
        self, action: str, *ids: str, entity: str = "beteiligte"
    ) -> tuple[int, Any]:
        """A webhook as EspoCRM would send it."""
        return await self.call(
            "POST",
            f"/vmh/webhook/{entity}/{action}",
            json=[{"id": item} for item in ids],
        )

    async def results(self, entity_id: str) -> list[str]:
        """The results of all syncs of a record so far, from the audit."""
        rows = await self.audit.fetch(
            "SELECT result FROM sync_audit WHERE entity_id = $1 ORDER BY audit_id",
            entity_id,
        )
        return [row["result"] for row in rows]

    async def synced(self, entity_id: str, times: int = 1) -> None:
        """Wait until a record was synced so many times."""

        async def enough() -> bool:
            return len(await self.results(entity_id)) >= times

        await self.until(enough)

    @asynccontextmanager
    async def held(
        self, twin: str, **rule: Any
    ) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """The twin keeps the first such request waiting until the end of the block; what it gives waits for it to come.

        ``rule`` says which request, as `sandbox.control.Fault` does.
        """
        faults = "/__sandbox__/faults"
        hold = {"name": "held", "hold": True, "count": 1, **rule}
        await self.twin(twin, "POST", faults, json=hold)

        async def has_come() -> bool:
            rules = await self.twin(twin, "GET", faults)
            return any(rule.get("name") == "held" and rule["struck"] for rule in rules)

        try:
            yield lambda: self.until(has_come)
        finally:
            await self.twin(twin, "DELETE", f"{faults}?name=held")

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await condition():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def outside(
    engine: EngineKind = EngineKind.EMBEDDED, **overrides: str
) -> AsyncIterator[Outside]:
    """A system of its own on fresh data and free ports."""
    data = Path(tempfile.mkdtemp(prefix="bbl-e2e-"))
    events: list[str] = []
    try:
        async with (
            running_system(
                data,
                system_ports(),
                None,
                on_event=events.append,
                overrides=overrides,
                engine=engine,
            ) as system,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
            await open_audit(system) as audit,
        ):
            yield Outside(system, session, audit)
    finally:
        shutil.rmtree(data, ignore_errors=True)
