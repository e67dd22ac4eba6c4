"""Fault rules that alter values: what a twin shows, and what it stores, differently. Driven on both VMH twins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from advoware_calls import NOW, Advoware, serving
from espocrm_calls import Caller, espocrm
from google_calls import at_nine, call
from google_calls import serving as google_serving

from sandbox.advoware.app import AdvowareTwin

GERDA = {
    "rechtsform": "Frau",
    "anrede": "Frau",
    "vorname": "Gerda",
    "name": "Müller",
    "geburtsdatum": "1970-05-04",
}


@pytest.fixture
async def advoware() -> AsyncIterator[Advoware]:
    async with serving(AdvowareTwin(empty=True, clock=lambda: NOW)) as caller:
        await caller.log_in()
        yield caller


@pytest.fixture
async def crm() -> AsyncIterator[Caller]:
    async with espocrm() as caller:
        yield caller


async def gerda(advoware: Advoware) -> str:
    """A Beteiligte with two entries in her Kommunikation; her path."""
    created = await advoware.call("POST", "/Beteiligte", GERDA)
    path = f"/Beteiligte/{created['betNr']}"
    await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "0511 123456", "kommKz": 1}
    )
    await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "0171 1234567", "kommKz": 3}
    )
    return path


async def rule(caller: Advoware | Caller, **fields: Any) -> list[Any]:
    """Add a rule; all rules."""
    control = caller.desktop if isinstance(caller, Advoware) else caller.control
    rules: list[Any] = await control("POST", "faults", fields)
    return rules


ANSWERED = [
    ("name", "cut", 3, "name", "Mül"),
    ("name", "pad", 8, "name", "Müllerxx"),
    ("name", "upper", None, "name", "MÜLLER"),
    ("name", "lower", None, "name", "müller"),
    ("name", "value", "Mueller, G.", "name", "Mueller, G."),
    ("name", "ascii", None, "name", "Mueller"),
    ("name", "nfd", None, "name", "Mu\u0308ller"),
    ("name", "blanks", None, "name", "  Müller  "),
    ("name", "format", "Fa. {}", "name", "Fa. Müller"),
    ("name", "nul", None, "name", "Mül\x00ler"),
    ("name", "half_emoji", None, "name", "Mül\ud83dler"),
    ("name", "zero_width", None, "name", "Mül\u200bler"),
    ("name", "bidi", None, "name", "\u202aMüller\u202c"),
    ("name", "null", None, "name", None),
    ("name", "empty_text", None, "name", ""),
    ("rechtsform", "value", "Eheleute", "rechtsform", "Eheleute"),
    ("kommunikation", "empty_list", None, "kommunikation", []),
    ("kommunikation", "null", None, "kommunikation", None),
    ("betNr", "text", None, "betNr", "1001"),
    ("geburtsdatum", "number", None, "geburtsdatum", 19700504000000),
    ("geburtsdatum", "date", "german", "geburtsdatum", "04.05.1970"),
    ("geburtsdatum", "date", "utc", "geburtsdatum", "1970-05-04T00:00:00Z"),
    ("geburtsdatum", "date", "net", "geburtsdatum", "/Date(10627200000)/"),
    ("geburtsdatum", "date", "net_min", "geburtsdatum", "0001-01-01T00:00:00"),
    ("geburtsdatum", "date", "net_max", "geburtsdatum", "9999-12-31T00:00:00"),
    ("geburtsdatum", "date", "before_1800", "geburtsdatum", "1799-12-31T00:00:00"),
    ("geburtsdatum", "date", "after_2200", "geburtsdatum", "2201-01-01T00:00:00"),
    ("geburtsdatum", "date", "impossible", "geburtsdatum", "1970-02-30T00:00:00"),
]


@pytest.mark.parametrize(("field", "how", "to", "shown_as", "expected"), ANSWERED)
async def test_an_answer_shows_a_value_otherwise_until_the_rule_is_gone(
    advoware: Advoware, field: str, how: str, to: Any, shown_as: str, expected: Any
) -> None:
    path = await gerda(advoware)
    true = await advoware.call("GET", path)
    await rule(
        advoware,
        method="GET",
        path="/Beteiligte/",
        answer=[{"field": field, "how": how, "to": to}],
    )
    for _ in range(2):
        shown = await advoware.call("GET", path)
        assert shown[shown_as] == expected
        assert type(shown[shown_as]) is type(expected)
        assert {key: value for key, value in shown.items() if key != shown_as} == {
            key: value for key, value in true.items() if key != shown_as
        }
    await advoware.raw("DELETE", "/__sandbox__/faults")
    assert await advoware.call("GET", path) == true


async def test_a_key_or_a_whole_array_may_be_missing_or_spelled_otherwise(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        path="/Beteiligte/",
        answer=[
            {"field": "kommunikation[].tlf", "how": "missing", "where": {"kommKz": 1}},
            {"field": "adressen", "how": "missing"},
            {"field": "rowId", "how": "key_case", "to": "upper"},
            {"field": "bankkverbindungen", "how": "key_case", "to": "bankverbindungen"},
        ],
    )
    shown = await advoware.call("GET", path)
    assert [part.get("tlf") for part in shown["kommunikation"]] == [
        None,
        "0171 1234567",
    ]
    assert "tlf" not in shown["kommunikation"][0]
    assert not {"adressen", "rowId", "bankkverbindungen"} & shown.keys()
    assert {"ROWID", "bankverbindungen"} <= shown.keys()


async def test_where_and_match_choose_among_the_entries_of_an_array(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    tlf = {"field": "kommunikation[].tlf", "how": "no_blanks"}
    await rule(advoware, path="/Beteiligte/", answer=[{**tlf, "where": {"kommKz": 3}}])
    await rule(
        advoware,
        path="/Beteiligte/",
        answer=[{**tlf, "how": "cut", "to": 4, "match": "^0511"}],
    )
    assert [
        part["tlf"] for part in (await advoware.call("GET", path))["kommunikation"]
    ] == ["0511", "01711234567"]


async def test_entries_of_an_array_can_be_left_out(advoware: Advoware) -> None:
    path = await gerda(advoware)
    await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "030 1", "kommKz": 1}
    )
    await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "030 2", "kommKz": 1}
    )
    entry = {"field": "kommunikation[]", "how": "missing", "where": {"kommKz": 1}}
    await rule(advoware, path="/Beteiligte/", answer=[entry])
    assert [
        part["kommKz"] for part in (await advoware.call("GET", path))["kommunikation"]
    ] == [3]


async def test_half_an_emoji_travels_as_a_json_escape(advoware: Advoware) -> None:
    path = await gerda(advoware)
    await rule(
        advoware, path="/Beteiligte/", answer=[{"field": "name", "how": "half_emoji"}]
    )
    assert (
        r"M\u00fcl\ud83dler" in (await advoware.raw("GET", f"/api/v1/advonet{path}"))[1]
    )


async def test_an_answer_that_is_an_array_is_altered_entry_by_entry(
    advoware: Advoware,
) -> None:
    await gerda(advoware)
    await gerda(advoware)
    for field in ("name", "[].vorname"):
        await rule(
            advoware, path="/Beteiligte$", answer=[{"field": field, "how": "upper"}]
        )
    found = await advoware.call("GET", "/Beteiligte")
    assert [(record["vorname"], record["name"]) for record in found] == [
        ("GERDA", "MÜLLER")
    ] * 2


async def test_probability_chooses_values_by_seed_and_place_and_stays_with_them(
    advoware: Advoware,
) -> None:
    paths = [await gerda(advoware) for _ in range(30)]
    await rule(
        advoware,
        path="/Beteiligte",
        probability=0.5,
        answer=[{"field": "kommunikation[].tlf", "how": "no_blanks"}],
    )

    async def altered() -> list[str]:
        records = [await advoware.call("GET", path) for path in paths]
        return [part["tlf"] for record in records for part in record["kommunikation"]]

    first = await altered()
    assert 10 < sum(" " in value for value in first) < 50
    assert await altered() == first
    in_list = [
        part["tlf"]
        for record in await advoware.call("GET", "/Beteiligte")
        for part in record["kommunikation"]
    ]
    assert in_list == first


async def test_count_and_struck_speak_of_answers_that_came_out_different(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    upper = {"field": "name", "how": "upper"}
    await rule(
        advoware,
        path="/Beteiligte",
        count=1,
        answer=[upper, {**upper, "field": "vorname"}],
    )
    await advoware.call("GET", "/Beteiligte?name=Niemand")
    shown = [await advoware.call("GET", path) for _ in range(2)]
    assert [(record["vorname"], record["name"]) for record in shown] == [
        ("GERDA", "MÜLLER"),
        ("Gerda", "Müller"),
    ]
    assert [active["struck"] for active in await advoware.desktop("GET", "faults")] == [
        1
    ]
    journal = await advoware.desktop("GET", "journal")
    assert [entry["altered"] for entry in journal[-3:]] == [
        [],
        ["answer name: upper", "answer vorname: upper"],
        [],
    ]


async def test_alterations_and_another_fault_strike_the_same_request(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        method="PUT",
        path="/Beteiligte",
        stored=[{"field": "name", "how": "upper"}],
    )
    await rule(
        advoware, method="PUT", path="/Beteiligte", status=500, when="after", count=1
    )
    record = await advoware.call("GET", path)
    assert (await advoware.raw("PUT", f"/api/v1/advonet{path}", record))[0] == 500
    assert (await advoware.call("GET", path))["name"] == "MÜLLER"


async def test_rules_are_removed_by_name(advoware: Advoware) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        name="laut",
        path="/Beteiligte",
        answer=[{"field": "name", "how": "upper"}],
    )
    await rule(
        advoware,
        name="kurz",
        path="/Beteiligte",
        answer=[{"field": "vorname", "how": "cut", "to": 1}],
    )
    assert [
        active["name"]
        for active in await advoware.desktop("DELETE", "faults?name=laut")
    ] == ["kurz"]
    shown = await advoware.call("GET", path)
    assert (shown["vorname"], shown["name"]) == ("G", "Müller")


# -- what is stored -------------------------------------------------------------------------------------------------

STORED = [
    ("cut", 3, "Mei"),
    ("upper", None, "MEIER-SCHÄFER"),
    ("ascii", None, "Meier-Schaefer"),
    ("trim", None, "Meier-Schäfer"),
    ("value", "Schäfer", "Schäfer"),
    ("ignore", None, "Müller"),
]


@pytest.mark.parametrize(("how", "to", "expected"), STORED)
async def test_advoware_stores_something_else_than_was_sent(
    advoware: Advoware, how: str, to: Any, expected: str
) -> None:
    path = await gerda(advoware)
    record = await advoware.call("GET", path)
    await rule(
        advoware,
        method="PUT",
        path=r"/Beteiligte/\d+$",
        stored=[{"field": "name", "how": how, "to": to}],
    )
    answer = await advoware.call("PUT", path, {**record, "name": "Meier-Schäfer"})
    await advoware.raw("DELETE", "/__sandbox__/faults")
    assert answer["name"] == expected
    assert (await advoware.call("GET", path))["name"] == expected


async def test_the_answer_to_a_write_may_show_what_was_sent_although_something_else_is_stored(
    crm: Caller,
) -> None:
    await rule(
        crm,
        path="/CBeteiligte",
        stored=[
            {"field": "lastName", "how": "upper", "echo": True},
            {
                "field": "phoneNumberData[].type",
                "how": "value",
                "to": "Other",
                "echo": True,
            },
        ],
    )
    numbers = [{"phoneNumber": "+4951112345", "type": "Office", "primary": True}]
    answer = await crm.good(
        "POST", "CBeteiligte", {"lastName": "Grün", "phoneNumberData": numbers}
    )
    read = await crm.good("GET", f"CBeteiligte/{answer['id']}")
    assert (answer["lastName"], answer["phoneNumberData"][0]["type"]) == (
        "Grün",
        "Office",
    )
    assert (read["lastName"], read["phoneNumberData"][0]["type"]) == ("GRÜN", "Other")


async def test_what_people_enter_is_not_altered(crm: Caller) -> None:
    await rule(crm, stored=[{"field": "lastName", "how": "upper"}])
    assert (await crm.control("POST", "records/CBeteiligte", {"lastName": "Grün"}))[
        "lastName"
    ] == "Grün"


async def test_a_value_meets_the_same_fate_when_it_is_sent_again(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        path="/Beteiligte",
        probability=0.5,
        stored=[{"field": "name", "how": "upper"}],
    )
    record = await advoware.call("GET", path)
    names = [f"Müller {number}" for number in range(20)]
    rounds = [
        [
            (await advoware.call("PUT", path, {**record, "name": name}))["name"]
            for name in names
        ]
        for _ in range(2)
    ]
    assert rounds[0] == rounds[1]
    assert 3 < sum(name.isupper() for name in rounds[0]) < 17


@pytest.mark.parametrize(
    ("naming", "expected"),
    [
        ("nothing", (400, "")),
        ("field", (400, "Das Feld 'tlf' enthält einen ungültigen Wert.")),
        ("entry", (400, "Das Feld 'tlf' enthält einen ungültigen Wert (0900 1).")),
    ],
)
async def test_advoware_refuses_a_whole_object_for_one_value(
    advoware: Advoware, naming: str, expected: tuple[int, str]
) -> None:
    path = await gerda(advoware)
    refuse = {"field": "tlf", "how": "refuse", "to": naming, "match": "^0900"}
    await rule(advoware, method="POST|PUT", path="/Kommunikationen", stored=[refuse])
    body = {"tlf": "0900 1", "kommKz": 1}
    assert await advoware.refused("POST", f"{path}/Kommunikationen", body) == expected
    await advoware.call("POST", f"{path}/Kommunikationen", {**body, "tlf": "0511 1"})
    assert len((await advoware.call("GET", path))["kommunikation"]) == 3


@pytest.mark.parametrize(
    ("naming", "reason"),
    [
        ("nothing", ""),
        (
            "field",
            "Field validation failure; entityType: CBeteiligte, field: phoneNumber, type: valid.",
        ),
        (
            "entry",
            "Field validation failure; entityType: CBeteiligte, field: phoneNumber, type: valid. Value: +493012345.",
        ),
    ],
)
async def test_espocrm_refuses_a_whole_array_for_one_entry(
    crm: Caller, naming: str, reason: str
) -> None:
    refuse = {
        "field": "phoneNumberData[].phoneNumber",
        "how": "refuse",
        "to": naming,
        "match": r"^\+4930",
    }
    await rule(crm, method="PUT", path="/CBeteiligte", stored=[refuse])
    record = await crm.good("POST", "CBeteiligte", {"lastName": "Grün"})
    numbers = [{"phoneNumber": value} for value in ("+4951112345", "+493012345")]
    answer = await crm.call(
        "PUT",
        f"CBeteiligte/{record['id']}",
        {"lastName": "Rot", "phoneNumberData": numbers},
    )
    assert (answer.status, answer.reason) == (400, reason)
    assert (await crm.good("GET", f"CBeteiligte/{record['id']}"))["lastName"] == "Grün"
    await crm.good(
        "PUT", f"CBeteiligte/{record['id']}", {"phoneNumberData": numbers[:1]}
    )


async def test_an_answer_of_espocrm_stays_written_as_php_writes_it(crm: Caller) -> None:
    record = await crm.good("POST", "CBeteiligte", {"lastName": "Grün/Weiß"})
    await rule(
        crm, path="/CBeteiligte", answer=[{"field": "list[].name", "how": "lower"}]
    )
    assert (
        rb"gr\u00fcn\/wei\u00df".decode() in (await crm.call("GET", "CBeteiligte")).text
    )
    assert (await crm.good("GET", f"CBeteiligte/{record['id']}"))["name"] == "Grün/Weiß"


async def test_google_stores_and_shows_something_else_as_well() -> None:
    async with google_serving() as google:
        calendar = await google.new_calendar()
        stored = {
            "method": "POST",
            "path": "/events$",
            "stored": [{"field": "summary", "how": "upper"}],
        }
        shown = {
            "method": "GET",
            "path": "/events",
            "answer": [{"field": "items[].summary", "how": "cut", "to": 3}],
        }
        await google.control("POST", "faults", [stored, shown])
        event = await call(
            google.events.insert(calendarId=calendar, body=at_nine(summary="Urlaub"))
        )
        assert event["summary"] == "URLAUB"
        listed = await call(google.events.list(calendarId=calendar))
        assert [item["summary"] for item in listed["items"]] == ["URL"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"answer": [{"field": "name", "how": "shout"}]}, "'how' must be one of"),
        ({"answer": [{"field": "name", "how": "cut"}]}, "a number of characters"),
        (
            {"answer": [{"field": "name", "how": "cut", "to": -1}]},
            "a number of characters",
        ),
        (
            {"answer": [{"field": "name", "how": "date", "to": "julian"}]},
            "german, american",
        ),
        ({"answer": [{"field": "name", "how": "ignore"}]}, "for 'stored' only"),
        (
            {"answer": [{"field": "name", "how": "upper", "echo": True}]},
            "for 'stored' only",
        ),
        ({"answer": [{"field": "a..b", "how": "upper"}]}, "pattern"),
        (
            {"answer": [{"field": "name", "how": "upper", "match": "("}]},
            "no regular expression",
        ),
        (
            {"stored": [{"field": "name", "how": "refuse", "to": "all"}]},
            "nothing, field or entry",
        ),
        (
            {"stored": [{"field": "name", "how": "upper"}], "status": 500},
            "either alters",
        ),
        ({"path": "(", "status": 500}, "no regular expression"),
        ({"charset": "klingon"}, "no encoding"),
        ({"probability": 2, "status": 500}, "less than or equal to 1"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_and_says_why(
    advoware: Advoware, wrong: dict[str, Any], message: str
) -> None:
    status, text = await advoware.raw("POST", "/__sandbox__/faults", wrong)
    assert status == 400
    assert message in json.dumps(json.loads(text), ensure_ascii=False)
    assert await advoware.desktop("GET", "faults") == []


async def test_a_rule_itself_may_hold_half_an_emoji(advoware: Advoware) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        path="/Beteiligte",
        answer=[{"field": "name", "how": "value", "to": "\ud83d"}],
    )
    assert (await advoware.call("GET", path))["name"] == "\ud83d"


async def test_a_body_that_is_no_json_is_refused_as_a_rule(advoware: Advoware) -> None:
    async with advoware.session.post(
        f"{advoware.url}/__sandbox__/faults", data=b"{"
    ) as answer:
        assert answer.status == 400


# -- answers to work that was done ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "charset"), [("", None), ("Gespeichert für Müller", "latin-1")]
)
async def test_a_successful_write_may_answer_with_text_or_nothing(
    advoware: Advoware, text: str, charset: str | None
) -> None:
    path = await gerda(advoware)
    await rule(
        advoware,
        method="POST",
        path="/Kommunikationen",
        text=text,
        charset=charset,
        count=2,
    )
    url = f"{advoware.url}/api/v1/advonet{path}/Kommunikationen"
    body = {"tlf": "030 1", "kommKz": 1}
    async with advoware.session.post(
        url, json=body, headers=advoware.headers
    ) as answer:
        assert (answer.status, await answer.read()) == (201, text.encode("latin-1"))
        assert answer.headers["Content-Type"] == (
            "text/plain; charset=latin-1" if charset else "text/plain"
        )
    assert len((await advoware.call("GET", path))["kommunikation"]) == 3
    assert await advoware.refused("POST", f"{path}/Kommunikationen", {}) == (
        400,
        "Pflichtangaben fehlen: tlf, kommKz.",
    )


async def test_a_true_answer_may_come_as_text_in_latin_1(advoware: Advoware) -> None:
    path = await gerda(advoware)
    await rule(advoware, path=path, content_type="text/plain", charset="latin-1")
    async with advoware.session.get(
        f"{advoware.url}/api/v1/advonet{path}", headers=advoware.headers
    ) as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=latin-1"
        assert json.loads((await answer.read()).decode("latin-1"))["name"] == "Müller"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_says_when_to_come_again(
    advoware: Advoware, status: int
) -> None:
    await rule(
        advoware, path="/Beteiligte", status=status, headers={"Retry-After": "7"}
    )
    async with advoware.session.get(
        f"{advoware.url}/api/v1/advonet/Beteiligte", headers=advoware.headers
    ) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (status, "7")


async def test_an_endpoint_may_always_answer_401_whatever_the_token(
    advoware: Advoware,
) -> None:
    path = await gerda(advoware)
    await rule(advoware, path="/Termine", status=401)
    for _ in range(2):
        await advoware.log_in()
        assert (await advoware.raw("GET", "/api/v1/advonet/Termine"))[0] == 401
    await advoware.call("GET", path)
