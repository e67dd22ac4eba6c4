"""Typed errors of the engine. Messages carry ids and sizes only, never payloads."""

from __future__ import annotations


class EngineError(Exception):
    """An error that travels to a worker as ``{"code", "message"}``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class FunctionNotFoundError(EngineError):
    """No live worker and no built-in offers the function."""

    def __init__(self, function_id: str) -> None:
        super().__init__("function_not_found", f"Function {function_id} not found")


class InvocationStoppedError(EngineError):
    """The worker that executed the invocation disconnected before it answered."""

    def __init__(self) -> None:
        super().__init__("invocation_stopped", "Invocation stopped")


class PayloadTooLargeError(EngineError):
    """A payload is over the limit that the worker's socket can take."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(
            "payload_too_large",
            f"{what} has {size} bytes of JSON; the limit is {limit}",
        )


class BodyTimeoutError(EngineError):
    """A request's body did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "body_timeout",
            f"The request body did not arrive within {seconds:g} s",
        )


class OverloadedError(EngineError):
    """More comes in than this engine takes at once; nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__("overloaded", message)


class InvalidPayloadError(EngineError):
    """A value that JSON cannot carry (NaN, infinity, nesting without end)."""

    def __init__(self, what: str) -> None:
        super().__init__("invalid_payload", f"{what} is not valid JSON")


class InvalidInputError(EngineError):
    """The input of a built-in function does not have the expected shape."""

    def __init__(self, function_id: str, detail: str) -> None:
        super().__init__(
            "deserialization_error",
            f"Failed to deserialize input for {function_id}: {detail}",
        )


class StorageUnavailableError(EngineError):
    """PostgreSQL cannot be reached right now; nothing was stored."""

    def __init__(self) -> None:
        super().__init__(
            "storage_unavailable",
            "The engine's database is not available",
        )


class StartupError(Exception):
    """The engine cannot start. ``exit_code`` is the process's exit status."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class PortTakenError(StartupError):
    """A port is in use; exit status 2."""

    def __init__(self, which: str, host: str, port: int, option: str) -> None:
        super().__init__(
            f"The {which} port {host}:{port} is already in use; choose another one with {option}.",
            2,
        )


class DatabaseStartupError(StartupError):
    """The database cannot be used (unreachable, or another engine owns it); exit status 3."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 3)
