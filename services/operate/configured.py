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
from services.calendar_sync.doctor import diagnose_google
from services.core.database import MIGRATIONS, database_errors
from services.espocrm_setup.doctor import diagnose
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
        work = sources.cached("doctor", 60.0, lambda: _doctor(sources.settings))
        doctor = await part(work, "doctor", DOCTOR_SECONDS)
    settings = list(shown_settings(sources.settings))
    return SettingsView(sources.settings.mode, settings, versions, migrations, doctor)


def shown_settings(settings: Settings) -> Iterator[Setting]:
    """Every variable; secrets, names and what an address may carry are masked."""
    for name in type(settings).model_fields:
        group = getattr(settings, name)
        prefix = type(group).model_config["env_prefix"]
        for field in type(group).model_fields:
            value = getattr(group, field)
            is_secret = isinstance(value, SecretStr) or field in _PRIVATE
            is_set = value not in (None, "")
            shown = ""
            if is_set:
                shown = "•••" if is_secret else _shown(value)
            yield Setting(f"{prefix}{field}".upper(), shown, is_set, is_secret)


def _shown(value: Any) -> str:
    text = str(value)
    if "://" not in text:
        return text
    parts = [_address(url) for url in text.split(",")]
    return ",".join(parts)


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
        number = await pool.fetchval("SHOW server_version")
    return [*_packages(), Version("PostgreSQL", str(number).split()[0])]


async def _migrations(sources: Sources) -> list[Migration]:
    pool = await sources.resources.database()
    async with database_errors():
        rows = await pool.fetch("SELECT name FROM schema_migration")
    applied = {row["name"] for row in rows}
    migrations = []
    for path in sorted(MIGRATIONS.glob("*.sql")):
        migrations.append(Migration(path.name, path.name in applied))
    return migrations


async def _doctor(settings: Settings) -> list[DoctorLine]:
    checks = [*await diagnose(settings), *await diagnose_google(settings)]
    return [DoctorLine(check.name, check.status) for check in checks]
