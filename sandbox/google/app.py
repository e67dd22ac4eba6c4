"""Twin of Google Calendar (API v3) with Google's token endpoint.

``python -m sandbox.google.app --port 4030 --service-account-file account.json`` serves it alone and writes a service
account file that the unmodified google-auth accepts. The product finds it by
``GOOGLE_CALENDAR_API_ENDPOINT=http://127.0.0.1:4030``, the counterpart of ``https://www.googleapis.com``.
With google-api-python-client that means two things, because its option ``api_endpoint`` replaces ``rootUrl`` and
``servicePath`` of the discovery document together, and ``new_batch_http_request`` ignores it::

    build("calendar", "v3", credentials=..., client_options={"api_endpoint": f"{endpoint}/calendar/v3/"})
    BatchHttpRequest(batch_uri=f"{endpoint}/batch/calendar/v3")

(or `build_from_document` with a discovery document whose ``rootUrl`` is ``f"{endpoint}/"``, which moves both).

It has the collections calendars, acl, calendarList (without update) and events (without quickAdd and watch), rules as
in sections 09, 10 and 12 of the specification. A service account may use its own calendars and those shared with it;
by default 600 calls a minute. Where Google leaves the behaviour open the twin takes the answer that is harder to
live with: a list with any filter gives no sync token; deleted events in lists carry nothing but their id; a change
without effect gives a new etag. Where both answers are hard, it can be switched (`sandbox.google.readings`). Besides
the common control API (`sandbox.control`) there are these routes:

=================================================  ==============================================================
``POST /__sandbox__/calendars/{id}/events``        a person adds an event
``PUT /__sandbox__/calendars/{id}/events/{id}``    a person changes the fields in the body (merged, null removes)
``DELETE /__sandbox__/calendars/{id}/events/{id}``  a person deletes it. All three: ``?as=`` names the person
``POST /__sandbox__/expire-sync-tokens``           every sync token is answered with 410 from now on
``POST /__sandbox__/revoke-tokens``                every access token is answered with 401 from now on
``POST /__sandbox__/page-size``                    ``{"n": 2}`` or null: pages of at most that size;
                                                   ``"empty_pages": true`` puts an empty one before each
``POST /__sandbox__/quota``                        ``{"per_minute": 600, "reason": "rateLimitExceeded", "status": 403,
                                                   "new_calendars": 60}``, limits null for none
``POST /__sandbox__/service-accounts``             ``{"name": "other"}``: its file, with a key
``POST /__sandbox__/actions``                      what people do in the browser, see `sandbox.google.people`
``GET, POST /__sandbox__/settings``                what is documented nowhere about Google, see `Readings`
=================================================  ==============================================================
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

from aiohttp import web
from pydantic import ValidationError

from sandbox.control import (
    CONTROL_PREFIX,
    Clock,
    Handler,
    Twin,
    body_of,
    main,
    routes_below,
)
from sandbox.google import calendar_api as google_calendar_api
from sandbox.google import event_api as google_event_api
from sandbox.google.api import API_PREFIX, Call, Route, World
from sandbox.google.calendar_store import Calendar, is_service_account
from sandbox.google.errors import (
    QUOTA_REASONS,
    ApiError,
    for_status,
    insufficient_scope,
    invalid,
    invalid_credentials,
    not_found,
    quota,
    unauthenticated,
)
from sandbox.google.event import Event, Resource, render_event
from sandbox.google.listing import Query
from sandbox.google.people import ACTIONS
from sandbox.google.protocol.batch import answer_batch
from sandbox.google.protocol.fields import pick
from sandbox.google.protocol.tokens import (
    PROJECT,
    TOKEN_PATH,
    Grant,
    ServiceAccount,
    TokenIssuer,
    TokenRefusedError,
    make_service_account,
    read_service_account,
    write_service_account,
)
from sandbox.google.readings import Readings
from sandbox.google.seed import load_sample

DEFAULT_PORT: Final = 4030
DEFAULT_ACCOUNT: Final = "bitbylaw"
BATCH_PATH: Final = "/batch/calendar/v3"
#: Calls per minute of one account (developers.google.com/workspace/calendar/api/guides/quota).
QUOTA_PER_MINUTE: Final = 600
#: Who edits a calendar that belongs to no person.
DEFAULT_PERSON: Final = "kanzlei@example.de"

_MINUTE: Final = timedelta(minutes=1)


class GoogleTwin(Twin):
    """Google Calendar for some service accounts. ``empty`` leaves out the sample calendar."""

    name: ClassVar[str] = "google"
    default_port: ClassVar[int] = DEFAULT_PORT
    transient: ClassVar[frozenset[str]] = Twin.transient | {"service_account_file"}

    def __init__(
        self,
        *,
        seed: int = 1,
        empty: bool = False,
        clock: Clock | None = None,
        service_account_file: Path | None = None,
        quota_per_minute: int | None = QUOTA_PER_MINUTE,
    ) -> None:
        """
        Args:
            seed: see `Twin`.
            empty: see `Twin`.
            clock: see `Twin`.
            service_account_file: written when the twin starts, or kept if it fits.
            quota_per_minute: calls by one account in any minute of the twin's clock; None for no limit.
        """
        self.service_account_file = service_account_file
        self.quota_per_minute = quota_per_minute
        self.quota_reason = "rateLimitExceeded"
        self.quota_status = 403
        self.tokens = TokenIssuer(self.now)
        self.world: World
        self._recent_calls: dict[str, deque[float]] = {}
        super().__init__(seed=seed, empty=empty, clock=clock)

    def load_seed(self) -> None:
        """Start over: sample data, no tokens. Service accounts stay."""
        self.tokens.revoke()
        self._recent_calls.clear()
        self.world = World(self.now, self.seed)
        reader = _address(DEFAULT_ACCOUNT)
        for email in (reader, *self.tokens.accounts):
            self.world.calendars.add_account(email)
        if not self.empty:
            load_sample(self.world, DEFAULT_PERSON, reader=reader)

    async def start(self) -> None:
        """Make sure that the service account file fits this twin."""
        if self.service_account_file is not None:
            await asyncio.to_thread(self._provide_file, self.service_account_file)

    def service_account(self, name: str = DEFAULT_ACCOUNT) -> dict[str, str]:
        """Content of the file of a service account, which is made on first use; the twin must be running."""
        account = self.tokens.accounts.get(_address(name))
        if account is None:
            account = make_service_account(name)
        self._register(account)
        return account.file_content(self.url)

    def state(self) -> dict[str, Any]:
        """Calendars with rules and events, each user's list of calendars, accounts."""
        calendars = self.world.calendars
        lists = {}
        for account in calendars.subscriptions:
            of_account = []
            for resource, _ in calendars.entries(account):
                of_account.append(resource)
            lists[account] = of_account
        return {
            "calendars": list(map(_calendar_state, calendars.calendars.values())),
            "calendarLists": lists,
            "serviceAccounts": sorted(self.tokens.accounts),
        }

    def revoke_tokens(self) -> None:
        """Make every access token handed out so far invalid."""
        self.tokens.revoke()

    def error_response(self, status: int) -> web.Response:
        """An error in Google's JSON shape."""
        return for_status(status).json_response()

    def routes(self) -> list[web.RouteDef]:
        """Token endpoint, API and batch."""
        routes = [
            web.post(TOKEN_PATH, self._issue_token),
            web.post(BATCH_PATH, _answering(self._batch)),
        ]
        for method in (*google_calendar_api.routes(), *google_event_api.routes()):
            path = f"{API_PREFIX}{method.path}"
            routes.append(web.route(method.verb, path, self._serve(method)))
        anything_else = f"{API_PREFIX}/{{rest:.*}}"
        routes.append(web.route("*", anything_else, _answering(self._unknown_method)))
        return routes

    def control_routes(self) -> list[web.RouteDef]:
        """What people do in the calendar, and what Google does by itself."""
        events = "calendars/{calendarId}/events"
        event = f"{events}/{{eventId}}"
        handlers = [
            ("POST", events, self._person_inserts),
            ("PUT", event, self._person_changes),
            ("DELETE", event, self._person_deletes),
            ("POST", "expire-sync-tokens", self._expire_sync_tokens),
            ("POST", "revoke-tokens", self._revoke_tokens),
            ("POST", "page-size", self._set_page_size),
            ("POST", "quota", self._set_quota),
            ("POST", "service-accounts", self._provide_account),
            ("POST", "actions", self._act),
            ("GET", "settings", self._show_settings),
            ("POST", "settings", self._change_settings),
        ]
        table = []
        for method, path, handler in handlers:
            table.append((method, path, _answering(handler)))
        return routes_below(CONTROL_PREFIX, table)

    # -- accounts and tokens ------------------------------------------------------------------------------------

    def _provide_file(self, path: Path) -> None:
        account = read_service_account(path, self.url)
        if account is None:
            account = self.tokens.accounts.get(
                _address(DEFAULT_ACCOUNT),
            ) or make_service_account(DEFAULT_ACCOUNT)
            write_service_account(path, account, self.url)
        self._register(account)

    def _register(self, account: ServiceAccount) -> None:
        self.tokens.accounts[account.email] = account
        self.world.calendars.add_account(account.email)

    async def _issue_token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        grant_type = form.get("grant_type", "")
        assertion = form.get("assertion", "")
        try:
            return web.json_response(
                self.tokens.issue(
                    str(grant_type),
                    str(assertion),
                    self.url + TOKEN_PATH,
                ),
            )
        except TokenRefusedError as refusal:
            return refusal.json_response()

    def _authenticate(self, request: web.Request) -> Grant:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise unauthenticated()
        grant = self.tokens.grant(token)
        if grant is None:
            raise invalid_credentials()
        return grant

    def _count(self, email: str) -> None:
        """Count a call in the sliding minute. Raises ApiError if there were too many."""
        now = self.now().timestamp()
        a_minute_ago = now - _MINUTE.total_seconds()
        recent = self._recent_calls.setdefault(email, deque())
        while recent and recent[0] <= a_minute_ago:
            recent.popleft()
        limit = self.quota_per_minute
        if limit is not None and len(recent) >= limit:
            raise quota(self.quota_reason, self.quota_status)
        recent.append(now)

    # -- API ----------------------------------------------------------------------------------------------------

    def _serve(self, route: Route) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            raw = await body_of(request)
            grant = self._authenticate(request)
            if grant.scopes.isdisjoint(route.scopes):
                raise insufficient_scope()
            self._count(grant.email)
            call = Call(
                world=self.world,
                request=request,
                caller=grant.email,
                query=Query(request.query),
                body=_json_object(raw),
            )
            return _as_response(route.method(call), call.query)

        return _answering(serve)

    async def _unknown_method(self, request: web.Request) -> web.StreamResponse:
        self._authenticate(request)
        raise not_found()

    async def _batch(self, request: web.Request) -> web.StreamResponse:
        return await answer_batch(request, self.url, API_PREFIX)

    # -- control ------------------------------------------------------------------------------------------------

    def _edited(self, request: web.Request) -> tuple[str, Calendar]:
        """Who edits which calendar."""
        calendar_id = request.match_info["calendarId"]
        calendar = self.world.calendars.calendars.get(calendar_id)
        if calendar is None:
            raise not_found()
        person = request.query.get("as", _editor(calendar))
        return person, calendar

    async def _person_inserts(self, request: web.Request) -> web.StreamResponse:
        person, calendar = self._edited(request)
        body = await _requested(request)
        event = self.world.events.insert(person, calendar, body)
        return _event_response(event, calendar)

    async def _person_changes(self, request: web.Request) -> web.StreamResponse:
        body = await _requested(request)
        person, calendar = self._edited(request)
        events = self.world.events
        before = events.get(calendar, request.match_info["eventId"])
        event = events.change(person, calendar, before, body, patch=True)
        return _event_response(event, calendar)

    async def _person_deletes(self, request: web.Request) -> web.StreamResponse:
        _, calendar = self._edited(request)
        events = self.world.events
        event = events.get(calendar, request.match_info["eventId"])
        events.delete(calendar, event)
        return web.json_response({})

    async def _act(self, request: web.Request) -> web.StreamResponse:
        body = await _requested(request)
        try:
            action = ACTIONS.validate_python(body)
        except ValidationError as error:
            raise invalid(str(error)) from None
        person = DEFAULT_PERSON
        calendar = self.world.calendars.calendars.get(action.calendar)
        if calendar is not None:
            person = _editor(calendar)
        home, event = self.world.people.act(action, person)
        return _event_response(event, home)

    async def _show_settings(self, _request: web.Request) -> web.StreamResponse:
        readings = self.world.events.readings
        return web.json_response(readings.model_dump())

    async def _change_settings(self, request: web.Request) -> web.StreamResponse:
        changes = await _requested(request)
        before = self.world.events.readings.model_dump()
        try:
            readings = Readings.model_validate(before | changes)
        except ValidationError as error:
            raise invalid(str(error)) from None
        self.world.events.readings = readings
        return await self._show_settings(request)

    async def _expire_sync_tokens(self, _request: web.Request) -> web.StreamResponse:
        self.world.lister.expire_sync_tokens()
        return web.json_response({})

    async def _revoke_tokens(self, _request: web.Request) -> web.StreamResponse:
        self.revoke_tokens()
        return web.json_response({})

    async def _set_page_size(self, request: web.Request) -> web.StreamResponse:
        requested = await _requested(request)
        size = requested.get("n")
        empty_pages = requested.get("empty_pages", False)
        if not _is_limit(size) or size == 0 or not isinstance(empty_pages, bool):
            raise invalid("n must be a positive number or null, empty_pages a boolean")
        lister = self.world.lister
        lister.page_size = size
        lister.empty_pages = empty_pages
        return web.json_response({"n": size, "empty_pages": empty_pages})

    async def _set_quota(self, request: web.Request) -> web.StreamResponse:
        requested = self._quota() | await _requested(request)
        if not _is_quota(requested):
            raise invalid(
                "limits must be numbers or null, reason one of Google's, status 403 or 429",
            )
        self.quota_per_minute = requested["per_minute"]
        self.quota_reason = requested["reason"]
        self.quota_status = requested["status"]
        self.world.calendars.max_new_calendars = requested["new_calendars"]
        return web.json_response(self._quota())

    def _quota(self) -> dict[str, Any]:
        return {
            "per_minute": self.quota_per_minute,
            "reason": self.quota_reason,
            "status": self.quota_status,
            "new_calendars": self.world.calendars.max_new_calendars,
        }

    async def _provide_account(self, request: web.Request) -> web.StreamResponse:
        requested = await _requested(request)
        name = str(requested.get("name", DEFAULT_ACCOUNT))
        account = await asyncio.to_thread(self.service_account, name)
        return web.json_response(account)


