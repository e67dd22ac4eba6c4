"""Twin of the firm's EspoCRM: REST API below ``/api/v1/``, webhooks, and the rules that make it say no.

Run it alone with ``python -m sandbox.espocrm.app --port 4020 --webhook-interval 1.0``. Three API keys exist from the
start: ``espocrm-demo-key`` (user "sync" with the role of the integration), ``espocrm-limited-key`` (read only) and
``espocrm-admin-key`` (user "Admin"). Besides the control API that all twins share there is, below ``/__sandbox__/``:

==================================  ============================================================================
``GET, POST settings``              switches of the instance, see `Settings`; a POST changes the given ones
``POST api-users``                  a further API user with his role, see `ApiUser`; answers his id
``POST records/{Entity}``           create or replace a record as user Admin; ``id`` and times may be given;
                                    ``?silent=1`` here and below fires no webhook
``PUT, DELETE records/{Entity}/{id}``  change or delete a record as user Admin would in the user interface
``POST actions``                    what people do in the browser: erase, merge, restore, revert an import, delete many;
                                    see `sandbox.espocrm.actions`
``GET webhooks``                    the webhooks and their queue
``POST webhooks/process``           run the job "Process Webhook Queue" now; answers what was sent
==================================  ============================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from sandbox.alterations import RefusedAlterationError
from sandbox.control import (
    CONTROL_PREFIX,
    PLAIN_FORMS,
    Clock,
    Handler,
    Route,
    Twin,
    body_of,
    main,
    routes_below,
)
from sandbox.espocrm.access import (
    ADMIN_ID,
    DEFAULT_API_USERS,
    Action,
    ApiUser,
    Level,
    LoginGuard,
    Settings,
)
from sandbox.espocrm.actions import ACTIONS, Browser
from sandbox.espocrm.admin import Administration
from sandbox.espocrm.entities import ENTITIES, USER, Entity, entity_defs
from sandbox.espocrm.php import (
    ApiError,
    php_int,
    php_json,
    read_json,
    validation_failure,
)
from sandbox.espocrm.query import read_search_params
from sandbox.espocrm.seed import load_firm
from sandbox.espocrm.service import RecordService
from sandbox.espocrm.store import Record, Store
from sandbox.espocrm.webhooks import WebhookQueue
from sandbox.espocrm.write import WriteAction, named, plain_forms
from sandbox.firm.build import Firm, make_firm

DEFAULT_PORT = 4020
API_PREFIX = "/api/v1"
WRITE_ACTION = "BitByLaw/write"
WRITE_PATH = f"{API_PREFIX}/{WRITE_ACTION}"
_UNPRINTABLE = re.compile(r"[^ -~]")
#: Statuses of refusals that are about one write.
REFUSALS = frozenset({400, 403, 404, 409})
BERLIN = ZoneInfo("Europe/Berlin")
EXTENSION_VERSION = (
    "1.2.0"  #: of the firm's extension, whose entities and rules this twin has
)

UserHandler = Callable[[web.Request, ApiUser], Awaitable[Any]]


class EspoCRMTwin(Twin):
    """An EspoCRM with the firm's extension, in memory."""

    name: ClassVar[str] = "espocrm"
    default_port: ClassVar[int] = DEFAULT_PORT
    transient: ClassVar[frozenset[str]] = Twin.transient | {"_session", "_job"}

    def __init__(
        self,
        *,
        seed: int = 1,
        empty: bool = False,
        clock: Clock | None = None,
        webhook_interval: float = 1.0,
        settings: Settings | None = None,
        api_users: Iterable[ApiUser] = DEFAULT_API_USERS,
    ) -> None:
        """Set up the twin.

        Args:
            seed: determines the sample data and the ids.
            empty: start without sample data; API users exist all the same.
            clock: gives the time as aware datetime; the machine's if None.
            webhook_interval: seconds between two runs of the webhook job; 0: only on demand.
            settings: switches of the instance after start and reset.
            api_users: who has an API key after start and reset.
        """
        self._webhook_interval = webhook_interval
        self._initial_settings = settings or Settings()
        self._api_users = tuple(api_users)
        self._session: aiohttp.ClientSession | None = None
        self._job: asyncio.Task[None] | None = None
        super().__init__(seed=seed, empty=empty, clock=clock)

    # -- frame ------------------------------------------------------------------------------------------------

    def load_seed(self) -> None:
        """Drop all records, webhooks, switches and further API users; load the sample firm."""
        self._store = Store(self.now, self._make_id, self._initial_settings)
        self._guard = LoginGuard()
        self._queue = WebhookQueue(self._store, self._guard, self.now)
        self._service = RecordService(self._store, self.dice, self._queue.add)
        self._write_action = WriteAction(self._store, self._service, self.now)
        self._admin = self._first_admin()
        for user in (self._admin, *self._api_users):
            self._add_api_user(user)
        self._administration = Administration(
            self._store,
            self._guard,
            self._admin,
            self._make_id,
        )
        if not self.empty:
            today = self.now().astimezone(BERLIN).date()
            firm = make_firm(self.seed, today)
            load_firm(self._store, firm, self._admin)

    def _first_admin(self) -> ApiUser:
        for user in self._api_users:
            if user.admin:
                return user
        return ApiUser(api_key="-", id=ADMIN_ID, user_name="admin", admin=True)

    def load_firm(self, firm: Firm) -> None:
        """Add a firm's employees and parties to the records, without webhook events."""
        load_firm(self._store, firm, self._admin)

    def set_silently(
        self,
        entity: str,
        record_id: str,
        attributes: dict[str, Any],
    ) -> None:
        """Set attributes of a record as the sync does with EspoCRM's save option ``silent``."""
        kind = ENTITIES[entity]
        record = self._store.get(kind, record_id)
        self._store.update(record, attributes, self._admin, keep_modified=True)

    def state(self) -> dict[str, Any]:
        """Settings, all records by entity, and the webhook queue."""
        records = {}
        for name in ENTITIES:
            records[name] = self._shown(name)
        return {
            "settings": self._store.settings.model_dump(mode="json"),
            "records": records,
            "webhook_queue": [item.as_json() for item in self._queue.items],
        }

    def _shown(self, entity: str) -> list[dict[str, Any]]:
        """All records of an entity, as a read by id shows them."""
        shown = []
        for record in self._store.records(entity):
            shown.append(self._store.full(record))
        return shown

    def error_response(self, status: int) -> web.Response:
        """An empty answer; as HTML when the login failed."""
        content_type = "application/json"
        if status == 401:
            content_type = "text/html"
        return web.Response(status=status, content_type=content_type)

    def refusal(
        self,
        request: web.Request,
        refused: RefusedAlterationError,
    ) -> web.Response:
        """A field that does not pass; a value is named in the reason only, and nothing named is an empty 400."""
        if refused.naming == "nothing":
            return _refusal(ApiError(400, ""))
        entity = _entity_at(request, refused.place)
        field = refused.attribute.removesuffix("Data")
        failure = validation_failure(entity, field, "valid")
        if refused.naming == "entry":
            failure.reason += f" Value: {refused.value}."
        return self.refused_at(_refusal(failure), request, refused.place)

    async def plain_forms(self, request: web.Request) -> list[tuple[str, str]]:
        """The plain requests that the write action stands for.

        So a rule for ``PUT /CBeteiligte/{id}`` holds whichever way a client takes; one alone stands so in the journal.
        """
        if request.method != "POST":
            return []
        if request.path != WRITE_PATH:
            return []
        if not self._store.settings.has_extension_1_1:
            return []
        body = await _body(request)
        forms = []
        for method, path in plain_forms(body):
            forms.append((method, f"{API_PREFIX}/{path}"))
        return forms

    def ruled_part(self, request: web.Request, document: Any, place: int) -> Any:
        """The attributes of one record that the write action is about."""
        if PLAIN_FORMS not in request:
            return document
        name = "writes"
        if "results" in document:
            name = "results"
        part = document[name][place]
        return part["attributes"]

    def echoes(self, request: web.Request) -> bool:
        """The write action reads each record again."""
        return PLAIN_FORMS not in request

    def refused_at(
        self,
        response: web.Response,
        request: web.Request,
        place: int,
    ) -> web.Response:
        """A refusal by the write action says which write it is about."""
        if PLAIN_FORMS not in request or response.status not in REFUSALS:
            return response
        own = None
        if isinstance(response.body, bytes) and response.body:
            own = json.loads(response.body)
        headers = dict(response.headers)
        headers.pop("Content-Length", None)
        return web.Response(
            status=response.status,
            body=php_json(named(own, place)),
            headers=headers,
        )

    def json_bytes(self, value: Any) -> bytes:
        """JSON as PHP writes it."""
        return php_json(value)

    async def start(self) -> None:
        """Start the webhook job."""
        self._session = aiohttp.ClientSession()
        if self._webhook_interval > 0:
            self._job = asyncio.create_task(
                self._run_webhook_job(),
                name="espocrm-webhooks",
            )

    async def stop(self) -> None:
        """Stop the webhook job; a request under way is cut off."""
        if self._job is not None:
            self._job.cancel()
            with suppress(asyncio.CancelledError):
                await self._job
        if self._session is not None:
            await self._session.close()

    async def _run_webhook_job(self) -> None:
        while self._session is not None:
            await asyncio.sleep(self._webhook_interval)
            await self._queue.process(self._session)

    def _make_id(self) -> str:
        """17 hex characters: time, then chance, like PHP's ``uniqid``."""
        seconds = int(self.now().timestamp())
        chance = self.dice.getrandbits(36)
        return f"{seconds:08x}{chance:09x}"

    def _add_api_user(self, user: ApiUser) -> ApiUser:
        if not user.id:
            user = user.model_copy(update={"id": self._make_id()})
        self._guard.add(user)
        kind = "api"
        if user.admin:
            kind = "admin"
        body = {
            "userName": user.user_name,
            "name": user.shown_name,
            "type": kind,
        }
        self._store.create(
            USER,
            self._store.prepare(USER, body, record=None),
            self._admin,
            {"id": user.id},
        )
        return user

    # -- routes -----------------------------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """The REST API."""
        for_users: list[tuple[str, str, UserHandler]] = [
            ("GET", "App/user", self._app_user),
            ("GET", "Metadata", self._metadata),
            ("GET", WRITE_ACTION, self._offer_write),
            ("POST", WRITE_ACTION, self._write),
            *self._admin_routes(),
            ("GET", "{entity}", self._list),
            ("POST", "{entity}", self._create),
            ("GET", "{entity}/{id}", self._read),
            ("PUT", "{entity}/{id}", self._update),
            ("PATCH", "{entity}/{id}", self._update),
            ("DELETE", "{entity}/{id}", self._delete),
            ("GET", "{entity}/{id}/{link}", self._list_linked),
        ]
        table: list[Route] = [("GET", "Settings", self._read_settings)]
        for method, path, handler in for_users:
            table.append((method, path, self._as_user(handler)))
        return routes_below(API_PREFIX, table)

    def _admin_routes(self) -> list[tuple[str, str, UserHandler]]:
        """What only an administrator may do; any user may read his own record."""

        def administer(name: str) -> UserHandler:
            def handle(request: web.Request, user: ApiUser) -> Awaitable[Any]:
                handler = getattr(self._administration, name)
                answer: Awaitable[Any] = handler(request, user)
                return answer

            return handle

        return [
            ("PUT", "Settings", administer("write_settings")),
            ("POST", "App/destroyAuthToken", administer("log_out")),
            ("GET", "Extension", administer("extensions")),
            ("POST", "Extension/action/upload", administer("upload")),
            ("POST", "Extension/action/install", administer("install")),
            ("GET", "Role", administer("roles")),
            ("POST", "User", administer("create_user")),
            ("GET", "User/{id}", self._read_user),
            ("PUT", "User/{id}", administer("update_user")),
        ]

    async def _read_user(self, request: web.Request, user: ApiUser) -> Any:
        if user.admin:
            return await self._administration.read_user(request, user)
        request.match_info["entity"] = USER.name
        return await self._read(request, user)

    async def _read_settings(self, request: web.Request) -> web.Response:
        return await self._administration.read_settings(request)

    def control_routes(self) -> list[web.RouteDef]:
        """The control routes that only this twin has."""
        table: list[Route] = [
            ("GET", "settings", self._get_settings),
            ("POST", "settings", self._change_settings),
            ("POST", "api-users", self._post_api_user),
            ("POST", "records/{entity}", self._as_admin(self._put_record)),
            ("PUT", "records/{entity}/{id}", self._as_admin(self._edit_record)),
            ("DELETE", "records/{entity}/{id}", self._as_admin(self._remove_record)),
            ("POST", "actions", self._as_admin(self._act)),
            ("GET", "webhooks", self._show_webhooks),
            ("POST", "webhooks/process", self._process_webhooks),
        ]
        return routes_below(CONTROL_PREFIX, table)

    def _as_user(self, handler: UserHandler) -> Handler:
        """Log the caller in, run the handler, and turn its value or its refusal into an answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                user = self._login(request)
            except ApiError as error:
                return _refusal(error)
            if user is None:
                return self.error_response(401)
            return await _answered(handler, request, user)

        return handle

    def _login(self, request: web.Request) -> ApiUser | None:
        admin = self._administration.login(request)
        if admin is not None:
            return admin
        api_key = request.headers.get("X-Api-Key")
        address = request.remote or ""
        return self._guard.login(api_key, address, self.now())

    def _as_admin(self, handler: UserHandler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await _answered(handler, request, self._admin)

        return handle

    # -- REST API ---------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        return self._found(request, user, entity, lambda _record: True)

    async def _list_linked(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("read", entity.name)
        owner = self._store.get(entity, request.match_info["id"])
        foreign, attribute = _target_of(entity, request.match_info["link"])

        def is_linked(record: Record) -> bool:
            return bool(record.get(attribute) == owner.id)

        return self._found(request, user, ENTITIES[foreign], is_linked)

    def _found(
        self,
        request: web.Request,
        user: ApiUser,
        entity: Entity,
        wanted: Callable[[Record], bool],
    ) -> Any:
        user.demand("read", entity.name)
        params = read_search_params(request.query_string)

        def is_visible(record: Record) -> bool:
            return wanted(record) and record.is_shown_to(user)

        rows, total = self._store.search(entity, params, is_visible)
        if _is_set(request, "X-No-Total"):
            is_last_page = total <= params.offset + len(rows)
            total = -1
            if is_last_page:
                total = -2
        return {"total": total, "list": rows}

    async def _create(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        body = await _body(request)
        skip = _is_set(request, "X-Skip-Duplicate-Check")
        record = self._service.create(entity, body, user, skip_duplicate_check=skip)
        return self._store.full(record)

    async def _read(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("read", entity.name)
        record_id = request.match_info["id"]
        deleted = None
        if user.admin:
            deleted = self._store.find_deleted(entity.name, record_id)
        return self._store.full(
            deleted or self._visible(entity, record_id, user, "does not exist"),
        )

    async def _update(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        body = await _body(request)
        user.demand("edit", entity.name)
        record = self._visible(entity, request.match_info["id"], user, "not found")
        version = None
        read_version = request.headers.get("X-Version-Number")
        if read_version:
            version = php_int(read_version)
        return self._service.update(record, body, user, version=version)

    async def _delete(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("delete", entity.name)
        self._service.delete(
            self._visible(entity, request.match_info["id"], user, "not found"),
            user,
        )
        return True

    def _visible(
        self,
        entity: Entity,
        record_id: str,
        user: ApiUser,
        wording: str,
    ) -> Record:
        record = self._store.get(entity, record_id, wording)
        if not record.is_shown_to(user):
            raise ApiError(403, "No 'read' access.")
        return record

    async def _offer_write(self, _request: web.Request, user: ApiUser) -> Any:
        return self._write_action.offered(user)

    async def _write(self, request: web.Request, user: ApiUser) -> Any:
        body = await _body(request)
        return self._write_action.run(body, user)

    async def _app_user(self, _request: web.Request, user: ApiUser) -> Any:
        return {
            "user": self._store.full(self._store.get(USER, user.id)),
            "acl": _acl(user),
            **self._administration.app_params(user),
            "language": "de_DE",
        }

    async def _metadata(self, request: web.Request, user: ApiUser) -> Any:
        """What concerns entities that the user may not read is left out, also among the possible parents of a Task."""
        readable = []
        for name in ENTITIES:
            if user.may("read", name):
                readable.append(name)
        scopes = {}
        for name in readable:
            scopes[name] = {"entity": True}
        definitions = self._definitions(readable, user)
        metadata = {"entityDefs": definitions, "scopes": scopes}
        return _node_at(metadata, request.query.get("key", ""))

    def _definitions(self, readable: list[str], user: ApiUser) -> dict[str, Any]:
        settings = self._store.settings
        definitions = {}
        for name in readable:
            definition = entity_defs(ENTITIES[name])
            if name in settings.optimistic_concurrency:
                definition["optimisticConcurrencyControl"] = True
            definitions[name] = definition
        if "Task" in definitions:
            parent = definitions["Task"]["fields"]["parent"]
            parent["entityList"] = _parents_of_task(settings, user)
        if "Webhook" in definitions and settings.is_version_8_4:
            del definitions["Webhook"]["fields"]["skipOwn"]
        definitions["Settings"] = {"fields": _extension_fields(settings)}
        return definitions

    # -- control API ------------------------------------------------------------------------------------------

    async def _get_settings(self, _request: web.Request) -> web.Response:
        settings = self._store.settings.model_dump(mode="json")
        return web.json_response(settings)

    async def _change_settings(self, request: web.Request) -> web.Response:
        try:
            self._store.settings = Settings.model_validate(
                self._store.settings.model_dump() | await request.json(),
            )
        except ValidationError as error:
            return _invalid(error)
        return await self._get_settings(request)

    async def _post_api_user(self, request: web.Request) -> web.Response:
        try:
            user = ApiUser.model_validate(await request.json())
        except ValidationError as error:
            return _invalid(error)
        return web.json_response({"id": self._add_api_user(user).id})

    async def _put_record(self, request: web.Request, admin: ApiUser) -> Any:
        entity = _entity(request)
        body = await _body(request)
        replaced = self._store.take_out(entity, str(body.get("id")))
        silent = _is_silent(request)
        try:
            record = self._service.create(
                entity,
                body,
                admin,
                skip_duplicate_check=True,
                given=body,
                silent=silent,
            )
        except ApiError:
            if replaced is not None:
                self._store.put_back(replaced)
            raise
        return self._store.full(record)

    async def _edit_record(self, request: web.Request, admin: ApiUser) -> Any:
        record = self._named_record(request)
        body = await _body(request)
        silent = _is_silent(request)
        return self._service.update(record, body, admin, silent=silent)

    async def _remove_record(self, request: web.Request, admin: ApiUser) -> Any:
        record = self._named_record(request)
        silent = _is_silent(request)
        self._service.delete(record, admin, silent=silent)
        return True

    def _named_record(self, request: web.Request) -> Record:
        """The record that the path of a control request names."""
        entity = _entity(request)
        return self._store.get(entity, request.match_info["id"])

    async def _act(self, request: web.Request, admin: ApiUser) -> Any:
        try:
            action = ACTIONS.validate_json(await request.read())
        except ValidationError as error:
            raise ApiError(400, "No such action.", _details_of(error)) from error
        browser = Browser(self._store, self._service, self._queue.add, admin)
        return browser.do(action)

    async def _show_webhooks(self, _request: web.Request) -> web.Response:
        queue = [item.as_json() for item in self._queue.items]
        webhooks = self._shown("Webhook")
        return web.json_response({"webhooks": webhooks, "queue": queue})

    async def _process_webhooks(self, _request: web.Request) -> web.Response:
        if self._session is None:
            raise web.HTTPServiceUnavailable(text="The twin is not running.")
        deliveries = await self._queue.process(self._session)
        sent = [asdict(delivery) for delivery in deliveries]
        return web.json_response(sent)


def _acl(user: ApiUser) -> dict[str, Any]:
    table = {}
    for name in ENTITIES:
        table[name] = _acl_row(name, user)
    acl: dict[str, Any] = {
        "table": table,
        "assignmentPermission": user.assignment_permission,
        "userPermission": user.user_permission,
        "mentionPermission": user.mention_permission,
    }
    if user.admin:
        for name in ("assignmentPermission", "userPermission", "mentionPermission"):
            acl[name] = "all"
    return acl


def _acl_row(scope: str, user: ApiUser) -> dict[str, str] | bool:
    """What a role allows on a scope, as the user's own access table shows it."""
    if scope == "Webhook":
        return user.may("read", scope)
    create = "no"
    if user.may("create", scope):
        create = "yes"
    return {
        "create": create,
        "read": _acl_level(user, "read", scope),
        "edit": _acl_level(user, "edit", scope),
        "delete": _acl_level(user, "delete", scope),
        "stream": _acl_level(user, "read", scope),
    }


