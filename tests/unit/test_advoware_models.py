"""Facts about Advoware's interface: signature, addresses, dates."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from services.core.errors import InvalidInput
from services.values.advoware_protocol import (
    endpoint_url,
    explain_refusal,
    parse_date_time,
    read_token,
    sign_login,
)

BASE = "https://host.example:90/base"


def test_the_signature_is_the_published_one() -> None:
    key = base64.b64encode(b"test-secret-key").decode()

    assert sign_login(64, "app-123", "nonce-abc", "2026-08-30T00:00:00.000Z", key) == (
        "o7rz9KmoXZs550HfzO6ffiG17XwiPmlBHlksUYKZ3jcfolELow51Fw5KlrQqCK5y41aIValDjrh1iQ2GZ2WtqQ=="
    )


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("api/v1/advonet/Beteiligte/1", f"{BASE}/api/v1/advonet/Beteiligte/1"),
        ("/api/v1/advonet/Termine", f"{BASE}/api/v1/advonet/Termine"),
        ("api/Termine?frnr=5", f"{BASE}/api/Termine?frnr=5"),
        ("api/x?y=ä b&y=2", f"{BASE}/api/x?y=%C3%A4+b&y=2"),
        ("api/x?y=%C3%A4%20b%26", f"{BASE}/api/x?y=%C3%A4+b%26"),
        ("api/x?y=a\\b&z=?/../", f"{BASE}/api/x?y=a%5Cb&z=?/../"),
        ("api/Kontakt/Müller", f"{BASE}/api/Kontakt/M%C3%BCller"),
        ("api/Kontakt/Max%20Meier", f"{BASE}/api/Kontakt/Max%20Meier"),
    ],
)
def test_a_path_is_put_below_the_base_url(endpoint: str, expected: str) -> None:
    assert str(endpoint_url(BASE, endpoint)) == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/x",
        "HTTP:evil",
        "//evil.example/x",
        "/\\evil.example/x",
        "api//evil.example",
        "../secret",
        "api/../../secret",
        "api/..",
        "api/./x",
        "api/..;/x",
        "api/%2e%2e/secret",
        "api/%252e%252e/secret",
        "api/%25252525252e%2e/secret",
        "api/..%2fsecret",
        "%2f%2fevil.example",
        "api/x%5c..%5cy",
        "api/x#fragment",
        "api/x%23fragment",
        "api/x\r\nHost: evil",
        "api/x%0d%0aHost:%20evil",
        "api/\u0000x",
        "api/x%00",
        "api/x y",
        "api/x%3fy=1",
        "api/%c0%ae%c0%ae/x",
        "@evil.example/x",
        "/",
        "?frnr=1",
        "api/x?y=a#b",
        "api/x?y=a\r\nHost: evil",
        "api/x?y=%ff",
    ],
)
def test_what_could_lead_elsewhere_is_refused(endpoint: str) -> None:
    if endpoint == "@evil.example/x":  # below the base URL this is an ordinary path
        assert endpoint_url(BASE, endpoint).host == "host.example"
        return
    with pytest.raises(InvalidInput):
        endpoint_url(BASE, endpoint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-10T09:00:00", datetime(2026, 2, 10, 8, tzinfo=UTC)),
        (
            "2026-07-10T09:00:00.1234567",
            datetime(2026, 7, 10, 7, 0, 0, 123456, tzinfo=UTC),
        ),
        ("2026-02-10T09:00:00Z", datetime(2026, 2, 10, 9, tzinfo=UTC)),
        ("2026-02-10", datetime(2026, 2, 9, 23, tzinfo=UTC)),
        ("10.02.2026", None),
        ("2026-13-10T09:00:00", None),
        ("", None),
    ],
)
def test_all_spellings_of_a_time_are_read(text: str, expected: datetime | None) -> None:
    assert parse_date_time(text) == expected


def test_a_token_is_used_until_two_minutes_before_its_expiry() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    answer = {"access_token": "t", "expiration_utc": "2026-01-01T00:10:00.1234567Z"}
    assert read_token(answer, now, 55).usable_until == datetime(
        2026, 1, 1, 0, 8, 0, 123456, tzinfo=UTC
    )
    by_seconds = read_token({"access_token": "t", "expires_in": 600}, now, 55)
    assert by_seconds.usable_until == datetime(2026, 1, 1, 0, 8, tzinfo=UTC)
    assert read_token({"access_token": "t"}, now, 55).usable_until == datetime(
        2026, 1, 1, 0, 53, tzinfo=UTC
    )


def test_refusals_of_the_login_name_the_setting() -> None:
    assert "ADVOWARE_PASSWORD" in str(
        explain_refusal(400, "Falscher Name oder falsches Kennwort")
    )
    assert "ADVOWARE_KANZLEI" in str(
        explain_refusal(500, "Die Kanzlei ist nicht registriert.")
    )
    assert explain_refusal(500, "") is None
