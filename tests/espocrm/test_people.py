"""What people do beside editing: merge, delete, restore, import, erase, many at once, panels; and what follows.

Advoware is the twin; EspoCRM is the twin, and a real one if the environment names it (conftest).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from espocrm_rest import Espo, Events
from people import ENTITY, People

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from services.beteiligte_check import BeteiligteCheck
from services.beteiligte_sync_utils import BeteiligteSync
from services.core.resources import Resources
from services.vmh_sync.job import SyncEvent

OPEN = {"Not Started", "Started", "Deferred"}


@dataclass
class Firm:
    """The people at both programs, and the sync between them."""

    espo: Espo
    people: People
    resources: Resources
    advoware: AdvowareTwin
    control: aiohttp.ClientSession
    clock: Any
    user_id: str
    made: set[str]

    async def new_person(self, **attributes: Any) -> str:
        record = {
            "firstName": "Anna",
            "lastName": f"Muster {uuid4().hex[:8]}",
            "salutationName": "Frau",
            **attributes,
        }
        entity_id = str((await self.espo.person.post(ENTITY, record))["id"])
        self.made.add(entity_id)
        return entity_id

    async def linked_person(self, **attributes: Any) -> tuple[str, int]:
        entity_id = await self.new_person(**attributes)
        await self.sync(entity_id)
        record = await self.record(entity_id)
        assert record["syncStatus"] == "clean", record["syncErrorMessage"]
        return entity_id, record["betnr"]

    async def sync(self, *ids: str, source: Any = "webhook") -> list[str]:
        results = []
        for entity_id in ids:
            self.clock.advance(seconds=5)
            event = SyncEvent(entity_id=entity_id, action="update", source=source)
            results.append(
                (await BeteiligteSync(resources=self.resources).handle(event)).result
            )
        return results

    async def cron(self) -> None:
        """The check, and what it enqueues."""
        self.clock.advance(minutes=20)
        ids: list[str] = []

        async def enqueue(message: Any) -> None:
            if (
                entity_id := message["data"]["entity_id"]
            ) in self.made:  # a real one remembers earlier runs
                ids.append(entity_id)

        await self.resources.redis.flushall()
        await BeteiligteCheck(resources=self.resources).run(enqueue)
        await self.sync(*ids, source="cron")

    async def record(self, entity_id: str, entity: str = ENTITY) -> dict[str, Any]:
        found: dict[str, Any] = await self.espo.person.get(f"{entity}/{entity_id}")
        return found

    def person(self, betnr: int) -> dict[str, Any]:
        """The Beteiligter as Advoware has him."""
        found: dict[str, Any] = self.advoware.beteiligte.get(betnr)
        return found

    def parts(self, betnr: int, link: str) -> list[dict[str, Any]]:
        """The addresses or accounts of a Beteiligter, by the name of the panel in EspoCRM."""
        found: list[dict[str, Any]] = self.person(betnr)[
            {"bankverbindungen": "bankkverbindungen"}.get(link, link)
        ]
        return found

    def phones(self, betnr: int) -> list[str]:
        return sorted(
            entry["tlf"]
            for entry in self.person(betnr)["kommunikation"]
            if entry["tlf"]
        )

    async def in_advoware(self, betnr: int, **changes: Any) -> None:
        """A person changes the Beteiligter in Advoware's desktop program."""
        self.clock.advance(seconds=5)
        self.advoware.beteiligte.edit(betnr, changes, "SB")

    async def tasks(self, betnr: int) -> list[dict[str, Any]]:
        """The open tasks that name a Beteiligter."""
        return [
            task
            for task in await self.people.tasks_about(str(betnr))
            if task["status"] in OPEN
        ]

    def count(self) -> int:
        return len(self.advoware.beteiligte.all())


