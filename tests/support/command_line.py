"""``bitbylaw ...`` in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache

import typer.testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from cli.main import app
from config import get_settings

# Typer makes the program of all its functions again for each call, which takes longer than most commands.
typer.testing._get_command = cache(get_command)  # type: ignore[attr-defined]


async def run_program(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> Result:
    """What a command comes to, with these variables as its settings."""

    def invoke() -> Result:
        get_settings.cache_clear()
        try:
            return CliRunner().invoke(app, list(arguments), env=environment)
        finally:
            get_settings.cache_clear()

    return await asyncio.to_thread(invoke)
