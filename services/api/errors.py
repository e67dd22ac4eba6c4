"""From an error to an HTTP answer: one table for all endpoints, and the few exceptions that an endpoint names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.core.errors import (
    BitByLawError,
    ConfigurationError,
    EntityBusy,
    ForeignSystemError,
    InvalidInput,
    NotFound,
    Paused,
    ReadOnly,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    WriteProtected,
)

Body = dict[str, Any]
Headers = dict[str, str]
Answer = tuple[int, Body]
AnswerWithHeaders = tuple[int, Body, Headers]


class AccessDenied(BitByLawError):
    """The caller did not prove who it is."""


class TooManyAttempts(AccessDenied):
    """So many wrong keys came lately that this one is answered with 429. The right key is never answered with it."""

    retry_after_seconds = 60


class NotPermitted(AccessDenied):
    """The caller's key is right, and has no right to what was asked."""


class NotSetUp(BitByLawError):
    """The buttons in EspoCRM have no key yet."""


class ActionRefused(BitByLawError):
    """The action does not fit the record as it is; ``reason`` is the word for EspoCRM."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BodyTooLarge(InvalidInput):
    """The body of a request is larger than what is taken."""


@dataclass(frozen=True)
class ErrorAnswer:
    """How an error is answered.

    Attributes:
        kind: the error and all below it for which no earlier row stands.
        error: what it is called in the body's ``error``.
        reason: the word for the dialog of EspoCRM's buttons.
    """

    kind: type[Exception]
    status: int
    error: str
    reason: str = "unavailable"


#: The first row that fits counts.
ANSWERS = (
    ErrorAnswer(NotSetUp, 503, "Not set up", "not_set_up"),
    ErrorAnswer(TooManyAttempts, 429, "Too many attempts", "not_admitted"),
    ErrorAnswer(NotPermitted, 403, "Not permitted", "not_admitted"),
    ErrorAnswer(AccessDenied, 401, "Unauthorized", "not_admitted"),
    ErrorAnswer(BodyTooLarge, 413, "Body too large", "invalid"),
    ErrorAnswer(InvalidInput, 400, "Invalid request", "invalid"),
    ErrorAnswer(Paused, 503, "Paused", "busy"),
    ErrorAnswer(EntityBusy, 409, "Busy", "busy"),
    ErrorAnswer(WriteProtected, 403, "Write protected"),
    ErrorAnswer(ReadOnly, 403, "Read only"),
    ErrorAnswer(ConfigurationError, 500, "Configuration error"),
    ErrorAnswer(TimeoutError, 503, "Too slow", "slow"),
    ErrorAnswer(Exception, 503, "Temporarily unavailable"),
)
#: Exceptions of what passes Advoware's answers on: it stands between the caller and Advoware, as a gateway does.
GATEWAY_ANSWERS = (
    ErrorAnswer(UpstreamTimeout, 504, "Advoware timeout"),
    ErrorAnswer(UnexpectedAnswer, 502, "Unusable answer"),
    ErrorAnswer(Unavailable, 502, "Advoware unavailable"),
    ErrorAnswer(ForeignSystemError, 502, "Advoware error"),
)


def error_answer(error: Exception, *, title: str | None = None) -> Answer:
    """Status and ``{"error", "details"}`` for an error, without secrets; ``title`` in place of the table's own."""
    row = _row(ANSWERS, error)
    return row.status, {"error": title or row.error, "details": str(error)}


def answer_headers(error: Exception) -> Headers:
    """The headers of an error's answer: ``Retry-After``, of BitByLaw or of the foreign system."""
    if isinstance(error, TooManyAttempts):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, ForeignSystemError) and error.retry_after:
        return {"Retry-After": error.retry_after}
    return {}


def gateway_answer(error: Exception) -> Answer:
    """As `error_answer`; a refusal of Advoware keeps its status, and ``details`` is what Advoware answered."""
    if not isinstance(error, ForeignSystemError):
        return error_answer(error)
    row = _row(GATEWAY_ANSWERS, error)
    if row.kind is not ForeignSystemError:
        body = {"error": row.error, "details": str(error)}
        return row.status, {**body, "upstream_status": error.status}
    if error.status is None:
        return row.status, {"error": "Advoware unavailable", "details": str(error)}
    body = {"error": row.error, "details": error.details or error.reason}
    return error.status, {**body, "upstream_status": error.status}


def action_answer(error: Exception) -> Answer:
    """Status and ``{"reason": word}`` for a button in EspoCRM. What its dialog has no word for is 503."""
    if isinstance(error, ActionRefused):
        return 409, {"reason": error.reason}
    if isinstance(error, NotFound) and error.system == "EspoCRM":
        return 404, {"reason": "unknown"}
    row = _row(ANSWERS, error)
    status = 503 if row.reason == "unavailable" else row.status
    return status, {"reason": row.reason}


def invalid_request(error: ValidationError) -> Answer:
    """The answer to a body whose fields are wrong: ``details`` has a line for each."""
    details = []
    for item in error.errors():
        place = ".".join(map(str, item["loc"])) or "body"
        details.append(f"{place}: {item['msg']}")
    status, body = error_answer(InvalidInput())
    return status, {**body, "details": details}


def _row(table: tuple[ErrorAnswer, ...], error: Exception) -> ErrorAnswer:
    return next(row for row in table if isinstance(error, row.kind))
