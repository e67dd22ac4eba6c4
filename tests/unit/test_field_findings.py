"""docs/field-findings.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "field-findings.md").read_text("utf-8").splitlines()
    if line.startswith("| ")
]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.startswith("| finding")]
)
def test_every_finding_names_tests_that_exist(row: str) -> None:
    named = row.rstrip("| ").rpartition("|")[2].split(",")
    assert named
    for name in named:
        path, _, function = name.strip().partition("::")
        text = (ROOT / "tests" / path).read_text("utf-8")
        assert not function or re.search(rf"def {function}\(", text), name
