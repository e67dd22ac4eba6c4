"""A small firm for the tests of the sync parts: people act in EspoCRM and Advoware, tests look at both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import ActiveFault, Fault
from sandbox.espocrm.app import EspoCRMTwin
from services.core.resources import Resources
from services.espocrm import WRITE_ACTION
from services.vmh_sync.store import SyncStore

LAWYER_ID = "6b0473a32660aa001"
BETEILIGTE_ID = "6b0473a32660ab101"
READS = {"GET", "HEAD"}


@dataclass
class Office:
    """One CBeteiligte with his Beteiligter, and what people and tests can do with them."""

    espocrm: EspoCRMTwin
    advoware: AdvowareTwin
    control: aiohttp.ClientSession
    store: SyncStore
    espo: dict[str, Any] = field(default_factory=dict)
    betnr: int = 0

    async def open(self) -> Office:
        """Let the lawyer, the CBeteiligte and the Beteiligter exist."""
        await self.in_espocrm(
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
        self.espo = await self.in_espocrm(
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

    # -- what people do -------------------------------------------------------------------------------------------

    async def in_espocrm(self, entity: str, **attributes: Any) -> dict[str, Any]:
        """A person creates a record."""
        return await self._record("POST", f"records/{entity}", attributes)

    async def edit(
        self, entity: str, entity_id: str, **attributes: Any
    ) -> dict[str, Any]:
        """A person edits a record."""
        return await self._record("PUT", f"records/{entity}/{entity_id}", attributes)

    async def delete(self, entity: str, entity_id: str) -> None:
        """A person deletes a record."""
        async with self.control.delete(
            f"{self.espocrm.url}/__sandbox__/records/{entity}/{entity_id}"
        ) as answer:
            assert answer.status == 200

    async def change_settings(self, **switches: Any) -> None:
        """The administrator changes EspoCRM's settings."""
        await self._record("POST", "settings", switches)

    async def _record(
        self, method: str, path: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        async with self.control.request(
            method, f"{self.espocrm.url}/__sandbox__/{path}", json=body
        ) as answer:
            assert answer.status == 200, await answer.text()
            record: dict[str, Any] = await answer.json()
            return record

    def in_advoware(self, **changes: Any) -> None:
        """A person changes the Beteiligter in Advoware's desktop program."""
        self.advoware.beteiligte.edit(self.betnr, changes, "SB")

    # -- what tests see -------------------------------------------------------------------------------------------

    def beteiligter(self) -> dict[str, Any]:
        """The Beteiligter as Advoware answers it."""
        return self.advoware.beteiligte.get(self.betnr)

    def records(self, entity: str) -> list[dict[str, Any]]:
        """All records of an entity in EspoCRM, oldest first."""
        found: list[dict[str, Any]] = self.espocrm.state()["records"][entity]
        return found

    def calls(self) -> list[str]:
        """``"EspoCRM GET /api/v1/CAdressen"`` for each request since the last `forget_calls`.

        Logins do not count, nor what is asked once in five minutes (`services.espocrm.WRITE_ACTION`).
        """
        calls = []
        for name, twin in (("EspoCRM", self.espocrm), ("Advoware", self.advoware)):
            for entry in twin.journal:
                path = entry["path"].partition("?")[0]
                if not path.endswith(("/Token", WRITE_ACTION)):
                    calls.append(f"{name} {entry['method']} {path}")
        return calls

    def writes(self) -> list[str]:
        """The requests that may have changed something."""
        return [call for call in self.calls() if call.split()[1] not in READS]

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
    espocrm: EspoCRMTwin,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    resources: Resources,
) -> Office:
    """The firm, with its lawyer, its CBeteiligte and its Beteiligter."""
    store = SyncStore(await resources.database())
    return await Office(espocrm, advoware, control, store).open()
