"""What every twin has in common: start and stop, a clock, a journal of requests, and faults on demand.

The control API lives under ``/__sandbox__/`` and is never journalled:

====================  ==========================================================================================
``GET identity``      ``{"twin": "advoware"}``: whoever starts the product asks, and takes everything else for real
``POST reset``        seed data again, no journal, no faults; body ``{"seed": 1, "empty": false}``, both optional
``GET state``         everything the twin holds, as JSON
``GET journal``       every request: number, time, method, path, route, status, milliseconds, fault
``GET journal/summary``  count per ``"METHOD /route/{pattern}"``
``DELETE journal``    forget the requests so far
``POST faults``       add one rule or a list of rules, see `Fault`
``GET faults``        the rules, with how often each has struck
``DELETE faults``     remove all rules
``POST clock``        ``{"advance_seconds": 90}`` moves the twin's clock, ``{"reset": true}`` puts it back
====================  ==========================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import pickle
import random
import re
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Clock = Callable[[], datetime]

CONTROL_PREFIX = "/__sandbox__"
SAVE_SECONDS = 1.0
JOURNAL_LIMIT = 200_000
MAX_REQUEST_BYTES = 16 * 2**20


class Fault(BaseModel):
    """One rule for misbehaviour. The first rule that matches a request and is not used up strikes.

    ``when="before"`` answers without doing the work; ``when="after"`` does the work and then spoils the answer,
    which is how a commit whose confirmation is lost looks to the caller.
    """

    model_config = ConfigDict(extra="forbid")

    method: str | None = None  #: HTTP method; None matches all
    path: str = ".*"  #: regular expression, searched in the path (without query)
    query: str | None = None  #: regular expression, searched in the raw query string
    probability: float = 1.0
    skip: int = 0  #: let this many matching requests pass first
    count: int | None = None  #: strike this often; None for ever
    when: Literal["before", "after"] = "before"

    latency_ms: int = 0  #: wait this long first
    status: int | None = None  #: answer with this status
    headers: dict[str, str] = {}
    body: Any = None  #: JSON body of that answer; None for an empty one
    reset: bool = False  #: cut the connection
    hang: bool = False  #: never answer
    empty_list: bool = False  #: answer as if nothing was found
    truncate_json: bool = False  #: send half of the body
    revoke_tokens: bool = False  #: forget all tokens, then go on


class ActiveFault:
    """A fault rule and how often it has matched and struck."""

    def __init__(self, rule: Fault) -> None:
        self.rule = rule
        self.seen = 0
        self.struck = 0

    def strikes(self, request: web.Request, dice: random.Random) -> bool:
        """Whether the rule applies to this request; counts the request if it matches."""
        rule = self.rule
        if rule.method and rule.method.upper() != request.method:
            return False
        if not re.search(rule.path, request.path):
            return False
        if rule.query is not None and not re.search(rule.query, request.query_string):
            return False
        self.seen += 1
        if self.seen <= rule.skip or (rule.count is not None and self.struck >= rule.count):
            return False
        if dice.random() >= rule.probability:
            return False
        self.struck += 1
        return True


class Twin(ABC):
    """A stand-in of one foreign system. Subclasses hold the data and the rules; this class serves them."""

    name: ClassVar[str]
    default_port: ClassVar[int]

    def __init__(self, *, seed: int = 1, empty: bool = False, clock: Clock | None = None) -> None:
        self.seed = seed
        self.empty = empty
        self.url = ""  #: base URL without trailing slash, set when the server listens
        self._clock: Clock = clock or (lambda: datetime.now(UTC))
        self._clock_offset = timedelta()
        self.journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL_LIMIT)
        self.request_count = 0
        self.faults: list[ActiveFault] = []
        self.dice = random.Random(seed)
        self.load_seed()

    # -- what a twin provides ---------------------------------------------------------------------------------

    @abstractmethod
    def load_seed(self) -> None:
        """Drop all data and load the sample data of ``self.seed``, or none if ``self.empty``."""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The routes of the foreign system."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything the twin holds, as JSON values."""

    def control_routes(self) -> list[web.RouteDef]:
        """Further control routes of this twin; paths start with `CONTROL_PREFIX`."""
        return []

    def revoke_tokens(self) -> None:
        """Make every token handed out so far invalid."""

    def error_response(self, status: int) -> web.Response:
        """An error as the real system words it; used for faults that give a status but no body."""
        return web.Response(status=status)

    async def start(self) -> None:
        """Start background work, once the server listens and ``self.url`` is set."""

    async def stop(self) -> None:
        """Stop background work."""

    # -- keeping data over a restart --------------------------------------------------------------------------

    #: Attributes that belong to a running server, not to the data.
    transient: ClassVar[frozenset[str]] = frozenset({"url", "journal", "faults", "_clock"})

    def dump(self) -> bytes:
        """The twin's data, for `restore` by the same version of this program."""
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self)
        pickler.dump({name: value for name, value in self.__dict__.items() if name not in self.transient})
        return buffer.getvalue()

    def restore(self, data: bytes) -> None:
        """Replace the twin's data by what `dump` returned. Only for files of our own: a pickle can run code."""
        self.__dict__.update(_Unpickler(io.BytesIO(data), self).load())

    # -- shared -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The twin's time: aware, UTC."""
        return self._clock().astimezone(UTC) + self._clock_offset

    def application(self) -> web.Application:
        """The aiohttp application: the system's routes behind journal and faults, and the control API."""
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[self._observe])
        app.add_routes(self.routes())
        app.add_routes(self.control_routes())
        control = CONTROL_PREFIX
        app.add_routes(
            [
                web.get(f"{control}/identity", self._identity),
                web.post(f"{control}/reset", self._reset),
                web.get(f"{control}/state", self._state),
                web.get(f"{control}/journal", self._journal),
                web.delete(f"{control}/journal", self._forget_journal),
                web.get(f"{control}/journal/summary", self._journal_summary),
                web.post(f"{control}/faults", self._add_faults),
                web.get(f"{control}/faults", self._list_faults),
                web.delete(f"{control}/faults", self._remove_faults),
                web.post(f"{control}/clock", self._set_clock),
            ]
        )
        return app

    @web.middleware
    async def _observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(CONTROL_PREFIX):
            return await handler(request)
        started = time.perf_counter()
        self.request_count += 1
        resource = request.match_info.route.resource
        entry: dict[str, Any] = {
            "number": self.request_count,
            "at": self.now().isoformat(),
            "method": request.method,
            "path": request.path_qs,
            "route": resource.canonical if resource is not None else "(no route)",
            "status": None,
            "ms": None,
            "fault": None,
        }
        self.journal.append(entry)
        try:
            response = await self._answer(request, handler, entry)
            entry["status"] = response.status
            return response
        except web.HTTPException as error:
            entry["status"] = error.status
            raise
        finally:
            entry["ms"] = round((time.perf_counter() - started) * 1000, 2)

    async def _answer(self, request: web.Request, handler: Handler, entry: dict[str, Any]) -> web.StreamResponse:
        fault = next((f.rule for f in self.faults if f.strikes(request, self.dice)), None)
        if fault is None:
            return await handler(request)
        entry["fault"] = fault.model_dump(exclude_defaults=True)
        await request.read()
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        if fault.revoke_tokens:
            self.revoke_tokens()
        spoils = fault.reset or fault.hang or fault.status is not None
        if spoils and fault.when == "before":
            return await self._spoil(request, fault)
        response = await handler(request)
        if spoils:
            return await self._spoil(request, fault)
        if fault.empty_list:
            return _emptied(response)
        if fault.truncate_json and isinstance(response, web.Response) and isinstance(response.body, bytes):
            return web.Response(
                status=response.status, body=response.body[: len(response.body) // 2], content_type="application/json"
            )
        return response

    async def _spoil(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.hang:
            while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.05)
        if fault.reset or fault.hang:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)
        status = fault.status or 500
        response = self.error_response(status) if fault.body is None else web.json_response(fault.body, status=status)
        response.headers.update(fault.headers)
        return response

    # -- control API ------------------------------------------------------------------------------------------

    async def _reset(self, request: web.Request) -> web.Response:
        wish = await request.json() if request.can_read_body else {}
        self.seed = int(wish.get("seed", self.seed))
        self.empty = bool(wish.get("empty", self.empty))
        self.dice = random.Random(self.seed)
        self.faults.clear()
        self._clock_offset = timedelta()
        self.load_seed()
        self.journal.clear()
        return web.json_response({"seed": self.seed, "empty": self.empty})

    async def _identity(self, _request: web.Request) -> web.Response:
        return web.json_response({"twin": self.name})

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _journal(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self.journal))

    async def _forget_journal(self, _request: web.Request) -> web.Response:
        self.journal.clear()
        return web.json_response({})

    async def _journal_summary(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(Counter(f"{entry['method']} {entry['route']}" for entry in self.journal)))

    async def _add_faults(self, request: web.Request) -> web.Response:
        wish = await request.json()
        try:
            rules = [Fault.model_validate(rule) for rule in (wish if isinstance(wish, list) else [wish])]
        except ValidationError as error:
            return web.json_response({"error": json.loads(error.json(include_url=False))}, status=400)
        self.faults.extend(ActiveFault(rule) for rule in rules)
        return await self._list_faults(request)

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(
            [{**active.rule.model_dump(exclude_defaults=True), "struck": active.struck} for active in self.faults]
        )

    async def _remove_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response([])

    async def _set_clock(self, request: web.Request) -> web.Response:
        wish = await request.json()
        if wish.get("reset"):
            self._clock_offset = timedelta()
        self._clock_offset += timedelta(seconds=float(wish.get("advance_seconds", 0)))
        return web.json_response({"now": self.now().isoformat()})


