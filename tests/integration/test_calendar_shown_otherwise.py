"""A system that answers a write with what it was sent, and shows something else from then on: it is no one's edit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import pytest
from calendar_deeds import persons_series
from calendar_office import DAY, CalendarOffice, in_haste, office, timed

from services.calendar_sync.model import OTHER_TIMES

__all__ = ["office"]

System = Literal["advoware", "google"]

TITLE = "Gütetermin Meier gegen Schulze"
#: How the title is shown, of Termine and of events.
FORMS: dict[str, dict[str, Any]] = {
    "cut": {"how": "cut", "to": 12},
    "in capitals": {"how": "upper"},
    "replaced": {"how": "value", "to": "Termin"},
    "with blanks": {"how": "value", "to": "Gütetermin  Meier  gegen  Schulze"},
}
#: And how that of a hidden one is.
HIDDEN_FORMS: dict[str, dict[str, Any]] = {
    "cut": {"how": "cut", "to": 5},
    "in capitals": {"how": "upper"},
    "replaced": {"how": "value", "to": "Termin"},
}


def alter(
    office: CalendarOffice, system: System, form: str, *, is_stored: bool
) -> None:
    """The system stores titles otherwise than it answers, or only shows them otherwise."""
    name = "text" if system == "advoware" else "summary"
    change = dict(FORMS[form], match="^Gütetermin Meier")
    if is_stored:
        rule = {"stored": [{"field": name, **change, "echo": True}]}
        office.strike(system, method="POST|PUT|PATCH", **rule)
    else:
        lists = "[]" if system == "advoware" else "items[]"
        rule = {"answer": [{"field": f"{lists}.{name}", **change}]}
        office.strike(system, method="GET", **rule)


async def writes_in(office: CalendarOffice, number: int) -> int:
    """How many writes so many runs send."""
    sent = 0
    for _ in range(number):
        office.now += timedelta(minutes=15)
        await office.sync()
        sent += len(office.writes())
    return sent


@in_haste
@pytest.mark.parametrize("is_edited", [False, True])
@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
@pytest.mark.parametrize("origin", ["advoware", "google"])
@pytest.mark.parametrize("system", ["advoware", "google"])
async def test_what_is_shown_otherwise_than_it_was_answered_rests(
    office: CalendarOffice,
    system: System,
    origin: System,
    strategy: str,
    form: str,
    is_stored: bool,
    is_edited: bool,
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY=strategy)
    await office.sync()
    title = "Entwurf" if is_edited else TITLE
    if not is_edited:
        alter(office, system, form, is_stored=is_stored)
    if origin == "advoware":
        office.termin(title)
    else:
        office.enter(title)
    await office.sync()
    if is_edited:
        alter(office, system, form, is_stored=is_stored)
        if origin == "advoware":
            office.change_termin(office.records()[0]["frNr"], text=TITLE)
        else:
            (pair,) = await office.pairs()
            office.change_event(str(pair.google_event_id), summary=TITLE)

    await writes_in(office, 4)
    assert await writes_in(office, 4) == 0

    own = office.termin_texts() if origin == "advoware" else office.texts()
    if origin != system:
        assert own == [TITLE]


async def paired(office: CalendarOffice, system: System, form: str) -> Any:
    """A pair, whose other side shows its title otherwise than it has answered."""
    await office.configure(CALENDAR_SYNC_STRATEGY="last_change_wins")
    await office.sync()
    alter(office, system, form, is_stored=True)
    if system == "google":
        office.termin(TITLE)
    else:
        office.enter(TITLE)
    await writes_in(office, 2)
    (pair,) = await office.pairs()
    return pair


@in_haste
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("editor", ["advoware", "google"])
@pytest.mark.parametrize("system", ["advoware", "google"])
async def test_an_edit_of_what_is_shown_otherwise_reaches_the_other_side(
    office: CalendarOffice, system: System, editor: System, form: str
) -> None:
    pair = await paired(office, system, form)
    if editor == "advoware":
        office.change_termin(int(pair.advoware_frnr), ort="Zimmer 5", text="neu")
    else:
        office.change_event(pair.google_event_id, location="Zimmer 5", summary="neu")

    await writes_in(office, 3)

    assert await writes_in(office, 2) == 0
    (termin,) = office.records()
    event = office.copy(int(pair.advoware_frnr))
    assert (termin["text"], termin["ort"]) == ("neu", "Zimmer 5")
    assert (event["summary"], event["location"]) == ("neu", "Zimmer 5")


@in_haste
@pytest.mark.parametrize("form", FORMS)
async def test_a_time_that_is_moved_in_google_is_written_with_the_title_that_google_has(
    office: CalendarOffice, form: str
) -> None:
    pair = await paired(office, "advoware", form)
    office.recover()
    office.change_event(pair.google_event_id, **timed(DAY, "16:00", "17:00"))

    await writes_in(office, 3)

    (termin,) = office.records()
    assert (termin["text"], termin["uhrzeitVon"]) == (TITLE, "16:00:00")
    assert office.texts() == [TITLE]


@in_haste
@pytest.mark.parametrize("form", FORMS)
async def test_a_hidden_title_that_advoware_shows_otherwise_is_not_written_back(
    office: CalendarOffice, form: str
) -> None:
    """A time is moved, and the whole record has to be sent: with a title that may be only a part of the real one."""
    await office.configure(CALENDAR_SYNC_STRATEGY="last_change_wins")
    await office.sync()
    office.enter(TITLE)
    await office.sync()
    await office.configure(
        CALENDAR_SYNC_STRATEGY="last_change_wins",
        CALENDAR_SYNC_ANONYMIZE="true",
    )
    await office.sync()
    (pair,) = await office.pairs()
    alter(office, "advoware", form, is_stored=False)
    office.change_event(pair.google_event_id, **timed(DAY, "16:00", "17:00"))
    await writes_in(office, 3)
    assert office.records()[0]["text"] == TITLE

    office.recover()
    await writes_in(office, 3)

    (termin,) = office.records()
    assert (termin["text"], termin["uhrzeitVon"]) == (TITLE, "16:00:00")


@in_haste
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
@pytest.mark.parametrize(
    ("field", "to"),
    [
        ("uhrzeitVon", "14:05:00"), ("uhrzeitBis", "14:55:00"), ("uhrzeitBis", "15:00:01"),
        ("notiz", "(gekürzt)"), ("notiz", ""), ("ort", "HANNOVER"), ("datumBis", "2026-12-31"),
    ],
)  # fmt: skip
async def test_another_field_that_is_shown_otherwise_rests_too(
    office: CalendarOffice, field: str, to: str, strategy: str
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY=strategy)
    office.termin(
        "davor"
    )  # one with an odd number carries its times in the dates as well
    await office.sync()
    event_id = office.enter(TITLE, description="Akte", location="Hannover")
    await office.sync()
    alteration = {
        "field": f"[].{field}",
        "how": "value",
        "to": to,
        "where": {"text": TITLE},
    }
    office.strike("advoware", method="GET", answer=[alteration])
    before = office.copies(office.record(TITLE)["frNr"])

    await writes_in(office, 3)

    assert await writes_in(office, 2) == 0
    assert office.copies(office.record(TITLE)["frNr"]) == before
    assert before[0]["id"] == event_id


@in_haste
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
@pytest.mark.parametrize("to", ["14:05:00", "08:00:00", "old"])
async def test_that_the_sides_show_different_times_is_reported_until_they_agree(
    office: CalendarOffice, to: str, strategy: str
) -> None:
    """Advoware answers a move, and shows another time from then on: it has not done it, or does not show it."""
    await office.configure(CALENDAR_SYNC_STRATEGY=strategy)
    office.termin(
        "davor"
    )  # one with an odd number carries its times in the dates as well
    await office.sync()
    event_id = office.enter(TITLE)
    await office.sync()
    shown = "14:00:00" if to == "old" else to
    alteration = {
        "field": "[].uhrzeitVon",
        "how": "value",
        "to": shown,
        "where": {"text": TITLE},
    }
    office.strike("advoware", method="GET", answer=[alteration])
    office.change_event(event_id, **timed(DAY, "14:30", "15:00"))
    await writes_in(office, 2)
    office.now += timedelta(days=1)  # everything is listed

    for _ in range(3):
        assert await writes_in(office, 1) == 0
        failed = [pair for pair in await office.pairs() if pair.untranslatable]
        assert [pair.google_event_id for pair in failed] == [event_id]
        assert failed[0].untranslatable == OTHER_TIMES
    assert len(await office.audit("left_alone")) == 1

    office.recover()
    office.now += timedelta(days=1)
    assert await writes_in(office, 2) == 0
    assert {pair.sync_status for pair in await office.pairs()} == {"synced"}
    assert office.record(TITLE)["uhrzeitVon"] == "14:30:00"


# -- what must not be taken for shown otherwise, or be sent back ------------------------------------------------------


async def hidden(office: CalendarOffice, **body: Any) -> str:
    """The event of a person's appointment, which shows its time only by now."""
    variables = {"CALENDAR_SYNC_STRATEGY": "last_change_wins"}
    await office.configure(**variables)
    await office.sync()
    event_id = office.enter(TITLE, **body)
    await office.sync()
    await office.configure(**variables, CALENDAR_SYNC_ANONYMIZE="true")
    await writes_in(office, 2)
    return event_id


