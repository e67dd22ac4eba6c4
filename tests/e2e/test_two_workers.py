"""Two workers side by side on one engine: what only one of them may do is done once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from outside import Outside, outside
from redis.asyncio import Redis

from cli.supervisor import Supervised

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

TOPIC = "vmh.beteiligte.create"
RATE_STEPS = "tests/e2e/steps_rate"
SETTINGS = {
    "VMH_LOCK_SECONDS": "3",
    "ADVOWARE_API_TIMEOUT_SECONDS": "10",
    "CALENDAR_SYNC_DAYS_AHEAD": "7",
    "CALENDAR_SYNC_DAYS_BACK": "0",
}


@dataclass
class Pair:
    """A system with two workers."""

    outside: Outside
    second: Supervised
    redis: Redis


@asynccontextmanager
async def another_worker(
    system: Outside, name: str, steps: str = "steps"
) -> AsyncIterator[Supervised]:
    """A further worker with the settings of the first; it has its steps when this yields."""
    first = system.system.processes["worker"].program
    arguments = [*first.arguments[:-1], steps]
    supervised = Supervised(
        replace(first, name=name, arguments=arguments), system.system.data / "log"
    )
    await supervised.start()
    try:
        yield supervised
    finally:
        await supervised.stop()


async def subscribers(system: Outside, topic: str) -> int:
    """How many workers serve a topic."""
    _, queues = await system.call("GET", "/_console/queues")
    return next(
        (entry["subscribers"] for entry in queues["topics"] if entry["topic"] == topic),
        0,
    )


async def wait_for_subscribers(system: Outside, topic: str, count: int) -> None:
    async def there() -> bool:
        return await subscribers(system, topic) == count

    await system.until(there)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair() -> AsyncIterator[Pair]:
    """Two workers that have nothing to do yet."""
    async with (
        outside(**SETTINGS) as system,
        another_worker(system, "worker-2") as second,
    ):
        await wait_for_subscribers(system, TOPIC, 2)
        given = system.system.settings.redis
        assert given.password is not None
        redis = Redis(
            host=given.host,
            port=given.port,
            password=given.password.get_secret_value(),
            db=given.db_calendar_sync,
            decode_responses=True,
        )
        yield Pair(system, second, redis)
        await redis.aclose()


async def crons(system: Outside) -> list[str]:
    """The triggers of the workers' search for records that need a sync."""
    _, listed = await system.call("GET", "/_console/triggers")
    found = [
        trigger for trigger in listed["triggers"] if trigger["trigger_type"] == "cron"
    ]
    return [
        trigger["id"] for trigger in found if "Beteiligte" in trigger["function_id"]
    ]


async def both_are_there(system: Outside) -> None:
    """Wait until both workers have all their steps again."""

    async def complete() -> bool:
        return len(await crons(system)) == 2

    await wait_for_subscribers(system, TOPIC, 2)
    await system.until(complete)


async def at_rest(system: Outside, topic: str) -> None:
    """Wait until no job of a topic is left."""

    async def is_empty() -> bool:
        _, queues = await system.call("GET", "/_console/queues")
        (counts,) = (entry for entry in queues["topics"] if entry["topic"] == topic)
        return not (counts["waiting"] or counts["active"] or counts["delayed"])

    await system.until(is_empty)


async def all_clean(system: Outside, ids: list[str]) -> None:
    async def clean() -> bool:
        records = await asyncio.gather(
            *(system.espocrm_record(entity_id) for entity_id in ids)
        )
        return all(
            record["syncStatus"] == "clean" and record["betnr"] for record in records
        )

    await system.until(clean)


async def assert_one_each(system: Outside, ids: list[str], name: str) -> None:
    """Each record has one Beteiligten of its own, and Advoware has no further ones."""
    await all_clean(system, ids)
    numbers = [(await system.espocrm_record(entity_id))["betnr"] for entity_id in ids]
    rows = [row["betNr"] for row in await system.advoware_named(name)]
    assert sorted(rows) == sorted(numbers)
    assert len(set(numbers)) == len(ids)


