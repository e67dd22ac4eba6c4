"""Who may look and who may repair: operator keys, sessions in memory, CSRF tokens, slow refusals, and known names.

* A request must name this machine or a configured name (`Host`): a page whose name was bent to 127.0.0.1 reads nothing.
* Without login only *view* is possible, and only from this machine while no real system is configured.
* A session ends after half an hour without a request, and after a working day in any case; a restart ends all.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from config import OperatorKey, Settings, key_digest, key_of

Role = Literal["none", "view", "repair"]
COOKIE = "bitbylaw_board"
IDLE_SECONDS = 30 * 60
LONGEST_SECONDS = 10 * 60 * 60
MAX_SESSIONS = 1_000
#: So many wrong keys in the time below are answered at once, then each waits longer; from `REFUSED_FROM` on they are
#: refused at once. The right key is always taken.
FREE_ATTEMPTS = 3
REFUSED_FROM = 20
COUNT_SECONDS = 10 * 60
STEP_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 4.0
_FORWARDING = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip"})
Clock = Callable[[], float]


@dataclass
class Session:
    """Who is logged in; times are monotonic seconds."""

    name: str
    role: Role
    csrf: str
    began: float
    used: float


@dataclass(frozen=True)
class Visitor:
    """Who asks: ``session`` is None without login."""

    role: Role
    session: Session | None

    @property
    def may_repair(self) -> bool:
        """Whether repairs are offered."""
        return self.role == "repair"


class TooManyAttempts(Exception):
    """So many wrong keys came from this address that a further one is refused for a while."""


class Access:
    """The board's gate."""

    def __init__(self, settings: Settings, *, clock: Clock = time.monotonic) -> None:
        self._operators = settings.board.operator_keys
        self._names = settings.board.host_names
        self._is_open = not settings.real_systems
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._failures: dict[str, list[float]] = {}

    # -- names ----------------------------------------------------------------------------------------------------

    def knows_name(self, request: web.BaseRequest) -> bool:
        """Whether the request is for this machine or a configured name, and a browser's page is the board's own."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1:
            return False
        name = _host_name(hosts[0])
        if not (is_own_name(name) or name in self._names):
            return False
        return _is_same_site(request.headers, hosts[0])

    def is_secure(self, request: web.BaseRequest) -> bool:
        """Whether the browser came by https: always under a configured name, which lies behind a proxy."""
        return _host_name(request.host) in self._names

    # -- sessions -------------------------------------------------------------------------------------------------

    def visitor(self, request: web.BaseRequest, *, is_at_work: bool = True) -> Visitor:
        """Who asks. ``is_at_work`` False: a page that renews itself does not keep its session alive."""
        session = self._session(request.cookies.get(COOKIE, ""), is_used=is_at_work)
        if session is not None:
            return Visitor(session.role, session)
        if self._is_open and _is_from_here(request):
            return Visitor("view", None)
        return Visitor("none", None)

    def _session(self, token: str, *, is_used: bool) -> Session | None:
        key = key_digest(token)
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock()
        is_idle = now - session.used > IDLE_SECONDS
        if is_idle or now - session.began > LONGEST_SECONDS:
            del self._sessions[key]
            return None
        if is_used:
            session.used = now
        return session

    async def log_in(self, address: str, key: str) -> str | None:
        """The token of a new session, or None for a wrong key, which is answered late.

        Raises:
            TooManyAttempts: from this address.
        """
        operator = await self._checked(address, key)
        if operator is None:
            return None
        self._forget_ended()
        token = secrets.token_urlsafe(32)
        now = self._clock()
        csrf = secrets.token_urlsafe(32)
        self._sessions[key_digest(token)] = Session(
            operator.name,
            operator.role,
            csrf,
            now,
            now,
        )
        return token

    async def may_read_metrics(self, request: web.BaseRequest) -> bool:
        """Whether it comes from this machine and through no proxy, or brings an operator's key (``Bearer``).

        Raises:
            TooManyAttempts: from this address.
        """
        if _is_from_here(request):
            return True
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        return await self._checked(request.remote or "", key.strip()) is not None

    async def _checked(self, address: str, key: str) -> OperatorKey | None:
        """The operator with this key; without one it takes longer from attempt to attempt.

        The right key is never refused: it is too long to be guessed, and behind one address there are all operators.
        """
        operator = key_of(key, self._operators)
        if operator is not None:
            return operator
        failures = self._recent_failures(address)
        if len(failures) >= REFUSED_FROM:
            raise TooManyAttempts
        failures.append(self._clock())
        self._failures[address] = failures
        await asyncio.sleep(_wait_seconds(len(failures)))
        return None

    def log_out(self, request: web.BaseRequest) -> None:
        """End the session of the request."""
        self._sessions.pop(key_digest(request.cookies.get(COOKIE, "")), None)

    def _recent_failures(self, address: str) -> list[float]:
        since = self._clock() - COUNT_SECONDS
        self._failures = {
            name: times for name, times in self._failures.items() if times[-1] > since
        }
        return [at for at in self._failures.get(address, []) if at > since]

    def _forget_ended(self) -> None:
        now = self._clock()
        self._sessions = {
            key: session
            for key, session in self._sessions.items()
            if now - session.used <= IDLE_SECONDS
        }
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))


def is_right_token(visitor: Visitor, token: str) -> bool:
    """Whether a form carries the session's own CSRF token."""
    if visitor.session is None:
        return False
    return hmac.compare_digest(visitor.session.csrf.encode(), token.encode())


def is_own_name(name: str) -> bool:
    """``localhost``, an address of 127.0.0.0/8, or ``::1``."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _wait_seconds(failures: int) -> float:
    return min(LONGEST_WAIT_SECONDS, max(0, failures - FREE_ATTEMPTS) * STEP_SECONDS)


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_same_site(headers: Mapping[str, str], host: str) -> bool:
    """Whether a browser says that the request comes from the board's own pages, or from no page at all."""
    site = headers.get("Sec-Fetch-Site", "none")
    mode = headers.get("Sec-Fetch-Mode", "navigate")
    if site not in ("none", "same-origin") and mode != "navigate":
        return False
    origin = headers.get("Origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()


def _is_from_here(request: web.BaseRequest) -> bool:
    """Whether the request came from this machine and through no proxy, and for this machine's own name."""
    names = {name.lower() for name in request.headers}
    is_forwarded = not names.isdisjoint(_FORWARDING) or any(
        name.startswith("x-forwarded") for name in names
    )
    if is_forwarded:
        return False
    return is_own_name(request.remote or "") and is_own_name(_host_name(request.host))
