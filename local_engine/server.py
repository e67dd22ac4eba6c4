"""The engine as a whole: its parts, its two ports, its start and its end."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

from local_engine.connections import DEFAULT_LIMITS, Handler, LimitedServer, Limits
from local_engine.cron import Clock, CronTriggers, SystemClock
from local_engine.database import Database
from local_engine.errors import PortTakenError
from local_engine.functions.builtin import BuiltinFunctions
from local_engine.functions.queue import QueueFunctions
from local_engine.functions.telemetry import TelemetryFunctions
from local_engine.http_port.api import DEFAULT_TIMEOUT, HttpApi
from local_engine.http_port.bodies import BODY_SECONDS, Bodies
from local_engine.http_port.console import Console
from local_engine.http_port.console_endpoints import Endpoints
from local_engine.http_port.routes import Routes
from local_engine.logs import log_event
from local_engine.queues.delivery import Queues
from local_engine.queues.store import QueueStore
from local_engine.state import StateFunctions, StateStore, StateTriggers
from local_engine.tasks import Tasks
from local_engine.worker_port.channels import Channels
from local_engine.worker_port.invocations import Functions, Invocations
from local_engine.worker_port.sessions import WorkerPort
from local_engine.worker_port.telemetry import Telemetry
from local_engine.worker_port.triggers import Triggers
from local_engine.worker_port.workers import Workers

BACKLOG = 1_024
#: How long open HTTP requests may take to end when the engine stops (seconds).
SHUTDOWN_TIME = 1.0


class Engine:
    """One engine on one database.

    ``async with Engine(...).running() as engine`` starts and stops it; ``http_url`` and ``ws_url`` are known then.
    Ports may be 0 (a free one); ``http_timeout`` and ``body_seconds`` (for a body to arrive) are in seconds; ``limits``
    hold for each port. The worker port has no login, so it is open on this machine only, whatever ``host`` is.
    """

    def __init__(
        self,
        database_url: str,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        ws_port: int = 0,
        http_timeout: float = DEFAULT_TIMEOUT,
        body_seconds: float = BODY_SECONDS,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock | None = None,
    ) -> None:
        self._host = host
        self._limits = limits
        self._ports = {
            "HTTP": (http_port, "--http-port"),
            "worker": (ws_port, "--ws-port"),
        }
        self._tasks = Tasks()
        self._database = Database(database_url)
        self._workers = Workers()
        self._functions = Functions()
        self._channels = Channels()
        self._runners: list[web.ServerRunner] = []
        self.stopping = asyncio.Event()
        self.failure: str | None = None
        self.http_url = self.ws_url = ""
        self._wire(http_timeout, body_seconds, clock or SystemClock())

    def _wire(self, http_timeout: float, body_seconds: float, clock: Clock) -> None:
        tasks = self._tasks
        workers = self._workers
        functions = self._functions
        channels = self._channels
        telemetry = Telemetry()
        invocations = Invocations(functions)
        triggers = Triggers(tasks)
        routes = Routes()
        self._store = QueueStore(self._database)
        queues = Queues(self._store, invocations, telemetry, tasks)
        cron = CronTriggers(invocations, telemetry, tasks, clock)
        self._state_triggers = StateTriggers(invocations)
        state = StateFunctions(StateStore(self._database), self._state_triggers)
        for name, implementation in (
            ("http", routes),
            ("queue", queues),
            ("cron", cron),
            ("state", self._state_triggers),
        ):
            triggers.add_type(name, implementation)
        builtins = BuiltinFunctions(
            workers,
            functions,
            invocations,
            triggers,
            channels,
            queues,
            state,
        )
        functions.builtins |= {
            **builtins.table(),
            **QueueFunctions(queues, self._store).table(),
            **TelemetryFunctions(telemetry, workers, self._database).table(),
        }
        bodies = Bodies(body_seconds)
        endpoints = Endpoints(
            workers,
            functions,
            invocations,
            triggers,
            cron,
            state,
            time.monotonic(),
        )
        console = Console(endpoints, bodies)
        self._http_api = HttpApi(
            routes,
            workers,
            functions,
            invocations,
            channels,
            telemetry,
            tasks,
            console,
            bodies,
            http_timeout,
        )
        self._worker_port = WorkerPort(
            workers,
            functions,
            invocations,
            triggers,
            channels,
            telemetry,
            tasks,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Start, yield the engine, stop. Raises StartupError when it cannot start."""
        sockets: dict[str, socket.socket] = {}
        try:
            for which, (port, option) in self._ports.items():
                sockets[which] = self._listen(which, port, option)
            await self._database.open()
            recovered = await self._store.recover()
            self._tasks.spawn(
                self._database.guard_lock(self._lost_database),
                "database lock",
            )
            self._tasks.spawn(self._channels.sweep_forever(), "channel sweep")
            self._tasks.spawn(self._state_triggers.run_forever(), "state triggers")
            http_server = self._server(self._http_api.handle)
            worker_server = self._server(self._worker_port.handle)
            http_address = await self._serve(sockets["HTTP"], http_server)
            worker_address = await self._serve(sockets["worker"], worker_server)
            self.http_url = f"http://{http_address}"
            self.ws_url = f"ws://{worker_address}"
            log_event(
                "engine.started",
                http=self.http_url,
                ws=self.ws_url,
                recovered_jobs=recovered,
            )
            yield self
        finally:
            await self._stop()
            for listening in sockets.values():
                listening.close()

    def _listen(self, which: str, port: int, option: str) -> socket.socket:
        host = _on_this_machine(self._host) if which == "worker" else self._host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as exc:
            raise PortTakenError(which, host, port, option) from exc

    async def _serve(self, listening: socket.socket, server: web.Server) -> str:
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIME)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        host, port = listening.getsockname()[:2]
        if ":" in host:
            return f"[{host}]:{port}"
        return f"{host}:{port}"

    def _server(self, handler: Handler) -> web.Server:
        return LimitedServer(handler, self._limits)

    async def _stop(self) -> None:
        """Stop accepting, drop the workers (open requests then get their 503), end everything else."""
        for runner in self._runners:
            for site in list(runner.sites):
                await site.stop()
        for worker in self._workers:
            worker.abort()
        self._channels.abort()
        for runner in self._runners:
            await runner.cleanup()
        await self._tasks.cancel()
        await self._database.close()
        log_event("engine.stopped")

    def _lost_database(self, reason: str) -> None:
        self.failure = reason
        self.stopping.set()


def _on_this_machine(host: str) -> str:
    """The address if it is one of this machine's own, else 127.0.0.1."""
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = host == "localhost"
    return host if is_own else "127.0.0.1"
