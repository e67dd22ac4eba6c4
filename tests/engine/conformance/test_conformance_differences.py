"""The table of known differences is true, complete and documented for operators."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from engine_differences import DIFFERENCES, Difference
from engine_harness import PROJECT

CASES = "\n".join(
    path.read_text() for path in Path(__file__).parent.glob("test_conformance_*.py")
)
HARNESS = Path(__file__).parents[1] / "engines_under_test.py"


def test_each_name_stands_for_one_difference_that_some_case_measures() -> None:
    asked = set(re.findall(r'differs\(\s*"(\w+)"', CASES + HARNESS.read_text()))
    names = [difference.name for difference in DIFFERENCES]
    assert sorted(names) == sorted(asked)


@pytest.mark.parametrize(
    "difference", DIFFERENCES, ids=lambda difference: difference.name
)
def test_it_is_documented(difference: Difference) -> None:
    text = (PROJECT / "docs" / "deployment.md").read_text()
    assert f"| `{difference.name}` | {difference.engine} | {difference.steps} |" in text


def test_a_difference_applies_to_the_versions_in_which_it_was_observed() -> None:
    passing = Difference("x", "", "", since=(0, 9, 0), until=(0, 10, 0))
    versions = [(0, 8, 3), (0, 9, 0), (0, 9, 1), (0, 10, 0)]
    assert [passing.applies_to(version) for version in versions] == [
        False,
        True,
        True,
        False,
    ]
