"""Settings: read once from the environment (and `.env`), validated, frozen, grouped by foreign system.

A variable's name is the group's prefix plus the field's name in capitals: ``settings.advoware.api_base_url`` is
``ADVOWARE_API_BASE_URL``. `.env.example` explains each one.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import ipaddress
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent
#: Of keys, tokens and secrets by which others prove to us who they are. So many characters cannot be guessed.
KEY_CHARACTERS = 24
#: Every wait ends, and every date is one: a setting beyond these stops the start.
LONGEST_WAIT_SECONDS = 3600
LONGEST_TOKEN_MINUTES = 1440
MOST_DAYS = 36_500
GOOGLE_API_URL = "https://www.googleapis.com"
ADVOWARE_CONFIGURATOR_URL = "https://www2.advo-net.net/AdvonetConfigurator/api/Url"


class BitByLawError(Exception):
    """Something this product understands went wrong: the root of all its errors (`services.core.errors`)."""


class ConfigurationError(BitByLawError):
    """The settings are missing something or contradict each other; the message names the variable."""


def is_loopback(url: str) -> bool:
    """Whether a URL points to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, lower case, without what a scheme's default port leaves open.

    Raises:
        ValueError: it is no ``http://`` or ``https://`` URL with a host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):  # their words would quote the URL
        parts, port = urlsplit(""), 0
    if not parts.hostname:
        raise ValueError("must be an address that begins with https:// or http://")
    is_ipv6 = ":" in parts.hostname
    host = f"[{parts.hostname}]" if is_ipv6 else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _entries(text: str) -> list[str]:
    """The entries of a comma-separated list.

    Raises:
        ValueError: one is blank. That is never meant, and a list that is blank as a whole would say "none" or "all".
    """
    if not text:
        return []
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise ValueError("must be a comma-separated list without blank entries")
    return entries


def _secret_entries(value: SecretStr | None) -> list[str]:
    """The entries of a secret list; of one that is not set, none."""
    return [] if value is None else _entries(value.get_secret_value())


def _check_key(key: str) -> None:
    """Refuse a key by which others prove who they are if it is short, or cannot travel in a header or a URL.

    Raises:
        ValueError: says what is wrong, never the key.
    """
    if not key.isascii():
        raise ValueError("must be ASCII, because it travels in an HTTP header")
    if not key.isprintable() or " " in key:
        raise ValueError("must not contain blanks")
    if len(key) < KEY_CHARACTERS:
        raise ValueError(
            f"must have at least {KEY_CHARACTERS} characters, for example from: openssl rand -hex 24",
        )


# -- keys of which the settings hold only the hash ----------------------------------------------------------------


class NamedKey(NamedTuple):
    """A key of an internal tool. ``rights``: `services.api.rights`; ``digest`` is the SHA-256 of the key, in hex."""

    name: str
    rights: tuple[str, ...]
    digest: str


class OperatorKey(NamedTuple):
    """A named key by which an operator logs in to the board; ``digest`` is the SHA-256 of the key, in hex."""

    name: str
    role: Literal["view", "repair"]
    digest: str


_Key = TypeVar("_Key", NamedKey, OperatorKey)
_NAME = "[A-Za-z0-9_.-]{1,40}"
_DIGEST = "[0-9a-f]{64}"
_METHODS = "(?:GET|POST|PUT|DELETE)"
_SEGMENT = r"(?!\.{1,2}(?:[/+:]|$))[A-Za-z0-9._~-]+"
_PATHS = f"{_SEGMENT}(?:/{_SEGMENT})*"
_RIGHT = f"(?:all|calendar|nextcall|{_METHODS}(?:-{_METHODS})*(?:@{_PATHS})?)"
_NAMED = re.compile(rf"({_NAME}):({_RIGHT}(?:\+{_RIGHT})*):({_DIGEST})")
_OPERATOR = re.compile(f"({_NAME}):(view|repair):({_DIGEST})")


def new_key() -> tuple[str, str]:
    """A new random key of 256 bits, and its digest for the settings."""
    key = secrets.token_urlsafe(32)
    return key, key_digest(key)


