"""The client of Advoware: login, one way to call the API, and errors that say what to do.

Business methods are in `services.advoware_service`, facts about the interface in `services.values.advoware_protocol`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.lock import Lock
from redis.exceptions import LockError, RedisError
from yarl import URL

from config import address_problem
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    LoginRefused,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    WriteProtected,
    error_for_status,
)
from services.core.foreign_text import read_json
from services.core.http import HttpAnswer, Params, send
from services.core.log import Level, log
from services.core.metrics import GUARDS
from services.core.operation.foreign_calls import carried, require_still_writable
from services.core.resources import Resources, current_resources
from services.core.retry import retry_unavailable
from services.core.write_guard import ForeignRequest
from services.values.advoware_protocol import (
    SYSTEM,
    TOKEN_PATH,
    Token,
    endpoint_url,
    explain_refusal,
    is_calendar_path,
    login_request,
    read_token,
    reason_of,
)

TOKEN_KEY = "advoware_access_token"  # noqa: S105 - the name of a Redis key
TOKEN_TIMESTAMP_KEY = "advoware_token_timestamp"  # noqa: S105
LOGIN_LOCK_KEY = "advoware_login_lock"
LOGIN_REFUSED_KEY = "advoware_login_refused"
LOGIN_REFUSED_SECONDS = 60
DISCOVERY_TTL = timedelta(hours=1)
#: How long Redis is left alone after a failure.
REDIS_PAUSE_SECONDS = 10.0
_AWAY = object()
REPEATABLE_METHODS = frozenset({"GET", "HEAD"})
#: What the innermost limit gets to end a request first: only there is known whether Advoware had begun to answer.
TIMEOUT_GRACE_SECONDS = 0.25
#: How long a 401 of an endpoint that has refused a fresh token leads to no further login.
UNAUTHORISED_SECONDS = 300
MAX_UNAUTHORISED_ENDPOINTS = 1000
#: A larger error body is not passed on as ``details``.
MAX_DETAILS_BYTES = 2**18


class _Session:
    """What one process remembers about Advoware: addresses, and a token while Redis is away."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.addresses: tuple[datetime, str, str] | None = None
        self.refused: tuple[datetime, str] | None = None
        #: Endpoints that have answered 401 to a fresh token, and until when we remember that.
        self.unauthorised: dict[str, datetime] = {}
        self.redis_paused_until = 0.0  #: monotonic seconds


