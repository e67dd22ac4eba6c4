"""The HTTP proxy to Advoware for internal tools: Advoware without its login dance, with honest errors."""

from __future__ import annotations

import json
from typing import Any

from services.access import AccessDenied, admit_tool
from services.advoware import AdvowareAPI
from services.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    WriteProtected,
)
from services.logs import log
from services.resources import current_resources

Answer = tuple[int, dict[str, Any]]

#: The engine gives up on a request after 30 s and answers an empty 504; ours says what happened.
PROXY_SECONDS = 25.0
#: The worker's connection takes messages up to 16 MiB; some room for the envelope and a second encoding.
MAX_RESULT_BYTES = 12 * 2**20


async def forward(request: Any, method: str, context: Any) -> Answer:
    """Forward a request to the Advoware path in the query parameter ``endpoint``.

    All other query parameters are passed on, and for POST and PUT the JSON body. Returns status and body:
    200 ``{"result": ...}``; 400 for an unusable request; 401 without API key; Advoware's own 4xx as it is; 502 if
    Advoware is unreachable or broken; 504 if it is slow; 500 for a defect or wrong configuration of ours.
    """
    resources = current_resources()
    try:
        await admit_tool(request, resources, context)
        params = dict(request.query_params or {})
        endpoint = params.pop("endpoint", None)
        if not endpoint:
            return 400, {"error": "Endpoint required as query param"}
        result = await AdvowareAPI(context).api_call(
            str(endpoint),
            method,
            params=params,
            json_data=_json_body(request) if method in {"POST", "PUT"} else None,
            timeout_seconds=min(PROXY_SECONDS, resources.settings.advoware.api_timeout_seconds),
        )
        _refuse_too_large(result)
    except AccessDenied as error:  # logged by the door
        return describe(error)
    except (InvalidInput, WriteProtected, ConfigurationError, ForeignSystemError) as error:
        status, body = describe(error)
        log(context, "warning", "proxy.refused", method=method, status=status, error=type(error).__name__)
        return status, body
    return 200, {"result": result}


def _json_body(request: Any) -> Any:
    """The JSON body. The engine hands over None for an empty body and for one that is not JSON; they must differ."""
    body = request.body
    length = str(request.headers.get("content-length", "0"))
    if body is None and (length != "0" or "transfer-encoding" in request.headers):
        raise InvalidInput("the body must be JSON (Content-Type: application/json)")
    return body


def _refuse_too_large(result: Any) -> None:
    if result is not None and len(json.dumps(result)) > MAX_RESULT_BYTES:
        raise UnexpectedAnswer("Advoware", "the answer is too large for the proxy; ask with narrower filters")


def describe(error: Exception) -> Answer:
    """Status and body for an error, without secrets; ``details`` is what Advoware said."""
    match error:
        case AccessDenied():
            return 401, {"error": "Unauthorized", "details": str(error)}
        case InvalidInput():
            return 400, {"error": "Invalid request", "details": str(error)}
        case WriteProtected():
            return 403, {"error": "Write protected", "details": str(error)}
        case ConfigurationError():
            return 500, {"error": "Configuration error", "details": str(error)}
        case UpstreamTimeout():
            return 504, {"error": "Advoware timeout", "details": str(error), "upstream_status": error.status}
        case Unavailable() | UnexpectedAnswer():
            return 502, {"error": "Advoware unavailable", "details": str(error), "upstream_status": error.status}
        case ForeignSystemError(status=int(status), details=details, reason=reason):
            return status, {"error": "Advoware error", "details": details or reason, "upstream_status": status}
        case _:
            return 502, {"error": "Advoware unavailable", "details": str(error)}
