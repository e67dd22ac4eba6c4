"""Messages of the worker socket (iii engine v0.8.3), their validation and their limits.

Text frames are JSON objects tagged by a lower-case ``type``. Binary frames start with a four-letter telemetry prefix;
any other binary frame is read as a JSON message. Whatever cannot be understood raises ``ProtocolError``: the caller
logs it and drops the frame, the connection stays up.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, NoReturn
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from local_engine.errors import EngineError, InvalidPayloadError, PayloadTooLargeError

#: JSON request bodies, queue payloads and state values (bytes). The worker closes its socket at 2**20 bytes per
#: message, so the rest of the message has to fit into what is left.
MAX_PAYLOAD_BYTES = 1_000_000
#: Largest message the worker's WebSocket client accepts (bytes, exclusive).
MAX_MESSAGE_BYTES = 2**20
#: Largest message accepted from a worker (bytes), as the real engine's frame limit.
MAX_RECEIVE_BYTES = 16 * 2**20
#: Size of the pieces in which bytes are forwarded through a channel.
CHUNK_BYTES = 64 * 1024

TELEMETRY_PREFIXES = (b"OTLP", b"MTRC", b"LOGS")


class ProtocolError(Exception):
    """A frame that is no valid message. ``invocation_id`` is set when an invocation waits for just this message."""

    def __init__(self, reason: str, invocation_id: str | None = None) -> None:
        super().__init__(reason)
        self.invocation_id = invocation_id


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class RegisterFunction(_Message):
    """A worker offers a function; ``invocation`` (functions called by URL) is not supported here."""

    type: Literal["registerfunction"]
    id: str
    description: str | None = None
    request_format: Any = None
    response_format: Any = None
    metadata: Any = None
    invocation: dict[str, Any] | None = None


class UnregisterFunction(_Message):
    """A worker withdraws a function."""

    type: Literal["unregisterfunction"]
    id: str


class RegisterTrigger(_Message):
    """A worker binds a function to a trigger."""

    type: Literal["registertrigger"]
    id: str
    trigger_type: str
    function_id: str
    config: Any


class UnregisterTrigger(_Message):
    """A worker removes a trigger."""

    type: Literal["unregistertrigger"]
    id: str
    trigger_type: str | None = None


class RegisterTriggerType(_Message):
    """A worker offers a trigger type of its own."""

    type: Literal["registertriggertype"]
    id: str
    description: str


class UnregisterTriggerType(_Message):
    """A worker withdraws its trigger type (v0.8.3 does not know this message; accepting it does no harm)."""

    type: Literal["unregistertriggertype"]
    id: str


class TriggerRegistrationResult(_Message):
    """Answer of the worker that owns a trigger type; only logged."""

    type: Literal["triggerregistrationresult"]
    id: str
    trigger_type: str
    function_id: str
    error: Any = None


class RegisterService(_Message):
    """Accepted and ignored: services have no behaviour."""

    type: Literal["registerservice"]
    id: str
    name: str
    description: str | None = None


class InvokeFunction(_Message):
    """A worker calls a function; without ``invocation_id`` it wants no answer."""

    type: Literal["invokefunction"]
    function_id: str
    data: Any
    invocation_id: UUID | None = None
    traceparent: str | None = None
    baggage: str | None = None


class ErrorBody(_Message):
    """Why an invocation failed."""

    code: str
    message: str


class InvocationResult(_Message):
    """A worker's answer."""

    type: Literal["invocationresult"]
    invocation_id: UUID
    function_id: str
    result: Any = None
    error: ErrorBody | None = None
    traceparent: str | None = None
    baggage: str | None = None


class Ping(_Message):
    """Answered with ``pong``."""

    type: Literal["ping"]


WorkerMessage = (
    RegisterFunction
    | UnregisterFunction
    | RegisterTrigger
    | UnregisterTrigger
    | RegisterTriggerType
    | UnregisterTriggerType
    | TriggerRegistrationResult
    | RegisterService
    | InvokeFunction
    | InvocationResult
    | Ping
)

