"""What Advoware alters of an Adresse while it is written, and EspoCRM is not written then, or does not answer."""

from __future__ import annotations

from typing import Any

import pytest
from office import BETEILIGTE_ID, Office, office, strike

from services.adressen_sync import AdressenSync
from services.core.resources import Resources
from services.vmh_sync.result import PartResult

__all__ = ["office"]

CUT = {"how": "cut", "to": 4}
ALTERATIONS = (
    CUT,
    {"how": "upper"},
    {"how": "value", "to": "Anderswo"},
)
#: How EspoCRM fails after Advoware was written; after the last it holds what was sent.
FAILURES = {
    "it does not take the write": {"status": 503},
    "it refuses the write": {"status": 403},
    "it takes the write and does not answer": {"status": 403, "when": "after"},
}


@pytest.fixture
def sync(office: Office, resources: Resources) -> Any:
    async def run(direction: Any = "both") -> PartResult:
        office.clock.advance(minutes=1)
        office.forget_calls()
        return await AdressenSync(resources=resources).sync_part(
            office.espo, office.beteiligter(), office.store, direction=direction
        )

    return run


@pytest.fixture
async def entity_id(office: Office, sync: Any) -> str:
    """The CAdressen of an address that both sides have."""
    record = await office.enter(
        "CAdressen",
        adresseStreet="Lange Straße 5",
        adressePostalCode="30159",
        adresseCity="Hannover",
        istStandard=True,
        beteiligteId=BETEILIGTE_ID,
    )
    assert (await sync()).errors == ()
    return str(record["id"])


@pytest.fixture(params=FAILURES.values(), ids=FAILURES)
def espocrm_fails(request: pytest.FixtureRequest, office: Office) -> Any:
    """EspoCRM fails at the next ``times`` writes of CAdressen."""

    def fail(times: int = 1) -> None:
        failure = request.param
        strike(office.espocrm, "PUT", "CAdressen/", count=times, **failure)

    return fail


def alter(office: Office, field: str, how: dict[str, Any]) -> None:
    strike(
        office.advoware,
        "PUT",
        "/Adressen/",
        count=9,
        stored=[{"field": field, **how}],
    )


def in_advoware(office: Office) -> dict[str, Any]:
    (found,) = office.beteiligter()["adressen"]
    return dict(found)


def change(office: Office, **changes: Any) -> None:
    office.edit_beteiligter(adressen=[{"id": in_advoware(office)["id"], **changes}])


async def sync_edits(
    office: Office, sync: Any, entity_id: str, how: dict[str, Any]
) -> None:
    """The place is edited in Advoware, which alters it when the street of EspoCRM comes."""
    change(office, ort="Göttingen")
    alter(office, "ort", how)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    await sync()


async def shown(office: Office, entity_id: str) -> tuple[str, str, str]:
    row = await office.in_espocrm(entity_id, "CAdressen")
    return row["adresseStreet"], row["adresseCity"], row["syncStatus"]


def reasons(result: PartResult) -> list[Any]:
    return [problem.details.reason for problem in result.problems]


async def assert_rests(office: Office, sync: Any) -> None:
    result: PartResult = await sync()
    assert (result.errors, result.changes) == ((), ())
    assert office.write_requests() == []


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_a_field_that_advoware_alters_beside_a_change_stays_whole_in_espocrm(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any, how: dict[str, Any]
) -> None:
    alter(office, "ort", how)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    espocrm_fails()
    await sync()
    altered = in_advoware(office)["ort"]
    assert altered != "Hannover"

    result = await sync()

    assert await shown(office, entity_id) == ("Kurze Straße 7", "Hannover", "conflict")
    assert in_advoware(office)["ort"] == altered
    assert reasons(result) == ["address_altered_advoware"]
    await assert_rests(office, sync)


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_an_edit_in_advoware_that_is_altered_beside_another_arrives_whole(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any, how: dict[str, Any]
) -> None:
    espocrm_fails()
    await sync_edits(office, sync, entity_id, how)
    altered = in_advoware(office)["ort"]
    assert altered != "Göttingen"

    result = await sync()

    assert await shown(office, entity_id) == ("Kurze Straße 7", "Göttingen", "conflict")
    assert in_advoware(office)["ort"] == altered
    assert reasons(result) == ["address_altered_advoware"]
    await assert_rests(office, sync)


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
async def test_a_value_of_espocrm_that_advoware_alters_is_no_edit_of_advoware(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any, how: dict[str, Any]
) -> None:
    alter(office, "ort", how)
    await office.edit("CAdressen", entity_id, adresseCity="Göttingen")
    espocrm_fails()
    await sync()
    altered = in_advoware(office)["ort"]

    result = await sync()

    assert await shown(office, entity_id) == ("Lange Straße 5", "Göttingen", "conflict")
    assert in_advoware(office)["ort"] == altered
    assert reasons(result) == ["address_altered_advoware"]
    await assert_rests(office, sync)


