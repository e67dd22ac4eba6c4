"""People at EspoCRM and at Advoware, and the sync between them: what the tests of the Beteiligte sync share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sandbox.advoware.app import AdvowareTwin
from sandbox.espocrm.app import EspoCRMTwin
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI
from services.notification_utils import NotificationManager
from services.vmh_sync.job import Outcome, SyncEvent

ADMIN = {"X-Api-Key": "espocrm-admin-key"}
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass
class Office:
    """The people at both programs, and the sync between them."""

    resources: Resources
    espocrm: EspoCRMTwin
    advoware: AdvowareTwin
    session: aiohttp.ClientSession
    clock: Any

    async def _request(self, method: str, url: str, **options: Any) -> Any:
        async with self.session.request(
            method, url, headers=ADMIN, **options
        ) as response:
            assert response.status < 400, (response.status, await response.text())
            return await response.json(content_type=None)

    async def without_form_rules(self) -> None:
        """Records may hold what people could save before the extension checked names, links and lengths."""
        await self._request(
            "POST",
            f"{self.espocrm.url}/__sandbox__/settings",
            json={"form_rules": False},
        )

    async def new_person(self, **attributes: Any) -> str:
        record = {
            "firstName": "Erika",
            "lastName": "Muster",
            "salutationName": "Frau",
            **attributes,
        }
        url = f"{self.espocrm.url}/__sandbox__/records/CBeteiligte?silent=1"
        return str((await self._request("POST", url, json=record))["id"])

    async def in_espocrm(
        self, entity_id: str, entity: str = "CBeteiligte"
    ) -> dict[str, Any]:
        record: dict[str, Any] = await self._request(
            "GET", f"{self.espocrm.url}/api/v1/{entity}/{entity_id}"
        )
        return record

    async def edit_espocrm(self, entity_id: str, **attributes: Any) -> None:
        self.clock.advance(seconds=5)
        await self._request(
            "PUT",
            f"{self.espocrm.url}/__sandbox__/records/CBeteiligte/{entity_id}",
            json=attributes,
        )

    async def delete_in_espocrm(self, entity_id: str) -> None:
        await self._request(
            "DELETE", f"{self.espocrm.url}/__sandbox__/records/CBeteiligte/{entity_id}"
        )

    async def tasks(self) -> list[dict[str, Any]]:
        rows = (await self._request("GET", f"{self.espocrm.url}/api/v1/Task"))["list"]
        return [await self.in_espocrm(row["id"], "Task") for row in rows]

    def in_advoware(self, betnr: int) -> dict[str, Any]:
        return next(
            row for row in self.advoware.state()["beteiligte"] if row["betNr"] == betnr
        )

    async def edit_advoware(self, betnr: int, **attributes: Any) -> None:
        self.clock.advance(seconds=5)
        await self._request(
            "PUT",
            f"{self.advoware.url}/__sandbox__/beteiligte/{betnr}",
            json=attributes,
        )

    async def delete_in_advoware(self, betnr: int) -> None:
        await self._request(
            "DELETE", f"{self.advoware.url}/__sandbox__/beteiligte/{betnr}"
        )

    async def fault(self, twin: Any, **rule: Any) -> None:
        await self._request("POST", f"{twin.url}/__sandbox__/faults", json=rule)

    async def act(self, twin: Any, **action: Any) -> None:
        """What people do in the browser or the desktop program (docs/sandbox.md, "Actions")."""
        await self._request("POST", f"{twin.url}/__sandbox__/actions", json=action)

    async def no_faults(self) -> None:
        for twin in (self.espocrm, self.advoware):
            await self._request("DELETE", f"{twin.url}/__sandbox__/faults")

    async def sync(
        self, entity_id: str, action: Any = "update", source: str = "webhook"
    ) -> Outcome:
        self.clock.advance(seconds=5)
        self.espocrm.journal.clear()
        self.advoware.journal.clear()
        event = SyncEvent(entity_id=entity_id, action=action, source=source)
        return await BeteiligteSync(resources=self.resources).handle(event)

    def calls(self, twin: Any, methods: frozenset[str] = WRITES) -> list[str]:
        """What was asked for; each write of several in one call by itself."""
        own = [
            e.get("writes", [f"{e['method']} {e['path'].partition('?')[0]}"])
            for e in twin.journal
        ]
        return [call for calls in own for call in calls if call.split()[0] in methods]

    async def tell_the_rest(self) -> None:
        """What the cron does about people who could not be told."""
        espocrm = EspoCRMAPI(resources=self.resources)
        await NotificationManager(espocrm, resources=self.resources).retry_unfinished()

    def writes(self) -> list[str]:
        logins = "POST /api/v1/Token"
        return [
            call
            for twin in (self.espocrm, self.advoware)
            for call in self.calls(twin)
            if call != logins
        ]

    async def linked_person(self, **attributes: Any) -> tuple[str, int]:
        entity_id = await self.new_person(**attributes)
        assert (await self.sync(entity_id, "create")).result == "created"
        return entity_id, int((await self.in_espocrm(entity_id))["betnr"])

    async def audit(self, entity_id: str) -> list[dict[str, Any]]:
        pool = await self.resources.database()
        return [
            dict(row)
            for row in await pool.fetch(
                "SELECT * FROM sync_audit WHERE entity_id = $1 ORDER BY audit_id",
                entity_id,
            )
        ]


@pytest.fixture
def office(
    resources: Resources,
    espocrm: EspoCRMTwin,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> Office:
    return Office(resources, espocrm, advoware, control, clock)


PHONES = [{"phoneNumber": "+4951112345", "type": "Office", "primary": True}]
MAILS = [{"emailAddress": "erika@example.de", "primary": True}]
