"""Check the word list: ``python tools/check_words.py`` fails where a file has more unwanted words than it is allowed.

``tools/words.txt`` holds the words, ``tools/words-allowed.txt`` the files that still contain some, with their number.
The numbers only fall: ``--update`` writes them as they are now, and refuses if their sum has grown. (That of a file
may grow where text was moved.)
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORDS = ROOT / "tools" / "words.txt"
ALLOWED = ROOT / "tools" / "words-allowed.txt"
CHECKED = (
    "*.md",
    "benchmarks/**/*.py",
    "board/**/*.py",
    "config.py",
    "cli/**/*.py",
    "docs/**/*.md",
    "local_engine/**/*.py",
    "sandbox/**/*.py",
    "services/**/*.py",
    "steps/**/*.py",
    "tests/**/*.py",
    "tools/**/*.py",
)
#: What was released is history.
LEFT_OUT = frozenset({"CHANGELOG.md", "tools/check_words.py"})


@dataclass(frozen=True)
class Finding:
    """An unwanted word in a line of a file."""

    path: str
    line: int
    word: str
    instead: str


def read_words() -> dict[str, str]:
    """The unwanted words, in small letters, with what to write instead."""
    words = {}
    for line in WORDS.read_text("utf-8").splitlines():
        word, arrow, instead = line.partition(" -> ")
        if arrow and not line.startswith("#"):
            words[word.casefold()] = instead
    return words


def read_allowed() -> dict[str, int]:
    """How many unwanted words each file may contain; none if it is not listed."""
    allowed = {}
    for line in ALLOWED.read_text("utf-8").splitlines():
        number, _, path = line.strip().partition(" ")
        if number.isdecimal():
            allowed[path] = int(number)
    return allowed


def pattern_of(words: Mapping[str, str]) -> re.Pattern[str]:
    """Finds each of the words, by itself or between underscores."""
    longest_first = sorted(words, key=len, reverse=True)
    alternatives = "|".join(re.escape(word) for word in longest_first)
    return re.compile(rf"(?<![^\W_])(?:{alternatives})(?![^\W_])", re.IGNORECASE)


def checked_files() -> list[Path]:
    """The files in which words are counted."""
    found = {path for glob in CHECKED for path in ROOT.glob(glob)}
    return sorted(path for path in found if str(path.relative_to(ROOT)) not in LEFT_OUT)


def find(path: Path, words: Mapping[str, str]) -> Iterator[Finding]:
    """The unwanted words of a file."""
    pattern = pattern_of(words)
    name = str(path.relative_to(ROOT))
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        for match in pattern.finditer(line):
            word = match.group().casefold()
            yield Finding(name, number, word, words[word])


def _update(counts: Mapping[str, int], allowed: Mapping[str, int]) -> int:
    before, now = sum(allowed.values()), sum(counts.values())
    if ALLOWED.exists() and now > before:
        print(f"{now} unwanted words, {before} are allowed: the sum must not grow.")
        return 1
    head = "# Unwanted words that a file still contains (tools/words.txt). The numbers only fall.\n"
    lines = [f"{count:4} {path}\n" for path, count in counts.items()]
    ALLOWED.write_text(head + "".join(lines), "utf-8")
    print(f"{now} unwanted words in {len(counts)} files (before: {before})")
    return 0


def main() -> int:
    """Print what is new; exit status 1 if there is something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the numbers as they are",
    )
    parser.add_argument("--list", metavar="PATH", help="show the words of this file")
    arguments = parser.parse_args()
    words = read_words()
    allowed = read_allowed() if ALLOWED.exists() else {}
    findings = [item for path in checked_files() for item in find(path, words)]
    by_path: dict[str, list[Finding]] = {}
    for item in findings:
        by_path.setdefault(item.path, []).append(item)
    if arguments.update:
        return _update({path: len(items) for path, items in by_path.items()}, allowed)
    shown = {arguments.list} if arguments.list else set()
    for path, items in by_path.items():
        if len(items) > allowed.get(path, 0):
            shown.add(path)
            print(
                f"{path}: {len(items)} unwanted words, allowed: {allowed.get(path, 0)}",
            )
    for item in findings:
        if item.path in shown:
            print(f"  {item.path}:{item.line}: {item.word!r}, write: {item.instead}")
    return 1 if shown and not arguments.list else 0


if __name__ == "__main__":
    sys.exit(main())
