"""Reading JSON that a foreign system wrote, so that whatever comes out can be handed on as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

#: The engine's parser gives up at 128 levels; some are needed for the envelope of an answer.
MAX_LEVELS = 100

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(text: str) -> Any:
    """The value of a JSON text. Of the same key twice in an object the last one counts.

    What the next reader would refuse or alter becomes text: NaN, Infinity, numbers too large for a double, integers
    beyond 64 bits. Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: this is no JSON, or it is nested more deeply than `MAX_LEVELS`.
    """
    try:
        value = json.loads(
            text, parse_constant=str, parse_float=_float, parse_int=_integer
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
    return value if math.isfinite(value) else text


def _integer(text: str) -> int | str:
    if len(text) > 20:
        return text
    value = int(text)
    return value if -(2**63) <= value < 2**64 else text


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
    return container.values() if isinstance(container, dict) else container
