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
``DELETE faults``     remove all rules, or with ``?name=...`` those of that name
``POST clock``        ``{"advance_seconds": 90}`` moves the twin's clock, ``{"reset": true}`` puts it back
====================  ==========================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import codecs
import io
import json
import pickle  # nosec B403  # of a twin's own state file
import random
import re
import signal
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Literal

from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sandbox.alterations import (
    Alteration,
    RefusedAlterationError,
    alter_answer,
    alter_stored,
    checked_pattern,
    share,
    show_as_sent,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Method, path and what answers.
Route = tuple[str, str, Handler]
Clock = Callable[[], datetime]

CONTROL_PREFIX = "/__sandbox__"
SAVE_SECONDS = 1.0
JOURNAL_LIMIT = 200_000
MAX_REQUEST_BYTES = 16 * 2**20
#: Longest request line: method, blank, target, blank and version. Apache's limit; nginx's (8 KiB) is as good as equal.
MAX_REQUEST_LINE = 8190
#: How much of a request line is read at all, so that a longer one can be refused with 414 as the real servers do.
READ_REQUEST_LINE = 2**20
#: Where a request keeps its body when that is no longer the one that was sent.
ALTERED_BODY = web.RequestKey("ALTERED_BODY", bytes)
#: Methods and paths of the plain requests that this one stands for, see `Twin.plain_forms`.
PLAIN_FORMS = web.RequestKey("PLAIN_FORMS", list)
#: The altering rules that have struck a request.
STRUCK = web.RequestKey("STRUCK", list)


class Fault(BaseModel):
    """One rule for misbehaviour.

    A rule spoils or alters. Of the rules that spoil, the first that matches a request and is not used up strikes.
    ``when="before"`` answers without doing the work; ``when="after"`` does the work and then spoils the answer, which
    is how a commit whose confirmation is lost looks to the caller.

    Of the rules that alter (``answer``, ``stored``), all that match strike, in their order. Their ``probability`` is
    that of each value: which values it hits depends on the seed and the value's place alone, so that a read shows the
    same again until the rule is gone. They strike (``struck``, ``count``) when something came out different.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = ""  #: by which it can be removed
    method: str | None = (
        None  #: HTTP method, or several joined by ``|``; None matches all
    )
    path: str = ".*"  #: regular expression, searched in the path (without query)
    query: str | None = None  #: regular expression, searched in the raw query string
    probability: float = Field(default=1.0, ge=0, le=1)
    skip: int = Field(default=0, ge=0)  #: let this many matching requests pass first
    count: int | None = Field(default=None, ge=0)  #: strike this often; None for ever
    when: Literal["before", "after"] = "before"

    latency_ms: int = Field(default=0, ge=0)  #: wait this long first
    hold: bool = False  #: wait first until the rule is removed
    status: int | None = Field(default=None, ge=200, le=599)  #: answer with this status
    headers: dict[str, str] = {}
    body: Any = None  #: JSON body of that answer; None for an empty one
    reset: bool = False  #: cut the connection
    hang: bool = False  #: never answer
    empty_list: bool = False  #: answer as if nothing was found
    truncate_json: bool = False  #: send half of the body
    revoke_tokens: bool = False  #: forget all tokens, then go on
    text: str | None = (
        None  #: do the work; if it succeeds, answer with its status and this text (may be empty)
    )
    content_type: str | None = (
        None  #: of that text, ``text/plain`` if None; alone: of the true answer
    )
    charset: str | None = (
        None  #: that text, or the true answer, is written in this encoding and says so
    )

    answer: list[
        Alteration
    ] = []  #: how successful JSON answers differ from what the twin holds
    stored: list[
        Alteration
    ] = []  #: how what is stored differs from what a POST, PUT or PATCH sent

    @field_validator("path", "query")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        return checked_pattern(pattern)

    @field_validator("charset")
    @classmethod
    def _is_charset(cls, charset: str | None) -> str | None:
        try:
            codecs.lookup(charset or "utf-8")
        except LookupError as error:
            raise ValueError("no encoding that Python knows") from error
        return charset

    @model_validator(mode="after")
    def _spoils_or_alters(self) -> Fault:
        if self.alters and self.model_fields_set & _SPOILING:
            raise ValueError(
                "a rule either alters (answer, stored) or spoils, make it two rules",
            )
        if any(alteration.for_stored_only for alteration in self.answer):
            raise ValueError("'ignore', 'refuse' and 'echo' are for 'stored' only")
        return self

    @property
    def alters(self) -> bool:
        """Whether it alters values instead of spoiling the whole answer."""
        return bool(self.answer or self.stored)

    @property
    def replaces_answer(self) -> bool:
        """Whether the caller sees nothing of the true answer."""
        return self.reset or self.hang or self.status is not None

    @property
    def rewords_answer(self) -> bool:
        """Whether the true answer comes with another text, content type or encoding."""
        changes = (self.text, self.content_type, self.charset)
        return any(change is not None for change in changes)


_SPOILING = frozenset(Fault.model_fields) - {
    *(
        "name",
        "method",
        "path",
        "query",
        "probability",
        "skip",
        "count",
        "answer",
        "stored",
    ),
}


class ActiveFault:
    """A fault rule and how often it has matched and struck."""

    def __init__(self, rule: Fault) -> None:
        self.rule = rule
        altering = rule.model_dump(include={"path", "answer", "stored"})
        self._words = json.dumps(altering, sort_keys=True)
        self.matched = 0
        self.struck = 0

    def meets(self, request: web.Request) -> list[int]:
        """The places of the plain requests in this one that the rule is for; counts those that match.

        Empty if there is none or the rule is used up.
        """
        own_form = (request.method, request.path)
        forms = request.get(PLAIN_FORMS, [own_form])
        met = []
        for place, (method, path) in enumerate(forms):
            if not self._is_for(method, path, request.query_string):
                continue
            self.matched += 1
            if self.matched > self.rule.skip and not self._is_used_up():
                met.append(place)
        return met

    def _is_for(self, method: str, path: str, query_string: str) -> bool:
        rule = self.rule
        if rule.method and method not in rule.method.upper().split("|"):
            return False
        if not re.search(rule.path, path):
            return False
        if rule.query is None:
            return True
        return re.search(rule.query, query_string) is not None

    def _is_used_up(self) -> bool:
        limit = self.rule.count
        return limit is not None and self.struck >= limit

    def strikes(self, request: web.Request, dice: random.Random) -> int | None:
        """The place that the rule spoils of this request, None if it does not; counts the request if it matches."""
        if self.rule.alters:
            return None
        met = self.meets(request)
        if not met:
            return None
        if dice.random() >= self.rule.probability:
            return None
        self.struck += 1
        return met[0]

    def chosen(self, seed: int) -> Callable[[str], bool]:
        """Which of the values that the rule could alter it does alter."""
        key = f"{seed}:{self._words}"
        probability = self.rule.probability
        return lambda description: share(key, description) < probability


class Twin(ABC):
    """A stand-in of one foreign system. Subclasses hold the data and the rules; this class serves them."""

    name: ClassVar[str]
    default_port: ClassVar[int]

    def __init__(
        self,
        *,
        seed: int = 1,
        empty: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.seed = seed
        self.empty = empty
        self.url = ""  #: base URL without trailing slash, set when the server listens
        self._clock: Clock = clock or (lambda: datetime.now(UTC))
        self._clock_offset = timedelta()
        self.journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL_LIMIT)
        self.request_count = 0
        self.faults: list[ActiveFault] = []
        self.dice = random.Random(seed)  # noqa: S311 - seeded
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

    def refusal(
        self,
        request: web.Request,
        refused: RefusedAlterationError,
    ) -> web.Response:
        """The 400 with which the real system refuses a whole object; used for fault rules that do so."""
        text = {
            "nothing": "",
            "field": refused.key,
            "entry": f"{refused.key}: {refused.value}",
        }[refused.naming]
        return web.Response(status=400, text=text)

    def stored_object(
        self,
        request: web.Request,
        body: dict[str, Any],
    ) -> Mapping[str, Any] | None:
        """What is stored of the object that a request writes, where a write must carry all of it; else None."""
        return None

    async def plain_forms(self, request: web.Request) -> list[tuple[str, str]]:
        """Methods and paths that rules know a request by, where those are not its own; one is the journal's, too."""
        return []

    def ruled_part(self, request: web.Request, document: Any, place: int) -> Any:
        """What rules for the plain request at this place may alter of a body or an answer."""
        return document

    def echoes(self, request: web.Request) -> bool:
        """Whether the answer to a write may show what was sent instead of what is stored."""
        return True

    def refused_at(
        self,
        response: web.Response,
        request: web.Request,
        place: int,
    ) -> web.Response:
        """The refusal of the plain request at this place as that of the whole request."""
        return response

    def json_bytes(self, value: Any) -> bytes:
        """JSON as the real system writes it. ASCII, because half an emoji can only travel as an escape."""
        return json.dumps(value, ensure_ascii=True).encode()

    async def start(self) -> None:
        """Start background work, once the server listens and ``self.url`` is set."""

    async def stop(self) -> None:
        """Stop background work."""

    # -- keeping data over a restart --------------------------------------------------------------------------

    #: Attributes that belong to a running server, not to the data.
    transient: ClassVar[frozenset[str]] = frozenset(
        {"url", "journal", "faults", "_clock"},
    )

    def dump(self) -> bytes:
        """The twin's data, for `restore` by the same version of this program."""
        kept = {}
        for name, value in self.__dict__.items():
            if name not in self.transient:
                kept[name] = value
        buffer = io.BytesIO()
        _Pickler(buffer, self).dump(kept)
        return buffer.getvalue()

    def restore(self, data: bytes) -> None:
        """Replace the twin's data by what `dump` returned. Only for files of our own: a pickle can run code."""
        kept = _Unpickler(io.BytesIO(data), self).load()
        self.__dict__.update(kept)

    # -- shared -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The twin's time: aware, UTC."""
        return self._clock().astimezone(UTC) + self._clock_offset

    def application(self) -> web.Application:
        """The aiohttp application: the system's routes behind journal and faults, and the control API."""
        app = web.Application(
            client_max_size=MAX_REQUEST_BYTES,
            middlewares=[self._observe],
        )
        app.add_routes(self.routes())
        app.add_routes(self.control_routes())
        control: list[Route] = [
            ("GET", "identity", self._identity),
            ("POST", "reset", self._reset),
            ("GET", "state", self._state),
            ("GET", "journal", self._journal),
            ("DELETE", "journal", self._forget_journal),
            ("GET", "journal/summary", self._journal_summary),
            ("POST", "faults", self._add_faults),
            ("GET", "faults", self._list_faults),
            ("DELETE", "faults", self._remove_faults),
            ("POST", "clock", self._set_clock),
        ]
        app.add_routes(routes_below(CONTROL_PREFIX, control))
        return app

    @web.middleware
    async def _observe(
        self,
        request: web.Request,
        handler: Handler,
    ) -> web.StreamResponse:
        if request.path.startswith(CONTROL_PREFIX):
            return await handler(request)
        started = time.perf_counter()
        self.request_count += 1
        entry = await self._journal_entry(request)
        self.journal.append(entry)
        try:
            response = await self._answer_if_short(request, handler, entry)
            entry["status"] = response.status
            return response
        except web.HTTPException as error:
            entry["status"] = error.status
            raise
        finally:
            seconds = time.perf_counter() - started
            entry["ms"] = round(seconds * 1000, 2)

    async def _journal_entry(self, request: web.Request) -> dict[str, Any]:
        """What the journal says of a request before it is answered; remembers the plain requests that it stands for."""
        method, path = request.method, request.path_qs
        plain = await self.plain_forms(request)
        if plain:
            request[PLAIN_FORMS] = plain
        if len(plain) == 1:
            method, path = plain[0]
        entry: dict[str, Any] = {
            "number": self.request_count,
            "at": self.now().isoformat(),
            "method": method,
            "path": path,
            "route": _route_of(request),
            "status": None,
            "ms": None,
            "fault": None,
            "altered": [],
        }
        if len(plain) > 1:
            entry["writes"] = [" ".join(form) for form in plain]
        return entry

    async def _answer_if_short(
        self,
        request: web.Request,
        handler: Handler,
        entry: dict[str, Any],
    ) -> web.StreamResponse:
        """The answer, or the refusal of a request line that is too long for the real servers."""
        if _line_length(request) > MAX_REQUEST_LINE:
            return web.Response(
                status=414,
                text="Request-URI Too Long",
                content_type="text/html",
            )
        return await self._answer(request, handler, entry)

    async def _answer(
        self,
        request: web.Request,
        handler: Handler,
        entry: dict[str, Any],
    ) -> web.StreamResponse:
        active, place = self._striking(request)
        altering = self._altering(request)
        if active is None:
            return await self._altered(request, handler, entry, altering)
        fault = active.rule
        entry["fault"] = fault.model_dump(exclude_defaults=True)
        await request.read()
        await self._delay(active)
        if fault.revoke_tokens:
            self.revoke_tokens()
        if fault.replaces_answer and fault.when == "before":
            return await self._spoil(request, fault, place)
        response = await self._altered(request, handler, entry, altering)
        if fault.replaces_answer:
            return await self._spoil(request, fault, place)
        return _spoiled(response, fault)

    async def _delay(self, active: ActiveFault) -> None:
        """Let a request wait as long as its rule says, also if its caller has given it up meanwhile."""
        if active.rule.latency_ms:
            await asyncio.sleep(active.rule.latency_ms / 1000)
        while active.rule.hold and active in self.faults:  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.01)

    def _striking(self, request: web.Request) -> tuple[ActiveFault | None, int]:
        """The first rule that spoils this request, and in which of its parts; those behind it do not count it."""
        for active in self.faults:
            place = active.strikes(request, self.dice)
            if place is not None:
                return active, place
        return None, 0

    def _altering(self, request: web.Request) -> list[tuple[ActiveFault, list[int]]]:
        """The rules that alter this request, and which of its parts."""
        altering = []
        for active in self.faults:
            if not active.rule.alters:
                continue
            met = active.meets(request)
            if met:
                altering.append((active, met))
        return altering

    # -- alterations ------------------------------------------------------------------------------------------

    async def _altered(
        self,
        request: web.Request,
        handler: Handler,
        entry: dict[str, Any],
        rules: list[tuple[ActiveFault, list[int]]],
    ) -> web.StreamResponse:
        """Let the handler work on the altered body, and alter its answer."""
        if not rules:
            return await handler(request)
        try:
            sent = await self._alter_stored(request, entry, rules)
        except RefusedAlterationError as refused:
            return self.refusal(request, refused)
        response = await handler(request)
        if not isinstance(response, web.Response) or response.status >= 400:
            return response
        document = _json_of(response.body)
        if document is None:
            return response
        for place, path, value in sent:
            show_as_sent(self.ruled_part(request, document, place), path, value)
        altered = self._alter_answer(request, document, entry, rules)
        if not sent and not altered:
            return response
        return web.Response(
            status=response.status,
            body=self.json_bytes(document),
            headers=_headers_of(response),
        )

    async def _alter_stored(
        self,
        request: web.Request,
        entry: dict[str, Any],
        rules: list[tuple[ActiveFault, list[int]]],
    ) -> list[tuple[int, tuple[Any, ...], Any]]:
        """Alter the body; the places whose answer shows what was sent."""
        storing = _alterations_of_body(request, rules)
        if not storing:
            return []
        body = _json_of(await request.read())
        if not isinstance(body, dict):
            return []
        stored = self.stored_object(request, body)
        echoed: list[tuple[int, tuple[Any, ...], Any]] = []
        for active, alteration, place in storing:
            part = self.ruled_part(request, body, place)
            try:
                changed = alter_stored(
                    part,
                    alteration,
                    active.chosen(self.seed),
                    stored,
                )
            except RefusedAlterationError as refused:
                _note(request, entry, active, "stored", alteration)
                refused.place = place
                raise
            if changed:
                _note(request, entry, active, "stored", alteration)
            if alteration.echo and self.echoes(request):
                echoed += [(place, *change) for change in changed]
        request[ALTERED_BODY] = json.dumps(body).encode()
        return echoed

    def _alter_answer(
        self,
        request: web.Request,
        document: Any,
        entry: dict[str, Any],
        rules: list[tuple[ActiveFault, list[int]]],
    ) -> bool:
        changed = False
        for active, met in rules:
            chosen = active.chosen(self.seed)
            parts = [self.ruled_part(request, document, place) for place in met]
            for part, alteration in product(parts, active.rule.answer):
                if alter_answer(part, alteration, chosen):
                    _note(request, entry, active, "answer", alteration)
                    changed = True
        return changed

    async def _spoil(
        self,
        request: web.Request,
        fault: Fault,
        place: int,
    ) -> web.StreamResponse:
        if fault.hang:
            while _caller_waits(request):  # noqa: ASYNC110 - no event reports it
                await asyncio.sleep(0.05)
        if fault.reset or fault.hang:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)
        status = fault.status or 500
        response = self.error_response(status)
        if fault.body is not None:
            response = web.json_response(fault.body, status=status)
        response.headers.update(fault.headers)
        return self.refused_at(response, request, place)

    # -- control API ------------------------------------------------------------------------------------------

    async def _reset(self, request: web.Request) -> web.Response:
        requested: dict[str, Any] = {}
        if request.can_read_body:
            requested = await request.json()
        self.seed = int(requested.get("seed", self.seed))
        self.empty = bool(requested.get("empty", self.empty))
        self.dice = random.Random(self.seed)  # noqa: S311 - seeded
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
        calls = []
        for entry in self.journal:
            calls.append(f"{entry['method']} {entry['route']}")
        return web.json_response(Counter(calls))

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            requested = await request.json()
            if not isinstance(requested, list):
                requested = [requested]
            rules = [Fault.model_validate(rule) for rule in requested]
        except ValidationError as error:
            details = json.loads(error.json(include_url=False, include_input=False))
            return web.json_response({"error": details}, status=400)
        except ValueError:
            return web.json_response({"error": "the body is no JSON"}, status=400)
        self.faults.extend(map(ActiveFault, rules))
        return await self._list_faults(request)

    async def _list_faults(self, _request: web.Request) -> web.Response:
        shown = []
        for active in self.faults:
            rule = active.rule.model_dump(exclude_defaults=True)
            shown.append({**rule, "struck": active.struck})
        return web.json_response(shown)

    async def _remove_faults(self, request: web.Request) -> web.Response:
        name = request.query.get("name")
        kept = []
        if name is not None:
            for active in self.faults:
                if active.rule.name != name:
                    kept.append(active)
        self.faults = kept
        return await self._list_faults(request)

    async def _set_clock(self, request: web.Request) -> web.Response:
        requested = await request.json()
        if requested.get("reset"):
            self._clock_offset = timedelta()
        seconds = float(requested.get("advance_seconds", 0))
        self._clock_offset += timedelta(seconds=seconds)
        return web.json_response({"now": self.now().isoformat()})