_ADAPTER: TypeAdapter[WorkerMessage] = TypeAdapter(
    Annotated[WorkerMessage, Field(discriminator="type")],
)


def _reject_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def loads(text: str) -> Any:
    """Parse strict JSON (no NaN, no infinity). Raises ValueError, also for nesting beyond the interpreter's limit."""
    try:
        return json.loads(text, parse_constant=_reject_constant, parse_float=_finite)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def dumps(value: Any, what: str, limit: int) -> str:
    """Return compact JSON of at most ``limit`` bytes in UTF-8.

    Raises InvalidPayloadError when JSON cannot carry the value and PayloadTooLargeError above the limit; ``what`` names
    the value in the message.
    """
    try:
        text = json.dumps(
            value,
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        size = len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate: legal in JSON only as an escape
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        size = len(text)
    except (ValueError, TypeError, RecursionError) as exc:
        raise InvalidPayloadError(what) from exc
    if size > limit:
        raise PayloadTooLargeError(what, size, limit)
    return text


def parse_message(text: str) -> WorkerMessage:
    """Validate one text frame of a worker. Raises ProtocolError, whose text names fields but no values."""
    try:
        raw = loads(text)
    except ValueError as exc:
        raise ProtocolError("not valid JSON", _waiting_invocation(text)) from exc
    try:
        return _ADAPTER.validate_python(raw)
    except ValidationError as exc:
        raise ProtocolError(validation_summary(exc)) from exc


def _waiting_invocation(text: str) -> str | None:
    """Find the invocation that a result with NaN answers: the real engine leaves that caller waiting for ever."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(raw, dict) and raw.get("type") == "invocationresult":
        return str(raw.get("invocation_id"))
    return None


def validation_summary(exc: ValidationError) -> str:
    """Describe a validation failure by field and rule, without the offending values (they may be personal data)."""
    errors = exc.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'input'}: {item['type']}"
        for item in errors[:5]
    )


def _encode(message: dict[str, Any], what: str) -> str:
    return dumps(
        {key: value for key, value in message.items() if value is not None},
        what,
        MAX_MESSAGE_BYTES - 1,
    )


def worker_registered(worker_id: str) -> str:
    """First message of every connection."""
    return _encode({"type": "workerregistered", "worker_id": worker_id}, "message")


def pong() -> str:
    """Answer to ``ping``."""
    return '{"type":"pong"}'


def invoke_function(
    invocation_id: str,
    function_id: str,
    data: Any,
    traceparent: str | None,
    baggage: str | None,
) -> str:
    """Call to a worker. Raises PayloadTooLargeError or InvalidPayloadError."""
    message = {
        "type": "invokefunction",
        "invocation_id": invocation_id,
        "function_id": function_id,
        "traceparent": traceparent,
        "baggage": baggage,
    }
    envelope = _encode(message, "message")
    payload = dumps(
        data,
        f"input of {function_id}",
        MAX_MESSAGE_BYTES - len(envelope.encode()) - 16,
    )
    return f'{envelope[:-1]},"data":{payload}}}'


def invocation_result(
    call: InvokeFunction,
    result: Any = None,
    error: EngineError | None = None,
) -> str:
    """Answer to a worker's call; a None result is left out, as the real engine does."""
    message: dict[str, Any] = {
        "type": "invocationresult",
        "invocation_id": str(call.invocation_id),
        "function_id": call.function_id,
        "result": result,
        "traceparent": call.traceparent,
        "baggage": call.baggage,
    }
    if error is not None:
        message["error"] = {"code": error.code, "message": error.message}
    return _encode(message, f"result of {call.function_id}")


def trigger_registration(
    kind: str,
    trigger_id: str,
    trigger_type: str,
    function_id: str,
    config: Any,
) -> str:
    """``registertrigger`` or ``unregistertrigger`` for the worker that owns the trigger type."""
    message = {
        "type": kind,
        "id": trigger_id,
        "trigger_type": trigger_type,
        "function_id": function_id,
        "config": config,
    }
    return _encode(message, "trigger")
