"""Inputs of built-in functions: what all of them share, and their check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from local_engine.errors import InvalidInputError
from local_engine.worker_port.invocations import Builtin, Trace
from local_engine.worker_port.protocol import validation_summary


class Input(BaseModel):
    """An object; keys that a function does not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    #: The engine adds this to every call of a worker.
    caller_worker_id: str | None = Field(default=None, alias="_caller_worker_id")


class Nothing(Input):
    """No input."""


M = TypeVar("M", bound=Input)


def typed(
    function_id: str,
    model: type[M],
    handler: Callable[[M, Trace], Awaitable[Any]],
) -> Builtin:
    """Return a built-in that validates its input, with v0.8.3's error when it does not fit."""

    async def builtin(data: Any, trace: Trace) -> Any:
        try:
            value = model.model_validate(data if data is not None else {})
        except ValidationError as exc:
            raise InvalidInputError(function_id, validation_summary(exc)) from exc
        try:
            return await handler(value, trace)
        except (psycopg.DataError, UnicodeEncodeError) as exc:
            raise InvalidInputError(
                function_id,
                "a value cannot be stored or searched for",
            ) from exc

    return builtin