@in_haste
@pytest.mark.parametrize("days", [0, 1])
async def test_an_edit_that_was_first_shown_in_part_reaches_google(
    office: CalendarOffice, days: int
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY="last_change_wins")
    await office.sync()
    fr_nr = office.termin(TITLE)
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], location="Celle")
    await writes_in(office, 2)
    office.strike(
        "advoware", method="GET", answer=[{"field": "[].notiz", "how": "missing"}]
    )
    office.change_termin(fr_nr, notiz="neue Notiz")
    await writes_in(office, 1)
    office.recover()
    office.now += timedelta(days=days)

    await writes_in(office, 2)

    assert office.copy(fr_nr)["description"] == "neue Notiz"


@in_haste
async def test_after_an_answer_that_was_read_in_part_not_everything_is_listed_each_time(
    office: CalendarOffice,
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY="last_change_wins")
    await office.sync()
    fr_nr = office.termin(TITLE)
    await office.sync()
    office.change_event(office.copy(fr_nr)["id"], location="Celle")
    unreadable = {"field": "notiz", "how": "value", "to": {}}
    office.strike("advoware", method="PUT", answer=[unreadable])
    await writes_in(office, 1)
    office.recover()
    await writes_in(office, 2)

    office.termin("anderer")
    await writes_in(office, 1)

    lists = [call for call in office.calls("google") if call.startswith("GET")]
    assert len(lists) == 1, lists


