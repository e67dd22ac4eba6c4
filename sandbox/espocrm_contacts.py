"""E-mail addresses and telephone numbers: rows that all records with the same value share.

``type``, ``optOut``, ``invalid`` and the written form of an address belong to the shared row, so changing them on one
record changes them on every other one, without a webhook and without a new ``modifiedAt`` there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.espocrm_entities import Field

DEFAULT_PHONE_TYPE = "Mobile"


@dataclass
class ContactLinks:
    """The addresses or numbers of one record, by key of the shared row."""

    keys: list[str] = field(default_factory=list)
    primary: str | None = None

    def in_order(self) -> list[str]:
        """The keys as EspoCRM returns them: the primary one first."""
        return sorted(self.keys, key=lambda key: key != self.primary)


class ContactRows:
    """All shared rows of an instance."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}

    def replace(self, contact: Field, links: ContactLinks, entries: list[dict[str, Any]]) -> None:
        """Make the given entries the only ones of a record; the last one flagged is primary, else the first."""
        keys: list[str] = []
        primary = None
        for entry in entries:
            value = str(entry.get(contact.name) or "").strip()
            if not value:
                continue
            key = _key(contact, value)
            if key not in keys:
                keys.append(key)
            if entry.get("primary"):
                primary = key
            self._store(contact, key, value, entry)
        links.keys = keys
        links.primary = primary or (keys[0] if keys else None)

    def replace_primary(self, contact: Field, links: ContactLinks, value: str | None) -> None:
        """Put another value in the place of the primary one; None takes the primary one away."""
        if value is None:
            links.keys = [key for key in links.keys if key != links.primary]
            links.primary = links.keys[0] if links.keys else None
            return
        key = _key(contact, value)
        if key not in links.keys:
            links.keys = [key, *(other for other in links.keys if other != links.primary)]
            if (contact.type, key) not in self._rows:
                self._store(contact, key, value, {})
        links.primary = key

    def _store(self, contact: Field, key: str, value: str, entry: dict[str, Any]) -> None:
        row = {contact.name: value, "optOut": bool(entry.get("optOut")), "invalid": bool(entry.get("invalid"))}
        if contact.type == "phone":
            row["type"] = entry.get("type") or DEFAULT_PHONE_TYPE
        self._rows[contact.type, key] = row

    def entries(self, contact: Field, links: ContactLinks) -> list[dict[str, Any]]:
        """The array ``emailAddressData`` or ``phoneNumberData`` as a read by id shows it."""
        return [self._entry(contact, key, links) for key in links.in_order()]

    def _entry(self, contact: Field, key: str, links: ContactLinks) -> dict[str, Any]:
        row = self._rows[contact.type, key]
        special = {"lower": key} if contact.type == "email" else {"type": row["type"]}
        flags = {"primary": key == links.primary, "optOut": row["optOut"], "invalid": row["invalid"]}
        return {contact.name: row[contact.name], **special, **flags}

    def summary(self, contact: Field, links: ContactLinks) -> dict[str, Any]:
        """The attributes that describe the primary entry, as they appear in lists."""
        row = self._rows[contact.type, links.primary] if links.primary is not None else None
        return {
            contact.name: row[contact.name] if row else None,
            f"{contact.name}IsOptedOut": row["optOut"] if row else False,
            f"{contact.name}IsInvalid": row["invalid"] if row else False,
        }


def _key(contact: Field, value: str) -> str:
    return value.lower() if contact.type == "email" else value
