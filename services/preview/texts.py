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
    | {"standardAnschrift"},
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
    changes = rehearsal.changes
    held = dict.fromkeys(_held(rehearsal))
    tasks = [_task(change) for change in changes if change.kind == "Task"]
    return {"changes": _panels(changes), "held": list(held), "tasks": tasks}


def _panels(changes: list[Change]) -> list[dict[str, Any]]:
    """One for each record; phone numbers and mail addresses, which are single lines, share one."""
    panels: list[dict[str, Any]] = []
    for change in changes:
        if change.kind not in TITLES:
            continue
        fields = list(_fields(change))
        if not fields:
            continue
        panel = {
            "system": change.system,
            "title": TITLES[change.kind],
            "isNew": change.before is None,
            "fields": fields,
        }
        if change.kind == CONTACT and panels and _share_head(panels[-1], panel):
            panels[-1]["fields"] += fields
        else:
            panels.append(panel)
    return panels


def _share_head(panel: Record, other: Record) -> bool:
    """Whether two panels differ in nothing but their fields."""
    return all(panel[name] == other[name] for name in ("system", "title", "isNew"))


def _fields(change: Change) -> Iterator[dict[str, str]]:
    before = change.before or {}
    hidden = HIDDEN
    if change.before is None:
        hidden = HIDDEN | HIDDEN_WHEN_NEW
    for name, new in change.after.items():
        if name not in LABELS or name in hidden:
            continue
        old_text = _text(name, before.get(name))
        new_text = _text(name, new)
        if old_text == new_text:
            continue
        yield {"label": _label(change, name), "old": old_text, "new": new_text}


def _label(change: Change, name: str) -> str:
    if change.system != advoware_protocol.SYSTEM or name != "tlf":
        return LABELS[name]
    try:
        kind = kind_of(int(change.after["kommKz"]))
        return LABELS[f"kommunikation.{kind}"]
    except (KeyError, TypeError, ValueError):
        return LABELS[name]


def _text(name: str, value: Any) -> str:
    """A value as people read it; empty for none."""
    if name in ENTRY and isinstance(value, list):
        value = _values_of_entries(value, ENTRY[name])
    if value is False or value in (None, "", []):
        return ""
    return shown_value(value, quoted=False)


def _values_of_entries(rows: list[Any], attribute: str) -> list[Any]:
    entries = [entry for entry in rows if isinstance(entry, Mapping)]
    return [entry.get(attribute) for entry in entries]


def _held(rehearsal: Rehearsal) -> Iterator[str]:
    for entity_type in ("CBeteiligte", "CBankverbindungen"):
        for record in rehearsal.shown(entity_type):
            message = record.get("syncErrorMessage")
            if message:
                yield _without_invented(str(message))


def _task(change: Change) -> dict[str, Any]:
    name = str(change.after.get("name") or "")
    status = change.after.get("status")
    return {"name": _without_invented(name), "isOver": status == "Canceled"}


def _without_invented(text: str) -> str:
    """Without the numbers that only the rehearsal knows."""
    return _INVENTED.sub(NEW_NUMBER, text)