def key_digest(text: str) -> str:
    """SHA-256 in hex. Keys are random and long, so that nothing slower is needed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_of(given: str, keys: Iterable[_Key]) -> _Key | None:
    """The configured key that was given. Each one is compared, in constant time, so that the time says nothing."""
    digest = key_digest(given)
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def named_key(entry: str) -> NamedKey:
    """The key of an entry ``name:rights:hash``.

    Raises:
        ValueError: it is none.
    """
    match = _NAMED.fullmatch(entry)
    if match is None:
        raise ValueError(
            "must be name:rights:hash; bitbylaw keys new prints one (docs/security.md, Access)",
        )
    name, rights, digest = match.groups()
    return NamedKey(name, tuple(rights.split("+")), digest)


class _Group(BaseSettings):
    """Settings of one system. Empty variables count as unset, so that `.env` may list them all."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
    )

    @field_validator("*", mode="after")
    @classmethod
    def _no_blank(cls, value: Any) -> Any:
        """A value of nothing but blanks is a mistake: as a key it would admit anyone, as a list mean "all"."""
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and text and not text.strip():
            raise ValueError("must not be blank")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_trailing_slash(cls, value: Any, info: Any) -> Any:
        is_base_url = info.field_name.endswith("_base_url")
        if is_base_url and isinstance(value, str):
            return value.rstrip("/")
        return value


class RedisSettings(_Group):
    """Redis: locks, pending keys, token cache, rate buckets. Nothing that may not be lost."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    host: str = "127.0.0.1"
    port: int = Field(default=6379, ge=1, le=65535)
    password: SecretStr | None = None
    db_advoware_cache: int = Field(default=1, ge=0)
    db_calendar_sync: int = Field(default=2, ge=0)
    timeout_seconds: float = Field(default=2.0, gt=0, le=LONGEST_WAIT_SECONDS)


class PostgresSettings(_Group):
    """PostgreSQL: sync state, intents and the audit. ``host`` may be the directory of a unix socket."""

    model_config = SettingsConfigDict(env_prefix="POSTGRES_")

    host: str = "127.0.0.1"
    port: int = Field(default=5432, ge=1, le=65535)
    user: str = "postgres"
    password: SecretStr | None = None
    db_name: str = "bitbylaw"
    timeout_seconds: float = Field(default=5.0, gt=0, le=LONGEST_WAIT_SECONDS)


class AdvowareSettings(_Group):
    """Advoware's API. Without ``api_base_url`` or ``auth_url`` the missing one is asked of the configurator."""

    model_config = SettingsConfigDict(env_prefix="ADVOWARE_")

    api_base_url: str | None = None
    auth_url: str | None = None
    configurator_url: str = ADVOWARE_CONFIGURATOR_URL
    product_id: int = 64
    app_id: str = ""
    api_key: SecretStr = SecretStr("")
    kanzlei: str = ""
    database: str = ""
    user: str = ""
    role: int = 2
    password: SecretStr = SecretStr("")
    token_lifetime_minutes: int = Field(default=55, ge=3, le=LONGEST_TOKEN_MINUTES)
    api_timeout_seconds: float = Field(default=25.0, gt=0, le=LONGEST_WAIT_SECONDS)
    write_protection: bool = True

    @property
    def is_configured(self) -> bool:
        """Whether credentials were entered."""
        return bool(self.app_id and self.kanzlei)

    @property
    def addresses(self) -> dict[str, str]:
        """``{variable: URL}`` of all that is asked: an address that is not configured comes from the configurator."""
        given = {
            "ADVOWARE_API_BASE_URL": self.api_base_url,
            "ADVOWARE_AUTH_URL": self.auth_url,
        }
        found = {variable: url for variable, url in given.items() if url}
        if len(found) < len(given):
            found["ADVOWARE_CONFIGURATOR_URL"] = self.configurator_url
        return found


