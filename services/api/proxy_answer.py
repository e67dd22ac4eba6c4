"""What the proxy shows of an answer of Advoware: a JSON value, a text, or why neither is possible."""

from __future__ import annotations

from typing import Any

from services.core.foreign_text import read_json
from services.core.http import HttpAnswer

#: The worker's connection takes messages up to 16 MiB; what remains is for the envelope.
MAX_MESSAGE_BYTES = 15 * 2**20

_HIGH_BYTES = bytes(range(0x80, 0x100))
_CONTROL_BYTES = bytes({*range(0x20), 0x7F} - {*b"\t\n\r"})
#: Bytes that become two: escaped in a text, or followed by a space in a list or an object.
_DOUBLED_BYTES = b'"\\\t\n\r,:'
_TEXT_TYPES = frozenset(
    {
        "",
        "application/xml",
        "application/javascript",
        "application/x-www-form-urlencoded",
    },
)


class CannotShow(Exception):
    """The answer cannot be shown as what it is; ``text`` is what there is of it, or None."""

    def __init__(self, reason: str, text: str | None = None) -> None:
        super().__init__(reason)
        self.text = text


def shown(answer: HttpAnswer) -> Any:
    """The value that an answer stands for: its JSON, its text, None if it is empty.

    Raises:
        CannotShow: it is not here, too large for the engine, neither JSON nor text, or JSON that cannot be read.
    """
    if answer.missing:
        raise CannotShow(answer.missing)
    text = _text(answer)
    if _longest_message(text) > MAX_MESSAGE_BYTES:
        raise CannotShow(f"the answer is too large ({len(answer.body)} bytes)")
    if not text.strip():
        return None
    if not _may_be_json(answer, text):
        return text
    try:
        return read_json(text)
    except ValueError:
        if _is_json(answer):
            raise CannotShow("the answer is not valid JSON", text) from None
    return text


def _text(answer: HttpAnswer) -> str:
    """The answer as text. What is declared as something else is one only if it is UTF-8."""
    is_text = _is_declared_as_text(answer)
    text = answer.text()
    if "\x00" in text or not (is_text or _is_utf8(answer.body)):
        raise CannotShow(f"the answer is not text ({len(answer.body)} bytes)")
    return text


def _is_declared_as_text(answer: HttpAnswer) -> bool:
    kind = answer.media_type
    return (
        kind.startswith("text/")
        or kind.endswith("+xml")
        or kind in _TEXT_TYPES
        or _is_json(answer)
    )


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_json(answer: HttpAnswer) -> bool:
    return answer.media_type.endswith(("/json", "+json"))


def _may_be_json(answer: HttpAnswer, text: str) -> bool:
    """Whether a text is read as JSON. A bare number or word that is declared as text stays what it is."""
    return (
        _is_json(answer)
        or not answer.media_type
        or text.lstrip().startswith(("{", "["))
    )


def _longest_message(text: str) -> int:
    """The most bytes that an answer can have on its way to the engine, where all but ASCII is escaped."""
    encoded = text.encode()
    high = len(encoded) - len(encoded.translate(None, _HIGH_BYTES))
    control = len(encoded) - len(encoded.translate(None, _CONTROL_BYTES))
    doubled = len(encoded) - len(encoded.translate(None, _DOUBLED_BYTES))
    return len(encoded) + 2 * high + 5 * control + doubled
