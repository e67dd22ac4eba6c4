"""Who may call us."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from config import Settings, load_settings
from services.api.access import (
    has_valid_signature,
    may_check_signature,
    php_json,
    require_api_key,
    require_webhook_sender,
)
from services.api.errors import AccessDenied

TOKEN, OTHER = "0123456789abcdef01234567", "76543210fedcba9876543210"
CAPTURED = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "espocrm-webhooks.json").read_text()
)["requests"]


def settings(**variables: Any) -> Settings:
    return load_settings(variables)


@pytest.mark.parametrize("request_", CAPTURED, ids=lambda request: request["event"])
def test_the_signatures_of_a_real_espocrm_are_valid(request_: dict[str, Any]) -> None:
    body = json.loads(request_["body"])
    headers = {name.lower(): value for name, value in request_["headers"].items()}
    keys = {request_["webhookId"]: request_["secretKey"]}

    assert php_json(body) == request_["body"].encode()
    assert has_valid_signature(headers, body, keys)
    assert not has_valid_signature(headers, [*body, {"id": "x"}], keys)
    assert not has_valid_signature(headers, body, {request_["webhookId"]: "other"})


def test_slashes_and_umlauts_are_escaped_as_php_does() -> None:
    assert php_json({"a": "ü/é"}) == rb'{"a":"\u00fc\/\u00e9"}'


def test_a_body_whose_keys_the_engine_has_sorted_cannot_be_checked() -> None:
    assert may_check_signature([{"name": "x", "id": "y"}])
    assert may_check_signature([{"id": "y"}])
    assert not may_check_signature([{"id": "y", "name": "x"}])


def test_with_configured_secrets_an_unsigned_or_wrongly_signed_webhook_is_denied() -> (
    None
):
    request = CAPTURED[0]
    body = json.loads(request["body"])
    strict = settings(
        ESPOCRM_WEBHOOK_SECRETS=f"{request['webhookId']}:{request['secretKey']}"
    )
    signed = {"x-signature": request["headers"]["X-Signature"]}

    require_webhook_sender(signed, {}, body, strict)
    for headers in ({}, {"x-signature": "AAAA"}, {"x-signature": "no base64"}):
        with pytest.raises(AccessDenied):
            require_webhook_sender(headers, {}, body, strict)


def test_a_body_with_sorted_keys_does_not_get_around_the_signature_without_a_token() -> (
    None
):
    keys = f"abc:{TOKEN}"
    with pytest.raises(AccessDenied, match="ESPOCRM_WEBHOOK_TOKEN"):
        require_webhook_sender(
            {}, {}, [{"a": 1, "id": "x"}], settings(ESPOCRM_WEBHOOK_SECRETS=keys)
        )
    with_token = settings(ESPOCRM_WEBHOOK_SECRETS=keys, ESPOCRM_WEBHOOK_TOKEN=TOKEN)
    require_webhook_sender({}, {"token": TOKEN}, [{"a": 1, "id": "x"}], with_token)


def test_the_webhook_token_is_taken_from_the_query_or_from_basic_auth() -> None:
    strict = settings(ESPOCRM_WEBHOOK_TOKEN=TOKEN)
    basic = base64.b64encode(f"espocrm:{TOKEN}".encode()).decode()

    require_webhook_sender({}, {"token": TOKEN}, [], strict)
    require_webhook_sender({"authorization": f"Basic {basic}"}, {}, [], strict)
    for headers, query in (
        ({}, {}),
        ({}, {"token": "falsch"}),
        ({"authorization": "Basic !"}, {}),
    ):
        with pytest.raises(AccessDenied):
            require_webhook_sender(headers, query, [], strict)


def test_an_api_key_is_needed_as_soon_as_one_is_configured() -> None:
    strict = settings(BITBYLAW_API_KEYS=f"{TOKEN}, {OTHER}")

    require_api_key({}, settings())
    require_api_key({"x-api-key": OTHER}, strict)
    require_api_key({"authorization": f"Bearer {TOKEN}"}, strict)
    for headers in ({}, {"x-api-key": "drei"}, {"authorization": f"Basic {TOKEN}"}):
        with pytest.raises(AccessDenied):
            require_api_key(headers, strict)


def test_without_keys_no_one_is_admitted_as_soon_as_one_system_is_real() -> None:
    tunnel = settings(ESPOCRM_API_BASE_URL="http://127.0.0.1:4020/api/v1")
    with pytest.raises(AccessDenied, match="BITBYLAW_API_KEYS"):
        require_api_key({"x-api-key": ""}, tunnel)
    with pytest.raises(AccessDenied, match="ESPOCRM_WEBHOOK_TOKEN"):
        require_webhook_sender({}, {}, [{"id": "x"}], tunnel)


@pytest.mark.parametrize(
    "given",
    ["", "ü", "\ud800", "x" * 100_000, TOKEN[:-1], f"{TOKEN} ", f"{TOKEN},{OTHER}"],
)
def test_no_odd_key_is_admitted_or_breaks_the_check(given: str) -> None:
    strict = settings(BITBYLAW_API_KEYS=f"{TOKEN},{OTHER}", ESPOCRM_WEBHOOK_TOKEN=TOKEN)
    for headers in (
        {"x-api-key": given},
        {"authorization": f"Bearer {given}"},
        {"authorization": given},
    ):
        with pytest.raises(AccessDenied):
            require_api_key(headers, strict)
        with pytest.raises(AccessDenied):
            require_webhook_sender(headers, {"token": given}, [], strict)
