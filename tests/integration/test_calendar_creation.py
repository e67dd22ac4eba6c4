"""A calendar is made once, whatever becomes of the answer: Google chooses its id, so nothing else distinguishes two."""

from __future__ import annotations

from typing import Any

import pytest
from calendar_office import CalendarOffice, in_haste, office

from services.calendar_sync.run import RunSummary
from services.core.errors import ForeignSystemError, Unavailable, UnexpectedAnswer

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


@in_haste
@pytest.mark.parametrize(
    ("path", "hidden", "result"),
    [
        ("/users/me/calendarList$", "items[].summary", RunSummary),
        ("/calendarList$|/calendars/[^/]+$", "summary", ForeignSystemError),
        ("/users/me/calendarList$", "items[].accessRole", ForeignSystemError),
    ],
    ids=["the list shows no names", "nothing shows names", "the list shows no owners"],
)
@pytest.mark.parametrize(
    "how",
    [
        {"how": "missing"},
        {"how": "null"},
        {"how": "value", "to": 5},
        {"how": "value", "to": "  "},
        {"how": "value", "to": ["AW-SB"]},
    ],
    ids=["missing", "null", "number", "blank", "list"],
)
async def test_a_calendar_that_is_not_understood_is_not_made_a_second_time(
    office: CalendarOffice,
    path: str,
    hidden: str,
    result: type[RunSummary | ForeignSystemError],
    how: dict[str, Any],
) -> None:
    office.termin("Verhandlung")
    office.new_calendar(office.account_name)  # its creation was not confirmed

    fields = [hidden, f"items[].{hidden}"] if hidden == "summary" else [hidden]
    answer = [{"field": name, **how} for name in fields]
    office.strike("google", method="GET", path=path, answer=answer)
    outcome = await office.try_sync()
    assert isinstance(outcome, result | Unavailable)
    assert "POST /calendar/v3/calendars" not in _requests(office)

    office.recover()
    await office.sync_until_calm()
    assert office.texts() == ["Verhandlung"]


@in_haste
@pytest.mark.parametrize(
    ("field", "how"),
    [
        ("items[].id", {"how": "missing"}),
        ("items[].id", {"how": "null"}),
        ("items[].id", {"how": "value", "to": 5}),
        ("items[]", {"how": "value", "to": "AW-SB"}),
        ("items[]", {"how": "null"}),
    ],
)
async def test_an_entry_that_is_no_calendar_makes_none(
    office: CalendarOffice, field: str, how: dict[str, Any]
) -> None:
    office.termin("Verhandlung")
    office.new_calendar(office.account_name)
    answer = [{"field": field, **how}]
    office.strike("google", method="GET", path="/calendarList$", answer=answer)
    assert isinstance(await office.try_sync(), UnexpectedAnswer)
    assert "POST /calendar/v3/calendars" not in _requests(office)

    office.recover()
    await office.sync_until_calm()
    assert office.texts() == ["Verhandlung"]


@in_haste
@pytest.mark.parametrize(
    "how",
    [
        {"how": "missing"},
        {"how": "null"},
        {"how": "value", "to": 5},
        {"how": "value", "to": ["c"]},
    ],
)
async def test_a_creation_whose_answer_shows_no_id_is_none_of_a_second_calendar(
    office: CalendarOffice, how: dict[str, Any]
) -> None:
    office.termin("Verhandlung")
    answer = [{"field": "id", **how}]
    office.strike("google", method="POST", path="/calendars$", answer=answer)
    assert isinstance(await office.try_sync(), UnexpectedAnswer)

    await office.sync_until_calm()
    assert office.texts() == ["Verhandlung"]


def _requests(office: CalendarOffice) -> list[str]:
    return [call.partition("?")[0] for call in office.calls("google")]