class EspoCRMSettings(_Group):
    """EspoCRM's API and its webhooks. ``api_base_url`` ends in ``/api/v1``."""

    model_config = SettingsConfigDict(env_prefix="ESPOCRM_")

    api_base_url: str | None = None
    marvin_api_key: SecretStr = SecretStr("")
    api_timeout_seconds: float = Field(default=20.0, gt=0, le=LONGEST_WAIT_SECONDS)
    webhook_token: SecretStr | None = None
    webhook_secrets: SecretStr | None = None
    #: by which EspoCRM proves that a button was pressed there
    action_secret: SecretStr | None = None

    @property
    def is_configured(self) -> bool:
        """Whether credentials were entered."""
        return bool(self.api_base_url)

    @property
    def addresses(self) -> dict[str, str]:
        """``{variable: URL}`` of all that is asked."""
        if not self.api_base_url:
            return {}
        return {"ESPOCRM_API_BASE_URL": self.api_base_url}

    @property
    def webhook_keys(self) -> dict[str, str]:
        """``{webhook id: secret key}``, from ``id:secret,id:secret``."""
        keys = {}
        for entry in _secret_entries(self.webhook_secrets):
            webhook_id, _, secret = entry.partition(":")
            keys[webhook_id.strip()] = secret.strip()
        return keys

    @field_validator("webhook_token", "action_secret", mode="after")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _check_key(value.get_secret_value())
        return value

    @field_validator("webhook_secrets", mode="after")
    @classmethod
    def _pairs(cls, value: SecretStr | None) -> SecretStr | None:
        for entry in _secret_entries(value):
            webhook_id, _, secret = entry.partition(":")
            if not webhook_id.strip() or not secret.strip():
                raise ValueError(
                    "must be a comma-separated list of webhookId:secretKey",
                )
            _check_key(secret.strip())
        return value


class SharingRule(NamedTuple):
    """An account and what it may do with calendars: without ``kuerzel`` with all, else with that employee's only."""

    role: str
    email: str  #: lower case, as Google stores it
    kuerzel: str | None = None


#: The roles that an account may get; see ``AclRule.role`` in the API's discovery document.
SHARING_ROLES = ("freeBusyReader", "reader", "writer", "owner")
_EMAIL = re.compile(r"[^@\s:]+@[^@\s:]+\.[^@\s:.]+")


def _sharing_rules(text: str) -> list[SharingRule]:
    """The rules of a comma-separated list of ``role:email`` and ``KÜRZEL:role:email``.

    Raises:
        ValueError: says which entry is wrong (by its number, no address) and why.
    """
    rules: dict[tuple[str | None, str], SharingRule] = {}
    for number, entry in enumerate(_entries(text), 1):
        try:
            rule = _sharing_rule(entry)
        except ValueError as error:
            raise ValueError(f"entry {number}: {error}") from None
        known = rules.setdefault((rule.kuerzel, rule.email), rule)
        if known.role != rule.role:
            raise ValueError(
                f"entry {number}: gives an account another role than an earlier entry",
            )
    return list(rules.values())


def _sharing_rule(entry: str) -> SharingRule:
    parts = [part.strip() for part in entry.split(":")]
    if len(parts) not in {2, 3} or not parts[-2]:
        raise ValueError("must be role:email or KÜRZEL:role:email")
    role, email = parts[-2:]
    kuerzel = parts[0] if len(parts) == 3 else None
    if kuerzel == "":
        raise ValueError("the Kürzel before the role is empty")
    if role not in SHARING_ROLES:
        raise ValueError(f"the role must be one of {', '.join(SHARING_ROLES)}")
    if not _EMAIL.fullmatch(email):
        raise ValueError("what follows the role is no e-mail address")
    return SharingRule(role, email.lower(), kuerzel)


class GoogleCalendarSettings(_Group):
    """Google Calendar. ``acl`` is a comma-separated list: ``role:email`` for all, ``KÜRZEL:role:email`` for one."""

    model_config = SettingsConfigDict(env_prefix="GOOGLE_CALENDAR_")

    service_account_path: str | None = None
    api_endpoint: str | None = None
    acl: str = ""

    @property
    def sharing_rules(self) -> list[SharingRule]:
        """With whom calendars are shared, in the order of ``acl``."""
        return _sharing_rules(self.acl)

    def sharing_of(self, kuerzel: str) -> dict[str, str]:
        """``{e-mail address: role}`` of an employee's calendar; a rule for him alone beats one for all.

        ``kuerzel`` as Advoware writes it.
        """
        rules = self.sharing_rules
        for_all = {rule.email: rule.role for rule in rules if rule.kuerzel is None}
        his_own = {rule.email: rule.role for rule in rules if rule.kuerzel == kuerzel}
        return {**for_all, **his_own}

    @field_validator("acl", mode="after")
    @classmethod
    def _is_list_of_rules(cls, value: str) -> str:
        _sharing_rules(value)
        return value

    @property
    def is_configured(self) -> bool:
        """Whether credentials were entered."""
        return bool(self.service_account_path)

    @property
    def addresses(self) -> dict[str, str]:
        """``{variable: URL}`` of all that is asked."""
        return {"GOOGLE_CALENDAR_API_ENDPOINT": self.api_endpoint or GOOGLE_API_URL}


