"""A calendar is made once, whatever becomes of the answer: Google chooses its id, so nothing else tells two apart."""

from __future__ import annotations

from typing import Any

import pytest
from calendar_office import CalendarOffice, in_haste, office

from services.core.errors import Unavailable

__all__ = ["office"]


@in_haste
@pytest.mark.parametrize(
    "trouble",
    [
        {"reset": True, "when": "after"},
        {"status": 503, "when": "after"},
        {"hang": True, "when": "after"},
        {"reset": True},
    ],
    ids=[
        "connection lost afterwards",
        "unavailable afterwards",
        "silent afterwards",
        "connection lost before",
    ],
)
async def test_a_calendar_whose_creation_was_not_confirmed_is_made_once(
    office: CalendarOffice, trouble: dict[str, Any]
) -> None:
    office.termin("Verhandlung")
    office.strike("google", method="POST", path="/calendars$", count=1, **trouble)

    assert isinstance(await office.try_sync(), Unavailable)
    requests = [call for call in office.calls("google") if call.startswith("POST")]
    office.recover()
    await office.sync_until_calm()

    assert len(requests) == 1
    assert office.texts() == [
        "Verhandlung"
    ]  # and there is no second calendar of this name
