"""Employees who get another Kürzel, who leave and who return: they keep their calendar and their pairs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from calendar_office import CalendarOffice, in_haste, office

from sandbox.firm.people import make_employees
from sandbox.google.event import render_event
from services.calendar_sync.run import LAST_SUCCESS, CalendarSync, lock_key
from services.core.jobs.look_again import HIDE, Notes, calendar
from services.core.locks import record_lock

__all__ = ["office"]

TITLES = ["Anhörung", "Besprechung", "Verhandlung"]


def staff(office: CalendarOffice, **people: str) -> None:
    """Advoware's employees from now on: Kürzel and name."""
    employee = make_employees(seed=1)[0]
    office.advoware.employees = tuple(
        replace(employee, kuerzel=kuerzel, name=name)
        for kuerzel, name in people.items()
    )
    office.advoware.termine.admit(people)  # Termine that bear an old Kürzel stay


async def look(office: CalendarOffice) -> list[str]:
    """What the cron does: who is to be synced."""
    office.now += timedelta(minutes=1)
    return sorted(await CalendarSync(resources=office.resources).employees())


def ids(office: CalendarOffice, kuerzel: str) -> set[str]:
    return {event["id"] for event in office.events(kuerzel)}


async def with_termine(office: CalendarOffice, kuerzel: str = "SB") -> list[int]:
    """An employee with three Termine, in step."""
    await look(office)
    numbers = [office.termin(title, anwalt=kuerzel) for title in TITLES]
    await office.sync(kuerzel)
    return numbers


# -- another Kürzel ---------------------------------------------------------------------------------------------------


@in_haste
async def test_calendar_and_pairs_follow_a_new_kuerzel(office: CalendarOffice) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await office.configure(
        GOOGLE_CALENDAR_ACL="SB:reader:sb@example.de,SBN:reader:sb@example.de"
    )
    numbers = await with_termine(office)
    before, pairs = (
        ids(office, "SB"),
        {pair.sync_id for pair in await office.pairs("SB")},
    )
    staff(office, SBN="Sabine Bergström", AI="Anton Imhoff")
    for number in numbers:
        office.change_termin(number, anwalt="SBN")

    assert await look(office) == ["AI", "SBN"]
    summary = await office.sync("SBN")

    assert dict(summary.counts) == {"recorded": 3}  # Advoware's time of change
    assert [
        call for call in office.writes() if "/events" in call or "Termine" in call
    ] == []
    assert (
        ids(office, "SBN"),
        {pair.sync_id for pair in await office.pairs("SBN")},
    ) == (before, pairs)
    assert office.calendar("SB") is None  # renamed in Google as well
    assert (await office.sync("SBN")).result == "no_change"
    assert office.writes() == []
    assert list(await office.resources.calendar_redis.hgetall(LAST_SUCCESS)) == ["SBN"]
    (line,) = await office.audit("renamed")
    assert (line["employee_kuerzel"], line["reason"]) == (
        "SBN",
        "SB is called SBN in Advoware now",
    )


