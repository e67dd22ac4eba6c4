"""Adressen are mapped without losing or inventing anything."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adressen_mapper import (
    FIELDS,
    NO_LABEL,
    AdressenMapper,
    adressen_of,
    canonical_adresse,
    espocrm_id_of,
    has_content,
    marked,
    user_text_of,
)
from services.values.address_block import build_anschrift
from services.values.countries import country_code, country_text
from services.values.merge import Unknown

MAPPER = AdressenMapper()
PERSON = {
    "betNr": 1001,
    "anrede": "Herr",
    "titel": "Dr.",
    "vorname": "Max",
    "name": "Müller",
    "rechtsform": "Herr",
}
COMPANY = {"betNr": 1002, "name": "Grün & Co. KG", "rechtsform": "KG"}

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30) | st.none()
words = st.from_regex(r"[A-Za-zÄÖÜäöüß][A-Za-zÄÖÜäöüß .-]{0,20}", fullmatch=True)
days = (
    st.dates(date(1800, 1, 1), date(2200, 12, 31)).map(lambda day: day.isoformat())
    | st.none()
)
countries = st.sampled_from([None, "", "DE", "AT", "Schweiz", "fr"])
NO_VALUES = dict.fromkeys(FIELDS)


def cadressen(**attributes: Any) -> dict[str, Any]:
    return {"id": "6b0473a32660ab138", **attributes}


@given(
    street=st.lists(words, min_size=1, max_size=4),
    plz=st.from_regex(r"[0-9]{5}", fullmatch=True),
    ort=words,
    country=countries,
    postfach=texts,
    von=days,
    bis=days,
)
def test_an_address_created_in_advoware_means_the_same_there(
    street: list[str],
    plz: str,
    ort: str,
    country: str | None,
    postfach: str | None,
    von: str | None,
    bis: str | None,
) -> None:
    espo = cadressen(
        adresseStreet="\n".join(street),
        adressePostalCode=plz,
        adresseCity=ort,
        adresseCountry=country,
        postfach=postfach,
        postfachPLZ=None,
        gueltigVon=von,
        gueltigBis=bis,
    )
    created = MAPPER.map_cadressen_to_advoware(espo, PERSON, is_main=False)
    assert MAPPER.get_changed_fields(espo, created) == []
    assert MAPPER.comparable_from_advoware(created) == MAPPER.comparable_from_espocrm(
        espo
    )
    back = MAPPER.map_advoware_to_cadressen(created)
    assert MAPPER.comparable_from_espocrm(back) == MAPPER.comparable_from_espocrm(espo)


@given(street=texts, city=texts, country=countries, postfach=texts)
def test_comparing_is_idempotent_and_blind_to_blanks_and_composition(
    street: str | None, city: str | None, country: str | None, postfach: str | None
) -> None:
    espo = cadressen(
        adresseStreet=street,
        adresseCity=city,
        adresseCountry=country,
        postfach=postfach,
    )
    spaced = {
        name: f"  {value} " if name != "id" and value else value
        for name, value in espo.items()
    }
    values = MAPPER.comparable_from_espocrm(espo)
    assert MAPPER.comparable_from_espocrm(spaced) == values
    assert "" not in values.values()
    back = MAPPER.comparable_from_espocrm(MAPPER.to_espocrm(values, values))
    assert {**NO_VALUES, **back} == {**NO_VALUES, **values}


@given(texts)
def test_an_empty_country_is_not_made_up(name: str | None) -> None:
    created = MAPPER.map_cadressen_to_advoware(
        cadressen(adresseStreet=name, adresseCountry=""), COMPANY, is_main=True
    )
    assert created["land"] == ""
    assert (
        MAPPER.map_advoware_to_cadressen({"id": 1, "strasse": name, "land": None})[
            "adresseCountry"
        ]
        is None
    )


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("DE", "DE"), ("de", "DE"), ("Deutschland", "DE"), ("D", "DE"), ("Germany", "DE"), ("österreich", "AT"),
        ("A", "AT"), ("Großbritannien", "GB"), ("Vereinigtes Königreich", "GB"), ("USA", "US"), ("Tschechien", "CZ"),
        ("Tschechische Republik", "CZ"), (" Schweiz ", "CH"), ("Absurdistan", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_countries_are_known_by_code_and_by_name(
    written: str | None, code: str | None
) -> None:
    assert country_code(written) == code


def test_every_country_text_leads_back_to_its_code() -> None:
    assert country_text("AT") == "Österreich"
    assert country_text("Absurdistan") == "Absurdistan"
    for code in ("DE", "AT", "CH", "FR", "GB", "US", "CZ", "XK", "NL", "TR"):
        assert country_code(country_text(code)) == code


def test_the_printed_block_is_made_of_the_parts() -> None:
    espo = cadressen(
        adresseStreet="Lange Straße 5\nHinterhaus", adressePostalCode="6020", adresseCity="Innsbruck",
        adresseCountry="AT", postfach="12",
    )  # fmt: skip
    created = MAPPER.map_cadressen_to_advoware(espo, PERSON, is_main=True)
    assert created["strasse"] == "Lange Straße 5"
    assert (
        created["anschrift"]
        == "Herrn Dr. Max Müller\nLange Straße 5\nHinterhaus\n6020 Innsbruck\nÖSTERREICH"
    )
    assert (created["land"], created["standardAnschrift"]) == ("Österreich", True)


def test_the_block_of_a_company_with_a_post_office_box_names_the_box() -> None:
    values = {
        "strasse": None,
        "plz": None,
        "ort": "Hannover",
        "postfach": "1234",
        "postfachPLZ": "30001",
    }
    assert (
        build_anschrift("Grün & Co. KG", values)
        == "Grün & Co. KG\nPostfach 1234\n30001 Hannover"
    )


def test_lines_below_the_street_are_found_in_a_block_and_left_open_in_an_unreadable_one() -> (
    None
):
    adresse = {"id": 1, "strasse": "Lange Straße 5", "plz": "30159", "ort": "Hannover"}
    block = "Frau Änne Grün\nLange  Straße 5\nHinterhaus\n3. Stock\n30159 Hannover"
    assert (
        MAPPER.comparable_from_advoware({**adresse, "anschrift": block})[
            "weitereZeilen"
        ]
        == "Hinterhaus\n3. Stock"
    )
    assert (
        MAPPER.comparable_from_advoware({**adresse, "anschrift": None})["weitereZeilen"]
        is None
    )
    assert "weitereZeilen" not in MAPPER.comparable_from_advoware(
        {**adresse, "anschrift": "Alte Straße 1\n10115 Berlin"}
    )


@pytest.mark.parametrize(
    ("bemerkung", "espocrm_id", "user_text"),
    [
        ("EspoCRM-ID: 6b04 Lager", "6b04", "Lager"),
        ("EspoCRM-ID:6b04", "6b04", None),
        ("nur vormittags\nespocrm-id = 6b04 | Tor 3", "6b04", "nur vormittags Tor 3"),
        ("Lager", None, "Lager"),
        ("EspoCRM-ID: " + "a" * 40, None, "EspoCRM-ID: " + "a" * 40),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_mark_is_found_whatever_people_write_around_it(
    bemerkung: str | None, espocrm_id: str | None, user_text: str | None
) -> None:
    assert espocrm_id_of(bemerkung) == espocrm_id
    assert user_text_of(bemerkung) == user_text


@given(st.from_regex(r"[0-9A-Za-z-]{1,36}", fullmatch=True), words)
def test_the_mark_survives_with_the_users_text(entity_id: str, text: str) -> None:
    bemerkung = marked(entity_id, " ".join(text.split()))
    assert espocrm_id_of(bemerkung) == entity_id
    assert user_text_of(bemerkung) == " ".join(text.split())


def test_a_new_cadressen_takes_its_name_from_the_remark_or_from_the_address() -> None:
    adresse = {
        "id": 1,
        "strasse": "Lange Straße 5",
        "plz": "30159",
        "ort": "Hannover",
        "standardAnschrift": True,
    }
    assert (
        MAPPER.map_advoware_to_cadressen({**adresse, "bemerkung": "Lager"})[
            "bezeichnung"
        ]
        == "Lager"
    )
    record = MAPPER.map_advoware_to_cadressen(adresse)
    assert record["bezeichnung"] == "Lange Straße 5, 30159 Hannover"
    assert record["istStandard"] is True
    assert record["isActive"] is True


def test_an_address_of_advoware_as_a_new_cadressen() -> None:
    advo = {
        "strasse": "Weg 1",
        "plz": "30159",
        "ort": "Hannover",
        "land": "Österreich",
        "postfach": "x" * 51,
        "postfachPLZ": None,
        "gueltigVon": "2020-01-01T00:00:00",
        "gueltigBis": "9999-12-31T00:00:00",
        "standardAnschrift": True,
        "bemerkung": "EspoCRM-ID: 6b04; Büro",
        "anschrift": "Weg 1\nHinterhaus\n30159 Hannover",
    }
    assert MAPPER.map_advoware_to_cadressen(advo) == {
        "adresseStreet": "Weg 1\nHinterhaus",
        "adressePostalCode": "30159",
        "adresseCity": "Hannover",
        "adresseCountry": "AT",
        "postfachPLZ": None,
        "gueltigVon": "2020-01-01",
        "gueltigBis": None,
        "bezeichnung": "Büro",
        "istStandard": True,
        "isActive": True,
    }
    plain = MAPPER.map_advoware_to_cadressen({"land": None, "standardAnschrift": 1})
    assert plain["adresseCountry"] is None
    assert plain["istStandard"] is False
    assert plain["bezeichnung"] == NO_LABEL


def test_a_cadressen_as_a_new_address_of_advoware() -> None:
    espo = cadressen(
        adresseStreet="Weg 1\nHinterhaus",
        adressePostalCode="30159",
        adresseCity="Hannover",
        adresseCountry="AT",
        gueltigVon="2020-01-01",
        name="Büro",
    )
    record = MAPPER.map_cadressen_to_advoware(espo, COMPANY, is_main=True)
    assert record.pop("anschrift").splitlines()[-4:-1] == [
        "Weg 1",
        "Hinterhaus",
        "30159 Hannover",
    ]
    assert record == {
        "strasse": "Weg 1",
        "plz": "30159",
        "ort": "Hannover",
        "land": country_text("AT"),
        "postfach": "",
        "postfachPLZ": "",
        "gueltigVon": "2020-01-01",
        "gueltigBis": None,
        "standardAnschrift": True,
        "bemerkung": "EspoCRM-ID: 6b0473a32660ab138 Büro",
    }
    part = MAPPER.map_cadressen_to_advoware(
        espo, COMPANY, is_main=False, names=("plz", "gueltigBis")
    )
    assert {name: value for name, value in part.items() if value} == {
        "plz": "30159",
        "bemerkung": "EspoCRM-ID: 6b0473a32660ab138 Büro",
    }
    assert part["standardAnschrift"] is False
    assert (part["anschrift"], part["land"]) == ("", "")


@pytest.mark.parametrize(
    ("names", "remark"),
    [
        ({"bezeichnung": "A", "name": "B"}, "A"),
        ({"bezeichnung": "", "name": "B"}, "B"),
        ({"bezeichnung": None, "name": None}, None),
        ({"bezeichnung": 7, "name": "B"}, None),
        ({}, None),
    ],
)
def test_the_remark_of_a_new_address(names: dict[str, Any], remark: Any) -> None:
    record = MAPPER.map_cadressen_to_advoware(cadressen(**names), PERSON, is_main=False)
    assert record["bemerkung"] == marked("6b0473a32660ab138", remark)


@pytest.mark.parametrize(
    ("side", "name", "value", "reason"),
    [
        ("advoware", "strasse", "x" * 255, None),
        ("advoware", "strasse", "x" * 256, "too_long"),
        ("advoware", "weitereZeilen", "x" * 500, None),
        ("advoware", "weitereZeilen", "x" * 501, "too_long"),
        ("advoware", "plz", "x" * 21, "too_long"),
        ("espocrm", "ort", "x" * 100, None),
        ("espocrm", "ort", "x" * 101, "too_long"),
        ("espocrm", "land", "x" * 255, None),
        ("espocrm", "land", "x" * 256, "too_long"),
        ("espocrm", "ort", None, None),
        ("espocrm", "ort", Unknown("7"), "unknown"),
        ("advoware", "ort", Unknown("7"), "unknown"),
    ],
)
def test_why_a_side_cannot_hold_a_part_of_an_address(
    side: Any, name: str, value: Any, reason: str | None
) -> None:
    assert MAPPER.unfit(side, name, value, {name: value}) == reason


def test_street_and_further_lines_share_espocrms_field() -> None:
    values = {"strasse": "x" * 200, "weitereZeilen": "y" * 54}
    assert MAPPER.unfit("espocrm", "strasse", values["strasse"], values) is None
    values["weitereZeilen"] = "y" * 55
    for name in ("strasse", "weitereZeilen"):
        assert MAPPER.unfit("espocrm", name, values[name], values) == "too_long"
        assert MAPPER.unfit("advoware", name, values[name], values) is None


@pytest.mark.parametrize(
    ("changed", "attributes"),
    [
        ({"ort": "Celle"}, {"adresseCity": "Celle"}),
        ({"land": None}, {"adresseCountry": "DE"}),
        ({"land": "AT"}, {"adresseCountry": "AT"}),
        ({"strasse": "Weg 1"}, {"adresseStreet": "Weg 1\nHinterhaus"}),
        ({"weitereZeilen": "Hinterhaus"}, {"adresseStreet": "Weg 1\nHinterhaus"}),
        ({"gueltigBis": None}, {"gueltigBis": None}),
        ({}, {}),
    ],
)
def test_changed_values_as_attributes_of_espocrm(
    changed: dict[str, Any], attributes: dict[str, Any]
) -> None:
    values = {"strasse": "Weg 1", "weitereZeilen": "Hinterhaus"}
    assert MAPPER.to_espocrm(changed, values) == attributes
    assert MAPPER.to_espocrm({"strasse": None}, {}) == {"adresseStreet": None}


def test_what_an_address_shows_nothing_at_all_for() -> None:
    advo = {"strasse": None, "plz": "", "ort": "Celle", "anschrift": " "}
    assert MAPPER.unsaid(advo) == {"strasse", "weitereZeilen"}
    assert MAPPER.unsaid({"anschrift": "Weg 1"}) == frozenset()


def test_the_fields_of_an_address_that_were_erased() -> None:
    erased = {"erasedFields": "adresseStreet adresseCity name"}
    assert MAPPER.erased(erased) == {"strasse", "weitereZeilen", "ort"}
    assert MAPPER.erased({}) == frozenset()


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (
            {"strasse": "Weg 1", "plz": "30159", "ort": "Hannover", "postfach": "7"},
            "Weg 1, 30159 Hannover",
        ),
        ({"postfach": "7", "plz": "30001", "ort": "H"}, "Postfach 7, 30001 H"),
        ({"strasse": Unknown("7")}, "7"),
        ({"ort": "Hannover"}, "Hannover"),
        ({}, ""),
    ],
)
def test_an_address_in_one_line(values: dict[str, Any], label: str) -> None:
    assert MAPPER.label(values) == label


def test_a_label_is_no_longer_than_espocrm_takes() -> None:
    assert len(MAPPER.label({"strasse": "x" * 300})) == 255
    assert len(MAPPER.label_of({"anschrift": "x" * 300})) == 255
    long = MAPPER.map_advoware_to_cadressen({"bemerkung": "x" * 256, "ort": "Celle"})
    assert long["bezeichnung"] == "Celle"
    held = MAPPER.map_advoware_to_cadressen({"bemerkung": "x" * 255, "ort": "Celle"})
    assert held["bezeichnung"] == "x" * 255


@pytest.mark.parametrize(
    ("values", "has_one"),
    [
        ({"strasse": "Weg 1"}, True),
        ({"ort": "Celle"}, True),
        ({"plz": "29221"}, True),
        ({"postfach": "7"}, True),
        ({"postfachPLZ": "29221", "land": "AT", "weitereZeilen": "x"}, False),
        ({"strasse": None}, False),
        ({}, False),
    ],
)
def test_what_can_stand_on_an_envelope(values: dict[str, Any], has_one: bool) -> None:
    assert has_content(values) is has_one


@pytest.mark.parametrize(
    ("value", "date_of_it"),
    [
        ("2020-01-31T00:00:00", "2020-01-31"),
        ("", None),
        (None, None),
        ("9999-12-31T00:00:00", None),
        ("0001-01-01T00:00:00", None),
        ("31.02.2020", Unknown("31.02.2020")),
        (20200131, Unknown("20200131")),
    ],
)
def test_dates_of_an_address(value: Any, date_of_it: Any) -> None:
    for read in (MAPPER.comparable_from_advoware, MAPPER.comparable_from_espocrm):
        assert read({"gueltigBis": value})["gueltigBis"] == date_of_it


@pytest.mark.parametrize(
    ("entry", "number"),
    [
        ({"id": 7}, 7),
        ({"ID": "7"}, 7),
        ({"Id": "9" * 18}, int("9" * 18)),
        ({"id": "9" * 19}, None),
        ({"id": True}, None),
        ({"id": 7.0}, None),
        ({"id": "7a"}, None),
        ({"id": None}, None),
        ({}, None),
        (["id"], None),
        (None, None),
    ],
)
def test_an_entry_without_a_usable_id_is_unreadable(entry: Any, number: Any) -> None:
    listing = adressen_of({"Adressen": [entry]})
    assert listing is not None
    assert [item["id"] for item in listing.adressen] == [number] * (number is not None)
    assert listing.unreadable == (number is None)


def test_addresses_in_the_order_of_their_ids_and_each_once() -> None:
    rows = [{"id": 9, "ort": "a"}, {"id": "7", "ORT": "b"}, {"id": 9, "ort": "c"}]
    listing = adressen_of({"adressen": rows})
    assert listing is not None
    assert [(row["id"], row["ort"]) for row in listing.adressen] == [(7, "b"), (9, "a")]
    assert listing.unreadable == 1
    for answer in ({}, {"adressen": None}, {"adressen": {}}, {"adressen": "x"}):
        assert adressen_of(answer) is None
    assert canonical_adresse({"STRASSE": "x", "strasse": "y", "Neu": 1}) == {
        "strasse": "y",
        "Neu": 1,
    }
