"""With whom calendars are shared, and what they say to people: what is configured holds, what people set stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from calendar_office import CalendarOffice, in_haste, office
from calendar_world import PERSON

from services.calendar_sync.calendars import (
    LAST_CHANGE_WINS_DESCRIPTION,
    PROTECTED_DESCRIPTION,
    SOURCE_WINS_DESCRIPTION,
    calendar_name,
)

__all__ = ["office"]

ACL = "GOOGLE_CALENDAR_ACL"


def shared(office: CalendarOffice, kuerzel: str = "SB") -> dict[str, str]:
    """``{address: role}`` without the owner and removed rules."""
    calendar = office.calendar(kuerzel)
    assert calendar is not None
    rules = [rule for rule in calendar.acl.values() if rule.role != "none"]
    return {
        str(rule.scope_value): rule.role
        for rule in rules
        if rule.scope_value != calendar.data_owner
    }


def by_hand(office: CalendarOffice, email: str, role: str) -> None:
    """A person shares SB's calendar with another person, or ends that (role ``none``)."""
    calendar = office.calendar("SB")
    assert calendar is not None
    body = {"role": role, "scope": {"type": "user", "value": email}}
    office.google.world.calendars.share(PERSON, calendar, body)


def rename_calendar(office: CalendarOffice, **texts: str) -> None:
    """A person changes name or description of SB's calendar."""
    calendar = office.calendar("SB")
    assert calendar is not None
    office.google.world.calendars.change(calendar, {**calendar.texts, **texts})


def mails(office: CalendarOffice) -> list[str]:
    """The requests that make Google write to a person."""
    return [
        call
        for call in office.calls("google")
        if "/acl" in call and "sendNotifications=true" in call
    ]


async def rows(office: CalendarOffice) -> dict[str, tuple[str, bool]]:
    found = await office.fetch("SELECT email, role, set_at FROM calendar_sync_sharing")
    return {row["email"]: (row["role"], row["set_at"] is not None) for row in found}


async def sync_whole(office: CalendarOffice, kuerzel: str = "SB") -> None:
    """A full run, which takes place once a day."""
    office.now += timedelta(days=1, hours=1)
    await office.sync(kuerzel)


# -- what is configured holds -----------------------------------------------------------------------------------------


@in_haste
async def test_each_employee_gets_his_own_calendar_and_the_firm_all(
    office: CalendarOffice,
) -> None:
    acl = "reader:office@example.de, SB:writer:sb@example.de, AI : reader : ai@example.de, XY:reader:xy@example.de"
    await office.configure(**{ACL: acl})

    await office.sync("SB")
    notified = mails(office)
    await office.sync("AI")

    assert shared(office, "SB") == {
        "office@example.de": "reader",
        "sb@example.de": "writer",
    }
    assert shared(office, "AI") == {
        "office@example.de": "reader",
        "ai@example.de": "reader",
    }
    assert (
        len(notified) == 2
    )  # once each: the mail's link is how a person finds the calendar


@in_haste
async def test_who_is_no_longer_configured_loses_the_access_with_the_next_run(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:old@example.de,writer:sb@example.de"})
    await office.sync()
    await office.configure(**{ACL: "SB:writer:sb@example.de"})

    await office.sync()  # no full one

    assert shared(office) == {"sb@example.de": "writer"}
    assert await rows(office) == {"sb@example.de": ("writer", True)}
    await office.sync()
    assert office.writes() == []
    assert not [call for call in office.calls() if "/acl" in call]


@in_haste
async def test_a_changed_role_is_changed_without_a_second_mail(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "writer:sb@example.de"})
    await office.sync()
    await office.configure(**{ACL: "reader:SB@Example.de"})

    await office.sync()

    assert shared(office) == {"sb@example.de": "reader"}
    assert (len(office.writes()), mails(office)) == (1, [])