class CalendarSyncSettings(_Group):
    """What the calendar sync covers."""

    model_config = SettingsConfigDict(env_prefix="CALENDAR_SYNC_")

    debug_kuerzel: str = ""
    anonymize: bool = False
    days_back: int = Field(default=7, ge=0, le=MOST_DAYS)
    days_ahead: int = Field(default=730, ge=1, le=MOST_DAYS)
    #: of new pairs
    strategy: Literal["source_system_wins", "last_change_wins"] = "source_system_wins"
    #: so many of an employee's pairs may be deleted in one run, or a fifth of them if that is more
    max_deletions: int = Field(default=5, ge=0)

    @property
    def only_kuerzel(self) -> frozenset[str]:
        """The employees to whom the sync is limited; empty: all."""
        return frozenset(_entries(self.debug_kuerzel))

    @field_validator("debug_kuerzel", mode="after")
    @classmethod
    def _is_list(cls, value: str) -> str:
        _entries(value)
        return value


class VmhSettings(_Group):
    """The sync of persons, and names in EspoCRM that an installation may choose."""

    model_config = SettingsConfigDict(env_prefix="VMH_")

    lock_seconds: float = Field(default=60.0, ge=2, le=LONGEST_WAIT_SECONDS)
    cron_limit: int = Field(default=1000, ge=1)
    nextcall_field: str = "nextCall"
    nextcall_entity: str = "CVmhErstgespraech"
    #: EspoCRM user who gets the tasks of records without an assigned user
    task_assigned_user_id: str = ""
    #: when Advoware was restored from a backup; records last synced before that start as at their first sync
    advoware_restored_at: AwareDatetime | None = None


class ServiceSettings(_Group):
    """Who may call us, and which systems are real. ``api_keys``, ``twins`` and ``plain_http_hosts`` are lists."""

    model_config = SettingsConfigDict(env_prefix="BITBYLAW_")

    #: `NamedKey`, as `bitbylaw keys new` prints them
    named_keys: SecretStr | None = None
    #: keys in plain text with all rights, from before there were named ones
    api_keys: SecretStr | None = None
    #: addresses (scheme, host, port) of stand-ins with invented people; every other system is real
    twins: str = ""
    #: one real system may run beside the twin of another
    trial: bool = False
    #: no client writes to a foreign system; the syncs note what they would have written (`services.shadow`)
    read_only: bool = False
    plain_http_hosts: str = ""

    @field_validator("named_keys", mode="after")
    @classmethod
    def _are_named_keys(cls, value: SecretStr | None) -> SecretStr | None:
        names = set()
        for number, entry in enumerate(_secret_entries(value), 1):
            try:
                name = named_key(entry).name
            except ValueError as error:
                raise ValueError(f"entry {number} {error}") from None
            if name in names:
                raise ValueError(f"entry {number} has the name of an earlier one")
            names.add(name)
        return value

    @field_validator("api_keys", mode="after")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        for key in _secret_entries(value):
            _check_key(key)
        return value

    @field_validator("twins", mode="after")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for url in _entries(value):
            origin_of(url)
        return value

    @field_validator("plain_http_hosts", mode="after")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        if any("/" in host or ":" in host for host in _entries(value)):
            raise ValueError(
                "must be a comma-separated list of host names, without http:// and port",
            )
        return value

    @property
    def unnamed_keys(self) -> tuple[NamedKey, ...]:
        """The keys of ``api_keys``, under the names ``unnamed-1`` and so on."""
        keys = enumerate(_secret_entries(self.api_keys), 1)
        return tuple(
            NamedKey(f"unnamed-{number}", ("all",), key_digest(key))
            for number, key in keys
        )

    @property
    def accepted_keys(self) -> tuple[NamedKey, ...]:
        """Whoever has one of these is admitted; empty: callers need none."""
        named = map(named_key, _secret_entries(self.named_keys))
        return (*named, *self.unnamed_keys)

    @property
    def twin_origins(self) -> frozenset[str]:
        """The addresses of twins, see `origin_of`."""
        return frozenset(map(origin_of, _entries(self.twins)))

    def allows_plain_http(self, url: str) -> bool:
        """Whether a URL may be asked without encryption: on this machine, or where the settings allow it."""
        if is_loopback(url):
            return True
        host = urlsplit(url).hostname or ""
        allowed = [name.lower() for name in _entries(self.plain_http_hosts)]
        return host in allowed


