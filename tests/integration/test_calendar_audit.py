"""The audit of the calendar sync, through its command line, against the twins and real PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from audit_office import PERSON, SECRET, AuditOffice, copy_of, timed
from odd_entries import ODD_ENTRIES, put_into_lists
from waiting import held

from config import PROJECT_ROOT, Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import ActiveFault, Fault, running
from sandbox.google.app import GoogleTwin
from services.calendar_sync.employees import EmployeeStore
from services.calendar_sync.model import untranslatable_error
from services.calendar_sync.run import LAST_SUCCESS, CalendarSync
from services.calendar_sync.sharing import OwnRule, SharingStore
from services.calendar_sync.store import Hold, Intent
from services.core import retry
from services.core.locks import record_lock
from services.values.advoware_protocol import BERLIN

SCRIPT = PROJECT_ROOT / "steps" / "advoware_cal_sync" / "audit_calendar_sync.py"
TOMORROW = datetime.now(BERLIN).date() + timedelta(days=1)


@pytest.fixture
async def office(
    advoware: AdvowareTwin, make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[AuditOffice]:
    async with running(google := GoogleTwin(empty=True, quota_per_minute=None)):
        opened = await AuditOffice.open(advoware, google, make_settings, tmp_path)
        yield opened
        await opened.close()


# -- verify-sync ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ODD_ENTRIES, ids=str)
@pytest.mark.parametrize(
    "command", ["verify-sync", "delete-duplicates", "list-calendars"]
)
async def test_an_entry_of_a_list_that_is_none_ends_no_audit(
    office: AuditOffice, command: str, odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.synced()
    put_into_lists(monkeypatch, odd)

    answer = await office.audit(command)

    assert answer.exit_code in {0, 1}
    assert answer.document["errors"] == []


async def test_an_office_in_step_is_clean_and_nothing_is_written(
    office: AuditOffice,
) -> None:
    await office.synced()
    await office.synced(3, abwesenheit=1)
    await office.synced(kuerzel="AI")
    office.forget_calls()

    answer = await office.audit("verify-sync")

    assert (
        answer.exit_code,
        answer.document["status"],
        answer.document["findings"],
    ) == (0, "clean", [])
    numbers = {
        row["employee_kuerzel"]: row["pairs"] for row in answer.document["employees"]
    }
    assert numbers == {"SB": 2, "AI": 1}
    assert office.writes() == []


async def test_a_whole_calendar_of_the_sample_firm_in_step_is_clean(
    office: AuditOffice,
) -> None:
    """Series, all-day and multi-day entries, days on which the clocks change, private ones, those of all employees."""
    office.advoware.empty = False
    office.advoware.load_seed()
    written = await office.write_all("SB")

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    assert answer.document["findings"] == []
    assert answer.document["employees"][0]["pairs"] == written > 30
    assert (await office.audit("find-duplicates", "--kuerzel", "SB")).document[
        "findings"
    ] == []
    assert (
        await office.audit("cleanup-orphaned", "--apply", "--kuerzel", "SB")
    ).document["findings"] == []


async def test_what_is_out_of_step_is_found(office: AuditOffice) -> None:
    new = office.termin()
    persons = await office.person_inserts("person1", timed(TOMORROW, "Zahnarzt"))
    edited = await office.synced()
    office.advoware.termine.edit(
        edited.advoware_frnr or 0, {"uhrzeitBis": "12:00:00", "ort": "Raum 2"}
    )
    exposed = await office.synced()
    office.advoware.termine.edit(exposed.advoware_frnr or 0, {"privat": 1})
    without_event = await office.synced()
    await office.person_deletes(without_event.google_event_id or "")
    without_termin = await office.synced()
    office.advoware.termine.remove(without_termin.advoware_frnr or 0)
    moved = await office.synced()
    office.advoware.termine.edit(moved.advoware_frnr or 0, {"anwalt": "AI"})

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    assert answer.exit_code == 1
    assert answer.findings() == {
        ("missing_in_google", new),
        ("missing_in_advoware", persons),
        ("contents_differ", edited.google_event_id),
        ("wrong_anonymisation", exposed.google_event_id),
        ("missing_in_google", without_event.google_event_id),
        ("missing_in_advoware", without_termin.google_event_id),
        ("wrong_employee", moved.google_event_id),
    }
    (different,) = [
        entry
        for entry in answer.document["findings"]
        if entry["kind"] == "contents_differ"
    ]
    assert different["reason"] == "different: time, ort"
    assert SECRET not in answer.stdout + answer.stderr


async def test_what_the_next_sync_is_to_mend_is_in_order_after_it(
    office: AuditOffice,
) -> None:
    office.advoware.empty = False
    office.advoware.load_seed()
    before = await office.audit("verify-sync", "--kuerzel", "SB")
    sync = CalendarSync(resources=office.resources)

    await sync.sync_employee("SB")
    synced = await office.audit("verify-sync", "--kuerzel", "SB")

    assert {entry["remedy"] for entry in before.document["findings"]} == {"next_sync"}
    assert (synced.exit_code, synced.document["findings"]) == (0, [])
    assert synced.document["employees"][0]["pairs"] == len(before.document["findings"])

    pairs = [
        pair
        for pair in await (await office.store()).load_pairs("SB")
        if pair.source_system == "advoware"
    ]
    await office.person_deletes(pairs[0].google_event_id or "")
    await office.person_changes(pairs[1].google_event_id or "", location="anderswo")
    office.advoware.termine.remove(pairs[2].advoware_frnr or 0)
    await office.insert(office.termin())
    broken = await office.audit("verify-sync", "--kuerzel", "SB")
    await sync.sync_employee("SB")
    healed = await office.audit("verify-sync", "--kuerzel", "SB")

    assert {entry["remedy"] for entry in broken.document["findings"]} == {"next_sync"}
    assert len(broken.document["findings"]) >= 4
    assert (healed.exit_code, healed.document["findings"]) == (0, [])


async def test_what_waits_or_failed_is_reported_with_its_reason(
    office: AuditOffice,
) -> None:
    failed = await office.synced()
    await office.remember(
        failed.advoware_frnr,
        failed.google_event_id,
        sync_id=failed.sync_id,
        sync_status="failed",
        error="Unavailable",
        attempts=3,
    )
    event = await office.person_inserts("person1", timed(TOMORROW, "Zahnarzt"))
    waiting = await office.remember(
        None, event, source_system="google", sync_status="pending"
    )
    strange = await office.person_inserts("person2", timed(TOMORROW, "Chor", 18))
    left_alone = await office.remember(
        None,
        strange,
        sync_status="failed",
        error=untranslatable_error("several weekdays"),
    )
    begun = Intent(
        employee_kuerzel="SB",
        google_event_id="person1",
        sync_id=waiting.sync_id,
        content_hash="h",
        first_day=TOMORROW,
        started_at=datetime.now(UTC),
    )
    await (await office.store()).begin_intent(begun)

    answer = await office.audit("verify-sync", "--kuerzel", "sb")

    assert answer.exit_code == 1
    reasons = {
        (entry["kind"], entry["sync_id"]): entry["reason"]
        for entry in answer.document["findings"]
    }
    assert reasons == {
        ("failed", str(failed.sync_id)): "Unavailable, 3 attempts",
        ("pending", str(waiting.sync_id)): "may not be written to Advoware",
        ("untranslatable", str(left_alone.sync_id)): "several weekdays",
        (
            "open_intent",
            str(waiting.sync_id),
        ): "a create in Advoware was begun (1 attempts), its result is unknown",
    }


async def test_what_a_list_lacks_is_read_directly_before_it_counts_as_missing(
    office: AuditOffice,
) -> None:
    await office.synced()
    await office.strike(
        office.advoware, path="/Termine$", query="kuerzel=", empty_list=True
    )
    await office.strike(office.google, path="/events$", empty_list=True)

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    assert (answer.exit_code, answer.document["findings"]) == (0, [])


async def test_deletions_that_the_sync_holds_back_are_reported(
    office: AuditOffice,
) -> None:
    pairs = [await office.synced() for _ in range(6)]
    for pair in pairs:
        office.advoware.termine.remove(pair.advoware_frnr or 0)

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    held = [
        entry["reason"]
        for entry in answer.document["findings"]
        if entry["kind"] == "deletions_held"
    ]
    assert held == [
        "Advoware lists no Termine, 6 pairs are live; the sync deletes nothing"
    ]


async def test_a_calendar_that_is_gone_makes_no_single_appointment_missing(
    office: AuditOffice,
) -> None:
    await office.synced()
    del office.google.world.calendars.calendars[office.calendars["SB"]]

    verified = await office.audit("verify-sync", "--kuerzel", "SB")
    cleaned = await office.audit("cleanup-orphaned", "--apply", "--kuerzel", "SB")

    assert [entry["kind"] for entry in verified.document["findings"]] == [
        "calendar_missing"
    ]
    assert [entry["kind"] for entry in cleaned.document["findings"]] == [
        "calendar_missing"
    ]
    assert len(await (await office.store()).load_pairs("SB")) == 1


# -- duplicates -------------------------------------------------------------------------------------------------------


async def test_only_surplus_copies_that_the_sync_made_are_deleted(
    office: AuditOffice,
) -> None:
    paired = await office.synced()
    frnr, original = paired.advoware_frnr or 0, paired.google_event_id or ""
    copies = {
        await office.insert(frnr, "ours00001"),
        await office.insert(frnr, "ours00002", sync_id=paired.sync_id),
    }
    same_pair = await office.insert(
        office.termin(5), "ours00003", sync_id=paired.sync_id
    )
    unpaired = office.termin(7)
    first_choice = await office.insert(unpaired)
    second_choice = await office.insert(unpaired, "a0000")
    shown = await office.api.get_event(office.calendars["SB"], original)
    by_hand = await office.person_inserts("person1", copy_of(shown))
    same_text = await office.person_inserts(
        "person2", {**copy_of(shown), "extendedProperties": {}}
    )
    await office.synced(kuerzel="AI")
    office.forget_calls()

    found = await office.audit("find-duplicates")
    dry = await office.audit("delete-duplicates")

    surplus = {*copies, same_pair, second_choice}
    assert found.exit_code == dry.exit_code == 1
    assert found.findings() == {
        *(("duplicate_event", event) for event in {*surplus, by_hand}),
        ("same_content", same_text),
    }
    assert {entry["google_event_id"] for entry in dry.document["changes"]} == surplus
    assert dry.removed() == set()
    assert office.writes() == []

    applied = await office.audit("delete-duplicates", "--apply")

    assert applied.removed() == surplus
    assert await office.events() == {original, first_choice, by_hand, same_text}
    assert applied.exit_code == 1  # what people have made is for them to delete
    assert applied.findings() == {
        ("duplicate_event", by_hand),
        ("same_content", same_text),
    }
    assert all(call.startswith("DELETE /calendar/v3/") for call in office.writes())
    lines = await (await office.store()).history(frnr=frnr)
    deleted = {
        (line.google_event_id, line.side, line.reason)
        for line in lines
        if line.action == "deleted"
    }
    assert deleted == {
        *(
            (event, "google", f"audit, duplicate_event: same frNr {frnr} as {original}")
            for event in copies
        ),
        (same_pair, "google", f"audit, duplicate_event: same sync_id as {original}"),
    }

    await office.person_deletes(by_hand)
    await office.person_deletes(same_text)
    again = await office.audit("delete-duplicates", "--apply")
    assert (again.exit_code, again.document["changes"]) == (0, [])


async def test_blocked_time_that_is_the_same_by_chance_is_no_duplicate(
    office: AuditOffice,
) -> None:
    for _ in range(2):
        termin = office.termin(privat=1)
        event = await office.insert(
            termin, summary="Advoware", description=None, location=None
        )
        await office.remember(termin, event)

    assert (await office.audit("find-duplicates", "--kuerzel", "SB")).exit_code == 0


async def test_a_termin_that_was_created_twice_is_left_to_a_person(
    office: AuditOffice,
) -> None:
    event = await office.person_inserts("person1", timed(TOMORROW, "Zahnarzt"))
    created, twice = office.termin(text="Zahnarzt"), office.termin(text="Zahnarzt")
    await office.remember(created, event, source_system="google")
    office.forget_calls()

    answer = await office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")

    assert answer.exit_code == 1
    assert answer.findings() == {("duplicate_termin", twice)}
    assert office.writes() == []


# -- orphans ----------------------------------------------------------------------------------------------------------


async def test_only_what_is_certainly_orphaned_is_cleaned_up(
    office: AuditOffice,
) -> None:
    for day in range(3, 6):
        await office.synced(day)
    gone = office.termin()
    event_of_gone, by_hand = await office.insert(gone), ""
    by_hand = await office.person_inserts(
        "person1",
        copy_of(await office.api.get_event(office.calendars["SB"], event_of_gone)),
    )
    office.advoware.termine.remove(gone)
    shown_elsewhere = await office.synced()
    old_event = await office.insert(shown_elsewhere.advoware_frnr or 0, "old00001")
    not_yet_remembered = await office.insert(office.termin(2))
    reassigned = await office.synced(kuerzel="AI")
    left_behind = await office.insert(reassigned.advoware_frnr or 0)
    nothing_left = await office.synced()
    office.advoware.termine.remove(nothing_left.advoware_frnr or 0)
    await office.person_deletes(nothing_left.google_event_id or "")
    event_lost = await office.synced(6)
    await office.person_deletes(event_lost.google_event_id or "")
    termin_lost = await office.synced(6)
    office.advoware.termine.remove(termin_lost.advoware_frnr or 0)
    before = await office.events()
    office.forget_calls()

    found = await office.audit("find-orphaned")
    dry = await office.audit("cleanup-orphaned")

    orphaned_events = {event_of_gone, old_event, left_behind}
    stays = {
        ("event_without_pair", by_hand),
        ("event_without_pair", not_yet_remembered),
        ("pair_without_event", event_lost.google_event_id),
        ("pair_without_termin", termin_lost.google_event_id),
    }
    removable = {
        *(("event_without_pair", event) for event in orphaned_events),
        ("pair_without_both", nothing_left.google_event_id),
    }
    assert found.exit_code == dry.exit_code == 1
    assert found.findings() == dry.findings() == stays | removable
    assert office.writes() == []
    assert await office.actions(nothing_left.sync_id) == [("created", "google")]

    applied = await office.audit("cleanup-orphaned", "--apply")

    assert applied.removed() == {*orphaned_events, str(nothing_left.sync_id)}
    assert (applied.exit_code, applied.findings()) == (1, stays)
    assert await office.events() == before - orphaned_events
    assert {call.split()[0] for call in office.writes()} == {"DELETE"}
    assert len(office.writes()) == len(orphaned_events)
    assert await office.actions(nothing_left.sync_id) == [
        ("created", "google"),
        ("deleted", "none"),
    ]
    assert nothing_left.sync_id not in {
        pair.sync_id for pair in await (await office.store()).load_pairs("SB")
    }

    again = await office.audit("cleanup-orphaned", "--apply")
    assert (again.document["changes"], again.findings()) == ([], stays)


async def test_a_cleaned_up_calendar_is_clean(office: AuditOffice) -> None:
    await office.synced()
    gone = office.termin()
    await office.insert(gone)
    office.advoware.termine.remove(gone)

    first = await office.audit("cleanup-orphaned", "--apply", "--kuerzel", "SB")
    second = await office.audit("find-orphaned", "--kuerzel", "SB")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert len(first.document["changes"]) == 1


async def test_an_event_of_a_termin_outside_of_the_window_is_no_orphan(
    office: AuditOffice,
) -> None:
    await office.synced(-60)
    await office.insert(office.termin(-60))
    office.forget_calls()

    answer = await office.audit("cleanup-orphaned", "--apply", "--kuerzel", "SB")

    assert {entry["remedy"] for entry in answer.document["findings"]} == {"next_sync"}
    assert office.writes() == []


async def test_an_empty_answer_of_advoware_is_no_reason_to_clean_up(
    office: AuditOffice,
) -> None:
    for _ in range(6):
        await office.synced()
    orphan = await office.insert(gone := office.termin())
    office.advoware.termine.remove(gone)
    await office.strike(office.advoware, path="/Termine$", empty_list=True)
    office.forget_calls()

    refused = await office.audit("cleanup-orphaned", "--apply", "--kuerzel", "SB")

    assert refused.exit_code == 2
    assert "Advoware lists no Termine" in refused.document["errors"][0]["message"]
    assert office.writes() == []
    assert orphan in await office.events()


async def test_more_deletions_than_are_believed_need_a_number(
    office: AuditOffice,
) -> None:
    gone = [office.termin() for _ in range(6)]
    orphans = {await office.insert(frnr) for frnr in gone}
    for frnr in gone:
        office.advoware.termine.remove(frnr)

    dry = await office.audit("cleanup-orphaned", "--kuerzel", "SB")
    refused = await office.audit(
        "cleanup-orphaned", "--apply", "--kuerzel", "SB", as_json=False
    )

    assert dry.exit_code == 1
    assert {entry["result"] for entry in dry.document["changes"]} == {
        "6 deletions are more than 5; if they are right: --max-deletions 6"
    }
    assert refused.exit_code == 2
    assert "error: SB: 6 deletions are more than 5" in refused.stderr
    assert await office.events() == orphans

    allowed = await office.audit(
        "cleanup-orphaned", "--apply", "--kuerzel", "SB", "--max-deletions", "6"
    )
    assert (allowed.exit_code, allowed.removed(), await office.events()) == (
        0,
        orphans,
        set(),
    )


# -- side by side with others -----------------------------------------------------------------------------------------


async def test_while_a_sync_is_at_work_nothing_is_cleaned_up(
    office: AuditOffice,
) -> None:
    paired = await office.synced()
    copy = await office.insert(paired.advoware_frnr or 0, "ours00001")
    office.forget_calls()

    redis = office.resources.calendar_redis
    async with record_lock(office.resources, "calendar_sync:lock:SB", 30, redis=redis):
        refused = await office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")
        looked = await office.audit("verify-sync", "--kuerzel", "SB")

    assert refused.exit_code == 2
    assert refused.document["errors"] == [
        {
            "employee_kuerzel": "SB",
            "message": "a sync of this employee is at work; try again in a minute",
        }
    ]
    assert office.writes() == []
    assert looked.document["employees"][0]["sync_is_running"] is True
    assert (
        await office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")
    ).removed() == {copy}
    assert await redis.get("calendar_sync:lock:SB") is None


async def test_a_copy_that_a_person_changes_in_the_last_moment_stays(
    office: AuditOffice,
) -> None:
    paired = await office.synced()
    copy = await office.insert(paired.advoware_frnr or 0, "ours00001")
    work = office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")
    async with held(office.google, work, method="DELETE", path="/events/") as cleaning:
        await office.person_changes(copy, summary="verschoben")
    answer = await cleaning

    assert (answer.exit_code, answer.findings()) == (1, {("duplicate_event", copy)})
    assert answer.document["changes"][0]["result"] == "was changed in the meantime"
    assert copy in await office.events()
    assert await office.actions(paired.sync_id) == [("created", "google")]


async def test_a_deletion_whose_answer_is_lost_is_done_once_and_recorded(
    office: AuditOffice,
) -> None:
    paired = await office.synced()
    copy = await office.insert(
        paired.advoware_frnr or 0, "ours00001", sync_id=paired.sync_id
    )
    await office.strike(
        office.google,
        method="DELETE",
        path="/events/",
        status=503,
        when="after",
        count=1,
    )

    answer = await office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")

    assert (answer.exit_code, answer.removed()) == (0, {copy})
    assert await office.actions(paired.sync_id) == [
        ("created", "google"),
        ("deleted", "google"),
    ]


async def test_a_deletion_of_unknown_fate_is_recorded_as_such(
    office: AuditOffice,
) -> None:
    paired = await office.synced()
    await office.insert(paired.advoware_frnr or 0, "ours00001", sync_id=paired.sync_id)
    await office.strike(office.google, method="DELETE", path="/events/", status=403)

    answer = await office.audit("delete-duplicates", "--apply", "--kuerzel", "SB")

    assert answer.exit_code == 2
    assert answer.findings() == {("duplicate_event", "ours00001")}
    assert await office.actions(paired.sync_id) == [
        ("created", "google"),
        ("failed", "google"),
    ]


# -- questions --------------------------------------------------------------------------------------------------------


async def test_all_about_a_termin_is_reported_without_its_text(
    office: AuditOffice,
) -> None:
    pair = await office.synced()
    copy = await office.insert(pair.advoware_frnr or 0, "ours00001")
    office.forget_calls()

    answer = await office.audit("query-frnr", str(pair.advoware_frnr))

    reported = answer.document
    assert (answer.exit_code, answer.findings()) == (1, {("event_without_pair", copy)})
    assert [(row["sync_id"], row["sync_status"]) for row in reported["pairs"]] == [
        (str(pair.sync_id), "synced")
    ]
    assert {row["google_event_id"] for row in reported["google"]} == {
        pair.google_event_id,
        copy,
    }
    assert reported["advoware"]["start"].startswith(f"{TOMORROW.isoformat()}T10:00:00")
    assert {row["content_hash"] for row in reported["google"]} == {
        reported["advoware"]["content_hash"]
    }
    assert [line["action"] for line in reported["history"]] == ["created"]
    assert SECRET not in answer.stdout
    assert office.writes() == []

    by_event = (await office.audit("query-event", copy)).document
    for part in ("pairs", "advoware", "history"):
        assert by_event[part] == reported[part]
    shown = await office.audit(
        "query-frnr", str(pair.advoware_frnr), "--show-text", as_json=False
    )
    assert SECRET in shown.stdout


async def test_all_about_an_event_is_reported_also_after_its_deletion(
    office: AuditOffice,
) -> None:
    pair = await office.synced()
    await office.person_deletes(pair.google_event_id or "")

    answer = await office.audit("query-event", str(pair.google_event_id))

    reported = answer.document
    assert (answer.exit_code, answer.findings()) == (
        1,
        {("missing_in_google", pair.google_event_id)},
    )
    assert reported["google"][0]["cancelled"] is True
    assert reported["advoware"]["advoware_frnr"] == pair.advoware_frnr
    assert [row["sync_id"] for row in reported["pairs"]] == [str(pair.sync_id)]


async def test_an_event_without_a_row_is_found_in_its_calendar(
    office: AuditOffice,
) -> None:
    frnr = office.termin()
    event = await office.insert(frnr)

    office.advoware.termine.remove(frnr)
    by_event = await office.audit("query-event", event)
    by_frnr = await office.audit("query-frnr", str(frnr))

    reported = by_event.document
    assert by_event.findings() == by_frnr.findings() == {("event_without_pair", event)}
    assert reported["google"] == by_frnr.document["google"]
    assert [
        (row["employee_kuerzel"], row["advoware_frnr"]) for row in reported["google"]
    ] == [("SB", frnr)]
    assert reported["advoware"] is None


@pytest.mark.parametrize(
    "question", [("query-frnr", "4711"), ("query-event", "abcdef"), ("history", "4711")]
)
async def test_what_no_one_knows_is_a_finding(
    office: AuditOffice, question: tuple[str, str]
) -> None:
    answer = await office.audit(*question)

    assert (
        answer.exit_code,
        [entry["kind"] for entry in answer.document["findings"]],
    ) == (1, ["unknown"])


async def test_the_history_is_reported_by_pair_and_by_termin(
    office: AuditOffice,
) -> None:
    pair = await office.synced()
    await office.remember(
        pair.advoware_frnr, pair.google_event_id, sync_id=pair.sync_id, attempts=1
    )

    by_pair = await office.audit("history", str(pair.sync_id))
    by_frnr = await office.audit("history", str(pair.advoware_frnr))

    assert by_pair.exit_code == by_frnr.exit_code == 0
    assert by_pair.document["history"] == by_frnr.document["history"]
    assert [line["action"] for line in by_pair.document["history"]] == [
        "created",
        "created",
    ]


async def test_the_numbers_of_each_employee(office: AuditOffice) -> None:
    done = await office.synced()
    await office.remember(
        done.advoware_frnr,
        done.google_event_id,
        sync_id=done.sync_id,
        sync_status="failed",
    )
    await office.synced(kuerzel="AI")
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    await office.resources.calendar_redis.hset(LAST_SUCCESS, "SB", an_hour_ago)

    answer = await office.audit("stats")

    rows = {row["employee_kuerzel"]: row for row in answer.document["employees"]}
    assert answer.exit_code == 0
    assert (rows["SB"]["live"], rows["SB"]["failed"], rows["AI"]["failed"]) == (1, 1, 0)
    assert 3600 <= rows["SB"]["age_seconds"] < 3720
    assert rows["AI"]["age_seconds"] is None
    assert rows["SB"]["calendar_id"] == office.calendars["SB"]


async def test_the_numbers_are_not_in_order_while_runs_fail_wait_or_do_not_come(
    office: AuditOffice,
) -> None:
    store, now = await office.store(), datetime.now(UTC)
    since = now - timedelta(hours=2)
    for moment in (since, now):
        await store.note_run(
            "SB", "failed", "Forbidden: Google Calendar answered 403", moment
        )
    await store.save_hold(
        Hold(
            employee_kuerzel="SB",
            reason="too_many",
            number=12,
            live_pairs=40,
            held_since=since,
        )
    )
    await store.note_run("AI", "changed", None, now - timedelta(minutes=46))
    await store.note_run("EX", "failed", "Forbidden", since)  # has left the firm

    answer = await office.audit("stats")
    as_text = await office.audit("stats", as_json=False)

    shown = since.astimezone(BERLIN).isoformat(timespec="minutes")
    findings = {
        (entry["kind"], entry["employee_kuerzel"]): entry["reason"]
        for entry in answer.document["findings"]
    }
    assert answer.exit_code == as_text.exit_code == 1
    assert findings.keys() == {
        ("run_failed", "SB"),
        ("deletions_held", "SB"),
        ("run_overdue", "AI"),
    }
    assert (
        findings["run_failed", "SB"]
        == f"Forbidden: Google Calendar answered 403; 2 runs in a row since {shown}"
    )
    assert findings["deletions_held", "SB"].startswith(
        f"12 of 40 appointments wait since {shown} (too_many); "
    )
    assert (
        "bitbylaw audit release-held --kuerzel SB --apply"
        in findings["deletions_held", "SB"]
    )
    rows = {row["employee_kuerzel"]: row for row in answer.document["employees"]}
    assert (rows["SB"]["run"], rows["SB"]["failures"], rows["SB"]["held"]) == (
        "failed",
        2,
        12,
    )
    assert (rows["EX"]["run"], rows["EX"]["code"]) == ("failed", "Forbidden")
    assert "in order" not in as_text.stdout
    narrowed = await office.audit("stats", "--kuerzel", "AI")
    assert narrowed.findings() == {("run_overdue", None)}


async def test_who_never_had_a_run_is_not_in_order(office: AuditOffice) -> None:
    answer = await office.audit(
        "stats", variables={"CALENDAR_SYNC_DEBUG_KUERZEL": "SB,AI,MK"}
    )

    known = {row["employee_kuerzel"] for row in answer.document["employees"]}
    assert [
        (entry["kind"], entry["employee_kuerzel"])
        for entry in answer.document["findings"]
    ] == [("run_overdue", kuerzel) for kuerzel in sorted(known - {"SB", "AI"})]


async def test_a_released_hold_is_shown_and_is_in_order(office: AuditOffice) -> None:
    store, now = await office.store(), datetime.now(UTC)
    await store.save_hold(
        Hold(
            employee_kuerzel="SB",
            reason="too_many",
            number=12,
            live_pairs=40,
            held_since=now,
        )
    )
    await store.release_hold("SB", now)

    answer = await office.audit("stats", "--kuerzel", "SB")

    (row,) = answer.document["employees"]
    assert (answer.exit_code, row["held"], row["released_at"]) == (
        0,
        12,
        now.isoformat(),
    )


async def test_without_advoware_the_numbers_are_reported_all_the_same(
    office: AuditOffice,
) -> None:
    await (await office.store()).note_run(
        "SB", "failed", "Forbidden", datetime.now(UTC)
    )
    await office.strike(office.advoware, path="/Mitarbeiter", status=503)

    answer = await office.audit("stats")

    assert (answer.exit_code, answer.findings()) == (2, {("run_failed", None)})
    assert {row["employee_kuerzel"] for row in answer.document["employees"]} == {
        "SB",
        "AI",
    }
    assert (
        "whom the sync covers is not known" in answer.document["errors"][0]["message"]
    )


async def test_the_calendars_and_what_is_wrong_with_them(office: AuditOffice) -> None:
    await office.api.insert_acl(office.calendars["SB"], "reader", "sb@example.de")
    assert (await office.audit("list-calendars")).exit_code == 0
    second = await office.new_calendar("AW-AI")
    former = await office.new_calendar("AW-XY")
    await office.api.insert_acl(former, "writer", "xy@example.de")
    office.forget_calls()

    answer = await office.audit(
        "list-calendars", variables={"GOOGLE_CALENDAR_ACL": "reader:SB@example.de"}
    )

    found = {
        (entry["kind"], entry["employee_kuerzel"], entry["calendar_id"])
        for entry in answer.document["findings"]
    }
    assert answer.exit_code == 1
    assert found == {
        ("duplicate_calendar", "AI", second),
        ("calendar_without_employee", "XY", former),
        ("shared_without_employee", "XY", former),
        ("missing_acl", "AI", office.calendars["AI"]),
    }
    assert all(len(entry["reason"]) > 10 for entry in answer.document["findings"])
    rows = {row["calendar_id"]: row for row in answer.document["calendars"]}
    assert "reader:sb@example.de" in rows[office.calendars["SB"]]["sharing"]
    assert rows[office.calendars["SB"]]["by_hand"] == ["reader:sb@example.de"]
    assert [rows[each]["cached"] for each in (office.calendars["AI"], second)] == [
        True,
        False,
    ]
    assert office.writes() == []


async def test_sharing_and_descriptions_are_compared_with_the_configuration(
    office: AuditOffice,
) -> None:
    calendar, sharing = (
        office.calendars["SB"],
        SharingStore(await office.resources.database()),
    )
    for email, role in (
        ("own@x.de", "reader"),
        ("stale@x.de", "reader"),
        ("hand@x.de", "writer"),
    ):
        await office.api.insert_acl(calendar, role, email)
    for email in ("own@x.de", "stale@x.de"):
        await sharing.save(
            calendar, OwnRule(email, f"user:{email}", "reader", datetime.now(UTC))
        )
    await office.api.patch_calendar(calendar, {"description": "Meine Termine"})
    await office.api.patch_calendar(office.calendars["AI"], {"description": ""})
    office.forget_calls()
    acl = (
        "SB:writer:own@x.de,SB:reader:hand@x.de,SB:reader:new@x.de,sb:reader:typo@x.de"
    )

    answer = await office.audit(
        "list-calendars", variables={"GOOGLE_CALENDAR_ACL": acl}
    )

    found = [
        (each["employee_kuerzel"], each["kind"], each["remedy"])
        for each in answer.document["findings"]
    ]
    assert sorted(found) == [
        ("AI", "description_not_true", "next_sync"),
        ("SB", "description_not_true", "person"),
        ("SB", "missing_acl", "next_sync"),
        ("SB", "surplus_acl", "next_sync"),
        ("SB", "wrong_role", "next_sync"),
        ("SB", "wrong_role", "person"),
        ("sb", "acl_without_employee", "person"),
    ]
    assert office.writes() == []


async def test_a_calendar_of_another_person_with_our_name_is_reported_and_stops_nothing(
    office: AuditOffice,
) -> None:
    foreign = office.google.world.calendars.insert(
        PERSON, {"summary": "AW-SB", "timeZone": "Europe/Berlin"}
    )
    rule = {
        "role": "reader",
        "scope": {
            "type": "user",
            "value": office.google.service_account()["client_email"],
        },
    }
    office.google.world.calendars.share(PERSON, foreign, rule)
    account = office.google.service_account()["client_email"]
    office.google.world.calendars.subscribe(account, foreign.id)

    answer = await office.audit("list-calendars")

    assert [
        (each["kind"], each["calendar_id"]) for each in answer.document["findings"]
    ] == [("calendar_not_owned", foreign.id)]


async def test_who_has_another_kuerzel_or_left_is_reported_with_a_remedy(
    office: AuditOffice,
) -> None:
    store = EmployeeStore(await office.resources.database())
    names = {employee.kuerzel: employee.name for employee in office.advoware.employees}
    await store.remember({"SB": names["SB"], "AI": names["AI"]}, datetime.now(UTC))
    people = {employee.kuerzel: employee for employee in office.advoware.employees}

    def listed(**changes: str) -> None:
        others = [
            each for kuerzel, each in people.items() if kuerzel not in {"SB", "AI"}
        ]
        changed = [
            replace(people["SB"], kuerzel=kuerzel, name=names[of])
            for kuerzel, of in changes.items()
        ]
        office.advoware.employees = (*changed, *others)

    async def reported() -> list[tuple[str, str, str]]:
        document = (await office.audit("list-calendars")).document
        return [
            (each["employee_kuerzel"], each["kind"], each["remedy"])
            for each in document["findings"]
        ]

    listed(SBN="SB", AI="AI")
    assert await reported() == [("SB", "calendar_without_employee", "next_sync")]
    listed(SB="AI", AI="SB")
    assert await reported() == [
        ("AI", "kuerzel_unclear", "person"),
        ("SB", "kuerzel_unclear", "person"),
    ]
    listed(AI="AI")
    assert await reported() == [("SB", "calendar_without_employee", "person")]
    assert [known.name for known in await store.known()] == [
        names["AI"],
        names["SB"],
    ]  # a question writes nothing


@pytest.mark.parametrize(
    "question",
    [
        "verify-sync",
        "find-duplicates",
        "find-orphaned",
        "list-calendars",
        "stats",
        "history",
    ],
)
async def test_each_answer_can_be_read_by_people(
    office: AuditOffice, question: str
) -> None:
    pair = await office.synced()
    copy = await office.insert(pair.advoware_frnr or 0, "ours00001")
    arguments = [str(pair.sync_id)] if question == "history" else []

    answer = await office.audit(question, *arguments, as_json=False)

    has_findings = question in {"verify-sync", "find-duplicates", "find-orphaned"}
    assert answer.exit_code == int(has_findings)
    assert answer.stdout.splitlines()[-1] == (
        "1 finding" if has_findings else "in order"
    )
    assert (copy in answer.stdout) == has_findings
    assert "SB" in answer.stdout
    assert answer.stderr == ""


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        (
            {"GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": ""},
            "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH",
        ),
        ({"GOOGLE_CALENDAR_API_ENDPOINT": "http://127.0.0.1:9"}, "GOOGLE_CALENDAR_"),
        ({"ADVOWARE_API_BASE_URL": "http://127.0.0.1:9"}, "ADVOWARE_"),
        ({"ADVOWARE_PASSWORD": "topsecret"}, "ADVOWARE_"),
        ({"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": "9"}, "POSTGRES_"),
        ({"POSTGRES_DB_NAME": "nowhere"}, "POSTGRES_"),
        ({"REDIS_PORT": "9"}, "REDIS_"),
        ({"REDIS_PASSWORD": "topsecret"}, "REDIS_"),
        ({"REDIS_PORT": "many"}, "REDIS_PORT"),
    ],
)
async def test_an_error_names_what_to_mend_and_no_secret(
    office: AuditOffice,
    variables: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "THROTTLED_ATTEMPTS", 2)
    await office.resources.redis.flushall()  # no token of an earlier login

    as_json = await office.audit("verify-sync", "--kuerzel", "SB", variables=variables)
    as_text = await office.audit(
        "verify-sync", "--kuerzel", "SB", as_json=False, variables=variables
    )

    assert as_json.exit_code == as_text.exit_code == 2
    assert as_json.document["status"] == "error"
    assert {
        "command",
        "status",
        "checked_at",
        "findings",
        "changes",
        "errors",
    } <= as_json.document.keys()
    assert named in as_json.document["errors"][0]["message"]
    assert named in as_text.stderr
    output = as_json.stdout + as_json.stderr + as_text.stdout + as_text.stderr
    assert "Traceback" not in output
    assert "topsecret" not in output


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify-sync", "--kuerzel", "QQ"),
        ("history", "neither"),
        ("query-frnr", "0"),
        ("find-orphaned", "--apply"),
    ],
)
async def test_unusable_input_is_an_error(
    office: AuditOffice, arguments: tuple[str, ...]
) -> None:
    answer = await office.audit(*arguments)

    assert answer.exit_code == 2
    assert "Traceback" not in answer.stdout + answer.stderr


# -- the two ways to call it ------------------------------------------------------------------------------------------


async def test_a_progress_bar_is_only_for_a_terminal(
    office: AuditOffice, tmp_path: Path
) -> None:
    terminal, stderr = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), "verify-sync", "--json"),
        env=office.environment() | {"TERM": "xterm"},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    stdout, _ = await asyncio.wait_for(process.communicate(), 60)
    os.close(stderr)
    os.set_blocking(terminal, False)
    drawn = os.read(terminal, 100_000)
    os.close(terminal)

    assert json.loads(stdout)["status"] == "clean"
    assert b"employees" in drawn


@pytest.mark.parametrize(
    "program",
    [
        (sys.executable, str(SCRIPT)),
        (str(Path(sys.executable).with_name("bitbylaw")), "audit"),
    ],
    ids=["script", "bitbylaw"],
)
async def test_both_programs_print_one_document_and_report_by_their_exit_code(
    office: AuditOffice, program: tuple[str, ...], tmp_path: Path
) -> None:
    async def run(*arguments: str) -> tuple[int | None, Any]:
        process = await asyncio.create_subprocess_exec(
            *program,
            *arguments,
            "--json",
            env=office.environment(),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await asyncio.wait_for(process.communicate(), 60)
        assert stderr == b""  # no progress bar without a terminal
        return process.returncode, json.loads(stdout)

    paired = await office.synced()
    code, document = await run("verify-sync", "--kuerzel", "SB")
    assert (code, document["status"], document["findings"]) == (0, "clean", [])

    copy = await office.insert(paired.advoware_frnr or 0, "ours00001")
    code, document = await run("delete-duplicates", "--kuerzel", "SB")
    assert (code, [change["done"] for change in document["changes"]]) == (1, [False])
    code, document = await run("delete-duplicates", "--apply", "--kuerzel", "SB")
    assert (code, [change["google_event_id"] for change in document["changes"]]) == (
        0,
        [copy],
    )
    code, document = await run(
        "delete-duplicates", "--apply", "--max-deletions", "5", "--kuerzel", "QQ"
    )
    assert (code, document["status"]) == (2, "error")
    assert await office.events() == {paired.google_event_id}


@pytest.mark.parametrize(
    "alteration",
    [
        {"how": "value", "to": "A-17"},
        {"how": "null"},
        {"how": "missing"},
        {"how": "text"},
        {"how": "value", "to": 9999999999999999999999},
        {"how": "value", "to": [1]},
        {"how": "value", "to": 1.5},
    ],
)
@pytest.mark.parametrize(
    "command",
    ["verify-sync", "find-duplicates", "find-orphaned", "cleanup-orphaned", "stats"],
)
async def test_an_unreadable_frnr_does_not_end_the_audit(
    office: AuditOffice, alteration: dict[str, Any], command: str
) -> None:
    await office.synced()
    other = await office.synced(2)
    office.forget_calls()
    rule = {"field": "frNr", "where": {"frNr": other.advoware_frnr}, **alteration}
    office.advoware.faults.append(
        ActiveFault(Fault.model_validate({"path": "/Termine", "answer": [rule]}))
    )

    answer = await office.audit(command)

    assert answer.exit_code in {0, 1}, answer.stderr
    assert office.writes() == []
