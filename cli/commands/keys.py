"""``bitbylaw keys new`` makes a key for an internal tool, ``bitbylaw keys list`` says which there are."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from config import ConfigurationError, get_settings, named_key, new_key

app = typer.Typer(no_args_is_help=True, help="Keys of internal tools.")
console = Console(highlight=False, soft_wrap=True)
VARIABLE = "BITBYLAW_NAMED_KEYS"
RightsHelp = (
    "what it permits; may be given several times: all, calendar, nextcall, methods of the proxy such as GET or "
    "GET-PUT, or these below a path: GET-PUT@api/v1/advonet/Termine"
)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="of the tool, as logs show it")],
    rights: Annotated[list[str], typer.Option("--rights", help=RightsHelp)],
) -> None:
    """Make a key for a tool: the key is shown once, the line for .env holds only its hash."""
    key, digest = new_key()
    entry = f"{name}:{'+'.join(rights)}:{digest}"
    try:
        named_key(entry)
    except ValueError:
        console.print(
            f"[red]The name may have letters, digits and _.-; each of the rights is {RightsHelp}[/red]",
        )
        raise typer.Exit(1) from None
    console.print(f"key of {name}, shown only now: {key}", markup=False)
    console.print(f"append to {VARIABLE} (comma-separated): {entry}", markup=False)


@app.command("list")
def list_keys() -> None:
    """Name and rights of each key that is configured."""
    try:
        keys = get_settings().service.accepted_keys
    except ConfigurationError as error:
        console.print(f"[red]{error}[/red]", markup=True)
        raise typer.Exit(1) from None
    for key in keys:
        console.print(f"{key.name}: {' '.join(key.rights)}", markup=False)
    if not keys:
        console.print(f"{VARIABLE} is not set: every caller is admitted, to twins only")
