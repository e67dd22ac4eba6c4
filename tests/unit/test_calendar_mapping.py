"""Appointments are mapped between Advoware and Google without losing, inventing or moving anything."""

from __future__ import annotations

import copy
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.calendar_sync.mapping import (
    changed_termin,
    google_body,
    google_event_id,
    google_to_event,
    new_termin,
    read_google_event,
    read_termin,
    termin_to_event,
)
from services.calendar_sync.model import NormalisedEvent, Untranslatable, content_hash
from services.values.advoware_protocol import BERLIN

SYNC_ID = UUID("00000000-0000-4000-8000-000000000001")
CLOCK_CHANGES = [date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28)]


def termin(**values: Any) -> dict[str, Any]:
    base = {
        "frNr": 20001,
        "text": "Gütetermin",
        "notiz": "",
        "ort": None,
        "datum": "2026-02-10",
        "anwalt": "SB",
    }
    base |= {
        "privat": 0,
        "abwesenheit": 0,
        "dauertermin": 0,
        "turnus": 0,
        "turnusArt": 0,
    }
    return {
        **base,
        "uhrzeitVon": "10:00:00",
        "uhrzeitBis": "11:00:00",
        "datumBis": values.get("datum"),
        **values,
    }


def series(**values: Any) -> dict[str, Any]:
    return termin(
        **{
            "dauertermin": 1,
            "turnus": 1,
            "turnusArt": 2,
            "datumBis": "2026-12-31",
            **values,
        }
    )


def event_of(record: dict[str, Any]) -> NormalisedEvent:
    event = termin_to_event(record)
    assert isinstance(event, NormalisedEvent), event
    return event


def stored_by_google(event: NormalisedEvent, fr_nr: int = 20001) -> dict[str, Any]:
    """What Google answers after an insert: no nulls."""
    body = google_body(event, fr_nr, SYNC_ID)
    times = {
        side: {k: v for k, v in body[side].items() if v is not None}
        for side in ("start", "end")
    }
    return {
        **{k: v for k, v in body.items() if v not in (None, "")},
        **times,
        "id": "abcde",
        "status": "confirmed",
    }


def google(start: Any, end: Any, **further: Any) -> dict[str, Any]:
    def at(value: Any) -> dict[str, str]:
        return (
            {"date": value}
            if "T" not in value
            else {"dateTime": value, "timeZone": "Europe/Berlin"}
        )

    return {
        "id": "abcde",
        "status": "confirmed",
        "summary": "Zahnarzt",
        "start": at(start),
        "end": at(end),
        **further,
    }


def repeated(
    rule: str,
    start: str = "2026-02-10T10:00:00+01:00",
    end: str = "2026-02-10T11:00:00+01:00",
) -> Any:
    return google_to_event(google(start, end, recurrence=[f"RRULE:{rule}"]))


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
days = st.dates(date(2026, 1, 1), date(2028, 12, 31)) | st.sampled_from(CLOCK_CHANGES)
night = st.builds(
    lambda h, m: f"{h:02}:{m:02}:00",
    st.integers(0, 4),
    st.sampled_from([0, 15, 30, 45]),
)
clocks = (
    st.none()
    | night
    | st.times().map(
        lambda clock: clock.replace(microsecond=0, tzinfo=None).isoformat()
    )
)


@st.composite
def termine(draw: Any) -> dict[str, Any]:
    day = draw(days)
    is_series = draw(st.booleans())
    last_day = day + timedelta(days=draw(st.integers(0, 5000 if is_series else 3)))
    with_time = draw(st.booleans())
    start = draw(clocks)
    return {
        "frNr": draw(st.integers(1, 99999)),
        "text": draw(texts),
        "notiz": draw(texts),
        "ort": draw(texts),
        "datum": f"{day}T{start}" if with_time and start else day.isoformat(),
        "uhrzeitVon": start,
        "uhrzeitBis": draw(clocks),
        "datumBis": last_day.isoformat(),
        "anwalt": "SB",
        "privat": draw(st.integers(0, 1)),
        "abwesenheit": draw(st.sampled_from([0, 0, 1])),
        "dauertermin": int(is_series),
        "turnus": draw(st.integers(1, 5)) if is_series else 0,
        "turnusArt": draw(st.integers(1, 4)) if is_series else 0,
    }


