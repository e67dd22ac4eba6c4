"""Settings: read once from the environment (and `.env`), validated, frozen, grouped by foreign system.

A variable's name is the group's prefix plus the field's name in capitals: ``settings.advoware.api_base_url`` is
``ADVOWARE_API_BASE_URL``. `.env.example` explains each one.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent
ADVOWARE_CONFIGURATOR_URL = "https://www2.advo-net.net/AdvonetConfigurator/api/Url"


class ConfigurationError(Exception):
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


class _Group(BaseSettings):
    """Settings of one system. Empty variables count as unset, so that `.env` may list them all."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    @field_validator("*", mode="after")
    @classmethod
    def _no_trailing_slash(cls, value: Any, info: Any) -> Any:
        return value.rstrip("/") if isinstance(value, str) and info.field_name.endswith("_base_url") else value


class RedisSettings(_Group):
    """Redis: locks, marks of waiting events, token cache, rate buckets. Nothing that may not be lost."""

    model_config = SettingsConfigDict(env_prefix="REDIS_")

    host: str = "127.0.0.1"
    port: int = Field(default=6379, ge=1, le=65535)
    password: SecretStr | None = None
    db_advoware_cache: int = Field(default=1, ge=0)
    db_calendar_sync: int = Field(default=2, ge=0)
    timeout_seconds: float = Field(default=2.0, gt=0)


