"""Functions and their invocation.

Functions belong to a connection. When two connections offer the same function the last one wins, as in v0.8.3, but
when it goes the earlier one serves again (v0.8.3 removes the function by name, also the freshly registered one of a
worker that reconnects before its old connection is torn down). A pending invocation is recorded before its message is
sent and fails with ``invocation_stopped`` when its worker disconnects; there is no time limit here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from local_engine.errors import (
    EngineError,
    FunctionNotFoundError,
    InvocationStoppedError,
)
from local_engine.logs import log_event
from local_engine.worker_port import protocol
from local_engine.worker_port.workers import WorkerConnection

#: Prefix of the functions that listings hide unless asked.
INTERNAL_PREFIX = "engine::"


@dataclass(frozen=True)
class Trace:
    """W3C trace context of a call: the ``traceparent`` and ``baggage`` header values, if any."""

    traceparent: str | None = None
    baggage: str | None = None


NO_TRACE = Trace()
Builtin = Callable[[Any, Trace], Awaitable[Any]]


@dataclass
class _Pending:
    worker: WorkerConnection
    function_id: str
    answer: asyncio.Future[Any]


class Functions:
    """Which connection offers which function."""

    def __init__(self) -> None:
        self.builtins: dict[str, Builtin] = {}
        self._offers: dict[str, dict[WorkerConnection, protocol.RegisterFunction]] = {}

    def register(
        self,
        worker: WorkerConnection,
        message: protocol.RegisterFunction,
    ) -> None:
        """Record an offer; the newest offer of a function is the one that is used."""
        offers = self._offers.setdefault(message.id, {})
        offers.pop(worker, None)
        offers[worker] = message

    def unregister(self, worker: WorkerConnection, function_id: str) -> None:
        """Withdraw one connection's offer, leaving the ones of others."""
        offers = self._offers.get(function_id, {})
        offers.pop(worker, None)
        if not offers:
            self._offers.pop(function_id, None)

    def remove_worker(self, worker: WorkerConnection) -> None:
        """Withdraw everything a connection offered."""
        for function_id in self.of_worker(worker):
            self.unregister(worker, function_id)

    def find(
        self,
        function_id: str,
        prefer: WorkerConnection | None = None,
    ) -> WorkerConnection | None:
        """Return the connection to call: ``prefer`` if it offers the function, else the newest offer."""
        offers = self._offers.get(function_id)
        if not offers:
            return None
        return prefer if prefer in offers else next(reversed(offers))

    def of_worker(self, worker: WorkerConnection) -> list[str]:
        """Return the ids of the functions a connection offers."""
        return [
            function_id
            for function_id, offers in self._offers.items()
            if worker in offers
        ]

    def describe(self) -> list[dict[str, Any]]:
        """Return every function as ``engine::functions::list`` shows it, sorted by id."""
        known: dict[str, protocol.RegisterFunction | None] = dict.fromkeys(
            self.builtins,
        )
        known |= {
            function_id: next(reversed(offers.values()))
            for function_id, offers in self._offers.items()
        }
        keys = ("description", "request_format", "response_format", "metadata")
        return [
            {
                "function_id": function_id,
                **{key: getattr(known[function_id], key, None) for key in keys},
            }
            for function_id in sorted(known)
        ]


class Invocations:
    """Calls functions and matches the answers."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._pending: dict[str, _Pending] = {}

    async def invoke(
        self,
        function_id: str,
        data: Any,
        *,
        prefer: WorkerConnection | None = None,
        trace: Trace = NO_TRACE,
    ) -> Any:
        """Call a function and return its result (None when the worker sent none).

        Raises EngineError: the worker's own error, or function_not_found, invocation_stopped, payload_too_large,
        invalid_payload.
        """
        builtin = self._functions.builtins.get(function_id)
        if builtin is not None:
            return await builtin(data, trace)
        worker = self._functions.find(function_id, prefer)
        if worker is None:
            raise FunctionNotFoundError(function_id)
        invocation_id = str(uuid4())
        text = protocol.invoke_function(
            invocation_id,
            function_id,
            data,
            trace.traceparent,
            trace.baggage,
        )
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[invocation_id] = _Pending(worker, function_id, answer)
        try:
            await worker.send(text)
            return await answer
        finally:
            self._pending.pop(invocation_id, None)
            if answer.done() and not answer.cancelled():
                answer.exception()  # also when send() failed first: the exception counts as retrieved

    def resolve(
        self,
        worker: WorkerConnection,
        message: protocol.InvocationResult,
    ) -> None:
        """Deliver an answer. Unknown ids (late answers over a new connection) are only logged."""
        error = message.error
        self._settle(
            worker,
            str(message.invocation_id),
            message.result,
            EngineError(error.code, error.message) if error is not None else None,
        )

    def fail(
        self,
        worker: WorkerConnection,
        invocation_id: str,
        error: EngineError,
    ) -> None:
        """Fail one invocation whose answer could not be read."""
        self._settle(worker, invocation_id, None, error)

    def _settle(
        self,
        worker: WorkerConnection,
        invocation_id: str,
        result: Any,
        error: EngineError | None,
    ) -> None:
        pending = self._pending.get(invocation_id)
        if pending is None or pending.answer.done():
            log_event(
                "invocation.unknown_result",
                invocation_id=invocation_id,
                worker_id=worker.id,
            )
        elif error is not None:
            pending.answer.set_exception(error)
        else:
            pending.answer.set_result(result)

    def stop_worker(self, worker: WorkerConnection) -> None:
        """Fail everything a lost connection was executing."""
        for pending in list(self._pending.values()):
            if pending.worker is worker and not pending.answer.done():
                pending.answer.set_exception(InvocationStoppedError())

    def active(self, worker: WorkerConnection) -> int:
        """Return how many invocations a connection is executing."""
        return sum(pending.worker is worker for pending in self._pending.values())
