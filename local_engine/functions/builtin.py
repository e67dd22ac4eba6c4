"""The engine's built-in functions, as workers and the console call them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, ConfigDict, Field

from local_engine.functions.inputs import Input, Nothing, typed
from local_engine.queues.delivery import Queues
from local_engine.state import (
    STATE_NAMESPACE,
    STREAM_NAMESPACES,
    Operation,
    StateFunctions,
)
from local_engine.worker_port.channels import DEFAULT_BUFFER, Channels
from local_engine.worker_port.invocations import (
    INTERNAL_PREFIX,
    Builtin,
    Functions,
    Invocations,
    Trace,
)
from local_engine.worker_port.triggers import Triggers
from local_engine.worker_port.workers import Workers


class _Enqueue(Input):
    topic: str
    data: Any


class _Scope(Input):
    scope: str


class _Entry(_Scope):
    key: str


class _SetEntry(_Entry):
    value: Annotated[Any, Field(validation_alias=AliasChoices("value", "data"))]


class _UpdateEntry(_Entry):
    ops: list[Operation]


class _Stream(Input):
    stream_name: str

    @property
    def namespace(self) -> str:
        return STREAM_NAMESPACES + self.stream_name


class _Group(_Stream):
    group_id: str


class _Item(_Group):
    item_id: str


class _SetItem(_Item):
    data: Any


class _UpdateItem(_Item):
    ops: list[Operation]


class _Listing(Input):
    include_internal: bool | None = None


class _ListWorkers(Input):
    worker_id: str | None = None


class _RegisterWorker(Input):
    model_config = ConfigDict(extra="allow", frozen=True)


class _CreateChannel(Input):
    buffer_size: int | None = None


@dataclass
class BuiltinFunctions:
    """The parts of the engine that its functions work on."""

    workers: Workers
    functions: Functions
    invocations: Invocations
    triggers: Triggers
    channels: Channels
    queues: Queues
    state: StateFunctions

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
            ("state::list_groups", Nothing, self._state_groups),
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
                    i.namespace,
                    i.group_id,
                    i.item_id,
                    i.ops,
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
            ("stream::list_all", Nothing, self._all_streams),
            ("engine::workers::register", _RegisterWorker, self._register_worker),
            ("engine::functions::list", _Listing, self._list_functions),
            ("engine::triggers::list", _Listing, self._list_triggers),
            ("engine::workers::list", _ListWorkers, self._list_workers),
            ("engine::channels::create", _CreateChannel, self._create_channel),
        ]
        return {
            function_id: typed(function_id, model, handler)
            for function_id, model, handler in entries
        }

    async def _enqueue(self, call: _Enqueue, trace: Trace) -> None:
        await self.queues.enqueue(call.topic, call.data, trace)

    async def _state_groups(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        return {"groups": await self.state.scopes(STATE_NAMESPACE)}

    async def _stream_delete(self, call: _Item, _trace: Trace) -> dict[str, Any]:
        return {
            "old_value": await self.state.delete(
                call.namespace,
                call.group_id,
                call.item_id,
            ),
        }

    async def _all_streams(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        streams = await self.state.streams()
        found = [{"id": name, "groups": groups} for name, groups in streams.items()]
        return {"stream": found, "count": len(found)}

    async def _register_worker(
        self,
        call: _RegisterWorker,
        _trace: Trace,
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
                },
            )
        return {"workers": entries, "timestamp": time.time_ns() // 1_000_000}

    async def _create_channel(
        self,
        call: _CreateChannel,
        _trace: Trace,
    ) -> dict[str, Any]:
        return self.channels.create_for_worker(
            call.caller_worker_id,
            call.buffer_size or DEFAULT_BUFFER,
        )
