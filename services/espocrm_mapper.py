"""Beteiligte: EspoCRM's CBeteiligte and Advoware's Beteiligte, mapped to one set of comparable values. Pure.

The comparable values use Advoware's field names. None stands for every kind of emptiness, `Unknown` for a value that
the other side cannot hold or that cannot be read. A field that a record does not show, or that does not apply to its
kind (person or company), is left out; it is then neither compared nor overwritten (specification 13, G1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.core.errors import NameMissing
from services.core.foreign_text import comparable_text
from services.values.kind import (
    PLAIN_PERSON_FORMS,
    RECHTSFORM_BY_FOLDED,
    RECHTSFORMEN,
    Kind,
    Record,
    clear_kind,
    comparable_date,
    is_no_text,
    kind_of_advoware,
    kind_of_espocrm,
    may_be_of_other_kind,
)
from services.values.merge import (
    Side,
    Unfit,
    Unknown,
    Value,
    differing_fields,
    text_of,
)

ANREDEN = ("Herr", "Frau", "Divers")
_ANREDE_BY_FOLDED = {name.casefold(): name for name in ANREDEN}


@dataclass(frozen=True)
class Field:
    """A field of the master data that both systems have.

    Merge, lengths, schema check, audit, tasks and preview follow from it: one row is all that a field needs here.

    Attributes:
        advoware: its name in Advoware, which the comparable values use.
        espocrm: its attribute in EspoCRM.
        label: what users call it.
        kind: who has it; None for the legal form, which decides the kind.
        advoware_length, espocrm_length: the longest text that each system takes [A]; None if it is no free text there.
        options: the values of a list.
        is_date: whether it is a date.
    """

    advoware: str
    espocrm: str
    label: str
    kind: Kind | None
    advoware_length: int | None = None
    espocrm_length: int | None = None
    options: tuple[str, ...] = ()
    is_date: bool = False


FIELDS = (
    Field("rechtsform", "rechtsform", "Rechtsform", None, 50, 50),
    Field("anrede", "salutationName", "Anrede", "person", 50, options=ANREDEN),
    Field("vorname", "firstName", "Vorname", "person", 100, 100),
    Field("name", "lastName", "Nachname", "person", 250, 100),
    Field("geburtsdatum", "dateOfBirth", "Geburtsdatum", "person", is_date=True),
    Field("name", "firmenname", "Firma", "company", 250, 250),
    Field(
        "handelsRegisterNummer",
        "handelsregisterNummer",
        "Handelsregisternummer",
        "company",
        advoware_length=50,
        espocrm_length=50,
    ),
    Field("art", "handelsregisterArt", "Registerart", "company", 20, 20),
    Field("registergericht", "registergericht", "Registergericht", "company", 100, 100),
)


def _attributes_of(kind: Kind) -> dict[str, str]:
    """The attributes of EspoCRM for persons, or for companies, by comparable field."""
    return {field.advoware: field.espocrm for field in FIELDS if field.kind == kind}


PERSON_FIELDS = _attributes_of("person")
COMPANY_FIELDS = _attributes_of("company")
FIELDS_OF: Mapping[Kind, Mapping[str, str]] = {
    "person": PERSON_FIELDS,
    "company": COMPANY_FIELDS,
}
_ALL_FIELDS = {**COMPANY_FIELDS, **PERSON_FIELDS}
_DATES = frozenset(field.advoware for field in FIELDS if field.is_date)
#: The attributes of EspoCRM in which the name may stand: that of a person, that of a company.
NAME_ATTRIBUTES = (PERSON_FIELDS["name"], COMPANY_FIELDS["name"])
#: What makes two records the same person or company; other fields may have been corrected since.
IDENTITY = ("name", "vorname", "geburtsdatum")

#: The longest text that Advoware takes, by comparable field, and that EspoCRM takes, by attribute.
ADVOWARE_LENGTHS = {
    field.advoware: field.advoware_length for field in FIELDS if field.advoware_length
}
ESPOCRM_LENGTHS = {
    field.espocrm: field.espocrm_length for field in FIELDS if field.espocrm_length
}
#: The field in which the extension notes what was erased.
ERASED = "erasedFields"
#: A value that only a machine has written: what EspoCRM leaves where personal data were erased.
_ERASED = re.compile(r"ERASED:\S*", re.IGNORECASE)


def shown_by_espocrm(espo: Record) -> Mapping[str, str]:
    """The fields that apply to a CBeteiligte, with their attributes.

    Without a clear legal form all: a merchant is a person in a register, and a firm may turn out to be a person.
    """
    clear = clear_kind(espo.get("rechtsform"))
    if clear is not None:
        return FIELDS_OF[clear]
    return {**_ALL_FIELDS, **FIELDS_OF[kind_of_espocrm(espo)]}


def shown_by_advoware(advo: Record) -> Mapping[str, str]:
    """The fields that apply to a Beteiligter; without a clear legal form all."""
    clear = clear_kind(advo.get("rechtsform"))
    if clear is None:
        return _ALL_FIELDS
    return FIELDS_OF[clear]


def shows_all_of_both_kinds(espo: Record) -> bool:
    """Whether a CBeteiligte shows everything that a person, or a company, may have beside its kind (`unheld`)."""
    return espo.keys() >= {COMPANY_FIELDS["name"], *PERSON_FIELDS.values()}


def erased_attributes(record: Record) -> frozenset[str]:
    """The attributes of a record that EspoCRM's erasure of personal data has emptied, and no user has filled since.

    The extension notes them in ``erasedFields`` (``Classes/Privacy/Erasor.php``).
    """
    names = str(record.get(ERASED) or "")
    return frozenset(names.split())


def is_erased(espo: Record) -> bool:
    """Whether personal data of a CBeteiligte were erased in EspoCRM: it leaves marks where numbers and mails stood."""
    shown = [espo.get("phoneNumber"), espo.get("emailAddress")]
    phones = _rows(espo.get("phoneNumberData"))
    mails = _rows(espo.get("emailAddressData"))
    for row in (*phones, *mails):
        shown.append(row.get("phoneNumber") or row.get("emailAddress"))
    return any(map(_is_erasure, shown))


def _is_erasure(value: Any) -> bool:
    text = str(value or "")
    return _ERASED.fullmatch(text) is not None


def _rows(value: Any) -> list[Record]:
    if not isinstance(value, list):
        return []
    return [row for row in value if isinstance(row, Mapping)]


class BeteiligteMapper:
    """Maps master data of Beteiligte in both directions."""

    def comparable_from_espocrm(self, espo: Record) -> dict[str, Value]:
        """The comparable values of a CBeteiligte."""
        values: dict[str, Value] = {}
        for name, attribute in shown_by_espocrm(espo).items():
            if attribute in espo:
                values[name] = _espocrm_value(name, espo[attribute])
        if kind_of_espocrm(espo) == "company" and not values.get("name"):
            values.pop("name", None)
            if espo.keys() >= set(NAME_ATTRIBUTES):  # else it may be the other one
                values["name"] = _espocrm_value("name", espo["lastName"])
        if "rechtsform" in espo:
            values["rechtsform"] = _rechtsform(espo["rechtsform"])
        return values

    def without_doubtful_names(self, espo: Record, known: Value) -> dict[str, Any]:
        """The record without the names that are not the ``known`` one, if it does not show what decides its kind.

        A person goes by ``lastName``, a company by ``firmenname``; the other one would pass for an edit of the name.
        """
        if not may_be_of_other_kind(espo):
            return dict(espo)
        doubtful = set()
        for attribute in NAME_ATTRIBUTES:
            if comparable_text(espo.get(attribute)) != text_of(known):
                doubtful.add(attribute)
        return {name: value for name, value in espo.items() if name not in doubtful}

    def comparable_from_advoware(self, advo: Record) -> dict[str, Value]:
        """The comparable values of a Beteiligter; those that EspoCRM's lists do not offer as `Unknown`."""
        values: dict[str, Value] = {}
        for name in shown_by_advoware(advo):
            if name in advo:
                values[name] = _advoware_value(name, advo[name])
        if "rechtsform" in advo:
            values["rechtsform"] = _advoware_rechtsform(advo["rechtsform"])
        return values

    def to_advoware(self, values: Record) -> dict[str, Any]:
        """Comparable values as Advoware's attributes; empty ones as "" (dates as None)."""
        attributes = dict(values)
        for name, value in values.items():
            if value is None and name not in _DATES:
                attributes[name] = ""
        return attributes

    def to_espocrm(
        self,
        values: Record,
        *,
        kind: Kind,
        espo: Record | None = None,
    ) -> dict[str, Any]:
        """Comparable values as EspoCRM's attributes; the name stands where the kind shows it.

        ``espo`` is the record they are for: the name of a company goes to where that record shows it.
        """
        fields = {**_ALL_FIELDS, **FIELDS_OF[kind]}
        if _is_company_named_by_last_name(kind, espo):
            fields["name"] = "lastName"
        attributes = {}
        for name, attribute in fields.items():
            if name in values:
                attributes[attribute] = values[name]
        if "rechtsform" in values:
            attributes["rechtsform"] = values["rechtsform"] or ""
        return attributes

    def field_of(self, attribute: str) -> str:
        """The comparable field that an attribute of EspoCRM shows; the attribute itself if it is none."""
        for fields in FIELDS_OF.values():
            for name, shown in fields.items():
                if shown == attribute:
                    return name
        return attribute

    def unfit(self, espo: Record) -> Unfit:
        """Why a side cannot hold a value (``too_long``, ``erased``, ``needed``), for `merge.merge`."""
        attributes = {**_ALL_FIELDS, **FIELDS_OF[kind_of_espocrm(espo)]}
        erased = erased_attributes(espo)

        def reason(side: Side, name: str, value: Value) -> str | None:
            attribute = attributes.get(name, name)
            if attribute in erased:
                return "erased"
            if value is None and is_erased(espo):
                return "erased"
            if name == "name" and value is None:
                return "needed"
            if not isinstance(value, str):
                return None
            if _ERASED.fullmatch(value):
                return "erased"
            return _too_long(side, name, attribute, value)

        return reason

    def unheld(self, espo: Record) -> dict[str, str]:
        """What a CBeteiligte says that Advoware has no place for, because a record there is either person or company.

        The attributes with their values: the firm of a person, or what a company says of a person; not the same name
        again.
        """
        if kind_of_espocrm(espo) == "person":
            attributes: tuple[str, ...] = ("firmenname",)
        else:  # its name may stand in lastName; that is left out, being the same as the name
            attributes = tuple(PERSON_FIELDS.values())
        values = self.comparable_from_espocrm(espo)
        if "name" not in values:  # which of the two it is, is not shown
            attributes = tuple(a for a in attributes if a not in NAME_ATTRIBUTES)
        name = values.get("name")
        unheld = {}
        for attribute in attributes:
            text = comparable_text(espo.get(attribute))
            if text is not None and text != name:
                unheld[attribute] = text
        return unheld

    def map_cbeteiligte_to_advoware(self, espo: Record) -> dict[str, Any]:
        """A CBeteiligte as a new Beteiligter: what Advoware can hold of it (see `creatable`).

        Raises:
            NameMissing: the record has no name that Advoware can hold.
        """
        values, _ = self.creatable(espo)
        return self.new_advoware_record(values)

    def new_advoware_record(self, values: Record) -> dict[str, Any]:
        """Comparable values as a new Beteiligter; empty ones are not sent."""
        record = {}
        for name, value in self.to_advoware(values).items():
            if value not in (None, ""):
                record[name] = value
        return record

    def creatable(self, espo: Record) -> tuple[dict[str, Value], dict[str, str]]:
        """The comparable values of a CBeteiligte that a new Beteiligter can hold, and why each other one is left out.

        Raises:
            NameMissing: the record has no name that Advoware can hold.
        """
        unfit = self.unfit(espo)
        values: dict[str, Value] = {}
        left_out: dict[str, str] = {}
        for name, value in self.comparable_from_espocrm(espo).items():
            reason: str | None = "unknown"
            if not isinstance(value, Unknown):
                reason = unfit("advoware", name, value)
            if reason is None:
                values[name] = value
            else:
                left_out[name] = reason
        if not values.get("name"):
            raise NameMissing(
                "lastName or firmenname: a Beteiligter needs a name of at most 250 characters",
            )
        return values, left_out

    def map_advoware_to_cbeteiligte(self, advo: Record) -> dict[str, Any]:
        """A Beteiligter as attributes of a CBeteiligte; what EspoCRM cannot hold is left out."""
        kind = kind_of_advoware(advo)
        known = self._known_of(advo, kind)
        fitting = {}
        for attribute, value in self.to_espocrm(known, kind=kind).items():
            if _fits_espocrm(attribute, value):
                fitting[attribute] = value
        return fitting

    def _known_of(self, advo: Record, kind: Kind) -> dict[str, Value]:
        """What a Beteiligter says in a form that we understand; empty values only of the fields of its kind."""
        of_its_kind = {"rechtsform", *FIELDS_OF[kind]}
        known = {}
        for name, value in self.comparable_from_advoware(advo).items():
            if isinstance(value, Unknown):
                continue
            if value is not None or name in of_its_kind:
                known[name] = value
        return known

    def get_changed_fields(self, espo: Record, advo: Record) -> list[str]:
        """The fields that both sides show with different values, sorted."""
        espocrm = self.comparable_from_espocrm(espo)
        advoware = self.comparable_from_advoware(advo)
        return differing_fields(espocrm, advoware)

    def is_alike(self, sent: Record, stored: Record) -> bool:
        """Whether a record may be what was sent, as Advoware has stored it: perhaps cut, or in other letters."""
        if sent.get("name") is None or stored.get("name") is None:
            return False
        for name in IDENTITY:
            one = sent.get(name)
            other = stored.get(name)
            if one is None or other is None:
                continue
            if not _are_alike(one, other):
                return False
        return True

    def compare_identity(self, one: Record, other: Record) -> tuple[set[str], set[str]]:
        """The parts of the name and the birth date in which two sets of comparable values agree, and differ.

        A part that one of them does not show is in neither.
        """
        shared: set[str] = set()
        different: set[str] = set()
        for name in IDENTITY:
            first = text_of(one.get(name))
            second = text_of(other.get(name))
            if first is None or second is None:
                continue
            if str(first).casefold() == str(second).casefold():
                shared.add(name)
            else:
                different.add(name)
        return shared, different


