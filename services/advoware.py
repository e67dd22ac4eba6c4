"""The window to Advoware: login, one way to call the API, and errors that say what to do.

Business methods are in `services.advoware_service`, facts about the interface in `services.advoware_models`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import LockError, RedisError
from yarl import URL

from config import address_problem
from services.advoware_models import (
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
from services.errors import (
    ConfigurationError,
    LoginRefused,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    WriteProtected,
    error_for_status,
)
from services.http import HttpAnswer, Params, send
from services.logs import Level, log
from services.resources import Resources, current_resources
from services.retry import retry_unavailable

TOKEN_KEY = "advoware_access_token"  # noqa: S105 - the name of a Redis key
TOKEN_TIMESTAMP_KEY = "advoware_token_timestamp"  # noqa: S105
LOGIN_LOCK_KEY = "advoware_login_lock"
LOGIN_REFUSED_KEY = "advoware_login_refused"
LOGIN_REFUSED_SECONDS = 60
DISCOVERY_TTL = timedelta(hours=1)
REDIS_REST_SECONDS = 10.0
_AWAY = object()
REPEATABLE_METHODS = frozenset({"GET", "HEAD"})


class _Session:
    """What one process remembers about Advoware: addresses, and a token while Redis is away."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.addresses: tuple[datetime, str, str] | None = None
        self.refused: tuple[datetime, str] | None = None
        self.redis_rests_until = 0.0  #: monotonic seconds


