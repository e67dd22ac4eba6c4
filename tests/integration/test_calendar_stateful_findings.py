"""Scenarios that once broke the calendar sync (`test_calendar_stateful` has found them), each reduced to its core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from calendar_checks import play
from calendar_scenario import (
    Act,
    Cancel,
    Configure,
    DropEvent,
    DropTermin,
    EditEvent,
    EditTermin,
    EnterEvent,
    EnterTermin,
    Forget,
    Jump,
    Scenario,
    Step,
    Surprise,
    Sync,
    SyncAll,
    Trouble,
    When,
)
from calendar_world import CalendarWorld
from hasty_loop import hasty_runner
from servers import Stores

WRITING = Configure()
LAST_CHANGE = Configure(strategy="last_change_wins")
HIDDEN = Configure(anonymise=True, strategy="last_change_wins")
MARKS = [
    {},
    {
        "copy_keeps_properties": False,
        "move_keeps_properties": False,
        "split_keeps_properties": False,
    },
]


@pytest.fixture(scope="module")
def world(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, CalendarWorld]]:
    """One world for all scenarios, and the runner of its loop."""
    with hasty_runner() as runner:
        opened = CalendarWorld(stores, tmp_path_factory.mktemp("world"))
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


def run(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    *steps: Step,
    readings: Mapping[str, Any] | None = None,
) -> None:
    """Play the steps and check everything."""
    runner, opened = world
    start = datetime(2026, 3, 2, 8, tzinfo=UTC)
    runner.run(play(opened, Scenario(start, configuration, steps, readings or {})))


@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_a_termin_that_is_edited_right_after_its_creation_is_copied(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    edit = EditTermin(0, "move", When(4))
    run(
        world,
        configuration,
        EnterEvent("SB", When(3)),
        Sync("SB", at=4, meanwhile=edit),
    )


@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_a_termin_that_is_edited_right_after_the_sync_has_changed_it_is_copied(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterEvent("SB", When(3)), SyncAll()
    edit = EditTermin(0, "text", When(1))
    run(
        world,
        configuration,
        *entered,
        EditEvent("SB", 0, "move", When(4)),
        Sync("SB", at=5, meanwhile=edit),
    )


def test_an_event_that_was_made_again_without_an_answer_is_found_again(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    series = When(3, "02:30", series="daily")
    lost = Trouble("google", "half", "POST", skip=2, count=9)
    run(
        world,
        WRITING,
        EnterTermin("SB", series),
        EnterTermin("", When(2)),
        SyncAll(),
        lost,
        DropEvent("SB", 3),
        Act("AI", 0, "move away", When(1)),
        DropEvent("SB", 6),
        SyncAll(),
    )


@pytest.mark.parametrize("readings", MARKS, ids=["marks come along", "marks are lost"])
@pytest.mark.parametrize(
    "what", ["copy", "split", "copy to colleague", "move to colleague"]
)
@pytest.mark.parametrize("series", ["", "weekly"])
def test_what_a_person_makes_of_a_hidden_event_keeps_its_text(
    world: tuple[asyncio.Runner, CalendarWorld],
    series: Any,
    what: str,
    readings: Mapping[str, Any],
) -> None:
    entered = EnterEvent("SB", When(3, series=series)), SyncAll()
    act = Act("SB", 0, what, When(5), variant=3)
    run(world, HIDDEN, *entered, act, SyncAll(), SyncAll(), readings=readings)


def test_a_text_that_is_null_in_an_answer_is_not_cleared_in_google(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = EnterEvent("SB", When(3)), SyncAll()
    moved = Act("SB", 0, "move to colleague", When(3), variant=1)
    run(world, LAST_CHANGE, *entered, Surprise("advoware", "no text"), SyncAll(), moved)


def test_an_event_that_could_not_be_read_for_a_while_is_synced_when_it_can(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = EnterEvent("AI", When(2, "00:00", 15)), SyncAll()
    ruled = Act("AI", 0, "other rule", When(30, "02:30", 15), variant=5)
    run(world, WRITING, *entered, Surprise("google", "start as text"), ruled, SyncAll())


def test_a_title_that_google_does_not_show_for_a_while_is_brought_back(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    touched = EditEvent("SB", 0, "strip", When(2))
    run(
        world,
        LAST_CHANGE,
        EnterTermin("SB", When(2)),
        SyncAll(),
        Surprise("google", "no title"),
        touched,
        SyncAll(),
    )


def test_what_a_user_deletes_when_it_is_over_is_not_hidden_again_and_again(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    over = EnterEvent("SB", When(3)), SyncAll(), Jump(192)
    run(
        world,
        WRITING,
        *over,
        DropEvent("SB", 0),
        Jump(192),
        SyncAll(full_content=False),
    )


def test_a_title_that_google_does_not_show_is_not_cleared_by_the_way(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    unseen = (
        EnterTermin("SB", When(3)),
        SyncAll(),
        Surprise("google", "no title"),
        Forget("sync_tokens"),
    )
    run(
        world,
        LAST_CHANGE,
        *unseen,
        Act("SB", 0, "move to colleague", When(3)),
        SyncAll(),
    )


def test_an_edit_that_the_source_undoes_is_undone_when_the_source_can_be_read_again(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = EnterEvent("SB", When(6, "00:00")), SyncAll()
    moved = EditTermin(1, "move", When(6, "23:45"))
    run(
        world,
        WRITING,
        *entered,
        moved,
        Surprise("google", "day one"),
        SyncAll(full_content=False),
    )


def test_a_hidden_copy_of_a_termin_of_all_waits_in_a_colleagues_calendar(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = EnterTermin("", When(6, "01:30", 3000)), SyncAll()
    moved = Act("SB", 1, "move to colleague", When(6), variant=5)
    run(
        world,
        HIDDEN,
        *entered,
        moved,
        Configure(write_protection=True, strategy="last_change_wins"),
    )


@pytest.mark.parametrize("what", ["copy", "split"])
@pytest.mark.parametrize("gone", ["deleted", "moved away"])
def test_what_was_typed_into_a_copy_that_takes_the_place_of_a_hidden_event_is_kept(
    world: tuple[asyncio.Runner, CalendarWorld], what: str, gone: str
) -> None:
    entered = EnterTermin("SB", When(3, series="daily"), privat=True), SyncAll()
    leaves = {
        "deleted": DropEvent("SB", 0),
        "moved away": Act("SB", 0, "move away", When(3)),
    }
    copied = Act("SB", 0, what, When(6, series="daily"), variant=1)
    run(world, LAST_CHANGE, *entered, copied, leaves[gone], SyncAll())


@pytest.mark.parametrize(
    "configuration", [Configure(write_protection=True), WRITING, LAST_CHANGE]
)
def test_an_edit_of_an_event_that_is_hidden_meanwhile_stays_news(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    hidden = EditTermin(1, "privat", When(30))
    moved = EditEvent("AI", 6, "move", When(2))
    unread = Surprise("advoware", "dauertermin as text")
    run(
        world,
        configuration,
        EnterTermin("AI", When(6, "01:30")),
        SyncAll(),
        hidden,
        moved,
        unread,
        SyncAll(),
    )


@pytest.mark.parametrize(
    "configuration", [Configure(write_protection=True), WRITING, LAST_CHANGE]
)
@pytest.mark.parametrize(
    "surprise",
    [
        "dauertermin as text",
        "day one",
        "other kind",
        "anwalt missing",
        "time as number",
    ],
)
def test_an_edit_in_google_stays_news_while_the_termin_cannot_be_read(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure, surprise: str
) -> None:
    entered = EnterTermin("AI", When(6, "01:30")), SyncAll()
    moved = EditEvent("AI", 6, "move", When(2))
    run(
        world,
        configuration,
        *entered,
        moved,
        Surprise("advoware", surprise),
        SyncAll(),
        SyncAll(),
    )


@pytest.mark.parametrize("configuration", [WRITING, HIDDEN])
@pytest.mark.parametrize(
    "surprise",
    ["german date", "day one", "no text", "time as number", "frNr as text", "frNr odd"],
)
def test_a_create_of_unknown_fate_is_not_repeated_while_its_termin_cannot_be_read(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure, surprise: str
) -> None:
    lost = Trouble("advoware", "cut_after", "POST", count=1)
    unread = Surprise("advoware", surprise)
    run(
        world,
        configuration,
        EnterEvent("SB", When(3)),
        lost,
        unread,
        SyncAll(),
        Jump(1),
        SyncAll(),
        Jump(30),
        SyncAll(),
    )


@pytest.mark.parametrize(
    "trouble", ["changed", "refused", "half", "unavailable", "throttled"]
)
def test_a_create_of_unknown_fate_is_not_repeated_when_the_search_for_it_fails(
    world: tuple[asyncio.Runner, CalendarWorld], trouble: str
) -> None:
    lost = Trouble("advoware", "cut_after", "POST", count=1)
    entered = EnterEvent("SB", When(3)), lost, SyncAll(), Jump(1)
    run(
        world,
        WRITING,
        *entered,
        Trouble("advoware", trouble, "GET", count=1),
        SyncAll(),
        SyncAll(),
    )


def test_a_hidden_event_that_becomes_a_series_and_then_a_colleagues_keeps_its_text(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    hidden = Configure(anonymise=True)
    entered = EnterEvent("SB", When(6, "23:45", 90)), SyncAll()
    repeated = EditEvent("SB", 1, "move", When(3, "23:45", 90, series="monthly"))
    run(
        world,
        hidden,
        *entered,
        repeated,
        Act("SB", 1, "move to colleague", When(30), variant=4),
    )


@pytest.mark.parametrize("days", [-20, -100, 800])
def test_a_copy_whose_run_was_interrupted_is_paired_although_its_termin_has_left_the_window(
    world: tuple[asyncio.Runner, CalendarWorld], days: int
) -> None:
    entered = (
        EnterTermin("", When(3, all_day=True)),
        EnterTermin("", When(5, "10:00", 3000)),
    )
    interrupted = Sync("SB", at=4, meanwhile=Cancel())
    run(
        world, HIDDEN, *entered, interrupted, EditTermin(2, "move", When(days, "02:30"))
    )


@pytest.mark.parametrize("clock", ["10:00", "02:30"])
@pytest.mark.parametrize(
    "surprise",
    ["no title", "cuts", "upper", "no start", "day one", "rule as text", "new field"],
)
def test_an_event_that_no_one_has_touched_is_no_edit_however_it_is_shown(
    world: tuple[asyncio.Runner, CalendarWorld], surprise: str, clock: str
) -> None:
    entered = EnterTermin("SB", When(27, clock)), Surprise("google", surprise)
    run(
        world,
        LAST_CHANGE,
        *entered,
        SyncAll(),
        Forget("sync_tokens"),
        SyncAll(),
        Configure(write_protection=True),
    )


@pytest.mark.parametrize(
    "surprise",
    ["unknown type", "no start", "start as text", "rule as text", "unknown status"],
)
def test_a_hidden_event_that_could_not_be_read_and_is_moved_to_a_colleague_keeps_its_text(
    world: tuple[asyncio.Runner, CalendarWorld], surprise: str
) -> None:
    entered = (
        EnterTermin("SB", When(800)),
        SyncAll(),
        Surprise("google", surprise),
        Jump(4800),
        SyncAll(),
        SyncAll(),
    )
    run(world, HIDDEN, *entered, Act("SB", 0, "move to colleague", When(1)))


@pytest.mark.parametrize("variant", [2, 3])
@pytest.mark.parametrize(
    "what", ["move to colleague", "copy to colleague", "copy", "split"]
)
def test_a_hidden_event_with_text_that_a_person_has_added_is_not_taken_for_a_persons_text(
    world: tuple[asyncio.Runner, CalendarWorld], what: str, variant: int
) -> None:
    hidden = (
        EnterTermin("SB", When(30)),
        Configure(anonymise=True, strategy="last_change_wins"),
        SyncAll(),
    )
    typed = (
        EditEvent("SB", 0, "text", When(30)),
        Act("SB", 0, what, When(20), variant=variant),
    )
    run(world, LAST_CHANGE, *hidden, *typed, SyncAll(), SyncAll())


@pytest.mark.parametrize("what", ["strip", "move", "touch"])
def test_a_title_that_google_does_not_show_is_not_cleared_by_an_edit(
    world: tuple[asyncio.Runner, CalendarWorld], what: Any
) -> None:
    unseen = EnterTermin("SB", When(2)), Surprise("google", "no title"), SyncAll()
    edited = EditEvent("SB", 6, what, When(4)), SyncAll()
    run(world, LAST_CHANGE, *unseen, *edited, Configure(write_protection=True))


@pytest.mark.parametrize(
    "surprise", ["half emoji", "nul", "upper", "cuts", "no text", "new field"]
)
@pytest.mark.parametrize("trouble", ["cut_after", "error_after", "half"])
def test_a_create_of_unknown_fate_is_not_repeated_while_its_termin_is_shown_altered(
    world: tuple[asyncio.Runner, CalendarWorld], surprise: str, trouble: str
) -> None:
    lost = Trouble("advoware", trouble, "POST", count=1)
    entered = EnterEvent("SB", When(3)), lost, Surprise("advoware", surprise)
    run(world, WRITING, *entered, SyncAll(), Jump(1), SyncAll(), Jump(30), SyncAll())


def test_a_create_that_was_cancelled_is_not_repeated_while_its_termin_is_shown_altered(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = (
        EnterEvent("AI", When(6, "23:45")),
        EnterTermin("AI", When(2, minutes=3000)),
    )
    cancelled = Sync("AI", full_content=False, at=4, meanwhile=Cancel())
    other = EnterTermin("AI", When(5, "01:30"), privat=True)
    again = Sync("AI", full_content=False, at=3, meanwhile=other)
    run(world, WRITING, *entered, cancelled, Surprise("advoware", "half emoji"), again)


@pytest.mark.parametrize("variant", [0, 1, 2, 3])
def test_a_title_that_google_does_not_show_is_not_cleared_by_an_event_that_advoware_cannot_hold(
    world: tuple[asyncio.Runner, CalendarWorld], variant: int
) -> None:
    unseen = EnterTermin("SB", When(2)), SyncAll(), Surprise("google", "no title")
    ruled = Act("SB", 0, "other rule", When(2), variant=variant), SyncAll()
    run(world, LAST_CHANGE, *unseen, *ruled, Configure(write_protection=True))


@pytest.mark.parametrize(
    "surprise",
    [
        "for ever",
        "no end",
        "24:00",
        "day one",
        "german date",
        "time as number",
        "dauertermin as text",
        "other kind",
    ],
)
@pytest.mark.parametrize(("series", "all_day"), [("", False), ("monthly", True)])
def test_a_create_of_unknown_fate_is_not_repeated_while_its_termin_is_shown_at_another_time(
    world: tuple[asyncio.Runner, CalendarWorld],
    surprise: str,
    series: Any,
    all_day: bool,
) -> None:
    when = When(6, all_day=all_day, series=series)
    lost = Trouble("advoware", "error_after", "POST", count=1)
    entered = EnterEvent("SB", when), lost, SyncAll()
    shown = Surprise("advoware", surprise)
    run(
        world,
        LAST_CHANGE,
        *entered,
        shown,
        SyncAll(),
        Jump(1),
        SyncAll(),
        Jump(30),
        SyncAll(),
    )


def test_a_series_of_unknown_fate_that_is_sometimes_shown_without_end_is_created_once(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = (
        EnterTermin("AI", When(1, "00:00")),
        EnterEvent("SB", When(6, "01:30", 3000)),
        EnterEvent("SB", When(6, "10:00")),
        EnterEvent("SB", When(6, all_day=True, series="monthly")),
    )
    lost = Trouble("advoware", "error_after", "POST|PATCH|PUT", skip=1, count=9)
    shown = Surprise("advoware", "for ever", probability=0.3)
    meanwhile = EnterEvent("AI", When(0, "10:00", 15))
    again = Sync("SB", at=3, meanwhile=meanwhile)
    runner, opened = world
    start = datetime(2026, 3, 26, 8, tzinfo=UTC)
    steps = (*entered, lost, SyncAll(), shown, again)
    runner.run(play(opened, Scenario(start, LAST_CHANGE, steps, {})))


@pytest.mark.parametrize(
    ("series", "all_day", "exceptions"),
    [
        ("daily", False, "kept"),
        ("weekly", False, "kept"),
        ("weekly", True, "kept"),
        ("weekly", False, "follow"),
    ],
)
@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_an_occurrence_that_stays_where_its_series_was_is_an_exception(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    all_day: bool,
    series: Any,
    exceptions: str,
) -> None:
    before = When(0, "00:00", 15, all_day=all_day, series="daily")
    after = When(2, "10:00", 15, all_day=all_day, series=series)
    entered = EnterEvent("SB", before), SyncAll()
    hidden = Act("SB", 7, "hide occurrence", When(6), variant=1), SyncAll()
    moved = EditEvent("SB", 0, "move", after)
    readings = {"exceptions": exceptions}
    run(world, configuration, *entered, *hidden, moved, readings=readings)


@pytest.mark.parametrize("exceptions", ["kept", "lost"])
@pytest.mark.parametrize("all_day", [False, True])
def test_an_occurrence_that_stays_where_a_termins_series_was_is_taken_back(
    world: tuple[asyncio.Runner, CalendarWorld], all_day: bool, exceptions: str
) -> None:
    before = When(0, "10:00", 45, all_day=all_day, series="weekly")
    after = When(2, "14:00", 45, all_day=all_day, series="weekly")
    entered = EnterTermin("SB", before), SyncAll()
    hidden = Act("SB", 7, "hide occurrence", When(6), variant=1), SyncAll()
    moved = EditTermin(0, "move", after)
    run(world, WRITING, *entered, *hidden, moved, readings={"exceptions": exceptions})


@pytest.mark.parametrize("kind", ["other rule", "cancel occurrence", "other zone"])
@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE, HIDDEN])
def test_a_termin_handed_to_all_employees_is_advowares_whatever_stands_in_google(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    kind: Any,
) -> None:
    entered = EnterEvent("SB", When(4, series="daily")), SyncAll()
    edited = Act("SB", 4, kind, When(3, series="daily"), variant=4), SyncAll()
    run(
        world, configuration, *entered, *edited, EditTermin(6, "anwalt", When(4), to="")
    )


@pytest.mark.parametrize("minutes", [15, 90])
def test_a_create_of_unknown_fate_does_not_hold_up_another_termin_that_begins_when_it_does(
    world: tuple[asyncio.Runner, CalendarWorld], minutes: int
) -> None:
    refused = Trouble("advoware", "unavailable", "POST", count=1)
    entered = EnterEvent("SB", When(3, "02:30")), refused, SyncAll()
    other = EnterTermin("SB", When(3, "02:30", minutes))
    run(world, WRITING, *entered, other, SyncAll(), Jump(1), SyncAll())


def test_a_termin_that_is_moved_before_it_is_known_to_be_created_is_not_created_again(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    lost = Trouble("advoware", "half", "POST", count=1)
    entered = EnterEvent("AI", When(30, "01:30")), lost, Sync("AI")
    moved = EditTermin(0, "move", When(30, "02:30", 15))
    run(world, LAST_CHANGE, *entered, moved, SyncAll(), Jump(30), SyncAll())


def test_a_hidden_event_of_a_pair_left_alone_that_is_moved_to_a_colleague_keeps_its_text(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    first = EnterTermin("SB", When(4, "23:45", 90)), EnterEvent("SB", When(30, "02:30"))
    shown = Surprise("advoware", "dauertermin as text")
    lost = Trouble("google", "cut_after", "POST|PATCH|PUT", count=2)
    interrupted = Sync("SB", at=3, meanwhile=Cancel())
    entered = (
        EnterTermin("SB", When(5, "01:30", 90)),
        Act("SB", 5, "import file", When(5, "01:30"), variant=4),
    )
    meanwhile = EnterEvent("AI", When(4, "01:30", 1439, series="other"))
    hidden = Sync("SB", full_content=False, at=4, meanwhile=meanwhile)
    edited = EditTermin(2, "move", When(2, "10:00", 90, series="monthly"), to="AI")
    moved = (
        SyncAll(),
        Act("SB", 4, "move to colleague", When(2, minutes=1439), variant=5),
    )
    steps = (*first, shown, lost, interrupted, *entered, hidden, edited, *moved)
    runner, opened = world
    start = datetime(2026, 12, 29, 22, 55, tzinfo=UTC)
    runner.run(play(opened, Scenario(start, HIDDEN, steps, {})))


@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE, HIDDEN])
@pytest.mark.parametrize("surprise", ["no text", "text missing"])
def test_an_edit_in_google_does_not_clear_a_text_that_advoware_does_not_show(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    surprise: str,
) -> None:
    entered = EnterEvent("SB", When(6, series="daily")), EnterEvent("SB", When(5))
    unseen = SyncAll(), Surprise("advoware", surprise)
    retitled = Act("SB", 6, "retitle occurrence", When(3), variant=4)
    moved = EditEvent("SB", 1, "move", When(7, "14:00"))
    ruled = Act("SB", 1, "other rule", When(7), variant=4)
    run(
        world,
        configuration,
        *entered,
        *unseen,
        retitled,
        SyncAll(),
        moved,
        SyncAll(),
        ruled,
        SyncAll(),
    )


def test_an_occurrence_retitled_while_advoware_shows_no_title_clears_none(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = (
        EnterTermin("SB", When(30)),
        EnterTermin("", When(2, "10:00", 90, all_day=True)),
        EnterEvent("SB", When(6, "02:30", series="daily")),
        SyncAll(),
    )
    unseen = Surprise("advoware", "no text", probability=0.3)
    again = When(3, "10:00", 1439, all_day=True, series="weekly")
    retitled = Act("SB", 6, "retitle occurrence", again, variant=4), SyncAll()
    interrupted = Configure(), Sync("SB", at=1, meanwhile=Cancel())
    steps = (*entered, unseen, *retitled, *interrupted)
    runner, opened = world
    start = datetime(2026, 3, 26, 8, tzinfo=UTC)
    runner.run(play(opened, Scenario(start, HIDDEN, steps, {})))


@pytest.mark.parametrize("series", [None, "daily"])
@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE, HIDDEN])
def test_an_event_that_says_more_than_was_read_is_not_deleted_when_its_termin_is_handed_on(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    series: Any,
) -> None:
    unseen = Surprise("google", "no title")
    entered = EnterEvent("SB", When(3, series=series)), Sync("SB")
    handed_on = EditTermin(0, "anwalt", When(0), to="AI")
    run(world, configuration, unseen, *entered, handed_on, SyncAll(), SyncAll())


def test_a_title_shown_now_and_then_is_not_lost_when_its_termin_is_handed_on(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = (
        EnterEvent("SB", When(0, "02:30", 15)),
        EnterTermin("SB", When(5, "23:45")),
        EnterEvent("SB", When(30, "02:30", 90)),
        SyncAll(),
    )
    changed = DropTermin(2), EnterEvent("SB", When(3, "23:45", 3000))
    other = When(4, "00:00", 1439, series="daily")
    unseen = (
        Surprise("google", "no title", probability=0.5),
        Sync("SB", at=12, meanwhile=EditTermin(7, "text", other, to="AI")),
    )
    handed_on = EditTermin(6, "anwalt", When(0, "10:00", series="monthly"), to="AI")
    runner, opened = world
    start = datetime(2026, 3, 26, 8, tzinfo=UTC)
    steps = (*entered, *changed, *unseen, handed_on)
    runner.run(play(opened, Scenario(start, WRITING, steps, {})))


@pytest.mark.parametrize("series", ["", "daily"])
@pytest.mark.parametrize("hides", ["all", "private"])
def test_an_event_of_the_sync_that_was_moved_to_a_colleague_is_hidden_outside_the_window_too(
    world: tuple[asyncio.Runner, CalendarWorld], hides: str, series: str
) -> None:
    entered = EnterTermin("SB", When(0, "01:30", 15, series=series)), SyncAll()
    moved = Act("SB", 1, "move to colleague", When(6, "02:30", 45), variant=1)
    private = (EditTermin(0, "privat", When(0)),) if hides == "private" else ()
    long_after = Jump(24 * 90), SyncAll(hides != "all")
    run(world, WRITING, *entered, moved, *private, *long_after)


@pytest.mark.parametrize("first", ["SB", "AI"])
@pytest.mark.parametrize("keeps_marks", [True, False])
def test_a_hidden_event_that_is_typed_into_and_moved_to_a_colleague_keeps_its_text(
    world: tuple[asyncio.Runner, CalendarWorld], keeps_marks: bool, first: str
) -> None:
    entered = EnterEvent("SB", When(2, "10:00", 1439)), SyncAll()
    typed = EditEvent("SB", 6, "text", When(2, "10:00", 45))
    moved = Act("SB", 6, "move to colleague", When(2, "02:30", 45), variant=3)
    readings = {"move_keeps_properties": keeps_marks}
    run(world, HIDDEN, *entered, typed, moved, Sync(first), readings=readings)


def test_a_move_that_was_not_readable_when_its_event_was_hidden_is_still_synced(
    world: tuple[asyncio.Runner, CalendarWorld],
) -> None:
    entered = EnterEvent("SB", When(3, "23:45", 45, all_day=True)), SyncAll()
    moved = EditEvent("SB", 0, "move", When(2, "01:30", 3000))
    odd = Surprise("google", "day one", probability=0.3)
    cancelled = Sync("SB", at=12, meanwhile=Cancel())
    hidden = Configure(anonymise=True, strategy="last_change_wins")
    touched = EditEvent("SB", 1, "touch", When(1, "10:00", 45, series="monthly"))
    again = Sync("SB", at=7, meanwhile=touched)
    steps = (*entered, moved, odd, cancelled, hidden, again)
    runner, opened = world
    start = datetime(2026, 12, 29, 22, 55, tzinfo=UTC)
    runner.run(play(opened, Scenario(start, WRITING, steps, {})))


@pytest.mark.parametrize("surprise", ["no start", "start as text"])
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
def test_what_is_not_readable_when_its_event_is_hidden_is_synced_once_it_is(
    world: tuple[asyncio.Runner, CalendarWorld], strategy: Any, surprise: str
) -> None:
    entered = EnterEvent("SB", When(3, minutes=60)), EnterTermin("SB", When(4))
    moved = EditEvent("SB", 6, "move", When(2, "01:30", 90))
    unread = SyncAll(), moved, Surprise("google", surprise), SyncAll()
    hidden = Configure(anonymise=True, strategy=strategy), SyncAll()
    run(world, Configure(strategy=strategy), *entered, *unread, *hidden)


@pytest.mark.parametrize("others", [4, 5, 6, 7])
def test_a_create_of_unknown_fate_is_not_repeated_while_the_list_lacks_termine_that_exist(
    world: tuple[asyncio.Runner, CalendarWorld], others: int
) -> None:
    entered = [EnterEvent("SB", When(day)) for day in range(1, others + 1)]
    lost = EnterEvent("SB", When(9)), Trouble("advoware", "half", "POST", count=1)
    lacking = Surprise("advoware", "lacks some", probability=0.5)
    run(world, WRITING, *entered, SyncAll(), *lost, Sync("SB"), lacking, SyncAll())


@pytest.mark.parametrize("probability", [1.0, 0.5])
@pytest.mark.parametrize("trouble", ["cut_after", "error_after", "half"])
def test_a_create_of_unknown_fate_is_not_forgotten_while_the_list_lacks_termine_that_exist(
    world: tuple[asyncio.Runner, CalendarWorld],
    trouble: str,
    probability: float,
) -> None:
    entered = [EnterTermin("SB", When(day)) for day in range(1, 7)]
    lost = EnterEvent("SB", When(9)), Trouble("advoware", trouble, "POST", count=1)
    lacking = Surprise("advoware", "lacks some", probability=probability)
    steps = (*entered, SyncAll(), *lost, Sync("SB"), lacking, Jump(26), SyncAll())
    run(world, WRITING, *steps, SyncAll())


@pytest.mark.parametrize("kind", ["changed", "refused", "unavailable"])
@pytest.mark.parametrize("comes_back", [True, False])
def test_a_hidden_event_without_marks_is_one_also_where_its_termin_could_not_be_created(
    world: tuple[asyncio.Runner, CalendarWorld], comes_back: bool, kind: str
) -> None:
    entered = EnterTermin("SB", When(3, minutes=60), privat=True), SyncAll()
    moved = Act("SB", 6, "move to colleague", When(5, minutes=45), variant=3)
    imported = (Act("AI", 6, "import own", When(5), variant=4),) if comes_back else ()
    failed = Trouble("advoware", kind, "POST", count=2), SyncAll()
    readings = {"move_keeps_properties": comes_back}
    steps = (*entered, moved, *imported, *failed, SyncAll())
    run(world, HIDDEN, *steps, readings=readings)


@pytest.mark.parametrize("configuration", [HIDDEN, LAST_CHANGE])
def test_a_hidden_event_without_marks_is_one_also_after_writing_was_not_allowed(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterTermin("SB", When(3, minutes=60), privat=True), SyncAll()
    moved = Act("SB", 6, "move to colleague", When(5, minutes=45), variant=3)
    imported = Act("AI", 6, "import own", When(5), variant=4)
    protected = replace(configuration, write_protection=True)
    steps = (*entered, moved, imported, protected, SyncAll(), configuration, SyncAll())
    run(world, configuration, *steps, Jump(30), SyncAll())


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
@pytest.mark.parametrize("keeps_marks", [True, False])
@pytest.mark.parametrize("days", [800, -120])
def test_a_termin_stays_whose_event_is_moved_to_a_colleague_outside_the_window(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    keeps_marks: bool,
    days: int,
) -> None:
    entered = EnterTermin("AI", When(6)), SyncAll()
    moved = (
        EditEvent("AI", 0, "move", When(days)),
        Act("AI", 0, "move to colleague", When(days)),
    )
    readings = {"move_keeps_properties": keeps_marks}
    run(world, configuration, *entered, *moved, SyncAll(), readings=readings)


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
def test_a_series_stays_whose_event_lay_outside_the_window_when_it_was_moved_to_a_colleague(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterTermin("AI", When(6, "00:00", 90, all_day=True)), SyncAll()
    series = EditTermin(0, "move", When(1, "10:00", 45, series="weekly"))
    moved = Act("AI", 0, "move to colleague", When(800))
    run(world, configuration, *entered, series, moved, Jump(4800))


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
def test_an_event_that_waited_outside_the_window_becomes_its_colleagues_termin_within(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterTermin("AI", When(6)), SyncAll()
    moved = (
        EditEvent("AI", 0, "move", When(500)),
        Act("AI", 0, "move to colleague", When(500)),
    )
    run(world, configuration, *entered, *moved, SyncAll(), Jump(24 * 300), SyncAll())


#: What Advoware cannot hold: a series in another time zone, and with rules that it does not know.
UNREADABLE: list[Act] = [
    Act("SB", 0, "other zone", When(9, series="daily"), variant=4),
    Act("SB", 0, "other zone", When(800, series="weekly"), variant=1),
    Act("SB", 0, "other rule", When(9), variant=1),
]


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
@pytest.mark.parametrize(
    ("act", "keeps_marks"),
    [(UNREADABLE[0], True), (UNREADABLE[1], False), (UNREADABLE[2], True)],
)
def test_a_termin_stays_whose_event_says_in_a_colleagues_calendar_what_advoware_cannot_hold(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    act: Act,
    keeps_marks: bool,
) -> None:
    entered = EnterTermin("AI", When(6)), SyncAll()
    moved = Act("AI", 0, "move to colleague", When(6)), act, SyncAll()
    edited = EditTermin(0, "text", When(6)), SyncAll(), Jump(30)
    readings = {"move_keeps_properties": keeps_marks}
    run(world, configuration, *entered, *moved, *edited, readings=readings)


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
def test_an_event_that_waited_unreadable_becomes_its_colleagues_termin_once_it_is_plain(
    world: tuple[asyncio.Runner, CalendarWorld], configuration: Configure
) -> None:
    entered = EnterTermin("AI", When(6)), SyncAll()
    moved = Act("AI", 0, "move to colleague", When(6)), UNREADABLE[0], SyncAll()
    plain = EditEvent("SB", 0, "move", When(5)), SyncAll()
    run(world, configuration, *entered, *moved, *plain)


#: What may happen to an event that waits outside of the window in a colleague's calendar.
AFTERWARDS: list[tuple[Step, ...]] = [
    (DropEvent("SB", 0), SyncAll()),
    (Act("SB", 0, "move to colleague", When(500)), EditEvent("AI", 0, "move", When(9))),
    (EditTermin(0, "text", When(6)), SyncAll(), EditTermin(0, "move", When(8))),
    (EditTermin(0, "text", When(6)), SyncAll()),
    (SyncAll(), Act("SB", 0, "move to colleague", When(500)), SyncAll()),
    (DropTermin(0), SyncAll(), Jump(24 * 300)),
    (EditTermin(0, "privat", When(6)), SyncAll(), Jump(24 * 300)),
    (EditTermin(0, "anwalt", When(6), to=""),),
]


@pytest.mark.parametrize("configuration", [LAST_CHANGE, HIDDEN])
@pytest.mark.parametrize("afterwards", AFTERWARDS)
def test_whatever_happens_to_an_event_that_waits_outside_the_window_nothing_is_lost(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    afterwards: tuple[Step, ...],
) -> None:
    moved = (
        EditEvent("AI", 0, "move", When(500)),
        Act("AI", 0, "move to colleague", When(500)),
    )
    entered = EnterTermin("AI", When(6)), SyncAll(), *moved, SyncAll()
    run(world, configuration, *entered, *afterwards, SyncAll())


@pytest.mark.parametrize("at", [6, 7, 8])
@pytest.mark.parametrize("configuration", [WRITING, LAST_CHANGE])
def test_an_event_under_a_further_id_is_its_termins_also_without_our_marks(
    world: tuple[asyncio.Runner, CalendarWorld],
    configuration: Configure,
    at: int,
) -> None:
    entered = EnterTermin("SB", When(3, series="weekly")), SyncAll()
    dropped = DropEvent("SB", 0), Sync("SB", at=at, meanwhile=Cancel())
    edited = EditEvent("SB", 0, "strip", When(3)), EditEvent("SB", 0, "move", When(5))
    run(world, configuration, *entered, *dropped, *edited, SyncAll())
