"""The client of Google Calendar: calendars, their sharing and their events, with typed errors.

Google's client library is synchronous and its HTTP connections are not thread-safe, so requests run in a small pool of
threads, each with a service of its own. Events are dicts in Google's own field names (`services.calendar_sync.mapping`
knows them). Errors carry Google's reason code, never its message, which may quote an event.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import google_auth_httplib2
import httplib2
from google.auth.exceptions import GoogleAuthError, RefreshError
from googleapiclient.errors import HttpError

from config import GoogleCalendarSettings
from services.core.errors import (
    ConfigurationError,
    ForeignSystemError,
    InvalidInput,
    LoginRefused,
    NotFound,
    RateLimited,
    SyncTokenExpired,
    Unavailable,
    UnexpectedAnswer,
    UpstreamTimeout,
    ValidationFailed,
    error_for_status,
)
from services.core.log import log
from services.core.metrics import UNREACHABLE, count_call
from services.core.operation.foreign_calls import require_writable
from services.core.rate_limit import GOOGLE_CALENDAR, acquire
from services.core.resources import Resources, current_resources
from services.core.retry import retry_throttled
from services.core.write_guard import READS

SYSTEM = "Google Calendar"
SCOPE = "https://www.googleapis.com/auth/calendar"
TIME_ZONE = "Europe/Berlin"

THREADS = 4
SOCKET_SECONDS = 15.0  #: longest silence on a connection
CALL_SECONDS = 60.0  #: one request with its repetitions and the wait for the rate limit
LIST_SECONDS = 300.0  #: all pages of a list
EVENTS_PER_PAGE = 2500
ENTRIES_PER_PAGE = 250

#: 403 with one of these is a matter of patience (section 09; developers.google.com/calendar/api/guides/errors).
_QUOTA_REASONS = frozenset(
    {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"},
)

Json = dict[str, Any]


class Events(NamedTuple):
    """What a list of events returned.

    In a full list an absent event is deleted; in an incremental one it is unchanged, and deleted events are present
    with ``status`` ``"cancelled"``.
    """

    events: list[Json]
    next_sync_token: str
    is_full: bool


class Google(NamedTuple):
    """A connection to Google's API: a collection of each kind, which makes requests. Of one thread only."""

    calendar_list: Any
    calendars: Any
    acl: Any
    events: Any
    close: Callable[[], None]


Work = Callable[[Google], Any]


