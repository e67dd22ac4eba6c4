"""Setting EspoCRM up with the API user's own key: our webhooks. For what an administrator does: espocrm_provision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from config import Settings, address_problem
from services.core.errors import (
    AuthenticationFailed,
    BitByLawError,
    ConfigurationError,
    Forbidden,
    InvalidInput,
    Unavailable,
    UnexpectedAnswer,
    ValidationFailed,
)
from services.core.resources import Resources
from services.core.write_guard import SentInAnyCase
from services.espocrm import EspoCRMAPI
from services.espocrm_setup.schema import WEBHOOKS
from services.values.espocrm_query import SYSTEM, Record

Status = Literal["ok", "warning", "failed", "unchecked"]

INSTALL_EXTENSION = (
    "Install the extension (make espocrm-extension, then Administration > Extensions) "
    "and clear EspoCRM's cache."
)
ASSIGN_ROLE = 'Give the API user the role "BitByLaw Sync" (Administration > API Users).'
INSTALL_WEBHOOKS = (
    "Run: bitbylaw espocrm install-webhooks --url <our address as EspoCRM reaches it>"
)


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


class SetupAPI(EspoCRMAPI):
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
        found = []
        async for row in self.search_entities("Webhook", order_by="createdAt"):
            endpoint = WEBHOOKS.get(str(row.get("event")))
            if _path_of(row) == endpoint:
                found.append(row)
        return found

    async def knows_skip_own(self) -> bool:
        """Whether this EspoCRM (9.2 and later) can leave out events that we cause ourselves."""
        return await self.metadata("entityDefs.Webhook.fields.skipOwn") is not None


# -- webhooks -----------------------------------------------------------------------------------------------------


async def install_webhooks(
    settings: Settings,
    public_url: str,
) -> AsyncIterator[Installed]:
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
        resources.guard = SentInAnyCase()
        api = SetupAPI(resources=resources)
        try:
            base = _checked_base(public_url, settings)
            present = await api.webhooks()
            skip_own = await api.knows_skip_own()
            for event in WEBHOOKS:
                wanted = _wanted(event, base, settings, skip_own=skip_own)
                of_event = [row for row in present if row["event"] == event]
                rows = _known_first(of_event, settings)
                async for step in _settle(api, event, wanted, rows):
                    yield step
        except BitByLawError as error:
            raise SetupFailed(f"{error} {remedy(error)}".strip()) from error


async def webhook_secrets(settings: Settings) -> dict[str, str]:
    """``{webhook id: secret key}`` of our webhooks in EspoCRM, in the order of `WEBHOOKS`.

    Raises:
        SetupFailed: EspoCRM refuses or cannot be reached.
    """
    async with Resources(settings) as resources:
        try:
            rows = await SetupAPI(resources=resources).webhooks()
        except ConfigurationError:
            raise
        except BitByLawError as error:
            raise SetupFailed(f"{error} {remedy(error)}".strip()) from error
    order = list(WEBHOOKS)
    rows.sort(key=lambda row: order.index(row["event"]))
    return {row["id"]: str(row["secretKey"]) for row in rows}


async def _settle(
    api: SetupAPI,
    event: str,
    wanted: Record,
    rows: list[Record],
) -> AsyncIterator[Installed]:
    if not rows:
        created = await api.create_entity("Webhook", {"event": event, **wanted})
        yield _installed(event, created)
        return
    kept, *surplus = rows
    kept_id = kept["id"]
    if _is_as(kept, wanted):
        yield Installed(event, kept_id, "kept")
    else:
        await api.update_entity("Webhook", kept_id, wanted)
        yield Installed(event, kept_id, "updated")
    for row in surplus:
        surplus_id = row["id"]
        await api.delete_entity("Webhook", surplus_id)
        yield Installed(event, surplus_id, "removed")


def _installed(event: str, created: Record) -> Installed:
    secret = str(created.get("secretKey") or "")
    return Installed(
        event=event,
        webhook_id=created["id"],
        action="created",
        secret=SecretStr(secret),
    )


def _is_as(kept: Record, wanted: Record) -> bool:
    """Whether a webhook needs no change."""
    return all(kept.get(name) == value for name, value in wanted.items())


def _wanted(event: str, base: str, settings: Settings, *, skip_own: bool) -> Record:
    path = WEBHOOKS[event]
    query = ""
    token = settings.espocrm.webhook_token
    if token:
        quoted = quote(token.get_secret_value(), safe="")
        query = f"?token={quoted}"
    attributes: Record = {"url": f"{base}{path}{query}", "isActive": True}
    if skip_own:
        attributes["skipOwn"] = True
    return attributes


def _known_first(rows: Iterable[Record], settings: Settings) -> list[Record]:
    """The webhooks of one event, first those whose secret we know."""
    keys = settings.espocrm.webhook_keys
    return sorted(rows, key=lambda row: row["id"] not in keys)


def _checked_base(public_url: str, settings: Settings) -> str:
    try:
        return checked_address(public_url, settings)
    except InvalidInput as error:
        raise InvalidInput(f"--url: {error}") from None


def checked_address(url: str, settings: Settings) -> str:
    """An address without a slash at its end.

    Raises:
        InvalidInput: it is none, or what we send there could be read on the way.
    """
    if not _is_plain_address(url):
        raise InvalidInput("must be an address such as https://host.example")
    problem = address_problem(url, settings.service)
    if problem:
        raise InvalidInput(problem)
    return url.rstrip("/")


def _is_plain_address(url: str) -> bool:
    """Whether it is an HTTP address of a host and a path, and nothing more."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        return False
    if not parts.hostname or parts.username:
        return False
    return not parts.query and not parts.fragment


def _path_of(webhook: Mapping[str, Any]) -> str:
    """The endpoint that a webhook leads to; a prefix that a reverse proxy adds does not count."""
    path = urlsplit(str(webhook.get("url") or "")).path
    start = path.find("/vmh/webhook/")
    if start >= 0:
        return path[start:]
    return path


def remedy(error: Exception) -> str:
    """What a person can do about an error of EspoCRM."""
    if isinstance(error, AuthenticationFailed):
        return "Copy the API key from Administration > API Users into ESPOCRM_MARVIN_API_KEY."
    if isinstance(error, ValidationFailed) and "notInternal" in error.reason:
        return (
            "EspoCRM calls no internal address, nor one whose name it cannot resolve. Allow it in EspoCRM's "
            "data/config.php: 'webhookAllowedAddressList' => ['host:port']."
        )
    if isinstance(error, Forbidden):
        if "login attempts" in error.reason:
            return "Too many failed logins: wait a minute."
        return ASSIGN_ROLE
    if isinstance(error, UnexpectedAnswer | Unavailable):
        return "Check ESPOCRM_API_BASE_URL (it ends in /api/v1) and whether EspoCRM is running."
    return ""
