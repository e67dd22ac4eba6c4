"""What an administrator does in the EspoCRM twin by its interface: log in, install the extension, make an API user.

The password of "admin" is `ADMIN_PASSWORD`. As in EspoCRM, a login by the header ``Espo-Authorization`` answers with a
token, by which the further requests are made.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from aiohttp import web

from sandbox.control import body_of
from sandbox.espocrm.access import Action, ApiUser, Level, LoginGuard
from sandbox.espocrm.entities import USER
from sandbox.espocrm.php import ApiError
from sandbox.espocrm.store import Record, Store

ADMIN_PASSWORD = "espocrm-admin-password"  # noqa: S105 - of a twin
EXTENSION_NAME = "BitByLaw"
TOKEN = "espocrm-admin-token"  # noqa: S105 - of a twin


class Administration:
    """The session of the administrator, extensions, the role of the sync, API users, settings."""

    def __init__(
        self,
        store: Store,
        guard: LoginGuard,
        admin: ApiUser,
        make_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._guard = guard
        self._admin = admin
        self._make_id = make_id
        self._uploaded: dict[str, dict[str, Any]] = {}
        self._accounts: dict[
            str,
            dict[str, Any],
        ] = {}  #: by user: what the entity User of the twin lacks
        self._role: dict[str, Any] | None = (
            None  #: as installed; None: as the extension has it
        )
        self._stored: dict[str, Any] = {}
        self._is_logged_in = False

    def login(self, request: web.Request) -> ApiUser | None:
        """The administrator, if the request is his; a wrong password is no user's."""
        given = request.headers.get("Espo-Authorization")
        if given is None:
            return None
        name, secret = _name_and_secret(given)
        if name != self._admin.user_name:
            return None
        is_token = request.headers.get("Espo-Authorization-By-Token") == "true"
        if not self._is_right(secret, is_token):
            return None
        self._is_logged_in = True
        return self._admin

    def _is_right(self, secret: str, is_token: bool) -> bool:
        if is_token:
            return secret == TOKEN and self._is_logged_in
        return secret == ADMIN_PASSWORD

    def app_params(self, user: ApiUser) -> dict[str, Any]:
        """The parts of ``App/user`` that describe the instance."""
        shown: dict[str, Any] = {}
        if self._store.settings.extension:
            shown["bitbylaw"] = self._shown_extension(user)
        answer: dict[str, Any] = {"settings": self._settings(), "appParams": shown}
        if user.admin:
            answer["token"] = TOKEN
        return answer

    def _shown_extension(self, user: ApiUser) -> dict[str, Any]:
        settings = self._store.settings
        shown: dict[str, Any] = {
            "version": settings.extension,
            "isSyncUser": user.sync,
        }
        if settings.extension in {"1.0.0", "1.1.0"}:
            return shown
        shown["instance"] = None
        if user.sync:
            shown["instance"] = self._instance()
        if settings.extension_settings:
            stored = map(self._stored.get, settings.extension_settings)
            shown["actions"] = all(stored)
        return shown

    def _settings(self) -> dict[str, Any]:
        settings = self._store.settings
        shown = {}
        for name, value in self._stored.items():
            if not name.endswith("Secret"):
                shown[name] = value
        return {
            "version": f"{settings.version}.2",
            "phoneNumberInternational": settings.phone_number_international,
            "phoneNumberPreferredCountryList": list(settings.preferred_countries),
            "addressFormat": settings.address_format,
            **shown,
        }

    def _instance(self) -> dict[str, Any]:
        settings = self._store.settings
        required = "8.3.0"
        if settings.version == "8.4":
            required = "8.1.0"
        return {
            "phpVersion": settings.php_version,
            "requiredPhpVersion": required,
            "cronSecondsAgo": settings.cron_seconds_ago,
            "isApiAccessLogged": settings.logs_api_access,
            "webhookEventPortion": settings.webhook_event_portion,
        }

    # -- requests ---------------------------------------------------------------------------------------------

    async def read_settings(self, request: web.Request) -> web.Response:
        """Any user may read a few of them, the administrator all but secrets."""
        try:
            is_admin = self.login(request) is not None
        except ApiError as error:
            raise web.HTTPBadRequest from error
        shown: dict[str, Any] = {"theme": "Espo"}
        if is_admin:
            shown = self._settings()
        return web.json_response(shown)

    async def write_settings(self, request: web.Request, user: ApiUser) -> Any:
        """Store what is sent."""
        _demand_admin(user)
        self._stored |= await _json_of(request)
        return self._settings()

    async def log_out(self, _request: web.Request, user: ApiUser) -> Any:
        """The token ends."""
        _demand_admin(user)
        self._is_logged_in = False
        return True

    async def extensions(self, _request: web.Request, user: ApiUser) -> Any:
        """The extensions that are installed."""
        _demand_admin(user)
        version = self._store.settings.extension
        if not version:
            return _list_of()
        installed = {
            "id": "x1",
            "name": EXTENSION_NAME,
            "version": version,
            "isInstalled": True,
        }
        return _list_of(installed)

    async def upload(self, request: web.Request, user: ApiUser) -> Any:
        """Take a package as ``data:application/zip;base64,...``."""
        _demand_admin(user)
        if not self._store.settings.may_install:
            raise ApiError(403, "Disabled with 'adminUpgradeDisabled' parameter.")
        content = base64.b64decode((await body_of(request)).partition(b",")[2])
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            manifest = json.loads(package.read("manifest.json"))
            settings = package.read(
                "files/custom/Espo/Modules/BitByLaw/Resources/metadata/app/bitbylaw.json",
            )
        upload_id = self._make_id()
        self._uploaded[upload_id] = {
            "version": manifest["version"],
            "role": json.loads(settings)["role"],
        }
        return {
            "id": upload_id,
            "version": manifest["version"],
            "name": manifest["name"],
        }

    async def install(self, request: web.Request, user: ApiUser) -> Any:
        """Install what was uploaded; an older version over a newer one is refused."""
        _demand_admin(user)
        body = await _json_of(request)
        uploaded = self._uploaded.pop(body["id"])
        version = uploaded["version"]
        settings = self._store.settings
        if _numbers(version) < _numbers(settings.extension):
            raise ApiError(
                500,
                "You cannot install an older version of this extension.",
            )
        self._store.settings = settings.model_copy(update={"extension": version})
        self._role = uploaded["role"]
        return True

    async def roles(self, _request: web.Request, user: ApiUser) -> Any:
        """The role of the sync, from the first installation on."""
        _demand_admin(user)
        role = self._role
        if not role:
            return _list_of()
        shown = {
            "id": role["id"],
            "name": role["name"],
            "data": role["data"],
            **role["permissions"],
        }
        return _list_of(shown)

    async def create_user(self, request: web.Request, user: ApiUser) -> Any:
        """An API user; his key is made here and shown to administrators."""
        _demand_admin(user)
        body = await _json_of(request)
        for known in self._store.records("User"):
            if known.get("userName") == body["userName"]:
                raise ApiError(409, "userNameExists")
        attributes = {**body, "name": body["lastName"]}
        prepared = self._store.prepare(USER, attributes, record=None)
        record, _ = self._store.create(USER, prepared, self._admin)
        number = int(record.id, 16)
        self._accounts[record.id] = {
            "apiKey": f"{number:032x}",
            "authMethod": None,
            "rolesIds": [],
        }
        self._apply(record, body)
        return self._shown(record)

    async def read_user(self, request: web.Request, user: ApiUser) -> Any:
        """A user with his key and roles."""
        _demand_admin(user)
        record = self._store.get(USER, request.match_info["id"])
        return self._shown(record)

    async def update_user(self, request: web.Request, user: ApiUser) -> Any:
        """Change a user."""
        _demand_admin(user)
        record = self._store.get(USER, request.match_info["id"])
        body = await _json_of(request)
        self._apply(record, body)
        return self._shown(record)

    def _apply(self, record: Record, body: dict[str, Any]) -> None:
        unknown: dict[str, Any] = {
            "apiKey": self._guard.key_of(record.id),
            "rolesIds": [],
        }
        account = self._accounts.setdefault(record.id, unknown)
        for name in ("authMethod", "rolesIds"):
            if name in body:
                account[name] = body[name]
        if "isActive" in body:
            record.values["isActive"] = body["isActive"]
        if record.values["type"] == "api":
            self._let_in(record, account)

    def _let_in(self, record: Record, account: dict[str, Any]) -> None:
        """Give an API user his key and the rights of his role."""
        is_sync = False
        rights: dict[str, frozenset[Action]] = {}
        level: Level = "no"
        if self._role is not None and self._role["id"] in account["rolesIds"]:
            is_sync = True
            rights = _rights(self._role["data"])
            level = "all"
        user = ApiUser(
            api_key=account["apiKey"],
            id=record.id,
            user_name=record.values["userName"],
            sync=is_sync,
            rights=rights,
            assignment_permission=level,
            user_permission=level,
            mention_permission=level,
        )
        self._guard.add(user)

    def _shown(self, record: Record) -> dict[str, Any]:
        known = self._accounts.get(record.id, {})
        key = known.get("apiKey") or self._guard.key_of(record.id)
        return {
            "authMethod": "ApiKey",
            "rolesIds": [],
            **self._store.full(record),
            **known,
            "apiKey": key,
        }


def _name_and_secret(authorization: str) -> tuple[str, str]:
    try:
        decoded = base64.b64decode(authorization).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ApiError(400, "Auth: Bad authorization string provided.") from error
    name, _, secret = decoded.partition(":")
    return name, secret


async def _json_of(request: web.Request) -> Any:
    content = await body_of(request)
    return json.loads(content)


def _list_of(*rows: dict[str, Any]) -> dict[str, Any]:
    """Rows as a list request answers them."""
    return {"total": len(rows), "list": list(rows)}


def _rights(data: dict[str, Any]) -> dict[str, frozenset[Action]]:
    full: frozenset[Action] = frozenset({"create", "read", "edit", "delete"})
    granted = {}
    for scope, levels in data.items():
        actions = full
        if isinstance(levels, dict):
            denied = []
            for action in full:
                if levels.get(action, "no") == "no":
                    denied.append(action)
            actions = full.difference(denied)
        granted[scope] = actions
    return granted


def _demand_admin(user: ApiUser) -> None:
    if not user.admin:
        raise ApiError(403, "")


def _numbers(version: str) -> tuple[int, ...]:
    if version:
        return tuple(map(int, version.split(".")))
    return ()
