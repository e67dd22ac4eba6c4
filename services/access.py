"""Who may call us: API keys for internal tools, token and signature for EspoCRM's webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from config import Settings
from services.errors import BitByLawError


class AccessDenied(BitByLawError):
    """The caller did not prove who it is."""


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _basic_password(headers: Mapping[str, str]) -> str | None:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def require_api_key(headers: Mapping[str, str], settings: Settings) -> None:
    """Admit a caller with one of ``BITBYLAW_API_KEYS`` in ``X-Api-Key`` or as bearer token; anybody if there are none.

    Header names are lower case, as the engine hands them over.

    Raises:
        AccessDenied: no or a wrong key.
    """
    accepted = settings.service.accepted_api_keys
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (bearer if scheme.lower() == "bearer" else "")
    if accepted and not any(_same(given, key) for key in accepted):
        raise AccessDenied("API key required: header X-Api-Key or Authorization: Bearer")


def require_webhook_sender(headers: Mapping[str, str], query: Mapping[str, Any], body: Any, settings: Settings) -> None:
    """Admit EspoCRM: by the token (query ``token`` or Basic password) and by the signature where it can be checked.

    Each check applies if it is configured (``ESPOCRM_WEBHOOK_TOKEN``, ``ESPOCRM_WEBHOOK_SECRETS``).

    Raises:
        AccessDenied: a check failed.
    """
    token = settings.espocrm.webhook_token
    if token is not None:
        given = str(query.get("token") or _basic_password(headers) or "")
        if not _same(given, token.get_secret_value()):
            raise AccessDenied("webhook token required: ?token=... or Basic password")
    keys = settings.espocrm.webhook_keys
    if keys and not may_check_signature(body):
        if token is None:
            raise AccessDenied("the webhook's signature cannot be checked; set ESPOCRM_WEBHOOK_TOKEN as well")
    elif keys and not has_valid_signature(headers, body, keys):
        raise AccessDenied("the webhook's signature is not valid")


def may_check_signature(body: Any) -> bool:
    """Whether the engine has kept the order of the keys, so that the bytes that were signed can be restored.

    The real engine sorts the keys of objects. An object whose keys are out of order proves that this one does not; a
    body in which no object has two keys looks the same either way.
    """
    objects = list(_objects(body))
    return any(list(item) != sorted(item) for item in objects) or all(len(item) < 2 for item in objects)


def _objects(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [value, *(found for item in value.values() for found in _objects(item))]
    if isinstance(value, list):
        return [found for item in value for found in _objects(item)]
    return []


def php_json(value: Any) -> bytes:
    """JSON as PHP's ``json_encode`` writes it: no spaces, ``\\uXXXX`` for non-ASCII, ``\\/`` for slashes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("/", "\\/").encode()


def has_valid_signature(headers: Mapping[str, str], body: Any, keys: Mapping[str, str]) -> bool:
    """Whether ``Signature`` (EspoCRM 9, hex MAC) or ``X-Signature`` (raw MAC) fits the body under a known secret.

    Both are base64 of ``webhookId:MAC``, the MAC being HMAC-SHA256 over the exact bytes sent.
    """
    signed = php_json(body)
    for header, is_hex in (("signature", True), ("x-signature", False)):
        try:
            webhook_id, _, mac = base64.b64decode(headers.get(header, ""), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            continue
        secret = keys.get(webhook_id.decode("ascii", errors="replace"))
        if secret is None:
            continue
        expected = hmac.new(secret.encode(), signed, hashlib.sha256)
        if hmac.compare_digest(mac, expected.hexdigest().encode() if is_hex else expected.digest()):
            return True
    return False
