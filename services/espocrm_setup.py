"""Setting EspoCRM up: register our webhooks there, and check everything that the sync relies on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import SecretStr

from config import Settings, address_problem
from services.errors import (
    AuthenticationFailed,
    BitByLawError,
    ConfigurationError,
    Forbidden,
    ForeignSystemError,
    InvalidInput,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
)
from services.espocrm import EspoCRMAPI
from services.espocrm_models import SYSTEM, Record
from services.espocrm_schema import (
    ENTITIES,
    WEBHOOKS,
    entity_problems,
    role_problems,
    surplus_rights,
)
from services.resources import Resources

Status = Literal["ok", "warning", "failed", "unchecked"]

INSTALL_EXTENSION = (
    "Install the extension (make espocrm-extension, then Administration > Extensions) and clear EspoCRM's cache."
)
ASSIGN_ROLE = 'Give the API user the role "BitByLaw Sync" (Administration > API Users).'
OLD_EXTENSION = "1.0.0"  #: without the write action
INSTALL_WEBHOOKS = "Run: bitbylaw espocrm install-webhooks --url <our address as EspoCRM reaches it>"


@dataclass(frozen=True)
class Check:
    """The outcome of one check. ``unchecked``: the question could not be asked."""

    name: str
    status: Status
    message: str
    fix: str = ""


@dataclass(frozen=True)
class Installed:
    """What was done with one webhook; ``secret`` only for one that was just created."""

    event: str
    webhook_id: str
    action: Literal["kept", "updated", "created", "removed"]
    secret: SecretStr | None = None


class SetupFailed(Exception):
    """The work cannot go on; the message says why and what to do."""


class _SetupAPI(EspoCRMAPI):
    """The calls that only the setup makes."""

    async def app_user(self) -> Record:
        """Who we are in EspoCRM: ``user``, ``acl``, ``appParams``."""
        answer = await self._call("GET", "App/user")
        if not isinstance(answer, dict) or "acl" not in answer:
            raise UnexpectedAnswer(SYSTEM, "this is not EspoCRM's interface")
        return answer

    async def metadata(self, key: str) -> Any:
        """A part of the metadata, as far as our role shows it; None if there is none."""
        return await self._call("GET", "Metadata", params=[("key", key)])

    async def webhooks(self) -> list[Record]:
        """The API user's own webhooks that lead to one of our endpoints, oldest first."""
        rows = [row async for row in self.search_entities("Webhook", order_by="createdAt")]
        return [row for row in rows if _path_of(row) == WEBHOOKS.get(str(row.get("event")))]

    async def knows_skip_own(self) -> bool:
        """Whether this EspoCRM (9.2 and later) can leave out events that we cause ourselves."""
        return await self.metadata("entityDefs.Webhook.fields.skipOwn") is not None


# -- webhooks -----------------------------------------------------------------------------------------------------


async def install_webhooks(settings: Settings, public_url: str) -> AsyncIterator[Installed]:
    """Register our six webhooks, or mend those that are there; yields each as soon as it is settled.

    A second run keeps everything. A webhook with another address or token is changed and keeps its secret; of several
    for one event all but one are removed. Webhooks that lead elsewhere are left alone.

    Args:
        settings: says which EspoCRM; its webhook token becomes part of the addresses.
        public_url: our address as EspoCRM reaches it, ``https://bitbylaw.example``.

    Raises:
        SetupFailed: EspoCRM refuses, cannot be reached, or is not configured.
    """
    async with Resources(settings) as resources:
        api = _SetupAPI(resources=resources)
        try:
            base = _checked_base(public_url, settings)
            present, skip_own = await api.webhooks(), await api.knows_skip_own()
            for event in WEBHOOKS:
                wanted = _wanted(event, base, settings, skip_own=skip_own)
                rows = _best_first((row for row in present if row["event"] == event), settings)
                async for step in _settle(api, event, wanted, rows):
                    yield step
        except (BitByLawError, ConfigurationError) as error:
            raise SetupFailed(" ".join((str(error), _remedy(error))).strip()) from error


async def _settle(api: _SetupAPI, event: str, wanted: Record, rows: list[Record]) -> AsyncIterator[Installed]:
    if not rows:
        created = await api.create_entity("Webhook", {"event": event, **wanted})
        yield Installed(event, created["id"], "created", SecretStr(str(created.get("secretKey") or "")))
        return
    kept, *surplus = rows
    if all(kept.get(name) == value for name, value in wanted.items()):
        yield Installed(event, kept["id"], "kept")
    else:
        await api.update_entity("Webhook", kept["id"], wanted)
        yield Installed(event, kept["id"], "updated")
    for row in surplus:
        await api.delete_entity("Webhook", row["id"])
        yield Installed(event, row["id"], "removed")