@given(termine())
def test_a_termin_survives_the_way_to_google_and_back(record: dict[str, Any]) -> None:
    event = termin_to_event(record)
    if isinstance(event, Untranslatable):
        return
    back = google_to_event(stored_by_google(event))
    assert isinstance(back, NormalisedEvent)
    assert content_hash(back) == content_hash(event)
    assert changed_termin(back, record) == record
    created = event_of(new_termin(back, "SB"))
    assert content_hash(created) == content_hash(event)


@given(termine())
def test_an_anonymised_event_has_only_the_time_and_never_flows_back_as_text(
    record: dict[str, Any],
) -> None:
    event = termin_to_event(record)
    if isinstance(event, Untranslatable):
        return
    stored = stored_by_google(event.anonymise())
    assert stored["summary"] == "Advoware"
    assert "description" not in stored
    assert "location" not in stored
    back = google_to_event(
        {**stored, "summary": "von Hand ergänzt", "description": "geheim"}
    )
    assert isinstance(back, NormalisedEvent)
    assert (back.text, back.notiz, back.ort, back.anonymised) == (
        None,
        None,
        None,
        True,
    )
    assert changed_termin(back, record) == record
    with pytest.raises(ValueError, match="anonymised"):
        new_termin(back, "SB")


@given(termine(), termine())
def test_a_changed_termin_says_what_the_event_says_and_keeps_everything_else(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    event = termin_to_event(after)
    if isinstance(event, Untranslatable):
        return
    current = {**before, "fahrzeit": 20, "rowId": "ABC"}
    untouched = copy.deepcopy(current)
    body = changed_termin(event, current)
    assert content_hash(event_of(body)) == content_hash(event)
    kept = ("frNr", "rowId", "fahrzeit", "anwalt", "privat")
    assert [body[name] for name in kept] == [current[name] for name in kept]
    assert current == untouched


@pytest.mark.parametrize(
    ("values", "start", "end"),
    [
        ({}, "2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00"),
        ({"uhrzeitVon": None, "uhrzeitBis": None}, "2026-02-10T09:00:00+01:00", "2026-02-10T09:30:00+01:00"),
        ({"datum": "2026-02-10T08:15", "uhrzeitVon": None}, "2026-02-10T08:15:00+01:00", "2026-02-10T11:00:00+01:00"),
        ({"datum": "2026-02-10T00:00:00.000"}, "2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00"),
        ({"datum": "2026-07-10T08:15:00Z", "datumBis": None}, "2026-07-10T10:15:00+02:00", "2026-07-10T11:00:00+02:00"),
        ({"uhrzeitBis": None}, "2026-02-10T10:00:00+01:00", "2026-02-10T10:30:00+01:00"),
        ({"uhrzeitBis": "09:00:00"}, "2026-02-10T10:00:00+01:00", "2026-02-10T10:30:00+01:00"),
        ({"datumBis": "2026-02-12"}, "2026-02-10T10:00:00+01:00", "2026-02-12T11:00:00+01:00"),
        ({"uhrzeitVon": "00:00", "uhrzeitBis": "00:30"}, "2026-02-10T00:00:00+01:00", "2026-02-10T00:30:00+01:00"),
        ({"uhrzeitVon": "23:45:00", "uhrzeitBis": None}, "2026-02-10T23:45:00+01:00", "2026-02-11T00:15:00+01:00"),
    ],
)  # fmt: skip
def test_start_and_end_follow_the_rules_for_what_is_missing(
    values: dict[str, Any], start: str, end: str
) -> None:
    event = event_of(termin(**{"datumBis": "2026-02-10", **values}))
    assert isinstance(event.start, datetime)
    assert isinstance(event.end, datetime)
    assert (event.start.isoformat(), event.end.isoformat()) == (start, end)


def test_an_absence_is_all_day_with_an_exclusive_end_in_google_and_ends_before_midnight_in_advoware() -> (
    None
):
    record = termin(
        abwesenheit=1,
        datumBis="2026-02-12",
        uhrzeitVon="00:00:00",
        uhrzeitBis="23:59:00",
    )
    event = event_of(record)
    body = google_body(event, 1, SYNC_ID)
    assert (body["start"]["date"], body["end"]["date"]) == ("2026-02-10", "2026-02-13")
    created = new_termin(event, "SB")
    times = ("datum", "uhrzeitVon", "datumBis", "uhrzeitBis", "abwesenheit")
    assert [created[name] for name in times] == [
        "2026-02-10",
        "00:00:00",
        "2026-02-12",
        "23:59:00",
        1,
    ]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"turnusArt": 1, "turnus": 3}, "FREQ=DAILY;INTERVAL=3;UNTIL=20261231T225959Z"),
        (
            {"datumBis": "2026-06-30"},
            "FREQ=WEEKLY;INTERVAL=1;BYDAY=TU;UNTIL=20260630T215959Z",
        ),
        (
            {"turnusArt": 3, "datumBis": "2037-01-01"},
            "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=10",
        ),
        (
            {"turnusArt": 4, "datumBis": "2037-12-31"},
            "FREQ=YEARLY;INTERVAL=1;BYMONTH=2;BYMONTHDAY=10",
        ),
        ({"abwesenheit": 1}, "FREQ=WEEKLY;INTERVAL=1;BYDAY=TU;UNTIL=20261231"),
    ],
)
def test_series_become_rules_until_the_end_of_their_last_day_in_berlin(
    values: dict[str, Any], rule: str
) -> None:
    event = event_of(series(**values))
    assert event.recurrence == f"RRULE:{rule}"
    assert event.end - event.start <= timedelta(days=1)


