"""Text and JSON from foreign systems, cleaned once, where they are read (specification 13, G5). Pure."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

#: Everything below a space but tab, line feed and carriage return; and DEL with the C1 controls.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
#: Zero-width characters, joiners, soft hyphens, bidirectional controls and the byte order mark.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]",
)
REPLACEMENT = "\ufffd"
#: The engine's parser gives up at 128 levels; some are needed for the envelope of an answer.
MAX_LEVELS = 100

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


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


def shortened(text: str, length: int) -> str:
    """Text of at most so many characters; what is cut off is shown by an ellipsis."""
    if len(text) <= length:
        return text
    return f"{text[: length - 1]}…"


def comparable_text(value: Any) -> str | None:
    """Text as it is compared: NFC, trimmed, inner white space as one space, without control characters; empty: None."""
    if value is None:
        return None
    composed = unicodedata.normalize("NFC", clean_text(str(value)))
    text = re.sub(r"\s+", " ", composed).strip()
    return text or None


def read_json(text: str) -> Any:
    """The value of a JSON text. Of the same key twice in an object the last one counts.

    What the next reader would refuse or alter becomes text: NaN, Infinity, numbers too large for a double, integers
    beyond 64 bits. Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: this is no JSON, or it is nested more deeply than `MAX_LEVELS`.
    """
    try:
        value = json.loads(
            text,
            parse_constant=str,
            parse_float=_float,
            parse_int=_integer,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if text.count("[") + text.count("{") > MAX_LEVELS and _is_deeper(value, MAX_LEVELS):
        raise ValueError("nested too deeply")
    if _SURROGATE_ESCAPE.search(text):
        value = json.loads(without_surrogates(json.dumps(value, ensure_ascii=False)))
    return value


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair that stands alone; two halves become their character."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _float(text: str) -> float | str:
    value = float(text)
    if math.isfinite(value):
        return value
    return text


def _integer(text: str) -> int | str:
    if len(text) > 20:
        return text
    value = int(text)
    if -(2**63) <= value < 2**64:
        return value
    return text


def _is_deeper(value: Any, levels: int) -> bool:
    containers = _containers([value])
    for _ in range(levels):
        inner: list[Any] = []
        for container in containers:
            inner += _containers(_members(container))
        if not inner:
            return False
        containers = inner
    return True


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def _members(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    if isinstance(container, dict):
        return container.values()
    return container