async def test_a_storm_of_webhooks_syncs_each_record_once_with_one_login(
    pair: Pair,
) -> None:
    system = pair.outside
    ids = [await system.person(lastName="Sturm", firstName=f"Nr{n}") for n in range(12)]
    await system.twin("advoware", "POST", "/__sandbox__/revoke-tokens")
    await system.twin("advoware", "DELETE", "/__sandbox__/journal")

    answers = await asyncio.gather(*(system.webhook("create", *ids) for _ in range(4)))

    assert {status for status, _ in answers} == {200}
    assert sum(body["new_ids_count"] for _, body in answers) >= len(ids)
    await assert_one_each(system, ids, "Sturm")
    journal = await system.twin("advoware", "GET", "/__sandbox__/journal")
    accepted = Counter(
        f"{entry['method']} {entry['route']}"
        for entry in journal
        if entry["status"] < 300
    )
    assert accepted["POST /api/v1/Token"] == 1
    assert accepted["POST /api/v1/advonet/Beteiligte"] == len(ids)


async def test_two_events_of_one_record_are_handled_one_after_the_other(
    pair: Pair,
) -> None:
    system = pair.outside
    entity_id = await system.person(lastName="Gleichzeitig")
    path = f"CBeteiligte/{entity_id}"
    async with system.held("espocrm", method="GET", path=path) as reading:
        await asyncio.gather(
            *(system.webhook(action, entity_id) for action in ("create", "update"))
        )
        await reading()

    await assert_one_each(system, [entity_id], "Gleichzeitig")
    await system.synced(entity_id, 2)
    assert Counter(await system.results(entity_id))["created"] == 1


def tracebacks(system: Outside) -> list[str]:
    """The logs in which a worker shows a traceback."""
    logs = sorted((system.system.data / "log").glob("worker*.log"))
    assert logs
    return [log.name for log in logs if "Traceback" in log.read_text("utf-8")]


async def test_of_hundreds_of_events_on_one_record_none_fails_and_the_last_state_arrives(
    pair: Pair,
) -> None:
    system, edits = pair.outside, 200
    entity_id = await system.person(lastName="Ansturm")
    await system.webhook("create", entity_id)
    await all_clean(system, [entity_id])
    before = tracebacks(system)

    async def enqueue(number: int) -> None:
        topic = f"vmh.beteiligte.{'update' if number % 4 else 'create'}"
        data = {
            "entity_id": entity_id,
            "action": topic.rpartition(".")[2],
            "source": "webhook",
        }
        body = {"function_id": "enqueue", "input": {"topic": topic, "data": data}}
        assert (await system.call("POST", "/_console/invoke", json=body))[0] == 200

    events: list[asyncio.Task[None]] = []
    for number in range(edits):
        url = f"/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
        await system.twin(
            "espocrm",
            "PUT",
            url,
            json={"lastName": f"Ansturm {number}", "syncStatus": "dirty"},
        )
        events += [asyncio.create_task(enqueue(number + way)) for way in range(2)]
    await asyncio.gather(*events)

    await assert_one_each(system, [entity_id], f"Ansturm {edits - 1}")
    for topic in (TOPIC, "vmh.beteiligte.update"):
        await at_rest(system, topic)
    _, queues = await system.call("GET", "/_console/queues")
    assert [entry["topic"] for entry in queues["topics"] if entry["dead"]] == []
    assert await system.audit.fetch("SELECT * FROM look_again") == []
    assert tracebacks(system) == before
    results = Counter(await system.results(entity_id))
    assert not results.keys() & {"failed", "permanently_failed", "busy"}
    assert results.total() < edits


async def test_what_a_killed_holder_was_asked_for_is_done_by_those_who_come_after_it(
    pair: Pair,
) -> None:
    system = pair.outside
    entity_id = await system.person(lastName="Vorher")
    await system.webhook("create", entity_id)
    await all_clean(system, [entity_id])
    slow = {"method": "GET", "path": "/Beteiligte", "hang": True, "count": 1}
    await system.twin("advoware", "POST", "/__sandbox__/faults", json=slow)
    await system.webhook("update", entity_id)

    async def is_held() -> bool:
        return any(
            rule["struck"]
            for rule in await system.twin("advoware", "GET", "/__sandbox__/faults")
        )

    await system.until(is_held)
    url = f"/__sandbox__/records/CBeteiligte/{entity_id}?silent=1"
    await system.twin("espocrm", "PUT", url, json={"lastName": "Nachher"})
    await system.webhook("create", entity_id)

    async def is_noted() -> bool:
        return bool(await system.audit.fetch("SELECT * FROM look_again"))

    await system.until(is_noted)
    for name in ("worker", "worker-2"):
        process = pair.second if name == "worker-2" else system.system.processes[name]
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)

    async def is_done() -> bool:
        notes = await system.audit.fetch("SELECT * FROM look_again")
        return not notes and bool(await system.advoware_named("Nachher"))

    await system.until(is_done)
    await both_are_there(system)


