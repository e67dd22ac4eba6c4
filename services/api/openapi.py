"""The description of our endpoints, OpenAPI 3.1: made of the models and of the table of errors that the steps use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from services.api import models
from services.api.errors import (
    ANSWERS,
    GATEWAY_ANSWERS,
    AccessDenied,
    BodyTooLarge,
    ErrorAnswer,
    NotPermitted,
    NotSetUp,
    TooManyAttempts,
)
from services.api.next_call import ResetRequest
from services.core.errors import (
    ConfigurationError,
    EntityBusy,
    InvalidInput,
    Paused,
    WriteProtected,
)

REF = "#/components/schemas/{model}"
JSON = "application/json"
Access = Literal["public", "tool", "webhook", "action"]
Document = dict[str, Any]

#: The errors that each kind of caller may meet, beside those that the endpoint names.
_ERRORS: Mapping[Access, tuple[type[Exception], ...]] = {
    "public": (),
    "tool": (AccessDenied, NotPermitted, TooManyAttempts, InvalidInput),
    "webhook": (AccessDenied, InvalidInput, Exception),
    "action": (
        *(AccessDenied, InvalidInput, NotSetUp, EntityBusy),
        *(Paused, TimeoutError, Exception),
    ),
}
#: Words of buttons that no row of the table has: what the record or Advoware says.
_REFUSALS = {404: ("unknown",), 409: ("not_gone", "is_there", "restored")}
_SECURITY: Mapping[Access, list[Document]] = {
    "public": [],
    "tool": [{"apiKey": []}, {"bearer": []}, {}],
    "webhook": [{"webhookToken": []}, {"webhookBasic": []}, {}],
    "action": [{"actionSignature": [], "actionTimestamp": []}],
}
_SCHEMES: Document = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "A key of BITBYLAW_NAMED_KEYS or BITBYLAW_API_KEYS; none is needed while all systems are twins.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
    "webhookToken": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "ESPOCRM_WEBHOOK_TOKEN",
    },
    "webhookBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "The token as password, any user.",
    },
    "actionSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bitbylaw-Signature",
        "description": "HMAC-SHA256 with ESPOCRM_ACTION_SECRET over time, method, path and body, one a line.",
    },
    "actionTimestamp": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bitbylaw-Timestamp",
        "description": "Unix seconds, at most five minutes old.",
    },
}
_ENDPOINT_PARAMETER: Document = {
    "name": "endpoint",
    "in": "query",
    "required": True,
    "description": "Path in Advoware; all other query parameters are passed on.",
    "schema": {"type": "string", "minLength": 1},
    "example": "api/v1/advonet/Mitarbeiter",
}
_GREETING_PARAMETER: Document = {
    "name": "id",
    "in": "query",
    "description": "Has the greeting with this id arrived?",
    "schema": {"type": "string"},
}

_RETRY_AFTER: Document = {
    "description": "Seconds after which a wrong key is answered 401 again; the right one is always taken.",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9]+$"},
}


@dataclass(frozen=True)
class Endpoint:
    """One HTTP endpoint.

    Attributes:
        answers: the model of each status that is no error.
        errors: errors beside those of all callers of this kind.
        request: the model of the body, None without one; a list takes one record as well.
        is_optional: whether the body may be left out.
        is_gateway: whether Advoware's own refusals are passed on, with their status.
    """

    method: str
    path: str
    tag: str
    summary: str
    access: Access
    answers: Mapping[int, Any]
    errors: tuple[type[Exception], ...] = ()
    request: Any = None
    is_optional: bool = False
    is_gateway: bool = False
    parameters: tuple[Document, ...] = field(default=())


def _webhook(entity: str, action: str) -> Endpoint:
    return Endpoint(
        "POST",
        f"/vmh/webhook/{entity}/{action}",
        "webhooks",
        f"EspoCRM reports that {entity} were changed ({action})",
        "webhook",
        {200: models.WebhookAnswer},
        request=list[models.WebhookRecord],
    )


def _proxy(method: str, *, has_body: bool) -> Endpoint:
    return Endpoint(
        method,
        "/advoware/proxy",
        "proxy",
        f"{method} in Advoware, without its login",
        "tool",
        {200: models.ProxyAnswer},
        errors=(Paused, WriteProtected, BodyTooLarge, ConfigurationError),
        request=Any if has_body else None,
        is_optional=has_body,
        is_gateway=True,
        parameters=(_ENDPOINT_PARAMETER,),
    )


def _action(name: str, summary: str, request: Any, answer: Any) -> Endpoint:
    path = f"/vmh/beteiligte/actions/{name}"
    return Endpoint(
        "POST",
        path,
        "buttons",
        summary,
        "action",
        {200: answer},
        request=request,
    )


ENDPOINTS = (
    _proxy("GET", has_body=False),
    _proxy("POST", has_body=True),
    _proxy("PUT", has_body=True),
    _proxy("DELETE", has_body=False),
    Endpoint(
        "POST",
        "/advoware/calendar/sync",
        "calendar",
        "Start the calendar sync of one employee or of all",
        "tool",
        {200: models.StartAnswer, 409: models.StartAnswer},
        errors=(ConfigurationError, Exception),
        request=models.StartRequest,
        is_optional=True,
        is_gateway=True,
    ),
    Endpoint(
        "POST",
        "/crm-bbl-vmh-reset-nextcall",
        "records",
        "Set the date of the next call on records in EspoCRM",
        "tool",
        {200: models.ResetAnswer},
        request=ResetRequest,
    ),
    *(
        _webhook(entity, action)
        for entity in ("beteiligte", "bankverbindungen")
        for action in ("create", "update", "delete")
    ),
    _action("sync", "Sync records now", models.ActionIds, models.QueuedAnswer),
    _action(
        "preview",
        "What the sync of a record would do",
        models.ActionId,
        models.PreviewAnswer,
    ),
    _action(
        "create-again",
        "Create a record again that is gone from Advoware",
        models.ActionId,
        models.QueuedAnswer,
    ),
    Endpoint(
        "GET",
        "/health",
        "operations",
        "State of the system",
        "public",
        {200: models.HealthAnswer, 503: models.HealthAnswer},
    ),
    Endpoint(
        "GET",
        "/hello",
        "operations",
        "Smoke test through HTTP, worker and queue",
        "public",
        {200: models.HelloAnswer, 404: models.HelloAnswer},
        parameters=(_GREETING_PARAMETER,),
    ),
    Endpoint(
        "GET",
        "/",
        "operations",
        "Where to look",
        "public",
        {200: models.WhereToLook},
    ),
    Endpoint(
        "GET",
        "/openapi.json",
        "operations",
        "This description",
        "public",
        {200: dict[str, Any]},
    ),
)
#: The names under `components`.
_DESCRIBED = frozenset({*vars(models), ResetRequest.__name__})


def document() -> Document:
    """The whole description; the same each time."""
    paths: dict[str, Document] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint,
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "BitByLaw",
            "version": "1",
            "description": "Keeps EspoCRM, Advoware and Google Calendar consistent.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SCHEMES},
    }


def _schemas() -> Document:
    used = [
        kind
        for kind in vars(models).values()
        if isinstance(kind, type) and kind.__module__ == models.__name__
    ]
    kinds: Any = [(kind, "validation") for kind in [*used, ResetRequest]]
    _, schemas = models_json_schema(kinds, ref_template=REF)
    found: Document = schemas["$defs"]
    return found


def _operation(endpoint: Endpoint) -> Document:
    operation: Document = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "security": _SECURITY[endpoint.access],
        "responses": _responses(endpoint),
    }
    if endpoint.parameters:
        operation["parameters"] = list(endpoint.parameters)
    if endpoint.request is not None:
        operation["requestBody"] = {
            "required": not endpoint.is_optional,
            "content": {JSON: {"schema": _schema(endpoint.request)}},
        }
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = endpoint.path.strip("/").replace(".", "_").replace("-", "_").split("/")
    return "_".join([endpoint.method.lower(), *words])


def _schema(kind: Any) -> Document:
    schema = TypeAdapter(kind).json_schema(ref_template=REF)
    schema.pop("$defs", None)
    title = schema.get("title")
    if title in _DESCRIBED:
        return {"$ref": REF.format(model=title)}
    return schema


# -- answers ------------------------------------------------------------------------------------------------------


def _responses(endpoint: Endpoint) -> Document:
    responses: dict[str, Document] = {}
    for status, kind in endpoint.answers.items():
        responses[str(status)] = _response(_meaning(kind), kind)
        if status == 409:
            _add_example_of_locked(responses)
    for status, rows in _by_status(_rows(endpoint)).items():
        _add_error(responses, endpoint, status, rows)
    if endpoint.access == "action":
        for status, reasons in _REFUSALS.items():
            _add_reasons(responses, status, reasons)
    if endpoint.is_gateway:
        responses["4XX"] = _response("Advoware's own refusal", models.ErrorBody)
    return responses


def _add_example_of_locked(responses: dict[str, Document]) -> None:
    example = {"status": "locked", "kuerzel": "SB", "message": "try again"}
    content = responses["409"]["content"][JSON]
    content["examples"] = {"Locked": {"value": example}}


def _meaning(kind: Any) -> str:
    """What a model says of itself; Python's own types say nothing about an answer."""
    is_model = isinstance(kind, type)
    return (kind.__doc__ if is_model else None) or "As described"


