"""What only an administrator may do in EspoCRM: install the extension, make the API user, fill in the settings.

Each step looks first and changes only what is not yet as it should be, so a second run changes nothing and an
interrupted one is simply run again. The administrator's password is sent once; the session ends with the set-up.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from services.core.errors import (
    AuthenticationFailed,
    Forbidden,
    ForeignSystemError,
    NotFound,
    UnexpectedAnswer,
    error_for_status,
)
from services.core.http import HttpAnswer, new_session, send
from services.espocrm_setup.schema import (
    EXTENSION_NAME,
    PERMISSIONS,
    ROLE_ID,
    ROLE_NAME,
    WEBHOOKS,
    role_problems,
    surplus_rights,
    version_numbers,
)
from services.espocrm_setup.webhooks import SetupFailed
from services.values.espocrm_query import PAGE_SIZE, SYSTEM, Record

API_USER = "bitbylaw"
CALL_SECONDS = 30.0
#: EspoCRM unpacks the package and rebuilds its database.
INSTALL_SECONDS = 300.0
ADMINISTRATORS = frozenset({"admin", "super-admin"})
PEOPLE = (*sorted(ADMINISTRATORS), "regular")
#: Where EspoCRM's buttons find us; the extension offers both or none.
ACTION_URL = "bitByLawUrl"
ACTION_SECRET = "bitByLawSecret"  # noqa: S105 - the name of a setting

BY_HAND = "Install it by hand (on the server: php command.php extension --file=..., or Administration > Extensions)"


@dataclass(frozen=True)
class Step:
    """What was done. ``kept``: all was well already; ``by hand``: EspoCRM does not let us."""

    name: str
    action: Literal["kept", "done", "by hand"]
    message: str


@dataclass(frozen=True)
class Package:
    """An installable extension."""

    version: str
    content: bytes


class Administrator:
    """Requests in the session of an administrator."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        user: str,
        token: str,
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {
            "Espo-Authorization": _credentials(user, token),
            "Espo-Authorization-By-Token": "true",
        }

    @classmethod
    @asynccontextmanager
    async def logged_in(
        cls,
        base_url: str,
        user: str,
        password: SecretStr,
        ask_code: Callable[[], str],
    ) -> AsyncIterator[Administrator]:
        """Log in, and out at the end.

        Args:
            base_url: ends in ``/api/v1``.
            user: name of an administrator.
            password: sent once.
            ask_code: gives the code of the second factor, if EspoCRM asks for one.

        Raises:
            SetupFailed: EspoCRM refuses, cannot be reached, or the user is no administrator.
        """
        async with new_session() as session:
            answer = await _log_in(session, base_url, user, password, ask_code)
            if (answer.get("user") or {}).get("type") not in ADMINISTRATORS:
                raise SetupFailed(f"{user} is no administrator of EspoCRM.")
            token = str(answer["token"])
            admin = cls(session, base_url, user, token)
            try:
                yield admin
            finally:
                await admin.log_out(token)

    async def log_out(self, token: str) -> None:
        """End the session; one that cannot be ended ends by itself."""
        try:
            await self.call("POST", "App/destroyAuthToken", {"token": token})
        except ForeignSystemError:
            return

    async def call(
        self,
        method: str,
        path: str,
        json_data: Any = None,
        *,
        params: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        timeout_seconds: float = CALL_SECONDS,
    ) -> Any:
        """One request; the answer's value.

        Raises:
            ForeignSystemError: EspoCRM refuses or cannot be reached.
        """
        answer = await send(
            self._session,
            SYSTEM,
            method,
            f"{self._base_url}/{path}",
            headers=self._headers,
            params=params,
            json_data=json_data,
            body=body,
            timeout_seconds=timeout_seconds,
        )
        return _value(answer)

    async def rows(self, entity_type: str, **equals: str) -> list[Record]:
        """The first records with these values."""
        params = [("maxSize", str(PAGE_SIZE))]
        for number, (attribute, value) in enumerate(equals.items()):
            where = f"where[{number}]"
            params += [
                (f"{where}[type]", "equals"),
                (f"{where}[attribute]", attribute),
                (f"{where}[value]", value),
            ]
        answer = await self.call("GET", entity_type, params=params)
        listed = answer.get("list") if isinstance(answer, dict) else None
        if not isinstance(listed, list):
            raise UnexpectedAnswer(SYSTEM, "expected a list")
        return list(listed)


