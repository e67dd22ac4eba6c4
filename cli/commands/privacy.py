"""``bitbylaw privacy ...``: what is held about a person, and its erasure (docs/data-protection.md)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from cli.commands import service

Who = Annotated[
    str,
    typer.Argument(metavar="BETNR|ID", help="number in Advoware, or id in EspoCRM"),
]

app = typer.Typer(
    no_args_is_help=True,
    help="What is held about a person, and its erasure.",
)


@app.command("export")
def export_command(
    who: Who,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="write BETNR|ID.json and .txt there instead"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print JSON instead of text"),
    ] = False,
) -> None:
    """All that is held about a person: tables, queue, Redis, logs. The output is about one person: keep it so."""
    from services.privacy.holdings import as_text, export

    holdings = service.run_with_logs(
        lambda resources, logs: export(resources, who, logs),
    )
    document = json.dumps(holdings, indent=2, ensure_ascii=False, default=str)
    text = as_text(holdings)
    if folder is None:
        typer.echo(document if as_json else text)
        return
    folder.mkdir(parents=True, exist_ok=True)
    json_file = folder / f"{who}.json"
    text_file = folder / f"{who}.txt"
    _write(json_file, document)
    _write(text_file, text)
    service.console.print(f"written: {json_file}, {text_file}")


@app.command("erase")
def erase_command(
    who: Who,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="really erase; without it: show the counts"),
    ] = False,
) -> None:
    """Erase the values that are held about a person. Facts and keyed hashes stay; both systems are left alone.

    Erase in EspoCRM and Advoware first: what they still show is what the next sync holds again.
    """
    from services.privacy.erase import erase

    counts = service.run_with_logs(
        lambda resources, logs: erase(resources, who, logs, apply=apply),
    )
    for what, number in counts.items():
        service.console.print(f"  {what}: {number}")
    places = sum(counts.values())
    verb = "erased" if apply else "would be erased"
    service.console.print(f"{verb}: values in {places} places")


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    descriptor = os.open(path, flags, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(f"{text}\n")
