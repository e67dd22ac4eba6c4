"""Adressen: EspoCRM's CAdressen and the Adressen of a Beteiligter in Advoware, mapped to comparable values. Pure.

The comparable values use Advoware's field names. Each is a text, ``None`` for empty (as ``land`` also for Germany,
which both systems usually leave out), or `Unknown`; a key that a record does not contain is left out. ``weitereZeilen``
are the lines below the street: EspoCRM has them in ``adresseStreet``, Advoware only in the printed block ``anschrift``.
Nothing here raises, whatever a record contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.foreign_text import comparable_text
from services.espocrm_mapper import erased_attributes
from services.values.address_block import (
    BLOCK,
    addressee_of,
    block_label,
    build_anschrift,
    lines_below_street,
    lines_of,
    place_of,
)
from services.values.countries import GERMANY, country_code, country_text
from services.values.kind import comparable_date
from services.values.merge import Side, Unknown, Value, is_same, text_of

Record = Mapping[str, Any]

#: What Advoware's PUT changes, besides ``anschrift``, which is made of these; all else is fixed once created.
WRITABLE_FIELDS = frozenset({"strasse", "weitereZeilen", "plz", "ort"})
STREET = ("strasse", "weitereZeilen")

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
FIELDS = (*STREET, *_ATTRIBUTES)
#: EspoCRM attribute -> the comparable fields that it holds
ESPOCRM_FIELDS = {
    "adresseStreet": STREET,
    **{attribute: (field,) for field, attribute in _ATTRIBUTES.items()},
}

#: Longest values that Advoware [A] and EspoCRM take. EspoCRM holds street and further lines in one field.
ADVOWARE_LENGTHS = {
    "strasse": 255,
    "plz": 20,
    "ort": 100,
    "postfach": 50,
    "postfachPLZ": 20,
}
ESPOCRM_LENGTHS = {"plz": 20, "ort": 100, "postfach": 50, "postfachPLZ": 20}
ESPOCRM_STREET_LENGTH = 255
LABEL_LENGTH = 255
NO_LABEL = "Adresse ohne Angaben"

_MISSING = object()

#: .NET's smallest and largest date, which stand for "no date".

_KEYS = {
    key.casefold(): key
    for key in ("id", "rowId", "bemerkung", "standardAnschrift", BLOCK, "strasse", *_ATTRIBUTES)
}  # fmt: skip

#: Our mark in ``bemerkung``. The id is EspoCRM's; how people separate it from their own text does not matter.
_MARKER = re.compile(
    r"EspoCRM[-_ ]?ID\s*[:=]?\s*([0-9A-Za-z-]{1,36})(?![0-9A-Za-z-])[ \t]*[;,|]?",
    re.IGNORECASE,
)


# -- what Advoware answers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """The Adressen in an answer. ``unreadable`` counts the entries that are no Adressen: any may be one we look for."""

    adressen: list[dict[str, Any]]
    unreadable: int = 0


def adressen_of(beteiligter: Record) -> Listing | None:
    """The Adressen of a Beteiligter, in the order of their ids and with keys as we spell them; None without a list.

    An answer without the list says nothing about the addresses, least of all that there are none.
    """
    found = _canonical(beteiligter, {"adressen": "adressen"}).get("adressen")
    if not isinstance(found, list):
        return None
    entries = [
        _canonical(entry, _KEYS) for entry in found if isinstance(entry, Mapping)
    ]
    adressen = {
        number: {**entry, "id": number}
        for entry in reversed(entries)
        if (number := _number(entry)) is not None
    }
    return Listing(
        [adressen[number] for number in sorted(adressen)], len(found) - len(adressen)
    )


def canonical_adresse(answer: Record) -> dict[str, Any]:
    """An Adresse as Advoware answers a write, with keys as we spell them."""
    return _canonical(answer, _KEYS)


def _canonical(record: Record, spellings: Mapping[str, str]) -> dict[str, Any]:
    """The record with the keys of ``spellings`` spelled like this; a key that is spelled so already wins."""
    renamed = {
        spellings.get(str(key).casefold(), key): value for key, value in record.items()
    }
    return {key: record.get(key, value) for key, value in renamed.items()}


def _number(entry: Record) -> int | None:
    number = entry.get("id")
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    return (
        int(number)
        if isinstance(number, str) and re.fullmatch(r"[0-9]{1,18}", number)
        else None
    )


# -- single values ----------------------------------------------------------------------------------------------------


def read_text(value: Any) -> Value:
    """A text; None for empty; `Unknown` for anything that is no text."""
    return (
        comparable_text(value)
        if value is None or isinstance(value, str)
        else Unknown(str(value))
    )


def read_date(value: Any) -> Value:
    """A date as ``YYYY-MM-DD``; None for empty and .NET's extremes; `Unknown` if unreadable or not in 1800 to 2200."""
    text = read_text(value)
    return comparable_date(text, of_a_database=True) if isinstance(text, str) else text


