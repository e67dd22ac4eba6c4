"""``bitbylaw espocrm ...`` sets EspoCRM up; ``bitbylaw doctor`` says what is missing there and in Google."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from cli.commands.espocrm_setup import PASSWORD, Request, read_password, set_up
from cli.env_file import EnvFile
from config import (
    PROJECT_ROOT,
    ConfigurationError,
    Settings,
    default_env_file,
    get_settings,
)
from services.espocrm_setup.doctor import diagnose
from services.espocrm_setup.webhooks import (
    Check,
    Installed,
    SetupFailed,
    install_webhooks,
)
from services.takeover.signs import diagnose_old_system

FAILED = 1
UNCHECKED = 2
MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]"}

app = typer.Typer(no_args_is_help=True, help="Set EspoCRM up for BitByLaw.")
console = Console(highlight=False, soft_wrap=True)
UrlHelp = "our address as EspoCRM reaches it, such as https://bitbylaw.example"


@app.callback()
def _main() -> None:
    """The commands below share a name."""


@app.command("setup")
def setup_command(
    url: Annotated[str, typer.Option("--url", help=UrlHelp)],
    admin_user: Annotated[
        str,
        typer.Option("--admin-user", help="name of an administrator of EspoCRM"),
    ],
    espocrm_url: Annotated[
        str,
        typer.Option(
            "--espocrm-url",
            help="EspoCRM's address; else ESPOCRM_API_BASE_URL",
        ),
    ] = "",
    task_user: Annotated[
        str,
        typer.Option(
            "--task-user",
            help="user name of who gets the tasks of records assigned to no one",
        ),
    ] = "",
    package: Annotated[
        Path | None,
        typer.Option(
            "--package",
            help="the extension's zip; else it is made of the sources",
        ),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help=f"read the password from stdin; else from {PASSWORD}, or ask",
        ),
    ] = False,
) -> None:
    """Install or upgrade the extension, make the API user, register the webhooks, write .env, and run the doctor.

    Each step looks first: a second run changes nothing, an interrupted one is simply run again. The password is sent to
    EspoCRM once and stored nowhere.
    """
    try:
        path = default_env_file()
        if path is None:
            raise SetupFailed(
                "BITBYLAW_ENV_FILE is empty: there is no file to write the settings to.",
            )
        password = read_password(from_stdin=password_stdin, user=admin_user)
        request = Request(url, admin_user, password, espocrm_url, task_user, package)
        env = EnvFile(path, PROJECT_ROOT / ".env.example")
        is_changed = asyncio.run(set_up(request, env, console))
    except (SetupFailed, ConfigurationError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(FAILED) from None
    console.print(
        "\nRestart BitByLaw: it reads .env when it starts.\n"
        if is_changed
        else "\nNothing was changed in .env.\n",
    )
    doctor(url)


@app.command("install-webhooks")
def install_webhooks_command(
    url: Annotated[str, typer.Option("--url", help=UrlHelp)],
) -> None:
    """Register the six webhooks in EspoCRM. A second run changes nothing; secrets are shown once, when created."""
    try:
        secrets = asyncio.run(_install(get_settings(), url))
    except (SetupFailed, ConfigurationError) as error:
        console.print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(FAILED) from None
    if secrets:
        console.print(
            "\nTo have signatures checked, append to ESPOCRM_WEBHOOK_SECRETS in .env (not shown again):",
        )
        console.print(",".join(secrets), markup=False)


async def _install(settings: Settings, url: str) -> list[str]:
    """Show each step as it is done; returns ``id:secret`` of the new webhooks."""
    secrets: list[str] = []
    try:
        async for step in install_webhooks(settings, url):
            console.print(
                f"{step.action:8} {step.event} {step.webhook_id}",
                markup=False,
            )
            secrets += _pair(step)
    except SetupFailed:
        if secrets:  # what was created stays in EspoCRM
            console.print(
                f"Secrets of the webhooks created so far: {','.join(secrets)}",
                markup=False,
            )
        raise
    return secrets


def _pair(step: Installed) -> list[str]:
    if step.secret:
        return [f"{step.webhook_id}:{step.secret.get_secret_value()}"]
    return []


def doctor(
    url: Annotated[
        str | None,
        typer.Option("--url", help=f"{UrlHelp}; checks where the webhooks lead to"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print one JSON object"),
    ] = False,
) -> None:
    """Check what BitByLaw needs in EspoCRM (key, extension, entities, fields, role, webhooks) and in Google Calendar.

    Exit status 0: all is well (warnings may be left); 1: something is to be mended; 2: it could not be checked.
    """
    try:
        checks = asyncio.run(_diagnose(get_settings(), url))
    except ConfigurationError as error:
        checks = [Check("configuration", "unchecked", str(error), "Correct .env.")]
    if as_json:
        typer.echo(
            json.dumps(
                {"checks": [asdict(check) for check in checks]},
                ensure_ascii=False,
                indent=2,
            ),
        )
    else:
        for check in checks:
            _show(check)
    statuses = {check.status for check in checks}
    if "unchecked" in statuses:
        raise typer.Exit(UNCHECKED)
    if "failed" in statuses:
        raise typer.Exit(FAILED)


async def _diagnose(settings: Settings, url: str | None) -> list[Check]:
    # Here, so that other commands do without the 4 MB of Google's client.
    from services.calendar_sync.doctor import diagnose_google

    return [
        *await diagnose(settings, url),
        *await diagnose_google(settings),
        *await diagnose_old_system(settings),
        *_check_keys(settings),
    ]


def _check_keys(settings: Settings) -> list[Check]:
    """A warning while tools use keys that stand in the settings in plain text and permit everything."""
    keys = settings.service.unnamed_keys
    if not keys:
        return []
    message = f"BITBYLAW_API_KEYS has {len(keys)} in plain text, each permits everything, and logs name no tool."
    fix = "Give each tool a key of its own: bitbylaw keys new NAME --rights GET; then empty BITBYLAW_API_KEYS."
    return [Check("API keys", "warning", message, fix)]


def _show(check: Check) -> None:
    mark = MARKS.get(check.status, f"[red]{check.status}[/red]")
    console.print(f"{mark} ", end="")
    console.print(f"{check.name}: {check.message}", markup=False)
    if check.fix:
        console.print(f"    -> {check.fix}", markup=False)
