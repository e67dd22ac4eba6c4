"""Whether a record is about a person or a company, and the dates that show it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from services.core.foreign_text import comparable_text
from services.values.advoware_protocol import (
    BERLIN,
    FIRST_YEAR,
    LAST_YEAR,
    parse_date_time,
)
from services.values.merge import Unknown, Value

Record = Mapping[str, Any]

Kind = Literal["person", "company"]

#: Legal forms that EspoCRM's list offers; others that Advoware holds are kept there and not brought over.
RECHTSFORMEN = (
    "AG",
    "e.K.",
    "e.V.",
    "eG",
    "GbR",
    "GmbH",
    "GmbH & Co. KG",
    "KG",
    "Körperschaft des öffentlichen Rechts",
    "OHG",
    "PartG",
    "PartG mbB",
    "SE",
    "Stiftung",
    "UG (haftungsbeschränkt)",
)

RECHTSFORM_BY_FOLDED = {name.casefold(): name for name in RECHTSFORMEN}

#: Advoware says of a person only that it is one; EspoCRM leaves the field empty for them or repeats the salutation.
PLAIN_PERSON_FORMS = frozenset({"herr", "frau", "divers"})

#: Further legal forms of persons [A]; EspoCRM's list does not offer them.
_PERSON_FORMS = PLAIN_PERSON_FORMS | {
    "ehegatten",
    "eheleute",
    "ehepaar",
    "familie",
    "herr und frau",
    "kind",
    "lebenspartner",
    "minderjährig",
    "natürliche person",
    "privat",
    "privatperson",
}

#: A merchant ("e.K.") is a person with a firm, so what is there decides.
_COMPANY_FORMS = frozenset(RECHTSFORM_BY_FOLDED) - {"e.k."} | {
    "aktiengesellschaft",
    "behörde",
    "firma",
    "genossenschaft",
    "gericht",
    "gmbh & co kg",
    "juristische person",
    "kgaa",
    "ltd",
    "ltd.",
    "ug",
    "verein",
    "versicherung",
}

#: What decides, where the legal form does not.
_DECIDING = ("firmenname", "lastName", "firstName", "salutationName", "dateOfBirth")

#: How .NET and SQL Server write "no date". A person who types one of these has made a slip.
_NO_DATES = frozenset({"0001-01-01", "1753-01-01", "9999-12-31"})


def comparable_date(value: Any, *, of_a_database: bool = False) -> Value:
    """A date as ``YYYY-MM-DD``, from a date, a date-time or their texts.

    None if it is empty or, ``of_a_database``, one of the dates by which databases mean "no date". `Unknown` if it is
    unreadable, or before 1800 or after 2200: no birth date is to be lost because of a typing error.
    """
    if isinstance(value, date):
        text: str | None = value.isoformat()
    else:
        text = comparable_text(value)
    if text is None:
        return None
    if of_a_database and text[:10] in _NO_DATES:
        return None
    moment = parse_date_time(text)
    if moment is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        return Unknown(text)
    day = moment.astimezone(BERLIN).date()
    return day.isoformat()


def kind_of_espocrm(espo: Record) -> Kind:
    """Whether a CBeteiligte is a person or a company: by its legal form where that is clear, else by what is there."""
    has_firm = _has_any(espo, "firmenname")
    is_named_person = _has_any(espo, "lastName") and not has_firm
    has_traits = _has_any(espo, "firstName", "salutationName", "dateOfBirth")
    return _kind(
        espo.get("rechtsform"),
        is_person=has_traits or is_named_person,
        is_company=has_firm,
    )


def may_be_of_other_kind(espo: Record) -> bool:
    """Whether a CBeteiligte does not show a field that could make a company of a person, or the reverse."""
    if clear_kind(espo.get("rechtsform")) is not None:
        return False
    kind = kind_of_espocrm(espo)
    not_shown = [name for name in _DECIDING if name not in espo]
    return any(kind_of_espocrm({**espo, name: "x"}) != kind for name in not_shown)


def kind_of_advoware(advo: Record) -> Kind:
    """Whether a Beteiligter is a person or a company: by its legal form where that is clear, else by what is there."""
    anrede = comparable_text(advo.get("anrede"))
    has_salutation = anrede is not None and anrede.casefold() != "firma"
    birth = comparable_date(advo.get("geburtsdatum"), of_a_database=True)
    has_traits = _has_any(advo, "vorname") or bool(birth)
    return _kind(
        advo.get("rechtsform"),
        is_person=has_salutation or has_traits,
        is_company=_has_any(advo, "handelsRegisterNummer", "registergericht"),
    )


def _has_any(record: Record, *names: str) -> bool:
    """Whether at least one of the fields shows something."""
    return any(comparable_text(record.get(name)) is not None for name in names)


def _kind(rechtsform: Any, *, is_person: bool, is_company: bool) -> Kind:
    clear = clear_kind(rechtsform)
    if clear is not None:
        return clear
    if is_person:
        return "person"
    if is_company or _form_of(rechtsform):
        return "company"
    return "person"


def _form_of(rechtsform: Any) -> str:
    """A legal form as it is looked up; empty if there is none that could be read."""
    if is_no_text(rechtsform):
        return ""
    text = comparable_text(rechtsform) or ""
    return text.casefold()


def clear_kind(rechtsform: Any) -> Kind | None:
    """The kind that a legal form alone shows; None for a merchant, for an unknown form and without one."""
    form = _form_of(rechtsform)
    if form in _PERSON_FORMS:
        return "person"
    if form in _COMPANY_FORMS:
        return "company"
    return None


def is_no_text(raw: Any) -> bool:
    """Whether a value is something that no synced field holds. A number counts as its digits only where they agree."""
    return raw is not None and not isinstance(raw, str)
