"""Texts in Google that the rules hide: `bitbylaw audit verify-sync` finds each, inside and outside the window."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from audit_office import SECRET, AuditOffice, copy_of, timed

from config import Settings
from sandbox.advoware.app import AdvowareTwin
from sandbox.control import running
from sandbox.google.app import GoogleTwin
from services.calendar_sync.audit import reader
from services.calendar_sync.audit.findings import EmployeeAudit
from services.calendar_sync.audit.leaks import guessed_ends
from services.calendar_sync.mapping import google_body
from services.calendar_sync.model import (
    Fingerprint,
    Pair,
    Termin,
    Untranslatable,
    content_hash,
)
from services.calendar_sync.run import CalendarSync
from services.calendar_sync.store import Hold
from services.calendar_sync.view import (
    CalendarView,
    Confirmations,
    GoogleListing,
    PlanSettings,
)
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.values.advoware_protocol import BERLIN

TODAY = datetime.now(BERLIN).date()
INSIDE, PAST, LONG_PAST, FUTURE = 1, -30, -900, 1000
EVERYWHERE = pytest.mark.parametrize("day", [INSIDE, PAST, LONG_PAST, FUTURE])
OUTSIDE = pytest.mark.parametrize("day", [PAST, LONG_PAST, FUTURE])
#: Findings that say that an event must not stay as it is.
LEAKS = {
    "shows_too_much",
    "wrong_anonymisation",
    "wrong_employee",
    "missing_in_advoware",
}


@pytest.fixture
async def office(
    advoware: AdvowareTwin, make_settings: Callable[..., Settings], tmp_path: Path
) -> AsyncIterator[AuditOffice]:
    async with running(google := GoogleTwin(empty=True, quota_per_minute=None)):
        opened = await AuditOffice.open(advoware, google, make_settings, tmp_path)
        yield opened
        await opened.close()


async def leaks(office: AuditOffice, **variables: str) -> dict[str, str]:
    """Of which events verify-sync says that they must not stay as they are, with the reason."""
    office.forget_calls()
    answer = await office.audit("verify-sync", "--kuerzel", "SB", variables=variables)
    found = [entry for entry in answer.document["findings"] if entry["kind"] in LEAKS]
    assert answer.document["errors"] == []
    assert answer.exit_code == int(bool(answer.document["findings"]))
    assert SECRET not in answer.stdout + answer.stderr
    assert office.writes() == []
    assert len({entry["google_event_id"] for entry in found}) == len(found), (
        "reported twice"
    )
    return {entry["google_event_id"]: entry["reason"] for entry in found}


async def hidden(office: AuditOffice, day: int, **fields: Any) -> Pair:
    """A Termin of which Google shows blocked time only, with its row."""
    frnr, sync_id = office.termin(day, **{"privat": 1, **fields}), uuid4()
    shown = office.content(frnr).anonymise()
    event_id = await office.insert(
        frnr, sync_id=sync_id, **google_body(shown, frnr, sync_id)
    )
    fingerprint = Fingerprint(content_hash(shown))
    return await office.remember(
        frnr, event_id, sync_id=sync_id, google=fingerprint, **office.days(frnr)
    )


# -- what is reported -------------------------------------------------------------------------------------------------


@EVERYWHERE
async def test_a_termin_that_was_marked_as_private(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    await office.synced(day)
    office.advoware.termine.edit(pair.advoware_frnr or 0, {"privat": 1})

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
async def test_a_termin_that_belongs_to_another_person_by_now(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    await office.synced(day)
    office.advoware.termine.edit(pair.advoware_frnr or 0, {"anwalt": "AI"})

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
async def test_a_termin_that_was_deleted(office: AuditOffice, day: int) -> None:
    pair = await office.synced(day)
    await office.synced(day)
    office.advoware.termine.remove(pair.advoware_frnr or 0)

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
async def test_all_texts_once_the_firm_hides_them(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    await hidden(office, day)
    await office.person_inserts(
        "person1", timed(TODAY + timedelta(days=day), "Zahnarzt")
    )

    found = await leaks(office, CALENDAR_SYNC_ANONYMIZE="true")

    assert found.keys() - {"person1"} == {
        pair.google_event_id
    }  # a person's event is new, not the sync's
    assert "may be shown" not in found.get("person1", "")


@EVERYWHERE
async def test_all_texts_of_an_employee_of_whom_blocked_time_only_was_asked_for(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    notes = Notes(await office.resources.database())
    await notes.leave(calendar("SB"), frozenset({HIDE}), datetime.now(UTC))

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
@pytest.mark.parametrize("field", ["summary", "description", "location"])
async def test_what_a_user_has_typed_into_blocked_time(
    office: AuditOffice, day: int, field: str
) -> None:
    pair = await hidden(office, day)
    await office.person_changes(
        pair.google_event_id or "", **{field: f"{SECRET} Müller"}
    )

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
async def test_blocked_time_that_has_lost_its_mark_and_shows_a_text(
    office: AuditOffice, day: int
) -> None:
    pair = await hidden(office, day, privat=0)
    await office.person_changes(
        pair.google_event_id or "", summary=SECRET, extendedProperties=None
    )

    assert (await leaks(office)).keys() == {pair.google_event_id}


@EVERYWHERE
async def test_a_private_one_whose_event_advoware_cannot_hold(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    office.advoware.termine.edit(pair.advoware_frnr or 0, {"privat": 1})
    await office.person_changes(
        pair.google_event_id or "", recurrence=["RRULE:FREQ=WEEKLY;BYDAY=MO,TU;COUNT=3"]
    )

    assert pair.google_event_id in await leaks(office)


@pytest.mark.parametrize("day", [INSIDE, LONG_PAST, FUTURE])
async def test_the_single_occurrence_of_a_hidden_series(
    office: AuditOffice, day: int
) -> None:
    until = TODAY + timedelta(days=day + 21)
    pair = await hidden(
        office, day, dauertermin=1, turnus=1, turnusArt=2, datumBis=until.isoformat()
    )
    second = datetime.combine(
        TODAY + timedelta(days=day + 7), datetime.min.time().replace(hour=10), BERLIN
    )
    occurrence = f"{pair.google_event_id}_{second.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    await office.person_changes(occurrence, summary=f"{SECRET} Müller")

    found = await leaks(office)

    assert found == {
        occurrence: "a single occurrence shows a text, but it was written as blocked time only"
    }


@EVERYWHERE
@pytest.mark.parametrize("what", ["private", "elsewhere", "deleted"])
async def test_the_copy_without_a_row_of_a_termin_that_must_not_be_shown(
    office: AuditOffice, day: int, what: str
) -> None:
    frnr = office.termin(day)
    event = await office.insert(frnr)
    if what == "deleted":
        office.advoware.termine.remove(frnr)
    else:
        office.advoware.termine.edit(
            frnr, {"privat": 1} if what == "private" else {"anwalt": "AI"}
        )

    assert (await leaks(office)).keys() == {event}


@pytest.mark.parametrize("day", [INSIDE, PAST])
@pytest.mark.parametrize("has_row", [True, False])
@pytest.mark.parametrize("has_termin", [True, False])
async def test_an_own_event_without_marks_once_all_texts_are_hidden(
    office: AuditOffice, day: int, *, has_row: bool, has_termin: bool
) -> None:
    frnr = office.termin(day)
    event = await office.insert(frnr, extendedProperties=None)
    if has_row:
        days = office.days(frnr)
        await office.remember(None, event, source_system="google", **days)
    if not has_termin:
        office.advoware.termine.remove(frnr)

    assert (await leaks(office, CALENDAR_SYNC_ANONYMIZE="true")).keys() == {event}

    for _ in range(2):
        sync = CalendarSync(resources=office.resources)
        await sync.sync_employee("SB", full_content=False)

    assert await leaks(office, CALENDAR_SYNC_ANONYMIZE="true") == {}
    kept = await (await office.store()).overwritten(datetime.min.replace(tzinfo=UTC))
    assert has_termin or SECRET in str([each.resource for each in kept])


async def test_an_own_event_without_marks_whose_termin_is_private(
    office: AuditOffice,
) -> None:
    event = await office.insert(
        office.termin(INSIDE, privat=1), extendedProperties=None
    )

    assert (await leaks(office)).keys() == {event}


@OUTSIDE
async def test_a_persons_copy_of_a_paired_event_that_is_private_by_now(
    office: AuditOffice, day: int
) -> None:
    pair = await office.synced(day)
    body = copy_of(
        await office.api.get_event(office.calendars["SB"], pair.google_event_id or "")
    )
    del body["extendedProperties"]["private"][
        "advoware_frnr"
    ]  # the other mark still names the pair
    copy = await office.person_inserts("person1", body)
    office.advoware.termine.edit(pair.advoware_frnr or 0, {"privat": 1})

    assert (await leaks(office)).keys() == {pair.google_event_id, copy}


@OUTSIDE
@pytest.mark.parametrize("what", ["private", "elsewhere", "deleted", "typed"])
async def test_what_the_next_sync_is_to_mend_is_in_order_after_it(
    office: AuditOffice, day: int, what: str
) -> None:
    pair = await (hidden(office, day) if what == "typed" else office.synced(day))
    for _ in range(4):
        await office.synced(day)
    if what == "typed":
        await office.person_changes(pair.google_event_id or "", summary=SECRET)
    elif what == "deleted":
        office.advoware.termine.remove(pair.advoware_frnr or 0)
    else:
        office.advoware.termine.edit(
            pair.advoware_frnr or 0,
            {"privat": 1} if what == "private" else {"anwalt": "AI"},
        )
    assert (await leaks(office)).keys() == {pair.google_event_id}

    await CalendarSync(resources=office.resources).sync_employee("SB")

    assert await leaks(office) == {}


# -- what is not reported ---------------------------------------------------------------------------------------------


@EVERYWHERE
async def test_what_is_in_order_is_not_reported(office: AuditOffice, day: int) -> None:
    await office.synced(day)
    await office.synced(day, abwesenheit=1)
    await office.synced(day, anwalt="")
    await hidden(office, day)
    gone = await hidden(office, day)
    if day != INSIDE:
        office.advoware.termine.remove(
            gone.advoware_frnr or 0
        )  # blocked time reveals nothing
        await office.person_inserts(
            "person1", timed(TODAY + timedelta(days=day), "Zahnarzt")
        )

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    assert (answer.exit_code, answer.document["findings"]) == (0, [])


@EVERYWHERE
async def test_the_private_event_of_a_person_keeps_its_title(
    office: AuditOffice, day: int
) -> None:
    frnr, sync_id = office.termin(day, privat=1), uuid4()
    event = await office.insert(frnr, "person1", sync_id=sync_id, visibility="private")
    await office.remember(
        frnr, event, sync_id=sync_id, source_system="google", **office.days(frnr)
    )

    assert "shows_too_much" not in str(
        (await office.audit("verify-sync", "--kuerzel", "SB")).document["findings"]
    )


@OUTSIDE
async def test_the_event_of_a_person_whose_termin_was_deleted_is_his(
    office: AuditOffice, day: int
) -> None:
    frnr, sync_id = office.termin(day), uuid4()
    event = await office.insert(frnr, "person1", sync_id=sync_id)
    await office.remember(
        frnr, event, sync_id=sync_id, source_system="google", **office.days(frnr)
    )
    office.advoware.termine.remove(frnr)

    assert await leaks(office) == {}


# -- what it costs ----------------------------------------------------------------------------------------------------


async def test_two_lists_of_advoware_are_enough_for_all_that_is_there(
    office: AuditOffice,
) -> None:
    for day in (PAST, LONG_PAST, FUTURE, FUTURE + 300, INSIDE):
        await office.synced(day)

    assert await leaks(office) == {}

    asked = [
        entry["path"]
        for entry in office.advoware.journal
        if "/Termine" in entry["path"]
    ]
    assert len(asked) == 3
    assert not any("frnr" in path for path in asked)


async def test_what_could_not_be_read_is_reported(
    office: AuditOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_READS", 2)
    pairs = [await office.synced(PAST) for _ in range(5)]
    for pair in pairs:
        office.advoware.termine.edit(pair.advoware_frnr or 0, {"anwalt": "AI"})

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    kinds = sorted(entry["kind"] for entry in answer.document["findings"])
    assert kinds == ["not_checked", "shows_too_much", "shows_too_much"]
    (unread,) = [
        entry["reason"]
        for entry in answer.document["findings"]
        if entry["kind"] == "not_checked"
    ]
    assert unread.startswith("3 Termine outside the window")


async def test_a_termin_of_which_advoware_answers_nonsense_is_not_taken_for_one_in_order(
    office: AuditOffice,
) -> None:
    pair = await office.synced(PAST)
    office.advoware.termine.edit(pair.advoware_frnr or 0, {"anwalt": "AI"})
    await office.strike(
        office.advoware, path="/Termine$", query="frnr=", truncate_json=True
    )

    answer = await office.audit("verify-sync", "--kuerzel", "SB")

    assert [entry["kind"] for entry in answer.document["findings"]] == ["not_checked"]


# -- held work and guessed ends ----------------------------------------------------------------------------------------


async def test_held_work_is_reported_until_a_user_releases_it(
    office: AuditOffice,
) -> None:
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

    held = await office.audit("verify-sync", "--kuerzel", "SB")
    await store.release_hold("SB", now)
    released = await office.audit("verify-sync", "--kuerzel", "SB")

    assert held.findings() == {("deletions_held", None)}
    assert (
        "bitbylaw audit release-held --kuerzel SB --apply"
        in held.document["findings"][0]["reason"]
    )
    assert (released.exit_code, released.document["employees"][0]["released_at"]) == (
        0,
        now.isoformat(),
    )


async def test_a_guessed_end_is_named_once_and_is_no_disorder(
    office: AuditOffice,
) -> None:
    day = (TODAY + timedelta(days=1)).isoformat()
    odd = office.termin(
        anwalt="", uhrzeitVon="10:00:00", uhrzeitBis="08:00:00", datumBis=day
    )
    for kuerzel in ("SB", "AI"):
        event = await office.insert(odd, kuerzel=kuerzel)
        await office.remember(odd, event, employee_kuerzel=kuerzel, **office.days(odd))

    answer = await office.audit("verify-sync")

    assert (answer.exit_code, answer.document["findings"]) == (0, [])
    assert [
        (info["kind"], info["advoware_frnr"]) for info in answer.document["infos"]
    ] == [("end_guessed", odd)]


def test_an_end_that_was_guessed_is_named_once_wherever_its_termin_was_read() -> None:
    settings = PlanSettings("SB", "c1", TODAY, TODAY + timedelta(days=30))

    def termin(number: int, *notes: str) -> Termin:
        return Termin(number, Untranslatable("no matter"), None, "SB", {}, notes=notes)

    listing = GoogleListing([], full=True)
    view = CalendarView(
        settings, [termin(1, "end_guessed"), termin(2)], listing, [], Confirmations()
    )
    audit = EmployeeAudit(
        view,
        outside={
            1: termin(1, "end_guessed"),
            3: termin(3, "end_guessed", "another"),
            4: None,
        },
    )

    named = [
        (info.kind, info.advoware_frnr, info.remedy) for info in guessed_ends(audit)
    ]

    assert named == [("end_guessed", 1, "person"), ("end_guessed", 3, "person")]
