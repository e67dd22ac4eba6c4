"""The engines: the embedded one, or a real iii with the development configuration; and how to look at one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess  # nosec B404  # the configured engine is asked for its version
from collections.abc import Mapping
from enum import Enum, StrEnum
from pathlib import Path

import aiohttp

from cli.supervisor import ANSWER_SECONDS, StartFailed, wait_until_listening
from config import PROJECT_ROOT

#: The engines that understand this worker: v0.11.0 renames what the queue steps call and listen to.
OLDEST = (0, 8, 3)
TOO_NEW = (0, 11, 0)
CONFIGURATION = PROJECT_ROOT / "iii-config.yaml"
START_SECONDS = 20.0
#: The worker asks every dependency.
HEALTH_SECONDS = 10.0


class EngineKind(StrEnum):
    """Which engine runs the steps."""

    EMBEDDED = "embedded"
    III = "iii"


#: A path that no step has.
NOWHERE = "/-/is-the-engine-there"


class Link(Enum):
    """What a look at GET /health, through engine and worker, has shown."""

    CONNECTED = "connected"
    LOST = "the engine is there, the worker does not answer"
    ENGINE_AWAY = "the engine is away"


async def look(engine_url: str) -> Link:
    """Ask for GET /health once. A store that is down is no fault of the connection.

    Only the body shows it: the real engine has answered with and without a content type, and its own errors are JSON
    too.
    """
    body = await _ask(f"{engine_url}/health", HEALTH_SECONDS)
    if _is_health(body):
        return Link.CONNECTED
    if body is None and not await engine_answers(engine_url):
        return Link.ENGINE_AWAY  # the worker reconnects by itself once it is back
    return Link.LOST


async def engine_answers(engine_url: str) -> bool:
    """Whether an engine answers at all, for a path that leads to no worker."""
    return await _ask(f"{engine_url}{NOWHERE}", ANSWER_SECONDS) is not None


async def _ask(url: str, seconds: float) -> bytes | None:
    """The body of an answer, whatever its status; None without an answer in time."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as response,
        ):
            return await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _is_health(body: bytes | None) -> bool:
    try:
        report = json.loads(body or b"null")
    except ValueError:
        return False
    return isinstance(report, dict) and "dependencies" in report


def find_iii() -> str:
    """The path of the real engine: ``III_ENGINE_BIN``, or `iii` on PATH.

    Raises:
        StartFailed: there is none, or it is of a version that cannot run these steps.
    """
    named = os.environ.get("III_ENGINE_BIN") or "iii"
    path = shutil.which(named)
    if path is None:
        raise StartFailed(
            f"There is no engine {named!r}. Put iii v0.10.0 on PATH, or name it: III_ENGINE_BIN=...",
        )
    try:
        answer = subprocess.run(  # noqa: S603 - the engine that was configured
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        version = tuple(
            int(part) for part in answer.stdout.strip().split("-")[0].split(".")
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        raise StartFailed(
            f"{path} does not say its version, so it is no iii engine",
        ) from None
    if not OLDEST <= version < TOO_NEW:
        raise StartFailed(
            f"{path} is version {answer.stdout.strip()}; these steps need 0.8.3 to 0.10.x, best 0.10.0",
        )
    return path


def iii_environment(http_port: int, worker_port: int, data: Path) -> Mapping[str, str]:
    """What the development configuration leaves open."""
    return {
        "BITBYLAW_HTTP_PORT": str(http_port),
        "BITBYLAW_WORKER_PORT": str(worker_port),
        "BITBYLAW_DATA": str(data.resolve()),
    }


async def wait_for_ports(*ports: int, log: Path) -> None:
    """Wait until an engine listens.

    Raises:
        StartFailed: it does not; names the log.
    """
    try:
        async with asyncio.timeout(START_SECONDS):
            for port in ports:
                await wait_until_listening(port, START_SECONDS)
    except TimeoutError:
        raise StartFailed(f"The engine does not start; see {log}") from None
