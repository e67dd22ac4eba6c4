"""How commands of administrators reach the product's services: settings, connections, and errors in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from config import PROJECT_ROOT, ConfigurationError, Settings, get_settings
from services.core.errors import BitByLawError
from services.core.resources import Resources

Result = TypeVar("Result")

FAILED = 1

console = Console(highlight=False, soft_wrap=True)


def run(work: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Do the work with the settings of this process; see `guarded`."""
    return guarded(lambda: asyncio.run(on_resources(work)))


def run_with_logs(work: Callable[[Resources, Path], Awaitable[Result]]) -> Result:
    """As `run`, for work that also looks into the log files: it gets their directory."""
    return run(lambda resources: work(resources, log_directory(resources.settings)))


def show(line: str) -> None:
    """Print a line as it is, whatever it holds."""
    console.print(line, markup=False)


def guarded(work: Callable[[], Result]) -> Result:
    """Do the work; an error that is understood ends the command with status 1."""
    try:
        return work()
    except (BitByLawError, ConfigurationError) as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]{escape(str(error))}[/red]")
        raise typer.Exit(FAILED) from None


async def on_resources(work: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Do the work on connections of its own, with the settings of this process."""
    async with Resources(get_settings()) as resources:
        return await work(resources)


def log_directory(settings: Settings) -> Path:
    """Where the log files lie: as the settings say, else where `make up` puts them."""
    named = settings.retention.log_directory
    if named:
        return Path(named)
    return PROJECT_ROOT / ".local" / "log"
