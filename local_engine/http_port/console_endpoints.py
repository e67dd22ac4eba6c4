"""The console's endpoints: paths and answers of the real console 0.10.0, which registers them on the engine it joins.

Beside them there are ``queues/dead-letters`` and ``queues/redrive`` of this engine, and ``topics`` in the answer of
``queues``: waiting, active, delayed and dead jobs. There is no stream socket; ``websocket_port`` names the port where
the real engine has it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local_engine.cron import CronTriggers
from local_engine.state import STATE_NAMESPACE, StateFunctions
from local_engine.worker_port.invocations import (
    INTERNAL_PREFIX,
    Functions,
    Invocations,
)
from local_engine.worker_port.triggers import Trigger, Triggers
from local_engine.worker_port.workers import Workers

INVOKE_TIMEOUT = 30.0
STREAM_PORT = 3112
#: Where the console's Flow page keeps the positions of its boxes.
FLOWS_SCOPE = "__console.flowConfigs"
#: Streams of the engine itself begin so.
_SYSTEM_STREAMS = ("iii.", "iii:")


class BadRequestError(Exception):
    """The request's input cannot be used; the text says why."""


class ConsoleTimeoutError(Exception):
    """What was started had no result in time."""


class Unhealthy(dict[str, Any]):
    """A health that is not good: a probe sees it by the status 503, without a look at the body."""


@dataclass(frozen=True)
class Question:
    """A request to the console: the parameters of its path, and its query or the JSON object of its body."""

    parameters: dict[str, str]
    data: dict[str, Any]


Endpoint = Callable[[Question], Awaitable[Any]]


