"""Phone numbers and mail addresses: one valid reading or none, and the same at a second look."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.values.kommunikation import (
    canonical,
    canonical_mail,
    canonical_phone,
    espocrm_value,
    is_machine_made,
    read_mail,
    read_phone,
)
from services.vmh_sync.kommunikation.plan import Notice
from services.vmh_sync.kommunikation.texts import problem_of
from services.vmh_sync.notification.texts import (
    problem_sentence,
    task_description,
    task_title,
)
from services.vmh_sync.problem_texts import CATALOGUE
from services.vmh_sync.problem_texts.kommunikation import TEXTS

PHP_VECTORS = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "php-mail-filter.json").read_text("utf-8")
)["vectors"]

# -- phone numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("49 511 123459", "+49511123459"),
        ("49511123459", "+49511123459"),
        ("+49 (0)511 1234560", "+495111234560"),
        ("+49 (0)0511 123464", "+49511123464"),
        ("+49 0511 123459", "+49511123459"),
        ("0049 511 12345 60", "+495111234560"),
        ("0049 (0) 511 1234560", "+495111234560"),
        ("(0511) 12345-60", "+495111234560"),
        ("(+49) 511 1234567", "+495111234567"),
        ("+49(511)1234567", "+495111234567"),
        ("0511/12345-0", "+49511123450"),
        ("0511 - 1234560", "+495111234560"),
        ("+49 511 / 1234567", "+495111234567"),
        ("0511 12 34 56", "+49511123456"),
        ("０５１１ 1234", "+495111234"),
        ("\u202a+49\u00a0511\u200b1234\u202c", "+495111234"),
        ("0800 1234567", "+498001234567"),
        ("0180 5 123456", "+491805123456"),
        ("0171/39 20 001", "+491713920001"),
        ("+43 664 1234567", "+436641234567"),
        ("00390612345678", "+390612345678"),
        ("+39 (0)6 12345678", "+390612345678"),
        ("1 212 555 0123", "+12125550123"),
        ("+881 612345678", "+881612345678"),
        ("+800 12345678", "+80012345678"),
    ],
)
def test_what_has_one_reading_is_that_number(written: str, number: str) -> None:
    assert read_phone(written).value == number
    assert canonical_phone(written) == number


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("0511 1234 / 5678", "kom_phone_several"),
        ("0511 1234567 / -69", "kom_phone_several"),
        ("0511 1234567 - 69", "kom_phone_several"),
        ("0511/123456/78", "kom_phone_several"),
        ("0511 1234, 0171 3920001", "kom_phone_several"),
        ("0511 1234; 5678", "kom_phone_several"),
        ("0511 1234\n0511 5678", "kom_phone_several"),
        ("0511 1234 oder 0171 3920001", "kom_phone_several"),
        ("0511 1234 u. 5678", "kom_phone_several"),
        ("0511 1234 0171 3920001", "kom_phone_several"),
        ("05111234 05115678", "kom_phone_several"),
        ("0511 1234-0171 3920001", "kom_phone_several"),
        ("+49 511 1234 +49 511 5678", "kom_phone_several"),
        ("0511 1234 privat", "kom_phone_words"),
        ("Büro 0511 1234", "kom_phone_words"),
        ("0800-LAWYER", "kom_phone_words"),
        ("auf Anfrage", "kom_phone_words"),
        ("0511 1234 Durchwahl 12", "kom_phone_extension"),
        ("0511 1234 App. 12", "kom_phone_extension"),
        ("0511 1234 DW -12", "kom_phone_extension"),
        ("0511 1234 ext. 5", "kom_phone_extension"),
        ("0511", "kom_phone_fragment"),
        ("1234", "kom_phone_fragment"),
        ("112", "kom_phone_fragment"),
        ("511 123459", "kom_phone_fragment"),
        ("4930123", "kom_phone_fragment"),  # a number within the town, or +49 30 123
        ("+49", "kom_phone_fragment"),
        ("171 39200012", "kom_phone_invalid"),  # 0171 39200012, or +1 713 9200012
        ("0511 123405115678", "kom_phone_invalid"),  # longer than any number
        ("0511 123 456 (78)", "kom_phone_invalid"),
        ("++49 511 123459", "kom_phone_invalid"),
        ("000511 123459", "kom_phone_invalid"),
        ("ERASED:6b0473f6031b46ee6", "kom_erased_value"),
    ],
)
def test_what_has_no_reading_or_several_has_no_value_but_a_reason(
    written: str, reason: str
) -> None:
    assert read_phone(written) == (None, reason)


PIECES = [
    "0511",
    "0171",
    "+49",
    "0049",
    "49",
    "(0)",
    "(0511)",
    "123464",
    "1234",
    "5678",
    "12",
    "0",
    "9",
    "1",
    "43",
]
PIECES += [
    " ",
    "/",
    "-",
    " - ",
    " / ",
    "–",
    ".",
    "+",
    "00",
    "39 06",
    "x5",
    "\u200b",
    "\u00a0",
    " oder ",
    "0800",
    "(",
    ")",
]


def test_an_accepted_number_is_stable_under_a_second_parse_and_passes_espocrms_check() -> (
    None
):
    """22,096 accepted of many more spellings, as in the finding (1,929 of them were not stable); in the gate 4,000."""
    dice = random.Random(13)  # noqa: S311 - seeded
    accepted = 0
    is_search = os.environ.get("HYPOTHESIS_PROFILE") == "search"
    while accepted < (22_096 if is_search else 4_000):
        written = dice.choice(["0511", "+49", "0049", "0171", "+43", "030"]) + "".join(
            dice.choices(PIECES, k=3)
        )
        number = read_phone(written).value
        if number is None:
            continue
        accepted += 1
        parsed = phonenumbers.parse(number, None)  # as EspoCRM does it
        assert (
            phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
            == number
        ), written
        assert phonenumbers.is_possible_number(parsed), written
        assert read_phone(number).value == number, written
        assert canonical_phone(written) == canonical_phone(number) == number, written


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_the_compared_form_of_anything_is_its_own_compared_form(text: str) -> None:
    for family in ("phone", "mail"):
        once = canonical(family, text)
        assert canonical(family, once) == once


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_no_reading_holds_fewer_digits_than_were_typed(text: str) -> None:
    """Nothing is cut off: but for prefixes, all digits of a text are in its number."""
    number = read_phone(text).value
    if number is not None:
        typed = "".join(
            character for character in text if character.isdecimal()
        ).lstrip("0")
        assert number.endswith(typed[-6:])


# -- what is reported -----------------------------------------------------------------------------------------------


def test_every_reason_stands_in_the_catalogue_with_a_code_of_its_own_and_can_be_shown() -> (
    None
):
    services = Path(__file__).parents[2] / "services"
    modules = [
        path
        for path in services.rglob("*.py")
        if "kommunikation" in str(path.relative_to(services))
    ]
    modules = [path for path in modules if path.parent.name != "problem_texts"]
    used = {
        word
        for module in modules
        for word in re.findall(r'"(kom_\w+)"', module.read_text("utf-8"))
    }
    assert used == TEXTS.keys()
    assert len({text.code for text in CATALOGUE.values()}) == len(CATALOGUE)
    for reason in sorted(used):
        notice = Notice(reason, "phone", "0511 1234 \u200bprivat", 4711, "0511 9999")
        problem = problem_of(
            notice, {"id": "6b04744e3b3103de1", "name": "Jörg Müller"}, 1001
        )
        shown = f"{task_title(problem)}\n{problem_sentence(problem)}\n{task_description(problem)}"
        assert "{" not in shown
        assert "kom_" not in shown
        assert TEXTS[reason].code in problem_sentence(problem)
        assert "Jörg Müller" in shown
        names_the_value = (
            reason != "kom_erased"
        )  # who erases a value does not want to read it in a task
        assert ("unsichtbare Zeichen" in shown) == names_the_value
        assert ("0511 1234" in shown) == names_the_value


# -- mail addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "passes"), PHP_VECTORS)
def test_mail_addresses_pass_as_with_php_but_for_quoted_names_and_computers(
    address: str, passes: bool
) -> None:
    wanted = passes and '"' not in address and "[" not in address
    if address.isascii() and address == address.strip():
        assert (read_mail(address).value == address) == wanted


@pytest.mark.parametrize(
    ("written", "value", "reason"),
    [
        (" a@b.de\u200b", "a@b.de", ""),
        ("info@Kanzlei-Müller.de", "info@xn--kanzlei-mller-4ob.de", ""),
        ("info@straße.de", "info@xn--strae-oqa.de", ""),
        ("info@ко́ -.de", None, "kom_mail_invalid"),
        ("müller@kanzlei.de", None, "kom_mail_umlaut"),
        ("a@b.de; c@d.de", None, "kom_mail_several"),
        ("Max Müller <a@b.de>", None, "kom_mail_invalid"),
        ("mailto:a@b.de", None, "kom_mail_invalid"),
        ("a@example.1de", None, "kom_mail_invalid"),
        (
            f"a@{'b' * 60}.{'b' * 60}.{'b' * 60}.{'b' * 60}.{'b' * 20}.de",
            None,
            "kom_too_long",
        ),
        ("ERASED:6b0473f6031b46ee6", None, "kom_erased_value"),
    ],
)
def test_mail_addresses_as_espocrm_takes_them(
    written: str, value: str | None, reason: str
) -> None:
    assert read_mail(written) == (value, reason)


def test_a_domain_is_equal_to_its_encoded_form() -> None:
    assert canonical_mail("Info@kanzlei-müller.de") == canonical_mail(
        "info@XN--kanzlei-mller-4ob.de"
    )
    assert canonical_mail("a@straße.de") != canonical_mail("a@strasse.de")


@given(st.text(alphabet='ab@.-_äß"1 \u200b', max_size=12))
def test_an_address_that_goes_out_is_read_as_itself(text: str) -> None:
    value = espocrm_value("mail", text)
    if value is not None:
        assert espocrm_value("mail", value) == value


def test_machine_made_values_are_known_however_they_are_written() -> None:
    assert is_machine_made(" erased:64f\u200b")
    assert not is_machine_made("erased@example.de")
