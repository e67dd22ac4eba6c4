"""Service accounts and access tokens: the OAuth 2.0 token endpoint for JWT bearer grants (RFC 7523).

Rules and error texts follow Google's guide "Using OAuth 2.0 for Server to Server Applications".
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_PATH: Final = "/token"  # noqa: S105 - a path
TOKEN_LIFETIME: Final = timedelta(minutes=59, seconds=59)
MAX_ASSERTION_LIFETIME: Final = timedelta(hours=1)
CLOCK_SKEW: Final = timedelta(minutes=5)
PROJECT: Final = "bitbylaw-demo"

_AUTH: Final = "https://www.googleapis.com/auth/"
#: What google-auth names as audience whatever the ``token_uri`` of the account is.
GOOGLE_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
#: The scopes of the Calendar API (discovery document).
SCOPES: Final = frozenset(
    _AUTH + name
    for name in (
        "calendar",
        "calendar.acls",
        "calendar.acls.readonly",
        "calendar.app.created",
        "calendar.calendarlist",
        "calendar.calendarlist.readonly",
        "calendar.calendars",
        "calendar.calendars.readonly",
        "calendar.events",
        "calendar.events.freebusy",
        "calendar.events.owned",
        "calendar.events.owned.readonly",
        "calendar.events.public.readonly",
        "calendar.events.readonly",
        "calendar.freebusy",
        "calendar.readonly",
        "calendar.settings",
        "calendar.settings.readonly",
    )
)


class TokenRefusedError(Exception):
    """The token endpoint says no, in the shape of RFC 6749."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.body = {"error": error, "error_description": description}

    def json_response(self) -> web.Response:
        """The answer to the caller."""
        return web.json_response(self.body, status=self.status)


@dataclass(frozen=True)
class ServiceAccount:
    """An account with its key."""

    email: str
    key_id: str
    private_key: str  #: PEM, PKCS #8

    def file_content(self, url: str) -> dict[str, str]:
        """The JSON that Google lets one download; its ``token_uri`` is the twin at ``url``."""
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": self.key_id,
            "private_key": self.private_key,
            "client_email": self.email,
            "client_id": str(int(self.key_id[:12], 16)),
            "auth_uri": f"{url}/o/oauth2/auth",
            "token_uri": url + TOKEN_PATH,
            "auth_provider_x509_cert_url": f"{url}/oauth2/v1/certs",
            "client_x509_cert_url": f"{url}/robot/v1/metadata/x509/{self.email}",
            "universe_domain": "googleapis.com",
        }


@cache
def make_service_account(name: str, key_bits: int = 2048) -> ServiceAccount:
    """An account with a key, the same for a name as long as this process runs.

    A key of 2048 bits takes some tenths of a second, and 25 ms each time it is read.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=key_bits)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    return ServiceAccount(
        f"{name}@{PROJECT}.iam.gserviceaccount.com",
        secrets.token_hex(20),
        pem,
    )


def read_service_account(path: Path, url: str) -> ServiceAccount | None:
    """The account in a file written by `write_service_account`; None if there is none for a twin at that URL."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        account = ServiceAccount(
            content["client_email"],
            content["private_key_id"],
            content["private_key"],
        )
        is_own = content == account.file_content(url)
        _public_key(account.private_key)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if is_own:
        return account
    return None


def write_service_account(path: Path, account: ServiceAccount, url: str) -> None:
    """Write the file, readable for its owner only."""
    content = json.dumps(account.file_content(url), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)


@dataclass(frozen=True)
class Grant:
    """What an access token allows."""

    email: str
    scopes: frozenset[str]
    expires: datetime


