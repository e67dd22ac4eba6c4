"""The console's HTTP API under ``/_console/``: small, JSON, on the HTTP port, as the real console serves it.

There is no authentication, as there is none in the real one, so it is for this machine only. Refused is what comes from
another machine, for another name than this machine's own (a page whose name was bent to 127.0.0.1 can read answers
otherwise), with the ``Origin`` of another site, or by way of a proxy. That holds for all that is below the prefix, also
for paths that are no endpoints and that a worker has registered, such as the real console when it joins.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import HttpVersion11, web

from local_engine.errors import EngineError, StorageUnavailableError
from local_engine.http_port.bodies import Bodies
from local_engine.http_port.console_endpoints import (
    BadRequestError,
    ConsoleTimeoutError,
    Endpoint,
    Endpoints,
    Question,
    Unhealthy,
)
from local_engine.worker_port.protocol import MAX_RECEIVE_BYTES, dumps, loads

PREFIX = "/_console/"
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
    },
)


class Console:
    """Answers the console's requests."""

    def __init__(self, endpoints: Endpoints, bodies: Bodies) -> None:
        self._endpoints = endpoints.table()
        self._bodies = bodies

    def refuse(self, request: web.BaseRequest) -> web.Response | None:
        """Return the refusal of a request below the prefix that does not come from this machine's own tools."""
        if _is_from_this_machine(request) and not _came_through_a_proxy(request):
            return None
        return error("forbidden", "The console answers to this machine only", 403)

    def find(self, request: web.BaseRequest) -> tuple[Endpoint, dict[str, str]] | None:
        """Return the endpoint of a request and the parameters of its path, or None; whole names come first."""
        path = request.raw_path.partition("?")[0].removeprefix(PREFIX)
        exact = self._endpoints.get((request.method, path))
        if exact is not None:
            return exact, {}
        for (method, pattern), endpoint in self._endpoints.items():
            parameters = _parameters(pattern, path)
            if method == request.method and parameters is not None:
                return endpoint, parameters
        return None

    async def answer(
        self,
        request: web.BaseRequest,
        endpoint: Endpoint,
        parameters: dict[str, str],
    ) -> web.Response:
        """Answer one request: JSON always, errors as ``{"error", "message"}``."""
        try:
            data = await self._input(request)
            body = await endpoint(Question(parameters, data))
            return _json(body, 503 if isinstance(body, Unhealthy) else 200)
        except BadRequestError as exc:
            return error("bad_request", str(exc), 400)
        except ConsoleTimeoutError as exc:
            return error("timeout", str(exc), 504)
        except EngineError as exc:
            return error(exc.code, exc.message, _status(exc))

    async def _input(self, request: web.BaseRequest) -> dict[str, Any]:
        """Return the query (GET, DELETE) or the JSON object of the body."""
        if request.method != "POST":
            return dict(request.query)
        body = await self._bodies.read(request)
        try:
            data = loads(body.decode() or "{}")
        except ValueError as exc:
            raise BadRequestError("the body is no valid JSON") from exc
        if not isinstance(data, dict):
            raise BadRequestError("the body is no JSON object")
        return data


def error(code: str, message: str, status: int) -> web.Response:
    """Return an error of the console."""
    return _json({"error": code, "message": message}, status)


def _parameters(pattern: str, path: str) -> dict[str, str] | None:
    """Return the decoded parameters of a path that fits a pattern, else None."""
    names, parts = pattern.split("/"), path.split("/")
    if len(names) != len(parts):
        return None
    found: dict[str, str] = {}
    for name, part in zip(names, parts, strict=True):
        if name.startswith(":"):
            found[name[1:]] = unquote(part)
        elif name != part:
            return None
    return found


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