@dataclass
class Endpoints:
    """What the console can be asked, on the parts of the engine that know the answers."""

    workers: Workers
    functions: Functions
    invocations: Invocations
    triggers: Triggers
    cron: CronTriggers
    state: StateFunctions
    started: float

    def table(self) -> dict[tuple[str, str], Endpoint]:
        """Return all endpoints by method and path below the prefix; ``:name`` is a parameter."""
        passed_on = {
            ("GET", "functions"): "engine::functions::list",
            ("GET", "triggers"): "engine::triggers::list",
            ("GET", "workers"): "engine::workers::list",
            ("POST", "otel/logs"): "engine::logs::list",
            ("POST", "otel/logs/clear"): "engine::logs::clear",
            ("POST", "otel/traces"): "engine::traces::list",
            ("POST", "otel/traces/clear"): "engine::traces::clear",
            ("POST", "otel/traces/tree"): "engine::traces::tree",
            ("GET", "queues/dead-letters"): "engine::queue::dead_letters",
            ("POST", "queues/redrive"): "engine::queue::redrive",
        }
        own: dict[tuple[str, str], Endpoint] = {
            ("GET", "status"): self._status,
            ("GET", "health"): self._health,
            ("GET", "trigger-types"): self._trigger_types,
            ("GET", "adapters"): self._adapters,
            ("GET", "states/groups"): self._state_groups,
            ("POST", "states/group"): self._state_items,
            ("POST", "states/:group/item"): self._set_state_item,
            ("DELETE", "states/:group/item/:key"): self._delete_state_item,
            ("GET", "streams/list"): self._streams,
            ("GET", "flows/config/:flow"): self._flow_config,
            ("POST", "flows/config/:flow"): self._save_flow_config,
            ("POST", "invoke"): self._invoke,
            ("POST", "cron/trigger"): self._cron_trigger,
            ("GET", "queues"): self._queues,
            ("GET", "queues/:topic"): self._queue,
            ("POST", "queues/:topic/publish"): self._publish,
            ("GET", "dlq"): self._dead_letter_topics,
            ("POST", "dlq/:topic/messages"): self._dead_letters,
            ("POST", "dlq/:topic/redrive"): self._redrive,
            ("POST", "dlq/:topic/messages/:id/redrive"): self._redrive_message,
            ("DELETE", "dlq/:topic/messages/:id/discard"): self._discard_message,
        }
        return own | {
            place: self._passing_on(function_id)
            for place, function_id in passed_on.items()
        }

    def _passing_on(self, function_id: str) -> Endpoint:
        async def endpoint(question: Question) -> Any:
            return await self._call(function_id, **question.data)

        return endpoint

    async def _call(self, function_id: str, **data: Any) -> Any:
        return await self.invocations.invoke(function_id, data)

    async def _status(self, _question: Question) -> Any:
        return {
            "status": "running",
            "uptime_seconds": round(time.monotonic() - self.started, 1),
            "workers": len(self.workers),
            "workers_ready": sum(worker.ready for worker in self.workers),
            "functions": len(self.functions.describe()),
            "triggers": len(self.triggers.describe()),
            "metrics_available": False,
            "timestamp": datetime.now(UTC).isoformat(),
        }

    async def _health(self, _question: Question) -> Any:
        health = await self._call("engine::health::check")
        return health if health["status"] == "healthy" else Unhealthy(health)

    async def _trigger_types(self, _question: Question) -> Any:
        return {"trigger_types": self.triggers.type_names()}

    async def _adapters(self, _question: Question) -> Any:
        health = await self._call("engine::health::check")
        entries = _module_entries(self.triggers.describe(), health["status"])
        entries += _pool_entries(self.workers)
        return {"adapters": entries, "count": len(entries)}

    async def _state_groups(self, _question: Question) -> Any:
        counts = await self.state.counts(STATE_NAMESPACE)
        groups = []
        for scope, count in sorted(counts.items()):
            groups.append({"id": scope, "count": count})
        return {"groups": groups, "count": len(groups)}

    async def _state_items(self, question: Question) -> Any:
        items = await self._call("state::list", **question.data)
        return {"items": items, "count": len(items)}

    async def _set_state_item(self, question: Question) -> Any:
        data = question.data
        if "value" not in data:
            raise BadRequestError("value is missing")
        return await self._call(
            "state::set",
            scope=question.parameters["group"],
            key=data.get("key"),
            value=data["value"],
        )

    async def _delete_state_item(self, question: Question) -> Any:
        return await self._call(
            "state::delete",
            scope=question.parameters["group"],
            key=question.parameters["key"],
        )

    async def _streams(self, _question: Question) -> Any:
        known = (await self._call("stream::list_all"))["stream"]
        streams = [_stream_entry(entry["id"], entry["groups"]) for entry in known]
        return {
            "streams": streams,
            "count": len(streams),
            "websocket_port": STREAM_PORT,
        }

    async def _flow_config(self, question: Question) -> Any:
        flow = question.parameters["flow"]
        saved = await self._call("state::get", scope=FLOWS_SCOPE, key=flow)
        if saved is None:
            return {"id": flow, "config": {}}
        return saved

    async def _save_flow_config(self, question: Question) -> Any:
        flow = question.parameters["flow"]
        value = {"id": flow, "config": question.data.get("config") or {}}
        await self._call("state::set", scope=FLOWS_SCOPE, key=flow, value=value)
        return {"message": "Flow config saved successfully"}

    async def _invoke(self, question: Question) -> Any:
        function_id = question.data.get("function_id")
        if not isinstance(function_id, str):
            raise BadRequestError("function_id is missing")
        return await _within_time(
            self.invocations.invoke(function_id, question.data.get("input")),
        )

    async def _cron_trigger(self, question: Question) -> Any:
        """Run a cron trigger now; named by ``trigger_id`` or, if that is unknown, by ``function_id``."""
        trigger = self.triggers.get(str(question.data.get("trigger_id")))
        if trigger is None:
            trigger = self._first_trigger_of(question.data.get("function_id"))
        if trigger is None or trigger.type != "cron":
            raise BadRequestError("no such cron trigger")
        return await _within_time(self.cron.fire_manually(trigger))

    def _first_trigger_of(self, function_id: Any) -> Trigger | None:
        found = [
            entry["id"]
            for entry in self.triggers.describe()
            if entry["function_id"] == function_id
        ]
        return self.triggers.get(found[0]) if found else None

    async def _queues(self, _question: Question) -> Any:
        listed = await self._call("engine::queue::list_topics")
        return {"queues": listed, **await self._call("engine::queue::stats")}

    async def _queue(self, question: Question) -> Any:
        topic = question.parameters["topic"]
        stats = await self._call("engine::queue::topic_stats", topic=topic)
        return {"topic": topic, "stats": stats}

    async def _publish(self, question: Question) -> Any:
        topic = question.parameters["topic"]
        data = question.data.get("data", {})
        await self._call("enqueue", topic=topic, data=data)
        return {"message": "Message published", "topic": topic}

    async def _dead_letter_topics(self, _question: Question) -> Any:
        return {"topics": await self._call("engine::queue::dlq_topics")}

    async def _dead_letters(self, question: Question) -> Any:
        topic = question.parameters["topic"]
        messages = await self._call(
            "engine::queue::dlq_messages",
            topic=topic,
            offset=question.data.get("offset"),
            limit=question.data.get("limit"),
        )
        return {"topic": topic, "messages": messages}

    async def _redrive(self, question: Question) -> Any:
        topic = question.parameters["topic"]
        return await self._call("iii::queue::redrive", queue=topic)

    async def _redrive_message(self, question: Question) -> Any:
        return await self._call("iii::queue::redrive_message", **_message(question))

    async def _discard_message(self, question: Question) -> Any:
        return await self._call("iii::queue::discard_message", **_message(question))


