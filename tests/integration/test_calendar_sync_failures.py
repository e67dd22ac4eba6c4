"""What goes wrong during a calendar sync, example by example: nothing is lost or doubled, and the next run heals it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from calendar_deeds import sync_all
from calendar_office import DAY, CalendarOffice, in_haste, office, timed
from calendar_people import PERSON
from waiting import held, until

from services.calendar_sync.model import HoldDeletions, Pair
from services.calendar_sync.run import CalendarSync, RunSummary, lock_key
from services.calendar_sync.store import AuditLine, CalendarStore
from services.core.errors import EntityBusy, RateLimited, Unavailable
from services.core.locks import record_lock

__all__ = ["office"]

LAST_CHANGE_WINS = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}
QUOTA = {
    "error": {
        "code": 403,
        "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}],
    }
}


async def with_termine(
    office: CalendarOffice, count: int, **variables: Any
) -> list[int]:
    """So many Termine of SB's, in step."""
    await office.configure(**variables)
    fr_nrs = [office.termin(f"Termin {number}") for number in range(count)]
    await office.sync()
    return fr_nrs


# -- answers that are not believed ------------------------------------------------------------------------------------


@in_haste
@pytest.mark.parametrize("count", [3, 12])
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
async def test_an_empty_answer_of_advoware_deletes_nothing(
    office: CalendarOffice, strategy: str, count: int
) -> None:
    await with_termine(office, count, CALENDAR_SYNC_STRATEGY=strategy)
    office.strike("advoware", empty_list=True, query="kuerzel=")

    for _ in range(2):
        await office.sync()

        assert office.writes() == []
    assert len(office.texts()) == count
    office.recover()
    await office.sync_until_calm()
    assert (len(office.texts()), len(await office.pairs())) == (count, count)


@in_haste
async def test_a_partial_answer_of_advoware_deletes_nothing(
    office: CalendarOffice,
) -> None:
    fr_nrs = await with_termine(office, 8)
    hidden_ones = {
        fr_nr: office.advoware.termine._records.pop(fr_nr) for fr_nr in fr_nrs[:3]
    }

    def come_back() -> None:
        office.advoware.termine._records.update(hidden_ones)

    await office.meanwhile("GET", "Termine?frnr=", come_back)

    assert office.writes() == []
    assert len(office.texts()) == 8


@in_haste
async def test_a_refused_or_broken_answer_of_advoware_changes_nothing(
    office: CalendarOffice,
) -> None:
    await with_termine(office, 3)
    for fault in ({"status": 404}, {"status": 403}, {"truncate_json": True}):
        office.strike("advoware", **fault)

        assert not isinstance(await office.try_sync(), RunSummary)

        assert office.writes() == []
        office.recover()
    assert len(office.texts()) == 3


@in_haste
async def test_many_deletions_are_held_until_an_operator_allows_them(
    office: CalendarOffice,
) -> None:
    fr_nrs = await with_termine(office, 12)
    for fr_nr in fr_nrs[:6]:
        office.delete_termin(fr_nr)
    office.termin("neu")

    for live_pairs in (12, 13, 13):
        summary = await office.sync()
        assert (summary.result, summary.held) == (
            "held",
            HoldDeletions("too_many", 6, live_pairs),
        )
    assert len(office.texts()) == 13  # what is new arrives all the same
    (line,) = await office.audit("held")
    assert (line["employee_kuerzel"], line["reason"]) == ("SB", "too_many: 6 of 12")

    await office.configure(CALENDAR_SYNC_MAX_DELETIONS=6)
    await office.sync_until_calm()

    assert (len(office.texts()), len(await office.pairs())) == (7, 7)
    assert len(await office.audit("held")) == 1


@in_haste
async def test_what_is_held_is_listed_also_if_an_older_version_has_held_it(
    office: CalendarOffice,
) -> None:
    fr_nrs = await with_termine(office, 12)
    for fr_nr in fr_nrs[:6]:
        office.delete_termin(fr_nr)
    await office.sync()
    store = CalendarStore(await office.resources.database())
    (hold,) = await store.holds("SB")
    for sync_ids in (hold.sync_ids, ()):
        await store.save_hold(replace(hold, sync_ids=sync_ids))
        await office.sync()
        held = [frnr for frnr, _ in await store.held_pairs("SB")]
        assert held == sorted(fr_nrs[:6])
    assert len(await office.audit("held")) == 1