class AdvowareAPI:
    """Calls Advoware's REST API.

    ``context`` is a step's FlowContext (its logger is used) or None.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._settings = self._resources.settings.advoware
        self._session = self._resources.shared(_Session)

    # -- calling --------------------------------------------------------------------------------------------------

    async def api_call(
        self,
        endpoint: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json_data: Any = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        """Call ``endpoint`` (a path below the base URL, such as ``api/v1/advonet/Beteiligte/1``) as JSON.

        Returns the decoded answer, None if it is empty. How it is called and what is raised: `request`.

        Raises:
            UnexpectedAnswer: the answer is not JSON. A write has been done all the same.
        """
        answer = await self.request(
            endpoint,
            method,
            headers,
            params,
            json_data,
            timeout_seconds=timeout_seconds,
        )
        return answer.json(SYSTEM)

    async def request(
        self,
        endpoint: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        json_data: Any = None,
        *,
        body: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> HttpAnswer:
        """Call ``endpoint`` with a JSON body, given as a value or as bytes, and return what Advoware answered.

        Returning means that Advoware has accepted the request (2xx), whatever can be read of its answer: of one that
        broke off, or is too large, the body is `HttpAnswer.missing`.

        ``timeout_seconds`` bounds everything, the login included; default ``ADVOWARE_API_TIMEOUT_SECONDS``. Reads are
        repeated when Advoware is unavailable, writes only when they certainly did not arrive. A 401 leads to one new
        login and one more try, for each endpoint once in five minutes.

        Raises:
            InvalidInput: the endpoint leads away from the base URL.
            WriteProtected: a change of appointments while ``ADVOWARE_WRITE_PROTECTION`` is on.
            LoginRefused, ConfigurationError: the credentials are wrong or missing.
            ForeignSystemError: the class for the status of the answer, or for the failure of the connection.
        """
        method = method.upper()
        limit = timeout_seconds or self._settings.api_timeout_seconds
        request = ForeignRequest(
            SYSTEM,
            method,
            endpoint,
            params,
            json_data,
        )

        async def send_it() -> HttpAnswer:
            return await self._request(request, headers, body, limit)

        return await carried(self._resources, request, send_it)

    async def _request(
        self,
        request: ForeignRequest,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        limit: float,
    ) -> HttpAnswer:
        deadline = asyncio.get_running_loop().time() + limit
        method = request.method

        async def send_with(token: str, url: URL) -> HttpAnswer:
            sent = {
                **(headers or {}),
                "Authorization": f"Bearer {token}",
                "Accept": "application/json",
            }

            async def attempt() -> HttpAnswer:
                await require_still_writable(self._resources, request)
                return await self._send(method, url, sent, request.body, body, deadline)

            return await retry_unavailable(
                attempt,
                repeatable=method in REPEATABLE_METHODS,
                max_seconds=limit / 2,
            )

        try:
            async with asyncio.timeout_at(deadline + TIMEOUT_GRACE_SECONDS):
                url = await self._url(request.path, method, request.params)
                name = f"{method} {re.sub(r'[0-9]+', '0', url.path)}"
                answer = await self._send_logged_in(
                    lambda token: send_with(token, url),
                    name,
                )
        except TimeoutError as error:
            raise UpstreamTimeout(SYSTEM, f"no answer within {limit:g} s") from error
        if answer.status >= 300:
            raise _error(answer)
        return answer

    async def _url(self, endpoint: str, method: str, params: Params | None) -> URL:
        base_url, _ = await self._base_urls()
        url = endpoint_url(base_url, endpoint)
        is_write = method not in REPEATABLE_METHODS
        if is_write and self._settings.write_protection and is_calendar_path(url):
            GUARDS.labels("write_protection").inc()
            raise WriteProtected(
                "ADVOWARE_WRITE_PROTECTION is on: appointments in Advoware are not changed",
            )
        if params:
            return url.extend_query(params)
        return url

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        json_data: Any,
        body: bytes | None,
        deadline: float,
    ) -> HttpAnswer:
        """Send once. Of a write that Advoware has accepted, not even a lost answer makes a failure."""
        try:
            answer = await send(
                self._resources.http,
                SYSTEM,
                method,
                url,
                headers=headers,
                json_data=json_data,
                body=body,
                timeout_seconds=deadline - asyncio.get_running_loop().time(),
            )
        except Unavailable as error:
            if method in REPEATABLE_METHODS or error.status is None:
                raise
            if not 200 <= error.status < 300:
                raise
            missing = f"the answer broke off: {error.reason}"
            return HttpAnswer(error.status, {}, b"", missing)
        if answer.status >= 500:
            raise _error(answer)
        return answer

    async def _send_logged_in(
        self,
        send_with: Callable[[str], Awaitable[HttpAnswer]],
        name: str,
    ) -> HttpAnswer:
        """Send with a token, and once more with a fresh one after a 401.

        An endpoint that refuses a fresh token as well is remembered: it is the endpoint that our account may not use,
        and each of its calls would log in again. ``name`` is that of the endpoint, without the numbers of its records.
        """
        token = await self.get_access_token()
        answer = await send_with(token)
        if answer.status != 401:
            self._session.unauthorised.pop(name, None)
            return answer
        if self._is_known_as_unauthorised(name):
            return answer
        answer = await send_with(await self._replace_token(token))
        if answer.status == 401:
            self._note_unauthorised(name)
        return answer

    def _is_known_as_unauthorised(self, name: str) -> bool:
        known = self._session.unauthorised
        return name in known and known[name] > self._resources.now()

    def _note_unauthorised(self, name: str) -> None:
        known = self._session.unauthorised
        if len(known) >= MAX_UNAUTHORISED_ENDPOINTS:
            known.clear()
        known[name] = self._resources.now() + timedelta(
            seconds=UNAUTHORISED_SECONDS,
        )

    # -- login ----------------------------------------------------------------------------------------------------

    async def get_access_token(self, force_refresh: bool = False) -> str:
        """A usable access token, from the cache (Redis, or this process while Redis is away) or by a login.

        Raises:
            LoginRefused, ConfigurationError: the credentials are wrong or missing.
            Unavailable: the security gateway cannot be reached.
        """
        if force_refresh:
            return await self._replace_token(await self._cached_token())
        return await self._cached_token() or await self._log_in_once(stale=None)

    async def _cached_token(self) -> str | None:
        token = await self._with_redis(lambda redis: redis.get(TOKEN_KEY), _AWAY)
        if token is not _AWAY:
            if token:
                return str(token)
            return None
        kept = self._session.token
        if kept is None or kept.usable_until <= self._resources.now():
            return None
        return kept.value

    async def _with_redis(
        self,
        operation: Callable[[Redis], Awaitable[Any]],
        fallback: Any,
    ) -> Any:
        """The result of the operation, or ``fallback`` while Redis is away; it is then left alone for some seconds.

        Without this pause, a Redis that hangs would cost its timeout several times in every call.
        """
        if time.monotonic() < self._session.redis_paused_until:
            return fallback
        try:
            return await operation(self._resources.redis)
        except RedisError:
            self._session.redis_paused_until = time.monotonic() + REDIS_PAUSE_SECONDS
            self._log("warning", "advoware.redis_unavailable")
            return fallback

    async def _replace_token(self, stale: str | None) -> str:
        """Log in, unless another job has replaced the stale token already."""
        current = await self._cached_token_but(stale)
        if current is not None:
            return current
        return await self._log_in_once(stale=stale)

    async def _cached_token_but(self, stale: str | None) -> str | None:
        """The cached token; None if there is none, or only the stale one."""
        current = await self._cached_token()
        if current and current != stale:
            return current
        return None

    async def _log_in_once(self, *, stale: str | None) -> str:
        """One login at a time, in this process and across all workers; the others use its result."""
        async with self._resources.login_lock:
            current = await self._cached_token_but(stale)
            if current is not None:
                return current
            limit = self._settings.api_timeout_seconds
            lock = self._resources.redis.lock(
                LOGIN_LOCK_KEY,
                timeout=limit,
                blocking_timeout=limit,
            )
            acquired = await self._with_redis(lambda _: lock.acquire(), _AWAY)
            if acquired is _AWAY:
                return await self._log_in()
            if not acquired:
                raise Unavailable(
                    SYSTEM,
                    "another worker's login does not come to an end",
                )
            try:
                current = await self._cached_token_but(stale)
                if current is not None:
                    return current
                return await self._log_in()
            finally:
                await self._release_login(lock)

    async def _release_login(self, lock: Lock) -> None:
        try:
            await lock.release()
        except (LockError, RedisError):
            self._log("warning", "advoware.login_lock_expired")

    async def _log_in(self) -> str:
        await self._raise_if_refused_recently()
        _, auth_url = await self._base_urls()
        if not self._settings.is_configured:
            raise ConfigurationError(
                "ADVOWARE_APP_ID and ADVOWARE_KANZLEI: no credentials for Advoware are configured",
            )
        answer = await retry_unavailable(
            lambda: self._post_login(auth_url),
            repeatable=True,
            max_seconds=self._settings.api_timeout_seconds / 2,
        )
        if answer.status >= 300:
            await self._raise_login_error(answer)
        token = read_token(
            answer.json(SYSTEM),
            self._resources.now(),
            self._settings.token_lifetime_minutes,
        )
        await self._keep(token)
        self._log("info", "advoware.login")
        return token.value

    async def _post_login(self, auth_url: str) -> HttpAnswer:
        answer = await send(
            self._resources.http,
            SYSTEM,
            "POST",
            endpoint_url(auth_url, TOKEN_PATH),
            json_data=login_request(self._settings, self._resources.now()),
            timeout_seconds=self._settings.api_timeout_seconds,
        )
        is_broken = answer.status >= 500
        if is_broken and explain_refusal(answer.status, answer.text()) is None:
            raise _error(answer)
        return answer

    async def _raise_login_error(self, answer: HttpAnswer) -> None:
        explanation = explain_refusal(answer.status, answer.text())
        if explanation is None:
            raise _error(answer)
        until = self._resources.now() + timedelta(seconds=LOGIN_REFUSED_SECONDS)
        self._session.refused = (until, explanation)
        await self._with_redis(
            lambda redis: redis.set(
                LOGIN_REFUSED_KEY,
                explanation,
                ex=LOGIN_REFUSED_SECONDS,
            ),
            None,
        )
        self._log("error", "advoware.login_refused", reason=explanation)
        raise LoginRefused(f"Advoware: {explanation}")

    async def _raise_if_refused_recently(self) -> None:
        """A refused login is not tried again for a minute, however many jobs are waiting: accounts get locked."""
        explanation = self._own_refusal()
        if not explanation:
            explanation = await self._with_redis(
                lambda redis: redis.get(LOGIN_REFUSED_KEY),
                None,
            )
        if explanation:
            raise LoginRefused(
                f"Advoware: {explanation} (not tried again for up to {LOGIN_REFUSED_SECONDS} s)",
            )

    def _own_refusal(self) -> str | None:
        """Why a login of this process was refused within the last minute; None if none was."""
        if self._session.refused is None:
            return None
        until, explanation = self._session.refused
        if until > self._resources.now():
            return explanation
        return None

    async def _keep(self, token: Token) -> None:
        self._session.token = token
        seconds = int((token.usable_until - self._resources.now()).total_seconds())
        if seconds <= 0:
            return

        async def store(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.set(TOKEN_KEY, token.value, ex=seconds)
                pipeline.set(
                    TOKEN_TIMESTAMP_KEY,
                    self._resources.now().isoformat(),
                    ex=seconds,
                )
                await pipeline.execute()

        await self._with_redis(store, None)

    # -- addresses ------------------------------------------------------------------------------------------------

    async def _base_urls(self) -> tuple[str, str]:
        """``(API base URL, URL of the security gateway)``: configured, or as the configurator says for an hour."""
        api_url = self._settings.api_base_url
        auth_url = self._settings.auth_url
        if auth_url:
            auth_url = auth_url.removesuffix(f"/{TOKEN_PATH}")
        if api_url and auth_url:
            return api_url, auth_url
        known_api_url, known_auth_url = await self._discovered()
        return api_url or known_api_url, auth_url or known_auth_url

    async def _discovered(self) -> tuple[str, str]:
        known = self._session.addresses
        if known is None or known[0] < self._resources.now() - DISCOVERY_TTL:
            api_url, auth_url = await self._discover()
            known = self._session.addresses = (self._resources.now(), api_url, auth_url)
        return known[1], known[2]

    async def _discover(self) -> tuple[str, str]:
        if not self._settings.kanzlei:
            raise ConfigurationError(
                "ADVOWARE_KANZLEI or ADVOWARE_API_BASE_URL: Advoware's address is not configured",
            )
        answer = await send(
            self._resources.http,
            SYSTEM,
            "GET",
            URL(self._settings.configurator_url).with_query(
                Kanzlei=self._settings.kanzlei,
            ),
            timeout_seconds=self._settings.api_timeout_seconds,
        )
        if answer.status >= 300:
            raise _error(answer)
        addresses = _named_addresses(answer.json(SYSTEM))
        service = self._resources.settings.service
        if any(address_problem(url, service) for url in addresses):
            raise ConfigurationError(
                "ADVOWARE_API_BASE_URL and ADVOWARE_AUTH_URL: the configurator names an address that is not https://; "
                "set them, or name its host in BITBYLAW_PLAIN_HTTP_HOSTS",
            )
        return addresses

    # -- helpers --------------------------------------------------------------------------------------------------

    def _log(self, level: Level, event: str, **fields: Any) -> None:
        log(self._context, level, event, **fields)


def _named_addresses(content: Any) -> tuple[str, str]:
    """``(API base URL, URL of the security gateway)`` in an answer of the configurator."""
    found = content if isinstance(content, dict) else {}
    api_url = found.get("connectorUrl") or found.get("relayUrl")
    if not api_url or not found.get("securityGateway"):
        raise UnexpectedAnswer(
            SYSTEM,
            "the configurator knows no address for this Kanzlei",
        )
    auth_url = found["securityGateway"]
    return str(api_url).rstrip("/"), str(auth_url).rstrip("/")


def _error(answer: HttpAnswer) -> ForeignSystemError:
    reason, details = _reason_and_details(answer)
    return error_for_status(
        SYSTEM,
        answer.status,
        reason,
        details,
        retry_after=_retry_after(answer),
    )


def _reason_and_details(answer: HttpAnswer) -> tuple[str, Any]:
    if answer.missing or len(answer.body) > MAX_DETAILS_BYTES:
        return "its description of the error is too large", None
    text = answer.text()
    try:
        details = read_json(text) if text.strip() else None
    except ValueError:
        details = text[:2000]
    return reason_of(details, text), details


def _retry_after(answer: HttpAnswer) -> str | None:
    """The header, if it is one that can be passed on: seconds or a date, in printable ASCII."""
    value = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[ -~]{1,64}", value):
        return value
    return None
