"""Mapping of Beteiligte master data."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import NameMissing
from services.espocrm_mapper import (
    ANREDEN,
    COMPANY_FIELDS,
    NAME_ATTRIBUTES,
    PERSON_FIELDS,
    BeteiligteMapper,
    erased_attributes,
    is_erased,
    shown_by_advoware,
    shown_by_espocrm,
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
            {"rechtsform": "GmbH", "firmenname": "", "lastName": "Alt GmbH"}
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
    in_advoware = MAPPER.comparable_from_advoware(
        {"rechtsform": "Erbengemeinschaft", "name": "Erben Meier"}
    )
    assert in_advoware["rechtsform"] == Unknown("Erbengemeinschaft")
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


def test_a_merchant_shows_what_persons_and_companies_have_and_others_only_foreign() -> (
    None
):
    assert shown_by_espocrm({"rechtsform": "GmbH"}) == COMPANY_FIELDS
    assert shown_by_espocrm({"rechtsform": "Eheleute"}) == PERSON_FIELDS
    merchant = {"rechtsform": "e.K.", "firmenname": "M e.K."}
    assert shown_by_espocrm(merchant)["name"] == "firmenname"
    assert shown_by_espocrm({**merchant, "firstName": "M"})["name"] == "lastName"
    assert shown_by_espocrm(merchant).keys() == PERSON_FIELDS.keys() | COMPANY_FIELDS
    assert shown_by_advoware({"rechtsform": "GmbH"}) == COMPANY_FIELDS
    assert shown_by_advoware({"rechtsform": "Frau"}) == PERSON_FIELDS
    assert shown_by_advoware({}).keys() == PERSON_FIELDS.keys() | COMPANY_FIELDS.keys()


@pytest.mark.parametrize("value", [0, 7, 1.5, True, ["x"], {"a": 1}])
@pytest.mark.parametrize("name", ["vorname", "name", "geburtsdatum", "rechtsform"])
def test_what_is_no_text_is_unknown_with_what_was_shown(name: str, value: Any) -> None:
    advoware = MAPPER.comparable_from_advoware({name: value})
    espocrm = MAPPER.comparable_from_espocrm(
        {{**PERSON_FIELDS, "rechtsform": "rechtsform"}[name]: value}
    )
    assert advoware == {name: Unknown(str(value))}
    assert espocrm == {name: Unknown(str(value))}


@pytest.mark.parametrize(
    ("advoware", "espocrm"),
    [
        ("1970-01-31T00:00:00", "1970-01-31"),
        ("1970-01-31", "1970-01-31"),
        ("0001-01-01T00:00:00", None),
        ("", None),
        (None, None),
        ("31.13.1970", Unknown("31.13.1970")),
        ("1066-10-14", Unknown("1066-10-14")),
    ],
)
def test_dates_of_advoware(advoware: Any, espocrm: Any) -> None:
    values = MAPPER.comparable_from_advoware({"geburtsdatum": advoware})
    assert values == {"geburtsdatum": espocrm}


def test_a_database_writes_no_date_otherwise_than_a_person_who_types_one() -> None:
    typed = MAPPER.comparable_from_espocrm({"dateOfBirth": "0001-01-01"})
    assert typed == {"geburtsdatum": Unknown("0001-01-01")}


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        ("Herr", None),
        ("FRAU", None),
        ("", None),
        (None, None),
        (" gmbh ", "GmbH"),
        ("gmbh & co. kg", "GmbH & Co. KG"),
    ],
)
def test_legal_forms_in_the_spelling_of_the_list(raw: Any, form: Any) -> None:
    assert MAPPER.comparable_from_advoware({"rechtsform": raw}) == {"rechtsform": form}
    assert MAPPER.comparable_from_espocrm({"rechtsform": raw}) == {"rechtsform": form}


def test_a_form_that_espocrms_list_lacks_is_unknown_in_advoware_only() -> None:
    assert MAPPER.comparable_from_espocrm({"rechtsform": "Anstalt"}) == {
        "rechtsform": "Anstalt"
    }
    assert MAPPER.comparable_from_advoware({"rechtsform": "Anstalt"}) == {
        "rechtsform": Unknown("Anstalt")
    }


def test_an_empty_value_is_an_empty_text_in_advoware_but_a_date_is_none() -> None:
    values = {"vorname": None, "name": "M", "geburtsdatum": None, "rechtsform": None}
    assert MAPPER.to_advoware(values) == {
        "vorname": "",
        "name": "M",
        "geburtsdatum": None,
        "rechtsform": "",
    }
    assert MAPPER.new_advoware_record(values) == {"name": "M"}


def test_values_stand_in_espocrm_where_the_kind_shows_them() -> None:
    values = {"name": "N", "vorname": "V", "art": "HRB", "rechtsform": None}
    assert MAPPER.to_espocrm(values, kind="person") == {
        "lastName": "N",
        "firstName": "V",
        "handelsregisterArt": "HRB",
        "rechtsform": "",
    }
    assert MAPPER.to_espocrm({"name": "N"}, kind="company") == {"firmenname": "N"}


@pytest.mark.parametrize(
    ("espo", "attribute"),
    [
        ({"lastName": "Alt"}, "lastName"),
        ({"lastName": "Alt", "firmenname": "Alt"}, "firmenname"),
        ({"lastName": " ", "firmenname": None}, "firmenname"),
        ({}, "firmenname"),
    ],
)
def test_a_companys_name_goes_to_where_its_record_shows_it(
    espo: dict[str, Any], attribute: str
) -> None:
    named = MAPPER.to_espocrm({"name": "Neu"}, kind="company", espo=espo)
    assert named == {attribute: "Neu"}
    person = MAPPER.to_espocrm({"name": "Neu"}, kind="person", espo=espo)
    assert person == {"lastName": "Neu"}


def test_the_field_that_an_attribute_shows() -> None:
    assert MAPPER.field_of("lastName") == "name"
    assert MAPPER.field_of("firmenname") == "name"
    assert MAPPER.field_of("salutationName") == "anrede"
    assert MAPPER.field_of("registergericht") == "registergericht"
    assert MAPPER.field_of("kennzeichen") == "kennzeichen"


def test_why_a_side_cannot_hold_a_value() -> None:
    unfit = MAPPER.unfit({"lastName": "x", "erasedFields": "firstName dateOfBirth"})
    assert unfit("espocrm", "vorname", "Max") == "erased"
    assert unfit("espocrm", "geburtsdatum", "1970-01-31") == "erased"
    assert unfit("espocrm", "anrede", "Frau") is None
    assert unfit("espocrm", "vorname", None) == "erased"
    assert unfit("espocrm", "anrede", None) is None
    assert unfit("espocrm", "name", None) == "needed"
    assert unfit("advoware", "name", "x" * 250) is None
    assert unfit("espocrm", "name", "x" * 100) is None
    assert unfit("advoware", "art", "x" * 21) == "too_long"
    assert unfit("advoware", "anrede", "x" * 51) == "too_long"
    assert unfit("espocrm", "anrede", "x" * 51) is None
    assert unfit("advoware", "kennzeichen", "x" * 999) is None
    assert unfit("advoware", "registergericht", "erased:7") == "erased"
    assert unfit("advoware", "registergericht", "ERASED: 7 years") is None
    assert unfit("advoware", "registergericht", Unknown("x" * 999)) is None


@pytest.mark.parametrize(
    ("espo", "is_one"),
    [
        ({}, False),
        ({"phoneNumber": "+49511", "phoneNumberData": [{"phoneNumber": "1"}]}, False),
        ({"phoneNumber": "ERASED:6b04"}, True),
        ({"emailAddress": "ERASED:6b04"}, True),
        ({"phoneNumberData": [{"phoneNumber": "1"}, {"phoneNumber": "ERASED:"}]}, True),
        ({"emailAddressData": [{"emailAddress": "erased:6b04"}]}, True),
        ({"emailAddressData": [{"emailAddress": "x ERASED:6b04"}]}, False),
        ({"phoneNumberData": "ERASED:6b04"}, False),
        ({"phoneNumberData": ["ERASED:6b04", None]}, False),
        ({"phoneNumberData": None, "emailAddressData": {"emailAddress": 1}}, False),
    ],
)
def test_a_record_whose_personal_data_were_erased(
    espo: dict[str, Any], is_one: bool
) -> None:
    assert is_erased(espo) is is_one
    unfit = MAPPER.unfit({"lastName": "x", **espo})
    assert unfit("espocrm", "vorname", None) == ("erased" if is_one else None)


@pytest.mark.parametrize(
    ("names", "attributes"),
    [
        ("lastName  emailAddress", {"lastName", "emailAddress"}),
        ("", set()),
        (None, set()),
    ],
)
def test_what_the_extension_notes_as_erased(names: Any, attributes: set[str]) -> None:
    assert erased_attributes({"erasedFields": names}) == attributes


@pytest.mark.parametrize(
    ("espo", "unheld"),
    [
        (
            {"firstName": "Max", "lastName": "M", "firmenname": " X "},
            {"firmenname": "X"},
        ),
        ({"firstName": "Max", "lastName": "M", "firmenname": "M"}, {}),
        ({"firstName": "Max", "lastName": "M", "firmenname": " "}, {}),
        (
            {"rechtsform": "GmbH", "firmenname": "X", "lastName": "M"},
            {"lastName": "M"},
        ),
        ({"rechtsform": "GmbH", "firmenname": "", "lastName": "X"}, {}),
        ({"rechtsform": "GmbH", "lastName": "X"}, {}),
        ({"rechtsform": "Frau", "firmenname": "X"}, {}),
        (
            {
                "rechtsform": "GmbH",
                "firmenname": "X",
                "firstName": "Max",
                "salutationName": "Herr",
            },
            {"firstName": "Max", "salutationName": "Herr"},
        ),
    ],
)
def test_what_advoware_has_no_place_for(
    espo: dict[str, Any], unheld: dict[str, str]
) -> None:
    assert MAPPER.unheld(espo) == unheld


def test_what_a_new_beteiligter_cannot_hold_is_left_out_with_a_reason() -> None:
    espo = {
        "firstName": "x" * 101,
        "lastName": "M",
        "dateOfBirth": "1066-10-14",
        "salutationName": None,
    }
    values, left_out = MAPPER.creatable(espo)
    assert values == {"name": "M", "anrede": None}
    assert left_out == {"vorname": "too_long", "geburtsdatum": "unknown"}
    assert MAPPER.map_cbeteiligte_to_advoware(espo) == {"name": "M"}


def test_what_espocrm_cannot_hold_of_a_beteiligter_is_left_out() -> None:
    advo = {
        "rechtsform": "Erbengemeinschaft",
        "anrede": "Eheleute",
        "vorname": "x" * 101,
        "name": "x" * 101,
        "geburtsdatum": None,
        "registergericht": None,
    }
    assert MAPPER.map_advoware_to_cbeteiligte(advo) == {"dateOfBirth": None}
    assert MAPPER.map_advoware_to_cbeteiligte({**advo, "name": "x" * 100}) == {
        "lastName": "x" * 100,
        "dateOfBirth": None,
    }
    company = {**advo, "anrede": "", "vorname": "", "art": "HRB"}
    assert MAPPER.map_advoware_to_cbeteiligte(company) == {
        "firmenname": "x" * 101,
        "handelsregisterArt": "HRB",
        "registergericht": None,
    }


SENT = {"name": "Meier-Schulz", "vorname": "Max", "geburtsdatum": "1970-01-31"}


@pytest.mark.parametrize(
    ("stored", "is_alike"),
    [
        (SENT, True),
        ({"name": "MEIER SCHULZ", "vorname": "max"}, True),
        ({"name": "Meier-Sch"}, True),
        ({"name": "Meier-Schulzenburg"}, True),
        ({"name": "Meier-Schulz", "vorname": "Moritz"}, False),
        ({"name": "Meier-Schulz", "geburtsdatum": "1970-01-30"}, False),
        ({"name": "Schulz"}, False),
        ({"name": "-"}, False),
        ({"vorname": "Max"}, False),
        ({}, False),
    ],
)
def test_what_may_be_what_was_sent(stored: dict[str, Any], is_alike: bool) -> None:
    assert MAPPER.is_alike(SENT, stored) is is_alike
    assert MAPPER.is_alike(stored, SENT) is is_alike


@pytest.mark.parametrize(
    ("other", "shared", "different"),
    [
        (SENT, {"name", "vorname", "geburtsdatum"}, set()),
        ({"name": "MEIER-SCHULZ", "vorname": "Moritz"}, {"name"}, {"vorname"}),
        ({"name": Unknown("Meier-Schulz")}, {"name"}, set()),
        ({"name": None, "geburtsdatum": "1970-01-30"}, set(), {"geburtsdatum"}),
        ({"anrede": "Frau"}, set(), set()),
    ],
)
def test_in_what_two_records_agree_as_persons(
    other: dict[str, Any], shared: set[str], different: set[str]
) -> None:
    assert MAPPER.compare_identity(SENT, other) == (shared, different)


@pytest.mark.parametrize(
    ("espo", "names"),
    [
        (
            {"rechtsform": "GmbH", "lastName": "M", "firmenname": ""},
            {"lastName": "M", "firmenname": ""},
        ),
        ({"rechtsform": "GmbH", "lastName": "M"}, {"lastName": "M"}),
        ({"rechtsform": "GmbH", "lastName": " X "}, {"lastName": " X "}),
        ({"rechtsform": "Frau", "lastName": "M"}, {"lastName": "M"}),
        ({"rechtsform": "e.K.", "firmenname": "F", "lastName": "X"}, {"lastName": "X"}),
        (
            {"rechtsform": "e.K.", "firmenname": "F", "firstName": "Max"},
            {"firmenname": "F"},
        ),
        (
            {"lastName": "M", "firstName": "", "firmenname": ""},
            {"lastName": "M", "firmenname": ""},
        ),
        ({"lastName": "M", "firstName": "Max"}, {"lastName": "M"}),
        ({"lastName": "M"}, {}),
        ({"firmenname": "X"}, {"firmenname": "X"}),
    ],
)
def test_a_name_that_may_not_be_the_records_is_left_out_unless_it_is_the_known_one(
    espo: dict[str, Any], names: dict[str, str]
) -> None:
    shown = MAPPER.without_doubtful_names(espo, "X")
    assert {name: shown[name] for name in NAME_ATTRIBUTES if name in shown} == names
    assert {**espo, **shown} == espo


def test_a_company_whose_names_are_not_shown_has_no_empty_name() -> None:
    for shown in ({}, {"firmenname": ""}, {"firmenname": None}, {"lastName": "M"}):
        values = MAPPER.comparable_from_espocrm({"rechtsform": "GmbH", **shown})
        assert values == {"rechtsform": "GmbH"}
    empty = {"rechtsform": "GmbH", "firmenname": "", "lastName": ""}
    assert MAPPER.comparable_from_espocrm(empty)["name"] is None


def test_what_is_too_long_for_espocrm_only_reaches_advoware() -> None:
    espo = {"lastName": "x" * 101, "firstName": "Max"}
    assert MAPPER.creatable(espo) == ({"name": "x" * 101, "vorname": "Max"}, {})


def test_what_advoware_has_no_place_for_is_in_the_order_of_the_fields() -> None:
    """Else the text of a task would be another one after each restart."""
    person = {"dateOfBirth": "1970-01-31", "firstName": "M", "salutationName": "Herr"}
    unheld = MAPPER.unheld({"rechtsform": "GmbH", **person})
    assert list(unheld) == ["salutationName", "firstName", "dateOfBirth"]
