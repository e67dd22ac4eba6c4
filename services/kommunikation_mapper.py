"""Kommunikation: the phone numbers and mail addresses of a CBeteiligte, and the entries of Advoware's list. Pure.

A value is compared by its *key*: its kind (a phone and a fax with one number are two things) and its canonical form
(E.164 with the extension kept apart; a mail address in lower case). The written forms stay as they are on both sides.

Advoware has no foreign key and deletes nothing for us, so ``bemerkung`` carries a marker before the user's own text:
``[ESPOCRM:<base64 of the UTF-8 value>:<kommKz>]`` with the value last synced, or ``[ESPOCRM-SLOT:<kommKz>]`` on an
emptied entry that may be used again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import phonenumbers

Record = Mapping[str, Any]
Kind = Literal["phone", "fax", "mail"]
Family = Literal["phone", "mail"]

REGION: Final = "DE"

#: What EspoCRM calls the phone numbers of each kommKz that takes part; mail addresses have no type there.
PHONE_TYPES: Final = {1: "Office", 2: "Fax", 3: "Mobile", 6: "Home", 7: "Fax", 9: "Mobile", 10: "Other"}
MAIL_KOMM_KZ: Final = frozenset({4, 8})
#: Web, ePost and beA: never touched, whatever a marker says.
UNTOUCHED_KOMM_KZ: Final = frozenset({5, 11, 12})
PARTICIPATING_KOMM_KZ: Final = frozenset(PHONE_TYPES) | MAIL_KOMM_KZ
#: The kommKz of what is created in EspoCRM.
KOMM_KZ_OF_TYPE: Final = {"Office": 1, "Fax": 2, "Mobile": 3, "Home": 6, "Other": 10}
KOMM_KZ_OF_MAIL: Final = 4
KOMM_KZ_OTHER: Final = 10

#: Read-only fields of a Beteiligter, each with the first value of one kommKz [A for the names].
TOP_LEVEL_FIELDS: Final = {
    "telGesch": 1,
    "faxGesch": 2,
    "mobil": 3,
    "emailGesch": 4,
    "internet": 5,
    "telPrivat": 6,
    "faxPrivat": 7,
    "emailPrivat": 8,
    "autotelefon": 9,
    "sonstige": 10,
    "ePost": 11,
    "bea": 12,
}

#: What EspoCRM accepts: entries per array, characters per value. PHP's mail filter stops one short of the field's 255.
MAX_ENTRIES: Final = 10
MAX_PHONE_LENGTH: Final = 36
MAX_MAIL_LENGTH: Final = 254

_VALUE_MARKER: Final = re.compile(r"\[ESPOCRM:([A-Za-z0-9+/_=-]+):(\d{1,2})\]")
_SLOT_MARKER: Final = re.compile(r"\[ESPOCRM-SLOT:(\d{1,2})\]")
_BROKEN_MARKER: Final = re.compile(r"\[ESPOCRM(?:-SLOT)?:[^\[\]]*\]")

_EXTENSION: Final = re.compile(
    r"[\s,;.]*(?:;ext=|ext\.?|extension|durchwahl|dw|apparat|app\.?|x|#)[\s.:]*(\d{1,7})\s*$", re.I
)
#: Letters are refused, because the phone library would read them as the digits of a keypad ("Buero" as 28376).
_DIALLABLE: Final = re.compile(r"[\d\s+()/.\-\u2010-\u2015]+")

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_MAIL: Final = re.compile(rf"(?=.{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}")


# -- markers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Marker:
    """What a marker says: the value last synced (None: an emptied entry, free to be used again) and the kommKz."""

    value: str | None
    komm_kz: int


def build_marker(marker: Marker, text: str = "") -> str:
    """A ``bemerkung`` of this marker and the user's own text."""
    if marker.value is None:
        written = f"[ESPOCRM-SLOT:{marker.komm_kz}]"
    else:
        encoded = base64.urlsafe_b64encode(marker.value.encode()).decode()
        written = f"[ESPOCRM:{encoded}:{marker.komm_kz}]"
    return f"{written} {text}" if text else written


