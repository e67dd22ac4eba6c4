"""Adressen: EspoCRM's CAdressen and the Adressen of a Beteiligter in Advoware, mapped to comparable values. Pure.

The comparable values use Advoware's field names. Each is a text, ``None`` for empty (as ``land`` also for Germany,
which both systems usually leave out), or `Unknown`; a key that a record does not contain is left out. ``weitereZeilen``
are the lines below the street: EspoCRM has them in ``adresseStreet``, Advoware only in the printed block ``anschrift``.
Nothing here raises, whatever a record contains.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.core.foreign_text import comparable_text, shortened
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
from services.values.merge import Side, Unknown, Value, differing_fields, text_of

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
#: The comparable fields that Advoware keeps in a field of their own.
_ADVOWARE_FIELDS = ("strasse", *_ATTRIBUTES)
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
DEFAULT_LENGTH = 500
ESPOCRM_LENGTHS = {"plz": 20, "ort": 100, "postfach": 50, "postfachPLZ": 20}
ESPOCRM_STREET_LENGTH = 255
LABEL_LENGTH = 255
NO_LABEL = "Adresse ohne Angaben"

_KEYS = {
    key.casefold(): key
    for key in (
        "id",
        "rowId",
        "bemerkung",
        "standardAnschrift",
        BLOCK,
        *_ADVOWARE_FIELDS,
    )
}

#: The sync's mark in ``bemerkung``. The id is EspoCRM's; how users separate it from their own text does not matter.
_MARKER = re.compile(
    r"EspoCRM[-_ ]?ID\s*[:=]?\s*([0-9A-Za-z-]{1,36})(?![0-9A-Za-z-])[ \t]*[;,|]?",
    re.IGNORECASE,
)


# -- what Advoware answers --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listing:
    """The Adressen in an answer. ``unreadable`` counts the entries that are no Adressen: any may be a missing one."""

    adressen: list[dict[str, Any]]
    unreadable: int = 0


def adressen_of(beteiligter: Record) -> Listing | None:
    """The Adressen of a Beteiligter, in the order of their ids and with canonical keys; None without a list.

    An answer without the list says nothing about the addresses, least of all that there are none.
    """
    renamed = _canonical(beteiligter, {"adressen": "adressen"})
    found = renamed.get("adressen")
    if not isinstance(found, list):
        return None
    adressen = _by_number(found)
    in_order = [adressen[number] for number in sorted(adressen)]
    unreadable = len(found) - len(adressen)
    return Listing(in_order, unreadable)


def _by_number(found: list[Any]) -> dict[int, dict[str, Any]]:
    """The Adressen of a list with canonical keys, by their ids; of several with one id the first."""
    adressen: dict[int, dict[str, Any]] = {}
    for item in found:
        if not isinstance(item, Mapping):
            continue
        entry = _canonical(item, _KEYS)
        number = _number(entry)
        if number is not None and number not in adressen:
            adressen[number] = {**entry, "id": number}
    return adressen


def canonical_adresse(answer: Record) -> dict[str, Any]:
    """An Adresse as Advoware answers a write, with canonical keys."""
    return _canonical(answer, _KEYS)


def _canonical(record: Record, spellings: Mapping[str, str]) -> dict[str, Any]:
    """The record with the keys of ``spellings`` spelled like this; a key that is spelled so already wins."""
    renamed = {}
    for written, value in record.items():
        key = spellings.get(str(written).casefold(), written)
        renamed[key] = record.get(key, value)
    return renamed


def _number(entry: Record) -> int | None:
    number = entry.get("id")
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    if isinstance(number, str) and re.fullmatch(r"[0-9]{1,18}", number):
        return int(number)
    return None


# -- single values ----------------------------------------------------------------------------------------------------


def read_text(value: Any) -> Value:
    """A text; None for empty; `Unknown` for anything that is no text."""
    if value is None or isinstance(value, str):
        return comparable_text(value)
    return Unknown(str(value))


def read_date(value: Any) -> Value:
    """A date as ``YYYY-MM-DD``; None for empty and .NET's extremes; `Unknown` if unreadable or not in 1800 to 2200."""
    text = read_text(value)
    if not isinstance(text, str):
        return text
    return comparable_date(text, of_a_database=True)


