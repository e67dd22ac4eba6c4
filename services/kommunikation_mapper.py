"""Kommunikation: the phone numbers and mail addresses of a CBeteiligte, and the entries of Advoware's list. Pure.

A value is compared by its *key*: phone (and fax) or mail, and the canonical form of the value
(`services.values.kommunikation`). The written forms stay as they are on both sides. Whether a number is a phone or a
fax is not part of the key: EspoCRM shows it on a row that all records with this number share, so it can change without
a user having touched this record.

Advoware has no foreign key and deletes nothing for the sync. So ``bemerkung`` carries a marker before the user's text:
``[ESPOCRM:<base64 of the UTF-8 value>:<kommKz>]`` with the value last synced, or ``[ESPOCRM-SLOT:<kommKz>]`` on an
emptied entry that may be used again.

Whatever cannot be read in a row (a key missing or in other letters, another type) is unknown: the row is known to be
there, and nothing follows from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from services.values.kommunikation import (
    Family,
    canonical,
    is_german_mobile,
    is_machine_made,
)

Record = Mapping[str, Any]
#: What a person calls an entry.
Kind = Literal["phone", "fax", "mail"]
FAMILIES: Final[tuple[Family, ...]] = ("phone", "mail")

#: What EspoCRM calls the phone numbers of each kommKz that takes part; mail addresses have no type there.
PHONE_TYPES: Final = {
    1: "Office",
    2: "Fax",
    3: "Mobile",
    6: "Home",
    7: "Fax",
    9: "Mobile",
    10: "Other",
}
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

#: So many entries per array EspoCRM accepts.
MAX_ENTRIES: Final = 10

_VALUE_MARKER: Final = re.compile(r"\[ESPOCRM:([A-Za-z0-9+/_=-]+):(\d{1,2})\]")
_SLOT_MARKER: Final = re.compile(r"\[ESPOCRM-SLOT:(\d{1,2})\]")
_BROKEN_MARKER: Final = re.compile(r"\[ESPOCRM(?:-SLOT)?:[^\[\]]*\]")
#: What is left of a marker where the field was too short for it.
_CUT_MARKER: Final = re.compile(r"\[ESPOCRM(?:-S?L?O?T?)?(?::[A-Za-z0-9+/_=-]*)*$")


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
        encoded = base64.urlsafe_b64encode(
            marker.value.encode(errors="replace"),
        ).decode()
        written = f"[ESPOCRM:{encoded}:{marker.komm_kz}]"
    if text:
        return f"{written} {text}"
    return written


def parse_marker(bemerkung: str | None) -> tuple[Marker | None, str]:
    """The marker of a ``bemerkung`` and the user's own text, before and after it.

    A damaged marker counts as none. It is dropped from the text if it still has both brackets, or if the note ends
    with it; otherwise it is unknown where it ends, and it stays.
    """
    note = bemerkung or ""
    found = [*_VALUE_MARKER.finditer(note), *_SLOT_MARKER.finditer(note)]
    found.sort(key=lambda match: match.start())
    for match in found:
        marker = _read_marker(match)
        if marker is not None:
            return marker, _text_around(note, match)
    broken = _BROKEN_MARKER.match(note) or _CUT_MARKER.match(note)
    if broken is None:
        return None, note
    return None, _text_around(note, broken)


def _read_marker(match: re.Match[str]) -> Marker | None:
    *encoded, komm_kz = match.groups()
    if int(komm_kz) not in PARTICIPATING_KOMM_KZ:
        return None
    if not encoded:
        return Marker(None, int(komm_kz))
    value = _decoded(encoded[0])
    if value is None or not value.strip():
        return None
    return Marker(value, int(komm_kz))


def _decoded(encoded: str) -> str | None:
    """The text of a Base64, in either alphabet, with or without padding; None if it is none."""
    letters = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    padding = "=" * (-len(letters) % 4)
    try:
        return base64.b64decode(letters + padding, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _text_around(note: str, match: re.Match[str]) -> str:
    before = note[: match.start()]
    after = note[match.end() :]
    return before + after.removeprefix(" ")


# -- values ---------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """What makes two entries the same: which of EspoCRM's arrays holds it, and the canonical form of the value."""

    family: Family
    value: str


def family_of(komm_kz: int) -> Family:
    """The family of a participating kommKz."""
    if komm_kz in MAIL_KOMM_KZ:
        return "mail"
    return "phone"


def kind_of(komm_kz: int) -> Kind:
    """The kind of a participating kommKz."""
    if komm_kz in MAIL_KOMM_KZ:
        return "mail"
    if PHONE_TYPES[komm_kz] == "Fax":
        return "fax"
    return "phone"


def key_of(family: Family, value: str) -> Key:
    """The key of a written value."""
    return Key(family, canonical(family, value))


