"""A known vulnerability fails unless it is explained; what could not be asked says so."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import PROJECT_ROOT

FOUND = {"id": "GHSA-1", "aliases": ["CVE-2026-1"], "fix_versions": []}
BAD = {"name": "redis", "version": "1", "vulns": [FOUND]}
GOOD = {"name": "rich", "version": "1", "vulns": []}
SKIPPED = {"name": "typer", "skip_reason": "not found"}


def judged(
    folder: Path, report: list[dict[str, Any]], known: str = ""
) -> tuple[int, str]:
    (folder / "report.json").write_text(json.dumps({"dependencies": report}))
    (folder / "known.toml").write_text(known)
    program = PROJECT_ROOT / "tools" / "audit_dependencies.py"
    files = ["--report", folder / "report.json", "--known", folder / "known.toml"]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, program, *files], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def explained(since: date, name: str = "CVE-2026-1") -> str:
    return f'[[known]]\nid = "{name}"\nreason = "not reached"\nsince = {since}\n'


TODAY = date.today()  # noqa: DTZ011 - as the program


@pytest.mark.parametrize(
    ("report", "known", "status", "message"),
    [
        ([GOOD, SKIPPED], "", 0, "0 known vulnerabilities"),
        ([GOOD, BAD], "", 1, "redis 1: CVE-2026-1, GHSA-1"),
        ([GOOD, BAD], explained(TODAY), 0, "1 known vulnerabilities, 0 to do"),
        ([GOOD, BAD], explained(TODAY, "CVE-2026-2"), 1, "redis 1"),
        ([GOOD, BAD], explained(TODAY - timedelta(days=181)), 1, "still holds"),
        ([SKIPPED], "", 0, "NOT CHECKED"),
    ],
)
def test_a_vulnerability_needs_an_update_or_a_reason(
    tmp_path: Path, report: list[dict[str, Any]], known: str, status: int, message: str
) -> None:
    got, text = judged(tmp_path, report, known)
    assert (got, message in text) == (status, True), text
