"""What the tests of the Bankverbindungen share: an office, a part's sync, an event's sync, and looks at both sides."""

from __future__ import annotations

from typing import Any

import pytest
from office import BETEILIGTE_ID, Office, office

from services.bankverbindungen_sync import BankverbindungenSync
from services.core.resources import Resources
from services.vmh_sync.job import Outcome, parse_event
from services.vmh_sync.result import PartResult

__all__ = ["office"]

LIST = "EspoCRM GET /api/v1/CBankverbindungen"
HINT = "syncErrorMessage"
IBAN = "DE89370400440532013000"
OTHER_IBAN = "DE02120300000000202051"
KONTO = {
    "iban": "DE89 3704 0044 0532 0130 00",
    "bic": "COBADEFFXXX",
    "kontoinhaber": "Max Müller",
    "bankname": "Coba",
}


@pytest.fixture
def sync(office: Office, resources: Resources) -> Any:
    async def run(advo: dict[str, Any] | None = None) -> PartResult:
        office.forget_calls()
        part = BankverbindungenSync(resources=resources)
        return await part.sync_part(
            office.espo, advo or office.beteiligter(), office.store
        )

    return run


@pytest.fixture
def handle(office: Office, resources: Resources) -> Any:
    async def run(entity_id: str, action: str = "create") -> Outcome:
        office.forget_calls()
        event = parse_event(
            {"entity_id": entity_id, "action": action, "source": "webhook"}
        )
        return await BankverbindungenSync(resources=resources).handle(event)

    return run


async def add(office: Office, **attributes: Any) -> str:
    """A person enters a Bankverbindung in EspoCRM; its id."""
    record = await office.enter(
        "CBankverbindungen", **{**KONTO, "beteiligteId": BETEILIGTE_ID, **attributes}
    )
    return str(record["id"])


async def linked(office: Office, handle: Any) -> str:
    """A Bankverbindung that both sides have; its id."""
    entity_id = await add(office)
    assert (await handle(entity_id)).result == "created"
    return entity_id


def row(office: Office, entity_id: str) -> dict[str, Any]:
    """A Bankverbindung in EspoCRM."""
    return next(
        record
        for record in office.records("CBankverbindungen")
        if record["id"] == entity_id
    )


def konten(office: Office) -> list[dict[str, Any]]:
    """The Bankverbindungen in Advoware."""
    found: list[dict[str, Any]] = office.beteiligter()["bankkverbindungen"]
    return found


def reasons(result: PartResult) -> list[Any]:
    """Why people were notified."""
    return [problem.details.reason for problem in result.problems]


async def assert_settled(office: Office, sync: Any) -> PartResult:
    """A further run reads one list and writes nothing."""
    result: PartResult = await sync()
    assert office.requests() == [LIST]
    assert result.errors == result.changes == ()
    return result
