"""The outside world is stranger than we think: people at work while both systems show and store things differently.

Scenarios are those of `test_beteiligte_simulation` with surprises among the steps: rules that alter what an answer
shows or what a write stores (docs/sandbox.md). What must hold afterwards: no value that a person entered is gone from
both sides unless a task or the audit holds it; no record is clean while a comparable field differs; a further sync
writes nothing; nothing waits for ever. ``make soak`` plays many more.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from beteiligte_scenario import Enter, Step, Surprise, Work
from beteiligte_world import BeteiligteWorld, Entry, Servers
from hasty_loop import hasty_runner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_beteiligte_simulation import Said, people, runs, surroundings

from services.espocrm_mapper import BeteiligteMapper
from services.sync_events import SyncEvent

#: How many scenarios the gate plays; ``make soak`` sets more.
EXAMPLES = int(os.environ.get("SOAK_SCENARIOS", "12"))
ROUNDS = 3
#: Scenarios take seconds; a find is shrunk on demand only (``SOAK_SHRINK=1``).
PHASES = [phase for phase in Phase if os.environ.get("SOAK_SHRINK") or phase not in {Phase.shrink, Phase.explain}]

TEXT_ALTERATIONS = st.one_of(
    st.sampled_from(["upper", "lower", "title", "trim", "blanks", "no_blanks", "ascii", "nfd", "null", "missing"]).map(
        lambda how: {"how": how}
    ),
    st.sampled_from(["nul", "half_emoji", "zero_width", "bidi", "number", "empty_text"]).map(lambda how: {"how": how}),
    st.integers(3, 12).map(lambda length: {"how": "cut", "to": length}),
    st.sampled_from([120, 300, 1100]).map(lambda length: {"how": "pad", "to": length}),
    st.sampled_from(["upper", "capital"]).map(lambda case: {"how": "key_case", "to": case}),
    st.sampled_from(["Eheleute", "Sonstiges", "Frau Dr.", "???"]).map(lambda value: {"how": "value", "to": value}),
)
DATE_ALTERATIONS = st.sampled_from(
    ["german", "american", "utc", "offset", "fractions", "net", "net_min", "net_max", "before_1800", "impossible"]
).map(lambda form: {"how": "date", "to": form})
ADVOWARE_TEXTS = st.sampled_from(
    [
        *("rechtsform", "anrede", "vorname", "name", "registergericht", "art"),
        *("kommunikation[].tlf", "kommunikation[].bemerkung"),
        *("adressen[].strasse", "adressen[].plz", "adressen[].ort", "adressen[].land", "adressen[].anschrift"),
        *("bankkverbindungen[].iban", "bankkverbindungen[].kontoinhaber", "bankkverbindungen[].bic"),
    ]
)
ADVOWARE_PARTS = st.sampled_from(["strasse", "plz", "ort", "land", "anschrift", "tlf", "bemerkung", "iban", "bank"])
ADVOWARE_DATES = st.sampled_from(["geburtsdatum", "adressen[].gueltigVon", "geaendertAm", "angelegtAm"])
ESPOCRM_TEXTS = st.sampled_from(
    [
        *("firstName", "lastName", "firmenname", "rechtsform", "salutationName"),
        *("phoneNumberData[].phoneNumber", "emailAddressData[].emailAddress", "phoneNumberData[].type"),
    ]
)
LISTS = st.sampled_from(["kommunikation", "adressen", "bankkverbindungen"])
STORED = st.one_of(
    st.sampled_from(["upper", "trim", "blanks", "ascii", "ignore", "nfd"]).map(lambda how: {"how": how}),
    st.integers(3, 12).map(lambda length: {"how": "cut", "to": length}),
    st.sampled_from(["nothing", "field", "entry"]).map(lambda named: {"how": "refuse", "to": named}),
)


def _rule(kind: str, path: str, field: str, alteration: dict[str, Any]) -> dict[str, Any]:
    rule = {"path": path, kind: [{"field": field, **alteration}]}
    return {**rule, "method": "GET"} if kind == "answer" else rule


surprises = st.one_of(
    st.builds(
        lambda f, a: Surprise("advoware", _rule("answer", "/Beteiligte", f, a)), ADVOWARE_TEXTS, TEXT_ALTERATIONS
    ),
    st.builds(
        lambda f, a: Surprise("advoware", _rule("answer", "/Beteiligte", f, a)), ADVOWARE_DATES, DATE_ALTERATIONS
    ),
    st.builds(
        lambda f, how: Surprise("advoware", _rule("answer", "/Beteiligte", f, {"how": how})),
        LISTS,
        st.sampled_from(["null", "missing", "empty_list"]),
    ),
    st.builds(lambda f, a: Surprise("advoware", _rule("stored", "/Beteiligte", f, a)), ADVOWARE_TEXTS, STORED),
    st.builds(lambda f, a: Surprise("advoware", _rule("stored", "/Beteiligte/", f, a)), ADVOWARE_PARTS, STORED),
    st.builds(lambda f, a: Surprise("espocrm", _rule("stored", "/CBeteiligte", f, a)), ESPOCRM_TEXTS, STORED),
    st.builds(
        lambda f, a: Surprise("espocrm", _rule("answer", "/CBeteiligte/", f, a)), ESPOCRM_TEXTS, TEXT_ALTERATIONS
    ),
)
scenarios = st.lists(
    st.one_of(people, people, people, surprises, surprises, runs, runs, surroundings), min_size=2, max_size=14
)


@pytest.fixture(scope="module")
def world(stores: Servers) -> Iterator[tuple[asyncio.Runner, BeteiligteWorld]]:
    """One world for all scenarios, and the runner of its loop."""
    with hasty_runner() as runner:
        opened = BeteiligteWorld(stores)
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


async def scenario(world: BeteiligteWorld, company: bool, version: str, steps: list[Step]) -> None:
    """Play the steps, beginning with one party that both sides know, and check everything that must hold."""
    await world.begin(checks_versions=False, version=version)
    await world.play(Enter(company))
    await world.play(Work())
    for step in steps:
        await world.play(step)
    # As long as the surprises last, the sync comes to rest with them ...
    await world.settle(ROUNDS, surprises_end=False)
    await assert_a_further_sync_writes_nothing(world)
    assert_nothing_is_lost(world, await said(world))
    # ... and once they are over, everything is in order or somebody was told.
    await world.settle(ROUNDS)
    told = await said(world)
    assert_nothing_is_lost(world, told)
    await assert_clean_means_equal(world, told)
    assert_nothing_waits_for_ever(world)
    await assert_a_further_sync_writes_nothing(world)


async def said(world: BeteiligteWorld) -> Said:
    return Said(world, await world.fetch("SELECT * FROM sync_audit"))


def assert_nothing_is_lost(world: BeteiligteWorld, told: Said) -> None:
    """Every value that nobody gave up stands on a side, in a task or in the audit."""
    sides = [world.espocrm.state(), world.advoware.state()]
    held = _letters(json.dumps(sides, ensure_ascii=False, default=str) + told.told + told.audit)
    for entry in world.ledger.entries:
        if not entry.is_given_up:
            assert any(_letters(form) in held for form in entry.forms), f"{entry} is lost"


def _letters(text: str) -> str:
    """A text without what the surprises add or take away: case, blanks, invisible characters."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