class AdvowareAPI:
    """Calls Advoware's REST API.

    ``context`` is a step's FlowContext (its logger is used) or None.
    """

    def __init__(self, context: Any = None, *, resources: Resources | None = None) -> None:
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

        ``timeout_seconds`` bounds everything, the login included; default ``ADVOWARE_API_TIMEOUT_SECONDS``. Reads are
        repeated when Advoware is unavailable, writes only when they certainly did not arrive. A 401 leads to one new
        login and one more try.

        Returns the decoded answer, None if it is empty.

        Raises:
            InvalidInput: the endpoint leads away from the base URL.
            WriteProtected: a change of appointments while ``ADVOWARE_WRITE_PROTECTION`` is on.
            LoginRefused, ConfigurationError: the credentials are wrong or missing.
            ForeignSystemError: the class for the status of the answer, or for the failure of the connection.
        """
        limit = timeout_seconds or self._settings.api_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self._call(endpoint, method.upper(), headers, params, json_data, limit)
        except TimeoutError as error:
            raise UpstreamTimeout(SYSTEM, f"no answer within {limit:g} s") from error

    async def _call(
        self,
        endpoint: str,
        method: str,
        headers: Mapping[str, str] | None,
        params: Params | None,
        json_data: Any,
        limit: float,
    ) -> Any:
        base_url, _ = await self._base_urls()
        url = endpoint_url(base_url, endpoint)
        if method not in REPEATABLE_METHODS and self._settings.write_protection and is_calendar_path(url):
            raise WriteProtected("ADVOWARE_WRITE_PROTECTION is on: appointments in Advoware are not changed")
        if params:
            url = url.update_query(params)

        async def request(token: str) -> HttpAnswer:
            answer = await send(
                self._resources.http,
                SYSTEM,
                method,
                url,
                headers={**(headers or {}), "Authorization": f"Bearer {token}", "Accept": "application/json"},
                json_data=json_data,
                timeout_seconds=limit,
            )
            if answer.status >= 500:
                raise _error(answer)
            return answer

        async def request_repeatedly(token: str) -> HttpAnswer:
            return await retry_unavailable(
                lambda: request(token), repeatable=method in REPEATABLE_METHODS, max_seconds=limit / 2
            )

        token = await self.get_access_token()
        answer = await request_repeatedly(token)
        if answer.status == 401:
            answer = await request_repeatedly(await self._replace_token(token))
        if answer.status >= 300:
            raise _error(answer)
        return answer.json(SYSTEM)

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
        if token is _AWAY:
            kept = self._session.token
            return kept.value if kept and kept.usable_until > self._now() else None
        return str(token) if token else None

    async def _with_redis(self, operation: Callable[[Redis], Awaitable[Any]], fallback: Any) -> Any:
        """The result of the operation, or ``fallback`` while Redis is away; it is then left alone for some seconds.

        Without the rest, a Redis that hangs would cost its timeout several times in every call.
        """
        if time.monotonic() < self._session.redis_rests_until:
            return fallback
        try:
            return await operation(self._resources.redis)
        except RedisError:
            self._session.redis_rests_until = time.monotonic() + REDIS_REST_SECONDS
            self._log("warning", "advoware.redis_unavailable")
            return fallback

    async def _replace_token(self, stale: str | None) -> str:
        """Log in, unless somebody else has replaced the stale token already."""
        current = await self._cached_token()
        if current and current != stale:
            return current
        return await self._log_in_once(stale=stale)

    async def _log_in_once(self, *, stale: str | None) -> str:
        """One login at a time, in this process and across all workers; the others use its result."""
        async with self._resources.login_lock:
            current = await self._cached_token()
            if current and current != stale:
                return current
            limit = self._settings.api_timeout_seconds
            lock = self._resources.redis.lock(LOGIN_LOCK_KEY, timeout=limit, blocking_timeout=limit)
            acquired = await self._with_redis(lambda _: lock.acquire(), _AWAY)
            if acquired is _AWAY:
                return await self._log_in()
            if not acquired:
                raise Unavailable(SYSTEM, "another worker's login does not come to an end")
            try:
                current = await self._cached_token()
                return current if current and current != stale else await self._log_in()
            finally:
                try:
                    await lock.release()
                except (LockError, RedisError):
                    self._log("warning", "advoware.login_lock_expired")

    async def _log_in(self) -> str:
        await self._raise_if_refused_recently()
        _, auth_url = await self._base_urls()
        if not self._settings.is_configured:
            raise ConfigurationError("ADVOWARE_APP_ID and ADVOWARE_KANZLEI: no credentials for Advoware are configured")
        answer = await retry_unavailable(
            lambda: self._post_login(auth_url), repeatable=True, max_seconds=self._settings.api_timeout_seconds / 2
        )
        if answer.status >= 300:
            await self._raise_login_error(answer)
        token = read_token(answer.json(SYSTEM), self._now(), self._settings.token_lifetime_minutes)
        await self._keep(token)
        self._log("info", "advoware.login")
        return token.value

    async def _post_login(self, auth_url: str) -> HttpAnswer:
        answer = await send(
            self._resources.http,
            SYSTEM,
            "POST",
            endpoint_url(auth_url, TOKEN_PATH),
            json_data=login_request(self._settings, self._now()),
            timeout_seconds=self._settings.api_timeout_seconds,
        )
        if answer.status >= 500 and explain_refusal(answer.status, answer.text()) is None:
            raise _error(answer)
        return answer

    async def _raise_login_error(self, answer: HttpAnswer) -> None:
        explanation = explain_refusal(answer.status, answer.text())
        if explanation is None:
            raise _error(answer)
        self._session.refused = (self._now() + timedelta(seconds=LOGIN_REFUSED_SECONDS), explanation)
        await self._with_redis(lambda redis: redis.set(LOGIN_REFUSED_KEY, explanation, ex=LOGIN_REFUSED_SECONDS), None)
        self._log("error", "advoware.login_refused", reason=explanation)
        raise LoginRefused(f"Advoware: {explanation}")

    async def _raise_if_refused_recently(self) -> None:
        """A refused login is not tried again for a minute, however many jobs are waiting: accounts get locked."""
        refused = self._session.refused
        explanation = refused[1] if refused and refused[0] > self._now() else None
        explanation = explanation or await self._with_redis(lambda redis: redis.get(LOGIN_REFUSED_KEY), None)
        if explanation:
            raise LoginRefused(f"Advoware: {explanation} (not tried again for up to {LOGIN_REFUSED_SECONDS} s)")

    async def _keep(self, token: Token) -> None:
        self._session.token = token
        seconds = int((token.usable_until - self._now()).total_seconds())
        if seconds <= 0:
            return

        async def store(redis: Redis) -> None:
            async with redis.pipeline(transaction=True) as pipeline:
                pipeline.set(TOKEN_KEY, token.value, ex=seconds)
                pipeline.set(TOKEN_TIMESTAMP_KEY, self._now().isoformat(), ex=seconds)
                await pipeline.execute()

        await self._with_redis(store, None)

    # -- addresses ------------------------------------------------------------------------------------------------

    async def _base_urls(self) -> tuple[str, str]:
        """``(API base URL, URL of the security gateway)``: configured, or as the configurator says for an hour."""
        api_url, auth_url = self._settings.api_base_url, self._settings.auth_url
        if api_url and auth_url:
            return api_url, auth_url.removesuffix(f"/{TOKEN_PATH}")
        known = self._session.addresses
        if known is None or known[0] < self._now() - DISCOVERY_TTL:
            known = self._session.addresses = (self._now(), *await self._discover())
        return api_url or known[1], auth_url.removesuffix(f"/{TOKEN_PATH}") if auth_url else known[2]

    async def _discover(self) -> tuple[str, str]:
        if not self._settings.kanzlei:
            raise ConfigurationError("ADVOWARE_KANZLEI or ADVOWARE_API_BASE_URL: Advoware's address is not configured")
        answer = await send(
            self._resources.http,
            SYSTEM,
            "GET",
            URL(self._settings.configurator_url).with_query(Kanzlei=self._settings.kanzlei),
            timeout_seconds=self._settings.api_timeout_seconds,
        )
        if answer.status >= 300:
            raise _error(answer)
        found = answer.json(SYSTEM)
        api_url = isinstance(found, dict) and (found.get("connectorUrl") or found.get("relayUrl"))
        if not api_url or not found.get("securityGateway"):
            raise UnexpectedAnswer(SYSTEM, "the configurator knows no address for this Kanzlei")
        addresses = str(api_url).rstrip("/"), str(found["securityGateway"]).rstrip("/")
        if any(address_problem(url, self._resources.settings.service) for url in addresses):
            raise ConfigurationError(
                "ADVOWARE_API_BASE_URL and ADVOWARE_AUTH_URL: the configurator names an address that is not https://; "
                "set them, or name its host in BITBYLAW_PLAIN_HTTP_HOSTS"
            )
        return addresses

    # -- helpers --------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._resources.clock().astimezone(UTC)

    def _log(self, level: Level, event: str, **fields: Any) -> None:
        log(self._context, level, event, **fields)


def _error(answer: HttpAnswer) -> Exception:
    try:
        details = json.loads(answer.body) if answer.body.strip() else None
    except ValueError:
        details = answer.text()[:2000]
    return error_for_status(SYSTEM, answer.status, reason_of(details, answer.text()), details)
