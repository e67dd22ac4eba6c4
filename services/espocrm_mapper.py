"""Beteiligte: EspoCRM's CBeteiligte and Advoware's Beteiligte, mapped to one set of comparable values. Pure.

The comparable values use Advoware's field names. A field that a record cannot express (an unknown legal form, say) is
left out, so that it is neither compared nor overwritten. ``None`` stands for every kind of emptiness.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

from services.advoware_models import BERLIN, parse_date_time
from services.errors import InvalidInput

Record = Mapping[str, Any]

#: Legal forms of natural persons in Advoware [A]. EspoCRM leaves the field empty for them or repeats the salutation.
NATURAL_PERSON = frozenset({"", "herr", "frau", "divers"})

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
_RECHTSFORM_BY_FOLDED = {name.casefold(): name for name in RECHTSFORMEN}

ANREDEN = ("Herr", "Frau", "Divers")
_ANREDE_BY_FOLDED = {name.casefold(): name for name in ANREDEN}

#: comparable field -> EspoCRM attribute
PERSON_FIELDS = {"anrede": "salutationName", "vorname": "firstName", "name": "lastName", "geburtsdatum": "dateOfBirth"}
COMPANY_FIELDS = {
    "name": "firmenname",
    "handelsRegisterNummer": "handelsregisterNummer",
    "art": "handelsregisterArt",
    "registergericht": "registergericht",
}

#: Longest value per field that Advoware takes [A] and that EspoCRM takes.
ADVOWARE_LENGTHS = {"name": 250, "vorname": 100, "handelsRegisterNummer": 50, "art": 20, "registergericht": 100}
ESPOCRM_LENGTHS = {
    "firstName": 100,
    "lastName": 100,
    "firmenname": 255,
    "handelsregisterNummer": 100,
    "handelsregisterArt": 100,
    "registergericht": 100,
}


def normalise_text(value: Any) -> str | None:
    """Text as it is compared: NFC, trimmed, inner white space and control characters as one space, empty as None."""
    if value is None:
        return None
    text = re.sub(r"[\s\x00-\x1f\x7f]+", " ", unicodedata.normalize("NFC", str(value))).strip()
    return text or None


def normalise_date(value: Any) -> str | None:
    """A date as ``YYYY-MM-DD``, from a date, a date-time or their texts; None if empty or unreadable."""
    if isinstance(value, date):
        return value.isoformat()[:10]
    moment = parse_date_time(normalise_text(value))
    return moment.astimezone(BERLIN).date().isoformat() if moment else None


def is_company(rechtsform: Any) -> bool:
    """Whether a legal form stands for something other than a natural person."""
    return (normalise_text(rechtsform) or "").casefold() not in NATURAL_PERSON


class BeteiligteMapper:
    """Maps master data of Beteiligte in both directions."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Any]:
        """The comparable values of a CBeteiligte."""
        company = is_company(espo.get("rechtsform"))
        values: dict[str, Any] = dict.fromkeys([*PERSON_FIELDS, *COMPANY_FIELDS])
        for name, attribute in (COMPANY_FIELDS if company else PERSON_FIELDS).items():
            values[name] = normalise_text(espo.get(attribute))
        if company:
            values["name"] = values["name"] or normalise_text(espo.get("lastName"))
        else:
            values["geburtsdatum"] = normalise_date(espo.get("dateOfBirth"))
        rechtsform = normalise_text(espo.get("rechtsform"))
        values["rechtsform"] = _known(rechtsform, _RECHTSFORM_BY_FOLDED) if company else None
        return values

    def comparable_from_advoware(self, advo: Record) -> dict[str, Any]:
        """The comparable values of a Beteiligter; values that EspoCRM's lists do not offer are left out."""
        company = is_company(advo.get("rechtsform"))
        values: dict[str, Any] = dict.fromkeys([*PERSON_FIELDS, *COMPANY_FIELDS])
        for name in COMPANY_FIELDS if company else PERSON_FIELDS:
            values[name] = normalise_text(advo.get(name))
        if not company:
            values["geburtsdatum"] = normalise_date(advo.get("geburtsdatum"))
            values["anrede"] = _known(values["anrede"], _ANREDE_BY_FOLDED)
            if values["anrede"] not in (None, *ANREDEN):
                del values["anrede"]
        values["rechtsform"] = (
            _known(normalise_text(advo.get("rechtsform")), _RECHTSFORM_BY_FOLDED) if company else None
        )
        if values["rechtsform"] not in (None, *RECHTSFORMEN):
            del values["rechtsform"]
        return values

    def to_advoware(self, values: Record) -> dict[str, Any]:
        """Comparable values as Advoware's attributes; empty ones as "" (dates as None).

        Raises:
            InvalidInput: a value is longer than Advoware takes; names the field.
        """
        attributes = {
            name: value if value is not None or name == "geburtsdatum" else "" for name, value in values.items()
        }
        _require_lengths(attributes, ADVOWARE_LENGTHS, "Advoware")
        return attributes

    def to_espocrm(self, values: Record, *, company: bool) -> dict[str, Any]:
        """Comparable values as EspoCRM's attributes; those that do not apply to a person or company are left out.

        Raises:
            InvalidInput: a value is longer than EspoCRM takes; names the field.
        """
        fields = COMPANY_FIELDS if company else PERSON_FIELDS
        attributes = {attribute: values[name] for name, attribute in fields.items() if name in values}
        if "rechtsform" in values:
            attributes["rechtsform"] = values["rechtsform"] or ""
        _require_lengths(attributes, ESPOCRM_LENGTHS, "EspoCRM")
        return attributes

    def map_cbeteiligte_to_advoware(self, espo: Record) -> dict[str, Any]:
        """A CBeteiligte as a new Beteiligter.

        Raises:
            InvalidInput: the record has no name, or a value is too long.
        """
        values = self.comparable_from_espocrm(espo)
        if not values["name"]:
            raise InvalidInput("lastName or firmenname: a Beteiligter needs a name")
        return {name: value for name, value in self.to_advoware(values).items() if value not in (None, "")}

    def map_advoware_to_cbeteiligte(self, advo: Record) -> dict[str, Any]:
        """A Beteiligter as attributes of a CBeteiligte.

        Raises:
            InvalidInput: a value is too long.
        """
        return self.to_espocrm(self.comparable_from_advoware(advo), company=is_company(advo.get("rechtsform")))

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        ours, theirs = self.comparable_from_espocrm(espo), self.comparable_from_advoware(advo)
        return sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])


def _known(value: str | None, by_folded: Mapping[str, str]) -> str | None:
    """The list's own spelling of a value it knows; other values unchanged."""
    return by_folded.get(value.casefold(), value) if value else None


def _require_lengths(attributes: Record, lengths: Mapping[str, int], system: str) -> None:
    for name, value in attributes.items():
        if isinstance(value, str) and len(value) > lengths.get(name, len(value)):
            raise InvalidInput(f"{name}: longer than the {lengths[name]} characters that {system} takes")
