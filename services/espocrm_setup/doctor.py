"""The doctor of EspoCRM: checks everything that the sync relies on there, and says how to mend it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets as random
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from config import Settings
from services.core.errors import Forbidden, ForeignSystemError, NotFound
from services.core.http import send
from services.core.resources import Resources
from services.espocrm_setup.schema import (
    ENTITIES,
    EXTENSION_VERSION,
    WEBHOOKS,
    entity_problems,
    granted_rights,
    role_problems,
    surplus_rights,
    version_numbers,
)
from services.espocrm_setup.webhooks import (
    ASSIGN_ROLE,
    INSTALL_EXTENSION,
    INSTALL_WEBHOOKS,
    Check,
    SetupAPI,
    remedy,
)
from services.values.espocrm_query import Record

OLD_EXTENSION = "1.0.0"  #: without the write action
#: EspoCRM's cron starts each minute; its job for webhooks runs every two to five minutes.
CRON_LATE_SECONDS = 15 * 60
#: EspoCRM sends so many events in a run of two to five minutes, unless its configuration says another number.
ESPOCRM_PORTION = 20
WANTED_PORTION = 100
GERMAN_ADDRESS_FORMAT = 2  #: street, postal code and city, country
PROBE_SECONDS = 8.0
PEOPLE = frozenset({"regular", "admin", "super-admin"})
RUNNING = "running BitByLaw"
_START = "Start BitByLaw, or run the doctor where this address can be reached."
_RESTART = "Restart BitByLaw: it reads .env when it starts."
#: A delivery without records: 400 says so, and a sender who is not accepted would get 401.
_ACCEPTED = frozenset({200, 400})


async def diagnose(settings: Settings, public_url: str | None = None) -> list[Check]:
    """Check key, extension, entities, fields, role, how EspoCRM is run, webhooks, and who takes them, in this order.

    ``public_url`` is the address that the webhooks must lead to; without it only their paths are checked. Never raises
    because of EspoCRM: what could not be asked is ``unchecked``.
    """
    api_key = settings.espocrm.marvin_api_key.get_secret_value()
    if not settings.espocrm.api_base_url or not api_key:
        fix = "Set ESPOCRM_API_BASE_URL and ESPOCRM_MARVIN_API_KEY in .env."
        return [Check("configuration", "unchecked", "EspoCRM is not configured.", fix)]
    checks: list[Check] = []
    async with Resources(settings) as resources:
        try:
            async for check in _checks(resources, settings, public_url):
                checks.append(check)
        except ForeignSystemError as error:
            name = "connection" if checks else "key"
            checks.append(Check(name, "unchecked", str(error), remedy(error)))
    return checks


async def _checks(
    resources: Resources,
    settings: Settings,
    public_url: str | None,
) -> AsyncIterator[Check]:
    """Each check as soon as it was made.

    Raises:
        ForeignSystemError: EspoCRM does not answer, or refuses.
    """
    api = SetupAPI(resources=resources)
    app_user = await api.app_user()
    acl = app_user["acl"]
    yield _check_key(app_user)
    yield _check_extension(app_user)
    for name in ENTITIES:
        yield await _check_entity(api, name)
    yield await _check_task_parents(api)
    yield _check_role(acl)
    yield _check_next_call(acl, settings)
    yield await _check_task_user(api, settings)
    for check in check_instance(app_user):
        yield check
    for check in check_buttons(app_user, settings):
        yield check
    if not acl.get("table", {}).get("Webhook"):
        return
    for check in await _check_webhooks(api, settings, public_url):
        yield check
    for check in await _check_running(api, resources, settings):
        yield check


def _check_key(app_user: Mapping[str, Any]) -> Check:
    user = app_user.get("user") or {}
    kind = user.get("type")
    if kind != "api":
        message = f"The key belongs to a user of the type {kind}."
        fix = "Create an API user for the sync and use its key: a person's rights are too many."
        return Check("key", "warning", message, fix)
    name = user.get("userName")
    return Check("key", "ok", f"EspoCRM knows us as {name}.")


def _reported(app_user: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the extension reports about itself and EspoCRM; empty without extension."""
    params = app_user.get("appParams") or {}
    return params.get("bitbylaw") or {}


