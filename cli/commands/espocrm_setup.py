"""``bitbylaw espocrm setup``: everything that BitByLaw needs in EspoCRM, in one command that may be repeated."""

from __future__ import annotations

import getpass
import importlib.util
import os
import secrets
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console

from cli.env_file import EnvFile
from config import KEY_CHARACTERS, PROJECT_ROOT, Settings, load_settings
from services.core.errors import BitByLawError, ForeignSystemError, InvalidInput
from services.espocrm_setup.provision import (
    Administrator,
    Package,
    Step,
    active_people,
    configure_actions,
    find_doubles,
    install_extension,
    offers_actions,
    provide_api_user,
    without_removed,
)
from services.espocrm_setup.webhooks import (
    SetupFailed,
    checked_address,
    install_webhooks,
    webhook_secrets,
)

PASSWORD = "ESPOCRM_ADMIN_PASSWORD"  # noqa: S105 - a name
ACTION_SECRET = "ESPOCRM_ACTION_SECRET"  # noqa: S105 - a name
TASK_USER = "VMH_TASK_ASSIGNED_USER_ID"
BUILDER = PROJECT_ROOT / "espocrm-extension" / "build.py"
#: Written by the set-up; a change of one of them is read by a BitByLaw that starts.
SECRET_BYTES = KEY_CHARACTERS

Report = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Request:
    """What the command was asked for. Empty: not given."""

    our_url: str
    admin_user: str
    password: SecretStr
    espocrm_url: str = ""
    task_user: str = ""
    package: Path | None = None


def read_password(*, from_stdin: bool, user: str) -> SecretStr:
    """The administrator's password, from the first line of stdin, from the environment, or asked for without an echo.

    Raises:
        SetupFailed: there is no terminal to ask at.
    """
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif given := os.environ.get(PASSWORD, ""):
        pass
    elif sys.stdin.isatty():
        given = getpass.getpass(f"Password of {user} in EspoCRM: ")
    if not given:
        raise SetupFailed(
            f"There is no password: use a terminal, --password-stdin, or the variable {PASSWORD}.",
        )
    return SecretStr(given)


async def set_up(request: Request, env: EnvFile, console: Console) -> bool:
    """Do all steps, each reported as soon as it is done; returns whether `.env` was changed.

    Raises:
        SetupFailed: it cannot go on; what was done stays, and the next run goes on from there.
        ConfigurationError: `.env` cannot be used.
    """
    run = _Run(request, env, console)
    try:
        await run.all_steps()
    except InvalidInput as error:
        raise SetupFailed(str(error)) from error
    except ForeignSystemError as error:
        raise SetupFailed(
            f"{error} What is done so far stays; run this again.",
        ) from error
    return run.changed