# -- Advoware -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AdvowareEntry:
    """An entry of Advoware's list that takes part.

    ``tlf`` is as read, None if it cannot be read; ``text`` is the user's part of ``bemerkung``, which is not written
    if ``has_note`` is False because it is unknown what it holds. ``stored`` is what Advoware has made of ``tlf`` when
    we sent it along with our marker, None if it holds it.
    """

    id: int
    row_id: str
    tlf: str | None
    komm_kz: int
    marker: Marker | None
    text: str
    key: Key
    has_note: bool = True
    stored: str | None = None

    @property
    def written(self) -> str:
        """The value as users see it."""
        return (self.tlf or "").strip()

    @property
    def is_unknown(self) -> bool:
        """Whether its value cannot be read."""
        return self.tlf is None

    @property
    def is_empty(self) -> bool:
        """Whether it holds no value."""
        return not self.is_unknown and not self.key.value

    @property
    def is_slot(self) -> bool:
        """Whether it was espocrm once and is empty now."""
        return self.is_empty and self.marker is not None

    @property
    def synced_value(self) -> str | None:
        """The value that its marker names."""
        if self.marker is None:
            return None
        return self.marker.value


@dataclass(frozen=True)
class AdvowareList:
    """The entries that take part, in Advoware's order.

    ``odd`` says what is wrong with rows that cannot be addressed, by their place in the list, counted from 1; any of
    them may be an entry that seems to be missing. ``unaddressed`` are the values that such rows hold.
    """

    entries: tuple[AdvowareEntry, ...] = ()
    odd: Mapping[int, str] = field(default_factory=dict)
    unaddressed: frozenset[Key] = frozenset()


def read_advoware(advo: Record) -> AdvowareList:
    """The entries of a Beteiligter; a row that cannot be understood stops no other."""
    entries: dict[int, AdvowareEntry] = {}
    odd: dict[int, str] = {}
    unaddressed = set()
    for place, row in enumerate(advo["kommunikation"], start=1):
        try:
            entry = _advoware_entry(row, advo)
        except Exception as error:  # noqa: BLE001 - whatever is odd in one row
            odd[place] = type(error).__name__
            continue
        if entry is None:
            continue
        if entry.id in entries or entry.id <= 0:
            odd[place] = "no id of its own"
            unaddressed.add(entry.key)
            continue
        entries[entry.id] = entry
    return AdvowareList(tuple(entries.values()), odd, frozenset(unaddressed))


def advoware_entries(advo: Record) -> tuple[AdvowareEntry, ...]:
    """The entries of a Beteiligter that take part and can be addressed, in Advoware's order."""
    return read_advoware(advo).entries


def entries_by_id(advo: Record) -> dict[int, AdvowareEntry]:
    """Those entries by their ids, in Advoware's order."""
    return {entry.id: entry for entry in advoware_entries(advo)}


def _advoware_entry(row: Record, advo: Record) -> AdvowareEntry | None:
    komm_kz = detect_komm_kz(row, advo)
    if komm_kz not in PARTICIPATING_KOMM_KZ:
        return None
    tlf = row.get("tlf")
    if not isinstance(tlf, str):
        tlf = None
    marker, text = parse_marker(_text(row.get("bemerkung")))
    return AdvowareEntry(
        id=_number(row.get("id")) or 0,
        row_id=_text(row.get("rowId")),
        tlf=tlf,
        komm_kz=komm_kz,
        marker=marker,
        text=text,
        key=key_of(family_of(komm_kz), tlf or ""),
        has_note=_has_note(row),
    )


def _has_note(row: Record) -> bool:
    """Whether an entry's note is shown, be it empty."""
    return "bemerkung" in row and isinstance(row["bemerkung"], str | None)


def detect_komm_kz(row: Record, advo: Record) -> int | None:
    """The kommKz of an entry, 1 to 12; None for one of an unknown kind, or of which nothing is known.

    In this order: its marker's, its own (some answers contain 0), that of the Beteiligter's field with the same value,
    one by the shape of the value. A marker of the other family (a copied note) says nothing.
    """
    own = _number(row.get("kommKz"))
    if own in UNTOUCHED_KOMM_KZ:
        return own
    if own and own not in PARTICIPATING_KOMM_KZ:
        return None
    marker, _ = parse_marker(_text(row.get("bemerkung")))
    if own:
        if marker is not None and family_of(own) == family_of(marker.komm_kz):
            return marker.komm_kz
        return own
    if marker is not None:
        return marker.komm_kz
    return _komm_kz_of_value(_text(row.get("tlf")).strip(), advo)


def _komm_kz_of_value(value: str, advo: Record) -> int | None:
    """The kommKz of the Beteiligter's field with the same value, else one by the shape of the value."""
    if not value:
        return None
    for name, komm_kz in TOP_LEVEL_FIELDS.items():
        if _text(advo.get(name)).strip() == value:
            return komm_kz
    if "@" in value:
        return KOMM_KZ_OF_MAIL
    if is_german_mobile(value):
        return KOMM_KZ_OF_TYPE["Mobile"]
    return KOMM_KZ_OTHER


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ""