def _check_extension(app_user: Mapping[str, Any]) -> Check:
    found = _reported(app_user)
    if not found:
        message = "The extension is not installed: nothing marks records as pending_sync or dirty."
        return Check("extension", "failed", message, INSTALL_EXTENSION)
    if not found.get("isSyncUser"):
        message = "EspoCRM takes our changes for those of a person and marks each record that we write as dirty."
        return Check("extension", "failed", message, ASSIGN_ROLE)
    return _check_version(str(found.get("version")))


def _check_version(version: str) -> Check:
    if version == OLD_EXTENSION:
        message = f"Version {version} is installed: our writes count as changes, and each comes back as a webhook."
        return Check("extension", "warning", message, INSTALL_EXTENSION)
    present = version_numbers(version)
    expected = version_numbers(EXTENSION_VERSION)
    if present < expected:
        message = (
            f"Version {version} is installed, this BitByLaw has {EXTENSION_VERSION}."
        )
        return Check("extension", "warning", message, INSTALL_EXTENSION)
    if present > expected:
        message = f"Version {version} is installed, which is newer than this BitByLaw ({EXTENSION_VERSION})."
        return Check("extension", "warning", message, "Bring BitByLaw up to date.")
    return Check("extension", "ok", f"Version {version} is installed.")


async def _check_entity(api: SetupAPI, name: str) -> Check:
    definition = await api.metadata(f"entityDefs.{name}")
    if not isinstance(definition, dict) or not definition.get("fields"):
        message = "The entity does not exist, or the role does not show it."
        fix = f"{INSTALL_EXTENSION} {ASSIGN_ROLE}"
        return Check(name, "failed", message, fix)
    problems = entity_problems(name, definition)
    if problems:
        fix = f"Remove what differs in Administration > Entity Manager > {name}. {INSTALL_EXTENSION}"
        return Check(name, "failed", "; ".join(problems), fix)
    number = len(ENTITIES[name].fields)
    return Check(name, "ok", f"All {number} fields are as they must be.")


async def _check_task_parents(api: SetupAPI) -> Check:
    allowed = await api.metadata("entityDefs.Task.fields.parent.entityList") or []
    missing = [name for name in ENTITIES if name not in allowed]
    if missing:
        names = ", ".join(missing)
        message = f"A Task cannot be linked with {names}."
        fix = f"Add them in Administration > Entity Manager > Task > Fields > parent. {INSTALL_EXTENSION}"
        return Check("Task", "failed", message, fix)
    return Check("Task", "ok", "Tasks can be linked with our entities.")


def _check_role(acl: Mapping[str, Any]) -> Check:
    problems = role_problems(acl)
    if problems:
        fix = f"{ASSIGN_ROLE} Installing the extension again puts back what the role lacks."
        return Check("role", "failed", "; ".join(problems), fix)
    surplus = surplus_rights(acl)
    if surplus:
        names = ", ".join(surplus)
        message = f"The API user may delete records of {names}."
        fix = "Take it away (Administration > Roles): the sync never deletes records."
        return Check("role", "warning", message, fix)
    return Check("role", "ok", "The API user may do what the sync needs.")


def _check_next_call(acl: Mapping[str, Any], settings: Settings) -> Check:
    """The entity of the reset of the next call is the firm's own; the extension knows nothing of it."""
    entity = settings.vmh.nextcall_entity
    granted = granted_rights(acl, entity)
    may_read = granted.get("read") == "all"
    may_edit = granted.get("edit") == "all"
    if may_read and may_edit:
        message = f"The reset of the next call may change {entity}."
        return Check("next call", "ok", message)
    message = f"The reset of the next call may not change {entity}."
    fix = f'Add {entity} with read and edit "all" to the role, or set VMH_NEXTCALL_ENTITY.'
    return Check("next call", "warning", message, fix)


async def _check_task_user(api: SetupAPI, settings: Settings) -> Check:
    """Tasks of records without an assigned user need one all the same."""
    name = "task user"
    user_id = settings.vmh.task_assigned_user_id
    fix = "Set VMH_TASK_ASSIGNED_USER_ID to the id of an active user: bitbylaw espocrm setup --task-user NAME"
    if not user_id:
        message = "No one gets the tasks of records that are assigned to no one."
        return Check(name, "failed", message, fix)
    try:
        user = await api.get_entity("User", user_id)
    except NotFound:
        message = "EspoCRM does not know the user in VMH_TASK_ASSIGNED_USER_ID."
        return Check(name, "failed", message, fix)
    except Forbidden:
        message = "The role does not show the user in VMH_TASK_ASSIGNED_USER_ID."
        return Check(name, "failed", message, ASSIGN_ROLE)
    user_name = user.get("userName")
    if not user.get("isActive"):
        message = f"{user_name} is not active, so no one sees these tasks."
        return Check(name, "failed", message, fix)
    if user.get("type") not in PEOPLE:
        message = f"{user_name} is no person (type {user.get('type')})."
        return Check(name, "failed", message, fix)
    message = f"{user_name} gets the tasks of records that are assigned to no one."
    return Check(name, "ok", message)


