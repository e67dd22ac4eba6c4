"""``bitbylaw board`` serves the operators' board; ``bitbylaw board-key`` makes a key for an operator."""

from __future__ import annotations

import asyncio
import json
import signal
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from config import ConfigurationError, get_settings, new_key

console = Console(highlight=False, soft_wrap=True)


class Role(StrEnum):
    """What the holder of a key may do."""

    VIEW = "view"
    REPAIR = "repair"


def board() -> None:
    """Serve the operators' board until it is stopped. It may be stopped and started at any time.

    Where it listens and who may log in: BITBYLAW_BOARD_ in .env. When it can be used it prints one line of JSON.
    """
    from board.app import serve

    try:
        settings = get_settings()
        asyncio.run(_until_stopped(serve(settings, _say_ready)))
    except ConfigurationError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from None
    except OSError as error:
        console.print(f"[red]The board cannot listen: {error.strerror}[/red]")
        raise typer.Exit(1) from None


def _say_ready(url: str) -> None:
    typer.echo(json.dumps({"url": url}))


async def _until_stopped(work: object) -> None:
    assert asyncio.iscoroutine(work)  # noqa: S101 - narrows the type
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


def board_key(
    name: Annotated[str, typer.Argument(help="of the operator, as the audit shows it")],
    role: Annotated[
        Role,
        typer.Option("--role", help="repair: may also sync, redrive, discard"),
    ] = Role.VIEW,
) -> None:
    """Make a key for an operator: the key is shown once, the line for .env holds only its hash."""
    key, digest = new_key()
    console.print(f"key of {name}, shown only now: {key}", markup=False)
    console.print(
        f"append to BITBYLAW_BOARD_OPERATORS (comma-separated): {name}:{role}:{digest}",
        markup=False,
    )


if __name__ == "__main__":
    typer.run(board)  # for `bitbylaw up`, without the imports of the other commands
