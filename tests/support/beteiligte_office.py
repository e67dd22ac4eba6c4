"""The office before any Beteiligter is there: what the tests of the Beteiligte sync share."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from office import WRITES, Office

from sandbox.advoware.app import AdvowareTwin
from sandbox.espocrm.app import EspoCRMTwin
from services.core.resources import Resources

__all__ = ["MAILS", "PHONES", "WRITES", "Office", "office"]

PHONES = [{"phoneNumber": "+4951112345", "type": "Office", "primary": True}]
MAILS = [{"emailAddress": "erika@example.de", "primary": True}]


@pytest.fixture
def office(
    resources: Resources,
    espocrm: EspoCRMTwin,
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> Office:
    return Office(resources, espocrm, advoware, control, clock)