# -- how EspoCRM is run -------------------------------------------------------------------------------------------


def check_instance(app_user: Mapping[str, Any]) -> list[Check]:
    """What an administrator has set, or forgotten, given EspoCRM's ``App/user``.

    An API user may read the settings; all else the extension reports from 1.2.0 on. What is not reported is never "ok".
    """
    settings = app_user.get("settings") or {}
    instance = _reported(app_user).get("instance")
    checks = _check_reported(instance) if instance else _not_reported()
    checks.append(_check_phone_numbers(settings))
    checks.append(_check_address_format(settings))
    return checks


def check_buttons(app_user: Mapping[str, Any], settings: Settings) -> list[Check]:
    """Whether both sides know how the buttons of a Beteiligter reach us; nothing of an extension without buttons."""
    is_set_up = _reported(app_user).get("actions")
    fix = "Run bitbylaw espocrm setup, or see docs/espocrm.md, Buttons."
    if is_set_up is None:
        return []
    if not is_set_up:
        message = "EspoCRM's buttons do not know where BitByLaw is."
        return [Check("buttons", "warning", message, fix)]
    if settings.espocrm.action_secret is None:
        message = (
            "ESPOCRM_ACTION_SECRET is not set: whoever presses a button is refused."
        )
        return [Check("buttons", "failed", message, fix)]
    return [Check("buttons", "ok", "EspoCRM's buttons know where BitByLaw is.")]


#: Checks of what only administrators see, and where.
_BY_HAND = {
    "cron": "Administration > Scheduled Jobs: do the jobs have a recent run in their log?",
    "PHP": "Administration > System Requirements.",
    "login log": "data/config.php: authApiUserLogDisabled should be true.",
    "webhook portion": f"data/config.php: webhookQueueEventPortionSize should be {WANTED_PORTION} or more.",
}


def _not_reported() -> list[Check]:
    message = "An API user cannot see it, and the extension does not show it to us."
    checks = []
    for name, place in _BY_HAND.items():
        fix = f"Look yourself: {place} Extension {EXTENSION_VERSION} shows it."
        checks.append(Check(name, "warning", message, fix))
    return checks


def _check_reported(instance: Mapping[str, Any]) -> list[Check]:
    php_version = str(instance.get("phpVersion"))
    is_logged = bool(instance.get("isApiAccessLogged", True))
    return [
        _check_cron(instance.get("cronSecondsAgo")),
        _check_php(php_version, instance.get("requiredPhpVersion")),
        _check_login_log(is_logged=is_logged),
        _check_portion(instance.get("webhookEventPortion")),
    ]


def _check_cron(seconds: Any) -> Check:
    fix = "Set up EspoCRM's cron: Administration > Scheduled Jobs shows the line for the crontab."
    if not isinstance(seconds, int):
        message = "No job of EspoCRM has ever run: no webhook is sent."
        return Check("cron", "failed", message, fix)
    if seconds > CRON_LATE_SECONDS:
        minutes = seconds // 60
        message = f"EspoCRM's jobs ran last {minutes} minutes ago."
        return Check("cron", "failed", message, fix)
    return Check("cron", "ok", "EspoCRM's jobs run.")


def _check_php(version: str, required: Any) -> Check:
    # Distributions add their own number: 8.2.7-1~deb12u1, 8.1.2+ubuntu.
    release, *_ = re.split("[-+]", version)
    found = version_numbers(release)
    needed = version_numbers(required)
    if not found or not needed:
        message = f"PHP {version}; what this EspoCRM needs is not known."
        return Check("PHP", "warning", message, _BY_HAND["PHP"])
    if found < needed:
        message = f"EspoCRM runs on PHP {version} and needs {required} or later."
        fix = "Update PHP on EspoCRM's server, for the cron as well."
        return Check("PHP", "failed", message, fix)
    return Check("PHP", "ok", f"PHP {version}; this EspoCRM needs {required} or later.")