@pytest.mark.parametrize("how", ALTERATIONS, ids=lambda how: how["how"])
@pytest.mark.parametrize("times", [1, 2])
async def test_an_edit_that_is_altered_before_it_may_go_to_espocrm_arrives_whole(
    office: Office, sync: Any, entity_id: str, how: dict[str, Any], times: int
) -> None:
    change(office, ort="Göttingen")
    alter(office, "ort", how)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    for _ in range(times):  # as after a conflict in the master data
        await sync("to_advoware")
    altered = in_advoware(office)["ort"]
    assert altered != "Göttingen"

    result = await sync()

    assert await shown(office, entity_id) == ("Kurze Straße 7", "Göttingen", "conflict")
    assert in_advoware(office)["ort"] == altered
    assert reasons(result) == ["address_altered_advoware"]
    await assert_rests(office, sync)


async def test_an_edit_in_advoware_after_an_alteration_counts(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    espocrm_fails()
    await sync_edits(office, sync, entity_id, CUT)
    change(office, ort="Celle")

    await sync()

    assert (await shown(office, entity_id))[:2] == ("Kurze Straße 7", "Celle")
    assert in_advoware(office)["ort"] == "Celle"
    await assert_rests(office, sync)


async def test_an_edit_in_espocrm_after_an_alteration_counts(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    espocrm_fails()
    await sync_edits(office, sync, entity_id, CUT)
    office.advoware.faults.clear()
    await office.edit("CAdressen", entity_id, adresseCity="Celle")

    await sync()

    assert (await shown(office, entity_id))[:2] == ("Kurze Straße 7", "Celle")
    assert in_advoware(office)["ort"] == "Celle"
    await assert_rests(office, sync)


async def test_a_value_that_espocrm_takes_over_as_altered_is_settled(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    espocrm_fails()
    await sync_edits(office, sync, entity_id, CUT)
    await office.edit("CAdressen", entity_id, adresseCity="Gött")

    result = await sync()

    assert await shown(office, entity_id) == ("Kurze Straße 7", "Gött", "clean")
    assert reasons(result) == []
    assert not result.wrote_advoware
    await assert_rests(office, sync)


async def test_an_edit_in_espocrm_that_advoware_refuses_after_an_alteration_waits_as_refused(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    espocrm_fails()
    await sync_edits(office, sync, entity_id, CUT)
    office.advoware.faults.clear()
    alter(office, "ort", {"how": "ignore"})
    await office.edit("CAdressen", entity_id, adresseCity="Celle")

    result = await sync()

    assert (await shown(office, entity_id))[:2] == ("Kurze Straße 7", "Celle")
    assert in_advoware(office)["ort"] == "Gött"
    assert "address_refused" in reasons(result)
    assert "address_altered_advoware" not in reasons(result)


async def test_a_further_failure_forgets_nothing_of_an_alteration(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    espocrm_fails(9)
    await sync_edits(office, sync, entity_id, CUT)
    await office.edit("CAdressen", entity_id, adressePostalCode="30161")
    await sync()
    await sync()
    office.espocrm.faults.clear()

    await sync()

    assert (await shown(office, entity_id))[:2] == ("Kurze Straße 7", "Göttingen")
    assert in_advoware(office)["ort"] == "Gött"
    assert in_advoware(office)["plz"] == "30161"
    await assert_rests(office, sync)


# -- edits after an alteration --------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [{"status": 503}, {"reset": True}])
@pytest.mark.parametrize(
    ("attribute", "name", "typed"),
    [
        ("adresseStreet", "strasse", "Lange Straße 5a"),
        ("adresseCity", "ort", "Hannover-Linden"),
        ("adresseCity", "ort", "HANNOVER"),
    ],
)
async def test_an_edit_that_adds_to_a_value_is_sent_after_advoware_was_away(
    office: Office,
    sync: Any,
    entity_id: str,
    attribute: str,
    name: str,
    typed: str,
    trouble: dict[str, Any],
) -> None:
    await office.edit("CAdressen", entity_id, **{attribute: typed})
    strike(office.advoware, "PUT", "/Adressen/", count=99, **trouble)
    assert len((await sync()).errors) == 1
    office.advoware.faults.clear()

    result = await sync()

    assert in_advoware(office)[name] == typed
    assert result.problems == ()
    await assert_rests(office, sync)


async def test_edits_of_both_sides_after_espocrm_failed_are_a_conflict(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    await office.edit("CAdressen", entity_id, adressePostalCode="30161")
    espocrm_fails()
    await sync()
    change(office, strasse="Lange Straße")
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")

    result = await sync()

    assert in_advoware(office)["strasse"] == "Kurze Straße 7"
    assert [line for line in result.changes if line.get("conflict")]
    await assert_rests(office, sync)


async def test_an_edit_altered_in_a_run_to_advoware_that_espocrm_ends_arrives_whole(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    change(office, ort="Göttingen")
    alter(office, "ort", CUT)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    espocrm_fails()
    await sync("to_advoware")
    office.espocrm.faults.clear()
    assert in_advoware(office)["ort"] == "Gött"

    await sync()

    assert (await shown(office, entity_id))[:2] == ("Kurze Straße 7", "Göttingen")
    await assert_rests(office, sync)


async def test_what_was_altered_is_no_edit_once_the_address_is_used_again(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    alter(office, "ort", CUT)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    espocrm_fails()
    await sync()
    office.espocrm.faults.clear()
    office.advoware.faults.clear()
    assert in_advoware(office)["ort"] == "Hann"
    await office.edit("CAdressen", entity_id, isActive=False)
    await sync()
    await assert_rests(office, sync)
    await office.edit("CAdressen", entity_id, isActive=True)

    await sync()

    assert (await shown(office, entity_id))[1] == "Hannover"
    assert in_advoware(office)["ort"] == "Hann"
    await assert_rests(office, sync)


async def test_what_was_altered_is_no_edit_once_the_address_is_there_again(
    office: Office, sync: Any, entity_id: str, espocrm_fails: Any
) -> None:
    alter(office, "ort", CUT)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    espocrm_fails()
    await sync()
    office.espocrm.faults.clear()
    office.advoware.faults.clear()
    missing = [{"field": "adressen[]", "how": "missing"}]
    beteiligter = office.beteiligter

    def hidden() -> dict[str, Any]:
        return {**beteiligter(), "adressen": []}

    office.beteiligter = hidden  # type: ignore[method-assign]
    strike(office.advoware, "GET", "/Beteiligte", count=9, answer=missing)
    await sync()
    office.beteiligter = beteiligter  # type: ignore[method-assign]
    office.advoware.faults.clear()

    await sync()

    assert (await shown(office, entity_id))[1] == "Hannover"
    assert in_advoware(office)["ort"] == "Hann"
    await assert_rests(office, sync)


@pytest.mark.parametrize("how", [{"how": "null"}, {"how": "missing"}])
async def test_what_was_altered_is_no_edit_once_it_is_shown_again(
    office: Office,
    sync: Any,
    entity_id: str,
    espocrm_fails: Any,
    how: dict[str, Any],
) -> None:
    alter(office, "ort", CUT)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    espocrm_fails()
    await sync()
    office.espocrm.faults.clear()
    office.advoware.faults.clear()
    beteiligter = office.beteiligter

    def hidden() -> dict[str, Any]:
        answer = beteiligter()
        for adresse in answer["adressen"]:
            adresse["ort"] = None
            if how["how"] == "missing":
                del adresse["ort"]
        return answer

    office.beteiligter = hidden  # type: ignore[method-assign]
    await sync()
    office.beteiligter = beteiligter  # type: ignore[method-assign]

    await sync()

    assert (await shown(office, entity_id))[1] == "Hannover"
    assert in_advoware(office)["ort"] == "Hann"
    await assert_rests(office, sync)


async def test_an_edit_that_advoware_alters_while_another_waits_still_arrives(
    office: Office, sync: Any, entity_id: str
) -> None:
    odd = [{"field": "list[].adresseCity", "how": "value", "to": 4711}]
    strike(office.espocrm, "GET", "/CAdressen$", count=99, answer=odd)
    change(office, ort="Göttingen")
    await sync()
    alter(office, "ort", CUT)
    await office.edit("CAdressen", entity_id, adresseStreet="Kurze Straße 7")
    await sync()
    assert in_advoware(office)["ort"] == "Gött"
    office.advoware.faults.clear()
    office.espocrm.faults.clear()

    await sync()

    assert in_advoware(office)["ort"] == "Gött"
    assert (await shown(office, entity_id))[1] == "Gött"
    await assert_rests(office, sync)