@in_haste
async def test_whose_rule_people_have_changed_or_removed_gets_it_again_quietly(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de,reader:ai@example.de"})
    await office.sync()
    by_hand(office, "sb@example.de", "owner")
    by_hand(office, "ai@example.de", "none")

    await sync_whole(office)

    assert shared(office) == {"sb@example.de": "reader", "ai@example.de": "reader"}
    assert mails(office) == []


# -- what people set stays ----------------------------------------------------------------------------------------


@in_haste
async def test_rules_that_people_have_set_are_never_touched(
    office: CalendarOffice,
) -> None:
    await office.sync()
    by_hand(office, "equal@example.de", "reader")
    by_hand(office, "other@example.de", "writer")
    by_hand(office, "guest@example.de", "writer")
    await office.configure(**{ACL: "reader:equal@example.de,reader:other@example.de"})
    await office.sync()
    by_people = {
        "equal@example.de": "reader",
        "other@example.de": "writer",
        "guest@example.de": "writer",
    }
    assert (shared(office), office.writes(), await rows(office)) == (by_people, [], {})
    await office.configure(**{ACL: ""})

    await sync_whole(office)

    assert (shared(office), office.writes()) == (by_people, [])


@in_haste
async def test_a_rule_of_the_sync_that_a_person_has_changed_is_his_once_it_is_not_configured(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de"})
    await office.sync()
    by_hand(office, "sb@example.de", "writer")
    await office.configure(**{ACL: ""})

    await office.sync()

    assert (shared(office), office.writes(), await rows(office)) == (
        {"sb@example.de": "writer"},
        [],
        {},
    )


@in_haste
async def test_a_rule_that_was_removed_by_hand_and_is_not_configured_is_forgotten(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de"})
    await office.sync()
    by_hand(office, "sb@example.de", "none")
    await office.configure(**{ACL: ""})
    await office.sync()
    by_hand(office, "sb@example.de", "reader")  # and this one is a person's

    await sync_whole(office)

    assert shared(office) == {"sb@example.de": "reader"}
    assert await rows(office) == {}


@in_haste
async def test_the_rule_by_which_we_own_the_calendar_stays_whatever_is_configured(
    office: CalendarOffice,
) -> None:
    await office.configure(
        **{ACL: f"reader:{office.account_name},reader:sb@example.de"}
    )
    await office.sync()
    await office.configure(**{ACL: ""})
    await sync_whole(office)

    calendar = office.calendar("SB")
    assert calendar is not None
    assert calendar.role_of(office.account_name) == "owner"
    assert shared(office) == {}


# -- what goes wrong --------------------------------------------------------------------------------------------------


@in_haste
@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_one_account_that_google_refuses_stops_nothing(
    office: CalendarOffice, status: int
) -> None:
    await office.configure(**{ACL: "reader:weg@example.de,reader:sb@example.de"})
    office.termin()
    office.strike("google", method="POST", path="/acl", status=status, count=1)

    assert (await office.sync()).result == "changed"
    assert (office.texts(), shared(office)) == (
        ["Besprechung"],
        {"sb@example.de": "reader"},
    )
    by_hand(office, "weg@example.de", "writer")
    known = await rows(office)
    assert ("weg@example.de" in known) == (
        status == 500
    )  # refused: whatever people set now stays


@in_haste
async def test_a_silence_is_tried_again_with_the_next_run_and_a_refusal_with_the_next_full_one(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:weg@example.de"})
    office.strike("google", method="POST", path="/acl", status=503)
    await office.sync()
    office.recover()
    office.strike("google", method="POST", path="/acl", status=400)
    await office.sync()
    assert len([call for call in office.writes() if "/acl" in call]) == 1
    office.recover()

    await office.sync()
    assert (shared(office), office.writes()) == ({}, [])
    await sync_whole(office)

    assert shared(office) == {"weg@example.de": "reader"}


@in_haste
@pytest.mark.parametrize("step", ["grant", "change", "revoke"])
async def test_a_run_that_ends_between_google_and_postgresql_converges(
    office: CalendarOffice, step: str
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de"})
    method = {"grant": "POST", "change": "PATCH", "revoke": "DELETE"}[step]
    if step != "grant":
        await office.sync()
        await office.configure(
            **{ACL: "writer:sb@example.de" if step == "change" else ""}
        )

    assert await office.sync_interrupted(method, "/acl")
    wanted = {
        "grant": {"sb@example.de": "reader"},
        "change": {"sb@example.de": "writer"},
        "revoke": {},
    }[step]
    assert shared(office) == wanted
    await office.sync()

    assert (shared(office), [call for call in office.writes() if "/acl" in call]) == (
        wanted,
        [],
    )
    assert await rows(office) == {email: (role, True) for email, role in wanted.items()}
    await office.configure(**{ACL: ""})
    await office.sync()
    assert (shared(office), await rows(office)) == ({}, {})


@in_haste
async def test_a_change_that_was_begun_is_the_syncs_also_if_it_is_not_configured_any_more(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de"})
    await office.sync()
    await office.configure(**{ACL: "writer:sb@example.de"})
    office.strike("google", method="PATCH", path="/acl", status=503)
    await office.sync()
    office.recover()
    await office.configure(**{ACL: ""})

    await office.sync()

    assert (shared(office), await rows(office)) == ({}, {})


@in_haste
async def test_a_calendar_whose_sharing_cannot_be_read_is_synced_all_the_same(
    office: CalendarOffice,
) -> None:
    await office.configure(**{ACL: "reader:sb@example.de"})
    office.termin()
    office.strike("google", method="GET", path="/acl", status=500)

    await office.sync()
    assert office.texts() == ["Besprechung"]
    office.recover()
    await office.sync()

    assert shared(office) == {"sb@example.de": "reader"}


# -- what the calendar says to people ----------------------------------------------------------------------------------


def description(office: CalendarOffice) -> str:
    calendar = office.calendar("SB")
    assert calendar is not None
    return calendar.texts.get("description", "")


@in_haste
async def test_a_calendar_says_what_becomes_of_changes_as_the_settings_are(
    office: CalendarOffice,
) -> None:
    await office.configure(ADVOWARE_WRITE_PROTECTION=True)
    await office.sync()
    assert description(office) == PROTECTED_DESCRIPTION  # from the beginning
    assert [call for call in office.writes() if "PATCH" in call] == []
    await office.configure(ADVOWARE_WRITE_PROTECTION=False)
    await office.sync()
    assert office.writes() == []  # not with each run

    await sync_whole(office)
    assert (description(office), len(office.writes())) == (SOURCE_WINS_DESCRIPTION, 1)
    await office.configure(
        ADVOWARE_WRITE_PROTECTION=False, CALENDAR_SYNC_STRATEGY="last_change_wins"
    )
    await sync_whole(office)
    assert description(office) == LAST_CHANGE_WINS_DESCRIPTION
    await sync_whole(office)

    assert office.writes() == []


@in_haste
async def test_a_description_of_a_persons_stays_and_an_empty_one_is_filled(
    office: CalendarOffice,
) -> None:
    await office.sync()
    rename_calendar(
        office,
        description=f"{description(office)} Bitte nicht löschen!",
        summary="AW-SB",
    )
    await sync_whole(office)
    assert (description(office).endswith("löschen!"), office.writes()) == (True, [])
    rename_calendar(office, description="")

    await sync_whole(office)

    assert description(office) == SOURCE_WINS_DESCRIPTION


@in_haste
async def test_a_name_that_a_person_has_given_the_calendar_stays(
    office: CalendarOffice,
) -> None:
    office.termin()
    await office.sync()
    calendar = office.calendar("SB")
    assert calendar is not None
    rename_calendar(office, summary="Termine Bergström")

    await sync_whole(office)

    assert (calendar.texts["summary"], office.writes()) == ("Termine Bergström", [])
    assert office.calendar("SB") is None  # and no second one
    assert calendar_name("SB") == "AW-SB"