async def _log_in(
    session: aiohttp.ClientSession,
    base_url: str,
    user: str,
    password: SecretStr,
    ask_code: Callable[[], str],
) -> Record:
    headers = {"Espo-Authorization": _credentials(user, password.get_secret_value())}

    async def ask() -> HttpAnswer:
        return await send(
            session,
            SYSTEM,
            "GET",
            f"{base_url}/App/user",
            headers=headers,
            timeout_seconds=CALL_SECONDS,
        )

    try:
        answer = await ask()
        if answer.headers.get("X-Status-Reason") == "second-step-required":
            headers["Espo-Authorization-Code"] = ask_code()
            answer = await ask()
        value = _value(answer)
    except AuthenticationFailed as error:
        raise SetupFailed(
            f"EspoCRM refuses {user}: wrong name, password or code.",
        ) from error
    except ForeignSystemError as error:
        raise SetupFailed(
            f"{error} Is this EspoCRM's address: {base_url.removesuffix('/api/v1')}?",
        ) from error
    if not isinstance(value, dict) or not value.get("token"):
        raise SetupFailed(f"This is not EspoCRM's interface: {base_url}")
    return value


def _credentials(user: str, secret: str) -> str:
    credentials = f"{user}:{secret}".encode()
    return base64.b64encode(credentials).decode()


def _value(answer: HttpAnswer) -> Any:
    if answer.status >= 300:
        reason = answer.headers.get("X-Status-Reason", "")
        raise error_for_status(SYSTEM, answer.status, reason, None)
    return answer.json(SYSTEM)


# -- extension and role -------------------------------------------------------------------------------------------


async def install_extension(admin: Administrator, package: Package | None) -> Step:
    """Install our extension, or upgrade it; also again, if the role that it brings is missing or lacks something.

    A newer version than that of this BitByLaw stays. Where EspoCRM forbids installing, an older one that is there must
    do.

    Raises:
        SetupFailed: there is no extension and none can be installed, or the installation failed.
    """
    installed = await _installed_version(admin)
    lacking = await _role_lacks(admin)
    present = version_numbers(installed)
    is_enough = package is None or present >= version_numbers(package.version)
    if installed and is_enough and not lacking:
        return Step("extension", "kept", f"version {installed} is installed")
    if package is None:
        why = "This installation of BitByLaw has no package with it."
        return _by_hand(installed, why, lacking)
    if present > version_numbers(package.version):
        why = f"Version {installed} is newer than this BitByLaw."
        return _by_hand(installed, why, lacking)
    try:
        await _install(admin, package)
    except Forbidden as error:
        reason = error.reason or "restrictedMode."
        why = f"EspoCRM does not let it be installed by its interface: {reason}"
        return _by_hand(installed, why, lacking)
    await _require_right_role(admin)
    was = f"version {installed} was there" if installed else "none was there"
    return Step("extension", "done", f"version {package.version} installed; {was}")


async def _require_right_role(admin: Administrator) -> None:
    lacking = await _role_lacks(admin)
    if lacking:
        problems = "; ".join(lacking)
        raise SetupFailed(f'The role "{ROLE_NAME}" is still not right: {problems}')


