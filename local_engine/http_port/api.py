"""The HTTP port: routes, payloads and answers of HTTP steps.

Deliberate differences from v0.8.3, all for the sake of a sender that drops an event on 404 and repeats it on 503:
while no worker has registered its steps, or when the worker of a known route is gone, the answer is
503 ``{"error": "no worker connected"}`` instead of 404; a worker lost during a request gives 503 instead of 500.
JSON bodies above 1,000,000 bytes get 413, those that take longer than ten seconds 408; they are read before the request
takes one of the slots. A handler that answers nothing at all gets its 504 after a second instead of
the full time limit. How answers are composed: ``local_engine.http_port.responses``.

The function also gets the request's target, as the header that the reverse proxy in front of the real engine sets
(deploy/Caddyfile): of a repeated query parameter the engine itself hands over the last value only.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from local_engine.errors import (
    EngineError,
    InvocationStoppedError,
    PayloadTooLargeError,
)
from local_engine.http_port.bodies import MAX_STREAMED_BYTES, Bodies
from local_engine.http_port.console import (
    PREFIX,
    STATUSES,
    Console,
    error,
    is_own_origin,
)
from local_engine.http_port.responses import Answer, Composer, NoResponseError
from local_engine.http_port.routes import Match, NoMatch, Routes
from local_engine.logs import log_event
from local_engine.tasks import Tasks
from local_engine.worker_port.channels import Channel, Channels, End
from local_engine.worker_port.invocations import Functions, Invocations
from local_engine.worker_port.protocol import loads
from local_engine.worker_port.telemetry import Span, Telemetry
from local_engine.worker_port.triggers import condition_met
from local_engine.worker_port.workers import Workers

MAX_CONCURRENT_REQUESTS = 1_024
#: Looks at the health have slots of their own: they must be answered when all others are taken.
MAX_HEALTH_REQUESTS = 32
HEALTH_PATH = "health"
DEFAULT_TIMEOUT = 30.0
TARGET_HEADER = "x-forwarded-uri"
#: Says to a function that the keys of objects come in the order in which they were sent, which v0.8.3 sorts.
ORDER_HEADER = "x-bitbylaw-key-order"

_VARY = {
    "Vary": "origin, access-control-request-method, access-control-request-headers",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,DELETE",
    "Access-Control-Allow-Headers": "*",
}


@dataclass
class HttpApi:
    """Serves the HTTP port."""

    routes: Routes
    workers: Workers
    functions: Functions
    invocations: Invocations
    channels: Channels
    telemetry: Telemetry
    tasks: Tasks
    console: Console
    bodies: Bodies
    timeout: float = DEFAULT_TIMEOUT
    _slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_CONCURRENT_REQUESTS),
    )
    _health_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_HEALTH_REQUESTS),
    )
    _health: int = 0  #: the status of the latest look at it

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method == "OPTIONS":
            return _with_cors(request, web.Response(headers=_PREFLIGHT))
        if request.path.startswith(PREFIX):
            return await self._ask_console(request)
        return await self._ask_steps(request)

    async def _ask_console(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer below the console's prefix: its own endpoints first, then routes that a worker has registered."""
        refusal = self.console.refuse(request)
        if refusal is not None:
            return _with_cors(request, refusal)
        own = self.console.find(request)
        if own is not None:
            return _with_cors(request, await self.console.answer(request, *own))
        if isinstance(self._match(request), Match):
            return await self._ask_steps(request)
        return _with_cors(request, error("not_found", "No such console endpoint", 404))

    def _match(self, request: web.BaseRequest) -> Match | NoMatch:
        path, _, _query = request.raw_path.partition("?")
        return self.routes.match(request.method, path)

    async def _ask_steps(self, request: web.BaseRequest) -> web.StreamResponse:
        found = self._match(request)
        if isinstance(found, NoMatch):
            return _with_cors(request, self._unmatched(request, found))
        try:
            body = await self._body(request)
        except EngineError as exc:
            log_event("http.body_refused", logging.WARNING, code=exc.code)
            return _with_cors(
                request,
                _error(STATUSES[exc.code], {"error": exc.code, "message": exc.message}),
            )
        async with self._health_slots if _is_health(found) else self._slots:
            return await self._serve(request, found, body)

    async def _body(self, request: web.BaseRequest) -> Any:
        """The body if it is JSON; any other is only checked by its announced length."""
        if _is_json(request):
            return _json_or_null(await self.bodies.read(request))
        self.bodies.check_announced(request, MAX_STREAMED_BYTES)
        return None

    def _unmatched(self, request: web.BaseRequest, found: NoMatch) -> web.Response:
        if (
            found.reason == "method"
            and request.method == "HEAD"
            and "GET" in found.allowed
        ):
            return web.Response(status=404, text="Not Found")
        if found.reason == "method":
            return web.Response(
                status=405,
                headers={"Allow": ",".join(sorted(found.allowed))},
            )
        if found.reason == "gone" or self._registering():
            log_event("http.no_worker", logging.WARNING, method=request.method)
            return _no_worker()
        return web.Response(status=404)

    def _registering(self) -> bool:
        """Return whether routes may still be missing: no worker is complete, or one has only begun to register."""
        begun = any(
            self.functions.of_worker(worker)
            for worker in self.workers
            if not worker.ready
        )
        return begun or not any(worker.ready for worker in self.workers)

    async def _serve(
        self,
        request: web.BaseRequest,
        route: Match,
        body: Any,
    ) -> web.StreamResponse:
        started = time.monotonic()
        trigger = route.trigger
        name = f"{request.method} /{route.path}"
        parent = request.headers.get("traceparent")
        is_look = _is_health(route)
        with self.telemetry.span(
            name,
            parent,
            recorded=not is_look,
            function_id=trigger.function_id,
        ) as span:
            response = await self._exchange(request, route, body, span)
            span.attributes["http.status_code"] = response.status
        if is_look and response.status == self._health:
            return response  # several looks a minute would hide everything else
        self._health = response.status if is_look else self._health
        log_event(
            "http.request",
            route=name,
            status=response.status,
            ms=round((time.monotonic() - started) * 1000),
            trace_id=span.trace_id,
        )
        return response

    async def _exchange(
        self,
        request: web.BaseRequest,
        route: Match,
        body: Any,
        span: Span,
    ) -> web.StreamResponse:
        incoming, outgoing = self.channels.create(), self.channels.create()
        feeder: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(self.timeout):
                payload = _payload(request, route, body)
                if not await condition_met(
                    self.invocations,
                    route.trigger,
                    "_condition_path",
                    payload,
                ):
                    return _with_cors(
                        request,
                        _error(
                            422,
                            {"error": "Request condition not met", "skipped": True},
                        ),
                    )
                if not _is_json(request):
                    feeder = asyncio.create_task(_feed(self.bodies, request, incoming))
                references = {
                    "request_body": incoming.ref("read"),
                    "response": outgoing.ref("write"),
                }
                call = self.tasks.spawn(
                    self._call(route, {**payload, **references}, span),
                    "http call",
                )
                answer = await Composer(outgoing).compose(call)
            return await _respond(request, answer, outgoing)
        except TimeoutError:
            span.error = "timeout"
            return web.Response(status=504)
        except NoResponseError:
            span.error = "no_response"
            log_event(
                "http.no_response",
                logging.ERROR,
                function_id=route.trigger.function_id,
            )
            return web.Response(status=504)
        except EngineError as exc:
            span.error = exc.code
            return _with_cors(request, _failure(exc, route))
        finally:
            if feeder is not None:
                feeder.cancel()
            self.channels.remove(incoming)
            self.channels.remove(outgoing)

    async def _call(
        self,
        route: Match,
        payload: dict[str, Any],
        span: Span,
    ) -> Any | EngineError:
        try:
            return await self.invocations.invoke(
                route.trigger.function_id,
                payload,
                prefer=route.trigger.owner,
                trace=span.trace,
            )
        except EngineError as exc:
            return exc