def _as_response(answer: Resource | None, query: Query) -> web.Response:
    """What a method returns as an answer, with the fields that the caller asks for."""
    if answer is None:
        return web.Response(status=204)
    headers = {}
    if "etag" in answer:
        headers["ETag"] = answer["etag"]
    fields = query.text("fields")
    if fields:
        answer = pick(answer, fields)
    return web.json_response(answer, headers=headers)


def _event_response(event: Event, calendar: Calendar) -> web.Response:
    resource = render_event(event, calendar.id, calendar.zone)
    return web.json_response(resource)


async def _requested(request: web.Request) -> Resource:
    """The JSON object in the body of a control request."""
    content = await request.read()
    return _json_object(content)


def _answering(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Handler:
    """Turn a refusal into Google's answer."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as refusal:
            return refusal.json_response()

    return answered


def _editor(calendar: Calendar) -> str:
    """Who edits a calendar if no one is named."""
    if is_service_account(calendar.data_owner):
        return DEFAULT_PERSON
    return calendar.data_owner


def _json_object(raw: bytes) -> Resource:
    body = {}
    try:
        if raw:
            body = json.loads(raw)
    except ValueError:
        raise ApiError(400, "parseError", "Parse Error") from None
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Parse Error")
    return body


def _is_limit(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return False
    if not isinstance(value, int):
        return False
    return value >= 0


def _is_quota(requested: dict[str, Any]) -> bool:
    if requested["reason"] not in QUOTA_REASONS:
        return False
    if requested["status"] not in {403, 429}:
        return False
    if not _is_limit(requested["per_minute"]):
        return False
    return _is_limit(requested["new_calendars"])


def _address(name: str) -> str:
    return f"{name}@{PROJECT}.iam.gserviceaccount.com"


def _calendar_state(calendar: Calendar) -> dict[str, Any]:
    events = []
    for event in calendar.events.values():
        events.append(render_event(event, calendar.id, calendar.zone))
    return {
        **calendar.render(),
        "acl": [rule.render() for rule in calendar.acl.values()],
        "events": events,
    }


def _from_arguments(arguments: argparse.Namespace) -> GoogleTwin:
    return GoogleTwin(
        seed=arguments.seed,
        empty=arguments.empty,
        service_account_file=arguments.service_account_file,
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        prog="python -m sandbox.google.app",
        description="Twin of Google Calendar",
    )
    options.add_argument(
        "--service-account-file",
        type=Path,
        help="write the credentials of a service account of this twin here",
    )
    main(_from_arguments, options, DEFAULT_PORT)
