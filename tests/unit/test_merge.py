"""The field-level three-way merge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.merge import merge

VALUES = st.none() | st.sampled_from(["a", "b", "c"])
SIDES = st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, min_size=3, max_size=3)
BASES = st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES)
WINNERS = st.sampled_from(["espocrm", "advoware", None])


def test_edits_of_different_fields_on_both_sides_both_survive() -> None:
    plan = merge({"x": "a", "y": "a"}, {"x": "b", "y": "a"}, {"x": "a", "y": "c"})

    assert (plan.to_advoware, plan.to_espocrm) == ({"x": "b"}, {"y": "c"})
    assert plan.outcome == "merged"


def test_edits_of_the_same_field_espocrm_wins_and_the_other_value_is_kept() -> None:
    plan = merge({"x": "a"}, {"x": "b"}, {"x": "c"})

    assert plan.to_advoware == {"x": "b"}
    assert [(c.field, c.winner, c.espocrm, c.advoware) for c in plan.conflicts] == [("x", "espocrm", "b", "c")]
    assert plan.outcome == "conflict"


def test_the_same_edit_on_both_sides_writes_nothing() -> None:
    plan = merge({"x": "a"}, {"x": "b"}, {"x": "b"})

    assert plan.outcome == "no_change"
    assert plan.agreed == {"x": "b"}


def test_without_base_a_value_wins_over_none_and_the_newer_side_over_another_value() -> None:
    plan = merge({}, {"x": None, "y": "b", "z": "a"}, {"x": "c", "y": None, "z": "c"}, first_winner="advoware")

    assert (plan.to_espocrm, plan.to_advoware) == ({"x": "c", "z": "c"}, {"y": "b"})
    assert not plan.conflicts


def test_without_base_and_without_winner_different_values_stay_and_are_not_agreed() -> None:
    plan = merge({}, {"x": "a"}, {"x": "b"}, first_winner=None)

    assert plan.outcome == "no_change"
    assert plan.agreed == {}


@given(BASES, SIDES, SIDES, WINNERS)
def test_after_applying_a_plan_there_is_nothing_left_to_do(base, espocrm, advoware, winner) -> None:
    plan = merge(base, espocrm, advoware, first_winner=winner)
    again = merge(plan.agreed, espocrm | plan.to_espocrm, advoware | plan.to_advoware, first_winner=winner)

    assert not again.to_espocrm
    assert not again.to_advoware


@given(BASES, SIDES, SIDES, WINNERS)
def test_no_value_is_invented(base, espocrm, advoware, winner) -> None:
    plan = merge(base, espocrm, advoware, first_winner=winner)

    assert all(plan.to_espocrm[name] == advoware[name] for name in plan.to_espocrm)
    assert all(plan.to_advoware[name] == espocrm[name] for name in plan.to_advoware)
