"""What a caller of the proxy sent, as both engines hand it over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from services.api.errors import BodyTooLarge
from services.core.errors import InvalidInput

#: The request target as it came. The real engine keeps one value of each query parameter, the last, and hands over
#: the raw query nowhere; so the reverse proxy in front of it sets this header. The embedded engine sets it itself.
TARGET_HEADER = "x-forwarded-uri"
MAX_BODY_BYTES = 1_000_000
#: With the 25 s for Advoware below the 30 s after which the engine gives up.
BODY_SECONDS = 4.0

Pairs = list[tuple[str, str]]


def read_query(request: Any) -> Pairs:
    """All query parameters in their order, decoded.

    Without a usable `TARGET_HEADER` those of one name are in their order, as far as the engine kept them.

    Raises:
        InvalidInput: a parameter is not percent-encoded UTF-8.
    """
    pairs = _raw_pairs(request)
    if pairs is not None:
        return pairs
    pairs = []
    for name, values in request.query_params.items():
        for value in _listed(values):
            # What the engine makes of undecodable bytes.
            if "\ufffd" in name + value:
                raise InvalidInput("the query must be percent-encoded UTF-8")
            pairs.append((name, value))
    return pairs


def _raw_pairs(request: Any) -> Pairs | None:
    """The parameters of the raw query; None if it is not there, or says something else than what the engine read."""
    query = str(request.headers.get(TARGET_HEADER, "")).partition("?")[2]
    last_values = dict(parse_qsl(query, keep_blank_values=True))
    if last_values != _last_values(request.query_params):
        return None
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput("the query must be percent-encoded UTF-8") from None


def _listed(values: str | list[str]) -> list[str]:
    if isinstance(values, list):
        return values
    return [values]


def _last_values(params: Mapping[str, str | list[str]]) -> dict[str, str]:
    return {name: _listed(values)[-1] for name, values in params.items()}


async def read_body(request: Any) -> bytes | None:
    """The JSON body to pass on; None if there is none.

    The engine parses what is declared as ``application/json`` in lower case, and hands over None for a body that is
    empty, ``null`` or no JSON; they are distinguished by their length. All else comes through a channel, piece by
    piece.

    Raises:
        InvalidInput: the body is not JSON, or did not arrive.
        BodyTooLarge: it is too large for the engine.
    """
    headers = request.headers
    length = _declared_length(headers)
    content_type = str(headers.get("content-type", ""))
    if request.body is not None:
        return json.dumps(request.body).encode()
    if length == "0":
        return None
    if "application/json" in content_type:
        if length == str(len("null")):
            return b"null"
        raise InvalidInput("the body is not valid JSON")
    if not _is_json(content_type):
        raise InvalidInput("the body must be JSON (Content-Type: application/json)")
    raw = await _read_channel(request.request_body)
    if length and length != str(len(raw)):
        raise InvalidInput("the body did not arrive completely")
    return _checked(raw)


def _declared_length(headers: Mapping[str, Any]) -> str:
    """What the header says, else that there is no body; empty if the body comes in pieces."""
    absent = "" if "transfer-encoding" in headers else "0"
    return str(headers.get("content-length", absent))


def _is_json(content_type: str) -> bool:
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in {"application/json", "text/json"} or media_type.endswith(
        "+json",
    )


async def _read_channel(reader: Any) -> bytes:
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in reader:
                raw += piece
                if len(raw) > MAX_BODY_BYTES:
                    raise BodyTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise InvalidInput(
            f"the body did not arrive within {BODY_SECONDS:g} s",
        ) from None
    finally:
        await reader.close_async()
    return bytes(raw)


def _checked(raw: bytes) -> bytes | None:
    if not raw.strip():
        return None
    try:
        return json.dumps(
            json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse),
        ).encode()
    except (ValueError, RecursionError):
        raise InvalidInput("the body is not valid JSON in UTF-8") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