def _by_hand(installed: str, why: str, lacking: list[str]) -> Step:
    if not installed:
        raise SetupFailed(
            f"The extension is not installed. {why} {BY_HAND}, then run this again.",
        )
    if lacking:
        problems = "; ".join(lacking)
        raise SetupFailed(
            f'The role "{ROLE_NAME}" is not right ({problems}). {why} {BY_HAND}.',
        )
    message = f"{why} {BY_HAND}; version {installed} stays for now."
    return Step("extension", "by hand", message)


async def _installed_version(admin: Administrator) -> str:
    for row in await admin.rows("Extension"):
        if row.get("name") == EXTENSION_NAME and row.get("isInstalled"):
            return str(row.get("version"))
    return ""


async def _role_lacks(admin: Administrator) -> list[str]:
    """What the role is not as the extension brings it; rights that an administrator has added are left alone."""
    role = await _role(admin)
    if role is None:
        return ["it is missing"]
    acl = {"table": role.get("data") or {}}
    for name in PERMISSIONS:
        acl[name] = role.get(name)
    problems = role_problems(acl)
    for scope in surplus_rights(acl):
        problems.append(f"{scope}: records may be deleted")
    return problems


async def _role(admin: Administrator) -> Record | None:
    for role in await admin.rows("Role"):
        if role.get("id") == ROLE_ID:
            return role
    return None


async def _install(admin: Administrator, package: Package) -> None:
    content = b"data:application/zip;base64," + base64.b64encode(package.content)
    uploaded = await admin.call(
        "POST",
        "Extension/action/upload",
        body=content,
        timeout_seconds=INSTALL_SECONDS,
    )
    try:
        await admin.call(
            "POST",
            "Extension/action/install",
            {"id": uploaded["id"]},
            timeout_seconds=INSTALL_SECONDS,
        )
    except Forbidden:
        raise
    except ForeignSystemError as error:
        # A proxy in between may have given up before EspoCRM was ready.
        if await _installed_version(admin) != package.version:
            raise SetupFailed(
                f"The extension could not be installed: {error} See EspoCRM's data/logs.",
            ) from error


# -- users --------------------------------------------------------------------------------------------------------


async def provide_api_user(admin: Administrator, known_key: str) -> tuple[Step, str]:
    """The API user with the role of the sync, created or completed, and his key.

    He is the user to whom the key that we have belongs, else the one named `API_USER`. Roles that he has besides stay.

    Raises:
        SetupFailed: a person has that name.
    """
    found = await _find_api_user(admin, known_key)
    if found is None:
        return await _create_api_user(admin)
    changes = _corrections(found)
    if not changes:
        message = f"{found['userName']} has the role {ROLE_NAME}"
        return Step("API user", "kept", message), _key_of(found)
    path = f"User/{found['id']}"
    await admin.call("PUT", path, changes)
    changed = await admin.call("GET", path)
    names = ", ".join(changes)
    message = f"{changed['userName']}: {names} corrected"
    return Step("API user", "done", message), _key_of(changed)


def _corrections(user: Record) -> Record:
    """What has to be changed so that a user is the API user of the sync."""
    roles = list(user.get("rolesIds") or [])
    if ROLE_ID not in roles:
        roles.append(ROLE_ID)
    wanted = {"isActive": True, "authMethod": "ApiKey", "rolesIds": roles}
    changes = {}
    for name, value in wanted.items():
        if user.get(name) != value:
            changes[name] = value
    return changes


async def _find_api_user(admin: Administrator, known_key: str) -> Record | None:
    """The API user with the key, else the one with the name."""
    named = None
    for row in await admin.rows("User", type="api"):
        user: Record = await admin.call("GET", f"User/{row['id']}")
        if known_key and user.get("apiKey") == known_key:
            return user
        if named is None and user.get("userName") == API_USER:
            named = user
    return named


