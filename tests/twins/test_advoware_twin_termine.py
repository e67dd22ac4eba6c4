"""Termine of the Advoware twin: windows, series, full-object updates and derived entries (section 05)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
from advoware_calls import API, NOW, Advoware, serving

from sandbox.advoware.app import AdvowareTwin

TERMIN = {
    "text": "Besprechung Müller",
    "notiz": "Akte mitnehmen",
    "ort": "Raum 1",
    "datum": "2026-03-02",
    "uhrzeitVon": "10:00:00",
    "uhrzeitBis": "11:30:00",
    "datumBis": "2026-03-02",
    "anwalt": "SB",
    "sb": "AI",
}
WEEKLY = TERMIN | {
    "dauertermin": 1,
    "turnus": 1,
    "turnusArt": 2,
    "datumBis": "2037-12-31",
}


@pytest.fixture(name="advoware")
async def caller_with_token() -> AsyncIterator[Advoware]:
    async with serving(AdvowareTwin(clock=lambda: NOW)) as advoware:
        await advoware.log_in()
        yield advoware


async def test_a_window_shows_what_is_ones_own_or_of_all_employees(
    advoware: Advoware,
) -> None:
    rows = await advoware.call(
        "GET", "/Termine?kuerzel=AI&from=2026-02-03&to=2028-02-10"
    )
    assert {row["anwalt"] for row in rows} == {"AI", "", "ALLE", "Allgemein"}
    assert any(
        row["frNr"] < 0
        for row in await advoware.call("GET", "/Termine?from=2026-02-03&to=2028-02-10")
    )


async def test_a_window_includes_what_reaches_into_it(advoware: Advoware) -> None:
    created = await advoware.call(
        "POST", "/Termine", TERMIN | {"datumBis": "2026-03-05"}
    )
    for window, inside in (
        ("from=2026-03-05&to=2026-03-09", True),
        ("from=2026-02-01&to=2026-03-02", True),
        ("from=2026-03-06&to=2026-03-09", False),
        ("from=2026-02-01&to=2026-03-01", False),
    ):
        rows = await advoware.call("GET", f"/Termine?kuerzel=SB&{window}")
        assert (created["frNr"] in {row["frNr"] for row in rows}) == inside, window


async def test_an_unknown_kuerzel_has_no_appointments(advoware: Advoware) -> None:
    assert (
        await advoware.call("GET", "/Termine?kuerzel=XX&from=2026-01-01&to=2028-01-01")
        == []
    )
    assert (await advoware.refused("GET", "/Termine?kuerzel=SB&from=morgen"))[0] == 400


async def test_frnr_finds_one_and_frNr_is_ignored(advoware: Advoware) -> None:  # noqa: N802 - the spelling is the point
    rows = await advoware.call("GET", "/Termine?frnr=20005")
    assert [row["frNr"] for row in rows] == [20005]
    assert len(await advoware.call("GET", "/Termine?frNr=20005")) == 400
    assert await advoware.call("GET", "/Termine?frnr=1") == []
    assert (await advoware.refused("GET", "/Termine?frnr=viele"))[0] == 400


async def test_dates_come_with_and_without_time_and_mean_the_same(
    advoware: Advoware,
) -> None:
    rows = await advoware.call("GET", "/Termine")
    timed = [row for row in rows if row["uhrzeitVon"]]
    with_time = [row for row in timed if "T" in row["datum"]]
    assert 0 < len(with_time) < len(timed)
    assert all(row["datum"].endswith(row["uhrzeitVon"]) for row in with_time)
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}", row["zuletztGeaendertAm"])
        for row in rows
    )


async def test_all_day_entries_end_one_minute_before_midnight(
    advoware: Advoware,
) -> None:
    rows = [row for row in await advoware.call("GET", "/Termine") if row["abwesenheit"]]
    assert {(row["uhrzeitVon"], row["uhrzeitBis"]) for row in rows} == {
        ("00:00:00", "23:59:00")
    }
    created = await advoware.call("POST", "/Termine", TERMIN | {"abwesenheit": 1})
    assert (created["uhrzeitVon"], created["uhrzeitBis"]) == ("00:00:00", "23:59:00")


async def test_a_new_termin_gets_number_and_local_change_time(
    advoware: Advoware,
) -> None:
    created = await advoware.call(
        "POST", "/Termine", TERMIN | {"frNr": 7, "rowId": "x"}
    )
    assert created["frNr"] > 20000
    assert re.fullmatch("[A-P]{40}", created["rowId"])
    assert created["zuletztGeaendertAm"] == "2026-02-10T09:00:00.123"
    assert (created["privat"], created["dauertermin"], created["abwesenheit"]) == (
        0,
        0,
        0,
    )
    assert {
        field: created[field]
        for field in (
            "text",
            "notiz",
            "ort",
            "anwalt",
            "sb",
            "uhrzeitVon",
            "uhrzeitBis",
        )
    } == {
        field: TERMIN[field]
        for field in (
            "text",
            "notiz",
            "ort",
            "anwalt",
            "sb",
            "uhrzeitVon",
            "uhrzeitBis",
        )
    }
    assert await advoware.call("GET", f"/Termine?frnr={created['frNr']}") == [created]


async def test_a_date_time_gives_the_start(advoware: Advoware) -> None:
    created = await advoware.call(
        "POST",
        "/Termine",
        {"text": "x", "datum": "2026-03-02T14:15:00", "anwalt": "SB"},
    )
    assert (created["datum"][:10], created["uhrzeitVon"], created["uhrzeitBis"]) == (
        "2026-03-02",
        "14:15:00",
        None,
    )
    assert created["datumBis"] == "2026-03-02"


@pytest.mark.parametrize(
    "change",
    [
        {"datum": None},
        {"datum": "02.03.2026"},
        {"datumBis": "2026-03-01"},
        {"uhrzeitVon": "10:00"},
        {"uhrzeitVon": "24:00:00"},
        {"anwalt": "XX"},
        {"sb": "XX"},
        {"privat": True},
        {"abwesenheit": 2},
        {"text": "x" * 1025},
    ],
)
async def test_a_bad_termin_is_refused(
    advoware: Advoware, change: dict[str, Any]
) -> None:
    assert (await advoware.refused("POST", "/Termine", TERMIN | change))[0] == 400
    assert len(await advoware.call("GET", "/Termine")) == 400


@pytest.mark.parametrize("turnus_art", [1, 2, 3, 4])
async def test_a_series_of_every_kind_is_accepted(
    advoware: Advoware, turnus_art: int
) -> None:
    created = await advoware.call(
        "POST", "/Termine", WEEKLY | {"turnusArt": turnus_art, "turnus": 2}
    )
    assert (created["turnusArt"], created["turnus"], created["datumBis"][:10]) == (
        turnus_art,
        2,
        "2037-12-31",
    )


async def test_the_longest_occurrence_is_one_minute_short_of_a_day(
    advoware: Advoware,
) -> None:
    whole_day = WEEKLY | {"uhrzeitVon": "00:00:00", "uhrzeitBis": "23:59:00"}
    await advoware.call("POST", "/Termine", whole_day)
    status, text = await advoware.refused(
        "POST", "/Termine", whole_day | {"uhrzeitBis": "23:59:30"}
    )
    assert (status, "23:59 Stunden" in text) == (400, True)


@pytest.mark.parametrize(
    "change",
    [
        {"turnusArt": 0},
        {"turnusArt": 5},
        {"turnus": 0},
        {"datumBis": None},
        {"datumBis": "2038-01-01"},
        {"datumBis": "2026-03-01"},
        {"uhrzeitVon": "22:00:00", "uhrzeitBis": "06:00:00"},
    ],
)
async def test_a_series_that_advoware_can_not_hold_is_refused(
    advoware: Advoware, change: dict[str, Any]
) -> None:
    assert (await advoware.refused("POST", "/Termine", WEEKLY | change))[0] == 400


async def test_updating_a_termin_wants_the_full_object(advoware: Advoware) -> None:
    created = await advoware.call("POST", "/Termine", TERMIN)
    status, text = await advoware.refused(
        "PUT", "/Termine", {"frNr": created["frNr"], "text": "neu"}
    )
    assert (status, "unvollständig" in text, "uhrzeitVon" in text) == (400, True, True)
    assert (
        await advoware.refused(
            "PUT", "/Termine", {k: v for k, v in created.items() if k != "frNr"}
        )
    )[0] == 400
    assert (await advoware.refused("PUT", "/Termine", created | {"frNr": 1}))[0] == 404


@pytest.mark.parametrize("times_in_dates", [False, True])
async def test_updating_a_termin_marks_only_real_changes(
    advoware: Advoware, times_in_dates: bool
) -> None:
    created = await advoware.call("POST", "/Termine", TERMIN)
    if ("T" in created["datum"]) != times_in_dates:
        created = await advoware.call("POST", "/Termine", TERMIN)
    assert ("T" in created["datum"]) == times_in_dates
    await advoware.desktop("POST", "clock", {"advance_seconds": 60})
    assert await advoware.call("PUT", "/Termine", created) == created
    changed = await advoware.call("PUT", "/Termine", created | {"text": "Verlegt"})
    assert changed["zuletztGeaendertAm"] == "2026-02-10T09:01:00.123"
    assert {field for field in created if created[field] != changed[field]} == {
        "text",
        "rowId",
        "zuletztGeaendertAm",
    }


async def test_deleting_a_termin_takes_frnr_only(advoware: Advoware) -> None:
    assert (await advoware.refused("DELETE", "/Termine?frNr=20005"))[0] == 400
    assert await advoware.raw("DELETE", f"{API}/Termine?frnr=20005") == (200, "")
    assert await advoware.call("GET", "/Termine?frnr=20005") == []
    assert (await advoware.refused("DELETE", "/Termine?frnr=20005"))[0] == 404


async def test_derived_entries_are_read_only(advoware: Advoware) -> None:
    [derived] = await advoware.call("GET", "/Termine?frnr=-501")
    status, text = await advoware.refused("PUT", "/Termine", derived | {"text": "neu"})
    assert (status, "Abgeleitete" in text) == (403, True)
    assert (await advoware.refused("DELETE", "/Termine?frnr=-501"))[0] == 403
    assert await advoware.call("GET", "/Termine?frnr=-501") == [derived]


async def test_a_person_adds_changes_and_removes_termine(advoware: Advoware) -> None:
    created = await advoware.desktop("POST", "termine", TERMIN)
    await advoware.desktop("POST", "clock", {"advance_seconds": 60})
    changed = await advoware.desktop(
        "PUT", f"termine/{created['frNr']}", {"uhrzeitVon": "10:30:00"}
    )
    assert (changed["uhrzeitVon"], changed["text"]) == ("10:30:00", TERMIN["text"])
    assert changed["rowId"] != created["rowId"]
    await advoware.desktop("DELETE", f"termine/{created['frNr']}")
    assert await advoware.call("GET", f"/Termine?frnr={created['frNr']}") == []
    derived = await advoware.desktop("POST", "termine", TERMIN | {"frNr": -900})
    assert derived["frNr"] == -900


async def test_the_sample_appointments_lie_around_the_twins_today(
    advoware: Advoware,
) -> None:
    rows = await advoware.call("GET", "/Termine?from=2026-02-03&to=2028-02-10")
    assert len(rows) == 400
    first, last = (NOW + timedelta(days=days) for days in (-7, 730))
    assert all(
        first.date() <= date.fromisoformat(row["datum"][:10]) <= last.date()
        for row in rows
    )


# -- what other programs have left, and lists that lie ----------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"datumBis": "9999-12-31", "dauertermin": 1, "turnus": 1, "turnusArt": 1},
        {"uhrzeitBis": "24:00:00"},
        {"uhrzeitVon": "8:15", "uhrzeitBis": None},
        {"dauertermin": 1, "turnus": 0, "turnusArt": 9},
        {"datum": None, "datumBis": None},
        {"datum": "0001-01-01"},
        {"text": None, "anwalt": "SB", "privat": None},
    ],
)
async def test_values_that_nothing_has_checked_are_shown_as_they_are(
    advoware: Advoware, odd: dict[str, Any]
) -> None:
    left = await advoware.desktop(
        "POST", "actions", {"action": "leave_termin", "values": {**TERMIN, **odd}}
    )

    rows = await advoware.call("GET", "/Termine?kuerzel=SB")
    (read,) = await advoware.call("GET", f"/Termine?frnr={left['frNr']}")

    assert left in rows
    assert read == left
    for field, value in odd.items():
        assert str(read[field]).startswith(str(value))


async def test_a_list_can_lack_termine_that_a_direct_read_shows(
    advoware: Advoware,
) -> None:
    made = {
        (await advoware.call("POST", "/Termine", TERMIN))["frNr"] for _ in range(12)
    }
    rule = {
        "query": "kuerzel=",
        "probability": 0.5,
        "answer": [{"field": "[]", "how": "missing"}],
    }
    await advoware.desktop("POST", "faults", rule)

    async def hidden() -> set[int]:
        rows = await advoware.call("GET", "/Termine?kuerzel=SB")
        return made - {row["frNr"] for row in rows}

    before = await hidden()
    gone = min(made - before)
    await advoware.desktop("DELETE", f"termine/{gone}")

    assert 0 < len(before) < 12
    assert await hidden() == before | {gone}
    assert len(await advoware.call("GET", f"/Termine?frnr={min(before)}")) == 1


async def test_a_row_can_have_fields_and_values_that_no_one_knows(
    advoware: Advoware,
) -> None:
    created = await advoware.call("POST", "/Termine", TERMIN)
    of_this_one = {"where": {"frNr": created["frNr"]}}
    changes = [
        {"field": "[].neuesFeld", "how": "add", "to": {"a": [1]}, **of_this_one},
        {"field": "[].turnusArt", "how": "value", "to": 9, **of_this_one},
        {"field": "[].text", "how": "cut", "to": 5, **of_this_one},
        {"field": "[].frNr", "how": "text", **of_this_one},
    ]
    await advoware.desktop(
        "POST", "faults", {"path": "/Termine", "method": "GET", "answer": changes}
    )

    (row,) = await advoware.call("GET", f"/Termine?frnr={created['frNr']}")

    assert row == {
        **created,
        "neuesFeld": {"a": [1]},
        "turnusArt": 9,
        "text": "Bespr",
        "frNr": str(created["frNr"]),
    }