@in_haste
@pytest.mark.parametrize("runs_before", [0, 1, 2])
async def test_a_hidden_title_is_not_written_back_whenever_it_began_to_be_shown_otherwise(
    office: CalendarOffice, runs_before: int
) -> None:
    event_id = await hidden(office)
    alter(office, "advoware", "cut", is_stored=False)
    await writes_in(office, runs_before)
    office.change_event(event_id, **timed(DAY, "16:00", "17:00"))

    await writes_in(office, 3)

    assert office.records()[0]["text"] == TITLE
    office.recover()
    await writes_in(office, 2)
    (termin,) = office.records()
    assert (termin["text"], termin["uhrzeitVon"]) == (TITLE, "16:00:00")


@in_haste
async def test_the_title_of_a_hidden_series_is_not_written_back_when_one_occurrence_is_moved(
    office: CalendarOffice,
) -> None:
    first = "2026-02-12"
    rule = ["RRULE:FREQ=WEEKLY;UNTIL=20260601T215959Z"]
    event_id = await hidden(office, recurrence=rule, **timed(first, "10:00", "11:00"))
    office.change_event(event_id, **timed(first, "12:00", "13:00"))
    await writes_in(office, 2)
    alter(office, "advoware", "cut", is_stored=False)
    await writes_in(office, 1)

    occurrence = f"{event_id}_20260219T110000Z"
    office.change_event(occurrence, **timed("2026-02-20", "10:00", "11:00"))
    await writes_in(office, 3)

    assert office.records()[0]["text"] == TITLE


