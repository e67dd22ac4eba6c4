"""What an erasure leaves of a value: a keyed hash. Pure.

`seal` puts it in the place of each text of a JSON value; `opened` puts a text back where a side shows it still. So
the next sync after an erasure knows again what both sides were settled on, as far as they still show it. A text that
no side shows stays sealed: it is equal to nothing, as a value that was changed since.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from services.core.foreign_text import clean_text

PREFIX = "sealed:"
#: Members that say what a value is about, never what it is.
_STRUCTURE = frozenset(
    {
        *("action", "betNr", "betnr", "beteiligteId", "case", "field", "held", "how"),
        *("id", "postedAt", "reason", "rechtsform", "rows", "side", "since", "type"),
        *("unmarked", "version"),
    },
)
#: Words of the sync that stand beside values in lists.
_WORDS = frozenset({"phone", "mail"})
#: Members with words of a foreign system, which may quote values: nothing is left of them.
_FOREIGN_WORDS = frozenset({"words"})


def is_sealed(text: Any) -> bool:
    """Whether a value is what an erasure has left."""
    return isinstance(text, str) and text.startswith(PREFIX)


def has_sealed(value: Any) -> bool:
    """Whether a JSON value holds anything that is sealed."""
    return any(map(is_sealed, texts_in(value)))


def seal(value: Any, key: bytes) -> Any:
    """A JSON value with a keyed hash in the place of each text; what is sealed already stays as it is."""

    def sealed(text: str) -> str:
        if not text or text in _WORDS or is_sealed(text):
            return text
        return seal_of(text, key)

    return _changed(value, sealed)


def seal_of(text: str, key: bytes) -> str:
    """What is left of one text."""
    message = clean_text(text).encode()
    digest = hmac.new(key, message, hashlib.sha256).hexdigest()
    return f"{PREFIX}{digest[:32]}"


def opened(value: Any, shown: Iterable[str], key: bytes) -> Any:
    """A JSON value with those of its sealed texts put back that are among ``shown``."""
    known = {seal_of(text, key): text for text in shown}

    def open_text(text: str) -> str:
        return known.get(text, text)

    return _changed(value, open_text)


def texts_in(*values: Any) -> Iterator[str]:
    """All texts of JSON values, at any depth, without the names of members."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from texts_in(*value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from texts_in(*value)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_changed(item, change) for item in value]
    if not isinstance(value, Mapping):
        return value
    changed = {}
    for name, item in value.items():
        changed[name] = _changed_member(name, item, change)
    return changed


def _changed_member(name: str, item: Any, change: Callable[[str], str]) -> Any:
    if name in _STRUCTURE:
        return item
    if name in _FOREIGN_WORDS:
        return ""
    return _changed(item, change)
