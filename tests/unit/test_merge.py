"""The merge with values, emptiness and the unknown; what each side held is remembered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.values.merge import (
    Conflict,
    Held,
    Merge,
    Pair,
    Unknown,
    base_from_json,
    base_to_json,
    compare_after_write,
    is_same,
    is_version,
    merge,
    version_member,
)

VALUES = st.sampled_from(
    [None, "a", "b", "c", Unknown("a"), Unknown("x"), Unknown("y")]
)


def merged(base: dict[str, Pair], espocrm: Any, advoware: Any, **options: Any) -> Any:
    return merge(base, {"f": espocrm}, {"f": advoware}, **options)


def test_a_change_on_one_side_is_brought_to_the_other() -> None:
    base = {"f": Pair("a", "a")}
    assert merged(base, "b", "a").to_advoware == {"f": "b"}
    assert merged(base, "a", "b").to_espocrm == {"f": "b"}
    assert merged(base, None, "a").to_advoware == {"f": None}


def test_an_unknown_value_never_clears_or_changes_the_other_side() -> None:
    plan = merged({"f": Pair("GmbH", "GmbH")}, "GmbH", Unknown("Eheleute"))
    assert not plan.to_espocrm
    assert not plan.to_advoware
    assert plan.held == (Held("f", "advoware", "GmbH", Unknown("Eheleute"), "unknown"),)
    assert plan.settled == {"f": Pair("GmbH", Unknown("Eheleute"))}


def test_an_edit_over_an_unknown_value_is_written_if_that_has_not_changed() -> None:
    base = {"f": Pair("Frau", Unknown("Frau Dr."))}
    assert merged(base, "Frau", Unknown("Frau Dr.")).outcome == "no_change"
    assert merged(base, "Herr", Unknown("Frau Dr.")).to_advoware == {"f": "Herr"}
    both = merged(base, "Herr", Unknown("Frau Prof."))
    assert both.to_advoware == {"f": "Herr"}
    assert [conflict.advoware for conflict in both.conflicts] == [Unknown("Frau Prof.")]


def test_what_an_unedited_record_shows_otherwise_is_left_alone() -> None:
    base = {"f": Pair("Müller", "Müller")}
    for shown in ("MÜLLER", "Mül", None):
        plan = merged(base, "Müller", shown, is_edited=False)
        assert plan == Merge(
            settled=base,
            held=(Held("f", "advoware", "Müller", shown, "shown_otherwise"),),
        )
        assert merged(base, "Müller", shown).to_espocrm == {"f": shown}
    again = merged(base, "Müller", "Müller", is_edited=False)
    assert again == Merge(settled=base)


def test_what_an_unedited_record_shows_otherwise_is_sent_along_and_settled_so() -> None:
    base = {"f": Pair("Müller", "Müller"), "g": Pair("a", "a")}
    plan = merge(
        base, {"f": "Müller", "g": "b"}, {"f": "Mül", "g": "a"}, is_edited=False
    )
    assert plan.to_advoware == {"g": "b"}
    assert not plan.to_espocrm
    assert plan.settled == {"f": Pair("Müller", "Mül"), "g": Pair("b", "b")}
    assert [item.reason for item in plan.held] == ["shown_otherwise"]
    for edited in (False, None):
        after = {"f": "Müller", "g": "b"}
        assert merge(plan.settled, after, after, is_edited=edited).outcome == (
            "no_change"
        )


def test_an_edit_of_the_field_itself_is_written() -> None:
    base = {"f": Pair("Müller", "Müller")}
    for typed in ("Maier", None):
        plan = merged(base, typed, "MÜLLER", is_edited=False)
        assert plan == Merge({}, {"f": typed}, {"f": Pair(typed, typed)})
    same = merged(base, "MÜLLER", "MÜLLER", is_edited=False)
    assert same == Merge(settled={"f": Pair("MÜLLER", "MÜLLER")})
    unfit = merged(
        base,
        "Maier",
        "MÜLLER",
        is_edited=False,
        unfit=lambda side, name, value: "too_long",
    )
    assert [item.reason for item in unfit.held] == ["too_long"]
    assert unfit.settled == {"f": Pair("Maier", "Müller")}


def test_a_form_that_was_held_stays_held_whatever_else_is_edited() -> None:
    base = {"f": Pair("Müller", "Müller")}
    known = {"f": "Mül"}
    plan = merged(base, "Müller", "Mül", shown_otherwise=known)
    assert [item.reason for item in plan.held] == ["shown_otherwise"]
    assert plan.settled == base
    assert not plan.to_espocrm
    other = merged(base, "Müller", "Meier", shown_otherwise=known)
    assert other.to_espocrm == {"f": "Meier"}


def test_a_difference_that_was_reported_already_is_not_reported_again_in_another_form() -> (
    None
):
    base = {"f": Pair("Schmidt", "Müller")}
    plan = merged(base, "Schmidt", "MÜLLER", is_edited=False)
    assert plan == Merge(settled=base)


def test_a_value_that_was_stored_otherwise_may_come_to_be_as_it_was_sent() -> None:
    base = {"f": Pair("Müller", "MÜLLER")}
    plan = merged(base, "Müller", "Müller", is_edited=False)
    assert plan == Merge(settled={"f": Pair("Müller", "Müller")})


def test_what_gives_way_in_an_edited_record_is_a_conflict_at_the_first_comparison() -> (
    None
):
    assert merged({}, "a", "b", is_edited=True).conflicts == (
        Conflict("f", "espocrm", "a", "b"),
    )
    for options in ({}, {"is_edited": False}):
        plan = merged({}, "a", "b", **options)
        assert (plan.to_advoware, plan.conflicts) == ({"f": "a"}, ())
    assert merged({}, "a", None, is_edited=True).conflicts == ()
    assert merged({}, None, "b", is_edited=True).to_espocrm == {"f": "b"}


@pytest.mark.parametrize(
    ("settled", "shown", "is_whole"),
    [
        ({"f": Pair("a", "b")}, {"f": "b"}, True),
        ({"f": Pair("a", "b")}, {"f": "b", "g": "not in EspoCRM"}, True),
        ({"f": Pair("a", "a")}, {"f": "b"}, False),
        ({"f": Pair("a", "a")}, {}, False),
        ({"f": Pair("a", "a")}, {"f": Unknown("b")}, False),
        ({"f": Pair("a", Unknown("b"))}, {"f": Unknown("b")}, True),
    ],
)
def test_a_base_is_of_a_version_if_it_holds_all_that_this_shows(
    settled: dict[str, Pair], shown: dict[str, Any], is_whole: bool
) -> None:
    for last in ({}, version_member({}, settled, shown, "R1")):
        member = version_member(last, settled, shown, "R2")
        assert is_version(member, "R2") is is_whole
        assert not is_version(member, "R1")
    assert version_member({}, settled, shown, None) == {}
    assert not is_version({}, None)


def test_a_base_is_of_the_same_version_until_it_says_something_else_of_it() -> None:
    agreed = {"f": Pair("a", "a")}
    member = version_member({}, agreed, {"f": "a"}, "R1")
    stored = {**base_to_json(agreed), **member}

    same = version_member(stored, {"f": Pair("b", "a")}, {"f": "odd"}, "R1")
    assert is_version(same, "R1")

    changed = version_member(stored, {"f": Pair("b", "odd")}, {"f": "odd"}, "R1")
    assert not is_version(changed, "R1")
    later = version_member(changed, agreed, {"f": "a"}, "R1")
    assert not is_version(later, "R1")


def test_a_settled_difference_stays_until_a_side_changes() -> None:
    altered = {"f": Pair("Müller", "MÜLLER")}
    assert merged(altered, "Müller", "MÜLLER").outcome == "no_change"
    assert merged(altered, "Maier", "MÜLLER").to_advoware == {"f": "Maier"}
    assert merged(altered, "Müller", "MAIER").to_espocrm == {"f": "MAIER"}
    assert merged(altered, "Müller", "Müller").settled == {
        "f": Pair("Müller", "Müller")
    }


def test_what_the_receiver_cannot_hold_is_held_and_reported_once() -> None:
    def too_long(side: str, name: str, value: Any) -> str | None:
        return "too_long" if side == "advoware" and len(value or "") > 3 else None

    plan = merged({"f": Pair("a", "a")}, "abcdef", "a", unfit=too_long)
    assert plan.held == (Held("f", "espocrm", "abcdef", "a", "too_long"),)
    assert merged(plan.settled, "abcdef", "a", unfit=too_long).held == ()
    assert merged(plan.settled, "ab", "a", unfit=too_long).to_advoware == {"f": "ab"}


def test_a_field_that_one_side_does_not_show_is_left_alone() -> None:
    base = {"f": Pair("a", "a")}
    unchanged = merge(base, {"f": "a"}, {})
    assert (unchanged.outcome, unchanged.settled, unchanged.held) == (
        "no_change",
        base,
        (),
    )
    edited = merge(base, {"f": "b"}, {})
    assert (edited.to_advoware, edited.settled) == ({}, base)
    assert [item.reason for item in edited.held] == ["missing"]
    assert merge(edited.settled, {"f": "b"}, {"f": "a"}).to_advoware == {
        "f": "b"
    }  # it shows it again


@pytest.mark.parametrize("winner", ["espocrm", "advoware", None])
def test_first_sync(winner: Any) -> None:
    assert merged({}, "a", None, first_winner=winner).to_advoware == {"f": "a"}
    assert merged({}, None, "a", first_winner=winner).to_espocrm == {"f": "a"}
    assert merged({}, None, Unknown("x"), first_winner=winner).outcome == "no_change"
    both = merged({}, "a", "b", first_winner=winner)
    expected = {
        "espocrm": ({"f": "a"}, {}),
        "advoware": ({}, {"f": "b"}),
        None: ({}, {}),
    }
    assert (both.to_advoware, both.to_espocrm) == expected[winner]


def test_a_conflict_keeps_both_values_and_settles_on_that_of_espocrm() -> None:
    plan = merged({"f": Pair("a", "a")}, "b", "c")
    assert plan.outcome == "conflict"
    assert plan.conflicts == (Conflict("f", "espocrm", "b", "c"),)
    assert (plan.to_advoware, plan.to_espocrm) == ({"f": "b"}, {})
    assert plan.settled == {"f": Pair("b", "b")}


def test_a_value_that_is_brought_is_settled_on_both_sides() -> None:
    assert merged({"f": Pair("a", "a")}, "b", "a").settled == {"f": Pair("b", "b")}
    assert merged({"f": Pair("a", "a")}, "a", "b").settled == {"f": Pair("b", "b")}


def test_each_side_is_asked_whether_it_can_hold_the_field() -> None:
    asked = []

    def unfit(side: str, name: str, value: Any) -> str | None:
        asked.append((side, name, value))
        return "too_long"

    base = {"f": Pair("a", "a")}
    from_advoware = merged(base, "a", "b", unfit=unfit)
    assert from_advoware.held == (Held("f", "advoware", "a", "b", "too_long"),)
    assert from_advoware.settled == {"f": Pair("a", "b")}
    merged(base, "b", "a", unfit=unfit)
    assert asked == [("espocrm", "f", "b"), ("advoware", "f", "b")]


def test_a_first_sync_settles_what_it_decides_and_holds_what_it_cannot() -> None:
    undecided = merged({}, "a", "b", first_winner=None)
    assert undecided.held == (Held("f", "espocrm", "a", "b", "undecided"),)
    assert undecided.settled == {"f": Pair("a", "b")}
    won = merged({}, "a", "b", first_winner="advoware")
    assert (won.settled, won.held) == ({"f": Pair("b", "b")}, ())
    of_advoware = merged({}, "a", Unknown("x"))
    assert of_advoware.settled == {"f": Pair("a", Unknown("x"))}
    assert (of_advoware.held, of_advoware.to_advoware) == ((), {})
    of_espocrm = merged({}, Unknown("x"), "a")
    assert of_espocrm.held == (Held("f", "espocrm", Unknown("x"), "a", "unknown"),)
    assert of_espocrm.settled == {"f": Pair(Unknown("x"), "a")}


def test_a_first_sync_settles_a_value_that_only_one_side_holds() -> None:
    for espocrm, advoware in (("a", None), (None, "a")):
        plan = merged({}, espocrm, advoware, first_winner=None)
        assert plan.settled == {"f": Pair("a", "a")}
        assert plan.held == ()


def test_a_first_sync_names_the_side_whose_value_does_not_fit() -> None:
    plan = merged({}, None, "a", unfit=lambda side, name, value: "too_long")
    assert plan.held == (Held("f", "advoware", None, "a", "too_long"),)


def test_a_value_that_only_one_side_understands_is_the_same_where_both_show_it() -> (
    None
):
    assert is_same(Unknown("a"), "a")
    assert not is_same(Unknown("a"), "b")
    assert merged({}, "a", Unknown("a")).outcome == "no_change"


def test_an_edit_that_the_other_side_does_not_show_is_held_with_what_it_showed_last() -> (
    None
):
    base = {"f": Pair("a", "b")}
    assert merge(base, {"f": "c"}, {}).held == (
        Held("f", "espocrm", "c", "b", "missing"),
    )
    assert merge(base, {}, {"f": "c"}).held == (
        Held("f", "advoware", "a", "c", "missing"),
    )
    assert merge(base, {"f": "a"}, {}).held == ()
    assert merge(base, {}, {"f": "b"}).held == ()


def test_a_value_that_is_what_the_other_side_showed_last_is_settled() -> None:
    base = {"f": Pair("a", "b")}
    assert merge(base, {"f": "b"}, {}).settled == {"f": Pair("b", "b")}
    assert merge(base, {}, {"f": "a"}).settled == {"f": Pair("a", "a")}


def test_at_a_first_sync_only_espocrms_value_waits_for_a_side_that_does_not_show_it() -> (
    None
):
    assert merge({}, {"f": "a"}, {}).held == (
        Held("f", "espocrm", "a", None, "missing"),
    )
    from_advoware = merge({}, {}, {"f": "a"})
    assert (from_advoware.held, from_advoware.settled) == ((), {})
    empty = merge({}, {"f": None}, {})
    assert (empty.held, empty.settled) == ((), {"f": Pair(None, None)})


def test_an_entry_of_another_shape_is_no_base() -> None:
    stored = {"f": "a", "g": {"espocrm": "a"}, "h": {"espocrm": "a", "advoware": "b"}}
    assert base_from_json(stored) == {"h": Pair("a", "b")}


def test_what_a_run_is_about_to_write_is_no_field() -> None:
    sent = {"espocrm": {"f": "a"}, "advoware": {"g": "b"}}
    stored = {"h": {"espocrm": "a", "advoware": "b"}, "sending": sent}
    assert base_from_json(stored) == {"h": Pair("a", "b")}


@given(VALUES, VALUES, VALUES, VALUES, st.sampled_from(["espocrm", "advoware", None]))
@example("a", "a", Unknown("x"), Unknown("y"), None)
def test_no_merge_loses_an_edit_or_writes_what_is_unknown(
    base_espocrm: Any, base_advoware: Any, espocrm: Any, advoware: Any, winner: Any
) -> None:
    base = {"f": Pair(base_espocrm, base_advoware)}
    plan = merged(base, espocrm, advoware, first_winner=winner)
    written = [*plan.to_espocrm.values(), *plan.to_advoware.values()]
    assert not any(isinstance(value, Unknown) for value in written)
    reported = {item.field for item in (*plan.held, *plan.conflicts)}
    if plan.to_advoware and not is_same(advoware, base_advoware):
        assert "f" in reported  # an edit in Advoware gives way only if that is reported
    if plan.to_espocrm:
        assert is_same(espocrm, base_espocrm)  # an edit in EspoCRM never gives way
    edited = not is_same(espocrm, base_espocrm) or not is_same(advoware, base_advoware)
    is_hidden = isinstance(advoware, Unknown) and not is_same(*base["f"])
    if edited and not is_same(espocrm, advoware):
        assert written or reported or is_hidden
    after_espocrm, after_advoware = (
        plan.to_espocrm.get("f", espocrm),
        plan.to_advoware.get("f", advoware),
    )
    again = merge(plan.settled, {"f": after_espocrm}, {"f": after_advoware})
    assert again.outcome == "no_change"
    both_edited = not is_same(espocrm, base_espocrm) and not is_same(
        advoware, base_advoware
    )
    if both_edited and not written:  # neither is settled
        assert again.held == plan.held
    else:
        assert again.held == ()
    assert (
        base_from_json(json.loads(json.dumps(base_to_json(plan.settled))))
        == plan.settled
    )


def test_a_difference_stays_while_advoware_shows_something_unknown() -> None:
    base = {"f": Pair("Musterfrau", "Must")}
    hidden = merged(base, "Musterfrau", Unknown("5"))
    assert (hidden.outcome, hidden.held, hidden.settled) == ("no_change", (), base)
    assert merged(hidden.settled, "Musterfrau", "Must").outcome == "no_change"
    assert merged(hidden.settled, "Musterfrau", "Meier").to_espocrm == {"f": "Meier"}
    assert merged(base, "Neumann", Unknown("5")).to_advoware == {"f": "Neumann"}


@pytest.mark.parametrize("odd", [Unknown("4711"), "too long"])
def test_an_edit_in_advoware_is_found_once_espocrm_shows_its_value_again(
    odd: Any,
) -> None:
    def unfit(side: str, name: str, value: Any) -> str | None:
        return "too_long" if value == "too long" else None

    base = {"f": Pair("a", "a")}
    held = merged(base, odd, "b", unfit=unfit)
    assert held.outcome == "no_change"
    assert [item.field for item in held.held] == ["f"]

    again = merged(held.settled, "a", "b", unfit=unfit)
    assert (again.to_espocrm, again.conflicts) == ({"f": "b"}, ())

    edited = merged(held.settled, "c", "b", unfit=unfit)
    assert edited.to_advoware == {"f": "c"}
    assert [conflict.advoware for conflict in edited.conflicts] == ["b"]


def test_what_a_write_has_led_to() -> None:
    sent = {"agreed": "a", "refused": "b", "altered": "Müller", "hidden": "x"}
    stored = {"agreed": "a", "refused": "old", "altered": "MÜLLER"}
    refused, altered = compare_after_write(
        sent, {"refused": "old", "altered": "Maier"}, stored, side="advoware"
    )
    assert refused == {"refused": Pair("b", "old")}
    assert altered == {"altered": Pair("Müller", "MÜLLER")}
    _, altered = compare_after_write(
        {"f": "lang"}, {"f": None}, {"f": "la"}, side="espocrm"
    )
    assert altered == {"f": Pair("la", "lang")}