async def test_both_workers_crons_find_each_waiting_record_once(pair: Pair) -> None:
    system = pair.outside
    ids = [
        await system.person(lastName="Liegengeblieben", firstName=f"Nr{n}")
        for n in range(6)
    ]
    triggers = await crons(system)
    assert len(triggers) == 2

    await asyncio.gather(
        *(
            system.call(
                "POST", "/_console/cron/trigger", json={"trigger_id": trigger_id}
            )
            for trigger_id in triggers
        )
    )

    await assert_one_each(system, ids, "Liegengeblieben")
    await at_rest(system, "vmh.beteiligte.sync_check")
    for entity_id in ids:
        assert await system.results(entity_id) == ["created"]


async def test_a_calendar_that_both_are_asked_to_sync_has_each_appointment_once(
    pair: Pair,
) -> None:
    system = pair.outside
    requests = [
        system.call("POST", "/advoware/calendar/sync", json={"kuerzel": "SB"})
        for _ in range(6)
    ]
    assert {status for status, _ in await asyncio.gather(*requests)} <= {200, 409}

    async def synced() -> bool:
        query = "SELECT count(*) FROM calendar_sync_cursor WHERE sync_token IS NOT NULL"
        return bool(await system.audit.fetchval(query))

    await system.until(synced)
    await at_rest(system, "calendar_sync_employee")
    state = await system.twin("google", "GET", "/__sandbox__/state")
    (calendar,) = (item for item in state["calendars"] if item["summary"] == "AW-SB")
    marks = [
        event["extendedProperties"]["private"]["advoware_frnr"]
        for event in calendar["events"]
    ]
    assert marks
    assert len(marks) == len(set(marks))


async def test_the_rate_bucket_is_one_for_both(pair: Pair) -> None:
    system, calls = pair.outside, 40
    async with (
        another_worker(system, "rate-1", RATE_STEPS),
        another_worker(system, "rate-2", RATE_STEPS),
    ):
        await wait_for_subscribers(system, "test.rate", 2)
        await asyncio.gather(
            *(
                system.call(
                    "POST",
                    "/_console/invoke",
                    json={
                        "function_id": "enqueue",
                        "input": {"topic": "test.rate", "data": {"n": n}},
                    },
                )
                for n in range(calls)
            )
        )

        async def all_answered() -> bool:
            return (
                len(await pair.redis.keys("probe:allowed:*"))
                + await pair.redis.llen("probe:refused")
                == calls
            )

        await system.until(all_answered)
    moments = sorted(
        [
            int((await pair.redis.lrange(key, 0, -1))[0])
            for key in await pair.redis.keys("probe:allowed:*")
        ]
    )
    assert len(moments) == 30  # the ceiling of the minute
    elapsed = (moments[-1] - moments[0]) / 1_000_000
    assert (
        elapsed >= (30 - 5) / 20 - 0.1
    )  # after the burst one every 50 ms, and not per worker


async def test_a_worker_that_dies_leaves_its_work_to_the_other(pair: Pair) -> None:
    system = pair.outside
    ids = [await system.person(lastName="Erbe", firstName=f"Nr{n}") for n in range(8)]
    async with system.held(
        "advoware", method="POST", path="/Beteiligte$", count=8
    ) as creating:
        await system.webhook("create", *ids)
        await creating()
        await pair.second.stop()

    await wait_for_subscribers(system, TOPIC, 1)
    await assert_one_each(system, ids, "Erbe")
    assert (await system.call("GET", "/health"))[0] == 200
    assert (await system.webhook("update", ids[0]))[0] == 200
