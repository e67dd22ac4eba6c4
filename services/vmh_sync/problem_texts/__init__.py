"""The catalogue of problems: everything that the sync reports to people, by a word that the code uses."""

from __future__ import annotations

from collections.abc import Mapping

from services.vmh_sync.problem_texts import (
    adressen,
    bankverbindungen,
    beteiligte,
    kommunikation,
)
from services.vmh_sync.problem_texts.text import Text

__all__ = ["CATALOGUE", "Text"]

CATALOGUE: Mapping[str, Text] = {
    **beteiligte.TEXTS,
    **kommunikation.TEXTS,
    **adressen.TEXTS,
    **bankverbindungen.TEXTS,
}
