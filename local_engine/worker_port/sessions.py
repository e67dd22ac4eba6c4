"""The worker port: one session per connection, from the first message to the clean-up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from local_engine.errors import EngineError, InvalidPayloadError
from local_engine.logs import log_event
from local_engine.tasks import Tasks
from local_engine.worker_port import protocol
from local_engine.worker_port.channels import Channels
from local_engine.worker_port.invocations import Functions, Invocations, Trace
from local_engine.worker_port.telemetry import Telemetry
from local_engine.worker_port.triggers import Triggers
from local_engine.worker_port.workers import WorkerConnection, Workers

CHANNEL_PATH = "/ws/channels/"
#: Calls of one worker that may be in progress; more are refused with the error ``overloaded``.
MAX_CALLS_PER_WORKER = 4_096


@dataclass
class WorkerPort:
    """Serves worker connections and channel sockets."""

    workers: Workers
    functions: Functions
    invocations: Invocations
    triggers: Triggers
    channels: Channels
    telemetry: Telemetry
    tasks: Tasks

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle a request on the worker port.

        Requests with an ``Origin`` are refused: workers send none, and a page in a browser must not become a worker.
        """
        if "Origin" in request.headers:
            return web.Response(
                status=403,
                text="Browsers cannot connect to the worker port",
            )
        if not web.WebSocketResponse().can_prepare(request).ok:
            return web.Response(
                status=426,
                text="WebSocket only",
                headers={"Upgrade": "websocket"},
            )
        if request.path.startswith(CHANNEL_PATH):
            return await self.channels.serve(
                request,
                request.path.removeprefix(CHANNEL_PATH),
            )
        return await self._serve_worker(request)

    async def _serve_worker(self, request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=protocol.MAX_RECEIVE_BYTES,
        )
        await socket.prepare(request)
        worker = WorkerConnection(socket, request)
        self.workers.add(worker)
        writer = self.tasks.spawn(worker.write_messages(), f"writer of {worker.id}")
        log_event("worker.connected", worker_id=worker.id)
        try:
            await worker.send(protocol.worker_registered(worker.id))
            async for message in socket:
                self._receive(worker, message.type, message.data)
        finally:
            worker.abort()
            writer.cancel()
            self._disconnected(worker)
        return socket

    def _receive(self, worker: WorkerConnection, kind: WSMsgType, data: Any) -> None:
        if kind not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return
        try:
            if isinstance(data, bytes):
                if data[:4] in protocol.TELEMETRY_PREFIXES:
                    self.telemetry.accept_frame(data)
                    return
                data = data.decode(errors="replace")
            if data.strip():
                self._dispatch(worker, protocol.parse_message(data))
        except protocol.ProtocolError as exc:
            log_event(
                "worker.bad_message",
                logging.WARNING,
                worker_id=worker.id,
                reason=str(exc),
            )
            if exc.invocation_id is not None:
                self.invocations.fail(
                    worker,
                    exc.invocation_id,
                    InvalidPayloadError("The function's result"),
                )

    def _dispatch(
        self,
        worker: WorkerConnection,
        message: protocol.WorkerMessage,
    ) -> None:
        match message:
            case protocol.RegisterFunction():
                self._register_function(worker, message)
            case protocol.UnregisterFunction():
                self.functions.unregister(worker, message.id)
            case protocol.InvokeFunction():
                self._invoke(worker, message)
            case protocol.InvocationResult():
                self.invocations.resolve(worker, message)
            case protocol.RegisterService():
                log_event("service.ignored", service_id=message.id)
            case protocol.Ping():
                self.tasks.spawn(self._reply(worker, protocol.pong()), "pong")
            case _:
                self._dispatch_trigger(worker, message)

    def _dispatch_trigger(
        self,
        worker: WorkerConnection,
        message: protocol.WorkerMessage,
    ) -> None:
        match message:
            case protocol.RegisterTrigger():
                self.triggers.register(worker, message)
            case protocol.UnregisterTrigger():
                self.triggers.unregister(message.id)
            case protocol.RegisterTriggerType():
                self.triggers.add_worker_type(message.id, worker)
            case protocol.UnregisterTriggerType():
                self.triggers.remove_worker_type(message.id, worker)
            case protocol.TriggerRegistrationResult():
                log_event(
                    "trigger.forwarded",
                    trigger_id=message.id,
                    accepted=message.error is None,
                )

    def _register_function(
        self,
        worker: WorkerConnection,
        message: protocol.RegisterFunction,
    ) -> None:
        if message.invocation is not None or message.id in self.functions.builtins:
            reason = (
                "built-in"
                if message.invocation is None
                else "functions called by URL are not supported"
            )
            log_event(
                "function.rejected",
                logging.WARNING,
                function_id=message.id,
                reason=reason,
            )
            return
        self.functions.register(worker, message)

    def _invoke(self, worker: WorkerConnection, call: protocol.InvokeFunction) -> None:
        if worker.calls_in_progress >= MAX_CALLS_PER_WORKER:
            error = EngineError(
                "overloaded",
                f"More than {MAX_CALLS_PER_WORKER} calls are in progress",
            )
            log_event("worker.overloaded", logging.ERROR, worker_id=worker.id)
            if call.invocation_id is not None:
                self.tasks.spawn(
                    self._reply(worker, protocol.invocation_result(call, error=error)),
                    "refusal",
                )
            return
        worker.calls_in_progress += 1
        self.tasks.spawn(self._answer(worker, call), f"call of {call.function_id}")

    async def _answer(
        self,
        worker: WorkerConnection,
        call: protocol.InvokeFunction,
    ) -> None:
        """Execute a worker's call and send the result, if it wants one."""
        data = call.data
        if isinstance(data, dict):
            data = {**data, "_caller_worker_id": worker.id}
        try:
            try:
                result = await self.invocations.invoke(
                    call.function_id,
                    data,
                    trace=Trace(call.traceparent, call.baggage),
                )
                text = protocol.invocation_result(call, result=result)
            except EngineError as exc:
                log_event(
                    "call.failed",
                    logging.WARNING,
                    function_id=call.function_id,
                    code=exc.code,
                )
                text = protocol.invocation_result(call, error=exc)
            if call.invocation_id is not None:
                await self._reply(worker, text)
        finally:
            worker.calls_in_progress -= 1

    async def _reply(self, worker: WorkerConnection, text: str) -> None:
        try:
            await worker.send(text)
        except EngineError:
            log_event("worker.gone_before_reply", worker_id=worker.id)

    def _disconnected(self, worker: WorkerConnection) -> None:
        self.workers.remove(worker)
        self.functions.remove_worker(worker)
        self.triggers.remove_worker(worker)
        self.channels.remove_worker(worker.id)
        self.invocations.stop_worker(worker)
        log_event("worker.disconnected", worker_id=worker.id)
