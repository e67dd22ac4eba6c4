"""What a sync writes in EspoCRM about one record goes in one call (docs/espocrm.md, "How the sync writes")."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from beteiligte_office import PHONES, WRITES, Office, office
from waiting import held, until

from services.bankverbindungen_sync import BankverbindungenSync
from services.core.errors import BitByLawError
from services.vmh_sync.job import SyncEvent

__all__ = ["office"]

IBAN = "DE89370400440532013000"
ADDRESS = {
    "adresseStreet": "Lange Straße 5",
    "adressePostalCode": "30159",
    "adresseCity": "Hannover",
}
ACTION = "POST /api/v1/BitByLaw/write"


async def add(office: Office, entity: str, **attributes: Any) -> str:
    url = f"{office.espocrm.url}/__sandbox__/records/{entity}?silent=1"
    return str((await office._request("POST", url, json=attributes))["id"])


async def edit(office: Office, entity: str, entity_id: str, **attributes: Any) -> None:
    url = f"{office.espocrm.url}/__sandbox__/records/{entity}/{entity_id}"
    await office._request("PUT", url, json=attributes)


def writing_calls(office: Office) -> list[str]:
    """Each call that writes, however many records it is about."""
    return [
        f"{entry['method']} {entry['path']}"
        for entry in office.espocrm.journal
        if entry["method"] in WRITES
    ]


class Firm:
    """A Beteiligter with an address and an account, known to both sides."""

    def __init__(self, office: Office) -> None:
        self.office = office

    async def open(self) -> Firm:
        office = self.office
        self.id = await office.new_person(phoneNumberData=PHONES)
        self.address = await add(office, "CAdressen", beteiligteId=self.id, **ADDRESS)
        self.account = await add(
            office,
            "CBankverbindungen",
            beteiligteId=self.id,
            iban=IBAN,
            kontoinhaber="Erika",
        )
        assert (await office.sync(self.id, "create")).result == "created"
        self.betnr = int((await office.in_espocrm(self.id))["betnr"])
        return self

    async def change_everything(self) -> None:
        """Name, address and account by people at EspoCRM, first name and number in Advoware; two tasks follow."""
        office = self.office
        await office.edit_espocrm(self.id, lastName="Anders")
        await edit(
            office,
            "CAdressen",
            self.address,
            adresseCity="Celle",
            gueltigBis="2027-01-01",
        )
        await edit(
            office, "CBankverbindungen", self.account, kontoinhaber="Erika Anders"
        )
        (entry,) = office.in_advoware(self.betnr)["kommunikation"]
        await office.edit_advoware(
            self.betnr, vorname="Berta", kommunikation=[{**entry, "tlf": "0511 99999"}]
        )

    async def assert_everything_arrived(self) -> None:
        office = self.office
        shown, there = await office.in_espocrm(self.id), office.in_advoware(self.betnr)
        assert (shown["firstName"], shown["lastName"], shown["syncStatus"]) == (
            "Berta",
            "Anders",
            "conflict",
        )
        assert [row["phoneNumber"] for row in shown["phoneNumberData"]] == [
            "+4951199999"
        ]
        assert there["name"] == "Anders"
        assert [row["ort"] for row in there["adressen"]] == ["Celle"]
        assert len(there["bankkverbindungen"]) == 1
        assert (await office.in_espocrm(self.address, "CAdressen"))[
            "syncStatus"
        ] == "conflict"
        assert (await office.in_espocrm(self.account, "CBankverbindungen"))[
            "syncStatus"
        ] == "unclean"
        tasks = [
            task for task in await office.tasks() if task["status"] == "Not Started"
        ]
        assert sorted(str(task["parentId"]) for task in tasks) == sorted(
            [self.address, self.account]
        )

    async def recover(self) -> None:
        await self.office.no_faults()
        for _ in range(3):
            self.office.clock.advance(minutes=5)
            await self.office.sync(self.id)
        await self.office.notify_the_rest()


@pytest.fixture
async def firm(office: Office) -> Firm:
    return await Firm(office).open()


async def test_a_changed_record_with_all_that_belongs_to_it_takes_two_calls(
    firm: Firm,
) -> None:
    await firm.change_everything()
    await firm.office.sync(firm.id)

    assert writing_calls(firm.office) == [f"PUT /api/v1/CBeteiligte/{firm.id}", ACTION]
    (together,) = [
        entry["writes"] for entry in firm.office.espocrm.journal if "writes" in entry
    ]
    assert together[-1] == f"PUT /api/v1/CBeteiligte/{firm.id}", "the status comes last"
    assert Counter(call.split()[0] + call.split("/")[3] for call in together) == {
        "PUTCAdressen": 1,
        "PUTCBankverbindungen": 1,
        "PUTCBeteiligte": 1,
        "POSTTask": 2,
        "POSTNote": 2,
    }
    reads = [
        entry["path"].partition("?")[0]
        for entry in firm.office.espocrm.journal
        if entry["method"] == "GET"
    ]
    assert reads.count(f"/api/v1/CBeteiligte/{firm.id}") == 1, "nothing is read back"
    await firm.assert_everything_arrived()
    await firm.office.sync(firm.id)
    assert firm.office.writes() == []


async def test_a_new_record_with_all_that_belongs_to_it_takes_two_calls(
    office: Office,
) -> None:
    firm = await Firm(office).open()
    # On a real EspoCRM a person enters them one after the other.
    assert len(writing_calls(firm.office)) == 2
    assert (await office.in_espocrm(firm.address, "CAdressen"))["advowareId"]
    assert (await office.in_espocrm(firm.account, "CBankverbindungen"))[
        "advowareKontoId"
    ]


async def test_what_advoware_brings_takes_one_call(firm: Firm) -> None:
    street = {"strasse": "Weg 9", "plz": "28195", "ort": "Bremen"}
    adressen = [*firm.office.in_advoware(firm.betnr)["adressen"], street]
    await firm.office.edit_advoware(firm.betnr, vorname="Berta", adressen=adressen)
    await firm.office.sync(firm.id)
    assert writing_calls(firm.office) == [ACTION]


async def test_without_the_action_everything_is_written_one_by_one(
    office: Office,
) -> None:
    await office._request(
        "POST",
        f"{office.espocrm.url}/__sandbox__/settings",
        json={"extension": "1.0.0"},
    )
    firm = await Firm(office).open()
    await firm.change_everything()
    await office.sync(firm.id)
    assert ACTION not in writing_calls(office)
    assert len(writing_calls(office)) == 8
    await firm.assert_everything_arrived()


async def test_an_account_of_an_event_of_its_own_takes_one_call_with_its_task(
    firm: Firm,
) -> None:
    office = firm.office
    await edit(office, "CBankverbindungen", firm.account, kontoinhaber="Erika Anders")
    office.clock.advance(seconds=5)
    office.espocrm.journal.clear()
    event = SyncEvent(entity_id=firm.account, action="update", source="webhook")
    await BankverbindungenSync(resources=office.resources).handle(event)
    assert writing_calls(office) == [ACTION]
    assert [task["parentId"] for task in await office.tasks()] == [firm.account]
    assert (await office.in_espocrm(firm.account, "CBankverbindungen"))[
        "syncStatus"
    ] == "unclean"


# -- crashes and lost answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_while_espocrm_is_written(firm: Firm, when: str) -> None:
    """Advoware has everything; whether EspoCRM has is not known."""
    await firm.change_everything()
    await firm.office.fault(
        firm.office.espocrm, method="POST", path="Task$", hang=True, when=when, count=1
    )
    firm.office.espocrm.journal.clear()
    running = asyncio.create_task(firm.office.sync(firm.id))
    await until(lambda: any("writes" in entry for entry in firm.office.espocrm.journal))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    await firm.recover()
    await firm.assert_everything_arrived()


async def test_killed_between_the_writes_of_the_two_systems(firm: Firm) -> None:
    """The new address and the new account are in Advoware, and nothing in EspoCRM says so."""
    office = firm.office
    address = await add(
        office,
        "CAdressen",
        beteiligteId=firm.id,
        **{**ADDRESS, "adresseStreet": "Weg 7"},
    )
    account = await add(
        office, "CBankverbindungen", beteiligteId=firm.id, iban="DE02120300000000202051"
    )
    await office.edit_espocrm(firm.id, lastName="Anders")
    await office.fault(
        office.espocrm, method="PUT", path=f"CAdressen/{address}", hang=True, count=1
    )
    running = asyncio.create_task(office.sync(firm.id))
    await until(lambda: len(office.in_advoware(firm.betnr)["bankkverbindungen"]) == 2)
    await until(lambda: any("writes" in entry for entry in office.espocrm.journal))
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    await firm.recover()
    there = office.in_advoware(firm.betnr)
    assert (len(there["adressen"]), len(there["bankkverbindungen"])) == (2, 2)
    assert (await office.in_espocrm(address, "CAdressen"))["advowareId"]
    assert (await office.in_espocrm(account, "CBankverbindungen"))["advowareKontoId"]
    assert (await office.in_espocrm(firm.id))["syncStatus"] == "clean"


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 502}, {"status": 503}])
async def test_an_answer_that_is_lost_is_asked_for_again_with_the_same_key(
    firm: Firm, fault: dict[str, Any]
) -> None:
    await firm.change_everything()
    await firm.office.fault(
        firm.office.espocrm, method="POST", path="Task$", when="after", count=1, **fault
    )
    assert (await firm.office.sync(firm.id)).error is None
    assert writing_calls(firm.office).count(ACTION) == 2, "once more"
    await firm.assert_everything_arrived()


async def test_answers_that_stay_lost_double_nothing(firm: Firm) -> None:
    await firm.change_everything()
    await firm.office.fault(
        firm.office.espocrm,
        method="POST",
        path="Task$",
        when="after",
        reset=True,
        count=9,
    )
    with suppress(BitByLawError):
        await firm.office.sync(firm.id)
    await firm.recover()
    await firm.assert_everything_arrived()


async def test_an_action_that_goes_away_during_a_sync_is_replaced_by_plain_requests(
    firm: Firm,
) -> None:
    office = firm.office
    await firm.change_everything()
    work = office.sync(firm.id)
    async with held(office.advoware, work, method="PUT", path="Adressen") as running:
        await office.change_settings(extension="1.0.0")
    assert (await running).error is None
    await firm.assert_everything_arrived()


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entity", ["CAdressen", "CBankverbindungen", "Task", "Note"])
@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_what_is_refused_is_done_by_itself_and_keeps_nothing_else_back(
    firm: Firm, entity: str, status: int
) -> None:
    await firm.change_everything()
    await firm.office.fault(
        firm.office.espocrm,
        method="PUT|POST",
        path=f"{entity}(/|$)",
        status=status,
        count=1,
    )
    await firm.office.sync(firm.id)
    assert (await firm.office.in_espocrm(firm.id))["firstName"] == "Berta"
    assert firm.office.in_advoware(firm.betnr)["name"] == "Anders"
    await firm.recover()
    await firm.assert_everything_arrived()


async def test_a_record_that_is_refused_keeps_nothing_of_its_parts_back(
    firm: Firm,
) -> None:
    await firm.change_everything()
    await firm.office.fault(
        firm.office.espocrm,
        method="PUT",
        path=f"CBeteiligte/{firm.id}",
        status=400,
        skip=1,
    )
    with suppress(BitByLawError):
        await firm.office.sync(firm.id)
    assert (await firm.office.in_espocrm(firm.address, "CAdressen"))[
        "syncStatus"
    ] == "conflict"
    assert {task["parentId"] for task in await firm.office.tasks()} >= {
        firm.address,
        firm.account,
    }


@pytest.mark.parametrize("compared", [["CBeteiligte", "CAdressen"], []])
async def test_a_person_who_edits_an_address_before_it_is_written_keeps_the_edit(
    firm: Firm, compared: list[str]
) -> None:
    """Also where EspoCRM compares no versions: seed 16 of the simulation."""
    office = firm.office
    url = f"{office.espocrm.url}/__sandbox__/settings"
    await office._request("POST", url, json={"optimistic_concurrency": compared})
    (adresse,) = office.in_advoware(firm.betnr)["adressen"]
    await office.edit_advoware(
        firm.betnr, adressen=[{**adresse, "strasse": "Advoweg 3"}]
    )
    entered = {"adresseStreet": "Espoweg 2", "adresseCity": "Kiel"}
    work = office.sync(firm.id)
    async with held(
        office.espocrm, work, method="GET", path="CBankverbindungen"
    ) as running:
        await edit(office, "CAdressen", firm.address, **entered)
    await running
    await firm.recover()

    shown = await office.in_espocrm(firm.address, "CAdressen")
    (adresse,) = office.in_advoware(firm.betnr)["adressen"]
    assert (shown["adresseStreet"], shown["adresseCity"]) == ("Espoweg 2", "Kiel")
    assert (adresse["strasse"], adresse["ort"]) == ("Espoweg 2", "Kiel")
    assert any("Advoweg 3" in task["description"] for task in await office.tasks())


async def test_an_address_deleted_before_it_is_written_fails_alone(firm: Firm) -> None:
    office = firm.office
    url = f"{office.espocrm.url}/__sandbox__/settings"
    await office._request("POST", url, json={"optimistic_concurrency": []})
    (adresse,) = office.in_advoware(firm.betnr)["adressen"]
    await office.edit_advoware(
        firm.betnr, vorname="Anna", adressen=[{**adresse, "strasse": "Advoweg 3"}]
    )
    work = office.sync(firm.id)
    async with held(office.espocrm, work, method="GET", path="CBank") as running:
        await office.delete("CAdressen", firm.address)
    await running

    assert (await office.in_espocrm(firm.id))["firstName"] == "Anna"


async def test_a_round_that_is_begun_again_writes_no_address_twice(firm: Firm) -> None:
    """The record was edited when all was collected: seed 207 of the simulation."""
    office = firm.office
    url = f"{office.espocrm.url}/__sandbox__/settings"
    await office._request("POST", url, json={"optimistic_concurrency": []})
    adresse = {"strasse": "Neuweg 7", "plz": "10115", "ort": "Berlin"}
    await office.edit_advoware(firm.betnr, vorname="Anna", adressen=[adresse])
    work = office.sync(firm.id)
    async with held(office.espocrm, work, method="GET", path="CBank") as running:
        await office.edit_espocrm(firm.id, lastName="Berta")
    await running
    await firm.recover()

    rows = office.espocrm._store.records("CAdressen")
    streets = [office.espocrm._store.full(row)["adresseStreet"] for row in rows]
    assert streets.count("Neuweg 7") == 1


# -- tasks ----------------------------------------------------------------------------------------------------------


async def test_the_cron_does_not_double_a_task_that_a_slow_sync_has_collected(
    firm: Firm,
) -> None:
    office = firm.office
    await firm.change_everything()
    # The conflict is remembered, and reported by the cron, while the address waits for Advoware.
    await edit(office, "CAdressen", firm.address, adresseStreet="Espoweg 2")
    (adresse,) = office.in_advoware(firm.betnr)["adressen"]
    await office.edit_advoware(
        firm.betnr, adressen=[{**adresse, "strasse": "Advoweg 3"}]
    )
    work = office.sync(firm.id)
    async with held(office.advoware, work, method="PUT", path="Adressen") as running:
        office.clock.advance(minutes=5)
        await office.notify_the_rest()
        reported = await office.tasks()
    await running

    names = Counter(task["name"] for task in await office.tasks())
    assert set(names.values()) == {1}, names
    assert reported, "the cron was first"


async def test_a_task_that_is_over_is_cancelled_in_the_same_call(firm: Firm) -> None:
    office = firm.office
    await firm.change_everything()
    await office.sync(firm.id)
    await edit(office, "CBankverbindungen", firm.account, kontoinhaber="Erika")
    await edit(office, "CAdressen", firm.address, gueltigBis=None)
    await office.edit_espocrm(firm.id, lastName="Wieder anders")
    await office.sync(firm.id)

    assert len(writing_calls(office)) == 2, office.writes()
    assert [task["status"] for task in await office.tasks()] == ["Canceled", "Canceled"]
    assert (await office.in_espocrm(firm.id))["syncStatus"] == "clean"


async def test_a_task_about_the_record_itself_is_cancelled_in_the_same_call(
    firm: Firm,
) -> None:
    office = firm.office
    cut = {"field": "vorname", "how": "cut", "to": 3}
    await office.fault(office.advoware, method="PUT", path="/Beteiligte", stored=[cut])
    await office.edit_espocrm(firm.id, firstName="Maximiliane")
    await office.sync(firm.id)
    assert len(writing_calls(office)) == 2
    assert [task["status"] for task in await office.tasks()] == ["Not Started"]
    await office.no_faults()
    await office.edit_espocrm(firm.id, firstName="Max")
    await office.sync(firm.id)

    assert len(writing_calls(office)) == 2, office.writes()
    assert [task["status"] for task in await office.tasks()] == ["Canceled"]


async def test_tasks_of_a_sync_reach_the_bell_of_whoever_is_assigned(
    firm: Firm,
) -> None:
    office = firm.office
    url = f"{office.espocrm.url}/__sandbox__/records/User"
    person = await office._request(
        "POST", url, json={"userName": "anwalt", "lastName": "Anwalt"}
    )
    await edit(office, "CBeteiligte", firm.id, assignedUserId=person["id"])
    await firm.change_everything()
    await office.sync(firm.id)
    assert {task["assignedUserId"] for task in await office.tasks()} == {person["id"]}
    bells = office.espocrm.state()["records"]["Notification"]
    assert Counter(bell["userId"] for bell in bells) == {person["id"]: 2}


# -- other actions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"field": "maxWrites", "how": "value", "to": 1},
        {"field": "maxWrites", "how": "null"},
    ],
)
async def test_an_action_that_takes_one_record_is_used_for_one(
    office: Office, answer: dict[str, Any]
) -> None:
    await office.fault(
        office.espocrm, method="GET", path="BitByLaw/write", answer=[answer]
    )
    firm = await Firm(office).open()
    await firm.change_everything()
    await office.sync(firm.id)
    assert ACTION not in writing_calls(office)
    await firm.assert_everything_arrived()


async def test_an_action_that_knows_no_tasks_takes_the_records(office: Office) -> None:
    offered = {
        "field": "entityTypes",
        "how": "value",
        "to": ["CBeteiligte", "CAdressen", "CBankverbindungen"],
    }
    await office.fault(
        office.espocrm, method="GET", path="BitByLaw/write", answer=[offered]
    )
    firm = await Firm(office).open()
    await firm.change_everything()
    await office.sync(firm.id)
    assert Counter(call.split("/")[3] for call in writing_calls(office)) == {
        "CBeteiligte": 1,
        "BitByLaw": 1,
        "Task": 2,
        "Note": 2,
    }
    await firm.assert_everything_arrived()
