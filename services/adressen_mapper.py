"""Adressen: EspoCRM's CAdressen and the Adressen of a Beteiligter in Advoware, mapped to comparable values. Pure.

The comparable values use Advoware's field names; ``None`` stands for every kind of emptiness, and as ``land`` also for
Germany, which both systems usually leave out. ``weitereZeilen`` are the lines below the street: EspoCRM has them in
``adresseStreet``, Advoware only inside the printed block ``anschrift``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from phonenumbers.geodata.locale import LOCALE_DATA

from services.espocrm_mapper import is_company, normalise_date, normalise_text

Record = Mapping[str, Any]

#: What Advoware's PUT changes, besides ``anschrift``, which is made of these; all else is fixed once created.
WRITABLE_FIELDS = frozenset({"strasse", "weitereZeilen", "plz", "ort"})

GERMANY = "DE"

#: comparable field -> EspoCRM attribute, where one stands for the other
_ATTRIBUTES = {
    "plz": "adressePostalCode",
    "ort": "adresseCity",
    "land": "adresseCountry",
    "postfach": "postfach",
    "postfachPLZ": "postfachPLZ",
    "gueltigVon": "gueltigVon",
    "gueltigBis": "gueltigBis",
}
_DATES = frozenset({"gueltigVon", "gueltigBis"})
_BEZEICHNUNG_LENGTH = 255

#: How people write countries beyond the German and English names; the first spelling is the one we write.
_SPELLINGS = {
    "CZ": ("Tschechien",),
    "GB": ("Großbritannien", "England", "UK"),
    "MK": ("Nordmazedonien",),
    "NL": ("Niederlande", "Holland"),
    "US": ("USA",),
    "XK": ("Kosovo",),
    "DE": ("Deutschland", "D", "BRD", "Bundesrepublik Deutschland"),
    "AT": ("Österreich", "A"),
}


def _name_of_country(code: str, language: str) -> str:
    """The country's name; the library's data refer to another language by ``*`` and its code where they agree."""
    names = LOCALE_DATA.get(code, {})
    name = names.get(language, "")
    while name.startswith("*"):
        name = names[name[1:]]
    return name


#: ISO code -> German name as we write it to Advoware
COUNTRIES = {code: _name_of_country(code, "de") for code in LOCALE_DATA} | {
    code: spellings[0] for code, spellings in _SPELLINGS.items()
}
_CODE_BY_SPELLING = {
    spelling.casefold(): code
    for code in COUNTRIES
    for spelling in (
        code,
        _name_of_country(code, "de"),
        _name_of_country(code, "en"),
        *_SPELLINGS.get(code, ()),
    )
    if spelling
}

#: Our mark in ``bemerkung``. The id is EspoCRM's; how people separate it from their own text does not matter.
_MARKER = re.compile(r"EspoCRM[-_ ]?ID\s*[:=]?\s*([0-9A-Za-z-]{1,36})(?![0-9A-Za-z-])[ \t]*[;,|]?", re.IGNORECASE)


def country_code(text: Any) -> str | None:
    """The ISO code of a country given as code or name; a text we do not know as it is; None for an empty one."""
    known = normalise_text(text)
    return _CODE_BY_SPELLING.get(known.casefold(), known) if known else None


def country_text(code: Any) -> str:
    """The German name of a country given as ISO code; other texts as they are, empty as ""."""
    return COUNTRIES.get(str(code or ""), str(code or ""))


def espocrm_id_of(bemerkung: Any) -> str | None:
    """The EspoCRM id in a ``bemerkung``, if there is one."""
    match = _MARKER.search(str(bemerkung or ""))
    return match.group(1) if match else None


def user_text_of(bemerkung: Any) -> str | None:
    """A ``bemerkung`` without our mark."""
    return normalise_text(_MARKER.sub(" ", str(bemerkung or ""), count=1))


def marked(espocrm_id: str, user_text: str | None) -> str:
    """The ``bemerkung`` of an Adresse that we create."""
    return f"EspoCRM-ID: {espocrm_id}" + (f" {user_text}" if user_text else "")


def addressee_of(beteiligter: Record) -> str | None:
    """The first line of a Beteiligter's printed block: ``Herrn Dr. Max Müller`` or the company's name."""
    name = normalise_text(beteiligter.get("name"))
    if is_company(beteiligter.get("rechtsform")):
        return name
    anrede = normalise_text(beteiligter.get("anrede"))
    greeting = {"herr": "Herrn", "frau": "Frau"}.get((anrede or "").casefold())
    titel, vorname = (normalise_text(beteiligter.get(field)) for field in ("titel", "vorname"))
    return normalise_text(" ".join(part for part in (greeting, titel, vorname, name) if part))


def build_anschrift(addressee: str | None, values: Record) -> str:
    """The block that Advoware prints, one line each; without a street it is that of the post-office box."""
    if values.get("strasse"):
        lines = [values["strasse"], *_lines(values.get("weitereZeilen")), _place(values["plz"], values["ort"])]
    else:
        box = values.get("postfach")
        plz = values.get("postfachPLZ") if box else None
        lines = [f"Postfach {box}" if box else "", _place(plz or values.get("plz"), values.get("ort"))]
    country = country_text(values.get("land")).upper() if values.get("land") else ""
    return "\n".join(line for line in (addressee, *lines, country) if line)


class AdressenMapper:
    """Maps Adressen in both directions."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Any]:
        """The comparable values of a CAdressen, without the main mark."""
        street = _lines(espo.get("adresseStreet"))
        values = {"strasse": street[0] if street else None, "weitereZeilen": "\n".join(street[1:]) or None}
        for field, attribute in _ATTRIBUTES.items():
            values[field] = (normalise_date if field in _DATES else normalise_text)(espo.get(attribute))
        values["land"] = _foreign(values["land"])
        return values

    def comparable_from_advoware(self, advo: Record) -> dict[str, Any]:
        """The comparable values of an Adresse, without the main mark.

        ``weitereZeilen`` is left out if the printed block does not show which lines belong to the street.
        """
        values: dict[str, Any] = {"strasse": normalise_text(advo.get("strasse"))}
        for field in _ATTRIBUTES:
            values[field] = (normalise_date if field in _DATES else normalise_text)(advo.get(field))
        values["land"] = _foreign(values["land"])
        further = _lines_below_street(advo.get("anschrift"), values)
        if further is not None:
            values["weitereZeilen"] = "\n".join(further) or None
        return values

    def map_cadressen_to_advoware(self, espo: Record, beteiligter: Record, *, is_main: bool) -> dict[str, Any]:
        """A CAdressen as a new Adresse of the Beteiligter, with all fields and the EspoCRM id in ``bemerkung``."""
        values = self.comparable_from_espocrm(espo)
        record = {
            field: value if field in _DATES else value or ""
            for field, value in values.items()
            if field != "weitereZeilen"
        }
        return {
            **record,
            "land": country_text(country_code(espo.get("adresseCountry"))),
            "anschrift": build_anschrift(addressee_of(beteiligter), values),
            "standardAnschrift": is_main,
            "bemerkung": marked(espo["id"], normalise_text(espo.get("bezeichnung") or espo.get("name"))),
        }

    def map_advoware_to_cadressen(self, advo: Record) -> dict[str, Any]:
        """An Adresse as attributes of a new CAdressen, without its link and its sync fields."""
        values = {"weitereZeilen": None, **self.comparable_from_advoware(advo)}
        user_text = user_text_of(advo.get("bemerkung")) or ""
        return {
            **self.to_espocrm(values, values),
            "adresseCountry": country_code(advo.get("land")),
            "bezeichnung": user_text if 0 < len(user_text) <= _BEZEICHNUNG_LENGTH else self.label(values),
            "istStandard": bool(advo.get("standardAnschrift")),
            "isActive": True,
        }

    def to_espocrm(self, changed: Record, values: Record) -> dict[str, Any]:
        """The attributes of the changed comparable fields. ``values`` are all the values the record will have."""
        attributes = {attribute: changed[field] for field, attribute in _ATTRIBUTES.items() if field in changed}
        if "land" in changed:
            attributes["adresseCountry"] = changed["land"] or GERMANY
        if "strasse" in changed or "weitereZeilen" in changed:
            street = [values.get("strasse"), *_lines(values.get("weitereZeilen"))]
            attributes["adresseStreet"] = "\n".join(line for line in street if line) or None
        return attributes

    def to_advoware(self, values: Record, beteiligter: Record) -> dict[str, Any]:
        """What a PUT sends so that the Adresse has these values: the writable fields and the block made of them."""
        fields = {field: values.get(field) or "" for field in ("strasse", "plz", "ort")}
        return {**fields, "anschrift": build_anschrift(addressee_of(beteiligter), values)}

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        ours, theirs = self.comparable_from_espocrm(espo), self.comparable_from_advoware(advo)
        return sorted(field for field in ours.keys() & theirs.keys() if ours[field] != theirs[field])

    def label(self, values: Record) -> str:
        """The address in one line, for people: ``Lange Straße 5, 30159 Hannover``."""
        box = f"Postfach {values['postfach']}" if values.get("postfach") and not values.get("strasse") else None
        parts = (values.get("strasse") or box, _place(values.get("plz"), values.get("ort")))
        return ", ".join(part for part in parts if part)


def has_content(values: Record) -> bool:
    """Whether there is anything to write on an envelope."""
    return any(values.get(field) for field in ("strasse", "ort", "plz", "postfach"))


def _foreign(country: str | None) -> str | None:
    code = country_code(country)
    return None if code == GERMANY else code


def _lines(text: Any) -> list[str]:
    return [line for line in map(normalise_text, str(text or "").splitlines()) if line]


def _place(plz: Any, ort: Any) -> str:
    return " ".join(part for part in (plz, ort) if part)


def _lines_below_street(anschrift: Any, values: Record) -> Sequence[str] | None:
    """The lines between street and place in a printed block; None if it does not contain both."""
    block, street, place = _lines(anschrift), values.get("strasse"), _place(values.get("plz"), values.get("ort"))
    if not street or not block:
        return ()
    if street not in block or place not in block:
        return None
    start = block.index(street, 1) if street in block[1:] else 0
    country = country_text(values.get("land")).upper()
    end = len(block) - (2 if country and block[-1] == country else 1)
    if end <= start or block[end] != place:
        after = [number for number, line in enumerate(block) if line == place and number > start]
        if not after:
            return None
        end = after[0]
    return block[start + 1 : end]
