"""What is configured: settings with secrets masked, versions, migrations, and the doctor's result."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from config import Settings
from services.core.database import MIGRATIONS, database_errors
from services.operate.parts import Part, part
from services.operate.sources import Sources

DOCTOR_SECONDS = 20.0
PACKAGES = ("bitbylaw", "motia", "iii-sdk", "aiohttp", "asyncpg", "redis")
#: Names of people and paths: whether they are set is all that is shown.
_PRIVATE = frozenset({"acl", "user", "service_account_path", "debug_kuerzel"})


@dataclass(frozen=True)
class Setting:
    """A variable; ``value`` is empty if it is not set, and a word instead of the value if that is secret."""

    variable: str
    value: str
    is_set: bool
    is_secret: bool


@dataclass(frozen=True)
class Version:
    """What runs, in which version."""

    name: str
    version: str


@dataclass(frozen=True)
class Migration:
    """One file of db/migrations."""

    name: str
    is_applied: bool


@dataclass(frozen=True)
class DoctorLine:
    """One check of `bitbylaw doctor`; what it says may name users, so only the command shows it."""

    name: str
    status: str


@dataclass(frozen=True)
class SettingsView:
    """All of it; ``doctor`` is None until it is asked for."""

    mode: str
    settings: list[Setting]
    versions: Part[list[Version]]
    migrations: Part[list[Migration]]
    doctor: Part[list[DoctorLine]] | None


async def settings_view(sources: Sources, *, with_doctor: bool) -> SettingsView:
    """What is configured; with the doctor it takes some seconds."""
    versions, migrations = await asyncio.gather(
        part(_versions(sources), "PostgreSQL"),
        part(_migrations(sources), "PostgreSQL"),
    )
    if versions.value is None:
        versions = Part(_packages())
    doctor = None
    if with_doctor:
        checks = sources.cached("doctor", 60.0, lambda: _doctor(sources.settings))
        doctor = await part(checks, "doctor", DOCTOR_SECONDS)
    return SettingsView(
        mode=sources.settings.mode,
        settings=list(shown_settings(sources.settings)),
        versions=versions,
        migrations=migrations,
        doctor=doctor,
    )


def shown_settings(settings: Settings) -> Iterator[Setting]:
    """Every variable; secrets, names and what an address may carry are masked."""
    for name in type(settings).model_fields:
        group = getattr(settings, name)
        prefix = type(group).model_config["env_prefix"]
        for field in type(group).model_fields:
            variable = f"{prefix}{field}".upper()
            value = getattr(group, field)
            yield _setting(variable, field, value)


def _setting(variable: str, field: str, value: Any) -> Setting:
    is_secret = isinstance(value, SecretStr) or field in _PRIVATE
    is_set = value not in (None, "")
    shown = ""
    if is_set and is_secret:
        shown = "•••"
    elif is_set:
        shown = _shown(value)
    return Setting(variable=variable, value=shown, is_set=is_set, is_secret=is_secret)


def _shown(value: Any) -> str:
    text = str(value)
    if "://" not in text:
        return text
    addresses = map(_address, text.split(","))
    return ",".join(addresses)


def _address(url: str) -> str:
    """Scheme, host, port and path: a query or user information may hold a key."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _packages() -> list[Version]:
    found = [Version("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append(Version(name, version(name)))
        except PackageNotFoundError:
            continue
    return found


async def _versions(sources: Sources) -> list[Version]:
    pool = await sources.resources.database()
    async with database_errors():
        shown = await pool.fetchval("SHOW server_version")
    number, *_ = str(shown).split()
    return [*_packages(), Version("PostgreSQL", number)]


async def _migrations(sources: Sources) -> list[Migration]:
    applied = await sources.rows(
        lambda row: str(row["name"]),
        "SELECT name FROM schema_migration",
    )
    migrations = []
    for path in sorted(MIGRATIONS.glob("*.sql")):
        is_applied = path.name in applied
        migrations.append(Migration(path.name, is_applied))
    return migrations


async def _doctor(settings: Settings) -> list[DoctorLine]:
    # Here, because they bring the sync and Google's client (9 MB), and the board is seldom asked.
    from services.calendar_sync.doctor import diagnose_google
    from services.espocrm_setup.doctor import diagnose

    espocrm = await diagnose(settings)
    google = await diagnose_google(settings)
    return [DoctorLine(check.name, check.status) for check in (*espocrm, *google)]