class _Pickler(pickle.Pickler):
    """Writes a twin's data with references to the twin itself, and without the state of locks."""

    def __init__(self, file: io.BytesIO, twin: Twin) -> None:
        super().__init__(file)
        self._twin = twin

    def persistent_id(self, obj: object) -> str | None:
        if obj is self._twin:
            return "twin"
        if isinstance(obj, asyncio.Lock):
            return "lock"
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, twin: Twin) -> None:
        super().__init__(file)
        self._twin = twin

    def persistent_load(self, pid: str) -> object:
        if pid == "twin":
            return self._twin
        return asyncio.Lock()

    def find_class(self, module: str, name: str) -> Any:
        """A twin that ran as a program of its own has written ``__main__`` for its module."""
        if module == "__main__":
            module = type(self._twin).__module__
        return super().find_class(module, name)


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


async def body_of(request: web.Request) -> bytes:
    """The body of a request as the twin is to take it: the one that was sent, unless a fault rule altered it."""
    altered: bytes | None = request.get(ALTERED_BODY)
    if altered is None:
        return await request.read()
    return altered


def routes_below(prefix: str, table: Iterable[Route]) -> list[web.RouteDef]:
    """The routes of a table whose paths are below this one."""
    routes = []
    for method, path, handler in table:
        route = web.route(method, f"{prefix}/{path}", handler)
        routes.append(route)
    return routes