def parse_marker(bemerkung: str | None) -> tuple[Marker | None, str]:
    """The marker of a ``bemerkung`` and the user's own text, before and after it.

    A damaged marker counts as none. It is dropped from the text if it still has both brackets; otherwise nobody can
    tell where it ends, and it stays.
    """
    note = bemerkung or ""
    found = sorted([*_VALUE_MARKER.finditer(note), *_SLOT_MARKER.finditer(note)], key=lambda match: match.start())
    for match in found:
        marker = _read_marker(match)
        if marker is not None:
            return marker, _text_around(note, match)
    broken = _BROKEN_MARKER.match(note)
    return None, _text_around(note, broken) if broken else note


def _read_marker(match: re.Match[str]) -> Marker | None:
    *encoded, komm_kz = match.groups()
    if int(komm_kz) not in PARTICIPATING_KOMM_KZ:
        return None
    if not encoded:
        return Marker(None, int(komm_kz))
    letters = encoded[0].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        value = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Marker(value, int(komm_kz)) if value.strip() else None


def _text_around(note: str, match: re.Match[str]) -> str:
    before, after = note[: match.start()], note[match.end() :]
    return before + after.removeprefix(" ")


# -- values ---------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """What makes two entries the same: the kind, and the canonical form of the value."""

    kind: Kind
    value: str

    @property
    def family(self) -> Family:
        """Which of EspoCRM's two arrays holds it."""
        return "mail" if self.kind == "mail" else "phone"

    @property
    def held(self) -> tuple[Family, str]:
        """What EspoCRM can hold only once per record: it knows a number as a phone or as a fax, not as both."""
        return self.family, self.value


def kind_of(komm_kz: int) -> Kind:
    """The kind of a participating kommKz."""
    if komm_kz in MAIL_KOMM_KZ:
        return "mail"
    return "fax" if PHONE_TYPES[komm_kz] == "Fax" else "phone"


def key_of(kind: Kind, value: str) -> Key:
    """The key of a written value."""
    return Key(kind, canonical_mail(value) if kind == "mail" else canonical_phone(value))


def canonical_mail(value: str) -> str:
    """A mail address as it is compared: NFC, trimmed, lower case."""
    return unicodedata.normalize("NFC", value).strip().lower()


def canonical_phone(value: str) -> str:
    """A phone number as it is compared: ``+49511123`` or ``+49511123;ext=45``; text that is no number, tidied."""
    number, extension = _split_extension(value)
    international = _e164(number)
    if international is None:
        return re.sub(r"\s+", " ", unicodedata.normalize("NFC", value)).strip().casefold()
    return f"{international};ext={extension}" if extension else international


def espocrm_value(kind: Kind, value: str) -> str | None:
    """A value as EspoCRM takes it, or None if it would refuse it and with it the whole record.

    EspoCRM 8.4 and 9 with ``phoneNumberInternational``: E.164 only, without extension; ASCII mail addresses only.
    """
    if kind == "mail":
        written = value.strip()
        return written if len(written) <= MAX_MAIL_LENGTH and _MAIL.fullmatch(written) else None
    number, extension = _split_extension(value)
    international = None if extension else _e164(number)
    return international if international and len(international) <= MAX_PHONE_LENGTH else None


def _split_extension(value: str) -> tuple[str, str | None]:
    match = _EXTENSION.search(value)
    return (value[: match.start()], match[1]) if match else (value, None)


def _e164(value: str) -> str | None:
    if not _DIALLABLE.fullmatch(value.strip()):
        return None
    try:
        number = phonenumbers.parse(value, REGION)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return None
    # Without a leading 0 or + it may be a number that works only within its town, which has no international form.
    if value.lstrip(" (")[:1] not in {"0", "+"} and not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# -- Advoware -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdvowareEntry:
    """An entry of Advoware's list that takes part; ``tlf`` is as read, ``text`` the user's part of ``bemerkung``."""

    id: int
    row_id: str
    tlf: str
    komm_kz: int
    marker: Marker | None
    text: str
    key: Key

    @property
    def is_empty(self) -> bool:
        """Whether it holds no value."""
        return not self.key.value

    @property
    def is_slot(self) -> bool:
        """Whether it was ours once and is empty now."""
        return self.is_empty and self.marker is not None

    @property
    def synced_value(self) -> str | None:
        """The value that its marker names."""
        return self.marker.value if self.marker else None