@pytest.mark.parametrize(
    ("rule", "last_day"),
    [
        ("FREQ=WEEKLY;COUNT=3", "2026-02-24"),
        ("FREQ=DAILY;INTERVAL=2;COUNT=5", "2026-02-18"),
        ("FREQ=MONTHLY;COUNT=12", "2027-01-10"),
        ("FREQ=WEEKLY;UNTIL=20260303T225959Z;BYDAY=TU;WKST=MO", "2026-03-03"),
        ("FREQ=WEEKLY;UNTIL=20260303T085900Z", "2026-03-02"),
        ("FREQ=YEARLY", "2037-12-31"),
        ("FREQ=DAILY;UNTIL=20451231T225959Z", "2037-12-31"),
    ],
)
def test_googles_ways_to_end_a_series_become_a_last_day(
    rule: str, last_day: str
) -> None:
    event = repeated(rule)
    assert isinstance(event, NormalisedEvent), event
    assert new_termin(event, "SB")["datumBis"] == last_day


def test_a_counted_series_of_31sts_skips_short_months() -> None:
    event = repeated(
        "FREQ=MONTHLY;COUNT=3", "2026-01-31T10:00:00+01:00", "2026-01-31T11:00:00+01:00"
    )
    assert event.last_day == date(2026, 5, 31)


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=WEEKLY;BYDAY=TU,TH", "FREQ=WEEKLY;BYDAY=MO", "FREQ=MONTHLY;BYDAY=2TU", "FREQ=MONTHLY;BYMONTHDAY=-1",
        "FREQ=MONTHLY;BYDAY=TU;BYSETPOS=1", "FREQ=DAILY;BYDAY=MO,TU,WE", "FREQ=HOURLY", "FREQ=WEEKLY;INTERVAL=1000",
        "FREQ=YEARLY;COUNT=40", "FREQ=YEARLY;BYMONTHDAY=10", "FREQ=WEEKLY;UNTIL=20250101T000000Z",
        "FREQ=WEEKLY;UNTIL=x",
    ],
)  # fmt: skip
def test_rules_that_advoware_cannot_hold_are_not_forced(rule: str) -> None:
    assert isinstance(repeated(rule), Untranslatable)