@in_haste
async def test_what_is_released_is_what_was_held_and_not_as_many_others(
    office: CalendarOffice,
) -> None:
    fr_nrs = await with_termine(office, 12)
    records = office.advoware.termine._records
    missing = {fr_nr: records.pop(fr_nr) for fr_nr in fr_nrs[:6]}
    assert (await office.sync()).held is not None
    store = CalendarStore(await office.resources.database())
    assert await store.release_hold("SB", datetime.now(UTC))
    records.update(missing)
    for fr_nr in fr_nrs[6:]:
        office.delete_termin(fr_nr)

    assert (await office.sync()).held == HoldDeletions("too_many", 6, 12)
    assert len(office.texts()) == 12
    assert [frnr for frnr, _ in await store.held_pairs("SB")] == sorted(fr_nrs[6:])

    assert await store.release_hold("SB", datetime.now(UTC))
    await office.sync_until_calm()
    assert len(office.texts()) == 6


@in_haste
async def test_few_deletions_are_carried_out(office: CalendarOffice) -> None:
    fr_nrs = await with_termine(office, 12)
    for fr_nr in fr_nrs[:5]:
        office.delete_termin(fr_nr)

    await office.sync()

    assert len(office.texts()) == 7


@in_haste
async def test_of_many_pairs_a_fifth_may_go(office: CalendarOffice) -> None:
    fr_nrs = await with_termine(office, 35)
    for fr_nr in fr_nrs[:7]:
        office.delete_termin(fr_nr)

    assert (await office.sync()).held is None

    assert len(office.texts()) == 28
    for fr_nr in fr_nrs[7:13]:
        office.delete_termin(fr_nr)
    assert (await office.sync()).held == HoldDeletions("too_many", 6, 28)


@in_haste
async def test_no_deletion_at_all_may_be_allowed(office: CalendarOffice) -> None:
    fr_nrs = await with_termine(office, 3, CALENDAR_SYNC_MAX_DELETIONS=0)
    office.delete_termin(fr_nrs[0])
    office.change_termin(fr_nrs[1], text="geändert")

    for _ in range(2):
        assert (await office.sync()).result == "held"

    assert office.texts() == ["Termin 0", "Termin 2", "geändert"]


@in_haste
async def test_a_wholly_deleted_calendar_content_does_not_empty_advoware(
    office: CalendarOffice,
) -> None:
    await with_termine(office, 12, **LAST_CHANGE_WINS)
    for event in office.events("SB"):
        office.delete_event(event["id"])

    for _ in range(2):
        assert (await office.sync()).result == "held"

    assert len(office.termine()) == 12


# -- runs that end at any point ---------------------------------------------------------------------------------------


async def everything_at_once(office: CalendarOffice) -> None:
    """New appointments on both sides, changes of old ones, and deletions of sources and of copies."""
    office.new_calendar()
    changed, deleted = office.termin("Advoware alt"), office.termin("gelöscht")
    in_google = office.enter("Google alt")
    office.enter("Google bleibt", **timed(DAY, "18:00", "19:00"))
    await office.sync()
    office.change_termin(changed, text="Advoware anders")
    office.delete_termin(deleted)
    office.change_event(in_google, summary="Google anders")
    office.delete_termin(office.record("Google bleibt")["frNr"])
    office.termin("Advoware neu")
    office.enter("Google neu", **timed(DAY, "17:00", "18:00"))


EXPECTED = [
    "Advoware anders",
    "Advoware neu",
    "Google anders",
    "Google bleibt",
    "Google neu",
]


async def assert_all_is_well(office: CalendarOffice) -> None:
    await office.sync_until_calm()
    assert (office.texts(), office.termin_texts()) == (EXPECTED, EXPECTED)
    assert len(await office.pairs()) == len(EXPECTED)
    assert await office.fetch("SELECT * FROM calendar_sync_intent") == []
    assert await office.fetch("SELECT * FROM calendar_sync_begun") == []


@in_haste
async def test_what_an_interrupted_run_had_begun_comes_into_the_audit_once(
    office: CalendarOffice,
) -> None:
    (fr_nr,) = await with_termine(office, 1)
    office.change_termin(fr_nr, text="Neu")
    patch = {"method": "PATCH", "path": "/events/"}
    async with held(office.google, office.try_sync(), **patch) as running:
        running.cancel()
        await asyncio.wait([running])

    await office.sync_until_calm()
    await office.sync_until_calm()

    lines = await office.fetch(
        "SELECT action, reason, side, advoware_frnr FROM calendar_sync_audit ORDER BY audit_id"
    )
    begun = [dict(line) for line in lines if line["action"] == "interrupted"]
    assert begun == [
        {
            "action": "interrupted",
            "reason": "updated: Google differs from what it shall show",
            "side": "google",
            "advoware_frnr": fr_nr,
        }
    ]
    assert office.texts() == ["Neu"]