async def assert_clean_means_equal(world: BeteiligteWorld, told: Said) -> None:
    """A record that shows clean has no field in which the two sides differ, as far as they can be compared."""
    for espo in world.rows("CBeteiligte"):
        advo = world.beteiligter(espo)
        if advo is not None and espo["syncStatus"] == "clean":
            changed = BeteiligteMapper().get_changed_fields(espo, advo)
            shown = BeteiligteMapper().comparable_from_advoware(advo)
            known = [name for name in changed if type(shown[name]).__name__ != "Unknown"]
            assert not known, (known, espo, advo)
        if espo["syncStatus"] in {"conflict", "deleted_in_advoware"}:
            assert espo["syncErrorMessage"], "nobody sees why"


def assert_nothing_waits_for_ever(world: BeteiligteWorld) -> None:
    """Every record has come to an end: it is clean, or it says what a person has to do."""
    for row in world.rows("CBeteiligte"):
        assert row["syncStatus"] in {"clean", "conflict", "deleted_in_advoware"}, (
            row["syncStatus"],
            row["syncErrorMessage"],
        )


async def assert_a_further_sync_writes_nothing(world: BeteiligteWorld) -> None:
    world.queue.clear()
    world.now += timedelta(hours=1)
    for espo in world.rows("CBeteiligte"):
        if espo["syncStatus"] in {"failed", "permanently_failed"}:
            continue  # a try counts itself; `assert_nothing_waits_for_ever` looks after these
        world.forget_journals()
        event = SyncEvent(entity_id=espo["id"], action="sync_check", source="cron")
        outcome = await world.handle("CBeteiligte", event)
        assert world.writes() == [], (outcome, world.writes())


def test_nothing_is_lost_whatever_the_systems_show_and_store(world: tuple[asyncio.Runner, BeteiligteWorld]) -> None:
    runner, opened = world
    profile = settings.default
    assert profile is not None

    @settings(profile, deadline=None, max_examples=EXAMPLES, phases=PHASES, suppress_health_check=list(HealthCheck))
    @given(st.booleans(), st.sampled_from(["8.4", "9.3"]), scenarios)
    def play(company: bool, version: str, steps: list[Step]) -> None:
        runner.run(scenario(opened, company, version, steps))

    play()


def test_an_entry_is_followed_through_every_surprise() -> None:
    entry = Entry(("Wert 100001",), "espocrm", "x", "name")
    assert _letters(entry.forms[0]) in _letters("WERT\u200b  100001")
