"""The console's HTTP API under ``/_console/``: small, JSON, on the HTTP port, as the real console serves it.

There is no authentication, as there is none in the real one, so it is for this machine only. Refused is what comes from
another machine, for another name than this machine's own (a page whose name was bent to 127.0.0.1 can read answers
otherwise), with the ``Origin`` of another site, or by way of a proxy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from local_engine.cron import CronTriggers
from local_engine.errors import EngineError, StorageUnavailableError
from local_engine.http_port.bodies import Bodies
from local_engine.worker_port.invocations import Functions, Invocations
from local_engine.worker_port.protocol import MAX_RECEIVE_BYTES, dumps, loads
from local_engine.worker_port.triggers import Triggers
from local_engine.worker_port.workers import Workers

PREFIX = "/_console/"
INVOKE_TIMEOUT = 30.0
STATUSES = {
    "deserialization_error": 400,
    "function_not_found": 404,
    "body_timeout": 408,
    "payload_too_large": 413,
    "overloaded": 503,
}
#: What proxies add to a request; beside every name that begins with x-forwarded.
_FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-original-host",
        "x-original-url",
        "x-envoy-external-address",
        "true-client-ip",
        "cf-connecting-ip",
        "fastly-client-ip",
    }
)

#: Endpoints that only pass their input to a built-in function.
_FUNCTIONS = {
    ("GET", "functions"): "engine::functions::list",
    ("GET", "triggers"): "engine::triggers::list",
    ("GET", "workers"): "engine::workers::list",
    ("GET", "states/groups"): "state::list_groups",
    ("POST", "states/group"): "state::list",
    ("POST", "otel/logs"): "engine::logs::list",
    ("POST", "otel/traces"): "engine::traces::list",
    ("POST", "otel/traces/tree"): "engine::traces::tree",
    ("GET", "queues"): "engine::queue::stats",
    ("GET", "queues/dead-letters"): "engine::queue::dead_letters",
    ("POST", "queues/redrive"): "engine::queue::redrive",
}


class BadRequestError(Exception):
    """The request's input cannot be used; the text says why."""


@dataclass
class Console:
    """Answers the console's requests."""

    workers: Workers
    functions: Functions
    invocations: Invocations
    triggers: Triggers
    cron: CronTriggers
    bodies: Bodies
    started: float

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request: JSON always, errors as ``{"error", "message"}``."""
        key = (request.method, request.path.removeprefix(PREFIX))
        own = self._own_endpoints()
        if not _is_from_this_machine(request) or _came_through_a_proxy(request):
            return _json(
                {
                    "error": "forbidden",
                    "message": "The console answers to this machine only",
                },
                403,
            )
        if key not in own and key not in _FUNCTIONS:
            return _json(
                {"error": "not_found", "message": "No such console endpoint"}, 404
            )
        try:
            data = await self._input(request)
            if key in own:
                return await own[key](data)
            return _json(await self.invocations.invoke(_FUNCTIONS[key], data))
        except BadRequestError as exc:
            return _json({"error": "bad_request", "message": str(exc)}, 400)
        except EngineError as exc:
            return _json({"error": exc.code, "message": exc.message}, _status(exc))

    async def _input(self, request: web.BaseRequest) -> dict[str, Any]:
        """Return the query (GET) or the JSON object of the body."""
        if request.method == "GET":
            return dict(request.query)
        body = await self.bodies.read(request)
        try:
            data = loads(body.decode() or "{}")
        except ValueError as exc:
            raise BadRequestError("the body is no valid JSON") from exc
        if not isinstance(data, dict):
            raise BadRequestError("the body is no JSON object")
        return data

    def _own_endpoints(
        self,
    ) -> dict[tuple[str, str], Callable[[dict[str, Any]], Awaitable[web.Response]]]:
        return {
            ("GET", "status"): self._status,
            ("GET", "health"): self._health,
            ("GET", "trigger-types"): self._trigger_types,
            ("POST", "invoke"): self._invoke,
            ("POST", "cron/trigger"): self._cron_trigger,
        }

    async def _status(self, _data: dict[str, Any]) -> web.Response:
        return _json(
            {
                "status": "running",
                "uptime_seconds": round(time.monotonic() - self.started, 1),
                "workers": len(self.workers),
                "workers_ready": sum(worker.ready for worker in self.workers),
                "functions": len(self.functions.describe()),
                "triggers": len(self.triggers.describe()),
                "timestamp": datetime.now(UTC).isoformat(),
            }
        )

    async def _health(self, _data: dict[str, Any]) -> web.Response:
        """Answer 503 with the same body when a component is away, so that a probe needs no look at the body."""
        health = await self.invocations.invoke("engine::health::check", {})
        return _json(health, 200 if health["status"] == "healthy" else 503)

    async def _trigger_types(self, _data: dict[str, Any]) -> web.Response:
        return _json({"trigger_types": self.triggers.type_names()})

    async def _invoke(self, data: dict[str, Any]) -> web.Response:
        function_id = data.get("function_id")
        if not isinstance(function_id, str):
            raise BadRequestError("function_id is missing")
        return await _within_time(
            self.invocations.invoke(function_id, data.get("input"))
        )

    async def _cron_trigger(self, data: dict[str, Any]) -> web.Response:
        """Run a cron trigger now; named by ``trigger_id`` or, if that is unknown, by ``function_id``."""
        trigger = self.triggers.get(str(data.get("trigger_id")))
        if trigger is None:
            wanted = data.get("function_id")
            found = [
                entry["id"]
                for entry in self.triggers.describe()
                if entry["function_id"] == wanted
            ]
            trigger = self.triggers.get(found[0]) if found else None
        if trigger is None or trigger.type != "cron":
            raise BadRequestError("no such cron trigger")
        return await _within_time(self.cron.fire_manually(trigger))


async def _within_time(work: Awaitable[object]) -> web.Response:
    try:
        async with asyncio.timeout(INVOKE_TIMEOUT):
            return _json({"success": True, "result": await work})
    except TimeoutError:
        return _json(
            {"error": "timeout", "message": f"No result within {INVOKE_TIMEOUT:.0f} s"},
            504,
        )


def _status(error: EngineError) -> int:
    if isinstance(error, StorageUnavailableError):
        return 503
    return STATUSES.get(error.code, 500)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        text=dumps(body, "console answer", MAX_RECEIVE_BYTES),
        status=status,
        content_type="application/json",
    )


def is_own_origin(origin: str) -> bool:
    """Whether an ``Origin`` is a page of this machine: the console runs on another port."""
    try:
        return _is_loopback(urlsplit(origin).hostname)
    except ValueError:
        return False


def _is_from_this_machine(request: web.BaseRequest) -> bool:
    """Whether peer, name and, for browsers, origin are this machine's."""
    hosts = request.headers.getall("Host", [])
    origin = request.headers.get("Origin")
    return (
        _is_loopback(request.remote)
        and len(hosts) == 1
        and is_own_origin(f"http://{hosts[0]}")
        and (origin is None or is_own_origin(origin))
    )


def _is_loopback(name: str | None) -> bool:
    """``localhost``, an address of 127.0.0.0/8, or ``::1``; no other name, whatever it resolves to at the moment."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback
    except ValueError:
        return False


def _came_through_a_proxy(request: web.BaseRequest) -> bool:
    """Find by its headers what a proxy has passed on; by its version what nginx does with its usual settings."""
    names = {name.lower() for name in request.headers}
    return (
        request.version < HttpVersion11
        or not names.isdisjoint(_FORWARDING)
        or any(name.startswith("x-forwarded") for name in names)
    )