def _acl_level(user: ApiUser, action: Action, scope: str) -> Level:
    if user.may(action, scope):
        return "all"
    return "no"


def _extension_fields(settings: Settings) -> dict[str, Any]:
    """The fields that the extension adds to EspoCRM's settings."""
    return {name: {"type": "varchar"} for name in settings.extension_settings}


def _parents_of_task(settings: Settings, user: ApiUser) -> list[str]:
    """The entities that a user may choose as parent of a Task."""
    parents = []
    for name in settings.task_parents:
        if user.may("read", name):
            parents.append(name)
    return parents


def _node_at(node: Any, key: str) -> Any:
    """What stands at a path of names with dots between them; None if nothing does."""
    for name in key.split("."):
        if not name:
            continue
        if not isinstance(node, dict):
            return None
        node = node.get(name)
    return node


def _entity_at(request: web.Request, place: int) -> str:
    """The entity that a write is about; ``place``: which one, if the request holds several."""
    plain = request.get(PLAIN_FORMS)
    if not plain:
        return str(request.match_info.get("entity"))
    _, path = plain[place]
    return str(path.split("/")[3])


def _is_set(request: web.Request, header: str) -> bool:
    return request.headers.get(header, "").lower() == "true"


def _target_of(entity: Entity, link: str) -> tuple[str, str]:
    """The entity that a link leads to, and its attribute that holds our id. Raises ApiError 404 for an unknown link."""
    for name, foreign, attribute in entity.links:
        if name == link:
            return foreign, attribute
    raise ApiError(404, "Link does not exist.")


