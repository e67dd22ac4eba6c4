"""What a phone number or a mail address means, how EspoCRM takes it, and why it would not. Pure.

A phone number has a value only if exactly one reading of what was typed is valid. Everything else stays where it is,
with a reason that is a word of the catalogue of problems (`services.vmh_sync.problem_texts.kommunikation`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, Literal, NamedTuple

import idna
import phonenumbers

from services.core.foreign_text import without_invisible

Family = Literal["phone", "mail"]

REGION: Final = "DE"
COUNTRY_CODE: Final = phonenumbers.country_code_for_region(REGION)
#: ITU-T E.164: so many digits at most, the country code included.
MAX_PHONE_DIGITS: Final = 15
#: Fewer digits without 0 or + in front are a number in one's own town, whatever they begin with.
MIN_DIGITS_WITHOUT_PREFIX: Final = 10
#: PHP's filter: octets of an address and of the part before the @; of one part of the domain.
MAX_MAIL_LENGTH: Final = 254

#: EspoCRM's erasure of personal data leaves ``ERASED:<id of the row>`` in the place of a number or an address.
_MACHINE_MADE: Final = re.compile(r"\s*ERASED:", re.I)
_EXTENSION: Final = re.compile(
    r"[\s,;./-]*(?:;ext=|ext\.?|extension|durchwahl|dw|apparat|app\.?|nst\.?|nebenstelle|x|#)[\s.:-]*(\d{1,7})\s*$",
    re.I,
)
#: Letters are refused, because the phone library would read them as the digits of a keypad ("Buero" as 28376).
_DIALLABLE: Final = re.compile(r"[0-9 +()/.\-\u2010-\u2015]+")
_LIST_SEPARATOR: Final = re.compile(r"[,;|&\n]|\b(?:oder|und|u\.|bzw\.?|or)", re.I)
_SEPARATOR: Final = re.compile(r" */ *| *[-\u2010-\u2015] *| *\. *| +")
_GROUP: Final = re.compile(r"\(([^()]*)\)")
_INTERNATIONAL_PREFIX: Final = re.compile(r"(?:\+|00)\d{1,3}")
_TRUNK_ZERO: Final = re.compile(r"\( *0 *\)")

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_LAST_LABEL: Final = r"[A-Za-z][A-Za-z0-9]*(?:-+[A-Za-z0-9]+)*"
#: What PHP's FILTER_VALIDATE_EMAIL accepts, without quoted names and addresses of computers, which it accepts too.
_MAIL: Final = re.compile(
    rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?!(?:.*\.)?[^.]{{64,}})(?:{_LABEL}\.){{1,126}}{_LAST_LABEL}",
)


class Reading(NamedTuple):
    """A value as EspoCRM takes it, or None and the reason."""

    value: str | None
    reason: str = ""


def read_value(family: Family, text: str) -> Reading:
    """The one reading of what was typed."""
    if family == "mail":
        return read_mail(text)
    return read_phone(text)


def espocrm_value(family: Family, text: str) -> str | None:
    """A value as EspoCRM takes it, or None if it would refuse it and with it the whole record."""
    return read_value(family, text).value


def canonical(family: Family, text: str) -> str:
    """A value as it is compared; ``canonical`` of the result is the result. Empty only for what shows nothing."""
    if family == "mail":
        return canonical_mail(text)
    return canonical_phone(text)


def is_machine_made(text: str) -> bool:
    """Whether no person has typed this: what an erasure of personal data leaves. It never goes to the other side."""
    return _MACHINE_MADE.match(without_invisible(text)) is not None


# -- phone numbers --------------------------------------------------------------------------------------------------


def read_phone(text: str) -> Reading:
    """The one valid reading in E.164: national (DE) with its 0, international with + or 00, or with + to be added.

    EspoCRM 8.4 and 9 with ``phoneNumberInternational`` take E.164 only, without extension.
    """
    written = _tidy(text)
    reason = _reason_without_reading(text, written)
    if reason is not None:
        return Reading(None, reason)
    found = _readings(written)
    if len(found) == 1:
        return Reading(found.pop())
    digits = re.sub(r"\D", "", written)
    if not found and len(digits) < MIN_DIGITS_WITHOUT_PREFIX:
        return Reading(None, "kom_phone_fragment")
    return Reading(None, "kom_phone_invalid")


def _reason_without_reading(text: str, written: str) -> str | None:
    """Why a text, as typed and tidied, is not one number; None if it may be one."""
    if is_machine_made(text):
        return "kom_erased_value"
    if _is_list(text):
        return "kom_phone_several"
    if _EXTENSION.search(written):
        return "kom_phone_extension"
    if not _DIALLABLE.fullmatch(written):
        return "kom_phone_words"
    if _holds_several(written):
        return "kom_phone_several"
    return None


def _is_list(text: str) -> bool:
    has_several_groups = len(re.findall(r"\d+", text)) > 1
    return has_several_groups and _LIST_SEPARATOR.search(text.strip()) is not None


def canonical_phone(text: str) -> str:
    """A number as it is compared: ``+49511123`` or ``+49511123;ext=45``; text that is no number, tidied."""
    written = _tidy(text)
    suffix = ""
    extension = _EXTENSION.search(written)
    if extension is not None:
        suffix = f";ext={extension[1]}"
        text = written[: extension.start()]
    number = read_phone(text).value
    if number is None:
        return _tidy(written.casefold())
    return f"{number}{suffix}"


def is_german_mobile(text: str) -> bool:
    """Whether a number, with or without extension, is a mobile number in Germany."""
    written, _, _ = canonical_phone(text).partition(";ext=")
    number = read_phone(written).value
    if number is None:
        return False
    parsed = phonenumbers.parse(number, None)
    if parsed.country_code != COUNTRY_CODE:
        return False
    return bool(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE)


def _tidy(text: str) -> str:
    visible = without_invisible(text)
    normal = without_invisible(unicodedata.normalize("NFKC", visible))
    return re.sub(r"\s+", " ", normal).strip()


def _readings(written: str) -> set[str]:
    """The valid numbers that these digits may be, in E.164."""
    if not _has_sound_parentheses(written):
        return set()
    digits = _digits(written)
    spellings = [digits]
    # "+49 (0)511": the zero is dialled only within the country; where it belongs to the number (Italy), it stays.
    if _INTERNATIONAL_PREFIX.match(digits):
        without_zero = _TRUNK_ZERO.sub("", written)
        spellings.append(_digits(without_zero))
    numbers = map(_read_digits, spellings)
    return set(filter(None, numbers))


def _digits(written: str) -> str:
    return re.sub(r"[^\d+]", "", written)


def _read_digits(digits: str) -> str | None:
    if "+" in digits[1:]:
        return None
    if digits.startswith("00"):
        return _valid(f"+{digits[2:]}")
    if digits.startswith(("+", "0")):
        return _valid(digits)
    if len(digits) < MIN_DIGITS_WITHOUT_PREFIX:
        return None
    return _read_without_prefix(digits)


def _read_without_prefix(digits: str) -> str | None:
    number = _valid(f"+{digits}")
    if number is not None and number.startswith(f"+{COUNTRY_CODE}"):
        return number
    may_be_german = _valid(f"0{digits}") is not None
    if may_be_german:
        return None  # a foreign number without its +, or a German one without its 0
    return number


def _valid(text: str) -> str | None:
    """The number in E.164, if it is valid and reads the same in that form."""
    try:
        number = phonenumbers.parse(text, REGION)
        e164 = _e164(number)
        again = phonenumbers.parse(e164, None)
    except phonenumbers.NumberParseException:
        return None
    if len(e164) > MAX_PHONE_DIGITS + 1:
        return None
    for parsed in (number, again):
        if not phonenumbers.is_valid_number(parsed):
            return None
    if _e164(again) != e164:
        return None
    return e164


def _e164(number: phonenumbers.PhoneNumber) -> str:
    e164: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return e164


def _has_sound_parentheses(written: str) -> bool:
    """Whether parentheses enclose a country code, an area code, or the zero of "+49 (0)511", and nothing else."""
    for match in _GROUP.finditer(written):
        before = _digits(written[: match.start()])
        is_code = not before or _INTERNATIONAL_PREFIX.fullmatch(before)
        if not is_code or not match[1].strip():
            return False
    outside = _GROUP.sub("", written)
    return "(" not in outside and ")" not in outside


def _holds_several(written: str) -> bool:
    """Whether the digits can be read as two numbers, or as one number and the end of another.

    ``0511 1234 / 5678`` can; ``0511/1234`` cannot, because ``0511`` is no number; ``0511 1234-56`` is an extension as
    it is usually written.
    """
    for match in _SEPARATOR.finditer(written):
        left = written[: match.start()]
        right = written[match.end() :]
        if re.search(r"\d", right) is None or not _readings(left):
            continue
        if _is_next(match[0], right):
            return True
    return False


def _is_next(separator: str, right: str) -> bool:
    """Whether what follows a number and this separator is another number, or the end of another."""
    if "/" in separator:
        return True
    is_spaced_dash = " " in separator and separator.strip(" .") != ""
    if is_spaced_dash and right.strip("0 ") != "":
        return True
    begins_a_number = right.lstrip("( ").startswith(("0", "+"))
    if not begins_a_number:
        return False
    return bool(_readings(right))


# -- mail addresses -------------------------------------------------------------------------------------------------


def read_mail(text: str) -> Reading:
    """The address as EspoCRM takes it: ASCII, a domain with other letters in its encoded form (``xn--...``)."""
    if is_machine_made(text):
        return Reading(None, "kom_erased_value")
    written = _tidy_mail(text)
    if written.count("@") > 1:
        return Reading(None, "kom_mail_several")
    local, _, domain = written.partition("@")
    encoded = _encoded_domain(domain)
    if not local.isascii() and _is_mail_domain(encoded):
        return Reading(None, "kom_mail_umlaut")
    address = f"{local}@{encoded}"
    if encoded is None or not _MAIL.fullmatch(address):
        return Reading(None, "kom_mail_invalid")
    if len(address) > MAX_MAIL_LENGTH:
        return Reading(None, "kom_too_long")
    return Reading(address)


def _is_mail_domain(encoded: str | None) -> bool:
    """Whether EspoCRM takes addresses with this domain."""
    return encoded is not None and _MAIL.fullmatch(f"a@{encoded}") is not None


def canonical_mail(text: str) -> str:
    """An address as it is compared: trimmed, lower case, the domain in its encoded form."""
    lower = _tidy_mail(text).lower()
    written = _tidy_mail(lower)
    local, at, domain = written.rpartition("@")
    encoded = _encoded_domain(domain) or domain
    return f"{local}{at}{encoded}"


def _tidy_mail(text: str) -> str:
    visible = without_invisible(text)
    return unicodedata.normalize("NFC", visible).strip()


def _encoded_domain(domain: str) -> str | None:
    """A domain in ASCII (IDNA 2008, so that ß stays what it is), or None if it has no such form."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except UnicodeError:  # idna's own errors, and half characters
        return None
