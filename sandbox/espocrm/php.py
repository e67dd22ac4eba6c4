"""What EspoCRM inherits from PHP: how it writes JSON, how it reads query strings, and how it words errors."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

MAX_INPUT_VARIABLES = 1000  #: PHP's ``max_input_vars``: further query parameters are dropped without a word
_LEADING_INT = re.compile(r"\s*[+-]?\d+")
_BRACKET = re.compile(r"\[([^\]]*)\]")


_BLANKS = " \t\n\r\0\x0b"
_ATOM_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(Z|[+-]\d\d:?\d\d)", re.IGNORECASE
)


class ApiError(Exception):
    """A request that EspoCRM refuses.

    Attributes:
        status: HTTP status.
        reason: text of the header ``X-Status-Reason``.
        body: JSON value of the answer, None for an empty body.
    """

    def __init__(self, status: int, reason: str, body: Any = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.body = body


def validation_failure(entity: str, field: str, kind: str) -> ApiError:
    """The 400 for a field that does not pass; ``kind`` is the name of the check (``valid``, ``required``, ...)."""
    return ApiError(
        400,
        f"Field validation failure; entityType: {entity}, field: {field}, type: {kind}.",
        {
            "messageTranslation": {
                "label": "validationFailure",
                "data": {"field": field, "type": kind},
            }
        },
    )


def php_json(value: Any) -> bytes:
    r"""JSON exactly as PHP's ``json_encode`` writes it: no blanks, ``\/`` and ``\u00fc`` escapes."""
    return (
        json.dumps(value, ensure_ascii=True, separators=(",", ":"))
        .replace("/", "\\/")
        .encode("ascii")
    )


def read_json(content: bytes) -> Any:
    """JSON as PHP's ``json_decode`` reads it: no NaN, no half of a surrogate pair, no key that begins with NUL.

    Raises:
        ValueError: it is not such JSON.
    """
    value = json.loads(
        content, parse_constant=_refuse_constant, object_pairs_hook=_object
    )
    json.dumps(
        value, ensure_ascii=False
    ).encode()  # raises UnicodeEncodeError, which is a ValueError
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(key.startswith("\0") for key, _ in pairs):
        raise ValueError("a key begins with NUL")
    return dict(pairs)


def php_trim(text: str) -> str:
    """PHP's ``trim``: ASCII blanks and NUL go from both ends, but no other white space of Unicode."""
    return text.strip(_BLANKS)


def php_day(text: str) -> str:
    """A date-time with zone as EspoCRM takes it for a date: its day; any other text as it is."""
    match = _ATOM_TIME.fullmatch(text)
    if match:
        return match[1]
    return text


def php_time(text: str) -> str:
    """A date-time with zone in EspoCRM's own form and UTC, one without seconds with them; any other text as it is."""
    match = _ATOM_TIME.fullmatch(text)
    if match is None:
        if len(text) == len("2026-02-10 09:00"):
            return f"{text}:00"
        return text
    try:
        moment = datetime.fromisoformat(
            f"{match[1]}T{match[2]}{match[3].upper()}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def php_int(text: str) -> int:
    """PHP's ``intval``: the leading number, 0 if there is none."""
    match = _LEADING_INT.match(text)
    if match:
        return int(match.group())
    return 0


def parse_query(raw: str) -> dict[str, Any]:
    """A query string in PHP's bracket notation as nested values.

    ``where[0][type]=in&where[0][value][]=dirty`` becomes ``{"where": [{"type": "in", "value": ["dirty"]}]}``. Keys that
    count from 0 without a gap make a list, all others a dict.
    """
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(raw, keep_blank_values=True)[:MAX_INPUT_VARIABLES]:
        name, bracket, _ = key.partition("[")
        keys = [name, *_BRACKET.findall(key[len(name) :])] if bracket else [key]
        _insert(tree, keys, value)
    return {key: _listed(value) for key, value in tree.items()}


def _insert(tree: dict[str, Any], keys: list[str], value: str) -> None:
    node = tree
    for key, follower in zip(keys, [*keys[1:], None], strict=True):
        name = key or str(sum(k.isdigit() for k in node))
        if follower is None:
            node[name] = value
            return
        child = node.get(name)
        if not isinstance(child, dict):
            child = node[name] = {}
        node = child


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    children = {key: _listed(child) for key, child in value.items()}
    if list(children) == [str(index) for index in range(len(children))]:
        return list(children.values())
    return children