def read_country(value: Any) -> Value:
    """A country as ISO code; None for empty and Germany; `Unknown` if `country_code` does not know it."""
    text = read_text(value)
    if not isinstance(text, str):
        return text
    code = country_code(text)
    if code == GERMANY:
        return None
    return code or Unknown(text)


def _read(field: str, value: Any) -> Value:
    if field == "land":
        return read_country(value)
    if field in _DATES:
        return read_date(value)
    return read_text(value)


# -- the mark ---------------------------------------------------------------------------------------------------------


def espocrm_id_of(bemerkung: Any) -> str | None:
    """The EspoCRM id in a ``bemerkung``, if there is one."""
    text = str(bemerkung or "")
    match = _MARKER.search(text)
    if match is None:
        return None
    return match[1]


def user_text_of(bemerkung: Any) -> str | None:
    """A ``bemerkung`` without the mark."""
    text = str(bemerkung or "")
    without_mark = _MARKER.sub(" ", text, count=1)
    return comparable_text(without_mark)


def marked(espocrm_id: str, user_text: str | None) -> str:
    """The ``bemerkung`` of an Adresse that the sync creates."""
    mark = f"EspoCRM-ID: {espocrm_id}"
    if not user_text:
        return mark
    return f"{mark} {user_text}"


# -- records ----------------------------------------------------------------------------------------------------------


class AdressenMapper:
    """Maps Adressen in both directions."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Value]:
        """The comparable values of a CAdressen, without the main mark."""
        values: dict[str, Value] = {}
        if "adresseStreet" in espo:
            values = _read_street(espo["adresseStreet"])
        for field, attribute in _ATTRIBUTES.items():
            if attribute in espo:
                values[field] = _read(field, espo[attribute])
        return values

    def comparable_from_advoware(self, advo: Record) -> dict[str, Value]:
        """The comparable values of an Adresse, without the main mark.

        ``weitereZeilen`` is left out if the printed block does not show which lines belong to the street.
        """
        values = {}
        for field in _ADVOWARE_FIELDS:
            if field in advo:
                values[field] = _read(field, advo[field])
        if not _shows_street(advo):
            return values
        further = lines_below_street(block_of(advo), values)
        if further is not None:
            text = "\n".join(further)
            values["weitereZeilen"] = text or None
        return values

    def erased(self, espo: Record) -> frozenset[str]:
        """The comparable fields of a CAdressen that were erased and no user has filled since."""
        fields: set[str] = set()
        for attribute in erased_attributes(espo):
            fields.update(ESPOCRM_FIELDS.get(attribute, ()))
        return frozenset(fields)

    def unsaid(self, advo: Record) -> frozenset[str]:
        """The comparable fields for which an Adresse shows nothing at all (null): that may be emptiness or not."""
        fields = set()
        for field in _ADVOWARE_FIELDS:
            if field in advo and advo[field] is None:
                fields.add(field)
        block = block_of(advo)
        if not lines_of(block):
            fields.add("weitereZeilen")
        return frozenset(fields)

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
        values = self._sendable(espo, wanted)
        record: dict[str, Any] = {}
        for name in _ADVOWARE_FIELDS:
            record[name] = values.get(name) or ""
        for name in _DATES:
            record[name] = values.get(name)
        record["land"] = ""
        if "land" in values:
            country = country_code(espo.get("adresseCountry"))
            record["land"] = country_text(country)
        record[BLOCK] = ""
        if BLOCK in wanted:
            addressee = addressee_of(beteiligter)
            record[BLOCK] = build_anschrift(addressee, values)
        record["standardAnschrift"] = is_main
        record["bemerkung"] = marked(espo["id"], _label_in_espocrm(espo))
        return record

    def _sendable(self, espo: Record, names: Collection[str]) -> dict[str, Value]:
        """Those of the fields that a CAdressen holds in a form that we understand."""
        values = {}
        for name, value in self.comparable_from_espocrm(espo).items():
            if name in names and not isinstance(value, Unknown):
                values[name] = value
        return values

    def map_advoware_to_cadressen(self, advo: Record) -> dict[str, Any]:
        """An Adresse as attributes of a new CAdressen, without its link and its sync fields.

        What EspoCRM cannot hold is left out. Of an Adresse that is only a printed block, the label shows the block.
        """
        shown = self.comparable_from_advoware(advo)
        values = {}
        for name, value in shown.items():
            if self.unfit("espocrm", name, value, shown) is None:
                values[name] = value
        attributes = self.to_espocrm(values, values)
        if "land" in values:
            attributes["adresseCountry"] = country_code(advo.get("land"))
        attributes["bezeichnung"] = self._label_for_espocrm(advo)
        attributes["istStandard"] = advo.get("standardAnschrift") is True
        attributes["isActive"] = True
        return attributes

    def _label_for_espocrm(self, advo: Record) -> str:
        """The text that users have entered in Advoware, if EspoCRM can hold it, else `label_of`."""
        label = user_text_of(advo.get("bemerkung"))
        if not label or len(label) > LABEL_LENGTH:
            return self.label_of(advo)
        return label

    def to_espocrm(self, changed: Record, values: Record) -> dict[str, Any]:
        """The attributes of the changed comparable fields. ``values`` are all the values the record will have."""
        attributes: dict[str, Any] = {}
        for field, attribute in _ATTRIBUTES.items():
            if field in changed:
                attributes[attribute] = changed[field]
        if "land" in changed:
            attributes["adresseCountry"] = changed["land"] or GERMANY
        is_street_changed = not changed.keys().isdisjoint(STREET)
        if is_street_changed:
            street = street_text(values)
            attributes["adresseStreet"] = street or None
        return attributes

    def unfit(
        self,
        side: Side,
        name: str,
        value: Value,
        values: Record,
    ) -> str | None:
        """Why a side cannot hold a value: ``unknown``, ``read_only`` or ``too_long``; None if it can.

        ``values`` are all the values that the side would have then.
        """
        if isinstance(value, Unknown):
            return "unknown"
        written = value or ""
        if side == "advoware":
            limit = ADVOWARE_LENGTHS.get(name, DEFAULT_LENGTH)
        elif name in STREET:
            written = street_text(values)
            limit = ESPOCRM_STREET_LENGTH
        else:
            limit = ESPOCRM_LENGTHS.get(name, LABEL_LENGTH)
        if len(written) > limit:
            return "too_long"
        return None

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The comparable fields whose values differ, sorted."""
        espocrm = self.comparable_from_espocrm(espo)
        advoware = self.comparable_from_advoware(advo)
        return differing_fields(espocrm, advoware)

    def label(self, values: Record) -> str:
        """The address in one line, for users: ``Lange Straße 5, 30159 Hannover``."""
        first = text_of(values.get("strasse"))
        box = text_of(values.get("postfach"))
        if box and not first:
            first = f"Postfach {box}"
        place = place_of(values)
        line = ", ".join(filter(None, (first, place)))
        return shortened(line, LABEL_LENGTH)

    def label_of(self, advo: Record) -> str:
        """An Adresse in one line; one that is only a printed block by its lines."""
        label = self.label(self.comparable_from_advoware(advo))
        if label:
            return label
        block = block_label(block_of(advo))
        return shortened(block, LABEL_LENGTH) or NO_LABEL


