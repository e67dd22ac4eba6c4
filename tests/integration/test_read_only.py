"""``BITBYLAW_READ_ONLY``: no client writes anything to a foreign system, whatever the caller."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from beteiligte_office import Office
from beteiligte_office import office as beteiligte_office
from calendar_office import CalendarOffice, in_haste, office
from client_writes import write_operations

from config import Settings
from services.advoware import AdvowareAPI
from services.advoware_service import AdvowareService
from services.core.errors import ReadOnly
from services.core.resources import Resources
from services.espocrm import EspoCRMAPI, RecordWrite
from services.google_calendar import GoogleCalendarAPI

__all__ = ["beteiligte_office", "office"]

EVENT = {"id": "abcde12345", "summary": "x"}
ARGUMENTS: dict[str, Any] = {
    "betnr": 1,
    "kommunikation_id": 1,
    "adresse_id": 1,
    "frnr": 1,
    "record": {"frNr": 1, "name": "Muster"},
    "entity_type": "CBeteiligte",
    "entity_id": "6512f0e1a2b3c4d5e",
    "data": {"lastName": "Muster"},
    "attributes": {"lastName": "Muster"},
    "writes": [RecordWrite("CBeteiligte", "6512f0e1a2b3c4d5e", {"lastName": "x"})],
    "summary": "AW-SB",
    "calendar_id": "calendar",
    "event_id": "abcde12345",
    "body": EVENT,
    "changes": {"summary": "x"},
    "role": "reader",
    "email": "a@example.org",
    "rule_id": "user:a@example.org",
}


async def refused(client: Any) -> list[str]:
    """Call every write operation; those that were refused because everything is read only."""
    names = []
    for name, method in write_operations(client):
        parameters = inspect.signature(method).parameters.values()
        required = [item for item in parameters if item.default is item.empty]
        with pytest.raises(ReadOnly):
            await method(**{item.name: ARGUMENTS[item.name] for item in required})
        names.append(name)
    return names


def read_only(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(BITBYLAW_READ_ONLY=True, ADVOWARE_WRITE_PROTECTION=False)


async def test_no_write_to_advoware_or_espocrm_is_sent(
    beteiligte_office: Office, make_settings: Callable[..., Settings]
) -> None:
    async with Resources(read_only(make_settings)) as resources:
        advoware = await refused(AdvowareService(resources=resources))
        espocrm = await refused(EspoCRMAPI(resources=resources))
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            with pytest.raises(ReadOnly):
                await AdvowareAPI(resources=resources).request(
                    "api/v1/advonet/Akten", method, json_data={}
                )
    assert len(advoware) == 10
    assert len(espocrm) == 4
    assert beteiligte_office.writes() == []


@in_haste
async def test_no_write_to_google_is_sent(office: CalendarOffice) -> None:
    await office.configure(BITBYLAW_READ_ONLY="true")
    names = await refused(GoogleCalendarAPI(resources=office.resources))
    assert len(names) == 9
    assert office.calls("google") == []
