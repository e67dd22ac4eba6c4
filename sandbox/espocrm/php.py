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
    r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(Z|[+-]\d\d:?\d\d)",
    re.IGNORECASE,
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
            },
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
        content,
        parse_constant=_refuse_constant,
        object_pairs_hook=_object,
    )
    json.dumps(
        value,
        ensure_ascii=False,
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
            f"{match[1]}T{match[2]}{match[3].upper()}",
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
    parameters = parse_qsl(raw, keep_blank_values=True)
    for key, value in parameters[:MAX_INPUT_VARIABLES]:
        _insert(tree, _keys_in(key), value)
    listed = {}
    for key, value in tree.items():
        listed[key] = _listed(value)
    return listed


def _keys_in(key: str) -> list[str]:
    """The name of a parameter, and what stands in the brackets behind it."""
    name, bracket, _ = key.partition("[")
    if not bracket:
        return [key]
    brackets = key.removeprefix(name)
    return [name, *_BRACKET.findall(brackets)]


def _insert(tree: dict[str, Any], keys: list[str], value: str) -> None:
    *parents, last = keys
    node = tree
    for key in parents:
        name = key or _next_number(node)
        child = node.get(name)
        if not isinstance(child, dict):
            child = {}
            node[name] = child
        node = child
    name = last or _next_number(node)
    node[name] = value


def _next_number(node: dict[str, Any]) -> str:
    """The key that PHP gives to an entry without one."""
    numbered = [key for key in node if key.isdigit()]
    return str(len(numbered))


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    children = {}
    is_list = True
    for position, (key, child) in enumerate(value.items()):
        children[key] = _listed(child)
        if key != str(position):
            is_list = False
    if is_list:
        return list(children.values())
    return children