def _message(question: Question) -> dict[str, str]:
    parameters = question.parameters
    return {"queue": parameters["topic"], "message_id": parameters["id"]}


async def _within_time(work: Awaitable[object]) -> Any:
    try:
        async with asyncio.timeout(INVOKE_TIMEOUT):
            return {"success": True, "result": await work}
    except TimeoutError as exc:
        raise ConsoleTimeoutError(f"No result within {INVOKE_TIMEOUT:.0f} s") from exc


def _module_entries(
    triggers: list[dict[str, Any]],
    health: str,
) -> list[dict[str, Any]]:
    """Return the trigger types in use, each as a module and as a trigger, and the modules that are always there."""
    users: dict[str, list[str]] = {}
    for trigger in triggers:
        of_type = users.setdefault(trigger["trigger_type"], [])
        of_type.append(trigger["function_id"])
    state = "degraded"
    if health == "healthy":
        state = health
    entries = []
    for name, function_ids in sorted(users.items()):
        internal = all(known.startswith(INTERNAL_PREFIX) for known in function_ids)
        entries.append(_adapter(name, "module", f"{name} module", health=state))
        description = f"{name} trigger handler"
        entries.append(_adapter(name, "trigger", description, internal=internal))
    for name in ("devtools", "observability"):
        entries.append(_adapter(name, "module", f"{name} module", internal=True))
    return entries


def _pool_entries(workers: Workers) -> list[dict[str, Any]]:
    runtimes = []
    for worker in workers:
        described = worker.describe()
        runtimes.append(described["runtime"] or "unknown")
    entries = []
    for name, count in sorted(Counter(runtimes).items()):
        description = f"{name} worker pool"
        entries.append(_adapter(name, "worker_pool", description, count=count))
    return entries


def _adapter(name: str, kind: str, description: str, **more: Any) -> dict[str, Any]:
    usual = {"status": "active", "health": "healthy", "internal": False}
    return {"id": name, "type": kind, "description": description, **usual, **more}


def _stream_entry(name: str, groups: list[str]) -> dict[str, Any]:
    is_system = name.startswith(_SYSTEM_STREAMS)
    return {
        "id": name,
        "type": "system" if is_system else "user",
        "description": f"{name} stream",
        "groups": groups,
        "status": "active",
        "internal": is_system,
    }
