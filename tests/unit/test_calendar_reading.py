"""Whatever a record of Advoware or Google is: reading it gives a value or a reason, never an exception."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.advoware.records import clock_time, parse_moment
from services.calendar_sync.mapping import (
    changed_termin,
    google_body,
    new_termin,
    read_google_events,
    read_termine,
    termin_to_event,
    with_our_times,
)
from services.calendar_sync.model import (
    END_GUESSED,
    FOR_EVER,
    GoogleEvent,
    NormalisedEvent,
    Termin,
    Untranslatable,
    content_hash,
    overlay,
    without_times,
)
from tests.unit.test_calendar_mapping import event_of, google, series, termin

SYNC_ID = UUID("00000000-0000-4000-8000-000000000001")
HUGE = 10**400
TIMES = ("2026-02-10T10:00:00+01:00", "2026-02-10T11:00:00+01:00")

odd_texts = st.sampled_from(
    [
        "", " ", "12a", "x\x00y", "\ud800", "\udfff <b>", "24:00", "24:00:00", "24:01", "25:61", "-1:00", "9:5",
        "0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31",
        "9999-12-31T23:59:59.9999999", "1799-12-31", "9999-12-31T23:30:00-05:00", "2201-01-01", "1800-01-01",
        "2200-12-31", "2026-02-10T24:00:00", "2026-02-30", "2026-03-29", "2026-10-25T02:30:00+01:00",
        "1899-12-30T10:00:00", "٢٠٢٦-٠٢-١٠", "9" * 5000, "1e999", "NaN", "Europe", "../etc/passwd", "Mars/Olympus",
        "America/New_York", "Europe/Paris\x00", "RRULE:", "RRULE:FREQ=DAILY;COUNT=" + "9" * 4999,
        "RRULE:FREQ=DAILY;UNTIL=99991231T235959Z", "RRULE:FREQ=DAILY;UNTIL=00010101",
        "RRULE:FREQ=WEEKLY;INTERVAL=" + "9" * 5000, "RRULE:FREQ=YEARLY;COUNT=3", "EXDATE:20260217", "cancelled",
        "confirmed", "private", "transparent", "default", "1", "0", "<a href='", "&#xD800;", "&#99999999999;",
        "<" * 50, "</a></ul></b>",
    ]
)  # fmt: skip
odd_numbers = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([HUGE, -HUGE, 10**4000, 1, 2, 3, 4, -1])
)
scalars = (
    odd_numbers
    | odd_texts
    | st.text(max_size=10)
    | st.dates().map(str)
    | st.datetimes().map(str)
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
)
advoware_fields = st.sampled_from(
    ["frNr", "zuletztGeaendertAm", *termin(), "turnus", "turnusArt"]
)
records = (
    st.dictionaries(advoware_fields, junk)
    | st.builds(
        lambda changes: {**termin(), **changes},
        st.dictionaries(advoware_fields, junk, max_size=3),
    )
    | st.builds(
        lambda changes: {**series(), **changes},
        st.dictionaries(advoware_fields, junk, max_size=3),
    )
    | junk
)
google_fields = st.sampled_from(
    [
        *(
            "id",
            "status",
            "summary",
            "description",
            "location",
            "start",
            "end",
            "recurrence",
            "visibility",
            "updated",
        ),
        *(
            "transparency",
            "extendedProperties",
            "etag",
            "eventType",
            "recurringEventId",
        ),
    ]
)
google_times = st.dictionaries(
    st.sampled_from(["date", "dateTime", "timeZone"]), scalars
)
google_values = (
    junk
    | google_times
    | st.lists(odd_texts, max_size=2)
    | st.fixed_dictionaries(
        {
            "private": st.dictionaries(
                st.sampled_from(["advoware_frnr", "sync_id", "advoware_anonymised"]),
                junk,
            )
        }
    )
)
resources = (
    st.dictionaries(google_fields, google_values)
    | st.builds(
        lambda changes: {**google(*TIMES), **changes},
        st.dictionaries(google_fields, google_values, max_size=3),
    )
    | st.builds(
        lambda rule, changes: {**google(*TIMES, recurrence=[rule]), **changes},
        odd_texts,
        st.dictionaries(
            st.sampled_from(["start", "end", "summary"]), google_times, max_size=2
        ),
    )
    | junk
)


def use(
    event: NormalisedEvent | Untranslatable, record: Any, current: GoogleEvent | None
) -> None:
    """Everything that is done with an event while others wait for their turn."""
    assert content_hash(event) == content_hash(event)
    other = event_of(termin())
    for usable in (
        event,
        overlay(other, event),
        event.part if isinstance(event, Untranslatable) else event,
    ):
        if isinstance(usable, NormalisedEvent):
            assert usable.first_day <= usable.last_day
            body = google_body(usable, 1, SYNC_ID, current, is_own=True)
            assert body["start"] != body["end"]
            changed_termin(usable, record)
            new_termin(overlay(other, usable), "SB")
            content_hash(without_times(usable, "a reason"))


@given(records)
@example({**termin(), "datumBis": "9999-12-31", "abwesenheit": 1})
@example({**termin(), "datum": "9999-12-31T23:30:00-05:00"})
def test_any_record_of_advoware_is_a_termin_or_has_a_reason(record: Any) -> None:
    read = read_termine([record, termin(frNr=7), record])
    assert 7 in {entry.fr_nr for entry in read.items}
    assert len(read.items) + len(read.unreadable) == 3
    for entry in read.items:
        assert abs(entry.fr_nr) < 2**31
        use(entry.event, entry.record, None)


@given(records)
@example({**termin(), "uhrzeitBis": "24:00"})
@example({**termin(), "uhrzeitBis": "25:61"})
@example({**termin(), "uhrzeitVon": "9:5", "datum": "2026-02-10T10:30:00"})
@example(
    {**termin(), "uhrzeitVon": "02:30", "uhrzeitBis": "3:15", "datum": "2026-03-29"}
)
@example({**termin(), "uhrzeitVon": None, "uhrzeitBis": None, "datumBis": ""})
@example({**series(), "turnus": "2", "datumBis": "9999-12-31T23:59:59"})
def test_times_that_are_written_in_our_way_mean_the_same_and_are_taken(
    record: Any,
) -> None:
    for entry in read_termine([record]).items:
        rewritten = with_our_times(entry.record)
        if rewritten is None:
            continue
        assert termin_to_event(rewritten) == entry.event
        assert entry.notes == ()
        for name in ("uhrzeitVon", "uhrzeitBis"):
            assert clock_time(rewritten[name], name) is not None
        for name in ("datum", "datumBis"):
            assert parse_moment(rewritten[name], name) is not None
        assert with_our_times(rewritten) is None


@given(resources)
def test_any_item_of_google_is_an_event_or_has_a_reason(resource: Any) -> None:
    read = read_google_events([resource, google(*TIMES)])
    assert len(read.items) + len(read.unreadable) == 2
    assert read.items[-1].id == "abcde"
    for event in read.items:
        use(event.event, termin(), event)


def one(**values: Any) -> Termin:
    read = read_termine([termin(**values)])
    assert not read.unreadable
    return read.items[0]


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "Termin",
        5,
        {},
        *(
            {"frNr": value}
            for value in ("12a", None, "", 0, 1.5, True, HUGE, [], 2**31)
        ),
    ],
)
def test_a_record_without_number_is_left_out_with_a_reason_without_its_texts(
    record: Any,
) -> None:
    if isinstance(record, dict):
        record = {**record, "text": "Mandant Müller"}
    read = read_termine([record, termin(frNr=3)])
    assert [entry.fr_nr for entry in read.items] == [3]
    assert len(read.unreadable) == 1
    assert "Müller" not in read.unreadable[0]
    assert read.unreadable[0].startswith("item 1: ")


@pytest.mark.parametrize("value", [5, "5", 5.0, " 5 "])
def test_a_number_may_be_written_in_several_ways(value: Any) -> None:
    assert one(frNr=value).fr_nr == 5


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "event",
        {},
        {"id": 5},
        {"id": ""},
        {"id": None},
        {"id": "a\x00b"},
        {"id": "a\ud800"},
    ],
)
def test_an_item_of_google_without_id_is_left_out_with_a_reason(item: Any) -> None:
    read = read_google_events([item, google(*TIMES)])
    assert [event.id for event in read.items] == ["abcde"]
    assert len(read.unreadable) == 1


# -- the ends of the calendar ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        "9999-12-31",
        "9999-12-31T00:00:00",
        "9999-12-31T23:59:59.9999999",
        "9999-12-30T23:00:00Z",
    ],
)
def test_an_end_without_limit_lasts_for_ever(end: str) -> None:
    closed = one(abwesenheit=1, datumBis=end).event
    assert isinstance(closed, NormalisedEvent)
    assert (closed.first_day, closed.last_day) == (date(2026, 2, 10), FOR_EVER)
    weekly = one(dauertermin=1, turnus=1, turnusArt=2, datumBis=end).event
    assert isinstance(weekly, NormalisedEvent)
    assert weekly.recurrence == "RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=TU"
    kept = changed_termin(
        weekly, termin(dauertermin=1, turnus=1, turnusArt=2, datumBis=end)
    )
    assert kept["datumBis"] == end


def test_an_end_that_was_never_set_is_none() -> None:
    event = one(datumBis="0001-01-01T00:00:00").event
    assert isinstance(event, NormalisedEvent)
    assert event.last_day == date(2026, 2, 10)


@pytest.mark.parametrize(
    "values",
    [
        {"datum": "0001-01-01"}, {"datum": "9999-12-31"}, {"datum": "1799-12-31"}, {"datum": "2201-01-01"},
        {"datumBis": "1750-01-01"}, {"datumBis": "2201-01-01"}, {"datum": "2026-02-30"}, {"datum": {}}, {"datum": None},
        {"uhrzeitVon": "25:61"}, {"uhrzeitVon": "-1:00"}, {"uhrzeitVon": "zehn"}, {"uhrzeitVon": 10},
        {"uhrzeitVon": "24:01"},
        {"dauertermin": 1, "turnusArt": 9}, {"dauertermin": 1, "turnusArt": 2, "turnus": HUGE}, {"dauertermin": "x"},
        {"dauertermin": 1, "turnusArt": 2, "turnus": -3}, {"abwesenheit": []}, {"text": {"de": "x"}},
        {"anwalt": ["SB"]},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_untranslatable_and_not_guessed(
    values: dict[str, Any],
) -> None:
    assert isinstance(one(**{"datumBis": "2026-02-10", **values}).event, Untranslatable)


@pytest.mark.parametrize(
    "name",
    ["uhrzeitVon", "uhrzeitBis", "datumBis", "text", "notiz", "dauertermin", "anwalt"],
)
def test_a_field_that_the_answer_lacks_is_unknown_and_not_empty(name: str) -> None:
    record = termin()
    del record[name]
    assert isinstance(read_termine([record]).items[0].event, Untranslatable)


@pytest.mark.parametrize("value", [1, "1", True, -1, "ja", "x", {}, HUGE, None])
def test_what_may_be_private_is_private(value: Any) -> None:
    assert one(privat=value).privat
    missing = termin()
    del missing["privat"]
    assert read_termine([missing]).items[0].privat


@pytest.mark.parametrize("value", [0, "0", "", False, "nein", 0.0])
def test_what_is_not_private_is_not(value: Any) -> None:
    assert not one(privat=value).privat


# -- ends that contradict the start ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "end", "notes"),
    [
        ({"uhrzeitVon": "17:00:00", "uhrzeitBis": "00:00:00"}, "2026-02-11T00:00:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "16:59:00", "uhrzeitBis": "00:00:00"}, "2026-02-10T17:29:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "00:00:00", "uhrzeitBis": "00:00:00"}, "2026-02-10T00:30:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "22:00:00", "uhrzeitBis": "01:00:00"}, "2026-02-11T01:00:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "21:00:00", "uhrzeitBis": "09:00:00"}, "2026-02-11T09:00:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "20:59:00", "uhrzeitBis": "09:00:00"}, "2026-02-10T21:29:00+01:00", (END_GUESSED,)),
        ({"uhrzeitVon": "10:00:00", "uhrzeitBis": "10:00:00"}, "2026-02-10T10:30:00+01:00", (END_GUESSED,)),
        ({"datumBis": "2026-02-09"}, "2026-02-10T11:00:00+01:00", (END_GUESSED,)),
        ({"uhrzeitBis": "25:61"}, "2026-02-10T10:30:00+01:00", (END_GUESSED,)),
        ({"datumBis": "31.12.2026"}, "2026-02-10T11:00:00+01:00", (END_GUESSED,)),
        ({"uhrzeitBis": None}, "2026-02-10T10:30:00+01:00", ()),
        ({"uhrzeitBis": "", "datumBis": "2026-02-10T00:00:00"}, "2026-02-10T10:30:00+01:00", ()),
        ({"uhrzeitBis": "24:00"}, "2026-02-11T00:00:00+01:00", ()),
        ({"uhrzeitBis": None, "datumBis": "2026-02-10T24:00:00"}, "2026-02-11T00:00:00+01:00", ()),
        ({"uhrzeitBis": "00:00:00", "datumBis": "2026-02-11"}, "2026-02-11T00:00:00+01:00", ()),
        ({"uhrzeitBis": "09:00:00", "datumBis": "2026-02-11"}, "2026-02-11T09:00:00+01:00", ()),
        ({"dauertermin": 1, "turnusArt": 2, "datumBis": "2026-12-31", "uhrzeitVon": "22:00", "uhrzeitBis": "01:00"},
         "2026-02-10T23:59:00+01:00", (END_GUESSED,)),
        ({"dauertermin": 1, "turnusArt": 2, "datumBis": "2026-12-31", "uhrzeitVon": "18:00", "uhrzeitBis": "24:00"},
         "2026-02-10T23:59:00+01:00", (END_GUESSED,)),
    ],
)  # fmt: skip
def test_an_end_that_contradicts_the_start_is_guessed_and_noted(
    values: dict[str, Any], end: str, notes: tuple[str, ...]
) -> None:
    record = {"datumBis": "2026-02-10", **values}
    entry = one(**record)
    assert isinstance(entry.event, NormalisedEvent)
    assert isinstance(entry.event.end, datetime)
    assert (entry.event.end.isoformat(), entry.notes) == (end, notes)
    assert changed_termin(entry.event, termin(**record)) == termin(**record)
