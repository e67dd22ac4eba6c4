"""Refusals of the Google Calendar API, in Google's words and JSON shape.

Status, domain, reason and message follow Google's "Handle API errors" guide and error bodies quoted in public issue
trackers; where neither shows a case, the nearest documented reason is used.
"""

from __future__ import annotations

from aiohttp import web


class ApiError(Exception):
    """One refusal; `json_response` is what the caller gets.

    ``location`` names the parameter or header to blame; ``headers`` go into the answer.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        location: str | None = None,
        location_type: str = "parameter",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.headers = headers or {}
        self.detail = {"domain": domain, "reason": reason, "message": message}
        if location is not None:
            self.detail["locationType"] = location_type
            self.detail["location"] = location

    def json_response(self) -> web.Response:
        """The answer to the caller."""
        error = {
            "errors": [self.detail],
            "code": self.status,
            "message": self.detail["message"],
        }
        return web.json_response(
            {"error": error},
            status=self.status,
            headers=self.headers,
        )


def invalid(
    message: str,
    location: str | None = None,
    *,
    reason: str = "invalid",
) -> ApiError:
    """400: a value makes no sense."""
    return ApiError(400, reason, message, location=location)


def required(message: str) -> ApiError:
    """400: something is missing."""
    return ApiError(400, "required", message)


def time_range_empty() -> ApiError:
    """400: an event or a query ends before it starts, or at its start."""
    message = "The specified time range is empty."
    return ApiError(
        400,
        "timeRangeEmpty",
        message,
        domain="calendar",
        location="timeMax",
    )


def unauthenticated() -> ApiError:
    """401: no bearer token at all."""
    challenge = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'}
    return ApiError(
        401,
        "required",
        "Login Required.",
        location="Authorization",
        location_type="header",
        headers=challenge,
    )


def invalid_credentials() -> ApiError:
    """401: the token is unknown, expired or revoked."""
    challenge = {
        "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"',
    }
    return ApiError(
        401,
        "authError",
        "Invalid Credentials",
        location="Authorization",
        location_type="header",
        headers=challenge,
    )


def insufficient_scope() -> ApiError:
    """403: the token's scopes do not cover the method."""
    challenge = {
        "WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="insufficient_scope"',
    }
    return ApiError(
        403,
        "insufficientPermissions",
        "Insufficient Permission",
        headers=challenge,
    )


def forbidden() -> ApiError:
    """403 without further explanation."""
    return ApiError(403, "forbidden", "Forbidden")


def not_found() -> ApiError:
    """404: it does not exist, or the caller may not know that it does."""
    return ApiError(404, "notFound", "Not Found")


def duplicate() -> ApiError:
    """409: the id is taken, be it by a deleted event."""
    return ApiError(409, "duplicate", "The requested identifier already exists.")


def already_deleted() -> ApiError:
    """410: deleting what is deleted."""
    return ApiError(410, "deleted", "Resource has been deleted")


def full_sync_required() -> ApiError:
    """410: the sync token has expired or never was one."""
    message = "Sync token is no longer valid, a full sync is required."
    return ApiError(
        410,
        "fullSyncRequired",
        message,
        domain="calendar",
        location="syncToken",
    )


def updated_min_too_long_ago() -> ApiError:
    """410: deletions are not remembered as far back as ``updatedMin``."""
    message = "The requested minimum modification time lies too far in the past."
    return ApiError(
        410,
        "updatedMinTooLongAgo",
        message,
        domain="calendar",
        location="updatedMin",
    )


def condition_not_met() -> ApiError:
    """412: the resource has another etag than ``If-Match`` asks for."""
    return ApiError(
        412,
        "conditionNotMet",
        "Precondition Failed",
        location="If-Match",
        location_type="header",
    )


_QUOTA_MESSAGES = {
    "rateLimitExceeded": "Rate Limit Exceeded",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "quotaExceeded": "Calendar usage limits exceeded.",
}
QUOTA_REASONS = frozenset(_QUOTA_MESSAGES)


def quota(reason: str, status: int = 403) -> ApiError:
    """403 (or 429): one of `QUOTA_REASONS`."""
    return ApiError(status, reason, _QUOTA_MESSAGES[reason], domain="usageLimits")


def for_status(status: int) -> ApiError:
    """What Google says with this status when nothing more is known; for faults without a body."""
    known = {
        401: invalid_credentials(),
        403: forbidden(),
        404: not_found(),
        410: already_deleted(),
        412: condition_not_met(),
        429: quota("rateLimitExceeded", 429),
    }
    error = known.get(status)
    if error is not None:
        return error
    if status >= 500:
        return ApiError(status, "backendError", "Backend Error")
    return ApiError(status, "badRequest", "Bad Request")
