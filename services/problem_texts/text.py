"""The shape of an entry in the catalogue of problems. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OPEN_BETEILIGTER = "In Advoware den Beteiligten {betnr} öffnen."


@dataclass(frozen=True)
class Text:
    """What people read about one kind of problem, in German without jargon.

    Templates may use ``{betnr}``, ``{adresse}``, ``{konto}``, ``{subject}`` and ``{value}`` (see `notification_texts`).

    Attributes:
        code: for the operator, such as ``KOM-03``; unique and never given a second time.
        title: of the Task.
        why: what happened.
        steps: what to do, one step each.
        sentence: what the record itself shows (``syncErrorMessage``), one short sentence; empty: the title.
    """

    code: str
    title: str
    why: str
    steps: tuple[str, ...]
    sentence: str = ""