def _check_login_log(*, is_logged: bool) -> Check:
    if is_logged:
        message = "EspoCRM keeps a row in its login log for each request from BitByLaw."
        fix = "In EspoCRM's data/config.php: 'authApiUserLogDisabled' => true. Refused logins are kept all the same."
        return Check("login log", "warning", message, fix)
    return Check(
        "login log",
        "ok",
        "EspoCRM keeps no row for each request from BitByLaw.",
    )


def _check_portion(size: Any) -> Check:
    name = "webhook portion"
    found = ESPOCRM_PORTION
    if isinstance(size, int) and size > 0:
        found = size
    if found < WANTED_PORTION:
        message = f"EspoCRM sends {found} events in a run of its job: after an import webhooks lag for hours."
        recommended = 2 * WANTED_PORTION
        fix = f"In EspoCRM's data/config.php: 'webhookQueueEventPortionSize' => {recommended}."
        return Check(name, "warning", message, fix)
    message = f"EspoCRM sends {found} events in a run of its job."
    return Check(name, "ok", message)


def _check_phone_numbers(settings: Mapping[str, Any]) -> Check:
    name = "phone numbers"
    fix = 'Administration > Settings > Preferred Country Codes: move "de" to the top.'
    if "phoneNumberInternational" not in settings:
        return Check(
            name,
            "warning",
            "EspoCRM does not show how it takes phone numbers.",
            fix,
        )
    if not settings["phoneNumberInternational"]:
        return Check(name, "ok", "EspoCRM keeps phone numbers as they were typed.")
    countries = settings.get("phoneNumberPreferredCountryList") or []
    if next(iter(countries), None) != "de":
        message = "A number without country code is not taken for a German one: 030 1234567 becomes +1 ..."
        return Check(name, "failed", message, fix)
    return Check(name, "ok", "A number without country code is a German one.")


def _check_address_format(settings: Mapping[str, Any]) -> Check:
    name = "address format"
    fix = (
        "Administration > Settings > Address Format: 2 (street, postal code and city)."
    )
    if "addressFormat" not in settings:
        return Check(name, "warning", "EspoCRM does not show its address format.", fix)
    if settings["addressFormat"] != GERMAN_ADDRESS_FORMAT:
        message = f"Addresses are shown in format {settings['addressFormat']}, the postal code behind the city."
        return Check(name, "warning", message, fix)
    return Check(name, "ok", "Addresses are shown as in Germany.")


# -- webhooks -----------------------------------------------------------------------------------------------------


async def _check_webhooks(
    api: SetupAPI,
    settings: Settings,
    public_url: str | None,
) -> list[Check]:
    present = await api.webhooks()
    skip_own = await api.knows_skip_own()
    checks = []
    for event in WEBHOOKS:
        rows = [row for row in present if row["event"] == event]
        checks.append(_check_webhook(event, rows, settings, public_url, skip_own))
    return checks


def _check_webhook(
    event: str,
    rows: list[Record],
    settings: Settings,
    public_url: str | None,
    skip_own: bool,
) -> Check:
    name = f"webhook {event}"
    if not rows:
        message = "The API user has no such webhook (one that an administrator made by hand is not visible to us)."
        return Check(name, "failed", message, INSTALL_WEBHOOKS)
    if len(rows) > 1:
        message = f"It is registered {len(rows)} times, so that events come twice."
        return Check(name, "failed", message, INSTALL_WEBHOOKS)
    (row,) = rows
    target = _without_query(row["url"])
    fault = _webhook_fault(event, row, target, settings, public_url)
    if fault is not None:
        message, fix = fault
        return Check(name, "failed", message, fix)
    if skip_own and not row.get("skipOwn"):
        message = "It also reports what we change ourselves."
        return Check(name, "warning", message, INSTALL_WEBHOOKS)
    return Check(name, "ok", f"It leads to {target}.")


def _webhook_fault(
    event: str,
    row: Record,
    target: str,
    settings: Settings,
    public_url: str | None,
) -> tuple[str, str] | None:
    """What is wrong with a webhook, and what helps; None if nothing is."""
    if not row.get("isActive"):
        return "It is switched off.", INSTALL_WEBHOOKS
    if public_url is not None and target != _wanted_target(event, public_url):
        return f"It leads to {target}, not to {public_url}.", INSTALL_WEBHOOKS
    return _secret_fault(row, settings)