class RetentionSettings(_Group):
    """How long what was recorded is kept, in days; the daily cleaning removes what is older."""

    #: lines of the audits, and problems that are over
    audit_days: int = Field(default=1095, ge=31, le=MOST_DAYS)
    log_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    #: jobs that are done or given up
    queue_days: int = Field(default=30, ge=1, le=MOST_DAYS)
    #: of log files that no one else rotates; `make up` sets it
    log_directory: str = ""


class BoardSettings(_Group):
    """The operators' board. ``operators`` is a list of ``name:role:hash``, as `bitbylaw board-key` prints them."""

    model_config = SettingsConfigDict(env_prefix="BITBYLAW_BOARD_")

    host: str = "127.0.0.1"
    port: int = Field(default=3113, ge=0, le=65535)
    operators: SecretStr | None = None
    #: names beside this machine's own under which browsers reach the board, behind a proxy
    names: str = ""

    @field_validator("operators", mode="after")
    @classmethod
    def _are_operators(cls, value: SecretStr | None) -> SecretStr | None:
        for number, entry in enumerate(_secret_entries(value), 1):
            if _OPERATOR.fullmatch(entry) is None:
                raise ValueError(
                    f"entry {number} must be name:role:hash with the role view or repair; "
                    "bitbylaw board-key prints one",
                )
        return value

    @field_validator("names", mode="after")
    @classmethod
    def _are_names(cls, value: str) -> str:
        if any("/" in name for name in _entries(value)):
            raise ValueError(
                "must be a comma-separated list of host names, without https://",
            )
        return value

    @property
    def operator_keys(self) -> list[OperatorKey]:
        """The operators; empty: no one can log in."""
        found = map(_OPERATOR.fullmatch, _secret_entries(self.operators))
        return [OperatorKey(*match.groups()) for match in found if match]  # type: ignore[arg-type]

    @property
    def host_names(self) -> frozenset[str]:
        """``names`` in lower case."""
        return frozenset(name.lower() for name in _entries(self.names))


class EngineSettings(_Group):
    """Where the iii engine listens for workers."""

    model_config = SettingsConfigDict(env_prefix="III_")

    url: str = "ws://localhost:49134"


class MetricsSettings(_Group):
    """Where a worker shows its numbers (`GET /metrics`). Whoever reaches that address may read them."""

    model_config = SettingsConfigDict(env_prefix="METRICS_")

    host: str = "127.0.0.1"
    #: 0: they are not shown
    port: int = Field(default=0, ge=0, le=65535)


Mode = Literal["live", "trial", "twins"]
ForeignGroup = AdvowareSettings | EspoCRMSettings | GoogleCalendarSettings


class Settings(BaseModel):
    """All settings."""

    model_config = ConfigDict(frozen=True)

    redis: RedisSettings
    postgres: PostgresSettings
    advoware: AdvowareSettings
    espocrm: EspoCRMSettings
    google_calendar: GoogleCalendarSettings
    calendar_sync: CalendarSyncSettings
    vmh: VmhSettings
    service: ServiceSettings
    retention: RetentionSettings
    board: BoardSettings
    engine: EngineSettings
    metrics: MetricsSettings

    @property
    def foreign_systems(self) -> dict[str, ForeignGroup]:
        """The configured foreign systems by their names."""
        groups: dict[str, ForeignGroup] = {
            "Advoware": self.advoware,
            "EspoCRM": self.espocrm,
            "Google Calendar": self.google_calendar,
        }
        return {name: group for name, group in groups.items() if group.is_configured}

    @property
    def twin_systems(self) -> list[str]:
        """The configured systems that are twins: each of their addresses is in ``BITBYLAW_TWINS``."""
        systems = self.foreign_systems
        return [name for name in systems if self._is_twin(systems[name])]

    @property
    def real_systems(self) -> list[str]:
        """The other configured systems. That an address is on this machine proves nothing: it may be a tunnel."""
        systems = self.foreign_systems
        return [name for name in systems if not self._is_twin(systems[name])]

    def _is_twin(self, group: ForeignGroup) -> bool:
        origins = {origin_of(url) for url in group.addresses.values()}
        return origins <= self.service.twin_origins

    @property
    def mode(self) -> Mode:
        """What all who look at this system should know: live, a trial, or nothing but twins."""
        if self.service.trial:
            return "trial"
        return "live" if self.real_systems else "twins"

    def environment(self) -> dict[str, str]:
        """The environment variables that reproduce these settings; contains secrets."""
        return dict(self._variables())

    def _variables(self) -> Iterator[tuple[str, str]]:
        for name in type(self).model_fields:
            group = getattr(self, name)
            prefix = type(group).model_config["env_prefix"]
            for field in type(group).model_fields:
                yield f"{prefix}{field}".upper(), _plain_text(getattr(group, field))


