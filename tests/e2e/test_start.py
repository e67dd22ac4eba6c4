"""Starting says clearly what is in the way, and starts nothing that could do harm."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from outside import outside

from cli.supervisor import StartFailed

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("e2e")]

ROOT = Path(__file__).parents[2]
REAL_ADVOWARE = {
    "ADVOWARE_APP_ID": "app",
    "ADVOWARE_KANZLEI": "kanzlei",
    "ADVOWARE_API_BASE_URL": "https://advoware.example",
    "BITBYLAW_API_KEYS": "key",
}


async def bitbylaw(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command; exit status and all it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_real_system_is_never_mixed_with_a_twin() -> None:
    with pytest.raises(StartFailed, match="Configure both"):
        async with outside(**REAL_ADVOWARE):
            pytest.fail("it started")


async def test_a_taken_port_is_named_together_with_the_variable_that_changes_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, output = await bitbylaw("up", BITBYLAW_HTTP_PORT=str(port), BITBYLAW_DATA=str(tmp_path))

    assert status == 1
    assert f"Port {port} (HTTP)" in output
    assert "BITBYLAW_HTTP_PORT=" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BITBYLAW_HTTP_PORT", "99999", "BITBYLAW_HTTP_PORT"),
        ("BITBYLAW_DATA", "/proc/nowhere", "/proc/nowhere"),
        ("BITBYLAW_ENV_FILE", "/nonexistent", "/nonexistent"),
        ("REDIS_PORT", "abc", "REDIS_PORT"),
    ],
)
async def test_an_unusable_setting_is_named_without_a_traceback(variable: str, value: str, said: str) -> None:
    status, output = await bitbylaw("up", **{variable: value})

    assert status != 0
    assert said in output
    assert "Traceback" not in output


async def test_the_check_verifies_the_sample_flow_in_a_path_with_spaces(tmp_path: Path) -> None:
    scratch = tmp_path / "a folder with spaces"
    scratch.mkdir()

    status, output = await bitbylaw("up", "--check", TMPDIR=str(scratch))

    assert "check: ok" in output, output
    assert status == 0
    assert list(scratch.glob("bitbylaw-check-*")) == []