@pytest.mark.parametrize(
    "resource",
    [
        google("2026-02-10", "2026-02-12", recurrence=["RRULE:FREQ=WEEKLY"]),
        google("2026-02-10T10:00:00+01:00", "2026-02-11T10:00:00+01:00", recurrence=["RRULE:FREQ=WEEKLY"]),
        google("2026-02-10T22:00:00+01:00", "2026-02-11T01:00:00+01:00", recurrence=["RRULE:FREQ=WEEKLY"]),
        google("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00", recurrence=["RRULE:FREQ=WEEKLY"]),
        google("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00",
               recurrence=["RRULE:FREQ=WEEKLY", "EXDATE;TZID=Europe/Berlin:20260217T100000"]),
        google("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00", recurrence=["RDATE:20260217T100000Z"]),
        google("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00", eventType="outOfOffice"),
        google("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00", summary="x" * 1025),
        google("2026-02-10T10:00:00+01:00", "2026-02-11"),
        {**google("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00", recurrence=["RRULE:FREQ=DAILY"]),
         "start": {"dateTime": "2026-02-10T10:00:00+01:00", "timeZone": "America/New_York"}},
        {"id": "abcde", "start": {}, "end": {}},
    ],
)  # fmt: skip
def test_events_that_advoware_cannot_hold_come_with_a_reason(
    resource: dict[str, Any],
) -> None:
    event = google_to_event(resource)
    assert isinstance(event, Untranslatable)
    assert "Zahnarzt" not in event.reason


@pytest.mark.parametrize(
    "values", [{"turnusArt": 0}, {"datumBis": None}, {"datumBis": "2026-01-01"}]
)
def test_a_broken_series_in_advoware_is_untranslatable(values: dict[str, Any]) -> None:
    assert isinstance(termin_to_event(series(**values)), Untranslatable)


def test_a_termin_without_readable_date_is_untranslatable() -> None:
    assert isinstance(termin_to_event(termin(datum="31.12.2026")), Untranslatable)


def test_a_time_in_the_skipped_hour_is_shown_an_hour_later_and_stays_as_it_is_in_advoware() -> (
    None
):
    record = termin(datum="2026-03-29", uhrzeitVon="02:30:00", uhrzeitBis="02:45:00")
    event = event_of(record)
    assert (
        google_body(event, 1, SYNC_ID)["start"]["dateTime"]
        == "2026-03-29T03:30:00+02:00"
    )
    renamed = google_to_event({**stored_by_google(event), "summary": "Neu"})
    assert isinstance(renamed, NormalisedEvent)
    assert changed_termin(renamed, record) == {**record, "text": "Neu"}


@pytest.mark.parametrize("offset", ["+02:00", "+01:00"])
def test_of_the_doubled_hour_only_the_reading_of_the_clock_counts(offset: str) -> None:
    event = google_to_event(
        google(f"2026-10-25T02:15:00{offset}", f"2026-10-25T02:45:00{offset}")
    )
    assert isinstance(event, NormalisedEvent)
    wanted = event_of(
        termin(
            datum="2026-10-25",
            uhrzeitVon="02:15:00",
            uhrzeitBis="02:45:00",
            text="Zahnarzt",
        )
    )
    assert content_hash(event) == content_hash(wanted)


def test_a_weekly_meeting_stays_at_its_time_when_the_clocks_change() -> None:
    event = event_of(series(datum="2026-03-24"))
    body = google_body(event, 1, SYNC_ID)
    assert body["start"] == {
        "dateTime": "2026-03-24T10:00:00+01:00",
        "timeZone": "Europe/Berlin",
        "date": None,
    }


def test_times_of_other_zones_are_read_in_berlin() -> None:
    event = google_to_event(google("2026-07-01T08:00:00Z", "2026-07-01T05:00:00-04:00"))
    assert isinstance(event, NormalisedEvent)
    assert event.start == datetime(2026, 7, 1, 10, tzinfo=BERLIN)
    assert event.end == datetime(2026, 7, 1, 11, tzinfo=BERLIN)


