"""Triggers: which type fires which function.

``http``, ``queue``, ``cron`` and ``state`` fire. ``stream``, ``stream:join``, ``stream:leave``, ``subscribe``,
``log``, ``engine::functions-available`` and ``engine::workers-available`` are accepted and listed but never fire here.
Types that a worker registers itself are forwarded to that worker. A trigger that cannot be registered is logged and
dropped: the protocol has no answer for it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

from local_engine.errors import EngineError
from local_engine.logs import log_event
from local_engine.tasks import Tasks
from local_engine.worker_port import protocol
from local_engine.worker_port.invocations import Invocations
from local_engine.worker_port.workers import WorkerConnection

PASSIVE_TYPES = frozenset(
    {
        "stream",
        "stream:join",
        "stream:leave",
        "subscribe",
        "log",
        "engine::functions-available",
        "engine::workers-available",
    },
)


class TriggerRejectedError(Exception):
    """A trigger's configuration cannot be used; the text says why."""


@dataclass(frozen=True, eq=False)
class Trigger:
    """A registered trigger and the connection it belongs to."""

    id: str
    type: str
    function_id: str
    config: dict[str, Any]
    owner: WorkerConnection

    def text(self, key: str) -> str | None:
        """Return a string of the configuration, or None when it is absent or no string."""
        value = self.config.get(key)
        return value if isinstance(value, str) else None


class TriggerType(Protocol):
    """What a kind of trigger does when triggers come and go."""

    def register(self, trigger: Trigger) -> None:
        """Start firing. Raises TriggerRejectedError."""

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Stop firing; ``owner_lost`` distinguishes a lost connection from a deliberate removal."""


class PassiveType:
    """Accepts triggers that never fire."""

    def register(self, trigger: Trigger) -> None:
        """Do nothing."""

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Do nothing."""


class WorkerType:
    """A trigger type that a worker implements: registrations are forwarded to it."""

    def __init__(self, owner: WorkerConnection, tasks: Tasks) -> None:
        self.owner = owner
        self._tasks = tasks

    def register(self, trigger: Trigger) -> None:
        """Forward the registration."""
        self._forward("registertrigger", trigger)

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Forward the removal."""
        self._forward("unregistertrigger", trigger)

    def _forward(self, kind: str, trigger: Trigger) -> None:
        try:
            text = protocol.trigger_registration(
                kind,
                trigger.id,
                trigger.type,
                trigger.function_id,
                trigger.config,
            )
        except EngineError as exc:
            raise TriggerRejectedError(exc.message) from exc
        self._tasks.spawn(self._send(text), "forward trigger")

    async def _send(self, text: str) -> None:
        try:
            await self.owner.send(text)
        except EngineError:
            log_event("trigger.owner_gone", worker_id=self.owner.id)


class Triggers:
    """All registered triggers, with an owner each."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._types: dict[str, TriggerType] = {
            name: PassiveType() for name in PASSIVE_TYPES
        }
        self._triggers: dict[str, Trigger] = {}

    def add_type(self, name: str, implementation: TriggerType) -> None:
        """Make a built-in trigger type available."""
        self._types[name] = implementation

    def add_worker_type(self, name: str, owner: WorkerConnection) -> None:
        """Make a worker's own trigger type available; built-in types cannot be replaced."""
        if not isinstance(self._types.get(name), WorkerType | None):
            log_event(
                "trigger_type.rejected",
                logging.WARNING,
                trigger_type=name,
                worker_id=owner.id,
            )
            return
        self._types[name] = WorkerType(owner, self._tasks)

    def remove_worker_type(self, name: str, owner: WorkerConnection) -> None:
        """Withdraw a worker's own trigger type."""
        known = self._types.get(name)
        if isinstance(known, WorkerType) and known.owner is owner:
            del self._types[name]

    def register(
        self,
        owner: WorkerConnection,
        message: protocol.RegisterTrigger,
    ) -> None:
        """Register a trigger, replacing one with the same id; a rejected one is logged and dropped."""
        fields = {
            "trigger_id": message.id,
            "trigger_type": message.trigger_type,
            "function_id": message.function_id,
        }
        self._remove(message.id, owner_lost=False)
        implementation = self._types.get(message.trigger_type)
        try:
            if implementation is None:
                raise TriggerRejectedError("unknown trigger type")
            if not isinstance(message.config, dict):
                raise TriggerRejectedError("config is no object")
            trigger = Trigger(
                message.id,
                message.trigger_type,
                message.function_id,
                message.config,
                owner,
            )
            implementation.register(trigger)
        except TriggerRejectedError as exc:
            log_event("trigger.rejected", logging.ERROR, **fields, reason=str(exc))
            return
        self._triggers[trigger.id] = trigger
        log_event("trigger.registered", **fields)

    def unregister(self, trigger_id: str) -> None:
        """Remove a trigger; unknown ids are ignored."""
        self._remove(trigger_id, owner_lost=False)

    def remove_worker(self, worker: WorkerConnection) -> None:
        """Remove the triggers and trigger types of a lost connection."""
        for trigger in list(self._triggers.values()):
            if trigger.owner is worker:
                self._remove(trigger.id, owner_lost=True)
        for name in [
            name for name, known in self._types.items() if isinstance(known, WorkerType)
        ]:
            self.remove_worker_type(name, worker)

    def _remove(self, trigger_id: str, *, owner_lost: bool) -> None:
        trigger = self._triggers.pop(trigger_id, None)
        if trigger is None:
            return
        implementation = self._types.get(trigger.type)
        if implementation is not None:
            implementation.unregister(trigger, owner_lost=owner_lost)

    def get(self, trigger_id: str) -> Trigger | None:
        """Return a trigger by id."""
        return self._triggers.get(trigger_id)

    def type_names(self) -> list[str]:
        """Return the known trigger types, sorted."""
        return sorted(self._types)

    def describe(self) -> list[dict[str, Any]]:
        """Return every trigger as ``engine::triggers::list`` shows it."""
        return [
            {
                "id": trigger.id,
                "trigger_type": trigger.type,
                "function_id": trigger.function_id,
                "config": trigger.config,
            }
            for trigger in self._triggers.values()
        ]


async def condition_met(
    invocations: Invocations,
    trigger: Trigger,
    key: str,
    data: Any,
) -> bool:
    """Ask a trigger's condition function, if it has one. Only a JSON ``false`` blocks. Raises EngineError."""
    condition = trigger.text(key)
    if condition is None:
        return True
    return await invocations.invoke(condition, data, prefer=trigger.owner) is not False