def _too_long(side: Side, name: str, attribute: str, value: str) -> str | None:
    limit = ESPOCRM_LENGTHS.get(attribute)
    if side == "advoware":
        limit = ADVOWARE_LENGTHS.get(name)
    if limit is None or len(value) <= limit:
        return None
    return "too_long"


def _fits_espocrm(attribute: str, value: Value) -> bool:
    limit = ESPOCRM_LENGTHS.get(attribute)
    if limit is None:
        return True
    text = str(value or "")
    return len(text) <= limit


def _are_alike(one: Value, other: Value) -> bool:
    """Whether two texts may be the same one, stored in other letters or cut."""
    first = _letters(one)
    second = _letters(other)
    if not first or not second:
        return False
    return first.startswith(second) or second.startswith(first)


def _letters(value: Value) -> str:
    text = str(text_of(value))
    return re.sub(r"[\W_]", "", text).casefold()


def _is_company_named_by_last_name(kind: Kind, espo: Record | None) -> bool:
    return kind == "company" and espo is not None and _is_named_by_last_name(espo)


def _is_named_by_last_name(espo: Record) -> bool:
    """Whether a company's name stands in ``lastName``, because ``firmenname`` is empty."""
    firm = comparable_text(espo.get("firmenname"))
    last_name = comparable_text(espo.get("lastName"))
    return firm is None and last_name is not None


