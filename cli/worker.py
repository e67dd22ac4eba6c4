"""`bitbylaw worker`: one worker in production, watched; it ends when it should be started again.

What starts it again is systemd or Docker. A dead worker is noticed by both; one that lives on without its engine
only by us: the SDK never reconnects after certain close codes, and the real engine forgets the steps of a worker whose
older connection ends late.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from typing import Annotated

import typer

from cli.engines import Link, look
from cli.env_file import unread_notice
from cli.supervisor import stop_process
from cli.system import TRIAL_NOTICE, check_access, worker_program
from config import (
    PROJECT_ROOT,
    ConfigurationError,
    Settings,
    default_env_file,
    load_settings,
)
from services.takeover.signs import notices_at_start

LOOK_SECONDS = 5.0
#: Longer than the worker's own pauses between attempts to reconnect (at most 39 s).
PATIENCE_SECONDS = 60.0
#: For the first connection, and for the one after the engine has come back.
START_SECONDS = 60.0
#: systemd and Docker give us 30 s.
STOP_SECONDS = 20.0


def worker(
    engine_url: Annotated[
        str,
        typer.Option(
            envvar="BITBYLAW_ENGINE_HTTP_URL",
            help="HTTP address of the engine that III_URL names",
        ),
    ] = "http://127.0.0.1:3111",
    patience: Annotated[
        float,
        typer.Option(help="seconds that the worker may be without its engine"),
    ] = (PATIENCE_SECONDS),
    check: Annotated[
        bool,
        typer.Option("--check", help="only look whether the worker is connected"),
    ] = False,
) -> None:
    """Run one worker for an engine elsewhere; ends when it has to be started again (systemd and Docker do that).

    Exit status: 0 after SIGTERM or SIGINT, 1 when the worker ended or lost its engine. With --check: 0 if connected.
    """
    if check:
        link = asyncio.run(look(engine_url))
        _say(link.value)
        raise typer.Exit(0 if link is Link.CONNECTED else 1)
    try:
        env_file = default_env_file()
        settings = load_settings(env_file=env_file)
        asyncio.run(check_access(settings))
        of_old_system = asyncio.run(notices_at_start(settings))
        for notice in (*of_old_system, *unread_notice(settings, env_file)):
            _say(notice)
    except ConfigurationError as error:
        _say(str(error))
        raise typer.Exit(1) from None
    if settings.mode == "trial":
        _say(TRIAL_NOTICE)
    raise typer.Exit(asyncio.run(_run(settings, engine_url, patience)))


async def _run(settings: Settings, engine_url: str, patience: float) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    program = worker_program(settings)
    process = await asyncio.create_subprocess_exec(
        *program.arguments,
        cwd=PROJECT_ROOT,
        env=dict(program.environment),
        start_new_session=True,  # Ctrl-C reaches us alone; we stop it in order
    )
    asked = asyncio.create_task(stopped.wait())
    died = asyncio.create_task(process.wait())
    lost = asyncio.create_task(_watch(engine_url, patience))
    try:
        await asyncio.wait({asked, died, lost}, return_when=asyncio.FIRST_COMPLETED)
        if died.done():
            _say(f"the worker ended with status {died.result()}")
        elif lost.done():
            _say(
                f"the worker has been without its engine for more than {patience:g} s; to be started again",
            )
        if asked.done():
            return 0
        return 1
    finally:
        for task in (asked, lost):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await stop_process(process, seconds=STOP_SECONDS)


async def _watch(engine_url: str, patience: float) -> None:
    """Return when the worker has been without its engine for so long, although the engine was there."""
    grace = max(patience, START_SECONDS)
    interval = min(LOOK_SECONDS, patience / 4)
    give_up_at = time.monotonic() + grace
    known: Link | None = None
    while time.monotonic() < give_up_at:
        await asyncio.sleep(interval)
        link = await look(engine_url)
        if link is Link.CONNECTED:
            give_up_at = time.monotonic() + patience
        elif link is Link.ENGINE_AWAY:
            give_up_at = time.monotonic() + grace
        if link is not known:
            known = link
            _say(link.value)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