class PostgresSettings(_Group):
    """PostgreSQL: sync state, intents and the audit. ``host`` may be the directory of a unix socket."""

    model_config = SettingsConfigDict(env_prefix="POSTGRES_")

    host: str = "127.0.0.1"
    port: int = Field(default=5432, ge=1, le=65535)
    user: str = "postgres"
    password: SecretStr | None = None
    db_name: str = "bitbylaw"
    timeout_seconds: float = Field(default=5.0, gt=0)


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
    token_lifetime_minutes: int = Field(default=55, ge=3)
    api_timeout_seconds: float = Field(default=25.0, gt=0)
    write_protection: bool = True

    @property
    def is_configured(self) -> bool:
        """Whether somebody entered credentials."""
        return bool(self.app_id and self.kanzlei)

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine, that is, the twin."""
        return bool(self.api_base_url) and is_loopback(self.api_base_url or "")


class EspoCRMSettings(_Group):
    """EspoCRM's API and its webhooks. ``api_base_url`` ends in ``/api/v1``."""

    model_config = SettingsConfigDict(env_prefix="ESPOCRM_")

    api_base_url: str | None = None
    marvin_api_key: SecretStr = SecretStr("")
    api_timeout_seconds: float = Field(default=20.0, gt=0)
    webhook_token: SecretStr | None = None
    webhook_secrets: SecretStr | None = None

    @property
    def is_configured(self) -> bool:
        """Whether somebody entered credentials."""
        return bool(self.api_base_url)

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine, that is, the twin."""
        return bool(self.api_base_url) and is_loopback(self.api_base_url or "")

    @property
    def webhook_keys(self) -> dict[str, str]:
        """``{webhook id: secret key}``, from ``id:secret,id:secret``."""
        text = self.webhook_secrets.get_secret_value() if self.webhook_secrets else ""
        pairs = (entry.strip().partition(":") for entry in text.split(",") if entry.strip())
        return {webhook_id: secret for webhook_id, _, secret in pairs}

    @field_validator("webhook_secrets", mode="after")
    @classmethod
    def _pairs(cls, value: SecretStr | None) -> SecretStr | None:
        for entry in value.get_secret_value().split(",") if value else ():
            webhook_id, _, secret = entry.strip().partition(":")
            if entry.strip() and not (webhook_id and secret):
                raise ValueError("must be a comma-separated list of webhookId:secretKey")
        return value


class GoogleCalendarSettings(_Group):
    """Google Calendar. ``acl`` is a comma-separated list of ``role:email``."""

    model_config = SettingsConfigDict(env_prefix="GOOGLE_CALENDAR_")

    service_account_path: str | None = None
    api_endpoint: str | None = None
    acl: str = ""

    @property
    def acl_rules(self) -> list[tuple[str, str]]:
        """With whom calendars are shared: pairs of role and e-mail address."""
        rules = (rule.partition(":") for rule in self.acl.split(",") if rule.strip())
        return [(role.strip(), email.strip()) for role, _, email in rules]

    @field_validator("acl", mode="after")
    @classmethod
    def _is_list_of_rules(cls, value: str) -> str:
        for rule in filter(None, (part.strip() for part in value.split(","))):
            role, _, email = rule.partition(":")
            if role.strip() not in {"freeBusyReader", "reader", "writer", "owner"} or "@" not in email:
                raise ValueError("must be a comma-separated list of role:email, roles reader, writer, owner")
        return value

    @property
    def is_configured(self) -> bool:
        """Whether somebody entered credentials."""
        return bool(self.service_account_path)


class CalendarSyncSettings(_Group):
    """What the calendar sync covers."""

    model_config = SettingsConfigDict(env_prefix="CALENDAR_SYNC_")

    debug_kuerzel: str = ""
    anonymize: bool = False
    days_back: int = Field(default=7, ge=0)
    days_ahead: int = Field(default=730, ge=1)
    #: of new pairs
    strategy: Literal["source_system_wins", "last_change_wins"] = "source_system_wins"
    #: so many of an employee's pairs may be deleted in one run, or a fifth of them if that is more
    max_deletions: int = Field(default=5, ge=0)

    @property
    def only_kuerzel(self) -> frozenset[str]:
        """The employees to whom the sync is limited; empty: all."""
        return frozenset(name.strip() for name in self.debug_kuerzel.split(",") if name.strip())


class VmhSettings(_Group):
    """The sync of persons, and names in EspoCRM that an installation may choose."""

    model_config = SettingsConfigDict(env_prefix="VMH_")

    lock_seconds: float = Field(default=60.0, ge=2)
    cron_limit: int = Field(default=1000, ge=1)
    nextcall_field: str = "nextCall"
    nextcall_entity: str = "CVmhErstgespraech"
    #: EspoCRM user who gets the tasks of records that nobody is assigned to
    task_assigned_user_id: str = ""


class ServiceSettings(_Group):
    """Who may call us. ``api_keys`` is a comma-separated list."""

    model_config = SettingsConfigDict(env_prefix="BITBYLAW_")

    api_keys: SecretStr | None = None

    @field_validator("api_keys", mode="after")
    @classmethod
    def _fit_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().isascii():
            raise ValueError("must be ASCII, because it travels in an HTTP header")
        return value

    @property
    def accepted_api_keys(self) -> tuple[str, ...]:
        """The single keys; empty: callers need none."""
        text = self.api_keys.get_secret_value() if self.api_keys else ""
        return tuple(key.strip() for key in text.split(",") if key.strip())


class EngineSettings(_Group):
    """Where the iii engine listens for workers."""

    model_config = SettingsConfigDict(env_prefix="III_")

    url: str = "ws://localhost:49134"


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
    engine: EngineSettings

    def environment(self) -> dict[str, str]:
        """The environment variables that reproduce these settings; contains secrets."""
        return dict(self._variables())

    def _variables(self) -> Iterator[tuple[str, str]]:
        for name in type(self).model_fields:
            group = getattr(self, name)
            prefix = type(group).model_config["env_prefix"]
            for field in type(group).model_fields:
                value = getattr(group, field)
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                yield f"{prefix}{field}".upper(), "" if plain is None else str(plain)


def load_settings(environment: Mapping[str, Any] | None = None, *, env_file: Path | str | None = None) -> Settings:
    """Read and validate the settings.

    ``environment`` overrides single variables of the process environment, an empty value unsets one; ``env_file`` fills
    in those that neither names. Says nothing about whether credentials are present: see `require_safe_access`.

    Raises:
        ConfigurationError: a variable has an unusable value; names every such variable, never a value.
    """
    overrides = {name.upper(): value for name, value in (environment or {}).items()}
    groups: dict[str, Any] = {}
    problems: list[str] = []
    for name, field in Settings.model_fields.items():
        group: Any = field.annotation
        prefix = group.model_config["env_prefix"]
        values = {
            key: overrides[variable]
            for key in group.model_fields
            if overrides.get(variable := f"{prefix}{key}".upper()) is not None
        }
        unset = {key for key, value in values.items() if value == ""}
        values |= {key: group.model_fields[key].get_default(call_default_factory=True) for key in unset}
        try:
            groups[name] = group(_env_file=env_file, **values)
            groups[name].model_fields_set.difference_update(unset)
        except ValidationError as error:
            problems += [f"{prefix}{item['loc'][0]}".upper() + f": {item['msg']}" for item in error.errors()]
    if problems:
        raise ConfigurationError("Please correct these settings:\n  " + "\n  ".join(problems))
    return Settings(**groups)


def require_safe_access(settings: Settings) -> None:
    """Refuse settings under which strangers could reach real data through us.

    On this machine, with twins, the doors may stand open; in front of a real system they may not.

    Raises:
        ConfigurationError: names the variable to set.
    """
    problems = []
    if settings.advoware.is_configured and not settings.advoware.is_local and not settings.service.accepted_api_keys:
        problems.append("BITBYLAW_API_KEYS: required, because the proxy leads to a real Advoware")
    # Secrets alone are not enough: an engine that sorts keys makes signatures uncheckable.
    if settings.espocrm.is_configured and not settings.espocrm.is_local and not settings.espocrm.webhook_token:
        problems.append("ESPOCRM_WEBHOOK_TOKEN: required, because the webhooks belong to a real EspoCRM")
    if problems:
        raise ConfigurationError("Please add these settings:\n  " + "\n  ".join(problems))


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