@in_haste
async def test_termine_that_bear_the_old_kuerzel_for_a_while_or_for_ever_stay_where_they_are(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström")
    numbers = await with_termine(office)
    before = ids(office, "SB")
    staff(office, SBN="Sabine Bergström")
    await look(office)
    await office.sync("SBN")
    assert [
        call for call in office.writes() if "/events" in call or "Termine" in call
    ] == []

    office.change_termin(numbers[0], anwalt="SBN")
    office.change_termin(numbers[1], text="Verlegt")
    office.termin("Neu", anwalt="SBN")
    office.now += timedelta(days=2)
    summary = await office.sync("SBN")

    assert dict(summary.counts) == {
        "google_updated": 1,
        "google_created": 1,
        "recorded": 1,
    } or dict(summary.counts) == {"google_updated": 1, "google_created": 1}
    assert before < ids(office, "SBN")
    assert office.texts("SBN") == ["Anhörung", "Neu", "Verhandlung", "Verlegt"]
    assert (await office.sync("SBN")).result == "no_change"


@in_haste
async def test_a_deletion_of_a_termin_with_the_old_kuerzel_is_still_followed(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström")
    numbers = await with_termine(office)
    staff(office, SBN="Sabine Bergström")
    await look(office)
    await office.sync("SBN")
    office.delete_termin(numbers[1])

    await office.sync_until_calm("SBN")

    assert office.texts("SBN") == ["Anhörung", "Verhandlung"]


@in_haste
async def test_a_chain_of_new_kuerzel_moves_as_a_whole(office: CalendarOffice) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    termin = office.termin("Antons Termin", anwalt="AI")
    await office.sync("AI")
    sabines, antons = ids(office, "SB"), ids(office, "AI")
    staff(office, AI="Sabine Bergström", AIM="Anton Imhoff")
    office.change_termin(termin, anwalt="AIM")

    assert await look(office) == ["AI", "AIM"]
    for kuerzel in ("AI", "AIM", "AI", "AIM"):
        await office.sync(kuerzel)
        assert [call for call in office.writes() if "/events" in call] == []

    assert (ids(office, "AI"), ids(office, "AIM"), office.calendar("SB")) == (
        sabines,
        antons,
        None,
    )


@in_haste
async def test_a_chain_waits_until_the_termine_show_whose_they_are(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    termin = office.termin("Antons Termin", anwalt="AI")
    office.termin("Weihnachtsfeier", anwalt="ALLE")
    await office.sync("AI")
    staff(office, AI="Sabine Bergström", AIM="Anton Imhoff", PB="Petra Bäumler")

    assert await look(office) == ["PB"]
    assert len(await office.pairs("AI")) == 2
    office.change_termin(termin, anwalt="AIM")
    office.strike("advoware", path="/Termine", status=400)
    assert await look(office) == ["PB"]  # what concerns two does not stop the others
    office.recover()

    assert await look(office) == ["AI", "AIM", "PB"]
    await office.sync_until_calm("AI")
    await office.sync_until_calm("AIM")
    assert office.texts("AI") == [*TITLES, "Weihnachtsfeier"]
    assert office.texts("AIM") == ["Antons Termin", "Weihnachtsfeier"]


@in_haste
async def test_two_who_have_swapped_are_left_as_they_are_and_reported(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    await office.sync("AI")
    before = await office.fetch(
        "SELECT employee_kuerzel, calendar_id FROM calendar_sync_cursor ORDER BY 1"
    )
    staff(office, SB="Anton Imhoff", AI="Sabine Bergström")

    for _ in range(2):
        assert await look(office) == ["AI", "SB"]

    assert (
        await office.fetch(
            "SELECT employee_kuerzel, calendar_id FROM calendar_sync_cursor ORDER BY 1"
        )
        == before
    )
    assert await office.audit("renamed") == []


@in_haste
async def test_what_is_less_clear_than_one_person_of_one_name_moves_nothing(
    office: CalendarOffice,
) -> None:
    await office.configure()
    cases: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"SB": "Müller"}, {"XA": "Müller", "XB": "Müller"}),  # two successors
        (
            {"SB": "Müller", "AI": "Müller"},
            {"AI": "Müller", "XA": "Müller"},
        ),  # two of that name
        (
            {"SB": "Müller", "AI": "Müller"},
            {"AI": "Müller"},
        ),  # left, and a namesake stays
        (
            {"SB": "Müller", "AI": "Imhoff"},
            {"AI": "Müller"},
        ),  # the Kürzel has a calendar of another person
        (
            {"SB": "Müller"},
            {"SB": "Meier", "XA": "Müller"},
        ),  # another person has the Kürzel
        ({"SB": " "}, {"XA": " "}),  # no names
        ({"SB": "Müller"}, {"SB": "Meier"}),  # married
        ({"SB": "Müller"}, {"XA": "Meier"}),  # another person came
    ]
    for before, after in cases:
        await office.reopen()
        staff(office, **before)
        await with_termine(office, "SB")
        if "AI" in before:
            await office.sync("AI")
        staff(office, **after)
        await look(office)
        await look(office)

        assert len(await office.pairs("SB")) == 3, (before, after)
        assert await office.audit("renamed") == [], (before, after)


@in_haste
async def test_who_comes_years_later_and_has_the_name_of_one_who_left_is_another_person(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    staff(office, AI="Anton Imhoff")
    await look(office)
    office.now += timedelta(days=30)
    await look(office)
    staff(office, AI="Anton Imhoff", SBN="Sabine Bergström")

    await look(office)

    assert len(await office.pairs("SB")) == 3


@in_haste
async def test_a_rename_that_shows_in_two_steps_is_one(office: CalendarOffice) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    staff(office, AI="Anton Imhoff")
    await look(office)
    office.now += timedelta(days=2)
    staff(office, AI="Anton Imhoff", SBN="Sabine  Bergström ")

    await look(office)

    assert len(await office.pairs("SBN")) == 3


@in_haste
async def test_an_empty_list_of_employees_is_no_list(office: CalendarOffice) -> None:
    staff(office, SB="Sabine Bergström")
    await with_termine(office, "SB")
    staff(office)
    assert await look(office) == []
    staff(office, SB="Sabine Bergström")

    assert await look(office) == ["SB"]
    assert len(await office.pairs("SB")) == 3


@in_haste
async def test_a_calendar_that_is_being_synced_moves_later_and_no_one_is_synced_meanwhile(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    staff(office, SBN="Sabine Bergström", AI="Anton Imhoff")

    async with record_lock(
        office.resources, lock_key("SB"), 60, redis=office.resources.calendar_redis
    ):
        assert await look(office) == ["AI"]

    assert await look(office) == ["AI", "SBN"]
    assert len(await office.pairs("SBN")) == 3


@in_haste
async def test_a_job_that_waits_for_the_old_kuerzel_makes_no_second_calendar(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström")
    await with_termine(office, "SB")
    notes = Notes(await office.resources.database())
    await notes.leave(calendar("SB"), frozenset({HIDE}), office.now)
    staff(office, SBN="Sabine Bergström")
    await look(office)

    assert (await office.sync("SB")).result == "no_change"

    assert office.calls() == []
    assert office.calendar("SBN") is None  # until its own run renames it
    assert await notes.left_behind("calendar", office.now + timedelta(days=1), 10) == [
        "SBN"
    ]
    assert await office.resources.calendar_redis.hget(LAST_SUCCESS, "SBN") is None


@in_haste
async def test_a_former_kuerzel_that_a_new_employee_gets_is_his(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström")
    numbers = await with_termine(office, "SB")
    staff(office, SBN="Sabine Bergström")
    for number in numbers:
        office.change_termin(number, anwalt="SBN")
    await look(office)
    await office.sync("SBN")
    staff(office, SBN="Sabine Bergström", SB="Sören Blank")
    office.termin("Sörens Termin", anwalt="SB")

    assert await look(office) == ["SB", "SBN"]
    await office.sync("SB")
    await office.sync("SBN")

    assert (office.texts("SB"), office.texts("SBN")) == (["Sörens Termin"], TITLES)


@in_haste
async def test_the_name_in_google_is_changed_later_if_google_is_away(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström")
    await with_termine(office, "SB")
    staff(office, SBN="Sabine Bergström")
    await look(office)
    office.strike("google", method="PATCH", path="/calendars/[^/]*$", status=503)
    await office.sync("SBN")
    assert office.calendar("SB") is not None
    office.recover()
    staff(office, SBX="Sabine Bergström")  # and once more
    await look(office)

    await office.sync("SBX")

    assert (office.calendar("SB"), office.texts("SBX")) == (None, TITLES)


# -- those who leave and return ---------------------------------------------------------------------------------------


@in_haste
async def test_who_returns_goes_on_with_the_same_calendar_and_pairs(
    office: CalendarOffice,
) -> None:
    staff(office, SB="Sabine Bergström", AI="Anton Imhoff")
    await with_termine(office, "SB")
    before, found = ids(office, "SB"), office.calendar("SB")
    staff(office, AI="Anton Imhoff")
    assert await look(office) == ["AI"]
    office.now += timedelta(days=1)
    office.termin("Entwurf", anwalt="SB")
    staff(office, AI="Anton Imhoff", SB="Sabine Bergström-Groß")

    assert await look(office) == ["AI", "SB"]
    await office.sync_until_calm("SB")

    assert office.calendar("SB") is found
    assert before < ids(office, "SB")
    assert office.texts("SB") == sorted([*TITLES, "Entwurf"])
    assert found is not None
    assert all(
        render_event(event, found.id, found.zone)["status"] != "cancelled"
        for event in found.events.values()
    )