def _number(value: Any) -> int | None:
    """A whole number, or None; Advoware's answers hold numbers as text in places [A]."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,18}\s*", value):
        return int(value)
    if isinstance(value, int):
        return value
    return None


def kommunikation_hash(entries: Iterable[AdvowareEntry]) -> str:
    """``kommunikationHash``: the first 16 hex characters of the MD5 over the sorted rowIds."""
    row_ids = "".join(sorted(entry.row_id for entry in entries))
    return hashlib.md5(row_ids.encode(), usedforsecurity=False).hexdigest()[:16]


# -- EspoCRM --------------------------------------------------------------------------------------------------------

VALUE_ATTRIBUTE: Final[Mapping[Family, str]] = {
    "phone": "phoneNumber",
    "mail": "emailAddress",
}
DATA_ATTRIBUTE: Final[Mapping[Family, str]] = {
    "phone": "phoneNumberData",
    "mail": "emailAddressData",
}


@dataclass(frozen=True)
class EspoEntry:
    """An entry of one of EspoCRM's arrays; ``raw`` is the entry with all its attributes."""

    key: Key
    written: str
    komm_kz: int
    raw: Record

    @property
    def type(self) -> str | None:
        """What EspoCRM calls the number; it belongs to the row that all records with this number share."""
        shown = self.raw.get("type")
        if isinstance(shown, str):
            return shown
        return None

    @property
    def is_erased(self) -> bool:
        """Whether personal data were erased here."""
        return is_machine_made(self.written)


@dataclass(frozen=True)
class EspoArray:
    """One of EspoCRM's two arrays.

    ``is_known`` is False if the record does not contain it, ``is_complete`` if a row in it cannot be read: then
    nothing that seems to be missing is believed to be gone, and the array cannot be written.
    """

    entries: tuple[EspoEntry, ...] = ()
    is_known: bool = True
    is_complete: bool = True

    @property
    def is_erased(self) -> bool:
        """Whether a value in it was erased."""
        return any(entry.is_erased for entry in self.entries)


@dataclass(frozen=True)
class EspoSide:
    """Both arrays of a CBeteiligte."""

    phone: EspoArray = field(default_factory=EspoArray)
    mail: EspoArray = field(default_factory=EspoArray)

    def array(self, family: Family) -> EspoArray:
        """The array of a family."""
        if family == "mail":
            return self.mail
        return self.phone

    @property
    def entries(self) -> tuple[EspoEntry, ...]:
        """The entries of both arrays."""
        return self.phone.entries + self.mail.entries


def read_espocrm(espo: Record) -> EspoSide:
    """Both arrays of a CBeteiligte."""
    return EspoSide(_array(espo, "phone"), _array(espo, "mail"))


def espocrm_entries(espo: Record, family: Family) -> tuple[EspoEntry, ...]:
    """The entries of an array of a CBeteiligte; rows without a value are left out."""
    return _array(espo, family).entries


def _array(espo: Record, family: Family) -> EspoArray:
    rows = espo.get(DATA_ATTRIBUTE[family])
    if not isinstance(rows, list):
        return EspoArray(is_known=False, is_complete=False)
    entries = []
    is_complete = True
    for row in rows:
        written = _value_of(row, family)
        if not isinstance(written, str):
            is_complete = False
        elif written.strip():
            entries.append(espocrm_entry(family, row))
    return EspoArray(tuple(entries), is_complete=is_complete)


def _value_of(row: Any, family: Family) -> Any:
    if isinstance(row, Mapping):
        return row.get(VALUE_ATTRIBUTE[family])
    return None


def espocrm_entry(family: Family, row: Record) -> EspoEntry:
    """A row of an array with what it means."""
    written = str(row[VALUE_ATTRIBUTE[family]]).strip()
    komm_kz = KOMM_KZ_OF_MAIL
    if family == "phone":
        komm_kz = KOMM_KZ_OF_TYPE.get(str(row.get("type")), KOMM_KZ_OTHER)
    return EspoEntry(key_of(family, written), written, komm_kz, row)


def new_espocrm_row(
    komm_kz: int,
    written: str,
    shared: Record | None = None,
) -> dict[str, Any]:
    """A row for a value that comes from Advoware.

    ``shared`` is the row as another record shows it. EspoCRM keeps one row per value for all records and overwrites
    its ``optOut``, ``invalid`` and ``type`` with what is sent, or with its defaults (PhoneNumber/Saver.php,
    EmailAddress/Saver.php in 8.4 and 9), so they are sent as they are.
    """
    known = shared or {}
    flags = {
        "primary": False,
        "optOut": bool(known.get("optOut")),
        "invalid": bool(known.get("invalid")),
    }
    if komm_kz in MAIL_KOMM_KZ:
        return {"emailAddress": written, "lower": written.lower(), **flags}
    return {
        "phoneNumber": written,
        "type": known.get("type") or PHONE_TYPES[komm_kz],
        **flags,
    }
