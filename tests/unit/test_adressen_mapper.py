"""Adressen are mapped without losing or inventing anything."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adressen_mapper import (
    FIELDS,
    AdressenMapper,
    espocrm_id_of,
    marked,
    user_text_of,
)
from services.values.address_block import build_anschrift
from services.values.countries import country_code, country_text

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