def _line_length(request: web.Request) -> int:
    """Bytes of the request line without its end."""
    version = f"HTTP/{request.version.major}.{request.version.minor}"
    line = f"{request.method} {request.raw_path} {version}"
    return len(line.encode())


def _route_of(request: web.Request) -> str:
    """The pattern of the route that takes a request."""
    resource = request.match_info.route.resource
    if resource is None:
        return "(no route)"
    return resource.canonical


def _note(
    request: web.Request,
    entry: dict[str, Any],
    active: ActiveFault,
    kind: str,
    alteration: Alteration,
) -> None:
    """Count that a rule struck a request, and say in the journal what it did."""
    struck = request.get(STRUCK, [])
    request[STRUCK] = struck
    if active not in struck:
        struck.append(active)
        active.struck += 1
    entry["altered"].append(f"{kind} {alteration.field}: {alteration.how}")


def _alterations_of_body(
    request: web.Request,
    rules: list[tuple[ActiveFault, list[int]]],
) -> list[tuple[ActiveFault, Alteration, int]]:
    """What happens to a body that is stored: by which rule, how, and in which part of the request."""
    if request.method not in {"POST", "PUT", "PATCH"}:
        return []
    storing: list[tuple[ActiveFault, Alteration, int]] = []
    for active, met in rules:
        for place, alteration in product(met, active.rule.stored):
            storing.append((active, alteration, place))
    return storing