def advoware_entries(advo: Record) -> tuple[AdvowareEntry, ...]:
    """The entries of a Beteiligter that take part, in Advoware's order."""
    entries = []
    for row in advo["kommunikation"]:
        komm_kz = detect_komm_kz(row, advo)
        if komm_kz not in PARTICIPATING_KOMM_KZ:
            continue
        tlf = row.get("tlf") or ""
        marker, text = parse_marker(row.get("bemerkung"))
        key = key_of(kind_of(komm_kz), tlf)
        entries.append(AdvowareEntry(int(row["id"]), str(row.get("rowId") or ""), tlf, komm_kz, marker, text, key))
    return tuple(entries)


def detect_komm_kz(row: Record, advo: Record) -> int | None:
    """The kommKz of an entry, 1 to 12; None for an empty entry of which nothing is known.

    In this order: its marker's, its own (some answers contain 0), that of the Beteiligter's field with the same value,
    one by the shape of the value.
    """
    own = row.get("kommKz")
    if own in UNTOUCHED_KOMM_KZ:
        return int(own)
    marker, _ = parse_marker(row.get("bemerkung"))
    if marker is not None:
        return marker.komm_kz
    if own in PARTICIPATING_KOMM_KZ:
        return int(own)
    value = str(row.get("tlf") or "").strip()
    if not value:
        return None
    for field, komm_kz in TOP_LEVEL_FIELDS.items():
        if str(advo.get(field) or "").strip() == value:
            return komm_kz
    return _komm_kz_by_shape(value)


def _komm_kz_by_shape(value: str) -> int:
    if "@" in value:
        return KOMM_KZ_OF_MAIL
    international = _e164(_split_extension(value)[0])
    if international is None:
        return KOMM_KZ_OTHER
    number = phonenumbers.parse(international, REGION)
    is_german_mobile = (
        number.country_code == phonenumbers.country_code_for_region(REGION)
        and phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    )
    return KOMM_KZ_OF_TYPE["Mobile"] if is_german_mobile else KOMM_KZ_OTHER


def kommunikation_hash(entries: Iterable[AdvowareEntry]) -> str:
    """``kommunikationHash``: the first 16 hex characters of the MD5 over the sorted rowIds."""
    row_ids = "".join(sorted(entry.row_id for entry in entries))
    return hashlib.md5(row_ids.encode(), usedforsecurity=False).hexdigest()[:16]


# -- EspoCRM --------------------------------------------------------------------------------------------------------

VALUE_ATTRIBUTE: Final[Mapping[Family, str]] = {"phone": "phoneNumber", "mail": "emailAddress"}
DATA_ATTRIBUTE: Final[Mapping[Family, str]] = {"phone": "phoneNumberData", "mail": "emailAddressData"}


@dataclass(frozen=True)
class EspoEntry:
    """An entry of one of EspoCRM's arrays; ``raw`` is the entry with all its attributes."""

    key: Key
    written: str
    komm_kz: int
    raw: Record


def espocrm_entries(espo: Record, family: Family) -> tuple[EspoEntry, ...]:
    """The entries of an array of a CBeteiligte; rows without a value are left out."""
    rows = espo[DATA_ATTRIBUTE[family]]
    return tuple(espocrm_entry(family, row) for row in rows if str(row.get(VALUE_ATTRIBUTE[family]) or "").strip())


def espocrm_entry(family: Family, row: Record) -> EspoEntry:
    """A row of an array with what it means."""
    written = str(row[VALUE_ATTRIBUTE[family]]).strip()
    of_phone = KOMM_KZ_OF_TYPE.get(str(row.get("type")), KOMM_KZ_OTHER)
    komm_kz = KOMM_KZ_OF_MAIL if family == "mail" else of_phone
    return EspoEntry(key_of(kind_of(komm_kz), written), written, komm_kz, row)


def new_espocrm_row(komm_kz: int, written: str) -> dict[str, Any]:
    """A row for a value that comes from Advoware."""
    flags = {"primary": False, "optOut": False, "invalid": False}
    if komm_kz in MAIL_KOMM_KZ:
        return {"emailAddress": written, "lower": written.lower(), **flags}
    return {"phoneNumber": written, "type": PHONE_TYPES[komm_kz], **flags}