def _entity(request: web.Request) -> Entity:
    name = request.match_info["entity"]
    entity = ENTITIES.get(name)
    if entity is None:
        raise ApiError(404, f"Controller '{name}' does not exist.")
    return entity


async def _body(request: web.Request) -> dict[str, Any]:
    """The attributes of a request body; one that is not declared as JSON counts as empty, as in EspoCRM."""
    content = await body_of(request)
    if request.content_type != "application/json" or not content:
        return {}
    try:
        body = read_json(content)
    except ValueError as error:
        raise ApiError(500, "") from error
    if isinstance(body, list):
        return {"list": body}
    if not isinstance(body, dict):
        raise ApiError(400, "Body is not a JSON object.")
    return body


async def _answered(
    handler: UserHandler,
    request: web.Request,
    user: ApiUser,
) -> web.Response:
    try:
        value = await handler(request, user)
    except ApiError as error:
        return _refusal(error)
    status = 200
    if request.method == "POST" and request.path == f"{API_PREFIX}/Webhook":
        status = 201
    return web.Response(
        status=status,
        body=php_json(value),
        content_type="application/json",
    )


def _refusal(error: ApiError) -> web.Response:
    response = web.Response(
        status=error.status,
        body=b"",
        content_type="application/json",
    )
    if error.body is not None:
        response.body = php_json(error.body)
    if error.reason:
        # EspoCRM strips what a header cannot carry.
        response.headers["X-Status-Reason"] = _UNPRINTABLE.sub(" ", error.reason)
    return response


def _invalid(error: ValidationError) -> web.Response:
    return web.json_response({"error": _details_of(error)}, status=400)


def _details_of(error: ValidationError) -> Any:
    return json.loads(error.json(include_url=False))


def _is_silent(request: web.Request) -> bool:
    return request.query.get("silent") == "1"


def _make_twin(arguments: argparse.Namespace) -> EspoCRMTwin:
    return EspoCRMTwin(
        seed=arguments.seed,
        empty=arguments.empty,
        webhook_interval=arguments.webhook_interval,
    )


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(
        prog="python -m sandbox.espocrm.app",
        description="Twin of EspoCRM.",
    )
    _parser.add_argument(
        "--webhook-interval",
        type=float,
        default=1.0,
        help="seconds between deliveries; 0: on demand",
    )
    main(_make_twin, _parser, DEFAULT_PORT)
