"""The Advoware twin refuses what the real Advoware refuses, and keeps what it keeps (section 05)."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from advoware_calls import API, NOW, Advoware, login_body, serving, sign

from sandbox.advoware.app import AdvowareTwin, login_signature

MASTER_DATA = (
    "rechtsform",
    "anrede",
    "titel",
    "vorname",
    "name",
    "zusatz",
    "geburtsdatum",
    "geburtsname",
    "kurzname",
    "handelsRegisterNummer",
    "art",
    "registergericht",
)
#: Given by the vendor for product 64, app-123, the key "test-secret-key", nonce-abc, 2026-08-30T00:00:00.000Z.
PUBLISHED_SIGNATURE = "o7rz9KmoXZs550HfzO6ffiG17XwiPmlBHlksUYKZ3jcfolELow51Fw5KlrQqCK5y41aIValDjrh1iQ2GZ2WtqQ=="


@pytest.fixture(name="stranger")
async def caller_without_token() -> AsyncIterator[Advoware]:
    async with serving(AdvowareTwin(clock=lambda: NOW)) as advoware:
        yield advoware


@pytest.fixture(name="advoware")
async def caller_with_token(stranger: Advoware) -> Advoware:
    await stranger.log_in()
    return stranger


@pytest.fixture(name="blank")
async def beteiligter_without_any_lists(advoware: Advoware) -> dict[str, Any]:
    created: dict[str, Any] = await advoware.call(
        "POST", "/Beteiligte", {"name": "Neumann", "vorname": "Åsa"}
    )
    return created


def writable(record: dict[str, Any]) -> dict[str, Any]:
    return {field: record[field] for field in MASTER_DATA}


# -- discovery and login --------------------------------------------------------------------------------------------


async def test_the_configurator_points_to_the_twin_itself(stranger: Advoware) -> None:
    status, text = await stranger.raw(
        "GET", "/AdvonetConfigurator/api/Url?Kanzlei=demo"
    )
    addresses = json.loads(text)
    assert status == 200
    assert set(addresses) == {"relayUrl", "connectorUrl", "securityGateway"}
    assert {address.rstrip("/") for address in addresses.values()} == {stranger.url}


async def test_the_configurator_knows_no_other_kanzlei(stranger: Advoware) -> None:
    status, text = await stranger.raw(
        "GET", "/AdvonetConfigurator/api/Url?Kanzlei=andere"
    )
    assert status == 404
    assert "ist nicht registriert" in text


def test_the_signature_is_the_published_one() -> None:
    key = base64.b64encode(b"test-secret-key").decode()
    assert (
        login_signature(64, "app-123", "nonce-abc", "2026-08-30T00:00:00.000Z", key)
        == PUBLISHED_SIGNATURE
    )
    login = {
        "Product": 64,
        "AppID": "app-123",
        "Nonce": "nonce-abc",
        "RequestTimeStamp": "2026-08-30T00:00:00.000Z",
    }
    assert sign(login, b"test-secret-key") == PUBLISHED_SIGNATURE


async def test_a_good_login_gives_a_token_for_55_minutes(stranger: Advoware) -> None:
    status, text = await stranger.raw("POST", "/api/v1/Token", login_body())
    answer = json.loads(text)
    assert status == 200
    assert answer["expiration_utc"] == "2026-02-10T08:55:00.1234560Z"
    stranger.headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert (await stranger.call("GET", "/Beteiligte/1001"))["betNr"] == 1001


@pytest.mark.parametrize(
    "stamp",
    ["2026-02-10T07:55:01Z", "2026-02-10T08:04:59.5Z", "2026-02-10T08:00:00.000Z"],
)
async def test_a_timestamp_within_five_minutes_is_accepted(
    stranger: Advoware, stamp: str
) -> None:
    assert (
        await stranger.raw("POST", "/api/v1/Token", login_body(RequestTimeStamp=stamp))
    )[0] == 200


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"Password": "falsch"}, 401, "Falscher Name oder falsches Kennwort"),
        ({"User": "niemand"}, 401, "Falscher Name oder falsches Kennwort"),
        ({"Product": 3}, 403, "nicht freigeschaltet"),
        ({"Role": 1}, 403, "nicht freigeschaltet"),
        ({"Kanzlei": "andere"}, 403, "nicht freigeschaltet"),
        ({"Database": "andere"}, 403, "ist nicht angemeldet"),
        ({"AppID": "andere"}, 401, "ist nicht registriert"),
        ({"HMAC512Signature": PUBLISHED_SIGNATURE}, 401, "Signatur"),
        ({"HMAC512Signature": "ü"}, 401, "Signatur"),
        ({"RequestTimeStamp": "2026-02-10T07:54:59Z"}, 401, "Zeitstempel"),
        ({"RequestTimeStamp": "2026-02-10T08:05:01Z"}, 401, "Zeitstempel"),
        ({"RequestTimeStamp": "2026-02-10T09:00:00+01:00"}, 400, "Zeitstempel"),
        ({"RequestTimeStamp": "2026-02-10T08:00:00.12345678Z"}, 400, "Zeitstempel"),
        ({"RequestTimeStamp": "2026-02-30T08:00:00Z"}, 400, "Zeitstempel"),
        ({"Nonce": "keine-guid"}, 400, "Nonce"),
        ({"Password": None}, 400, "Password"),
        ({"Product": "64"}, 400, "Product"),
    ],
)
async def test_a_bad_login_is_refused_in_german(
    stranger: Advoware, changes: dict[str, Any], status: int, reason: str
) -> None:
    answered, text = await stranger.raw("POST", "/api/v1/Token", login_body(**changes))
    assert (answered, reason in text) == (status, True), text
    assert "demo-password" not in text


async def test_a_nonce_is_good_for_one_login(stranger: Advoware) -> None:
    login = login_body()
    assert (await stranger.raw("POST", "/api/v1/Token", login))[0] == 200
    status, text = await stranger.raw("POST", "/api/v1/Token", login)
    assert (status, "Nonce" in text) == (401, True)


async def test_a_request_with_a_forged_signature_uses_up_no_nonce(
    stranger: Advoware,
) -> None:
    nonce = str(uuid.uuid4())
    forged = login_body(Nonce=nonce, HMAC512Signature=PUBLISHED_SIGNATURE)
    assert (await stranger.raw("POST", "/api/v1/Token", forged))[0] == 401
    assert (await stranger.raw("POST", "/api/v1/Token", login_body(Nonce=nonce)))[
        0
    ] == 200


async def test_no_token_or_another_scheme_is_refused_with_a_text(
    stranger: Advoware,
) -> None:
    assert await stranger.refused("GET", "/Beteiligte") == (
        401,
        "Der Benutzer ist nicht angemeldet.",
    )
    stranger.headers = {"Authorization": "Basic YXBpOmRlbW8="}
    assert (await stranger.refused("GET", "/Beteiligte"))[0] == 401


async def test_an_unknown_token_is_refused_without_a_word(stranger: Advoware) -> None:
    stranger.headers = {"Authorization": "Bearer erfunden"}
    assert await stranger.refused("GET", "/Beteiligte") == (401, "")


async def test_a_token_expires_by_the_twins_clock(advoware: Advoware) -> None:
    await advoware.desktop("POST", "clock", {"advance_seconds": 55 * 60 - 1})
    await advoware.call("GET", "/Beteiligte/1001")
    await advoware.desktop("POST", "clock", {"advance_seconds": 1})
    assert await advoware.refused("GET", "/Beteiligte/1001") == (401, "")


async def test_revoked_tokens_are_refused_and_a_new_login_helps(
    advoware: Advoware,
) -> None:
    await advoware.desktop("POST", "revoke-tokens")
    assert await advoware.refused("GET", "/Beteiligte/1001") == (401, "")
    await advoware.log_in()
    await advoware.call("GET", "/Beteiligte/1001")


# -- Mitarbeiter ----------------------------------------------------------------------------------------------------


async def test_active_employees_are_listed_without_the_former_one(
    advoware: Advoware,
) -> None:
    listed = await advoware.call("GET", "/Mitarbeiter")
    active = await advoware.call("GET", "/Mitarbeiter?aktiv=true")
    assert (len(listed), len(active)) == (12, 11)
    assert {row["kuerzel"] for row in listed} - {row["kuerzel"] for row in active} == {
        "VW"
    }
    assert all(
        row["name"] and re.fullmatch("[A-P]{40}", row["rowId"]) for row in listed
    )


# -- Beteiligte -----------------------------------------------------------------------------------------------------


async def test_reading_a_beteiligter_shows_his_lists_and_derived_contacts(
    advoware: Advoware,
) -> None:
    record = await advoware.call("GET", "/Beteiligte/1001")
    assert {"kommunikation", "adressen", "bankkverbindungen"} <= set(record)
    assert (record["vorname"], record["name"], record["rechtsform"]) == (
        "Änne",
        "Übelacker",
        "Frau",
    )
    for field, komm_kz in {
        "telGesch": 1,
        "mobil": 3,
        "emailGesch": 4,
        "telPrivat": 6,
        "emailPrivat": 8,
    }.items():
        values = [
            entry["tlf"]
            for entry in record["kommunikation"]
            if entry["kommKz"] == komm_kz
        ]
        assert record[field] == (values[0] if values else None)
    entry = record["kommunikation"][0]
    assert set(entry) == {
        "id",
        "betNr",
        "rowId",
        "kommArt",
        "kommKz",
        "tlf",
        "bemerkung",
        "online",
    }


async def test_the_sample_parties_of_espocrm_only_are_unknown(
    advoware: Advoware,
) -> None:
    rows = await advoware.call("GET", "/Beteiligte")
    assert len(rows) == 54
    assert max(len(row["name"]) for row in rows) == 200
    status, text = await advoware.refused("GET", "/Beteiligte/1009")
    assert (status, "nicht gefunden" in text) == (404, True)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=schmidt&vorname=ERIKA", ["Schmidt"]),
        ("name=%C3%9CBELACKER", ["Übelacker"]),
        ("vorname=Max", ["Müller"]),
        ("kurzname=m%C3%BCller%2C%20max", ["Müller"]),
        ("name=Schmid", []),
        ("name=Müller&unbekannt=1", ["Müller"]),
    ],
)
async def test_the_list_is_filtered_by_equality(
    advoware: Advoware, query: str, names: list[str]
) -> None:
    rows = await advoware.call("GET", f"/Beteiligte?{query}")
    assert [row["name"] for row in rows] == names


async def test_the_list_is_filtered_by_birth_date(advoware: Advoware) -> None:
    born = (await advoware.call("GET", "/Beteiligte/1002"))["geburtsdatum"]
    rows = await advoware.call("GET", f"/Beteiligte?geburtsdatum={born[:10]}")
    assert 1002 in {row["betNr"] for row in rows}
    assert {row["geburtsdatum"] for row in rows} == {born}
    assert (await advoware.refused("GET", "/Beteiligte?geburtsdatum=gestern"))[0] == 400


async def test_a_read_by_number_may_come_as_a_list() -> None:
    async with serving(AdvowareTwin(clock=lambda: NOW, list_answers=True)) as advoware:
        await advoware.log_in()
        assert [
            record["betNr"] for record in await advoware.call("GET", "/Beteiligte/1001")
        ] == [1001]


async def test_a_new_beteiligter_gets_number_row_id_and_local_times(
    advoware: Advoware,
) -> None:
    sent = {
        "name": "O'Neill-Großmann",
        "vorname": "Zoë",
        "rechtsform": "Frau",
        "geburtsdatum": "1990-05-17",
    }
    read_only = {
        "betNr": 5,
        "rowId": "X",
        "angelegtVon": "ich",
        "mobil": "0171",
        "kommunikation": [{"tlf": "1"}],
    }
    created = await advoware.call("POST", "/Beteiligte", sent | read_only)
    assert created["betNr"] == 1061
    assert re.fullmatch("[A-P]{40}", created["rowId"])
    assert created["angelegtAm"] == created["geaendertAm"] == "2026-02-10T09:00:00"
    assert created["angelegtVon"] == created["geaendertVon"] == "API"
    assert created["geburtsdatum"] == "1990-05-17T00:00:00"
    assert (created["mobil"], created["kommunikation"]) == (None, [])
    assert await advoware.call("GET", "/Beteiligte/1061") == created


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "Name"),
        ({"name": "  "}, "Name"),
        ({"name": "x" * 251}, "höchstens 250"),
        ({"name": "x", "vorname": "y" * 101}, "höchstens 100"),
        ({"name": 5}, "Text"),
        ({"name": "x", "geburtsdatum": "17.05.1990"}, "Datum"),
        ([{"name": "x"}], "JSON-Objekt"),
    ],
)
async def test_a_bad_new_beteiligter_is_refused(
    advoware: Advoware, body: Any, reason: str
) -> None:
    status, text = await advoware.refused("POST", "/Beteiligte", body)
    assert (status, reason in text) == (400, True), text
    assert len(await advoware.call("GET", "/Beteiligte")) == 54


async def test_broken_json_is_refused(advoware: Advoware) -> None:
    url = f"{advoware.url}{API}/Beteiligte"
    async with advoware.session.post(
        url, data=b'{"name": ', headers=advoware.headers
    ) as answer:
        assert (answer.status, "JSON" in await answer.text()) == (400, True)


async def test_update_wants_the_full_object(advoware: Advoware) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    status, text = await advoware.refused("PUT", "/Beteiligte/1002", {"name": "Möller"})
    assert (status, "unvollständig" in text, "vorname" in text) == (400, True, True)
    assert await advoware.call("GET", "/Beteiligte/1002") == before


async def test_update_changes_row_id_and_change_time(advoware: Advoware) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    await advoware.desktop("POST", "clock", {"advance_seconds": 600})
    after = await advoware.call("PUT", "/Beteiligte/1002", before | {"name": "Möller"})
    assert after["rowId"] != before["rowId"]
    assert (after["geaendertAm"], after["geaendertVon"]) == (
        "2026-02-10T09:10:00",
        "API",
    )
    changed = {field for field in before if before[field] != after[field]}
    assert changed == {"name", "rowId", "geaendertAm", "geaendertVon"}
    assert await advoware.call("GET", "/Beteiligte/1002") == after


async def test_update_without_a_change_leaves_everything_alone(
    advoware: Advoware,
) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    await advoware.desktop("POST", "clock", {"advance_seconds": 600})
    same = {field: value or "" for field, value in writable(before).items()}
    assert await advoware.call("PUT", "/Beteiligte/1002", same) == before


async def test_update_ignores_read_only_attributes(advoware: Advoware) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    change = before | {
        "betNr": 7,
        "rowId": "A" * 40,
        "mobil": "0171 1",
        "geaendertVon": "XX",
        "kommunikation": [],
    }
    assert await advoware.call("PUT", "/Beteiligte/1002", change) == before


async def test_update_of_an_unknown_number_and_any_delete_are_refused(
    advoware: Advoware,
) -> None:
    body = writable(await advoware.call("GET", "/Beteiligte/1002"))
    assert (await advoware.refused("PUT", "/Beteiligte/99999", body))[0] == 404
    status, text = await advoware.refused("DELETE", "/Beteiligte/1002")
    assert (status, "nicht zulässig" in text) == (403, True)
    await advoware.call("GET", "/Beteiligte/1002")


# -- Kommunikationen, Adressen, Bankverbindungen --------------------------------------------------------------------


async def test_a_new_kommunikation_shows_in_list_and_derived_field_only(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    body = {
        "tlf": "0171-3920012",
        "bemerkung": "[ESPOCRM:x:3] privat",
        "kommKz": 3,
        "online": False,
    }
    entry = await advoware.call("POST", f"{path}/Kommunikationen", body)
    assert entry | body == entry
    assert (entry["betNr"], entry["kommArt"]) == (blank["betNr"], "Mobil")
    after = await advoware.call("GET", path)
    assert after == blank | {"kommunikation": [entry], "mobil": "0171-3920012"}


async def test_a_changed_kommunikation_keeps_its_kind_and_the_others_row_ids(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    first, second = [
        await advoware.call(
            "POST", f"{path}/Kommunikationen", {"tlf": tlf, "kommKz": 4, "online": True}
        )
        for tlf in ("a@example.de", "b@example.de")
    ]
    changed = await advoware.call(
        "PUT",
        f"{path}/Kommunikationen/{first['id']}",
        {"tlf": "c@example.de", "kommKz": 8},
    )
    assert changed == first | {"tlf": "c@example.de", "rowId": changed["rowId"]}
    assert changed["rowId"] != first["rowId"]
    after = await advoware.call("GET", path)
    assert after["kommunikation"] == [changed, second]
    assert (after["rowId"], after["emailGesch"], after["emailPrivat"]) == (
        blank["rowId"],
        "c@example.de",
        None,
    )


async def test_an_emptied_kommunikation_stays_as_a_slot(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    entry = await advoware.call(
        "POST", f"{path}/Kommunikationen", {"tlf": "0171-3920012", "kommKz": 3}
    )
    slot = {"tlf": "", "bemerkung": "[ESPOCRM-SLOT:3]"}
    emptied = await advoware.call("PUT", f"{path}/Kommunikationen/{entry['id']}", slot)
    assert emptied | slot == emptied
    assert (await advoware.call("GET", path))["mobil"] is None
    again = await advoware.call("PUT", f"{path}/Kommunikationen/{entry['id']}", slot)
    assert again == emptied


@pytest.mark.parametrize(
    "body",
    [
        {"tlf": "030 1"},
        {"kommKz": 1},
        {"tlf": "030 1", "kommKz": 13},
        {"tlf": "030 1", "kommKz": "1"},
        {"tlf": "030 1", "kommKz": 1, "online": 1},
        {"tlf": "0" * 256, "kommKz": 1},
    ],
)
async def test_a_bad_kommunikation_is_refused(
    advoware: Advoware, blank: dict[str, Any], body: Any
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    assert (await advoware.refused("POST", f"{path}/Kommunikationen", body))[0] == 400
    assert await advoware.call("GET", path) == blank


async def test_an_address_is_created_whole_but_changed_only_in_part(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    body = {
        "strasse": "Große Straße 1",
        "plz": "30159",
        "ort": "Hannover",
        "land": "Österreich",
        "postfach": "1234",
        "postfachPLZ": "30001",
        "anschrift": "Åsa Neumann\nGroße Straße 1\n30159 Hannover",
        "standardAnschrift": True,
        "bemerkung": "EspoCRM-ID: 65f89a6c68d0a5790",
        "gueltigVon": "2026-01-01T00:00:00",
        "gueltigBis": "2026-12-31T00:00:00",
        "reihenfolgeIndex": 3,
    }
    created = await advoware.call("POST", f"{path}/Adressen", body)
    assert created | body == created
    change = {
        "strasse": "Kurze Straße 2",
        "plz": "10115",
        "ort": "Berlin",
        "anschrift": "neu",
        "land": "Schweiz",
        "postfach": "9",
        "postfachPLZ": "9",
        "standardAnschrift": False,
        "bemerkung": "weg",
        "gueltigVon": "2020-01-01",
        "gueltigBis": None,
        "reihenfolgeIndex": 9,
    }
    changed = await advoware.call("PUT", f"{path}/Adressen/{created['id']}", change)
    taken = {field: change[field] for field in ("strasse", "plz", "ort", "anschrift")}
    assert changed == created | taken | {"rowId": changed["rowId"]}
    assert (await advoware.call("GET", path))["rowId"] == blank["rowId"]


async def test_exactly_one_address_is_the_main_one(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"

    async def main_addresses() -> list[str]:
        record = await advoware.call("GET", path)
        return [
            address["ort"]
            for address in record["adressen"]
            if address["standardAnschrift"]
        ]

    for ort, is_main, expected in (
        ("A", False, "A"),
        ("B", False, "A"),
        ("C", True, "C"),
    ):
        await advoware.call(
            "POST", f"{path}/Adressen", {"ort": ort, "standardAnschrift": is_main}
        )
        assert await main_addresses() == [expected]


async def test_bank_accounts_can_only_be_added(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path = f"/Beteiligte/{blank['betNr']}"
    body = {
        "bank": "Commerzbank",
        "iban": "DE62370400440000000011",
        "bic": "COBADEFFXXX",
        "kontoinhaber": "Å. Neumann",
    }
    account = await advoware.call("POST", f"{path}/Bankverbindungen", body)
    assert account | body == account
    assert (
        await advoware.refused("PUT", f"{path}/Bankverbindungen/{account['id']}", body)
    )[0] == 405
    assert (
        await advoware.refused("DELETE", f"{path}/Bankverbindungen/{account['id']}")
    )[0] == 403
    after = await advoware.call("GET", path)
    assert after == blank | {"bankkverbindungen": [account]}


@pytest.mark.parametrize("iban", [None, "", "DE62370400440000000012", "DE62", "ohne"])
async def test_a_bad_iban_is_refused(
    advoware: Advoware, blank: dict[str, Any], iban: str | None
) -> None:
    path = f"/Beteiligte/{blank['betNr']}/Bankverbindungen"
    assert (await advoware.refused("POST", path, {"iban": iban, "bic": "COBADEFFXXX"}))[
        0
    ] == 400


@pytest.mark.parametrize("resource", ["Kommunikationen", "Adressen"])
async def test_entries_of_lists_are_neither_listed_nor_deleted_nor_found_elsewhere(
    advoware: Advoware, blank: dict[str, Any], resource: str
) -> None:
    path = f"/Beteiligte/{blank['betNr']}/{resource}"
    entry = await advoware.call("POST", path, {"tlf": "030 1", "kommKz": 1})
    assert (await advoware.refused("GET", path))[0] == 405
    assert (await advoware.refused("GET", f"{path}/{entry['id']}"))[0] == 405
    assert (await advoware.refused("DELETE", f"{path}/{entry['id']}"))[0] == 403
    assert await advoware.refused(
        "PUT", f"/Beteiligte/1001/{resource}/{entry['id']}", {}
    ) == (404, "")
    assert (
        await advoware.refused(
            "POST", f"/Beteiligte/99999/{resource}", {"tlf": "030 1", "kommKz": 1}
        )
    )[0] == 404


# -- people at the desktop program ----------------------------------------------------------------------------------


async def test_a_person_changes_master_data(advoware: Advoware) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    await advoware.desktop("PUT", "beteiligte/1002", {"name": "Möller"})
    after = await advoware.call("GET", "/Beteiligte/1002")
    assert (after["name"], after["vorname"], after["geaendertVon"]) == (
        "Möller",
        "Max",
        "SB",
    )
    assert after["rowId"] != before["rowId"]
    assert after["kommunikation"] == before["kommunikation"]


async def test_a_person_adds_changes_and_removes_entries_of_the_lists(
    advoware: Advoware, blank: dict[str, Any]
) -> None:
    path, desktop_path = (
        f"/Beteiligte/{blank['betNr']}",
        f"beteiligte/{blank['betNr']}",
    )
    await advoware.desktop(
        "PUT",
        desktop_path,
        {"kommunikation": [{"tlf": "030 1", "kommKz": 1}, {"kommKz": 10}]},
    )
    first, second = (await advoware.call("GET", path))["kommunikation"]
    edits = [{"id": first["id"], "kommKz": 6}, {"id": second["id"], "delete": True}]
    addresses = [{"ort": "Celle", "land": "Schweiz"}]
    accounts = [{"iban": "DE62370400440000000011"}]
    change = {
        "kommunikation": edits,
        "adressen": addresses,
        "bankverbindungen": accounts,
    }
    after = await advoware.desktop("PUT", desktop_path, change)
    assert [
        (entry["id"], entry["kommKz"], entry["kommArt"])
        for entry in after["kommunikation"]
    ] == [(first["id"], 6, "TelPrivat")]
    assert (after["telGesch"], after["telPrivat"]) == (None, "030 1")
    assert [address["land"] for address in after["adressen"]] == ["Schweiz"]
    assert [account["iban"] for account in after["bankkverbindungen"]] == [
        "DE62370400440000000011"
    ]
    assert (after["rowId"], after["geaendertAm"]) == (
        blank["rowId"],
        blank["geaendertAm"],
    )


async def test_a_refused_edit_changes_nothing(advoware: Advoware) -> None:
    before = await advoware.call("GET", "/Beteiligte/1002")
    bad = {
        "name": "Neu",
        "kommunikation": [
            {"id": before["kommunikation"][0]["id"], "delete": True},
            {"kommKz": 99},
        ],
    }
    assert (await advoware.raw("PUT", "/__sandbox__/beteiligte/1002", bad))[0] == 400
    assert (
        await advoware.raw("PUT", "/__sandbox__/beteiligte/1002", {"nahme": "Neu"})
    )[0] == 400
    assert await advoware.call("GET", "/Beteiligte/1002") == before


async def test_a_person_deletes_a_beteiligter(advoware: Advoware) -> None:
    await advoware.desktop("DELETE", "beteiligte/1002")
    assert (await advoware.refused("GET", "/Beteiligte/1002"))[0] == 404
    assert (await advoware.raw("DELETE", "/__sandbox__/beteiligte/1002"))[0] == 404