class GoogleCalendarAPI:
    """Calls the Google Calendar API as the configured service account.

    ``context`` is a step's FlowContext (its logger is used) or None; ``call_seconds`` bounds each request with its
    repetitions. A request is repeated, with growing random pauses and after what ``Retry-After`` asks for, when Google
    limits the rate or is unavailable; httplib2 by itself repeats one whose connection broke. So a write may reach
    Google twice, and the second answer may be an error that only the first one's success explains: `Conflict` after an
    insert (409) or a conditional change (412), `NotFound` after a deletion. The caller reads again and decides.

    All methods raise:
        NotFound: the calendar or event does not exist (404, 410).
        Conflict: the id is taken, or the event has another etag (409, 412).
        RateLimited: the quota is exhausted (429, 403 with a quota reason), or our own share of it.
        Forbidden, ValidationFailed, AuthenticationFailed: other 403, 400, 401.
        Unavailable, UpstreamTimeout: Google or Redis cannot be reached; the fate of a write is unknown.
        ConfigurationError: the service account's file is missing or unusable, or Google refuses the account.
    """

    def __init__(
        self,
        context: Any = None,
        *,
        resources: Resources | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._context = context
        self._resources = resources or current_resources()
        self._threads = self._resources.shared(_Threads)
        self._call_seconds = call_seconds

    # -- calendars ------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> list[Json]:
        """The entries of the account's list of calendars, hidden ones included.

        Raises:
            UnexpectedAnswer: an entry does not show which calendar it is.
        """
        entries, _ = await self._pages(
            lambda google, page: google.calendar_list.list(
                pageToken=page,
                maxResults=ENTRIES_PER_PAGE,
                showHidden=True,
            ),
        )
        if not all(map(_has_id, entries)):
            raise UnexpectedAnswer(SYSTEM, "an entry of the list shows no id")
        return entries

    async def get_calendar(self, calendar_id: str) -> Json:
        """One calendar."""
        return await self._record(
            lambda google: google.calendars.get(calendarId=calendar_id),
            is_read=True,
        )

    async def insert_calendar(self, summary: str, description: str = "") -> Json:
        """Create a calendar in Berlin's time zone; returns it with its ``id``.

        Google chooses the id, so a request of unknown fate is not repeated, not even by httplib2: hold a lock, look for
        the name first.

        Raises:
            UnexpectedAnswer: the answer does not show which calendar it is.
        """
        body = {"summary": summary, "description": description, "timeZone": TIME_ZONE}
        created = await self._record(
            lambda google: google.calendars.insert(body=body),
            repeatable=False,
        )
        if not _has_id(created):
            raise UnexpectedAnswer(SYSTEM, "the calendar that was made shows no id")
        return created

    async def patch_calendar(self, calendar_id: str, changes: Json) -> Json:
        """Change the given fields (``summary``, ``description``) of a calendar that we own; returns it."""
        return await self._record(
            lambda google: google.calendars.patch(calendarId=calendar_id, body=changes),
        )

    async def list_acl(self, calendar_id: str) -> list[Json]:
        """The calendar's sharing rules: ``id``, ``role`` and ``scope`` (``type`` and ``value``)."""
        rules, _ = await self._pages(
            lambda google, page: google.acl.list(
                calendarId=calendar_id,
                pageToken=page,
                maxResults=ENTRIES_PER_PAGE,
            ),
        )
        return rules

    async def insert_acl(
        self,
        calendar_id: str,
        role: str,
        email: str,
        *,
        notify: bool = False,
    ) -> Json:
        """Give an account a role (``reader``, ``writer``, ...), instead of the one that it has; returns the rule.

        With ``notify`` Google writes the person an e-mail. A request of unknown fate is then not repeated, so that
        no one gets two: look whether the rule is there before the next attempt.
        """
        body = {"role": role, "scope": {"type": "user", "value": email}}
        return await self._record(
            lambda google: google.acl.insert(
                calendarId=calendar_id,
                body=body,
                sendNotifications=notify,
            ),
            repeatable=not notify,
        )

    async def patch_acl(self, calendar_id: str, rule_id: str, role: str) -> Json:
        """Change the role of a rule; no one gets an e-mail. Returns the rule."""
        return await self._record(
            lambda google: google.acl.patch(
                calendarId=calendar_id,
                ruleId=rule_id,
                body={"role": role},
                sendNotifications=False,
            ),
        )

    async def delete_acl(self, calendar_id: str, rule_id: str) -> None:
        """Remove a rule. Raises NotFound if there is none."""
        await self._call(
            lambda google: google.acl.delete(calendarId=calendar_id, ruleId=rule_id),
        )

    # -- events ---------------------------------------------------------------------------------------------------

    async def list_events(
        self,
        calendar_id: str,
        sync_token: str | None = None,
    ) -> Events:
        """All events of the calendar, or with a sync token those that changed since; series as their masters.

        The list has no filters besides the event type, because a sync token cannot be combined with any (discovery
        document of the API).

        Raises:
            SyncTokenExpired: the token is of no use (410, or 400 for what never was one).
        """

        def page_of_events(google: Google, page: str | None) -> Any:
            return google.events.list(
                calendarId=calendar_id,
                syncToken=sync_token,
                pageToken=page,
                maxResults=EVENTS_PER_PAGE,
                eventTypes=["default"],
            )

        try:
            events, last_page = await self._pages(page_of_events)
        except (NotFound, ValidationFailed) as error:
            if sync_token is None or error.status not in {400, 410}:
                raise
            log(
                self._context,
                "warning",
                "google.sync_token_expired",
                status=error.status,
            )
            raise SyncTokenExpired(SYSTEM, error.reason, status=error.status) from None
        next_sync_token = last_page.get("nextSyncToken")
        if (
            not next_sync_token
        ):  # without it, it is unknown whether the list is complete
            raise UnexpectedAnswer(
                SYSTEM,
                "the list of events ends without a sync token",
            )
        return Events(events, str(next_sync_token), is_full=sync_token is None)

    async def get_event(self, calendar_id: str, event_id: str) -> Json:
        """One event; also a deleted one, as long as Google remembers it, with ``status`` ``"cancelled"``."""
        return await self._record(
            lambda google: google.events.get(calendarId=calendar_id, eventId=event_id),
            is_read=True,
        )

    async def insert_event(self, calendar_id: str, body: Json) -> Json:
        """Create an event under the ``id`` in the body (base32hex, 5 to 1024 characters); returns it.

        Raises:
            Conflict: the id is taken, be it by an earlier attempt or by a deleted event.
            InvalidInput: the body has no id, so that the request could not be repeated safely.
        """
        if not body.get("id"):
            raise InvalidInput("an event needs an id of our own")
        return await self._record(
            lambda google: google.events.insert(
                calendarId=calendar_id,
                body=body,
                sendUpdates="none",
            ),
        )

    async def patch_event(
        self,
        calendar_id: str,
        event_id: str,
        changes: Json,
        *,
        if_match: str | None = None,
    ) -> Json:
        """Change the given fields and keep the others; returns the event. ``if_match`` is the etag it must have."""
        return await self._record(
            lambda google: google.events.patch(
                calendarId=calendar_id,
                eventId=event_id,
                body=changes,
                sendUpdates="none",
            ),
            if_match=if_match,
        )

    async def update_event(
        self,
        calendar_id: str,
        event_id: str,
        body: Json,
        *,
        if_match: str | None = None,
    ) -> Json:
        """Replace the event: what the body omits is removed. Returns it. ``if_match`` is the etag it must have.

        ``"status": "confirmed"`` in the body brings a deleted event back.
        """
        return await self._record(
            lambda google: google.events.update(
                calendarId=calendar_id,
                eventId=event_id,
                body=body,
                sendUpdates="none",
            ),
            if_match=if_match,
        )

    async def delete_event(
        self,
        calendar_id: str,
        event_id: str,
        *,
        if_match: str | None = None,
    ) -> None:
        """Delete the event. ``if_match`` is the etag it must have.

        Raises:
            NotFound: there is none, or it is deleted already.
        """
        await self._call(
            lambda google: google.events.delete(
                calendarId=calendar_id,
                eventId=event_id,
                sendUpdates="none",
            ),
            if_match=if_match,
        )

    # -- requests -------------------------------------------------------------------------------------------------

    async def _pages(
        self,
        request: Callable[[Google, str | None], Any],
    ) -> tuple[list[Json], Json]:
        """The items of all pages, and the last page. A page may be empty; only the missing page token ends a list."""
        items: list[Json] = []
        token: str | None = None
        try:
            async with asyncio.timeout(LIST_SECONDS):
                while True:
                    page = await self._record(_with_page(request, token), is_read=True)
                    if not isinstance(page.get("items"), list):
                        raise UnexpectedAnswer(SYSTEM, "expected a list")
                    items += page["items"]
                    token = page.get("nextPageToken")
                    if token is None:
                        return items, page
        except TimeoutError:
            raise UpstreamTimeout(
                SYSTEM,
                f"the list did not end within {LIST_SECONDS:g} s",
            ) from None

    async def _record(
        self,
        request: Work,
        *,
        if_match: str | None = None,
        repeatable: bool = True,
        is_read: bool = False,
    ) -> Json:
        answer = await self._call(
            request,
            if_match=if_match,
            repeatable=repeatable,
            is_read=is_read,
        )
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(SYSTEM, "expected a record")
        return answer

    async def _call(
        self,
        request: Work,
        *,
        if_match: str | None = None,
        repeatable: bool = True,
        is_read: bool = False,
    ) -> Any:
        """What Google answers. Only before a write is asked whether it is paused, at each try."""
        limit = self._call_seconds

        async def attempt() -> Any:
            await acquire(self._resources, GOOGLE_CALENDAR)
            settings = self._resources.settings.google_calendar
            if not is_read:
                await require_writable(self._resources)
            return await self._threads.run(
                settings,
                request,
                if_match,
                once=not repeatable,
                is_read=is_read,
            )

        try:
            async with asyncio.timeout(limit):
                return await retry_throttled(
                    attempt,
                    system=SYSTEM,
                    repeatable=repeatable,
                    max_seconds=limit / 2,
                )
        except TimeoutError:
            raise UpstreamTimeout(SYSTEM, f"no answer within {limit:g} s") from None
        except ConfigurationError as error:
            log(self._context, "error", "google.configuration", reason=str(error))
            raise


def _with_page(request: Callable[[Google, str | None], Any], token: str | None) -> Work:
    return lambda google: request(google, token)


class _Threads:
    """The threads of one event loop. An abandoned request keeps its thread busy, at most until its connection falls
    silent; others wait for a free thread, so that nothing piles up."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="google-calendar")
        self._free = asyncio.Semaphore(THREADS)
        self._local = threading.local()

    async def run(
        self,
        settings: GoogleCalendarSettings,
        request: Work,
        if_match: str | None,
        *,
        once: bool = False,
        is_read: bool = False,
    ) -> Any:
        """Send one request from a free thread; returns the decoded answer. Raises the errors of the API.

        With ``once`` not even a broken connection makes it be sent a second time. What ``is_read`` is not sent if it
        would write.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()

        def is_free(_: Future[Any]) -> None:
            # The loop may be closed while an abandoned request is still running.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._free.release)

        future = self._pool.submit(
            self._execute,
            settings,
            request,
            if_match,
            once,
            is_read,
        )
        future.add_done_callback(is_free)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end; a request that is under way ends by its own timeout."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _execute(
        self,
        settings: GoogleCalendarSettings,
        request: Work,
        if_match: str | None,
        once: bool,
        is_read: bool,
    ) -> Any:
        failure: Exception
        method = ""
        try:
            prepared = request(self._connection(settings))
            method = prepared.method
            if is_read and method not in READS:
                raise RuntimeError(f"{method} is no read")
            if if_match is not None:
                prepared.headers["If-Match"] = if_match
            answer = prepared.execute(http=_single_use(prepared.http) if once else None)
            count_call(SYSTEM, method, 200)
            return answer
        except HttpError as error:
            count_call(SYSTEM, method, int(error.resp.status))
            failure = _refusal(error)
        except (
            GoogleAuthError,
            httplib2.HttpLib2Error,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            count_call(SYSTEM, method, UNREACHABLE)
            failure = _failure(error)
            self._forget_connection()
        raise failure  # outside of the handler, so that no traceback leads to Google's texts

    def _connection(self, settings: GoogleCalendarSettings) -> Google:
        """The connection of this thread."""
        if not hasattr(self._local, "google"):
            self._local.google = _new_connection(settings)
        google: Google = self._local.google
        return google

    def _forget_connection(self) -> None:
        """The next request starts with a new connection, and reads the service account's file again."""
        google = self._local.__dict__.pop("google", None)
        if google is not None:
            google.close()


def _new_connection(settings: GoogleCalendarSettings) -> Google:
    # Here, because it brings 10 MB of cryptography, and board and commands seldom come this far.
    from googleapiclient.discovery import build

    http_with_timeout = httplib2.Http(timeout=SOCKET_SECONDS)
    options = None
    if settings.api_endpoint:
        # Replaces root and path of the API together.
        root = settings.api_endpoint.rstrip("/")
        options = {"api_endpoint": f"{root}/calendar/v3/"}
    service = build(
        "calendar",
        "v3",
        http=google_auth_httplib2.AuthorizedHttp(
            _credentials(settings.service_account_path),
            http=http_with_timeout,
        ),
        client_options=options,
        static_discovery=True,
        cache_discovery=False,
    )
    # Each call of these makes an object with all methods of its kind, which takes longer than to make a request.
    return Google(
        calendar_list=service.calendarList(),
        calendars=service.calendars(),
        acl=service.acl(),
        events=service.events(),
        close=service.close,
    )


class _SingleUse:
    """A connection that httplib2 cannot open again. When one breaks, httplib2 sends even a POST again on its own."""

    _was_opened = False

    def connect(self) -> None:
        """Open it, the first time."""
        if self._was_opened:
            raise ConnectionError("not sent a second time")
        self._was_opened = True
        super().connect()  # type: ignore[misc]  # of the connection that this class is mixed into


class _SingleUseHttp(httplib2.Http):  # type: ignore[misc]  # the library has no types
    """Connections that are opened once."""

    def request(
        self,
        uri: str,
        *arguments: Any,
        connection_type: Any = None,
        **options: Any,
    ) -> Any:
        """See httplib2."""
        scheme = uri.partition(":")[0]
        return super().request(
            uri,
            *arguments,
            connection_type=_SINGLE_USE_CONNECTIONS[scheme],
            **options,
        )


_SINGLE_USE_CONNECTIONS = {
    scheme: type(
        f"SingleUse{scheme.capitalize()}Connection",
        (_SingleUse, connection),
        {},
    )
    for scheme, connection in httplib2.SCHEME_TO_CONNECTION.items()
}


def _single_use(authorized: Any) -> Any:
    """A connection of its own with the same login."""
    return google_auth_httplib2.AuthorizedHttp(
        authorized.credentials,
        http=_SingleUseHttp(timeout=SOCKET_SECONDS),
    )


def _credentials(path: str | None) -> Any:
    variable = "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH"
    if not path:
        raise ConfigurationError(
            f"{variable}: no service account for Google Calendar is configured",
        )
    from services.core.google_login import account_of  # as in `_new_connection`

    try:
        return account_of(Path(path).read_text(encoding="utf-8"), SCOPE)
    except OSError as error:
        problem = f"the file cannot be read ({type(error).__name__})"
    except (ValueError, GoogleAuthError):
        problem = "the file is not the key of a service account"
    raise ConfigurationError(f"{variable}: {problem}")


def _refusal(error: HttpError) -> ForeignSystemError:
    """The typed error for an answer of 300 and above, with Google's reason code."""
    status = int(error.resp.status)
    reason = _reason(error.content)
    asked = error.resp.get("retry-after", "")
    seconds = float(asked) if asked.isdecimal() else None
    if _is_rate_limit(status, reason):
        return RateLimited(SYSTEM, reason, status=status, retry_after_seconds=seconds)
    if status == 503:
        return Unavailable(SYSTEM, reason, status=status, retry_after_seconds=seconds)
    return error_for_status(SYSTEM, status, reason)


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str)


def _is_rate_limit(status: int, reason: str) -> bool:
    return status == 429 or (status == 403 and reason in _QUOTA_REASONS)


def _reason(content: bytes) -> str:
    """Google's reason code, such as ``rateLimitExceeded``; empty if the body has none."""
    try:
        reason = json.loads(content)["error"]["errors"][0]["reason"]
    except (ValueError, LookupError, TypeError):
        return ""
    if isinstance(reason, str) and reason.isalnum():
        return reason
    return ""


def _failure(error: Exception) -> Exception:
    """The typed error for a request without a proper answer."""
    if isinstance(error, RefreshError) and not error.retryable:
        return LoginRefused(
            "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH: Google refuses the service account (key revoked or clock wrong)",
        )
    if isinstance(error, ValueError):
        return UnexpectedAnswer(SYSTEM, "the answer is not valid JSON")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(SYSTEM, f"silent for {SOCKET_SECONDS:g} s")
    unreachable = isinstance(
        error,
        GoogleAuthError | httplib2.ServerNotFoundError | ConnectionRefusedError,
    )
    if unreachable:
        return Unavailable(SYSTEM, "cannot be reached", was_sent=False)
    return Unavailable(SYSTEM, "connection lost")