class TokenIssuer:
    """Knows the service accounts and gives out access tokens."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.accounts: dict[str, ServiceAccount] = {}
        self._grants: dict[str, Grant] = {}
        self._now = now

    def revoke(self) -> None:
        """Make every token handed out so far invalid."""
        self._grants.clear()

    def grant(self, token: str) -> Grant | None:
        """What the token allows; None if it is unknown, revoked or expired by the twin's clock."""
        grant = self._grants.get(token)
        if grant is not None and grant.expires > self._now():
            return grant
        return None

    def issue(self, grant_type: str, assertion: str, token_uri: str) -> dict[str, Any]:
        """The answer to a token request.

        Args:
            grant_type: must be `GRANT_TYPE`.
            assertion: JWT of a service account, signed with RS256.
            token_uri: URL of this endpoint; the JWT's audience must be it or `GOOGLE_AUDIENCE`.

        Raises:
            TokenRefusedError: no token.
        """
        if grant_type != GRANT_TYPE:
            raise TokenRefusedError(
                400,
                "unsupported_grant_type",
                f"Invalid grant_type: {grant_type}",
            )
        email, scopes = self._verified(assertion, token_uri)
        now = self._now()
        self._grants = {
            token: grant for token, grant in self._grants.items() if grant.expires > now
        }
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self._grants[token] = Grant(email, scopes, now + TOKEN_LIFETIME)
        return {
            "access_token": token,
            "expires_in": int(TOKEN_LIFETIME.total_seconds()),
            "token_type": "Bearer",
        }

    def _verified(self, assertion: str, token_uri: str) -> tuple[str, frozenset[str]]:
        """Account and scopes of a valid assertion."""
        header, claims, signed, signature = _decode(assertion)
        account = self.accounts.get(str(claims.get("iss")))
        if account is None:
            raise _invalid_grant("Invalid grant: account not found")
        _check_signature(account, header, signed, signature)
        if claims.get("aud") not in {token_uri, GOOGLE_AUDIENCE}:
            raise _invalid_grant("Invalid JWT: Failed audience check.")
        _check_lifetime(claims)
        if claims.get("sub", account.email) != account.email:
            raise TokenRefusedError(
                401,
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any "
                "of the scopes requested.",
            )
        requested = claims.get("scope") or ""
        scopes = frozenset(str(requested).split())
        if not scopes or not scopes <= SCOPES:
            raise TokenRefusedError(
                400,
                "invalid_scope",
                "Invalid OAuth scope or ID token audience provided.",
            )
        return account.email, scopes


def _check_signature(
    account: ServiceAccount,
    header: dict[str, Any],
    signed: bytes,
    signature: bytes,
) -> None:
    if header.get("alg") != "RS256":
        raise _invalid_grant("Invalid JWT Signature.")
    if header.get("kid", account.key_id) != account.key_id:
        raise _invalid_grant("Invalid JWT Signature.")
    key = _public_key(account.private_key)
    try:
        key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise _invalid_grant("Invalid JWT Signature.") from None


def _check_lifetime(claims: dict[str, Any]) -> None:
    if not _is_current(claims.get("iat"), claims.get("exp")):
        raise _invalid_grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat "
            "and exp values in the JWT claim.",
        )


def _is_current(issued: object, expires: object) -> bool:
    """By the real clock: the caller's does not move with the twin's."""
    if not isinstance(issued, int | float):
        return False
    if not isinstance(expires, int | float):
        return False
    now = datetime.now(UTC).timestamp()
    skew = CLOCK_SKEW.total_seconds()
    if issued > now + skew:
        return False
    if expires < now - skew:
        return False
    lifetime = expires - issued
    return 0 < lifetime <= MAX_ASSERTION_LIFETIME.total_seconds()


def _decode(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, signed bytes and signature."""
    segments = assertion.split(".")
    try:
        header, claims, signature = map(_decode_segment, segments)
        decoded_header = json.loads(header)
        decoded_claims = json.loads(claims)
    except (ValueError, binascii.Error):
        raise _invalid_grant("Bad Request") from None
    for part in (decoded_header, decoded_claims):
        if not isinstance(part, dict):
            raise _invalid_grant("Bad Request")
    signed = ".".join(segments[:2]).encode()
    return decoded_header, decoded_claims, signed, signature


def _decode_segment(segment: str) -> bytes:
    padding_characters = "=" * (-len(segment) % 4)
    return base64.b64decode(segment + padding_characters, altchars=b"-_", validate=True)


@cache
def _public_key(private_key: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_private_key(private_key.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key.public_key()


def _invalid_grant(description: str) -> TokenRefusedError:
    return TokenRefusedError(400, "invalid_grant", description)
