"""Command line of BitByLaw."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import aiohttp
import asyncpg
import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.commands.backup import backup, restore
from cli.commands.board import board, board_key
from cli.commands.espocrm import app as espocrm_app
from cli.commands.espocrm import doctor
from cli.commands.keys import app as keys_app
from cli.commands.logs import logs
from cli.commands.operate import queue_app, release, retry, status, sync
from cli.commands.pause import pause, resume
from cli.commands.preview import app as preview_app
from cli.commands.privacy import app as privacy_app
from cli.commands.takeover import app as takeover_app
from cli.commands.undo import undo
from cli.demo import Demo, audit_rows, open_audit
from cli.engines import EngineKind
from cli.supervisor import StartFailed
from cli.system import BOARD_KEY, TRIAL_NOTICE, Ports, System, running_system
from cli.worker import worker
from config import PROJECT_ROOT, ConfigurationError, default_env_file

TABLE_ROWS = 14
REFRESH_SECONDS = 0.5
DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
PLAY_ERRORS = (aiohttp.ClientError, *DATABASE_ERRORS)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    help="BitByLaw: EspoCRM, Advoware and Google Calendar in step.",
)
console = Console()


def _load_commands(path: Path) -> typer.Typer:
    """The commands of a file below `steps/`, which is no package. It imports what it needs when a command runs."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 - narrows the type
    assert spec.loader is not None  # noqa: S101 - narrows the type
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    commands: typer.Typer = module.app
    return commands


app.add_typer(
    _load_commands(
        PROJECT_ROOT / "steps" / "advoware_cal_sync" / "audit_calendar_sync.py",
    ),
    name="audit",
)
app.add_typer(espocrm_app, name="espocrm")
app.add_typer(keys_app, name="keys")
app.add_typer(preview_app, name="preview")
app.add_typer(takeover_app, name="takeover")
app.add_typer(privacy_app, name="privacy")
app.command()(doctor)
app.command()(logs)
app.command()(pause)
app.command()(resume)
app.command()(worker)
app.command()(undo)
app.command()(backup)
app.command()(restore)
app.command()(board)
app.command("board-key")(board_key)
app.command()(status)
app.add_typer(queue_app, name="queue")
for _command in (retry, sync, release):
    app.command()(_command)


@app.command()
def up(
    check: Annotated[
        bool,
        typer.Option("--check", help="verify the sample flow on fresh data and stop"),
    ] = False,
    http_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_HTTP_PORT"),
    ] = Ports.http,
    worker_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_WORKER_PORT"),
    ] = Ports.worker,
    advoware_twin_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_ADVOWARE_TWIN_PORT"),
    ] = Ports.advoware,
    espocrm_twin_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_ESPOCRM_TWIN_PORT"),
    ] = Ports.espocrm,
    google_twin_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_GOOGLE_TWIN_PORT"),
    ] = Ports.google,
    board_port: Annotated[
        int,
        typer.Option(min=0, max=65535, envvar="BITBYLAW_BOARD_PORT"),
    ] = Ports.board,
    data: Annotated[
        Path,
        typer.Option(envvar="BITBYLAW_DATA", help="directory of all local data"),
    ] = PROJECT_ROOT / ".local",
    engine: Annotated[
        EngineKind,
        typer.Option(
            help="iii: the real engine named by III_ENGINE_BIN, or found on PATH",
        ),
    ] = EngineKind.EMBEDDED,
) -> None:
    """Run the whole system on this machine until Ctrl-C. Systems without credentials in .env are replaced by twins.

    With --check: free ports and a fresh directory, so that it disturbs no running system; exit status 0 or 1.
    """
    scratch = Path(tempfile.mkdtemp(prefix="bitbylaw-check-")) if check else None
    try:
        ports = (
            Ports(0, 0, 0, 0, 0, 0)
            if check
            else Ports(
                http_port,
                worker_port,
                advoware_twin_port,
                espocrm_twin_port,
                google_twin_port,
                board_port,
            )
        )
        failed = asyncio.run(_run(scratch or data, ports, engine, check=check))
    except (StartFailed, ConfigurationError) as error:
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    if failed:
        raise typer.Exit(1)


