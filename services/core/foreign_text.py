"""Text from foreign systems, cleaned once, where it is read (specification 13, G5). Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

#: Everything below a space but tab, line feed and carriage return; and DEL with the C1 controls.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
#: Zero-width characters, joiners, soft hyphens, bidirectional controls and the byte order mark.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
REPLACEMENT = "\ufffd"


def clean_text(text: str) -> str:
    """Text without control characters (but line breaks and tabs); unpaired surrogates become U+FFFD."""
    return _SURROGATES.sub(REPLACEMENT, _CONTROLS.sub("", text))


def clean_value(value: Any) -> Any:
    """A decoded JSON value with all its texts cleaned, the names of its members included."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {
            clean_text(str(name)): clean_value(item) for name, item in value.items()
        }
    if isinstance(value, list):
        return [clean_value(item) for item in value]
    return value


def without_invisible(text: str) -> str:
    """Text without invisible characters: for numbers, mail addresses and IBANs."""
    return _INVISIBLE.sub("", text)


def has_invisible(text: str) -> bool:
    """Whether a text contains invisible characters."""
    return _INVISIBLE.search(text) is not None


def comparable_text(value: Any) -> str | None:
    """Text as it is compared: NFC, trimmed, inner white space as one space, without control characters; empty: None."""
    if value is None:
        return None
    composed = unicodedata.normalize("NFC", clean_text(str(value)))
    text = re.sub(r"\s+", " ", composed).strip()
    return text or None
