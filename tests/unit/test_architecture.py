"""docs/architecture.md names functions that exist, the code keeps its goals, and the command line stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.code_metrics import DEFAULT_FOLDERS, measure

ROOT = Path(__file__).parents[2]
DIAGRAMS = re.findall(
    r"```mermaid\n(.*?)```",
    (ROOT / "docs" / "architecture.md").read_text("utf-8"),
    flags=re.DOTALL,
)


def test_starting_the_command_line_does_not_load_the_syncs() -> None:
    """They take half a second and 100 MB, in `bitbylaw up` and in each supervisor of a worker."""
    program = "import sys, cli.main; print(*sys.modules)"
    found = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    loaded = set(found.stdout.split())
    assert "cli.commands.preview" in loaded
    assert not loaded & {"services.beteiligte_sync_utils", "phonenumbers.geodata"}


def test_the_functions_of_the_sequence_diagrams_exist() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py")]
    defined = set(re.findall(r"def (\w+)\(", "\n".join(sources)))
    named = set(re.findall(r"(\w+)\(\)", "\n".join(DIAGRAMS)))
    assert len(DIAGRAMS) == 2
    assert named
    assert named <= defined


@pytest.mark.parametrize("folder", DEFAULT_FOLDERS)
def test_the_goals_of_the_code_in_numbers_are_kept(folder: str) -> None:
    """What `make metrics-code` prints; ruff's C901 counts fewer ways through a function."""
    metrics = measure(ROOT / folder)
    assert metrics.complex_functions == []
    assert metrics.mean_complexity <= 3
    assert round(metrics.nodes_per_line, 1) <= 8
    assert metrics.comprehensions_per_100 <= 3
    assert metrics.conditionals_per_100 <= 2.5
    assert metrics.largest_folder[1] <= 15


def test_what_a_service_sets_in_postgresql_ends_with_its_transaction() -> None:
    """Connections go back to their pool without a reset (`database._leave_session`)."""
    set_in_sessions = re.compile(
        r"""["';]\s*(SET (?!LOCAL )\w+ *(=|TO )|LISTEN |DECLARE |CREATE TEMP)"""
    )
    sources = [
        path.read_text("utf-8")
        for package in ("services", "board", "cli", "steps")
        for path in (ROOT / package).rglob("*.py")
    ]
    assert any("SET LOCAL lock_timeout = " in source for source in sources)
    assert [
        found for source in sources if (found := set_in_sessions.findall(source))
    ] == []
    for text in ('"SET lock_timeout = 1', "'SET x TO 1", '"LISTEN rows"'):
        assert set_in_sessions.search(text)
