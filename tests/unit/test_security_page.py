"""The threat model names tests that exist, and every way in."""

from __future__ import annotations

import re

from config import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "security.md").read_text("utf-8")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_the_tests_that_it_names_exist() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 20
    for path, function in named:
        text = (PROJECT_ROOT / "tests" / path).read_text("utf-8")
        assert re.search(rf"def {function}\(", text), f"{path}::{function}"


def test_every_way_in_has_a_chapter_that_names_a_test() -> None:
    chapters = re.split(
        r"^### ", PAGE.partition("## When a key")[0], flags=re.MULTILINE
    )
    found = {chapter.partition("\n")[0]: chapter for chapter in chapters[1:]}
    for way in ("webhook token", "API key", "worker port", "database", "machine"):
        (chapter,) = [text for title, text in found.items() if way in title]
        assert NAMED.search(chapter), way
