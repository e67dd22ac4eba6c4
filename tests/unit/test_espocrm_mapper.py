"""Mapping of Beteiligte master data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidInput
from services.espocrm_mapper import ANREDEN, RECHTSFORMEN, BeteiligteMapper

MAPPER = BeteiligteMapper()
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(str.strip)
PERSONS = st.fixed_dictionaries(
    {
        "salutationName": st.sampled_from(["", *ANREDEN]),
        "firstName": st.none() | NAMES,
        "lastName": NAMES,
        "dateOfBirth": st.none() | st.dates().map(str),
        "rechtsform": st.sampled_from([None, ""]),
    }
)
COMPANIES = st.fixed_dictionaries(
    {
        "rechtsform": st.sampled_from(RECHTSFORMEN),
        "firmenname": NAMES,
        "handelsregisterNummer": st.none() | st.just("HRB 12345"),
        "handelsregisterArt": st.sampled_from([None, "HRB"]),
        "registergericht": st.none() | st.just("Amtsgericht Hannover"),
    }
)


@given(PERSONS | COMPANIES)
def test_a_record_mapped_to_advoware_and_compared_shows_no_difference(espo) -> None:
    assert MAPPER.get_changed_fields(espo, MAPPER.map_cbeteiligte_to_advoware(espo)) == []


@given(PERSONS | COMPANIES)
def test_a_record_survives_the_way_to_advoware_and_back(espo) -> None:
    back = MAPPER.map_advoware_to_cbeteiligte(MAPPER.map_cbeteiligte_to_advoware(espo))

    assert MAPPER.comparable_from_espocrm(back) == MAPPER.comparable_from_espocrm(espo)


def test_spellings_that_mean_the_same_are_equal() -> None:
    espo = {"firstName": " Jürgen  Max ", "lastName": "O'Neill", "salutationName": "Herr", "dateOfBirth": "1970-01-31"}
    advo = {
        "vorname": "Ju\u0308rgen Max",
        "name": "O'Neill ",
        "anrede": "herr",
        "rechtsform": "Herr",
        "geburtsdatum": "1970-01-31T00:00:00",
    }

    assert MAPPER.get_changed_fields(espo, advo) == []


def test_a_company_is_named_by_firmenname_or_else_by_last_name() -> None:
    assert MAPPER.map_cbeteiligte_to_advoware({"rechtsform": "GmbH", "lastName": "Alt GmbH"})["name"] == "Alt GmbH"
    both = {"rechtsform": "GmbH", "firmenname": "Neu GmbH", "lastName": "Alt", "firstName": "Max"}
    assert MAPPER.map_cbeteiligte_to_advoware(both) == {"name": "Neu GmbH", "rechtsform": "GmbH"}


def test_values_of_advoware_that_espocrm_does_not_know_are_neither_compared_nor_overwritten() -> None:
    theirs = MAPPER.comparable_from_advoware({"rechtsform": "Erbengemeinschaft", "name": "Erben Meier"})
    assert "rechtsform" not in theirs
    assert "anrede" not in MAPPER.comparable_from_advoware({"name": "Meier", "anrede": "Eheleute"})


def test_a_value_too_long_for_the_target_is_refused_by_its_field_name() -> None:
    with pytest.raises(InvalidInput, match="lastName"):
        MAPPER.map_advoware_to_cbeteiligte({"name": "x" * 101})
    with pytest.raises(InvalidInput, match="name"):
        MAPPER.map_cbeteiligte_to_advoware({"rechtsform": "GmbH", "firmenname": "x" * 251})


def test_a_record_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="lastName"):
        MAPPER.map_cbeteiligte_to_advoware({"firstName": "Max", "lastName": " "})