def _json_of(body: object) -> Any:
    """What a body holds as JSON; None for anything else."""
    if not isinstance(body, bytes):
        return None
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


def _headers_of(response: web.Response) -> dict[str, str]:
    """The headers of an answer that go with another body as well."""
    return {
        name: value
        for name, value in response.headers.items()
        if name != "Content-Length"
    }


def _caller_waits(request: web.Request) -> bool:
    """Whether the caller has not hung up."""
    if request.transport is None:
        return False
    return not request.transport.is_closing()


def _spoiled(response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    """The answer to work that was done, as a rule wants it shown."""
    if not isinstance(response, web.Response):
        return response
    if not isinstance(response.body, bytes | None):
        return response
    if fault.empty_list:
        return _emptied(response)
    if fault.truncate_json and response.body is not None:
        return _halved(response, response.body)
    if fault.rewords_answer:
        return _reworded(response, fault)
    return response


def _halved(response: web.Response, body: bytes) -> web.Response:
    half = body[: len(body) // 2]
    return web.Response(
        status=response.status,
        body=half,
        content_type="application/json",
    )


def _reworded(response: web.Response, fault: Fault) -> web.Response:
    """The same status with another text, or the same content with another content type or encoding."""
    if response.status >= 400:
        return response
    if fault.text is not None:
        text = fault.text
        content_type = fault.content_type or "text/plain"
    else:
        text = _readable_text(response)
        content_type = fault.content_type or response.content_type
    if fault.charset:
        content_type = f"{content_type}; charset={fault.charset}"
    charset = fault.charset or "utf-8"
    return web.Response(
        status=response.status,
        body=text.encode(charset, "replace"),
        headers={"Content-Type": content_type, **fault.headers},
    )


def _readable_text(response: web.Response) -> str:
    """The text of an answer; that of JSON without escapes, so that it can be written in another encoding."""
    document = _json_of(response.body)
    if document is None:
        return response.text or ""
    return json.dumps(document, ensure_ascii=False)


def _emptied(response: web.StreamResponse) -> web.StreamResponse:
    """The same answer with its list emptied, in the shapes the three systems use."""
    if not isinstance(response, web.Response):
        return response
    if not isinstance(response.body, bytes):
        return response
    body = json.loads(response.body)
    if isinstance(body, list):
        body = []
    elif isinstance(body, dict):
        _empty_list_in(body)
    return web.json_response(body, status=response.status)


def _empty_list_in(body: dict[str, Any]) -> None:
    for key in ("list", "items"):
        if key in body:
            body[key] = []
    if "total" in body:
        body["total"] = 0


@asynccontextmanager
async def running(
    twin: Twin,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Serve a twin; yields its base URL. Port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    # No handler_cancellation: like the real systems, a twin finishes the work of a caller that has hung up.
    runner = web.AppRunner(
        twin.application(),
        access_log=None,
        handler_cancellation=False,
        shutdown_timeout=1,
        max_line_size=READ_REQUEST_LINE,
    )
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


def main(
    make_twin: Callable[[argparse.Namespace], Twin],
    parser: argparse.ArgumentParser,
    default_port: int,
) -> None:
    """Command line of one twin: serve until SIGTERM or SIGINT.

    Prints one line of JSON when it listens: ``{"ready": "advoware", "url": "http://127.0.0.1:4010"}``.
    """
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port",
        type=int,
        default=default_port,
        help="0 takes a free port",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="number that determines the sample data",
    )
    parser.add_argument(
        "--state-file",
        type=Path,
        help="keep the data in this file over restarts",
    )
    parser.add_argument(
        "--empty",
        action="store_true",
        help="start without sample data",
    )
    arguments = parser.parse_args()
    twin = make_twin(arguments)
    restore(twin, arguments.state_file)

    async def serve() -> None:
        finished = asked_to_end()
        async with kept(
            twin,
            arguments.state_file,
            host=arguments.host,
            port=arguments.port,
        ) as url:
            print(json.dumps({"ready": twin.name, "url": url}), flush=True)  # noqa: T201 - the contract above
            await finished.wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


def restore(twin: Twin, state_file: Path | None) -> None:
    """Give a twin the data of its last run, if it has kept any."""
    if state_file is not None and state_file.exists():
        twin.restore(state_file.read_bytes())


def asked_to_end() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, finished.set)
    return finished


@asynccontextmanager
async def kept(
    twin: Twin,
    state_file: Path | None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Serve a twin and keep its data in a file, if one is given; yields its base URL.

    Raises:
        SystemExit: the port is taken; the message says what to do.
    """
    try:
        async with running(twin, host=host, port=port) as url, _saved(twin, state_file):
            yield url
    except OSError as error:
        problem = f"Port {port} ({twin.name} twin) cannot be used: {error.strerror}"
        raise SystemExit(f"{problem}; choose another port") from error


@asynccontextmanager
async def _saved(twin: Twin, state_file: Path | None) -> AsyncIterator[None]:
    """Save what changes, and the last of it when the block ends."""
    if state_file is None:
        yield
        return
    saver = asyncio.create_task(_keep_saved(twin, state_file))
    try:
        yield
    finally:
        saver.cancel()
        await asyncio.wait([saver])
