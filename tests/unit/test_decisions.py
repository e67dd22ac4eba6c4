"""docs/decisions.md: each entry names the tests that fail when it is broken, or says why there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "decisions.md").read_text("utf-8")
ENTRIES = [
    entry.strip()
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
    for entry in re.split(r"^(?=\*\*)", section, flags=re.MULTILINE)[1:]
]
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
REASON = re.compile(r"\(no test: [^)]+\)$")


def _title(entry: str) -> str:
    title = re.match(r"\*\*(.+?)\*\*", entry, flags=re.DOTALL)
    assert title, entry
    return title.group(1)


@pytest.mark.parametrize("entry", ENTRIES, ids=_title)
def test_every_entry_names_tests_that_exist_or_says_why_not(entry: str) -> None:
    named = NAMED.findall(entry)
    for path, function in named:
        text = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"def {function}\(", text), f"{path}::{function}"
    assert named or REASON.search(entry) is not None


def test_no_two_entries_have_the_same_title() -> None:
    titles = [_title(entry) for entry in ENTRIES]
    assert len(titles) == len(set(titles))


def test_the_tests_that_the_testing_guide_names_exist() -> None:
    guide = (ROOT / "docs" / "testing.md").read_text("utf-8")
    named = NAMED.findall(guide)
    assert named
    for path, function in named:
        text = (ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"def {function}\(", text), f"{path}::{function}"
