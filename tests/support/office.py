"""A small firm for the tests of the VMH syncs: people act in EspoCRM and Advoware, tests look at both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import ActiveFault, Fault
from sandbox.espocrm.app import EspoCRMTwin
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.resources import Resources
from services.espocrm import WRITE_ACTION, EspoCRMAPI
from services.notification_utils import NotificationManager
from services.vmh_sync.job import Outcome, SyncEvent
from services.vmh_sync.store import SyncStore

ADMIN = {"X-Api-Key": "espocrm-admin-key"}
LAWYER_ID = "6b0473a32660aa001"
BETEILIGTE_ID = "6b0473a32660ab101"
READS = frozenset({"GET", "HEAD"})
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass
class Office:
    """The people at both programs, the sync between them, and what tests see of both.

    `open` lets one CBeteiligte with his Beteiligter exist (``espo``, ``betnr``): the one of the tests of the parts.
    """

    resources: Resources
    espocrm: EspoCRMTwin
    advoware: AdvowareTwin
    session: aiohttp.ClientSession
    clock: Any
    espo: dict[str, Any] = field(default_factory=dict)
    betnr: int = 0
    store: SyncStore | None = None

    async def open(self) -> Office:
        """Let the lawyer, the CBeteiligte and the Beteiligter exist."""
        self.store = SyncStore(await self.resources.database())
        await self.enter(
            "User",
            id=LAWYER_ID,
            userName="grün",
            name="Ada Grün",
            type="regular",
            isActive=True,
        )
        master = {
            "rechtsform": "Herr",
            "anrede": "Herr",
            "vorname": "Max",
            "name": "Müller",
        }
        self.betnr = self.advoware.beteiligte.create(master, "SB")["betNr"]
        self.espo = await self.enter(
            "CBeteiligte",
            id=BETEILIGTE_ID,
            firstName="Max",
            lastName="Müller",
            betnr=self.betnr,
            syncStatus="clean",
            assignedUserId=LAWYER_ID,
        )
        self.forget_calls()
        return self

    async def _request(self, method: str, url: str, **options: Any) -> Any:
        async with self.session.request(
            method, url, headers=ADMIN, **options
        ) as response:
            assert response.status == 200, (response.status, await response.text())
            return await response.json(content_type=None)

    async def _in_espocrm_program(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        url = f"{self.espocrm.url}/__sandbox__/{path}"
        return await self._request(method, url, json=body)

    async def _in_advoware_program(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        url = f"{self.advoware.url}/__sandbox__/{path}"
        return await self._request(method, url, json=body)

    # -- people in EspoCRM ----------------------------------------------------------------------------------------

    async def change_settings(self, **switches: Any) -> None:
        """The administrator changes EspoCRM's settings."""
        await self._in_espocrm_program("POST", "settings", switches)

    async def without_form_rules(self) -> None:
        """Records may hold what people could save before the extension checked names, links and lengths."""
        await self.change_settings(form_rules=False)

    async def enter(self, entity: str, **attributes: Any) -> dict[str, Any]:
        """A person creates a record."""
        record: dict[str, Any] = await self._in_espocrm_program(
            "POST", f"records/{entity}", attributes
        )
        return record

    async def edit(
        self, entity: str, entity_id: str, **attributes: Any
    ) -> dict[str, Any]:
        """A person edits a record."""
        record: dict[str, Any] = await self._in_espocrm_program(
            "PUT", f"records/{entity}/{entity_id}", attributes
        )
        return record

    async def delete(self, entity: str, entity_id: str) -> None:
        """A person deletes a record."""
        await self._in_espocrm_program("DELETE", f"records/{entity}/{entity_id}")

    async def new_person(self, **attributes: Any) -> str:
        """A CBeteiligte for whom no webhook comes; his id."""
        record = {
            "firstName": "Erika",
            "lastName": "Muster",
            "salutationName": "Frau",
            **attributes,
        }
        created = await self._in_espocrm_program(
            "POST", "records/CBeteiligte?silent=1", record
        )
        return str(created["id"])

    async def edit_espocrm(self, entity_id: str, **attributes: Any) -> None:
        self.clock.advance(seconds=5)
        await self.edit("CBeteiligte", entity_id, **attributes)

    async def delete_in_espocrm(self, entity_id: str) -> None:
        await self.delete("CBeteiligte", entity_id)

    # -- people in Advoware ---------------------------------------------------------------------------------------

    async def edit_advoware(self, betnr: int, **attributes: Any) -> None:
        self.clock.advance(seconds=5)
        await self._in_advoware_program("PUT", f"beteiligte/{betnr}", attributes)

    async def delete_in_advoware(self, betnr: int) -> None:
        await self._in_advoware_program("DELETE", f"beteiligte/{betnr}")

    def edit_beteiligter(self, **changes: Any) -> None:
        """A person changes the Beteiligter that `open` has made."""
        self.advoware.beteiligte.edit(self.betnr, changes, "SB")

    # -- the systems ----------------------------------------------------------------------------------------------

    async def fault(self, twin: Any, **rule: Any) -> None:
        await self._request("POST", f"{twin.url}/__sandbox__/faults", json=rule)

    async def act(self, twin: Any, **action: Any) -> None:
        """What people do in the browser or the desktop program (docs/sandbox.md, "Actions")."""
        await self._request("POST", f"{twin.url}/__sandbox__/actions", json=action)

    async def no_faults(self) -> None:
        for twin in (self.espocrm, self.advoware):
            await self._request("DELETE", f"{twin.url}/__sandbox__/faults")

    # -- the sync -------------------------------------------------------------------------------------------------

    async def sync(
        self, entity_id: str, action: Any = "update", source: str = "webhook"
    ) -> Outcome:
        self.clock.advance(seconds=5)
        self.forget_calls()
        event = SyncEvent(entity_id=entity_id, action=action, source=source)
        return await BeteiligteSync(resources=self.resources).handle(event)

    async def linked_person(self, **attributes: Any) -> tuple[str, int]:
        entity_id = await self.new_person(**attributes)
        assert (await self.sync(entity_id, "create")).result == "created"
        return entity_id, int((await self.in_espocrm(entity_id))["betnr"])

    async def notify_the_rest(self) -> None:
        """What the cron does about people who could not be notified."""
        espocrm = EspoCRMAPI(resources=self.resources)
        await NotificationManager(espocrm, resources=self.resources).retry_unfinished()

    # -- what tests see -------------------------------------------------------------------------------------------

    async def in_espocrm(
        self, entity_id: str, entity: str = "CBeteiligte"
    ) -> dict[str, Any]:
        """A record as EspoCRM answers it."""
        record: dict[str, Any] = await self._request(
            "GET", f"{self.espocrm.url}/api/v1/{entity}/{entity_id}"
        )
        return record

    async def tasks(self) -> list[dict[str, Any]]:
        rows = (await self._request("GET", f"{self.espocrm.url}/api/v1/Task"))["list"]
        return [await self.in_espocrm(row["id"], "Task") for row in rows]

    def records(self, entity: str) -> list[dict[str, Any]]:
        """All records of an entity in EspoCRM, oldest first."""
        found: list[dict[str, Any]] = self.espocrm.state()["records"][entity]
        return found

    def in_advoware(self, betnr: int) -> dict[str, Any]:
        """A Beteiligter as it is stored."""
        return next(
            row for row in self.advoware.state()["beteiligte"] if row["betNr"] == betnr
        )

    def beteiligter(self) -> dict[str, Any]:
        """The Beteiligter that `open` has made, as Advoware answers it."""
        return self.advoware.beteiligte.get(self.betnr)

    async def audit(self, entity_id: str) -> list[dict[str, Any]]:
        pool = await self.resources.database()
        rows = await pool.fetch(
            "SELECT * FROM sync_audit WHERE entity_id = $1 ORDER BY audit_id",
            entity_id,
        )
        return [dict(row) for row in rows]

    def calls(self, twin: Any, methods: frozenset[str] = WRITES) -> list[str]:
        """What was asked for; each write of several in one call by itself."""
        calls: list[str] = []
        for entry in twin.journal:
            path = entry["path"].partition("?")[0]
            calls += entry.get("writes", [f"{entry['method']} {path}"])
        return [call for call in calls if call.split()[0] in methods]

    def writes(self) -> list[str]:
        """The writes to both systems (`calls`), logins left out."""
        calls = [*self.calls(self.espocrm), *self.calls(self.advoware)]
        return [call for call in calls if call != "POST /api/v1/Token"]

    def requests(self) -> list[str]:
        """``"EspoCRM GET /api/v1/CAdressen"`` for each request since the last `forget_calls`.

        Logins do not count, nor what is asked once in five minutes (`services.espocrm.WRITE_ACTION`).
        """
        requests = []
        for name, twin in (("EspoCRM", self.espocrm), ("Advoware", self.advoware)):
            for entry in twin.journal:
                path = entry["path"].partition("?")[0]
                if not path.endswith(("/Token", WRITE_ACTION)):
                    requests.append(f"{name} {entry['method']} {path}")
        return requests

    def write_requests(self) -> list[str]:
        """Those of `requests` that may have changed something."""
        return [call for call in self.requests() if call.split()[1] not in READS]

    def forget_calls(self) -> None:
        """Count the requests from here on."""
        self.espocrm.journal.clear()
        self.advoware.journal.clear()


def strike(
    twin: AdvowareTwin | EspoCRMTwin, method: str, path: str, **fault: Any
) -> None:
    """Let the twin misbehave once (or ``count`` times) for this request."""
    twin.faults.append(
        ActiveFault(Fault(method=method, path=path, **{"count": 1, **fault}))
    )


@pytest.fixture
async def office(
    resources: Resources,
    espocrm: EspoCRMTwin,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> Office:
    """The firm, with its lawyer, its CBeteiligte and its Beteiligter."""
    return await Office(resources, espocrm, advoware, control, clock).open()