def test_emptiness_blanks_line_ends_and_composition_make_no_difference() -> None:
    one = event_of(termin(text="Mu\u0308ll\x00er ", notiz="a\r\nb\x07", ort="\x00"))
    other = event_of(termin(text="Müller", notiz="a\nb", ort=None))
    assert content_hash(one) == content_hash(other)


def test_the_content_hash_is_the_same_in_every_process() -> None:
    expected = "2.6f7d4d1f5003993e4de1a58494a50cd6198c0d1690a77837011fc4195d1c1e2f"
    assert content_hash(event_of(termin())) == expected


def test_an_events_text_does_not_show_in_a_printed_plan() -> None:
    record = termin(text="Mandant Müller", notiz="geheim", ort="JVA")
    printed = repr(read_termin(record)) + repr(
        read_google_event(stored_by_google(event_of(record)))
    )
    assert not any(text in printed for text in ("Müller", "geheim", "JVA"))


@pytest.mark.parametrize("anwalt", ["", None, "ALLE", "alle", "Allgemein", " ALLE "])
def test_entries_of_all_employees_belong_to_each_employee(anwalt: str | None) -> None:
    assert read_termin(termin(anwalt=anwalt)).belongs_to("AI")


def test_an_entry_of_one_employee_belongs_to_no_one_else() -> None:
    entry = read_termin(
        termin(anwalt="SB", zuletztGeaendertAm="2026-02-01T12:00:00.123")
    )
    assert entry.belongs_to("SB")
    assert not entry.belongs_to("AI")
    assert entry.changed_at == datetime(2026, 2, 1, 12, 0, 0, 123000, tzinfo=BERLIN)


def test_an_event_of_the_sync_shows_its_termin_its_pair_and_foreign_text() -> None:
    event = event_of(termin())
    stored = {
        **stored_by_google(event),
        "etag": '"1"',
        "updated": "2026-02-01T12:00:00.000Z",
    }
    read = read_google_event(stored)
    assert (read.fr_nr, read.sync_id, read.etag, read.has_foreign_text) == (
        20001,
        SYNC_ID,
        '"1"',
        False,
    )
    hidden = stored_by_google(event.anonymise())
    assert not read_google_event(hidden).has_foreign_text
    assert read_google_event({**hidden, "location": "Gericht"}).has_foreign_text
    tombstone = read_google_event({"id": "abcde", "status": "cancelled"})
    assert tombstone.cancelled


def test_an_unmarked_event_of_the_sync_called_advoware_is_taken_as_anonymised() -> None:
    event = google_to_event(
        google(
            "2026-02-10T10:00:00+01:00",
            "2026-02-10T11:00:00+01:00",
            summary="Advoware",
            extendedProperties={"private": {"advoware_frnr": "20001"}},
        )
    )
    assert isinstance(event, NormalisedEvent)
    assert event.anonymised


def test_a_private_event_of_a_person_becomes_a_private_termin() -> None:
    times = ("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00")
    event = google_to_event(google(*times, visibility="private"))
    assert isinstance(event, NormalisedEvent)
    assert new_termin(event, "SB")["privat"] == 1


def test_an_event_never_touches_reminders() -> None:
    body = google_body(event_of(termin()), 20001, SYNC_ID)
    assert "reminders" not in body
    assert body["extendedProperties"]["private"]["advoware_frnr"] == "20001"
    assert body["extendedProperties"]["private"]["sync_id"] == str(SYNC_ID)


@given(st.integers(1, 10**9), st.text(max_size=30), st.integers(0, 9))
def test_event_ids_are_deterministic_and_valid(
    fr_nr: int, calendar_id: str, generation: int
) -> None:
    event_id = google_event_id(
        fr_nr, calendar_id.encode("utf-8", "replace").decode(), generation
    )
    assert event_id == google_event_id(
        fr_nr, calendar_id.encode("utf-8", "replace").decode(), generation
    )
    assert set(event_id) <= set("0123456789abcdefghijklmnopqrstuv")
    assert len(event_id) == 52
    assert event_id != google_event_id(
        fr_nr, calendar_id.encode("utf-8", "replace").decode(), generation + 1
    )
