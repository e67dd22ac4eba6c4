"""The cron's check finds every record that needs a sync, each once, oldest first, and survives what is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.espocrm.app import EspoCRMTwin
from services.beteiligte_check import TOPIC, BeteiligteCheck
from services.core.errors import Unavailable
from services.core.jobs.pending import claim_pending
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.resources import Resources
from services.values.merge import Pair, base_to_json
from services.vmh_sync.store import SyncState, SyncStore

ADMIN = {"X-Api-Key": "espocrm-admin-key"}


class Queue:
    """Takes what would go to the engine."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.is_down = False

    async def __call__(self, event: dict[str, Any]) -> None:
        if self.is_down:
            raise RuntimeError("no engine")
        assert event["topic"] == TOPIC
        assert (event["data"]["action"], event["data"]["source"]) == (
            "sync_check",
            "cron",
        )
        self.ids.append(event["data"]["entity_id"])


async def put(
    twin: EspoCRMTwin,
    session: aiohttp.ClientSession,
    entity: str = "CBeteiligte",
    **attributes: Any,
) -> str:
    url = f"{twin.url}/__sandbox__/records/{entity}?silent=1"
    async with session.post(url, json={"lastName": "P", **attributes}) as response:
        response.raise_for_status()
        return str((await response.json())["id"])


def stamp(clock: Any, **back: float) -> str:
    clock.advance(**{unit: -value for unit, value in back.items()})
    text = f"{clock.now:%Y-%m-%d %H:%M:%S}"
    clock.advance(**back)
    return text


