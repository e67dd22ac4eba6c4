"""The engine's built-in functions, as workers and the console call them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import psycopg
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from local_engine.channels import DEFAULT_BUFFER, Channels
from local_engine.errors import InvalidInputError
from local_engine.invocations import (
    INTERNAL_PREFIX,
    Builtin,
    Functions,
    Invocations,
    Trace,
)
from local_engine.protocol import validation_summary
from local_engine.queue_store import QueueStore
from local_engine.queues import Queues
from local_engine.state import STATE_NAMESPACE, Operation, StateFunctions
from local_engine.telemetry import Telemetry
from local_engine.triggers import Triggers
from local_engine.workers import Workers

MAX_DEAD_LETTERS = 1_000


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)
    #: The engine adds this to every call of a worker.
    caller_worker_id: str | None = Field(default=None, alias="_caller_worker_id")


class _Nothing(_Input):
    pass


class _Enqueue(_Input):
    topic: str
    data: Any


class _Scope(_Input):
    scope: str


class _Entry(_Scope):
    key: str


class _SetEntry(_Entry):
    value: Annotated[Any, Field(validation_alias=AliasChoices("value", "data"))]


class _UpdateEntry(_Entry):
    ops: list[Operation]


class _Stream(_Input):
    stream_name: str

    @property
    def namespace(self) -> str:
        return f"stream:{self.stream_name}"


class _Group(_Stream):
    group_id: str


class _Item(_Group):
    item_id: str


class _SetItem(_Item):
    data: Any


class _UpdateItem(_Item):
    ops: list[Operation]


class _Listing(_Input):
    include_internal: bool | None = None


class _ListWorkers(_Input):
    worker_id: str | None = None


class _RegisterWorker(_Input):
    model_config = ConfigDict(extra="allow", frozen=True)


class _CreateChannel(_Input):
    buffer_size: int | None = None


class _DeadLetters(_Input):
    topic: str | None = None
    limit: int = Field(default=100, ge=1, le=MAX_DEAD_LETTERS)


class _Redrive(_Input):
    topic: str | None = None
    job_id: int | None = None


class _Logs(_Input):
    start_time: int | None = None
    end_time: int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    severity_min: int | None = None
    severity_text: str | None = None
    offset: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)


class _Traces(_Input):
    trace_id: str | None = None
    offset: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)


class _TraceTree(_Input):
    trace_id: str


M = TypeVar("M", bound=_Input)


def _typed(
    function_id: str, model: type[M], handler: Callable[[M, Trace], Awaitable[Any]]
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
                function_id, "a value cannot be stored or searched for"
            ) from exc

    return builtin


@dataclass
class BuiltinFunctions:
    """The parts of the engine that its functions work on."""

    workers: Workers
    functions: Functions
    invocations: Invocations
    triggers: Triggers
    channels: Channels
    queues: Queues
    queue_store: QueueStore
    state: StateFunctions
    telemetry: Telemetry

    def table(self) -> dict[str, Builtin]:
        """Return all built-in functions by id."""
        entries: list[tuple[str, type[Any], Callable[[Any, Trace], Awaitable[Any]]]] = [
            ("enqueue", _Enqueue, self._enqueue),
            (
                "state::get",
                _Entry,
                lambda i, _: self.state.get(STATE_NAMESPACE, i.scope, i.key),
            ),
            (
                "state::set",
                _SetEntry,
                lambda i, _: self.state.set(STATE_NAMESPACE, i.scope, i.key, i.value),
            ),
            (
                "state::update",
                _UpdateEntry,
                lambda i, _: self.state.update(STATE_NAMESPACE, i.scope, i.key, i.ops),
            ),
            (
                "state::delete",
                _Entry,
                lambda i, _: self.state.delete(STATE_NAMESPACE, i.scope, i.key),
            ),
            (
                "state::list",
                _Scope,
                lambda i, _: self.state.values(STATE_NAMESPACE, i.scope),
            ),
            ("state::list_groups", _Nothing, self._state_groups),
            (
                "stream::get",
                _Item,
                lambda i, _: self.state.get(i.namespace, i.group_id, i.item_id),
            ),
            (
                "stream::set",
                _SetItem,
                lambda i, _: self.state.set(i.namespace, i.group_id, i.item_id, i.data),
            ),
            (
                "stream::update",
                _UpdateItem,
                lambda i, _: self.state.update(
                    i.namespace, i.group_id, i.item_id, i.ops
                ),
            ),
            ("stream::delete", _Item, self._stream_delete),
            (
                "stream::list",
                _Group,
                lambda i, _: self.state.values(i.namespace, i.group_id),
            ),
            (
                "stream::list_groups",
                _Stream,
                lambda i, _: self.state.scopes(i.namespace),
            ),
            ("engine::workers::register", _RegisterWorker, self._register_worker),
            ("engine::functions::list", _Listing, self._list_functions),
            ("engine::triggers::list", _Listing, self._list_triggers),
            ("engine::workers::list", _ListWorkers, self._list_workers),
            ("engine::channels::create", _CreateChannel, self._create_channel),
            ("engine::queue::stats", _Nothing, self._queue_stats),
            ("engine::queue::dead_letters", _DeadLetters, self._dead_letters),
            ("engine::queue::redrive", _Redrive, self._redrive),
            ("engine::logs::list", _Logs, self._logs),
            ("engine::traces::list", _Traces, self._traces),
            ("engine::traces::tree", _TraceTree, self._trace_tree),
        ]
        return {
            function_id: _typed(function_id, model, handler)
            for function_id, model, handler in entries
        }

    async def _enqueue(self, call: _Enqueue, trace: Trace) -> None:
        await self.queues.enqueue(call.topic, call.data, trace)

    async def _state_groups(self, _call: _Nothing, _trace: Trace) -> dict[str, Any]:
        return {"groups": await self.state.scopes(STATE_NAMESPACE)}

    async def _stream_delete(self, call: _Item, _trace: Trace) -> dict[str, Any]:
        return {
            "old_value": await self.state.delete(
                call.namespace, call.group_id, call.item_id
            )
        }

    async def _register_worker(
        self, call: _RegisterWorker, _trace: Trace
    ) -> dict[str, Any]:
        worker = self.workers.get(call.caller_worker_id or "")
        if worker is not None:
            worker.metadata = dict(call.model_extra or {})
        return {"success": worker is not None}

    async def _list_functions(self, call: _Listing, _trace: Trace) -> dict[str, Any]:
        entries = self.functions.describe()
        if not call.include_internal:
            entries = [
                entry
                for entry in entries
                if not entry["function_id"].startswith(INTERNAL_PREFIX)
            ]
        return {"functions": entries}

    async def _list_triggers(self, call: _Listing, _trace: Trace) -> dict[str, Any]:
        entries = self.triggers.describe()
        if not call.include_internal:
            entries = [
                entry
                for entry in entries
                if not entry["function_id"].startswith(INTERNAL_PREFIX)
            ]
        return {"triggers": entries}

    async def _list_workers(self, call: _ListWorkers, _trace: Trace) -> dict[str, Any]:
        entries = []
        for worker in self.workers:
            if call.worker_id not in (None, worker.id):
                continue
            offered = self.functions.of_worker(worker)
            entries.append(
                {
                    **worker.describe(),
                    "function_count": len(offered),
                    "functions": offered,
                    "active_invocations": self.invocations.active(worker),
                    "latest_metrics": None,
                }
            )
        return {"workers": entries, "timestamp": time.time_ns() // 1_000_000}

    async def _create_channel(
        self, call: _CreateChannel, _trace: Trace
    ) -> dict[str, Any]:
        return self.channels.create_for_worker(
            call.caller_worker_id, call.buffer_size or DEFAULT_BUFFER
        )

    async def _queue_stats(self, _call: _Nothing, _trace: Trace) -> dict[str, Any]:
        counts = await self.queue_store.stats()
        subscribers = self.queues.subscribers()
        empty = {"waiting": 0, "active": 0, "delayed": 0, "dead": 0}
        topics = sorted({*counts, *subscribers})
        return {
            "topics": [
                {
                    "topic": topic,
                    **empty,
                    **counts.get(topic, {}),
                    "subscribers": subscribers.get(topic, 0),
                }
                for topic in topics
            ]
        }

    async def _dead_letters(self, call: _DeadLetters, _trace: Trace) -> dict[str, Any]:
        return {
            "dead_letters": await self.queue_store.dead_letters(call.topic, call.limit)
        }

    async def _redrive(self, call: _Redrive, _trace: Trace) -> dict[str, Any]:
        count = await self.queue_store.redrive(call.topic, call.job_id)
        self.queues.wake()
        return {"redriven": count}

    async def _logs(self, call: _Logs, _trace: Trace) -> dict[str, Any]:
        return self.telemetry.logs(
            call.model_dump(exclude_none=True, exclude={"caller_worker_id"})
        )

    async def _traces(self, call: _Traces, _trace: Trace) -> dict[str, Any]:
        return self.telemetry.traces(
            call.model_dump(exclude_none=True, exclude={"caller_worker_id"})
        )

    async def _trace_tree(self, call: _TraceTree, _trace: Trace) -> dict[str, Any]:
        return self.telemetry.tree(call.trace_id)