def _response(description: str, kind: Any) -> Document:
    content: Document = {"schema": _schema(kind)}
    return {
        "description": description.partition("\n")[0],
        "content": {JSON: content},
    }


def _rows(endpoint: Endpoint) -> list[ErrorAnswer]:
    wanted = {*_ERRORS[endpoint.access], *endpoint.errors}
    rows = [row for row in ANSWERS if row.kind in wanted]
    if endpoint.is_gateway:
        return [*rows, *GATEWAY_ANSWERS]
    return rows


def _by_status(rows: Iterable[ErrorAnswer]) -> dict[int, list[ErrorAnswer]]:
    found: dict[int, list[ErrorAnswer]] = {}
    for row in rows:
        found.setdefault(row.status, []).append(row)
    return dict(sorted(found.items()))


def _add_error(
    responses: dict[str, Document],
    endpoint: Endpoint,
    status: int,
    rows: list[ErrorAnswer],
) -> None:
    """An error's answer; where an ordinary one has the same status, either may come."""
    if endpoint.access == "action":
        # What the dialog has no word for is 503.
        reasons = [row.reason for row in rows]
        _add_reasons(responses, status, reasons)
        return
    answer = _response("; ".join(row.error for row in rows), models.ErrorBody)
    content = answer["content"][JSON]
    content["examples"] = _examples(rows)
    known = responses.get(str(status))
    if known is not None:
        content["schema"] = {
            "anyOf": [known["content"][JSON]["schema"], content["schema"]],
        }
    if any(row.kind is TooManyAttempts for row in rows):
        answer["headers"] = {"Retry-After": _RETRY_AFTER}
    responses[str(status)] = answer


def _examples(rows: list[ErrorAnswer]) -> Document:
    return {
        row.error.replace(" ", "_"): {
            "value": {"error": row.error, "details": "what is wrong, and what helps"},
        }
        for row in rows
    }


def _add_reasons(
    responses: dict[str, Document],
    status: int,
    reasons: Iterable[str],
) -> None:
    answer = responses.setdefault(str(status), _response("", models.ActionError))
    examples = answer["content"][JSON].setdefault("examples", {})
    for reason in reasons:
        examples[reason] = {"value": {"reason": reason}}
    answer["description"] = ", ".join(examples)
