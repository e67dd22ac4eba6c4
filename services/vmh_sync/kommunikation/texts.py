"""What people read about the Kommunikation: problems and short messages from the catalogue. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from services.core.foreign_text import has_invisible
from services.kommunikation_mapper import Kind
from services.vmh_sync.kommunikation.plan import Notice
from services.vmh_sync.notification.texts import problem_sentence
from services.vmh_sync.result import ActionType, Details, Problem

OWNER_TYPE = "CBeteiligte"

_KIND_LABELS: Final[Mapping[Kind, str]] = {
    "phone": "Telefon",
    "fax": "Fax",
    "mail": "E-Mail",
}
_TYPE_LABELS: Final = {
    "Office": "Büro",
    "Home": "Privat",
    "Mobile": "Mobil",
    "Fax": "Fax",
    "Other": "Sonstige",
}
#: What the other side's value is called, by reason; otherwise it is EspoCRM's.
_OTHER_LABELS: Final = {
    "kom_altered": "In Advoware",
    "kom_array_blocked": "Eintrag in EspoCRM",
    "kom_not_taken": "In Advoware",
    "kom_refused_by_advoware": "In Advoware",
    "kom_type": "Art in EspoCRM",
}


def problem_of(notice: Notice, espo: Mapping[str, Any], betnr: int) -> Problem:
    """A task for a person. The key stays the same as long as entry, value and reason do; it does not show the value."""
    about = Details(notice.reason, betnr, espo.get("name"))
    entity_id = str(espo["id"])
    if notice.reason == "kom_erased":  # what was erased is not written down elsewhere
        key = f"kommunikation_kom_erased:{entity_id}:"
        return Problem(
            "general_manual_action",
            OWNER_TYPE,
            entity_id,
            key,
            about,
        )
    value = notice.value.encode(errors="replace")
    digest = hashlib.sha256(value).hexdigest()[:12]
    number = notice.entry_id or ""
    key = f"kommunikation_{notice.reason}:{entity_id}:{number}:{digest}"
    action: ActionType = "general_manual_action"
    if notice.reason == "kom_not_taken":
        action = "readonly_field_conflict"
    details = replace(about, value=notice.value, further=_further(notice))
    return Problem(
        action,
        OWNER_TYPE,
        entity_id,
        key,
        details,
    )


def _further(notice: Notice) -> dict[str, str]:
    """What a task lists besides the value, by its German label."""
    further = {"Art": _KIND_LABELS[notice.kind]}
    if notice.other:
        label = _OTHER_LABELS.get(notice.reason, "In EspoCRM")
        further[label] = _shown_other(notice.reason, notice.other)
    if has_invisible(notice.value):
        further["Hinweis"] = (
            "Die Angabe enthält unsichtbare Zeichen. Am besten löschen und neu eintippen."
        )
    return further


def _shown_other(reason: str, other: str) -> str:
    if reason == "kom_type":
        return _TYPE_LABELS.get(other, other)
    return other


def part_error(reason: str) -> str:
    """A short message about something that is tried again; it names no value."""
    return problem_sentence(
        Problem(
            "general_manual_action",
            OWNER_TYPE,
            "",
            reason,
            Details(reason),
        ),
    )
