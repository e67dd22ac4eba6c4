"""What the calendar sync remembers, on real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.calendar_sync.model import Fingerprint, Pair
from services.calendar_sync.store import (
    OVERWRITTEN_DAYS,
    AuditLine,
    CalendarStore,
    Cursor,
    Hold,
    Intent,
    Overwritten,
)
from services.core.errors import Conflict
from services.core.resources import Resources

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
async def store(resources: Resources) -> CalendarStore:
    return CalendarStore(await resources.database())


def pair(frnr: int | None = 20001, event: str | None = "abc01", **more: Any) -> Pair:
    values = {
        "sync_id": uuid4(),
        "employee_kuerzel": "SB",
        "source_system": "advoware",
        **more,
    }
    return Pair(advoware_frnr=frnr, google_event_id=event, **values)


def line(of: Pair, action: str = "created", side: Any = "google") -> AuditLine:
    return AuditLine(
        employee_kuerzel=of.employee_kuerzel,
        side=side,
        action=action,
        reason="new in Advoware",
        sync_id=of.sync_id,
        advoware_frnr=of.advoware_frnr,
        google_event_id=of.google_event_id,
    )


async def save(store: CalendarStore, *pairs: Pair, now: datetime = NOW) -> None:
    for each in pairs:
        await store.save_pair(each, line(each), now)


def intent(event: str = "person1", **more: Any) -> Intent:
    values = {
        "sync_id": uuid4(),
        "content_hash": "hash",
        "first_day": date(2026, 3, 2),
        "started_at": NOW,
        **more,
    }
    return Intent(employee_kuerzel="SB", google_event_id=event, **values)


async def actions(store: CalendarStore, sync_id: UUID) -> list[str]:
    return [entry.action for entry in await store.history(sync_id=sync_id)]


# -- pairs ------------------------------------------------------------------------------------------------------------


async def test_a_pair_is_read_as_it_was_saved(store: CalendarStore) -> None:
    saved = pair(
        sync_strategy="last_change_wins",
        advoware_write_allowed=True,
        advoware=Fingerprint("a" * 64, NOW),
        google=Fingerprint("g" * 64, NOW + timedelta(seconds=1), '"etag"'),
        first_day=date(2026, 3, 2),
        last_day=date(2037, 12, 31),
        error="conditionNotMet",
        attempts=2,
    )
    other = pair(employee_kuerzel="AI")

    await save(store, saved, other)

    assert await store.load_pairs("SB") == [saved]
    assert {each.sync_id for each in await store.load_pairs()} == {
        saved.sync_id,
        other.sync_id,
    }


async def test_a_failed_try_keeps_the_time_of_the_last_success(
    store: CalendarStore,
) -> None:
    first = pair()
    await save(store, first)
    failed = replace(first, sync_status="failed", error="Unavailable", attempts=1)

    await store.save_pair(
        failed, line(failed, "failed", "none"), NOW + timedelta(hours=1)
    )

    stored = await store.find_pair(first.sync_id)
    assert stored is not None
    assert (stored.pair, stored.last_sync) == (failed, NOW)
    assert (stored.created_at, stored.updated_at) == (NOW, NOW + timedelta(hours=1))


async def test_an_employee_has_each_termin_and_each_event_once(
    store: CalendarStore,
) -> None:
    await save(store, pair())

    for rival in (pair(event="abc02"), pair(frnr=20002)):
        with pytest.raises(Conflict):
            await save(store, rival)
        assert (
            await actions(store, rival.sync_id) == []
        )  # row and audit are one transaction

    await save(
        store, pair(employee_kuerzel="AI", event="abc02")
    )  # a Termin of all employees has a pair in each calendar


async def test_of_two_workers_only_one_gets_the_pair(store: CalendarStore) -> None:
    rivals = [pair() for _ in range(5)]

    results = await asyncio.gather(
        *(save(store, rival) for rival in rivals), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 4 + [
        "NoneType"
    ]
    assert len(await store.history(frnr=20001)) == 1


async def test_deleting_is_a_mark_that_makes_space_for_a_successor(
    store: CalendarStore,
) -> None:
    first, successor = pair(), pair()
    await save(store, first)

    await store.delete_pair(first.sync_id, line(first, "deleted"), NOW)
    await save(store, successor)

    assert await store.load_pairs("SB") == [successor]
    stored = await store.find_pair(first.sync_id)
    assert stored is not None
    assert (stored.pair.deleted, stored.deleted_at) == (True, NOW)
    assert [
        each.pair.sync_id for each in await store.pairs_of_event("abc01")
    ] == sorted([first.sync_id, successor.sync_id])


async def test_a_deleted_pair_is_not_brought_back_by_a_late_writer(
    store: CalendarStore,
) -> None:
    late = pair()
    await save(store, late)
    await store.delete_pair(late.sync_id, line(late, "deleted"), NOW)

    with pytest.raises(Conflict):
        await save(store, late)
    with pytest.raises(Conflict):
        await store.delete_pair(late.sync_id, line(late, "deleted"), NOW)

    assert await store.load_pairs("SB") == []
    assert await actions(store, late.sync_id) == ["created", "deleted"]


# -- cursors ----------------------------------------------------------------------------------------------------------


async def test_a_cursor_is_empty_at_first_and_then_as_saved(
    store: CalendarStore,
) -> None:
    assert await store.load_cursor("SB") == Cursor(employee_kuerzel="SB")
    cursor = Cursor(
        employee_kuerzel="SB",
        calendar_id="c1",
        sync_token="t1",  # noqa: S106 - of a listing
        last_full_run=NOW,
    )

    await store.save_cursor(cursor, NOW)
    await store.save_cursor(replace(cursor, sync_token=None), NOW)

    assert await store.load_cursor("SB") == replace(
        cursor, sync_token=None, updated_at=NOW
    )
    assert len(await store.load_cursors()) == 1
    with pytest.raises(Conflict):
        await store.save_cursor(Cursor(employee_kuerzel="AI", calendar_id="c1"), NOW)


# -- intents ----------------------------------------------------------------------------------------------------------


async def test_an_unfinished_create_is_found_again_as_it_was_begun(
    store: CalendarStore,
) -> None:
    begun = await store.begin_intent(intent())
    assert not begun.is_repeated

    again = await store.begin_intent(
        intent(content_hash="another", started_at=NOW + timedelta(hours=1))
    )

    assert again.is_repeated
    assert again == replace(begun, attempts=2)
    assert await store.open_intents("SB") == [again]
    assert await store.open_intents("AI") == []


async def test_saving_the_created_pair_ends_its_intent(store: CalendarStore) -> None:
    begun = await store.begin_intent(intent())
    waiting = pair(
        None,
        "person1",
        sync_id=begun.sync_id,
        source_system="google",
        sync_status="pending",
    )
    await save(store, waiting)
    assert len(await store.open_intents("SB")) == 1  # not created yet

    await store.record_created("SB", "person1", 20009)
    assert [each.advoware_frnr for each in await store.open_intents()] == [20009]
    await save(store, replace(waiting, advoware_frnr=20009, sync_status="synced"))

    assert await store.open_intents() == []


async def test_a_refused_save_keeps_the_intent(store: CalendarStore) -> None:
    await save(store, pair(20009, "ours1"))
    begun = await store.begin_intent(intent())
    await store.record_created("SB", "person1", 20009)

    with pytest.raises(Conflict):
        await save(store, pair(20009, "person1", sync_id=begun.sync_id))

    assert len(await store.open_intents()) == 1


async def test_two_creates_cannot_claim_the_same_termin(store: CalendarStore) -> None:
    await store.begin_intent(intent("person1"))
    await store.begin_intent(intent("person2"))
    await store.record_created("SB", "person1", 20009)

    with pytest.raises(Conflict):
        await store.record_created("SB", "person2", 20009)


async def test_an_attempt_that_left_nothing_is_repeated_or_given_up(
    store: CalendarStore,
) -> None:
    begun = await store.begin_intent(intent())
    later = replace(begun, content_hash="another", started_at=NOW + timedelta(hours=1))

    await store.repeat_intent(later)
    assert await store.open_intents() == [later]

    await store.end_intent("SB", "person1")
    assert await store.open_intents() == []


# -- audit ------------------------------------------------------------------------------------------------------------


async def test_the_audit_reports_the_history_of_a_termin_through_all_its_pairs(
    store: CalendarStore,
) -> None:
    first = pair()
    await save(store, first)
    moved = replace(first, advoware_frnr=20002)
    await store.save_pair(moved, line(moved, "recreated", "advoware"), NOW)
    await store.append_audit(
        [
            AuditLine(
                employee_kuerzel="SB", side="none", action="held", reason="too_many"
            )
        ],
        NOW + timedelta(hours=1),
    )

    assert [entry.action for entry in await store.history(frnr=20002)] == [
        "created",
        "recreated",
    ]
    assert [entry.action for entry in await store.history(frnr=20001)] == ["created"]
    assert [entry.side for entry in await store.history(sync_id=first.sync_id)] == [
        "google",
        "advoware",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE calendar_sync_audit SET reason = 'x'",
        "DELETE FROM calendar_sync_audit",
        "TRUNCATE calendar_sync_audit",
    ],
)
async def test_the_audit_can_only_grow(
    store: CalendarStore, resources: Resources, statement: str
) -> None:
    first = pair()
    await save(store, first)

    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await (await resources.database()).execute(statement)

    assert await actions(store, first.sync_id) == ["created"]


async def test_the_statistics_count_each_employees_pairs(store: CalendarStore) -> None:
    gone = pair(1, "e1")
    await save(
        store,
        gone,
        pair(2, "e2"),
        pair(3, "e3", sync_status="failed"),
        pair(None, "e4", sync_status="pending"),
    )
    await store.delete_pair(gone.sync_id, line(gone, "deleted"), NOW)

    (numbers,) = await store.statistics()

    assert (numbers.employee_kuerzel, numbers.last_sync) == ("SB", NOW)
    assert (numbers.live, numbers.pending, numbers.failed, numbers.deleted) == (
        3,
        1,
        1,
        1,
    )


# -- runs and holds ---------------------------------------------------------------------------------------------------


async def test_of_each_employee_the_latest_run_is_known_and_since_when_runs_fail(
    store: CalendarStore,
) -> None:
    moments = [NOW + timedelta(minutes=15 * number) for number in range(5)]
    await store.note_run("SB", "changed", None, moments[0])
    await store.note_run("SB", "failed", "Unavailable", moments[1])
    await store.note_run("AI", "failed", "Forbidden", moments[1])
    await store.note_run("SB", "failed", "RateLimited", moments[2])

    assert [run.employee_kuerzel for run in await store.runs()] == ["AI", "SB"]
    never, failing = await store.runs()
    assert (never.succeeded_at, never.failing_since, never.failures) == (
        None,
        moments[1],
        1,
    )
    assert (failing.result, failing.code, failing.ended_at) == (
        "failed",
        "RateLimited",
        moments[2],
    )
    assert (failing.succeeded_at, failing.failing_since, failing.failures) == (
        moments[0],
        moments[1],
        2,
    )

    await store.note_run("SB", "held", "too_many", moments[3])
    _, held = await store.runs()
    assert (held.result, held.succeeded_at, held.failing_since, held.failures) == (
        "held",
        moments[3],
        None,
        0,
    )
    await store.note_run("SB", "failed", "Unavailable", moments[4])
    assert (await store.runs())[1].failing_since == moments[4]


def hold(kuerzel: str = "SB", **more: Any) -> Hold:
    values = {
        "reason": "too_many",
        "number": 12,
        "live_pairs": 40,
        "held_since": NOW,
        **more,
    }
    return Hold(employee_kuerzel=kuerzel, **values)


async def test_a_hold_keeps_its_beginning_and_is_released_once(
    store: CalendarStore,
) -> None:
    later = NOW + timedelta(hours=1)
    await store.save_hold(hold())
    await store.save_hold(hold("AI"))
    assert await store.release_hold("SB", later)
    assert await store.holds("SB") == [replace(hold(), released_at=later)]

    await store.save_hold(hold(reason="advoware_empty", number=30, held_since=later))

    assert await store.holds() == [hold("AI"), hold(reason="advoware_empty", number=30)]


async def test_what_is_not_held_cannot_be_released(store: CalendarStore) -> None:
    await store.save_hold(hold("AI"))
    assert not await store.release_hold("SB", NOW)
    await store.end_hold("AI")
    await store.end_hold("AI")
    assert not await store.release_hold("AI", NOW)
    assert await store.holds() == []


# -- what was overwritten ---------------------------------------------------------------------------------------------


def overwritten(kuerzel: str = "SB", **more: Any) -> Overwritten:
    resource = {
        "summary": "Ehescheidung",
        "start": {"date": "2026-03-02"},
        "attendees": [{"email": "a@example.de"}],
    }
    values = {
        "sync_id": uuid4(),
        "google_event_id": "abc01",
        "advoware_frnr": 20001,
        "resource": resource,
        **more,
    }
    return Overwritten(employee_kuerzel=kuerzel, **values)


async def test_what_is_overwritten_is_kept_as_it_was(store: CalendarStore) -> None:
    first, second = overwritten(), overwritten("AI", advoware_frnr=None)
    await store.keep_overwritten(first, NOW)
    await store.keep_overwritten(second, NOW + timedelta(hours=1))

    kept = await store.overwritten(NOW)
    assert [(each.resource, each.sync_id, each.advoware_frnr) for each in kept] == [
        (each.resource, each.sync_id, each.advoware_frnr) for each in (first, second)
    ]
    assert [each.at for each in kept] == [NOW, NOW + timedelta(hours=1)]
    assert [each.employee_kuerzel for each in await store.overwritten(NOW, "AI")] == [
        "AI"
    ]
    assert await store.overwritten(NOW + timedelta(hours=2)) == []
    assert "Ehescheidung" not in repr(kept)


async def test_what_is_overwritten_is_gone_after_30_days(
    store: CalendarStore, resources: Resources
) -> None:
    await store.keep_overwritten(overwritten(), NOW)
    await store.keep_overwritten(overwritten(), NOW + timedelta(days=1))

    await store.forget_overwritten(NOW + timedelta(days=OVERWRITTEN_DAYS, seconds=1))

    rows = await (await resources.database()).fetch(
        "SELECT at FROM calendar_sync_overwritten"
    )
    assert [row["at"] for row in rows] == [NOW + timedelta(days=1)]


async def test_what_was_brought_back_says_so(store: CalendarStore) -> None:
    await store.keep_overwritten(overwritten(), NOW)
    await store.keep_overwritten(overwritten(), NOW)
    first, _ = await store.overwritten(NOW)

    await store.mark_restored(first.overwritten_id or 0, NOW + timedelta(hours=1))

    restored = [each.restored_at for each in await store.overwritten(NOW)]
    assert restored == [NOW + timedelta(hours=1), None]


async def test_who_has_pairs_and_the_numbers_of_some_of_them(
    store: CalendarStore,
) -> None:
    for number, kuerzel in enumerate(["AI", "SB", "SB", "ÄÖ"], 1):
        stored = pair(frnr=number, event=f"event{number}", employee_kuerzel=kuerzel)
        await store.save_pair(stored, line(stored), NOW)
    await store.delete_pair(stored.sync_id, line(stored), NOW)
    assert sorted(await store.employees_with_pairs()) == ["AI", "SB", "ÄÖ"]
    numbers = await store.statistics(["SB", "ÄÖ", "XX"])
    assert {row.employee_kuerzel: (row.live, row.deleted) for row in numbers} == {
        "SB": (2, 0),
        "ÄÖ": (0, 1),
    }