class _Pickler(pickle.Pickler):
    """Writes a twin's data with references to the twin itself, and without the state of locks."""

    def __init__(self, file: io.BytesIO, twin: Twin) -> None:
        super().__init__(file)
        self._twin = twin

    def persistent_id(self, obj: object) -> str | None:
        if obj is self._twin:
            return "twin"
        return "lock" if isinstance(obj, asyncio.Lock) else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, twin: Twin) -> None:
        super().__init__(file)
        self._twin = twin

    def persistent_load(self, pid: str) -> object:
        return self._twin if pid == "twin" else asyncio.Lock()


async def _keep_saved(twin: Twin, path: Path) -> None:
    """Write the data to ``path`` every second in which something was asked of the twin, and when cancelled."""
    saved_at_request = -1
    try:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if twin.request_count != saved_at_request:
                saved_at_request = twin.request_count
                _write_whole(path, twin.dump())
    finally:
        _write_whole(path, twin.dump())


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    beside.replace(path)


def _emptied(response: web.StreamResponse) -> web.StreamResponse:
    """The same answer with its list emptied, in the shapes the three systems use."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    body = json.loads(response.body)
    if isinstance(body, list):
        body = []
    elif isinstance(body, dict):
        body = {**body, **{key: [] for key in ("list", "items") if key in body}}
        if "total" in body:
            body["total"] = 0
    return web.json_response(body, status=response.status)


@asynccontextmanager
async def running(twin: Twin, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a twin; yields its base URL. Port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    # No handler_cancellation: like the real systems, a twin finishes the work of a caller that has hung up.
    runner = web.AppRunner(twin.application(), access_log=None, handler_cancellation=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        twin.url = f"http://{host}:{runner.addresses[0][1]}"
        await twin.start()
        try:
            yield twin.url
        finally:
            await twin.stop()
    finally:
        await runner.cleanup()


def main(make_twin: Callable[[argparse.Namespace], Twin], parser: argparse.ArgumentParser, default_port: int) -> None:
    """Command line of one twin: serve until SIGTERM or SIGINT.

    Prints one line of JSON when it listens: ``{"ready": "advoware", "url": "http://127.0.0.1:4010"}``.
    """
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=default_port, help="0 takes a free port")
    parser.add_argument("--seed", type=int, default=1, help="number that determines the sample data")
    parser.add_argument("--state-file", type=Path, help="keep the data in this file over restarts")
    parser.add_argument("--empty", action="store_true", help="start without sample data")
    arguments = parser.parse_args()

    twin = make_twin(arguments)
    state_file: Path | None = arguments.state_file
    if state_file is not None and state_file.exists():
        twin.restore(state_file.read_bytes())

    async def serve() -> None:
        finished = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, finished.set)
        try:
            async with running(twin, host=arguments.host, port=arguments.port) as url:
                saver = asyncio.create_task(_keep_saved(twin, state_file)) if state_file is not None else None
                print(json.dumps({"ready": twin.name, "url": url}), flush=True)  # noqa: T201 - the contract above
                await finished.wait()
                if saver is not None:
                    saver.cancel()
                    await asyncio.wait([saver])
        except OSError as error:
            problem = f"Port {arguments.port} ({twin.name} twin) cannot be used: {error.strerror}"
            raise SystemExit(f"{problem}; choose another with --port") from error

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())