@in_haste
@pytest.mark.parametrize("is_shown_again", [True, False])
async def test_what_is_typed_into_a_hidden_event_goes_although_its_move_waits(
    office: CalendarOffice, is_shown_again: bool
) -> None:
    event_id = await hidden(office)
    alter(office, "advoware", "cut", is_stored=False)
    typed = {"summary": "Mandant Meier", **timed(DAY, "16:00", "17:00")}
    office.change_event(event_id, **typed)

    await writes_in(office, 2)

    assert office.texts() == ["Advoware"]
    if is_shown_again:
        office.recover()
        await writes_in(office, 2)
        assert office.records()[0]["uhrzeitVon"] == "16:00:00"
    assert office.texts() == ["Advoware"]


@in_haste
async def test_what_a_person_has_made_of_an_occurrence_is_kept_before_the_series_is_replaced(
    office: CalendarOffice,
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY="source_system_wins")
    await office.sync()
    series = {"datumBis": "2026-06-01", "dauertermin": 1, "turnus": 1, "turnusArt": 2}
    fr_nr = office.termin(TITLE, day="2026-02-12", **series)
    await office.sync()
    occurrence = f"{office.copy(fr_nr)['id']}_20260219T090000Z"
    times = timed("2026-02-20", "10:00", "11:00")
    office.change_event(occurrence, summary="mein Text", **times)

    await writes_in(office, 2)

    store = await office.store()
    kept = await store.overwritten(office.now - timedelta(days=1))
    assert occurrence in [event.resource["id"] for event in kept]


def alter_hidden(office: CalendarOffice, form: str) -> None:
    """Google stores the title of hidden events otherwise than it was sent."""
    change = dict(HIDDEN_FORMS[form], field="summary", match="^Advoware", echo=True)
    office.strike("google", method="POST|PUT|PATCH", stored=[change])


@in_haste
@pytest.mark.parametrize("form", HIDDEN_FORMS)
@pytest.mark.parametrize("origin", ["advoware", "google"])
@pytest.mark.parametrize("day", ["2028-06-03", "2026-01-03", DAY])
async def test_a_hidden_title_that_google_stores_otherwise_rests_wherever_its_event_is(
    office: CalendarOffice, day: str, origin: System, form: str
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY="last_change_wins")
    await office.sync()
    if origin == "advoware":
        office.termin(TITLE)
    else:
        office.enter(TITLE)
    await office.sync()
    (pair,) = await office.pairs()
    office.change_event(str(pair.google_event_id), **timed(day, "09:00", "10:00"))
    await office.sync_until_calm()
    await office.configure(
        CALENDAR_SYNC_STRATEGY="last_change_wins", CALENDAR_SYNC_ANONYMIZE="true"
    )
    alter_hidden(office, form)

    await writes_in(office, 3)

    assert await writes_in(office, 4) == 0
    assert TITLE not in office.texts()
    office.change_event(str(pair.google_event_id), summary="Rückfrage")
    await writes_in(office, 2)
    assert "Rückfrage" not in office.texts()


@in_haste
@pytest.mark.parametrize("form", HIDDEN_FORMS)
@pytest.mark.parametrize("strategy", ["source_system_wins", "last_change_wins"])
async def test_hidden_titles_of_occurrences_that_google_stores_otherwise_rest(
    office: CalendarOffice, strategy: str, form: str
) -> None:
    await office.configure(CALENDAR_SYNC_STRATEGY=strategy)
    _, event_id = await persons_series(office)
    moved = timed("2026-02-26", "16:00", "17:00")
    occurrence = f"{event_id}_20260226T130000Z"
    office.change_event(occurrence, **moved)
    await office.sync_until_calm()
    await office.configure(
        CALENDAR_SYNC_STRATEGY=strategy, CALENDAR_SYNC_ANONYMIZE="true"
    )
    alter_hidden(office, form)

    await writes_in(office, 3)

    assert await writes_in(office, 4) == 0
    assert "Mandat" not in str(office.events("SB"))
    office.change_event(occurrence, summary="Rückfrage")
    await writes_in(office, 2)
    assert "Rückfrage" not in office.texts()