@pytest.fixture
async def firm(
    espo: Espo,
    make_settings: Callable[..., Settings],
    advoware: AdvowareTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> AsyncIterator[Firm]:
    user_id = (await espo.person.get("App/user"))["user"]["id"]
    settings = make_settings(
        ESPOCRM_API_BASE_URL=espo.sync.base_url,
        ESPOCRM_MARVIN_API_KEY=espo.sync_key,
        ESPOCRM_API_TIMEOUT_SECONDS=20,
        VMH_TASK_ASSIGNED_USER_ID=user_id,
    )
    # A real EspoCRM remembers earlier runs, and a betNr is unique there.
    advoware.beteiligte._next_betnr = random.randrange(10**6, 10**8)  # noqa: S311 - no secret
    async with Resources(settings, clock=clock) as opened:
        await opened.redis.flushall()
        yield Firm(espo, People(espo), opened, advoware, control, clock, user_id, set())


def number() -> str:
    return f"+49511{random.randrange(10**6, 10**7)}"  # noqa: S311 - no secret


def phone(value: str) -> dict[str, Any]:
    return {
        "phoneNumberData": [{"phoneNumber": value, "type": "Office", "primary": True}]
    }


async def address_of(firm: Firm, owner: str, **attributes: Any) -> str:
    body = {
        "adresseStreet": "Lange Straße 5",
        "adressePostalCode": "30159",
        "adresseCity": "Hannover",
        **attributes,
    }
    return str(
        (await firm.espo.person.post("CAdressen", {"beteiligteId": owner, **body}))[
            "id"
        ]
    )


async def account_of(firm: Firm, owner: str) -> str:
    body = {
        "name": "Konto",
        "iban": "DE89370400440532013000",
        "kontoinhaber": "Anna Muster",
        "beteiligteId": owner,
    }
    return str((await firm.espo.person.post("CBankverbindungen", body))["id"])


# -- merge ------------------------------------------------------------------------------------------------------------

orders = pytest.mark.parametrize("deletion_comes", ["first", "last"])


@orders
async def test_of_two_merged_the_survivor_keeps_its_number_and_the_other_is_reported_as_merged(
    firm: Firm, deletion_comes: str
) -> None:
    kept_number, other_number = number(), number()
    survivor, kept = await firm.linked_person(**phone(kept_number))
    source, other = await firm.linked_person(**phone(other_number))
    address = await address_of(firm, source)
    await firm.sync(source)

    await firm.people.merge(survivor, [source], {"lastName": "Neumann"})
    events = [source, survivor] if deletion_comes == "first" else [survivor, source]
    await firm.sync(*events, survivor)

    record = await firm.record(survivor)
    assert (record["betnr"], record["syncStatus"]) == (kept, "clean"), record[
        "syncErrorMessage"
    ]
    assert firm.person(kept)["name"] == "Neumann"
    assert firm.phones(kept) == sorted([kept_number, other_number])
    assert firm.phones(other) == [other_number], (
        "nothing is taken from the one that is left over"
    )
    assert [item["strasse"] for item in firm.parts(kept, "adressen")] == [
        "Lange Straße 5"
    ]
    assert (await firm.record(address, "CAdressen"))["syncStatus"] == "clean"
    reported = [
        task for task in await firm.tasks(other) if "zusammengeführt" in task["name"]
    ]
    assert len(reported) == 1
    assert (reported[0]["parentId"], reported[0]["assignedUserId"]) == (
        survivor,
        firm.user_id,
    )
    assert str(kept) in reported[0]["description"]
    assert "Neumann" in reported[0]["description"]
    assert not [task for task in await firm.tasks(other) if "gelöscht" in task["name"]]
    assert not [task for task in await firm.tasks(kept) if "gelöscht" in task["name"]]
    assert await firm.sync(survivor) == ["no_change"]


@orders
async def test_a_survivor_without_number_takes_the_other_ones(
    firm: Firm, deletion_comes: str
) -> None:
    value = number()
    source, betnr = await firm.linked_person(dateOfBirth="1980-05-01", **phone(value))
    address, account = await address_of(firm, source), await account_of(firm, source)
    await firm.sync(source)
    mine = number()
    survivor = await firm.new_person(**phone(mine))
    count = firm.count()

    await firm.people.merge(
        survivor, [source], {"lastName": "Neumann", "dateOfBirth": "1981-06-02"}
    )
    events = [source, survivor] if deletion_comes == "first" else [survivor, source]
    await firm.sync(*events, survivor)

    record = await firm.record(survivor)
    assert (record["betnr"], record["syncStatus"]) == (betnr, "clean"), record[
        "syncErrorMessage"
    ]
    assert firm.count() == count, "no one was created"
    advo = firm.person(betnr)
    assert (advo["name"], advo["geburtsdatum"][:10]) == ("Neumann", "1981-06-02")
    assert firm.phones(betnr) == sorted([value, mine])
    assert [item["strasse"] for item in firm.parts(betnr, "adressen")] == [
        "Lange Straße 5"
    ]
    assert len(firm.parts(betnr, "bankverbindungen")) == 1
    assert (await firm.record(address, "CAdressen"))["syncStatus"] == "clean"
    assert (await firm.record(account, "CBankverbindungen"))["syncStatus"] == "clean"
    assert await firm.people.tasks_about(str(betnr)) == [], "nor was one withdrawn"
    assert await firm.sync(survivor) == ["no_change"]


async def test_what_webhooks_report_of_people_at_work(
    firm: Firm, events: Events
) -> None:
    survivor, source, imported = (
        await firm.new_person(),
        await firm.linked_person(),
        await firm.linked_person(),
    )
    ids = (survivor, source[0], imported[0])
    await events.of(*ids)

    await firm.people.merge(survivor, [source[0]])
    reported = await events.of(*ids)
    assert {event["id"] for event in reported} == {survivor, source[0]}
    assert {event.get("betnr") for event in reported if event["id"] == survivor} >= {
        source[1]
    }

    await firm.people.erase(ENTITY, survivor, ["name"])
    assert {event["id"] for event in await events.of(*ids)} == {survivor}
    await firm.people.delete(ENTITY, imported[0])
    assert await events.of(*ids) == [{"id": imported[0]}]
    await firm.people.restore(ENTITY, imported[0])
    (restored,) = await events.of(*ids)
    assert (restored["id"], restored["syncStatus"]) == (imported[0], "dirty")


async def test_a_merge_whose_events_were_lost_is_found_by_the_check(firm: Firm) -> None:
    survivor, kept = await firm.linked_person()
    taken, numberless = await firm.linked_person(), await firm.new_person()
    other, third = await firm.linked_person(), await firm.linked_person()

    await firm.people.merge(survivor, [other[0], third[0]])
    await firm.people.merge(numberless, [taken[0]])
    await firm.cron()
    await firm.cron()

    assert (await firm.record(survivor))["betnr"] == kept
    assert (await firm.record(numberless))["betnr"] == taken[1]
    assert await firm.tasks(taken[1]) == []
    for _, betnr in (other, third):
        assert len(await firm.tasks(betnr)) == 1
        assert all(
            "zusammengeführt" in task["name"] for task in await firm.tasks(betnr)
        )


async def test_a_number_that_is_gone_from_advoware_gives_way_to_a_living_one(
    firm: Firm,
) -> None:
    survivor, gone = await firm.linked_person()
    source, betnr = await firm.linked_person()
    await (
        firm.linked_person()
    )  # else Advoware would look as if it had lost its last numbers
    firm.advoware.beteiligte.remove(gone)
    await firm.sync(survivor)
    assert (await firm.record(survivor))["syncStatus"] == "deleted_in_advoware"

    await firm.people.merge(survivor, [source])
    await firm.sync(source, survivor)

    record = await firm.record(survivor)
    assert (record["betnr"], record["syncStatus"]) == (betnr, "clean"), record[
        "syncErrorMessage"
    ]
    assert [
        task["name"] for task in (*await firm.tasks(betnr), *await firm.tasks(gone))
    ] == []


async def test_whoever_was_merged_twice_is_reported_with_the_one_that_is_left(
    firm: Firm,
) -> None:
    first, number_of_first = await firm.linked_person()
    second, number_of_second = await firm.linked_person()
    last, kept = await firm.linked_person()

    await firm.people.merge(second, [first])
    await firm.people.merge(last, [second])
    await firm.sync(first, second, last)

    for betnr in (number_of_first, number_of_second):
        (task,) = await firm.tasks(betnr)
        assert "zusammengeführt" in task["name"]
        assert task["parentId"] == last
        assert str(kept) in task["description"]


async def test_several_without_a_number_are_merged_and_created_once(firm: Firm) -> None:
    survivor, source = await firm.new_person(), await firm.new_person()
    count = firm.count()

    await firm.people.merge(survivor, [source])
    await firm.sync(source, survivor)

    record = await firm.record(survivor)
    assert record["syncStatus"] == "clean"
    assert firm.count() == count + 1
    assert await firm.tasks(record["betnr"]) == []


# -- delete and restore -----------------------------------------------------------------------------------------------


async def test_a_restored_record_is_synced_again_and_no_task_asks_for_a_deletion(
    firm: Firm,
) -> None:
    entity_id, betnr = await firm.linked_person()
    address, account = (
        await address_of(firm, entity_id),
        await account_of(firm, entity_id),
    )
    await firm.sync(entity_id)
    await firm.people.delete(ENTITY, entity_id)
    await firm.sync(entity_id)
    (task,) = await firm.tasks(betnr)
    assert (task["assignedUserId"], "gelöscht" in task["name"]) == (firm.user_id, True)

    await firm.people.restore(ENTITY, entity_id)
    assert (await firm.record(entity_id))["syncStatus"] == "dirty"
    await firm.cron()

    assert (await firm.record(entity_id))["syncStatus"] == "clean"
    assert await firm.tasks(betnr) == []
    closed = await firm.record(task["id"], "Task")
    assert (closed["status"], "Erledigt: " in closed["description"]) == (
        "Canceled",
        True,
    )
    assert (
        len(firm.parts(betnr, "adressen")),
        len(firm.parts(betnr, "bankverbindungen")),
    ) == (1, 1)
    assert (await firm.record(address, "CAdressen"))["syncStatus"] == "clean"
    assert (await firm.record(account, "CBankverbindungen"))["syncStatus"] == "clean"
    assert await firm.sync(entity_id) == ["no_change"]


async def test_a_record_restored_before_its_deletion_was_noticed_is_no_deletion(
    firm: Firm,
) -> None:
    entity_id, betnr = await firm.linked_person()
    await firm.people.delete(ENTITY, entity_id)
    await firm.people.restore(ENTITY, entity_id)

    await firm.sync(entity_id)

    assert (await firm.record(entity_id))["syncStatus"] == "clean"
    assert await firm.tasks(betnr) == []


async def test_a_restored_source_of_a_merge_does_not_share_the_number(
    firm: Firm,
) -> None:
    source, betnr = await firm.linked_person()
    survivor = await firm.new_person()
    await firm.people.merge(survivor, [source])
    await firm.sync(source, survivor)
    count = firm.count()

    await firm.people.restore(ENTITY, source)
    await firm.sync(source)

    record = await firm.record(source)
    assert record["syncStatus"] == "conflict"
    assert str(betnr) in record["syncErrorMessage"]
    assert firm.count() == count
    assert (await firm.record(survivor))["betnr"] == betnr
    await firm.sync(survivor)
    assert (await firm.record(survivor))["syncStatus"] == "clean"


async def test_a_restored_source_with_its_own_number_is_reported_as_merged_no_longer(
    firm: Firm,
) -> None:
    survivor, _ = await firm.linked_person()
    source, betnr = await firm.linked_person()
    await firm.people.merge(survivor, [source])
    await firm.sync(source, survivor)
    assert len(await firm.tasks(betnr)) == 1

    await firm.people.restore(ENTITY, source)
    await firm.sync(source)

    assert (await firm.record(source))["syncStatus"] == "clean"
    assert await firm.tasks(betnr) == []


async def test_a_restored_part_is_synced_again(firm: Firm) -> None:
    entity_id, betnr = await firm.linked_person()
    address, account = (
        await address_of(firm, entity_id),
        await account_of(firm, entity_id),
    )
    await firm.sync(entity_id)
    for entity, part in (("CAdressen", address), ("CBankverbindungen", account)):
        await firm.people.delete(entity, part)
    await firm.sync(entity_id)
    assert len(await firm.tasks(betnr)) == 2

    await firm.people.restore("CAdressen", address)
    await firm.people.restore("CBankverbindungen", account)
    assert (await firm.record(entity_id))["syncStatus"] == "dirty"
    await firm.sync(entity_id)

    assert (await firm.record(entity_id))["syncStatus"] == "clean"
    assert [task["name"] for task in await firm.tasks(betnr)] == []
    assert (
        len(firm.parts(betnr, "adressen")),
        len(firm.parts(betnr, "bankverbindungen")),
    ) == (1, 1)


async def test_a_number_entered_at_another_record_ends_the_deletion(firm: Firm) -> None:
    entity_id, betnr = await firm.linked_person(lastName="Zweitschrift")
    await firm.people.delete(ENTITY, entity_id)
    await firm.sync(entity_id)
    assert len(await firm.tasks(betnr)) == 1

    again = await firm.new_person(lastName="Zweitschrift", betnr=betnr)
    await firm.sync(again)

    assert (await firm.record(again))["betnr"] == betnr
    assert await firm.tasks(betnr) == []


async def test_who_is_gone_from_advoware_too_needs_no_task(firm: Firm) -> None:
    entity_id, betnr = await firm.linked_person()
    firm.advoware.beteiligte.remove(betnr)
    await firm.people.delete(ENTITY, entity_id)

    await firm.sync(entity_id)

    assert await firm.tasks(betnr) == []


# -- who is notified ---------------------------------------------------------------------------------------------------


async def test_a_deletion_reaches_who_looked_after_the_record(firm: Firm) -> None:
    name = f"anwalt{uuid4().hex[:8]}"
    lawyer = await firm.espo.person.post(
        "User", {"userName": name, "lastName": "Anwalt", "type": "regular"}
    )
    try:
        entity_id, betnr = await firm.linked_person(assignedUserId=lawyer["id"])
        await firm.people.delete(ENTITY, entity_id)
        await firm.sync(entity_id)

        (task,) = await firm.tasks(betnr)
        assert task["assignedUserId"] == lawyer["id"]
    finally:
        await firm.espo.person.request("DELETE", f"User/{lawyer['id']}")


async def test_a_type_that_advoware_cannot_change_is_reported(firm: Firm) -> None:
    value = number()
    entity_id, betnr = await firm.linked_person(**phone(value))
    changed = [{"phoneNumber": value, "type": "Mobile", "primary": True}]

    await firm.espo.person.put(f"{ENTITY}/{entity_id}", {"phoneNumberData": changed})
    await firm.sync(entity_id)

    (task,) = await firm.tasks(betnr)
    assert task["name"].startswith("Art einer Rufnummer von Hand ändern")
    assert (await firm.record(entity_id))["syncStatus"] == "conflict"
    changed[0]["type"] = "Office"
    await firm.espo.person.put(f"{ENTITY}/{entity_id}", {"phoneNumberData": changed})
    await firm.sync(entity_id)
    assert await firm.tasks(betnr) == []


# -- many at once -----------------------------------------------------------------------------------------------------


async def test_a_reverted_import_is_one_task_with_a_list(firm: Firm) -> None:
    names = [f"Import {uuid4().hex[:8]}" for _ in range(3)]
    import_id, ids = await firm.people.import_people(names)
    assert [(await firm.record(entity_id))["syncStatus"] for entity_id in ids] == [
        "pending_sync"
    ] * 3
    await firm.sync(*ids)
    numbers = [(await firm.record(entity_id))["betnr"] for entity_id in ids]
    firm.made.update(ids)

    await firm.people.revert_import(import_id, ids)
    await firm.cron()
    await firm.cron()

    tasks = {task["id"]: task for betnr in numbers for task in await firm.tasks(betnr)}
    assert [task["name"] for task in tasks.values()] == [
        "3 Beteiligte wurden in EspoCRM gelöscht"
    ]
    (task,) = tasks.values()
    assert all(name in task["description"] for name in names)


async def test_a_mass_deletion_is_at_most_two_tasks(firm: Firm) -> None:
    people = [await firm.linked_person() for _ in range(4)]
    await firm.people.mass_delete([entity_id for entity_id, _ in people])
    await firm.sync(*[entity_id for entity_id, _ in people])
    await firm.cron()

    tasks = {task["id"] for _, betnr in people for task in await firm.tasks(betnr)}
    assert len(tasks) == 2, "the first one alone, the others as a list"
    for _, betnr in people:
        assert len(await firm.tasks(betnr)) == 1


async def test_who_is_restored_is_taken_off_the_list_of_deletions(firm: Firm) -> None:
    people = [await firm.linked_person() for _ in range(3)]
    (first, first_number), *others = people
    await firm.people.mass_delete([entity_id for entity_id, _ in people])
    await firm.cron()
    assert [task["name"] for task in await firm.tasks(first_number)] == [
        "3 Beteiligte wurden in EspoCRM gelöscht"
    ]

    await firm.people.restore(ENTITY, first)
    await firm.sync(first)

    assert await firm.tasks(first_number) == []
    for entity_id, betnr in others:
        (task,) = await firm.tasks(betnr)
        assert task["name"] == "2 Beteiligte wurden in EspoCRM gelöscht"
        await firm.people.restore(ENTITY, entity_id)
    await firm.sync(*[entity_id for entity_id, _ in others])
    assert (await firm.record(task["id"], "Task"))["status"] == "Canceled"


async def test_a_mass_update_arrives_and_a_recalculation_is_no_edit(firm: Firm) -> None:
    people = [await firm.linked_person() for _ in range(3)]
    ids = [entity_id for entity_id, _ in people]
    await firm.people.mass_update(ids, {"salutationName": "Herr"})
    assert [(await firm.record(entity_id))["syncStatus"] for entity_id in ids] == [
        "dirty"
    ] * 3
    await firm.sync(*ids)
    assert [firm.person(betnr)["anrede"] for _, betnr in people] == ["Herr"] * 3

    before = [(await firm.record(entity_id))["versionNumber"] for entity_id in ids]
    await firm.people.recalculate(ids)

    after = [await firm.record(entity_id) for entity_id in ids]
    assert [record["syncStatus"] for record in after] == ["clean"] * 3
    assert [record["versionNumber"] for record in after] == before
    assert await firm.sync(*ids) == ["no_change"] * 3


# -- erase ------------------------------------------------------------------------------------------------------------


async def test_what_was_erased_neither_empties_advoware_nor_comes_back(
    firm: Firm,
) -> None:
    value = number()
    entity_id, betnr = await firm.linked_person(
        dateOfBirth="1980-05-01", **phone(value)
    )

    await firm.people.erase(ENTITY, entity_id, ["dateOfBirth"])
    await firm.sync(entity_id)

    assert firm.person(betnr)["geburtsdatum"].startswith("1980-05-01")
    assert (await firm.record(entity_id))["dateOfBirth"] is None
    (task,) = await firm.tasks(betnr)
    assert "Aufbewahrung" in task["name"]
    assert task["assignedUserId"] == firm.user_id
    assert "1980" not in task["description"], (
        "what was erased is not written down elsewhere"
    )
    assert "1980" not in ((await firm.record(entity_id))["syncErrorMessage"] or "")

    await firm.in_advoware(betnr, geburtsdatum="1980-05-02T00:00:00", vorname="Berta")
    await firm.sync(entity_id)
    shown = await firm.record(entity_id)
    assert (shown["dateOfBirth"], shown["firstName"]) == (None, "Berta")
    assert len(await firm.tasks(betnr)) == 1
    assert firm.phones(betnr) == [value]

    await firm.espo.person.put(f"{ENTITY}/{entity_id}", {"dateOfBirth": "1980-05-03"})
    await firm.sync(entity_id)
    assert firm.person(betnr)["geburtsdatum"].startswith("1980-05-03"), (
        "entered again it is a value like any other"
    )
    assert (await firm.record(entity_id))["syncStatus"] == "clean"
    assert await firm.tasks(betnr) == []


async def test_an_erasure_of_everything_leaves_advoware_as_it_is(firm: Firm) -> None:
    value = number()
    entity_id, betnr = await firm.linked_person(
        dateOfBirth="1980-05-01",
        emailAddressData=[
            {"emailAddress": f"{uuid4().hex[:8]}@example.com", "primary": True}
        ],
        **phone(value),
    )
    address, account = (
        await address_of(firm, entity_id),
        await account_of(firm, entity_id),
    )
    await firm.sync(entity_id)
    before = firm.person(betnr)

    await firm.people.erase(ENTITY, entity_id, ["phoneNumber", "emailAddress"])
    erased = await firm.record(entity_id)
    assert erased["syncStatus"] == "dirty"
    rows = [*erased["phoneNumberData"], *erased["emailAddressData"]]
    assert [
        (row.get("phoneNumber") or row["emailAddress"]).partition(":")[0]
        for row in rows
    ] == ["ERASED"] * 2
    await firm.people.erase(ENTITY, entity_id, ["name", "dateOfBirth"])
    await firm.people.erase("CAdressen", address, ["adresse"])
    await firm.people.erase("CBankverbindungen", account, ["iban", "kontoinhaber"])
    await firm.sync(entity_id)
    await firm.sync(entity_id, source="cron")

    after = firm.person(betnr)
    for name in ("name", "vorname", "anrede", "geburtsdatum"):
        assert after[name] == before[name], name
    assert firm.phones(betnr) == sorted(
        entry["tlf"] for entry in before["kommunikation"]
    )
    assert firm.parts(betnr, "adressen")[0]["strasse"] == "Lange Straße 5"
    assert firm.parts(betnr, "bankverbindungen")[0]["iban"] == "DE89370400440532013000"
    record = await firm.record(entity_id)
    assert (record["lastName"], record["firstName"], record["dateOfBirth"]) == (
        None,
        None,
        None,
    )
    assert (await firm.record(account, "CBankverbindungen"))["iban"] is None
    shown = await firm.record(address, "CAdressen")
    assert not [
        text
        for text in shown.values()
        if isinstance(text, str) and "Lange Straße" in text
    ]
    tasks = await firm.tasks(betnr)
    assert tasks
    assert all("Aufbewahrung" in task["name"] for task in tasks), [
        task["name"] for task in tasks
    ]
    text = "\n".join(f"{task['name']}\n{task['description']}" for task in tasks)
    assert not [
        word
        for word in ("Lange Straße", "DE8937", value, "Muster", "1980")
        if word in text
    ]
    assert (await firm.sync(entity_id))[0] in {"no_change", "conflict"}


# -- panels -----------------------------------------------------------------------------------------------------------


DELETION_TASKS = {
    "adressen": "Adresse in Advoware löschen",
    "bankverbindungen": "Bankverbindung in Advoware entfernen",
}


@pytest.mark.parametrize(("link", "add", "entity"), [
    ("adressen", address_of, "CAdressen"),
    ("bankverbindungen", account_of, "CBankverbindungen"),
])  # fmt: skip
async def test_what_comes_goes_or_moves_in_a_panel_marks_the_beteiligter_and_arrives(
    firm: Firm, link: str, add: Any, entity: str
) -> None:
    owner, betnr = await firm.linked_person()
    other, target = await firm.linked_person()
    part = await add(firm, owner)
    await firm.sync(owner)

    assert (await firm.people.unrelate(owner, link, part)).status in {400, 403}, (
        "it would belong to no one"
    )
    assert (await firm.record(part, entity))["beteiligteId"] == owner

    await firm.people.relate(other, link, part)
    assert {
        (await firm.record(entity_id))["syncStatus"] for entity_id in (owner, other)
    } == {"dirty"}
    await firm.sync(owner, other, owner)
    assert len(firm.parts(betnr, link)) == 1, "nothing is deleted in Advoware"
    (moved,) = await firm.tasks(
        betnr
    )  # an account is not entered a second time, an address is
    assert ("Bankverbindung" in moved["name"]) == (link == "bankverbindungen")
    assert len(firm.parts(target, link)) == (link == "adressen")

    await firm.people.delete(entity, part)
    assert (await firm.record(other))["syncStatus"] == "dirty"
    await firm.sync(other, owner)
    reported = await firm.tasks(target if link == "adressen" else betnr)
    assert [task["name"].split(":")[0] for task in reported] == [DELETION_TASKS[link]]
    assert len(firm.parts(target, link)) == (link == "adressen"), (
        "nothing is deleted in Advoware"
    )
