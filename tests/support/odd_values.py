"""What a broken, careless or hostile system may answer: values of every wrong kind, and records that hold them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from services.core.foreign_text import MAX_LEVELS
from services.values.merge import Unknown

Path = tuple[Any, ...]


def nested(levels: int) -> Any:
    """Lists and objects inside each other."""
    value: Any = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"id": value}
    return value


ODD_TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udc00x",
        "\u202e49 511 1",
        "\ufeff",
        "²",
        "٣",
    ),
    *("0", "-1", "1" * 30, "9" * 5000, "1e400", "NaN", "true", "null", "[", "{}", "%"),
    *("0001-01-01", "0001-01-01T00:00:00", "9999-12-31", "9999-12-31T23:59:59.9999999"),
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-02-30",
        "24:00:00",
    ),
    *("1799-12-31T23:59:59Z", "2200-12-31T23:30:00-12:00", "2026-03-29T02:30:00"),
    *("23:59:60", "-00:01", "2026-01-01T00:00:00+99:99", "31.12.9999", "0000-00-00"),
    *("RRULE:FREQ=YEARLY;UNTIL=99991231T235959Z", "RRULE:FREQ=DAILY;INTERVAL=0"),
    *("RRULE:FREQ=DAILY;COUNT=" + "9" * 30, "RRULE:FREQ=SECONDLY", "EXDATE;TZID=X:1"),
    *("RRULE:FREQ=YEARLY;BYDAY=99MO;INTERVAL=" + "9" * 12, "RRULE:", "UTC", "../etc"),
    *(
        "DE00",
        "DE89370400440532013000",
        "XX" + "0" * 40,
        "a@b",
        "ä@ö.de",
        "@",
        "+",
        "0511",
    ),
    *(
        "[ESPOCRM:////:4] x",
        "[ESPOCRM:YWJj:99]",
        "[ESPOCRM-SLOT:",
        "<p>&#0;<b",
        "&#x110000;",
    ),
    *("DTSTART;TZID=Europe/Berlin:99991231T235959", "xn--\x80", "x" * 20_000),
)
ODD_VALUES = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 10**400),
    *(0.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan")),
    *(
        [],
        {},
        [None],
        [[]],
        [{}],
        {"": None},
        {"id": []},
        [1, "x", None],
        {"dateTime": 5},
    ),
    *(
        {"private": {"advoware_frnr": 1}},
        {"date": "9999-12-31"},
        {"timeZone": "Mars/X"},
    ),
    *({"dateTime": "0001-01-01T00:00:00Z"}, {"dateTime": "9999-12-31T23:59:59-14:00"}),
)


def one_of(choice: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of them. By its place: hypothesis would print all of them, with their thousands of characters."""
    return st.integers(0, len(choice) - 1).map(
        lambda place: copy.deepcopy(choice[place])
    )


texts = one_of(ODD_TEXTS) | st.text(max_size=12)
values = (
    one_of(ODD_VALUES)
    | texts
    | st.builds(nested, st.integers(1, MAX_LEVELS - 1))
    | st.lists(one_of([*ODD_VALUES, *ODD_TEXTS]), max_size=3)
)
numbers = st.sampled_from([0, 1, -1, 4, 7, 13, 2**31, 10**18, 10**30]) | st.integers()
#: What our own code makes of a foreign value (`services.values.merge`).
comparables = st.none() | texts | st.builds(Unknown, texts)

