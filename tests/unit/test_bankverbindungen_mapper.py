"""Bankverbindungen are validated, normalised and never shown in full."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from schwifty import IBAN

from services.bankverbindungen_mapper import (
    ATTRIBUTES,
    BankverbindungenMapper,
    UnusableAccount,
    konten_of,
    mask_iban,
)
from services.core.foreign_text import without_invisible
from services.values.merge import Unknown

MAPPER = BankverbindungenMapper()
COMMERZBANK = "DE89370400440532013000"

german_ibans = st.builds(
    lambda bank_code, account: (
        IBAN.generate("DE", bank_code, account, validate_bban=False).compact
    ),
    st.from_regex(r"[1-9][0-9]{7}", fullmatch=True),
    st.from_regex(r"[0-9]{1,10}", fullmatch=True),
)


def spell(text: str, gaps: list[int]) -> str:
    """The same with blanks and in small letters, as people type it."""
    for gap in sorted(gaps, reverse=True):
        text = f"{text[:gap]} {text[gap:]}"
    return text.lower()


@given(iban=german_ibans, gaps=st.lists(st.integers(0, 22), max_size=6))
def test_an_iban_is_sent_compact_however_it_was_typed(
    iban: str, gaps: list[int]
) -> None:
    espo = {"iban": spell(iban, gaps), "kontoinhaber": " Max  Müller "}
    record = MAPPER.map_cbankverbindungen_to_advoware(espo)
    assert record["iban"] == iban
    assert (record["blz"], record["kontoNr"]) == (iban[4:12], iban[12:])
    assert record["kontoinhaber"] == "Max Müller"
    assert MAPPER.get_changed_fields(espo, record) == []


@given(
    st.text(
        st.characters(categories=["Lu", "Ll", "Nd", "Po", "Zs"]),
        min_size=8,
        max_size=40,
    )
)
def test_whatever_is_refused_the_message_does_not_repeat_it(text: str) -> None:
    with pytest.raises(UnusableAccount, match=r"^iban: not valid \(\w+\)$"):
        MAPPER.map_cbankverbindungen_to_advoware({"iban": f"DE00{text}"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "iban: missing"),
        ({"iban": " "}, "iban: missing"),
        ({"iban": "DE89370400440532013001"}, "iban: not valid (InvalidChecksumDigits)"),
        ({"iban": "DE8937040044"}, "iban: not valid (InvalidLength)"),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnusableAccount) as caught:
        MAPPER.map_cbankverbindungen_to_advoware(values)
    assert str(caught.value) == message


def test_a_foreign_iban_gives_no_german_account_number() -> None:
    record = MAPPER.map_cbankverbindungen_to_advoware(
        {"iban": "AT61 1904 3002 3457 3201", "bic": "opskatww"}
    )
    assert record == {
        "iban": "AT611904300234573201",
        "bic": "OPSKATWW",
        "kontoinhaber": "",
        "bank": "",
    }


def test_spellings_of_the_same_account_are_equal() -> None:
    espo = {
        "iban": "DE89 3704 0044 0532 0130 00",
        "bic": "cobadeff xxx",
        "kontoinhaber": "Max Mu\u0308ller",
        "bankname": "",
    }
    advo = {
        "iban": COMMERZBANK,
        "bic": "COBADEFF",
        "kontoinhaber": "Max  Müller",
        "bank": None,
    }
    assert MAPPER.get_changed_fields(espo, advo) == []
    assert MAPPER.get_changed_fields({**espo, "kontoinhaber": "Ada"}, advo) == [
        "kontoinhaber"
    ]


@given(st.text(max_size=40))
def test_a_mask_shows_at_most_the_last_four(text: str) -> None:
    masked = mask_iban(text)
    compact = "".join(without_invisible(text).split()).upper()
    if masked is None:
        assert compact == ""
    else:
        assert masked in ("****", f"****{compact[-4:]}")


def test_the_label_names_the_bank_and_the_last_four() -> None:
    assert (
        MAPPER.label({"bank": "Commerzbank", "iban": COMMERZBANK})
        == "Commerzbank ****3000"
    )
    assert MAPPER.label({"bank": None, "iban": COMMERZBANK}) == "****3000"


def test_both_spellings_of_the_list_are_read_and_its_absence_is_not_emptiness() -> None:
    assert konten_of({"bankkverbindungen": [{"id": 1}]}) == ([{"id": 1}], [])
    assert konten_of({"bankverbindungen": []}) == ([], [])
    assert konten_of({}) is None
    assert konten_of({"bankkverbindungen": None}) is None


@pytest.mark.parametrize(
    "hidden", ["\u200b", "\u200e", "\ufeff", "\u00ad", "\u2060", "\u00a0", "\u202f"]
)
def test_characters_that_no_one_sees_are_no_part_of_an_iban_or_bic(hidden: str) -> None:
    espo = {
        "iban": f"{hidden}DE89{hidden}370400440532013000",
        "bic": f"COBADEFF{hidden}",
    }
    record = MAPPER.map_cbankverbindungen_to_advoware(espo)
    assert (record["iban"], record["bic"]) == (COMMERZBANK, "COBADEFF")
    assert (
        MAPPER.get_changed_fields(espo, {"iban": COMMERZBANK, "bic": "COBADEFF"}) == []
    )


@pytest.mark.parametrize(
    "bic", ["COBA", "COBADEFFXX", "12345678", "COBADEFFXXXX", "COBA-DE"]
)
def test_a_wrong_bic_is_left_out(bic: str) -> None:
    espo = {"iban": COMMERZBANK, "bic": bic}
    assert MAPPER.map_cbankverbindungen_to_advoware(espo)["bic"] == ""
    assert MAPPER.left_out(espo) == {"bic": "invalid"}


@pytest.mark.parametrize(
    "value", [4711990, 0, 1.5, True, False, ["Coba"], {"name": "Coba"}]
)
def test_what_cannot_be_read_is_not_sent(value: Any) -> None:
    for field, name in ATTRIBUTES.items():
        espo = {
            "iban": COMMERZBANK,
            "bic": "COBADEFF",
            "kontoinhaber": "Max",
            "bankname": "Coba",
            name: value,
        }
        assert MAPPER.left_out(espo) == {field: "unknown"}
        if field == "iban":
            with pytest.raises(UnusableAccount):
                MAPPER.map_cbankverbindungen_to_advoware(espo)
        else:
            assert MAPPER.map_cbankverbindungen_to_advoware(espo)[field] == ""


def test_what_a_side_does_not_show_or_cannot_say_is_unknown() -> None:
    assert MAPPER.comparable_from_advoware({"id": 1}) == {}
    assert MAPPER.comparable_from_advoware({"iban": None, "bic": None}) == {
        "iban": Unknown("ohne IBAN"),
        "bic": None,
    }
    assert MAPPER.comparable_from_advoware({"kontoinhaber": ["x"]}) == {
        "kontoinhaber": Unknown("nicht lesbar: ['x']")
    }
    assert MAPPER.comparable_from_advoware({"kontoNr": 4711, "blz": "37040044"}) == {
        "iban": Unknown("Konto 4711, BLZ 37040044")
    }
    assert MAPPER.comparable_from_advoware({"kontoNr": "4711"}) == {
        "iban": Unknown("Konto 4711")
    }
    assert (
        MAPPER.shown("bank", Unknown("nicht lesbar: {'x': 12345678}")) == "nicht lesbar"
    )
    assert (
        MAPPER.shown("iban", Unknown("Konto 532013000, BLZ 37040044"))
        == "Konto ****3000, BLZ ****0044"
    )


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        "x",
        [],
        {},
        {"id": None},
        {"id": ""},
        {"id": "a"},
        {"id": 0},
        {"id": True},
    ],
)
def test_a_bankverbindung_without_a_usable_id_is_odd(item: Any) -> None:
    assert konten_of({"bankkverbindungen": [item, {"id": "7001"}]}) == (
        [{"id": 7001}],
        [item],
    )


@pytest.mark.parametrize(
    ("espo", "advo", "is_same"),
    [
        ({"iban": COMMERZBANK}, {"iban": "de89 3704 0044 0532 0130 00"}, True),
        ({"iban": COMMERZBANK}, {"iban": "DE89370400440532013001"}, False),
        ({"iban": COMMERZBANK}, {"kontoNr": "532013000", "blz": "370 400 44"}, True),
        ({"iban": COMMERZBANK}, {"kontoNr": "0532013000", "blz": "37040044"}, True),
        ({"iban": COMMERZBANK}, {"kontoNr": "532013001", "blz": "37040044"}, False),
        ({"iban": COMMERZBANK}, {"kontoNr": "532013000", "blz": "37040045"}, False),
        ({"iban": COMMERZBANK}, {"kontoNr": "532013000"}, False),
        ({"iban": COMMERZBANK}, {"blz": "37040044"}, False),
        ({"iban": COMMERZBANK}, {"iban": "", "kontoNr": None, "blz": None}, False),
        ({"iban": "AT611904300234573201"}, {"kontoNr": "234573201"}, False),
        (
            {"iban": "AT61370400440532013000"},
            {"kontoNr": "532013000", "blz": "37040044"},
            False,
        ),
        ({"iban": ""}, {"iban": ""}, False),
        ({"iban": 7}, {"iban": 7}, False),
        ({}, {"iban": COMMERZBANK}, False),
    ],
)
def test_what_is_the_same_account(
    espo: dict[str, Any], advo: dict[str, Any], is_same: bool
) -> None:
    assert MAPPER.is_same_account(espo, advo) is is_same


def test_a_refused_account_is_tried_without_each_optional_field_and_then_without_all() -> (
    None
):
    record = {"iban": COMMERZBANK, "bic": "X", "bank": "B", "kontoinhaber": ""}
    assert list(MAPPER.smaller(record)) == [
        {**record, "bank": ""},
        {**record, "bic": ""},
        {**record, "bank": "", "bic": ""},
    ]


@pytest.mark.parametrize(
    ("espo", "omitted"),
    [
        ({"kontoinhaber": "x" * 250, "bankname": "x" * 100}, {}),
        ({"kontoinhaber": "x" * 251}, {"kontoinhaber": "too_long"}),
        ({"bankname": "x" * 101}, {"bank": "too_long"}),
        ({"bic": "COBADEFFXXX"}, {}),
        ({"bic": "COBADEFFXX"}, {"bic": "invalid"}),
        ({"bankname": ["x"]}, {"bank": "unknown"}),
        ({}, {}),
    ],
)
def test_what_of_an_account_is_not_sent(
    espo: dict[str, Any], omitted: dict[str, str]
) -> None:
    assert MAPPER.left_out(espo) == omitted
    sent = MAPPER.map_cbankverbindungen_to_advoware({"iban": COMMERZBANK, **espo})
    assert {field for field in omitted if sent[field] == ""} == omitted.keys()


@pytest.mark.parametrize(
    ("iban", "reason"),
    [
        (None, "bank_without_iban"),
        (" ", "bank_without_iban"),
        ("DE89370400440532013001", "bank_iban_invalid"),
        ("DE89", "bank_iban_invalid"),
        ("XX89370400440532013000", "bank_iban_invalid"),
    ],
)
def test_why_an_iban_cannot_be_brought_to_advoware(iban: Any, reason: str) -> None:
    with pytest.raises(UnusableAccount) as raised:
        MAPPER.map_cbankverbindungen_to_advoware({"iban": iban})
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({"bank": "Sparkasse", "iban": COMMERZBANK}, "Sparkasse ****3000"),
        ({"iban": COMMERZBANK, "kontoinhaber": "Max"}, "****3000"),
        ({"bank": "Sparkasse"}, "Sparkasse"),
        ({"kontoinhaber": "Max"}, "Max"),
        (
            {"iban": Unknown("Konto 532013000, BLZ 37040044")},
            "Konto ****3000, BLZ ****0044",
        ),
        ({"bank": Unknown("nicht lesbar: ['x']")}, "nicht lesbar"),
        ({}, ""),
    ],
)
def test_an_account_in_a_few_words(values: dict[str, Any], label: str) -> None:
    assert MAPPER.label(values) == label


def test_the_fields_of_an_account_that_were_erased() -> None:
    assert MAPPER.erased({"erasedFields": "bankname iban name"}) == {"bank", "iban"}
    assert MAPPER.erased({}) == frozenset()
