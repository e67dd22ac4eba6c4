"""What a rehearsal has found, in German and as people know it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.kommunikation_mapper import kind_of
from services.preview.changes import Change
from services.preview.rehearsal import Rehearsal
from services.values import advoware_protocol
from services.vmh_sync.notification.texts import shown_value
from services.vmh_sync.problem_texts.labels import LABELS

Record = Mapping[str, Any]

NEW_NUMBER = "(neu)"
CONTACT = "Kommunikationen"
TITLES = {
    "Beteiligte": "Beteiligter",
    CONTACT: "Telefon und E-Mail",
    "Adressen": "Adresse",
    "Bankverbindungen": "Bankverbindung",
    "CBeteiligte": "Beteiligter",
    "CAdressen": "Adresse",
    "CBankverbindungen": "Bankverbindung",
}
#: What a person would not miss, or what other lines say already.
HIDDEN = frozenset(
    {
        "betnr",
        "bemerkung",
        "beteiligteId",
        "blz",
        "emailAddress",
        "kommKz",
        "kontoNr",
        "online",
        "phoneNumber",
    }
    | {"standardAnschrift"}
)
#: Likewise in a new record: it is made of the others.
HIDDEN_WHEN_NEW = frozenset({"anschrift", "bezeichnung"})
#: The value within an entry of EspoCRM's arrays.
ENTRY = {"emailAddressData": "emailAddress", "phoneNumberData": "phoneNumber"}
_INVENTED = re.compile(r"\b20000000\d\d\b")


def preview_of(rehearsal: Rehearsal) -> dict[str, Any]:
    """What the buttons' dialog shows.

    ``{"changes": [{"system", "title", "isNew", "fields": [{"label", "old", "new"}]}], "held": [sentence],
    "tasks": [{"name", "isOver"}]}``; ``held`` says what is not transferred, and why.
    """
    return {
        "changes": _panels(rehearsal.changes),
        "held": list(dict.fromkeys(_held(rehearsal))),
        "tasks": [
            _task(change) for change in rehearsal.changes if change.kind == "Task"
        ],
    }


def _panels(changes: list[Change]) -> list[dict[str, Any]]:
    """One for each record; phone numbers and mail addresses, which are single lines, share one."""
    panels: list[dict[str, Any]] = []
    for change in changes:
        fields = list(_fields(change)) if change.kind in TITLES else []
        if not fields:
            continue
        panel = {
            "system": change.system,
            "title": TITLES[change.kind],
            "isNew": change.before is None,
        }
        last = {}
        if panels:
            last = {name: panels[-1][name] for name in panel}
        if change.kind == CONTACT and last == panel:
            panels[-1]["fields"] += fields
        else:
            panels.append({**panel, "fields": fields})
    return panels


def _fields(change: Change) -> Iterator[dict[str, str]]:
    before = change.before or {}
    for name, new in change.after.items():
        if name not in LABELS or name in HIDDEN:
            continue
        if change.before is None and name in HIDDEN_WHEN_NEW:
            continue
        old_text = _text(name, before.get(name))
        new_text = _text(name, new)
        if old_text != new_text:
            yield {"label": _label(change, name), "old": old_text, "new": new_text}


def _label(change: Change, name: str) -> str:
    if change.system == advoware_protocol.SYSTEM and name == "tlf":
        try:
            return LABELS[f"kommunikation.{kind_of(int(change.after['kommKz']))}"]
        except (KeyError, TypeError, ValueError):
            return LABELS[name]
    return LABELS[name]


def _text(name: str, value: Any) -> str:
    """A value as people read it; empty for none."""
    if name in ENTRY and isinstance(value, list):
        value = [
            entry.get(ENTRY[name]) for entry in value if isinstance(entry, Mapping)
        ]
    if value in (None, "", [], False):
        return ""
    return shown_value(value, quoted=False)


def _held(rehearsal: Rehearsal) -> Iterator[str]:
    for entity_type in ("CBeteiligte", "CBankverbindungen"):
        for record in rehearsal.shown(entity_type):
            message = record.get("syncErrorMessage")
            if message:
                yield _without_invented(str(message))


def _task(change: Change) -> dict[str, Any]:
    is_over = change.after.get("status") == "Canceled"
    return {
        "name": _without_invented(str(change.after.get("name") or "")),
        "isOver": is_over,
    }


def _without_invented(text: str) -> str:
    """Without the numbers that only the rehearsal knows."""
    return _INVENTED.sub(NEW_NUMBER, text)
