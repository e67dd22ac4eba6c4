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
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import aiohttp
from aiohttp import web
from pydantic import ValidationError

from sandbox.alterations import RefusedAlterationError
from sandbox.control import CONTROL_PREFIX, PLAIN_FORMS, Clock, Twin, body_of, main
from sandbox.espocrm.access import (
    ADMIN_ID,
    DEFAULT_API_USERS,
    ApiUser,
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
WRITE_PATH = f"{API_PREFIX}/BitByLaw/write"
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
        self._admin = next(
            (user for user in self._api_users if user.admin),
            ApiUser(api_key="-", id=ADMIN_ID, user_name="admin", admin=True),
        )
        for user in (self._admin, *self._api_users):
            self._add_api_user(user)
        self._administration = Administration(
            self._store, self._guard, self._admin, self._make_id
        )
        if not self.empty:
            load_firm(
                self._store,
                make_firm(self.seed, self.now().astimezone(BERLIN).date()),
                self._admin,
            )

    def load_firm(self, firm: Firm) -> None:
        """Add a firm's employees and parties to the records, without webhook events."""
        load_firm(self._store, firm, self._admin)

    def set_silently(
        self, entity: str, record_id: str, attributes: dict[str, Any]
    ) -> None:
        """Set attributes of a record as the sync does with EspoCRM's save option ``silent``."""
        record = self._store.get(ENTITIES[entity], record_id)
        self._store.update(record, attributes, self._admin, keep_modified=True)

    def state(self) -> dict[str, Any]:
        """Settings, all records by entity, and the webhook queue."""
        records = {name: self._shown(name) for name in ENTITIES}
        return {
            "settings": self._store.settings.model_dump(mode="json"),
            "records": records,
            "webhook_queue": [item.as_json() for item in self._queue.items],
        }

    def _shown(self, entity: str) -> list[dict[str, Any]]:
        """All records of an entity, as a read by id shows them."""
        return [self._store.full(record) for record in self._store.records(entity)]

    def error_response(self, status: int) -> web.Response:
        """An empty answer; as HTML when the login failed."""
        return web.Response(
            status=status,
            content_type="text/html" if status == 401 else "application/json",
        )

    def refusal(
        self, request: web.Request, refused: RefusedAlterationError
    ) -> web.Response:
        """A field that does not pass; a value is named in the reason only, and nothing named is an empty 400."""
        if refused.naming == "nothing":
            return _refusal(ApiError(400, ""))
        field = refused.attribute.removesuffix("Data")
        plain = request.get(PLAIN_FORMS)
        entity = (
            plain[refused.place][1].split("/")[3]
            if plain
            else request.match_info.get("entity")
        )
        failure = validation_failure(str(entity), field, "valid")
        if refused.naming == "entry":
            failure.reason += f" Value: {refused.value}."
        return self.refused_at(_refusal(failure), request, refused.place)

    async def plain_forms(self, request: web.Request) -> list[tuple[str, str]]:
        """The plain requests that the write action stands for.

        So a rule for ``PUT /CBeteiligte/{id}`` holds whichever way a client takes; one alone stands so in the journal.
        """
        has_action = self._store.settings.extension not in {"", "1.0.0"}
        if request.method != "POST" or request.path != WRITE_PATH or not has_action:
            return []
        return [
            (method, f"{API_PREFIX}/{path}")
            for method, path in plain_forms(await _body(request))
        ]

    def ruled_part(self, request: web.Request, document: Any, place: int) -> Any:
        """The attributes of one record that the write action is about."""
        if PLAIN_FORMS not in request:
            return document
        return document["results" if "results" in document else "writes"][place][
            "attributes"
        ]

    def echoes(self, request: web.Request) -> bool:
        """The write action reads each record again."""
        return PLAIN_FORMS not in request

    def refused_at(
        self, response: web.Response, request: web.Request, place: int
    ) -> web.Response:
        """A refusal by the write action says which write it is about."""
        if PLAIN_FORMS not in request or response.status not in REFUSALS:
            return response
        own = (
            json.loads(response.body)
            if isinstance(response.body, bytes) and response.body
            else None
        )
        headers = dict(response.headers)
        headers.pop("Content-Length", None)
        return web.Response(
            status=response.status, body=php_json(named(own, place)), headers=headers
        )

    def json_bytes(self, value: Any) -> bytes:
        """JSON as PHP writes it."""
        return php_json(value)

    async def start(self) -> None:
        """Start the webhook job."""
        self._session = aiohttp.ClientSession()
        if self._webhook_interval > 0:
            self._job = asyncio.create_task(
                self._run_webhook_job(), name="espocrm-webhooks"
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
        return f"{int(self.now().timestamp()):08x}{self.dice.getrandbits(36):09x}"

    def _add_api_user(self, user: ApiUser) -> ApiUser:
        user = user if user.id else user.model_copy(update={"id": self._make_id()})
        self._guard.add(user)
        body = {
            "userName": user.user_name,
            "name": user.shown_name,
            "type": "admin" if user.admin else "api",
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
        base = API_PREFIX
        return [
            web.get(f"{base}/App/user", self._as_user(self._app_user)),
            web.get(f"{base}/Metadata", self._as_user(self._metadata)),
            web.get(WRITE_PATH, self._as_user(self._offer_write)),
            web.post(WRITE_PATH, self._as_user(self._write)),
            *self._admin_routes(),
            web.get(f"{base}/{{entity}}", self._as_user(self._list)),
            web.post(f"{base}/{{entity}}", self._as_user(self._create)),
            web.get(f"{base}/{{entity}}/{{id}}", self._as_user(self._read)),
            web.put(f"{base}/{{entity}}/{{id}}", self._as_user(self._update)),
            web.patch(f"{base}/{{entity}}/{{id}}", self._as_user(self._update)),
            web.delete(f"{base}/{{entity}}/{{id}}", self._as_user(self._delete)),
            web.get(
                f"{base}/{{entity}}/{{id}}/{{link}}", self._as_user(self._list_linked)
            ),
        ]

    def _admin_routes(self) -> list[web.RouteDef]:
        """What only an administrator may do, and the settings, of which any user may read a part."""
        base = API_PREFIX

        def administer(
            name: str,
        ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
            return self._as_user(
                lambda request, user: getattr(self._administration, name)(request, user)
            )

        return [
            web.get(f"{base}/Settings", self._read_settings),
            web.put(f"{base}/Settings", administer("write_settings")),
            web.post(f"{base}/App/destroyAuthToken", administer("log_out")),
            web.get(f"{base}/Extension", administer("extensions")),
            web.post(f"{base}/Extension/action/upload", administer("upload")),
            web.post(f"{base}/Extension/action/install", administer("install")),
            web.get(f"{base}/Role", administer("roles")),
            web.post(f"{base}/User", administer("create_user")),
            web.get(f"{base}/User/{{id}}", self._as_user(self._read_user)),
            web.put(f"{base}/User/{{id}}", administer("update_user")),
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
        control = CONTROL_PREFIX
        return [
            web.get(f"{control}/settings", self._get_settings),
            web.post(f"{control}/settings", self._change_settings),
            web.post(f"{control}/api-users", self._post_api_user),
            web.post(f"{control}/records/{{entity}}", self._as_admin(self._put_record)),
            web.put(
                f"{control}/records/{{entity}}/{{id}}",
                self._as_admin(self._edit_record),
            ),
            web.delete(
                f"{control}/records/{{entity}}/{{id}}",
                self._as_admin(self._remove_record),
            ),
            web.post(f"{control}/actions", self._as_admin(self._act)),
            web.get(f"{control}/webhooks", self._show_webhooks),
            web.post(f"{control}/webhooks/process", self._process_webhooks),
        ]

    def _as_user(
        self, handler: UserHandler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Log the caller in, run the handler, and turn its value or its refusal into an answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                user = self._administration.login(request) or self._guard.login(
                    request.headers.get("X-Api-Key"), request.remote or "", self.now()
                )
            except ApiError as error:
                return _refusal(error)
            if user is None:
                return self.error_response(401)
            return await _answered(handler, request, user)

        return handle

    def _as_admin(
        self, handler: UserHandler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await _answered(handler, request, self._admin)

        return handle

    # -- REST API ---------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request, user: ApiUser) -> Any:
        return self._found(request, user, _entity(request), lambda _record: True)

    async def _list_linked(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("read", entity.name)
        owner = self._store.get(entity, request.match_info["id"])
        foreign, attribute = _target_of(entity, request.match_info["link"])
        return self._found(
            request,
            user,
            ENTITIES[foreign],
            lambda record: record.values.get(attribute) == owner.id,
        )

    def _found(
        self,
        request: web.Request,
        user: ApiUser,
        entity: Entity,
        wanted: Callable[[Record], bool],
    ) -> Any:
        user.demand("read", entity.name)
        params = read_search_params(request.query_string)
        rows, total = self._store.search(
            entity,
            params,
            lambda record: (
                wanted(record)
                and user.may_see(entity.name, record.values | {"id": record.id})
            ),
        )
        if request.headers.get("X-No-Total", "").lower() == "true":
            total = -1 if total > params.offset + len(rows) else -2
        return {"total": total, "list": rows}

    async def _create(self, request: web.Request, user: ApiUser) -> Any:
        skip = request.headers.get("X-Skip-Duplicate-Check", "").lower() == "true"
        record = self._service.create(
            _entity(request), await _body(request), user, skip_duplicate_check=skip
        )
        return self._store.full(record)

    async def _read(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("read", entity.name)
        record_id = request.match_info["id"]
        deleted = (
            self._store.find_deleted(entity.name, record_id) if user.admin else None
        )
        return self._store.full(
            deleted or self._visible(entity, record_id, user, "does not exist")
        )

    async def _update(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        body = await _body(request)
        user.demand("edit", entity.name)
        record = self._visible(entity, request.match_info["id"], user, "not found")
        version = request.headers.get("X-Version-Number")
        return self._service.update(
            record, body, user, version=php_int(version) if version else None
        )

    async def _delete(self, request: web.Request, user: ApiUser) -> Any:
        entity = _entity(request)
        user.demand("delete", entity.name)
        self._service.delete(
            self._visible(entity, request.match_info["id"], user, "not found"), user
        )
        return True

    def _visible(
        self, entity: Entity, record_id: str, user: ApiUser, wording: str
    ) -> Record:
        record = self._store.get(entity, record_id, wording)
        if not user.may_see(entity.name, record.values | {"id": record.id}):
            raise ApiError(403, "No 'read' access.")
        return record

    async def _offer_write(self, _request: web.Request, user: ApiUser) -> Any:
        return self._write_action.offered(user)

    async def _write(self, request: web.Request, user: ApiUser) -> Any:
        return self._write_action.run(await _body(request), user)

    async def _app_user(self, _request: web.Request, user: ApiUser) -> Any:
        return {
            "user": self._store.full(self._store.get(USER, user.id)),
            "acl": _acl(user),
            **self._administration.app_params(user),
            "language": "de_DE",
        }

    async def _metadata(self, request: web.Request, user: ApiUser) -> Any:
        """What concerns entities that the user may not read is left out, also among the possible parents of a Task."""
        readable = [name for name in ENTITIES if user.may("read", name)]
        node: Any = {
            "entityDefs": self._definitions(readable, user),
            "scopes": {name: {"entity": True} for name in readable},
        }
        for part in request.query.get("key", "").split("."):
            if part:
                node = node.get(part) if isinstance(node, dict) else None
        return node

    def _definitions(self, readable: list[str], user: ApiUser) -> dict[str, Any]:
        settings = self._store.settings
        definitions = {name: entity_defs(ENTITIES[name]) for name in readable}
        if "Task" in definitions:
            parents = [name for name in settings.task_parents if user.may("read", name)]
            definitions["Task"]["fields"]["parent"]["entityList"] = parents
        if "Webhook" in definitions and settings.version == "8.4":
            del definitions["Webhook"]["fields"]["skipOwn"]
        for name in settings.optimistic_concurrency & definitions.keys():
            definitions[name]["optimisticConcurrencyControl"] = True
        own = {key: {"type": "varchar"} for key in settings.extension_settings}
        definitions["Settings"] = {"fields": own}
        return definitions

    # -- control API ------------------------------------------------------------------------------------------

    async def _get_settings(self, _request: web.Request) -> web.Response:
        return web.json_response(self._store.settings.model_dump(mode="json"))

    async def _change_settings(self, request: web.Request) -> web.Response:
        try:
            self._store.settings = Settings.model_validate(
                self._store.settings.model_dump() | await request.json()
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
        record = self._store.get(_entity(request), request.match_info["id"])
        return self._service.update(
            record, await _body(request), admin, silent=_is_silent(request)
        )

    async def _remove_record(self, request: web.Request, admin: ApiUser) -> Any:
        record = self._store.get(_entity(request), request.match_info["id"])
        self._service.delete(record, admin, silent=_is_silent(request))
        return True

    async def _act(self, request: web.Request, admin: ApiUser) -> Any:
        try:
            action = ACTIONS.validate_json(await request.read())
        except ValidationError as error:
            raise ApiError(
                400, "No such action.", json.loads(error.json(include_url=False))
            ) from error
        return Browser(self._store, self._service, self._queue.add, admin).do(action)

    async def _show_webhooks(self, _request: web.Request) -> web.Response:
        queue = [item.as_json() for item in self._queue.items]
        webhooks = self._shown("Webhook")
        return web.json_response({"webhooks": webhooks, "queue": queue})

    async def _process_webhooks(self, _request: web.Request) -> web.Response:
        if self._session is None:
            raise web.HTTPServiceUnavailable(text="The twin is not running.")
        return web.json_response(
            [asdict(delivery) for delivery in await self._queue.process(self._session)]
        )


def _acl(user: ApiUser) -> dict[str, Any]:
    acl: dict[str, Any] = {
        "table": {name: _acl_row(name, user) for name in ENTITIES},
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
    level = {
        action: "all" if user.may(action, scope) else "no"
        for action in ("read", "edit", "delete")
    }
    return {
        "create": "yes" if user.may("create", scope) else "no",
        **level,
        "stream": level["read"],
    }


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
    handler: UserHandler, request: web.Request, user: ApiUser
) -> web.Response:
    try:
        value = await handler(request, user)
    except ApiError as error:
        return _refusal(error)
    created_webhook = (
        request.method == "POST" and request.path == f"{API_PREFIX}/Webhook"
    )
    return web.Response(
        status=201 if created_webhook else 200,
        body=php_json(value),
        content_type="application/json",
    )


def _refusal(error: ApiError) -> web.Response:
    body = b"" if error.body is None else php_json(error.body)
    # EspoCRM strips what a header cannot carry.
    reason = "".join(char if " " <= char <= "~" else " " for char in error.reason)
    headers = {"X-Status-Reason": reason} if reason else {}
    return web.Response(
        status=error.status, body=body, headers=headers, content_type="application/json"
    )


def _invalid(error: ValidationError) -> web.Response:
    return web.json_response(
        {"error": json.loads(error.json(include_url=False))}, status=400
    )


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
        prog="python -m sandbox.espocrm.app", description="Twin of EspoCRM."
    )
    _parser.add_argument(
        "--webhook-interval",
        type=float,
        default=1.0,
        help="seconds between deliveries; 0: on demand",
    )
    main(_make_twin, _parser, DEFAULT_PORT)
