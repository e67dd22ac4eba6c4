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
HEADINGS = (
    *("what", "of", "unit", "before", "now", "real engine"),
    *("peer", "now to before", "now to peer"),
)
#: The subject whose values have a column of their own.
REAL_ENGINE = "real engine"
#: The kinds of calls: without options, with LONG=1, with REAL=1.
USUAL, LONG, REAL = "Usual run", "Long run", "Real engine"


@dataclass(frozen=True)
class Row:
    """One quantity of one subject, with a value for each repetition. ``peer`` names the subject it is compared to.

    ``run`` is the kind of call that has measured it.
    """

    part: str
    what: str
    subject: str
    unit: str
    values: list[float]
    peer: str | None = None
    run: str = USUAL

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
        """Replace what calls of the same kind (``run`` of ``about`` and rows) have measured; keep what others have."""
        new = {row.key for row in rows}
        kept = [
            row
            for row in self.rows(part)
            if row.run != about["run"] and row.key not in new
        ]
        abouts = self.parts.get(part, {}).get("about", [])
        others = [earlier for earlier in abouts if earlier["run"] != about["run"]]
        self.parts[part] = {
            "about": [*others, about],
            "rows": [asdict(row) for row in [*kept, *rows]],
        }

    def rows(self, part: str) -> list[Row]:
        """The rows of a part."""
        found = self.parts.get(part, {}).get("rows", [])
        return [Row(**row) for row in found]


def table(rows: list[Row], before: list[Row]) -> list[list[str]]:
    """The cells of a table, without headings, see `HEADINGS`: a line for each quantity of our own."""
    known = {row.key: row for row in rows}
    earlier = {row.key: row for row in before}
    peers = {row.peer for row in rows}
    own = [row for row in rows if row.subject not in {*peers, REAL_ENGINE}]
    cells = []
    for row in own:
        old = earlier.get(row.key)
        real = known.get((row.part, row.what, REAL_ENGINE))
        peer = known.get((row.part, row.what, row.peer or ""))
        columns = [_cell(old), _cell(row), _cell(real), _cell(peer)]
        ratios = [_ratio(row, old), _ratio(row, peer)]
        cells.append([row.what, row.subject, row.unit, *columns, *ratios])
    return cells


def _cell(row: Row | None) -> str:
    """The median; of repetitions also the lowest and the highest."""
    if row is None:
        return ""
    lowest, highest = number(min(row.values)), number(max(row.values))
    if lowest == highest:
        return number(row.median)
    return f"{number(row.median)} ({lowest} to {highest})"


def _ratio(row: Row, other: Row | None) -> str:
    if other is None or not other.median:
        return ""
    return f"{row.median / other.median:.2f}"


def number(value: float) -> str:
    """Three significant digits; from a hundred on, whole numbers."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_text(cells: list[list[str]]) -> str:
    """A table for the terminal."""
    lines = [list(HEADINGS), *cells]
    widths = [
        max(len(line[column]) for line in lines) for column in range(len(HEADINGS))
    ]
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
    cells = table(rows, before.rows(rows[0].part)) if rows else []
    lines = [f"| {' | '.join(line)} |" for line in [list(HEADINGS), *cells]]
    rule = "|" + "---|" * len(HEADINGS)
    facts = [_facts(about) for about in part["about"]]
    return [f"### {title}", "", *facts, lines[0], rule, *lines[1:], ""]


def _facts(about: dict[str, Any]) -> str:
    """A paragraph: when and where one call has measured."""
    facts = [f"{name} {value}" for name, value in about.items() if name != "run"]
    return f"{about['run']}: {', '.join(facts)}.\n"