class _Run:
    def __init__(self, request: Request, env: EnvFile, console: Console) -> None:
        self._request = request
        self._env = env
        self._console = console
        self.changed = False

    async def all_steps(self) -> None:
        settings = self._settings()
        if settings.service.read_only:
            raise SetupFailed("BITBYLAW_READ_ONLY is on: nothing is set up.")
        request = self._request
        our_url = _address("--url", request.our_url, settings)
        base_url = self._api_base_url(settings)
        self._store({"ESPOCRM_API_BASE_URL": base_url})
        self._store(_missing_keys(settings))
        async with Administrator.logged_in(
            base_url,
            request.admin_user,
            request.password,
            _ask_code,
        ) as admin:
            package = _package(request.package)
            self._report(await install_extension(admin, package))
            known_key = settings.espocrm.marvin_api_key.get_secret_value()
            step, key = await provide_api_user(admin, known_key)
            self._report(step)
            self._store({"ESPOCRM_MARVIN_API_KEY": key})
            await self._webhooks(admin, our_url)
            await self._task_user(admin, settings.vmh.task_assigned_user_id)
            await self._buttons(admin, our_url)

    def _settings(self, **changes: str) -> Settings:
        """As a BitByLaw that starts now would read them. Whether they are complete is the doctor's question."""
        known = self._env.path if self._env.path.exists() else None
        return load_settings(changes, env_file=known)

    def _api_base_url(self, settings: Settings) -> str:
        given = self._request.espocrm_url or settings.espocrm.api_base_url
        if not given:
            raise SetupFailed("Where is EspoCRM? Add --espocrm-url https://crm.example")
        site = given.partition("#")[0].rstrip("/")
        address = _address("--espocrm-url", site.removesuffix("/api/v1"), settings)
        return f"{address}/api/v1"

    async def _webhooks(self, admin: Administrator, our_url: str) -> None:
        settings = self._settings()
        async for step in install_webhooks(settings, our_url):
            self._show(step.action, f"webhook {step.event}", step.webhook_id)
        own = await webhook_secrets(settings)
        known = settings.espocrm.webhook_keys | own
        left = await without_removed(admin, known)
        doubles = await find_doubles(admin, our_url, own)
        if doubles:
            self._report(doubles)
        pairs = []
        for webhook_id, secret in left.items():
            pairs.append(f"{webhook_id}:{secret}")
        self._store({"ESPOCRM_WEBHOOK_SECRETS": ",".join(pairs)})

    async def _task_user(self, admin: Administrator, known_id: str) -> None:
        by_name = {}
        known_name = ""
        for row in await active_people(admin):
            name = str(row["userName"])
            by_name[name] = row
            if row["id"] == known_id:
                known_name = name
        wanted = self._request.task_user
        if wanted and wanted not in by_name:
            raise SetupFailed(
                f"--task-user: EspoCRM has no active user {wanted}. It has: {', '.join(by_name)}",
            )
        if not wanted and known_name:
            self._show("kept", "task user", known_name)
            return
        if not wanted:
            wanted = self._ask_task_user(by_name)
        if not wanted:
            self._show(
                "by hand",
                "task user",
                "who gets the tasks of no one's records? Add --task-user NAME",
            )
            return
        user_id = str(by_name[wanted]["id"])
        is_changed = self._store({TASK_USER: user_id})
        self._show("done" if is_changed else "kept", "task user", wanted)

    def _ask_task_user(self, by_name: Mapping[str, Mapping[str, Any]]) -> str:
        if not sys.stdin.isatty():
            return ""
        self._console.print(
            "\nWho gets the tasks of records that are assigned to no one?",
        )
        for name, row in by_name.items():
            self._console.print(f"  {name}  ({row.get('name')})", markup=False)
        while (
            answer := input("User name, empty for later: ").strip()
        ) and answer not in by_name:
            self._console.print("No one has that name.")
        return answer

    async def _buttons(self, admin: Administrator, our_url: str) -> None:
        if not await offers_actions(admin):
            return
        known = os.environ.get(ACTION_SECRET) or self._env.values().get(
            ACTION_SECRET,
            "",
        )
        secret = known or secrets.token_hex(SECRET_BYTES)
        self._store({ACTION_SECRET: secret})
        self._report(
            await configure_actions(
                admin,
                our_url,
                SecretStr(secret),
                is_new=not known,
            ),
        )

    def _store(self, values: Mapping[str, str]) -> bool:
        """Write settings at once, so that an interrupted run has lost nothing."""
        changed = self._env.change(dict(values))
        for name in changed:
            self._show("done", ".env", name)
        for name, value in values.items():
            if os.environ.get(name, value) not in {"", value}:
                self._show(
                    "by hand",
                    ".env",
                    f"{name} is also set in the environment, which counts: change it there",
                )
        if changed:
            self.changed = True
        return bool(changed)

    def _report(self, step: Step) -> None:
        self._show(step.action, step.name, step.message)

    def _show(self, action: str, name: str, message: str) -> None:
        line = f"{action:8} {name}: {message}"
        self._console.print(line, markup=False)


def _missing_keys(settings: Settings) -> dict[str, str]:
    """The secrets that a real EspoCRM asks for and that are not set yet."""
    missing = {}
    if settings.espocrm.webhook_token is None:
        missing["ESPOCRM_WEBHOOK_TOKEN"] = secrets.token_hex(SECRET_BYTES)
    if not settings.service.accepted_keys:
        missing["BITBYLAW_API_KEYS"] = secrets.token_hex(SECRET_BYTES)
    return missing


def _address(option: str, url: str, settings: Settings) -> str:
    try:
        return checked_address(url, settings)
    except BitByLawError as error:
        raise SetupFailed(f"{option}: {error}") from error


def _ask_code() -> str:
    if not sys.stdin.isatty():
        raise SetupFailed(
            "EspoCRM asks for the code of the second factor: run this in a terminal.",
        )
    return input("Code of the second factor: ").strip()


def _package(path: Path | None) -> Package | None:
    """The given package, else one made of the sources beside us; None where there are none."""
    if path is None and not BUILDER.is_file():
        return None
    try:
        with tempfile.TemporaryDirectory() as directory:
            return _read_package(path or _build(Path(directory)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = type(error).__name__
        raise SetupFailed(
            f"{path or BUILDER}: this makes no package of the extension ({reason}).",
        ) from error


def _build(directory: Path) -> Path:
    spec = importlib.util.spec_from_file_location("build", BUILDER)
    assert spec is not None  # noqa: S101 - narrows the type
    assert spec.loader is not None  # noqa: S101 - narrows the type
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: Path = module.build(directory)
    return built


def _read_package(path: Path) -> Package:
    with zipfile.ZipFile(path) as package:
        manifest = loads(package.read("manifest.json"))
    return Package(str(manifest["version"]), path.read_bytes())