@in_haste
async def test_a_run_may_be_cancelled_at_any_request(office: CalendarOffice) -> None:
    nth, was_cancelled = 0, True
    while was_cancelled:
        nth += 1
        await office.reopen()
        await everything_at_once(office)

        was_cancelled = await office.sync_interrupted("", "", nth=nth)

        await assert_all_is_well(office)
    assert nth > 10


@in_haste
@pytest.mark.parametrize("system", ["advoware", "google"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_any_write_may_lose_its_answer(
    office: CalendarOffice, system: Any, when: Any
) -> None:
    struck, skip = 1, -1
    while struck:
        skip += 1
        await office.reopen()
        await everything_at_once(office)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            office.strike(
                system, method=method, when=when, reset=True, skip=skip, count=1
            )

        await office.try_sync()

        struck = sum(
            fault.struck
            for twin in (office.advoware, office.google)
            for fault in twin.faults
        )
        office.recover()
        await assert_all_is_well(office)
    assert skip > 0


@in_haste
async def test_a_run_that_ends_before_its_cursor_is_saved_is_repeated(
    office: CalendarOffice,
) -> None:
    await everything_at_once(office)
    pool = await office.resources.database()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE calendar_sync_cursor IN EXCLUSIVE MODE")
        run = asyncio.ensure_future(office.try_sync())
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'calendar_sync_cursor'::regclass"
        await until(lambda: has_row(connection, waiting))
        run.cancel()
        await asyncio.wait([run])
        await transaction.rollback()

    await assert_all_is_well(office)


async def has_row(connection: Any, query: str) -> bool:
    return bool(await connection.fetchval(query))


@in_haste
async def test_a_created_termin_whose_event_was_edited_before_the_next_run(
    office: CalendarOffice,
) -> None:
    """The create's answer is lost, then the person goes on typing."""
    for lost in ("POST", "PATCH"):  # the answer itself, the mark in Google
        await office.reopen()
        await office.sync()
        event_id = office.enter("Entwurf")
        path = "/events/" if lost == "PATCH" else "/advonet/Termine"
        assert await office.sync_interrupted(lost, path)
        assert office.termin_texts() == ["Entwurf"]
        office.change_event(event_id, summary="Reinschrift")

        await office.sync_until_calm()

        assert (office.texts(), office.termin_texts()) == (
            ["Reinschrift"],
            ["Reinschrift"],
        ), lost
        assert len(await office.pairs()) == 1


@in_haste
async def test_a_created_termin_that_was_deleted_before_the_next_run(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.enter("Mandant")
    assert await office.sync_interrupted("PATCH", "/events/")
    office.delete_termin(office.record("Mandant")["frNr"])

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Mandant"], ["Mandant"])


async def unanswered(office: CalendarOffice, *, recreated: bool) -> int:
    """The number of a Termin whose create was not answered: that of a new event, or of one whose Termin was deleted."""
    await sync_all(office)
    office.enter("Besprechung")
    if recreated:
        await sync_all(office, 2)
        office.delete_termin(office.record("Besprechung")["frNr"])
    office.strike("advoware", method="POST", status=503, when="after", count=1)
    await office.try_sync("SB")
    office.recover()
    return int(office.record("Besprechung")["frNr"])


async def hand_on_unanswered(
    office: CalendarOffice, first: str, *, recreated: bool, **given: str
) -> None:
    """Hand a Termin on whose create was not answered; whoever is synced first, there is no other one."""
    fr_nr = await unanswered(office, recreated=recreated)
    office.change_termin(fr_nr, **given)
    office.now += timedelta(minutes=15)

    await office.try_sync(first)
    await sync_all(office, 3)

    assert [record["frNr"] for record in office.termine()] == [fr_nr]


@in_haste
@pytest.mark.parametrize("first", ["SB", "AI"])
@pytest.mark.parametrize("recreated", [False, True])
async def test_a_termin_that_is_handed_on_after_a_lost_answer_is_created_once(
    office: CalendarOffice, recreated: bool, first: str
) -> None:
    await hand_on_unanswered(office, first, recreated=recreated, anwalt="AI")

    assert (office.texts("SB"), office.texts("AI")) == ([], ["Besprechung"])
    assert await (await office.store()).open_intents() == []


@in_haste
@pytest.mark.parametrize("first", ["SB", "AI"])
@pytest.mark.parametrize("recreated", [False, True])
@pytest.mark.parametrize("clerk", ["SB", "AI", ""])
async def test_a_termin_that_is_given_to_all_after_a_lost_answer_is_created_once(
    office: CalendarOffice, clerk: str, recreated: bool, first: str
) -> None:
    given = {"anwalt": "ALLE", "sb": clerk}
    await hand_on_unanswered(office, first, recreated=recreated, **given)

    assert office.texts("SB") == office.texts("AI") == ["Besprechung"]


@in_haste
async def test_a_termin_that_is_handed_on_and_edited_after_a_lost_answer_waits(
    office: CalendarOffice,
) -> None:
    fr_nr = await unanswered(office, recreated=False)
    office.change_termin(fr_nr, anwalt="AI", uhrzeitBis="16:00:00")
    office.now += timedelta(minutes=15)

    await sync_all(office, 3)

    assert [record["frNr"] for record in office.termine()] == [fr_nr]
    assert (office.texts("SB"), office.texts("AI")) == (
        ["Besprechung"],
        ["Besprechung"],
    )


@in_haste
@pytest.mark.parametrize("side", ["advoware", "google"])
async def test_a_colleagues_equal_appointment_is_not_what_a_lost_answer_has_left(
    office: CalendarOffice, side: str
) -> None:
    await sync_all(office)
    office.enter("Besprechung")
    office.strike("advoware", method="POST", status=503, count=1)
    await office.try_sync("SB")
    office.recover()
    if side == "google":
        office.enter("Besprechung", "AI")
    else:
        times = {"uhrzeitVon": "14:00:00", "uhrzeitBis": "15:00:00"}
        texts = {"notiz": "", "ort": ""}
        office.termin("Besprechung", anwalt="AI", sb="AI", **times, **texts)
    await office.try_sync("AI")
    office.now += timedelta(minutes=15)

    await sync_all(office, 3)

    assert sorted(record["anwalt"] for record in office.termine()) == ["AI", "SB"]
    assert office.texts("SB") == office.texts("AI") == ["Besprechung"]


def move_to_colleague(office: CalendarOffice, event_id: str) -> None:
    own, other = office.calendar("SB"), office.calendar("AI")
    assert own is not None
    assert other is not None
    office.google.world.events.move(PERSON, own, own.events[event_id], other)


@in_haste
@pytest.mark.parametrize("first", ["SB", "AI"])
@pytest.mark.parametrize("form", [{"how": "upper"}, {"how": "cut", "to": 6}])
async def test_an_event_that_moves_after_a_lost_answer_of_other_form_is_one(
    office: CalendarOffice, form: dict[str, Any], first: str
) -> None:
    await sync_all(office)
    event_id = office.enter("Besprechung")
    office.strike("advoware", method="POST", stored=[{"field": "text", **form}])
    office.strike("advoware", method="POST", status=503, when="after", count=1)
    await office.try_sync("SB")
    office.recover()
    assert office.termin_texts() != ["Besprechung"]
    move_to_colleague(office, event_id)
    office.now += timedelta(minutes=15)

    await office.try_sync(first)
    await sync_all(office, 3)

    assert [record["anwalt"] for record in office.records("Besprechung")] == ["AI"]
    assert len(office.termine()) == 1
    assert (office.texts("SB"), office.texts("AI")) == ([], ["Besprechung"])


# -- others write at the same time ------------------------------------------------------------------------------------


@in_haste
async def test_an_event_that_changes_under_our_hands_is_decided_again(
    office: CalendarOffice,
) -> None:
    (fr_nr,) = await with_termine(office, 1)
    event_id = office.copy(fr_nr)["id"]
    office.change_termin(fr_nr, text="neu")

    summary = await office.meanwhile(
        "PATCH", "/events/", lambda: office.change_event(event_id, colorId="3")
    )

    assert isinstance(summary, RunSummary)
    assert (summary.result, office.texts()) == ("changed", ["neu"])
    assert office.copy(fr_nr)["colorId"] == "3"
    await office.sync_until_calm()


@in_haste
async def test_an_event_that_changes_again_and_again_is_left_to_the_next_run(
    office: CalendarOffice,
) -> None:
    changed, other = await with_termine(office, 2)
    office.change_termin(changed, text="neu")
    office.change_termin(other, text="auch neu")
    office.strike("google", method="PATCH", path=office.copy(changed)["id"], status=412)

    for _ in range(2):
        assert (await office.sync()).result == "failed"
        assert office.texts() == ["Termin 0", "auch neu"]
    office.recover()
    await office.sync_until_calm()

    assert office.texts() == ["auch neu", "neu"]


@in_haste
async def test_a_termin_that_changes_under_our_hands_is_decided_again(
    office: CalendarOffice,
) -> None:
    (fr_nr,) = await with_termine(office, 1, **LAST_CHANGE_WINS)
    office.change_event(office.copy(fr_nr)["id"], summary="aus google")
    office.now += timedelta(minutes=5)

    await office.meanwhile(
        "GET", "frnr=", lambda: office.change_termin(fr_nr, text="aus advoware")
    )
    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (
        ["aus advoware"],
        ["aus advoware"],
    )


@in_haste
async def test_an_event_touched_while_it_is_adopted_is_not_doubled(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    await office.sync()
    event_id = office.enter("Verhandlung")
    await office.sync()
    office.termin(
        "Verhandlung", uhrzeitVon="14:00:00", uhrzeitBis="15:00:00", notiz="", ort=""
    )
    await office.configure()

    await office.meanwhile(
        "PATCH", "/events/", lambda: office.change_event(event_id, colorId="3")
    )
    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Verhandlung"], ["Verhandlung"])


@in_haste
async def test_a_used_id_is_taken_over(office: CalendarOffice) -> None:
    """The insert got through, its answer was lost, and nothing of it is remembered."""
    office.termin()
    await office.sync()
    await office.fetch("DELETE FROM calendar_sync")
    office.strike("google", method="GET", path="/events$", empty_list=True)

    await office.sync()

    assert (len(office.events("SB")), len(await office.pairs())) == (1, 1)


@in_haste
async def test_a_lock_that_is_held_is_reported(office: CalendarOffice) -> None:
    redis = office.resources.calendar_redis
    async with record_lock(office.resources, lock_key("SB"), 60, redis=redis):
        assert await CalendarSync(resources=office.resources).is_running("SB")
        assert isinstance(await office.try_sync(), EntityBusy)
        assert office.calls() == []

    await office.sync()
    assert not await CalendarSync(resources=office.resources).is_running("SB")


# -- the calendar is lost ---------------------------------------------------------------------------------------------


@in_haste
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
async def test_a_deleted_calendar_is_made_again_and_no_termine_are_deleted(
    office: CalendarOffice, strategy: str
) -> None:
    await with_termine(office, 4, CALENDAR_SYNC_STRATEGY=strategy)
    office.enter("von einem Menschen")
    await office.sync()
    before = office.termin_texts()
    office.delete_calendar()

    await office.sync()

    assert (office.termin_texts(), office.texts()) == (before, before)
    assert [call for call in office.writes() if "Termine" in call] == []
    await office.sync_until_calm()
    assert (office.termin_texts(), office.texts()) == (before, before)


@in_haste
@pytest.mark.parametrize("status", [400, 503])
async def test_a_lost_calendar_that_cannot_be_filled_at_once_costs_no_termin(
    office: CalendarOffice, status: int
) -> None:
    await with_termine(office, 4, **LAST_CHANGE_WINS)
    office.enter("von einem Menschen")
    await office.sync()
    before = office.termin_texts()
    office.delete_calendar()
    office.strike("google", method="POST", path="/events$", status=status, skip=2)
    await office.try_sync()
    office.recover()

    await office.sync_until_calm()

    assert (office.termin_texts(), office.texts()) == (before, before)


@in_haste
async def test_a_termin_that_comes_back_after_the_calendar_was_lost_stays(
    office: CalendarOffice,
) -> None:
    """It lay outside the window when the calendar was lost, so that nothing was done about its event."""
    (fr_nr,) = await with_termine(office, 1, **LAST_CHANGE_WINS)
    office.now += timedelta(days=40)
    await office.sync()
    office.delete_calendar()
    await office.sync()
    day = f"{office.now + timedelta(days=3):%Y-%m-%d}"
    office.change_termin(fr_nr, datum=day, datumBis=day)

    await office.sync_until_calm()

    assert (office.termin_texts(), office.texts()) == (["Termin 0"], ["Termin 0"])


@in_haste
async def test_a_created_termin_survives_the_loss_of_the_calendar_before_the_next_run(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.enter("Mandant")
    assert await office.sync_interrupted("POST", "/advonet/Termine")
    office.delete_calendar()

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Mandant"], ["Mandant"])


@in_haste
async def test_a_calendar_of_the_same_name_that_is_another_persons_is_not_adopted(
    office: CalendarOffice,
) -> None:
    calendars, stranger = office.google.world.calendars, "fremd@example.de"
    foreign = office.new_calendar(stranger)
    access = {"role": "writer", "scope": {"type": "user", "value": office.account_name}}
    calendars.share(stranger, foreign, access)
    calendars.subscribe(office.account_name, foreign.id)
    office.termin("vertraulich")

    await CalendarSync(resources=office.resources).sync_employee("SB")

    assert list(foreign.events) == []


@in_haste
async def test_a_calendar_that_is_deleted_during_a_run_costs_no_termin(
    office: CalendarOffice,
) -> None:
    await with_termine(office, 3, **LAST_CHANGE_WINS)
    office.delete_event(office.events("SB")[0]["id"])

    await office.meanwhile("GET", "/events/", office.delete_calendar)
    assert [call for call in office.writes() if "Termine" in call] == []
    await office.sync_until_calm()

    assert (len(office.termine()), len(office.texts())) == (3, 3)


@in_haste
async def test_an_account_that_google_refuses_keeps_no_one_from_his_calendar(
    office: CalendarOffice,
) -> None:
    await office.configure(
        GOOGLE_CALENDAR_ACL="reader:weg@example.de,writer:sb@example.de"
    )
    office.termin()
    office.strike("google", method="POST", path="/acl$", status=400, count=1)

    await office.sync()

    calendar = office.calendar("SB")
    assert calendar is not None
    assert {rule.scope_value for rule in calendar.acl.values()} == {
        calendar.data_owner,
        "sb@example.de",
    }
    assert office.texts() == ["Besprechung"]


# -- tokens, quotas, outages ------------------------------------------------------------------------------------------


@in_haste
async def test_an_expired_sync_token_costs_a_full_listing_and_no_pair(
    office: CalendarOffice,
) -> None:
    await with_termine(office, 3)
    office.enter("neu")
    before = {pair.sync_id for pair in await office.pairs()}
    office.google.world.lister.expire_sync_tokens()

    summary = await office.sync()

    assert dict(summary.counts) == {"advoware_created": 1}
    assert before < {pair.sync_id for pair in await office.pairs()}
    assert (await office.sync()).result == "no_change"
    assert "syncToken" in office.calls("google")[0]


@in_haste
async def test_an_expired_sync_token_is_given_up_even_if_the_run_fails(
    office: CalendarOffice,
) -> None:
    await with_termine(office, 1)
    office.enter("neu")
    office.google.world.lister.expire_sync_tokens()
    office.strike("advoware", method="POST", path="Termine", status=400)
    assert (await office.sync()).result == "failed"
    office.recover()

    assert dict((await office.sync()).counts) == {"advoware_created": 1}
    listings = [
        call
        for call in office.calls("google")
        if call.startswith("GET") and "/events" in call
    ]
    assert [call for call in listings if "syncToken" in call] == []


@in_haste
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 403, "body": QUOTA},
        {"status": 429, "headers": {"Retry-After": "2"}},
        {"status": 503, "headers": {"Retry-After": "2"}},
        {"status": 500},
        {"reset": True},
    ],
    ids=["403 quota", "429", "503", "500", "reset"],
)
async def test_google_may_ask_for_patience(
    office: CalendarOffice, fault: dict[str, Any]
) -> None:
    office.termin()
    await office.sync()
    office.termin("neu")
    office.strike("google", **fault, count=2)
    began = asyncio.get_running_loop().time()

    summary = await office.sync()

    assert (summary.result, office.texts()) == ("changed", ["Besprechung", "neu"])
    if "headers" in fault:
        assert asyncio.get_running_loop().time() - began >= 4


@in_haste
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429, "headers": {"Retry-After": "600"}}, RateLimited),
        ({"status": 503}, Unavailable),
    ],
    ids=["429", "503"],
)
async def test_an_outage_of_google_ends_the_run_and_is_made_up_for(
    office: CalendarOffice, fault: dict[str, Any], error: type[Exception]
) -> None:
    await office.sync()
    for number in range(20):
        office.termin(f"Termin {number:02}")
    office.strike("google", method="POST", **fault)

    assert type(await office.try_sync()) is error

    assert len(office.writes()) <= 18  # it does not try all of them
    office.recover()
    await office.sync_until_calm()
    assert office.texts() == office.termin_texts()


