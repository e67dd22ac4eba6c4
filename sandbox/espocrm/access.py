"""Who may do what in the EspoCRM twin: settings of the instance, API users with their roles, and the login limit."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from sandbox.espocrm.entities import CUSTOM_ENTITIES, STANDARD_TASK_PARENTS
from sandbox.espocrm.php import ApiError

Action = Literal["create", "read", "edit", "delete"]
Level = Literal["all", "no"]

MAX_FAILED_LOGINS = 10
FAILED_LOGIN_PERIOD = timedelta(seconds=60)

ADMIN_ID = "6b0473a32660ab138"  #: as in the captured requests
SYNC_ID = "6b04744e3b3103de6"
LIMITED_ID = "6b04744e3b3103de7"

_DEFAULT_PORTS = {"https": 443}

#: The attribute of records that a user sees only if they are his own.
_OWNER_ATTRIBUTES = {
    "Webhook": "userId",
    "Notification": "userId",
    "Note": "createdById",
    "User": "id",
}

#: What every user may do with these entities, whatever the role says. "own" is enforced by `ApiUser.may_see`.
MANDATORY_RIGHTS: Mapping[str, frozenset[Action]] = {
    "Note": frozenset({"create", "read", "edit", "delete"}),
    "Notification": frozenset({"read", "delete"}),
}


class Settings(BaseModel):
    """What an administrator of the instance can switch; see ``POST /__sandbox__/settings``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: 8.4 knows neither the header ``Signature`` nor ``skipOwn``, names the followers in every update, and saves (and
    #: sends) even what is identical
    version: Literal["8.4", "9.3"] = "9.3"
    phone_number_international: bool = True
    duplicate_check: frozenset[str] = (
        frozenset()
    )  #: entities that answer 409 to a likely duplicate
    #: The firm's extension: 1.2.0 shows the sync how the instance is run; 1.1.0 has the write action and leaves the
    #: version alone when only the sync's own fields change; 1.0.0 has the entities and rules alone. Empty: it is not
    #: installed yet, nor is its role; the entities are there all the same.
    extension: Literal["", "1.0.0", "1.1.0", "1.2.0"] = "1.2.0"
    #: entities that have a ``versionNumber``; the extension switches it on for its own from 1.1.0 on
    optimistic_concurrency: frozenset[str] = frozenset(CUSTOM_ENTITIES)
    concurrency_ignored: frozenset[str] = (
        frozenset()
    )  #: fields that any version may overwrite (9.3)
    webhook_event_portion: int | None = (
        None  #: events that a run of the webhook job claims; EspoCRM's own: 20
    )
    #: ``host:port`` of internal receivers that the administrator allows (EspoCRM's ``webhookAllowedAddressList``). From
    #: 9.3.2 on a webhook to any other internal host is refused, and its events are dropped. None: any receiver will do.
    webhook_allowed_addresses: tuple[str, ...] | None = None
    # As EspoCRM comes, not as the firm should have it.
    preferred_countries: tuple[str, ...] = ("us", "de")
    address_format: int = 1
    php_version: str = "8.3.14"
    cron_seconds_ago: int | None = 30  #: since a job ran; None: none ever did
    logs_api_access: bool = True  #: each request of an API user leaves a row
    may_install: bool = True  #: off: ``adminUpgradeDisabled``
    #: fields that the extension adds to EspoCRM's settings
    extension_settings: tuple[str, ...] = ()
    #: the rules of 1.1.0 for names, links and lengths; off: records are saved as they were before
    form_rules: bool = True
    task_parents: tuple[str, ...] = (*STANDARD_TASK_PARENTS, *CUSTOM_ENTITIES)

    @property
    def is_version_8_4(self) -> bool:
        """Whether EspoCRM is the older of the two versions."""
        return self.version == "8.4"

    @property
    def has_extension_1_1(self) -> bool:
        """Whether the firm's extension is installed in version 1.1.0 or a newer one."""
        return self.extension not in {"", "1.0.0"}

    @property
    def has_form_rules(self) -> bool:
        """Whether names, links and lengths are checked, and parts that go or move mark their Beteiligter."""
        return self.form_rules and self.has_extension_1_1

    def may_send_to(self, url: str) -> bool:
        """Whether webhooks may go to this address. Without DNS here, only names without a dot count as internal."""
        if self.webhook_allowed_addresses is None:
            return True
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
        if f"{host}:{port}" in self.webhook_allowed_addresses:
            return True
        return _is_external(host)


def _is_external(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host


class ApiUser(BaseModel):
    """A user with an API key, and the rights of his role. A scope that is not in ``rights`` is closed to him."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: str = Field(min_length=1)
    user_name: str = Field(min_length=1)
    name: str = ""  #: shown name; the user name if empty
    id: str = ""  #: made up if empty
    admin: bool = False
    sync: bool = (
        False  #: edits by this user are the sync's own and leave ``syncStatus`` alone
    )
    rights: dict[str, frozenset[Action]] = {}
    assignment_permission: Level = "no"
    user_permission: Level = "no"
    mention_permission: Level = "no"

    @property
    def shown_name(self) -> str:
        """The name that appears in ``createdByName`` and ``modifiedByName``."""
        return self.name or self.user_name

    def may(self, action: Action, scope: str) -> bool:
        """Whether the role allows an action on some record of the scope."""
        if scope == "Notification" and action == "create":
            return False
        if self.admin:
            return True
        of_role = self.rights.get(scope, frozenset())
        return action in MANDATORY_RIGHTS.get(scope, of_role)

    def demand(self, action: Action, scope: str) -> None:
        """Raises `ApiError` 403 ``No create access.`` and the like if the role does not allow it."""
        if not self.may(action, scope):
            raise ApiError(403, f"No {action} access.")

    def may_see(self, scope: str, values: Mapping[str, Any]) -> bool:
        """Whether a record is his to see: some scopes only ever show a user what is his own."""
        if self.admin:
            return True
        if scope == "User" and self.user_permission == "all":
            return True
        owner = _OWNER_ATTRIBUTES.get(scope)
        if owner is None:
            return True
        return bool(values.get(owner) == self.id)


_FULL: frozenset[Action] = frozenset({"create", "read", "edit", "delete"})
_EDIT: frozenset[Action] = frozenset({"create", "read", "edit"})
_READ: frozenset[Action] = frozenset({"read"})

DEFAULT_API_USERS = (
    ApiUser(
        api_key="espocrm-admin-key",
        id=ADMIN_ID,
        user_name="admin",
        name="Admin",
        admin=True,
    ),
    ApiUser(
        api_key="espocrm-demo-key",
        id=SYNC_ID,
        user_name="sync",
        sync=True,
        rights={
            "CBeteiligte": _EDIT,
            "CAdressen": _EDIT,
            "CBankverbindungen": _EDIT,
            "CVmhErstgespraech": _EDIT,
            "Task": _EDIT,
            "User": _READ,
            "Webhook": _FULL,
        },
        assignment_permission="all",
        user_permission="all",
        mention_permission="all",
    ),
    ApiUser(
        api_key="espocrm-limited-key",
        id=LIMITED_ID,
        user_name="readonly",
        rights={
            "CBeteiligte": _READ,
            "CAdressen": _READ,
            "CBankverbindungen": _READ,
            "Task": _READ,
        },
    ),
)


class LoginGuard:
    """Finds the user of an API key; more than ten failures in a minute lock out the whole address."""

    def __init__(self) -> None:
        self._users: dict[str, ApiUser] = {}
        self._failures: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def add(self, user: ApiUser) -> None:
        """Let a user in; one with the same key is replaced."""
        self._users[user.api_key] = user

    def key_of(self, user_id: str) -> str | None:
        """The API key of a user, None if he has none."""
        user = self.user_of_id(user_id)
        if user:
            return user.api_key
        return None

    def user_of_id(self, user_id: str) -> ApiUser | None:
        """The API user with this id, if any."""
        for user in self._users.values():
            if user.id == user_id:
                return user
        return None

    def login(self, api_key: str | None, address: str, now: datetime) -> ApiUser | None:
        """The user of a key, None if there is none.

        Raises:
            ApiError: 403, the address has failed too often.
        """
        failures = self._failures[address]
        _forget_before(failures, now - FAILED_LOGIN_PERIOD)
        if len(failures) > MAX_FAILED_LOGINS:
            raise ApiError(
                403,
                f"Max failed login attempts exceeded for IP address {address}.",
            )
        if not api_key:
            return self._users.get("")
        user = self._users.get(api_key)
        if user is None:
            failures.append(now)
        return user


def _forget_before(failures: deque[datetime], start: datetime) -> None:
    while failures and failures[0] <= start:
        failures.popleft()
