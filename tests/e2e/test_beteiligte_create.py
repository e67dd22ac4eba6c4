"""A Beteiligter's way from an EspoCRM webhook to Advoware and back, exactly once, whatever dies on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from outside import Outside, outside

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

POST_BETEILIGTE = {"method": "POST", "path": "/Beteiligte$"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fragile() -> AsyncIterator[Outside]:
    """A system whose processes are killed; unknown outcomes are decided and the locks of the dead expire soon."""
    async with outside(
        ADVOWARE_API_TIMEOUT_SECONDS="3", VMH_LOCK_SECONDS="3"
    ) as system:
        yield system


def kill(system: Outside, *names: str) -> None:
    for name in names:
        pid = system.system.processes[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


async def assert_created_once(system: Outside, entity_id: str, name: str) -> None:
    async def linked() -> bool:
        record = await system.espocrm_record(entity_id)
        return record["syncStatus"] == "clean" and bool(record["betnr"])

    await system.until(linked)
    rows = await system.advoware_named(name)
    record = await system.espocrm_record(entity_id)
    assert [row["betNr"] for row in rows] == [record["betnr"]]
    assert record["advowareRowId"] == rows[0]["rowId"]


async def test_a_new_person_arrives_in_advoware_and_the_link_in_espocrm(
    shared: Outside,
) -> None:
    entity_id = await shared.person(
        lastName="Müller-Lüdenscheidt", dateOfBirth="1970-01-31"
    )

    assert (await shared.webhook("create", entity_id))[0] == 200

    await assert_created_once(shared, entity_id, "Müller-Lüdenscheidt")
    (row,) = await shared.advoware_named("Müller-Lüdenscheidt")
    assert (row["vorname"], row["anrede"], row["geburtsdatum"][:10]) == (
        "Erika",
        "Frau",
        "1970-01-31",
    )


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "rechtsform": "GmbH",
            "firmenname": "Bäckerei O'Neill & Söhne GmbH",
            "handelsregisterNummer": "HRB 1",
        },
        {"firstName": "Zoë 🦊", "lastName": "D'Ángelo-Çelik"},
        {"rechtsform": "AG", "firmenname": "L" * 200},
        {"firstName": None, "lastName": "Ohnevorname"},
    ],
    ids=["company", "emoji", "200 characters", "no first name"],
)
async def test_names_of_all_kinds_arrive_unchanged(
    shared: Outside, attributes: dict[str, str]
) -> None:
    entity_id = await shared.person(**attributes)

    await shared.webhook("create", entity_id)

    await assert_created_once(
        shared, entity_id, attributes.get("firmenname") or attributes["lastName"]
    )


async def test_a_second_delivery_of_the_same_webhook_changes_nothing(
    shared: Outside,
) -> None:
    entity_id = await shared.person(lastName="Doppelt")
    await shared.webhook("create", entity_id)
    await assert_created_once(shared, entity_id, "Doppelt")
    before = await shared.espocrm_record(entity_id)

    await shared.webhook("create", entity_id)
    await shared.synced(entity_id, 2)

    assert await shared.espocrm_record(entity_id) == before
    assert await shared.results(entity_id) == ["created", "no_change"]


async def test_a_record_without_a_name_waits_for_one_and_is_not_created(
    shared: Outside,
) -> None:
    entity_id = await shared.person(firstName="Nur", lastName=None)

    await shared.webhook("create", entity_id)
    await shared.synced(entity_id)

    record = await shared.espocrm_record(entity_id)
    assert record["syncStatus"] == "conflict"
    assert "Nachnamen oder Firmennamen" in record["syncErrorMessage"]
    assert record["betnr"] is None


async def test_engine_and_worker_killed_between_webhook_and_handling(
    fragile: Outside,
) -> None:
    entity_id = await fragile.person(lastName="Zwischenfall")
    path = f"CBeteiligte/{entity_id}"
    async with fragile.held("espocrm", method="GET", path=path):
        assert (await fragile.webhook("create", entity_id))[0] == 200
        kill(fragile, "engine", "worker")

    await assert_created_once(fragile, entity_id, "Zwischenfall")


async def test_a_worker_killed_while_advoware_creates_does_not_create_twice(
    fragile: Outside,
) -> None:
    entity_id = await fragile.person(lastName="Abbruch")
    # Advoware does the work, then keeps the answer back: the record exists, and no one knows its number.
    lost = {**POST_BETEILIGTE, "when": "after", "hang": True, "count": 1}
    await fragile.twin("advoware", "POST", "/__sandbox__/faults", json=lost)
    await fragile.webhook("create", entity_id)

    async def posted() -> bool:
        return bool(await fragile.advoware_named("Abbruch"))

    await fragile.until(posted)
    kill(fragile, "worker")

    await assert_created_once(fragile, entity_id, "Abbruch")
    await fragile.synced(entity_id)
    assert (await fragile.results(entity_id))[-1] in {"adopted", "no_change"}


async def test_a_worker_killed_before_the_link_is_written_to_espocrm(
    fragile: Outside,
) -> None:
    entity_id = await fragile.person(lastName="Rückweg")
    blocked = {
        "method": "PUT",
        "path": f"CBeteiligte/{entity_id}",
        "skip": 1,
        "hang": True,
        "count": 1,
    }
    await fragile.twin("espocrm", "POST", "/__sandbox__/faults", json=blocked)
    await fragile.webhook("create", entity_id)

    async def posted() -> bool:
        faults = await fragile.twin("espocrm", "GET", "/__sandbox__/faults")
        return any(rule["struck"] for rule in faults if "PUT" in str(rule))

    await fragile.until(posted)
    kill(fragile, "worker")

    await assert_created_once(fragile, entity_id, "Rückweg")


async def test_a_terminated_worker_releases_its_lock_and_the_job_is_done_by_the_next() -> (
    None
):
    # With the lock's default TTL of a minute, a lock left behind would take longer than the deadline.
    async with outside() as system:
        entity_id = await system.person(lastName="Ablösung")
        path = f"CBeteiligte/{entity_id}"
        async with system.held("espocrm", method="GET", path=path) as reading:
            await system.webhook("create", entity_id)
            await reading()
            pid = system.system.processes["worker"].pid
            assert pid is not None
            os.kill(pid, signal.SIGTERM)

            await assert_created_once(system, entity_id, "Ablösung")
