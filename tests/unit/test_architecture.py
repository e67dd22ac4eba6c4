"""docs/architecture.md names functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIAGRAMS = re.findall(
    r"```mermaid\n(.*?)```",
    (ROOT / "docs" / "architecture.md").read_text("utf-8"),
    flags=re.DOTALL,
)


def test_the_functions_of_the_sequence_diagrams_exist() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py")]
    defined = set(re.findall(r"def (\w+)\(", "\n".join(sources)))
    named = set(re.findall(r"(\w+)\(\)", "\n".join(DIAGRAMS)))
    assert len(DIAGRAMS) == 2
    assert named
    assert named <= defined
