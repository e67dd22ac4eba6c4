"""Measured values: kept as JSON, shown as a table in the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from config import PROJECT_ROOT

LATEST = PROJECT_ROOT / "benchmarks" / "results" / "latest.json"
BEFORE = PROJECT_ROOT / "benchmarks" / "results" / "before.json"
DOCUMENT = PROJECT_ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- begin: written by make bench -->"
END = "<!-- end: written by make bench -->"
HEADINGS = ("what", "of", "unit", "before", "now", "lowest to highest", "to peer")


@dataclass(frozen=True)
class Row:
    """One quantity of one subject, with a value for each repetition. ``peer`` names the subject it is compared to."""

    part: str
    what: str
    subject: str
    unit: str
    values: list[float]
    peer: str | None = None

    @property
    def median(self) -> float:
        """The middle value of the repetitions."""
        return median(self.values)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the quantity in another run."""
        return self.part, self.what, self.subject


@dataclass
class Results:
    """What was measured of each part: its rows, when, how long it took and on which machine."""

    parts: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Results:
        """The results in a file; none if it does not exist."""
        if not path.exists():
            return cls({})
        return cls(json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """Write the file, one line for each row."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.parts, indent=1, ensure_ascii=False) + "\n")

    def put(self, part: str, rows: list[Row], about: dict[str, Any]) -> None:
        """Replace what is known of a part."""
        self.parts[part] = {"about": about, "rows": [asdict(row) for row in rows]}

    def rows(self, part: str) -> list[Row]:
        """The rows of a part."""
        found = self.parts.get(part, {}).get("rows", [])
        return [Row(**row) for row in found]


def table(rows: list[Row], before: list[Row]) -> list[list[str]]:
    """The cells of a table of rows, without headings, see `HEADINGS`."""
    medians = {row.key: row.median for row in rows}
    earlier = {row.key: row.median for row in before}
    cells = []
    for row in rows:
        old = earlier.get(row.key)
        peer = medians.get((row.part, row.what, row.peer or ""))
        ratio = f"{row.median / peer:.2f}" if peer else ""
        spread = f"{number(min(row.values))} to {number(max(row.values))}"
        before_text = "" if old is None else number(old)
        now = number(row.median)
        cells.append([row.what, row.subject, row.unit, before_text, now, spread, ratio])
    return cells


def number(value: float) -> str:
    """Three significant digits; from a hundred on, whole numbers."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_text(cells: list[list[str]]) -> str:
    """A table for the terminal."""
    lines = [list(HEADINGS), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    padded = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in padded)


def write_document(results: Results, before: Results, titles: dict[str, str]) -> None:
    """Replace what lies between the two marks in docs/benchmarks.md."""
    sections = []
    for part, title in titles.items():
        if part not in results.parts:
            continue
        sections += _section(title, results.parts[part], results.rows(part), before)
    text = DOCUMENT.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(head + "\n".join([BEGIN, "", *sections, END]) + tail, "utf-8")


def _section(
    title: str, part: dict[str, Any], rows: list[Row], before: Results
) -> list[str]:
    about = part["about"]
    facts = ", ".join(f"{name} {value}" for name, value in about.items())
    cells = table(rows, before.rows(rows[0].part)) if rows else []
    lines = [f"| {' | '.join(line)} |" for line in [list(HEADINGS), *cells]]
    rule = "|" + "---|" * len(HEADINGS)
    return [f"### {title}", "", facts + ".", "", lines[0], rule, *lines[1:], ""]