def _wanted_target(event: str, public_url: str) -> str:
    base = public_url.rstrip("/")
    return f"{base}{WEBHOOKS[event]}"


def _secret_fault(row: Record, settings: Settings) -> tuple[str, str] | None:
    """What is wrong with how a webhook proves its sender, and what helps; None if nothing is."""
    webhook_id = row["id"]
    token = settings.espocrm.webhook_token
    keys = settings.espocrm.webhook_keys
    if token is not None and not _carries(row["url"], token.get_secret_value()):
        message = "Its address does not carry ESPOCRM_WEBHOOK_TOKEN."
        return message, INSTALL_WEBHOOKS
    if keys and keys.get(webhook_id) != row.get("secretKey"):
        fix = f"Add {webhook_id}:<its secret key> (Administration > Webhooks) to ESPOCRM_WEBHOOK_SECRETS."
        return "Its secret key is not in ESPOCRM_WEBHOOK_SECRETS.", fix
    return None


async def _check_running(
    api: SetupAPI,
    resources: Resources,
    settings: Settings,
) -> list[Check]:
    """Whether the BitByLaw to which the webhooks lead accepts what `.env` says, that is, was started after its changes.

    Each webhook's address gets a delivery without records, signed as EspoCRM would sign it: it is refused as empty if
    the sender is accepted. One with a made-up secret must not be.
    """
    keys = settings.espocrm.webhook_keys
    rows = [row for row in await api.webhooks() if row.get("isActive")]
    if not rows:
        return []
    problem = await _check_deliveries(resources, rows, keys)
    if problem is not None:
        return [problem]
    message = "It accepts EspoCRM's webhooks and has the secrets that .env has."
    return [Check(RUNNING, "ok", message)]


async def _check_deliveries(
    resources: Resources,
    rows: list[Record],
    keys: Mapping[str, str],
) -> Check | None:
    """The first fault that a delivery shows: one of each webhook, and one with a made-up secret."""
    for row in rows:
        secret = keys.get(row["id"], "")
        problem = await _check_delivery(resources, row, secret, should_be_accepted=True)
        if problem is not None:
            return problem
    if not keys:
        return None
    made_up = random.token_hex(16)
    return await _check_delivery(
        resources,
        rows[0],
        made_up,
        should_be_accepted=False,
    )


async def _check_delivery(
    resources: Resources,
    webhook: Record,
    secret: str,
    *,
    should_be_accepted: bool,
) -> Check | None:
    """What is wrong with the answer to a delivery that is signed with this secret; None if nothing is."""
    address = _without_query(webhook["url"])
    try:
        status = await _deliver_nothing(resources, webhook, secret)
    except ForeignSystemError as error:
        message = f"{address}: {error.reason or error}."
        return Check(RUNNING, "warning", message, _START)
    is_accepted = status in _ACCEPTED
    if not is_accepted and status != 401:
        return Check(RUNNING, "failed", f"{address} answers {status}.", _START)
    if is_accepted != should_be_accepted:
        message = "It was started with other secrets than .env has now."
        return Check(RUNNING, "failed", message, _RESTART)
    return None


async def _deliver_nothing(resources: Resources, webhook: Record, secret: str) -> int:
    """The answer's status to a delivery without records, signed as EspoCRM does."""
    body = b"[]"
    mac = hmac.new(secret.encode(), body, hashlib.sha256)
    sender = f"{webhook['id']}:".encode()
    signature = base64.b64encode(sender + mac.digest())
    answer = await send(
        resources.http,
        "BitByLaw",
        "POST",
        webhook["url"],
        headers={"X-Signature": signature.decode()},
        body=body,
        timeout_seconds=PROBE_SECONDS,
    )
    return answer.status


def _carries(url: str, token: str) -> bool:
    """Whether an address proves its sender: by the query or as Basic password."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return token in query.get("token", []) or token == parts.password


def _without_query(url: str) -> str:
    """An address as it may be shown, without token and password."""
    parts = urlsplit(url)
    host = parts.hostname
    if parts.port:
        host = f"{host}:{parts.port}"
    return f"{parts.scheme}://{host}{parts.path}"
