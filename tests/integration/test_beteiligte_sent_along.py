"""What Advoware alters while it is written, where EspoCRM is not written afterwards, or does not answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from beteiligte_office import Office, office
from office import strike
from watched_journal import WatchedJournal

from services.core.errors import ForeignSystemError
from services.espocrm import WRITE_ACTION

__all__ = ["office"]

CUT = {"how": "cut", "to": 4}
ALTERATIONS = (CUT, {"how": "upper"}, {"how": "value", "to": "Sonstiges"})
#: How EspoCRM fails at the end of a run, and whether it holds what was sent all the same.
FAILURES = {
    "it does not take the write": {"status": 503},
    "it refuses the write": {"status": 403},
    "it takes the write and does not answer": {"reset": True, "when": "after"},
}
Failing = Callable[..., None]
#: The beginning of a task about a conflict (BET-04).
CONFLICT = "Dieselben Felder wurden"


@pytest.fixture(params=FAILURES.values(), ids=FAILURES)
def fails(request: pytest.FixtureRequest, office: Office) -> Failing:
    """EspoCRM fails once Advoware was written, the next ``times`` writes of the record."""
    failure: dict[str, Any] = request.param

    def fail(entity_id: str, times: int = 9) -> None:
        def watch(call: dict[str, Any]) -> None:
            if call["method"] != "PUT" or office.espocrm.faults:
                return
            path = f"CBeteiligte/{entity_id}|{WRITE_ACTION}"
            strike(office.espocrm, "PUT|POST", path, **failure, count=times)

        office.advoware.journal = WatchedJournal(watch)

    return fail


async def try_sync(office: Office, entity_id: str) -> None:
    """A run of which the queue may hear that EspoCRM was not there."""
    with suppress(ForeignSystemError):
        await office.sync(entity_id)


async def recover(office: Office, entity_id: str) -> None:
    """EspoCRM is back, and the next run is due."""
    assert [rule for rule in office.espocrm.faults if rule.struck]
    office.advoware.journal = WatchedJournal(lambda call: None)
    office.espocrm.faults.clear()
    office.clock.advance(hours=2)
    await office.sync(entity_id)


async def open_tasks(office: Office) -> list[str]:
    return [
        task["description"]
        for task in await office.tasks()
        if task["status"] != "Canceled"
    ]


async def assert_rests(office: Office, entity_id: str) -> None:
    assert (await office.sync(entity_id)).result in {"no_change", "held"}
    assert office.writes() == []


async def alter(office: Office, field: str, how: dict[str, Any]) -> None:
    await office.fault(
        office.advoware,
        method="PUT",
        path="/Beteiligte",
        stored=[{"field": field, **how}],
    )


async def sync_edits(
    office: Office, fails: Failing, how: dict[str, Any]
) -> tuple[str, int]:
    """The last name is edited in Advoware, which alters it when the first name of EspoCRM comes; id and betNr."""
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispielfrau")
    await alter(office, "name", how)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    return entity_id, betnr


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_a_field_that_advoware_alters_beside_a_change_stays_whole_in_espocrm(
    office: Office, fails: Failing, how: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await alter(office, "name", how)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    altered = office.in_advoware(betnr)["name"]
    assert altered != "Musterfrau"

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["firstName"]) == ("Musterfrau", "Erna")
    assert espo["syncStatus"] == "conflict"
    assert office.in_advoware(betnr)["name"] == altered
    [task] = await open_tasks(office)
    assert altered in task
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_an_edit_in_advoware_that_is_altered_beside_another_arrives_whole(
    office: Office, fails: Failing, how: dict[str, Any]
) -> None:
    entity_id, betnr = await sync_edits(office, fails, how)
    altered = office.in_advoware(betnr)["name"]

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["firstName"]) == ("Beispielfrau", "Erna")
    assert espo["syncStatus"] == "conflict"
    assert office.in_advoware(betnr)["name"] == altered
    assert any("Beispielfrau" in task for task in await open_tasks(office))
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_a_value_of_espocrm_that_advoware_alters_is_no_edit_of_advoware(
    office: Office, fails: Failing, how: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await alter(office, "name", how)
    await office.edit_espocrm(entity_id, lastName="Beispielfrau")
    fails(entity_id)
    await try_sync(office, entity_id)
    altered = office.in_advoware(betnr)["name"]

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["syncStatus"]) == ("Beispielfrau", "conflict")
    assert office.in_advoware(betnr)["name"] == altered
    [task] = await open_tasks(office)
    assert altered in task
    assert CONFLICT not in task
    await assert_rests(office, entity_id)


async def test_an_edit_after_an_alteration_that_espocrm_has_not_heard_of_counts(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await sync_edits(office, fails, CUT)
    office.advoware.faults.clear()
    await office.edit_advoware(betnr, name="Neumann")

    await recover(office, entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == "Neumann"
    assert office.in_advoware(betnr)["name"] == "Neumann"
    await assert_rests(office, entity_id)


async def test_an_edit_in_espocrm_after_an_alteration_counts(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await sync_edits(office, fails, CUT)
    office.advoware.faults.clear()
    await office.edit_espocrm(entity_id, lastName="Neumann")

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["firstName"]) == ("Neumann", "Erna")
    assert office.in_advoware(betnr)["name"] == "Neumann"
    await assert_rests(office, entity_id)


async def test_a_value_that_espocrm_takes_over_as_altered_is_settled(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await sync_edits(office, fails, CUT)
    await office.edit_espocrm(entity_id, lastName="Beis")

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["syncStatus"]) == ("Beis", "clean")
    assert office.in_advoware(betnr)["name"] == "Beis"
    assert f"PUT /api/v1/advonet/Beteiligte/{betnr}" not in office.writes()
    await assert_rests(office, entity_id)


async def test_a_further_failure_forgets_nothing_of_an_alteration(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispielfrau")
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    for _ in range(3):
        await try_sync(office, entity_id)
        office.clock.advance(hours=2)
    await office.edit_espocrm(entity_id, handelsregisterNummer="HRB 1")
    await try_sync(office, entity_id)

    await recover(office, entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["lastName"], espo["firstName"]) == ("Beispielfrau", "Erna")
    assert office.in_advoware(betnr)["name"] == "Beis"
    await assert_rests(office, entity_id)


# -- edits after an alteration --------------------------------------------------------------------------------------


async def espocrm_is_back(office: Office) -> None:
    office.advoware.journal = WatchedJournal(lambda call: None)
    office.espocrm.faults.clear()
    office.clock.advance(hours=2)


async def advoware_is_away(office: Office, entity_id: str) -> None:
    """Advoware takes nothing in one run, and is back at the next."""
    away = {"status": 503, "count": 99}
    await office.fault(office.advoware, method="PUT", path="/Beteiligte", **away)
    await try_sync(office, entity_id)
    office.advoware.faults.clear()
    office.clock.advance(hours=2)


async def conflicts(office: Office) -> list[str]:
    tasks = [task["description"] for task in await office.tasks()]
    return [task for task in tasks if CONFLICT in task]


@pytest.mark.parametrize("typed", ["Meier-Schulz", "MEIER"])
async def test_an_edit_that_adds_to_a_value_is_sent_after_advoware_was_away(
    office: Office, typed: str
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Meier")
    await office.edit_espocrm(entity_id, lastName=typed)
    await advoware_is_away(office, entity_id)
    assert office.in_advoware(betnr)["name"] == "Meier"

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["name"] == typed
    assert await open_tasks(office) == []
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("typed", ["Meier", "MEIER-SCHULZ"])
async def test_an_edit_in_advoware_that_takes_an_end_away_arrives(
    office: Office, fails: Failing, typed: str
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Meier-Schulz")
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await office.edit_advoware(betnr, name=typed)

    await recover(office, entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == typed
    assert await open_tasks(office) == []
    await assert_rests(office, entity_id)


async def test_an_edit_that_advoware_takes_back_comes_to_espocrm(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Meier")
    await office.edit_advoware(betnr, name="Meier-Schulz")
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await office.edit_advoware(betnr, name="Meier")

    await recover(office, entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == "Meier"
    await assert_rests(office, entity_id)


async def test_edits_of_both_sides_after_espocrm_failed_are_a_conflict(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Meier-Schulz")
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await office.edit_advoware(betnr, name="Meier")
    await office.edit_espocrm(entity_id, lastName="Neumann")

    await recover(office, entity_id)

    assert office.in_advoware(betnr)["name"] == "Neumann"
    assert len(await conflicts(office)) == 1
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("typed", ["Musterfrau", "Neumann"])
async def test_an_alteration_is_no_edit_after_an_edit_that_advoware_did_not_take(
    office: Office, fails: Failing, typed: str
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await espocrm_is_back(office)
    office.advoware.faults.clear()
    await office.edit_espocrm(entity_id, lastName="Neumann")
    await advoware_is_away(office, entity_id)
    assert office.in_advoware(betnr)["name"] == "Must"
    await office.edit_espocrm(entity_id, lastName=typed)

    await office.sync(entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == typed
    stored = {"Musterfrau": "Must", "Neumann": "Neumann"}
    assert office.in_advoware(betnr)["name"] == stored[typed]
    assert await conflicts(office) == []
    await assert_rests(office, entity_id)


async def test_an_edit_after_a_second_alteration_is_no_conflict(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await alter(office, "name", {"how": "cut", "to": 6})
    await office.edit_espocrm(entity_id, firstName="Erna")
    await office.sync(entity_id)
    office.advoware.faults.clear()
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Emma")
    fails(entity_id)
    await try_sync(office, entity_id)
    office.advoware.faults.clear()
    await office.edit_espocrm(entity_id, lastName="Neumann")

    await recover(office, entity_id)

    assert office.in_advoware(betnr)["name"] == "Neumann"
    assert await conflicts(office) == []
    await assert_rests(office, entity_id)


@pytest.mark.parametrize(
    "how",
    [{"how": "missing"}, {"how": "value", "to": 5}, {"how": "value", "to": ["x"]}],
)
async def test_what_was_altered_is_no_edit_once_it_is_shown_again(
    office: Office, fails: Failing, how: dict[str, Any]
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await espocrm_is_back(office)
    office.advoware.faults.clear()
    hidden = [{"field": "name", **how}]
    await office.fault(
        office.advoware, method="GET", path="/Beteiligte/", answer=hidden
    )
    await office.sync(entity_id)
    await office.no_faults()

    await office.sync(entity_id)

    assert (await office.in_espocrm(entity_id))["lastName"] == "Musterfrau"
    assert office.in_advoware(betnr)["name"] == "Must"
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("edited", [None, "Beispielfrau"])
async def test_an_edit_that_does_not_fit_after_an_alteration_keeps_its_task(
    office: Office, fails: Failing, edited: str | None
) -> None:
    await office.without_form_rules()
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    if edited is not None:
        await office.edit_advoware(betnr, name=edited)
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Erna")
    fails(entity_id)
    await try_sync(office, entity_id)
    await espocrm_is_back(office)
    office.advoware.faults.clear()
    await office.edit_espocrm(entity_id, lastName="")

    for _ in range(3):
        await office.sync(entity_id)
        espo = await office.in_espocrm(entity_id)
        assert (espo["lastName"] or "", espo["syncStatus"]) == ("", "conflict")
        assert any("darf nicht leer sein" in task for task in await open_tasks(office))
    assert office.in_advoware(betnr)["name"] in {"Must", "Beis"}
    await assert_rests(office, entity_id)


async def test_an_edit_that_advoware_alters_while_another_waits_still_arrives(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    odd = [{"field": "lastName", "how": "value", "to": 4711}]
    await office.fault(office.espocrm, method="GET", path="/CBeteiligte/", answer=odd)
    await office.edit_advoware(betnr, name="Beispielfrau")
    await office.sync(entity_id)
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, firstName="Erna")
    await office.sync(entity_id)
    assert office.in_advoware(betnr)["name"] == "Beis"
    await office.no_faults()

    await office.sync(entity_id)

    assert office.in_advoware(betnr)["name"] == "Beis"
    assert (await office.in_espocrm(entity_id))["lastName"] == "Beis"
    await assert_rests(office, entity_id)


async def test_a_name_that_comes_with_another_kind_arrives_whole(
    office: Office, fails: Failing
) -> None:
    entity_id, betnr = await office.linked_person(lastName="Musterfrau")
    await office.edit_advoware(betnr, name="Beispiel GmbH", rechtsform="GmbH")
    await alter(office, "name", CUT)
    await office.edit_espocrm(entity_id, handelsregisterNummer="HRB 1")
    fails(entity_id)
    await try_sync(office, entity_id)
    assert office.in_advoware(betnr)["name"] == "Beis"

    await recover(office, entity_id)
    office.clock.advance(hours=2)
    await office.sync(entity_id)

    assert (await office.in_espocrm(entity_id))["firmenname"] == "Beispiel GmbH"


# -- a create ------------------------------------------------------------------------------------------------------


async def company_created_without_answer(
    office: Office, how: dict[str, Any] | None
) -> str:
    """A company whose create in Advoware is not answered, and which Advoware stores otherwise; its id in EspoCRM."""
    entity_id = await office.new_person(
        firstName=None,
        lastName=None,
        salutationName=None,
        rechtsform="GmbH",
        firmenname="Kaufhaus GmbH",
        registergericht="Amtsgericht Hannover",
    )
    lost = {"status": 500, "when": "after", "count": 1}
    await office.fault(office.advoware, method="POST", path="Beteiligte$", **lost)
    if how is not None:
        stored = [{"field": "registergericht", **how}]
        await office.fault(
            office.advoware, method="POST", path="Beteiligte$", stored=stored
        )
    assert (await office.sync(entity_id, "create")).result == "failed"
    office.clock.advance(minutes=5)
    return entity_id


@pytest.mark.parametrize(
    "how", [*ALTERATIONS, {"how": "ignore"}], ids=lambda how: how["how"]
)
async def test_what_advoware_alters_in_a_create_that_it_does_not_answer_stays_whole(
    office: Office, how: dict[str, Any]
) -> None:
    entity_id = await company_created_without_answer(office, how)

    assert (await office.sync(entity_id)).result == "adopted"

    espo = await office.in_espocrm(entity_id)
    stored = office.in_advoware(espo["betnr"])["registergericht"]
    assert stored != "Amtsgericht Hannover"
    assert (espo["registergericht"], espo["syncStatus"]) == (
        "Amtsgericht Hannover",
        "conflict",
    )
    [task] = await open_tasks(office)
    assert "Registergericht" in task
    assert "Amtsgericht Hannover" in task
    await assert_rests(office, entity_id)


async def test_an_edit_after_a_create_that_was_not_answered_is_an_edit(
    office: Office,
) -> None:
    entity_id = await company_created_without_answer(office, None)
    [created] = office.advoware.state()["beteiligte"]
    await office.edit_advoware(created["betNr"], registergericht="Amtsgericht Celle")

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["registergericht"], espo["syncStatus"]) == (
        "Amtsgericht Celle",
        "clean",
    )
    assert await open_tasks(office) == []
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("how", ALTERATIONS[:2], ids=lambda how: how["how"])
async def test_what_a_create_without_answer_has_cut_stays_whole_beside_a_later_edit(
    office: Office, how: dict[str, Any]
) -> None:
    entity_id = await company_created_without_answer(office, how)
    [created] = office.advoware.state()["beteiligte"]
    await office.edit_advoware(created["betNr"], handelsRegisterNummer="HRB 7")

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert (espo["registergericht"], espo["handelsregisterNummer"]) == (
        "Amtsgericht Hannover",
        "HRB 7",
    )
    [task] = await open_tasks(office)
    assert "Amtsgericht Hannover" in task
    await assert_rests(office, entity_id)


@pytest.mark.parametrize("shown", [None, "gestern", 0])
async def test_an_edit_whose_time_advoware_does_not_show_waits_with_what_was_created(
    office: Office, shown: Any
) -> None:
    entity_id = await company_created_without_answer(office, None)
    [created] = office.advoware.state()["beteiligte"]
    await office.edit_advoware(created["betNr"], registergericht="Amtsgericht Celle")
    odd = [{"field": "geaendertAm", "how": "value", "to": shown}]
    await office.fault(office.advoware, method="GET", path="Beteiligte/", answer=odd)

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert espo["registergericht"] == "Amtsgericht Hannover"
    assert office.in_advoware(espo["betnr"])["registergericht"] == "Amtsgericht Celle"
    [task] = await open_tasks(office)
    assert "Amtsgericht Celle" in task
    await assert_rests(office, entity_id)


async def test_an_edit_since_a_create_without_answer_settles_what_was_cut(
    office: Office,
) -> None:
    entity_id = await company_created_without_answer(office, CUT)
    await office.edit_espocrm(entity_id, registergericht="Celle")

    await office.sync(entity_id)

    espo = await office.in_espocrm(entity_id)
    assert office.in_advoware(espo["betnr"])["registergericht"] == "Celle"
    assert (espo["syncStatus"], await open_tasks(office)) == ("clean", [])
    await assert_rests(office, entity_id)
