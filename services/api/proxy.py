"""The HTTP proxy to Advoware for internal tools: Advoware without its login dance, with honest errors."""

from __future__ import annotations

from typing import Any

from services.advoware import REPEATABLE_METHODS, AdvowareAPI
from services.api.access import AccessDenied, admit_tool
from services.api.proxy_answer import CannotShow, shown
from services.api.proxy_request import BodyTooLarge, read_body, read_query
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    WriteProtected,
)
from services.core.http import HttpAnswer
from services.core.log import log
from services.core.resources import current_resources

Body = dict[str, Any]
Answer = tuple[int, Body, dict[str, str]]

#: The engine gives up on a request after 30 s and answers an empty 504; ours says what happened.
PROXY_SECONDS = 25.0


async def forward(request: Any, method: str, context: Any) -> Answer:
    """Forward a request to the Advoware path in the query parameter ``endpoint``.

    All other query parameters are passed on in their order, and for POST and PUT the JSON body. Returns status, body
    and headers: 200 ``{"result": ...}``; 400 or 413 for an unusable request; 401 without API key; Advoware's own 4xx
    as it is; 502 if Advoware is unreachable or broken; 504 if it is slow; 500 for a defect or wrong configuration of
    ours. ``Retry-After`` is the only header.
    """
    resources = current_resources()
    try:
        await admit_tool(request, resources, context)
        pairs = read_query(request)
        endpoints = [value for name, value in pairs if name == "endpoint"]
        if not any(endpoints):
            return 400, {"error": "Endpoint required as query param"}, {}
        if len(endpoints) > 1:
            raise InvalidInput("endpoint must be given once")
        answer = await AdvowareAPI(context).request(
            endpoints[0],
            method,
            params=[(name, value) for name, value in pairs if name != "endpoint"],
            body=await read_body(request) if method in {"POST", "PUT"} else None,
            timeout_seconds=min(
                PROXY_SECONDS, resources.settings.advoware.api_timeout_seconds
            ),
        )
    except AccessDenied as error:  # logged by the door
        return *describe(error), {}
    except (
        InvalidInput,
        WriteProtected,
        ConfigurationError,
        ForeignSystemError,
    ) as error:
        status, body = describe(error)
        log(
            context,
            "warning",
            "proxy.refused",
            method=method,
            status=status,
            error=type(error).__name__,
        )
        return status, body, _headers(error)
    return *_describe_success(answer, method, context), {}


def _describe_success(
    answer: HttpAnswer, method: str, context: Any
) -> tuple[int, Body]:
    """What Advoware has accepted is a success: a caller who took a write for failed would repeat it.

    A read whose answer cannot be shown is 502: it may be repeated, and its answer is all that it is for.
    """
    try:
        return 200, {"result": shown(answer)}
    except CannotShow as error:
        log(
            context,
            "warning",
            "proxy.not_shown",
            method=method,
            upstream_status=answer.status,
            reason=str(error),
        )
        if method in REPEATABLE_METHODS:
            details = f"{error}; ask with narrower filters if it is a list"
            return 502, {
                "error": "Unusable answer",
                "details": details,
                "upstream_status": answer.status,
            }
        note = f"Advoware has accepted the request (status {answer.status}); do not repeat it. {error}"
        return 200, {
            "result": {"not_shown": note} if error.text is None else error.text
        }


def _headers(error: Exception) -> dict[str, str]:
    retry_after = error.retry_after if isinstance(error, ForeignSystemError) else None
    return {"Retry-After": retry_after} if retry_after else {}


def describe(error: Exception) -> tuple[int, Body]:
    """Status and body for an error, without secrets; ``details`` is what Advoware said."""
    match error:
        case AccessDenied():
            return 401, {"error": "Unauthorized", "details": str(error)}
        case BodyTooLarge():
            return 413, {"error": "Body too large", "details": str(error)}
        case InvalidInput():
            return 400, {"error": "Invalid request", "details": str(error)}
        case WriteProtected():
            return 403, {"error": "Write protected", "details": str(error)}
        case ConfigurationError():
            return 500, {"error": "Configuration error", "details": str(error)}
        case UpstreamTimeout():
            return 504, {
                "error": "Advoware timeout",
                "details": str(error),
                "upstream_status": error.status,
            }
        case UnexpectedAnswer():
            return 502, {
                "error": "Unusable answer",
                "details": str(error),
                "upstream_status": error.status,
            }
        case Unavailable():
            return 502, {
                "error": "Advoware unavailable",
                "details": str(error),
                "upstream_status": error.status,
            }
        case ForeignSystemError(status=int(status), details=details, reason=reason):
            return status, {
                "error": "Advoware error",
                "details": details or reason,
                "upstream_status": status,
            }
        case _:
            return 502, {"error": "Advoware unavailable", "details": str(error)}
