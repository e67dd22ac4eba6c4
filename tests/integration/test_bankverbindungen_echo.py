"""EspoCRM 8.x reports our own writes to us: an account that cannot be synced must come to rest all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from beteiligte_office import Office, office
from webhook_receiver import Receiver, receiver

from services.bankverbindungen_sync import BankverbindungenSync
from services.vmh_sync.job import SyncEvent

__all__ = ["office", "receiver"]

RUNS = 20
EVENTS = ("CBeteiligte.update", "CBankverbindungen.create", "CBankverbindungen.update")


class Echo:
    """A queue that is fed by EspoCRM's webhooks, and what its jobs have written."""

    def __init__(self, office: Office, receiver: Receiver) -> None:
        self.office = office
        self.receiver = receiver
        self.waiting: list[tuple[str, str]] = []

    async def subscribe(self) -> None:
        office = self.office
        await office._request(
            "POST",
            f"{office.espocrm.url}/__sandbox__/settings",
            json={"version": "8.4"},
        )
        for event in EVENTS:
            webhook = {
                "event": event,
                "url": f"{self.receiver.url}/{event}",
                "skipOwn": True,
                "isActive": True,
            }
            await office._request(
                "POST",
                f"{office.espocrm.url}/__sandbox__/records/Webhook",
                json=webhook,
            )

    async def deliver(self) -> None:
        """What EspoCRM has to report becomes jobs, each record once."""
        office = self.office
        self.receiver.requests.clear()
        await office._request(
            "POST", f"{office.espocrm.url}/__sandbox__/webhooks/process"
        )
        for _, body in self.receiver.requests:
            for record in json.loads(body):
                kind = "bank" if "iban" in record else "beteiligte"
                if (kind, record["id"]) not in self.waiting:
                    self.waiting.append((kind, record["id"]))

    async def run(self, kind: str, entity_id: str) -> list[str]:
        """One job; the requests that changed something."""
        office = self.office
        if kind == "beteiligte":
            await office.sync(entity_id)
            return office.writes()
        office.clock.advance(seconds=5)
        office.espocrm.journal.clear()
        office.advoware.journal.clear()
        event = SyncEvent(entity_id=entity_id, action="update", source="webhook")
        await BankverbindungenSync(resources=office.resources).handle(event)
        return office.writes()


@pytest.fixture
async def echo(office: Office, receiver: Receiver) -> Echo:
    queue = Echo(office, receiver)
    await queue.subscribe()
    return queue


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"iban": "DE89370400440532013000", "bic": None, "kontoinhaber": "x" * 251},
        {"iban": "DE89370400440532013000", "istAktiv": False},
    ],
)
async def test_one_account_without_iban_leads_to_no_write_after_the_first(
    echo: Echo, values: dict[str, Any]
) -> None:
    office = echo.office
    older = {"form_rules": False}  # as saved before the extension asked for it
    await office._request(
        "POST", f"{office.espocrm.url}/__sandbox__/settings", json=older
    )
    entity_id, _ = await office.linked_person()
    bank = await office._request(
        "POST",
        f"{office.espocrm.url}/__sandbox__/records/CBankverbindungen",
        json={"beteiligteId": entity_id, "bankname": "Coba", **values},
    )
    await echo.run("bank", bank["id"])
    for _ in range(
        2
    ):  # the first sync of the Beteiligter may have something of its own to write
        await echo.run("beteiligte", entity_id)
    await echo.deliver()
    echo.waiting += [("bank", bank["id"]), ("beteiligte", entity_id)]
    written: list[str] = []
    for run in range(RUNS):
        kind, job = (
            echo.waiting.pop(0)
            if echo.waiting
            else (("beteiligte", entity_id), ("bank", bank["id"]))[run % 2]
        )
        written += await echo.run(kind, job)
        await echo.deliver()
    assert written == []
    assert echo.waiting == []