@in_haste
async def test_an_outage_of_advoware_ends_the_run_and_is_made_up_for(
    office: CalendarOffice,
) -> None:
    await office.sync()
    for number in range(10):
        office.enter(f"Event {number}")
    office.strike("advoware", status=503, method="POST")

    assert isinstance(await office.try_sync(), Unavailable)

    assert len(office.calls("advoware")) <= 5
    office.recover()
    await office.sync_until_calm()
    assert (office.texts(), len(office.termine())) == (office.termin_texts(), 10)


@in_haste
async def test_a_revoked_login_is_renewed(office: CalendarOffice) -> None:
    await with_termine(office, 1)
    office.google.revoke_tokens()
    office.advoware.revoke_tokens()
    office.termin("neu")

    assert (await office.sync()).result == "changed"


# -- one bad appointment ----------------------------------------------------------------------------------------------


@in_haste
async def test_one_termin_that_google_refuses_does_not_stop_the_others(
    office: CalendarOffice,
) -> None:
    await office.sync()
    office.strike("google", method="POST", status=400, count=1)
    refused = office.termin("schlecht")
    office.termin("gut")

    summary = await office.sync()

    assert (summary.result, len(summary.errors), office.texts()) == (
        "failed",
        1,
        ["gut"],
    )
    (pair,) = [pair for pair in await office.pairs() if pair.advoware_frnr == refused]
    assert (pair.sync_status, pair.google_event_id) == ("failed", None)
    assert pair.error is not None
    assert "400" in pair.error

    await office.sync_until_calm()
    assert office.texts() == ["gut", "schlecht"]
    assert {pair.sync_status for pair in await office.pairs()} == {"synced"}


