"""State and stream values, their update operations and the trigger type ``state``.

Every write is committed before it is answered. ``state::*`` and ``stream::*`` share one table; a stream's groups are
the scopes of a namespace of their own. Stream triggers do not fire and there is no stream socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import psycopg
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from local_engine.database import Connection, Database
from local_engine.errors import EngineError
from local_engine.logs import log_event
from local_engine.worker_port.invocations import Invocations
from local_engine.worker_port.protocol import MAX_PAYLOAD_BYTES, dumps, loads
from local_engine.worker_port.triggers import Trigger, condition_met

STATE_NAMESPACE = "state"
#: What the namespace of a stream's values begins with; the stream's name follows.
STREAM_NAMESPACES = "stream:"
#: State changes waiting to be reported to state triggers.
MAX_PENDING_EVENTS = 1_000

T = TypeVar("T")
Int64 = Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)]


class _Operation(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SetOperation(_Operation):
    """Set one top-level key, or with path "" the whole value."""

    type: Literal["set"]
    path: str
    value: Any = None


class MergeOperation(_Operation):
    """Merge the keys of an object into the value; only at the root."""

    type: Literal["merge"]
    path: str | None = None
    value: Any


class CountOperation(_Operation):
    """Add to or subtract from a top-level integer."""

    type: Literal["increment", "decrement"]
    path: str
    by: Int64


class RemoveOperation(_Operation):
    """Remove one top-level key."""

    type: Literal["remove"]
    path: str


Operation = Annotated[
    SetOperation | MergeOperation | CountOperation | RemoveOperation,
    Field(discriminator="type"),
]


def apply_operations(value: Any, operations: list[Operation]) -> Any:
    """Return the value after all operations; one that does not fit (the value is no object) is skipped."""
    for operation in operations:
        value = _apply(value, operation)
    return value


def _apply(value: Any, operation: Operation) -> Any:
    if isinstance(operation, SetOperation) and operation.path == "":
        return operation.value
    if not isinstance(value, dict) or not _fits_objects(operation):
        log_event("state.operation_skipped", logging.WARNING, operation=operation.type)
        return value
    return _apply_to_object(value, operation)


def _fits_objects(operation: Operation) -> bool:
    if not isinstance(operation, MergeOperation):
        return True
    return not operation.path and isinstance(operation.value, dict)


def _apply_to_object(value: dict[str, Any], operation: Operation) -> dict[str, Any]:
    changed = dict(value)
    if isinstance(operation, MergeOperation):
        changed |= operation.value
    elif isinstance(operation, RemoveOperation):
        changed.pop(operation.path, None)
    elif isinstance(operation, SetOperation):
        changed[operation.path] = operation.value
    else:
        changed[operation.path] = _count(value, operation)
    return changed


def _count(value: dict[str, Any], operation: CountOperation) -> int:
    change = operation.by
    if operation.type != "increment":
        change = -change
    current = value.get(operation.path)
    if isinstance(current, int) and not isinstance(current, bool):
        return current + change
    if operation.type == "decrement" and operation.path in value:
        return 0
    return change


def _kind_of_change(old: Any, new: Any) -> str:
    if new is MISSING:
        return "deleted"
    if old is MISSING:
        return "created"
    return "updated"


class _Missing:
    """Marks a value that is not there (null is a value)."""


MISSING = _Missing()


class StateStore:
    """The table of values. Every method raises StorageUnavailableError while PostgreSQL is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, namespace: str, scope: str, key: str) -> Any:
        """Return a value, or MISSING."""
        async with self._database.transaction() as connection:
            return await self._read(connection, (namespace, scope, key))

    async def change(
        self,
        namespace: str,
        scope: str,
        key: str,
        change: Callable[[Any], Any],
    ) -> tuple[Any, Any]:
        """Replace a value by ``change(old)`` atomically and return old and new; MISSING stands for no value.

        Raises PayloadTooLargeError above 1,000,000 bytes.
        """
        place = (namespace, scope, key)
        async with self._database.transaction() as connection:
            lock = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
            await connection.execute(lock, ["\x1f".join(place)])
            old = await self._read(connection, place)
            new = change(old)
            if isinstance(new, _Missing):
                delete = "DELETE FROM engine.state WHERE namespace = %s AND scope = %s AND key = %s"
                await connection.execute(delete, place)
            else:
                upsert = """
                    INSERT INTO engine.state (namespace, scope, key, value) VALUES (%s, %s, %s, %s)
                    ON CONFLICT (namespace, scope, key) DO UPDATE SET value = excluded.value
                """
                await connection.execute(
                    upsert,
                    [*place, dumps(new, "state value", MAX_PAYLOAD_BYTES)],
                )
        return old, new

    async def values(self, namespace: str, scope: str) -> list[Any]:
        """Return the values of a scope in the order of their first insertion."""
        query = "SELECT value::text FROM engine.state WHERE namespace = %s AND scope = %s ORDER BY position"
        async with self._database.transaction() as connection:
            rows: Any = await (
                await connection.execute(query, [namespace, scope])
            ).fetchall()
        return [loads(row[0]) for row in rows]

    async def counts(self, namespace: str) -> dict[str, int]:
        """Return the scopes of a namespace that hold values, and how many."""
        query = "SELECT scope, count(*) FROM engine.state WHERE namespace = %s GROUP BY scope"
        async with self._database.transaction() as connection:
            cursor = await connection.execute(query, [namespace])
            rows: list[Any] = await cursor.fetchall()
        return dict(rows)

    async def streams(self) -> dict[str, list[str]]:
        """Return the groups that hold values of every stream, both sorted by name."""
        query = """
            SELECT DISTINCT substr(namespace, length(%(prefix)s) + 1), scope FROM engine.state
            WHERE starts_with(namespace, %(prefix)s)
        """
        async with self._database.transaction() as connection:
            cursor = await connection.execute(query, {"prefix": STREAM_NAMESPACES})
            rows: list[Any] = await cursor.fetchall()
        found: dict[str, list[str]] = {}
        for stream, group in sorted(rows):
            found.setdefault(stream, []).append(group)
        return found

    @staticmethod
    async def _read(connection: Connection, place: tuple[str, str, str]) -> Any:
        query = "SELECT value::text FROM engine.state WHERE namespace = %s AND scope = %s AND key = %s"
        row: Any = await (await connection.execute(query, place)).fetchone()
        if row is not None:
            return loads(row[0])
        return MISSING


