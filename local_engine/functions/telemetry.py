"""Functions about logs, traces and health, with the inputs and answers of the real engine 0.10.0."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from local_engine.database import Database
from local_engine.errors import StorageUnavailableError
from local_engine.functions.inputs import Input, Nothing, typed
from local_engine.functions.telemetry_search import (
    PAGE,
    LogQuery,
    TraceQuery,
    find_logs,
    find_traces,
    trace_tree,
)
from local_engine.worker_port.invocations import Builtin, Trace
from local_engine.worker_port.telemetry import Telemetry
from local_engine.worker_port.workers import Workers

DISTRIBUTION = "bitbylaw"


class _TraceTree(Input):
    trace_id: str


@dataclass
class TelemetryFunctions:
    """What the functions do, on the records in memory and what the engine needs to work."""

    telemetry: Telemetry
    workers: Workers
    database: Database

    def table(self) -> dict[str, Builtin]:
        """Return the functions by id."""
        entries: list[tuple[str, type[Any], Any]] = [
            ("engine::logs::list", LogQuery, self._logs),
            ("engine::logs::clear", Nothing, self._clear_logs),
            ("engine::traces::list", TraceQuery, self._traces),
            ("engine::traces::tree", _TraceTree, self._trace_tree),
            ("engine::traces::clear", Nothing, self._clear_traces),
            ("engine::health::check", Nothing, self._check_health),
        ]
        return {
            function_id: typed(function_id, model, handler)
            for function_id, model, handler in entries
        }

    async def _logs(self, call: LogQuery, _trace: Trace) -> dict[str, Any]:
        page, total = find_logs(self.telemetry.logs(), call)
        return {
            "logs": page,
            "total": total,
            "query": call.model_dump(exclude={"caller_worker_id"}),
            "timestamp": _now(),
        }

    async def _clear_logs(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        self.telemetry.clear_logs()
        return {"success": True}

    async def _traces(self, call: TraceQuery, _trace: Trace) -> dict[str, Any]:
        page, total = find_traces(self.telemetry.spans(), call)
        return {
            "spans": page,
            "total": total,
            "offset": call.offset or 0,
            "limit": call.limit or PAGE,
        }

    async def _trace_tree(self, call: _TraceTree, _trace: Trace) -> dict[str, Any]:
        return {"roots": trace_tree(self.telemetry.spans(), call.trace_id)}

    async def _clear_traces(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        self.telemetry.clear_spans()
        return {"success": True}

    async def _check_health(self, _call: Nothing, _trace: Trace) -> dict[str, Any]:
        """Healthy means: the database answers and a worker has registered all of its steps.

        ``database`` and ``worker`` are more than the real engine has; it is always healthy.
        """
        database = await self._database_answers()
        worker = any(worker.ready for worker in self.workers)
        counts = self.telemetry.counts()
        return {
            "status": "healthy" if database and worker else "degraded",
            "components": {
                "otel": _component(True, {"enabled": True, "exporter": "Memory"}),
                "metrics": {"status": "disabled", "details": None},
                "logs": _component(True, {"stored_logs": counts["logs"]}),
                "spans": _component(True, {"stored_spans": counts["spans"]}),
                "database": _component(database, {}),
                "worker": _component(worker, {"connected": len(self.workers)}),
            },
            "timestamp": _now(),
            "version": _version(),
        }

    async def _database_answers(self) -> bool:
        try:
            async with self.database.transaction() as connection:
                await connection.execute("SELECT 1")
        except StorageUnavailableError:
            return False
        return True


def _now() -> int:
    return time.time_ns() // 1_000_000


def _component(healthy: bool, details: dict[str, Any]) -> dict[str, Any]:
    return {"status": "healthy" if healthy else "unhealthy", "details": details}


def _version() -> str:
    try:
        return f"{version(DISTRIBUTION)} (embedded)"
    except PackageNotFoundError:
        return "embedded"