@in_haste
@pytest.mark.parametrize("system", ["advoware", "google"])
async def test_what_is_refused_for_ever_fills_no_audit_and_hides_no_change(
    office: CalendarOffice, system: Any
) -> None:
    (good,) = await with_termine(office, 1, **LAST_CHANGE_WINS)
    if system == "google":
        office.termin("schlecht")
    else:
        office.enter("schlecht")
    office.strike(system, method="POST", status=400)
    await office.sync()
    lines = await office.audit()
    assert [line["action"] for line in lines] == ["created", "failed"]

    for number in range(3):
        office.change_event(office.copy(good)["id"], summary=f"Fassung {number}")
        assert (await office.sync()).result == "failed"
        assert office.record(f"Fassung {number}")
        assert len(office.writes()) <= 2

    assert len(await office.audit("failed")) == 1


@in_haste
async def test_a_termin_that_cannot_be_read_directly_does_not_stop_the_others(
    office: CalendarOffice,
) -> None:
    missing, _ = await with_termine(office, 2)
    office.termin("neu")
    record = office.advoware.termine._records.pop(missing)
    office.strike("advoware", query=f"frnr={missing}", status=403)

    for _ in range(2):
        summary = await office.sync()

        assert (summary.result, len(summary.errors)) == ("failed", 1)
        assert office.texts() == ["Termin 0", "Termin 1", "neu"]

    office.recover()
    office.advoware.termine._records[missing] = record
    await office.sync_until_calm()
    assert office.texts() == ["Termin 0", "Termin 1", "neu"]


