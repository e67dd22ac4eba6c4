"""The shape of an entry in the catalogue of problems. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OPEN_BETEILIGTER = "In Advoware den Beteiligten {betnr} öffnen."

#: Why one field waits, as it stands behind the field in a list of fields (``{"field", "old", "new", "reason"}``).
FIELD_REASONS: Mapping[str, str] = {
    "altered": "anders gespeichert als eingetragen",
    "invalid": "ungültig",
    "missing": "wird vom anderen Programm nicht angezeigt",
    "refused": "vom anderen Programm abgelehnt",
    "too_long": "zu lang für das andere Programm",
    "unknown": "im anderen Programm nicht darstellbar",
}


@dataclass(frozen=True)
class Text:
    """What people read about one kind of problem, in German without jargon.

    Templates may use ``{betnr}``, ``{adresse}``, ``{konto}``, ``{subject}``, ``{value}``, ``{name}`` and ``{count}``
    (see `notification.texts`).

    Attributes:
        code: for the operator, such as ``KOM-03``; unique and never given a second time.
        title: of the Task.
        why: what happened.
        steps: what to do, one step each.
        sentence: what the record itself shows (``syncErrorMessage``), one short sentence; empty: the title.
        outlives_record: the problem is there although its record in EspoCRM is gone.
    """

    code: str
    title: str
    why: str
    steps: tuple[str, ...]
    sentence: str = ""
    outlives_record: bool = False