def _plain_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value)


def load_settings(
    environment: Mapping[str, Any] | None = None,
    *,
    env_file: Path | str | None = None,
) -> Settings:
    """Read and validate the settings.

    ``environment`` overrides single variables of the process environment (an empty one or None: as if it were not set);
    ``env_file`` fills in those that neither names. Says nothing about whether credentials are present: see
    `require_safe_access`.

    Raises:
        ConfigurationError: a variable has an unusable value, or a line of the file sets none; names every such variable
            and line, never a value.
    """
    _raise_problems(_file_problems(env_file))
    overrides = {name.upper(): value for name, value in (environment or {}).items()}
    groups: dict[str, Any] = {}
    problems: list[str] = []
    for name, field in Settings.model_fields.items():
        group: Any = field.annotation
        try:
            groups[name] = _load_group(group, overrides, env_file)
        except ValidationError as error:
            prefix = group.model_config["env_prefix"]
            for item in error.errors():
                variable = f"{prefix}{item['loc'][0]}".upper()
                problems.append(f"{variable}: {item['msg']}")
    _raise_problems(problems)
    settings = Settings(**groups)
    _raise_problems(_address_problems(settings))
    return settings


def _file_problems(env_file: Path | str | None) -> list[str]:
    """What in the file cannot be read. Passed over, as dotenv does, a line would leave its switch as it is unset."""
    if not env_file or not Path(env_file).is_file():
        return []
    try:
        text = Path(env_file).read_text("utf-8-sig")
    except UnicodeDecodeError:
        return [f"{env_file}: is not UTF-8"]
    known = set(os.environ)
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            problems.append(f"{env_file}: line {_line_of(binding)} is not NAME=value")
        if binding.value and not _variables_in(binding.value) <= known:
            problems.append(
                f"{env_file}: line {_line_of(binding)} names a variable that is not set, as ${{NAME}}; "
                "a value that holds these characters has to be set in the environment",
            )
        if binding.key:
            known.add(binding.key)
    return problems


def _variables_in(value: str) -> set[str]:
    """The variables that dotenv replaces in a value; without a default it takes nothing for one that is not set."""
    return {
        atom.name
        for atom in parse_variables(value)
        if isinstance(atom, Variable) and atom.default is None
    }


def _line_of(binding: Binding) -> int:
    """The number of a line of the file, without the blank lines that are read with it."""
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + blank.count("\n")


def _load_group(
    group: Any,
    overrides: Mapping[str, Any],
    env_file: Path | str | None,
) -> Any:
    prefix = group.model_config["env_prefix"]
    given = {}
    for key in group.model_fields:
        variable = f"{prefix}{key}".upper()
        if variable in overrides:
            given[key] = overrides[variable]
    unset = {key for key, value in given.items() if value in (None, "")}
    defaults = {key: group.model_fields[key].default for key in unset}
    loaded = group(_env_file=env_file, **given | defaults)
    return group.model_construct(loaded.model_fields_set - unset, **dict(loaded))


