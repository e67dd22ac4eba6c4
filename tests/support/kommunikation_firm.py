"""A CBeteiligte and his Beteiligter with their phone numbers and mail addresses: what the tests of that sync share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sandbox.advoware.app import AdvowareTwin
from sandbox.control import ActiveFault, Fault, Twin
from sandbox.espocrm.app import EspoCRMTwin
from services.advoware_service import AdvowareService
from services.core.resources import Resources
from services.espocrm import WRITE_ACTION, EspoCRMAPI
from services.kommunikation_mapper import Marker, build_marker
from services.kommunikation_sync_utils import (
    KommunikationResult,
    KommunikationSyncManager,
)
from services.vmh_sync.store import SyncStore

Row = dict[str, Any]

ID = "6b04744e3b3103de1"
KOMMUNIKATIONEN = "/Kommunikationen"


@dataclass
class Firm:
    """One CBeteiligte and his Beteiligter, with the people who edit them and the sync between them."""

    advoware: AdvowareTwin
    espocrm: EspoCRMTwin
    control: aiohttp.ClientSession
    resources: Resources
    betnr: int

    async def sync(self, **options: Any) -> KommunikationResult:
        """A sync as the flow does it: what an interrupted run has left is waited for, then it starts again."""
        manager = KommunikationSyncManager(resources=self.resources)
        result = await manager.sync_bidirectional(ID, self.betnr, **options)
        if result.not_before is not None:
            self.resources.clock.now = result.not_before  # type: ignore[attr-defined]
            result = await manager.sync_bidirectional(ID, self.betnr, **options)
        return result

    # -- people ---------------------------------------------------------------------------------------------------

    async def espo_edit(self, **attributes: Any) -> None:
        url = f"{self.espocrm.url}/__sandbox__/records/CBeteiligte/{ID}"
        async with self.control.put(url, json=attributes) as answer:
            assert answer.status == 200, await answer.text()

    async def espo_phones(self, *numbers: str) -> None:
        """Make these the office numbers in EspoCRM; the first is primary."""
        rows = [
            {"phoneNumber": number, "type": "Office", "primary": not at}
            for at, number in enumerate(numbers)
        ]
        await self.espo_edit(phoneNumberData=rows)

    async def advo_edit(self, *entries: Row) -> None:
        url = f"{self.advoware.url}/__sandbox__/beteiligte/{self.betnr}"
        async with self.control.put(
            url, json={"kommunikation": list(entries)}
        ) as answer:
            assert answer.status == 200, await answer.text()

    # -- what is there --------------------------------------------------------------------------------------------

    def entries(self) -> list[Row]:
        rows: list[Row] = self.advoware.beteiligte.get(self.betnr)["kommunikation"]
        return rows

    def values(self) -> list[str]:
        return [row["tlf"] for row in self.entries()]

    async def espo(self) -> Row:
        return await EspoCRMAPI(resources=self.resources).get_entity("CBeteiligte", ID)

    async def phones(self) -> list[str]:
        return [row["phoneNumber"] for row in (await self.espo())["phoneNumberData"]]

    async def mails(self) -> list[str]:
        return [row["emailAddress"] for row in (await self.espo())["emailAddressData"]]

    # -- the wire -------------------------------------------------------------------------------------------------

    def calls(self) -> list[str]:
        """The requests since the last time, as "METHOD last part of the path".

        Logins do not count, nor what is asked once in five minutes (`services.espocrm.WRITE_ACTION`).
        """
        found = [
            f"{call['method']} {call['path'].split('?')[0].rsplit('/', 1)[-1]}"
            for twin in (self.advoware, self.espocrm)
            for call in twin.journal
            if not call["path"].endswith(("/Token", WRITE_ACTION))
        ]
        self.advoware.journal.clear()
        self.espocrm.journal.clear()
        return found

    def refuses(self, method: str, tlf: str) -> None:
        """Advoware answers 400 to requests with such a value."""
        pattern = tlf if tlf.startswith("^") else re.escape(tlf)
        refusal = {"field": "tlf", "how": "refuse", "to": "nothing", "match": pattern}
        fault(
            self.advoware,
            method=method,
            path=KOMMUNIKATIONEN,
            count=None,
            stored=[refusal],
        )

    def stores(self, **alteration: Any) -> None:
        """Advoware stores something else than was sent."""
        fault(
            self.advoware,
            method="POST|PUT",
            path=KOMMUNIKATIONEN,
            count=None,
            stored=[alteration],
        )

    async def assert_settled(self, standing: tuple[str, ...] = ()) -> None:
        """Nothing is left to do: neither a request nor anything to remember; ``standing`` is still reported."""
        espo = await self.espo()
        advo = await AdvowareService(resources=self.resources).get_beteiligter(
            self.betnr
        )
        store = SyncStore(await self.resources.database())
        self.calls()
        result = await KommunikationSyncManager(resources=self.resources).sync_part(
            espo, advo, store
        )
        assert (self.calls(), result.espocrm, result.changes, result.errors) == (
            [],
            {},
            (),
            (),
        )
        assert (result.states, result.standing) == ((), standing)


def fault(twin: Twin, **rule: Any) -> None:
    """Let the twin misbehave once."""
    twin.faults.append(ActiveFault(Fault(**{"count": 1, **rule})))


def marked(value: str, komm_kz: int = 1, text: str = "") -> str:
    return build_marker(Marker(value, komm_kz), text)


@pytest.fixture
async def firm(
    advoware: AdvowareTwin,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    resources: Resources,
) -> Firm:
    """A person known to both systems, without any Kommunikation."""
    created = advoware.beteiligte.create({"name": "Müller", "vorname": "Jörg"}, "SB")
    record = {
        "id": ID,
        "firstName": "Jörg",
        "lastName": "Müller",
        "betnr": created["betNr"],
    }
    async with control.post(
        f"{espocrm.url}/__sandbox__/records/CBeteiligte", json=record
    ) as answer:
        assert answer.status == 200, await answer.text()
    return Firm(advoware, espocrm, control, resources, created["betNr"])


@pytest.fixture
async def linked(firm: Firm) -> Firm:
    """Two office numbers on which both sides agree; Advoware's user has written a note to the first."""
    await firm.espo_phones("+495111111", "+495112222")
    await firm.sync()
    first = firm.entries()[0]
    await firm.advo_edit(
        {"id": first["id"], "bemerkung": f"{first['bemerkung']} nur vormittags"}
    )
    await firm.sync()
    firm.calls()
    return firm