class StateTriggers:
    """The trigger type ``state``: reports every change of ``state::*`` values, one after the other, without retry.

    A trigger without ``scope`` and ``key`` (motia sends neither) gets every change.
    """

    def __init__(self, invocations: Invocations) -> None:
        self._invocations = invocations
        self._triggers: list[Trigger] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_PENDING_EVENTS)

    def register(self, trigger: Trigger) -> None:
        """Start reporting changes."""
        self._triggers.append(trigger)

    def unregister(self, trigger: Trigger, *, owner_lost: bool) -> None:
        """Stop reporting changes."""
        self._triggers.remove(trigger)

    def changed(self, scope: str, key: str, old: Any, new: Any) -> None:
        """Note a change; when too many wait it is dropped and logged."""
        if not self._triggers:
            return
        event = {
            "type": "state",
            "event_type": f"state:{_kind_of_change(old, new)}",
            "scope": scope,
            "key": key,
            "old_value": or_null(old),
            "new_value": or_null(new),
        }
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            log_event("state.event_dropped", logging.ERROR, scope=scope, key=key)

    async def run_forever(self) -> None:
        """Report the changes."""
        while True:
            event = await self._events.get()
            for trigger in list(self._triggers):
                wanted = all(
                    trigger.text(name) in (None, event[name])
                    for name in ("scope", "key")
                )
                if wanted:
                    await self._notify(trigger, event)

    async def _notify(self, trigger: Trigger, event: dict[str, Any]) -> None:
        try:
            if await condition_met(
                self._invocations,
                trigger,
                "condition_function_id",
                event,
            ):
                await self._invocations.invoke(
                    trigger.function_id,
                    event,
                    prefer=trigger.owner,
                )
        except EngineError as exc:
            log_event(
                "state.trigger_failed",
                logging.ERROR,
                function_id=trigger.function_id,
                code=exc.code,
            )


def or_null(value: Any) -> Any:
    """Return None for MISSING."""
    if value is MISSING:
        return None
    return value


class StateFunctions:
    """What the functions ``state::*`` and ``stream::*`` do."""

    def __init__(self, store: StateStore, triggers: StateTriggers) -> None:
        self._store = store
        self._triggers = triggers

    async def get(self, namespace: str, scope: str, key: str) -> Any:
        """Return the value or None."""
        return or_null(
            await _checked("GET_ERROR", self._store.get(namespace, scope, key)),
        )

    async def set(
        self,
        namespace: str,
        scope: str,
        key: str,
        value: Any,
    ) -> dict[str, Any]:
        """Store a value; returns old and new."""
        return await self._change("SET_ERROR", namespace, scope, key, lambda _: value)

    async def update(
        self,
        namespace: str,
        scope: str,
        key: str,
        operations: list[Operation],
    ) -> dict[str, Any]:
        """Apply operations atomically, starting from ``{}``; returns old and new."""
        return await self._change(
            "UPDATE_ERROR",
            namespace,
            scope,
            key,
            lambda old: apply_operations({} if old is MISSING else old, operations),
        )

    async def delete(self, namespace: str, scope: str, key: str) -> Any:
        """Remove a value; returns the old one or None."""
        change = await self._change(
            "DELETE_ERROR",
            namespace,
            scope,
            key,
            lambda _: MISSING,
        )
        return change["old_value"]

    async def values(self, namespace: str, scope: str) -> list[Any]:
        """Return the values of a scope."""
        return await _checked("LIST_ERROR", self._store.values(namespace, scope))

    async def scopes(self, namespace: str) -> list[str]:
        """Return the scopes of a namespace, sorted."""
        return sorted(await self.counts(namespace))

    async def counts(self, namespace: str) -> dict[str, int]:
        """Return the scopes of a namespace and how many values each holds."""
        return await _checked("LIST_GROUPS_ERROR", self._store.counts(namespace))

    async def streams(self) -> dict[str, list[str]]:
        """Return the groups of every stream."""
        return await _checked("STREAM_LIST_ALL_ERROR", self._store.streams())

    async def _change(
        self,
        code: str,
        namespace: str,
        scope: str,
        key: str,
        change: Callable[[Any], Any],
    ) -> dict[str, Any]:
        old, new = await _checked(
            code,
            self._store.change(namespace, scope, key, change),
        )
        if namespace == STATE_NAMESPACE:
            self._triggers.changed(scope, key, old, new)
        return {"old_value": or_null(old), "new_value": or_null(new)}


async def _checked(code: str, work: Awaitable[T]) -> T:
    """Turn what PostgreSQL cannot store (NUL in a name, for example) into the function's error."""
    try:
        return await work
    except (psycopg.DataError, UnicodeEncodeError) as exc:
        raise EngineError(code, "The scope or the key cannot be stored") from exc
