"""The HTTP proxy to Advoware for internal tools: Advoware without its login dance, with honest errors."""

from __future__ import annotations

from typing import Any

from services.advoware import REPEATABLE_METHODS, AdvowareAPI
from services.api.access import admit_tool, log_use
from services.api.errors import (
    AccessDenied,
    AnswerWithHeaders,
    Body,
    NotPermitted,
    answer_headers,
    error_answer,
    gateway_answer,
)
from services.api.proxy_answer import CannotShow, shown
from services.api.proxy_request import Pairs, read_body, read_query
from services.api.rights import loggable
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    Paused,
    ReadOnly,
    WriteProtected,
)
from services.core.http import HttpAnswer
from services.core.log import log
from services.core.resources import current_resources

#: The engine gives up on a request after 30 s and answers an empty 504; an answer before that says what happened.
PROXY_SECONDS = 25.0


async def forward(request: Any, method: str, context: Any) -> AnswerWithHeaders:
    """Forward a request to the Advoware path in the query parameter ``endpoint``.

    All other query parameters are passed on in their order, and for POST and PUT the JSON body. Returns status, body
    and headers: 200 ``{"result": ...}``; 400 or 413 for an unusable request; 401 without API key, 403 if it has no
    right to this, 429 after many wrong keys; Advoware's own 4xx as it is; 502 if Advoware is unreachable or broken; 504
    if it is slow; 500 for a defect or a wrong configuration here. ``Retry-After`` is the only header.
    """
    resources = current_resources()
    try:
        caller = await admit_tool(request, resources, context)
    except AccessDenied as error:  # it was logged where it was raised
        return *error_answer(error), answer_headers(error)
    try:
        pairs = read_query(request)
        endpoint = _endpoint(pairs)
        if endpoint is None:
            return 400, {"error": "Endpoint required as query param"}, {}
        caller.require_proxy(method, endpoint)
        body = await read_body(request) if method in {"POST", "PUT"} else None
        answer = await AdvowareAPI(context).request(
            endpoint,
            method,
            params=[(name, value) for name, value in pairs if name != "endpoint"],
            body=body,
            timeout_seconds=min(
                PROXY_SECONDS,
                resources.settings.advoware.api_timeout_seconds,
            ),
        )
    except (
        NotPermitted,
        InvalidInput,
        Paused,
        ReadOnly,
        WriteProtected,
        ConfigurationError,
        ForeignSystemError,
    ) as error:
        status, problem = gateway_answer(error)
        log(
            context,
            "warning",
            "proxy.refused",
            method=method,
            status=status,
            error=type(error).__name__,
            key=caller.name,
        )
        return status, problem, answer_headers(error)
    log_use(context, caller, "proxy", method=method, path=loggable(endpoint))
    return *_describe_success(answer, method, context), {}


def _endpoint(pairs: Pairs) -> str | None:
    """The path to ask in Advoware; None if it is missing.

    Raises:
        InvalidInput: it is given more than once.
    """
    endpoints = [value for name, value in pairs if name == "endpoint"]
    if not any(endpoints):
        return None
    if len(endpoints) > 1:
        raise InvalidInput("endpoint must be given once")
    return endpoints[0]


def _describe_success(
    answer: HttpAnswer,
    method: str,
    context: Any,
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
        if error.text is not None:
            return 200, {"result": error.text}
        note = f"Advoware has accepted the request (status {answer.status}); do not repeat it. {error}"
        return 200, {"result": {"not_shown": note}}