def _wanted(event: str, base: str, settings: Settings, *, skip_own: bool) -> Record:
    token = settings.espocrm.webhook_token
    query = f"?token={quote(token.get_secret_value(), safe='')}" if token else ""
    attributes: Record = {"url": f"{base}{WEBHOOKS[event]}{query}", "isActive": True}
    return {**attributes, "skipOwn": True} if skip_own else attributes


def _best_first(rows: Iterable[Record], settings: Settings) -> list[Record]:
    """The webhooks of one event, first those whose secret we know."""
    keys = settings.espocrm.webhook_keys
    return sorted(rows, key=lambda row: row["id"] not in keys)


def _checked_base(public_url: str, settings: Settings) -> str:
    parts = urlsplit(public_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidInput("--url: must be our address as EspoCRM reaches it, such as https://bitbylaw.example")
    if problem := address_problem(public_url, settings.service):  # the webhooks' token is in the address
        raise InvalidInput(f"--url: {problem}")
    return public_url.rstrip("/")


def _path_of(webhook: Mapping[str, Any]) -> str:
    """The endpoint that a webhook leads to; a prefix that a reverse proxy adds does not count."""
    path = urlsplit(str(webhook.get("url") or "")).path
    start = path.find("/vmh/webhook/")
    return path[start:] if start >= 0 else path


def _remedy(error: Exception) -> str:
    """What a person can do about an error of EspoCRM."""
    if isinstance(error, AuthenticationFailed):
        return "Copy the API key from Administration > API Users into ESPOCRM_MARVIN_API_KEY."
    if isinstance(error, ValidationFailed) and "notInternal" in error.reason:
        return (
            "EspoCRM calls no internal address, nor one whose name it cannot resolve. Allow it in EspoCRM's "
            "data/config.php: 'webhookAllowedAddressList' => ['host:port']."
        )
    if isinstance(error, Forbidden):
        return "Too many failed logins: wait a minute." if "login attempts" in error.reason else ASSIGN_ROLE
    if isinstance(error, UnexpectedAnswer | Unavailable):
        return "Check ESPOCRM_API_BASE_URL (it ends in /api/v1) and whether EspoCRM is running."
    return ""


# -- checks -------------------------------------------------------------------------------------------------------


async def diagnose(settings: Settings, public_url: str | None = None) -> list[Check]:
    """Check key, extension, entities, fields, options, role and webhooks, in this order.

    ``public_url`` is the address that the webhooks must lead to; without it only their paths are checked. Never raises
    because of EspoCRM: what could not be asked is ``unchecked``.
    """
    if not settings.espocrm.api_base_url or not settings.espocrm.marvin_api_key.get_secret_value():
        fix = "Set ESPOCRM_API_BASE_URL and ESPOCRM_MARVIN_API_KEY in .env."
        return [Check("configuration", "unchecked", "EspoCRM is not configured.", fix)]
    async with Resources(settings) as resources:
        api = _SetupAPI(resources=resources)
        checks: list[Check] = []
        try:
            app_user = await api.app_user()
            checks += [_check_key(app_user), _check_extension(app_user)]
            checks += [await _check_entity(api, name) for name in ENTITIES]
            checks.append(await _check_task_parents(api))
            checks += [_check_role(app_user["acl"]), _check_next_call(app_user["acl"], settings)]
            if app_user["acl"].get("table", {}).get("Webhook"):
                checks += await _check_webhooks(api, settings, public_url)
        except ForeignSystemError as error:
            checks.append(Check("connection" if checks else "key", "unchecked", str(error), _remedy(error)))
        return checks


def _check_key(app_user: Mapping[str, Any]) -> Check:
    user = app_user.get("user") or {}
    if user.get("type") != "api":
        fix = "Create an API user for the sync and use its key: a person's rights are too many."
        return Check("key", "warning", f"The key belongs to a user of the type {user.get('type')}.", fix)
    return Check("key", "ok", f"EspoCRM knows us as {user.get('userName')}.")


def _check_extension(app_user: Mapping[str, Any]) -> Check:
    found = (app_user.get("appParams") or {}).get("bitbylaw")
    if not found:
        message = "The extension is not installed: nothing marks records as pending_sync or dirty."
        return Check("extension", "failed", message, INSTALL_EXTENSION)
    if not found.get("isSyncUser"):
        message = "EspoCRM takes our changes for those of a person and marks each record that we write as dirty."
        return Check("extension", "failed", message, ASSIGN_ROLE)
    version = str(found.get("version"))
    if version == OLD_EXTENSION:
        message = f"Version {version} is installed: our writes count as changes, and each comes back as a webhook."
        return Check("extension", "warning", message, INSTALL_EXTENSION)
    return Check("extension", "ok", f"Version {version} is installed.")


async def _check_entity(api: _SetupAPI, name: str) -> Check:
    definition = await api.metadata(f"entityDefs.{name}")
    if not isinstance(definition, dict) or not definition.get("fields"):
        fix = f"{INSTALL_EXTENSION} {ASSIGN_ROLE}"
        return Check(name, "failed", "The entity does not exist, or the role does not show it.", fix)
    problems = entity_problems(name, definition)
    if problems:
        fix = f"Remove what differs in Administration > Entity Manager > {name}. {INSTALL_EXTENSION}"
        return Check(name, "failed", "; ".join(problems), fix)
    return Check(name, "ok", f"All {len(ENTITIES[name].fields)} fields are as they must be.")


async def _check_task_parents(api: _SetupAPI) -> Check:
    allowed = await api.metadata("entityDefs.Task.fields.parent.entityList")
    missing = [name for name in ENTITIES if name not in (allowed or [])]
    if missing:
        fix = f"Add them in Administration > Entity Manager > Task > Fields > parent. {INSTALL_EXTENSION}"
        return Check("Task", "failed", f"A Task cannot be linked with {', '.join(missing)}.", fix)
    return Check("Task", "ok", "Tasks can be linked with our entities.")


def _check_role(acl: Mapping[str, Any]) -> Check:
    problems = role_problems(acl)
    if problems:
        fix = f"{ASSIGN_ROLE} Installing the extension again puts back what the role lacks."
        return Check("role", "failed", "; ".join(problems), fix)
    surplus = surplus_rights(acl)
    if surplus:
        fix = "Take it away (Administration > Roles): the sync never deletes records."
        return Check("role", "warning", f"The API user may delete records of {', '.join(surplus)}.", fix)
    return Check("role", "ok", "The API user may do what the sync needs.")


def _check_next_call(acl: Mapping[str, Any], settings: Settings) -> Check:
    """The entity of the reset of the next call is the firm's own; the extension knows nothing of it."""
    entity = settings.vmh.nextcall_entity
    row = acl.get("table", {}).get(entity)
    if not isinstance(row, Mapping) or row.get("edit") != "all" or row.get("read") != "all":
        fix = f'Add {entity} with read and edit "all" to the role, or set VMH_NEXTCALL_ENTITY.'
        return Check("next call", "warning", f"The reset of the next call may not change {entity}.", fix)
    return Check("next call", "ok", f"The reset of the next call may change {entity}.")


async def _check_webhooks(api: _SetupAPI, settings: Settings, public_url: str | None) -> list[Check]:
    present, skip_own = await api.webhooks(), await api.knows_skip_own()
    return [
        _check_webhook(event, [row for row in present if row["event"] == event], settings, public_url, skip_own)
        for event in WEBHOOKS
    ]


def _check_webhook(event: str, rows: list[Record], settings: Settings, public_url: str | None, skip_own: bool) -> Check:
    name = f"webhook {event}"
    if not rows:
        message = "The API user has no such webhook (one that an administrator made by hand is not visible to us)."
        return Check(name, "failed", message, INSTALL_WEBHOOKS)
    if len(rows) > 1:
        return Check(
            name, "failed", f"It is registered {len(rows)} times, so that events come twice.", INSTALL_WEBHOOKS
        )
    (row,) = rows
    if not row.get("isActive"):
        return Check(name, "failed", "It is switched off.", INSTALL_WEBHOOKS)
    target = _without_query(row["url"])
    if public_url is not None and target != f"{public_url.rstrip('/')}{WEBHOOKS[event]}":
        return Check(name, "failed", f"It leads to {target}, not to {public_url}.", INSTALL_WEBHOOKS)
    token, keys = settings.espocrm.webhook_token, settings.espocrm.webhook_keys
    if token is not None and not _carries(row["url"], token.get_secret_value()):
        return Check(name, "failed", "Its address does not carry ESPOCRM_WEBHOOK_TOKEN.", INSTALL_WEBHOOKS)
    if keys and keys.get(row["id"]) != row.get("secretKey"):
        fix = f"Add {row['id']}:<its secret key> (Administration > Webhooks) to ESPOCRM_WEBHOOK_SECRETS."
        return Check(name, "failed", "Its secret key is not in ESPOCRM_WEBHOOK_SECRETS.", fix)
    if skip_own and not row.get("skipOwn"):
        return Check(name, "warning", "It also reports what we change ourselves.", INSTALL_WEBHOOKS)
    return Check(name, "ok", f"It leads to {target}.")


def _carries(url: str, token: str) -> bool:
    """Whether an address proves its sender: by the query or as Basic password."""
    parts = urlsplit(url)
    return token in parse_qs(parts.query).get("token", []) or token == parts.password


def _without_query(url: str) -> str:
    """An address as it may be shown, without token and password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