async def _run(data: Path, ports: Ports, engine: EngineKind, *, check: bool) -> bool:
    """Run until a signal, or through the check; True if the check found something."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - narrows the type

    def stop() -> None:
        # While starting there is nothing that waits for the event: cancel what is under way.
        if started:
            stopped.set()
        else:
            main.cancel()

    started = False
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with running_system(
            data,
            ports,
            default_env_file(),
            on_event=_say,
            engine=engine,
        ) as system:
            started = True
            return await _use(system, stopped, check=check)
    except asyncio.CancelledError:
        if started:
            raise
        _say("interrupted")
        return True


async def _use(system: System, stopped: asyncio.Event, *, check: bool) -> bool:
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        await open_audit(system) as audit,
    ):
        _print_addresses(system)
        demo = Demo(system, session, audit) if _is_all_invented(system) else None
        if demo is not None:
            await demo.install_webhooks()
        if check:
            return await _check(demo, audit)
        playing = None
        if demo is None:
            _say("real systems are configured: the sample flow is not played")
        elif await demo.was_played():
            _say("resumed with the data of the last run")
        else:
            playing = asyncio.create_task(_play(demo))
        try:
            await _show_table(audit, stopped, is_trial=system.settings.mode == "trial")
        finally:
            if playing is not None:
                playing.cancel()
    return False


def _is_all_invented(system: System) -> bool:
    """Whether the sample flow reaches nothing but twins that run here."""
    return (
        not system.settings.real_systems
        and {"espocrm", "advoware"} <= system.twins.keys()
    )


async def _play(demo: Demo) -> None:
    try:
        await demo.play()
    except PLAY_ERRORS as error:
        _say(f"the sample flow did not come to its end: {_describe(error)}")


def _describe(error: Exception) -> str:
    """An error without the query of its URL, which may carry the webhook token."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} for {error.request_info.url.path}"
    return type(error).__name__


async def _check(demo: Demo | None, audit: asyncpg.Pool) -> bool:
    if demo is None:
        _say(
            "check: refused, because it would write invented people into the configured systems; see GET /health",
        )
        return True
    problems = []
    try:
        await demo.play()
    except PLAY_ERRORS as error:
        problems.append(f"the sample flow did not come to its end: {_describe(error)}")
    problems += await demo.problems()
    console.print(_table(await audit_rows(audit)))
    for problem in problems:
        console.print(f"[red]{problem}[/red]", highlight=False)
    console.print(
        "[red]check: failed[/red]" if problems else "[green]check: ok[/green]",
    )
    return bool(problems)


async def _show_table(
    audit: asyncpg.Pool,
    stopped: asyncio.Event,
    *,
    is_trial: bool,
) -> None:
    """A table of the latest syncs that keeps itself up to date; plain lines where there is no terminal."""
    latest = await audit.fetchval("SELECT coalesce(max(audit_id), 0) FROM sync_audit")
    rows = await audit_rows(audit, after=max(0, latest - TABLE_ROWS))
    title = "Trial: what was synced" if is_trial else "What was synced"
    live = (
        Live(_table(rows, title), console=console, auto_refresh=False)
        if console.is_terminal
        else None
    )
    with live or _Lines() as view:
        while not stopped.is_set():
            try:
                new = await audit_rows(audit, after=rows[-1]["audit_id"] if rows else 0)
            except DATABASE_ERRORS:
                new = []  # PostgreSQL is being started again
            if new:
                rows = [*rows, *new][-TABLE_ROWS:]
                if isinstance(view, Live):
                    view.update(_table(rows, title), refresh=True)
                else:
                    view.add(new)
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await stopped.wait()
            except TimeoutError:
                continue


class _Lines:
    """The table without a terminal: one line per sync."""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to restore."""

    def add(self, rows: list[asyncpg.Record]) -> None:
        for row in rows:
            _say("  ".join([*_cells(row), row["error"] or ""]))


def _cells(row: asyncpg.Record) -> list[str]:
    return [
        f"{row['at'].astimezone():%H:%M:%S}",
        row["entity_id"],
        row["topic"],
        row["result"],
        row["advoware_id"] or "-",
        f"{row['duration_ms']:.0f}",
    ]


def _table(rows: list[asyncpg.Record], title: str = "What was synced") -> Table:
    table = Table(
        title=title,
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("time", "record", "topic", "result", "Advoware"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ms", justify="right")
    for row in rows:
        table.add_row(*_cells(row), style="red" if row["error"] else None)
    failed = next((row for row in reversed(rows) if row["error"]), None)
    if failed is not None:
        table.caption = Text(f"{failed['entity_id']}: {failed['error']}", style="red")
    return table


def _print_addresses(system: System) -> None:
    table = Table(box=None, show_header=False)
    hint = f"to repair, log in with the key in {system.data / BOARD_KEY}"
    table.add_row("board", f"{system.board_url} ({hint})")
    table.add_row(
        "HTTP",
        f"{system.http_url}/health, /hello, /advoware/proxy?endpoint=api/v1/advonet/Mitarbeiter",
    )
    for name, url in system.twins.items():
        table.add_row(f"{name} twin", f"{url}/__sandbox__/state, .../journal")
    table.add_row("logs", str(system.data / "log"))
    console.print(table)
    if system.settings.mode == "trial":
        _say(TRIAL_NOTICE)
    console.print(
        "Ctrl-C stops everything and keeps the data. README.md says what to try meanwhile.",
        highlight=False,
    )


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