@in_haste
async def test_an_event_that_may_not_be_marked_is_not_created_twice(
    office: CalendarOffice,
) -> None:
    """Another person is its organiser."""
    await office.sync()
    event_id = office.enter("Einladung")
    office.strike("google", method="PATCH", path=event_id, status=403)
    await office.sync()

    await office.sync_until_calm()

    assert (office.texts(), office.termin_texts()) == (["Einladung"], ["Einladung"])
    assert (await office.pair()).google_event_id == event_id


@in_haste
async def test_a_deleted_imported_event_comes_back_under_another_id(
    office: CalendarOffice,
) -> None:
    """Google gives imported events ids under which it does not insert any."""
    await office.sync()
    calendar = office.calendar("SB")
    assert calendar is not None
    event = calendar.events.pop(office.enter("Einladung"))
    event.id = "_60q30c1g60o30e1i"
    calendar.events[event.id] = event
    await office.sync()
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    office.delete_event(event.id)

    await office.sync()

    assert (office.texts(), office.termin_texts()) == (["Einladung"], ["Einladung"])
    await office.sync_until_calm()


@in_haste
async def test_a_change_that_waits_is_not_forgotten_because_writing_it_fails(
    office: CalendarOffice,
) -> None:
    await office.sync()
    event_id = office.enter("alt")
    await office.sync()
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    office.change_event(event_id, summary="neu")
    await office.sync()
    await office.sync()
    await office.configure()
    office.strike("advoware", method="PUT", status=400, count=1)
    await office.sync()

    await office.sync()

    assert office.termin_texts() == ["neu"]