#: One usable record of each kind. Tests break a copy.
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "CBeteiligte": {
        "id": "6b0473a32660ab101",
        "betnr": 1061,
        "rechtsform": "",
        "salutationName": "Frau",
        "firstName": "Erika",
        "lastName": "Muster",
        "firmenname": None,
        "dateOfBirth": "1970-05-01",
        "handelsregisterNummer": "HRB 1",
        "erasedFields": "firstName",
        "modifiedAt": "2026-01-01 10:00:00",
        "phoneNumber": "+4951112345",
        "emailAddress": "erika@example.de",
        "phoneNumberData": [
            {"phoneNumber": "+4951112345", "type": "Office", "primary": True}
        ],
        "emailAddressData": [{"emailAddress": "erika@example.de", "primary": True}],
    },
    "Beteiligter": {
        "betNr": 1061,
        "rowId": "AAAA",
        "rechtsform": "GmbH",
        "anrede": "Frau",
        "titel": "Dr.",
        "vorname": "Erika",
        "name": "Muster",
        "geburtsdatum": "1970-05-01T00:00:00",
        "angelegtAm": "2026-01-01T10:00:00",
        "geaendertAm": "2026-01-01T10:00:00",
        "telGesch": "0511 12345",
        "registergericht": "Hannover",
        "kommunikation": [
            {
                "id": 1,
                "rowId": "BBBB",
                "kommKz": 1,
                "tlf": "0511 12345",
                "bemerkung": "[ESPOCRM:YWJj:1] Büro",
            }
        ],
        "adressen": [{"id": 3, "rowId": "CCCC", "strasse": "Weg 1", "plz": "30159"}],
        "bankkverbindungen": [{"id": 4, "iban": "DE89370400440532013000"}],
    },
    "Kommunikation": {
        "id": 1,
        "rowId": "B",
        "kommKz": 3,
        "tlf": "0170 1",
        "bemerkung": "",
    },
    "row": {
        "phoneNumber": "0170 1",
        "type": "Mobile",
        "optOut": True,
        "emailAddress": "a@b.de",
    },
    "CAdressen": {
        "id": "6b0473a32660ab138",
        "adresseStreet": "Weg 1\nHinterhaus",
        "adressePostalCode": "30159",
        "adresseCity": "Hannover",
        "adresseCountry": "Deutschland",
        "gueltigVon": "2026-01-01",
        "gueltigBis": "2027-01-01",
        "postfach": "12",
        "erasedFields": "adresseStreet",
    },
    "Adresse": {
        "id": 3,
        "rowId": "CCCC",
        "strasse": "Weg 1",
        "plz": "30159",
        "ort": "Hannover",
        "land": "D",
        "postfach": "12",
        "postfachPLZ": "30001",
        "anschrift": "Frau\nErika Muster\nWeg 1\n30159 Hannover",
        "bemerkung": "[EspoCRM:6b0473a32660ab138] x",
        "gueltigVon": "2026-01-01T00:00:00",
        "gueltigBis": None,
    },
    "CBankverbindungen": {
        "id": "6b0473a32660ab139",
        "iban": "DE89370400440532013000",
        "bic": "COBADEFFXXX",
        "kontoinhaber": "Erika Muster",
        "bankname": "Bank",
        "erasedFields": "",
    },
    "Bankverbindung": {
        "id": 4,
        "iban": "",
        "bic": "COBADEFF",
        "kontoinhaber": "Erika Muster",
        "bank": "Bank",
        "kontoNr": "532013000",
        "blz": "37040044",
    },
    "Termin": {
        "frNr": 20001,
        "datum": "2026-02-10T00:00:00",
        "datumBis": "2026-12-31T00:00:00",
        "uhrzeitVon": "10:00:00",
        "uhrzeitBis": "11:00:00",
        "text": "Gütetermin",
        "notiz": "Akte",
        "ort": "Saal 1",
        "anwalt": "SB",
        "privat": 0,
        "abwesenheit": 0,
        "dauertermin": 1,
        "turnus": 1,
        "turnusArt": 2,
        "zuletztGeaendertAm": "2026-01-01T10:00:00",
    },
    "event": {
        "id": "abc123",
        "etag": '"1"',
        "status": "confirmed",
        "updated": "2026-01-01T10:00:00.000Z",
        "summary": "Gütetermin",
        "description": "<p>Akte</p>",
        "location": "Saal 1",
        "visibility": "private",
        "start": {"dateTime": "2026-02-10T10:00:00+01:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2026-02-10T11:00:00+01:00", "timeZone": "Europe/Berlin"},
        "originalStartTime": {"dateTime": "2026-02-10T10:00:00+01:00"},
        "recurrence": ["RRULE:FREQ=WEEKLY;UNTIL=20261231T225959Z"],
        "extendedProperties": {"private": {"advoware_frnr": "20001", "sync_id": "x"}},
    },
    "rule": {
        "id": "user:a@b.de",
        "role": "reader",
        "scope": {"type": "user", "value": "a@b.de"},
    },
    "token": {
        "access_token": "t",
        "expires_in": 3600,
        "expiration_utc": "2026-01-01T10:00:00Z",
    },
    "job": {"entity_id": "6b0473a32660ab101", "action": "update", "source": "webhook"},
    "old row": {
        "sync_id": "00000000-0000-4000-8000-000000000001",
        "employee_kuerzel": "SB",
        "advoware_frnr": 20001,
        "google_event_id": "abc123",
        "source_system": "advoware",
        "sync_strategy": "source_system_wins",
        "last_sync": "2026-01-01T10:00:00",
        "deleted": False,
    },
}


def _places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Each place inside a value, down to the fifth level."""
    if len(path) == 5:
        return
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        yield (*path, name)
        yield from _places(member, (*path, name))


def _put(record: Any, path: Path, value: Any) -> None:
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value


@st.composite
def broken(draw: st.DrawFn, names: tuple[str, ...] = tuple(SAMPLES)) -> dict[str, Any]:
    """A record of one of these kinds with up to four of its values replaced by odd ones, or a member taken away."""
    record = copy.deepcopy(dict(SAMPLES[draw(st.sampled_from(names))]))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(list(_places(record))))
        _put(record, path, draw(values))
    if draw(st.booleans()):
        record.pop(draw(st.sampled_from(sorted(record))))
    return record


records = broken() | st.dictionaries(texts, values, max_size=3)
#: Beteiligte whose list of Kommunikation is one.
beteiligte = st.builds(
    lambda advo, rows: {**advo, "kommunikation": rows},
    broken(("Beteiligter",)),
    st.lists(broken(("Kommunikation",)) | values, max_size=3),
)
anything = values | records | st.lists(records, max_size=2)
