"""An event that meets a running sync is no failure: nothing is lost, nothing is raised, whoever dies in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from beteiligte_office import Office, office
from waiting import held, until

from config import Settings
from services import advoware_service
from services.beteiligte_check import TOPIC, BeteiligteCheck
from services.core.database import LOCK_CONNECTIONS
from services.core.errors import BitByLawError, EntityBusy, NotBefore, Unavailable
from services.core.jobs.look_again import (
    EDIT,
    HIDE,
    MAX_ROUNDS,
    Notes,
    Subject,
    beteiligter,
    in_part,
    in_turn,
)
from services.core.jobs.pending import enqueue_unless_pending, pending_key
from services.core.locks import beteiligte_lock_key, record_lock
from services.core.resources import Resources
from services.vmh_sync.store import SyncStore

__all__ = ["office"]

SUBJECT = beteiligter("abc")
NOTHING: frozenset[str] = frozenset()


async def notes_of(resources: Resources) -> Notes:
    return Notes(await resources.database())


async def is_locked(office: Office, entity_id: str) -> bool:
    return bool(await office.resources.redis.exists(beteiligte_lock_key(entity_id)))


# -- the sync of a record ---------------------------------------------------------------------------------------------


async def test_an_edit_that_meets_a_running_sync_arrives_by_that_sync(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Erst")
    # The record is read, and what follows takes so long that the edit and its event come in between.
    work = office.sync(entity_id)
    async with held(office.advoware, work, method="PUT", path="Beteiligte/") as working:
        await office.edit_espocrm(entity_id, lastName="Dann")
        assert (await office.sync(entity_id)).result == "busy"
    assert (await working).error is None

    assert office.in_advoware(betnr)["name"] == "Dann"
    assert await (await notes_of(office.resources)).find(beteiligter(entity_id)) is None
    assert "busy" not in [line["result"] for line in await office.audit(entity_id)]


async def test_a_deletion_that_meets_a_running_sync_is_reported_by_that_sync(
    office: Office,
) -> None:
    entity_id, _ = await office.linked_person()
    work = office.sync(entity_id)
    async with held(office.advoware, work, method="GET", path="Beteiligte/") as working:
        await office.delete_in_espocrm(entity_id)
        assert (await office.sync(entity_id, "delete")).result == "busy"
    await working

    assert [line["result"] for line in await office.audit(entity_id)][-1] == "deleted"
    assert len(await office.tasks()) == 1


async def test_a_check_that_meets_a_running_sync_leaves_it_at_that(
    office: Office,
) -> None:
    entity_id = await office.new_person()
    work = office.sync(entity_id, "create")
    async with held(office.espocrm, work, method="GET", path="CBeteiligte") as working:
        assert (await office.sync(entity_id, "sync_check", "cron")).result == "busy"

    assert await (await notes_of(office.resources)).find(beteiligter(entity_id)) is None
    assert (await working).result == "created"


async def test_what_a_crash_has_left_is_found_by_the_cron_and_still_counts_as_an_edit(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    later = f"{office.clock.now.replace(year=2100):%Y-%m-%d %H:%M:%S}"
    await office.edit_espocrm(
        entity_id, lastName="Neu", syncStatus="dirty", syncNextRetry=later
    )
    async with record_lock(office.resources, beteiligte_lock_key(entity_id), 60):
        assert (await office.sync(entity_id)).result == "busy"
        # Whoever holds the lock is killed here: its connection is gone, and it looks for no notes any more.
    found: list[str] = []

    async def enqueue(event: dict[str, Any]) -> None:
        found.append(event["data"]["entity_id"])

    await BeteiligteCheck(resources=office.resources).run(enqueue)
    await office.resources.redis.flushall()
    found.clear()
    office.clock.advance(minutes=3)
    summary = await BeteiligteCheck(resources=office.resources).run(enqueue)
    assert (found, summary["asked"]) == ([entity_id], 1)

    # The record itself is in a pause after a failure, which holds for checks, but not for a user's edit.
    assert (
        await office.sync(entity_id, "sync_check", "cron")
    ).result == "espocrm_newer"

    assert office.in_advoware(betnr)["name"] == "Neu"
    assert (
        await office.sync(entity_id, "sync_check", "cron")
    ).result != "espocrm_newer"
    assert "asked" not in await BeteiligteCheck(resources=office.resources).run(enqueue)


async def test_a_round_that_fails_leaves_the_note(office: Office) -> None:
    entity_id, _ = await office.linked_person()
    notes = await notes_of(office.resources)
    await notes.leave(beteiligter(entity_id), frozenset({EDIT}), office.clock())
    await office.fault(office.espocrm, method="GET", path="CBeteiligte", status=500)

    with pytest.raises(BitByLawError):
        await office.sync(entity_id, "sync_check", "cron")

    assert await notes.find(beteiligter(entity_id)) is not None
    await office.no_faults()
    await office.sync(entity_id, "sync_check", "cron")
    assert await notes.find(beteiligter(entity_id)) is None


@pytest.mark.parametrize(
    "what", ["busy", "EspoCRM away", "PostgreSQL away", "cancelled"]
)
async def test_no_way_out_of_a_check_keeps_the_next_one_out(
    office: Office, make_settings: Callable[..., Settings], what: str
) -> None:
    entity_id, _ = await office.linked_person()
    resources = office.resources

    async def enqueue(_: dict[str, Any]) -> None: ...

    await enqueue_unless_pending(
        resources,
        enqueue,
        TOPIC,
        {entity_id: {}},
        pending_seconds=3600,
        timeout_seconds=5,
    )
    assert await resources.redis.exists(pending_key(TOPIC, entity_id))
    if what == "busy":
        async with record_lock(resources, beteiligte_lock_key(entity_id), 60):
            await office.sync(entity_id, "sync_check", "cron")
    elif what == "EspoCRM away":
        await office.fault(office.espocrm, method="GET", path="CBeteiligte", status=503)
        with pytest.raises(Unavailable):
            await office.sync(entity_id, "sync_check", "cron")
    elif what == "PostgreSQL away":
        async with Resources(
            make_settings(POSTGRES_HOST="/nowhere"), clock=office.clock
        ) as homeless:
            office.resources = homeless
            with pytest.raises(Unavailable):
                await office.sync(entity_id, "sync_check", "cron")
    else:
        await office.fault(office.espocrm, method="GET", path="CBeteiligte", hang=True)
        task = asyncio.create_task(office.sync(entity_id, "sync_check", "cron"))
        await until(lambda: is_locked(office, entity_id))
        task.cancel()
        await asyncio.wait([task])
    assert not await resources.redis.exists(pending_key(TOPIC, entity_id))


async def test_the_mark_of_an_event_that_was_never_enqueued_ends_soon(
    resources: Resources,
) -> None:
    async def dies(_: dict[str, Any]) -> None:
        raise asyncio.CancelledError  # the worker ends between mark and queue

    task = asyncio.create_task(
        enqueue_unless_pending(
            resources, dies, TOPIC, {"x": {}}, pending_seconds=3600, timeout_seconds=5
        )
    )
    await asyncio.wait([task])
    assert await resources.redis.ttl(pending_key(TOPIC, "x")) <= 8


# -- turns ------------------------------------------------------------------------------------------------------------


class Desk:
    """Something that is brought up to date under a lock: ``shown`` is what the last run has read of ``value``."""

    def __init__(self) -> None:
        self.value = self.shown = self.at_work = self.rounds = 0

    async def run(self, resources: Resources, pause: float = 0.0) -> int:
        async with record_lock(resources, "sync_lock:desk", 60):
            self.at_work += 1
            assert self.at_work == 1
            self.rounds += 1
            value = self.value
            await asyncio.sleep(pause)
            self.shown = value
            self.at_work -= 1
        return value

    def edit(self) -> None:
        self.value += 1


async def test_a_note_that_comes_after_the_holder_has_looked_is_carried_out_by_the_one_who_left_it(
    resources: Resources,
) -> None:
    desk, is_free, may_end = Desk(), asyncio.Event(), asyncio.Event()

    async def holder(_: frozenset[str]) -> bool:
        async with record_lock(resources, "sync_lock:desk", 60):
            await may_end.wait()
        return True

    async def late(_: frozenset[str]) -> int:
        try:
            return await desk.run(resources)
        except EntityBusy:
            may_end.set()  # now the holder releases it and looks for notes; this one's is not there yet
            await is_free.wait()
            raise

    holding = asyncio.create_task(in_turn(resources, SUBJECT, NOTHING, holder))
    await until(lambda: resources.redis.exists("sync_lock:desk"))
    holding.add_done_callback(lambda _: is_free.set())
    desk.edit()

    assert await in_turn(resources, SUBJECT, NOTHING, late) == 1

    assert await holding is True
    assert desk.shown == 1
    assert await (await notes_of(resources)).find(SUBJECT) is None


@pytest.mark.parametrize("seed", range(3))
async def test_of_hundreds_of_events_on_two_workers_the_last_state_arrives(
    resources: Resources, make_settings: Callable[..., Settings], seed: int
) -> None:
    chance, desk = random.Random(seed), Desk()  # noqa: S311 - seeded

    async def event(worker: Resources, delay: float) -> None:
        await asyncio.sleep(delay)
        desk.edit()
        await in_turn(
            worker,
            SUBJECT,
            frozenset({EDIT}),
            lambda _: desk.run(worker, chance.random() / 50),
        )

    async with Resources(make_settings()) as other, asyncio.timeout(60):
        workers = [resources, other]
        await asyncio.gather(
            *(event(chance.choice(workers), chance.random()) for _ in range(300))
        )
        left = await (await notes_of(resources)).find(SUBJECT)
    assert (desk.shown, left) == (300, None)
    assert desk.rounds < 300


async def test_a_record_that_is_edited_without_end_is_left_to_the_cron(
    resources: Resources,
) -> None:
    notes = await notes_of(resources)
    rounds = []

    async def work(_: frozenset[str]) -> int:
        await notes.leave(SUBJECT, NOTHING, resources.clock())
        rounds.append(1)
        return len(rounds)

    assert await in_turn(resources, SUBJECT, NOTHING, work) == 1
    assert len(rounds) == MAX_ROUNDS
    assert await notes.find(SUBJECT) is not None


async def test_requests_add_up_and_none_is_forgotten(resources: Resources) -> None:
    notes = await notes_of(resources)
    observed: list[frozenset[str]] = []
    await notes.leave(SUBJECT, NOTHING, resources.clock())
    await notes.leave(SUBJECT, frozenset({HIDE}), resources.clock())

    async def work(requested: frozenset[str]) -> bool:
        observed.append(requested)
        if len(observed) == 1:  # others ask while the first round is at work
            await notes.leave(SUBJECT, frozenset({"later"}), resources.clock())
        return True

    await in_turn(resources, SUBJECT, frozenset({EDIT}), work)

    assert observed == [frozenset({EDIT, HIDE}), frozenset({HIDE, "later"})]


async def test_notes_of_other_records_are_left_alone(resources: Resources) -> None:
    notes = await notes_of(resources)
    for subject in (beteiligter("abd"), Subject("calendar", "abc")):
        await notes.leave(subject, NOTHING, resources.clock())
    observed = []

    async def work(requested: frozenset[str]) -> bool:
        observed.append(requested)
        return True

    await in_turn(resources, SUBJECT, NOTHING, work)
    assert observed == [NOTHING]
    resources.clock.advance(minutes=5)  # type: ignore[attr-defined]
    assert await notes.left_behind("CBeteiligte", resources.clock(), 10) == ["abd"]


async def test_a_part_leaves_the_notes_of_others_to_those_who_do_the_whole_work(
    resources: Resources,
) -> None:
    notes, whole = await notes_of(resources), []

    async def part() -> bool:
        await notes.leave(
            SUBJECT, frozenset({EDIT}), resources.clock()
        )  # another run meets the part at work
        return True

    async def work(requested: frozenset[str]) -> bool:
        whole.append(requested)
        return True

    async def hand_over() -> None:
        await in_turn(resources, SUBJECT, NOTHING, work)

    assert await in_part(resources, SUBJECT, frozenset({EDIT}), part, hand_over) is True
    assert whole == [frozenset({EDIT})]
    assert await notes.find(SUBJECT) is None


async def test_a_part_that_meets_the_whole_work_is_done_by_that(
    resources: Resources,
) -> None:
    desk, notes = Desk(), await notes_of(resources)

    async def hand_over() -> None:
        pytest.fail("there is nothing to hand over")

    async with record_lock(resources, "sync_lock:desk", 60):
        part = in_part(
            resources,
            SUBJECT,
            frozenset({EDIT}),
            lambda: desk.run(resources),
            hand_over,
        )
        assert await part is None
    note = await notes.find(SUBJECT)
    assert note is not None
    assert note.requested == {EDIT}


# -- connections ------------------------------------------------------------------------------------------------------


async def test_a_worker_with_as_many_locks_as_it_may_hold_is_busy_and_nothing_is_lost(
    make_settings: Callable[..., Settings], office: Office
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    async with Resources(
        make_settings(VMH_LOCK_SECONDS="2"), clock=office.clock
    ) as full:
        pool = await full.lock_connections()
        connections = [await pool.acquire() for _ in range(LOCK_CONNECTIONS)]
        office.resources = full
        assert (await office.sync(entity_id)).result == "busy"
        for connection in connections:
            await pool.release(connection)
        assert (
            await office.sync(entity_id, "sync_check", "cron")
        ).result == "espocrm_newer"
    assert office.in_advoware(betnr)["name"] == "Neu"


async def test_a_postgresql_that_is_away_is_not_called_busy(
    make_settings: Callable[..., Settings],
) -> None:
    async with Resources(make_settings(POSTGRES_HOST="/nowhere")) as homeless:
        with pytest.raises(Unavailable, match="PostgreSQL"):
            async with record_lock(homeless, "sync_lock:x", 2):
                pytest.fail("there is no lock")


async def test_an_unanswered_create_is_waited_for_without_a_lock_and_by_one_job(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advoware_service, "LATE_SECONDS", 0)
    entity_id = await office.new_person()
    store = SyncStore(await office.resources.database())
    await store.begin_create(
        "CBeteiligte", entity_id, {"name": "Muster", "vorname": "Erika"}, office.clock()
    )
    notes, subject = await notes_of(office.resources), beteiligter(entity_id)
    # Each sync advances the clock by 5 s, and Advoware has 2 s for an answer: the first sync sleeps for 3 s.
    office.clock.advance(seconds=-6)
    waiting = asyncio.create_task(office.sync(entity_id, "create"))

    async def waits() -> bool:
        return await notes.find(subject) is not None and not await is_locked(
            office, entity_id
        )

    await until(waits)
    async with record_lock(office.resources, beteiligte_lock_key(entity_id), 60):
        pass  # any run may have the lock
    pool = await office.resources.lock_connections()
    assert pool.get_idle_size() == pool.get_size()
    office.clock.advance(seconds=-5)
    assert (await office.sync(entity_id)).result == "busy"
    assert not waiting.done()
    assert office.advoware.state()["beteiligte"] == []

    office.clock.advance(seconds=20)
    assert (await waiting).result == "created"
    assert len(office.advoware.state()["beteiligte"]) == 1
    assert await notes.find(subject) is None


async def test_a_dead_workers_lock_in_redis_is_waited_for_without_a_connection(
    office: Office,
) -> None:
    entity_id, betnr = await office.linked_person()
    await office.edit_espocrm(entity_id, lastName="Neu")
    await office.resources.redis.set(
        beteiligte_lock_key(entity_id), "a dead worker's", px=3000
    )
    working = asyncio.create_task(office.sync(entity_id))

    async def waits() -> bool:
        return (
            await (await notes_of(office.resources)).find(beteiligter(entity_id))
            is not None
        )

    await until(waits)
    pool = await office.resources.lock_connections()
    await until(lambda: _all_free(pool))
    assert (await working).result == "espocrm_newer"
    assert office.in_advoware(betnr)["name"] == "Neu"


async def test_a_run_whose_lock_postgresql_has_dropped_is_met_by_no_one_and_no_edit_is_lost(
    make_settings: Callable[..., Settings], office: Office
) -> None:
    entity_id, betnr = await office.linked_person()
    async with Resources(
        make_settings(VMH_LOCK_SECONDS="2"), clock=office.clock
    ) as short:
        office.resources = short
        await office.edit_espocrm(entity_id, lastName="Erst")
        work = office.sync(entity_id)
        async with held(
            office.advoware, work, method="PUT", path="Beteiligte/"
        ) as working:
            pool = await short.database()
            await pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
            await office.edit_espocrm(entity_id, lastName="Dann")
            others = [asyncio.create_task(office.sync(entity_id)) for _ in range(5)]
            notes = await notes_of(short)
            await until(lambda: notes.find(beteiligter(entity_id)))

        results = await asyncio.gather(working, *others)

        assert "failed" not in {result.result for result in results}
        assert office.in_advoware(betnr)["name"] == "Dann"
        assert await (await notes_of(short)).find(beteiligter(entity_id)) is None


async def _all_free(pool: Any) -> bool:
    return bool(pool.get_idle_size() == pool.get_size())


async def test_who_waits_in_vain_leaves_it_to_the_cron(resources: Resources) -> None:
    calls = []

    async def work(_: frozenset[str]) -> bool:
        calls.append(1)
        raise NotBefore("a request", resources.clock())

    assert await in_turn(resources, SUBJECT, NOTHING, work, leaves_note=False) is None
    assert 1 < len(calls) < 10
    assert await (await notes_of(resources)).find(SUBJECT) is not None
