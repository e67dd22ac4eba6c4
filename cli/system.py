"""The whole system on one machine: which parts run here, with which settings, started in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cli import embedded
from cli.engines import (
    CONFIGURATION,
    EngineKind,
    Link,
    engine_answers,
    find_iii,
    iii_environment,
    look,
    wait_for_ports,
)
from cli.env_file import unread_notice
from cli.supervisor import (
    PATIENCE_SECONDS,
    Program,
    StartFailed,
    Supervised,
    keep_answering,
    private,
)
from config import (
    PROJECT_ROOT,
    Settings,
    key_digest,
    load_settings,
    new_key,
    require_safe_access,
)
from sandbox.advoware.credentials import DEFAULT_CREDENTIALS
from sandbox.espocrm.access import ADMIN_ID
from services.core.twins import TWIN_NAMES, require_twins
from services.takeover.signs import notices_at_start

WORKER_READY_SECONDS = 60.0
#: Below the folder of all local data: with what one logs in to the board where no operators are configured.
BOARD_KEY = "board-key"
#: What we keep in the folder of all local data, beside PostgreSQL's own.
OWN_ENTRIES = (BOARD_KEY, "environment", "iii", "log", "redis", "twins", "up.lock")
ESPOCRM_TWIN_KEY = "espocrm-demo-key"
#: Let glibc give memory back: one heap for all threads, and limits that do not grow with what was once allocated.
MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
}
TRIAL_NOTICE = "trial (BITBYLAW_TRIAL): a real system may run beside a twin; never with data that matter"


@dataclass(frozen=True)
class Ports:
    """Ports on this machine; 0 takes a free one."""

    http: int = 3111
    worker: int = 49134
    advoware: int = 4010
    espocrm: int = 4020
    google: int = 4030
    board: int = 3113

    def __post_init__(self) -> None:
        chosen = [port for port in vars(self).values() if port]
        if len(chosen) != len(set(chosen)):
            raise StartFailed("Two of the chosen ports are the same.")


PORT_NAMES = {
    "http": ("HTTP", "BITBYLAW_HTTP_PORT"),
    "worker": ("engine's worker port", "BITBYLAW_WORKER_PORT"),
    "advoware": ("Advoware twin", "BITBYLAW_ADVOWARE_TWIN_PORT"),
    "espocrm": ("EspoCRM twin", "BITBYLAW_ESPOCRM_TWIN_PORT"),
    "google": ("Google twin", "BITBYLAW_GOOGLE_TWIN_PORT"),
    "board": ("board", "BITBYLAW_BOARD_PORT"),
}


@dataclass
class System:
    """A running system."""

    settings: Settings
    http_url: str
    twins: dict[str, str]  #: name -> base URL of the twins that run here
    processes: dict[str, Supervised]
    data: Path
    board_url: str = ""


@asynccontextmanager
async def running_system(
    data: Path,
    ports: Ports,
    env_file: Path | None,
    *,
    on_event: Callable[[str], None],
    overrides: Mapping[str, str] | None = None,
    engine: EngineKind = EngineKind.EMBEDDED,
    patience: float = PATIENCE_SECONDS,
) -> AsyncIterator[System]:
    """Start everything that is not configured to be elsewhere, in order; stop it in reverse order.

    ``on_event`` is notified of what happens, one line at a time. ``engine`` says which engine to run. ``overrides`` has
    the last word on single settings, also over what is found out here (the twins' addresses, for example). A part that
    has not answered for ``patience`` seconds is started again like one that has died.

    Raises:
        StartFailed, ConfigurationError: something cannot start; the message says what and what to do.
    """
    iii = find_iii() if engine is EngineKind.III else None
    requested = dict(overrides or {})
    settings = load_settings(requested, env_file=env_file)
    needed = needed_twins(settings)
    await check_access(settings, started_here=needed)
    found: dict[str, str] = {}

    async with AsyncExitStack() as stack:
        _claim(data, stack)
        ports = _fixed_ports(ports)
        _require_free_ports(_ports_to_open(ports, needed))
        parts = _Parts(data, stack, on_event, patience)

        on_event("starting PostgreSQL and Redis")
        for name in needed:
            on_event(f"starting the {PORT_NAMES[name][0]}")
        # At the same time: each is busy with its imports for most of it.
        engine_database, twins = await _all_of(
            _start_stores(settings, data, stack, found, on_event, patience),
            _start_twins(parts, needed, ports, data),
        )
        for name, url in twins.items():
            found |= _twin_settings(name, url, data)
        parts.watch_twins(twins.values())
        on_event("starting the engine")
        http_url = await _start_engine(parts, iii, ports, data, engine_database)
        found |= _local_settings(settings, ports, data, twins)
        settings = load_settings(found | requested, env_file=env_file)
        await check_access(settings)
        of_old_system = await notices_at_start(settings)
        for notice in (*of_old_system, *unread_notice(settings, env_file)):
            on_event(notice)
        _leave_settings(settings, data)
        on_event("starting the board")
        on_event("starting the worker")
        board, _ = await _all_of(
            parts.run(_board_program(settings)),
            parts.run(worker_program(settings)),
        )
        board_url = board["url"]
        parts.watch_http("board", f"{board_url}healthz")
        system = System(settings, http_url, twins, parts.processes, data, board_url)
        await _wait_until_connected(system)
        parts.watch("worker", partial(_worker_answers, http_url))
        yield system
        on_event("stopping")


class _Parts:
    """The processes of a system: started, watched, and stopped when the stack is left."""

    def __init__(
        self,
        data: Path,
        stack: AsyncExitStack,
        on_event: Callable[[str], None],
        patience: float,
    ) -> None:
        self.processes: dict[str, Supervised] = {}
        self._logs = data / "log"
        self._stack = stack
        self._on_event = on_event
        self._patience = patience

    async def run(self, program: Program) -> dict[str, Any]:
        """Start one; returns what it reports when it is ready."""
        supervised = Supervised(program, self._logs, on_event=self._on_event)
        self.processes[program.name] = supervised
        self._stack.push_async_callback(supervised.stop)
        return await supervised.start()

    def watch(self, name: str, answers: Callable[[], Awaitable[bool]]) -> None:
        """Start one again that has not answered for too long."""
        process = self.processes[name]
        task = asyncio.create_task(keep_answering(process, answers, self._patience))
        self._stack.callback(task.cancel)

    def watch_http(self, name: str, url: str) -> None:
        """Watch one that answers HTTP requests."""
        self.watch(name, partial(engine_answers, url))

    def watch_twins(self, urls: Collection[str]) -> None:
        """Watch the twins, all of which are one process."""
        if urls:
            self.watch("twins", partial(_twins_answer, list(urls)))


def _ports_to_open(ports: Ports, twins: list[str]) -> dict[str, int]:
    """The ports of the parts that run here."""
    chosen = {"http": ports.http, "worker": ports.worker, "board": ports.board}
    for name in twins:
        chosen[name] = getattr(ports, name)
    return chosen


async def _start_engine(
    parts: _Parts,
    iii: str | None,
    ports: Ports,
    data: Path,
    database: str,
) -> str:
    """Start the engine and wait until both its ports answer; returns its HTTP address."""
    await parts.run(_engine_program(iii, ports, data, database))
    await wait_for_ports(ports.http, ports.worker, log=data / "log" / "engine.log")
    http_url = f"http://127.0.0.1:{ports.http}"
    parts.watch_http("engine", http_url)
    return http_url


async def _all_of(*starts: Coroutine[Any, Any, Any]) -> list[Any]:
    """What all of them return. If one fails, the others are waited for, so that everything that runs is stopped again.

    Raises: what the first one that failed has raised.
    """
    results = await asyncio.gather(*starts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _fixed_ports(ports: Ports) -> Ports:
    """With a number for each that is free to choose: a process that is started again must be found where it was."""
    chosen = vars(ports).values()
    numbers = {}
    for name, port in vars(ports).items():
        numbers[name] = port or embedded.free_port(chosen)
    return Ports(**numbers)


def _local_settings(
    settings: Settings,
    ports: Ports,
    data: Path,
    twins: Mapping[str, str],
) -> dict[str, str]:
    """Where things are on this machine, and an operator of the board if none is configured."""
    twin_origins = [*settings.service.twin_origins, *twins.values()]
    found = {
        "LOG_DIRECTORY": str(data / "log"),
        "III_URL": f"ws://127.0.0.1:{ports.worker}",
        "BITBYLAW_TWINS": ",".join(twin_origins),
        "BITBYLAW_BOARD_PORT": str(ports.board),
    }
    if not settings.board.operator_keys:
        found["BITBYLAW_BOARD_OPERATORS"] = _local_operator(data)
    return found


def _leave_settings(settings: Settings, data: Path) -> None:
    """Let the administrators' commands find this system: ``BITBYLAW_ENV_FILE=<data>/environment bitbylaw audit ...``.

    The file holds secrets, so only its owner may read it.
    """
    lines = []
    for name, value in _set_variables(settings):
        quoted = value.replace("'", "\\'")
        lines.append(f"{name}='{quoted}'\n")
    path = data / "environment"
    with open(path, "w", opener=private) as file:
        file.writelines(lines)


def _set_variables(settings: Settings) -> list[tuple[str, str]]:
    variables = settings.environment()
    return [(name, value) for name, value in variables.items() if value]


def _engine_program(
    iii: str | None,
    ports: Ports,
    data: Path,
    database: str,
) -> Program:
    """The real engine at this path, or the embedded one."""
    if iii is not None:
        environment = {
            **_base_environment(),
            **iii_environment(ports.http, ports.worker, data),
        }
        return Program(
            "engine",
            [iii, "--config", str(CONFIGURATION)],
            environment,
            says_ready=False,
        )
    arguments = ["--http-port", str(ports.http), "--ws-port", str(ports.worker)]
    # The database's address may contain a password, so it goes where no list of processes shows it.
    environment = {**_base_environment(), "ENGINE_DATABASE_URL": database}
    return Program("engine", _python("local_engine", *arguments), environment)


def needed_twins(settings: Settings) -> list[str]:
    """The foreign systems without credentials: their twins run here.

    Google's does not beside a real Advoware and EspoCRM: real appointments have no place in a twin, except in a trial.
    """
    missing = [
        name
        for system, name in TWIN_NAMES.items()
        if system not in settings.foreign_systems
    ]
    if missing == ["google"] and settings.real_systems and not settings.service.trial:
        return []
    return missing


async def check_access(settings: Settings, *, started_here: Sequence[str] = ()) -> None:
    """Refuse to start without keys in front of a real system, or with a real system beside a twin.

    ``started_here`` are the twins that are about to be started.

    Raises:
        ConfigurationError: names the variables to set.
    """
    require_safe_access(
        settings,
        with_twins=[
            system for system, name in TWIN_NAMES.items() if name in started_here
        ],
    )
    await require_twins(settings)


def _claim(data: Path, stack: AsyncExitStack) -> None:
    """Make sure that no other run uses the same data."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = private(str(data / "up.lock"), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StartFailed(
            f"The directory {data} cannot be used: {error.strerror}",
        ) from None
    stack.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise StartFailed(
            f"The system is running already on the data in {data}. Stop that run first (Ctrl-C).",
        ) from None
    _make_private(data)


