"""Command line: ``python -m local_engine --database-url URL``; ``--help`` lists the other options.

Prints one line of JSON to stdout when ready: ``{"ready": "engine", "http": URL, "ws": URL}``; logs go to stderr. Exit
status: 0 after SIGTERM or SIGINT, 2 for a taken port, 3 for an unusable database or one that another engine took over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys

from local_engine.connections import DEFAULT_LIMITS, Limits, allow_files
from local_engine.errors import DatabaseStartupError, StartupError
from local_engine.http_port.api import DEFAULT_TIMEOUT
from local_engine.http_port.bodies import BODY_SECONDS
from local_engine.logs import configure_logging
from local_engine.server import Engine


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m local_engine",
        description="Embedded engine for Motia workers",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address of the HTTP port (default %(default)s); the worker port is open on this machine only",
    )
    parser.add_argument(
        "--http-port",
        type=int,
        default=3111,
        help="HTTP port, 0 for a free one (default %(default)s)",
    )
    parser.add_argument(
        "--ws-port",
        type=int,
        default=49134,
        help="worker port, 0 for a free one (default %(default)s)",
    )
    parser.add_argument(
        "--database-url",
        default=os.environ.get("ENGINE_DATABASE_URL"),
        help="PostgreSQL URL or conninfo of the engine's database (default: ENGINE_DATABASE_URL)",
    )
    parser.add_argument(
        "--http-timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        help="seconds until 504 (default %(default)s)",
    )
    _add_limits(parser)
    parsed = parser.parse_args(arguments)
    if not parsed.database_url:
        parser.error("--database-url or ENGINE_DATABASE_URL is required")
    return parsed


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What a client may take; see `Limits`."""
    defaults = DEFAULT_LIMITS
    parser.add_argument(
        "--max-connections",
        type=int,
        default=defaults.connections,
        help="open connections on each port (default %(default)s)",
    )
    for option, default, meaning in (
        ("--head-seconds", defaults.head_seconds, "for the headers of a request"),
        ("--body-seconds", BODY_SECONDS, "for the body of a request"),
        ("--idle-seconds", defaults.idle_seconds, "between two requests"),
    ):
        parser.add_argument(
            option,
            type=float,
            default=default,
            help=f"seconds {meaning} (default %(default)s)",
        )


async def run(arguments: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT. Raises StartupError."""
    limits = Limits(
        arguments.max_connections,
        arguments.head_seconds,
        arguments.idle_seconds,
    )
    engine = Engine(
        arguments.database_url,
        host=arguments.host,
        http_port=arguments.http_port,
        ws_port=arguments.ws_port,
        http_timeout=arguments.http_timeout,
        body_seconds=arguments.body_seconds,
        limits=allow_files(limits),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.stopping.set)
    async with engine.running():
        ready = {"ready": "engine", "http": engine.http_url, "ws": engine.ws_url}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await engine.stopping.wait()
    if engine.failure is not None:
        raise DatabaseStartupError(engine.failure)


def main() -> int:
    """Entry point; returns the exit status."""
    arguments = parse_arguments()
    configure_logging()
    try:
        asyncio.run(run(arguments))
    except StartupError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
