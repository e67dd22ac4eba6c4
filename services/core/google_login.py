"""The login of a service account at Google."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.auth import crypt
from google.auth.credentials import DEFAULT_UNIVERSE_DOMAIN
from google.oauth2 import service_account
from pydantic import AnyHttpUrl, BaseModel


class _KeyFile(BaseModel):
    """What google-auth takes for granted in a key file: as anything else it would fail somewhere in a request."""

    client_email: str
    private_key: str
    private_key_id: str | None = None
    token_uri: AnyHttpUrl
    universe_domain: str = DEFAULT_UNIVERSE_DOMAIN


class ServiceAccount(service_account.Credentials):
    """A service account that asks the endpoint of its key file for tokens, and no other host for anything.

    google-auth (2.62) asks iamcredentials.googleapis.com besides, with the token, in which regions the account may be
    used: in a thread of its own, through the connections of the thread that sends the request, up to six times where a
    firewall lets nothing through, and also in a sandbox, whose account is invented. A calendar has no such regions.
    """

    def _is_regional_access_boundary_lookup_required(self) -> bool:
        return False


def account_of(key_file: str, scope: str) -> Any:
    """The `ServiceAccount` of a key file's content, for this scope.

    Raises:
        ValueError, google.auth.exceptions.GoogleAuthError: this is not the key of a service account.
    """
    key = _KeyFile.model_validate_json(key_file)
    account: Any = ServiceAccount
    return account(
        _signer(key.private_key, key.private_key_id),
        key.client_email,
        str(key.token_uri),
        scopes=[scope],
        universe_domain=key.universe_domain,
    )


@lru_cache(maxsize=1)
def _signer(private_key: str, key_id: str | None) -> Any:
    """Kept: to read a private key takes as long as many requests, and each thread and new connection needs it."""
    signer: Any = crypt.RSASigner
    return signer.from_string(private_key, key_id)