def _espocrm_value(name: str, raw: Any) -> Value:
    if is_no_text(raw):
        return Unknown(str(raw))
    if name in _DATES:
        return comparable_date(raw)
    text = comparable_text(raw)
    if name == "anrede":
        return _listed(text, _ANREDE_BY_FOLDED)
    return text


def _advoware_value(name: str, raw: Any) -> Value:
    if name in _DATES and not is_no_text(raw):
        return comparable_date(raw, of_a_database=True)
    value = _espocrm_value(name, raw)
    if name == "anrede" and isinstance(value, str) and value not in ANREDEN:
        return Unknown(value)
    return value


def _advoware_rechtsform(raw: Any) -> Value:
    """As `_rechtsform`, but unknown if EspoCRM's list does not offer it."""
    form = _rechtsform(raw)
    if isinstance(form, str) and form not in RECHTSFORMEN:
        return Unknown(form)
    return form


def _rechtsform(raw: Any) -> Value:
    """A legal form in the list's spelling; None for what only says that it is a person."""
    if is_no_text(raw):
        return Unknown(str(raw))
    text = comparable_text(raw)
    form = _listed(text, RECHTSFORM_BY_FOLDED)
    if form is not None and form.casefold() in PLAIN_PERSON_FORMS:
        return None
    return form


def _listed(value: str | None, by_folded: Mapping[str, str]) -> str | None:
    """The list's own spelling of a value it knows; other values unchanged."""
    if not value:
        return None
    return by_folded.get(value.casefold(), value)
