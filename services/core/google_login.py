"""The login of a service account at Google."""

from __future__ import annotations

from google.oauth2 import service_account


class ServiceAccount(service_account.Credentials):
    """A service account that asks the endpoint of its key file for tokens, and no other host for anything.

    google-auth (2.62) asks iamcredentials.googleapis.com besides, with the token, in which regions the account may be
    used: in a thread of its own, through the connections of the thread that sends the request, up to six times where a
    firewall lets nothing through, and also in a sandbox, whose account is invented. A calendar has no such regions.
    """

    def _is_regional_access_boundary_lookup_required(self) -> bool:
        return False