def _make_private(data: Path) -> None:
    """Close what belongs to us to others, also what earlier versions left open; PostgreSQL sees to its own folder."""
    for name in OWN_ENTRIES:
        entry = data / name
        if not entry.exists():
            continue
        for path in (entry, *entry.rglob("*")):
            with suppress(PermissionError):  # it belongs to another user
                mode = 0o700 if path.is_dir() else 0o600
                path.chmod(mode)


def _require_free_ports(ports: dict[str, int]) -> None:
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                label, variable = PORT_NAMES[name]
                raise StartFailed(
                    f"Port {port} ({label}) cannot be used: {error.strerror}. "
                    f"Choose another one, for example: {variable}={embedded.free_port()} make up",
                ) from None


async def _start_twins(
    parts: _Parts,
    names: Sequence[str],
    ports: Ports,
    data: Path,
) -> dict[str, str]:
    """The base URL of each twin that has been started; all of them are one process."""
    if not names:
        return {}
    ready = await parts.run(_twins_program(names, ports, data))
    return dict(ready["urls"])


async def _start_stores(
    settings: Settings,
    data: Path,
    stack: AsyncExitStack,
    found: dict[str, str],
    on_event: Callable[[str], None],
    patience: float,
) -> str:
    """Start PostgreSQL and Redis unless the settings name others; returns the URL of the engine's database."""
    if "host" not in settings.redis.model_fields_set:
        redis = await stack.enter_async_context(
            embedded.redis(data / "redis", on_event, patience),
        )
        found |= {
            "REDIS_HOST": redis.host,
            "REDIS_PORT": str(redis.port),
            "REDIS_PASSWORD": redis.password,
        }
    if "host" in settings.postgres.model_fields_set:
        # Here, because it costs 6 MB, and few have a PostgreSQL of their own.
        from psycopg.conninfo import make_conninfo

        given = settings.postgres
        return make_conninfo(
            host=given.host,
            port=given.port,
            user=given.user,
            password=given.password.get_secret_value() if given.password else None,
            dbname=given.db_name,
        )
    postgres = await stack.enter_async_context(
        embedded.postgres(data / "postgres", on_event, patience),
    )
    found |= {
        "POSTGRES_HOST": postgres.host,
        "POSTGRES_PORT": "5432",
        "POSTGRES_USER": postgres.user,
    }
    found["POSTGRES_DB_NAME"] = embedded.DATABASES[0]
    return postgres.url(embedded.DATABASES[1])


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _base_environment() -> dict[str, str]:
    # websockets would send even connections on this machine through a proxy
    return {
        **MEMORY,
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _environment(settings: Settings) -> dict[str, str]:
    """The worker's environment. It reads no file of its own; the SDK's telemetry knows only ``III_BRIDGE_URL``."""
    return {
        **_base_environment(),
        **settings.environment(),
        "III_BRIDGE_URL": settings.engine.url,
        "OTEL_SERVICE_NAME": "bitbylaw",
        "BITBYLAW_ENV_FILE": "",
        "PYTHONPATH": str(PROJECT_ROOT),
    }


def worker_program(settings: Settings) -> Program:
    """The Motia worker with all steps, for the engine that the settings name."""
    return Program(
        "worker",
        _python("cli.motia_worker", "run", "--dir", "steps"),
        _environment(settings),
        says_ready=False,
    )


def _board_program(settings: Settings) -> Program:
    environment = {**_environment(settings), "OTEL_ENABLED": "false"}
    return Program("board", _python("cli.commands.board"), environment)


def _local_operator(data: Path) -> str:
    """The operator of a run without configured ones; his key lies in a file that only its owner may read."""
    path = data / BOARD_KEY
    if path.exists():
        key = path.read_text("ascii").strip()
        return f"local:repair:{key_digest(key)}"
    key, digest = new_key()
    with open(path, "w", opener=private) as file:
        file.write(f"{key}\n")
    return f"local:repair:{digest}"


def _twins_program(names: Sequence[str], ports: Ports, data: Path) -> Program:
    arguments = ["--folder", str(data / "twins")]
    for name in names:
        arguments += [f"--{name}", str(getattr(ports, name))]
    return Program("twins", _python("sandbox.twins", *arguments), _base_environment())


def _service_account_file(data: Path) -> Path:
    return data / "twins" / "google-service-account.json"


def _twin_settings(name: str, url: str, data: Path) -> dict[str, str]:
    if name == "espocrm":
        return {
            "ESPOCRM_API_BASE_URL": f"{url}/api/v1",
            "ESPOCRM_MARVIN_API_KEY": ESPOCRM_TWIN_KEY,
            "ESPOCRM_WEBHOOK_SECRETS": "",  # secrets of another EspoCRM
            "VMH_TASK_ASSIGNED_USER_ID": ADMIN_ID,
        }
    if name == "google":
        return {
            "GOOGLE_CALENDAR_API_ENDPOINT": url,
            "GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": str(_service_account_file(data)),
        }
    login = DEFAULT_CREDENTIALS
    return {
        "ADVOWARE_API_BASE_URL": url,
        "ADVOWARE_AUTH_URL": url,
        "ADVOWARE_CONFIGURATOR_URL": f"{url}/AdvonetConfigurator/api/Url",
        "ADVOWARE_PRODUCT_ID": str(login.product),
        "ADVOWARE_APP_ID": login.app_id,
        "ADVOWARE_API_KEY": login.api_key,
        "ADVOWARE_KANZLEI": login.kanzlei,
        "ADVOWARE_DATABASE": login.database,
        "ADVOWARE_USER": login.user,
        "ADVOWARE_ROLE": str(login.role),
        "ADVOWARE_PASSWORD": login.password,
    }


async def _twins_answer(urls: Sequence[str]) -> bool:
    """Whether all of them answer, on a path where no fault rule reaches."""
    looks = (engine_answers(f"{url}/__sandbox__") for url in urls)
    return all(await asyncio.gather(*looks))


async def _worker_answers(http_url: str) -> bool:
    """False if the worker does not answer although its engine does."""
    return await look(http_url) is not Link.LOST


async def _wait_until_connected(system: System) -> None:
    try:
        async with asyncio.timeout(WORKER_READY_SECONDS):
            while await look(system.http_url) is not Link.CONNECTED:
                await asyncio.sleep(0.2)
    except TimeoutError:
        log = system.data / "log" / "worker.log"
        raise StartFailed(
            f"The worker does not connect to the engine; see {log}",
        ) from None
