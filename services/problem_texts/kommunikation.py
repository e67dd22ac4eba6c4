"""Problems of the Kommunikation (phone, fax, mail). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from services.problem_texts.text import Text

TEXTS: Mapping[str, Text] = {}