async def test_each_category_is_found_and_what_is_not_due_is_left_alone(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    past, future, yesterday = (
        stamp(clock, minutes=1),
        stamp(clock, minutes=-1),
        stamp(clock, hours=25),
    )
    stuck = await put(
        espocrm, control, syncStatus="syncing", modifiedAt=stamp(clock, minutes=16)
    )
    wanted = {
        await put(espocrm, control, syncStatus="pending_sync"),
        await put(espocrm, control, syncStatus="dirty"),
        await put(espocrm, control, syncStatus="failed", syncNextRetry=past),
        await put(espocrm, control, syncStatus="failed"),
        stuck,
        await put(espocrm, control, syncStatus="clean", advowareLastSync=yesterday),
    }
    given_up = await put(
        espocrm,
        control,
        syncStatus="permanently_failed",
        syncRetryCount=5,
        syncAutoResetAt=past,
        syncErrorMessage="x",
    )
    for attributes in (
        {"syncStatus": "failed", "syncNextRetry": future},
        {"syncStatus": "syncing"},
        {"syncStatus": "permanently_failed", "syncAutoResetAt": future},
        {"syncStatus": "clean", "advowareLastSync": past},
        {"syncStatus": "conflict", "advowareLastSync": past},
        {"syncStatus": "deleted_in_advoware"},
    ):
        await put(espocrm, control, **attributes)
    queue = Queue()

    summary = await BeteiligteCheck(resources=resources).run(queue)

    assert sorted(queue.ids) == sorted({*wanted, given_up})
    assert summary["total"] == 7
    assert {
        name: summary[name]
        for name in ("new", "modified", "stuck", "permanently_failed", "stale")
    } == dict.fromkeys(("new", "modified", "stuck", "permanently_failed", "stale"), 1)
    assert summary["failed"] == 2
    async with control.get(
        f"{espocrm.url}/api/v1/CBeteiligte/{given_up}", headers=ADMIN
    ) as response:
        record = await response.json()
    assert (
        record["syncStatus"],
        record["syncRetryCount"],
        record["syncAutoResetAt"],
    ) == ("failed", 0, None)


async def test_parts_that_need_a_sync_bring_their_beteiligter(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    fresh = stamp(clock, minutes=1)
    owners = [
        await put(espocrm, control, syncStatus="clean", advowareLastSync=fresh)
        for _ in range(3)
    ]
    await put(
        espocrm,
        control,
        "CAdressen",
        name="Haus",
        syncStatus="dirty",
        beteiligteId=owners[0],
    )
    await put(
        espocrm,
        control,
        "CAdressen",
        name="Hof",
        syncStatus="dirty",
        beteiligteId=owners[0],
    )
    await put(
        espocrm,
        control,
        "CBankverbindungen",
        name="Konto",
        syncStatus="failed",
        beteiligteId=owners[1],
    )
    queue = Queue()

    await BeteiligteCheck(resources=resources).run(queue)

    assert sorted(queue.ids) == sorted(owners[:2])


async def test_what_is_waiting_is_not_enqueued_again_until_it_was_taken(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    entity_id = await put(espocrm, control, syncStatus="dirty")
    queue = Queue()
    check = BeteiligteCheck(resources=resources)

    assert [(await check.run(queue))["total"] for _ in range(3)] == [1, 0, 0]
    await claim_pending(resources, TOPIC, entity_id)
    assert (await check.run(queue))["total"] == 1


async def test_two_workers_enqueue_each_record_once(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    ids = [await put(espocrm, control, syncStatus="dirty") for _ in range(20)]
    queue = Queue()

    await asyncio.gather(
        *(BeteiligteCheck(resources=resources).run(queue) for _ in range(3))
    )

    assert sorted(queue.ids) == sorted(ids)


async def test_a_queue_that_is_down_loses_nothing(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    entity_id = await put(espocrm, control, syncStatus="dirty")
    queue = Queue()
    queue.is_down = True
    with pytest.raises(Unavailable):
        await BeteiligteCheck(resources=resources).run(queue)
    queue.is_down = False

    await BeteiligteCheck(resources=resources).run(queue)

    assert queue.ids == [entity_id]


async def test_a_page_that_cannot_be_read_does_not_stop_the_other_categories(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    await put(espocrm, control, syncStatus="dirty")
    new = await put(espocrm, control, syncStatus="pending_sync")
    rule = {"method": "GET", "path": "CBeteiligte", "query": "dirty", "status": 500}
    async with control.post(f"{espocrm.url}/__sandbox__/faults", json=rule) as response:
        response.raise_for_status()
    queue = Queue()

    summary = await BeteiligteCheck(resources=resources).run(queue)

    assert queue.ids == [new]
    assert summary["errors"] >= 1


async def test_five_thousand_pending_records_are_paged_capped_and_none_is_forgotten(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    ids = []
    for number in range(5000):
        created = stamp(clock, minutes=6000 - number)
        ids.append(
            await put(espocrm, control, syncStatus="pending_sync", createdAt=created)
        )
    async with Resources(
        make_settings(ESPOCRM_API_TIMEOUT_SECONDS=20), clock=clock
    ) as resources:
        await resources.redis.flushall()
        done: list[str] = []
        while True:
            espocrm.journal.clear()
            queue = Queue()
            summary = await BeteiligteCheck(resources=resources).run(queue)
            assert summary["total"] == len(queue.ids) <= 1000
            assert len(espocrm.journal) <= 25
            if not queue.ids:
                break
            for entity_id in queue.ids:  # the sync does its work
                url = f"{espocrm.url}/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
                clean = {
                    "syncStatus": "clean",
                    "advowareLastSync": stamp(clock, minutes=0),
                }
                async with control.put(url, json=clean) as response:
                    response.raise_for_status()
            await claim_pending(resources, TOPIC, *queue.ids)
            done += queue.ids

    assert done == ids


async def test_a_category_that_never_empties_leaves_the_others_their_share(
    make_settings: Callable[..., Settings],
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    clock: Any,
) -> None:
    urgent = {await put(espocrm, control, syncStatus="pending_sync") for _ in range(8)}
    yesterday = stamp(clock, hours=25)
    stale = {
        await put(espocrm, control, syncStatus="clean", advowareLastSync=yesterday)
        for _ in range(8)
    }
    queue = Queue()

    async with Resources(make_settings(VMH_CRON_LIMIT=6), clock=clock) as resources:
        await resources.redis.flushall()
        await BeteiligteCheck(resources=resources).run(queue)

    assert (len(urgent & set(queue.ids)), len(stale & set(queue.ids))) == (3, 3)


async def link(resources: Resources, *ids: str) -> None:
    """The sync has read these records, the first with Beteiligter Nr. 1."""
    store = SyncStore(await resources.database())
    for number, entity_id in enumerate(ids, start=1):
        base = base_to_json(
            {
                "vorname": Pair("Erika", "Erika"),
                "name": Pair(f"Muster{number}", f"MUSTER{number}"),
            }
        )
        await store.save(
            SyncState("CBeteiligte", entity_id, advoware_id=str(number), base=base)
        )


def in_advoware(advoware: AdvowareTwin, count: int) -> None:
    """Advoware has the Beteiligten 1 to ``count``."""
    advoware.beteiligte._next_betnr = 1
    for number in range(1, count + 1):
        assert (
            advoware.beteiligte.create({"name": f"MUSTER{number}"}, "SB")["betNr"]
            == number
        )


async def tasks(
    twin: EspoCRMTwin, session: aiohttp.ClientSession
) -> list[dict[str, Any]]:
    async with session.get(f"{twin.url}/api/v1/Task", headers=ADMIN) as response:
        rows = (await response.json())["list"]
    found = []
    for row in rows:
        async with session.get(
            f"{twin.url}/api/v1/Task/{row['id']}", headers=ADMIN
        ) as response:
            found.append(await response.json())
    return found


async def test_the_search_for_lost_deletions_fits_into_request_lines_and_goes_on(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    ids = [
        await put(espocrm, control, syncStatus="deleted_in_advoware")
        for _ in range(220)
    ]
    await link(resources, *ids)
    (lost,) = [sorted(ids)[-1]]
    async with control.delete(
        f"{espocrm.url}/__sandbox__/records/CBeteiligte/{lost}?silent=1"
    ):
        pass
    espocrm.journal.clear()
    queue = Queue()

    for _ in range(2):
        assert (await BeteiligteCheck(resources=resources).run(queue))["errors"] == 0

    assert queue.ids == [lost]
    assert {entry["status"] for entry in espocrm.journal} == {200}


async def test_the_search_finds_records_deleted_before_their_create_had_ended(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    ids = [
        await put(espocrm, control, syncStatus="deleted_in_advoware") for _ in range(3)
    ]
    store = SyncStore(await resources.database())
    for entity_id in ids:
        await store.begin_create(
            "CBeteiligte", entity_id, {"name": "Muster"}, resources.now()
        )
    gone = f"{espocrm.url}/__sandbox__/records/CBeteiligte/{ids[1]}?silent=1"
    async with control.delete(gone):
        pass
    queue = Queue()

    await BeteiligteCheck(resources=resources).run(queue)

    assert queue.ids == [ids[1]]


@pytest.mark.parametrize(
    "rule", [{"status": 500}, {"status": 414}, {"status": 400}, {"truncate_json": True}]
)
async def test_a_page_that_cannot_be_read_does_not_hold_up_the_search_for_lost_deletions(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    rule: dict[str, Any],
) -> None:
    known = [f"a{n:016d}" for n in range(200)]
    await link(resources, *known, "z-lost")
    fault = {"method": "GET", "path": "CBeteiligte", "query": known[0], **rule}
    async with control.post(
        f"{espocrm.url}/__sandbox__/faults", json=fault
    ) as response:
        response.raise_for_status()
    queue = Queue()

    errors = [
        (await BeteiligteCheck(resources=resources).run(queue))["errors"]
        for _ in range(2)
    ]

    assert queue.ids == ["z-lost"]
    assert errors == [1, 0]


async def test_several_lost_deletions_make_one_task_that_names_them_all(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    advoware: AdvowareTwin,
) -> None:
    kept = await put(espocrm, control, syncStatus="deleted_in_advoware")
    in_advoware(advoware, 4)
    await link(resources, "gone-1", "gone-2", kept, "gone-3")
    queue = Queue()

    for _ in range(3):
        await BeteiligteCheck(resources=resources).run(queue)

    (task,) = await tasks(espocrm, control)
    for number in (1, 2, 4):
        assert f"Muster{number}" in task["description"]
    assert "Muster3" not in task["description"]
    assert queue.ids == []
    store = SyncStore(await resources.database())
    assert await store.live_entities("CBeteiligte", "", 10) == [kept]


async def test_records_that_only_the_list_lacks_are_reported_by_no_one(
    resources: Resources, espocrm: EspoCRMTwin, control: aiohttp.ClientSession
) -> None:
    ids = [
        await put(espocrm, control, syncStatus="deleted_in_advoware") for _ in range(3)
    ]
    await link(resources, *ids, "gone")
    partial = {
        "method": "GET",
        "path": "CBeteiligte$",
        "query": "value",
        "status": 200,
        "body": {"total": 0, "list": []},
    }
    async with control.post(
        f"{espocrm.url}/__sandbox__/faults", json=partial
    ) as response:
        response.raise_for_status()
    queue = Queue()

    await BeteiligteCheck(resources=resources).run(queue)

    assert await tasks(espocrm, control) == []
    assert sorted(queue.ids) == sorted([*ids, "gone"])


async def test_a_record_that_is_being_worked_on_is_forgotten_by_that_run(
    resources: Resources,
    espocrm: EspoCRMTwin,
    control: aiohttp.ClientSession,
    advoware: AdvowareTwin,
) -> None:
    in_advoware(advoware, 2)
    await link(resources, "gone-1", "gone-2")
    async with record_lock(resources, beteiligte_lock_key("gone-1"), 60):
        await BeteiligteCheck(resources=resources).run(Queue())

    store = SyncStore(await resources.database())
    assert await store.live_entities("CBeteiligte", "", 10) == ["gone-1"]
    queue = Queue()
    await BeteiligteCheck(resources=resources).run(queue)
    assert queue.ids == ["gone-1"]