def read_country(value: Any) -> Value:
    """A country as ISO code; None for empty and Germany; `Unknown` if our table does not contain it."""
    text = read_text(value)
    if not isinstance(text, str):
        return text
    code = country_code(text)
    return None if code == GERMANY else code or Unknown(text)


def _read(field: str, value: Any) -> Value:
    if field == "land":
        return read_country(value)
    return read_date(value) if field in _DATES else read_text(value)


# -- our mark ---------------------------------------------------------------------------------------------------------


def espocrm_id_of(bemerkung: Any) -> str | None:
    """The EspoCRM id in a ``bemerkung``, if there is one."""
    match = _MARKER.search(str(bemerkung or ""))
    return match.group(1) if match else None


def user_text_of(bemerkung: Any) -> str | None:
    """A ``bemerkung`` without our mark."""
    return comparable_text(_MARKER.sub(" ", str(bemerkung or ""), count=1))


def marked(espocrm_id: str, user_text: str | None) -> str:
    """The ``bemerkung`` of an Adresse that we create."""
    return f"EspoCRM-ID: {espocrm_id}" + (f" {user_text}" if user_text else "")


# -- records ----------------------------------------------------------------------------------------------------------


class AdressenMapper:
    """Maps Adressen in both directions."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Value]:
        """The comparable values of a CAdressen, without the main mark."""
        values: dict[str, Value] = {}
        street = espo.get("adresseStreet", _MISSING)
        if street is not _MISSING:
            lines = lines_of(street) if isinstance(street, str) else []
            unknown = (
                None if street is None or isinstance(street, str) else read_text(street)
            )
            values = {
                "strasse": lines[0] if lines else unknown,
                "weitereZeilen": "\n".join(lines[1:]) or unknown,
            }
        for field, attribute in _ATTRIBUTES.items():
            value = espo.get(attribute, _MISSING)
            if value is not _MISSING:
                values[field] = _read(field, value)
        return values

    def comparable_from_advoware(self, advo: Record) -> dict[str, Value]:
        """The comparable values of an Adresse, without the main mark.

        ``weitereZeilen`` is left out if the printed block does not show which lines belong to the street.
        """
        values = {
            field: _read(field, advo[field])
            for field in ("strasse", *_ATTRIBUTES)
            if field in advo
        }
        further = (
            lines_below_street(block_of(advo), values) if _shows_street(advo) else None
        )
        if further is not None:
            values["weitereZeilen"] = "\n".join(further) or None
        return values

    def erased(self, espo: Record) -> frozenset[str]:
        """The comparable fields of a CAdressen that were erased and nobody has filled since."""
        return frozenset(
            field
            for attribute in erased_attributes(espo)
            for field in ESPOCRM_FIELDS.get(attribute, ())
        )

    def unsaid(self, advo: Record) -> frozenset[str]:
        """The comparable fields for which an Adresse shows nothing at all (null): that may be emptiness or not."""
        fields = {
            field
            for field in ("strasse", *_ATTRIBUTES)
            if field in advo and advo[field] is None
        }
        return frozenset(
            fields | (set() if lines_of(block_of(advo)) else {"weitereZeilen"})
        )

    def map_cadressen_to_advoware(
        self,
        espo: Record,
        beteiligter: Record,
        *,
        is_main: bool,
        names: Iterable[str] = (*FIELDS, BLOCK),
    ) -> dict[str, Any]:
        """A CAdressen as a new Adresse, with those of its fields (``names``) and the EspoCRM id in ``bemerkung``."""
        wanted = set(names)
        known = self.comparable_from_espocrm(espo)
        values = {
            name: value for name, value in known.items() if name in wanted and not isinstance(value, Unknown)
        }  # fmt: skip
        fields = {
            name: value if name in _DATES else value or ""
            for name, value in ((name, values.get(name)) for name in FIELDS)
            if name != "weitereZeilen"
        }
        said = espo.get("adresseCountry") if "land" in values else None
        label = read_text(espo.get("bezeichnung")) or read_text(espo.get("name"))
        return {
            **fields,
            "land": country_text(country_code(said)),
            BLOCK: build_anschrift(addressee_of(beteiligter), values)
            if BLOCK in wanted
            else "",
            "standardAnschrift": is_main,
            "bemerkung": marked(espo["id"], label if isinstance(label, str) else None),
        }

    def map_advoware_to_cadressen(self, advo: Record) -> dict[str, Any]:
        """An Adresse as attributes of a new CAdressen, without its link and its sync fields.

        What EspoCRM cannot hold is left out. Of an Adresse that is only a printed block, the label shows the block.
        """
        values = {
            name: value
            for name, value in self.comparable_from_advoware(advo).items()
            if self.unfit("espocrm", name, value, self.comparable_from_advoware(advo))
            is None
        }
        country = country_code(advo.get("land"))
        user_text = user_text_of(advo.get("bemerkung")) or ""
        return {
            **self.to_espocrm(values, values),
            **({"adresseCountry": country} if "land" in values else {}),
            "bezeichnung": user_text
            if 0 < len(user_text) <= LABEL_LENGTH
            else self.label_of(advo),
            "istStandard": advo.get("standardAnschrift") is True,
            "isActive": True,
        }

    def to_espocrm(self, changed: Record, values: Record) -> dict[str, Any]:
        """The attributes of the changed comparable fields. ``values`` are all the values the record will have."""
        attributes = {
            attribute: changed[field]
            for field, attribute in _ATTRIBUTES.items()
            if field in changed
        }
        if "land" in changed:
            attributes["adresseCountry"] = changed["land"] or GERMANY
        if any(field in changed for field in STREET):
            attributes["adresseStreet"] = street_text(values) or None
        return attributes

    def unfit(self, side: Side, name: str, value: Value, values: Record) -> str | None:
        """Why a side cannot hold a value: ``unknown``, ``read_only`` or ``too_long``; None if it can.

        ``values`` are all the values that the side would have then.
        """
        if isinstance(value, Unknown):
            return "unknown"
        if side == "espocrm":
            too_long = len(value or "") > ESPOCRM_LENGTHS.get(name, LABEL_LENGTH)
            if name in STREET:
                too_long = len(street_text(values)) > ESPOCRM_STREET_LENGTH
            return "too_long" if too_long else None
        return (
            "too_long" if len(value or "") > ADVOWARE_LENGTHS.get(name, 500) else None
        )

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        ours, theirs = (
            self.comparable_from_espocrm(espo),
            self.comparable_from_advoware(advo),
        )
        return sorted(
            field
            for field in ours.keys() & theirs.keys()
            if not is_same(ours[field], theirs[field])
        )

    def label(self, values: Record) -> str:
        """The address in one line, for people: ``Lange Straße 5, 30159 Hannover``."""
        street, postfach = (
            text_of(values.get("strasse")),
            text_of(values.get("postfach")),
        )
        box = f"Postfach {postfach}" if postfach and not street else None
        return shortened(
            ", ".join(part for part in (street or box, place_of(values)) if part)
        )

    def label_of(self, advo: Record) -> str:
        """An Adresse in one line; one that is only a printed block by its lines."""
        values = self.comparable_from_advoware(advo)
        return self.label(values) or shortened(block_label(block_of(advo))) or NO_LABEL


def block_of(advo: Record) -> str | None:
    """The printed block of an Adresse, None if it shows none."""
    block = advo.get(BLOCK)
    return block if isinstance(block, str) else None


def _shows_street(advo: Record) -> bool:
    """Whether it is known which street the printed block would have to contain."""
    return advo.get("strasse") is not None or not lines_of(block_of(advo))


def has_content(values: Record) -> bool:
    """Whether there is anything to write on an envelope."""
    return any(
        text_of(values.get(field)) for field in ("strasse", "ort", "plz", "postfach")
    )


def street_text(values: Record) -> str:
    """Street and further lines as EspoCRM holds them."""
    lines = [
        text_of(values.get("strasse")),
        *lines_of(text_of(values.get("weitereZeilen"))),
    ]
    return "\n".join(line for line in lines if line)


def shortened(label: str) -> str:
    """A label within EspoCRM's limit."""
    return label if len(label) <= LABEL_LENGTH else f"{label[: LABEL_LENGTH - 1]}…"