def _label_in_espocrm(espo: Record) -> str | None:
    """The label of a CAdressen, or its name."""
    label = read_text(espo.get("bezeichnung")) or read_text(espo.get("name"))
    if not isinstance(label, str):
        return None
    return label


def block_of(advo: Record) -> str | None:
    """The printed block of an Adresse, None if it shows none."""
    block = advo.get(BLOCK)
    if isinstance(block, str):
        return block
    return None


def _read_street(street: Any) -> dict[str, Value]:
    """Street and further lines from EspoCRM's one field."""
    if street is not None and not isinstance(street, str):
        return dict.fromkeys(STREET, read_text(street))
    values: dict[str, Value] = dict.fromkeys(STREET)
    lines = lines_of(street)
    if lines:
        first, *further = lines
        values["strasse"] = first
        values["weitereZeilen"] = "\n".join(further) or None
    return values


def _shows_street(advo: Record) -> bool:
    """Whether it is known which street the printed block would have to contain."""
    if advo.get("strasse") is not None:
        return True
    block = block_of(advo)
    return not lines_of(block)


def has_content(values: Record) -> bool:
    """Whether there is anything to write on an envelope."""
    envelope = ("strasse", "ort", "plz", "postfach")
    return any(text_of(values.get(field)) for field in envelope)


def street_text(values: Record) -> str:
    """Street and further lines as EspoCRM holds them."""
    street = text_of(values.get("strasse"))
    further = text_of(values.get("weitereZeilen"))
    lines = [street, *lines_of(further)]
    return "\n".join(filter(None, lines))
