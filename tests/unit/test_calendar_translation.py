"""What Advoware cannot hold of a Google event stays in Google; the rest is translated, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given

from services.calendar_sync.description import CUT_MARK
from services.calendar_sync.mapping import (
    changed_termin,
    generation_of,
    google_body,
    google_event_id,
    google_to_event,
    hide_body,
    new_termin,
    read_google_event,
    termin_to_event,
    unmark_body,
)
from services.calendar_sync.model import (
    HAS_EXCEPTIONS,
    GoogleEvent,
    NormalisedEvent,
    Untranslatable,
    content_hash,
    is_anonymised_hash,
    is_partial_hash,
    overlay,
    without_times,
)
from services.calendar_sync.recurrence import has_berlins_clock
from services.values.advoware_protocol import BERLIN
from tests.unit.test_calendar_mapping import (
    SYNC_ID,
    event_of,
    google,
    series,
    stored_by_google,
    termin,
    termine,
)

TIMES = ("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00")
OWN_MARKS = {
    "extendedProperties": {
        "private": {"advoware_frnr": "20001", "sync_id": str(SYNC_ID)}
    }
}


def entered(*times: str, **further: Any) -> dict[str, Any]:
    return {**google(*(times or TIMES)), **further}


def partial(*times: str, **further: Any) -> Untranslatable:
    event = google_to_event(entered(*times, **further))
    assert isinstance(event, Untranslatable), event
    return event


def read(*times: str, **further: Any) -> GoogleEvent:
    return read_google_event(entered(*times, **further))


def patched(resource: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """What Google has after a patch: objects are merged, null removes."""
    merged = dict(resource)
    for name, value in body.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = (
                patched(merged.get(name) or {}, value)
                if isinstance(value, dict)
                else value
            )
    return merged


# -- what can be held -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("further", "unknown"),
    [
        ({"summary": "x" * 1025}, {"text"}),
        ({"description": "x" * 8193}, {"notiz"}),
        ({"location": "x" * 1025}, {"ort"}),
        ({"summary": {"de": "x"}}, {"text"}),
        ({"description": "Anfang" + CUT_MARK}, {"notiz"}),
        ({"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]}, {"times"}),
        ({"recurrence": "RRULE:FREQ=WEEKLY"}, {"times"}),
        ({"recurrence": [5]}, {"times"}),
        (
            {
                "recurrence": ["RRULE:FREQ=WEEKLY", "EXDATE:20260217"],
                "summary": "x" * 1025,
            },
            {"times", "text"},
        ),
    ],
)
def test_what_advoware_cannot_hold_is_named_and_the_rest_can_be_held(
    further: dict[str, Any], unknown: set[str]
) -> None:
    event = partial(**further)
    assert event.unknown == unknown
    assert event.part is not None
    assert event.part.start == datetime(2026, 2, 10, 10, tzinfo=BERLIN)
    assert event.part.recurrence is None
    in_advoware = event_of(
        termin(text="Text", notiz="Notiz", ort="Ort", datum="2026-03-01", privat=1)
    )
    both = overlay(in_advoware, event)
    assert (both.start == in_advoware.start) == ("times" in unknown)
    expected = {"text": "Zahnarzt", "notiz": None, "ort": None}
    for name, in_google in expected.items():
        assert getattr(both, name) == (
            getattr(in_advoware, name) if name in unknown else in_google
        )
    assert both.privat


def test_several_problems_are_all_named() -> None:
    event = partial(
        "2026-02-10T22:00:00+01:00", "2026-02-11T01:00:00+01:00",
        summary="x" * 1025, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=MO"], start={
            "dateTime": "2026-02-10T22:00:00+01:00", "timeZone": "Asia/Tokyo"},
    )  # fmt: skip
    assert len(event.reason.split("; ")) == 4
    assert "xxx" not in event.reason


@pytest.mark.parametrize(
    "until", ["99991231T235959Z", "99991231", "20380101", "99991231T235959"]
)
def test_an_end_beyond_the_years_of_a_calendar_is_for_ever(until: str) -> None:
    event = google_to_event(entered(recurrence=[f"RRULE:FREQ=WEEKLY;UNTIL={until}"]))
    assert isinstance(event, NormalisedEvent)
    assert event.recurrence == "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=TU"


@pytest.mark.parametrize(
    "resource",
    [
        entered(
            recurrence=["RRULE:FREQ=WEEKLY"],
            start={"dateTime": TIMES[0], "timeZone": "Asia/Tokyo"},
        ),
        entered(
            "2026-02-10",
            "2026-02-11",
            recurrence=["RRULE:FREQ=WEEKLY"],
            transparency="transparent",
        ),
        entered("2026-02-10", "2026-02-13", recurrence=["RRULE:FREQ=WEEKLY"]),
    ],
)
def test_of_a_series_that_cannot_be_held_only_the_first_occurrence_is_known(
    resource: dict[str, Any],
) -> None:
    event = google_to_event(resource)
    assert isinstance(event, Untranslatable)
    assert event.part is not None
    assert (event.part.recurrence, event.part.dauertermin, event.part.first_day) == (
        None,
        0,
        date(2026, 2, 10),
    )


def test_a_series_of_which_only_a_text_is_too_long_keeps_its_rule() -> None:
    event = partial(summary="x" * 1025, recurrence=["RRULE:FREQ=WEEKLY"])
    assert event.part is not None
    assert event.part.recurrence == "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=TU"


@pytest.mark.parametrize(
    "further",
    [{"eventType": "outOfOffice"}, {"start": {}}, {"end": {"date": "2026-02-11"}}],
)
def test_of_what_is_no_appointment_nothing_can_be_held(further: dict[str, Any]) -> None:
    event = partial(**further)
    assert (event.part, event.unknown) == (None, frozenset())
    in_advoware = event_of(termin())
    assert overlay(in_advoware, event) == in_advoware


def test_an_anonymised_event_says_only_when_it_is() -> None:
    in_advoware = event_of(termin(text="Text", notiz="Notiz"))
    in_google = google_to_event(
        google(
            "2026-03-01T10:00:00+01:00",
            "2026-03-01T11:00:00+01:00",
            summary="Advoware",
            **OWN_MARKS,
        )
    )
    both = overlay(in_advoware, in_google)
    assert (both.text, both.notiz, both.anonymised) == ("Text", "Notiz", False)
    assert both.first_day == date(2026, 3, 1)


def test_each_change_of_an_event_that_cannot_be_held_changes_its_hash() -> None:
    rules = {"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]}
    events = [
        partial(**rules), partial(**rules, summary="Zahn"), partial(**rules, location="Ort"),
        partial(**rules, description="x" * 9000), partial(**rules, description="x" * 9001),
        partial(recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TU,FR"]),
        partial(*TIMES[:1], "2026-02-10T12:00:00+01:00", **rules),
        partial(**rules, start={"dateTime": TIMES[0], "timeZone": "Asia/Tokyo"}), partial(eventType="outOfOffice"),
        partial(eventType="outOfOffice", start={}), without_times(event_of(series()), HAS_EXCEPTIONS),
        without_times(event_of(series(turnus=2)), HAS_EXCEPTIONS), without_times(event_of(termin()), HAS_EXCEPTIONS),
    ]  # fmt: skip
    hashes = [content_hash(event) for event in events]
    assert len(set(hashes)) == len(hashes)
    assert all(
        is_partial_hash(value) and not is_anonymised_hash(value) for value in hashes
    )
    assert content_hash(partial(**rules)) == hashes[0]
    hidden = partial(**rules, **{"summary": "Advoware", **OWN_MARKS})
    assert is_anonymised_hash(content_hash(hidden))


def test_a_series_with_exceptions_keeps_its_texts() -> None:
    event = without_times(event_of(series(text="Jour fixe")), HAS_EXCEPTIONS)
    assert (event.reason, event.unknown) == (HAS_EXCEPTIONS, {"times"})
    assert event.part is not None
    assert (event.part.text, event.part.recurrence, event.part.dauertermin) == (
        "Jour fixe",
        None,
        0,
    )
    assert without_times(event, HAS_EXCEPTIONS) == event
    long = without_times(partial(summary="x" * 1025), HAS_EXCEPTIONS)
    assert long.unknown == {"times", "text"}
    assert long.reason.startswith(HAS_EXCEPTIONS + "; text is longer")


# -- free days, zones, the doubled hour -----------------------------------------------------------------------------


def test_a_free_all_day_event_is_no_absence() -> None:
    event = partial("2026-02-10", "2026-02-11", transparency="transparent")
    assert event.unknown == {"times"}
    assert isinstance(
        google_to_event(google("2026-02-10", "2026-02-11", transparency="opaque")),
        NormalisedEvent,
    )
    assert isinstance(
        google_to_event(google(*TIMES, transparency="transparent")), NormalisedEvent
    )


def test_a_copy_of_an_absence_that_a_person_set_to_free_is_put_back() -> None:
    absence = event_of(termin(abwesenheit=1))
    freed = {**stored_by_google(absence), "transparency": "transparent"}
    assert isinstance(google_to_event(freed), Untranslatable)
    back = google_to_event(
        patched(
            freed,
            google_body(absence, 20001, SYNC_ID, read_google_event(freed), is_own=True),
        )
    )
    assert isinstance(back, NormalisedEvent)
    assert content_hash(back) == content_hash(absence)


@pytest.mark.parametrize(
    ("zone", "is_same"),
    [
        ("Europe/Berlin", True), ("Europe/Paris", True), ("Arctic/Longyearbyen", True), ("Europe/Vaduz", True),
        ("Africa/Ceuta", True), ("Africa/Algiers", False), ("Etc/GMT-1", False), ("Europe/London", False),
        ("Europe/Kyiv", False), ("Africa/Tunis", False), ("America/New_York", False), ("UTC", False),
        ("Europe", False),
        ("Mars/Olympus", False), ("", True), (5, False),
    ],
)  # fmt: skip
def test_a_series_may_be_in_any_zone_whose_clock_is_berlins(
    zone: Any, is_same: bool
) -> None:
    start = {"dateTime": TIMES[0], "timeZone": zone}
    event = google_to_event(entered(start=start, recurrence=["RRULE:FREQ=WEEKLY"]))
    assert isinstance(event, NormalisedEvent) == is_same


def test_only_the_years_of_the_series_count() -> None:
    assert (
        has_berlins_clock("Europe/Vilnius", date(1999, 1, 1), date(1999, 3, 1)) is False
    )
    assert has_berlins_clock("Europe/Lisbon", date(1993, 1, 1), date(1995, 12, 31))
    assert not has_berlins_clock("Europe/Lisbon", date(1993, 1, 1), date(1996, 12, 31))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00"),
        ("2026-10-25T02:15:00+02:00", "2026-10-25T02:45:00+02:00"),
        ("2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:15:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"),
    ],
)
@pytest.mark.parametrize("is_from_advoware", [True, False])
def test_of_two_equal_hours_the_event_keeps_its_own(
    start: str, end: str, is_from_advoware: bool
) -> None:
    current = read(start, end)
    assert isinstance(current.event, NormalisedEvent)
    event: Any = current.event
    if is_from_advoware:
        event = termin_to_event(
            {**termin(), **new_termin(current.event, "SB"), "text": "Neu"}
        )
        assert event.timing == current.event.timing
    body = google_body(event, 1, SYNC_ID, current)
    written = [
        datetime.fromisoformat(body[which]["dateTime"]) for which in ("start", "end")
    ]
    assert [moment.astimezone(UTC) for moment in written] == [
        datetime.fromisoformat(moment).astimezone(UTC) for moment in (start, end)
    ]


def test_a_move_within_the_second_hour_stays_in_it_and_one_to_another_day_forgets_it() -> (
    None
):
    current = read("2026-10-25T02:15:00+01:00", "2026-10-25T02:45:00+01:00")
    moved = event_of(
        termin(datum="2026-10-25", uhrzeitVon="02:10:00", uhrzeitBis="02:40:00")
    )
    body = google_body(moved, 1, SYNC_ID, current)
    assert [body[which]["dateTime"][-6:] for which in ("start", "end")] == [
        "+01:00",
        "+01:00",
    ]
    later = event_of(
        termin(datum="2027-10-31", uhrzeitVon="02:10:00", uhrzeitBis="02:40:00")
    )
    assert (
        google_body(later, 1, SYNC_ID, current)["start"]["dateTime"]
        == "2027-10-31T02:10:00+02:00"
    )


def test_an_event_whose_clock_runs_backwards_is_left_to_google() -> None:
    event = partial("2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00")
    assert event.unknown == {"times"}


def test_the_zone_in_which_a_person_entered_an_event_stays() -> None:
    zone = "America/New_York"
    start = {"dateTime": "2026-02-10T10:00:00+01:00", "timeZone": zone}
    current = read(*TIMES, start=start)
    event = event_of(termin())
    assert google_body(event, 1, SYNC_ID, current)["start"]["timeZone"] == zone
    assert (
        google_body(event_of(series()), 1, SYNC_ID, current)["start"]["timeZone"]
        == "Europe/Berlin"
    )
    odd = read(*TIMES, start={**start, "timeZone": "Mars/Olympus"})
    assert google_body(event, 1, SYNC_ID, odd)["start"]["timeZone"] == "Europe/Berlin"


@given(termine())
def test_an_event_that_is_written_again_says_the_same(record: dict[str, Any]) -> None:
    event = termin_to_event(record)
    if isinstance(event, NormalisedEvent):
        stored = stored_by_google(event)
        again = patched(
            stored,
            google_body(event, 20001, SYNC_ID, read_google_event(stored), is_own=True),
        )
        back = google_to_event(again)
        assert isinstance(back, NormalisedEvent)
        assert content_hash(back) == content_hash(event)


# -- description ----------------------------------------------------------------------------------------------------


def test_a_persons_formatting_stays_while_it_reads_the_same() -> None:
    current = read(description="<b>Akte</b> 12<br>mitbringen")
    event = event_of(termin(notiz="Akte 12\nmitbringen"))
    assert (
        google_body(event, 1, SYNC_ID, current)["description"]
        == "<b>Akte</b> 12<br>mitbringen"
    )
    assert google_body(event.anonymise(), 1, SYNC_ID, current)["description"] is None
    other = event_of(termin(notiz="Akte 13"))
    assert google_body(other, 1, SYNC_ID, current)["description"] == "Akte 13"


def test_formatting_is_no_difference_between_the_sides() -> None:
    in_google = google_to_event(
        google(*TIMES, summary="Gütetermin", description="<p>Akte &amp; Vollmacht</p>")
    )
    in_advoware = event_of(termin(notiz="Akte & Vollmacht"))
    assert isinstance(in_google, NormalisedEvent)
    assert content_hash(in_google) == content_hash(in_advoware)
    assert changed_termin(in_google, termin(notiz="Akte & Vollmacht")) == termin(
        notiz="Akte & Vollmacht"
    )


def test_a_note_that_google_cuts_never_comes_back_cut() -> None:
    note = "<b>" * 2700
    event = event_of(termin(notiz=note))
    copy = google_to_event(stored_by_google(event))
    assert isinstance(copy, Untranslatable)
    assert copy.unknown == {"notiz"}
    assert overlay(event, copy) == event
    title = "x" * 2000
    long = event_of(termin(text=title))
    body = google_body(long, 1, SYNC_ID)
    assert len(body["summary"]) == 1024
    assert overlay(long, google_to_event(stored_by_google(long))).text == title


# -- what readers of the calendar see -------------------------------------------------------------------------------


def test_an_anonymised_event_is_written_without_any_text_whatever_is_in_it() -> None:
    event = replace(
        event_of(termin(text="Müller", notiz="geheim", ort="JVA")), anonymised=True
    )
    body = google_body(event, 1, SYNC_ID, read(description="geheim"))
    assert [body[name] for name in ("summary", "description", "location")] == [
        "Advoware",
        None,
        None,
    ]


def test_only_hidden_events_are_private() -> None:
    event = event_of(termin())
    assert "visibility" not in google_body(event, 1, SYNC_ID)
    assert google_body(event, 1, SYNC_ID, is_own=True)["visibility"] == "default"
    assert (
        google_body(event.anonymise(), 1, SYNC_ID, is_own=True)["visibility"]
        == "private"
    )
    assert google_body(event.anonymise(), 1, SYNC_ID)["visibility"] == "private"
    persons = read(visibility="private")
    assert "visibility" not in google_body(event, 1, SYNC_ID, persons)
    hidden = read_google_event(stored_by_google(event.anonymise()))
    assert google_body(event, 1, SYNC_ID, hidden)["visibility"] == "default"


@pytest.mark.parametrize(
    "further",
    [
        {}, {"recurrence": ["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]}, {"summary": "x" * 3000}, {"eventType": "focusTime"},
        {"start": {}}, {"visibility": "public"}, {"extendedProperties": {"private": {"advoware_anonymised": "0"}}},
        {"recurringEventId": "series"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("fr_nr", [20001, None])
def test_hiding_needs_to_know_nothing_of_the_event(
    further: dict[str, Any], fr_nr: int | None
) -> None:
    resource = entered(description="<b>geheim</b>", location="JVA", **further)
    assert read_google_event(resource).shows_text
    after = patched(resource, hide_body(fr_nr, SYNC_ID))
    event = read_google_event(after)
    assert (event.shows_text, event.is_private, event.has_foreign_text) == (
        False,
        True,
        False,
    )
    assert (event.fr_nr, event.sync_id) == (fr_nr, SYNC_ID)
    assert after["start"] == resource["start"]
    assert is_anonymised_hash(content_hash(event.event)) or event.event.part is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("further", "shows_text"),
    [
        ({"summary": "Advoware"}, False), ({"summary": ""}, False), ({"summary": None, "description": "<br>"}, False),
        ({"summary": "Advoware", "description": "<i>x</i>"}, True), ({"summary": "Advoware", "location": "JVA"}, True),
        ({"summary": "Advoware", **OWN_MARKS}, False), ({"summary": "Müller", **OWN_MARKS}, True),
        ({"summary": "Müller", "status": "cancelled"}, False), ({"recurringEventId": "x"}, True),
        ({"summary": "x" * 2000}, True), ({"summary": "Müller", "eventType": "outOfOffice"}, True),
    ],
)  # fmt: skip
def test_whether_an_event_shows_text_does_not_depend_on_our_marks(
    further: dict[str, Any], shows_text: bool
) -> None:
    assert read(**further).shows_text == shows_text


def test_text_that_cannot_be_read_is_text() -> None:
    assert read(summary={"de": "Müller"}).shows_text


def test_an_untranslatable_event_of_the_sync_shows_foreign_text() -> None:
    hidden = {
        "summary": "Müller",
        "extendedProperties": {
            "private": {"advoware_frnr": "1", "advoware_anonymised": "1"}
        },
    }
    assert read(**hidden, recurrence=["RRULE:FREQ=WEEKLY;BYDAY=TU,TH"]).has_foreign_text


def test_marks_are_taken_off_by_a_patch() -> None:
    resource = patched(google(*TIMES), google_body(event_of(termin()), 20001, SYNC_ID))
    assert read_google_event(resource).fr_nr == 20001
    event = read_google_event(patched(resource, unmark_body()))
    assert (event.fr_nr, event.sync_id) == (None, None)
    assert event.record["extendedProperties"]["private"] == {}


def test_the_generation_of_an_id_is_found() -> None:
    for generation in (0, 1, 7, 49):
        assert (
            generation_of(google_event_id(5, "cal", generation), 5, "cal") == generation
        )
    assert generation_of(google_event_id(5, "cal", 1024), 5, "cal") is None
    assert generation_of(google_event_id(6, "cal"), 5, "cal") is None
    assert generation_of("person1", 5, "cal") is None