@in_haste
async def test_a_pair_that_another_run_has_stored_does_not_stop_the_others(
    office: CalendarOffice,
) -> None:
    await office.sync()
    first = office.termin("zuerst")
    office.termin("danach")
    row = Pair(uuid4(), "SB", first, None, "advoware")
    line = AuditLine(
        employee_kuerzel="SB", side="none", action="recorded", reason="by another run"
    )
    store = await office.store()
    async with held(
        office.google, office.try_sync(), method="POST", path="/events$"
    ) as running:
        await store.save_pair(row, line, office.now)
    summary = await running

    assert isinstance(summary, RunSummary)
    assert (summary.result, office.texts()) == ("failed", ["danach", "zuerst"])
    await office.sync_until_calm()
    assert (len(office.texts()), len(await office.pairs())) == (2, 2)


# -- the stores -------------------------------------------------------------------------------------------------------


@in_haste
async def test_redis_may_forget_everything_during_a_run(office: CalendarOffice) -> None:
    for number in range(3):
        office.termin(f"Termin {number}")
    flushed: list[asyncio.Future[Any]] = []
    redis = office.resources.redis

    summary = await office.meanwhile(
        "POST",
        "/events?",
        lambda: flushed.append(asyncio.ensure_future(redis.flushall())),
    )
    await asyncio.gather(*flushed)

    assert isinstance(summary, RunSummary | EntityBusy)
    await office.sync_until_calm()
    assert len(office.texts()) == 3


