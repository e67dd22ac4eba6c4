"""Lists of Google's in which one entry is none."""

from __future__ import annotations

from typing import Any

import pytest

from services.google_calendar import GoogleCalendarAPI

#: What stands in a list of calendars, events or rules of sharing instead of an object with an id.
ODD_ENTRIES: tuple[Any, ...] = (
    *(None, 7, "x", [], ["id"], [{}], {}, {"id": None}, {"id": 5}, {"id": ["e"]}),
    *({"id": "e1", "creator": "x"}, {"id": "e1", "extendedProperties": [1]}),
    {"id": "e1", "role": ["reader"], "scope": "x", "status": {"a": 1}},
)


def is_event(odd: Any) -> bool:
    """Whether it can be read as an event, be it one that says nothing."""
    return isinstance(odd, dict) and isinstance(odd.get("id"), str)


def put_into_lists(patch: pytest.MonkeyPatch, odd: Any) -> None:
    """Each list of Google's begins with this; that of the calendars only if it is one with an id."""
    real = GoogleCalendarAPI._pages

    async def pages(api: GoogleCalendarAPI, request: Any) -> Any:
        items, last = await real(api, request)
        is_of_calendars = "accessRole" in str(items)
        return (items if is_of_calendars else [odd, *items]), last

    patch.setattr(GoogleCalendarAPI, "_pages", pages)
