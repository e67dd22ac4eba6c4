"""``bitbylaw backup`` and ``bitbylaw restore`` of what cannot be rebuilt (docs/operations.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import embedded
from cli.commands import service
from config import Settings, default_env_file, load_settings

Folder = Annotated[Path, typer.Argument(help="of the backup")]


def backup(folder: Folder) -> None:
    """Write a backup into a new folder; the system may run meanwhile. It holds personal data and hashes' key."""
    from services.backup import make_backup

    manifest = service.run(lambda resources: make_backup(resources, folder))
    _show(manifest)
    service.console.print(f"written: {folder}")


def restore(
    folder: Folder,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="really restore; without it: look"),
    ] = False,
    over_newer: Annotated[
        bool,
        typer.Option("--over-newer", help="lose what is younger than the backup"),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="of a stopped `make up`, whose PostgreSQL is used"),
    ] = None,
) -> None:
    """Restore a backup while BitByLaw is stopped. What both systems have done since is found again by the next runs."""
    found = service.guarded(
        lambda: asyncio.run(_restore(folder, data, apply=apply, over_newer=over_newer)),
    )
    _show(found.manifest)
    for name, number in found.newer.items():
        service.console.print(f"  younger than the backup in {name}: {number}")
    for entity_id in found.erase_again:
        service.console.print(
            f"  erased since, so erase again: bitbylaw privacy erase {entity_id} --apply",
        )
    service.console.print("restored" if found.applied else "would be restored")


async def _restore(folder: Path, data: Path | None, **options: Any) -> Any:
    from services.backup import restore_backup

    settings = load_settings(env_file=default_env_file())
    if data is None:
        return await restore_backup(settings, folder, **options)
    async with embedded.postgres(data / "postgres") as server:
        return await restore_backup(_in(settings, server), folder, **options)


def _in(settings: Settings, server: embedded.EmbeddedPostgres) -> Settings:
    found = {
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": server.user,
        "POSTGRES_DB_NAME": embedded.DATABASES[0],
    }
    return load_settings({**settings.environment(), **found})


def _show(manifest: Any) -> None:
    for name, table in manifest.tables.items():
        service.console.print(f"  {name}: {table['rows']}")
    made_at = manifest.made_at.astimezone()
    migration = manifest.migrations[-1]
    service.console.print(f"made {made_at:%d.%m.%Y %H:%M:%S}, migration {migration}")
