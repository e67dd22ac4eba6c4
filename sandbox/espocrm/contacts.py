"""E-mail addresses and telephone numbers: rows that all records with the same value share.

``type``, ``optOut``, ``invalid`` and the written form of an address belong to the shared row, so changing them on one
record changes them on every other one, without a webhook and without a new ``modifiedAt`` there. A row stays when its
last owner releases it, with its flags.

`ContactRows.save` follows ``FieldProcessing/PhoneNumber/Saver.php`` and ``EmailAddress/Saver.php`` (8.4.2, and
9.3.9 does the same) step by step, oddities included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from sandbox.espocrm.entities import Field
from sandbox.espocrm.php import php_trim

DEFAULT_PHONE_TYPE = "Mobile"
ERASED_PREFIX = "ERASED:"
#: What is shown of a record without a number or address.
_NO_ROW: Mapping[str, Any] = {"name": None, "optOut": False, "invalid": False}


@dataclass
class ContactLinks:
    """The addresses or numbers of one record, by id of the shared row."""

    rows: list[str] = field(default_factory=list)
    primary: str | None = None

    def in_order(self) -> list[str]:
        """The rows as EspoCRM returns them: the primary one first."""
        if self.primary is None:
            return list(self.rows)
        if self.primary not in self.rows:
            return list(self.rows)
        others = []
        for row_id in self.rows:
            if row_id != self.primary:
                others.append(row_id)
        return [self.primary, *others]

    def remove(self, row_id: str) -> None:
        """Release a row; no other becomes the primary one by this."""
        if row_id in self.rows:
            self.rows.remove(row_id)
        if self.primary == row_id:
            self.primary = None


class ContactRows:
    """All shared rows of an instance."""

    def __init__(self, make_id: Callable[[], str]) -> None:
        self._make_id = make_id
        self._rows: dict[str, dict[str, Any]] = {}
        self._ids: dict[tuple[str, str], str] = {}  #: by type and key
        self._guarded: set[str] = (
            set()
        )  #: rows that also belong to a record which only an administrator may edit

    # -- reading ----------------------------------------------------------------------------------------------

    def entries(self, contact: Field, links: ContactLinks) -> list[dict[str, Any]]:
        """The array ``emailAddressData`` or ``phoneNumberData`` as a read by id shows it."""
        entries = []
        for row_id in links.in_order():
            entry = self._entry(contact, row_id, links)
            entries.append(entry)
        return entries

    def _entry(
        self,
        contact: Field,
        row_id: str,
        links: ContactLinks,
    ) -> dict[str, Any]:
        row = self._rows[row_id]
        entry = {contact.name: row["name"]}
        if contact.type == "email":
            entry["lower"] = _key(contact, row["name"])
        else:
            entry["type"] = row["type"]
        return entry | {
            "primary": row_id == links.primary,
            "optOut": row["optOut"],
            "invalid": row["invalid"],
        }

    def summary(self, contact: Field, links: ContactLinks) -> dict[str, Any]:
        """The attributes that describe the primary entry, as they appear in lists."""
        row = _NO_ROW
        if links.primary is not None:
            row = self._rows[links.primary]
        return {
            contact.name: row["name"],
            f"{contact.name}IsOptedOut": row["optOut"],
            f"{contact.name}IsInvalid": row["invalid"],
        }

    # -- writing ----------------------------------------------------------------------------------------------

    def save(
        self,
        contact: Field,
        links: ContactLinks,
        data: Mapping[str, Any],
        *,
        new: bool,
        administrator: bool,
    ) -> None:
        """Store what a request says of one field.

        An array that differs from the stored one in anything, be it a missing ``optOut``, decides alone; otherwise the
        plain attributes count, which speak of the primary entry.
        """
        guarded = self._guarded
        if administrator:
            guarded = set()
        given = data.get(f"{contact.name}Data")
        if given is not None:
            if new:
                self._save_array(contact, links, given, guarded, plain=data)
                return
            if given != self.entries(contact, links):
                self._save_array(contact, links, given, guarded)
                return
        plain_attributes = {contact.name, *contact.flags}
        if not plain_attributes.isdisjoint(data):
            self._save_primary(contact, links, data)

    def guard(self, contact: Field, entry: Mapping[str, Any]) -> None:
        """Say that a value also belongs to a record which only an administrator may edit, with these flags there."""
        wanted = _wanted(contact, [dict(entry)])
        for key, row in wanted.items():
            new_id = self._make_id()
            row_id = self._ids.setdefault((contact.type, key), new_id)
            self._rows[row_id] = row
            self._guarded.add(row_id)

    def checkpoint(self) -> Callable[[], None]:
        """Remember all rows; the function that is returned brings them back."""
        rows = deepcopy(self._rows)
        ids = dict(self._ids)
        guarded = set(self._guarded)

        def bring_back() -> None:
            self._rows = rows
            self._ids = ids
            self._guarded = guarded

        return bring_back

    def keep_noted(
        self,
        contact: Field,
        entry: dict[str, Any],
        is_shared: Callable[[str], bool],
    ) -> None:
        """Put what is noted of a known value into an entry that asks for it; type and spelling if it is shared."""
        row_id = self._id_of(contact, _value(contact, entry))
        if row_id is None:
            return
        row = self._rows[row_id]
        entry["optOut"] = row["optOut"]
        entry["invalid"] = row["invalid"]
        if not is_shared(row_id):
            return
        if contact.type == "email":
            entry["emailAddress"] = row["name"]
        else:
            entry["type"] = row["type"]

    def erase(self, contact: Field, links: ContactLinks) -> None:
        """Overwrite the values for good, as the data privacy tool does: the rows stay linked, with all their owners."""
        for row_id in links.rows:
            key = self._key_of(contact, row_id)
            self._ids.pop((contact.type, key), None)
            erased = f"{ERASED_PREFIX}{row_id}"
            row = self._rows[row_id]
            row["name"] = erased
            if contact.type == "email":
                row["optOut"] = True
            self._remember(contact, erased, row_id)

    def _id_of(self, contact: Field, value: str) -> str | None:
        """The shared row of a value, if there is one."""
        key = _key(contact, value)
        return self._ids.get((contact.type, key))

    def _remember(self, contact: Field, value: str, row_id: str) -> None:
        key = _key(contact, value)
        self._ids[contact.type, key] = row_id

    def _key_of(self, contact: Field, row_id: str) -> str:
        row = self._rows[row_id]
        return _key(contact, row["name"])

    def _save_array(
        self,
        contact: Field,
        links: ContactLinks,
        entries: list[dict[str, Any]],
        guarded: set[str],
        *,
        plain: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the given entries the only ones of a record.

        The flags of an entry that is named are overwritten, but those of a guarded row stay, and the entry is changed
        to say so. ``plain``: the attributes of a new record, whose flags count for the primary value.
        """
        wanted = _wanted(contact, entries)
        if plain is not None:
            _apply_plain_flags(contact, wanted, plain)
        for row_id in list(links.rows):
            if self._key_of(contact, row_id) not in wanted:
                links.remove(row_id)
        links.rows = self._save_rows(contact, wanted, guarded)
        primary = _new_primary(contact, entries)
        if primary is not None:
            links.primary = self._ids[contact.type, primary]
        self._say_what_stayed(contact, entries, guarded)

    def _save_rows(
        self,
        contact: Field,
        wanted: dict[str, dict[str, Any]],
        guarded: set[str],
    ) -> list[str]:
        """Store the rows of these keys, all but the guarded ones; returns their ids."""
        row_ids = []
        for key, row in wanted.items():
            row_id = self._ids.get((contact.type, key)) or self._make_id()
            self._ids[contact.type, key] = row_id
            if row_id not in guarded:
                self._rows[row_id] = row
            row_ids.append(row_id)
        return row_ids

    def _say_what_stayed(
        self,
        contact: Field,
        entries: list[dict[str, Any]],
        guarded: set[str],
    ) -> None:
        names = ["optOut", "invalid"]
        if contact.type != "email":
            names.append("type")
        for entry in entries:
            value = _value(contact, entry)
            row_id = self._id_of(contact, value)
            if row_id is None or row_id not in guarded:
                continue
            row = self._rows[row_id]
            for name in names:
                entry[name] = row[name]

    def _save_primary(
        self,
        contact: Field,
        links: ContactLinks,
        data: Mapping[str, Any],
    ) -> None:
        """Put another value in the place of the primary one; an empty one takes it away.

        The flags of the new value's row are overwritten with those that the request gives, else with those of the value
        that was there before; its type stays.
        """
        before = self.summary(contact, links)
        wanted = {**before, **data}
        value = _value(contact, wanted)
        if links.primary is not None and value != before[contact.name]:
            links.remove(links.primary)
        if not value:
            return
        row_id = self._row_of(contact, value)
        if row_id not in links.rows:
            links.rows.insert(0, row_id)
        links.primary = row_id
        _set_flags(contact, self._rows[row_id], wanted)

    def _row_of(self, contact: Field, value: str) -> str:
        """The shared row of a value; a new one if there is none."""
        row_id = self._id_of(contact, value)
        if row_id is None:
            row_id = self._make_id()
            self._remember(contact, value, row_id)
            self._rows[row_id] = {"name": value, "type": DEFAULT_PHONE_TYPE}
        return row_id


