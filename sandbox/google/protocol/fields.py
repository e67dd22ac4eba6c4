"""Partial answers: the query parameter ``fields``, which all Google APIs know.

``items(id,etag),nextPageToken`` and ``items/start/dateTime`` pick parts of an answer; ``*`` stands for all names.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sandbox.google.errors import ApiError, invalid

_TOKEN: Final = re.compile(r"[A-Za-z0-9_*-]+|[(),/]")

#: What to keep: name -> what to keep below it; empty for everything.
Mask = dict[str, "Mask"]


def pick(answer: Any, fields: str) -> Any:
    """The parts of a JSON value that ``fields`` names.

    Raises:
        ApiError: 400; the parameter is malformed.
    """
    tokens = _TOKEN.findall(fields)
    if "".join(tokens) != fields:
        raise _refused(fields)
    mask = _read(tokens, fields)
    if tokens:
        raise _refused(fields)
    return _apply(answer, mask)


def _read(tokens: list[str], fields: str) -> Mask:
    """Read one comma-separated list, consuming the tokens."""
    mask: Mask = {}
    while True:
        below = _read_path(mask, tokens, fields)
        if _took(tokens, "("):
            below.update(_read(tokens, fields))
            if not _took(tokens, ")"):
                raise _refused(fields)
        if not _took(tokens, ","):
            return mask


def _read_path(mask: Mask, tokens: list[str], fields: str) -> Mask:
    """Read names with slashes between them; what to keep below the last of them."""
    while True:
        if not tokens:
            raise _refused(fields)
        name = tokens.pop(0)
        if name in "(),/":
            raise _refused(fields)
        mask = mask.setdefault(name, {})
        if not _took(tokens, "/"):
            return mask


def _took(tokens: list[str], expected: str) -> bool:
    """Whether this is the next token; then it is consumed."""
    if not tokens:
        return False
    if tokens[0] != expected:
        return False
    tokens.pop(0)
    return True


def _apply(value: Any, mask: Mask) -> Any:
    if not mask:
        return value
    if isinstance(value, list):
        return [_apply(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    of_all = mask.get("*")
    shown = {}
    for name, below in value.items():
        below_mask = of_all
        if of_all is None:
            below_mask = mask.get(name)
        if below_mask is not None:
            shown[name] = _apply(below, below_mask)
    return shown


def _refused(fields: str) -> ApiError:
    return invalid(
        f"Invalid field selection {fields}",
        "fields",
        reason="invalidParameter",
    )