def _raise_problems(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(
            "Please correct these settings:\n  " + "\n  ".join(problems),
        )


def _address_problems(settings: Settings) -> list[str]:
    """Addresses that are none, and those under which keys and data could be read on the way."""
    addresses = {
        **settings.advoware.addresses,
        **settings.espocrm.addresses,
        **settings.google_calendar.addresses,
    }
    problems = []
    for variable, url in sorted(addresses.items()):
        problem = address_problem(url, settings.service)
        if problem:
            problems.append(f"{variable}: {problem}")
    return problems


def address_problem(url: str, service: ServiceSettings) -> str | None:
    """Why a foreign system must not be asked at this URL, without quoting it; None if it may."""
    try:
        origin = origin_of(url)
    except ValueError as error:
        return str(error)
    if origin.startswith("https:") or service.allows_plain_http(url):
        return None
    return (
        "plain http:// shows keys and data to everyone on the way; use https://, "
        "or name the host in BITBYLAW_PLAIN_HTTP_HOSTS"
    )


def require_safe_access(settings: Settings, *, with_twins: Sequence[str] = ()) -> None:
    """Refuse settings under which strangers could reach real data through us, or invented people real data.

    With nothing but twins no keys are needed; as soon as one system is real they are. ``with_twins`` are
    systems whose twins are about to be started. Whether the addresses in ``BITBYLAW_TWINS`` are true is asked by
    `services.core.twins.require_twins`.

    Raises:
        ConfigurationError: names the variables to set.
    """
    real = settings.real_systems
    if not real:
        return
    verb = "is" if len(real) == 1 else "are"
    because = f"required, because {_listed(real)} {verb} real"
    problems = []
    if not settings.service.accepted_keys:
        problems.append(f"BITBYLAW_NAMED_KEYS or BITBYLAW_API_KEYS: {because}")
    # Secrets alone are not enough: an engine that sorts keys makes signatures uncheckable.
    if settings.espocrm.webhook_token is None:
        problems.append(f"ESPOCRM_WEBHOOK_TOKEN: {because}")
    twins = [*settings.twin_systems, *with_twins]
    if twins and not settings.service.trial:
        problems.append(
            f"BITBYLAW_TRIAL: a real {_listed(real)} would run beside a twin of {_listed(twins)}, and the sync would "
            "carry invented people into real data. Configure all systems, or none; for a trial of a test system set it "
            "to true",
        )
    if problems and any(_is_on_this_machine(settings, name) for name in real):
        problems.append(
            "BITBYLAW_TWINS: a twin on this machine counts as one if its address is named here",
        )
    _raise_problems(problems)


def _is_on_this_machine(settings: Settings, name: str) -> bool:
    addresses = settings.foreign_systems[name].addresses
    return any(is_loopback(url) for url in addresses.values())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)


#: Read by the command line and by the parts that it starts, and no settings.
_NO_SETTINGS = frozenset(
    {
        *("BITBYLAW_DATA", "BITBYLAW_ENV_FILE", "BITBYLAW_ENGINE_HTTP_URL"),
        *("BITBYLAW_HTTP_PORT", "BITBYLAW_WORKER_PORT", "III_ENGINE_BIN"),
        *("BITBYLAW_ADVOWARE_TWIN_PORT", "BITBYLAW_ESPOCRM_TWIN_PORT"),
        *("BITBYLAW_GOOGLE_TWIN_PORT", "ENGINE_DATABASE_URL", "OTEL_ENABLED"),
        *("BITBYLAW_WORKER_LOG", "ESPOCRM_ADMIN_PASSWORD", "III_BRIDGE_URL"),
    },
)


def unknown_names(settings: Settings, names: Iterable[str]) -> list[str]:
    """The names that nothing reads, in order. Capitals do not matter."""
    known = settings.environment().keys() | _NO_SETTINGS
    return sorted(name for name in set(names) if name.upper() not in known)


def default_env_file() -> Path | None:
    """The file with settings: ``BITBYLAW_ENV_FILE`` if that is set (empty: none), else `.env` beside this module.

    Raises:
        ConfigurationError: the named file does not exist.
    """
    chosen = os.environ.get("BITBYLAW_ENV_FILE")
    if chosen is None:
        return PROJECT_ROOT / ".env"
    if chosen and not Path(chosen).is_file():
        raise ConfigurationError(f"BITBYLAW_ENV_FILE: there is no file {chosen}")
    return Path(chosen) if chosen else None


@cache
def get_settings() -> Settings:
    """The settings of this process, read and checked once.

    Raises:
        ConfigurationError: see `load_settings` and `require_safe_access`.
    """
    settings = load_settings(env_file=default_env_file())
    require_safe_access(settings)
    return settings
