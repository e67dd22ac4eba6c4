"""Mapping of Beteiligte master data."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import NameMissing
from services.espocrm_mapper import (
    ANREDEN,
    COMPANY_FIELDS,
    PERSON_FIELDS,
    BeteiligteMapper,
)
from services.values.kind import RECHTSFORMEN, kind_of_advoware, kind_of_espocrm
from services.values.merge import Unknown

MAPPER = BeteiligteMapper()
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80
).filter(str.strip)
PERSONS = st.fixed_dictionaries(
    {
        "salutationName": st.sampled_from(["", *ANREDEN]),
        "firstName": st.none() | NAMES,
        "lastName": NAMES,
        "dateOfBirth": st.none()
        | st.dates(date(1800, 1, 1), date(2200, 12, 31)).map(str),
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
    assert (
        MAPPER.get_changed_fields(espo, MAPPER.map_cbeteiligte_to_advoware(espo)) == []
    )


@given(PERSONS | COMPANIES)
def test_a_record_survives_the_way_to_advoware_and_back(espo) -> None:
    empty = dict.fromkeys(["rechtsform", *PERSON_FIELDS, *COMPANY_FIELDS])
    back = MAPPER.map_advoware_to_cbeteiligte(
        {**empty, **MAPPER.map_cbeteiligte_to_advoware(espo)}
    )

    assert MAPPER.comparable_from_espocrm(back) == MAPPER.comparable_from_espocrm(espo)


def test_spellings_that_mean_the_same_are_equal() -> None:
    espo = {
        "firstName": " Jürgen  Max ",
        "lastName": "O'Neill",
        "salutationName": "Herr",
        "dateOfBirth": "1970-01-31",
    }
    advo = {
        "vorname": "Ju\u0308rgen Max",
        "name": "O'Neill ",
        "anrede": "herr",
        "rechtsform": "Herr",
        "geburtsdatum": "1970-01-31T00:00:00",
    }

    assert MAPPER.get_changed_fields(espo, advo) == []


def test_a_company_is_named_by_firmenname_or_else_by_last_name() -> None:
    assert (
        MAPPER.map_cbeteiligte_to_advoware(
            {"rechtsform": "GmbH", "lastName": "Alt GmbH"}
        )["name"]
        == "Alt GmbH"
    )
    both = {
        "rechtsform": "GmbH",
        "firmenname": "Neu GmbH",
        "lastName": "Alt",
        "firstName": "Max",
    }
    assert MAPPER.map_cbeteiligte_to_advoware(both) == {
        "name": "Neu GmbH",
        "rechtsform": "GmbH",
    }


def test_values_of_advoware_that_espocrm_does_not_know_are_unknown() -> None:
    theirs = MAPPER.comparable_from_advoware(
        {"rechtsform": "Erbengemeinschaft", "name": "Erben Meier"}
    )
    assert theirs["rechtsform"] == Unknown("Erbengemeinschaft")
    assert MAPPER.comparable_from_advoware({"name": "Meier", "anrede": "Eheleute"})[
        "anrede"
    ] == Unknown("Eheleute")
    assert "geburtsdatum" not in MAPPER.comparable_from_advoware(
        {"name": "Meier"}
    )  # not shown: nothing is known


def test_a_value_too_long_for_a_side_is_unfit_there() -> None:
    person, company = (
        MAPPER.unfit({"lastName": "x"}),
        MAPPER.unfit({"rechtsform": "GmbH", "firmenname": "x"}),
    )
    assert person("espocrm", "name", "x" * 101) == "too_long"
    assert company("espocrm", "name", "x" * 101) is None
    assert company("advoware", "name", "x" * 251) == "too_long"
    assert person("advoware", "name", None) == "needed"
    assert person("advoware", "name", "ERASED:6b0473a3") == "erased"


def test_a_record_without_a_name_is_refused() -> None:
    for nameless in (
        {"firstName": "Max", "lastName": " "},
        {"rechtsform": "GmbH", "firmenname": "x" * 251},
    ):
        with pytest.raises(NameMissing, match="lastName"):
            MAPPER.map_cbeteiligte_to_advoware(nameless)


@pytest.mark.parametrize(
    ("espo", "kind"),
    [
        (
            {
                "rechtsform": "e.K.",
                "firstName": "Max",
                "lastName": "M",
                "firmenname": "M e.K.",
            },
            "person",
        ),
        ({"rechtsform": "e.K.", "firmenname": "M e.K."}, "company"),
        ({"rechtsform": "Eheleute", "lastName": "M", "firmenname": "X"}, "person"),
        ({"rechtsform": "Anstalt", "lastName": "M"}, "person"),
        ({"rechtsform": "Anstalt", "lastName": "M", "firmenname": "X"}, "company"),
        ({"rechtsform": "gmbh ", "firstName": "Max", "lastName": "M"}, "company"),
        ({"rechtsform": None, "firmenname": "Kaufhaus"}, "company"),
        ({"rechtsform": "", "firmenname": "Kaufhaus", "lastName": "M"}, "company"),
        (
            {
                "rechtsform": "",
                "firmenname": "Kaufhaus",
                "lastName": "M",
                "salutationName": "Frau",
            },
            "person",
        ),
        ({"rechtsform": "", "lastName": "M"}, "person"),
        ({}, "person"),
    ],
)
def test_person_or_company_in_espocrm(espo, kind) -> None:
    assert kind_of_espocrm(espo) == kind


@pytest.mark.parametrize(
    ("advo", "kind"),
    [
        ({"rechtsform": "Eheleute", "name": "M"}, "person"),
        ({"rechtsform": "Erbengemeinschaft", "name": "Erben M"}, "company"),
        ({"rechtsform": "Erbengemeinschaft", "name": "M", "anrede": "Frau"}, "person"),
        ({"rechtsform": "Limited", "name": "X Ltd", "anrede": "Firma"}, "company"),
        ({"rechtsform": "", "name": "M"}, "person"),
        ({"rechtsform": "", "name": "X", "handelsRegisterNummer": "HRB 1"}, "company"),
        (
            {
                "rechtsform": "Partner",
                "name": "M",
                "geburtsdatum": "0001-01-01T00:00:00",
            },
            "company",
        ),
        (
            {
                "rechtsform": "Partner",
                "name": "M",
                "geburtsdatum": "1980-01-01T00:00:00",
            },
            "person",
        ),
        ({"rechtsform": "AG", "name": "X", "vorname": "Max"}, "company"),
    ],
)
def test_person_or_company_in_advoware(advo, kind) -> None:
    assert kind_of_advoware(advo) == kind
