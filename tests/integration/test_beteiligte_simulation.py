"""Whatever people, faults and restarts do to the Beteiligte sync: nothing is lost, doubled, or left undone unsaid.

The scenarios are generated (`beteiligte_world`). In the gate a fixed set of them is played. To look for new ones:
``HYPOTHESIS_PROFILE=search pytest -o timeout=0 tests/integration/test_beteiligte_simulation.py``; what that finds
becomes an example here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from beteiligte_routine import ARRAYS
from beteiligte_scenario import (
    TROUBLES,
    Cancel,
    Cron,
    Drop,
    EditAddress,
    EditBank,
    EditContact,
    EditMaster,
    Enter,
    Flush,
    Jump,
    LoseEvents,
    Rearrange,
    Restart,
    Retype,
    Step,
    SwitchKind,
    Sync,
    Trouble,
    Work,
)
from beteiligte_world import DERIVED, BeteiligteWorld, Entry
from hasty_loop import hasty_runner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers import Stores

from sandbox.advoware.beteiligte import MASTER_DATA
from sandbox.control import Twin
from services.adressen_mapper import AdressenMapper
from services.bankverbindungen_mapper import BankverbindungenMapper, konten_of
from services.beteiligte_sync_utils import OLDER_STATE
from services.espocrm_mapper import BeteiligteMapper
from services.kommunikation_mapper import (
    PHONE_TYPES,
    advoware_entries,
    espocrm_entries,
)
from services.values.kommunikation import espocrm_value
from services.vmh_sync.job import SyncEvent

#: How many scenarios the gate plays.
GATE_EXAMPLES = 50
#: So many days, each with a check, bring everything in order.
ROUNDS = 3

sides = st.sampled_from(["espocrm", "advoware"])
numbers = st.integers(0, 2)
entries = st.integers(0, 3)
people = st.one_of(
    st.builds(Enter, st.booleans(), st.booleans()),
    st.builds(
        EditMaster,
        sides,
        numbers,
        st.integers(0, 11),
        st.sampled_from([False, False, False, True]),
    ),
    st.builds(EditMaster, sides, numbers, st.integers(0, 11)),
    st.builds(SwitchKind, sides, numbers),
    st.builds(
        EditContact,
        sides,
        numbers,
        st.sampled_from(["add", "change", "change", "remove", "odd"]),
        entries,
        st.sampled_from(["Office", "Fax", "Mobile", "Home", "mail"]),
    ),
    st.builds(
        Retype,
        sides,
        numbers,
        st.sampled_from(["value", "kind", "both"]),
        entries,
        st.sampled_from(["Office", "Fax", "Mobile", "mail", "web"]),
        st.booleans(),
    ),
    st.builds(
        Rearrange,
        sides,
        numbers,
        st.sampled_from(
            [
                *("swap", "swap", "swap_names", "again", "reenter"),
                *("put_back", "refill", "primary"),
            ]
        ),
        entries,
    ),
    st.builds(
        EditAddress,
        sides,
        numbers,
        st.sampled_from(
            [
                "add",
                "street",
                "street",
                "city",
                "country",
                "box",
                "main",
                "active",
                "remove",
            ]
        ),
        entries,
    ),
    st.builds(
        EditBank,
        sides,
        numbers,
        st.sampled_from(["add", "holder", "iban", "active", "remove"]),
        entries,
    ),
)
drops = st.builds(Drop, sides, numbers)
surroundings = st.one_of(
    st.builds(
        Trouble,
        sides,
        st.sampled_from(sorted(TROUBLES)),
        st.sampled_from([None, "GET", "PUT", "POST"]),
        st.integers(0, 5),
        st.sampled_from([1, 1, 2, 9]),
    ),
    st.just(Flush()),
    st.builds(Restart, st.integers(0, 1)),
    st.builds(LoseEvents, st.booleans()),
    st.builds(Jump, st.sampled_from([1, 6, 20, 70, 26 * 60])),
    st.just(Cron()),
)
meanwhiles = st.one_of(
    people,
    people,
    drops,
    st.builds(Cancel, st.booleans()),
    st.just(Flush()),
    st.builds(Sync, numbers, st.just(1)),
    st.builds(Jump, st.sampled_from([1, 26 * 60])),
)
runs = st.one_of(
    st.just(Work()),
    st.builds(Sync, numbers, st.just(0), st.booleans()),
    st.builds(Sync, numbers, st.just(0), st.booleans(), st.integers(1, 16), meanwhiles),
    st.builds(
        Sync, numbers, st.just(0), st.just(False), st.integers(1, 16), meanwhiles
    ),
)
scenarios = st.lists(
    st.one_of(people, people, people, runs, runs, surroundings, drops),
    min_size=1,
    max_size=16,
)


@pytest.fixture(scope="module")
def world(stores: Stores) -> Iterator[tuple[asyncio.Runner, BeteiligteWorld]]:
    """One world for all scenarios, and the runner of its loop."""
    with hasty_runner() as runner:
        opened = BeteiligteWorld(stores)
        runner.run(opened.open())
        yield runner, opened
        runner.run(opened.close())


async def scenario(
    world: BeteiligteWorld, checks_versions: bool, company: bool, steps: list[Step]
) -> None:
    """Play the steps, beginning with one party that both sides know, and check everything that must hold."""
    await world.begin(checks_versions=checks_versions)
    await world.play(Enter(company))
    await world.play(Work())
    for step in steps:
        await world.play(step)
    await world.settle(ROUNDS)
    reported = Reported(world, await world.fetch("SELECT * FROM sync_audit"))
    await assert_nothing_is_there_twice(world)
    await assert_both_sides_agree(world, reported)
    assert_statuses(world, reported)
    assert_nothing_is_lost(world, reported)
    assert_no_task_is_doubled(reported)
    await assert_the_sync_rests(world)


def test_nothing_is_lost_doubled_or_left_unsaid_whatever_happens(
    world: tuple[asyncio.Runner, BeteiligteWorld],
) -> None:
    runner, opened = world
    profile = settings.default
    assert profile is not None

    @settings(
        profile,
        deadline=None,
        max_examples=GATE_EXAMPLES if profile.derandomize else profile.max_examples,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.booleans(), st.booleans(), scenarios)
    def play(checks_versions: bool, company: bool, steps: list[Step]) -> None:
        runner.run(scenario(opened, checks_versions, company, steps))

    play()


# -- what must hold -------------------------------------------------------------------------------------------------


class Reported:
    """What was reported to people in tasks, and what stands in the audit."""

    def __init__(self, world: BeteiligteWorld, audit: list[dict[str, Any]]) -> None:
        self.tasks = world.rows("Task")
        self.open_tasks = [
            task
            for task in self.tasks
            if task["status"] not in {"Completed", "Canceled"}
        ]
        self.task_texts = "\n".join(
            f"{task['name']}\n{task['description']}" for task in self.tasks
        )
        self.audit = json.dumps(
            [row["changes"] for row in audit], ensure_ascii=False, default=str
        )

    def about(self, entity_id: str, name: str = "") -> str:
        """What the open tasks of a record say, or those of one name."""
        tasks = [
            task
            for task in self.open_tasks
            if task["parentId"] == entity_id and task["name"].startswith(name)
        ]
        return "\n".join(f"{task['name']}\n{task['description']}" for task in tasks)


def is_held_as_older(record: Mapping[str, Any], reported: Reported) -> bool:
    """Whether it is held because Advoware shows an older state, which one open task says for all records concerned."""
    named = [task["name"].partition(":")[0] for task in reported.open_tasks]
    is_reported = "Advoware zeigt einen älteren Stand" in named
    return is_reported and record.get("syncErrorMessage") == OLDER_STATE


async def assert_nothing_is_there_twice(world: BeteiligteWorld) -> None:
    """No Beteiligter, Kommunikation, Adresse or Bankverbindung was made twice, on either side."""
    states = await world.fetch(
        "SELECT * FROM sync_state WHERE entity_type = 'CBeteiligte' AND advoware_id IS NOT NULL"
    )
    linked = Counter(
        state["advoware_id"] for state in states if state["deleted_at"] is None
    )
    known = {state["advoware_id"] for state in states}
    for advo in world.beteiligte():
        assert str(advo["betNr"]) in known, f"no one knows Beteiligter {advo['betNr']}"
        assert_single(
            (
                entry.key
                for entry in advoware_entries(advo)
                if not entry.is_empty and not was_entered_twice(entry.tlf, world)
            ),
            "Kommunikation",
        )
        assert_single((row["strasse"] for row in advo["adressen"]), "Adresse")
        assert_single(
            (row["iban"] for row in advo["bankkverbindungen"]), "Bankverbindung"
        )
    assert_single(linked.elements(), "Beteiligter")
    for espo in world.rows("CBeteiligte"):
        for family in ("phone", "mail"):
            assert_single(
                (entry.key for entry in espocrm_entries(espo, family)),
                "Kommunikation in EspoCRM",
            )
        streets = (
            row["adresseStreet"]
            for row in world.rows("CAdressen", beteiligteId=espo["id"], isActive=True)
        )
        assert_single(streets, "CAdressen")


def was_entered_twice(text: str | None, world: BeteiligteWorld) -> bool:
    """Whether a user has entered a number once more although it was there."""
    return any(form in (text or "") for form in world.ledger.doubled)


def assert_single(values: Iterable[Any], what: str) -> None:
    doubles = {
        value: count for value, count in Counter(values).items() if value and count > 1
    }
    assert not doubles, f"{what} twice: {doubles}"


async def assert_both_sides_agree(world: BeteiligteWorld, reported: Reported) -> None:
    """Field by field, but for differences that a task reports."""
    states = {
        (row["entity_type"], row["entity_id"]): row
        for row in await world.fetch("SELECT * FROM sync_state")
    }
    for espo in world.rows("CBeteiligte"):
        assert espo["betnr"] is not None, f"{espo['id']} is not in Advoware"
        advo = world.beteiligter(espo)
        if advo is None:
            # Neighbours that are gone as well look like a backup that was put back: all are held, and one task says so.
            is_known = espo["syncStatus"] == "deleted_in_advoware"
            assert is_known or is_held_as_older(espo, reported), espo["syncStatus"]
            continue
        changed = set(BeteiligteMapper().get_changed_fields(espo, advo))
        rejected = set(states["CBeteiligte", espo["id"]]["rejected"])
        assert changed <= rejected, dict.fromkeys(changed - rejected, (espo, advo))
        assert_kommunikation_agrees(espo, advo, reported)
        assert_chosen_types_stay(world, espo, advo, reported)
        assert_chosen_primaries_stay(world, espo)
        assert_adressen_agree(world, espo, advo, states, reported)
        assert_bankverbindungen_agree(world, espo, advo, reported)


def assert_kommunikation_agrees(
    espo: Mapping[str, Any], advo: Mapping[str, Any], reported: Reported
) -> None:
    in_espocrm = {
        entry.key: entry.written
        for family in ("phone", "mail")
        for entry in espocrm_entries(espo, family)
    }
    in_advoware = {}
    for entry in advoware_entries(advo):
        if entry.is_empty:
            continue
        if espocrm_value(entry.key.family, entry.written) is None:
            assert entry.tlf in reported.task_texts, (
                f"no one was notified that {entry.tlf} stands only in Advoware"
            )
        else:
            in_advoware[entry.key] = entry.written
    # The answer to a create was lost, and a person changed the entry before it was looked for: that is not known from
    # an entry that Advoware stores differently, and an open task names both. EspoCRM also keeps a value that was typed
    # over in Advoware by what EspoCRM cannot hold, and an open task names both as well.
    named = reported.about(
        espo["id"], "Advoware speichert eine Angabe anders"
    ).splitlines()
    kept = reported.about(espo["id"]).splitlines()
    here = [
        in_espocrm[key]
        for key in in_espocrm.keys() - in_advoware.keys()
        if f"In EspoCRM: {in_espocrm[key]}" not in kept
    ]
    there = [in_advoware[key] for key in in_advoware.keys() - in_espocrm.keys()]
    named = [f"Wert: {value}" for value in here]
    named += [f"In Advoware: {value}" for value in there]
    assert {*named} <= {*named}, (here, there)


def assert_chosen_types_stay(
    world: BeteiligteWorld,
    espo: Mapping[str, Any],
    advo: Mapping[str, Any],
    reported: Reported,
) -> None:
    """The type that a person has chosen in EspoCRM stays, and a task says where it has to be changed in Advoware.

    Unless another record shows the number too: its row is shared. What was changed in Advoware may settle the type.
    """
    shown = Counter(
        row["phoneNumber"]
        for record in world.rows("CBeteiligte")
        for row in record["phoneNumberData"]
    )
    is_edited = ("advoware", espo["id"], "kommunikation") in world.ledger.touched
    listed = {
        (entry.key, PHONE_TYPES[entry.komm_kz])
        for entry in advoware_entries(advo)
        if entry.key.family == "phone"
    }
    named = reported.about(espo["id"], "Art einer Rufnummer")
    for entry in espocrm_entries(espo, "phone"):
        chosen = world.ledger.types.get((espo["id"], entry.written))
        if chosen is None or shown[entry.written] > 1:
            continue
        assert entry.type == chosen, f"{entry.written} was made {chosen}"
        is_alike = (entry.key, chosen) in listed
        assert is_alike or is_edited or entry.written in named, (
            f"no one was notified that {entry.written} is {chosen} now"
        )


def assert_chosen_primaries_stay(
    world: BeteiligteWorld, espo: Mapping[str, Any]
) -> None:
    """The primary number and mail address are those that a person has made it, if they are there still."""
    for array, attribute in ARRAYS.values():
        chosen = world.ledger.primary.get((espo["id"], array), "").lower()
        shown = {row[attribute].lower(): row["primary"] for row in espo[array]}
        assert shown.get(chosen, True), f"{chosen} was made the primary one: {shown}"


def assert_adressen_agree(
    world: BeteiligteWorld,
    espo: Mapping[str, Any],
    advo: Mapping[str, Any],
    states: Mapping[tuple[str, str], Mapping[str, Any]],
    reported: Reported,
) -> None:
    mapper = AdressenMapper()
    adressen = {f"{advo['betNr']}/{row['id']}": row for row in advo["adressen"]}
    known = {
        state["advoware_id"]
        for (entity_type, _), state in states.items()
        if entity_type == "CAdressen"
    }
    assert adressen.keys() <= known, "an Adresse is unknown to the sync"
    for row in world.rows("CAdressen", beteiligteId=espo["id"]):
        state = states.get(("CAdressen", row["id"]))
        if state is None:
            assert row["isActive"] is False, "a CAdressen was not brought over"
            continue
        adresse = adressen.get(str(state["advoware_id"]))
        if adresse is None:
            assert not row["isActive"] or "isActive" in state["rejected"], (
                "an Adresse is missing unsaid"
            )
            continue
        if not row["isActive"]:
            assert reported.about(row["id"]), "a CAdressen is switched off unsaid"
            continue
        changed = set(mapper.get_changed_fields(row, adresse))
        assert changed <= state["rejected"].keys(), (changed, row, adresse)
        if state["rejected"]:
            assert reported.about(row["id"]), (
                f"no one was notified of {state['rejected']}"
            )


def assert_bankverbindungen_agree(
    world: BeteiligteWorld,
    espo: Mapping[str, Any],
    advo: Mapping[str, Any],
    reported: Reported,
) -> None:
    mapper = BankverbindungenMapper()
    listed = konten_of(advo)
    konten = {konto["id"]: konto for konto in listed.usable} if listed else {}
    for row in world.rows("CBankverbindungen", beteiligteId=espo["id"]):
        konto = konten.get(row["advowareKontoId"])
        if row["syncStatus"] == "unclean":
            assert reported.about(row["id"]), "a Bankverbindung is unclean unsaid"
        elif row["istAktiv"]:
            assert konto is not None, "a Bankverbindung is missing unsaid"
            assert (
                mapper.comparable_from_espocrm(row)["iban"]
                == mapper.comparable_from_advoware(konto)["iban"]
            )


def assert_statuses(world: BeteiligteWorld, reported: Reported) -> None:
    """Everything is clean, or a task says why not."""
    owners = {
        row["id"]
        for row in world.rows("CBeteiligte")
        if world.beteiligter(row) is not None
    }
    shown = [
        (row, {"clean"}, {"conflict", "deleted_in_advoware"})
        for row in world.rows("CBeteiligte")
    ]
    shown += [
        (row, {"clean"}, {"conflict", "deleted_in_advoware"})
        for row in world.rows("CAdressen")
        if row["beteiligteId"] in owners
    ]
    shown += [
        (row, {"clean"}, {"unclean"})
        for row in world.rows("CBankverbindungen")
        if row["beteiligteId"] in owners
    ]
    for row, good, waiting in shown:
        assert row["syncStatus"] in good | waiting, (
            row["syncStatus"],
            row.get("syncErrorMessage"),
            row,
        )
        if row["syncStatus"] in waiting:
            # The Adressen have no place of their own for their reasons: their Beteiligter shows them.
            parts = [
                part["id"]
                for part in world.rows("CAdressen")
                if part["beteiligteId"] == row["id"]
            ]
            named = [reported.about(entity_id) for entity_id in (row["id"], *parts)]
            assert any(named) or is_held_as_older(row, reported), (
                f"{row['id']} shows {row['syncStatus']}, and no one was notified why"
            )


def assert_nothing_is_lost(world: BeteiligteWorld, reported: Reported) -> None:
    """What no one gave up is there, or it stands in the audit and a task because another edit went against it."""
    live = json.dumps(
        [*shown_in_espocrm(world), *shown_in_advoware(world)],
        ensure_ascii=False,
        default=str,
    )
    for entry in world.ledger.entries:
        if entry.is_given_up or entry.stands_in(live):
            continue
        assert entry.stands_in(reported.audit), f"the audit lacks {entry}"
        if entry.owner in world.ledger.renumbered:
            continue  # compared as at a first sync, when the newer record wins
        assert entry.stands_in(reported.task_texts), (
            f"no one was notified that {entry} is lost"
        )
        assert was_contested(world, entry), (
            f"{entry} gave way although no one touched its place on the other side"
        )


def was_contested(world: BeteiligteWorld, entry: Entry) -> bool:
    other = "advoware" if entry.side == "espocrm" else "espocrm"
    touched = {
        subject
        for side, owner, subject in world.ledger.touched
        if (side, owner) == (other, entry.owner)
    }
    if (
        entry.subject == "kommunikation" and touched
    ):  # after a conflict it goes towards Advoware only
        return True
    return bool(touched & {entry.subject, "kind"})


def shown_in_espocrm(world: BeteiligteWorld) -> Iterator[dict[str, Any]]:
    for entity in ("CBeteiligte", "CAdressen", "CBankverbindungen"):
        yield from world.rows(entity)


def shown_in_advoware(world: BeteiligteWorld) -> Iterator[dict[str, Any]]:
    for advo in world.beteiligte():
        lists = [*advo["kommunikation"], *advo["adressen"], *advo["bankkverbindungen"]]
        for record in ({name: advo[name] for name in MASTER_DATA}, *lists):
            yield {name: value for name, value in record.items() if name not in DERIVED}


def assert_no_task_is_doubled(reported: Reported) -> None:
    """No two open tasks are about one occurrence, or say the same."""
    marks = [
        re.findall(r"Vorgang ([0-9a-f]{16})-\d+", task["description"])
        for task in reported.open_tasks
    ]
    assert_single((mark for found in marks for mark in found), "task")
    texts = (
        (
            task["parentId"],
            task["name"],
            re.sub(r"(Festgestellt|Vorgang)[^\n]*", "", task["description"]),
        )
        for task in reported.open_tasks
    )
    assert_single(texts, "task")


async def assert_the_sync_rests(world: BeteiligteWorld) -> None:
    """Another round writes nothing and costs what was promised."""
    world.queue.clear()
    world.forget_journals()
    world.now += timedelta(hours=1)
    found = await world.cron()
    owners = {
        row["id"]
        for row in world.rows("CBeteiligte")
        if world.beteiligter(row) is not None
    }
    parts = [*world.rows("CAdressen"), *world.rows("CBankverbindungen")]
    if all(
        row["beteiligteId"] in owners for row in parts
    ):  # what belongs to no one any more is looked at for ever
        assert found["total"] == 0, found
    for espo in world.rows("CBeteiligte"):
        for action, source in (("sync_check", "cron"), ("update", "webhook")):
            world.espocrm.journal.clear()
            world.advoware.journal.clear()
            event = SyncEvent(entity_id=espo["id"], action=action, source=source)
            outcome = await world.handle("CBeteiligte", event)
            assert world.writes() == [], (outcome, world.writes())
            if espo["syncStatus"] == "clean":
                assert len(_answered(world.espocrm)) <= 3, _answered(world.espocrm)
                assert len(_answered(world.advoware)) <= 1, _answered(world.advoware)
    for row in world.rows("CBankverbindungen"):
        if row["beteiligteId"] in owners:
            await world.handle(
                "CBankverbindungen",
                SyncEvent(entity_id=row["id"], action="update", source="webhook"),
            )
    assert world.writes() == [], "the sync does not come to rest"


def _answered(twin: Twin) -> list[str]:
    """The requests that were answered, logins left out."""
    return [
        e["path"]
        for e in twin.journal
        if e["status"] != 401 and "Token" not in e["path"]
    ]