def _payload(request: web.BaseRequest, route: Match, body: Any) -> dict[str, Any]:
    """The function's input without the channels."""
    return {
        "query_params": dict(
            parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True),
        ),
        "path_params": route.path_params,
        "headers": {
            **_plain_headers(request.headers),
            TARGET_HEADER: request.raw_path,
            ORDER_HEADER: "kept",
        },
        "path": route.path,
        "method": request.method,
        "body": body,
        "trigger": {"type": "http", "path": route.path, "method": request.method},
    }


def _is_health(route: Match) -> bool:
    return route.path == HEALTH_PATH and route.trigger.text("http_method") in (
        "GET",
        None,
    )


def _is_json(request: web.BaseRequest) -> bool:
    return "application/json" in request.headers.get("Content-Type", "")


def _plain_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return lower-case names with one value each: the last one, "" for values that are not ASCII."""
    return {
        name.lower(): value if value.isascii() else ""
        for name, value in headers.items()
    }


def _json_or_null(body: bytes) -> Any:
    try:
        return loads(body.decode())
    except ValueError:
        return None


async def _feed(bodies: Bodies, request: web.BaseRequest, channel: Channel) -> None:
    """Send the raw body through the request channel, piece by piece; ends the channel, also when there is no body."""
    clean = False
    try:
        async with aclosing(bodies.stream(request)) as stream:
            async for piece in stream:
                await channel.put(piece)
        clean = True
    except ConnectionError:
        log_event("http.body_aborted", logging.WARNING)
    except EngineError as exc:
        log_event("http.body_refused", logging.WARNING, code=exc.code)
    await channel.put(End(clean=clean))


def _error(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/json",
    )


def _no_worker() -> web.Response:
    response = _error(503, {"error": "no worker connected"})
    response.headers["Retry-After"] = "1"
    return response


def _failure(error: EngineError, route: Match) -> web.Response:
    """Translate an error. The handler's own message stays out of the answer, as in v0.8.3, and out of the log."""
    if isinstance(error, InvocationStoppedError):
        log_event(
            "http.worker_lost",
            logging.ERROR,
            function_id=route.trigger.function_id,
        )
        return _no_worker()
    if isinstance(error, PayloadTooLargeError):
        return _error(413, {"error": error.code, "message": error.message})
    error_id = secrets.token_hex(6)
    log_event(
        "http.handler_failed",
        logging.ERROR,
        function_id=route.trigger.function_id,
        code=error.code,
        error_id=error_id,
    )
    return _error(500, {"error": "internal server error", "error_id": error_id})


def _cors(request: web.BaseRequest) -> dict[str, str]:
    """Allow pages of this machine, such as the console on another port, to read the answer; no others."""
    origin = request.headers.get("Origin")
    if origin is None or not is_own_origin(origin):
        return _VARY
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "*",
        **_VARY,
    }


def _with_cors(request: web.BaseRequest, response: web.Response) -> web.Response:
    response.headers.update(_cors(request))
    return response


async def _respond(
    request: web.BaseRequest,
    answer: Answer,
    channel: Channel,
) -> web.StreamResponse:
    headers = {**answer.headers, **_cors(request)}
    if not answer.streamed:
        return web.Response(status=answer.status, headers=headers, body=answer.body)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    item: Any = answer.first
    try:
        while not isinstance(item, End):
            if isinstance(item, bytes):
                await response.write(item)
            item = answer.end or await channel.get()
        if item.clean:
            await response.write_eof()
        elif request.transport is not None:
            request.transport.abort()  # the worker was lost: the client must not take the rest for complete
    except ConnectionError:
        log_event("http.client_gone", method=request.method)
    return response
