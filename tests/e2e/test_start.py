"""Starting says clearly what is in the way, and starts nothing that could do harm."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from outside import KEY, TRIAL, RealEspoCRM

from sandbox.advoware.credentials import DEFAULT_CREDENTIALS
from sandbox.control import running

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.xdist_group("processes"),
]

ROOT = Path(__file__).parents[2]
REAL_ADVOWARE = {
    "ADVOWARE_APP_ID": "app",
    "ADVOWARE_KANZLEI": "kanzlei",
    "ADVOWARE_API_BASE_URL": "https://advoware.example",
    "ADVOWARE_AUTH_URL": "https://advoware.example",
}
KEYS = {"BITBYLAW_API_KEYS": KEY, "ESPOCRM_WEBHOOK_TOKEN": KEY}


async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start the command; what it says is in its ``stdout``."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def printed(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait until it has printed that."""
    assert process.stdout is not None
    async with asyncio.timeout(90):
        while line := await process.stdout.readline():
            if text in line.decode():
                return
    raise AssertionError(f"it ended without saying {text!r}")


async def bitbylaw(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command; exit status and all it says."""
    process = await start(*arguments, **environment)
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@asynccontextmanager
async def started_by_hand(name: str) -> AsyncIterator[str]:
    """A twin as ``python -m sandbox.<name>.app`` starts it; its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"sandbox.{name}.app", "--port", "0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            yield json.loads(await process.stdout.readline())["url"]
    finally:
        process.terminate()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="session")
async def tunnel() -> AsyncIterator[str]:
    """A real EspoCRM at an address on this machine; its API base URL."""
    async with running(RealEspoCRM(empty=True)) as url:
        yield f"{url}/api/v1"


@pytest.mark.parametrize("command", ["up", "worker"])
@pytest.mark.parametrize(
    "real",
    [REAL_ADVOWARE, {"ESPOCRM_API_BASE_URL": "https://crm.example/api/v1"}, "tunnel"],
)
async def test_nothing_starts_without_keys_as_soon_as_one_system_is_real(
    command: str, real: dict[str, str] | str, tunnel: str, tmp_path: Path
) -> None:
    variables = {"ESPOCRM_API_BASE_URL": tunnel} if isinstance(real, str) else real
    data = tmp_path / "data"
    for trial in ({}, {"BITBYLAW_TRIAL": "true"}):
        status, output = await bitbylaw(
            command, **variables, **trial, BITBYLAW_DATA=str(data)
        )

        assert status == 1
        assert "BITBYLAW_API_KEYS: required" in output
        assert "ESPOCRM_WEBHOOK_TOKEN: required" in output
        assert "Traceback" not in output
    assert not data.exists()


async def test_a_real_system_is_not_mixed_with_a_twin_unless_it_is_called_a_trial(
    tunnel: str, tmp_path: Path
) -> None:
    for real in (
        REAL_ADVOWARE,
        {"ESPOCRM_API_BASE_URL": tunnel},
        {"GOOGLE_CALENDAR_SERVICE_ACCOUNT_PATH": "/a.json"},
    ):
        status, output = await bitbylaw(
            "up", **real, **KEYS, BITBYLAW_DATA=str(tmp_path / "data")
        )

        assert status == 1
        assert "BITBYLAW_TRIAL" in output
        assert "API_KEYS" not in output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_real_system_that_is_called_a_twin_is_found_out(
    command: str, tunnel: str, tmp_path: Path
) -> None:
    variables = {
        "ESPOCRM_API_BASE_URL": tunnel,
        "BITBYLAW_TWINS": tunnel,
        "BITBYLAW_DATA": str(tmp_path / "data"),
    }
    for keys in ({}, KEYS, TRIAL):
        status, output = await bitbylaw(command, **variables, **keys)

        assert status == 1
        assert (
            "BITBYLAW_TWINS: what answers at ESPOCRM_API_BASE_URL does not say that it is a twin"
            in output
        )
    assert not (tmp_path / "data").exists()


async def test_a_twin_that_does_not_run_or_stands_for_another_system_is_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        unused = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status, output = await bitbylaw(
            "worker", ESPOCRM_API_BASE_URL=unused, BITBYLAW_TWINS=unused
        )
    assert (status, "no one answers at ESPOCRM_API_BASE_URL" in output) == (1, True), (
        output
    )
    async with started_by_hand("advoware") as advoware:
        status, output = await bitbylaw(
            "worker", ESPOCRM_API_BASE_URL=advoware, BITBYLAW_TWINS=advoware
        )
    assert (status, "that it is a twin of EspoCRM" in output) == (1, True), output