async def _create_api_user(admin: Administrator) -> tuple[Step, str]:
    if await admin.rows("User", userName=API_USER):
        raise SetupFailed(
            f'A person in EspoCRM has the name "{API_USER}", so that no API user can have it. Rename him.',
        )
    user = {
        "type": "api",
        "userName": API_USER,
        "lastName": "BitByLaw",
        "isActive": True,
        "authMethod": "ApiKey",
        "rolesIds": [ROLE_ID],
    }
    created = await admin.call("POST", "User", user)
    message = f"{API_USER} created with the role {ROLE_NAME}"
    return Step("API user", "done", message), _key_of(created)


def _key_of(user: Record) -> str:
    key = user.get("apiKey")
    if not key:
        raise SetupFailed(
            f"EspoCRM does not show the key of {user.get('userName')}: see Administration > API Users.",
        )
    return str(key)


async def active_people(admin: Administrator) -> list[Record]:
    """Who may get tasks, by their names."""
    active: list[Record] = []
    for kind in PEOPLE:
        people = await admin.rows("User", type=kind)
        active += [person for person in people if person.get("isActive")]
    return sorted(active, key=lambda person: str(person.get("userName")))


async def without_removed(
    admin: Administrator,
    secrets: Mapping[str, str],
) -> dict[str, str]:
    """Of ``{webhook id: secret key}`` those whose webhook is still there, whoever made it."""
    present = {}
    for webhook_id, secret in secrets.items():
        if await _has_webhook(admin, webhook_id):
            present[webhook_id] = secret
    return present


async def find_doubles(
    admin: Administrator,
    our_url: str,
    own: Iterable[str],
) -> Step | None:
    """Webhooks of others that lead to the same addresses as our own, so that events come twice; they are left alone.

    Such are those that an administrator has made by hand, and those of an API user who was deleted: EspoCRM goes on
    sending them, and no other API user can see them.
    """
    known = set(own)
    addresses = {f"{our_url}{path}" for path in WEBHOOKS.values()}
    doubles = []
    for row in await admin.rows("Webhook"):
        webhook_id = row["id"]
        if webhook_id not in known and _leads_to(addresses, row):
            doubles.append(str(webhook_id))
    if not doubles:
        return None
    names = ", ".join(doubles)
    message = f"events come twice by {names}: remove them (Administration > Webhooks)"
    return Step("webhooks", "by hand", message)


def _leads_to(addresses: set[str], webhook: Record) -> bool:
    """Whether EspoCRM sends the events of a webhook to one of the addresses."""
    if not webhook.get("isActive"):
        return False
    address, _, _ = str(webhook.get("url")).partition("?")
    return address in addresses


async def _has_webhook(admin: Administrator, webhook_id: str) -> bool:
    try:
        webhook = await admin.call("GET", f"Webhook/{quote(webhook_id, safe='')}")
    except NotFound:
        return False
    # Administrators are shown deleted records as well.
    return not webhook.get("deleted")


# -- settings -----------------------------------------------------------------------------------------------------


async def offers_actions(admin: Administrator) -> bool:
    """Whether the extension has buttons that call us, and so settings where to find us."""
    key = quote(f"entityDefs.Settings.fields.{ACTION_URL}", safe=".")
    definition = await admin.call("GET", "Metadata", params=[("key", key)])
    return definition is not None


async def configure_actions(
    admin: Administrator,
    our_url: str,
    secret: SecretStr,
    *,
    is_new: bool,
) -> Step:
    """Give EspoCRM's buttons our address and the secret by which we know them.

    EspoCRM never shows the secret, so it is written each time; ``is_new`` says whether it is another one.
    """
    settings = await admin.call("GET", "Settings")
    was = settings.get(ACTION_URL)
    changes = {ACTION_URL: our_url, ACTION_SECRET: secret.get_secret_value()}
    await admin.call("PUT", "Settings", changes)
    if was == our_url and not is_new:
        message = f"EspoCRM calls {our_url} (the secret, which it does not show, was sent again)"
        return Step("buttons", "kept", message)
    return Step("buttons", "done", f"EspoCRM calls {our_url}")