def _key(contact: Field, value: str) -> str:
    if contact.type == "email":
        return value.lower()
    return value


def _value(contact: Field, entry: Mapping[str, Any]) -> str:
    """The address or number of an entry, without blanks around it; empty if there is none."""
    given = entry.get(contact.name) or ""
    return php_trim(str(given))


def _wanted(contact: Field, entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows that an array asks for, by key; of entries with the same key the last one counts."""
    wanted: dict[str, dict[str, Any]] = {}
    for entry in entries:
        value = _value(contact, entry)
        if not value:
            continue
        key = _key(contact, value)
        wanted[key] = {
            "name": value,
            "optOut": bool(entry.get("optOut")),
            "invalid": bool(entry.get("invalid")),
            "type": entry.get("type") or DEFAULT_PHONE_TYPE,
        }
    return wanted


def _apply_plain_flags(
    contact: Field,
    wanted: dict[str, dict[str, Any]],
    plain: Mapping[str, Any],
) -> None:
    """A new record with array and plain value: the flags of that value are the plain ones, false if not given."""
    value = _value(contact, plain)
    row = wanted.get(_key(contact, value))
    if row is not None:
        _set_flags(contact, row, plain)


def _set_flags(
    contact: Field,
    row: dict[str, Any],
    attributes: Mapping[str, Any],
) -> None:
    """Give a row the flags that the plain attributes say, false if not given."""
    opted_out, invalid = contact.flags
    row["optOut"] = bool(attributes.get(opted_out))
    row["invalid"] = bool(attributes.get(invalid))


def _new_primary(contact: Field, entries: list[dict[str, Any]]) -> str | None:
    """Key of the entry that becomes the primary one: the last one flagged, or the first entry if none is.

    Of entries with the same key the flag of the last one counts. If that leaves none, the present one stays: None.
    """
    keys = []
    for entry in entries:
        keys.append(_key(contact, _value(contact, entry)))
    flags = _primary_flags(entries)
    flagged = dict(zip(keys, flags, strict=True))
    for key in reversed(keys):
        if key and flagged[key]:
            return key
    return None


def _primary_flags(entries: list[dict[str, Any]]) -> list[bool]:
    """Which entries are flagged as primary; the first one if none is."""
    flags = [bool(entry.get("primary")) for entry in entries]
    if flags and not any(flags):
        flags[0] = True
    return flags