@asynccontextmanager
async def gate_to_redis(office: CalendarOffice) -> AsyncIterator[asyncio.Server]:
    """A way to Redis that can be closed."""
    settings = office.resources.settings.redis

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connect(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        open_writers.append(writer)
        far_reader, far_writer = await asyncio.open_connection(
            settings.host, settings.port
        )
        await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))

    open_writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    yield server
    server.close()
    for writer in open_writers:
        writer.transport.abort()


@in_haste
async def test_redis_may_stop_during_a_run(office: CalendarOffice) -> None:
    gate = gate_to_redis(office)
    server = await gate.__aenter__()
    await office.configure(
        REDIS_HOST="127.0.0.1", REDIS_PORT=server.sockets[0].getsockname()[1]
    )
    for number in range(8):
        office.termin(f"Termin {number}")
    stopped: list[asyncio.Future[Any]] = []

    result = await office.meanwhile(
        "POST",
        "/events?",
        lambda: stopped.append(asyncio.ensure_future(gate.__aexit__(None, None, None))),
    )
    await asyncio.gather(*stopped)

    assert isinstance(result, Unavailable | EntityBusy)
    office.forget_journals()
    with pytest.raises(Unavailable):
        await CalendarSync(resources=office.resources).sync_employee("SB")
    assert office.calls() == []
    await office.configure()
    await office.resources.calendar_redis.flushall()
    await office.sync_until_calm()
    assert (len(office.texts()), len(await office.pairs())) == (8, 8)


@in_haste
async def test_a_termin_without_readable_number_does_not_stop_the_others(
    office: CalendarOffice,
) -> None:
    office.termin("alt")
    await office.sync()
    rows = [
        {"frNr": "abc", "text": "kaputt"},
        {"text": "ohne Nummer"},
        office.record("alt") | {"text": "neu"},
    ]
    office.strike(
        "advoware", method="GET", path="/Termine", status=200, body=rows, count=1
    )

    await office.sync()

    assert office.texts() == ["neu"]


@in_haste
async def test_a_termin_that_google_cannot_hold_costs_nothing_once_it_has_left_the_window(
    office: CalendarOffice,
) -> None:
    await office.configure(CALENDAR_SYNC_DAYS_BACK=1)
    nightly = {"dauertermin": 1, "turnus": 1, "turnusArt": 2, "datumBis": "2026-04-20"}
    office.termin(
        "Nacht",
        day="2026-03-29",
        uhrzeitVon="01:30:00",
        uhrzeitBis="04:00:00",
        **nightly,
    )
    await office.sync()
    assert len(await office.pairs()) == 1
    office.now += timedelta(days=120)
    await office.sync()
    office.forget_journals()

    await office.sync()

    assert len(office.calls()) == 2


@in_haste
async def test_a_waiting_event_that_becomes_a_termins_content_takes_over_its_row(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    await office.sync()
    office.enter("Zahnarzt")
    fr_nr = office.termin("noch nicht")
    office.strike("google", method="POST", status=400, count=1)
    await office.sync()
    assert len(await office.pairs()) == 2
    clock = {"uhrzeitVon": "14:00:00", "uhrzeitBis": "15:00:00"}
    office.change_termin(fr_nr, text="Zahnarzt", notiz="", ort="", **clock)
    office.change_event(office.events("SB")[0]["id"], colorId="5")

    await office.sync_until_calm()

    assert (len(await office.pairs()), office.texts()) == (1, ["Zahnarzt"])


@pytest.mark.parametrize("how", ["cut", "upper"])
@in_haste
async def test_a_create_without_an_answer_is_found_although_its_text_was_altered(
    office: CalendarOffice, how: str
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION="false")
    await office.sync()
    office.enter("Besprechung mit Müller")
    office.strike(
        "advoware", method="POST", stored=[{"field": "text", "how": how, "to": 8}]
    )
    office.strike(
        "advoware", method="POST", path="/Termine", reset=True, when="after", count=9
    )
    await office.try_sync()
    assert len(office.termine()) == 1
    office.recover()
    office.now += timedelta(minutes=5)

    await office.sync_until_calm()

    assert len(office.termine()) == 1
    assert len(await office.pairs()) == 1