async def test_a_worker_for_twins_started_by_hand_needs_no_keys() -> None:
    login = DEFAULT_CREDENTIALS
    async with (
        started_by_hand("advoware") as advoware,
        started_by_hand("espocrm") as espocrm,
    ):
        variables = {
            "ADVOWARE_APP_ID": login.app_id,
            "ADVOWARE_KANZLEI": login.kanzlei,
            "ADVOWARE_API_BASE_URL": advoware,
            "ADVOWARE_AUTH_URL": advoware,
            "ESPOCRM_API_BASE_URL": f"{espocrm}/api/v1",
            "III_URL": "ws://127.0.0.1:9",
            "BITBYLAW_ENGINE_HTTP_URL": "http://127.0.0.1:9",
        }
        process = await start(
            "worker",
            **variables,
            BITBYLAW_TWINS=f"{advoware},{espocrm}",
            BITBYLAW_READONLY="true",
        )
        await printed(process, "Nothing reads BITBYLAW_READONLY;")
        await printed(process, "the engine is away")  # that is, it was started
        process.terminate()
        assert await process.wait() == 0

        status, output = await bitbylaw("worker", **variables, BITBYLAW_TWINS=advoware)
    assert (
        status,
        "BITBYLAW_API_KEYS: required, because EspoCRM is real" in output,
    ) == (1, True), output


async def test_a_trial_says_that_it_is_one(tunnel: str, tmp_path: Path) -> None:
    ports = {
        f"BITBYLAW_{name}_PORT": "0"
        for name in ("HTTP", "WORKER", "ADVOWARE_TWIN", "GOOGLE_TWIN", "BOARD")
    }
    process = await start(
        "up", **TRIAL, **ports, ESPOCRM_API_BASE_URL=tunnel, BITBYLAW_DATA=str(tmp_path)
    )
    await printed(process, "trial (BITBYLAW_TRIAL)")
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        assert process.stdout is not None
        await process.stdout.read()
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BITBYLAW_API_KEYS", "short"),
        ("BITBYLAW_API_KEYS", f"{KEY},"),
        ("BITBYLAW_API_KEYS", " "),
        ("ESPOCRM_WEBHOOK_TOKEN", "short"),
        ("ESPOCRM_WEBHOOK_TOKEN", " "),
        ("ESPOCRM_WEBHOOK_SECRETS", f"a:{KEY},b:short"),
        ("ESPOCRM_API_BASE_URL", "http://crm.example/api/v1"),
        ("ADVOWARE_AUTH_URL", "http://advoware.example"),
    ],
)
@pytest.mark.parametrize("command", ["up", "worker"])
async def test_a_weak_key_or_an_open_line_is_refused_at_start(
    command: str, variable: str, value: str, tmp_path: Path
) -> None:
    status, output = await bitbylaw(
        command, **{**KEYS, variable: value}, BITBYLAW_DATA=str(tmp_path / "data")
    )

    assert status == 1
    assert f"{variable}: " in output
    assert "short" not in output
    assert KEY not in output
    assert not (tmp_path / "data").exists()


async def test_a_taken_port_is_named_together_with_the_variable_that_changes_it(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, output = await bitbylaw(
            "up", BITBYLAW_HTTP_PORT=str(port), BITBYLAW_DATA=str(tmp_path)
        )

    assert status == 1
    assert f"Port {port} (HTTP)" in output
    assert "BITBYLAW_HTTP_PORT=" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("variable", "value", "printed"),
    [
        ("BITBYLAW_HTTP_PORT", "99999", "BITBYLAW_HTTP_PORT"),
        ("BITBYLAW_DATA", "/proc/nowhere", "/proc/nowhere"),
        ("BITBYLAW_ENV_FILE", "/nonexistent", "/nonexistent"),
        ("REDIS_PORT", "abc", "REDIS_PORT"),
    ],
)
async def test_an_unusable_setting_is_named_without_a_traceback(
    variable: str, value: str, printed: str
) -> None:
    status, output = await bitbylaw("up", **{variable: value})

    assert status != 0
    assert printed in output
    assert "Traceback" not in output


async def test_the_check_verifies_the_sample_flow_in_a_path_with_spaces(
    tmp_path: Path,
) -> None:
    scratch = tmp_path / "a folder with spaces"
    scratch.mkdir()

    status, output = await bitbylaw("up", "--check", TMPDIR=str(scratch))

    assert "check: ok" in output, output
    assert status == 0
    assert list(scratch.glob("bitbylaw-check-*")) == []
