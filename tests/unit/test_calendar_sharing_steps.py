"""Which rules the sync changes, and whose calendar follows whom: pure decisions about odd input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.calendar_sync.employees import Known, active_employees, find_renames
from services.calendar_sync.sharing import OwnRule, read_rules, sharing_steps

NOW = datetime(2026, 2, 10, 8, tzinfo=UTC)


def rule(email: str, role: str = "reader", scope_type: str = "user") -> dict[str, Any]:
    return {
        "id": f"{scope_type}:{email}",
        "role": role,
        "scope": {"type": scope_type, "value": email},
    }


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "user:a@x.de",
        {},
        {"id": "user:a@x.de"},
        {"id": "user:a@x.de", "role": None},
        {"id": "user:a@x.de", "role": ["reader"], "scope": "user"},
        {"id": "default", "role": "reader", "scope": {"type": "default"}},
        {
            "id": "domain:x.de",
            "role": "reader",
            "scope": {"type": "domain", "value": "x.de"},
        },
        {"id": "user:", "role": "reader", "scope": {"type": "user", "value": None}},
        {"role": "reader", "scope": None},
    ],
)
def test_a_rule_that_is_about_no_account_stops_nothing_and_is_left_alone(
    odd: Any,
) -> None:
    present = read_rules([odd, rule("SB@x.de")])

    steps = sharing_steps({"sb@x.de": "reader", "ai@x.de": "writer"}, present, [])

    assert [(step.action, step.email) for step in steps] == [("grant", "ai@x.de")]


def test_access_ends_before_any_begins() -> None:
    own = [
        OwnRule(email, f"user:{email}", "reader", NOW)
        for email in ("old@x.de", "sb@x.de")
    ]
    present = read_rules([rule("old@x.de"), rule("sb@x.de")])

    steps = sharing_steps({"new@x.de": "reader", "sb@x.de": "writer"}, present, own)

    assert [step.action for step in steps] == ["revoke", "change", "grant"]


def test_an_account_is_known_by_the_id_that_google_gave_its_rule() -> None:
    own = [OwnRule("anna@googlemail.com", "user:anna@gmail.com", "reader", NOW)]

    assert (
        sharing_steps(
            {"anna@googlemail.com": "reader"}, read_rules([rule("anna@gmail.com")]), own
        )
        == []
    )


def test_a_group_that_people_have_given_access_stays() -> None:
    assert (
        sharing_steps(
            {"g@x.de": "writer"}, read_rules([rule("g@x.de", "reader", "group")]), []
        )
        == []
    )


def test_employees_are_read_with_whatever_advoware_lists() -> None:
    rows: list[dict[str, Any]] = [
        {"kuerzel": " SB ", "name": " Sabine  Bergström "},
        {"kuerzel": "AI"},
        {"kuerzel": None, "name": "?"},
        {"name": "Niemand"},
        {"kuerzel": "PB", "name": "Petra"},
        {"kuerzel": "PB", "name": "Paul"},
    ]

    assert active_employees(rows) == {"SB": "Sabine Bergström", "AI": "", "PB": ""}


def known(*days: int, **people: str) -> list[Known]:
    ages = [*days, *(0 for _ in people)]
    return [
        Known(kuerzel, name, NOW - timedelta(days=age))
        for (kuerzel, name), age in zip(people.items(), ages, strict=False)
    ]


def test_a_long_chain_is_one_and_a_circle_is_none() -> None:
    people = known(A="Anna", B="Bert", C="Carla", D="Dora", E="Emil")
    active = {"B": "Anna", "C": "Bert", "N": "Carla", "D": "Emil", "E": "Dora"}

    renames = find_renames(people, active, frozenset("ABCDE"))

    assert renames.chains == [[("A", "B"), ("B", "C"), ("C", "N")]]
    assert set(renames.unclear) == {"D", "E"}


def test_no_one_is_known_at_first() -> None:
    assert find_renames([], {"A": "Anna"}, frozenset()).chains == []


def test_a_kuerzel_that_an_old_calendar_still_has_is_not_taken() -> None:
    people = known(300, N="Nora", A="Anna")

    renames = find_renames(people, {"N": "Anna"}, frozenset("NA"))

    assert (renames.chains, list(renames.unclear)) == ([], ["A"])
    assert find_renames(people, {"N": "Anna"}, frozenset("A")).chains == [[("A", "N")]]


def test_a_namesake_who_had_the_name_before_is_no_successor() -> None:
    returned = find_renames(
        known(300, C="Anna", A="Anna"), {"C": "Anna"}, frozenset("A")
    )
    stayed = find_renames(known(C="Anna", A="Anna"), {"C": "Anna"}, frozenset("AC"))

    assert (
        (returned.chains, returned.unclear)
        == (stayed.chains, stayed.unclear)
        == ([], {})
    )
